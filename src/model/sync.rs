//! A sync as one node sees it, findings of `check`, and the names of what Tidelock makes in a database.

use super::collection::TombstoneFigures;
use super::numbers::Numbers;
use super::operation::{HeldTable, Lease, OutOfSync, Pause, Resync, ResyncState, Said, Stop};
use super::origin::CONTROL;
use super::position::Position;
use super::round::Round;
use super::schema::{Column, ColumnType, External, Table, TableId};
use super::stamp::Rank;
use super::version::VersionSource;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Transactional,
    Merge,
    /// The target equals an image of the source, which is made anew again and again.
    Snapshot,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Transactional => "transactional",
            Mode::Merge => "merge",
            Mode::Snapshot => "snapshot",
        }
    }

    /// Rows go from one node to the others only.
    pub fn is_one_way(self) -> bool {
        self != Mode::Merge
    }
}

/// What stops when a change of one table cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    Link,
    /// The table alone, where the change is of it alone; it is read again later.
    Table,
}

/// What one node does in one sync: the input of `check`, `setup` and `teardown`.
#[derive(Debug, Clone)]
pub struct Scope {
    pub sync: String,
    pub node: String,
    pub rank: Rank,
    pub mode: Mode,
    /// Names on this node, in the order of the configuration.
    pub tables: Vec<TableId>,
    /// How each of them passes; the same order.
    pub mapped: Vec<Mapped>,
    /// The origin that rows get which were there before their table had stamps; 0 = nobody's.
    pub first_origin: Rank,
    /// This node's log is read.
    pub is_source: bool,
    /// By so many links.
    pub readers: usize,
    /// They read it in bursts, so far apart.
    pub every: Option<Duration>,
    /// This node is written to.
    pub is_target: bool,
    /// It passes on what the other nodes wrote, so its log must tell of tombstones too.
    pub is_hub: bool,
    pub config_hash: String,
    /// The account that `run` uses, which `setup` grants to.
    pub run_user: String,
}

impl Scope {
    /// The tables to whose rows every node gives numbers of its own, with this node's.
    pub fn split(&self) -> Vec<(TableId, Numbers)> {
        let both = self.tables.iter().zip(&self.mapped);
        both.filter_map(|(table, mapped)| Some((table.clone(), mapped.numbers?)))
            .collect()
    }

    /// For whoever does not ask what the run account may.
    pub fn without_account(&self) -> Scope {
        Scope {
            run_user: String::new(),
            ..self.clone()
        }
    }

    /// How a table passes.
    pub fn mapped(&self, table: &TableId) -> Mapped {
        let place = self.tables.iter().position(|known| known == table);
        place
            .and_then(|place| self.mapped.get(place))
            .cloned()
            .unwrap_or_default()
    }

    /// Tables that may not be altered.
    pub fn beside(&self) -> impl Iterator<Item = &TableId> {
        let tables = self.tables.iter().enumerate();
        let is_beside = |place: usize| self.mapped.get(place).is_some_and(|mapped| mapped.beside);
        tables
            .filter(move |(place, _)| is_beside(*place))
            .map(|(_, table)| table)
    }

    /// The node's rows are swapped by images.
    pub fn makes_images(&self) -> bool {
        self.is_target && self.mode == Mode::Snapshot
    }

    /// Images are made of the node's rows, and its log is not read.
    pub fn is_read_alone(&self) -> bool {
        !self.is_target && self.mode == Mode::Snapshot
    }

    /// The tables as their rows are named here; `found` is in the scope's order.
    pub fn known(&self, found: Vec<Option<CatalogTable>>) -> Vec<Option<CatalogTable>> {
        let external = |place: usize| self.mapped.get(place)?.external.as_deref();
        let known = |(place, found): (usize, Option<CatalogTable>)| match external(place) {
            Some(column) => found.map(|found| found.known_by(column)),
            None => found,
        };
        found.into_iter().enumerate().map(known).collect()
    }

    /// Columns on which no right is needed: skipped ones. (Where rows can trade unique values, or have their stamps in a
    /// table of their own, they are written whole.)
    pub fn spared(&self, table: &Table) -> Vec<String> {
        let is_whole = !table.uniques.is_empty() || self.mapped(&table.id).beside;
        match self.is_target && is_whole {
            true => Vec::new(),
            false => self.mapped(&table.id).skipped,
        }
    }

    /// Tables of which the log must hold whole old rows.
    pub fn whole_rows(&self) -> Vec<&TableId> {
        let wanted = |(place, _): &(usize, &TableId)| {
            let filtered = self
                .mapped
                .get(*place)
                .is_some_and(|mapped| !mapped.filter_columns.is_empty() || mapped.external.is_some());
            self.is_source && (self.mode == Mode::Merge || filtered)
        };
        let tables = self.tables.iter().enumerate().filter(wanted);
        tables.map(|(_, table)| table).collect()
    }
}

/// What setup must know of a table's mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Changes when other columns or rows pass; empty for a plain table.
    pub signature: String,
    /// What it may be told by too: by who took part when it was set up.
    pub signatures: Vec<String>,
    /// This node's names of the columns that the row filter reads: the log must hold their old values.
    pub filter_columns: Vec<String>,
    /// This node's names of the columns that stay where they are.
    pub skipped: Vec<String>,
    /// Where the versions of its rows come from, with this node's names.
    pub version: VersionSource,
    /// Its stamps stand in a table of their own.
    pub beside: bool,
    /// The column that names its rows here, in place of the primary key.
    pub external: Option<String>,
    /// The numbers that this node gives to its rows, where every node has its own.
    pub numbers: Option<Numbers>,
    /// The greatest number on any node, as far as they were asked.
    pub greatest: i64,
}

impl Mapped {
    /// Does what was kept of the mapping tell this one?
    pub fn is_told_by(&self, kept: &str) -> bool {
        kept == self.signature || self.signatures.iter().any(|known| known == kept)
    }
}

/// Stamp columns of a merge row.
pub const VERSION_COLUMN: &str = "tidelock_version";
/// Of tombstones: which collection marked them.
pub const GENERATION_COLUMN: &str = "tidelock_generation";
pub const ORIGIN_COLUMN: &str = "tidelock_origin";

/// Of a stamp table: how often a row was stamped anew although nothing else of it needed to change.
pub const TOUCHED_COLUMN: &str = "tidelock_touched";
const STAMPS: &str = "stamps";

/// Where a merge table's tombstones are.
pub fn tombstones_of(table: &TableId) -> TableId {
    TableId::new(CONTROL, object_name("tombstone", table))
}

/// Where the stamps are of a merge table that may not be altered.
pub fn stamps_of(table: &TableId) -> TableId {
    TableId::new(CONTROL, object_name(STAMPS, table))
}

pub fn is_stamps(table: &TableId) -> bool {
    table.schema == CONTROL
        && table
            .name
            .strip_prefix(STAMPS)
            .is_some_and(|rest| rest.starts_with('_'))
}

/// Publication of a sync, and the slot a link reads (one per target).
pub fn publication_name(sync: &str) -> String {
    safe_name(&format!("tidelock_{sync}"))
}

pub fn slot_name(sync: &str, target: &str) -> String {
    safe_name(&format!("tidelock_{sync}_{target}"))
}

/// Per-table objects (tombstone table, trigger functions, triggers): `PREFIX_TABLE_HASH`, at most 63 bytes,
/// unique by the hash of the full name.
pub fn object_name(prefix: &str, table: &TableId) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{}\0{}", table.schema, table.name).as_bytes());
    let mut readable: String = table
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    readable.truncate(28);
    format!("{prefix}_{readable}_{hash:016x}")
}

/// Lower-case letters, digits and underscores, at most 63 bytes; a hash keeps shortened names apart.
fn safe_name(name: &str) -> String {
    let safe: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    if safe == name && safe.len() <= 63 {
        return safe;
    }
    let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    format!("{}_{hash:016x}", &safe[..safe.len().min(46)])
}

/// Which server this is, so that another one in its place is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// `postgres`, `mysql` or `mariadb`.
    pub engine: &'static str,
    /// As the server says it, e.g. `18.4` or `10.11.19-MariaDB`.
    pub version: String,
    /// `system_identifier/timeline`; `server_uuid`; on MariaDB the id Tidelock gave it in its own schema.
    pub identity: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warning,
    Blocker,
}

/// One line of `check`: what was looked at, what is wrong, and the SQL that mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// Stable, e.g. `E203`; empty for an Ok line.
    pub code: &'static str,
    pub node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What of the table's section in the configuration it is about, such as `column.status`; empty: the section.
    #[serde(skip)]
    pub setting: Option<String>,
    /// Where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<ConfigLine>,
}

/// A line of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigLine {
    /// `FILE:LINE`
    pub place: String,
    /// As it is written there, without secrets.
    pub text: String,
}

impl Finding {
    /// The code of a finding after which only a new copy helps.
    pub const LOST: &str = "E408";
    /// A foreign key changes rows by itself.
    pub const CASCADES: &str = "E305";
    /// The code of the finding that what was set up is something else.
    pub const OTHER: &str = "E409";
    /// The code of a finding about a user's trigger that fires when Tidelock writes.
    pub const UNGUARDED: &str = "E306";
    /// The code of the finding that the server takes no writes, which a failover ends.
    pub const READ_ONLY: &str = "E209";
    /// The setting of a finding about what the sync's tables are.
    pub const TABLES: &str = "tables";

    pub fn ok(node: &str, what: impl Into<String>) -> Self {
        Finding {
            level: Level::Ok,
            code: "",
            node: node.to_owned(),
            table: None,
            what: what.into(),
            fix: None,
            setting: None,
            line: None,
        }
    }

    pub fn blocker(code: &'static str, node: &str, what: impl Into<String>) -> Self {
        Finding {
            level: Level::Blocker,
            code,
            node: node.to_owned(),
            table: None,
            what: what.into(),
            fix: None,
            setting: None,
            line: None,
        }
    }

    pub fn warning(code: &'static str, node: &str, what: impl Into<String>) -> Self {
        Finding {
            level: Level::Warning,
            code,
            node: node.to_owned(),
            table: None,
            what: what.into(),
            fix: None,
            setting: None,
            line: None,
        }
    }

    pub fn table(mut self, table: impl ToString) -> Self {
        self.table = Some(table.to_string());
        self
    }

    pub fn setting(mut self, key: impl Into<String>) -> Self {
        self.setting = Some(key.into());
        self
    }

    /// SQL or a command.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Does a node take part in a sync?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    In,
    /// It is being taken out: whoever runs its links lets go of them.
    Leaving,
    Left,
}

impl Membership {
    pub const ALL: [Membership; 3] = [Membership::In, Membership::Leaving, Membership::Left];

    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Membership::In => "in",
            Membership::Leaving => "leaving",
            Membership::Left => "left",
        }
    }

    /// A word of a later version counts as taking part.
    pub fn named(name: &str) -> Membership {
        let known = Membership::ALL.into_iter().find(|state| state.name() == name);
        known.unwrap_or(Membership::In)
    }
}

/// A node of a sync as another one has noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub rank: Rank,
    pub is_self: bool,
    pub state: Membership,
}

/// A node that leaves a sync, as one that stays sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    pub sync: String,
    pub node: String,
    /// The link from it into the node that stays.
    pub link: String,
    /// What it had told some of the others may be missing at the rest: all tables are compared.
    pub compares: bool,
}

impl Departure {
    /// Who wants the tables compared.
    pub fn asked_by(&self) -> String {
        format!("setup, because node {} left", self.node)
    }

    /// Why its open conflicts are over.
    pub fn settled_how(&self) -> String {
        format!(
            "node {} left the sync, and what waited of it went with it",
            self.node
        )
    }
}

/// A link's durable state as the target holds it: the row of its greatest seq over all lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub lane: u16,
    pub epoch: i64,
    pub seq: i64,
    pub position: Position,
    /// After a first copy from a source whose snapshot is not exact: until this position is covered, changes may
    /// already be in the copy, so that finding them there is no conflict.
    pub settle: Option<Position>,
    pub source_identity: String,
}

impl Checkpoint {
    /// From the columns of its row.
    pub fn stored(
        lane: i64,
        (epoch, seq): (i64, i64),
        position: &str,
        settle: Option<&str>,
        source_identity: String,
    ) -> Result<Checkpoint, super::position::PositionError> {
        let position: Position = position.parse()?;
        let settle: Option<Position> = settle.map(str::parse).transpose()?;
        // It goes from the row with the move after the one that covered it.
        let is_ahead = |settle: &Position| position.covers(settle).is_ok_and(|covers| !covers);
        Ok(Checkpoint {
            lane: u16::try_from(lane).unwrap_or_default(),
            epoch,
            seq,
            settle: settle.filter(is_ahead),
            position,
            source_identity,
        })
    }
}

/// A lane beside a link's first, in which a copy writes chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    pub number: u16,
    pub epoch: i64,
    pub seq: i64,
}

/// How far the first copy of one table is. An estimate where the source's statistics are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableCopy {
    /// By the source's name.
    pub table: String,
    pub chunks: u64,
    pub chunks_done: u64,
    pub rows: u64,
    /// `None`: the server has never counted.
    pub rows_estimated: Option<u64>,
    pub bytes: u64,
    pub bytes_estimated: u64,
}

/// What a target knows of a link that writes into it, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// The control schema is there and knows this sync.
    pub set_up: bool,
    pub checkpoint: Option<Checkpoint>,
    /// Since the checkpoint moved, by the target's clock.
    pub checkpoint_age_ms: Option<u64>,
    pub conflicts_open: u64,
    pub conflicts_total: u64,
    /// Since the oldest open one was recorded, by the target's clock.
    pub conflict_oldest_open_ms: Option<u64>,
    /// Changes that wait, by why they do.
    pub parked: std::collections::BTreeMap<String, u64>,
    /// Rows that came with numbers of another node than the one they were inserted on.
    pub strays: u64,
    /// Who runs it, or ran it last.
    pub lease: Option<Lease>,
    /// What they said when they renewed it last.
    pub said: Option<Said>,
    pub pause: Option<Pause>,
    /// What it stopped at last; see [`LinkStatus::halted`].
    pub stop: Option<Stop>,
    pub out_of_sync: Vec<OutOfSync>,
    pub held: Vec<HeldTable>,
    /// Tables that are copied anew, or are to be.
    pub resyncs: Vec<Resync>,
    /// While the first copy, or one of these, is not done.
    pub copies: Vec<TableCopy>,
    /// Of the target's tables; `None`: the sync keeps none.
    pub tombstones: Option<TombstoneFigures>,
    /// The last image, or the last burst.
    pub round: Option<Round>,
}

impl LinkStatus {
    /// Are rows being copied?
    pub fn is_copied(&self) -> bool {
        let is_first = self
            .checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.seq < 0);
        is_first
            || self
                .resyncs
                .iter()
                .any(|resync| resync.state == ResyncState::Copying)
    }

    /// What the link stands at now: it has not moved since, and nobody who came later runs it.
    pub fn halted(&self) -> Option<&Stop> {
        let stop = self.stop.as_ref()?;
        let seq = self.checkpoint.as_ref().map_or(-1, |checkpoint| checkpoint.seq);
        let runs_again = |lease: &Lease| lease.is_held() && lease.age_ms < stop.age_ms;
        (stop.seq == seq && !self.lease.as_ref().is_some_and(runs_again)).then_some(stop)
    }
}

/// How long the source still keeps what a link has not read, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Somebody reads this link's slot now; `None` where the server cannot tell (binlogs).
    pub reader_active: Option<bool>,
    /// The reader has said nothing for so long; it should every ten seconds.
    pub reader_silent_ms: Option<u64>,
    /// Up to here the slot's reader needs nothing any more.
    pub taken: Option<Position>,
    /// Log kept for this link.
    pub retained_bytes: Option<u64>,
    /// More log than this, or more time, and what the link needs may be removed.
    pub left_bytes: Option<u64>,
    pub left_seconds: Option<u64>,
    /// Where the server stops keeping it, in words: `10 GB`, `log left 6.5 d`, `no limit`.
    pub limit: String,
    /// The slot or the binlog at the checkpoint is gone.
    pub lost: bool,
}

/// Catalog view of a synced table plus what the catalog knows beyond [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogTable {
    pub table: Table,
    /// PostgreSQL: identity columns that are GENERATED ALWAYS, so that no UPDATE may set them.
    pub always: Vec<String>,
    /// Triggers that are not ours.
    pub foreign_triggers: Vec<ForeignTrigger>,
    /// Foreign keys of this table, as `name: ON DELETE/UPDATE action` where the action writes rows by itself.
    pub cascades: Vec<String>,
    /// PostgreSQL: `r` or `p`; MySQL: storage engine.
    pub storage: String,
    /// Numbers the rows, where the primary key is one column that the server counts.
    pub counter: Option<Counter>,
    /// Names of the indexes of `table.uniques`.
    pub unique_names: Vec<String>,
}

impl CatalogTable {
    /// The table whose rows this column names in place of its primary key, as another node knows them.
    pub fn known_by(mut self, column: &str) -> CatalogTable {
        let table = &mut self.table;
        let key: Vec<usize> = table.column(column).into_iter().collect();
        let names = |key: &[usize]| -> Vec<String> {
            let columns = key.iter().filter_map(|place| table.columns.get(*place));
            columns.map(|column| column.name.clone()).collect()
        };
        let own = names(&table.key);
        // The primary key itself is nobody else's.
        if table.key == key {
            return self;
        }
        let at = table
            .uniques
            .iter()
            .position(|unique| *unique == key && !key.is_empty());
        let index = at.and_then(|at| self.unique_names.get(at).cloned());
        if let Some(at) = at {
            table.uniques.remove(at);
            self.unique_names.remove(at);
        }
        if !table.key.is_empty() {
            table.uniques.push(std::mem::take(&mut table.key));
            self.unique_names.push("PRIMARY".to_owned());
        }
        table.key = key;
        table.external = Some(External {
            column: column.to_owned(),
            index,
            own,
            children: Vec::new(),
        });
        self
    }

    /// The column whose numbers name the rows, whoever gives them.
    pub fn numbered(&self) -> Option<&Column> {
        let [place] = self.table.key[..] else { return None };
        let column = self.table.columns.get(place)?;
        matches!(column.ty, ColumnType::Int { .. }).then_some(column)
    }

    /// What counts them here.
    pub fn counted(&self) -> Option<&Counter> {
        let column = self.numbered()?;
        self.counter
            .as_ref()
            .filter(|counter| counter.column == column.name)
    }
}

/// What gives a key its numbers: a sequence, or AUTO_INCREMENT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    pub column: String,
    /// PostgreSQL: the sequence as SQL names it; else empty.
    pub sequence: String,
    pub step: i64,
    /// A number that it gave or gives; `None`: the account may not see it.
    pub at: Option<i64>,
    /// It gives none below or above.
    pub bounds: (i64, i64),
}

impl Counter {
    /// Can both give one number? A counter whose step was set and whose numbers cannot be seen is taken at its word.
    pub fn meets(&self, other: &Counter) -> bool {
        if self.bounds.0 > other.bounds.1 || other.bounds.0 > self.bounds.1 {
            return false;
        }
        let (mut common, mut rest) = (self.step.unsigned_abs(), other.step.unsigned_abs());
        while rest != 0 {
            (common, rest) = (rest, common % rest);
        }
        match (common, self.at, other.at) {
            (0 | 1, _, _) => true,
            (_, Some(here), Some(there)) => here.abs_diff(there) % common == 0,
            (_, None, _) | (_, _, None) => false,
        }
    }
}

/// How large a table is. An estimate: the rows are the server's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// `None`: the server never counted.
    pub rows: Option<u64>,
    /// Without indexes, as far as the server tells them apart.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignTrigger {
    /// The table, or the partition of it, that the trigger stands on.
    pub table: TableId,
    pub name: String,
    /// It looks at `@tidelock_apply`, so the user made it stay out of our way.
    pub guarded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(step: i64, at: Option<i64>) -> Counter {
        Counter {
            column: "id".to_owned(),
            sequence: String::new(),
            step,
            at,
            bounds: (1, i64::MAX),
        }
    }

    #[test]
    fn counters_meet_unless_their_steps_or_bounds_keep_them_apart() {
        for (one, other, meets) in [
            (counter(1, Some(5)), counter(1, Some(1)), true),
            (counter(1, None), counter(2, Some(1)), true),
            (counter(2, Some(11)), counter(2, Some(2)), false),
            (counter(2, Some(12)), counter(2, Some(2)), true),
            (counter(2, None), counter(2, Some(2)), false),
            (counter(2, Some(1)), counter(3, Some(2)), true),
            (counter(4, Some(1)), counter(6, Some(2)), false),
            (counter(4, Some(3)), counter(6, Some(5)), true),
        ] {
            assert_eq!(
                (one.meets(&other), other.meets(&one)),
                (meets, meets),
                "{one:?} {other:?}"
            );
        }
        let (mut low, mut high) = (counter(1, Some(1)), counter(1, Some(1_001)));
        (low.bounds, high.bounds) = ((1, 1_000), (1_001, 2_000));
        assert!(!low.meets(&high) && !high.meets(&low));
    }

    #[test]
    fn names_fit_and_stay_apart() {
        let long = "x".repeat(80);
        let (a, b) = (slot_name(&long, "a"), slot_name(&long, "b"));
        assert!(a.len() <= 63 && b.len() <= 63 && a != b);
        assert_eq!(slot_name("shop", "my"), "tidelock_shop_my");
        assert_ne!(slot_name("a-b", "c"), slot_name("a_b", "c"));
        assert!(object_name("tombstone", &TableId::new("s", long)).len() <= 63);
    }
}
