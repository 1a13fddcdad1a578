//! The PostgreSQL reading side against real servers: what was written, rolled back, marked, moved, truncated arrives
//! as it must; a link goes on exactly where it stood; the first copy meets the stream without gap.
#![allow(clippy::unwrap_used)]

mod harness;

use bytestring::ByteString;
use harness::{Db, Kind, Options, access, database, private};
use std::sync::Arc;
use std::time::Duration;
use tidelock::access::{Access, Secret, SourceOptions, TlsMode};
use tidelock::error::{Error, Reason};
use tidelock::model::change::{Op, Part, Step, Writer};
use tidelock::model::origin::{Marker, Segment};
use tidelock::model::position::{Position, parse_lsn};
use tidelock::model::schema::{ColumnType, Table, TableId};
use tidelock::model::sync::{Mode, publication_name, slot_name};
use tidelock::model::value::{Row, Value};
use tidelock::postgres::replication::Replication;
use tidelock::postgres::snapshot::{self, Snapshot};
use tidelock::postgres::source::Source;
use tidelock::postgres::{catalog, codec, connect};

const LIMIT: Duration = Duration::from_secs(30);

macro_rules! on_both_servers {
    ($($name:ident),* $(,)?) => {
        mod postgres18 { $(#[tokio::test] async fn $name() { super::$name(super::Kind::Postgres18).await; })* }
        mod postgres15 { $(#[tokio::test] async fn $name() { super::$name(super::Kind::Postgres15).await; })* }
    };
}

on_both_servers! {
    transactions_rollbacks_and_savepoints,
    changed_keys_bring_the_old_one,
    toast_is_not_sent_or_filled_from_the_old_row,
    markers_open_segments,
    broken_markers_stop,
    large_transactions_come_in_bounded_parts,
    truncate_is_told,
    a_restart_neither_loses_nor_doubles,
    dropped_waits_lose_nothing,
    positions_that_cannot_be_served_are_refused,
    a_slot_in_use_names_its_reader,
    publications_are_checked,
    merge_needs_whole_rows,
    keys_must_be_in_the_identity,
    every_type_decodes_to_what_the_server_means,
    the_first_copy_meets_the_stream,
    a_broken_first_copy_is_made_again,
    confirming_moves_the_slot_and_nothing_else_does,
    a_table_that_changes_is_described_anew,
}

#[path = "postgres_source/prepared.rs"]
mod prepared;
#[path = "postgres_source/streaming.rs"]
mod streaming;

/// The sync `s` of these tables of schema `public`, read for node `peer`.
async fn options(db: &Db, tables: &[&str], mode: Mode) -> SourceOptions {
    let ids: Vec<TableId> = tables.iter().map(|name| TableId::new("public", *name)).collect();
    db.grant(&ids, false).await;
    let access = access("pg", &db.run_url());
    let client = connect(&access).await.unwrap();
    let found = catalog::tables(&client, &ids).await.unwrap();
    // Slots are of the server, and many tests share it.
    let sync = db.name().to_owned();
    SourceOptions {
        access,
        sync,
        target: "peer".to_owned(),
        tables: found.into_iter().map(|table| Arc::new(table.unwrap())).collect(),
        mode,
        onward: None,
        fresh: true,
        spill: tidelock::spill::Space::default(),
        stream: true,
        keep: None,
    }
}

async fn publish(db: &Db, tables: &[&str]) {
    let name = publication_name(db.name());
    // PostgreSQL 18 refuses updates of a table whose FULL identity has generated columns that are not published.
    let generated = match db.kind() {
        Kind::Postgres18 => " WITH (publish_generated_columns = stored)",
        _ => "",
    };
    let tables = tables.join(", ");
    db.exec(&format!(
        "CREATE PUBLICATION {name} FOR TABLE {tables}{generated}"
    ))
    .await;
}

/// A database with these tables, published, and a source that stands at the end of its log.
async fn stream(kind: Kind, schema: &str, tables: &[&str], mode: Mode) -> (Db, SourceOptions, Source) {
    let db = database(kind, "pgsource").await.with_accounts().await;
    db.exec(schema).await;
    publish(&db, tables).await;
    let options = options(&db, tables, mode).await;
    let from = snapshot::start_position(&options).await.unwrap();
    let source = Source::open(options.clone(), &from).await.unwrap();
    (db, options, source)
}

/// Throw-away servers commit without waiting for their log, so something is flushed first.
async fn log_end(db: &Db) -> u64 {
    db.exec("SET LOCAL synchronous_commit = on; SELECT pg_logical_emit_message(true, 'flush', '')")
        .await;
    parse_lsn(&db.one("SELECT pg_current_wal_flush_lsn()::text").await).unwrap()
}

async fn step(source: &mut Source) -> Result<Step, Error> {
    tokio::time::timeout(LIMIT, source.next())
        .await
        .expect("the source is silent")
}

/// Every part up to the present end of the log, and where it ends.
async fn drain(db: &Db, source: &mut Source) -> (Vec<Part>, Position) {
    let end = Position::Lsn(log_end(db).await);
    let mut parts = Vec::new();
    loop {
        let position = match step(source).await.unwrap() {
            Step::Part(part) => {
                let position = part.end.clone();
                parts.push(part);
                position
            }
            Step::Idle { position, .. } => Some(position),
        };
        if let Some(position) = position.filter(|position| position.covers(&end).unwrap()) {
            return (parts, position);
        }
    }
}

fn cell(value: Option<&Value>, ty: &ColumnType) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) => codec::encode(value, ty).map_or("NULL".to_owned(), |text| {
            if text.len() > 20 {
                format!("{}..{}", &text[..3], text.len())
            } else {
                text.into_owned()
            }
        }),
    }
}

fn row(table: &Table, row: &Row) -> String {
    let cells = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| cell(row.get(index), &column.ty));
    cells.collect::<Vec<_>>().join(",")
}

/// `t+1,a t:1,-=>2,a t-2,- |` with `|` at the end of each transaction and `(x)` before what marker x wrote.
fn story(parts: &[Part]) -> String {
    let mut story = Vec::new();
    for part in parts {
        if let Writer::Tidelock(marker) = &part.writer {
            story.push(format!("({})", marker.seq));
        }
        for change in &part.changes {
            let (table, name) = (&change.table, &change.table.id.name);
            story.push(match &change.op {
                Op::Insert { new } => format!("{name}+{}", row(table, new)),
                Op::Update { old: None, new } => format!("{name}=>{}", row(table, new)),
                Op::Update { old: Some(old), new } => {
                    format!("{name}:{}=>{}", row(table, old), row(table, new))
                }
                Op::Delete { old } => format!("{name}-{}", row(table, old)),
                Op::Truncate => format!("{name}!"),
            });
        }
        if part.end.is_some() {
            story.push("|".to_owned());
        }
    }
    story.join(" ")
}

const TWO: &str =
    "CREATE TABLE a (id int PRIMARY KEY, word text); CREATE TABLE b (id int PRIMARY KEY, a int);
                   CREATE TABLE other (id int PRIMARY KEY)";

async fn transactions_rollbacks_and_savepoints(kind: Kind) {
    let (db, _, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    db.exec("INSERT INTO a VALUES (1, 'x'); INSERT INTO b VALUES (1, 1), (2, NULL)")
        .await;
    db.exec("BEGIN; INSERT INTO a VALUES (9, 'no'); ROLLBACK").await;
    db.exec("BEGIN; COMMIT").await;
    db.exec("INSERT INTO other VALUES (1)").await;
    db.exec(
        "BEGIN; UPDATE a SET word = 'y'; SAVEPOINT s; INSERT INTO a VALUES (8, 'no'); ROLLBACK TO s;
             INSERT INTO a VALUES (2, 'z'); RELEASE s; INSERT INTO other VALUES (2); COMMIT",
    )
    .await;
    db.exec("DELETE FROM b WHERE id = 1").await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(story(&parts), "a+1,x b+1,1 b+2,NULL | a=>1,y a+2,z | b-1,- |");
    let firsts: Vec<u64> = parts.iter().map(|part| part.first).collect();
    assert_eq!(firsts, [0, 0, 0]);
    assert_ne!(parts[0].head.transaction, parts[1].head.transaction);
    assert!(parts[1].head.committed_at_us > 1_700_000_000_000_000);
    let a = |part: usize, change: usize| &parts[part].changes[change].table;
    assert!(
        Arc::ptr_eq(a(0, 0), a(1, 0)),
        "unchanged tables share one description"
    );
    assert_eq!(a(0, 0).key, [0]);
    assert_eq!(a(0, 0).columns[0].sql_type, "integer", "known to the catalog");
}

async fn changed_keys_bring_the_old_one(kind: Kind) {
    let schema = "CREATE TABLE a (id int PRIMARY KEY, word text); CREATE TABLE f (id int PRIMARY KEY, word text);
                  ALTER TABLE f REPLICA IDENTITY FULL; INSERT INTO a VALUES (1, 'x'); INSERT INTO f VALUES (1, NULL)";
    let (db, _, mut source) = stream(kind, schema, &["a", "f"], Mode::Transactional).await;
    db.exec("UPDATE a SET id = 2; UPDATE f SET id = 2; DELETE FROM a; DELETE FROM f")
        .await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(story(&parts), "a:1,-=>2,x f:1,NULL=>2,NULL a-2,- f-2,NULL |");
}

async fn toast_is_not_sent_or_filled_from_the_old_row(kind: Kind) {
    let schema = "CREATE TABLE d (id int PRIMARY KEY, n int, big text); ALTER TABLE d ALTER big SET STORAGE EXTERNAL;
                  CREATE TABLE f (id int PRIMARY KEY, n int, big text); ALTER TABLE f ALTER big SET STORAGE EXTERNAL;
                  ALTER TABLE f REPLICA IDENTITY FULL;
                  INSERT INTO d VALUES (1, 1, repeat('x', 9000)); INSERT INTO f VALUES (1, 1, repeat('x', 9000))";
    let (db, options, mut source) = stream(kind, schema, &["d", "f"], Mode::Transactional).await;
    db.exec("UPDATE d SET n = 2; UPDATE f SET n = 2; UPDATE d SET id = 2; UPDATE d SET big = 'small'")
        .await;
    let (parts, from) = drain(&db, &mut source).await;
    assert_eq!(
        story(&parts),
        "d=>1,2,- f:1,1,xxx..9000=>1,2,xxx..9000 d:1,-,-=>2,2,- d=>2,2,small |"
    );
    drop(source);
    let options = SourceOptions {
        mode: Mode::Merge,
        ..options
    };
    let mut source = reopen(&options, &from).await;
    db.exec("UPDATE f SET n = 3").await;
    let (parts, _) = drain(&db, &mut source).await;
    let Op::Update { old: Some(old), new } = &parts[0].changes[0].op else {
        unreachable!()
    };
    assert!(old.is_complete() && new.is_complete());
}

/// The server takes a moment to notice that a reader is gone.
async fn reopen(options: &SourceOptions, from: &Position) -> Source {
    let start = std::time::Instant::now();
    loop {
        match Source::open(options.clone(), from).await {
            Ok(source) => return source,
            Err(error) if error.is_transient() && start.elapsed() < LIMIT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn marker(seq: i64) -> String {
    let marker = Marker {
        sync: "it's".to_owned(),
        link: "a->b".to_owned(),
        lane: 0,
        seq,
        position: "lsn:0/1".to_owned(),
        origin: 1,
        hop: 1,
        segment: Segment::Applied,
        config_hash: "x".to_owned(),
    };
    let json = marker.to_json().replace('\'', "''");
    format!("SELECT pg_logical_emit_message(true, 'tidelock', '{json}');")
}

async fn markers_open_segments(kind: Kind) {
    let (db, _, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    let insert = |id: i32| format!("INSERT INTO a VALUES ({id}, NULL);");
    db.exec(&[marker(1), insert(1), insert(2), marker(2), insert(3)].concat())
        .await;
    db.exec(&[insert(4), marker(3)].concat()).await;
    db.exec(&marker(4)).await;
    db.exec(&[marker(5), "INSERT INTO other VALUES (1)".to_owned()].concat())
        .await;
    db.exec(&insert(5)).await;
    // Neither of these marks anything.
    db.exec("SELECT pg_logical_emit_message(true, 'somebody', 'x')")
        .await;
    db.exec("SELECT pg_logical_emit_message(false, 'tidelock', 'x')")
        .await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(
        story(&parts),
        "(1) a+1,NULL a+2,NULL (2) a+3,NULL | a+4,NULL (3) | (4) | (5) | a+5,NULL |"
    );
    let firsts: Vec<u64> = parts.iter().map(|part| part.first).collect();
    assert_eq!(firsts, [0, 2, 0, 1, 0, 0, 0]);
    let Writer::Tidelock(first) = &parts[0].writer else {
        unreachable!()
    };
    assert_eq!(first.sync, "it's");
}

async fn broken_markers_stop(kind: Kind) {
    let (db, _, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    db.exec("SELECT pg_logical_emit_message(true, 'tidelock', '{\"sync\":1}')")
        .await;
    let error = loop {
        match step(&mut source).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        !error.is_transient() && error.to_string().contains("read a marker"),
        "{error}"
    );
}

async fn large_transactions_come_in_bounded_parts(kind: Kind) {
    let (db, _, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    db.exec(
        "INSERT INTO a SELECT n, repeat('w', n % 300) FROM generate_series(1, 100000) n;
             INSERT INTO other SELECT generate_series(1, 1000)",
    )
    .await;
    let (parts, _) = drain(&db, &mut source).await;
    let mut next = 0;
    for part in &parts {
        assert_eq!(part.first, next);
        assert!(
            part.changes.len() <= 5_000 && part.bytes <= 1024 * 1024 + 1024,
            "{}",
            part.bytes
        );
        for change in &part.changes {
            next += 1;
            let Op::Insert { new } = &change.op else {
                unreachable!()
            };
            assert_eq!(new.get(0), Some(&Value::Int(i64::try_from(next).unwrap())));
        }
    }
    assert_eq!(next, 100_000);
    let ends = parts.iter().filter(|part| part.end.is_some()).count();
    assert!(ends == 1 && parts.last().unwrap().end.is_some());
}

async fn truncate_is_told(kind: Kind) {
    let (db, _, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    db.exec("INSERT INTO a VALUES (1, 'x'); TRUNCATE other, a, b; INSERT INTO a VALUES (1, 'y')")
        .await;
    let (parts, _) = drain(&db, &mut source).await;
    assert_eq!(story(&parts), "a+1,x a! b! a+1,y |");
}

async fn a_restart_neither_loses_nor_doubles(kind: Kind) {
    let (db, options, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    for round in 0..60 {
        db.exec(&format!(
            "INSERT INTO a SELECT {round} * 10 + n, 'x' FROM generate_series(1, 10) n"
        ))
        .await;
        db.exec("INSERT INTO other SELECT count(*) FROM other").await;
    }
    let end = log_end(&db).await;
    let mut seen = Vec::new();
    let mut position = None;
    let mut unfinished = Vec::new();
    for stop_after in [1, 2, 7, 1, 3, 11, 100] {
        if let Some(position) = &position {
            drop(source);
            unfinished.clear();
            source = reopen(&options, position).await;
        }
        for _ in 0..stop_after {
            let at = match step(&mut source).await.unwrap() {
                Step::Part(part) => {
                    unfinished.extend(part.changes);
                    part.end
                }
                Step::Idle { position, .. } => Some(position),
            };
            let Some(at) = at else { continue };
            seen.append(&mut unfinished);
            let done = at.covers(&Position::Lsn(end)).unwrap();
            source.confirm(&at);
            position = Some(at);
            if done {
                break;
            }
        }
    }
    let ids: Vec<i64> = seen
        .iter()
        .map(|change| match &change.op {
            Op::Insert { new } => match new.get(0) {
                Some(Value::Int(id)) => *id,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, (1..=600).collect::<Vec<_>>());
}

async fn dropped_waits_lose_nothing(kind: Kind) {
    let schema = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE a (id int PRIMARY KEY, mood mood);
                  CREATE TABLE b (id int PRIMARY KEY)";
    let (db, _, mut source) = stream(kind, schema, &["a", "b"], Mode::Transactional).await;
    let writer = db.session().await;
    let writing = tokio::spawn(async move {
        let mut writer = writer;
        for id in 1..=300 {
            writer
                .exec(&format!(
                    "INSERT INTO a VALUES ({id}, 'ok'); INSERT INTO b VALUES ({id})"
                ))
                .await;
        }
    });
    let mut changes = 0;
    let start = std::time::Instant::now();
    let mut wait = 0;
    while changes < 600 {
        assert!(start.elapsed() < LIMIT, "{changes} of 600 changes");
        wait = (wait + 37) % 900;
        match tokio::time::timeout(Duration::from_micros(wait), source.next()).await {
            Ok(Ok(Step::Part(part))) => changes += part.changes.len(),
            Ok(Ok(Step::Idle { .. })) | Err(_) => {}
            Ok(Err(error)) => panic!("{error}"),
        }
    }
    writing.await.unwrap();
    assert!(drain(&db, &mut source).await.0.is_empty());
}

async fn refused(options: &SourceOptions, from: &Position) -> Error {
    match Source::open(options.clone(), from).await {
        Ok(_) => panic!("{from} was accepted"),
        Err(error) => error,
    }
}

async fn positions_that_cannot_be_served_are_refused(kind: Kind) {
    let (db, options, source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    drop(source);
    let name = slot_name(&options.sync, &options.target);
    let drop_slot = format!("SELECT pg_drop_replication_slot('{name}')");
    harness::eventually(LIMIT, "the slot is free", async || {
        db.try_exec(&drop_slot).await.is_ok()
    })
    .await;
    let from = Position::Lsn(log_end(&db).await);

    let error = refused(&options, &from).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost);
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert!(error.hint_text().unwrap().contains("tidelock teardown"));

    db.exec("INSERT INTO a VALUES (1, 'lost')").await;
    snapshot::start_position(&options).await.unwrap();
    let error = refused(&options, &from).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost);
    assert!(error.to_string().contains("the slot is ahead"), "{error}");

    let error = refused(&options, &Position::Lsn(u64::MAX / 2)).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost);
    assert!(error.to_string().contains("restored from a backup"), "{error}");

    let error = refused(&options, &"mariadb:0-1-5".parse().unwrap()).await;
    assert!(error.to_string().contains("not one of PostgreSQL"), "{error}");

    db.exec(&drop_slot).await;
    db.exec(&format!(
        "SELECT pg_create_logical_replication_slot('{name}', 'test_decoding')"
    ))
    .await;
    let error = refused(&options, &from).await;
    assert!(error.to_string().contains("somebody else made it"), "{error}");
    assert!(error.hint_text().unwrap().contains(&name));
}

async fn a_slot_in_use_names_its_reader(kind: Kind) {
    let (db, options, source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    let pid = db
        .one(&format!(
            "SELECT active_pid FROM pg_replication_slots WHERE database = '{}'",
            db.name()
        ))
        .await;
    let error = refused(&options, &Position::Lsn(log_end(&db).await)).await;
    assert!(
        error.is_transient() && error.to_string().contains(&pid),
        "{error}"
    );
    let error = Snapshot::open(&options).await.err().unwrap();
    assert!(
        error.is_transient() && error.to_string().contains(&pid),
        "{error}"
    );
    drop(source);
}

async fn publications_are_checked(kind: Kind) {
    let (db, options, source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    drop(source);
    let name = publication_name(&options.sync);
    let from = Position::Lsn(log_end(&db).await);
    db.exec(&format!("ALTER PUBLICATION {name} DROP TABLE b")).await;
    let error = refused(&options, &from).await;
    assert!(
        error.to_string().contains("public.b")
            && error.hint_text().unwrap().contains("tidelock setup --execute")
    );
    // Who has read before lacks what was written since; a first copy would lack nothing.
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    let error = Snapshot::open(&options).await.err().unwrap();
    assert_ne!(error.reason_kind(), Reason::PositionLost, "{error}");
    assert_eq!(error.hint_text(), Some("run `tidelock setup --execute`"));
    db.exec(&format!("DROP PUBLICATION {name}")).await;
    let error = refused(&options, &from).await;
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(error.hint_text(), Some("run `tidelock setup --execute`"));
}

async fn merge_needs_whole_rows(kind: Kind) {
    let (db, _, mut source) = stream(kind, TWO, &["a", "b"], Mode::Merge).await;
    db.exec("INSERT INTO other VALUES (1); INSERT INTO a VALUES (1, 'x'); UPDATE a SET id = 2")
        .await;
    let error = loop {
        match step(&mut source).await {
            Ok(Step::Part(part)) => panic!("{part:?}"),
            Ok(Step::Idle { .. }) => {}
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("public.a"), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(
        hint.starts_with("ALTER TABLE \"public\".\"a\" REPLICA IDENTITY FULL; "),
        "{hint}"
    );
}

async fn keys_must_be_in_the_identity(kind: Kind) {
    let schema = "CREATE TABLE a (id int PRIMARY KEY, code int NOT NULL UNIQUE);
                  ALTER TABLE a REPLICA IDENTITY USING INDEX a_code_key; INSERT INTO a VALUES (1, 1)";
    let (db, _, mut source) = stream(kind, schema, &["a"], Mode::Transactional).await;
    db.exec("DELETE FROM a").await;
    let error = loop {
        match step(&mut source).await {
            Ok(Step::Part(part)) => panic!("{part:?}"),
            Ok(Step::Idle { .. }) => {}
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().contains("leaves the primary key out"),
        "{error}"
    );
}

/// `(column type, texts the server understands)`.
const TYPES: &[(&str, &[&str])] = &[
    ("boolean", &["t", "f"]),
    ("smallint", &["-32768", "32767", "0"]),
    ("integer", &["-2147483648", "2147483647"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    (
        "real",
        &[
            "0.1",
            "-0",
            "3.4028235e38",
            "1e-45",
            "NaN",
            "Infinity",
            "123456789",
        ],
    ),
    (
        "double precision",
        &[
            "0.1",
            "-0",
            "5e-324",
            "1.7976931348623157e308",
            "-Infinity",
            "0.30000000000000004",
        ],
    ),
    (
        "numeric",
        &[
            "0",
            "-0.0100",
            "1e100",
            "NaN",
            "-Infinity",
            "123456789012345678901234567890.000000000000000000001",
        ],
    ),
    ("numeric(10,2)", &["99999999.99", "-0.5"]),
    ("numeric(3,-2)", &["12345"]),
    (
        "text",
        &["", " trailing  ", "naïve 🌊", "a\\b''c", "line\nbreak\ttab"],
    ),
    ("varchar(20)", &["x ", "žluťoučký"]),
    ("char(6)", &["ab", "ab  c", ""]),
    ("name", &["table"]),
    ("\"char\"", &["x"]),
    ("bytea", &["\\x", "\\x00ff10", "\\xdeadbeef"]),
    ("bit(5)", &["01011"]),
    ("bit varying", &["", "1", "010101010101010101"]),
    (
        "date",
        &[
            "2024-02-29",
            "0001-01-01",
            "infinity",
            "-infinity",
            "4713-01-01 BC",
            "5874897-12-31",
        ],
    ),
    ("time", &["00:00:00", "23:59:59.999999", "24:00:00", "12:30:00.5"]),
    ("time(2)", &["12:30:00.25"]),
    ("timetz", &["12:30:00.5+02"]),
    (
        "timestamp",
        &[
            "2024-02-29 23:59:59.123456",
            "294276-12-31 00:00:00",
            "0044-03-15 12:00:00.5 BC",
            "infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "2024-02-29 23:59:59.12+05:30",
            "0044-03-15 12:00:00 BC",
            "-infinity",
            "1970-01-01 00:00:00Z",
        ],
    ),
    ("interval", &["1 year 2 mons -3 days 04:05:06.7", "0", "-1 day"]),
    ("uuid", &["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]),
    ("json", &["{\"b\": 1, \"a\":2,  \"a\":3}", "null"]),
    ("jsonb", &["{\"b\": 1, \"a\":2.50}", "[1e400]"]),
    ("mood", &["sad", "it's ok"]),
    ("positive", &["7"]),
    ("short", &["abc"]),
    ("citext", &["MiXed"]),
    ("int[]", &["{1,NULL,3}", "{{1,2},{3,4}}"]),
    ("text[]", &["{\"a,b\",\"\\\"\"}"]),
    ("int4range", &["[1,5)", "empty"]),
    ("inet", &["10.0.0.1/8", "::1"]),
    ("money", &["12.50", "-1000"]),
    ("xml", &["<a>b</a>"]),
    ("pair", &["(1,x)"]),
    ("oid", &["4294967295"]),
    ("point", &["(1.5,-2)"]),
];

fn types_schema() -> String {
    let columns: Vec<String> = TYPES
        .iter()
        .enumerate()
        .map(|(index, (ty, _))| format!("c{index} {ty}"))
        .collect();
    format!(
        "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE TYPE pair AS (a int, b text);
         CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN short AS varchar(5);
         CREATE TABLE t (id int PRIMARY KEY, {columns}, g int GENERATED ALWAYS AS (id * 2) STORED);
         CREATE TABLE back (id int PRIMARY KEY, {columns}); ALTER TABLE t REPLICA IDENTITY FULL",
        columns = columns.join(", ")
    )
}

/// Row n has the n-th text of each type, NULL where there are no more.
fn types_rows() -> Vec<String> {
    let count = TYPES.iter().map(|(_, texts)| texts.len()).max().unwrap();
    let value = |(ty, texts): &(&str, &[&str]), n: usize| match texts.get(n) {
        Some(text) => format!(
            "'{}'::{ty}",
            if ty.starts_with("text") && n == 3 {
                (*text).to_owned()
            } else {
                text.replace('\'', "''").replace("''''", "''")
            }
        ),
        None => "NULL".to_owned(),
    };
    (0..=count)
        .map(|n| {
            let values: Vec<String> = TYPES.iter().map(|ty| value(ty, n)).collect();
            format!("INSERT INTO t VALUES ({n}, {})", values.join(", "))
        })
        .collect()
}

async fn every_type_decodes_to_what_the_server_means(kind: Kind) {
    let (db, options, mut source) = stream(kind, &types_schema(), &["t"], Mode::Merge).await;
    for insert in types_rows() {
        db.exec(&insert).await;
    }
    db.exec("DELETE FROM t WHERE id = 99; UPDATE t SET c1 = c1").await;
    let (parts, _) = drain(&db, &mut source).await;
    let table = parts[0].changes[0].table.clone();
    let catalog = &options.tables[0].table;
    for column in &table.columns {
        let known = &catalog.columns[catalog.column(&column.name).unwrap()];
        assert_eq!(column, known, "log and catalog agree");
    }
    // Written back by our own texts, the server finds no difference.
    for part in &parts {
        for change in &part.changes {
            let Op::Insert { new } = &change.op else { continue };
            let values = (0..=TYPES.len()).map(|index| {
                let ty = &table.columns[index].ty;
                codec::encode(new.get(index).unwrap(), ty).map_or("NULL".to_owned(), |text| {
                    format!("'{}'", text.replace('\'', "''"))
                })
            });
            let values: Vec<String> = values.collect();
            db.exec(&format!("INSERT INTO back VALUES ({})", values.join(", ")))
                .await;
        }
    }
    for (index, (ty, _)) in TYPES.iter().enumerate() {
        let differ = format!(
            "SELECT count(*) FROM t FULL JOIN back USING (id) WHERE t.c{index}::text IS DISTINCT FROM back.c{index}::text"
        );
        assert_eq!(db.one(&differ).await, "0", "{ty}");
    }
    // Insert, old row, new row and copy are the same values.
    drop(source);
    let show = |row: &Row| format!("{:?}", &row.0[..=TYPES.len()]);
    let mut inserted = Vec::new();
    let mut updates = 0;
    for change in parts.iter().flat_map(|part| &part.changes) {
        match &change.op {
            Op::Insert { new } => inserted.push(show(new)),
            Op::Update { old: Some(old), new } => {
                updates += 1;
                assert!(inserted.contains(&show(old)) && inserted.contains(&show(new)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(updates, inserted.len());
    assert_eq!(table.column("g").is_some(), kind == Kind::Postgres18);
    wait_free(&db).await;
    let mut copy = Snapshot::open(&options).await.unwrap();
    for copied in copy_all(&mut copy, catalog).await {
        assert!(inserted.contains(&show(&copied)));
    }
    copy.close().await.unwrap();
}

async fn wait_free(db: &Db) {
    let active = format!(
        "SELECT count(*) FROM pg_replication_slots WHERE active AND database = '{}'",
        db.name()
    );
    harness::eventually(LIMIT, "the slot is free", async || db.one(&active).await == "0").await;
}

async fn copy_all(copy: &mut Snapshot, table: &Table) -> Vec<Row> {
    copy.open_table(table, &Default::default(), None).await.unwrap();
    let mut all = Vec::new();
    loop {
        let rows = copy.rows(1_000).await.unwrap();
        if rows.is_empty() {
            return all;
        }
        assert!(rows.len() <= 1_000);
        all.extend(rows);
    }
}

async fn the_first_copy_meets_the_stream(kind: Kind) {
    let db = database(kind, "pgcopy").await.with_accounts().await;
    db.exec("CREATE TABLE a (id int PRIMARY KEY, word text, twice int GENERATED ALWAYS AS (id * 2) STORED);
             CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p DEFAULT;
             CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE b_child () INHERITS (b);
             INSERT INTO a SELECT n, repeat('x', n % 50) FROM generate_series(1, 3000) n;
             INSERT INTO p VALUES (1), (100); INSERT INTO b VALUES (1); INSERT INTO b_child VALUES (2)").await;
    let name = publication_name(db.name());
    db.exec(&format!(
        "CREATE PUBLICATION {name} FOR TABLE a, p, ONLY b WITH (publish_via_partition_root)"
    ))
    .await;
    let options = options(&db, &["a", "p", "b"], Mode::Transactional).await;
    // Somebody keeps writing all the while.
    let mut writer = db.session().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut id = 10_000;
        while stopped.try_recv().is_err() {
            id += 1;
            writer
                .exec(&format!(
                    "INSERT INTO a VALUES ({id}, 'new'); DELETE FROM a WHERE id = {} - 10000",
                    id
                ))
                .await;
        }
        id
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut copy = Snapshot::open(&options).await.unwrap();
    db.exec("INSERT INTO p VALUES (5)").await;
    let mut keys = std::collections::BTreeSet::new();
    let key = |row: &Row| match row.get(0) {
        Some(Value::Int(id)) => *id,
        other => panic!("{other:?}"),
    };
    for row in copy_all(&mut copy, &options.tables[0].table).await {
        assert_eq!(row.get(2), None, "generated columns are not sent");
        assert!(keys.insert(key(&row)));
    }
    assert_eq!(
        copy_all(&mut copy, &options.tables[1].table).await.len(),
        2,
        "partitions are their table"
    );
    assert_eq!(
        copy_all(&mut copy, &options.tables[2].table).await.len(),
        1,
        "children are tables of their own"
    );
    let start = copy.start().clone();
    assert_eq!(copy.close().await.unwrap(), None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send(()).unwrap();
    writing.await.unwrap();

    let mut source = reopen(&options, &start).await;
    let (parts, _) = drain(&db, &mut source).await;
    for change in parts.iter().flat_map(|part| &part.changes) {
        match (&*change.table.id.name, &change.op) {
            ("a", Op::Insert { new }) => assert!(keys.insert(key(new)), "doubled"),
            ("a", Op::Delete { old }) => assert!(keys.remove(&key(old)), "lost"),
            ("p", Op::Insert { new }) => assert_eq!(key(new), 5),
            other => panic!("{other:?}"),
        }
    }
    let expected = db.rows("SELECT id FROM a").await.into_iter();
    let expected: std::collections::BTreeSet<i64> = expected
        .map(|row| row[0].as_ref().unwrap().parse().unwrap())
        .collect();
    assert_eq!(keys, expected);
}

async fn a_broken_first_copy_is_made_again(kind: Kind) {
    let (db, options, source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    drop(source);
    wait_free(&db).await;
    let first = Snapshot::open(&options).await.unwrap();
    let start = first.start().clone();
    drop(first);
    db.exec("INSERT INTO a VALUES (1, 'x')").await;
    wait_free(&db).await;
    let mut again = Snapshot::open(&options).await.unwrap();
    assert!(again.start().covers(&start).unwrap() && again.start() != &start);
    assert_eq!(copy_all(&mut again, &options.tables[0].table).await.len(), 1);
    let there = snapshot::start_position(&options).await.unwrap();
    assert_eq!(&there, again.start(), "an existing slot is kept");
}

async fn confirming_moves_the_slot_and_nothing_else_does(kind: Kind) {
    let (db, options, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    let slot = slot_name(&options.sync, &options.target);
    let confirmed =
        format!("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{slot}'");
    let before = db.one(&confirmed).await;
    db.exec("INSERT INTO a VALUES (1, 'x')").await;
    let (_, position) = drain(&db, &mut source).await;
    source.keepalive().await.unwrap();
    source.keepalive().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(db.one(&confirmed).await, before);
    source.confirm(&position);
    let start = std::time::Instant::now();
    let reading = tokio::time::timeout(Duration::from_secs(2), async {
        while source.next().await.is_ok() {}
    });
    let (_, ()) = tokio::join!(reading, async {
        harness::eventually(Duration::from_secs(2), "the slot moves", async || {
            let now = parse_lsn(&db.one(&confirmed).await).map(Position::Lsn).unwrap();
            now == position
        })
        .await;
        assert!(start.elapsed() < Duration::from_secs(1));
    });
}

async fn a_table_that_changes_is_described_anew(kind: Kind) {
    let (db, _, mut source) = stream(kind, TWO, &["a", "b"], Mode::Transactional).await;
    db.exec("INSERT INTO a VALUES (1, 'x')").await;
    db.exec("ALTER TABLE a ADD COLUMN more numeric(5,1) DEFAULT 1.5")
        .await;
    db.exec("INSERT INTO a VALUES (2, 'y')").await;
    db.exec("ALTER TABLE a ALTER word TYPE varchar(9)").await;
    db.exec("INSERT INTO a VALUES (3, 'z', 2)").await;
    let (parts, _) = drain(&db, &mut source).await;
    // ALTER TYPE rewrites the table, which is no change of its rows.
    assert_eq!(story(&parts), "a+1,x | a+2,y,1.5 | a+3,z,2.0 |");
    let types: Vec<usize> = parts
        .iter()
        .map(|part| part.changes[0].table.columns.len())
        .collect();
    assert_eq!(types, [2, 3, 3]);
    let word = &parts[2].changes[0].table.columns[1].ty;
    assert!(matches!(word, ColumnType::Text { chars: Some(9), .. }));
    assert_eq!(
        parts[2].changes[0].op,
        Op::Insert {
            new: [
                Value::Int(3),
                Value::Text("z".into()),
                Value::Decimal(ByteString::from("2.0"))
            ]
            .into_iter()
            .map(Some)
            .collect()
        }
    );
}

#[tokio::test]
async fn a_server_that_shuts_down_does_not_wait_for_us() {
    for kind in [Kind::Postgres15, Kind::Postgres18] {
        let mut db = private(kind, &Options::default()).await.with_accounts().await;
        db.exec(TWO).await;
        publish(&db, &["a", "b"]).await;
        let options = options(&db, &["a", "b"], Mode::Transactional).await;
        let from = snapshot::start_position(&options).await.unwrap();
        let mut source = Source::open(options, &from).await.unwrap();
        db.exec("INSERT INTO a VALUES (1, 'x')").await;
        let reading = tokio::spawn(async move {
            loop {
                if let Err(error) = source.next().await {
                    return error;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let start = std::time::Instant::now();
        db.server().stop().await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let error = reading.await.unwrap();
        assert!(error.is_transient(), "{error}");
        db.server().restart().await.unwrap();
    }
}

#[tokio::test]
async fn logins_and_tls_work_in_every_mode() {
    let db = private(
        Kind::Postgres15,
        &Options {
            tls: true,
            extra: vec!["listen_addresses=127.0.0.1,127.0.0.2".to_owned()],
            ..Options::default()
        },
    )
    .await
    .with_accounts()
    .await;
    let plain = access("pg", &db.run_url());
    let mut db = db;
    let ca_file = db.server().ca_file();
    let socket = db.server().socket_dir().display().to_string();
    let with = |tls: TlsMode, host: &str, ca: bool| Access {
        tls,
        host: host.to_owned(),
        ca_file: ca_file.clone().filter(|_| ca),
        ..plain.clone()
    };
    for good in [
        with(TlsMode::Disable, "127.0.0.1", false),
        with(TlsMode::Disable, &socket, false),
        with(TlsMode::Require, "127.0.0.1", false),
        with(TlsMode::VerifyCa, "127.0.0.1", true),
        with(TlsMode::VerifyFull, "localhost", true),
    ] {
        let mode = good.tls;
        let client = connect(&good)
            .await
            .unwrap_or_else(|error| panic!("{mode:?}: {error}"));
        let row = client
            .query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, bool>(0), mode != TlsMode::Disable);
        let mut replication = Replication::connect(&good)
            .await
            .unwrap_or_else(|error| panic!("{mode:?}: {error}"));
        let rows = replication.query("identify", "IDENTIFY_SYSTEM").await.unwrap();
        assert_eq!(rows[0][3].as_deref(), Some(db.name()));
    }
    let mut wrong_password = with(TlsMode::Require, "127.0.0.1", false);
    wrong_password.secret = Secret::Plain("wrong".to_owned().into());
    let mut no_password = with(TlsMode::Disable, "127.0.0.1", false);
    no_password.secret = Secret::None;
    let mut no_server = with(TlsMode::Disable, "127.0.0.1", false);
    no_server.port = 1;
    let mut no_database = with(TlsMode::Disable, "127.0.0.1", false);
    no_database.database = "nowhere".to_owned();
    for (bad, says, transient) in [
        (with(TlsMode::VerifyFull, "127.0.0.2", true), "certificate", false),
        (with(TlsMode::VerifyCa, "127.0.0.1", false), "certificate", false),
        (wrong_password, "28P01", false),
        (no_password, "password", false),
        (no_server, "refused", true),
        (no_database, "3D000", false),
    ] {
        for error in [
            connect(&bad).await.err().unwrap(),
            Replication::connect(&bad).await.err().unwrap(),
        ] {
            assert!(error.to_string().contains(says), "{says}: {error}");
            assert_eq!(error.reason_kind(), Reason::Unreachable, "{error}");
            assert_eq!(error.is_transient(), transient, "{error}");
            assert!(error.hint_text().is_some(), "{error}");
        }
    }
}

#[tokio::test]
async fn older_password_methods_work() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let rules = folder.path().join("hba.conf");
    let lines = ["hashed md5", "plain password", "tidelock scram-sha-256"].map(|rule| {
        let (user, method) = rule.split_once(' ').unwrap();
        format!("host all,replication {user} 127.0.0.1/32 {method}\n")
    });
    std::fs::write(&rules, lines.concat()).unwrap();
    let options = Options {
        extra: vec![format!("hba_file={}", rules.display())],
        ..Options::default()
    };
    let db = private(Kind::Postgres15, &options).await;
    db.exec("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN REPLICATION PASSWORD 'secret'")
        .await;
    db.exec("CREATE ROLE plain LOGIN REPLICATION PASSWORD 'secret'")
        .await;
    for user in ["hashed", "plain"] {
        let good = access("pg", &db.url_as(user, "secret"));
        let client = connect(&good).await.unwrap();
        let server = tidelock::postgres::server(&client).await.unwrap();
        assert_eq!((server.engine, &server.version[..2]), ("postgres", "15"));
        let mut replication = Replication::connect(&good).await.unwrap();
        let rows = replication.query("identify", "IDENTIFY_SYSTEM").await.unwrap();
        let identity = format!(
            "{}/{}",
            rows[0][0].as_ref().unwrap(),
            rows[0][1].as_ref().unwrap()
        );
        assert_eq!(server.identity, identity);
        let bad = access("pg", &db.url_as(user, "wrong"));
        let error = Replication::connect(&bad).await.err().unwrap();
        assert!(error.to_string().contains("28P01"), "{error}");
    }
}
