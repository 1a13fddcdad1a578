//! The record of a conflict: what met what, who won, by which rule.

use super::stamp::{Rank, Stamp};
use super::value::Row;
use std::fmt;

/// Names as PostgreSQL 18 gives them, and four that only Tidelock has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConflictKind {
    InsertExists,
    UpdateOriginDiffers,
    /// A row that moves to a key under which another one stands.
    UpdateExists,
    UpdateMissing,
    UpdateDeleted,
    DeleteOriginDiffers,
    DeleteMissing,
    MultipleUniqueConflicts,
    /// A row that moves away from a key, and was changed, deleted or moved here as well.
    KeyMoved,
    /// A row whose parent does not stand here, or the delete of one that others refer to.
    FkMissing,
    ValueRefused,
    /// Another node owns what the change writes.
    ForeignWrite,
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
            ConflictKind::KeyMoved => "key_moved",
            ConflictKind::FkMissing => "fk_missing",
            ConflictKind::ValueRefused => "value_refused",
            ConflictKind::ForeignWrite => "foreign_write",
        }
    }
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a decision was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Uncontested,
    /// Neither row nor tombstone stands here.
    Missing,
    /// The same version stands here.
    Same,
    Greater,
    Lower,
    /// Its own node wrote it after what stands here, though its stamp is not above: it is taken over a row, and under a
    /// delete its node is told to raise it.
    MissedBump,
    Collision,
    SourceOfTruth,
    DeleteWins,
    UpdateWins,
    /// Both sides changed the row, and its columns are decided one by one.
    Merged,
    Asked,
    AskedDelete,
    /// With a row filter: what stands or stood here lies outside of it.
    Outside,
    DeletedOutside,
    /// What stands here is this node's own.
    Private,
    /// With a filter of each direction: the row is this node's.
    Lent,
    /// It was made on what stands here, under a stamp that an answer of ours has raised.
    Successor,
    /// One way: the source is always right.
    Drift,
    /// The row is to be inserted and the log did not carry all of it.
    Incomplete,
    /// The delete of a row that others refer to.
    Referred,
    /// A node wrote what another one owns.
    NotItsOwn,
    /// A spoke wrote a row that it does not hold.
    Unheld,
}

impl Reason {
    /// A sentence without cell values.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Uncontested => "nobody else changed the row",
            Reason::Missing => "neither the row nor its tombstone stands here",
            Reason::Same => "the same version of the row stands here already",
            Reason::Greater => "the incoming change has the greater stamp",
            Reason::Lower => "what stands here has the greater stamp",
            Reason::MissedBump => {
                "its own node wrote it later, without raising its stamp above what it had itself logged"
            }
            Reason::Collision => {
                "equal stamps name different rows: a stamp was set by hand or a trigger was off"
            }
            Reason::SourceOfTruth => "this node is the source of truth",
            Reason::DeleteWins => "on_delete_conflict = \"delete\": the row stays deleted",
            Reason::UpdateWins => "on_delete_conflict = \"update\": the row lives",
            Reason::Merged => "both sides changed the row: merged column by column",
            Reason::Asked => "on_conflict = \"ask\": a person decides",
            Reason::AskedDelete => "on_delete_conflict = \"ask\": a person decides",
            Reason::Outside => {
                "a row outside of the filter stands here with the greater stamp: the other node's row leaves it"
            }
            Reason::DeletedOutside => {
                "its key was deleted here while it was outside of the filter: the row got a greater stamp"
            }
            Reason::Private => "a row outside of the filter stands here, which is this node's own",
            Reason::Lent => {
                "by the filters the row is this node's alone: the other node gets it back as it is here"
            }
            Reason::Successor => "it was made on the row that stands here, which has only been raised since",
            Reason::Drift => "the target had drifted from the source and was mended",
            Reason::Incomplete => "the row is missing and the log did not carry it whole",
            Reason::NotItsOwn => "it writes what another node owns (owner, inserts, deletes): undone",
            Reason::Unheld => "its node does not hold the row (holds): undone",
            Reason::Referred => {
                "rows here refer to it by a foreign key: it stands, with a greater stamp, and comes back on the other node"
            }
        }
    }
}

/// What became of the incoming change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The incoming change won and was written.
    Applied,
    /// The local row or tombstone won.
    Kept,
    /// What stands now is of both.
    Merged,
    /// Nothing was written, and the two sides differ in this row: it waits for its cause to go, or for a person. Stored
    /// as `resolved` when that is over, with when and by what.
    Open,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Kept => "kept",
            Outcome::Merged => "merged",
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
    /// What the incoming change was based on.
    pub base_stamp: Option<Stamp>,
    pub local_stamp: Option<Stamp>,
    pub incoming_stamp: Option<Stamp>,
    /// The node whose version stands; `None` while nobody's does.
    pub winner: Option<Rank>,
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
    pub base_stamp: Option<Stamp>,
    pub local_stamp: Option<Stamp>,
    pub incoming_stamp: Option<Stamp>,
    /// Rank of the node whose version stands.
    pub winner: Option<Rank>,
    pub source_position: String,
    /// The end of the recording node's log when the conflict was met; empty where it was not told.
    pub target_position: String,
    /// Microseconds since 1970 UTC; the one by the source's clock, the other by the recording node's.
    pub source_committed_at_us: i64,
    pub recorded_at_us: i64,
    /// By a person, or by what came later.
    pub settled: Option<Settled>,
}

impl StoredConflict {
    /// A value that has no form on the target was refused before anything was looked at there: by no rule, and the row and
    /// its key are as the source has them. What the target's constraints or triggers refused is told in its own terms.
    pub fn is_in_sources_terms(&self) -> bool {
        self.kind == ConflictKind::ValueRefused.name() && self.rule == "none"
    }
}

/// How a conflict was settled after it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub at_us: i64,
    pub by: String,
    /// Without cell values.
    pub how: String,
}

/// What is to be noted in records.
#[derive(Debug, Clone, Copy)]
pub struct Settling<'a> {
    pub by: &'a str,
    /// Without cell values.
    pub how: &'a str,
    /// Records of conflicts that were decided by rule, too: they are overridden. Else only open ones.
    pub overrides: bool,
}

/// Which stored conflicts are wanted; every field narrows. Newest first, or, behind a number, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictFilter {
    pub number: Option<i64>,
    pub id: Option<String>,
    pub table: Option<String>,
    pub kind: Option<String>,
    /// The key as the record has it.
    pub key: Option<String>,
    /// Only those that wait for a person.
    pub only_open: bool,
    /// Recorded since then, microseconds since 1970 UTC.
    pub since_us: Option<i64>,
    /// Of a greater number, oldest first.
    pub after: Option<i64>,
    /// 0 = all.
    pub limit: u32,
}
