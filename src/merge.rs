//! Who wins when two nodes changed one row: the decision, as a pure function.
//!
//! Owns: [`decide`], the rules, the reasons. Every row conflict of Tidelock is decided here and nowhere else.
//! Refuses: reading or writing anything; rows are compared by their stamps, contents only for equality.
//!
//! A row's state on a node is the greatest stamp seen for its key, of a row or of a tombstone. Changes carry the
//! stamp they were based on, so a change whose base is exactly what stands here is uncontested.

use crate::model::conflict::ConflictKind;
use crate::model::stamp::{Kind, Rank, Stamp};
use crate::model::sync::Rule;

/// An arriving change, reduced to its stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    Insert {
        stamp: Stamp,
    },
    Update {
        base: Stamp,
        stamp: Stamp,
    },
    /// `stamp`: the before-image's version, with the node that deleted.
    Delete {
        base: Stamp,
        stamp: Stamp,
    },
}

/// What stands here under the change's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    pub row: Option<Stamp>,
    pub tombstone: Option<Stamp>,
}

/// `conflict` is what to record; `None` = nothing was contested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Write the incoming row whole (or delete and keep its tombstone).
    Write {
        conflict: Option<ConflictKind>,
    },
    Keep {
        conflict: Option<ConflictKind>,
    },
    /// Keep what stands although its stamp is lower, and raise it above the incoming stamp by a write on our own
    /// account, which replicates like a user's: so the order of stamps stays the only order there is.
    Reassert {
        conflict: ConflictKind,
    },
    /// Write the incoming row above the tombstone that would beat it, by a write on our own account. Only where a row
    /// filter keeps a node from seeing all that a row went through.
    Lift {
        conflict: ConflictKind,
    },
    /// Not to be decided by rule: nothing is written and a person has to look.
    Park {
        conflict: ConflictKind,
    },
}

/// `me` is the rank of the node that decides. `same_content`: the incoming row equals the standing row in every cell.
///
/// `Newest` is the order of stamps. `SourceOfTruth(node)` is the same order everywhere, but on `node` itself a
/// contested change that would win is answered by [`Decision::Reassert`]. (To let the node's own writes win by their
/// origin alone does not converge: the other side's counter runs ahead unseen, and a re-insert that has seen a
/// delete cannot be told from one that has not. The simulation beside this file shows it.)
pub fn decide(rule: &Rule, me: Rank, incoming: Incoming, standing: Standing, same_content: bool) -> Decision {
    let decision = match incoming {
        Incoming::Insert { .. } | Incoming::Update { .. }
            if is_missed_bump(me, incoming, standing) && !same_content =>
        {
            Decision::Write { conflict: None }
        }
        Incoming::Insert { stamp } => insert(stamp, standing, same_content),
        Incoming::Update { base, stamp } => update(base, stamp, standing, same_content),
        Incoming::Delete { base, stamp } => delete(base, stamp, standing),
    };
    match (rule, decision) {
        (
            Rule::SourceOfTruth(node),
            Decision::Write {
                conflict: Some(conflict),
            },
        ) if *node == me && incoming.stamp().origin != me && contradicts(conflict) => {
            Decision::Reassert { conflict }
        }
        _ => decision,
    }
}

/// The same for a table with a row filter, where a node sees of its peer's rows only those that match, and learns
/// that one stopped matching by a delete with the stamp of a write (it *leaves*). `outside`: the standing row does not
/// match, so it is none of the sync's, and what leaves at the peer does not touch it.
///
/// What a row goes through outside of the filter is not sent. So a stamp that beats an arriving row may be one that the
/// peer never sees: then the peer has to be told, by a write on our own account. A standing row outside is touched,
/// which tells the peer that its row has left; a tombstone gives way, and the row gets a stamp above it.
pub fn decide_filtered(
    me: Rank,
    incoming: Incoming,
    standing: Standing,
    outside: bool,
    same_content: bool,
) -> Decision {
    if incoming.leaves() {
        return match (incoming, standing.row) {
            (Incoming::Delete { .. }, Some(_)) if outside => Decision::Keep { conflict: None },
            (Incoming::Delete { .. }, None) => match standing.tombstone {
                Some(tombstone) if tombstone >= incoming.stamp() => Decision::Keep { conflict: None },
                Some(_) | None => Decision::Write { conflict: None },
            },
            (_, _) => decide(&Rule::Newest, me, incoming, standing, same_content),
        };
    }
    match decide(&Rule::Newest, me, incoming, standing, same_content) {
        Decision::Keep {
            conflict: Some(conflict),
        } if !incoming.is_delete() => match standing.row {
            Some(_) if outside => Decision::Reassert { conflict },
            Some(_) => Decision::Keep {
                conflict: Some(conflict),
            },
            None => Decision::Lift { conflict },
        },
        decision => decision,
    }
}

/// A node alone gives its stamps, and its changes arrive in the order of its log. So what comes from the very node
/// that stamped what stands here is the later one, even where its stamp is not above: triggers read without locks,
/// and an insert that waited for another of its key may start too low. There is no contest between nodes in that.
fn is_missed_bump(me: Rank, incoming: Incoming, standing: Standing) -> bool {
    let stamp = incoming.stamp();
    let not_above = match (standing.row, standing.tombstone) {
        (Some(row), _) => stamp == row,
        (None, Some(tombstone)) => tombstone.origin == stamp.origin && tombstone > stamp,
        (None, None) => false,
    };
    // Rank 0 is no node: such rows were written where no trigger stood.
    not_above && stamp.origin != me && stamp.origin != 0
}

/// Does writing the incoming change undo something that stands here? (Nothing stands against a missing row.)
fn contradicts(conflict: ConflictKind) -> bool {
    !matches!(
        conflict,
        ConflictKind::UpdateMissing | ConflictKind::DeleteMissing
    )
}

fn insert(stamp: Stamp, standing: Standing, same_content: bool) -> Decision {
    match (standing.row, standing.tombstone) {
        (Some(row), _) => contest(stamp, row, same_content, ConflictKind::InsertExists),
        // Whoever inserts has read the tombstones of its own node and starts above them.
        (None, Some(tombstone)) if tombstone > stamp => Decision::Keep {
            conflict: Some(ConflictKind::UpdateDeleted),
        },
        (None, _) => Decision::Write { conflict: None },
    }
}

fn update(base: Stamp, stamp: Stamp, standing: Standing, same_content: bool) -> Decision {
    match (standing.row, standing.tombstone) {
        (Some(row), _) if row == base => Decision::Write { conflict: None },
        (Some(row), _) => contest(stamp, row, same_content, ConflictKind::UpdateOriginDiffers),
        (None, Some(tombstone)) if tombstone > stamp => Decision::Keep {
            conflict: Some(ConflictKind::UpdateDeleted),
        },
        (None, Some(_)) => Decision::Write {
            conflict: Some(ConflictKind::UpdateDeleted),
        },
        (None, None) => Decision::Write {
            conflict: Some(ConflictKind::UpdateMissing),
        },
    }
}

fn delete(base: Stamp, stamp: Stamp, standing: Standing) -> Decision {
    match (standing.row, standing.tombstone) {
        (Some(row), _) if row == base => Decision::Write { conflict: None },
        (Some(row), _) if stamp > row => Decision::Write {
            conflict: Some(ConflictKind::DeleteOriginDiffers),
        },
        (Some(_), _) => Decision::Keep {
            conflict: Some(ConflictKind::DeleteOriginDiffers),
        },
        (None, Some(tombstone)) if tombstone == stamp => Decision::Keep { conflict: None },
        (None, Some(tombstone)) if tombstone > stamp => Decision::Keep {
            conflict: Some(ConflictKind::DeleteMissing),
        },
        (None, _) => Decision::Write {
            conflict: Some(ConflictKind::DeleteMissing),
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Insert,
    Update,
    Delete,
}

/// Transactional mode: the source is the truth, what the target lacks or has too much is drift, recorded and mended.
pub fn decide_one_way(operation: Operation, exists: bool) -> Decision {
    let conflict = match (operation, exists) {
        (Operation::Insert, true) => Some(ConflictKind::InsertExists),
        (Operation::Update, false) => Some(ConflictKind::UpdateMissing),
        (Operation::Delete, false) => Some(ConflictKind::DeleteMissing),
        (Operation::Insert, false) | (Operation::Update | Operation::Delete, true) => None,
    };
    Decision::Write { conflict }
}

/// Two writes of one row. Equal stamps name one content; where they do not, somebody broke the stamps.
fn contest(incoming: Stamp, row: Stamp, same_content: bool, kind: ConflictKind) -> Decision {
    if incoming == row {
        return if same_content {
            Decision::Keep { conflict: None }
        } else {
            Decision::Park { conflict: kind }
        };
    }
    if incoming > row {
        Decision::Write { conflict: Some(kind) }
    } else {
        Decision::Keep { conflict: Some(kind) }
    }
}

impl Incoming {
    pub fn stamp(&self) -> Stamp {
        match self {
            Incoming::Insert { stamp } | Incoming::Update { stamp, .. } | Incoming::Delete { stamp, .. } => {
                *stamp
            }
        }
    }

    pub fn is_delete(&self) -> bool {
        matches!(self, Incoming::Delete { .. })
    }

    /// The row stopped matching the table's filter.
    pub fn leaves(&self) -> bool {
        self.is_delete() && self.stamp().kind == Kind::Write
    }
}

#[cfg(test)]
mod filtered;
#[cfg(test)]
mod tests;
