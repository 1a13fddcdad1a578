//! Which column of a source is which of a target.
//!
//! Refuses: a column that has no counterpart which can hold it, with what to run; keys that are not the same columns.

use super::Carried;
use crate::error::Result;
use crate::mapping::{Passage, Place};
use crate::model::schema::Table;
use crate::plan::differ::Differing;
use crate::plan::translation::Translation;
use crate::typemap::{self, Verdict};

/// The columns that have a place on the target, and those that stay behind.
pub(super) fn carried(
    source: &Table,
    differing: &Differing<'_>,
    passage: &Passage,
    translations: &mut Vec<Translation>,
) -> Result<(Vec<Carried>, Vec<usize>)> {
    let (mut columns, mut skipped) = (Vec::with_capacity(source.columns.len()), Vec::new());
    for (index, column) in source.columns.iter().enumerate() {
        let place = match passage.place(&column.name) {
            Place::Named(name) => differing.target.column(name),
            Place::Skipped => {
                skipped.push(index);
                continue;
            }
            Place::Taken(other) => {
                let why = format!(
                    "columns {:?} and {other:?} would both be one column of the target",
                    column.name
                );
                return Err(differing.failed().why(why));
            }
        };
        // What the source computes and the target has no place for is nobody's data; what goes into computed columns
        // alone has no place of its own.
        let needs_no_place = passage.needs_no_place(&column.name, differing.target);
        if place.is_none() && (column.generated || needs_no_place) {
            continue;
        }
        let place = place.ok_or_else(|| differing.missing(column, passage))?;
        let counterpart = &differing.target.columns[place];
        if counterpart.generated || passage.is_computed(&counterpart.name) {
            continue;
        }
        if let Some((.., pairs)) = passage.translations().find(|(here, ..)| *here == column.name) {
            let bound = Translation::bind(&pairs, &column.ty, &counterpart.ty);
            translations.push(bound.map_err(|why| {
                let why = format!("values of column {:?}: {why}", counterpart.name);
                differing
                    .failed()
                    .why(why)
                    .hint("correct values in the configuration, or the column's type")
            })?);
            columns.push(Carried {
                source: index,
                target: place,
                may_lose: false,
                translation: Some(translations.len() - 1),
            });
            continue;
        }
        let may_lose = passage.losses().any(|(name, _)| name == column.name);
        let (from, to) = (differing.source_engine, differing.target_engine);
        match typemap::verdict(column, from, counterpart, to) {
            Verdict::Exact | Verdict::ExactIf(_) => {}
            Verdict::Lossy(_) if may_lose => {}
            Verdict::Lossy(why) | Verdict::Refused(why) => {
                return Err(differing.refused(column, counterpart, &why));
            }
        }
        columns.push(Carried {
            source: index,
            target: place,
            may_lose,
            translation: None,
        });
    }
    Ok((columns, skipped))
}

/// Source columns of the key, in the order of the target's key.
pub(super) fn keyed(source: &Table, differing: &Differing<'_>, columns: &[Carried]) -> Result<Vec<Carried>> {
    let carried = |place: usize| columns.iter().copied().find(|carried| carried.target == place);
    let key: Option<Vec<Carried>> = differing.target.key.iter().map(|place| carried(*place)).collect();
    let key = key
        .filter(|key| !key.is_empty())
        .ok_or_else(|| differing.failed().why("its primary key is not carried"))?;
    for table in [source, differing.target] {
        if let Some(external) = table
            .external
            .as_ref()
            .filter(|external| external.index.is_none())
        {
            return Err(differing.failed().why(format!(
                "external_id {:?} of {} has no unique index over it alone",
                external.column, table.id
            )));
        }
    }
    // Rows that are one by one side's key may be two by the other's.
    let is_keyed = |place: &usize| key.iter().any(|carried| carried.source == *place);
    let is_same = source.key.len() == key.len() && source.key.iter().all(is_keyed);
    if !(is_same || source.key.is_empty()) {
        return Err(differing.keyed());
    }
    Ok(key)
}

pub(super) fn untouched(target: &Table, back: &Passage) -> Vec<usize> {
    if !target.uniques.is_empty() || target.is_beside() {
        return Vec::new();
    }
    let skipped =
        |(_, column): &(usize, &crate::model::schema::Column)| back.place(&column.name) == Place::Skipped;
    let places = target.columns.iter().enumerate().filter(skipped);
    places.map(|(place, _)| place).collect()
}
