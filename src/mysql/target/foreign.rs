//! Foreign keys as an apply session looks at them itself: it runs with the server's own checks off.
//!
//! Owns: [`Target::foreign_keys`] and the anti-join in both directions, one statement per foreign key and set of rows.
//! Refuses: deciding what is done about a row without its parent (see `flow::apply`). Fails: as the target does.
//!
//! A parent that is found is locked against its deletion as the server itself would lock it: a user's delete that is
//! under way meanwhile is waited for, and one that comes later finds our row.

use super::super::sql::{Sql, foreign as sql};
use super::Target;
use crate::batch;
use crate::error::Result;
use crate::model::schema::{ForeignKey, TableId};
use crate::plan::{Key, Shape};
use mysql_async::prelude::Queryable;

/// A database's foreign keys, a row for each column.
const FOREIGN_KEYS: &str = "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_SCHEMA, \
    REFERENCED_TABLE_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
    WHERE TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 2, 3, 1, ORDINAL_POSITION";

type Column = (String, String, String, String, String, String, String);

impl Target {
    /// The foreign keys among these tables.
    pub async fn foreign_keys(&mut self, tables: &[TableId]) -> Result<Vec<ForeignKey>> {
        let mut schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        let mut keys: Vec<ForeignKey> = Vec::new();
        for schema in schemas {
            let rows: Vec<Column> = match self.conn.exec(FOREIGN_KEYS, (schema,)).await {
                Ok(rows) => rows,
                Err(error) => return Err(self.failed("read the foreign keys", error)),
            };
            for (name, child_schema, child, parent_schema, parent, column, reference) in rows {
                let child = TableId::new(child_schema, child);
                let parent = TableId::new(parent_schema, parent);
                if !tables.contains(&child) || !tables.contains(&parent) {
                    continue;
                }
                match keys
                    .last_mut()
                    .filter(|key| key.name == name && key.child == child)
                {
                    Some(key) => {
                        key.columns.push(column);
                        key.references.push(reference);
                    }
                    None => keys.push(ForeignKey {
                        name,
                        child,
                        columns: vec![column],
                        parent,
                        references: vec![reference],
                    }),
                }
            }
        }
        Ok(keys)
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

    /// How many rows have no parent by this key, at most so many, and the statement that shows them.
    pub async fn orphans(&mut self, key: &ForeignKey, child: &Shape, most: u64) -> Result<(u64, String)> {
        let shown = sql::orphans(key, child);
        let counted = format!("SELECT count(*) FROM ({shown} LIMIT {most}) AS t");
        match self.conn.query_first::<u64, _>(counted).await {
            Ok(count) => Ok((count.unwrap_or_default(), shown)),
            Err(error) => {
                let doing = "look for rows without their parents";
                Err(self.failed(doing, error).table(&child.table.id))
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
