//! Runs syncs: what is checked before, the watch over settings, and how a run ends.
//!
//! Owns: [`run`]; what of `check` refuses a start, or to go on. Errors that pass are met further in: `link` tries a
//! group again, `turn` starts a link anew after a pause (`backoff`), `hold` holds a table alone.
//! Fails: with the first error that a person must see to. It stops all syncs, because a two-way sync with one dead
//! direction only drifts apart.

pub(crate) mod anew;
mod apply;
mod aside;
mod backoff;
pub mod behind;
pub mod clocks;
mod collect;
mod decision;
pub mod figures;
pub mod fit;
pub mod folded;
mod group;
pub mod hold;
pub mod instance;
mod joining;
mod keeping;
pub mod lag;
mod lease;
mod link;
mod onward;
pub(crate) mod planner;
mod poll;
mod presence;
pub mod progress;
pub mod pulse;
mod reader;
mod record;
pub mod resolve;
pub mod rings;
mod rounds;
pub mod select;
pub mod skip;
pub mod spec;
mod throttle;
mod turn;

pub(crate) use apply::{Applier, Uniting, first_stamp};
pub(crate) use link::same_server;
pub(crate) use onward::buried;
pub(crate) use planner::Described;
pub(crate) use throttle::Throttle;

use crate::engine::Node;
use crate::error::{Class, Error, Reason, Result};
use crate::model::numbers::Numbers;
use crate::model::position::Position;
use crate::model::schema::{ForeignKey, TableId};
use crate::model::sync::{CatalogTable, Finding, Level, Member, Membership};
use figures::moment;
use presence::Presence;
use pulse::{Live, now_us};
use rings::Rings;
use spec::{NodeSpec, SyncSpec};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use turn::Turn;

/// How often the settings that may change under us are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// Links get this long to finish their group when the run stops.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// Runs all links of all syncs until `stop` or the first error that a person must see to. With `once`: until each
/// source's log is applied up to where it stood at the start. What happens shows in `live`.
pub async fn run(syncs: &[SyncSpec], once: bool, stop: &CancellationToken, live: &Arc<Live>) -> Result<()> {
    let me = instance::own();
    let work = stop.child_token();
    let first_starts = Arc::new(tokio::sync::Mutex::new(()));
    let rings = Arc::new(Mutex::new(Rings::default()));
    let mut tasks = JoinSet::new();
    for sync in syncs {
        let mut sync = sync.clone();
        sync.instance.clone_from(&me.id);
        let turn = Turn {
            me: me.clone(),
            once,
            work: work.clone(),
            first_starts: Arc::clone(&first_starts),
            rings: Arc::clone(&rings),
            live: Arc::clone(live),
        };
        tasks.spawn(async move { Box::pin(turn.sync(&sync)).await });
    }
    finish(tasks, &work).await?;
    match once && !stop.is_cancelled() {
        true => hold::refuse_held(syncs).await,
        false => Ok(()),
    }
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

/// The sync with its tables, as far as `check` has nothing against running it beside those in `rings`.
async fn checked(sync: &SyncSpec, rings: &Mutex<Rings>) -> Result<SyncSpec> {
    let sync = selected(sync).await?;
    if sync.is_shrinking {
        return Ok(sync);
    }
    for place in 0..sync.nodes.len() {
        raise_numbers(&sync, place).await?;
    }
    let mut nodes = ready(&sync, rings).await?;
    for (index, (spec, node)) in sync.nodes.iter().zip(&mut nodes).enumerate() {
        refuse_blockers("start", spec, node.unlogged(&sync.scope(index), true).await?)?;
    }
    Ok(sync)
}

/// A node's counters go above the rows that a copy, or somebody who numbers rows himself, brought there.
pub(crate) async fn raise_numbers(sync: &SyncSpec, place: usize) -> Result<()> {
    raise_counters(&sync.name, &sync.nodes[place], &sync.scope(place).split()).await
}

/// The same of these tables of a node.
pub(crate) async fn raise_counters(sync: &str, spec: &NodeSpec, split: &[(TableId, Numbers)]) -> Result<()> {
    if split.is_empty() {
        return Ok(());
    }
    let mut node = Node::connect(&spec.access, spec.engine).await?;
    for table in node.raise_numbers(split).await? {
        warn!(
            event = "numbers_raised", %sync, node = %spec.name, %table,
            "its sequence stood below keys of its class and was set above them"
        );
    }
    node.close().await;
    Ok(())
}

fn refuse_rings(sync: &SyncSpec, databases: Vec<String>, rings: &Mutex<Rings>) -> Result<()> {
    let mut rings = rings.lock().unwrap_or_else(PoisonError::into_inner);
    rings.learn(sync, databases);
    for (_, finding) in rings.findings() {
        let node = sync.nodes.iter().find(|node| node.name == finding.node);
        refuse_blockers("start", node.unwrap_or(&sync.nodes[0]), vec![finding])?;
    }
    Ok(())
}

/// The sync with the tables that were set up. What else matches is only said.
pub async fn selected(sync: &SyncSpec) -> Result<SyncSpec> {
    if sync.choice.is_settled() {
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

/// What a run that ends by itself has read may tell of rows that came or went unlogged.
async fn refuse_unlogged(sync: &SyncSpec) -> Result<()> {
    for (index, spec) in sync.nodes.iter().enumerate() {
        let mut node = Node::connect(&spec.access, spec.engine).await?;
        let findings = node.unlogged(&sync.scope(index), false).await?;
        refuse_blockers("be sure of what was read", spec, findings)?;
    }
    Ok(())
}

/// Would these syncs start? Nothing is changed.
pub async fn preflight(syncs: &[SyncSpec]) -> Result<()> {
    let rings = Mutex::new(Rings::default());
    for sync in syncs {
        ready(&selected(sync).await?, &rings).await?;
    }
    Ok(())
}

/// Refuses to start on a node that `check` has blockers for.
async fn ready(sync: &SyncSpec, rings: &Mutex<Rings>) -> Result<Vec<Node>> {
    // A wrong URL of one node shows in what the others have recorded of it: tell the cause, not its traces.
    let mut nodes = Vec::with_capacity(sync.nodes.len());
    for spec in &sync.nodes {
        nodes.push(Node::connect(&spec.access, spec.engine).await?);
    }
    for (index, (spec, node)) in sync.nodes.iter().zip(&mut nodes).enumerate() {
        refuse_blockers("start", spec, node.check(&sync.scope(index)).await?)?;
    }
    let mut databases = Vec::with_capacity(nodes.len());
    for (spec, node) in sync.nodes.iter().zip(&mut nodes) {
        databases.push(rings::database(node, spec).await?);
    }
    refuse_rings(sync, databases, rings)?;
    let unfit = fit::against_start(sync, &mut nodes).await?;
    for spec in &sync.nodes {
        let own = unfit.iter().filter(|finding| finding.node == spec.name);
        refuse_blockers("start", spec, own.cloned().collect())?;
    }
    Ok(nodes)
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
/// `begun`: when they were checked, in microseconds.
async fn watch_settings(
    sync: &SyncSpec,
    presence: &Presence,
    stop: &CancellationToken,
    begun: i64,
    leaves: &OnceLock<String>,
) -> Result<()> {
    let mut nodes: Vec<Option<Node>> = sync.nodes.iter().map(|_| None).collect();
    let mut clean: Vec<Option<i64>> = vec![None; sync.nodes.len()];
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
            let scope = sync.scope(index);
            let asked = now_us();
            let look = async {
                let mut findings = node.settings(&scope).await?;
                if findings.is_empty() {
                    findings = node.unlogged(&scope, false).await?;
                }
                Ok(findings)
            };
            match presence.answer(look).await {
                Some(findings) => {
                    if let Some(Some(name)) = presence.answer(leaving(node, sync)).await
                        && leaves.set(name).is_ok()
                    {
                        return Ok(());
                    }
                    match refuse_blockers("go on", spec, dated(findings, clean[index], begun)) {
                        // Links meet it themselves and wait.
                        Err(error) if !error.is_transient() => return Err(error),
                        Err(_) => {}
                        Ok(()) => clean[index] = Some(asked),
                    }
                }
                None => *slot = presence.connect(spec).await,
            }
        }
    }
}

/// A node of the sync that is being taken out of it.
async fn leaving(node: &mut Node, sync: &SyncSpec) -> Result<Option<String>> {
    let members = node.members(&sync.name).await?;
    let leaves = |member: &Member| {
        member.state != Membership::In && sync.nodes.iter().any(|node| node.name == member.name)
    };
    Ok(members.into_iter().find(leaves).map(|member| member.name))
}

/// What a trigger did before it was noticed is done, and no log has it: says since when that can be. `clean`: when a look
/// found nothing last.
fn dated(mut findings: Vec<Finding>, clean: Option<i64>, begun: i64) -> Vec<Finding> {
    let since = clean.map_or("when this run started".to_owned(), |at| {
        format!("at {}", moment(at - at % 1_000_000))
    });
    for finding in &mut findings {
        if finding.code == Finding::UNGUARDED {
            let more = format!(
                "; it was not there {since}, and what Tidelock wrote into the table since then fired it: compare the \
                 tables that it writes with the other node, because its rows are here only"
            );
            finding.what.push_str(&more);
        }
        if finding.code == Finding::CASCADES {
            let at = clean.unwrap_or(begun);
            let more = format!(
                "; since {}, rows of this table may have changed unlogged: compare it on both nodes",
                moment(at - at % 1_000_000)
            );
            finding.what.push_str(&more);
        }
    }
    findings
}

async fn end_of_log(spec: &NodeSpec) -> Result<Position> {
    let position = Node::connect(&spec.access, spec.engine).await?.barrier().await?;
    info!(node = %spec.name, %position, "running once, up to here");
    Ok(position)
}

/// The catalog's view of a node's tables, as their rows are named there.
pub(crate) async fn catalog(node: &mut Node, spec: &NodeSpec) -> Result<Vec<Option<CatalogTable>>> {
    let found = node.catalog(&spec.tables).await?;
    let known = found
        .into_iter()
        .map(|found| found.map(|found| spec.known(found)));
    let mut known: Vec<Option<CatalogTable>> = known.collect();
    if spec.external.is_empty() {
        return Ok(known);
    }
    let keys = node.foreign_keys(&spec.tables).await?;
    for table in known.iter_mut().flatten().map(|found| &mut found.table) {
        if let Some(external) = &mut table.external {
            let refers =
                |key: &&ForeignKey| key.parent == table.id && key.references != [external.column.as_str()];
            external.children = keys.iter().filter(refers).cloned().collect();
        }
    }
    Ok(known)
}

/// The catalog's view of a node's tables; all must be there.
pub(crate) async fn tables(
    node: &mut Node,
    ids: &[TableId],
    spec: &NodeSpec,
) -> Result<Vec<Arc<CatalogTable>>> {
    let found = node.catalog(ids).await?;
    ids.iter()
        .zip(found)
        .map(|(id, table)| {
            table.map(|found| Arc::new(spec.known(found))).ok_or_else(|| {
                Error::definite("find it")
                    .node(&spec.name)
                    .table(id)
                    .why("it does not exist")
                    .hint("create it as `tidelock check` shows, or take it out of the sync's `tables`")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_that_was_noticed_is_dated_by_the_look_before() {
        let told = |code, clean| {
            let finding = Finding::blocker(code, "a", "trigger \"t\" fires");
            dated(vec![finding], clean, 0).remove(0).what
        };
        let start = told(Finding::UNGUARDED, None);
        assert!(
            start.contains("fires; it was not there when this run started, and"),
            "{start}"
        );
        let at = told(Finding::UNGUARDED, Some(1_763_755_200_900_000));
        assert!(
            at.contains("it was not there at 2025-11-21T20:00:00Z, and"),
            "{at}"
        );
        assert_eq!(told(Finding::LOST, Some(1)), "trigger \"t\" fires");
    }
}
