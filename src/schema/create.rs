//! The statements that make a table: the one place that writes CREATE TABLE.
//!
//! Owns: [`table`] (types, table, partitions, unique indexes, comments) and [`after_copy`] (the next numbers, on PostgreSQL
//! the other indexes, foreign keys).
//! Refuses: deciding what the table is to hold (see `translate`), and running anything. Pure.

use super::diff::same_index;
use super::translate::{Pair, Wanted, translate};
use super::{Counting, Definition, Detail, Foreign, Index};
use crate::ddl::{literal, quote, table_name};
use crate::mapping::Passage;
use crate::model::schema::{Column, ColumnType, Engine, Table, TableId};

/// Statements in their order. On MySQL and MariaDB the first one holds all.
pub fn table(wanted: &Wanted, engine: Engine, enums_there: &[TableId]) -> Vec<String> {
    let definition = &wanted.definition;
    let missing = wanted.enums.iter().filter(|(id, _)| !enums_there.contains(id));
    let mut statements: Vec<String> = missing
        .map(|(id, labels)| create_enum(id, labels, engine))
        .collect();
    statements.push(create_table(definition, engine));
    if engine.is_postgres() {
        statements.extend(definition.parts.iter().map(|(part, bounds)| {
            let (part, table) = (table_name(part, engine), table_name(&definition.table.id, engine));
            format!("CREATE TABLE {part} PARTITION OF {table} {bounds}")
        }));
        let uniques = definition.indexes.iter().filter(|index| index.unique);
        statements.extend(uniques.map(|index| create_index(definition, index, engine, At::Once)));
        statements.extend(comments(definition, engine));
    }
    statements
}

/// What is known of a table is its shape: columns and primary key. What has no counterpart is named behind; `None`: a key
/// column has none.
pub fn plain(shape: &Table, from: Engine, id: &TableId, to: Engine) -> Option<String> {
    let pair = Pair {
        source: Definition::bare(shape),
        target: id.clone(),
        passage: Passage::default(),
    };
    let wanted = translate(&[pair], 0, from, to).ok()?;
    let mut sql = table(&wanted, to, &[]).join("; ") + ";";
    let without: Vec<&str> = wanted.notes.iter().map(|note| note.what.as_str()).collect();
    if !without.is_empty() {
        sql.push_str(&format!(" -- {}", without.join("; ")).replace(['\n', '\r'], " "));
    }
    Some(sql)
}

fn create_enum(id: &TableId, labels: &[String], engine: Engine) -> String {
    let labels: Vec<String> = labels.iter().map(|label| literal(label, engine)).collect();
    format!(
        "CREATE TYPE {} AS ENUM ({})",
        table_name(id, engine),
        labels.join(", ")
    )
}

fn create_table(definition: &Definition, engine: Engine) -> String {
    let table = &definition.table;
    let columns = table.columns.iter().zip(&definition.details);
    let mut lines: Vec<String> = columns
        .map(|(column, detail)| column_line(table, column, detail, engine))
        .collect();
    if !table.key.is_empty() {
        lines.push(format!("PRIMARY KEY ({})", names(definition.key(), engine)));
    }
    if !engine.is_postgres() {
        lines.extend(definition.indexes.iter().map(|index| key_line(index, engine)));
    }
    // MariaDB shows a check that stands in a column's definition with the column too.
    let stands = |expression: &str| {
        let inner = format!("CHECK ({expression})");
        definition
            .details
            .iter()
            .any(|detail| detail.written.ends_with(&inner))
    };
    let checks = definition
        .checks
        .iter()
        .filter(|check| !stands(&check.expression));
    lines.extend(checks.map(|check| {
        format!(
            "CONSTRAINT {} CHECK ({})",
            quote(&check.name, engine),
            check.expression
        )
    }));
    let mut sql = format!(
        "CREATE TABLE {} (\n    {}\n)",
        table_name(&table.id, engine),
        lines.join(",\n    ")
    );
    if !engine.is_postgres() {
        let charset = match definition.charset.as_str() {
            "" => "DEFAULT CHARSET=utf8mb4",
            charset => charset,
        };
        sql.push_str(&format!(" ENGINE=InnoDB {charset}"));
        if !definition.comment.is_empty() {
            sql.push_str(&format!(" COMMENT={}", literal(&definition.comment, engine)));
        }
    }
    match (definition.partition.as_str(), engine.is_postgres()) {
        ("", _) => {}
        (partition, true) => sql.push_str(&format!(" PARTITION BY {partition}")),
        (partition, false) => sql.push_str(&format!("\n{partition}")),
    }
    sql
}

pub(super) fn column_line(table: &Table, column: &Column, detail: &Detail, engine: Engine) -> String {
    let name = quote(&column.name, engine);
    if !detail.written.is_empty() {
        return format!("{name} {}", detail.written);
    }
    let mut line = format!("{name} {}", column.sql_type);
    if let Some(generated) = &detail.generated {
        let kind = if generated.stored { "STORED" } else { "VIRTUAL" };
        line.push_str(&format!(" GENERATED ALWAYS AS ({}) {kind}", generated.expression));
    }
    let is_key = table
        .column(&column.name)
        .is_some_and(|place| table.key.contains(&place));
    match column.nullable && !is_key {
        true => {
            // MariaDB's first TIMESTAMP would be NOT NULL with a default of its own.
            if matches!(column.ty, ColumnType::TimestampTz { epoch: true, .. }) && !engine.is_postgres() {
                line.push_str(" NULL");
            }
        }
        // MariaDB takes no NOT NULL for a generated column.
        false if detail.generated.is_some() && engine == Engine::Mariadb => {}
        false => line.push_str(" NOT NULL"),
    }
    if let Some(default) = &detail.default {
        line.push_str(&format!(" DEFAULT {default}"));
    }
    match (detail.counter, engine.is_postgres()) {
        (None, _) => {}
        (Some(Counting::Always), true) => line.push_str(" GENERATED ALWAYS AS IDENTITY"),
        (Some(Counting::ByDefault), true) => line.push_str(" GENERATED BY DEFAULT AS IDENTITY"),
        (Some(_), false) => line.push_str(" AUTO_INCREMENT"),
    }
    if !engine.is_postgres() {
        if detail.on_update {
            let digits = match column.ty {
                ColumnType::Timestamp { fraction } | ColumnType::TimestampTz { fraction, .. } => fraction,
                _ => 0,
            };
            line.push_str(&format!(" ON UPDATE CURRENT_TIMESTAMP({digits})"));
        }
        if !detail.comment.is_empty() {
            line.push_str(&format!(" COMMENT {}", literal(&detail.comment, engine)));
        }
    }
    line
}

/// An index of MySQL or MariaDB, inside of CREATE TABLE.
fn key_line(index: &Index, engine: Engine) -> String {
    if !index.written.is_empty() {
        return index.written.clone();
    }
    let kind = if index.unique { "UNIQUE KEY" } else { "KEY" };
    format!("{kind} {} ({})", quote(&index.name, engine), parts(index, engine))
}

fn parts(index: &Index, engine: Engine) -> String {
    let part = |part: &super::Part| {
        let what = match part.is_column {
            true => quote(&part.what, engine),
            false => format!("({})", part.what),
        };
        let prefix = part.prefix.map_or(String::new(), |prefix| format!("({prefix})"));
        let descending = if part.descending { " DESC" } else { "" };
        format!("{what}{prefix}{descending}")
    };
    let parts: Vec<String> = index.parts.iter().map(part).collect();
    parts.join(", ")
}

/// How an index comes to a table of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Once,
    /// Rows are there, and users write them.
    Leisure,
}

pub(super) fn create_index(definition: &Definition, index: &Index, engine: Engine, at: At) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let (name, table) = (
        quote(&index.name, engine),
        table_name(&definition.table.id, engine),
    );
    // What is partitioned takes none beside its users.
    let beside = match engine.is_postgres() && at == At::Leisure && definition.partition.is_empty() {
        true => "CONCURRENTLY ",
        false => "",
    };
    let is_deferrable = index.more.iter().any(|more| more == "DEFERRABLE");
    match (engine.is_postgres() && !index.written.is_empty(), is_deferrable) {
        (true, true) => format!("ALTER TABLE {table} ADD CONSTRAINT {name} {}", index.written),
        (true, false) => format!(
            "CREATE {unique}INDEX {beside}{name} ON {table} USING {}",
            index.written
        ),
        (false, _) => format!(
            "CREATE {unique}INDEX {beside}{name} ON {table} ({})",
            parts(index, engine)
        ),
    }
}

fn comments(definition: &Definition, engine: Engine) -> Vec<String> {
    let table = table_name(&definition.table.id, engine);
    let mut statements = Vec::new();
    if !definition.comment.is_empty() {
        statements.push(format!(
            "COMMENT ON TABLE {table} IS {}",
            literal(&definition.comment, engine)
        ));
    }
    let columns = definition.table.columns.iter().zip(&definition.details);
    for (column, detail) in columns.filter(|(_, detail)| !detail.comment.is_empty()) {
        statements.push(format!(
            "COMMENT ON COLUMN {table}.{} IS {}",
            quote(&column.name, engine),
            literal(&detail.comment, engine)
        ));
    }
    statements
}

/// Once the rows are there: counters of PostgreSQL that start behind them, its indexes that no rule of the rows needs, which
/// cost less over rows that are there than with every row, then the foreign keys. All tables exist by then, so cycles and
/// references of a table to itself need no order.
pub fn after_copy(wanted: &Wanted, present: Option<&Definition>, engine: Engine) -> Vec<String> {
    let definition = &wanted.definition;
    let mut statements = Vec::new();
    let columns = definition.table.columns.iter().zip(&definition.details);
    for (column, _) in columns.filter(|(_, detail)| engine.is_postgres() && detail.counter.is_some()) {
        statements.push(next_number(&definition.table.id, &column.name));
    }
    let has_index = |index: &Index| {
        let mut known = present.into_iter().flat_map(|present| &present.indexes);
        known.any(|known| same_index(index, known))
    };
    let later = definition
        .indexes
        .iter()
        .filter(|index| !index.unique && !has_index(index));
    let later = later.filter(|_| engine.is_postgres());
    statements.extend(later.map(|index| create_index(definition, index, engine, At::Leisure)));
    let is_there = |foreign: &&Foreign| {
        let is_same = |known: &Foreign| same_reference(known, foreign);
        present.is_some_and(|present| present.foreign.iter().any(is_same))
    };
    let missing = definition.foreign.iter().filter(|foreign| !is_there(foreign));
    statements.extend(missing.map(|foreign| add_foreign(foreign, engine)));
    statements
}

pub(super) fn same_reference(a: &Foreign, b: &Foreign) -> bool {
    let pairs = |foreign: &Foreign| {
        let mut pairs: Vec<(String, String)> = foreign
            .key
            .columns
            .iter()
            .cloned()
            .zip(foreign.key.references.iter().cloned())
            .collect();
        pairs.sort();
        pairs
    };
    a.key.parent == b.key.parent && pairs(a) == pairs(b)
}

/// MySQL and MariaDB go on above what was inserted by themselves. A sequence that was used already, or that does not
/// count 1, 2, 3, has a range of its own beside another node's: it stays where it is.
fn next_number(id: &TableId, column: &str) -> String {
    let engine = Engine::Postgres;
    let (table, name) = (table_name(id, engine), quote(column, engine));
    format!(
        "SELECT setval(s.seqrelid, m.number) FROM pg_sequence s, (SELECT max({name}) AS number FROM {table}) m \
         WHERE s.seqrelid = pg_get_serial_sequence({}, {})::regclass AND s.seqincrement = 1 AND s.seqstart = 1 \
         AND pg_sequence_last_value(s.seqrelid) IS NULL AND m.number BETWEEN s.seqmin AND s.seqmax",
        literal(&table, engine),
        literal(column, engine)
    )
}

pub(super) fn add_foreign(foreign: &Foreign, engine: Engine) -> String {
    let key = &foreign.key;
    let list = |columns: &[String]| names(columns.iter().map(String::as_str).collect(), engine);
    let mut sql = format!(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})",
        table_name(&key.child, engine),
        quote(&key.name, engine),
        list(&key.columns),
        table_name(&key.parent, engine),
        list(&key.references)
    );
    let more = |words: &str| foreign.more.iter().any(|more| more == words);
    if more("MATCH FULL") {
        sql.push_str(" MATCH FULL");
    }
    for (event, action) in [("DELETE", foreign.on_delete), ("UPDATE", foreign.on_update)] {
        if action != super::Action::Refuse {
            sql.push_str(&format!(" ON {event} {}", action.words()));
        }
        if event == "DELETE" && !foreign.sets.is_empty() {
            sql.push_str(&format!(" ({})", list(&foreign.sets)));
        }
    }
    for words in ["DEFERRABLE", "INITIALLY DEFERRED"] {
        if more(words) {
            sql.push_str(&format!(" {words}"));
        }
    }
    sql
}

fn names(columns: Vec<&str>, engine: Engine) -> String {
    let names: Vec<String> = columns.into_iter().map(|name| quote(name, engine)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
