//! Foreign keys as an apply session looks at them itself: it runs with the server's own checks off.
//!
//! Owns: [`Target::foreign_keys`] and the anti-join in both directions, one statement per foreign key and set of rows.
//! Refuses: deciding what is done about a row without its parent (see `flow::apply`). Fails: as the target does.
//!
//! A parent that is found is locked against its deletion as the server itself would lock it: a user's delete that is
//! under way meanwhile is waited for, and one that comes later finds our row.

use super::super::catalog;
use super::super::sql::{Sql, foreign as sql};
use super::Target;
use crate::batch;
use crate::error::Result;
use crate::model::schema::{ForeignKey, TableId};
use crate::plan::{Key, Shape};
use mysql_async::prelude::Queryable;

impl Target {
    /// The foreign keys among these tables.
    pub async fn foreign_keys(&mut self, tables: &[TableId]) -> Result<Vec<ForeignKey>> {
        match catalog::foreign_keys(&mut self.conn, tables).await {
            Ok(keys) => Ok(keys),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Tables that any link of the sync holds here.
    pub async fn held_tables(&mut self, sync: &str) -> Result<Vec<TableId>> {
        let held = "SELECT DISTINCT schema_name, table_name FROM tidelock.held_table WHERE sync = ?";
        match self.conn.exec::<(String, String), _, _>(held, (sync,)).await {
            Ok(rows) => Ok(rows
                .into_iter()
                .map(|(schema, name)| TableId::new(schema, name))
                .collect()),
            Err(error) => Err(self.failed("read which tables are held", error)),
        }
    }

    /// Which of the rows under these keys refer to a parent that does not stand here; parents that do are locked.
    pub async fn without_parent(
        &mut self,
        key: &ForeignKey,
        child: &Shape,
        keys: &[Key],
    ) -> Result<Vec<usize>> {
        let mut orphans = Vec::new();
        for range in batch::key_chunks(keys, self.bytes_max()) {
            let statement = sql::without_parent(self.flavor, key, child, &keys[range.clone()]);
            let found = self
                .numbers(statement, child, "look for parents by foreign key")
                .await?;
            orphans.extend(found.into_iter().map(|number| range.start + number));
        }
        Ok(orphans)
    }

    /// How many rows of the child table have no parent by this key, at most so many, and the statement that shows them.
    /// `end`: either table of it.
    pub async fn orphans(&mut self, key: &ForeignKey, _end: &Shape, most: u64) -> Result<(u64, String)> {
        let counted = format!(
            "SELECT count(*) FROM ({} LIMIT {most}) AS t",
            sql::orphans("1", key)
        );
        match self.conn.query_first::<u64, _>(counted).await {
            Ok(count) => Ok((count.unwrap_or_default(), sql::orphans("*", key))),
            Err(error) => {
                let doing = "look for rows without their parents";
                Err(self.failed(doing, error).table(&key.child))
            }
        }
    }

    /// Which of these keys, of rows that are gone, rows of the child table still refer to.
    pub async fn with_children(
        &mut self,
        key: &ForeignKey,
        parent: &Shape,
        keys: &[Key],
    ) -> Result<Vec<usize>> {
        let mut referred = Vec::new();
        for range in batch::key_chunks(keys, self.bytes_max()) {
            let Some(statement) = sql::with_children(self.flavor, key, parent, &keys[range.clone()]) else {
                return Ok(Vec::new());
            };
            let found = self
                .numbers(statement, parent, "look for children by foreign key")
                .await?;
            referred.extend(found.into_iter().map(|number| range.start + number));
        }
        Ok(referred)
    }

    async fn numbers(&mut self, statement: Sql, shape: &Shape, doing: &str) -> Result<Vec<usize>> {
        match self.conn.query(statement).await {
            Ok(numbers) => Ok(numbers),
            Err(error) => Err(self.failed(doing, error).table(&shape.table.id)),
        }
    }
}
