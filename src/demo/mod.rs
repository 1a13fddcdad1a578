//! `tidelock demo`: two throw-away databases with a shop on both, kept in step while both are written to.
//!
//! Owns: the story, in order: servers, set-up, first copy, load with probes, a conflict, silence, figures. Every
//! figure is read from the databases or their logs. The figures go to stdout, everything else to stderr.
//! Fails: when a server cannot be had or a link ends; answers `false` when the two sides did not become equal.

mod audit;
mod conflict;
mod load;
mod report;
mod shop;
mod side;
mod stage;

use crate::error::{Error, Result};
use crate::playground::ACCOUNT;
use audit::Auditor;
use conflict::Told;
use load::Writers;
use report::{Crossed, Document, Example, Pair};
use side::Side;
use stage::{Links, Stage};
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const SECONDS: u64 = 10;
/// The silence after the load, in which nothing may move.
const IDLE: Duration = Duration::from_secs(10);
/// After the last write both sides are equal within moments.
const SETTLE_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
const PROGRESS: Duration = Duration::from_secs(1);
/// While somebody looks around.
const NEWS: Duration = Duration::from_secs(10);
/// The second shift of writers numbers its steps from here.
const SECOND_SHIFT: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub struct Options {
    /// Tell the story, print the figures and leave.
    pub once: bool,
    /// The figures as one JSON document.
    pub json: bool,
    /// How long both sides are written to.
    pub seconds: Option<u64>,
}

/// Did both sides end equal?
pub async fn run(options: Options, stop: CancellationToken) -> Result<bool> {
    let talk = Talk { quiet: options.json };
    talk.say("starting PostgreSQL and MySQL");
    // Servers in the making are waited for: half made they could not be cleared away.
    let stage = Box::pin(Stage::build(|line| talk.say(line))).await?;
    if stop.is_cancelled() {
        stage.close().await;
        return Err(interrupted());
    }
    let told = play(&options, &talk, &stage, &stop).await;
    stage.close().await;
    told
}

async fn play(options: &Options, talk: &Talk, stage: &Stage, stop: &CancellationToken) -> Result<bool> {
    let statements = stage.set_up().await?;
    talk.say(&format!(
        "tidelock setup: {statements} statements, on {} and {}",
        stage.titles[0], stage.titles[1]
    ));
    let spec = &stage.sync.spec;
    let mut auditors = [Auditor::start(spec, 0).await?, Auditor::start(spec, 1).await?];
    let mut links = Links::start(&stage.sync);
    let told = tokio::select! {
        told = Box::pin(tell(options, talk, stage, &mut auditors)) => told,
        error = links.failed() => Err(error),
        () = stop.cancelled() => Err(interrupted()),
    };
    let told = match told {
        Ok(converged) if !options.once => tokio::select! {
            lived = Box::pin(live(talk, stage, &auditors)) => lived.map(|()| converged),
            error = links.failed() => Err(error),
            () = stop.cancelled() => Ok(converged),
        },
        told => told,
    };
    links.close().await;
    told
}

fn interrupted() -> Error {
    Error::definite("tell the whole story").why("it was interrupted")
}

/// The story up to the figures.
async fn tell(options: &Options, talk: &Talk, stage: &Stage, auditors: &mut [Auditor; 2]) -> Result<bool> {
    let begin = Instant::now();
    let rows = stage.copied().await?;
    talk.say(&format!(
        "first copy: {rows} rows from {} to {} in {} ms",
        stage.titles[0],
        stage.titles[1],
        begin.elapsed().as_millis()
    ));
    let during = Duration::from_secs(options.seconds.unwrap_or(SECONDS).max(1));
    talk.say(&format!(
        "writing on both sides for {} s, every commit flushed to disk",
        during.as_secs()
    ));
    let mut sides = stage.sides().await?;
    let (latencies, told) = load_and_conflict(talk, stage, auditors, &mut sides, during).await?;
    talk.say("the writers stop; waiting until both sides are equal");
    let settled = settle(talk, &mut sides).await?;
    talk.say(&format!(
        "{}; now nobody writes for {} s, and nothing may move",
        if settled { "equal" } else { "NOT EQUAL" },
        IDLE.as_secs()
    ));
    let idle_writes = silence(auditors).await?;
    let pair = Pair {
        nodes: stage.titles.clone(),
        rows_crossed: crossed(stage, &mut sides).await?,
        conflicts: conflict::ids(&mut sides).await?.len(),
        echoes_applied: auditors.iter().map(|auditor| auditor.seen().echoes).sum(),
        idle_writes,
        converged: settled && is_equal(&mut sides).await?.is_empty(),
        p50_ms: load::percentile(&latencies, 50),
        p99_ms: load::percentile(&latencies, 99),
        example: Example::of(&told, &stage.titles),
    };
    let converged = pair.converged;
    publish(options, stage, pair)?;
    Ok(converged)
}

/// Users on both sides, probes both ways, and in the middle of it the same row changed on both.
async fn load_and_conflict(
    talk: &Talk,
    stage: &Stage,
    auditors: &[Auditor; 2],
    sides: &mut [Side; 2],
    during: Duration,
) -> Result<(Vec<f64>, Told)> {
    let mut writers = Writers::start(&stage.urls, load::BUSY, 0).await?;
    let (last, newest) = watch::channel(0.0);
    let begin = Instant::now();
    let work = async {
        let latencies = load::probe(&stage.urls, during, &last).await?;
        tokio::time::sleep(during.saturating_sub(begin.elapsed())).await;
        let spec = &stage.sync.spec;
        let ranks = [0, 1].map(|node| u64::from(spec.nodes[node].rank));
        let told = conflict::provoke(sides, ranks).await?;
        Ok::<_, Error>((latencies, told))
    };
    let found = tokio::select! {
        found = work => found?,
        error = writers.failed() => return Err(error),
        never = progress(talk, stage, auditors, &newest) => match never {},
    };
    writers.stop().await?;
    talk.say(report::conflict(&found.1, &stage.titles).trim_end());
    Ok(found)
}

/// A line each second until it is dropped.
async fn progress(
    talk: &Talk,
    stage: &Stage,
    auditors: &[Auditor; 2],
    newest: &watch::Receiver<f64>,
) -> std::convert::Infallible {
    let [a, b] = stage
        .titles
        .each_ref()
        .map(|title| title.split(' ').next().unwrap_or_default());
    let start = auditors.each_ref().map(|auditor| auditor.seen().applied);
    for second in 1_u64.. {
        tokio::time::sleep(PROGRESS).await;
        let crossed = [1, 0].map(|node: usize| auditors[node].seen().applied - start[node]);
        talk.progress(&format!(
            "{second:>3} s  {a} -> {b} {:>6} rows   {b} -> {a} {:>6} rows   last one visible after {:.2} ms",
            crossed[0],
            crossed[1],
            *newest.borrow()
        ));
    }
    std::future::pending().await
}

/// Waits until every row is equal; `false` when that does not come in time.
async fn settle(talk: &Talk, sides: &mut [Side; 2]) -> Result<bool> {
    let begin = Instant::now();
    loop {
        let differences = is_equal(sides).await?;
        if differences.is_empty() {
            return Ok(true);
        }
        if begin.elapsed() > SETTLE_MAX {
            for (table, rows) in differences {
                talk.say(&format!("{table}: {rows} rows differ"));
            }
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Rows that differ, by table.
async fn is_equal(sides: &mut [Side; 2]) -> Result<Vec<(&'static str, usize)>> {
    let [a, b] = sides;
    let (ours, theirs) = tokio::try_join!(shop::content(a), shop::content(b))?;
    Ok(shop::differences(&ours, &theirs))
}

/// User rows changed on either server while nobody writes, by their own logs.
async fn silence(auditors: &mut [Auditor; 2]) -> Result<u64> {
    let mut before = 0;
    for auditor in auditors.iter_mut() {
        before += auditor.caught_up().await?.changes();
    }
    tokio::time::sleep(IDLE).await;
    let mut after = 0;
    for auditor in auditors.iter_mut() {
        after += auditor.caught_up().await?.changes();
    }
    Ok(after - before)
}

async fn crossed(stage: &Stage, sides: &mut [Side; 2]) -> Result<Crossed> {
    let [a, b] = sides;
    let rank = |node: usize| u64::from(stage.sync.spec.nodes[node].rank);
    Ok(Crossed {
        a_to_b: shop::crossed(b, rank(0)).await?,
        b_to_a: shop::crossed(a, rank(1)).await?,
    })
}

fn publish(options: &Options, stage: &Stage, pair: Pair) -> Result<()> {
    if options.json {
        let steps = [
            "make demo",
            "tidelock check",
            "tidelock setup --execute",
            "tidelock run",
        ];
        let document: Document = report::document(pair, steps.map(str::to_owned).into());
        let text = serde_json::to_string(&document)
            .map_err(|error| Error::bug("write the JSON document").because(error))?;
        return print(&format!("{text}\n"));
    }
    print(&format!("\n{}\n", report::summary(&pair, IDLE.as_secs())))?;
    if !options.once {
        let ports = stage.servers.each_ref().map(|server| server.port());
        print(&report::by_hand(&stage.urls, ports, ACCOUNT, &stage.config_path))?;
    }
    Ok(())
}

/// Users go on at their leisure, so that whoever connects sees something move. Never returns without a failure.
async fn live(talk: &Talk, stage: &Stage, auditors: &[Auditor; 2]) -> Result<()> {
    talk.say("\nthe shop stays open until Ctrl-C");
    let mut writers = Writers::start(&stage.urls, load::LEISURELY, SECOND_SHIFT).await?;
    let mut sides = stage.sides().await?;
    let begin = Instant::now();
    loop {
        tokio::select! {
            error = writers.failed() => return Err(error),
            () = tokio::time::sleep(NEWS) => {}
        }
        let crossed = [1, 0].map(|node: usize| auditors[node].seen().applied);
        talk.progress(&format!(
            "{:>4} s  rows carried: {} ->  {} <-   conflicts: {}",
            begin.elapsed().as_secs(),
            crossed[0],
            crossed[1],
            conflict::ids(&mut sides).await?.len()
        ));
    }
}

/// What is said beside the figures, on stderr.
struct Talk {
    quiet: bool,
}

impl Talk {
    fn say(&self, line: &str) {
        // A terminal that went away is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn progress(&self, line: &str) {
        if !self.quiet {
            self.say(line);
        }
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Error::definite("print the figures").because(error))
}
