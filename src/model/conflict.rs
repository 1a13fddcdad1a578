//! The record of a conflict: what met what, who won, by which rule.

use super::stamp::Stamp;
use super::value::Row;
use std::fmt;

/// Names as PostgreSQL 18 gives them, and three that only merge replication has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConflictKind {
    InsertExists,
    UpdateOriginDiffers,
    UpdateExists,
    UpdateMissing,
    UpdateDeleted,
    DeleteOriginDiffers,
    DeleteMissing,
    MultipleUniqueConflicts,
    ValueRefused,
}

impl ConflictKind {
    pub fn name(self) -> &'static str {
        match self {
            ConflictKind::InsertExists => "insert_exists",
            ConflictKind::UpdateOriginDiffers => "update_origin_differs",
            ConflictKind::UpdateExists => "update_exists",
            ConflictKind::UpdateMissing => "update_missing",
            ConflictKind::UpdateDeleted => "update_deleted",
            ConflictKind::DeleteOriginDiffers => "delete_origin_differs",
            ConflictKind::DeleteMissing => "delete_missing",
            ConflictKind::MultipleUniqueConflicts => "multiple_unique_conflicts",
            ConflictKind::ValueRefused => "value_refused",
        }
    }
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of the incoming change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The incoming change won and was written.
    Applied,
    /// The local row or tombstone won.
    Kept,
    /// Nothing was written and a person has to look: the two sides differ in this row until then.
    Open,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Kept => "kept",
            Outcome::Open => "open",
        }
    }
}

/// One conflict as it is stored in the target, in the transaction that decided it.
/// Rows are in the target table's column order, with their JSON made by `plan`.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// Hash of (table, key, both stamps); equal on all nodes that see the same pair. 32 hex digits.
    pub id: String,
    pub kind: ConflictKind,
    pub outcome: Outcome,
    pub rule: &'static str,
    /// Target's names.
    pub schema: String,
    pub table: String,
    /// JSON texts: the key as an array, the rows as objects.
    pub key: String,
    pub base: Option<String>,
    pub local: Option<String>,
    pub incoming: Option<String>,
    pub local_stamp: Option<Stamp>,
    pub incoming_stamp: Option<Stamp>,
    /// `insert`, `update` or `delete`.
    pub operation: &'static str,
    pub source_position: String,
    pub source_committed_at_us: i64,
    /// Why, in a sentence without cell values; for `value_refused` the column and the limit.
    pub detail: String,
}

/// What a target holds under a key, read under lock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Local {
    pub row: Option<Row>,
    pub row_stamp: Option<Stamp>,
    pub tombstone: Option<Stamp>,
}

/// A row of `tidelock.conflict`, as the faces show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConflict {
    /// Counts in this database; `id` is the same on every node.
    pub number: i64,
    pub id: String,
    pub sync: String,
    pub link: String,
    pub schema: String,
    pub table: String,
    /// JSON texts, as in [`Conflict`].
    pub key: String,
    pub base: Option<String>,
    pub local: Option<String>,
    pub incoming: Option<String>,
    pub kind: String,
    pub operation: String,
    pub rule: String,
    pub outcome: String,
    pub detail: String,
    /// Version and origin rank.
    pub local_stamp: Option<(i64, i64)>,
    pub incoming_stamp: Option<(i64, i64)>,
    pub source_position: String,
    /// Microseconds since 1970 UTC.
    pub source_committed_at_us: i64,
    pub recorded_at_us: i64,
}

/// Which stored conflicts are wanted; every field narrows. Newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictFilter {
    pub number: Option<i64>,
    pub id: Option<String>,
    pub table: Option<String>,
    pub kind: Option<String>,
    /// Only those that wait for a person.
    pub only_open: bool,
    /// 0 = all.
    pub limit: u32,
}
