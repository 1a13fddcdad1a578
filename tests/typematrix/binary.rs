//! Rows that go into PostgreSQL in COPY's binary form are those that come as text: a first copy writes them in the one,
//! the stream in the other.

use crate::LIMIT;
use crate::harness::{Kind, Tidelock, database, eventually};

/// Name, type of MySQL and MariaDB, type of PostgreSQL: all have a binary form.
const COLUMNS: &[[&str; 3]] = &[
    ["truth", "tinyint(1)", "boolean"],
    ["small", "smallint", "smallint"],
    ["large", "bigint", "bigint"],
    ["wide", "bigint unsigned", "numeric(20)"],
    ["exact", "decimal(40,12)", "numeric(40,12)"],
    ["whole", "decimal(30,0)", "numeric"],
    ["short_real", "float", "real"],
    ["long_real", "double", "double precision"],
    ["word", "varchar(40)", "character varying(40)"],
    ["padded", "char(10)", "character(10)"],
    ["words", "text", "text"],
    ["bytes", "blob", "bytea"],
    ["number", "binary(16)", "uuid"],
    ["day", "date", "date"],
    ["moment", "datetime(6)", "timestamp(6) without time zone"],
    ["instant", "timestamp(3) NULL", "timestamp(3) with time zone"],
    ["clock", "time(6)", "time without time zone"],
    ["document", "json", "json"],
];
const ROWS: &[&str] = &[
    "0, -32768, -9223372036854775808, 18446744073709551615, -9999999999999999999999999999.999999999999, \
     999999999999999999999999999999, -3.25e38, 2.2250738585072014e-308, '', '', '', x'', \
     x'00112233445566778899aabbccddeeff', '0001-01-01', '0001-01-01 00:00:00', '1970-01-01 00:00:01', '00:00:00', '{}'",
    "1, 32767, 9223372036854775807, 0, 0.000000000001, -10000, 0.1, -0.1, 'tab\\there', 'é🌊', 'line\\nline\\\\N', \
     x'00ff5c0a', x'ffffffffffffffffffffffffffffffff', '9999-12-31', '9999-12-31 23:59:59.999999', \
     '2038-01-19 03:14:07.4', '23:59:59.999999', '[1, \"a\\\\nb\", null]'",
    "1, 0, 0, 100000000, 10000.0001, 0, 0, 0, ' a ', 'a', ' ', x'00', x'00000000000000000000000000000000', \
     '2000-02-29', '1999-12-31 23:59:59.5', '2000-01-01 00:00:00', '12:34:56.7', '0'",
    "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
];
const COPIED: usize = 1_000;
const STREAMED: usize = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_rows_of_mysql_are_those_of_text() {
    both_ways(Kind::Mysql, Kind::Postgres18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_rows_of_mariadb_are_those_of_text() {
    both_ways(Kind::Mariadb, Kind::Postgres15).await;
}

async fn both_ways(from: Kind, to: Kind) {
    let (a, b) = tokio::join!(database(from, "binary"), database(to, "binary"));
    for (db, place) in [(&a, 1), (&b, 2)] {
        let columns = COLUMNS
            .iter()
            .map(|column| format!(", {} {}", column[0], column[place]));
        let columns: String = columns.collect();
        db.exec(&format!("CREATE TABLE m (id int NOT NULL PRIMARY KEY{columns})"))
            .await;
    }
    let insert = |first: usize| {
        let row = |(n, row): (usize, &&str)| format!("({}, {row})", first + n);
        let rows: Vec<String> = ROWS.iter().enumerate().map(row).collect();
        format!("INSERT INTO m VALUES {}", rows.join(", "))
    };
    a.exec(&insert(COPIED)).await;
    let mut lock = Tidelock::new(&format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\n\
         mode = \"transactional\"\nfrom = \"a\"\ntables = [\"m\"]\nseed = \"from:a\"\n",
        a.node(),
        b.node(),
        a.name()
    ));
    lock.ok(&["setup", "--execute"]).await;
    lock.ok(&["run", "--once"]).await;
    lock.spawn();
    a.exec(&insert(STREAMED)).await;
    eventually(LIMIT, "the stream's rows", async || {
        assert!(lock.running(), "tidelock has ended by itself");
        usize::try_from(b.count(&format!("m WHERE id >= {STREAMED}")).await) == Ok(ROWS.len())
    })
    .await;
    let names: Vec<&str> = COLUMNS.iter().map(|column| column[0]).collect();
    let rows = async |first: usize| {
        let sql = format!(
            "SELECT {} FROM m WHERE id BETWEEN {first} AND {} ORDER BY id",
            names.join(", "),
            first + ROWS.len()
        );
        b.rows(&sql).await
    };
    let (copied, streamed) = (rows(COPIED).await, rows(STREAMED).await);
    assert_eq!(copied.len(), ROWS.len());
    assert_eq!(copied, streamed);
    assert_eq!(b.count("tidelock.conflict").await, 0);
}
