//! A row of which the log is to tell although nothing of it changes, whose stamp stands in a table of its own.
//!
//! Owns: reading it under its lock, and taking it away and putting it back under a greater stamp, in the open transaction
//! of a session in which triggers are silent. Refuses: rows that are not found by their key.

use super::Flavor;
use super::codec::decode_select;
use super::fail;
use super::sql::{self, quote};
use crate::batch::{Group, Verb};
use crate::error::{Error, Result};
use crate::model::schema::Table;
use crate::model::stamp::Stamp;
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN, stamps_of, tombstones_of};
use crate::model::value::{Row, Value};
use crate::plan::{Beside, Key, Shape, StampColumns, Write, WriteOp};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value as Cell};
use std::sync::Arc;

const DOING: &str = "raise a row above its tombstone";

/// `key`: its cells as the server gave them.
pub(super) async fn raise(
    conn: &mut Conn,
    flavor: Flavor,
    table: &Table,
    key: &[Cell],
    stamp: Stamp,
) -> Result<()> {
    let wrong = |error| fail(DOING, error).table(&table.id);
    let Some(shape) = shape(table) else {
        return Err(Error::bug(DOING).table(&table.id));
    };
    let Some(mut row) = read(conn, &shape, key).await? else {
        return Err(Error::definite(DOING)
            .table(&table.id)
            .why("it is not found by its key")
            .hint("UPDATE it by any other condition: its version is raised by that"));
    };
    let key: Key = table
        .key
        .iter()
        .filter_map(|place| row.get(*place).cloned())
        .collect();
    if let Some(beside) = shape.beside() {
        let [_, complete] = sql::beside::complete(flavor, &shape, beside, &[(0, &key)]);
        conn.query_drop(complete).await.map_err(wrong)?;
    }
    if let Some(stamps) = &shape.stamps {
        row.0[stamps.version] = Some(Value::Int(stamp.version));
        row.0[stamps.origin] = Some(Value::Int(i64::from(stamp.origin)));
    }
    let group = |verb: Verb, row: &Row| Group {
        verb,
        cells: (0..row.0.len())
            .filter(|place| row.get(*place).is_some())
            .collect(),
        guarded: false,
        buried: false,
        at: vec![0],
    };
    let (gone, put) = (group(Verb::Clear, &row), group(Verb::Insert, &row));
    let write = [Write {
        key,
        op: WriteOp::Insert { row },
    }];
    for statement in [
        sql::delete(flavor, &shape, &write, &gone),
        sql::insert(&shape, &write, &put),
        sql::beside::stamp(&shape, &write, &[0]),
    ] {
        conn.query_drop(statement).await.map_err(wrong)?;
    }
    Ok(())
}

fn shape(table: &Table) -> Option<Shape> {
    let beside = Beside {
        stamps: stamps_of(&table.id).name,
        by_triggers: false,
    };
    let stamps = StampColumns {
        version: table.column(VERSION_COLUMN)?,
        origin: table.column(ORIGIN_COLUMN)?,
        tombstones: tombstones_of(&table.id).name,
        beside: Some(beside),
    };
    Some(Shape {
        table: Arc::new(table.clone()),
        stamps: Some(stamps),
        untouched: Vec::new(),
    })
}

/// Its own columns.
async fn read(conn: &mut Conn, shape: &Shape, key: &[Cell]) -> Result<Option<Row>> {
    let table = &shape.table;
    let own = || shape.stored().filter(|(_, column)| !column.is_beside());
    let names: Vec<String> = own().map(|(_, column)| quote(&column.name)).collect();
    let equal = table
        .key
        .iter()
        .map(|place| format!("{} = ?", quote(&table.columns[*place].name)));
    let sql = format!(
        "SELECT {} FROM {} WHERE {} FOR UPDATE",
        names.join(", "),
        sql::table(&table.id),
        equal.collect::<Vec<_>>().join(" AND ")
    );
    let found: Option<mysql_async::Row> = conn
        .exec_first(sql, Params::Positional(key.to_vec()))
        .await
        .map_err(|error| fail(DOING, error).table(&table.id))?;
    let Some(found) = found else { return Ok(None) };
    let mut row = Row(vec![None; table.columns.len()].into_boxed_slice());
    for ((place, column), cell) in own().zip(found.unwrap()) {
        let value = decode_select(column, cell).map_err(|error| error.table(&table.id))?;
        row.0[place] = Some(value);
    }
    Ok(Some(row))
}
