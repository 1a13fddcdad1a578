//! An open record is closed with nothing written to any row: a person says why.
//!
//! Owns: which records may be closed so. In a one-way sync an open record only says that the target lacks what the
//! source has, and nothing else ends it. Refuses: one for which a change still waits, because that goes on waiting.

use super::{Recorded, refused};
use crate::engine::Target;
use crate::error::Result;
use crate::flow::instance;
use crate::flow::spec::SyncSpec;
use crate::model::conflict::Settling;

/// Is there anything against it? Nothing is changed.
pub async fn may_dismiss(sync: &SyncSpec, recorded: &Recorded) -> Result<()> {
    let (conflict, node) = (&recorded.conflict, &sync.nodes[recorded.node]);
    let why = match conflict.outcome.as_str() {
        "open" => None,
        "resolved" => Some("it is resolved already"),
        _ => Some("it was decided by its rule: nothing is left to do"),
    };
    if let Some(why) = why {
        return Err(refused("dismiss the conflict")
            .why(why)
            .hint(format!("tidelock conflicts show {}", conflict.id)));
    }
    let mut target = Target::open_as_user(node.engine, &node.access).await?;
    let waiting = target.parked(&sync.name, &conflict.link).await?;
    let waits = waiting
        .iter()
        .any(|(parked, _)| parked.conflict.as_deref() == Some(&conflict.id));
    if waits {
        return Err(refused("dismiss the conflict")
            .node(&node.name)
            .why("a change of the row waits for its decision, and would wait on unseen")
            .hint(format!(
                "tidelock conflicts resolve {} --take NODE says whose row it is to be",
                conflict.id
            )));
    }
    Ok(())
}

/// Does it, with the audit, in one transaction on the node that recorded it.
pub async fn dismiss(sync: &SyncSpec, recorded: &Recorded, reason: &str) -> Result<()> {
    may_dismiss(sync, recorded).await?;
    let (conflict, node) = (&recorded.conflict, &sync.nodes[recorded.node]);
    let (operator, how) = (instance::operator(), format!("dismissed: {reason}"));
    let settling = Settling {
        by: &operator,
        how: &how,
        overrides: false,
    };
    let mut target = Target::open_as_user(node.engine, &node.access).await?;
    target.start().await?;
    let ids = std::slice::from_ref(&conflict.id);
    if target.settle_conflicts(&sync.name, ids, settling).await? == 0 {
        target.rollback().await?;
        return Err(refused("dismiss the conflict")
            .node(&node.name)
            .why("somebody settled it since it was read")
            .hint(format!("tidelock conflicts show {}", conflict.id)));
    }
    let link = (sync.name.as_str(), conflict.link.as_str());
    let detail = format!("{}: {how}", conflict.id);
    target.audit(link, "dismiss", &operator, &detail).await?;
    target.commit().await.map_err(|error| error.node(&node.name))
}
