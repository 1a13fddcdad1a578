//! The writing side of all four kinds of server: each rule of `attempt`, `read` and `write`, and the checkpoint.
#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Db, Kind, database};
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::time::Duration;
use tidelock::access::{Access, Secret, TlsMode};
use tidelock::error::{Class, Reason, Result};
use tidelock::model::conflict::{Conflict, ConflictKind, Local, Outcome};
use tidelock::model::origin::{Marker, Segment};
use tidelock::model::position::Position;
use tidelock::model::schema::{Table, TableId};
use tidelock::model::stamp::Stamp;
use tidelock::model::sync::Checkpoint;
use tidelock::model::value::{Row, Value};
use tidelock::plan::{Key, Move, Shape, StampColumns, Write, WriteOp, Written};
use tidelock::{mysql, postgres};

enum Target {
    Postgres(Box<postgres::target::Target>),
    Mysql(Box<mysql::target::Target>),
}

macro_rules! forward {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Target::Postgres(target) => target.$method($($argument),*).await,
            Target::Mysql(target) => target.$method($($argument),*).await,
        }
    };
}

impl Target {
    async fn open(kind: Kind, access: &Access) -> Target {
        match kind.is_postgres() {
            true => Target::Postgres(Box::new(
                postgres::target::Target::open(access, true).await.unwrap(),
            )),
            false => Target::Mysql(Box::new(mysql::target::Target::open(access, true).await.unwrap())),
        }
    }

    async fn checkpoint(&mut self, sync: &str) -> Option<Checkpoint> {
        forward!(self.checkpoint(sync, LINK)).unwrap()
    }

    async fn begin(&mut self, movement: &Move) -> Result<()> {
        forward!(self.begin(movement))
    }

    async fn attempt(&mut self, shape: &Shape, writes: &[Write]) -> Vec<bool> {
        forward!(self.attempt(shape, writes)).unwrap()
    }

    async fn read(&mut self, shape: &Shape, keys: &[Key]) -> Vec<Local> {
        forward!(self.read(shape, keys)).unwrap()
    }

    async fn write(&mut self, shape: &Shape, writes: &[Write]) -> Vec<Written> {
        forward!(self.write(shape, writes)).unwrap()
    }

    async fn commit(&mut self) -> Result<()> {
        forward!(self.commit())
    }
}

const LINK: &str = "a->b";

/// A database with the control schema, one table, and an apply session.
struct Bench {
    kind: Kind,
    access: Access,
    shape: Shape,
    target: Target,
    movement: Move,
    /// Dropped last: a database is not dropped under an open transaction.
    db: Db,
}

impl Bench {
    /// `columns` is the table's definition; with `merge` stamps and tombstones (of a key `id bigint`) are added.
    async fn new(kind: Kind, columns: &str, merge: bool) -> Bench {
        Bench::named(kind, "t", columns, merge).await
    }

    async fn named(kind: Kind, name: &str, columns: &str, merge: bool) -> Bench {
        let db = database(kind, "target").await;
        let access = access(&db);
        let stones = format!("stones_{}", db.name());
        control(&db, kind).await;
        let id = TableId::new(if kind.is_postgres() { "public" } else { db.name() }, name);
        let quoted = match kind.is_postgres() {
            true => postgres::sql::table(&id),
            false => mysql::sql::table(&id),
        };
        let stamps =
            ", tidelock_version bigint NOT NULL DEFAULT 1, tidelock_origin smallint NOT NULL DEFAULT 0";
        let stamps = if merge { stamps } else { "" };
        db.exec(&format!("CREATE TABLE {quoted} ({columns}{stamps})"))
            .await;
        if merge {
            db.exec(&format!(
                "CREATE TABLE tidelock.{stones} (id bigint PRIMARY KEY, tidelock_version bigint NOT NULL, \
                 tidelock_origin smallint NOT NULL)"
            ))
            .await;
        }
        let table = catalog(kind, &access, &id).await;
        let stamps = merge.then(|| StampColumns {
            version: table.column("tidelock_version").unwrap(),
            origin: table.column("tidelock_origin").unwrap(),
            tombstones: stones,
        });
        let movement = movement(db.name(), 0);
        let mut target = Target::open(kind, &access).await;
        forward_create(&mut target, &movement).await.unwrap();
        Bench {
            kind,
            shape: Shape {
                table: Arc::new(table),
                stamps,
            },
            target,
            access,
            movement: moved(&movement),
            db,
        }
    }

    async fn begin(&mut self) {
        self.target.begin(&self.movement).await.unwrap();
    }

    /// Ends the transaction; the next one moves the checkpoint on.
    async fn commit(&mut self) {
        self.target.commit().await.unwrap();
        self.movement = moved(&self.movement);
    }

    /// One transaction with one attempt.
    async fn attempt(&mut self, writes: &[Write]) -> Vec<bool> {
        self.begin().await;
        let applied = self.target.attempt(&self.shape, writes).await;
        self.commit().await;
        applied
    }

    /// One transaction that reads, as it must, and writes.
    async fn write(&mut self, writes: &[Write]) -> Vec<Written> {
        self.begin().await;
        let keys: Vec<Key> = writes.iter().map(|write| write.key.clone()).collect();
        self.target.read(&self.shape, &keys).await;
        let written = self.target.write(&self.shape, writes).await;
        self.commit().await;
        written
    }

    /// Cells of the table as text, one string per row.
    async fn cells(&self, columns: &str) -> Vec<String> {
        let quoted = match self.kind.is_postgres() {
            true => postgres::sql::table(&self.shape.table.id),
            false => mysql::sql::table(&self.shape.table.id),
        };
        let rows = self
            .db
            .rows(&format!("SELECT {columns} FROM {quoted} ORDER BY 1"))
            .await;
        let text = |row: Vec<Option<String>>| {
            let cells = row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            cells.collect::<Vec<_>>().join(" ")
        };
        rows.into_iter().map(text).collect()
    }

    async fn stones(&self) -> Vec<String> {
        let stones = &self.shape.stamps.as_ref().unwrap().tombstones;
        let sql = format!("SELECT id, tidelock_version, tidelock_origin FROM tidelock.{stones} ORDER BY 1");
        let rows = self.db.rows(&sql).await.into_iter();
        rows.map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
            .collect()
    }

    async fn bury(&self, id: i64, version: i64, origin: i64) {
        let stones = &self.shape.stamps.as_ref().unwrap().tombstones;
        self.db
            .exec(&format!(
                "INSERT INTO tidelock.{stones} VALUES ({id}, {version}, {origin})"
            ))
            .await;
    }
}

async fn forward_create(target: &mut Target, movement: &Move) -> Result<()> {
    forward!(target.create_checkpoint(movement))
}

fn access(db: &Db) -> Access {
    let url = url::Url::parse(&db.url()).unwrap();
    Access {
        node: "b".to_owned(),
        host: url.host_str().unwrap().to_owned(),
        port: url.port().unwrap(),
        user: url.username().to_owned(),
        secret: match url.password() {
            Some(password) => Secret::Plain(password.to_owned().into()),
            None => Secret::None,
        },
        database: db.name().to_owned(),
        tls: TlsMode::Disable,
        ca_file: None,
    }
}

/// Tests of one server make it at the same time.
async fn control(db: &Db, kind: Kind) {
    let sql = match kind.is_postgres() {
        true => include_str!("../sql/postgres/001_control.sql"),
        false => include_str!("../sql/mysql/001_control.sql"),
    };
    for _ in 0..20 {
        if db.try_exec(sql).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    db.exec(sql).await;
}

async fn catalog(kind: Kind, access: &Access, id: &TableId) -> Table {
    let ids = [id.clone()];
    let mut found = match kind.is_postgres() {
        true => {
            let client = postgres::connect(access).await.unwrap();
            postgres::catalog::tables(&client, &ids).await.unwrap()
        }
        false => {
            let mut conn = mysql::connect(access).await.unwrap();
            let found = mysql::catalog::tables(&mut conn, &ids).await.unwrap();
            conn.query_drop("DO 1").await.unwrap();
            found
        }
    };
    found.remove(0).unwrap().table
}

fn movement(sync: &str, seq: i64) -> Move {
    Move {
        marker: Marker {
            sync: sync.to_owned(),
            link: LINK.to_owned(),
            lane: 0,
            seq,
            position: "lsn:0/10".to_owned(),
            origin: 1,
            hop: 1,
            segment: Segment::Applied,
            config_hash: "hash".to_owned(),
        },
        epoch: 1,
        from_seq: seq - 1,
        settle: None,
        source_identity: "it's \"me\" \\".to_owned(),
    }
}

fn moved(movement: &Move) -> Move {
    let mut next = movement.clone();
    next.from_seq = movement.marker.seq;
    next.marker.seq += 1;
    next
}

fn int(number: i64) -> Value {
    Value::Int(number)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn key(id: i64) -> Key {
    Box::new([int(id)])
}

fn row(cells: &[Value]) -> Row {
    cells.iter().cloned().map(Some).collect()
}

fn insert(id: i64, cells: &[Value]) -> Write {
    insert_under(key(id), &[&[int(id)], cells].concat())
}

fn insert_under(key: Key, cells: &[Value]) -> Write {
    Write {
        key,
        op: WriteOp::Insert { row: row(cells) },
    }
}

fn update(id: i64, cells: &[Value], base: Option<Stamp>) -> Write {
    update_under(key(id), &[&[int(id)], cells].concat(), base)
}

fn update_under(key: Key, cells: &[Value], base: Option<Stamp>) -> Write {
    let row = row(cells);
    Write {
        key,
        op: WriteOp::Update { row, base },
    }
}

fn delete(id: i64, base: Option<Stamp>, tombstone: Option<Stamp>) -> Write {
    Write {
        key: key(id),
        op: WriteOp::Delete { base, tombstone },
    }
}

/// One test per kind of server.
macro_rules! on_all_kinds {
    ($($scenario:ident)*) => {
        $(mod $scenario {
            use super::harness::Kind;
            #[tokio::test]
            async fn postgres18() {
                Box::pin(super::scenarios::$scenario(Kind::Postgres18)).await;
            }
            #[tokio::test]
            async fn postgres15() {
                Box::pin(super::scenarios::$scenario(Kind::Postgres15)).await;
            }
            #[tokio::test]
            async fn mysql() {
                Box::pin(super::scenarios::$scenario(Kind::Mysql)).await;
            }
            #[tokio::test]
            async fn mariadb() {
                Box::pin(super::scenarios::$scenario(Kind::Mariadb)).await;
            }
        })*
    };
}

on_all_kinds! {
    uncontested_writes_apply_and_others_change_nothing
    an_insert_that_loses_a_race_is_not_applied
    tombstones_beat_inserts_of_their_version_and_below
    a_tombstone_committed_while_an_insert_waits_beats_it
    stamps_guard_updates_and_deletes_and_the_greater_tombstone_stays
    unique_values_may_be_swapped
    a_taken_unique_value_is_named_and_the_others_are_written
    refused_rows_do_not_hold_back_the_others
    nothing_is_ever_cut_to_fit
    only_the_holder_of_the_epoch_goes_on
    a_rollback_leaves_nothing
    a_large_batch_goes_through
    hostile_names_and_values_arrive_as_they_are
    text_keys_are_their_spelling
    composite_keys_of_many_types_find_their_rows
    reads_lock_and_see_tombstones
    conflicts_are_recorded_once
    every_type_survives_a_set_of_rows
}

mod scenarios {
    use super::*;

    const PLAIN: &str = "id bigint PRIMARY KEY, a varchar(20), b int";

    pub(super) async fn uncontested_writes_apply_and_others_change_nothing(kind: Kind) {
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
            },
        };
        assert_eq!(bench.attempt(&[keys_only]).await, [true]);
    }

    pub(super) async fn an_insert_that_loses_a_race_is_not_applied(kind: Kind) {
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

    pub(super) async fn tombstones_beat_inserts_of_their_version_and_below(kind: Kind) {
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

    pub(super) async fn a_tombstone_committed_while_an_insert_waits_beats_it(kind: Kind) {
        let mut bench = Bench::new(kind, PLAIN, true).await;
        bench.db.exec("INSERT INTO t VALUES (1, 'x', 1, 3, 1)").await;
        let stones = bench.shape.stamps.as_ref().unwrap().tombstones.clone();
        let mut other = bench.db.session().await;
        other.exec("BEGIN").await;
        other.exec("DELETE FROM t WHERE id = 1").await;
        other
            .exec(&format!("INSERT INTO tidelock.{stones} VALUES (1, 3, 1)"))
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

    pub(super) async fn stamps_guard_updates_and_deletes_and_the_greater_tombstone_stays(kind: Kind) {
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
        // Decided deletes always leave the greater stamp, whether a row is there or not.
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

    const UNIQUE: &str = "id bigint PRIMARY KEY, a varchar(20) NOT NULL, b int, CONSTRAINT a_once UNIQUE (a), \
                          CONSTRAINT b_small CHECK (b < 100)";

    pub(super) async fn unique_values_may_be_swapped(kind: Kind) {
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

    pub(super) async fn a_taken_unique_value_is_named_and_the_others_are_written(kind: Kind) {
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

    pub(super) async fn refused_rows_do_not_hold_back_the_others(kind: Kind) {
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

    pub(super) async fn nothing_is_ever_cut_to_fit(kind: Kind) {
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
                assert!(!why.contains("secret") && !why.contains("99"), "{why}");
            }
            assert_eq!(written[1], Written::Done);
            assert_eq!(bench.write(&[delete(2, None, None)]).await, [Written::Done]);
        }
        assert_eq!(
            bench.cells("id, a, b, c, d, f").await,
            ["0 abc 32767 abc 999.9 2024-02-29"]
        );
    }

    pub(super) async fn only_the_holder_of_the_epoch_goes_on(kind: Kind) {
        let mut bench = Bench::new(kind, PLAIN, false).await;
        let sync = bench.movement.marker.sync.clone();
        let again = forward_create(&mut bench.target, &movement(&sync, 0)).await;
        assert_eq!(again.unwrap_err().class(), Class::Definite);
        assert_eq!(bench.target.checkpoint("no such sync").await, None);

        bench.movement.marker.position = "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".to_owned();
        bench.movement.settle = Some("lsn:0/99".to_owned());
        bench.begin().await;
        let mut own = bench.movement.clone();
        own.marker.segment = Segment::Own;
        own.marker.position = "lsn:0/77".to_owned();
        let target = &mut bench.target;
        forward!(target.segment(&own)).unwrap();
        bench
            .target
            .attempt(&bench.shape, &[insert(1, &[text("x"), int(1)])])
            .await;

        // Whoever takes over waits for the open transaction, and then finds what it left.
        let mut second = Target::open(kind, &bench.access).await;
        let ending = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            bench.commit().await;
        };
        let taking = async {
            let second = &mut second;
            forward!(second.take_over(&sync, LINK)).unwrap().unwrap()
        };
        let (checkpoint, ()) = tokio::join!(taking, ending);
        assert_eq!((checkpoint.epoch, checkpoint.seq), (2, 1));
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

    pub(super) async fn a_rollback_leaves_nothing(kind: Kind) {
        let mut bench = Bench::new(kind, UNIQUE, false).await;
        bench.begin().await;
        let writes = [insert(1, &[text("x"), int(1)])];
        assert_eq!(bench.target.attempt(&bench.shape, &writes).await, [true]);
        let target = &mut bench.target;
        forward!(target.rollback()).unwrap();
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
        };
        let target = &mut bench.target;
        assert_eq!(
            forward!(target.attempt(&broken, &writes)).unwrap_err().class(),
            Class::Definite
        );
        assert!(bench.target.commit().await.is_err());
        let target = &mut bench.target;
        forward!(target.rollback()).unwrap();
    }

    pub(super) async fn a_large_batch_goes_through(kind: Kind) {
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

    pub(super) async fn hostile_names_and_values_arrive_as_they_are(kind: Kind) {
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

    pub(super) async fn text_keys_are_their_spelling(kind: Kind) {
        // One that takes other spellings for the same key, and one that cannot hold every character.
        let variants: &[&str] = match kind {
            Kind::Mysql | Kind::Mariadb => &[
                "k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, b int",
                "k varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY, b int",
                "k char(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci PRIMARY KEY, b int",
            ],
            Kind::Postgres15 | Kind::Postgres18 => &[
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
            Kind::Mariadb => {
                "k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PRIMARY KEY, b int"
            }
            Kind::Postgres15 | Kind::Postgres18 => "k varchar(20) PRIMARY KEY, b int",
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

    pub(super) async fn composite_keys_of_many_types_find_their_rows(kind: Kind) {
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
                    Value::Bool(n % 2 == 0)
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

    pub(super) async fn reads_lock_and_see_tombstones(kind: Kind) {
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

    pub(super) async fn conflicts_are_recorded_once(kind: Kind) {
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
            local_stamp: Some(Stamp::write(3, 2)),
            incoming_stamp: None,
            operation: "update",
            source_position: "lsn:0/1".to_owned(),
            source_committed_at_us: 1_709_208_000_123_456,
            detail: "why".to_owned(),
        };
        for _ in 0..2 {
            bench.begin().await;
            let target = &mut bench.target;
            forward!(target.record(&sync, LINK, &[conflict("1"), conflict("2")])).unwrap();
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

    /// Values go out in sets of very different rows and come back the same.
    pub(super) async fn every_type_survives_a_set_of_rows(kind: Kind) {
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
        let db = database(kind, "types").await;
        drop(db);
        let columns = "id bigint PRIMARY KEY, b bool, s smallint, d double precision, f real, n numeric, \
                       nn numeric(10,2), v varchar(5), c char(5), bits bit(3), vb varbit(9), by bytea, da date, \
                       ti time(3), ts timestamp(3), tz timestamptz, u uuid, j json, jb jsonb, iv interval, \
                       ia int[], ca char(3)[], ba bit(2)[], ip inet, po point, na name, \
                       auto bigint GENERATED ALWAYS AS IDENTITY, g bigint GENERATED ALWAYS AS (s + 1) STORED";
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
        // The server alone counts an ALWAYS identity; ours is set all the same.
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
}
