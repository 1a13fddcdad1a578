//! Rows that an `ALTER TABLE` rewrote, which no log holds: `ALTER COLUMN .. TYPE .. USING` can give every row other
//! values.
//!
//! Owns: telling it from what rewrites a table and keeps the values of its columns. What is compared stands in the table's
//! own row of `tidelock.published` (see `published`): its file, and of each column when its row in the catalog was
//! written, its type and its default.
//!
//! - **VACUUM FULL, CLUSTER, another tablespace, LOGGED, TRUNCATE** change the file and no column.
//! - **A column's row is written by other DDL too**, which rewrites nothing. Only both together count.
//! - **A rewrite writes the values of columns that ADD COLUMN only noted as missing**, and then their rows in the catalog.
//!   A change of type makes the column's default anew, so a default that is the same one proves that there was none.
//! - **A row from before the record** proves that no `ALTER TABLE` wrote all of them since; so does an empty table.
//! - **Another type** is told by the log, and judged where rows are read.
//!
//! Refuses: guessing. What is left counts as altered. Fails: as the catalog does.

use super::published::{Member, holds_old_row, size};
use super::state::{cell, rows};
use crate::error::{NEW_COPY, Result};
use crate::model::schema::TableId;
use crate::model::sync::{Finding, Scope};
use std::time::Instant;
use tokio_postgres::Client;
use tracing::warn;

/// The columns of a plain table, as `HORIZON NUMBER:WRITTEN:TYPE:MODIFIER:DEFAULT ..`, to be joined to `root`. Generated
/// ones are computed on the other side, or not sent.
pub(super) const MARK: &str = "
    SELECT concat_ws(' ', pg_snapshot_xmin(pg_current_snapshot()),
                     string_agg(concat_ws(':', a.attnum, a.xmin, a.atttypid, a.atttypmod, coalesce(d.oid, 0)), ' '
                                ORDER BY a.attnum)) AS mark
      FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE root.relkind = 'r' AND a.attrelid = root.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''";

/// A column as the record has it.
#[derive(Debug, PartialEq, Eq)]
struct Column<'a> {
    number: i16,
    /// The transaction that wrote its row in the catalog last.
    written: &'a str,
    ty: (&'a str, &'a str),
    default: &'a str,
}

/// Columns that a rewrite may have given other values.
#[derive(Debug, Default, PartialEq, Eq)]
struct Suspects {
    same_type: Vec<i16>,
    other_type: Vec<i16>,
}

/// Every transaction before this one was over when the columns were noted.
fn horizon(mark: &str) -> Option<i64> {
    mark.split_once(' ')?.0.parse().ok()
}

/// Do two marks say the same of the columns? When they were noted is no news.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    a.split(' ').skip(1).eq(b.split(' ').skip(1))
}

fn columns(mark: &str) -> impl Iterator<Item = Column<'_>> {
    mark.split(' ').skip(1).filter_map(|column| {
        let mut parts = column.split(':');
        Some(Column {
            number: parts.next()?.parse().ok()?,
            written: parts.next()?,
            ty: (parts.next()?, parts.next()?),
            default: parts.next()?,
        })
    })
}

fn suspects(was: &str, now: &str) -> Suspects {
    let mut suspects = Suspects::default();
    for now in columns(now) {
        // A new column's old values are what its default gave them.
        let Some(was) = columns(was).find(|was| was.number == now.number) else {
            continue;
        };
        let is_default_kept = was.default != "0" && was.default == now.default;
        if was.written == now.written || is_default_kept {
            continue;
        }
        match was.ty == now.ty {
            true => suspects.same_type.push(now.number),
            false => suspects.other_type.push(now.number),
        }
    }
    suspects
}

/// Names of the columns whose values an `ALTER TABLE` may have changed since the record.
pub(super) async fn altered(
    client: &Client,
    scope: &Scope,
    (was, now): (&Member, &Member),
    until: Instant,
) -> Result<Vec<String>> {
    let id = &now.table;
    // A record of an older version has no mark.
    let Some(horizon) = horizon(&was.bound).filter(|_| was.filenode != now.filenode) else {
        return Ok(Vec::new());
    };
    let suspects = suspects(&was.bound, &now.bound);
    let same_type = names(client, scope, now, &suspects.same_type).await?;
    let other_type = names(client, scope, now, &suspects.other_type).await?;
    if (same_type.is_empty() && other_type.is_empty()) || size(client, now.oid).await? == Some(0) {
        return Ok(Vec::new());
    }
    if !same_type.is_empty() && !holds_old_row(client, id, (now.oid, ""), horizon, until).await? {
        return Ok(same_type);
    }
    if !other_type.is_empty() {
        warn!(
            node = %scope.node, table = %id, columns = other_type.join(", "),
            "a change of type rewrote all rows of the table; if its USING gave them other values, these are in no log: \
             the other node needs the same statement"
        );
    }
    Ok(Vec::new())
}

/// Those that are synced.
async fn names(client: &Client, scope: &Scope, member: &Member, numbers: &[i16]) -> Result<Vec<String>> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1 AND attnum = ANY($2::int2[]) ORDER BY attnum";
    let found = rows(client, sql, &[&member.oid, &numbers]).await?;
    let names: Result<Vec<String>> = found.iter().map(|row| cell(row, 0)).collect();
    let mut names = names?;
    let skipped = scope.mapped(&member.table).skipped;
    names.retain(|name| !skipped.contains(name));
    Ok(names)
}

/// `accept`: the statement that forgets what the table was.
pub(super) fn finding(scope: &Scope, id: &TableId, columns: &[String], accept: &str) -> Finding {
    let columns = columns.join(", ");
    let what = format!(
        "an ALTER TABLE rewrote all its rows and left the type as it was (columns: {columns}): with USING their values \
         can be others now, which is not in the log"
    );
    let fix = format!(
        "accept it: {accept}; then `tidelock run` until the links are in step; then, while nobody writes, compare \
         these columns with the other node and mend the rows there that differ (none, if the statement changed no \
         value); or {NEW_COPY}"
    );
    Finding::blocker(Finding::LOST, &scope.node, what)
        .table(id)
        .fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_whose_row_was_written_anew_is_a_suspect() {
        const WAS: &str = "700 1:500:23:-1:0 2:500:25:-1:0 3:500:1043:104:9001";
        for (now, same_type, other_type) in [
            (WAS, &[] as &[i16], &[] as &[i16]),
            ("800 1:500:23:-1:0 2:500:25:-1:0 3:500:1043:104:9001", &[], &[]),
            ("800 1:500:23:-1:0 2:760:25:-1:0 3:500:1043:104:9001", &[2], &[]),
            // The default is the same one: nothing made the column's type.
            ("800 1:500:23:-1:0 2:500:25:-1:0 3:760:1043:104:9001", &[], &[]),
            ("800 1:500:23:-1:0 2:500:25:-1:0 3:760:1043:104:9002", &[3], &[]),
            ("800 1:500:23:-1:0 2:500:25:-1:0 3:760:1043:104:0", &[3], &[]),
            (
                "800 1:760:20:-1:0 2:760:25:-1:0 3:760:1043:54:9002",
                &[2],
                &[1, 3],
            ),
            // Added, dropped.
            ("800 1:500:23:-1:0 3:500:1043:104:9001 4:760:25:-1:0", &[], &[]),
        ] {
            let expected = Suspects {
                same_type: same_type.to_vec(),
                other_type: other_type.to_vec(),
            };
            assert_eq!(suspects(WAS, now), expected, "{now}");
        }
    }

    #[test]
    fn when_columns_were_noted_is_no_news() {
        assert!(is_same("700 1:500:23:-1:0", "800 1:500:23:-1:0"));
        assert!(!is_same("700 1:500:23:-1:0", "700 1:501:23:-1:0"));
        assert!(!is_same("", "700 1:500:23:-1:0"));
        assert_eq!(
            (horizon("700 1:500:23:-1:0"), horizon("700"), horizon("")),
            (Some(700), None, None)
        );
    }
}
