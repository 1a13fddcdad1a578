//! The checkpoint, commit and rollback; locks; the record of conflicts.

use super::bench::*;
use super::harness::Kind;
use std::sync::Arc;
use std::time::Duration;
use tidelock::engine::Node;
use tidelock::error::{Class, Halt, Reason};
use tidelock::model::conflict::{Conflict, ConflictKind, Local, Outcome};
use tidelock::model::operation::Stop;
use tidelock::model::origin::Segment;
use tidelock::model::position::Position;
use tidelock::model::schema::{Table, TableId};
use tidelock::model::stamp::Stamp;
use tidelock::model::value::{Row, Value};
use tidelock::plan::{Shape, Written};

/// A skip passes over the one transaction that the link stopped at, where it stopped: all else changes nothing.
pub(crate) async fn a_skip_is_about_the_stop_and_no_other(kind: Kind) {
    let bench = Bench::new(kind, PLAIN, false).await;
    let sync = bench.movement.marker.sync.clone();
    let stopped = Halt {
        transaction: "lsn:0/20".to_owned(),
        past: Some("lsn:0/21".to_owned()),
        tables: vec![bench.shape.table.id.clone()],
        changes: 1,
    };
    let stop = Stop {
        error: "it does not fit".to_owned(),
        hint: None,
        seq: 0,
        halt: Some(stopped.clone()),
        age_ms: 0,
    };
    let mut node = Node::connect(&bench.access, engine_of(kind)).await.unwrap();
    node.record_stop(&sync, LINK, &stop).await.unwrap();
    let other = Halt {
        transaction: "lsn:0/30".to_owned(),
        ..stopped.clone()
    };
    let mut skip = async |halt: &Halt, seq: i64| {
        let (link, tables) = ((sync.as_str(), LINK), halt.tables.as_slice());
        node.skip(link, (halt, "lsn:0/21"), (seq, tables), "a test")
            .await
            .unwrap()
    };
    let written = async |table: &str| {
        bench
            .db
            .count(&format!("tidelock.{table} WHERE sync = '{sync}'"))
            .await
    };
    for (halt, seq) in [(&other, 0), (&stopped, 1)] {
        assert!(!skip(halt, seq).await, "{halt:?} at {seq}");
        assert_eq!((written("out_of_sync").await, written("audit").await), (0, 0));
    }
    assert!(skip(&stopped, 0).await);
    assert_eq!((written("out_of_sync").await, written("audit").await), (1, 1));
    // Once over it stands behind it.
    assert!(!skip(&stopped, 0).await);
    let moved = format!("SELECT position FROM tidelock.checkpoint WHERE sync = '{sync}'");
    assert_eq!(bench.db.one(&moved).await, "lsn:0/21");
}

pub(crate) async fn only_the_holder_of_the_epoch_goes_on(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, false).await;
    let sync = bench.movement.marker.sync.clone();
    let again = bench.target.0.create_checkpoint(&movement(&sync, 0)).await;
    assert_eq!(again.unwrap_err().class(), Class::Definite);
    assert_eq!(bench.target.checkpoint("no such sync").await, None);

    bench.movement.marker.position = "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".to_owned();
    bench.movement.settle = Some("lsn:0/99".to_owned());
    bench.begin().await;
    let mut own = bench.movement.clone();
    own.marker.segment = Segment::Own;
    own.marker.position = "lsn:0/77".to_owned();
    bench.target.0.segment(&own).await.unwrap();
    bench
        .target
        .attempt(&bench.shape, &[insert(1, &[text("x"), int(1)])])
        .await;

    // Whoever takes over must hold the lease; he waits for the open transaction, and then finds what it left.
    let mut second = Target::open(kind, &bench.access).await;
    let lease = format!(
        "INSERT INTO tidelock.lease (sync, link, instance, holder, process, taken_at, expires_at) \
         VALUES ('{sync}', '{LINK}', '{INSTANCE}', 'x', '', '2000-01-01', '2099-01-01')"
    );
    bench.db.exec(&lease).await;
    let ending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.commit().await;
    };
    let taking = async { second.take_over(&sync).await };
    let (checkpoint, ()) = tokio::join!(taking, ending);
    assert_eq!((checkpoint.epoch, checkpoint.seq), (2, 1));
    let other = second.0.take_over(&sync, LINK, "another copy").await.unwrap_err();
    assert_eq!(other.reason_kind(), Reason::Fenced, "{other}");
    // Its own lease, when it has run out.
    let end = async |at: &str| {
        let sql = format!("UPDATE tidelock.lease SET expires_at = '{at}' WHERE sync = '{sync}'");
        bench.db.exec(&sql).await;
    };
    end("2000-01-02").await;
    assert!(second.0.take_over(&sync, LINK, INSTANCE).await.is_err());
    end("2099-01-01").await;
    assert_eq!(second.checkpoint(&sync).await.unwrap().epoch, 2);
    assert_eq!(checkpoint.position, Position::Lsn(0x77));
    assert_eq!(checkpoint.settle, Some(Position::Lsn(0x99)));
    assert_eq!(checkpoint.source_identity, bench.movement.source_identity);

    let fenced = bench.target.begin(&bench.movement).await.unwrap_err();
    assert_eq!(
        (fenced.class(), fenced.reason_kind()),
        (Class::Definite, Reason::Fenced)
    );
    let mut next = bench.movement.clone();
    next.epoch = 2;
    second.begin(&next).await.unwrap();
    second.commit().await.unwrap();
    // Applied already: the same move again finds nothing to move.
    assert_eq!(
        second.begin(&next).await.unwrap_err().reason_kind(),
        Reason::Fenced
    );
    assert_eq!(bench.cells("id").await, ["1"]);
}

pub(crate) async fn a_rollback_leaves_nothing(kind: Kind) {
    let mut bench = Bench::new(kind, UNIQUE, false).await;
    bench.begin().await;
    let writes = [insert(1, &[text("x"), int(1)])];
    assert_eq!(bench.target.attempt(&bench.shape, &writes).await, [true]);
    bench.target.rollback().await;
    assert!(bench.cells("id").await.is_empty());
    // What a savepoint undid does not take with it what was written before.
    bench.begin().await;
    assert_eq!(bench.target.attempt(&bench.shape, &writes).await, [true]);
    let refused = [insert(2, &[text("y"), int(1000)])];
    assert_eq!(bench.target.attempt(&bench.shape, &refused).await, [false]);
    assert!(matches!(
        bench.target.write(&bench.shape, &refused).await[0],
        Written::Refused(_)
    ));
    let more = [insert(3, &[text("z"), int(1)])];
    assert_eq!(bench.target.attempt(&bench.shape, &more).await, [true]);
    bench.commit().await;
    assert_eq!(bench.cells("id").await, ["1", "3"]);
    // An ended transaction cannot be committed by mistake.
    bench.begin().await;
    let broken = Shape {
        table: Arc::new(Table {
            id: TableId::new(bench.shape.table.id.schema.clone(), "nowhere"),
            ..Table::clone(&bench.shape.table)
        }),
        stamps: None,
        untouched: vec![],
    };
    assert_eq!(
        bench
            .target
            .0
            .attempt(&broken, &writes)
            .await
            .unwrap_err()
            .class(),
        Class::Definite
    );
    assert!(bench.target.commit().await.is_err());
    bench.target.rollback().await;
}

pub(crate) async fn reads_lock_and_see_tombstones(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, true).await;
    bench
        .db
        .exec("INSERT INTO t VALUES (1, 'x', 1, 5, 2), (2, 'y', NULL, 1, 0)")
        .await;
    bench.bury(2, 4, 1).await;
    bench.bury(3, 7, 2).await;
    bench.begin().await;
    let found = bench
        .target
        .read(&bench.shape, &[key(3), key(2), key(9), key(1)])
        .await;
    let local = |row: Option<Row>, row_stamp, tombstone| Local {
        row,
        row_stamp,
        tombstone,
    };
    let two = row(&[int(2), text("y"), Value::Null, int(1), int(0)]);
    let one = row(&[int(1), text("x"), int(1), int(5), int(2)]);
    let expected = [
        local(None, None, Some(Stamp::delete(7, 2))),
        local(Some(two), Some(Stamp::write(1, 0)), Some(Stamp::delete(4, 1))),
        Local::default(),
        local(Some(one), Some(Stamp::write(5, 2)), None),
    ];
    assert_eq!(found, expected);
    let alone = bench.target.read(&bench.shape, &[key(1)]).await;
    assert_eq!(alone, expected[3..]);
    let mut other = bench.db.session().await;
    let blocked = async {
        other.exec("UPDATE t SET a = 'later' WHERE id = 1").await;
        std::time::Instant::now()
    };
    let start = std::time::Instant::now();
    let ending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.commit().await;
    };
    let (done, ()) = tokio::join!(blocked, ending);
    assert!(done - start >= Duration::from_millis(300));
}

pub(crate) async fn conflicts_are_recorded_once(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, false).await;
    let sync = bench.movement.marker.sync.clone();
    let conflict = |id: &str| Conflict {
        id: id.to_owned(),
        kind: ConflictKind::UpdateMissing,
        outcome: Outcome::Open,
        rule: "newest",
        schema: "it's".to_owned(),
        table: "t\\".to_owned(),
        key: "[1]".to_owned(),
        base: None,
        local: Some("{\"a\": \"é🌊'\"}".to_owned()),
        incoming: None,
        base_stamp: None,
        local_stamp: Some(Stamp::write(3, 2)),
        incoming_stamp: None,
        winner: Some(2),
        operation: "update",
        source_position: "lsn:0/1".to_owned(),
        source_committed_at_us: 1_709_208_000_123_456,
        detail: "why".to_owned(),
    };
    for _ in 0..2 {
        bench.begin().await;
        bench
            .target
            .0
            .record(&sync, LINK, &[conflict("1"), conflict("2")])
            .await
            .unwrap();
        bench.commit().await;
    }
    let rows = bench
        .db
        .rows(&format!(
            "SELECT id, schema_name, table_name, local_json, local_version, local_origin, incoming_version, \
             source_committed_at FROM tidelock.conflict WHERE sync = '{sync}' ORDER BY id"
        ))
        .await;
    assert_eq!(rows.len(), 2);
    let cells: Vec<&str> = rows[0]
        .iter()
        .map(|cell| cell.as_deref().unwrap_or("-"))
        .collect();
    assert_eq!(
        cells[..7],
        ["1", "it's", "t\\", "{\"a\": \"é🌊'\"}", "3", "2", "-"]
    );
    assert!(cells[7].starts_with("2024-02-29 12:00:00.123456"), "{}", cells[7]);
}
