//! Nodes that leave a sync, as this server has noted them.
//!
//! Owns: the statements by which a node begins to leave and by which it is gone from here, and reading who takes part.
//! Refuses: deciding when it may go (`cli::setup::leaving`). Fails: with what the server says; all of it may run again.

use super::state::{cell, rows};
use crate::error::Result;
use crate::model::sync::{Departure, Member, Membership};
use crate::mysql::sql::quote_text;
use mysql_async::{Conn, Row};

/// The control database's version that brought them.
pub(super) const VERSION: i64 = 12;
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
pub async fn all(conn: &mut Conn, sync: &str) -> Result<Vec<Member>> {
    let is_there = "SELECT COUNT(*) > 0 FROM information_schema.COLUMNS
                     WHERE TABLE_SCHEMA = 'tidelock' AND TABLE_NAME = 'node' AND COLUMN_NAME = 'state'";
    let found = rows(conn, is_there, &[]).await?;
    if !found.first().map_or(Ok(false), |row| cell(row, 0))? {
        return Ok(Vec::new());
    }
    let sql = "SELECT name, `rank`, is_self, state FROM tidelock.node WHERE sync = ? ORDER BY `rank`";
    let found = rows(conn, sql, &[sync]).await?;
    found.iter().map(|row| member(row, 0)).collect()
}

/// Of every sync, those that do not take part any more. `versions`: of the control database.
pub(super) async fn gone(conn: &mut Conn, versions: &[i64]) -> Result<Vec<(String, Member)>> {
    if !versions.contains(&VERSION) {
        return Ok(Vec::new());
    }
    let sql = "SELECT sync, name, `rank`, is_self, state FROM tidelock.node WHERE state <> 'in'";
    let found = rows(conn, sql, &[]).await?;
    found
        .iter()
        .map(|row| Ok((cell(row, 0)?, member(row, 1)?)))
        .collect()
}

fn member(row: &Row, first: usize) -> Result<Member> {
    Ok(Member {
        name: cell(row, first)?,
        rank: cell(row, first + 1)?,
        is_self: cell(row, first + 2)?,
        state: Membership::named(&cell::<String>(row, first + 3)?),
    })
}

/// From then on nobody runs its links.
pub fn leaving_sql(departure: &Departure) -> String {
    format!(
        "UPDATE tidelock.node SET state = '{}' WHERE sync = {} AND name = {} AND state = 'in'",
        Membership::Leaving.name(),
        quote_text(&departure.sync),
        quote_text(&departure.node)
    )
}

/// It is gone from here. What is compared comes first: until then nobody forgets what was deleted.
pub fn left_sql(departure: &Departure) -> Vec<String> {
    let (sync, link) = (quote_text(&departure.sync), quote_text(&departure.link));
    let mut out = Vec::new();
    if departure.compares {
        out.push(format!(
            "INSERT INTO tidelock.resync (sync, link, schema_name, table_name, operator)\n\
             SELECT DISTINCT c.sync, c.link, s.schema_name, s.table_name, {}\n\
             FROM tidelock.checkpoint c JOIN tidelock.table_state s ON s.sync = c.sync AND s.tombstones IS NOT NULL\n\
             WHERE c.sync = {sync} AND c.link <> {link}\n\
             ON DUPLICATE KEY UPDATE state = 'asked', settle = NULL, where_text = NULL",
            quote_text(&departure.asked_by()),
        ));
    }
    out.push(format!(
        "UPDATE tidelock.conflict SET outcome = 'resolved', settled_at = UTC_TIMESTAMP(6), settled_by = 'setup', settled_how = {}\n\
         WHERE sync = {sync} AND link = {link} AND outcome = 'open'",
        quote_text(&departure.settled_how()),
    ));
    for name in OF_LINKS.iter().chain(&["session", "checkpoint"]) {
        out.push(format!(
            "DELETE FROM tidelock.{name} WHERE sync = {sync} AND link = {link}"
        ));
    }
    out.push(format!(
        "UPDATE tidelock.node SET state = '{}' WHERE sync = {sync} AND name = {} AND state <> 'left'",
        Membership::Left.name(),
        quote_text(&departure.node)
    ));
    out
}
