//! The way of a chunk's rows from its reader into the target: in pieces, of which the next is read while one is written.
//!
//! Owns: how a piece is read, and that rows which fill a table are written in one go where nothing is in the way of one,
//! and like changes where something is. A piece is bounded in rows and bytes, and two are in memory at once.
//! Refuses: transactions (see `copy`). Fails: as reader and target do.

use super::copy::{How, Passing};
use crate::engine::{Snapshot, Target};
use crate::error::{Error, Result};
use crate::flow::Applier;
use crate::model::value::Row;
use crate::plan::image::{Image, UNFIT};
use crate::plan::{Lines, Load, Plan};

/// Rows read and written at once; each reader has a bound in bytes of its own.
const ROWS_MAX: usize = 4_000;

pub(super) enum Piece {
    Rows(Vec<Row>, Option<Ready>),
    /// Both servers read and write them alike.
    Lines(Lines),
}

/// Rows made ready to be loaded, while those before them are written.
pub(super) struct Ready {
    count: u64,
    /// The target's columns that are written.
    cells: Vec<usize>,
    form: Form,
}

enum Form {
    /// The rows of the piece as they stand, the cells at these places.
    AsRead(Vec<usize>),
    /// In the target's columns.
    Cast(Vec<Row>),
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
        if rows.is_empty() {
            return Ok(None);
        }
        let ready = match passing.how {
            How::Fill => ready(&passing.plan, &rows)?,
            How::Unite(_) | How::Bury | How::Delete(_) => None,
        };
        Ok(Some(Piece::Rows(rows, ready)))
    }

    pub(super) fn rows(&self) -> u64 {
        match self {
            Piece::Rows(rows, _) => rows.len() as u64,
            Piece::Lines(lines) => lines.rows,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Piece::Rows(rows, _) => rows.iter().map(Row::bytes).sum::<usize>() as u64,
            Piece::Lines(lines) => lines.bytes as u64,
        }
    }

    /// Into an image, which has no rows that could be in the way.
    pub(super) async fn image(self, target: &mut Target, passing: &Passing, image: &Image) -> Result<Copied> {
        let bytes = self.bytes();
        let rows = match self {
            Piece::Lines(lines) => {
                let cells = passing.verbatim.as_deref().unwrap_or_default();
                target.load_image(image, cells, Load::Lines(&lines)).await?;
                lines.rows
            }
            Piece::Rows(rows, Some(ready)) => {
                if ready.count > 0 {
                    target
                        .load_image(image, &ready.cells, ready.load_of(&rows))
                        .await?;
                }
                ready.count
            }
            Piece::Rows(rows, None) => return Err(refused(&passing.plan, &rows)?),
        };
        Ok(Copied { rows, bytes })
    }

    /// `first`: how many rows of the chunk were read before it.
    pub(super) async fn write(self, applier: &mut Applier, passing: &Passing, first: u64) -> Result<Copied> {
        let (plan, bytes) = (&passing.plan, self.bytes());
        let rows = match self {
            Piece::Rows(rows, None) => rows,
            Piece::Rows(rows, Some(ready)) => {
                if ready.load(applier, plan, &rows).await? {
                    let rows = ready.count;
                    return Ok(Copied { rows, bytes });
                }
                rows
            }
            Piece::Lines(lines) => {
                let cells = passing.verbatim.as_deref().unwrap_or_default();
                if applier.load_rows(plan, cells, Load::Lines(&lines)).await? {
                    let rows = lines.rows;
                    return Ok(Copied { rows, bytes });
                }
                Snapshot::rows_of(plan.source_engine(), &passing.source, &lines)?
            }
        };
        let count = rows.len() as u64;
        let sorted = passing.sorted(rows, first)?;
        let rows = match passing.how {
            How::Fill => applier.copy(&sorted.rows).await?,
            How::Unite(uniting) | How::Delete(uniting) => {
                applier.unite(&sorted.rows, uniting).await?;
                let asked = applier.asked_standing(sorted.unasked).await?;
                applier.unite(&asked, uniting).await?;
                let lent = applier.lent_standing(sorted.released).await?;
                applier.unite(&lent, uniting).await?;
                count
            }
            How::Bury => applier.bury(&sorted.rows).await?,
        };
        Ok(Copied { rows, bytes })
    }
}

impl Ready {
    /// `false`: nothing was written.
    async fn load(&self, applier: &mut Applier, plan: &Plan, rows: &[Row]) -> Result<bool> {
        if self.count == 0 {
            return Ok(true);
        }
        applier.load_rows(plan, &self.cells, self.load_of(rows)).await
    }

    fn load_of<'a>(&'a self, rows: &'a [Row]) -> Load<'a> {
        match &self.form {
            Form::AsRead(places) => Load::Rows(rows, places),
            Form::Cast(rows) => Load::Rows(rows, &self.cells),
            Form::Lines(lines) => Load::Lines(lines),
        }
    }
}

/// Why the target cannot hold one of these rows.
fn refused(plan: &Plan, rows: &[Row]) -> Result<Error> {
    let doing = "fill the image of the table";
    let error = Error::definite(doing).table(&plan.shape.table.id).hint(UNFIT);
    for row in rows {
        if plan.takes(row)?
            && let Some(refusal) = plan.unheld(row)
        {
            return Ok(error.why(format!("column {:?}: {}", refusal.column, refusal.why)));
        }
    }
    Ok(Error::bug(doing).table(&plan.shape.table.id))
}

/// `None`: the target cannot hold one of them.
fn ready(plan: &Plan, rows: &[Row]) -> Result<Option<Ready>> {
    let (count, cells, form) = if rows.iter().all(|row| plan.stays(row)) {
        (
            rows.len(),
            plan.carried().collect(),
            Form::AsRead(plan.carried_from().collect()),
        )
    } else {
        let Some(rows) = in_target_terms(plan, rows)? else {
            return Ok(None);
        };
        let is_there = |cell: &usize| rows.first().is_some_and(|row| row.get(*cell).is_some());
        (
            rows.len(),
            plan.carried().filter(is_there).collect::<Vec<usize>>(),
            Form::Cast(rows),
        )
    };
    let lines = match &form {
        Form::AsRead(places) => Target::lines(plan.target_engine(), &plan.shape, rows, (places, &cells)),
        Form::Cast(rows) => Target::lines(plan.target_engine(), &plan.shape, rows, (&cells, &cells)),
        Form::Lines(_) => None,
    };
    Ok(Some(Ready {
        count: count as u64,
        cells,
        form: lines.map_or(form, Form::Lines),
    }))
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
