//! A database with the control schema, one table and an apply session; and short names for values and writes.

use super::harness::{Db, Kind, access, database};
use std::sync::Arc;
use tidelock::access::Access;
use tidelock::engine::{self, Node};
use tidelock::error::Result;
use tidelock::model::conflict::Local;
use tidelock::model::origin::{Marker, Segment};
use tidelock::model::schema::{Engine, Table, TableId};
use tidelock::model::stamp::Stamp;
use tidelock::model::sync::Checkpoint;
use tidelock::model::value::{Row, Value};
use tidelock::plan::{Key, Move, Shape, StampColumns, Write, WriteOp, Written};
use tidelock::{mysql, postgres};

pub(crate) const PLAIN: &str = "id bigint PRIMARY KEY, a varchar(20), b int";

pub(crate) const UNIQUE: &str = "id bigint PRIMARY KEY, a varchar(20) NOT NULL, b int, CONSTRAINT a_once UNIQUE (a), \
                      CONSTRAINT b_small CHECK (b < 100)";

/// An apply session whose answers, where only the data matters, must not be errors.
pub(crate) struct Target(pub(crate) engine::Target);

impl Target {
    pub(crate) async fn open(kind: Kind, access: &Access) -> Target {
        Target(engine::Target::open(engine_of(kind), access, true).await.unwrap())
    }

    pub(crate) async fn checkpoint(&mut self, sync: &str) -> Option<Checkpoint> {
        self.0.checkpoint(sync, LINK).await.unwrap()
    }

    pub(crate) async fn take_over(&mut self, sync: &str) -> Checkpoint {
        self.0.take_over(sync, LINK, INSTANCE).await.unwrap().unwrap()
    }

    pub(crate) async fn begin(&mut self, movement: &Move) -> Result<()> {
        self.0.begin(movement).await
    }

    pub(crate) async fn attempt(&mut self, shape: &Shape, writes: &[Write]) -> Vec<bool> {
        self.0.attempt(shape, writes).await.unwrap()
    }

    pub(crate) async fn read(&mut self, shape: &Shape, keys: &[Key]) -> Vec<Local> {
        self.0.read(shape, keys).await.unwrap()
    }

    pub(crate) async fn write(&mut self, shape: &Shape, writes: &[Write]) -> Vec<Written> {
        self.0.write(shape, writes).await.unwrap()
    }

    pub(crate) async fn commit(&mut self) -> Result<()> {
        self.0.commit().await
    }

    pub(crate) async fn rollback(&mut self) {
        self.0.rollback().await.unwrap();
    }
}

pub(crate) fn engine_of(kind: Kind) -> Engine {
    match kind {
        Kind::Postgres18 | Kind::Postgres17 | Kind::Postgres16 | Kind::Postgres15 => Engine::Postgres,
        Kind::Mysql => Engine::Mysql,
        Kind::Mariadb => Engine::Mariadb,
    }
}

pub(crate) const LINK: &str = "a->b";
/// The copy of the program that holds the lease, which `take_over` wants.
pub(crate) const INSTANCE: &str = "bench";

/// A database with the control schema, one table, and an apply session.
pub(crate) struct Bench {
    pub(crate) kind: Kind,
    pub(crate) access: Access,
    pub(crate) shape: Shape,
    pub(crate) target: Target,
    pub(crate) movement: Move,
    /// Dropped last: a database is not dropped under an open transaction.
    pub(crate) db: Db,
}

impl Bench {
    /// `columns` is the table's definition; with `merge` stamps and tombstones (of a key `id bigint`) are added.
    pub(crate) async fn new(kind: Kind, columns: &str, merge: bool) -> Bench {
        Bench::named(kind, "t", columns, merge).await
    }

    pub(crate) async fn named(kind: Kind, name: &str, columns: &str, merge: bool) -> Bench {
        let db = database(kind, "target").await.with_accounts().await;
        let access = access("b", &db.run_url());
        let stones = format!("stones_{}", db.name());
        db.make_control_schema().await;
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
                 tidelock_origin smallint NOT NULL, tidelock_generation bigint)"
            ))
            .await;
        }
        db.grant(std::slice::from_ref(&id), true).await;
        if merge && kind.is_postgres() {
            let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE";
            db.exec(&format!("{grant} tidelock.{stones} TO {}", db.run_account()))
                .await;
        }
        let table = catalog(kind, &access, &id).await;
        let stamps = merge.then(|| StampColumns {
            version: table.column("tidelock_version").unwrap(),
            origin: table.column("tidelock_origin").unwrap(),
            tombstones: stones,
            beside: None,
        });
        let movement = movement(db.name(), 0);
        let mut target = Target::open(kind, &access).await;
        target.0.create_checkpoint(&movement).await.unwrap();
        Bench {
            kind,
            shape: Shape {
                table: Arc::new(table),
                stamps,
                untouched: vec![],
            },
            target,
            access,
            movement: moved(&movement),
            db,
        }
    }

    pub(crate) async fn begin(&mut self) {
        self.target.begin(&self.movement).await.unwrap();
    }

    /// Ends the transaction; the next one moves the checkpoint on.
    pub(crate) async fn commit(&mut self) {
        self.target.commit().await.unwrap();
        self.movement = moved(&self.movement);
    }

    /// One transaction with one attempt.
    pub(crate) async fn attempt(&mut self, writes: &[Write]) -> Vec<bool> {
        self.begin().await;
        let applied = self.target.attempt(&self.shape, writes).await;
        self.commit().await;
        applied
    }

    /// One transaction that reads, as it must, and writes.
    pub(crate) async fn write(&mut self, writes: &[Write]) -> Vec<Written> {
        self.begin().await;
        let keys: Vec<Key> = writes.iter().map(|write| write.key.clone()).collect();
        self.target.read(&self.shape, &keys).await;
        let written = self.target.write(&self.shape, writes).await;
        self.commit().await;
        written
    }

    /// Cells of the table as text, one string per row.
    pub(crate) async fn cells(&self, columns: &str) -> Vec<String> {
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

    pub(crate) async fn stones(&self) -> Vec<String> {
        let stones = &self.shape.stamps.as_ref().unwrap().tombstones;
        let sql = format!("SELECT id, tidelock_version, tidelock_origin FROM tidelock.{stones} ORDER BY 1");
        let rows = self.db.rows(&sql).await.into_iter();
        rows.map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
            .collect()
    }

    pub(crate) async fn bury(&self, id: i64, version: i64, origin: i64) {
        let stones = &self.shape.stamps.as_ref().unwrap().tombstones;
        self.db
            .exec(&format!(
                "INSERT INTO tidelock.{stones} (id, tidelock_version, tidelock_origin) VALUES ({id}, {version}, {origin})"
            ))
            .await;
    }
}

async fn catalog(kind: Kind, access: &Access, id: &TableId) -> Table {
    let mut node = Node::connect(access, engine_of(kind)).await.unwrap();
    let mut found = node.catalog(std::slice::from_ref(id)).await.unwrap();
    found.remove(0).unwrap().table
}

pub(crate) fn movement(sync: &str, seq: i64) -> Move {
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

pub(crate) fn moved(movement: &Move) -> Move {
    let mut next = movement.clone();
    next.from_seq = movement.marker.seq;
    next.marker.seq += 1;
    next
}

pub(crate) fn int(number: i64) -> Value {
    Value::Int(number)
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn key(id: i64) -> Key {
    Box::new([int(id)])
}

pub(crate) fn row(cells: &[Value]) -> Row {
    cells.iter().cloned().map(Some).collect()
}

pub(crate) fn insert(id: i64, cells: &[Value]) -> Write {
    insert_under(key(id), &[&[int(id)], cells].concat())
}

pub(crate) fn insert_under(key: Key, cells: &[Value]) -> Write {
    Write {
        key,
        op: WriteOp::Insert { row: row(cells) },
    }
}

pub(crate) fn update(id: i64, cells: &[Value], base: Option<Stamp>) -> Write {
    update_under(key(id), &[&[int(id)], cells].concat(), base)
}

pub(crate) fn update_under(key: Key, cells: &[Value], base: Option<Stamp>) -> Write {
    let row = row(cells);
    Write {
        key,
        op: WriteOp::Update {
            row,
            base,
            here: None,
        },
    }
}

/// The delete of a row that was not there when it was read.
pub(crate) fn bury(id: i64, tombstone: Option<Stamp>) -> Write {
    Write {
        key: key(id),
        op: WriteOp::Bury { tombstone },
    }
}

pub(crate) fn delete(id: i64, base: Option<Stamp>, tombstone: Option<Stamp>) -> Write {
    Write {
        key: key(id),
        op: WriteOp::Delete { base, tombstone },
    }
}
