//! What the collection of tombstones asks of a node of either engine.
//!
//! Owns, refuses, fails: as `engine`.

use super::Node;
use crate::error::Result;
use crate::model::collection::{Batch, Collection, Dropped, Holder, Reach, Stones};
use crate::{mysql, postgres};

/// The collection of tombstones; see `flow::collect`.
impl Node {
    /// To be called once, before the others.
    pub async fn open_collection(&mut self) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::tombstones::open(client).await,
            Node::Mysql(conn) => mysql::tombstones::open(conn).await,
        }
    }

    pub async fn tombstones(&mut self, sync: &str) -> Result<Vec<Stones>> {
        match self {
            Node::Postgres(client) => postgres::tombstones::tombstones(client, sync).await,
            Node::Mysql(conn) => mysql::tombstones::tombstones(conn, sync).await,
        }
    }

    pub async fn collection(&mut self, sync: &str) -> Result<Option<Collection>> {
        match self {
            Node::Postgres(client) => postgres::tombstones::collection(client, sync).await,
            Node::Mysql(conn) => mysql::tombstones::collection(conn, sync).await,
        }
    }

    pub async fn begin_generation(&mut self, sync: &str, last: i64) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::tombstones::begin(client, sync, last).await,
            Node::Mysql(conn) => mysql::tombstones::begin(conn, sync, last).await,
        }
    }

    pub async fn keep_collection(&mut self, sync: &str, row: &Collection) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::tombstones::keep(client, sync, row).await,
            Node::Mysql(conn) => mysql::tombstones::keep(conn, sync, row).await,
        }
    }

    pub async fn mark_tombstones(&mut self, name: &str, number: i64) -> Result<u64> {
        match self {
            Node::Postgres(client) => postgres::tombstones::mark(client, name, number).await,
            Node::Mysql(conn) => mysql::tombstones::mark(conn, name, number).await,
        }
    }

    pub async fn reach(&mut self, sync: &str) -> Result<Reach> {
        match self {
            Node::Postgres(client) => postgres::tombstones::reach(client, sync).await,
            Node::Mysql(conn) => mysql::tombstones::reach(conn, sync).await,
        }
    }

    /// Names what is open now, for `is_open`. `None` where dropping itself waits for what is open.
    pub async fn horizon(&mut self) -> Result<Option<u64>> {
        match self {
            Node::Postgres(client) => postgres::tombstones::horizon(client).await,
            Node::Mysql(..) => Ok(None),
        }
    }

    pub async fn is_open(&mut self, horizon: u64) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::tombstones::is_open(client, horizon).await,
            Node::Mysql(..) => Ok(false),
        }
    }

    pub async fn next_batch(&mut self, name: &str, below: i64) -> Result<Option<i64>> {
        match self {
            Node::Postgres(client) => postgres::tombstones::next_batch(client, name, below).await,
            Node::Mysql(conn) => mysql::tombstones::next_batch(conn, name, below).await,
        }
    }

    pub async fn drop_tombstones(&mut self, batch: &Batch, holder: Holder<'_>) -> Result<Dropped> {
        match self {
            Node::Postgres(client) => postgres::tombstones::drop_batch(client, batch, holder).await,
            Node::Mysql(conn) => mysql::tombstones::drop_batch(conn, batch, holder).await,
        }
    }
}
