//! Leases, sessions of other copies, and what operators want, on one MySQL or MariaDB server.
//!
//! Owns: the statements on `tidelock.lease`, `session`, `link_state`, `out_of_sync` and `audit`, and ending sessions
//! of our own account. Refuses: deciding who may run (see `flow::lease`). All times are this server's.
//!
//! A session cannot be given a name that others see, so each one notes its number and address when it opens. Both
//! must still fit, and the account, before a session is ended: numbers begin anew when a server restarts.

use super::fail;
use crate::error::{Error, Halt, Result};
use crate::model::operation::{
    Instance, Lease, OutOfSync, Pause, Renewal, Said, SessionName, Stop, tables_from_text, tables_to_text,
};
use crate::model::schema::TableId;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Transaction, TxOpts, params};
use std::time::Duration;

/// Such a session has ended by itself.
const NO_SUCH_SESSION: u16 = 1094;
const NO_SUCH_COLUMN: u16 = 1054;

pub(super) const LEASE: &str = "SELECT instance, holder, process, \
    TIMESTAMPDIFF(MICROSECOND, NOW(6), expires_at) DIV 1000, TIMESTAMPDIFF(MICROSECOND, taken_at, NOW(6)) DIV 1000 \
    FROM tidelock.lease WHERE sync = :sync AND link = :link";

pub(super) const AUDIT: &str = "INSERT INTO tidelock.audit (operator, action, sync, link, detail)
    VALUES (:operator, :action, :sync, :link, :detail)";

fn micros(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX)
}

/// Runs one statement and tells how many rows it found.
async fn execute(conn: &mut Conn, doing: &str, sql: &str, values: Params) -> Result<u64> {
    conn.exec_drop(sql, values)
        .await
        .map_err(|error| fail(doing, error))?;
    Ok(conn.affected_rows())
}

/// instance, holder, process, milliseconds left, milliseconds since it was taken
pub(super) type LeaseRow = (String, String, String, i64, i64);

/// `None`: nobody ever had it.
pub async fn lease(conn: &mut Conn, sync: &str, link: &str) -> Result<Option<Lease>> {
    let row: Option<LeaseRow> = conn
        .exec_first(LEASE, params! { sync, link })
        .await
        .map_err(|error| fail(format!("read the lease of {link}"), error))?;
    Ok(row.map(|(instance, holder, process, left_ms, age_ms)| Lease {
        instance,
        holder,
        process,
        left_ms,
        age_ms,
    }))
}

/// Takes the lease if it is free, ours, or one of `dead`, an instance that is known to have ended.
pub async fn take_lease(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    instance: &Instance,
    ttl: Duration,
    dead: &str,
) -> Result<bool> {
    let doing = format!("take the lease of {link}");
    let free =
        "INSERT IGNORE INTO tidelock.lease (sync, link, instance, holder, process, taken_at, expires_at)
                VALUES (:sync, :link, '', '', '', '1970-01-01', '1970-01-01')";
    execute(conn, &doing, free, params! { sync, link }).await?;
    let take =
        "UPDATE tidelock.lease SET instance = :id, holder = :name, process = :process, taken_at = NOW(6), figures = NULL,
                       expires_at = NOW(6) + INTERVAL :micros MICROSECOND
                 WHERE sync = :sync AND link = :link AND (expires_at <= NOW(6) OR instance IN (:id, :dead))";
    let (id, name, process) = (&instance.id, &instance.name, &instance.process);
    let values = params! { sync, link, id, name, process, "micros" => micros(ttl), dead };
    Ok(execute(conn, &doing, take, values).await? == 1)
}

/// What the link's holder said last; `None` too while the control database is older than version 4.
pub async fn said(conn: &mut Conn, sync: &str, link: &str) -> Result<Option<Said>> {
    let doing = format!("read what is said of {link}");
    let sql = "SELECT figures, TIMESTAMPDIFF(MICROSECOND, renewed_at, NOW(6)) DIV 1000
                 FROM tidelock.lease WHERE sync = :sync AND link = :link";
    let read: Result<Option<(Option<String>, Option<i64>)>, _> =
        conn.exec_first(sql, params! { sync, link }).await;
    let (figures, age) = match read {
        Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_COLUMN => return Ok(None),
        read => read.map_err(|error| fail(doing, error))?.unwrap_or_default(),
    };
    Ok(figures.zip(age).map(|(figures, age)| Said {
        figures,
        age_ms: age.max(0).unsigned_abs(),
    }))
}

/// Makes our lease longer, with what is to be said of the link, and tells what people want of it.
pub async fn renew_lease(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    instance: &str,
    ttl: Duration,
    figures: Option<&str>,
) -> Result<Renewal> {
    let doing = format!("renew the lease of {link}");
    let renew = "UPDATE tidelock.lease SET expires_at = NOW(6) + INTERVAL :micros MICROSECOND,
                        renewed_at = NOW(6), figures = :figures
                  WHERE sync = :sync AND link = :link AND instance = :instance";
    let values = params! { sync, link, instance, "micros" => micros(ttl), figures };
    let is_ours = execute(conn, &doing, renew, values).await? == 1;
    let paused = "SELECT paused FROM tidelock.link_state WHERE sync = :sync AND link = :link";
    let paused: Option<bool> = conn
        .exec_first(paused, params! { sync, link })
        .await
        .map_err(|error| fail(doing, error))?;
    Ok(Renewal {
        is_ours,
        is_paused: paused.unwrap_or_default(),
    })
}

pub async fn release_lease(conn: &mut Conn, sync: &str, link: &str, instance: &str) -> Result<()> {
    let doing = format!("give back the lease of {link}");
    let release = "UPDATE tidelock.lease SET expires_at = NOW(6)
                    WHERE sync = :sync AND link = :link AND instance = :instance AND expires_at > NOW(6)";
    execute(conn, &doing, release, params! { sync, link, instance }).await?;
    Ok(())
}

/// Notes the session, so that another copy can end it. Where that fails (the server takes no writes, say), taking
/// over has to wait for the server to notice that this session is dead; the epoch protects the rows all the same.
/// `id`: of this session, or of one that reads no answers.
pub(super) async fn note_session(conn: &mut Conn, id: u32, name: &SessionName) {
    let id = u64::from(id);
    let noted = async {
        let found = seen(conn).await?;
        match found.into_iter().find(|session| session.id == id) {
            Some(Seen { address, .. }) => {
                let [sync, link, instance] = [&name.sync, &name.link, &name.instance].map(|text| hex(text));
                let address = hex(&address);
                let note = format!(
                    "REPLACE INTO tidelock.session (id, address, sync, link, instance) VALUES ({id}, {address}, {sync}, {link}, {instance})"
                );
                conn.query_drop(note).await
            }
            None => Ok(()),
        }
    };
    if let Err(error) = noted.await {
        tracing::debug!(link = name.link, %error, "a session could not be noted");
    }
}

/// Right whatever a session takes a backslash for.
fn hex(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("CONVERT(X'{hex}' USING utf8mb4)")
}

/// A session as the server shows it.
pub(super) struct Seen {
    pub(super) id: u64,
    pub(super) user: String,
    address: String,
    /// Seconds in its state.
    pub(super) time: i64,
    pub(super) state: String,
}

/// The sessions that the server shows to this account: its own, or with PROCESS all of them. Not from
/// `information_schema.processlist`: MySQL answers error 3854 there while any of them runs a statement with a 4-byte
/// character, which its column for statements cannot hold.
pub(super) async fn seen(conn: &mut Conn) -> mysql_async::Result<Vec<Seen>> {
    let rows: Vec<mysql_async::Row> = conn.query("SHOW PROCESSLIST").await?;
    let session = |row: &mysql_async::Row| {
        let time: Option<i64> = row.get_opt("Time")?.unwrap_or_default();
        let state: Option<String> = row.get_opt("State")?.unwrap_or_default();
        Some(Seen {
            id: row.get_opt("Id")?.ok()?,
            user: row.get_opt("User")?.ok()?,
            address: row.get_opt("Host")?.ok()?,
            time: time.unwrap_or_default(),
            state: state.unwrap_or_default(),
        })
    };
    Ok(rows.iter().filter_map(session).collect())
}

/// Ends what other copies left open for this link: a frozen one holds locks. Returns how many there were.
pub async fn end_sessions(conn: &mut Conn, sync: &str, link: &str, instance: &str) -> Result<u64> {
    let doing = format!("end the sessions of another copy of {link}");
    let seen = seen(conn).await.map_err(|error| fail(&*doing, error))?;
    let find = "SELECT id, address FROM tidelock.session WHERE sync = :sync AND link = :link AND instance <> :instance";
    let values = params! { sync, link, instance };
    let mut found: Vec<(u64, String)> = conn
        .exec(find, values.clone())
        .await
        .map_err(|error| fail(&*doing, error))?;
    // A number comes again after a restart of the server; the address behind it is another then.
    found.retain(|(id, address)| seen.iter().any(|seen| seen.id == *id && seen.address == *address));
    for (id, _) in &found {
        match conn.query_drop(format!("KILL CONNECTION {id}")).await {
            Ok(()) => {}
            Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_SESSION => {}
            Err(error) => return Err(fail(doing, error)),
        }
    }
    // What is left of sessions that ended, of ours too.
    let alive: Vec<String> = seen.iter().map(|seen| seen.id.to_string()).collect();
    let forget = format!(
        "DELETE FROM tidelock.session WHERE sync = :sync AND link = :link
            AND (instance <> :instance OR id NOT IN ({}))",
        alive.join(", ")
    );
    execute(conn, &doing, &forget, values).await?;
    Ok(found.len() as u64)
}

/// Pauses or resumes a link. `false`: it was so already, and nothing was written.
pub async fn want(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    paused: bool,
    reason: &str,
    operator: &str,
) -> Result<bool> {
    let action = if paused { "pause" } else { "resume" };
    let doing = format!("{action} link {link}");
    let wrong = |error| fail(&*doing, error);
    let mut transaction = conn.start_transaction(TxOpts::default()).await.map_err(wrong)?;
    let known = "INSERT IGNORE INTO tidelock.link_state (sync, link) VALUES (:sync, :link)";
    transaction
        .exec_drop(known, params! { sync, link })
        .await
        .map_err(wrong)?;
    let want = "UPDATE tidelock.link_state SET paused = :paused, changed_by = :operator, changed_at = NOW(6),
                       reason = :reason
                 WHERE sync = :sync AND link = :link AND paused <> :paused";
    transaction
        .exec_drop(want, params! { sync, link, paused, operator, reason })
        .await
        .map_err(wrong)?;
    let changed = transaction.affected_rows() == 1;
    if changed {
        let values = params! { sync, link, operator, action, "detail" => reason };
        transaction.exec_drop(AUDIT, values).await.map_err(wrong)?;
        transaction.commit().await.map_err(wrong)?;
    } else {
        transaction.rollback().await.map_err(wrong)?;
    }
    Ok(changed)
}

/// Leaves word of why a link stopped, for whoever asks from another machine.
pub async fn record_stop(conn: &mut Conn, sync: &str, link: &str, stop: &Stop) -> Result<()> {
    let halt = stop.halt.as_ref();
    let position = halt.map(|halt| halt.transaction.as_str());
    let past = halt.and_then(|halt| halt.past.as_deref());
    let tables = halt.map(|halt| tables_to_text(&halt.tables));
    let changes = halt.map(|halt| i64::try_from(halt.changes).unwrap_or(i64::MAX));
    let known = "INSERT IGNORE INTO tidelock.link_state (sync, link) VALUES (:sync, :link)";
    let doing = format!("record why {link} stopped");
    execute(conn, &doing, known, params! { sync, link }).await?;
    let record = "UPDATE tidelock.link_state SET stopped_at = NOW(6), stop_error = :error, stop_hint = :hint,
                         stop_seq = :seq, stop_position = :position, stop_past = :past, stop_tables = :tables,
                         stop_changes = :changes
                   WHERE sync = :sync AND link = :link";
    let (error, hint, seq) = (&stop.error, &stop.hint, stop.seq);
    let values = params! { sync, link, error, hint, seq, position, past, tables, changes };
    execute(conn, &doing, record, values).await?;
    Ok(())
}

type PauseRow = (bool, String, i64, String);
type StopRow = (
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
);

/// What people want of a link and what it stopped at.
pub async fn link_state(conn: &mut Conn, sync: &str, link: &str) -> Result<(Option<Pause>, Option<Stop>)> {
    let doing = format!("read the state of {link}");
    let read = "SELECT paused, changed_by, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', changed_at), reason
                  FROM tidelock.link_state WHERE sync = :sync AND link = :link";
    let pause: Option<PauseRow> = conn
        .exec_first(read, params! { sync, link })
        .await
        .map_err(|error| fail(&*doing, error))?;
    let read = "SELECT stop_error, stop_hint, stop_seq, stop_position, stop_past, stop_tables, stop_changes,
                       TIMESTAMPDIFF(MICROSECOND, stopped_at, NOW(6)) DIV 1000
                  FROM tidelock.link_state WHERE sync = :sync AND link = :link";
    let stop: Option<StopRow> = conn
        .exec_first(read, params! { sync, link })
        .await
        .map_err(|error| fail(doing, error))?;
    let pause = pause.filter(|(paused, ..)| *paused);
    let pause = pause.map(|(_, by, at_us, reason)| Pause { by, at_us, reason });
    let stop = stop.and_then(|(error, hint, seq, transaction, past, tables, changes, age_ms)| {
        Some(Stop {
            error: error.unwrap_or_default(),
            hint,
            seq: seq.unwrap_or_default(),
            halt: transaction.map(|transaction| Halt {
                transaction,
                past,
                tables: tables_from_text(tables.as_deref().unwrap_or_default()),
                changes: changes.unwrap_or_default().unsigned_abs(),
            }),
            age_ms: age_ms?,
        })
    });
    Ok((pause, stop))
}

/// Of one link, or of all that write into this server.
pub async fn out_of_sync(conn: &mut Conn, sync: &str, link: Option<&str>) -> Result<Vec<OutOfSync>> {
    let read = "SELECT schema_name, table_name, position, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', since), link
                  FROM tidelock.out_of_sync WHERE sync = :sync AND (:link IS NULL OR link = :link) ORDER BY 1, 2, 5";
    let rows: Vec<(String, String, String, i64, String)> = conn
        .exec(read, params! { sync, link })
        .await
        .map_err(|error| fail(format!("read which tables of sync {sync} are out of sync"), error))?;
    Ok(rows
        .into_iter()
        .map(|(schema, name, position, since_us, link)| OutOfSync {
            link,
            table: TableId::new(schema, name),
            position,
            since_us,
        })
        .collect())
}

/// Moves the checkpoint past the transaction the link stopped at, marks the tables and writes the audit, in one
/// transaction. `false`: the link does not stand there any more, and nothing was written.
pub async fn skip(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    (halt, past): (&Halt, &str),
    (seq, tables): (i64, &[TableId]),
    operator: &str,
) -> Result<bool> {
    let doing = format!("skip transaction {} of {link}", halt.transaction);
    let wrong = |error| fail(&*doing, error);
    let position = &halt.transaction;
    let mut transaction = conn.start_transaction(TxOpts::default()).await.map_err(wrong)?;
    // The greatest seq over all lanes is asked apart: MySQL does not update a table that it reads in a subquery.
    let there = "SELECT MAX(c.seq) FROM tidelock.checkpoint c JOIN tidelock.link_state s USING (sync, link)
                  WHERE c.sync = :sync AND c.link = :link AND s.stop_seq = :seq AND s.stop_position = :position
                    FOR UPDATE";
    let there: Option<Option<i64>> = transaction
        .exec_first(there, params! { sync, link, seq, position })
        .await
        .map_err(wrong)?;
    if there.flatten() != Some(seq) {
        transaction.rollback().await.map_err(wrong)?;
        return Ok(false);
    }
    let moved =
        "UPDATE tidelock.checkpoint SET seq = seq + 1, epoch = epoch + 1, position = :past, moved_at = NOW(6)
                  WHERE sync = :sync AND link = :link AND seq = :seq";
    transaction
        .exec_drop(moved, params! { sync, link, seq, past })
        .await
        .map_err(wrong)?;
    let detail = format!("{position} -> {past}");
    left_out(
        &mut transaction,
        (sync, link),
        (position, tables),
        (detail, operator),
    )
    .await
    .map_err(wrong)?;
    match transaction.commit().await {
        Ok(()) => Ok(true),
        Err(error) => Err(Error::ambiguous(doing)
            .why(error.to_string())
            .hint("`tidelock status` says where the link stands now")),
    }
}

/// Marks tables that lack what a transaction changed in them, and notes who left it out.
pub(super) async fn left_out(
    transaction: &mut Transaction<'_>,
    (sync, link): (&str, &str),
    (position, tables): (&str, &[TableId]),
    (detail, operator): (String, &str),
) -> Result<(), mysql_async::Error> {
    let mark = "INSERT INTO tidelock.out_of_sync (sync, link, schema_name, table_name, position)
                VALUES (:sync, :link, :schema, :name, :position) ON DUPLICATE KEY UPDATE position = :position";
    for table in tables {
        let (schema, name) = (&table.schema, &table.name);
        let values = params! { sync, link, schema, name, position };
        transaction.exec_drop(mark, values).await?;
    }
    let values = params! { sync, link, operator, "action" => "skip", detail };
    transaction.exec_drop(AUDIT, values).await
}
