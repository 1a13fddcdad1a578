//! What an operator wants of a link: pause, resume, skip; all of it written to the target, and all of it audited.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::{Duration, Instant};

use harness::eventually;
use scenario::{ITEM, LIMIT, Pair, Scene, Side, Way};

pairs! {
    a_paused_link_rests_and_stays_paused => a_paused_link_rests_and_stays_paused;
    skip_leaves_out_one_transaction => skip_leaves_out_one_transaction;
}

fn insert(id: i64) -> String {
    format!("INSERT INTO item VALUES ({id}, 'x', {id}, NULL)")
}

async fn count(scene: &Scene, side: Side, id: i64) -> i64 {
    scene.db(side).count(&format!("item WHERE id = {id}")).await
}

async fn crosses(scene: &Scene, to: Side, id: i64) {
    let limit = Instant::now() + LIMIT;
    while count(scene, to, id).await == 0 {
        assert!(Instant::now() < limit, "row {id} does not come to {to:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn says(scene: &Scene, text: &str) {
    let limit = Instant::now() + LIMIT;
    while !scene.lock.log().contains(text) {
        assert!(Instant::now() < limit, "it never says {text:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn audit(scene: &Scene, side: Side) -> Vec<String> {
    let sql = format!(
        "SELECT action, detail FROM tidelock.audit WHERE sync = '{}' ORDER BY number",
        scene.sync
    );
    let rows = scene.db(side).rows(&sql).await;
    rows.into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
        .collect()
}

async fn a_paused_link_rests_and_stays_paused(pair: Pair) {
    let mut scene = Scene::new("paused", pair, Way::Merge, &[ITEM]).await;
    scene.configure("from:a", "[limits]\nlease_ttl_s = 2");
    scene.start().await;
    scene.exec(Side::A, &insert(1)).await;
    scene.wait_equal().await;

    for word in ["paused  ", "paused already"] {
        let said = scene
            .lock
            .ok(&["pause", "a->b", "--reason", "moving house"])
            .await;
        assert!(said.contains(word), "{said}");
    }
    says(&scene, "the link rests").await;
    scene.exec(Side::A, &insert(2)).await;
    scene.exec(Side::B, &insert(3)).await;
    crosses(&scene, Side::A, 3).await;
    assert_eq!(count(&scene, Side::B, 2).await, 0, "a paused link wrote");
    let status = scene.lock.ok(&["status"]).await;
    assert!(
        status.contains("paused by ") && status.contains(": moving house"),
        "{status}"
    );

    // A restart is no resume.
    scene.stop().await;
    let once = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(once.code, 5, "{}", once.stderr);
    // By its full name, so that no other sync's link goes on with it.
    let resume = format!("tidelock resume '{}/a->b'", scene.sync);
    assert!(once.stderr.contains(&resume), "{}", once.stderr);
    let status = scene.lock.run(&["status"]).await;
    assert!(status.stderr.contains(&resume), "{}", status.stderr);
    scene.run().await;
    scene.exec(Side::B, &insert(4)).await;
    crosses(&scene, Side::A, 4).await;
    assert_eq!(
        count(&scene, Side::B, 2).await,
        0,
        "a paused link wrote after a restart"
    );

    let said = scene.lock.ok(&["resume"]).await;
    assert!(
        said.contains("resumed ") && said.contains("not paused "),
        "{said}"
    );
    scene.wait_equal().await;
    assert_eq!(audit(&scene, Side::B).await, ["pause moving house", "resume "]);
    assert_eq!(audit(&scene, Side::A).await, [] as [&str; 0]);
    // The other engine writes it too.
    scene.lock.ok(&["pause", "b->a", "--reason", "as well"]).await;
    scene.lock.ok(&["resume", "b->a"]).await;
    assert_eq!(audit(&scene, Side::A).await, ["pause as well", "resume "]);
    scene.assert_no_conflicts().await;
    scene.stop().await;
}

/// Where a transaction is named by its place in a file, the name does not tell where it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skip_leaves_out_one_transaction_without_gtids() {
    let off = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];
    let scene = Scene::with_b("skipped_file", scenario::NEW, Way::Merge, &[ITEM], &off).await;
    skip_one_of_each(scene).await;
}

async fn skip_leaves_out_one_transaction(pair: Pair) {
    skip_one_of_each(Scene::new("skipped", pair, Way::Merge, &[ITEM]).await).await;
}

async fn skip_one_of_each(mut scene: Scene) {
    scene.start().await;
    scene.exec(Side::A, &insert(1)).await;
    scene.wait_equal().await;
    for (source, target, link) in [(Side::A, Side::B, "a->b"), (Side::B, Side::A, "b->a")] {
        let base = if source == Side::A { 10 } else { 20 };
        scene.stop().await;
        scene
            .exec(
                source,
                &format!("{}; TRUNCATE TABLE item; {}", insert(base), insert(base + 1)),
            )
            .await;
        let said = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(said.code, 1, "{}", said.stderr);
        assert_eq!(count(&scene, target, base).await, 1, "what came before is there");
        let at = said.stderr.split("--at '").nth(1).unwrap();
        let at = at.split('\'').next().unwrap().to_owned();

        // Told from the database, without the program that stopped.
        let status = scene.lock.ok(&["status"]).await;
        assert!(
            status.contains(&format!("stopped at transaction {at}")),
            "{status}"
        );
        // A wrong position, a plan, and only then the deed.
        for wrong in ["0/1", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1", "", "0-1-1"] {
            let refused = scene.lock.run(&["skip", link, "--at", wrong, "--execute"]).await;
            assert_eq!(refused.code, 5, "{wrong}: {}", refused.stderr);
        }
        let plan = scene.lock.ok(&["skip", link, "--at", &at]).await;
        assert!(plan.contains("would skip") && plan.contains("item"), "{plan}");
        let again = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(again.code, 1, "a plan skipped something: {}", again.stderr);
        let done = scene.lock.ok(&["skip", link, "--at", &at, "--execute"]).await;
        assert!(done.contains("skipped transaction"), "{done}");
        let twice = scene.lock.run(&["skip", link, "--at", &at, "--execute"]).await;
        assert_eq!(twice.code, 5, "{}", twice.stderr);

        scene.run().await;
        crosses(&scene, target, base + 1).await;
        assert_eq!(
            count(&scene, target, base).await,
            1,
            "the skipped TRUNCATE was applied"
        );
        assert_eq!(count(&scene, source, base).await, 0);
        let check = scene.lock.run(&["check"]).await;
        assert!(check.stdout.contains("W441"), "{}{}", check.stdout, check.stderr);
        let status = scene.lock.ok(&["status"]).await;
        assert!(status.contains("out of sync"), "{status}");
        let audit = audit(&scene, target).await;
        assert_eq!(audit.len(), 1, "{audit:?}");
        assert!(audit[0].starts_with(&format!("skip {at} -> ")), "{audit:?}");
        // Made equal by hand, and so it is forgotten.
        scene
            .exec(target, &format!("DELETE FROM item WHERE id <= {base}"))
            .await;
        let forget = format!("DELETE FROM tidelock.out_of_sync WHERE sync = '{}'", scene.sync);
        scene.exec(target, &forget).await;
        eventually(LIMIT, "equal rows", async || {
            scene.a.count("item").await == scene.b.count("item").await
        })
        .await;
    }
    scene.stop().await;
}
