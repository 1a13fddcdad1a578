//! A table with every type, as the catalogs describe it.

use crate::harness::Kind;
use crate::node::Node;
use tidelock::ddl;
use tidelock::model::schema::ColumnType::{self, *};
use tidelock::model::schema::{Column, Engine};
use tidelock::model::sync::CatalogTable;
use tidelock::typemap::{self, Verdict};

async fn catalog(kind: Kind, ddl: &str) -> CatalogTable {
    let mut node = Node::new(kind, "types", ddl, &["t", "missing"]).await;
    let mut found = node.catalogs().await;
    assert_eq!(found.pop().unwrap(), None);
    found.pop().unwrap().unwrap()
}

fn int(bits: u8, unsigned: bool) -> ColumnType {
    Int { bits, unsigned }
}

fn text(chars: Option<u32>, bytes: Option<u64>, fixed: bool) -> ColumnType {
    Text {
        chars,
        bytes,
        fixed,
        utf8: true,
    }
}

fn opaque(name: &str) -> ColumnType {
    Opaque {
        name: name.to_owned(),
    }
}

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn decimal(precision: u32, scale: i32, unsigned: bool) -> ColumnType {
    Decimal {
        precision: Some(precision),
        scale,
        unsigned,
    }
}

fn compare(catalog: &CatalogTable, wanted: &[(&str, &str, ColumnType)]) {
    let found: Vec<(&str, &str, ColumnType)> = catalog
        .table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.sql_type.as_str(), column.ty.clone()))
        .collect();
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
}

#[tokio::test]
async fn postgres_types() {
    for kind in [Kind::Postgres18, Kind::Postgres15] {
        let ddl = "CREATE TYPE mood AS ENUM ('sad', 'it''s');
            CREATE DOMAIN amount AS numeric(8,3) NOT NULL; CREATE DOMAIN price AS amount CHECK (VALUE > 0);
            CREATE TYPE text2 AS (a int);
            CREATE TABLE t (i2 smallint, i4 integer NOT NULL DEFAULT 1, i8 bigint, r real, d double precision,
              n numeric, n2 numeric(10,2), n3 numeric(3,-2), b boolean, t text, v varchar(20), vv varchar, c char(5), ch \"char\",
              nm name, by bytea, bi bit(3), vb bit varying(9), vbb bit varying, da date, ti time(3), tz time with time zone,
              ts timestamp(0), tsz timestamptz, u uuid, j json, jb jsonb, e mood, iv interval(2), p price, ar integer[],
              rg int4range, ine inet, mo money, comp text2, g integer GENERATED ALWAYS AS (i4 + 1) STORED,
              id integer GENERATED ALWAYS AS IDENTITY,
              PRIMARY KEY (v, i4), UNIQUE (i8, i2) INCLUDE (b), EXCLUDE USING btree (i2 WITH =));
            CREATE UNIQUE INDEX ON t (lower(t)); CREATE UNIQUE INDEX ON t (i2) WHERE b; CREATE INDEX ON t (d)";
        let catalog = catalog(kind, ddl).await;
        let bit = |len, varying| Bit { len, varying };
        let wanted = [
            ("i2", "smallint", int(16, false)),
            ("i4", "integer", int(32, false)),
            ("i8", "bigint", int(64, false)),
            ("r", "real", Float),
            ("d", "double precision", Double),
            (
                "n",
                "numeric",
                Decimal {
                    precision: None,
                    scale: 0,
                    unsigned: false,
                },
            ),
            ("n2", "numeric(10,2)", decimal(10, 2, false)),
            ("n3", "numeric(3,-2)", decimal(3, -2, false)),
            ("b", "boolean", Bool),
            ("t", "text", text(None, None, false)),
            ("v", "character varying(20)", text(Some(20), None, false)),
            ("vv", "character varying", text(None, None, false)),
            ("c", "character(5)", text(Some(5), None, true)),
            ("ch", "\"char\"", opaque("\"char\"")),
            ("nm", "name", text(None, Some(63), false)),
            (
                "by",
                "bytea",
                Bytes {
                    limit: None,
                    fixed: false,
                },
            ),
            ("bi", "bit(3)", bit(Some(3), false)),
            ("vb", "bit varying(9)", bit(Some(9), true)),
            ("vbb", "bit varying", bit(None, true)),
            ("da", "date", Date),
            (
                "ti",
                "time(3) without time zone",
                Time {
                    fraction: 3,
                    span: false,
                },
            ),
            ("tz", "time with time zone", opaque("time with time zone")),
            ("ts", "timestamp(0) without time zone", Timestamp { fraction: 0 }),
            (
                "tsz",
                "timestamp with time zone",
                TimestampTz {
                    fraction: 6,
                    epoch: false,
                },
            ),
            ("u", "uuid", Uuid),
            ("j", "json", Json { normalised: false }),
            ("jb", "jsonb", Json { normalised: true }),
            (
                "e",
                "public.mood",
                Enum {
                    labels: labels(&["sad", "it's"]),
                },
            ),
            ("iv", "interval(2)", Interval),
            ("p", "public.price", decimal(8, 3, false)),
            ("ar", "integer[]", opaque("integer[]")),
            ("rg", "int4range", opaque("int4range")),
            ("ine", "inet", opaque("inet")),
            ("mo", "money", opaque("money")),
            ("comp", "public.text2 /* a integer */", opaque("public.text2")),
            ("g", "integer", int(32, false)),
            ("id", "integer", int(32, false)),
        ];
        compare(&catalog, &wanted);
        let column = |name: &str| &catalog.table.columns[catalog.table.column(name).unwrap()];
        assert!(column("i2").nullable && !column("i4").nullable && !column("p").nullable);
        assert!(column("i4").has_default && column("id").has_default && !column("i2").has_default);
        assert!(column("g").generated && !column("i4").generated);
        assert_eq!(catalog.table.key, [10, 1]);
        // What an exclusion constraint keeps apart is, like an expression, no columns.
        let mut uniques = catalog.table.uniques.clone();
        uniques.sort();
        assert_eq!(uniques, [vec![], vec![], vec![], vec![2, 0]]);
        assert_eq!(catalog.storage, "r");
    }
}

const MYSQL_COMMON: &str = "i1 tinyint, b tinyint(1), u1 tinyint unsigned, i2 smallint, i3 mediumint, u3 mediumint unsigned,
    i4 int NOT NULL AUTO_INCREMENT, i8 bigint, u8 bigint unsigned, f float, d double, n decimal(10,2), nu decimal(5,0) unsigned,
    c char(5) NOT NULL, v varchar(20) DEFAULT 'NULL', l varchar(20) CHARACTER SET latin1, tt tinytext, t text, mt mediumtext, lt longtext,
    bi binary(4), vb varbinary(9), tb tinyblob, bl blob, mb mediumblob, lb longblob, bt bit(11), da date, ti time(2), dt datetime(3),
    ts timestamp(6) NULL, y year, j json, e enum('a','it''s'), s set('x','y'), g geometry,
    gen int GENERATED ALWAYS AS (i1 + 1) VIRTUAL, ex varchar(9) DEFAULT (upper('x')),
    PRIMARY KEY (c, i4), UNIQUE (i8, i2), UNIQUE (v(3)), KEY (i4), KEY (d)";

fn mysql_common(json: ColumnType) -> Vec<(&'static str, ColumnType)> {
    let bytes = |limit, fixed| Bytes {
        limit: Some(limit),
        fixed,
    };
    vec![
        ("i1", int(8, false)),
        ("b", int(8, false)),
        ("u1", int(8, true)),
        ("i2", int(16, false)),
        ("i3", int(24, false)),
        ("u3", int(24, true)),
        ("i4", int(32, false)),
        ("i8", int(64, false)),
        ("u8", int(64, true)),
        ("f", Float),
        ("d", Double),
        ("n", decimal(10, 2, false)),
        ("nu", decimal(5, 0, true)),
        ("c", text(Some(5), None, true)),
        ("v", text(Some(20), None, false)),
        (
            "l",
            Text {
                chars: Some(20),
                bytes: None,
                fixed: false,
                utf8: false,
            },
        ),
        ("tt", text(None, Some(255), false)),
        ("t", text(None, Some(65_535), false)),
        ("mt", text(None, Some(16_777_215), false)),
        ("lt", text(None, Some(4_294_967_295), false)),
        ("bi", bytes(4, true)),
        ("vb", bytes(9, false)),
        ("tb", bytes(255, false)),
        ("bl", bytes(65_535, false)),
        ("mb", bytes(16_777_215, false)),
        ("lb", bytes(4_294_967_295, false)),
        (
            "bt",
            Bit {
                len: Some(11),
                varying: false,
            },
        ),
        ("da", Date),
        (
            "ti",
            Time {
                fraction: 2,
                span: true,
            },
        ),
        ("dt", Timestamp { fraction: 3 }),
        (
            "ts",
            TimestampTz {
                fraction: 6,
                epoch: true,
            },
        ),
        ("y", Year),
        ("j", json),
        (
            "e",
            Enum {
                labels: labels(&["a", "it's"]),
            },
        ),
        (
            "s",
            Set {
                labels: labels(&["x", "y"]),
            },
        ),
        ("g", opaque("geometry")),
        ("gen", int(32, false)),
        ("ex", text(Some(9), None, false)),
    ]
}

fn mysql_rest(catalog: &CatalogTable) {
    let column = |name: &str| &catalog.table.columns[catalog.table.column(name).unwrap()];
    assert!(column("i1").nullable && !column("i4").nullable);
    assert!(column("i4").has_default && column("v").has_default && column("ex").has_default);
    assert!(!column("i1").has_default && !column("c").has_default);
    assert!(column("gen").generated && !column("ex").generated && !column("i1").generated);
    assert!(column("l").collation.starts_with("latin1_"));
    assert_eq!(catalog.table.key, [13, 6]);
    let mut uniques = catalog.table.uniques.clone();
    uniques.sort();
    assert_eq!(uniques, [vec![], vec![7, 3]]);
    assert_eq!(catalog.storage, "InnoDB");
}

#[tokio::test]
async fn mysql_types() {
    let ddl = format!("CREATE TABLE t ({MYSQL_COMMON}, ve vector(3)) CHARACTER SET utf8mb4");
    let catalog = catalog(Kind::Mysql, &ddl).await;
    let mut wanted = mysql_common(Json { normalised: true });
    wanted.push(("ve", opaque("vector")));
    let found: Vec<(&str, ColumnType)> = catalog
        .table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.ty.clone()))
        .collect();
    assert_eq!(found, wanted);
    mysql_rest(&catalog);
}

#[tokio::test]
async fn mariadb_types() {
    let ddl = format!("CREATE TABLE t ({MYSQL_COMMON}, u uuid, i inet6) CHARACTER SET utf8mb4");
    let catalog = catalog(Kind::Mariadb, &ddl).await;
    let mut wanted = mysql_common(Json { normalised: false });
    wanted.extend([("u", Uuid), ("i", opaque("inet6"))]);
    let found: Vec<(&str, ColumnType)> = catalog
        .table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.ty.clone()))
        .collect();
    assert_eq!(found, wanted);
    mysql_rest(&catalog);
}

/// The update trigger compares every type; each real change must count and a repeated value must not.
#[tokio::test]
async fn every_type_is_compared_to_the_byte() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let more = if kind == Kind::Mysql {
            "ve vector(3)"
        } else {
            "u uuid, ip inet6"
        };
        let ddl = format!("CREATE TABLE t ({MYSQL_COMMON}, {more}) CHARACTER SET utf8mb4");
        let mut node = Node::new(kind, "compared", &ddl, &["t"]).await;
        node.setup().await;
        node.exec("INSERT INTO t (c, f, d, n, v, t, bi, vb, bl, bt, da, ti, dt, ts, y, j, e, s, g, b, u8)
                   VALUES ('k', 0.1, 1e300, 1.50, 'A', 'A', 'a', 'a', 'a', 5, '2024-01-01', '-01:02:03.04',
                           '2024-01-01 00:00:00.123', '2024-01-01 00:00:00.123456', 2024, '{\"a\": 1, \"b\": \"X\"}', 'a', 'x',
                           ST_GeomFromText('POINT(1 2)'), 1, 18446744073709551615)")
            .await;
        let version = "SELECT tidelock_version FROM t";
        let all = "UPDATE t SET f = f, d = 1e300, n = 1.5, v = 'A', bi = 'a', bt = 5, ti = ti, ts = ts, j = j, e = 1, s = 'x', g = g, u8 = u8";
        node.exec(all).await;
        assert_eq!(node.db.one(version).await, "1", "{kind}");
        let changes = [
            "v = 'a'",
            "t = 'A '",
            "bi = 'A'",
            "vb = x'6100'",
            "bl = 'A'",
            "bt = 6",
            "da = '2024-01-02'",
            "ti = '01:02:03.04'",
            "dt = '2024-01-01 00:00:00.124'",
            "ts = '2024-01-01 00:00:00.123457'",
            "y = 2025",
            "e = 'it''s'",
            "s = 'x,y'",
            "g = ST_GeomFromText('POINT(1 3)')",
            "b = 0",
            "u8 = 18446744073709551614",
            "f = 0.2",
            "d = 1e301",
            "n = 1.51",
            "j = '{\"a\": 1, \"b\": \"x\"}'",
            "t = NULL",
            "g = NULL",
            "j = NULL",
        ];
        for (number, change) in changes.iter().enumerate() {
            node.exec(&format!("UPDATE t SET {change}")).await;
            assert_eq!(
                node.db.one(version).await,
                (number + 2).to_string(),
                "{kind}: {change}"
            );
            node.exec(&format!("UPDATE t SET {change}")).await;
            assert_eq!(
                node.db.one(version).await,
                (number + 2).to_string(),
                "{kind}: again {change}"
            );
        }
    }
}

/// What `check` names for a column that the other node lacks, or has with another type, can be made there, and rows
/// can go there and come back.
#[tokio::test]
async fn each_type_named_for_another_engine_is_one_that_holds() {
    let postgres = "i2 smallint, i4 integer, i8 bigint, r real, d double precision, n numeric, n2 numeric(10,2),
         n3 numeric(3,-2), n4 numeric(2,4), n5 numeric(100,40), b boolean, t text, v varchar(20), vv varchar(40000),
         c char(5), cc char(300), nm name, by bytea, bi bit(3), da date, ti time(3), ts timestamp(0), tsz timestamptz,
         u uuid, j json, jb jsonb, iv interval";
    let mysql = "i1 tinyint, u1 tinyint unsigned, i2 smallint, u2 smallint unsigned, i3 mediumint, u3 mediumint unsigned,
         i4 int, u4 int unsigned, i8 bigint, u8 bigint unsigned, f float, d double, n decimal(65,30),
         nu decimal(5,2) unsigned, c char(255), v varchar(200), tt tinytext, t text, mt mediumtext, lt longtext,
         b binary(16), vb varbinary(200), tb tinyblob, bl blob, mb mediumblob, lb longblob, bi bit(64), da date,
         ti time(6), dt datetime(3), ts timestamp(6), y year, e enum('a','it''s'), s set('x','y'), j json";
    let sources = [
        (Kind::Postgres18, Engine::Postgres, postgres.to_owned()),
        (Kind::Mysql, Engine::Mysql, mysql.to_owned()),
        (Kind::Mariadb, Engine::Mariadb, format!("{mysql}, u uuid")),
    ];
    for (kind, from, columns) in &sources {
        let source = catalog(*kind, &format!("CREATE TABLE t (k int PRIMARY KEY, {columns})")).await;
        for (other, to, _) in sources.iter().filter(|(_, to, _)| to != from) {
            let named = |column: &Column| {
                let ty = ddl::type_for(column, *from, *to);
                format!(
                    "{} {}",
                    ddl::quote(&column.name, *to),
                    ty.unwrap_or_else(|| panic!("{column:?}"))
                )
            };
            let columns: Vec<String> = source.table.columns.iter().map(named).collect();
            let made = catalog(
                *other,
                &format!("CREATE TABLE t ({}, PRIMARY KEY (k))", columns.join(", ")),
            )
            .await;
            for (column, there) in source.table.columns.iter().zip(&made.table.columns) {
                for verdict in [
                    typemap::verdict(column, *from, there, *to),
                    typemap::verdict(there, *to, column, *from),
                ] {
                    let is_refused = matches!(verdict, Verdict::Refused(_));
                    assert!(
                        !is_refused,
                        "{from} {} <-> {to} {}: {verdict:?}",
                        column.sql_type, there.sql_type
                    );
                }
            }
        }
    }
}
