//! What a link does beside its groups: what waits is tried again, and rows that stand too low on its target are touched.
//!
//! Owns: when that is done, and the way of a missed bump. Refuses: deciding (see `apply`). Fails: as a group does; what may
//! pass by itself is tried again at the next turn.
//!
//! **A missed bump.** A user's insert reads the tombstones without locks, so one that began before a delete arrived here
//! can start below its tombstone. Its row then arrives on the other node below the delete that this node had logged: it
//! is kept out there, and stands here. The other link notes such a row (`tidelock.missed_bump`, on the node where it was
//! kept out). When this link has applied that node's log up to where the note was made, a delete of that node's that was
//! meant for this row has removed it. A row that still stands, below a tombstone that is here too, is touched, above
//! both, and goes over again (`merge::touched`); a third node's delete that is still on its way removes it when it comes.
//!
//! **An update that raised no version** (a trigger was off) goes the same way: its row is touched where it was written, if it
//! still has that stamp. Without that two nodes that did so to one row would take each other's, and stay different.

use super::apply::Tally;
use super::link::Link;
use super::planner::Planner;
use super::spec::link_id;
use crate::engine::Node;
use crate::error::{Class, Error, Result};
use crate::model::packed::unpack;
use crate::model::parked::MissedBump;
use crate::model::position::Position;
use crate::model::schema::{Table, TableId};
use crate::model::stamp::Stamp;
use crate::model::value::Row;
use crate::plan::{Key, Plan};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{debug, info};

/// Notes looked at in one turn.
const BUMPS_MAX: usize = 500;
/// Batches of what waits that `run --once` tries after a group.
const ONCE_MAX: usize = 200;

impl Link {
    /// Is there anything beside the groups?
    pub(super) fn looks_aside(&self) -> bool {
        let is_noted = self.spec.is_merge() && !self.spec.aside.is_quiet(&self.spec.id);
        !self.phase.is_catching_up() && (self.applier.has_waits() || is_noted)
    }

    pub(super) async fn look_aside(&mut self, planner: &mut Planner) -> Result<()> {
        if self.applier.has_refused() {
            self.look_again(planner).await?;
        }
        self.tried = Instant::now();
        let position = self.pending.position.clone();
        let looked = self.applier.look_at_personal(&position, planner).await;
        self.aside(position, looked).await?;
        self.try_again(planner).await?;
        if self.spec.is_merge() && !self.spec.aside.is_quiet(&self.spec.id) {
            self.touch_noted(planner).await?;
        }
        Ok(())
    }

    /// One batch of what waits.
    pub(super) async fn try_again(&mut self, planner: &mut Planner) -> Result<()> {
        if !self.applier.has_waits() {
            return Ok(());
        }
        self.tried = Instant::now();
        let position = self.pending.position.clone();
        let tried = self.applier.try_again(&position, planner).await;
        self.aside(position, tried).await
    }

    /// `run --once`: every one that waits has its turn, and none is tried for ever.
    pub(super) async fn try_each(&mut self, planner: &mut Planner) -> Result<()> {
        for _ in 0..ONCE_MAX {
            if !self.applier.is_restless() {
                break;
            }
            self.try_again(planner).await?;
        }
        Ok(())
    }

    async fn aside(&mut self, position: Position, tried: Result<Option<Tally>>) -> Result<()> {
        match tried {
            Ok(Some(tally)) => {
                self.committed(position, tally, 0);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.class() == Class::Transient => {
                debug!(link = %self.spec.id, %error, "what waits is tried again later");
                // Fails on a lost connection, and then so does the link, with the first cause.
                match self.applier.rollback().await {
                    Ok(()) => Ok(()),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What the link back has noted on this link's source.
    async fn touch_noted(&mut self, planner: &mut Planner) -> Result<()> {
        let spec = Arc::clone(&self.spec);
        let back = link_id(&spec.target.name, &spec.source.name);
        // Before it is read: what is noted from here on says so again.
        spec.aside.hush(&spec.id);
        let mut source = Node::connect(&spec.source.access, spec.source.engine).await?;
        let noted = source.noted_bumps(&spec.sync, &back, BUMPS_MAX).await?;
        if noted.is_empty() {
            source.close().await;
            return Ok(());
        }
        spec.aside.rouse(&spec.source.name, &spec.target.name);
        if noted.iter().any(|bump| bump.position.is_none()) {
            let end = source.barrier().await?;
            source.locate_bumps(&spec.sync, &back, &end.to_string()).await?;
        }
        let mut done: Vec<MissedBump> = Vec::new();
        for bump in noted {
            if self.has_passed(&bump)? {
                done.push(bump);
            }
        }
        let mut tables: Vec<TableId> = done.iter().map(|bump| bump.at.table.clone()).collect();
        tables.sort();
        tables.dedup();
        for table in tables {
            if let Some(plan) = planner.of_source(&table)? {
                let rows = rows(&plan, done.iter().filter(|bump| bump.at.table == table))?;
                self.touch(&plan, &rows).await?;
            }
        }
        if !done.is_empty() {
            source.drop_bumps(&spec.sync, &back, &done).await?;
        }
        source.close().await;
        Ok(())
    }

    async fn touch(&mut self, plan: &Plan, rows: &[(Key, Stamp)]) -> Result<()> {
        let position = self.pending.position.clone();
        if let Some(tally) = self.applier.touch(&position, plan, rows).await? {
            info!(
                event = "missed_bump", link = %self.spec.id, table = %plan.shape.table.id, rows = tally.missed_bumps,
                "rows whose version was not raised as it should have been are touched"
            );
            self.committed(position, tally, 0);
        }
        Ok(())
    }

    /// Has this link applied the source's log up to where the note was made?
    fn has_passed(&self, bump: &MissedBump) -> Result<bool> {
        let Some(position) = &bump.position else {
            return Ok(false);
        };
        let position: Position = position
            .parse()
            .map_err(|error| Error::bug("read a position of tidelock.missed_bump").because(error))?;
        let passed = self.pending.position.covers(&position);
        passed.map_err(super::hold::incomparable)
    }
}

/// The keys in this link's target, with the stamps they must be above.
fn rows<'a>(plan: &Plan, bumps: impl Iterator<Item = &'a MissedBump>) -> Result<Vec<(Key, Stamp)>> {
    let mut rows = Vec::new();
    for bump in bumps {
        let Some(row) = key_row(&plan.source, &bump.key_cells) else {
            continue;
        };
        if let Some(key) = plan.key_from(&row)? {
            rows.push((key, bump.standing.max(bump.stamp)));
        }
    }
    Ok(rows)
}

fn key_row(table: &Table, cells: &[u8]) -> Option<Row> {
    let cells = unpack(cells)?;
    let cell = |name: &str| cells.iter().find(|(known, _)| known == name);
    let row = table
        .columns
        .iter()
        .map(|column| cell(&column.name).and_then(|(_, value)| value.clone()));
    Some(row.collect())
}
