//! Several nodes write the same few rows at the same time, and every write is asked for afterwards.
//!
//! Owns: the table, and the writers, which tell what they committed and what stood there before. What became of it all
//! is `account`'s matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Db, Session};

use super::{Random, Scene, Side, Table};

pub const HOT: Table = Table {
    name: "hot",
    body: "id int NOT NULL PRIMARY KEY, payload varchar(40) NOT NULL, phone varchar(40), mail varchar(40), units bigint NOT NULL",
    key: &["id"],
    columns: &["payload", "phone", "mail", "units"],
};

/// Rules under which no increment and no change of one column alone is lost.
pub const MERGED: &str = "[sync.table.hot]\ncolumn.units = { on_conflict = \"delta\" }\n\
    column.phone = { on_conflict = \"columns\" }\ncolumn.mail = { on_conflict = \"columns\" }";

/// Rows of every fourth key are never deleted.
pub fn is_steady(key: u64) -> bool {
    key.is_multiple_of(4)
}

/// Where it is fought; the first node is the table's arbiter.
pub struct Field<'a> {
    pub nodes: Vec<&'a Db>,
    pub sync: &'a str,
}

impl<'a> From<&'a Scene> for Field<'a> {
    fn from(scene: &'a Scene) -> Self {
        let nodes = [Side::A, Side::B].map(|side| scene.db(side)).to_vec();
        let sync = &scene.sync;
        Field { nodes, sync }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    Passed(Duration),
    /// Written by all nodes together.
    Written(i64),
}

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub keys: u64,
    pub until: Until,
    /// On each node.
    pub writers: usize,
    /// The longest pause of a writer between two writes.
    pub pause_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub payload: String,
    pub phone: String,
    pub mail: String,
    pub units: i64,
}

/// One committed write: what stood there, and what the writer put in its place. This is what a log of the writers'
/// own transactions says.
#[derive(Debug)]
pub struct Entry {
    /// The place of the node where it was written.
    pub node: usize,
    pub key: u64,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// All that was committed, over several loads.
#[derive(Debug, Default)]
pub struct Log {
    pub entries: Vec<Entry>,
    loads: usize,
}

struct Ends {
    start: Instant,
    until: Until,
    left: AtomicI64,
}

impl Ends {
    fn new(until: Until) -> Self {
        let left = match until {
            Until::Passed(_) => i64::MAX,
            Until::Written(writes) => writes,
        };
        let (start, left) = (Instant::now(), AtomicI64::new(left));
        Self { start, until, left }
    }

    fn is_over(&self) -> bool {
        match self.until {
            Until::Passed(time) => self.start.elapsed() >= time,
            Until::Written(_) => self.left.load(Ordering::Relaxed) <= 0,
        }
    }
}

/// A row for each key, on the first node.
pub async fn plant(field: &Field<'_>, keys: u64, log: &mut Log) {
    let planted = |key: u64| Row {
        payload: format!("planted {key}"),
        phone: format!("phone {key}"),
        mail: format!("mail {key}"),
        units: 0,
    };
    let rows = (0..keys)
        .map(|key| values(key, &planted(key)))
        .collect::<Vec<_>>();
    let sql = format!("INSERT INTO hot VALUES {}", rows.join(", "));
    field.nodes[0].exec(&sql).await;
    log.entries.extend((0..keys).map(|key| Entry {
        node: 0,
        key,
        before: None,
        after: Some(planted(key)),
    }));
}

/// Writes from all nodes until it is enough.
pub async fn write(field: &Field<'_>, load: Load, random: &mut Random, log: &mut Log) {
    let ends = Arc::new(Ends::new(load.until));
    log.loads += 1;
    let mut writers = vec![];
    for (node, db) in field.nodes.iter().enumerate() {
        for number in 0..load.writers {
            let writer = Writer {
                session: db.session().await,
                node,
                name: format!("n{node}w{number} {}", log.loads),
                written: 0,
                random: random.fork(),
            };
            writers.push(tokio::spawn(writer.work(load, Arc::clone(&ends))));
        }
    }
    for writer in writers {
        log.entries.extend(writer.await.unwrap());
    }
}

struct Writer {
    session: Session,
    node: usize,
    name: String,
    written: usize,
    random: Random,
}

impl Writer {
    /// Writes a random key again and again; a refused transaction (deadlock, a key taken meanwhile) is not in the log.
    async fn work(mut self, load: Load, ends: Arc<Ends>) -> Vec<Entry> {
        let mut entries = vec![];
        while !ends.is_over() {
            match self.transaction(load.keys).await {
                Ok(entry) => {
                    entries.push(entry);
                    self.written += 1;
                    ends.left.fetch_sub(1, Ordering::Relaxed);
                }
                Err(_) => self.session.exec("ROLLBACK").await,
            }
            if load.pause_ms > 0 {
                tokio::time::sleep(Duration::from_millis(self.random.below(load.pause_ms))).await;
            }
        }
        entries
    }

    async fn transaction(&mut self, keys: u64) -> Result<Entry, String> {
        let key = self.random.below(keys);
        self.session.try_exec("BEGIN").await?;
        let sql = format!("SELECT payload, phone, mail, units FROM hot WHERE id = {key} FOR UPDATE");
        let found = self.session.try_rows(&sql).await?;
        let before = found.into_iter().next().map(row);
        let gone = format!("DELETE FROM hot WHERE id = {key}");
        let (statements, after) = match (&before, self.random.below(10)) {
            (None, _) => self.insert(key),
            (Some(_), 0..=1) if !is_steady(key) => (vec![gone], None),
            (Some(_), 2) if !is_steady(key) => {
                let (insert, after) = self.insert(key);
                ([vec![gone], insert].concat(), after)
            }
            (Some(before), _) => self.update(key, before),
        };
        for statement in statements {
            self.session.try_exec(&statement).await?;
        }
        self.session.try_exec("COMMIT").await?;
        Ok(Entry {
            node: self.node,
            key,
            before,
            after,
        })
    }

    fn insert(&mut self, key: u64) -> (Vec<String>, Option<Row>) {
        let text = format!("{} {}", self.name, self.written);
        let row = Row {
            payload: text.clone(),
            phone: text.clone(),
            mail: text,
            units: self.random.below(100) as i64,
        };
        (
            vec![format!("INSERT INTO hot VALUES {}", values(key, &row))],
            Some(row),
        )
    }

    /// The payload each time, the counter by what is added, and one of the other columns or none.
    fn update(&mut self, key: u64, before: &Row) -> (Vec<String>, Option<Row>) {
        let text = format!("{} {}", self.name, self.written);
        let more = self.random.below(13) as i64 - 4;
        let mut after = Row {
            payload: text.clone(),
            units: before.units + more,
            ..before.clone()
        };
        let mut sets = format!("payload = '{text}', units = units + {more}");
        match self.random.below(3) {
            0 => {
                after.phone.clone_from(&text);
                sets += &format!(", phone = '{text}'");
            }
            1 => {
                after.mail.clone_from(&text);
                sets += &format!(", mail = '{text}'");
            }
            _ => {}
        }
        (
            vec![format!("UPDATE hot SET {sets} WHERE id = {key}")],
            Some(after),
        )
    }
}

fn values(key: u64, row: &Row) -> String {
    let Row {
        payload,
        phone,
        mail,
        units,
    } = row;
    format!("({key}, '{payload}', '{phone}', '{mail}', {units})")
}

pub fn row(cells: Vec<Option<String>>) -> Row {
    let cell = |at: usize| cells[at].clone().unwrap_or_default();
    Row {
        payload: cell(0),
        phone: cell(1),
        mail: cell(2),
        units: cell(3).parse().unwrap(),
    }
}
