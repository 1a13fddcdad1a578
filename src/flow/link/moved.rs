//! Where a link stands, after a commit or past what changes nothing.
//!
//! Owns: what is told of a commit, what is confirmed to the source, and when the checkpoint moves by itself.
//! Refuses: confirming while held tables catch up: the checkpoint rests then.

use super::{Link, Pending};
use crate::error::Result;
use crate::flow::apply::Tally;
use crate::flow::pulse::Ops;
use crate::model::position::Position;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Log read past the checkpoint without anything to apply: then the checkpoint moves by itself. Echoes count here,
/// or a link whose source is only ever written by Tidelock would keep its log for ever; an idle checkpoint is
/// about a thousandth of a thousandth of this, so two links cannot keep each other going.
const IDLE_BYTES_MAX: u64 = 16 << 20;

/// Rows under other nodes' numbers are told of so often per table.
const STRAYS_EVERY: Duration = Duration::from_secs(600);

impl Link {
    pub(super) fn visible(&self, committed_at_us: Option<i64>, ops: Ops) {
        // Echoes alone make nothing visible.
        if let Some(committed_at_us) = committed_at_us.filter(|_| ops.total() > 0) {
            self.pulse.visible(committed_at_us, ops);
        }
    }

    pub(in crate::flow) fn committed(&mut self, position: Position, tally: Tally, transactions: usize) {
        debug!(
            link = %self.spec.id, %position, seq = self.applier.checkpoint().seq, transactions,
            changes = tally.changes, conflicts = tally.conflicts, "checkpoint committed"
        );
        if tally.conflicts > 0 {
            warn!(link = %self.spec.id, conflicts = tally.conflicts, "conflicts recorded: see `tidelock conflicts list`");
        }
        self.strayed(&tally);
        let stands = &self.applier.checkpoint().position;
        self.pulse.committed(stands, tally.changes, &tally.by_kind);
        let figures = &self.pulse.figures;
        figures.answers.fetch_add(tally.answers, Ordering::Relaxed);
        figures
            .missed_bumps
            .fetch_add(tally.missed_bumps, Ordering::Relaxed);
        figures.undone.fetch_add(tally.undone, Ordering::Relaxed);
        if self.applier.take_noted() {
            self.spec
                .aside
                .rouse(&self.spec.target.name, &self.spec.source.name);
        }
        self.pending = Pending {
            position: position.clone(),
            bytes: 0,
            foreign: 0,
            since: Instant::now(),
        };
        if !self.phase.is_catching_up() {
            self.confirm.send_replace(Some(position));
        }
    }

    /// Says it once per table and while: whoever inserts so does not stop by himself.
    pub(super) fn strayed(&mut self, tally: &Tally) {
        for (table, rows) in &tally.strays {
            let is_told = |at: &Instant| at.elapsed() < STRAYS_EVERY;
            if self.strays_told.get(table).is_some_and(is_told) {
                continue;
            }
            self.strays_told.insert(table.clone(), Instant::now());
            warn!(
                event = "stray_numbers", link = %self.spec.id, node = %self.spec.source.name, %table, rows, code = "W464",
                "rows were inserted under numbers of another node: two rows with one number would be one; `tidelock check` \
                 says what helps"
            );
        }
    }

    /// Something went by that changes nothing on the target.
    pub(super) async fn passed(&mut self, position: Position, bytes: u64, foreign: u64) -> Result<()> {
        if self.pending.foreign == 0 {
            self.pending.since = Instant::now();
        }
        self.pulse.idle();
        if !self.phase.is_catching_up() {
            self.pulse.took(&position);
        }
        self.pending.position = position;
        self.pending.bytes += bytes;
        self.pending.foreign += foreign;
        if self.pending.bytes >= IDLE_BYTES_MAX {
            self.idle_checkpoint().await?;
        }
        Ok(())
    }

    pub(in crate::flow) async fn idle_checkpoint(&mut self) -> Result<()> {
        let position = self.pending.position.clone();
        self.pulse.applying(None);
        self.applier.begin(&position).await?;
        let tally = self.applier.commit().await?;
        self.committed(position, tally, 0);
        Ok(())
    }
}
