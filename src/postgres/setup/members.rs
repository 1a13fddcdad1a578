//! Nodes that leave a sync, as this database has noted them.
//!
//! Owns: the statements by which a node begins to leave and by which it is gone from here, and reading who takes part.
//! Refuses: deciding when it may go (`cli::setup::leaving`). Fails: with what the server says; all of it may run again.

use super::state::{cell, rows};
use crate::error::Result;
use crate::install::literal;
use crate::model::stamp::Rank;
use crate::model::sync::{Departure, Member, Membership, slot_name};
use tokio_postgres::{Client, Row};

/// The control schema's version that brought them.
pub(super) const VERSION: i64 = 13;
/// What is kept of a link, by whatever wrote it.
const OF_LINKS: [&str; 9] = [
    "parked",
    "missed_bump",
    "held_table",
    "resync",
    "chunk",
    "out_of_sync",
    "stray_number",
    "link_state",
    "lease",
];

/// The nodes of a sync, those that left too; none before it is set up.
pub async fn all(client: &Client, sync: &str) -> Result<Vec<Member>> {
    let is_there = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attname = 'state'
                                    AND attrelid = to_regclass('tidelock.node'))";
    let found = rows(client, is_there, &[]).await?;
    if !found.first().map_or(Ok(false), |row| cell(row, 0))? {
        return Ok(Vec::new());
    }
    let sql =
        "SELECT name::text, rank, is_self, state::text FROM tidelock.node WHERE sync = $1 ORDER BY rank";
    let found = rows(client, sql, &[&sync]).await?;
    found.iter().map(|row| member(row, 0)).collect()
}

/// Of every sync, those that do not take part any more. `versions`: of the control schema.
pub(super) async fn gone(client: &Client, versions: &[i64]) -> Result<Vec<(String, Member)>> {
    if !versions.contains(&VERSION) {
        return Ok(Vec::new());
    }
    let sql =
        "SELECT sync::text, name::text, rank, is_self, state::text FROM tidelock.node WHERE state <> 'in'";
    let found = rows(client, sql, &[]).await?;
    found
        .iter()
        .map(|row| Ok((cell(row, 0)?, member(row, 1)?)))
        .collect()
}

fn member(row: &Row, first: usize) -> Result<Member> {
    Ok(Member {
        name: cell(row, first)?,
        rank: Rank::try_from(cell::<i16>(row, first + 1)?).unwrap_or_default(),
        is_self: cell(row, first + 2)?,
        state: Membership::named(&cell::<String>(row, first + 3)?),
    })
}

/// Does somebody read this node for that one?
pub async fn is_read_for(client: &Client, departure: &Departure) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name::text = $1 AND active)";
    let slot = slot_name(&departure.sync, &departure.node);
    let found = rows(client, sql, &[&slot]).await?;
    found.first().map_or(Ok(false), |row| cell(row, 0))
}

/// From then on nobody runs its links.
pub fn leaving_sql(departure: &Departure) -> String {
    format!(
        "UPDATE tidelock.node SET state = '{}' WHERE sync = {} AND name = {} AND state = 'in'",
        Membership::Leaving.name(),
        literal(&departure.sync),
        literal(&departure.node)
    )
}

/// It is gone from here. What is compared comes first: until then nobody forgets what was deleted.
pub fn left_sql(departure: &Departure) -> Vec<String> {
    let (sync, link) = (literal(&departure.sync), literal(&departure.link));
    let mut out = Vec::new();
    if departure.compares {
        out.push(format!(
            "INSERT INTO tidelock.resync (sync, link, schema_name, table_name, operator)\n\
             SELECT DISTINCT c.sync, c.link, s.schema_name, s.table_name, {}\n\
             FROM tidelock.checkpoint c JOIN tidelock.table_state s ON s.sync = c.sync AND s.tombstones IS NOT NULL\n\
             WHERE c.sync = {sync} AND c.link <> {link}\n\
             ON CONFLICT (sync, link, schema_name, table_name) DO UPDATE\n    \
                 SET state = 'asked', settle = NULL, where_text = NULL",
            literal(&departure.asked_by()),
        ));
    }
    out.push(format!(
        "UPDATE tidelock.conflict SET outcome = 'resolved', settled_at = clock_timestamp(), settled_by = 'setup', settled_how = {}\n\
         WHERE sync = {sync} AND link = {link} AND outcome = 'open'",
        literal(&departure.settled_how()),
    ));
    for name in OF_LINKS.iter().chain(&["checkpoint"]) {
        out.push(format!(
            "DELETE FROM tidelock.{name} WHERE sync = {sync} AND link = {link}"
        ));
    }
    let slot = literal(&slot_name(&departure.sync, &departure.node));
    out.push(format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots\n \
         WHERE slot_name = {slot} AND database = current_database() AND NOT active"
    ));
    out.push(format!(
        "UPDATE tidelock.node SET state = '{}' WHERE sync = {sync} AND name = {} AND state <> 'left'",
        Membership::Left.name(),
        literal(&departure.node)
    ));
    out
}
