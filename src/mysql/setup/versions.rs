//! The version that a write gives to its row, as the stamp triggers compute it.
//!
//! Pure. Owns: the expressions of each version source; `crate::version` is what they mean. Refuses: columns that no
//! version comes from (E610, E612), before triggers are made of them.

use crate::install::{self, expression};
use crate::model::schema::{Column, ColumnType, Table};
use crate::model::sync::{CatalogTable, Finding, Scope};
use crate::model::version::VersionSource;
use crate::mysql::sql::{quote, quote_text, table};

/// What the triggers put in for `{updated}` and `{inserted}`; the latter is above `tidelock_seen`.
pub(super) struct Expressions {
    pub updated: String,
    pub inserted: String,
}

/// What a changed row had, where the stamps are columns. Where they are beside: as it was read, as it stands where it is
/// written, and of a row that has none.
pub(super) const OLD: &str = "OLD.tidelock_version";
pub(super) const STOOD: &str = "tidelock_stood";
pub(super) const STANDING: &str = "tidelock_version";
pub(super) const UNWRITTEN: &str = "1";
const SEEN: &str = "tidelock_seen";
/// The begin of the user's statement. `NOW()` would be the session's time, which happens twice in one night of a year.
const CLOCK: &str = "TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', UTC_TIMESTAMP(6))";

pub(super) fn expressions(source: &VersionSource, table: &Table, old: &str) -> Expressions {
    match source {
        VersionSource::Counter => Expressions {
            updated: format!("{old} + 1"),
            inserted: format!("{SEEN} + 1"),
        },
        VersionSource::Clock => later(CLOCK, old),
        VersionSource::Column(column) => later(&moment(column, table), old),
        VersionSource::Status { column, order } => {
            let order: Vec<String> = order.iter().map(|status| quote_text(status)).collect();
            // FIELD says 0 for NULL and for what is not in the list.
            let status = format!(
                "FIELD(CAST(CONVERT(NEW.{} USING utf8mb4) AS BINARY), {})",
                quote(column),
                order.join(", ")
            );
            Expressions {
                updated: expression(
                    include_str!("../../../sql/mysql/status_updated.sql"),
                    &[("old", old), ("status", &status)],
                ),
                inserted: expression(
                    include_str!("../../../sql/mysql/status_inserted.sql"),
                    &[("seen", SEEN), ("status", &status)],
                ),
            }
        }
    }
}

fn later(moment: &str, old: &str) -> Expressions {
    Expressions {
        updated: format!("GREATEST({old} + 1, {moment})"),
        inserted: format!("GREATEST({SEEN} + 1, {moment})"),
    }
}

/// Microseconds since 1970; 0 for NULL, for what lies before and for dates that are none. A DATETIME is taken for UTC, as
/// by whoever carries it to a column that has a time zone.
fn moment(column: &str, table: &Table) -> String {
    let is_timestamp = table
        .column(column)
        .is_some_and(|place| matches!(table.columns[place].ty, ColumnType::TimestampTz { .. }));
    let name = quote(column);
    match is_timestamp {
        true => format!("COALESCE(CAST(FLOOR(UNIX_TIMESTAMP(NEW.{name}) * 1000000) AS SIGNED), 0)"),
        false => format!(
            "COALESCE(IF(NEW.{name} > TIMESTAMP'1970-01-01 00:00:00', \
             TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', NEW.{name}), 0), 0)"
        ),
    }
}

pub(super) fn findings(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let finer = |column: &Column| {
        let ty = match column.ty {
            ColumnType::TimestampTz { .. } => "TIMESTAMP(3)",
            _ => "DATETIME(3)",
        };
        format!(
            "ALTER TABLE {} MODIFY {} {ty} ...; with the rest of its definition, and CURRENT_TIMESTAMP(3) where it has \
             CURRENT_TIMESTAMP",
            table(&catalog.table.id),
            quote(&column.name)
        )
    };
    install::versions::findings(scope, catalog, finer, findings);
}
