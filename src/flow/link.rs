//! One link: read -> loop guard -> plan -> group -> apply -> confirm.
//!
//! Owns: the group loop and what moves the checkpoint when nothing is to be applied.
//! Grouping needs no timer: while one commit is in flight the reader collects; the next group is what has come.
//! Fails: with the first error that trying the group again does not cure; `super::turn` decides what then.

use super::apply::{Applier, Tally};
use super::group::{Collector, Transaction, Unit};
use super::hold::{self, Phase};
use super::planner::{Described, Planner};
use super::presence::Presence;
use super::pulse::{Ops, Pulse};
use super::reader::{self, Received};
use super::spec::LinkSpec;
use crate::access::SourceOptions;
use crate::engine::{Node, Source, Target};
use crate::error::{Class, Error, Halt, NEW_COPY, Reason, Result};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::Checkpoint;
use crate::plan::layer::Layers;
use foldhash::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

/// How often one group is tried again after a deadlock or a lock wait before the link starts anew.
const GROUP_TRIES_MAX: u32 = 8;
/// Log read past the checkpoint without anything to apply: then the checkpoint moves by itself. Echoes count here,
/// or a link whose source is only ever written by Tidelock would keep its log for ever; an idle checkpoint is
/// about a thousandth of a thousandth of this, so two links cannot keep each other going.
const IDLE_BYTES_MAX: u64 = 16 << 20;
/// The same by time, for log that Tidelock did not itself cause.
const IDLE_AFTER: Duration = Duration::from_secs(300);

/// Looked at so often while tables are held: does an operator want one taken up?
const HELD_EVERY: Duration = Duration::from_secs(3);

/// What waits is tried again, and what was noted for this link is looked at.
const ASIDE_EVERY: Duration = Duration::from_secs(3);

/// Rows under other nodes' numbers are told of so often per table.
const STRAYS_EVERY: Duration = Duration::from_secs(600);

/// At the earliest after a try; a group that touches what it waits for brings it forward.
const DUE_AFTER: Duration = Duration::from_millis(250);

/// How a session of the link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Done,
    /// It reads other tables now than it did.
    Again,
}

/// Runs until `stop`, an error, or (with `goal`) until the source's log is applied up to there.
pub(super) async fn run(
    spec: &Arc<LinkSpec>,
    goal: Option<Position>,
    stop: &CancellationToken,
    pulse: &Arc<Pulse>,
    presence: &Presence,
    wish: &watch::Receiver<Option<Position>>,
) -> Result<()> {
    let mut described = Described::default();
    let mut is_ripe = false;
    loop {
        let taken = presence.during(spec, Link::take_over(spec, pulse)).await;
        let (mut link, mut nodes) = taken.map_err(|error| error.in_sync(&spec.sync))?;
        link.goal.clone_from(&goal);
        link.wish = wish.clone();
        let begun = presence.during(spec, link.begin_asked(&mut nodes, is_ripe)).await;
        if begun.map_err(|error| error.in_sync(&spec.sync))? {
            continue;
        }
        let outcome = link.session(nodes, stop, presence, &mut described).await;
        is_ripe = link.is_ripe;
        let next = match outcome {
            Ok(next) => next,
            Err(error) => {
                // Whoever takes a table up has mended it: it is compared with what comes then.
                match error.alone_table() {
                    Some(table) => {
                        described.remove(table);
                    }
                    None if link.phase.is_catching_up() => {
                        for table in link.phase.names(&spec.source.tables) {
                            described.remove(&table);
                        }
                    }
                    None => {}
                }
                let error = error.in_sync(&spec.sync);
                presence.during(spec, link.held_instead(error)).await?
            }
        };
        if next == Next::Done || stop.is_cancelled() {
            return Ok(());
        }
    }
}

/// Opens both ends for the tables of a phase; the catalogs are asked over the connections that took the link over.
/// `seq`: the checkpoint's.
async fn open(
    spec: &Arc<LinkSpec>,
    nodes: [Node; 2],
    phase: &Phase,
    seq: i64,
    described: Described,
) -> Result<(Planner, Source)> {
    let [mut source, mut target] = nodes;
    let (source_engine, target_engine) = (source.engine().await?, target.engine().await?);
    let (sources, targets) = (phase.names(&spec.source.tables), phase.names(&spec.target.tables));
    let source_tables = super::tables(&mut source, &sources, &spec.source.name).await?;
    let target_tables = super::tables(&mut target, &targets, &spec.target.name).await?;
    let stop = target.last_stop(&spec.sync, &spec.id).await?;
    source.close().await;
    target.close().await;
    let pairs = source_tables
        .iter()
        .zip(target_tables)
        .map(|(source, target)| (source.table.id.clone(), Arc::new(target.table.clone())));
    let known = source_tables
        .iter()
        .map(|table| Arc::new(table.table.clone()))
        .collect();
    let mut planner = Planner::new(spec, source_engine, target_engine, pairs.collect(), described);
    planner.counts(&source_tables);
    let options = SourceOptions {
        access: spec.source.access.clone(),
        sync: spec.sync.clone(),
        target: spec.target.name.clone(),
        tables: source_tables,
        mode: spec.mode,
        onward: spec.onward,
        fresh: false,
        spill: spec.limits.spill.clone(),
        stream: spec.limits.stream,
        keep: phase.keep.clone(),
    };
    planner.knows(known);
    let mut source = Source::open(spec.source.engine, options, &phase.from).await?;
    let stop = stop.filter(|stop| stop.seq == seq);
    if let Some(halt) = stop.and_then(|stop| stop.halt) {
        source.stopped_at(halt.transaction);
    }
    Ok((planner, source))
}

pub(crate) fn same_server(spec: &LinkSpec, checkpoint: &Checkpoint, identity: &str) -> Result<()> {
    if checkpoint.source_identity == identity {
        return Ok(());
    }
    Err(Error::definite(format!("resume link {}", spec.id))
        .node(&spec.source.name)
        .why(format!(
            "this is not the server that the checkpoint was made on: recorded {}, found {identity}",
            checkpoint.source_identity
        ))
        .hint(format!(
            "point the URL back to the recorded server; if this one takes its place, {NEW_COPY}"
        ))
        .reason(Reason::PositionLost))
}

/// How sources, which know no link's name, write the command that passes a transaction over.
const SKIP_IT: &str = "`tidelock skip` this transaction";

pub(super) struct Link {
    pub(super) spec: Arc<LinkSpec>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) applier: Applier,
    pub(super) phase: Phase,
    pub(super) holds_tables: bool,
    /// Copies held tables anew, while this session lasts.
    pub(super) copying: Option<AbortOnDropHandle<()>>,
    /// Where the log ended when it was noticed that tables are to be copied anew.
    pub(super) noticed: Option<(Position, Instant)>,
    pub(super) is_ripe: bool,
    /// By it the target is asked for wishes.
    pub(super) looker: Option<Node>,
    confirm: watch::Sender<Option<Position>>,
    goal: Option<Position>,
    wish: watch::Receiver<Option<Position>>,
    pub(super) pending: Pending,
    /// When what waits was tried last.
    pub(super) tried: Instant,
    /// When rows under other nodes' numbers were told of last, by the source's tables.
    strays_told: HashMap<TableId, Instant>,
}

/// What was read past the checkpoint (or, while held tables catch up, past their position) without anything to apply.
pub(super) struct Pending {
    pub(super) position: Position,
    bytes: u64,
    /// Of these, what Tidelock did not itself cause.
    foreign: u64,
    since: Instant,
}

impl Link {
    /// Fences whoever ran it, and finds out what is to be read. With the connections it asked over, source and target.
    async fn take_over(spec: &Arc<LinkSpec>, pulse: &Arc<Pulse>) -> Result<(Link, [Node; 2])> {
        let mut source = Node::connect(&spec.source.access, spec.source.engine).await?;
        let mut target = Node::connect(&spec.target.access, spec.target.engine).await?;
        for node in [&mut source, &mut target] {
            node.end_sessions(&spec.sync, &spec.id, &spec.instance).await?;
        }
        let mut writer = Target::open(spec.target.engine, &spec.target.access, spec.is_merge()).await?;
        let checkpoint = writer
            .take_over(&spec.sync, &spec.id, &spec.instance)
            .await?
            .filter(|checkpoint| checkpoint.seq >= 0);
        let checkpoint = checkpoint.ok_or_else(|| {
            Error::definite(format!("start link {}", spec.id))
                .node(&spec.target.name)
                .why("it has no checkpoint")
                .hint(NEW_COPY)
                .reason(Reason::PositionLost)
        })?;
        same_server(spec, &checkpoint, &source.server().await?.identity)?;
        let held = hold::noted(&mut target, spec, &checkpoint.position).await?;
        let phase = Phase::of(&spec.target.tables, &held, &checkpoint.position)?;
        hold::tell(spec, &phase, &held);
        info!(link = %spec.id, position = %phase.from, seq = checkpoint.seq, "streaming");
        pulse.streaming(&checkpoint.position, hold::summary(spec, &phase, &held));
        let mut applier = Applier::new(writer, Arc::clone(spec), checkpoint);
        applier.load().await?;
        applier.lacks(phase.without(&spec.target.tables, &held));
        if phase.is_catching_up() {
            applier.catches_up(phase.names(&spec.target.tables));
        }
        if phase.is_anew {
            applier.copies_later_rows();
        }
        let link = Link {
            spec: Arc::clone(spec),
            pulse: Arc::clone(pulse),
            applier,
            holds_tables: !held.is_empty(),
            copying: None,
            noticed: None,
            is_ripe: false,
            looker: None,
            confirm: watch::channel(None).0,
            goal: None,
            wish: watch::channel(None).1,
            pending: Pending {
                position: phase.from.clone(),
                bytes: 0,
                foreign: 0,
                since: Instant::now(),
            },
            phase,
            tried: Instant::now(),
            strays_told: HashMap::default(),
        };
        Ok((link, [source, target]))
    }

    async fn session(
        &mut self,
        nodes: [Node; 2],
        stop: &CancellationToken,
        presence: &Presence,
        described: &mut Described,
    ) -> Result<Next> {
        let spec = Arc::clone(&self.spec);
        let seq = self.applier.checkpoint().seq;
        let opened = open(&spec, nodes, &self.phase, seq, described.clone());
        let (mut planner, source) = presence.during(&spec, opened).await?;
        self.applier.knows(planner.target_keys());
        let bytes_max = spec.limits.group_bytes_max;
        let (receiver, reader) = reader::spawn(
            source,
            self.confirm.subscribe(),
            spec.guard(),
            Arc::clone(&self.pulse),
            bytes_max,
        );
        // Whoever drops this link drops its reader with it.
        let reader = AbortOnDropHandle::new(reader);
        let mut units = Collector::new(receiver, bytes_max);
        self.copy_anew(stop);
        let work = self.follow(&mut planner, &mut units, stop);
        let result = presence.during(&spec, work).await;
        reader.abort();
        // Wait for it, so that the slot is free when this link starts anew.
        let _ = reader.await;
        *described = planner.described();
        result
    }

    async fn follow(
        &mut self,
        planner: &mut Planner,
        units: &mut Collector,
        stop: &CancellationToken,
    ) -> Result<Next> {
        let mut look = tokio::time::interval(HELD_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut aside = tokio::time::interval(ASIDE_EVERY);
        aside.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self.looks_aside() {
            self.look_aside(planner).await?;
        }
        loop {
            // `run --once` does not come round again.
            let has_rested = self.tried.elapsed() >= DUE_AFTER || self.goal.is_some();
            if self.applier.is_due() && has_rested && !self.phase.is_catching_up() {
                self.try_again(planner).await?;
            }
            if let Some(next) = self.is_done().await? {
                return Ok(next);
            }
            if self.is_wished() {
                self.idle_checkpoint().await?;
                continue;
            }
            let deadline = self.pending.since + IDLE_AFTER;
            let watches = !self.phase.is_catching_up();
            let unit = tokio::select! {
                () = stop.cancelled() => return Ok(Next::Done),
                _ = look.tick(), if watches => {
                    if self.wants_again().await? {
                        return Ok(Next::Again);
                    }
                    continue;
                }
                _ = aside.tick(), if self.looks_aside() => {
                    self.look_aside(planner).await?;
                    continue;
                }
                () = tokio::time::sleep_until(deadline), if self.pending.foreign > 0 => {
                    self.idle_checkpoint().await?;
                    continue;
                }
                Ok(()) = self.wish.changed() => continue,
                unit = units.next() => unit.map_err(|error| self.halted(error, None))?,
            };
            match unit {
                Unit::Idle { position, foreign } => self.passed(position, foreign, foreign).await?,
                Unit::Whole(first) => {
                    let group = units.group(first, self.spec.limits.group_rows_max);
                    self.group(planner, group).await?;
                }
                Unit::Open(first) => {
                    if !self.large(planner, units, first, stop).await? {
                        // The rest of it is still to come and must not be taken for a transaction.
                        return Ok(Next::Done);
                    }
                }
            }
        }
    }

    /// Does somebody wait for a checkpoint that nothing else moves?
    fn is_wished(&self) -> bool {
        let wish = self.wish.borrow();
        let Some(wish) = wish.as_ref().filter(|_| !self.phase.is_catching_up()) else {
            return false;
        };
        let covers = |at: &Position| at.covers(wish).unwrap_or(false);
        covers(&self.pending.position) && !covers(&self.applier.checkpoint().position)
    }

    /// Has `run --once` seen what it came for, or have held tables caught up?
    async fn is_done(&mut self) -> Result<Option<Next>> {
        let goal = self.phase.until.as_ref().or(self.goal.as_ref());
        let Some(goal) = goal else { return Ok(None) };
        if !self.pending.position.covers(goal).map_err(hold::incomparable)? {
            return Ok(None);
        }
        if self.phase.is_catching_up() {
            self.caught_up().await?;
            return Ok(Some(Next::Again));
        }
        if self.pending.bytes > 0 {
            self.idle_checkpoint().await?;
        }
        if self.wants_again().await? {
            return Ok(Some(Next::Again));
        }
        Ok((!self.is_copying().await?).then_some(Next::Done))
    }

    /// Leaves out what is behind the end of a catch-up: the link has applied none of it yet.
    fn cut(&self, group: &mut Vec<Transaction>) -> Result<bool> {
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
    async fn group(&mut self, planner: &mut Planner, mut group: Vec<Transaction>) -> Result<()> {
        let is_over = self.cut(&mut group)?;
        self.whole(planner, group).await?;
        if let Some(until) = self.phase.until.clone().filter(|_| is_over) {
            self.pending.position = until;
        }
        Ok(())
    }

    /// Applies whole transactions as one, trying again where the cause passes. What stops it is found by applying them
    /// one by one, so that the checkpoint stands right before it.
    async fn whole(&mut self, planner: &mut Planner, mut group: Vec<Transaction>) -> Result<()> {
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
    pub(super) async fn look_again(&mut self, planner: &mut Planner) -> Result<bool> {
        let target = &self.spec.target;
        let mut node = Node::connect(&target.access, target.engine).await?;
        let sources = self.phase.names(&self.spec.source.tables);
        let tables = super::tables(&mut node, &self.phase.names(&target.tables), &target.name).await?;
        node.close().await;
        let pairs = sources.into_iter().zip(tables);
        let pairs = pairs.map(|(id, table)| (id, Arc::new(table.table.clone())));
        Ok(planner.renew(pairs.collect()))
    }

    /// Names the transaction that a link cannot get past, and the command that leaves it out.
    fn halted(&self, error: Error, halt: Option<Halt>) -> Error {
        if !is_of_the_data(&error) {
            return error;
        }
        let Some(mut halt) = halt.or_else(|| error.halt().cloned()) else {
            return error;
        };
        if halt.past.is_none() {
            let past = self.pending.position.after(&halt.transaction);
            halt.past = past.map(|position| position.to_string());
        }
        if halt.past.is_none() {
            return error;
        }
        if halt.tables.is_empty() {
            // A statement has no rows to tell them by.
            halt.tables.extend(error.alone_table().cloned());
        }
        let (sources, targets) = (&self.spec.source.tables, &self.spec.target.tables);
        for table in &mut halt.tables {
            let place = sources.iter().position(|source| source == table);
            if let Some(target) = place.and_then(|place| targets.get(place)) {
                table.clone_from(target);
            }
        }
        let skip = format!(
            "tidelock skip '{}' --at '{}'",
            self.spec.full_name(),
            halt.transaction
        );
        let hint = match error.hint_text() {
            Some(hint) if hint.contains(SKIP_IT) => hint.replace(SKIP_IT, &format!("`{skip} --execute`")),
            Some(hint) if hint.contains("tidelock skip") => hint.to_owned(),
            Some(hint) => format!("{hint}; `{skip}` shows what leaving this transaction out would lose"),
            None => format!(
                "`{skip}` shows what leaving this transaction out would lose; --execute leaves it out"
            ),
        };
        error.halted(halt).hint(hint)
    }

    async fn carried(&mut self, layers: &Layers, group: &[Transaction]) -> Result<()> {
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

    async fn try_group(&mut self, layers: &Layers, end: &Position) -> Result<Tally> {
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
    async fn large(
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
        info!(link = %self.spec.id, changes = tally.changes, pieces, "large transaction applied");
        self.pulse.skipped(filtered, unchanged + tally.noops);
        self.committed(end, tally, 1);
        self.visible(committed_at_us, ops);
        Ok(true)
    }

    /// A piece of a large transaction; what its values are refused for is looked at again first.
    async fn planned(&mut self, planner: &mut Planner, piece: &Transaction) -> Result<Layers> {
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

    fn visible(&self, committed_at_us: Option<i64>, ops: Ops) {
        // Echoes alone make nothing visible.
        if let Some(committed_at_us) = committed_at_us.filter(|_| ops.total() > 0) {
            self.pulse.visible(committed_at_us, ops);
        }
    }

    pub(super) fn committed(&mut self, position: Position, tally: Tally, transactions: usize) {
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
    fn strayed(&mut self, tally: &Tally) {
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
    async fn passed(&mut self, position: Position, bytes: u64, foreign: u64) -> Result<()> {
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

    pub(super) async fn idle_checkpoint(&mut self) -> Result<()> {
        let position = self.pending.position.clone();
        self.pulse.applying(None);
        self.applier.begin(&position).await?;
        let tally = self.applier.commit().await?;
        self.committed(position, tally, 0);
        Ok(())
    }
}

/// Did a transaction's contents cause it? Then it comes again, and the transaction can be left out.
fn is_of_the_data(error: &Error) -> bool {
    matches!(error.class(), Class::Definite | Class::Bug) && error.reason_kind() == Reason::Other
}

/// What a reader hands over; see `super::reader`.
pub(super) type Receiver = tokio::sync::mpsc::UnboundedReceiver<Result<Received>>;
