//! The faces of a running process: HTTP, signals, `health`, `status --watch`.
#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Db, Kind, Tidelock, database, eventually, free_address, signal};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tidelock::http::client::{self, Answer};

const LIMIT: Duration = Duration::from_secs(40);

struct Scene {
    a: Db,
    b: Db,
    tidelock: Tidelock,
    listen: SocketAddr,
}

async fn node(kind: Kind) -> Db {
    database(kind, "http").await.with_accounts().await
}

fn config(a: &Db, b: &Db, more: &str) -> String {
    format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\n\
         nodes = [\"a\", \"b\"]\nmode = \"merge\"\ntables = [\"item\"]\nseed = \"from:a\"\n{more}",
        a.node(),
        b.node(),
        // The servers are shared, and what a server knows of a sync with them.
        a.name()
    )
}

fn http(listen: SocketAddr) -> String {
    format!("[http]\nlisten = \"{listen}\"\n")
}

impl Scene {
    async fn new() -> Scene {
        Self::with("", "", &[]).await
    }

    /// `rows`: what a holds before the first copy. `more`: of the config file. `environment`: of the program.
    async fn with(rows: &str, more: &str, environment: &[(&str, &str)]) -> Scene {
        let a = node(Kind::Postgres18).await;
        let b = node(Kind::Mysql).await;
        for db in [&a, &b] {
            db.exec("CREATE TABLE item (id int NOT NULL PRIMARY KEY, name varchar(40))")
                .await;
        }
        if !rows.is_empty() {
            a.exec(rows).await;
        }
        let listen = free_address();
        let mut tidelock = Tidelock::new(&config(&a, &b, &format!("{more}{}", http(listen))));
        environment
            .iter()
            .for_each(|(name, value)| tidelock.env(name, value));
        tidelock.ok(&["setup", "--execute"]).await;
        tidelock.spawn();
        let scene = Scene {
            a,
            b,
            tidelock,
            listen,
        };
        scene.ready().await;
        scene
    }

    async fn get(&self, path: &str) -> Answer {
        client::get(self.listen, path, Duration::from_secs(5))
            .await
            .unwrap()
    }

    async fn ready(&self) {
        eventually(LIMIT, "all links to stream", async || {
            let answer = client::get(self.listen, "/readyz", Duration::from_secs(5)).await;
            answer.is_ok_and(|answer| answer.code == 200)
        })
        .await;
    }

    async fn says(&self, what: &str, count: usize) {
        eventually(LIMIT, what, async || {
            self.tidelock.log().matches(what).count() >= count
        })
        .await;
    }

    async fn crosses(&self, id: i64) {
        self.a.exec(&format!("INSERT INTO item VALUES ({id}, 'x')")).await;
        eventually(LIMIT, "a row to cross", async || {
            self.b
                .one(&format!("SELECT count(*) FROM item WHERE id = {id}"))
                .await
                == "1"
        })
        .await;
    }
}

fn metric(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn probes_and_figures_follow_the_links() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.get("/livez").await.body, "ok\n");
    let verbose = scene.get("/readyz?verbose").await;
    assert_eq!(verbose.code, 200);
    assert!(
        verbose
            .body
            .contains(&*format!("[+] {} a->b streaming", scene.a.name())),
        "{}",
        verbose.body
    );
    assert_eq!(scene.get("/nothing").await.code, 404);
    scene.crosses(1).await;
    let sync = scene.a.name().to_owned();
    let labels = format!("sync=\"{sync}\",link=\"a->b\"");
    let wanted = [
        (
            format!("tidelock_events_applied_total{{{labels},node=\"b\",op=\"insert\"}}"),
            1.0,
        ),
        (
            format!("tidelock_link_state{{{labels},state=\"streaming\"}}"),
            1.0,
        ),
        (
            format!("tidelock_events_received_total{{{labels},node=\"a\",op=\"insert\"}}"),
            1.0,
        ),
        ("tidelock_config_last_reload_successful ".to_owned(), 1.0),
        // The other link reads the row as an echo.
        (
            format!("tidelock_events_skipped_total{{sync=\"{sync}\",link=\"b->a\",reason=\"loop\"}}"),
            1.0,
        ),
        (
            format!("tidelock_end_to_end_latency_seconds_count{{{labels}}}"),
            1.0,
        ),
    ];
    for (series, value) in &wanted {
        eventually(LIMIT, &format!("{series} {value}"), async || {
            metric(&scene.get("/metrics").await.body, series) == Some(*value)
        })
        .await;
    }
    assert!(scene.get("/metrics").await.body.ends_with("# EOF\n"));
    // A conflict is counted and leaves the link ready.
    let health = scene.tidelock.run(&["health"]).await;
    assert_eq!(
        (health.code, health.stdout.as_str()),
        (0, "ok\n"),
        "{}",
        health.stderr
    );
    assert_eq!(scene.tidelock.run(&["health", "--ready"]).await.code, 0);
    let status: serde_json::Value = serde_json::from_str(&scene.get("/api/v1/status").await.body).unwrap();
    assert_eq!(status["links"][0]["live"]["state"], "streaming");
    let (code, _) = scene.tidelock.term().await;
    assert_eq!(code, 0);
    let health = scene.tidelock.run(&["health"]).await;
    assert_eq!(health.code, 1, "{}", health.stdout);
    assert!(
        health.stderr.contains("could not find it alive"),
        "{}",
        health.stderr
    );
}

/// What `# TYPE` says of a metric.
fn kind<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_once(' '))
        .find(|(named, _)| *named == name)
        .map(|(_, kind)| kind)
}

/// After a first copy, changes both ways, a change outside of the filter, one that changes nothing, a conflict, a lost
/// connection and a wider column.
async fn much_happens(scene: &Scene) {
    scene.crosses(1).await;
    scene.a.exec("UPDATE item SET name = name WHERE id = 1").await;
    scene.a.exec("INSERT INTO item VALUES (2000, 'outside')").await;
    scene.tidelock.ok(&["pause"]).await;
    eventually(LIMIT, "the pause", async || {
        scene
            .get("/readyz?verbose")
            .await
            .body
            .matches(" paused: ")
            .count()
            == 2
    })
    .await;
    for (db, name) in [(&scene.a, "of a"), (&scene.b, "of b")] {
        db.exec(&format!("UPDATE item SET name = '{name}' WHERE id = 1"))
            .await;
    }
    scene.tidelock.ok(&["resume"]).await;
    eventually(LIMIT, "the links to stream again", async || {
        scene
            .get("/readyz?verbose")
            .await
            .body
            .matches(" streaming")
            .count()
            == 2
    })
    .await;
    scene.crosses(2).await;
    let sql = format!(
        "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE database = '{}'",
        scene.a.name()
    );
    assert_eq!(scene.a.admin().await.one(&sql).await, "1");
    scene.crosses(3).await;
    // What the target's column is not wide enough for, no row has.
    scene.a.exec("ALTER TABLE item ALTER name TYPE varchar(60)").await;
    scene.crosses(4).await;
}

#[tokio::test]
async fn figures_have_their_types_and_move() {
    let rows = "INSERT INTO item VALUES (100, 'copied'); ANALYZE item";
    let scene = Scene::with(rows, "[sync.table.item]\nwhere = \"id < 1000\"\n", &[]).await;
    much_happens(&scene).await;
    let sync = format!("sync=\"{}\",link=\"a->b\"", scene.a.name());
    let moved = [
        ("build_info", "gauge", "version="),
        ("config_last_reload_successful", "gauge", ""),
        ("node_connected", "gauge", "node=\"b\""),
        ("link_state", "gauge", "state=\"streaming\""),
        ("leader", "gauge", ""),
        ("end_to_end_latency_seconds", "histogram", ""),
        ("checkpoint_timestamp_seconds", "gauge", ""),
        ("source_retained_bytes", "gauge", ""),
        ("events_received", "counter", "op=\"update\""),
        ("events_applied", "counter", "op=\"insert\""),
        ("events_skipped", "counter", "reason=\"loop\""),
        ("events_skipped", "counter", "reason=\"filter\""),
        ("events_skipped", "counter", "reason=\"noop\""),
        ("transactions", "counter", ""),
        ("transaction_rows", "histogram", ""),
        ("groups", "counter", ""),
        ("copy_rows", "counter", ""),
        ("copy_rows_estimated", "gauge", ""),
        ("rows_written", "counter", ""),
        ("apply_duration_seconds", "histogram", ""),
        ("apply_errors", "counter", "class=\"transient\""),
        ("reconnects", "counter", ""),
        ("schema_changes", "counter", "kind=\"passed\""),
        ("queue_capacity_bytes", "gauge", ""),
        ("conflicts", "counter", "type=\"update_origin_differs\""),
    ];
    for (name, wanted, label) in moved {
        let name = format!("tidelock_{name}");
        let suffix = match wanted {
            "counter" => "_total",
            "histogram" => "_count",
            _ => "",
        };
        let of_link = |line: &&str| {
            let is_program = ["version=", "node=\"b\"} "]
                .iter()
                .any(|word| line.contains(word))
                || !line.contains('{');
            line.starts_with(&format!("{name}{suffix}"))
                && line.contains(label)
                && (is_program || line.contains(&sync))
        };
        eventually(LIMIT, &format!("{name} {label} to move"), async || {
            let text = scene.get("/metrics").await.body;
            assert_eq!(kind(&text, &name), Some(wanted), "{name}");
            let value = text
                .lines()
                .find(of_link)
                .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            value.is_some_and(|value| value > 0.0)
        })
        .await;
    }
    // What stands still here has its type too.
    let text = scene.get("/metrics").await.body;
    for (name, wanted) in [
        ("tidelock_replication_lag_seconds", "gauge"),
        ("tidelock_replication_lag_bytes", "gauge"),
        ("tidelock_oldest_unapplied_commit_seconds", "gauge"),
        ("tidelock_copy_state", "gauge"),
        ("tidelock_source_retention_remaining_bytes", "gauge"),
        ("tidelock_source_retention_remaining_seconds", "gauge"),
        ("tidelock_slot_invalidations", "counter"),
        ("tidelock_retries", "counter"),
        ("tidelock_queue_bytes", "gauge"),
        ("tidelock_backpressure_active", "gauge"),
        ("tidelock_throttle_seconds", "counter"),
        ("tidelock_conflicts_open", "gauge"),
        ("tidelock_conflict_oldest_open_seconds", "gauge"),
        ("process_start_time_seconds", "gauge"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_cpu_seconds", "counter"),
    ] {
        assert_eq!(kind(&text, name), Some(wanted), "{name}");
    }
}

#[tokio::test]
async fn a_second_signal_leaves_at_once() {
    let mut scene = Scene::new().await;
    scene.crosses(1).await;
    // A group that cannot be finished keeps the first signal waiting.
    let mut holder = scene.b.session().await;
    holder.exec("BEGIN").await;
    holder.exec("UPDATE item SET name = 'held' WHERE id = 1").await;
    scene.a.exec("UPDATE item SET name = 'wanted' WHERE id = 1").await;
    eventually(LIMIT, "the group to be open", async || {
        scene
            .get("/readyz")
            .await
            .body
            .contains("node b has not finished a group")
    })
    .await;
    signal(scene.tidelock.pid().unwrap(), "TERM");
    scene.says("draining", 1).await;
    let (code, seconds) = scene.tidelock.term().await;
    assert_eq!(code, 130, "{}", scene.tidelock.log());
    assert!(seconds < 3.0, "it took {seconds} s to leave at once");
    assert!(scene.tidelock.log().contains("left without draining"));
    holder.exec("ROLLBACK").await;
    // Nothing was lost by it.
    scene.tidelock.spawn();
    eventually(LIMIT, "the row to cross", async || {
        scene.b.one("SELECT name FROM item WHERE id = 1").await == "wanted"
    })
    .await;
}

#[tokio::test]
async fn systemd_is_told_what_it_wants_to_know() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let mut scene = Scene::with("", "", &[("NOTIFY_SOCKET", path.to_str().unwrap())]).await;
    let mut told = String::new();
    async fn hear(socket: &tokio::net::UnixDatagram, told: &mut String) {
        let mut bytes = [0; 4096];
        let count = tokio::time::timeout(LIMIT, socket.recv(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        told.push_str(&String::from_utf8_lossy(&bytes[..count]));
        told.push('\n');
    }
    while told.matches("WATCHDOG=1").count() < 3 || !told.contains("STATUS=links: 2 streaming") {
        hear(&socket, &mut told).await;
    }
    assert!(told.starts_with("READY=1"), "{told}");
    let (code, _) = scene.tidelock.term().await;
    assert_eq!(code, 0);
    while !told.contains("STOPPING=1") {
        hear(&socket, &mut told).await;
    }
}

#[tokio::test]
async fn every_metric_is_in_the_docs_and_no_other() {
    let scene = Scene::new().await;
    let text = scene.get("/metrics").await.body;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let served: BTreeSet<String> = types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            format!("{name}{}", if kind == "counter" { "_total" } else { "" })
        })
        .collect();
    let docs = include_str!("../docs/operations.md");
    let table = docs
        .split("## Metrics")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let named: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| Some(line.split(['`', '{']).next()?.to_owned()))
        .collect();
    assert!(served.len() > 25, "{served:?}");
    assert_eq!(named, served);
}

#[tokio::test]
async fn a_port_that_is_taken_stops_the_start() {
    let a = node(Kind::Postgres18).await;
    let b = node(Kind::Mysql).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let tidelock = Tidelock::new(&config(&a, &b, &http(listen)));
    let output = tidelock.run(&["run"]).await;
    assert_eq!(output.code, 78, "{}", output.stderr);
    for word in [
        &*format!("listen on {listen}"),
        "E461",
        "in use",
        "another program",
    ] {
        assert!(output.stderr.contains(word), "{word}: {}", output.stderr);
    }
}

#[tokio::test]
async fn sighup_takes_a_good_file_and_refuses_a_bad_one() {
    let mut scene = Scene::new().await;
    let pid = scene.tidelock.pid().unwrap();
    let good = config(&scene.a, &scene.b, &http(scene.listen));
    let refused = "the old configuration stays";
    // Wrong in itself.
    scene.tidelock.configure("version = 1\nnods = 3\n");
    signal(pid, "HUP");
    scene.says(refused, 1).await;
    let text = scene.get("/metrics").await.body;
    assert_eq!(metric(&text, "tidelock_config_last_reload_successful"), Some(0.0));
    // Right, but its table was never set up.
    scene
        .tidelock
        .configure(&good.replace("[\"item\"]", "[\"item\", \"other\"]"));
    signal(pid, "HUP");
    scene.says(refused, 2).await;
    scene.crosses(1).await;
    // The level is swapped in place, and so is the address.
    let elsewhere = free_address();
    let debug = config(
        &scene.a,
        &scene.b,
        &format!("{}[log]\nlevel = \"debug\"\n", http(elsewhere)),
    );
    scene.tidelock.configure(&debug);
    signal(pid, "HUP");
    scene.says("the configuration was taken", 1).await;
    assert!(client::get(scene.listen, "/livez", LIMIT).await.is_err());
    scene.listen = elsewhere;
    assert_eq!(scene.get("/livez").await.code, 200);
    scene.crosses(2).await;
    scene.says("checkpoint committed", 1).await;
    assert!(
        !scene
            .tidelock
            .log()
            .contains("start anew with the new configuration")
    );
    // A limit restarts the links; the figures go on.
    scene
        .tidelock
        .configure(&format!("{debug}[limits]\ngroup_rows_max = 7\n"));
    signal(pid, "HUP");
    scene.says("the configuration was taken", 2).await;
    assert!(
        scene
            .tidelock
            .log()
            .contains("start anew with the new configuration")
    );
    scene.ready().await;
    scene.crosses(3).await;
    let text = scene.get("/metrics").await.body;
    assert_eq!(metric(&text, "tidelock_config_last_reload_successful"), Some(1.0));
    // SIGUSR1 tells the status.
    signal(pid, "USR1");
    scene.says("a->b  streaming", 1).await;
    let (code, _) = scene.tidelock.term().await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn http_that_a_reload_adds_knows_what_the_databases_say() {
    let mut scene = Scene::new().await;
    let pid = scene.tidelock.pid().unwrap();
    let taken = "the configuration was taken";
    scene.tidelock.configure(&config(&scene.a, &scene.b, ""));
    signal(pid, "HUP");
    scene.says(taken, 1).await;
    assert!(client::get(scene.listen, "/livez", LIMIT).await.is_err());
    let (code, _) = scene.tidelock.term().await;
    assert_eq!(code, 0);
    // Started without, it has asked nobody yet.
    scene.tidelock.spawn();
    scene.crosses(1).await;
    scene
        .tidelock
        .configure(&config(&scene.a, &scene.b, &http(scene.listen)));
    signal(scene.tidelock.pid().unwrap(), "HUP");
    scene.says(taken, 2).await;
    for series in [
        "tidelock_node_connected{node=\"a\"}",
        "tidelock_node_connected{node=\"b\"}",
    ] {
        eventually(LIMIT, series, async || {
            metric(&scene.get("/metrics").await.body, series) == Some(1.0)
        })
        .await;
    }
}

/// A server of the new configuration accepts and says nothing.
#[tokio::test]
async fn the_main_loop_ticks_while_a_new_file_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let ticks = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&ticks);
    tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok(count) = socket.recv(&mut bytes).await {
            let told = String::from_utf8_lossy(&bytes[..count]).into_owned();
            heard.fetch_add(told.matches("WATCHDOG=1").count(), Relaxed);
        }
    });
    let mut scene = Scene::with("", "", &[("NOTIFY_SOCKET", path.to_str().unwrap())]).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("url = \"mysql://u:p@{address}/d?sslmode=disable&connect_timeout=300\"");
    let good = config(&scene.a, &scene.b, &http(scene.listen));
    scene.tidelock.configure(&good.replace(&scene.b.node(), &url));
    signal(scene.tidelock.pid().unwrap(), "HUP");
    scene.says("reading the configuration anew", 1).await;
    let before = ticks.load(Relaxed);
    eventually(LIMIT, "the main loop to tick on", async || {
        ticks.load(Relaxed) >= before + 4
    })
    .await;
    assert_eq!(scene.get("/livez").await.code, 200);
    scene.crosses(1).await;
    // The newest file is the one that counts.
    scene.tidelock.configure(&good);
    signal(scene.tidelock.pid().unwrap(), "HUP");
    scene.says("the configuration was taken", 1).await;
    let (code, _) = scene.tidelock.term().await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn watching_prints_a_line_per_change_and_json_lines() {
    let mut scene = Scene::new().await;
    let mut watch = Tidelock::new(&std::fs::read_to_string(scene.tidelock.config_path()).unwrap());
    watch.spawn_with(&["status", "--watch"]);
    eventually(LIMIT, "the first lines", async || {
        watch.log().contains("a->b state=streaming")
    })
    .await;
    scene.tidelock.term().await;
    eventually(LIMIT, "the stop", async || {
        watch.log().contains("a->b state=stopped")
    })
    .await;
    let lines = watch
        .log()
        .lines()
        .filter(|line| line.contains("a->b state=streaming"))
        .count();
    assert!(lines <= 2, "a line per change only:\n{}", watch.log());
    watch.kill9().await;
    let mut json = Tidelock::new(&std::fs::read_to_string(scene.tidelock.config_path()).unwrap());
    json.spawn_with(&["status", "--watch", "--json"]);
    eventually(LIMIT, "two JSON lines", async || json.log().lines().count() >= 2).await;
    let log = json.log();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(
        (line["type"].as_str(), line["schema"].as_i64()),
        (Some("status"), Some(1))
    );
    json.kill9().await;
}

#[tokio::test]
async fn health_without_http_says_what_to_add() {
    let a = node(Kind::Postgres18).await;
    let b = node(Kind::Mysql).await;
    let tidelock = Tidelock::new(&config(&a, &b, ""));
    let output = tidelock.run(&["health"]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("hint: add [http]"), "{}", output.stderr);
}
