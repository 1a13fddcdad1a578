//! Makes the conflict record from a change and what met it.

use crate::model::conflict::{Conflict, ConflictKind, Local, Outcome};
use crate::model::stamp::{Kind, Rank};
use crate::model::value::Row;
use crate::plan::evidence::{Hidden, conflict_id, key_json, numbers, row_json};
use crate::plan::{Plan, Planned, PlannedOp};

pub(super) struct Verdict<'a> {
    pub kind: ConflictKind,
    pub outcome: Outcome,
    pub rule: &'static str,
    /// A sentence without cell values.
    pub why: &'a str,
    /// The node whose version stands.
    pub winner: Option<Rank>,
}

pub(super) fn contested(plan: &Plan, change: &Planned, local: &Local, mut verdict: Verdict<'_>) -> Conflict {
    verdict.kind = told(plan, change, verdict.kind);
    let mut conflict = describe(plan, change, local.row.as_ref(), verdict);
    conflict.local_stamp = local.row_stamp.max(local.tombstone);
    named(plan, change, conflict)
}

/// A row that moves to another key is decided as a delete and an insert; its record says that it moved. One way nobody
/// else moved it: there it is an update of a row that the target lacks.
fn told(plan: &Plan, change: &Planned, kind: ConflictKind) -> ConflictKind {
    match kind {
        _ if !change.moves => kind,
        ConflictKind::InsertExists => ConflictKind::UpdateExists,
        ConflictKind::DeleteMissing if plan.shape.stamps.is_none() => ConflictKind::UpdateMissing,
        ConflictKind::DeleteMissing | ConflictKind::DeleteOriginDiffers => ConflictKind::KeyMoved,
        ConflictKind::UpdateOriginDiffers
        | ConflictKind::UpdateExists
        | ConflictKind::UpdateMissing
        | ConflictKind::UpdateDeleted
        | ConflictKind::MultipleUniqueConflicts
        | ConflictKind::KeyMoved
        | ConflictKind::FkMissing
        | ConflictKind::ValueRefused
        | ConflictKind::ForeignWrite => kind,
    }
}

/// A value that the target's column cannot hold; the target was not looked at.
pub(super) fn refusal(plan: &Plan, change: &Planned) -> Conflict {
    let why = match &change.op {
        PlannedOp::Refused { why, .. } => format!("column {:?}: {}", why.column, why.why),
        PlannedOp::Insert { .. } | PlannedOp::Update { .. } | PlannedOp::Delete { .. } => String::new(),
    };
    let kind = ConflictKind::ValueRefused;
    named(
        plan,
        change,
        describe(
            plan,
            change,
            None,
            Verdict {
                kind,
                outcome: Outcome::Open,
                rule: "none",
                why: &why,
                winner: None,
            },
        ),
    )
}

/// The rows of a record as they are stored: base in the source's columns, the others in the target's.
struct Images {
    base: Option<String>,
    local: Option<String>,
    incoming: Option<String>,
}

/// What is masked is told by numbers, which say only which cells of a column are equal.
fn images(plan: &Plan, op: &PlannedOp, local: Option<&Row>) -> Images {
    // Of what was written over a row that is not its writer's, the row that was written.
    let written = told_row(plan, op);
    let (base, incoming, refused) = match op {
        PlannedOp::Delete { .. } if written.is_some() => (None, written.as_ref(), None),
        PlannedOp::Insert { row, .. } => (None, Some(row), None),
        PlannedOp::Update { row, before, .. } => (before.as_ref(), Some(row), None),
        PlannedOp::Delete { before, .. } => (Some(before), None, None),
        PlannedOp::Refused { incoming, .. } => (None, None, Some(incoming)),
    };
    let mut hidden = [Hidden::new(), Hidden::new(), Hidden::new(), Hidden::new()];
    for (source, target) in plan.masked() {
        let at = |row: Option<&Row>, place: &Option<usize>| {
            row.zip(*place).and_then(|(row, place)| row.get(place).cloned())
        };
        // Compared in the target's terms; what has no form there is like nothing else.
        let agreed = at(base, source);
        let there = agreed
            .as_ref()
            .zip(*source)
            .and_then(|(value, source)| plan.cell_there(source, value));
        let cells = [
            there.or(agreed),
            at(local, target),
            at(incoming, target),
            at(refused, source),
        ];
        let numbers = numbers(cells.each_ref().map(Option::as_ref));
        for ((hidden, number), place) in hidden
            .iter_mut()
            .zip(numbers)
            .zip([source, target, target, source])
        {
            hidden.extend(place.zip(number));
        }
    }
    let [of_base, of_local, of_incoming, of_refused] = hidden;
    let (here, there) = (&plan.shape.table, &plan.source);
    let arrived = incoming.map(|row| row_json(here, row, &of_incoming));
    Images {
        base: base.map(|row| row_json(there, row, &of_base)),
        local: local.map(|row| row_json(here, row, &of_local)),
        incoming: arrived.or_else(|| refused.map(|row| row_json(there, row, &of_refused))),
    }
}

fn told_row(plan: &Plan, op: &PlannedOp) -> Option<Row> {
    let is_written = op.told().is_some_and(|stamp| stamp.kind == Kind::Write);
    match op {
        PlannedOp::Delete { before, .. } if is_written => plan.in_target_terms(before).ok(),
        PlannedOp::Insert { .. }
        | PlannedOp::Update { .. }
        | PlannedOp::Delete { .. }
        | PlannedOp::Refused { .. } => None,
    }
}

fn describe(plan: &Plan, change: &Planned, local: Option<&Row>, verdict: Verdict<'_>) -> Conflict {
    let table = &plan.shape.table;
    let Images {
        base,
        local,
        incoming,
    } = images(plan, &change.op, local);
    let (operation, stamp) = match &change.op {
        PlannedOp::Insert { stamp, .. } => ("insert", *stamp),
        PlannedOp::Update { stamp, .. } => ("update", *stamp),
        PlannedOp::Delete { stamp, .. } if told_row(plan, &change.op).is_some() => ("update", *stamp),
        PlannedOp::Delete { stamp, .. } => ("delete", *stamp),
        PlannedOp::Refused { stamp, operation, .. } => (*operation, *stamp),
    };
    let base_stamp = match &change.op {
        PlannedOp::Update { base, .. } | PlannedOp::Delete { base, .. } => *base,
        PlannedOp::Insert { .. } | PlannedOp::Refused { .. } => None,
    };
    Conflict {
        id: String::new(),
        kind: verdict.kind,
        outcome: verdict.outcome,
        rule: verdict.rule,
        schema: table.id.schema.clone(),
        table: table.id.name.clone(),
        key: key_json(&change.key),
        base,
        local,
        incoming,
        base_stamp,
        local_stamp: None,
        incoming_stamp: stamp,
        winner: verdict.winner,
        operation,
        source_position: address(change),
        source_committed_at_us: change.address.head.committed_at_us,
        detail: verdict.why.to_owned(),
    }
}

/// `transaction#ordinal`
pub(super) fn address(change: &Planned) -> String {
    format!("{}#{}", change.address.head.transaction, change.address.ordinal)
}

/// Where stamps name the pair, both nodes give one name; without them the change's address does.
fn named(plan: &Plan, change: &Planned, mut conflict: Conflict) -> Conflict {
    let by_stamps = conflict.incoming_stamp.is_some() && conflict.kind != ConflictKind::ValueRefused;
    let extra = if by_stamps { String::new() } else { address(change) };
    let stamps = [conflict.local_stamp, conflict.incoming_stamp];
    conflict.id = conflict_id(plan.name(), &conflict.key, stamps, &extra);
    conflict
}
