//! Rows that stand in each other's way by what is unique: they trade places as their source's transaction did.
//!
//! Owns: writing such rows together, as delete and insert, and finding those that something beyond them keeps out, so that
//! these alone are left. Fails: as a write does.

use super::Target;
use crate::batch;
use crate::error::Result;
use crate::plan::{Shape, Write, Written};
use mysql_async::prelude::Queryable;

/// Around the savepoints of single writes.
const APART: &str = "SAVEPOINT tidelock_apart";
const TOGETHER: &str = "ROLLBACK TO SAVEPOINT tidelock_apart";

impl Target {
    /// Row by row, a unique value may have been taken only by a row whose turn came later, or that trades with it,
    /// whichever chunks the two are in.
    pub(super) async fn untangle(
        &mut self,
        shape: &Shape,
        writes: &[Write],
        written: &mut [Written],
    ) -> Result<()> {
        let mut taken = batch::taken(written);
        for _ in 0..batch::UNTANGLE_MAX {
            if taken.is_empty() {
                return Ok(());
            }
            for index in self.trade(shape, writes, &taken).await? {
                written[index] = Written::Done;
            }
            for index in batch::taken(written) {
                written[index] = self.write_one(shape, writes, index).await?;
            }
            let left = batch::taken(written);
            if left.len() == taken.len() {
                return Ok(());
            }
            taken = left;
        }
        Ok(())
    }

    /// Writes those of these rows that stand only in each other's way, and returns them: one that something beyond them
    /// keeps out must not keep the others from trading.
    async fn trade(&mut self, shape: &Shape, writes: &[Write], taken: &[usize]) -> Result<Vec<usize>> {
        let mut trading = taken.to_vec();
        for _ in 0..batch::ASIDE_MAX {
            if self.replace(shape, writes, &trading).await? {
                return Ok(trading);
            }
            if trading.len() < 2 {
                break;
            }
            let kept_out = self.kept_out(shape, writes, &trading).await?;
            let before = trading.len();
            trading.retain(|index| !kept_out.contains(index));
            if trading.is_empty() || trading.len() == before {
                break;
            }
        }
        Ok(Vec::new())
    }

    /// Those of them that cannot come where all the others have left: tried and undone.
    async fn kept_out(&mut self, shape: &Shape, writes: &[Write], chosen: &[usize]) -> Result<Vec<usize>> {
        let Some(replacement) = batch::replace(shape, writes, chosen, self.bytes_max()) else {
            return Ok(chosen.to_vec());
        };
        let (leave, come) = replacement.apart();
        if let Err(error) = self.conn.query_drop(APART).await {
            return Err(self.failed("set a savepoint", error));
        }
        let mut kept_out = Vec::new();
        let steps = self.steps(shape, &replacement.writes, &leave);
        match self.try_steps(shape, steps).await? {
            Err(_) => kept_out.extend(chosen),
            Ok(()) => {
                for group in come {
                    let step = self.steps(shape, &replacement.writes, std::slice::from_ref(&group));
                    if self.try_steps(shape, step).await?.is_err() {
                        kept_out.push(chosen[group.at[0]]);
                    }
                }
            }
        }
        match self.conn.query_drop(TOGETHER).await {
            Ok(()) => Ok(kept_out),
            Err(error) => Err(self.failed("roll back to a savepoint", error)),
        }
    }

    /// Writes these with every update as delete and insert, all or none of them. Were they written?
    pub(super) async fn replace(
        &mut self,
        shape: &Shape,
        writes: &[Write],
        chosen: &[usize],
    ) -> Result<bool> {
        let Some(replacement) = batch::replace(shape, writes, chosen, self.bytes_max()) else {
            return Ok(false);
        };
        let steps = self.steps(shape, &replacement.writes, &replacement.groups);
        Ok(self.try_steps(shape, steps).await?.is_ok())
    }
}
