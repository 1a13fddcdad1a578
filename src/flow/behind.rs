//! The oldest change that a link has not applied, read from the source's log by somebody who is not the link.
//!
//! Owns: nothing that lasts; the log is read from the checkpoint and nothing is confirmed.
//! To be called where the log has no reader that could be disturbed: a binlog, or a slot that is not in use.

use super::spec::{LinkSpec, SyncSpec};
use crate::access::SourceOptions;
use crate::engine::{Node, Source};
use crate::error::Result;
use crate::model::change::Step;
use crate::model::position::Position;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oldest {
    /// Commit time by the source's clock, microseconds.
    At(i64),
    /// Up to the end of the log there is nothing for the target.
    Nothing,
}

pub async fn oldest(sync: &SyncSpec, index: usize, from: &Position) -> Result<Oldest> {
    let spec = &*super::selected(sync).await?.link(index);
    let mut node = Node::connect(&spec.source.access, spec.source.engine).await?;
    let end = node.log_end().await?.position;
    let tables = super::tables(&mut node, &spec.source.tables, &spec.source).await?;
    let options = SourceOptions {
        access: spec.source.access.clone(),
        sync: spec.sync.clone(),
        target: spec.target.name.clone(),
        tables,
        mode: spec.mode,
        onward: spec.onward,
        fresh: false,
        spill: spec.limits.spill.clone(),
        stream: spec.limits.stream,
        // Whoever only looks lets nothing go: a held table may need log from before the checkpoint.
        keep: Some(Position::Lsn(0)),
    };
    let mut source = Source::open(spec.source.engine, options, from).await?;
    search(spec, &mut source, &end).await
}

async fn search(spec: &LinkSpec, source: &mut Source, end: &Position) -> Result<Oldest> {
    let (_confirm, mut confirmed) = watch::channel(None);
    let guard = spec.guard();
    loop {
        let reached = match source.next(&mut confirmed).await? {
            Step::Part(part) => {
                if !part.changes.is_empty() && !guard.is_echo(&part.writer) {
                    return Ok(Oldest::At(part.head.committed_at_us));
                }
                part.end
            }
            Step::Idle { position, .. } => Some(position),
        };
        if reached.is_some_and(|reached| reached.covers(end).unwrap_or(false)) {
            return Ok(Oldest::Nothing);
        }
    }
}
