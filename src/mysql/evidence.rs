//! The record of conflicts in one MySQL or MariaDB server: `tidelock.conflict`.
//!
//! Owns: writing records (in the apply transaction that met the conflict), reading them, noting how they were settled,
//! and removing those that are old. Refuses: deciding anything, and rows that `plan::evidence` has not made.
//! A server that was never set up has no conflicts; one of an older version says what to run.

use super::sql::{Sql, optional, push, separated, text};
use super::{fail, status};
use crate::error::{Error, Result};
use crate::model::conflict::{Conflict, ConflictFilter, ConflictKind, Settled, Settling, StoredConflict};
use crate::model::schema::TableId;
use crate::model::stamp::{Kind, Rank, Stamp};
use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Conn, Row, Value, params};
use std::time::Duration;

const NO_SUCH_COLUMN: u16 = 1054;

/// The version above which a table's new rows start.
pub(super) const FLOOR: &str = "SELECT CAST(COALESCE(MAX(floor), 0) AS SIGNED) FROM tidelock.table_state \
    WHERE schema_name = :schema AND table_name = :name";

/// Times are microseconds since 1970. `position`: where this server's log ends.
pub(super) fn record(sync: &str, link: &str, conflicts: &[Conflict], position: &str) -> Sql {
    let mut out = Sql::from(
        "INSERT INTO tidelock.conflict (sync, link, id, schema_name, table_name, key_json, kind, operation, rule, \
         outcome, detail, source_position, target_position, base_json, local_json, incoming_json, base_version, \
         base_origin, local_version, local_origin, local_deleted, incoming_version, incoming_origin, incoming_deleted, \
         winner, source_committed_at) VALUES ",
    );
    separated(conflicts, ", ", &mut out, |conflict, out| {
        out.push(b'(');
        let (kind, outcome) = (conflict.kind.name(), conflict.outcome.name());
        let Conflict {
            id,
            schema,
            table,
            key,
            operation,
            rule,
            detail,
            ..
        } = conflict;
        let from = &conflict.source_position;
        let texts = [
            sync, link, id, schema, table, key, kind, operation, rule, outcome, detail, from, position,
        ];
        for value in texts {
            text(value, out);
            out.push(b',');
        }
        for image in [&conflict.base, &conflict.local, &conflict.incoming] {
            optional(image.as_deref(), out);
            out.push(b',');
        }
        stamp_cells(conflict, out);
        let at = conflict.source_committed_at_us;
        push(
            out,
            &format!("TIMESTAMPADD(MICROSECOND, {at}, '1970-01-01 00:00:00'))"),
        );
    });
    // Not IGNORE, which would turn every other error into a warning too.
    push(&mut out, " ON DUPLICATE KEY UPDATE number = number");
    out
}

/// Of base (which is never a delete's), local and incoming, and the winner.
fn stamp_cells(conflict: &Conflict, out: &mut Sql) {
    match conflict.base_stamp {
        Some(stamp) => push(out, &format!("{}, {}, ", stamp.version, stamp.origin)),
        None => push(out, "NULL, NULL, "),
    }
    for stamp in [conflict.local_stamp, conflict.incoming_stamp] {
        match stamp {
            Some(stamp) => {
                let deleted = stamp.kind == Kind::Delete;
                push(out, &format!("{}, {}, {deleted}, ", stamp.version, stamp.origin));
            }
            None => push(out, "NULL, NULL, NULL, "),
        }
    }
    match conflict.winner {
        Some(winner) => push(out, &format!("{winner}, ")),
        None => push(out, "NULL, "),
    }
}

/// `overrides`: decided ones are meant too.
pub(super) fn settle_sql(sync: &str, ids: &[String], settling: Settling<'_>) -> Sql {
    // Assignments go from left to right: the outcome comes last.
    let mut out = Sql::from("UPDATE tidelock.conflict SET settled_at = CURRENT_TIMESTAMP(6), settled_by = ");
    text(settling.by, &mut out);
    push(&mut out, ", settled_how = ");
    text(settling.how, &mut out);
    push(
        &mut out,
        ", outcome = IF(outcome = 'open', 'resolved', outcome) WHERE sync = ",
    );
    text(sync, &mut out);
    push(&mut out, " AND id IN (");
    separated(ids, ", ", &mut out, |id, out| text(id, out));
    push(&mut out, ")");
    if !settling.overrides {
        push(&mut out, " AND outcome = 'open'");
    }
    out
}

/// Without keys all of the table's are meant.
pub(super) fn withdraw_sql(link: (&str, &str), table: &TableId, kind: ConflictKind, keys: &[String]) -> Sql {
    let mut out = Sql::from("DELETE FROM tidelock.conflict WHERE outcome = 'applied'");
    let texts = [
        (" AND sync = ", link.0),
        (" AND link = ", link.1),
        (" AND schema_name = ", &table.schema),
        (" AND table_name = ", &table.name),
        (" AND kind = ", kind.name()),
    ];
    for (column, value) in texts {
        push(&mut out, column);
        text(value, &mut out);
    }
    if !keys.is_empty() {
        push(&mut out, " AND key_json IN (");
        separated(keys, ", ", &mut out, |key, out| text(key, out));
        push(&mut out, ")");
    }
    out
}

pub async fn conflicts(conn: &mut Conn, sync: &str, filter: &ConflictFilter) -> Result<Vec<StoredConflict>> {
    if !status::is_set_up(conn).await? {
        return Ok(Vec::new());
    }
    let doing = "read conflicts";
    let order = match filter.after {
        Some(_) => "ASC",
        None => "DESC",
    };
    let sql = format!(
        "SELECT number, id, sync, link, schema_name, table_name, key_json, base_json, local_json,
                incoming_json, kind, operation, rule, outcome, detail, base_version, base_origin, FALSE,
                local_version, local_origin, COALESCE(local_deleted, local_json IS NULL),
                incoming_version, incoming_origin, COALESCE(incoming_deleted, operation = 'delete'),
                winner, source_position, COALESCE(target_position, ''),
                TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', source_committed_at),
                TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', recorded_at),
                TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', settled_at), settled_by, settled_how
           FROM tidelock.conflict
          WHERE sync = :sync AND (:number IS NULL OR number = :number) AND (:id IS NULL OR id = :id)
            AND (:name IS NULL OR table_name = :name OR CONCAT(schema_name, '.', table_name) = :name)
            AND (:kind IS NULL OR kind = :kind) AND (NOT :only_open OR outcome = 'open')
            AND (:since IS NULL OR recorded_at >= TIMESTAMPADD(MICROSECOND, :since, '1970-01-01 00:00:00'))
            AND (:after IS NULL OR number > :after) AND (:key IS NULL OR key_json = :key)
          ORDER BY number {order} LIMIT :limit"
    );
    let limit = match filter.limit {
        0 => i64::MAX as u64,
        limit => u64::from(limit),
    };
    let params = params! {
        sync, "number" => filter.number, "id" => filter.id.as_deref(), "name" => filter.table.as_deref(),
        "kind" => filter.kind.as_deref(), "only_open" => filter.only_open, "since" => filter.since_us,
        "after" => filter.after, "key" => filter.key.as_deref(), limit,
    };
    let rows: Vec<Row> = conn
        .exec(sql, params)
        .await
        .map_err(|error| older(doing, error))?;
    rows.into_iter()
        .map(|mut row| stored(&mut row).ok_or_else(|| Error::bug(doing).why("a column is missing")))
        .collect()
}

/// In a transaction of its own. Returns how many records there were.
pub async fn settle(conn: &mut Conn, sync: &str, ids: &[String], settling: Settling<'_>) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let doing = "note how a conflict was settled";
    conn.query_drop(settle_sql(sync, ids, settling))
        .await
        .map_err(|error| older(doing, error))?;
    Ok(conn.affected_rows())
}

/// Removes at most so many records that are older and not open. Returns how many there were; nothing is written where
/// there were none.
pub async fn forget(conn: &mut Conn, link: (&str, &str), keep: Duration, limit: u32) -> Result<u64> {
    let (sync, link) = link;
    let sql = "DELETE FROM tidelock.conflict
                WHERE sync = :sync AND link = :link AND outcome <> 'open'
                  AND recorded_at < TIMESTAMPADD(SECOND, :ago, NOW(6))
                  AND COALESCE(settled_at, recorded_at) < TIMESTAMPADD(SECOND, :ago, NOW(6))
                ORDER BY recorded_at LIMIT :limit";
    // Negative, and a negated parameter would be out of range.
    let ago = -i64::try_from(keep.as_secs()).unwrap_or(i64::from(i32::MAX));
    let values = params! { sync, link, "ago" => ago, limit };
    conn.exec_drop(sql, values)
        .await
        .map_err(|error| older("remove old conflicts", error))?;
    Ok(conn.affected_rows())
}

/// A control database that lacks columns was made by an older version.
pub(super) fn older(doing: &str, error: mysql_async::Error) -> Error {
    let lacks = matches!(&error, mysql_async::Error::Server(error) if error.code == NO_SUCH_COLUMN);
    let error = fail(doing, error);
    match lacks {
        true => error.hint("`tidelock setup --execute` makes what this version needs"),
        false => error,
    }
}

/// `None`: a column is not there or of another type.
fn stored(row: &mut Row) -> Option<StoredConflict> {
    fn take<T: FromValue>(row: &mut Row, column: usize) -> Option<T> {
        T::from_value_opt(row.take::<Value, _>(column)?).ok()
    }
    // Version, origin and whether it is a delete's stand side by side.
    let mut stamp = |at: usize| -> Option<Option<Stamp>> {
        let version: Option<i64> = take(row, at)?;
        let origin: Option<Rank> = take(row, at + 1)?;
        let deleted: Option<bool> = take(row, at + 2)?;
        let kind = if deleted == Some(true) {
            Kind::Delete
        } else {
            Kind::Write
        };
        Some(version.zip(origin).map(|(version, origin)| Stamp {
            version,
            kind,
            origin,
        }))
    };
    let (base_stamp, local_stamp, incoming_stamp) = (stamp(15)?, stamp(18)?, stamp(21)?);
    let settled: (Option<i64>, Option<String>, Option<String>) =
        (take(row, 29)?, take(row, 30)?, take(row, 31)?);
    Some(StoredConflict {
        number: take(row, 0)?,
        id: take(row, 1)?,
        sync: take(row, 2)?,
        link: take(row, 3)?,
        schema: take(row, 4)?,
        table: take(row, 5)?,
        key: take(row, 6)?,
        base: take(row, 7)?,
        local: take(row, 8)?,
        incoming: take(row, 9)?,
        kind: take(row, 10)?,
        operation: take(row, 11)?,
        rule: take(row, 12)?,
        outcome: take(row, 13)?,
        detail: take(row, 14)?,
        base_stamp,
        local_stamp,
        incoming_stamp,
        winner: take(row, 24)?,
        source_position: take(row, 25)?,
        target_position: take(row, 26)?,
        source_committed_at_us: take(row, 27)?,
        recorded_at_us: take(row, 28)?,
        settled: settled.0.map(|at_us| Settled {
            at_us,
            by: settled.1.unwrap_or_default(),
            how: settled.2.unwrap_or_default(),
        }),
    })
}
