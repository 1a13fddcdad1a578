//! The examples of `examples/`, each as its README tells it: the files that a newcomer loads, the configuration as it
//! stands, and what comes of the statements.
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
    /// test alone, because all tests share the servers.
    async fn load(name: &str, sync: &str, nodes: &[(&str, Kind)]) -> Example {
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
        example
    }

    /// The same set up, and what `check` says of it in words.
    async fn open(name: &str, sync: &str, nodes: &[(&str, Kind)]) -> (Example, String) {
        let example = Example::load(name, sync, nodes).await;
        let words = example.set_up().await;
        (example, words)
    }

    async fn set_up(&self) -> String {
        self.lock.ok(&["setup", "--execute"]).await;
        self.lock.ok(&["check"]).await
    }

    /// What both write while they do not hear of each other.
    async fn apart(&mut self, first: &str, second: &str) {
        self.stop().await;
        self.exec(0, first).await;
        self.exec(1, second).await;
        self.lock.spawn();
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

    async fn said(&self, node: usize, sql: &str) -> String {
        let rows = self.nodes[node].rows(sql).await;
        let lines = rows.into_iter().map(|row| {
            let cells = row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            cells.collect::<Vec<_>>().join(" ")
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    async fn says(&self, node: usize, sql: &str, expected: &str) {
        assert_eq!(self.said(node, sql).await, expected);
    }

    /// The same in the end.
    async fn shows(&self, node: usize, sql: &str, expected: &str) {
        let end = tokio::time::Instant::now() + LIMIT;
        let mut last = self.said(node, sql).await;
        while last != expected {
            assert!(
                tokio::time::Instant::now() < end,
                "expected {expected:?}, found {last:?}"
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
            last = self.said(node, sql).await;
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
    example
        .apart(
            "UPDATE phones SET phone = '555-0101' WHERE person = 'John';
             UPDATE phones SET phone = '555-0102' WHERE person = 'John';
             UPDATE deals SET stage = 'won' WHERE id = 1",
            "UPDATE phones SET phone = '555-0999' WHERE person = 'John';
             UPDATE deals SET note = 'call again' WHERE id = 1",
        )
        .await;
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
    example
        .apart(
            "UPDATE articles SET title = 'High tides', visits = visits + 5 WHERE id = 1;
             UPDATE contracts SET terms = '60 days' WHERE id = 1",
            "UPDATE articles SET teaser = 'The moon pulls', visits = visits + 2 WHERE id = 1;
             UPDATE contracts SET terms = '10 days' WHERE id = 1",
        )
        .await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_by_region() {
    let nodes = [("ca", Kind::Postgres18), ("us", Kind::Mysql)];
    let (mut example, words) = Example::open("contacts-by-region", "contacts", &nodes).await;
    assert!(words.contains("of us's rows those where"), "{words}");
    example.lock.spawn();
    let all = "SELECT id, coalesce(phone, '-') FROM contacts ORDER BY id";
    let (ca, us) = (
        "1 +1 514 555 0101; 2 +1 416 555 0102; 3 -; 1001 +1 312 555 0103",
        "1 +1 514 555 0101; 2 +1 416 555 0102; 1001 +1 312 555 0103; 1002 -",
    );
    example.shows(0, all, ca).await;
    example.shows(1, all, us).await;
    example
        .exec(0, "UPDATE contacts SET phone = '+1 514 555 0199' WHERE id = 1")
        .await;
    let us = us.replace("0101", "0199");
    example.shows(1, all, &us).await;
    example
        .exec(1, "UPDATE contacts SET phone = 'oops' WHERE id = 1")
        .await;
    example.shows(1, all, &us).await;
    example
        .exec(0, "UPDATE contacts SET region = 'US' WHERE id = 1")
        .await;
    let handed = "SELECT count(*) FROM contacts WHERE region = 'US' AND id = 1";
    example.shows(1, handed, "1").await;
    let given = "UPDATE contacts SET phone = '+1 312 555 0110' WHERE id = 1";
    example.nodes[1].exec(given).await;
    example
        .shows(0, all, &ca.replace("+1 514 555 0101", "+1 312 555 0110"))
        .await;
    example
        .shows(1, all, &us.replace("+1 514 555 0199", "+1 312 555 0110"))
        .await;
    example.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_report() {
    let nodes = [("shop", Kind::Postgres18), ("reports", Kind::Mysql)];
    let (example, words) = Example::open("snapshot-report", "report", &nodes).await;
    assert!(
        words.contains("every 15m") && words.contains("an image of those on shop"),
        "{words}"
    );
    assert!(words.contains("only rows where status = 'paid'"), "{words}");
    let [shop, reports] = &example.nodes[..] else {
        unreachable!()
    };
    example.lock.ok(&["run", "--once"]).await;
    let revenue = "SELECT name, purchases, paid FROM revenue ORDER BY name";
    example.says(1, revenue, "Ada 2 25.50; Cleo 1 12.25").await;
    let mugs = "SELECT count(*) FROM stock_count WHERE article = 'mug'";
    assert_eq!(reports.one(mugs).await, "2");
    let change =
        "UPDATE purchase SET status = 'paid' WHERE id = 3; DELETE FROM stock_count WHERE shelf = 'B7'";
    shop.exec(change).await;
    example.lock.ok(&["run", "--once"]).await;
    example
        .says(1, revenue, "Ada 2 25.50; Ben 1 99.00; Cleo 1 12.25")
        .await;
    assert_eq!(reports.one("SELECT count(*) FROM stock_count").await, "2");
    let status = example.lock.ok(&["status"]).await;
    assert!(
        status.contains("image of 20") && status.contains("9 rows"),
        "{status}"
    );
    example.lock.ok(&["teardown", "--execute"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_of_record() {
    let nodes = [
        ("erp", Kind::Postgres18),
        ("shop", Kind::Mysql),
        ("support", Kind::Mariadb),
        ("billing", Kind::Postgres15),
    ];
    let example = Example::load("hub-of-record", "record", &nodes).await;
    let words = example.lock.run(&["check"]).await.stdout;
    let told = "erp is the hub: what shop, support and billing write goes there";
    assert!(words.contains(told), "{words}");
    assert!(words.contains("what erp wrote stays"), "{words}");
    example.set_up().await;
    let [erp, shop, support, billing] = &example.nodes[..] else {
        unreachable!()
    };
    example.lock.ok(&["run", "--once"]).await;
    example
        .says(1, "SELECT mail FROM clients WHERE id = 2", "grace@example.com")
        .await;
    for db in [support, billing] {
        assert_eq!((db.count("customers").await, db.count("prices").await), (3, 2));
    }
    support
        .exec("UPDATE customers SET phone = '+44 20 7' WHERE id = 1")
        .await;
    erp.exec("UPDATE prices SET amount = 44.90 WHERE article = 'lamp'")
        .await;
    shop.exec("UPDATE prices SET amount = 35.00 WHERE article = 'lamp'")
        .await;
    shop.exec("UPDATE prices SET amount = 34.00 WHERE article = 'lamp'")
        .await;
    example.lock.ok(&["run", "--once"]).await;
    for (node, table) in ["customers", "clients", "customers", "customers"]
        .into_iter()
        .enumerate()
    {
        let phone = format!("SELECT phone FROM {table} WHERE id = 1");
        example.says(node, &phone, "+44 20 7").await;
        example
            .says(node, "SELECT amount FROM prices WHERE article = 'lamp'", "44.90")
            .await;
    }
    let conflicts = example.lock.ok(&["conflicts", "list"]).await;
    assert!(conflicts.contains("prices"), "{conflicts}");
    example.lock.ok(&["teardown", "--execute"]).await;
}

/// One laboratory, which is away, repeats itself, refuses and writes what is not its own; then a second one, while the first
/// goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lab_requests() {
    let nodes = [("portal", Kind::Postgres18), ("lab_a", Kind::Mysql)];
    let (mut example, words) = Example::open("lab-requests", "requests", &nodes).await;
    for said in [
        "lab_a holds the rows where lab = 'north'",
        "rows are inserted by portal alone",
        "column lab is written by portal alone",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    example.lock.spawn();
    a_laboratory_works(&example).await;
    let before = link_of_lab_a(&example).await;
    let rows = "SELECT id, patient, status, result, tidelock_version FROM requests ORDER BY id";
    let had = example.said(1, rows).await;
    a_second_one_comes(&mut example).await;
    // Nothing was copied anew, and its links went on where they were.
    let after = link_of_lab_a(&example).await;
    assert_eq!(before.0, after.0);
    assert!(after.1 >= before.1, "{} is before {}", after.1, before.1);
    assert_eq!(example.said(1, rows).await, had);
    requests_move(&mut example).await;
    example.stop().await;
}

/// Its slot on the portal, and the number of its checkpoint.
async fn link_of_lab_a(example: &Example) -> (String, i64) {
    let slot = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND slot_name LIKE '%lab_a'";
    let sync = example.nodes[0].name();
    let seq = format!(
        "SELECT seq FROM tidelock.checkpoint WHERE sync = '{sync}' AND link = 'portal->lab_a' AND lane = 0"
    );
    let seq = example.nodes[1].one(&seq).await.parse().unwrap();
    (example.nodes[0].one(slot).await, seq)
}

async fn a_laboratory_works(example: &Example) {
    let sync = example.nodes[0].name();
    let lab = "SELECT id, patient, status, result FROM requests ORDER BY id";
    example
        .shows(1, lab, "1 P-1001 ordered -; 3 P-1003 ordered -")
        .await;
    // It is away, and what it did meanwhile comes when it is back.
    let link = format!("{sync}/lab_a->portal");
    example.lock.ok(&["pause", &link]).await;
    eventually(LIMIT, "the link to rest", async || {
        let log = example.lock.log();
        log.lines()
            .any(|line| line.contains("\"paused\"") && line.contains("lab_a->portal"))
    })
    .await;
    let done = "UPDATE requests SET result = '13.9', result_unit = 'g/dl', status = 'done' WHERE id = 1";
    example.exec(1, done).await;
    // What a doctor writes meanwhile is the portal's, in the same row.
    example.nodes[0]
        .exec("INSERT INTO requests (id, patient, test, lab) VALUES (4, 'P-1004', 'Iron', 'south')")
        .await;
    example.lock.ok(&["resume", &link]).await;
    let portal = "SELECT id, patient, lab, status, result, reject_reason FROM requests ORDER BY id";
    let others = "2 P-1002 south ordered - -; 3 P-1003 north ordered - -; 4 P-1004 south ordered - -";
    let first = "1 P-1001 north done 13.9 -";
    example.shows(0, portal, &format!("{first}; {others}")).await;
    // Said twice it is said once.
    let version = "SELECT tidelock_version FROM requests WHERE id = 1";
    let before = example.said(0, version).await;
    example.exec(1, done).await;
    // What is the portal's comes back.
    example
        .exec(1, "UPDATE requests SET patient = 'P-1009' WHERE id = 1")
        .await;
    let undone =
        format!("SELECT count(*) FROM tidelock.conflict WHERE sync = '{sync}' AND kind = 'foreign_write'");
    example.shows(0, &undone, "1").await;
    example
        .shows(1, lab, "1 P-1001 done 13.9; 3 P-1003 ordered -")
        .await;
    let after = example.said(0, version).await;
    let raised = after.parse::<i64>().unwrap() - before.parse::<i64>().unwrap();
    assert_eq!(
        raised, 2,
        "the foreign write and its answer, and not the repetition"
    );
    // Rows of its own are not the laboratory's to make, under a key that is free or another laboratory's.
    example.nodes[1]
        .exec("INSERT INTO requests (id, patient, test, lab) VALUES (9, 'P-1', 'x', 'north'), (2, 'P-2', 'x', 'north')")
        .await;
    example
        .shows(1, lab, "1 P-1001 done 13.9; 3 P-1003 ordered -")
        .await;
    example.shows(0, &undone, "3").await;
    example
        .exec(
            1,
            "UPDATE requests SET status = 'rejected', reject_reason = 'sample clotted' WHERE id = 3",
        )
        .await;
    let others = others.replace(
        "3 P-1003 north ordered - -",
        "3 P-1003 north rejected - sample clotted",
    );
    example.shows(0, portal, &format!("{first}; {others}")).await;
}

async fn a_second_one_comes(example: &mut Example) {
    let db = database(Kind::Mariadb, "requests").await;
    for statement in statements(&example.file("lab_b.sql")) {
        db.exec(&statement).await;
    }
    let sync = example.nodes[0].name().to_owned();
    let config = example.file("tidelock.toml");
    let config = config
        .replace("name = \"requests\"", &format!("name = \"{sync}\""))
        .replace("\"lab_a\"]", "\"lab_a\", \"lab_b\"]")
        .replace("# topology", "topology")
        .replace("# lab_b", "lab_b")
        .replace(
            "[[sync]]",
            &format!("[node.lab_b]\nurl = \"{}\"\n[[sync]]", db.url()),
        );
    example.lock.configure(&config);
    example.nodes.push(db);
    let words = example.set_up().await;
    assert!(
        words.contains("lab_b holds the rows where lab = 'south'"),
        "{words}"
    );
    harness::signal(example.lock.pid().unwrap(), "HUP");
    let lab = "SELECT id, patient, status, result FROM requests ORDER BY id";
    example
        .shows(2, lab, "2 P-1002 ordered -; 4 P-1004 ordered -")
        .await;
}

/// The portal gives requests to the other one, one of them while the first still writes it.
async fn requests_move(example: &mut Example) {
    let lab = "SELECT id, patient, lab, status, result FROM requests ORDER BY id";
    example
        .exec(
            0,
            "UPDATE requests SET lab = 'south', status = 'ordered', reject_reason = NULL WHERE id = 3",
        )
        .await;
    example.shows(1, lab, "1 P-1001 north done 13.9").await;
    let others = "2 P-1002 south ordered -; 3 P-1003 south ordered -; 4 P-1004 south ordered -";
    example.shows(2, lab, others).await;
    example.stop().await;
    example.nodes[0]
        .exec("UPDATE requests SET lab = 'south' WHERE id = 1")
        .await;
    example.nodes[1]
        .exec("UPDATE requests SET result = '14.0' WHERE id = 1")
        .await;
    example.lock.spawn();
    let all = format!("1 P-1001 south done 13.9; {others}");
    example.shows(2, lab, &all).await;
    example.shows(1, lab, "").await;
    // The second one answers, and takes no part in what the first one did.
    example.nodes[2]
        .exec("UPDATE requests SET status = 'done', result = '5.1' WHERE id = 2")
        .await;
    let all = all.replace("2 P-1002 south ordered -", "2 P-1002 south done 5.1");
    for node in [0, 2] {
        example.shows(node, lab, &all).await;
    }
    example.shows(1, lab, "").await;
    let conflicts = example.lock.ok(&["conflicts", "list", "--json"]).await;
    assert!(
        conflicts.contains("its node does not hold the row"),
        "{conflicts}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_ids() {
    let nodes = [("crm", Kind::Postgres18), ("shop", Kind::Mysql)];
    let (mut example, words) = Example::open("external-ids", "customers", &nodes).await;
    assert!(
        words.contains("crm_id of shop holds the key of the other side's rows"),
        "{words}"
    );
    let told = example.lock.ok(&["plan", "--preview"]).await;
    let pairs = "match_on pairs 2, leaves 1 to shop alone, brings it 1";
    assert!(told.contains(pairs), "{told}");
    example.lock.spawn();
    let customers = "SELECT id, crm_id, name, points FROM customers ORDER BY id";
    let paired = "1 7001 Ada Lovelace 120; 2 - Zoe 5; 3 7002 Ben Carter 40; 4 7003 Eve Stone 0";
    example.shows(1, customers, paired).await;
    let named = "UPDATE contacts SET name = 'Ada King' WHERE id = 7001";
    example.exec(0, named).await;
    example
        .shows(1, customers, &paired.replace("Ada Lovelace", "Ada King"))
        .await;
    let zoe = "SELECT id, email, name FROM contacts WHERE id > 7003";
    example
        .exec(1, "UPDATE customers SET crm_id = 7100 WHERE id = 2")
        .await;
    example.shows(0, zoe, "7100 zoe@example.com Zoe").await;
    example
        .exec(1, "UPDATE customers SET crm_id = NULL WHERE id = 2")
        .await;
    example.shows(0, zoe, "").await;
    let own = paired.replace("Ada Lovelace", "Ada King");
    example.says(1, customers, &own).await;
    example.stop().await;
}
