//! Every type of an engine, there and back: its edge values go from a server of the engine to one of another and from
//! there to a second one of the first, through the first copy and through the stream.
//!
//! What comes back is held against what was written as the two servers of one engine print it, so no meaning of a value
//! is written down here. The table between is what `schema::create` makes of the first one. What the engine between cannot hold is
//! an open refusal that names the column, and no other row is missing.
#![allow(clippy::unwrap_used)]

#[path = "typematrix/binary.rs"]
mod binary;
mod harness;
#[path = "typematrix/lossy.rs"]
mod lossy;
#[path = "typematrix/page.rs"]
mod page;
mod scenario;
#[path = "typematrix/types.rs"]
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{Db, Kind, Tidelock, access, database, eventually, peer};
use tidelock::model::schema::{Engine, Table, TableId};
use tidelock::schema::create;
use tidelock::{mysql, postgres};
use types::{MARIADB, MYSQL, ONLY_MYSQL, POSTGRES, PRELUDE, Same, Type};

const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres18_through_mysql() {
    there_and_back(Kind::Postgres18, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_through_postgres18() {
    there_and_back(Kind::Mysql, Kind::Postgres18).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres15_through_mariadb() {
    there_and_back(Kind::Postgres15, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_through_postgres15() {
    there_and_back(Kind::Mariadb, Kind::Postgres15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres18_through_postgres15() {
    there_and_back(Kind::Postgres18, Kind::Postgres15).await;
}

/// MariaDB has all types of MySQL, and some values of MySQL's DOUBLE it has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_through_mariadb() {
    there_and_back(Kind::Mysql, Kind::Mariadb).await;
}

fn engine(kind: Kind) -> Engine {
    match kind {
        Kind::Mysql => Engine::Mysql,
        Kind::Mariadb => Engine::Mariadb,
        _ => Engine::Postgres,
    }
}

fn types_of(kind: Kind) -> Vec<Type> {
    match engine(kind) {
        Engine::Postgres => POSTGRES.to_vec(),
        Engine::Mysql => [MYSQL, ONLY_MYSQL].concat(),
        Engine::Mariadb => [MYSQL, MARIADB].concat(),
    }
}

/// Ids by the way a row takes.
const COPIED: usize = 1_000;
const INSERTED: usize = 2_000;
const UPDATED: usize = 3_000;
const REFUSED_COPY: usize = 5_000;
const REFUSED_INSERT: usize = 6_000;
const REFUSED_UPDATE: usize = 7_000;
const LAST: usize = 9_999;

/// One way: `a` to `b` by one sync, `b` to `c` by another.
struct Way {
    a: Db,
    b: Db,
    c: Db,
    types: Vec<Type>,
    lock: Tidelock,
}

fn column(number: usize) -> String {
    format!("c{number:02}")
}

async fn there_and_back(from: Kind, through: Kind) {
    let mut way = Way::new(from, through).await;
    way.exec(&way.rows(COPIED, REFUSED_COPY)).await;
    way.configure(1);
    way.lock.ok(&["setup", "--execute"]).await;
    way.lock.ok(&["run", "--once"]).await;
    way.configure(2);
    way.lock.ok(&["setup", "--execute"]).await;
    way.lock.spawn();
    let started = format!("tidelock.checkpoint WHERE sync = '{}' AND seq >= 0", way.sync(2));
    eventually(LIMIT, "the second copy", async || {
        way.c.count(&started).await == 1
    })
    .await;
    way.exec(&way.streamed()).await;
    let last = format!("m WHERE id = {LAST}");
    eventually(LIMIT, "what was written last", async || {
        assert!(way.lock.running(), "tidelock has ended by itself");
        way.c.count(&last).await == 1
    })
    .await;
    let mut wrong = way.differences().await;
    wrong.extend(way.refusals().await);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

impl Way {
    async fn new(from: Kind, through: Kind) -> Way {
        let b = database(through, "there").await;
        let (a, c) = (database(from, "from").await, peer(from, "back").await);
        let way = Way {
            types: types_of(from),
            lock: Tidelock::new(""),
            a,
            b,
            c,
        };
        for db in [&way.a, &way.b, &way.c] {
            if db.kind().is_postgres() {
                db.exec(PRELUDE).await;
            }
        }
        let is_one_engine = engine(from) == engine(through);
        let columns = |end: bool| {
            let declared = way.types.iter().enumerate().map(|(number, ty)| {
                let name = ty
                    .end
                    .filter(|ty| end && (!is_one_engine || *ty == "integer"))
                    .unwrap_or(ty.name);
                format!(", {} {name}", column(number))
            });
            declared.collect::<String>()
        };
        for (db, end) in [(&way.a, false), (&way.c, true)] {
            db.exec(&format!(
                "CREATE TABLE m (id int NOT NULL PRIMARY KEY{})",
                columns(end)
            ))
            .await;
        }
        let made = create::plain(&table(&way.a).await, engine(from), &id(&way.b), engine(through));
        way.b.exec(&made.unwrap()).await;
        way
    }

    fn sync(&self, number: usize) -> String {
        format!("{}_{number}", self.a.name())
    }

    /// With the first sync, or with both.
    fn configure(&self, syncs: usize) {
        let nodes = [("a", &self.a), ("b", &self.b), ("c", &self.c)];
        let mut config = "version = 1\n".to_owned();
        for (name, db) in nodes.iter().take(syncs + 1) {
            config.push_str(&format!("[node.{name}]\n{}\n", db.node()));
        }
        for (number, (from, to)) in [("a", "b"), ("b", "c")].iter().enumerate().take(syncs) {
            config.push_str(&format!(
                "[[sync]]\nname = \"{}\"\nnodes = [\"{from}\", \"{to}\"]\nmode = \"transactional\"\nfrom = \"{from}\"\n\
                 tables = [\"m\"]\nseed = \"from:{from}\"\n",
                self.sync(number + 1)
            ));
        }
        self.lock.configure(&config);
    }

    /// Under the lax rules by which odd values came to be.
    async fn exec(&self, statements: &[String]) {
        let mut session = self.a.session().await;
        if !self.a.kind().is_postgres() {
            session
                .exec("SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
                .await;
        }
        for statement in statements {
            session.exec(statement).await;
        }
    }

    /// Number of the column, and what `b` refuses of it.
    fn refused(&self) -> Vec<(usize, &'static str)> {
        if engine(self.a.kind()) == engine(self.b.kind()) {
            return Vec::new();
        }
        let of = |(number, ty): (usize, &Type)| {
            let by = ty.refused_by.iter().filter(|(kind, _)| *kind == self.b.kind());
            // MySQL's odd dates and texts are odd to PostgreSQL only.
            let always = ty.refused.iter().filter(|_| self.crosses());
            let literals = always.chain(by.map(|(_, literal)| literal));
            literals.map(|literal| (number, *literal)).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.types.iter().enumerate().flat_map(of).collect();
        match (self.a.kind(), self.b.kind()) {
            (Kind::Mysql, Kind::Mariadb) => {
                let zero = self.types.iter().position(|ty| ty.values == ["-0e0"]).unwrap();
                vec![(zero, "-0e0")]
            }
            _ => all,
        }
    }

    fn crosses(&self) -> bool {
        self.a.kind().is_postgres() != self.b.kind().is_postgres()
    }

    /// All that pass, of one type.
    fn passing(&self, ty: &Type) -> Vec<&'static str> {
        let mut all = ty.values.to_vec();
        if !self.crosses() {
            all.extend(ty.refused);
        }
        let by = ty.refused_by.iter().filter(|(kind, _)| *kind != self.b.kind());
        all.extend(by.map(|(_, literal)| literal));
        let refused = self.refused();
        all.retain(|literal| {
            !refused
                .iter()
                .any(|(number, other)| other == literal && self.types[*number].name == ty.name)
        });
        all
    }

    fn insert(&self, id: usize, cells: &[(usize, &str)]) -> String {
        let names: String = cells
            .iter()
            .map(|(number, _)| format!(", {}", column(*number)))
            .collect();
        let values: String = cells.iter().map(|(_, literal)| format!(", {literal}")).collect();
        // Of PostgreSQL: a text is no array, range or address by itself, and an identity takes what it is given.
        format!("INSERT INTO m (id{names}) VALUES ({id}{values})")
    }

    /// The values of all types, row by row; then one row for each that is refused.
    fn rows(&self, first: usize, refused: usize) -> Vec<String> {
        let mut list = Vec::new();
        for (n, cells) in self.sets().iter().enumerate() {
            list.push(self.insert(first + n, cells));
        }
        list.push(self.insert(first + 999, &[]));
        for (n, cell) in self.refused().iter().enumerate() {
            list.push(self.insert(refused + n, &[*cell]));
        }
        list
    }

    fn sets(&self) -> Vec<Vec<(usize, &'static str)>> {
        let values: Vec<Vec<&str>> = self.types.iter().map(|ty| self.passing(ty)).collect();
        let most = values.iter().map(Vec::len).max().unwrap();
        let of = |n: usize| {
            let cells = values.iter().enumerate().filter(|(_, values)| !values.is_empty());
            cells
                .map(|(number, values)| (number, values[n % values.len()]))
                .collect()
        };
        (0..most).map(of).collect()
    }

    fn streamed(&self) -> Vec<String> {
        let mut list = self.rows(INSERTED, REFUSED_INSERT);
        let set = |(number, literal): &(usize, &str)| format!("{} = {literal}", column(*number));
        for (n, cells) in self.sets().iter().enumerate() {
            list.push(self.insert(UPDATED + n, &[]));
            let cells: Vec<String> = cells.iter().map(set).collect();
            list.push(format!(
                "UPDATE m SET {} WHERE id = {}",
                cells.join(", "),
                UPDATED + n
            ));
        }
        for (n, cell) in self.refused().iter().enumerate() {
            list.push(self.insert(REFUSED_UPDATE + n, &[]));
            list.push(format!(
                "UPDATE m SET {} WHERE id = {}",
                set(cell),
                REFUSED_UPDATE + n
            ));
        }
        list.push(self.insert(LAST, &[]));
        list
    }

    /// What `c` holds against what `a` holds, but for refused rows.
    async fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, ty) in self.types.iter().enumerate() {
            let name = column(number);
            let is_float = ty.name == "float" && !self.a.kind().is_postgres();
            // Printed as it is, MySQL's FLOAT is rounded to six digits.
            let cell = if is_float { format!("{name} + 0e0") } else { name };
            let sql = format!(
                "SELECT id, {cell} FROM m WHERE id NOT BETWEEN {REFUSED_COPY} AND {REFUSED_UPDATE} + 999 ORDER BY id"
            );
            let (left, right) = tokio::join!(self.a.rows(&sql), self.c.rows(&sql));
            let mut right: BTreeMap<_, _> = right
                .into_iter()
                .map(|mut row| (row.remove(0), row.remove(0)))
                .collect();
            for mut row in left {
                let (id, written) = (row.remove(0), row.remove(0));
                // A whole row that is missing is told by its record.
                let Some(came) = right.remove(&id) else { continue };
                if !alike(written.as_deref(), came.as_deref(), ty.same) {
                    wrong.push(format!(
                        "{}: {written:.200?} came as {came:.200?} in row {id:?}",
                        ty.name
                    ));
                }
            }
            if !right.is_empty() {
                wrong.push(format!("{} rows came from nowhere", right.len()));
            }
        }
        wrong
    }

    /// Each refused value is on record at `b`, open and by its column's name; nothing of it has come further.
    async fn refusals(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let refused = self.refused();
        let mut expected: BTreeSet<usize> = BTreeSet::new();
        for way in [REFUSED_COPY, REFUSED_INSERT, REFUSED_UPDATE] {
            expected.extend((0..refused.len()).map(|n| way + n));
        }
        for conflict in scenario::conflicts_of(&self.b, &self.sync(1)).await {
            let id = usize::try_from(conflict.key[0].as_i64().unwrap()).unwrap();
            let named = refused.get(id % 1_000).is_some_and(|(number, _)| {
                conflict
                    .detail
                    .contains(&format!("column {:?}:", column(*number)))
            });
            let is_told = conflict.kind == "value_refused" && conflict.outcome == "open" && named;
            if !expected.remove(&id) || !is_told {
                wrong.push(format!("on record: row {id}: {}", conflict.detail));
            }
        }
        let literal = |id: &usize| {
            let (number, literal) = refused[id % 1_000];
            format!("{literal} of {} ({id}) was not refused", self.types[number].name)
        };
        wrong.extend(expected.iter().map(literal));
        for conflict in scenario::conflicts_of(&self.c, &self.sync(2)).await {
            wrong.push(format!(
                "on the way back: row {}: {}",
                conflict.key, conflict.detail
            ));
        }
        let all = "m";
        let lost = self.a.count(all).await - self.c.count(all).await;
        let left_out = i64::try_from(refused.len()).unwrap() * 2;
        if lost != left_out {
            wrong.push(format!("{lost} rows did not come, {left_out} should not"));
        }
        let came = format!("m WHERE id BETWEEN {REFUSED_COPY} AND {REFUSED_INSERT} + 999");
        if self.c.count(&came).await != 0 {
            wrong.push("a refused row came through".to_owned());
        }
        for (n, (number, _)) in refused.iter().enumerate() {
            let kept = format!(
                "m WHERE id = {} AND {} IS NULL",
                REFUSED_UPDATE + n,
                column(*number)
            );
            if self.c.count(&kept).await != 1 {
                wrong.push(format!(
                    "{} was changed by a refused update",
                    self.types[*number].name
                ));
            }
        }
        wrong
    }
}

fn id(db: &Db) -> TableId {
    let schema = if db.kind().is_postgres() {
        "public"
    } else {
        db.name()
    };
    TableId::new(schema, "m")
}

/// The table as the program's own catalog knows it.
async fn table(db: &Db) -> Table {
    let (access, ids) = (access("here", &db.url()), [id(db)]);
    let mut found = match db.kind().is_postgres() {
        true => postgres::catalog::tables(&postgres::connect(&access).await.unwrap(), &ids).await,
        false => mysql::catalog::tables(&mut mysql::connect(&access).await.unwrap(), &ids).await,
    }
    .unwrap();
    found.pop().unwrap().unwrap().table
}

fn alike(left: Option<&str>, right: Option<&str>, same: Same) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return left == right;
    };
    let number = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match same {
        Same::Text => left == right,
        Same::Number => number(left) == number(right),
        Same::Json => {
            let read = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
            left == right || read(left) == read(right)
        }
    }
}
