//! The copy of one link: chunks of the source's tables, several at once, that lasts through the death of anything.
//!
//! Owns: the plan of chunks, which lies in the target before the first is copied; the workers, each with a reader, a
//! session and a lane of the checkpoint; and the end, when the link begins to stream. A chunk's rows, its being done and
//! its marker are one target transaction, which the lane's checkpoint fences. What is done is never done again.
//! Refuses: tables that hold rows before the first chunk, and a start that the source cannot serve any more.
//!
//! The link streams from where its start was noted before any chunk was read, and no change is left out because a chunk
//! holds it. What is before the start is visible in every later image, so nothing falls between the two. As long as all
//! readers share one image of the start the copy is exact; chunks that are read later, after something died, may hold
//! later changes: the log as it ended then is the settle position, up to which finding them is no conflict.

use super::pieces::Piece;
use super::queue::{self, Queue};
use super::{COPY_PENDING, Ends, Start, later};
use crate::chunk::{self, Chunk};
use crate::engine::{Node, Snapshot, Target};
use crate::error::{Class, Error, Reason, Result, new_copy};
use crate::expr::Filter;
use crate::flow::pulse::{Copies, Pulse, State, now_us};
use crate::flow::spec::LinkSpec;
use crate::flow::{self, Applier, Throttle, Uniting};
use crate::model::change::Head;
use crate::model::position::Position;
use crate::model::schema::{ForeignKey, Table, TableId};
use crate::model::sync::{CatalogTable, Checkpoint, Lane, Size};
use crate::model::value::Row;
use crate::plan::layer::Layers;
use crate::plan::{Address, Plan};
use futures_util::future::{join, join_all};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Seqs of the lanes begin here, so that the greatest seq of the link is always its first lane's.
pub(super) const LANE_SEQ: i64 = i64::MIN / 2;
/// How often a chunk is tried before the whole start is.
const TRIES_MAX: u32 = 8;
/// Rows without their parents are not counted beyond that.
const ORPHANS_MAX: u64 = 10_000;
/// Before the second try; each takes so much longer.
const PAUSE: Duration = Duration::from_millis(100);

/// A table of the source and how its rows become the target's.
pub(super) struct Passing {
    pub(super) source: Arc<Table>,
    pub(super) plan: Arc<Plan>,
    /// Where the cells of rows that fill the table go, if as the source's server wrote them.
    pub(super) verbatim: Option<Vec<usize>>,
    catalog: CatalogTable,
    pub(super) how: How,
    /// When its chunks are copied (see `queue`).
    stage: usize,
}

/// What becomes of the rows that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// They fill an empty table.
    Fill,
    /// They meet rows.
    Unite(Uniting),
    /// They are tombstones, kept for rows that come later.
    Bury,
    /// They are tombstones, and decided like deletes.
    Delete(Uniting),
}

/// What the workers share.
pub(super) struct Work {
    link: Arc<LinkSpec>,
    pub(super) start: Position,
    tables: HashMap<TableId, Passing>,
    queue: Queue,
    pulse: Arc<Pulse>,
    throttle: Throttle,
    /// The target's, where what is copied meets rows.
    foreign_keys: Vec<ForeignKey>,
    stop: CancellationToken,
    _shown: Copies,
}

/// What the rows of a copy are to the target.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) rows: Layers,
    /// The condition of a new copy does not take them at the source, or cannot be asked: they were deleted.
    pub(super) unasked: Layers,
    /// The source does not send them; see [`Plan::released`].
    pub(super) released: Layers,
}

/// A worker's end: its reader, when nothing was left to do.
type Ended = Option<Snapshot>;

/// The copy as the target has noted it.
pub(super) struct Noted {
    checkpoint: Checkpoint,
    chunks: Vec<Chunk>,
}

impl Start {
    /// A copy of this link that broke off, and of which a part is done.
    pub(super) async fn note_of_before(&mut self) -> Result<Option<Noted>> {
        let (sync, link) = (&self.link.sync, &self.link.id);
        let is_pending = |checkpoint: &Checkpoint| checkpoint.seq == COPY_PENDING;
        let checkpoint = self.target.checkpoint(sync, link).await?;
        if !checkpoint.as_ref().is_some_and(is_pending) {
            return Ok(None);
        }
        // What another attempt has still under way is over before its chunks are read.
        let taken = self.target.take_over(sync, link, &self.link.instance).await?;
        let Some(checkpoint) = taken.filter(is_pending) else {
            return Err(Error::transient("go on with a first copy")
                .node(&self.link.target.name)
                .why("it has ended at this moment"));
        };
        let spec = &self.link.target;
        let mut node = Node::connect(&spec.access, spec.engine).await?;
        let chunks = node.chunks(sync, link).await?;
        let is_begun = self.uniting.is_some() || chunks.iter().any(|chunk| chunk.is_done);
        Ok(is_begun.then_some(Noted { checkpoint, chunks }))
    }

    /// Rows of chunks that are done are not copied again, so they must be there. In a merge this node's users may have
    /// deleted them, and the way back tells.
    async fn refuse_emptied(&self, ends: &Ends, noted: &Noted) -> Result<()> {
        if self.link.is_merge() {
            return Ok(());
        }
        let spec = &self.link.target;
        let mut target = Node::connect(&spec.access, spec.engine).await?;
        for (source, table) in ends.source_tables.iter().zip(&ends.target_tables) {
            let is_filled = |chunk: &Chunk| chunk.table == source.table.id && chunk.copied_rows > 0;
            if noted.chunks.iter().any(is_filled) && !target.has_rows(&table.table).await? {
                return Err(Error::definite("go on with a first copy")
                    .node(&spec.name)
                    .table(&table.table.id)
                    .why("rows were copied into it before the copy broke off, and it is empty")
                    .hint(new_copy(&self.link.sync))
                    .reason(Reason::Refused));
            }
        }
        Ok(())
    }

    pub(super) async fn copy(mut self, stop: &CancellationToken, pulse: &Arc<Pulse>) -> Result<()> {
        pulse.set(State::Copying, "");
        let mut ends = self.ends().await?;
        let noted = self.noted.take();
        let tables = self.tables(&mut ends)?;
        let before = noted.as_ref().map_or(&[][..], |noted| &noted.chunks);
        let planned = self.planned(&ends, &tables, before).await?;
        let chunks = before.iter().chain(&planned);
        let chunks = chunks.filter(|chunk| tables.contains_key(&chunk.table));
        let chunks: Vec<Chunk> = chunks.cloned().collect();
        let open = open_of(&chunks);
        let readers = self.readers(&ends, noted.as_ref(), open).await?;
        if self.copies_tombstones && self.uniting.is_none() {
            self.raise_floors().await?;
        }
        let first = readers.first().ok_or_else(|| Error::bug("open readers"))?;
        let start = first.start().clone();
        let (epoch, lanes) = self
            .note(&ends, &start, readers.len(), &planned, noted.is_none())
            .await?;
        let work = Arc::new(Work::new(
            &self.link,
            start,
            tables,
            (chunks, ends.foreign_keys),
            (pulse, stop),
        ));
        match work.all(readers, lanes, &ends.identity).await? {
            Some(readers) => self.end(&work, epoch, readers).await,
            None => Ok(()),
        }
    }

    /// What users of the target insert starts above what the source's users do: above deletes that nobody keeps any more.
    async fn raise_floors(&mut self) -> Result<()> {
        let (source, target) = (&self.link.source, &self.link.target);
        let mut of = Target::open_to_read(source.engine, &source.access).await?;
        for (table, here) in source.tables.iter().zip(&target.tables) {
            let floor = of.floor(table).await?;
            self.target.raise_floor(&self.link.sync, here, floor).await?;
        }
        Ok(())
    }

    /// No more than there is to do.
    async fn readers(&self, ends: &Ends, noted: Option<&Noted>, open: usize) -> Result<Vec<Snapshot>> {
        let (engine, options) = (self.link.source.engine, self.options(ends));
        let count = self.link.limits.copy_workers.min(open).max(1);
        let Some(noted) = noted else {
            self.refuse_rows(ends, |_| true).await?;
            return Snapshot::open_all(engine, options, count).await;
        };
        flow::same_server(&self.link, &noted.checkpoint, &ends.identity)?;
        self.refuse_emptied(ends, noted).await?;
        if self.uniting.is_none() {
            // Tables that joined since are as empty as the others were.
            let is_known = |table: &TableId| noted.chunks.iter().any(|chunk| chunk.table == *table);
            self.refuse_rows(ends, |table| !is_known(table)).await?;
        }
        let start = &noted.checkpoint.position;
        info!(link = %self.link.id, position = %start, "going on with the first copy");
        Snapshot::resume(engine, options, start, count).await
    }

    pub(super) fn tables(&self, ends: &mut Ends) -> Result<HashMap<TableId, Passing>> {
        let mut tables = HashMap::with_capacity(ends.source_tables.len());
        for known in &ends.source_tables {
            let source = Arc::new(self.link.passage(&known.table.id).kept(&known.table));
            let plan = ends.planner.plan(&source)?;
            let catalog = CatalogTable {
                table: Table::clone(&source),
                ..CatalogTable::clone(known)
            };
            let passing = Passing {
                source,
                verbatim: plan.verbatim().filter(|_| self.uniting.is_none()),
                plan,
                catalog,
                how: self.uniting.map_or(How::Fill, How::Unite),
                stage: queue::ROWS,
            };
            tables.insert(known.table.id.clone(), passing);
        }
        for (known, of) in ends.tombstones.iter().zip(&ends.source_tables) {
            let Some(plan) = tables.get(&of.table.id).map(|of| Arc::clone(&of.plan)) else {
                continue;
            };
            let (how, stage) = match self.uniting {
                Some(uniting) => {
                    let stage = queue::stage(&plan.shape.table.id, &ends.foreign_keys);
                    (How::Delete(uniting), stage)
                }
                None => (How::Bury, queue::ROWS),
            };
            let passing = Passing {
                source: Arc::new(known.table.clone()),
                verbatim: None,
                plan,
                catalog: CatalogTable::clone(known),
                how,
                stage,
            };
            tables.insert(known.table.id.clone(), passing);
        }
        Ok(tables)
    }

    /// The chunks of tables that have none yet.
    pub(super) async fn planned(
        &self,
        ends: &Ends,
        tables: &HashMap<TableId, Passing>,
        before: &[Chunk],
    ) -> Result<Vec<Chunk>> {
        let source = &self.link.source;
        let known: BTreeSet<&TableId> = before.iter().map(|chunk| &chunk.table).collect();
        let mut node = Node::connect(&source.access, source.engine).await?;
        let engine = node.engine().await?;
        let tombstones = ends.tombstones.iter().map(|tombstones| &tombstones.table.id);
        let ids: Vec<TableId> = source.tables.iter().chain(tombstones).cloned().collect();
        let sizes: Vec<Option<Size>> = node.sizes(&ids).await?;
        let mut chunks = Vec::new();
        for (id, size) in ids.iter().zip(sizes) {
            let Some(passing) = tables.get(id).filter(|_| !known.contains(id)) else {
                continue;
            };
            let is_whole = matches!(passing.how, How::Delete(_))
                && queue::is_circular(&passing.plan.shape.table.id, &ends.foreign_keys);
            let bounds = match !is_whole && chunk::is_ordered(engine, &passing.source) {
                true => {
                    let rows = chunk::rows(size, self.link.limits.chunk_rows_max);
                    node.bounds(&passing.catalog, rows, size).await?
                }
                false => Vec::new(),
            };
            chunks.extend(chunk::between(id, bounds, size));
        }
        node.close().await;
        Ok(chunks)
    }

    /// Makes the link ours, and has the target know where it starts, what is to be copied, and so many lanes. Returns the
    /// epoch of the link with them.
    async fn note(
        &mut self,
        ends: &Ends,
        start: &Position,
        lanes: usize,
        planned: &[Chunk],
        is_anew: bool,
    ) -> Result<(i64, Vec<Lane>)> {
        let (sync, id) = (self.link.sync.clone(), self.link.id.clone());
        let link = (sync.as_str(), id.as_str());
        if self.target.checkpoint(&sync, &id).await?.is_none() {
            self.checkpoint(start, None, COPY_PENDING, &ends.identity).await?;
        }
        let count = i16::try_from(lanes).map_err(|error| Error::bug("open lanes").because(error))?;
        self.target.open_lanes(link, count, LANE_SEQ).await?;
        let taken = self.target.take_over(&sync, &id, &self.link.instance).await?;
        let taken = taken.ok_or_else(|| Error::bug("read back a checkpoint that was just made"))?;
        let mut pending = self.movement(start, None, COPY_PENDING, &ends.identity);
        pending.epoch = taken.epoch;
        self.target.begin(&pending).await?;
        self.target.plan_chunks(link, planned, is_anew).await?;
        self.target.commit().await?;
        let mut open = self.target.lanes(link, taken.epoch).await?;
        open.truncate(lanes);
        match open.len() == lanes {
            true => Ok((taken.epoch, open)),
            false => Err(Error::transient("open lanes for a copy")
                .node(&self.link.target.name)
                .why("the link was taken over at this moment")),
        }
    }

    /// All chunks are done: the link has its checkpoint. Not where another copy of the program has taken it since.
    async fn end(self, work: &Work, epoch: i64, readers: Vec<Snapshot>) -> Result<()> {
        let (link, start) = (&work.link, &work.start);
        let mut target = self.target;
        let pending = target.checkpoint(&link.sync, &link.id).await?;
        let pending = pending.ok_or_else(|| Error::bug("read back the checkpoint of a copy"))?;
        let pending = Checkpoint {
            epoch,
            seq: COPY_PENDING,
            ..pending
        };
        let mut applier = Applier::new(target, Arc::clone(link), pending);
        work.tell_orphans(&mut applier).await;
        applier.begin(start).await?;
        let mut settle: Option<Position> = None;
        // Together: each waits for what is visible to be in its log.
        for closed in join_all(readers.into_iter().map(Snapshot::close)).await {
            settle = match (settle, closed?) {
                (Some(one), Some(other)) => Some(later(one, &other)?),
                (one, other) => one.or(other),
            };
        }
        applier
            .copied_all(settle.filter(|settle| settle != start))
            .await?;
        applier.commit().await?;
        work.pulse.set(State::Starting, "");
        info!(link = %link.id, position = %start, "first copy committed");
        Ok(())
    }
}

/// What became of a chunk.
enum Attempt {
    /// So many bytes.
    Done(u64),
    /// Rows would have lost what they refer to: what takes it away waits the next time.
    Again,
    Stopped,
}

/// Where a chunk was not copied.
enum Failed {
    /// The image may be of no use any more.
    Reading(Error),
    Writing(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Writing(error)
    }
}

pub(super) fn open_of(chunks: &[Chunk]) -> usize {
    chunks.iter().filter(|chunk| !chunk.is_done).count()
}

impl Work {
    pub(super) fn new(
        link: &Arc<LinkSpec>,
        start: Position,
        tables: HashMap<TableId, Passing>,
        (chunks, foreign_keys): (Vec<Chunk>, Vec<ForeignKey>),
        (pulse, stop): (&Arc<Pulse>, &CancellationToken),
    ) -> Work {
        let shown = pulse.copies(&chunks);
        let stage = |chunk: &Chunk| {
            tables
                .get(&chunk.table)
                .map_or(queue::ROWS, |passing| passing.stage)
        };
        let open = chunks.into_iter().filter(|chunk| !chunk.is_done);
        let open = open.map(|chunk| (stage(&chunk), chunk)).collect();
        Work {
            link: Arc::clone(link),
            start,
            tables,
            queue: Queue::new(open),
            _shown: shown,
            pulse: Arc::clone(pulse),
            throttle: Throttle::new(link.limits.copy_bytes_per_second),
            foreign_keys,
            stop: stop.clone(),
        }
    }

    pub(super) fn passing(&self, table: &TableId) -> Result<&Passing> {
        let passing = self.tables.get(table);
        passing.ok_or_else(|| Error::bug("copy a table of the sync").table(table))
    }

    /// Copies what is open. `None`: told to stop before all of it was.
    pub(super) async fn all(
        self: &Arc<Self>,
        readers: Vec<Snapshot>,
        lanes: Vec<Lane>,
        identity: &str,
    ) -> Result<Option<Vec<Snapshot>>> {
        let mut workers: JoinSet<Result<Ended>> = JoinSet::new();
        for (reader, lane) in readers.into_iter().zip(lanes) {
            let checkpoint = Checkpoint {
                lane: lane.number,
                epoch: lane.epoch,
                seq: lane.seq,
                position: self.start.clone(),
                settle: None,
                source_identity: identity.to_owned(),
            };
            workers.spawn(Arc::clone(self).one(reader, checkpoint));
        }
        let mut ended = Vec::new();
        while let Some(worker) = workers.join_next().await {
            ended.push(worker.map_err(|error| Error::bug("copy chunks").because(error))??);
        }
        Ok(ended.into_iter().collect())
    }

    /// A worker: one chunk after the other.
    async fn one(self: Arc<Self>, mut reader: Snapshot, checkpoint: Checkpoint) -> Result<Ended> {
        let mut applier = None;
        loop {
            let next = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                next = self.queue.next() => next,
            };
            let Some(chunk) = next else {
                return Ok(Some(reader));
            };
            if applier.is_none() {
                let (link, spec) = (&self.link, &self.link.target);
                let target = Target::open(spec.engine, &spec.access, link.is_merge()).await?;
                let mut lane = Applier::new(target, Arc::clone(link), checkpoint.clone());
                if !reader.is_exact() {
                    lane.copies_later_rows();
                }
                if self.meets_rows() {
                    lane.watches_parents().await?;
                }
                applier = Some(lane);
            }
            let Some(applier) = applier.as_mut() else { continue };
            if !self.chunk(&mut reader, applier, chunk).await? {
                return Ok(None);
            }
            self.queue.done();
        }
    }

    /// Rows that came may refer to rows that did not. They are left, and told: their parents may be on their way, or be
    /// missing at the source too. Not being able to look is no reason to copy again.
    pub(super) async fn tell_orphans(&self, applier: &mut Applier) {
        for key in &self.foreign_keys {
            let mut copied = self.tables.values().map(|passing| &passing.plan.shape);
            let Some(end) = copied.find(|shape| [&key.child, &key.parent].contains(&&shape.table.id)) else {
                continue;
            };
            match applier.orphans(key, end, ORPHANS_MAX).await {
                Ok((0, _)) => {}
                Ok((rows, shown)) => warn!(
                    event = "copied_without_parent", link = %self.link.id, table = %key.child, foreign_key = %key.name, rows,
                    "rows stand without the row of {} that they refer to: if it does not come with the next changes, and the \
                     source has it, copy that table anew too; {shown}", key.parent
                ),
                Err(error) => warn!(
                    link = %self.link.id, table = %key.child, foreign_key = %key.name, %error,
                    "whether rows stand without what they refer to was not looked at"
                ),
            }
        }
    }

    /// May rows be there that refer to others?
    fn meets_rows(&self) -> bool {
        let mut tables = self.tables.values();
        self.link.is_merge() && tables.any(|passing| matches!(passing.how, How::Unite(_) | How::Delete(_)))
    }

    /// `false`: told to stop before it was done. Where it loses against another worker or a user of the target, it alone
    /// is tried again.
    async fn chunk(&self, reader: &mut Snapshot, applier: &mut Applier, chunk: Chunk) -> Result<bool> {
        let mut tries = 1;
        loop {
            let error = match self.attempt(reader, applier, chunk.clone()).await {
                Ok(Attempt::Done(bytes)) => {
                    // No row is locked any more.
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        () = self.throttle.spend(bytes) => {}
                    }
                    return Ok(true);
                }
                Ok(Attempt::Stopped) => return Ok(false),
                Ok(Attempt::Again) => {
                    reader.leave_table().await?;
                    continue;
                }
                Err(Failed::Writing(error)) if error.class() == Class::Transient && tries < TRIES_MAX => {
                    error
                }
                Err(Failed::Writing(error) | Failed::Reading(error)) => return Err(error),
            };
            // Not with a connection that is lost.
            if applier.rollback().await.is_err() {
                return Err(error);
            }
            reader.leave_table().await?;
            warn!(
                link = %self.link.id, table = %chunk.table, chunk = chunk.number, tries, %error,
                "the chunk is tried again"
            );
            tokio::time::sleep(PAUSE * tries).await;
            tries += 1;
        }
    }

    async fn attempt(
        &self,
        reader: &mut Snapshot,
        applier: &mut Applier,
        mut chunk: Chunk,
    ) -> Result<Attempt, Failed> {
        let passing = self.passing(&chunk.table)?;
        self.pulse.chunk_begins(&chunk);
        applier.begin(&self.start).await?;
        let opened = reader
            .open_table(&passing.source, &chunk.range, passing.filter())
            .await;
        opened.map_err(Failed::Reading)?;
        let mut first = 0;
        let mut next = Piece::read(reader, passing).await.map_err(Failed::Reading)?;
        while let Some(piece) = next {
            if self.stop.is_cancelled() {
                applier.rollback().await?;
                return Ok(Attempt::Stopped);
            }
            let count = piece.rows();
            let (copied, read) =
                join(piece.write(applier, passing, first), Piece::read(reader, passing)).await;
            let copied = copied?;
            (first, next) = (first + count, read.map_err(Failed::Reading)?);
            chunk.copied_rows += copied.rows;
            chunk.copied_bytes += copied.bytes;
        }
        if self.meets_rows() && !applier.is_sound().await? {
            applier.rollback().await?;
            return Ok(Attempt::Again);
        }
        applier.chunk_done(&chunk).await?;
        let tally = applier.commit().await?;
        self.pulse.chunk_done(&chunk);
        info!(
            link = %self.link.id, table = %chunk.table, chunk = chunk.number, rows = chunk.copied_rows,
            conflicts = tally.conflicts, "chunk copied"
        );
        Ok(Attempt::Done(chunk.copied_bytes))
    }
}

pub(super) fn copied_head() -> Arc<Head> {
    Arc::new(Head {
        transaction: "first copy".to_owned(),
        past: None,
        committed_at_us: now_us(),
    })
}

impl Passing {
    /// The rows that are read for the target, and no others.
    pub(super) fn filter(&self) -> Option<&Filter> {
        match self.how {
            How::Unite(_) if self.releases() => None,
            How::Fill | How::Unite(_) => self.plan.source_filter(),
            How::Bury | How::Delete(_) => None,
        }
    }

    /// May the target hold rows as the source's that the source does not send any more? Where both send by one condition the
    /// way back tells of them.
    fn releases(&self) -> bool {
        let is_again = self.how == How::Unite(Uniting::Again);
        is_again && (self.plan.is_each_way() || self.plan.is_held())
    }

    /// Rows of an image, of which the whole table is one chunk.
    pub(super) fn filling(source: Arc<Table>, plan: Arc<Plan>, catalog: CatalogTable) -> Passing {
        Passing {
            source,
            verbatim: plan.verbatim(),
            plan,
            catalog,
            how: How::Fill,
            stage: queue::ROWS,
        }
    }

    /// What these rows are to the target. `first`: the ordinal of the first.
    pub(super) fn sorted(&self, rows: Vec<Row>, first: u64) -> Result<Sorted> {
        let (head, plan) = (copied_head(), &self.plan);
        let mut sorted = Sorted::default();
        for (ordinal, row) in (first..).zip(rows) {
            let address = Address {
                head: Arc::clone(&head),
                ordinal,
            };
            match self.how {
                How::Fill | How::Unite(_) if plan.takes(&row)? => {
                    let found = match plan.asks_for(&row) {
                        true => &mut sorted.rows,
                        false => &mut sorted.unasked,
                    };
                    found.push(plan, plan.copied(&row, &address)?)
                }
                How::Unite(_) if self.releases() => {
                    sorted.released.push(plan, plan.released(&row, &address)?);
                }
                How::Fill | How::Unite(_) => {}
                // Another link may have told its target, and what this target's users insert under such a key must start
                // above it.
                // A spoke that holds some rows makes none, and learns of no others.
                How::Bury if plan.is_held() => {}
                How::Bury | How::Delete(_) => {
                    if let Some((old, stamp)) = flow::buried(&plan.source, &self.source, &row) {
                        let found = match plan.asks() {
                            true => &mut sorted.unasked,
                            false => &mut sorted.rows,
                        };
                        found.push(plan, plan.buried(&old, stamp, &address)?);
                    }
                }
            }
        }
        Ok(sorted)
    }
}
