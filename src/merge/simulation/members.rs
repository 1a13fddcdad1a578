//! Nodes that join and leave while the others run: what `seed::join` and the settling after a removal do.

use super::node::{Entry, Node};
use super::setup::{Topology, Wrong};
use super::table;
use super::world::World;
use crate::model::change::Op;
use crate::plan::Author;

#[derive(Default)]
pub struct Members {
    /// The last node is to be filled from the first: where it begins in each log, noted before.
    begins: Option<Vec<usize>>,
    pub left: Option<usize>,
    /// Links over which tables are compared since a node left.
    unsettled: Vec<(usize, usize)>,
}

impl Members {
    /// Nothing is collected while a node is filled, or tables are compared.
    pub fn are_changing(&self) -> bool {
        self.begins.is_some() || !self.unsettled.is_empty()
    }
}

impl World {
    /// Who takes part now.
    pub fn present(&self) -> Vec<usize> {
        (0..self.joined)
            .filter(|node| self.members.left != Some(*node))
            .collect()
    }

    /// A node that takes part.
    pub fn any(&mut self) -> usize {
        let present = self.present();
        present[self.random.below(present.len())]
    }

    /// One step of whatever is to be done for who comes or goes. `is_last`: all of it that is left.
    pub fn change_members(&mut self, is_last: bool) {
        let is_drawn = is_last || self.random.one_in(8);
        if self.joined < self.nodes.len() && is_drawn {
            if self.members.begins.is_none() {
                self.listen();
            }
            while is_last && !self.is_caught_up() {
                for source in 1..self.joined {
                    self.deliver(source, 0, usize::MAX >> 1);
                    self.idle(source, 0);
                }
            }
            if self.is_caught_up() {
                self.join();
            }
        }
        if self.setup.leaves && self.members.left.is_none() && is_drawn {
            self.leave();
        }
        while let Some((source, target)) = self
            .members
            .unsettled
            .last()
            .copied()
            .filter(|_| is_last || is_drawn)
        {
            self.members.unsettled.pop();
            self.settle_between(source, target);
            if !is_last {
                break;
            }
        }
    }

    /// From here on the last node will read each log.
    fn listen(&mut self) {
        let begins = self.nodes[..self.joined].iter().map(|node| node.log.len());
        self.members.begins = Some(begins.collect());
        self.tell(|| "a node is to join".to_owned());
    }

    /// Has the first node applied what the others wrote before that?
    fn is_caught_up(&self) -> bool {
        let Some(begins) = &self.members.begins else {
            return false;
        };
        let is_mesh = self.setup.topology == Topology::Mesh;
        let kept = &self.nodes[0].kept;
        let mut others = (1..self.joined).filter(|_| is_mesh && !self.is(Wrong::JoinsUnwaited));
        others.all(|source| kept[source] >= begins[source])
    }

    /// The last node takes the first one's rows, tombstones and floor.
    fn join(&mut self) {
        let begins = self.members.begins.take().unwrap();
        let node = self.joined;
        self.joined += 1;
        let first = self.nodes[0].clone();
        let plan = table::plan(&self.setup.shape, 0, node);
        let without = self.is(Wrong::JoinsWithoutTombstones) || plan.is_held();
        let new: &mut Node = &mut self.nodes[node];
        let rows = first.rows.into_iter();
        new.rows = rows.filter(|(_, row)| plan.takes(row).unwrap()).collect();
        if !without {
            new.tombstones = first.tombstones;
            new.floor = first.floor;
        }
        new.gone = first.gone;
        for (of, begin) in begins.into_iter().enumerate() {
            let read = if of == 0 { first.log.len() } else { begin };
            (new.read[of], new.kept[of]) = (read, read);
        }
        let rank = self.nodes[node].rank;
        self.tell(|| format!("{rank} joins"));
    }

    /// The last node goes for ever, whatever it had to say; at times it is heard to its end before.
    fn leave(&mut self) {
        let node = self.joined - 1;
        let is_heard = self.random.one_in(3);
        for peer in self.peers(node) {
            while is_heard && self.deliver(node, peer, usize::MAX >> 1) {}
        }
        self.members.left = Some(node);
        for here in &mut self.nodes {
            here.parked.retain(|_, parked| parked.source != node);
            here.doubted.retain(|doubt| doubt.peer != node);
        }
        let rank = self.nodes[node].rank;
        self.tell(|| format!("{rank} leaves, heard to its end: {is_heard}"));
        let is_mesh = self.setup.topology == Topology::Mesh;
        if !is_mesh || is_heard || self.is(Wrong::LeavesUnsettled) {
            return;
        }
        let present = self.present();
        for source in &present {
            let others = present.iter().filter(|target| *target != source);
            self.members
                .unsettled
                .extend(others.map(|target| (*source, *target)));
        }
    }

    /// Rows, then tombstones, of one node meet those of another, which reads on behind them.
    fn settle_between(&mut self, source: usize, target: usize) {
        let plan = table::plan(&self.setup.shape, source, target);
        let from = self.nodes[source].clone();
        let author = Author {
            rank: from.rank,
            own: false,
            answers: false,
        };
        let mut changes = Vec::new();
        for row in from.rows.values() {
            table::planned(plan, &Op::Insert { new: row.clone() }, author, &mut changes);
        }
        let stones = from.tombstones.iter();
        changes.extend(stones.map(|(key, stamp)| table::buried(*key, *stamp)));
        self.tell(|| format!("tables of {} are compared with node {}", from.rank, target + 1));
        let mut entry = Entry::default();
        for change in &changes {
            self.apply(source, target, change, &mut entry);
        }
        let (here, end) = (&mut self.nodes[target], from.log.len());
        (here.read[source], here.kept[source]) = (end, end);
        here.log.push(entry);
    }
}
