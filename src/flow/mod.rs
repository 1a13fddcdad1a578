//! Runs syncs: first start, links, their supervision, and the watch over settings.
//!
//! Owns: what happens to an error. Transient ones make the link start anew after a pause; all others stop the whole
//! run, because a two-way sync with one dead direction only drifts apart.

mod apply;
pub mod behind;
mod group;
pub mod lag;
mod link;
pub(crate) mod planner;
mod poll;
pub mod pulse;
mod reader;
mod record;
pub mod spec;

pub(crate) use apply::Applier;
pub(crate) use link::same_server;

use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Finding, Level};
use crate::seed;
use pulse::{Live, Pulse, State};
use spec::{LinkSpec, NodeSpec, SyncSpec};
use std::sync::Arc;
use std::time::Duration;
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

/// Runs all links of all syncs until `stop` or the first error that a person must see to. With `once`: until each
/// source's log is applied up to where it stood at the start. What happens shows in `live`.
pub async fn run(syncs: &[SyncSpec], once: bool, stop: &CancellationToken, live: &Live) -> Result<()> {
    let mut tasks = JoinSet::new();
    let work = stop.child_token();
    let watch = work.child_token();
    let mut links = 0;
    for sync in syncs {
        ready(sync).await?;
        seed::start(sync, &work, live).await?;
        // By a signal, or by a sync that runs already and has failed meanwhile.
        if work.is_cancelled() {
            break;
        }
        for index in 0..sync.links.len() {
            let link = sync.link(index);
            let goal = if once {
                Some(end_of_log(&link.source).await?)
            } else {
                None
            };
            let stop = work.clone();
            let pulse = live.of(&link.sync, &link.id);
            links += 1;
            tasks.spawn(poll::run(Arc::clone(&link), Arc::clone(&pulse), watch.clone()));
            tasks.spawn(async move {
                let result = supervise(&link, goal, &stop, &pulse).await;
                if result.is_err() {
                    stop.cancel();
                }
                result
            });
        }
        let (sync, watch) = (sync.clone(), watch.clone());
        let failed = work.clone();
        tasks.spawn(async move {
            let result = watch_settings(&sync, &watch).await;
            if result.is_err() {
                failed.cancel();
            }
            result
        });
    }
    finish(tasks, links, &work, &watch).await
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

/// Starts a link again for as long as its errors are of the kind that passes.
async fn supervise(
    spec: &Arc<LinkSpec>,
    goal: Option<Position>,
    stop: &CancellationToken,
    pulse: &Arc<Pulse>,
) -> Result<()> {
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        let error = match Box::pin(link::run(spec, goal.clone(), stop, pulse)).await {
            Ok(()) => {
                pulse.set(State::Stopped, "");
                return Ok(());
            }
            Err(error) if error.is_transient() => error,
            Err(error) => {
                pulse.failed(&error, None);
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
