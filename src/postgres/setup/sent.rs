//! Partitions that rows were sent of: what the log tells of them, against what the catalogs say when it is read.
//!
//! pgoutput sends a partition's rows as those of its table, but describes the partition itself before its first row, and
//! again after whatever altered it in the same transaction. Its TRUNCATE and DROP are not sent. So one that is made,
//! filled and emptied between two looks at the catalogs is told by this alone.
//!
//! Owns: noting it in `tidelock.published` so that the next look (see `published`) finds the difference and the run
//! stops. Refuses: what was accepted, which is all that was over when the table's own record was made.
//!
//! - **Gone**: it had rows, and is none of the table's partitions any more.
//! - **Made by the transaction that filled it**: a TRUNCATE there empties it in place and leaves no new file. It is empty
//!   now, or it was described again between its rows.
//! - **Never looked at**: its file is not its first one.
//!
//! What is left: one that is made, filled and truncated in a single transaction, and filled again by a later one before
//! the first is read. Fails: as the catalog does.

use super::published::{Member, Seen, is_after, write};
use super::state::{cell, rows};
use crate::error::Result;
use crate::model::schema::TableId;
use std::collections::HashSet;
use tokio_postgres::Client;

/// A partition as a transaction described it, with rows behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The table that it was a partition of.
    pub table: TableId,
    pub oid: u32,
    pub name: String,
    /// It was described again between rows.
    pub again: bool,
}

/// Partitions with rows that were attached before anything that is still to be read: nothing new can be told of them.
/// `None`: there is no record.
pub async fn known(client: &Client, sync: &str, slot: &str) -> Result<Option<HashSet<u32>>> {
    let is_there = "SELECT to_regclass('tidelock.published') IS NOT NULL";
    match rows(client, is_there, &[]).await?.first() {
        Some(row) if cell(row, 0)? => {}
        _ => return Ok(None),
    }
    let sql = "SELECT p.member FROM tidelock.published p JOIN pg_replication_slots s ON s.slot_name = $2
                WHERE p.sync = $1 AND p.filled
                  AND CASE WHEN p.parent <> 0 AND p.entry ~ '^[0-9]+$'
                           THEN age(p.entry::xid) > age(s.catalog_xmin) ELSE false END";
    let found = rows(client, sql, &[&sync, &slot]).await?;
    let members: Result<HashSet<u32>> = found.iter().map(|row| cell(row, 0)).collect();
    members.map(Some)
}

/// To be called when the transaction `xid` has been read whole.
pub async fn note(client: &Client, sync: &str, xid: u32, sent: &[Sent]) -> Result<()> {
    let mut tables: Vec<TableId> = sent.iter().map(|sent| sent.table.clone()).collect();
    tables.sort();
    tables.dedup();
    let seen = Seen::read(client, sync, &tables).await?;
    let mut news: Vec<Member> = Vec::new();
    for sent in sent {
        let own = seen
            .recorded
            .values()
            .find(|own| own.parent == 0 && own.table == sent.table);
        if let Some(own) = own
            && !was_over(client, xid, own.horizon).await?
        {
            news.extend(judge(&seen, own, xid, sent));
        }
    }
    write(client, sync, &news.iter().collect::<Vec<_>>(), &[]).await
}

/// What the record has to say of the partition from now on; `None`: what it says.
fn judge(seen: &Seen, own: &Member, xid: u32, sent: &Sent) -> Option<Member> {
    let was = seen.recorded.get(&sent.oid);
    let now = seen
        .now
        .iter()
        .find(|now| now.oid == sent.oid && now.table == sent.table);
    let Some(now) = now else {
        let unknown = Member {
            table: sent.table.clone(),
            oid: sent.oid,
            name: sent.name.clone(),
            parent: own.oid,
            entry: String::new(),
            born: false,
            filenode: 0,
            filled: true,
            bound: String::new(),
            horizon: 0,
        };
        return Some(was.map_or(unknown, filled));
    };
    let is_young = now.entry.parse().is_ok_and(|made: u32| is_after(made, xid));
    let is_lost = (is_young && (sent.again || !now.filled))
        || (was.is_none() && seen.is_born(now) && !now.is_in_first_file());
    if is_lost {
        // Of a file that no partition has, and without a row that is old enough: it counts as emptied.
        return Some(Member {
            filenode: 0,
            filled: true,
            horizon: 0,
            ..now.clone()
        });
    }
    match was {
        Some(was) if was.filled => None,
        Some(was) => Some(filled(was)),
        // With which rows it was attached is for the next look to judge.
        None => seen.is_born(now).then(|| filled(now)),
    }
}

fn filled(member: &Member) -> Member {
    Member {
        filled: true,
        ..member.clone()
    }
}

/// Was the transaction over when what has this horizon was looked at?
async fn was_over(client: &Client, xid: u32, horizon: i64) -> Result<bool> {
    let sql = "SELECT age($1::text::xid)::bigint > pg_snapshot_xmax(pg_current_snapshot())::text::bigint - $2::bigint";
    let found = rows(client, sql, &[&xid.to_string(), &horizon]).await?;
    found.first().map_or(Ok(false), |row| cell(row, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_numbers_go_round() {
        for (a, b, after) in [
            (5, 5, true),
            (6, 5, true),
            (4, 5, false),
            (3, u32::MAX - 2, true),
            (u32::MAX - 2, 3, false),
        ] {
            assert_eq!(is_after(a, b), after, "{a} {b}");
        }
    }
}
