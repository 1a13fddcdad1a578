//! The stamp triggers against the pure function that says what they do, on every kind of server.

use crate::harness::Kind;
use crate::node::{Node, codes};
use crate::scenario::Random;
use std::collections::BTreeMap;
use tidelock::model::sync::Mapped;
use tidelock::model::version::VersionSource;
use tidelock::version::{Brings, inserted, moved, updated};

const KEYS: u64 = 4;
const STEPS: usize = 120;
const STATES: [&str; 5] = ["new", "paid", "it's \\ shipped", "odd", "NEW"];

/// One test per kind of server.
macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use crate::harness::Kind;
            #[tokio::test]
            async fn postgres18() { super::$test(Kind::Postgres18).await }
            #[tokio::test]
            async fn postgres15() { super::$test(Kind::Postgres15).await }
            #[tokio::test]
            async fn mysql() { super::$test(Kind::Mysql).await }
            #[tokio::test]
            async fn mariadb() { super::$test(Kind::Mariadb).await }
        }
    )+ };
}

on_every_server!(
    counters_agree,
    statuses_agree,
    statuses_of_an_enum_agree,
    moments_agree,
    moments_with_a_zone_agree,
    odd_moments_break_no_write,
    clocks_rise,
    unfit_columns_are_told,
);

fn status() -> VersionSource {
    VersionSource::Status {
        column: "state".to_owned(),
        order: STATES[..3].iter().map(ToString::to_string).collect(),
    }
}

fn changed() -> VersionSource {
    VersionSource::Column("changed".to_owned())
}

async fn node(kind: Kind, source: VersionSource, state: &str, changed: &str) -> Node {
    let ddl = format!("CREATE TABLE t (id int PRIMARY KEY, n int, state {state}, changed {changed})");
    let mut node = Node::new(kind, "versions", &ddl, &["t"]).await;
    node.scope.mapped = vec![Mapped {
        version: source,
        ..Mapped::default()
    }];
    node.setup().await;
    node
}

/// What the database should hold, by the function alone.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u64, (i64, Brings)>,
    tombstones: BTreeMap<u64, i64>,
    floor: i64,
}

impl Model {
    fn seen(&self, key: u64) -> i64 {
        let row = self.rows.get(&key).map_or(0, |(version, _)| *version);
        let tombstone = self.tombstones.get(&key).copied().unwrap_or(0);
        row.max(tombstone).max(self.floor)
    }

    fn bury(&mut self, key: u64) {
        if let Some((version, _)) = self.rows.remove(&key) {
            let tombstone = self.tombstones.entry(key).or_insert(0);
            *tombstone = version.max(*tombstone);
        }
    }
}

/// What a row's value brings, and how SQL says the value.
type Value = (String, Brings);

/// Random statements one by one; after each the table holds what the function says.
async fn agree(node: &Node, source: &str, mut value: impl FnMut(&mut Random) -> Value) {
    let mut random = Random::new(source);
    let mut model = Model::default();
    let column = if source.starts_with("state") {
        "state"
    } else {
        "changed"
    };
    for step in 0..STEPS {
        // On MySQL 0 stands for a number that is still to come.
        let (key, other) = (1 + random.below(KEYS), 1 + random.below(KEYS));
        let (text, brings) = value(&mut random);
        let stands = model.rows.contains_key(&key);
        let sql = match (stands, random.below(8)) {
            (false, _) => {
                model
                    .rows
                    .insert(key, (inserted(model.seen(key), brings), brings));
                format!("INSERT INTO t (id, n, {column}) VALUES ({key}, {step}, {text})")
            }
            (true, 0) => {
                model.bury(key);
                format!("DELETE FROM t WHERE id = {key}")
            }
            (true, 1) if !model.rows.contains_key(&other) => {
                let (old, brings) = model.rows[&key];
                model.bury(key);
                let version = moved(old, model.seen(other), brings);
                model.rows.insert(other, (version, brings));
                format!("UPDATE t SET id = {other} WHERE id = {key}")
            }
            (true, 2) => {
                let (old, brings) = model.rows[&key];
                model.rows.insert(key, (updated(old, brings), brings));
                format!("UPDATE t SET n = {step} + 1000 WHERE id = {key}")
            }
            (true, 3) => format!("UPDATE t SET n = n, {column} = {column} WHERE id = {key}"),
            (true, 4) if step % 3 == 0 => {
                model.floor = model.seen(key) + 3;
                format!(
                    "UPDATE tidelock.table_state SET floor = {} WHERE sync = '{}'",
                    model.floor, node.scope.sync
                )
            }
            (true, _) => {
                let (old, _) = model.rows[&key];
                model.rows.insert(key, (updated(old, brings), brings));
                format!("UPDATE t SET n = {step}, {column} = {text} WHERE id = {key}")
            }
        };
        node.exec(&sql).await;
        let found = node
            .db
            .rows("SELECT id, tidelock_version FROM t ORDER BY id")
            .await;
        let found: Vec<(u64, i64)> = found
            .iter()
            .map(|row| {
                let number = |place: usize| row[place].as_deref().unwrap();
                (number(0).parse().unwrap(), number(1).parse().unwrap())
            })
            .collect();
        let expected: Vec<(u64, i64)> = model
            .rows
            .iter()
            .map(|(key, (version, _))| (*key, *version))
            .collect();
        assert_eq!(found, expected, "step {step}: {sql}");
    }
}

fn a_status(node: &Node, random: &mut Random, states: &[&str]) -> Value {
    let place = usize::try_from(random.below(states.len() as u64 + 1)).unwrap();
    let Some(state) = states.get(place) else {
        return ("NULL".to_owned(), Brings::Status(0));
    };
    let listed = STATES[..3].iter().position(|known| known == state);
    let rank = listed.map_or(0, |place| u8::try_from(place + 1).unwrap());
    let text = state.replace('\'', "''");
    let text = if node.is_postgres() {
        text
    } else {
        text.replace('\\', "\\\\")
    };
    (format!("'{text}'"), Brings::Status(rank))
}

async fn counters_agree(kind: Kind) {
    let node = node(kind, VersionSource::Counter, "varchar(20)", "date").await;
    agree(&node, "state counter", |random| {
        (format!("'{}'", random.below(9)), Brings::Nothing)
    })
    .await;
}

async fn statuses_agree(kind: Kind) {
    let node = node(kind, status(), "varchar(20)", "date").await;
    agree(&node, "state", |random| a_status(&node, random, &STATES)).await;
}

async fn statuses_of_an_enum_agree(kind: Kind) {
    let labels: Vec<String> = STATES[..4]
        .iter()
        .map(|state| {
            let state = state.replace('\'', "''");
            let is_postgres = kind.is_postgres();
            format!(
                "'{}'",
                if is_postgres {
                    state
                } else {
                    state.replace('\\', "\\\\")
                }
            )
        })
        .collect();
    let labels = labels.join(", ");
    let node = match kind.is_postgres() {
        false => node(kind, status(), &format!("enum({labels})"), "date").await,
        true => {
            let ddl = format!(
                "CREATE TYPE state AS ENUM ({labels}); CREATE TABLE t (id int PRIMARY KEY, n int, state public.state)"
            );
            let mut node = Node::new(kind, "versions", &ddl, &["t"]).await;
            node.scope.mapped = vec![Mapped {
                version: status(),
                ..Mapped::default()
            }];
            node.setup().await;
            node
        }
    };
    agree(&node, "state enum", |random| {
        a_status(&node, random, &STATES[..4])
    })
    .await;
}

/// Milliseconds of 2026 and some of 1970 and before, and none.
fn a_moment(random: &mut Random) -> Value {
    match random.below(10) {
        0 => ("NULL".to_owned(), Brings::Moment(0)),
        1 => (
            "'1970-01-02 00:00:00.001'".to_owned(),
            Brings::Moment(86_400_001_000),
        ),
        _ => {
            let milliseconds = random.below(3_600_000);
            let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
            // 2026-05-01 00:00:00 UTC.
            let moment = 1_777_593_600_000_000 + i64::try_from(milliseconds).unwrap() * 1_000;
            let text = format!(
                "'2026-05-01 00:{:02}:{:02}.{rest:03}'",
                seconds / 60,
                seconds % 60
            );
            (text, Brings::Moment(moment))
        }
    }
}

async fn moments_agree(kind: Kind) {
    let ty = if kind.is_postgres() {
        "timestamp(6)"
    } else {
        "datetime(3)"
    };
    let node = node(kind, changed(), "int", ty).await;
    agree(&node, "changed", a_moment).await;
}

async fn moments_with_a_zone_agree(kind: Kind) {
    let ty = if kind.is_postgres() {
        "timestamptz"
    } else {
        "timestamp(6) NULL"
    };
    let node = node(kind, changed(), "int", ty).await;
    agree(&node, "changed", a_moment).await;
}

/// Whatever a column can hold, the user's write goes through and the version rises.
async fn odd_moments_break_no_write(kind: Kind) {
    let ty = if kind.is_postgres() {
        "timestamp"
    } else {
        "datetime(6)"
    };
    let node = node(kind, changed(), "int", ty).await;
    let odd: &[&str] = match kind.is_postgres() {
        true => &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 00:00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
        ],
        false => &[
            "'0000-00-00 00:00:00'",
            "'2026-02-31 00:00:00'",
            "'1000-01-01 00:00:00'",
            "'9999-12-31 23:59:59.999999'",
        ],
    };
    let mut session = node.db.session().await;
    if !node.is_postgres() {
        session
            .exec("SET sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'")
            .await;
    }
    session.exec("INSERT INTO t (id) VALUES (1)").await;
    let mut last = 1_i64;
    for text in odd {
        session
            .exec(&format!("UPDATE t SET changed = {text} WHERE id = 1"))
            .await;
        let now: i64 = session
            .one("SELECT tidelock_version FROM t")
            .await
            .parse()
            .unwrap();
        assert!(
            now > last && now < 253_402_300_800_000_100,
            "{kind} {text}: {last} then {now}"
        );
        last = now;
    }
}

/// Between the server's clock before and after, and above what was there.
async fn clocks_rise(kind: Kind) {
    let node = node(kind, VersionSource::Clock, "int", "date").await;
    let clock = match node.is_postgres() {
        true => "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        false => "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
    };
    let number = async |sql: &str| -> i64 { node.db.one(sql).await.parse().unwrap() };
    for sql in [
        "INSERT INTO t (id) VALUES (1)",
        "UPDATE t SET n = 5",
        "UPDATE t SET id = 2",
    ] {
        let before = number(clock).await;
        node.exec(sql).await;
        let after = number(clock).await;
        let version = number("SELECT tidelock_version FROM t").await;
        assert!(
            before <= version && version <= after,
            "{sql}: {before} {version} {after}"
        );
    }
    let version = number("SELECT tidelock_version FROM t").await;
    node.exec("UPDATE t SET n = n, id = id").await;
    assert_eq!(number("SELECT tidelock_version FROM t").await, version);
    node.exec(&format!("UPDATE t SET tidelock_version = {version} + 1000000000"))
        .await;
    node.exec("UPDATE t SET n = 6").await;
    assert_eq!(
        number("SELECT tidelock_version FROM t").await,
        version + 1_000_000_001
    );
    node.exec("DELETE FROM t; INSERT INTO t (id) VALUES (2)").await;
    assert_eq!(
        number("SELECT tidelock_version FROM t").await,
        version + 1_000_000_002
    );
}

/// A column with seconds, none at all, one of another type, labels that do not fit.
async fn unfit_columns_are_told(kind: Kind) {
    let ddl = match kind.is_postgres() {
        true => {
            "CREATE TYPE lot AS ENUM ('new', 'paid', 'gone');
             CREATE TABLE t (id int PRIMARY KEY, at timestamp(0), fine timestamptz(3), word text, lot public.lot)"
        }
        false => {
            "CREATE TABLE t (id int PRIMARY KEY, at datetime, fine timestamp(3) NULL, word text,
             lot enum('new', 'paid', 'gone'))"
        }
    };
    let mut node = Node::new(kind, "unfit", ddl, &["t"]).await;
    node.let_look().await;
    let by = |column: &str, order: &[&str]| VersionSource::Status {
        column: column.to_owned(),
        order: order.iter().map(ToString::to_string).collect(),
    };
    let time = |column: &str| VersionSource::Column(column.to_owned());
    for (source, code, words) in [
        (time("at"), "E610", "(3)"),
        (time("word"), "E610", "must hold a date and time"),
        (time("none"), "E610", "no such column"),
        (by("at", &["new"]), "E612", "must hold statuses"),
        (by("none", &["new"]), "E612", "no such column"),
        (by("lot", &["new", "payed"]), "E612", "payed"),
        (by("lot", &["new", "paid"]), "W613", "gone"),
    ] {
        node.scope.mapped = vec![Mapped {
            version: source.clone(),
            ..Mapped::default()
        }];
        let findings = node.check().await;
        let found = findings.iter().find(|finding| finding.code == code);
        let text = format!("{found:?}");
        assert!(text.contains(words), "{source:?}: {findings:?}");
        let refused = node.try_setup().await;
        match code {
            "W613" => assert!(refused.is_ok(), "{refused:?}"),
            _ => assert!(refused.unwrap_err().to_string().contains(code)),
        }
    }
    for source in [time("fine"), by("word", &["new"]), by("id", &["1"])] {
        node.scope.mapped = vec![Mapped {
            version: source,
            ..Mapped::default()
        }];
        // The triggers of another source are out of date.
        assert!(codes(&node.check().await).contains(&"E403"), "{kind}");
        node.setup().await;
        let found = node.check().await;
        assert!(
            !codes(&found).iter().any(|code| code.starts_with("E6")),
            "{found:?}"
        );
    }
}
