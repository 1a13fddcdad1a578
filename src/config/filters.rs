//! Which rows of a table pass: `where`, of both directions or of each, and `on_filter_exit`.
//!
//! Owns: what can be judged of them without a database. Refuses: filters that merge could not keep right, and a direction
//! of which nothing is said.

use super::build::Builder;
use super::file::{FilterFile, TableFile};
use super::problem::Problem;
use super::rules;
use super::syncs::known_node;
use super::tables::{Around, within};
use crate::expr::Expr;
use crate::mapping::{ColumnMapping, RowFilter, Sent};
use crate::merge::offered;
use crate::model::rules::TableRules;
use crate::model::sync::{Mode, ORIGIN_COLUMN, VERSION_COLUMN};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
    columns: &[ColumnMapping],
    rules: &TableRules,
) -> Option<RowFilter> {
    let keep = on_filter_exit(builder, around, table, file);
    let given = file.filter.as_ref()?;
    let here = offered::Around {
        nodes: match around.mode {
            Some(Mode::Merge) => around.nodes.len(),
            Some(Mode::Transactional | Mode::Snapshot) | None => 2,
        },
        is_filtered: true,
        ..offered::Around::default()
    };
    rules::refuse(builder, rules, here, given.span());
    let key = around.key(&format!("table.{table}.where"));
    let sent = match given.get_ref() {
        FilterFile::Common(text) => {
            builder.show(&key, text, Some(given.span()));
            let sent = sent(builder, text, given.span(), columns)?;
            vec![sent; around.nodes.len()]
        }
        FilterFile::Apart(conditions) => {
            for (node, text) in conditions {
                builder.show(
                    &format!("{key}.{}", node.get_ref()),
                    text.get_ref(),
                    Some(text.span()),
                );
            }
            apart(builder, around, conditions, given.span(), columns)?
        }
    };
    Some(RowFilter { sent, keep })
}

/// A condition by node that sends.
fn apart(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    conditions: &BTreeMap<Spanned<String>, Spanned<String>>,
    place: Range<usize>,
    columns: &[ColumnMapping],
) -> Option<Vec<Sent>> {
    let from = around.file.from.as_ref().map(|from| from.get_ref().as_str());
    let sends = |node: &str| around.mode == Some(Mode::Merge) || from.is_none_or(|from| from == node);
    let mut by_node: Vec<Option<Sent>> = vec![None; around.nodes.len()];
    for (node, text) in conditions {
        if !known_node(builder, node.get_ref(), node.span(), around.nodes) {
            continue;
        }
        if !sends(node.get_ref()) {
            let from = from.unwrap_or_default();
            let problem = Problem::new(format!("\"{}\" sends no rows", node.get_ref()));
            let hint = format!(
                "where names the node that rows come from, and the sync runs from \"{from}\": where = {{ {from} = \"...\" }}"
            );
            builder.problem(problem.hint(hint).at(node.span()));
            continue;
        }
        let sent = sent(builder, text.get_ref(), text.span(), columns);
        if let Some(index) = around.nodes.iter().position(|known| known == node.get_ref()) {
            by_node[index] = sent;
        }
    }
    let is_named = |node: &str| conditions.keys().any(|named| named.get_ref() == node);
    let missing = around.nodes.iter().find(|node| sends(node) && !is_named(node));
    if let Some(node) = missing {
        let problem = Problem::new(format!(
            "where does not say which rows of \"{node}\" go to the other node"
        ));
        let hint = format!(
            "it has a condition for every node that sends: {node} = \"TRUE\" sends all its rows, {node} = \"FALSE\" none"
        );
        builder.problem(problem.hint(hint).at(place));
        return None;
    }
    if around.mode != Some(Mode::Merge) {
        let only = by_node.into_iter().flatten().next()?;
        return Some(vec![only; around.nodes.len()]);
    }
    by_node.into_iter().collect()
}

/// One condition. What is wrong with it is told where it stands.
pub(super) fn sent(
    builder: &mut Builder<'_>,
    text: &str,
    place: Range<usize>,
    columns: &[ColumnMapping],
) -> Option<Sent> {
    let condition = match Expr::parse(text) {
        Ok(condition) => condition,
        Err(mistake) => {
            let span = within(builder.text, &place, text, &mistake.at);
            builder.problem(
                Problem::new(mistake.what)
                    .hint("docs/config.md lists what a condition may hold")
                    .at(span),
            );
            return None;
        }
    };
    let is_skipped = |name: &str| columns.iter().any(|column| column.skip && column.name == name);
    for column in condition.columns() {
        let wrong = if is_skipped(column) {
            Some(format!("the filter reads column \"{column}\", which is skipped"))
        } else if [VERSION_COLUMN, ORIGIN_COLUMN].contains(&column) {
            Some(format!("the filter reads \"{column}\", which is Tidelock's own"))
        } else {
            None
        };
        if let Some(what) = wrong {
            let at = text
                .find(column)
                .map_or(0..text.len(), |at| at..at + column.len());
            let span = within(builder.text, &place, text, &at);
            let hint = "both sides must be able to judge a row: filter by a column that is carried";
            builder.problem(Problem::new(what).hint(hint).at(span));
        }
    }
    Some(Sent {
        text: text.to_owned(),
        condition,
    })
}

fn on_filter_exit(builder: &mut Builder<'_>, around: &Around<'_>, table: &str, file: &TableFile) -> bool {
    let Some(given) = &file.on_filter_exit else {
        return false;
    };
    builder.show(
        &around.key(&format!("table.{table}.on_filter_exit")),
        given.get_ref(),
        Some(given.span()),
    );
    let (what, hint) = match (given.get_ref().as_str(), file.filter.is_some(), around.mode) {
        (_, false, _) => (
            "on_filter_exit without where",
            "it says what becomes of rows that leave the filter",
        ),
        ("delete", true, _) => return false,
        ("keep", true, Some(Mode::Merge)) => (
            "on_filter_exit = \"keep\" belongs to mode = \"transactional\"",
            "in merge a row that was kept could be changed on both sides without being compared: use \"delete\"",
        ),
        ("keep", true, Some(Mode::Snapshot)) => (
            "on_filter_exit = \"keep\" has no place in mode = \"snapshot\"",
            "remove it: the target equals the image",
        ),
        ("keep", true, _) => return true,
        (_, true, _) => (
            "on_filter_exit is \"delete\" or \"keep\"",
            "the default is \"delete\"",
        ),
    };
    builder.problem(Problem::new(what).hint(hint).at(given.span()));
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::tests::{bad, good, section};

    fn one_way(text: &str) -> String {
        text.replace("mode = \"merge\"", "mode = \"transactional\"\nfrom = \"pg\"")
    }

    #[test]
    fn a_condition_that_is_missing_or_of_nobody_is_told_where_it_stands() {
        let alone = section("where = { my = \"a = 1\" }");
        for (text, expected) in [
            (section("where = { my = 1 }"), "string"),
            (alone.clone(), "15 | where = { my = \"a = 1\" }\n   |         ^"),
            (alone.clone(), "pg = \"TRUE\" sends all its rows"),
            (
                section("where = { my = \"a = 1\", pq = \"a = 2\", pg = \"TRUE\" }"),
                "\"pq\" is not one of this sync's nodes",
            ),
            (
                section("where = { my = \"a = 1\", pg = \"a = = 2\" }"),
                "15 | where = { my = \"a = 1\", pg = \"a = = 2\" }\n   |                                   ^",
            ),
            (
                section("where = { my = \"a = 1\", pg = \"ssn = 2\" }\ncolumn.ssn = { skip = true }"),
                "column \"ssn\", which is skipped",
            ),
            (
                one_way(&section("where = { pg = \"a = 1\", my = \"a = 2\" }")),
                "\"my\" sends no rows",
            ),
            (one_way(&alone), "where = { pg = \"...\" }"),
        ] {
            let message = bad(&text);
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }

    #[test]
    fn each_direction_may_have_its_own_condition() {
        let of = |lines: &str| good(&section(lines)).syncs[0].spec.sections[0].mapping.clone();
        let apart = of("where = { my = \"a = 1\", pg = \"b = 2 OR a = 1\" }");
        let sent: Vec<&str> = apart
            .filter
            .iter()
            .flat_map(|filter| &filter.sent)
            .map(|sent| sent.text.as_str())
            .collect();
        assert_eq!(sent, ["b = 2 OR a = 1", "a = 1"], "in the order of the nodes");
        assert_eq!(apart.read_columns(0), ["b", "a"]);
        let common = of("where = \"a = 1\"");
        let twice = of("where = { my = \"a = 1\", pg = \"(a = 1)\" }");
        assert_eq!(common.signature(), twice.signature());
        let swapped = of("where = { pg = \"a = 1\", my = \"b = 2 OR a = 1\" }");
        assert_ne!(apart.signature(), swapped.signature());
        assert_ne!(apart.signature(), common.signature());
        let one_way = good(&one_way(&section("where = { pg = \"a = 1\" }"))).syncs[0]
            .spec
            .sections[0]
            .mapping
            .clone();
        assert_eq!(one_way.signature(), common.signature());
    }
}
