//! The nodes and their links: loop guard, groups, checkpoints, restarts, touches.

use super::members::Members;
use super::node::{Entry, Logged, Node, Writer};
use super::oracle::Known;
use super::script::Random;
use super::setup::{Setup, Topology, Wrong};
use super::table;
use crate::merge;
use crate::model::change::Op;
use crate::model::stamp::{Rank, Stamp};
use crate::plan::layer::Layers;
use crate::plan::{Author, Plan, Planned};
use std::sync::Arc;

pub struct World {
    pub setup: Setup,
    pub nodes: Vec<Node>,
    /// How many take part by now, or took part.
    pub joined: usize,
    /// Who comes and who goes; see `members`.
    pub members: Members,
    pub random: Random,
    pub known: Known,
    /// A link that is late, if these are two nodes.
    pub slow: (usize, usize),
    /// Groups that wrote something.
    pub written: usize,
    /// Tombstones that were collected.
    pub dropped: usize,
    pub is_traced: bool,
    pub trace: Vec<String>,
}

/// One piece of a group, in the order of the log.
enum Piece {
    Layers(Layers),
    Buried(Planned),
}

impl World {
    pub fn new(setup: Setup, seed: u64, is_traced: bool) -> World {
        let count = setup.nodes;
        let joined = count - usize::from(setup.joins);
        let ranks = setup.ranks().into_iter();
        let mut nodes: Vec<Node> = ranks.map(|rank| Node::new(rank, count)).collect();
        let mut known = Known::default();
        for key in [0, 1] {
            let first = known.fresh();
            let row = table::row(key, [first, first, 0, 1], Stamp::write(1, 1));
            for (place, node) in nodes[..joined].iter_mut().enumerate() {
                if place == 0 || !setup.is_held || table::plan(&setup, 0, place).takes(&row).unwrap() {
                    node.rows.insert(key, row.clone());
                }
            }
        }
        World {
            setup,
            nodes,
            joined,
            members: Members::default(),
            random: Random(seed),
            known,
            slow: (0, 0),
            written: 0,
            dropped: 0,
            is_traced,
            trace: Vec::new(),
        }
    }

    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.is_traced {
            self.trace.push(text());
        }
    }

    /// What each node has in the end.
    pub fn tell_rows(&mut self) {
        for node in &self.nodes {
            let rows = node
                .rows
                .iter()
                .map(|(key, row)| format!("{key}: {}", table::text(row)));
            let rows = rows.collect::<Vec<_>>().join("; ");
            self.trace.push(format!("node {}: {rows}", node.rank));
        }
    }

    pub fn is(&self, wrong: Wrong) -> bool {
        self.setup.wrong == wrong
    }

    pub fn links(&self, source: usize, target: usize) -> bool {
        let has_left = |node: usize| self.members.left == Some(node);
        let takes_part =
            source != target && source.max(target) < self.joined && !has_left(source) && !has_left(target);
        takes_part && (self.setup.topology == Topology::Mesh || source == 0 || target == 0)
    }

    pub fn place(&self, rank: Rank) -> usize {
        self.nodes.iter().position(|node| node.rank == rank).unwrap()
    }

    pub fn peers(&self, node: usize) -> Vec<usize> {
        (0..self.joined).filter(|peer| self.links(*peer, node)).collect()
    }

    /// Does a link from here to there carry what this writer wrote?
    fn forwards(&self, source: usize, target: usize, writer: Writer) -> bool {
        match writer {
            Writer::User | Writer::Own(_) => true,
            Writer::Applied(from) => self.setup.topology == Topology::Hub && source == 0 && from != target,
        }
    }

    /// Applies up to `count` transactions as one group. Was there anything to read?
    pub fn deliver(&mut self, source: usize, target: usize, count: usize) -> bool {
        let from = self.nodes[target].read[source];
        let end = (from + count).min(self.nodes[source].log.len());
        if from == end {
            return false;
        }
        let pieces = self.pieces(source, target, from, end);
        let (of, at) = (self.nodes[source].rank, self.nodes[target].rank);
        self.tell(|| format!("{of} -> {at}: log {from} to {end}"));
        let mut entry = Entry::default();
        let is_empty = pieces.is_empty();
        for piece in &pieces {
            match piece {
                Piece::Layers(layers) => {
                    let changes = layers.iter().flat_map(|layer| &layer.changes);
                    changes.for_each(|change| self.apply(source, target, change, &mut entry));
                }
                Piece::Buried(change) => self.apply(source, target, change, &mut entry),
            }
        }
        let here = &mut self.nodes[target];
        here.read[source] = end;
        // Where there was nothing for this node its position rides on the next group, or on an idle checkpoint.
        if !is_empty {
            here.kept[source] = end;
            here.log.push(entry);
        }
        self.written += usize::from(!is_empty);
        self.look_again(source, target);
        true
    }

    /// An idle checkpoint: a marker without changes.
    pub fn idle(&mut self, source: usize, target: usize) {
        let here = &mut self.nodes[target];
        here.kept[source] = here.read[source];
        here.log.push(Entry::default());
    }

    /// The link begins at its checkpoint.
    pub fn reopen(&mut self, source: usize, target: usize) {
        let here = &mut self.nodes[target];
        here.read[source] = here.kept[source];
    }

    fn pieces(&self, source: usize, target: usize, from: usize, end: usize) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut changes = Vec::new();
        for entry in &self.nodes[source].log[from..end] {
            for (writer, ops) in &entry.segments {
                if !self.forwards(source, target, *writer) {
                    continue;
                }
                let plan = match (self.setup.wrong, writer) {
                    (Wrong::PassedOnUnheld, Writer::Applied(_)) => table::whole(),
                    _ => table::plan(&self.setup, source, target),
                };
                let author = self.author(source, target, *writer);
                let mut last = None;
                for op in ops {
                    match op {
                        Logged::Row(op) => {
                            if let Op::Delete { old } = op {
                                last = Some(old);
                            }
                            let first = changes.len();
                            table::planned(plan, op, author, &mut changes);
                            if self.is(Wrong::ToldUnsent) {
                                changes.retain(|change| change.op.told().is_none());
                            }
                            if self.is(Wrong::LeavesAsDelete) {
                                changes[first..]
                                    .iter_mut()
                                    .for_each(super::apply::leave_as_delete);
                            }
                        }
                        // A tombstone alone tells nobody who holds some rows of anything: no row of its was there.
                        Logged::Buried(key, _)
                            if plan.is_held()
                                && !last.is_some_and(|old| {
                                    table::cell(old, table::ID) == *key && plan.tells_of(old)
                                }) => {}
                        Logged::Buried(key, stamp) => {
                            self.layered(plan, &mut pieces, std::mem::take(&mut changes));
                            pieces.push(Piece::Buried(table::buried(*key, *stamp)));
                        }
                    }
                }
            }
        }
        self.layered(table::plan(&self.setup, source, target), &mut pieces, changes);
        pieces
    }

    fn author(&self, source: usize, target: usize, writer: Writer) -> Author {
        let wrote = match writer {
            Writer::User | Writer::Own(_) => source,
            Writer::Applied(from) => from,
        };
        let own = matches!(writer, Writer::Own(_));
        Author {
            rank: self.nodes[wrote].rank,
            own,
            answers: match self.setup.wrong {
                Wrong::AnswerUntold => false,
                Wrong::AnsweredToAll => own,
                _ => writer == Writer::Own(target),
            },
        }
    }

    fn layered(&self, plan: &Arc<Plan>, pieces: &mut Vec<Piece>, changes: Vec<Planned>) {
        if changes.is_empty() {
            return;
        }
        let changes = match self.is(Wrong::CompactionOverBrokenChain) {
            true => super::apply::compacted_blindly(changes),
            false => changes,
        };
        let mut layers = Layers::default();
        changes.into_iter().for_each(|change| layers.push(plan, change));
        pieces.push(Piece::Layers(layers));
    }

    /// Rows of this node that were kept out at the peer whose log it has just read: one that still stands below what
    /// kept it out was a missed bump, and is touched (`flow::aside`).
    fn look_again(&mut self, peer: usize, node: usize) {
        let read = self.nodes[node].read[peer];
        let mut found = Vec::new();
        self.nodes[peer].doubted.retain(|doubt| {
            let is_due = doubt.peer == node && doubt.at <= read;
            found.extend(is_due.then_some(*doubt));
            !is_due
        });
        for doubt in found {
            let here = &self.nodes[node];
            let tombstone = here.tombstones.get(&doubt.key).copied();
            let stands = here.row_stamp(doubt.key);
            let version = match self.setup.wrong {
                Wrong::MissedBump | Wrong::ReinsertBelowFloor => None,
                Wrong::TouchedTooSoon => stands
                    .filter(|row| *row < doubt.standing)
                    .map(|_| doubt.standing.version + 1),
                _ => stands.and_then(|row| merge::touched(row, tombstone, doubt.standing)),
            };
            if let Some(version) = version {
                self.touch(node, peer, doubt.key, version);
            }
        }
    }

    /// A row of this node that stands too low is raised.
    pub fn touch(&mut self, node: usize, peer: usize, key: i64, version: i64) {
        let here = &mut self.nodes[node];
        let rank = here.rank;
        let mut row = here.rows[&key].clone();
        here.given.insert((key, version));
        table::set_stamp(&mut row, Stamp::write(version, rank));
        let mut entry = Entry::default();
        entry.push(Writer::Own(peer), Logged::Row(here.put(row)));
        here.log.push(entry);
        self.tell(|| format!("  {rank} touches {key}, which missed a bump: {version}@{rank}"));
    }

    pub fn log_by_user(&mut self, node: usize, ops: Vec<Op>) {
        let mut entry = Entry::default();
        ops.into_iter()
            .for_each(|op| entry.push(Writer::User, Logged::Row(op)));
        self.nodes[node].log.push(entry);
    }
}
