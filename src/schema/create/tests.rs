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
