//! `/metrics`: the figures as OpenMetrics text. docs/operations.md lists every name; a test compares the two.
//!
//! Owns: names, help texts and labels. Base units, `_total` for counters, one prefix. The `table` label is capped:
//! beyond [`TABLES_MAX`] tables conflicts are summed under an empty table.

use super::Shown;
use crate::flow::progress::Pace;
use crate::flow::pulse::{Conflicts, Counters, Histogram, Ops, Pulse, Rounds, State, now_us};
use crate::model::parked::ParkKind;
use crate::status::Report;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Series per kind and outcome are kept for so many tables.
const TABLES_MAX: usize = 500;

pub fn encode(shown: &Arc<Shown>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix("tidelock");
    ours.register_collector(Box::new(Ours(Arc::clone(shown))));
    registry.register_collector(Box::new(Process(shown.started_at_us)));
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One metric with all its series.
struct Series<'e, 'd> {
    encoder: &'d mut DescriptorEncoder<'e>,
}

impl Series<'_, '_> {
    fn each<'a>(
        &mut self,
        (name, help): (&str, &str),
        kind: MetricType,
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in series {
            match labels.is_empty() {
                true => write(&mut metric, kind, value)?,
                false => write(&mut metric.encode_family(&labels)?, kind, value)?,
            }
        }
        Ok(())
    }

    fn gauge<'a>(
        &mut self,
        about: (&str, &str),
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        self.each(about, MetricType::Gauge, series)
    }

    fn counter<'a>(
        &mut self,
        about: (&str, &str),
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        self.each(about, MetricType::Counter, series)
    }

    fn histogram<'a>(
        &mut self,
        (name, help): (&str, &str),
        series: impl IntoIterator<Item = (Labels<'a>, &'a Histogram)>,
    ) -> fmt::Result {
        let kind = MetricType::Histogram;
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, histogram) in series {
            let (sum, buckets) = histogram.read();
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

fn of(pulse: &Pulse) -> Labels<'_> {
    vec![("sync", &*pulse.sync), ("link", &*pulse.link)]
}

fn with<'a>(pulse: &'a Pulse, more: (&'static str, &'a str)) -> Labels<'a> {
    let mut labels = of(pulse);
    labels.push(more);
    labels
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

struct Ours(Arc<Shown>);

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ours")
    }
}

impl Collector for Ours {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let links = self.0.live.links();
        let mut out = Series {
            encoder: &mut encoder,
        };
        self.program(&mut out)?;
        states(&mut out, &links)?;
        self.lag(&mut out, &links)?;
        self.source(&mut out, &links)?;
        self.tombstones(&mut out, &links)?;
        flow(&mut out, &links)?;
        queue(&mut out, &links)?;
        self.conflicts(&mut out, &links)
    }
}

type Links = [Arc<Pulse>];

/// One value per link.
fn each<'a>(links: &'a Links, value: impl Fn(&Pulse) -> f64) -> Vec<(Labels<'a>, f64)> {
    links.iter().map(|pulse| (of(pulse), value(pulse))).collect()
}

fn count<'a>(links: &'a Links, counter: impl Fn(&Counters) -> &AtomicU64) -> Vec<(Labels<'a>, f64)> {
    each(links, |pulse| counter(&pulse.figures).load(Relaxed) as f64)
}

impl Ours {
    fn program(&self, out: &mut Series<'_, '_>) -> fmt::Result {
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        out.gauge(("build_info", "Which program this is"), [(version, 1.0)])?;
        let good = flag(self.0.is_reload_good.load(Relaxed));
        let help = "The last reload of the configuration was taken";
        out.gauge(("config_last_reload_successful", help), [(Vec::new(), good)])?;
        let mut nodes: BTreeMap<String, bool> = BTreeMap::new();
        for pulse in self.0.live.links() {
            if let Some(known) = self.0.facts.known(&pulse.sync, &pulse.link) {
                nodes.insert(pulse.source.clone(), known.source_answers);
                nodes.insert(pulse.target.clone(), known.target_answers);
            }
        }
        let answers = nodes
            .iter()
            .map(|(node, answers)| (vec![("node", &**node)], flag(*answers)));
        out.gauge(
            ("node_connected", "The node answered when it was asked last"),
            answers,
        )
    }

    fn lag(&self, out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
        let lags: Vec<_> = links.iter().map(|pulse| (pulse, pulse.lag())).collect();
        let age = lags
            .iter()
            .filter_map(|(pulse, lag)| Some((of(pulse), seconds(lag.age_ms?))));
        let help = "For so long what is applied has not been the present; 0 when everything is applied";
        out.gauge(("replication_lag_seconds", help), age)?;
        let bytes = lags
            .iter()
            .filter_map(|(pulse, lag)| Some((of(pulse), lag.bytes? as f64)));
        out.gauge(
            ("replication_lag_bytes", "Log of the source that is not applied"),
            bytes,
        )?;
        let oldest = lags
            .iter()
            // Nothing is known before the source's log was looked at.
            .filter_map(|(pulse, lag)| {
                lag.age_ms
                    .map(|_| (of(pulse), lag.oldest_age_ms.map_or(0.0, seconds)))
            });
        let help = "Age of the oldest commit that is not applied; 0 when there is none";
        out.gauge(("oldest_unapplied_commit_seconds", help), oldest)?;
        let help = "From the commit on the source to the commit on the target, by both machines' clocks";
        let latency = links.iter().map(|pulse| (of(pulse), &pulse.histogram_latency));
        out.histogram(("end_to_end_latency_seconds", help), latency)?;
        let at = links.iter().filter_map(|pulse| {
            let at = pulse
                .figures
                .checkpoint_at_us
                .load(std::sync::atomic::Ordering::Relaxed);
            (at > 0).then(|| (of(pulse), at as f64 / 1e6))
        });
        out.gauge(
            ("checkpoint_timestamp_seconds", "When the checkpoint moved last"),
            at,
        )
    }

    fn source(&self, out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
        let known: Vec<_> = links
            .iter()
            .filter_map(|pulse| Some((pulse, self.0.facts.known(&pulse.sync, &pulse.link)?.report)))
            .collect();
        let kept = known
            .iter()
            .filter_map(|(pulse, report)| Some((of(pulse), report.retained_bytes? as f64)));
        out.gauge(
            ("source_retained_bytes", "Log that the source keeps for the link"),
            kept,
        )?;
        let left = known
            .iter()
            .filter_map(|(pulse, report)| Some((of(pulse), report.retained_left_bytes? as f64)));
        let help = "So much more log, and the source may remove what the link needs (PostgreSQL)";
        out.gauge(("source_retention_remaining_bytes", help), left)?;
        let left = known
            .iter()
            .filter_map(|(pulse, report)| Some((of(pulse), report.retained_left_seconds? as f64)));
        let help = "After so long the source may remove what the link needs (MySQL, MariaDB)";
        out.gauge(("source_retention_remaining_seconds", help), left)?;
        let told = self.told_by_target(links);
        let held = told
            .iter()
            .map(|(pulse, report)| (of(pulse), report.held.len() as f64));
        let help = "Tables that wait for an operator while the link's other tables go on";
        out.gauge(("tables_held", help), held)?;
        let lost = each(links, |pulse| {
            self.0.facts.invalidations(&pulse.sync, &pulse.link) as f64
        });
        let help = "How often the source was found to have removed what the link needs";
        out.counter(("slot_invalidations", help), lost)
    }

    fn tombstones(&self, out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
        let told = self.told_by_target(links);
        let kept = || {
            told.iter()
                .filter_map(|(pulse, report)| Some((pulse, report.tombstones.as_ref()?)))
        };
        let count = kept().map(|(pulse, kept)| (of(pulse), kept.count as f64));
        let help = "Stamps of deleted rows that the target keeps until every node knows of the deletes";
        out.gauge(("tombstones", help), count)?;
        let oldest = kept().map(|(pulse, kept)| (of(pulse), kept.oldest_ms.map_or(0.0, seconds)));
        let help = "Age of the oldest of them; 0 when there is none";
        out.gauge(("tombstone_oldest_seconds", help), oldest)
    }

    /// What stands in the targets, of those that answered: a figure that nobody knows has no series.
    fn told_by_target<'a>(&self, links: &'a Links) -> Vec<(&'a Pulse, Report)> {
        let known = links.iter().filter_map(|pulse| {
            let known = self.0.facts.known(&pulse.sync, &pulse.link)?;
            known.target_answers.then_some((&**pulse, known.report))
        });
        known.collect()
    }

    fn conflicts(&self, out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
        let sums: Vec<(&Arc<Pulse>, Conflicts)> = links
            .iter()
            .map(|pulse| (pulse, capped(pulse.conflicts())))
            .collect();
        let series = sums.iter().flat_map(|(pulse, sums)| {
            sums.iter().map(|((table, kind, outcome), count)| {
                let mut labels = with(pulse, ("table", table));
                labels.extend([("type", *kind), ("resolution", *outcome)]);
                (labels, *count as f64)
            })
        });
        out.counter(("conflicts", "Conflicts recorded since the start"), series)?;
        let known = self.told_by_target(links);
        let open = known
            .iter()
            .map(|(pulse, report)| (of(pulse), report.conflicts_open as f64));
        out.gauge(("conflicts_open", "Conflicts that wait for a person"), open)?;
        let oldest = known
            .iter()
            .map(|(pulse, report)| (of(pulse), report.conflict_oldest_open_ms.map_or(0.0, seconds)));
        let help = "Age of the oldest conflict that waits for a person; 0 when there is none";
        out.gauge(("conflict_oldest_open_seconds", help), oldest)?;
        let parked = known.iter().flat_map(|(pulse, report)| {
            let kinds = ParkKind::ALL.into_iter();
            kinds.map(|kind| {
                let mut labels = of(pulse);
                labels.push(("reason", kind.name()));
                (
                    labels,
                    report.parked.get(kind.name()).copied().unwrap_or_default() as f64,
                )
            })
        });
        out.gauge(
            ("parked_rows", "Rows of which a change waits, by why it does"),
            parked,
        )?;
        let strays = known
            .iter()
            .map(|(pulse, report)| (of(pulse), report.strays as f64));
        let help = "Rows inserted on the source under numbers of another node, until they are forgotten";
        out.gauge(("stray_ids", help), strays)?;
        let missed = links
            .iter()
            .map(|pulse| (of(pulse), pulse.figures.missed_bumps.load(Relaxed) as f64));
        out.counter(
            (
                "missed_bumps",
                "Writes that did not raise their row's version as they should",
            ),
            missed,
        )?;
        let undone = links
            .iter()
            .map(|pulse| (of(pulse), pulse.figures.undone.load(Relaxed) as f64));
        let help =
            "Writes of the source over rows that the filters give to the target alone, which were undone";
        out.counter(("undone", help), undone)
    }
}

/// Too many tables are told as one without a name.
fn capped(sums: Conflicts) -> Conflicts {
    let tables: BTreeSet<&String> = sums.keys().map(|(table, ..)| table).collect();
    if tables.len() <= TABLES_MAX {
        return sums;
    }
    let mut all = Conflicts::new();
    for ((_, kind, outcome), count) in sums {
        *all.entry((String::new(), kind, outcome)).or_default() += count;
    }
    all
}

fn states(out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
    let conditions: Vec<_> = links
        .iter()
        .map(|pulse| (pulse, pulse.condition().state))
        .collect();
    let series = conditions.iter().flat_map(|(pulse, now)| {
        State::ALL
            .into_iter()
            .map(|state| (with(pulse, ("state", state.name())), flag(state == *now)))
    });
    out.gauge(("link_state", "1 for the state that the link is in"), series)?;
    let leads = conditions
        .iter()
        .map(|(pulse, state)| (of(pulse), flag(*state != State::Standby)));
    out.gauge(("leader", "0 while another instance runs the link"), leads)?;
    let copies = conditions.iter().map(|(pulse, state)| {
        (
            of(pulse),
            flag(*state == State::Copying || pulse.copying().is_some()),
        )
    });
    out.gauge(("copy_state", "1 while a copy runs, first or new"), copies)
}

fn flow(out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
    let by_op = |read: fn(&Pulse) -> Ops, node: fn(&Pulse) -> &str| {
        let series = links.iter().flat_map(move |pulse| {
            Ops::NAMES.into_iter().zip(read(pulse).0).map(move |(op, count)| {
                let mut labels = with(pulse, ("node", node(pulse)));
                labels.push(("op", op));
                (labels, count as f64)
            })
        });
        series.collect::<Vec<_>>()
    };
    let received = by_op(Pulse::events_received, |pulse| &pulse.source);
    out.counter(
        ("events_received", "Row changes read from the source's log"),
        received,
    )?;
    let applied = by_op(Pulse::events_applied, |pulse| &pulse.target);
    out.counter(
        ("events_applied", "Row changes whose transaction is on the target"),
        applied,
    )?;
    let skipped = links.iter().flat_map(|pulse| {
        let figures = &pulse.figures;
        let reasons = [
            ("loop", &figures.skipped_loop),
            ("filter", &figures.skipped_filter),
            ("noop", &figures.skipped_noop),
        ];
        reasons.map(|(reason, count)| (with(pulse, ("reason", reason)), count.load(Relaxed) as f64))
    });
    out.counter(("events_skipped", "Row changes that go no further"), skipped)?;
    let transactions = count(links, |figures| &figures.transactions);
    out.counter(
        ("transactions", "Source transactions that are on the target"),
        transactions,
    )?;
    let sizes = links.iter().map(|pulse| (of(pulse), &pulse.histogram_rows));
    out.histogram(("transaction_rows", "Row changes of a source transaction"), sizes)?;
    let groups = count(links, |figures| &figures.groups);
    out.counter(
        (
            "groups",
            "Target transactions, checkpoints of idle links included",
        ),
        groups,
    )?;
    let rows = count(links, |figures| &figures.rows);
    out.counter(
        (
            "rows_written",
            "Rows written, the changes of one key counted once",
        ),
        rows,
    )?;
    copies(out, links)?;
    rounds(out, links)?;
    troubles(out, links)
}

fn copies(out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
    let copied = count(links, |figures| &figures.copied_rows);
    out.counter(("copy_rows", "Rows of copies, first and new"), copied)?;
    let estimated = count(links, |figures| &figures.copy_estimated);
    let help = "Rows of a copy by the source's statistics; 0 when this process made none";
    out.gauge(("copy_rows_estimated", help), estimated)?;
    let copied = count(links, |figures| &figures.copied_bytes);
    out.counter(("copy_bytes", "Bytes of copies, as their cells are held"), copied)?;
    let estimated = count(links, |figures| &figures.copy_bytes_estimated);
    let help = "Bytes of a copy's tables on the source; 0 when this process made none";
    out.gauge(("copy_bytes_estimated", help), estimated)?;
    let open = count(links, |figures| &figures.copy_chunks_open);
    out.gauge(("copy_chunks_open", "Chunks of a copy that are not done"), open)?;
    paces(out, links)
}

/// Of links that make images, or carry the log in bursts: no others have these.
fn rounds(out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
    let all: Vec<_> = links.iter().map(|pulse| (pulse, pulse.rounds())).collect();
    let done = all.iter().filter(|(_, rounds)| rounds.count > 0);
    let done = done.map(|(pulse, rounds)| (of(pulse), rounds.count as f64));
    out.counter(("rounds", "Images that were swapped in, and bursts"), done)?;
    let mut each = |name: &str, help: &str, read: &dyn Fn(&Rounds) -> Option<f64>| {
        let series = all
            .iter()
            .filter_map(|(pulse, rounds)| Some((of(pulse), read(rounds)?)));
        out.gauge((name, help), series)
    };
    let now = now_us();
    let since = |at: i64| (now - at).max(0) as f64 / 1e6;
    each(
        "round_source_age_seconds",
        "Age of what the target shows, by both machines' clocks: the last image, or the end of the last burst",
        &|rounds| rounds.last.as_ref().map(|last| since(last.source_us)),
    )?;
    each(
        "round_duration_seconds",
        "How long the last round took",
        &|rounds| rounds.last.as_ref().map(|last| seconds(last.took_ms)),
    )?;
    each("round_rows", "Rows of the last image", &|rounds| {
        let last = rounds.last.as_ref().filter(|last| !last.tables.is_empty());
        last.map(|last| last.rows() as f64)
    })?;
    each(
        "round_rows_written",
        "Of these, rows that the target did not have so",
        &|rounds| {
            let last = rounds.last.as_ref().filter(|last| !last.tables.is_empty());
            last.map(|last| last.written() as f64)
        },
    )?;
    each(
        "round_next_seconds",
        "Until the next round is due, while the link rests",
        &|rounds| rounds.next_us.map(|next| (next - now).max(0) as f64 / 1e6),
    )
}

/// Of copies that run: of all, and of the tables that are begun and not done.
fn paces(out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
    let copying: Vec<_> = links
        .iter()
        .filter_map(|pulse| Some((pulse, pulse.copying()?)))
        .collect();
    let rate = copying
        .iter()
        .map(|(pulse, copying)| (of(pulse), copying.all.rows_per_second));
    out.gauge(("copy_rows_per_second", "Pace of the copy that runs"), rate)?;
    let left = copying
        .iter()
        .filter_map(|(pulse, copying)| Some((of(pulse), copying.all.seconds_left? as f64)));
    out.gauge(("copy_left_seconds", "Until the copy is done, an estimate"), left)?;
    let tables: Vec<_> = copying
        .iter()
        .flat_map(|(pulse, copying)| copying.tables.iter().map(move |pace| (pulse, pace)))
        .collect();
    let mut each = |name: &str, help: &str, read: fn(&Pace) -> Option<f64>| {
        let series = tables
            .iter()
            .filter_map(|(pulse, pace)| Some((with(pulse, ("table", &pace.table)), read(pace)?)));
        out.gauge((name, help), series)
    };
    each(
        "copy_table_rows",
        "Rows of a table that is being copied",
        |pace| Some(pace.rows as f64),
    )?;
    let help = "Its rows by the source's statistics";
    each("copy_table_rows_estimated", help, |pace| {
        pace.rows_estimated.map(|rows| rows as f64)
    })?;
    each("copy_table_bytes", "Its bytes, as cells are held", |pace| {
        Some(pace.bytes as f64)
    })?;
    each("copy_table_rows_per_second", "Its pace", |pace| {
        Some(pace.rows_per_second)
    })?;
    each(
        "copy_table_left_seconds",
        "Until it is done, an estimate",
        |pace| pace.seconds_left.map(|seconds| seconds as f64),
    )
}

fn troubles(out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
    let durations = links.iter().map(|pulse| (of(pulse), &pulse.histogram_apply));
    out.histogram(
        (
            "apply_duration_seconds",
            "One target transaction, from begin to commit",
        ),
        durations,
    )?;
    let errors = links.iter().flat_map(|pulse| {
        let errors = Counters::CLASSES.into_iter().zip(&pulse.figures.errors);
        errors.map(|(class, count)| (with(pulse, ("class", class)), count.load(Relaxed) as f64))
    });
    out.counter(("apply_errors", "Errors that ended a link's run"), errors)?;
    let altered = links.iter().flat_map(|pulse| {
        let figures = &pulse.figures;
        let kinds = [
            ("passed", &figures.altered_passed),
            ("stopped", &figures.altered_stopped),
        ];
        kinds.map(|(kind, count)| (with(pulse, ("kind", kind)), count.load(Relaxed) as f64))
    });
    let help = "Tables that were altered on the source, as the link met it in the log";
    out.counter(("schema_changes", help), altered)?;
    let retries = count(links, |figures| &figures.retries);
    out.counter(
        ("retries", "Groups tried again after a deadlock or a lock wait"),
        retries,
    )?;
    let reconnects = count(links, |figures| &figures.reconnects);
    out.counter(
        ("reconnects", "Starts anew after an error that passes"),
        reconnects,
    )
}

fn queue(out: &mut Series<'_, '_>, links: &Links) -> fmt::Result {
    let used = each(links, |pulse| pulse.queued().0 as f64);
    out.gauge(("queue_bytes", "Read and not yet applied"), used)?;
    let most = each(links, |pulse| pulse.queued().1 as f64);
    out.gauge(("queue_capacity_bytes", "The most that is read ahead"), most)?;
    let full = each(links, |pulse| flag(pulse.figures.is_throttled.load(Relaxed)));
    out.gauge(
        ("backpressure_active", "Reading waits because the queue is full"),
        full,
    )?;
    let waited = links.iter().map(|pulse| {
        let waited = pulse.figures.throttled_us.load(Relaxed) as f64 / 1e6;
        (with(pulse, ("reason", "queue")), waited)
    });
    out.counter(("throttle_seconds", "Time that reading waited"), waited)
}

/// The process itself, under the names that all exporters use.
#[derive(Debug)]
struct Process(i64);

/// Clock ticks per second in `/proc`: fixed at 100 in the interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: f64 = 4_096.0;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Series {
            encoder: &mut encoder,
        };
        let one = |value: Option<f64>| value.map(|value| (Vec::new(), value));
        let since = Some(self.0 as f64 / 1e6);
        out.gauge(
            ("process_start_time_seconds", "When the process started"),
            one(since),
        )?;
        let resident = number("/proc/self/statm", 1).map(|pages| pages * PAGE_BYTES);
        out.gauge(("process_resident_memory_bytes", "Memory in use"), one(resident))?;
        // Counted behind the name in brackets, which may hold blanks.
        let user = after_name(11).zip(after_name(12));
        let cpu = user.map(|(user, system)| (user + system) / TICKS_PER_SECOND);
        out.counter(("process_cpu_seconds", "Processor time used"), one(cpu))
    }
}

fn number(path: &str, place: usize) -> Option<f64> {
    std::fs::read_to_string(path)
        .ok()?
        .split_whitespace()
        .nth(place)?
        .parse()
        .ok()
}

fn after_name(place: usize) -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(place)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{self, Environment};
    use crate::flow::pulse::Live;
    use crate::http::facts::Known;

    const FILE: &str = "version = 1\n[node.a]\nurl = \"postgres://u@localhost/d\"\n[node.b]\n\
        url = \"mysql://u@localhost/d\"\n[[sync]]\nname = \"s\"\nnodes = [\"a\", \"b\"]\nmode = \"merge\"\n\
        tables = [\"t\"]\nseed = \"none\"\n";

    #[test]
    fn what_is_not_known_has_no_series() {
        let parsed = config::parse(FILE, std::path::Path::new("t.toml"), &Environment::default());
        let config = parsed.map_err(|failure| failure.rendered()).unwrap();
        let specs: Vec<_> = config.syncs.iter().map(|sync| sync.spec.clone()).collect();
        let shown = Arc::new(Shown::new(Arc::new(Live::new(&specs))));
        let figures = [
            "tidelock_conflicts_open",
            "tidelock_conflict_oldest_open_seconds",
            "tidelock_tables_held",
        ];
        for (link, target_answers) in [("a->b", true), ("b->a", false)] {
            let report = Report::default();
            let known = Known {
                report,
                source_answers: true,
                target_answers,
                is_lost: false,
            };
            shown.facts.learn(("s".to_owned(), link.to_owned()), known);
        }
        let text = encode(&shown).unwrap();
        let has = |name: &str, link: &str| text.contains(&format!("\n{name}{{sync=\"s\",link=\"{link}\"}}"));
        for name in figures {
            assert!(has(name, "a->b") && !has(name, "b->a"), "{name}: {text}");
        }
        // Nobody has looked at the source's log yet.
        assert!(!has("tidelock_oldest_unapplied_commit_seconds", "a->b"), "{text}");
    }
}
