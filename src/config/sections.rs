//! Sections for many tables, `[sync.table."sales.*"]`, and what becomes of them where several speak of one table.
//!
//! Owns: for each table with a section of its own, and for all patterns that may speak of one table together, one section
//! made of them all: what a table says itself stands, key by key and column by column, before what patterns say.
//! Refuses: two patterns that say the same of a table that both match, and `names` that tell no name for each table.

use super::build::Builder;
use super::file::{SyncFile, TableFile};
use super::problem::Problem;
use crate::mapping::choice::same;
use crate::mapping::pattern::{Name, Pattern};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;

/// More are a mistake, and would take long.
const COMBINED_MAX: usize = 256;

/// What is said of one table, or of those that the same patterns match.
pub(super) struct Section {
    pub key: Spanned<String>,
    pub file: TableFile,
    /// Columns that patterns alone speak of: not every table has them. The configuration's names.
    pub loose: BTreeSet<String>,
    /// The places of the patterns among all of them; `None`: it is one table's.
    pub patterns: Option<Vec<usize>>,
}

/// A section with its pattern.
pub(super) struct Wild<'a> {
    pub key: &'a Spanned<String>,
    pub file: &'a TableFile,
    pub pattern: Pattern,
}

/// In the order of the file.
pub(super) fn wild(file: &SyncFile) -> Vec<Wild<'_>> {
    let given = file.table.iter().filter_map(|(key, file)| {
        let pattern = Pattern::parse(key.get_ref()).ok()?;
        let is_wild = !pattern.exclude && pattern.exact().is_none();
        is_wild.then_some(Wild { key, file, pattern })
    });
    let mut wild: Vec<Wild<'_>> = given.collect();
    wild.sort_by_key(|wild| wild.key.span().start);
    wild
}

/// Those of single tables first, in the order of the file; then those of patterns, alone and together.
pub(super) fn of(builder: &mut Builder<'_>, file: &SyncFile) -> Vec<Section> {
    let (wild, groups) = (wild(file), groups(file));
    for (place, one) in wild.iter().enumerate() {
        let mut before = wild[..place].iter();
        if let Some(other) =
            before.find(|other| one.pattern.meets(&other.pattern, &groups) && shared(one, other).is_some())
        {
            refuse_shared(builder, one, other);
        }
    }
    let is_wild = |key: &Spanned<String>| wild.iter().any(|wild| wild.key.get_ref() == key.get_ref());
    let mut exact: Vec<_> = file.table.iter().filter(|(key, _)| !is_wild(key)).collect();
    exact.sort_by_key(|(key, _)| key.span().start);
    let mut sections: Vec<Section> = exact
        .into_iter()
        .map(|(key, own)| {
            let name = Name::parse(key.get_ref()).ok();
            let names: Vec<Name> = name.iter().flat_map(|name| same(&groups, name)).collect();
            let speaks = |wild: &&Wild<'_>| names.iter().any(|name| wild.pattern.matches(name));
            let (file, loose) = together(own, wild.iter().filter(speaks).map(|wild| wild.file));
            Section {
                key: key.clone(),
                file,
                loose,
                patterns: None,
            }
        })
        .collect();
    for (count, combined) in combined(&wild, &groups).into_iter().enumerate() {
        if count > COMBINED_MAX {
            let problem = Problem::new("too many sections of patterns speak of the same tables");
            builder.problem(problem.hint("make the patterns apart").at(wild[0].key.span()));
            break;
        }
        let files = combined.iter().map(|place| wild[*place].file);
        let (file, loose) = together(&TableFile::default(), files);
        let texts: Vec<&str> = combined
            .iter()
            .map(|place| wild[*place].key.get_ref().as_str())
            .collect();
        sections.push(Section {
            key: Spanned::new(wild[combined[0]].key.span(), texts.join(" + ")),
            file,
            loose,
            patterns: Some(combined),
        });
    }
    sections
}

/// Schemas that are one under several names. What is wrong with them is told where the choice of tables is read.
fn groups(file: &SyncFile) -> Vec<Vec<Option<String>>> {
    let given = file.schemas.iter().flat_map(|given| &given.get_ref().0);
    let names = given.map(|group| group.values().map(|name| Some(name.get_ref().clone())));
    names.map(Iterator::collect).collect()
}

/// Every set of patterns that may speak of one table: each two of them meet.
fn combined(wild: &[Wild<'_>], groups: &[Vec<Option<String>>]) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for (place, one) in wild.iter().enumerate() {
        let joins = |set: &&Vec<usize>| {
            set.iter()
                .all(|other| one.pattern.meets(&wild[*other].pattern, groups))
        };
        let joined = sets
            .iter()
            .filter(joins)
            .map(|set| [set.as_slice(), &[place]].concat());
        let joined: Vec<Vec<usize>> = joined.take(COMBINED_MAX).collect();
        sets.push(vec![place]);
        sets.extend(joined);
    }
    sets
}

/// What is said of a table itself, and of that which it does not say what patterns do; and the columns that they do.
fn together<'a>(
    own: &TableFile,
    patterns: impl Iterator<Item = &'a TableFile>,
) -> (TableFile, BTreeSet<String>) {
    let (mut all, mut loose) = (own.clone(), BTreeSet::new());
    let own_skips: BTreeSet<&str> = own.skip.iter().map(|name| name.get_ref().as_str()).collect();
    for of in patterns {
        let TableFile {
            on_conflict,
            version,
            stamps,
            ids,
            on_delete_conflict,
            names: _,
            column,
            skip,
            filter,
            holds,
            external_id,
            match_on,
            on_filter_exit,
            to,
            inserts,
            deletes,
        } = of;
        or(&mut all.on_conflict, on_conflict);
        or(&mut all.version, version);
        or(&mut all.stamps, stamps);
        or(&mut all.ids, ids);
        or(&mut all.on_delete_conflict, on_delete_conflict);
        or(&mut all.filter, filter);
        or(&mut all.holds, holds);
        or(&mut all.on_filter_exit, on_filter_exit);
        or(&mut all.inserts, inserts);
        or(&mut all.deletes, deletes);
        for (name, words) in column {
            let is_said = own_skips.contains(name.get_ref().as_str()) || all.column.contains_key(name);
            if !is_said {
                all.column.insert(name.clone(), words.clone());
                loose.insert(name.get_ref().clone());
            }
        }
        for (node, name) in external_id {
            all.external_id
                .entry(node.clone())
                .or_insert_with(|| name.clone());
        }
        if all.match_on.is_empty() {
            all.match_on.clone_from(match_on);
        }
        for name in skip {
            let is_said = own.column.keys().any(|known| known.get_ref() == name.get_ref())
                || all.skip.iter().any(|known| known.get_ref() == name.get_ref());
            if !is_said {
                all.skip.push(name.clone());
                loose.insert(name.get_ref().clone());
            }
        }
        for (node, columns) in to {
            let said: &mut BTreeMap<_, _> = all.to.entry(node.clone()).or_default();
            for (name, text) in columns {
                if !said.contains_key(name) {
                    said.insert(name.clone(), text.clone());
                    loose.insert(name.get_ref().clone());
                }
            }
        }
    }
    (all, loose)
}

fn or<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
    if own.is_none() {
        own.clone_from(other);
    }
}

/// What both say: the key, and where each says it.
fn shared(one: &Wild<'_>, other: &Wild<'_>) -> Option<(String, Range<usize>, Range<usize>)> {
    let (said, before) = (keys(one.file), keys(other.file));
    let mut both = said
        .into_iter()
        .filter_map(|(key, at)| Some((before.get(&key)?.clone(), key, at)));
    both.next().map(|(before, key, at)| (key, at, before))
}

/// Everything that a section says, and where.
fn keys(file: &TableFile) -> BTreeMap<String, Range<usize>> {
    let mut keys = BTreeMap::new();
    let texts = [
        ("on_conflict", &file.on_conflict),
        ("on_delete_conflict", &file.on_delete_conflict),
        ("stamps", &file.stamps),
        ("ids", &file.ids),
        ("on_filter_exit", &file.on_filter_exit),
        ("inserts", &file.inserts),
        ("deletes", &file.deletes),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(key, text)| Some((key.to_owned(), text.as_ref()?.span())));
    keys.extend(texts);
    keys.extend(
        file.version
            .iter()
            .map(|version| ("version".to_owned(), version.span())),
    );
    keys.extend(
        file.filter
            .iter()
            .map(|filter| ("where".to_owned(), filter.span())),
    );
    keys.extend(file.holds.iter().map(|holds| ("holds".to_owned(), holds.span())));
    let external = file.external_id.iter();
    keys.extend(external.map(|(node, name)| (format!("external_id.{}", node.get_ref()), name.span())));
    keys.extend(
        file.match_on
            .first()
            .map(|name| ("match_on".to_owned(), name.span())),
    );
    let names = file.names.iter();
    keys.extend(names.map(|(node, name)| (format!("names.{}", node.get_ref()), name.span())));
    let skipped = file
        .skip
        .iter()
        .map(|name| (format!("column.{}", name.get_ref()), name.span()));
    keys.extend(skipped);
    let columns = file.column.keys();
    keys.extend(columns.map(|name| (format!("column.{}", name.get_ref()), name.span())));
    for (node, columns) in &file.to {
        let columns = columns.keys();
        keys.extend(columns.map(|name| (format!("to.{}.{}", node.get_ref(), name.get_ref()), name.span())));
    }
    keys
}

fn refuse_shared(builder: &mut Builder<'_>, one: &Wild<'_>, other: &Wild<'_>) {
    let Some((key, at, before)) = shared(one, other) else {
        return;
    };
    let line = builder.text[..before.start.min(builder.text.len())]
        .matches('\n')
        .count()
        + 1;
    let problem = Problem::new(format!(
        "two rules for one table: {key} is said of \"{}\" and, on line {line}, of \"{}\", and both may match one table",
        one.key.get_ref(),
        other.key.get_ref()
    ));
    let hint = "say it once, make the patterns apart, or name the table in a section of its own instead of one of them";
    builder.problem(problem.hint(hint).at(at));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::tests::{bad, but, good};
    use crate::mapping::pattern::Name;

    fn with(sections: &str) -> String {
        but("\"sales.orders\"]", "\"sales.*\"]") + sections
    }

    #[test]
    fn a_table_says_more_than_its_patterns() {
        let config = good(&with(
            "[sync.table.\"sales.*\"]\nwhere = \"region = 'EU'\"\ncolumn.mail = { my = \"email\" }\nskip = [\"ssn\", \"note\"]\n\
             [sync.table.\"sales.o*\"]\nids = \"split\"\n\
             [sync.table.\"sales.orders\"]\nwhere = \"n > 1\"\ncolumn.mail = { my = \"post\" }\ncolumn.note = { my = \"remark\" }\n",
        ));
        let spec = &config.syncs[0].spec;
        let of = |table: &str| {
            let known = spec.choice.table(&Name::parse(table).unwrap());
            let section = &spec.sections[known.declared.unwrap()];
            let mapping = &section.mapping;
            let filter = mapping
                .filter
                .as_ref()
                .map(|filter| filter.sent[0].text.clone())
                .unwrap();
            let mail = mapping.name_on(1, "mail").to_owned();
            (
                filter,
                mail,
                mapping.split,
                mapping.skipped(0),
                mapping.loose.clone(),
            )
        };
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            of("sales.items"),
            (
                "region = 'EU'".to_owned(),
                "email".to_owned(),
                false,
                texts(&["ssn", "note"]),
                texts(&["mail", "note", "ssn"])
            )
        );
        assert!(of("sales.offers").2);
        assert_eq!(
            of("sales.orders"),
            (
                "n > 1".to_owned(),
                "post".to_owned(),
                true,
                texts(&["ssn"]),
                texts(&["ssn"])
            )
        );
        assert!(
            spec.choice
                .table(&Name::parse("public.x").unwrap())
                .declared
                .is_none()
        );
    }

    #[test]
    fn names_have_one_gap() {
        let config = good(&with(
            "[sync.table.\"sales.*\"]\nnames = { my = \"crm.shop_*\" }\n",
        ));
        let choice = &config.syncs[0].spec.choice;
        let table = choice.table(&Name::parse("sales.orders").unwrap());
        assert_eq!(table.ids[1].to_string(), "crm.shop_orders");
        assert_eq!(choice.table_on(1, &table.ids[1]), Some(table.clone()));
        assert_eq!(choice.table_on(0, &table.ids[0]), Some(table));
        for names in ["shop", "shop_?", "*_*", "x*.y"] {
            let failure = bad(&with(&format!(
                "[sync.table.\"sales.*\"]\nnames = {{ my = \"{names}\" }}\n"
            )));
            assert!(failure.contains("no name for each"), "{names}: {failure}");
        }
    }

    #[test]
    fn what_two_patterns_say_of_one_table_is_refused_with_both_lines() {
        for (one, other, key) in [
            ("where = \"a = 1\"", "where = \"b = 1\"", "where"),
            ("skip = [\"x\"]", "column.x = { my = \"y\" }", "column.x"),
            (
                "to.my.x = \"a\"\nto.pg.a = \"x\"",
                "to.my.x = \"b\"\nto.pg.b = \"x\"",
                "to.my.x",
            ),
        ] {
            let failure = bad(&with(&format!(
                "[sync.table.\"sales.a*\"]\n{one}\n[sync.table.\"sales.*b\"]\n{other}\n"
            )));
            assert!(
                failure.contains("two rules for one table")
                    && failure.contains(key)
                    && failure.contains("on line 1"),
                "{key}: {failure}"
            );
            good(&with(&format!(
                "[sync.table.\"sales.a*\"]\n{one}\n[sync.table.\"sales.b*\"]\n{other}\n"
            )));
        }
    }

    /// Schemas of the nodes are one under two names, and others are not.
    fn grouped(sections: &str) -> String {
        let tables = "tables = [\"customers\", \"sales.*\", \"audit.*\", \"shop.*\"]\nschemas = { pg = \"sales\", my = \"shop\" }";
        but("tables = [\"customers\", \"sales.orders\"]", tables) + sections
    }

    #[test]
    fn patterns_speak_of_tables_of_their_own_schemas() {
        let config = good(&grouped(
            "[sync.table.\"sales.*\"]\nskip = [\"ssn\"]\nwhere = \"n > 1\"\n\
             [sync.table.\"audit.*\"]\nwhere = \"n > 2\"\n\
             [sync.table.\"audit.orders\"]\nids = \"split\"\n\
             [sync.table.\"shop.orders\"]\nids = \"split\"\n",
        ));
        let spec = &config.syncs[0].spec;
        let of = |table: &str| {
            let known = spec.choice.table(&Name::parse(table).unwrap());
            let mapping = &spec.sections[known.declared.unwrap()].mapping;
            let filter = mapping.filter.as_ref().map(|filter| filter.sent[0].text.clone());
            (filter.unwrap(), mapping.skipped(0))
        };
        assert_eq!(of("audit.orders"), ("n > 2".to_owned(), Vec::new()));
        assert_eq!(of("shop.orders"), ("n > 1".to_owned(), vec!["ssn".to_owned()]));
    }

    #[test]
    fn patterns_of_one_schema_under_two_names_meet() {
        let two = |one: &str, other: &str| {
            grouped(&format!(
                "[sync.table.\"{one}\"]\nwhere = \"a = 1\"\n[sync.table.\"{other}\"]\nwhere = \"b = 1\"\n"
            ))
        };
        for (one, other) in [("sales.*", "shop.o*"), ("s*.a*", "shop.*"), ("audit.*", "a*.x")] {
            let failure = bad(&two(one, other));
            assert!(
                failure.contains("two rules for one table"),
                "{one} {other}: {failure}"
            );
        }
        for (one, other) in [("sales.*", "audit.*"), ("audit.*", "shop.*"), ("sales.*", "c*")] {
            good(&two(one, other));
        }
    }

    #[test]
    fn sections_of_single_tables_are_not_counted() {
        let single = |number: usize| format!("[sync.table.\"sales.t{number}\"]\nskip = [\"x\"]\n");
        let all: String = (0..300).map(single).collect();
        good(&with(&format!(
            "{all}[sync.table.\"sales.*\"]\nskip = [\"ssn\"]\n"
        )));
    }
}
