//! `run`: starts the flows and stops them on a signal.
//!
//! SIGTERM or SIGINT: finish the open group, save the position, leave with 0 within ten seconds. A second signal
//! leaves at once with 130. Leaving at any moment is safe: what was not committed is read again.

use super::{Face, Schema, logs};
use crate::error::{Error, Result};
use crate::flow;
use crate::flow::pulse::Live;
use crate::flow::spec::SyncSpec;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Compose and systemd kill after ten seconds: leave before them.
const DRAIN_MAX: Duration = Duration::from_secs(9);
pub(super) const INTERRUPTED: u8 = 130;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Carry over what is there now (first copies included) and leave
    #[arg(long)]
    once: bool,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
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
        let failed = |error| Error::definite("listen for signals").because(error);
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<u8> {
    let config = face.load()?;
    logs::start(face, Some(&config.log));
    let syncs: Vec<SyncSpec> = super::select(&config, options.sync.as_deref())?
        .into_iter()
        .map(|sync| sync.spec.clone())
        .collect();
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
    let mut signals = Signals::install()?;
    let stop = CancellationToken::new();
    let live = Arc::new(Live::new(&syncs));
    tracing::info!(
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        config = %config.path.display(),
        syncs = syncs.len(),
        once = options.once,
        "tidelock runs"
    );
    let mut work = std::pin::pin!(flow::run(&syncs, options.once, &stop, &live));
    tokio::select! {
        outcome = &mut work => return finished(face, options, outcome),
        name = signals.next() => tracing::info!(event = "stopping", signal = name, "draining"),
    }
    stop.cancel();
    tokio::select! {
        outcome = &mut work => {
            outcome?;
            tracing::info!(event = "stopped", "drained");
            Ok(0)
        }
        name = signals.next() => {
            tracing::warn!(event = "stopped", signal = name, "left without draining");
            Ok(INTERRUPTED)
        }
        () = tokio::time::sleep(DRAIN_MAX) => {
            tracing::warn!(event = "stopped", "draining took too long; the open group is read again next time");
            Ok(0)
        }
    }
}

fn finished(face: &Face, options: &Options, outcome: Result<()>) -> Result<u8> {
    outcome?;
    if face.json && options.once {
        face.document(&Document {
            schema: Schema,
            done: true,
            next_steps: vec!["tidelock status".to_owned()],
        })?;
    }
    Ok(0)
}
