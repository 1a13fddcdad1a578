//! What joins a sync whose links run: a table that `setup` lets in, or a node that is filled beside them.
//!
//! Owns: noticing a table, filling a node (`seed::join`), and ending the links in order, so that they begin again with it; a
//! table's rows are copied then (`anew`).
//! Refuses: beginning before every node is set up for it. Fails: never for the others' sake; what cannot be asked now is
//! asked later, and a node that cannot be filled is tried again until somebody has mended what its links say. Only
//! `run --once`, which somebody waits for, fails with it.

use super::backoff::Backoff;
use super::collect::Wishes;
use super::pulse::{Live, Pulse, State};
use super::rings::Rings;
use super::spec::SyncSpec;
use super::{ready, selected};
use crate::engine;
use crate::error::{Error, Reason, Result};
use crate::model::operation::ResyncState;
use crate::seed::join::{self, Joining};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

const EVERY: Duration = Duration::from_secs(5);
/// A person has to mend what keeps a node out.
const MENDED_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Tables {
    /// As the configuration has it.
    pub(super) declared: SyncSpec,
    /// With the tables that its links carry.
    pub(super) running: SyncSpec,
    /// Ends the links.
    pub(super) links: CancellationToken,
}

impl Tables {
    pub(super) async fn run(self, stop: CancellationToken) -> Result<()> {
        let mut nodes: Vec<Option<engine::Node>> = self.running.nodes.iter().map(|_| None).collect();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(EVERY) => {}
            }
            for (index, node) in nodes.iter_mut().enumerate() {
                let is_asked = self.is_asked(index, node).await.unwrap_or_else(|error| {
                    debug!(sync = %self.running.name, %error, "tables that join were not looked for");
                    *node = None;
                    false
                });
                if is_asked && self.is_ready().await {
                    info!(event = "table_joins", sync = %self.running.name, "a table joins: the links begin again with it");
                    self.links.cancel();
                    return Ok(());
                }
            }
        }
    }

    /// Is a table to be copied that no link carries yet?
    async fn is_asked(&self, index: usize, slot: &mut Option<engine::Node>) -> Result<bool> {
        let spec = &self.running.nodes[index];
        let node = match slot {
            Some(node) => node,
            none => none.insert(engine::Node::connect(&spec.access, spec.engine).await?),
        };
        let asked = node.resyncs(&self.running.name, None).await?;
        Ok(asked
            .iter()
            .any(|resync| resync.state == ResyncState::Asked && !spec.tables.contains(&resync.table)))
    }

    async fn is_ready(&self) -> bool {
        let now = async {
            let now = Box::pin(selected(&self.declared)).await?;
            let rings = Mutex::new(Rings::default());
            Box::pin(ready(&now, &rings)).await.map(|_| now)
        };
        match now.await {
            Ok(now) => {
                let known = &self.running.nodes[0].tables;
                now.nodes[0].tables.iter().any(|table| !known.contains(table))
            }
            Err(error) => {
                debug!(sync = %self.running.name, %error, "a table cannot join yet");
                false
            }
        }
    }
}

/// A node that is filled while the links of the others run.
pub(super) struct Node {
    pub(super) sync: SyncSpec,
    pub(super) joining: Joining,
    pub(super) wishes: Wishes,
    pub(super) live: Arc<Live>,
    pub(super) first_starts: Arc<tokio::sync::Mutex<()>>,
    pub(super) once: bool,
    /// Ends the links.
    pub(super) links: CancellationToken,
}

impl Node {
    pub(super) async fn run(self, stop: CancellationToken) -> Result<()> {
        let mut backoff = Backoff::new(self.once.then_some(self.sync.limits.once_wait));
        let (name, pulses) = (&self.sync.nodes[self.joining.node].name, self.pulses());
        loop {
            let error = match self.attempt(&stop).await {
                Ok(()) if stop.is_cancelled() => return Ok(()),
                Ok(()) => {
                    self.links.cancel();
                    return Ok(());
                }
                Err(error) => error.in_sync(&self.sync.name),
            };
            if error.is_transient() || self.once || error.reason_kind() == Reason::Fenced {
                let what = format!("node {name}");
                if !backoff.wait(&what, error, &pulses, &stop).await? {
                    return Ok(());
                }
                continue;
            }
            self.tell(name, &pulses, &error);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(MENDED_EVERY) => {}
            }
        }
    }

    async fn attempt(&self, stop: &CancellationToken) -> Result<()> {
        let _alone = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            alone = self.first_starts.lock() => alone,
        };
        let wish = |link: &str, position: &_| self.wishes.wish(link, position);
        Box::pin(join::join(&self.sync, &self.joining, &wish, stop, &self.live)).await
    }

    /// The links that do not run.
    fn pulses(&self) -> Vec<Arc<Pulse>> {
        let all = 0..self.sync.links.len();
        let waiting = all.filter(|index| !self.joining.links.contains(index));
        waiting
            .map(|index| self.live.of(&self.sync.name, &self.sync.link(index).id))
            .collect()
    }

    /// Once for each reason.
    fn tell(&self, name: &str, pulses: &[Arc<Pulse>], error: &Error) {
        let why = error.to_string();
        let is_known = pulses.iter().all(|pulse| pulse.condition().why == why);
        pulses
            .iter()
            .for_each(|pulse| pulse.set(State::Stopped, why.clone()));
        if !is_known {
            error!(
                event = "node_cannot_join", sync = %self.sync.name, node = %name, hint = error.hint_text(),
                "{error}: the other links go on, and it is tried again"
            );
        }
    }
}
