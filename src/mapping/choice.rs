//! Which tables are in a sync, and what each node calls them.
//!
//! Owns: [`Choice`], the rules of the configuration, and their application to what the nodes have ([`Choice::chosen`]).
//! A table is named once for all nodes: by the configuration's name, which a node may call otherwise (`names`), whose
//! schema a node may call otherwise (`schemas`), and which without a schema lies in each node's default schema.
//! Refuses: two tables with one name on a node, which is told as [`Chosen::clashes`].

use super::pattern::{Gap, Name, Pattern};
use crate::model::schema::TableId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// In order; the last that matches decides.
    pub patterns: Vec<Pattern>,
    /// Each node's default schema.
    pub defaults: Vec<String>,
    /// Schemas that are one under several names, by node.
    pub schemas: Vec<Vec<Option<String>>>,
    /// Tables with a section of their own.
    pub declared: Vec<Declared>,
    /// Sections for many tables.
    pub patterned: Vec<Patterned>,
    /// Which of those may speak of one table together; each has its rules behind those of `declared`.
    pub combined: Vec<Vec<usize>>,
}

/// A section for all tables that a pattern matches.
#[derive(Debug, Clone)]
pub struct Patterned {
    /// As the configuration writes it.
    pub text: String,
    pub pattern: Pattern,
    /// What a node calls them, where it says so: with its schema.
    pub names: Vec<Option<Gap>>,
}

#[derive(Debug, Clone)]
pub struct Declared {
    /// As the configuration writes it.
    pub text: String,
    pub name: Name,
    /// What a node calls it, where it says so.
    pub names: Vec<Option<TableId>>,
}

/// A table of the sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: Name,
    /// By node.
    pub ids: Vec<TableId>,
    /// Index of its section.
    pub declared: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Those named exactly in their order, then the others by name.
    pub tables: Vec<Table>,
    /// Node, table: two tables of the sync would be this one.
    pub clashes: Vec<(usize, TableId)>,
    /// Node, table: it matches, but its name on another node belongs to another table of the sync.
    pub displaced: Vec<(usize, TableId)>,
    /// Patterns that chose nothing.
    pub idle: Vec<String>,
}

impl Choice {
    /// Are all tables named exactly?
    pub fn is_fixed(&self) -> bool {
        self.patterns
            .iter()
            .all(|pattern| pattern.exclude || pattern.exact().is_some())
    }

    /// Is it known without asking a node? What sections for many tables say depends on the columns of each.
    pub fn is_settled(&self) -> bool {
        self.is_fixed() && self.patterned.is_empty()
    }

    /// The same without a node.
    pub fn without(&self, gone: usize) -> Choice {
        let mut choice = self.clone();
        choice.defaults.remove(gone);
        choice
            .schemas
            .iter_mut()
            .for_each(|group| drop(group.remove(gone)));
        for declared in choice
            .declared
            .iter_mut()
            .filter(|declared| declared.names.len() > gone)
        {
            declared.names.remove(gone);
        }
        let patterned = choice.patterned.iter_mut();
        for patterned in patterned.filter(|patterned| patterned.names.len() > gone) {
            patterned.names.remove(gone);
        }
        choice
    }

    /// What every node calls a table.
    pub fn table(&self, name: &Name) -> Table {
        let exact = self.declared.iter().position(|declared| declared.name == *name);
        let speaking = self.speaking(name);
        let ids = (0..self.defaults.len()).map(|node| {
            let said = exact.and_then(|index| self.declared[index].names.get(node)?.clone());
            let said = said.or_else(|| {
                speaking
                    .iter()
                    .find_map(|index| self.patterned[*index].called(node, name))
            });
            said.unwrap_or_else(|| TableId::new(self.schema(node, name.schema.as_deref()), &name.table))
        });
        let combined = || self.combined.iter().position(|combined| *combined == speaking);
        let declared = exact.or_else(|| Some(self.declared.len() + combined()?));
        Table {
            ids: ids.collect(),
            declared,
            name: name.clone(),
        }
    }

    /// The sections for many tables that speak of this one.
    fn speaking(&self, name: &Name) -> Vec<usize> {
        let speaks = |index: &usize| {
            self.same(name)
                .any(|name| self.patterned[*index].pattern.matches(&name))
        };
        (0..self.patterned.len()).filter(speaks).collect()
    }

    /// The sections for many tables that speak of none of these, as the configuration writes them.
    pub fn unspoken<'a>(&'a self, tables: &[&Table]) -> Vec<&'a str> {
        let spoken: BTreeSet<usize> = tables
            .iter()
            .flat_map(|table| self.speaking(&table.name))
            .collect();
        let places = (0..self.patterned.len()).filter(|index| !spoken.contains(index));
        places.map(|index| self.patterned[index].text.as_str()).collect()
    }

    /// A table's section as the configuration writes it; several, where more than one speaks of it.
    pub fn section_text(&self, declared: usize) -> Option<String> {
        match declared.checked_sub(self.declared.len()) {
            None => self.declared.get(declared).map(|declared| declared.text.clone()),
            Some(combined) => {
                let texts = self.combined.get(combined)?.iter();
                let texts: Vec<&str> = texts.map(|index| self.patterned[*index].text.as_str()).collect();
                Some(texts.join(" + "))
            }
        }
    }

    /// The table by a node's name, also one that has a section and is not chosen.
    pub fn known_on(&self, node: usize, id: &TableId) -> Option<Table> {
        let mut said = self.declared.iter().map(|declared| self.table(&declared.name));
        let said = said.find(|table| table.ids.get(node) == Some(id));
        said.or_else(|| self.table_on(node, id))
    }

    fn schema<'a>(&'a self, node: usize, schema: Option<&'a str>) -> &'a str {
        let Some(schema) = schema else {
            return &self.defaults[node];
        };
        let group = self.schemas.iter().find(|group| is_in(group, schema));
        group.and_then(|group| group[node].as_deref()).unwrap_or(schema)
    }

    /// Is the table with this name chosen?
    pub fn includes(&self, name: &Name) -> bool {
        let spelt = self.spelt(name);
        let mut chosen = false;
        for pattern in &self.patterns {
            if pattern.exclude {
                chosen &= !spelt.iter().any(|name| pattern.matches(name));
            } else {
                chosen |= self.same(name).any(|name| pattern.matches(&name));
            }
        }
        chosen
    }

    fn same(&self, name: &Name) -> impl Iterator<Item = Name> {
        same(&self.schemas, name)
    }

    /// Every name under which an exclusion may mean it.
    fn spelt(&self, name: &Name) -> Vec<Name> {
        let mut names: Vec<Name> = self.same(name).collect();
        for id in self.table(name).ids.iter().zip(&self.defaults) {
            let (id, default) = id;
            names.push(Name {
                schema: Some(id.schema.clone()),
                table: id.name.clone(),
            });
            if id.schema == *default {
                names.push(Name {
                    schema: None,
                    table: id.name.clone(),
                });
            }
        }
        names
    }

    /// The table of the sync that a node's table would be.
    pub fn table_on(&self, node: usize, id: &TableId) -> Option<Table> {
        let name = self.name_of(node, id).filter(|name| self.includes(name))?;
        let table = self.table(&name);
        (table.ids.get(node) == Some(id) && !self.is_displaced(&table)).then_some(table)
    }

    /// The schemas of a node that the sync speaks of.
    pub fn spoken_of(&self, node: usize) -> BTreeSet<String> {
        let exact = self.patterns.iter().filter_map(Pattern::schema);
        let mut schemas: BTreeSet<String> =
            exact.map(|schema| self.schema(node, schema).to_owned()).collect();
        schemas.insert(self.defaults[node].clone());
        schemas.extend(self.schemas.iter().filter_map(|group| group[node].clone()));
        let said = self.declared.iter();
        let said = said.filter_map(|declared| declared.names.get(node)?.as_ref());
        schemas.extend(said.map(|id| id.schema.clone()));
        schemas.extend(self.gap_schemas(node));
        schemas
    }

    fn gap_schemas(&self, node: usize) -> impl Iterator<Item = String> {
        let gaps = self.patterned.iter();
        gaps.filter_map(move |patterned| patterned.names.get(node)?.as_ref()?.schema.clone())
    }

    /// Tables that are named exactly.
    pub fn named(&self) -> Vec<Table> {
        let mut seen = BTreeSet::new();
        let patterns = self.patterns.iter().filter(|pattern| !pattern.exclude);
        patterns
            .filter_map(Pattern::exact)
            .filter(|name| self.includes(name) && seen.insert(name.clone()))
            .map(|name| self.table(&name))
            .collect()
    }

    /// The configuration's name of a node's table: its own, or the one by which a pattern means it.
    fn name_of(&self, node: usize, id: &TableId) -> Option<Name> {
        let own = |declared: &&Declared| {
            declared
                .names
                .get(node)
                .is_some_and(|said| said.as_ref() == Some(id))
        };
        if let Some(declared) = self.declared.iter().find(own) {
            return Some(declared.name.clone());
        }
        let named = self
            .patterned
            .iter()
            .filter_map(|patterned| patterned.name_of(node, id));
        if let Some(name) = named
            .into_iter()
            .find(|name| self.table(name).ids.get(node) == Some(id))
        {
            return Some(name);
        }
        let group = self
            .schemas
            .iter()
            .find(|group| group[node].as_deref() == Some(&id.schema));
        // The group's first name stands for the schema, whichever node is asked.
        let schema = group
            .and_then(|group| group.iter().flatten().next())
            .unwrap_or(&id.schema);
        let qualified = Name {
            schema: Some(schema.clone()),
            table: id.name.clone(),
        };
        let bare = Name {
            schema: None,
            table: id.name.clone(),
        };
        let bare = (id.schema == self.defaults[node]).then_some(bare);
        // Written with and without the schema it is one table here, and perhaps two on another node: the last
        // pattern that chose it says which was meant.
        let mut meant = None;
        for pattern in self.patterns.iter().filter(|pattern| !pattern.exclude) {
            if self.same(&qualified).any(|name| pattern.matches(&name)) {
                meant = Some(qualified.clone());
            } else if let Some(bare) = bare.iter().find(|bare| pattern.matches(bare)) {
                meant = Some(bare.clone());
            }
        }
        meant
    }

    /// The tables of the sync among what the nodes have. `listed` holds each node's tables; those of a node that does
    /// not lead are `None`.
    pub fn chosen(&self, listed: &[Option<Vec<TableId>>]) -> Chosen {
        let mut chosen = Chosen {
            tables: self.named(),
            ..Chosen::default()
        };
        let mut others: BTreeMap<Vec<TableId>, Table> = BTreeMap::new();
        for (node, ids) in listed.iter().enumerate() {
            for id in ids.iter().flatten() {
                let Some(name) = self.name_of(node, id).filter(|name| self.includes(name)) else {
                    continue;
                };
                let table = self.table(&name);
                if table.ids.get(node) != Some(id) || self.is_displaced(&table) {
                    chosen.displaced.push((node, id.clone()));
                } else if !chosen.tables.iter().any(|known| known.ids == table.ids) {
                    others.insert(table.ids.clone(), table);
                }
            }
        }
        chosen.tables.extend(others.into_values());
        for node in 0..self.defaults.len() {
            let mut seen = BTreeSet::new();
            let twice = chosen
                .tables
                .iter()
                .filter(|table| !seen.insert(&table.ids[node]));
            chosen
                .clashes
                .extend(twice.map(|table| (node, table.ids[node].clone())));
        }
        let idle = |pattern: &&Pattern| {
            let means = |table: &Table| self.same(&table.name).any(|name| pattern.matches(&name));
            !pattern.exclude && pattern.exact().is_none() && !chosen.tables.iter().any(means)
        };
        chosen.idle = self
            .patterns
            .iter()
            .filter(idle)
            .map(|pattern| pattern.text.clone())
            .collect();
        chosen
    }

    /// Has another section taken the table's name on some node?
    fn is_displaced(&self, table: &Table) -> bool {
        self.declared.iter().enumerate().any(|(index, declared)| {
            let takes = |(said, id): (&Option<TableId>, &TableId)| said.as_ref() == Some(id);
            table.declared != Some(index) && declared.names.iter().zip(&table.ids).any(takes)
        })
    }

    /// The only schemas of a node in which tables of the sync can be; `None`: any.
    pub fn schemas_on(&self, node: usize) -> Option<Vec<String>> {
        let mut schemas = BTreeSet::new();
        for pattern in self.patterns.iter().filter(|pattern| !pattern.exclude) {
            schemas.insert(self.schema(node, pattern.schema()?).to_owned());
        }
        let said = self
            .declared
            .iter()
            .filter_map(|declared| declared.names.get(node)?.as_ref());
        schemas.extend(said.map(|id| id.schema.clone()));
        schemas.extend(self.gap_schemas(node));
        Some(schemas.into_iter().collect())
    }
}

impl Patterned {
    fn called(&self, node: usize, name: &Name) -> Option<TableId> {
        let gap = self.names.get(node)?.as_ref()?;
        let own = self.pattern.gap()?;
        let table = gap.filled(own.found(&name.table)?);
        Some(TableId::new(gap.schema.clone()?, table))
    }

    fn name_of(&self, node: usize, id: &TableId) -> Option<Name> {
        let gap = self.names.get(node)?.as_ref()?;
        let own = self.pattern.gap()?;
        let found = gap
            .found(&id.name)
            .filter(|_| gap.schema.as_ref() == Some(&id.schema))?;
        Some(Name {
            table: own.filled(found),
            schema: own.schema,
        })
    }
}

/// The name, under each of the names of its schema. `groups`: schemas that are one under several names.
pub fn same(groups: &[Vec<Option<String>>], name: &Name) -> impl Iterator<Item = Name> + use<> {
    let group = name
        .schema
        .as_ref()
        .and_then(|schema| groups.iter().find(|group| is_in(group, schema)));
    let mut names = vec![name.clone()];
    for schema in group.into_iter().flatten().flatten() {
        names.push(Name {
            schema: Some(schema.clone()),
            table: name.table.clone(),
        });
    }
    names.into_iter()
}

fn is_in(group: &[Option<String>], schema: &str) -> bool {
    group.iter().flatten().any(|name| name == schema)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Node 0 has schema `public` as its default, node 1 database `shop`.
    fn choice(patterns: &[&str]) -> Choice {
        Choice {
            patterns: patterns
                .iter()
                .map(|text| Pattern::parse(text).unwrap())
                .collect(),
            defaults: vec!["public".to_owned(), "shop".to_owned()],
            ..Choice::default()
        }
    }

    fn ids(texts: &[&str]) -> Option<Vec<TableId>> {
        let id = |text: &&str| {
            let (schema, table) = text.split_once('.').unwrap();
            TableId::new(schema, table)
        };
        Some(texts.iter().map(id).collect())
    }

    fn pairs(chosen: &Chosen) -> Vec<String> {
        let pair = |table: &Table| format!("{} {}", table.ids[0], table.ids[1]);
        chosen.tables.iter().map(pair).collect()
    }

    #[test]
    fn later_patterns_win_and_both_sides_are_joined() {
        let chosen = choice(&["*", "!tmp_*", "tmp_keep", "sales.*"]).chosen(&[
            ids(&[
                "public.a",
                "public.tmp_x",
                "public.tmp_keep",
                "sales.o",
                "audit.z",
            ]),
            ids(&["shop.a", "shop.b", "other.c"]),
        ]);
        assert_eq!(
            pairs(&chosen),
            [
                "public.tmp_keep shop.tmp_keep",
                "public.a shop.a",
                "public.b shop.b",
                "sales.o sales.o"
            ]
        );
        assert!(chosen.clashes.is_empty() && chosen.idle.is_empty());
    }

    #[test]
    fn schemas_are_one_under_two_names() {
        let mut choice = choice(&["public.*", "!shop.secret"]);
        choice.schemas = vec![vec![Some("public".to_owned()), Some("shop".to_owned())]];
        let chosen = choice.chosen(&[ids(&["public.a", "public.secret"]), ids(&["shop.a", "shop.b"])]);
        assert_eq!(pairs(&chosen), ["public.a shop.a", "public.b shop.b"]);
        assert_eq!(choice.schemas_on(1), Some(vec!["shop".to_owned()]));
    }

    #[test]
    fn a_table_with_another_name_displaces_the_one_that_has_it() {
        let mut choice = choice(&["*"]);
        choice.declared.push(Declared {
            text: "customers".to_owned(),
            name: Name::parse("customers").unwrap(),
            names: vec![None, Some(TableId::new("crm", "clients"))],
        });
        let chosen = choice.chosen(&[
            ids(&["public.customers"]),
            ids(&["crm.clients", "shop.customers"]),
        ]);
        assert_eq!(pairs(&chosen), ["public.customers crm.clients"]);
        assert_eq!(chosen.displaced, [(1, TableId::new("shop", "customers"))]);
        assert_eq!(
            choice.schemas_on(1),
            Some(vec!["crm".to_owned(), "shop".to_owned()])
        );
    }

    #[test]
    fn a_section_that_speaks_of_no_table_is_told() {
        let mut choice = choice(&["*", "shop.*"]);
        choice.schemas = vec![vec![Some("public".to_owned()), Some("shop".to_owned())]];
        let section = |text: &&str| Patterned {
            text: (*text).to_owned(),
            pattern: Pattern::parse(text).unwrap(),
            names: Vec::new(),
        };
        choice.patterned = ["a*", "public.*", "audit.*"].iter().map(section).collect();
        let tables = |names: &[&str]| -> Vec<Table> {
            let table = |name: &&str| choice.table(&Name::parse(name).unwrap());
            names.iter().map(table).collect()
        };
        let unspoken = |names: &[&str]| {
            let tables = tables(names);
            choice.unspoken(&tables.iter().collect::<Vec<_>>()).join(" ")
        };
        assert_eq!(unspoken(&["ab"]), "public.* audit.*");
        assert_eq!(unspoken(&["shop.b"]), "a* audit.*");
        assert_eq!(unspoken(&["ab", "public.b", "audit.b"]), "");
        assert!(!choice.is_settled());
    }

    #[test]
    fn one_name_for_two_tables_is_told() {
        let chosen = choice(&["*", "public.*"]).chosen(&[ids(&["public.c"]), ids(&["shop.c", "public.c"])]);
        assert_eq!(chosen.clashes, [(0, TableId::new("public", "c"))]);
    }

    #[test]
    fn a_pattern_that_means_nothing_is_told() {
        let chosen = choice(&["a", "zz*"]).chosen(&[ids(&["public.a"]), None]);
        assert_eq!(chosen.idle, ["zz*"]);
        assert!(choice(&["a", "!b*"]).is_fixed() && !choice(&["a", "b*"]).is_fixed());
        assert!(
            choice(&["!a"])
                .chosen(&[ids(&["public.a"]), None])
                .tables
                .is_empty()
        );
    }
}
