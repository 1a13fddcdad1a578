//! Where each link stands and why nothing moves: one report, made from the databases, a process's live figures, or
//! both. `status` prints it, `/api/v1/status` serves it.
//!
//! Owns: the fields and what they mean (docs/operations.md). What the process says goes before what the databases
//! say, because it knows what it has read; the databases answer when no process does.
//! Refuses: asking (see `facts`).

pub mod facts;

use crate::config::Link;
use crate::error::{Error, Reason};
use crate::flow::figures::{Figures, moment};
use crate::flow::spec::{Seed, SyncSpec};
use crate::model::operation::{self, HeldTable, Lease, Pause, Resync, ResyncState, Stop};
use crate::model::position::Position;
use crate::model::round::{self, Imaged, Round};
use crate::model::sync::{LinkStatus, Mode, Retention, TableCopy};
use facts::{Facts, Oldest, Word};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The checkpoint of a link that runs and is idle moves at least this often, with some grace.
const IDLE_CHECKPOINT_MS: u64 = 6 * 60_000;
/// Within that, tombstones come and go.
const TOMBSTONES_OLD_MS: u64 = 10 * 60_000;
/// The state of a link between two rounds.
const RESTING: &str = "resting";
/// What starts a link that nothing keeps from going on.
const RUN: &str = "tidelock run";
/// A reader reports every ten seconds; after this it is frozen or cut off.
const SILENT_READER_MS: u64 = 25_000;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Document {
    pub schema: u8,
    pub links: Vec<Report>,
    #[serde(default)]
    pub next_steps: Vec<String>,
}

impl Document {
    pub fn new(links: Vec<Report>) -> Self {
        let mut next_steps: Vec<String> = Vec::new();
        // One that stopped for a reason of its own took the others with it, and would again.
        let is_stopped = |report: &Report| {
            report.state == "stopped" && report.next.as_deref().is_some_and(|next| next != RUN)
        };
        let is_run_vain = links.iter().any(is_stopped);
        for report in &links {
            let open = (report.conflicts_open > 0).then_some("tidelock conflicts list --open");
            let held = report.held.iter().filter(|held| !held.resumed);
            let held = held.map(|held| held.next.as_str());
            let own = report.next.as_deref().filter(|next| *next != RUN || !is_run_vain);
            for step in own.into_iter().chain(held).chain(open) {
                if !next_steps.iter().any(|known| known == step) {
                    next_steps.push(step.to_owned());
                }
            }
        }
        Document {
            schema: 1,
            links,
            next_steps,
        }
    }
}

/// One link. `*_estimated`: an estimate or an upper bound.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub sync: String,
    pub link: String,
    pub state: String,
    pub why: String,
    pub position: Option<String>,
    pub seq: Option<i64>,
    /// For so long what is applied has not been the present; 0 = everything that the source has is applied.
    pub lag_ms: Option<u64>,
    pub lag_estimated: bool,
    pub lag_bytes: Option<u64>,
    pub lag_bytes_estimated: bool,
    /// Commit time of the oldest transaction that is not applied, by the source's clock, and its age.
    pub oldest_unapplied_at: Option<String>,
    pub oldest_unapplied_ms: Option<u64>,
    pub oldest_unapplied_estimated: bool,
    pub checkpoint_age_ms: Option<u64>,
    pub conflicts_open: u64,
    pub conflicts_total: u64,
    #[serde(default)]
    pub conflict_oldest_open_ms: Option<u64>,
    /// Changes that wait, by why they do.
    #[serde(default)]
    pub parked: std::collections::BTreeMap<String, u64>,
    /// Rows that users of the source inserted under numbers of another node (`ids = "split"`).
    #[serde(default)]
    pub strays: u64,
    pub retained_bytes: Option<u64>,
    pub retained_limit: Option<String>,
    /// So much more log, or time, and the source may remove what the link needs.
    pub retained_left_bytes: Option<u64>,
    pub retained_left_seconds: Option<u64>,
    /// The copy of the program that holds the link's lease.
    pub run_by: Option<String>,
    /// Tables that lack what a skipped transaction changed.
    #[serde(default)]
    pub out_of_sync: Vec<String>,
    /// Tables that wait while the others go on, each with why, since when and what is to be done.
    #[serde(default)]
    pub held: Vec<Held>,
    /// Tables that somebody wants copied anew, and nobody has begun with.
    #[serde(default)]
    pub to_copy: Vec<String>,
    /// Tables of which only the rows that a condition takes are copied anew, with it.
    #[serde(default)]
    pub copied_where: Vec<String>,
    /// How far the first copy is, table by table, while it is not done; later, of tables that are copied anew.
    #[serde(default)]
    pub copy: Vec<Copied>,
    /// Stamps of deleted rows that the target keeps until every node knows of the deletes; merge only.
    #[serde(default)]
    pub tombstones: Option<Tombstones>,
    /// The last image or burst of a link that runs in rounds, and how often it is to be.
    #[serde(default)]
    pub every: Option<String>,
    #[serde(default)]
    pub round: Option<LastRound>,
    /// Who holds the lock that the target waits for.
    pub blocked_by: Option<String>,
    /// What the running process says, where it was asked and answered.
    pub live: Option<Figures>,
    #[serde(skip)]
    pub(crate) next: Option<String>,
}

/// A table of a first copy. `*_estimated`: by the source's statistics; no rows where it has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    pub table: String,
    pub chunks: u64,
    pub chunks_done: u64,
    pub rows: u64,
    pub rows_estimated: Option<u64>,
    pub bytes: u64,
    pub bytes_estimated: u64,
}

/// The last image of a snapshot link, or the last burst of one with `every`. Times are of the target's clock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LastRound {
    pub at: String,
    pub age_ms: u64,
    pub took_ms: u64,
    pub next_at: String,
    /// Where the source stood, and its time then: what the target shows.
    pub position: String,
    pub source_at: String,
    pub rows: u64,
    pub written: u64,
    pub tables: Vec<Imaged>,
}

impl LastRound {
    fn of(round: &Round, every: Duration) -> LastRound {
        LastRound {
            at: moment(round.began_us),
            age_ms: round.age_ms,
            took_ms: round.took_ms,
            next_at: moment(round.next_us(every)),
            position: round.position.clone(),
            source_at: moment(round.source_us),
            rows: round.rows(),
            written: round.written(),
            tables: round.tables.clone(),
        }
    }

    fn told(&self) -> String {
        let at = second(&self.source_at);
        match self.tables.is_empty() {
            true => format!("last burst up to {at}"),
            false => format!(
                "image of {at}: {} rows, {} written, took {:.1} s",
                self.rows,
                self.written,
                self.took_ms as f64 / 1_000.0
            ),
        }
    }
}

/// A moment without the fraction of its second.
fn second(at: &str) -> String {
    at.split_once('.')
        .map_or_else(|| at.to_owned(), |(second, _)| format!("{second}Z"))
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tombstones {
    pub count: u64,
    pub oldest_ms: Option<u64>,
    /// Empty: nothing holds them but the next look.
    pub waits_for: String,
}

impl Tombstones {
    /// Only if it has taken so long that somebody may want to know.
    fn told(&self) -> Option<String> {
        let is_old = self.oldest_ms.is_some_and(|age| age >= TOMBSTONES_OLD_MS);
        let is_told = self.count > 0 && is_old && !self.waits_for.is_empty();
        is_told.then(|| format!("tombstones wait: {}", self.waits_for))
    }
}

/// A table that its link holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub table: String,
    /// Up to here it is applied.
    pub position: String,
    pub transaction: Option<String>,
    pub since: String,
    pub why: String,
    pub next: String,
    /// It is to be taken up, or is catching up.
    pub resumed: bool,
    /// The source does not keep the log from there on any more.
    pub is_lost: bool,
    /// After so long it may not.
    pub retained_left_seconds: Option<u64>,
}

impl Held {
    fn told(&self) -> String {
        let since = self
            .since
            .split_once('.')
            .map_or(self.since.as_str(), |(second, _)| second);
        let at = self
            .transaction
            .as_ref()
            .map_or(String::new(), |at| format!(" at transaction {at}"));
        let left = match (self.is_lost, self.retained_left_seconds) {
            (true, _) => "; the log from there on is gone: only a new copy helps".to_owned(),
            (false, Some(seconds)) => {
                format!("; the log from there on is kept for {} h more", seconds / 3_600)
            }
            (false, None) => String::new(),
        };
        match self.resumed {
            true => format!("table {} is taken up (held since {since})", self.table),
            false => format!(
                "table {} is held since {since}{at}: {} ({}){left}",
                self.table, self.why, self.next
            ),
        }
    }
}

impl Report {
    /// What the databases say.
    pub fn of(spec: &SyncSpec, link: &Link, facts: &Facts) -> Report {
        let mut report = Report {
            sync: spec.name.clone(),
            link: link.id.clone(),
            ..Report::default()
        };
        report.retained(facts);
        report.measured(facts);
        let verdict = judge(&Kind::of(spec), link, facts, report.lag_ms == Some(0));
        report.every = spec.every.map(round::told);
        report.state = verdict.state.to_owned();
        report.why = verdict.why;
        report.next = verdict.next;
        report.blocked_by = facts.holder.clone().filter(|_| report.lag_ms != Some(0));
        if let Ok(target) = &facts.target {
            let checkpoint = target.checkpoint.as_ref();
            report.position = checkpoint.map(|checkpoint| checkpoint.position.to_string());
            report.seq = checkpoint.map(|checkpoint| checkpoint.seq);
            report.checkpoint_age_ms = checkpoint.and(target.checkpoint_age_ms);
            report.conflicts_open = target.conflicts_open;
            report.conflicts_total = target.conflicts_total;
            report.conflict_oldest_open_ms = target.conflict_oldest_open_ms;
            report.parked.clone_from(&target.parked);
            report.strays = target.strays;
            let lacking = target.out_of_sync.iter().map(|lacks| lacks.table.to_string());
            report.out_of_sync = lacking.collect();
            let is_first = checkpoint.is_some_and(|checkpoint| checkpoint.seq < 0);
            let is_open = |copy: &&TableCopy| is_first || copy.chunks_done < copy.chunks;
            report.copy = target.copies.iter().filter(is_open).map(copied).collect();
            let is_asked = |resync: &&Resync| resync.state == ResyncState::Asked;
            let asked = target.resyncs.iter().filter(is_asked);
            report.to_copy = asked
                .map(|resync| operation::asked(&resync.table, resync.condition.as_deref()))
                .collect();
            let begun = target.resyncs.iter().filter(|resync| !is_asked(resync));
            report.copied_where = begun.filter_map(by_condition).collect();
            report.tombstones = target.tombstones.as_ref().map(|figures| Tombstones {
                count: figures.count,
                oldest_ms: figures.oldest_ms,
                waits_for: figures.waits_for.clone(),
            });
            let last = target.round.as_ref().zip(spec.every);
            report.round = last.map(|(last, every)| LastRound::of(last, every));
            let kept = facts.source.as_ref().and_then(|source| source.as_ref().ok());
            let kept = kept.and_then(|kept| kept.held.as_ref());
            report.held = target.held.iter().map(|held| told(held, kept)).collect();
            report.run_by = target
                .lease
                .as_ref()
                .filter(|lease| lease.is_held())
                .map(|lease| lease.holder.clone());
        }
        if report.state == RESTING {
            report.not_late();
        }
        let word = facts.word(spec.limits.lease_ttl);
        report.with(word.map(|word| word.figures.clone()))
    }

    /// The process's word goes first.
    pub fn with(mut self, live: Option<Figures>) -> Report {
        let Some(live) = live else { return self };
        // Who paused a link, and what for, stands in the database.
        if !(self.state == "paused" && live.state == "paused") {
            (self.state, self.why) = (live.state.clone(), live.why.clone());
            self.next = None;
        }
        if live.state == RESTING {
            self.not_late();
        } else if live.lag_ms.is_some() {
            (self.lag_ms, self.lag_estimated) = (live.lag_ms, false);
            (self.lag_bytes, self.lag_bytes_estimated) = (live.lag_bytes, live.lag_bytes_estimated);
            self.oldest_unapplied_at.clone_from(&live.oldest_unapplied_at);
            self.oldest_unapplied_ms = live.oldest_unapplied_ms;
            self.oldest_unapplied_estimated = live.oldest_unapplied_estimated;
        }
        self.live = Some(live);
        self
    }

    /// What is not wanted yet is not late.
    fn not_late(&mut self) {
        (self.lag_ms, self.lag_bytes) = (None, None);
        (self.oldest_unapplied_at, self.oldest_unapplied_ms) = (None, None);
    }

    fn retained(&mut self, facts: &Facts) {
        let Some(Ok(kept)) = &facts.source else { return };
        let retention = &kept.retention;
        self.retained_bytes = retention.retained_bytes;
        self.retained_limit = Some(retention.limit.clone()).filter(|limit| !limit.is_empty());
        self.retained_left_bytes = retention.left_bytes;
        self.retained_left_seconds = retention.left_seconds;
    }

    fn measured(&mut self, facts: &Facts) {
        let Some(Ok(kept)) = &facts.source else { return };
        let stands = stands(facts, &kept.retention);
        let covers = |position: &Position| position.covers(&kept.end.position).unwrap_or(false);
        if stands.iter().any(covers) || facts.oldest == Some(Oldest::Nothing) {
            (self.lag_ms, self.lag_bytes) = (Some(0), Some(0));
            return;
        }
        if stands.is_empty() {
            return;
        }
        self.lag_bytes = kept.distance.map(|distance| distance.bytes);
        let age = match facts.oldest {
            Some(Oldest::At(committed_us)) => {
                self.lag_bytes_estimated = kept.distance.is_some_and(|distance| distance.is_estimate);
                self.oldest_unapplied_at = Some(moment(committed_us));
                u64::try_from((kept.end.now_us - committed_us) / 1_000).unwrap_or(0)
            }
            Some(Oldest::Nothing) | None => {
                self.lag_bytes_estimated = true;
                let target = facts.target.as_ref().ok();
                let moved = target.and_then(|target| target.checkpoint_age_ms);
                // All before what was the oldest then is applied.
                let said = facts.said.as_ref().and_then(|word| {
                    let oldest = word.figures.oldest_unapplied_ms.unwrap_or(0);
                    word.figures.lag_ms.map(|_| word.age_ms.saturating_add(oldest))
                });
                let Some(age) = [moved, said].into_iter().flatten().min() else {
                    return;
                };
                let since = i64::try_from(age).unwrap_or(i64::MAX).saturating_mul(1_000);
                self.oldest_unapplied_at = Some(moment(kept.end.now_us.saturating_sub(since)));
                (self.lag_estimated, self.oldest_unapplied_estimated) = (true, true);
                age
            }
        };
        (self.lag_ms, self.oldest_unapplied_ms) = (Some(age), Some(age));
    }

    /// How far the first copy is, in all and of the tables that are under way.
    fn copied(&self) -> Option<String> {
        let sum = |of: fn(&Copied) -> u64| self.copy.iter().map(of).sum::<u64>();
        let (chunks, done) = (sum(|copied| copied.chunks), sum(|copied| copied.chunks_done));
        let rows: Option<u64> = self.copy.iter().map(|copied| copied.rows_estimated).sum();
        let so_far = told_rows(sum(|copied| copied.rows), rows);
        let is_begun = |copied: &&Copied| copied.chunks_done > 0 && copied.chunks_done < copied.chunks;
        let begun = self.copy.iter().filter(is_begun);
        let begun: Vec<String> = begun
            .map(|copied| {
                format!(
                    "{} {}",
                    copied.table,
                    told_rows(copied.rows, copied.rows_estimated)
                )
            })
            .collect();
        let begun = match begun.is_empty() {
            true => String::new(),
            false => format!(": {}", begun.join(", ")),
        };
        (chunks > 0).then(|| format!("copied {so_far}, {done} of {chunks} chunks{begun}"))
    }

    /// Why nothing moves, with whoever stands in the way.
    pub fn reason(&self) -> String {
        let why = match (&self.blocked_by, self.why.is_empty()) {
            (None, _) => self.why.clone(),
            (Some(holder), true) => format!("the target waits for {holder}"),
            (Some(holder), false) => format!("{}: the target waits for {holder}", self.why),
        };
        // Tables that lack something are told whatever else there is to say.
        let mut parts: Vec<String> = Some(why).filter(|why| !why.is_empty()).into_iter().collect();
        parts.extend(self.round.as_ref().map(LastRound::told));
        parts.extend(self.copied());
        parts.extend(self.held.iter().map(Held::told));
        if !self.copied_where.is_empty() {
            parts.push(format!(
                "only these rows are copied anew: {}",
                self.copied_where.join(", ")
            ));
        }
        if !self.to_copy.is_empty() {
            parts.push(format!(
                "to be copied anew as soon as a copy of the program runs: {}",
                self.to_copy.join(", ")
            ));
        }
        if !self.out_of_sync.is_empty() {
            parts.push(format!("out of sync: {}", self.out_of_sync.join(", ")));
        }
        parts.extend(self.tombstones.as_ref().and_then(Tombstones::told));
        parts.join("; ")
    }
}

/// Where the link stands for certain, as far as it is known.
fn stands(facts: &Facts, retention: &Retention) -> Vec<Position> {
    let target = facts.target.as_ref().ok();
    let checkpoint = target.and_then(|target| target.checkpoint.as_ref());
    let checkpoint = checkpoint.map(|checkpoint| checkpoint.position.clone());
    let taken = facts.said.as_ref().and_then(Word::position);
    let known = [checkpoint, taken, retention.taken.clone()];
    known.into_iter().flatten().collect()
}

struct Verdict {
    state: &'static str,
    why: String,
    next: Option<String>,
}

fn verdict(state: &'static str, why: impl Into<String>, next: Option<&str>) -> Verdict {
    Verdict {
        state,
        why: why.into(),
        next: next.map(str::to_owned),
    }
}

/// What kind of sync the link is of.
struct Kind<'a> {
    sync: &'a str,
    seed: &'a Seed,
    mode: Mode,
    every: Option<Duration>,
}

impl Kind<'_> {
    fn of(spec: &SyncSpec) -> Kind<'_> {
        Kind {
            sync: &spec.name,
            seed: &spec.seed,
            mode: spec.mode,
            every: spec.every,
        }
    }
}

fn judge(kind: &Kind<'_>, link: &Link, facts: &Facts, in_step: bool) -> Verdict {
    let sync = kind.sync;
    let target = match &facts.target {
        Ok(target) => target,
        Err(error) => return verdict("unknown", error.to_string(), Some("tidelock check")),
    };
    if !target.set_up {
        let why = "the target has no tidelock objects for this sync";
        return verdict(
            "not set up",
            why,
            Some(&format!("tidelock setup --sync {sync} --execute")),
        );
    }
    // A seq below zero: the copy has begun and is not committed.
    let begun = target
        .checkpoint
        .as_ref()
        .filter(|checkpoint| checkpoint.seq >= 0);
    let Some(age) = begun.and(target.checkpoint_age_ms) else {
        return not_begun(kind);
    };
    if let Some(pause) = &target.pause {
        let resume = format!("tidelock resume '{sync}/{}'", link.id);
        return verdict("paused", paused(pause), Some(&resume));
    }
    if kind.mode == Mode::Snapshot {
        return of_images(kind, target, facts);
    }
    let retention = match &facts.source {
        Some(Ok(kept)) => &kept.retention,
        Some(Err(error)) => return verdict("unknown", error.to_string(), Some("tidelock check")),
        None => return verdict("unknown", "the source was not asked", Some("tidelock check")),
    };
    if retention.lost {
        let why = "the source no longer keeps the log at the checkpoint: a new copy is needed";
        let teardown = format!("tidelock teardown --sync {sync} --execute");
        return verdict("position lost", why, Some(&teardown));
    }
    if let Some(stop) = target.halted() {
        // Running again without that only stops again.
        let next = stop.hint.as_deref().unwrap_or(RUN);
        return verdict("stopped", halted(stop), Some(next));
    }
    let lease = target.lease.as_ref();
    if let Some(lease) = lease.filter(|lease| !lease.is_held()) {
        return verdict("stopped", ended(lease), Some(RUN));
    }
    if let Some((round, every)) = target.round.as_ref().zip(kind.every).filter(|_| lease.is_some()) {
        let left = round.left(every);
        if retention.reader_active != Some(true) && !left.is_zero() {
            return resting(round, every);
        }
    }
    by_reader(retention, link, lease.is_some(), in_step, age)
}

/// `age`: of the checkpoint.
fn by_reader(retention: &Retention, link: &Link, is_leased: bool, in_step: bool, age: u64) -> Verdict {
    let silent = retention.reader_silent_ms.filter(|ms| *ms > SILENT_READER_MS);
    match (retention.reader_active, silent) {
        (Some(true), Some(ms)) => {
            let seconds = ms / 1_000;
            let why =
                format!("its process holds the slot and has said nothing for {seconds} s: frozen or cut off");
            verdict("stuck", why, Some("tidelock health"))
        }
        (Some(true), None) => verdict("running", "", None),
        (Some(false), _) => {
            let why = format!("nobody reads the log of node {} for this link", source(link));
            verdict("stopped", why, Some(RUN))
        }
        (None, _) if in_step => verdict("in step", "", None),
        (None, _) if is_leased => verdict("running", "", None),
        (None, _) if age <= IDLE_CHECKPOINT_MS => verdict("moving", "", None),
        (None, _) => {
            let minutes = age / 60_000;
            let why = format!("the checkpoint has not moved for {minutes} min: no run, or it is stuck");
            verdict("stopped", why, Some(RUN))
        }
    }
}

/// No log is read: the lease tells whether somebody runs it.
fn of_images(kind: &Kind<'_>, target: &LinkStatus, facts: &Facts) -> Verdict {
    if let Some(Err(error)) = &facts.source {
        return verdict("unknown", error.to_string(), Some("tidelock check"));
    }
    if let Some(stop) = target.halted() {
        let next = stop.hint.as_deref().unwrap_or(RUN);
        return verdict("stopped", halted(stop), Some(next));
    }
    match (&target.lease, &target.round) {
        (Some(lease), _) if !lease.is_held() => verdict("stopped", ended(lease), Some(RUN)),
        (Some(_), Some(round)) => match kind.every {
            Some(every) if !round.left(every).is_zero() => resting(round, every),
            Some(_) | None => verdict("running", "the next image is due", None),
        },
        (Some(_), None) => verdict("running", "the first image is not complete", None),
        (None, _) => verdict("stopped", "nobody runs it", Some(RUN)),
    }
}

fn resting(round: &Round, every: Duration) -> Verdict {
    let next = moment(round.next_us(every));
    verdict(RESTING, format!("next at {}", second(&next)), None)
}

fn not_begun(kind: &Kind<'_>) -> Verdict {
    match kind.seed {
        Seed::From(node) if kind.mode == Mode::Snapshot => {
            let why = format!("no image of {node} has been made");
            verdict("never started", why, Some(RUN))
        }
        Seed::From(node) => {
            let why = format!("the first copy from {node} is not done");
            verdict("not seeded", why, Some(RUN))
        }
        Seed::Union => {
            let why = "the rows of both sides have not become one set yet".to_owned();
            verdict("not seeded", why, Some(RUN))
        }
        Seed::None => {
            let why = "no run has made a checkpoint yet";
            verdict("never started", why, Some(RUN))
        }
    }
}

fn told_rows(rows: u64, estimated: Option<u64>) -> String {
    match estimated {
        Some(estimated) => format!("{rows} of ~{} rows", estimated.max(rows)),
        None => format!("{rows} rows"),
    }
}

fn by_condition(resync: &Resync) -> Option<String> {
    let condition = resync.condition.as_deref()?;
    Some(operation::asked(&resync.table, Some(condition)))
}

fn copied(copy: &TableCopy) -> Copied {
    Copied {
        table: copy.table.clone(),
        chunks: copy.chunks,
        chunks_done: copy.chunks_done,
        rows: copy.rows,
        rows_estimated: copy.rows_estimated,
        bytes: copy.bytes,
        bytes_estimated: copy.bytes_estimated,
    }
}

/// `kept`: how long the source keeps the log from the earliest held table on.
fn told(held: &HeldTable, kept: Option<&Retention>) -> Held {
    Held {
        table: held.table.to_string(),
        position: held.position.to_string(),
        transaction: held.transaction.clone(),
        since: moment(held.since_us),
        why: held.error.clone(),
        next: held.hint.clone(),
        resumed: held.resumed,
        is_lost: kept.is_some_and(|kept| kept.lost),
        retained_left_seconds: kept.and_then(|kept| kept.left_seconds),
    }
}

fn ended(lease: &Lease) -> String {
    let seconds = lease.left_ms.unsigned_abs() / 1_000;
    format!(
        "nobody runs it: the lease of {} ended {seconds} s ago",
        lease.holder
    )
}

fn paused(pause: &Pause) -> String {
    let since = jiff::Timestamp::from_microsecond(pause.at_us)
        .map_or_else(|_| String::new(), |at| format!("{at:.0}"));
    let reason = match pause.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    format!("paused by {} since {since}{reason}", pause.by)
}

fn halted(stop: &Stop) -> String {
    let at = stop.halt.as_ref().map_or(String::new(), |halt| {
        format!("stopped at transaction {}: ", halt.transaction)
    });
    let hint = stop
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!(" ({hint})"));
    format!("{at}{}{hint}", stop.error)
}

fn source(link: &Link) -> &str {
    link.id.split_once("->").map_or("", |(source, _)| source)
}

/// The first end that did not answer: the command's exit code tells it.
pub fn unreachable(facts: &Facts) -> Option<Error> {
    let passes = |error: &Error| error.is_transient() || error.reason_kind() == Reason::Unreachable;
    let ends = [
        ("ask the target", facts.target.as_ref().err()),
        (
            "ask the source",
            facts.source.as_ref().and_then(|kept| kept.as_ref().err()),
        ),
    ];
    ends.into_iter().find_map(|(doing, error)| {
        let error = error.filter(|error| passes(error))?;
        let said = Error::definite(doing)
            .reason(Reason::Unreachable)
            .why(error.to_string());
        Some(match error.hint_text() {
            Some(hint) => said.hint(hint),
            None => said,
        })
    })
}

#[cfg(test)]
mod tests;
