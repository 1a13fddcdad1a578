//! Rows of a copy that meet rows: two sides become one set, or a table is copied anew.
//!
//! Owns: what is no conflict then (the same row on both sides, a delete that nobody contradicts). Refuses: in a union, rows
//! whose stamp does not say whose they are. Everything else is decided as if the row had just been inserted at the source,
//! with the same stamps on both sides, so both come to the same; one way, what stands there otherwise is drift.

use super::Applier;
use super::contested::{Contested, Decided, decided_write};
use super::parking::park_key;
use super::renew::NOBODY;
use crate::error::{Error, Reason, Result};
use crate::flow::decision::same_values;
use crate::flow::spec::LinkSpec;
use crate::merge::{Decision, Sight};
use crate::model;
use crate::model::change::Head;
use crate::model::conflict::{Conflict, ConflictKind, Local};
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::layer::Layers;
use crate::plan::{Address, Key, Plan, Planned, PlannedOp, Write, WriteOp};
use crate::version;
use std::sync::Arc;

/// Why rows may stand there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uniting {
    /// Both sides held rows before they were joined.
    Sides,
    /// The table was copied before.
    Again,
}

impl Applier {
    pub(crate) async fn unite(&mut self, layers: &Layers, uniting: Uniting) -> Result<()> {
        self.uniting = Some(uniting);
        for layer in layers.iter() {
            let plan = &layer.plan;
            let (refused, changes): (Vec<&Planned>, Vec<&Planned>) = layer
                .changes
                .iter()
                .partition(|change| matches!(change.op, PlannedOp::Refused { .. }));
            let mut conflicts: Vec<Conflict> = Vec::new();
            self.refuse(plan, refused, &mut conflicts)?;
            let dated = self.dated(plan, &changes).await?;
            let changes = match &dated {
                Some(dated) => dated.iter().collect(),
                None => changes,
            };
            let changes = self.kept_for_children(plan, changes, &mut conflicts).await?;
            self.settle_contested(plan, changes, &mut conflicts).await?;
            self.keep_record(conflicts).await?;
            if plan.shape.stamps.is_some() && !self.foreign.keys.is_empty() {
                self.suspect_parents(plan, &layer.changes).await?;
            }
        }
        Ok(())
    }

    /// Without those that would take from other rows what they refer to: they wait, until the link tries them again.
    async fn kept_for_children<'a>(
        &mut self,
        plan: &Plan,
        changes: Vec<&'a Planned>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Vec<&'a Planned>> {
        if !self.foreign.concerns(&plan.shape.table.id) {
            return Ok(changes);
        }
        let (orphaning, mut rest): (Vec<&Planned>, Vec<&Planned>) = changes
            .into_iter()
            .partition(|change| self.foreign.orphan(&park_key(plan, change)).is_some());
        let (deletes, writes): (Vec<&Planned>, Vec<&Planned>) = orphaning
            .into_iter()
            .partition(|change| matches!(change.op, PlannedOp::Delete { .. }));
        for change in writes {
            self.must_wait(plan, change, conflicts)?;
        }
        rest.extend(self.keep_parents(plan, deletes, conflicts).await?);
        Ok(rest)
    }

    /// Rows that were there before `setup` all have the first version. Of those that meet a row, the one that the table's
    /// version source would have told is the version. `None`: it tells nothing of them.
    async fn dated(&mut self, plan: &Plan, changes: &[&Planned]) -> Result<Option<Vec<Planned>>> {
        if self.uniting != Some(Uniting::Sides) || version_column(&self.spec, plan).is_none() {
            return Ok(None);
        }
        let keys: Vec<Key> = changes.iter().map(|change| change.key.clone()).collect();
        let locals = self.target.read(&plan.shape, &keys).await?;
        let mut dated = Vec::with_capacity(changes.len());
        for (change, local) in changes.iter().zip(locals) {
            let mut change = Planned::clone(change);
            if let PlannedOp::Insert {
                row,
                stamp: Some(stamp),
                ..
            } = &mut change.op
                && local.row_stamp.is_some_and(|standing| standing != *stamp)
                && let Some(stamps) = &plan.shape.stamps
            {
                *stamp = first_stamp(&self.spec, plan, row, *stamp);
                row.0[stamps.version] = Some(Value::Int(stamp.version));
            }
            dated.push(change);
        }
        Ok(Some(dated))
    }

    /// The standing row, likewise; not where it is the very row that was read at the source, and not for a delete, which is of
    /// after `setup` and has the first version too.
    pub(super) fn date(&self, plan: &Plan, change: &Planned, local: &mut Local) {
        let incoming = change.op.incoming().map(|incoming| incoming.stamp());
        if self.uniting == Some(Uniting::Sides)
            && matches!(change.op, PlannedOp::Insert { .. })
            && incoming != local.row_stamp
            && let (Some(row), Some(stamp)) = (&local.row, local.row_stamp)
        {
            local.row_stamp = Some(first_stamp(&self.spec, plan, row, stamp));
        }
    }

    /// The write by which a row that stays gets the version that it was decided by. `None`: it has it.
    pub(super) fn restamped(&self, plan: &Plan, contested: &Contested<'_>) -> Option<Write> {
        let (row, stamp) = (contested.local.row.as_ref()?, contested.local.row_stamp?);
        let stamps = plan.shape.stamps.as_ref()?;
        if self.uniting != Some(Uniting::Sides) || row.get(stamps.version) == Some(&Value::Int(stamp.version))
        {
            return None;
        }
        let mut cells: Vec<Option<Value>> = vec![None; row.0.len()];
        cells[stamps.version] = Some(Value::Int(stamp.version));
        Some(Write {
            key: contested.change.key.clone(),
            op: WriteOp::Update {
                row: cells.into_iter().collect(),
                base: None,
                here: None,
            },
        })
    }

    /// The same, where it is the very row that arrives, which has that version already.
    pub(super) fn dated_alike(&self, plan: &Plan, contested: &Contested<'_>) -> Option<Write> {
        let incoming = contested.change.op.incoming().map(|incoming| incoming.stamp());
        let is_it = incoming == contested.local.row_stamp && self.is_agreed(plan, contested);
        self.restamped(plan, contested).filter(|_| is_it)
    }

    /// Of rows that the condition of a new copy does not take at the source, those that it takes as they stand here; and
    /// deletes of which nothing stands.
    pub(crate) async fn asked_standing(&mut self, layers: Layers) -> Result<Layers> {
        let is_asked = |plan: &Plan, change: &Planned, standing: Option<&Row>| match standing {
            Some(row) => plan.asks_for_standing(row),
            None => matches!(change.op, PlannedOp::Delete { .. }),
        };
        self.standing(layers, is_asked).await
    }

    /// Of rows that the source does not send any more, those that stand here as its own.
    pub(crate) async fn lent_standing(&mut self, layers: Layers) -> Result<Layers> {
        let is_lent = |plan: &Plan, change: &Planned, standing: Option<&Row>| {
            standing.is_some()
                && (plan.is_held() || plan.sight(standing, None) == Sight::Borrowed)
                && plan.may_have_asked_for(&change.op, standing)
        };
        self.standing(layers, is_lent).await
    }

    /// Those of the changes that are meant, by what stands under their keys. What the target cannot hold does not stand here.
    async fn standing(
        &mut self,
        layers: Layers,
        is_meant: impl Fn(&Plan, &Planned, Option<&Row>) -> bool,
    ) -> Result<Layers> {
        let mut meant = Layers::default();
        for layer in layers.iter() {
            let plan = &layer.plan;
            let is_held = |change: &&Planned| !matches!(change.op, PlannedOp::Refused { .. });
            let changes: Vec<&Planned> = layer.changes.iter().filter(is_held).collect();
            let keys: Vec<Key> = changes.iter().map(|change| change.key.clone()).collect();
            let locals = self.target.read(&plan.shape, &keys).await?;
            for (change, local) in changes.into_iter().zip(locals) {
                if is_meant(plan, change, local.row.as_ref()) {
                    meant.push(plan, change.clone());
                }
            }
        }
        Ok(meant)
    }

    /// One way: deletes what stands here and nowhere else, with a record of it.
    pub(crate) async fn remove(&mut self, plan: &Plan, head: &Arc<Head>, keys: Vec<Key>) -> Result<()> {
        let locals = self.target.read(&plan.shape, &keys).await?;
        let address = |ordinal| Address {
            head: Arc::clone(head),
            ordinal,
        };
        let changes: Vec<Planned> = (0..)
            .zip(keys)
            .map(|(ordinal, key)| Plan::beyond(key, &address(ordinal)))
            .collect();
        let is_asked = |row: &Row| plan.asks_for_standing(row);
        let standing = changes
            .iter()
            .zip(locals)
            .filter(|(_, local)| local.row.as_ref().is_some_and(is_asked));
        let decided = standing.filter_map(|(change, local)| {
            let contested = Contested { change, local };
            Some(Decided {
                write: decided_write(plan, &contested)?,
                contested,
                conflict: Some(ConflictKind::DeleteOriginDiffers),
                reason: model::conflict::Reason::Drift,
            })
        });
        let (decided, mut conflicts) = (decided.collect(), Vec::new());
        let lost = self.write_decided(plan, decided, &mut conflicts).await?;
        self.keep_record(conflicts).await?;
        match lost.is_empty() {
            true => Ok(()),
            false => Err(Error::transient("delete rows that the source does not have")
                .node(&self.spec.target.name)
                .table(&plan.shape.table.id)
                .why("others keep changing them")),
        }
    }

    /// A table that is copied anew meets changes, and catches up with some, that it may hold already, and rows that were made
    /// on each other look like two. Only the order of stamps is right whatever came first.
    pub(super) fn is_repeated(&self) -> bool {
        let catches_up = self.renewer.is_later() && !self.catching_up.is_empty();
        self.uniting == Some(Uniting::Again) || catches_up
    }

    /// Do both sides say the same, whichever stamp stands in the end? A tombstone says nothing that a rule is asked about.
    pub(super) fn is_agreed(&self, plan: &Plan, contested: &Contested<'_>) -> bool {
        self.uniting.is_some()
            && match (&contested.change.op, &contested.local.row) {
                (PlannedOp::Insert { row, .. }, Some(here)) => same_values(plan, row, here),
                (PlannedOp::Insert { .. }, None) => false,
                (PlannedOp::Update { .. } | PlannedOp::Delete { .. } | PlannedOp::Refused { .. }, _) => true,
            }
    }

    /// Is there nothing to do? Where rows have stamps, the greater one must stand on both sides.
    pub(super) fn is_level(&self, plan: &Plan, contested: &Contested<'_>) -> bool {
        plan.shape.stamps.is_none() && self.is_agreed(plan, contested)
    }

    /// Is nothing lost by the decision that anybody would miss?
    pub(super) fn is_quiet(&self, plan: &Plan, contested: &Contested<'_>, decision: &Decision) -> bool {
        let removes = matches!(contested.change.op, PlannedOp::Delete { .. })
            && contested.local.row.is_some()
            && matches!(decision, Decision::Write { .. });
        self.is_agreed(plan, contested) && !removes
    }

    /// A row that does not say whose it is would win or lose by chance.
    pub(super) fn refuse_unclaimed(&self, plan: &Plan, contested: &Contested<'_>) -> Result<()> {
        let incoming = contested.change.op.incoming().map(|incoming| incoming.stamp());
        let stamps = [
            (incoming, &self.spec.source),
            (contested.local.row_stamp, &self.spec.target),
        ];
        let unclaimed =
            |(stamp, _): &&(Option<_>, _)| stamp.is_some_and(|stamp: Stamp| stamp.origin == NOBODY);
        let Some((_, node)) = stamps
            .iter()
            .find(unclaimed)
            .filter(|_| self.uniting == Some(Uniting::Sides))
        else {
            return Ok(());
        };
        let sync = &self.spec.sync;
        Err(Error::definite("make one set of two sides")
            .node(&node.name)
            .table(&plan.shape.table.id)
            .reason(Reason::Refused)
            .why("it holds rows that were stamped before the sync had seed = \"union\", so they do not say whose they are")
            .hint(format!(
                "tidelock teardown --sync {sync} --execute; drop the table's columns tidelock_version and tidelock_origin on \
                 {}; tidelock setup --sync {sync} --execute",
                node.name
            )))
    }
}

/// The place in the target's rows of what the table's versions come from, where that is a column.
fn version_column(link: &LinkSpec, plan: &Plan) -> Option<usize> {
    let table = &plan.shape.table;
    let name = link.versions.get(&table.id)?.column()?;
    table.column(name)
}

/// The stamp of a row of the target, with the version that its own column tells where that is greater.
pub(crate) fn first_stamp(link: &LinkSpec, plan: &Plan, row: &Row, stamp: Stamp) -> Stamp {
    let told = version_column(link, plan).and_then(|place| row.get(place));
    let source = link.versions.get(&plan.shape.table.id);
    let Some((told, source)) = told.zip(source) else {
        return stamp;
    };
    let version = version::inserted(0, version::brought(source, told));
    Stamp {
        version: version.max(stamp.version),
        ..stamp
    }
}
