//! Leases, sessions of other copies, and what operators want, in one PostgreSQL database.
//!
//! Owns: the statements on `tidelock.lease`, `link_state`, `out_of_sync` and `audit`, and ending sessions of our own
//! role by their name. Refuses: deciding who may run (see `flow::lease`). All times are this server's.

use super::{fail, sql};
use crate::error::{Error, Halt, Result};
use crate::model::operation::{
    Instance, Lease, OutOfSync, Pause, Renewal, Said, Stop, session_prefix, tables_from_text, tables_to_text,
};
use crate::model::schema::TableId;
use std::time::Duration;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

/// How long we wait for a session to be gone.
const END_MS: i64 = 2_000;

fn millis(ttl: Duration) -> f64 {
    ttl.as_secs_f64() * 1e3
}

/// `None`: nobody ever had it.
pub async fn lease(client: &Client, sync: &str, link: &str) -> Result<Option<Lease>> {
    let doing = format!("read the lease of {link}");
    let row = client
        .query_opt(sql::LEASE, &[&sync, &link])
        .await
        .map_err(|error| fail(&doing, error))?;
    row.map(|row| {
        Ok(Lease {
            instance: row.try_get(0)?,
            holder: row.try_get(1)?,
            process: row.try_get(2)?,
            left_ms: row.try_get(3)?,
            age_ms: row.try_get(4)?,
        })
    })
    .transpose()
    .map_err(|error| fail(doing, error))
}

/// Takes the lease if it is free, ours, or one of `dead`, an instance that is known to have ended.
pub async fn take_lease(
    client: &Client,
    (sync, link): (&str, &str),
    instance: &Instance,
    ttl: Duration,
    dead: &str,
) -> Result<bool> {
    let doing = format!("take the lease of {link}");
    let free = "INSERT INTO tidelock.lease (sync, link, instance, holder, process, taken_at, expires_at)
                VALUES ($1, $2, '', '', '', to_timestamp(0), to_timestamp(0)) ON CONFLICT DO NOTHING";
    client
        .execute(free, &[&sync, &link])
        .await
        .map_err(|error| fail(&doing, error))?;
    let take =
        "UPDATE tidelock.lease SET instance = $3, holder = $4, process = $5, taken_at = clock_timestamp(), figures = NULL,
                       expires_at = clock_timestamp() + $6::float8 * interval '1 millisecond'
                 WHERE sync = $1 AND link = $2
                   AND (expires_at <= clock_timestamp() OR instance IN ($3, $7))";
    let (id, name, process) = (&instance.id, &instance.name, &instance.process);
    let taken = client
        .execute(take, &[&sync, &link, id, name, process, &millis(ttl), &dead])
        .await
        .map_err(|error| fail(doing, error))?;
    Ok(taken == 1)
}

/// What the link's holder said last; `None` too while the control schema is older than version 5.
pub async fn said(client: &Client, sync: &str, link: &str) -> Result<Option<Said>> {
    let doing = format!("read what is said of {link}");
    let sql = "SELECT l.said ->> 'figures',
                      (extract(epoch FROM clock_timestamp() - (l.said ->> 'renewed_at')::timestamptz) * 1000)::bigint
                 FROM (SELECT to_jsonb(lease) AS said FROM tidelock.lease WHERE sync = $1 AND link = $2) AS l";
    let row = client.query_opt(sql, &[&sync, &link]).await;
    let Some(row) = row.map_err(|error| fail(&*doing, error))? else {
        return Ok(None);
    };
    let read = || -> Result<_, tokio_postgres::Error> { Ok((row.try_get(0)?, row.try_get(1)?)) };
    let (figures, age): (Option<String>, Option<i64>) = read().map_err(|error| fail(doing, error))?;
    Ok(figures.zip(age).map(|(figures, age)| Said {
        figures,
        age_ms: age.max(0).unsigned_abs(),
    }))
}

/// Makes our lease longer, with what is to be said of the link, and tells what people want of it.
pub async fn renew_lease(
    client: &Client,
    (sync, link): (&str, &str),
    instance: &str,
    ttl: Duration,
    figures: Option<&str>,
) -> Result<Renewal> {
    let doing = format!("renew the lease of {link}");
    let renew = "WITH renewed AS (UPDATE tidelock.lease
                         SET expires_at = clock_timestamp() + $4::float8 * interval '1 millisecond',
                             renewed_at = clock_timestamp(), figures = $5
                       WHERE sync = $1 AND link = $2 AND instance = $3 RETURNING 1)
                 SELECT EXISTS (SELECT FROM renewed),
                        coalesce((SELECT paused FROM tidelock.link_state WHERE sync = $1 AND link = $2), false)";
    let row = client
        .query_one(renew, &[&sync, &link, &instance, &millis(ttl), &figures])
        .await
        .map_err(|error| fail(&doing, error))?;
    let cell = |index| row.try_get(index).map_err(|error| fail(&doing, error));
    Ok(Renewal {
        is_ours: cell(0)?,
        is_paused: cell(1)?,
    })
}

pub async fn release_lease(client: &Client, sync: &str, link: &str, instance: &str) -> Result<()> {
    let release = "UPDATE tidelock.lease SET expires_at = clock_timestamp()
                    WHERE sync = $1 AND link = $2 AND instance = $3 AND expires_at > clock_timestamp()";
    client
        .execute(release, &[&sync, &link, &instance])
        .await
        .map_err(|error| fail(format!("give back the lease of {link}"), error))?;
    Ok(())
}

/// Ends what other copies left open for this link: a frozen one holds locks and the slot. Returns how many there were.
pub async fn end_sessions(client: &Client, sync: &str, link: &str, instance: &str) -> Result<u64> {
    let prefix = session_prefix(sync, link);
    let own = format!("{prefix}{instance}");
    let end = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, $3)) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
                  AND starts_with(application_name, $1) AND application_name <> $2";
    let row = client
        .query_one(end, &[&prefix, &own, &END_MS])
        .await
        .map_err(|error| fail(format!("end the sessions of another copy of {link}"), error))?;
    row.try_get::<_, i64>(0)
        .map(i64::unsigned_abs)
        .map_err(|error| fail("count ended sessions", error))
}

/// Pauses or resumes a link. `false`: it was so already, and nothing was written.
pub async fn want(
    client: &mut Client,
    (sync, link): (&str, &str),
    paused: bool,
    reason: &str,
    operator: &str,
) -> Result<bool> {
    let action = if paused { "pause" } else { "resume" };
    let doing = format!("{action} link {link}");
    let wrong = |error| fail(&doing, error);
    let transaction = client.transaction().await.map_err(wrong)?;
    let want = "INSERT INTO tidelock.link_state AS s (sync, link, paused, changed_by, changed_at, reason)
                SELECT $1::text, $2::text, $3::boolean, $4::text, clock_timestamp(), $5::text
                 WHERE $3 OR EXISTS (SELECT FROM tidelock.link_state WHERE sync = $1 AND link = $2)
                ON CONFLICT (sync, link) DO UPDATE SET paused = excluded.paused, changed_by = excluded.changed_by,
                       changed_at = excluded.changed_at, reason = excluded.reason
                 WHERE s.paused <> excluded.paused";
    let changed = transaction
        .execute(want, &[&sync, &link, &paused, &operator, &reason])
        .await
        .map_err(wrong)?;
    if changed == 1 {
        transaction
            .execute(sql::AUDIT, &[&operator, &action, &sync, &link, &reason])
            .await
            .map_err(wrong)?;
    }
    transaction.commit().await.map_err(wrong)?;
    Ok(changed == 1)
}

/// Leaves word of why a link stopped, for whoever asks from another machine.
pub async fn record_stop(client: &Client, sync: &str, link: &str, stop: &Stop) -> Result<()> {
    let halt = stop.halt.as_ref();
    let position = halt.map(|halt| halt.transaction.as_str());
    let past = halt.and_then(|halt| halt.past.as_deref());
    let tables = halt.map(|halt| tables_to_text(&halt.tables));
    let changes = halt.map(|halt| i64::try_from(halt.changes).unwrap_or(i64::MAX));
    let record = "INSERT INTO tidelock.link_state (sync, link, stopped_at, stop_error, stop_hint, stop_seq,
                         stop_position, stop_past, stop_tables, stop_changes)
                  VALUES ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7, $8, $9)
                  ON CONFLICT (sync, link) DO UPDATE SET stopped_at = excluded.stopped_at,
                         stop_error = excluded.stop_error, stop_hint = excluded.stop_hint,
                         stop_seq = excluded.stop_seq, stop_position = excluded.stop_position,
                         stop_past = excluded.stop_past, stop_tables = excluded.stop_tables,
                         stop_changes = excluded.stop_changes";
    let (error, hint, seq) = (&stop.error, &stop.hint, stop.seq);
    client
        .execute(
            record,
            &[
                &sync, &link, error, hint, &seq, &position, &past, &tables, &changes,
            ],
        )
        .await
        .map_err(|error| fail(format!("record why {link} stopped"), error))?;
    Ok(())
}

/// What people want of a link and what it stopped at.
pub async fn link_state(client: &Client, sync: &str, link: &str) -> Result<(Option<Pause>, Option<Stop>)> {
    let doing = format!("read the state of {link}");
    let read = "SELECT paused, changed_by, (extract(epoch FROM changed_at) * 1000000)::bigint, reason,
                       stop_error, stop_hint, stop_seq, stop_position, stop_past, stop_tables, stop_changes,
                       (extract(epoch FROM clock_timestamp() - stopped_at) * 1000)::bigint
                  FROM tidelock.link_state WHERE sync = $1 AND link = $2";
    let row = client
        .query_opt(read, &[&sync, &link])
        .await
        .map_err(|error| fail(&doing, error))?;
    let Some(row) = row else { return Ok((None, None)) };
    let read = || -> Result<_, tokio_postgres::Error> {
        let pause = Pause {
            by: row.try_get(1)?,
            at_us: row.try_get(2)?,
            reason: row.try_get(3)?,
        };
        Ok((row.try_get::<_, bool>(0)?.then_some(pause), stop(&row)?))
    };
    read().map_err(|error| fail(doing, error))
}

fn stop(row: &Row) -> Result<Option<Stop>, tokio_postgres::Error> {
    let Some(age_ms) = row.try_get(11)? else {
        return Ok(None);
    };
    let transaction: Option<String> = row.try_get(7)?;
    let tables: Option<String> = row.try_get(9)?;
    let changes: Option<i64> = row.try_get(10)?;
    let past = row.try_get(8)?;
    Ok(Some(Stop {
        error: row.try_get::<_, Option<String>>(4)?.unwrap_or_default(),
        hint: row.try_get(5)?,
        seq: row.try_get::<_, Option<i64>>(6)?.unwrap_or_default(),
        halt: transaction.map(|transaction| Halt {
            transaction,
            past,
            tables: tables_from_text(tables.as_deref().unwrap_or_default()),
            changes: changes.unwrap_or_default().unsigned_abs(),
        }),
        age_ms,
    }))
}

/// Of one link, or of all that write into this database.
pub async fn out_of_sync(client: &Client, sync: &str, link: Option<&str>) -> Result<Vec<OutOfSync>> {
    let doing = format!("read which tables of sync {sync} are out of sync");
    let read = "SELECT schema_name, table_name, position, (extract(epoch FROM since) * 1000000)::bigint, link
                  FROM tidelock.out_of_sync WHERE sync = $1 AND ($2::text IS NULL OR link = $2) ORDER BY 1, 2, 5";
    let rows = client
        .query(read, &[&sync, &link])
        .await
        .map_err(|error| fail(&doing, error))?;
    let one = |row: &Row| {
        Ok(OutOfSync {
            table: TableId::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
            position: row.try_get(2)?,
            since_us: row.try_get(3)?,
            link: row.try_get(4)?,
        })
    };
    rows.iter()
        .map(one)
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|error| fail(doing, error))
}

/// Moves the checkpoint past the transaction the link stopped at, marks the tables and writes the audit, in one
/// transaction. `false`: the link does not stand there any more, and nothing was written.
pub async fn skip(
    client: &mut Client,
    (sync, link): (&str, &str),
    (halt, past): (&Halt, &str),
    (seq, tables): (i64, &[TableId]),
    operator: &str,
) -> Result<bool> {
    let doing = format!("skip transaction {} of {link}", halt.transaction);
    let wrong = |error| fail(&doing, error);
    let transaction = client.transaction().await.map_err(wrong)?;
    let moved = "UPDATE tidelock.checkpoint SET seq = seq + 1, epoch = epoch + 1, position = $3,
                        moved_at = clock_timestamp()
                  WHERE sync = $1 AND link = $2 AND seq = $4
                    AND seq = (SELECT max(seq) FROM tidelock.checkpoint WHERE sync = $1 AND link = $2)
                    AND EXISTS (SELECT FROM tidelock.link_state
                                 WHERE sync = $1 AND link = $2 AND stop_seq = $4 AND stop_position = $5)";
    let moved = transaction
        .execute(moved, &[&sync, &link, &past, &seq, &halt.transaction])
        .await
        .map_err(wrong)?;
    if moved != 1 {
        return Ok(false);
    }
    let detail = format!("{} -> {past}", halt.transaction);
    left_out(
        &transaction,
        (sync, link),
        (&halt.transaction, tables),
        (detail, operator),
    )
    .await
    .map_err(wrong)?;
    match transaction.commit().await {
        Ok(()) => Ok(true),
        Err(error) => Err(Error::ambiguous(doing)
            .because(error)
            .hint("`tidelock status` says where the link stands now")),
    }
}

/// Marks tables that lack what a transaction changed in them, and notes who left it out.
pub(super) async fn left_out(
    transaction: &Transaction<'_>,
    (sync, link): (&str, &str),
    (position, tables): (&str, &[TableId]),
    (detail, operator): (String, &str),
) -> Result<(), tokio_postgres::Error> {
    let mark = "INSERT INTO tidelock.out_of_sync AS o (sync, link, schema_name, table_name, position)
                VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (sync, link, schema_name, table_name) DO UPDATE SET position = excluded.position";
    for table in tables {
        let values: [&(dyn ToSql + Sync); 5] = [&sync, &link, &table.schema, &table.name, &position];
        transaction.execute(mark, &values).await?;
    }
    let values: [&(dyn ToSql + Sync); 5] = [&operator, &"skip", &sync, &link, &detail];
    transaction.execute(sql::AUDIT, &values).await.map(|_| ())
}
