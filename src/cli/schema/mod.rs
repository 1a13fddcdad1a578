//! `schema create` and `schema diff`: the tables of a sync on its nodes, made from one another and compared.
//!
//! Owns: reading the tables of all nodes by the owner's account. Refuses: altering or dropping a table.
//! Fails: 6 when a node cannot be reached.

mod create;
mod diff;

use super::{Face, select};
use crate::config::{Config, Sync};
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::flow;
use crate::flow::spec::SyncSpec;
use crate::mapping::Passage;
use crate::model::schema::Engine;
use crate::model::sync::Finding;
use crate::schema::translate::Pair;
use crate::schema::{Definition, Note};
use std::sync::Arc;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the tables of a sync that a node lacks, from another node's, in its dialect (a plan, unless --execute)
    Create(create::Options),
    /// What the tables of the nodes differ in, each with the statement that would mend it
    Diff(diff::Options),
}

pub(super) async fn run(face: &Face, command: &Command) -> Result<()> {
    match command {
        Command::Create(options) => Box::pin(create::run(face, options)).await,
        Command::Diff(options) => Box::pin(diff::run(face, options)).await,
    }
}

/// A sync with what its nodes hold.
struct Held<'a> {
    sync: &'a Sync,
    spec: SyncSpec,
    nodes: Vec<Node>,
    engines: Vec<Engine>,
    /// By node, then by table.
    tables: Vec<Vec<Option<Definition>>>,
}

impl<'a> Held<'a> {
    async fn read(sync: &'a Sync) -> Result<Held<'a>> {
        let mut nodes = Vec::new();
        for declared in &sync.nodes {
            let node = Node::connect(&declared.setup_access, declared.engine).await;
            nodes.push(Some(node.map_err(|error| error.node(&declared.name))?));
        }
        let spec = flow::select::wanted(&sync.spec, &mut nodes).await?.spec;
        let mut nodes: Vec<Node> = nodes.into_iter().flatten().collect();
        let (mut engines, mut tables) = (Vec::new(), Vec::new());
        for (node, declared) in nodes.iter_mut().zip(&spec.nodes) {
            let named = |error: Error| error.node(&declared.name);
            engines.push(node.engine().await.map_err(named)?);
            tables.push(node.definitions(&declared.tables).await.map_err(named)?);
        }
        Ok(Held {
            sync,
            spec,
            nodes,
            engines,
            tables,
        })
    }

    fn name(&self, node: usize) -> &str {
        &self.spec.nodes[node].name
    }

    /// The tables that node `from` has, as `to` calls them; and the place of each in the sync.
    fn pairs(&self, from: usize, to: usize) -> (Vec<Pair>, Vec<usize>) {
        let mut pairs = Vec::new();
        let mut places = Vec::new();
        for (place, held) in self.tables[from].iter().enumerate() {
            let (Some(source), Some((name, mapping))) = (held, self.spec.mappings.get(place)) else {
                continue;
            };
            pairs.push(Pair {
                source: source.clone(),
                target: self.spec.nodes[to].tables[place].clone(),
                passage: Passage::new(&Arc::clone(mapping), from, to, name),
            });
            places.push(place);
        }
        (pairs, places)
    }
}

/// The chosen syncs.
fn syncs<'a>(config: &'a Config, only: Option<&str>, node: Option<&str>) -> Result<Vec<&'a Sync>> {
    let mut syncs = select(config, only)?;
    if let Some(name) = node {
        syncs.retain(|sync| sync.nodes.iter().any(|node| node.name == name));
        if syncs.is_empty() {
            return Err(Error::definite(format!("find the node {name:?}"))
                .why("no chosen sync has such a node")
                .hint("`tidelock config show` lists the nodes of each sync"));
        }
    }
    Ok(syncs)
}

fn finding(note: &Note, node: &str) -> Finding {
    let what = note.what.clone();
    let finding = match note.code {
        Note::REFUSED => Finding::blocker(note.code, node, what),
        code => Finding::warning(code, node, what),
    };
    finding.table(&note.table).fix(note.fix.clone())
}
