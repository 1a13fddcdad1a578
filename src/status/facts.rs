//! What the two databases of a link say of it, daemon or no daemon.
//!
//! Owns: whom to ask, for how long, and that all are asked at once: a server that hangs must not hide what the other
//! one knows. Refuses: writing, and reading a slot that somebody reads.
//! Fails: never as a whole; each end has its own answer or error.

use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::behind;
use crate::flow::spec::{LinkSpec, NodeSpec, SyncSpec};
use crate::model::log::{Distance, LogEnd};
use crate::model::position::Position;
use crate::model::sync::{LinkStatus, Retention};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use crate::flow::behind::Oldest;

/// A healthy server answers in milliseconds.
const ASK_MAX: Duration = Duration::from_secs(5);
/// The log is read for its oldest commit for so long.
const READ_MAX: Duration = Duration::from_secs(4);

/// What the two ends said.
#[derive(Debug)]
pub struct Facts {
    pub target: Result<LinkStatus>,
    /// `None`: there was nothing to ask for.
    pub source: Option<Result<Kept>>,
    pub oldest: Option<Oldest>,
    /// Why our session on the target waits, in a sentence.
    pub holder: Option<String>,
}

#[derive(Debug)]
pub struct Kept {
    pub end: LogEnd,
    pub retention: Retention,
    pub distance: Option<Distance>,
}

/// Oldest unapplied commits by link and checkpoint: they do not change while the checkpoint stands.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<(String, String), (String, Oldest)>>);

impl Memory {
    fn links(&self) -> MutexGuard<'_, HashMap<(String, String), (String, Oldest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    /// What neither passes by itself nor comes from an end that is out of reach; `facts` keep the rest.
    pub fn take_error(&mut self) -> Option<Error> {
        let unknown = || Error::definite("read the status of a link");
        if let Err(error) = &mut self.target {
            return Some(std::mem::replace(error, unknown()));
        }
        match &mut self.source {
            Some(Err(error)) => Some(std::mem::replace(error, unknown())),
            Some(Ok(_)) | None => None,
        }
    }
}

/// Asks both ends. With `memory` the log is read too, where nobody else reads it.
pub async fn ask(sync: &SyncSpec, index: usize, memory: Option<&Memory>) -> Facts {
    let link = &*sync.link(index);
    let (target, holder) = match within(&link.target, target(link)).await {
        Ok((status, holder)) => (Ok(status), holder),
        Err(error) => (Err(error), None),
    };
    let known = target.as_ref().ok();
    let checkpoint = known
        .and_then(|status| status.checkpoint.as_ref())
        .map(|checkpoint| checkpoint.position.clone());
    if known.is_some() && checkpoint.is_none() {
        return Facts {
            target,
            source: None,
            oldest: None,
            holder,
        };
    }
    let source = within(&link.source, source(link, checkpoint.as_ref())).await;
    let mut facts = Facts {
        target,
        source: Some(source),
        oldest: None,
        holder,
    };
    if let (Some(memory), Some(checkpoint)) = (memory, checkpoint)
        && is_readable(&facts, &checkpoint)
    {
        facts.oldest = oldest(sync, index, &checkpoint, memory).await;
    }
    facts
}

async fn within<T>(node: &NodeSpec, answer: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(ASK_MAX, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::transient("read the status of a link")
            .node(&node.name)
            .reason(Reason::Unreachable)
            .why(format!("no answer within {} s", ASK_MAX.as_secs()))
            .hint("is the server overloaded, frozen or behind a broken network?")),
    }
}

async fn target(link: &LinkSpec) -> Result<(LinkStatus, Option<String>)> {
    let mut node = Node::connect(&link.target.access, link.target.engine).await?;
    let status = node.link_status(&link.sync, &link.id).await?;
    // What the account may not see is no reason to fail.
    let holder = node.waiting_for().await.unwrap_or_default();
    node.close().await;
    Ok((status, holder))
}

async fn source(link: &LinkSpec, checkpoint: Option<&Position>) -> Result<Kept> {
    let mut node = Node::connect(&link.source.access, link.source.engine).await?;
    let end = node.log_end().await?;
    let from = checkpoint.unwrap_or(&end.position);
    let retention = node.retained(&link.sync, &link.target.name, from).await?;
    let stands = match (checkpoint, &retention.taken) {
        (Some(checkpoint), Some(taken)) if checkpoint.covers(taken).unwrap_or(false) => Some(checkpoint),
        (checkpoint, taken) => taken.as_ref().or(checkpoint),
    };
    let distance = match stands {
        Some(from) => Some(node.log_distance(from).await?),
        None => None,
    };
    node.close().await;
    Ok(Kept {
        end,
        retention,
        distance,
    })
}

/// Something is missing, and reading the log disturbs nobody.
fn is_readable(facts: &Facts, checkpoint: &Position) -> bool {
    let Some(Ok(kept)) = &facts.source else {
        return false;
    };
    let is_slot = matches!(checkpoint, Position::Lsn(_));
    let is_taken = is_slot && kept.retention.reader_active != Some(false);
    !is_taken && !kept.retention.lost && !checkpoint.covers(&kept.end.position).unwrap_or(true)
}

async fn oldest(sync: &SyncSpec, index: usize, checkpoint: &Position, memory: &Memory) -> Option<Oldest> {
    let link = sync.link(index);
    let key = (link.sync.clone(), link.id.clone());
    let text = checkpoint.to_string();
    let known = memory.links().get(&key).cloned();
    if let Some((position, oldest @ Oldest::At(_))) = known
        && position == text
    {
        return Some(oldest);
    }
    // A log that cannot be read now leaves the bound from the checkpoint's age.
    let found = tokio::time::timeout(READ_MAX, behind::oldest(sync, index, checkpoint)).await;
    let found = found.ok().and_then(Result::ok)?;
    memory.links().insert(key, (text, found));
    Some(found)
}
