//! The end of the binlog, its files, and how far a position is behind it.
//!
//! A GTID set says nothing of bytes. The header of each file says which transactions stand before it, so the file
//! that holds a position is found by asking from the newest backwards; within it, bytes are estimated by the
//! share of its transactions. Refuses: writing. Needs the right to ask for binary logs, as the source does.

use super::source::{current_position, server_id};
use super::sql::quote_text;
use super::{Flavor, fail, flavor};
use crate::error::{Error, Result};
use crate::model::log::{Distance, Files, LogEnd, Place};
use crate::model::position::{GtidSet, Position};
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn, Row};
use std::time::Duration;

const DOING: &str = "read where the binlog ends";
/// A header is looked for among the first events: format, perhaps encryption, and the list.
const HEADER_EVENTS: u32 = 4;
/// The first event of a file comes at once, or is not worth waiting for.
const FIRST_EVENT_MAX: Duration = Duration::from_secs(5);

pub async fn end(conn: &mut Conn) -> Result<LogEnd> {
    let flavor = flavor(conn).await?;
    // The place first: whoever has the position, which is read later, has passed the place.
    let (file, offset) = place(conn).await?;
    let position = current_position(conn, flavor).await?;
    let sql = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))";
    let now_us: Option<i64> = conn.query_first(sql).await.map_err(|error| fail(DOING, error))?;
    Ok(LogEnd {
        position,
        place: Place::Binlog { file, offset },
        now_us: now_us.unwrap_or_default(),
    })
}

async fn place(conn: &mut Conn) -> Result<(String, u64)> {
    let row: Option<Row> = match conn.query_first("SHOW BINARY LOG STATUS").await {
        // MariaDB knows the old name only.
        Err(mysql_async::Error::Server(error)) if error.code == 1064 => {
            conn.query_first("SHOW MASTER STATUS").await
        }
        other => other,
    }
    .map_err(|error| fail(DOING, error))?;
    let cells = row.and_then(|mut row| Some((row.take(0)?, row.take(1)?)));
    cells.ok_or_else(|| {
        Error::definite(DOING)
            .why("the server has no binlog")
            .hint("start the server with --log-bin")
    })
}

pub async fn files(conn: &mut Conn) -> Result<Files> {
    let doing = "list the binlog's files";
    let rows: Vec<Row> = conn
        .query("SHOW BINARY LOGS")
        .await
        .map_err(|error| fail(doing, error))?;
    let files = rows.into_iter().map(|mut row| Some((row.take(0)?, row.take(1)?)));
    let files: Option<Vec<(String, u64)>> = files.collect();
    files
        .map(Files)
        .ok_or_else(|| Error::bug(doing).why("a column is missing"))
}

pub async fn bytes(conn: &mut Conn, from: &Place, to: &Place) -> Result<u64> {
    let (
        Place::Binlog { file, offset },
        Place::Binlog {
            file: to_file,
            offset: to_offset,
        },
    ) = (from, to)
    else {
        return Err(Error::bug("measure the binlog").why("the place is not one of a binlog"));
    };
    if file == to_file {
        return Ok(to_offset.saturating_sub(*offset));
    }
    Ok(files(conn).await?.between((file, *offset), (to_file, *to_offset)))
}

/// The file in which a position lies, and how much follows.
pub(super) struct Found {
    /// Oldest first.
    pub(super) files: Files,
    /// Index of the oldest file that is still needed.
    pub(super) needed: usize,
    pub(super) distance: Distance,
}

pub async fn distance(conn: &mut Conn, from: &Position) -> Result<Distance> {
    Ok(find(conn, from).await?.distance)
}

pub(super) async fn find(conn: &mut Conn, from: &Position) -> Result<Found> {
    let flavor = flavor(conn).await?;
    let (file, offset) = place(conn).await?;
    let files = files(conn).await?;
    if let Position::File(from) = from {
        let bytes = files.between((from.file(), from.offset), (&file, offset));
        let needed = files
            .0
            .iter()
            .position(|(name, _)| name == from.file())
            .unwrap_or(0);
        let distance = Distance {
            bytes,
            is_estimate: false,
        };
        return Ok(Found {
            files,
            needed,
            distance,
        });
    }
    let mut next = current_position(conn, flavor).await?;
    let mut needed = files.0.iter().position(|(name, _)| *name == file).unwrap_or(0);
    let (mut size, mut after) = (offset, 0);
    let sure = |bytes| Distance {
        bytes,
        is_estimate: false,
    };
    if from.covers(&next).unwrap_or(false) {
        let distance = sure(0);
        return Ok(Found {
            files,
            needed,
            distance,
        });
    }
    loop {
        let before = header(conn, &files.0[needed].0, flavor).await?;
        if from.covers(&before).unwrap_or(false) {
            let (missing, all) = (missing(from, &next), missing(&before, &next).max(1));
            let share = u128::from(size) * u128::from(missing.min(all)) / u128::from(all);
            let distance = Distance {
                bytes: after + u64::try_from(share).unwrap_or(size),
                is_estimate: missing < all,
            };
            return Ok(Found {
                files,
                needed,
                distance,
            });
        }
        after += size;
        let Some(older) = needed.checked_sub(1) else {
            // What comes next is purged: at least all that is left.
            return Ok(Found {
                files,
                needed,
                distance: sure(after),
            });
        };
        (needed, next) = (older, before);
        size = files.0[needed].1;
    }
}

/// When a file was begun (and so the one before it written last), in seconds since 1970: its first event says so.
/// On a connection of its own, which turns into a dump.
pub(super) async fn began(conn: &Conn, file: &str) -> Result<Option<u64>> {
    let doing = format!("read when binlog {file} began");
    // The way to TLS was that one session's (`mysql::relay`).
    if conn.opts().socket().is_some_and(|path| path.starts_with('\0')) {
        return Ok(None);
    }
    let wrong = |error| fail(&*doing, error);
    let mut other = Conn::new(conn.opts().clone()).await.map_err(wrong)?;
    other
        .query_drop("SET @mariadb_slave_capability = 4")
        .await
        .map_err(wrong)?;
    let request = BinlogStreamRequest::new(server_id())
        .with_filename(file.as_bytes())
        .with_pos(4);
    let mut stream = other.get_binlog_stream(request).await.map_err(wrong)?;
    let first = async {
        while let Some(event) = stream.next().await {
            let timestamp = event.map_err(wrong)?.header().timestamp();
            // What the server makes up for the dump bears none.
            if timestamp > 0 {
                return Ok(Some(u64::from(timestamp)));
            }
        }
        Ok(None)
    };
    tokio::time::timeout(FIRST_EVENT_MAX, first)
        .await
        .unwrap_or(Ok(None))
}

/// What stands in the log before this file.
async fn header(conn: &mut Conn, file: &str, flavor: Flavor) -> Result<Position> {
    let doing = format!("read the header of binlog {file}");
    let name = quote_text(file);
    let rows: Vec<Row> = conn
        .query(format!("SHOW BINLOG EVENTS IN {name} LIMIT {HEADER_EVENTS}"))
        .await
        .map_err(|error| fail(&*doing, error))?;
    let wanted = match flavor {
        Flavor::Mysql => "Previous_gtids",
        Flavor::Mariadb => "Gtid_list",
    };
    for mut row in rows {
        let kind: Option<String> = row.take("Event_type");
        if kind.as_deref() == Some(wanted) {
            let text: String = row.take("Info").unwrap_or_default();
            let text = text.trim_matches(['[', ']']);
            let position = match flavor {
                Flavor::Mysql => text.parse().map(Position::Gtid),
                Flavor::Mariadb => text.parse().map(Position::MariaGtid),
            };
            return position.map_err(|error| Error::bug(doing).because(error));
        }
    }
    Err(Error::definite(doing).why(format!("it has no {wanted} event")))
}

/// Transactions of `end` that `have` lacks.
fn missing(have: &Position, end: &Position) -> u64 {
    match (have, end) {
        (Position::Gtid(have), Position::Gtid(end)) => end
            .iter()
            .flat_map(|(source, intervals)| intervals.iter().map(move |interval| (source, *interval)))
            .map(|(source, (low, high))| (high - low + 1).saturating_sub(common(have, source, (low, high))))
            .sum(),
        (Position::MariaGtid(have), Position::MariaGtid(end)) => end
            .domains()
            .map(|domain| {
                let last = end.sequence(domain).unwrap_or_default();
                last.saturating_sub(have.sequence(domain).unwrap_or_default())
            })
            .sum(),
        _ => 0,
    }
}

fn common(set: &GtidSet, source: &str, (low, high): (u64, u64)) -> u64 {
    let intervals = set.iter().filter(|(name, _)| *name == source);
    intervals
        .flat_map(|(_, intervals)| intervals)
        .map(|(from, to)| (high.min(*to) + 1).saturating_sub(low.max(*from)))
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn missing_transactions_are_counted_by_interval() {
        let set = |text: String| Position::Gtid(text.parse().unwrap());
        let end = set(format!("{A}:1-10:20-29,{B}:1-5"));
        assert_eq!(missing(&end, &end), 0);
        assert_eq!(missing(&set(String::new()), &end), 25);
        assert_eq!(missing(&set(format!("{A}:1-4:22-40")), &end), 6 + 2 + 5);
        let (have, end) = ("mariadb:0-1-5", "mariadb:0-2-9,3-1-2");
        assert_eq!(missing(&have.parse().unwrap(), &end.parse().unwrap()), 4 + 2);
    }
}
