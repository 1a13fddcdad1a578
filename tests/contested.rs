//! Both sides write the same rows at the same time: they end equal, and no write vanishes without a trace.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::Duration;

use scenario::account::account;
use scenario::contest::{self, HOT, Load, Log, Until};
use scenario::{Pair, Random, Scene, Way};

all_pairs! {
    no_write_vanishes => contested;
}

const LOAD: Load = Load {
    keys: 200,
    until: Until::Passed(Duration::from_secs(10)),
    writers: 2,
    pause_ms: 8,
};

async fn contested(pair: Pair) {
    let mut scene = Scene::new("contested", pair, Way::Merge, &[HOT]).await;
    scene.start().await;
    let mut random = Random::new("contested");
    let mut log = Log::default();
    contest::write(&(&scene).into(), LOAD, &mut random, &mut log).await;
    scene.wait_equal().await;
    let account = account(&(&scene).into(), &log, false).await;
    eprintln!("{account:?}");
    // The test could not fail if there had been no contest.
    assert!(
        account.written > 500 && account.recorded > 10,
        "too tame: {account:?}"
    );
}
