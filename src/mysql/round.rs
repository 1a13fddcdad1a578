//! The last round of links that run in rounds, as one MySQL or MariaDB server keeps it.
//!
//! Owns: reading and writing `tidelock.round`. Refuses: deciding when the next one is due (see `model::round`). A server of
//! an older version answers that there was none.

use super::fail;
use crate::error::{Error, Result};
use crate::model::round::Round;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, params};

const DOING: &str = "read the last round of a link";

pub(super) const NOTE: &str = "REPLACE INTO tidelock.round (sync, link, began_at, took_ms, position, source_at, tables) \
    VALUES (:sync, :link, NOW(6) - INTERVAL (:took_ms * 1000) MICROSECOND, :took_ms, :position, \
    TIMESTAMP'1970-01-01 00:00:00' + INTERVAL :source_us MICROSECOND, :tables)";

/// began, age, took, position, the source's time, tables
type Stored = (i64, i64, i64, String, i64, String);

pub async fn last(conn: &mut Conn, sync: &str, link: &str) -> Result<Option<Round>> {
    let there = "SELECT COUNT(*) FROM information_schema.tables
                  WHERE table_schema = 'tidelock' AND table_name = 'round'";
    let there: Option<u64> = conn
        .query_first(there)
        .await
        .map_err(|error| fail(DOING, error))?;
    if there != Some(1) {
        return Ok(None);
    }
    let read = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', began_at),
                       TIMESTAMPDIFF(MICROSECOND, began_at, NOW(6)) DIV 1000,
                       took_ms, position, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', source_at), tables
                  FROM tidelock.round WHERE sync = :sync AND link = :link";
    let row: Option<Stored> = conn
        .exec_first(read, params! { sync, link })
        .await
        .map_err(|error| fail(DOING, error))?;
    let Some((began_us, age_ms, took_ms, position, source_us, tables)) = row else {
        return Ok(None);
    };
    Ok(Some(Round {
        began_us,
        age_ms: age_ms.max(0).unsigned_abs(),
        took_ms: took_ms.unsigned_abs(),
        position,
        source_us,
        tables: serde_json::from_str(&tables).map_err(|error| Error::definite(DOING).because(error))?,
    }))
}

/// In a transaction of its own; that of an image is noted by its target.
pub async fn note(conn: &mut Conn, link: (&str, &str), round: &Round) -> Result<()> {
    let values = values(link, round)?;
    let noted = conn.exec_drop(NOTE, values).await;
    noted.map_err(|error| fail("note a round of a link", error))
}

/// A round's cells as parameters.
pub(super) fn values((sync, link): (&str, &str), round: &Round) -> Result<Params> {
    let tables = serde_json::to_string(&round.tables);
    let tables = tables.map_err(|error| Error::bug("note a round of a link").because(error))?;
    let (took_ms, source_us) = (round.took_ms, round.source_us);
    let position = &round.position;
    Ok(params! { sync, link, took_ms, position, source_us, tables })
}
