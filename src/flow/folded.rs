//! Rows of PostgreSQL whose keys MySQL's or MariaDB's collation takes for one: of two such rows a first copy would lose
//! one.
//!
//! Owns: which keys are looked at, and W516. Refuses: looking once the copy is made (a row that comes later is a conflict,
//! and recorded), and rows that a filter leaves out of the copy are counted too.

use super::spec::{Seed, SyncSpec};
use crate::engine::Node;
use crate::error::Result;
use crate::mapping::{Passage, Place};
use crate::model::collation::Folds;
use crate::model::schema::{ColumnType, Table};
use crate::model::sync::{CatalogTable, Finding};
use tracing::debug;

/// `catalogs`: by node, in the sync's order of tables.
pub async fn findings(spec: &SyncSpec, catalogs: &[Option<&[Option<CatalogTable>]>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for &(source, target) in &spec.links {
        let is_copied = spec.seed == Seed::From(spec.nodes[source].name.clone());
        let crosses = spec.nodes[source].engine.is_postgres() && !spec.nodes[target].engine.is_postgres();
        let (Some(from), Some(to)) = (catalogs[source], catalogs[target]) else {
            continue;
        };
        if is_copied && crosses {
            let found = between(spec, (source, from), (target, to)).await;
            findings.extend(found.unwrap_or_else(|error| {
                // A right that is lacking is a finding of its own.
                debug!(sync = %spec.name, %error, "keys that a collation takes for one were not looked for");
                Vec::new()
            }));
        }
    }
    findings
}

async fn between(
    spec: &SyncSpec,
    (source, from): (usize, &[Option<CatalogTable>]),
    (target, to): (usize, &[Option<CatalogTable>]),
) -> Result<Vec<Finding>> {
    let there = &spec.nodes[target];
    let id = super::spec::link_id(&spec.nodes[source].name, &there.name);
    let mut node = Node::connect(&there.access, there.engine).await?;
    let status = node.link_status(&spec.name, &id).await?;
    node.close().await;
    if status.checkpoint.is_some_and(|checkpoint| checkpoint.seq >= 0) {
        return Ok(Vec::new());
    }
    let here = &spec.nodes[source];
    let mut node = Node::connect(&here.access, here.engine).await?;
    let mut findings = Vec::new();
    for (place, (known, other)) in from.iter().zip(to).enumerate() {
        let (Some(known), Some(other)) = (known, other) else {
            continue;
        };
        let (name, mapping) = &spec.mappings[place];
        let back = Passage::new(mapping, target, source, name);
        for columns in folding(&known.table, &other.table, &back) {
            let Some(same) = node.same_keys(&known.table.id, &columns).await? else {
                continue;
            };
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let told = match same.rows {
                Some(0) => continue,
                Some(rows) => format!("{rows} rows have the same ({}) as another", names.join(", ")),
                None => format!(
                    "whether rows have the same ({}) could not be told within 10 s",
                    names.join(", ")
                ),
            };
            let what = format!(
                "{told} by the collation of node {}: of each such, one row would not be copied",
                there.name
            );
            let fix = format!(
                "give the columns there the collation that W514 tells, or list and change them: {}",
                same.list
            );
            findings.push(
                Finding::warning("W516", &here.name, what)
                    .table(&known.table.id)
                    .fix(fix),
            );
        }
    }
    node.close().await;
    Ok(findings)
}

/// The source's columns of each unique key of the target that compares texts otherwise than they are.
fn folding(source: &Table, target: &Table, back: &Passage) -> Vec<Vec<(String, Folds)>> {
    let keys = std::iter::once(&target.key).chain(&target.uniques);
    let columns = |key: &Vec<usize>| -> Option<Vec<(String, Folds)>> {
        let one = |place: &usize| {
            let column = target.columns.get(*place)?;
            let own = match back.place(&column.name) {
                Place::Named(own) => source.column(own)?,
                Place::Skipped | Place::Taken(_) => return None,
            };
            let own = &source.columns[own];
            let folds = match own.ty {
                ColumnType::Text { .. } => Folds::of(&column.collation),
                _ => Folds::default(),
            };
            Some((own.name.clone(), folds))
        };
        key.iter().map(one).collect()
    };
    keys.filter(|key| !key.is_empty())
        .filter_map(columns)
        .filter(|columns| columns.iter().any(|(_, folds)| folds.any()))
        .collect()
}
