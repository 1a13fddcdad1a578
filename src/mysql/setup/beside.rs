//! Stamp tables of tables that may not be altered: making them, and stamps whose rows are gone.
//!
//! Owns: the statements that make them and keep their key's types, and looking for orphans, within a time. Refuses: rows
//! without stamps, which count as written before Tidelock was enabled; and whatever else does not fit together, which
//! stops the link that reads it.

use super::state::State;
use super::steps::TABLE;
use super::triggers;
use crate::error::Result;
use crate::install::Step;
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Finding, ORIGIN_COLUMN, Scope, stamps_of};
use crate::mysql::sql::{quote, table};
use crate::mysql::{Flavor, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as DriverError};

/// A whole table is read; one that takes longer is not looked at.
const LOOK_S: u32 = 10;
/// The statement took too long (MySQL, MariaDB); no right to read, which is told elsewhere.
const NOT_LOOKED: [u16; 4] = [3024, 1969, 1142, 1143];

/// The stamp table that is still to be made, or has another key's types.
pub(super) fn steps(catalog: &CatalogTable, found: Option<&CatalogTable>, steps: &mut Vec<Step>) {
    match found {
        Some(found) => super::steps::key_type(catalog, found, "types of the stamps' key", steps),
        None => {
            let id = &catalog.table.id;
            let sql = triggers::stamps_sql(id, &triggers::key(catalog));
            steps.push(Step::new(TABLE, "stamps beside the rows", sql).table(id));
        }
    }
}

pub(super) async fn findings(conn: &mut Conn, scope: &Scope, state: &State) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (catalog, stamps) in state.tables.iter().zip(&state.stamps) {
        let (Some(catalog), Some(_)) = (catalog, stamps) else {
            continue;
        };
        let id = &catalog.table.id;
        let equal = triggers::key(catalog).into_iter().map(|column| {
            let name = quote(&column.name);
            format!("t.{name} = s.{name}")
        });
        let alone = format!(
            "NOT EXISTS (SELECT 1 FROM {} t WHERE {})",
            table(id),
            equal.collect::<Vec<_>>().join(" AND ")
        );
        if scope.mapped(id).beside && has_orphans(conn, state.flavor, id, &alone).await? {
            findings.push(orphans(scope, id, &alone));
        }
    }
    Ok(findings)
}

async fn has_orphans(conn: &mut Conn, flavor: Flavor, id: &TableId, alone: &str) -> Result<bool> {
    let look = format!("1 FROM {} s WHERE {alone} LIMIT 1", table(&stamps_of(id)));
    let sql = match flavor {
        Flavor::Mysql => format!("SELECT /*+ MAX_EXECUTION_TIME({LOOK_S}000) */ {look}"),
        Flavor::Mariadb => format!("SET STATEMENT max_statement_time = {LOOK_S} FOR SELECT {look}"),
    };
    let found: Result<Option<u8>, DriverError> = conn.query_first(sql).await;
    match found {
        Ok(found) => Ok(found.is_some()),
        Err(DriverError::Server(error)) if NOT_LOOKED.contains(&error.code) => Ok(false),
        Err(error) => Err(fail("look for stamps without rows", error).table(id)),
    }
}

/// The log tells the links that nothing happened to a row.
fn orphans(scope: &Scope, id: &TableId, alone: &str) -> Finding {
    let stamps = table(&stamps_of(id));
    let fix = format!(
        "UPDATE {stamps} s SET s.{ORIGIN_COLUMN} = -1 WHERE {alone}; DELETE FROM {stamps} WHERE {ORIGIN_COLUMN} = -1"
    );
    let what = "its stamp table has stamps of rows that are gone: they were deleted or truncated while its triggers were off";
    Finding::warning("W622", &scope.node, what).table(id).fix(fix)
}
