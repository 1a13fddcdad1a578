//! Synthetic events through the assembler: parts, positions, segments, refusals.

use super::*;
use crate::model::position::GtidSet;
use crate::model::schema::{Column, ColumnType};
use crate::model::value::Value;
use proptest::prelude::*;

mod prepared;

const UUID: &str = "abababab-abab-abab-abab-abababababab";

fn assembler() -> Assembler {
    let column = Column {
        name: "id".to_owned(),
        ty: ColumnType::Int {
            bits: 32,
            unsigned: false,
        },
        sql_type: "int".to_owned(),
        collation: String::new(),
        nullable: false,
        generated: false,
        has_default: false,
    };
    let table = CatalogTable {
        table: Table {
            id: TableId::new("shop", "orders"),
            columns: vec![column],
            key: vec![0],
            uniques: Vec::new(),
            external: None,
        },
        always: Vec::new(),
        foreign_triggers: Vec::new(),
        cascades: Vec::new(),
        storage: "InnoDB".to_owned(),
        counter: None,
        unique_names: Vec::new(),
    };
    let position = Position::Gtid(GtidSet::default());
    Assembler::new(&[Arc::new(table)], position, false, Space::default())
}

fn send(assembler: &mut Assembler, kind: u8, body: &[u8]) -> Result<()> {
    assembler.event(&Event {
        kind,
        server_id: 1,
        timestamp: 7,
        size: 100,
        end: 0,
        is_artificial: false,
        is_ignorable: false,
        body,
    })
}

fn gtid(number: u64) -> Vec<u8> {
    let mut body = vec![0];
    body.extend([0xab; 16]);
    body.extend(number.to_le_bytes());
    body
}

fn query(database: &str, text: &str) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.push(database.len() as u8);
    body.extend([0; 4]);
    body.extend(database.as_bytes());
    body.push(0);
    body.extend(text.as_bytes());
    body
}

/// A statement in the bytes of its client's character set.
fn query_of(collation: u16, text: &[u8]) -> Vec<u8> {
    let mut body = query("shop", "");
    let end = body.split_off(13);
    body[11] = 7;
    body.push(4);
    body.extend(collation.to_le_bytes());
    body.extend([0; 4]);
    body.extend(end);
    body.extend(text);
    body
}

/// `shop.orders (id int primary key)` with its name told.
fn table_map(with_name: bool) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0];
    body.extend(b"\x04shop\0\x06orders\0\x01\x03\0\0");
    if with_name {
        body.extend(b"\x04\x03\x02id");
    }
    body
}

fn insert(id: i32) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0];
    body.extend(id.to_le_bytes());
    body
}

fn begin(assembler: &mut Assembler, number: u64) {
    send(assembler, kind::GTID, &gtid(number)).unwrap();
    send(assembler, kind::QUERY, &query("", "BEGIN")).unwrap();
}

fn part(assembler: &mut Assembler) -> Part {
    match assembler.step() {
        Some(Step::Part(part)) => part,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_become_a_part_with_the_position_after_it() {
    let mut assembler = assembler();
    begin(&mut assembler, 3);
    send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
    send(&mut assembler, kind::WRITE_ROWS_V1, &insert(-2)).unwrap();
    assert!(assembler.step().is_none());
    send(&mut assembler, kind::XID, &[0; 8]).unwrap();
    let part = part(&mut assembler);
    assert_eq!((part.first, &part.writer), (0, &Writer::User));
    assert_eq!(part.head.transaction, format!("{UUID}:3"));
    assert_eq!(part.end.unwrap().to_string(), format!("gtid:{UUID}:3"));
    let Op::Insert { new } = &part.changes[0].op else {
        panic!()
    };
    assert_eq!(new.get(0), Some(&Value::Int(-2)));
    assert!(!assembler.has_idle());
}

#[test]
fn a_long_transaction_comes_in_bounded_parts() {
    let mut assembler = assembler();
    begin(&mut assembler, 1);
    for id in 0..12_000 {
        send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
        send(&mut assembler, kind::WRITE_ROWS_V1, &insert(id)).unwrap();
    }
    send(&mut assembler, kind::XID, &[0; 8]).unwrap();
    let parts: Vec<Part> = std::iter::from_fn(|| assembler.step())
        .map(|step| match step {
            Step::Part(part) => part,
            other @ Step::Idle { .. } => panic!("{other:?}"),
        })
        .collect();
    let firsts: Vec<(u64, usize, bool)> = parts
        .iter()
        .map(|part| (part.first, part.changes.len(), part.end.is_some()))
        .collect();
    assert_eq!(
        firsts,
        [(0, 5_000, false), (5_000, 5_000, false), (10_000, 2_000, true)]
    );
    assert!(Arc::ptr_eq(
        &parts[0].changes[0].table,
        &parts[2].changes[0].table
    ));
}

#[test]
fn transactions_of_no_interest_gather_into_one_idle_step() {
    let mut assembler = assembler();
    for number in 1..=3 {
        begin(&mut assembler, number);
        send(&mut assembler, kind::XID, &[0; 8]).unwrap();
    }
    assert!(assembler.has_idle() && assembler.step().is_none());
    begin(&mut assembler, 4);
    assert!(!assembler.has_idle());
    send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
    send(&mut assembler, kind::WRITE_ROWS_V1, &insert(1)).unwrap();
    send(&mut assembler, kind::XID, &[0; 8]).unwrap();
    // The idle step stands before the part and does not cover it.
    let Some(Step::Idle {
        position,
        foreign_bytes,
    }) = assembler.step()
    else {
        panic!()
    };
    assert_eq!(
        (position.to_string(), foreign_bytes),
        (format!("gtid:{UUID}:1-3"), 900)
    );
    assert_eq!(
        part(&mut assembler).end.unwrap().to_string(),
        format!("gtid:{UUID}:1-4")
    );
}

#[test]
fn ddl_commits_by_itself_and_truncate_is_a_change() {
    let mut assembler = assembler();
    send(&mut assembler, kind::GTID, &gtid(1)).unwrap();
    send(
        &mut assembler,
        kind::QUERY,
        &query("shop", "CREATE TABLE x (a int)"),
    )
    .unwrap();
    assert!(assembler.has_idle());
    send(&mut assembler, kind::GTID, &gtid(2)).unwrap();
    send(&mut assembler, kind::QUERY, &query("shop", "truncate orders")).unwrap();
    assert!(matches!(assembler.step(), Some(Step::Idle { .. })));
    assert_eq!(part(&mut assembler).changes[0].op, Op::Truncate);
}

fn refused(events: &[(u8, Vec<u8>)]) -> Error {
    let mut assembler = assembler();
    for (kind, body) in events {
        if let Err(error) = send(&mut assembler, *kind, body) {
            return error;
        }
    }
    panic!("nothing was refused");
}

#[test]
fn what_would_lose_rows_is_refused_with_the_setting() {
    let begin = [(kind::GTID, gtid(1)), (kind::QUERY, query("", "BEGIN"))];
    let with = |more: &[(u8, Vec<u8>)]| refused(&[&begin[..], more].concat());
    let hint = |error: &Error| error.hint_text().unwrap_or_default().to_owned();

    let error = with(&[(kind::QUERY, query("shop", "insert into orders values (1)"))]);
    assert!(hint(&error).contains("binlog_format = 'ROW'"));
    let error = with(&[(kind::QUERY, query("other", "update shop.orders set id = 2"))]);
    assert!(hint(&error).contains("binlog_format = 'ROW'"));
    let error = with(&[(kind::TABLE_MAP, table_map(false))]);
    assert!(hint(&error).contains("binlog_row_metadata = FULL"));
    let mut partial = insert(1);
    partial[9] = 0;
    let error = with(&[(kind::TABLE_MAP, table_map(true)), (kind::WRITE_ROWS_V1, partial)]);
    assert!(hint(&error).contains("binlog_row_image = 'FULL'"));
    let error = with(&[
        (kind::TABLE_MAP, table_map(true)),
        (kind::WRITE_ROWS_V1, insert(1)),
        (kind::QUERY, query("", "ROLLBACK TO `a`")),
    ]);
    assert!(hint(&error).contains("tidelock teardown --execute"));
    let error = refused(&[
        (kind::GTID, gtid(1)),
        (kind::QUERY, query("shop", "DROP TABLE `orders`")),
    ]);
    assert!(error.to_string().contains("dropped") && error.is_of_ddl());
}

/// As [`assembler`], for a table with a name outside of ASCII.
fn assembler_of(name: &str) -> Assembler {
    let catalog = CatalogTable {
        table: Table {
            id: TableId::new("shop", name),
            columns: Vec::new(),
            key: Vec::new(),
            uniques: Vec::new(),
            external: None,
        },
        foreign_triggers: Vec::new(),
        cascades: Vec::new(),
        storage: "InnoDB".to_owned(),
        counter: None,
        unique_names: Vec::new(),
        always: Vec::new(),
    };
    let position = Position::Gtid(GtidSet::default());
    Assembler::new(&[Arc::new(catalog)], position, false, Space::default())
}

#[test]
fn statements_are_read_in_the_character_set_of_their_client_or_stop_the_link() {
    let said = |collation: u16, text: &[u8]| {
        let mut assembler = assembler_of("café");
        send(&mut assembler, kind::GTID, &gtid(1)).unwrap();
        let sent = send(&mut assembler, kind::QUERY, &query_of(collation, text));
        sent.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let (latin1, utf8, gbk, cyrillic) = (8, 255, 28, 51);
    assert!(said(latin1, b"DROP TABLE `caf\xe9`").contains("dropped"));
    assert!(said(utf8, "DROP TABLE `café`".as_bytes()).contains("dropped"));
    // As the server writes it for whatever client.
    let replaced = "CREATE OR REPLACE TABLE `café` (a int)".as_bytes();
    assert!(said(latin1, replaced).contains("dropped"));
    assert_eq!(said(latin1, "DROP TABLE `cafè`".as_bytes()), "");
    for (collation, text) in [
        (gbk, &b"DROP TABLE `\x9dh`"[..]),
        (cyrillic, b"RENAME TABLE `caf\xe9` TO x"),
        (cyrillic, b"ALTER TABLE x COMMENT '\xe9', RENAME TO y"),
        (cyrillic, b"TRUNCATE caf\xe9"),
        (gbk, b"DROP DATABASE `\x9dh`"),
    ] {
        assert!(said(collation, text).contains("collation number"), "{text:?}");
    }
    for (collation, text) in [
        (gbk, &b"CREATE TABLE `\x9dh` (a int)"[..]),
        (cyrillic, b"CREATE USER '\xe9'"),
        (cyrillic, b"DROP TABLE cafe"),
    ] {
        assert_eq!(said(collation, text), "", "{text:?}");
    }
    // Rows that a statement wrote: it may name any table.
    let text = b"UPDATE other.`\xe9` SET a = 1";
    assert!(said(cyrillic, text).contains("instead of rows"));
}

#[test]
fn a_transaction_without_an_end_is_never_passed_over() {
    let error = refused(&[
        (kind::GTID, gtid(1)),
        (kind::QUERY, query("", "BEGIN")),
        (kind::GTID, gtid(2)),
    ]);
    assert!(error.to_string().contains(&format!("{UUID}:1")));
    let error = refused(&[(kind::WRITE_ROWS_V1, insert(1))]);
    assert_eq!(error.class(), crate::error::Class::Definite);
}

#[test]
fn statements_on_other_databases_pass() {
    let mut assembler = assembler();
    begin(&mut assembler, 1);
    send(
        &mut assembler,
        kind::QUERY,
        &query("other", "insert into t values (1)"),
    )
    .unwrap();
    send(&mut assembler, kind::QUERY, &query("other", "COMMIT")).unwrap();
    assert!(assembler.has_idle());
}

#[test]
fn any_bytes_of_any_kind_never_panic() {
    let mut state = 3_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as u8
    };
    for kind in 0..=255 {
        for len in 0..40 {
            let body: Vec<u8> = (0..len).map(|_| random()).collect();
            let mut assembler = assembler();
            begin(&mut assembler, 1);
            send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
            let _ = send(&mut assembler, kind, &body);
            let mut rows = vec![5, 0, 0, 0, 0, 0];
            rows.extend(body);
            let _ = send(&mut assembler, kind, &rows);
        }
    }
}

/// Reads what is held.
async fn replay(assembler: &mut Assembler) {
    assembler.settle().await.unwrap();
    while assembler.replay().await.unwrap() {}
}

fn xa_prepare(is_one_phase: bool) -> Vec<u8> {
    let mut body = vec![u8::from(is_one_phase)];
    body.extend(1_u32.to_le_bytes());
    body.extend(1_u32.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    body.push(b'j');
    body
}

fn maria_gtid(sequence: u64, flags: u8) -> Vec<u8> {
    let mut body = sequence.to_le_bytes().to_vec();
    body.extend(0_u32.to_le_bytes());
    body.push(flags);
    body
}

fn format_description(is_first: bool) -> Vec<u8> {
    let mut body = vec![0; 52];
    body.extend(u32::from(is_first).to_le_bytes());
    body
}

fn mariadb() -> Assembler {
    let mut assembler = assembler();
    assembler.position = Position::MariaGtid("0-1-4".parse().unwrap());
    assembler
}

#[tokio::test]
async fn what_a_crash_of_mariadb_cut_off_never_happened() {
    let mut assembler = mariadb();
    send(&mut assembler, kind::MARIADB_GTID, &maria_gtid(5, 0)).unwrap();
    for id in 0..20_000 {
        send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
        send(&mut assembler, kind::WRITE_ROWS_V1, &insert(id)).unwrap();
        assembler.settle().await.unwrap();
    }
    assert!(assembler.step().is_none(), "rows were told before their end");
    send(
        &mut assembler,
        kind::FORMAT_DESCRIPTION,
        &format_description(true),
    )
    .unwrap();
    send(&mut assembler, kind::MARIADB_GTID, &maria_gtid(5, 0)).unwrap();
    send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
    send(&mut assembler, kind::WRITE_ROWS_V1, &insert(-7)).unwrap();
    send(&mut assembler, kind::XID, &[0; 8]).unwrap();
    replay(&mut assembler).await;
    let part = part(&mut assembler);
    assert_eq!((part.first, part.changes.len()), (0, 1));
    assert_eq!(part.end.unwrap().to_string(), "mariadb:0-1-5");
}

#[test]
fn a_file_that_ends_inside_of_a_transaction_without_a_crash_is_an_error() {
    for (kind, body) in [
        (kind::STOP, Vec::new()),
        (kind::ROTATE, b"\x04\0\0\0\0\0\0\0b.000002".to_vec()),
        (kind::FORMAT_DESCRIPTION, format_description(false)),
    ] {
        let mut assembler = assembler();
        begin(&mut assembler, 1);
        let error = send(&mut assembler, kind, &body).unwrap_err();
        assert_eq!(error.class(), crate::error::Class::Definite, "{error}");
    }
}

#[test]
fn mariadb_stops_before_rows_that_are_prepared_in_two_phases() {
    let mut assembler = mariadb();
    send(&mut assembler, kind::MARIADB_GTID, &maria_gtid(5, 0x40)).unwrap();
    send(&mut assembler, kind::QUERY, &query("", "XA START X'6a',X'',1")).unwrap();
    send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
    send(&mut assembler, kind::WRITE_ROWS_V1, &insert(5)).unwrap();
    let error = send(&mut assembler, kind::XA_PREPARE, &xa_prepare(false)).unwrap_err();
    assert!(error.to_string().contains("two phases"), "{error}");
    assert_eq!(assembler.position.to_string(), "mariadb:0-1-4");
}

/// An event with its place in the file.
fn placed(assembler: &mut Assembler, kind: u8, size: u32, end: u32, body: &[u8]) -> Result<()> {
    assembler.event(&Event {
        kind,
        server_id: 1,
        timestamp: 7,
        size,
        end,
        is_artificial: end == 0,
        is_ignorable: false,
        body,
    })
}

fn in_file(offset: u64) -> Assembler {
    let mut assembler = assembler();
    assembler.position = format!("file:b.000001:{offset}@7").parse().unwrap();
    let mut rotate = offset.to_le_bytes().to_vec();
    rotate.extend(b"b.000001");
    placed(&mut assembler, kind::ROTATE, 50, 0, &rotate).unwrap();
    let format = format_description(false);
    placed(&mut assembler, kind::FORMAT_DESCRIPTION, 100, 0, &format).unwrap();
    assembler
}

#[test]
fn without_gtids_the_position_follows_offsets_and_files() {
    let mut assembler = in_file(1_000);
    // In some modes transactions have a GTID all the same: their name is still what the position can pass.
    for (begin, kind) in [(1_000, kind::ANONYMOUS_GTID), (1_231, kind::GTID)] {
        placed(&mut assembler, kind, 50, begin + 50, &gtid(9)).unwrap();
        placed(&mut assembler, kind::QUERY, 50, begin + 100, &query("", "BEGIN")).unwrap();
        placed(&mut assembler, kind::TABLE_MAP, 50, begin + 150, &table_map(true)).unwrap();
        placed(&mut assembler, kind::WRITE_ROWS_V1, 50, begin + 200, &insert(1)).unwrap();
        let before = assembler.position.clone();
        placed(&mut assembler, kind::XID, 31, begin + 231, &[0; 8]).unwrap();
        let told = part(&mut assembler);
        assert_eq!(told.head.transaction, format!("b.000001:{begin}@7"));
        let past = before.after(&told.head.transaction).unwrap();
        assert_eq!(past.to_string(), format!("file:b.000001:{begin}+@7"));
        let end = told.end.unwrap().to_string();
        assert_eq!(end, format!("file:b.000001:{}@7", begin + 231));
    }
    let rotate = b"\x04\0\0\0\0\0\0\0b.000002";
    placed(&mut assembler, kind::ROTATE, 44, 1_506, rotate).unwrap();
    placed(&mut assembler, kind::ROTATE, 44, 0, rotate).unwrap();
    let format = format_description(false);
    placed(&mut assembler, kind::FORMAT_DESCRIPTION, 100, 104, &format).unwrap();
    placed(&mut assembler, 35, 31, 135, &[0; 8]).unwrap();
    let Some(Step::Idle { position, .. }) = assembler.idle() else {
        panic!("a new file is progress")
    };
    assert_eq!(position.to_string(), "file:b.000002:135@7");
    let error = placed(&mut assembler, kind::ANONYMOUS_GTID, 50, 999, &gtid(0)).unwrap_err();
    assert!(error.to_string().contains("185 was expected"), "{error}");
}

#[test]
fn what_was_taken_before_the_position_is_read_past() {
    let mut assembler = in_file(1_000);
    // The dump begins at 4, as it does in a file of more than 4 GiB.
    assembler.place = FilePosition::new("b.000001", 4, 7);
    for (begin, id) in [(4_u32, 1), (535, 2), (1_000, 3)] {
        let at = |offset: u32| begin + offset;
        placed(&mut assembler, kind::ANONYMOUS_GTID, 100, at(100), &gtid(0)).unwrap();
        placed(&mut assembler, kind::QUERY, 100, at(200), &query("", "BEGIN")).unwrap();
        placed(&mut assembler, kind::TABLE_MAP, 100, at(300), &table_map(true)).unwrap();
        placed(&mut assembler, kind::WRITE_ROWS_V1, 100, at(400), &insert(id)).unwrap();
        let size = if begin == 4 { 131 } else { 65 };
        placed(&mut assembler, kind::XID, size, at(400 + size), &[0; 8]).unwrap();
    }
    let end = part(&mut assembler).end.unwrap();
    assert_eq!(end.to_string(), "file:b.000001:1465@7");
    assert!(assembler.step().is_none());
    // No event begins at the position.
    let mut wrong = in_file(1_000);
    wrong.place = FilePosition::new("b.000001", 990, 7);
    let error = placed(&mut wrong, kind::ANONYMOUS_GTID, 50, 1_040, &gtid(0)).unwrap_err();
    assert_eq!(error.reason_kind(), Reason::PositionLost);
}

#[test]
fn a_transaction_that_is_passed_ends_where_the_next_begins_or_the_log_does() {
    let mut assembler = in_file(1_000);
    assembler.position = "file:b.000001:1000+@7".parse().unwrap();
    // Nothing of it is read, whatever it holds.
    placed(&mut assembler, kind::ANONYMOUS_GTID, 100, 1_100, &gtid(0)).unwrap();
    placed(
        &mut assembler,
        kind::QUERY,
        100,
        1_200,
        &query("", "TRUNCATE TABLE t"),
    )
    .unwrap();
    placed(&mut assembler, kind::INCIDENT, 100, 1_300, &[1, 2, 3]).unwrap();
    assert!(assembler.step().is_none() && assembler.idle().is_none());
    assert_eq!(assembler.position.to_string(), "file:b.000001:1000+@7");
    let mut quiet = in_file(1_000);
    quiet.position = assembler.position.clone();
    placed(&mut assembler, kind::ANONYMOUS_GTID, 100, 1_400, &gtid(0)).unwrap();
    assert_eq!(assembler.position.to_string(), "file:b.000001:1300@7");
    placed(&mut assembler, kind::QUERY, 100, 1_500, &query("", "BEGIN")).unwrap();
    placed(&mut assembler, kind::TABLE_MAP, 100, 1_600, &table_map(true)).unwrap();
    placed(&mut assembler, kind::WRITE_ROWS_V1, 100, 1_700, &insert(3)).unwrap();
    placed(&mut assembler, kind::XID, 31, 1_731, &[0; 8]).unwrap();
    let end = part(&mut assembler).end.unwrap();
    assert_eq!(end.to_string(), "file:b.000001:1731@7");
    // Nothing has come yet, then all of it and no more.
    placed(&mut quiet, kind::HEARTBEAT, 40, 1_000, b"b.000001").unwrap();
    assert_eq!(quiet.position.to_string(), "file:b.000001:1000+@7");
    placed(&mut quiet, kind::ANONYMOUS_GTID, 100, 1_100, &gtid(0)).unwrap();
    placed(
        &mut quiet,
        kind::QUERY,
        100,
        1_200,
        &query("", "TRUNCATE TABLE t"),
    )
    .unwrap();
    placed(&mut quiet, kind::HEARTBEAT, 40, 1_200, b"b.000001").unwrap();
    let Some(Step::Idle { position, .. }) = quiet.idle() else {
        panic!("the end of the log is progress")
    };
    assert_eq!(position.to_string(), "file:b.000001:1200@7");
}

#[test]
fn a_file_of_the_same_name_made_at_another_time_is_another_log() {
    let mut assembler = assembler();
    assembler.position = "file:b.000001:1000@6".parse().unwrap();
    let mut rotate = 1_000_u64.to_le_bytes().to_vec();
    rotate.extend(b"b.000001");
    placed(&mut assembler, kind::ROTATE, 50, 0, &rotate).unwrap();
    let format = format_description(false);
    let error = placed(&mut assembler, kind::FORMAT_DESCRIPTION, 100, 0, &format).unwrap_err();
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
}

#[test]
fn a_compressed_transaction_is_told_only_when_it_was_whole() {
    let mut assembler = assembler();
    let inner = |assembler: &mut Assembler, kind: u8, body: &[u8]| {
        assembler.payload(&Event {
            kind,
            server_id: 1,
            timestamp: 7,
            size: 0,
            end: 0,
            is_artificial: false,
            is_ignorable: false,
            body,
        })
    };
    send(&mut assembler, kind::GTID, &gtid(1)).unwrap();
    let outer = Event {
        kind: kind::TRANSACTION_PAYLOAD,
        server_id: 1,
        timestamp: 7,
        size: 100,
        end: 0,
        is_artificial: false,
        is_ignorable: false,
        body: &[],
    };
    assembler.payload_begin(&outer).unwrap();
    inner(&mut assembler, kind::QUERY, &query("", "BEGIN")).unwrap();
    inner(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
    inner(&mut assembler, kind::WRITE_ROWS_V1, &insert(1)).unwrap();
    inner(&mut assembler, kind::XID, &[0; 8]).unwrap();
    assert!(assembler.step().is_none() && assembler.open.is_some());
    assert!(
        inner(&mut assembler, kind::XID, &[0; 8]).is_err(),
        "nothing follows the end"
    );
    assembler.payload_end().unwrap();
    assert_eq!(part(&mut assembler).changes.len(), 1);
}

#[test]
fn pieces_of_json_lost_events_and_loads_by_statement_stop_the_link() {
    let rows = [
        (kind::GTID, gtid(1)),
        (kind::QUERY, query("", "BEGIN")),
        (kind::TABLE_MAP, table_map(true)),
    ];
    let with = |more: (u8, Vec<u8>)| refused(&[&rows[..], &[more]].concat());
    let error = with((kind::PARTIAL_UPDATE_ROWS, insert(1)));
    let hint = error.hint_text().unwrap_or_default();
    assert!(hint.contains("binlog_row_value_options = ''"), "{hint}");
    let error = with((kind::INCIDENT, vec![1, 0, 0]));
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    let mut load = query("shop", "");
    load.splice(13..13, [0; 13]);
    load.extend(b"LOAD DATA INFILE 'x' INTO TABLE orders");
    let error = with((kind::EXECUTE_LOAD_QUERY, load));
    assert!(
        error
            .hint_text()
            .unwrap_or_default()
            .contains("binlog_format = 'ROW'"),
        "{error}"
    );
    // Of another table: not ours.
    let mut assembler = assembler();
    begin(&mut assembler, 1);
    let mut other = table_map(true);
    other[9] = b'S';
    send(&mut assembler, kind::TABLE_MAP, &other).unwrap();
    send(&mut assembler, kind::PARTIAL_UPDATE_ROWS, &insert(1)).unwrap();
}

#[tokio::test]
async fn compressed_rows_and_statements_of_mariadb() {
    use std::io::Write;
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        [&[0x81, bytes.len() as u8][..], &encoder.finish().unwrap()].concat()
    };
    let mut assembler = mariadb();
    send(&mut assembler, kind::MARIADB_GTID, &maria_gtid(5, 0)).unwrap();
    send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
    let whole = insert(9);
    // Table, flags, width and the columns' bits come plain; the image is compressed.
    let (head, image) = whole.split_at(10);
    let rows = [head, &packed(image)[..]].concat();
    send(&mut assembler, kind::MARIADB_WRITE_ROWS_COMPRESSED, &rows).unwrap();
    send(&mut assembler, kind::XID, &[0; 8]).unwrap();
    replay(&mut assembler).await;
    assert_eq!(part(&mut assembler).changes.len(), 1);
    let mut broken = rows.clone();
    broken.truncate(rows.len() - 3);
    send(&mut assembler, kind::MARIADB_GTID, &maria_gtid(6, 0)).unwrap();
    send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
    send(&mut assembler, kind::MARIADB_WRITE_ROWS_COMPRESSED, &broken).unwrap();
    send(&mut assembler, kind::XID, &[0; 8]).unwrap();
    assembler.settle().await.unwrap();
    let error = loop {
        match assembler.replay().await {
            Ok(true) => {}
            Ok(false) => panic!("a broken image was taken"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.class(), crate::error::Class::Definite, "{error}");
}

#[test]
fn kinds_that_are_not_known_stop_the_link_unless_the_server_calls_them_ignorable() {
    let rows = [
        (kind::GTID, gtid(1)),
        (kind::QUERY, query("", "BEGIN")),
        (kind::TABLE_MAP, table_map(true)),
    ];
    // MariaDB 12: a piece of a row event.
    let error = refused(&[&rows[..], &[(172, insert(1))]].concat());
    assert!(error.to_string().contains("kind 172"), "{error}");
    let text = query(
        "shop",
        "SET STATEMENT max_statement_time = 5 FOR UPDATE orders SET id = 2",
    );
    let error = refused(&[&rows[..], &[(kind::QUERY, text.clone())]].concat());
    assert!(
        error.hint_text().unwrap_or_default().contains("binlog_format"),
        "{error}"
    );
    // Between transactions it is administration.
    let mut assembler = assembler();
    send(&mut assembler, kind::GTID, &gtid(1)).unwrap();
    send(
        &mut assembler,
        kind::QUERY,
        &query("shop", "GRANT SELECT ON orders TO x"),
    )
    .unwrap();
    begin(&mut assembler, 2);
    for ignorable in [true, false] {
        let event = Event {
            kind: 200,
            server_id: 1,
            timestamp: 7,
            size: 100,
            end: 0,
            is_artificial: false,
            is_ignorable: ignorable,
            body: &[1, 2, 3],
        };
        assert_eq!(assembler.event(&event).is_ok(), ignorable);
    }
}

/// What a damaged or hostile log may hold: events of any kind, cut, with bytes changed, in any order.
#[derive(Debug, Clone)]
enum Damage {
    None,
    Cut(usize),
    Changed(usize, u8),
    Made(u8, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => Just(Damage::None),
        1 => (0_usize..60).prop_map(Damage::Cut),
        2 => (0_usize..60, 1_u8..).prop_map(|(at, by)| Damage::Changed(at, by)),
        1 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(kind, body)| Damage::Made(kind, body)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_events_are_errors_and_hold_no_more_rows_than_bytes(
        events in prop::collection::vec((0_usize..7, damage()), 1..12),
        is_mariadb: bool,
    ) {
        let samples = [
            (kind::GTID, gtid(1)),
            (kind::MARIADB_GTID, maria_gtid(5, 0)),
            (kind::QUERY, query("shop", "BEGIN")),
            (kind::TABLE_MAP, table_map(true)),
            (kind::WRITE_ROWS_V1, insert(1)),
            (kind::XID, vec![0; 8]),
            (kind::QUERY, query("shop", "TRUNCATE TABLE orders")),
        ];
        let mut assembler = if is_mariadb { mariadb() } else { assembler() };
        let mut bytes = 0;
        for (which, damage) in events {
            let (mut kind, mut body) = samples[which].clone();
            match damage {
                Damage::None => {}
                Damage::Cut(len) => body.truncate(len),
                Damage::Changed(at, by) => {
                    let at = at % body.len();
                    body[at] ^= by;
                }
                Damage::Made(other, made) => (kind, body) = (other, made),
            }
            bytes += body.len();
            if send(&mut assembler, kind, &body).is_err() {
                break;
            }
        }
        let mut changes = 0;
        while let Some(step) = assembler.step() {
            if let Step::Part(part) = step {
                changes += part.changes.len();
            }
        }
        prop_assert!(changes <= bytes);
    }
}
