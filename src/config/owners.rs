//! Who may write what of a table: `column.NAME = { owner = "NODE" }`, `inserts` and `deletes` of `[sync.table.NAME]`.
//!
//! Owns: what can be judged without a database. Refuses: owners where only one node is written to, and a second rule for
//! a column that has an owner.

use super::build::Builder;
use super::file::{ColumnFile, TableFile, Text, Word};
use super::problem::Problem;
use super::syncs::known_node;
use super::tables::{self, Around};
use crate::mapping::owner::{OwnedColumn, Owners};
use crate::model::sync::Mode;
use toml::Spanned;

pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
) -> Owners {
    let mut columns = Vec::new();
    let mut given: Vec<_> = file.column.iter().collect();
    given.sort_by_key(|(name, _)| name.span().start);
    for (name, words) in given {
        let key = around.key(&format!("table.{table}.column.{}.owner", name.get_ref()));
        columns.extend(column(builder, around, &key, name.get_ref(), words.get_ref()));
    }
    let whole = |key: &str| around.key(&format!("table.{table}.{key}"));
    Owners {
        columns,
        inserts: place(builder, around, &whole("inserts"), &file.inserts),
        deletes: place(builder, around, &whole("deletes"), &file.deletes),
        hub: around.hub,
    }
}

fn column(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    key: &str,
    name: &str,
    words: &ColumnFile,
) -> Option<OwnedColumn> {
    let said = |key: &str| words.iter().find(|(word, _)| word.get_ref() == key);
    let (_, owner) = said("owner")?;
    let Word::Text(text) = owner.get_ref() else {
        let problem = Problem::new("owner is the name of a node");
        builder.problem(problem.hint("write owner = \"NODE\"").at(owner.span()));
        return None;
    };
    let owner = node(builder, around, key, text, owner)?;
    for other in ["on_conflict", "skip"] {
        if let Some((word, _)) = said(other) {
            let problem = Problem::new(format!("column \"{name}\" has an owner and {other}"));
            let hint = match other {
                "skip" => "what stays where it is, is nobody else's anyway: remove one of the two",
                _ => "one node writes it, so nothing is to be decided: remove one of the two",
            };
            builder.problem(problem.hint(hint).at(word.span()));
        }
    }
    let names = tables::names(around, name, words);
    Some(OwnedColumn { names, owner })
}

fn place(builder: &mut Builder<'_>, around: &Around<'_>, key: &str, given: &Text) -> Option<usize> {
    let given = given.as_ref()?;
    node(builder, around, key, given.get_ref(), given)
}

/// The owner by its place among the sync's nodes.
fn node<T>(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    key: &str,
    name: &str,
    given: &Spanned<T>,
) -> Option<usize> {
    builder.show(key, name, Some(given.span()));
    if matches!(around.mode, Some(Mode::Transactional | Mode::Snapshot)) {
        let word = key.rsplit('.').next().unwrap_or(key);
        let problem = Problem::new(format!("{word} belongs to mode = \"merge\""));
        let hint = "one way only the source is written to: remove it, or use skip = true for a column of \
                    the target's own";
        builder.problem(problem.hint(hint).at(given.span()));
        return None;
    }
    known_node(builder, name, given.span(), around.nodes);
    around.nodes.iter().position(|node| node == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::tests::read;

    fn with(mode: &str, section: &str) -> String {
        let rest = match mode {
            "merge" => "mode = \"merge\"",
            _ => "mode = \"transactional\"\nfrom = \"erp\"",
        };
        format!(
            "version = 1\n[node.erp]\nurl = \"postgres://t@a.example/x?sslmode=verify-full\"\n\
             [node.shop]\nurl = \"mysql://t@b.example/x?ssl-mode=VERIFY_IDENTITY\"\n\
             [[sync]]\nname = \"s\"\nnodes = [\"erp\", \"shop\"]\n{rest}\ntables = [\"t\"]\nseed = \"from:erp\"\n\
             [sync.table.t]\n{section}\n"
        )
    }

    #[test]
    fn owners_are_nodes_of_a_merge() {
        let section =
            "inserts = \"shop\"\ndeletes = \"erp\"\ncolumn.price = { owner = \"erp\", shop = \"preis\" }";
        let config = read(&with("merge", section)).unwrap();
        let owners = &config.syncs[0].spec.sections[0].mapping.owners;
        assert_eq!((owners.inserts, owners.deletes), (Some(1), Some(0)));
        assert_eq!(
            (owners.columns[0].owner, owners.columns[0].names[1].as_str()),
            (0, "preis")
        );
    }

    #[test]
    fn what_an_owner_cannot_be_is_told_where_it_stands() {
        for (mode, section, told) in [
            (
                "merge",
                "inserts = \"shpo\"",
                "\"shpo\" is not one of this sync's nodes",
            ),
            (
                "merge",
                "column.price = { owner = true }",
                "owner is the name of a node",
            ),
            (
                "merge",
                "column.price = { owner = \"erp\", on_conflict = \"delta\" }",
                "has an owner and on_conflict",
            ),
            (
                "merge",
                "column.price = { owner = \"erp\", skip = true }",
                "has an owner and skip",
            ),
            (
                "merge",
                "deletes = \"erp\"\non_conflict = \"source-of-truth:erp\"",
                "a source of truth has no other owners",
            ),
            (
                "merge",
                "deletes = \"erp\"\nwhere = { erp = \"a = 1\", shop = \"a = 2\" }",
                "a filter of each direction has no owners",
            ),
            (
                "transactional",
                "deletes = \"erp\"",
                "deletes belongs to mode = \"merge\"",
            ),
        ] {
            let failure = read(&with(mode, section)).unwrap_err();
            let rendered = failure.rendered();
            assert!(rendered.contains(told), "{section}: {rendered}");
        }
    }
}
