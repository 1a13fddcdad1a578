//! Pairs of tables and what is said of them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::schema::ColumnType;
use crate::model::sync::Level;

fn column(name: &str, ty: ColumnType, sql_type: &str) -> Column {
    Column {
        name: name.to_owned(),
        ty,
        sql_type: sql_type.to_owned(),
        collation: String::new(),
        nullable: false,
        generated: false,
        has_default: false,
    }
}

fn int(name: &str) -> Column {
    let ty = ColumnType::Int {
        bits: 32,
        unsigned: false,
    };
    column(name, ty, "int")
}

fn words(name: &str) -> Column {
    let ty = ColumnType::Text {
        chars: Some(20),
        bytes: None,
        fixed: false,
        utf8: true,
    };
    column(name, ty, "varchar(20)")
}

fn nullable(column: Column) -> Column {
    Column {
        nullable: true,
        ..column
    }
}

fn generated(column: Column) -> Column {
    Column {
        generated: true,
        ..column
    }
}

fn table(schema: &str, key: &[usize], columns: Vec<Column>) -> Option<CatalogTable> {
    Some(CatalogTable {
        table: Table {
            id: TableId::new(schema, "t"),
            columns,
            key: key.to_vec(),
            uniques: Vec::new(),
        },
        foreign_triggers: Vec::new(),
        cascades: Vec::new(),
        storage: String::new(),
    })
}

/// PostgreSQL `pg` against MySQL `my`; `(node, code, fix)` of every finding but the Ok lines.
fn found(
    source: Option<CatalogTable>,
    target: Option<CatalogTable>,
    two_way: bool,
) -> Vec<(String, &'static str, String)> {
    let (a, b) = ([TableId::new("public", "t")], [TableId::new("shop", "t")]);
    let (source, target) = ([source], [target]);
    let pg = Side {
        node: "pg",
        engine: Engine::Postgres,
        ids: &a,
        tables: &source,
    };
    let my = Side {
        node: "my",
        engine: Engine::Mysql,
        ids: &b,
        tables: &target,
    };
    compare(&pg, &my, two_way, &[])
        .into_iter()
        .filter(|finding| finding.level != Level::Ok)
        .map(|finding| (finding.node, finding.code, finding.fix.unwrap_or_default()))
        .collect()
}

fn codes(found: &[(String, &'static str, String)]) -> Vec<String> {
    found
        .iter()
        .map(|(node, code, _)| format!("{node} {code}"))
        .collect()
}

#[test]
fn equal_tables_give_one_ok_line() {
    let columns = || vec![int("id"), words("name"), int(VERSION_COLUMN)];
    assert!(
        found(
            table("public", &[0], columns()),
            table("shop", &[0], columns()),
            true
        )
        .is_empty()
    );
}

#[test]
fn a_missing_table_comes_with_its_ddl() {
    let found_one = found(table("public", &[0], vec![int("id")]), None, true);
    assert_eq!(codes(&found_one), ["my E302"]);
    assert!(
        found_one[0]
            .2
            .starts_with("CREATE TABLE `shop`.`t` (\n    `id` int NOT NULL,")
    );
    assert_eq!(codes(&found(None, None, true)), ["pg E302", "my E302"]);
}

#[test]
fn a_missing_column_blocks_only_where_rows_would_bring_it() {
    let wide = || vec![int("id"), nullable(words("name"))];
    let narrow = || vec![int("id")];
    let one = found(
        table("public", &[0], wide()),
        table("shop", &[0], narrow()),
        false,
    );
    assert_eq!(codes(&one), ["my E504"]);
    assert_eq!(one[0].2, "ALTER TABLE `shop`.`t` ADD COLUMN `name` varchar(20);");
    assert!(
        found(
            table("public", &[0], narrow()),
            table("shop", &[0], wide()),
            false
        )
        .is_empty()
    );
    let both = found(table("public", &[0], narrow()), table("shop", &[0], wide()), true);
    assert_eq!(codes(&both), ["pg E504"]);
}

#[test]
fn an_extra_column_needs_null_or_a_default() {
    let extra = found(
        table("public", &[0], vec![int("id")]),
        table("shop", &[0], vec![int("id"), int("n")]),
        false,
    );
    assert_eq!(codes(&extra), ["my E505"]);
    assert_eq!(extra[0].2, "ALTER TABLE `shop`.`t` MODIFY COLUMN `n` int NULL;");
}

#[test]
fn keys_are_there_and_the_same() {
    let columns = || vec![int("id"), int("n")];
    let without = found(
        table("public", &[], columns()),
        table("shop", &[0], columns()),
        true,
    );
    assert_eq!(codes(&without), ["pg E301"]);
    assert_eq!(
        without[0].2,
        "ALTER TABLE \"public\".\"t\" ADD PRIMARY KEY (\"id\");"
    );
    let neither = found(
        table("public", &[], columns()),
        table("shop", &[], columns()),
        true,
    );
    assert_eq!(codes(&neither), ["pg E301", "my E301"]);
    let other = found(
        table("public", &[0], columns()),
        table("shop", &[0, 1], columns()),
        true,
    );
    assert_eq!(codes(&other), ["my E506"]);
    // The order of the columns in the key does not matter: rows are found by names.
    assert!(
        found(
            table("public", &[1, 0], columns()),
            table("shop", &[0, 1], columns()),
            true
        )
        .is_empty()
    );
}

#[test]
fn a_type_that_cannot_hold_the_values_is_named_with_the_one_that_can() {
    let blob = ColumnType::Bytes {
        limit: None,
        fixed: false,
    };
    let refused = found(
        table("public", &[0], vec![int("id"), words("name")]),
        table("shop", &[0], vec![int("id"), column("name", blob, "longblob")]),
        false,
    );
    assert_eq!(codes(&refused), ["my E507"]);
    assert_eq!(
        refused[0].2,
        "ALTER TABLE `shop`.`t` MODIFY COLUMN `name` varchar(20) NOT NULL;"
    );
}

#[test]
fn a_column_that_takes_no_null_is_a_warning() {
    let stricter = found(
        table("public", &[0], vec![int("id"), nullable(words("name"))]),
        table("shop", &[0], vec![int("id"), words("name")]),
        true,
    );
    assert_eq!(codes(&stricter), ["my W511"]);
}

#[test]
fn a_generated_column_is_carried_only_by_binlogs() {
    let (plain, made) = (
        || vec![int("id"), int("n")],
        || vec![int("id"), generated(int("n"))],
    );
    // PostgreSQL does not send it: the plain column there has no value.
    assert_eq!(
        codes(&found(
            table("public", &[0], made()),
            table("shop", &[0], plain()),
            false
        )),
        ["my E505"]
    );
    assert!(found(table("public", &[0], plain()), table("shop", &[0], made()), false).is_empty());
    let alone = found(
        table("public", &[0], made()),
        table("shop", &[0], vec![int("id")]),
        false,
    );
    assert_eq!(codes(&alone), ["my W515"]);
}

#[test]
fn a_coarser_collation_of_a_key_is_a_warning() {
    let coarse = Column {
        collation: "utf8mb4_0900_ai_ci".to_owned(),
        ..words("code")
    };
    let warned = found(
        table("public", &[0], vec![words("code")]),
        table("shop", &[0], vec![coarse]),
        true,
    );
    assert_eq!(codes(&warned), ["my W514"]);
    assert_eq!(
        warned[0].2,
        "ALTER TABLE `shop`.`t` MODIFY COLUMN `code` varchar(20) COLLATE utf8mb4_0900_bin NOT NULL;"
    );
}

#[test]
fn a_unique_key_of_one_side_is_a_warning() {
    let mut stricter = table("shop", &[0], vec![int("id"), int("n")]);
    stricter.as_mut().unwrap().table.uniques = vec![vec![1], vec![0, 1], vec![]];
    let warned = found(table("public", &[0], vec![int("id"), int("n")]), stricter, true);
    assert_eq!(codes(&warned), ["my W513"]);
    assert_eq!(
        warned[0].2,
        "ALTER TABLE \"public\".\"t\" ADD UNIQUE (\"n\"); -- on node pg"
    );
}
