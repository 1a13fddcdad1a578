//! Every column type in the three dialects.

use super::*;

fn decimal(precision: Option<u32>, scale: i32) -> ColumnType {
    ColumnType::Decimal {
        precision,
        scale,
        unsigned: false,
    }
}

fn text(chars: Option<u32>, bytes: Option<u64>, fixed: bool) -> ColumnType {
    ColumnType::Text {
        chars,
        bytes,
        fixed,
        utf8: true,
    }
}

fn int(bits: u8, unsigned: bool) -> ColumnType {
    ColumnType::Int { bits, unsigned }
}

#[test]
fn every_type_in_every_dialect() {
    let labels = vec!["a".to_owned(), "it's".to_owned()];
    let opaque = ColumnType::Opaque {
        name: "int4range".to_owned(),
    };
    let bit = |len, varying| ColumnType::Bit { len, varying };
    let bytes = |limit, fixed| ColumnType::Bytes { limit, fixed };
    for (ty, postgres, mysql, mariadb) in [
        (ColumnType::Bool, "boolean", "tinyint(1)", "tinyint(1)"),
        (int(8, false), "smallint", "tinyint", "tinyint"),
        (int(8, true), "smallint", "tinyint unsigned", "tinyint unsigned"),
        (int(16, false), "smallint", "smallint", "smallint"),
        (int(16, true), "integer", "smallint unsigned", "smallint unsigned"),
        (int(24, false), "integer", "mediumint", "mediumint"),
        (
            int(24, true),
            "integer",
            "mediumint unsigned",
            "mediumint unsigned",
        ),
        (int(32, false), "integer", "int", "int"),
        (int(32, true), "bigint", "int unsigned", "int unsigned"),
        (int(64, false), "bigint", "bigint", "bigint"),
        (
            int(64, true),
            "numeric(20,0)",
            "bigint unsigned",
            "bigint unsigned",
        ),
        (ColumnType::Float, "real", "float", "float"),
        (ColumnType::Double, "double precision", "double", "double"),
        (
            decimal(Some(10), 2),
            "numeric(10,2)",
            "decimal(10,2)",
            "decimal(10,2)",
        ),
        (decimal(None, 0), "numeric", "decimal(65,30)", "decimal(65,30)"),
        (
            decimal(Some(5), -2),
            "numeric(5,-2)",
            "decimal(7,0)",
            "decimal(7,0)",
        ),
        (
            decimal(Some(2), 4),
            "numeric(2,4)",
            "decimal(4,4)",
            "decimal(4,4)",
        ),
        (
            text(Some(20), None, false),
            "varchar(20)",
            "varchar(20)",
            "varchar(20)",
        ),
        (text(Some(20), None, true), "char(20)", "char(20)", "char(20)"),
        (
            text(Some(300), None, true),
            "char(300)",
            "varchar(300)",
            "varchar(300)",
        ),
        (
            text(Some(20_000), None, false),
            "varchar(20000)",
            "longtext",
            "longtext",
        ),
        (text(None, None, false), "text", "longtext", "longtext"),
        (text(None, Some(255), false), "text", "tinytext", "tinytext"),
        (text(None, Some(65_535), false), "text", "text", "text"),
        (
            text(None, Some(16_777_215), false),
            "text",
            "mediumtext",
            "mediumtext",
        ),
        (
            text(None, Some(4_294_967_295), false),
            "text",
            "longtext",
            "longtext",
        ),
        (bytes(None, false), "bytea", "longblob", "longblob"),
        (bytes(Some(16), true), "bytea", "binary(16)", "binary(16)"),
        (
            bytes(Some(200), false),
            "bytea",
            "varbinary(200)",
            "varbinary(200)",
        ),
        (bytes(Some(65_535), false), "bytea", "blob", "blob"),
        (
            bytes(Some(16_777_215), false),
            "bytea",
            "mediumblob",
            "mediumblob",
        ),
        (bit(Some(8), false), "bit(8)", "bit(8)", "bit(8)"),
        (bit(Some(80), false), "bit(80)", "varchar(80)", "varchar(80)"),
        (bit(Some(8), true), "bit varying(8)", "varchar(8)", "varchar(8)"),
        (bit(None, true), "bit varying", "longtext", "longtext"),
        (ColumnType::Date, "date", "date", "date"),
        (
            ColumnType::Time {
                fraction: 6,
                span: false,
            },
            "time(6)",
            "time(6)",
            "time(6)",
        ),
        (
            ColumnType::Time {
                fraction: 0,
                span: true,
            },
            "time(0)",
            "time(0)",
            "time(0)",
        ),
        (
            ColumnType::Timestamp { fraction: 6 },
            "timestamp(6)",
            "datetime(6)",
            "datetime(6)",
        ),
        (
            ColumnType::TimestampTz {
                fraction: 6,
                epoch: false,
            },
            "timestamptz(6)",
            "datetime(6)",
            "datetime(6)",
        ),
        (
            ColumnType::TimestampTz {
                fraction: 3,
                epoch: true,
            },
            "timestamptz(3)",
            "timestamp(3)",
            "timestamp(3)",
        ),
        (ColumnType::Year, "smallint", "year", "year"),
        (ColumnType::Uuid, "uuid", "binary(16)", "uuid"),
        (ColumnType::Json { normalised: true }, "jsonb", "json", "json"),
        (
            ColumnType::Json { normalised: false },
            "json",
            "longtext",
            "longtext",
        ),
        (
            ColumnType::Enum {
                labels: labels.clone(),
            },
            "text",
            "enum('a','it''s')",
            "enum('a','it''s')",
        ),
        (
            ColumnType::Set { labels },
            "text",
            "set('a','it''s')",
            "set('a','it''s')",
        ),
        (ColumnType::Interval, "interval", "varchar(64)", "varchar(64)"),
        (opaque, "int4range", "int4range", "int4range"),
    ] {
        assert_eq!(ddl_type(&ty, Engine::Postgres), postgres, "{ty:?}");
        assert_eq!(ddl_type(&ty, Engine::Mysql), mysql, "{ty:?}");
        assert_eq!(ddl_type(&ty, Engine::Mariadb), mariadb, "{ty:?}");
    }
}

fn plain(name: &str, ty: ColumnType, sql_type: &str, nullable: bool) -> Column {
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

#[test]
fn a_table_is_written_for_the_other_engine() {
    let table = Table {
        id: TableId::new("public", "item"),
        columns: vec![
            plain("code", text(None, None, false), "text", false),
            plain("price", decimal(Some(10), 2), "numeric(10,2)", true),
            plain("tidelock_version", int(64, false), "bigint", false),
        ],
        key: vec![0],
        uniques: Vec::new(),
    };
    let id = TableId::new("shop", "item");
    assert_eq!(
        create_table(
            &table,
            Engine::Postgres,
            &id,
            Engine::Mysql,
            &["tidelock_version"]
        ),
        "CREATE TABLE `shop`.`item` (\n    \
         `code` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,\n    \
         `price` decimal(10,2),\n    PRIMARY KEY (`code`)\n) ENGINE=InnoDB;"
    );
    assert_eq!(
        create_table(
            &table,
            Engine::Postgres,
            &id,
            Engine::Postgres,
            &["tidelock_version"]
        ),
        "CREATE TABLE \"shop\".\"item\" (\n    \"code\" text NOT NULL,\n    \"price\" numeric(10,2),\n    \
         PRIMARY KEY (\"code\")\n);"
    );
}

#[test]
fn alterations_in_both_dialects() {
    let id = TableId::new("s", "t");
    let column = plain("c", int(32, false), "int", false);
    for (found, expected) in [
        (
            add_column(&id, &column, Engine::Mysql, Engine::Postgres),
            "ALTER TABLE \"s\".\"t\" ADD COLUMN \"c\" integer;",
        ),
        (
            change_type(&id, &column, "bigint", Engine::Postgres),
            "ALTER TABLE \"s\".\"t\" ALTER COLUMN \"c\" TYPE bigint;",
        ),
        (
            change_type(&id, &column, "bigint", Engine::Mysql),
            "ALTER TABLE `s`.`t` MODIFY COLUMN `c` bigint NOT NULL;",
        ),
        (
            allow_null(&id, &column, Engine::Postgres),
            "ALTER TABLE \"s\".\"t\" ALTER COLUMN \"c\" DROP NOT NULL;",
        ),
        (
            allow_null(&id, &column, Engine::Mariadb),
            "ALTER TABLE `s`.`t` MODIFY COLUMN `c` int NULL;",
        ),
        (
            add_primary_key(&id, &["a".to_owned(), "b".to_owned()], true, Engine::Mysql),
            "ALTER TABLE `s`.`t` DROP PRIMARY KEY, ADD PRIMARY KEY (`a`, `b`);",
        ),
        (
            add_primary_key(&id, &["a".to_owned()], false, Engine::Postgres),
            "ALTER TABLE \"s\".\"t\" ADD PRIMARY KEY (\"a\");",
        ),
        (
            add_primary_key(&id, &["a".to_owned()], true, Engine::Postgres),
            "ALTER TABLE \"s\".\"t\" DROP CONSTRAINT \"t_pkey\", ADD PRIMARY KEY (\"a\");",
        ),
    ] {
        assert_eq!(found, expected);
    }
}
