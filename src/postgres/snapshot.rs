//! The first copy's side that reads: rows of exactly the moment from which the stream goes on.
//!
//! Owns: creating the slot with the snapshot exported at its start, and one transaction that reads by it.
//! Refuses: keeping a slot of an earlier attempt: without a checkpoint nobody knows what was copied by it, so it is
//! dropped and made again. Fails: transient while somebody reads the slot or old transactions keep it from starting.

use super::relation::decode_cell;
use super::source::slot_of;
use super::{connect, fail, slot, sql};
use crate::access::SourceOptions;
use crate::error::{Error, Result};
use crate::model::origin::CONTROL;
use crate::model::position::Position;
use crate::model::schema::{Column, Table, TableId};
use crate::model::sync::{Mode, object_name};
use crate::model::value::{Row, Value};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::pin::Pin;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};

const DOING: &str = "read the table's rows";

/// Rows are handed over when they hold this much. What follows waits in the socket.
const BATCH_BYTES: usize = 1024 * 1024;

pub struct Snapshot {
    options: SourceOptions,
    client: Client,
    start: Position,
    open: Option<OpenTable>,
}

struct OpenTable {
    table: Table,
    /// `None` = the last row was read.
    rows: Option<Pin<Box<SimpleQueryStream>>>,
}

impl Snapshot {
    pub async fn open(options: &SourceOptions) -> Result<Snapshot> {
        Box::pin(open(options))
            .await
            .map_err(|error| error.node(&options.access.node))
    }

    /// Where streaming begins: the slot's first position, of which the rows are.
    pub fn start(&self) -> &Position {
        &self.start
    }

    pub async fn open_table(&mut self, table: &Table) -> Result<()> {
        if self.open.is_some() {
            return Err(self.error(Error::bug("read two tables at once").table(&table.id)));
        }
        let columns: Vec<String> = carried(table).map(|column| sql::quote(&column.name)).collect();
        // Children by inheritance are tables of their own in the log; partitions are their table.
        let partitioned = self
            .options
            .tables
            .iter()
            .any(|known| known.table.id == table.id && known.storage == "p");
        let only = if partitioned { "" } else { "ONLY " };
        let select = match table.is_beside() {
            true => sql::beside::copied(table, only),
            false => format!(
                "SELECT {} FROM {only}{}",
                columns.join(", "),
                sql::table(&table.id)
            ),
        };
        // The simple protocol gives each cell as the server's text, which is what the codec reads.
        let rows = self.client.simple_query_raw(&select).await;
        let rows = rows.map_err(|error| self.error(fail(DOING, error).table(&table.id)))?;
        self.open = Some(OpenTable {
            table: table.clone(),
            rows: Some(Box::pin(rows)),
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

    /// The snapshot was exact, so there is no settle position.
    pub async fn close(self) -> Result<Option<Position>> {
        let ended = self.client.batch_execute("COMMIT").await;
        ended.map_err(|error| self.error(fail("end the snapshot", error)))?;
        Ok(None)
    }

    fn error(&self, error: Error) -> Error {
        error.node(&self.options.access.node)
    }
}

async fn open(options: &SourceOptions) -> Result<Snapshot> {
    let name = slot_of(options);
    let client = connect(&options.access).await?;
    slot::published(&client, &options.sync, &options.tables, false).await?;
    if let Some(slot) = slot::find(&client, &name).await? {
        slot::remove(&client, &slot).await?;
    }
    forget_tombstones(&client, options).await?;
    let created = slot::create(&options.access, &client, &name, true).await?;
    let doing = "read by the slot's snapshot";
    let snapshot = created
        .snapshot
        .ok_or_else(|| Error::bug(doing).why("the server exported none"))?;
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
        snapshot.replace('\'', "''")
    );
    client
        .batch_execute(&begin)
        .await
        .map_err(|error| fail(doing, error))?;
    // From here on our own transaction holds the snapshot; the exporting session may go.
    drop(created.connection);
    Ok(Snapshot {
        options: options.clone(),
        client,
        start: Position::Lsn(created.start),
        open: None,
    })
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
    while let Some(stream) = open
        .rows
        .as_mut()
        .filter(|_| rows.len() < rows_max && bytes < BATCH_BYTES)
    {
        match stream.try_next().await.map_err(|error| fail(DOING, error))? {
            Some(SimpleQueryMessage::Row(texts)) => {
                let row = row(&open.table, &texts)?;
                bytes += row.bytes();
                rows.push(row);
            }
            Some(_) => {}
            None => open.rows = None,
        }
    }
    Ok(rows)
}

fn row(table: &Table, texts: &SimpleQueryRow) -> Result<Row> {
    let mut place = 0;
    let mut cells = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        if column.generated {
            cells.push(None);
            continue;
        }
        let text = texts
            .try_get(place)
            .map_err(|error| fail(format!("read a cell of column {:?}", column.name), error))?;
        place += 1;
        cells.push(Some(match text {
            None => Value::Null,
            Some(text) => decode_cell(column, Bytes::copy_from_slice(text.as_bytes()))?,
        }));
    }
    Ok(cells.into_iter().collect())
}
