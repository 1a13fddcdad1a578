//! The end of the write-ahead log, and how far a position is behind it.
//!
//! Flushed, not written: a walsender sends nothing that is not flushed.

use super::fail;
use crate::error::{Error, Result};
use crate::model::log::{Distance, LogEnd, Place};
use crate::model::position::{Position, parse_lsn};
use tokio_postgres::Client;

const DOING: &str = "read where the log ends";

pub async fn end(client: &Client) -> Result<LogEnd> {
    let sql =
        "SELECT pg_current_wal_flush_lsn()::text, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let wrong = |error| fail(DOING, error);
    let row = client.query_one(sql, &[]).await.map_err(wrong)?;
    let text: String = row.try_get(0).map_err(wrong)?;
    let lsn = parse_lsn(&text).ok_or_else(|| Error::bug(DOING).why(format!("{text:?} is no LSN")))?;
    Ok(LogEnd {
        position: Position::Lsn(lsn),
        place: Place::Lsn(lsn),
        now_us: row.try_get(1).map_err(wrong)?,
    })
}

pub fn bytes(from: &Place, to: &Place) -> Result<u64> {
    match (from, to) {
        (Place::Lsn(from), Place::Lsn(to)) => Ok(to.saturating_sub(*from)),
        (Place::Binlog { .. }, _) | (_, Place::Binlog { .. }) => Err(other_kind()),
    }
}

pub async fn distance(client: &Client, from: &Position) -> Result<Distance> {
    let Position::Lsn(from) = *from else {
        return Err(other_kind());
    };
    let to = end(client).await?.place;
    Ok(Distance {
        bytes: bytes(&Place::Lsn(from), &to)?,
        is_estimate: false,
    })
}

fn other_kind() -> Error {
    Error::bug("measure the log").why("the place is not one of PostgreSQL")
}
