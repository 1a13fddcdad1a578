//! Collection of tombstones: marks them, finds out when nothing can need them any more, and drops them.
//!
//! Owns: the rounds, and on each node the generation that waits. When one may go is decided by `merge::collection`; here it
//! gets what it asks for. That a peer's log shows a marker past a bound is read where the marker's transaction left it,
//! in the peer's checkpoint, because there the tables that are held meanwhile can be seen in the same look; the end
//! of the peer's log is read after that.
//! Refuses: tables that are held, lack something, are copied anew or have parked changes, anywhere in the sync. (No chunk of
//! a first copy is in flight: links, and this, begin when it is over.)
//! Fails: never; what cannot be dropped stays, and `status` says what holds it.
//!
//! An idle pair comes to an end: what a generation waits for is wished for, and a link commits one idle checkpoint for
//! a wish. No tombstone comes from that, so two nodes cannot keep each other going.

use super::spec::{NodeSpec, SyncSpec, link_id};
use super::{pulse::now_us, tables};
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::merge::collection::{Generation, Next, next};
use crate::model::collection::{Batch, Collection, Dropped, Holder, Reach, Stones, number};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

const EVERY: Duration = Duration::from_secs(5);
/// A node that does not answer must not hold up the others for ever.
const ROUND_MAX: Duration = Duration::from_secs(120);
/// Batches that are marked, or dropped, of one table in one round.
const BATCHES_MAX: i64 = 200;

/// How far somebody wants each link's checkpoint to be, idle or not.
#[derive(Clone)]
pub(super) struct Wishes(Arc<Vec<(String, watch::Sender<Option<Position>>)>>);

impl Wishes {
    pub(super) fn new(sync: &SyncSpec) -> Self {
        let links =
            (0..sync.links.len()).map(|index| (sync.link(index).id.clone(), watch::Sender::new(None)));
        Wishes(Arc::new(links.collect()))
    }

    pub(super) fn of(&self, link: &str) -> watch::Receiver<Option<Position>> {
        match self.0.iter().find(|(known, _)| known == link) {
            Some((_, wish)) => wish.subscribe(),
            None => watch::Sender::new(None).subscribe(),
        }
    }

    pub(super) fn wish(&self, link: &str, position: &Position) {
        for (_, wish) in self.0.iter().filter(|(known, _)| known == link) {
            wish.send_if_modified(|wanted| {
                let is_new = wanted.as_ref() != Some(position);
                *wanted = Some(position.clone());
                is_new
            });
        }
    }
}

/// What a generation waits for, as it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    bounds: BTreeMap<Rank, String>,
    passed: BTreeMap<Rank, String>,
    /// Tables that were not as far as their links when a peer's log was noted: they wait for another generation.
    left_out: BTreeSet<usize>,
    /// What was open when the tombstones were marked must have ended.
    horizon: Option<u64>,
}

impl State {
    /// `None`: another version wrote it.
    fn generation(&self) -> Option<Generation<Position>> {
        let parsed = |places: &BTreeMap<Rank, String>| {
            let each = places.iter().map(|(rank, at)| Some((*rank, at.parse().ok()?)));
            each.collect::<Option<BTreeMap<Rank, Position>>>()
        };
        Some(Generation {
            bounds: parsed(&self.bounds)?,
            passed: parsed(&self.passed)?,
        })
    }

    fn text(&self) -> String {
        // Strings and numbers only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What one round has found out about a node.
struct Seen {
    stones: Vec<Stones>,
    row: Option<Collection>,
    reach: Reach,
}

pub(super) async fn run(sync: SyncSpec, wishes: Wishes, stop: CancellationToken) -> Result<()> {
    let nodes = sync.nodes.iter().map(|_| None).collect();
    let mut collector = Collector { sync, wishes, nodes };
    let mut said = String::new();
    loop {
        let round = tokio::time::timeout(ROUND_MAX, collector.round());
        let outcome = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            outcome = round => outcome,
        };
        match outcome {
            Ok(Ok(())) => said.clear(),
            Ok(Err(error)) => {
                let now = error.to_string();
                match error.is_transient() || now == said {
                    true => debug!(sync = %collector.sync.name, %error, "tombstones wait"),
                    false => warn!(sync = %collector.sync.name, %error, "tombstones are not collected"),
                }
                said = now;
                collector.forget();
            }
            Err(_) => collector.forget(),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

struct Collector {
    sync: SyncSpec,
    wishes: Wishes,
    nodes: Vec<Option<Node>>,
}

impl Collector {
    fn forget(&mut self) {
        self.nodes.iter_mut().for_each(|node| *node = None);
    }

    /// The session is one of a link that writes into the node, so that whoever takes that over ends it.
    async fn node(&mut self, index: usize) -> Result<&mut Node> {
        let access = match self.link_into(index) {
            Some(link) => self.sync.link(link).target.access.clone(),
            None => self.sync.nodes[index].access.clone(),
        };
        let engine = self.sync.nodes[index].engine;
        let slot = &mut self.nodes[index];
        match slot {
            Some(node) => Ok(node),
            None => {
                let mut node = Node::connect(&access, engine).await?;
                node.open_collection().await?;
                Ok(slot.insert(node))
            }
        }
    }

    /// The first link that writes into a node.
    fn link_into(&self, node: usize) -> Option<usize> {
        self.sync.links.iter().position(|(_, target)| *target == node)
    }

    fn spec(&self, index: usize) -> &NodeSpec {
        &self.sync.nodes[index]
    }

    async fn round(&mut self) -> Result<()> {
        let name = self.sync.name.clone();
        let mut found = Vec::with_capacity(self.nodes.len());
        for index in 0..self.nodes.len() {
            let node = self.node(index).await?;
            found.push((node.tombstones(&name).await?, node.collection(&name).await?));
        }
        let is_idle = |(stones, row): &(Vec<Stones>, Option<Collection>)| {
            let waits = |row: &Collection| row.state.is_some() || !row.waits_for.is_empty();
            !row.as_ref().is_some_and(waits) && !stones.iter().any(|at| at.has_unmarked || at.has_marked)
        };
        if found.iter().all(is_idle) {
            return Ok(());
        }
        let mut seen = Vec::with_capacity(found.len());
        for (index, (stones, row)) in found.into_iter().enumerate() {
            let reach = self.node(index).await?.reach(&name).await?;
            seen.push(Seen { stones, row, reach });
        }
        for index in 0..seen.len() {
            self.step(index, &seen).await?;
        }
        Ok(())
    }

    /// Takes the generation of one node as far as it goes now.
    async fn step(&mut self, me: usize, seen: &[Seen]) -> Result<()> {
        let row = seen[me].row.clone().unwrap_or_default();
        let state: Option<State> = row
            .state
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok());
        let Some(mut state) = state else {
            return self.mark(me, seen, row).await;
        };
        loop {
            let Some(generation) = state.generation() else {
                return self.keep(me, &row, None, String::new()).await;
            };
            match next(
                self.spec(me).rank,
                &self.ranks(),
                &generation,
                |source, target| self.applied(seen, source, target),
            ) {
                Next::Anew => return self.keep(me, &row, None, String::new()).await,
                Next::Wait {
                    source,
                    target,
                    until,
                } => {
                    let link = link_id(self.name(source), self.name(target));
                    self.wishes.wish(&link, &until);
                    let behind = match target == self.spec(me).rank {
                        true => format!(
                            "what node {} wrote before it knew of the deletes",
                            self.name(source)
                        ),
                        false => format!("the deletes of node {}", self.name(source)),
                    };
                    let waits_for = format!("link {link} has not applied {behind} for certain");
                    return self.keep(me, &row, Some(&state), waits_for).await;
                }
                Next::Note { peer } => {
                    let at = self.place(peer);
                    let behind =
                        (0..self.spec(me).tables.len()).filter(|table| self.blocked(seen, *table).is_some());
                    state.left_out.extend(behind);
                    let end = self.node(at).await?.barrier().await?;
                    state.passed.insert(peer, end.to_string());
                }
                Next::Drop => return self.drop_generation(me, seen, &row, &state).await,
            }
        }
    }

    fn name(&self, rank: Rank) -> &str {
        &self.sync.nodes[self.place(rank)].name
    }

    fn place(&self, rank: Rank) -> usize {
        let place = self.sync.nodes.iter().position(|node| node.rank == rank);
        place.unwrap_or_default()
    }

    fn ranks(&self) -> Vec<(Rank, Rank)> {
        let rank = |node: usize| self.sync.nodes[node].rank;
        let links = self.sync.links.iter();
        links.map(|(from, to)| (rank(*from), rank(*to))).collect()
    }

    fn applied(&self, seen: &[Seen], source: Rank, target: Rank) -> Option<Position> {
        let link = link_id(self.name(source), self.name(target));
        let links = &seen[self.place(target)].reach.links;
        let found = links.iter().find(|(known, _)| *known == link);
        found.map(|(_, position)| position.clone())
    }

    /// What keeps a table's tombstones everywhere, by the table's place in the sync.
    fn blocked(&self, seen: &[Seen], table: usize) -> Option<String> {
        for (node, seen) in self.sync.nodes.iter().zip(seen) {
            let id = node.tables.get(table)?;
            if let Some((link, _)) = seen.reach.held.iter().find(|(_, held)| held == id) {
                return Some(format!("table {id} is held by link {link}"));
            }
            if seen.reach.parked.contains(id) {
                return Some(format!("table {id} has parked changes on node {}", node.name));
            }
        }
        None
    }

    fn table(&self, me: usize, id: &TableId) -> Option<usize> {
        self.spec(me).tables.iter().position(|known| known == id)
    }

    /// Begins a generation with what is there.
    async fn mark(&mut self, me: usize, seen: &[Seen], row: Collection) -> Result<()> {
        let (mut ready, mut waits_for) = (Vec::new(), String::new());
        for at in &seen[me].stones {
            if !at.has_unmarked && !at.has_marked {
                continue;
            }
            let Some(table) = self.table(me, &at.table) else {
                continue;
            };
            match self.blocked(seen, table) {
                None => ready.push(at.name.clone()),
                Some(why) => waits_for = why,
            }
        }
        if ready.is_empty() {
            return self.keep(me, &row, None, waits_for).await;
        }
        let name = self.sync.name.clone();
        let node = self.node(me).await?;
        if !node.begin_generation(&name, row.generation).await? {
            return Ok(());
        }
        let generation = row.generation + 1;
        let mut marked = 0;
        for stones in ready {
            for batch in 0..BATCHES_MAX {
                match node.mark_tombstones(&stones, number(generation, batch)).await? {
                    0 => break,
                    rows => marked += rows,
                }
            }
        }
        let horizon = node.horizon().await?;
        let own = node.barrier().await?;
        let mut state = State {
            horizon,
            ..State::default()
        };
        let reach = node.reach(&name).await?;
        state.bounds.insert(self.spec(me).rank, own.to_string());
        for (source, target) in self.sync.links.clone() {
            let link = link_id(&self.spec(source).name, &self.spec(target).name);
            if target == me
                && let Some((_, position)) = reach.links.iter().find(|(known, _)| *known == link)
            {
                state.bounds.insert(self.spec(source).rank, position.to_string());
            }
            if source == me {
                self.wishes.wish(&link, &own);
            }
        }
        debug!(sync = %name, node = %self.spec(me).name, generation, marked, "tombstones marked");
        let row = Collection {
            generation,
            ..Collection::default()
        };
        let waits_for = format!(
            "the peers of node {} have yet to apply its deletes",
            self.spec(me).name
        );
        self.keep(me, &row, Some(&state), waits_for).await
    }

    /// Keeps what has changed.
    async fn keep(
        &mut self,
        me: usize,
        row: &Collection,
        state: Option<&State>,
        waits_for: String,
    ) -> Result<()> {
        let new = Collection {
            generation: row.generation,
            state: state.map(State::text),
            waits_for,
        };
        if new == *row {
            return Ok(());
        }
        let name = self.sync.name.clone();
        let node = self.node(me).await?;
        if row.generation == 0 && !node.begin_generation(&name, 0).await? {
            return Ok(());
        }
        let new = Collection {
            generation: row.generation.max(1),
            ..new
        };
        // Whoever else has begun a generation keeps his.
        node.keep_collection(&name, &new).await.map(|_| ())
    }

    async fn drop_generation(
        &mut self,
        me: usize,
        seen: &[Seen],
        row: &Collection,
        state: &State,
    ) -> Result<()> {
        let (sync, spec) = (self.sync.clone(), self.spec(me).clone());
        let node = self.node(me).await?;
        if let Some(horizon) = state.horizon
            && node.is_open(horizon).await?
        {
            let waits_for = format!("a transaction older than they are is open on node {}", spec.name);
            return self.keep(me, row, Some(state), waits_for).await;
        }
        let mut is_over = true;
        for at in &seen[me].stones {
            let Some(table) = self.table(me, &at.table).filter(|_| at.has_marked) else {
                continue;
            };
            if state.left_out.contains(&table) || self.blocked(seen, table).is_some() {
                continue;
            }
            let link = self.link_into(me).map(|index| sync.link(index));
            let Some(link) = link else { continue };
            let holder = Holder {
                sync: &sync.name,
                link: &link.id,
                instance: &sync.instance,
            };
            let node = self.node(me).await?;
            match drop_table(node, &spec, at, row.generation, holder).await {
                Ok(is_done) => is_over &= is_done,
                Err(error) => {
                    if !error.is_transient() {
                        self.keep(me, row, Some(state), error.to_string()).await?;
                    }
                    return Err(error);
                }
            }
        }
        match is_over {
            true => self.keep(me, row, None, String::new()).await,
            false => Ok(()),
        }
    }
}

/// `false`: not all of it in this round, or not by us any more.
async fn drop_table(
    node: &mut Node,
    spec: &NodeSpec,
    at: &Stones,
    generation: i64,
    holder: Holder<'_>,
) -> Result<bool> {
    let below = number(generation + 1, 0);
    let found = tables(node, std::slice::from_ref(&at.table), spec).await?;
    let table = found
        .into_iter()
        .next()
        .map(|found| Arc::new(found.table.clone()));
    let Some(table) = table else { return Ok(false) };
    let (mut tombstones, mut raised) = (0, 0);
    for _ in 0..BATCHES_MAX {
        let Some(number) = node.next_batch(&at.name, below).await? else {
            info!(
                event = "tombstones_dropped", sync = holder.sync, node = %spec.name, table = %at.table, tombstones,
                raised, "every node knows of these deletes"
            );
            return Ok(true);
        };
        let batch = Batch {
            table: Arc::clone(&table),
            stones: at.name.clone(),
            number,
            me: spec.rank,
            at_us: now_us(),
        };
        match node.drop_tombstones(&batch, holder).await? {
            Dropped::Done {
                tombstones: more,
                raised: rows,
            } => {
                tombstones += more;
                raised += rows;
            }
            Dropped::Fenced => {
                let error =
                    Error::transient("drop tombstones").why("another copy holds the lease of this link");
                return Err(error.node(&spec.name));
            }
        }
    }
    Ok(false)
}
