//! Which tables a sync has now: its patterns, held against what the databases hold.
//!
//! Owns: the difference between what matches (the catalogs) and what was set up (our own record). Only `setup` lets a
//! table in; `run` works with what was set up, and says what else matches.
//! A two-way sync takes the tables of either side; a one-way sync those of its source.
//! Codes: E351 nothing matches, W352 a table is not set up, E353 two tables are one on a node, W354 a table's name is
//! taken by another, W357 a pattern chooses nothing, W364 and E365 a section for many tables speaks of a column, or of
//! tables, that are not there.

use super::spec::SyncSpec;
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::mapping::choice::{Chosen, Table};
use crate::model::schema::TableId;
use crate::model::sync::{Finding, Level};
use std::collections::{BTreeMap, BTreeSet};

/// A sync with its tables, and what there is to say about their choice.
pub struct Selected {
    pub spec: SyncSpec,
    pub notes: Vec<Finding>,
}

/// What `run` and `check` are about: the tables that were set up, or, before that, those that match. A node that
/// cannot be reached is `None` and decides nothing.
pub async fn current(sync: &SyncSpec, nodes: &mut [Option<Node>]) -> Result<Selected> {
    if sync.choice.is_fixed() {
        return fitted(fixed(sync), nodes).await;
    }
    let matching = sync.choice.chosen(&listed(sync, nodes).await?);
    let Some(known) = set_up(sync, nodes).await? else {
        let selected = select(sync, &matching, matching.tables.clone(), nodes);
        return fitted(selected, nodes).await;
    };
    let mut selected = select(sync, &matching, known.tables, nodes);
    selected.notes.extend(newcomers(sync, &matching, &selected.spec));
    fitted(selected, nodes).await
}

/// What `setup` is about: everything that matches. Tables that join a sync after its first start are copied by themselves.
pub async fn wanted(sync: &SyncSpec, nodes: &mut [Option<Node>]) -> Result<Selected> {
    let selected = if sync.choice.is_fixed() {
        fixed(sync)
    } else {
        let matching = sync.choice.chosen(&listed(sync, nodes).await?);
        select(sync, &matching, matching.tables.clone(), nodes)
    };
    let blocker = selected.notes.iter().find(|note| note.level == Level::Blocker);
    match blocker {
        Some(blocker) => Err(refusal(blocker)),
        None => fitted(selected, nodes).await,
    }
}

/// Sections for many tables speak of columns that not every table has: what is said of those that a table lacks is not said
/// of it. A column that no table has is a finding. Tables that no node shows are left as they are.
async fn fitted(mut selected: Selected, nodes: &mut [Option<Node>]) -> Result<Selected> {
    let spec = &mut selected.spec;
    if spec.mappings.iter().all(|(_, mapping)| mapping.loose.is_empty()) {
        return Ok(selected);
    }
    let mut catalogs = Vec::with_capacity(nodes.len());
    for (node, declared) in nodes.iter_mut().zip(&spec.nodes) {
        catalogs.push(match node {
            Some(node) => node.catalog(&declared.tables).await?,
            None => Vec::new(),
        });
    }
    let held = |node: usize, table: usize| catalogs.get(node)?.get(table)?.as_ref();
    // By section and column: does some table have it?
    let mut found: BTreeMap<(String, String), bool> = BTreeMap::new();
    let count = spec.nodes.len();
    for table in 0..spec.mappings.len() {
        if (0..count).all(|node| held(node, table).is_none()) {
            continue;
        }
        let has = |node: usize, column: &str| {
            held(node, table).is_some_and(|known| known.table.column(column).is_some())
        };
        let known = spec.choice.known_on(0, &spec.nodes[0].tables[table]);
        let section = known.and_then(|known| spec.choice.section_text(known.declared?));
        let mapping = &mut spec.mappings[table].1;
        let (fitting, absent) = mapping.fitting(count, has);
        for column in &mapping.loose {
            let is_there = !absent.contains(column);
            let seen = found
                .entry((section.clone().unwrap_or_default(), column.clone()))
                .or_default();
            *seen |= is_there;
        }
        *mapping = fitting;
        spec.rules[table]
            .columns
            .retain(|column, _| !absent.contains(column));
    }
    let node = spec
        .links
        .first()
        .map_or("", |(lead, _)| spec.nodes[*lead].name.as_str());
    // Several sections may speak of one column; what one of them finds is found.
    let columns: BTreeSet<&String> = found.keys().map(|(_, column)| column).collect();
    let idle = columns.into_iter().filter(|column| {
        let mut of_column = found.iter().filter(|((_, known), _)| known == *column);
        !of_column.any(|(_, is_there)| *is_there)
    });
    let notes = idle.map(|column| {
        let mut sections = found
            .keys()
            .filter(|(_, known)| known == column)
            .map(|(section, _)| section.as_str());
        let section = sections.next_back().unwrap_or_default();
        let what =
            format!("[sync.table.{section:?}] speaks of column {column:?}, and none of its tables has it");
        let finding = Finding::warning("W364", node, what);
        finding
            .fix("correct its name, or take it out")
            .setting(format!("table.{section}.column.{column}"))
    });
    selected.notes.extend(notes.collect::<Vec<_>>());
    Ok(selected)
}

/// A finding as the error of a command that cannot go on.
pub fn refusal(finding: &Finding) -> Error {
    let error = Error::definite("choose the tables")
        .node(&finding.node)
        .reason(Reason::Blocked)
        .why(format!("{}: {}", finding.code, finding.what))
        .hint(finding.fix.clone().unwrap_or_else(|| "tidelock check".to_owned()));
    match &finding.table {
        Some(table) => error.table(table),
        None => error,
    }
}

fn fixed(sync: &SyncSpec) -> Selected {
    let tables = sync.choice.named();
    Selected {
        spec: sync.clone(),
        notes: unspoken(sync, &tables.iter().collect::<Vec<_>>()),
    }
}

/// Sections for many tables that speak of none of these: what they would keep back would cross.
fn unspoken(sync: &SyncSpec, tables: &[&Table]) -> Vec<Finding> {
    let (lead, _) = sync.links.first().copied().unwrap_or_default();
    let idle = sync.choice.unspoken(tables).into_iter();
    let findings = idle.map(|text| {
        let what = format!("[sync.table.{text:?}] speaks of no table of the sync");
        Finding::blocker("E365", &sync.nodes[lead].name, what)
            .fix("write it as tables does, with or without its schema, or take it out")
            .setting(format!("table.{text}"))
    });
    findings.collect()
}

/// The tables of the nodes that lead.
async fn listed(sync: &SyncSpec, nodes: &mut [Option<Node>]) -> Result<Vec<Option<Vec<TableId>>>> {
    let mut listed = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter_mut().enumerate() {
        let leads = sync.links.iter().any(|(source, _)| *source == index);
        listed.push(match node {
            Some(node) if leads => Some(node.list(sync.choice.schemas_on(index).as_deref()).await?),
            Some(_) | None => None,
        });
    }
    Ok(listed)
}

/// What our own record says of every node; `None` when nothing is set up.
async fn set_up(sync: &SyncSpec, nodes: &mut [Option<Node>]) -> Result<Option<Chosen>> {
    let mut recorded = Vec::with_capacity(nodes.len());
    for node in nodes.iter_mut() {
        recorded.push(match node {
            Some(node) => Some(node.recorded_tables(&sync.name).await?),
            None => None,
        });
    }
    match recorded.iter().flatten().all(Vec::is_empty) {
        true => Ok(None),
        false => Ok(Some(sync.choice.chosen(&recorded))),
    }
}

fn select(sync: &SyncSpec, matching: &Chosen, tables: Vec<Table>, nodes: &[Option<Node>]) -> Selected {
    let name = |node: usize| sync.nodes[node].name.as_str();
    let mut notes = Vec::new();
    if tables.is_empty() {
        let patterns: Vec<&str> = sync
            .choice
            .patterns
            .iter()
            .map(|pattern| pattern.text.as_str())
            .collect();
        let what = format!("no table matches tables = {patterns:?}");
        let fix = "correct the patterns: \"*\" is every table of the default schema, \"schema.*\" every one of a \
                   schema; an account sees only tables that it has rights on";
        let finding = Finding::blocker("E351", name(sync.links.first().map_or(0, |link| link.0)), what);
        notes.push(finding.fix(fix).setting(Finding::TABLES));
    } else {
        let node = name(sync.links.first().map_or(0, |link| link.0));
        notes.extend(matching.idle.iter().map(|pattern| {
            let what = format!("the pattern {pattern:?} chooses no table");
            let finding = Finding::warning("W357", node, what);
            finding
                .fix("correct it, or take it out of tables")
                .setting(Finding::TABLES)
        }));
        // A node that was not reached may have what a section means.
        if nodes.iter().all(Option::is_some) {
            let known: Vec<&Table> = matching.tables.iter().chain(&tables).collect();
            notes.extend(unspoken(sync, &known));
        }
    }
    for (node, id) in &matching.clashes {
        let what = "two tables of the other node would be this one".to_owned();
        let fix =
            "take one of them out of tables (\"!schema.table\"), or give it a name of its own with names";
        notes.push(
            Finding::blocker("E353", name(*node), what)
                .table(id)
                .fix(fix)
                .setting("names"),
        );
    }
    for (node, id) in &matching.displaced {
        let what =
            "it matches, but its counterpart on the other node belongs to another table: it is not carried";
        let fix = format!(
            "take it out of tables (\"!{id}\"), or give it names in a section [sync.table] of its own"
        );
        notes.push(Finding::warning("W354", name(*node), what).table(id).fix(fix));
    }
    Selected {
        spec: sync.with_tables(&tables),
        notes,
    }
}

/// Tables that match and are not in.
fn newcomers(sync: &SyncSpec, matching: &Chosen, selected: &SyncSpec) -> Vec<Finding> {
    let (lead, _) = sync.links.first().copied().unwrap_or_default();
    let known: BTreeSet<&TableId> = selected.nodes[lead].tables.iter().collect();
    let new = matching
        .tables
        .iter()
        .filter(|table| !known.contains(&table.ids[lead]));
    let note = |table: &Table| {
        let what = "it matches the patterns and is not set up: its changes are not carried";
        let fix = format!(
            "tidelock setup --sync {} --execute lets it in and has its rows copied; or take it out (\"!{}\")",
            sync.name, table.name
        );
        Finding::warning("W352", &sync.nodes[lead].name, what)
            .table(&table.ids[lead])
            .fix(fix)
    };
    new.map(note).collect()
}
