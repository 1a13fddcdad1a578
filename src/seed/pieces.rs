//! The way of a chunk's rows from its reader into the target: in pieces, of which the next is read while one is written.
//!
//! Owns: how a piece is read, and that rows which fill a table are written in one go where nothing is in the way of one,
//! and like changes where something is. A piece is bounded in rows and bytes, and two are in memory at once.
//! Refuses: transactions (see `copy`). Fails: as reader and target do.

use super::copy::{How, Passing};
use crate::engine::Snapshot;
use crate::error::Result;
use crate::flow::Applier;
use crate::model::value::Row;
use crate::plan::{Lines, Load, Plan};

/// Rows read and written at once; each reader has a bound in bytes of its own.
const ROWS_MAX: usize = 4_000;

pub(super) enum Piece {
    Rows(Vec<Row>),
    /// Both servers read and write them alike.
    Lines(Lines),
}

/// What was written.
pub(super) struct Copied {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Piece {
    /// `None`: the range is done.
    pub(super) async fn read(reader: &mut Snapshot, passing: &Passing) -> Result<Option<Piece>> {
        if passing.verbatim.is_some() {
            let lines = reader.lines().await?;
            return Ok((lines.rows > 0).then_some(Piece::Lines(lines)));
        }
        let rows = reader.rows(ROWS_MAX).await?;
        Ok((!rows.is_empty()).then_some(Piece::Rows(rows)))
    }

    pub(super) fn rows(&self) -> u64 {
        match self {
            Piece::Rows(rows) => rows.len() as u64,
            Piece::Lines(lines) => lines.rows,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Piece::Rows(rows) => rows.iter().map(Row::bytes).sum::<usize>() as u64,
            Piece::Lines(lines) => lines.bytes as u64,
        }
    }

    /// `first`: how many rows of the chunk were read before it.
    pub(super) async fn write(self, applier: &mut Applier, passing: &Passing, first: u64) -> Result<Copied> {
        let (plan, bytes) = (&passing.plan, self.bytes());
        let rows = match self {
            Piece::Rows(rows) => rows,
            Piece::Lines(lines) => {
                let cells = passing.verbatim.as_deref().unwrap_or_default();
                if applier.load_rows(plan, cells, Load::Lines(&lines)).await? {
                    let rows = lines.rows;
                    return Ok(Copied { rows, bytes });
                }
                Snapshot::rows_of(plan.source_engine(), &passing.source, &lines)?
            }
        };
        let loaded = match passing.how {
            How::Fill => load(applier, plan, &rows).await?,
            How::Unite(_) | How::Bury | How::Delete(_) => None,
        };
        if let Some(rows) = loaded {
            return Ok(Copied { rows, bytes });
        }
        if let (true, How::Unite(uniting) | How::Delete(uniting)) = (plan.asks(), passing.how) {
            let count = rows.len() as u64;
            let (layers, others) = passing.asked(rows, first)?;
            applier.unite(&layers, uniting).await?;
            let standing = applier.asked_standing(others).await?;
            applier.unite(&standing, uniting).await?;
            return Ok(Copied { rows: count, bytes });
        }
        let layers = passing.layers(rows, first)?;
        let rows = match passing.how {
            How::Fill => applier.copy(&layers).await?,
            How::Unite(uniting) | How::Delete(uniting) => applier.unite(&layers, uniting).await?,
            How::Bury => applier.bury(&layers).await?,
        };
        Ok(Copied { rows, bytes })
    }
}

/// How many rows there were; `None`: nothing was written.
async fn load(applier: &mut Applier, plan: &Plan, rows: &[Row]) -> Result<Option<u64>> {
    let Some(rows) = in_target_terms(plan, rows)? else {
        return Ok(None);
    };
    let Some(first) = rows.first() else {
        return Ok(Some(0));
    };
    let cells: Vec<usize> = plan.carried().filter(|cell| first.get(*cell).is_some()).collect();
    let is_loaded = applier.load_rows(plan, &cells, Load::Rows(&rows)).await?;
    Ok(is_loaded.then_some(rows.len() as u64))
}

/// The rows that the table's filter takes. `None`: the target cannot hold one.
fn in_target_terms(plan: &Plan, rows: &[Row]) -> Result<Option<Vec<Row>>> {
    let mut loaded = Vec::with_capacity(rows.len());
    for row in rows {
        if !plan.takes(row)? {
            continue;
        }
        match plan.loaded(row)? {
            Some(row) => loaded.push(row),
            None => return Ok(None),
        }
    }
    Ok(Some(loaded))
}
