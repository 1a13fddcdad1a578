//! Runs syncs: first start, links, their supervision, and the watch over settings.
//!
//! Owns: what happens to an error. Transient ones make the link start anew after a pause; all others stop the whole
//! run, because a two-way sync with one dead direction only drifts apart.

mod apply;
mod backoff;
pub mod behind;
mod group;
pub mod lag;
mod link;
pub(crate) mod planner;
mod poll;
mod presence;
pub mod pulse;
mod reader;
mod record;
pub mod select;
pub mod spec;

pub(crate) use apply::Applier;
pub(crate) use link::same_server;

use crate::engine::Node;
use crate::error::{Class, Error, Reason, Result};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Finding, Level};
use crate::seed;
use backoff::Backoff;
use presence::Presence;
use pulse::{Live, Pulse, State};
use spec::{LinkSpec, NodeSpec, SyncSpec};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the settings that may change under us are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// Links get this long to finish their group when the run stops.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// Runs all links of all syncs until `stop` or the first error that a person must see to. With `once`: until each
/// source's log is applied up to where it stood at the start. What happens shows in `live`.
pub async fn run(syncs: &[SyncSpec], once: bool, stop: &CancellationToken, live: &Live) -> Result<()> {
    let mut tasks = JoinSet::new();
    let work = stop.child_token();
    let watch = work.child_token();
    let mut links = 0;
    for sync in syncs {
        let prepared = prepare(sync, once, &work, live).await?;
        // By a signal, or by a sync that runs already and has failed meanwhile.
        if work.is_cancelled() {
            break;
        }
        let Some((sync, goals)) = prepared else { break };
        let presence = Presence::new(sync.nodes.iter());
        for (index, goal) in goals.into_iter().enumerate() {
            let link = sync.link(index);
            let (stop, presence) = (work.clone(), presence.clone());
            let pulse = live.of(&link.sync, &link.id);
            links += 1;
            tasks.spawn(poll::run(Arc::clone(&link), Arc::clone(&pulse), watch.clone()));
            tasks.spawn(async move {
                let result = supervise(&link, goal, &stop, &pulse, &presence).await;
                if result.is_err() {
                    stop.cancel();
                }
                result
            });
        }
        let watch = watch.clone();
        let failed = work.clone();
        tasks.spawn(async move {
            let result = watch_settings(&sync, &presence, &watch).await;
            if result.is_err() {
                failed.cancel();
            }
            result
        });
    }
    finish(tasks, links, &work, &watch).await
}

/// The sync with the tables that were set up. What else matches is only said.
pub async fn selected(sync: &SyncSpec) -> Result<SyncSpec> {
    if sync.choice.is_fixed() {
        return Ok(sync.clone());
    }
    let mut nodes = Vec::with_capacity(sync.nodes.len());
    for node in &sync.nodes {
        nodes.push(Some(Node::connect(&node.access, node.engine).await?));
    }
    let selected = select::current(sync, &mut nodes).await?;
    for note in &selected.notes {
        if note.level == Level::Blocker {
            return Err(select::refusal(note));
        }
        let table = note.table.as_deref().unwrap_or_default();
        warn!(sync = %sync.name, node = %note.node, table, code = note.code, fix = note.fix.as_deref(), "{}", note.what);
    }
    info!(sync = %sync.name, tables = selected.spec.mappings.len(), "tables chosen by pattern");
    Ok(selected.spec)
}

/// Waits for the links; the first error stops the others.
async fn finish(
    mut tasks: JoinSet<Result<()>>,
    mut links: usize,
    work: &CancellationToken,
    watch: &CancellationToken,
) -> Result<()> {
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
        let result = joined.unwrap_or_else(|error| Err(Error::bug("run a link").because(error)));
        if let Err(error) = result {
            work.cancel();
            if first.is_ok() {
                first = Err(error);
            }
        }
        links = links.saturating_sub(1);
        if links == 0 {
            watch.cancel();
        }
    }
}

/// Brings a sync to where its links can start, and waits for databases that are not up yet. Returns the
/// sync with its tables and what each link is to reach; nothing when told to stop.
async fn prepare(
    sync: &SyncSpec,
    once: bool,
    stop: &CancellationToken,
    live: &Live,
) -> Result<Option<Prepared>> {
    let mut backoff = Backoff::new(once);
    let what = format!("sync {}", sync.name);
    let links = (0..sync.links.len()).map(|index| sync.link(index));
    let pulses: Vec<Arc<Pulse>> = links.map(|link| live.of(&link.sync, &link.id)).collect();
    loop {
        match Box::pin(attempt(sync, once, stop, live)).await {
            Ok(prepared) => return Ok(Some(prepared)),
            Err(error) => {
                if !backoff.wait(&what, error, &pulses, stop).await? {
                    return Ok(None);
                }
            }
        }
    }
}

/// The sync with its tables, and the goal of each link.
type Prepared = (SyncSpec, Vec<Option<Position>>);

async fn attempt(sync: &SyncSpec, once: bool, stop: &CancellationToken, live: &Live) -> Result<Prepared> {
    let sync = selected(sync).await?;
    ready(&sync).await?;
    seed::start(&sync, stop, live).await?;
    let mut goals = Vec::with_capacity(sync.links.len());
    for index in 0..sync.links.len() {
        goals.push(match once && !stop.is_cancelled() {
            true => Some(end_of_log(&sync.link(index).source).await?),
            false => None,
        });
    }
    Ok((sync, goals))
}

/// Starts a link again for as long as its errors are of the kind that passes.
async fn supervise(
    spec: &Arc<LinkSpec>,
    goal: Option<Position>,
    stop: &CancellationToken,
    pulse: &Arc<Pulse>,
    presence: &Presence,
) -> Result<()> {
    let mut backoff = Backoff::new(goal.is_some());
    loop {
        match Box::pin(link::run(spec, goal.clone(), stop, pulse, presence)).await {
            Ok(()) => {
                pulse.set(State::Stopped, "");
                return Ok(());
            }
            Err(error) => {
                let shown = std::slice::from_ref(pulse);
                if !backoff.wait(&spec.id, error, shown, stop).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Would these syncs start? Nothing is changed.
pub async fn preflight(syncs: &[SyncSpec]) -> Result<()> {
    for sync in syncs {
        ready(sync).await?;
    }
    Ok(())
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
    // A failover, or whoever made the server read-only, ends that.
    let passes = blockers.iter().all(|finding| finding.code == Finding::READ_ONLY);
    let class = if passes { Class::Transient } else { Class::Definite };
    Err(Error::new(class, doing)
        .node(&node.name)
        .why(whats.join("; "))
        .hint(fix)
        .reason(reason))
}

/// Settings are dynamic: what was right at the start may be changed while we read. The same connections tell whether
/// the nodes are still there.
async fn watch_settings(sync: &SyncSpec, presence: &Presence, stop: &CancellationToken) -> Result<()> {
    let mut nodes: Vec<Option<Node>> = sync.nodes.iter().map(|_| None).collect();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
        for (index, slot) in nodes.iter_mut().enumerate() {
            let spec = &sync.nodes[index];
            if slot.is_none() {
                *slot = presence.connect(spec).await;
            }
            let Some(node) = slot else { continue };
            match presence.answer(node.settings(&sync.scope(index))).await {
                Some(findings) => match refuse_blockers("go on", spec, findings) {
                    // Links meet it themselves and wait.
                    Err(error) if !error.is_transient() => return Err(error),
                    _ => {}
                },
                None => *slot = presence.connect(spec).await,
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
