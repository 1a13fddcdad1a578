//! A table that `setup` lets into a sync whose links run.
//!
//! Owns: noticing it, and ending the links in order, so that they begin again with it; then its rows are copied (`anew`).
//! Refuses: beginning before every node is set up for it. Fails: never; what cannot be asked now is asked later.

use super::rings::Rings;
use super::spec::SyncSpec;
use super::{ready, selected};
use crate::engine::Node;
use crate::error::Result;
use crate::model::operation::ResyncState;
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

const EVERY: Duration = Duration::from_secs(5);

pub(super) struct Joining {
    /// As the configuration has it.
    pub(super) declared: SyncSpec,
    /// With the tables that its links carry.
    pub(super) running: SyncSpec,
    /// Ends the links.
    pub(super) links: CancellationToken,
}

impl Joining {
    pub(super) async fn run(self, stop: CancellationToken) -> Result<()> {
        let mut nodes: Vec<Option<Node>> = self.running.nodes.iter().map(|_| None).collect();
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
    async fn is_asked(&self, index: usize, slot: &mut Option<Node>) -> Result<bool> {
        let spec = &self.running.nodes[index];
        let node = match slot {
            Some(node) => node,
            none => none.insert(Node::connect(&spec.access, spec.engine).await?),
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
