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
use tokio_postgres::{Client, SimpleQueryMessage};

/// Aim of one fetch. Rows are fetched by count, and the count follows the size of those before.
const FETCH_BYTES: usize = 2 * 1024 * 1024;
/// The first fetch of a table, whose rows may be large.
const FETCH_FIRST: usize = 100;

pub struct Snapshot {
    options: SourceOptions,
    client: Client,
    start: Position,
    open: Option<OpenTable>,
}

struct OpenTable {
    table: Table,
    fetch: usize,
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
        let declare = format!(
            "DECLARE tidelock_copy NO SCROLL CURSOR FOR SELECT {} FROM {only}{}",
            columns.join(", "),
            sql::table(&table.id)
        );
        let declared = self.client.batch_execute(&declare).await;
        declared.map_err(|error| self.error(fail("read the table's rows", error).table(&table.id)))?;
        self.open = Some(OpenTable {
            table: table.clone(),
            fetch: FETCH_FIRST,
        });
        Ok(())
    }

    /// Some of the table's rows, at most `rows_max`; none = all were read. Generated columns are not sent.
    pub async fn rows(&mut self, rows_max: usize) -> Result<Vec<Row>> {
        let Some(open) = &mut self.open else {
            return Err(Error::bug("read rows of no table").node(&self.options.access.node));
        };
        let count = open.fetch.min(rows_max).max(1);
        // The simple protocol gives each cell as the server's text, which is what the codec reads.
        let fetched = match self
            .client
            .simple_query(&format!("FETCH {count} FROM tidelock_copy"))
            .await
        {
            Ok(messages) => rows(&open.table, &messages),
            Err(error) => Err(fail("read the table's rows", error)),
        };
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                let error = error.table(&open.table.id);
                return Err(self.error(error));
            }
        };
        let bytes: usize = fetched.iter().map(Row::bytes).sum();
        if let Some(each) = bytes.checked_div(fetched.len()) {
            open.fetch = (FETCH_BYTES / each.max(1)).clamp(1, rows_max.max(1));
            return Ok(fetched);
        }
        self.open = None;
        let closed = self.client.batch_execute("CLOSE tidelock_copy").await;
        closed.map_err(|error| self.error(fail("end reading a table", error)))?;
        Ok(fetched)
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
    slot::check_publication(&client, &options.sync, &options.tables).await?;
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
        slot::check_publication(&client, &options.sync, &options.tables).await?;
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
    if options.mode != Mode::Merge {
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

fn rows(table: &Table, messages: &[SimpleQueryMessage]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for message in messages {
        let SimpleQueryMessage::Row(texts) = message else {
            continue;
        };
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
        rows.push(cells.into_iter().collect());
    }
    Ok(rows)
}
