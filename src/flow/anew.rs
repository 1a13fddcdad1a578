//! Tables that are copied anew while their link goes on.
//!
//! Owns: when such a copy begins and who runs it. A table that is asked for is held at the end of the source's log; its rows
//! are compared with a later image of the source (`seed::resync`), while the link carries the other tables on; then it is
//! taken up from where it is held, as any held table is (`hold`). What is read then may be older than the rows: that is no
//! drift. Nothing of the table is applied while it is copied, so nothing is overtaken.
//!
//! With a condition only rows that it takes on either side are compared. Of all others the log is the only bringer: such a
//! table is held where it stands and not at the log's end, its link's place is never given up for it, and one way what is
//! read again of rows that were not looked at must be just what stands here, or it is told as drift.
//! Refuses: to fill, one way, a table that joins and holds rows of its own; that a person has to ask for. Fails: as the link does; a copy that cannot go on is noted with its
//! reason, and its table stays held.

use super::hold::incomparable;
use super::link::Link;
use super::spec::LinkSpec;
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::model::operation::{HeldTable, Resync, ResyncState};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::seed::resync::{self, Copy};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// A link that lags, or waits for something, is not waited for longer than that.
const NOTICED_MAX: Duration = Duration::from_secs(60);

/// Who asks for tables that join: see the engines' `setup/steps`.
const SETUP: &str = "setup";

/// Why a table is not made level by itself.
const FILLED: &str = "it joins, and the target holds rows of it already: empty it there, or let them go; then \
    `tidelock resync` makes it what the source has, and records each row that it deletes";

impl Link {
    /// What somebody wants copied anew and is not begun.
    pub(super) async fn asked(&self, node: &mut Node) -> Result<Vec<Resync>> {
        if self.phase.is_catching_up() {
            return Ok(Vec::new());
        }
        let mut asked = node.resyncs(&self.spec.sync, Some(&self.spec.id)).await?;
        let tables = &self.spec.target.tables;
        asked.retain(|resync| resync.state == ResyncState::Asked && tables.contains(&resync.table));
        Ok(asked)
    }

    /// Has the link come to where the log ended when it noticed? Before, what is only on its way would look like drift.
    pub(super) async fn is_ripe(&mut self, node: &mut Node) -> Result<bool> {
        if self.asked(node).await?.is_empty() {
            return Ok(false);
        }
        let (goal, since) = match &self.noticed {
            Some(noticed) => noticed,
            None => {
                let source = &self.spec.source;
                let mut source = Node::connect(&source.access, source.engine).await?;
                let end = source.barrier().await?;
                source.close().await;
                self.noticed.insert((end, Instant::now()))
            }
        };
        let has_come = self.pending.position.covers(goal).map_err(incomparable)?;
        self.is_ripe = has_come || since.elapsed() >= NOTICED_MAX;
        Ok(self.is_ripe)
    }

    /// Holds what is asked for. `true`: the link reads other tables now. `is_ripe`: it has come far enough for tables that
    /// it carries already; one that stopped comes no further.
    pub(super) async fn begin_asked(
        &mut self,
        [source, target]: &mut [Node; 2],
        is_ripe: bool,
    ) -> Result<bool> {
        let mut asked = self.asked(target).await?;
        if asked.is_empty() {
            return Ok(false);
        }
        let (spec, seq) = (&self.spec, self.applier.checkpoint().seq);
        let stop = target.last_stop(&spec.sync, &spec.id).await?;
        let whole = asked.iter().filter(|resync| resync.condition.is_none());
        let is_all = whole.count() == spec.target.tables.len();
        let has_stopped = stop.is_some_and(|stop| stop.seq == seq);
        asked.retain(|resync| is_ripe || is_all || has_stopped || resync.operator == SETUP);
        if asked.is_empty() {
            return Ok(false);
        }
        let filled = self.filled(target, &asked).await?;
        // The log up to here is in every image that follows, and may be from before the table was set up.
        let end = source.barrier().await?;
        let before = target.held(&self.spec.sync, Some(&self.spec.id)).await?;
        let mut tables: Vec<(TableId, HeldTable)> = Vec::with_capacity(asked.len());
        for resync in asked {
            let position = self.hold_at(&resync, &before, &end);
            let Resync {
                table,
                operator,
                condition,
                ..
            } = resync;
            let place = self.spec.target.tables.iter().position(|target| *target == table);
            let Some(source) = place.and_then(|place| self.spec.source.tables.get(place)) else {
                continue;
            };
            info!(
                event = "resync_begins", link = %self.spec.id, %table, %position, operator,
                is_whole = condition.is_none(), "a table is copied anew"
            );
            let held = HeldTable {
                link: self.spec.id.clone(),
                table,
                position,
                transaction: None,
                past: None,
                error: format!("it is copied anew, as {operator} asked"),
                hint: "it is taken up when that is done: `tidelock status` shows how far it is".to_owned(),
                since_us: 0,
                resumed: false,
                is_anew: true,
                condition,
            };
            tables.push((source.clone(), held));
        }
        self.applier.hold_anew(&tables).await?;
        if !filled.is_empty() {
            target
                .resync_failed((&self.spec.sync, &self.spec.id), &filled, FILLED)
                .await?;
        }
        Ok(true)
    }

    /// Tables that join, one way, and hold rows of their own.
    async fn filled(&self, target: &mut Node, asked: &[Resync]) -> Result<Vec<TableId>> {
        let mut filled = Vec::new();
        let joins = |resync: &&Resync| !self.spec.is_merge() && resync.operator == SETUP;
        for resync in asked.iter().filter(joins) {
            let found = super::tables(target, std::slice::from_ref(&resync.table), &self.spec.target).await?;
            let Some(found) = found.first() else { continue };
            if target.has_rows(&found.table).await? {
                filled.push(resync.table.clone());
            }
        }
        Ok(filled)
    }

    /// Where a table is held for its copy. Behind the log's end nothing is looked for that is in every later image. What
    /// a condition leaves out is in no copy: of it the log is carried on from where the table stands.
    fn hold_at(&self, resync: &Resync, before: &[HeldTable], end: &Position) -> Position {
        if resync.condition.is_none() {
            return end.clone();
        }
        let held = before.iter().find(|held| held.table == resync.table);
        held.map_or(&self.applier.checkpoint().position, |held| &held.position)
            .clone()
    }

    /// Lets the copies of held tables go on beside this session.
    pub(super) fn copy_anew(&mut self, stop: &CancellationToken) {
        if !self.holds_tables {
            return;
        }
        let checkpoint = self.applier.checkpoint();
        let copy = Copy {
            link: Arc::clone(&self.spec),
            epoch: checkpoint.epoch,
            identity: checkpoint.source_identity.clone(),
            pulse: Arc::clone(&self.pulse),
            stop: stop.clone(),
        };
        self.copying = Some(AbortOnDropHandle::new(tokio::spawn(resync::run(copy))));
    }

    /// Has the copier ended and left something?
    pub(super) async fn has_lost_copier(&self, node: &mut Node) -> Result<bool> {
        if !self.copying.as_ref().is_some_and(AbortOnDropHandle::is_finished) {
            return Ok(false);
        }
        let resyncs = node.resyncs(&self.spec.sync, Some(&self.spec.id)).await?;
        Ok(resyncs.iter().any(|resync| resync.state == ResyncState::Copying))
    }

    /// Is a table being copied, or copied and not taken up yet? A run that ends by itself waits for it.
    pub(super) async fn is_copying(&mut self) -> Result<bool> {
        let mut node = Node::connect(&self.spec.target.access, self.spec.target.engine).await?;
        let resyncs = node.resyncs(&self.spec.sync, Some(&self.spec.id)).await?;
        node.close().await;
        let tables = &self.spec.target.tables;
        let goes_on = |resync: &Resync| match resync.state {
            ResyncState::Asked | ResyncState::Copying | ResyncState::Copied { .. } => true,
            ResyncState::Failed { .. } | ResyncState::Stopped => false,
        };
        Ok(resyncs
            .iter()
            .any(|resync| goes_on(resync) && tables.contains(&resync.table)))
    }
}

/// The link for new copies of these tables, by the target's names, and for what follows on them: of those with a condition
/// it looks at some rows only.
pub(crate) fn asking<'a>(
    mut link: LinkSpec,
    tables: impl Iterator<Item = (&'a TableId, Option<&'a str>)>,
) -> Result<LinkSpec> {
    for (table, condition) in tables {
        let place = link.target.tables.iter().position(|target| target == table);
        let source = place.and_then(|place| link.source.tables.get(place).cloned());
        let (Some(condition), Some(source)) = (condition, source) else {
            continue;
        };
        let parsed = Expr::parse(condition).map_err(|mistake| {
            Error::definite("read the condition of a new copy")
                .node(&link.target.name)
                .table(table)
                .why(mistake.what)
                .hint("ask again: `tidelock resync`")
        })?;
        let passage = link.passage(&source).asking(parsed);
        link.passages.insert(source, passage);
    }
    Ok(link)
}

/// What new copies of held tables look at.
pub(super) fn conditions(held: &[HeldTable]) -> impl Iterator<Item = (&TableId, Option<&str>)> {
    held.iter().map(|held| (&held.table, held.condition.as_deref()))
}

/// The places of the tables that are being copied, with where each is held.
pub(crate) async fn under_way(link: &LinkSpec) -> Result<Vec<(usize, HeldTable)>> {
    let mut node = Node::connect(&link.target.access, link.target.engine).await?;
    let held = node.held(&link.sync, Some(&link.id)).await?;
    let resyncs = node.resyncs(&link.sync, Some(&link.id)).await?;
    node.close().await;
    let place = |mut held: HeldTable| {
        let is_it = |resync: &&Resync| resync.table == held.table && resync.state == ResyncState::Copying;
        let copied = resyncs.iter().find(is_it)?;
        held.condition.clone_from(&copied.condition);
        let place = link.target.tables.iter().position(|table| *table == held.table)?;
        Some((place, held))
    };
    Ok(held.into_iter().filter_map(place).collect())
}

/// A table of the link by a name: the target's or the source's, with or without its schema.
pub(crate) fn place_of(link: &LinkSpec, name: &str) -> Result<usize> {
    let is_it = |table: &TableId| table.to_string() == name || table.name == name;
    let both = link.source.tables.iter().zip(&link.target.tables);
    let mut found = both
        .enumerate()
        .filter(|(_, (source, target))| is_it(source) || is_it(target))
        .map(|(place, _)| place);
    let error = || Error::definite(format!("find table {name:?} in link {}", link.full_name()));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(error()
            .why("several of its tables have this name")
            .hint("give it with its schema")),
        (None, _) => Err(error()
            .why("the link has no such table")
            .hint("`tidelock plan` lists the tables of each sync; one that was created since joins with `tidelock setup --execute`")),
    }
}
