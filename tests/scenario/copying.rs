//! First copies that are stopped at a known place: by a row that somebody else has inserted into the target and not
//! committed, for which the chunk that brings the same key waits.

use super::{LIMIT, Scene, Side, Table, numbers};
use crate::harness::{Rows, Session, eventually};

pub const SEATS: Table = Table {
    name: "seat",
    body: "id bigint NOT NULL PRIMARY KEY, place int UNIQUE, body {text}, n int",
    key: &["id"],
    columns: &["place", "body", "n"],
};

pub const ONE_BY_ONE: &str = "[limits]\ncopy_workers = 1\nchunk_rows_max = 100";

impl Scene {
    /// Copies from this side. `more`: keys of the sync.
    pub fn copies_from(&mut self, from: Side, more: &str) {
        let seed = if from == Side::A { "from:a" } else { "from:b" };
        self.configure(seed, more);
    }

    /// 1000 seats, in ten chunks; on PostgreSQL with a column that the log leaves out where it did not change.
    pub async fn fill_seats(&self, from: Side) {
        if self.db(from).kind().is_postgres() {
            self.exec(from, "ALTER TABLE seat ALTER COLUMN body SET STORAGE EXTERNAL")
                .await;
        }
        let rows = format!(
            "INSERT INTO seat SELECT i + 1, i + 1, repeat('x', 3000), 0 FROM {}",
            numbers(1000)
        );
        self.exec(from, &rows).await;
    }

    /// Keeps the chunk of row 550 from being done.
    pub async fn obstacle(&self, to: Side) -> Session {
        let mut session = self.db(to).session().await;
        if !self.db(to).kind().is_postgres() {
            // Nothing but its row is locked, by no trigger of ours and by no gap.
            session.exec("SET @tidelock_apply = 1").await;
            session
                .exec("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                .await;
        }
        session.exec("BEGIN").await;
        session
            .exec("INSERT INTO seat VALUES (550, -1, 'obstacle', 0)")
            .await;
        session
    }

    /// Runs until the chunks before row 550 are done, and returns them.
    pub async fn run_into(&mut self, to: Side) -> Rows {
        self.run().await;
        eventually(LIMIT, "chunks are done", async || {
            self.chunks_done(to).await.len() >= 5
        })
        .await;
        self.chunks_done(to).await
    }

    pub async fn chunks_done(&self, to: Side) -> Rows {
        let sql = format!(
            "SELECT table_name, number, copied_rows, epoch, done_at FROM tidelock.chunk \
             WHERE sync = '{}' AND state = 'done' ORDER BY 1, 2",
            self.sync
        );
        self.db(to).rows(&sql).await
    }

    /// Every chunk is done, and those that were done before are as they were.
    pub async fn assert_went_on(&self, to: Side, before: &Rows) -> Rows {
        let after = self.chunks_done(to).await;
        for chunk in before {
            assert!(after.contains(chunk), "done again: {chunk:?}, now {after:?}");
        }
        let open = "SELECT count(*) FROM tidelock.chunk WHERE state <> 'done' AND sync = ";
        let open = format!("{open}'{}'", self.sync);
        assert_eq!(self.db(to).one(&open).await, "0");
        after
    }
}
