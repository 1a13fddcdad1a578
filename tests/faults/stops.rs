//! What a person must see to: the run ends with a code and with what mends it.

use crate::harness::Kind;
use crate::stage::Pair;
use crate::{Scene, Side, on_both_pairs};

on_both_pairs!(logins_and_grants);

/// Provokes it under a running link, which must end; mends it, and the next start goes on where that one stopped.
async fn stop(scene: &mut Scene, side: Side, provoke: &str, mend: &str, code: i32, words: &[&str]) {
    scene.stage.start().await;
    scene.admin(side, provoke).await;
    if code == 6 {
        scene.cut(side).await;
    } else {
        scene.add(if side == Side::A { Side::B } else { Side::A }).await;
    }
    let node = if side == Side::A { "a: could not" } else { "b: " };
    let said = scene.stage.ends(code, &[&[node], words].concat()).await;
    println!("{provoke}: ended with {code}, {said:?}");
    scene.admin(side, mend).await;
}

async fn logins_and_grants(pair: Pair) {
    let mut scene = Scene::new(pair, &[]).await;
    scene.stage.begin().await;
    let (a, b) = (scene.run(Side::A), scene.run(Side::B));
    let own = [
        (
            format!("ALTER ROLE {a} PASSWORD 'other'"),
            format!("ALTER ROLE {a} PASSWORD '{a}'"),
            "28P01",
            "password",
        ),
        (
            format!("ALTER ROLE {a} NOLOGIN"),
            format!("ALTER ROLE {a} LOGIN"),
            "28000",
            "LOGIN",
        ),
    ];
    for (provoke, mend, state, word) in own {
        stop(&mut scene, Side::A, &provoke, &mend, 6, &[state, word]).await;
    }
    let locked = if pair.1 == Kind::Mysql { "3118" } else { "4151" };
    let mut own = vec![
        (
            format!("ALTER USER {b} IDENTIFIED BY 'other'"),
            format!("ALTER USER {b} IDENTIFIED BY '{b}'"),
            "1045",
            "password",
        ),
        (
            format!("ALTER USER {b} ACCOUNT LOCK"),
            format!("ALTER USER {b} ACCOUNT UNLOCK"),
            locked,
            "ACCOUNT UNLOCK",
        ),
    ];
    if pair.1 == Kind::Mysql {
        own.push((
            format!("ALTER USER {b} PASSWORD EXPIRE"),
            format!("ALTER USER {b} IDENTIFIED BY '{b}'"),
            "1862",
            "expired",
        ));
    }
    for (provoke, mend, number, word) in own {
        stop(&mut scene, Side::B, &provoke, &mend, 6, &[number, word]).await;
    }
    let name = scene.db(Side::B).name().to_owned();
    stop(
        &mut scene,
        Side::A,
        &format!("REVOKE INSERT ON item FROM {a}"),
        &format!("GRANT INSERT ON item TO {a}"),
        1,
        &["42501", "tidelock check"],
    )
    .await;
    stop(
        &mut scene,
        Side::B,
        &format!("REVOKE INSERT ON {name}.item FROM {b}"),
        &format!("GRANT INSERT ON {name}.item TO {b}"),
        1,
        &["1142", "tidelock check"],
    )
    .await;
    scene.stage.start().await;
    let (code, _) = scene.stage.lock.term().await;
    assert_eq!(code, 0);
}
