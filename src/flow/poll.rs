//! Looks at the end of the source's log every few seconds, on a connection of its own, so that a hang of anything
//! else shows as lag.
//!
//! Owns: the scale on which lag is counted in bytes. Refuses: writing. Fails: never; a source that cannot be asked
//! is silent, which the meter makes grow old by itself.

use super::lag::SILENT_AFTER;
use super::pulse::Pulse;
use super::spec::LinkSpec;
use crate::engine::Node;
use crate::error::Result;
use crate::model::log::{LogEnd, Place};
use crate::model::sync::Mode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::debug;

const EVERY: Duration = Duration::from_secs(2);

/// The last look: bytes grow from the one to the next.
struct Scale {
    place: Place,
    bytes: u64,
}

pub(super) async fn run(spec: Arc<LinkSpec>, pulse: Arc<Pulse>, stop: CancellationToken) -> Result<()> {
    // Images are of no log.
    if spec.mode == Mode::Snapshot {
        return Ok(());
    }
    let mut node: Option<Node> = None;
    let mut scale: Option<Scale> = None;
    loop {
        let look = tokio::time::timeout(SILENT_AFTER, look(&spec, &pulse, &mut node, &mut scale));
        let looked = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            looked = look => looked,
        };
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(link = %spec.id, %error, "the source's log end was not told");
                node = None;
            }
            // The connection is stuck in a question: another one may get through.
            Err(_) => node = None,
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn look(
    spec: &LinkSpec,
    pulse: &Pulse,
    slot: &mut Option<Node>,
    scale: &mut Option<Scale>,
) -> Result<()> {
    let node = match slot {
        Some(node) => node,
        None => slot.insert(Node::connect(&spec.source.access, spec.source.engine).await?),
    };
    let end = node.log_end().await?;
    let bytes = match scale {
        Some(last) => last.bytes + node.log_bytes(&last.place, &end.place).await?,
        None => {
            // Nothing to measure from before the link stands somewhere.
            let Some(from) = pulse.position() else {
                return Ok(());
            };
            match &end.place {
                Place::Lsn(lsn) => {
                    pulse.measured_from(&from, false);
                    *lsn
                }
                Place::Binlog { .. } => {
                    let distance = node.log_distance(&from).await?;
                    pulse.measured_from(&from, distance.is_estimate);
                    distance.bytes
                }
            }
        }
    };
    remember(scale, &end, bytes);
    pulse.sampled(&end, bytes);
    Ok(())
}

fn remember(scale: &mut Option<Scale>, end: &LogEnd, bytes: u64) {
    let place = end.place.clone();
    *scale = Some(Scale { place, bytes });
}
