//! Who wins when two nodes changed one row: the decision, as a pure function.
//!
//! Owns: [`decide`]. Every row conflict of Tidelock is decided here and nowhere else, with its reason.
//! Refuses: reading or writing anything; rows are compared by their stamps, contents only for equality.
//!
//! A row's state on a node is the greatest stamp seen for its key, of a row or of a tombstone. Changes carry the
//! stamp they were based on, so a change whose base is exactly what stands here is uncontested. Stamps are the only
//! order: what a rule wants beyond it, the table's arbiter writes on its own account, above what it must beat
//! ([`Decision::Own`]), and that replicates like a user's write.

pub mod collection;
pub mod columns;
pub mod offered;

use crate::model::conflict::{ConflictKind, Reason};
use crate::model::rules::{OnDelete, Rule, TableRules};
use crate::model::stamp::{Kind, Rank, Stamp};

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
    /// The incoming row equals the standing row in every cell.
    pub is_same: bool,
    /// The row that the change was made on equals the standing row in every cell but its stamp. Only an arbiter asks, and
    /// whoever meets an update that raised no version.
    pub is_base: bool,
    /// Of the standing row, or where none stands of the incoming one.
    pub sight: Sight,
    pub foreign: Option<Foreign>,
}

/// What the incoming change writes though its node does not own it, and this one answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// The row comes into being by it, or goes.
    Row,
    /// Cells of the row that are not as they stand here.
    Cells,
    /// Cells that are computed of the row as it stands here.
    Computed,
}

/// Whose a row is, as the row filters of both directions and the node that decides see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sight {
    /// There is no filter.
    #[default]
    Unfiltered,
    /// Both nodes send it.
    Within,
    /// This node alone sends it: it is its own, and the other one is to have it as it is here.
    Lent,
    /// The other node alone sends it.
    Borrowed,
    /// Neither sends it, so it is none of the sync's.
    Outside,
    /// This node is a hub, and what stands here, if anything does, is not one of the rows that the other node holds.
    Unheld,
}

/// `conflict` is what to record; `None` = nothing was contested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Write the incoming row whole (or delete and keep its tombstone).
    Write {
        conflict: Option<ConflictKind>,
        reason: Reason,
    },
    Keep {
        conflict: Option<ConflictKind>,
        reason: Reason,
    },
    /// Write on our own account, above both stamps.
    Own {
        own: Own,
        conflict: ConflictKind,
        reason: Reason,
    },
    /// Not to be decided by rule: nothing is written and a person has to look.
    Park { conflict: ConflictKind, reason: Reason },
}

/// A write of our own, which replicates like a user's: so the order of stamps stays the only order there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The standing row stays and is raised.
    Touch,
    /// The standing row is deleted.
    Delete,
    /// The deleted row stays deleted: the incoming row is written as it came and deleted again, because a tombstone
    /// alone does not reach the log of every engine.
    DeleteAgain,
    /// The incoming row is written, raised above what stands here.
    Lift,
    /// The standing row stays and is raised so far that the other node's answers to what was sent before do not pass it.
    Recall,
    /// The row's node has not seen that it was deleted here: the incoming row is written above the tombstone and deleted
    /// again, which tells it to send the row above that.
    Fetch,
    /// The columns are merged, base against both sides ([`columns`]). What neither side changed alone is of the
    /// incoming row where `incoming_wins`. Where nothing else comes out than the order of stamps leaves, that is done.
    Merge { incoming_wins: bool },
}

/// `me` is the rank of the node that decides.
///
/// `Newest` is the order of stamps. The other rules follow the same order everywhere but on their arbiter, which answers
/// a contested change that would leave something else by [`Decision::Own`]. (To let a truth's own writes win by their
/// origin alone does not converge: the other side's counter runs ahead unseen, and a re-insert that has seen a delete
/// cannot be told from one that has not. The simulation beside this file shows it.)
pub fn decide(rules: &TableRules, me: Rank, incoming: Incoming, standing: Standing) -> Decision {
    let decision = by_all_rules(rules, me, incoming, standing);
    match (standing.foreign, decision) {
        (
            Some(foreign),
            Decision::Write { .. }
            | Decision::Own {
                own: Own::Lift | Own::Delete,
                ..
            },
        ) => undo(foreign, incoming, standing),
        (_, decision) => decision,
    }
}

/// A write of what another node owns would stand: the answer is above it, so that it goes back to whoever wrote it.
fn undo(foreign: Foreign, incoming: Incoming, standing: Standing) -> Decision {
    let own = match (foreign, standing.row, incoming.is_delete()) {
        (Foreign::Row, Some(_), true) => Own::Touch,
        (Foreign::Row, None, false) => Own::DeleteAgain,
        (Foreign::Cells | Foreign::Row, Some(_), _) => Own::Merge { incoming_wins: true },
        (Foreign::Computed, ..) | (_, None, _) => Own::Lift,
    };
    Decision::Own {
        own,
        conflict: ConflictKind::ForeignWrite,
        reason: Reason::NotItsOwn,
    }
}

fn by_all_rules(rules: &TableRules, me: Rank, incoming: Incoming, standing: Standing) -> Decision {
    match standing.sight {
        Sight::Unfiltered => {}
        Sight::Unheld => return decide_unheld(me, incoming, standing),
        Sight::Within | Sight::Lent | Sight::Borrowed | Sight::Outside => {
            return decide_filtered(me, incoming, standing);
        }
    }
    let ordered = by_stamps(me, incoming, standing);
    let (incoming_wins, conflict) = match ordered {
        Decision::Write {
            conflict: Some(conflict),
            ..
        } => (true, conflict),
        Decision::Keep {
            conflict: Some(conflict),
            ..
        } => (false, conflict),
        Decision::Write { .. } | Decision::Keep { .. } | Decision::Own { .. } | Decision::Park { .. } => {
            return ordered;
        }
    };
    let contest = Contest {
        incoming,
        standing,
        incoming_wins,
        conflict,
    };
    by_rules(rules, me, &contest).unwrap_or(ordered)
}

/// Two sides that contradict each other, and what the order of stamps makes of them.
struct Contest {
    incoming: Incoming,
    standing: Standing,
    incoming_wins: bool,
    conflict: ConflictKind,
}

impl Contest {
    fn own(&self, own: Own, reason: Reason) -> Decision {
        Decision::Own {
            own,
            conflict: self.conflict,
            reason,
        }
    }

    fn park(&self, reason: Reason) -> Decision {
        Decision::Park {
            conflict: self.conflict,
            reason,
        }
    }

    /// One side deleted the row while the other changed it.
    fn is_about_delete(&self) -> bool {
        matches!(
            self.conflict,
            ConflictKind::UpdateDeleted | ConflictKind::DeleteOriginDiffers
        )
    }

    /// What stands here stays, by a write above the incoming change.
    fn defend(&self, reason: Reason) -> Decision {
        match self.standing.row {
            Some(_) => self.own(Own::Touch, reason),
            None => self.own(Own::DeleteAgain, reason),
        }
    }
}

/// What a rule beyond the order of stamps says; `None`: nothing.
fn by_rules(rules: &TableRules, me: Rank, contest: &Contest) -> Option<Decision> {
    if !contradicts(contest.conflict) {
        return None;
    }
    let arbitrates = rules.arbiter == me && contest.incoming.stamp().origin != me && rules.is_arbitrated();
    if arbitrates && contest.standing.is_base {
        return Some(succeed(contest));
    }
    if contest.is_about_delete() {
        match rules.on_delete {
            OnDelete::Rule => {}
            OnDelete::Ask => return Some(contest.park(Reason::AskedDelete)),
            OnDelete::Delete if arbitrates => return keep_deleted(contest),
            OnDelete::Update if arbitrates => return keep_alive(contest),
            OnDelete::Delete | OnDelete::Update => return None,
        }
    }
    if rules.row == Rule::Ask {
        return Some(contest.park(Reason::Asked));
    }
    if !arbitrates {
        return None;
    }
    let is_truth = matches!(rules.row, Rule::SourceOfTruth(node) if node == me);
    if rules.merges() && contest.conflict == ConflictKind::UpdateOriginDiffers {
        let incoming_wins = contest.incoming_wins && !is_truth;
        return Some(contest.own(Own::Merge { incoming_wins }, Reason::Merged));
    }
    (is_truth && contest.incoming_wins).then(|| contest.defend(Reason::SourceOfTruth))
}

/// The change was made on what stands here, which an answer of ours has only raised since: it contradicts nothing.
fn succeed(contest: &Contest) -> Decision {
    match (contest.incoming_wins, contest.incoming.is_delete()) {
        (true, _) => Decision::write(None, Reason::Successor),
        (false, true) => contest.own(Own::Delete, Reason::Successor),
        (false, false) => contest.own(Own::Lift, Reason::Successor),
    }
}

fn keep_deleted(contest: &Contest) -> Option<Decision> {
    let own = match (contest.incoming.is_delete(), contest.incoming_wins) {
        (true, false) => Own::Delete,
        (false, true) => Own::DeleteAgain,
        (true, true) | (false, false) => return None,
    };
    Some(contest.own(own, Reason::DeleteWins))
}

fn keep_alive(contest: &Contest) -> Option<Decision> {
    let own = match (contest.incoming.is_delete(), contest.incoming_wins) {
        (true, true) => Own::Touch,
        (false, false) => Own::Lift,
        (true, false) | (false, true) => return None,
    };
    Some(contest.own(own, Reason::UpdateWins))
}

/// The order of stamps, and nothing else.
fn by_stamps(me: Rank, incoming: Incoming, standing: Standing) -> Decision {
    match incoming {
        Incoming::Insert { .. } | Incoming::Update { .. }
            if is_missed_bump(me, incoming, standing) && !standing.is_same =>
        {
            Decision::write(unseen(incoming, standing), Reason::MissedBump)
        }
        Incoming::Insert { stamp } => insert(stamp, standing),
        Incoming::Update { base, .. }
            if standing.row == Some(base) && unseen(incoming, standing).is_some() =>
        {
            Decision::write(unseen(incoming, standing), Reason::MissedBump)
        }
        Incoming::Update { base, stamp } => update(base, stamp, standing),
        Incoming::Delete { base, stamp } => delete(base, stamp, standing),
    }
}

/// A table with row filters, where a node sees of its peer's rows only those that the peer sends, and learns that one is
/// sent no more by a delete with the stamp of a write (it *leaves*), and that the peer wrote over a row that is this
/// node's by a change that is its own base (it is *told*). No other rule than the order of stamps is offered here.
///
/// What becomes of a row that is not sent the other node does not see. So where a stamp that it never sees beats what it
/// sent, it has to be told, by a write on our own account: a standing row that this node does not send is touched, which
/// tells the peer that its row has left or that it was written over; a tombstone gives way, and the row gets a stamp
/// above it. A row that is this node's alone stays what it is here: it is recalled.
///
/// It ends: an answer meets either a row that is sent, which is recalled, or one that is not, of which nothing more comes.
/// Of changes under way both may answer each other again; a recall goes above two answers, so with each round at most
/// half as many are left.
fn decide_filtered(me: Rank, incoming: Incoming, standing: Standing) -> Decision {
    let Some(row) = standing.row else {
        return missing(me, incoming, standing);
    };
    if incoming.is_told() {
        return match standing.sight {
            Sight::Within | Sight::Lent if incoming.stamp() > row => recall(incoming),
            _ => Decision::keep(None, Reason::Outside),
        };
    }
    match standing.sight {
        Sight::Outside if incoming.is_delete() => {
            let conflict = (!incoming.leaves()).then_some(ConflictKind::DeleteOriginDiffers);
            return Decision::keep(conflict, Reason::Private);
        }
        Sight::Lent if incoming.is_delete() && incoming.stamp() > row => return recall(incoming),
        Sight::Lent if incoming.leaves() => return Decision::keep(None, Reason::Lower),
        _ => {}
    }
    let decision = by_stamps(me, incoming, standing);
    match (decision, standing.sight) {
        (
            Decision::Keep {
                conflict: Some(conflict),
                ..
            },
            Sight::Outside | Sight::Borrowed,
        ) if !incoming.is_delete() => Decision::Own {
            own: Own::Touch,
            conflict,
            reason: Reason::Outside,
        },
        _ => decision,
    }
}

/// The same where no row stands.
fn missing(me: Rank, incoming: Incoming, standing: Standing) -> Decision {
    if incoming.is_told() {
        return Decision::keep(None, Reason::Outside);
    }
    if incoming.leaves() {
        return match standing.tombstone {
            Some(tombstone) if tombstone >= incoming.stamp() => Decision::keep(None, Reason::Lower),
            Some(_) => Decision::write(None, Reason::Greater),
            None => Decision::write(None, Reason::Missing),
        };
    }
    match by_stamps(me, incoming, standing) {
        Decision::Keep {
            conflict: Some(conflict),
            ..
        } if !incoming.is_delete() => Decision::Own {
            own: match standing.sight {
                Sight::Borrowed => Own::Fetch,
                _ => Own::Lift,
            },
            conflict,
            reason: Reason::DeletedOutside,
        },
        decision => decision,
    }
}

/// A hub alone says which rows there are and which spoke holds them; to each spoke it tells all that becomes of those, so
/// that they are decided by stamps like any others. Of the rest a spoke knows nothing, and whatever it writes there stands
/// on it alone: so the hub answers each such write above it, whoever would win, and the spoke lets go of the row.
///
/// A delete is answered too where it is above what stands here: with its tombstone the spoke would refuse the row when it
/// is to hold it again. It ends, because a spoke answers nothing.
fn decide_unheld(me: Rank, incoming: Incoming, standing: Standing) -> Decision {
    // What the hub itself told the spoke, and a new copy brings back.
    if incoming.is_delete() && incoming.stamp().origin == me {
        return Decision::keep(None, Reason::Unheld);
    }
    let own = match (standing.row, incoming.is_delete()) {
        (None, true) => return by_stamps(me, incoming, standing),
        (Some(row), true) if row > incoming.stamp() => return Decision::keep(None, Reason::Unheld),
        (Some(_), _) => Own::Touch,
        (None, false) => Own::DeleteAgain,
    };
    Decision::Own {
        own,
        conflict: ConflictKind::ForeignWrite,
        reason: Reason::Unheld,
    }
}

/// What the other node did to a row that is not its to change.
fn recall(incoming: Incoming) -> Decision {
    let is_deleted = incoming.stamp().kind == Kind::Delete;
    Decision::Own {
        own: Own::Recall,
        conflict: match is_deleted {
            true => ConflictKind::DeleteOriginDiffers,
            false => ConflictKind::UpdateOriginDiffers,
        },
        reason: Reason::Lent,
    }
}

/// A node alone gives its stamps, and its changes arrive in the order of its log. So what comes from the very node
/// that stamped what stands here is the later one, even where its stamp is not above: triggers read without locks,
/// and an insert that waited for another of its key may start too low. There is no contest between nodes in that.
fn is_missed_bump(me: Rank, incoming: Incoming, standing: Standing) -> bool {
    let stamp = incoming.stamp();
    // Rank 0 is no node: such rows were written where no trigger stood.
    standing.row == Some(stamp) && stamp.origin != me && stamp.origin != 0
}

/// An update that raised no version has the stamp that stands here, whatever became of the row since: was it made on another
/// one? Then two nodes did so to one row.
fn unseen(incoming: Incoming, standing: Standing) -> Option<ConflictKind> {
    let is_unraised = matches!(incoming, Incoming::Update { base, stamp } if base == stamp);
    (is_unraised && !standing.is_base && !standing.is_same).then_some(ConflictKind::UpdateOriginDiffers)
}

/// A peer kept a row of this node out below what `stood` there, and its log has been applied here up to then. The row
/// missed a bump if a delete stands above it here too: with which version it is touched. Where none does, the delete
/// that kept it out is still on its way, as in a mesh, where a third node's delete may reach a peer first: it was
/// meant for this row and will remove it.
///
/// Where no delete `stood`, it is the stamp that an update of this node did not raise: one stamp names two contents, and
/// two nodes that did so may have taken each other's. A row that still has it is raised; of two such rows the greater
/// new stamp then wins, as ever.
pub fn touched(row: Stamp, tombstone: Option<Stamp>, stood: Stamp) -> Option<i64> {
    if row == stood && tombstone.is_none_or(|tombstone| tombstone < row) {
        return Some(row.version + 1);
    }
    let tombstone = tombstone.filter(|tombstone| *tombstone > row)?;
    Some(tombstone.max(stood).version + 1)
}

/// Does writing the incoming change undo something that stands here? (Nothing stands against a missing row.)
fn contradicts(conflict: ConflictKind) -> bool {
    !matches!(
        conflict,
        ConflictKind::UpdateMissing | ConflictKind::DeleteMissing
    )
}

fn insert(stamp: Stamp, standing: Standing) -> Decision {
    let kind = ConflictKind::InsertExists;
    match (standing.row, standing.tombstone) {
        (Some(row), Some(tombstone)) if is_too_low(row, tombstone, stamp) => {
            Decision::keep(Some(kind), Reason::Lower)
        }
        (Some(row), _) => contest(stamp, row, standing.is_same, kind),
        // Whoever inserts has read the tombstones of its own node and starts above them.
        (None, Some(tombstone)) if tombstone > stamp => below(stamp, tombstone),
        (None, _) => Decision::write(None, Reason::Uncontested),
    }
}

/// A row below a tombstone. One below a delete of its very own node missed a bump; where it still stands it is touched
/// there, once it is known that no other delete was meant for it (`flow::aside`).
fn below(stamp: Stamp, tombstone: Stamp) -> Decision {
    let reason = match tombstone.origin == stamp.origin {
        true => Reason::MissedBump,
        false => Reason::Lower,
    };
    Decision::keep(Some(ConflictKind::UpdateDeleted), reason)
}

/// A row that missed a bump stands below its tombstone until it is touched. What that tombstone beats must not come in
/// over it: the touch would raise what was deleted in place of the row that was written after it.
fn is_too_low(row: Stamp, tombstone: Stamp, incoming: Stamp) -> bool {
    tombstone > row && tombstone > incoming
}

fn update(base: Stamp, stamp: Stamp, standing: Standing) -> Decision {
    let (kind, differs) = (ConflictKind::UpdateDeleted, ConflictKind::UpdateOriginDiffers);
    match (standing.row, standing.tombstone) {
        (Some(row), _) if row == base => Decision::write(None, Reason::Uncontested),
        (Some(row), Some(tombstone)) if is_too_low(row, tombstone, stamp) => {
            Decision::keep(Some(differs), Reason::Lower)
        }
        (Some(row), _) => contest(stamp, row, standing.is_same, differs),
        (None, Some(tombstone)) if tombstone > stamp => below(stamp, tombstone),
        // The node that deleted the row has written it again since: an insert that missed a bump, touched.
        (None, Some(tombstone)) if tombstone.origin == stamp.origin => {
            Decision::write(None, Reason::Successor)
        }
        (None, Some(_)) => Decision::write(Some(kind), Reason::Greater),
        (None, None) => Decision::write(Some(ConflictKind::UpdateMissing), Reason::Missing),
    }
}

fn delete(base: Stamp, stamp: Stamp, standing: Standing) -> Decision {
    let (differs, missing) = (ConflictKind::DeleteOriginDiffers, ConflictKind::DeleteMissing);
    match (standing.row, standing.tombstone) {
        (Some(row), _) if row == base => Decision::write(None, Reason::Uncontested),
        (Some(row), _) if stamp > row => Decision::write(Some(differs), Reason::Greater),
        (Some(_), _) => Decision::keep(Some(differs), Reason::Lower),
        (None, Some(tombstone)) if tombstone == stamp => Decision::keep(None, Reason::Same),
        (None, Some(tombstone)) if tombstone > stamp => Decision::keep(Some(missing), Reason::Lower),
        (None, Some(_)) => Decision::write(Some(missing), Reason::Greater),
        (None, None) => Decision::write(Some(missing), Reason::Missing),
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
    Decision::write(conflict, Reason::Drift)
}

/// Two writes of one row. Equal stamps name one content; where they do not, somebody broke the stamps.
fn contest(incoming: Stamp, row: Stamp, is_same: bool, kind: ConflictKind) -> Decision {
    match incoming.cmp(&row) {
        std::cmp::Ordering::Equal if is_same => Decision::keep(None, Reason::Same),
        std::cmp::Ordering::Equal => Decision::Park {
            conflict: kind,
            reason: Reason::Collision,
        },
        std::cmp::Ordering::Greater => Decision::write(Some(kind), Reason::Greater),
        std::cmp::Ordering::Less => Decision::keep(Some(kind), Reason::Lower),
    }
}

impl Decision {
    fn write(conflict: Option<ConflictKind>, reason: Reason) -> Decision {
        Decision::Write { conflict, reason }
    }

    fn keep(conflict: Option<ConflictKind>, reason: Reason) -> Decision {
        Decision::Keep { conflict, reason }
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

    /// What it was based on; an insert on nothing.
    pub fn base(&self) -> Option<Stamp> {
        match self {
            Incoming::Insert { .. } => None,
            Incoming::Update { base, .. } | Incoming::Delete { base, .. } => Some(*base),
        }
    }

    pub fn is_delete(&self) -> bool {
        matches!(self, Incoming::Delete { .. })
    }

    /// The other node's row stopped matching its filter.
    pub fn leaves(&self) -> bool {
        self.is_delete() && self.stamp().kind == Kind::Write && !self.is_told()
    }

    /// The other node wrote over a row that this one alone sends.
    pub fn is_told(&self) -> bool {
        matches!(self, Incoming::Delete { base, stamp } if base == stamp)
    }
}

#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;
