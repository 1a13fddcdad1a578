//! `setup` and `teardown`: a plan, the exact SQL for the owner, or the deed itself with `--execute`.
//!
//! All nodes are asked before the first statement runs, so that an unreachable one leaves nothing half done. Every
//! statement may run again: after a failure the command is simply repeated.

mod leaving;

use super::{Face, Schema, check, render, select};
use crate::config::{Config, Sync};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow;
use crate::flow::instance;
use crate::flow::rings::{self, Rings, by_address};
use crate::flow::spec::SyncSpec;
use crate::model::operation::Lease;
use crate::model::sync::Scope;
use leaving::Leaving;
use serde::Serialize;
use std::rc::Rc;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Print the SQL that the owner runs, and nothing else
    #[arg(long, conflicts_with = "execute")]
    print_sql: bool,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Only this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Setup,
    Teardown,
}

impl Deed {
    fn name(self) -> &'static str {
        match self {
            Deed::Setup => "setup",
            Deed::Teardown => "teardown",
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: Schema,
    executed: bool,
    nodes: Vec<NodePlan<'a>>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct NodePlan<'a> {
    sync: &'a str,
    node: &'a str,
    server: String,
    statements: &'a [String],
}

/// What one node of one sync still needs.
pub(super) struct Part<'a> {
    sync: &'a Sync,
    /// With the tables that are chosen now.
    pub(super) spec: Rc<SyncSpec>,
    pub(super) index: usize,
    pub(super) node: Node,
    pub(super) server: String,
    pub(super) statements: Vec<String>,
    /// The greatest numbers on all nodes, by table, where they are split.
    greatest: Vec<i64>,
}

pub(super) async fn run(face: &Face, options: &Options, deed: Deed) -> Result<()> {
    let config = face.load()?;
    let mut parts = parts(face, &config, options, deed).await?;
    let leaving = match deed {
        Deed::Setup => leave(&config, &mut parts, options.node.as_deref()).await?,
        Deed::Teardown => Vec::new(),
    };
    let statements: usize = parts.iter().map(|part| part.statements.len()).sum();
    if options.execute {
        all(face, &mut parts, &leaving, deed).await?;
    }
    let next_steps = next_steps(options, deed, statements);
    if face.json {
        let nodes = parts
            .iter()
            .map(|part| NodePlan {
                sync: &part.sync.spec.name,
                node: &part.sync.nodes[part.index].name,
                server: part.server.clone(),
                statements: &part.statements,
            })
            .collect();
        return face.document(&Document {
            schema: Schema,
            executed: options.execute,
            nodes,
            next_steps,
        });
    }
    if options.print_sql {
        for part in &parts {
            face.print(&script(part, deed));
        }
        return Ok(());
    }
    face.print(&plan(face, &parts, options.execute));
    if !options.execute && statements > 0 {
        face.say("nothing was changed: this is the plan");
    }
    face.next(&next_steps);
    Ok(())
}

/// Nodes that leave: what the others run about them stands before their own statements.
async fn leave(config: &Config, parts: &mut [Part<'_>], only: Option<&str>) -> Result<Vec<Leaving>> {
    let leaving = leaving::find(config, parts, only).await?;
    for part in parts {
        let mut planned: Vec<String> = leaving.iter().flat_map(|leaving| leaving.planned(part)).collect();
        planned.append(&mut part.statements);
        part.statements = planned;
    }
    Ok(leaving)
}

/// The same for who only wants to see it.
pub(super) async fn plan_to_leave(config: &Config, parts: &mut [Part<'_>]) -> Result<()> {
    leave(config, parts, None).await.map(drop)
}

/// Who leaves goes first: what the nodes have in common is noted anew when all of it is done.
async fn all(face: &Face, parts: &mut [Part<'_>], leaving: &[Leaving], deed: Deed) -> Result<()> {
    if deed == Deed::Teardown {
        for part in parts.iter_mut() {
            part.refuse_running().await?;
        }
    }
    for leaving in leaving {
        leaving.execute(face, parts).await?;
    }
    for part in parts.iter_mut() {
        execute(face, part, deed).await?;
    }
    for leaving in leaving {
        if let Some(like) = parts.iter().find(|part| leaving.is_of(&part.spec.name)) {
            leaving.tear_down(face, &like.scope()).await?;
        }
    }
    Ok(())
}

/// The sync with the tables that match now; what is left out is said.
async fn chosen(face: &Face, sync: &Sync, nodes: &mut [Option<Node>]) -> Result<SyncSpec> {
    let selected = flow::select::wanted(&sync.spec, nodes).await?;
    for note in &selected.notes {
        let mut said = String::new();
        let paint = render::Paint { on: face.color_err };
        paint.finding(note, &mut said);
        face.say(said.trim_end());
    }
    Ok(selected.spec)
}

async fn parts<'a>(face: &Face, config: &'a Config, options: &Options, deed: Deed) -> Result<Vec<Part<'a>>> {
    let mut parts = Vec::new();
    let syncs = select(config, options.sync.as_deref())?;
    let mut rings = match deed {
        Deed::Setup => Box::pin(check::rings_beside(config, &syncs)).await,
        Deed::Teardown => Rings::default(),
    };
    for sync in syncs {
        let mut own = parts_of(face, sync, options.node.as_deref(), deed).await?;
        if let Some(spec) = own.first().map(|part| Rc::clone(&part.spec)) {
            let nodes = spec.nodes.iter();
            let mut databases: Vec<String> =
                nodes.map(|node| by_address(node.engine, &node.access)).collect();
            for part in &mut own {
                databases[part.index] = rings::database(&mut part.node, &spec.nodes[part.index]).await?;
            }
            rings.learn(&spec, databases);
        }
        parts.extend(own);
    }
    if let Some((_, ring)) = rings.findings().first().filter(|_| deed == Deed::Setup) {
        return Err(flow::select::refusal(ring));
    }
    for part in &mut parts {
        part.ask(deed).await?;
    }
    if parts.is_empty() {
        let name = options.node.as_deref().unwrap_or_default();
        return Err(Error::definite(format!("find the node {name:?}"))
            .why("no chosen sync has such a node")
            .hint("`tidelock config show` lists the nodes of each sync"));
    }
    Ok(parts)
}

/// The parts of a sync, one per node in their order, not asked yet.
pub(super) async fn wanted<'a>(face: &Face, sync: &'a Sync) -> Result<Vec<Part<'a>>> {
    parts_of(face, sync, None, Deed::Setup).await
}

async fn parts_of<'a>(face: &Face, sync: &'a Sync, only: Option<&str>, deed: Deed) -> Result<Vec<Part<'a>>> {
    // Where patterns choose or speak of many tables, every node has a say, also when only one is set up.
    let chooses = deed == Deed::Setup && !sync.spec.choice.is_settled();
    // Counters are set above the keys of every node.
    let asks_all = chooses || (deed == Deed::Setup && sync.spec.may_split());
    let is_meant = |name: &str| only.is_none_or(|only| only == name);
    let mut nodes = Vec::new();
    for declared in &sync.nodes {
        nodes.push(match asks_all || is_meant(&declared.name) {
            true => Some(Node::connect(&declared.setup_access, declared.engine).await?),
            false => None,
        });
    }
    let spec = match chooses {
        true => Rc::new(chosen(face, sync, &mut nodes).await?),
        false => Rc::new(sync.spec.clone()),
    };
    let mut greatest: Vec<Vec<i64>> = Vec::new();
    for (index, node) in nodes
        .iter_mut()
        .enumerate()
        .filter(|_| deed == Deed::Setup && spec.splits())
    {
        if let Some(node) = node {
            greatest.push(node.greatest_numbers(&spec.nodes[index].tables).await?);
        }
    }
    let greatest_of = |place: usize| greatest.iter().map(|own| own[place]).max().unwrap_or_default();
    let greatest: Vec<i64> = (0..spec.mappings.len()).map(greatest_of).collect();
    let mut parts = Vec::new();
    for (index, (declared, node)) in sync.nodes.iter().zip(nodes).enumerate() {
        let Some(mut node) = node.filter(|_| is_meant(&declared.name)) else {
            continue;
        };
        let server = node.server().await?;
        parts.push(Part {
            sync,
            spec: Rc::clone(&spec),
            index,
            node,
            server: format!("{} {}", check::title(server.engine), server.version),
            statements: Vec::new(),
            greatest: greatest.clone(),
        });
    }
    Ok(parts)
}

impl Part<'_> {
    /// What is torn down under a copy that runs is never carried over.
    async fn refuse_running(&mut self) -> Result<()> {
        for link in (0..self.spec.links.len()).map(|index| self.spec.link(index)) {
            if link.target.name != self.spec.nodes[self.index].name {
                continue;
            }
            let lease = self.node.link_status(&link.sync, &link.id).await?.lease;
            let is_in_the_way = |lease: &Lease| lease.is_held() && !instance::has_ended(&lease.process);
            if let Some(lease) = lease.filter(is_in_the_way) {
                return Err(Error::definite(format!("tear down sync {}", link.sync))
                    .node(&link.target.name)
                    .reason(Reason::Refused)
                    .why(format!("{} runs link {}", lease.holder, link.id))
                    .hint(format!(
                        "let the links catch up (`tidelock status`), stop that copy, and tear down then; the lease of one \
                         that was killed runs out in {} s",
                        lease.left_ms.unsigned_abs().div_ceil(1_000)
                    )));
            }
        }
        Ok(())
    }

    fn scope(&self) -> Scope {
        let mut scope = self.spec.scope(self.index);
        for (mapped, greatest) in scope.mapped.iter_mut().zip(&self.greatest) {
            mapped.greatest = *greatest;
        }
        scope
    }

    /// Finds the statements that are still needed.
    pub(super) async fn ask(&mut self, deed: Deed) -> Result<()> {
        let scope = self.scope();
        self.statements = match deed {
            Deed::Setup => self.node.setup_sql(&scope, &self.sync.peers(self.index)).await?,
            Deed::Teardown => self.node.teardown_sql(&scope).await?,
        };
        Ok(())
    }
}

/// Asks again under the lock that setups of one server share, so what ran replaces what was planned.
async fn execute(face: &Face, part: &mut Part<'_>, deed: Deed) -> Result<()> {
    let name = &part.sync.nodes[part.index].name;
    let scope = part.scope();
    let done = match deed {
        Deed::Setup => part.node.setup(&scope, &part.sync.peers(part.index)).await,
        Deed::Teardown => part.node.teardown(&scope).await,
    };
    part.statements = done.map_err(|error| error.node(name))?;
    face.say(&format!(
        "{name}: {} done",
        render::count(part.statements.len(), "statement", "statements")
    ));
    Ok(())
}

fn next_steps(options: &Options, deed: Deed, statements: usize) -> Vec<String> {
    // For no more than was asked about.
    let chosen = |flag: &str, name: &Option<String>| {
        name.as_ref()
            .map_or_else(String::new, |name| format!(" {flag} {name}"))
    };
    let again = format!(
        "tidelock {}{}{}",
        deed.name(),
        chosen("--sync", &options.sync),
        chosen("--node", &options.node)
    );
    match (options.execute || statements == 0, deed) {
        (true, Deed::Setup) => {
            let sync = chosen("--sync", &options.sync);
            vec![format!("tidelock check{sync}"), format!("tidelock run{sync}")]
        }
        (true, Deed::Teardown) => Vec::new(),
        (false, Deed::Setup | Deed::Teardown) => {
            vec![format!("{again} --execute"), format!("{again} --print-sql")]
        }
    }
}

fn plan(face: &Face, parts: &[Part<'_>], executed: bool) -> String {
    let mut out = String::new();
    for part in parts {
        let node = face
            .paint()
            .with(render::Ink::Strong, &part.sync.nodes[part.index].name);
        let state = match (part.statements.len(), executed) {
            (0, _) => "nothing to do".to_owned(),
            (count, true) => format!("{} done", render::count(count, "statement", "statements")),
            (count, false) => format!("would run {}", render::count(count, "statement", "statements")),
        };
        let server = render::plain(&part.server);
        out.push_str(&format!(
            "{node}  {server}  sync {}: {state}\n",
            part.sync.spec.name
        ));
        for statement in &part.statements {
            out.push_str(&format!(
                "  {}\n",
                render::cut(&render::plain(first_line(statement)), 100)
            ));
        }
    }
    out
}

/// The first line that is no comment, else what the remark says.
pub(super) fn first_line(statement: &str) -> &str {
    let mut lines = statement.lines().map(str::trim);
    lines
        .find(|line| !line.is_empty() && !line.starts_with("--"))
        .unwrap_or(statement.trim())
}

/// SQL as `psql` and `mysql` take it.
fn script(part: &Part<'_>, deed: Deed) -> String {
    let name = &part.sync.nodes[part.index].name;
    let mut out = format!(
        "-- {} of sync {}, node {name} ({}). Run it as the owner of the tables.\n",
        deed.name(),
        part.sync.spec.name,
        render::plain(&part.server)
    );
    if part.statements.is_empty() {
        out.push_str("-- nothing to do\n");
    }
    out.push_str(&part.node.script(&part.statements));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_no_comment() {
        assert_eq!(first_line("\n-- why\n  CREATE x\n"), "CREATE x");
    }
}
