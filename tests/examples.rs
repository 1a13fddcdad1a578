//! The examples of `examples/`, each as its README tells it: the files that a newcomer loads, the configuration as it
//! stands, and what comes of the statements. (Those that show one feature alone are run beside its tests.)
#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Db, Kind, Tidelock, database, eventually};
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

/// One example on servers of its own names, set up and checked.
struct Example {
    folder: PathBuf,
    lock: Tidelock,
    nodes: Vec<Db>,
}

impl Example {
    /// `nodes`: by their names in the configuration, which are those of their schema files too. `sync` is made one of this
    /// test alone, because all tests share the servers. Returns what `check` says in words.
    async fn open(name: &str, sync: &str, nodes: &[(&str, Kind)]) -> (Example, String) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("examples")
            .join(name);
        let mut example = Example {
            folder,
            lock: Tidelock::new(""),
            nodes: Vec::new(),
        };
        let readme = example.file("README.md");
        assert!(readme.lines().count() <= 40, "a README is read in one go");
        for (node, kind) in nodes {
            let db = database(*kind, sync).await;
            for statement in statements(&example.file(&format!("{node}.sql"))) {
                db.exec(&statement).await;
            }
            let variable = format!("TIDELOCK_NODE_{}_URL", node.to_uppercase());
            example.lock.env(&variable, &db.url());
            example.nodes.push(db);
        }
        let own = format!("name = \"{}\"", example.nodes[0].name());
        let config = example.file("tidelock.toml");
        let config = config.replace(&format!("name = \"{sync}\""), &own);
        assert!(config.contains(&own), "the sync is called {sync}");
        example.lock.configure(&config);
        example.lock.ok(&["setup", "--execute"]).await;
        let words = example.lock.ok(&["check"]).await;
        (example, words)
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// The statements under a heading of the README, by what its comments begin with.
    async fn exec(&self, node: usize, sql: &str) {
        for statement in statements(sql) {
            let readme = self.file("README.md");
            assert!(readme.contains(&statement), "the README tells of {statement:?}");
            self.nodes[node].exec(&statement).await;
        }
    }

    async fn shows(&self, node: usize, sql: &str, expected: &str) {
        let mut last = String::new();
        let said = async |last: &mut String| {
            let rows = self.nodes[node].rows(sql).await;
            let lines = rows.into_iter().map(|row| {
                let cells = row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                cells.collect::<Vec<_>>().join(" ")
            });
            *last = lines.collect::<Vec<_>>().join("; ");
            *last == expected
        };
        let end = tokio::time::Instant::now() + LIMIT;
        while !said(&mut last).await {
            assert!(
                tokio::time::Instant::now() < end,
                "expected {expected:?}, found {last:?}"
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn stop(&mut self) {
        assert_eq!(self.lock.term().await.0, 0);
    }
}

fn statements(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_and_support() {
    let nodes = [("shop", Kind::Postgres18), ("support", Kind::Mysql)];
    let (mut example, words) = Example::open("orders-and-support", "orders", &nodes).await;
    for said in [
        "column open of support is status <> 'sent'",
        "column status is written by shop alone",
        "rows are inserted by shop alone",
        "column total stays behind",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    example.lock.spawn();
    let desk = "SELECT id, contact, open, remark, desk FROM orders ORDER BY id";
    example
        .shows(1, desk, "1 ada@example.com 1 - -; 2 ben@example.com 0 - -")
        .await;
    example
        .exec(
            1,
            "UPDATE orders SET remark = 'called twice', desk = 'Eva' WHERE id = 1",
        )
        .await;
    let shop = "SELECT id, email, status, remark FROM orders ORDER BY id";
    example
        .shows(
            0,
            shop,
            "1 ada@example.com paid called twice; 2 ben@example.com sent -",
        )
        .await;
    example
        .exec(0, "UPDATE orders SET status = 'sent' WHERE id = 1")
        .await;
    example
        .shows(
            1,
            desk,
            "1 ada@example.com 0 called twice Eva; 2 ben@example.com 0 - -",
        )
        .await;
    example
        .exec(1, "UPDATE orders SET contact = 'me@example.com' WHERE id = 2")
        .await;
    example.nodes[1]
        .exec("UPDATE orders SET open = true WHERE id = 1")
        .await;
    eventually(LIMIT, "both writes are undone", async || {
        let sql = format!(
            "SELECT count(*) FROM tidelock.conflict WHERE sync = '{}' AND kind = 'foreign_write'",
            example.nodes[0].name()
        );
        example.nodes[0].one(&sql).await == "2"
    })
    .await;
    example
        .shows(
            1,
            desk,
            "1 ada@example.com 0 called twice Eva; 2 ben@example.com 0 - -",
        )
        .await;
    example
        .shows(
            0,
            shop,
            "1 ada@example.com sent called twice; 2 ben@example.com sent -",
        )
        .await;
    example.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn source_of_truth() {
    let nodes = [("erp", Kind::Mysql), ("shop", Kind::Postgres18)];
    let (mut example, words) = Example::open("source-of-truth", "prices", &nodes).await;
    assert!(words.contains("nothing comes back"), "{words}");
    assert!(words.contains("only rows where NOT retired"), "{words}");
    example.lock.spawn();
    let shop = "SELECT id, title FROM products ORDER BY id";
    let price = "SELECT amount FROM prices WHERE product = 1";
    example.shows(1, shop, "1 Mug; 2 Plate").await;
    example
        .exec(0, "UPDATE prices SET amount = 10.00 WHERE product = 1")
        .await;
    example.shows(1, price, "10.00").await;
    example
        .exec(0, "UPDATE products SET retired = true WHERE id = 2")
        .await;
    example.shows(1, shop, "1 Mug").await;
    example
        .exec(1, "UPDATE prices SET amount = 1 WHERE product = 1")
        .await;
    example
        .exec(0, "UPDATE prices SET amount = 10.50 WHERE product = 1")
        .await;
    example.shows(1, price, "10.50").await;
    example.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions() {
    let nodes = [("john", Kind::Postgres15), ("jane", Kind::Mariadb)];
    let (mut example, _) = Example::open("versions", "office", &nodes).await;
    example.lock.spawn();
    let both = "SELECT person, phone FROM phones ORDER BY person";
    example.shows(1, both, "Jane 555-0200; John 555-0100").await;
    example.stop().await;
    example
        .exec(
            0,
            "UPDATE phones SET phone = '555-0101' WHERE person = 'John';
             UPDATE phones SET phone = '555-0102' WHERE person = 'John';
             UPDATE deals SET stage = 'won' WHERE id = 1",
        )
        .await;
    example
        .exec(
            1,
            "UPDATE phones SET phone = '555-0999' WHERE person = 'John';
             UPDATE deals SET note = 'call again' WHERE id = 1",
        )
        .await;
    example.lock.spawn();
    for node in [0, 1] {
        example.shows(node, both, "Jane 555-0200; John 555-0102").await;
        example
            .shows(node, "SELECT id, stage, note FROM deals", "1 won -")
            .await;
    }
    example.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_like() {
    let nodes = [("print", Kind::Postgres18), ("web", Kind::Mysql)];
    let (mut example, _) = Example::open("git-like", "desk", &nodes).await;
    example.lock.spawn();
    let contract = "SELECT terms FROM contracts";
    example.shows(1, contract, "30 days").await;
    example.stop().await;
    example
        .exec(
            0,
            "UPDATE articles SET title = 'High tides', visits = visits + 5 WHERE id = 1;
             UPDATE contracts SET terms = '60 days' WHERE id = 1",
        )
        .await;
    example
        .exec(
            1,
            "UPDATE articles SET teaser = 'The moon pulls', visits = visits + 2 WHERE id = 1;
             UPDATE contracts SET terms = '10 days' WHERE id = 1",
        )
        .await;
    example.lock.spawn();
    for node in [0, 1] {
        let article = "SELECT title, teaser, visits FROM articles";
        example.shows(node, article, "High tides The moon pulls 17").await;
    }
    let open = format!(
        "SELECT count(*) FROM tidelock.conflict WHERE sync = '{}' AND outcome = 'open'",
        example.nodes[0].name()
    );
    for node in [0, 1] {
        example.shows(node, &open, "1").await;
    }
    let listed = example.lock.ok(&["conflicts", "list", "--open", "--json"]).await;
    let id = listed
        .split("\"id\":")
        .nth(1)
        .and_then(|text| text.split('"').nth(1))
        .unwrap();
    example
        .lock
        .ok(&["conflicts", "resolve", id, "--take", "print", "--execute"])
        .await;
    for node in [0, 1] {
        example.shows(node, contract, "60 days").await;
    }
    example.stop().await;
}
