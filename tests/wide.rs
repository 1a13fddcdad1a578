//! Tables at the far end of what servers take: hundreds of columns, values of 64 MB, partitions.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Db, Kind};
use scenario::{Pair, Scene, Side, Table, Way};

pairs! {
    five_hundred_columns_cross => five_hundred_columns_cross;
    partitions_are_their_table => partitions_are_their_table;
}

const COLUMNS: usize = 500;
const WIDE: Table = Table {
    name: "wide",
    body: "",
    key: &["id"],
    columns: &["c001", "c250", "c251", "c499"],
};

/// Numbers and short texts in turn, so that no page is too small for a row of InnoDB's.
async fn five_hundred_columns_cross(pair: Pair) {
    let mut scene = Scene::new("wide", pair, Way::Merge, &[WIDE]).await;
    let names: Vec<String> = (1..COLUMNS).map(|n| format!("c{n:03}")).collect();
    let typed =
        |(n, name): (usize, &String)| format!(", {name} {}", if n % 2 == 0 { "int" } else { "varchar(5)" });
    let columns: String = names.iter().enumerate().map(typed).collect();
    let create = format!("CREATE TABLE wide (id int NOT NULL PRIMARY KEY{columns})");
    let row = |id: usize| {
        let cells: String = (0..COLUMNS - 1)
            .map(|n| {
                if n % 2 == 0 {
                    format!(", {}", id * n)
                } else {
                    format!(", 'é{}'", n % 1000)
                }
            })
            .collect();
        format!("({id}{cells})")
    };
    for side in [Side::A, Side::B] {
        scene.exec(side, &create).await;
    }
    let rows: Vec<String> = (1..=20).map(row).collect();
    scene
        .exec(Side::A, &format!("INSERT INTO wide VALUES {}", rows.join(", ")))
        .await;
    scene.start().await;
    for (side, id, column) in [(Side::A, 31, "c251 = 7"), (Side::B, 32, "c250 = 'x'")] {
        scene
            .exec(side, &format!("INSERT INTO wide VALUES {}", row(id)))
            .await;
        scene
            .exec(
                side,
                &format!("UPDATE wide SET {column} WHERE id IN (5, {id}, {})", id % 30),
            )
            .await;
        scene.crossed().await;
    }
    scene.exec(Side::B, "DELETE FROM wide WHERE id = 3").await;
    scene.wait_equal().await;
    let sum: Vec<String> = (1..COLUMNS).step_by(2).map(|n| format!("sum(c{n:03})")).collect();
    let sql = format!("SELECT CAST({} AS char(40)) FROM wide", sum.join(" + "));
    assert_eq!(scene.a.one(&sql).await.trim(), scene.b.one(&sql).await.trim());
    scene.assert_no_conflicts().await;
    assert_eq!(scene.b.one("SELECT c251 FROM wide WHERE id = 5").await, "7");
    assert_eq!(scene.a.one("SELECT c250 FROM wide WHERE id = 2").await, "x");
}

const PART: Table = Table {
    name: "part",
    body: "",
    key: &["id"],
    columns: &["v"],
};

/// Both ways, by the first copy and by the stream; rows move between the partitions.
async fn partitions_are_their_table(pair: Pair) {
    let mut scene = Scene::new("part", pair, Way::Merge, &[PART]).await;
    for side in [Side::A, Side::B] {
        let sql = match scene.db(side).kind().is_postgres() {
            true => {
                "CREATE TABLE part (id int NOT NULL PRIMARY KEY, v varchar(20)) PARTITION BY RANGE (id);
                 CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
                 CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200);
                 CREATE TABLE part_3 PARTITION OF part DEFAULT"
            }
            false => {
                "CREATE TABLE part (id int NOT NULL PRIMARY KEY, v varchar(20)) PARTITION BY RANGE (id)
                 (PARTITION p1 VALUES LESS THAN (50), PARTITION p2 VALUES LESS THAN (150), PARTITION p3 VALUES LESS THAN MAXVALUE)"
            }
        };
        scene.exec(side, sql).await;
    }
    let rows = "INSERT INTO part VALUES (1, 'a'), (60, 'b'), (110, 'c'), (160, 'd'), (900, 'e')";
    scene.exec(Side::A, rows).await;
    scene.start().await;
    for (side, base) in [(Side::A, 1_000), (Side::B, 2_000)] {
        let sql = format!(
            "INSERT INTO part VALUES ({base}, 'new'), ({} , 'new'); UPDATE part SET v = 'changed {base}' WHERE id = {};
             UPDATE part SET id = {} WHERE id = {base}; DELETE FROM part WHERE id = {}",
            base / 100 + 1,
            if side == Side::A { 60 } else { 160 },
            base / 20 + 7,
            if side == Side::A { 1 } else { 900 },
        );
        scene.exec(side, &sql).await;
        scene.wait_equal().await;
    }
    assert_eq!(scene.a.count("part").await, 7);
    scene.assert_no_conflicts().await;
}

const HUGE: Table = Table {
    name: "huge",
    body: "id int NOT NULL PRIMARY KEY, b {bytes}, t {text}",
    key: &["id"],
    columns: &[],
};
const BYTES: usize = 64 << 20;
/// Bytes are two digits each in the statement and in PostgreSQL's stream.
const PEAK_KIB_MAX: u64 = 1 << 20;

/// As statements the values must pass the server's own limit, which is 64 MB unless it is told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_64_mb_cross() {
    let pair = Pair(Kind::Postgres18, Kind::Mysql);
    let extra = ["--max-allowed-packet=67108864"];
    let mut scene = Scene::with_b("huge", pair, Way::Merge, &[HUGE], &extra).await;
    // Too large as it is, and too large to wait: it stops by name, with what helps.
    huge(&scene.a, 1).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let stopped = scene.lock.run(&["run", "--once"]).await;
    let helps = "larger than max_allowed_packet (67108864 bytes";
    assert!(
        stopped.code == 5 && stopped.stderr.contains(helps) && stopped.stderr.contains("= 1073741824"),
        "{stopped:?}"
    );
    scene.b.as_dba("SET GLOBAL max_allowed_packet = 1073741824").await;
    scene.run().await;
    scene.streaming().await;
    scene.crossed().await;
    eprintln!(
        "peak of the copy: {} MiB",
        peak_kib(scene.lock.pid().unwrap()) >> 10
    );
    huge(&scene.a, 2).await;
    scene.crossed().await;
    eprintln!("and from a: {} MiB", peak_kib(scene.lock.pid().unwrap()) >> 10);
    huge(&scene.b, 3).await;
    scene.crossed().await;
    for (id, side) in [(1, Side::B), (2, Side::B), (3, Side::A)] {
        assert_eq!(
            digests(scene.db(side), id).await,
            digests(scene.db(other(side)), id).await,
            "{id}"
        );
    }
    let peak = peak_kib(scene.lock.pid().unwrap());
    eprintln!("peak {} MiB", peak >> 10);
    assert!(peak < PEAK_KIB_MAX, "{} MiB", peak >> 10);
    scene.stop().await;
}

fn other(side: Side) -> Side {
    if side == Side::A { Side::B } else { Side::A }
}

async fn huge(db: &Db, id: usize) {
    let sql = match db.kind().is_postgres() {
        true => format!(
            "INSERT INTO huge VALUES ({id}, decode(repeat('00ff2{id}5c', {0}), 'hex'), repeat('é\\''\n', {1}))",
            BYTES / 4,
            BYTES / 64
        ),
        false => format!(
            "INSERT INTO huge VALUES ({id}, repeat(x'00ff2{id}5c', {0}), repeat('é\\\\''\n', {1}))",
            BYTES / 4,
            BYTES / 64
        ),
    };
    db.session().await.exec(&sql).await;
}

async fn digests(db: &Db, id: usize) -> Vec<Option<String>> {
    let sql = match db.kind().is_postgres() {
        true => format!(
            "SELECT octet_length(b), encode(sha256(b), 'hex'), encode(sha256(convert_to(t, 'UTF8')), 'hex') FROM huge WHERE id = {id}"
        ),
        false => format!("SELECT length(b), sha2(b, 256), sha2(t, 256) FROM huge WHERE id = {id}"),
    };
    db.rows(&sql).await.remove(0)
}

fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
