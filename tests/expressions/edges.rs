//! A table of all that expressions are about, on every engine, with what engines see differently: blanks at the end,
//! accents, letters that become several, numbers of many digits, the ends of calendars. Some rows only one engine can hold.

use crate::harness::{Db, Kind};
use crate::written::Random;

pub const ROWS: usize = 60;

/// Name, and its type on PostgreSQL, MySQL and MariaDB.
const COLUMNS: [(&str, [&str; 3], &[&str]); 15] = [
    (
        "n",
        ["bigint"; 3],
        &["0", "1", "-1", "7", "9223372036854775807", "-9223372036854775808"],
    ),
    ("s", ["smallint"; 3], &["0", "-1", "7", "32767", "-32768"]),
    (
        "u",
        ["numeric(20)", "bigint unsigned", "bigint(30) unsigned zerofill"],
        &["0", "1", "18446744073709551615", "7"],
    ),
    (
        "big",
        ["numeric(30,10)", "decimal(30,10)", "decimal(30,10)"],
        &[
            "0",
            "-0.0",
            "7.5",
            "12.34",
            "-99999999999999999999.0000000001",
            "0.0000000001",
        ],
    ),
    (
        "price",
        ["numeric(10,2)", "decimal(10,2)", "decimal(10,2)"],
        &["0.01", "-7.50", "99999999.99", "0"],
    ),
    (
        "free",
        ["numeric", "decimal(40,12)", "decimal(40,12)"],
        &[
            "0",
            "7.500",
            "-0.000000000001",
            "1234567890123456789012345678.123456789012",
        ],
    ),
    ("flag", ["boolean", "bit(1)", "bit(1)"], &["TRUE", "FALSE"]),
    (
        "name",
        [
            "text COLLATE \"und-x-icu\"",
            "varchar(200) COLLATE utf8mb4_0900_ai_ci",
            "varchar(200) COLLATE utf8mb4_general_ci",
        ],
        &[
            "''",
            "' '",
            "'a'",
            "'A'",
            "'a '",
            "' a'",
            "'ab  '",
            "'é'",
            "'É'",
            "'straße'",
            "'STRASSE'",
            "'it''s'",
            "'😀'",
            "'x😀y'",
            "'İstanbul'",
            "'ıI'",
            "'Ωmega ᾳ'",
            "'tab\t'",
            "'50%'",
            "'a_b'",
            "'back\\slash'",
            "'ǅ ŉ ﬁ'",
        ],
    ),
    (
        "latin",
        [
            "varchar(40)",
            "varchar(40) CHARACTER SET latin1",
            "varchar(40) CHARACTER SET latin1",
        ],
        &["''", "'a'", "'A '", "'É'", "'é'", "'ß'", "'new'", "'ÿ'"],
    ),
    (
        "code",
        ["char(6)", "char(6)", "char(6)"],
        &["''", "'EU'", "'eu'", "'a'", "'it''s'", "' EU'", "'é'"],
    ),
    (
        "kind",
        ["kind", "enum('new','open','Done')", "enum('new','open','Done')"],
        &["'new'", "'open'", "'Done'"],
    ),
    (
        "day",
        ["date"; 3],
        &[
            "'2026-02-28'",
            "'2024-02-29'",
            "'0001-01-01'",
            "'9999-12-31'",
            "'1970-01-01'",
            "'2000-10-31'",
        ],
    ),
    (
        "at",
        ["timestamp(6)", "datetime(6)", "datetime(6)"],
        &[
            "'2026-02-28 12:00:00'",
            "'2026-02-28 12:00:00.000001'",
            "'2026-02-28 23:59:59.999999'",
            "'1000-01-01 00:00:00'",
            "'9999-12-31 23:59:59.999999'",
        ],
    ),
    (
        "seen",
        ["timestamptz(6)", "timestamp(6) NULL", "timestamp(6) NULL"],
        &[
            "'2026-02-28 12:00:00'",
            "'1970-01-01 00:00:01'",
            "'2038-01-19 03:14:07'",
            "'2026-02-28 00:00:00.5'",
        ],
    ),
    (
        "clock",
        ["time(6)"; 3],
        &["'00:00:00'", "'13:05:00.5'", "'23:59:59.999999'", "'24:00:00'"],
    ),
];

/// What only one engine holds: columns and values.
const OF_POSTGRES: [&str; 5] = [
    "big, free, name) VALUES (1000, 'NaN', 'NaN', 'nan'",
    "free, name) VALUES (1001, 'Infinity', 'up'",
    "free, day) VALUES (1002, '-Infinity', '-infinity'",
    "day, at, seen) VALUES (1003, 'infinity', 'infinity', '-infinity'",
    "day, at, seen) VALUES (1004, '0044-03-15 BC', '0001-12-31 23:00:00 BC', '12026-01-01 00:00:00'",
];
const OF_MYSQL: [&str; 4] = [
    "day, at, clock) VALUES (2000, '0000-00-00', '0000-00-00 00:00:00', '-10:20:30.5'",
    "day, clock) VALUES (2001, '2026-00-00', '838:59:59'",
    "day, clock) VALUES (2002, '2026-02-31', '-838:59:59'",
    "day, clock) VALUES (2003, '2026-05-00', '-00:00:01'",
];

fn place(kind: Kind) -> usize {
    match kind {
        Kind::Mysql => 1,
        Kind::Mariadb => 2,
        _ => 0,
    }
}

pub async fn create(db: &Db, seed: u64) {
    let place = place(db.kind());
    if place == 0 {
        db.exec("CREATE TYPE kind AS ENUM ('new', 'open', 'Done')").await;
    } else {
        db.exec(
            "SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES'",
        )
        .await;
    }
    let body = COLUMNS.map(|(name, types, _)| format!("{name} {}", types[place]));
    let float = ["double precision", "double", "double"][place];
    let body = body.join(", ");
    db.exec(&format!(
        "CREATE TABLE edge (id int PRIMARY KEY, {body}, f {float})"
    ))
    .await;
    let mut random = Random::new(seed);
    let mut rows = Vec::new();
    for id in 0..ROWS {
        let cells = COLUMNS.map(|(_, _, values)| match random.below(8) {
            0 => "NULL",
            // Each value comes once at least.
            _ if id < values.len() => values[id],
            _ => random.one(values),
        });
        rows.push(format!("({id}, {}, 1.5)", cells.join(", ")));
    }
    db.exec(&format!("INSERT INTO edge VALUES {}", rows.join(", ")))
        .await;
    let own: &[&str] = if place == 0 { &OF_POSTGRES } else { &OF_MYSQL };
    for row in own {
        db.exec(&format!("INSERT INTO edge (id, {row})")).await;
    }
}
