//! Images in one MySQL or MariaDB session: filled beside the tables, then swapped in by the open transaction.
//!
//! Owns: [`Target::make_image`], [`Target::load_image`], [`Target::complete_image`], [`Target::swap`]. Refuses: deciding
//! what is in an image (see `seed::image`). Fails: what the data caused is definite, with the column or key and without
//! values; the rest as the target does.

use super::{Target, is_refusal, is_unique, unique_name, without_value};
use crate::batch;
use crate::error::{Error, Result};
use crate::model::round::Round;
use crate::model::value::Row;
use crate::mysql::{round, sql};
use crate::plan::Load;
use crate::plan::image::Image;

impl Target {
    /// An empty one, for the time of this session.
    pub async fn make_image(&mut self, image: &Image) -> Result<()> {
        let sql = sql::image::make(image);
        match self.packet(&[sql.as_bytes()]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.unfit("make an image of the table", error, image)),
        }
    }

    /// Adds these cells of all rows.
    pub async fn load_image(&mut self, image: &Image, cells: &[usize], load: Load<'_>) -> Result<()> {
        let doing = "fill the image of the table";
        let Load::Rows(rows, places) = load else {
            return Err(Error::bug(doing)
                .table(&image.shape.table.id)
                .why("the rows are another engine's"));
        };
        for range in batch::cut(rows, self.bytes_max(), Row::bytes) {
            let sql = sql::load(&image.image, cells, (&rows[range], places));
            if sql.len() > self.packet_max {
                let hint = "SET GLOBAL max_allowed_packet = 1073741824, the same in my.cnf, and restart tidelock run";
                return Err(Error::definite(doing)
                    .node(&self.node)
                    .table(&image.shape.table.id)
                    .why("as a statement a row is larger than max_allowed_packet")
                    .hint(hint));
            }
            if let Err(error) = self.packet(&[&sql]).await {
                return Err(self.unfit(doing, error, image));
            }
        }
        Ok(())
    }

    /// Its key was there from the beginning.
    #[expect(clippy::unused_async, reason = "a twin of PostgreSQL's")]
    pub async fn complete_image(&mut self, _image: &Image) -> Result<()> {
        Ok(())
    }

    /// In the open transaction: the table becomes the image. Returns how many rows were written.
    pub async fn swap(&mut self, image: &Image) -> Result<u64> {
        let doing = "make the table equal to its image";
        let statements = match image.is_keyed {
            true => [
                Some(sql::image::delete(image)),
                sql::image::update(image),
                Some(sql::image::insert(image)),
            ],
            false => {
                match self.packet(&[sql::image::differs(image).as_bytes()]).await {
                    Ok(outcomes) if outcomes.iter().all(|outcome| outcome.rows == 0) => return Ok(0),
                    Ok(_) => {}
                    Err(error) => return Err(self.unfit(doing, error, image)),
                }
                let empty = String::from_utf8_lossy(&sql::empty(&image.shape.table.id)).into_owned();
                [Some(empty), None, Some(sql::image::insert_all(image))]
            }
        };
        let mut written = 0;
        for statement in statements.into_iter().flatten() {
            match self.packet(&[statement.as_bytes()]).await {
                Ok(outcomes) => written += outcomes.iter().map(|outcome| outcome.found).sum::<u64>(),
                Err(error) => return Err(self.unfit(doing, error, image)),
            }
        }
        Ok(written)
    }

    /// In the open transaction, which ends the round.
    pub async fn note_round(&mut self, link: (&str, &str), round: &Round) -> Result<()> {
        let values = round::values(link, round)?;
        self.chunk_statement("note a round of a link", round::NOTE, values)
            .await
    }

    fn unfit(&mut self, doing: &str, error: mysql_async::Error, image: &Image) -> Error {
        let table = &image.shape.table.id;
        let mysql_async::Error::Server(refused) = &error else {
            return self.failed(doing, error).table(table);
        };
        if !is_refusal(refused) {
            return self.failed(doing, error).table(table);
        }
        let why = match is_unique(refused) {
            // The image's key bears no name of the user's.
            true => format!(
                "two rows have one value of key {:?}",
                unique_name(&refused.message, &table.name)
            ),
            false => without_value(&refused.message),
        };
        let refused = Error::definite(doing).table(table).why(why);
        self.broken(refused.hint(crate::plan::image::UNFIT))
    }
}
