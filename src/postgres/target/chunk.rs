//! How far a copy is, as one PostgreSQL database keeps it: written in the transactions of the copy.
//!
//! Owns: the statements that write `tidelock.chunk`, and the lanes in which chunks are copied side by side. Refuses:
//! deciding what is copied when (see `seed`). Fails: as the target does; a chunk that is not there, or done already, is
//! another copy's.

use super::Target;
use crate::chunk::{Chunk, to_json};
use crate::error::{Error, Reason, Result};
use crate::model::sync::Lane;

const FORGET: &str = "DELETE FROM tidelock.chunk WHERE sync = $1 AND link = $2";

const PLAN: &str = "INSERT INTO tidelock.chunk (sync, link, schema_name, table_name, number, low_key, high_key, \
    estimated_rows, estimated_bytes) SELECT $1, $2, v.* FROM unnest($3::text[], $4::text[], $5::int8[], $6::text[], \
    $7::text[], $8::int8[], $9::int8[]) AS v";

const DONE: &str = "UPDATE tidelock.chunk SET state = 'done', epoch = $6, copied_rows = $7, copied_bytes = $8, \
    done_at = clock_timestamp() WHERE sync = $1 AND link = $2 AND schema_name = $3 AND table_name = $4 \
    AND number = $5 AND state = 'open' RETURNING 1";

/// Beside the link's first lane, and of its epoch.
const OPEN_LANES: &str = "INSERT INTO tidelock.checkpoint (sync, link, lane, epoch, seq, position, settle, origin, hop, \
    segment, segment_number, config_hash, source_identity) SELECT sync, link, n, epoch, $4, position, NULL, origin, \
    hop, segment, 0, config_hash, source_identity FROM tidelock.checkpoint, generate_series(1, $3::int2) AS n \
    WHERE sync = $1 AND link = $2 AND lane = 0 ON CONFLICT DO NOTHING";

const CLOSE_LANES: &str = "DELETE FROM tidelock.checkpoint WHERE sync = $1 AND link = $2 AND lane > 0";

/// None where the link is not of that epoch any more.
const LANES: &str = "SELECT lane, epoch, seq FROM tidelock.checkpoint AS c WHERE sync = $1 AND link = $2 AND lane > 0 \
    AND EXISTS (SELECT FROM tidelock.checkpoint AS f WHERE f.sync = c.sync AND f.link = c.link AND f.lane = 0 \
    AND f.epoch = $3) ORDER BY lane";

impl Target {
    /// In the open transaction: these are to be copied, and with `anew` no others.
    pub async fn plan_chunks(&mut self, link: (&str, &str), chunks: &[Chunk], anew: bool) -> Result<()> {
        let (doing, (sync, link)) = ("note the chunks of a copy", link);
        if anew {
            self.query(doing, FORGET, &[&sync, &link]).await?;
        }
        let text = |of: fn(&Chunk) -> &str| chunks.iter().map(of).collect::<Vec<&str>>();
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let low: Vec<Option<String>> = chunks.iter().map(|c| c.range.low.as_ref().map(to_json)).collect();
        let high: Vec<Option<String>> = chunks
            .iter()
            .map(|c| c.range.high.as_ref().map(to_json))
            .collect();
        let numbers: Vec<i64> = chunks.iter().map(|chunk| chunk.number).collect();
        let rows: Vec<Option<i64>> = chunks.iter().map(|c| c.estimated_rows.map(number)).collect();
        let bytes: Vec<i64> = chunks.iter().map(|c| number(c.estimated_bytes)).collect();
        let (schemas, names) = (text(|chunk| &chunk.table.schema), text(|chunk| &chunk.table.name));
        self.query(
            doing,
            PLAN,
            &[
                &sync, &link, &schemas, &names, &numbers, &low, &high, &rows, &bytes,
            ],
        )
        .await
        .map(|_| ())
    }

    /// In the open transaction, which has written its rows: the chunk is done.
    pub async fn chunk_done(&mut self, link: (&str, &str), epoch: i64, chunk: &Chunk) -> Result<()> {
        let (doing, (sync, link)) = ("note that a chunk is done", link);
        let (schema, name) = (&chunk.table.schema, &chunk.table.name);
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (rows, bytes) = (number(chunk.copied_rows), number(chunk.copied_bytes));
        let done = self
            .query(
                doing,
                DONE,
                &[&sync, &link, schema, name, &chunk.number, &epoch, &rows, &bytes],
            )
            .await?;
        match done.len() {
            1 => Ok(()),
            _ => Err(Error::definite(doing)
                .node(&self.node)
                .table(&chunk.table)
                .reason(Reason::Fenced)
                .why("it is not open any more: another copy of the program has done it")),
        }
    }

    /// Makes so many lanes, as far as they are not there, each with this seq.
    pub async fn open_lanes(&mut self, link: (&str, &str), count: i16, seq: i64) -> Result<()> {
        let (sync, link) = link;
        self.query("open lanes for a copy", OPEN_LANES, &[&sync, &link, &count, &seq])
            .await
            .map(|_| ())
    }

    /// In the open transaction, which ends the copy: only the link's first lane stays.
    pub async fn close_lanes(&mut self, link: (&str, &str)) -> Result<()> {
        let (sync, link) = link;
        self.query("close the lanes of a copy", CLOSE_LANES, &[&sync, &link])
            .await
            .map(|_| ())
    }

    /// The lanes of a link that is still of this epoch.
    pub async fn lanes(&mut self, link: (&str, &str), epoch: i64) -> Result<Vec<Lane>> {
        let (doing, (sync, link)) = ("read the lanes of a copy", link);
        let rows = self.query(doing, LANES, &[&sync, &link, &epoch]).await?;
        let lane = |row: &tokio_postgres::Row| -> Result<Lane, tokio_postgres::Error> {
            Ok(Lane {
                number: row.try_get::<_, i16>(0)?.unsigned_abs(),
                epoch: row.try_get(1)?,
                seq: row.try_get(2)?,
            })
        };
        let lanes = rows
            .iter()
            .map(|row| lane(row).map_err(|error| self.failed(doing, error)));
        lanes.collect()
    }
}
