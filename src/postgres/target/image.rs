//! Images in one PostgreSQL session: filled beside the tables, then swapped in by the open transaction.
//!
//! Owns: [`Target::make_image`], [`Target::load_image`], [`Target::complete_image`], [`Target::swap`]. Refuses: deciding
//! what is in an image (see `seed::image`). Fails: what the data caused is definite, with the column or constraint and
//! without values; the rest as the target does.

use super::{Target, is_refusal, refusal};
use crate::error::{Error, Result};
use crate::model::round::Round;
use crate::plan::Load;
use crate::plan::image::Image;
use crate::postgres::{round, sql};
use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;

impl Target {
    /// An empty one, for the time of this session.
    pub async fn make_image(&mut self, image: &Image) -> Result<()> {
        let made = self.client.batch_execute(&sql::image::make(image)).await;
        made.map_err(|error| self.unfit("make an image of the table", error, image))
    }

    /// Adds these cells of all rows.
    pub async fn load_image(&mut self, image: &Image, cells: &[usize], load: Load<'_>) -> Result<()> {
        let doing = "fill the image of the table";
        let Load::Lines(lines) = load else {
            return Err(Error::bug(doing)
                .table(&image.shape.table.id)
                .why("a row lacks a cell"));
        };
        let sql = sql::load(&image.image, cells, lines.is_binary);
        let statement = self.statement(doing, &sql).await?;
        let filled = async {
            let mut sink = pin!(self.client.copy_in::<_, Bytes>(&statement).await?);
            for block in &lines.blocks {
                sink.feed(block.clone()).await?;
            }
            sink.finish().await.map(|_| ())
        };
        let filled: Result<(), tokio_postgres::Error> = filled.await;
        filled.map_err(|error| self.unfit(doing, error, image))
    }

    /// All rows are in it.
    pub async fn complete_image(&mut self, image: &Image) -> Result<()> {
        let complete = self.client.batch_execute(&sql::image::complete(image)).await;
        complete.map_err(|error| self.unfit("order the image of the table", error, image))
    }

    /// In the open transaction: the table becomes the image. Returns how many rows were written.
    pub async fn swap(&mut self, image: &Image) -> Result<u64> {
        let doing = "make the table equal to its image";
        let begun = self.client.batch_execute(&sql::image::begin(image)).await;
        begun.map_err(|error| self.unfit(doing, error, image))?;
        let statements = match image.is_keyed {
            true => [
                Some(sql::image::delete(image)),
                sql::image::update(image),
                Some(sql::image::insert(image)),
            ],
            false => {
                let differs = self.client.query_one(&sql::image::differs(image), &[]).await;
                let differs = differs.and_then(|row| row.try_get(0));
                if !differs.map_err(|error| self.unfit(doing, error, image))? {
                    return Ok(0);
                }
                let empty = sql::empty(&image.shape.table.id);
                [Some(empty), None, Some(sql::image::insert_all(image))]
            }
        };
        let mut written = 0;
        for statement in statements.into_iter().flatten() {
            let rows = self.client.execute(&statement, &[]).await;
            written += rows.map_err(|error| self.unfit(doing, error, image))?;
        }
        Ok(written)
    }

    /// In the open transaction, which ends the round.
    pub async fn note_round(&mut self, (sync, link): (&str, &str), round: &Round) -> Result<()> {
        let values = round::Values::new(round)?;
        self.query(
            "note a round of a link",
            round::NOTE,
            &values.parameters(&sync, &link),
        )
        .await
        .map(|_| ())
    }

    fn unfit(&self, doing: &str, error: tokio_postgres::Error, image: &Image) -> Error {
        let table = &image.shape.table.id;
        match is_refusal(&error) {
            true => Error::definite(doing)
                .node(&self.node)
                .table(table)
                .why(refusal(&error))
                .hint(crate::plan::image::UNFIT),
            false => self.failed(doing, error).table(table),
        }
    }
}
