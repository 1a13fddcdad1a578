//! Transactional mode is atomic: whoever reads the target sees states that the source has had.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::Session;
use scenario::{Pair, Random, Scene, Table, Way};

all_pairs! {
    total_never_changes_from_postgres => |pair| transfers("atom_to_b", pair, Way::AToB);
    total_never_changes_to_postgres => |pair| transfers("atom_to_a", pair, Way::BToA);
}

const ACCOUNT: Table = Table {
    name: "account",
    body: "id int NOT NULL PRIMARY KEY, balance bigint NOT NULL",
    key: &["id"],
    columns: &["balance"],
};

const VAULT: Table = Table {
    name: "vault",
    body: "id int NOT NULL PRIMARY KEY, balance bigint NOT NULL",
    key: &["id"],
    columns: &["balance"],
};

/// More rows than the groups configured below hold, so that a transaction over all of them is applied in parts.
const ACCOUNTS: u64 = 12_000;
const SMALL_GROUPS: &str = "[limits]\ngroup_bytes_max = 65536";
const VAULTS: u64 = 20;
const EACH: u64 = 1_000;
const WRITE_FOR: Duration = Duration::from_secs(6);

/// One statement sees one state of the database, on every engine.
const LOOK: &str = "SELECT (SELECT sum(balance) FROM account) + (SELECT sum(balance) FROM vault), \
                    (SELECT balance FROM account WHERE id = 0), (SELECT count(*) FROM vault)";

async fn transfers(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &[ACCOUNT, VAULT]).await;
    scene.configure(if way == Way::BToA { "from:b" } else { "from:a" }, SMALL_GROUPS);
    let (source, target) = (way.sources()[0], scene.targets()[0]);
    for (table, rows) in [("account", ACCOUNTS), ("vault", VAULTS)] {
        let rows: Vec<String> = (0..rows).map(|id| format!("({id}, {EACH})")).collect();
        scene
            .exec(source, &format!("INSERT INTO {table} VALUES {}", rows.join(",")))
            .await;
    }
    scene.start().await;
    scene.wait_equal().await;

    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(watch(scene.db(target).session().await, over.clone()));
    let written = transfer(scene.db(source).session().await, Random::new(hint)).await;
    scene.wait_equal().await;
    over.store(true, Ordering::Relaxed);
    let seen = reader.await.unwrap();
    scene.assert_equal().await;
    eprintln!("{written} transfers, the reader saw {seen} different states");
    assert!(
        written > 50 && seen > 5,
        "too tame: {written} transfers, {seen} states seen"
    );
}

/// Moves money between accounts, between tables, in and out of rows that come and go, and over all rows at once.
async fn transfer(mut session: Session, mut random: Random) -> u64 {
    let start = Instant::now();
    let mut count = 0;
    let mut extra = VAULTS;
    while start.elapsed() < WRITE_FOR {
        let (from, to, sum) = (
            random.below(ACCOUNTS),
            random.below(ACCOUNTS),
            random.below(50) + 1,
        );
        let mut steps = vec![
            format!("UPDATE account SET balance = balance - {sum} WHERE id = {from}"),
            format!("UPDATE account SET balance = balance + {sum} WHERE id = {to}"),
            format!("UPDATE account SET balance = balance - {sum} WHERE id = 0"),
            format!(
                "UPDATE vault SET balance = balance + {sum} WHERE id = {}",
                random.below(VAULTS)
            ),
        ];
        match count % 40 {
            3 => {
                steps.push(format!("INSERT INTO vault VALUES ({extra}, {sum})"));
                steps.push(format!(
                    "UPDATE account SET balance = balance - {sum} WHERE id = {to}"
                ));
                extra += 1;
            }
            13 => {
                let last = extra - 1;
                steps.push(format!("UPDATE account SET balance = balance + (SELECT balance FROM vault WHERE id = {last}) WHERE id = {to}"));
                steps.push(format!("DELETE FROM vault WHERE id = {last}"));
                extra -= 1;
            }
            17 => {
                let half = ACCOUNTS / 2;
                steps.push(format!(
                    "UPDATE account SET balance = balance - 1 WHERE id < {half}"
                ));
                steps.push(format!(
                    "UPDATE account SET balance = balance + 1 WHERE id >= {half}"
                ));
            }
            _ => {}
        }
        session.exec("BEGIN").await;
        for step in steps {
            session.exec(&step).await;
        }
        session.exec("COMMIT").await;
        count += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    count
}

/// Looks at the target until the end; returns how many different states it met.
async fn watch(mut session: Session, over: Arc<AtomicBool>) -> usize {
    let total = ((ACCOUNTS + VAULTS) * EACH).to_string();
    let mut states = HashSet::new();
    while !over.load(Ordering::Relaxed) {
        let row: Vec<String> = session.rows(LOOK).await.remove(0).into_iter().flatten().collect();
        assert_eq!(row[0], total, "a state that the source never had");
        states.insert(row[1..].to_vec());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    states.len()
}
