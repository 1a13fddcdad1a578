//! Makes the conflict record from a change and what met it.

use crate::model::conflict::{Conflict, ConflictKind, Local, Outcome};
use crate::plan::evidence::{conflict_id, key_json, row_json};
use crate::plan::{Plan, Planned, PlannedOp};

pub(super) struct Verdict<'a> {
    pub kind: ConflictKind,
    pub outcome: Outcome,
    pub rule: &'static str,
    /// A sentence without cell values.
    pub why: &'a str,
}

pub(super) fn contested(plan: &Plan, change: &Planned, local: &Local, verdict: Verdict<'_>) -> Conflict {
    let mut conflict = describe(plan, change, verdict);
    conflict.local = local.row.as_ref().map(|row| row_json(&plan.shape.table, row));
    conflict.local_stamp = local.row_stamp.max(local.tombstone);
    named(plan, change, conflict)
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
            Verdict {
                kind,
                outcome: Outcome::Open,
                rule: "none",
                why: &why,
            },
        ),
    )
}

fn describe(plan: &Plan, change: &Planned, verdict: Verdict<'_>) -> Conflict {
    let table = &plan.shape.table;
    let (operation, base, incoming, stamp) = match &change.op {
        PlannedOp::Insert { row, stamp, .. } => ("insert", None, Some(row_json(table, row)), *stamp),
        PlannedOp::Update {
            row, before, stamp, ..
        } => (
            "update",
            before.as_ref().map(|row| row_json(&plan.source, row)),
            Some(row_json(table, row)),
            *stamp,
        ),
        PlannedOp::Delete { before, stamp, .. } => {
            ("delete", Some(row_json(&plan.source, before)), None, *stamp)
        }
        PlannedOp::Refused {
            incoming,
            stamp,
            operation,
            ..
        } => (*operation, None, Some(row_json(&plan.source, incoming)), *stamp),
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
        local: None,
        incoming,
        local_stamp: None,
        incoming_stamp: stamp,
        operation,
        source_position: address(change),
        source_committed_at_us: change.address.head.committed_at_us,
        detail: verdict.why.to_owned(),
    }
}

/// `transaction#ordinal`
fn address(change: &Planned) -> String {
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
