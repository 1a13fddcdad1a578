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
use crate::postgres::{rows, sql};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Those of partitions are named by the table they are parts of.
const FOREIGN_KEYS: &str = "SELECT k.conname::text, cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, \
    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS n(num, at) \
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.num ORDER BY n.at), \
    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n(num, at) \
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.num ORDER BY n.at) \
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace \
    JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace \
    WHERE k.contype = 'f' AND k.conparentid = 0 \
    AND (cn.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
    AND (pn.nspname::text, p.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY 2, 3, 1";

impl Target {
    /// The foreign keys among these tables.
    pub async fn foreign_keys(&mut self, tables: &[TableId]) -> Result<Vec<ForeignKey>> {
        let doing = "read the foreign keys";
        let schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|id| id.name.as_str()).collect();
        let parameters: [&(dyn ToSql + Sync); 2] = [&schemas, &names];
        let one = |row: &Row| -> Result<ForeignKey, tokio_postgres::Error> {
            Ok(ForeignKey {
                name: row.try_get(0)?,
                child: TableId::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?),
                parent: TableId::new(row.try_get::<_, String>(3)?, row.try_get::<_, String>(4)?),
                columns: row.try_get(5)?,
                references: row.try_get(6)?,
            })
        };
        let rows = self.query(doing, FOREIGN_KEYS, &parameters).await?;
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

    /// How many rows have no parent by this key, at most so many, and the statement that shows them.
    pub async fn orphans(&mut self, key: &ForeignKey, child: &Shape, most: u64) -> Result<(u64, String)> {
        let doing = "look for rows without their parents";
        let shown = sql::orphans(key, child);
        let counted = format!("SELECT count(*) FROM ({shown} LIMIT {most}) AS t");
        let rows = self.query(doing, &counted, &[]).await?;
        let count = rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0));
        let count = count.map_err(|error| self.failed(doing, error))?;
        Ok((u64::try_from(count).unwrap_or_default(), shown))
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
