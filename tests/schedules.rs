//! The schedules of the simulation (`src/merge/simulation/script.rs`) on real servers, with the real program between:
//! it is killed, its links rest, and users write meanwhile. In the end both sides are equal, and of all that was
//! written nothing is gone but what somebody saw when replacing it, or what a conflict records.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

#[allow(dead_code, unreachable_pub)]
#[path = "../src/merge/simulation/script.rs"]
mod script;

use harness::Session;
use scenario::{Conflict, Pair, Scene, Side, Table, Way};
use script::{Random, Script, Statement, Step, What};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

all_pairs! {
    schedules_end_equal_and_nothing_is_lost_unrecorded => schedules_end_equal_and_nothing_is_lost_unrecorded;
}

/// Schedules that run beside each other, each on keys of its own.
const BESIDE: usize = 4;
const STEPS: usize = 26;
const TRIES_MAX: usize = 50;
const BODY: &str =
    "id bigint NOT NULL PRIMARY KEY, phone bigint NOT NULL, mail bigint NOT NULL, stock bigint NOT NULL";
const COLUMNS: &[&str] = &["phone", "mail", "stock"];

const fn table(name: &'static str) -> Table {
    Table {
        name,
        body: BODY,
        key: &["id"],
        columns: COLUMNS,
    }
}

const NEWEST: Table = table("t_newest");
const MERGED: Table = table("t_merged");
const TRUTH: Table = table("t_truth");
const LIVES: Table = table("t_lives");
const TABLES: [Table; 4] = [NEWEST, MERGED, TRUTH, LIVES];
const RULES: &str = "[sync.table.t_merged]\non_conflict = \"columns\"\ncolumn.stock = { on_conflict = \"delta\" }\n\
                     [sync.table.t_truth]\non_conflict = \"source-of-truth:a\"\n\
                     [sync.table.t_lives]\non_delete_conflict = \"update\"\n";

/// What users did with one table.
#[derive(Clone, Default)]
struct Known {
    /// Values that a user saw when replacing or deleting them: key, column, value.
    replaced: BTreeSet<(i64, &'static str, i64)>,
    added: BTreeMap<i64, i64>,
    /// Keys that came, went or moved.
    unsteady: BTreeSet<i64>,
    /// By value of `phone`: what its writer had seen in its place.
    parents: BTreeMap<i64, i64>,
    written: BTreeMap<i64, Vec<i64>>,
    /// By key: values of `phone` in rows that were deleted or moved away.
    deleted: BTreeMap<i64, Vec<i64>>,
    /// By key: what a user of node a wrote last; `None`: deleted.
    truth: BTreeMap<i64, Option<i64>>,
}

/// phone, mail, stock
type Cells = [i64; 3];

struct User<'a> {
    session: &'a mut Session,
    table: &'static str,
    side: Side,
    /// Of this schedule's keys.
    base: i64,
    keeps: bool,
}

impl User<'_> {
    /// Until it commits: appliers and users deadlock now and then, and a key may be taken meanwhile.
    async fn transact(&mut self, statements: &[Statement], known: &mut Known, last: &mut i64) {
        for _ in 0..TRIES_MAX {
            let mut draft = known.clone();
            match self.attempt(statements, &mut draft, last).await {
                Ok(()) => {
                    *known = draft;
                    return;
                }
                Err(_) => self.session.exec("ROLLBACK").await,
            }
        }
        panic!("a transaction of {} never commits", self.table);
    }

    async fn attempt(
        &mut self,
        statements: &[Statement],
        known: &mut Known,
        last: &mut i64,
    ) -> Result<(), String> {
        self.session.try_exec("BEGIN").await?;
        for statement in statements {
            self.write(statement, known, last).await?;
        }
        self.session.try_exec("COMMIT").await
    }

    async fn seen(&mut self, key: i64) -> Result<Option<Cells>, String> {
        let sql = format!(
            "SELECT phone, mail, stock FROM {} WHERE id = {key} FOR UPDATE",
            self.table
        );
        let rows = self.session.try_rows(&sql).await?;
        Ok(rows.first().map(|row| cells(row)))
    }

    async fn write(
        &mut self,
        statement: &Statement,
        known: &mut Known,
        last: &mut i64,
    ) -> Result<(), String> {
        let (table, key, to) = (self.table, self.base + statement.key, self.base + statement.to);
        *last += 1;
        let fresh = *last;
        let Some(seen) = self.seen(key).await? else {
            if self.keeps {
                return Ok(());
            }
            self.came(known, key, fresh);
            let sql =
                format!("INSERT INTO {table} (id, phone, mail, stock) VALUES ({key}, {fresh}, {fresh}, 0)");
            return self.session.try_exec(&sql).await;
        };
        match statement.what {
            What::Delete if !self.keeps => {
                self.went(known, key, seen);
                let sql = format!("DELETE FROM {table} WHERE id = {key}");
                self.session.try_exec(&sql).await
            }
            What::Move if !self.keeps => {
                if to == key || self.seen(to).await?.is_some() {
                    return Ok(());
                }
                self.went(known, key, seen);
                self.came(known, to, fresh);
                let sql =
                    format!("UPDATE {table} SET id = {to}, phone = {fresh}, mail = {fresh} WHERE id = {key}");
                self.session.try_exec(&sql).await
            }
            What::Delete | What::Move | What::Update => {
                let sql = self.update(statement, known, key, seen, fresh);
                self.session.try_exec(&sql).await
            }
        }
    }

    fn update(&self, statement: &Statement, known: &mut Known, key: i64, seen: Cells, fresh: i64) -> String {
        let (phone, mail, stock) = match self.table == MERGED.name {
            true => statement.columns,
            false => (true, true, false),
        };
        let mut set = Vec::new();
        for (column, is_set, place) in [("phone", phone, 0), ("mail", mail, 1)] {
            if is_set {
                known.replaced.insert((key, column, seen[place]));
                set.push(format!("{column} = {fresh}"));
            }
        }
        if phone {
            known.parents.insert(fresh, seen[0]);
            known.written.entry(key).or_default().push(fresh);
            self.wrote(known, key, Some(fresh));
        }
        if stock {
            *known.added.entry(key).or_default() += statement.add;
            set.push(format!("stock = stock + {}", statement.add));
        }
        format!("UPDATE {} SET {} WHERE id = {key}", self.table, set.join(", "))
    }

    fn came(&self, known: &mut Known, key: i64, fresh: i64) {
        known.unsteady.insert(key);
        known.written.entry(key).or_default().push(fresh);
        self.wrote(known, key, Some(fresh));
    }

    fn went(&self, known: &mut Known, key: i64, seen: Cells) {
        known.unsteady.insert(key);
        known.replaced.insert((key, "phone", seen[0]));
        known.replaced.insert((key, "mail", seen[1]));
        known.deleted.entry(key).or_default().push(seen[0]);
        self.wrote(known, key, None);
    }

    fn wrote(&self, known: &mut Known, key: i64, phone: Option<i64>) {
        if self.side == Side::A {
            known.truth.insert(key, phone);
        }
    }
}

fn cells(row: &[Option<String>]) -> Cells {
    let cell = |place: usize| row[place].as_ref().unwrap().parse().unwrap();
    [cell(0), cell(1), cell(2)]
}

async fn schedules_end_equal_and_nothing_is_lost_unrecorded(pair: Pair) {
    let seed = std::env::var("TIDELOCK_TEST_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok()).unwrap_or(1);
    // Shown when the test fails.
    eprintln!("schedules: TIDELOCK_TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut scene = Scene::new("sched", pair, Way::Merge, &TABLES).await;
    scene.configure("from:a", RULES);
    let mut last = 1000;
    for table in TABLES {
        let rows = keys().map(|key| format!("({key}, {}, {}, 0)", key + 100, key + 100));
        let rows = rows.collect::<Vec<_>>().join(", ");
        scene
            .exec(Side::A, &format!("INSERT INTO {} VALUES {rows}", table.name))
            .await;
    }
    scene.start().await;
    scene.wait_equal().await;
    let mut known = TABLES.map(|_| Known::default());
    let scripts: Vec<Script> = (0..BESIDE).map(|_| Script::draw(&mut random)).collect();
    let mut sessions = [session(&scene, Side::A).await, session(&scene, Side::B).await];
    let mut links = Links::default();
    for _ in 0..STEPS {
        match scripts[0].step(&mut random) {
            Step::Write => {}
            step => links.go(&mut scene, step, &mut random).await,
        }
        for ((place, table), (number, script)) in TABLES
            .iter()
            .enumerate()
            .flat_map(|table| scripts.iter().enumerate().map(move |script| (table, script)))
        {
            let node = random.below(2);
            let mut user = User {
                session: &mut sessions[node],
                table: table.name,
                side: [Side::A, Side::B][node],
                base: base(number),
                keeps: script.keeps,
            };
            user.transact(&random.transaction(), &mut known[place], &mut last)
                .await;
        }
    }
    links.all(&mut scene).await;
    scene.wait_equal().await;
    for (table, known) in TABLES.iter().zip(&known) {
        judge(&scene, table.name, known).await;
    }
}

async fn session(scene: &Scene, side: Side) -> Session {
    let mut session = scene.db(side).session().await;
    if !scene.db(side).kind().is_postgres() {
        // Locks of gaps would make users wait for each other's new keys.
        session
            .exec("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .await;
    }
    session
}

fn base(schedule: usize) -> i64 {
    10 * schedule as i64
}

fn keys() -> impl Iterator<Item = i64> {
    // Of three keys two stand in the beginning.
    (0..BESIDE).flat_map(|schedule| [base(schedule), base(schedule) + 1])
}

/// What of the program is there.
#[derive(Default)]
struct Links {
    is_down: bool,
    paused: Option<&'static str>,
}

impl Links {
    async fn go(&mut self, scene: &mut Scene, step: Step, random: &mut Random) {
        match step {
            Step::Deliver => self.up(scene).await,
            Step::Restart if !self.is_down => {
                scene.lock.kill9().await;
                self.is_down = true;
            }
            Step::Idle => match self.paused.take() {
                Some(link) => self.order(scene, "resume", link).await,
                None => {
                    let link = ["a->b", "b->a"][random.below(2)];
                    self.order(scene, "pause", link).await;
                    self.paused = Some(link);
                }
            },
            Step::Collect if !self.is_down && self.paused.is_none() => scene.crossed().await,
            Step::Write | Step::Restart | Step::Race | Step::Collect => {}
        }
    }

    async fn up(&mut self, scene: &mut Scene) {
        if std::mem::take(&mut self.is_down) {
            scene.run().await;
        }
    }

    async fn order(&self, scene: &Scene, what: &str, link: &str) {
        scene.lock.ok(&[what, &format!("{}/{link}", scene.sync)]).await;
    }

    async fn all(&mut self, scene: &mut Scene) {
        if let Some(link) = self.paused.take() {
            self.order(scene, "resume", link).await;
        }
        self.up(scene).await;
    }
}

async fn judge(scene: &Scene, table: &str, known: &Known) {
    let sql = format!("SELECT phone, mail, stock, id FROM {table}");
    let rows = scene.db(Side::A).rows(&sql).await;
    let rows: BTreeMap<i64, Cells> = rows
        .iter()
        .map(|row| (row[3].as_ref().unwrap().parse().unwrap(), cells(row)))
        .collect();
    let recorded = recorded(scene, table).await;
    for (key, written) in &known.written {
        let stands = rows.get(key).map(|row| row[0]);
        let is_gone =
            |value: &&i64| Some(**value) != stands && !known.replaced.contains(&(*key, "phone", **value));
        for value in written.iter().filter(is_gone) {
            let is_told = recorded.get(key).is_some_and(|values| values.contains(value));
            assert!(is_told, "{table} {key}: {value} is gone, and no conflict says so");
        }
    }
    let is_merged = table == MERGED.name;
    for (key, row) in &rows {
        let is_steady = !known.unsteady.contains(key);
        for (column, value) in [("phone", row[0]), ("mail", row[1])] {
            let is_judged = is_steady || !is_merged;
            let is_old = known.replaced.contains(&(*key, column, value));
            assert!(
                !(is_judged && is_old),
                "{table} {key}: {column} {value} had been replaced"
            );
        }
        let sum = known.added.get(key).copied().unwrap_or(0);
        assert!(
            !(is_merged && is_steady) || row[2] == sum,
            "{table} {key}: {} is not {sum}",
            row[2]
        );
    }
    if table == TRUTH.name {
        judge_truth(known, &rows);
    }
}

/// What the truth wrote last stands, or what came of it; or somebody deleted it who had seen it.
fn judge_truth(known: &Known, rows: &BTreeMap<i64, Cells>) {
    for (key, wrote) in &known.truth {
        let Some(wrote) = wrote else { continue };
        let seen = known.deleted.get(key).into_iter().flatten().copied();
        let mut values = seen.chain(rows.get(key).map(|row| row[0]));
        let descends = |value: i64| {
            let parents = std::iter::successors(Some(value), |value| known.parents.get(value).copied());
            parents.into_iter().any(|value| value == *wrote)
        };
        assert!(
            values.any(descends),
            "{key}: the truth wrote {wrote}, and nothing came of it"
        );
    }
}

/// By key: every number in the images of its conflicts, on either side.
async fn recorded(scene: &Scene, table: &str) -> BTreeMap<i64, BTreeSet<i64>> {
    let mut all: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for side in [Side::A, Side::B] {
        for conflict in scene.conflicts(side).await {
            if conflict.table == table {
                let key = conflict.key[0].as_i64().unwrap();
                all.entry(key).or_default().extend(values(&conflict));
            }
        }
    }
    all
}

fn values(conflict: &Conflict) -> Vec<i64> {
    let images = [&conflict.base, &conflict.local, &conflict.incoming];
    let rows = images.into_iter().flatten().filter_map(Json::as_object);
    let cells = rows.flat_map(|row| row.values());
    let numbers = cells.filter_map(|cell| cell.as_i64().or_else(|| cell.as_str()?.parse().ok()));
    numbers.collect()
}
