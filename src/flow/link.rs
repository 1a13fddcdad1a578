//! One link: read -> loop guard -> plan -> group -> apply -> confirm.
//!
//! Owns: the group loop, and the sessions it lives in. [`carry`] brings a group into the target, [`moved`] is where the link
//! stands then, or when nothing is to be applied, [`halt`] names what it cannot get past.
//! Grouping needs no timer: while one commit is in flight the reader collects; the next group is what has come.
//! Fails: with the first error that trying the group again does not cure; `super::turn` decides what then.

mod carry;
mod halt;
mod moved;

use super::anew::{asking, conditions};
use super::apply::Applier;
use super::group::{Collector, Unit};
use super::hold::{self, Phase};
use super::planner::{Described, Planner};
use super::presence::Presence;
use super::pulse::Pulse;
use super::reader::{self, Received};
use super::spec::LinkSpec;
use crate::access::SourceOptions;
use crate::engine::{Node, Source, Target};
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::Checkpoint;
use foldhash::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// The same by time, for log that Tidelock did not itself cause.
const IDLE_AFTER: Duration = Duration::from_secs(300);

/// Looked at so often while tables are held: does an operator want one taken up?
const HELD_EVERY: Duration = Duration::from_secs(3);

/// What waits is tried again, and what was noted for this link is looked at.
const ASIDE_EVERY: Duration = Duration::from_secs(3);

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
    let source_tables = super::tables(&mut source, &sources, &spec.source).await?;
    let target_tables = super::tables(&mut target, &targets, &spec.target).await?;
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
        let spec = &match phase.is_anew {
            true => Arc::new(asking(LinkSpec::clone(spec), conditions(&held))?),
            false => Arc::clone(spec),
        };
        let mut applier = Applier::new(writer, Arc::clone(spec), checkpoint);
        applier.load().await?;
        applier.stands_apart_from(phase.apart(&spec.target.tables, &held));
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
            if self.goal.is_some() && !self.phase.is_catching_up() {
                self.try_each(planner).await?;
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
}

/// What a reader hands over; see `super::reader`.
pub(super) type Receiver = tokio::sync::mpsc::UnboundedReceiver<Result<Received>>;
