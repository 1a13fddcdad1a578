//! Numbers of keys where every node gives its own; see `postgres::numbers` and `mysql::numbers`.

use super::{Node, Target};
use crate::error::Result;
use crate::model::schema::TableId;
use crate::model::sync::Scope;
use crate::{mysql, postgres};

impl Node {
    /// The greatest number among the keys of each table; 0 where there is none.
    pub async fn greatest_numbers(&mut self, tables: &[TableId]) -> Result<Vec<i64>> {
        match self {
            Node::Postgres(client) => postgres::numbers::greatest(client, tables).await,
            Node::Mysql(conn) => mysql::numbers::greatest(conn, tables).await,
        }
    }

    /// Sets this node's counters above the rows that were copied here; returns the tables whose it did.
    pub async fn raise_numbers(&mut self, scope: &Scope) -> Result<Vec<TableId>> {
        match self {
            Node::Postgres(client) => postgres::setup::raise_numbers(client, scope).await,
            // AUTO_INCREMENT is above every row there is by itself.
            Node::Mysql(..) => Ok(Vec::new()),
        }
    }
}

impl Target {
    /// In the open transaction: so many rows of these tables, by the source's names, came under other nodes' numbers.
    pub async fn note_strays(&mut self, sync: &str, link: &str, strays: &[(TableId, u64)]) -> Result<()> {
        on_target!(self, target => target.note_strays(sync, link, strays).await)
    }
}
