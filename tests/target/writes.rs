//! Which writes apply, which do not, and what becomes of the others.

use super::bench::*;
use super::harness::Kind;
use std::time::Duration;
use tidelock::model::stamp::Stamp;
use tidelock::model::value::{Row, Value};
use tidelock::plan::{Write, WriteOp, Written};

pub(crate) async fn uncontested_writes_apply_and_others_change_nothing(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, false).await;
    let rows = [
        insert(1, &[text("x"), int(1)]),
        insert(2, &[text("y"), Value::Null]),
    ];
    assert_eq!(bench.attempt(&rows).await, [true, true]);
    assert_eq!(bench.attempt(&rows[..1]).await, [false]);
    let missing = update(9, &[text("z"), int(9)], None);
    assert_eq!(
        bench.attempt(&[missing, delete(8, None, None)]).await,
        [false, false]
    );
    // Cells that are not sent stay; the same update again still finds its row.
    let mut part = update(2, &[Value::Null, int(7)], None);
    if let WriteOp::Update { row, .. } = &mut part.op {
        row.0[1] = None;
    }
    for _ in 0..2 {
        assert_eq!(bench.attempt(&[part.clone()]).await, [true]);
    }
    assert_eq!(bench.cells("id, a, b").await, ["1 x 1", "2 y 7"]);
    let both = [
        update(2, &[text("w"), int(2)], None),
        delete(1, None, None),
        insert(3, &[text("v"), int(3)]),
    ];
    assert_eq!(bench.attempt(&both).await, [true, true, true]);
    assert_eq!(bench.cells("id, a, b").await, ["2 w 2", "3 v 3"]);
    let keys_only = Write {
        key: key(2),
        op: WriteOp::Update {
            row: Row(Box::new([Some(int(2)), None, None])),
            base: None,
            here: None,
        },
    };
    assert_eq!(bench.attempt(&[keys_only]).await, [true]);
}

pub(crate) async fn an_insert_that_loses_a_race_is_not_applied(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, false).await;
    let mut other = bench.db.session().await;
    other.exec("BEGIN").await;
    other.exec("INSERT INTO t VALUES (1, 'theirs', 0)").await;
    let ours = async {
        let applied = bench.attempt(&[insert(1, &[text("ours"), int(1)])]).await;
        let written = bench.write(&[insert(1, &[text("ours"), int(1)])]).await;
        (applied, written)
    };
    let theirs = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.exec("COMMIT").await;
    };
    let ((applied, written), ()) = tokio::join!(ours, theirs);
    assert_eq!((applied, written), (vec![false], vec![Written::Lost]));
    assert_eq!(bench.cells("id, a, b").await, ["1 theirs 0"]);
    assert_eq!(
        bench.write(&[update(5, &[text("gone"), int(1)], None)]).await,
        [Written::Lost]
    );
}

pub(crate) async fn tombstones_beat_inserts_of_their_version_and_below(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, true).await;
    bench.bury(1, 5, 2).await;
    let stamped = |id, version| insert(id, &[text("x"), int(1), int(version), int(9)]);
    for version in [4, 5] {
        assert_eq!(bench.attempt(&[stamped(1, version)]).await, [false]);
    }
    assert!(bench.cells("id").await.is_empty());
    assert_eq!(bench.attempt(&[stamped(1, 6)]).await, [true]);
    assert_eq!(bench.stones().await, ["1 5 2"]);
    // A row that was there is not taken away by an insert under its key.
    bench.bury(2, 9, 2).await;
    bench.db.exec("INSERT INTO t VALUES (2, 'old', 1, 3, 1)").await;
    bench.bury(3, 9, 2).await;
    let applied = bench
        .attempt(&[stamped(2, 4), stamped(3, 4), stamped(4, 4)])
        .await;
    assert_eq!(applied[..2], [false, false]);
    assert_eq!(applied[2], kind.is_postgres());
    assert_eq!(bench.cells("id, a").await[..2], ["1 x", "2 old"]);
}

pub(crate) async fn a_tombstone_committed_while_an_insert_waits_beats_it(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, true).await;
    bench.db.exec("INSERT INTO t VALUES (1, 'x', 1, 3, 1)").await;
    let stones = bench.shape.stamps.as_ref().unwrap().tombstones.clone();
    let mut other = bench.db.session().await;
    other.exec("BEGIN").await;
    other.exec("DELETE FROM t WHERE id = 1").await;
    other
        .exec(&format!(
            "INSERT INTO tidelock.{stones} (id, tidelock_version, tidelock_origin) VALUES (1, 3, 1)"
        ))
        .await;
    let late = [insert(1, &[text("late"), int(1), int(3), int(2)])];
    let ours = bench.attempt(&late);
    let theirs = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.exec("COMMIT").await;
    };
    let (applied, ()) = tokio::join!(ours, theirs);
    assert_eq!(applied, [false]);
    assert!(bench.cells("id").await.is_empty());
}

pub(crate) async fn stamps_guard_updates_and_deletes_and_the_greater_tombstone_stays(kind: Kind) {
    let mut bench = Bench::new(kind, PLAIN, true).await;
    bench
        .db
        .exec("INSERT INTO t VALUES (1, 'x', 1, 5, 2), (2, 'x', 1, 5, 2), (3, 'x', 1, 5, 2)")
        .await;
    let cells = [text("new"), int(2), int(6), int(1)];
    for wrong in [Stamp::write(4, 2), Stamp::write(5, 1), Stamp::write(6, 2)] {
        assert_eq!(bench.attempt(&[update(1, &cells, Some(wrong))]).await, [false]);
        let delete = delete(1, Some(wrong), Some(Stamp::delete(6, 1)));
        assert_eq!(bench.attempt(&[delete]).await, [false]);
    }
    assert!(bench.stones().await.is_empty());
    let right = Some(Stamp::write(5, 2));
    let writes = [
        update(1, &cells, right),
        update(3, &cells, right),
        delete(2, right, Some(Stamp::delete(5, 2))),
    ];
    assert_eq!(bench.attempt(&writes).await, [true, true, true]);
    assert_eq!(
        bench.cells("id, a, tidelock_version, tidelock_origin").await,
        ["1 new 6 1", "3 new 6 1"]
    );
    assert_eq!(bench.stones().await, ["2 5 2"]);
    // Decided deletes always leave the greater stamp.
    for (version, origin, left) in [(5, 1, "2 5 2"), (5, 3, "2 5 3"), (4, 9, "2 5 3"), (6, 1, "2 6 1")] {
        let delete = delete(2, None, Some(Stamp::delete(version, origin)));
        assert_eq!(bench.write(&[delete]).await, [Written::Done]);
        assert_eq!(bench.stones().await, [left]);
    }
    let both = [1, 3].map(|id| delete(id, None, Some(Stamp::delete(7, 1))));
    assert_eq!(bench.write(&both).await, [Written::Done, Written::Done]);
    assert!(bench.cells("id").await.is_empty());
    assert_eq!(bench.stones().await, ["1 7 1", "2 6 1", "3 7 1"]);
}

pub(crate) async fn a_row_that_came_after_it_was_read_as_missing_stays(kind: Kind) {
    for merge in [true, false] {
        let mut bench = Bench::new(kind, PLAIN, merge).await;
        let tombstone = merge.then(|| Stamp::delete(7, 1));
        let buries = [1, 2, 3].map(|id| bury(id, tombstone));
        let row = if merge {
            "(2, 'theirs', 1, 1, 1)"
        } else {
            "(2, 'theirs', 1)"
        };
        bench.db.exec(&format!("INSERT INTO t VALUES {row}")).await;
        let written = bench.write(&buries).await;
        assert_eq!(written, [Written::Done, Written::Lost, Written::Done]);
        assert_eq!(bench.cells("id, a").await, ["2 theirs"]);
        if merge {
            let stones = bench.stones().await;
            assert!(
                stones.contains(&"1 7 1".to_owned()) && stones.contains(&"3 7 1".to_owned()),
                "{stones:?}"
            );
        }
    }
}

pub(crate) async fn unique_values_may_be_swapped(kind: Kind) {
    let mut bench = Bench::new(kind, UNIQUE, false).await;
    bench
        .db
        .exec("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2), (3, 'z', 3)")
        .await;
    let swap = [
        update(1, &[text("y"), int(1)], None),
        update(2, &[text("x"), int(2)], None),
        insert(4, &[text("w"), int(4)]),
    ];
    let applied = bench.attempt(&swap[..2]).await;
    assert_eq!(applied, [false, false]);
    assert_eq!(
        bench.write(&swap).await,
        [Written::Done, Written::Done, Written::Done]
    );
    assert_eq!(
        bench.cells("id, a, b").await,
        ["1 y 1", "2 x 2", "3 z 3", "4 w 4"]
    );
}

pub(crate) async fn a_taken_unique_value_is_named_and_the_others_are_written(kind: Kind) {
    let mut bench = Bench::new(kind, UNIQUE, false).await;
    bench
        .db
        .exec("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2), (3, 'z', 3)")
        .await;
    let writes = [
        update(1, &[text("z"), int(1)], None),
        insert(5, &[text("y"), int(5)]),
        update(2, &[text("new"), int(2)], None),
        insert(6, &[text("six"), int(6)]),
        insert(7, &[text("z"), int(6)]),
    ];
    let applied = bench.attempt(&writes).await;
    assert!(!applied[0] && !applied[4]);
    let taken = Written::UniqueTaken("a_once".to_owned());
    let done = Written::Done;
    // Row 2 lets go of its value before row 5 takes it.
    assert_eq!(
        bench.write(&writes).await,
        [taken.clone(), done.clone(), done.clone(), done, taken]
    );
    assert_eq!(
        bench.cells("id, a, b").await,
        ["1 x 1", "2 new 2", "3 z 3", "5 y 5", "6 six 6"]
    );
}

pub(crate) async fn refused_rows_do_not_hold_back_the_others(kind: Kind) {
    let mut bench = Bench::new(kind, UNIQUE, false).await;
    bench.db.exec("INSERT INTO t VALUES (2, 'y', 2)").await;
    let writes = [
        insert(1, &[Value::Null, int(1)]),
        update(2, &[text("new"), int(50)], None),
        insert(3, &[text("secret"), int(1000)]),
        insert(4, &[text("four"), int(4)]),
    ];
    assert_eq!(bench.attempt(&writes[..1]).await, [false]);
    let written = bench.write(&writes).await;
    let why = |index: usize| match &written[index] {
        Written::Refused(why) => why.as_str(),
        other => panic!("{other:?}"),
    };
    assert!(why(0).contains('a') && why(0).contains("null"), "{}", why(0));
    assert!(
        why(2).contains("b_small") && !why(2).contains("secret"),
        "{}",
        why(2)
    );
    assert_eq!((&written[1], &written[3]), (&Written::Done, &Written::Done));
    assert_eq!(bench.cells("id, a, b").await, ["2 new 50", "4 four 4"]);
}

/// By the number of its error alone: it has no SQLSTATE of its own.
pub(crate) async fn a_row_that_no_partition_takes_is_refused(kind: Kind) {
    if kind.is_postgres() {
        return;
    }
    let mut bench = Bench::new(kind, "id bigint PRIMARY KEY, a varchar(20)", false).await;
    let parts = "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (100))";
    bench.db.exec(parts).await;
    let written = bench
        .write(&[insert(1, &[text("one")]), insert(200, &[text("secret")])])
        .await;
    assert_eq!(written[0], Written::Done);
    let Written::Refused(why) = &written[1] else {
        panic!("{written:?}")
    };
    assert!(why.contains("partition") && !why.contains("secret"), "{why}");
    assert_eq!(bench.cells("id, a").await, ["1 one"]);
}

/// It is nothing of the data: no row would go in.
pub(crate) async fn a_trigger_of_a_column_that_is_gone_stops(kind: Kind) {
    if kind.is_postgres() {
        return;
    }
    let mut bench = Bench::new(kind, "id bigint PRIMARY KEY, a varchar(20)", false).await;
    for statement in [
        "ALTER TABLE t ADD COLUMN c int",
        "CREATE TRIGGER counts BEFORE INSERT ON t FOR EACH ROW SET NEW.c = 1",
        "ALTER TABLE t DROP COLUMN c",
    ] {
        bench.db.exec(statement).await;
    }
    bench.begin().await;
    let writes = [insert(1, &[text("one")])];
    let error = bench.target.0.write(&bench.shape, &writes).await.unwrap_err();
    bench.target.rollback().await;
    let hint = error.hint_text().unwrap_or_default();
    assert!(hint.contains("names a column that is gone"), "{error}: {hint}");
    assert!(!error.is_transient(), "{error}");
}

/// It is no taken unique value, and no value that does not fit: the column's definition must change.
pub(crate) async fn a_column_that_no_update_may_set_is_an_error_of_its_own(kind: Kind) {
    if !kind.is_postgres() {
        return;
    }
    let columns = "id bigint PRIMARY KEY, a varchar(20), b bigint GENERATED ALWAYS AS IDENTITY";
    let mut bench = Bench::new(kind, columns, false).await;
    assert_eq!(bench.attempt(&[insert(1, &[text("one"), int(7)])]).await, [true]);
    for writes in [
        vec![update(1, &[text("two"), int(7)], None)],
        vec![
            insert(2, &[text("x"), int(8)]),
            update(1, &[text("two"), int(7)], None),
        ],
    ] {
        for is_attempt in [true, false] {
            bench.begin().await;
            let error = match is_attempt {
                true => bench.target.0.attempt(&bench.shape, &writes).await.map(|_| ()),
                false => bench.target.0.write(&bench.shape, &writes).await.map(|_| ()),
            };
            let error = error.unwrap_err();
            bench.target.rollback().await;
            let (said, hint) = (error.to_string(), error.hint_text().unwrap_or_default());
            assert!(said.contains("\"b\"") && said.contains("public.t"), "{said}");
            assert!(
                hint.contains("GENERATED ALWAYS") && hint.contains("tidelock check"),
                "{hint}"
            );
        }
    }
    // As `check` has it.
    bench
        .db
        .exec("ALTER TABLE \"public\".\"t\" ALTER COLUMN \"b\" SET GENERATED BY DEFAULT")
        .await;
    assert_eq!(
        bench.attempt(&[update(1, &[text("two"), int(7)], None)]).await,
        [true]
    );
    assert_eq!(bench.cells("id, a, b").await, ["1 two 7"]);
}

pub(crate) async fn nothing_is_ever_cut_to_fit(kind: Kind) {
    let columns =
        "id bigint PRIMARY KEY, a varchar(3), b smallint, c char(3), d numeric(4,1), e bit(3), f date";
    let mut bench = Bench::new(kind, columns, false).await;
    let fits = [
        text("abc"),
        int(32767),
        text("abc"),
        Value::Decimal("999.9".into()),
        Value::Bit("101".into()),
        Value::Date("2024-02-29".into()),
    ];
    assert_eq!(bench.attempt(&[insert(0, &fits)]).await, [true]);
    let too_much = [
        (0, text("abcd-secret")),
        (1, int(32768)),
        (2, text("abcd-secret")),
        (3, Value::Decimal("1000.0".into())),
        (4, Value::Bit("1010".into())),
        (5, Value::Date("2024-02-99".into())),
    ];
    for (column, value) in too_much {
        let mut cells = fits.clone();
        cells[column] = value;
        // Alone and in company, inserted and updated.
        let writes = [
            insert(1, &cells),
            insert(2, &fits),
            update(0, &cells, None),
            insert(3, &cells),
        ];
        assert!(
            !bench.attempt(&writes[2..]).await.contains(&true),
            "column {column}"
        );
        let written = bench.write(&writes).await;
        for index in [0, 2, 3] {
            let Written::Refused(why) = &written[index] else {
                panic!("column {column}: {:?}", written[index])
            };
            assert!(!why.contains("secret") && !why.contains("02-99"), "{why}");
        }
        assert_eq!(written[1], Written::Done);
        assert_eq!(bench.write(&[delete(2, None, None)]).await, [Written::Done]);
    }
    assert_eq!(
        bench.cells("id, a, b, c, d, f").await,
        ["0 abc 32767 abc 999.9 2024-02-29"]
    );
}

pub(crate) async fn a_large_batch_goes_through(kind: Kind) {
    const ROWS: i64 = 5000;
    let mut bench = Bench::new(kind, PLAIN, true).await;
    let rows = |make: &dyn Fn(i64) -> Write| (0..ROWS).map(make).collect::<Vec<_>>();
    let start = std::time::Instant::now();
    let inserts = rows(&|id| insert(id, &[text(&format!("row {id}")), int(id), int(1), int(1)]));
    assert!(!bench.attempt(&inserts).await.contains(&false));
    let inserted = start.elapsed();
    let base = Some(Stamp::write(1, 1));
    let updates = rows(&|id| update(id, &[text("new"), int(-id), int(2), int(2)], base));
    assert!(!bench.attempt(&updates).await.contains(&false));
    let updated = start.elapsed() - inserted;
    let writes = rows(&|id| update(id, &[text("newer"), int(-id), int(3), int(1)], None));
    assert!(
        bench
            .write(&writes)
            .await
            .iter()
            .all(|written| *written == Written::Done)
    );
    let written = start.elapsed() - inserted - updated;
    let sql =
        "SELECT concat(count(*), ' ', count(DISTINCT a), ' ', sum(b), ' ', min(tidelock_version)) FROM t";
    assert_eq!(bench.db.one(sql).await, "5000 1 -12497500 3");
    let deletes = rows(&|id| delete(id, Some(Stamp::write(3, 1)), Some(Stamp::delete(3, 2))));
    assert!(!bench.attempt(&deletes).await.contains(&false));
    assert_eq!(bench.stones().await.len(), 5000);
    eprintln!("{kind}: {ROWS} inserts {inserted:?}, updates {updated:?}, read and written {written:?}");
}
