//! Stamps beside their rows: tables that may not be altered are merged as any other.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::eventually;
use scenario::account::account;
use scenario::contest::{HOT, Load, Log, Until, write};
use scenario::{ITEM, LIMIT, LINE, Pair, Random, SEAT, Scene, Side, Table, WORD, Way, numbers};
use std::time::Duration;
use tidelock::model::schema::TableId;
use tidelock::model::sync::stamps_of;

all_pairs! {
    both_sides_write => both_sides_write;
    conflicts_are_decided_as_with_columns => conflicts_are_decided_as_with_columns;
    hot_rows_lose_nothing => hot_rows_lose_nothing;
    large_statements_and_sudden_death => large_statements_and_sudden_death;
    a_missed_trigger_is_noticed => a_missed_trigger_is_noticed;
    a_person_decides => a_person_decides;
    what_waits_is_looked_at => what_waits_is_looked_at;
    the_arbiter_answers => the_arbiter_answers;
    the_tables_are_left_as_they_were => the_tables_are_left_as_they_were;
    versions_come_from_where_they_are_to => versions_come_from_where_they_are_to;
    stamps_that_stand_elsewhere_are_told => stamps_that_stand_elsewhere_are_told;
}

pair_tests!(mysql_mariadb_only, scenario::FLAVORS, keys_in_another_case => keys_in_another_case; documents_of_one_value => documents_of_one_value;);
pair_tests!(numbers_of_postgres, scenario::POSTGRES, numbers_that_equal_others => numbers_that_equal_others;);
pair_tests!(numbers_of_both, scenario::NEW, numbers_that_equal_others => numbers_that_equal_others;);
pair_tests!(tables_truncated, scenario::FLAVORS, a_truncated_table_is_filled_again => a_truncated_table_is_filled_again;);
pair_tests!(tables_truncated_of_both, scenario::NEW, a_truncated_table_is_filled_again => a_truncated_table_is_filled_again;);

const BULK: Table = Table {
    name: "bulk",
    body: "id bigint NOT NULL PRIMARY KEY, n int, note varchar(200)",
    key: &["id"],
    columns: &["n", "note"],
};

/// The stamp table of one, as statements on a node name it.
fn stamps(scene: &Scene, side: Side, name: &str) -> String {
    let db = scene.db(side);
    let schema = if db.kind().is_postgres() {
        "public"
    } else {
        db.name()
    };
    stamps_of(&TableId::new(schema, name)).to_string()
}

/// `INSERT INTO table VALUES ..`, a row for each number.
fn rows_of(table: &str, numbers: std::ops::RangeInclusive<i64>, row: impl Fn(i64) -> String) -> String {
    let rows: Vec<String> = numbers.map(row).collect();
    format!("INSERT INTO {table} VALUES {}", rows.join(", "))
}

/// `more`: of the last table's section, and what follows it.
async fn scene(hint: &str, pair: Pair, tables: &[Table], more: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, tables).await;
    let sections = tables
        .iter()
        .map(|table| format!("\n[sync.table.{}]\nstamps = \"beside\"\n", table.name));
    scene.configure("from:a", &format!("{}{more}", sections.collect::<String>()));
    scene
}

/// Every row with its stamp, by key; and how many stamps have no row.
async fn all(scene: &Scene, side: Side, table: &Table) -> Vec<Vec<Option<String>>> {
    let on: Vec<String> = table.key.iter().map(|key| format!("t.{key} = s.{key}")).collect();
    let on = on.join(" AND ");
    let names = table.key.iter().chain(table.columns);
    let names: Vec<String> = names.map(|name| format!("t.{name}")).collect();
    let stamps = stamps(scene, side, table.name);
    let sql = format!(
        "SELECT {}, coalesce(s.tidelock_version, 1), coalesce(s.tidelock_origin, 0) FROM {} t LEFT JOIN {stamps} s ON {on}",
        names.join(", "),
        table.name,
    );
    let mut found = scene.db(side).rows(&sql).await;
    found.sort();
    let alone = format!(
        "SELECT count(*) FROM {stamps} s WHERE NOT EXISTS (SELECT 1 FROM {} t WHERE {on})",
        table.name
    );
    let alone = scene.db(side).one(&alone).await;
    found.push(vec![Some(format!("{alone} stamps without rows"))]);
    found
}

async fn wait_equal(scene: &mut Scene, tables: &[Table]) {
    scene.crossed().await;
    for table in tables {
        let same = async || all(scene, Side::A, table).await == all(scene, Side::B, table).await;
        let start = std::time::Instant::now();
        while !same().await {
            if start.elapsed() > LIMIT {
                assert_eq!(
                    all(scene, Side::A, table).await,
                    all(scene, Side::B, table).await,
                    "{}",
                    table.name
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn apart(scene: &mut Scene, tables: &[Table], on_a: &str, on_b: &str) {
    scene.stop().await;
    scene.exec(Side::A, on_a).await;
    scene.exec(Side::B, on_b).await;
    scene.run().await;
    wait_equal(scene, tables).await;
}

async fn row(scene: &Scene, side: Side, id: i64) -> Vec<Option<String>> {
    let found = all(scene, side, &ITEM).await;
    let id = Some(id.to_string());
    found.into_iter().find(|row| row[0] == id).unwrap_or_default()
}

async fn stamp(scene: &Scene, side: Side, id: i64) -> (i64, i64) {
    let row = row(scene, side, id).await;
    let cell = |at: usize| row[at].as_ref().unwrap().parse().unwrap();
    (cell(4), cell(5))
}

async fn note(scene: &Scene, side: Side, id: i64) -> String {
    let found = row(scene, side, id).await;
    found
        .get(3)
        .map_or("(none)".to_owned(), |note| note.clone().unwrap_or_default())
}

const TABLES: [Table; 4] = [ITEM, WORD, LINE, SEAT];

/// What users' statements do beyond the plain ones: leave out, replace, change or insert, and take back.
fn others(is_postgres: bool, low: i64) -> String {
    let own = match is_postgres {
        true => format!(
            "INSERT INTO item VALUES ({low} + 21, 'taken', 1, NULL), ({low} + 5000, 'free', 1, NULL) ON CONFLICT DO NOTHING;
             INSERT INTO item VALUES ({low} + 21, 'taken', 1, NULL), ({low} + 5001, 'free', 1, NULL)
                 ON CONFLICT (id) DO UPDATE SET note = 'set by upsert';
             WITH gone AS (DELETE FROM item WHERE id = {low} + 22 RETURNING id) INSERT INTO item SELECT id + 6000, 'cte', 1, NULL FROM gone"
        ),
        false => format!(
            "INSERT IGNORE INTO item VALUES ({low} + 21, 'taken', 1, NULL), ({low} + 5000, 'free', 1, NULL);
             INSERT INTO item VALUES ({low} + 21, 'taken', 1, NULL), ({low} + 5001, 'free', 1, NULL)
                 ON DUPLICATE KEY UPDATE note = 'set by upsert';
             REPLACE INTO item VALUES ({low} + 22, 'replaced', 1, NULL), ({low} + 6000, 'replaced', 1, NULL);
             REPLACE INTO seat VALUES ({low} + 500, 'replaced {low}'); REPLACE INTO seat VALUES ({low} + 501, 'replaced {low}')"
        ),
    };
    format!(
        "{own}; BEGIN; UPDATE item SET n = n + 1 WHERE id = {low} + 23; UPDATE item SET n = n + 1 WHERE id = {low} + 23;
         SAVEPOINT s; UPDATE item SET n = 99 WHERE id = {low} + 23; ROLLBACK TO s; UPDATE item SET n = n + 1 WHERE id = {low} + 23; COMMIT"
    )
}

async fn both_sides_write(pair: Pair) {
    let mut scene = scene("b_write", pair, &TABLES, "").await;
    let old = rows_of("item", 1..=60, |id| format!("({id}, 'old', {id}, 'seedling')"));
    scene.exec(Side::A, &old).await;
    scene
        .exec(
            Side::A,
            "INSERT INTO word VALUES ('one', 1), ('Two', 2); INSERT INTO line VALUES (1, 'a', 1), (1, 'b', 2), (2, 'a', 3);
             INSERT INTO seat VALUES (1, 'left'), (2, 'right')",
        )
        .await;
    scene.start().await;
    wait_equal(&mut scene, &TABLES).await;
    for side in [Side::A, Side::B] {
        let (low, name) = if side == Side::A { (0, "a") } else { (30, "b") };
        let sql = format!(
            "UPDATE item SET note = 'of {name}' WHERE id BETWEEN {low} + 1 AND {low} + 10;
             UPDATE item SET note = note WHERE id = {low} + 11;
             DELETE FROM item WHERE id BETWEEN {low} + 12 AND {low} + 14;
             BEGIN; DELETE FROM item WHERE id = {low} + 15; INSERT INTO item VALUES ({low} + 15, 'again', 1, 'x'); COMMIT;
             INSERT INTO item VALUES ({low} + 12, 'again', 1, 'later');
             UPDATE item SET id = {low} + 1000 WHERE id = {low} + 16;
             UPDATE item SET id = id + 2000, note = 'moved' WHERE id BETWEEN {low} + 17 AND {low} + 20;
             {}",
            others(scene.db(side).kind().is_postgres(), low)
        );
        scene.exec(side, &sql).await;
    }
    scene
        .exec(
            Side::A,
            "UPDATE word SET w = 'uno' WHERE w = 'one'; UPDATE line SET qty = 9 WHERE ord = 1",
        )
        .await;
    scene.exec(Side::B, "DELETE FROM word WHERE w = 'Two'; INSERT INTO word VALUES ('TWO', 3); UPDATE line SET part = 'z' WHERE ord = 2").await;
    // A trade of unique values.
    scene
        .exec(
            Side::B,
            "BEGIN; UPDATE seat SET place = 'between' WHERE id = 1; UPDATE seat SET place = 'left' WHERE id = 2; \
             UPDATE seat SET place = 'right' WHERE id = 1; COMMIT",
        )
        .await;
    wait_equal(&mut scene, &TABLES).await;
    scene.assert_no_conflicts().await;
    assert_eq!(stamp(&scene, Side::B, 1).await, (2, 1));
    assert_eq!(stamp(&scene, Side::A, 31).await, (2, 2));
    assert_eq!(
        stamp(&scene, Side::A, 11).await,
        (1, 0),
        "nothing of it was changed"
    );
    assert_eq!(stamp(&scene, Side::A, 23).await, (4, 1));
    assert_eq!(note(&scene, Side::A, 21).await, "set by upsert");
    // What arrived was not stamped anew, and goes no further.
    let before = [
        all(&scene, Side::A, &ITEM).await,
        all(&scene, Side::B, &ITEM).await,
    ];
    scene.stop().await;
    scene.lock.ok(&["run", "--once"]).await;
    let after = [
        all(&scene, Side::A, &ITEM).await,
        all(&scene, Side::B, &ITEM).await,
    ];
    assert_eq!(before, after);
    scene.assert_no_conflicts().await;
}

/// Both sides hold rows 1 to 9 of the same stamps.
async fn agreed(hint: &str, pair: Pair, more: &str) -> Scene {
    let mut scene = scene(hint, pair, &[ITEM], more).await;
    let old = rows_of("item", 1..=9, |id| format!("({id}, 'old', 0, 'seedling')"));
    scene.exec(Side::A, &old).await;
    scene.start().await;
    wait_equal(&mut scene, &[ITEM]).await;
    scene
}

async fn kinds(scene: &Scene, side: Side) -> Vec<(String, String)> {
    let found = scene.conflicts(side).await;
    let mut kinds: Vec<_> = found
        .into_iter()
        .map(|c| (c.key.to_string(), format!("{} {}", c.kind, c.outcome)))
        .collect();
    kinds.sort();
    kinds
}

async fn conflicts_are_decided_as_with_columns(pair: Pair) {
    let mut scene = agreed("b_conflict", pair, "").await;
    let on_a = "UPDATE item SET note = 'a' WHERE id = 1; UPDATE item SET note = 'a1' WHERE id = 2;
                UPDATE item SET note = 'a2' WHERE id = 2; DELETE FROM item WHERE id = 3; UPDATE item SET note = 'a' WHERE id = 4;
                INSERT INTO item VALUES (20, 'new', 1, 'a'); DELETE FROM item WHERE id = 5; DELETE FROM item WHERE id = 6;
                INSERT INTO item VALUES (6, 'again', 1, 'a'); UPDATE item SET id = 70 WHERE id = 7; UPDATE item SET note = 'same' WHERE id = 8";
    let on_b = "UPDATE item SET note = 'b' WHERE id = 1; UPDATE item SET note = 'b1' WHERE id = 2;
                UPDATE item SET note = 'b' WHERE id = 3; DELETE FROM item WHERE id = 4; INSERT INTO item VALUES (20, 'new', 1, 'b');
                DELETE FROM item WHERE id = 5; UPDATE item SET note = 'b' WHERE id = 6; UPDATE item SET note = 'b' WHERE id = 7;
                UPDATE item SET note = 'same' WHERE id = 8";
    apart(&mut scene, &[ITEM], on_a, on_b).await;
    // Of equal versions the greater rank wins; a later write beats the delete of an earlier version.
    for (id, wins) in [
        (1, "b"),
        (2, "a2"),
        (3, "b"),
        (4, "a"),
        (20, "b"),
        (5, "(none)"),
        (6, "b"),
        (70, "seedling"),
        (8, "same"),
    ] {
        assert_eq!(note(&scene, Side::A, id).await, wins, "{id}");
    }
    let (of_a, of_b) = (kinds(&scene, Side::A).await, kinds(&scene, Side::B).await);
    let has = |kinds: &[(String, String)], key: &str, kind: &str| {
        assert!(
            kinds.contains(&(format!("[{key}]"), kind.to_owned())),
            "{key} {kind}: {kinds:?}"
        );
    };
    has(&of_a, "1", "update_origin_differs applied");
    has(&of_b, "1", "update_origin_differs kept");
    has(&of_b, "2", "update_origin_differs applied");
    has(&of_b, "3", "delete_origin_differs kept");
    has(&of_a, "20", "insert_exists applied");
    let found = scene.conflicts(Side::A).await;
    let first = found.iter().find(|c| c.key == serde_json::json!([1])).unwrap();
    let version = |image: &Option<serde_json::Value>| image.as_ref().unwrap()["tidelock_version"].as_i64();
    assert_eq!(
        (
            version(&first.base),
            version(&first.local),
            version(&first.incoming)
        ),
        (Some(1), Some(2), Some(2)),
        "{first:?}"
    );
    // And what follows a conflict is none.
    let count = found.len();
    scene
        .exec(Side::A, "UPDATE item SET note = 'later' WHERE id < 30")
        .await;
    wait_equal(&mut scene, &[ITEM]).await;
    assert_eq!(scene.conflicts(Side::A).await.len(), count);
    // Tombstones are collected, and the floor keeps what comes later above them.
    eventually(LIMIT * 2, "tombstones are collected", async || {
        let left = async |side| scene.db(side).count(&tombstones(&scene, side)).await;
        left(Side::A).await == 0 && left(Side::B).await == 0
    })
    .await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (5, 'back', 1, 'back')")
        .await;
    wait_equal(&mut scene, &[ITEM]).await;
    assert_eq!(note(&scene, Side::A, 5).await, "back");
}

fn tombstones(scene: &Scene, side: Side) -> String {
    stamps(scene, side, "item").replacen("stamps", "tombstone", 1)
}

async fn hot_rows_lose_nothing(pair: Pair) {
    let mut scene = scene("b_hot", pair, &[HOT], "").await;
    scene.start().await;
    let mut random = Random::new("hot rows beside");
    let load = Load {
        keys: 12,
        until: Until::Written(1_500),
        writers: 2,
        pause_ms: 8,
    };
    let mut log = Log::default();
    write(&(&scene).into(), load, &mut random, &mut log).await;
    wait_equal(&mut scene, &[HOT]).await;
    let account = account(&(&scene).into(), &log, false).await;
    assert!(account.recorded > 5, "too tame: {account:?}");
}

/// Whole tables in single statements, through small groups, while the program is killed again and again.
async fn large_statements_and_sudden_death(pair: Pair) {
    let mut scene = scene(
        "b_large",
        pair,
        &[BULK, ITEM],
        "[limits]\ngroup_bytes_max = 65536\n",
    )
    .await;
    scene.start().await;
    let large = async |scene: &Scene, side: Side, sql: &str| scene.exec(side, sql).await;
    let fill = format!(
        "INSERT INTO bulk SELECT i + 1, 0, repeat('x', 100) FROM {} WHERE i < 60000",
        numbers(100_000)
    );
    large(&scene, Side::A, &fill).await;
    for round in 0..6 {
        let side = if round % 2 == 0 { Side::B } else { Side::A };
        large(
            &scene,
            side,
            &format!(
                "INSERT INTO item SELECT i + {round} * 1000, 'n', i, 'in time' FROM {}",
                numbers(100)
            ),
        )
        .await;
        large(&scene, Side::A, "UPDATE bulk SET n = n + 1 WHERE id % 3 = 0").await;
        tokio::time::sleep(Duration::from_millis(150 * round)).await;
        scene.lock.kill9().await;
        scene.run().await;
    }
    wait_equal(&mut scene, &[BULK, ITEM]).await;
    large(&scene, Side::B, "UPDATE bulk SET note = 'all'; DELETE FROM bulk WHERE id % 2 = 0; UPDATE bulk SET id = id + 100000 WHERE id < 1000").await;
    wait_equal(&mut scene, &[BULK, ITEM]).await;
    scene.assert_no_conflicts().await;
    assert_eq!(
        scene
            .a
            .one("SELECT sum(n) FROM bulk WHERE id % 3 = 0 AND id < 1000")
            .await,
        "NULL"
    );
    assert_eq!(
        scene
            .a
            .one("SELECT min(n) FROM bulk WHERE id % 3 = 0 AND id < 100000")
            .await,
        "6"
    );
}

async fn a_missed_trigger_is_noticed(pair: Pair) {
    for sql in [
        "UPDATE item SET note = 'unseen' WHERE id = 1",
        "INSERT INTO item VALUES (77, 'unseen', 1, 'unseen')",
        "DELETE FROM item WHERE id = 2",
    ] {
        let mut scene = agreed("b_missed", pair, "").await;
        let mut admin = scene.db(Side::A).admin().await;
        let silent = match scene.db(Side::A).kind().is_postgres() {
            true => "SET LOCAL session_replication_role = replica",
            false => "SET @tidelock_apply = 1",
        };
        for sql in ["BEGIN", silent, sql, "COMMIT"] {
            admin.exec(sql).await;
        }
        assert_eq!(scene.lock.wait(LIMIT).await, 1, "{sql}: {}", scene.lock.log());
        let log = scene.lock.log();
        assert!(log.contains("a row was changed and its stamp was not"), "{log}");
        assert_eq!(
            scene.b.count("item WHERE note = 'unseen'").await,
            0,
            "half of it came"
        );
        assert_eq!(scene.b.count("item").await, 9);
    }
    // A stamp alone is noticed too.
    let mut scene = agreed("b_missed", pair, "").await;
    scene
        .exec(Side::B, "UPDATE item SET note = 'x' WHERE id = 1")
        .await;
    wait_equal(&mut scene, &[ITEM]).await;
    let stamps = stamps(&scene, Side::B, "item");
    scene
        .db(Side::B)
        .as_dba(&format!("UPDATE {stamps} SET tidelock_version = 50 WHERE id = 1"))
        .await;
    assert_eq!(scene.lock.wait(LIMIT).await, 1, "{}", scene.lock.log());
    assert!(
        scene.lock.log().contains("its row was not"),
        "{}",
        scene.lock.log()
    );
}

async fn command(scene: &Scene, arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let output = scene.lock.run(&arguments).await;
    assert_eq!(
        output.code, 0,
        "{arguments:?}: {}{}",
        output.stdout, output.stderr
    );
    output.stdout
}

async fn name(scene: &Scene, side: Side, id: i64) -> String {
    let sql = format!(
        "SELECT max(number) FROM tidelock.conflict WHERE sync = '{}' AND table_name = 'item' AND key_json = '[{id}]'",
        scene.sync
    );
    let number = scene.db(side).one(&sql).await;
    assert_ne!(number, "NULL", "{side:?} recorded nothing of {id}");
    format!("{}:{number}", if side == Side::A { "a" } else { "b" })
}

async fn a_person_decides(pair: Pair) {
    let mut scene = agreed("b_person", pair, "").await;
    let update = |side: &str| {
        format!("UPDATE item SET note = '{side}' WHERE id IN (1, 2, 3, 4); DELETE FROM item WHERE id = 5")
    };
    apart(
        &mut scene,
        &[ITEM],
        &update("a"),
        &update("b").replace("DELETE FROM item", "UPDATE item SET note = 'b'"),
    )
    .await;
    assert_eq!(note(&scene, Side::A, 1).await, "b");
    // The row as it stands needs its stamp raised only on one side, and is written on the other.
    for (id, take) in [(1, "--take a"), (2, "--take b"), (3, "--set note=c")] {
        let conflict = name(&scene, Side::A, id).await;
        command(
            &scene,
            &format!("conflicts override {conflict} {take} --execute --force"),
        )
        .await;
    }
    let conflict = name(&scene, Side::A, 5).await;
    command(
        &scene,
        &format!("conflicts override {conflict} --take a --execute --force"),
    )
    .await;
    wait_equal(&mut scene, &[ITEM]).await;
    for (id, wins) in [(1, "a"), (2, "b"), (3, "c"), (5, "(none)")] {
        assert_eq!(note(&scene, Side::B, id).await, wins, "{id}");
    }
    assert!(stamp(&scene, Side::A, 1).await.0 > 2);
}

/// What was left to a person is found settled by its stamp.
async fn what_waits_is_looked_at(pair: Pair) {
    let mut scene = agreed("b_ask", pair, "on_conflict = \"ask\"\n").await;
    scene.stop().await;
    scene
        .exec(Side::A, "UPDATE item SET note = 'a' WHERE id <= 2")
        .await;
    scene
        .exec(Side::B, "UPDATE item SET note = 'b' WHERE id <= 2")
        .await;
    scene.run().await;
    let sql = format!(
        "SELECT count(*) FROM tidelock.parked WHERE sync = '{}'",
        scene.sync
    );
    for side in [Side::A, Side::B] {
        eventually(LIMIT, "both rows wait", async || {
            scene.db(side).one(&sql).await == "2"
        })
        .await;
    }
    for id in [1, 2] {
        let conflict = name(&scene, Side::A, id).await;
        command(
            &scene,
            &format!("conflicts resolve {conflict} --take a --execute"),
        )
        .await;
    }
    for side in [Side::A, Side::B] {
        eventually(LIMIT, "nothing waits", async || {
            scene.db(side).one(&sql).await == "0"
        })
        .await;
        assert_eq!(note(&scene, side, 1).await, "a");
    }
    wait_equal(&mut scene, &[ITEM]).await;
}

/// Rules beyond the order of stamps are writes of our own, and they cross too.
async fn the_arbiter_answers(pair: Pair) {
    let columns = "on_conflict = \"columns\"\ncolumn.n = { on_conflict = \"delta\" }\n";
    let mut scene = agreed("b_columns", pair, columns).await;
    for round in 0..3 {
        apart(
            &mut scene,
            &[ITEM],
            &format!("UPDATE item SET name = 'a{round}', n = n + 1 WHERE id <= 5; UPDATE item SET note = 'x' WHERE id = 6"),
            &format!("UPDATE item SET note = 'b{round}', n = n + 10 WHERE id <= 5; UPDATE item SET name = 'y' WHERE id = 6"),
        )
        .await;
    }
    for id in 1..=5 {
        let row = row(&scene, Side::A, id).await;
        let cells: Vec<&str> = row[1..4].iter().flatten().map(String::as_str).collect();
        assert_eq!(cells, ["a2", "33", "b2"], "{id}");
    }
    let truth = "on_conflict = \"source-of-truth:a\"\n";
    let mut scene = agreed("b_truth", pair, truth).await;
    apart(
        &mut scene,
        &[ITEM],
        "UPDATE item SET note = 'truth' WHERE id <= 3; DELETE FROM item WHERE id = 4; UPDATE item SET note = 'truth' WHERE id = 5",
        "UPDATE item SET note = 'b1' WHERE id <= 5; UPDATE item SET note = 'b2' WHERE id <= 4; DELETE FROM item WHERE id = 5",
    )
    .await;
    for (id, wins) in [(1, "truth"), (3, "truth"), (4, "(none)"), (5, "truth")] {
        assert_eq!(note(&scene, Side::B, id).await, wins, "{id}");
    }
}

/// What the catalog says of a table, its indexes, constraints and triggers; its columns come first.
async fn definition(scene: &Scene, side: Side) -> Vec<Vec<Option<String>>> {
    let of = "'public.item'::regclass";
    let statements = match scene.db(side).kind().is_postgres() {
        true => vec![
            format!(
                "SELECT array_agg(row(attname, attnum, atttypid::regtype, atttypmod, attnotnull, attisdropped, attacl::text) ORDER BY attnum)::text \
                 FROM pg_attribute WHERE attrelid = {of} AND attnum > 0"
            ),
            format!("SELECT relreplident, relfilenode, reloptions::text FROM pg_class WHERE oid = {of}"),
            format!("SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = {of} ORDER BY 1"),
            format!(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = {of} ORDER BY 1"
            ),
            format!(
                "SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = {of} ORDER BY 1"
            ),
            "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1".to_owned(),
        ],
        false => vec![
            "SHOW CREATE TABLE item".to_owned(),
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()".to_owned(),
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'tidelock' AND TABLE_NAME LIKE '%item%'".to_owned(),
        ],
    };
    let mut found = Vec::new();
    for sql in statements {
        found.extend(scene.db(side).rows(&sql).await);
    }
    // Other tests' stamps of tables of this name.
    found.retain(|row| {
        row[0]
            .as_ref()
            .is_none_or(|name| !name.starts_with("stamps_") && !name.starts_with("tombstone_"))
    });
    found
}

async fn the_tables_are_left_as_they_were(pair: Pair) {
    let mut scene = scene("b_left", pair, &[ITEM], "").await;
    // On one node its log held whole old rows before, and is to hold them afterwards.
    if scene.b.kind().is_postgres() {
        scene
            .exec(Side::B, "ALTER TABLE item REPLICA IDENTITY FULL")
            .await;
    }
    let before = [
        definition(&scene, Side::A).await,
        definition(&scene, Side::B).await,
    ];
    scene.start().await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'n', 1, 'note')")
        .await;
    wait_equal(&mut scene, &[ITEM]).await;
    for (side, before) in [Side::A, Side::B].into_iter().zip(&before) {
        let now = definition(&scene, side).await;
        assert_eq!(now[0], before[0], "the columns are the user's");
        assert_ne!(now, *before, "its triggers are not seen");
    }
    let plan = scene.lock.ok(&["setup"]).await;
    assert!(!plan.contains("CREATE"), "{plan}");
    scene.stop().await;
    let check = scene.lock.run(&["check"]).await;
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
    // Stamps of rows that went while triggers were off are found, and their removal is no change to the links.
    let stamps = stamps(&scene, Side::A, "item");
    let orphan = format!("INSERT INTO {stamps} (id, tidelock_version, tidelock_origin) VALUES (99, 1, 0)");
    scene.db(Side::A).as_dba(&orphan).await;
    let check = scene.lock.run(&["check"]).await;
    assert!(check.stdout.contains("W622"), "{}", check.stdout);
    for sql in [
        "UPDATE {} SET tidelock_origin = -1 WHERE id = 99",
        "DELETE FROM {} WHERE tidelock_origin = -1",
    ] {
        scene.db(Side::A).as_dba(&sql.replace("{}", &stamps)).await;
    }
    scene.lock.ok(&["run", "--once"]).await;
    assert!(!scene.lock.ok(&["check"]).await.contains("W622"));
    // Another place for the stamps is another sync.
    let config = std::fs::read_to_string(scene.lock.config_path()).unwrap();
    scene.lock.configure(&config.replace("stamps = \"beside\"", ""));
    let refused = scene.lock.run(&["check"]).await;
    assert!(
        refused.code != 0 && refused.stdout.contains("E409"),
        "{}",
        refused.stdout
    );
    scene.lock.configure(&config);
    scene.lock.ok(&["teardown", "--execute"]).await;
    assert_eq!(
        [
            definition(&scene, Side::A).await,
            definition(&scene, Side::B).await
        ],
        before
    );
}

async fn versions_come_from_where_they_are_to(pair: Pair) {
    let status = "version = { status = \"name\", order = [\"new\", \"paid\", \"shipped\"] }\n";
    let mut scene = agreed("b_version", pair, status).await;
    let busy = "UPDATE item SET name = 'paid' WHERE id = 1; UPDATE item SET n = 1 WHERE id = 1; UPDATE item SET n = 2 WHERE id = 1";
    apart(
        &mut scene,
        &[ITEM],
        "UPDATE item SET name = 'shipped', n = 7 WHERE id = 1",
        busy,
    )
    .await;
    let row = row(&scene, Side::B, 1).await;
    assert_eq!(
        (row[1].as_deref(), row[2].as_deref()),
        (Some("shipped"), Some("7"))
    );
    assert_eq!(stamp(&scene, Side::A, 1).await, (3 << 32, 1));
}

/// In columns where the configuration looks beside, and the other way round; and for a sync that needs none.
async fn stamps_that_stand_elsewhere_are_told(pair: Pair) {
    const BESIDE: &str = "\n[sync.table.item]\nstamps = \"beside\"\n";
    for (first, then, words) in [
        ("", BESIDE, "it has stamp columns"),
        (BESIDE, "", "in a table of their own"),
    ] {
        let mut scene = Scene::new("b_elsewhere", pair, Way::Merge, &[ITEM]).await;
        scene.configure("from:a", first);
        scene.lock.ok(&["setup", "--execute"]).await;
        scene.configure("from:a", then);
        let mut said = scene.lock.run(&["check"]).await.stdout;
        let found = |said: &str| said.matches("E620").count() == 2 && said.matches(words).count() == 2;
        assert!(found(&said), "{said}");
        if first == BESIDE {
            scene.way = Way::AToB;
            scene.configure("from:a", "");
            said = scene.lock.run(&["check"]).await.stdout;
            assert!(found(&said), "{said}");
        }
    }
}

const NAME: Table = Table {
    name: "name",
    body: "k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY, n int",
    key: &["k"],
    columns: &["n"],
};

/// One key to the server, and two spellings.
async fn keys_in_another_case(pair: Pair) {
    let mut scene = scene("b_case", pair, &[NAME], "").await;
    scene
        .exec(
            Side::A,
            "INSERT INTO name VALUES ('one', 1), ('two', 2), ('three', 3), ('four', 4)",
        )
        .await;
    scene.start().await;
    wait_equal(&mut scene, &[NAME]).await;
    scene
        .exec(
            Side::A,
            "UPDATE name SET k = 'ONE' WHERE k = 'one'; BEGIN; DELETE FROM name WHERE k = 'two'; INSERT INTO name VALUES ('Two', 3); COMMIT;
             REPLACE INTO name VALUES ('Three', 4); INSERT INTO name VALUES ('FOUR', 5) ON DUPLICATE KEY UPDATE n = 6",
        )
        .await;
    wait_equal(&mut scene, &[NAME]).await;
    scene
        .exec(
            Side::B,
            "UPDATE name SET n = n + 1; UPDATE name SET k = 'onE' WHERE k = 'one'",
        )
        .await;
    wait_equal(&mut scene, &[NAME]).await;
    let found = all(&scene, Side::A, &NAME).await;
    let names: Vec<&str> = found.iter().filter_map(|row| row[0].as_deref()).collect();
    assert_eq!(names, ["Three", "Two", "four", "onE", "0 stamps without rows"]);
}

/// MySQL takes 1 and 1.0 in a document for one, and logs no row: so there must be no stamp.
async fn documents_of_one_value(pair: Pair) {
    let table = Table {
        name: "paper",
        body: "id int NOT NULL PRIMARY KEY, j json",
        key: &["id"],
        columns: &["j"],
    };
    let mut scene = scene("b_json", pair, &[table], "").await;
    scene
        .exec(Side::A, "INSERT INTO paper VALUES (1, '{\"a\": 1}')")
        .await;
    scene.start().await;
    for side in [Side::A, Side::B] {
        scene
            .exec(
                side,
                "UPDATE paper SET j = '{\"a\": 1.0}'; UPDATE paper SET j = '{\"a\": 2}'; \
                 UPDATE paper SET j = '{\"a\":   2}'",
            )
            .await;
        scene.crossed().await;
    }
    scene.assert_no_conflicts().await;
}

/// The triggers tell the two signs of zero apart, and that what is no number stays it.
async fn numbers_that_equal_others(pair: Pair) {
    let table = Table {
        name: "number",
        body: "id int NOT NULL PRIMARY KEY, d double precision",
        key: &["id"],
        columns: &["d"],
    };
    let mut scene = scene("b_number", pair, &[table], "").await;
    scene.exec(Side::A, "INSERT INTO number VALUES (1, 0)").await;
    scene.start().await;
    for side in [Side::A, Side::B] {
        scene
            .exec(
                side,
                "UPDATE number SET d = -d; UPDATE number SET d = -d; UPDATE number SET d = -d",
            )
            .await;
        wait_equal(&mut scene, &[table]).await;
    }
    if scene.b.kind().is_postgres() {
        scene
            .exec(
                Side::B,
                "UPDATE number SET d = 'NaN'; UPDATE number SET d = 'NaN'",
            )
            .await;
        wait_equal(&mut scene, &[table]).await;
    }
    scene.assert_no_conflicts().await;
}

/// Its stamps stay, and what comes again starts above them.
async fn a_truncated_table_is_filled_again(pair: Pair) {
    let mut scene = agreed("b_trunc", pair, "").await;
    scene.exec(Side::B, "UPDATE item SET n = n + 1").await;
    wait_equal(&mut scene, &[ITEM]).await;
    scene.exec(Side::B, "TRUNCATE TABLE item").await;
    assert_eq!(scene.lock.wait(LIMIT).await, 1, "{}", scene.lock.log());
    let log = scene.lock.log();
    assert!(log.to_lowercase().contains("truncate"), "{log}");
    let alone = all(&scene, Side::B, &ITEM).await;
    assert_eq!(alone, [[Some("9 stamps without rows".to_owned())]]);
    let check = scene.lock.run(&["check"]).await;
    assert!(check.stdout.contains("W622"), "{}", check.stdout);
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'again', 1, 'after')")
        .await;
    assert_eq!(stamp(&scene, Side::B, 1).await.0, 3);
}
