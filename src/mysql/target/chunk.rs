//! How far a copy is, as one MySQL or MariaDB server keeps it: written in the transactions of the copy.
//!
//! Owns: the statements that write `tidelock.chunk`, and the lanes in which chunks are copied side by side. Refuses:
//! deciding what is copied when (see `seed`). Fails: as the target does; a chunk that is not there, or done already, is
//! another copy's.

use super::{Target, take};
use crate::batch;
use crate::chunk::{Bound, Chunk, to_json};
use crate::error::{Error, Reason, Result};
use crate::model::sync::Lane;
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value, params};

const FORGET: &str = "DELETE FROM tidelock.chunk WHERE sync = :sync AND link = :link";

const PLAN: &str = "INSERT INTO tidelock.chunk (sync, link, schema_name, table_name, number, low_key, high_key, \
    estimated_rows, estimated_bytes) VALUES ";

const DONE: &str = "UPDATE tidelock.chunk SET state = 'done', epoch = :epoch, copied_rows = :rows, \
    copied_bytes = :bytes, done_at = CURRENT_TIMESTAMP(6) WHERE sync = :sync AND link = :link \
    AND schema_name = :schema AND table_name = :name AND number = :number AND state = 'open'";

/// Beside the link's first lane, and of its epoch.
const OPEN_LANE: &str = "INSERT IGNORE INTO tidelock.checkpoint (sync, link, lane, epoch, seq, position, settle, origin, \
    hop, segment, segment_number, config_hash, source_identity) SELECT sync, link, :lane, epoch, :seq, position, NULL, \
    origin, hop, segment, 0, config_hash, source_identity FROM tidelock.checkpoint \
    WHERE sync = :sync AND link = :link AND lane = 0";

const CLOSE_LANES: &str = "DELETE FROM tidelock.checkpoint WHERE sync = :sync AND link = :link AND lane > 0";

/// None where the link is not of that epoch any more.
const LANES: &str = "SELECT c.lane, c.epoch, c.seq FROM tidelock.checkpoint AS c JOIN tidelock.checkpoint AS f \
    ON f.sync = c.sync AND f.link = c.link AND f.lane = 0 AND f.epoch = :epoch \
    WHERE c.sync = :sync AND c.link = :link AND c.lane > 0 ORDER BY c.lane";

impl Target {
    /// In the open transaction: these are to be copied, and with `anew` no others.
    pub async fn plan_chunks(&mut self, link: (&str, &str), chunks: &[Chunk], anew: bool) -> Result<()> {
        let (doing, (sync, link)) = ("note the chunks of a copy", link);
        if anew {
            self.chunk_statement(doing, FORGET, params! { sync, link })
                .await?;
        }
        let key = |bound: &Option<Bound>| Value::from(bound.as_ref().map(to_json));
        let bytes = |chunk: &Chunk| {
            let bounds = [&chunk.range.low, &chunk.range.high];
            bounds.into_iter().flatten().flatten().map(String::len).sum()
        };
        for range in batch::cut(chunks, self.bytes_max(), bytes) {
            let chunks = &chunks[range];
            let mut values: Vec<Value> = Vec::with_capacity(chunks.len() * 9);
            for chunk in chunks {
                let (schema, name) = (&chunk.table.schema, &chunk.table.name);
                values.extend([sync, link, schema.as_str(), name.as_str()].map(Value::from));
                values.extend([
                    Value::from(chunk.number),
                    key(&chunk.range.low),
                    key(&chunk.range.high),
                ]);
                values.extend([
                    Value::from(chunk.estimated_rows),
                    Value::from(chunk.estimated_bytes),
                ]);
            }
            let marks = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; chunks.len()].join(", ");
            self.chunk_statement(doing, &format!("{PLAN}{marks}"), Params::Positional(values))
                .await?;
        }
        Ok(())
    }

    /// In the open transaction, which has written its rows: the chunk is done.
    pub async fn chunk_done(&mut self, link: (&str, &str), epoch: i64, chunk: &Chunk) -> Result<()> {
        let (doing, (sync, link)) = ("note that a chunk is done", link);
        let values = params! {
            sync,
            link,
            epoch,
            "schema" => &chunk.table.schema,
            "name" => &chunk.table.name,
            "number" => chunk.number,
            "rows" => chunk.copied_rows,
            "bytes" => chunk.copied_bytes,
        };
        self.chunk_statement(doing, DONE, values).await?;
        match self.conn.affected_rows() {
            1 => Ok(()),
            _ => Err(self.broken(
                Error::definite(doing)
                    .table(&chunk.table)
                    .reason(Reason::Fenced)
                    .why("it is not open any more: another copy of the program has done it"),
            )),
        }
    }

    /// Makes so many lanes, as far as they are not there, each with this seq.
    pub async fn open_lanes(&mut self, link: (&str, &str), count: i16, seq: i64) -> Result<()> {
        let (sync, link) = link;
        for lane in 1..=count {
            let values = params! { sync, link, lane, seq };
            self.chunk_statement("open lanes for a copy", OPEN_LANE, values)
                .await?;
        }
        Ok(())
    }

    /// In the open transaction, which ends the copy: only the link's first lane stays.
    pub async fn close_lanes(&mut self, link: (&str, &str)) -> Result<()> {
        let (sync, link) = link;
        self.chunk_statement("close the lanes of a copy", CLOSE_LANES, params! { sync, link })
            .await
    }

    /// The lanes of a link that is still of this epoch.
    pub async fn lanes(&mut self, link: (&str, &str), epoch: i64) -> Result<Vec<Lane>> {
        let (doing, (sync, link)) = ("read the lanes of a copy", link);
        let rows: Vec<Row> = match self.conn.exec(LANES, params! { sync, link, epoch }).await {
            Ok(rows) => rows,
            Err(error) => return Err(self.failed(doing, error)),
        };
        let lane = |mut row: Row| {
            Some(Lane {
                number: take(&mut row, 0)?,
                epoch: take(&mut row, 1)?,
                seq: take(&mut row, 2)?,
            })
        };
        let lanes: Option<Vec<Lane>> = rows.into_iter().map(lane).collect();
        lanes.ok_or_else(|| Error::bug(doing).node(&self.node))
    }

    pub(super) async fn chunk_statement(
        &mut self,
        doing: &str,
        sql: &str,
        values: impl Into<Params> + Send,
    ) -> Result<()> {
        match self.conn.exec_drop(sql, values).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(doing, error)),
        }
    }
}
