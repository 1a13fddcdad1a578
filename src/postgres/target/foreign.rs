//! Foreign keys as an apply session looks at them itself: it runs with the server's own checks off.
//!
//! Owns: [`Target::foreign_keys`] and the anti-join in both directions, one statement per foreign key and set of rows.
//! Refuses: deciding what is done about a row without its parent (see `flow::apply`). Fails: as the target does.
//!
//! A parent that is found is locked against its deletion as the server itself would lock it: a user's delete that is
//! under way meanwhile is waited for, and one that comes later finds our row.

use super::{BYTES_MAX, Target};
use crate::batch;
use crate::error::Result;
use crate::model::schema::{ForeignKey, TableId};
use crate::plan::{Key, Shape};
use crate::postgres::{catalog, rows, sql};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

impl Target {
    /// The foreign keys among these tables.
    pub async fn foreign_keys(&mut self, tables: &[TableId]) -> Result<Vec<ForeignKey>> {
        let doing = "read the foreign keys";
        let schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|id| id.name.as_str()).collect();
        let parameters: [&(dyn ToSql + Sync); 2] = [&schemas, &names];
        let rows = self.query(doing, catalog::FOREIGN_KEYS, &parameters).await?;
        rows.iter()
            .map(|row| catalog::foreign_key(row).map_err(|error| self.failed(doing, error)))
            .collect()
    }

    /// Tables that any link of the sync holds here.
    pub async fn held_tables(&mut self, sync: &str) -> Result<Vec<TableId>> {
        let doing = "read which tables are held";
        let held = "SELECT DISTINCT schema_name, table_name FROM tidelock.held_table WHERE sync = $1";
        let rows = self.query(doing, held, &[&sync]).await?;
        let one = |row: &Row| -> Result<TableId, tokio_postgres::Error> {
            Ok(TableId::new(
                row.try_get::<_, String>(0)?,
                row.try_get::<_, String>(1)?,
            ))
        };
        rows.iter()
            .map(|row| one(row).map_err(|error| self.failed(doing, error)))
            .collect()
    }

    /// Which of the rows under these keys refer to a parent that does not stand here; parents that do are locked.
    pub async fn without_parent(
        &mut self,
        key: &ForeignKey,
        child: &Shape,
        keys: &[Key],
    ) -> Result<Vec<usize>> {
        let doing = "look for parents by foreign key";
        self.numbers(doing, sql::without_parent(key, child), child, keys)
            .await
    }

    /// How many rows of the child table have no parent by this key, at most so many, and the statement that shows them.
    /// `end`: either table of it.
    pub async fn orphans(&mut self, key: &ForeignKey, end: &Shape, most: u64) -> Result<(u64, String)> {
        let doing = "look for rows without their parents";
        let counted = format!(
            "SELECT count(*) FROM ({} LIMIT {most}) AS t",
            sql::orphans("1", key, end)
        );
        let rows = self.query(doing, &counted, &[]).await?;
        let count = rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0));
        let count = count.map_err(|error| self.failed(doing, error))?;
        Ok((
            u64::try_from(count).unwrap_or_default(),
            sql::orphans("*", key, end),
        ))
    }

    /// Which of these keys, of rows that are gone, rows of the child table still refer to.
    pub async fn with_children(
        &mut self,
        key: &ForeignKey,
        parent: &Shape,
        keys: &[Key],
    ) -> Result<Vec<usize>> {
        match sql::with_children(key, parent) {
            Some(statement) => {
                let doing = "look for children by foreign key";
                self.numbers(doing, statement, parent, keys).await
            }
            None => Ok(Vec::new()),
        }
    }

    async fn numbers(&mut self, doing: &str, sql: String, shape: &Shape, keys: &[Key]) -> Result<Vec<usize>> {
        let mut numbers = Vec::new();
        for range in batch::key_chunks(keys, BYTES_MAX) {
            let (start, chunk) = (range.start, &keys[range]);
            let step = rows::read(shape, sql.clone(), chunk, start);
            let found = self.run(shape, doing, &step).await?;
            numbers.extend(self.numbered(&step, &found)?);
        }
        Ok(numbers)
    }
}
