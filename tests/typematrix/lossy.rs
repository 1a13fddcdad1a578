//! Columns that lose with their owner's consent: the same by the first copy and by the stream, and never without it.

use crate::LIMIT;
use crate::harness::{Kind, Tidelock, database, eventually};

const SOURCE: &str = "CREATE TABLE m (id int PRIMARY KEY, n numeric, s numeric, d double precision, t timestamp(6), z interval, a inet, i bigint)";
const ROWS: &[&str] = &[
    "0.1, 1.005, 0.1, '2024-02-29 12:34:56.999999', '0', '10.0.0.1/8', 9007199254740993",
    "-12345678901234567890.5, -99.995, 1e-30, '9999-12-31 23:59:59.999999', '0', '10.0.0.1', -1",
    "NULL, NULL, NULL, NULL, NULL, NULL, NULL",
];
/// As MariaDB prints them; a FLOAT by its sum with zero.
const LEFT: &[[Option<&str>; 6]] = &[
    [
        Some("0.1"),
        Some("1.01"),
        Some("0.10000000149011612"),
        Some("2024-02-29 12:34:56"),
        Some("10.0.0.1"),
        Some("9.007199254740992e15"),
    ],
    [
        Some("-1.2345678901234567e19"),
        Some("-100.00"),
        Some("1.0000000031710769e-30"),
        Some("9999-12-31 23:59:59"),
        Some("10.0.0.1"),
        Some("-1"),
    ],
    [None, None, None, None, None, None],
];
const LOSSY: &[&str] = &["n", "s", "d", "t", "a", "i"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_needs_consent_and_is_the_same_every_way() {
    let (a, b) = tokio::join!(
        database(Kind::Postgres18, "lossy"),
        database(Kind::Mariadb, "lossy")
    );
    a.exec(SOURCE).await;
    let target = "CREATE TABLE m (id int PRIMARY KEY, n double, s decimal(10,2), d float, t datetime, z varchar(64), a inet4, i double)";
    b.exec(target).await;
    let mut lock = Tidelock::new("");
    let configure = |lock: &Tidelock, columns: &[&str]| {
        let columns: Vec<String> = columns
            .iter()
            .map(|name| format!("column.{name} = {{ lossy = true }}"))
            .collect();
        lock.configure(&format!(
            "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\nmode = \"transactional\"\n\
             from = \"a\"\ntables = [\"m\"]\nseed = \"from:a\"\n[sync.table.m]\n{}\n",
            a.node(),
            b.node(),
            a.name(),
            columns.join("\n")
        ));
    };
    configure(&lock, &[]);
    let check = lock.run(&["check"]).await.stdout;
    for column in ["n", "i"] {
        let line = format!("[sync.table.m] column.{column} = {{ lossy = true }}");
        assert!(check.contains("E509") && check.contains(&line), "{check}");
    }
    // Nothing of an interval is lost.
    configure(&lock, &[LOSSY, &["z"]].concat());
    let check = lock.run(&["check"]).await.stdout;
    assert!(check.contains("column \"z\" is lossy"), "{check}");
    configure(&lock, LOSSY);
    let insert = |first: usize| {
        let row = move |(n, row)| format!("INSERT INTO m VALUES ({}, {row})", first + n);
        ROWS.iter().enumerate().map(row).collect::<Vec<_>>().join("; ")
    };
    a.exec(&insert(0)).await;
    lock.ok(&["setup", "--execute"]).await;
    let check = lock.run(&["check"]).await.stdout;
    assert!(
        !check.contains("E509") && check.contains("rounded to 2 digits"),
        "{check}"
    );
    lock.spawn();
    eventually(LIMIT, "the first copy", async || b.count("m").await == 3).await;
    a.exec(&insert(10)).await;
    a.exec("UPDATE m SET z = '1 s' WHERE id = 0").await;
    eventually(LIMIT, "the stream", async || {
        assert!(lock.running());
        b.count("m").await == 6 && b.count("m WHERE z = 'PT1S'").await == 1
    })
    .await;
    let columns = "n, s, d + 0e0, t, a, i";
    for first in [0, 10] {
        let found = b
            .rows(&format!(
                "SELECT {columns} FROM m WHERE id BETWEEN {first} AND {first} + 9 ORDER BY id"
            ))
            .await;
        let number = |text: &str| {
            text.parse::<f64>()
                .map_or(text.to_owned(), |number| number.to_string())
        };
        let plain = |row: &[Option<&str>]| row.iter().map(|cell| cell.map(number)).collect::<Vec<_>>();
        for (row, left) in found.iter().zip(LEFT) {
            let row: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
            assert_eq!(plain(&row), plain(left), "rows from {first}");
        }
        assert_eq!(found.len(), LEFT.len());
    }
    assert_eq!(crate::scenario::conflicts_of(&b, a.name()).await.len(), 0);
}
