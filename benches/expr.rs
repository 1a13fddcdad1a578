//! What an expression costs for a row: nanoseconds per evaluation, of filters and of values.
//!
//! usage: make bench-expr     (ROUNDS=1000000)
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use tidelock::expr::{Expr, Filter, Formula};
use tidelock::model::schema::{Column, ColumnType, Table, TableId};
use tidelock::model::value::{Row, Value};

const FILTERS: &[&str] = &[
    "id > 1000",
    "id BETWEEN 1 AND 1000 AND NOT deleted",
    "region = 'EU'",
    "region IN ('US', 'CA', 'EU')",
    "amount >= 12.49",
    "created >= '2026-01-01'",
    "name LIKE '%mit%'",
    "LOWER(name) = 'john smith'",
    "amount * 1.19 > 100",
];
const FORMULAS: &[&str] = &[
    "name",
    "COALESCE(name, 'nobody')",
    "CASE region WHEN 'EU' THEN 1 WHEN 'US' THEN 2 ELSE 0 END",
    "SUBSTRING(name FROM 1 FOR 4)",
    "name || ', ' || region",
    "EXTRACT(YEAR FROM created)",
    "amount * 1.19",
];

fn table() -> Table {
    let column = |name: &str, ty| Column {
        name: name.to_owned(),
        ty,
        sql_type: String::new(),
        collation: String::new(),
        nullable: true,
        generated: false,
        has_default: false,
    };
    let text = ColumnType::Text {
        chars: None,
        bytes: None,
        fixed: false,
        utf8: true,
    };
    Table {
        id: TableId::new("s", "t"),
        columns: vec![
            column(
                "id",
                ColumnType::Int {
                    bits: 64,
                    unsigned: false,
                },
            ),
            column("name", text.clone()),
            column("region", text),
            column(
                "amount",
                ColumnType::Decimal {
                    precision: Some(10),
                    scale: 2,
                    unsigned: false,
                },
            ),
            column("created", ColumnType::Timestamp { fraction: 6 }),
            column("deleted", ColumnType::Bool),
        ],
        key: vec![0],
        uniques: Vec::new(),
        external: None,
    }
}

fn row() -> Row {
    [
        Value::Int(500),
        Value::Text("John Smith".into()),
        Value::Text("EU".into()),
        Value::Decimal("12.50".into()),
        Value::Timestamp("2026-02-28 12:00:00.5".into()),
        Value::Bool(false),
    ]
    .into_iter()
    .map(Some)
    .collect()
}

fn measure(what: &str, rounds: u32, one: impl Fn()) {
    let start = Instant::now();
    for _ in 0..rounds {
        one();
    }
    let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds);
    println!("{each:8.1} ns  {what}");
}

fn main() {
    // `cargo test --benches` and lists of tests ask for nothing to be measured.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let rounds = std::env::var("ROUNDS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let (table, row) = (table(), row());
    for text in FILTERS {
        let filter = Filter::bind(&Expr::parse(text).unwrap(), &table, |name| name).unwrap();
        measure(text, rounds, || {
            black_box(filter.matches(black_box(&row)));
        });
    }
    for text in FORMULAS {
        let formula = Formula::bind(&Expr::parse(text).unwrap(), &table, |name| name).unwrap();
        measure(text, rounds, || {
            black_box(formula.value(black_box(&row)));
        });
    }
}
