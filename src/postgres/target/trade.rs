//! Rows that stand in each other's way by what is unique: they trade places as their source's transaction did.
//!
//! Owns: writing such rows together, as delete and insert, and finding those that something beyond them keeps out, so that
//! these alone are left. Fails: as a write does.

use super::{BYTES_MAX, Target, Tried, refuse_vanished, steps};
use crate::batch;
use crate::error::Result;
use crate::plan::{Shape, Write, Written};

/// Around the savepoints of single writes.
const APART: &str = "SAVEPOINT tidelock_apart";
const TOGETHER: &str = "ROLLBACK TO SAVEPOINT tidelock_apart; RELEASE SAVEPOINT tidelock_apart";

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
        let Some(replacement) = batch::replace(shape, writes, chosen, BYTES_MAX) else {
            return Ok(chosen.to_vec());
        };
        let (leave, come) = replacement.apart();
        let opened = self.client.batch_execute(APART).await;
        opened.map_err(|error| self.failed("set a savepoint", error))?;
        let mut kept_out = Vec::new();
        match self
            .try_steps(shape, &steps(shape, &replacement.writes, leave))
            .await?
        {
            Tried::Refused(_) => kept_out.extend(chosen),
            Tried::Done(_) => {
                for group in come {
                    let number = group.at[0];
                    let step = steps(shape, &replacement.writes, vec![group]);
                    if let Tried::Refused(_) = self.try_steps(shape, &step).await? {
                        kept_out.push(chosen[number]);
                    }
                }
            }
        }
        let undone = self.client.batch_execute(TOGETHER).await;
        undone.map_err(|error| self.failed("roll back to a savepoint", error))?;
        Ok(kept_out)
    }

    /// Writes these with every update as delete and insert, all or none of them. Were they written?
    pub(super) async fn replace(
        &mut self,
        shape: &Shape,
        writes: &[Write],
        chosen: &[usize],
    ) -> Result<bool> {
        let Some(replacement) = batch::replace(shape, writes, chosen, BYTES_MAX) else {
            return Ok(false);
        };
        let steps = steps(shape, &replacement.writes, replacement.groups);
        let Tried::Done(results) = self.try_steps(shape, &steps).await? else {
            return Ok(false);
        };
        refuse_vanished(&steps, &results)?;
        Ok(true)
    }
}
