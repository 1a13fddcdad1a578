//! Conflicts are kept for a time: the copy that runs a link removes what is older, a little at once.
//!
//! Owns: when it looks, on a connection of its own that it does not keep. Refuses: removing what is open, however old.
//! Where nothing is too old nothing is written. Fails: never; what could not be removed now is removed later.

use super::spec::LinkSpec;
use crate::engine::Node;
use crate::error::Result;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const EVERY: Duration = Duration::from_secs(600);
/// Records removed by one statement.
const BATCH: u32 = 500;
/// Between two statements, so that the work of the link comes first.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(spec: Arc<LinkSpec>, stop: CancellationToken) -> Result<()> {
    loop {
        let removed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            removed = remove(&spec) => removed,
        };
        match removed {
            Ok(0) => {}
            Ok(count) => {
                info!(event = "conflicts_removed", link = %spec.id, count, "conflicts that were kept long enough")
            }
            Err(error) => warn!(link = %spec.id, %error, "old conflicts stay for now"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn remove(spec: &LinkSpec) -> Result<u64> {
    let mut node = Node::connect(&spec.target.access, spec.target.engine).await?;
    let mut removed = 0;
    loop {
        let link = (spec.sync.as_str(), spec.id.as_str());
        let count = node.forget_conflicts(link, spec.keep_conflicts, BATCH).await?;
        removed += count;
        if count < u64::from(BATCH) {
            node.close().await;
            return Ok(removed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
