//! What the flows need to know of a sync; `config` fills it, so that no flow knows the configuration file.

use super::pulse::locked;
use crate::access::Access;
use crate::install::config_hash;
use crate::mapping::choice::{self, Choice};
use crate::mapping::{Mapping, Passage};
use crate::model::numbers::Numbers;
use crate::model::operation::SessionName;
use crate::model::origin::Guard;
use crate::model::parked::ParkedKey;
use crate::model::rules::TableRules;
use crate::model::schema::{Engine, TableId};
use crate::model::stamp::Rank;
use crate::model::sync::{CatalogTable, Mapped, Mode, OnStop, Scope};
use crate::model::version::VersionSource;
use crate::spill::Space;
use foldhash::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct NodeSpec {
    pub name: String,
    pub rank: Rank,
    /// `Mysql` also stands for MariaDB here: which of the two it is, the server says.
    pub engine: Engine,
    pub access: Access,
    /// This node's names of the sync's tables; the same order on every node. Where tables are chosen by patterns it
    /// holds those that are named exactly, until `select` has asked the databases.
    pub tables: Vec<TableId>,
    /// Of these the column that names the rows here, in place of the primary key.
    pub external: HashMap<TableId, String>,
}

impl NodeSpec {
    /// A table as its rows are named here.
    pub fn known(&self, found: CatalogTable) -> CatalogTable {
        match self.external.get(&found.table.id) {
            Some(column) => found.known_by(column),
            None => found,
        }
    }
}

/// Where the first rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// The peer's tables are empty and are filled from this node.
    From(String),
    /// All sides hold rows of their own, which become one set by the rules of the merge.
    Union,
    /// Both sides hold the same rows already; in merge mode that is proved before anything runs.
    None,
}

/// Bounds of one group, and where larger things than memory should hold go.
#[derive(Debug, Clone)]
pub struct Limits {
    pub group_rows_max: usize,
    pub group_bytes_max: usize,
    pub spill: Space,
    /// How long a copy of the program that says nothing keeps its links.
    pub lease_ttl: Duration,
    /// How long `run --once` waits for a server that is away.
    pub once_wait: Duration,
    /// Receive large transactions while they run, where the engine can send them.
    pub stream: bool,
    /// Sessions on each side that copy chunks at once, and rows of a chunk.
    pub copy_workers: usize,
    pub chunk_rows_max: u64,
    /// Cells that a link's copies read in a second; 0 = as many as they can.
    pub copy_bytes_per_second: u64,
    /// Changes of one link that may wait at once, and what their cells take: beyond it the link stops.
    pub parked_rows_max: usize,
    pub parked_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // Past some hundred rows a transaction gains nothing by growing; 4 MiB keeps a group well under every
        // server's packet and buffer limits.
        Limits {
            group_rows_max: 1_000,
            group_bytes_max: 4 << 20,
            spill: Space::default(),
            // A restarted machine is back later than that, and a hiccup of the network is over sooner.
            lease_ttl: Duration::from_secs(15),
            // It is started again by whoever started it; it waits for a hiccup, not for an outage.
            once_wait: Duration::from_secs(10),
            stream: true,
            copy_workers: copy_workers(),
            chunk_rows_max: 50_000,
            copy_bytes_per_second: 0,
            // Far more than a person settles one by one, and far less than a node that takes nothing would leave.
            parked_rows_max: 10_000,
            parked_bytes_max: 64 << 20,
        }
    }
}

/// More share the same disk, and each holds a session on both servers. More than there are processors only wait for
/// each other; fewer than two wait for both servers in turn.
fn copy_workers() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| processors.get().clamp(2, 4))
}

#[derive(Debug, Clone)]
pub struct SyncSpec {
    pub name: String,
    pub mode: Mode,
    /// The links run in rounds, so far apart; `None`: all the time.
    pub every: Option<Duration>,
    pub on_stop: OnStop,
    pub seed: Seed,
    pub config_hash: String,
    pub nodes: Vec<NodeSpec>,
    /// Indexes into `nodes`: source and target of each link that runs.
    pub links: Vec<(usize, usize)>,
    /// The node that passes on what the others wrote; `None`: every node has a link to all it is to reach.
    pub hub: Option<usize>,
    /// One per table, in the tables' order.
    pub rules: Vec<TableRules>,
    /// The same; with the configuration's names of columns.
    pub versions: Vec<VersionSource>,
    /// The same; with each table's name in the configuration.
    pub mappings: Vec<(String, Arc<Mapping>)>,
    pub limits: Limits,
    /// How long conflicts are kept that are not open.
    pub keep_conflicts: Duration,
    /// The copy of the program that runs it; empty until one does.
    pub instance: String,
    /// Which tables there are to be, and the rules of those without a section.
    pub choice: Choice,
    /// What its links tell each other.
    pub aside: Arc<Aside>,
    pub usual: TableRules,
    pub version: VersionSource,
    /// Tables without a section: every node gives its new rows numbers of its own.
    pub split: bool,
    /// By the index in `choice.declared`.
    pub sections: Vec<Section>,
    /// A node is being taken out of it while it runs: it was checked before, and what is recorded of it changes meanwhile.
    pub is_shrinking: bool,
}

/// What the configuration says of one table.
#[derive(Debug, Clone)]
pub struct Section {
    pub rules: TableRules,
    pub version: VersionSource,
    pub mapping: Arc<Mapping>,
}

/// What the links of a sync tell each other within one process. Nothing depends on it but when they look: all of it is
/// found in the databases too.
#[derive(Debug, Default)]
pub struct Aside {
    /// Links for which the opposite one has noted nothing since they looked last.
    quiet: Mutex<HashSet<String>>,
    /// By link: rows of a large transaction that wait when it is read again, and why.
    orphans: Mutex<HashMap<String, HashMap<ParkedKey, String>>>,
}

impl Aside {
    /// The link has found nothing noted for it.
    pub fn hush(&self, link: &str) {
        locked(&self.quiet).insert(link.to_owned());
    }

    /// Something was noted for the link that runs from `source` to `target`.
    pub fn rouse(&self, source: &str, target: &str) {
        locked(&self.quiet).remove(&link_id(source, target));
    }

    pub fn remember(&self, link: &str, orphans: HashMap<ParkedKey, String>) {
        locked(&self.orphans).insert(link.to_owned(), orphans);
    }

    pub fn remembered(&self, link: &str) -> HashMap<ParkedKey, String> {
        locked(&self.orphans).remove(link).unwrap_or_default()
    }

    pub fn is_quiet(&self, link: &str) -> bool {
        locked(&self.quiet).contains(link)
    }
}

/// One running direction.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    pub sync: String,
    /// `source->target`
    pub id: String,
    pub mode: Mode,
    /// It runs in rounds, so far apart; `None`: all the time.
    pub every: Option<Duration>,
    pub on_stop: OnStop,
    pub source: NodeSpec,
    pub target: NodeSpec,
    /// All tables of the sync by the target's names, also where this carries some of them alone.
    pub family: Vec<TableId>,
    /// By the target's name; their columns too.
    pub rules: HashMap<TableId, TableRules>,
    /// The same.
    pub versions: HashMap<TableId, VersionSource>,
    /// By the source's name.
    pub passages: HashMap<TableId, Passage>,
    /// The source is a hub: what it applied of others goes on to the target, which has this rank.
    pub onward: Option<Rank>,
    /// What the source gives to new rows of tables that are split.
    pub numbers: Numbers,
    /// What the target does.
    pub numbers_there: Numbers,
    pub config_hash: String,
    pub limits: Limits,
    pub keep_conflicts: Duration,
    pub instance: String,
    pub aside: Arc<Aside>,
}

impl SyncSpec {
    /// The sync with these tables.
    pub fn with_tables(&self, tables: &[choice::Table]) -> SyncSpec {
        let mut spec = self.clone();
        for (index, node) in spec.nodes.iter_mut().enumerate() {
            node.tables = tables.iter().map(|table| table.ids[index].clone()).collect();
        }
        let section = |table: &choice::Table| table.declared.and_then(|index| self.sections.get(index));
        let rules = |table| {
            section(table)
                .map_or(&self.usual, |section| &section.rules)
                .clone()
        };
        spec.rules = tables.iter().map(rules).collect();
        let version = |table| section(table).map_or(&self.version, |section| &section.version);
        spec.versions = tables.iter().map(|table| version(table).clone()).collect();
        let plain = Arc::new(Mapping {
            split: self.split,
            ..Mapping::default()
        });
        let mapping = |table: &choice::Table| {
            let mapping = section(table).map(|section| Arc::clone(&section.mapping));
            (
                table.name.table.clone(),
                mapping.unwrap_or_else(|| Arc::clone(&plain)),
            )
        };
        spec.mappings = tables.iter().map(mapping).collect();
        spec.know();
        spec
    }

    /// Every node by what its rows are named there.
    fn know(&mut self) {
        for (place, node) in self.nodes.iter_mut().enumerate() {
            let both = node.tables.iter().zip(&self.mappings);
            let external = both.filter_map(|(id, (_, mapping))| {
                let column = mapping.external.get(place)?.clone()?;
                Some((id.clone(), column))
            });
            node.external = external.collect();
        }
    }

    /// What is left of it when a node goes.
    pub fn without(&self, name: &str) -> SyncSpec {
        let mut spec = self.clone();
        let Some(gone) = self.nodes.iter().position(|node| node.name == name) else {
            return spec;
        };
        let stays = |(source, target): &&(usize, usize)| *source != gone && *target != gone;
        let moved = |place: usize| place - usize::from(place > gone);
        let links = self.links.iter().filter(stays);
        spec.links = links
            .map(|(source, target)| (moved(*source), moved(*target)))
            .collect();
        spec.nodes.remove(gone);
        // Of two that are left none passes anything on; `setup` publishes no tombstones for them.
        let is_hub = |hub: &usize| *hub != gone && spec.nodes.len() > 2;
        spec.hub = self.hub.filter(is_hub).map(moved);
        let names = spec.mappings.iter_mut().map(|(_, mapping)| mapping);
        for mapping in names.chain(spec.sections.iter_mut().map(|section| &mut section.mapping)) {
            *mapping = Arc::new(mapping.among(|node| node != gone));
        }
        spec.choice = spec.choice.without(gone);
        spec.is_shrinking = true;
        spec
    }

    /// Each two nodes that have a link, in the direction of the first.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let links = self.links.iter().copied().enumerate();
        let is_first = |place: usize, (source, target)| !self.links[..place].contains(&(target, source));
        links
            .filter(move |(place, link)| is_first(*place, *link))
            .map(|(_, link)| link)
    }

    pub fn link(&self, index: usize) -> Arc<LinkSpec> {
        let (from, to) = self.links[index];
        let (mut source, mut target) = (self.nodes[from].clone(), self.nodes[to].clone());
        let id = link_id(&source.name, &target.name);
        if !self.instance.is_empty() {
            let name = SessionName {
                sync: self.name.clone(),
                link: id.clone(),
                instance: self.instance.clone(),
            };
            source.access.session = Some(name.clone());
            target.access.session = Some(name);
        }
        let passage = |(name, mapping): &(String, Arc<Mapping>)| {
            Passage::new(mapping, from, to, name).imaging(self.mode == Mode::Snapshot)
        };
        let rules = self.rules.iter().zip(&self.mappings);
        let rules = rules.map(|(rules, (_, mapping))| rules.renamed(|column| mapping.name_on(to, column)));
        let versions = self.versions.iter().zip(&self.mappings);
        let versions = versions
            .map(|(version, (_, mapping))| version.called(|column| mapping.name_on(to, column).to_owned()));
        Arc::new(LinkSpec {
            onward: (self.hub == Some(from)).then_some(target.rank),
            numbers: self.numbers(from),
            numbers_there: self.numbers(to),
            sync: self.name.clone(),
            id,
            family: target.tables.clone(),
            mode: self.mode,
            every: self.every,
            on_stop: self.on_stop,
            rules: target.tables.iter().cloned().zip(rules).collect(),
            versions: target.tables.iter().cloned().zip(versions).collect(),
            passages: source
                .tables
                .iter()
                .cloned()
                .zip(self.mappings.iter().map(passage))
                .collect(),
            source,
            target,
            config_hash: config_hash::short(&self.config_hash).to_owned(),
            limits: self.limits.clone(),
            keep_conflicts: self.keep_conflicts,
            instance: self.instance.clone(),
            aside: Arc::clone(&self.aside),
        })
    }

    /// Names on nodes `from` and `node` of the columns of a table that are masked; `id` is the table's name on `node`.
    pub fn masks(&self, node: usize, id: &TableId, from: usize) -> Vec<(String, String)> {
        let mut masks = Vec::new();
        let table = self.choice.known_on(node, id);
        if let Some(section) = table.and_then(|table| self.sections.get(table.declared?)) {
            for names in &section.mapping.masks {
                masks.extend(names.get(from).cloned().zip(names.get(node).cloned()));
            }
        }
        masks
    }

    /// The numbers that a node gives to new rows of tables that are split.
    pub fn numbers(&self, node: usize) -> Numbers {
        Numbers::of(self.nodes[node].rank, self.nodes.iter().map(|node| node.rank))
    }

    /// As far as is known before the tables are.
    pub fn may_split(&self) -> bool {
        self.split || self.sections.iter().any(|section| section.mapping.split)
    }

    pub fn splits(&self) -> bool {
        self.mappings.iter().any(|(_, mapping)| mapping.split)
    }

    /// One node's part in the sync, for `check`, `setup` and `teardown`.
    pub fn scope(&self, node: usize) -> Scope {
        let spec = &self.nodes[node];
        let reads_log = self.mode != Mode::Snapshot;
        Scope {
            sync: self.name.clone(),
            node: spec.name.clone(),
            rank: spec.rank,
            mode: self.mode,
            tables: spec.tables.clone(),
            mapped: self
                .mappings
                .iter()
                .zip(&self.versions)
                .map(|((_, mapping), version)| Mapped {
                    numbers: mapping.split.then(|| self.numbers(node)),
                    ..mapped(mapping, version, (node, self.nodes.len()))
                })
                .collect(),
            first_origin: match self.seed {
                Seed::Union => spec.rank,
                Seed::From(_) | Seed::None => 0,
            },
            is_source: reads_log && self.links.iter().any(|(source, _)| *source == node),
            readers: match reads_log {
                true => self.links.iter().filter(|(source, _)| *source == node).count(),
                false => 0,
            },
            every: self.every,
            is_target: self.links.iter().any(|(_, target)| *target == node),
            is_hub: self.hub == Some(node),
            config_hash: self.config_hash.clone(),
            run_user: spec.access.user.clone(),
        }
    }
}

fn mapped(mapping: &Mapping, version: &VersionSource, (node, nodes): (usize, usize)) -> Mapped {
    Mapped {
        signature: mapping.signature_on(node, nodes),
        signatures: mapping.signatures(node, nodes),
        filter_columns: mapping.read_columns(node),
        skipped: mapping.skipped(node),
        version: version.called(|column| mapping.name_on(node, column).to_owned()),
        beside: mapping.beside,
        external: mapping.external.get(node).cloned().flatten(),
        ..Mapped::default()
    }
}

pub fn link_id(source: &str, target: &str) -> String {
    format!("{source}->{target}")
}

impl LinkSpec {
    /// `SYNC/LINK`, by which a command means this link and no other.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.sync, self.id)
    }

    /// The same link with the tables at these places alone.
    pub fn only(&self, places: &[usize]) -> LinkSpec {
        let mut only = self.clone();
        for node in [&mut only.source, &mut only.target] {
            node.tables = places
                .iter()
                .filter_map(|place| node.tables.get(*place).cloned())
                .collect();
        }
        only
    }

    /// How a table of the source passes.
    pub fn passage(&self, source: &TableId) -> Passage {
        self.passages.get(source).cloned().unwrap_or_default()
    }

    /// The target's tables to whose rows every node gives numbers of its own, with the target's.
    pub fn split_there(&self) -> Vec<(TableId, Numbers)> {
        let both = self.source.tables.iter().zip(&self.target.tables);
        let is_split = |source: &TableId| {
            let passage = self.passages.get(source);
            passage.is_some_and(|passage| passage.mapping().split)
        };
        both.filter(|(source, _)| is_split(source))
            .map(|(_, target)| (target.clone(), self.numbers_there))
            .collect()
    }

    pub fn is_merge(&self) -> bool {
        self.mode == Mode::Merge
    }

    pub fn guard(&self) -> Guard {
        Guard::new(&self.sync, self.onward)
    }
}
