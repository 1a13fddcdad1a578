//! `conflicts list` and `conflicts show`: what both sides changed, read from the targets.
//!
//! A conflict's number counts in one database, so it is written NODE:NUMBER; its id is the same on all nodes.

use super::{Face, Schema, render, select};
use crate::config::{Config, Sync};
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::flow::figures::moment;
use crate::model::conflict::{ConflictFilter, StoredConflict};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The newest conflicts of all nodes
    List(List),
    /// One conflict with its three rows: last agreed, local, incoming
    Show(Show),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Only conflicts met by this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Only this table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only this kind, e.g. update_origin_differs
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only those that wait for a person
    #[arg(long)]
    open: bool,
    /// At most so many of each node
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// NUMBER, NODE:NUMBER or the id
    conflict: String,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
}

/// A conflict in JSON. Rows are passed on as they are stored: no number loses a digit.
#[derive(Serialize)]
struct Report {
    node: String,
    number: i64,
    id: String,
    sync: String,
    link: String,
    table: String,
    key: Box<RawValue>,
    kind: String,
    operation: String,
    rule: String,
    outcome: String,
    detail: String,
    recorded_at: String,
    source_committed_at: String,
    source_position: String,
    local_version: Option<i64>,
    local_origin: Option<i64>,
    incoming_version: Option<i64>,
    incoming_origin: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct ListDocument {
    schema: Schema,
    conflicts: Vec<Report>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct ShowDocument {
    schema: Schema,
    conflict: Report,
    next_steps: Vec<String>,
}

struct Found {
    node: String,
    /// Name of the node the change came from.
    source: String,
    conflict: StoredConflict,
}

pub(super) async fn run(face: &Face, command: &Command) -> Result<()> {
    let config = face.load()?;
    match command {
        Command::List(options) => list(face, &config, options).await,
        Command::Show(options) => show(face, &config, options).await,
    }
}

/// Every target of the chosen syncs, newest conflict first.
async fn find(
    config: &Config,
    sync: Option<&str>,
    node: Option<&str>,
    filter: &ConflictFilter,
) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for sync in select(config, sync)? {
        for index in targets(sync) {
            let declared = &sync.nodes[index];
            known.insert(&declared.name);
            if node.is_some_and(|only| only != declared.name) {
                continue;
            }
            let mut connected = Node::connect(&declared.access, declared.engine).await?;
            let conflicts = connected.conflicts(&sync.spec.name, filter).await?;
            found.extend(conflicts.into_iter().map(|conflict| Found {
                node: declared.name.clone(),
                source: conflict.link.split("->").next().unwrap_or_default().to_owned(),
                conflict,
            }));
        }
    }
    if let Some(node) = node.filter(|node| !known.contains(node)) {
        let known: Vec<&str> = known.into_iter().collect();
        return Err(Error::definite(format!("find the node {node:?}"))
            .why("no link writes into such a node")
            .hint(format!("links write into {}", known.join(", "))));
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.conflict.recorded_at_us));
    Ok(found)
}

fn targets(sync: &Sync) -> BTreeSet<usize> {
    sync.links().into_iter().map(|link| link.target).collect()
}

async fn list(face: &Face, config: &Config, options: &List) -> Result<()> {
    let filter = ConflictFilter {
        table: options.table.clone(),
        kind: options.kind.clone(),
        only_open: options.open,
        limit: options.limit,
        ..ConflictFilter::default()
    };
    let found = find(config, options.sync.as_deref(), options.node.as_deref(), &filter).await?;
    let next_steps: Vec<String> = found
        .first()
        .map(|found| format!("tidelock conflicts show {}:{}", found.node, found.conflict.number))
        .into_iter()
        .collect();
    if face.json {
        let conflicts = found.into_iter().map(|found| report(found, false)).collect();
        return face.document(&ListDocument {
            schema: Schema,
            conflicts,
            next_steps,
        });
    }
    if found.is_empty() {
        face.say("no conflicts");
        return Ok(());
    }
    let heading = [
        "NUMBER", "TABLE", "KEY", "KIND", "RULE", "OUTCOME", "RECORDED", "LINK",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for Found { node, conflict, .. } in &found {
        rows.push(vec![
            format!("{node}:{}", conflict.number),
            format!("{}.{}", conflict.schema, conflict.table),
            render::cut(&conflict.key, 40),
            conflict.kind.clone(),
            conflict.rule.clone(),
            conflict.outcome.clone(),
            moment(conflict.recorded_at_us),
            conflict.link.clone(),
        ]);
    }
    face.print(&render::table(&rows));
    face.next(&next_steps);
    Ok(())
}

async fn show(face: &Face, config: &Config, options: &Show) -> Result<()> {
    let (node, filter) = wanted(&options.conflict)?;
    let mut found = find(config, options.sync.as_deref(), node.as_deref(), &filter).await?;
    let doing = || Error::definite(format!("find the conflict {:?}", options.conflict));
    if let [_, _, ..] = found[..] {
        let names: Vec<String> = found
            .iter()
            .map(|found| format!("{}:{}", found.node, found.conflict.number))
            .collect();
        return Err(doing()
            .why("several nodes have one with this number or id")
            .hint(format!("say which: {}", names.join(", "))));
    }
    let Some(found) = found.pop() else {
        return Err(doing().why("no node has it").hint("tidelock conflicts list"));
    };
    let next_steps = vec!["tidelock conflicts list".to_owned()];
    if face.json {
        return face.document(&ShowDocument {
            schema: Schema,
            conflict: report(found, true),
            next_steps,
        });
    }
    face.print(&text(&found));
    Ok(())
}

/// `7`, `my:7` or 32 hexadecimal digits.
fn wanted(text: &str) -> Result<(Option<String>, ConflictFilter)> {
    let (node, rest) = match text.split_once(':') {
        Some((node, rest)) => (Some(node.to_owned()), rest),
        None => (None, text),
    };
    let mut filter = ConflictFilter::default();
    if rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()) {
        filter.id = Some(rest.to_ascii_lowercase());
    } else if let Ok(number) = rest.parse() {
        filter.number = Some(number);
    } else {
        return Err(Error::definite(format!("find the conflict {text:?}"))
            .why("this is neither a number nor an id")
            .hint("take NUMBER of `tidelock conflicts list`, e.g. my:7"));
    }
    Ok((node, filter))
}

fn report(Found { node, conflict, .. }: Found, rows: bool) -> Report {
    let row = |text: Option<String>| text.filter(|_| rows).map(raw);
    Report {
        node,
        number: conflict.number,
        id: conflict.id,
        sync: conflict.sync,
        link: conflict.link,
        table: format!("{}.{}", conflict.schema, conflict.table),
        key: raw(conflict.key),
        kind: conflict.kind,
        operation: conflict.operation,
        rule: conflict.rule,
        outcome: conflict.outcome,
        detail: conflict.detail,
        recorded_at: moment(conflict.recorded_at_us),
        source_committed_at: moment(conflict.source_committed_at_us),
        source_position: conflict.source_position,
        local_version: conflict.local_stamp.map(|(version, _)| version),
        local_origin: conflict.local_stamp.map(|(_, origin)| origin),
        incoming_version: conflict.incoming_stamp.map(|(version, _)| version),
        incoming_origin: conflict.incoming_stamp.map(|(_, origin)| origin),
        base: row(conflict.base),
        local: row(conflict.local),
        incoming: row(conflict.incoming),
    }
}

/// Stored JSON as it is; a text that is none (somebody edited the table) as a JSON string.
fn raw(text: String) -> Box<RawValue> {
    match RawValue::from_string(text.clone()) {
        Ok(raw) => raw,
        // A string always has a JSON form; `null` is unreachable here.
        Err(_) => to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned()),
    }
}

/// Cells longer than this are cut on screen; the whole text is in `--json`.
const CELL_CHARS: usize = 48;

fn text(found: &Found) -> String {
    let conflict = &found.conflict;
    let mut rows = vec![
        vec![
            "conflict".to_owned(),
            format!("{}:{}  {}", found.node, conflict.number, conflict.id),
        ],
        vec![
            "table".to_owned(),
            format!("{}.{}  key {}", conflict.schema, conflict.table, conflict.key),
        ],
        vec![
            "kind".to_owned(),
            format!("{} ({} from {})", conflict.kind, conflict.operation, found.source),
        ],
        vec![
            "decided".to_owned(),
            format!("{} by rule {}", conflict.outcome, conflict.rule),
        ],
        vec!["because".to_owned(), conflict.detail.clone()],
        vec!["recorded".to_owned(), moment(conflict.recorded_at_us)],
        vec![
            "incoming".to_owned(),
            format!(
                "{} at {}",
                moment(conflict.source_committed_at_us),
                conflict.source_position
            ),
        ],
        vec![
            "stamps".to_owned(),
            format!(
                "local {}, incoming {}",
                stamp(conflict.local_stamp),
                stamp(conflict.incoming_stamp)
            ),
        ],
    ];
    rows.retain(|row| row.get(1).is_some_and(|text| !text.is_empty()));
    let mut out = render::table(&rows);
    out.push('\n');
    out.push_str(&render::table(&columns(found)));
    out
}

fn stamp(stamp: Option<(i64, i64)>) -> String {
    stamp.map_or_else(
        || "none".to_owned(),
        |(version, origin)| format!("version {version} of node {origin}"),
    )
}

/// One line per column, those that differ first.
fn columns(found: &Found) -> Vec<Vec<String>> {
    let conflict = &found.conflict;
    let images = [&conflict.base, &conflict.local, &conflict.incoming]
        .map(|image| image.as_deref().map(cells).unwrap_or_default());
    let names: BTreeSet<&String> = images.iter().flat_map(BTreeMap::keys).collect();
    let mut lines: Vec<(bool, Vec<String>)> = names
        .into_iter()
        .map(|name| {
            let [base, local, incoming] = [&images[0], &images[1], &images[2]].map(|image| image.get(name));
            let differs = local != incoming;
            let cell =
                |text: Option<&String>| text.map_or("-".to_owned(), |text| render::cut(text, CELL_CHARS));
            let mark = if differs { "≠" } else { "" };
            (
                !differs,
                vec![
                    name.clone(),
                    cell(base),
                    cell(local),
                    mark.to_owned(),
                    cell(incoming),
                ],
            )
        })
        .collect();
    lines.sort_by_key(|(equal, _)| *equal);
    let heading = [
        "COLUMN",
        "LAST AGREED",
        &format!("LOCAL ({})", found.node),
        "",
        &format!("INCOMING ({})", found.source),
    ]
    .map(str::to_owned)
    .to_vec();
    std::iter::once(heading)
        .chain(lines.into_iter().map(|(_, line)| line))
        .collect()
}

/// The cells of a stored row as text, digits as they are.
fn cells(text: &str) -> BTreeMap<String, String> {
    let row: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap_or_default();
    row.into_iter()
        .map(|(name, cell)| {
            let cell = match serde_json::from_str::<String>(cell.get()) {
                Ok(text) => text,
                Err(_) if cell.get() == "null" => "NULL".to_owned(),
                Err(_) => cell.get().to_owned(),
            };
            (name, cell)
        })
        .collect()
}

#[cfg(test)]
mod tests;
