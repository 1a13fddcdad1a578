//! Memory stays flat whatever the size of a transaction: the kernel's own peak of the running program is compared.
//! `scripts/memory.sh` measures the same at full size.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{Pair, Scene, Side, Table, Way};

pairs! {
    a_large_transaction_takes_no_more_memory_than_a_small_one => |pair| large("memory", pair);
}

const LARGE: Table = Table {
    name: "large",
    body: "id bigint NOT NULL PRIMARY KEY, body {text} NOT NULL",
    key: &["id"],
    columns: &["body"],
};

/// One thousand bytes each: more than the bound in one transaction, so that holding it whole cannot pass.
const ROWS: u64 = 160_000;
const PEAK_KIB_MAX: u64 = 128 << 10;

async fn large(hint: &str, pair: Pair) {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[LARGE]).await;
    scene.start().await;
    for (side, first) in [(Side::A, 0), (Side::B, ROWS)] {
        scene.exec(side, &insert(first)).await;
        scene.crossed().await;
        let peak = scene.lock.peak_kib();
        eprintln!("{} MB from {side:?}: peak {} MiB", ROWS / 1000, peak >> 10);
        assert!(
            peak < PEAK_KIB_MAX,
            "{} MiB after a transaction from {side:?}",
            peak >> 10
        );
    }
    for side in [Side::A, Side::B] {
        assert_eq!(
            scene.db(side).count("large").await,
            2 * i64::try_from(ROWS).unwrap()
        );
    }
    scene.assert_no_conflicts().await;
    scene.stop().await;
}

/// The same on every engine.
fn insert(first: u64) -> String {
    let digits = |name: &str, count: u64| {
        let numbers: Vec<String> = (0..count).map(|number| format!("SELECT {number} AS d")).collect();
        format!("({}) {name}", numbers.join(" UNION ALL "))
    };
    format!(
        "INSERT INTO large SELECT {first} + a.d + 100 * b.d + 10000 * c.d, repeat('0123456789', 100) FROM {}, {}, {}",
        digits("a", 100),
        digits("b", 100),
        digits("c", ROWS / 10_000),
    )
}
