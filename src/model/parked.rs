//! A change that waits on its target: what it is, what it was based on, and why it waits.
//!
//! Owns: the nouns that flow, targets and faces share. Refuses: deciding when a wait is over (see `flow::apply`).

use super::schema::TableId;
use super::stamp::Stamp;
use std::fmt;

/// Why a change waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParkKind {
    /// The table's rule leaves the conflict to a person.
    Ask,
    /// Equal stamps name different rows: a stamp was set by hand or a trigger was off.
    EqualStamps,
    /// Another row holds a unique value of it.
    Unique,
    /// The target cannot hold one of its values.
    Refused,
    /// Its parent does not stand here, or it is the delete of a row that others refer to.
    FkMissing,
    /// It came without all of its cells, and nothing stands here to complete it. The readers of a merge's logs refuse
    /// such rows, so this is for the case that one slips by.
    NotWhole,
    /// Its parent waits.
    Waits,
}

impl ParkKind {
    pub const ALL: [ParkKind; 7] = [
        ParkKind::Ask,
        ParkKind::EqualStamps,
        ParkKind::Unique,
        ParkKind::Refused,
        ParkKind::FkMissing,
        ParkKind::NotWhole,
        ParkKind::Waits,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ParkKind::Ask => "ask",
            ParkKind::EqualStamps => "equal_stamps",
            ParkKind::Unique => "unique",
            ParkKind::Refused => "value_refused",
            ParkKind::FkMissing => "fk_missing",
            ParkKind::NotWhole => "not_whole",
            ParkKind::Waits => "waits_for_parent",
        }
    }

    pub fn named(name: &str) -> Option<ParkKind> {
        ParkKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// No second try helps: a write above both stamps ends it, here or on the other side.
    pub fn is_for_a_person(self) -> bool {
        matches!(self, ParkKind::Ask | ParkKind::EqualStamps | ParkKind::NotWhole)
    }
}

impl fmt::Display for ParkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names a row of `tidelock.parked` or `tidelock.missed_bump` within its link: the hash is of the key's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ParkedKey {
    pub table: TableId,
    pub hash: u128,
}

impl ParkedKey {
    /// By what tells the key's values apart, in the terms of the table.
    pub fn of(table: TableId, key_bytes: &[u8]) -> ParkedKey {
        let hash = ParkedKey::hash_of(key_bytes);
        ParkedKey { table, hash }
    }

    pub fn hash_of(key_bytes: &[u8]) -> u128 {
        xxhash_rust::xxh3::xxh3_128(key_bytes)
    }

    /// As it is stored: 32 hex digits.
    pub fn digits(&self) -> String {
        format!("{:032x}", self.hash)
    }

    pub fn parse(table: TableId, digits: &str) -> Option<ParkedKey> {
        let hash = u128::from_str_radix(digits, 16).ok()?;
        Some(ParkedKey { table, hash })
    }
}

/// One row of `tidelock.parked`. Cells are in the form of `model::packed`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    pub at: ParkedKey,
    pub key_json: String,
    pub key_cells: Vec<u8>,
    /// `insert`, `update` or `delete`.
    pub operation: String,
    /// `row_cells` is the source's row, not the target's: the target could not hold it when it came.
    pub is_source: bool,
    pub row_cells: Vec<u8>,
    /// Of the first change that waits here.
    pub base: Option<Stamp>,
    /// Of the last one.
    pub stamp: Option<Stamp>,
    /// What stood here when it was parked.
    pub local: Option<Stamp>,
    pub kind: ParkKind,
    pub reason: String,
    /// The id of its open conflict.
    pub conflict: Option<String>,
    pub waits_for: Option<String>,
    pub source_position: String,
    pub source_committed_us: i64,
}

impl Parked {
    /// What its cells take, on disk and when it is tried again.
    pub fn bytes(&self) -> usize {
        self.key_cells.len() + self.row_cells.len()
    }
}

/// One row of `tidelock.missed_bump`: a row that came below what stands here, by the names of the node it came to.
#[derive(Debug, Clone, PartialEq)]
pub struct MissedBump {
    pub at: ParkedKey,
    pub key_cells: Vec<u8>,
    /// The row or tombstone that stood here.
    pub standing: Stamp,
    pub stamp: Stamp,
    /// Everything that this node did until then is in its log up to here. `None`: not read yet.
    pub position: Option<String>,
}
