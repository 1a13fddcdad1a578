//! Is a node still there? A server that hangs with its connections open sends neither an answer nor an error, so
//! whoever waits for it would wait for ever.
//!
//! Owns: what the watch over settings finds out, told to the links: a node is silent when a session of ours got no
//! answer *and* a new connection got none either. A statement that only takes long is never cut.

use super::spec::{LinkSpec, NodeSpec};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// What the watch asks for takes milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// By name of the node: is it silent?
#[derive(Clone)]
pub(super) struct Presence(Arc<Vec<(String, watch::Sender<bool>)>>);

impl Presence {
    pub(super) fn new<'a>(nodes: impl Iterator<Item = &'a NodeSpec>) -> Self {
        let heard = nodes.map(|node| (node.name.clone(), watch::Sender::new(false)));
        Presence(Arc::new(heard.collect()))
    }

    /// Opens the connection by which a node is watched. `None`: not now; why is the links' business.
    pub(super) async fn connect(&self, spec: &NodeSpec) -> Option<Node> {
        let started = Instant::now();
        let node = Node::connect(&spec.access, spec.engine).await;
        let silent = node.is_err() && started.elapsed() >= spec.access.connect_timeout;
        for (_, heard) in self.0.iter().filter(|(name, _)| *name == spec.name) {
            heard.send_if_modified(|before| std::mem::replace(before, silent) != silent);
        }
        node.ok()
    }

    /// `None`: no answer in time, or none that is one; the connection is then of no more use.
    pub(super) async fn answer<T>(&self, asking: impl Future<Output = Result<T>>) -> Option<T> {
        timeout(ANSWER_MAX, asking).await.ok()?.ok()
    }

    /// Runs as long as both ends of the link are there.
    pub(super) async fn during<T>(
        &self,
        link: &LinkSpec,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            done = work => done,
            node = self.silent(link) => Err(Error::transient(format!("reach link {}'s node", link.id))
                .node(node)
                .reason(Reason::Unreachable)
                .why("it answers neither on an open connection nor to a new one")
                .hint("does the server hang? look at its log, disk and load; the link goes on when it answers")),
        }
    }

    async fn silent(&self, link: &LinkSpec) -> &str {
        let ends = [&link.source.name, &link.target.name];
        let ended = self
            .0
            .iter()
            .filter(|(name, _)| ends.contains(&name))
            .map(|(name, heard)| {
                let mut heard = heard.subscribe();
                Box::pin(async move {
                    // The sender lives as long as `self`.
                    let _ = heard.wait_for(|silent| *silent).await;
                    name.as_str()
                })
            });
        futures_util::future::select_all(ended).await.0
    }
}
