//! Rows whose stamps stand in a table of their own.
//!
//! Owns: the writes that the log must tell of although nothing of the row may change. MySQL and MariaDB log no such
//! update, so the row is taken away and put back, whole and under the stamp that stays; and what a server takes for no
//! change is its own matter, so this is done to every row that is written on our own account. Also a person's decision,
//! which the triggers stamp. Refuses: putting back what was not read whole.

use super::{Refusal, Target, is_unique, without_value};
use crate::batch;
use crate::error::{Error, Result};
use crate::model::value::Value;
use crate::mysql::sql;
use crate::plan::{Key, Shape, StampColumns, Write, WriteOp, Written};
use mysql_async::params;
use mysql_async::prelude::Queryable;

/// Between them our triggers, and the users', are silent, and a row that others refer to may be away.
const SILENT: &str = "SET @tidelock_apply = 1, SESSION foreign_key_checks = 0";
const LOUD: &str = "SET @tidelock_apply = NULL, SESSION foreign_key_checks = 1";
/// This node's rank in the one merge sync that the table is in.
const RANK: &str = "SELECT n.`rank` FROM tidelock.node n JOIN tidelock.table_state s ON s.sync = n.sync
                     WHERE n.is_self AND s.tombstones IS NOT NULL
                       AND s.schema_name = :schema AND s.table_name = :name";

impl Target {
    /// Locks the rows, and gives those without a stamp the one that they count as.
    pub(super) async fn complete(&mut self, shape: &Shape, keys: &[(usize, &Key)]) -> Result<()> {
        let Some(beside) = shape.beside() else {
            return Ok(());
        };
        let [lock, complete] = sql::beside::complete(self.flavor, shape, beside, keys);
        match self.packet(&[&lock, &complete]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed("lock rows by key", error).table(&shape.table.id)),
        }
    }

    /// On our own account: deletes first and inserts last, and every update anew.
    pub(super) async fn write_anew(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        let mut written = vec![Written::Done; writes.len()];
        let of_kind = |kind: usize| {
            let is_it = move |index: &usize| match writes[*index].op {
                WriteOp::Delete { .. } | WriteOp::Bury { .. } => kind == 0,
                WriteOp::Update { .. } => kind == 1,
                WriteOp::Insert { .. } => kind == 2,
            };
            (0..writes.len()).filter(is_it).collect::<Vec<usize>>()
        };
        for kind in 0..3 {
            let chosen = of_kind(kind);
            if kind == 1 {
                self.update_anew(shape, writes, &chosen, &mut written).await?;
                continue;
            }
            let some: Vec<Write> = chosen.iter().map(|index| writes[*index].clone()).collect();
            for (index, done) in chosen.iter().zip(self.write_all(shape, &some).await?) {
                written[*index] = done;
            }
        }
        Ok(written)
    }

    async fn update_anew(
        &mut self,
        shape: &Shape,
        writes: &[Write],
        chosen: &[usize],
        written: &mut [Written],
    ) -> Result<()> {
        for range in batch::cut(chosen, self.bytes_max(), |index| whole_bytes(&writes[*index])) {
            let chunk = &chosen[range];
            if !self.replace(shape, writes, chunk).await? {
                for &index in chunk {
                    written[index] = self.update_one_anew(shape, writes, index).await?;
                }
            }
        }
        Ok(())
    }

    async fn update_one_anew(&mut self, shape: &Shape, writes: &[Write], index: usize) -> Result<Written> {
        let Some(whole) = batch::replace(shape, writes, &[index], usize::MAX) else {
            return Err(self.broken(
                Error::bug("write a row of which the log is to tell anew")
                    .table(&shape.table.id)
                    .why("it was not read whole"),
            ));
        };
        let steps = self.steps(shape, &whole.writes, &whole.groups);
        Ok(match self.try_steps(shape, steps).await? {
            Ok(()) => Written::Done,
            Err(Refusal::Contested) => Written::Lost,
            Err(Refusal::TooLarge) => self.too_large(),
            Err(Refusal::Server(error)) if is_unique(&error) => {
                Written::UniqueTaken(super::unique_name(&error.message, &shape.table.id.name))
            }
            Err(Refusal::Server(error)) => Written::Refused(without_value(&error.message)),
        })
    }

    /// A person's decision: the triggers, which stamp the rows, are told the version that each needs at the least. Where
    /// nothing of the row changed, there was nothing to stamp.
    pub(super) async fn write_as_user(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        let mut by_triggers = shape.clone();
        if let Some(beside) = by_triggers
            .stamps
            .as_mut()
            .and_then(|stamps| stamps.beside.as_mut())
        {
            beside.by_triggers = true;
        }
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            let asked = shape.stamps.as_ref().and_then(|stamps| asked(stamps, write));
            let ask = asked.map_or("NULL".to_owned(), |version| version.to_string());
            self.set(&format!("SET @tidelock_version = {ask}")).await?;
            let mut done = self.write_all(&by_triggers, std::slice::from_ref(write)).await?;
            self.set("SET @tidelock_version = NULL").await?;
            if let (Some(version), WriteOp::Update { .. }, [Written::Done]) = (asked, &write.op, &done[..]) {
                done = vec![self.touch_as_user(shape, &write.key, version).await?];
            }
            written.extend(done);
        }
        Ok(written)
    }

    /// Where the row's stamp is still below this version.
    async fn touch_as_user(&mut self, shape: &Shape, key: &Key, version: i64) -> Result<Written> {
        let (Some(stamps), Some(beside)) = (&shape.stamps, shape.beside()) else {
            return Ok(Written::Done);
        };
        match self
            .packet(&[&sql::beside::is_stamped(shape, beside, key, version)])
            .await
        {
            Ok(found) if found[0].rows > 0 => return Ok(Written::Done),
            Ok(_) => {}
            Err(error) => return Err(self.failed("find a row's stamp", error)),
        }
        let local = self.read(shape, std::slice::from_ref(key)).await?.pop();
        let Some(here) = local.and_then(|local| local.row) else {
            return Ok(Written::Lost);
        };
        let rank = self.rank(shape).await?;
        let mut row = here.clone();
        row.0[stamps.version] = Some(Value::Int(version));
        row.0[stamps.origin] = Some(Value::Int(rank));
        let (base, here) = (None, Some(here));
        let op = WriteOp::Update { row, base, here };
        let touch = Write { key: key.clone(), op };
        self.set(SILENT).await?;
        let written = self.update_one_anew(shape, &[touch], 0).await?;
        self.set(LOUD).await?;
        Ok(written)
    }

    async fn rank(&mut self, shape: &Shape) -> Result<i64> {
        let id = &shape.table.id;
        let values = params! { "schema" => &id.schema, "name" => &id.name };
        let doing = "read this node's rank";
        match self.conn.exec_first(RANK, values).await {
            Ok(Some(rank)) => Ok(rank),
            Ok(None) => Err(self.broken(
                Error::definite(doing)
                    .table(id)
                    .why("the table's row in tidelock.table_state is gone")
                    .hint("tidelock setup --execute"),
            )),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    async fn set(&mut self, statement: &str) -> Result<()> {
        match self.conn.query_drop(statement).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("set up the session", error)),
        }
    }
}

fn asked(stamps: &StampColumns, write: &Write) -> Option<i64> {
    match batch::cells(&write.op)?.get(stamps.version)? {
        Value::Int(version) => Some(*version),
        _ => None,
    }
}

/// Of the row as it is taken away, and as it is put back.
fn whole_bytes(write: &Write) -> usize {
    let here = match &write.op {
        WriteOp::Update { here, .. } => here.as_ref().map_or(0, crate::model::value::Row::bytes),
        _ => 0,
    };
    batch::write_bytes(write) + 2 * here
}
