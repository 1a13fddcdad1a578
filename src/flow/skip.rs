//! Leaves out the one transaction that a link stopped at.
//!
//! Owns: finding it, and moving the checkpoint past it under the link's lease. Refuses: any position but the one the
//! link named when it stopped, and a link that has moved since: a typing error or an old command skips nothing.
//! Fails: `Refused` for that; `Fenced` while another copy runs the link.

use super::instance;
use super::lease;
use super::spec::{LinkSpec, SyncSpec};
use crate::engine::Node;
use crate::error::{Error, Halt, Reason, Result};
use crate::model::operation::{HeldTable, Stop};
use crate::model::schema::TableId;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A copy that starts over and over at the same stop holds the lease now and then: its pauses are waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What skipping a transaction means.
#[derive(Debug, Clone)]
pub struct Skip {
    pub transaction: String,
    /// Where the link stands afterwards.
    pub past: String,
    /// The target's names of the tables it changes, as far as it was read.
    pub tables: Vec<TableId>,
    pub changes: u64,
    /// Why the link stopped.
    pub error: String,
    seq: i64,
    /// The link has gone on, and these tables alone wait at it.
    pub held: bool,
}

/// What would be left out. Changes nothing.
pub async fn plan(sync: &SyncSpec, index: usize, at: &str) -> Result<Skip> {
    let link = sync.link(index);
    let mut target = Node::connect(&link.target.access, link.target.engine).await?;
    let status = target.link_status(&link.sync, &link.id).await?;
    let seq = status.checkpoint.as_ref().map_or(-1, |checkpoint| checkpoint.seq);
    if let Some(skip) = held(&status.held, at, seq) {
        return Ok(skip);
    }
    let Some(stop) = status.stop.filter(|stop| stop.seq == seq) else {
        return Err(refused(&link, at)
            .why("the link has not stopped at a transaction, or has moved since")
            .hint("`tidelock status` says where it stands and why"));
    };
    let Stop { halt, error, .. } = stop;
    let Some((halt, past)) = halt.and_then(|halt| halt.past.clone().map(|past| (halt, past))) else {
        return Err(refused(&link, at)
            .why(format!(
                "the link did not stop at a transaction, but because of: {error}"
            ))
            .hint("mend that, then `tidelock run`"));
    };
    if halt.transaction != at.trim() {
        return Err(refused(&link, at)
            .why(format!("the link stopped at {}", halt.transaction))
            .hint(format!(
                "tidelock skip '{}' --at '{}'",
                link.full_name(),
                halt.transaction
            )));
    }
    Ok(Skip {
        tables: halt.tables,
        transaction: halt.transaction,
        past,
        changes: halt.changes,
        error,
        seq,
        held: false,
    })
}

/// The tables that wait at this transaction, where the link goes on without them.
fn held(held: &[HeldTable], at: &str, seq: i64) -> Option<Skip> {
    let waits = |held: &&HeldTable| !held.resumed && held.transaction.as_deref() == Some(at.trim());
    let first = held.iter().find(waits)?;
    let past = first.past.clone()?;
    let tables = held
        .iter()
        .filter(waits)
        .filter(|held| held.past.as_ref() == Some(&past));
    Some(Skip {
        transaction: at.trim().to_owned(),
        tables: tables.map(|held| held.table.clone()).collect(),
        past,
        changes: 0,
        error: first.error.clone(),
        seq,
        held: true,
    })
}

fn refused(link: &LinkSpec, at: &str) -> Error {
    Error::definite(format!("skip transaction {at} of link {}", link.id))
        .node(&link.target.name)
        .reason(Reason::Refused)
}

/// Does it, in one transaction on the target.
pub async fn execute(sync: &SyncSpec, index: usize, skip: &Skip) -> Result<()> {
    let me = instance::own();
    let mut sync = sync.clone();
    sync.instance.clone_from(&me.id);
    sync.links = vec![sync.links[index]];
    let link = sync.link(0);
    if skip.held {
        return held_past(&link, skip).await;
    }
    let stop = CancellationToken::new();
    let held = tokio::time::timeout(WAIT_MAX, lease::stand_by(&sync, &me, false, &stop, &|_| ())).await;
    let held = match held {
        Ok(held) => held?,
        Err(_) => None,
    };
    let Some(held) = held else {
        return Err(refused(&link, &skip.transaction)
            .reason(Reason::Fenced)
            .why("another copy runs the link")
            .hint("stop it first; `tidelock status` says who runs the link"));
    };
    let outcome = write(&link, skip).await;
    held.release().await;
    outcome
}

/// Whoever runs the link reads nothing of these tables, so nobody has to stop for it.
async fn held_past(link: &LinkSpec, skip: &Skip) -> Result<()> {
    let mut target = Node::connect(&link.target.access, link.target.engine).await?;
    let name = (link.sync.as_str(), link.id.as_str());
    let place = (skip.transaction.as_str(), skip.past.as_str());
    for table in &skip.tables {
        if !target
            .skip_held(name, table, place, &instance::operator())
            .await?
        {
            return Err(refused(link, &skip.transaction)
                .table(table)
                .why("the table does not wait there any more")
                .hint("`tidelock status` says where it stands"));
        }
    }
    Ok(())
}

async fn write(link: &LinkSpec, skip: &Skip) -> Result<()> {
    let mut target = Node::connect(&link.target.access, link.target.engine).await?;
    let halt = Halt {
        transaction: skip.transaction.clone(),
        past: Some(skip.past.clone()),
        tables: skip.tables.clone(),
        changes: skip.changes,
    };
    let name = (link.sync.as_str(), link.id.as_str());
    let place = (skip.seq, skip.tables.as_slice());
    match target
        .skip(name, (&halt, &skip.past), place, &instance::operator())
        .await?
    {
        true => Ok(()),
        false => Err(refused(link, &skip.transaction)
            .why("the link has moved since")
            .hint("`tidelock status` says where it stands")),
    }
}
