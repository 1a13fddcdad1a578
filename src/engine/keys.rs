//! What is asked of the keys there are: numbers where every node gives its own (`postgres::numbers`, `mysql::numbers`), and
//! texts that are one elsewhere (`postgres::folded`).

use super::{Node, Target};
use crate::error::Result;
use crate::model::collation::Folds;
use crate::model::numbers::Numbers;
use crate::model::schema::TableId;
use crate::postgres::folded::Same;
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
    pub async fn raise_numbers(&mut self, split: &[(TableId, Numbers)]) -> Result<Vec<TableId>> {
        match self {
            Node::Postgres(client) => postgres::setup::raise_numbers(client, split).await,
            // AUTO_INCREMENT is above every row there is by itself.
            Node::Mysql(..) => Ok(Vec::new()),
        }
    }
}

impl Node {
    /// Foreign keys of these tables to tables that are not among them: child, name, parent.
    pub async fn unparented(&mut self, tables: &[TableId]) -> Result<Vec<(TableId, String, TableId)>> {
        match self {
            Node::Postgres(client) => postgres::held::unparented(client, tables).await,
            Node::Mysql(conn) => mysql::held::unparented(conn, tables).await,
        }
    }
}

/// Keys of PostgreSQL that another engine's collation takes for one.
impl Node {
    /// `None`: this engine keeps such apart by what W514 tells.
    pub async fn same_keys(&mut self, id: &TableId, columns: &[(String, Folds)]) -> Result<Option<Same>> {
        match self {
            Node::Postgres(client) => postgres::folded::same(client, id, columns).await.map(Some),
            Node::Mysql(..) => Ok(None),
        }
    }
}

impl Target {
    /// In the open transaction: so many rows of these tables, by the source's names, came under other nodes' numbers.
    pub async fn note_strays(&mut self, sync: &str, link: &str, strays: &[(TableId, u64)]) -> Result<()> {
        on_target!(self, target => target.note_strays(sync, link, strays).await)
    }
}
