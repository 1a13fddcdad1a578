//! Columns that are computed of what the other node has: joined, split, constant, owned; and rows that would not come back.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Rows, eventually};
use scenario::{LIMIT, Pair, Random, Scene, Side, Way};

pairs! {
    joined_and_split_both_ways => joined_and_split_both_ways;
    computed_one_way_to_b => |pair| one_way(pair, Way::AToB);
    computed_one_way_to_a => |pair| one_way(pair, Way::BToA);
    what_does_not_come_back_is_refused => what_does_not_come_back_is_refused;
    what_its_owner_computes_is_computed_again => what_its_owner_computes_is_computed_again;
    formulas_that_do_not_fit_are_findings => formulas_that_do_not_fit_are_findings;
}

fn configure(scene: &Scene, section: &str) {
    let way = match scene.way {
        Way::Merge => "mode = \"merge\"\nseed = \"from:a\"",
        Way::AToB => "mode = \"transactional\"\nfrom = \"a\"\nseed = \"from:a\"",
        Way::BToA => "mode = \"transactional\"\nfrom = \"b\"\nseed = \"from:b\"",
    };
    scene.lock.configure(&format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\n{way}\n\
         tables = [\"part\", \"probe\"]\n[sync.table.part]\n{section}\n",
        scene.a.node(),
        scene.b.node(),
        scene.sync,
    ));
}

/// On a region and serial apart, on b as one code; the price is in cents on a alone.
async fn parts(hint: &str, pair: Pair, way: Way) -> Scene {
    let scene = Scene::new(hint, pair, way, &[]).await;
    scene
        .exec(
            Side::A,
            "CREATE TABLE part (id int PRIMARY KEY, region varchar(10) NOT NULL, serial varchar(20) NOT NULL, qty int, price decimal(8,2))",
        )
        .await;
    scene
        .exec(
            Side::B,
            "CREATE TABLE part (id int PRIMARY KEY, code varchar(40) NOT NULL, qty int, price decimal(8,2), total decimal(20,2), made varchar(10))",
        )
        .await;
    scene
}

const THERE: &str =
    "to.b.code = \"region || serial\"\nto.b.total = \"qty * price\"\nto.b.made = \"'a-' || LOWER(region)\"\n";
const BACK: &str = "to.a.region = \"SUBSTRING(code FROM 1 FOR 2)\"\nto.a.serial = \"SUBSTRING(code FROM 3)\"\n\
                    column.total = { owner = \"a\" }\ncolumn.made = { owner = \"a\" }\n";

async fn rows(scene: &Scene, side: Side) -> Rows {
    let sql = match side {
        Side::A => "SELECT id, region, serial, qty, price FROM part ORDER BY id",
        Side::B => "SELECT id, code, qty, price, total, made FROM part ORDER BY id",
    };
    scene.db(side).rows(sql).await
}

fn lines(text: &str) -> Rows {
    let cell = |cell: &str| (cell != "-").then(|| cell.to_owned());
    text.lines()
        .map(|line| line.split('|').map(|word| cell(word.trim())).collect())
        .collect()
}

async fn wait_for(scene: &Scene, side: Side, text: &str) {
    let expected = lines(text);
    let mut last = Vec::new();
    let end = tokio::time::Instant::now() + LIMIT;
    while tokio::time::Instant::now() < end {
        last = rows(scene, side).await;
        if last == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    panic!("{side:?}: expected {expected:?}, found {last:?}");
}

async fn joined_and_split_both_ways(pair: Pair) {
    let mut scene = parts("form_both", pair, Way::Merge).await;
    configure(&scene, &format!("{THERE}{BACK}"));
    scene
        .exec(
            Side::A,
            "INSERT INTO part VALUES (1, 'CA', '0815', 2, 1.50), (2, 'US', 'x', NULL, 3)",
        )
        .await;
    scene.start().await;
    wait_for(&scene, Side::B, "1|CA0815|2|1.50|3.00|a-ca\n2|USx|-|3.00|-|a-us").await;
    scene.exec(Side::B, "UPDATE part SET code = 'DE77' WHERE id = 1; INSERT INTO part (id, code, qty, price) VALUES (3, 'FRzz', 1, 1)").await;
    scene
        .exec(
            Side::A,
            "UPDATE part SET qty = 4 WHERE id = 2; DELETE FROM part WHERE id = 99",
        )
        .await;
    wait_for(&scene, Side::A, "1|DE|77|2|1.50\n2|US|x|4|3.00\n3|FR|zz|1|1.00").await;
    wait_for(
        &scene,
        Side::B,
        "1|DE77|2|1.50|3.00|a-de\n2|USx|4|3.00|12.00|a-us\n3|FRzz|1|1.00|1.00|a-fr",
    )
    .await;
    // Many at once, on both sides.
    let mut random = Random::new("formulas");
    for number in 0..120_u64 {
        let id = 1 + random.below(3);
        let (side, set) = match random.below(4) {
            0 => (Side::A, format!("region = 'R{}'", random.below(9))),
            1 => (
                Side::A,
                format!("serial = 's{number}', qty = {}", random.below(50)),
            ),
            2 => (Side::B, format!("code = 'Q{}{number}'", random.below(9))),
            _ => (
                Side::B,
                format!("price = {}.25, total = 1, made = 'me'", random.below(50)),
            ),
        };
        scene
            .exec(side, &format!("UPDATE part SET {set} WHERE id = {id}"))
            .await;
    }
    scene.crossed().await;
    eventually(LIMIT, "b has what a's rows come to", async || {
        let found = rows(&scene, Side::B).await;
        let expected: Rows = scene
            .a
            .rows(
                "SELECT id, region || serial, qty, price, CAST(qty * price AS decimal(20,2)), 'a-' || lower(region) FROM part ORDER BY id",
            )
            .await;
        found == expected
    })
    .await;
    let stamps = "SELECT id, tidelock_version, tidelock_origin FROM part ORDER BY id";
    assert_eq!(scene.a.rows(stamps).await, scene.b.rows(stamps).await);
}

async fn one_way(pair: Pair, way: Way) {
    let mut scene = parts(
        if way == Way::AToB {
            "form_to_b"
        } else {
            "form_to_a"
        },
        pair,
        way,
    )
    .await;
    if way == Way::AToB {
        configure(&scene, THERE);
        scene
            .exec(Side::A, "INSERT INTO part VALUES (1, 'CA', '0815', 2, 1.50)")
            .await;
        scene.start().await;
        scene.exec(Side::A, "INSERT INTO part VALUES (2, 'US', '', 1, 1); UPDATE part SET serial = 'y', price = 2 WHERE id = 1").await;
        wait_for(&scene, Side::B, "1|CAy|2|2.00|4.00|a-ca\n2|US|1|1.00|1.00|a-us").await;
        scene.exec(Side::A, "DELETE FROM part WHERE id = 1").await;
        return wait_for(&scene, Side::B, "2|US|1|1.00|1.00|a-us").await;
    }
    let section = "to.a.region = \"SUBSTRING(code FROM 1 FOR 2)\"\nto.a.serial = \"COALESCE(made, 'none')\"\n\
                   to.a.price = \"price + 1\"\nskip = [\"total\"]\n";
    configure(&scene, section);
    scene
        .exec(Side::B, "INSERT INTO part VALUES (1, 'CA0815', 2, 1.50, 9, NULL)")
        .await;
    scene.start().await;
    scene
        .exec(Side::B, "UPDATE part SET made = 'm', price = 2 WHERE id = 1")
        .await;
    wait_for(&scene, Side::A, "1|CA|m|2|3.00").await;
}

async fn what_does_not_come_back_is_refused(pair: Pair) {
    let mut scene = parts("form_refused", pair, Way::Merge).await;
    configure(&scene, &format!("{THERE}{BACK}"));
    scene
        .exec(Side::A, "INSERT INTO part VALUES (1, 'CA', '1', 1, 1)")
        .await;
    scene.start().await;
    wait_for(&scene, Side::B, "1|CA1|1|1.00|1.00|a-ca").await;
    // CAL and 1 would come back as CA and L1.
    scene
        .exec(
            Side::A,
            "UPDATE part SET region = 'CAL' WHERE id = 1; INSERT INTO part VALUES (2, 'US', '2', 1, 1)",
        )
        .await;
    wait_for(&scene, Side::B, "1|CA1|1|1.00|1.00|a-ca\n2|US2|1|1.00|1.00|a-us").await;
    let found = scene.conflicts(Side::B).await;
    let refused = found
        .iter()
        .find(|conflict| conflict.kind == "value_refused")
        .unwrap();
    assert!(
        refused.detail.contains("come back as another value"),
        "{refused:?}"
    );
    // The user mends the row: it crosses.
    scene
        .exec(Side::A, "UPDATE part SET region = 'CL' WHERE id = 1")
        .await;
    wait_for(&scene, Side::B, "1|CL1|1|1.00|1.00|a-cl\n2|US2|1|1.00|1.00|a-us").await;
}

async fn what_its_owner_computes_is_computed_again(pair: Pair) {
    let mut scene = parts("form_owner", pair, Way::Merge).await;
    configure(&scene, &format!("{THERE}{BACK}"));
    scene
        .exec(Side::A, "INSERT INTO part VALUES (1, 'CA', '1', 2, 3)")
        .await;
    scene.start().await;
    wait_for(&scene, Side::B, "1|CA1|2|3.00|6.00|a-ca").await;
    scene
        .exec(Side::B, "UPDATE part SET total = 1000 WHERE id = 1")
        .await;
    wait_for(&scene, Side::B, "1|CA1|2|3.00|6.00|a-ca").await;
    scene
        .exec(Side::B, "UPDATE part SET qty = 5, made = NULL WHERE id = 1")
        .await;
    wait_for(&scene, Side::B, "1|CA1|5|3.00|15.00|a-ca").await;
    wait_for(&scene, Side::A, "1|CA|1|5|3.00").await;
    let found = scene.conflicts(Side::A).await;
    assert!(
        found.iter().all(|conflict| conflict.kind == "foreign_write") && !found.is_empty(),
        "{found:?}"
    );
}

async fn formulas_that_do_not_fit_are_findings(pair: Pair) {
    let scene = parts("form_bad", pair, Way::Merge).await;
    configure(&scene, &format!("{THERE}{BACK}"));
    scene.lock.ok(&["setup", "--execute"]).await;
    let check = async |section: &str| {
        configure(&scene, section);
        let output = scene.lock.run(&["check"]).await;
        output.stdout + &output.stderr
    };
    let fine = check(&format!("{THERE}{BACK}")).await;
    assert!(
        !fine.contains("E359") && fine.contains("column code of b is region || serial"),
        "{fine}"
    );
    let there = THERE.replace("qty * price", "qty * prise");
    let text = check(&format!("{there}{BACK}")).await;
    assert!(text.contains("E359") && text.contains("prise"), "{text}");
    let back = BACK.replace("to.a.serial = \"SUBSTRING(code FROM 3)\"\n", "");
    let text = check(&format!("{THERE}{back}")).await;
    assert!(
        text.contains("E359") && text.contains("nothing brings it back"),
        "{text}"
    );
    let there = THERE.replace("qty * price", "region");
    let text = check(&format!("{there}{BACK}")).await;
    assert!(text.contains("E359") && text.contains("\"total\""), "{text}");
    // Of the file alone.
    for (section, told) in [
        ("to.b.total = \"qty * price\"", "goes nowhere"),
        (
            "to.b.total = \"qty / price\"\ncolumn.total = { owner = \"a\" }",
            "to.b.total",
        ),
        ("to.c.total = \"qty\"", "is not one of this sync's nodes"),
        (
            "to.b.qty = \"qty + 1\"\ncolumn.qty = { skip = true }",
            "two rules for one column",
        ),
    ] {
        configure(&scene, section);
        let output = scene.lock.run(&["config", "check"]).await;
        assert!(
            output.stderr.contains(told),
            "{section}: {}{}",
            output.stdout,
            output.stderr
        );
    }
}
