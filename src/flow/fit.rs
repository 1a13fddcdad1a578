//! Do the tables of the two sides fit together, as far as a start may go on?
//!
//! Owns: both sides' catalogs as [`compare`] wants them, for `check`, `plan` and the start of `run`; which of its
//! findings a start passes over: those of tables that wait anyhow, because their link holds them, or would hold them.
//! Refuses: what one node tells alone (see `engine`'s `check`).

use super::spec::{NodeSpec, SyncSpec};
use crate::compare::{Numbering, Side, compare, rules};
use crate::engine::Node;
use crate::error::Result;
use crate::mapping::Passage;
use crate::model::schema::{Engine, TableId};
use crate::model::sync::{CatalogTable, Finding, Mode, OnStop};
use std::collections::BTreeSet;

/// What a node holds of the sync's tables, in their order.
pub struct Held<'a> {
    /// MySQL and MariaDB told apart.
    pub engine: Engine,
    pub tables: &'a [Option<CatalogTable>],
}

/// What only two sides together can tell, of each two that have a link. `sides`: by node.
pub fn between(spec: &SyncSpec, sides: &[Option<Held<'_>>]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (source, target) in spec.pairs() {
        let (Some(from), Some(to)) = (&sides[source], &sides[target]) else {
            continue;
        };
        let passages: Vec<Passage> = spec
            .mappings
            .iter()
            .map(|(name, mapping)| {
                Passage::new(mapping, source, target, name).imaging(spec.mode == Mode::Snapshot)
            })
            .collect();
        let (from, to) = (side(&spec.nodes[source], from), side(&spec.nodes[target], to));
        let nodes = Numbering {
            of: spec.nodes.len(),
            from: source + 1,
            to: target + 1,
        };
        let two_way = spec.links.contains(&(target, source)).then_some(nodes);
        // What is wrong with one node's table is found beside each of the others.
        for finding in compare(&from, &to, two_way, &passages) {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    let nodes = sides.iter().enumerate();
    findings.extend(nodes.flat_map(|(node, held)| ruled(spec, node, held.as_ref())));
    findings
}

/// Do one node's columns allow the rules that are given for them?
fn ruled(spec: &SyncSpec, node: usize, held: Option<&Held<'_>>) -> Vec<Finding> {
    let name = &spec.nodes[node].name;
    let tables = held.map_or(&[][..], |held| held.tables);
    let ruled = tables.iter().zip(spec.rules.iter().zip(&spec.mappings));
    let told = ruled.filter_map(|(table, (rules, (_, mapping)))| {
        let rules = rules.renamed(|column| mapping.name_on(node, column));
        Some(rules::fit(name, table.as_ref()?, &rules))
    });
    told.flatten().collect()
}

/// A target's tables that refer to others which nobody carries: its rows come without their parents, and no server
/// checks what an apply session writes.
pub async fn unparented(spec: &SyncSpec, place: usize, node: &mut Node) -> Result<Vec<Finding>> {
    let declared = &spec.nodes[place];
    if !spec.links.iter().any(|(_, target)| *target == place) {
        return Ok(Vec::new());
    }
    let found = node.unparented(&declared.tables).await?;
    let told = found.into_iter().map(|(child, name, parent)| {
        let what = format!(
            "foreign key {name:?} refers to {parent}, which is not in the sync: rows that come from another node may lack \
             their parent here, and the server does not check them"
        );
        let fix = format!("add {parent} to tables; or nothing, where somebody else keeps its rows the same on all nodes");
        Finding::warning("W363", &declared.name, what).table(child).fix(fix).setting(Finding::TABLES)
    });
    Ok(told.collect())
}

fn side<'a>(node: &'a NodeSpec, held: &Held<'a>) -> Side<'a> {
    Side {
        node: &node.name,
        engine: held.engine,
        ids: &node.tables,
        tables: held.tables,
    }
}

/// What stands against a start, but for tables that a link holds. `nodes`: in the sync's order.
pub(super) async fn against_start(spec: &SyncSpec, nodes: &mut [Node]) -> Result<Vec<Finding>> {
    let (mut started, mut waiting) = (false, BTreeSet::new());
    for (index, &(_, target)) in spec.links.iter().enumerate() {
        let status = nodes[target]
            .link_status(&spec.name, &spec.link(index).id)
            .await?;
        started |= status.checkpoint.is_some_and(|checkpoint| checkpoint.seq >= 0);
        let place = |id: &TableId| spec.nodes[target].tables.iter().position(|table| table == id);
        waiting.extend(status.held.iter().filter_map(|held| place(&held.table)));
    }
    // Such a table is held when a row of it comes, and the others go on.
    if started && spec.on_stop == OnStop::Table {
        return Ok(Vec::new());
    }
    let (mut engines, mut catalogs) = (Vec::new(), Vec::new());
    for (node, declared) in nodes.iter_mut().zip(&spec.nodes) {
        engines.push(node.engine().await?);
        catalogs.push(super::catalog(node, declared).await?);
    }
    let sides = engines.iter().zip(&catalogs);
    let sides: Vec<Option<Held<'_>>> = sides
        .map(|(engine, tables)| {
            Some(Held {
                engine: *engine,
                tables,
            })
        })
        .collect();
    let mut findings = between(spec, &sides);
    findings.retain(|finding| {
        let node = spec.nodes.iter().find(|node| node.name == finding.node);
        let is_of = |place: &usize| node.map(|node| node.tables[*place].to_string()) == finding.table;
        !waiting.iter().any(is_of)
    });
    Ok(findings)
}
