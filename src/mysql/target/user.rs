//! A session that writes like a user's: our triggers give the stamps, foreign keys are checked, and no marker stands
//! before what it writes, so that it replicates.
//!
//! Owns: opening it, its transaction without a checkpoint, and the audit of who wanted it. Reading and writing rows is
//! the same as in an apply session.

use super::{Author, Target};
use crate::access::Access;
use crate::error::Result;
use crate::model::schema::TableId;
use crate::model::value::Row;
use crate::mysql::{connect, evidence, flavor, operations, sql};
use crate::plan::{Key, Shape};
use mysql_async::params;
use mysql_async::prelude::Queryable;

impl Target {
    pub async fn open_as_user(access: &Access) -> Result<Target> {
        let mut target = Self::open_to_read(access).await?;
        target.refuse_unfit(true).await?;
        Ok(target)
    }

    /// For reading alone: the server may be one that takes no writes.
    pub async fn open_to_read(access: &Access) -> Result<Target> {
        let mut conn = connect(access).await?;
        let flavor = flavor(&mut conn)
            .await
            .map_err(|error| error.node(&access.node))?;
        Ok(Target {
            conn,
            node: access.node.clone(),
            flavor,
            packet_max: 0,
            is_whole: false,
            writes_as: Author::User,
        })
    }

    /// Opens a transaction that moves no checkpoint.
    pub async fn start(&mut self) -> Result<()> {
        self.is_whole = true;
        match self.conn.query_drop("START TRANSACTION").await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("begin a transaction", error)),
        }
    }

    /// In the open transaction: notes what an operator did.
    pub async fn audit(
        &mut self,
        (sync, link): (&str, &str),
        action: &str,
        operator: &str,
        detail: &str,
    ) -> Result<()> {
        let values = params! { operator, action, sync, link, detail };
        match self.conn.exec_drop(operations::AUDIT, values).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("write the audit", error)),
        }
    }

    /// Rows whose cells in these columns, which stand in the shape as its key, the server takes for equal.
    pub async fn alike(&mut self, shape: &Shape, cells: &Key) -> Result<Vec<Row>> {
        let found = self.prepared(shape, sql::alike(shape, cells)).await?;
        let rows = found
            .into_iter()
            .map(|row| self.decode(shape, row).map(|(_, row)| row));
        rows.collect()
    }

    /// The version above which new rows of the table start on this node.
    pub async fn floor(&mut self, table: &TableId) -> Result<i64> {
        let values = params! { "schema" => &table.schema, "name" => &table.name };
        let floor: Option<i64> = match self.conn.exec_first(evidence::FLOOR, values).await {
            Ok(floor) => floor,
            Err(error) => return Err(self.failed("read the table's floor", error)),
        };
        Ok(floor.unwrap_or_default())
    }

    /// New rows start above this from now on, if they did not before.
    pub async fn raise_floor(&mut self, sync: &str, table: &TableId, floor: i64) -> Result<()> {
        let raise = "UPDATE tidelock.table_state SET floor = :floor
                      WHERE sync = :sync AND schema_name = :schema AND table_name = :name AND floor < :floor";
        let values =
            params! { "sync" => sync, "schema" => &table.schema, "name" => &table.name, "floor" => floor };
        match self.conn.exec_drop(raise, values).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("raise the table's floor", error)),
        }
    }
}
