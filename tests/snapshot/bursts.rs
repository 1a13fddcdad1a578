//! `every` on ordinary links: what was written crosses in bursts, whole and in order, and a restart keeps the pace.

use crate::harness::eventually;
use crate::scenario::{self, ITEM, LIMIT, Pair, Scene, Side, Way};
use serde_json::Value as Json;

crate::pairs! {
    one_way_in_bursts => |pair| bursts(pair, Way::AToB);
    two_way_in_bursts => |pair| bursts(pair, Way::Merge);
}

fn with_every(scene: &mut Scene, every: &str) {
    scene.configure(
        "from:a",
        &format!("every = \"{every}\"\n[limits]\nlease_ttl_s = 2"),
    );
}

async fn states(scene: &Scene) -> Vec<Json> {
    let output = scene.lock.run(&["status", "--json"]).await;
    let document: Json =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    document["links"].as_array().unwrap().clone()
}

async fn bursts(pair: Pair, way: Way) {
    let mut scene = Scene::new("bursts", pair, way, &[ITEM]).await;
    with_every(&mut scene, "1s");
    scene
        .exec(Side::A, "INSERT INTO item VALUES (1, 'one', 1, NULL)")
        .await;
    scene.start().await;
    scene.wait_equal().await;
    scene
        .exec(
            Side::A,
            "UPDATE item SET n = 2 WHERE id = 1; INSERT INTO item VALUES (2, 'two', 2, NULL)",
        )
        .await;
    if way == Way::Merge {
        scene
            .exec(Side::B, "INSERT INTO item VALUES (3, 'three', 3, NULL)")
            .await;
    }
    scene.wait_equal().await;
    scene.stop().await;
    with_every(&mut scene, "2h");
    let check = scene.lock.run(&["check", "--json"]).await;
    assert!(check.stdout.contains("W214"), "{}", check.stdout);
    scene.run().await;
    let resting = async |scene: &Scene| {
        let links = states(scene).await;
        links
            .iter()
            .all(|link| link["state"] == "resting" && link["lag_ms"].is_null())
    };
    eventually(LIMIT, "all links rest", async || resting(&scene).await).await;
    scene
        .exec(Side::A, "INSERT INTO item VALUES (4, 'four', 4, NULL)")
        .await;
    scene.lock.kill9().await;
    scene.run().await;
    eventually(LIMIT, "they rest after a restart", async || {
        scene.lock.log().matches("rests until its next round").count() >= 2 * scene.targets().len()
            && resting(&scene).await
    })
    .await;
    assert_eq!(
        scene.b.count("item WHERE id = 4").await,
        0,
        "a burst came too early"
    );
    scene.stop().await;
    scene.lock.ok(&["run", "--once"]).await;
    assert_eq!(scene.b.count("item WHERE id = 4").await, 1);
    scene.assert_no_conflicts().await;
}
