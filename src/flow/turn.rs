//! One sync, while this copy of the program holds its lease: first start, links, pauses, and the way back to waiting.
//!
//! Owns: what the gates of the lease mean for running work, and word on the target of why a link stopped.
//! Fails: with the first error that a person must see to; when another copy took a link, that is the error told,
//! whatever was met first.

use super::backoff::Backoff;
use super::collect::{self, Wishes};
use super::joining::{self, Tables};
use super::lease::{self, Gate, Held, View};
use super::presence::Presence;
use super::pulse::{Live, Pulse, State};
use super::rings::Rings;
use super::rounds::Rounds;
use super::spec::{LinkSpec, SyncSpec};
use super::{checked, end_of_log, keeping, link, poll, refuse_unlogged, watch_settings};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::model::operation::{Instance, Stop};
use crate::model::position::Position;
use crate::model::sync::Mode;
use crate::seed;
use crate::seed::join::Joining;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Leaving word of why a link stopped must not hold up the end.
const RECORD_MAX: Duration = Duration::from_secs(3);
/// An answer is contested again only by somebody who writes meanwhile.
const PASSES_MAX: u32 = 10;

/// What every sync of a run shares.
pub(super) struct Turn {
    pub(super) me: Instance,
    pub(super) once: bool,
    /// Cancelled by a signal and by the first failure.
    pub(super) work: CancellationToken,
    /// One first start at a time: the copy of one would hold up the slots of another.
    pub(super) first_starts: Arc<Mutex<()>>,
    /// What the syncs that have come so far are, for rings.
    pub(super) rings: Arc<std::sync::Mutex<Rings>>,
    pub(super) live: Arc<Live>,
}

/// The sync with its tables, the goal of each link that is to run, and who joins beside them.
struct Prepared {
    sync: SyncSpec,
    goals: Vec<Goal>,
    joining: Option<Joining>,
}

/// How the links of a sync ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Passed {
    Done,
    /// So that they begin again with a table or a node that joins.
    Joined,
    /// So that they begin again without this node.
    Left(String),
}

/// What all links of a pass share.
struct Beside {
    presence: Presence,
    wishes: Wishes,
    /// Ends the links.
    pass: CancellationToken,
    /// Ends what watches them.
    watch: CancellationToken,
    /// A node that is taken out of the sync.
    leaves: Arc<OnceLock<String>>,
}

impl Beside {
    /// The watch over settings, which also sees who leaves.
    fn settings(&self, sync: SyncSpec, begun: i64) -> impl Future<Output = Result<()>> + Send + 'static {
        let (presence, watch) = (self.presence.clone(), self.watch.clone());
        let (leaves, links) = (Arc::clone(&self.leaves), self.pass.clone());
        async move {
            watch_settings(&sync, &presence, &watch, begun, &leaves).await?;
            if leaves.get().is_some() {
                links.cancel();
            }
            Ok(())
        }
    }

    /// Why the links were ended, if they were.
    fn ended(&self) -> Option<Passed> {
        self.pass.is_cancelled().then(|| match self.leaves.get() {
            Some(name) => Passed::Left(name.clone()),
            None => Passed::Joined,
        })
    }
}

/// A link that is to run, and with `once` up to where: some have nothing to do in a pass.
#[derive(Debug, Clone)]
struct Goal {
    link: usize,
    until: Option<Position>,
}

impl Turn {
    /// Runs the sync, and when a node is taken out of it what is left: the leases of that node's links are given back.
    pub(super) async fn sync(&self, sync: &SyncSpec) -> Result<()> {
        let mut sync = sync.clone();
        while let Some(gone) = Box::pin(self.all(&sync)).await? {
            warn!(
                event = "node_leaves", sync = %sync.name, node = gone,
                "a node is taken out of the sync: its links end, and the others go on"
            );
            let left = sync.without(&gone);
            let why = format!("node {gone} is taken out of the sync");
            let stays = |link: &str| (0..left.links.len()).any(|index| left.link(index).id == link);
            for pulse in self.pulses(&sync).iter().filter(|pulse| !stays(&pulse.link)) {
                // On purpose, for whoever asks whether all is well.
                pulse.set(State::Paused, why.clone());
            }
            if left.links.is_empty() {
                return Ok(());
            }
            sync = left;
        }
        Ok(())
    }

    /// Stands by until the lease is ours, then runs the sync until it is told to stop, or the lease is lost. Returns a node
    /// that is taken out of it.
    async fn all(&self, sync: &SyncSpec) -> Result<Option<String>> {
        let mut backoff = Backoff::new(self.once.then_some(sync.limits.once_wait));
        let (ready, mut held) = loop {
            match self.take(sync).await {
                Ok(Some(taken)) => break taken,
                Ok(None) => return Ok(None),
                Err(error) => {
                    if !self.wait(&mut backoff, sync, error).await? {
                        return Ok(None);
                    }
                }
            }
        };
        let view = held.view.clone();
        // On loss this is dropped where it stands, and its connections with it: nothing more is written.
        let outcome = tokio::select! {
            outcome = Box::pin(self.passes(sync, ready, &view)) => outcome,
            lost = held.lost() => Err(lost),
        };
        let outcome = match outcome {
            Ok(left) => Ok(left),
            Err(error) => Err(view.cause(error).await.in_sync(&sync.name)),
        };
        held.release().await;
        outcome
    }

    /// The sync, checked, and its lease. `None`: told to stop.
    async fn take(&self, sync: &SyncSpec) -> Result<Option<(SyncSpec, Held)>> {
        let mut ready = checked(sync, &self.rings).await?;
        let Some(held) = lease::stand_by(sync, &self.me, self.once, &self.work, &self.live).await? else {
            return Ok(None);
        };
        self.tell(sync, State::Starting, "");
        if held.has_waited {
            ready = match checked(sync, &self.rings).await {
                Ok(ready) => ready,
                Err(error) => {
                    held.release().await;
                    return Err(error);
                }
            };
        }
        Ok(Some((ready, held)))
    }

    fn pulses(&self, sync: &SyncSpec) -> Vec<Arc<Pulse>> {
        let links = (0..sync.links.len()).map(|index| sync.link(index));
        links.map(|link| self.live.of(&link.sync, &link.id)).collect()
    }

    fn tell(&self, sync: &SyncSpec, state: State, why: &str) {
        self.pulses(sync).iter().for_each(|pulse| pulse.set(state, why));
    }

    /// `false`: told to stop.
    async fn wait(&self, backoff: &mut Backoff, sync: &SyncSpec, error: Error) -> Result<bool> {
        let what = format!("sync {}", sync.name);
        backoff.wait(&what, error, &self.pulses(sync), &self.work).await
    }

    /// The links, and again from the beginning where a table or a node joins.
    async fn passes(&self, sync: &SyncSpec, ready: SyncSpec, view: &View) -> Result<Option<String>> {
        let mut ready = Some(ready);
        loop {
            match Box::pin(self.links(sync, ready.take(), view)).await? {
                Passed::Joined => {}
                Passed::Left(name) => return Ok(Some(name)),
                Passed::Done => return Ok(None),
            }
        }
    }

    /// First start, then the links and the watch over settings, until the links have ended. With `once`, again the links
    /// from where they left something for others: answers of our own, or at a hub whatever they applied.
    async fn links(&self, declared: &SyncSpec, ready: Option<SyncSpec>, view: &View) -> Result<Passed> {
        // The nodes were checked right before.
        let begun = jiff::Timestamp::now().as_microsecond();
        let Some(prepared) = self.first_start(declared, ready, view).await? else {
            return Ok(Passed::Done);
        };
        let Prepared {
            sync,
            mut goals,
            joining,
        } = prepared;
        let beside = Beside {
            presence: Presence::new(sync.nodes.iter()),
            wishes: Wishes::new(&sync),
            pass: self.work.child_token(),
            watch: CancellationToken::new(),
            leaves: Arc::default(),
        };
        let _over = beside.watch.clone().drop_guard();
        let mut others = JoinSet::new();
        for link in goals.iter().map(|goal| sync.link(goal.link)) {
            let pulse = self.live.of(&sync.name, &link.id);
            others.spawn(keeping::run(Arc::clone(&link), beside.watch.clone()));
            others.spawn(poll::run(link, pulse, beside.watch.clone()));
        }
        self.watch_members(declared, &sync, joining, &beside, &mut others);
        others.spawn(beside.settings(sync.clone(), begun));
        for _ in 0..PASSES_MAX {
            let before = self.left(&sync);
            let mut links = JoinSet::new();
            for Goal { link, until } in goals {
                let run = Run {
                    spec: sync.link(link),
                    once: self.once,
                    goal: until,
                    stop: beside.pass.clone(),
                    pulse: self.live.of(&sync.name, &sync.link(link).id),
                    presence: beside.presence.clone(),
                    wish: beside.wishes.of(&sync.link(link).id),
                    view: view.clone(),
                };
                links.spawn(async move { run.supervise().await });
            }
            self.ended(links, &mut others).await?;
            if let Some(passed) = beside.ended().filter(|_| !self.work.is_cancelled()) {
                return Ok(passed);
            }
            if !self.once || self.work.is_cancelled() {
                return Ok(Passed::Done);
            }
            let after = self.left(&sync);
            let has_left = |link: &usize| before[*link] != after[*link];
            let news: BTreeSet<usize> = (0..sync.links.len())
                .filter(has_left)
                .map(|link| sync.links[link].1)
                .collect();
            if news.is_empty() {
                return Box::pin(refuse_unlogged(&sync)).await.map(|()| Passed::Done);
            }
            info!(sync = %sync.name, "going on until what was written for others is carried over too");
            goals = self.goals(&sync, Some(&news)).await?;
        }
        Err(Error::definite(format!("run sync {} once", sync.name))
            .why("rows were contested again and again, and the last answers to them are not carried over")
            .hint("tidelock run --once"))
    }

    /// Who comes and what, and what is collected while nobody does.
    fn watch_members(
        &self,
        declared: &SyncSpec,
        sync: &SyncSpec,
        joining: Option<Joining>,
        beside: &Beside,
        others: &mut JoinSet<Result<()>>,
    ) {
        match joining {
            // What it is told by the log, and what by tombstones, must not change places while it is filled.
            Some(joining) => {
                let joins = joining::Node {
                    sync: sync.clone(),
                    joining,
                    wishes: beside.wishes.clone(),
                    live: Arc::clone(&self.live),
                    first_starts: Arc::clone(&self.first_starts),
                    once: self.once,
                    links: beside.pass.clone(),
                };
                others.spawn(joins.run(beside.watch.clone()));
            }
            None if sync.mode == Mode::Merge => {
                others.spawn(collect::run(
                    sync.clone(),
                    beside.wishes.clone(),
                    beside.watch.clone(),
                ));
            }
            None => {}
        }
        if !sync.choice.is_fixed() {
            let tables = Tables {
                declared: declared.clone(),
                running: sync.clone(),
                links: beside.pass.clone(),
            };
            others.spawn(tables.run(beside.watch.clone()));
        }
    }

    /// By link: so much did it write on its target that is for other nodes.
    fn left(&self, sync: &SyncSpec) -> Vec<u64> {
        let pulses = self.pulses(sync);
        let links = sync.links.iter().zip(&pulses);
        let each = links.map(|((_, target), pulse)| match sync.hub == Some(*target) {
            true => pulse.figures.rows.load(Ordering::Relaxed),
            false => pulse.figures.answers.load(Ordering::Relaxed),
        });
        each.collect()
    }

    /// Until all links have ended; the first error stops the others.
    async fn ended(&self, mut links: JoinSet<Result<()>>, others: &mut JoinSet<Result<()>>) -> Result<()> {
        let mut first = Ok(());
        loop {
            let joined = tokio::select! {
                joined = links.join_next() => match joined {
                    None => return first,
                    Some(joined) => joined,
                },
                Some(joined) = others.join_next() => joined,
            };
            let result = joined.unwrap_or_else(|error| Err(Error::bug("run a link").because(error)));
            if let Err(error) = result {
                self.work.cancel();
                first = first.and(Err(error));
            }
        }
    }

    /// Brings the sync to where its links can start, and waits for databases that are away. A lease that may be over
    /// breaks it off; it begins again when the lease is certain. `None`: told to stop.
    async fn first_start(
        &self,
        sync: &SyncSpec,
        mut ready: Option<SyncSpec>,
        view: &View,
    ) -> Result<Option<Prepared>> {
        let mut backoff = Backoff::new(self.once.then_some(sync.limits.once_wait));
        loop {
            tokio::select! {
                () = self.work.cancelled() => return Ok(None),
                () = view.all_ours() => {}
            }
            let attempt = async {
                self.wait_for_paused(sync, view).await?;
                let sync = match ready.take() {
                    Some(ready) => ready,
                    None => checked(sync, &self.rings).await?,
                };
                if let Some(joining) = seed::join::joining(&sync).await? {
                    let goals = joining.links.iter().map(|link| Goal {
                        link: *link,
                        until: None,
                    });
                    return Ok(Prepared {
                        goals: goals.collect(),
                        joining: Some(joining),
                        sync,
                    });
                }
                // Images need no start: each brings all there is.
                if sync.mode != Mode::Snapshot {
                    let _alone = self.first_starts.lock().await;
                    Box::pin(seed::start(&sync, &self.work, &self.live)).await?;
                }
                let goals = self.goals(&sync, None).await?;
                Ok(Prepared {
                    sync,
                    goals,
                    joining: None,
                })
            };
            let outcome = tokio::select! {
                outcome = attempt => outcome,
                () = view.one_closed() => continue,
            };
            match outcome {
                Ok(_) if self.work.is_cancelled() => return Ok(None),
                Ok(prepared) => return Ok(Some(prepared)),
                Err(error) => {
                    if !self.wait(&mut backoff, sync, error).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// `news`: only links from these nodes.
    async fn goals(&self, sync: &SyncSpec, news: Option<&BTreeSet<usize>>) -> Result<Vec<Goal>> {
        let mut goals = Vec::with_capacity(sync.links.len());
        for (link, (source, _)) in sync.links.iter().enumerate() {
            if news.is_some_and(|news| !news.contains(source)) {
                continue;
            }
            let reads_log = sync.mode != Mode::Snapshot;
            let until = match self.once && reads_log && !self.work.is_cancelled() {
                true => Some(end_of_log(&sync.nodes[*source]).await?),
                false => None,
            };
            goals.push(Goal { link, until });
        }
        Ok(goals)
    }

    /// A paused link gets no first copy either.
    async fn wait_for_paused(&self, sync: &SyncSpec, view: &View) -> Result<()> {
        while let Some(link) = view.paused().first() {
            if self.once {
                return Err(refuse_paused(link));
            }
            if has_started(sync).await? || seed::join::joining(sync).await?.is_some() {
                return Ok(());
            }
            let why = "the first start waits until no link of the sync is paused";
            warn!(sync = %sync.name, link = %link.id, "{why}");
            self.tell(sync, State::Paused, why);
            tokio::select! {
                () = self.work.cancelled() => return Ok(()),
                _ = view.changed(&link.id, Gate::Paused) => {}
            }
        }
        Ok(())
    }
}

fn refuse_paused(link: &LinkSpec) -> Error {
    Error::definite(format!("run link {} once", link.id))
        .why("it is paused")
        .hint(format!("tidelock resume '{}'", link.full_name()))
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

/// A link that runs.
struct Run {
    spec: Arc<LinkSpec>,
    once: bool,
    goal: Option<Position>,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
    presence: Presence,
    /// How far the checkpoint is wanted, though nothing is to be applied.
    wish: watch::Receiver<Option<Position>>,
    view: View,
}

enum Ended {
    Done,
    GateShut,
}

impl Run {
    /// Starts the link again for as long as its errors are of the kind that passes, and holds it while its gate is
    /// not open.
    async fn supervise(&self) -> Result<()> {
        let mut backoff = Backoff::new(self.once.then_some(self.spec.limits.once_wait));
        while self.opened().await? {
            let error = match self.held().await {
                Ok(Ended::Done) => {
                    self.pulse.set(State::Stopped, "");
                    return Ok(());
                }
                Ok(Ended::GateShut) => continue,
                Err(error) => self.view.cause(error).await,
            };
            if !error.is_transient() {
                record_stop(&self.spec, &error).await;
            }
            let shown = std::slice::from_ref(&self.pulse);
            if !backoff.wait(&self.spec.id, error, shown, &self.stop).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for the link's gate. `false`: told to stop.
    async fn opened(&self) -> Result<bool> {
        let (link, mut gate) = (&self.spec.id, self.view.gate(&self.spec.id));
        let mut has_waited = false;
        while gate != Gate::Open {
            has_waited = true;
            if gate == Gate::Paused {
                if self.once {
                    return Err(refuse_paused(&self.spec));
                }
                info!(event = "paused", link, "the link rests until `tidelock resume`");
                self.pulse.set(State::Paused, "an operator paused it");
            } else {
                let node = &self.spec.target.name;
                let why = format!(
                    "node {node} has not renewed the link's lease in time: nothing is written before"
                );
                self.pulse.set(State::Waiting, why);
            }
            gate = tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                gate = self.view.changed(link, gate) => gate,
            };
        }
        if has_waited {
            info!(event = "resumed", link, "the link goes on");
        }
        Ok(true)
    }

    /// Runs the link while its gate is open. Paused, it finishes its group; without a certain lease it is dropped at
    /// once.
    async fn held(&self) -> Result<Ended> {
        let turn = self.stop.child_token();
        let mut work = Box::pin(self.work(&turn));
        let mut gate = Gate::Open;
        loop {
            tokio::select! {
                biased;
                now = self.view.changed(&self.spec.id, gate) => {
                    gate = now;
                    match gate {
                        Gate::Open => {}
                        Gate::Paused => turn.cancel(),
                        Gate::Closed => return Ok(Ended::GateShut),
                    }
                }
                result = &mut work => {
                    return result.map(|()| match turn.is_cancelled() && !self.stop.is_cancelled() {
                        true => Ended::GateShut,
                        false => Ended::Done,
                    });
                }
            }
        }
    }
}

impl Run {
    /// All the time, or in rounds.
    async fn work(&self, turn: &CancellationToken) -> Result<()> {
        let goal = self.goal.clone();
        let Some(every) = self.spec.every else {
            let run = link::run(&self.spec, goal, turn, &self.pulse, &self.presence, &self.wish);
            return Box::pin(run).await;
        };
        let rounds = Rounds {
            spec: &self.spec,
            pulse: &self.pulse,
            presence: &self.presence,
            wish: &self.wish,
            once: self.once,
            goal,
        };
        rounds.run(every, turn).await
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
    match tokio::time::timeout(RECORD_MAX, record).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(link = %spec.id, %error, "the reason of the stop is not recorded on the target");
        }
        Err(_) => warn!(link = %spec.id, "the reason of the stop is not recorded on the target in time"),
    }
}
