//! The proof that two sides hold the same rows, where none are copied.
//!
//! Owns: sums of row hashes over both images, in the terms of the second side. Refuses: sides that differ, with what to
//! do about it; it names no row.

use super::{Begun, ROWS_MAX, Start};
use crate::chunk::Range;
use crate::ddl;
use crate::engine::Snapshot;
use crate::error::{Error, Reason, Result};
use crate::flow::spec::LinkSpec;
use crate::model::change::Head;
use crate::model::schema::{Column, Engine, Table, TableId};
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use crate::plan::{Address, Plan, PlannedOp};
use crate::typemap;
use std::sync::Arc;
use tracing::info;

/// Both sides claim to hold the same rows: read both images and compare sums of row hashes, in the terms of the
/// second side. Only then may both links have their checkpoints.
pub(super) async fn prove_equal(mut one: Start, mut other: Start) -> Result<[Begun; 2]> {
    let (mut ends, other_ends) = (one.ends().await?, other.ends().await?);
    let mut here = Snapshot::open(one.link.source.engine, one.options(&ends)).await?;
    let mut there = Snapshot::open(other.link.source.engine, other.options(&other_ends)).await?;
    for (table, peer) in ends.source_tables.iter().zip(&other_ends.source_tables) {
        let passage = one.link.passage(&table.table.id);
        let source = Arc::new(passage.kept(&table.table));
        let plan = ends.planner.plan(&source)?;
        // What one side alone sends must stand on the other too, and nothing beside it.
        let taken = |row: Row| match plan.concerns(&row)? {
            true => carried_over(&plan, row).map(Some),
            false => Ok(None),
        };
        let ours = Sum::of(&mut here, &source, &plan, taken).await?;
        let read = passage.back().kept(&peer.table);
        let held =
            |row: Row| Ok(Some(whole(row, &read, &peer.table)).filter(|row| plan.concerns_standing(row)));
        let theirs = Sum::of(&mut there, &read, &plan, held).await?;
        if ours != theirs {
            return Err(unequal(&one.link, (&source.id, &peer.table.id), &ours, &theirs));
        }
        info!(table = %source.id, rows = ours.rows, "both sides are equal");
    }
    let (start, other_start) = (here.start().clone(), there.start().clone());
    let (settle, other_settle) = (here.close().await?, there.close().await?);
    Ok([
        one.at(start, settle, ends.identity),
        other.at(other_start, other_settle, other_ends.identity),
    ])
}

/// The row with the places of the whole table, where what was not read is missing.
pub(super) fn whole(row: Row, read: &Table, table: &Table) -> Row {
    let place = |column: &Column| {
        read.column(&column.name)
            .and_then(|place| row.get(place).cloned())
    };
    table.columns.iter().map(place).collect()
}

/// Rows of equal content under different stamps are not equal: their next change would look contested.
fn unequal(link: &LinkSpec, (table, peer): (&TableId, &TableId), ours: &Sum, theirs: &Sum) -> Error {
    let error = Error::definite("start with seed = \"none\"")
        .table(table)
        .reason(Reason::Refused);
    let (sync, source, target) = (&link.sync, &link.source.name, &link.target.name);
    if (ours.rows, ours.contents) == (theirs.rows, theirs.contents) {
        return error
            .why(format!(
                "{source} and {target} hold the same rows, but some were written on one side since `tidelock setup`"
            ))
            .hint(format!(
                "while nobody writes: tidelock teardown --sync {sync} --execute; on {source} {} on {target} {} tidelock \
                 setup --sync {sync} --execute",
                drop_stamps(table, link.source.engine),
                drop_stamps(peer, link.target.engine)
            ));
    }
    error
        .why(format!(
            "{source} holds {} rows and {target} holds {}, and they are not the same rows",
            ours.rows, theirs.rows
        ))
        .hint(format!(
            "make them equal while nobody writes; or empty {target} and set seed = \"from:{source}\", \
             or empty {source} and set seed = \"from:{target}\""
        ))
}

fn drop_stamps(table: &TableId, engine: Engine) -> String {
    let table = ddl::table_name(table, engine);
    format!("ALTER TABLE {table} DROP COLUMN {VERSION_COLUMN}, DROP COLUMN {ORIGIN_COLUMN};")
}

/// A table's rows regardless of their order.
#[derive(Debug, PartialEq, Eq, Default)]
struct Sum {
    rows: u64,
    hashes: u128,
    /// Without the stamps.
    contents: u128,
}

impl Sum {
    async fn of(
        snapshot: &mut Snapshot,
        table: &Table,
        plan: &Plan,
        as_target: impl Fn(Row) -> Result<Option<Row>>,
    ) -> Result<Sum> {
        let mut sum = Sum::default();
        snapshot.open_table(table, &Range::default(), None).await?;
        let mut bytes = Vec::new();
        loop {
            let rows = snapshot.rows(ROWS_MAX).await?;
            if rows.is_empty() {
                return Ok(sum);
            }
            for row in rows {
                let Some(row) = as_target(row)? else { continue };
                sum.rows += 1;
                sum.hashes = sum.hashes.wrapping_add(hash(plan, &row, true, &mut bytes));
                sum.contents = sum.contents.wrapping_add(hash(plan, &row, false, &mut bytes));
            }
        }
    }
}

/// Of what is carried of a row of the target, with its stamp or without.
pub(super) fn hash(plan: &Plan, row: &Row, stamped: bool, bytes: &mut Vec<u8>) -> u128 {
    let stamps = plan.shape.stamps.as_ref();
    let is_stamp = |place| stamps.is_some_and(|stamps| place == stamps.version || place == stamps.origin);
    bytes.clear();
    for place in plan.carried().filter(|place| stamped || !is_stamp(*place)) {
        comparable(row.get(place).unwrap_or(&Value::Null)).key_bytes(bytes);
    }
    xxhash_rust::xxh3::xxh3_128(bytes)
}

fn carried_over(plan: &Plan, row: Row) -> Result<Row> {
    let head = Arc::new(Head {
        transaction: "comparison".to_owned(),
        past: None,
        committed_at_us: 0,
    });
    match plan.copied(&row, &Address { head, ordinal: 0 })?.op {
        PlannedOp::Insert { row, .. } => Ok(row),
        PlannedOp::Refused { why, .. } => Err(Error::definite("compare the two sides")
            .table(&plan.source.id)
            .why(format!("column {:?}: {}", why.column, why.why))
            .reason(Reason::Refused)),
        PlannedOp::Update { .. } | PlannedOp::Delete { .. } => Err(Error::bug("plan a copied row")),
    }
}

/// Each engine writes JSON in its own way: compare what it says.
fn comparable(value: &Value) -> Value {
    match value {
        // Where reading it would fold numbers or keys, its text has to be the same.
        Value::Json(text) if typemap::is_plain_json(text) => {
            match serde_json::from_str::<serde_json::Value>(text) {
                Ok(mut json) => {
                    json.sort_all_objects();
                    Value::Json(json.to_string().into())
                }
                Err(_) => value.clone(),
            }
        }
        _ => value.clone(),
    }
}
