//! What goes on by itself. One process lives through all of it, and loses, doubles and changes nothing.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Kind, Session, eventually};
use crate::stage::Pair;
use crate::{NOTICED, Scene, Side, cut, long_on_both_pairs, on_both_pairs};

on_both_pairs!(on_mysql);
// PostgreSQL stands in both pairs.
long_on_both_pairs!(on_postgres);

/// Provokes a fault on `side`, gives that side something to write, waits for the words, mends it, and finds both
/// sides equal.
async fn fault(
    scene: &mut Scene,
    side: Side,
    what: &str,
    words: &[&str],
    provoke: impl AsyncFnOnce(&mut Scene),
    mend: impl AsyncFnOnce(&mut Scene),
) {
    let other = if side == Side::A { Side::B } else { Side::A };
    let from = scene.stage.lock.log().len();
    provoke(scene).await;
    scene.add(other).await;
    let said = scene.said(from, words, NOTICED).await;
    mend(scene).await;
    scene.add(side).await;
    scene.stage.wait_equal().await;
    println!("{what}: went on after {said}");
}

async fn nothing(_: &mut Scene) {}

async fn started(pair: Pair, extra_b: &[&str]) -> Scene {
    let mut scene = Scene::new(pair, extra_b).await;
    scene.stage.begin().await;
    scene.stage.start().await;
    scene
}

/// A transaction of a user that holds the row that `other` changes now, so that the link waits for it.
async fn blocked(scene: &Scene, side: Side) -> Session {
    let other = if side == Side::A { Side::B } else { Side::A };
    let mut holder = scene.db(side).session().await;
    holder.exec("BEGIN").await;
    holder.exec("UPDATE item SET word = 'held' WHERE id = 1").await;
    let word = scene.add(other).await;
    let change = format!("UPDATE item SET word = 'w{word}' WHERE id = 1");
    scene.db(other).exec(&change).await;
    holder
}

/// The statement of the run account that waits for a row.
async fn waiting(scene: &Scene, side: Side) -> String {
    let user = scene.run(side);
    let sql = match side {
        Side::A => {
            format!("SELECT pid FROM pg_stat_activity WHERE usename = '{user}' AND wait_event_type = 'Lock'")
        }
        Side::B => format!(
            "SELECT p.id FROM information_schema.innodb_trx t JOIN information_schema.processlist p \
             ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.user = '{user}'"
        ),
    };
    let mut admin = scene.db(side).admin().await;
    let mut found = None;
    eventually(NOTICED, "the link waits for a row", async || {
        // InnoDB shows to who looks more often what it showed before.
        tokio::time::sleep(Duration::from_millis(250)).await;
        found = admin.rows(&sql).await.first().and_then(|row| row[0].clone());
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Both want what the other has; the server chooses the link as its victim.
async fn deadlock(scene: &mut Scene, side: Side, words: &[&str]) {
    let other = if side == Side::A { Side::B } else { Side::A };
    let from = scene.stage.lock.log().len();
    let mut holder = scene.db(side).admin().await;
    if side == Side::A {
        // Who looks first is the victim: not this one.
        holder.exec("SET deadlock_timeout = '1h'").await;
    }
    holder.exec("BEGIN").await;
    // The heavier transaction is spared by InnoDB.
    for row in 0..40 {
        let id = 2_000_000 + row;
        let insert = format!("INSERT INTO item (id, word) VALUES ({id}, 'heavy')");
        holder.exec(&insert).await;
    }
    holder.exec("UPDATE item SET word = 'held' WHERE id = 2").await;
    let mut user = scene.db(other).session().await;
    user.exec("BEGIN").await;
    user.exec("UPDATE item SET word = 'both' WHERE id = 1").await;
    user.exec("UPDATE item SET word = 'both' WHERE id = 2").await;
    user.exec("COMMIT").await;
    waiting(scene, side).await;
    // Waits for the link's row 1, which waits for row 2.
    holder.exec("UPDATE item SET word = 'held' WHERE id = 1").await;
    holder.exec("ROLLBACK").await;
    let said = scene.said(from, words, NOTICED).await;
    scene.stage.wait_equal().await;
    println!("deadlock: went on after {said}");
}

/// A time limit for the users' statements is none for ours.
async fn unlimited(scene: &mut Scene, side: Side) {
    scene.cut(side).await;
    scene.add(if side == Side::A { Side::B } else { Side::A }).await;
    scene.stage.wait_equal().await;
    let from = scene.stage.lock.log().len();
    let mut holder = blocked(scene, side).await;
    waiting(scene, side).await;
    // Longer than every limit.
    tokio::time::sleep(Duration::from_secs(2)).await;
    holder.exec("ROLLBACK").await;
    scene.stage.wait_equal().await;
    let log = scene.stage.lock.log();
    assert!(!log[from..].contains("tried again"), "{}", &log[from..]);
}

async fn rotated(scene: &mut Scene, side: Side) {
    let user = scene.run(side);
    let from = scene.stage.lock.log().len();
    match side {
        Side::A => {
            scene
                .admin(side, &format!("ALTER ROLE {user} PASSWORD 'fresh'"))
                .await
        }
        Side::B => {
            scene
                .admin(side, &format!("ALTER USER {user} IDENTIFIED BY 'fresh'"))
                .await
        }
    }
    scene.password(side, "fresh");
    scene.cut(side).await;
    scene.said(from, &["interrupted"], NOTICED).await;
    scene.add(Side::A).await;
    scene.add(Side::B).await;
    scene.stage.wait_equal().await;
}

/// More sessions than the server takes.
async fn crowd(scene: &mut Scene) -> Vec<Session> {
    let side = Side::B;
    let (user, mut admin) = (scene.run(side), scene.db(side).admin().await);
    admin.exec("SET GLOBAL max_connections = 12").await;
    let url = scene.db(side).run_url().replace(&format!(":{user}@"), ":fresh@");
    let kind = scene.db(side).kind();
    cut(&mut admin, side, &user).await;
    let mut held = vec![admin];
    while let Ok(session) = Session::try_open(kind, &url).await {
        held.push(session);
    }
    held
}

async fn on_mysql(pair: Pair) {
    // A system table space that cannot grow for ever is a disk that can be full without being root.
    let full = ["--innodb-data-file-path=ibdata1:12M:autoextend:max:20M"];
    let mut scene = started(pair, &full).await;
    let side = Side::B;
    rotated(&mut scene, side).await;
    let user = scene.run(side);
    let limit = |sessions: u8| format!("ALTER USER {user} WITH MAX_USER_CONNECTIONS {sessions}");
    fault(
        &mut scene,
        side,
        "connections of the account",
        &["1226", "max_user_connections"],
        async |scene| {
            scene.admin(side, &limit(1)).await;
            scene.cut(side).await;
        },
        async |scene| scene.admin(side, &limit(0)).await,
    )
    .await;
    let held = tokio::sync::Mutex::new(vec![]);
    fault(
        &mut scene,
        side,
        "connections of the server",
        &["1040", "raise max_connections"],
        async |scene| *held.lock().await = crowd(scene).await,
        async |_| {
            let mut held = held.lock().await;
            held[0].exec("SET GLOBAL max_connections = 400").await;
            held.clear();
        },
    )
    .await;
    fault(
        &mut scene,
        side,
        "connections killed",
        &["interrupted"],
        async |scene| scene.cut(side).await,
        nothing,
    )
    .await;
    fault(
        &mut scene,
        side,
        "read-only",
        &["interrupted", "read-only", "when the server takes writes again"],
        async |scene| scene.admin(side, "SET GLOBAL read_only = ON").await,
        async |scene| scene.admin(side, "SET GLOBAL read_only = OFF").await,
    )
    .await;
    if pair.1 == Kind::Mysql {
        fault(
            &mut scene,
            side,
            "offline",
            &["interrupted", "3032"],
            async |scene| scene.admin(side, "SET GLOBAL offline_mode = ON").await,
            async |scene| scene.admin(side, "SET GLOBAL offline_mode = OFF").await,
        )
        .await;
        scene.admin(side, "SET GLOBAL max_execution_time = 500").await;
    } else {
        scene.admin(side, "SET GLOBAL max_statement_time = 0.5").await;
    }
    unlimited(&mut scene, side).await;
    scene
        .admin(
            side,
            if pair.1 == Kind::Mysql {
                "SET GLOBAL max_execution_time = 0"
            } else {
                "SET GLOBAL max_statement_time = 0"
            },
        )
        .await;

    let from = scene.stage.lock.log().len();
    let mut holder = blocked(&scene, side).await;
    let statement = waiting(&scene, side).await;
    scene.admin(side, &format!("KILL QUERY {statement}")).await;
    println!("cancelled: {}", scene.said(from, &["1317"], NOTICED).await);
    holder.exec("ROLLBACK").await;
    scene.stage.wait_equal().await;

    scene.admin(side, "SET GLOBAL innodb_lock_wait_timeout = 1").await;
    scene.cut(side).await;
    let from = scene.stage.lock.log().len();
    let mut holder = blocked(&scene, side).await;
    println!(
        "lock wait: {}",
        scene
            .said(from, &["interrupted", "1205", "somebody holds a lock"], NOTICED)
            .await
    );
    holder.exec("ROLLBACK").await;
    scene
        .admin(side, "SET GLOBAL innodb_lock_wait_timeout = 50")
        .await;
    scene.stage.wait_equal().await;
    deadlock(&mut scene, side, &["1213"]).await;
    crashes(&mut scene, side).await;
    full_table_space(&mut scene).await;
    let (code, _) = scene.stage.lock.term().await;
    assert_eq!(code, 0);
}

async fn full_table_space(scene: &mut Scene) {
    let side = Side::B;
    let mut admin = scene.db(side).admin().await;
    let name = scene.db(side).name().to_owned();
    admin.exec("SET sql_log_bin = 0").await;
    admin.exec("SET GLOBAL innodb_file_per_table = OFF").await;
    let moved = match scene.db(side).kind() {
        Kind::Mysql => "TABLESPACE innodb_system",
        _ => "ENGINE = InnoDB, FORCE",
    };
    admin.exec(&format!("ALTER TABLE {name}.item {moved}")).await;
    admin
        .exec(&format!(
            "CREATE TABLE {name}.filler (id int AUTO_INCREMENT PRIMARY KEY, data longblob)"
        ))
        .await;
    let from = scene.stage.lock.log().len();
    // What is not committed gives its space back without needing more.
    admin.exec("BEGIN").await;
    for bytes in [1_000_000, 100_000, 10_000, 1_000] {
        let insert = format!("INSERT INTO {name}.filler (data) VALUES (repeat('x', {bytes}))");
        while admin.try_exec(&insert).await.is_ok() {}
    }
    // More than what is left in its pages.
    let insert =
        "INSERT INTO item (id, word) SELECT 3000000 + n, repeat('y', 60) FROM generate_series(1, 4000) n";
    scene.db(Side::A).exec(insert).await;
    println!(
        "disk full: {}",
        scene
            // The lease, which is renewed all the time, may meet it first.
            .said(from, &["1114"], NOTICED)
            .await
    );
    if admin.try_exec("ROLLBACK").await.is_err() {
        // MariaDB's undo log is in there too, and the server ends itself when that cannot grow.
        let roomier = ["--innodb-data-file-path=ibdata1:12M:autoextend"];
        scene.db_mut(side).server().restart_with(&roomier).await.unwrap();
    }
    scene.stage.wait_equal().await;
}

/// A clean stop and a kill; the program waits for the server.
async fn crashes(scene: &mut Scene, side: Side) {
    let other = if side == Side::A { Side::B } else { Side::A };
    for clean in [true, false] {
        let from = scene.stage.lock.log().len();
        match clean {
            true => scene.db_mut(side).server().stop().await.unwrap(),
            false => scene.db_mut(side).server().kill().await,
        }
        scene.add(other).await;
        let said = scene.said(from, &["interrupted", "refused"], NOTICED).await;
        scene.db_mut(side).server().restart().await.unwrap();
        scene.add(side).await;
        scene.stage.wait_equal().await;
        println!("server gone (clean: {clean}): went on after {said}");
    }
}

async fn on_postgres(pair: Pair) {
    let mut scene = started(pair, &[]).await;
    let side = Side::A;
    rotated(&mut scene, side).await;
    let user = scene.run(side);
    let limit = |sessions: i8| format!("ALTER ROLE {user} CONNECTION LIMIT {sessions}");
    fault(
        &mut scene,
        side,
        "connections",
        &["interrupted", "53300", "CONNECTION LIMIT"],
        async |scene| {
            scene.admin(side, &limit(0)).await;
            scene.cut(side).await;
        },
        async |scene| scene.admin(side, &limit(-1)).await,
    )
    .await;
    fault(
        &mut scene,
        side,
        "connections killed",
        &["interrupted"],
        async |scene| scene.cut(side).await,
        nothing,
    )
    .await;
    let read_only = |value: &str| format!("ALTER ROLE {user} SET default_transaction_read_only = {value}");
    fault(
        &mut scene,
        side,
        "read-only",
        &["interrupted", "read-only", "it goes on"],
        async |scene| {
            scene.admin(side, &read_only("on")).await;
            scene.cut(side).await;
        },
        async |scene| scene.admin(side, &read_only("off")).await,
    )
    .await;
    for name in [
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "transaction_timeout",
    ] {
        if name != "transaction_timeout" || pair.0 == Kind::Postgres18 {
            scene
                .admin(side, &format!("ALTER ROLE {user} SET {name} = '500ms'"))
                .await;
        }
    }
    unlimited(&mut scene, side).await;

    let from = scene.stage.lock.log().len();
    let mut holder = blocked(&scene, side).await;
    let statement = waiting(&scene, side).await;
    scene
        .admin(side, &format!("SELECT pg_cancel_backend({statement})"))
        .await;
    println!("cancelled: {}", scene.said(from, &["57014"], NOTICED).await);
    holder.exec("ROLLBACK").await;
    scene.stage.wait_equal().await;

    scene
        .admin(side, "ALTER SYSTEM SET deadlock_timeout = '3s'")
        .await;
    scene.admin(side, "SELECT pg_reload_conf()").await;
    deadlock(&mut scene, side, &["40P01"]).await;
    crashes(&mut scene, side).await;
    full_disk(&mut scene).await;
    let (code, _) = scene.stage.lock.term().await;
    assert_eq!(code, 0);
}

/// A file system of a few megabytes, gone with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(owner: &std::path::Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let owner = std::fs::metadata(owner).unwrap();
        let options = format!("size=6m,mode=700,uid={},gid={}", owner.uid(), owner.gid());
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .status();
        assert!(
            mounted.unwrap().success(),
            "this test mounts a small file system: run it as root"
        );
        // The server's account must get there.
        let parent = Command::new("chmod")
            .arg("755")
            .arg(folder.path().parent().unwrap())
            .status();
        assert!(parent.unwrap().success());
        SmallDisk(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server still has files in it.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

async fn full_disk(scene: &mut Scene) {
    let side = Side::A;
    let owner = scene.db_mut(side).server().socket_dir().join("data");
    let disk = SmallDisk::mount(&owner);
    let mut admin = scene.db(side).admin().await;
    admin
        .exec(&format!(
            "CREATE TABLESPACE small LOCATION '{}'",
            disk.0.path().display()
        ))
        .await;
    admin.exec("ALTER TABLE item SET TABLESPACE small").await;
    admin
        .exec("CREATE TABLE filler (data text) TABLESPACE small")
        .await;
    admin
        .exec("ALTER TABLE filler ALTER data SET STORAGE plain")
        .await;
    let from = scene.stage.lock.log().len();
    while admin
        .try_exec("INSERT INTO filler SELECT repeat('x', 7000) FROM generate_series(1, 10)")
        .await
        .is_ok()
    {}
    while admin
        .try_exec("INSERT INTO filler VALUES (repeat('x', 7000))")
        .await
        .is_ok()
    {}
    let rows: Vec<String> = (0..2000)
        .map(|n| format!("({}, '{}')", 3_000_000 + n, "y".repeat(60)))
        .collect();
    scene
        .db(Side::B)
        .exec(&format!("INSERT INTO item (id, word) VALUES {}", rows.join(", ")))
        .await;
    println!(
        "disk full: {}",
        scene
            .said(from, &["interrupted", "53100", "free space"], NOTICED)
            .await
    );
    admin.exec("DROP TABLE filler").await;
    scene.stage.wait_equal().await;
    admin.exec("ALTER TABLE item SET TABLESPACE pg_default").await;
    admin.exec("DROP TABLESPACE small").await;
}
