//! Lag as age, bytes and oldest unapplied commit: nothing when idle, and all three grow whatever hangs.
#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Db, Frozen, Kind, Options, Tidelock, eventually, free_address, private};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tidelock::http::client;

const LIMIT: Duration = Duration::from_secs(60);

struct Scene {
    a: Db,
    b: Db,
    tidelock: Tidelock,
    next: i64,
    /// Every reason that `live` was told since it was emptied last.
    whys: Mutex<BTreeSet<String>>,
}

/// The three figures of one link.
#[derive(Debug, Clone)]
struct Lag {
    age_ms: u64,
    bytes: u64,
    oldest_ms: u64,
    oldest_at: String,
    state: String,
    why: String,
}

impl Lag {
    fn of(document: &Value, link: &str) -> Option<Lag> {
        let links = document["links"].as_array()?;
        let found = links.iter().find(|report| report["link"] == link)?;
        Some(Lag {
            age_ms: found["lag_ms"].as_u64()?,
            bytes: found["lag_bytes"].as_u64()?,
            oldest_ms: found["oldest_unapplied_ms"].as_u64().unwrap_or(0),
            oldest_at: found["oldest_unapplied_at"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            state: found["state"].as_str()?.to_owned(),
            why: found["why"].as_str()?.to_owned(),
        })
    }

    fn is_nothing(&self) -> bool {
        (self.age_ms, self.bytes, self.oldest_ms) == (0, 0, 0)
    }

    fn has_grown_since(&self, before: &Lag) -> bool {
        self.age_ms >= before.age_ms + 2_000
            && self.bytes > before.bytes
            && self.oldest_ms >= before.oldest_ms + 2_000
    }
}

/// What a process with HTTP says of a link.
async fn told_by(tidelock: &Tidelock, link: &str) -> Option<Lag> {
    let answer = client::get(address(tidelock)?, "/api/v1/status", Duration::from_secs(2)).await;
    Lag::of(&serde_json::from_str(&answer.ok()?.body).unwrap(), link)
}

fn address(tidelock: &Tidelock) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(tidelock.config_path()).unwrap();
    text.split("listen = \"").nth(1)?.split('"').next()?.parse().ok()
}

impl Scene {
    async fn new(first: Kind, second: Kind, with_http: bool) -> Scene {
        // A commit that is not flushed yet is no lag: nobody can be sent it.
        let options = Options {
            durable: true,
            ..Options::default()
        };
        let a = private(first, &options).await.with_accounts().await;
        let b = private(second, &options).await.with_accounts().await;
        for db in [&a, &b] {
            db.exec("CREATE TABLE item (id int NOT NULL PRIMARY KEY, name varchar(400))")
                .await;
        }
        let http = match with_http {
            true => format!("[http]\nlisten = \"{}\"\n", free_address()),
            false => String::new(),
        };
        let config = format!(
            "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"shop\"\n\
             nodes = [\"a\", \"b\"]\nmode = \"merge\"\ntables = [\"item\"]\nseed = \"from:a\"\n{http}",
            a.node(),
            b.node()
        );
        let mut tidelock = Tidelock::new(&config);
        tidelock.ok(&["setup", "--execute"]).await;
        tidelock.spawn();
        let mut scene = Scene {
            a,
            b,
            tidelock,
            next: 0,
            whys: Mutex::default(),
        };
        scene.write(0).await;
        eventually(LIMIT, "a row to cross", async || scene.b.count("item").await == 1).await;
        scene.write(1).await;
        eventually(LIMIT, "a row to cross back", async || {
            scene.a.count("item").await == 2
        })
        .await;
        scene
    }

    /// A row on a (0) or b (1).
    async fn write(&mut self, side: usize) {
        self.next += 1;
        let (db, id) = ([&self.a, &self.b][side], self.next);
        db.exec(&format!("INSERT INTO item VALUES ({id}, '{}')", "x".repeat(300)))
            .await;
    }

    /// What the running process says.
    async fn live(&self, link: &str) -> Option<Lag> {
        let lag = told_by(&self.tidelock, link).await?;
        self.whys.lock().unwrap().insert(lag.why.clone());
        Some(lag)
    }

    /// Waits for a reason, and takes all that were told before and with it.
    async fn why(&self, link: &str, is_it: impl Fn(&str) -> bool) -> BTreeSet<String> {
        eventually(LIMIT, &format!("the reason of {link}"), async || {
            let lag = self.live(link).await;
            lag.is_some_and(|lag| lag.state == "waiting" && is_it(&lag.why))
        })
        .await;
        std::mem::take(&mut *self.whys.lock().unwrap())
    }

    /// What a second process says.
    async fn status(&self, link: &str) -> Option<Lag> {
        let output = self.tidelock.run(&["status", "--json"]).await;
        let lag = Lag::of(&serde_json::from_str(&output.stdout).unwrap(), link);
        eprintln!("status: {lag:?}");
        lag
    }

    async fn becomes_nothing(&self, link: &str) {
        eventually(LIMIT, &format!("no lag of {link}"), async || {
            self.live(link).await.is_some_and(|lag| lag.is_nothing())
        })
        .await;
    }

    /// Writes on and waits until all three figures have grown twice.
    async fn grows(&mut self, side: usize, link: &str) -> Lag {
        let mut seen: Vec<Lag> = Vec::new();
        for _ in 0..120 {
            self.write(side).await;
            let lag = self.live(link).await;
            match (lag, seen.last()) {
                (Some(lag), None) if lag.age_ms > 0 && lag.bytes > 0 => seen.push(lag),
                (Some(lag), Some(last)) if lag.has_grown_since(last) => seen.push(lag),
                _ => {}
            }
            if seen.len() == 3 {
                eprintln!("{link} while it hangs: {seen:#?}");
                return seen.remove(2);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!(
            "{link}: not all three figures grow: {seen:#?}, now {:?}",
            self.live(link).await
        );
    }
}

async fn target_hangs(first: Kind, second: Kind) {
    let mut scene = Scene::new(first, second, true).await;
    for link in ["a->b", "b->a"] {
        scene.becomes_nothing(link).await;
    }
    // Idle is not lag: it stays nothing.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let lag = scene.live("a->b").await.unwrap();
        assert!(lag.is_nothing(), "{lag:?}");
    }
    let server = scene.b.server().pid().unwrap();
    let frozen = Frozen::family(server);
    scene.whys.lock().unwrap().clear();
    let lag = scene.grows(0, "a->b").await;
    // A group may take a while; then it is said to wait, and for whom: first the group, then the lease.
    let whys = scene
        .why("a->b", |why| {
            why.contains("node b has not renewed the link's lease")
        })
        .await;
    eprintln!("{whys:#?}");
    let said = |words: &str| whys.iter().any(|why| why.contains(words));
    assert!(said("node b has not finished a group for "), "{whys:#?}");
    assert!(!said("node a"), "{whys:#?}");
    // A second process says so too, and does not hang.
    let told = scene.tidelock.run(&["status"]).await;
    assert_eq!(told.code, 6, "{}", told.stderr);
    assert!(told.stdout.contains("a->b  waiting"), "{}", told.stdout);
    assert!(!lag.oldest_at.is_empty(), "{lag:?}");
    drop(frozen);
    for link in ["a->b", "b->a"] {
        scene.becomes_nothing(link).await;
    }
}

#[tokio::test]
async fn lag_grows_while_mysql_hangs_as_target() {
    target_hangs(Kind::Postgres18, Kind::Mysql).await;
}

#[tokio::test]
async fn lag_grows_while_postgres_hangs_as_target_of_mariadb() {
    target_hangs(Kind::Mariadb, Kind::Postgres18).await;
}

#[tokio::test]
async fn lag_grows_while_the_walsender_hangs() {
    let mut scene = Scene::new(Kind::Postgres18, Kind::Mysql, true).await;
    scene.becomes_nothing("a->b").await;
    let sql = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'tidelock_shop_b'";
    let walsender = scene.a.one(sql).await.parse().unwrap();
    let frozen = Frozen::one(walsender);
    let lag = scene.grows(0, "a->b").await;
    eventually(LIMIT, "the reason", async || {
        let lag = scene.live("a->b").await.unwrap();
        lag.state == "waiting" && lag.why.contains("node a wrote log that it has not sent")
    })
    .await;
    assert!(!lag.oldest_at.is_empty(), "{lag:?}");
    drop(frozen);
    scene.becomes_nothing("a->b").await;
}

/// Only the databases are asked: this process has no HTTP.
async fn process_freezes_and_dies(first: Kind, second: Kind) {
    let mut scene = Scene::new(first, second, false).await;
    let links = ["a->b", "b->a"];
    for link in links {
        // Each renewal of the lease says how far the link is.
        eventually(LIMIT, &format!("{link} to be seen without lag"), async || {
            scene.status(link).await.is_some_and(|lag| lag.is_nothing())
        })
        .await;
    }
    let frozen = Frozen::one(scene.tidelock.pid().unwrap());
    second_process_sees_growth(&mut scene).await;
    drop(frozen);
    for link in links {
        eventually(LIMIT, &format!("{link} to catch up"), async || {
            scene.status(link).await.is_some_and(|lag| lag.is_nothing())
        })
        .await;
    }
    scene.tidelock.kill9().await;
    for (side, link) in links.into_iter().enumerate() {
        scene.write(side).await;
        eventually(LIMIT, &format!("{link} to be stopped"), async || {
            scene.status(link).await.is_some_and(|lag| lag.state == "stopped")
        })
        .await;
    }
    let before = second_process_sees_growth(&mut scene).await;
    // Nobody reads the log, so it is read for the exact commit, which stays the oldest.
    for (link, before) in links.into_iter().zip(before) {
        let now = scene.status(link).await.unwrap();
        assert_eq!(now.oldest_at, before.oldest_at, "{link}");
    }
}

async fn second_process_sees_growth(scene: &mut Scene) -> Vec<Lag> {
    let links = ["a->b", "b->a"];
    let mut first = Vec::new();
    for (side, link) in links.into_iter().enumerate() {
        scene.write(side).await;
        // Until its word is old, a process that hangs is believed.
        eventually(LIMIT, &format!("{link} to be behind"), async || {
            let lag = scene.status(link).await.filter(|lag| !lag.is_nothing());
            lag.map(|lag| first.push(lag)).is_some()
        })
        .await;
    }
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    for (side, link) in links.into_iter().enumerate() {
        scene.write(side).await;
        let lag = scene.status(link).await.unwrap();
        assert!(
            lag.has_grown_since(&first[side]),
            "{link}: {:?} then {lag:?}",
            first[side]
        );
    }
    first
}

#[tokio::test]
async fn a_second_process_sees_postgres_and_mysql_fall_behind() {
    process_freezes_and_dies(Kind::Postgres18, Kind::Mysql).await;
}

#[tokio::test]
async fn a_second_process_sees_mariadb_and_postgres_fall_behind() {
    process_freezes_and_dies(Kind::Mariadb, Kind::Postgres15).await;
}

#[tokio::test]
async fn a_lock_on_the_target_is_told_with_its_holder() {
    for (first, second) in [(Kind::Postgres18, Kind::Mysql), (Kind::Mariadb, Kind::Postgres18)] {
        let scene = Scene::new(first, second, true).await;
        scene.becomes_nothing("a->b").await;
        // docs/accounts.md, "To see who holds a lock"; PostgreSQL tells everybody.
        if !second.is_postgres() {
            let grant = format!("GRANT PROCESS ON *.* TO {}", scene.b.run_account());
            scene.b.admin().await.exec(&grant).await;
            if second == Kind::Mysql {
                let grant = format!(
                    "GRANT SELECT ON performance_schema.* TO {}",
                    scene.b.run_account()
                );
                scene.b.admin().await.exec(&grant).await;
            }
        }
        let mut holder = scene.b.session().await;
        holder.exec("BEGIN").await;
        holder.exec("UPDATE item SET name = 'held' WHERE id = 1").await;
        scene.a.exec("UPDATE item SET name = 'wanted' WHERE id = 1").await;
        eventually(LIMIT, "the holder to be named", async || {
            let text = scene.tidelock.ok(&["status"]).await;
            text.contains("waiting") && text.contains("the target waits for a lock")
        })
        .await;
        let text = scene.tidelock.ok(&["status"]).await;
        eprintln!("{text}");
        assert!(text.contains("held by session "), "{text}");
        holder.exec("ROLLBACK").await;
        scene.becomes_nothing("a->b").await;
    }
}

#[tokio::test]
async fn a_source_that_hangs_is_named() {
    for (first, second) in [(Kind::Postgres18, Kind::Mysql), (Kind::Mysql, Kind::Postgres18)] {
        let mut scene = Scene::new(first, second, true).await;
        for link in ["a->b", "b->a"] {
            scene.becomes_nothing(link).await;
        }
        let frozen = Frozen::family(scene.a.server().pid().unwrap());
        scene.whys.lock().unwrap().clear();
        // In the end it is an error of that node.
        let whys = scene.why("a->b", |why| why.starts_with("a: ")).await;
        eprintln!("{whys:#?}");
        let names_b = |why: &String| why.contains("node b") || why.starts_with("b: ");
        assert!(!whys.iter().any(names_b), "{whys:#?}");
        drop(frozen);
        for link in ["a->b", "b->a"] {
            scene.becomes_nothing(link).await;
        }
    }
}

#[tokio::test]
async fn the_reason_names_a_server_that_is_away_a_pause_and_another_copy() {
    let mut scene = Scene::new(Kind::Postgres18, Kind::Mysql, true).await;
    scene.becomes_nothing("a->b").await;
    // Another copy stands by, is not ready, and says for whom.
    let config = std::fs::read_to_string(scene.tidelock.config_path()).unwrap();
    let (mine, other) = (address(&scene.tidelock).unwrap(), free_address());
    let mut standby = Tidelock::new(&config.replace(&mine.to_string(), &other.to_string()));
    standby.spawn();
    eventually(LIMIT, "the copy to stand by", async || {
        let told = told_by(&standby, "a->b").await;
        told.is_some_and(|told| told.state == "standby" && told.why.contains(" runs it"))
    })
    .await;
    let listen = address(&standby).unwrap();
    let ready = client::get(listen, "/readyz", LIMIT).await.unwrap();
    assert_eq!(ready.code, 503, "{}", ready.body);
    assert!(
        ready.body.contains("[-] shop a->b standby: ") && ready.body.contains(" runs it"),
        "{}",
        ready.body
    );
    assert_eq!(client::get(listen, "/livez", LIMIT).await.unwrap().code, 200);
    let metrics = client::get(listen, "/metrics", LIMIT).await.unwrap().body;
    assert!(
        metrics.contains("tidelock_leader{sync=\"shop\",link=\"a->b\"} 0.0"),
        "{metrics}"
    );
    assert_eq!(standby.term().await.0, 0);

    scene
        .tidelock
        .ok(&["pause", "a->b", "--reason", "index build"])
        .await;
    eventually(LIMIT, "the pause", async || {
        scene.live("a->b").await.is_some_and(|lag| lag.state == "paused")
    })
    .await;
    let text = scene.tidelock.ok(&["status"]).await;
    assert!(
        text.contains("paused by ") && text.contains("index build"),
        "{text}"
    );
    scene.tidelock.ok(&["resume"]).await;
    eventually(LIMIT, "the end of the pause", async || {
        scene
            .live("a->b")
            .await
            .is_some_and(|lag| lag.state == "streaming")
    })
    .await;

    scene.b.server().stop().await.unwrap();
    scene.write(0).await;
    let whys = scene.why("a->b", |why| why.contains("; starts anew in ")).await;
    let last = whys.iter().find(|why| why.contains("; starts anew in ")).unwrap();
    assert!(last.starts_with("b: "), "{last}");
    scene.b.server().restart().await.unwrap();
    scene.becomes_nothing("a->b").await;
}
