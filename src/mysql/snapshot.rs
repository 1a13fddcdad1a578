//! The first copy's source side: every row of the tables as of one moment, and where the log goes on from there.
//!
//! MariaDB tells the exact position of a consistent snapshot. MySQL does not: there the log is read from the position
//! *before* the snapshot, all of which is visible in it (see `visible`), and until the position *after* it (the settle position) changes may already be in the copy.
//!
//! A copy that broke off goes on with images of a later moment, and so has a settle position on each.
//!
//! A task owns each session and streams one table after the other; the channel between bounds what is in memory.
//! Rows come by the binary protocol, since the text protocol rounds FLOAT.
//! Refuses: tables of engines without snapshots; to begin while XA transactions stand prepared.

use super::codec::decode_select;
use super::source::{Quiet, begun, current_position, serves, settings};
use super::sql::{beside, expression, quote, range, table as quoted_table};
use super::{Flavor, connect, fail, flavor, visible};
use crate::access::{Access, SourceOptions as Options};
use crate::chunk::Range;
use crate::error::{Error, Reason, Result};
use crate::expr::Filter;
use crate::model::origin::CONTROL;
use crate::model::position::{GtidSet, Position};
use crate::model::schema::{Column, ColumnType, Table, TableId};
use crate::model::sync::{Mode, object_name};
use crate::model::value::{Row, Value};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value as Cell};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bounds of a batch between the task and the reader; two may be under way.
const BATCH_ROWS_MAX: usize = 4_000;
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCHES_MAX: usize = 2;
/// A transaction is visible a moment before it is in the executed set, which is read this much later.
const SETTLE_DELAY: Duration = Duration::from_millis(200);

pub struct Snapshot {
    start: Position,
    /// The rows are of the moment of `start`; else of a later one.
    is_exact: bool,
    flavor: Flavor,
    node: String,
    requests: mpsc::Sender<Wanted>,
    batches: mpsc::Receiver<Result<Vec<Row>>>,
    task: JoinHandle<Conn>,
    rest: VecDeque<Row>,
    /// Batches of a table are under way.
    is_open: bool,
}

/// What the task is to read.
struct Wanted {
    table: Table,
    range: Range,
    /// Rows that it does not take are left out.
    condition: Option<String>,
}

impl Snapshot {
    pub async fn open(options: &Options) -> Result<Snapshot> {
        let readers = Self::open_all(options, 1).await?;
        let first = readers.into_iter().next();
        first.ok_or_else(|| Error::bug("open a snapshot").node(&options.access.node))
    }

    /// At most so many, with one start. No server shares an image between sessions: MySQL's differ a little, and of
    /// MariaDB's only those are used that are of the same moment.
    pub async fn open_all(options: &Options, count: usize) -> Result<Vec<Snapshot>> {
        Self::start_reading(options, count)
            .await
            .map_err(|error| error.node(&options.access.node))
    }

    /// So many that read images of now, where streaming is to begin earlier.
    pub async fn resume(options: &Options, from: &Position, count: usize) -> Result<Vec<Snapshot>> {
        Self::go_on_reading(options, from, count)
            .await
            .map_err(|error| error.node(&options.access.node))
    }

    /// One that reads what is there now.
    pub async fn now(options: &Options) -> Result<Snapshot> {
        let open = async {
            refuse_unfit(options)?;
            let mut conn = connect(&options.access).await?;
            let flavor = flavor(&mut conn).await?;
            begin(&mut conn).await?;
            let end = current_position(&mut conn, flavor).await?;
            Ok(Self::reader(options, conn, flavor, end, false))
        };
        open.await
            .map_err(|error: Error| error.node(&options.access.node))
    }

    /// The same of a server whose log is not read: where it stands is told as far as the account may see it.
    pub async fn image(options: &Options) -> Result<Snapshot> {
        let open = async {
            refuse_unfit(options)?;
            let mut conn = connect(&options.access).await?;
            let flavor = flavor(&mut conn).await?;
            begin(&mut conn).await?;
            let end = match current_position(&mut conn, flavor).await {
                Err(error) if !error.is_transient() => Position::Gtid(GtidSet::default()),
                position => position?,
            };
            Ok(Self::reader(options, conn, flavor, end, true))
        };
        open.await
            .map_err(|error: Error| error.node(&options.access.node))
    }

    async fn start_reading(options: &Options, count: usize) -> Result<Vec<Snapshot>> {
        refuse_unfit(options)?;
        let mut conn = connect(&options.access).await?;
        let flavor = flavor(&mut conn).await?;
        settings(&mut conn, flavor, options).await?;
        forget_tombstones(&mut conn, options).await?;
        let before = current_position(&mut conn, flavor).await?;
        let quiet = Quiet::begin(&mut conn, flavor, matches!(before, Position::Gtid(_))).await?;
        if flavor == Flavor::Mysql {
            // The log may hold commits that nobody sees yet: they would be in neither.
            visible::until(&mut conn, flavor, &before).await?;
        }
        begin(&mut conn).await?;
        let start = match flavor {
            Flavor::Mysql => begun(&conn, &options.access, before).await?,
            Flavor::Mariadb => snapshot_position(&mut conn).await?,
        };
        quiet.confirm(&mut conn).await?;
        let mut readers = vec![Self::reader(options, conn, flavor, start.clone(), true)];
        while readers.len() < count {
            let mut conn = connect(&options.access).await?;
            begin(&mut conn).await?;
            // An exact image is worth more than another reader.
            if flavor == Flavor::Mariadb && snapshot_position(&mut conn).await? != start {
                break;
            }
            readers.push(Self::reader(options, conn, flavor, start.clone(), true));
        }
        Ok(readers)
    }

    async fn go_on_reading(options: &Options, from: &Position, count: usize) -> Result<Vec<Snapshot>> {
        refuse_unfit(options)?;
        let mut readers = Vec::with_capacity(count);
        while readers.len() < count {
            let mut conn = connect(&options.access).await?;
            let flavor = flavor(&mut conn).await?;
            if readers.is_empty() {
                settings(&mut conn, flavor, options).await?;
                serves(&mut conn, flavor, from).await?;
            }
            begin(&mut conn).await?;
            readers.push(Self::reader(options, conn, flavor, from.clone(), false));
        }
        Ok(readers)
    }

    fn reader(options: &Options, conn: Conn, flavor: Flavor, start: Position, is_exact: bool) -> Snapshot {
        let (requests, wanted) = mpsc::channel(1);
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let task = tokio::spawn(read_tables(conn, wanted, sender));
        Snapshot {
            start,
            // MySQL's start is from before its image.
            is_exact: is_exact && flavor == Flavor::Mariadb,
            flavor,
            node: options.access.node.clone(),
            requests,
            batches,
            task,
            rest: VecDeque::new(),
            is_open: false,
        }
    }

    /// Where streaming begins.
    pub fn start(&self) -> &Position {
        &self.start
    }

    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The table before must have been read to its end. `filter`: rows that it does not take may be left out.
    pub async fn open_table(&mut self, table: &Table, range: &Range, filter: Option<&Filter>) -> Result<()> {
        let wanted = Wanted {
            table: table.clone(),
            range: range.clone(),
            condition: filter.and_then(|filter| expression::pushed(filter, table, self.flavor)),
        };
        let asked = self.requests.send(wanted).await;
        asked.map_err(|_| self.task_ended())?;
        self.is_open = true;
        Ok(())
    }

    /// At most `rows_max` rows, in no order; none when the table is done.
    pub async fn rows(&mut self, rows_max: usize) -> Result<Vec<Row>> {
        if self.rest.is_empty() {
            let batch = self.batches.recv().await.ok_or_else(|| self.task_ended())?;
            self.is_open = batch.as_ref().is_ok_and(|rows| !rows.is_empty());
            self.rest = batch.map_err(|error| error.node(&self.node))?.into();
        }
        let count = rows_max.min(self.rest.len());
        Ok(self.rest.drain(..count).collect())
    }

    /// The rest of its rows passes unseen: the session is busy until they are sent.
    pub async fn leave_table(&mut self) -> Result<()> {
        while self.is_open {
            self.rows(BATCH_ROWS_MAX).await?;
        }
        Ok(())
    }

    fn task_ended(&self) -> Error {
        Error::transient("copy a table")
            .node(&self.node)
            .why("the session that reads it has ended")
    }

    /// Ends the snapshot. Where it was not exact: the position until which changes may already be in the copy.
    pub async fn close(self) -> Result<Option<Position>> {
        let Snapshot {
            is_exact,
            flavor,
            node,
            requests,
            batches,
            task,
            ..
        } = self;
        drop((requests, batches));
        let mut conn = task
            .await
            .map_err(|error| Error::bug("close a snapshot").because(error))?;
        let close = async {
            conn.query_drop("COMMIT")
                .await
                .map_err(|error| fail("close a snapshot", error))?;
            let settle = match is_exact {
                true => None,
                false => {
                    tokio::time::sleep(SETTLE_DELAY).await;
                    Some(current_position(&mut conn, flavor).await?)
                }
            };
            let _ = conn.disconnect().await;
            Ok(settle)
        };
        close.await.map_err(|error: Error| error.node(node))
    }
}

fn refuse_unfit(options: &Options) -> Result<()> {
    for table in &options.tables {
        if !table.storage.eq_ignore_ascii_case("InnoDB") {
            return Err(Error::definite("copy a table consistently")
                .reason(Reason::Blocked)
                .table(&table.table.id)
                .why(format!("its storage engine is {:?}", table.storage))
                .hint(format!(
                    "ALTER TABLE {} ENGINE = InnoDB;",
                    quoted_table(&table.table.id)
                )));
        }
    }
    Ok(())
}

async fn begin(conn: &mut Conn) -> Result<()> {
    for statement in [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    ] {
        conn.query_drop(statement)
            .await
            .map_err(|error| fail("open a consistent snapshot", error))?;
    }
    Ok(())
}

/// The exact position of this session's snapshot.
pub(super) async fn snapshot_position(conn: &mut Conn) -> Result<Position> {
    let doing = "read the snapshot's position";
    let status: Vec<(String, String)> = conn
        .query("SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')")
        .await
        .map_err(|error| fail(doing, error))?;
    let find = |name: &str| {
        status
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    let (Some(file), Some(offset)) = (find("Binlog_snapshot_file"), find("Binlog_snapshot_position")) else {
        return Err(Error::definite(doing).why("the server does not tell it"));
    };
    let offset: u64 = offset
        .parse()
        .map_err(|error: std::num::ParseIntError| Error::definite(doing).because(error))?;
    let gtids: Option<Option<String>> = conn
        .exec_first("SELECT BINLOG_GTID_POS(?, ?)", (file, offset))
        .await
        .map_err(|error| fail(doing, error))?;
    let gtids = gtids
        .flatten()
        .ok_or_else(|| Error::transient(doing).why("the binlog of the snapshot was purged meanwhile"))?;
    let list = gtids
        .parse()
        .map_err(|error: crate::model::position::PositionError| Error::definite(doing).because(error))?;
    Ok(Position::MariaGtid(list))
}

/// Reads the wanted tables one by one; an empty batch ends each. Ends when nobody asks any more.
async fn read_tables(
    mut conn: Conn,
    mut wanted: mpsc::Receiver<Wanted>,
    batches: mpsc::Sender<Result<Vec<Row>>>,
) -> Conn {
    while let Some(wanted) = wanted.recv().await {
        let last = match read_table(&mut conn, &wanted, &batches).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) => Err(error.table(&wanted.table.id)),
        };
        if batches.send(last).await.is_err() {
            break;
        }
    }
    conn
}

/// MySQL's own JSON columns. Functions can put values of SQL into a document (dates, bytes), which its text shows as
/// strings; the server itself tells whether the text says all.
fn documents(table: &Table) -> Vec<usize> {
    let is_parsed = |place: &usize| table.columns[*place].ty == ColumnType::Json { normalised: true };
    (0..table.columns.len()).filter(is_parsed).collect()
}

/// As the log's reader gives such a document.
fn more_than_text(value: &Value) -> Value {
    match value {
        Value::Json(text) => Value::Opaque(text.clone()),
        other => other.clone(),
    }
}

/// Stops early, and quietly, when the reader is gone.
async fn read_table(
    conn: &mut Conn,
    wanted: &Wanted,
    batches: &mpsc::Sender<Result<Vec<Row>>>,
) -> Result<()> {
    let failed = |error| fail("copy a table", error);
    let Wanted { table, range, .. } = wanted;
    let condition = wanted.condition.as_deref();
    let cell: fn(&Column) -> String = match table.is_beside() {
        true => beside::copied_cell,
        false => |column| quote(&column.name),
    };
    let mut columns: Vec<String> = table.columns.iter().map(cell).collect();
    let documents = documents(table);
    columns.extend(documents.iter().map(|place| {
        let name = cell(&table.columns[*place]);
        format!("{name} = CAST(CAST({name} AS CHAR) AS JSON)")
    }));
    let sql = match table.is_beside() {
        true => beside::copied(table, &columns, range, condition),
        false => format!(
            "SELECT {} FROM {} AS t{}",
            columns.join(", "),
            quoted_table(&table.id),
            range::rows(table, range, condition)
        ),
    };
    let mut result = conn.exec_iter(sql, ()).await.map_err(failed)?;
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(row) = result.next().await.map_err(failed)? {
        let mut cells = row.unwrap();
        let is_text = cells.split_off(table.columns.len());
        let cells: Result<Vec<_>> = cells
            .into_iter()
            .zip(&table.columns)
            .map(|(cell, column)| decode_select(column, cell).map(Some))
            .collect();
        let mut row: Row = cells?.into_iter().collect();
        for (place, is_text) in documents.iter().zip(is_text) {
            match row.0.get_mut(*place) {
                Some(Some(value)) if is_text != Cell::Int(1) => *value = more_than_text(value),
                Some(_) | None => {}
            }
        }
        bytes += row.bytes();
        batch.push(row);
        if batch.len() >= BATCH_ROWS_MAX || bytes >= BATCH_BYTES_MAX {
            bytes = 0;
            if batches.send(Ok(std::mem::take(&mut batch))).await.is_err() {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() {
        // A closed channel shows again when the end is sent.
        let _ = batches.send(Ok(batch)).await;
    }
    Ok(())
}

/// What is visible now is in the log before this.
pub async fn settle_position(access: &Access) -> Result<Position> {
    let read = async {
        let mut conn = connect(access).await?;
        let flavor = flavor(&mut conn).await?;
        tokio::time::sleep(SETTLE_DELAY).await;
        let end = current_position(&mut conn, flavor).await?;
        let _ = conn.disconnect().await;
        Ok(end)
    };
    read.await.map_err(|error: Error| error.node(&access.node))
}

/// Where streaming begins when no copy is wanted.
pub async fn start_position(options: &Options) -> Result<Position> {
    let read = async {
        let mut conn = connect(&options.access).await?;
        let flavor = flavor(&mut conn).await?;
        settings(&mut conn, flavor, options).await?;
        forget_tombstones(&mut conn, options).await?;
        let is_set = matches!(current_position(&mut conn, flavor).await?, Position::Gtid(_));
        let quiet = Quiet::begin(&mut conn, flavor, is_set).await?;
        let position = current_position(&mut conn, flavor).await?;
        let position = begun(&conn, &options.access, position).await?;
        quiet.confirm(&mut conn).await?;
        let _ = conn.disconnect().await;
        Ok(position)
    };
    read.await
        .map_err(|error: Error| error.node(&options.access.node))
}

/// What was deleted before the log is read never reaches the target, so it must not beat what the target's users
/// insert under the same key: without this both sides would differ for ever.
async fn forget_tombstones(conn: &mut Conn, options: &Options) -> Result<()> {
    if options.mode != Mode::Merge || !options.fresh {
        return Ok(());
    }
    for known in &options.tables {
        let id = &known.table.id;
        let name = object_name("tombstone", id);
        let forget = async {
            let exists = "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?";
            let found: Option<u8> = conn.exec_first(exists, (CONTROL, &name)).await?;
            if found.is_some() {
                let tombstones = quoted_table(&TableId::new(CONTROL, &name));
                conn.query_drop(format!("DELETE FROM {tombstones}")).await?;
            }
            Ok(())
        };
        forget
            .await
            .map_err(|error| fail("forget what was deleted before the start", error).table(id))?;
    }
    Ok(())
}
