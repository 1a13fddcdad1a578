//! `conflicts`: what both sides changed, read from the nodes that recorded it, and decided by a person.
//!
//! Owns: finding conflicts on all nodes, `list` and `show`. A conflict's number counts in one database, so it is written
//! NODE:NUMBER; its id is the same on all nodes. Refuses: showing what is masked (see `view`).

mod decide;
mod dismiss;
mod export;
mod view;
mod whatif;

use super::{Face, Schema, render, select};
use crate::config::{Config, Sync};
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::flow::figures::moment;
use crate::model::conflict::{ConflictFilter, StoredConflict};
use serde::Serialize;
use std::collections::BTreeSet;
use view::{Report, Viewed};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The newest conflicts of all nodes
    List(List),
    /// One conflict with its three rows: last agreed, local, incoming
    Show(Show),
    /// Decide one that waits for a person (a plan, unless --execute)
    Resolve(decide::Options),
    /// Decide otherwise what a rule decided, also long after (a plan, unless --execute)
    Override(decide::Options),
    /// Close one for which nothing is left to do, as in a one-way sync once the row was mended (a plan, unless --execute)
    Dismiss(dismiss::Options),
    /// All of them with their rows, for other programs, oldest first
    Export(export::Options),
    /// What another rule would have made of them: counts and examples
    Whatif(whatif::Options),
}

/// Which conflicts.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Which {
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
    /// Only those recorded since then: 2026-11-21T20:00:00Z, or an age such as 2h or 3d
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<i64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
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

/// A recorded conflict and where it was found.
struct Found<'a> {
    sync: &'a Sync,
    /// The node's place in the sync.
    node: usize,
    conflict: StoredConflict,
}

impl Found<'_> {
    fn name(&self) -> String {
        format!("{}:{}", self.sync.nodes[self.node].name, self.conflict.number)
    }
}

impl Which {
    fn filter(&self, limit: u32) -> ConflictFilter {
        ConflictFilter {
            table: self.table.clone(),
            kind: self.kind.clone(),
            only_open: self.open,
            since_us: self.since,
            limit,
            ..ConflictFilter::default()
        }
    }

    /// The nodes that record, each with its sync.
    fn places<'c>(&self, config: &'c Config) -> Result<Vec<(&'c Sync, usize)>> {
        places(config, self.sync.as_deref(), self.node.as_deref())
    }
}

/// Microseconds since 1970.
fn since(text: &str) -> Result<i64, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_microsecond());
    }
    let span: jiff::Span = text
        .parse()
        .map_err(|_| "a time such as 2026-11-21T20:00:00Z, or an age such as 2h or 3d".to_owned())?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let age = span.to_duration(days).map_err(|error| error.to_string())?;
    let at = jiff::Timestamp::now()
        .checked_sub(age)
        .map_err(|error| error.to_string())?;
    Ok(at.as_microsecond())
}

pub(super) async fn run(face: &Face, command: &Command) -> Result<()> {
    let config = face.load()?;
    match command {
        Command::List(options) => list(face, &config, options).await,
        Command::Show(options) => show(face, &config, options).await,
        Command::Resolve(options) => Box::pin(decide::run(face, &config, options, false)).await,
        Command::Override(options) => Box::pin(decide::run(face, &config, options, true)).await,
        Command::Dismiss(options) => dismiss::run(face, &config, options).await,
        Command::Export(options) => export::run(face, &config, options).await,
        Command::Whatif(options) => whatif::run(face, &config, options).await,
    }
}

/// Every target of the chosen syncs, or one of them.
fn places<'c>(config: &'c Config, sync: Option<&str>, node: Option<&str>) -> Result<Vec<(&'c Sync, usize)>> {
    let mut places = Vec::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for sync in select(config, sync)? {
        for index in targets(sync) {
            let name = sync.nodes[index].name.as_str();
            known.insert(name);
            if node.is_none_or(|only| only == name) {
                places.push((sync, index));
            }
        }
    }
    match node.filter(|node| !known.contains(node)) {
        None => Ok(places),
        Some(node) => {
            let known: Vec<&str> = known.into_iter().collect();
            Err(Error::definite(format!("find the node {node:?}"))
                .why("no link writes into such a node")
                .hint(format!("links write into {}", known.join(", "))))
        }
    }
}

/// Name of the node that the change came from.
fn source_name(conflict: &StoredConflict) -> &str {
    conflict.link.split("->").next().unwrap_or_default()
}

fn targets(sync: &Sync) -> BTreeSet<usize> {
    sync.links().into_iter().map(|link| link.target).collect()
}

/// Newest first.
async fn find<'c>(places: Vec<(&'c Sync, usize)>, filter: &ConflictFilter) -> Result<Vec<Found<'c>>> {
    let mut found = Vec::new();
    for (sync, node) in places {
        let declared = &sync.nodes[node];
        let mut connected = Node::connect(&declared.access, declared.engine).await?;
        let conflicts = connected.conflicts(&sync.spec.name, filter).await?;
        connected.close().await;
        found.extend(
            conflicts
                .into_iter()
                .map(|conflict| Found { sync, node, conflict }),
        );
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.conflict.recorded_at_us));
    Ok(found)
}

/// The conflict that a text names, as the node that is named recorded it, or the one that recorded it last.
async fn one<'c>(config: &'c Config, text: &str, sync: Option<&str>) -> Result<Found<'c>> {
    let (node, filter) = wanted(text)?;
    let mut found = find(places(config, sync, node.as_deref())?, &filter).await?;
    let doing = || Error::definite(format!("find the conflict {text:?}"));
    let ids: BTreeSet<&str> = found.iter().map(|found| found.conflict.id.as_str()).collect();
    if ids.len() > 1 {
        let names: Vec<String> = found.iter().map(Found::name).collect();
        return Err(doing()
            .why("several nodes have one with this number")
            .hint(format!("say which: {}", names.join(", "))));
    }
    match found.is_empty() {
        true => Err(doing().why("no node has it").hint("tidelock conflicts list")),
        false => Ok(found.remove(0)),
    }
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

async fn list(face: &Face, config: &Config, options: &List) -> Result<()> {
    let found = find(
        options.which.places(config)?,
        &options.which.filter(options.limit),
    )
    .await?;
    let next_steps: Vec<String> = found
        .first()
        .map(|found| format!("tidelock conflicts show {}", found.name()))
        .into_iter()
        .collect();
    if face.json {
        let conflicts = found
            .iter()
            .map(|found| Viewed::new(found).report(false))
            .collect();
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
    for found in &found {
        let conflict = &found.conflict;
        rows.push(vec![
            found.name(),
            format!("{}.{}", conflict.schema, conflict.table),
            render::cut(&conflict.key, 40),
            conflict.kind.clone(),
            conflict.rule.clone(),
            view::outcome(conflict),
            moment(conflict.recorded_at_us),
            conflict.link.clone(),
        ]);
    }
    face.print(&render::table(&rows));
    face.next(&next_steps);
    Ok(())
}

async fn show(face: &Face, config: &Config, options: &Show) -> Result<()> {
    let found = one(config, &options.conflict, options.sync.as_deref()).await?;
    let viewed = Viewed::new(&found);
    let next_steps = viewed.choices();
    if face.json {
        return face.document(&ShowDocument {
            schema: Schema,
            conflict: viewed.report(true),
            next_steps,
        });
    }
    face.print(&viewed.text());
    face.next(&next_steps);
    Ok(())
}

#[cfg(test)]
mod tests;
