//! Runs syncs: lease, first start, links, their supervision, and the watch over settings.
//!
//! Owns: what happens to an error. Transient ones make the link start anew after a pause; all others stop the whole
//! run, because a two-way sync with one dead direction only drifts apart.

mod apply;
mod group;
pub mod instance;
pub mod lag;
mod lease;
mod link;
pub(crate) mod planner;
mod poll;
pub mod pulse;
mod reader;
mod record;
pub mod skip;
pub mod spec;

pub(crate) use apply::Applier;
pub(crate) use link::same_server;

use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::model::operation::{Instance, Stop};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Finding, Level};
use crate::seed;
use lease::{Gate, View};
use pulse::{Live, Pulse, State};
use spec::{LinkSpec, NodeSpec, SyncSpec};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Pause before a link starts anew; doubled each time up to the greatest.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A link that ran this long has recovered: its next failure starts with the shortest pause again.
const RECOVERED_AFTER: Duration = Duration::from_secs(30);
/// How often the settings that may change under us are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// Links get this long to finish their group when the run stops.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// Leaving word of why a link stopped must not hold up the end.
const RECORD_MAX: Duration = Duration::from_secs(3);

/// Runs all links of all syncs until `stop` or the first error that a person must see to. With `once`: until each
/// source's log is applied up to where it stood at the start. What happens shows in `live`.
pub async fn run(syncs: &[SyncSpec], once: bool, stop: &CancellationToken, live: &Arc<Live>) -> Result<()> {
    let me = instance::own();
    let work = stop.child_token();
    let first_starts = Arc::new(Mutex::new(()));
    let mut tasks = JoinSet::new();
    for sync in syncs {
        let mut sync = sync.clone();
        sync.instance.clone_from(&me.id);
        let turn = Turn {
            me: me.clone(),
            once,
            work: work.clone(),
            first_starts: Arc::clone(&first_starts),
            live: Arc::clone(live),
        };
        tasks.spawn(async move { Box::pin(turn.sync(&sync)).await });
    }
    finish(tasks, &work).await
}

/// Waits for the syncs; the first error stops the others.
async fn finish(mut tasks: JoinSet<Result<()>>, work: &CancellationToken) -> Result<()> {
    let mut first = Ok(());
    let deadline = async {
        work.cancelled().await;
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::pin!(deadline);
    loop {
        let joined = tokio::select! {
            joined = tasks.join_next() => joined,
            () = &mut deadline => {
                warn!("links did not finish in time and are dropped: what is not committed is applied at the next start");
                return first;
            }
        };
        let Some(joined) = joined else { return first };
        let result = joined.unwrap_or_else(|error| Err(Error::bug("run a sync").because(error)));
        if let Err(error) = result {
            work.cancel();
            if first.is_ok() {
                first = Err(error);
            }
        }
    }
}

/// What every sync of a run shares.
struct Turn {
    me: Instance,
    once: bool,
    /// Cancelled by a signal and by the first failure.
    work: CancellationToken,
    /// One first start at a time: the copy of one would hold up the slots of another.
    first_starts: Arc<Mutex<()>>,
    live: Arc<Live>,
}

impl Turn {
    /// One sync, as long as this copy holds its lease.
    async fn sync(&self, sync: &SyncSpec) -> Result<()> {
        ready(sync).await?;
        self.tell(sync, State::Standby, "another copy runs it");
        let held = lease::stand_by(sync, &self.me, self.once, &self.work).await?;
        let Some(mut held) = held else { return Ok(()) };
        self.tell(sync, State::Starting, "");
        let view = held.view.clone();
        let checked_before = !held.has_waited;
        // On loss this is dropped where it stands, and its connections with it: nothing more is written.
        let outcome = tokio::select! {
            outcome = self.links(sync, &view, checked_before) => outcome,
            lost = held.lost() => Err(lost),
        };
        let outcome = match outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(view.cause(error).await),
        };
        held.release().await;
        outcome
    }

    fn tell(&self, sync: &SyncSpec, state: State, why: &str) {
        for index in 0..sync.links.len() {
            let link = sync.link(index);
            self.live.of(&link.sync, &link.id).set(state, why);
        }
    }

    /// First start, then the links and the watch over settings, until the links have ended.
    async fn links(&self, sync: &SyncSpec, view: &View, checked_before: bool) -> Result<()> {
        if !checked_before {
            ready(sync).await?;
        }
        if !self.first_start(sync, view).await? {
            return Ok(());
        }
        let watch = CancellationToken::new();
        let _over = watch.clone().drop_guard();
        let (mut links, mut others) = (JoinSet::new(), JoinSet::new());
        for index in 0..sync.links.len() {
            let link = sync.link(index);
            let goal = match self.once {
                true => Some(end_of_log(&link.source).await?),
                false => None,
            };
            let (stop, view) = (self.work.clone(), view.clone());
            let pulse = self.live.of(&link.sync, &link.id);
            others.spawn(poll::run(Arc::clone(&link), Arc::clone(&pulse), watch.clone()));
            links.spawn(async move { supervise(&link, goal, &stop, &pulse, &view).await });
        }
        let (watched, stop) = (sync.clone(), watch.clone());
        others.spawn(async move { watch_settings(&watched, &stop).await });
        let mut first = Ok(());
        loop {
            let joined = tokio::select! {
                joined = links.join_next() => match joined {
                    None => return first,
                    joined => joined,
                },
                Some(joined) = others.join_next() => Some(joined),
            };
            let result = joined.map_or(Ok(()), |joined| {
                joined.unwrap_or_else(|error| Err(Error::bug("run a link").because(error)))
            });
            if let Err(error) = result {
                self.work.cancel();
                first = first.and(Err(error));
            }
        }
    }

    /// `false`: told to stop. A lease that may be over breaks it off; it begins again when the lease is certain.
    async fn first_start(&self, sync: &SyncSpec, view: &View) -> Result<bool> {
        loop {
            tokio::select! {
                () = self.work.cancelled() => return Ok(false),
                () = view.all_ours() => {}
            }
            let paused = view.paused();
            if let Some(link) = paused.first() {
                if self.once {
                    return Err(refuse_paused(link));
                }
                if !has_started(sync).await? {
                    let why = "the first start waits until no link of the sync is paused";
                    warn!(sync = %sync.name, link = %link.id, "{why}");
                    self.tell(sync, State::Paused, why);
                    tokio::select! {
                        () = self.work.cancelled() => return Ok(false),
                        _ = view.changed(&link.id, Gate::Paused) => continue,
                    }
                }
            }
            let start = async {
                let _alone = self.first_starts.lock().await;
                Box::pin(seed::start(sync, &self.work, &self.live)).await
            };
            tokio::select! {
                started = start => return started.map(|()| !self.work.is_cancelled()),
                () = view.one_closed() => {}
            }
        }
    }
}

fn refuse_paused(link: &LinkSpec) -> Error {
    Error::definite(format!("run link {} once", link.id))
        .why("it is paused")
        .hint(format!("tidelock resume '{}'", link.id))
        .reason(Reason::Refused)
}

/// Has every link a checkpoint to go on from?
async fn has_started(sync: &SyncSpec) -> Result<bool> {
    for index in 0..sync.links.len() {
        let link = sync.link(index);
        let mut target = Node::connect(&link.target.access, link.target.engine).await?;
        let status = target.link_status(&link.sync, &link.id).await?;
        if status.checkpoint.is_none_or(|checkpoint| checkpoint.seq < 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Starts a link again for as long as its errors are of the kind that passes, and holds it while its gate is not open.
async fn supervise(
    spec: &Arc<LinkSpec>,
    goal: Option<Position>,
    stop: &CancellationToken,
    pulse: &Arc<Pulse>,
    view: &View,
) -> Result<()> {
    let mut pause = PAUSE_MIN;
    loop {
        if !opened(spec, stop, pulse, view, goal.is_some()).await? {
            return Ok(());
        }
        let started = Instant::now();
        let error = match held_run(spec, goal.clone(), stop, pulse, view).await {
            Ok(Ended::Done) => {
                pulse.set(State::Stopped, "");
                return Ok(());
            }
            Ok(Ended::GateShut) => continue,
            Err(error) if error.is_transient() => error,
            Err(error) => {
                let error = view.cause(error).await;
                pulse.failed(&error, None);
                record_stop(spec, &error).await;
                return Err(error);
            }
        };
        if started.elapsed() > RECOVERED_AFTER {
            pause = PAUSE_MIN;
        }
        pulse.failed(&error, Some(pause));
        warn!(link = %spec.id, %error, hint = error.hint_text(), retry_in_ms = pause.as_millis() as u64, "link interrupted");
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits for the link's gate. `false`: told to stop.
async fn opened(
    spec: &Arc<LinkSpec>,
    stop: &CancellationToken,
    pulse: &Arc<Pulse>,
    view: &View,
    once: bool,
) -> Result<bool> {
    let mut gate = view.gate(&spec.id);
    while gate != Gate::Open {
        if gate == Gate::Paused {
            if once {
                return Err(refuse_paused(spec));
            }
            info!(event = "paused", link = %spec.id, "the link rests until `tidelock resume`");
            pulse.set(State::Paused, "an operator paused it");
        } else {
            pulse.set(
                State::Waiting,
                "its lease may be over and has to be renewed first",
            );
        }
        gate = tokio::select! {
            () = stop.cancelled() => return Ok(false),
            gate = view.changed(&spec.id, gate) => gate,
        };
        if gate == Gate::Open {
            info!(event = "resumed", link = %spec.id, "the link goes on");
        }
    }
    Ok(true)
}

enum Ended {
    Done,
    GateShut,
}

/// Runs the link while its gate is open. Paused, it finishes its group; without a certain lease it is dropped at once.
async fn held_run(
    spec: &Arc<LinkSpec>,
    goal: Option<Position>,
    stop: &CancellationToken,
    pulse: &Arc<Pulse>,
    view: &View,
) -> Result<Ended> {
    let turn = stop.child_token();
    let mut work = Box::pin(link::run(spec, goal, &turn, pulse));
    let mut gate = Gate::Open;
    loop {
        tokio::select! {
            biased;
            now = view.changed(&spec.id, gate) => {
                gate = now;
                match gate {
                    Gate::Open => {}
                    Gate::Paused => turn.cancel(),
                    Gate::Closed => return Ok(Ended::GateShut),
                }
            }
            result = &mut work => {
                return result.map(|()| match turn.is_cancelled() && !stop.is_cancelled() {
                    true => Ended::GateShut,
                    false => Ended::Done,
                });
            }
        }
    }
}

/// Leaves word on the target of why the link stopped, for whoever asks from another machine.
async fn record_stop(spec: &LinkSpec, error: &Error) {
    if matches!(error.reason_kind(), Reason::Fenced | Reason::Refused) {
        return;
    }
    let record = async {
        let mut target = Node::connect(&spec.target.access, spec.target.engine).await?;
        let status = target.link_status(&spec.sync, &spec.id).await?;
        let stop = Stop {
            error: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
            seq: status.checkpoint.map_or(-1, |checkpoint| checkpoint.seq),
            halt: error.halt().cloned(),
            age_ms: 0,
        };
        target.record_stop(&spec.sync, &spec.id, &stop).await
    };
    let recorded = tokio::time::timeout(RECORD_MAX, record).await;
    match recorded {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(link = %spec.id, %error, "the reason of the stop is not recorded on the target")
        }
        Err(_) => warn!(link = %spec.id, "the reason of the stop is not recorded on the target in time"),
    }
}

/// Refuses to start on a node that `check` has blockers for.
async fn ready(sync: &SyncSpec) -> Result<()> {
    // A wrong URL of one node shows in what the others have recorded of it: tell the cause, not its traces.
    let mut nodes = Vec::with_capacity(sync.nodes.len());
    for spec in &sync.nodes {
        nodes.push(Node::connect(&spec.access, spec.engine).await?);
    }
    for (index, (spec, node)) in sync.nodes.iter().zip(&mut nodes).enumerate() {
        refuse_blockers("start", spec, node.check(&sync.scope(index)).await?)?;
    }
    Ok(())
}

fn refuse_blockers(doing: &str, node: &NodeSpec, findings: Vec<Finding>) -> Result<()> {
    let blockers: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| finding.level == Level::Blocker)
        .collect();
    let Some(first) = blockers.first() else {
        return Ok(());
    };
    let whats: Vec<String> = blockers
        .iter()
        .map(|finding| {
            let table = finding
                .table
                .as_ref()
                .map_or(String::new(), |table| format!("{table}: "));
            format!("{} {table}{}", finding.code, finding.what)
        })
        .collect();
    let fix = first.fix.clone().unwrap_or_else(|| "tidelock check".to_owned());
    let reason = match first.code == Finding::LOST {
        true => Reason::PositionLost,
        false => Reason::Blocked,
    };
    Err(Error::definite(doing)
        .node(&node.name)
        .why(whats.join("; "))
        .hint(fix)
        .reason(reason))
}

/// Settings are dynamic: what was right at the start may be changed while we read.
async fn watch_settings(sync: &SyncSpec, stop: &CancellationToken) -> Result<()> {
    let mut nodes: Vec<Option<Node>> = sync.nodes.iter().map(|_| None).collect();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
        for (index, slot) in nodes.iter_mut().enumerate() {
            let spec = &sync.nodes[index];
            // A lost connection is the links' business; here it is only opened again.
            if slot.is_none() {
                *slot = Node::connect(&spec.access, spec.engine).await.ok();
            }
            let Some(node) = slot else { continue };
            match node.settings(&sync.scope(index)).await {
                Ok(findings) => refuse_blockers("go on", spec, findings)?,
                Err(_) => *slot = None,
            }
        }
    }
}

async fn end_of_log(spec: &NodeSpec) -> Result<Position> {
    let position = Node::connect(&spec.access, spec.engine).await?.barrier().await?;
    info!(node = %spec.name, %position, "running once, up to here");
    Ok(position)
}

/// The catalog's view of a node's tables; all must be there.
pub(crate) async fn tables(node: &mut Node, ids: &[TableId], name: &str) -> Result<Vec<Arc<CatalogTable>>> {
    let found = node.catalog(ids).await?;
    ids.iter()
        .zip(found)
        .map(|(id, table)| {
            table.map(Arc::new).ok_or_else(|| {
                Error::definite("find it")
                    .node(name)
                    .table(id)
                    .why("it does not exist")
                    .hint("create it as `tidelock check` shows, or take it out of the sync's `tables`")
            })
        })
        .collect()
}
