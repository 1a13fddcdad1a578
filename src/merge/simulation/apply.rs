//! How a change is applied at a node: decided by the real `decide`, written, parked or answered as `flow::apply` does.

use super::node::{Doubt, Entry, Logged, Writer};
use super::setup::{Topology, Wrong};
use super::table::{self, STOCK};
use super::world::World;
use crate::merge::columns::{self, Three};
use crate::merge::{Decision, Foreign, Incoming, Own, Sight, Standing, decide};
use crate::model::change::Op;
use crate::model::conflict::Reason;
use crate::model::rules::TableRules;
use crate::model::stamp::Stamp;
use crate::model::value::Row;
use crate::plan::{Planned, PlannedOp};

impl World {
    pub fn apply(&mut self, source: usize, target: usize, change: &Planned, entry: &mut Entry) {
        let key = table::key_of(change);
        let is_bound = self.is_bound_to_stand(source, target, change);
        if self.setup.is_held && source == 0 {
            self.known.told.insert((target, key));
        }
        self.decided(source, target, change, entry);
        self.known.is_taken |= is_bound && !self.nodes[target].rows.contains_key(&key);
    }

    /// What the other node does to a row that is this one's does not take it away.
    fn is_bound_to_stand(&self, source: usize, target: usize, change: &Planned) -> bool {
        let row = self.nodes[target].rows.get(&table::key_of(change));
        let is_told = change.op.told().is_some();
        let sight = |row| table::plan(&self.setup, source, target).sight(Some(row), None);
        row.is_some_and(|row| match sight(row) {
            Sight::Lent | Sight::Unheld => true,
            Sight::Within => is_told,
            Sight::Outside => table::incoming(&change.op).is_delete(),
            Sight::Unfiltered | Sight::Borrowed => false,
        })
    }

    fn decided(&mut self, source: usize, target: usize, change: &Planned, entry: &mut Entry) {
        let key = table::key_of(change);
        let incoming = table::incoming(&change.op);
        if incoming.is_delete() {
            self.nodes[target].learn(key, incoming.stamp());
        }
        let Some(rules) = self.rules(target, key, incoming) else {
            self.tell(|| format!("  {} waits", table::told(change)));
            self.nodes[target].park(source, key, change);
            return;
        };
        let standing = self.standing(source, target, change, incoming);
        let decision = match self.is_patch(target, change, incoming) {
            true => return self.patch(source, target, change, entry),
            false => decide(&rules, self.nodes[target].rank, incoming, standing),
        };
        let decision = self.otherwise(incoming, standing, decision);
        self.tell(|| format!("  {}: {decision:?}", table::told(change)));
        match decision {
            Decision::Write { .. } => self.write(source, target, change, entry),
            Decision::Keep {
                conflict: Some(_), ..
            } => self.doubt(source, target, key, incoming, standing),
            Decision::Keep { conflict: None, .. } => {}
            Decision::Own { own, .. } => self.answer(source, target, change, own, entry),
            Decision::Park { .. } => {
                self.nodes[target].park(source, key, change);
            }
        }
    }

    /// A row that a tombstone keeps out here may still stand on its own node: `Applier::note_bump`.
    fn doubt(&mut self, peer: usize, target: usize, key: i64, incoming: Incoming, standing: Standing) {
        let (None, Some(tombstone), false) = (standing.row, standing.tombstone, incoming.is_delete()) else {
            return;
        };
        let node = &mut self.nodes[target];
        if !self.setup.is_filtered {
            node.doubted.push(Doubt {
                peer,
                key,
                standing: tombstone.max(incoming.stamp()),
                at: node.log.len(),
            });
        }
    }

    /// By what to decide, as `flow::apply::parking` has it: a write of this node above all that waits under its key ends
    /// the wait, and a change that dominates all of it is taken, whatever asked for it. `None`: it waits as well.
    fn rules(&mut self, target: usize, key: i64, incoming: Incoming) -> Option<TableRules> {
        let mut rules = self.setup.rules.clone();
        let node = &mut self.nodes[target];
        if self.setup.wrong == Wrong::EveryNodeArbiter {
            rules.arbiter = node.rank;
        }
        let Some(waiting) = node.parked.get(&key) else {
            return Some(rules);
        };
        let (waits, stands) = (waiting.stamp(), node.stands(key));
        let is_settled = node.is_settled(key);
        let is_above = Some(incoming.stamp()) > waits && Some(incoming.stamp()) > stands;
        if is_settled || is_above {
            node.parked.remove(&key);
        }
        if is_above && !is_settled {
            node.yielded.insert(key);
        }
        match (is_settled, is_above) {
            (true, _) => Some(rules),
            (false, true) => Some(TableRules::default()),
            (false, false) => None,
        }
    }

    fn standing(&self, source: usize, target: usize, change: &Planned, incoming: Incoming) -> Standing {
        let (node, key) = (&self.nodes[target], table::key_of(change));
        let row = node.rows.get(&key);
        let mut standing = Standing {
            row: node.row_stamp(key),
            tombstone: node.tombstones.get(&key).copied(),
            is_same: row.is_some_and(|row| table::incoming_row(&change.op) == Some(row)),
            is_base: row.is_some_and(|row| table::is_made_on(&change.op, row)),
            sight: match self.setup.wrong {
                Wrong::Unfiltered | Wrong::UnheldByStamps => Sight::Unfiltered,
                Wrong::ToldAsDelete if change.op.told().is_some() => Sight::Unfiltered,
                _ => {
                    let plan = table::plan(&self.setup, source, target);
                    plan.sight(row, table::incoming_row(&change.op))
                }
            },
            foreign: self.foreign(source, target, change),
        };
        if self.is(Wrong::NoTombstone) {
            standing.tombstone = None;
        }
        if self.is(Wrong::NoRowOrigin) {
            let base = match incoming {
                Incoming::Insert { .. } => None,
                Incoming::Update { base, .. } | Incoming::Delete { base, .. } => Some(base),
            };
            standing.row = standing.row.map(|row| match base {
                Some(base) if base.version == row.version => base,
                _ => Stamp::write(row.version, node.rank),
            });
            standing.tombstone = standing
                .tombstone
                .map(|stamp| Stamp::delete(stamp.version, node.rank));
        }
        standing
    }

    /// What a wrong variant makes of a decision.
    fn otherwise(&self, incoming: Incoming, standing: Standing, decision: Decision) -> Decision {
        let keep = Decision::Keep {
            conflict: None,
            reason: Reason::Same,
        };
        let is_tie = standing
            .row
            .is_some_and(|row| row.version == incoming.stamp().version);
        match (self.setup.wrong, decision) {
            (Wrong::NoTieRule, Decision::Write { .. }) if is_tie && !incoming.is_delete() => keep,
            (Wrong::KeptByOrigin, Decision::Own { .. }) => keep,
            (Wrong::Untold, Decision::Own { own: Own::Touch, .. }) => keep,
            (Wrong::UnheldDeletesKept, Decision::Own { own: Own::Touch, .. }) if incoming.is_delete() => keep,
            (Wrong::Unrecalled, Decision::Own { own: Own::Recall, .. }) => keep,
            (
                Wrong::LiftedBorrowed,
                Decision::Own {
                    own: Own::Fetch,
                    conflict,
                    reason,
                },
            ) => Decision::Own {
                own: Own::Lift,
                conflict,
                reason,
            },
            _ => decision,
        }
    }

    fn is_patch(&self, target: usize, change: &Planned, incoming: Incoming) -> bool {
        let row = self.nodes[target].row_stamp(table::key_of(change));
        let equal = match (incoming, row) {
            (Incoming::Update { base, .. }, Some(row)) => base.version == row.version,
            _ => false,
        };
        equal && self.is(Wrong::PatchOnEqualVersion)
    }

    fn patch(&mut self, source: usize, target: usize, change: &Planned, entry: &mut Entry) {
        let PlannedOp::Update { row, before, .. } = &change.op else {
            return;
        };
        let node = &mut self.nodes[target];
        let cells = row.0.iter().zip(before.as_ref().unwrap().0.iter());
        let changed: Row = cells
            .map(|(new, old)| (new != old).then(|| new.clone()).flatten())
            .collect();
        let mut patched = changed.over(&node.rows[&table::key_of(change)]);
        table::set_stamp(&mut patched, table::stamp(row));
        let op = node.put(patched);
        entry.push(Writer::Applied(source), Logged::Row(op));
    }

    fn write(&mut self, source: usize, target: usize, change: &Planned, entry: &mut Entry) {
        let (writer, key) = (Writer::Applied(source), table::key_of(change));
        let is_hub = self.setup.topology == Topology::Hub && target == 0;
        let (swallows, derives) = (
            self.is(Wrong::HubSwallowsTombstones),
            self.is(Wrong::HubDerivesTombstones),
        );
        let rank = self.nodes[source].rank;
        let node = &mut self.nodes[target];
        if let Some(row) = table::incoming_row(&change.op) {
            let op = node.put(row.clone());
            entry.push(writer, Logged::Row(op));
            return;
        }
        let stamp = table::incoming(&change.op).stamp();
        let stood = node.rows.contains_key(&key).then(|| node.remove(key));
        let rises = node.bury(key, stamp);
        // By the row alone its reader takes it for this.
        let told = stood
            .as_ref()
            .map(|row| Stamp::delete(table::stamp(row).version, rank));
        if let Some(old) = stood {
            entry.push(writer, Logged::Row(Op::Delete { old }));
        }
        let is_untold = rises && told != Some(stamp);
        if is_hub && is_untold && !swallows && !(derives && told.is_some()) {
            entry.push(writer, Logged::Buried(key, stamp));
        }
    }

    /// Writes of our own, as `flow::apply::reassert` makes them.
    fn answer(&mut self, source: usize, target: usize, change: &Planned, own: Own, entry: &mut Entry) {
        let key = table::key_of(change);
        let incoming = table::incoming(&change.op);
        let column_rules = self.column_rules(source, target);
        let foreign = self.foreign(source, target, change);
        let is_unraised = foreign.is_some() && self.is(Wrong::ForeignUnraised);
        let node = &mut self.nodes[target];
        let standing = node.row_stamp(key);
        let stands = node.stands(key).max(Some(incoming.stamp()));
        let raised = if own == Own::Recall { 2 } else { 1 };
        let above = Stamp::write(stands.unwrap().version + raised, node.rank);
        let arriving = table::incoming_row(&change.op);
        let mut row = match (own, &change.op) {
            (Own::Touch | Own::Recall, _) => node.rows[&key].clone(),
            (Own::Lift | Own::DeleteAgain | Own::Fetch, _) => arriving.unwrap().clone(),
            (Own::Delete, _) => {
                let op = node.delete_itself(key);
                return entry.push(Writer::Own(source), Logged::Row(op));
            }
            (Own::Merge { incoming_wins }, PlannedOp::Update { row, .. } | PlannedOp::Insert { row, .. }) => {
                let here = node.rows[&key].clone();
                let unknown: Row = vec![None; table::NAMES.len()].into_iter().collect();
                let before = match &change.op {
                    PlannedOp::Update { before, .. } => before.as_ref(),
                    _ => None,
                };
                let three = Three {
                    base: before.unwrap_or(&unknown),
                    incoming: row,
                    standing: &here,
                };
                let Ok(mut merged) = columns::merge(&column_rules, three, incoming_wins) else {
                    return node.park(source, key, change);
                };
                let is_above = standing < Some(incoming.stamp());
                let leaves = if is_above { row } else { &here };
                table::set_stamp(&mut merged, table::stamp(leaves));
                match (merged == *leaves, is_above) {
                    (true, true) => return self.write(source, target, change, entry),
                    (true, false) => return,
                    (false, _) => merged,
                }
            }
            (Own::Merge { .. }, _) => panic!("{change:?}"),
        };
        if own == Own::Fetch {
            table::set_stamp(&mut row, above);
        }
        if matches!(own, Own::DeleteAgain | Own::Fetch) {
            let put = node.put(row);
            entry.push(Writer::Own(source), Logged::Row(put));
            let delete = node.delete_itself(key);
            return entry.push(Writer::Own(source), Logged::Row(delete));
        }
        if own == Own::Lift && foreign == Some(Foreign::Cells) && standing.is_none() {
            table::set(&mut row, STOCK, 0);
        }
        if is_unraised {
            table::set_stamp(&mut row, incoming.stamp());
            let op = node.put(row);
            return entry.push(Writer::Applied(source), Logged::Row(op));
        }
        table::set_stamp(&mut row, above);
        node.given.insert((key, above.version));
        let op = node.put(row);
        entry.push(Writer::Own(source), Logged::Row(op));
    }
}

/// What compaction must not do: one change of two of which the second was not made on the first.
pub fn compacted_blindly(changes: Vec<Planned>) -> Vec<Planned> {
    let mut out: Vec<Planned> = Vec::new();
    for change in changes {
        let last = out
            .iter_mut()
            .rev()
            .find(|last| last.key_bytes == change.key_bytes);
        match (last.map(|last| &mut last.op), &change.op) {
            (
                Some(PlannedOp::Update { row, stamp, .. }),
                PlannedOp::Update {
                    row: next,
                    stamp: after,
                    ..
                },
            ) => {
                row.clone_from(next);
                *stamp = *after;
            }
            _ => out.push(change),
        }
    }
    out
}

/// What a row that leaves the filter must not become: a delete of the version that it was written with.
pub fn leave_as_delete(change: &mut Planned) {
    if let PlannedOp::Delete {
        stamp: Some(stamp), ..
    } = &mut change.op
    {
        *stamp = Stamp::delete(stamp.version, stamp.origin);
    }
}
