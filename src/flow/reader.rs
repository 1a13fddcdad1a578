//! The reading task of a link: keeps the source's connection alive and stays at most a bounded number of bytes
//! ahead of the apply loop.

use super::link::Receiver;
use super::pulse::{Ops, Pulse};
use crate::engine::Source;
use crate::error::Result;
use crate::model::change::{Part, Step};
use crate::model::origin::Guard;
use crate::model::position::Position;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Changes read ahead of the apply loop: the group that commits, the next one, and this.
const AHEAD_BYTES: usize = 8 << 20;
/// What a step costs beside its changes.
const STEP_BYTES: usize = 256;
/// A server gives up a silent reader after a minute by default.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A step and its share of the bound, which is given back when it is dropped.
pub(super) struct Received {
    pub step: Step,
    /// Log it stands for: its changes, and the echoes before it.
    pub log_bytes: u64,
    /// Its changes by kind.
    pub ops: Ops,
    _share: OwnedSemaphorePermit,
}

pub(super) fn spawn(
    source: Source,
    confirmed: watch::Receiver<Option<Position>>,
    guard: Guard,
    pulse: Arc<Pulse>,
    group_bytes_max: usize,
) -> (Receiver, JoinHandle<()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        if let Err(error) = read(source, confirmed, &guard, &sender, &pulse, group_bytes_max).await {
            // The link may be gone already; then nobody wants to know.
            let _ = sender.send(Err(error));
        }
    });
    (receiver, task)
}

async fn read(
    mut source: Source,
    mut confirmed: watch::Receiver<Option<Position>>,
    guard: &Guard,
    sender: &mpsc::UnboundedSender<Result<Received>>,
    pulse: &Pulse,
    group_bytes_max: usize,
) -> Result<()> {
    let ahead_max = 2 * group_bytes_max + AHEAD_BYTES;
    // The most one step takes of it: a single larger row must still find room beside what a group holds back.
    let share_max = ahead_max - group_bytes_max;
    let budget = Arc::new(Semaphore::new(ahead_max));
    pulse.queue(&budget, ahead_max);
    let mut echoed = 0;
    loop {
        let mut step = source.next(&mut confirmed).await?;
        let mut ops = Ops::default();
        if let Step::Part(part) = &mut step {
            let rows = part.changes.iter().filter(|change| !change.is_tombstone());
            rows.for_each(|change| ops.count(&change.op));
            let all = ops;
            echoed += drop_echo(part, guard);
            if part.changes.is_empty() {
                ops = Ops::default();
            }
            let looped = all.total() - ops.total();
            pulse.received(all, looped, part.head.committed_at_us, part.end.is_none());
            if part.changes.is_empty() && part.end.is_none() {
                continue;
            }
        }
        let bytes = match &step {
            Step::Part(part) => part.bytes,
            Step::Idle { .. } => 0,
        };
        let log_bytes = std::mem::take(&mut echoed) + bytes as u64;
        let shares = u32::try_from((STEP_BYTES + bytes).min(share_max)).unwrap_or(u32::MAX);
        let Some(share) = room(&budget, shares, &mut source, pulse).await? else {
            return Ok(());
        };
        if sender
            .send(Ok(Received {
                step,
                log_bytes,
                ops,
                _share: share,
            }))
            .is_err()
        {
            return Ok(());
        }
    }
}

/// Waits for room in the buffer and keeps the source's connection meanwhile.
async fn room(
    budget: &Arc<Semaphore>,
    shares: u32,
    source: &mut Source,
    pulse: &Pulse,
) -> Result<Option<OwnedSemaphorePermit>> {
    if let Ok(share) = Arc::clone(budget).try_acquire_many_owned(shares) {
        return Ok(Some(share));
    }
    let since = Instant::now();
    pulse.throttled(true, Duration::ZERO);
    let share = loop {
        tokio::select! {
            biased;
            share = Arc::clone(budget).acquire_many_owned(shares) => break share,
            () = tokio::time::sleep(KEEPALIVE) => source.keepalive().await?,
        }
    };
    pulse.throttled(false, since.elapsed());
    Ok(share.ok())
}

/// The loop guard: what Tidelock applied for this sync goes no further. Its place in the log still counts.
/// Returns the bytes that were dropped.
fn drop_echo(part: &mut Part, guard: &Guard) -> u64 {
    if !guard.is_echo(&part.writer) {
        return 0;
    }
    part.changes = Vec::new();
    std::mem::take(&mut part.bytes) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::group::{Collector, Unit};
    use super::*;
    use crate::error::Error;
    use crate::model::change::{Head, Writer};
    use crate::model::position::Position;

    fn transaction(number: u64, budget: &Arc<Semaphore>) -> Received {
        let part = Part {
            head: Arc::new(Head {
                transaction: number.to_string(),
                past: None,
                committed_at_us: 0,
            }),
            writer: Writer::User,
            first: 0,
            changes: Vec::new(),
            end: Some(Position::Lsn(number)),
            bytes: 0,
        };
        Received {
            step: Step::Part(part),
            log_bytes: 1,
            ops: Ops::default(),
            _share: Arc::clone(budget).try_acquire_owned().unwrap(),
        }
    }

    #[tokio::test]
    async fn an_error_behind_a_group_is_told_after_it() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let budget = Arc::new(Semaphore::new(9));
        for number in [1, 2] {
            sender.send(Ok(transaction(number, &budget))).ok().unwrap();
        }
        sender.send(Err(Error::transient("read"))).ok().unwrap();
        drop(sender);
        let mut collector = Collector::new(receiver, 1 << 20);
        let Unit::Whole(first) = collector.next().await.unwrap() else {
            panic!("no transaction")
        };
        assert_eq!(collector.group(first, 100).len(), 2);
        assert!(collector.next().await.err().unwrap().is_transient());
    }
}
