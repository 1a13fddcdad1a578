//! Both sides write the same rows at the same time: they end equal, and no write vanishes without a trace.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use harness::Session;
use scenario::{Pair, Random, Scene, Side, Table, Way};

all_pairs! {
    no_write_vanishes => contested;
}

const HOT: Table = Table {
    name: "hot",
    body: "id int NOT NULL PRIMARY KEY, payload varchar(40) NOT NULL",
    key: &["id"],
    columns: &["payload"],
};

const KEYS: u64 = 200;
const WRITE_FOR: Duration = Duration::from_secs(10);
const WRITERS: usize = 2;

/// One committed write: what stood there, and what the writer put in its place. This is what a log of the writers'
/// own transactions says.
#[derive(Debug)]
struct Entry {
    key: u64,
    before: Option<String>,
    after: Option<String>,
}

async fn contested(pair: Pair) {
    let mut scene = Scene::new("contested", pair, Way::Merge, &[HOT]).await;
    scene.start().await;
    let mut random = Random::new("contested");
    let mut writers = vec![];
    for side in [Side::A, Side::B] {
        for number in 0..WRITERS {
            let session = scene.db(side).session().await;
            let name = format!("{side:?}{number}");
            writers.push(tokio::spawn(write(session, name, random.fork())));
        }
    }
    let mut log = vec![];
    for writer in writers {
        log.extend(writer.await.unwrap());
    }
    scene.wait_equal().await;

    let rows = scene.a.rows("SELECT payload FROM hot").await;
    let finals: HashSet<String> = rows.into_iter().flatten().flatten().collect();
    let succeeded: HashSet<&String> = log.iter().filter_map(|entry| entry.before.as_ref()).collect();
    let mut recorded = HashSet::new();
    for side in [Side::A, Side::B] {
        for conflict in scene.conflicts(side).await {
            assert_ne!(conflict.outcome, "open", "{conflict:?}");
            let images = [conflict.base, conflict.local, conflict.incoming]
                .into_iter()
                .flatten();
            recorded.extend(images.filter_map(|image| Some(image.get("payload")?.as_str()?.to_owned())));
        }
    }
    let written: Vec<&String> = log.iter().filter_map(|entry| entry.after.as_ref()).collect();
    let vanished: Vec<&&String> = written
        .iter()
        .filter(|p| !finals.contains(**p) && !succeeded.contains(**p) && !recorded.contains(**p))
        .collect();
    let only_recorded = written
        .iter()
        .filter(|p| !finals.contains(**p) && !succeeded.contains(**p))
        .count();
    eprintln!(
        "{} writes, {} final, {only_recorded} told by conflict records alone",
        written.len(),
        finals.len()
    );
    if let Some(first) = vanished.first() {
        let first = (**first).clone();
        panic!(
            "{} of {} writes vanished, such as {first:?}\n{}",
            vanished.len(),
            written.len(),
            story(&scene, &log, &first).await
        );
    }
    assert!(
        finals.iter().all(|p| written.contains(&p)),
        "a payload that nobody wrote"
    );
    // The test could not fail if there had been no contest.
    assert!(
        written.len() > 500 && only_recorded > 10,
        "too tame: {} writes, {only_recorded} lost",
        written.len()
    );
}

/// Everything that is known of the key of a write that vanished.
async fn story(scene: &Scene, log: &[Entry], payload: &str) -> String {
    let of = |entry: &&Entry| entry.after.as_deref() == Some(payload);
    let key = log.iter().find(of).map(|entry| entry.key).unwrap();
    let mut text = format!("key {key}\n");
    for entry in log.iter().filter(|entry| entry.key == key) {
        text += &format!("{entry:?}\n");
    }
    for side in [Side::A, Side::B] {
        let records = format!(
            "SELECT recorded_at, link, kind, operation, rule, outcome, base_json, local_json, incoming_json, \
             local_version, local_origin, incoming_version, incoming_origin, source_position, detail \
             FROM tidelock.conflict WHERE sync = '{}' AND key_json LIKE '%{key}%' ORDER BY number",
            scene.sync
        );
        let row = format!("SELECT * FROM hot WHERE id = {key}");
        for sql in [records, row] {
            for row in scene.db(side).rows(&sql).await {
                text += &format!("{side:?}: {row:?}\n");
            }
        }
    }
    text
}

/// Writes a random key again and again; a refused transaction (deadlock, a key taken meanwhile) is not in the log.
async fn write(mut session: Session, name: String, mut random: Random) -> Vec<Entry> {
    let start = Instant::now();
    let mut log = vec![];
    while start.elapsed() < WRITE_FOR {
        let payload = format!("{name} {}", log.len());
        match transaction(&mut session, &payload, &mut random).await {
            Ok(entry) => log.push(entry),
            Err(_) => session.exec("ROLLBACK").await,
        }
        tokio::time::sleep(Duration::from_millis(random.below(8))).await;
    }
    log
}

async fn transaction(session: &mut Session, payload: &str, random: &mut Random) -> Result<Entry, String> {
    let key = random.below(KEYS);
    session.try_exec("BEGIN").await?;
    let found = session
        .try_rows(&format!("SELECT payload FROM hot WHERE id = {key} FOR UPDATE"))
        .await?;
    let before = found.into_iter().flatten().flatten().next();
    let after = Some(payload.to_owned());
    let (statement, after) = match (&before, random.below(10)) {
        (None, _) => (
            format!("INSERT INTO hot (id, payload) VALUES ({key}, '{payload}')"),
            after,
        ),
        (Some(_), 0..=1) => (format!("DELETE FROM hot WHERE id = {key}"), None),
        (Some(_), 2) => (
            format!(
                "DELETE FROM hot WHERE id = {key}; INSERT INTO hot (id, payload) VALUES ({key}, '{payload}')"
            ),
            after,
        ),
        (Some(_), _) => (
            format!("UPDATE hot SET payload = '{payload}' WHERE id = {key}"),
            after,
        ),
    };
    for statement in statement.split(';') {
        session.try_exec(statement).await?;
    }
    session.try_exec("COMMIT").await?;
    Ok(Entry { key, before, after })
}
