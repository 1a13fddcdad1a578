//! The last round of links that run in rounds, as one PostgreSQL database keeps it.
//!
//! Owns: reading and writing `tidelock.round`. Refuses: deciding when the next one is due (see `model::round`). A database
//! of an older version answers that there was none.

use super::fail;
use crate::error::{Error, Result};
use crate::model::round::{Imaged, Round};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

const DOING: &str = "read the last round of a link";

/// Parameters: sync, link, how long it took, position, the source's time, tables.
pub(super) const NOTE: &str = "INSERT INTO tidelock.round (sync, link, began_at, took_ms, position, source_at, tables) \
    VALUES ($1, $2, clock_timestamp() - $3::int8 * interval '1 millisecond', $3, $4, \
    timestamptz 'epoch' + $5::int8 * interval '1 microsecond', $6) \
    ON CONFLICT (sync, link) DO UPDATE SET began_at = excluded.began_at, took_ms = excluded.took_ms, \
    position = excluded.position, source_at = excluded.source_at, tables = excluded.tables";

pub async fn last(client: &Client, sync: &str, link: &str) -> Result<Option<Round>> {
    let wrong = |error| fail(DOING, error);
    let there = "SELECT to_regclass('tidelock.round') IS NOT NULL";
    let there = client.query_one(there, &[]).await;
    if !there.and_then(|row| row.try_get::<_, bool>(0)).map_err(wrong)? {
        return Ok(None);
    }
    let read = "SELECT (extract(epoch FROM began_at) * 1000000)::bigint,
                       (extract(epoch FROM clock_timestamp() - began_at) * 1000)::bigint,
                       took_ms, position, (extract(epoch FROM source_at) * 1000000)::bigint, tables
                  FROM tidelock.round WHERE sync = $1 AND link = $2";
    let row = client.query_opt(read, &[&sync, &link]).await.map_err(wrong)?;
    row.map(|row| one(&row)).transpose()
}

fn one(row: &Row) -> Result<Round> {
    let wrong = |error| fail(DOING, error);
    let number = |place| row.try_get::<_, i64>(place).map_err(wrong);
    let tables: &str = row.try_get(5).map_err(wrong)?;
    Ok(Round {
        began_us: number(0)?,
        age_ms: number(1)?.max(0).unsigned_abs(),
        took_ms: number(2)?.unsigned_abs(),
        position: row.try_get(3).map_err(wrong)?,
        source_us: number(4)?,
        tables: imaged(tables)?,
    })
}

fn imaged(tables: &str) -> Result<Vec<Imaged>> {
    serde_json::from_str(tables).map_err(|error| Error::definite(DOING).because(error))
}

/// In a transaction of its own; that of an image is noted by its target.
pub async fn note(client: &Client, (sync, link): (&str, &str), round: &Round) -> Result<()> {
    let doing = "note a round of a link";
    let values = Values::new(round)?;
    let noted = client.execute(NOTE, &values.parameters(&sync, &link)).await;
    noted.map(|_| ()).map_err(|error| fail(doing, error))
}

/// A round's cells as parameters.
pub(super) struct Values<'a> {
    took_ms: i64,
    position: &'a str,
    source_us: i64,
    tables: String,
}

impl<'a> Values<'a> {
    pub(super) fn new(round: &'a Round) -> Result<Values<'a>> {
        let tables = serde_json::to_string(&round.tables);
        Ok(Values {
            took_ms: i64::try_from(round.took_ms).unwrap_or(i64::MAX),
            position: &round.position,
            source_us: round.source_us,
            tables: tables.map_err(|error| Error::bug("note a round of a link").because(error))?,
        })
    }

    pub(super) fn parameters<'b>(
        &'b self,
        sync: &'b &'b str,
        link: &'b &'b str,
    ) -> [&'b (dyn ToSql + Sync); 6] {
        [
            sync,
            link,
            &self.took_ms,
            &self.position,
            &self.source_us,
            &self.tables,
        ]
    }
}
