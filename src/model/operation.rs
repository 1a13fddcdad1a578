//! Who runs a link, what people want of it, what it stopped at, and which tables it holds: rows of the control schema.

use super::position::Position;
use super::schema::TableId;
use crate::error::{Error, Halt, Reason};
use serde::{Deserialize, Serialize};

/// One running copy of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Drawn at its start; no other copy ever has it.
    pub id: String,
    /// For people: host and process.
    pub name: String,
    /// For copies on the same machine: tells whether the process still lives. Empty where that cannot be told.
    pub process: String,
}

/// Whose a session is: sessions of a link that another copy left behind are found by it, and ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName {
    pub sync: String,
    pub link: String,
    pub instance: String,
}

impl SessionName {
    /// As a PostgreSQL server shows it.
    pub fn text(&self) -> String {
        format!("{}{}", session_prefix(&self.sync, &self.link), self.instance)
    }
}

/// The lease of a link as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub instance: String,
    pub holder: String,
    pub process: String,
    /// By the target server's clock; none left = free.
    pub left_ms: i64,
    /// Since it was taken, by the same clock.
    pub age_ms: i64,
}

impl Lease {
    pub fn is_held(&self) -> bool {
        self.left_ms > 0
    }
}

/// What whoever runs a link says of it with each renewal of its lease: figures as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub figures: String,
    /// By the target server's clock.
    pub age_ms: u64,
}

/// What a renewal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The lease is still ours, and longer now.
    pub is_ours: bool,
    pub is_paused: bool,
}

/// Why a link may not be taken over. A lease of ours that ran out is renewed by its keeper, or it is not.
pub fn not_leased(doing: &str, is_ours: bool, holder: &str) -> Error {
    if is_ours {
        return Error::transient(doing).why("the lease ran out before it could be renewed");
    }
    if holder.is_empty() {
        return Error::transient(doing).why("the row of its lease is gone; its keeper takes it again");
    }
    Error::definite(doing)
        .reason(Reason::Fenced)
        .why(format!("{holder} has taken it over"))
        .hint("nothing is lost: the other copy goes on where this one was; start this one again and it stands by")
}

/// Somebody wants a link to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub by: String,
    pub at_us: i64,
    pub reason: String,
}

/// What a link stopped at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub error: String,
    pub hint: Option<String>,
    /// The checkpoint's seq then; once it has moved on, the stop is history.
    pub seq: i64,
    /// The transaction that can be skipped.
    pub halt: Option<Halt>,
    pub age_ms: i64,
}

/// A table that lacks what a skipped transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfSync {
    pub link: String,
    pub table: TableId,
    /// The transaction that was left out last.
    pub position: String,
    pub since_us: i64,
}

/// A table that its link holds: what changed in it since is read again when it is taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTable {
    pub link: String,
    /// The target's name.
    pub table: TableId,
    /// Up to here it is applied.
    pub position: Position,
    /// The transaction that it stopped at, and where the table would stand after it.
    pub transaction: Option<String>,
    pub past: Option<String>,
    pub error: String,
    pub hint: String,
    pub since_us: i64,
    /// An operator wants it to be taken up.
    pub resumed: bool,
    /// It is copied anew: its rows may be later than `position`.
    pub is_anew: bool,
    /// Of that copy: see [`Resync::condition`].
    pub condition: Option<String>,
}

impl HeldTable {
    /// One sentence for people.
    pub fn told(&self) -> String {
        let since = jiff::Timestamp::from_microsecond(self.since_us)
            .map_or_else(|_| String::new(), |at| format!(" since {at:.0}"));
        let at = self
            .transaction
            .as_ref()
            .map_or(String::new(), |at| format!(" at transaction {at}"));
        format!("table {} is held{since}{at}: {}", self.table, self.error)
    }
}

/// A table that is copied anew while its link goes on: `tidelock.resync` keeps it from the asking to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    pub link: String,
    /// The target's name.
    pub table: TableId,
    pub state: ResyncState,
    /// Only rows that it takes are looked at, as the operator wrote it.
    pub condition: Option<String>,
    pub operator: String,
    pub asked_us: i64,
}

/// What is copied anew, for people. Never for a log: a condition may hold values.
pub fn asked(table: &TableId, condition: Option<&str>) -> String {
    match condition {
        Some(condition) => format!("{table} where {condition}"),
        None => table.to_string(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResyncState {
    Asked,
    /// The link holds the table.
    Copying,
    /// Every row was read and written; the log as it ended then.
    Copied {
        settle: Position,
    },
    Failed {
        why: String,
    },
    /// It could not catch up, and waits as other held tables do.
    Stopped,
}

impl ResyncState {
    /// From the columns of its row. `None`: nobody writes that.
    pub fn stored(state: &str, settle: Option<&str>, failure: Option<String>) -> Option<ResyncState> {
        match (state, settle) {
            ("asked", _) => Some(ResyncState::Asked),
            ("copying", _) => Some(ResyncState::Copying),
            ("copied", Some(settle)) => Some(ResyncState::Copied {
                settle: settle.parse().ok()?,
            }),
            ("stopped", _) => Some(ResyncState::Stopped),
            ("failed", _) => Some(ResyncState::Failed {
                why: failure.unwrap_or_default(),
            }),
            _ => None,
        }
    }
}

/// The row of a held table is not where it was: going on would lose what it stands for.
pub fn gone(doing: &str) -> Error {
    Error::definite(doing)
        .why("a row of tidelock.held_table is gone or was changed by somebody else")
        .hint("nothing was applied; start the link again: it reads the table of held tables anew")
}

#[derive(Serialize, Deserialize)]
struct Named {
    schema: String,
    name: String,
}

/// Tables as their column in the control schema has them.
pub fn tables_to_text(tables: &[TableId]) -> String {
    let named: Vec<Named> = tables
        .iter()
        .map(|id| Named {
            schema: id.schema.clone(),
            name: id.name.clone(),
        })
        .collect();
    // Strings only: this cannot fail.
    serde_json::to_string(&named).unwrap_or_default()
}

pub fn tables_from_text(text: &str) -> Vec<TableId> {
    let named: Vec<Named> = serde_json::from_str(text).unwrap_or_default();
    named
        .into_iter()
        .map(|id| TableId::new(id.schema, id.name))
        .collect()
}

/// The start of the name that every session of a link carries on a PostgreSQL server, whichever copy opened it. The
/// server keeps 63 bytes of a name, in ASCII.
pub fn session_prefix(sync: &str, link: &str) -> String {
    const ROOM: usize = 63 - INSTANCE_CHARS;
    let plain = format!("tidelock {sync} {link} ");
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain.len() <= ROOM && is_plain(sync) && is_plain(link) {
        return plain;
    }
    let digest = xxhash_rust::xxh3::xxh3_64(format!("{sync}\0{link}").as_bytes());
    format!("tidelock {digest:016x} ")
}

/// Length of an instance's id.
pub const INSTANCE_CHARS: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_survive_their_text() {
        let tables = [TableId::new("a\"b", "c.d"), TableId::new("", "é")];
        assert_eq!(tables_from_text(&tables_to_text(&tables)), tables);
        assert_eq!(tables_from_text(""), []);
    }

    #[test]
    fn sessions_are_named_within_the_servers_room() {
        assert_eq!(session_prefix("shop", "a->b"), "tidelock shop a->b ");
        for (sync, link) in [
            ("x".repeat(64), "a->b".to_owned()),
            ("é".to_owned(), "a->b".to_owned()),
            ("a b".to_owned(), "c->d".to_owned()),
        ] {
            let prefix = session_prefix(&sync, &link);
            assert!(
                prefix.is_ascii() && prefix.len() + INSTANCE_CHARS <= 63,
                "{prefix}"
            );
            assert_eq!(prefix.split(' ').count(), 3, "{prefix}");
        }
        assert_ne!(session_prefix("a b", "c"), session_prefix("a", "b c"));
    }
}
