//! Do a table's columns allow the rules that the configuration gives them? What only the catalog can tell.
//!
//! Code: E470. Pure.

use crate::model::rules::{ColumnRule, TableRules};
use crate::model::schema::{ColumnType, Table};
use crate::model::sync::{CatalogTable, Finding};

/// `rules` name the columns as this node does.
pub fn fit(node: &str, table: &CatalogTable, rules: &TableRules) -> Vec<Finding> {
    let table = &table.table;
    let told = rules.columns.iter().filter_map(|(name, rule)| {
        let (what, fix) = wrong(table, name, *rule)?;
        let what = format!("column {name}: on_conflict = \"{}\": {what}", rule.name());
        let finding = Finding::blocker("E470", node, what).table(&table.id).fix(fix);
        Some(finding.setting(format!("column.{name}.on_conflict")))
    });
    told.collect()
}

fn wrong(table: &Table, name: &str, rule: ColumnRule) -> Option<(&'static str, String)> {
    let place = table.columns.iter().position(|column| column.name == name);
    let Some(place) = place else {
        let fix = format!(
            "correct column.{name} in the section [sync.table] of {}",
            table.id
        );
        return Some(("the table has no such column", fix));
    };
    let take_off = format!(
        "take on_conflict off column.{name} in the section [sync.table] of {}",
        table.id
    );
    if table.key.contains(&place) && rule != ColumnRule::Row {
        return Some(("it is of the primary key, which names the row", take_off));
    }
    if table.columns[place].generated && rule != ColumnRule::Row {
        return Some(("the database computes it", take_off));
    }
    if rule == ColumnRule::Delta && !is_exact_number(&table.columns[place].ty) {
        let fix = format!("{take_off}, or give it an integer or a decimal type");
        return Some((
            "it is no exact number, and differences of others cannot be added",
            fix,
        ));
    }
    None
}

fn is_exact_number(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::Int { .. } | ColumnType::Decimal { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{Column, TableId};

    #[test]
    fn a_rule_of_a_column_needs_one_that_can_be_merged() {
        let column = |name: &str, ty: ColumnType| Column {
            name: name.to_owned(),
            ty,
            sql_type: String::new(),
            collation: String::new(),
            nullable: false,
            generated: name == "made",
            has_default: false,
        };
        let int = ColumnType::Int {
            bits: 64,
            unsigned: false,
        };
        let columns = vec![
            column("id", int.clone()),
            column("stock", int.clone()),
            column("weight", ColumnType::Double),
            column("made", int),
        ];
        let table = CatalogTable {
            table: Table {
                id: TableId::new("s", "t"),
                columns,
                key: vec![0],
                uniques: Vec::new(),
                external: None,
            },
            always: Vec::new(),
            foreign_triggers: Vec::new(),
            cascades: Vec::new(),
            storage: String::new(),
            counter: None,
            unique_names: Vec::new(),
        };
        for (name, rule, expected) in [
            ("stock", ColumnRule::Delta, None),
            ("weight", ColumnRule::Columns, None),
            ("weight", ColumnRule::Delta, Some("no exact number")),
            ("id", ColumnRule::Columns, Some("primary key")),
            ("id", ColumnRule::Row, None),
            ("made", ColumnRule::Columns, Some("the database computes it")),
            ("sotck", ColumnRule::Row, Some("no such column")),
        ] {
            let mut rules = TableRules::default();
            rules.columns.insert(name.to_owned(), rule);
            let found = fit("a", &table, &rules);
            let what = found.first().map(|finding| finding.what.as_str());
            assert_eq!(what.is_some(), expected.is_some(), "{name}: {found:?}");
            assert!(
                what.unwrap_or_default().contains(expected.unwrap_or_default()),
                "{found:?}"
            );
        }
    }
}
