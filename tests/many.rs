//! Rules for many tables by patterns: thirty tables, of which some have what the rules speak of.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::eventually;
use scenario::{LIMIT, Pair, Scene, Side, Way};

pairs! {
    rules_of_patterns_hold_where_the_columns_are => |pair| rules(pair, Way::Merge);
    one_way_rules_of_patterns => |pair| rules(pair, Way::AToB);
    what_no_table_has_is_told => told;
    sections_hold_for_tables_named_exactly => named;
}

const TABLES: usize = 30;

fn configure(scene: &Scene, sections: &str) {
    configure_of(scene, "\"t_*\"", sections);
}

fn configure_of(scene: &Scene, tables: &str, sections: &str) {
    let way = match scene.way {
        Way::Merge => "mode = \"merge\"",
        Way::AToB | Way::BToA => "mode = \"transactional\"\nfrom = \"a\"",
    };
    scene.lock.configure(&format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\n{way}\n\
         seed = \"from:a\"\ntables = [\"probe\", {tables}]\n{sections}",
        scene.a.node(),
        scene.b.node(),
        scene.sync,
    ));
}

/// Every third table has a mail, every fifth a secret, on both sides; on b the tables are `shop_..`, a mail is `post`.
async fn tables(hint: &str, pair: Pair, way: Way) -> Scene {
    let scene = Scene::new(hint, pair, way, &[]).await;
    for side in [Side::A, Side::B] {
        let (prefix, mail) = if side == Side::A {
            ("t_", "mail")
        } else {
            ("shop_", "post")
        };
        let create = |number: usize| {
            let mut columns = "id int PRIMARY KEY, n int".to_owned();
            if number.is_multiple_of(3) {
                columns.push_str(&format!(", {mail} varchar(40)"));
            }
            if number.is_multiple_of(5) {
                columns.push_str(", secret varchar(40), kind varchar(10)");
            }
            format!("CREATE TABLE {prefix}{number} ({columns})")
        };
        let all: Vec<String> = (0..TABLES).map(create).collect();
        scene.exec(side, &all.join("; ")).await;
    }
    scene
}

const SECTIONS: &str = "[sync.table.\"t_*\"]\nnames = { b = \"shop_*\" }\nwhere = \"n > 5\"\n\
                        column.mail = { b = \"post\" }\ncolumn.hidden = { mask = true, b = \"hid\" }\nskip = [\"secret\"]\n\
                        column.kind.b = { values = { one = \"1\", two = \"2\" } }\n\
                        [sync.table.t_9]\nwhere = \"n > 0\"\n";

async fn rules(pair: Pair, way: Way) {
    let mut scene = tables(if way == Way::Merge { "many" } else { "many_one" }, pair, way).await;
    configure(&scene, SECTIONS);
    let insert = |number: usize, id: usize| {
        let mail = if number.is_multiple_of(3) { ", 'm'" } else { "" };
        let secret = if number.is_multiple_of(5) {
            ", 's', 'one'"
        } else {
            ""
        };
        format!(
            "INSERT INTO t_{number} VALUES ({id}, 9{mail}{secret}), ({}, 1{mail}{secret})",
            id + 1
        )
    };
    let all = |id: usize| {
        (0..TABLES)
            .map(|number| insert(number, id))
            .collect::<Vec<_>>()
            .join("; ")
    };
    scene.exec(Side::A, &all(1)).await;
    scene.start().await;
    scene.exec(Side::A, &all(11)).await;
    scene.crossed().await;
    for number in 0..TABLES {
        let passed = if number == 9 { "4" } else { "2" };
        let count = format!("SELECT count(*) FROM shop_{number}");
        eventually(LIMIT, &count, async || scene.b.one(&count).await == passed).await;
    }
    let of = async |sql: &str| scene.b.one(sql).await;
    assert_eq!(of("SELECT post FROM shop_3 WHERE id = 11").await, "m");
    assert_eq!(of("SELECT kind FROM shop_5 WHERE id = 11").await, "1");
    assert_eq!(of("SELECT count(*) FROM shop_5 WHERE secret IS NULL").await, "2");
    if way == Way::Merge {
        scene
            .exec(Side::B, "INSERT INTO shop_15 VALUES (21, 7, 'p', 'q', '2'), (22, 7, 'p', 'q', '1'); INSERT INTO shop_2 VALUES (21, 7)")
            .await;
        scene.crossed().await;
        assert_eq!(
            scene
                .a
                .one("SELECT kind FROM t_15 WHERE id = 21 AND mail = 'p' AND secret IS NULL")
                .await,
            "two"
        );
        assert_eq!(scene.a.one("SELECT n FROM t_2 WHERE id = 21").await, "7");
        scene.assert_no_conflicts().await;
    }
    // Nothing of it changes when it is set up again, or started anew.
    scene.stop().await;
    let output = scene.lock.run(&["check"]).await;
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(
        output.stdout.contains("column mail is post on b"),
        "{}",
        output.stdout
    );
}

async fn told(pair: Pair) {
    let scene = tables("many_told", pair, Way::Merge).await;
    let sections = SECTIONS.replace("skip =", "column.maill = { mask = true }\nskip =");
    configure(&scene, &sections);
    scene.lock.ok(&["setup", "--execute"]).await;
    let output = scene.lock.run(&["check"]).await;
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let text = output.stdout;
    assert!(
        text.contains("W364")
            && text.contains("speaks of column \"maill\"")
            && text.contains(" | column.maill = { mask"),
        "{text}"
    );
    assert!(
        !text.contains("column \"mail\"") && !text.contains("E356"),
        "{text}"
    );
    // What a table says of itself it must have.
    configure(&scene, &format!("{SECTIONS}column.nothing = {{ b = \"x\" }}\n"));
    let output = scene.lock.run(&["check"]).await;
    assert!(
        output.code == 3 && output.stdout.contains("E356"),
        "{}{}",
        output.stdout,
        output.stderr
    );
    // Written with a schema, where `tables` has none: it speaks of no table, and what it skips would cross.
    configure(
        &scene,
        &format!("{SECTIONS}[sync.table.\"public.t_*\"]\nskip = [\"n\"]\n"),
    );
    idle(&scene).await;
    // Two patterns of one table.
    configure(
        &scene,
        &format!("{SECTIONS}[sync.table.\"t_1*\"]\nwhere = \"n > 7\"\n"),
    );
    let output = scene.lock.run(&["check"]).await;
    assert!(
        output.code == 78 && output.stderr.contains("two rules for one table"),
        "{}",
        output.stderr
    );
}

/// The section of no table is refused everywhere.
async fn idle(scene: &Scene) {
    let commands: [&[&str]; 3] = [&["check"], &["setup", "--execute"], &["run", "--once"]];
    for command in commands {
        let output = scene.lock.run(command).await;
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(
            output.code == 3 && text.contains("E365") && text.contains("speaks of no table of the sync"),
            "{command:?}: {} {text}",
            output.code
        );
    }
}

/// No pattern chooses tables, and sections speak of several: each has of it what its columns allow.
async fn named(pair: Pair) {
    let mut scene = tables("many_named", pair, Way::Merge).await;
    let tables = "\"t_3\", \"t_4\", \"t_5\", \"t_9\"";
    configure_of(&scene, tables, SECTIONS);
    scene.exec(Side::A, "INSERT INTO t_3 VALUES (1, 9, 'm')").await;
    scene.start().await;
    scene
        .exec(
            Side::A,
            "INSERT INTO t_3 VALUES (11, 9, 'm'); INSERT INTO t_4 VALUES (11, 9); INSERT INTO t_5 VALUES (11, 9, 's', 'one')",
        )
        .await;
    scene.crossed().await;
    for row in [
        "shop_3 WHERE id = 1 AND post = 'm'",
        "shop_3 WHERE id = 11 AND post = 'm'",
        "shop_4 WHERE id = 11 AND n = 9",
        "shop_5 WHERE id = 11 AND secret IS NULL AND kind = '1'",
    ] {
        let count = format!("SELECT count(*) FROM {row}");
        eventually(LIMIT, &count, async || scene.b.one(&count).await == "1").await;
    }
    scene.assert_no_conflicts().await;
    scene.stop().await;
    let section = "[sync.table.\"public.t_*\"]\nskip = [\"n\"]\n";
    configure_of(&scene, tables, &format!("{SECTIONS}{section}"));
    idle(&scene).await;
}
