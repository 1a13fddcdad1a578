//! Rows of a first copy in one go: large INSERTs, under a savepoint.
//!
//! Owns: [`Target::load`]. Refuses: LOAD DATA LOCAL, which servers do not take by default and which makes warnings of
//! errors; and deciding what becomes of rows that something is in the way of: nothing of them is written then, and the
//! caller writes them as any others. Fails: as the target does.

use super::{Author, Expected, Step, Target};
use crate::batch;
use crate::error::{Error, Result};
use crate::model::value::Row;
use crate::mysql::sql;
use crate::plan::{Load, Shape};

impl Target {
    /// In the open transaction: writes these cells of all rows, or nothing (`false`): the data was refused, or a row of
    /// the same key or unique value is there.
    pub async fn load(&mut self, shape: &Shape, cells: &[usize], load: Load<'_>) -> Result<bool> {
        let Load::Rows(rows, places) = load else {
            return Err(Error::bug("load lines of another engine").table(&shape.table.id));
        };
        let is_whole = |row: &Row| places.iter().all(|place| row.get(*place).is_some());
        if shape.beside().is_some() || self.writes_as != Author::Peer || !rows.iter().all(is_whole) {
            return Ok(false);
        }
        let ranges = batch::cut(rows, self.bytes_max(), Row::bytes);
        let step = |range: std::ops::Range<usize>| Step {
            sql: sql::load(shape, cells, (&rows[range], places)),
            expected: Expected::Anything,
        };
        let steps = ranges.into_iter().map(step).collect();
        Ok(self.try_steps(shape, steps).await?.is_ok())
    }
}
