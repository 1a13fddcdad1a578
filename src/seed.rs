//! The first start of a sync: start positions, the first copy, and the proof that two sides are equal.
//!
//! [`image`] is what a snapshot link does again and again instead. The copy of a link ([`copy`]) goes chunk by chunk and on where it broke off; it fills an empty target, or, each way,
//! makes one set of what two sides hold (`union`); [`equal`] is the proof that there is nothing to copy. A copy is handed
//! over to the stream without a gap: the log is held (slot) or noted (GTID set) before the image is taken.
//! Rows that a table's filter leaves out are neither copied nor compared.
//! Refuses: filling tables that hold rows, and going on when both sides should be equal and are not.

mod copy;
mod equal;
pub(crate) mod image;
pub mod join;
mod pair;
mod pieces;
mod preview;
mod proof;
mod queue;
pub(crate) mod resync;

use crate::access::SourceOptions;
use crate::ddl;
use crate::engine::{self, Node, Snapshot, Target};
use crate::error::{Error, Reason, Result, new_copy};
use crate::flow::planner::Planner;
use crate::flow::pulse::Live;
use crate::flow::spec::{LinkSpec, Seed, SyncSpec, link_id};
use crate::flow::{self, Applier, Uniting};
use crate::model::operation::{Resync, ResyncState};
use crate::model::origin::{Marker, Segment};
use crate::model::position::Position;
use crate::model::schema::{ForeignKey, TableId};
use crate::model::sync::{CatalogTable, Checkpoint, Mode, tombstones_of};
use crate::plan::Move;
use equal::prove_equal;
pub use pair::Pairing;
pub use preview::{Preview, preview};
pub use proof::{Proof, has_mapped, prove};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Rows read and written at once.
const ROWS_MAX: usize = 1_000;
/// A checkpoint with this seq says that the first copy has not been committed.
const COPY_PENDING: i64 = -1;

/// Brings every link of the sync to the point where it has a checkpoint to stream from. Nothing is done where all
/// have one.
pub async fn start(sync: &SyncSpec, stop: &CancellationToken, live: &Live) -> Result<()> {
    let (mut missing, mut unused, mut begun): (Vec<Start>, Vec<Start>, Vec<_>) = Default::default();
    for index in 0..sync.links.len() {
        let link = sync.link(index);
        let mut target = Target::open(link.target.engine, &link.target.access, link.is_merge()).await?;
        let checkpoint = target.checkpoint(&link.sync, &link.id).await?;
        match checkpoint.filter(|checkpoint| checkpoint.seq > COPY_PENDING) {
            None => match noted(sync, &link, &mut target).await? {
                // A node has joined, and this was its next step.
                Some(position) => join::begin(Start::new(link, target), &position).await?,
                None => missing.push(Start::new(link, target)),
            },
            Some(_) if is_lost(&link).await? => {
                let mut start = Start::new(Arc::clone(&link), target);
                // What was deleted while nobody read is told by the tombstones.
                start.is_fresh = false;
                start.anew().await?.checkpoint().await?;
                info!(event = "resync_all", link = %link.id, "the link begins anew, and every table is compared");
            }
            Some(checkpoint) => {
                let never_moved = checkpoint.seq == 0;
                begun.push((Arc::clone(&link), checkpoint));
                if never_moved {
                    unused.push(Start::new(link, target));
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
    let links: Vec<Arc<LinkSpec>> = missing.iter().map(|start| Arc::clone(&start.link)).collect();
    refuse_half(sync, &links)?;
    match &sync.seed {
        Seed::From(_) => {
            let has_begun = begun.iter().any(|(link, _)| is_copy(sync, link));
            with_copies(sync, missing, unused, has_begun, stop, live).await?;
        }
        Seed::Union => {
            let is_first = missing.len() == sync.links.len();
            unite(missing, is_first, stop, live).await?;
        }
        Seed::None => {
            let merge = missing.iter().all(|start| start.link.is_merge());
            if merge && missing.len() == sync.links.len() {
                return without_copies(sync, missing).await;
            }
            for start in missing {
                checkpoints(vec![start.begun().await?]).await?;
            }
        }
    }
    // What was copied no sequence has counted.
    for place in 0..sync.nodes.len() {
        flow::raise_numbers(sync, place).await?;
    }
    Ok(())
}

/// Where a link begins that waited for the copy of its target, which another link has ended.
async fn noted(sync: &SyncSpec, link: &LinkSpec, target: &mut Target) -> Result<Option<Position>> {
    let Seed::From(from) = &sync.seed else {
        return Ok(None);
    };
    let has_noted = target.checkpoint(&link.sync, &link.id).await?;
    let Some(noted) = has_noted.filter(|_| !is_copy(sync, link)) else {
        return Ok(None);
    };
    let copy = link_id(from, &link.target.name);
    let copied = target.checkpoint(&link.sync, &copy).await?;
    let is_over = copied.is_some_and(|copied| copied.seq > COPY_PENDING);
    Ok(is_over.then_some(noted.position))
}

/// Is every table of the link asked to be copied anew, and whole? Then its place in the log is worth nothing, and may be
/// lost.
async fn is_lost(link: &LinkSpec) -> Result<bool> {
    let mut node = Node::connect(&link.target.access, link.target.engine).await?;
    let asked = node.resyncs(&link.sync, Some(&link.id)).await?;
    node.close().await;
    let is_asked = |table: &TableId| {
        let is_it = |resync: &Resync| {
            resync.table == *table && resync.state == ResyncState::Asked && resync.condition.is_none()
        };
        asked.iter().any(is_it)
    };
    let tables = &link.target.tables;
    Ok(!tables.is_empty() && tables.iter().all(is_asked))
}

/// `unused`: links with a checkpoint that nothing has moved yet. `has_begun`: one of them, or another, was copied.
async fn with_copies(
    sync: &SyncSpec,
    missing: Vec<Start>,
    unused: Vec<Start>,
    mut has_begun: bool,
    stop: &CancellationToken,
    live: &Live,
) -> Result<()> {
    let is_copied = |start: &Start| is_copy(sync, &start.link);
    let (mut copies, others): (Vec<Start>, Vec<Start>) = missing.into_iter().partition(is_copied);
    let mut empty: BTreeSet<String> = BTreeSet::new();
    for start in &mut copies {
        // Its target holds our own rows, and its way back has begun: who reads from the source has read before.
        start.noted = start.note_of_before().await?;
        if start.noted.is_some() {
            has_begun = true;
            continue;
        }
        // Before a way back is begun: rows that somebody then deletes to make room would be deleted at the seeder too.
        let ends = start.ends().await?;
        start.refuse_rows(&ends, |_| true).await?;
        empty.insert(start.link.target.name.clone());
    }
    // The ways back first: what users of the empty nodes write while those are filled is in the log already.
    let leaves_empty = |start: &Start| empty.contains(&start.link.source.name);
    let mut ways_back = Vec::new();
    for start in unused.into_iter().filter(leaves_empty) {
        ways_back.push(start.anew().await?);
    }
    for start in others {
        ways_back.push(start.begun().await?);
    }
    checkpoints(ways_back).await?;
    for mut start in copies {
        start.is_fresh = !has_begun;
        start.copies_tombstones = sync.nodes.len() > 2 && start.link.is_merge();
        let pulse = live.of(&start.link.sync, &start.link.id);
        start.copy(stop, &pulse).await?;
        has_begun = true;
    }
    Ok(())
}

/// Both ways: every position is noted before the first row is read, and no log entry is left out because a row was read.
/// So whatever order rows, deletes and later changes arrive in, their stamps decide, and on both sides alike.
/// `is_first`: no link of the sync has begun, and rows may still be paired.
async fn unite(missing: Vec<Start>, is_first: bool, stop: &CancellationToken, live: &Live) -> Result<()> {
    let mut copies = Vec::with_capacity(missing.len());
    for mut start in missing {
        start.uniting = Some(Uniting::Sides);
        // What was deleted since `setup` is told like the rows, and forgotten by nobody.
        start.is_fresh = false;
        start.copies_tombstones = true;
        let (sync, link) = (&start.link.sync, &start.link.id);
        copies.push(match start.target.checkpoint(sync, link).await? {
            Some(_) => start,
            None => start.begun().await?.pending().await?,
        });
    }
    if is_first {
        pair::before(&mut copies, stop).await?;
    }
    for mut start in copies {
        if stop.is_cancelled() {
            return Ok(());
        }
        let pulse = live.of(&start.link.sync, &start.link.id);
        start.noted = start.note_of_before().await?;
        start.copy(stop, &pulse).await?;
    }
    Ok(())
}

/// Every node is held against the hub, or the first one. No link gets a checkpoint before all were found equal; those
/// between the others begin before that.
async fn without_copies(sync: &SyncSpec, missing: Vec<Start>) -> Result<()> {
    let center = sync.nodes[sync.hub.unwrap_or_default()].name.as_str();
    let (mut forth, mut back, mut begun) = (Vec::new(), Vec::new(), Vec::new());
    for start in missing {
        match (start.link.source.name == center, start.link.target.name == center) {
            (true, _) => forth.push(start),
            (false, true) => back.push(start),
            (false, false) => begun.push(start.begun().await?),
        }
    }
    for one in forth {
        let is_back = |other: &Start| other.link.source.name == one.link.target.name;
        let other = back.iter().position(is_back).map(|place| back.swap_remove(place));
        let other = other.ok_or_else(|| Error::bug("start links each way"))?;
        begun.extend(prove_equal(one, other).await?);
    }
    checkpoints(begun).await
}

/// Links from one node begin at one place, the last: what was written before goes to none of the others, what is
/// written after goes to all of them. Their first start refuses rows that were written before.
async fn checkpoints(mut begun: Vec<Begun>) -> Result<()> {
    for place in 0..begun.len() {
        let source = begun[place].start.link.source.name.clone();
        let of_source = |other: &&Begun| other.start.link.source.name == source;
        let (mut position, mut settle) = (begun[place].position.clone(), begun[place].settle.clone());
        for other in begun.iter().filter(of_source) {
            position = later(position, &other.position)?;
            settle = match (settle, &other.settle) {
                (Some(one), Some(other)) => Some(later(one, other)?),
                (one, other) => one.or_else(|| other.clone()),
            };
        }
        (begun[place].position, begun[place].settle) = (position, settle);
    }
    for begun in begun {
        begun.checkpoint().await?;
    }
    Ok(())
}

fn later(one: Position, other: &Position) -> Result<Position> {
    let covers = one
        .covers(other)
        .map_err(|error| Error::bug("compare positions").because(error))?;
    Ok(if covers { one } else { other.clone() })
}

/// Does the first copy bring rows over this link?
pub fn is_copy(sync: &SyncSpec, link: &LinkSpec) -> bool {
    match &sync.seed {
        // Each image brings them, and what is there does not matter.
        _ if sync.mode == Mode::Snapshot => false,
        Seed::From(node) => *node == link.source.name,
        Seed::Union => true,
        Seed::None => false,
    }
}

/// A two-way sync whose first start broke off between its links: from now on would not be from where its nodes
/// were known to be equal. `missing`: its links without a checkpoint.
pub fn refuse_half(sync: &SyncSpec, missing: &[Arc<LinkSpec>]) -> Result<()> {
    if missing.len() == sync.links.len() {
        return Ok(());
    }
    // Their nodes are filled anew, and nobody has written there what others were told of.
    let copies = missing.iter().filter(|link| is_copy(sync, link));
    let filled: BTreeSet<&str> = copies.map(|link| link.target.name.as_str()).collect();
    let is_half = |link: &&Arc<LinkSpec>| {
        link.is_merge() && !is_copy(sync, link) && !filled.contains(link.source.name.as_str())
    };
    let Some(link) = missing.iter().find(is_half) else {
        return Ok(());
    };
    Err(Error::definite(format!("start link {}", link.id))
        .node(&link.target.name)
        .why("it has no checkpoint, and others of the sync have one: the first start broke off, or the checkpoint was lost")
        .hint(new_copy(&sync.name))
        .reason(Reason::PositionLost))
}

/// A link without a checkpoint, and the connection that will make it.
struct Start {
    link: Arc<LinkSpec>,
    target: Target,
    /// No link from its source has begun.
    is_fresh: bool,
    /// The copy takes along what was deleted: other links from its source have told their targets.
    copies_tombstones: bool,
    /// Its copy is noted in the target already: it goes on from there.
    noted: Option<copy::Noted>,
    /// The target holds rows, which meet the copied ones.
    uniting: Option<Uniting>,
}

/// Both ends of a link as their catalogs show them.
struct Ends {
    source_tables: Vec<Arc<CatalogTable>>,
    target_tables: Vec<Arc<CatalogTable>>,
    /// The source's, where the copy takes them along.
    tombstones: Vec<Arc<CatalogTable>>,
    planner: Planner,
    identity: String,
    /// The target's, where what is copied meets rows.
    foreign_keys: Vec<ForeignKey>,
}

/// A link that knows where it begins, and has no checkpoint yet.
struct Begun {
    start: Start,
    position: Position,
    settle: Option<Position>,
    identity: String,
    /// It has a checkpoint, of a first start that broke off.
    is_again: bool,
}

impl Begun {
    async fn checkpoint(mut self) -> Result<()> {
        let (position, settle) = (&self.position, self.settle.as_ref());
        if self.is_again {
            return self.start.moved(position, self.identity).await;
        }
        self.start.checkpoint(position, settle, 0, &self.identity).await?;
        info!(link = %self.start.link.id, %position, "link starts without a copy");
        Ok(())
    }

    /// Where the link begins is known from now on, and its copy is still to come.
    async fn pending(mut self) -> Result<Start> {
        let position = &self.position;
        self.start
            .checkpoint(position, None, COPY_PENDING, &self.identity)
            .await?;
        Ok(self.start)
    }
}

impl Start {
    fn new(link: Arc<LinkSpec>, target: Target) -> Self {
        Start {
            link,
            target,
            is_fresh: true,
            copies_tombstones: false,
            noted: None,
            uniting: None,
        }
    }

    fn at(self, position: Position, settle: Option<Position>, identity: String) -> Begun {
        Begun {
            start: self,
            position,
            settle,
            identity,
            is_again: false,
        }
    }

    /// No copy: the link begins where the source's log ends now.
    async fn begun(mut self) -> Result<Begun> {
        let ends = self.ends().await?;
        let options = self.options(&ends);
        let position = engine::start_position(self.link.source.engine, options).await?;
        Ok(self.at(position, None, ends.identity))
    }

    /// The way back of a copy that broke off: it has not run yet, and begins again where the log ends now. What was
    /// written to make room for the copy is no change.
    async fn anew(mut self) -> Result<Begun> {
        let ends = self.ends().await?;
        // Of the snapshot only its beginning is wanted: there alone an old slot is not taken over.
        let snapshot = Snapshot::open(self.link.source.engine, self.options(&ends)).await?;
        let position = snapshot.start().clone();
        Ok(Begun {
            is_again: true,
            ..self.at(position, None, ends.identity)
        })
    }

    /// Its checkpoint, which nothing has moved yet, goes to another place.
    async fn moved(mut self, position: &Position, identity: String) -> Result<()> {
        let taken = self
            .target
            .take_over(&self.link.sync, &self.link.id, &self.link.instance)
            .await?;
        let mut checkpoint = taken.ok_or_else(|| Error::bug("read back a checkpoint that was there"))?;
        checkpoint.source_identity = identity;
        checkpoint.settle = None;
        let link = Arc::clone(&self.link);
        let mut applier = Applier::new(self.target, self.link, checkpoint);
        applier.begin(position).await?;
        applier.commit().await?;
        info!(link = %link.id, %position, "link starts anew");
        Ok(())
    }

    async fn ends(&mut self) -> Result<Ends> {
        let (link, source_spec, target_spec) = (&self.link, &self.link.source, &self.link.target);
        let mut source = Node::connect(&source_spec.access, source_spec.engine).await?;
        let mut target = Node::connect(&target_spec.access, target_spec.engine).await?;
        let source_tables = flow::tables(&mut source, &source_spec.tables, source_spec).await?;
        let target_tables = flow::tables(&mut target, &target_spec.tables, target_spec).await?;
        let pairs = source_tables.iter().zip(&target_tables);
        let pairs = pairs.map(|(source, target)| (source.table.id.clone(), Arc::new(target.table.clone())));
        let tombstones = match self.copies_tombstones {
            true => {
                let ids: Vec<TableId> = source_spec.tables.iter().map(tombstones_of).collect();
                flow::tables(&mut source, &ids, source_spec).await?
            }
            false => Vec::new(),
        };
        let mut planner = Planner::new(
            link,
            source.engine().await?,
            target.engine().await?,
            pairs.collect(),
            flow::Described::default(),
        );
        planner.knows(
            source_tables
                .iter()
                .map(|known| Arc::new(known.table.clone()))
                .collect(),
        );
        let identity = source.server().await?.identity;
        let foreign_keys = match self.uniting {
            Some(_) => self.target.foreign_keys(&link.family).await?,
            None => Vec::new(),
        };
        Ok(Ends {
            source_tables,
            target_tables,
            tombstones,
            planner,
            identity,
            foreign_keys,
        })
    }

    fn options(&self, ends: &Ends) -> SourceOptions {
        SourceOptions {
            access: self.link.source.access.clone(),
            sync: self.link.sync.clone(),
            target: self.link.target.name.clone(),
            tables: ends.source_tables.clone(),
            mode: self.link.mode,
            onward: self.link.onward,
            fresh: self.is_fresh,
            spill: self.link.limits.spill.clone(),
            stream: self.link.limits.stream,
            keep: None,
        }
    }

    /// The link's checkpoint, made where there is none, and made ours.
    async fn checkpoint_of_images(&mut self, position: &Position, identity: &str) -> Result<Checkpoint> {
        let (sync, id) = (self.link.sync.clone(), self.link.id.clone());
        if self.target.checkpoint(&sync, &id).await?.is_none() {
            self.checkpoint(position, None, 0, identity).await?;
        }
        let taken = self.target.take_over(&sync, &id, &self.link.instance).await?;
        taken.ok_or_else(|| Error::bug("read back a checkpoint that was just made"))
    }

    async fn checkpoint(
        &mut self,
        position: &Position,
        settle: Option<&Position>,
        seq: i64,
        identity: &str,
    ) -> Result<()> {
        let movement = self.movement(position, settle, seq, identity);
        self.target.create_checkpoint(&movement).await
    }

    /// The link's first checkpoint, or a pending one that stays so.
    fn movement(&self, position: &Position, settle: Option<&Position>, seq: i64, identity: &str) -> Move {
        let link = &self.link;
        Move {
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
        }
    }

    /// `is_meant`: by the source's name.
    async fn refuse_rows(&self, ends: &Ends, is_meant: impl Fn(&TableId) -> bool) -> Result<()> {
        let spec = &self.link.target;
        let mut target = Node::connect(&spec.access, spec.engine).await?;
        let both = ends.source_tables.iter().zip(&ends.target_tables);
        for (_, table) in both.filter(|(source, _)| is_meant(&source.table.id)) {
            if target.has_rows(&table.table).await? {
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
