//! Rings of syncs that only the databases can tell: by the tables that patterns chose, and by which server a node is.
//!
//! Owns: what each sync was found to be when it was looked at, and E462 for a table that has two ways between two
//! databases. The configuration has refused before what names alone tell (`config::syncs`).

use super::select;
use super::spec::{NodeSpec, SyncSpec};
use crate::access::Access;
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::mapping::ring::{Member, closing};
use crate::model::schema::Engine;
use crate::model::sync::Finding;

/// The code of the finding.
pub const RING: &str = "E462";

/// The syncs that were looked at, in this order.
#[derive(Debug, Default)]
pub struct Rings(Vec<Known>);

#[derive(Debug)]
struct Known {
    member: Member,
    nodes: Vec<String>,
}

impl Rings {
    /// Takes in a sync with the tables that it has now, in place of what was known of it. `databases`: by node, see
    /// [`database`].
    pub fn learn(&mut self, spec: &SyncSpec, databases: Vec<String>) {
        let ids = |table: usize| {
            let each = spec.nodes.iter().map(|node| node.tables[table].clone());
            each.collect()
        };
        let tables = spec.nodes.first().map_or(0, |node| node.tables.len());
        self.0.retain(|known| known.member.sync != spec.name);
        self.0.push(Known {
            member: Member {
                sync: spec.name.clone(),
                databases,
                tables: (0..tables).map(ids).collect(),
            },
            nodes: spec.nodes.iter().map(|node| node.name.clone()).collect(),
        });
    }

    /// Each with the sync that closes the ring: of those in it the one that was looked at last.
    pub fn findings(&self) -> Vec<(&str, Finding)> {
        let members: Vec<Member> = self.0.iter().map(|known| known.member.clone()).collect();
        let rings = closing(&members).into_iter();
        let findings = rings.map(|ring| {
            let known = &self.0[ring.member];
            let (nodes, sync) = (&known.nodes, known.member.sync.as_str());
            let ids = &known.member.tables[ring.table];
            let (one, other) = ring.ends;
            let through: Vec<&str> = ring
                .through
                .iter()
                .map(|other| members[*other].sync.as_str())
                .collect();
            let what = format!(
                "a ring: sync {sync} joins it with {} of node {}, which it reaches by sync {} too{}",
                ids[other],
                nodes[other],
                through.join(" and sync "),
                self.other_names(ring.through.iter().chain([&ring.member]))
            );
            let fix = format!(
                "take it out of the tables of one of the syncs {}, {sync}, and of patterns with \"!{}\"",
                through.join(", "),
                ids[one]
            );
            let finding = Finding::blocker(RING, &nodes[one], what).table(&ids[one]);
            (sync, finding.fix(fix))
        });
        findings.collect()
    }

    /// Nodes that are one database under two names.
    fn other_names<'a>(&'a self, syncs: impl Iterator<Item = &'a usize>) -> String {
        let mut nodes: Vec<(&String, &String)> = Vec::new();
        for index in syncs {
            let known = &self.0[*index];
            nodes.extend(known.nodes.iter().zip(&known.member.databases));
        }
        nodes.sort();
        nodes.dedup();
        let mut said = String::new();
        for (place, (name, database)) in nodes.iter().enumerate() {
            for (other, _) in nodes[..place].iter().filter(|(_, known)| known == database) {
                said.push_str(&format!("; nodes {other} and {name} are one database"));
            }
        }
        said
    }
}

/// A sync that nobody asked about, with its databases, as far as its nodes can be reached.
pub async fn beside(sync: &SyncSpec) -> Option<(SyncSpec, Vec<String>)> {
    let mut nodes = Vec::with_capacity(sync.nodes.len());
    for node in &sync.nodes {
        nodes.push(Node::connect(&node.access, node.engine).await.ok());
    }
    let looked = async {
        let chosen = select::current(sync, &mut nodes).await?;
        let databases = databases(&chosen.spec, &mut nodes).await?;
        Ok::<_, Error>((chosen.spec, databases))
    };
    let looked = looked.await;
    for node in nodes.into_iter().flatten() {
        node.close().await;
    }
    // It is told when that sync is looked at.
    let failed = looked.as_ref().err();
    failed.inspect(|error| tracing::debug!(sync = %sync.name, %error, "not looked at for rings"));
    looked.ok()
}

/// By node; one that was not reached counts by its address.
pub async fn databases(spec: &SyncSpec, nodes: &mut [Option<Node>]) -> Result<Vec<String>> {
    let mut databases = Vec::with_capacity(spec.nodes.len());
    for (node, spec) in nodes.iter_mut().zip(&spec.nodes) {
        databases.push(match node {
            Some(node) => database(node, spec).await?,
            None => by_address(spec.engine, &spec.access),
        });
    }
    Ok(databases)
}

/// What tells a node's database from others. All databases of a MySQL or MariaDB server share one log: there the names
/// of tables say the rest.
pub async fn database(node: &mut Node, spec: &NodeSpec) -> Result<String> {
    let identity = node.server().await?.identity;
    Ok(match spec.engine {
        // MariaDB has no identity before setup.
        _ if identity.is_empty() => by_address(spec.engine, &spec.access),
        Engine::Postgres => format!("{identity}/{}", spec.access.database),
        Engine::Mysql | Engine::Mariadb => identity,
    })
}

/// What tells a database from others as far as its address does.
pub fn by_address(engine: Engine, access: &Access) -> String {
    let server = format!("{}:{}", access.host, access.port);
    match engine {
        Engine::Postgres => format!("postgres {server}/{}", access.database),
        Engine::Mysql | Engine::Mariadb => format!("mysql {server}"),
    }
}
