//! Computed columns of a target, and whether they come back as what they were computed of.
//!
//! Owns: [`Formulas`]: the cells of a row of the source that the target has of others, and the proof, row by row, that the way
//! back gives the source its own cells again. Refuses: a row that would not come back ([`Back::Refused`]): carried, the next
//! change of it on the other side would alter columns that nobody changed there. Pure.

use super::differ::Differing;
use crate::error::Result;
use crate::expr::Formula;
use crate::mapping::Passage;
use crate::mapping::formula::Computed;
use crate::model::schema::{Column, Engine, Table};
use crate::model::value::{Row, Value};
use crate::typemap::{self, Refusal, Verdict};

/// Why a column cannot be computed so.
#[derive(Debug)]
pub struct Misfit {
    pub why: String,
    /// It lies in what is read, not in the column that is to take it.
    pub is_of_source: bool,
}

/// One column of a table that is computed of a row of another one.
#[derive(Debug, Clone)]
struct Cell {
    formula: Formula,
    place: usize,
}

impl Cell {
    /// `passage`: from the one table to the other.
    fn bind(
        computed: &Computed,
        (source, engine): (&Table, Engine),
        (target, target_engine): (&Table, Engine),
        passage: &Passage,
    ) -> Result<Cell, Misfit> {
        let bound = Formula::bind(&computed.expr, source, |column| passage.name_here(column));
        let formula = bound.map_err(|unfit| Misfit {
            why: format!("{}: {}", unfit.part, unfit.why),
            is_of_source: true,
        })?;
        let name = passage.name_there(&computed.column);
        let place = fitting(&formula, engine, target, name, target_engine).map_err(|why| Misfit {
            why,
            is_of_source: false,
        })?;
        Ok(Cell { formula, place })
    }
}

#[derive(Debug, Clone, Default)]
pub struct Formulas {
    /// Of the target, of the source's row.
    there: Vec<Cell>,
    /// Of the source, of the target's row, in a merge; and whether the target owns it.
    back: Vec<(Cell, bool)>,
}

/// What the way back makes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// The source's own cells.
    Same,
    /// Other values in columns that the target owns: it has to send them.
    Owned,
    Refused(Refusal),
}

impl Formulas {
    pub(super) fn bind(
        source: &Table,
        differing: &Differing<'_>,
        merge: bool,
        passage: &Passage,
    ) -> Result<Formulas> {
        let failed = |name: &str, misfit: Misfit| {
            differing
                .failed()
                .why(format!("computed column {name:?}: {}", misfit.why))
                .hint("correct its expression (to.NODE.COLUMN) in the section [sync.table] of the configuration")
        };
        let from = (source, differing.source_engine);
        let to = (differing.target, differing.target_engine);
        let there = passage.computed().map(|(name, computed)| {
            let cell = Cell::bind(computed, from, to, passage);
            cell.map_err(|misfit| failed(name, misfit))
        });
        let mut formulas = Formulas {
            there: there.collect::<Result<_>>()?,
            back: Vec::new(),
        };
        if !merge {
            return Ok(formulas);
        }
        let (guarded, home) = (passage.guarded(), passage.back());
        let owned = guarded.absent(differing.target);
        for (name, computed) in home.computed() {
            let cell = Cell::bind(computed, to, from, &home).map_err(|misfit| failed(name, misfit))?;
            let is_owned = owned.contains(&passage.name_there(&computed.column));
            formulas.back.push((cell, is_owned));
        }
        Ok(formulas)
    }

    pub fn is_empty(&self) -> bool {
        self.there.is_empty() && self.back.is_empty()
    }

    /// Places of the target's columns that are computed.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        self.there.iter().map(|cell| cell.place)
    }

    pub(super) fn is_computed(&self, target: usize) -> bool {
        self.there.iter().any(|cell| cell.place == target)
    }

    /// Fills the computed cells of the target's row. What is computed of cells that were not sent is not sent either.
    pub(super) fn fill(
        &self,
        source: &Row,
        engines: (Engine, Engine),
        target: &Table,
        cells: &mut [Option<Value>],
    ) -> Result<(), Refusal> {
        for cell in &self.there {
            let Some(value) = cell.formula.value(source) else {
                continue;
            };
            let column = &target.columns[cell.place];
            let value = typemap::cast(value, cell.formula.ty(), engines.0, column, engines.1)?;
            cells[cell.place] = Some(value);
        }
        Ok(())
    }

    /// Would the source get its own cells again from the target's row? `old`: the source's row before. What cannot be computed
    /// here, because what it is computed of does not come from the source, is sent where the source altered it.
    pub(super) fn comes_back(
        &self,
        there: &Row,
        (old, source): (Option<&Row>, &Row),
        engines: (Engine, Engine),
        table: &Table,
    ) -> Back {
        let mut back = Back::Same;
        for (cell, is_owned) in &self.back {
            let Some(own) = source.get(cell.place) else {
                continue;
            };
            let Some(value) = cell.formula.value(there) else {
                if *is_owned && old.is_none_or(|old| old.get(cell.place) != Some(own)) {
                    back = Back::Owned;
                }
                continue;
            };
            let column = &table.columns[cell.place];
            let value = typemap::cast(value, cell.formula.ty(), engines.1, column, engines.0);
            match (value, is_owned) {
                (Ok(value), _) if value == *own => {}
                (_, true) => back = Back::Owned,
                (_, false) => {
                    return Back::Refused(Refusal {
                        column: column.name.clone(),
                        why: "it would come back as another value: what the other node would hold does not tell all \
                              of it (see to.NODE in the configuration)"
                            .to_owned(),
                    });
                }
            }
        }
        back
    }
}

/// Can the column be computed of the other table's rows, and take what comes of it?
pub fn fits(
    computed: &Computed,
    from: (&Table, Engine),
    to: (&Table, Engine),
    passage: &Passage,
) -> Result<(), Misfit> {
    Cell::bind(computed, from, to, passage).map(|_| ())
}

/// The place of the column, if it may take the formula's values.
fn fitting(
    formula: &Formula,
    from: Engine,
    table: &Table,
    name: &str,
    engine: Engine,
) -> Result<usize, String> {
    let place = table
        .column(name)
        .ok_or_else(|| "there is no such column".to_owned())?;
    let column = &table.columns[place];
    if table.key.contains(&place) {
        return Err("it is part of the primary key, which names the row".to_owned());
    }
    if column.generated {
        return Err("the database computes it already".to_owned());
    }
    let computed = Column {
        name: name.to_owned(),
        ty: formula.ty().clone(),
        sql_type: String::new(),
        collation: String::new(),
        nullable: formula.is_nullable(),
        generated: false,
        has_default: false,
    };
    match typemap::verdict(&computed, from, column, engine) {
        // A value that the column does not hold is refused by its row.
        Verdict::Exact | Verdict::ExactIf(_) => Ok(place),
        Verdict::Lossy(why) | Verdict::Refused(why) => Err(why),
    }
}
