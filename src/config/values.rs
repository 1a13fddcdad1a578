//! Columns whose values have other words on a node: `column.NAME.NODE = { values = { active = 1, closed = 0 } }`.
//!
//! Owns: what can be judged without a database. Refuses: words that would not come back, and rules that read such a column
//! as if it had one set of values.

use super::build::Builder;
use super::file::{ColumnFile, TableFile, Word};
use super::problem::Problem;
use super::tables::{self, Around};
use crate::mapping::values::ValueMap;
use crate::mapping::{Mapping, RowFilter};
use crate::model::sync::Mode;
use crate::model::version::VersionSource;
use std::collections::BTreeMap;

pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
) -> Vec<ValueMap> {
    let mut given: Vec<_> = file.column.iter().collect();
    given.sort_by_key(|(name, _)| name.span().start);
    let maps = given.into_iter().filter_map(|(name, words)| {
        let prefix = around.key(&format!("table.{table}.column.{}", name.get_ref()));
        column(builder, around, &prefix, name.get_ref(), words.get_ref())
    });
    maps.collect()
}

fn column(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    prefix: &str,
    name: &str,
    words: &ColumnFile,
) -> Option<ValueMap> {
    let mut map = ValueMap {
        column: name.to_owned(),
        names: tables::names(around, name, words),
        words: vec![None; around.nodes.len()],
    };
    for (key, word) in words {
        let Word::There(there) = word.get_ref() else {
            continue;
        };
        let (Some(values), Some(node)) = (
            &there.values,
            around.nodes.iter().position(|node| node == key.get_ref()),
        ) else {
            continue;
        };
        let own: BTreeMap<String, String> = values
            .get_ref()
            .iter()
            .map(|(common, own)| (common.get_ref().clone(), own.get_ref().0.clone()))
            .collect();
        let shown: Vec<String> = own
            .iter()
            .map(|(common, own)| format!("{common} = {own}"))
            .collect();
        let shown = shown.join(", ");
        builder.show(
            &format!("{prefix}.{}.values", key.get_ref()),
            shown,
            Some(values.span()),
        );
        map.words[node] = Some(own);
        let is_read = match around.mode {
            Some(Mode::Merge) => true,
            Some(Mode::Transactional | Mode::Snapshot) | None => {
                let from = around.file.from.as_ref().map(|from| from.get_ref());
                from == Some(key.get_ref())
            }
        };
        if let Some(word) = map.ambiguous(node).filter(|_| is_read) {
            let problem = Problem::new(format!(
                "\"{word}\" stands for two values of column \"{name}\" on \"{}\"",
                key.get_ref()
            ));
            let hint = "what is read there has to become one value elsewhere: give each its own";
            builder.problem(problem.hint(hint).at(values.span()));
        }
    }
    map.words.iter().any(Option::is_some).then_some(map)
}

/// What reads a column whose values are not the same on all nodes.
pub(super) fn refuse(
    builder: &mut Builder<'_>,
    file: &TableFile,
    filter: Option<&RowFilter>,
    version: &VersionSource,
    maps: &[ValueMap],
) {
    let reads = |map: &ValueMap, name: &str| map.column == name;
    let said = Mapping {
        values: maps.to_vec(),
        ..Mapping::default()
    };
    let sent = filter.into_iter().flat_map(|filter| &filter.sent);
    let wrong = sent.flat_map(|sent| {
        let nodes = 0..maps.first().map_or(0, |map| map.names.len());
        nodes.filter_map(|node| said.said_on(node, &sent.condition, None).err())
    });
    if let (Some(wrong), Some(place)) = (wrong.into_iter().next(), &file.filter) {
        let problem = Problem::new(format!(
            "the filter reads column \"{}\": {}",
            wrong.column, wrong.why
        ));
        let hint = "column.NAME.NODE.values says which words there are; or filter by a column that has the same values everywhere";
        builder.problem(problem.hint(hint).at(place.span()));
    }
    for map in maps {
        let column = version.column().filter(|column| reads(map, column));
        if let (Some(column), Some(place)) = (column, &file.version) {
            let problem = Problem::new(format!(
                "the version is read from column \"{column}\", whose values have other words on some nodes"
            ));
            let hint = "each node stamps its rows by its own values: use a column that has the same values everywhere";
            builder.problem(problem.hint(hint).at(place.span()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{bad, good, section};

    const WORDS: &str = "column.status.my = { values = { active = 1, closed = 0 } }\n";

    #[test]
    fn a_filter_compares_words_of_the_configuration_alone() {
        for fine in [
            "status = 'active'",
            "'closed' <> status AND id > 5",
            "NOT status IN ('active', 'closed') OR status IS NULL",
            "LOWER(name) = 'x'",
        ] {
            good(&section(&format!("{WORDS}where = \"{fine}\"\n")));
        }
        for (wrong, told) in [
            ("status = 'open'", "not among its values"),
            ("status IN ('active', 'open')", "not among its values"),
            ("status LIKE 'a%'", "compared by ="),
            ("status > 'active'", "compared by ="),
            ("status = name", "compared by ="),
            ("COALESCE(status, 'closed') = 'closed'", "compared by ="),
            ("name || status = 'x'", "compared by ="),
        ] {
            let failure = bad(&section(&format!("{WORDS}where = \"{wrong}\"\n")));
            assert!(
                failure.contains(told) && failure.contains("where ="),
                "{wrong}: {failure}"
            );
        }
    }

    #[test]
    fn what_is_computed_of_a_masked_column_is_masked() {
        let words = |more: &str| {
            section(&format!(
                "to.my.full = \"first || last\"\ncolumn.full = {{ owner = \"pg\"{more} }}\ncolumn.last = {{ mask = true }}\n"
            ))
        };
        let failure = bad(&words(""));
        assert!(
            failure.contains("\"last\", which is masked") && failure.contains("to.my.full"),
            "{failure}"
        );
        good(&words(", mask = true"));
    }
}
