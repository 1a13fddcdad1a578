//! What PostgreSQL's log does not tell: rows that come or go with a partition, and a publication or a table that is
//! not the one it was. The run stops, says which rows, and goes on after what it says; maintenance of every day passes.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Frozen, eventually};
use scenario::{ITEM, LIMIT, Pair, Scene, Side, Table, Way};

pairs! {
    maintenance_of_partitions_goes_on => maintenance;
    maintenance_of_tables_goes_on => table_maintenance;
    rewritten_rows_stop => |pair| rewritten("rewritten", pair, Way::AToB);
    rewritten_rows_of_a_merge_stop => |pair| rewritten("rewritten_merge", pair, Way::Merge);
    rows_that_move_with_a_partition_stop => partitions_stop;
    rows_of_partitions_that_come_and_go_at_once_stop => at_once;
    a_publication_altered_and_altered_back_stops => publication_stops;
    rows_written_under_another_name_stop => renamed_and_back;
}

const PARTS: Table = Table {
    name: "parts",
    body: "",
    key: &["id"],
    columns: &["word"],
};

const BODY: &str = "id int NOT NULL PRIMARY KEY, word varchar(60) NOT NULL DEFAULT 'x'";

/// `parts` with rows in the first of two partitions on the source, and plain on the target.
async fn scene(hint: &str, pair: Pair) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::AToB, &[PARTS]).await;
    let parts = format!(
        "CREATE TABLE parts ({BODY}) PARTITION BY RANGE (id);
         CREATE TABLE parts_0 PARTITION OF parts FOR VALUES FROM (0) TO (100);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (100) TO (200);
         INSERT INTO parts SELECT i, 'row' FROM generate_series(1, 50) AS i"
    );
    scene.exec(Side::A, &parts).await;
    scene.exec(Side::B, &format!("CREATE TABLE parts ({BODY})")).await;
    settled(&scene, "parts").await;
    scene.start().await;
    noted(&scene).await;
    scene.wait_equal().await;
    scene
}

/// Waits until whatever ran on the server beside the table's rows is over: only then do they count as older than a record.
async fn settled(scene: &Scene, table: &str) {
    let sql = format!(
        "SELECT bool_and(age(xmin)::bigint > pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                                             - pg_snapshot_xmin(pg_current_snapshot())::text::bigint)::text FROM {table}"
    );
    eventually(LIMIT, "the rows are old", async || {
        scene.a.one(&sql).await == "true"
    })
    .await;
}

/// Waits until the running link has noted the table itself as it is: its file, and each column's row in the catalog.
async fn item_noted(scene: &Scene) {
    let sql = "SELECT count(*) FROM tidelock.published p JOIN pg_class c ON c.oid = p.member
                WHERE c.oid = 'item'::regclass AND p.filenode = c.relfilenode
                  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                                     AND strpos(p.bound, ' ' || a.attnum || ':' || a.xmin || ':') = 0)";
    eventually(LIMIT, "the table is noted", async || {
        scene.a.one(sql).await == "1"
    })
    .await;
}

/// What rewrites a table and keeps its values, and what alters its columns and rewrites nothing.
async fn table_maintenance(pair: Pair) {
    let mut scene = Scene::new("table_maintained", pair, Way::AToB, &[ITEM]).await;
    let row = |id: u32| format!("INSERT INTO item (id, name, n, note) VALUES ({id}, 'row', {id}, NULL)");
    scene.exec(Side::A, &row(1)).await;
    settled(&scene, "item").await;
    scene.start().await;
    item_noted(&scene).await;
    let cases = [
        ("", "VACUUM FULL item"),
        ("", "CLUSTER item USING item_pkey"),
        ("", "ALTER TABLE item ALTER n SET STATISTICS 50"),
        // Both at once, where a row from before shows that nothing wrote them all.
        ("", "ALTER TABLE item ALTER name SET STATISTICS 60; VACUUM FULL item"),
        (
            "ALTER TABLE item ADD more int DEFAULT 7",
            "ALTER TABLE item ADD more int DEFAULT 7; DELETE FROM item; INSERT INTO item VALUES (2, 'new', 2, NULL, 8)",
        ),
        // Writes what is missing in old rows, and no row is old.
        ("", "VACUUM FULL item"),
        (
            "ALTER TABLE item ADD less int DEFAULT 7",
            "ALTER TABLE item ADD less int DEFAULT 7; UPDATE item SET less = 3",
        ),
        // So does a change of another column's type.
        (
            "ALTER TABLE item MODIFY n bigint NOT NULL",
            "ALTER TABLE item ALTER n TYPE bigint; INSERT INTO item VALUES (3, 'wide', 5000000000, NULL, 1, 1)",
        ),
        ("", "TRUNCATE item; ALTER TABLE item ALTER note TYPE text USING upper(note)"),
        // The user's word for it.
        (
            "",
            "INSERT INTO item VALUES (4, 'word', 4, 'as it was', 1, 1); BEGIN; ALTER TABLE item ALTER note TYPE text USING note;
             DELETE FROM tidelock.published WHERE member = 'item'::regclass; COMMIT",
        ),
    ];
    for (place, (on_b, on_a)) in cases.into_iter().enumerate() {
        // While the link runs, and while it is away.
        let is_away = place % 3 == 2;
        if is_away {
            scene.stop().await;
        }
        scene.exec(Side::B, on_b).await;
        scene.exec(Side::A, on_a).await;
        if is_away {
            scene.lock.ok(&["setup", "--execute"]).await;
            scene.run().await;
        }
        item_noted(&scene).await;
        scene.wait_equal().await;
    }
    scene.stop().await;
}

/// One case while the link runs, the next while it is away: it stops with these words, at each start again, until
/// somebody has accepted what there is. What `check` said meanwhile.
async fn stops_until_accepted(
    scene: &mut Scene,
    place: usize,
    statements: &str,
    words: &str,
    also: [&str; 2],
) -> String {
    let is_away = place % 2 == 1;
    if is_away {
        scene.stop().await;
    }
    scene.exec(Side::A, statements).await;
    let said = match is_away {
        true => refused(scene).await,
        false => ended(scene).await,
    };
    for word in also.into_iter().chain([words, "DELETE FROM tidelock.published"]) {
        assert!(said.contains(word), "{statements}: {word} is not in {said}");
    }
    assert!(refused(scene).await.contains(words));
    let check = scene.lock.run(&["check"]).await.stdout;
    assert!(check.contains("E408"), "{check}");
    scene.exec(Side::A, &accepted(&said)).await;
    scene.run().await;
    scene.crossed().await;
    check
}

/// Other values in all rows, and nothing of it in the log.
async fn rewritten(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &[ITEM]).await;
    let rows = "INSERT INTO item (id, name, n, note) VALUES (1, 'one', 100, 'x'), (2, 'two', 1000, 'y')";
    scene.exec(Side::A, rows).await;
    scene.start().await;
    item_noted(&scene).await;
    let cases = [
        ("ALTER TABLE item ALTER note TYPE text USING upper(note)", "columns: note", "note = upper(note)"),
        ("ALTER TABLE item ALTER n TYPE int USING n * 2", "columns: n)", "n = n * 2"),
        // Of several, and behind what would hide it.
        (
            "ALTER TABLE item ALTER n TYPE int USING n + 1, ALTER note TYPE text USING note || '!'; VACUUM FULL item;
             ALTER TABLE item ALTER n SET STATISTICS 70; UPDATE item SET name = 'later' WHERE id = 1",
            "columns: n, note",
            "n = n + 1, note = concat(note, '!') WHERE id = 2",
        ),
        // There and back.
        (
            "ALTER TABLE item ALTER n TYPE bigint USING n * 2; ALTER TABLE item ALTER n TYPE int",
            "columns: n)",
            "n = n * 2",
        ),
    ];
    for (place, (statements, words, mended)) in cases.into_iter().enumerate() {
        let also = ["public.item", "rewrote all its rows"];
        let check = stops_until_accepted(&mut scene, place, statements, words, also).await;
        assert!(check.contains(words), "{check}");
        scene.exec(Side::B, &format!("UPDATE item SET {mended}")).await;
        item_noted(&scene).await;
        scene.wait_equal().await;
    }
    scene.stop().await;
    scene.assert_no_conflicts().await;
}

/// Waits until the running link has noted the partitions as they are.
async fn noted(scene: &Scene) {
    let sql = "SELECT count(*) FROM pg_partition_tree('parts') t FULL JOIN
                      (SELECT * FROM tidelock.published WHERE table_name = 'parts' AND parent <> 0) p ON p.member = t.relid
                WHERE t.level IS DISTINCT FROM 0 AND (p.member IS NULL OR t.relid IS NULL
                      OR (t.isleaf AND (p.filenode <> pg_relation_filenode(t.relid) OR p.horizon <= p.entry::bigint
                                        OR p.filled <> (pg_relation_size(t.relid) > 0))))";
    eventually(LIMIT, "the partitions are noted", async || {
        scene.a.one(sql).await == "0"
    })
    .await;
}

async fn maintenance(pair: Pair) {
    let mut scene = scene("maintained", pair).await;
    let created = "BEGIN; CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (200) TO (300);
                   INSERT INTO parts VALUES (201, 'with its partition'); COMMIT;
                   CREATE TABLE parts_3 (LIKE parts);
                   ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES FROM (300) TO (400);
                   CREATE TABLE below PARTITION OF parts FOR VALUES FROM (1000) TO (2000) PARTITION BY RANGE (id);
                   BEGIN; CREATE TABLE below_0 PARTITION OF below FOR VALUES FROM (1000) TO (1100);
                   INSERT INTO parts VALUES (1001, 'two deep'); COMMIT";
    // An older transaction is open while the new partitions are noted for the first time.
    let mut older = scene.a.session().await;
    older.exec("BEGIN").await;
    older.exec("SELECT pg_current_xact_id()").await;
    scene.exec(Side::A, created).await;
    let seen =
        "SELECT count(*) FROM tidelock.published WHERE table_name = 'parts' AND parent <> 0 AND filled";
    eventually(LIMIT, "the new partitions are noted", async || {
        scene.a.one(seen).await == "3"
    })
    .await;
    older.exec("COMMIT").await;
    noted(&scene).await;
    scene
        .exec(Side::A, "INSERT INTO parts VALUES (301, 'attached empty')")
        .await;
    noted(&scene).await;
    let rewritten = "VACUUM FULL parts_0; ALTER TABLE parts_0 ADD CHECK (id >= 0); REINDEX TABLE parts_0;
                     CLUSTER parts_0 USING parts_0_pkey; ANALYZE parts; VACUUM FULL parts_2;
                     UPDATE parts SET word = 'later' WHERE id < 20";
    scene.exec(Side::A, rewritten).await;
    noted(&scene).await;
    // An empty one that leaves takes nothing along.
    scene
        .exec(
            Side::A,
            "CREATE TABLE parts_4 PARTITION OF parts FOR VALUES FROM (400) TO (500)",
        )
        .await;
    noted(&scene).await;
    scene
        .exec(Side::A, "ALTER TABLE parts DETACH PARTITION parts_4")
        .await;
    noted(&scene).await;
    scene.wait_equal().await;
    scene.stop().await;
    let away = "CREATE TABLE parts_5 PARTITION OF parts FOR VALUES FROM (500) TO (600);
                INSERT INTO parts VALUES (501, 'while away'); VACUUM FULL parts_0; DROP TABLE parts_4;
                DELETE FROM parts WHERE id = 201";
    scene.exec(Side::A, away).await;
    scene.run().await;
    scene.wait_equal().await;
    // Announced in its own transaction, a partition may leave with its rows: this is the user's word for it.
    let announced = "BEGIN; DELETE FROM tidelock.published WHERE member = 'parts_3'::regclass;
                     ALTER TABLE parts DETACH PARTITION parts_3; COMMIT";
    scene.exec(Side::A, announced).await;
    scene
        .exec(Side::B, "DELETE FROM parts WHERE id BETWEEN 300 AND 399")
        .await;
    noted(&scene).await;
    scene.wait_equal().await;
    scene.stop().await;
}

async fn partitions_stop(pair: Pair) {
    let mut scene = scene("parts_stop", pair).await;
    let fill = "INSERT INTO parts VALUES (101, 'a'), (102, 'b')";
    scene.exec(Side::A, fill).await;
    noted(&scene).await;
    let cases = [
        ("TRUNCATE parts_1", "parts_1 was truncated", ""),
        (
            "BEGIN; TRUNCATE parts_0; INSERT INTO parts VALUES (1, 'again'); COMMIT",
            "parts_0 was truncated",
            "",
        ),
        ("ALTER TABLE parts DETACH PARTITION parts_0", "parts_0 was detached", ""),
        (
            "INSERT INTO parts_0 VALUES (7, 'unseen'); ALTER TABLE parts ATTACH PARTITION parts_0 FOR VALUES FROM (0) TO (100)",
            "parts_0 was attached with rows",
            "INSERT INTO parts VALUES (1, 'again'), (7, 'unseen')",
        ),
        (
            "BEGIN; CREATE TABLE parts_6 (LIKE parts); SAVEPOINT s; INSERT INTO parts_6 VALUES (601, 'unseen'); RELEASE SAVEPOINT s;
             ALTER TABLE parts ATTACH PARTITION parts_6 FOR VALUES FROM (600) TO (700); COMMIT",
            "parts_6 was attached with rows",
            "INSERT INTO parts VALUES (601, 'unseen')",
        ),
        (
            "ALTER TABLE parts DETACH PARTITION parts_6; INSERT INTO parts_6 VALUES (602, 'unseen');
             ALTER TABLE parts ATTACH PARTITION parts_6 FOR VALUES FROM (600) TO (700)",
            "parts_6 was detached and attached again",
            "INSERT INTO parts VALUES (602, 'unseen')",
        ),
        ("DROP TABLE parts_6", "parts_6 was detached or dropped", ""),
    ];
    for (place, (statements, words, news)) in cases.into_iter().enumerate() {
        let also = ["public.parts", "rows came or went"];
        stops_until_accepted(&mut scene, place, statements, words, also).await;
        let only_there = missing(&scene).await;
        if !only_there.is_empty() {
            let sql = format!("DELETE FROM parts WHERE id IN ({})", only_there.join(", "));
            scene.exec(Side::B, &sql).await;
        }
        scene.exec(Side::B, news).await;
        noted(&scene).await;
        scene.wait_equal().await;
    }
    scene.stop().await;
}

/// Between two looks at the catalogs nothing of it was there: what the log says of partitions tells.
async fn at_once(pair: Pair) {
    let mut scene = scene("at_once", pair).await;
    let cases = [
        ("TRUNCATE parts_7", "parts_7 was truncated"),
        (
            "DROP TABLE parts_7",
            "parts_7 was detached or dropped, and its bounds are not known",
        ),
        (
            "ALTER TABLE parts DETACH PARTITION parts_7",
            "parts_7 was detached",
        ),
        (
            "TRUNCATE parts_7; INSERT INTO parts VALUES (703, 'left')",
            "parts_7 was truncated",
        ),
        // Not in the transaction that made it, and before anybody looked.
        (
            "COMMIT; BEGIN; TRUNCATE parts_7; INSERT INTO parts VALUES (703, 'left')",
            "parts_7 was truncated",
        ),
        (
            "COMMIT; DROP TABLE parts_7; BEGIN",
            "parts_7 was detached or dropped",
        ),
    ];
    for (place, (statements, words)) in cases.into_iter().enumerate() {
        let is_away = place % 2 == 1;
        if is_away {
            scene.stop().await;
        }
        let filled = "CREATE TABLE parts_7 PARTITION OF parts FOR VALUES FROM (700) TO (800);
                      INSERT INTO parts VALUES (701, 'unseen'), (702, 'unseen')";
        scene
            .exec(Side::A, &format!("BEGIN; {filled}; {statements}; COMMIT"))
            .await;
        let said = match is_away {
            true => refused(&scene).await,
            false => ended(&mut scene).await,
        };
        for word in ["public.parts", words, "DELETE FROM tidelock.published"] {
            assert!(said.contains(word), "{statements}: {word} is not in {said}");
        }
        assert!(refused(&scene).await.contains(words), "{statements}");
        scene.exec(Side::A, &accepted(&said)).await;
        scene.run().await;
        scene.crossed().await;
        scene
            .exec(Side::B, "DELETE FROM parts WHERE id BETWEEN 700 AND 702")
            .await;
        noted(&scene).await;
        scene.wait_equal().await;
        let away = "DELETE FROM tidelock.published WHERE member = to_regclass('parts_7')::oid; DROP TABLE IF EXISTS parts_7";
        scene.exec(Side::A, away).await;
        scene.exec(Side::B, "DELETE FROM parts WHERE id >= 700").await;
        noted(&scene).await;
    }
    scene.stop().await;
}

async fn publication_stops(pair: Pair) {
    let mut scene = Scene::new("republished", pair, Way::AToB, &[ITEM]).await;
    scene.start().await;
    let name = scene.a.one("SELECT pubname FROM pg_publication").await;
    let tables = "item, probe";
    let publish = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
    let cases = [
        format!("ALTER PUBLICATION {name} DROP TABLE item; {{row}}; ALTER PUBLICATION {name} ADD TABLE item"),
        format!(
            "ALTER PUBLICATION {name} SET TABLE item WHERE (id < 0), probe; {{row}}; ALTER PUBLICATION {name} SET TABLE {tables}"
        ),
        format!(
            "ALTER PUBLICATION {name} SET (publish = 'delete'); {{row}}; ALTER PUBLICATION {name} SET ({publish})"
        ),
        // Reading ends with an error while there is none, and nothing is lost; but nobody can know.
        format!(
            "DROP PUBLICATION {name}; CREATE PUBLICATION {name} FOR TABLE {tables} WITH ({publish}); {{row}}"
        ),
    ];
    for (place, statements) in cases.iter().enumerate() {
        let id = 100 + place;
        let row = format!("INSERT INTO item VALUES ({id}, 'unseen', 1, NULL)");
        let statements = statements.replace("{row}", &row);
        let is_away = place % 2 == 1;
        if is_away {
            scene.stop().await;
        }
        unseen(&scene, &statements).await;
        let said = match is_away {
            true => refused(&scene).await,
            false => ended(&mut scene).await,
        };
        for word in [name.as_str(), "may not be sent", "make a new copy", "public.item"] {
            assert!(said.contains(word), "{statements}: {word} is not in {said}");
        }
        assert!(refused(&scene).await.contains("may not be sent"));
        scene.exec(Side::A, &accept_all(&scene)).await;
        scene.run().await;
        scene.crossed().await;
        let found = scene.b.count(&format!("item WHERE id = {id}")).await;
        assert_eq!(found, i64::from(place == 3), "{statements}");
        scene.exec(Side::A, "TRUNCATE item").await;
        scene.wait_equal().await;
    }
    // What setup itself does about the publication is no such change.
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.wait_equal().await;
    scene.stop().await;
}

async fn renamed_and_back(pair: Pair) {
    let mut scene = Scene::new("renamed", pair, Way::AToB, &[ITEM]).await;
    scene.start().await;
    let renamed =
        "BEGIN; INSERT INTO item VALUES (1, 'before', 1, NULL); COMMIT; ALTER TABLE item RENAME TO other;
                   INSERT INTO other VALUES (2, 'unseen', 1, NULL); ALTER TABLE other RENAME TO item";
    unseen(&scene, renamed).await;
    let said = ended(&mut scene).await;
    for word in ["public.item", "public.other", "make a new copy"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert!(refused(&scene).await.contains("public.other"));
    assert_eq!(scene.b.count("item").await, 1, "what came before it is applied");
}

/// Runs statements on the source that the program sees only the end of, as it does between two looks.
async fn unseen(scene: &Scene, statements: &str) {
    let _stands = scene.lock.pid().map(Frozen::one);
    scene.exec(Side::A, statements).await;
}

/// What the program says as it ends by itself.
async fn ended(scene: &mut Scene) -> String {
    assert_eq!(scene.lock.wait(LIMIT).await, 7, "{}", scene.lock.log());
    scene.lock.log()
}

async fn refused(scene: &Scene) -> String {
    let said = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(said.code, 7, "{}", said.stderr);
    said.stderr
}

/// The statement of the hint.
fn accepted(said: &str) -> String {
    let from = said.rfind("DELETE FROM tidelock.published").unwrap();
    let statement = &said[from..];
    statement[..statement.find("; ").unwrap()].to_owned()
}

fn accept_all(scene: &Scene) -> String {
    format!("DELETE FROM tidelock.published WHERE sync = '{}'", scene.sync)
}

/// Rows that only the target has.
async fn missing(scene: &Scene) -> Vec<String> {
    let ids = async |side| {
        let rows = scene.db(side).rows("SELECT id FROM parts").await;
        rows.into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect::<Vec<String>>()
    };
    let (here, mut there) = (ids(Side::A).await, ids(Side::B).await);
    there.retain(|id| !here.contains(id));
    there
}
