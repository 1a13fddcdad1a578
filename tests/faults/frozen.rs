//! A server that hangs with its connections open: neither an answer nor an error comes.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::stage::Pair;
use crate::{Scene, Side, long_on_both_pairs};

long_on_both_pairs!(noticed_and_survived);

/// Documented; and what a busy machine adds.
const NOTICED_WITHIN: Duration = Duration::from_secs(30 + 20);

/// Every process of a server.
fn signal(scene: &mut Scene, side: Side, name: &str) {
    let pid = scene.db_mut(side).server().pid().unwrap();
    // A child of PostgreSQL that is stopped cannot be forked meanwhile: the parent first.
    let line = format!("kill -{name} {pid} $(ps -o pid= --ppid {pid})");
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

async fn noticed_and_survived(pair: Pair) {
    let mut scene = Scene::new(pair, &[]).await;
    scene.stage.begin().await;
    scene.stage.start().await;
    for (side, other) in [(Side::B, Side::A), (Side::A, Side::B)] {
        let from = scene.stage.lock.log().len();
        let start = Instant::now();
        signal(&mut scene, side, "STOP");
        scene.add(other).await;
        let node = if side == Side::A {
            "a: could not"
        } else {
            "b: could not"
        };
        let said = scene
            .said(from, &["interrupted", node, "answers neither"], NOTICED_WITHIN)
            .await;
        println!("{pair:?}: noticed after {:?}: {said}", start.elapsed());
        signal(&mut scene, side, "CONT");
        scene.add(side).await;
        scene.stage.write().await;
        scene.stage.wait_equal().await;
    }
    let (code, _) = scene.stage.lock.term().await;
    assert_eq!(code, 0);
}
