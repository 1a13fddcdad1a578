//! What the two databases of a link say of it, daemon or no daemon.
//!
//! Owns: whom to ask, for how long, and that all are asked at once: a server that hangs must not hide what the other
//! one knows. Refuses: writing, and reading a slot that somebody reads.
//! Fails: never as a whole; each end has its own answer or error.

use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::behind;
use crate::flow::figures::Figures;
use crate::flow::spec::{LinkSpec, NodeSpec, SyncSpec};
use crate::model::log::{Distance, LogEnd};
use crate::model::operation::{HeldTable, Lease, Said};
use crate::model::position::Position;
use crate::model::sync::{LinkStatus, Mode, Retention};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use crate::flow::behind::Oldest;

/// A healthy server answers in milliseconds.
const ASK_MAX: Duration = Duration::from_secs(5);
/// A renewal of a lease takes no longer.
const RENEWAL_MAX: Duration = Duration::from_secs(3);
/// The log is read for its oldest commit for so long.
const READ_MAX: Duration = Duration::from_secs(4);

/// What the two ends said.
#[derive(Debug)]
pub struct Facts {
    pub target: Result<LinkStatus>,
    /// `None`: there was nothing to ask for.
    pub source: Option<Result<Kept>>,
    /// What the process that runs the link said with the last renewal of its lease.
    pub said: Option<Word>,
    pub oldest: Option<Oldest>,
    /// Why our session on the target waits, in a sentence.
    pub holder: Option<String>,
}

#[derive(Debug)]
pub struct Kept {
    pub end: LogEnd,
    pub retention: Retention,
    /// Of the log from the earliest held table on.
    pub held: Option<Retention>,
    pub distance: Option<Distance>,
}

#[derive(Debug)]
pub struct Word {
    pub figures: Figures,
    pub age_ms: u64,
}

impl Word {
    pub fn position(&self) -> Option<Position> {
        self.figures.position.as_ref()?.parse().ok()
    }
}

/// Figures of another version that cannot be read are none.
fn said(said: &Said) -> Option<Word> {
    let figures = serde_json::from_str(&said.figures).ok()?;
    let age_ms = said.age_ms;
    Some(Word { figures, age_ms })
}

/// Oldest unapplied commits by link and where it stands: they do not change while it does.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<(String, String), (String, Oldest)>>);

impl Memory {
    fn links(&self) -> MutexGuard<'_, HashMap<(String, String), (String, Oldest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    /// What the process says that runs the link now. A process that lives renews its lease; what people want, or what
    /// the link stopped at, may be news to it.
    pub fn word(&self, lease_ttl: Duration) -> Option<&Word> {
        let target = self.target.as_ref().ok()?;
        let is_held = target.lease.as_ref().is_some_and(Lease::is_held);
        let is_lost = matches!(&self.source, Some(Ok(kept)) if kept.retention.lost);
        let is_final = target.pause.is_some() || target.halted().is_some() || is_lost;
        let word = self.said.as_ref().filter(|_| is_held && !is_final)?;
        let renews = lease_ttl / 3 + RENEWAL_MAX;
        (u128::from(word.age_ms) <= renews.as_millis()).then_some(word)
    }

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
    let said = known.and_then(|status| status.said.as_ref()).and_then(said);
    if known.is_some() && checkpoint.is_none() {
        return Facts {
            target,
            source: None,
            said,
            oldest: None,
            holder,
        };
    }
    if link.mode == Mode::Snapshot {
        // Its log is not read; is it there?
        let source = within(&link.source, reached(&link.source)).await;
        return Facts {
            target,
            source: source.err().map(Err),
            said,
            oldest: None,
            holder,
        };
    }
    let held = known.and_then(|status| earliest(&status.held));
    let taken = said.as_ref().and_then(Word::position);
    let stands = furthest(checkpoint.iter().chain(&taken));
    let source = within(
        &link.source,
        source(link, checkpoint.as_ref(), stands, held.as_ref()),
    )
    .await;
    let mut facts = Facts {
        target,
        source: Some(source),
        said,
        oldest: None,
        holder,
    };
    if let (Some(memory), Some(stands)) = (memory, stands)
        && facts.word(link.limits.lease_ttl).is_none()
        && is_readable(&facts, stands)
    {
        facts.oldest = oldest(sync, index, stands, memory).await;
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

async fn reached(node: &NodeSpec) -> Result<()> {
    Node::connect(&node.access, node.engine).await?.close().await;
    Ok(())
}

async fn target(link: &LinkSpec) -> Result<(LinkStatus, Option<String>)> {
    let mut node = Node::connect(&link.target.access, link.target.engine).await?;
    let status = node.link_status(&link.sync, &link.id).await?;
    // What the account may not see is no reason to fail.
    let holder = node.waiting_for().await.unwrap_or_default();
    node.close().await;
    Ok((status, holder))
}

fn earliest(held: &[HeldTable]) -> Option<Position> {
    let positions = held.iter().map(|held| &held.position);
    let first = positions.reduce(|first, next| match first.covers(next) {
        Ok(true) => next,
        Ok(false) | Err(_) => first,
    });
    first.cloned()
}

/// The position that covers the others.
fn furthest<'a>(positions: impl IntoIterator<Item = &'a Position>) -> Option<&'a Position> {
    positions
        .into_iter()
        .reduce(|last, next| match next.covers(last) {
            Ok(true) => next,
            Ok(false) | Err(_) => last,
        })
}

async fn source(
    link: &LinkSpec,
    checkpoint: Option<&Position>,
    stands: Option<&Position>,
    held: Option<&Position>,
) -> Result<Kept> {
    let mut node = Node::connect(&link.source.access, link.source.engine).await?;
    let end = node.log_end().await?;
    let from = checkpoint.unwrap_or(&end.position);
    let retention = node.retained(&link.sync, &link.target.name, from).await?;
    let held = match held {
        Some(held) => Some(node.retained(&link.sync, &link.target.name, held).await?),
        None => None,
    };
    let distance = match furthest(stands.into_iter().chain(&retention.taken)) {
        Some(from) => Some(node.log_distance(from).await?),
        None => None,
    };
    node.close().await;
    Ok(Kept {
        end,
        retention,
        held,
        distance,
    })
}

/// Something is missing, and reading the log disturbs nobody.
fn is_readable(facts: &Facts, stands: &Position) -> bool {
    let Some(Ok(kept)) = &facts.source else {
        return false;
    };
    let is_slot = matches!(stands, Position::Lsn(_));
    let is_taken = is_slot && kept.retention.reader_active != Some(false);
    !is_taken && !kept.retention.lost && !stands.covers(&kept.end.position).unwrap_or(true)
}

async fn oldest(sync: &SyncSpec, index: usize, from: &Position, memory: &Memory) -> Option<Oldest> {
    let link = sync.link(index);
    let key = (link.sync.clone(), link.id.clone());
    let text = from.to_string();
    let known = memory.links().get(&key).cloned();
    if let Some((position, oldest @ Oldest::At(_))) = known
        && position == text
    {
        return Some(oldest);
    }
    // A log that cannot be read now leaves the bound from the checkpoint's age.
    let found = tokio::time::timeout(READ_MAX, behind::oldest(sync, index, from)).await;
    let found = found.ok().and_then(Result::ok)?;
    memory.links().insert(key, (text, found));
    Some(found)
}
