//! What the sides of a sync must agree on while they run, as `install::config_hash` keeps it.
//!
//! Pure. Owns: what of a configuration counts. Refuses: what matters once (the seed) or on one machine (limits).

use crate::flow::spec::SyncSpec;
use crate::install::config_hash;
use crate::model::schema::Engine;

/// What both sides must agree on while they run. The seed is left out: it matters once. Of the tables their choice
/// counts, and not which tables it finds.
pub(super) fn of(spec: &SyncSpec) -> String {
    let nodes = nodes(spec);
    let mode = spec.mode.name();
    let choice = &spec.choice;
    let patterns: Vec<&str> = choice
        .patterns
        .iter()
        .map(|pattern| pattern.text.as_str())
        .collect();
    let mut sections = Vec::new();
    for (index, section) in spec.sections.iter().enumerate() {
        let (name, names) = called(spec, index);
        let keep = section.mapping.filter.as_ref().is_some_and(|filter| filter.keep);
        sections.push((
            name,
            names,
            section.rules.signature(),
            section.mapping.signature(),
            keep,
            section.version.signature(),
        ));
    }
    sections.sort();
    let said: Vec<_> = sections
        .iter()
        .map(|(name, names, rule, signature, keep, version)| (name, (names, rule, signature, keep, version)))
        .collect();
    let version = spec.version.signature();
    let tables = serde_json::json!([patterns, choice.schemas, spec.usual.signature(), version, said]);
    let whole = serde_json::json!([3, spec.name, mode, spec.links, nodes, tables]);
    let whole = with(losses_of(spec), with(ids_of(spec), whole));
    // One that says what the sync says is like none.
    let rules: Vec<_> = sections
        .iter()
        .filter(|(_, _, said, ..)| *said != spec.usual.signature())
        .map(|(name, _, rule, ..)| (name, rule))
        .collect();
    let versions: Vec<_> = sections
        .iter()
        .filter(|(.., said)| *said != version)
        .map(|(name, .., said)| (name, said))
        .collect();
    let mapped: Vec<_> = sections
        .iter()
        .map(|(name, names, _, signature, keep, _)| (name, names, signature, keep))
        .collect();
    let losses = losses_of(spec);
    let parts = [
        serde_json::json!(nodes),
        with(ids_of(spec), serde_json::json!([mode, spec.links])),
        serde_json::json!([patterns, choice.schemas]),
        serde_json::json!([spec.usual.signature(), rules]),
        serde_json::json!([version, versions]),
        with(losses, serde_json::json!(mapped)),
    ];
    config_hash::of(&whole.to_string(), &parts.map(|part| part.to_string()))
}

/// A section's name and what its tables are called.
fn called(spec: &SyncSpec, index: usize) -> (String, Vec<String>) {
    let choice = &spec.choice;
    if let Some(declared) = choice.declared.get(index) {
        let names = declared.names.iter().map(|id| format!("{id:?}"));
        return (declared.name.to_string(), names.collect());
    }
    let combined = choice.combined.get(index - choice.declared.len());
    let parts = combined
        .into_iter()
        .flatten()
        .map(|part| &choice.patterned[*part]);
    let names = parts.map(|part| format!("{:?}", part.names)).collect();
    (choice.section_text(index).unwrap_or_default(), names)
}

fn nodes(spec: &SyncSpec) -> Vec<serde_json::Value> {
    let nodes = spec.nodes.iter().zip(&spec.choice.defaults);
    let told = nodes.map(|(node, schema)| {
        let engine = match node.engine {
            Engine::Postgres => "postgres",
            Engine::Mysql | Engine::Mariadb => "mysql",
        };
        serde_json::json!([node.name, node.rank, engine, schema])
    });
    told.collect()
}

/// Which tables are split; `None`: none of them, as before there was such a key.
fn ids_of(spec: &SyncSpec) -> Option<serde_json::Value> {
    let sections = spec.sections.iter().enumerate();
    let others = sections.filter(|(_, section)| section.mapping.split != spec.split);
    let mut others: Vec<String> = others.map(|(index, _)| called(spec, index).0).collect();
    others.sort();
    (spec.split || !others.is_empty()).then(|| serde_json::json!([spec.split, others]))
}

/// What may be lost on the way; `None`: nothing, as before it counted.
fn losses_of(spec: &SyncSpec) -> Option<serde_json::Value> {
    let sections = spec.sections.iter().enumerate();
    let losing = sections.filter(|(_, section)| !section.mapping.losses.is_empty());
    let mut losses: Vec<_> = losing
        .map(|(index, section)| (called(spec, index).0, section.mapping.losses.clone()))
        .collect();
    losses.iter_mut().for_each(|(_, columns)| columns.sort());
    losses.sort();
    (!losses.is_empty()).then(|| serde_json::json!({ "lossy": losses }))
}

fn with(more: Option<serde_json::Value>, mut list: serde_json::Value) -> serde_json::Value {
    if let (Some(more), Some(list)) = (more, list.as_array_mut()) {
        list.push(more);
    }
    list
}
