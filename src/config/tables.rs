//! Which tables a sync has, what each node calls them and their columns, and which rows pass.
//!
//! Owns: `tables`, `schemas` and the sections `[sync.table.NAME]`, as far as they can be judged without a database.
//! Refuses: two tables or columns under one name.

use super::Node;
use super::build::Builder;
use super::file::{ColumnFile, SyncFile, TableFile, Word};
use super::problem::Problem;
use super::rules::{self, Given};
use super::syncs::known_node;
use super::{external, filters, formulas, holds, ids, owners, sections, values, versions};
use crate::flow::spec::Section;
use crate::mapping::choice::{Choice, Declared, Patterned, Table};
use crate::mapping::pattern::{Gap, Name, Pattern};
use crate::mapping::{ColumnMapping, Mapping};
use crate::merge::offered;
use crate::model::origin::CONTROL;
use crate::model::rules::ColumnRule;
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use crate::model::sync::{Mode, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::version::VersionSource;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;

/// The sync that the tables are of.
pub(super) struct Around<'a> {
    pub file: &'a SyncFile,
    /// Its sections `[sync.table.NAME]`, those of single tables first.
    pub sections: &'a [sections::Section],
    pub members: &'a [(Arc<Node>, Rank)],
    pub nodes: &'a [String],
    pub mode: Option<Mode>,
    /// By its place in `nodes`.
    pub hub: Option<usize>,
}

impl Around<'_> {
    pub(super) fn key(&self, suffix: &str) -> String {
        format!("sync.{}.{suffix}", self.file.name.get_ref())
    }

    pub(super) fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node == name)
    }
}

/// The patterns, and the names by which sections know their tables.
pub(super) fn choice(builder: &mut Builder<'_>, around: &Around<'_>) -> Choice {
    let given = &around.file.tables;
    let shown: Vec<&str> = given
        .get_ref()
        .iter()
        .map(|name| name.get_ref().as_str())
        .collect();
    builder.show(&around.key("tables"), shown.join(", "), Some(given.span()));
    for section in around.file.table.keys() {
        builder.note(
            &around.key(&format!("table.{}", section.get_ref())),
            section.span(),
        );
    }
    let patterns = patterns(builder, given);
    let mut choice = Choice {
        patterns,
        defaults: around
            .members
            .iter()
            .map(|(node, _)| node.schema.clone())
            .collect(),
        schemas: schemas(builder, around),
        declared: Vec::new(),
        patterned: Vec::new(),
        combined: Vec::new(),
    };
    for wild in sections::wild(around.file) {
        let names = names_of(builder, around, wild.key, wild.file);
        let gaps = gaps(builder, &wild, names, &choice.defaults);
        choice.patterned.push(Patterned {
            text: wild.key.get_ref().clone(),
            pattern: wild.pattern,
            names: gaps,
        });
    }
    let patterns = around
        .sections
        .iter()
        .filter_map(|section| section.patterns.clone());
    choice.combined = patterns.collect();
    for section in around
        .sections
        .iter()
        .filter(|section| section.patterns.is_none())
    {
        let declared = declared(builder, around, &choice, &section.key, &section.file);
        choice.declared.push(declared);
    }
    refuse_doubles(builder, around, &choice);
    choice
}

fn patterns(builder: &mut Builder<'_>, given: &Spanned<Vec<Spanned<String>>>) -> Vec<Pattern> {
    if given.get_ref().is_empty() {
        let problem = Problem::new("tables is empty");
        let hint = "name each table, or a pattern: tables = [\"customers\", \"sales.*\"]";
        builder.problem(problem.hint(hint).at(given.span()));
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    let mut wrong = false;
    for text in given.get_ref() {
        match Pattern::parse(text.get_ref()) {
            Ok(pattern) if pattern.schema() == Some(Some(CONTROL)) && !pattern.exclude => {
                let problem = Problem::new(format!("\"{}\" means Tidelock's own tables", text.get_ref()));
                builder.problem(
                    problem
                        .hint("they are never replicated: take it out")
                        .at(text.span()),
                );
                wrong = true;
            }
            Ok(pattern) => {
                if pattern.exact().is_some() && patterns.contains(&pattern) {
                    let problem = Problem::new(format!("the table {} is listed twice", text.get_ref()));
                    builder.problem(problem.hint("once is enough").at(text.span()));
                }
                patterns.push(pattern);
            }
            Err(why) => {
                let problem = Problem::new(format!("\"{}\" is no table name: {why}", text.get_ref()));
                builder.problem(
                    problem
                        .hint("\"table\", \"schema.table\", \"schema.*\", \"!schema.tmp_*\"")
                        .at(text.span()),
                );
                wrong = true;
            }
        }
    }
    if !wrong && !patterns.is_empty() && patterns.iter().all(|pattern| pattern.exclude) {
        let problem = Problem::new("tables chooses nothing: it only takes out");
        builder.problem(
            problem
                .hint("begin with what is to be chosen: tables = [\"*\", \"!tmp_*\"]")
                .at(given.span()),
        );
    }
    patterns
}

fn schemas(builder: &mut Builder<'_>, around: &Around<'_>) -> Vec<Vec<Option<String>>> {
    let Some(given) = &around.file.schemas else {
        return Vec::new();
    };
    let mut groups: Vec<Vec<Option<String>>> = Vec::new();
    for names in &given.get_ref().0 {
        let mut group = vec![None; around.nodes.len()];
        for (node, schema) in names {
            if !known_node(builder, node.get_ref(), node.span(), around.nodes) {
                continue;
            }
            let Some(index) = around.node(node.get_ref()) else {
                continue;
            };
            let text = schema.get_ref();
            let key = around.key(&format!("schemas.{}", node.get_ref()));
            builder.show(&key, text, Some(schema.span()));
            if text.is_empty() || text == CONTROL {
                let problem = Problem::new(format!("\"{text}\" is no schema to replicate"));
                builder.problem(
                    problem
                        .hint("name a schema of the node, on MySQL a database")
                        .at(schema.span()),
                );
            }
            if groups
                .iter()
                .any(|group: &Vec<Option<String>>| group[index].as_ref() == Some(text))
            {
                let problem = Problem::new(format!(
                    "schema \"{text}\" of \"{}\" is in two groups",
                    node.get_ref()
                ));
                builder.problem(
                    problem
                        .hint("a schema has one counterpart on each node")
                        .at(schema.span()),
                );
            }
            group[index] = Some(text.clone());
        }
        if group.iter().any(Option::is_none) {
            let problem = Problem::new("a group of schemas names every node of the sync");
            let example: Vec<String> = around
                .nodes
                .iter()
                .map(|node| format!("{node} = \"...\""))
                .collect();
            builder.problem(
                problem
                    .hint(format!("schemas = {{ {} }}", example.join(", ")))
                    .at(given.span()),
            );
        }
        groups.push(group);
    }
    groups
}

fn declared(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    choice: &Choice,
    key: &Spanned<String>,
    table: &TableFile,
) -> Declared {
    let name = match Name::parse(key.get_ref()) {
        Ok(name) => name,
        Err(why) => {
            let problem = Problem::new(format!("\"{}\" is no table name: {why}", key.get_ref()));
            builder.problem(
                problem
                    .hint("\"table\", \"schema.table\", or a pattern such as \"schema.*\"")
                    .at(key.span()),
            );
            Name {
                schema: None,
                table: key.get_ref().clone(),
            }
        }
    };
    // Wrong patterns were reported where they stand.
    if !choice.includes(&name) && choice.patterns.len() == around.file.tables.get_ref().len() {
        let known = choice.patterns.iter().map(|pattern| pattern.text.as_str());
        let problem = Problem::new(format!(
            "table \"{}\" is not in this sync's tables",
            key.get_ref()
        ));
        let hint = "write it as tables does, with or without its schema";
        builder.problem(problem.hint(hint).nearest(key.get_ref(), known).at(key.span()));
    }
    let names = names_of(builder, around, key, table)
        .into_iter()
        .enumerate()
        .map(|(index, given)| {
            let (text, span) = given?;
            match Name::parse(&text) {
                Ok(name) => {
                    let default = around.members.get(index).map(|(node, _)| node.schema.clone());
                    let schema = name.schema.or(default).unwrap_or_default();
                    Some(TableId::new(schema, name.table))
                }
                Err(why) => {
                    let problem = Problem::new(format!("\"{text}\" is no table name: {why}"));
                    builder.problem(problem.hint("\"table\" or \"schema.table\"").at(span));
                    None
                }
            }
        });
    Declared {
        text: key.get_ref().clone(),
        names: names.collect(),
        name,
    }
}

/// What a section says that nodes call its table, or its tables: by node.
fn names_of(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    key: &Spanned<String>,
    table: &TableFile,
) -> Vec<Option<(String, Range<usize>)>> {
    let mut names = vec![None; around.nodes.len()];
    for (node, text) in &table.names {
        if !known_node(builder, node.get_ref(), node.span(), around.nodes) {
            continue;
        }
        let Some(index) = around.node(node.get_ref()) else {
            continue;
        };
        let shown = around.key(&format!("table.{}.names.{}", key.get_ref(), node.get_ref()));
        builder.show(&shown, text.get_ref(), Some(text.span()));
        if Pattern::parse(text.get_ref()).is_ok_and(|name| name.schema() == Some(Some(CONTROL))) {
            let problem = Problem::new("this is one of Tidelock's own tables");
            builder.problem(problem.hint("they are never replicated").at(text.span()));
            continue;
        }
        names[index] = Some((text.get_ref().clone(), text.span()));
    }
    names
}

/// `names` of a section for many tables: what stands for `*` stands in their names too.
fn gaps(
    builder: &mut Builder<'_>,
    wild: &sections::Wild<'_>,
    names: Vec<Option<(String, Range<usize>)>>,
    defaults: &[String],
) -> Vec<Option<Gap>> {
    let mut gap = |given: Option<(String, Range<usize>)>, default: &str| {
        let (text, span) = given?;
        let there = Pattern::parse(&text).ok().filter(|pattern| !pattern.exclude);
        let gap = there.and_then(|pattern| pattern.gap());
        match gap.filter(|_| wild.pattern.gap().is_some()) {
            Some(gap) => Some(Gap {
                schema: Some(gap.schema.clone().unwrap_or_else(|| default.to_owned())),
                ..gap
            }),
            None => {
                let problem = Problem::new(format!(
                    "names of \"{}\" tell no name for each of its tables",
                    wild.key.get_ref()
                ));
                let hint = "the section and the name have one * in the table's name and none elsewhere: [sync.table.\"sales.*\"] \
                            names = { my = \"shop.sales_*\" }";
                builder.problem(problem.hint(hint).at(span));
                None
            }
        }
    };
    names
        .into_iter()
        .zip(defaults)
        .map(|(given, default)| gap(given, default))
        .collect()
}

/// Of the tables that are known without a database.
fn refuse_doubles(builder: &mut Builder<'_>, around: &Around<'_>, choice: &Choice) {
    if around.members.len() != around.nodes.len() {
        return;
    }
    let mut tables: Vec<(Table, Range<usize>)> = Vec::new();
    for (declared, section) in choice.declared.iter().zip(around.sections) {
        let (key, names) = (&section.key, &section.file.names);
        let place = names.values().next().map_or(key.span(), Spanned::span);
        tables.push((choice.table(&declared.name), place));
    }
    let is_own = |table: &Table| table.declared.is_some_and(|index| index < choice.declared.len());
    for table in choice.named() {
        if !is_own(&table) {
            tables.push((table, around.file.tables.span()));
        }
    }
    for (node, name) in around.nodes.iter().enumerate() {
        let mut seen: BTreeMap<&TableId, &Table> = BTreeMap::new();
        for (table, place) in &tables {
            let Some(other) = seen.insert(&table.ids[node], table) else {
                continue;
            };
            let id = &table.ids[node];
            let problem = match other.name.table == table.name.table && !is_own(other) && !is_own(table) {
                true => Problem::new(format!("the table {id} is listed twice"))
                    .hint("with and without its schema it is one table"),
                false => Problem::new(format!(
                    "\"{}\" and \"{}\" are both {id} on \"{name}\"",
                    other.name, table.name
                ))
                .hint("a table has one counterpart on each node: correct names, or take one out of tables"),
            };
            builder.problem(problem.at(place.clone()));
            return;
        }
    }
}

/// The rules and mappings of the sections, in the order of `choice.declared`; and whether tables without one are split.
pub(super) fn mappings(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    given: &Given<'_>,
    version: &VersionSource,
) -> (bool, Vec<Section>) {
    let split = ids::general(builder, around);
    let mut out = Vec::new();
    for section in around.sections {
        let (key, file) = (&section.key, &section.file);
        let (mut columns, rules) = columns(builder, around, key.get_ref(), file);
        let external = external::of_table(builder, around, key.get_ref(), file, &mut columns);
        let rules = given.section(builder, key, file, rules);
        let filter = filters::of_table(builder, around, key.get_ref(), file, &columns, &rules);
        let masks = marked(builder, around, key, file, "mask");
        let losses = marked(builder, around, key, file, "lossy");
        let named = (key.get_ref().as_str(), key.span());
        let version = versions::of_table(builder, around, named, file, &columns, version);
        let beside = versions::stamps(builder, around, key.get_ref(), file);
        let split = ids::of_table(builder, around, key.get_ref(), file, split);
        let owners = owners::of_table(builder, around, key.get_ref(), file);
        external::refuse(builder, file, (beside, split), &owners, &external);
        let is_apart = filter.as_ref().is_some_and(|filter| !filter.is_common());
        if let Some(refusal) = offered::owned(&rules, is_apart).filter(|_| !owners.is_empty()) {
            builder.problem(Problem::new(refusal.what).hint(refusal.hint).at(key.span()));
        }
        let values = values::of_table(builder, around, key.get_ref(), file);
        values::refuse(builder, file, filter.as_ref(), &version, &values);
        let held = holds::Beside {
            columns: &columns,
            rules: &rules,
            owners: &owners,
            values: &values,
            beside,
        };
        let holds = holds::of_table(builder, around, key.get_ref(), file, &held);
        let said = formulas::Beside {
            columns: &columns,
            owners: &owners,
            values: &values,
        };
        let computed = formulas::of_table(builder, around, key.get_ref(), file, &said);
        let mapping = Mapping {
            columns,
            filter,
            masks,
            losses,
            beside,
            split,
            owners,
            holds,
            values,
            computed,
            loose: section.loose.iter().cloned().collect(),
            whole: None,
            match_on: external::match_on(builder, around, key.get_ref(), file, &external),
            external,
        };
        out.push(Section {
            rules,
            version,
            mapping: Arc::new(mapping),
        });
    }
    (split, out)
}

/// What is said of one column, and where.
struct Said {
    column: ColumnMapping,
    place: Range<usize>,
    /// By node: its name there is written, and not only the one it has everywhere.
    named: Vec<bool>,
    rule: Option<ColumnRule>,
}

fn columns(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
) -> (Vec<ColumnMapping>, BTreeMap<String, ColumnRule>) {
    let mut given: Vec<_> = file.column.iter().collect();
    given.sort_by_key(|(name, _)| name.span().start);
    let mut said: Vec<Said> = Vec::new();
    for (name, words) in given {
        let prefix = around.key(&format!("table.{table}.column.{}", name.get_ref()));
        said.push(column(builder, around, &prefix, name.get_ref(), words));
    }
    skip_listed(builder, around, table, file, &mut said);
    let mut rules = BTreeMap::new();
    for said in &said {
        let Some(rule) = said.rule else { continue };
        if said.column.skip {
            let problem = Problem::new(format!(
                "column \"{}\" is skipped and has a rule",
                said.column.name
            ));
            let hint = "what stays where it is meets nothing: remove skip, or on_conflict";
            builder.problem(problem.hint(hint).at(said.place.clone()));
        }
        rules.insert(said.column.name.clone(), rule);
    }
    // What says nothing is nothing.
    said.retain(|said| said.column.skip || said.column.names.iter().any(|name| *name != said.column.name));
    for (place, said_here) in said.iter().enumerate() {
        refuse_column(builder, around, said_here, &said[..place]);
    }
    (said.into_iter().map(|said| said.column).collect(), rules)
}

fn refuse_column(builder: &mut Builder<'_>, around: &Around<'_>, said: &Said, before: &[Said]) {
    let column = &said.column;
    let is_ours = |name: &String| name.is_empty() || [VERSION_COLUMN, ORIGIN_COLUMN].contains(&name.as_str());
    if column.names.iter().any(is_ours) {
        let problem = Problem::new(format!("column \"{}\" cannot be mapped", column.name));
        builder.problem(
            problem
                .hint("the stamp columns are Tidelock's own, and a name is not empty")
                .at(said.place.clone()),
        );
    }
    for (index, node) in around.nodes.iter().enumerate() {
        // A column that stays behind lies on the nodes where another one has its name only if that is written.
        let is_meant = |said: &Said| !said.column.skip || said.named[index];
        let is_same = |other: &&Said| {
            other.column.names[index] == column.names[index] && is_meant(other) && is_meant(said)
        };
        if let Some(other) = before.iter().find(is_same) {
            let what = format!(
                "columns \"{}\" and \"{}\" are both \"{}\" on \"{node}\"",
                other.column.name, column.name, column.names[index]
            );
            let problem = Problem::new(what);
            builder.problem(
                problem
                    .hint("a column has one counterpart on each node")
                    .at(said.place.clone()),
            );
            break;
        }
    }
}

/// `skip = ["a", "b"]` says the same as `skip = true` at each of them.
fn skip_listed(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
    said: &mut Vec<Said>,
) {
    for name in &file.skip {
        let text = name.get_ref();
        builder.show(
            &around.key(&format!("table.{table}.column.{text}.skip")),
            true,
            Some(name.span()),
        );
        if let Some(known) = said.iter_mut().find(|known| known.column.name == *text) {
            known.column.skip = true;
            continue;
        }
        said.push(Said {
            column: ColumnMapping {
                name: text.clone(),
                names: vec![text.clone(); around.nodes.len()],
                skip: true,
            },
            place: name.span(),
            named: vec![false; around.nodes.len()],
            rule: None,
        });
    }
}

fn column(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    prefix: &str,
    name: &str,
    words: &Spanned<ColumnFile>,
) -> Said {
    let mut named = vec![false; around.nodes.len()];
    let mut rule = None;
    let mut column = ColumnMapping {
        name: name.to_owned(),
        names: vec![name.to_owned(); around.nodes.len()],
        skip: false,
    };
    for (key, word) in words.get_ref() {
        match (key.get_ref().as_str(), word.get_ref()) {
            ("skip", Word::Bool(skip)) => {
                builder.show(&format!("{prefix}.skip"), skip, Some(word.span()));
                column.skip = *skip;
            }
            ("skip", Word::Text(_) | Word::There(_)) => {
                let problem = Problem::new("skip is true or false");
                builder.problem(problem.hint("write skip = true").at(word.span()));
            }
            // See `marked` and `owners`.
            ("mask" | "lossy" | "owner", _) => {}
            ("on_conflict", Word::Text(text)) => {
                let key = format!("{prefix}.on_conflict");
                rule = rules::column(builder, around, &key, text, word.span());
            }
            (node, Word::Text(_) | Word::There(_)) => {
                let text = word.get_ref().name();
                if let Some(text) = text {
                    builder.show(&format!("{prefix}.{node}"), text, Some(word.span()));
                }
                if known_node(builder, node, key.span(), around.nodes)
                    && let (Some(index), Some(text)) = (around.node(node), text)
                {
                    text.clone_into(&mut column.names[index]);
                    named[index] = true;
                }
            }
            (_, Word::Bool(_)) => {
                let problem = Problem::new("a node is given the column's name there");
                builder.problem(
                    problem
                        .hint("write my = \"mail\", or skip = true")
                        .at(word.span()),
                );
            }
        }
    }
    Said {
        column,
        place: words.span(),
        named,
        rule,
    }
}

/// What each node calls a column.
pub(super) fn names(around: &Around<'_>, name: &str, words: &ColumnFile) -> Vec<String> {
    let mut names = vec![name.to_owned(); around.nodes.len()];
    for (key, word) in words {
        if let (Some(index), Some(there)) = (around.node(key.get_ref()), word.get_ref().name()) {
            there.clone_into(&mut names[index]);
        }
    }
    names
}

/// The columns with this word (`mask`, `lossy`): their names by node.
fn marked(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &Spanned<String>,
    file: &TableFile,
    mark: &str,
) -> Vec<Vec<String>> {
    let mut marked = Vec::new();
    for (name, words) in &file.column {
        let names = names(around, name.get_ref(), words.get_ref());
        let mut is_marked = false;
        for (key, word) in words.get_ref() {
            match (key.get_ref().as_str(), word.get_ref()) {
                (key, Word::Bool(given)) if key == mark => {
                    let shown = format!("table.{}.column.{}.{mark}", table.get_ref(), name.get_ref());
                    builder.show(&around.key(&shown), given, Some(word.span()));
                    is_marked = *given;
                    if mark == "lossy" && is_marked && around.mode == Some(Mode::Merge) {
                        builder.problem(lossy_in_merge().at(word.span()));
                    }
                }
                (key, Word::Text(_) | Word::There(_)) if key == mark => {
                    let problem = Problem::new(format!("{mark} is true or false"));
                    builder.problem(problem.hint(format!("write {mark} = true")).at(word.span()));
                }
                (_, Word::Bool(_) | Word::Text(_) | Word::There(_)) => {}
            }
        }
        if is_marked {
            marked.push(names);
        }
    }
    marked
}

fn lossy_in_merge() -> Problem {
    Problem::new("a column that may lose, in a merge").hint(
        "what was lost on one node would come back to the other with the next change of its row: give both nodes types \
         that hold the same values, or use mode = \"transactional\"",
    )
}

/// Where a piece of a text stands in the file: exactly, when the text is written there without escapes.
pub(super) fn within(file: &str, span: &Range<usize>, text: &str, at: &Range<usize>) -> Range<usize> {
    let written = file.get(span.clone()).unwrap_or_default();
    match written.find(text) {
        Some(start) => {
            let start = span.start + start;
            let end = (start + at.end).min(span.end);
            (start + at.start).min(end.saturating_sub(1))..end
        }
        None => span.clone(),
    }
}
