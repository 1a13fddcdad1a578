//! Every column type in the three dialects.
#![allow(clippy::unwrap_used)]

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

/// `postgres | mysql | mariadb`; one word for both of the latter where they agree.
fn is(ty: &ColumnType, expected: &str) {
    let words: Vec<&str> = expected.split(" | ").collect();
    let mariadb = words.get(2).unwrap_or(&words[1]);
    let found = [Engine::Postgres, Engine::Mysql, Engine::Mariadb].map(|engine| ddl_type(ty, engine));
    assert_eq!(found, [words[0], words[1], mariadb], "{ty:?}");
}

#[test]
fn numbers() {
    is(&ColumnType::Bool, "boolean | tinyint(1)");
    is(&int(8, false), "smallint | tinyint");
    is(&int(8, true), "smallint | tinyint unsigned");
    is(&int(16, false), "smallint | smallint");
    is(&int(16, true), "integer | smallint unsigned");
    is(&int(24, false), "integer | mediumint");
    is(&int(24, true), "integer | mediumint unsigned");
    is(&int(32, false), "integer | int");
    is(&int(32, true), "bigint | int unsigned");
    is(&int(64, false), "bigint | bigint");
    is(&int(64, true), "numeric(20,0) | bigint unsigned");
    is(&ColumnType::Float, "real | float");
    is(&ColumnType::Double, "double precision | double");
    is(&decimal(Some(10), 2), "numeric(10,2) | decimal(10,2)");
    is(&decimal(None, 0), "numeric | decimal(65,30)");
    is(&decimal(Some(5), -2), "numeric(5,-2) | decimal(7,0)");
    is(&decimal(Some(2), 4), "numeric(2,4) | decimal(4,4)");
    is(&ColumnType::Year, "smallint | year");
}

#[test]
fn texts_bytes_and_bits() {
    let bit = |len, varying| ColumnType::Bit { len, varying };
    let bytes = |limit, fixed| ColumnType::Bytes { limit, fixed };
    is(&text(Some(20), None, false), "varchar(20) | varchar(20)");
    is(&text(Some(20), None, true), "char(20) | char(20)");
    is(&text(Some(300), None, true), "char(300) | varchar(300)");
    is(&text(Some(20_000), None, false), "varchar(20000) | longtext");
    is(&text(None, None, false), "text | longtext");
    is(&text(None, Some(255), false), "text | tinytext");
    is(&text(None, Some(65_535), false), "text | text");
    is(&text(None, Some(16_777_215), false), "text | mediumtext");
    is(&text(None, Some(4_294_967_295), false), "text | longtext");
    is(&bytes(None, false), "bytea | longblob");
    is(&bytes(Some(16), true), "bytea | binary(16)");
    is(&bytes(Some(200), false), "bytea | varbinary(200)");
    is(&bytes(Some(65_535), false), "bytea | blob");
    is(&bytes(Some(16_777_215), false), "bytea | mediumblob");
    is(&bit(Some(8), false), "bit(8) | bit(8)");
    is(&bit(Some(80), false), "bit(80) | varchar(80)");
    is(&bit(Some(8), true), "bit varying(8) | varchar(8)");
    is(&bit(None, true), "bit varying | longtext");
}

#[test]
fn moments_and_the_rest() {
    let labels = vec!["a".to_owned(), "it's".to_owned()];
    let time = |fraction, span| ColumnType::Time { fraction, span };
    let zoned = |fraction, epoch| ColumnType::TimestampTz { fraction, epoch };
    let json = |normalised| ColumnType::Json { normalised };
    let name = "int4range".to_owned();
    is(&ColumnType::Date, "date | date");
    is(&time(6, false), "time(6) | time(6)");
    is(&time(0, true), "time(0) | time(0)");
    is(
        &ColumnType::Timestamp { fraction: 6 },
        "timestamp(6) | datetime(6)",
    );
    is(&zoned(6, false), "timestamptz(6) | datetime(6)");
    is(&zoned(3, true), "timestamptz(3) | timestamp(3)");
    is(&ColumnType::Uuid, "uuid | binary(16) | uuid");
    is(&json(true), "jsonb | json");
    is(&json(false), "json | longtext");
    is(
        &ColumnType::Enum {
            labels: labels.clone(),
        },
        "text | enum('a','it''s')",
    );
    is(&ColumnType::Set { labels }, "text | set('a','it''s')");
    is(&ColumnType::Interval, "interval | varchar(64)");
    is(&ColumnType::Opaque { name }, "int4range | int4range");
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
fn no_type_is_named_where_the_other_engine_has_none() {
    let id = TableId::new("s", "t");
    let opaque = |name: &str| ColumnType::Opaque {
        name: name.to_owned(),
    };
    let bit = |len, varying| ColumnType::Bit { len, varying };
    let (pg, my, maria) = (Engine::Postgres, Engine::Mysql, Engine::Mariadb);
    for (ty, from, to, named) in [
        (opaque("int4range"), pg, my, Some("longtext")),
        (opaque("inet6"), maria, pg, Some("inet")),
        (opaque("inet6"), maria, my, Some("varchar(45)")),
        (opaque("geometry"), my, maria, None),
        (opaque("geometry"), my, pg, None),
        (bit(Some(65), false), pg, my, Some("varchar(65)")),
        (bit(Some(8), true), pg, maria, Some("varchar(8)")),
        (bit(None, true), pg, my, Some("longtext")),
        (bit(Some(64), false), pg, my, Some("bit(64)")),
        (opaque("point"), pg, pg, Some("point")),
        (int(64, true), my, pg, Some("numeric(20,0)")),
    ] {
        let column = plain("c", ty.clone(), "", true);
        assert_eq!(type_for(&column, from, to).as_deref(), named, "{ty:?}");
        assert_eq!(
            add_column(&id, &column, from, to).is_some(),
            named.is_some(),
            "{ty:?}"
        );
    }
}

#[test]
fn alterations_in_both_dialects() {
    let id = TableId::new("s", "t");
    let column = plain("c", int(32, false), "int", false);
    for (found, expected) in [
        (
            add_column(&id, &column, Engine::Mysql, Engine::Postgres).unwrap(),
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
