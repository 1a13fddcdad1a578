//! The collection of tombstones at one node, as `flow::collect` goes: what comes next is asked of the product's own
//! `merge::collection::next`; here it gets what it asks for.

use super::node::{At, Marked};
use super::setup::Wrong;
use super::world::World;
use crate::merge::collection::{Generation, Next, next};
use crate::model::stamp::{Rank, Stamp};
use std::collections::BTreeMap;

impl World {
    /// One round: marks what is there, or takes what was marked as far as it goes now.
    pub fn collect(&mut self, node: usize) {
        if self.members.are_changing() {
            return;
        }
        match self.nodes[node].marked.take() {
            None => self.mark(node),
            Some(marked) => self.go_on(node, marked),
        }
    }

    /// Nothing is marked, noted or dropped while a change of the table is parked anywhere.
    fn is_blocked(&self) -> bool {
        let present = self.present().into_iter();
        present
            .map(|node| &self.nodes[node])
            .any(|node| !node.parked.is_empty())
    }

    fn mark(&mut self, node: usize) {
        let is_blocked = self.is_blocked();
        let peers = self.peers(node);
        let ranks: Vec<Rank> = self.nodes.iter().map(|node| node.rank).collect();
        let here = &mut self.nodes[node];
        if is_blocked || here.tombstones.is_empty() {
            return;
        }
        let applied = peers.iter().map(|peer| (ranks[*peer], At(here.kept[*peer])));
        let mut bounds: BTreeMap<Rank, At> = applied.collect();
        bounds.insert(here.rank, At(here.log.len()));
        let stones = here.tombstones.iter();
        here.marked = Some(Marked {
            stones: stones.map(|(key, stamp)| (*key, *stamp)).collect(),
            generation: Generation {
                bounds,
                passed: BTreeMap::new(),
            },
            is_left_out: false,
            is_raced: !here.inserting.is_empty(),
        });
        let rank = here.rank;
        self.tell(|| format!("{rank} marks its tombstones"));
    }

    fn go_on(&mut self, node: usize, mut marked: Marked) {
        loop {
            match self.next(node, &marked) {
                Next::Anew => {
                    let rank = self.nodes[node].rank;
                    self.tell(|| format!("{rank} marks anew: a node has joined"));
                    return;
                }
                Next::Wait { .. } => break,
                Next::Note { peer } => {
                    marked.is_left_out |= self.is_blocked();
                    let end = self.nodes[self.place(peer)].log.len();
                    let passed = if self.is(Wrong::PeerNotRead) { 0 } else { end };
                    marked.generation.passed.insert(peer, At(passed));
                    let rank = self.nodes[node].rank;
                    self.tell(|| format!("{rank} notes that {peer} knows, at {end} of its log"));
                }
                Next::Drop if marked.is_raced => break,
                Next::Drop => return self.drop_stones(node, &marked),
            }
        }
        self.nodes[node].marked = Some(marked);
    }

    fn next(&self, node: usize, marked: &Marked) -> Next<At> {
        let count = self.nodes.len();
        let pairs = (0..count).flat_map(|source| (0..count).map(move |target| (source, target)));
        let links = pairs.filter(|(source, target)| self.links(*source, *target));
        let links: Vec<(Rank, Rank)> = links
            .map(|(source, target)| (self.nodes[source].rank, self.nodes[target].rank))
            .collect();
        let mut generation = marked.generation.clone();
        let me = self.nodes[node].rank;
        if self.is(Wrong::ThirdNodeUnasked) {
            let others = generation.bounds.iter_mut().filter(|(rank, _)| **rank != me);
            others.for_each(|(_, at)| *at = At(0));
        }
        let next = next(me, &links, &generation, |source, target| {
            Some(At(self.nodes[self.place(target)].kept[self.place(source)]))
        });
        match next {
            Next::Wait { .. } if self.is(Wrong::TombstoneDroppedEarly) => Next::Drop,
            next => next,
        }
    }

    fn drop_stones(&mut self, node: usize, marked: &Marked) {
        if marked.is_left_out || self.is_blocked() {
            return;
        }
        let (mut low, mut dropped) = (Vec::new(), 0);
        let here = &mut self.nodes[node];
        for (key, stamp) in &marked.stones {
            // One that was raised since has lost its mark.
            if here.tombstones.get(key) != Some(stamp) {
                continue;
            }
            here.tombstones.remove(key);
            here.floor = here.floor.max(stamp.version);
            dropped += 1;
            let is_low = |row: Stamp| row < *stamp && row.origin == here.rank;
            low.extend(here.row_stamp(*key).filter(|row| is_low(*row)).map(|_| *key));
        }
        let (floor, rank) = (here.floor, here.rank);
        self.dropped += dropped;
        let untouched = [Wrong::MissedBump, Wrong::ReinsertBelowFloor].contains(&self.setup.wrong);
        self.tell(|| format!("{rank} drops {dropped} tombstones, floor {floor}"));
        for key in low.into_iter().filter(|_| !untouched) {
            self.touch(node, node, key, floor + 1);
        }
    }
}
