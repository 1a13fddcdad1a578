//! Tables at the far end of what servers take: hundreds of columns, values of 16 and 64 MB, partitions.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Db, Kind, eventually};
use scenario::{LIMIT, Pair, Scene, Side, Table, Way};

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
/// Memory beyond what the program takes anyway, in sizes of the largest value: bytes are two digits each in statements and
/// in PostgreSQL's stream.
const COPIES_MAX: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_16_mb_cross() {
    huge_values(16 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-all"]
async fn values_of_64_mb_cross() {
    huge_values(64 << 20).await;
}

/// As a statement a value must pass the server's own limit.
async fn huge_values(bytes: usize) {
    let pair = Pair(Kind::Postgres18, Kind::Mysql);
    let extra = format!("--max-allowed-packet={bytes}");
    let mut scene = Scene::with_b("huge", pair, Way::Merge, &[HUGE], &[&extra]).await;
    huge(&scene.a, 1, bytes).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    refused(&scene, bytes).await;
    scene.b.as_dba("SET GLOBAL max_allowed_packet = 1073741824").await;
    scene.run().await;
    scene.streaming().await;
    if bytes < 64 << 20 {
        // What no packet holds waits without its cells: a change of the row brings them.
        scene
            .exec(Side::A, "UPDATE huge SET t = t || '.' WHERE id = 1")
            .await;
    }
    eventually(LIMIT, "the row of the copy", async || {
        scene.b.count("huge").await == 1
    })
    .await;
    huge(&scene.a, 2, bytes).await;
    scene.crossed().await;
    huge(&scene.b, 3, bytes).await;
    scene.crossed().await;
    for (id, side) in [(1, Side::B), (2, Side::B), (3, Side::A)] {
        assert_eq!(
            digests(scene.db(side), id).await,
            digests(scene.db(side.other()), id).await,
            "{id}"
        );
    }
    let peak = peak_kib(scene.lock.pid().unwrap());
    eprintln!("peak {} MiB", peak >> 10);
    let most = u64::try_from((64 << 20) + COPIES_MAX * bytes).unwrap() >> 10;
    assert!(peak < most, "{} MiB", peak >> 10);
    scene.stop().await;
}

/// Too large for a packet it waits; too large to wait, too, it stops the run. Either way with what helps.
async fn refused(scene: &Scene, bytes: usize) {
    let once = scene.lock.run(&["run", "--once"]).await;
    let helps = format!("larger than max_allowed_packet ({bytes} bytes");
    if bytes >= 64 << 20 {
        assert!(once.code == 5 && once.stderr.contains(&helps), "{once:?}");
        assert!(
            once.stderr.contains("SET GLOBAL max_allowed_packet = 1073741824"),
            "{once:?}"
        );
        return;
    }
    assert_eq!(once.code, 0, "{once:?}");
    let refused = scene.conflicts(Side::B).await;
    assert!(
        refused.len() == 1 && refused[0].kind == "value_refused" && refused[0].detail.contains(&helps),
        "{refused:?}"
    );
}

async fn huge(db: &Db, id: usize, bytes: usize) {
    let sql = match db.kind().is_postgres() {
        true => format!(
            "INSERT INTO huge VALUES ({id}, decode(repeat('00ff2{id}5c', {0}), 'hex'), repeat('é\\''\n', {1}))",
            bytes / 4,
            bytes / 64
        ),
        false => format!(
            "INSERT INTO huge VALUES ({id}, repeat(x'00ff2{id}5c', {0}), repeat('é\\\\''\n', {1}))",
            bytes / 4,
            bytes / 64
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
