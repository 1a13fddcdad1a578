//! A session that writes like a user's: our triggers give the stamps, foreign keys are checked, and no marker stands
//! before what it writes, so that it replicates.
//!
//! Owns: opening it, its transaction without a checkpoint, and the audit of who wanted it. Reading and writing rows is
//! the same as in an apply session.

use super::Target;
use crate::access::Access;
use crate::batch;
use crate::error::{Error, Result};
use crate::model::schema::TableId;
use crate::model::value::{Row, Value};
use crate::plan::{Key, Shape, Write, Written};
use crate::postgres::{connect, evidence, rows, sql};
use std::collections::HashMap;
use tokio_postgres::types::ToSql;

/// Until the transaction ends.
const ASK: &str = "SELECT set_config('tidelock.version', $1, true)";

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL IMMEDIATE";

impl Target {
    pub async fn open_as_user(access: &Access) -> Result<Target> {
        let target = Self::open_to_read(access).await?;
        target.refuse_unfit(true).await?;
        Ok(target)
    }

    /// For reading alone: the server may be one that takes no writes.
    pub async fn open_to_read(access: &Access) -> Result<Target> {
        Ok(Target {
            client: connect(access).await?,
            node: access.node.clone(),
            statements: HashMap::new(),
            is_user: true,
        })
    }

    /// Opens a transaction that moves no checkpoint.
    pub async fn start(&mut self) -> Result<()> {
        let begun = self.client.batch_execute(BEGIN).await;
        begun.map_err(|error| self.failed("begin a transaction", error))
    }

    /// Rows whose stamps stand in a table of their own: the triggers, which stamp them, are told the version that each
    /// needs at the least.
    pub(super) async fn write_as_user(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        let mut shape = shape.clone();
        if let Some(beside) = shape.stamps.as_mut().and_then(|stamps| stamps.beside.as_mut()) {
            beside.by_triggers = true;
        }
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            let stamp = shape.stamps.as_ref().map(|stamps| stamps.version);
            let row = batch::cells(&write.op);
            let asked = match stamp.and_then(|place| row?.get(place)) {
                Some(Value::Int(version)) => version.to_string(),
                _ => String::new(),
            };
            let doing = "ask for a version";
            self.query(doing, ASK, &[&asked]).await?;
            written.extend(self.write_all(&shape, std::slice::from_ref(write)).await?);
            self.query(doing, ASK, &[&""]).await?;
        }
        Ok(written)
    }

    /// In the open transaction: notes what an operator did.
    pub async fn audit(
        &mut self,
        (sync, link): (&str, &str),
        action: &str,
        operator: &str,
        detail: &str,
    ) -> Result<()> {
        let values: [&(dyn ToSql + Sync); 5] = [&operator, &action, &sync, &link, &detail];
        self.query("write the audit", sql::AUDIT, &values)
            .await
            .map(|_| ())
    }

    /// Rows whose cells in these columns, which stand in the shape as its key, the server takes for equal.
    pub async fn alike(&mut self, shape: &Shape, cells: &Key) -> Result<Vec<Row>> {
        let step = rows::read(shape, sql::alike(shape), std::slice::from_ref(cells), 0);
        let found = self.run(shape, "read rows by a unique key", &step).await?;
        found.iter().map(|row| self.decode(shape, row)).collect()
    }

    /// The version above which new rows of the table start on this node.
    pub async fn floor(&mut self, table: &TableId) -> Result<i64> {
        let doing = "read the table's floor";
        let values: [&(dyn ToSql + Sync); 2] = [&table.schema, &table.name];
        let rows = self.query(doing, evidence::FLOOR, &values).await?;
        let row = rows.first().ok_or_else(|| Error::bug(doing).why("no answer"))?;
        row.try_get(0).map_err(|error| self.failed(doing, error))
    }

    /// New rows start above this from now on, if they did not before.
    pub async fn raise_floor(&mut self, sync: &str, table: &TableId, floor: i64) -> Result<()> {
        let raise = "UPDATE tidelock.table_state SET floor = $4
                      WHERE sync = $1 AND schema_name = $2 AND table_name = $3 AND floor < $4";
        let values: [&(dyn ToSql + Sync); 4] = [&sync, &table.schema, &table.name, &floor];
        self.query("raise the table's floor", raise, &values)
            .await
            .map(|_| ())
    }
}
