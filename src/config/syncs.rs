//! Syncs: which nodes, which tables, which rules.
//!
//! Owns: what makes a sync valid by itself and beside the others (no table in a ring of syncs).
//! The tables are `tables`' part, the links `topology`'s.

use super::build::{Builder, Declared, RANK_MAX};
use super::file::SyncFile;
use super::problem::Problem;
use super::rounds;
use super::rules;
use super::tables::{self, Around};
use super::topology;
use super::{Node, Sync, hash, sections, versions};
use crate::flow::spec::{Limits, NodeSpec, Seed, SyncSpec};
use crate::mapping::ring::{self, Chooser, Member};
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use crate::model::sync::{Mode, OnStop};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

type Nodes = [(String, Option<Declared>)];

pub(super) fn build(
    builder: &mut Builder<'_>,
    files: Vec<SyncFile>,
    nodes: &Nodes,
    limits: &Limits,
) -> Vec<Sync> {
    if files.is_empty() {
        builder.problem(
            Problem::new("there is no [[sync]]")
                .hint("add [[sync]] with name, nodes, mode, tables and seed: a node alone does nothing"),
        );
    }
    let mut names = BTreeSet::new();
    let mut syncs: Vec<(Sync, Range<usize>)> = Vec::new();
    for file in files {
        builder.check_name("sync", &file.name);
        if !names.insert(file.name.get_ref().clone()) {
            let problem = Problem::new(format!("two syncs are named \"{}\"", file.name.get_ref()));
            builder.problem(problem.hint("rename one").at(file.name.span()));
        }
        let place = file.tables.span();
        syncs.extend(sync(builder, file, nodes, limits).map(|sync| (sync, place)));
    }
    refuse_rings(builder, &syncs);
    let syncs: Vec<Sync> = syncs.into_iter().map(|(sync, _)| sync).collect();
    for (name, _) in nodes {
        let used = syncs.iter().any(|sync| sync.node(name).is_some());
        if !used && builder.problems.is_empty() {
            builder.warnings.push(super::Warning {
                code: "W004",
                node: Some(name.clone()),
                what: "no sync uses this node".to_owned(),
                fix: format!("add it to the nodes of a [[sync]], or remove [node.{name}]"),
            });
        }
    }
    syncs
}

fn ranks(members: &[(Arc<Node>, Rank)]) -> Vec<(String, Rank)> {
    let named = members.iter().map(|(node, rank)| (node.name.clone(), *rank));
    named.collect()
}

/// `None` when a problem was noted.
fn sync(builder: &mut Builder<'_>, file: SyncFile, nodes: &Nodes, limits: &Limits) -> Option<Sync> {
    let before = builder.problems.len();
    let key = |suffix: &str| format!("sync.{}.{suffix}", file.name.get_ref());
    let members = members(builder, &file, nodes);
    let names = file.nodes.get_ref().iter();
    let node_names: Vec<String> = names.map(|name| name.get_ref().clone()).collect();
    builder.show(&key("nodes"), node_names.join(", "), Some(file.nodes.span()));
    builder.show(&key("mode"), file.mode.get_ref(), Some(file.mode.span()));
    let mode = mode(builder, &file.mode);
    let from = from(builder, &file, mode, &node_names);
    let (every, given_seed) = rounds::given(builder, &file, mode, from.as_deref());
    let on_stop = on_stop(builder, &file);
    let keep_conflicts = keep_conflicts(builder, &file);
    let seed = given_seed
        .as_ref()
        .and_then(|given| seed(builder, (&file, given), mode, (&node_names, from.as_deref())));
    let topology = topology::build(builder, &file, mode, from.as_deref(), &node_names);
    if let (Some(topology), Some(given)) = (&topology, &given_seed) {
        topology::refuse_seeder(builder, given, seed.as_ref(), topology, &node_names);
    }
    let ranks = ranks(&members);
    let sections = sections::of(builder, &file);
    let around = Around {
        file: &file,
        sections: &sections,
        members: &members,
        nodes: &node_names,
        mode,
        hub: topology.as_ref().and_then(|topology| topology.hub),
    };
    let choice = tables::choice(builder, &around);
    let given = rules::general(builder, &around, &ranks, seed.as_ref());
    let version = versions::general(builder, &around);
    let (split, sections) = tables::mappings(builder, &around, &given, &version);
    let usual = given.usual;
    // The nodes may themselves be wrong, without a problem noted here.
    if builder.problems.len() > before || members.len() != node_names.len() {
        return None;
    }
    let specs = members.iter().map(|(node, rank)| node_spec(node, *rank));
    let topology = topology?;
    let mut spec = SyncSpec {
        name: file.name.into_inner(),
        mode: mode?,
        every,
        on_stop: on_stop?,
        seed: seed?,
        config_hash: String::new(),
        nodes: specs.collect(),
        links: topology.links,
        hub: topology.hub,
        rules: Vec::new(),
        versions: Vec::new(),
        mappings: Vec::new(),
        limits: limits.clone(),
        keep_conflicts: keep_conflicts?,
        instance: String::new(),
        choice,
        aside: Arc::default(),
        usual,
        version,
        split,
        sections,
        is_shrinking: false,
    };
    spec.config_hash = hash::of(&spec);
    let spec = spec.with_tables(&spec.choice.named());
    let nodes = members.into_iter().map(|(node, _)| node).collect();
    Some(Sync { spec, nodes })
}

fn node_spec(node: &Node, rank: Rank) -> NodeSpec {
    NodeSpec {
        name: node.name.clone(),
        rank,
        engine: node.engine,
        access: node.access.clone(),
        tables: Vec::new(),
        external: HashMap::default(),
    }
}

fn members(builder: &mut Builder<'_>, file: &SyncFile, nodes: &Nodes) -> Vec<(Arc<Node>, Rank)> {
    let names = file.nodes.get_ref();
    let mut found: Vec<(Arc<Node>, Rank)> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let Some((_, declared)) = nodes.iter().find(|(known, _)| known == name.get_ref()) else {
            builder.problem(
                Problem::new(format!("node \"{}\" is not defined", name.get_ref()))
                    .hint(format!("add [node.{}] with its url", name.get_ref()))
                    .nearest(name.get_ref(), nodes.iter().map(|(known, _)| known.as_str()))
                    .at(name.span()),
            );
            continue;
        };
        // A wrong node was reported where it stands.
        let Some(declared) = declared else { continue };
        let rank = declared
            .rank
            .unwrap_or(i64::try_from(place + 1).unwrap_or(RANK_MAX));
        let rank = Rank::try_from(rank).unwrap_or_default();
        if let Some((other, _)) = found
            .iter()
            .find(|(other, _)| same_database(other, &declared.node))
        {
            let what = if other.name == declared.node.name {
                format!("node \"{}\" is named twice", other.name)
            } else if declared.node.engine.is_postgres() {
                format!(
                    "nodes \"{}\" and \"{}\" are one database",
                    other.name, declared.node.name
                )
            } else {
                format!(
                    "nodes \"{}\" and \"{}\" are one server: all its databases share one log",
                    other.name, declared.node.name
                )
            };
            builder.problem(
                Problem::new(what)
                    .hint("a sync joins two databases; on MySQL and MariaDB they are of two servers")
                    .at(name.span()),
            );
        } else if let Some((other, _)) = found.iter().find(|(_, taken)| *taken == rank) {
            builder.problem(
                Problem::new(format!(
                    "nodes \"{}\" and \"{}\" both have rank {rank}",
                    other.name,
                    name.get_ref()
                ))
                .hint("give each node its own rank; the default is its place in nodes, from 1")
                .at(name.span()),
            );
        }
        found.push((declared.node.clone(), rank));
    }
    found
}

fn same_database(a: &Node, b: &Node) -> bool {
    a.name == b.name || database(a) == database(b)
}

/// What tells a node's database from others, as far as the URL does. A MySQL or MariaDB server has one log and one
/// database of ours, so all its databases are one node.
fn database(node: &Node) -> String {
    crate::flow::rings::by_address(node.engine, &node.access)
}

fn mode(builder: &mut Builder<'_>, given: &Spanned<String>) -> Option<Mode> {
    match given.get_ref().as_str() {
        "merge" => Some(Mode::Merge),
        "transactional" => Some(Mode::Transactional),
        "snapshot" => Some(Mode::Snapshot),
        other => {
            builder.problem(
                Problem::new(format!("unknown mode \"{other}\""))
                    .hint(
                        "merge (two-way), transactional (one-way, with from) or snapshot (an image now and then, with from and \
                         every)",
                    )
                    .nearest(other, ["merge", "transactional", "snapshot"])
                    .at(given.span()),
            );
            None
        }
    }
}

/// A table that stays behind is seen by whoever looks, a link that stops by everybody: it has to be asked for.
fn on_stop(builder: &mut Builder<'_>, file: &SyncFile) -> Option<OnStop> {
    let key = format!("sync.{}.on_stop", file.name.get_ref());
    let Some(given) = &file.on_stop else {
        builder.show(&key, "link", None);
        return Some(OnStop::Link);
    };
    builder.show(&key, given.get_ref(), Some(given.span()));
    match given.get_ref().as_str() {
        "link" => Some(OnStop::Link),
        "table" => Some(OnStop::Table),
        other => {
            builder.problem(
                Problem::new(format!("unknown on_stop \"{other}\""))
                    .hint("table (the others go on, it catches up later) or link (everything waits)")
                    .nearest(other, ["table", "link"])
                    .at(given.span()),
            );
            None
        }
    }
}

/// How long conflicts are kept that are not open, in hours.
const KEEP_HOURS: (i64, i64) = (1, 100 * 366 * 24);

fn keep_conflicts(builder: &mut Builder<'_>, file: &SyncFile) -> Option<Duration> {
    const DEFAULT: &str = "30d";
    let key = format!("sync.{}.keep_conflicts", file.name.get_ref());
    let (text, span) = match &file.keep_conflicts {
        Some(given) => (given.get_ref().as_str(), Some(given.span())),
        None => (DEFAULT, None),
    };
    builder.show(&key, text, span.clone());
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let parsed = text
        .parse::<jiff::Span>()
        .ok()
        .and_then(|span| span.to_duration(days).ok());
    let kept = parsed.filter(|kept| (KEEP_HOURS.0..=KEEP_HOURS.1).contains(&kept.as_hours()));
    match kept {
        Some(kept) => Some(kept.unsigned_abs()),
        None => {
            let problem = Problem::new(format!("keep_conflicts is no time to keep anything: \"{text}\""))
                .hint("an age from 1h, such as \"30d\" or \"12h\"; open conflicts are kept until they are decided");
            builder.problem(match span {
                Some(span) => problem.at(span),
                None => problem,
            });
            None
        }
    }
}

/// The only source of a transactional sync.
fn from(builder: &mut Builder<'_>, file: &SyncFile, mode: Option<Mode>, nodes: &[String]) -> Option<String> {
    match (&file.from, mode?) {
        (None, Mode::Merge) => None,
        (Some(from), Mode::Merge) => {
            let problem = Problem::new("from belongs to mode = \"transactional\": merge runs both ways");
            builder.problem(problem.hint("remove from, or change the mode").at(from.span()));
            None
        }
        (None, mode @ (Mode::Transactional | Mode::Snapshot)) => {
            let problem = Problem::new(format!(
                "mode = \"{}\" needs from: the node that is the source",
                mode.name()
            ));
            let example = nodes.first().map_or("pg", String::as_str);
            builder.problem(
                problem
                    .hint(format!("add from = \"{example}\""))
                    .at(file.mode.span()),
            );
            None
        }
        (Some(from), Mode::Transactional | Mode::Snapshot) => {
            builder.show(
                &format!("sync.{}.from", file.name.get_ref()),
                from.get_ref(),
                Some(from.span()),
            );
            known_node(builder, from.get_ref(), from.span(), nodes);
            Some(from.get_ref().clone())
        }
    }
}

pub(super) fn known_node(
    builder: &mut Builder<'_>,
    name: &str,
    span: Range<usize>,
    nodes: &[String],
) -> bool {
    let known = nodes.iter().any(|node| node == name);
    if !known {
        builder.problem(
            Problem::new(format!("\"{name}\" is not one of this sync's nodes"))
                .hint(format!("they are {}", nodes.join(", ")))
                .nearest(name, nodes.iter().map(String::as_str))
                .at(span),
        );
    }
    known
}

fn seed(
    builder: &mut Builder<'_>,
    (file, given): (&SyncFile, &Spanned<String>),
    mode: Option<Mode>,
    (nodes, from): (&[String], Option<&str>),
) -> Option<Seed> {
    match given.get_ref().as_str() {
        "none" => return Some(Seed::None),
        "union" => {
            topology::refuse_union(builder, (file, given), mode);
            return Some(Seed::Union);
        }
        _ => {}
    }
    let Some(name) = given.get_ref().strip_prefix("from:") else {
        builder.problem(
            Problem::new(format!("unknown seed \"{}\"", given.get_ref()))
                .hint("\"from:NODE\" copies that node's rows first; \"union\" makes one set of what all hold; \"none\" copies nothing")
                .at(given.span()),
        );
        return None;
    };
    if !known_node(builder, name, given.span(), nodes) {
        return None;
    }
    if let Some(from) = from.filter(|from| *from != name) {
        builder.problem(
            Problem::new(format!(
                "seed copies from \"{name}\", but the sync runs from \"{from}\""
            ))
            .hint(format!("write seed = \"from:{from}\" or seed = \"none\""))
            .at(given.span()),
        );
    }
    Some(Seed::From(name.to_owned()))
}

/// Syncs may cascade, but a table must not come back to a node by a second way, and the stamp in a merge row
/// belongs to one sync. Here as far as names and patterns tell; the rest is told once the tables are known
/// (`flow::rings`).
fn refuse_rings(builder: &mut Builder<'_>, syncs: &[(Sync, Range<usize>)]) {
    let databases = |sync: &Sync| sync.nodes.iter().map(|node| database(node)).collect::<Vec<_>>();
    let choosers: Vec<Chooser<'_>> = syncs
        .iter()
        .map(|(sync, _)| Chooser {
            databases: databases(sync),
            choice: &sync.spec.choice,
        })
        .collect();
    let tables = ring::examples(&choosers);
    let members: Vec<Member> = syncs
        .iter()
        .zip(tables)
        .map(|((sync, _), tables)| Member {
            sync: sync.spec.name.clone(),
            databases: databases(sync),
            tables,
        })
        .collect();
    let mut told = BTreeSet::new();
    for ring in ring::closing(&members) {
        let (sync, span) = &syncs[ring.member];
        // One example for each way is enough.
        if !told.insert((ring.member, ring.through.clone())) {
            continue;
        }
        let (nodes, ids) = (&sync.spec.nodes, &members[ring.member].tables[ring.table]);
        let (one, other) = ring.ends;
        let through: Vec<String> = ring
            .through
            .iter()
            .map(|other| format!("\"{}\"", members[*other].sync))
            .collect();
        let what = format!(
            "table {} of \"{}\" already reaches \"{}\" by sync {}{}",
            ids[one],
            nodes[one].name,
            nodes[other].name,
            through.join(" and "),
            other_names(syncs, &ring)
        );
        builder.problem(
            Problem::new(what)
                .hint(
                    "a table may be in one way between two nodes: take it out of one of the syncs, and of patterns \
                     with \"!table\"",
                )
                .at(span.clone()),
        );
    }
    refuse_two_stamps(builder, syncs, &members);
    refuse_two_writers(builder, syncs, &members);
}

/// Nodes of a ring that are one database under two names.
fn other_names(syncs: &[(Sync, Range<usize>)], ring: &ring::Ring) -> String {
    let all = ring.through.iter().chain([&ring.member]);
    let nodes: Vec<&Arc<Node>> = all.flat_map(|index| &syncs[*index].0.nodes).collect();
    let mut said = BTreeSet::new();
    for (place, node) in nodes.iter().enumerate() {
        for other in &nodes[..place] {
            if other.name != node.name && same_database(other, node) {
                let (one, two) = (
                    other.name.as_str().min(&node.name),
                    other.name.as_str().max(&node.name),
                );
                said.insert(format!("; \"{one}\" and \"{two}\" are one database"));
            }
        }
    }
    said.into_iter().collect()
}

fn refuse_two_stamps(builder: &mut Builder<'_>, syncs: &[(Sync, Range<usize>)], members: &[Member]) {
    let mut stamped: BTreeMap<(&str, &TableId), usize> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for (index, ((sync, span), member)) in syncs.iter().zip(members).enumerate() {
        if sync.spec.mode != Mode::Merge {
            continue;
        }
        for ids in &member.tables {
            for (node, (database, id)) in member.databases.iter().zip(ids).enumerate() {
                let Some(other) = stamped.insert((database, id), index) else {
                    continue;
                };
                if other == index || !told.insert((other, index)) {
                    continue;
                }
                let what = format!(
                    "table {id} of \"{}\" is in the merge syncs \"{}\" and \"{}\"",
                    sync.spec.nodes[node].name, members[other].sync, member.sync
                );
                builder.problem(
                    Problem::new(what)
                        .hint("one merge sync per table for now")
                        .at(span.clone()),
                );
            }
        }
    }
}

/// An image removes what it does not hold, so the tables that it fills are written by nobody else.
fn refuse_two_writers(builder: &mut Builder<'_>, syncs: &[(Sync, Range<usize>)], members: &[Member]) {
    let written = |index: usize| {
        let (spec, member) = (&syncs[index].0.spec, &members[index]);
        let targets: BTreeSet<usize> = spec.links.iter().map(|(_, target)| *target).collect();
        let places = targets.into_iter().flat_map(move |target| {
            let ids = member.tables.iter().map(move |ids| &ids[target]);
            ids.map(move |id| (member.databases[target].as_str(), id))
        });
        places.collect::<BTreeSet<(&str, &TableId)>>()
    };
    let (images, others): (Vec<usize>, Vec<usize>) =
        (0..syncs.len()).partition(|index| syncs[*index].0.spec.mode == Mode::Snapshot);
    for (number, image) in images.iter().enumerate() {
        let filled = written(*image);
        for other in others.iter().chain(&images[..number]) {
            let Some((_, id)) = written(*other).into_iter().find(|place| filled.contains(place)) else {
                continue;
            };
            let what = format!(
                "table {id} is written by the snapshot sync \"{}\" and by sync \"{}\": each image would remove what the \
                 other wrote",
                members[*image].sync, members[*other].sync
            );
            let problem = Problem::new(what).hint("take it out of one of the two syncs");
            builder.problem(problem.at(syncs[*image].1.clone()));
        }
    }
}
