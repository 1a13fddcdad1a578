//! An image of a snapshot link: every table of the source as of one moment, read beside the target's tables, then swapped
//! in by one transaction.
//!
//! Owns: what is in an image, and the order of things: nothing of the target changes before the last row was read, and then
//! all of it changes at once. The image lies in temporary tables of one session: they are in no log, and whatever dies, the
//! next round begins with a new one.
//! Refuses: an image without a column that the one before had; a row that the target cannot hold.
//!
//! The tables are not renamed into each other's places. On MySQL and MariaDB a reader whose snapshot is older than a RENAME
//! gets an error; on both, views, foreign keys, triggers and grants are of the table and not of its name. Rows are made
//! equal instead: readers see the old rows until the commit, and only what differs is written. Nor is it TRUNCATE, which
//! readers wait for.

use super::Start;
use super::copy::Passing;
use super::pieces::Piece;
use crate::chunk::{self, Chunk, Range};
use crate::engine::{Node, Snapshot, Target};
use crate::error::{Error, Result};
use crate::flow::pulse::{Pulse, State};
use crate::flow::spec::LinkSpec;
use crate::flow::{Applier, Throttle};
use crate::model::position::Position;
use crate::model::round::{Imaged, Round, told};
use crate::model::schema::TableId;
use crate::model::sync::CatalogTable;
use crate::plan::image::Image;
use futures_util::future::join;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const DOING: &str = "make an image";

/// An image that is complete, and not yet swapped in.
pub(crate) struct Taken {
    link: Arc<LinkSpec>,
    applier: Applier,
    position: Position,
    source_us: i64,
    began: Instant,
    tables: Vec<(Image, u64)>,
}

/// A table that is to be read.
struct Wanted {
    passing: Passing,
    image: Image,
    chunk: Chunk,
}

/// Reads the image. `None`: told to stop before it was complete.
pub(crate) async fn take(
    link: &Arc<LinkSpec>,
    stop: &CancellationToken,
    pulse: &Arc<Pulse>,
) -> Result<Option<Taken>> {
    let began = Instant::now();
    pulse.set(State::Copying, "");
    let mut node = Node::connect(&link.target.access, link.target.engine).await?;
    node.end_sessions(&link.sync, &link.id, &link.instance).await?;
    let last = node.last_round(&link.sync, &link.id).await?;
    node.close().await;
    let target = Target::open(link.target.engine, &link.target.access, false).await?;
    let mut start = Start::new(Arc::clone(link), target);
    let mut ends = start.ends().await?;
    let mut source = Node::connect(&link.source.access, link.source.engine).await?;
    let ids: Vec<TableId> = link.source.tables.clone();
    let sizes = source.sizes(&ids).await?;
    let mut wanted = Vec::with_capacity(ids.len());
    for ((known, there), size) in ends.source_tables.iter().zip(&ends.target_tables).zip(sizes) {
        let kept = Arc::new(link.passage(&known.table.id).kept(&known.table));
        let plan = ends.planner.plan(&kept)?;
        let image = Image::new(&plan, start.target.image_place(&there.table.id), &there.always);
        refuse_lost(link, known, &image, last.as_ref())?;
        let chunk = chunk::between(&known.table.id, Vec::new(), size)
            .into_iter()
            .next();
        let chunk = chunk.ok_or_else(|| Error::bug(DOING).table(&known.table.id))?;
        wanted.push(Wanted {
            passing: Passing::filling(kept, plan, CatalogTable::clone(known)),
            image,
            chunk,
        });
    }
    let mut reader = Snapshot::image(link.source.engine, start.options(&ends)).await?;
    let source_us = source.clock_us().await?;
    source.close().await;
    let position = reader.start().clone();
    let checkpoint = start.checkpoint_of_images(&position, &ends.identity).await?;
    if checkpoint.source_identity != ends.identity {
        warn!(link = %link.id, node = %link.source.name, "the source is another server than at the last image");
    }
    let mut target = start.target;
    let chunks: Vec<Chunk> = wanted.iter().map(|wanted| wanted.chunk.clone()).collect();
    let shown = pulse.copies(&chunks);
    let throttle = Throttle::new(link.limits.copy_bytes_per_second);
    let mut tables = Vec::with_capacity(wanted.len());
    for mut wanted in wanted {
        pulse.chunk_begins(&wanted.chunk);
        let filled = fill(&mut reader, &mut target, &mut wanted, &throttle);
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            filled = filled => filled?,
        }
        pulse.chunk_done(&wanted.chunk);
        tables.push((wanted.image, wanted.chunk.copied_rows));
    }
    drop(shown);
    let checkpoint = crate::model::sync::Checkpoint {
        source_identity: ends.identity,
        ..checkpoint
    };
    Ok(Some(Taken {
        applier: Applier::new(target, Arc::clone(link), checkpoint),
        link: Arc::clone(link),
        position,
        source_us,
        began,
        tables,
    }))
}

/// One table, in pieces, of which the next is read while one is written.
async fn fill(
    reader: &mut Snapshot,
    target: &mut Target,
    wanted: &mut Wanted,
    throttle: &Throttle,
) -> Result<()> {
    let Wanted {
        passing,
        image,
        chunk,
    } = wanted;
    target.make_image(image).await?;
    reader
        .open_table(&passing.source, &Range::default(), passing.filter())
        .await?;
    let mut next = Piece::read(reader, passing).await?;
    while let Some(piece) = next {
        let (copied, read) = join(piece.image(target, passing, image), Piece::read(reader, passing)).await;
        let copied = copied?;
        next = read?;
        chunk.copied_rows += copied.rows;
        chunk.copied_bytes += copied.bytes;
        throttle.spend(copied.bytes).await;
    }
    target.complete_image(image).await
}

/// A column that is gone at the source would stand still on the target, row by row, as if it were true.
fn refuse_lost(link: &LinkSpec, source: &CatalogTable, image: &Image, last: Option<&Round>) -> Result<()> {
    let table = &image.shape.table;
    let name = table.id.to_string();
    let before = last.and_then(|last| last.tables.iter().find(|imaged| imaged.table == name));
    let filled = columns(image);
    let is_lost = |column: &&String| !filled.contains(column) && table.column(column).is_some();
    let Some(lost) = before.and_then(|before| before.columns.iter().find(is_lost)) else {
        return Ok(());
    };
    Err(Error::definite(DOING)
        .node(&link.source.name)
        .table(&source.table.id)
        .why(format!(
            "column {lost:?} of {name} on node {} was filled by the last image, and the source has none for it any more",
            link.target.name
        ))
        .hint(format!(
            "give the source its column back; or drop it on node {} too: ALTER TABLE {name} DROP COLUMN {lost}; then \
             start `tidelock run` again",
            link.target.name
        )))
}

fn columns(image: &Image) -> Vec<String> {
    let columns = &image.shape.table.columns;
    image
        .cells
        .iter()
        .map(|place| columns[*place].name.clone())
        .collect()
}

impl Taken {
    /// One transaction for all tables; only whoever still has the link may. Returns the round, and how many rows were
    /// written.
    pub(crate) async fn swap(mut self) -> Result<(Round, Position)> {
        self.applier.begin(&self.position).await?;
        let mut tables = Vec::with_capacity(self.tables.len());
        for (image, rows) in &self.tables {
            tables.push(Imaged {
                table: image.shape.table.id.to_string(),
                rows: *rows,
                written: self.applier.swap(image).await?,
                columns: columns(image),
            });
        }
        let took = self.began.elapsed();
        let round = Round {
            began_us: 0,
            age_ms: 0,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            position: self.position.to_string(),
            source_us: self.source_us,
            tables,
        };
        self.applier.note_round(&round).await?;
        self.applier.commit().await?;
        info!(
            event = "image_swapped", link = %self.link.id, position = %self.position, rows = round.rows(),
            written = round.written(), took_ms = round.took_ms,
            every = self.link.every.map(told), "the target equals the source's image"
        );
        Ok((round, self.position))
    }
}
