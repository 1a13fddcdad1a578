//! Whole tables from one dialect to another.
#![allow(clippy::unwrap_used)]

use super::*;
use Engine::{Mariadb, Mysql, Postgres};

fn column(name: &str, ty: ColumnType, sql_type: &str, nullable: bool) -> Column {
    Column {
        name: name.to_owned(),
        ty,
        sql_type: sql_type.to_owned(),
        collation: String::new(),
        nullable,
        generated: false,
        has_default: false,
    }
}

fn int(bits: u8, unsigned: bool) -> ColumnType {
    ColumnType::Int { bits, unsigned }
}

fn shape(columns: Vec<Column>, key: Vec<usize>) -> Table {
    Table {
        id: TableId::new("public", "item"),
        columns,
        key,
        uniques: Vec::new(),
        external: None,
    }
}

#[test]
fn a_shape_is_written_for_the_other_engine() {
    let text = ColumnType::Text {
        chars: None,
        bytes: None,
        fixed: false,
        utf8: true,
    };
    let decimal = ColumnType::Decimal {
        precision: Some(10),
        scale: 2,
        unsigned: false,
    };
    let columns = vec![
        column("code", text, "text", false),
        column("price", decimal, "numeric(10,2)", true),
        column("tidelock_version", int(64, false), "bigint", false),
    ];
    let (table, id) = (shape(columns, vec![0]), TableId::new("shop", "item"));
    let mysql = plain(&table, Postgres, &id, Mysql).unwrap();
    let expected = "CREATE TABLE `shop`.`item` (\n    \
         `code` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,\n    \
         `price` decimal(10,2),\n    PRIMARY KEY (`code`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;";
    assert!(mysql.starts_with(expected), "{mysql}");
    assert_eq!(
        plain(&table, Postgres, &id, Postgres).unwrap(),
        "CREATE TABLE \"shop\".\"item\" (\n    \"code\" text NOT NULL,\n    \"price\" numeric(10,2),\n    \
         PRIMARY KEY (\"code\")\n);"
    );
}

#[test]
fn a_column_without_a_counterpart_is_named_and_a_key_without_one_refused() {
    let opaque = |name: &str| ColumnType::Opaque {
        name: name.to_owned(),
    };
    let id = TableId::new("s", "t");
    for (name, from, to, there) in [
        ("int4range", Postgres, Mysql, true),
        ("geometry", Mysql, Mariadb, false),
        ("geometry", Mysql, Postgres, false),
        ("point", Postgres, Postgres, true),
    ] {
        let columns = || {
            vec![
                column("k", int(32, false), "", false),
                column("c", opaque(name), "", true),
            ]
        };
        let made = plain(&shape(columns(), vec![0]), from, &id, to).unwrap();
        assert_eq!(made.contains("column c:"), !there, "{made}");
        assert_eq!(
            plain(&shape(columns(), vec![1]), from, &id, to).is_some(),
            there,
            "{name}"
        );
    }
}

fn text(chars: Option<u32>) -> ColumnType {
    ColumnType::Text {
        chars,
        bytes: None,
        fixed: false,
        utf8: true,
    }
}

fn translated(source: Definition, from: Engine, to: Engine) -> (Definition, Vec<String>) {
    let pair = Pair {
        source,
        target: TableId::new("s", "t"),
        passage: Passage::default(),
    };
    let wanted = translate(&[pair], 0, from, to).unwrap();
    let notes = wanted
        .notes
        .iter()
        .map(|note| format!("{} {}", note.code, note.what));
    (wanted.definition, notes.collect())
}

#[test]
fn a_compared_text_keeps_its_letters_apart_and_no_arithmetic_on_days_crosses() {
    let columns = vec![
        column("id", int(32, false), "integer", false),
        column("kind", text(None), "text", true),
        column("a", ColumnType::Date, "date", true),
        column("days", int(32, false), "integer", true),
    ];
    let mut source = Definition::bare(&shape(columns, vec![0]));
    source.checks.push(super::super::Check {
        name: "t_kind".to_owned(),
        expression: "(kind = 'x'::text)".to_owned(),
    });
    source.details[3].generated = Some(super::super::Generated {
        expression: "(a - a)".to_owned(),
        stored: true,
    });
    source.table.columns[3].generated = true;
    let (made, notes) = translated(source, Postgres, Mysql);
    assert_eq!(
        made.table.columns[1].sql_type,
        "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"
    );
    assert_eq!(made.checks[0].expression, "(`kind` = 'x')");
    assert_eq!(made.table.columns.len(), 3);
    assert_eq!(
        notes,
        ["W701 left out: column days, generated as (a - a), which has no like in MySQL"]
    );
}

#[test]
fn a_key_of_mysql_stays_exact_on_mariadb_and_no_beginning_is_made_unique() {
    let mut columns = vec![
        column("k", text(Some(20)), "varchar(20)", false),
        column("other", text(Some(20)), "varchar(20)", false),
        column("long", text(Some(1000)), "varchar(1000)", false),
    ];
    for (column, collation) in
        columns
            .iter_mut()
            .zip(["utf8mb4_0900_as_cs", "utf8mb4_unicode_ci", "utf8mb4_unicode_ci"])
    {
        column.collation = collation.to_owned();
    }
    let mut source = Definition::bare(&shape(columns, vec![0]));
    for what in ["other", "long"] {
        source.indexes.push(Index {
            name: format!("t_{what}"),
            unique: true,
            parts: vec![super::super::Part {
                what: what.to_owned(),
                is_column: true,
                prefix: None,
                descending: false,
            }],
            method: "btree".to_owned(),
            more: Vec::new(),
            written: String::new(),
        });
    }
    let (made, notes) = translated(source, Mysql, Mariadb);
    let types: Vec<&str> = made
        .table
        .columns
        .iter()
        .map(|column| column.sql_type.as_str())
        .collect();
    assert_eq!(
        types[..2],
        [
            "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
            "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        ]
    );
    assert_eq!(made.indexes.len(), 1);
    assert_eq!(
        notes,
        [
            "W702 column k is varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin, not in collation \
             utf8mb4_0900_as_cs",
            "W701 left out: index t_long: MariaDB keeps no column as long as long unique",
        ]
    );
}

#[test]
fn a_literal_default_of_a_long_type_is_an_expression() {
    let opaque = ColumnType::Opaque {
        name: "int4range".to_owned(),
    };
    let bit = |len, varying| ColumnType::Bit { len, varying };
    let cases = [
        (opaque, "'[1,2)'::int4range", Some("('[1,2)')")),
        (bit(Some(4), false), "'0101'::\"bit\"", Some("b'0101'")),
        (bit(Some(66), false), "'01'::\"bit\"", Some("'1'")),
        (bit(None, true), "'0101'::\"bit\"", None),
    ];
    for (ty, default, there) in cases {
        let is_wide = ty == bit(Some(66), false);
        let columns = vec![
            column("id", int(32, false), "integer", false),
            column("c", ty, "", true),
        ];
        let mut source = Definition::bare(&shape(columns, vec![0]));
        source.details[1].default = Some(default.to_owned());
        let (made, _) = translated(source, Postgres, Mysql);
        let there = there.map(|there| match is_wide {
            true => format!("'{:0>66}'", there.trim_matches('\'')),
            false => there.to_owned(),
        });
        assert_eq!(made.details[1].default, there, "{default}");
    }
}
