//! What stands under keys, looked at without the rows and without a lock.

use super::Target;
use crate::batch;
use crate::error::Result;
use crate::model::conflict::Local;
use crate::model::stamp::Stamp;
use crate::mysql::sql::{self, Sql};
use crate::plan::{Key, Shape};
use mysql_async::prelude::Queryable;

impl Target {
    /// The stamps under these keys, without the rows and without a lock.
    pub async fn stamps(&mut self, shape: &Shape, keys: &[Key]) -> Result<Vec<Local>> {
        let mut locals = vec![Local::default(); keys.len()];
        let Some(stamps) = &shape.stamps else {
            return Ok(locals);
        };
        for range in batch::key_chunks(keys, self.bytes_max()) {
            let numbered: Vec<(usize, &Key)> = range.map(|index| (index, &keys[index])).collect();
            let statement = sql::read_stamps(self.flavor, shape, &numbered);
            for (number, version, origin) in self.stamped(statement).await? {
                if let Some(local) = locals.get_mut(number) {
                    local.row_stamp = Some(Stamp::write(version, origin));
                }
            }
            let statement = sql::read_tombstones(self.flavor, shape, stamps, &numbered);
            for (number, version, origin) in self.stamped(statement).await? {
                if let Some(local) = locals.get_mut(number) {
                    local.tombstone = Some(Stamp::delete(version, origin));
                }
            }
        }
        Ok(locals)
    }

    /// Numbers of keys, with version and origin.
    pub(super) async fn stamped(&mut self, statement: Sql) -> Result<Vec<(usize, i64, u16)>> {
        match self.conn.query(statement).await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(self.failed("read stamps by key", error)),
        }
    }
}
