//! The first copy's side that reads: rows of exactly the moment from which the stream goes on, and, where a copy that
//! broke off goes on, rows of a later one.
//!
//! Owns: creating the slot with the snapshot exported at its start, and the transactions that read by it. What rewrites
//! a table before it is read empties it in the image: `files` tells.
//! Refuses: keeping a slot of an earlier attempt: without a checkpoint nobody knows what was copied by it, so it is
//! dropped and made again. Fails: transient while somebody reads the slot or old transactions keep it from starting.

use super::files::Files;
use super::lines::{self, Blocks};
use super::relation::decode_cell;
use super::source::slot_of;
use super::{connect, fail, slot, sql};
use crate::access::{Access, SourceOptions};
use crate::chunk::Range;
use crate::error::{Error, Result};
use crate::expr::Filter;
use crate::model::origin::CONTROL;
use crate::model::position::Position;
use crate::model::schema::{Column, Table, TableId};
use crate::model::sync::{Mode, object_name};
use crate::model::value::{Row, Value};
use crate::plan::Lines;
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use tokio_postgres::{Client, CopyOutStream};

const DOING: &str = "read the table's rows";

/// Rows are handed over when they hold this much. What follows waits in the socket.
const BATCH_BYTES: usize = 1024 * 1024;

/// The same of lines, which take no more memory than that.
const LINES_BYTES: usize = 2 * BATCH_BYTES;

pub struct Snapshot {
    options: SourceOptions,
    client: Client,
    start: Position,
    /// The rows are of the moment of `start`; else of a later one.
    is_exact: bool,
    /// As the tables lay before the image was made.
    files: Arc<Files>,
    /// Locked until the end, and found to lie there still.
    kept: HashSet<TableId>,
    open: Option<OpenTable>,
}

struct OpenTable {
    table: Table,
    /// `None` = the last row was read.
    lines: Option<Pin<Box<CopyOutStream>>>,
}

impl Snapshot {
    pub async fn open(options: &SourceOptions) -> Result<Snapshot> {
        let readers = Self::open_all(options, 1).await?;
        let first = readers.into_iter().next();
        first.ok_or_else(|| Error::bug("open a snapshot").node(&options.access.node))
    }

    /// So many that read the same image.
    pub async fn open_all(options: &SourceOptions, count: usize) -> Result<Vec<Snapshot>> {
        Box::pin(open(options, count))
            .await
            .map_err(|error| error.node(&options.access.node))
    }

    /// So many that read one image of now, where streaming is to begin earlier: the slot is there since then.
    pub async fn resume(options: &SourceOptions, from: &Position, count: usize) -> Result<Vec<Snapshot>> {
        Box::pin(resume(options, from, count))
            .await
            .map_err(|error| error.node(&options.access.node))
    }

    /// The same beside a session that streams: the slot is its own, and was checked by it.
    pub async fn beside(options: &SourceOptions, from: &Position, count: usize) -> Result<Vec<Snapshot>> {
        Box::pin(of_now(options, from, count))
            .await
            .map_err(|error| error.node(&options.access.node))
    }

    /// One that reads what is there now.
    pub async fn now(options: &SourceOptions) -> Result<Snapshot> {
        let open = async {
            let client = connect(&options.access).await?;
            let files = Arc::new(Files::note(&client, &options.tables).await?);
            let begun = client
                .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await;
            begun.map_err(|error| fail("read what is there now", error))?;
            let end = slot::log_end(&client).await?;
            Ok(Snapshot {
                options: options.clone(),
                client,
                start: Position::Lsn(end),
                is_exact: false,
                files,
                kept: HashSet::new(),
                open: None,
            })
        };
        open.await
            .map_err(|error: Error| error.node(&options.access.node))
    }

    /// The same where the log is not read: the position only tells the moment.
    pub async fn image(options: &SourceOptions) -> Result<Snapshot> {
        Self::now(options).await
    }

    /// Where streaming begins: the slot's first position, of which the rows are.
    pub fn start(&self) -> &Position {
        &self.start
    }

    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// `filter`: rows that it does not take may be left out.
    pub async fn open_table(&mut self, table: &Table, range: &Range, filter: Option<&Filter>) -> Result<()> {
        if self.open.is_some() {
            return Err(self.error(Error::bug("read two tables at once").table(&table.id)));
        }
        let columns: Vec<String> = carried(table)
            .map(|column| format!("t.{}", sql::quote(&column.name)))
            .collect();
        let mut known = self.options.tables.iter();
        let known = known.find(|known| known.table.id == table.id);
        let only = known.map_or("ONLY ", |known| sql::range::only(known));
        if !self.kept.contains(&table.id) {
            let kept = self.files.keep(&self.client, &table.id, only).await;
            kept.map_err(|error| self.error(error))?;
            self.kept.insert(table.id.clone());
        }
        let condition = filter.and_then(|filter| sql::expression::pushed(filter, table));
        let condition = condition.as_deref();
        let select = match table.is_beside() {
            true => sql::beside::copied(table, only, range, condition),
            false => format!(
                "SELECT {} FROM {only}{} AS t{}",
                columns.join(", "),
                sql::table(&table.id),
                sql::range::rows(table, range, condition)
            ),
        };
        // Whatever the statistics say, a range is found by its key.
        let scans = if range.is_whole() { "on" } else { "off" };
        let opened = async {
            let scans = format!("SET LOCAL enable_seqscan = {scans}");
            self.client.batch_execute(&scans).await?;
            // Each cell is the server's text, which is what the codec reads.
            self.client.copy_out(&format!("COPY ({select}) TO STDOUT")).await
        };
        let lines = opened.await;
        let lines = lines.map_err(|error| self.error(fail(DOING, error).table(&table.id)))?;
        self.open = Some(OpenTable {
            table: table.clone(),
            lines: Some(Box::pin(lines)),
        });
        Ok(())
    }

    /// Some of the table's rows, at most `rows_max`; none = all were read. Generated columns are not sent.
    pub async fn rows(&mut self, rows_max: usize) -> Result<Vec<Row>> {
        let Some(open) = &mut self.open else {
            return Err(Error::bug("read rows of no table").node(&self.options.access.node));
        };
        let rows = match batch(open, rows_max).await {
            Ok(rows) => rows,
            Err(error) => {
                let error = error.table(&open.table.id);
                return Err(self.error(error));
            }
        };
        if rows.is_empty() {
            self.open = None;
        }
        Ok(rows)
    }

    /// The rest of the rows is not read; the driver lets them pass.
    pub fn leave_table(&mut self) {
        self.open = None;
    }

    /// As [`Self::rows`], as the server wrote them.
    pub async fn lines(&mut self) -> Result<Lines> {
        let Some(open) = &mut self.open else {
            return Err(Error::bug("read lines of no table").node(&self.options.access.node));
        };
        let lines = match block(open).await {
            Ok(lines) => lines,
            Err(error) => {
                let error = error.table(&open.table.id);
                return Err(self.error(error));
            }
        };
        if lines.rows == 0 {
            self.open = None;
        }
        Ok(lines)
    }

    /// Where the snapshot was not exact: the position until which changes may already be in the copy.
    pub async fn close(self) -> Result<Option<Position>> {
        let ended = self.client.batch_execute("COMMIT").await;
        ended.map_err(|error| self.error(fail("end the snapshot", error)))?;
        if self.is_exact {
            return Ok(None);
        }
        let end = slot::log_end(&self.client).await;
        end.map(|end| Some(Position::Lsn(end)))
            .map_err(|error| self.error(error))
    }

    fn error(&self, error: Error) -> Error {
        error.node(&self.options.access.node)
    }
}

async fn open(options: &SourceOptions, count: usize) -> Result<Vec<Snapshot>> {
    let name = slot_of(options);
    let client = connect(&options.access).await?;
    slot::published(&client, &options.sync, &options.tables, false).await?;
    if let Some(slot) = slot::find(&client, &name).await? {
        slot::remove(&client, &slot).await?;
    }
    forget_tombstones(&client, options).await?;
    let files = Arc::new(Files::note(&client, &options.tables).await?);
    let created = slot::create(&options.access, &client, &name, true).await?;
    let doing = "read by the slot's snapshot";
    let snapshot = created
        .snapshot
        .ok_or_else(|| Error::bug(doing).why("the server exported none"))?;
    let readers = readers(options, client, count, &snapshot).await?;
    // From here on our own transactions hold the snapshot; the exporting session may go.
    drop(created.connection);
    let reader = |client| Snapshot {
        options: options.clone(),
        client,
        start: Position::Lsn(created.start),
        is_exact: true,
        files: Arc::clone(&files),
        kept: HashSet::new(),
        open: None,
    };
    Ok(readers.into_iter().map(reader).collect())
}

async fn resume(options: &SourceOptions, from: &Position, count: usize) -> Result<Vec<Snapshot>> {
    let Position::Lsn(start) = from else {
        return Err(Error::bug("go on with a copy").why(format!("position {from} is of another engine")));
    };
    let name = slot_of(options);
    let client = connect(&options.access).await?;
    slot::published(&client, &options.sync, &options.tables, true).await?;
    let slot = slot::find(&client, &name).await?;
    let slot = slot.ok_or_else(|| slot::missing(&name))?;
    slot.usable()?;
    slot.serves(*start)?;
    slot::check_log_reaches(&client, *start).await?;
    of_now(options, from, count).await
}

async fn of_now(options: &SourceOptions, from: &Position, count: usize) -> Result<Vec<Snapshot>> {
    let client = connect(&options.access).await?;
    let files = Arc::new(Files::note(&client, &options.tables).await?);
    let doing = "export a snapshot to read by";
    let begun = client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await;
    begun.map_err(|error| fail(doing, error))?;
    let exported = client.query_one("SELECT pg_export_snapshot()", &[]).await;
    let exported: String = exported
        .and_then(|row| row.try_get(0))
        .map_err(|error| fail(doing, error))?;
    let others = connect(&options.access).await?;
    let clients = readers(options, others, count, &exported).await?;
    let ended = client.batch_execute("COMMIT").await;
    ended.map_err(|error| fail(doing, error))?;
    let reader = |client| Snapshot {
        options: options.clone(),
        client,
        start: from.clone(),
        is_exact: false,
        files: Arc::clone(&files),
        kept: HashSet::new(),
        open: None,
    };
    Ok(clients.into_iter().map(reader).collect())
}

/// Sessions that read by an exported snapshot; `first` is to be one of them.
async fn readers(
    options: &SourceOptions,
    first: Client,
    count: usize,
    snapshot: &str,
) -> Result<Vec<Client>> {
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
        snapshot.replace('\'', "''")
    );
    let mut clients = vec![first];
    while clients.len() < count {
        clients.push(connect(&options.access).await?);
    }
    for client in &clients {
        let begun = client.batch_execute(&begin).await;
        begun.map_err(|error| fail("read by an exported snapshot", error))?;
    }
    Ok(clients)
}

/// What is visible now is in the log before this.
pub async fn settle_position(access: &Access) -> Result<Position> {
    let read = async {
        let client = connect(access).await?;
        slot::log_end(&client).await
    };
    let end: Result<u64> = read.await;
    end.map(Position::Lsn).map_err(|error| error.node(&access.node))
}

/// Where a link starts whose tables are not copied. An existing slot stays: it may hold changes that are wanted.
pub async fn start_position(options: &SourceOptions) -> Result<Position> {
    let start = async || -> Result<u64> {
        let name = slot_of(options);
        let client = connect(&options.access).await?;
        slot::published(&client, &options.sync, &options.tables, false).await?;
        let Some(slot) = slot::find(&client, &name).await? else {
            forget_tombstones(&client, options).await?;
            let created = slot::create(&options.access, &client, &name, false).await?;
            return Ok(created.start);
        };
        slot.usable()?;
        let start = slot.confirmed.unwrap_or(0);
        slot.serves(start)?;
        Ok(start)
    };
    match Box::pin(start()).await {
        Ok(start) => Ok(Position::Lsn(start)),
        Err(error) => Err(error.node(&options.access.node)),
    }
}

/// What was deleted before the log is read never reaches the target, so it must not beat what the target's users
/// insert under the same key: without this both sides would differ for ever.
async fn forget_tombstones(client: &Client, options: &SourceOptions) -> Result<()> {
    if options.mode != Mode::Merge || !options.fresh {
        return Ok(());
    }
    for known in &options.tables {
        let id = &known.table.id;
        let tombstones = sql::table(&TableId::new(CONTROL, object_name("tombstone", id)));
        let forget = async {
            let found = client
                .query_one("SELECT to_regclass($1) IS NOT NULL", &[&tombstones])
                .await?;
            if found.try_get(0)? {
                client.batch_execute(&format!("DELETE FROM {tombstones}")).await?;
            }
            Ok(())
        };
        forget
            .await
            .map_err(|error| fail("forget what was deleted before the start", error).table(id))?;
    }
    Ok(())
}

/// Columns whose cells are read.
fn carried(table: &Table) -> impl Iterator<Item = &Column> {
    table.columns.iter().filter(|column| !column.generated)
}

async fn batch(open: &mut OpenTable, rows_max: usize) -> Result<Vec<Row>> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while rows.len() < rows_max && bytes < BATCH_BYTES {
        let Some(mut line) = open.next().await? else { break };
        line.truncate(line.len().saturating_sub(1));
        let row = row(&open.table, line)?;
        bytes += row.bytes();
        rows.push(row);
    }
    Ok(rows)
}

async fn block(open: &mut OpenTable) -> Result<Lines> {
    let mut blocks = Blocks::default();
    while blocks.bytes() < LINES_BYTES {
        let Some(line) = open.next().await? else { break };
        // What a database in SQL_ASCII holds is refused here as anywhere.
        if std::str::from_utf8(&line).is_err() {
            let unread = Error::bug(DOING).why("a line is not UTF-8 and its cells are");
            return row(&open.table, line).and(Err(unread));
        }
        blocks.add(&line);
    }
    Ok(blocks.finish())
}

impl OpenTable {
    /// The next row's line with its end: the server sends each as one message.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(stream) = &mut self.lines else {
            return Ok(None);
        };
        let line = stream.try_next().await.map_err(|error| fail(DOING, error))?;
        if line.is_none() {
            self.lines = None;
        }
        Ok(line)
    }
}

/// The rows of lines that were read of this table.
pub fn rows_of(table: &Table, lines: &Lines) -> Result<Vec<Row>> {
    let rows: Result<Vec<Row>> = lines::each(lines).map(|line| row(table, line)).collect();
    rows.map_err(|error| error.table(&table.id))
}

fn row(table: &Table, line: Bytes) -> Result<Row> {
    let mut texts = lines::cells(line);
    let mut cells = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        if column.generated {
            cells.push(None);
            continue;
        }
        let text = texts.next().ok_or_else(|| {
            Error::bug(format!("read a cell of column {:?}", column.name)).why("the server sent no such cell")
        })?;
        cells.push(Some(match text {
            None => Value::Null,
            Some(text) => decode_cell(column, text)?,
        }));
    }
    Ok(cells.into_iter().collect())
}
