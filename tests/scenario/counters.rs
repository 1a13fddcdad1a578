//! What shows a change that was lost, or applied twice: rows that are only ever raised by one, and a row per transaction.
//!
//! Each side has keys of its own, so there is one right answer.

use super::{Scene, Side, Table};

pub const COUNTER: Table = Table {
    name: "counter",
    body: "id int NOT NULL PRIMARY KEY, n int NOT NULL",
    key: &["id"],
    columns: &["n"],
};

/// A row per transaction of a [`Loader`](super::Loader): its journal.
pub const DONE: Table = Table {
    name: "done",
    body: "id bigint NOT NULL PRIMARY KEY",
    key: &["id"],
    columns: &[],
};

/// The keys of a side's counters begin here, and the ids of its transactions.
pub fn base(side: Side) -> u64 {
    match side {
        Side::A => 0,
        Side::B => 1_000_000,
    }
}

/// So many counters at zero, for each side.
pub async fn insert_counters(scene: &Scene, count: u64) {
    for side in [Side::A, Side::B] {
        let rows: Vec<String> = (0..count).map(|n| format!("({}, 0)", base(side) + n)).collect();
        scene
            .exec(side, &format!("INSERT INTO counter VALUES {}", rows.join(",")))
            .await;
    }
}

/// Both sides show how often each side raised each of its counters, and so many transactions.
pub async fn assert_counted(scene: &Scene, expected: &[Vec<u64>], transactions: u64) {
    for side in [Side::A, Side::B] {
        for (owner, counts) in [Side::A, Side::B].into_iter().zip(expected) {
            let first = base(owner);
            let sql = format!(
                "SELECT n FROM counter WHERE id >= {first} AND id < {} ORDER BY id",
                first + counts.len() as u64
            );
            let rows = scene.db(side).rows(&sql).await;
            let found: Vec<u64> = rows
                .into_iter()
                .flatten()
                .flatten()
                .map(|n| n.parse().unwrap())
                .collect();
            assert_eq!(&found, counts, "counters of {owner:?} on {side:?}");
        }
        assert_eq!(
            scene.db(side).count("done").await as u64,
            transactions,
            "inserts on {side:?}"
        );
    }
}
