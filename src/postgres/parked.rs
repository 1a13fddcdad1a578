//! What waits in one PostgreSQL database, for those who are not the link that parked it.
//!
//! Owns: counting `tidelock.parked` for `status`; reading and dropping `tidelock.missed_bump` for the link that touches.
//! Refuses: deciding anything. A database of an older version answers with empty results.

use super::fail;
use crate::error::{Error, Result};
use crate::model::parked::{MissedBump, ParkedKey};
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Row};

async fn is_there(client: &Client) -> Result<bool> {
    let doing = "look for changes that wait";
    let sql = "SELECT to_regclass('tidelock.parked') IS NOT NULL";
    let row = client.query_one(sql, &[]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(|error| fail(doing, error))
}

/// How many changes of a link wait, by why they do.
pub async fn counts(client: &Client, sync: &str, link: &str) -> Result<BTreeMap<String, u64>> {
    if !is_there(client).await? {
        return Ok(BTreeMap::new());
    }
    let wrong = |error| fail("count changes that wait", error);
    let sql = "SELECT kind, count(*) FROM tidelock.parked WHERE sync = $1 AND link = $2 GROUP BY 1";
    let rows = client.query(sql, &[&sync, &link]).await.map_err(wrong)?;
    let one = |row: &Row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()));
    rows.iter().map(|row| one(row).map_err(wrong)).collect()
}

/// What a link has noted, at most so many, oldest first.
pub async fn noted_bumps(client: &Client, sync: &str, link: &str, limit: usize) -> Result<Vec<MissedBump>> {
    if !is_there(client).await? {
        return Ok(Vec::new());
    }
    let doing = "read missed bumps";
    let sql = "SELECT schema_name, table_name, key_hash, key_cells, standing, stamp, position
                 FROM tidelock.missed_bump WHERE sync = $1 AND link = $2 ORDER BY noted_at LIMIT $3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(sql, &[&sync, &link, &limit]).await;
    let rows = rows.map_err(|error| fail(doing, error))?;
    let one = |row: &Row| -> Result<Option<MissedBump>, tokio_postgres::Error> {
        let table = TableId::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let at = ParkedKey::parse(table, row.try_get(2)?);
        let stamps = (Stamp::parse(row.try_get(4)?), Stamp::parse(row.try_get(5)?));
        let (Some(at), (Some(standing), Some(stamp))) = (at, stamps) else {
            return Ok(None);
        };
        let (key_cells, position) = (row.try_get(3)?, row.try_get(6)?);
        Ok(Some(MissedBump {
            at,
            key_cells,
            standing,
            stamp,
            position,
        }))
    };
    rows.iter()
        .map(|row| {
            let bump = one(row).map_err(|error| fail(doing, error))?;
            bump.ok_or_else(|| {
                Error::definite(doing).why("a row of tidelock.missed_bump is of another version")
            })
        })
        .collect()
}

/// Everything noted so far is in this database's log up to there.
pub async fn locate_bumps(client: &Client, sync: &str, link: &str, position: &str) -> Result<()> {
    let sql =
        "UPDATE tidelock.missed_bump SET position = $3 WHERE sync = $1 AND link = $2 AND position IS NULL";
    let done = client.execute(sql, &[&sync, &link, &position]).await;
    done.map(|_| ())
        .map_err(|error| fail("note where the log ends", error))
}

/// Not one that was noted anew meanwhile.
pub async fn drop_bumps(client: &Client, sync: &str, link: &str, bumps: &[MissedBump]) -> Result<()> {
    let sql = "DELETE FROM tidelock.missed_bump AS m
                USING unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) AS v(s, t, h, standing, stamp)
                WHERE m.sync = $1 AND m.link = $2 AND m.schema_name = v.s AND m.table_name = v.t AND m.key_hash = v.h
                  AND m.standing = v.standing AND m.stamp = v.stamp AND m.position IS NOT NULL";
    let of = |part: fn(&MissedBump) -> String| bumps.iter().map(part).collect::<Vec<String>>();
    let (schemas, names) = (
        of(|bump| bump.at.table.schema.clone()),
        of(|bump| bump.at.table.name.clone()),
    );
    let hashes = of(|bump| bump.at.digits());
    let (standing, stamps) = (
        of(|bump| bump.standing.to_string()),
        of(|bump| bump.stamp.to_string()),
    );
    let done = client
        .execute(
            sql,
            &[&sync, &link, &schemas, &names, &hashes, &standing, &stamps],
        )
        .await;
    done.map(|_| ()).map_err(|error| fail("drop missed bumps", error))
}
