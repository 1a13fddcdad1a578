//! One source table as its log describes it, bound to one target table as its catalog describes it.
//!
//! Owns: the column map, the cast of each cell, the split of a key change into delete and insert; what row filters make
//! of a change is in `filtered`.
//! Refuses: tables whose columns cannot be carried ([`Plan::compile`] fails with what to run); a single value that
//! cannot be carried becomes [`PlannedOp::Refused`], never another value.

mod across;
mod asked;
mod columns;
mod filtered;
mod loaded;

use self::columns::{carried, keyed, untouched};
use super::differ::{Differing, named};
use super::formula::{Back, Formulas};
use super::guard::{Guarding, Guards};
use super::translation::Translation;
use super::{Beside, Key, Shape, StampColumns};
use crate::error::{Error, NEW_COPY, Result};
use crate::expr::Filter;
use crate::mapping::Passage;
use crate::model::change::{Change, Head, Op};
use crate::model::schema::{ColumnType, Engine, Table};
use crate::model::stamp::{Rank, Stamp};
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN, object_name, stamps_of};
use crate::model::value::{Row, Value};
use crate::typemap::{self, Refusal};
use std::sync::Arc;

/// Names a change for ever: its transaction and its place in it.
#[derive(Debug, Clone)]
pub struct Address {
    pub head: Arc<Head>,
    pub ordinal: u64,
}

/// A change in the target's terms. `before` is the source's before-image in the source's columns, for evidence.
#[derive(Debug, Clone)]
pub struct Planned {
    pub key: Key,
    /// The key in a form that is equal exactly when the keys are.
    pub key_bytes: Vec<u8>,
    pub op: PlannedOp,
    pub address: Address,
    /// It is half of an update that moved its row to another key: the delete under the old one, or the insert under the
    /// new one. The two are decided each by itself; only the record tells them from a user's DELETE and INSERT.
    pub moves: bool,
    /// Two changes in one, of which the second was not made on the first: the row holds more than its stamp says, so it
    /// is never written with that.
    pub is_blended: bool,
    /// It may be a write that the target has to undo.
    pub guarding: Guarding,
    /// The source's Tidelock wrote it on its own account.
    pub is_own: bool,
}

#[derive(Debug, Clone)]
pub enum PlannedOp {
    /// `fill_from`: a row that changed its key, and of which more stands under the old one on the target: cells that
    /// were not sent because they did not change (TOAST), and `own`, what no row from the source brings.
    Insert {
        row: Row,
        stamp: Option<Stamp>,
        fill_from: Option<Key>,
        own: Option<Row>,
    },
    Update {
        row: Row,
        before: Option<Row>,
        base: Option<Stamp>,
        stamp: Option<Stamp>,
    },
    Delete {
        before: Row,
        base: Option<Stamp>,
        stamp: Option<Stamp>,
    },
    /// A value that the target cannot hold.
    Refused {
        incoming: Row,
        before: Option<Row>,
        why: Refusal,
        base: Option<Stamp>,
        stamp: Option<Stamp>,
        operation: &'static str,
    },
}

#[derive(Debug, Clone, Copy)]
struct Carried {
    source: usize,
    target: usize,
    /// Its owner has consented.
    may_lose: bool,
    /// Index of the translation of its values.
    translation: Option<usize>,
}

/// Who wrote a change.
#[derive(Debug, Clone, Copy)]
pub struct Author {
    /// The origin of a delete.
    pub rank: Rank,
    /// Tidelock itself, on the source's account, to tell somebody something.
    pub own: bool,
    /// The target is whom it tells.
    pub answers: bool,
}

#[derive(Debug)]
pub struct Plan {
    pub source: Arc<Table>,
    pub shape: Arc<Shape>,
    columns: Vec<Carried>,
    translations: Vec<Translation>,
    formulas: Formulas,
    /// Source columns of the key, in the order of the target's key.
    key: Vec<Carried>,
    /// Source columns of version and origin, in merge mode.
    stamps: Option<(usize, usize)>,
    /// Source columns that stay behind, in evidence too.
    skipped: Vec<usize>,
    /// Columns whose values no record may hold: source and target.
    masked: Vec<(Option<usize>, Option<usize>)>,
    /// Target columns that no row from the source brings.
    own: Vec<usize>,
    filters: Option<filtered::Filters>,
    /// The target is a hub, and its rows that this takes are those that the source holds.
    held: Option<Filter>,
    pub(super) guards: Guards,
    asked: Option<asked::Asked>,
    /// The table's name in the configuration.
    name: String,
    source_engine: Engine,
    target_engine: Engine,
}

impl Plan {
    /// `target` comes from the catalog. Fails when a column has no counterpart that can hold it.
    pub fn compile(
        source: &Arc<Table>,
        source_engine: Engine,
        target: &Arc<Table>,
        target_engine: Engine,
        merge: bool,
        passage: &Passage,
    ) -> Result<Plan> {
        let differing = Differing {
            source: &named(source, passage),
            source_engine,
            target,
            target_engine,
        };
        let failed = || differing.failed();
        let mut translations = Vec::new();
        let (columns, skipped) = carried(source, &differing, passage, &mut translations)?;
        let key = match (keyed(source, &differing, &columns), passage.is_imaging()) {
            (Err(_), true) => Vec::new(),
            (key, _) => key?,
        };
        let stamps = match merge {
            true => Some(
                stamp_columns(source).ok_or_else(|| failed().why("the source's log has no stamp columns"))?,
            ),
            false => None,
        };
        let shape = Shape {
            table: Arc::clone(target),
            stamps: target_stamps(target, merge).ok_or_else(failed)?,
            untouched: untouched(target, &passage.back()),
        };
        let unfit = |unfit: crate::expr::Unfit| {
            failed().why(format!("the row filter reads {}: {}", unfit.part, unfit.why))
        };
        let filters = filtered::Filters::bind(source, target, passage).map_err(unfit)?;
        let name = match passage.table.as_str() {
            "" => target.id.name.clone(),
            name => name.to_owned(),
        };
        let formulas = Formulas::bind(source, &differing, merge, passage)?;
        let is_own = |place: &usize| {
            let column = &target.columns[*place];
            let is_computed = formulas.is_computed(*place);
            !column.generated && !is_computed && !columns.iter().any(|carried| carried.target == *place)
        };
        let own = (0..target.columns.len()).filter(is_own).collect();
        let masked = across::masked(source, &differing, passage)?;
        Ok(Plan {
            masked,
            source: Arc::clone(source),
            skipped,
            own,
            asked: asked::Asked::bind(source, target, passage).map_err(unfit)?,
            guards: Guards::bind(target, passage, &differing)?,
            held: passage.held(target).map_err(unfit)?,
            filters,
            name,
            shape: Arc::new(shape),
            columns,
            translations,
            formulas,
            key,
            stamps,
            source_engine,
            target_engine,
        })
    }

    /// A change of the key becomes two.
    pub fn change(
        &self,
        change: &Change,
        author: Author,
        address: &Address,
        out: &mut Vec<Planned>,
    ) -> Result<()> {
        let first = out.len();
        self.changed(change, author, address, out)?;
        if author.own {
            out[first..].iter_mut().for_each(|planned| planned.is_own = true);
        }
        Ok(())
    }

    fn changed(
        &self,
        change: &Change,
        author: Author,
        address: &Address,
        out: &mut Vec<Planned>,
    ) -> Result<()> {
        match &change.op {
            Op::Insert { new } => self.came_or_went(None, self.named(new), author, address, out)?,
            Op::Delete { old } => self.came_or_went(self.named(old), None, author, address, out)?,
            Op::Update { old, new } => match old {
                Some(old) if self.named(old).is_none() || self.named(new).is_none() => {
                    self.came_or_went(self.named(old), self.named(new), author, address, out)?;
                }
                None if self.named(new).is_none() => {}
                Some(old) if self.key_differs(old, new) => self.moved(old, new, author, address, out)?,
                // A merge row that was saved as it was keeps its stamp, and says nothing new to anybody.
                Some(old) if self.stamps.is_some() && old == new => {}
                old => self.updated(old.as_ref(), new, author, address, out)?,
            },
            // It names no rows: see `truncates`.
            Op::Truncate => {
                return Err(Error::bug("plan a TRUNCATE as a change of rows").table(&self.source.id));
            }
        }
        Ok(())
    }

    /// The row of the source, unless it has no name there that the target knows (see [`External`]): it is its node's alone.
    ///
    /// [`External`]: crate::model::schema::External
    fn named<'r>(&self, row: &'r Row) -> Option<&'r Row> {
        let is_null = |carried: &Carried| row.get(carried.source) == Some(&Value::Null);
        (!self.key.iter().any(is_null)).then_some(row)
    }

    /// The table's name in the configuration, the same on every node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A row of the source as evidence, without what stays behind.
    fn evidence(&self, row: &Row) -> Row {
        let mut row = row.clone();
        for &index in &self.skipped {
            if let Some(cell) = row.0.get_mut(index) {
                *cell = None;
            }
        }
        row
    }

    /// May the target's table be emptied as the source's was? One way the source's rows are all there are. Two ways
    /// the log would have to say which rows went: the target may hold others, whose stamps are not below anything.
    /// `skip`: the command that passes the statement over.
    pub fn truncates(&self, skip: &str) -> Result<()> {
        let is_external = self.shape.table.external.is_some();
        let why = match (self.stamps.is_some(), self.keeps()) {
            (false, false) if is_external => {
                "the log does not say which rows it removed, and rows here that have no external id are this node's own"
            }
            (false, false) => return Ok(()),
            (true, _) => {
                "the log does not say which rows it removed, and rows of the other side may be among them"
            }
            (false, true) => {
                "the log does not say which rows it removed, and rows that left the filter are kept here"
            }
        };
        Err(Error::definite("apply a TRUNCATE")
            .table(&self.source.id)
            .why(why)
            .hint(format!(
                "`{skip}` passes it over and marks the table as out of sync: DELETE the rows on the other side then, \
                 if they are to go there too; or {NEW_COPY}. Use DELETE instead of TRUNCATE from now on"
            )))
    }

    /// Target columns that are written.
    pub fn carried(&self) -> impl Iterator<Item = usize> {
        self.columns
            .iter()
            .map(|carried| carried.target)
            .chain(self.formulas.places())
    }

    /// The source's column that is written there.
    pub fn source_of(&self, target: usize) -> Option<usize> {
        let carried = self.columns.iter().find(|carried| carried.target == target);
        carried.map(|carried| carried.source)
    }

    /// The key of a row of the source, of which no more than that is known. `None`: the target cannot hold it.
    pub fn key_from(&self, source: &Row) -> Result<Option<Key>> {
        Ok(self.key_of(source)?.ok())
    }

    /// A row of a first copy, which brings everything, whoever owns it.
    pub fn copied(&self, row: &Row, address: &Address) -> Result<Planned> {
        let mut planned = self.insert(row, None, address)?;
        planned.guarding = Guarding::No;
        Ok(planned)
    }

    /// What a row that moved to another key takes along from the row it left: the cells that are carried and were not
    /// sent, and the target's own.
    pub fn taken_along(&self, left: &Row) -> (Row, Option<Row>) {
        let of = |places: &mut dyn Iterator<Item = usize>| {
            let mut cells = vec![None; left.0.len()];
            places.for_each(|place| cells[place] = left.get(place).cloned());
            Row(cells.into_boxed_slice())
        };
        let own = (!self.own.is_empty()).then(|| of(&mut self.own.iter().copied()));
        (of(&mut self.carried()), own)
    }

    fn insert(&self, new: &Row, fill_from: Option<Key>, address: &Address) -> Result<Planned> {
        let stamp = self.stamp(new)?;
        Ok(match self.proven(new, None) {
            Ok((key, row, guarding)) => {
                let op = PlannedOp::Insert {
                    row,
                    stamp,
                    fill_from,
                    own: None,
                };
                let planned = Planned {
                    guarding,
                    ..planned(key, op, address)
                };
                self.minded(planned, None)
            }
            Err(why) => self.refused(new, why, (None, stamp), "insert", address),
        })
    }

    fn update(&self, old: Option<&Row>, new: &Row, address: &Address) -> Result<Planned> {
        let (base, stamp) = (old.map_or(Ok(None), |old| self.stamp(old))?, self.stamp(new)?);
        if self.stamps.is_some() && base.is_none() {
            return Err(self.lacks("its update came without the stamp of the row before it"));
        }
        // What is computed is computed of the whole row, also of what did not change and was not sent.
        let whole = match old {
            Some(old) if !self.formulas.is_empty() && !new.is_complete() => Some(new.over(old)),
            Some(_) | None => None,
        };
        Ok(match self.proven(whole.as_ref().unwrap_or(new), old) {
            Ok((key, row, guarding)) => {
                let op = PlannedOp::Update {
                    row,
                    before: old.map(|old| self.evidence(old)),
                    base,
                    stamp,
                };
                let planned = Planned {
                    guarding,
                    ..planned(key, op, address)
                };
                self.minded(planned, old.map(|old| (old, new)))
            }
            Err(why) => {
                let mut planned = self.refused(new, why, (base, stamp), "update", address);
                if let PlannedOp::Refused { before, .. } = &mut planned.op {
                    *before = old.map(|old| self.evidence(old));
                }
                planned
            }
        })
    }

    fn delete(&self, old: &Row, writer: Rank, address: &Address) -> Result<Planned> {
        let base = self.stamp(old)?;
        let stamp = base.map(|base| Stamp::delete(base.version, writer));
        Ok(match self.key_of(old)? {
            Ok(key) => {
                let before = self.evidence(old);
                let op = PlannedOp::Delete { before, base, stamp };
                self.minded(planned(key, op, address), None)
            }
            Err(why) => self.refused(old, why, (base, stamp), "delete", address),
        })
    }

    /// A row that stands at the target and has none at the source.
    pub fn beyond(key: Key, address: &Address) -> Planned {
        let op = PlannedOp::Delete {
            before: Row::default(),
            base: None,
            stamp: None,
        };
        planned(key, op, address)
    }

    /// The key of a row of the target. `None`: it was not read.
    pub fn standing_key(&self, target: &Row) -> Option<Key> {
        let key = self
            .shape
            .table
            .key
            .iter()
            .map(|place| target.get(*place).cloned());
        key.collect::<Option<Vec<Value>>>().map(Vec::into_boxed_slice)
    }

    /// A delete that a tombstone tells of. `old`: the row that was there, or its key and stamp alone.
    pub fn buried(&self, old: &Row, tombstone: Stamp, address: &Address) -> Result<Planned> {
        let mut planned = self.delete(old, tombstone.origin, address)?;
        planned.guarding = Guarding::No;
        match &mut planned.op {
            PlannedOp::Delete { stamp, .. } | PlannedOp::Refused { stamp, .. } => *stamp = Some(tombstone),
            PlannedOp::Insert { .. } | PlannedOp::Update { .. } => {}
        }
        Ok(planned)
    }

    fn refused(
        &self,
        incoming: &Row,
        why: Refusal,
        (base, stamp): (Option<Stamp>, Option<Stamp>),
        operation: &'static str,
        address: &Address,
    ) -> Planned {
        let incoming = self.evidence(incoming);
        // A key that the target cannot hold names the row in the source's terms.
        let in_source = || {
            self.key
                .iter()
                .filter_map(|carried| incoming.get(carried.source).cloned())
        };
        let key: Key = match self.key_of(&incoming) {
            Ok(Ok(key)) => key,
            Ok(Err(_)) | Err(_) => in_source().collect(),
        };
        planned(
            key,
            PlannedOp::Refused {
                incoming,
                before: None,
                why,
                base,
                stamp,
                operation,
            },
            address,
        )
    }

    /// A before-image of the source as the target would hold it.
    pub fn in_target_terms(&self, before: &Row) -> Result<Row, Refusal> {
        self.row(before).map(|(_, row)| row)
    }

    /// The target's row, if the way back gives the source its own again; and whether the target has to send it anew.
    fn proven(&self, source: &Row, old: Option<&Row>) -> Result<(Key, Row, Guarding), Refusal> {
        let (key, row) = self.row(source)?;
        if self.formulas.is_empty() {
            return Ok((key, row, Guarding::No));
        }
        let engines = (self.source_engine, self.target_engine);
        match self
            .formulas
            .comes_back(&row, (old, source), engines, &self.source)
        {
            Back::Same => Ok((key, row, Guarding::No)),
            Back::Owned => Ok((key, row, Guarding::Raise)),
            Back::Refused(why) => Err(why),
        }
    }

    /// The target's row with all carried cells cast, and its key.
    pub fn row(&self, source: &Row) -> Result<(Key, Row), Refusal> {
        let mut cells = vec![None; self.shape.table.columns.len()];
        for carried in &self.columns {
            if let Some(value) = source.get(carried.source) {
                cells[carried.target] = Some(self.cast(value, *carried)?);
            }
        }
        if !self.formulas.is_empty() {
            let engines = (self.source_engine, self.target_engine);
            self.formulas
                .fill(source, engines, &self.shape.table, &mut cells)?;
        }
        let row = Row(cells.into_boxed_slice());
        let key = self
            .shape
            .table
            .key
            .iter()
            .filter_map(|place| row.get(*place).cloned())
            .collect();
        Ok((key, row))
    }

    /// Outer error: the log did not carry the key. Inner: the target cannot hold it.
    fn key_of(&self, source: &Row) -> Result<Result<Key, Refusal>> {
        let mut key = Vec::with_capacity(self.key.len());
        for carried in &self.key {
            let value = source
                .get(carried.source)
                .ok_or_else(|| self.lacks("its before-image came without its key"))?;
            match self.cast(value, *carried) {
                Ok(value) => key.push(value),
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(key.into_boxed_slice()))
    }

    fn cast(&self, value: &Value, carried: Carried) -> Result<Value, Refusal> {
        let source = &self.source.columns[carried.source];
        let target = &self.shape.table.columns[carried.target];
        if let Some(index) = carried.translation {
            return match (value.is_null(), target.nullable) {
                (true, false) => Err(Refusal {
                    column: target.name.clone(),
                    why: typemap::NULL_IN_NOT_NULL.to_owned(),
                }),
                (true, true) | (false, _) => self.translations[index].of(value, &target.name),
            };
        }
        // In a merge it comes back whole with any change of the other side, and then as its text.
        let is_half = matches!((&source.ty, value), (ColumnType::Json { .. }, Value::Opaque(_)));
        if is_half && self.stamps.is_some() {
            return Err(Refusal {
                column: target.name.clone(),
                why: typemap::SQL_IN_JSON.to_owned(),
            });
        }
        let cast = match carried.may_lose {
            true => typemap::cast_with_loss,
            false => typemap::cast,
        };
        cast(
            value.clone(),
            &source.ty,
            self.source_engine,
            target,
            self.target_engine,
        )
    }

    fn key_differs(&self, old: &Row, new: &Row) -> bool {
        let bytes = |row: &Row| {
            let mut out = Vec::new();
            for carried in &self.key {
                row.get(carried.source)
                    .unwrap_or(&Value::Null)
                    .key_bytes(&mut out);
            }
            out
        };
        bytes(old) != bytes(new)
    }

    fn stamp(&self, row: &Row) -> Result<Option<Stamp>> {
        let Some((version, origin)) = self.stamps else {
            return Ok(None);
        };
        match (row.get(version), row.get(origin)) {
            (Some(Value::Int(version)), Some(Value::Int(origin))) => {
                let origin =
                    Rank::try_from(*origin).map_err(|_| self.lacks("its origin column holds no rank"))?;
                Ok(Some(Stamp::write(*version, origin)))
            }
            _ => Err(self.lacks("a row image came without its stamp")),
        }
    }

    fn lacks(&self, why: &str) -> Error {
        Error::definite("read a change from the log").table(&self.source.id).why(why).hint(
            "the log must carry whole rows: REPLICA IDENTITY FULL on PostgreSQL, binlog_row_image=FULL on MySQL/MariaDB; run `tidelock check`",
        )
    }
}

fn planned(key: Key, op: PlannedOp, address: &Address) -> Planned {
    let mut key_bytes = Vec::with_capacity(key.len() * 24);
    key.iter().for_each(|value| value.key_bytes(&mut key_bytes));
    Planned {
        key,
        key_bytes,
        op,
        address: address.clone(),
        moves: false,
        is_blended: false,
        guarding: Guarding::No,
        is_own: false,
    }
}

fn stamp_columns(table: &Table) -> Option<(usize, usize)> {
    Some((table.column(VERSION_COLUMN)?, table.column(ORIGIN_COLUMN)?))
}

/// Outer `None`: merge wants stamp columns that are not there.
fn target_stamps(target: &Table, merge: bool) -> Option<Option<StampColumns>> {
    if !merge {
        return Some(None);
    }
    let (version, origin) = stamp_columns(target)?;
    Some(Some(StampColumns {
        version,
        origin,
        tombstones: object_name("tombstone", &target.id),
        beside: target.is_beside().then(|| Beside {
            stamps: stamps_of(&target.id).name,
            by_triggers: false,
        }),
    }))
}

#[cfg(test)]
mod tests;
