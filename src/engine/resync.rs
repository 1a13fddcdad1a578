//! What a new copy of a table asks of a node of either engine: who wants it, and how far it is.
//!
//! Owns, refuses, fails: as `engine`.

use super::{Node, Target};
use crate::error::Result;
use crate::model::operation::Resync;
use crate::model::schema::TableId;
use crate::{mysql, postgres};

impl Node {
    /// This node, as a target: the tables that links copy anew, or are to.
    pub async fn resyncs(&mut self, sync: &str, link: Option<&str>) -> Result<Vec<Resync>> {
        match self {
            Node::Postgres(client) => postgres::resync::resyncs(client, sync, link).await,
            Node::Mysql(conn) => mysql::resync::resyncs(conn, sync, link).await,
        }
    }

    /// Asks the link to copy these tables anew, or those rows of them that the condition takes.
    pub async fn ask_resync(
        &mut self,
        link: (&str, &str),
        tables: &[TableId],
        condition: Option<&str>,
        operator: &str,
    ) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::resync::ask(client, link, tables, condition, operator).await,
            Node::Mysql(conn) => mysql::resync::ask(conn, link, tables, condition, operator).await,
        }
    }

    pub async fn resync_failed(&mut self, link: (&str, &str), tables: &[TableId], why: &str) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::resync::failed(client, link, tables, why).await,
            Node::Mysql(conn) => mysql::resync::failed(conn, link, tables, why).await,
        }
    }
}

impl Target {
    pub async fn resync_begun(&mut self, link: (&str, &str), table: &TableId) -> Result<()> {
        on_target!(self, target => target.resync_begun(link, table).await)
    }

    pub async fn forget_chunks(&mut self, link: (&str, &str), source: &TableId) -> Result<()> {
        on_target!(self, target => target.forget_chunks(link, source).await)
    }

    pub async fn resync_copied(&mut self, link: (&str, &str), table: &TableId, settle: &str) -> Result<()> {
        on_target!(self, target => target.resync_copied(link, table, settle).await)
    }

    pub async fn resync_stopped(&mut self, link: (&str, &str), table: &TableId) -> Result<()> {
        on_target!(self, target => target.resync_stopped(link, table).await)
    }

    pub async fn resync_level(&mut self, link: (&str, &str), table: &TableId) -> Result<()> {
        on_target!(self, target => target.resync_level(link, table).await)
    }
}
