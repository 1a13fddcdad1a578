//! The record of conflicts in one PostgreSQL database: `tidelock.conflict`.
//!
//! Owns: writing records (in the apply transaction that met the conflict), reading them, noting how they were settled,
//! and removing those that are old. Refuses: deciding anything, and rows that `plan::evidence` has not made.
//! A database that was never set up has no conflicts; one of an older version says what to run.

use super::{fail, status};
use crate::error::{Error, Result};
use crate::model::conflict::{Conflict, ConflictFilter, Settled, Settling, StoredConflict};
use crate::model::stamp::{Kind, Rank, Stamp};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// One array per column; times are microseconds since 1970.
pub(super) const RECORD: &str = "INSERT INTO tidelock.conflict (id, sync, link, schema_name, table_name, key_json, kind, \
    operation, rule, outcome, detail, base_json, local_json, incoming_json, base_version, base_origin, local_version, \
    local_origin, local_deleted, incoming_version, incoming_origin, incoming_deleted, winner, source_position, \
    source_committed_at, target_position) \
    SELECT c.id, $1, $2, c.s, c.t, c.k, c.kind, c.op, c.rule, c.outcome, c.detail, c.base, c.local, c.incoming, \
    c.bv, c.bo::int2, c.lv, c.lo::int2, c.ld, c.iv, c.io::int2, c.ind, c.winner::int2, c.position, \
    timestamptz 'epoch' + c.at * interval '1 microsecond', pg_current_wal_insert_lsn()::text \
    FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], \
    $11::text[], $12::text[], $13::text[], $14::text[], $15::int8[], $16::int8[], $17::int8[], $18::int8[], \
    $19::bool[], $20::int8[], $21::int8[], $22::bool[], $23::int8[], $24::text[], $25::int8[]) \
    AS c(id, s, t, k, kind, op, rule, outcome, detail, base, local, incoming, bv, bo, lv, lo, ld, iv, io, ind, winner, \
    position, at) ON CONFLICT DO NOTHING";

/// Parameters: sync, ids, by, how, and whether decided ones are meant too.
pub(super) const SETTLE: &str = "UPDATE tidelock.conflict \
    SET outcome = CASE outcome WHEN 'open' THEN 'resolved' ELSE outcome END, settled_at = clock_timestamp(), \
    settled_by = $3, settled_how = $4 \
    WHERE id = ANY($2) AND sync = $1 AND (outcome = 'open' OR $5) RETURNING 1";

/// Parameters: sync, link, schema, table, kind, and the keys; without keys all of the table's are meant.
pub(super) const WITHDRAW: &str = "DELETE FROM tidelock.conflict WHERE outcome = 'applied' AND sync = $1 AND link = $2 \
    AND schema_name = $3 AND table_name = $4 AND kind = $5 AND ($6::text[] = '{}' OR key_json = ANY($6))";

/// The version above which a table's new rows start.
pub(super) const FLOOR: &str = "SELECT coalesce(max(floor), 0)::bigint FROM tidelock.table_state \
    WHERE schema_name = $1 AND table_name = $2";

/// Parameters of [`RECORD`] from the third on.
pub(super) fn columns(chunk: &[Conflict]) -> Vec<Box<dyn ToSql + Sync + Send + '_>> {
    fn boxed<'c, T: ToSql + Sync + Send + 'c>(
        chunk: &'c [Conflict],
        of: impl Fn(&'c Conflict) -> T,
    ) -> Box<dyn ToSql + Sync + Send + 'c> {
        Box::new(chunk.iter().map(of).collect::<Vec<T>>())
    }
    let version = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.version);
    let origin = |stamp: Option<Stamp>| stamp.map(|stamp| i64::from(stamp.origin));
    let deleted = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.kind == Kind::Delete);
    vec![
        boxed(chunk, |c| c.id.as_str()),
        boxed(chunk, |c| c.schema.as_str()),
        boxed(chunk, |c| c.table.as_str()),
        boxed(chunk, |c| c.key.as_str()),
        boxed(chunk, |c| c.kind.name()),
        boxed(chunk, |c| c.operation),
        boxed(chunk, |c| c.rule),
        boxed(chunk, |c| c.outcome.name()),
        boxed(chunk, |c| c.detail.as_str()),
        boxed(chunk, |c| c.base.as_deref()),
        boxed(chunk, |c| c.local.as_deref()),
        boxed(chunk, |c| c.incoming.as_deref()),
        boxed(chunk, move |c| version(c.base_stamp)),
        boxed(chunk, move |c| origin(c.base_stamp)),
        boxed(chunk, move |c| version(c.local_stamp)),
        boxed(chunk, move |c| origin(c.local_stamp)),
        boxed(chunk, move |c| deleted(c.local_stamp)),
        boxed(chunk, move |c| version(c.incoming_stamp)),
        boxed(chunk, move |c| origin(c.incoming_stamp)),
        boxed(chunk, move |c| deleted(c.incoming_stamp)),
        boxed(chunk, |c| c.winner.map(i64::from)),
        boxed(chunk, |c| c.source_position.as_str()),
        boxed(chunk, |c| c.source_committed_at_us),
    ]
}

pub async fn conflicts(client: &Client, sync: &str, filter: &ConflictFilter) -> Result<Vec<StoredConflict>> {
    if !status::is_set_up(client).await? {
        return Ok(Vec::new());
    }
    let doing = "read conflicts";
    let order = match filter.after {
        Some(_) => "ASC",
        None => "DESC",
    };
    let sql = format!(
        "SELECT number, id, sync, link, schema_name, table_name, key_json, base_json, local_json,
                incoming_json, kind, operation, rule, outcome, detail, base_version, base_origin::bigint, false,
                local_version, local_origin::bigint, coalesce(local_deleted, local_json IS NULL),
                incoming_version, incoming_origin::bigint, coalesce(incoming_deleted, operation = 'delete'),
                winner::bigint, source_position, coalesce(target_position, ''),
                (extract(epoch FROM source_committed_at) * 1000000)::bigint,
                (extract(epoch FROM recorded_at) * 1000000)::bigint,
                (extract(epoch FROM settled_at) * 1000000)::bigint, settled_by, settled_how
           FROM tidelock.conflict
          WHERE sync = $1 AND ($2::bigint IS NULL OR number = $2) AND ($3::text IS NULL OR id = $3)
            AND ($4::text IS NULL OR table_name = $4 OR schema_name || '.' || table_name = $4)
            AND ($5::text IS NULL OR kind = $5) AND (NOT $6::boolean OR outcome = 'open')
            AND ($8::bigint IS NULL OR recorded_at >= timestamptz 'epoch' + $8 * interval '1 microsecond')
            AND ($9::bigint IS NULL OR number > $9) AND ($10::text IS NULL OR key_json = $10)
          ORDER BY number {order} LIMIT $7"
    );
    let limit = (filter.limit > 0).then_some(i64::from(filter.limit));
    let values: [&(dyn ToSql + Sync); 10] = [
        &sync,
        &filter.number,
        &filter.id,
        &filter.table,
        &filter.kind,
        &filter.only_open,
        &limit,
        &filter.since_us,
        &filter.after,
        &filter.key,
    ];
    let rows = client
        .query(&sql, &values)
        .await
        .map_err(|error| older(doing, error))?;
    rows.iter()
        .map(|row| stored(row).map_err(|error| fail(doing, error)))
        .collect()
}

/// In a transaction of its own. Returns how many records there were.
pub async fn settle(client: &Client, sync: &str, ids: &[String], settling: Settling<'_>) -> Result<u64> {
    let Settling { by, how, overrides } = settling;
    let values: [&(dyn ToSql + Sync); 5] = [&sync, &ids, &by, &how, &overrides];
    let doing = "note how a conflict was settled";
    let rows = client.query(SETTLE, &values).await;
    Ok(rows.map_err(|error| older(doing, error))?.len() as u64)
}

/// Removes at most so many records that are older and not open. Returns how many there were; nothing is written where
/// there were none.
pub async fn forget(client: &Client, link: (&str, &str), keep: Duration, limit: u32) -> Result<u64> {
    let (sync, link) = link;
    let sql = "DELETE FROM tidelock.conflict WHERE number IN (
                   SELECT number FROM tidelock.conflict
                    WHERE sync = $1 AND link = $2 AND outcome <> 'open'
                      AND recorded_at < clock_timestamp() - $3::float8 * interval '1 second'
                      AND coalesce(settled_at, recorded_at) < clock_timestamp() - $3::float8 * interval '1 second'
                    ORDER BY recorded_at LIMIT $4)";
    let values: [&(dyn ToSql + Sync); 4] = [&sync, &link, &keep.as_secs_f64(), &i64::from(limit)];
    client
        .execute(sql, &values)
        .await
        .map_err(|error| older("remove old conflicts", error))
}

/// A control schema that lacks columns was made by an older version.
pub(super) fn older(doing: &str, error: tokio_postgres::Error) -> Error {
    let lacks = error.code() == Some(&SqlState::UNDEFINED_COLUMN);
    let error = fail(doing, error);
    match lacks {
        true => error.hint("`tidelock setup --execute` makes what this version needs"),
        false => error,
    }
}

fn stored(row: &Row) -> Result<StoredConflict, tokio_postgres::Error> {
    // Version, origin and whether it is a delete's stand side by side.
    let stamp = |at: usize| -> Result<Option<Stamp>, tokio_postgres::Error> {
        let (version, origin): (Option<i64>, Option<i64>) = (row.try_get(at)?, row.try_get(at + 1)?);
        let kind = match row.try_get::<_, Option<bool>>(at + 2)? {
            Some(true) => Kind::Delete,
            Some(false) | None => Kind::Write,
        };
        let origin = origin.and_then(|origin| Rank::try_from(origin).ok());
        Ok(version.zip(origin).map(|(version, origin)| Stamp {
            version,
            kind,
            origin,
        }))
    };
    let settled: (Option<i64>, Option<String>, Option<String>) =
        (row.try_get(29)?, row.try_get(30)?, row.try_get(31)?);
    let winner: Option<i64> = row.try_get(24)?;
    Ok(StoredConflict {
        number: row.try_get(0)?,
        id: row.try_get(1)?,
        sync: row.try_get(2)?,
        link: row.try_get(3)?,
        schema: row.try_get(4)?,
        table: row.try_get(5)?,
        key: row.try_get(6)?,
        base: row.try_get(7)?,
        local: row.try_get(8)?,
        incoming: row.try_get(9)?,
        kind: row.try_get(10)?,
        operation: row.try_get(11)?,
        rule: row.try_get(12)?,
        outcome: row.try_get(13)?,
        detail: row.try_get(14)?,
        base_stamp: stamp(15)?,
        local_stamp: stamp(18)?,
        incoming_stamp: stamp(21)?,
        winner: winner.and_then(|winner| Rank::try_from(winner).ok()),
        source_position: row.try_get(25)?,
        target_position: row.try_get(26)?,
        source_committed_at_us: row.try_get(27)?,
        recorded_at_us: row.try_get(28)?,
        settled: settled.0.map(|at_us| Settled {
            at_us,
            by: settled.1.unwrap_or_default(),
            how: settled.2.unwrap_or_default(),
        }),
    })
}
