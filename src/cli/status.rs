//! `status`: where each link stands and why nothing moves, from the databases and, where one listens, from the
//! running process.
//!
//! With `--watch` again and again: a screen on a terminal, a line per change elsewhere, JSON lines with `--json`.
//! Fails: 6 when a node cannot be reached; the other links are still shown.

use super::{Face, foot, render, select};
use crate::config::{Config, Sync};
use crate::error::{Error, Reason, Result};
use crate::flow::figures::Figures;
use crate::flow::progress::Pace;
use crate::http::client;
use crate::status::facts::{Memory, ask};
use crate::status::{Document, Report, unreachable};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

const WATCH_EVERY: Duration = Duration::from_secs(2);
/// The process answers from memory: at once or not at all.
const DAEMON_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Again every two seconds, until stopped
    #[arg(short, long)]
    watch: bool,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let config = face.load()?;
    let memory = Memory::default();
    if options.watch {
        return watch(face, &config, options, &memory).await;
    }
    let (document, failed) = look(&config, options, &memory).await?;
    if face.json {
        face.document(&document)?;
    } else {
        face.print(&text(&document.links));
        face.next(&document.next_steps);
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// All links at once: one that hangs must not keep the others from being shown.
async fn look(config: &Config, options: &Options, memory: &Memory) -> Result<(Document, Option<Error>)> {
    let live = daemon(config).await;
    let mut asked = Vec::new();
    for sync in select(config, options.sync.as_deref())? {
        for index in 0..sync.spec.links.len() {
            let figures = live.as_ref().and_then(|live| {
                let spec = sync.spec.link(index);
                live.get(&(spec.sync.clone(), spec.id.clone())).cloned()
            });
            asked.push(report(sync, index, figures, memory));
        }
    }
    let mut failed = None;
    let mut links = Vec::new();
    for answer in join_all(asked).await {
        let (report, error) = answer?;
        links.push(report);
        failed = failed.or(error);
    }
    Ok((Document::new(links), failed.map(told)))
}

fn told(error: Error) -> Error {
    let hint = error.hint_text().unwrap_or("tidelock check").to_owned();
    Error::definite("read the status of every link")
        .reason(Reason::Unreachable)
        .because(error)
        .hint(hint)
}

async fn report(
    sync: &Sync,
    index: usize,
    figures: Option<Figures>,
    memory: &Memory,
) -> Result<(Report, Option<Error>)> {
    // The process knows how far it is; the log need not be read for that.
    let memory = figures
        .as_ref()
        .is_none_or(|figures| figures.lag_ms.is_none())
        .then_some(memory);
    let mut facts = ask(&sync.spec, index, memory).await;
    let failed = match unreachable(&facts) {
        Some(error) => Some(error),
        None => match facts.take_error() {
            Some(error) => return Err(error),
            None => None,
        },
    };
    let link = &sync.links()[index];
    Ok((Report::of(&sync.spec, link, &facts).with(figures), failed))
}

type Live = HashMap<(String, String), Figures>;

/// What the running process says, if one listens.
async fn daemon(config: &Config) -> Option<Live> {
    let answer = client::get(config.http?, "/api/v1/status", DAEMON_MAX)
        .await
        .ok()?;
    let document: Document = serde_json::from_str(&answer.body).ok()?;
    let links = document.links.into_iter();
    let live = links.filter_map(|report| Some(((report.sync, report.link), report.live?)));
    Some(live.collect())
}

async fn watch(face: &Face, config: &Config, options: &Options, memory: &Memory) -> Result<()> {
    let on_screen = !face.json && std::io::stdout().is_terminal();
    let mut before: HashMap<(String, String), String> = HashMap::new();
    loop {
        let (document, failed) = look(config, options, memory).await?;
        let shown = if face.json {
            let line = serde_json::to_string(&Line {
                kind: "status",
                document: &document,
            });
            line.map_err(|error| Error::bug("write the JSON line").because(error))? + "\n"
        } else if on_screen {
            let error = failed.map(|error| format!("\n{error}\n")).unwrap_or_default();
            screen(&(text(&document.links) + &error))
        } else {
            changes(&document.links, &mut before)
        };
        let mut out = std::io::stdout().lock();
        // A reader that went away ends the watch.
        if out
            .write_all(shown.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            return Ok(());
        }
        drop(out);
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    document: &'a Document,
}

/// Drawn over what was there, so that nothing flickers.
fn screen(text: &str) -> String {
    let mut out = String::from("\u{1b}[H");
    for line in text.lines() {
        out.push_str(line);
        out.push_str("\u{1b}[K\n");
    }
    out.push_str("\u{1b}[J");
    out
}

/// A line for each link whose state, reason, conflicts or magnitude of lag is another one.
fn changes(links: &[Report], before: &mut HashMap<(String, String), String>) -> String {
    let mut out = String::new();
    for report in links {
        let seconds = report.lag_ms.map_or(0, |ms| ms / 1_000);
        let letters = report.reason().replace(|c: char| c.is_ascii_digit(), "");
        let now = format!(
            "{} {letters} {} {:?}",
            report.state,
            report.conflicts_open,
            seconds.checked_ilog2()
        );
        let key = (report.sync.clone(), report.link.clone());
        if before.get(&key) != Some(&now) {
            let moment = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
            let cells = cells(report);
            let named = HEADING.iter().zip(&cells).skip(2);
            let filled = named.filter(|(_, cell)| !matches!(cell.as_str(), "-" | ""));
            let words: Vec<String> = filled
                .map(|(name, cell)| format!("{}={}", name.to_lowercase(), render::plain(cell)))
                .collect();
            out.push_str(&format!(
                "{moment} {} {} {}\n",
                report.sync,
                report.link,
                words.join(" ")
            ));
            before.insert(key, now);
        }
    }
    out
}

const HEADING: [&str; 12] = [
    "SYNC",
    "LINK",
    "STATE",
    "LAG",
    "BEHIND",
    "OLDEST",
    "ROWS/S",
    "QUEUE",
    "RETAINED",
    "CONFLICTS",
    "TOMBSTONES",
    "WHY",
];

pub(super) fn text(links: &[Report]) -> String {
    let mut rows = vec![HEADING.map(str::to_owned).to_vec()];
    rows.extend(links.iter().map(|report| cells(report).to_vec()));
    render::table(&rows)
}

/// With the pace of a copy, in all and of the tables that are under way.
fn why(report: &Report) -> String {
    let reason = report.reason();
    let Some(copying) = report.live.as_ref().and_then(|live| live.copying.as_ref()) else {
        return reason;
    };
    let bytes = |pace: &Pace| {
        let estimated = render::size(pace.bytes_estimated.max(pace.bytes));
        format!(
            "{}, {} of ~{estimated}",
            foot::pace(pace),
            render::size(pace.bytes)
        )
    };
    let mut words = vec![format!("now {}", bytes(&copying.all))];
    words.extend(
        copying
            .tables
            .iter()
            .map(|pace| format!("{}: {}", pace.table, bytes(pace))),
    );
    let words = words.join("; ");
    match reason.is_empty() {
        true => words,
        false => format!("{reason}; {words}"),
    }
}

fn cells(report: &Report) -> [String; 12] {
    let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    let about = |estimated: bool, text: String| match estimated {
        true => format!("~{text}"),
        false => text,
    };
    let live = report.live.as_ref();
    let state = match live {
        // Of images all rows that were ever read are counted.
        Some(live) if live.state == "copying" && report.every.is_none() => {
            format!("copying ({} rows)", live.copied_rows)
        }
        Some(_) | None => report.state.clone(),
    };
    [
        report.sync.clone(),
        report.link.clone(),
        state,
        or_none(report.lag_ms.map(|ms| match ms {
            0 => "0".to_owned(),
            ms => about(report.lag_estimated, render::age(ms)),
        })),
        or_none(report.lag_bytes.map(|bytes| match bytes {
            0 => "0".to_owned(),
            bytes => about(report.lag_bytes_estimated, render::size(bytes)),
        })),
        or_none(report.oldest_unapplied_at.as_deref().map(|at| {
            let second = at
                .split_once('.')
                .map_or(at.to_owned(), |(second, _)| format!("{second}Z"));
            about(report.oldest_unapplied_estimated, second)
        })),
        or_none(live.map(|live| format!("{:.0}", live.rows_per_second))),
        or_none(live.map(|live| {
            let full = if live.is_throttled { " (full)" } else { "" };
            format!("{}{full}", render::size(live.queue_bytes))
        })),
        retained(report),
        conflicts(report),
        or_none(tombstones(report)),
        why(report),
    ]
}

/// How many, and how old the oldest is.
fn tombstones(report: &Report) -> Option<String> {
    let there = report.tombstones.as_ref()?;
    let oldest = there.oldest_ms.filter(|_| there.count > 0).map(render::age);
    Some(match oldest {
        Some(oldest) => format!("{}, {oldest}", there.count),
        None => there.count.to_string(),
    })
}

/// Some of what waits is open; the rest waits for that.
fn conflicts(report: &Report) -> String {
    let mut text = format!("{} open of {}", report.conflicts_open, report.conflicts_total);
    let waits = report.parked.values().sum::<u64>();
    let missed = report.live.as_ref().map_or(0, |live| live.missed_bumps);
    let undone = report.live.as_ref().map_or(0, |live| live.undone);
    for (count, words) in [
        (waits, "wait"),
        (missed, "missed bumps"),
        (undone, "undone"),
        (report.strays, "stray ids"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {words}"));
        }
    }
    text
}

/// What is kept, and how much is left until it is not.
fn retained(report: &Report) -> String {
    let kept = report.retained_bytes.map(render::size);
    let left = match (report.retained_left_bytes, report.retained_left_seconds) {
        (Some(bytes), _) => Some(format!("{} left", render::size(bytes))),
        (None, Some(seconds)) => Some(format!("{} left", render::age(seconds.saturating_mul(1_000)))),
        (None, None) => report.retained_limit.clone(),
    };
    let words: Vec<String> = kept.into_iter().chain(left).collect();
    match words.is_empty() {
        true => "-".to_owned(),
        false => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            sync: "s".to_owned(),
            link: "a->b".to_owned(),
            state: "streaming".to_owned(),
            lag_ms: Some(0),
            lag_bytes: Some(0),
            retained_bytes: Some(2_048),
            retained_left_bytes: Some(5 << 30),
            ..Report::default()
        }
    }

    #[test]
    fn estimates_are_marked() {
        let mut late = report();
        (late.lag_ms, late.lag_estimated) = (Some(9_000), true);
        (late.lag_bytes, late.oldest_unapplied_at) = (Some(3_072), Some("2026-11-21T09:15:02.5Z".to_owned()));
        let cells = cells(&late);
        assert_eq!(cells[3..6], ["~9 s", "3.0 kB", "2026-11-21T09:15:02Z"]);
        assert_eq!(cells[8], "2.0 kB, 5.0 GB left");
    }

    #[test]
    fn a_line_is_printed_only_for_a_change() {
        let mut before = HashMap::new();
        let mut now = report();
        assert!(changes(&[now.clone()], &mut before).contains(" s a->b state=streaming lag=0"));
        assert_eq!(changes(&[now.clone()], &mut before), "");
        now.why = "waits 3 s".to_owned();
        assert_ne!(changes(&[now.clone()], &mut before), "");
        now.why = "waits 4 s".to_owned();
        assert_eq!(changes(&[now.clone()], &mut before), "");
        now.lag_ms = Some(60_000);
        assert_ne!(changes(&[now], &mut before), "");
    }

    #[test]
    fn a_screen_is_drawn_over() {
        assert_eq!(screen("a\nb\n"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }
}
