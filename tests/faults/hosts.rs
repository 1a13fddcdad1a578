//! Where the servers are: unix sockets, several hosts of which one takes writes, a database that comes up late.

use std::time::Duration;

use crate::harness::{Db, Options, private};
use crate::stage::{NOTICED, Pair, Stage, Way};
use crate::{Scene, Side, on_both_pairs};

on_both_pairs!(sockets_and_several_hosts, comes_up_late);

fn port(db: &Db) -> u16 {
    let url: url::Url = db.url().parse().unwrap();
    url.port().unwrap()
}

/// The same database at these places.
fn at(db: &Db, hosts: &str, more: &str) -> String {
    let scheme = if db.kind().is_postgres() {
        "postgres"
    } else {
        "mysql"
    };
    let url = |user: &str| format!("{scheme}://{user}:{user}@{hosts}/{}{more}", db.name());
    format!(
        "url = \"{}\"\nsetup_url = \"{}\"",
        url(db.run_account()),
        url(db.owner())
    )
}

async fn sockets_and_several_hosts(pair: Pair) {
    let plain = Options::default();
    let read_only = |setting: &str| Options {
        extra: vec![setting.to_owned()],
        ..Options::default()
    };
    let (refusing_a, refusing_b) = (
        read_only("default_transaction_read_only=on"),
        read_only("--read-only=ON"),
    );
    let (a, b) = tokio::join!(private(pair.0, &plain), private(pair.1, &plain));
    let (a, b) = tokio::join!(a.with_accounts(), b.with_accounts());
    let mut stage = Stage::on(a, b, Way::Merge).await;
    // A database needs a server that takes writes to be made; it takes none afterwards.
    let (standby_a, standby_b) = tokio::join!(
        tidelock::playground::start(pair.0, &refusing_a),
        tidelock::playground::start(pair.1, &refusing_b)
    );
    let (standby_a, standby_b) = (standby_a.unwrap(), standby_b.unwrap());

    let (port_a, port_b) = (port(&stage.a), port(&stage.b));
    let folder = stage.a.server().socket_dir().display().to_string();
    let file = stage
        .b
        .server()
        .socket_dir()
        .join("mysql.sock")
        .display()
        .to_string();
    stage.node_a = at(&stage.a, &format!(":{port_a}"), &format!("?host={folder}"));
    stage.node_b = at(&stage.b, "localhost", &format!("?socket={file}"));
    stage.more = "[limits]\nonce_wait_s = 2\n".to_owned();
    stage.configure();
    stage.begin().await;
    stage.start().await;
    let tcp = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidelock' AND client_addr IS NOT NULL";
    assert_eq!(
        stage.a.admin().await.one(tcp).await,
        "0",
        "all by the socket, the one that reads the log too"
    );
    let (code, _) = stage.lock.term().await;
    assert_eq!(code, 0);

    // One that is closed, one that takes no writes, the one that is meant.
    let places = |standby: u16, own: u16| format!("127.0.0.1:1,127.0.0.1:{standby},127.0.0.1:{own}");
    // Databases of that name are there too, for the login.
    let (hosts_a, hosts_b) = (places(standby_a.port(), port_a), places(standby_b.port(), port_b));
    twin(&standby_a, &stage.a).await;
    twin(&standby_b, &stage.b).await;
    stage.node_a = at(&stage.a, &hosts_a, "");
    stage.node_b = at(&stage.b, &hosts_b, "?connect_timeout=5");
    stage.configure();
    stage.start().await;
    let (code, _) = stage.lock.term().await;
    assert_eq!(code, 0);

    // None of them is of use.
    let useless = |standby: u16| format!("127.0.0.1:1,127.0.0.1:{standby}");
    let right = (stage.node_a.clone(), stage.node_b.clone());
    stage.node_a = at(&stage.a, &useless(standby_a.port()), "");
    stage.configure();
    let words = [
        "a: could not connect to any host that takes writes",
        "refused",
        "read-only",
        "target_session_attrs",
    ];
    stage.refused_run(6, &words).await;
    stage.finding("a", "E001", &words[1..]).await;
    (stage.node_a, stage.node_b) = (right.0, at(&stage.b, &useless(standby_b.port()), ""));
    stage.configure();
    stage
        .finding(
            "b",
            "E001",
            &["refused", "read_only = ON", "target_session_attrs"],
        )
        .await;
    // Asked for any, the first that answers is taken; that it is not the right one is then said.
    stage.node_b = at(&stage.b, &useless(standby_b.port()), "?target_session_attrs=any");
    stage.configure();
    stage.finding("b", "E209", &["read-only"]).await;
}

/// A database of the same name, with the same accounts, on a server that takes no writes from others.
async fn twin(server: &tidelock::playground::Server, like: &Db) {
    let kind = server.kind();
    let mut session = crate::Session::open(kind, &server.url("")).await;
    if kind.is_postgres() {
        session.exec("SET default_transaction_read_only = off").await;
        like.found_by(&mut session).await;
        return;
    }
    session.exec("SET GLOBAL read_only = OFF").await;
    like.found_by(&mut session).await;
    session.exec("SET GLOBAL read_only = ON").await;
}

/// `run` waits for it, and says so; `run --once` does not wait for ever.
async fn comes_up_late(pair: Pair) {
    let mut scene = Scene::new(pair, &[]).await;
    scene.stage.more = "[limits]\nonce_wait_s = 3\n".to_owned();
    scene.stage.configure();
    scene.stage.begin().await;
    for side in [Side::A, Side::B] {
        scene.db_mut(side).server().stop().await.unwrap();
        let start = std::time::Instant::now();
        let output = scene.stage.lock.run(&["run", "--once"]).await;
        assert_eq!(output.code, 6, "{}", output.stderr);
        let took = start.elapsed();
        assert!(
            took > Duration::from_secs(3) && took < Duration::from_secs(20),
            "{took:?}"
        );
        let from = scene.stage.lock.log().len();
        scene.stage.lock.spawn_with(&["run", "--json"]);
        let said = scene
            .said(
                from,
                &["interrupted", "refused", "is the server running?"],
                NOTICED,
            )
            .await;
        println!("{pair:?}: waits, {said}");
        scene.db_mut(side).server().restart().await.unwrap();
        scene.stage.write().await;
        scene.stage.wait_equal().await;
        let (code, _) = scene.stage.lock.term().await;
        assert_eq!(code, 0);
    }
}
