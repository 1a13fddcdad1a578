//! The compaction of a group: the changes of one key become one write.
//!
//! Owns: [`Layers`]. A layer holds distinct keys of one table and is written as a set; where two changes of a key
//! cannot become one, the second opens the next layer.
//! In merge mode only an unbroken chain is compacted: each before-stamp is the previous after-stamp. A compacted
//! change keeps the first before-image's stamp to compare with, and the last result's to decide by.

use super::guard::Guarding;
use super::{Plan, Planned, PlannedOp};
use crate::model::schema::TableId;
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One set of writes to one table.
#[derive(Debug)]
pub struct Layer {
    pub plan: Arc<Plan>,
    /// The table is emptied before the changes are written.
    pub empties: bool,
    pub changes: Vec<Planned>,
    index: HashMap<Vec<u8>, usize>,
}

/// The layers of a group, in the order in which they must be written.
#[derive(Debug, Default)]
pub struct Layers {
    layers: Vec<Layer>,
    /// Changes of which nothing is to be written: outside of the table's row filter, and none at all.
    pub filtered: u64,
    pub unchanged: u64,
    /// Inserts under numbers that are not the source's to give, by its tables.
    pub strays: BTreeMap<TableId, u64>,
}

impl Layers {
    /// The source emptied the table: what the group did to it before is gone with it, and what follows meets an
    /// empty table.
    pub fn empty(&mut self, plan: &Arc<Plan>) {
        let table = &plan.shape.table.id;
        self.layers.retain(|layer| layer.plan.shape.table.id != *table);
        self.layers.push(Layer::new(plan, true));
    }

    pub fn push(&mut self, plan: &Arc<Plan>, change: Planned) {
        let layer = self
            .layers
            .iter_mut()
            .rev()
            .find(|layer| layer.plan.shape.table.id == plan.shape.table.id);
        let change = match layer {
            Some(layer) if Arc::ptr_eq(&layer.plan, plan) && !layer.hides(&change) => {
                match layer.offer(change) {
                    None => return,
                    Some(change) => change,
                }
            }
            _ => change,
        };
        let mut layer = Layer::new(plan, false);
        layer.index.insert(change.key_bytes.clone(), 0);
        layer.changes.push(change);
        self.layers.push(layer);
    }

    pub fn strayed(&mut self, strays: BTreeMap<TableId, u64>) {
        for (table, count) in strays {
            *self.strays.entry(table).or_default() += count;
        }
    }

    /// Does a value come that the target's column, as it was when it was last looked at, cannot hold?
    pub fn has_refusals(&self) -> bool {
        let mut changes = self.layers.iter().flat_map(|layer| &layer.changes);
        changes.any(|change| matches!(change.op, PlannedOp::Refused { .. }))
    }

    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter()
    }
}

impl Layer {
    fn new(plan: &Arc<Plan>, empties: bool) -> Self {
        Layer {
            plan: Arc::clone(plan),
            empties,
            changes: Vec::new(),
            index: HashMap::default(),
        }
    }

    /// Does it take cells from a row that this layer changes? They are read before anything of the layer is written.
    fn hides(&self, change: &Planned) -> bool {
        let PlannedOp::Insert {
            fill_from: Some(from),
            ..
        } = &change.op
        else {
            return false;
        };
        let mut bytes = Vec::with_capacity(change.key_bytes.len());
        from.iter().for_each(|value| value.key_bytes(&mut bytes));
        self.index.contains_key(&bytes)
    }

    /// Takes the change in, or gives it back when it needs a layer of its own.
    fn offer(&mut self, change: Planned) -> Option<Planned> {
        let Some(place) = self.index.get(&change.key_bytes) else {
            self.index.insert(change.key_bytes.clone(), self.changes.len());
            self.changes.push(change);
            return None;
        };
        let before = &mut self.changes[*place];
        let is_plain = |change: &Planned| !change.moves && change.guarding == Guarding::No;
        let is_external = self.plan.shape.table.external.is_some();
        let replaced = || match is_external && is_plain(before) && is_plain(&change) {
            true => replaced(&before.op, &change.op),
            false => None,
        };
        match compact(&before.op, &change.op).or_else(replaced) {
            Some(op) => {
                before.op = op;
                before.address = change.address;
                before.moves |= change.moves;
                before.guarding = before.guarding.max(change.guarding);
                before.is_own &= change.is_own;
                None
            }
            None => Some(change),
        }
    }
}

/// A row that goes and comes again: an update of all that it has in common with the source, so that what the target has
/// of its own in it, its key before all, stays.
fn replaced(first: &PlannedOp, second: &PlannedOp) -> Option<PlannedOp> {
    match (first, second) {
        (
            PlannedOp::Delete {
                before,
                base,
                stamp: gone,
            },
            PlannedOp::Insert {
                row,
                stamp,
                fill_from: None,
                own: None,
            },
        ) if first.told().is_none() && (gone < stamp || gone.is_none()) => Some(PlannedOp::Update {
            row: row.clone(),
            before: Some(before.clone()),
            base: *base,
            stamp: *stamp,
        }),
        _ => None,
    }
}

/// One write that does what the two do, where there is one.
fn compact(first: &PlannedOp, second: &PlannedOp) -> Option<PlannedOp> {
    use PlannedOp::{Delete, Insert, Update};
    // What raised no version is found and repaired: it must not go under in what did.
    if first.unraised().or(second.unraised()).is_some() {
        return None;
    }
    // Of two that are only told the greater asks for all that both do.
    if let (Some(one), Some(other)) = (first.told(), second.told()) {
        return Some(if one > other {
            first.clone()
        } else {
            second.clone()
        });
    }
    match (first, second) {
        (
            Insert {
                row: old,
                stamp: was,
                fill_from: None,
                ..
            },
            Update { row, base, stamp, .. },
        ) if was == base || base.is_none() => Some(Insert {
            // Cells the second change did not send stay as the first one set them.
            row: row.over(old),
            stamp: *stamp,
            fill_from: None,
            own: None,
        }),
        (
            Update {
                row: old,
                before,
                base,
                stamp: was,
            },
            Update {
                row,
                base: next,
                stamp,
                ..
            },
        ) if was == next || next.is_none() => Some(Update {
            row: row.over(old),
            before: before.clone(),
            base: *base,
            stamp: *stamp,
        }),
        (
            Update {
                before: Some(before),
                base,
                stamp: was,
                ..
            },
            Delete {
                base: next, stamp, ..
            },
        ) if was == next || next.is_none() => Some(Delete {
            before: before.clone(),
            base: *base,
            stamp: *stamp,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::{Change, Head, Op};
    use crate::model::schema::{Column, ColumnType, Engine, Table, TableId};
    use crate::model::stamp::Stamp;
    use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN};
    use crate::model::value::{Row, Value};
    use crate::plan::Address;

    fn plan(merge: bool) -> Arc<Plan> {
        let int = |name: &str| Column {
            name: name.to_owned(),
            ty: ColumnType::Int {
                bits: 64,
                unsigned: false,
            },
            sql_type: "bigint".to_owned(),
            collation: String::new(),
            nullable: true,
            generated: false,
            has_default: false,
        };
        let columns = vec![int("id"), int("amount"), int(VERSION_COLUMN), int(ORIGIN_COLUMN)];
        let table = Arc::new(Table {
            id: TableId::new("s", "t"),
            columns,
            key: vec![0],
            uniques: vec![],
            external: None,
        });
        let passage = crate::mapping::Passage::default();
        let pg = Engine::Postgres;
        Arc::new(Plan::compile(&table, pg, &table, pg, merge, &passage).unwrap())
    }

    fn row(cells: [Option<i64>; 4]) -> Row {
        cells.into_iter().map(|cell| cell.map(Value::Int)).collect()
    }

    fn whole(id: i64, amount: i64, version: i64) -> Row {
        row([Some(id), Some(amount), Some(version), Some(1)])
    }

    fn layers(plan: &Arc<Plan>, ops: Vec<Op>) -> Layers {
        let head = Arc::new(Head {
            transaction: "1".to_owned(),
            past: None,
            committed_at_us: 0,
        });
        let mut layers = Layers::default();
        let mut planned = Vec::new();
        for (ordinal, op) in (0..).zip(ops) {
            let address = Address {
                head: Arc::clone(&head),
                ordinal,
            };
            let change = Change {
                table: Arc::clone(&plan.source),
                op,
            };
            let author = crate::plan::Author {
                rank: 7,
                own: false,
                answers: false,
            };
            plan.change(&change, author, &address, &mut planned).unwrap();
            planned.drain(..).for_each(|change| layers.push(plan, change));
        }
        layers
    }

    fn ops(layers: &Layers) -> Vec<Vec<&PlannedOp>> {
        layers
            .iter()
            .map(|layer| layer.changes.iter().map(|change| &change.op).collect())
            .collect()
    }

    #[test]
    fn an_unbroken_chain_becomes_one_write_with_the_first_base_and_the_last_stamp() {
        let plan = plan(true);
        let update = |old, new| Op::Update { old: Some(old), new };
        let layers = layers(
            &plan,
            vec![
                update(whole(1, 10, 5), whole(1, 11, 6)),
                Op::Insert { new: whole(2, 0, 1) },
                update(whole(1, 11, 6), whole(1, 12, 7)),
                Op::Delete { old: whole(1, 12, 7) },
            ],
        );
        let ops = ops(&layers);
        assert_eq!((ops.len(), ops[0].len()), (1, 2));
        let PlannedOp::Delete { base, stamp, before } = ops[0][0] else {
            panic!("{:?}", ops[0][0])
        };
        assert_eq!(
            (*base, *stamp),
            (Some(Stamp::write(5, 1)), Some(Stamp::delete(7, 7)))
        );
        assert_eq!(before, &whole(1, 10, 5));
    }

    #[test]
    fn a_broken_chain_opens_another_layer() {
        let plan = plan(true);
        let update = |old, new| Op::Update { old: Some(old), new };
        let layers = layers(
            &plan,
            vec![
                update(whole(1, 10, 5), whole(1, 11, 6)),
                update(whole(1, 11, 9), whole(1, 12, 10)),
            ],
        );
        assert_eq!(ops(&layers).len(), 2);
    }

    #[test]
    fn what_a_truncated_table_held_is_not_written_and_what_follows_is_written_after() {
        let plan = plan(false);
        let insert = |id| Op::Insert { new: whole(id, 1, 1) };
        let mut layers = layers(&plan, vec![insert(1), insert(2)]);
        layers.empty(&plan);
        let after = self::layers(&plan, vec![insert(1)]);
        for change in &after.layers[0].changes {
            layers.push(&plan, change.clone());
        }
        let told: Vec<(bool, usize)> = layers
            .iter()
            .map(|layer| (layer.empties, layer.changes.len()))
            .collect();
        assert_eq!(told, [(true, 1)]);
        layers.empty(&plan);
        assert_eq!((layers.layers.len(), layers.layers[0].changes.len()), (1, 0));
        assert!(!layers.is_empty(), "emptying a table is something to write");
    }

    #[test]
    fn a_row_saved_as_it_was_is_not_written_and_one_with_a_forgotten_stamp_is() {
        let update = |new| Op::Update {
            old: Some(whole(1, 10, 5)),
            new,
        };
        assert!(layers(&plan(true), vec![update(whole(1, 10, 5))]).is_empty());
        assert!(!layers(&plan(true), vec![update(whole(1, 11, 5))]).is_empty());
    }

    #[test]
    fn delete_and_insert_of_one_key_stay_two_writes_in_order() {
        let layers = layers(
            &plan(true),
            vec![
                Op::Delete { old: whole(1, 1, 5) },
                Op::Insert { new: whole(1, 2, 6) },
            ],
        );
        assert!(matches!(ops(&layers)[..], [ref first, ref second]
            if matches!(first[..], [PlannedOp::Delete { .. }]) && matches!(second[..], [PlannedOp::Insert { .. }])));
    }

    #[test]
    fn cells_that_were_not_sent_keep_what_the_first_change_set() {
        let partial = row([Some(1), None, Some(3), Some(1)]);
        let layers = layers(
            &plan(false),
            vec![
                Op::Insert { new: whole(1, 42, 2) },
                Op::Update {
                    old: None,
                    new: partial,
                },
            ],
        );
        let ops = ops(&layers);
        let PlannedOp::Insert { row, .. } = ops[0][0] else {
            panic!("{:?}", ops[0][0])
        };
        assert_eq!(row.get(1), Some(&Value::Int(42)));
    }

    #[test]
    fn a_moved_key_is_a_delete_and_an_insert_and_takes_missing_cells_from_the_row_it_leaves() {
        let (old, new) = (
            row([Some(1), None, None, None]),
            row([Some(2), None, Some(3), Some(1)]),
        );
        let layers = layers(&plan(false), vec![Op::Update { old: Some(old), new }]);
        let ops = ops(&layers);
        assert_eq!(
            (ops.len(), ops[0].len()),
            (1, 2),
            "one layer: the row is read before it is deleted"
        );
        let PlannedOp::Insert { fill_from, .. } = ops[0][0] else {
            panic!("{:?}", ops[0][0])
        };
        assert_eq!(fill_from.as_deref(), Some(&[Value::Int(1)][..]));
    }
}
