//! Names, keys and values of every kind arrive as they are.

use super::bench::*;
use super::harness::Kind;
use tidelock::model::value::{Row, Value};
use tidelock::plan::{Key, Write, WriteOp, Written};
use tidelock::{mysql, postgres};

pub(crate) async fn hostile_names_and_values_arrive_as_they_are(kind: Kind) {
    // MySQL's identifiers end where utf8mb3 does.
    let name = if kind.is_postgres() {
        "se\"le`ct '🌊; --"
    } else {
        "se\"le`ct 'é; --"
    };
    let column = "or\"d`er by '?$1";
    let (ident, bytes, encoding) = match kind.is_postgres() {
        true => (postgres::sql::quote(column), "bytea", ""),
        false => (mysql::sql::quote(column), "blob", "CHARACTER SET utf8mb4"),
    };
    let columns = format!("id bigint PRIMARY KEY, {ident} text {encoding}, b {bytes}");
    let mut bench = Bench::named(kind, name, &columns, false).await;
    let hostile = [
        "",
        "'; DROP TABLE t; --",
        "\\",
        "\\'",
        "a\"b'c`d\\n\\0",
        "𝒳🌊é\u{200d}",
        "NULL",
        "{\"a\",NULL}",
        "$1 ? :x %s",
        "line\nbreak\ttab\r",
        "x'00'",
        " trailing ",
    ];
    let bytes = |index: usize| Value::Bytes(vec![0, 255, b'\'', b'\\', index as u8].into());
    let cells = |index: usize, text: &str| [Value::Text(text.into()), bytes(index)];
    let inserts: Vec<Write> = hostile
        .iter()
        .enumerate()
        .map(|(index, text)| insert(index as i64, &cells(index, text)))
        .collect();
    assert!(!bench.attempt(&inserts).await.contains(&false));
    // The same through the set of an update, each row with the next one's text, and one row alone.
    let turned = |index: usize| hostile[(index + 1) % hostile.len()];
    let updates: Vec<Write> = (0..hostile.len())
        .map(|index| update(index as i64, &cells(index, turned(index)), None))
        .collect();
    assert!(!bench.attempt(&updates).await.contains(&false));
    assert_eq!(bench.write(&updates[..1]).await, [Written::Done]);
    bench.begin().await;
    let keys: Vec<Key> = (0..hostile.len()).rev().map(|index| key(index as i64)).collect();
    let found = bench.target.read(&bench.shape, &keys).await;
    for (index, local) in (0..hostile.len()).rev().zip(found) {
        let [text, bytes] = cells(index, turned(index));
        assert_eq!(local.row.unwrap(), row(&[int(index as i64), text, bytes]));
    }
    bench.commit().await;
    if kind.is_postgres() {
        let nul = update(0, &[text("a\0b"), bytes(0)], None);
        assert_eq!(bench.attempt(std::slice::from_ref(&nul)).await, [false]);
        assert!(matches!(bench.write(&[nul]).await[0], Written::Refused(_)));
    }
}

pub(crate) async fn text_keys_are_their_spelling(kind: Kind) {
    // One that takes other spellings for the same key, and one that cannot hold every character.
    let variants: &[&str] = match kind {
        Kind::Mysql | Kind::Mariadb => &[
            "k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, b int",
            "k varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY, b int",
            "k char(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci PRIMARY KEY, b int",
        ],
        Kind::Postgres15 | Kind::Postgres16 | Kind::Postgres17 | Kind::Postgres18 => &[
            "k text PRIMARY KEY, b int",
            "k varchar(20) PRIMARY KEY, b int",
            "k char(20) PRIMARY KEY, b int",
        ],
    };
    for columns in variants {
        let mut bench = Bench::new(kind, columns, false).await;
        let under = |k: &str| -> Key { Box::new([text(k)]) };
        let put = |k: &str, b: i64| insert_under(under(k), &[text(k), int(b)]);
        let set = |k: &str, b: i64| update_under(under(k), &[text(k), int(b)], None);
        assert_eq!(bench.attempt(&[put("Ab", 1), put("é?", 2)]).await, [true, true]);
        for other in ["ab", "AB", "é🌊", "e?"] {
            assert_eq!(
                bench.attempt(&[set(other, 9)]).await,
                [false],
                "{columns}: {other}"
            );
            assert_eq!(
                bench.attempt(&[set(other, 9), set("zz", 9)]).await,
                [false, false]
            );
        }
        bench.begin().await;
        let keys = ["AB", "Ab", "é🌊", "é?"].map(under);
        let found: Vec<bool> = bench
            .target
            .read(&bench.shape, &keys)
            .await
            .iter()
            .map(|local| local.row.is_some())
            .collect();
        bench.commit().await;
        assert_eq!(found, [false, true, false, true], "{columns}");
        assert_eq!(bench.attempt(&[set("Ab", 5), set("é?", 6)]).await, [true, true]);
        let other = bench.write(&[put("AB", 7)]).await.remove(0);
        match (kind.is_postgres(), other) {
            (true, Written::Done) | (false, Written::UniqueTaken(_)) => {}
            (_, other) => panic!("{columns}: {other:?}"),
        }
    }
    let sensitive = match kind {
        Kind::Mysql => "k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin PRIMARY KEY, b int",
        Kind::Mariadb => "k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PRIMARY KEY, b int",
        Kind::Postgres15 | Kind::Postgres16 | Kind::Postgres17 | Kind::Postgres18 => {
            "k varchar(20) PRIMARY KEY, b int"
        }
    };
    let mut bench = Bench::new(kind, sensitive, false).await;
    let spellings = ["a", "a ", "A", "a\t"];
    let puts = spellings.map(|k| insert_under(Box::new([text(k)]), &[text(k), int(1)]));
    assert_eq!(bench.attempt(&puts).await, [true; 4]);
    let sets =
        [("a ", 2), ("a", 3)].map(|(k, b)| update_under(Box::new([text(k)]), &[text(k), int(b)], None));
    assert_eq!(bench.attempt(&sets).await, [true; 2]);
    let two = bench
        .db
        .one("SELECT b FROM t WHERE k = 'a ' AND length(k) = 2")
        .await;
    assert_eq!((two.as_str(), bench.db.count("t").await), ("2", 4));
}

pub(crate) async fn composite_keys_of_many_types_find_their_rows(kind: Kind) {
    let columns = match kind.is_postgres() {
        true => {
            "b varchar(10), a int, c timestamp, d date, e numeric(10,2), f bytea, g boolean, h uuid, \
             i double precision, v int, PRIMARY KEY (a, b, c, d, e, f, g, h, i)"
        }
        false => {
            "b varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci, a int unsigned, c datetime(3), \
             d date, e decimal(10,2), f varbinary(20), g tinyint, h binary(16), i double, v int, \
             PRIMARY KEY (a, b, c, d, e, f, g, h, i)"
        }
    };
    let mut bench = Bench::new(kind, columns, false).await;
    let is_postgres = kind.is_postgres();
    let cells = move |n: u8, v: i64| {
        let number = if is_postgres {
            int(n.into())
        } else {
            Value::UInt(n.into())
        };
        let uuid = [n; 16];
        vec![
            text(&format!("k{n}")),
            number,
            Value::Timestamp(format!("2024-01-02 03:04:05.{n}").into()),
            Value::Date(format!("2024-01-{:02}", n + 1).into()),
            Value::Decimal(format!("{n}.50").into()),
            Value::Bytes(vec![n, 0, 255].into()),
            if is_postgres {
                Value::Bool(n.is_multiple_of(2))
            } else {
                int(i64::from(n % 2))
            },
            if is_postgres {
                Value::Uuid(uuid)
            } else {
                Value::Bytes(uuid.to_vec().into())
            },
            Value::Double(0.1 + f64::from(n)),
            int(v),
        ]
    };
    let key_of = move |cells: &[Value]| -> Key {
        let order = [1, 0, 2, 3, 4, 5, 6, 7, 8];
        order.iter().map(|index| cells[*index].clone()).collect()
    };
    let puts: Vec<Write> = (1..9)
        .map(|n| insert_under(key_of(&cells(n, 0)), &cells(n, 0)))
        .collect();
    assert!(!bench.attempt(&puts).await.contains(&false));
    let sets: Vec<Write> = (1..9)
        .map(|n| update_under(key_of(&cells(n, 0)), &cells(n, n.into()), None))
        .collect();
    assert!(!bench.attempt(&sets).await.contains(&false));
    assert_eq!(bench.attempt(&sets[3..4]).await, [true]);
    bench.begin().await;
    let keys: Vec<Key> = sets.iter().rev().map(|write| write.key.clone()).collect();
    for keys in [&keys[..], &keys[2..3]] {
        for (key, local) in keys.iter().zip(bench.target.read(&bench.shape, keys).await) {
            let found = local.row.unwrap();
            let cells: Vec<Value> = found.0.iter().flatten().cloned().collect();
            assert_eq!(key_of(&cells), *key);
            assert_ne!(cells[9], int(0));
        }
    }
    bench.commit().await;
    let deletes: Vec<Write> = keys
        .into_iter()
        .map(|key| Write {
            key,
            op: WriteOp::Delete {
                base: None,
                tombstone: None,
            },
        })
        .collect();
    assert!(!bench.attempt(&deletes).await.contains(&false));
}

/// Values go out in sets of very different rows and come back the same.
pub(crate) async fn every_type_survives_a_set_of_rows(kind: Kind) {
    if kind.is_postgres() {
        return postgres_types(kind).await;
    }
    let columns = "id bigint PRIMARY KEY, i bigint, u bigint unsigned, d double, f float, n decimal(65,30), \
                   s varchar(3000) CHARACTER SET utf8mb4, l longtext CHARACTER SET utf8mb4, b longblob, \
                   bits bit(64), dt datetime(6), ts timestamp(6) NULL, ti time(6), da date, y year, \
                   e enum('','a','é''b') CHARACTER SET utf8mb4, se set('x','y') CHARACTER SET utf8mb4, \
                   j json, m tinyint(1), g bigint AS (i) STORED";
    let mut bench = Bench::new(kind, columns, false).await;
    let json = |text: &str| Value::Json(text.into());
    let rows: Vec<Vec<Value>> = vec![
        vec![
            int(1),
            int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::Double(f64::MAX),
            Value::Float(f32::MAX),
            Value::Decimal("99999999999999999999999999999999999.999999999999999999999999999999".into()),
            text("a"),
            text("b"),
            Value::Bytes(vec![0].into()),
            Value::Bit("1".repeat(64).into()),
            Value::Timestamp("0000-00-00 00:00:00".into()),
            Value::TimestampTz("1970-01-01 00:00:01".into()),
            Value::Time("-838:59:59".into()),
            Value::Date("2024-02-31".into()),
            int(0),
            text(""),
            text(""),
            json("{}"),
            int(-128),
        ],
        vec![Value::Null; 19]
            .into_iter()
            .enumerate()
            .map(|(i, v)| if i == 0 { int(2) } else { v })
            .collect(),
        vec![
            int(3),
            int(i64::MAX),
            Value::UInt(0),
            Value::Double(5e-324),
            Value::Float(1.0e-45),
            Value::Decimal("-0.000000000000000000000000000001".into()),
            text(&"🌊".repeat(3000)),
            text(&"long ".repeat(30_000)),
            Value::Bytes(vec![255; 100_000].into()),
            Value::Bit("0".repeat(64).into()),
            Value::Timestamp("9999-12-31 23:59:59.999999".into()),
            Value::TimestampTz("2038-01-19 03:14:07.999999".into()),
            Value::Time("838:59:59".into()),
            Value::Date("0000-00-00".into()),
            int(2155),
            text("é'b"),
            text("x,y"),
            json("{\"a\": [1, \"é🌊\"]}"),
            int(127),
        ],
        vec![
            int(4),
            int(0),
            Value::UInt(1 << 63),
            Value::Double(0.1 + 0.2),
            Value::Float(16_777_217.0 / 3.0),
            Value::Decimal("1.000000000000000000000000000000".into()),
            text("NULL"),
            text(""),
            Value::Bytes(vec![].into()),
            Value::Bit(format!("{:064b}", 1).into()),
            Value::Timestamp("1000-01-01 00:00:00.000001".into()),
            Value::TimestampTz("2000-02-29 12:00:00".into()),
            Value::Time("00:00:00.000001".into()),
            Value::Date("1000-01-01".into()),
            int(1901),
            text("a"),
            text("y"),
            json("[]"),
            int(1),
        ],
    ];
    round_trip(&mut bench, rows).await;
}

async fn postgres_types(kind: Kind) {
    let columns = "id bigint PRIMARY KEY, b bool, s smallint, d double precision, f real, n numeric, \
                   nn numeric(10,2), v varchar(5), c char(5), bits bit(3), vb varbit(9), by bytea, da date, \
                   ti time(3), ts timestamp(3), tz timestamptz, u uuid, j json, jb jsonb, iv interval, \
                   ia int[], ca char(3)[], ba bit(2)[], ip inet, po point, na name, \
                   auto bigint GENERATED BY DEFAULT AS IDENTITY, g bigint GENERATED ALWAYS AS (s + 1) STORED";
    let mut bench = Bench::new(kind, columns, false).await;
    let opaque = |text: &str| Value::Opaque(text.into());
    let rows: Vec<Vec<Value>> = vec![
        vec![
            int(1),
            Value::Bool(true),
            int(-32768),
            Value::Double(f64::NAN),
            Value::Float(f32::NEG_INFINITY),
            Value::Decimal("NaN".into()),
            Value::Decimal("12345678.90".into()),
            text("a🌊 \" "),
            text("ab"),
            Value::Bit("101".into()),
            Value::Bit("".into()),
            Value::Bytes(vec![0, 255].into()),
            Value::Date("0001-01-01 BC".into()),
            Value::Time("23:59:59.999".into()),
            Value::Timestamp("infinity".into()),
            Value::TimestampTz("-infinity".into()),
            Value::Uuid([0xab; 16]),
            Value::Json("{\"a\" : 1, \"a\":2}".into()),
            Value::Json("{\"a\": 2}".into()),
            Value::Interval("P1Y2M3DT4H5M6.789S".into()),
            opaque("{{1,2},{3,NULL}}"),
            opaque("{abc,\"x  \"}"),
            opaque("{01,10}"),
            opaque("1.2.3.4"),
            opaque("(1,2)"),
            text("a name"),
            int(77),
        ],
        vec![Value::Null; 27]
            .into_iter()
            .enumerate()
            .map(|(i, v)| match i {
                0 => int(2),
                26 => int(78),
                _ => v,
            })
            .collect(),
        vec![
            int(3),
            Value::Bool(false),
            int(1),
            Value::Double(-0.0),
            Value::Float(0.1),
            Value::Decimal(format!("{}.{}", "9".repeat(200), "1".repeat(200)).into()),
            Value::Decimal("-0.01".into()),
            text("x"),
            text(""),
            Value::Bit("000".into()),
            Value::Bit("111111111".into()),
            Value::Bytes(vec![].into()),
            Value::Date("infinity".into()),
            Value::Time("00:00:00".into()),
            Value::Timestamp("294276-12-31 23:59:59.999".into()),
            Value::TimestampTz("4713-11-24 00:00:00 BC".into()),
            Value::Uuid([0; 16]),
            Value::Json("null".into()),
            Value::Json("\"é\"".into()),
            Value::Interval("PT0S".into()),
            opaque("{}"),
            opaque("{}"),
            opaque("{}"),
            opaque("::1/64"),
            opaque("(0,-0.5)"),
            text(""),
            int(79),
        ],
    ];
    round_trip(&mut bench, rows).await;
    // The server counts an identity; ours is set all the same.
    bench.begin().await;
    let local = bench
        .target
        .read(&bench.shape, &[key(3)])
        .await
        .remove(0)
        .row
        .unwrap();
    assert_eq!(local.get(26), Some(&int(79)));
    bench.commit().await;
}

async fn round_trip(bench: &mut Bench, rows: Vec<Vec<Value>>) {
    let count = rows.len();
    let complete = |cells: &[Value]| -> Row {
        // The last column is generated.
        cells.iter().cloned().map(Some).chain([None]).collect()
    };
    let inserts: Vec<Write> = rows
        .iter()
        .map(|cells| Write {
            key: Box::new([cells[0].clone()]),
            op: WriteOp::Insert { row: complete(cells) },
        })
        .collect();
    assert_eq!(bench.attempt(&inserts).await, vec![true; count]);
    check(bench, &rows).await;
    // Each row takes the next one's cells, first all at once, then one by one.
    for (turn, single) in [(1, false), (2, true)] {
        let turned: Vec<Vec<Value>> = (0..count)
            .map(|index| {
                let mut cells = rows[(index + turn) % count].clone();
                cells[0] = rows[index][0].clone();
                cells
            })
            .collect();
        let updates: Vec<Write> = turned
            .iter()
            .map(|cells| Write {
                key: Box::new([cells[0].clone()]),
                op: WriteOp::Update {
                    row: complete(cells),
                    base: None,
                    here: None,
                },
            })
            .collect();
        for part in updates.chunks(if single { 1 } else { count }) {
            if bench.attempt(part).await.contains(&false) {
                // An identity column takes no update: the row is replaced.
                let written = bench.write(part).await;
                assert!(
                    written.iter().all(|written| *written == Written::Done),
                    "{written:?}"
                );
                assert!(bench.kind.is_postgres());
            }
        }
        check(bench, &turned).await;
    }
    let back: Vec<Write> = inserts
        .iter()
        .map(|write| match &write.op {
            WriteOp::Insert { row } => Write {
                key: write.key.clone(),
                op: WriteOp::Update {
                    row: row.clone(),
                    base: None,
                    here: None,
                },
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        bench
            .write(&back)
            .await
            .iter()
            .all(|written| *written == Written::Done)
    );
    check(bench, &rows).await;
}

async fn check(bench: &mut Bench, rows: &[Vec<Value>]) {
    bench.begin().await;
    let keys: Vec<Key> = rows
        .iter()
        .map(|cells| -> Key { Box::new([cells[0].clone()]) })
        .collect();
    let found = bench.target.read(&bench.shape, &keys).await;
    bench.commit().await;
    for (cells, local) in rows.iter().zip(found) {
        let found = local.row.unwrap();
        for (index, expected) in cells.iter().enumerate() {
            let column = &bench.shape.table.columns[index].name;
            let (mut a, mut b) = (Vec::new(), Vec::new());
            expected.key_bytes(&mut a);
            found.get(index).unwrap().key_bytes(&mut b);
            assert!(
                a == b,
                "{column}: {:?} came back as {:?}",
                short(expected),
                short(found.get(index).unwrap())
            );
        }
    }
}

fn short(value: &Value) -> String {
    let mut text = format!("{value:?}");
    text.truncate(200);
    text
}
