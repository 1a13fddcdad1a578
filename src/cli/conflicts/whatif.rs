//! `conflicts whatif`: what other rules would have made of the conflicts on record.
//!
//! Owns: the rules that are asked for, the counts per table and kind, and examples. Each conflict is decided again
//! (`flow::resolve`) by the rules of its table, but for those that are given, and counted once, whichever nodes recorded it.
//! Refuses: changing anything, and guessing: what no rule decides (unique values, refused values, missing parents) is
//! counted apart, and so is what the record does not tell.

use super::{Face, Schema, Which, render};
use crate::config::{Config, Sync};
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::flow;
use crate::flow::resolve::{Judge, Stands};
use crate::flow::spec::SyncSpec;
use crate::model::conflict::{ConflictFilter, StoredConflict};
use crate::model::rules::{ColumnRule, OnDelete, Rule, TableRules};
use crate::model::schema::TableId;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Conflicts read at once.
const PAGE: u32 = 25;
const EXAMPLES_MAX: usize = 5;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("rules").required(true).multiple(true).args(["rule", "on_delete", "column"]))]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    which: Which,
    /// newest, source-of-truth:NODE, columns or ask, instead of the table's
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// rule, delete, update or ask: where one side deleted what the other changed, instead of the table's
    #[arg(long, value_name = "RULE")]
    on_delete: Option<String>,
    /// row, columns or delta for a column of the table, beside those it has; may be repeated
    #[arg(long, value_name = "COLUMN=RULE", value_parser = column, requires = "table")]
    column: Vec<(String, ColumnRule)>,
}

/// `column=rule`
fn column(text: &str) -> Result<(String, ColumnRule), String> {
    let (name, rule) = text.rsplit_once('=').unwrap_or((text, ""));
    let found = ColumnRule::ALL.into_iter().find(|known| known.name() == rule);
    match found {
        Some(rule) if !name.is_empty() => Ok((name.to_owned(), rule)),
        Some(_) | None => Err("write COLUMN=row, COLUMN=columns or COLUMN=delta".to_owned()),
    }
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    /// As given; what is not is the table's own.
    rule: Option<String>,
    on_delete: Option<String>,
    columns: BTreeMap<String, &'static str>,
    tables: Vec<Line>,
    examples: Vec<Example>,
    next_steps: Vec<String>,
}

/// The rules that are asked for.
struct Wanted {
    row: Option<Rule>,
    on_delete: Option<OnDelete>,
    columns: Vec<(String, ColumnRule)>,
}

/// Conflicts of one table and kind, by what would have become of them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Line {
    table: String,
    kind: String,
    conflicts: u64,
    /// As it was decided.
    same: u64,
    /// The other node's version would have stood.
    other: u64,
    /// A row made of both.
    merged: u64,
    /// It would have waited.
    person: u64,
    /// No rule decides it, or the record does not tell enough.
    no_rule: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Example {
    conflict: String,
    table: String,
    key: String,
    stood: String,
    would_stand: String,
}

#[derive(Default)]
struct Counted {
    lines: BTreeMap<(String, String), Line>,
    examples: Vec<Example>,
    seen: HashSet<String>,
}

/// The tables of one sync, each opened when it is met first. `None`: it is not in the sync any more.
struct Bench {
    spec: SyncSpec,
    wanted: Wanted,
    judges: BTreeMap<usize, (Judge, TableRules)>,
}

pub(super) async fn run(face: &Face, config: &Config, options: &Options) -> Result<()> {
    let mut counted = Counted::default();
    let mut benches: BTreeMap<String, Bench> = BTreeMap::new();
    for (sync, index) in options.which.places(config)? {
        let name = &sync.spec.name;
        if !benches.contains_key(name) {
            benches.insert(name.clone(), Bench::open(sync, options).await?);
        }
        let Some(bench) = benches.get_mut(name) else {
            continue;
        };
        let declared = &sync.nodes[index];
        let mut node = Node::connect(&declared.access, declared.engine).await?;
        let mut after = 0;
        loop {
            let filter = ConflictFilter {
                after: Some(after),
                ..options.which.filter(PAGE)
            };
            let page = node.conflicts(name, &filter).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for conflict in &page {
                if counted.seen.insert(conflict.id.clone()) {
                    let would = bench.again(index, conflict).await?;
                    count(&mut counted, sync, index, conflict, would);
                }
            }
        }
        node.close().await;
    }
    let next_steps: Vec<String> = counted
        .examples
        .first()
        .map(|example| format!("tidelock conflicts show {}", example.conflict))
        .into_iter()
        .collect();
    if face.json {
        let columns = options.column.iter();
        return face.document(&Document {
            schema: Schema,
            rule: options.rule.clone(),
            on_delete: options.on_delete.clone(),
            columns: columns.map(|(name, rule)| (name.clone(), rule.name())).collect(),
            tables: counted.lines.into_values().collect(),
            examples: counted.examples,
            next_steps,
        });
    }
    if counted.lines.is_empty() {
        face.say("no conflicts");
        return Ok(());
    }
    face.print(&text(&counted));
    face.next(&next_steps);
    Ok(())
}

impl Bench {
    async fn open(sync: &Sync, options: &Options) -> Result<Bench> {
        Ok(Bench {
            wanted: Wanted::parse(sync, options)?,
            spec: flow::selected(&sync.spec).await?,
            judges: BTreeMap::new(),
        })
    }

    async fn again(&mut self, node: usize, conflict: &StoredConflict) -> Result<Option<Stands>> {
        let id = TableId::new(&conflict.schema, &conflict.table);
        let tables = &self.spec.nodes[node].tables;
        let Some(table) = tables.iter().position(|known| *known == id) else {
            return Ok(None);
        };
        if !self.judges.contains_key(&table) {
            let judge = Judge::open(&self.spec, table).await?;
            let own = self.spec.rules.get(table).cloned().unwrap_or_default();
            for (name, _) in &self.wanted.columns {
                if !judge.has_column(name) {
                    return Err(Error::definite(format!("find the column {name:?}"))
                        .table(&id)
                        .why("there is none that a rule can be given to"));
                }
            }
            let rules = self.wanted.over(own, &self.spec);
            self.judges.insert(table, (judge, rules));
        }
        let judge = self.judges.get(&table);
        Ok(judge.and_then(|(judge, rules)| judge.again(rules, node, conflict)))
    }
}

impl Wanted {
    fn parse(sync: &Sync, options: &Options) -> Result<Wanted> {
        let row = options.rule.as_deref().map(|text| row_rule(sync, text));
        let on_delete = options.on_delete.as_deref().map(|text| {
            let found = OnDelete::ALL.into_iter().find(|rule| rule.name() == text);
            found.ok_or_else(|| {
                Error::definite("choose the rule")
                    .why(format!("{text:?} says nothing of deletes"))
                    .hint("rule, delete, update or ask")
            })
        });
        Ok(Wanted {
            row: row.transpose()?,
            on_delete: on_delete.transpose()?,
            columns: options.column.clone(),
        })
    }

    /// The table's rules with these in their place, and the node that would answer for them.
    fn over(&self, mut rules: TableRules, sync: &SyncSpec) -> TableRules {
        rules.row = self.row.unwrap_or(rules.row);
        rules.on_delete = self.on_delete.unwrap_or(rules.on_delete);
        rules.columns.extend(self.columns.iter().cloned());
        let rank = |place: usize| sync.nodes.get(place).map(|node| node.rank);
        let usual = Some(sync.usual.arbiter).filter(|arbiter| *arbiter != 0);
        let given = Some(rules.arbiter).filter(|arbiter| *arbiter != 0).or(usual);
        rules.arbiter = match rules.row {
            Rule::SourceOfTruth(truth) => truth,
            Rule::Newest | Rule::Columns | Rule::Ask => given
                .or_else(|| sync.hub.and_then(rank))
                .or_else(|| rank(0))
                .unwrap_or_default(),
        };
        rules
    }
}

fn row_rule(sync: &Sync, text: &str) -> Result<Rule> {
    let doing = || Error::definite("choose the rule");
    match text.split_once(':') {
        Some(("source-of-truth", name)) => {
            let node = sync.spec.nodes.iter().find(|node| node.name == name);
            let node = node.ok_or_else(|| {
                let names: Vec<&str> = sync.spec.nodes.iter().map(|node| node.name.as_str()).collect();
                doing()
                    .why(format!("sync {} has no node {name:?}", sync.spec.name))
                    .hint(format!("it has {}", names.join(", ")))
            })?;
            Ok(Rule::SourceOfTruth(node.rank))
        }
        _ => {
            let plain = [Rule::Newest, Rule::Columns, Rule::Ask];
            let found = plain.into_iter().find(|rule| rule.name() == text);
            found.ok_or_else(|| {
                doing()
                    .why(format!("{text:?} is no rule"))
                    .hint("newest, source-of-truth:NODE, columns or ask")
            })
        }
    }
}

fn count(counted: &mut Counted, sync: &Sync, node: usize, conflict: &StoredConflict, would: Option<Stands>) {
    let table = format!("{}.{}", conflict.schema, conflict.table);
    let place = (table.clone(), conflict.kind.clone());
    let line = counted.lines.entry(place).or_insert_with(|| Line {
        table: table.clone(),
        kind: conflict.kind.clone(),
        ..Line::default()
    });
    line.conflicts += 1;
    let Some(would) = would else {
        line.no_rule += 1;
        return;
    };
    let stood = match (conflict.outcome.as_str(), conflict.winner) {
        ("merged", _) => Stands::Merged,
        (_, Some(winner)) => Stands::Of(winner),
        (_, None) => Stands::Open,
    };
    match &would {
        would if *would == stood => line.same += 1,
        Stands::Of(_) => line.other += 1,
        Stands::Merged => line.merged += 1,
        Stands::Open => line.person += 1,
    }
    if would != stood && counted.examples.len() < EXAMPLES_MAX {
        counted.examples.push(Example {
            conflict: format!("{}:{}", sync.nodes[node].name, conflict.number),
            table,
            key: conflict.key.clone(),
            stood: told(sync, &stood),
            would_stand: told(sync, &would),
        });
    }
}

fn told(sync: &Sync, stands: &Stands) -> String {
    match stands {
        Stands::Of(rank) => {
            let node = sync.spec.nodes.iter().find(|node| node.rank == *rank);
            let name = node.map_or_else(|| format!("node {rank}"), |node| node.name.clone());
            format!("the version of {name}")
        }
        Stands::Merged => "a row of both".to_owned(),
        Stands::Open => "nobody's: it waits for a person".to_owned(),
    }
}

fn text(counted: &Counted) -> String {
    let heading = [
        "TABLE",
        "KIND",
        "CONFLICTS",
        "SAME",
        "OTHER NODE'S",
        "MERGED",
        "A PERSON",
        "NO RULE",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for line in counted.lines.values() {
        let counts = [
            line.conflicts,
            line.same,
            line.other,
            line.merged,
            line.person,
            line.no_rule,
        ];
        let mut row = vec![line.table.clone(), line.kind.clone()];
        row.extend(counts.iter().map(ToString::to_string));
        rows.push(row);
    }
    let mut out = render::table(&rows);
    if !counted.examples.is_empty() {
        out.push_str("\nfor example\n");
    }
    for example in &counted.examples {
        out.push_str(&format!(
            "  {} {} key {}: stood {}, would stand {}\n",
            example.conflict,
            example.table,
            render::cut(&example.key, 40),
            example.stood,
            example.would_stand
        ));
    }
    out
}
