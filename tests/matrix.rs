//! Every pair of engines in every mode and direction: the same few seconds of a shop, of types and of conflicts.
//!
//! `make test` runs three pairs of this beside the two that all other suites run on; `make test-all` runs the rest
//! too, and writes docs/pairs.md from what each test leaves in the folder `TIDELOCK_MATRIX`.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::Instant;

use harness::{Db, Kind, eventually};
use scenario::changes::{OF_A, OF_B, OLD, changes_of, rows, steps};
use scenario::own::{self, Own};
use scenario::{LIMIT, Pair, SHOP, Scene, Side, Table, Way};

macro_rules! matrix {
    ($($pair:ident = $a:ident, $b:ident $(: $all:meta)?;)+) => {
        $(mod $pair {
            use super::*;
            const PAIR: Pair = Pair(Kind::$a, Kind::$b);
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$all])?
            async fn merge() {
                smoke(PAIR, Way::Merge).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$all])?
            async fn to_second() {
                smoke(PAIR, Way::AToB).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$all])?
            async fn to_first() {
                smoke(PAIR, Way::BToA).await;
            }
        })+
    };
}

matrix! {
    postgres18_postgres15 = Postgres18, Postgres15;
    mysql_mariadb = Mysql, Mariadb;
    mysql_mysql = Mysql, Mysql;

    mariadb_mariadb = Mariadb, Mariadb: ignore = "make test-all";
    postgres18_postgres18 = Postgres18, Postgres18: ignore = "make test-all";
    postgres18_postgres17 = Postgres18, Postgres17: ignore = "make test-all";
    postgres18_postgres16 = Postgres18, Postgres16: ignore = "make test-all";
    postgres17_postgres17 = Postgres17, Postgres17: ignore = "make test-all";
    postgres17_postgres16 = Postgres17, Postgres16: ignore = "make test-all";
    postgres17_postgres15 = Postgres17, Postgres15: ignore = "make test-all";
    postgres16_postgres16 = Postgres16, Postgres16: ignore = "make test-all";
    postgres16_postgres15 = Postgres16, Postgres15: ignore = "make test-all";
    postgres15_postgres15 = Postgres15, Postgres15: ignore = "make test-all";
    postgres18_mysql = Postgres18, Mysql: ignore = "make test-all";
    postgres17_mysql = Postgres17, Mysql: ignore = "make test-all";
    postgres16_mysql = Postgres16, Mysql: ignore = "make test-all";
    postgres15_mysql = Postgres15, Mysql: ignore = "make test-all";
    postgres18_mariadb = Postgres18, Mariadb: ignore = "make test-all";
    postgres17_mariadb = Postgres17, Mariadb: ignore = "make test-all";
    postgres16_mariadb = Postgres16, Mariadb: ignore = "make test-all";
    postgres15_mariadb = Postgres15, Mariadb: ignore = "make test-all";
}

/// Compared by itself.
const OWN: Table = Table {
    name: own::NAME,
    body: "",
    key: &["id"],
    columns: &[],
};

async fn smoke(pair: Pair, way: Way) {
    let start = Instant::now();
    let own = Own::of(pair.0, pair.1);
    let mut tables = SHOP.to_vec();
    tables.extend(own.as_ref().map(|_| OWN));
    let mut scene = Scene::new("matrix", pair, way, &tables).await;
    let seeder = way.sources()[0];
    if let Some(own) = &own {
        own.create(&scene.a).await;
        own.create(&scene.b).await;
        own.insert(scene.db(seeder), OLD as usize).await;
    }
    scene.exec(seeder, &rows(pair, seeder, OLD)).await;
    scene.start().await;
    scene.wait_equal().await;

    let (on_a, on_b) = (steps(pair, way, Side::A, OF_A), steps(pair, way, Side::B, OF_B));
    tokio::join!(scene.exec(Side::A, &on_a), scene.exec(Side::B, &on_b));
    for side in way.sources() {
        if let Some(own) = &own {
            let base = if *side == Side::A { OF_A } else { OF_B };
            own.update(scene.db(*side), base as usize).await;
        }
    }
    let last = *way.sources().last().unwrap();
    scene.exec(last, &changes_of(OLD)).await;
    scene.wait_equal().await;
    if let Some(own) = &own {
        assert_eq!(own.difference(&scene.a, &scene.b).await, None);
    }
    scene.assert_no_conflicts().await;
    match way {
        Way::Merge => conflicts(&mut scene).await,
        Way::AToB | Way::BToA => drift(&mut scene, last).await,
    }
    scene.stop().await;
    record(&scene, pair, way, start).await;
}

/// Rows that both sides changed end equal, and each side has recorded its own loss or win.
async fn conflicts(scene: &mut Scene) {
    let (a, b) = (OF_A + 21, OF_A + 22);
    scene
        .apart(
            &format!("UPDATE item SET note = 'a' WHERE id = {a}; DELETE FROM item WHERE id = {b}; INSERT INTO item VALUES (7777777, 'a', 1, 'a')"),
            &format!("UPDATE item SET note = 'b' WHERE id = {a}; UPDATE item SET note = 'b' WHERE id = {b}; INSERT INTO item VALUES (7777777, 'b', 2, 'b')"),
        )
        .await;
    for side in [Side::A, Side::B] {
        let mut kinds: Vec<String> = scene.conflicts(side).await.into_iter().map(|c| c.kind).collect();
        kinds.sort();
        let deleted = if side == Side::A {
            "update_deleted"
        } else {
            "delete_origin_differs"
        };
        let mut expected = ["insert_exists", deleted, "update_origin_differs"];
        expected.sort_unstable();
        assert_eq!(kinds, expected, "{side:?}");
    }
}

/// What somebody changed on the target is put right by the next change of its row, and recorded.
async fn drift(scene: &mut Scene, source: Side) {
    let target = if source == Side::A { Side::B } else { Side::A };
    let id = if source == Side::A { OF_A + 21 } else { OF_B + 21 };
    scene
        .exec(target, &format!("DELETE FROM item WHERE id = {id}"))
        .await;
    scene
        .exec(source, &format!("UPDATE item SET note = 'true' WHERE id = {id}"))
        .await;
    eventually(LIMIT, "the missing row to be recorded", async || {
        scene
            .conflicts(target)
            .await
            .iter()
            .any(|c| c.kind == "update_missing")
    })
    .await;
}

/// One file per test, for the table in docs/pairs.md.
async fn record(scene: &Scene, pair: Pair, way: Way, start: Instant) {
    let Some(folder) = std::env::var_os("TIDELOCK_MATRIX") else {
        return;
    };
    let line = format!(
        "{}\t{}\t{:.0}\n",
        version(&scene.a).await,
        version(&scene.b).await,
        start.elapsed().as_secs_f64()
    );
    let name = format!("{}-{}.{way:?}", pair.0, pair.1);
    std::fs::write(std::path::Path::new(&folder).join(name), line).unwrap();
}

async fn version(db: &Db) -> String {
    let (name, sql) = match db.kind() {
        Kind::Mysql => ("MySQL", "SELECT version()"),
        Kind::Mariadb => ("MariaDB", "SELECT version()"),
        _ => ("PostgreSQL", "SHOW server_version"),
    };
    let text = db.one(sql).await;
    let number = text.split(['-', ' ']).next().unwrap_or_default();
    format!("{name} {number}")
}
