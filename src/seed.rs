//! The first start of a sync: start positions, the first copy, and the proof that two sides are equal.
//!
//! The copy of a link is one target transaction: rows, checkpoint and marker become visible together or not at all,
//! so a broken copy leaves nothing behind and is made again. It is handed over to the stream without a gap: the log
//! is held (slot) or noted (GTID set) before the image is taken.
//! Rows that a table's filter leaves out are neither copied nor compared.
//! Refuses: filling tables that hold rows, and going on when both sides should be equal and are not.

use crate::access::SourceOptions;
use crate::ddl;
use crate::engine::{self, Node, Snapshot, Target};
use crate::error::{Error, Reason, Result, new_copy};
use crate::flow::planner::Planner;
use crate::flow::pulse::{Live, Pulse, State, now_us};
use crate::flow::spec::{LinkSpec, Seed, SyncSpec};
use crate::flow::{self, Applier};
use crate::model::change::Head;
use crate::model::origin::{Marker, Segment};
use crate::model::position::Position;
use crate::model::schema::{Column, Engine, Table, TableId};
use crate::model::sync::{CatalogTable, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use crate::plan::layer::Layers;
use crate::plan::{Address, Move, Plan, PlannedOp};
use crate::typemap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Rows read and written at once.
const ROWS_MAX: usize = 1_000;
/// A checkpoint with this seq says that the first copy has not been committed.
const COPY_PENDING: i64 = -1;

/// Brings every link of the sync to the point where it has a checkpoint to stream from. Nothing is done where all
/// have one.
pub async fn start(sync: &SyncSpec, stop: &CancellationToken, live: &Live) -> Result<()> {
    let (mut missing, mut unused, mut begun) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..sync.links.len() {
        let link = sync.link(index);
        let mut target = Target::open(link.target.engine, &link.target.access, link.is_merge()).await?;
        let checkpoint = target.checkpoint(&link.sync, &link.id).await?;
        match checkpoint.filter(|checkpoint| checkpoint.seq > COPY_PENDING) {
            None => missing.push(Start { link, target }),
            Some(checkpoint) => {
                let never_moved = checkpoint.seq == 0;
                begun.push((Arc::clone(&link), checkpoint));
                if never_moved {
                    unused.push(Start { link, target });
                }
            }
        }
    }
    // Told to stop while this waited for its turn: what was meant then may not be meant any more.
    if missing.is_empty() || stop.is_cancelled() {
        return Ok(());
    }
    // A link that lost its checkpoint while the other has one: is a node not the server it was? Then nothing is copied.
    for (link, checkpoint) in &begun {
        let mut source = Node::connect(&link.source.access, link.source.engine).await?;
        flow::same_server(link, checkpoint, &source.server().await?.identity)?;
    }
    let is_copy = |start: &Start| is_copy(sync, &start.link);
    let links: Vec<Arc<LinkSpec>> = missing.iter().map(|start| Arc::clone(&start.link)).collect();
    refuse_half(sync, &links)?;
    match &sync.seed {
        Seed::From(_) => {
            let (mut copies, others): (Vec<Start>, Vec<Start>) = missing.into_iter().partition(is_copy);
            // Before a way back is begun: rows that somebody then deletes to make room would be deleted at the
            // seeder too.
            for start in &mut copies {
                let ends = start.ends().await?;
                start.refuse_rows(&ends).await?;
            }
            // The way back first: what the peer's users write while its copy runs is in the log already.
            for start in unused.into_iter().filter(|start| !is_copy(start)) {
                start.anew().await?;
            }
            for start in others {
                start.without_copy().await?;
            }
            for start in copies {
                let pulse = live.of(&start.link.sync, &start.link.id);
                start.copy(stop, &pulse).await?;
            }
        }
        Seed::None => {
            let merge = missing.iter().all(|start| start.link.is_merge());
            if merge && missing.len() == sync.links.len() && missing.len() == 2 {
                let [one, other] =
                    <[Start; 2]>::try_from(missing).map_err(|_| Error::bug("start two links"))?;
                return prove_equal(one, other).await;
            }
            for start in missing {
                start.without_copy().await?;
            }
        }
    }
    Ok(())
}

/// Does the first copy fill the link's target?
pub fn is_copy(sync: &SyncSpec, link: &LinkSpec) -> bool {
    sync.seed == Seed::From(link.source.name.clone())
}

/// A two-way sync whose first start broke off between its two links: from now on would not be from where both sides
/// were known to be equal. `missing`: its links without a checkpoint.
pub fn refuse_half(sync: &SyncSpec, missing: &[Arc<LinkSpec>]) -> Result<()> {
    if missing.len() == sync.links.len() || missing.iter().any(|link| is_copy(sync, link)) {
        return Ok(());
    }
    let Some(link) = missing.iter().find(|link| link.is_merge()) else {
        return Ok(());
    };
    Err(Error::definite(format!("start link {}", link.id))
        .node(&link.target.name)
        .why("it has no checkpoint, and the other direction has one: the first start broke off, or the checkpoint was lost")
        .hint(new_copy(&sync.name))
        .reason(Reason::PositionLost))
}

/// A link without a checkpoint, and the connection that will make it.
struct Start {
    link: Arc<LinkSpec>,
    target: Target,
}

/// Both ends of a link as their catalogs show them.
struct Ends {
    source_tables: Vec<Arc<CatalogTable>>,
    target_tables: Vec<Arc<CatalogTable>>,
    planner: Planner,
    identity: String,
}

impl Start {
    /// No copy: the link begins where the source's log ends now.
    async fn without_copy(mut self) -> Result<()> {
        let ends = self.ends().await?;
        let options = self.options(&ends);
        let position = engine::start_position(self.link.source.engine, options).await?;
        self.checkpoint(&position, None, 0, &ends.identity).await?;
        info!(link = %self.link.id, %position, "link starts without a copy");
        Ok(())
    }

    /// The way back of a copy that broke off: it has not run yet, and begins again where the log ends now. What was
    /// written to make room for the copy is no change.
    async fn anew(mut self) -> Result<()> {
        let ends = self.ends().await?;
        // Of the snapshot only its beginning is wanted: there alone an old slot is not taken over.
        let snapshot = Snapshot::open(self.link.source.engine, self.options(&ends)).await?;
        let position = snapshot.start().clone();
        let taken = self
            .target
            .take_over(&self.link.sync, &self.link.id, &self.link.instance)
            .await?;
        let mut checkpoint = taken.ok_or_else(|| Error::bug("read back a checkpoint that was there"))?;
        checkpoint.source_identity = ends.identity;
        let link = Arc::clone(&self.link);
        let mut applier = Applier::new(self.target, self.link, checkpoint);
        applier.begin(&position).await?;
        applier.commit().await?;
        info!(link = %link.id, %position, "link starts anew");
        Ok(())
    }

    async fn copy(mut self, stop: &CancellationToken, pulse: &Pulse) -> Result<()> {
        pulse.set(State::Copying, "");
        let mut ends = self.ends().await?;
        self.refuse_rows(&ends).await?;
        self.estimate(pulse).await?;
        let mut snapshot = Snapshot::open(self.link.source.engine, self.options(&ends)).await?;
        let position = snapshot.start().clone();
        if self
            .target
            .checkpoint(&self.link.sync, &self.link.id)
            .await?
            .is_none()
        {
            self.checkpoint(&position, None, COPY_PENDING, &ends.identity)
                .await?;
        }
        let taken = self
            .target
            .take_over(&self.link.sync, &self.link.id, &self.link.instance)
            .await?;
        let mut checkpoint = taken.ok_or_else(|| Error::bug("read back a checkpoint that was just made"))?;
        checkpoint.source_identity = ends.identity.clone();
        let link = Arc::clone(&self.link);
        let mut applier = Applier::new(self.target, Arc::clone(&link), checkpoint);
        applier.begin(&position).await?;
        let mut copied = 0;
        for table in &ends.source_tables {
            let source = Arc::new(link.passage(&table.table.id).kept(&table.table));
            let plan = ends.planner.plan(&source)?;
            snapshot.open_table(&source).await?;
            let mut first = 0;
            loop {
                if stop.is_cancelled() {
                    return applier.rollback().await;
                }
                let rows = snapshot.rows(ROWS_MAX).await?;
                if rows.is_empty() {
                    break;
                }
                let layers = copied_rows(&plan, rows, first)?;
                first += ROWS_MAX as u64;
                let written = applier.copy(&layers).await?;
                pulse.copied(written);
                copied += written;
            }
            info!(link = %link.id, table = %source.id, "table copied");
        }
        let settle = snapshot.close().await?.filter(|settle| *settle != position);
        applier.settle(settle).await?;
        let tally = applier.commit().await?;
        pulse.set(State::Starting, "");
        info!(link = %link.id, rows = copied, conflicts = tally.conflicts, %position, "first copy committed");
        Ok(())
    }

    /// How many rows there are to copy, for whoever watches.
    async fn estimate(&self, pulse: &Pulse) -> Result<()> {
        let source = &self.link.source;
        let mut node = Node::connect(&source.access, source.engine).await?;
        let sizes = node.sizes(&source.tables).await?;
        let rows = sizes.into_iter().flatten().filter_map(|size| size.rows).sum();
        pulse.figures.copy_estimated.store(rows, Relaxed);
        Ok(())
    }

    async fn ends(&mut self) -> Result<Ends> {
        let (link, source_spec, target_spec) = (&self.link, &self.link.source, &self.link.target);
        let mut source = Node::connect(&source_spec.access, source_spec.engine).await?;
        let mut target = Node::connect(&target_spec.access, target_spec.engine).await?;
        let source_tables = flow::tables(&mut source, &source_spec.tables, &source_spec.name).await?;
        let target_tables = flow::tables(&mut target, &target_spec.tables, &target_spec.name).await?;
        let pairs = source_tables.iter().zip(&target_tables);
        let pairs = pairs.map(|(source, target)| (source.table.id.clone(), Arc::new(target.table.clone())));
        let planner = Planner::new(
            link,
            source.engine().await?,
            target.engine().await?,
            pairs.collect(),
            flow::Described::default(),
        );
        let identity = source.server().await?.identity;
        Ok(Ends {
            source_tables,
            target_tables,
            planner,
            identity,
        })
    }

    fn options(&self, ends: &Ends) -> SourceOptions {
        SourceOptions {
            access: self.link.source.access.clone(),
            sync: self.link.sync.clone(),
            target: self.link.target.name.clone(),
            tables: ends.source_tables.clone(),
            mode: self.link.mode,
            spill: self.link.limits.spill.clone(),
            stream: self.link.limits.stream,
            keep: None,
        }
    }

    async fn checkpoint(
        &mut self,
        position: &Position,
        settle: Option<&Position>,
        seq: i64,
        identity: &str,
    ) -> Result<()> {
        let link = &self.link;
        let movement = Move {
            marker: Marker {
                sync: link.sync.clone(),
                link: link.id.clone(),
                lane: 0,
                seq,
                position: position.to_string(),
                origin: link.source.rank,
                hop: 1,
                segment: Segment::Applied,
                config_hash: link.config_hash.clone(),
            },
            epoch: 1,
            from_seq: seq,
            settle: settle.map(ToString::to_string),
            source_identity: identity.to_owned(),
        };
        self.target.create_checkpoint(&movement).await
    }

    async fn refuse_rows(&self, ends: &Ends) -> Result<()> {
        let spec = &self.link.target;
        let mut target = Node::connect(&spec.access, spec.engine).await?;
        for table in &ends.target_tables {
            if target.has_rows(&table.table.id).await? {
                return Err(Error::definite(format!("copy from {}", self.link.source.name))
                    .node(&spec.name)
                    .table(&table.table.id)
                    .why("it already holds rows, and a first copy fills empty tables only")
                    .hint(format!(
                        "empty it (TRUNCATE TABLE {}), or set seed = \"none\" if both sides hold the same rows",
                        ddl::table_name(&table.table.id, spec.engine)
                    ))
                    .reason(Reason::Refused));
            }
        }
        Ok(())
    }
}

fn copied_rows(plan: &Arc<Plan>, rows: Vec<Row>, first: u64) -> Result<Layers> {
    let head = Arc::new(Head {
        transaction: "first copy".to_owned(),
        past: None,
        committed_at_us: now_us(),
    });
    let mut layers = Layers::default();
    for (ordinal, row) in (first..).zip(rows) {
        if !plan.takes(&row)? {
            continue;
        }
        let address = Address {
            head: Arc::clone(&head),
            ordinal,
        };
        layers.push(plan, plan.copied(&row, &address)?);
    }
    Ok(layers)
}

/// Both sides claim to hold the same rows: read both images and compare sums of row hashes, in the terms of the
/// second side. Only then do both links get their checkpoints.
async fn prove_equal(mut one: Start, mut other: Start) -> Result<()> {
    let (mut ends, other_ends) = (one.ends().await?, other.ends().await?);
    let mut here = Snapshot::open(one.link.source.engine, one.options(&ends)).await?;
    let mut there = Snapshot::open(other.link.source.engine, other.options(&other_ends)).await?;
    for (table, peer) in ends.source_tables.iter().zip(&other_ends.source_tables) {
        let passage = one.link.passage(&table.table.id);
        let source = Arc::new(passage.kept(&table.table));
        let plan = ends.planner.plan(&source)?;
        let taken = |row: Row| match plan.takes(&row)? {
            true => carried_over(&plan, row).map(Some),
            false => Ok(None),
        };
        let ours = Sum::of(&mut here, &source, &plan, taken).await?;
        let read = passage.back().kept(&peer.table);
        let held = |row: Row| Ok(Some(whole(row, &read, &peer.table)).filter(|row| plan.holds(row)));
        let theirs = Sum::of(&mut there, &read, &plan, held).await?;
        if ours != theirs {
            return Err(unequal(&one.link, (&source.id, &peer.table.id), &ours, &theirs));
        }
        info!(table = %source.id, rows = ours.rows, "both sides are equal");
    }
    let (start, other_start) = (here.start().clone(), there.start().clone());
    let (settle, other_settle) = (here.close().await?, there.close().await?);
    one.checkpoint(&start, settle.as_ref(), 0, &ends.identity).await?;
    other
        .checkpoint(&other_start, other_settle.as_ref(), 0, &other_ends.identity)
        .await
}

/// The row with the places of the whole table, where what was not read is missing.
fn whole(row: Row, read: &Table, table: &Table) -> Row {
    let place = |column: &Column| {
        read.column(&column.name)
            .and_then(|place| row.get(place).cloned())
    };
    table.columns.iter().map(place).collect()
}

/// Rows of equal content under different stamps are not equal: their next change would look contested.
fn unequal(link: &LinkSpec, (table, peer): (&TableId, &TableId), ours: &Sum, theirs: &Sum) -> Error {
    let error = Error::definite("start with seed = \"none\"")
        .table(table)
        .reason(Reason::Refused);
    let (sync, source, target) = (&link.sync, &link.source.name, &link.target.name);
    if (ours.rows, ours.contents) == (theirs.rows, theirs.contents) {
        return error
            .why(format!(
                "{source} and {target} hold the same rows, but some were written on one side since `tidelock setup`"
            ))
            .hint(format!(
                "while nobody writes: tidelock teardown --sync {sync} --execute; on {source} {} on {target} {} tidelock \
                 setup --sync {sync} --execute",
                drop_stamps(table, link.source.engine),
                drop_stamps(peer, link.target.engine)
            ));
    }
    error
        .why(format!(
            "{source} holds {} rows and {target} holds {}, and they are not the same rows",
            ours.rows, theirs.rows
        ))
        .hint(format!(
            "make them equal while nobody writes; or empty {target} and set seed = \"from:{source}\", \
             or empty {source} and set seed = \"from:{target}\""
        ))
}

fn drop_stamps(table: &TableId, engine: Engine) -> String {
    let table = ddl::table_name(table, engine);
    format!("ALTER TABLE {table} DROP COLUMN {VERSION_COLUMN}, DROP COLUMN {ORIGIN_COLUMN};")
}

/// A table's rows regardless of their order.
#[derive(Debug, PartialEq, Eq, Default)]
struct Sum {
    rows: u64,
    hashes: u128,
    /// Without the stamps.
    contents: u128,
}

impl Sum {
    async fn of(
        snapshot: &mut Snapshot,
        table: &crate::model::schema::Table,
        plan: &Plan,
        as_target: impl Fn(Row) -> Result<Option<Row>>,
    ) -> Result<Sum> {
        let mut sum = Sum::default();
        let stamps = plan.shape.stamps.as_ref();
        let is_stamp = |place| stamps.is_some_and(|stamps| place == stamps.version || place == stamps.origin);
        snapshot.open_table(table).await?;
        let mut bytes = Vec::new();
        loop {
            let rows = snapshot.rows(ROWS_MAX).await?;
            if rows.is_empty() {
                return Ok(sum);
            }
            for row in rows {
                let Some(row) = as_target(row)? else { continue };
                let mut hash = |stamped: bool| {
                    bytes.clear();
                    for place in plan.carried().filter(|place| stamped || !is_stamp(*place)) {
                        comparable(row.get(place).unwrap_or(&Value::Null)).key_bytes(&mut bytes);
                    }
                    xxhash_rust::xxh3::xxh3_128(&bytes)
                };
                sum.rows += 1;
                sum.hashes = sum.hashes.wrapping_add(hash(true));
                sum.contents = sum.contents.wrapping_add(hash(false));
            }
        }
    }
}

fn carried_over(plan: &Plan, row: Row) -> Result<Row> {
    let head = Arc::new(Head {
        transaction: "comparison".to_owned(),
        past: None,
        committed_at_us: 0,
    });
    match plan.copied(&row, &Address { head, ordinal: 0 })?.op {
        PlannedOp::Insert { row, .. } => Ok(row),
        PlannedOp::Refused { why, .. } => Err(Error::definite("compare the two sides")
            .table(&plan.source.id)
            .why(format!("column {:?}: {}", why.column, why.why))
            .reason(Reason::Refused)),
        PlannedOp::Update { .. } | PlannedOp::Delete { .. } => Err(Error::bug("plan a copied row")),
    }
}

/// Each engine writes JSON in its own way: compare what it says.
fn comparable(value: &Value) -> Value {
    match value {
        // Where reading it would fold numbers or keys, its text has to be the same.
        Value::Json(text) if typemap::is_plain_json(text) => {
            match serde_json::from_str::<serde_json::Value>(text) {
                Ok(mut json) => {
                    json.sort_all_objects();
                    Value::Json(json.to_string().into())
                }
                Err(_) => value.clone(),
            }
        }
        _ => value.clone(),
    }
}
