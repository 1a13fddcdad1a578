//! A column and the deletes that one node owns each, and what a hub owns of rows that its spokes hold: who answers for
//! them, and what a change writes of them, as `mapping::owner` and `flow::decision` have it.

use super::setup::{Topology, Wrong};
use super::table::{self, REGION, STOCK};
use super::world::World;
use crate::merge::Foreign;
use crate::model::rules::ColumnRule;
use crate::model::stamp::{Kind, Rank};
use crate::model::value::Row;
use crate::plan::{Planned, PlannedOp};

/// Who writes the stock.
pub const OWNER: Rank = 2;
const DELETES: Rank = 1;

impl World {
    fn guards(&self, owner: Rank, source: usize, target: usize) -> bool {
        let is_hub = self.setup.topology == Topology::Hub && target == 0;
        let rank = |node: usize| self.nodes[node].rank;
        self.setup.is_owned && (owner == rank(target) || (is_hub && owner != rank(source)))
    }

    /// The region, and which rows there are, are the hub's.
    fn guards_rows(&self, target: usize) -> bool {
        self.setup.is_held && target == 0
    }

    pub fn foreign(&self, source: usize, target: usize, change: &Planned) -> Option<Foreign> {
        if self.is(Wrong::ForeignKept) {
            return None;
        }
        let here = self.nodes[target].rows.get(&table::key_of(change));
        match (&change.op, here) {
            (PlannedOp::Delete { stamp, .. }, Some(_)) => {
                let is_delete = stamp.is_some_and(|stamp| stamp.kind == Kind::Delete);
                let is_foreign = !change.is_own && is_delete && self.guards(DELETES, source, target);
                is_foreign.then_some(Foreign::Row)
            }
            (PlannedOp::Insert { .. } | PlannedOp::Update { .. }, None) if self.guards_rows(target) => {
                (!change.is_own).then_some(Foreign::Row)
            }
            (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }, here) => {
                let is_region = |here: &Row| table::cell(row, REGION) != table::cell(here, REGION);
                let is_moved = self.guards_rows(target) && here.is_some_and(is_region);
                // A new row comes without it.
                let stands = here.map_or(0, |here| table::cell(here, STOCK));
                let is_foreign = table::cell(row, STOCK) != stands && self.guards(OWNER, source, target);
                let is_foreign = is_foreign || (is_moved && !self.is(Wrong::RegionUnowned));
                is_foreign.then_some(Foreign::Cells)
            }
            (PlannedOp::Delete { .. }, None) | (PlannedOp::Refused { .. }, _) => None,
        }
    }

    /// The columns' rules at the target of a link.
    pub fn column_rules(&self, source: usize, target: usize) -> [ColumnRule; table::NAMES.len()] {
        let mut rules = table::column_rules(&self.setup.rules);
        if self.guards(OWNER, source, target) {
            rules[STOCK] = ColumnRule::Standing;
        } else if self.setup.is_owned && self.nodes[source].rank == OWNER {
            rules[STOCK] = ColumnRule::Incoming;
        }
        if self.guards_rows(target) {
            rules[REGION] = ColumnRule::Standing;
        }
        rules
    }
}
