//! `check`: everything that is missing on all nodes, at once, each with the SQL that mends it.
//!
//! Fails: 6 when a node cannot be reached (the rest is still looked at), 3 when there is a blocker.

mod rows;

use super::config::findings;
use super::{Face, Schema, render, select, words};
use crate::config::{self, Config, Sync};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow;
use crate::flow::rings::{self, Rings};
use crate::flow::spec::SyncSpec;
use crate::flow::{clocks, fit, folded};
use crate::model::schema::Engine;
use crate::model::sync::{CatalogTable, Finding, Level, Server};
use crate::seed::Proof;
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
    /// Do not read the rows of tables with mapped values or computed columns
    #[arg(long)]
    no_rows: bool,
}

#[derive(Serialize)]
struct Report {
    schema: Schema,
    ok: bool,
    nodes: Vec<NodeReport>,
    /// Differences between the tables of two nodes.
    tables: Vec<TableReport>,
    configuration: Vec<Finding>,
    summary: Summary,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct NodeReport {
    sync: String,
    node: String,
    server: Option<Server>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct TableReport {
    sync: String,
    findings: Vec<Finding>,
    /// What became of the rows of tables with mapped values or computed columns.
    rows: Vec<Proof>,
}

#[derive(Serialize, Default, Clone, Copy)]
struct Summary {
    ok: usize,
    warnings: usize,
    blockers: usize,
    unreachable: usize,
}

impl Summary {
    fn of(nodes: &[NodeReport], tables: &[TableReport], configuration: &[Finding]) -> Self {
        let all = nodes
            .iter()
            .flat_map(|node| &node.findings)
            .chain(tables.iter().flat_map(|table| &table.findings))
            .chain(configuration);
        let mut summary = Summary::default();
        for finding in all {
            match finding.level {
                Level::Ok => summary.ok += 1,
                Level::Warning => summary.warnings += 1,
                Level::Blocker => summary.blockers += 1,
            }
            summary.unreachable += usize::from(finding.code == UNREACHABLE);
        }
        summary
    }
}

/// What one node of a sync answered.
pub(super) struct Answer {
    server: Server,
    pub(super) engine: Engine,
    pub(super) catalog: Vec<Option<CatalogTable>>,
    clock: Option<clocks::Reading>,
}

impl Answer {
    pub(super) async fn of(spec: &SyncSpec, index: usize, node: &mut Node) -> Result<Answer> {
        let server = node.server().await?;
        let catalog = flow::catalog(node, &spec.nodes[index]).await?;
        Ok(Answer {
            engine: Engine::named(server.engine).unwrap_or(spec.nodes[index].engine),
            server,
            catalog,
            clock: clocks::read(spec, node).await?,
        })
    }
}

const UNREACHABLE: &str = "E001";

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let config = face.load()?;
    let syncs = select(&config, options.sync.as_deref())?;
    let report = examine(&config, &syncs, options).await?;
    if face.json {
        face.document(&report)?;
    } else {
        face.print(&text(face, &report));
        face.next(&report.next_steps);
    }
    let Summary {
        blockers,
        unreachable,
        warnings,
        ..
    } = report.summary;
    if unreachable > 0 {
        return Err(Error::definite("finish the check")
            .why(format!(
                "{} cannot be reached",
                render::count(unreachable, "node", "nodes")
            ))
            .reason(Reason::Unreachable)
            .hint("see the findings E001"));
    }
    if !report.ok {
        let found = [
            (blockers, render::count(blockers, "blocker", "blockers")),
            (
                if options.strict { warnings } else { 0 },
                render::count(warnings, "warning", "warnings"),
            ),
        ];
        let found: Vec<String> = found
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(_, words)| words)
            .collect();
        return Err(Error::definite("pass the check")
            .why(found.join(" and "))
            .reason(Reason::Blocked)
            .hint("run what stands behind each `fix:`, then `tidelock check` again"));
    }
    Ok(())
}

async fn examine(config: &Config, syncs: &[&Sync], options: &Options) -> Result<Report> {
    let mut nodes = Vec::new();
    let mut tables = Vec::new();
    let mut rings = Box::pin(rings_beside(config, syncs)).await;
    for sync in syncs {
        let mut answers = Vec::new();
        let (mut reached, mut unreachable) = (Vec::new(), Vec::new());
        for declared in &sync.nodes {
            let mut findings = Vec::new();
            reached.push(reach(declared, &mut findings).await?);
            unreachable.push(findings);
        }
        let chosen = flow::select::current(&sync.spec, &mut reached).await?;
        let spec = &chosen.spec;
        rings.learn(spec, rings::databases(spec, &mut reached).await?);
        for (index, (node, mut findings)) in reached.into_iter().zip(unreachable).enumerate() {
            let answer = match node {
                Some(node) => Some(ask(spec, index, node, &mut findings).await?),
                None => None,
            };
            nodes.push(NodeReport {
                sync: sync.spec.name.clone(),
                node: sync.nodes[index].name.clone(),
                server: answer.as_ref().map(|answer| answer.server.clone()),
                findings,
            });
            answers.push(answer);
        }
        let mut findings = words::of(spec);
        findings.extend(chosen.notes);
        findings.extend(between(sync, spec, &answers));
        let catalogs = answers.iter().map(|answer| Some(&answer.as_ref()?.catalog[..]));
        findings.extend(folded::findings(spec, &catalogs.collect::<Vec<_>>()).await);
        let proofs = rows::told(spec, &answers, options.no_rows, &mut findings).await;
        locate(config, sync, spec, &mut findings);
        let first = nodes.len() - sync.nodes.len();
        perhaps_hidden(&mut findings, &nodes[first..]);
        for node in &mut nodes[first..] {
            locate(config, sync, spec, &mut node.findings);
            drop_repeated(&mut node.findings, &findings);
        }
        tables.push(TableReport {
            sync: sync.spec.name.clone(),
            findings,
            rows: proofs,
        });
    }
    for (sync, ring) in rings.findings() {
        let report = tables.iter_mut().find(|report| report.sync == sync);
        report
            .into_iter()
            .for_each(|report| report.findings.push(ring.clone()));
    }
    let configuration = findings(&config.warnings);
    let summary = Summary::of(&nodes, &tables, &configuration);
    let ok = summary.blockers == 0 && !(options.strict && summary.warnings > 0);
    let next_steps = next_steps(ok, &nodes, &tables, options.sync.as_deref());
    Ok(Report {
        schema: Schema,
        ok,
        nodes,
        tables,
        configuration,
        summary,
        next_steps,
    })
}

/// Gives findings about what the configuration says the line that says it.
fn locate(config: &Config, sync: &Sync, spec: &SyncSpec, findings: &mut [Finding]) {
    let each = findings.iter_mut();
    each.for_each(|finding| config.locate(sync, spec, finding));
}

/// `E4..` of the nodes' own checks: Tidelock's objects are missing, which is nothing to mend by hand; but for what a
/// setup refuses as well. `only`: the sync that was asked about, where it was one.
fn next_steps(ok: bool, nodes: &[NodeReport], tables: &[TableReport], only: Option<&str>) -> Vec<String> {
    let all = nodes
        .iter()
        .flat_map(|node| &node.findings)
        .chain(tables.iter().flat_map(|table| &table.findings));
    let mut blockers = all.filter(|finding| finding.level == Level::Blocker).peekable();
    let no_setup = [rings::RING, Finding::LOST, Finding::OTHER];
    let is_of_setup = |finding: &Finding| finding.code.starts_with("E4") && !no_setup.contains(&finding.code);
    let only_setup = blockers.peek().is_some() && blockers.all(is_of_setup);
    let only = only.map_or_else(String::new, |name| format!(" --sync {name}"));
    vec![match (ok, only_setup) {
        (true, _) => format!("tidelock run{only}"),
        (false, true) => format!("tidelock setup{only} --execute"),
        (false, false) => format!("tidelock check{only}"),
    }]
}

/// Those that nobody asked about go first, so that a ring is told of one that somebody did.
pub(super) async fn rings_beside(config: &Config, asked: &[&Sync]) -> Rings {
    let mut rings = Rings::default();
    let is_asked = |sync: &&Sync| asked.iter().any(|known| known.spec.name == sync.spec.name);
    for sync in config.syncs.iter().filter(|sync| !is_asked(sync)) {
        if let Some((spec, databases)) = rings::beside(&sync.spec).await {
            rings.learn(&spec, databases);
        }
    }
    rings
}

/// A node that cannot be reached is a finding: the others are still worth looking at.
async fn reach(declared: &config::Node, findings: &mut Vec<Finding>) -> Result<Option<Node>> {
    match Node::connect(&declared.access, declared.engine).await {
        Ok(node) => Ok(Some(node)),
        Err(error) if error.reason_kind() == Reason::Unreachable || error.is_transient() => {
            let finding = Finding::blocker(UNREACHABLE, &declared.name, error.to_string());
            findings.push(
                finding.fix(
                    error
                        .hint_text()
                        .unwrap_or("check the URL and that the server runs"),
                ),
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn ask(spec: &SyncSpec, index: usize, mut node: Node, findings: &mut Vec<Finding>) -> Result<Answer> {
    findings.extend(node.check(&spec.scope(index)).await?);
    findings.extend(fit::unparented(spec, index, &mut node).await?);
    Answer::of(spec, index, &mut node).await
}

/// What a node says of a table alone is left out where both together say it with a better mend.
fn drop_repeated(own: &mut Vec<Finding>, between: &[Finding]) {
    own.retain(|finding| {
        let same = |other: &Finding| {
            (&other.node, other.code, &other.table) == (&finding.node, finding.code, &finding.table)
        };
        finding.level == Level::Ok || !between.iter().any(same)
    });
}

/// MySQL and MariaDB do not show a table to an account without any right on it.
fn perhaps_hidden(between: &mut [Finding], nodes: &[NodeReport]) {
    for missing in between.iter_mut().filter(|finding| finding.code == "E302") {
        let mut own = nodes.iter().flat_map(|node| &node.findings);
        if own.any(|own| own.code == "E105" && (&own.node, &own.table) == (&missing.node, &missing.table)) {
            missing.what.push_str(
                "; or it is there, and this account may not see it before `tidelock setup --execute` has granted \
                 what E105 says",
            );
        }
    }
}

/// What only both sides together can tell.
pub(super) fn between(sync: &Sync, spec: &SyncSpec, answers: &[Option<Answer>]) -> Vec<Finding> {
    let sides = answers.iter().map(|answer| {
        answer.as_ref().map(|answer| fit::Held {
            engine: answer.engine,
            tables: &answer.catalog,
        })
    });
    let mut findings = fit::between(spec, &sides.collect::<Vec<_>>());
    let clocks = answers.iter().map(|answer| answer.as_ref()?.clock);
    findings.extend(clocks::findings(spec, &clocks.collect::<Vec<_>>()));
    for (place, other) in (1..answers.len()).flat_map(|place| (0..place).map(move |other| (place, other))) {
        findings.extend(one_server(sync, spec, answers, (other, place)));
    }
    findings
}

/// Are two nodes one server, or one database of it?
fn one_server(
    sync: &Sync,
    spec: &SyncSpec,
    answers: &[Option<Answer>],
    (source, target): (usize, usize),
) -> Option<Finding> {
    let (Some(from), Some(to)) = (&answers[source], &answers[target]) else {
        return None;
    };
    let (from_name, to_name) = (&spec.nodes[source].name, &spec.nodes[target].name);
    // MariaDB has no identity before setup.
    let one_server = !from.server.identity.is_empty()
        && from.server.identity == to.server.identity
        && from.engine == to.engine;
    let one_database = sync.nodes[source].access.database == sync.nodes[target].access.database;
    let blocker = |what: String| Finding::blocker("E002", to_name, what);
    if one_server && !from.engine.is_postgres() {
        let what = format!(
            "nodes {from_name} and {to_name} are one server, which has one log and one database tidelock for all its databases"
        );
        Some(blocker(what).fix("give one of them the URL of another server"))
    } else if one_server && one_database {
        let what = format!("nodes {from_name} and {to_name} are one database");
        Some(blocker(what).fix("give one of them the URL of the other database"))
    } else {
        None
    }
}

fn text(face: &Face, report: &Report) -> String {
    let paint = face.paint();
    let several = report.tables.len() > 1;
    let mut out = String::new();
    for node in &report.nodes {
        let server = match &node.server {
            Some(server) => format!("{} {}", title(server.engine), render::plain(&server.version)),
            None => "not reached".to_owned(),
        };
        let sync = if several {
            format!("  (sync {})", node.sync)
        } else {
            String::new()
        };
        let name = paint.with(render::Ink::Strong, &node.node);
        out.push_str(&format!("{name}  {server}{sync}\n"));
        for finding in &node.findings {
            paint.finding(finding, &mut out);
        }
    }
    for table in report.tables.iter().filter(|table| !table.findings.is_empty()) {
        let name = paint.with(render::Ink::Strong, "tables");
        out.push_str(&format!("{name}  of sync {}\n", table.sync));
        for finding in &table.findings {
            let named = match finding.level {
                Level::Ok => finding.clone(),
                Level::Warning | Level::Blocker => Finding {
                    what: format!("{} (on node {})", finding.what, finding.node),
                    ..finding.clone()
                },
            };
            paint.finding(&named, &mut out);
        }
    }
    if !report.configuration.is_empty() {
        out.push_str(&format!("{}\n", paint.with(render::Ink::Strong, "configuration")));
        for finding in &report.configuration {
            let named = Finding {
                what: format!("{}: {}", finding.node, finding.what),
                ..finding.clone()
            };
            paint.finding(&named, &mut out);
        }
    }
    let summary = &report.summary;
    out.push_str(&format!(
        "{} ok, {}, {}\n",
        summary.ok,
        render::count(summary.warnings, "warning", "warnings"),
        render::count(summary.blockers, "blocker", "blockers"),
    ));
    out
}

/// The product's name for `postgres`, `mysql`, `mariadb`.
pub(super) fn title(engine: &str) -> String {
    Engine::named(engine).map_or_else(|| engine.to_owned(), |engine| engine.to_string())
}
