//! The version that a write gives to its row, as the stamp triggers compute it.
//!
//! Pure. Owns: the expressions of each version source; `crate::version` is what they mean. Refuses: columns that no
//! version comes from (E610, E612), before triggers are made of them.

use crate::install::{self, expression, literal};
use crate::model::schema::{Column, ColumnType, Table};
use crate::model::sync::{CatalogTable, Finding, Scope};
use crate::model::version::VersionSource;
use crate::postgres::sql::{quote, table};

/// What the triggers put in for `{updated}` and `{inserted}`; the latter is above `seen`.
pub(super) struct Expressions {
    pub updated: String,
    pub inserted: String,
}

/// What a changed row had, where the stamps are columns, and where they are beside.
pub(super) const OLD: &str = "OLD.tidelock_version";
pub(super) const STOOD: &str = "stood";
const SEEN: &str = "seen";
const CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

pub(super) fn expressions(source: &VersionSource, table: &Table, old: &str) -> Expressions {
    match source {
        VersionSource::Counter => Expressions {
            updated: format!("{old} + 1"),
            inserted: format!("{SEEN} + 1"),
        },
        VersionSource::Clock => later(CLOCK, old),
        VersionSource::Column(column) => later(&moment(column, table), old),
        VersionSource::Status { column, order } => {
            let order: Vec<String> = order.iter().map(|status| literal(status)).collect();
            let status = format!(
                "coalesce(array_position(ARRAY[{}]::text[], NEW.{}::text COLLATE \"C\"), 0)",
                order.join(", "),
                quote(column)
            );
            Expressions {
                updated: expression(
                    include_str!("../../../sql/postgres/status_updated.sql"),
                    &[("old", old), ("status", &status)],
                ),
                inserted: expression(
                    include_str!("../../../sql/postgres/status_inserted.sql"),
                    &[("seen", SEEN), ("status", &status)],
                ),
            }
        }
    }
}

fn later(moment: &str, old: &str) -> Expressions {
    Expressions {
        updated: format!("greatest({old} + 1, {moment})"),
        inserted: format!("greatest({SEEN} + 1, {moment})"),
    }
}

/// Microseconds since 1970, between then and the year 9999: infinity has no number. NULL counts as 1970. What has no
/// time zone is taken for UTC, as by whoever carries it to a column that has one.
fn moment(column: &str, table: &Table) -> String {
    let has_zone = table
        .column(column)
        .is_some_and(|place| matches!(table.columns[place].ty, ColumnType::TimestampTz { .. }));
    let (ty, zone) = if has_zone {
        ("timestamptz", "+00")
    } else {
        ("timestamp", "")
    };
    format!(
        "(extract(epoch FROM least(greatest(NEW.{}::{ty}, {ty} '1970-01-01 00:00:00{zone}'), \
         {ty} '9999-12-31 23:59:59.999999{zone}')) * 1000000)::bigint",
        quote(column)
    )
}

pub(super) fn findings(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let finer = |column: &Column| {
        let ty = match column.ty {
            ColumnType::TimestampTz { .. } => "timestamptz(3)",
            _ => "timestamp(3)",
        };
        format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE {ty};",
            table(&catalog.table.id),
            quote(&column.name)
        )
    };
    install::versions::findings(scope, catalog, finer, findings);
}
