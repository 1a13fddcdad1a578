//! Synthetic events through the assembler: parts, positions, segments, refusals.

use super::*;
use crate::model::position::GtidSet;
use crate::model::schema::{Column, ColumnType};
use crate::model::value::Value;

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
        },
        foreign_triggers: Vec::new(),
        cascades: Vec::new(),
        replica_identity: String::new(),
        storage: "InnoDB".to_owned(),
    };
    Assembler::new(&[Arc::new(table)], Position::Gtid(GtidSet::default()), false)
}

fn send(assembler: &mut Assembler, kind: u8, body: &[u8]) -> Result<()> {
    assembler.event(&Event {
        kind,
        server_id: 1,
        timestamp: 7,
        size: 100,
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
    let error = with(&[(kind::TRANSACTION_PAYLOAD, vec![])]);
    assert!(hint(&error).contains("binlog_transaction_compression = OFF"));
    let error = refused(&[
        (kind::GTID, gtid(1)),
        (kind::QUERY, query("", "XA START X'61',X'',1")),
        (kind::TABLE_MAP, table_map(true)),
        (kind::WRITE_ROWS_V1, insert(1)),
    ]);
    assert!(error.to_string().contains("XA"));
    let error = refused(&[
        (kind::GTID, gtid(1)),
        (kind::QUERY, query("shop", "DROP TABLE `orders`")),
    ]);
    assert!(error.to_string().contains("dropped"));
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
