//! Reading MySQL and MariaDB on real servers: the log and the first copy against the server's own text, transactions
//! and their markers, restarts, and every setting that would lose rows.
#![allow(clippy::unwrap_used)]

mod ddl;
mod files;
mod forms;
#[path = "../harness/mod.rs"]
mod harness;
mod refusals;
mod sessions;
mod transactions;
mod types;
mod undecided;

use harness::{Db, Kind};
use std::sync::Arc;
use std::time::Duration;
use tidelock::access::{Access, Secret, SourceOptions as Options, TlsMode};
use tidelock::error::{Class, Error, Reason};
use tidelock::model::change::{Change, Op, Part, Step, Writer};
use tidelock::model::origin::Segment;
use tidelock::model::position::Position;
use tidelock::model::schema::{ColumnType, TableId};
use tidelock::model::sync::Mode;
use tidelock::model::value::{Row, Value};
use tidelock::mysql::snapshot::{Snapshot, start_position};
use tidelock::mysql::source::Source;
use tidelock::mysql::{catalog, connect};

const LIMIT: Duration = Duration::from_secs(60);

/// A database is its owner's; what the server itself is told, its DBA tells.
async fn database(kind: Kind, hint: &str) -> Db {
    harness::database(kind, hint).await.with_accounts().await
}

async fn private(kind: Kind, options: &harness::Options) -> Db {
    harness::private(kind, options).await.with_accounts().await
}

/// Tidelock reads as the run account.
fn access(db: &Db) -> Access {
    harness::access("my", &db.run_url())
}

async fn options(db: &Db, tables: &[&str]) -> Options {
    db.grant(&ids(db, tables), false).await;
    granted(db, tables).await
}

fn ids(db: &Db, tables: &[&str]) -> Vec<TableId> {
    tables.iter().map(|name| TableId::new(db.name(), *name)).collect()
}

/// As [`options`], for tables that `setup` refuses.
async fn granted(db: &Db, tables: &[&str]) -> Options {
    let (access, ids) = (access(db), ids(db, tables));
    let mut conn = connect(&access).await.unwrap();
    let found = catalog::tables(&mut conn, &ids).await.unwrap();
    let tables = found
        .into_iter()
        .map(|table| Arc::new(table.expect("no such table")))
        .collect();
    conn.disconnect().await.unwrap();
    Options {
        access,
        sync: "s".to_owned(),
        target: "pg".to_owned(),
        tables,
        mode: Mode::Merge,
        onward: None,
        fresh: true,
        spill: tidelock::spill::Space::default(),
        stream: true,
        keep: None,
    }
}

/// A dump from now on.
async fn source(options: &Options) -> Source {
    let from = start_position(options).await.unwrap();
    Source::open(options.clone(), &from).await.unwrap()
}

async fn next(source: &mut Source) -> Result<Step, Error> {
    tokio::time::timeout(LIMIT, source.next())
        .await
        .expect("the source has nothing to say")
}

/// Reads on until the source stops: what came before, and why.
async fn stopped(source: &mut Source) -> (Vec<Part>, Error) {
    let mut parts = Vec::new();
    loop {
        match next(source).await {
            Ok(Step::Part(part)) => parts.push(part),
            Ok(Step::Idle { .. }) => {}
            Err(error) => return (parts, error),
        }
    }
}

/// Only the newest file of the log is left.
async fn purge_old_logs(db: &Db) {
    let status = match db.kind() {
        Kind::Mysql => "SHOW BINARY LOG STATUS",
        _ => "SHOW MASTER STATUS",
    };
    let newest = db.rows(status).await.remove(0).remove(0).unwrap();
    // MariaDB keeps logs that its own recovery may need until they are checkpointed.
    harness::eventually(LIMIT, "the log is purged", async || {
        db.as_dba(&format!("PURGE BINARY LOGS TO '{newest}'")).await;
        db.rows("SHOW BINARY LOGS").await.len() == 1
    })
    .await;
}

/// Parts up to where the log ends now. Parts without changes that others wrote are left out: the server is shared.
async fn parts(source: &mut Source, options: &Options) -> Vec<Part> {
    let until = start_position(options).await.unwrap();
    let mut parts = Vec::new();
    loop {
        let position = match next(source).await.unwrap() {
            Step::Idle { position, .. } => Some(position),
            Step::Part(part) => {
                let end = part.end.clone();
                let is_ours = match &part.writer {
                    Writer::User => true,
                    Writer::Tidelock(marker) => marker.sync == options.access.database,
                };
                if is_ours || !part.changes.is_empty() {
                    parts.push(part);
                }
                end
            }
        };
        if position.is_some_and(|position| position.covers(&until).unwrap()) {
            return parts;
        }
    }
}

fn changes(parts: &[Part]) -> Vec<Change> {
    parts.iter().flat_map(|part| part.changes.clone()).collect()
}

async fn copy(snapshot: &mut Snapshot, options: &Options, table: usize) -> Vec<Row> {
    snapshot
        .open_table(&options.tables[table].table, &Default::default(), None)
        .await
        .unwrap();
    let mut all = Vec::new();
    loop {
        let rows = snapshot.rows(70).await.unwrap();
        if rows.is_empty() {
            return all;
        }
        assert!(rows.len() <= 70);
        all.extend(rows);
    }
}

/// A canonical value as one line of text; `None` is NULL.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => format!("{:?}", f64::from(*number)),
        Value::Double(number) => format!("{number:?}"),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::Uuid(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::Decimal(text)
        | Value::Text(text)
        | Value::Bit(text)
        | Value::Date(text)
        | Value::Time(text)
        | Value::Timestamp(text)
        | Value::TimestampTz(text)
        | Value::Json(text)
        | Value::Interval(text)
        | Value::Opaque(text) => text.to_string(),
    })
}

/// `+id`, `~old>new`, `-id`, `truncate`: what happened, by the first column.
fn told(parts: &[Part]) -> Vec<String> {
    let id = |row: &Row| text(row.get(0).unwrap()).unwrap();
    let change = |change: Change| match &change.op {
        Op::Insert { new } => format!("+{}", id(new)),
        Op::Update { old, new } => format!("~{}>{}", id(old.as_ref().unwrap()), id(new)),
        Op::Delete { old } => format!("-{}", id(old)),
        Op::Truncate => "truncate".to_owned(),
    };
    changes(parts).into_iter().map(change).collect()
}

async fn refused(options: &Options, from: &Position) -> Error {
    match Source::open(options.clone(), from).await {
        Ok(_) => panic!("the source opened"),
        Err(error) => error,
    }
}
