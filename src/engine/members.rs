//! What taking a node out of a sync asks of a node of either engine.
//!
//! Owns, refuses, fails: as `engine`.

use super::Node;
use crate::error::Result;
use crate::model::sync::{Departure, Member, Scope};
use crate::{mysql, postgres};

impl Node {
    /// The nodes of a sync, those that left too; none before it is set up.
    pub async fn members(&mut self, sync: &str) -> Result<Vec<Member>> {
        match self {
            Node::Postgres(client) => postgres::setup::members::all(client, sync).await,
            Node::Mysql(conn) => mysql::setup::members::all(conn, sync).await,
        }
    }

    /// Is this node's log kept for one that leaves, and read?
    pub async fn is_read_for(&mut self, departure: &Departure) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::setup::members::is_read_for(client, departure).await,
            // A binlog is kept for nobody.
            Node::Mysql(..) => Ok(false),
        }
    }

    /// From then on nobody runs the links of a node that leaves.
    pub fn leaving_sql(&self, departure: &Departure) -> String {
        match self {
            Node::Postgres(..) => postgres::setup::members::leaving_sql(departure),
            Node::Mysql(..) => mysql::setup::members::leaving_sql(departure),
        }
    }

    /// It is gone from here.
    pub fn left_sql(&self, departure: &Departure) -> Vec<String> {
        match self {
            Node::Postgres(..) => postgres::setup::members::left_sql(departure),
            Node::Mysql(..) => mysql::setup::members::left_sql(departure),
        }
    }

    /// Runs statements under the setup lock.
    pub async fn run_all(&mut self, scope: &Scope, statements: &[String]) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::setup::run_all(client, statements).await,
            Node::Mysql(conn) => mysql::setup::run_all(conn, scope, statements).await,
        }
    }
}
