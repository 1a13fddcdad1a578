//! A table on two nodes, compared row by row.
//!
//! Owns: one spelling for values that engines spell differently (booleans, fractions of seconds, floats, JSON).
//! The comparison reads the catalogs and the text of the servers, nothing of the program under test.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::database::Db;

type Cell = Option<String>;
type Table = BTreeMap<Vec<Cell>, Vec<Cell>>;

/// Panics with the first difference.
pub async fn equal(a: &Db, b: &Db, table: &str, key: &[&str], columns: &[&str]) {
    if let Some(difference) = difference(a, b, table, key, columns).await {
        panic!("{difference}");
    }
}

/// Waits until both sides are equal; panics with the difference that stays.
pub async fn wait_equal(a: &Db, b: &Db, table: &str, key: &[&str], columns: &[&str], limit: Duration) {
    let start = Instant::now();
    loop {
        let look = Instant::now();
        let Some(difference) = difference(a, b, table, key, columns).await else {
            return;
        };
        assert!(
            start.elapsed() < limit,
            "not equal after {} s: {difference}",
            limit.as_secs()
        );
        // Large tables are looked at less often: looking takes from the machine what replication needs.
        tokio::time::sleep(super::POLL.max(look.elapsed() * 2)).await;
    }
}

/// `None` when the table holds the same rows on both sides, else what differs first and how much there is.
pub async fn difference(a: &Db, b: &Db, table: &str, key: &[&str], columns: &[&str]) -> Option<String> {
    difference_where(a, b, table, key, columns, "1 = 1").await
}

/// The same of some of its rows: of tables that are too large to be held at once.
pub async fn difference_where(
    a: &Db,
    b: &Db,
    table: &str,
    key: &[&str],
    columns: &[&str],
    condition: &str,
) -> Option<String> {
    let (types_a, types_b) = (types(a, table).await, types(b, table).await);
    let read = |db, own, other| read(db, table, condition, key, columns, own, other);
    let (left, right) = tokio::join!(read(a, &types_a, &types_b), read(b, &types_b, &types_a));
    let mut found = vec![];
    for (key, row) in &left {
        match right.get(key) {
            None => found.push(format!("key {key:?} is only on {}: {row:?}", a.kind())),
            Some(other) if other != row => {
                let (a, b) = (a.kind(), b.kind());
                found.push(format!("key {key:?} differs\n  {a}: {row:?}\n  {b}: {other:?}"));
            }
            Some(_) => {}
        }
    }
    let only_right = right.iter().filter(|(key, _)| !left.contains_key(*key));
    found.extend(only_right.map(|(key, row)| format!("key {key:?} is only on {}: {row:?}", b.kind())));
    let first = found.first()?;
    let (n, l, r) = (found.len(), left.len(), right.len());
    Some(format!(
        "{table}: {n} of {l}/{r} rows differ; columns {columns:?}; the first: {first}"
    ))
}

/// Column name to the engine's name of its type.
async fn types(db: &Db, table: &str) -> HashMap<String, String> {
    let (schema, name) = table
        .rsplit_once('.')
        .map_or((None, table), |(s, n)| (Some(s), n));
    let schema = match (db.kind().is_postgres(), schema) {
        (true, schema) => schema.map_or("current_schema()".to_owned(), |s| format!("'{s}'")),
        // A schema of PostgreSQL has no place on MySQL.
        (false, _) => "database()".to_owned(),
    };
    let rows = db
        .rows(&format!(
            "SELECT column_name, data_type FROM information_schema.columns \
             WHERE table_schema = {schema} AND table_name = '{name}'"
        ))
        .await;
    assert!(!rows.is_empty(), "no table {table} on {}", db.kind());
    rows.into_iter()
        .map(|mut row| {
            let kind = row.remove(1).unwrap_or_default();
            (row.remove(0).unwrap_or_default(), kind.to_lowercase())
        })
        .collect()
}

async fn read(
    db: &Db,
    table: &str,
    condition: &str,
    key: &[&str],
    columns: &[&str],
    own: &HashMap<String, String>,
    other: &HashMap<String, String>,
) -> Table {
    let kind_of = |types: &HashMap<String, String>, name: &str| types.get(name).cloned().unwrap_or_default();
    let names: Vec<&str> = key.iter().chain(columns).copied().collect();
    let kinds: Vec<_> = names
        .iter()
        .map(|name| (kind_of(own, name), kind_of(other, name)))
        .collect();
    let list: Vec<String> = names
        .iter()
        .zip(&kinds)
        .map(|(name, (own, _))| select(db, name, own))
        .collect();
    let table = if db.kind().is_postgres() {
        table
    } else {
        table.rsplit('.').next().unwrap_or(table)
    };
    let sql = format!("SELECT {} FROM {table} WHERE {condition}", list.join(", "));
    let rows = db.rows(&sql).await;
    rows.into_iter()
        .map(|row| {
            let cells = row.into_iter().zip(&kinds);
            let mut cells = cells.map(|(cell, (own, other))| cell.map(|text| canonical(&text, own, other)));
            let key: Vec<Cell> = cells.by_ref().take(key.len()).collect();
            (key, cells.collect())
        })
        .collect()
}

fn select(db: &Db, name: &str, kind: &str) -> String {
    match (db.kind().is_postgres(), kind) {
        (true, _) => format!("\"{name}\""),
        // Printed as it is, a FLOAT is rounded to six digits. The sum is exact.
        (false, "float") => format!("`{name}` + 0e0"),
        (false, _) => format!("`{name}`"),
    }
}

fn canonical(text: &str, own: &str, other: &str) -> String {
    match own {
        "boolean" => if text == "t" { "1" } else { "0" }.to_owned(),
        "real" | "float" => text
            .parse::<f64>()
            .map_or_else(|_| text.to_owned(), |n| (n as f32).to_string()),
        "double precision" | "double" => text
            .parse::<f64>()
            .map_or_else(|_| text.to_owned(), |n| format!("{n:e}")),
        "numeric" | "decimal" => trim_fraction(text),
        "character" => text.trim_end_matches(' ').to_owned(),
        "json" | "jsonb" => serde_json::from_str(text).map_or_else(|_| text.to_owned(), |v| sorted(&v)),
        // MariaDB's JSON is a text column.
        _ if other.starts_with("json") => {
            serde_json::from_str(text).map_or_else(|_| text.to_owned(), |v| sorted(&v))
        }
        "uuid" if other == "binary" || other == "varbinary" => format!("\\x{}", text.replace('-', "")),
        _ if own.starts_with("time") || own == "datetime" => {
            trim_fraction(text.strip_suffix("+00").unwrap_or(text))
        }
        _ => text.to_owned(),
    }
}

/// `1.500` and `1.5`, `12:00:00.000` and `12:00:00` are the same value in columns of different precision.
fn trim_fraction(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// JSON text with sorted keys and without spaces.
fn sorted(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<_, _> = map.iter().collect();
            let parts = ordered
                .iter()
                .map(|(k, v)| format!("{}:{}", Value::from(k.as_str()), sorted(v)));
            format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
