//! Must show: expressions at random over rows at the edges give the same on PostgreSQL, on MySQL, on MariaDB and here, or
//! are refused before anything is asked of a row.
//!
//! The servers are asked in the words that a first copy uses to leave rows out (`expr::server`), so what is shown here holds
//! for it too. `SEED=n` tries others; a failure prints the seed and the expression.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "expressions/edges.rs"]
mod edges;
mod harness;
#[path = "expressions/written.rs"]
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edges::ROWS;
use harness::{Db, Kind, access, database};
use tidelock::access::SourceOptions;
use tidelock::chunk::Range;
use tidelock::engine::Snapshot;
use tidelock::expr::{Expr, Filter, Formula, Kind as Meaning};
use tidelock::model::schema::{Engine, Table, TableId};
use tidelock::model::sync::Mode;
use tidelock::model::value::{Row, Value};
use tidelock::mysql::Flavor;
use tidelock::{mysql, postgres};
use written::Random;

const EXPRESSIONS: usize = 1_500;
/// Those must be answered by PostgreSQL and MySQL.
const ANSWERED_MIN: usize = 500;
const REFUSED: usize = 200;
/// In one SELECT.
const AT_ONCE: usize = 50;

/// Results by the row's id; `None` is NULL.
type Column = BTreeMap<String, Option<String>>;

struct Side {
    db: Db,
    engine: Engine,
    table: Table,
    options: SourceOptions,
    rows: Vec<Row>,
}

/// What a first copy reads.
async fn read(engine: Engine, options: &SourceOptions, range: &Range, filter: Option<&Filter>) -> Vec<Row> {
    let mut image = Snapshot::now(engine, options.clone()).await.unwrap();
    let table = &options.tables[0].table;
    image.open_table(table, range, filter).await.unwrap();
    let mut rows = Vec::new();
    loop {
        let more = image.rows(1_000).await.unwrap();
        if more.is_empty() {
            break;
        }
        rows.extend(more);
    }
    image.close().await.unwrap();
    rows
}

fn id(row: &Row) -> String {
    plain(row.get(0).unwrap()).unwrap()
}

impl Side {
    async fn new(kind: Kind, seed: u64) -> Side {
        let db = database(kind, "expressions").await;
        edges::create(&db, seed).await;
        let engine = match kind {
            Kind::Mysql => Engine::Mysql,
            Kind::Mariadb => Engine::Mariadb,
            _ => Engine::Postgres,
        };
        let access = access("node", &db.url());
        let schema = if engine.is_postgres() { "public" } else { db.name() };
        let id = [TableId::new(schema, "edge")];
        let found = if engine.is_postgres() {
            let client = postgres::connect(&access).await.unwrap();
            postgres::catalog::tables(&client, &id).await.unwrap()
        } else {
            let mut conn = mysql::connect(&access).await.unwrap();
            mysql::catalog::tables(&mut conn, &id).await.unwrap()
        };
        let catalog = Arc::new(found.into_iter().next().flatten().unwrap());
        let options = SourceOptions {
            access,
            sync: "s".to_owned(),
            target: "t".to_owned(),
            tables: vec![Arc::clone(&catalog)],
            mode: Mode::Transactional,
            onward: None,
            fresh: true,
            spill: tidelock::spill::Space::default(),
            stream: true,
            keep: None,
        };
        let rows = read(engine, &options, &Range::default(), None).await;
        assert!(rows.len() > ROWS);
        Side {
            db,
            engine,
            table: catalog.table.clone(),
            options,
            rows,
        }
    }

    fn bind(&self, text: &str) -> Result<Formula, String> {
        let expr = Expr::parse(text).map_err(|mistake| mistake.what)?;
        Formula::bind(&expr, &self.table, |name| name).map_err(|unfit| unfit.why)
    }

    fn here(&self, formula: &Formula) -> Column {
        let one = |row: &Row| (id(row), plain(&formula.value(row).unwrap()));
        self.rows.iter().map(one).collect()
    }

    /// As the server is asked; `None`: it has no words for it.
    fn asked(&self, formula: &Formula) -> Option<String> {
        let dialect = |flavor| mysql::sql::expression::Words { flavor };
        let is_truth = formula.kind() == Meaning::Bool;
        let sql = match self.engine {
            Engine::Postgres => formula.written(&self.table, &postgres::sql::expression::Words),
            Engine::Mysql => formula.written(&self.table, &dialect(Flavor::Mysql)),
            Engine::Mariadb => formula.written(&self.table, &dialect(Flavor::Mariadb)),
        }?;
        Some(match (is_truth, self.engine) {
            (true, _) => format!("CASE WHEN {sql} THEN 'true' WHEN NOT ({sql}) THEN 'false' END"),
            (false, Engine::Postgres) => format!("({sql})::text"),
            // ZEROFILL is how a number looks.
            (false, _) if matches!(formula.kind(), Meaning::Number { .. }) => {
                format!("CAST({sql} + 0 AS CHAR)")
            }
            (false, _) => format!("CAST({sql} AS CHAR)"),
        })
    }

    fn pushed(&self, filter: &Filter) -> Option<String> {
        match self.engine {
            Engine::Postgres => postgres::sql::expression::pushed(filter, &self.table),
            Engine::Mysql => mysql::sql::expression::pushed(filter, &self.table, Flavor::Mysql),
            Engine::Mariadb => mysql::sql::expression::pushed(filter, &self.table, Flavor::Mariadb),
        }
    }

    /// How many rows a copy of a range of ids reads, and how many of them the filters take: those that all rows have.
    async fn copied(&self, filters: &[Filter]) -> (usize, usize) {
        let range = Range {
            low: Some(vec!["9".to_owned()]),
            high: Some(vec!["49".to_owned()]),
        };
        let (mut sent, mut taken) = (0, 0);
        for filter in filters {
            let ids = |rows: &[Row]| {
                let taken = rows.iter().filter(|row| filter.matches(row) == Some(true));
                let ids = taken.map(|row| id(row).parse::<usize>().unwrap());
                ids.filter(|id| (10..50).contains(id)).collect::<BTreeSet<_>>()
            };
            let rows = read(self.engine, &self.options, &range, Some(filter)).await;
            assert_eq!(ids(&rows), ids(&self.rows), "{:?}", self.engine);
            (sent, taken) = (sent + rows.len(), taken + ids(&rows).len());
        }
        (sent, taken)
    }

    async fn answers(&self, asked: &[(String, String)]) -> BTreeMap<String, Column> {
        let mut session = self.db.session().await;
        if !self.engine.is_postgres() {
            session
                .exec("SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'")
                .await;
        }
        let mut found: BTreeMap<String, Column> = BTreeMap::new();
        for some in asked.chunks(AT_ONCE) {
            let list: Vec<&str> = some.iter().map(|(_, sql)| sql.as_str()).collect();
            let sql = |list: &str| format!("SELECT t.id, {list} FROM edge AS t");
            let Ok(rows) = session.try_rows(&sql(&list.join(", "))).await else {
                for (text, one) in some {
                    let error = session.try_rows(&sql(one)).await.err();
                    assert_eq!(error, None, "{:?}: {text}\n{one}", self.engine);
                }
                panic!("{:?} takes each of them, and not all together", self.engine);
            };
            for mut row in rows {
                let id = row.remove(0).unwrap();
                for ((text, _), cell) in some.iter().zip(row) {
                    let column = found.entry(text.clone()).or_default();
                    column.insert(id.clone(), cell.map(|cell| normal(&cell)));
                }
            }
        }
        found
    }
}

/// A value as a server's text of it, without what only looks different.
fn plain(value: &Value) -> Option<String> {
    Some(normal(&match value {
        Value::Null => return None,
        Value::Bool(known) => known.to_string(),
        Value::Bit(bits) => (&**bits == "1").to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Decimal(text)
        | Value::Text(text)
        | Value::Date(text)
        | Value::Time(text)
        | Value::Timestamp(text)
        | Value::TimestampTz(text) => text.to_string(),
        other => panic!("{other:?} is no result"),
    }))
}

/// Zeros after the point do not count, and the zone is UTC.
fn normal(text: &str) -> String {
    let (text, era) = match text.strip_suffix(" BC") {
        Some(text) => (text, " BC"),
        None => (text, ""),
    };
    let text = if text.contains(':') {
        text.trim_end_matches("+00")
    } else {
        text
    };
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let text = match text.rsplit_once('.') {
        Some((whole, fraction)) if is_digits(fraction) && whole.ends_with(|c: char| c.is_ascii_digit()) => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{fraction}")
            }
        }
        _ => text.to_owned(),
    };
    let text = if text == "-0" { "0".to_owned() } else { text };
    text + era
}

fn seed() -> u64 {
    std::env::var("SEED").map_or(5, |text| text.parse().expect("a number"))
}

fn expressions(random: &mut Random) -> Vec<String> {
    let mut found = BTreeSet::new();
    while found.len() < EXPRESSIONS {
        found.insert(random.any());
    }
    found.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_give_the_same_on_every_engine_and_here() {
    let seed = seed();
    println!("SEED={seed}");
    let texts = expressions(&mut Random::new(seed));
    let (postgres, mysql, mariadb) = tokio::join!(
        Side::new(Kind::Postgres18, seed),
        Side::new(Kind::Mysql, seed),
        Side::new(Kind::Mariadb, seed)
    );
    let mut wrong = Vec::new();
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    let mut of_postgres: BTreeMap<&str, Column> = BTreeMap::new();
    for side in [&postgres, &mysql, &mariadb] {
        let mut asked = Vec::new();
        let mut here = BTreeMap::new();
        for text in &texts {
            let formula = side
                .bind(text)
                .unwrap_or_else(|why| panic!("SEED={seed} {:?} refuses {text}: {why}", side.engine));
            here.insert(text.as_str(), side.here(&formula));
            asked.extend(side.asked(&formula).map(|sql| (text.clone(), sql)));
        }
        let there = side.answers(&asked).await;
        for (text, column) in &here {
            let mut differs = |what: &str, other: &Column, of: &dyn Fn(&str) -> bool| {
                for (id, cell) in column.iter().filter(|(id, _)| of(id)) {
                    if other.get(id) != Some(cell) {
                        wrong.push(format!(
                            "{:?} row {id}: {cell:?} here, {:?} {what}: {text}",
                            side.engine,
                            other.get(id)
                        ));
                        break;
                    }
                }
            };
            if let Some(answer) = there.get(*text) {
                differs("there", answer, &|_| true);
                *answered.entry(text).or_default() += 1;
            }
            // Rows that all engines hold.
            if let Some(other) = of_postgres.get(text) {
                differs("over PostgreSQL's rows", other, &|id| id.len() < 4);
            }
        }
        if side.engine.is_postgres() {
            of_postgres = here;
        }
        println!(
            "{:?} has words for {} of {}",
            side.engine,
            asked.len(),
            texts.len()
        );
    }
    let everywhere = answered.values().filter(|count| **count >= 2).count();
    assert!(
        wrong.is_empty(),
        "SEED={seed}: {} wrong\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    assert!(
        everywhere >= ANSWERED_MIN,
        "only {everywhere} were answered by two servers"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_down_leaves_out_no_row_that_is_taken() {
    let seed = seed();
    println!("SEED={seed}");
    let mut random = Random::new(seed ^ 0x70);
    let texts: Vec<String> = (0..400)
        .map(|_| {
            format!(
                "({}) AND ({}) AND ({})",
                random.truth(0),
                random.truth(1),
                random.truth(0)
            )
        })
        .collect();
    for kind in [Kind::Postgres18, Kind::Mysql, Kind::Mariadb] {
        let side = Side::new(kind, seed).await;
        let filters = texts.iter().map(|text| {
            let expr = Expr::parse(text).unwrap();
            Filter::bind(&expr, &side.table, |name| name).unwrap()
        });
        let filters: Vec<Filter> = filters.collect();
        let pushed: Vec<(String, String)> = texts
            .iter()
            .zip(&filters)
            .filter_map(|(text, filter)| {
                let sql = side.pushed(filter)?;
                Some((
                    text.clone(),
                    format!("CASE WHEN {sql} THEN 'true' ELSE 'false' END"),
                ))
            })
            .collect();
        let (answers, mut spared) = (side.answers(&pushed).await, 0);
        for (text, filter) in texts.iter().zip(&filters) {
            let Some(answer) = answers.get(text) else { continue };
            for row in &side.rows {
                let id = id(row);
                let is_sent = answer[&id].as_deref() == Some("true");
                assert!(
                    is_sent || filter.matches(row) == Some(false),
                    "SEED={seed} {kind}: row {id} is left out: {text}"
                );
                spared += usize::from(!is_sent);
            }
        }
        let (sent, taken) = side.copied(&filters[..8]).await;
        println!("{kind}: {sent} rows sent of 320 for {taken} that are taken");
        assert!(sent < 160);
        println!(
            "{kind}: {} of {} pushed, {spared} rows spared",
            pushed.len(),
            texts.len()
        );
        assert!(pushed.len() > texts.len() / 2 && spared > 1_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_offered_is_refused_with_a_reason() {
    let seed = seed();
    let side = Side::new(Kind::Postgres18, seed).await;
    let other = Side::new(Kind::Mysql, seed).await;
    let mut random = Random::new(seed ^ 0x2e);
    for _ in 0..REFUSED {
        let text = random.refused();
        for side in [&side, &other] {
            let why = side.bind(&text);
            let why = why
                .err()
                .unwrap_or_else(|| panic!("SEED={seed} {:?} takes {text}", side.engine));
            assert!(why.len() > 10, "{text}: {why}");
        }
    }
}
