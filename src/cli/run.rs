//! `run`: the daemon. Starts the flows and HTTP, listens to signals, tells systemd, stops in order.
//!
//! SIGTERM or SIGINT: finish the open group, save the position, leave with 0 within ten seconds. A second signal
//! leaves at once with 130. Leaving at any moment is safe: what was not committed is read again.
//! On a terminal a line at its foot tells of copies (`foot`).
//! SIGHUP: read the configuration anew (see `reload`). SIGUSR1: print the status to stderr.

use super::logs::Filter;
use super::reload::{self, Looked};
use super::{Face, Schema, foot, logs, status};
use crate::config::{Config, Sync};
use crate::error::{Error, Result};
use crate::flow;
use crate::flow::pulse::Live;
use crate::flow::spec::SyncSpec;
use crate::http::{self, Server, Shown};
use sd_notify::NotifyState;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Compose and systemd kill after ten seconds: leave before them.
const DRAIN_MAX: Duration = Duration::from_secs(9);
const TICK: Duration = Duration::from_secs(1);
pub(super) const INTERRUPTED: u8 = 130;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Carry over what is there now (first copies included) and leave
    #[arg(long)]
    once: bool,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    pub(super) sync: Option<String>,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    done: bool,
    next_steps: Vec<String>,
}

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn install() -> Result<Self> {
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::definite("listen for signals").because(error))
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<u8> {
    let config = face.load()?;
    let filter = logs::start(face, Some(&config.log));
    let mut leave = Signals::install()?;
    let (mut reload, mut report) = (
        listen(SignalKind::hangup())?,
        listen(SignalKind::user_defined1())?,
    );
    let mut daemon = Daemon::start(face, options, config, filter).await?;
    let mut tick = tokio::time::interval(TICK);
    let mut looks: Option<Looking> = None;
    loop {
        tokio::select! {
            outcome = &mut daemon.work => return daemon.finished(face, joined(outcome)).await,
            name = leave.next() => {
                tracing::info!(event = "stopping", signal = name, "draining");
                return daemon.leave(&mut leave).await;
            }
            // One that is still being looked at is given up for the newest file.
            _ = reload.recv() => looks = Some(reload::look(&daemon)),
            looked = found(&mut looks) => {
                looks = None;
                if let Some(code) = reload::take(&mut daemon, face, &mut leave, looked).await? {
                    return Ok(code);
                }
            }
            _ = report.recv() => daemon.report(),
            _ = tick.tick() => daemon.tick(),
        }
    }
}

/// A new configuration that is being read and checked, which may take as long as its databases do.
pub(super) type Looking = Pin<Box<dyn Future<Output = Looked>>>;

/// Never comes while nothing is looked at.
async fn found(looks: &mut Option<Looking>) -> Looked {
    match looks {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// How a drain ended.
pub(super) enum Drained {
    Done(Result<()>),
    /// A second signal.
    Interrupted(&'static str),
    TookTooLong,
}

/// Everything that runs, and what a reload swaps.
pub(super) struct Daemon {
    pub(super) config: Config,
    pub(super) filter: Option<Filter>,
    pub(super) shown: Arc<Shown>,
    pub(super) server: Option<Server>,
    /// Asks the databases for whoever asks over HTTP, while HTTP is served.
    facts: Option<DropGuard>,
    only: Option<String>,
    once: bool,
    work: JoinHandle<Result<()>>,
    stop: CancellationToken,
    /// What systemd was told last.
    told: String,
    /// A line at the foot of the terminal tells of copies.
    draws: bool,
}

impl Daemon {
    async fn start(face: &Face, options: &Options, config: Config, filter: Option<Filter>) -> Result<Daemon> {
        let only = options.sync.clone();
        let syncs = chosen(&config, only.as_deref())?;
        warn(&config);
        let live = Arc::new(Live::new(&specs(&syncs)));
        let shown = Arc::new(Shown::new(live));
        shown.tick();
        // `--once` may run beside a daemon, whose port it is.
        let server = match config.http.filter(|_| !options.once) {
            Some(listen) => Some(Server::start(listen, Arc::clone(&shown)).await?),
            None => None,
        };
        tracing::info!(
            event = "started",
            version = env!("CARGO_PKG_VERSION"),
            config = %config.path.display(),
            syncs = syncs.len(),
            once = options.once,
            "tidelock runs"
        );
        let (work, stop) = spawn(&shown, &syncs, options.once);
        notify(&[NotifyState::Ready]);
        let mut daemon = Daemon {
            config,
            filter,
            shown,
            server,
            facts: None,
            only,
            once: options.once,
            work,
            stop,
            told: String::new(),
            draws: !face.json && face.quiet == 0,
        };
        daemon.watch(syncs);
        Ok(daemon)
    }

    /// Asks the databases of these syncs from now on, if HTTP is served.
    pub(super) fn watch(&mut self, syncs: Vec<Sync>) {
        self.facts = self.server.is_some().then(|| {
            let over = CancellationToken::new();
            tokio::spawn(http::facts::watch(
                syncs,
                Arc::clone(&self.shown.facts),
                over.clone(),
            ));
            over.drop_guard()
        });
    }

    /// The syncs that this run is about, of a configuration that may be a new one.
    pub(super) fn syncs(&self, config: &Config) -> Result<Vec<Sync>> {
        chosen(config, self.only.as_deref())
    }

    /// Stops the links in order.
    pub(super) async fn drain(&mut self, leave: &mut Signals) -> Drained {
        self.stop.cancel();
        let mut tick = tokio::time::interval(TICK);
        let end = tokio::time::sleep(DRAIN_MAX);
        tokio::pin!(end);
        loop {
            tokio::select! {
                outcome = &mut self.work => return Drained::Done(joined(outcome)),
                name = leave.next() => return Drained::Interrupted(name),
                () = &mut end => return Drained::TookTooLong,
                _ = tick.tick() => self.tick(),
            }
        }
    }

    /// Starts the links anew, after a drain.
    pub(super) fn again(&mut self, syncs: Vec<Sync>) {
        self.shown.live.adopt(&specs(&syncs));
        (self.work, self.stop) = spawn(&self.shown, &syncs, self.once);
    }

    async fn leave(mut self, leave: &mut Signals) -> Result<u8> {
        notify(&[NotifyState::Stopping]);
        let code = match self.drain(leave).await {
            Drained::Done(outcome) => {
                outcome?;
                tracing::info!(event = "stopped", "drained");
                0
            }
            Drained::Interrupted(name) => {
                tracing::warn!(event = "stopped", signal = name, "left without draining");
                return Ok(INTERRUPTED);
            }
            Drained::TookTooLong => {
                let what = "draining took too long; the open group is read again next time";
                tracing::warn!(event = "stopped", "{what}");
                return Ok(0);
            }
        };
        self.close().await;
        Ok(code)
    }

    async fn finished(mut self, face: &Face, outcome: Result<()>) -> Result<u8> {
        notify(&[NotifyState::Stopping]);
        self.close().await;
        outcome?;
        if face.json && self.once {
            face.document(&Document {
                schema: Schema,
                done: true,
                next_steps: vec!["tidelock status".to_owned()],
            })?;
        }
        Ok(0)
    }

    async fn close(&mut self) {
        self.stop.cancel();
        foot::draw(String::new());
        self.facts = None;
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    fn report(&self) {
        // Asked for by a signal: it goes out whatever the log level is.
        eprint!("{}", status::text(&self.shown.reports()));
    }

    fn tick(&mut self) {
        self.shown.tick();
        if self.draws {
            let links = self.shown.live.links();
            let copying = links
                .iter()
                .filter_map(|pulse| Some((pulse.link.clone(), pulse.copying()?)));
            foot::draw(foot::line(&copying.collect::<Vec<_>>()));
        }
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for pulse in self.shown.live.links() {
            *states.entry(pulse.condition().state.name()).or_default() += 1;
        }
        let words: Vec<String> = states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let status = format!("links: {}", words.join(", "));
        if status == self.told {
            notify(&[NotifyState::Watchdog]);
        } else {
            notify(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
            self.told = status;
        }
    }
}

/// Without systemd there is nobody to tell, and that is no failure.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

fn chosen(config: &Config, only: Option<&str>) -> Result<Vec<Sync>> {
    Ok(super::select(config, only)?.into_iter().cloned().collect())
}

pub(super) fn specs(syncs: &[Sync]) -> Vec<SyncSpec> {
    syncs.iter().map(|sync| sync.spec.clone()).collect()
}

pub(super) fn warn(config: &Config) {
    for warning in &config.warnings {
        let node = warning.node.as_deref().unwrap_or_default();
        tracing::warn!(
            event = "config_warning",
            code = warning.code,
            node,
            fix = warning.fix,
            "{}",
            warning.what
        );
    }
}

/// The flows in a task of their own, so that a long wait in them cannot hold the main loop up.
fn spawn(shown: &Arc<Shown>, syncs: &[Sync], once: bool) -> (JoinHandle<Result<()>>, CancellationToken) {
    let stop = CancellationToken::new();
    let (specs, live, token) = (specs(syncs), Arc::clone(&shown.live), stop.clone());
    let work = tokio::spawn(async move { Box::pin(flow::run(&specs, once, &token, &live)).await });
    (work, stop)
}

fn joined(outcome: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    outcome.unwrap_or_else(|error| Err(Error::bug("run the links").because(error)))
}
