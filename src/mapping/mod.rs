//! What makes two different databases one: which tables are chosen, and how their columns and rows pass.
//!
//! Owns: names and patterns ([`pattern`]), the choice of tables by them ([`choice`]), rings of syncs ([`ring`]), and per table the names of its
//! columns on each node, those that stay behind, and the row filter ([`Mapping`], for one direction [`Passage`]).
//! Refuses: reading catalogs (see `flow::select`) and the work on values (see `plan`). Pure.

pub mod choice;
pub mod formula;
pub mod holds;
pub mod owner;
pub mod pattern;
pub mod ring;
pub mod values;

use self::formula::Computed;
use self::holds::Holds;
use self::owner::{OwnedColumn, Owners};
use self::values::ValueMap;
use crate::expr::{Expr, Filter, Unfit};
use crate::model::schema::{Column, Table};
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN};
use std::sync::Arc;

/// The first letter of the signature of a mapping by which not every node has every row.
pub const FILTERED: char = 'w';

/// How the rows of one table pass between the nodes of its sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    pub columns: Vec<ColumnMapping>,
    pub filter: Option<RowFilter>,
    /// Columns whose values no record, screen or export may show: their names by node, in the order of the sync.
    pub masks: Vec<Vec<String>>,
    /// Columns that may lose what the other node's type does not keep: their names by node.
    pub losses: Vec<Vec<String>>,
    /// The table may not be altered: the stamps of its rows stand in a table of their own.
    pub beside: bool,
    /// Every node gives its new rows numbers of its own.
    pub split: bool,
    /// Not every node may write all of it.
    pub owners: Owners,
    /// The nodes but one hold some of that one's rows.
    pub holds: Option<Holds>,
    /// Columns whose values have other words on some nodes.
    pub values: Vec<ValueMap>,
    /// Columns that are computed of what other nodes have.
    pub computed: Vec<Computed>,
    /// Columns of which sections for many tables alone speak: this table may not have them. The configuration's names.
    pub loose: Vec<String>,
    /// As it was before such columns were left out that the table does not have: what is set up does not change with them.
    pub whole: Option<Arc<Mapping>>,
    /// By node: the column that holds the key of the others' rows, where the primary key is that node's own.
    pub external: Vec<Option<String>>,
    /// At the seed, rows without such a key are paired with the others' by these columns, in the configuration's names.
    pub match_on: Vec<String>,
}

/// A column that is not simply the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMapping {
    /// Its name in the configuration, and on every node that says no other.
    pub name: String,
    /// By node, in the order of the sync.
    pub names: Vec<String>,
    /// It stays where it is.
    pub skip: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFilter {
    /// Which of its rows each node sends, in the order of the sync.
    pub sent: Vec<Sent>,
    /// A row that no longer matches stays at the peer as it was.
    pub keep: bool,
}

/// A condition on the rows of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// As it was written.
    pub text: String,
    /// In the configuration's names of the columns.
    pub condition: Expr,
}

impl RowFilter {
    /// Does every node send by the same condition?
    pub fn is_common(&self) -> bool {
        self.sent
            .windows(2)
            .all(|two| two[0].condition == two[1].condition)
    }

    fn signature(&self) -> String {
        let mut sent = self.sent.iter().map(|sent| &sent.condition);
        match (self.is_common(), sent.next()) {
            (true, Some(condition)) => condition.signature(),
            (true, None) => String::new(),
            (false, first) => {
                let all = first.into_iter().chain(sent).map(Expr::signature);
                all.collect::<Vec<String>>().join(" / ")
            }
        }
    }

    fn words(&self, nodes: &[(usize, &str)]) -> Vec<String> {
        let leaving = if self.keep { "stay" } else { "are deleted" };
        if self.is_common() {
            let text = self.sent.first().map_or("", |sent| &sent.text);
            return vec![format!(
                "only rows where {text}; rows that leave it {leaving} at the peer"
            )];
        }
        let sent = nodes
            .iter()
            .filter_map(|(place, node)| Some((node, self.sent.get(*place)?)));
        let mut words: Vec<String> = sent
            .map(|(node, sent)| format!("of {node}'s rows those where {} go to the other node", sent.text))
            .collect();
        words.push(format!(
            "a row that both conditions take is everybody's; what one alone takes is that node's, and writes of the \
             other to it are undone; rows that leave {leaving} at the peer"
        ));
        words
    }
}

impl Mapping {
    pub fn is_plain(&self) -> bool {
        let is_whole = self.filter.is_none() && self.holds.is_none();
        self.columns.is_empty() && is_whole && self.values.is_empty() && self.computed.is_empty()
    }

    /// What must not change while the table is set up: other columns or rows would have to be copied. Empty for a
    /// plain table.
    pub fn signature(&self) -> String {
        let beside = if self.beside {
            crate::model::schema::BESIDE
        } else {
            ""
        };
        if let Some(whole) = &self.whole {
            return whole.signature();
        }
        if self.is_plain() {
            return beside.to_owned();
        }
        let mut columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| (&column.name, &column.names, column.skip))
            .collect();
        columns.sort();
        let filter = self.filter.as_ref().map(RowFilter::signature);
        let mut text = serde_json::json!([columns, filter]).to_string();
        for map in &self.values {
            text.push_str(&serde_json::json!([map.names, map.words]).to_string());
        }
        for of in &self.computed {
            text.push_str(&serde_json::json!([of.node, of.column, of.expr.to_string()]).to_string());
        }
        if let Some(holds) = &self.holds {
            text.push_str(&holds.signature());
        }
        if self.external.iter().any(Option::is_some) {
            text.push_str(&serde_json::json!(self.external).to_string());
        }
        let is_filtered = self.filter.is_some() || self.holds.is_some();
        let kind = if is_filtered { FILTERED } else { 'c' };
        format!(
            "{kind}{:015x}{beside}",
            xxhash_rust::xxh3::xxh3_64(text.as_bytes()) >> 4
        )
    }

    /// The same among some of its nodes. What a node owned that is gone is everybody's.
    pub fn among(&self, stays: impl Fn(usize) -> bool) -> Mapping {
        let of = |names: &Vec<String>| -> Vec<String> {
            let names = names.iter().enumerate().filter(|(node, _)| stays(*node));
            names.map(|(_, name)| name.clone()).collect()
        };
        let columns = self.columns.iter().map(|column| ColumnMapping {
            names: of(&column.names),
            ..column.clone()
        });
        let values = self.values.iter().map(|map| {
            let words = map.words.iter().enumerate().filter(|(node, _)| stays(*node));
            ValueMap {
                column: map.column.clone(),
                names: of(&map.names),
                words: words.map(|(_, words)| words.clone()).collect(),
            }
        });
        let computed = self.computed.iter().filter(|computed| stays(computed.node));
        let place = |node: usize| (0..node).filter(|node| stays(*node)).count();
        let computed = computed.map(|computed| Computed {
            node: place(computed.node),
            ..computed.clone()
        });
        let owner = |owner: Option<usize>| owner.filter(|owner| stays(*owner)).map(place);
        let owned = self.owners.columns.iter().filter_map(|owned| {
            Some(OwnedColumn {
                names: of(&owned.names),
                owner: owner(Some(owned.owner))?,
            })
        });
        let owners = Owners {
            columns: owned.collect(),
            inserts: owner(self.owners.inserts),
            deletes: owner(self.owners.deletes),
            hub: owner(self.owners.hub),
        };
        Mapping {
            columns: columns.collect(),
            masks: self.masks.iter().map(of).collect(),
            losses: self.losses.iter().map(of).collect(),
            values: values.collect(),
            computed: computed.collect(),
            holds: self
                .holds
                .as_ref()
                .map(|holds| holds.among(&stays, owner(holds.hub))),
            owners,
            whole: self
                .whole
                .as_ref()
                .map(|whole| Arc::new(whole.among(&stays as &dyn Fn(usize) -> bool))),
            external: of_external(&self.external, &stays),
            ..self.clone()
        }
    }

    /// Without what is said of columns that no node's table has, where sections for many tables alone say it. `has`: node, its
    /// name of the column. The columns that there are not, by the configuration's names.
    pub fn fitting(
        self: &Arc<Mapping>,
        nodes: usize,
        has: impl Fn(usize, &str) -> bool,
    ) -> (Arc<Mapping>, Vec<String>) {
        let names = |column: &str| -> Vec<String> {
            (0..nodes)
                .map(|node| self.name_on(node, column).to_owned())
                .collect()
        };
        let is_on = |node: usize, column: &str| has(node, self.name_on(node, column));
        let is_computed = |computed: &Computed| {
            self.loose.contains(&computed.column) && !is_on(computed.node, &computed.column)
        };
        let absent = self
            .loose
            .iter()
            .filter(|column| !(0..nodes).any(|node| is_on(node, column)));
        let absent: Vec<String> = absent.cloned().collect();
        if absent.is_empty() && !self.computed.iter().any(is_computed) {
            return (Arc::clone(self), absent);
        }
        let gone: Vec<Vec<String>> = absent.iter().map(|column| names(column)).collect();
        let mut fitting = Mapping::clone(self);
        // What must not be carried or seen is not, should the column come while a link runs.
        fitting
            .columns
            .retain(|column| column.skip || !absent.contains(&column.name));
        fitting.values.retain(|map| !absent.contains(&map.column));
        fitting.computed.retain(|computed| !is_computed(computed));
        fitting.losses.retain(|names| !gone.contains(names));
        fitting
            .owners
            .columns
            .retain(|owned| !gone.contains(&owned.names));
        fitting.whole = Some(Arc::clone(self));
        (Arc::new(fitting), absent)
    }

    /// As a node keeps it, of so many: what others call the columns is nothing to it, so that nodes may come and go.
    /// (Of two it is told as a whole, as it always was.)
    pub fn signature_on(&self, node: usize, nodes: usize) -> String {
        match nodes {
            0..=2 => self.signature(),
            _ => self.among(|other| other == node).signature(),
        }
    }

    /// What a node may have kept of it: while there were fewer nodes, or more.
    pub fn signatures(&self, node: usize, nodes: usize) -> Vec<String> {
        let mut all = vec![self.among(|other| other == node).signature()];
        all.extend((2..=nodes).map(|count| self.among(|other| other < count).signature()));
        all
    }

    /// A node's name of a column of the configuration.
    pub fn name_on<'a>(&'a self, node: usize, column: &'a str) -> &'a str {
        let found = self.columns.iter().find(|known| known.name == column);
        found
            .and_then(|known| known.names.get(node))
            .map_or(column, String::as_str)
    }

    /// Which of its rows `sender` sends, as the table of `node` has them.
    pub fn sent_by(&self, sender: usize, node: usize, table: &Table) -> Result<Option<Filter>, Unfit> {
        let sent = self.filter.as_ref().and_then(|filter| filter.sent.get(sender));
        sent.map(|sent| self.bound(&sent.condition, node, table))
            .transpose()
    }

    /// A condition of the configuration's names and words over the table of a node.
    fn bound(&self, condition: &Expr, node: usize, table: &Table) -> Result<Filter, Unfit> {
        let said = self
            .said_on(node, condition, Some(table))
            .map_err(|unsayable| Unfit {
                part: unsayable.column,
                why: unsayable.why,
            })?;
        Filter::bind(&said, table, |column| self.name_on(node, column))
    }

    /// The node's names of the columns that stay where they are. A name that a carried column has on this node is
    /// that column's: the one that stays behind lies on the other node.
    pub fn skipped(&self, node: usize) -> Vec<String> {
        let skipped = self.columns.iter().filter(|column| column.skip);
        skipped
            .filter_map(|column| column.names.get(node))
            .filter(|name| self.named_on(node, name).is_some_and(|column| column.skip))
            .cloned()
            .collect()
    }

    /// The column that has this name on a node; carried ones go first.
    fn named_on(&self, node: usize, name: &str) -> Option<&ColumnMapping> {
        let is_named = |column: &&ColumnMapping| column.names.get(node).is_some_and(|known| known == name);
        let mut carried = self.columns.iter().filter(|column| !column.skip);
        let skipped = || self.columns.iter().filter(|column| column.skip).find(is_named);
        carried.find(is_named).or_else(skipped)
    }

    /// The node's names of the columns whose values are shown nowhere.
    pub fn masked(&self, node: usize) -> impl Iterator<Item = &String> {
        self.masks.iter().filter_map(move |names| names.get(node))
    }

    /// The node's names of the columns that a filter, or what is computed for another node, reads.
    pub fn read_columns(&self, node: usize) -> Vec<String> {
        let sent = self.filter.iter().flat_map(|filter| &filter.sent);
        let holds = self.holds.iter().filter(|holds| holds.hub == Some(node));
        let held = holds.flat_map(Holds::conditions).flat_map(Expr::columns);
        let filtered = sent.flat_map(|sent| sent.condition.columns()).chain(held);
        let computed = self.computed.iter().filter(|computed| computed.node != node);
        let computed = computed.flat_map(|computed| computed.expr.columns());
        let mut columns: Vec<String> = Vec::new();
        for column in filtered.chain(computed) {
            let name = self.name_on(node, column);
            if !columns.iter().any(|known| known == name) {
                columns.push(name.to_owned());
            }
        }
        columns
    }

    /// In words, for `check`; empty for a plain table. `nodes` are nodes by their places, and their names.
    pub fn words(&self, nodes: &[(usize, &str)]) -> Vec<String> {
        let mut words = Vec::new();
        for column in &self.columns {
            if column.skip {
                words.push(format!("column {} stays behind", column.name));
                continue;
            }
            let names = nodes
                .iter()
                .map(|(place, node)| (node, self.name_on(*place, &column.name)))
                .filter(|(_, name)| *name != column.name);
            let names: Vec<String> = names.map(|(node, name)| format!("{name} on {node}")).collect();
            words.push(format!("column {} is {}", column.name, names.join(", ")));
        }
        words.extend(nodes.iter().filter_map(|(place, node)| {
            let column = self.external.get(*place)?.as_ref()?;
            Some(format!(
                "{column} of {node} holds the key of the other side's rows: rows without it are {node}'s alone, and its \
                 primary key stays its own"
            ))
        }));
        words.extend(
            self.masks
                .iter()
                .filter_map(|names| names.first())
                .map(|name| format!("column {name} is masked: its values are in no conflict record")),
        );
        words.extend(self.values.iter().filter_map(|map| {
            let words = |(place, node): &(usize, &str)| {
                let words = map.words.get(*place)?.as_ref()?;
                let words: Vec<String> = words.iter().map(|(one, own)| format!("{one} = {own}")).collect();
                Some(format!("on {node} {}", words.join(", ")))
            };
            let said: Vec<String> = nodes.iter().filter_map(words).collect();
            let name = nodes.first().and_then(|(place, _)| map.names.get(*place))?;
            Some(format!("values of column {name}: {}", said.join("; ")))
        }));
        words.extend(self.computed.iter().filter_map(|computed| {
            let (_, node) = nodes.iter().find(|(place, _)| *place == computed.node)?;
            let name = self.name_on(computed.node, &computed.column);
            Some(format!("column {name} of {node} is {}", computed.text))
        }));
        words.extend(self.holds.iter().flat_map(|holds| holds.words(nodes)));
        words.extend(self.owners.words(nodes));
        if let Some(filter) = &self.filter {
            words.extend(filter.words(nodes));
        }
        words
    }
}

fn of_external(external: &[Option<String>], stays: impl Fn(usize) -> bool) -> Vec<Option<String>> {
    let known = external.iter().enumerate().filter(|(node, _)| stays(*node));
    known.map(|(_, column)| column.clone()).collect()
}

/// A mapping in one direction.
#[derive(Debug, Clone, Default)]
pub struct Passage {
    mapping: Arc<Mapping>,
    source: usize,
    target: usize,
    /// The table's name in the configuration, the same on every node; empty: as the target calls it.
    pub table: String,
    /// While rows are copied anew: those that this takes, in the configuration's names of the columns. `None`: all.
    asked: Option<Arc<Expr>>,
    /// Whole tables go, as images: rows need no key.
    imaging: bool,
}

/// Where a column of the source goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// To the target's column of this name.
    Named(&'a str),
    /// Nowhere: it is skipped.
    Skipped,
    /// The target's column of its name takes another column's values.
    Taken(&'a str),
}

impl Passage {
    pub fn new(mapping: &Arc<Mapping>, source: usize, target: usize, table: impl Into<String>) -> Self {
        Passage {
            mapping: Arc::clone(mapping),
            source,
            target,
            table: table.into(),
            asked: None,
            imaging: false,
        }
    }

    /// The same of a sync that makes images.
    pub fn imaging(self, imaging: bool) -> Passage {
        Passage { imaging, ..self }
    }

    pub fn is_imaging(&self) -> bool {
        self.imaging
    }

    /// The same for a new copy of the rows that the condition takes.
    pub fn asking(self, condition: Expr) -> Passage {
        Passage {
            asked: Some(Arc::new(condition)),
            ..self
        }
    }

    pub fn back(&self) -> Passage {
        Passage {
            mapping: Arc::clone(&self.mapping),
            source: self.target,
            target: self.source,
            table: self.table.clone(),
            asked: self.asked.clone(),
            imaging: self.imaging,
        }
    }

    pub fn place<'a>(&'a self, column: &'a str) -> Place<'a> {
        let on = |known: &'a ColumnMapping, node: usize| known.names.get(node).map(String::as_str);
        if let Some(known) = self.mapping.named_on(self.source, column) {
            return match (known.skip, on(known, self.target)) {
                (false, Some(name)) => Place::Named(name),
                (true, _) | (false, None) => Place::Skipped,
            };
        }
        match self.mapping.named_on(self.target, column) {
            Some(known) => Place::Taken(on(known, self.source).unwrap_or(column)),
            None => Place::Named(column),
        }
    }

    /// The configuration's name of a column of the source.
    pub fn called<'a>(&'a self, column: &'a str) -> &'a str {
        let known = self.mapping.named_on(self.source, column);
        known.map_or(column, |known| known.name.as_str())
    }

    /// The source's table without the columns that stay behind.
    pub fn kept(&self, table: &Table) -> Table {
        self.passing(table, |name, _| name.to_owned())
    }

    /// The same as the target calls it.
    pub fn there(&self, table: &Table) -> Table {
        self.passing(table, |_, there| there.to_owned())
    }

    fn passing(&self, table: &Table, call: impl Fn(&str, &str) -> String) -> Table {
        let mut passing = table.clone();
        let mut places = Vec::new();
        passing.columns.clear();
        for column in &table.columns {
            places.push(match self.place(&column.name) {
                Place::Named(there) => {
                    passing.columns.push(Column {
                        name: call(&column.name, there),
                        ..column.clone()
                    });
                    Some(passing.columns.len() - 1)
                }
                Place::Skipped | Place::Taken(_) => None,
            });
        }
        let moved = |key: &Vec<usize>| {
            key.iter()
                .map(|index| places[*index])
                .collect::<Option<Vec<usize>>>()
        };
        passing.key = moved(&table.key).unwrap_or_default();
        // Over a column that stays behind a unique key is this node's own matter.
        passing.uniques = table.uniques.iter().filter_map(moved).collect();
        passing
    }

    /// What the source sends, as its own table has it and as the target's.
    pub fn filter(&self, source: &Table, target: &Table) -> Result<Option<(Filter, Filter)>, Unfit> {
        if self.is_to_holder() {
            let ends = (self.source, self.target);
            let here = self.condition(ends, self.source, source)?;
            return Ok(here.zip(self.condition(ends, self.target, target)?));
        }
        let here = self.mapping.sent_by(self.source, self.source, source)?;
        Ok(here.zip(self.mapping.sent_by(self.source, self.target, target)?))
    }

    /// Can every condition be judged on the source's rows?
    pub fn fits(&self, source: &Table) -> Result<(), Unfit> {
        let senders = self.mapping.filter.iter().flat_map(|filter| 0..filter.sent.len());
        for sender in senders {
            self.mapping.sent_by(sender, self.source, source)?;
        }
        let holds = self.mapping.holds.as_ref();
        for spoke in 0..holds.map_or(0, |holds| holds.by.len()) {
            self.condition((self.source, spoke), self.source, source)?;
        }
        Ok(())
    }

    /// Do both directions send by one condition, or none?
    pub fn is_common(&self) -> bool {
        self.mapping.filter.as_ref().is_none_or(RowFilter::is_common)
    }

    /// The condition of a new copy, for the source's rows and for the target's.
    pub fn asked(&self, source: &Table, target: &Table) -> Result<Option<(Filter, Filter)>, Unfit> {
        let bound = |condition: &Expr, node: usize, table: &Table| self.mapping.bound(condition, node, table);
        let both = self.asked.as_ref().map(|condition| {
            let here = bound(condition, self.source, source)?;
            Ok((here, bound(condition, self.target, target)?))
        });
        both.transpose()
    }

    /// The configuration's names of the source's columns that a condition may be about: both sides have them, and they
    /// may be shown.
    pub fn askable<'a>(&'a self, source: &'a Table) -> Vec<&'a str> {
        let shown = |name: &str| !self.masks().any(|(here, _)| here == name);
        let columns = source
            .columns
            .iter()
            .filter(|column| !column.generated && shown(&column.name));
        let named = columns.filter_map(|column| match self.place(&column.name) {
            Place::Named(_) => Some(self.called(&column.name)),
            Place::Skipped | Place::Taken(_) => None,
        });
        named
            .filter(|name| ![VERSION_COLUMN, ORIGIN_COLUMN].contains(name))
            .collect()
    }

    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub fn source(&self) -> usize {
        self.source
    }

    pub fn target(&self) -> usize {
        self.target
    }

    /// Do sections for many tables alone speak of this column of the source, which it may not have?
    pub fn is_loose(&self, column: &str) -> bool {
        // Its names are known of what was said of it.
        let whole = self.mapping.whole.as_deref().unwrap_or(&self.mapping);
        let known = whole.named_on(self.source, column);
        let name = known.map_or(column, |known| known.name.as_str());
        whole.loose.iter().any(|loose| loose == name)
    }

    /// Names of each masked column on the source and on the target.
    pub fn masks(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mapping
            .masks
            .iter()
            .filter_map(|names| Some((names.get(self.source)?.as_str(), names.get(self.target)?.as_str())))
    }

    /// Names on the source and on the target of each column that may lose.
    pub fn losses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mapping
            .losses
            .iter()
            .filter_map(|names| Some((names.get(self.source)?.as_str(), names.get(self.target)?.as_str())))
    }

    /// Rows that leave the filter stay at the peer.
    pub fn keeps(&self) -> bool {
        self.mapping.filter.as_ref().is_some_and(|filter| filter.keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Arc<Mapping> {
        let column = |name: &str, there: &str, skip| ColumnMapping {
            name: name.to_owned(),
            names: vec![name.to_owned(), there.to_owned()],
            skip,
        };
        Arc::new(Mapping {
            columns: vec![column("email", "mail", false), column("ssn", "ssn", true)],
            ..Mapping::default()
        })
    }

    #[test]
    fn nodes_that_come_and_go_change_nobody_elses_part() {
        let of = |names: &[&str]| Mapping {
            columns: vec![ColumnMapping {
                name: "email".to_owned(),
                names: names.iter().map(ToString::to_string).collect(),
                skip: false,
            }],
            ..Mapping::default()
        };
        let (pair, three, four) = (
            of(&["email", "mail"]),
            of(&["email", "mail", "adresse"]),
            of(&["email", "mail", "adresse", "email"]),
        );
        let is_told = |kept: String, by: &Mapping, node, nodes| by.signatures(node, nodes).contains(&kept);
        // From two to three, to four, and back to two without the third.
        assert!(is_told(pair.signature_on(1, 2), &three, 1, 3));
        assert!(is_told(three.signature_on(1, 3), &four, 1, 4));
        assert!(is_told(four.signature_on(1, 4), &pair, 1, 2));
        let others = four.among(|node| node != 2);
        assert_eq!(others.columns[0].names, ["email", "mail", "email"]);
        assert!(is_told(four.signature_on(3, 4), &others, 2, 3));
        // Its own name is another.
        assert!(!is_told(four.signature_on(1, 4), &four, 2, 4));
    }

    #[test]
    fn columns_pass_under_their_names_both_ways() {
        let there = Passage::new(&mapping(), 0, 1, "t");
        assert_eq!(there.place("email"), Place::Named("mail"));
        assert_eq!(there.place("id"), Place::Named("id"));
        assert_eq!(there.place("ssn"), Place::Skipped);
        assert_eq!(there.place("mail"), Place::Taken("email"));
        let back = there.back();
        assert_eq!(back.place("mail"), Place::Named("email"));
        assert_eq!(back.place("email"), Place::Taken("mail"));
        assert_eq!(back.place("ssn"), Place::Skipped);
    }

    #[test]
    fn a_name_that_a_carried_column_has_is_not_skipped_there() {
        let column = |name: &str, there: &str, skip| ColumnMapping {
            name: name.to_owned(),
            names: vec![name.to_owned(), there.to_owned()],
            skip,
        };
        let columns = vec![column("mail", "mail", true), column("email", "mail", false)];
        let mapping = Arc::new(Mapping {
            columns,
            ..Mapping::default()
        });
        assert_eq!((mapping.skipped(0).len(), mapping.skipped(1).len()), (1, 0));
        let there = Passage::new(&mapping, 0, 1, "t");
        assert_eq!(there.place("email"), Place::Named("mail"));
        assert_eq!(there.place("mail"), Place::Skipped);
        assert_eq!(there.back().place("mail"), Place::Named("email"));
    }

    #[test]
    fn a_signature_changes_with_what_passes_and_not_with_the_order_of_keys() {
        let one = mapping();
        let mut other = (*one).clone();
        other.columns.reverse();
        assert_eq!(one.signature(), other.signature());
        other.columns.pop();
        assert_ne!(one.signature(), other.signature());
        assert_eq!(Mapping::default().signature(), "");
    }
}
