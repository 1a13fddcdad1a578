//! Rows of a first copy in one go: COPY, under a savepoint.
//!
//! Owns: [`Target::load`]. Refuses: deciding what becomes of rows that something is in the way of: nothing of them is
//! written then, and the caller writes them as any others. Fails: as the target does.

use super::{RELEASE, SAVEPOINT, Target, is_refusal};
use crate::error::Result;
use crate::plan::{Lines, Load, Shape};
use crate::postgres::sql;
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::join;
use std::pin::pin;
use tokio_postgres::error::SqlState;

impl Target {
    /// In the open transaction: writes these cells of all rows, or nothing (`false`): the data was refused, a row of the
    /// same key or unique value is there, or the table takes no COPY.
    pub async fn load(&mut self, shape: &Shape, cells: &[usize], load: Load<'_>) -> Result<bool> {
        // Rows come as lines, unless one of them lacks a cell.
        let Load::Lines(lines) = load else {
            return Ok(false);
        };
        if shape.beside().is_some() || self.is_user {
            return Ok(false);
        }
        match self
            .copy_in(&sql::load(shape, cells, lines.is_binary), lines)
            .await
        {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) || takes_no_copy(&error) => {
                self.undo(error).await.map(|_| false)
            }
            Err(error) => {
                let doing = format!("copy {} rows", lines.rows);
                Err(self.failed(doing, error).table(&shape.table.id))
            }
        }
    }

    /// Between SAVEPOINT and RELEASE, each sent without waiting for what is before it.
    async fn copy_in(&mut self, sql: &str, lines: &Lines) -> Result<(), tokio_postgres::Error> {
        let statement = self.prepare(sql).await?;
        // The futures send when first polled, which happens in this order.
        let (opened, sink) = join(
            self.client.batch_execute(SAVEPOINT),
            self.client.copy_in::<_, Bytes>(&statement),
        )
        .await;
        opened?;
        let mut sink = pin!(sink?);
        for block in &lines.blocks {
            sink.feed(block.clone()).await?;
        }
        let (copied, released) = join(sink.finish(), self.client.batch_execute(RELEASE)).await;
        copied?;
        released
    }
}

/// A view, or a table with row security: INSERT can do what COPY cannot.
fn takes_no_copy(error: &tokio_postgres::Error) -> bool {
    let states = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::WRONG_OBJECT_TYPE];
    error.code().is_some_and(|code| states.contains(code))
}
