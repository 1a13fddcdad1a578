//! What a first copy asks of a node of either engine: images of its rows, and how far the copy is.
//!
//! Owns, refuses, fails: as `engine`.

use super::{Node, Target};
use crate::access::{Access, SourceOptions};
use crate::chunk::{Bound, Chunk, Range};
use crate::error::{Error, Result};
use crate::expr::Filter;
use crate::model::conflict::ConflictKind;
use crate::model::position::Position;
use crate::model::schema::{Engine, Table, TableId};
use crate::model::sync::{CatalogTable, Lane, Size};
use crate::model::value::Row;
use crate::plan::{Lines, Load, Shape};
use crate::{mysql, postgres};

pub enum Snapshot {
    Postgres(Box<postgres::snapshot::Snapshot>),
    Mysql(Box<mysql::snapshot::Snapshot>),
}

impl Snapshot {
    /// Opens a consistent image and the point from which the log continues it.
    pub async fn open(engine: Engine, options: SourceOptions) -> Result<Snapshot> {
        Ok(match engine {
            Engine::Postgres => postgres::snapshot::Snapshot::open(&options).await?.into(),
            Engine::Mysql | Engine::Mariadb => mysql::snapshot::Snapshot::open(&options).await?.into(),
        })
    }

    /// So many readers with one point from which the log continues what all of them read.
    pub async fn open_all(engine: Engine, options: SourceOptions, count: usize) -> Result<Vec<Snapshot>> {
        Ok(match engine {
            Engine::Postgres => all(postgres::snapshot::Snapshot::open_all(&options, count).await?),
            Engine::Mysql | Engine::Mariadb => {
                all(mysql::snapshot::Snapshot::open_all(&options, count).await?)
            }
        })
    }

    /// So many readers of what is there now, where the log is to be read from an earlier point, which it must serve.
    pub async fn resume(
        engine: Engine,
        options: SourceOptions,
        from: &Position,
        count: usize,
    ) -> Result<Vec<Snapshot>> {
        Ok(match engine {
            Engine::Postgres => all(postgres::snapshot::Snapshot::resume(&options, from, count).await?),
            Engine::Mysql | Engine::Mariadb => {
                all(mysql::snapshot::Snapshot::resume(&options, from, count).await?)
            }
        })
    }

    /// The same while a session of the link streams.
    pub async fn beside(
        engine: Engine,
        options: SourceOptions,
        from: &Position,
        count: usize,
    ) -> Result<Vec<Snapshot>> {
        Ok(match engine {
            Engine::Postgres => all(postgres::snapshot::Snapshot::beside(&options, from, count).await?),
            Engine::Mysql | Engine::Mariadb => {
                all(mysql::snapshot::Snapshot::resume(&options, from, count).await?)
            }
        })
    }

    /// A reader of what is there now, by which no log is read on.
    pub async fn now(engine: Engine, options: SourceOptions) -> Result<Snapshot> {
        Ok(match engine {
            Engine::Postgres => postgres::snapshot::Snapshot::now(&options).await?.into(),
            Engine::Mysql | Engine::Mariadb => mysql::snapshot::Snapshot::now(&options).await?.into(),
        })
    }

    /// The rows are of the moment of the start; else there is a settle position.
    pub fn is_exact(&self) -> bool {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.is_exact(),
            Snapshot::Mysql(snapshot) => snapshot.is_exact(),
        }
    }

    pub fn start(&self) -> &Position {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.start(),
            Snapshot::Mysql(snapshot) => snapshot.start(),
        }
    }

    /// `filter`: rows that it does not take may be left out, as far as the server sees them as we do. Who reads them holds
    /// them against it all the same.
    pub async fn open_table(&mut self, table: &Table, range: &Range, filter: Option<&Filter>) -> Result<()> {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.open_table(table, range, filter).await,
            Snapshot::Mysql(snapshot) => snapshot.open_table(table, range, filter).await,
        }
    }

    /// Empty = the range is done.
    pub async fn rows(&mut self, rows_max: usize) -> Result<Vec<Row>> {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.rows(rows_max).await,
            Snapshot::Mysql(snapshot) => snapshot.rows(rows_max).await,
        }
    }

    /// Its rows are not wanted any more.
    pub async fn leave_table(&mut self) -> Result<()> {
        match self {
            Snapshot::Postgres(snapshot) => {
                snapshot.leave_table();
                Ok(())
            }
            Snapshot::Mysql(snapshot) => snapshot.leave_table().await,
        }
    }

    /// As [`Self::rows`], as the server wrote them: for plans that pass them on like that.
    pub async fn lines(&mut self) -> Result<Lines> {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.lines().await,
            Snapshot::Mysql(_) => Err(Error::bug("read rows as lines")),
        }
    }

    /// The rows of lines that were read of this table.
    pub fn rows_of(engine: Engine, table: &Table, lines: &Lines) -> Result<Vec<Row>> {
        match engine {
            Engine::Postgres => postgres::snapshot::rows_of(table, lines),
            Engine::Mysql | Engine::Mariadb => Err(Error::bug("read rows from lines").table(&table.id)),
        }
    }

    /// The settle position, where the image is not exact.
    pub async fn close(self) -> Result<Option<Position>> {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.close().await,
            Snapshot::Mysql(snapshot) => snapshot.close().await,
        }
    }
}

fn all<T: Into<Snapshot>>(readers: Vec<T>) -> Vec<Snapshot> {
    readers.into_iter().map(Into::into).collect()
}

impl From<postgres::snapshot::Snapshot> for Snapshot {
    fn from(snapshot: postgres::snapshot::Snapshot) -> Self {
        Snapshot::Postgres(Box::new(snapshot))
    }
}

impl From<mysql::snapshot::Snapshot> for Snapshot {
    fn from(snapshot: mysql::snapshot::Snapshot) -> Self {
        Snapshot::Mysql(Box::new(snapshot))
    }
}

/// Where a log stands now, kept from being removed (PostgreSQL: the slot is made).
pub async fn start_position(engine: Engine, options: SourceOptions) -> Result<Position> {
    match engine {
        Engine::Postgres => postgres::snapshot::start_position(&options).await,
        Engine::Mysql | Engine::Mariadb => mysql::snapshot::start_position(&options).await,
    }
}

/// The position before which the log holds all that is visible now.
pub async fn settle_position(engine: Engine, access: &Access) -> Result<Position> {
    match engine {
        Engine::Postgres => postgres::snapshot::settle_position(access).await,
        Engine::Mysql | Engine::Mariadb => mysql::snapshot::settle_position(access).await,
    }
}

/// Until sessions that begin to read see all that is logged of the table up to the position.
pub async fn visible(engine: Engine, access: &Access, position: &Position, table: &TableId) -> Result<()> {
    match engine {
        Engine::Postgres => postgres::visible::wait(access, table).await,
        Engine::Mysql | Engine::Mariadb => mysql::visible::wait(access, position).await,
    }
}

impl Node {
    /// The keys that cut a table into chunks of so many rows.
    pub async fn bounds(
        &mut self,
        table: &CatalogTable,
        rows: u64,
        size: Option<Size>,
    ) -> Result<Vec<Bound>> {
        match self {
            Node::Postgres(client) => postgres::chunk::bounds(client, table, rows, size).await,
            Node::Mysql(conn) => mysql::chunk::bounds(conn, table, rows, size).await,
        }
    }

    /// How far the copy of a link that writes into this node is.
    pub async fn chunks(&mut self, sync: &str, link: &str) -> Result<Vec<Chunk>> {
        match self {
            Node::Postgres(client) => postgres::chunk::chunks(client, sync, link).await,
            Node::Mysql(conn) => mysql::chunk::chunks(conn, sync, link).await,
        }
    }
}

impl Target {
    /// For reading alone: the server may be one that takes no writes.
    pub async fn open_to_read(engine: Engine, access: &Access) -> Result<Target> {
        Ok(match engine {
            Engine::Postgres => {
                Target::Postgres(Box::new(postgres::target::Target::open_to_read(access).await?))
            }
            Engine::Mysql | Engine::Mariadb => {
                Target::Mysql(Box::new(mysql::target::Target::open_to_read(access).await?))
            }
        })
    }

    /// The cells at these places of all rows, ready for these columns of a target that takes lines; `None`: they are
    /// loaded as rows.
    pub fn lines(engine: Engine, shape: &Shape, rows: &[Row], cells: (&[usize], &[usize])) -> Option<Lines> {
        match engine {
            Engine::Postgres => postgres::lines::of_rows(&shape.table, rows, cells),
            Engine::Mysql | Engine::Mariadb => None,
        }
    }

    /// Writes these cells of all rows, or nothing (`false`) where something is in the way of one.
    pub async fn load(&mut self, shape: &Shape, cells: &[usize], load: Load<'_>) -> Result<bool> {
        on_target!(self, target => target.load(shape, cells, load).await)
    }

    pub async fn plan_chunks(&mut self, link: (&str, &str), chunks: &[Chunk], anew: bool) -> Result<()> {
        on_target!(self, target => target.plan_chunks(link, chunks, anew).await)
    }

    pub async fn chunk_done(&mut self, link: (&str, &str), epoch: i64, chunk: &Chunk) -> Result<()> {
        on_target!(self, target => target.chunk_done(link, epoch, chunk).await)
    }

    pub async fn withdraw(
        &mut self,
        link: (&str, &str),
        table: &TableId,
        kind: ConflictKind,
        keys: &[String],
    ) -> Result<()> {
        on_target!(self, target => target.withdraw(link, table, kind, keys).await)
    }

    pub async fn open_lanes(&mut self, link: (&str, &str), count: i16, seq: i64) -> Result<()> {
        on_target!(self, target => target.open_lanes(link, count, seq).await)
    }

    pub async fn close_lanes(&mut self, link: (&str, &str)) -> Result<()> {
        on_target!(self, target => target.close_lanes(link).await)
    }

    pub async fn lanes(&mut self, link: (&str, &str), epoch: i64) -> Result<Vec<Lane>> {
        on_target!(self, target => target.lanes(link, epoch).await)
    }
}
