//! Row filters of each direction: what a node sends the other one has as it is, what was written over another node's rows
//! is undone, and what neither sends stays where it is.
#![allow(clippy::unwrap_used)]

#[path = "filters/around.rs"]
mod around;
mod harness;
mod scenario;

use scenario::{LIMIT, Pair, Random, Scene, Side, Table, Way};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pairs! {
    each_class_of_rows => classes;
    two_filled_sides_become_one => union;
    nothing_to_copy_is_proven_both_ways => proof;
    random_rows_move_in_and_out => |pair| random(pair, 5_000);
    a_new_copy_levels_what_each_sends => around::a_new_copy_levels_what_each_sends;
    children_wait_for_parents_that_are_not_sent => around::children_wait_for_parents_that_are_not_sent;
    a_value_that_an_own_row_holds_is_waited_for => around::a_value_that_an_own_row_holds_is_waited_for;
    with_stamps_beside => around::with_stamps_beside;
}

mod full {
    use super::*;
    use scenario::{NEW, OLD};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "make test-all"]
    async fn a_hundred_thousand_updates_postgres18_mysql() {
        random(NEW, 100_000).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "make test-all"]
    async fn a_hundred_thousand_updates_postgres15_mariadb() {
        random(OLD, 100_000).await;
    }
}

const CONTACT: Table = Table {
    name: "contact",
    body: "id int NOT NULL PRIMARY KEY, region varchar(10) NOT NULL, note varchar(40)",
    key: &["id"],
    columns: &["region", "note"],
};
const SENT: [[&str; 2]; 2] = [["CA", "BOTH"], ["US", "BOTH"]];

fn configure(scene: &mut Scene, seed: &str) {
    scene.configure(
        seed,
        "[sync.table.contact.where]\na = \"region IN ('CA', 'BOTH')\"\nb = \"region IN ('US', 'BOTH')\"",
    );
}

/// Until nothing is answered any more.
async fn settled(scene: &mut Scene) {
    for _ in 0..4 {
        scene.crossed().await;
    }
}

async fn start(hint: &str, pair: Pair) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[CONTACT]).await;
    configure(&mut scene, "from:a");
    scene
}

/// What both sides do with the rows of one key, one after the other, and what each has in the end.
struct Case {
    what: &'static str,
    steps: &'static [(Side, &'static str)],
    a: Option<(&'static str, &'static str)>,
    b: Option<(&'static str, &'static str)>,
}

const A: Side = Side::A;
const B: Side = Side::B;

/// `#` is the case's key. A step begins when the one before it has come over.
const CASES: &[Case] = &[
    Case {
        what: "what both send both may write",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'BOTH', 'a')"),
            (B, "UPDATE contact SET note = 'b' WHERE id = #"),
        ],
        a: Some(("BOTH", "b")),
        b: Some(("BOTH", "b")),
    },
    Case {
        what: "a node's row is followed",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (A, "UPDATE contact SET note = 'a2' WHERE id = #"),
        ],
        a: Some(("CA", "a2")),
        b: Some(("CA", "a2")),
    },
    Case {
        what: "what is written over it is undone",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (B, "UPDATE contact SET note = 'b' WHERE id = #"),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
    Case {
        what: "also the other way round",
        steps: &[
            (B, "INSERT INTO contact VALUES (#, 'US', 'b')"),
            (
                A,
                "UPDATE contact SET note = 'a' WHERE id = #; UPDATE contact SET note = 'aa' WHERE id = #",
            ),
        ],
        a: Some(("US", "b")),
        b: Some(("US", "b")),
    },
    Case {
        what: "and a delete",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (B, "DELETE FROM contact WHERE id = #"),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
    Case {
        what: "and another row under its key",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (
                B,
                "DELETE FROM contact WHERE id = #; INSERT INTO contact VALUES (#, 'CA', 'b')",
            ),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
    Case {
        what: "and one that is taken out of sight",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (
                B,
                "UPDATE contact SET region = 'XX' WHERE id = #; UPDATE contact SET note = 'b' WHERE id = #",
            ),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
    Case {
        what: "a row of the other's that it does not have is one's own",
        steps: &[
            (B, "INSERT INTO contact VALUES (#, 'CA', 'b')"),
            (B, "UPDATE contact SET note = 'b2' WHERE id = #"),
        ],
        a: None,
        b: Some(("CA", "b2")),
    },
    Case {
        what: "a row that leaves is gone",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (A, "UPDATE contact SET region = 'XX' WHERE id = #"),
        ],
        a: Some(("XX", "a")),
        b: None,
    },
    Case {
        what: "and back",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'BOTH', 'a')"),
            (A, "UPDATE contact SET region = 'XX' WHERE id = #"),
            (A, "UPDATE contact SET region = 'CA' WHERE id = #"),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
    Case {
        what: "a row that is handed over is the other's",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (A, "UPDATE contact SET region = 'US', note = 'given' WHERE id = #"),
            (B, "UPDATE contact SET note = 'b' WHERE id = #"),
            (A, "UPDATE contact SET note = 'a again' WHERE id = #"),
        ],
        a: Some(("US", "b")),
        b: Some(("US", "b")),
    },
    Case {
        what: "one of both becomes one's own",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'BOTH', 'a')"),
            (B, "UPDATE contact SET region = 'US' WHERE id = #"),
            (A, "DELETE FROM contact WHERE id = #"),
        ],
        a: Some(("US", "a")),
        b: Some(("US", "a")),
    },
    Case {
        what: "one of both stays with who takes it out",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'BOTH', 'a')"),
            (B, "UPDATE contact SET region = 'XX', note = 'b' WHERE id = #"),
        ],
        a: None,
        b: Some(("XX", "b")),
    },
    Case {
        what: "a row whose key is taken away comes back",
        steps: &[
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
            (B, "UPDATE contact SET id = # + 1000 WHERE id = #"),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
    Case {
        what: "a private row gives way to the other's",
        steps: &[
            (B, "INSERT INTO contact VALUES (#, 'XX', 'b')"),
            (B, "UPDATE contact SET note = 'b2' WHERE id = #"),
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
    Case {
        what: "what was deleted unseen comes in all the same",
        steps: &[
            (
                B,
                "INSERT INTO contact VALUES (#, 'XX', 'b'); UPDATE contact SET note = 'b2' WHERE id = #; \
                 DELETE FROM contact WHERE id = #",
            ),
            (A, "INSERT INTO contact VALUES (#, 'CA', 'a')"),
        ],
        a: Some(("CA", "a")),
        b: Some(("CA", "a")),
    },
];

async fn row(scene: &Scene, side: Side, id: usize) -> Option<(String, String)> {
    let sql = format!("SELECT region, note FROM contact WHERE id = {id}");
    let rows = scene.db(side).rows(&sql).await;
    rows.first()
        .map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap()))
}

async fn cases(scene: &mut Scene) {
    scene.start().await;
    let steps = CASES.iter().map(|case| case.steps.len()).max().unwrap();
    for step in 0..steps {
        for (id, case) in CASES.iter().enumerate() {
            if let Some((side, sql)) = case.steps.get(step) {
                scene.exec(*side, &sql.replace('#', &id.to_string())).await;
            }
        }
        settled(scene).await;
    }
    let is = |wanted: Option<(&str, &str)>| wanted.map(|(region, note)| (region.to_owned(), note.to_owned()));
    for (id, case) in CASES.iter().enumerate() {
        let (a, b) = (row(scene, A, id).await, row(scene, B, id).await);
        assert_eq!((a, b), (is(case.a), is(case.b)), "{}", case.what);
    }
}

async fn classes(pair: Pair) {
    let mut scene = start("dir_cases", pair).await;
    cases(&mut scene).await;
    let words = scene.lock.ok(&["check"]).await;
    assert!(
        words.contains("of a's rows those where region IN ('CA', 'BOTH') go to the other node"),
        "{words}"
    );
    let undone = scene.conflicts(A).await;
    let of_case = |what: &str| CASES.iter().position(|case| case.what == what).unwrap();
    let id = of_case("what is written over it is undone");
    let record = undone
        .iter()
        .find(|conflict| conflict.key[0].to_string().contains(&id.to_string()))
        .unwrap_or_else(|| panic!("no record of it: {undone:?}"));
    assert_eq!(
        (
            record.kind.as_str(),
            record.outcome.as_str(),
            record.operation.as_str()
        ),
        ("update_origin_differs", "kept", "update")
    );
    assert!(record.detail.contains("this node's alone"), "{}", record.detail);
    let incoming = record.incoming.as_ref().unwrap().to_string();
    assert!(
        incoming.contains("\"b\""),
        "the row as it was written: {incoming}"
    );
}

/// Rows from before the sync: of each class, and some of one key on both sides.
async fn union(pair: Pair) {
    let mut scene = start("dir_union", pair).await;
    configure(&mut scene, "union");
    scene
        .exec(
            A,
            "INSERT INTO contact VALUES (1, 'CA', 'a'), (2, 'BOTH', 'a'), (3, 'US', 'a'), (4, 'XX', 'a'), (5, 'CA', 'a'), \
             (6, 'BOTH', 'both')",
        )
        .await;
    scene
        .exec(
            B,
            "INSERT INTO contact VALUES (1, 'CA', 'b'), (2, 'BOTH', 'b'), (3, 'US', 'b'), (4, 'XX', 'b'), (6, 'BOTH', 'both'), \
             (7, 'US', 'b'), (8, 'CA', 'b')",
        )
        .await;
    scene.start().await;
    settled(&mut scene).await;
    let is = |region: &str, note: &str| Some((region.to_owned(), note.to_owned()));
    for (id, a, b) in [
        (1, is("CA", "a"), is("CA", "a")),
        (3, is("US", "b"), is("US", "b")),
        (4, is("XX", "a"), is("XX", "b")),
        (5, is("CA", "a"), is("CA", "a")),
        (6, is("BOTH", "both"), is("BOTH", "both")),
        (7, is("US", "b"), is("US", "b")),
        (8, None, is("CA", "b")),
    ] {
        assert_eq!(
            (row(&scene, A, id).await, row(&scene, B, id).await),
            (a, b),
            "row {id}"
        );
    }
    assert_eq!(row(&scene, A, 2).await, row(&scene, B, 2).await);
}

/// `seed = "none"`: the rows that either side sends are the same on both.
async fn proof(pair: Pair) {
    let mut scene = start("dir_proof", pair).await;
    configure(&mut scene, "none");
    let both = "INSERT INTO contact VALUES (1, 'CA', 'x'), (2, 'BOTH', 'x'), (3, 'US', 'x')";
    scene
        .exec(A, &format!("{both}; INSERT INTO contact VALUES (4, 'XX', 'a')"))
        .await;
    scene
        .exec(B, &format!("{both}, (5, 'US', 'b'), (6, 'XX', 'b')"))
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let refused = scene.lock.run(&["run", "--once"]).await;
    assert_ne!(
        refused.code, 0,
        "a row of b that a does not have: {}",
        refused.stderr
    );
    scene.lock.ok(&["teardown", "--execute"]).await;
    scene.exec(B, "DELETE FROM contact WHERE id = 5").await;
    scene.start().await;
    scene
        .exec(
            B,
            "UPDATE contact SET note = 'b' WHERE id = 1; UPDATE contact SET note = 'b' WHERE id = 3",
        )
        .await;
    settled(&mut scene).await;
    for (id, note) in [(1, "x"), (3, "b")] {
        for side in [A, B] {
            assert_eq!(
                row(&scene, side, id).await.unwrap().1,
                note,
                "row {id} on {side:?}"
            );
        }
    }
}

const KEYS: u64 = 600;
const REGIONS: [&str; 4] = ["CA", "US", "BOTH", "XX"];
/// Rows that one statement moves.
const SET: u64 = 20;

/// Changes that move rows in and out, theirs and the other side's, many in one statement.
async fn storm(scene: &Scene, side: Side, mut random: Random, mut updates: usize) {
    let mut session = scene.db(side).session().await;
    while updates > 0 {
        let (first, shift) = (random.below(KEYS / SET), random.below(4));
        let note = format!("{side:?} {}", random.below(1_000_000));
        let id = random.below(KEYS);
        let region = |shift: u64| REGIONS[shift as usize % 4];
        let cases: Vec<String> = (0..4)
            .map(|rest| format!("WHEN {rest} THEN '{}'", region(shift + rest)))
            .collect();
        let set = format!("id % {} = {first}", KEYS / SET);
        let (sql, count) = match random.below(10) {
            0 => (format!("DELETE FROM contact WHERE id = {id}"), 0),
            1 => (
                format!(
                    "INSERT INTO contact SELECT {id}, '{}', '{note}' FROM (SELECT 1 AS x) AS one WHERE NOT EXISTS (SELECT 1 FROM contact WHERE id = {id})",
                    region(shift)
                ),
                0,
            ),
            2..=5 => (format!("UPDATE contact SET note = '{note}' WHERE {set}"), SET),
            _ => (
                format!(
                    "UPDATE contact SET note = '{note}', region = CASE (id + {first}) % 4 {} END WHERE {set}",
                    cases.join(" ")
                ),
                SET,
            ),
        };
        // The peer's change may hold one of the rows, or have inserted it a moment ago: that is not what is tested.
        while let Err(error) = session.try_exec(&sql).await {
            let raced = ["deadlock", "40001", "duplicate"];
            assert!(
                raced.iter().any(|word| error.to_lowercase().contains(word)),
                "{error}"
            );
        }
        updates = updates.saturating_sub(count as usize);
    }
}

/// Region, note, version, origin.
type Stamped = [String; 4];

async fn all(scene: &Scene, side: Side) -> BTreeMap<i64, Stamped> {
    let sql = "SELECT id, region, note, tidelock_version, tidelock_origin FROM contact";
    let rows = scene.db(side).rows(sql).await;
    let cells = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().map(Option::unwrap);
        let id = cells.next().unwrap().parse().unwrap();
        (id, std::array::from_fn(|_| cells.next().unwrap()))
    };
    rows.into_iter().map(cells).collect()
}

/// What a node sends stands on the other one as it is here; what neither sends was written where it stands.
fn wrong(rows: &[BTreeMap<i64, Stamped>; 2]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (source, target) in [(0, 1), (1, 0)] {
        let sends = |of: usize, row: &Stamped| SENT[of].contains(&row[0].as_str());
        for (id, row) in rows[source].iter().filter(|(_, row)| sends(source, row)) {
            if rows[target].get(id) != Some(row) {
                wrong.push(format!(
                    "{id}: {row:?} is sent, {:?} stands",
                    rows[target].get(id)
                ));
            }
        }
        for (id, row) in &rows[target] {
            let is_sent = rows[source].get(id).is_some_and(|row| sends(source, row));
            // The first copy is A's: what it never touched since has the stamps of before.
            let is_own = row[3] == (target + 1).to_string() || (target == 0 && row[3] == "0");
            if !is_sent && !sends(target, row) && !is_own {
                wrong.push(format!("{id}: {row:?} should have left"));
            }
        }
    }
    wrong
}

/// When nothing is answered any more.
async fn quiet(scene: &Scene) -> [BTreeMap<i64, Stamped>; 2] {
    let (mut before, mut since) = ([all(scene, A).await, all(scene, B).await], Instant::now());
    let limit = Instant::now() + LIMIT;
    while since.elapsed() < Duration::from_secs(3)
        && (!wrong(&before).is_empty() || since.elapsed().as_millis() < 600)
    {
        assert!(Instant::now() < limit, "rows are answered again and again");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = [all(scene, A).await, all(scene, B).await];
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    before
}

async fn random(pair: Pair, updates: usize) {
    let mut scene = start("dir_random", pair).await;
    let rows: Vec<String> = (0..KEYS)
        .map(|id| format!("({id}, '{}', 'first')", REGIONS[id as usize % 4]))
        .collect();
    scene
        .exec(A, &format!("INSERT INTO contact VALUES {}", rows.join(", ")))
        .await;
    scene.start().await;
    assert_eq!(
        scene.b.count("contact").await,
        KEYS as i64 / 2,
        "the first copy takes what is sent"
    );
    let mut random = Random::new("rows that move in and out, each way");
    let (on_a, on_b) = (random.fork(), random.fork());
    tokio::join!(
        storm(&scene, A, on_a, updates / 2),
        storm(&scene, B, on_b, updates / 2)
    );
    scene.crossed_within(LIMIT * 4).await;
    let rows = quiet(&scene).await;
    let wrong = wrong(&rows);
    assert!(wrong.is_empty(), "{} rows: {wrong:#?}", wrong.len());
    for region in &REGIONS[..3] {
        let count = rows[0].values().filter(|row| row[0] == *region).count();
        assert!(count > 20, "{count} rows of {region} at the end");
    }
}
