//! `plan`: what `setup` and the first `run` would do, as far as the databases tell: statements, what they lock, the
//! first copy, sizes, and the tables' types that do not cross exactly.
//!
//! Asks with the owner's account and changes nothing. The statements are those of `setup --print-sql`. Figures with
//! `~` are the servers' statistics. With `--exit-code`: 4 while anything is left to do.

use super::check::{Answer, between};
use super::setup::{self, Deed, Part, first_line};
use super::{Face, Schema, render, select};
use crate::compare::COUNTED;
use crate::config::{Config, Node, Sync};
use crate::ddl;
use crate::engine;
use crate::error::{Error, Reason, Result};
use crate::flow;
use crate::flow::spec::{LinkSpec, Seed, SyncSpec};
use crate::install;
use crate::model::sync::{Finding, Level, Mode, Size};
use crate::seed;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const FILLED: &str = "E460";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Read all rows of both sides, and count what `seed = "union"` would make of them
    #[arg(long)]
    preview: bool,
    /// Exit code 4 while `setup` or the first start has something to do
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    /// Something is left to do.
    changes: bool,
    syncs: Vec<SyncPlan>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct SyncPlan {
    sync: String,
    mode: &'static str,
    links: Vec<String>,
    start: Start,
    tables: Vec<TablePlan>,
    nodes: Vec<NodePlan>,
    /// What a union would make of the rows, where that was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preview: Vec<seed::Preview>,
}

/// The first start of a sync's links.
#[derive(Serialize)]
struct Start {
    /// Every link has begun; nothing is copied any more.
    done: bool,
    /// The node whose rows are copied; `None`: both sides hold the same rows already.
    copy_from: Option<String>,
    copy_to: Vec<String>,
    /// The rows of both sides become one set.
    unites: bool,
    rows_estimated: Option<u64>,
    bytes_estimated: Option<u64>,
    /// Why `run` would not begin, and what then: one direction has lost its checkpoint.
    refused: Option<String>,
    #[serde(skip)]
    next: Option<String>,
}

#[derive(Serialize)]
struct TablePlan {
    /// As the node calls it that is copied from.
    table: String,
    rows_estimated: Option<u64>,
    bytes_estimated: Option<u64>,
    /// How conflicts are decided; one-way syncs have none.
    rule: Option<&'static str>,
    /// By what the newer of two writes is told.
    version: Option<String>,
    /// What the configuration maps: names, skipped columns, the row filter.
    mapped: Vec<String>,
    exact: bool,
    /// What does not cross exactly, or not at all, and what would refuse the start.
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct NodePlan {
    node: String,
    server: String,
    /// Of `setup`.
    statements: Vec<String>,
    /// So many of them are grants that the run account has already: who runs setup may not see them, so it repeats them.
    repeated: usize,
    /// What they lock, roughly.
    locks: Vec<String>,
    /// Why `setup` would not begin.
    refused: Option<String>,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let config = face.load()?;
    let mut syncs = Vec::new();
    for sync in select(&config, options.sync.as_deref())? {
        let mut planned = plan(&config, sync, setup::wanted(face, sync).await?).await?;
        if options.preview && sync.spec.seed == Seed::Union && !planned.start.done {
            let spec = flow::selected(&sync.spec).await?;
            planned.preview = Box::pin(seed::preview(&spec)).await?;
        }
        syncs.push(planned);
    }
    let statements: usize = syncs.iter().map(SyncPlan::statements).sum();
    let starts = syncs.iter().filter(|sync| !sync.start.done).count();
    let changes = statements + starts > 0 || syncs.iter().any(SyncPlan::is_blocked);
    let next_steps = vec![next_step(&syncs, statements, options.sync.as_deref())];
    if face.json {
        face.document(&Document {
            schema: Schema,
            changes,
            syncs,
            next_steps,
        })?;
    } else {
        for sync in &syncs {
            face.print(&text(face, sync));
        }
        face.say("nothing was changed: this is the plan");
        face.next(&next_steps);
    }
    match options.exit_code && changes {
        false => Ok(()),
        true => Err(Error::definite("find nothing left to do")
            .why(format!(
                "setup has {} to run, and {} to start for the first time",
                render::count(statements, "statement", "statements"),
                render::count(starts, "sync", "syncs")
            ))
            .reason(Reason::Different)),
    }
}

/// `only`: the sync that was asked about, where it was one.
fn next_step(syncs: &[SyncPlan], statements: usize, only: Option<&str>) -> String {
    if let Some(lost) = syncs.iter().find_map(|sync| sync.start.next.as_ref()) {
        return lost.clone();
    }
    let only = only.map_or_else(String::new, |name| format!(" --sync {name}"));
    match (syncs.iter().any(SyncPlan::is_blocked), statements) {
        (true, _) => format!("tidelock check{only}"),
        (false, 0) => format!("tidelock run{only}"),
        (false, _) => format!("tidelock setup{only} --execute"),
    }
}

/// `parts`: one per node, in the sync's order.
async fn plan(config: &Config, sync: &Sync, mut parts: Vec<Part<'_>>) -> Result<SyncPlan> {
    let spec = match parts.first() {
        Some(part) => (*part.spec).clone(),
        None => sync.spec.clone(),
    };
    let (mut answers, mut refusals, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
    for part in &mut parts {
        refusals.push(match part.ask(Deed::Setup).await {
            Ok(()) => None,
            Err(error) if error.reason_kind() == Reason::Blocked => Some(error.to_string()),
            Err(error) => return Err(error),
        });
        repeats.push(repeated(part, &sync.nodes[part.index]).await?);
        answers.push(Some(Answer::of(&spec, part.index, &mut part.node).await?));
    }
    setup::plan_to_leave(config, &mut parts).await?;
    let seeder = match &spec.seed {
        Seed::From(node) => sync.node(node),
        Seed::Union | Seed::None => None,
    };
    let shown = seeder.unwrap_or(spec.links.first().map_or(0, |(source, _)| *source));
    let sizes = parts[shown].node.sizes(&spec.nodes[shown].tables).await?;
    let missing = not_started(&spec, &mut parts).await?;
    let start = start(&spec, &missing, seeder, &sizes);
    let mut findings = between(sync, &spec, &answers);
    // Only what is still to be copied must be empty.
    let fills = |link: &&Arc<LinkSpec>| spec.seed != Seed::Union && seed::is_copy(&spec, link);
    for link in missing.iter().filter(fills) {
        if let Some(target) = sync.node(&link.target.name) {
            findings.extend(filled(&spec, target, &mut parts[target], answers[target].as_ref()).await?);
        }
    }
    let asked = parts.into_iter().zip(refusals).zip(repeats);
    let nodes = asked.map(|((part, refused), repeated)| NodePlan {
        refused,
        repeated,
        node: spec.nodes[part.index].name.clone(),
        locks: locks(&part.statements, spec.nodes[part.index].engine.is_postgres()),
        server: part.server,
        statements: part.statements,
    });
    Ok(SyncPlan {
        nodes: nodes.collect(),
        tables: tables(&spec, shown, &sizes, &findings),
        sync: spec.name.clone(),
        mode: spec.mode.name(),
        links: sync.links().into_iter().map(|link| link.id).collect(),
        preview: Vec::new(),
        start,
    })
}

fn start(spec: &SyncSpec, missing: &[Arc<LinkSpec>], seeder: Option<usize>, sizes: &[Option<Size>]) -> Start {
    let sum = |of: fn(&Size) -> Option<u64>| {
        let mut each = sizes.iter().map(|size| of(size.as_ref()?));
        each.try_fold(0_u64, |sum, next| Some(sum + next?))
    };
    let name = |index: usize| spec.nodes[index].name.clone();
    let copies = spec.links.iter().filter(|link| Some(link.0) == seeder);
    let refused = seed::refuse_half(spec, missing).err();
    Start {
        done: missing.is_empty(),
        next: refused
            .as_ref()
            .map(|_| format!("tidelock teardown --sync {} --execute", spec.name)),
        refused: refused.map(|error| match error.hint_text() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        }),
        copy_from: seeder.map(name),
        unites: spec.seed == Seed::Union,
        copy_to: copies.map(|link| name(link.1)).collect(),
        rows_estimated: sum(|size| size.rows),
        bytes_estimated: sum(|size| Some(size.bytes)),
    }
}

/// MySQL and MariaDB show an account's grants to itself and to administrators. Where nothing but grants is left, the
/// run account is asked whether it lacks any.
async fn repeated(part: &Part<'_>, declared: &Node) -> Result<usize> {
    let grants = part
        .statements
        .iter()
        .filter(|statement| statement.starts_with("GRANT "));
    let count = grants.count();
    if count == 0 || count < part.statements.len() {
        return Ok(0);
    }
    let mut account = engine::Node::connect(&declared.access, declared.engine).await?;
    let findings = account.check(&part.spec.scope(part.index)).await?;
    let lacks = findings.iter().any(|finding| finding.level == Level::Blocker);
    Ok(if lacks { 0 } else { count })
}

/// The links without a checkpoint behind their first start.
async fn not_started(spec: &SyncSpec, parts: &mut [Part<'_>]) -> Result<Vec<Arc<LinkSpec>>> {
    let mut missing = Vec::new();
    for (index, (_, target)) in spec.links.iter().enumerate() {
        let link = spec.link(index);
        let status = parts[*target].node.link_status(&link.sync, &link.id).await?;
        // A negative seq says that a copy has begun and is not committed.
        if status.checkpoint.is_none_or(|checkpoint| checkpoint.seq < 0) {
            missing.push(link);
        }
    }
    Ok(missing)
}

/// The first copy fills empty tables only.
async fn filled(
    spec: &SyncSpec,
    target: usize,
    part: &mut Part<'_>,
    answer: Option<&Answer>,
) -> Result<Vec<Finding>> {
    let node = &spec.nodes[target];
    let mut findings = Vec::new();
    for (place, table) in node.tables.iter().enumerate() {
        let Some(found) = answer.and_then(|answer| answer.catalog[place].as_ref()) else {
            continue;
        };
        if part
            .node
            .has_rows(&found.table)
            .await
            .map_err(|error| error.node(&node.name))?
        {
            let what = "it holds rows, and a first copy fills empty tables only: `run` would refuse";
            let table_name = ddl::table_name(table, node.engine);
            let fix =
                format!("TRUNCATE TABLE {table_name}; or seed = \"none\" if both sides hold the same rows");
            findings.push(Finding::blocker(FILLED, &node.name, what).table(table).fix(fix));
        }
    }
    Ok(findings)
}

fn tables(spec: &SyncSpec, shown: usize, sizes: &[Option<Size>], findings: &[Finding]) -> Vec<TablePlan> {
    let names = spec.nodes.iter().map(|node| node.name.as_str());
    let names: Vec<(usize, &str)> = names.enumerate().collect();
    let each = spec.nodes[shown].tables.iter().enumerate();
    each.map(|(place, id)| {
        // A finding names the table as its own node does.
        let is_here = |finding: &&Finding| {
            let node = spec.nodes.iter().find(|node| node.name == finding.node);
            let name = node.map(|node| node.tables[place].to_string());
            finding.level != Level::Ok && name.is_some() && finding.table == name
        };
        let findings: Vec<Finding> = findings.iter().filter(is_here).cloned().collect();
        let size = sizes.get(place).copied().flatten();
        TablePlan {
            table: id.to_string(),
            rows_estimated: size.and_then(|size| size.rows),
            bytes_estimated: size.map(|size| size.bytes),
            rule: (spec.mode == Mode::Merge).then(|| spec.rules[place].row.name()),
            version: (spec.mode == Mode::Merge).then(|| spec.versions[place].words()),
            mapped: spec.mappings[place].1.words(&names),
            exact: findings
                .iter()
                .all(|finding| [FILLED, COUNTED].contains(&finding.code)),
            findings,
        }
    })
    .collect()
}

/// Kinds of statements with the lock they take on a user's table; our own tables nobody waits for.
fn locks(statements: &[String], is_postgres: bool) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for statement in statements
        .iter()
        .filter(|statement| !install::is_remark(statement))
    {
        let line = first_line(statement).replace(['"', '`'], "");
        if line.starts_with("ALTER TABLE tidelock.") {
            continue;
        }
        let starts = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
        let lock = match is_postgres {
            true if starts(&["ALTER TABLE", "DROP TRIGGER"]) => {
                "ALTER TABLE, DROP TRIGGER: ACCESS EXCLUSIVE for a moment, without reading or writing rows"
            }
            true if starts(&["CREATE TRIGGER", "CREATE OR REPLACE TRIGGER"]) => {
                "CREATE TRIGGER: SHARE ROW EXCLUSIVE for a moment; reads go on"
            }
            true if starts(&["CREATE PUBLICATION", "ALTER PUBLICATION"]) => {
                "PUBLICATION: SHARE UPDATE EXCLUSIVE for a moment; reads and writes go on"
            }
            false if starts(&["ALTER TABLE"]) => {
                "ALTER TABLE: metadata lock, for a moment where the server can add columns at once"
            }
            false if starts(&["CREATE TRIGGER", "DROP TRIGGER"]) => "TRIGGER: metadata lock for a moment",
            true | false => continue,
        };
        *counts.entry(lock).or_default() += 1;
    }
    let mut locks: Vec<String> = counts
        .into_iter()
        .map(|(lock, count)| format!("{count} x {lock}"))
        .collect();
    if !locks.is_empty() {
        locks.push(
            "each waits for transactions open on its table, and new ones wait behind it meanwhile".to_owned(),
        );
    }
    locks
}

impl SyncPlan {
    /// Something must be mended before all this can be done.
    fn is_blocked(&self) -> bool {
        let mut findings = self.tables.iter().flat_map(|table| &table.findings);
        findings.any(|finding| finding.level == Level::Blocker)
            || self.start.refused.is_some()
            || self.nodes.iter().any(|node| node.refused.is_some())
    }

    /// That change anything.
    fn statements(&self) -> usize {
        let all = self.nodes.iter().flat_map(|node| &node.statements);
        let repeated: usize = self.nodes.iter().map(|node| node.repeated).sum();
        all.filter(|statement| !install::is_remark(statement)).count() - repeated
    }
}

fn about(rows: Option<u64>, bytes: Option<u64>) -> String {
    let rows = rows.map_or("rows not counted yet".to_owned(), |rows| format!("~{rows} rows"));
    let bytes = bytes.map_or(String::new(), |bytes| format!(", ~{}", render::size(bytes)));
    format!("{rows}{bytes}")
}

fn started(plan: &SyncPlan) -> String {
    let start = &plan.start;
    if let Some(refused) = &start.refused {
        return format!("run would refuse: {}", render::plain(refused));
    }
    if let (Some(from), true) = (&start.copy_from, plan.mode == Mode::Snapshot.name()) {
        let size = about(start.rows_estimated, start.bytes_estimated);
        let to = start.copy_to.join(", ");
        return format!(
            "an image of {from} each round: {size}; swapped in one transaction on {to}, and nobody waits who reads"
        );
    }
    match (&start.copy_from, start.done) {
        (Some(from), true) => format!("first copy from {from}: done"),
        (None, true) if start.unites => "the rows of both sides are one set: done".to_owned(),
        (None, false) if start.unites => {
            let size = about(start.rows_estimated, start.bytes_estimated);
            format!(
                "the rows of both sides become one set, chunk by chunk: {size} on the first; --preview counts them"
            )
        }
        (None, true) => "started; there was nothing to copy".to_owned(),
        (Some(from), false) => {
            let size = about(start.rows_estimated, start.bytes_estimated);
            let to = start.copy_to.join(", ");
            let each = if start.copy_to.len() > 1 {
                "each of them"
            } else {
                &to
            };
            format!(
                "first copy {from}->{to}: {size}; one transaction on {each}, and nobody on {from} waits for it"
            )
        }
        (None, false) if plan.mode == "merge" => {
            let size = about(start.rows_estimated, start.bytes_estimated);
            format!("no copy: run reads {size} on each node and starts only if they are equal")
        }
        (None, false) => "no copy: all nodes are taken to hold the same rows".to_owned(),
    }
}

/// What a union would make of the rows, a line each table.
fn counted(plan: &SyncPlan) -> String {
    let Some((here, there)) = plan.links.first().and_then(|link| link.split_once("->")) else {
        return String::new();
    };
    let row = |preview: &seed::Preview| {
        let count = |what: &str, count: u64| format!("{what} {count}");
        let mut row = vec![format!("  {}", preview.table)];
        row.extend([
            count(&format!("only on {here}"), preview.only_here),
            count(&format!("only on {there}"), preview.only_there),
            count("same", preview.same),
            count(&format!("newer on {here}"), preview.newer_here),
            count(&format!("newer on {there}"), preview.newer_there),
            count("tie", preview.tie),
        ]);
        row.extend(
            (preview.refused > 0).then(|| count(&format!("cannot stand on {there}:"), preview.refused)),
        );
        if let Some(pairing) = &preview.pairing {
            row.push(pairing.words());
        }
        row
    };
    let rows: Vec<Vec<String>> = plan.preview.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    render::table(&rows)
}

fn text(face: &Face, plan: &SyncPlan) -> String {
    let paint = face.paint();
    let name = paint.with(render::Ink::Strong, &plan.sync);
    let tables = render::count(plan.tables.len(), "table", "tables");
    let links = plan.links.join(" and ");
    let mut out = format!("{name}  {}, {links}, {tables}\n  {}\n", plan.mode, started(plan));
    let mut rows = Vec::new();
    for table in &plan.tables {
        let exact = if table.exact {
            "exact"
        } else {
            "not exact, see below"
        };
        let words = [exact.to_owned()].into_iter().chain(table.mapped.iter().cloned());
        rows.push(vec![
            format!("  {}", table.table),
            about(table.rows_estimated, table.bytes_estimated),
            match (table.rule, &table.version) {
                (Some(rule), Some(version)) => format!("{rule} by {version}"),
                (rule, _) => rule.unwrap_or_default().to_owned(),
            },
            words.collect::<Vec<_>>().join("; "),
        ]);
    }
    out.push_str(&render::table(&rows));
    out.push_str(&counted(plan));
    for finding in plan.tables.iter().flat_map(|table| &table.findings) {
        paint.finding(finding, &mut out);
    }
    for node in &plan.nodes {
        let name = paint.with(render::Ink::Strong, &node.node);
        let todo = match (&node.refused, node.statements.len()) {
            (Some(refused), _) => format!("setup would refuse: {}", render::plain(refused)),
            (None, count) if count == node.repeated => "setup has nothing to do".to_owned(),
            (None, count) => format!("setup runs {}", render::count(count, "statement", "statements")),
        };
        out.push_str(&format!("{name}  {}: {todo}\n", render::plain(&node.server)));
        for statement in node.statements.iter().skip(node.repeated) {
            let line = render::cut(&render::plain(first_line(statement)), 100);
            out.push_str(&format!("  {line}\n"));
        }
        for lock in &node.locks {
            out.push_str(&format!("  locks: {lock}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_lock_are_counted_by_kind() {
        let statements = [
            "CREATE SCHEMA tidelock",
            "ALTER TABLE \"tidelock\".\"tombstone\" ALTER COLUMN a TYPE int",
            "ALTER TABLE \"public\".\"a\" ADD b int",
            "-- why\nALTER TABLE c ADD d int",
            "-- ALTER TABLE e: kept",
        ];
        let statements = statements.map(str::to_owned);
        let found = locks(&statements, true);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("2 x ALTER TABLE, DROP TRIGGER: ACCESS EXCLUSIVE"),
            "{found:?}"
        );
        assert!(locks(&statements, false)[0].contains("metadata lock"));
        assert!(locks(&statements[..2], true).is_empty());
    }

    #[test]
    fn estimates_are_marked() {
        assert_eq!(about(Some(1_200), Some(2_048)), "~1200 rows, ~2.0 kB");
        assert_eq!(about(None, None), "rows not counted yet");
    }
}
