//! `docs/types.md`, written from what the program itself says of the columns that three real servers describe.
//!
//! `TIDELOCK_WRITE_DOCS=1` writes the page anew; without it a page that says something else fails.

use super::{access, database, engine, mysql, postgres, types_of};
use crate::harness::{Db, Kind};
use crate::types::{NOWHERE, PRELUDE};
use std::collections::BTreeSet;
use tidelock::model::schema::{Column, ColumnType, Engine, Table, TableId};
use tidelock::schema::create;
use tidelock::typemap::{Verdict, verdict};

/// Pairs that are not what `schema::create` would make, and that people have: type, and type there.
const OTHERS: &[(&str, &str)] = &[
    ("numeric", "double"),
    ("bigint", "double"),
    ("numeric", "decimal(10,2)"),
    ("double precision", "float"),
    ("timestamp(6)", "datetime"),
    ("interval", "time(6)"),
    ("boolean", "bit(1)"),
    ("uuid", "char(36)"),
    ("inet", "varchar(43)"),
    ("text", "varchar(50)"),
    ("timestamptz", "timestamp(6) NULL"),
    ("date", "varchar(10)"),
    ("integer", "varchar(11)"),
];

const HEAD: &str = "# Types

What a column's values become on another engine, and what comes back. This page is written from the code that carries them
(`tests/typematrix/page.rs`), and every line of it is tried with the type's edge values on real servers, by the first copy and by the
stream, there and back (`tests/typematrix.rs`). Between two servers of one engine every type goes into itself.

| word | meaning |
|---|---|
| exact | every value arrives, and reads the same |
| if: condition | values that keep it arrive and read the same; another one is not rounded, cut or padded: its row is recorded as `value_refused`, open, and all other rows go on. `tidelock check` tells the condition (W512) |
| lossy: what | every value may lose that, so `tidelock check` blocks until `column.NAME = { lossy = true }` consents to it (E509), one way only |
| refused | `tidelock check` blocks (E507) and names the type to use, or the column to leave out |

*type there* is what `tidelock check` writes into the `CREATE TABLE` of a missing table; any other type for which `check` finds no blocker does as well.
*back* is the way from that type into the first one, as a merge needs it.

Beside the types:

- NULL into a NOT NULL column is refused by value (W511). Generated columns of MySQL and MariaDB arrive in plain columns; into a generated column nothing is written. PostgreSQL does not send its own.
- An identity that is GENERATED ALWAYS and no part of the key must become BY DEFAULT on a target (E335). Invisible columns are columns.
- A moment of PostgreSQL (`timestamptz`) is a DATETIME in UTC there; all sessions of Tidelock run in UTC.
- Keys: a type in which one value has several texts cannot be one (E508). Texts that only MySQL's collation calls equal are two keys on PostgreSQL: `check` warns of such a collation and tells the one to use (W514), and before a first copy counts the rows that it concerns (W516).
- Types that only PostgreSQL has go as the text that the server prints, into LONGTEXT. The way back is open to those whose printed form is known:
  another spelling of the same value would be read, and printed otherwise than it was written.
- With consent ([config](config.md), `lossy = true`) a condition on digits is waived too: decimals are rounded, fractions of a second cut off, doubles rounded to single precision, masks of addresses dropped.
- What MySQL's functions put into JSON as DATE, TIME, DATETIME, BLOB, BIT or a long DECIMAL arrives elsewhere as the text that MySQL shows, one way only.
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_types_is_what_the_code_says() {
    let nodes = tokio::join!(
        database(Kind::Postgres18, "page"),
        database(Kind::Mysql, "page"),
        database(Kind::Mariadb, "page")
    );
    let nodes = [nodes.0, nodes.1, nodes.2];
    let mut page = HEAD.to_owned();
    for (from, source) in nodes.iter().enumerate() {
        let table = described(source, from).await;
        for (to, target) in nodes.iter().enumerate().filter(|(to, _)| *to != from) {
            page.push_str(&section(&table, source, target, &format!("t{from}{to}")).await);
        }
    }
    page.push_str(&others(&nodes[0], &nodes[1]).await);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/types.md");
    if std::env::var_os("TIDELOCK_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        page == written,
        "docs/types.md is another: write it anew with TIDELOCK_WRITE_DOCS=1. First: {differs:?}"
    );
}

/// A table with all types of the engine, as the program's catalog describes it.
async fn described(db: &Db, number: usize) -> Table {
    let is_postgres = db.kind().is_postgres();
    if is_postgres {
        db.exec(PRELUDE).await;
    }
    let own = if is_postgres { &[][..] } else { NOWHERE };
    let all = types_of(db.kind());
    let mut seen = BTreeSet::new();
    let names = all.iter().map(|ty| ty.name).chain(own.iter().copied());
    let columns: String = names
        .filter(|name| seen.insert(*name) && !name.contains("GENERATED"))
        .enumerate()
        .map(|(n, name)| format!(", c{n} {name}"))
        .collect();
    let name = format!("t{number}");
    db.exec(&format!(
        "CREATE TABLE {name} (id int NOT NULL PRIMARY KEY{columns})"
    ))
    .await;
    catalog(db, &name).await
}

async fn others(postgres: &Db, mysql: &Db) -> String {
    let columns = |pick: fn(&(&'static str, &'static str)) -> &'static str| {
        let column = |(n, pair)| format!(", c{n} {}", pick(pair));
        OTHERS.iter().enumerate().map(column).collect::<String>()
    };
    for (db, columns) in [
        (postgres, columns(|pair| pair.0)),
        (mysql, columns(|pair| pair.1)),
    ] {
        db.exec(&format!(
            "CREATE TABLE others (id int NOT NULL PRIMARY KEY{columns})"
        ))
        .await;
    }
    let (here, there) = (catalog(postgres, "others").await, catalog(mysql, "others").await);
    let mut lines = "\n## Other pairs of PostgreSQL and MySQL\n\n| PostgreSQL | MySQL | there | back |\n|---|---|---|---|\n".to_owned();
    for column in here.columns.iter().skip(1) {
        lines.push_str(&line(column, Engine::Postgres, &there, Engine::Mysql));
    }
    lines
}

async fn catalog(db: &Db, name: &str) -> Table {
    let schema = if db.kind().is_postgres() {
        "public"
    } else {
        db.name()
    };
    let (access, ids) = (access("here", &db.url()), [TableId::new(schema, name)]);
    let mut found = match db.kind().is_postgres() {
        true => postgres::catalog::tables(&postgres::connect(&access).await.unwrap(), &ids).await,
        false => mysql::catalog::tables(&mut mysql::connect(&access).await.unwrap(), &ids).await,
    }
    .unwrap();
    found.pop().unwrap().unwrap().table
}

async fn section(table: &Table, source: &Db, target: &Db, name: &str) -> String {
    let (from, to) = (engine(source.kind()), engine(target.kind()));
    let schema = if to.is_postgres() { "public" } else { target.name() };
    let id = TableId::new(schema, name);
    target.exec(&create::plain(table, from, &id, to).unwrap()).await;
    let there = catalog(target, name).await;
    let mut lines =
        format!("\n## {from} to {to}\n\n| {from} | type there | there | back |\n|---|---|---|---|\n");
    for column in table.columns.iter().skip(1) {
        lines.push_str(&line(column, from, &there, to));
    }
    lines
}

fn line(column: &Column, from: Engine, there: &Table, to: Engine) -> String {
    let kind = shown(column);
    let Some(place) = there.column(&column.name) else {
        return format!("| `{kind}` | none: leave the column out | refused | |\n");
    };
    let counterpart = &there.columns[place];
    let words = |verdict: Verdict| match verdict {
        Verdict::Exact => "exact".to_owned(),
        Verdict::ExactIf(condition) => format!("if: {condition}"),
        Verdict::Lossy(loss) => format!("lossy: {loss}"),
        Verdict::Refused(_) => "refused".to_owned(),
    };
    let forth = words(verdict(column, from, counterpart, to));
    let back = words(verdict(counterpart, to, column, from));
    let there = match (&counterpart.ty, to.is_postgres() && !from.is_postgres()) {
        // Named after the table and the column.
        (ColumnType::Enum { .. }, true) => "an enum type of its own".to_owned(),
        _ => format!("`{}`", shown(counterpart)),
    };
    format!("| `{kind}` | {there} | {forth} | {back} |\n")
}

/// The type, and the character set where it is not the usual one.
fn shown(column: &Column) -> String {
    let charset = column.collation.split('_').next().unwrap_or_default();
    match charset {
        "" | "utf8mb4" | "public" => column.sql_type.clone(),
        charset => format!("{} {charset}", column.sql_type),
    }
}
