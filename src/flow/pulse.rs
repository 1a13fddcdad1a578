//! Live figures of the links: what `status`, `/metrics` and `/readyz` show of a running process.
//!
//! Owns: counters, the state of each link and its reason. Refuses: deciding anything: what the flows write here they do
//! not go by; only `poll` reads a position back, to measure from. Nothing here fails or waits: a figure is an atomic, or
//! a mutex held for a few instructions.

use super::lag::{Lag, Meter};
use super::progress::{Copying, Progress};
use super::spec::SyncSpec;
use crate::chunk::Chunk;
use crate::error::{Class, Error};
use crate::model::change::Op;
use crate::model::log::LogEnd;
use crate::model::position::Position;
use crate::model::round::Round;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// A group that takes longer makes its link "waiting": the reason is looked for.
const WAITING_AFTER: Duration = Duration::from_secs(3);

/// Weight of the last second in the rate: half of a change shows after two seconds.
const RATE_WEIGHT: f64 = 0.3;

/// All links of a running process.
#[derive(Debug, Default)]
pub struct Live {
    links: Mutex<Vec<Arc<Pulse>>>,
}

impl Live {
    pub fn new(syncs: &[SyncSpec]) -> Self {
        let links = syncs.iter().flat_map(|sync| {
            (0..sync.links.len()).map(|index| {
                let link = sync.link(index);
                let (source, target) = (link.source.name.clone(), link.target.name.clone());
                Arc::new(Pulse::new(&link.sync, &link.id, source, target))
            })
        });
        Live {
            links: Mutex::new(links.collect()),
        }
    }

    /// The links of a new configuration; those that were there keep their figures.
    pub fn adopt(&self, syncs: &[SyncSpec]) {
        let new = Live::new(syncs);
        let kept = new
            .links()
            .iter()
            .map(|pulse| self.of(&pulse.sync, &pulse.link))
            .collect();
        *locked(&self.links) = kept;
    }

    pub fn links(&self) -> Vec<Arc<Pulse>> {
        locked(&self.links).clone()
    }

    /// The figures of one link; of one that is not known they are kept by nobody.
    pub fn of(&self, sync: &str, link: &str) -> Arc<Pulse> {
        let links = locked(&self.links);
        let found = links
            .iter()
            .find(|pulse| pulse.sync == sync && pulse.link == link);
        found.cloned().unwrap_or_else(|| {
            let (source, target) = link.split_once("->").unwrap_or((link, link));
            Arc::new(Pulse::new(sync, link, source.to_owned(), target.to_owned()))
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting,
    Copying,
    Streaming,
    /// Between two rounds.
    Resting,
    /// It would go on by itself as soon as something passes: see the reason.
    Waiting,
    /// Another instance holds the lease.
    Standby,
    Paused,
    Stopped,
}

impl State {
    pub const ALL: [State; 8] = [
        State::Starting,
        State::Copying,
        State::Streaming,
        State::Resting,
        State::Waiting,
        State::Standby,
        State::Paused,
        State::Stopped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Copying => "copying",
            State::Streaming => "streaming",
            State::Resting => "resting",
            State::Waiting => "waiting",
            State::Standby => "standby",
            State::Paused => "paused",
            State::Stopped => "stopped",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Condition {
    pub state: State,
    /// One sentence; empty when nothing stands in the way.
    pub why: String,
    pub since: Instant,
}

/// Rows of one kind of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ops(pub [u64; 4]);

impl Ops {
    pub const NAMES: [&'static str; 4] = ["insert", "update", "delete", "truncate"];

    pub(super) fn count(&mut self, op: &Op) {
        self.0[match op {
            Op::Insert { .. } => 0,
            Op::Update { .. } => 1,
            Op::Delete { .. } => 2,
            Op::Truncate => 3,
        }] += 1;
    }

    pub fn total(self) -> u64 {
        self.0.iter().sum()
    }
}

impl std::ops::AddAssign for Ops {
    fn add_assign(&mut self, other: Ops) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, more)| *mine += more);
    }
}

/// (table, kind, outcome) of recorded conflicts.
pub type Conflicts = BTreeMap<(String, &'static str, &'static str), u64>;

/// Counts of durations or sizes in fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum_millionths: AtomicU64,
}

impl Histogram {
    pub const SECONDS: [f64; 16] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    ];
    pub const ROWS: [f64; 9] = [1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5, 1e6];

    fn new(bounds: &'static [f64]) -> Self {
        Histogram {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_millionths: AtomicU64::new(0),
        }
    }

    fn observe(&self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        self.counts[bucket.unwrap_or(self.bounds.len())].fetch_add(1, Relaxed);
        // A float beyond the range is cut to it.
        self.sum_millionths
            .fetch_add((value * 1e6).round() as u64, Relaxed);
    }

    /// The sum, and the counts per bucket (not summed up) with its bound, the last one without.
    pub fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        (
            self.sum_millionths.load(Relaxed) as f64 / 1e6,
            bounds.zip(counts).collect(),
        )
    }
}

/// A copy under way: dropped, it is told no more.
pub(crate) struct Copies(Arc<Pulse>);

impl Drop for Copies {
    fn drop(&mut self) {
        *locked(&self.0.copying) = None;
    }
}

/// What one link has done since the process started.
#[derive(Debug)]
pub struct Pulse {
    pub sync: String,
    pub link: String,
    pub source: String,
    pub target: String,
    condition: Mutex<Condition>,
    /// Up to here everything is applied or of no interest.
    taken: Mutex<Option<Position>>,
    meter: Mutex<Meter>,
    conflicts: Mutex<Conflicts>,
    /// Rows at the last tick, and rows per second since the one before, smoothed.
    rate: Mutex<(Option<(Instant, u64)>, f64)>,
    /// Free room of the reader's buffer, and its size.
    queue: Mutex<Option<(Arc<Semaphore>, usize)>>,
    /// The copy that this process makes.
    copying: Mutex<Option<Progress>>,
    rounds: Mutex<Rounds>,
    pub histogram_apply: Histogram,
    pub histogram_latency: Histogram,
    /// Rows of the source's transactions.
    pub histogram_rows: Histogram,
    received: [AtomicU64; 4],
    applied: [AtomicU64; 4],
    pub figures: Counters,
}

/// Of a link that runs in rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    pub last: Option<Round>,
    /// When it ended, by this machine's clock in microseconds.
    pub ended_us: i64,
    /// While it rests: when the next one is due, by the same clock.
    pub next_us: Option<i64>,
    /// Since the process started.
    pub count: u64,
}

/// Plain counters and gauges; zero of a time = never.
#[derive(Debug, Default)]
pub struct Counters {
    /// Changes that Tidelock itself had written.
    pub skipped_loop: AtomicU64,
    /// Changes outside of the row filter, and such that changed nothing.
    pub skipped_filter: AtomicU64,
    pub skipped_noop: AtomicU64,
    pub transactions: AtomicU64,
    pub groups: AtomicU64,
    /// Rows written, after the changes of one key became one.
    pub rows: AtomicU64,
    pub copied_rows: AtomicU64,
    /// Rows of the first copy by the source's statistics; zero = not known, or none was needed.
    pub copy_estimated: AtomicU64,
    pub copied_bytes: AtomicU64,
    /// Of the source's tables, by its statistics.
    pub copy_bytes_estimated: AtomicU64,
    /// Chunks that are still to be done.
    pub copy_chunks_open: AtomicU64,
    /// Changes that were answered by writes of our own on the target.
    pub answers: AtomicU64,
    /// Updates that did not raise their version, and rows touched because they stood below what the other node had.
    pub missed_bumps: AtomicU64,
    /// Writes of the source over rows that are not its own, which the target took back.
    pub undone: AtomicU64,
    pub retries: AtomicU64,
    pub reconnects: AtomicU64,
    /// Definitions of tables that changed on the source: the link went on, or it or the table stopped there.
    pub altered_passed: AtomicU64,
    pub altered_stopped: AtomicU64,
    pub errors: [AtomicU64; 4],
    pub throttled_us: AtomicU64,
    pub is_throttled: AtomicBool,
    /// Unix microseconds of this machine's clock.
    pub checkpoint_at_us: AtomicI64,
    /// Commit time by the source's clock of the oldest transaction that is being applied, or arrives in parts.
    applying_commit_us: AtomicI64,
    receiving_commit_us: AtomicI64,
    /// Since when a group is open; milliseconds on `clock_ms`, zero = none.
    applying_since_ms: AtomicU64,
    /// Since when an open group waits for more of its transaction from the source; the same clock.
    awaiting_since_ms: AtomicU64,
}

impl Counters {
    pub const CLASSES: [&'static str; 4] = ["transient", "definite", "ambiguous", "bug"];
}

/// Whoever panicked while holding it left whole figures behind.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn now_us() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(0, |age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

/// Milliseconds on this process's own clock, which begins far from zero: that stands for never.
fn clock_ms() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let age = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(age).unwrap_or(u64::MAX).saturating_add(1 << 20)
}

/// `None`: it is not set.
fn elapsed(since_ms: &AtomicU64) -> Option<Duration> {
    let since = since_ms.load(Relaxed);
    (since > 0).then(|| Duration::from_millis(clock_ms().saturating_sub(since)))
}

impl Pulse {
    pub(super) fn new(sync: &str, link: &str, source: String, target: String) -> Self {
        Pulse {
            sync: sync.to_owned(),
            link: link.to_owned(),
            source,
            target,
            condition: Mutex::new(Condition {
                state: State::Starting,
                why: String::new(),
                since: Instant::now(),
            }),
            taken: Mutex::default(),
            meter: Mutex::default(),
            conflicts: Mutex::default(),
            rate: Mutex::default(),
            queue: Mutex::default(),
            copying: Mutex::default(),
            rounds: Mutex::default(),
            histogram_apply: Histogram::new(&Histogram::SECONDS),
            histogram_latency: Histogram::new(&Histogram::SECONDS),
            histogram_rows: Histogram::new(&Histogram::ROWS),
            received: Default::default(),
            applied: Default::default(),
            figures: Counters::default(),
        }
    }

    pub fn set(&self, state: State, why: impl Into<String>) {
        let why = why.into();
        let mut condition = locked(&self.condition);
        if condition.state != state {
            condition.since = Instant::now();
        }
        condition.state = state;
        condition.why = why;
    }

    /// An error that the link answers by starting anew (`retry`) or by stopping.
    pub(super) fn failed(&self, error: &Error, retry: Option<Duration>) {
        let class = match error.class() {
            Class::Transient => 0,
            Class::Definite => 1,
            Class::Ambiguous => 2,
            Class::Bug => 3,
        };
        self.figures.errors[class].fetch_add(1, Relaxed);
        self.stopped_at(error);
        self.dropped();
        match retry {
            Some(pause) => {
                self.figures.reconnects.fetch_add(1, Relaxed);
                let again = format!("{error}; starts anew in {} ms", pause.as_millis());
                self.set(State::Waiting, again);
            }
            None => self.set(State::Stopped, error.to_string()),
        }
    }

    /// The link, or one of its tables, stops.
    pub(super) fn stopped_at(&self, error: &Error) {
        let stopped = u64::from(error.is_of_ddl());
        self.figures.altered_stopped.fetch_add(stopped, Relaxed);
    }

    /// Tables were altered on the source, and the link goes on.
    pub(super) fn altered(&self, tables: u64) {
        self.figures.altered_passed.fetch_add(tables, Relaxed);
    }

    /// Nothing of an earlier run is open any more.
    fn dropped(&self) {
        self.figures.applying_since_ms.store(0, Relaxed);
        self.figures.awaiting_since_ms.store(0, Relaxed);
        self.figures.receiving_commit_us.store(0, Relaxed);
        self.figures.is_throttled.store(false, Relaxed);
    }

    /// `why`: what does not stream, if there is something.
    pub(super) fn streaming(&self, position: &Position, why: impl Into<String>) {
        self.dropped();
        self.took(position);
        self.set(State::Streaming, why);
    }

    /// Everything up to here is applied or of no interest.
    pub(super) fn took(&self, position: &Position) {
        *locked(&self.taken) = Some(position.clone());
    }

    pub(super) fn queue(&self, room: &Arc<Semaphore>, size: usize) {
        *locked(&self.queue) = Some((Arc::clone(room), size));
    }

    /// The reader waits for room.
    pub(super) fn throttled(&self, is_throttled: bool, waited: Duration) {
        self.figures.is_throttled.store(is_throttled, Relaxed);
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.figures.throttled_us.fetch_add(waited, Relaxed);
    }

    /// A part has come; `is_open`: its transaction goes on.
    pub(super) fn received(&self, ops: Ops, looped: u64, committed_at_us: i64, is_open: bool) {
        for (sum, more) in self.received.iter().zip(ops.0).filter(|(_, more)| *more > 0) {
            sum.fetch_add(more, Relaxed);
        }
        self.figures.skipped_loop.fetch_add(looped, Relaxed);
        let open = if is_open { committed_at_us } else { 0 };
        self.figures.receiving_commit_us.store(open, Relaxed);
    }

    pub(super) fn applying(&self, committed_at_us: Option<i64>) {
        self.figures
            .applying_commit_us
            .store(committed_at_us.unwrap_or(0), Relaxed);
        self.figures.applying_since_ms.store(clock_ms(), Relaxed);
    }

    /// The open group waits for the source, until `came`.
    pub(super) fn awaits(&self) {
        self.figures.awaiting_since_ms.store(clock_ms(), Relaxed);
    }

    pub(super) fn came(&self) {
        self.figures.awaiting_since_ms.store(0, Relaxed);
    }

    pub(super) fn tried_again(&self) {
        self.figures.retries.fetch_add(1, Relaxed);
    }

    /// Until then nothing is read, and that is meant.
    pub(super) fn rests(&self, last: &Round, next_us: i64) {
        let mut rounds = locked(&self.rounds);
        rounds.last.get_or_insert_with(|| last.clone());
        rounds.next_us = Some(next_us);
    }

    pub(super) fn woken(&self) {
        locked(&self.rounds).next_us = None;
    }

    /// A round has ended.
    pub(super) fn rounded(&self, round: &Round) {
        let mut rounds = locked(&self.rounds);
        rounds.last = Some(round.clone());
        rounds.ended_us = now_us();
        rounds.count += 1;
    }

    pub fn rounds(&self) -> Rounds {
        locked(&self.rounds).clone()
    }

    /// Nothing of the group was to be written.
    pub(super) fn idle(&self) {
        self.figures.applying_since_ms.store(0, Relaxed);
    }

    pub(super) fn committed(&self, position: &Position, rows: u64, conflicts: &Conflicts) {
        self.took(position);
        let since = self.figures.applying_since_ms.swap(0, Relaxed);
        if since > 0 {
            let open = Duration::from_millis(clock_ms().saturating_sub(since));
            self.histogram_apply.observe(open.as_secs_f64());
        }
        self.figures.groups.fetch_add(1, Relaxed);
        self.figures.rows.fetch_add(rows, Relaxed);
        self.figures.checkpoint_at_us.store(now_us(), Relaxed);
        if !conflicts.is_empty() {
            let mut sums = locked(&self.conflicts);
            for (what, count) in conflicts {
                *sums.entry(what.clone()).or_default() += count;
            }
        }
    }

    /// Checkpoints that this process has committed.
    pub(super) fn committed_groups(&self) -> u64 {
        self.figures.groups.load(Relaxed)
    }

    pub(super) fn skipped(&self, filtered: u64, unchanged: u64) {
        self.figures.skipped_filter.fetch_add(filtered, Relaxed);
        self.figures.skipped_noop.fetch_add(unchanged, Relaxed);
    }

    /// A source transaction is visible on the target.
    pub(super) fn visible(&self, committed_at_us: i64, ops: Ops) {
        self.figures.transactions.fetch_add(1, Relaxed);
        for (sum, more) in self.applied.iter().zip(ops.0).filter(|(_, more)| *more > 0) {
            sum.fetch_add(more, Relaxed);
        }
        let latency = u64::try_from(now_us() - committed_at_us).unwrap_or(0);
        self.histogram_latency
            .observe(Duration::from_micros(latency).as_secs_f64());
        self.histogram_rows.observe(ops.total() as f64);
    }

    /// To be called about each second.
    pub fn tick(&self) {
        let rows = self.figures.rows.load(Relaxed) + self.figures.copied_rows.load(Relaxed);
        let mut rate = locked(&self.rate);
        if let Some((at, before)) = rate.0 {
            let now = rows.saturating_sub(before) as f64 / at.elapsed().as_secs_f64().max(0.001);
            rate.1 = rate.1 * (1.0 - RATE_WEIGHT) + now * RATE_WEIGHT;
            // What a stop leaves behind would never be nothing.
            if rate.1 < 0.05 {
                rate.1 = 0.0;
            }
        }
        rate.0 = Some((Instant::now(), rows));
    }

    pub fn rows_per_second(&self) -> f64 {
        locked(&self.rate).1
    }

    /// A copy of these chunks, as long as what is returned is held.
    pub(crate) fn copies(self: &Arc<Self>, chunks: &[Chunk]) -> Copies {
        let open = || chunks.iter().filter(|chunk| !chunk.is_done);
        let rows = open().filter_map(|chunk| chunk.estimated_rows).sum();
        let bytes = open().map(|chunk| chunk.estimated_bytes).sum();
        self.figures.copy_estimated.store(rows, Relaxed);
        self.figures.copy_bytes_estimated.store(bytes, Relaxed);
        self.figures
            .copy_chunks_open
            .store(open().count() as u64, Relaxed);
        *locked(&self.copying) = Some(Progress::new(chunks, tokio::time::Instant::now()));
        Copies(Arc::clone(self))
    }

    pub(crate) fn chunk_begins(&self, chunk: &Chunk) {
        if let Some(progress) = locked(&self.copying).as_mut() {
            progress.begins(chunk, tokio::time::Instant::now());
        }
    }

    pub(crate) fn chunk_done(&self, chunk: &Chunk) {
        self.figures.copied_rows.fetch_add(chunk.copied_rows, Relaxed);
        self.figures.copied_bytes.fetch_add(chunk.copied_bytes, Relaxed);
        self.figures.copy_chunks_open.fetch_sub(1, Relaxed);
        if let Some(progress) = locked(&self.copying).as_mut() {
            progress.done(chunk);
        }
    }

    /// `None`: this process copies nothing now.
    pub fn copying(&self) -> Option<Copying> {
        let progress = locked(&self.copying);
        progress
            .as_ref()
            .map(|progress| progress.told(tokio::time::Instant::now()))
    }

    /// The end of the source's log; `bytes` only ever grows.
    pub(super) fn sampled(&self, end: &LogEnd, bytes: u64) {
        let taken = self.position();
        locked(&self.meter).sampled(end, bytes, taken.as_ref());
    }

    pub(super) fn measured_from(&self, position: &Position, is_estimate: bool) {
        locked(&self.meter).begins(position, is_estimate);
    }

    pub(super) fn position(&self) -> Option<Position> {
        locked(&self.taken).clone()
    }
}

/// Reading.
impl Pulse {
    /// The state, and where it waits why.
    pub fn condition(&self) -> Condition {
        let condition = locked(&self.condition).clone();
        if condition.state != State::Streaming {
            return condition;
        }
        let waits = |why: String, since: Duration| Condition {
            state: State::Waiting,
            why,
            since: Instant::now().checked_sub(since).unwrap_or(condition.since),
        };
        let (source, target) = (&self.source, &self.target);
        // While a group is open, whoever it waits for is told, and nobody else is waited for.
        match (self.awaiting_for(), self.applying_for()) {
            (Some(waited), _) if waited > WAITING_AFTER => {
                let seconds = waited.as_secs();
                let why = format!("node {source} has not sent the rest of a transaction for {seconds} s");
                waits(why, waited)
            }
            (None, Some(open)) if open > WAITING_AFTER => {
                let why = format!("node {target} has not finished a group for {} s", open.as_secs());
                waits(why, open)
            }
            (Some(_), _) | (None, Some(_)) => condition,
            (None, None) => match self.unread_for() {
                Some((quiet, true)) => {
                    let why = format!("node {source} does not answer: no word for {} s", quiet.as_secs());
                    waits(why, quiet)
                }
                Some((quiet, false)) => {
                    let why = format!(
                        "node {source} wrote log that it has not sent for {} s",
                        quiet.as_secs()
                    );
                    waits(why, quiet)
                }
                None => condition,
            },
        }
    }

    /// For how long a group has been open.
    pub fn applying_for(&self) -> Option<Duration> {
        elapsed(&self.figures.applying_since_ms)
    }

    fn awaiting_for(&self) -> Option<Duration> {
        elapsed(&self.figures.awaiting_since_ms)
    }

    /// Log that is there and was not sent, or (`true`) a source that does not say how much there is.
    fn unread_for(&self) -> Option<(Duration, bool)> {
        let is_busy = self.applying_for().is_some() || self.figures.is_throttled.load(Relaxed);
        locked(&self.meter).quiet(self.position().as_ref(), is_busy)
    }

    pub fn lag(&self) -> Lag {
        // What is not wanted yet is not late.
        if locked(&self.rounds).next_us.is_some() {
            return Lag::default();
        }
        let taken = self.position();
        let open = self.applying_for().is_some();
        let applying = self.figures.applying_commit_us.load(Relaxed);
        let receiving = self.figures.receiving_commit_us.load(Relaxed);
        let known = [if open { applying } else { 0 }, receiving];
        let oldest = known.into_iter().filter(|at| *at != 0).min();
        locked(&self.meter).lag(taken.as_ref(), oldest)
    }

    /// Bytes read and not yet applied, and the most there may be.
    pub fn queued(&self) -> (u64, u64) {
        let queue = locked(&self.queue);
        queue.as_ref().map_or((0, 0), |(room, size)| {
            (size.saturating_sub(room.available_permits()) as u64, *size as u64)
        })
    }

    pub fn read_position(&self) -> Option<String> {
        self.position().map(|position| position.to_string())
    }

    pub fn events_received(&self) -> Ops {
        Ops(std::array::from_fn(|op| self.received[op].load(Relaxed)))
    }

    pub fn events_applied(&self) -> Ops {
        Ops(std::array::from_fn(|op| self.applied[op].load(Relaxed)))
    }

    pub fn conflicts(&self) -> Conflicts {
        locked(&self.conflicts).clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pulse() -> Pulse {
        Pulse::new("s", "a->b", "a".to_owned(), "b".to_owned())
    }

    #[test]
    fn an_open_group_is_told_by_whom_it_waits_for() {
        let pulse = pulse();
        pulse.streaming(&Position::Lsn(1), "");
        assert_eq!(pulse.condition().state, State::Streaming);
        pulse.applying(Some(7));
        assert_eq!(pulse.condition().state, State::Streaming);
        // As if it had been so for longer.
        let ago = |since: &AtomicU64| since.store(clock_ms() - 4_000, Relaxed);
        ago(&pulse.figures.applying_since_ms);
        assert_eq!(pulse.condition().why, "node b has not finished a group for 4 s");
        pulse.awaits();
        assert_eq!(pulse.condition().state, State::Streaming);
        ago(&pulse.figures.awaiting_since_ms);
        assert_eq!(
            pulse.condition().why,
            "node a has not sent the rest of a transaction for 4 s"
        );
        pulse.came();
        assert!(pulse.applying_for().is_some());
        // What was dropped in the middle of a group is not open when the link goes on.
        pulse.streaming(&Position::Lsn(1), "");
        assert_eq!(
            (pulse.applying_for(), pulse.condition().state),
            (None, State::Streaming)
        );
        pulse.applying(Some(7));
        pulse.committed(&Position::Lsn(2), 3, &Conflicts::new());
        assert_eq!(
            (pulse.applying_for(), pulse.figures.rows.load(Relaxed)),
            (None, 3)
        );
    }

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::new(&Histogram::SECONDS);
        [0.0, 0.001, 0.001_001, 2.0, 900.0]
            .into_iter()
            .for_each(|seconds| histogram.observe(seconds));
        let (sum, buckets) = histogram.read();
        assert!((sum - 902.002_001).abs() < 1e-6, "{sum}");
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[0], counts[1], counts[10], counts[16]), (2, 1, 1, 1));
        assert!(buckets[16].0.is_infinite());
    }

    #[test]
    fn an_error_says_what_the_link_waits_for() {
        let pulse = pulse();
        pulse.failed(&Error::transient("reach it"), Some(Duration::from_millis(200)));
        let condition = pulse.condition();
        assert_eq!(condition.state, State::Waiting);
        assert_eq!(condition.why, "could not reach it; starts anew in 200 ms");
        pulse.failed(&Error::definite("apply"), None);
        assert_eq!(pulse.condition().state, State::Stopped);
        let stopped = |pulse: &Pulse| pulse.figures.altered_stopped.load(Relaxed);
        assert_eq!(stopped(&pulse), 0);
        pulse.failed(&Error::definite("apply").of_ddl(), None);
        assert_eq!(stopped(&pulse), 1);
    }
}
