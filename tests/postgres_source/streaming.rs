//! Transactions that the server sends while they run: whatever was rolled back of them never happened, each arrives once
//! and whole when it commits, in commit order. The oracle is the same log read without streaming, where the server
//! sorts it out itself.

use super::*;
use std::time::Instant;
use tidelock::spill::Space;

on_both_servers! {
    rolled_back_savepoints_never_happened,
    transactions_that_alternate_keep_apart,
    streamed_markers_open_segments,
    a_marker_that_may_be_rolled_back_is_refused,
    a_reconnect_in_the_middle_neither_loses_nor_doubles,
    descriptions_hold_for_their_transaction_and_the_last_one_for_all,
    dropped_waits_lose_nothing_on_the_way_through_the_disk,
    random_sessions_look_as_without_streaming,
}

const SCHEMA: &str =
    "CREATE TABLE a (id int PRIMARY KEY, word text); CREATE TABLE b (id int PRIMARY KEY, word text);
                      CREATE TABLE other (id int PRIMARY KEY, word text)";

/// Everything above a few hundred rows is streamed; from PostgreSQL 16 on the server can also be told to stream at once.
async fn server(kind: Kind, at_once: bool) -> Db {
    let mut extra = vec!["logical_decoding_work_mem=64kB".to_owned()];
    if at_once && kind != Kind::Postgres15 {
        extra.push("debug_logical_replication_streaming=immediate".to_owned());
    }
    let options = Options {
        extra,
        ..Options::default()
    };
    private(kind, &options).await.with_accounts().await
}

async fn reader(db: &Db, tables: &[&str]) -> (SourceOptions, Position, Source) {
    db.exec(SCHEMA).await;
    publish(db, tables).await;
    let options = options(db, tables, Mode::Transactional).await;
    let from = snapshot::start_position(&options).await.unwrap();
    let source = Source::open(options.clone(), &from).await.unwrap();
    (options, from, source)
}

fn rows(table: &str, ids: std::ops::Range<i32>) -> String {
    format!(
        "INSERT INTO {table} SELECT n, repeat('w', 100) FROM generate_series({}, {}) n;",
        ids.start,
        ids.end - 1
    )
}

/// Reads on until something of an open transaction was streamed here. Nothing must be yielded of it.
async fn streamed(source: &mut Source, space: &Space, more_than: (usize, u64)) {
    let start = Instant::now();
    while space.used().0 <= more_than.0 || space.used().1 < more_than.1 {
        assert!(start.elapsed() < LIMIT, "nothing is streamed");
        if let Ok(step) = tokio::time::timeout(Duration::from_millis(20), source.next()).await {
            match step.unwrap() {
                Step::Idle { .. } => {}
                Step::Part(part) => panic!("{} changes of an open transaction", part.changes.len()),
            }
        }
    }
}

/// The first column of every change, by transaction.
fn ids(parts: &[Part]) -> Vec<Vec<i64>> {
    let mut transactions = vec![Vec::new()];
    for part in parts {
        let current = transactions.last_mut().unwrap();
        assert_eq!(part.first, current.len() as u64, "ordinals go on");
        for change in &part.changes {
            let (Op::Insert { new: row } | Op::Update { new: row, .. } | Op::Delete { old: row }) =
                &change.op
            else {
                panic!("{change:?}")
            };
            let Some(Value::Int(id)) = row.get(0) else {
                panic!("{row:?}")
            };
            current.push(*id);
        }
        if part.end.is_some() {
            transactions.push(Vec::new());
        }
    }
    assert!(transactions.pop().unwrap().is_empty());
    transactions
}

fn all(range: std::ops::Range<i64>) -> Vec<i64> {
    range.collect()
}

fn span(ranges: &[std::ops::Range<i64>]) -> Vec<i64> {
    ranges.iter().cloned().flatten().collect()
}

async fn rolled_back_savepoints_never_happened(kind: Kind) {
    let db = server(kind, false).await;
    let (options, _, mut source) = reader(&db, &["a", "b"]).await;
    let mut session = db.session().await;
    session
        .exec(
            &[
                "BEGIN;",
                &rows("a", 1..3001),
                "SAVEPOINT s1;",
                &rows("a", 10_001..13_001),
                &rows("other", 1..3001),
            ]
            .join(" "),
        )
        .await;
    streamed(&mut source, &options.spill, (0, 0)).await;
    session
        .exec(
            &[
                "ROLLBACK TO s1;",
                &rows("a", 20_001..20_101),
                "SAVEPOINT s2;",
                &rows("b", 30_001..33_001),
                "RELEASE s2; SAVEPOINT s3; SAVEPOINT s4;",
                &rows("b", 40_001..43_001),
                "RELEASE s4; ROLLBACK TO s3;",
                &rows("b", 50_001..50_002),
                "COMMIT",
            ]
            .join(" "),
        )
        .await;
    session
        .exec(&["BEGIN;", &rows("a", 60_000..69_000), "ROLLBACK"].join(" "))
        .await;
    session.exec(&rows("a", 70_000..70_001)).await;
    let (parts, _) = drain(&db, &mut source).await;
    let wanted = [1..3001, 20_001..20_101, 30_001..33_001, 50_001..50_002];
    assert_eq!(ids(&parts), [span(&wanted), all(70_000..70_001)]);
    assert!(parts.iter().all(|part| part.bytes <= 1024 * 1024 + 1024));
    assert!(parts[0].head.committed_at_us > 1_700_000_000_000_000);
    assert_eq!(options.spill.used(), (0, 0));
}

async fn transactions_that_alternate_keep_apart(kind: Kind) {
    let db = server(kind, false).await;
    let (options, _, mut source) = reader(&db, &["a", "b"]).await;
    let mut sessions = [db.session().await, db.session().await, db.session().await];
    for (number, session) in (1..).zip(&mut sessions) {
        session.exec("BEGIN").await;
        session
            .exec(&rows("a", number * 100_000..number * 100_000 + 2000))
            .await;
    }
    for (number, session) in (1..).zip(&mut sessions) {
        session
            .exec(&rows("b", number * 100_000..number * 100_000 + 2000))
            .await;
        db.exec(&rows("a", number..number + 1)).await;
    }
    // Small ones pass by; the large ones wait for their COMMIT.
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(ids(&parts), [[1], [2], [3]]);
    assert!(options.spill.used().0 > 3 * 100 * 2000);
    sessions[2].exec("COMMIT").await;
    sessions[0].exec("ROLLBACK").await;
    sessions[1].exec("COMMIT").await;
    let (parts, end) = drain(&db, &mut source).await;
    let both = |number: i64| {
        let range = number * 100_000..number * 100_000 + 2000;
        span(&[range.clone(), range])
    };
    assert_eq!(ids(&parts), [both(3), both(2)]);
    assert_eq!(options.spill.used(), (0, 0));
    source.confirm(&end);
}

async fn streamed_markers_open_segments(kind: Kind) {
    let db = server(kind, false).await;
    let (options, _, mut source) = reader(&db, &["a", "b"]).await;
    let echo = marker(3).replace("it''s", db.name());
    db.exec(
        &[
            "BEGIN;".to_owned(),
            marker(1),
            "SAVEPOINT s;".to_owned(),
            rows("a", 1..2001),
            "ROLLBACK TO s;".to_owned(),
            rows("a", 2001..4001),
            marker(2),
            rows("a", 4001..4002),
            echo,
            rows("a", 5000..9000),
            marker(4),
            rows("b", 1..2),
            "COMMIT".to_owned(),
        ]
        .concat(),
    )
    .await;
    // In the middle, but nothing was rolled back.
    db.exec(&[rows("b", 10_000..12_000), marker(5), rows("b", 12_000..12_001)].concat())
        .await;
    let (parts, _) = drain(&db, &mut source).await;
    let mut seen: Vec<(i64, usize, usize)> = Vec::new();
    for part in &parts {
        let seq = match &part.writer {
            Writer::User => 0,
            Writer::Tidelock(marker) => marker.seq,
        };
        match seen.last_mut().filter(|last| last.0 == seq) {
            Some(last) => (last.1, last.2) = (last.1 + part.changes.len(), last.2 + part.bytes),
            None => seen.push((seq, part.changes.len(), part.bytes)),
        }
    }
    let counts: Vec<_> = seen.iter().map(|(seq, changes, _)| (*seq, *changes)).collect();
    assert_eq!(counts, [(1, 2000), (2, 1), (3, 0), (4, 1), (0, 2000), (5, 1)]);
    assert!(
        seen[2].2 > 4000 * 100,
        "echoes are counted, not kept: {} bytes",
        seen[2].2
    );
    assert_eq!(options.spill.used(), (0, 0));
}

async fn a_marker_that_may_be_rolled_back_is_refused(kind: Kind) {
    let db = server(kind, false).await;
    let (options, from, mut source) = reader(&db, &["a", "b"]).await;
    db.exec(
        &[
            "BEGIN;".to_owned(),
            rows("a", 1..2001),
            "SAVEPOINT s;".to_owned(),
            marker(1),
            rows("a", 2001..4001),
            "ROLLBACK TO s;".to_owned(),
            rows("a", 4001..4002),
            "COMMIT".to_owned(),
        ]
        .concat(),
    )
    .await;
    let error = loop {
        match step(&mut source).await {
            Ok(Step::Idle { .. }) => {}
            Ok(Step::Part(part)) => panic!("{} changes", part.changes.len()),
            Err(error) => break error,
        }
    };
    assert!(!error.is_transient(), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("limits.stream = false"), "{hint}");
    drop(source);
    let options = SourceOptions {
        stream: false,
        keep: None,
        ..options
    };
    let mut source = reopen(&options, &from).await;
    let (parts, _) = drain(&db, &mut source).await;
    assert!(parts.iter().all(|part| part.writer == Writer::User));
    assert_eq!(ids(&parts), [span(&[1..2001, 4001..4002])]);
}

async fn a_reconnect_in_the_middle_neither_loses_nor_doubles(kind: Kind) {
    let mut db = server(kind, false).await;
    let (options, from, mut source) = reader(&db, &["a", "b"]).await;
    let mut session = db.session().await;
    session.exec(&["BEGIN;", &rows("a", 1..3001)].concat()).await;
    streamed(&mut source, &options.spill, (0, 0)).await;
    drop(source);
    assert_eq!(
        options.spill.used(),
        (0, 0),
        "what was streamed goes with the connection"
    );
    session.exec(&rows("a", 3001..6001)).await;
    let mut source = reopen(&options, &from).await;
    streamed(&mut source, &options.spill, (300_000, 0)).await;
    session.exec("COMMIT").await;
    // Lost again while it is being read.
    let first = loop {
        if let Step::Part(part) = step(&mut source).await.unwrap() {
            break part;
        }
    };
    assert!(first.end.is_none() || first.changes.len() == 6000);
    drop(source);
    let mut source = reopen(&options, &from).await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(ids(&parts), [all(1..6001)]);
    // A server that dies takes its open transactions with it.
    let mut session = db.session().await;
    session.exec(&["BEGIN;", &rows("b", 1..3001)].concat()).await;
    streamed(&mut source, &options.spill, (0, 0)).await;
    db.server().kill().await;
    db.server().restart().await.unwrap();
    let error = loop {
        match step(&mut source).await {
            Ok(Step::Idle { .. }) => {}
            Ok(Step::Part(part)) => panic!("{} changes", part.changes.len()),
            Err(error) => break error,
        }
    };
    assert!(error.is_transient(), "{error}");
    drop(source);
    let mut source = reopen(&options, &from).await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(ids(&parts), [all(1..6001)]);
}

async fn descriptions_hold_for_their_transaction_and_the_last_one_for_all(kind: Kind) {
    let db = server(kind, false).await;
    let (options, _, mut source) = reader(&db, &["a", "b"]).await;
    let mut long = db.session().await;
    // `b` is described in a savepoint that is rolled back, which lets others alter it meanwhile.
    long.exec(&["BEGIN; SAVEPOINT s;", &rows("b", 1..2001)].concat())
        .await;
    streamed(&mut source, &options.spill, (0, 0)).await;
    long.exec(&["ROLLBACK TO s;", &rows("a", 1..2)].concat()).await;
    db.exec("ALTER TABLE b DROP word; ALTER TABLE b ADD n int").await;
    db.exec("INSERT INTO b VALUES (1, 7)").await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(story(&parts), "b+1,7 |");
    long.exec("COMMIT").await;
    db.exec("INSERT INTO b VALUES (3, 9)").await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(story(&parts), format!("a+1,{}..100 | b+3,9 |", "www"));
    let b = &parts[1].changes[0].table;
    assert_eq!(b.columns[1].name, "n", "what was described last holds");
    // Tables that change within the transaction.
    db.exec(
        &[
            "BEGIN; SAVEPOINT t; ALTER TABLE a ADD gone int;",
            &rows("a", 11..2001).replace("repeat('w', 100)", "repeat('w', 100), 1"),
            "ROLLBACK TO t; ALTER TABLE a ADD kept text DEFAULT 'k';",
            &rows("a", 3001..5001),
            "COMMIT; INSERT INTO a VALUES (9000, 'x', 'y')",
        ]
        .concat(),
    )
    .await;
    let (parts, _) = drain(&db, &mut source).await;
    let told = story(&parts);
    let end = told.split(' ').skip(1999).collect::<Vec<_>>().join(" ");
    assert!(told.starts_with("a+3001,www..100,k a+3002,www..100,k "), "{end}");
    assert_eq!(end, "a+5000,www..100,k | a+9000,x,y |");
}

async fn dropped_waits_lose_nothing_on_the_way_through_the_disk(kind: Kind) {
    let db = server(kind, false).await;
    let (options, _, mut source) = reader(&db, &["a", "b"]).await;
    let writer = db.session().await;
    let writing = tokio::spawn(async move {
        let mut writer = writer;
        writer.exec("BEGIN").await;
        for block in 0..20 {
            let insert = rows("a", block * 2000..block * 2000 + 2000).replace("'w', 100", "'w', 500");
            writer.exec(&insert).await;
        }
        writer.exec("COMMIT").await;
    });
    let (mut found, mut most, mut wait) = (Vec::new(), 0, 0);
    let start = Instant::now();
    while found.last() != Some(&39_999) {
        assert!(start.elapsed() < LIMIT, "{} of 40000 changes", found.len());
        wait = (wait + 37) % 900;
        if let Ok(step) = tokio::time::timeout(Duration::from_micros(wait), source.next()).await
            && let Step::Part(part) = step.unwrap()
        {
            found.extend(part.changes.iter().map(|change| match &change.op {
                Op::Insert { new } => match new.get(0) {
                    Some(Value::Int(id)) => *id,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }));
        }
        let (memory, disk) = options.spill.used();
        assert!(memory < (8 << 20) + (1 << 20), "{memory} bytes in memory");
        most = most.max(disk);
    }
    writing.await.unwrap();
    assert!(found == all(0..40_000), "{} changes", found.len());
    assert!(most > 8 << 20, "{most} bytes went to the disk");
    assert!(drain(&db, &mut source).await.0.is_empty());
}

/// A small generator, so that a failure can be told by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn random_sessions_look_as_without_streaming(kind: Kind) {
    let db = server(kind, true).await;
    let (options, from, mut source) = reader(&db, &["a", "b"]).await;
    let oracle = SourceOptions {
        target: "oracle".to_owned(),
        stream: false,
        keep: None,
        ..options.clone()
    };
    let also_from = snapshot::start_position(&oracle).await.unwrap();
    let mut plain = Source::open(oracle, &also_from).await.unwrap();
    let seed = std::env::var("TIDELOCK_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let mut dice = Dice(seed);
    let mut sessions = vec![];
    for _ in 0..3 {
        sessions.push((db.session().await, Vec::<u32>::new(), false));
    }
    let mut next = 0;
    for _ in 0..250 {
        let place = dice.roll(3) as usize;
        let (session, savepoints, open) = &mut sessions[place];
        if !*open {
            session.exec("BEGIN").await;
            *open = true;
        }
        // Each session has its own keys, so that none waits for another.
        let table = ["a", "b", "other"][dice.roll(3) as usize];
        let own = format!("id % 3 = {place} AND id % 7 = {}", dice.roll(7));
        let statement = match dice.roll(12) {
            0..=4 => {
                let rows = [1, 3, 40, 400][dice.roll(4) as usize];
                let first = next;
                next += rows * 3;
                format!(
                    "INSERT INTO {table} SELECT {first} + n * 3 + (({place} - {first} % 3 + 3) % 3), \
                     repeat(chr(97 + (n % 26)::int), 1 + (n * 37 % 300)::int) FROM generate_series(0, {rows} - 1) n"
                )
            }
            5 => format!("UPDATE {table} SET word = word || '!' WHERE {own}"),
            6 => format!("DELETE FROM {table} WHERE {own}"),
            7 | 8 => {
                savepoints.push(next as u32);
                next += 3;
                format!("SAVEPOINT s{}", savepoints[savepoints.len() - 1])
            }
            9 if !savepoints.is_empty() => {
                let at = dice.roll(savepoints.len() as u64) as usize;
                savepoints.truncate(at + 1);
                format!("ROLLBACK TO s{}", savepoints[at])
            }
            10 if !savepoints.is_empty() => {
                let at = dice.roll(savepoints.len() as u64) as usize;
                let name = savepoints[at];
                savepoints.truncate(at);
                format!("RELEASE s{name}")
            }
            end => {
                savepoints.clear();
                *open = false;
                if end == 11 { "COMMIT" } else { "ROLLBACK" }.to_owned()
            }
        };
        session.exec(&statement).await;
    }
    for (session, _, _) in &mut sessions {
        session.exec("COMMIT").await;
    }
    let (streamed, _) = drain(&db, &mut source).await;
    let (wanted, _) = drain(&db, &mut plain).await;
    let told = |parts: &[Part]| story(parts);
    assert!(told(&wanted).len() > 1000, "seed {seed}: nothing happened");
    assert!(told(&streamed) == told(&wanted), "seed {seed}");
    let ordinals = |parts: &[Part]| -> Vec<u64> {
        let counted = parts.iter().flat_map(|part| (part.first..).zip(&part.changes));
        counted.map(|(ordinal, _)| ordinal).collect()
    };
    assert_eq!(ordinals(&streamed), ordinals(&wanted), "seed {seed}");
    assert_eq!(options.spill.used(), (0, 0));
    assert!(from.covers(&from).unwrap());
}
