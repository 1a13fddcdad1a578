//! What the flows need to know of a sync; `config` fills it, so that no flow knows the configuration file.

use crate::access::Access;
use crate::install::config_hash;
use crate::mapping::choice::{self, Choice};
use crate::mapping::{Mapping, Passage};
use crate::model::operation::SessionName;
use crate::model::schema::{Engine, TableId};
use crate::model::stamp::Rank;
use crate::model::sync::{Mapped, Mode, OnStop, Rule, Scope};
use crate::spill::Space;
use foldhash::HashMap;
use std::sync::Arc;
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
}

/// Where the first rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// The peer's tables are empty and are filled from this node.
    From(String),
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
        }
    }
}

#[derive(Debug, Clone)]
pub struct SyncSpec {
    pub name: String,
    pub mode: Mode,
    pub on_stop: OnStop,
    pub seed: Seed,
    pub config_hash: String,
    pub nodes: Vec<NodeSpec>,
    /// Indexes into `nodes`: source and target of each link that runs.
    pub links: Vec<(usize, usize)>,
    /// One per table, in the tables' order.
    pub rules: Vec<Rule>,
    /// The same; with each table's name in the configuration.
    pub mappings: Vec<(String, Arc<Mapping>)>,
    pub limits: Limits,
    /// The copy of the program that runs it; empty until one does.
    pub instance: String,
    /// Which tables there are to be, and the rules of those to come.
    pub choice: Choice,
    pub rule: Rule,
    /// By the index in `choice.declared`.
    pub sections: Vec<Section>,
}

/// What the configuration says of one table.
#[derive(Debug, Clone)]
pub struct Section {
    pub rule: Rule,
    pub mapping: Arc<Mapping>,
}

/// One running direction.
#[derive(Debug)]
pub struct LinkSpec {
    pub sync: String,
    /// `source->target`
    pub id: String,
    pub mode: Mode,
    pub on_stop: OnStop,
    pub source: NodeSpec,
    pub target: NodeSpec,
    /// By the target's name.
    pub rules: HashMap<TableId, Rule>,
    /// By the source's name.
    pub passages: HashMap<TableId, Passage>,
    pub config_hash: String,
    pub limits: Limits,
    pub instance: String,
}

impl SyncSpec {
    /// The sync with these tables.
    pub fn with_tables(&self, tables: &[choice::Table]) -> SyncSpec {
        let mut spec = self.clone();
        for (index, node) in spec.nodes.iter_mut().enumerate() {
            node.tables = tables.iter().map(|table| table.ids[index].clone()).collect();
        }
        let section = |table: &choice::Table| table.declared.and_then(|index| self.sections.get(index));
        let rule = |table| section(table).map_or(&self.rule, |section| &section.rule).clone();
        spec.rules = tables.iter().map(rule).collect();
        let mapping = |table: &choice::Table| {
            let mapping = section(table).map(|section| Arc::clone(&section.mapping));
            (table.name.table.clone(), mapping.unwrap_or_default())
        };
        spec.mappings = tables.iter().map(mapping).collect();
        spec
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
        let passage = |(name, mapping): &(String, Arc<Mapping>)| Passage::new(mapping, from, to, name);
        Arc::new(LinkSpec {
            sync: self.name.clone(),
            id,
            mode: self.mode,
            on_stop: self.on_stop,
            rules: target
                .tables
                .iter()
                .cloned()
                .zip(self.rules.iter().cloned())
                .collect(),
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
            instance: self.instance.clone(),
        })
    }

    /// One node's part in the sync, for `check`, `setup` and `teardown`.
    pub fn scope(&self, node: usize) -> Scope {
        let spec = &self.nodes[node];
        Scope {
            sync: self.name.clone(),
            node: spec.name.clone(),
            rank: spec.rank,
            mode: self.mode,
            tables: spec.tables.clone(),
            mapped: self
                .mappings
                .iter()
                .map(|(_, mapping)| mapped(mapping, node))
                .collect(),
            is_source: self.links.iter().any(|(source, _)| *source == node),
            is_target: self.links.iter().any(|(_, target)| *target == node),
            config_hash: self.config_hash.clone(),
            run_user: spec.access.user.clone(),
        }
    }
}

fn mapped(mapping: &Mapping, node: usize) -> Mapped {
    Mapped {
        signature: mapping.signature(),
        filter_columns: mapping.filter_columns(node),
        skipped: mapping.skipped(node),
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

    /// How a table of the source passes.
    pub fn passage(&self, source: &TableId) -> Passage {
        self.passages.get(source).cloned().unwrap_or_default()
    }

    pub fn is_merge(&self) -> bool {
        self.mode == Mode::Merge
    }
}
