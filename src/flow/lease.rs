//! The lease: of several copies of the program, one runs the links of a sync, and the others stand by.
//!
//! Owns: taking a sync's links as a whole, keeping them, saying in time that one may be lost, giving them back.
//! The row lies on the link's target and its time is that server's; each renewal says what `status` shows of the link; what protects the rows is not the lease but the
//! epoch of the checkpoint, which only the holder raises (`Target::take_over`).
//! Fails: `Reason::Fenced` when another copy has taken a link. A lease that could not be renewed closes the link's
//! gate before its time is over, by our own clock, and opens it again if nobody came meanwhile.
//!
//! Links are taken in the order of their names, all or none: two copies can never hold one direction each.

use super::figures::Figures;
use super::instance;
use super::pulse::{Live, Pulse, State};
use super::spec::{LinkSpec, SyncSpec};
use crate::access::Access;
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::model::operation::{Instance, Lease, Renewal, not_leased};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A copy that stands by looks at least this often.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(2);
/// How often it says that it still stands by.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Giving a lease back is a courtesy and must not hold up the end.
const RELEASE_MAX: Duration = Duration::from_secs(2);
/// A renewal that has to connect first.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Asking who took a link, when something else has failed.
const ASK_MAX: Duration = Duration::from_secs(5);

/// May a link run?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// Somebody wants it to rest.
    Paused,
    /// The lease may be over: nothing may be written any more.
    Closed,
}

/// What the flows of a sync see of its lease.
#[derive(Clone)]
pub(super) struct View {
    links: Vec<Arc<LinkSpec>>,
    gates: Vec<watch::Receiver<Gate>>,
}

/// The lease of all links of a sync.
pub(super) struct Held {
    pub(super) view: View,
    /// Somebody else had it first, and time has passed.
    pub(super) has_waited: bool,
    keepers: JoinSet<Result<()>>,
    over: CancellationToken,
}

/// Whoever holds one of the links.
struct Other {
    link: String,
    lease: Lease,
}

enum Attempt {
    /// When the shortest of the leases began, by our clock.
    Taken(Instant),
    Held(Other),
}

/// Waits until this copy holds all links of the sync, and tells `live` why it does not. `None`: told to stop
/// meanwhile. `once`: refuses instead.
pub(super) async fn stand_by(
    sync: &SyncSpec,
    me: &Instance,
    once: bool,
    stop: &CancellationToken,
    live: &Live,
) -> Result<Option<Held>> {
    let mut links: Vec<Arc<LinkSpec>> = (0..sync.links.len()).map(|index| sync.link(index)).collect();
    links.sort_by(|one, other| one.id.cmp(&other.id));
    let pulses: Vec<Arc<Pulse>> = links.iter().map(|link| live.of(&link.sync, &link.id)).collect();
    let standby = |why: &str| pulses.iter().for_each(|pulse| pulse.set(State::Standby, why));
    let mut nodes: Vec<Option<Node>> = links.iter().map(|_| None).collect();
    let mut said: Option<Instant> = None;
    loop {
        let other = match attempt(&links, &mut nodes, me).await {
            Ok(Attempt::Taken(began)) => {
                let has_waited = said.is_some();
                let keepers = links.into_iter().zip(pulses).zip(nodes);
                return Held::new(keepers, me, began, has_waited).await.map(Some);
            }
            Ok(Attempt::Held(other)) if once => return Err(refused(&other)),
            Ok(Attempt::Held(other)) => Some(other),
            // A copy that stands by outlives what the databases go through.
            Err(error) if said.is_some() && error.is_transient() => {
                warn!(sync = %sync.name, %error, "standing by, and a database does not answer");
                standby(&format!("stands by, and does not know for whom: {error}"));
                nodes.iter_mut().for_each(|node| *node = None);
                None
            }
            Err(error) => return Err(error),
        };
        let mut pause = LOOK_EVERY_MAX.min(sync.limits.lease_ttl / 3);
        if let Some(other) = other {
            let left = Duration::from_millis(other.lease.left_ms.max(1).unsigned_abs());
            pause = pause.min(left);
            standby(&format!("{} runs it", other.lease.holder));
            if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                info!(
                    event = "standby", sync = %sync.name, link = other.link, holder = other.lease.holder,
                    lease_left_ms = other.lease.left_ms, "standing by: another copy runs this sync"
                );
                said = Some(Instant::now());
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn refused(other: &Other) -> Error {
    Error::definite(format!("run link {}", other.link))
        .reason(Reason::Fenced)
        .why(format!(
            "{} runs it; its lease has {:.1} s left",
            other.lease.holder,
            other.lease.left_ms as f64 / 1e3
        ))
        .hint("stop that copy; or leave the work to it: `tidelock status` shows what it does")
}

/// The leases are asked for over sessions without a name, which nobody ends.
fn quiet(access: &Access) -> Access {
    Access {
        session: None,
        ..access.clone()
    }
}

async fn connect(link: &LinkSpec) -> Result<Node> {
    Node::connect(&quiet(&link.target.access), link.target.engine).await
}

async fn connected<'a>(slot: &'a mut Option<Node>, link: &LinkSpec) -> Result<&'a mut Node> {
    match slot {
        Some(node) => Ok(node),
        None => Ok(slot.insert(connect(link).await?)),
    }
}

/// Takes all of the links or none. Looks first, so that it does not take what it would have to give back.
async fn attempt(links: &[Arc<LinkSpec>], nodes: &mut [Option<Node>], me: &Instance) -> Result<Attempt> {
    let mut before = Vec::with_capacity(links.len());
    for (link, slot) in links.iter().zip(nodes.iter_mut()) {
        let lease = connected(slot, link).await?.lease(&link.sync, &link.id).await?;
        let lease = lease.filter(|lease| lease.instance != me.id);
        let is_in_the_way = |lease: &&Lease| lease.is_held() && !instance::has_ended(&lease.process);
        if let Some(lease) = lease.as_ref().filter(is_in_the_way) {
            let (link, lease) = (link.id.clone(), lease.clone());
            return Ok(Attempt::Held(Other { link, lease }));
        }
        before.push(lease);
    }
    let began = Instant::now();
    for (index, link) in links.iter().enumerate() {
        // One that is held and got here belongs to a process that has ended; one that lapsed may yet be renewed.
        let dead = before[index].as_ref().filter(|lease| lease.is_held());
        let dead = dead.map_or("", |lease| &lease.instance);
        let node = connected(&mut nodes[index], link).await?;
        let name = (link.sync.as_str(), link.id.as_str());
        if node.take_lease(name, me, link.limits.lease_ttl, dead).await? {
            continue;
        }
        let lease = node.lease(&link.sync, &link.id).await?;
        for (link, slot) in links[..index].iter().zip(nodes.iter_mut()) {
            let node = connected(slot, link).await?;
            node.release_lease(&link.sync, &link.id, &me.id).await?;
        }
        let link = link.id.clone();
        return match lease {
            Some(lease) => Ok(Attempt::Held(Other { link, lease })),
            None => Err(Error::transient(format!("take the lease of {link}")).why("its row vanished")),
        };
    }
    for (link, lease) in links.iter().zip(&before) {
        let from = lease
            .as_ref()
            .filter(|lease| lease.is_held() || !lease.instance.is_empty());
        let (from, lapsed_ms) = from.map_or(("nobody", 0), |lease| (lease.holder.as_str(), -lease.left_ms));
        info!(event = "lease_taken", link = %link.id, from, lapsed_ms, "this copy runs the link now");
        end_sessions(link).await;
    }
    Ok(Attempt::Taken(began))
}

/// What the copy before has left open. Not being able to end it is met again, and told, when the link starts.
async fn end_sessions(link: &LinkSpec) {
    for end in [&link.target, &link.source] {
        let ended = async {
            let mut node = Node::connect(&end.access, end.engine).await?;
            node.end_sessions(&link.sync, &link.id, &link.instance).await
        };
        match ended.await {
            Ok(0) => {}
            Ok(count) => info!(link = %link.id, node = %end.name, count, "ended sessions of another copy"),
            Err(error) => warn!(link = %link.id, %error, "sessions of another copy may be open still"),
        }
    }
}

impl Held {
    /// From the first renewal on it is known what people want of each link.
    async fn new(
        of: impl Iterator<Item = ((Arc<LinkSpec>, Arc<Pulse>), Option<Node>)>,
        me: &Instance,
        began: Instant,
        has_waited: bool,
    ) -> Result<Held> {
        let over = CancellationToken::new();
        let (mut keepers, mut links, mut gates) = (JoinSet::new(), Vec::new(), Vec::new());
        for ((link, pulse), node) in of {
            let mut keeper = Keeper {
                link: Arc::clone(&link),
                pulse,
                me: me.clone(),
                node,
                gate: watch::channel(Gate::Closed).0,
                until: began + safe(link.limits.lease_ttl),
            };
            links.push(link);
            gates.push(keeper.gate.subscribe());
            keeper.renew().await?;
            keepers.spawn(keeper.keep(over.clone()));
        }
        Ok(Held {
            view: View { links, gates },
            has_waited,
            keepers,
            over,
        })
    }

    /// Returns when a link is lost, with the reason. Cancel-safe.
    pub(super) async fn lost(&mut self) -> Error {
        loop {
            match self.keepers.join_next().await {
                Some(Ok(Err(error))) => return error,
                Some(Ok(Ok(()))) => {}
                Some(Err(error)) => return Error::bug("keep a lease").because(error),
                None => std::future::pending().await,
            }
        }
    }

    /// Gives all links back, as far as they are still ours.
    pub(super) async fn release(mut self) {
        self.over.cancel();
        while self.keepers.join_next().await.is_some() {}
    }
}

impl View {
    fn of(&self, link: &str) -> Option<usize> {
        self.links.iter().position(|known| known.id == link)
    }

    pub(super) fn gate(&self, link: &str) -> Gate {
        self.of(link)
            .map_or(Gate::Closed, |index| *self.gates[index].borrow())
    }

    /// Waits until the gate of a link is another than `known`, and returns what it is then.
    pub(super) async fn changed(&self, link: &str, known: Gate) -> Gate {
        let Some(index) = self.of(link) else {
            return std::future::pending().await;
        };
        let mut gate = self.gates[index].clone();
        let now = gate.wait_for(|now| *now != known).await.map(|now| *now).ok();
        match now {
            Some(now) => now,
            // Its keeper has ended, which ends the whole sync.
            None => std::future::pending().await,
        }
    }

    /// Waits until no gate is closed.
    pub(super) async fn all_ours(&self) {
        for gate in &self.gates {
            let mut gate = gate.clone();
            if gate.wait_for(|now| *now != Gate::Closed).await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Returns when one of the gates is closed.
    pub(super) async fn one_closed(&self) {
        let waits = self.gates.iter().map(|gate| {
            let mut gate = gate.clone();
            Box::pin(async move {
                if gate.wait_for(|now| *now == Gate::Closed).await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        futures_util::future::select_all(waits).await;
    }

    /// The links that people want to rest.
    pub(super) fn paused(&self) -> Vec<Arc<LinkSpec>> {
        let links = self.links.iter().zip(&self.gates);
        links
            .filter(|(_, gate)| *gate.borrow() == Gate::Paused)
            .map(|(link, _)| Arc::clone(link))
            .collect()
    }

    /// A copy whose links were taken meanwhile meets all kinds of errors: that it lost them is what to tell.
    pub(super) async fn cause(&self, error: Error) -> Error {
        if error.is_transient() {
            return error;
        }
        for link in &self.links {
            let ask = async { connect(link).await?.lease(&link.sync, &link.id).await };
            let Ok(Ok(Some(lease))) = tokio::time::timeout(ASK_MAX, ask).await else {
                continue;
            };
            if lease.instance != link.instance && !lease.instance.is_empty() {
                return lost(link, &lease.holder);
            }
        }
        error
    }
}

fn lost(link: &LinkSpec, holder: &str) -> Error {
    not_leased(&format!("go on with link {}", link.id), false, holder).node(&link.target.name)
}

/// How long a lease of this length is relied on: less, because what was sent last has to arrive as well.
fn safe(ttl: Duration) -> Duration {
    ttl - ttl / 10
}

/// Keeps the lease of one link, on a connection of its own.
struct Keeper {
    link: Arc<LinkSpec>,
    /// What is said of the link.
    pulse: Arc<Pulse>,
    me: Instance,
    node: Option<Node>,
    gate: watch::Sender<Gate>,
    /// The lease is ours up to here, by our clock.
    until: Instant,
}

impl Keeper {
    /// Runs until `over`, and then gives the lease back; or until another copy has it.
    async fn keep(mut self, over: CancellationToken) -> Result<()> {
        loop {
            let next = Instant::now() + self.link.limits.lease_ttl / 3;
            while Instant::now() < next {
                tokio::select! {
                    () = over.cancelled() => return self.release().await,
                    () = tokio::time::sleep_until(next) => {}
                    () = tokio::time::sleep_until(self.until), if is_open(&self.gate) => close(&self.gate, &self.link),
                }
            }
            match self.renewed(&over).await {
                None => {
                    // It was broken off in the middle of an answer.
                    self.node = None;
                    return self.release().await;
                }
                Some(Ok(())) => {}
                Some(Err(error)) if error.reason_kind() == Reason::Fenced => return Err(error),
                Some(Err(error)) => {
                    warn!(link = %self.link.id, %error, "the lease could not be renewed");
                    self.node = None;
                }
            }
        }
    }

    /// One renewal, which is given up when it takes too long, and during which the gate may have to be closed.
    /// `None`: it is over.
    async fn renewed(&mut self, over: &CancellationToken) -> Option<Result<()>> {
        let (gate, until, link) = (self.gate.clone(), self.until, Arc::clone(&self.link));
        // A connection that does not answer is given up soon; a new one needs more time.
        let patience = match self.node.is_some() {
            true => link.limits.lease_ttl / 3,
            false => CONNECT_MAX,
        };
        let renewal = tokio::time::timeout(patience, self.renew());
        tokio::pin!(renewal);
        loop {
            tokio::select! {
                () = over.cancelled() => return None,
                renewed = &mut renewal => return Some(renewed.unwrap_or_else(|_| {
                    let why = format!("no answer within {} ms", patience.as_millis());
                    Err(Error::transient("renew the lease").node(&link.target.name).why(why))
                })),
                () = tokio::time::sleep_until(until), if is_open(&gate) => close(&gate, &link),
            }
        }
    }

    async fn renew(&mut self) -> Result<()> {
        let link = Arc::clone(&self.link);
        let ttl = link.limits.lease_ttl;
        let name = (link.sync.as_str(), link.id.as_str());
        // A link that nobody shows has nothing to say.
        let figures = serde_json::to_string(&Figures::of(&self.pulse)).ok();
        let node = connected(&mut self.node, &link).await?;
        // Before it is sent: the server's clock starts later.
        let mut asked = Instant::now();
        let mut renewal = node
            .renew_lease(name, &self.me.id, ttl, figures.as_deref())
            .await?;
        if !renewal.is_ours {
            let lease = node.lease(&link.sync, &link.id).await?;
            if let Some(lease) = lease.filter(|lease| !lease.instance.is_empty()) {
                return Err(lost(&link, &lease.holder));
            }
            // Somebody deleted the row: nobody has come for it yet.
            asked = Instant::now();
            if !node.take_lease(name, &self.me, ttl, "").await? {
                let lease = node.lease(&link.sync, &link.id).await?;
                return Err(lost(&link, lease.as_ref().map_or("", |lease| &lease.holder)));
            }
            warn!(link = %link.id, "the row of the lease was gone, and is there again");
            renewal = Renewal {
                is_ours: true,
                ..renewal
            };
        }
        self.until = asked + safe(ttl);
        let gate = match renewal.is_paused {
            true => Gate::Paused,
            false => Gate::Open,
        };
        let was = self.gate.send_replace(gate);
        if was != gate && was == Gate::Closed {
            info!(link = %link.id, "the lease is certain");
        }
        Ok(())
    }

    /// Nothing depends on it: an unreleased lease runs out.
    async fn release(mut self) -> Result<()> {
        let (sync, link) = (&self.link.sync, &self.link.id);
        let release = async {
            let node = connected(&mut self.node, &self.link).await?;
            node.release_lease(sync, link, &self.me.id).await
        };
        match tokio::time::timeout(RELEASE_MAX, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(link, %error, "the lease is not given back and has to run out"),
            Err(_) => warn!(link, "the lease is not given back in time and has to run out"),
        }
        Ok(())
    }
}

fn is_open(gate: &watch::Sender<Gate>) -> bool {
    *gate.borrow() != Gate::Closed
}

fn close(gate: &watch::Sender<Gate>, link: &LinkSpec) {
    warn!(link = %link.id, "the lease may run out: nothing is written until it is renewed");
    gate.send_replace(Gate::Closed);
}
