//! What every test against real servers stands on.
//!
//! - [`database`]: a fresh database on a server shared by the whole test run, in milliseconds.
//! - [`peer`]: another one, for the second node of a sync between two servers of one kind.
//! - [`private`]: a server of the test's own, in a second or two, which it may kill, stop and restart.
//! - [`Tidelock`]: the built program with a config file, run to its end or in the background.
//! - [`equal`], [`wait_equal`]: a table on two nodes, row by row, whatever the engines.
//! - [`eventually`]: waiting for a condition, with a limit and a name.
//!
//! Shared servers are started by `scripts/test.sh`, which passes their URLs in `TIDELOCK_TEST_<KIND>`. Without them a
//! test starts a private server instead, so `cargo test` works too, only slower. No test is ever skipped.

// Each test binary uses its part of the harness, and none is a library.
#![allow(dead_code, unreachable_pub, unused_imports)]

use std::time::{Duration, Instant};

pub use compare::{difference, difference_where, equal, wait_equal};
pub use database::{Db, database, peer, private};
pub use grants::access;
pub use program::{Frozen, Output, Tidelock, free_address, signal};
pub use session::{Rows, Session};
pub use tidelock::playground::{Kind, Options, Server};

mod accounts;
mod compare;
mod database;
mod grants;
mod program;
mod session;

const POLL: Duration = Duration::from_millis(20);

/// Waits until the condition holds; panics with `what` when it does not within the limit.
pub async fn eventually(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < limit,
            "waited {} s in vain for: {what}",
            limit.as_secs()
        );
        tokio::time::sleep(POLL).await;
    }
}
