//! Rings: a table that reaches a database by two ways would come back to where it was written, or arrive twice.
//!
//! Owns: the search over syncs whose tables are known ([`closing`]), and the tables that patterns would choose if they
//! existed ([`examples`]), which is as much as a configuration alone can tell. A place is a table of a database,
//! whichever of the configured nodes means it; a table of a sync joins two places. Directions do not count: a second
//! one-way sync from the same origin is a second way too.
//! Refuses: knowing which nodes are one database; callers do. Pure.

use super::choice::Choice;
use super::pattern::Pattern;
use crate::model::origin::CONTROL;
use crate::model::schema::TableId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// More patterns than these are not held against each other; the tables themselves are, once they are known.
const PATTERNS_MAX: usize = 60;
/// What a `*` or `?` stands for in an example. Several, because exclusions may take one out.
const FILLERS: [char; 3] = ['t', 'q', '7'];

/// A sync with its tables.
#[derive(Debug, Clone)]
pub struct Member {
    pub sync: String,
    /// By node: what tells its database from all others.
    pub databases: Vec<String>,
    /// One per table: its name on each node.
    pub tables: Vec<Vec<TableId>>,
}

/// A table that has a second way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// The sync that closes it, and the table in it.
    pub member: usize,
    pub table: usize,
    /// The nodes of that sync between which it is the second way.
    pub ends: (usize, usize),
    /// The syncs of the first way.
    pub through: Vec<usize>,
}

type Place<'a> = (&'a str, &'a TableId);

/// The tables that close rings, each against the syncs before its own.
pub fn closing(members: &[Member]) -> Vec<Ring> {
    let mut joined: BTreeMap<Place<'_>, Vec<(Place<'_>, usize)>> = BTreeMap::new();
    let mut rings = Vec::new();
    for (member, sync) in members.iter().enumerate() {
        for (table, ids) in sync.tables.iter().enumerate() {
            let places: Vec<Place<'_>> = sync.databases.iter().map(String::as_str).zip(ids).collect();
            if let Some((ends, through)) = second_way(&joined, &places) {
                rings.push(Ring {
                    member,
                    table,
                    ends,
                    through,
                });
                continue;
            }
            // However its own links run, a sync joins all its nodes.
            for (one, other) in places.iter().zip(places.iter().skip(1)) {
                joined.entry(*one).or_default().push((*other, member));
                joined.entry(*other).or_default().push((*one, member));
            }
        }
    }
    rings
}

/// Two of the places that are joined already, and by which syncs.
fn second_way<'a>(
    joined: &BTreeMap<Place<'a>, Vec<(Place<'a>, usize)>>,
    places: &[Place<'a>],
) -> Option<((usize, usize), Vec<usize>)> {
    for (one, from) in places.iter().enumerate() {
        for (other, to) in places.iter().enumerate().skip(one + 1) {
            // Two nodes of one sync that are one database are refused by themselves.
            if from != to
                && let Some(through) = way(joined, *from, *to)
            {
                return Some(((one, other), through));
            }
        }
    }
    None
}

/// The syncs by which one place is joined with another, nearest first.
fn way(
    joined: &BTreeMap<Place<'_>, Vec<(Place<'_>, usize)>>,
    from: Place<'_>,
    to: Place<'_>,
) -> Option<Vec<usize>> {
    let mut seen = BTreeSet::from([from]);
    let mut waiting = VecDeque::from([(from, Vec::new())]);
    while let Some((place, syncs)) = waiting.pop_front() {
        if place == to {
            return Some(syncs);
        }
        for (next, sync) in joined.get(&place).into_iter().flatten() {
            if seen.insert(*next) {
                let mut longer = syncs.clone();
                longer.push(*sync);
                waiting.push_back((*next, longer));
            }
        }
    }
    None
}

/// What a sync would choose from.
pub struct Chooser<'a> {
    /// By node.
    pub databases: Vec<String>,
    pub choice: &'a Choice,
}

impl Chooser<'_> {
    fn wild(&self) -> impl Iterator<Item = &Pattern> {
        let patterns = self.choice.patterns.iter();
        patterns.filter(|pattern| !pattern.exclude && pattern.exact().is_none())
    }
}

/// For each sync the tables that are named exactly, and of those that its patterns could choose as many as show
/// whether another sync could choose them too.
pub fn examples(choosers: &[Chooser<'_>]) -> Vec<Vec<Vec<TableId>>> {
    let mut found: Vec<BTreeSet<Vec<TableId>>> = vec![BTreeSet::new(); choosers.len()];
    let mut waiting: Vec<(String, TableId)> = Vec::new();
    let mut named: Vec<Vec<Vec<TableId>>> = Vec::new();
    for chooser in choosers {
        let sections = chooser.choice.declared.iter().map(|declared| &declared.name);
        let sections = sections.filter(|name| chooser.choice.includes(name));
        let sections = sections.map(|name| chooser.choice.table(name).ids);
        let exact = chooser.choice.named().into_iter().map(|table| table.ids);
        named.push(exact.chain(sections).collect());
    }
    for (chooser, tables) in choosers.iter().zip(&named) {
        let places = tables.iter().flat_map(|ids| chooser.databases.iter().zip(ids));
        waiting.extend(places.map(|(database, id)| (database.clone(), id.clone())));
    }
    waiting.extend(made_up(choosers));
    while let Some((database, id)) = waiting.pop() {
        for (chooser, tables) in choosers.iter().zip(&mut found) {
            let nodes = chooser.databases.iter().enumerate();
            for (node, _) in nodes.filter(|(_, known)| **known == database) {
                let Some(table) = chooser.choice.table_on(node, &id) else {
                    continue;
                };
                if tables.insert(table.ids.clone()) {
                    // Under its other names it may be another sync's.
                    waiting.extend(chooser.databases.iter().cloned().zip(table.ids));
                }
            }
        }
    }
    // What is named goes first, because it is the better example.
    let each = named.into_iter().zip(found);
    let ordered = each.map(|(mut first, mut rest)| {
        first.retain(|ids| rest.remove(ids));
        first.extend(rest);
        first
    });
    ordered.collect()
}

/// Tables that patterns of several syncs have in common, in every schema that is spoken of.
fn made_up(choosers: &[Chooser<'_>]) -> Vec<(String, TableId)> {
    let wild: Vec<(usize, &Pattern)> = choosers
        .iter()
        .enumerate()
        .flat_map(|(sync, chooser)| chooser.wild().map(move |pattern| (sync, pattern)))
        .take(PATTERNS_MAX)
        .collect();
    let (mut names, mut schemas) = (BTreeSet::new(), BTreeSet::new());
    for (place, (sync, pattern)) in wild.iter().enumerate() {
        schemas.extend(Pattern::common_schemas(&[pattern], &FILLERS));
        for (next, (other, second)) in wild.iter().enumerate().skip(place + 1) {
            if sync == other {
                continue;
            }
            schemas.extend(Pattern::common_schemas(&[pattern, second], &FILLERS));
            let common = Pattern::common_tables(&[pattern, second], &FILLERS);
            // A ring of three needs a name that all three take.
            if !common.is_empty() && choosers.len() > 2 {
                for (third_sync, third) in wild.iter().skip(next + 1) {
                    if third_sync != sync && third_sync != other {
                        names.extend(Pattern::common_tables(&[pattern, second, third], &FILLERS));
                    }
                }
            }
            names.extend(common);
        }
    }
    let mut places = BTreeSet::new();
    for chooser in choosers {
        for (node, database) in chooser.databases.iter().enumerate() {
            let spoken_of = chooser.choice.spoken_of(node).into_iter();
            for schema in spoken_of.chain(schemas.iter().cloned()) {
                let ids = names
                    .iter()
                    .map(|name| TableId::new(schema.clone(), name.clone()));
                places.extend(ids.map(|id| (database.clone(), id)));
            }
        }
    }
    places.retain(|(_, id)| id.schema != CONTROL);
    places.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Syncs of two databases each, `left right: patterns`, all of whose tables lie in `s`.
    fn rings(syncs: &[(&str, &str, &[&str])]) -> Vec<Vec<usize>> {
        let choices: Vec<Choice> = syncs
            .iter()
            .map(|(_, _, patterns)| Choice {
                patterns: patterns
                    .iter()
                    .map(|text| Pattern::parse(text).unwrap())
                    .collect(),
                defaults: vec!["s".to_owned(), "s".to_owned()],
                ..Choice::default()
            })
            .collect();
        let choosers: Vec<Chooser<'_>> = syncs
            .iter()
            .zip(&choices)
            .map(|((left, right, _), choice)| Chooser {
                databases: vec![(*left).to_owned(), (*right).to_owned()],
                choice,
            })
            .collect();
        let tables = examples(&choosers);
        let members: Vec<Member> = choosers
            .into_iter()
            .zip(tables)
            .map(|(chooser, tables)| Member {
                sync: String::new(),
                databases: chooser.databases,
                tables,
            })
            .collect();
        let mut through: Vec<Vec<usize>> = closing(&members).into_iter().map(|ring| ring.through).collect();
        through.dedup();
        through
    }

    #[test]
    fn patterns_that_share_a_table_close_a_ring() {
        for (one, other) in [
            (&["*"][..], &["*"][..]),
            (&["*"], &["orders"]),
            (&["orders"], &["o*s"]),
            (&["a*"], &["*b"]),
            (&["log_*"], &["*_2024", "x"]),
            (&["*", "!tmp_*"], &["*", "!log_*"]),
            (&["*", "!t*"], &["*"]),
            (&["s.*"], &["*"]),
            (&["*.*"], &["s.o?"]),
            (&["!x", "*"], &["x"]),
        ] {
            assert_eq!(
                rings(&[("a", "b", one), ("b", "a", other)]),
                [vec![0]],
                "{one:?} {other:?}"
            );
        }
    }

    #[test]
    fn patterns_that_share_none_do_not() {
        for (one, other) in [
            (&["a*"][..], &["b*"][..]),
            (&["*", "!tmp_*"], &["tmp_*"]),
            (&["*", "!orders"], &["orders"]),
            (&["*_old"], &["*_new"]),
            (&["s.*"], &["r.*"]),
            (&["*"], &["r.*"]),
            (&["a?"], &["a??"]),
            (&["A*"], &["a*"]),
        ] {
            let found = rings(&[("a", "b", one), ("b", "a", other)]);
            assert!(found.is_empty(), "{one:?} {other:?}: {found:?}");
        }
    }

    #[test]
    fn rings_of_three_need_a_table_of_all_three() {
        let of = |third: &'static [&'static str]| {
            rings(&[("a", "b", &["x*"]), ("b", "c", &["*y"]), ("c", "a", third)])
        };
        assert_eq!(of(&["*z*"]), [vec![1, 0]]);
        assert_eq!(of(&["xy"]), [vec![1, 0]]);
        assert!(of(&["z*"]).is_empty());
        // A cascade and a star are no rings.
        assert!(rings(&[("a", "b", &["*"]), ("b", "c", &["*"]), ("a", "d", &["*"])]).is_empty());
    }

    #[test]
    fn a_table_is_followed_under_its_other_names() {
        use crate::mapping::choice::Declared;
        use crate::mapping::pattern::Name;
        let choice = |patterns: &[&str], declared: Vec<Declared>| Choice {
            patterns: patterns
                .iter()
                .map(|text| Pattern::parse(text).unwrap())
                .collect(),
            defaults: vec!["s".to_owned(), "s".to_owned()],
            declared,
            ..Choice::default()
        };
        let renamed = Declared {
            text: String::new(),
            name: Name::parse("orders").unwrap(),
            names: vec![None, Some(TableId::new("s", "bestellung"))],
        };
        let next = || choice(&["best*"], Vec::new());
        let choices = [choice(&["o*"], vec![renamed]), next(), next()];
        let of = |second: [&str; 2]| {
            let pairs = [["a", "b"], second, ["c", "d"]].map(|pair| pair.map(str::to_owned).to_vec());
            let choosers: Vec<Chooser<'_>> = pairs
                .into_iter()
                .zip(&choices)
                .map(|(databases, choice)| Chooser { databases, choice })
                .collect();
            examples(&choosers)
        };
        let bestellung = vec![TableId::new("s", "bestellung"); 2];
        let found = of(["b", "c"]);
        assert!(found[1].contains(&bestellung), "on b it has this name");
        assert!(found[2].contains(&bestellung), "and so it has on c");
        assert!(!of(["e", "c"])[1].contains(&bestellung));
    }
}
