//! What the control schema of a node records of every sync, and why a sync as it is configured now does not fit that.
//!
//! Pure. Owns: the rows of `tidelock.node` and `tidelock.table_state`, and each reason for which only a new copy helps
//! (E409). Refuses: reading them; each engine's `setup/state` does.

use super::{config_hash, digest};
use crate::model::schema::{Table, TableId};
use crate::model::stamp::Rank;
use crate::model::sync::{CatalogTable, Mapped, Membership, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN};

/// Rows of every sync.
#[derive(Default)]
pub struct Recorded {
    pub nodes: Vec<Node>,
    pub tables: Vec<TableState>,
    /// Syncs with a checkpoint here whose first copy is over.
    pub started: Vec<String>,
}

pub struct Node {
    pub sync: String,
    pub rank: Rank,
    pub name: String,
    pub is_self: bool,
    pub identity: String,
    pub config_hash: String,
    pub state: Membership,
}

pub struct TableState {
    pub id: TableId,
    pub sync: String,
    pub tombstones: Option<String>,
    pub fingerprint: String,
}

/// Why a sync as it is configured now is not the one that was set up, and the way back to that one, without a new copy.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub what: String,
    pub undo: String,
}

impl Mismatch {
    fn new(what: String, undo: impl Into<String>) -> Self {
        Mismatch {
            what,
            undo: undo.into(),
        }
    }
}

impl Recorded {
    /// Why this is not the node that was set up; `None` when it is, or when nothing was set up yet. `identity` is the
    /// server's own, and what that is.
    pub fn mismatch(
        &self,
        scope: &Scope,
        peers: &[(Rank, String)],
        (identity, what): (&str, &str),
    ) -> Option<Mismatch> {
        self.other_rank(scope, peers)
            .or_else(|| self.other_mode(scope))
            .or_else(|| self.joins_beside(scope))
            .or_else(|| self.other_mapping(scope))
            .or_else(|| self.other_node(scope, identity, what))
    }

    fn other_rank(&self, scope: &Scope, peers: &[(Rank, String)]) -> Option<Mismatch> {
        let own = std::iter::once((scope.rank, scope.node.as_str()));
        let wanted: Vec<(Rank, &str)> = own
            .chain(peers.iter().map(|(rank, name)| (*rank, name.as_str())))
            .collect();
        let of_sync = || self.nodes.iter().filter(|node| node.sync == scope.sync);
        for (rank, name) in &wanted {
            let has_left = |node: &&Node| node.state == Membership::Left && node.rank == *rank;
            if let Some(node) = of_sync().find(has_left) {
                let what = format!(
                    "node {name:?} is to have rank {rank}, which {:?} had that left the sync; rows carry it as its",
                    node.name
                );
                let undo = format!("write rank = {} in [node.{name}]", self.free_rank(scope, &wanted));
                return Some(Mismatch::new(what, undo));
            }
            let differs = |node: &&Node| {
                node.state != Membership::Left && ((node.rank == *rank) != (node.name == *name))
            };
            if let Some(node) = of_sync().find(differs) {
                let what = format!(
                    "node {name:?} is to have rank {rank}, but {:?} was set up with rank {}; ranks are in every row's stamp",
                    node.name, node.rank
                );
                return Some(Mismatch::new(what, self.as_ranked(scope, &wanted)));
            }
        }
        None
    }

    /// Above all that anybody has or had.
    fn free_rank(&self, scope: &Scope, wanted: &[(Rank, &str)]) -> Rank {
        let had = self.nodes.iter().filter(|node| node.sync == scope.sync);
        let all = had
            .map(|node| node.rank)
            .chain(wanted.iter().map(|(rank, _)| *rank));
        all.max().unwrap_or_default().saturating_add(1)
    }

    /// The nodes as they were set up, as far as they are still meant.
    fn as_ranked(&self, scope: &Scope, wanted: &[(Rank, &str)]) -> String {
        let takes_part = |node: &&Node| node.sync == scope.sync && node.state != Membership::Left;
        let nodes = self.nodes.iter().filter(takes_part);
        let mut nodes: Vec<(Rank, &str)> = nodes.map(|node| (node.rank, node.name.as_str())).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let names: Vec<String> = nodes.iter().map(|(_, name)| format!("{name:?}")).collect();
        // `check` asks without the others.
        let is_meant =
            |(_, name): &&(Rank, &str)| wanted.len() == 1 || wanted.iter().any(|(_, meant)| meant == name);
        let ranks = nodes
            .iter()
            .filter(is_meant)
            .map(|(rank, name)| format!("rank = {rank} in [node.{name}]"));
        let known = |name: &str| nodes.iter().any(|(_, known)| *known == name);
        let mut next = self.free_rank(scope, &[]);
        let mut new = Vec::new();
        for (_, name) in wanted.iter().filter(|(_, name)| !known(name)) {
            new.push(format!("rank = {next} in [node.{name}]"));
            next = next.saturating_add(1);
        }
        format!(
            "put the names and their order in nodes back as they were set up ({}), or say {}",
            names.join(", "),
            ranks.chain(new).collect::<Vec<_>>().join(" and ")
        )
    }

    fn other_mode(&self, scope: &Scope) -> Option<Mismatch> {
        let was_merge = |there: &TableState| there.sync == scope.sync && there.tombstones.is_some();
        let is_other = scope.mode.is_one_way() && self.tables.iter().any(was_merge);
        is_other.then(|| {
            let what = format!(
                "the sync was set up in merge mode, and is {} now",
                scope.mode.name()
            );
            Mismatch::new(what, "put mode = \"merge\" back")
        })
    }

    /// Does the table join after the first start of the sync? Then its rows are copied by themselves.
    pub fn joins(&self, scope: &Scope, table: &TableId) -> bool {
        scope.mode != Mode::Snapshot
            && self.started.contains(&scope.sync)
            && self.table(&scope.sync, table).is_none()
    }

    /// Of a table that joins, rows of both sides must say whose they are.
    fn joins_beside(&self, scope: &Scope) -> Option<Mismatch> {
        let joins = |table: &&TableId| scope.mode == Mode::Merge && self.joins(scope, table);
        let late = scope
            .tables
            .iter()
            .filter(joins)
            .find(|table| scope.mapped(table).beside)?;
        let what = format!("table {late} joins the sync after its first start, with stamps = \"beside\"");
        let undo = "leave that out, so that its rows carry their stamps; or give it a [[sync]] of its own";
        Some(Mismatch::new(what, undo))
    }

    /// The origin of rows that were there before their table had stamps. Of a table that joins, both sides may hold rows.
    pub fn first_origin(&self, scope: &Scope, table: &TableId) -> Rank {
        match self.joins(scope, table) {
            true => scope.rank,
            false => scope.first_origin,
        }
    }

    /// Columns and rows that did not pass so far are nowhere to be read again.
    fn other_mapping(&self, scope: &Scope) -> Option<Mismatch> {
        if !self.started.contains(&scope.sync) {
            return None;
        }
        let changed = |there: &&TableState| {
            let is_ours = there.sync == scope.sync && scope.tables.contains(&there.id);
            is_ours && !scope.mapped(&there.id).is_told_by(signature(&there.fingerprint))
        };
        let there = self.tables.iter().find(changed)?;
        let what = format!(
            "table {} was set up with another mapping of its columns, another row filter or another place for its stamps, and what did not pass so far would be missing",
            there.id
        );
        Some(Mismatch::new(what, "put its section [sync.table] back as it was"))
    }

    fn other_node(&self, scope: &Scope, identity: &str, what: &str) -> Option<Mismatch> {
        let own = self
            .nodes
            .iter()
            .find(|node| node.sync == scope.sync && node.is_self)?;
        if own.rank != scope.rank {
            let what = format!(
                "the control schema here was set up as node {:?} of the sync",
                own.name
            );
            let undo = format!("are the URLs exchanged? This one is of node {:?}", own.name);
            return Some(Mismatch::new(what, undo));
        }
        (own.identity != identity).then(|| {
            let what = format!(
                "the server is not the one that was set up: its {what} was {}, and is {identity} now",
                own.identity
            );
            Mismatch::new(what, "point the URL back to the server that was set up")
        })
    }

    /// Is there a row that tells this node of the sync as it is now?
    pub fn knows(&self, scope: &Scope, rank: Rank, is_self: bool) -> bool {
        self.nodes.iter().any(|node| {
            node.sync == scope.sync
                && node.rank == rank
                && node.is_self == is_self
                && config_hash::is_same(&node.config_hash, &scope.config_hash)
        })
    }

    /// What `setup` has to note of a node of the sync, in words.
    pub fn unknown(&self, scope: &Scope, rank: Rank, is_self: bool) -> String {
        let is_it = |node: &&Node| node.sync == scope.sync && node.rank == rank && node.is_self == is_self;
        match self.nodes.iter().find(is_it) {
            None => "names and ranks of the nodes".to_owned(),
            Some(node) => format!(
                "the configuration changed since setup: {}",
                config_hash::changed(&node.config_hash, &scope.config_hash)
            ),
        }
    }

    pub fn table(&self, sync: &str, id: &TableId) -> Option<&TableState> {
        self.tables
            .iter()
            .find(|there| there.sync == sync && there.id == *id)
    }

    /// The table as another sync merges it.
    pub fn other_merge(&self, sync: &str, id: &TableId) -> Option<&TableState> {
        self.tables
            .iter()
            .find(|there| there.id == *id && there.sync != sync && there.tombstones.is_some())
    }

    /// Tables that carry our triggers for this sync and for no other: by its rows, or, where those are gone, by
    /// `has_ours`.
    pub fn merged(&self, scope: &Scope, has_ours: impl Fn(&TableId) -> bool) -> Vec<TableId> {
        let by_rows = self
            .tables
            .iter()
            .filter(|there| there.sync == scope.sync && there.tombstones.is_some())
            .map(|there| &there.id);
        let by_triggers = scope.tables.iter().filter(|id| has_ours(id));
        let mut ids: Vec<TableId> = by_rows
            .chain(by_triggers)
            .filter(|id| self.other_merge(&scope.sync, id).is_none())
            .cloned()
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// Tables that have left the sync.
    pub fn left(&self, scope: &Scope) -> impl Iterator<Item = &TableState> {
        self.tables
            .iter()
            .filter(|there| there.sync == scope.sync && !scope.tables.contains(&there.id))
    }

    /// Does anything of this sync stand here?
    pub fn has(&self, sync: &str) -> bool {
        self.nodes.iter().any(|node| node.sync == sync) || self.tables.iter().any(|there| there.sync == sync)
    }

    pub fn has_others(&self, sync: &str) -> bool {
        self.nodes.iter().any(|node| node.sync != sync)
    }
}

/// Tombstones know a row by the key that the table had when it was set up. Both in the scope's order.
pub fn changed_key(tables: &[Option<CatalogTable>], tombstones: &[Option<CatalogTable>]) -> Option<Mismatch> {
    let key = |catalog: &CatalogTable| -> Vec<String> {
        let columns = &catalog.table.columns;
        catalog
            .table
            .key
            .iter()
            .map(|&index| columns[index].name.clone())
            .collect()
    };
    tables.iter().zip(tombstones).find_map(|(table, tombstones)| {
        let (table, was) = (table.as_ref()?, key(tombstones.as_ref()?));
        (key(table) != was).then(|| {
            let what = format!(
                "the primary key of {} was ({}) when it was set up and is ({}) now",
                table.table.id,
                was.join(", "),
                key(table).join(", ")
            );
            Mismatch::new(what, "put the primary key back")
        })
    })
}

/// Changes when the user's part of a table's definition does.
fn definition(table: &Table) -> String {
    let mut text = String::new();
    for column in &table.columns {
        if column.name == VERSION_COLUMN || column.name == ORIGIN_COLUMN {
            continue;
        }
        text.push_str(&format!(
            "{:?} {:?} {:?} {} {}\n",
            column.name, column.sql_type, column.collation, column.nullable, column.generated
        ));
    }
    for &index in &table.key {
        text.push_str(&format!("key {:?}\n", table.columns[index].name));
    }
    digest(&text)
}

/// What the state row keeps of a table: its definition, and how it passes where that is not plain.
pub fn fingerprint(table: &Table, signature: &str) -> String {
    match signature {
        "" => definition(table),
        _ => format!("{}/{signature}", definition(table)),
    }
}

/// Does what was kept tell this definition, and how the table passes now?
pub fn is_told_by(kept: &str, table: &Table, mapped: &Mapped) -> bool {
    let of = kept.split_once('/').map_or(kept, |(definition, _)| definition);
    of == definition(table) && mapped.is_told_by(signature(kept))
}

/// How the table passed when it was set up.
pub fn signature(fingerprint: &str) -> &str {
    fingerprint.split_once('/').map_or("", |(_, signature)| signature)
}
