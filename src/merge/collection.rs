//! May a generation of tombstones go? The rule, as a pure function.
//!
//! Owns: [`next`], what a generation waits for, step by step. Refuses: asking anybody, and dropping anything. Generic over
//! what a position in a log is, so that simulations drive the same function.
//!
//! A tombstone matters for as long as a change may arrive, or be written here, whose writer had not seen the delete. Its
//! generation was marked first, and then the end of this node's log was read, and how far each other node's log was
//! applied here: the *bounds*, behind every delete in it. A peer that has applied all of them knows every delete; where
//! its log ends after that, it has *passed*: what it logs from there on is written above the tombstones. When this
//! node has applied its log up to there too, nothing below them can come from it any more. What is written here
//! itself starts above the floor, which is raised when they go.

use crate::model::position::Position;
use crate::model::stamp::Rank;
use std::collections::BTreeMap;

/// A place in one node's log.
pub trait Place: Clone {
    /// Is everything up to `other` contained in `self`? Places that cannot be compared are not.
    fn reaches(&self, other: &Self) -> bool;
}

impl Place for Position {
    fn reaches(&self, other: &Self) -> bool {
        self.covers(other).unwrap_or(false)
    }
}

/// Tombstones that were marked together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation<P> {
    /// Per node whose deletes may be in it, this one included: a place in that node's log behind all of them.
    pub bounds: BTreeMap<Rank, P>,
    /// Per peer: where its log ended after it had applied all bounds.
    pub passed: BTreeMap<Rank, P>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<P> {
    /// This link has to come so far.
    Wait {
        source: Rank,
        target: Rank,
        until: P,
    },
    /// This peer knows every delete: where its log ends now is to be noted as passed.
    Note {
        peer: Rank,
    },
    /// Links have come since, and nobody knows a bound for them: the generation begins anew.
    Anew,
    Drop,
}

/// What to do next for a generation of node `me`. `links`: source and target of all that run. `applied`: how far a link
/// has come, durably; `None` = it has not begun.
///
/// A node that has a link to a peer but none to this node does not count: what it writes comes by way of that peer,
/// which keeps its own tombstones until it knows (a hub's spokes).
pub fn next<P: Place>(
    me: Rank,
    links: &[(Rank, Rank)],
    generation: &Generation<P>,
    applied: impl Fn(Rank, Rank) -> Option<P>,
) -> Next<P> {
    let sources_of = |node: Rank| {
        links
            .iter()
            .filter(move |(_, to)| *to == node)
            .map(|(from, _)| *from)
    };
    let mut waits = None;
    for peer in sources_of(me) {
        let awaited = match generation.passed.get(&peer) {
            Some(passed) => vec![(peer, me, passed)],
            None => {
                let counts = |node: &Rank| *node == me || sources_of(me).any(|known| known == *node);
                let mut bounds = Vec::new();
                for source in sources_of(peer).filter(|source| *source != peer).filter(counts) {
                    let Some(bound) = generation.bounds.get(&source) else {
                        return Next::Anew;
                    };
                    bounds.push((source, peer, bound));
                }
                bounds
            }
        };
        let late = awaited
            .into_iter()
            .find(|(source, target, until)| !applied(*source, *target).is_some_and(|at| at.reaches(until)));
        match (late, generation.passed.contains_key(&peer)) {
            (None, true) => {}
            (None, false) => return Next::Note { peer },
            (Some((source, target, until)), _) => {
                let until = until.clone();
                waits = waits.or(Some(Next::Wait {
                    source,
                    target,
                    until,
                }));
            }
        }
    }
    waits.unwrap_or(Next::Drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::type_complexity)]
    use super::*;

    impl Place for u64 {
        fn reaches(&self, other: &Self) -> bool {
            self >= other
        }
    }

    const PAIR: &[(Rank, Rank)] = &[(1, 2), (2, 1)];
    const MESH: &[(Rank, Rank)] = &[(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)];
    /// 1 is the hub.
    const HUB: &[(Rank, Rank)] = &[(1, 2), (2, 1), (1, 3), (3, 1)];

    fn wait(source: Rank, target: Rank, until: u64) -> Next<u64> {
        Next::Wait {
            source,
            target,
            until,
        }
    }

    /// `1:10 2:5` by node.
    fn places(text: &str) -> BTreeMap<Rank, u64> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once(':'));
        pairs
            .map(|(node, at)| (node.parse().unwrap(), at.parse().unwrap()))
            .collect()
    }

    fn check(links: &[(Rank, Rank)], cases: &[(Rank, &str, &str, &[(Rank, Rank, u64)], Next<u64>)]) {
        for (me, bounds, passed, applied, expected) in cases {
            let generation = Generation {
                bounds: places(bounds),
                passed: places(passed),
            };
            let found = next(*me, links, &generation, |source, target| {
                let is_it = |(from, to, _): &&(Rank, Rank, u64)| (*from, *to) == (source, target);
                applied.iter().find(is_it).map(|(_, _, at)| *at)
            });
            assert_eq!(found, *expected, "node {me}: {generation:?}, applied {applied:?}");
        }
    }

    #[test]
    fn a_pair_goes_there_and_back() {
        let note = || Next::Note { peer: 2 };
        check(
            PAIR,
            &[
                (1, "1:10 2:5", "", &[], wait(1, 2, 10)),
                (1, "1:10 2:5", "", &[(1, 2, 9)], wait(1, 2, 10)),
                (1, "1:10 2:5", "", &[(1, 2, 10)], note()),
                // What came back before that says nothing.
                (1, "1:10 2:5", "", &[(1, 2, 9), (2, 1, 99)], wait(1, 2, 10)),
                (1, "1:10 2:5", "2:7", &[(2, 1, 6)], wait(2, 1, 7)),
                (1, "1:10 2:5", "2:7", &[(2, 1, 7)], Next::Drop),
            ],
        );
    }

    #[test]
    fn a_third_node_must_know_of_the_second_ones_deletes() {
        let all = "1:10 2:5 3:8";
        let note = || Next::Note { peer: 3 };
        check(
            MESH,
            &[
                (
                    1,
                    all,
                    "2:20",
                    &[(2, 1, 20), (1, 3, 10), (2, 3, 4)],
                    wait(2, 3, 5),
                ),
                (1, all, "2:20", &[(2, 1, 20), (1, 3, 10), (2, 3, 5)], note()),
                // What can be noted is noted, whoever else is late.
                (1, all, "", &[(1, 3, 10), (2, 3, 5)], note()),
                // A node that came meanwhile.
                (1, "1:10 2:5", "", &[(1, 2, 99)], Next::Anew),
            ],
        );
    }

    #[test]
    fn a_hub_waits_for_each_spoke_and_a_spoke_for_the_hub() {
        let all = "1:10 2:5 3:8";
        check(
            HUB,
            &[
                (1, all, "2:20", &[(2, 1, 20), (1, 3, 9)], wait(1, 3, 10)),
                (2, "1:9 2:10", "", &[(2, 1, 10)], Next::Note { peer: 1 }),
                (2, "1:9 2:10", "1:30", &[(1, 2, 30)], Next::Drop),
            ],
        );
    }
}
