//! The compaction of a group: the changes of one key become one write.
//!
//! Owns: [`Layers`]. A layer holds distinct keys of one table and is written as a set; where two changes of a key
//! cannot become one, the second opens the next layer.
//! In merge mode only an unbroken chain is compacted: each before-stamp is the previous after-stamp. A compacted
//! change keeps the first before-image's stamp to compare with, and the last result's to decide by.

use super::{Plan, Planned, PlannedOp};
use foldhash::HashMap;
use std::sync::Arc;

/// One set of writes to one table.
#[derive(Debug)]
pub struct Layer {
    pub plan: Arc<Plan>,
    pub changes: Vec<Planned>,
    index: HashMap<Vec<u8>, usize>,
}

/// The layers of a group, in the order in which they must be written.
#[derive(Debug, Default)]
pub struct Layers {
    layers: Vec<Layer>,
}

impl Layers {
    pub fn push(&mut self, plan: &Arc<Plan>, change: Planned) {
        let layer = self.layers.iter_mut().rev().find(|layer| layer.plan.shape.table.id == plan.shape.table.id);
        let needs_row = matches!(change.op, PlannedOp::Insert { fill_from: Some(_), .. });
        let change = match layer {
            Some(layer) if Arc::ptr_eq(&layer.plan, plan) && !needs_row => match layer.offer(change) {
                None => return,
                Some(change) => change,
            },
            _ => change,
        };
        let mut layer = Layer { plan: Arc::clone(plan), changes: Vec::new(), index: HashMap::default() };
        layer.index.insert(change.key_bytes.clone(), 0);
        layer.changes.push(change);
        self.layers.push(layer);
    }

    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter()
    }
}

impl Layer {
    /// Takes the change in, or gives it back when it needs a layer of its own.
    fn offer(&mut self, change: Planned) -> Option<Planned> {
        let Some(place) = self.index.get(&change.key_bytes) else {
            self.index.insert(change.key_bytes.clone(), self.changes.len());
            self.changes.push(change);
            return None;
        };
        let before = &mut self.changes[*place];
        match compact(&before.op, &change.op) {
            Some(op) => {
                before.op = op;
                before.address = change.address;
                None
            }
            None => Some(change),
        }
    }
}

/// One write that does what the two do, where there is one.
fn compact(first: &PlannedOp, second: &PlannedOp) -> Option<PlannedOp> {
    use PlannedOp::{Delete, Insert, Update};
    match (first, second) {
        (Insert { row: old, stamp: was, fill_from: None }, Update { row, base, stamp, .. }) if was == base || base.is_none() => {
            Some(Insert { row: overlay(old, row), stamp: *stamp, fill_from: None })
        }
        (Update { row: old, before, base, stamp: was }, Update { row, base: next, stamp, .. })
            if was == next || next.is_none() =>
        {
            Some(Update { row: overlay(old, row), before: before.clone(), base: *base, stamp: *stamp })
        }
        (Update { before: Some(before), base, stamp: was, .. }, Delete { base: next, stamp, .. })
            if was == next || next.is_none() =>
        {
            Some(Delete { before: before.clone(), base: *base, stamp: *stamp })
        }
        _ => None,
    }
}

/// Cells the second change did not send stay as the first one set them.
fn overlay(first: &crate::model::value::Row, second: &crate::model::value::Row) -> crate::model::value::Row {
    first.0.iter().zip(second.0.iter()).map(|(old, new)| new.clone().or_else(|| old.clone())).collect()
}
