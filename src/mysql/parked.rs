//! What waits on one MySQL or MariaDB server, for those who are not the link that parked it.
//!
//! Owns: counting `tidelock.parked` for `status`; reading and dropping `tidelock.missed_bump` for the link that touches.
//! Refuses: deciding anything. A server of an older version answers with empty results.

use super::fail;
use super::sql::parked as sql;
use super::target::take;
use crate::error::{Error, Result};
use crate::model::parked::{MissedBump, ParkedKey};
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, params};
use std::collections::BTreeMap;

async fn is_there(conn: &mut Conn) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM information_schema.tables
                WHERE table_schema = 'tidelock' AND table_name = 'missed_bump'";
    let count: Option<u64> = conn
        .query_first(sql)
        .await
        .map_err(|error| fail("look for changes that wait", error))?;
    Ok(count == Some(1))
}

/// How many changes of a link wait, by why they do.
pub async fn counts(conn: &mut Conn, sync: &str, link: &str) -> Result<BTreeMap<String, u64>> {
    if !is_there(conn).await? {
        return Ok(BTreeMap::new());
    }
    let sql = "SELECT kind, COUNT(*) FROM tidelock.parked WHERE sync = :sync AND link = :link GROUP BY 1";
    let rows: Result<Vec<(String, u64)>, _> = conn.exec(sql, params! { sync, link }).await;
    let rows = rows.map_err(|error| fail("count changes that wait", error))?;
    Ok(rows.into_iter().collect())
}

/// What a link has noted, at most so many, oldest first.
pub async fn noted_bumps(conn: &mut Conn, sync: &str, link: &str, limit: usize) -> Result<Vec<MissedBump>> {
    if !is_there(conn).await? {
        return Ok(Vec::new());
    }
    let doing = "read missed bumps";
    let rows: Result<Vec<Row>, _> = conn.query(sql::noted_bumps(sync, link, limit)).await;
    let rows = rows.map_err(|error| fail(doing, error))?;
    let unknown = || Error::definite(doing).why("a row of tidelock.missed_bump is of another version");
    rows.into_iter()
        .map(|mut row| bump(&mut row).ok_or_else(unknown))
        .collect()
}

fn bump(row: &mut Row) -> Option<MissedBump> {
    let table = TableId::new(take::<String>(row, 0)?, take::<String>(row, 1)?);
    Some(MissedBump {
        at: ParkedKey::parse(table, &take::<String>(row, 2)?)?,
        key_cells: take(row, 3)?,
        standing: Stamp::parse(&take::<String>(row, 4)?)?,
        stamp: Stamp::parse(&take::<String>(row, 5)?)?,
        position: take(row, 6)?,
    })
}

/// Everything noted so far is in this server's log up to there.
pub async fn locate_bumps(conn: &mut Conn, sync: &str, link: &str, position: &str) -> Result<()> {
    conn.query_drop(sql::locate_bumps(sync, link, position))
        .await
        .map_err(|error| fail("note where the log ends", error))
}

/// Not one that was noted anew meanwhile.
pub async fn drop_bumps(conn: &mut Conn, sync: &str, link: &str, bumps: &[MissedBump]) -> Result<()> {
    conn.query_drop(sql::drop_bumps(sync, link, bumps))
        .await
        .map_err(|error| fail("drop missed bumps", error))
}
