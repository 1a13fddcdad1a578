//! What a link read, group by group, into the target.
//!
//! Owns: whole transactions as one group and one by one, large ones in parts, what is tried again and how often, and what is
//! looked at again before a value is refused. Refuses: reading and the order of things (`link`).
//! Fails: with the first error that trying again does not cure, and the transaction that caused it ([`super::halt`]).

use super::Link;
use super::halt::is_of_the_data;
use crate::engine::Node;
use crate::error::{Class, Error, Result};
use crate::flow::apply::Tally;
use crate::flow::group::{Collector, Transaction};
use crate::flow::planner::Planner;
use crate::flow::pulse::Ops;
use crate::flow::tables;
use crate::model::position::Position;
use crate::plan::layer::Layers;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How often one group is tried again after a deadlock or a lock wait before the link starts anew.
const GROUP_TRIES_MAX: u32 = 8;

impl Link {
    /// Leaves out what is behind the end of a catch-up: the link has applied none of it yet.
    pub(super) fn cut(&self, group: &mut Vec<Transaction>) -> Result<bool> {
        for (index, transaction) in group.iter().enumerate() {
            if let Some(end) = &transaction.end
                && self.phase.is_beyond(end)?
            {
                group.truncate(index);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Applies whole transactions, as far as they are to be.
    pub(super) async fn group(&mut self, planner: &mut Planner, mut group: Vec<Transaction>) -> Result<()> {
        let is_over = self.cut(&mut group)?;
        self.whole(planner, group).await?;
        if let Some(until) = self.phase.until.clone().filter(|_| is_over) {
            self.pending.position = until;
        }
        Ok(())
    }

    /// Applies whole transactions as one, trying again where the cause passes. What stops it is found by applying them
    /// one by one, so that the checkpoint stands right before it.
    pub(super) async fn whole(&mut self, planner: &mut Planner, mut group: Vec<Transaction>) -> Result<()> {
        // From here on the link waits for its target, also where that is only looked at.
        self.pulse
            .applying(group.first().and_then(Transaction::committed_at_us));
        if planner.is_news(group.iter().flat_map(Transaction::parts)) {
            self.look_again(planner).await?;
        }
        let (mut layers, mut carried, mut stopped) = planner.carry(group.iter().map(Transaction::parts));
        if layers.has_refusals() && self.look_again(planner).await? {
            (layers, carried, stopped) = planner.carry(group.iter().map(Transaction::parts));
        }
        self.pulse.altered(planner.altered());
        let stopper = group.get(carried).and_then(Transaction::halt);
        group.truncate(carried);
        match self.carried(&layers, &group).await {
            Err(error) if is_of_the_data(&error) => {
                // Fails on a lost connection, and then so does the link, with the first cause.
                if self.applier.rollback().await.is_err() {
                    return Err(error);
                }
                if let [only] = &group[..] {
                    return Err(self.halted(error, only.halt()));
                }
                for one in group {
                    self.pulse.applying(one.committed_at_us());
                    let (layers, _, planned) = planner.carry(std::iter::once(one.parts()));
                    planned.map_err(|error| self.halted(error, one.halt()))?;
                    let halt = one.halt();
                    let outcome = self.carried(&layers, std::slice::from_ref(&one)).await;
                    outcome.map_err(|error| self.halted(error, halt))?;
                }
            }
            outcome => outcome?,
        }
        stopped.map_err(|error| self.halted(error, stopper))
    }

    /// The target's tables as they are now, where a plan is to be made or a value is about to be refused: they may have
    /// been altered since. `false`: they are as they were.
    pub(in crate::flow) async fn look_again(&mut self, planner: &mut Planner) -> Result<bool> {
        let target = &self.spec.target;
        let mut node = Node::connect(&target.access, target.engine).await?;
        let sources = self.phase.names(&self.spec.source.tables);
        let tables = tables(&mut node, &self.phase.names(&target.tables), target).await?;
        node.close().await;
        let pairs = sources.into_iter().zip(tables);
        let pairs = pairs.map(|(id, table)| (id, Arc::new(table.table.clone())));
        Ok(planner.renew(pairs.collect()))
    }

    pub(super) async fn carried(&mut self, layers: &Layers, group: &[Transaction]) -> Result<()> {
        let Some(end) = group.last().and_then(|last| last.end.clone()) else {
            return Ok(());
        };
        if layers.is_empty() {
            self.pulse.skipped(layers.filtered, layers.unchanged);
            let bytes = group.iter().map(Transaction::log_bytes).sum();
            let foreign = group
                .iter()
                .filter(|passed| passed.is_foreign())
                .map(Transaction::log_bytes)
                .sum();
            return self.passed(end, bytes, foreign).await;
        }
        for attempt in 1.. {
            match self.try_group(layers, &end).await {
                Ok(tally) => {
                    self.pulse
                        .skipped(layers.filtered, layers.unchanged + tally.noops);
                    self.committed(end, tally, group.len());
                    for done in group {
                        self.visible(done.committed_at_us(), done.ops());
                    }
                    return Ok(());
                }
                Err(error) if error.class() == Class::Transient && attempt < GROUP_TRIES_MAX => {
                    debug!(link = %self.spec.id, attempt, %error, "group is tried again");
                    self.pulse.tried_again();
                    // Fails on a lost connection, and then so does the link, with the first cause.
                    if self.applier.rollback().await.is_err() {
                        return Err(error);
                    }
                    tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn try_group(&mut self, layers: &Layers, end: &Position) -> Result<Tally> {
        loop {
            self.applier.begin(end).await?;
            self.applier.layers(layers).await?;
            if self.applier.is_sound().await? {
                return self.applier.commit().await;
            }
            self.applier.rollback().await?;
        }
    }

    /// A transaction larger than a group: applied in parts within one target transaction. Where it ends is known
    /// only with its last part, so the checkpoint is moved again before COMMIT. `false`: told to stop before its end.
    pub(super) async fn large(
        &mut self,
        planner: &mut Planner,
        units: &mut Collector,
        first: Transaction,
        stop: &CancellationToken,
    ) -> Result<bool> {
        let here = self.pending.position.clone();
        let committed_at_us = first.committed_at_us();
        self.pulse.applying(committed_at_us);
        self.applier.begin(&here).await?;
        let mut first = Some(first);
        let (mut pieces, mut ops) = (0, Ops::default());
        let (mut filtered, mut unchanged) = (0, 0);
        let end = loop {
            // Each piece is let go before the next is awaited: the reader may need its share of the memory bound.
            let piece = match first.take() {
                Some(piece) => piece,
                None => {
                    self.pulse.awaits();
                    tokio::select! {
                        () = stop.cancelled() => {
                            self.applier.rollback().await?;
                            return Ok(false);
                        }
                        piece = units.rest() => {
                            self.pulse.came();
                            piece.map_err(|error| self.halted(error, None))?
                        }
                    }
                }
            };
            if planner.is_news(piece.parts()) {
                self.look_again(planner).await?;
            }
            let layers = self.planned(planner, &piece).await?;
            let applied = self.applier.layers(&layers).await;
            applied.map_err(|error| self.halted(error, piece.halt()))?;
            pieces += 1;
            ops += piece.ops();
            filtered += layers.filtered;
            unchanged += layers.unchanged;
            if let Some(end) = piece.end {
                break end;
            }
        };
        if self.phase.is_beyond(&end)? {
            self.applier.rollback().await?;
            self.pending.position = self.phase.until.clone().unwrap_or(end);
            return Ok(true);
        }
        if !self.applier.is_sound().await? {
            self.applier.rollback().await?;
            self.applier.remember_orphans();
            return Err(Error::transient("keep rows with their parents")
                .node(&self.spec.target.name)
                .why("rows of a large transaction refer to rows that do not stand here: it is read again, and these wait"));
        }
        self.applier.reposition(&end).await?;
        let tally = self.applier.commit().await?;
        self.applier.forget_orphans();
        info!(link = %self.spec.id, changes = tally.changes, pieces, "large transaction applied");
        self.pulse.skipped(filtered, unchanged + tally.noops);
        self.committed(end, tally, 1);
        self.visible(committed_at_us, ops);
        Ok(true)
    }

    /// A piece of a large transaction; what its values are refused for is looked at again first.
    pub(super) async fn planned(&mut self, planner: &mut Planner, piece: &Transaction) -> Result<Layers> {
        let mut layers = Layers::default();
        let mut planned = planner.transaction(piece.parts(), &mut layers);
        if layers.has_refusals() && self.look_again(planner).await? {
            planner.again();
            layers = Layers::default();
            planned = planner.transaction(piece.parts(), &mut layers);
        }
        self.pulse.altered(planner.altered());
        planned.map_err(|error| self.halted(error, piece.halt()))?;
        Ok(layers)
    }
}
