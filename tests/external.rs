//! `external_id`: a CRM and a shop, each with keys of its own; the shop has the CRM's key in a column.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Db, Kind, eventually};
use scenario::{LIMIT, Pair, Random, Scene, Side, Way};
use std::time::Duration;

pairs! {
    the_shops_keys_stay_its_own => |pair| the_shops_keys_stay_its_own(pair, Side::B);
    the_shops_keys_stay_its_own_the_other_way => |pair| the_shops_keys_stay_its_own(pair, Side::A);
    rows_that_match_are_paired => |pair| rows_that_match_are_paired(pair, Side::B);
    pairing_goes_on_where_it_was_killed => |pair| pairing_goes_on_where_it_was_killed(pair, Side::A);
    what_cannot_name_rows_is_refused => |pair| what_cannot_name_rows_is_refused(pair, Side::A);
    what_cannot_name_rows_is_refused_the_other_way => |pair| what_cannot_name_rows_is_refused(pair, Side::B);
    names_come_and_go_on_both_sides => |pair| names_come_and_go_on_both_sides(pair, Side::B);
    names_come_and_go_the_other_way => |pair| names_come_and_go_on_both_sides(pair, Side::A);
    one_way_the_own_rows_stay => one_way_the_own_rows_stay;
}

fn create_contacts() -> String {
    "CREATE TABLE contacts (id int NOT NULL PRIMARY KEY, email varchar(60) UNIQUE, name varchar(60))"
        .to_owned()
}

/// `serial` on PostgreSQL 15: what the run account takes its numbers from is granted to it.
fn create_customers(kind: Kind) -> String {
    let id = match kind {
        Kind::Postgres15 => "serial PRIMARY KEY",
        Kind::Mysql | Kind::Mariadb => "int NOT NULL AUTO_INCREMENT PRIMARY KEY",
        _ => "int GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    };
    format!(
        "CREATE TABLE customers (id {id}, crm_id int UNIQUE, email varchar(60) UNIQUE, name varchar(60), \
         points int NOT NULL DEFAULT 0)"
    )
}

struct Shop {
    scene: Scene,
    shop: Side,
}

impl Shop {
    async fn new(hint: &str, pair: Pair, shop: Side, seed: &str, more: &str) -> Shop {
        let mut scene = Scene::new(hint, pair, Way::Merge, &[]).await;
        scene.exec(shop.other(), &create_contacts()).await;
        let create = create_customers(scene.db(shop).kind());
        scene.exec(shop, &create).await;
        scene.more_tables = vec!["contacts".to_owned()];
        let mut made = Shop { scene, shop };
        let section = made.section(more);
        let seed = seed.replace("crm", made.name(shop.other()));
        made.scene.configure(&seed, &section);
        made
    }

    fn name(&self, side: Side) -> &'static str {
        match side {
            Side::A => "a",
            Side::B => "b",
        }
    }

    fn section(&self, more: &str) -> String {
        let shop = self.name(self.shop);
        format!(
            "[sync.table.contacts]\nnames = {{ {shop} = \"customers\" }}\nexternal_id = {{ {shop} = \"crm_id\" }}\n\
             skip = [\"points\"]\n{more}"
        )
    }

    fn shop(&self) -> &Db {
        self.scene.db(self.shop)
    }

    fn crm(&self) -> &Db {
        self.scene.db(self.shop.other())
    }

    async fn on_shop(&self, statements: &str) {
        self.scene.exec(self.shop, statements).await;
    }

    async fn on_crm(&self, statements: &str) {
        self.scene.exec(self.shop.other(), statements).await;
    }

    /// What both call one contact, with its stamps.
    async fn rows(&self) -> [String; 2] {
        let rest = "email, name, tidelock_version, tidelock_origin";
        let crm = self
            .crm()
            .rows(&format!("SELECT id, {rest} FROM contacts ORDER BY id"))
            .await;
        let shop = format!("SELECT crm_id, {rest} FROM customers WHERE crm_id IS NOT NULL ORDER BY crm_id");
        [text(&crm), text(&self.shop().rows(&shop).await)]
    }

    async fn equal(&mut self) {
        self.scene.crossed().await;
        eventually(LIMIT, "both sides are equal", async || {
            let [crm, shop] = self.rows().await;
            crm == shop
        })
        .await;
    }

    /// Own key, the CRM's key, and what is the shop's alone.
    async fn own(&self) -> String {
        text(
            &self
                .shop()
                .rows("SELECT id, crm_id, points FROM customers ORDER BY id")
                .await,
        )
    }

    async fn crms(&self) -> String {
        text(
            &self
                .crm()
                .rows("SELECT id, email FROM contacts ORDER BY id")
                .await,
        )
    }
}

fn text(rows: &[Vec<Option<String>>]) -> String {
    let line = |row: &Vec<Option<String>>| {
        let cells = row
            .iter()
            .map(|cell| cell.clone().unwrap_or_else(|| "-".to_owned()));
        cells.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("; ")
}

async fn the_shops_keys_stay_its_own(pair: Pair, side: Side) {
    let mut shop = Shop::new("external", pair, side, "from:crm", "").await;
    shop.on_shop("INSERT INTO customers (email, name) VALUES ('own@x', 'own'), ('late@x', 'late')")
        .await;
    shop.on_crm("INSERT INTO contacts VALUES (105, 'five@x', 'five'), (106, 'six@x', 'six'), (107, 'seven@x', 'seven')")
        .await;
    shop.scene.lock.ok(&["setup", "--execute"]).await;
    let words = shop.scene.lock.ok(&["check"]).await;
    assert!(words.contains("crm_id of "), "{words}");
    shop.scene.start().await;
    shop.equal().await;
    // The copy takes keys in any order.
    shop.on_shop("UPDATE customers SET points = crm_id WHERE crm_id IS NOT NULL")
        .await;
    shop.equal().await;
    assert_eq!(shop.crms().await, "105 five@x; 106 six@x; 107 seven@x");
    let before = shop.own().await;

    // What has no name on the other side is not told there, and neither is its delete.
    shop.on_shop(
        "UPDATE customers SET name = 'still own' WHERE email = 'own@x';
        INSERT INTO customers (email) VALUES ('gone@x'); DELETE FROM customers WHERE email = 'gone@x'",
    )
    .await;
    shop.on_shop("UPDATE customers SET name = '5' WHERE crm_id = 105")
        .await;
    shop.on_crm("UPDATE contacts SET name = '6' WHERE id = 106").await;
    shop.equal().await;
    assert_eq!(
        (shop.crms().await, shop.own().await),
        ("105 five@x; 106 six@x; 107 seven@x".to_owned(), before.clone())
    );

    // It gets a name, loses it, and gets it again.
    shop.on_shop("UPDATE customers SET crm_id = 200 WHERE email = 'late@x'")
        .await;
    shop.equal().await;
    assert_eq!(shop.crm().count("contacts WHERE id = 200").await, 1);
    shop.on_shop("UPDATE customers SET crm_id = NULL WHERE email = 'late@x'")
        .await;
    shop.equal().await;
    assert_eq!(shop.crm().count("contacts WHERE id = 200").await, 0);
    assert_eq!(shop.own().await, before, "the shop's row stays its own");
    shop.on_shop("UPDATE customers SET crm_id = 200 WHERE email = 'late@x'")
        .await;
    shop.equal().await;
    assert_eq!(shop.crm().count("contacts WHERE id = 200").await, 1);
    shop.on_shop("UPDATE customers SET crm_id = 201 WHERE email = 'late@x'")
        .await;
    shop.equal().await;
    assert_eq!(
        shop.crms().await,
        "105 five@x; 106 six@x; 107 seven@x; 201 late@x"
    );
    shop.on_crm("UPDATE contacts SET id = 202 WHERE id = 201").await;
    shop.equal().await;
    assert_eq!(
        shop.crms().await,
        "105 five@x; 106 six@x; 107 seven@x; 202 late@x"
    );
    assert_eq!(
        shop.own().await,
        before.replace("2 - 0", "2 202 0"),
        "a moved row is the same one"
    );

    // Rows that trade a unique value, and one that is deleted and inserted again at once.
    let before = shop.own().await;
    shop.on_crm("BEGIN; UPDATE contacts SET email = NULL WHERE id = 105; UPDATE contacts SET email = 'five@x' WHERE id = 106;
        UPDATE contacts SET email = 'six@x' WHERE id = 105; COMMIT").await;
    shop.equal().await;
    assert_eq!(shop.own().await, before, "rows that trade keep their own keys");
    shop.on_crm("BEGIN; DELETE FROM contacts WHERE id = 107; INSERT INTO contacts VALUES (107, 'seven@x', 'again'); COMMIT").await;
    shop.equal().await;
    assert_eq!(
        shop.own().await,
        before,
        "a row that is made anew at once keeps its own key"
    );
    assert_eq!(shop.shop().count("customers WHERE name = 'again'").await, 1);

    // A delete that arrives takes the shop's row along.
    shop.on_crm("DELETE FROM contacts WHERE id = 107").await;
    shop.equal().await;
    assert_eq!(shop.shop().count("customers WHERE email = 'seven@x'").await, 0);
    shop.scene.assert_no_conflicts().await;
    shop.scene.stop().await;
}

const MATCH: &str = "match_on = [\"email\"]";

/// Without unique values: those that a collation takes for one must not stand in each other's way.
async fn to_pair(hint: &str, pair: Pair, side: Side) -> Shop {
    let shop = Shop::new(hint, pair, side, "union", MATCH).await;
    for (side, table) in [(shop.shop, "customers"), (shop.shop.other(), "contacts")] {
        let drop = match shop.scene.db(side).kind().is_postgres() {
            true => format!("ALTER TABLE {table} DROP CONSTRAINT {table}_email_key"),
            false => format!("ALTER TABLE {table} DROP INDEX email"),
        };
        shop.scene.exec(side, &drop).await;
    }
    shop.on_crm(
        "INSERT INTO contacts VALUES (101, 'ann@x', 'Ann'), (102, 'Bob@x', 'Bob'), (103, 'cat@x', 'Cat'),
        (104, NULL, 'nobody'), (105, 'dan@x ', 'Dan'), (106, 'eve@x', 'Eve'), (107, 'fay@x', 'Fay')",
    )
    .await;
    // Eve's row is known already, and another one of her address is the shop's alone.
    shop.on_shop(
        "INSERT INTO customers (crm_id, email, name) VALUES (NULL, 'ann@x', 'ann'), (NULL, 'bob@x', 'bob'),
        (NULL, 'cat@x', 'cat'), (NULL, NULL, 'nobody'), (NULL, 'dan@x', 'dan'), (106, 'old@x', 'eve'),
        (NULL, 'eve@x', 'another eve'), (NULL, 'gil@x', 'gil')",
    )
    .await;
    shop.scene.lock.ok(&["setup", "--execute"]).await;
    shop
}

/// Own keys and the CRM's, of rows that have both.
const PAIRED: &str = "SELECT id, crm_id FROM customers WHERE id <= 8 AND crm_id IS NOT NULL ORDER BY id";

async fn rows_that_match_are_paired(pair: Pair, side: Side) {
    let mut shop = to_pair("paired", pair, side).await;
    shop.on_crm("INSERT INTO contacts VALUES (108, 'cat@x', 'a second cat')")
        .await;
    let pairing = async || {
        let told = shop.scene.lock.ok(&["plan", "--preview", "--json"]).await;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let tables = told["syncs"][0]["preview"].as_array().unwrap().clone();
        let of = tables
            .into_iter()
            .map(|table| table["pairing"].clone())
            .find(|pairing| !pairing.is_null());
        ["paired", "alone", "others", "ambiguous"].map(|what| of.as_ref().unwrap()[what].as_u64().unwrap())
    };
    assert_eq!(pairing().await, [1, 6, 6, 1]);
    let refused = shop.scene.lock.run(&["run", "--once"]).await;
    assert_ne!(refused.code, 0);
    for said in [
        "1 values of (email)",
        "HAVING count(*) > 1; on node a",
        "HAVING count(*) > 1; on node b",
        "nothing more was written",
    ] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    assert_eq!(text(&shop.shop().rows(PAIRED).await), "6 106");
    shop.on_crm("DELETE FROM contacts WHERE id = 108").await;
    assert_eq!(pairing().await, [2, 5, 4, 0]);
    let words = shop.scene.lock.ok(&["plan", "--preview"]).await;
    assert!(words.contains("match_on pairs 2, leaves 5 to"), "{words}");
    assert_eq!(
        text(&shop.shop().rows(PAIRED).await),
        "6 106",
        "a preview writes nothing"
    );
    shop.scene.run().await;
    shop.scene.streaming().await;
    shop.equal().await;
    assert_eq!(text(&shop.shop().rows(PAIRED).await), "1 101; 3 103; 6 106");
    assert_eq!(
        shop.crm().count("contacts").await,
        7,
        "nothing comes of what is the shop's alone"
    );
    assert_eq!(shop.shop().count("customers WHERE crm_id IS NULL").await, 5);
    for side in [Side::A, Side::B] {
        let found = shop.scene.conflicts(side).await;
        let refused = found.iter().find(|conflict| conflict.kind == "value_refused");
        assert!(refused.is_none(), "what has no name is not copied: {refused:?}");
    }
    // After the seed it plays no part.
    shop.on_shop("UPDATE customers SET email = 'Bob@x' WHERE email = 'bob@x'")
        .await;
    shop.on_crm("UPDATE contacts SET name = 'Ann A.' WHERE id = 101")
        .await;
    shop.equal().await;
    assert_eq!(
        shop.shop()
            .count("customers WHERE id = 1 AND name = 'Ann A.'")
            .await,
        1
    );
    assert_eq!(text(&shop.shop().rows(PAIRED).await), "1 101; 3 103; 6 106");
    shop.scene.stop().await;
}

async fn pairing_goes_on_where_it_was_killed(pair: Pair, side: Side) {
    let mut shop = to_pair("pair_killed", pair, side).await;
    // Chunks are noted with the first of a copy, behind the last pair.
    let mut held = Vec::new();
    for side in [Side::A, Side::B] {
        let mut session = shop.scene.db(side).session().await;
        match shop.scene.db(side).kind().is_postgres() {
            true => {
                session.exec("BEGIN").await;
                session.exec("LOCK TABLE tidelock.chunk IN SHARE MODE").await;
            }
            false => session.exec("LOCK TABLES tidelock.chunk READ").await,
        }
        held.push(session);
    }
    shop.scene.run().await;
    eventually(LIMIT, "rows are paired", async || {
        text(&shop.shop().rows(PAIRED).await) == "1 101; 3 103; 6 106"
    })
    .await;
    shop.scene.lock.kill9().await;
    drop(held);
    shop.on_shop(
        "UPDATE customers SET name = 'written meanwhile' WHERE id = 1; DELETE FROM customers WHERE id = 3",
    )
    .await;
    shop.on_crm("UPDATE contacts SET email = 'gil@x' WHERE id = 107")
        .await;
    shop.scene.run().await;
    shop.scene.streaming().await;
    shop.equal().await;
    assert_eq!(text(&shop.shop().rows(PAIRED).await), "1 101; 6 106; 8 107");
    assert_eq!(
        shop.crm()
            .count("contacts WHERE name = 'written meanwhile'")
            .await,
        1
    );
    assert_eq!(shop.crm().count("contacts WHERE id = 103").await, 0);
    shop.scene.stop().await;
}

/// What stands in the way is told before anything is written, with what mends it.
async fn what_cannot_name_rows_is_refused(pair: Pair, side: Side) {
    let mut shop = Shop::new("external_bad", pair, side, "union", MATCH).await;
    shop.scene.lock.ok(&["setup", "--execute"]).await;
    let is_postgres = shop.shop().kind().is_postgres();
    let table = "customers";
    let (drop_unique, no_default) = match is_postgres {
        true => (
            "ALTER TABLE customers DROP CONSTRAINT customers_crm_id_key",
            match shop.shop().kind() {
                Kind::Postgres15 => "ALTER TABLE customers ALTER id DROP DEFAULT",
                _ => "ALTER TABLE customers ALTER id DROP IDENTITY",
            },
        ),
        false => (
            "ALTER TABLE customers DROP INDEX crm_id",
            "ALTER TABLE customers MODIFY id int NOT NULL",
        ),
    };
    let orders = "CREATE TABLE orders (id int NOT NULL PRIMARY KEY, customer int, \
                  CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id))";
    let told = async |shop: &Shop| {
        let output = shop.scene.lock.run(&["check"]).await;
        assert_eq!(output.code, 3, "{}", output.stdout);
        output.stdout
    };
    // Of the configuration.
    for (from, to, said) in [
        (
            "\"crm_id\"",
            "\"crm_no\"",
            "column \"crm_no\" is mapped, and there is no such column",
        ),
        (
            "[\"email\"]",
            "[\"mail\"]",
            "match_on names column \"mail\", and no such column is carried",
        ),
    ] {
        let section = shop.section(MATCH);
        shop.scene.configure("union", &section.replace(from, to));
        let told = told(&shop).await;
        assert!(
            told.contains(said) && told.contains("[sync.table] of contacts"),
            "{said}: {told}"
        );
        shop.scene.configure("union", &section);
    }
    // Of the tables.
    shop.on_shop(drop_unique).await;
    let without = told(&shop).await;
    let fix = if is_postgres {
        "ADD UNIQUE (\"crm_id\")"
    } else {
        "ADD UNIQUE (`crm_id`)"
    };
    assert!(
        without.contains("external_id \"crm_id\" has no unique index") && without.contains(fix),
        "{without}"
    );
    // Nor is anything installed that would stand for another key.
    let refused = shop.scene.lock.run(&["setup", "--execute"]).await;
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("E366") && refused.stderr.contains(fix),
        "{}",
        refused.stderr
    );
    shop.on_shop(&format!("ALTER TABLE {table} ADD UNIQUE (crm_id)"))
        .await;
    shop.scene.lock.ok(&["setup", "--execute"]).await;
    shop.on_shop(no_default).await;
    let without = told(&shop).await;
    let fix = if is_postgres {
        "ADD GENERATED BY DEFAULT AS IDENTITY"
    } else {
        "NOT NULL AUTO_INCREMENT"
    };
    assert!(
        without.contains("own key \"id\" has no default") && without.contains(fix),
        "{without}"
    );
    let back = match is_postgres {
        true => "ALTER TABLE customers ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
        false => "ALTER TABLE customers MODIFY id int NOT NULL AUTO_INCREMENT",
    };
    shop.on_shop(back).await;
    // A foreign key that would have to be rewritten.
    shop.on_shop(orders).await;
    shop.on_crm("CREATE TABLE orders (id int NOT NULL PRIMARY KEY, customer int)")
        .await;
    shop.scene.more_tables.push("orders".to_owned());
    let section = shop.section(MATCH);
    shop.scene.configure("union", &section);
    // The run account sees a table once setup has granted it.
    shop.scene.lock.run(&["setup", "--execute"]).await;
    let referring = told(&shop).await;
    for said in [
        "foreign key \"of_customer\" of",
        "refers to (id)",
        "take ",
        "out of the sync",
    ] {
        assert!(referring.contains(said), "{said}: {referring}");
    }
}

/// Users of both sides write as they like; what clashes with a unique key is theirs to try again.
async fn names_come_and_go_on_both_sides(pair: Pair, side: Side) {
    const KEYS: u64 = 30;
    const WRITES: usize = 300;
    let mut shop = to_pair("external_random", pair, side).await;
    shop.scene.run().await;
    shop.scene.streaming().await;
    let mut random = Random::new("external ids");
    let (mut of_shop, mut of_crm) = (random.fork(), random.fork());
    let (mut on_shop, mut on_crm) = (shop.shop().session().await, shop.crm().session().await);
    let shop_users = async {
        for n in 0..WRITES {
            let (k, other) = (of_shop.below(KEYS), of_shop.below(KEYS));
            let sql = match of_shop.below(8) {
                0 => format!("INSERT INTO customers (crm_id, name) VALUES ({k}, 'shop {n}')"),
                1 => format!("INSERT INTO customers (name) VALUES ('shop {n}')"),
                2 => format!("UPDATE customers SET crm_id = NULL WHERE crm_id = {k}"),
                3 => format!("DELETE FROM customers WHERE crm_id = {k}"),
                4 => format!("UPDATE customers SET crm_id = {other} WHERE crm_id = {k}"),
                5 => format!(
                    "UPDATE customers SET crm_id = {k} WHERE crm_id IS NULL AND name = 'shop {}'",
                    of_shop.below(n as u64 + 1)
                ),
                _ => format!("UPDATE customers SET name = 'shop {n}' WHERE crm_id = {k}"),
            };
            // A key that is taken.
            let _ = on_shop.try_exec(&sql).await;
            tokio::time::sleep(Duration::from_millis(of_shop.below(8))).await;
        }
    };
    let crm_users = async {
        for n in 0..WRITES {
            let (k, other) = (of_crm.below(KEYS), of_crm.below(KEYS));
            let sql = match of_crm.below(6) {
                0 | 1 => format!("INSERT INTO contacts (id, name) VALUES ({k}, 'crm {n}')"),
                2 => format!("DELETE FROM contacts WHERE id = {k}"),
                3 => format!("UPDATE contacts SET id = {other} WHERE id = {k}"),
                _ => format!("UPDATE contacts SET name = 'crm {n}' WHERE id = {k}"),
            };
            let _ = on_crm.try_exec(&sql).await;
            tokio::time::sleep(Duration::from_millis(of_crm.below(8))).await;
        }
    };
    tokio::join!(shop_users, crm_users);
    shop.equal().await;
    let named = shop.shop().count("customers WHERE crm_id IS NOT NULL").await;
    assert_eq!(shop.crm().count("contacts").await, named);
    assert!(
        shop.shop()
            .count("customers WHERE crm_id IS NULL AND name LIKE 'shop%'")
            .await
            > 0,
        "the shop's alone"
    );
    assert!(!shop.scene.conflicts(Side::A).await.is_empty(), "they met");
    shop.scene.stop().await;
}

/// The CRM alone writes: rows of the shop without its key are nothing to it, a TRUNCATE included.
async fn one_way_the_own_rows_stay(pair: Pair) {
    let mut scene = Scene::new("external_one_way", pair, Way::AToB, &[]).await;
    scene.exec(Side::A, &create_contacts()).await;
    let create = create_customers(scene.b.kind());
    scene.exec(Side::B, &create).await;
    scene
        .exec(
            Side::B,
            "INSERT INTO customers (email, points) VALUES ('own@x', 7)",
        )
        .await;
    scene
        .exec(Side::A, "INSERT INTO contacts VALUES (101, 'ann@x', 'Ann')")
        .await;
    scene.more_tables = vec!["contacts".to_owned()];
    let section = "[sync.table.contacts]\nnames = { b = \"customers\" }\nexternal_id = { b = \"crm_id\" }\nskip = [\"points\"]";
    scene.configure("from:a", section);
    scene.start().await;
    scene.crossed().await;
    let all = "SELECT id, crm_id, email, points FROM customers ORDER BY id";
    let shows = async |scene: &Scene, expected: &str| {
        eventually(LIMIT, expected, async || {
            text(&scene.b.rows(all).await) == expected
        })
        .await;
    };
    shows(&scene, "1 - own@x 7; 2 101 ann@x 0").await;
    scene
        .exec(Side::B, "UPDATE customers SET points = 9 WHERE crm_id = 101")
        .await;
    scene
        .exec(
            Side::A,
            "UPDATE contacts SET id = 102, email = 'ann@y' WHERE id = 101",
        )
        .await;
    shows(&scene, "1 - own@x 7; 2 102 ann@y 9").await;
    // What is copied anew is what has a name: not the shop's own rows, and not their number.
    scene
        .exec(
            Side::B,
            "INSERT INTO customers (crm_id, email) VALUES (999, 'nobody@x')",
        )
        .await;
    scene
        .lock
        .ok(&["resync", "contacts", "--sync", &scene.sync, "--execute"])
        .await;
    shows(&scene, "1 - own@x 7; 2 102 ann@y 9").await;
    let held = format!("tidelock.held_table WHERE sync = '{}'", scene.sync);
    eventually(LIMIT, "the table is taken up again", async || {
        scene.b.count(&held).await == 0
    })
    .await;
    scene.exec(Side::A, "TRUNCATE TABLE contacts").await;
    let end = tokio::time::Instant::now() + LIMIT;
    while scene.lock.running() {
        assert!(tokio::time::Instant::now() < end, "it goes on past a TRUNCATE");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(text(&scene.b.rows(all).await), "1 - own@x 7; 2 102 ann@y 9");
}
