//! Tables of a running link that are copied anew, beside its work.
//!
//! Owns: the copy of tables that the link holds, chunk by chunk, over lanes of its checkpoint and under its epoch; and, one
//! way, the search for rows that the source does not have. What two nodes both write is decided by stamps and tombstones,
//! so nothing has to be searched for there. With a condition every row is read and only those are compared, or searched for,
//! that it takes on either side (`plan/compile/asked.rs`). Refuses: applying the log (see `flow::anew`).
//! Fails: never to its caller: what passes is tried again, and what a person must see to is noted with the table.

use super::copy::{LANE_SEQ, Passing, Work, copied_head, open_of};
use super::preview::key_hash;
use super::{Ends, ROWS_MAX, Start};
use crate::access::SourceOptions;
use crate::chunk::{Chunk, Range};
use crate::engine::{self, Node, Snapshot, Target};
use crate::error::{Error, Reason, Result};
use crate::flow::anew::{self, asking};
use crate::flow::pulse::Pulse;
use crate::flow::spec::LinkSpec;
use crate::flow::{self, Applier, Uniting};
use crate::model::operation::HeldTable;
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::{Checkpoint, Lane};
use crate::plan::Key;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// After an error that passes.
const PAUSE: Duration = Duration::from_secs(2);
/// Keys of the source that are held against the target's at once: their hashes take some 50 MiB.
const KEYS_MAX: u64 = 2_000_000;

/// Who copies.
pub(crate) struct Copy {
    pub(crate) link: Arc<LinkSpec>,
    /// The link's; whoever takes it over ends this.
    pub(crate) epoch: i64,
    pub(crate) identity: String,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) stop: CancellationToken,
}

/// Copies what the link holds for it, until that is done.
pub(crate) async fn run(copy: Copy) {
    while !copy.stop.is_cancelled() {
        let outcome = copy.held().await;
        let Err(error) = outcome else { return };
        if error.reason_kind() == Reason::Fenced {
            return;
        }
        if !error.is_transient() {
            return copy.note(&error).await;
        }
        warn!(link = %copy.link.id, %error, "the new copy goes on in a moment");
        tokio::select! {
            () = copy.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Copy {
    async fn note(&self, error: &Error) {
        let hint = error.hint_text().unwrap_or_default();
        let tables = async {
            let held = anew::under_way(&self.link).await?;
            let tables: Vec<TableId> = held.into_iter().map(|(_, held)| held.table).collect();
            let mut node = Node::connect(&self.link.target.access, self.link.target.engine).await?;
            let why = format!("the new copy stopped: {error}; then `tidelock resync` again");
            node.resync_failed((&self.link.sync, &self.link.id), &tables, &why)
                .await
        };
        error!(event = "resync_failed", link = %self.link.id, hint, "{error}: the tables stay held");
        if let Err(error) = tables.await {
            warn!(link = %self.link.id, %error, "why the new copy stopped is not noted on the target");
        }
    }

    async fn held(&self) -> Result<()> {
        let held = anew::under_way(&self.link).await?;
        let Some((_, first)) = held.first() else {
            return Ok(());
        };
        let from = first.position.clone();
        // Those that were held at one place are one copy: the others follow.
        let held: Vec<(usize, HeldTable)> = held
            .into_iter()
            .filter(|(_, held)| held.position == from)
            .collect();
        let places: Vec<usize> = held.iter().map(|(place, _)| *place).collect();
        let link = asking(
            self.link.only(&places),
            held.iter()
                .map(|(_, held)| (&held.table, held.condition.as_deref())),
        )?;
        match self.tables(Arc::new(link), &from).await? {
            true => Box::pin(self.held()).await,
            false => Ok(()),
        }
    }

    /// `false`: told to stop before all was copied.
    async fn tables(&self, link: Arc<LinkSpec>, from: &Position) -> Result<bool> {
        let target = Target::open(link.target.engine, &link.target.access, link.is_merge()).await?;
        let mut start = Start::new(Arc::clone(&link), target);
        start.is_fresh = false;
        start.uniting = Some(Uniting::Again);
        start.copies_tombstones = link.is_merge();
        let mut ends = start.ends().await?;
        let tables = start.tables(&mut ends)?;
        let mut chunks = self.noted(&tables).await?;
        let planned = start.planned(&ends, &tables, &chunks).await?;
        chunks.extend(planned.iter().cloned());
        let options = start.options(&ends);
        let count = link.limits.copy_workers.min(open_of(&chunks)).max(1);
        for known in &ends.source_tables {
            // The log's end may name what no image shows yet.
            let (source, table) = (&link.source, &known.table.id);
            engine::visible(source.engine, &source.access, from, table).await?;
        }
        let readers = Snapshot::beside(link.source.engine, options, from, count).await?;
        let mut lane = self.applier(&mut start, from).await?;
        lane.plan_chunks(from, &planned).await?;
        let copied = (chunks, std::mem::take(&mut ends.foreign_keys));
        let work = Work::new(&link, from.clone(), tables, copied, (&self.pulse, &self.stop));
        let work = Arc::new(work);
        let lanes = self.lanes(&mut start, readers.len()).await?;
        let Some(readers) = work.all(readers, lanes, &self.identity).await? else {
            return Ok(false);
        };
        for reader in readers {
            reader.close().await?;
        }
        let mut lane = self.applier(&mut start, from).await?;
        if !link.is_merge() {
            self.all_beyond(&mut lane, &start, &ends, &work).await?;
        }
        work.tell_orphans(&mut lane).await;
        // What was copied no sequence has counted.
        flow::raise_counters(&link.sync, &link.target, &link.split_there()).await?;
        // Something is behind it, so that the link comes there.
        let mut node = Node::connect(&link.source.access, link.source.engine).await?;
        let settle = node.barrier().await?;
        node.close().await;
        let names = &link.target.tables;
        lane.resync_copied(from, names, &settle).await?;
        info!(event = "resync_copied", link = %link.id, tables = names.len(), "tables are copied anew, and taken up next");
        Ok(true)
    }

    /// The chunks of these tables that the target knows.
    async fn noted<P>(&self, tables: &HashMap<TableId, P>) -> Result<Vec<Chunk>> {
        let target = &self.link.target;
        let mut node = Node::connect(&target.access, target.engine).await?;
        let mut chunks = node.chunks(&self.link.sync, &self.link.id).await?;
        node.close().await;
        chunks.retain(|chunk| tables.contains_key(&chunk.table));
        Ok(chunks)
    }

    /// So many lanes beside the link's own, which another session may have used before.
    async fn lanes(&self, start: &mut Start, count: usize) -> Result<Vec<Lane>> {
        let doing = "open lanes for a copy";
        let link = (self.link.sync.as_str(), self.link.id.as_str());
        let wanted = i16::try_from(count).map_err(|error| Error::bug(doing).because(error))?;
        start.target.open_lanes(link, wanted, LANE_SEQ).await?;
        let mut open = start.target.lanes(link, self.epoch).await?;
        open.truncate(count);
        match open.len() == count {
            true => Ok(open),
            false => Err(Error::definite(doing)
                .node(&self.link.target.name)
                .reason(Reason::Fenced)
                .why("the link was taken over")),
        }
    }

    /// Writes under the first of them.
    async fn applier(&self, start: &mut Start, from: &Position) -> Result<Applier> {
        let lanes = self.lanes(start, 1).await?;
        let lane = lanes.first().ok_or_else(|| Error::bug("open a lane"))?;
        let link = Arc::clone(&start.link);
        let target = Target::open(link.target.engine, &link.target.access, link.is_merge()).await?;
        let checkpoint = Checkpoint {
            lane: lane.number,
            epoch: lane.epoch,
            seq: lane.seq,
            position: from.clone(),
            settle: None,
            source_identity: self.identity.clone(),
        };
        Ok(Applier::new(target, link, checkpoint))
    }

    /// Of every table, by images that are later than its copy.
    async fn all_beyond(&self, lane: &mut Applier, start: &Start, ends: &Ends, work: &Work) -> Result<()> {
        let link = &start.link;
        let options = start.options(ends);
        let mut here = Snapshot::now(link.source.engine, options.clone()).await?;
        let there = SourceOptions {
            access: link.target.access.clone(),
            tables: ends.target_tables.clone(),
            ..options
        };
        let mut there = Snapshot::now(link.target.engine, there).await?;
        for known in &ends.source_tables {
            let passing = work.passing(&known.table.id)?;
            // What left a filter that keeps it is meant to stay.
            if !passing.plan.keeps() {
                self.beyond(lane, (&mut here, &mut there), passing, &work.start)
                    .await?;
            }
        }
        Ok(())
    }

    /// Deletes what the target holds and the source does not, with a record of it. Keys are held against each other by
    /// their hashes, as many at once as memory is given to.
    async fn beyond(
        &self,
        lane: &mut Applier,
        (source, target): (&mut Snapshot, &mut Snapshot),
        passing: &Passing,
        from: &Position,
    ) -> Result<()> {
        let noted = self
            .noted(&HashMap::from([(passing.source.id.clone(), passing)]))
            .await?;
        let rows: u64 = noted.iter().map(|chunk| chunk.copied_rows).sum();
        let (plan, parts) = (&passing.plan, u128::from(rows / KEYS_MAX + 1));
        for part in 0..parts {
            let known = keys(source, passing, |hash| hash % parts == part).await?;
            target
                .open_table(&plan.shape.table, &Range::default(), None)
                .await?;
            loop {
                let rows = target.rows(ROWS_MAX).await?;
                if rows.is_empty() {
                    break;
                }
                let held = rows
                    .iter()
                    .filter(|row| plan.holds(row) && plan.asks_for_standing(row))
                    .filter_map(|row| plan.standing_key(row));
                let is_beyond = |key: &Key| {
                    let hash = key_hash(key);
                    hash % parts == part && !known.contains(&hash)
                };
                let beyond: Vec<Key> = held.filter(is_beyond).collect();
                if !beyond.is_empty() {
                    let count = beyond.len();
                    lane.begin(from).await?;
                    lane.remove(plan, &copied_head(), beyond).await?;
                    lane.commit().await?;
                    warn!(
                        event = "resync_removed", link = %self.link.id, table = %plan.shape.table.id, rows = count,
                        "rows that the source does not have are deleted: `tidelock conflicts list` has them"
                    );
                }
            }
        }
        Ok(())
    }
}

/// Hashes of the keys that the source's rows have at the target.
async fn keys(
    source: &mut Snapshot,
    passing: &Passing,
    is_meant: impl Fn(u128) -> bool,
) -> Result<HashSet<u128>> {
    let mut found = HashSet::new();
    source
        .open_table(&passing.source, &Range::default(), passing.filter())
        .await?;
    loop {
        let rows = source.rows(ROWS_MAX).await?;
        if rows.is_empty() {
            return Ok(found);
        }
        let sorted = passing.sorted(rows, 0)?;
        let layers = sorted.rows.iter().chain(sorted.unasked.iter());
        let changes = layers.flat_map(|layer| &layer.changes);
        let hashes = changes.map(|change| xxhash_rust::xxh3::xxh3_128(&change.key_bytes));
        found.extend(hashes.filter(|hash| is_meant(*hash)));
    }
}
