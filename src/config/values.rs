//! Columns whose values have other words on a node: `column.NAME.NODE = { values = { active = 1, closed = 0 } }`.
//!
//! Owns: what can be judged without a database. Refuses: words that would not come back, and rules that read such a column
//! as if it had one set of values.

use super::build::Builder;
use super::file::{ColumnFile, TableFile, Word};
use super::problem::Problem;
use super::tables::{self, Around};
use crate::mapping::RowFilter;
use crate::mapping::values::ValueMap;
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
    let reads = |map: &ValueMap, name: &str| map.names.iter().any(|known| known == name);
    let filtered = filter.into_iter().flat_map(|filter| &filter.sent);
    let filtered = filtered.flat_map(|sent| sent.condition.columns());
    let filtered: Vec<&str> = filtered.collect();
    for map in maps {
        let column = filtered.iter().find(|column| reads(map, column));
        if let (Some(column), Some(place)) = (column, &file.filter) {
            let problem = Problem::new(format!(
                "the filter reads column \"{column}\", whose values have other words on some nodes"
            ));
            let hint = "filter by a column that has the same values everywhere";
            builder.problem(problem.hint(hint).at(place.span()));
        }
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
