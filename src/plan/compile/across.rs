//! Keys and cells of one side in the terms of the other, and the columns that are masked on both.
//!
//! Owns: what a person's decision and a conflict's record ask of a plan beyond its changes. Refuses: a mask on a key, or on
//! a column that is not there.

use super::{Differing, Plan};
use crate::error::Result;
use crate::mapping::Passage;
use crate::model::schema::Table;
use crate::model::value::Value;
use crate::plan::Key;
use crate::typemap::Refusal;

impl Plan {
    /// The way back of the same rows, without stamps.
    pub fn back(&self, passage: &Passage) -> Result<Plan> {
        let (source, target) = (&self.shape.table, &self.source);
        Plan::compile(
            source,
            self.target_engine,
            target,
            self.source_engine,
            false,
            &passage.back(),
        )
    }

    /// Columns whose values no record may hold, by their places in source and target.
    pub fn masked(&self) -> &[(Option<usize>, Option<usize>)] {
        &self.masked
    }

    /// A source cell in the target's terms, for comparison.
    pub fn cell_there(&self, source: usize, value: &Value) -> Option<Value> {
        let carried = self.columns.iter().find(|carried| carried.source == source)?;
        self.cast(value, *carried).ok()
    }

    /// Source columns of the key, in the order of the target's key.
    pub fn key_sources(&self) -> impl Iterator<Item = usize> {
        self.key.iter().map(|carried| carried.source)
    }

    /// A key of the source, in the order of its own key, as the target has it.
    pub fn key_there(&self, key: &[Value]) -> Result<Key, Refusal> {
        let mut there = Vec::with_capacity(self.key.len());
        for carried in &self.key {
            let place = self.source.key.iter().position(|place| *place == carried.source);
            let value = place.and_then(|place| key.get(place)).ok_or_else(|| Refusal {
                column: self.source.columns[carried.source].name.clone(),
                why: "it is not in the source's key".to_owned(),
            })?;
            there.push(self.cast(value, *carried)?);
        }
        Ok(there.into_boxed_slice())
    }
}

/// The masked columns. A key names its row in every record, so it cannot be masked.
pub(super) fn masked(
    source: &Table,
    differing: &Differing<'_>,
    passage: &Passage,
) -> Result<Vec<(Option<usize>, Option<usize>)>> {
    let mut masked = Vec::new();
    for (here, there) in passage.masks() {
        let places = (source.column(here), differing.target.column(there));
        if places == (None, None) && passage.is_loose(here) {
            continue;
        }
        if places == (None, None) {
            let why = format!("column {there:?} is masked in the configuration, and there is none");
            return Err(differing.failed().why(why).hint("correct the column's name"));
        }
        let is_keyed =
            |table: &Table, place: Option<usize>| place.is_some_and(|place| table.key.contains(&place));
        if is_keyed(source, places.0) || is_keyed(differing.target, places.1) {
            let why = format!(
                "column {there:?} is masked and part of the key, which names the row in every record"
            );
            return Err(differing
                .failed()
                .why(why)
                .hint("take mask off the key's columns; a key that must not be seen needs a substitute as primary key"));
        }
        masked.push(places);
    }
    Ok(masked)
}
