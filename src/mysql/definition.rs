//! What `information_schema` and `SHOW CREATE TABLE` say about tables beside the shape of their rows.
//!
//! Owns: [`definitions`]: defaults, counters, comments, checks, indexes, foreign keys and partitions, each by one query
//! per database; and [`make`], the owner's statements.
//! Refuses: judging or translating them (see `schema`). Fails: with what the server says. A table that does not exist,
//! or that the account may not see, is `None`.

use super::catalog::{Scope, by_schema, cell, definition, tables};
use super::sql::quote_text;
use super::{Flavor, fail, flavor};
use crate::error::{Error, Result};
use crate::model::schema::{ColumnType, ForeignKey, TableId};
use crate::schema::{Action, Check, Counting, Definition, Detail, Foreign, Generated, Index, Part};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::collections::HashMap;

type Found = HashMap<TableId, Definition>;

/// The tables in the order asked for.
pub async fn definitions(conn: &mut Conn, ids: &[TableId]) -> Result<Vec<Option<Definition>>> {
    let flavor = flavor(conn).await?;
    let catalogs = tables(conn, ids).await?;
    // Views and sequences are no tables.
    let plain = |storage: &str| !["VIEW", "SEQUENCE", "SYSTEM VIEW"].contains(&storage);
    let present = catalogs
        .iter()
        .flatten()
        .filter(|catalog| plain(&catalog.storage));
    let mut found: Found = present
        .map(|catalog| (catalog.table.id.clone(), Definition::bare(&catalog.table)))
        .collect();
    let present: Vec<TableId> = found.keys().cloned().collect();
    for (schema, names) in by_schema(&present) {
        let scope = &mut Scope {
            conn: &mut *conn,
            schema,
            names: &names,
        };
        columns(scope, flavor, &mut found).await?;
        indexes(scope, flavor, &mut found).await?;
        checks(scope, flavor, &mut found).await?;
        foreign(scope, &mut found).await?;
        written(scope, &mut found).await?;
    }
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// Runs the statements one by one: each commits by itself here, and a table is a single one. Fails: with the statement's
/// place.
pub async fn make(conn: &mut Conn, statements: &[String]) -> Result<(), (usize, Error)> {
    for (place, statement) in statements.iter().enumerate() {
        let done = conn.query_drop(statement).await;
        done.map_err(|error| (place, fail("run the statement", error)))?;
    }
    Ok(())
}

fn of<'f>(scope: &Scope<'_>, found: &'f mut Found, name: &str) -> Option<&'f mut Definition> {
    found.get_mut(&TableId::new(scope.schema, name))
}

/// MySQL keeps these texts with their quotes and backslashes escaped; MariaDB as they were written.
fn plain(text: String, flavor: Flavor) -> String {
    if flavor == Flavor::Mariadb {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            other => out.push(other),
        }
    }
    out
}

const COLUMNS: &str = "
    SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT, EXTRA, GENERATION_EXPRESSION, COLUMN_COMMENT
      FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ?";

async fn columns(scope: &mut Scope<'_>, flavor: Flavor, found: &mut Found) -> Result<()> {
    for row in scope.rows(COLUMNS, "TABLE_NAME", "").await? {
        let (table, name): (String, String) = (cell(&row, 0)?, cell(&row, 1)?);
        let Some(definition) = of(scope, found, &table) else {
            continue;
        };
        let Some(place) = definition.table.column(&name) else {
            continue;
        };
        let extra = cell::<Option<String>>(&row, 3)?
            .unwrap_or_default()
            .to_ascii_uppercase();
        let generated = extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED");
        let expression = cell::<Option<String>>(&row, 4)?.unwrap_or_default();
        let default: Option<String> = cell(&row, 2)?;
        let default = default.filter(|text| !generated && (flavor == Flavor::Mysql || text != "NULL"));
        let is_expression = flavor == Flavor::Mariadb || extra.contains("DEFAULT_GENERATED");
        let ty = &definition.table.columns[place].ty;
        definition.details[place] = Detail {
            default: default.map(|text| match is_expression {
                true => plain(text, flavor),
                false => literal(text, ty),
            }),
            on_update: extra.contains("ON UPDATE"),
            counter: extra.contains("AUTO_INCREMENT").then_some(Counting::ByDefault),
            generated: generated.then(|| Generated {
                expression: plain(expression, flavor),
                stored: extra.contains("STORED"),
            }),
            comment: cell(&row, 5)?,
            ..Detail::default()
        };
    }
    Ok(())
}

/// MySQL shows the value of a literal default and not the literal.
fn literal(text: String, ty: &ColumnType) -> String {
    let is_bare = match ty {
        ColumnType::Int { .. } | ColumnType::Float | ColumnType::Double | ColumnType::Decimal { .. } => true,
        ColumnType::Bit { .. } => true,
        ColumnType::Bytes { .. } => text.starts_with("0x"),
        _ => false,
    };
    match is_bare {
        true => text,
        false => quote_text(&text),
    }
}

/// MariaDB has no indexes over expressions.
async fn indexes(scope: &mut Scope<'_>, flavor: Flavor, found: &mut Found) -> Result<()> {
    let expression = match flavor {
        Flavor::Mysql => "EXPRESSION",
        Flavor::Mariadb => "NULL",
    };
    let select = format!(
        "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE = 0, COLUMN_NAME, {expression}, SUB_PART, COALESCE(COLLATION, 'A'),
                INDEX_TYPE
           FROM information_schema.STATISTICS WHERE INDEX_NAME <> 'PRIMARY' AND TABLE_SCHEMA = ?"
    );
    let order = "ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX";
    for row in scope.rows(&select, "TABLE_NAME", order).await? {
        let (table, name): (String, String) = (cell(&row, 0)?, cell(&row, 1)?);
        let Some(definition) = of(scope, found, &table) else {
            continue;
        };
        let column: Option<String> = cell(&row, 3)?;
        let expression: Option<String> = cell(&row, 4)?;
        let part = Part {
            is_column: column.is_some(),
            what: column.unwrap_or_else(|| plain(expression.unwrap_or_default(), flavor)),
            prefix: cell(&row, 5)?,
            descending: cell::<String>(&row, 6)? == "D",
        };
        match definition.indexes.iter_mut().find(|index| index.name == name) {
            Some(index) => index.parts.push(part),
            None => definition.indexes.push(Index {
                name,
                unique: cell::<i64>(&row, 2)? == 1,
                parts: vec![part],
                method: cell::<String>(&row, 7)?.to_ascii_lowercase(),
                more: Vec::new(),
                written: String::new(),
            }),
        }
    }
    Ok(())
}

/// A check of a single column stands in its definition on MariaDB, and has no name of its own there; that of a JSON
/// column is part of its type.
async fn checks(scope: &mut Scope<'_>, flavor: Flavor, found: &mut Found) -> Result<()> {
    let select = match flavor {
        Flavor::Mysql => {
            "SELECT t.TABLE_NAME, t.CONSTRAINT_NAME, c.CHECK_CLAUSE, t.ENFORCED = 'YES'
               FROM information_schema.TABLE_CONSTRAINTS t
               JOIN information_schema.CHECK_CONSTRAINTS c
                 ON c.CONSTRAINT_SCHEMA = t.CONSTRAINT_SCHEMA AND c.CONSTRAINT_NAME = t.CONSTRAINT_NAME
              WHERE t.CONSTRAINT_TYPE = 'CHECK' AND t.TABLE_SCHEMA = ?"
        }
        Flavor::Mariadb => {
            "SELECT t.TABLE_NAME, t.CONSTRAINT_NAME, t.CHECK_CLAUSE, 1 FROM information_schema.CHECK_CONSTRAINTS t
              WHERE t.CONSTRAINT_SCHEMA = ?"
        }
    };
    for row in scope.rows(select, "t.TABLE_NAME", "ORDER BY 1, 2").await? {
        let table: String = cell(&row, 0)?;
        let expression = plain(cell(&row, 2)?, flavor);
        let Some(definition) = of(scope, found, &table) else {
            continue;
        };
        let is_of_type = |name: &String| expression == format!("json_valid({})", super::sql::quote(name));
        let mut columns = definition.table.columns.iter();
        if columns.any(|column| matches!(column.ty, ColumnType::Json { .. }) && is_of_type(&column.name)) {
            continue;
        }
        let name: String = cell(&row, 1)?;
        match cell::<i64>(&row, 3)? == 1 {
            true => definition.checks.push(Check { name, expression }),
            false => definition
                .peculiar
                .push(format!("check {name} ({expression}), which is NOT ENFORCED")),
        }
    }
    Ok(())
}

const FOREIGN: &str = "
    SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME,
           k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE
      FROM information_schema.KEY_COLUMN_USAGE k
      JOIN information_schema.REFERENTIAL_CONSTRAINTS r
        ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
       AND r.TABLE_NAME = k.TABLE_NAME
     WHERE k.REFERENCED_TABLE_NAME IS NOT NULL AND k.TABLE_SCHEMA = ?";

async fn foreign(scope: &mut Scope<'_>, found: &mut Found) -> Result<()> {
    let order = "ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION";
    for row in scope.rows(FOREIGN, "k.TABLE_NAME", order).await? {
        let (table, name): (String, String) = (cell(&row, 0)?, cell(&row, 1)?);
        let Some(definition) = of(scope, found, &table) else {
            continue;
        };
        let (column, references): (String, String) = (cell(&row, 2)?, cell(&row, 5)?);
        if let Some(known) = definition.foreign.iter_mut().find(|known| known.key.name == name) {
            known.key.columns.push(column);
            known.key.references.push(references);
            continue;
        }
        definition.foreign.push(Foreign {
            key: ForeignKey {
                name,
                child: definition.table.id.clone(),
                columns: vec![column],
                parent: TableId::new(cell::<String>(&row, 3)?, cell::<String>(&row, 4)?),
                references: vec![references],
            },
            on_delete: Action::named(&cell::<String>(&row, 6)?),
            on_update: Action::named(&cell::<String>(&row, 7)?),
            sets: Vec::new(),
            more: Vec::new(),
        });
    }
    Ok(())
}

/// What only the printed definition has: the columns and indexes with all their attributes, the table's comment and its
/// partitions.
async fn written(scope: &mut Scope<'_>, found: &mut Found) -> Result<()> {
    for name in scope.names {
        let text = definition(scope, name).await?;
        if let Some(definition) = of(scope, found, name) {
            take_written(definition, &text);
        }
    }
    let select = "SELECT TABLE_NAME, TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?";
    for row in scope.rows(select, "TABLE_NAME", "").await? {
        let name: String = cell(&row, 0)?;
        if let Some(definition) = of(scope, found, &name) {
            definition.comment = cell(&row, 1)?;
        }
    }
    Ok(())
}

fn take_written(definition: &mut Definition, text: &str) {
    let mut lines = text.lines();
    for line in lines.by_ref() {
        if line.starts_with(')') {
            definition.charset = charset(line);
            break;
        }
        let line = line.trim().trim_end_matches(',');
        for (column, detail) in definition.table.columns.iter().zip(&mut definition.details) {
            if let Some(rest) = line.strip_prefix(&format!("{} ", super::sql::quote(&column.name))) {
                rest.clone_into(&mut detail.written);
            }
        }
        for index in &mut definition.indexes {
            let head = format!("KEY {} (", super::sql::quote(&index.name));
            if ["", "UNIQUE ", "FULLTEXT ", "SPATIAL "]
                .iter()
                .any(|kind| line.starts_with(&format!("{kind}{head}")))
            {
                line.clone_into(&mut index.written);
            }
        }
    }
    let rest: Vec<&str> = lines.collect();
    let tail = rest.join("\n");
    // MySQL hides it from servers that do not know it.
    if let Some(at) = tail.find("PARTITION BY") {
        let partition = &tail[at..];
        definition.partition = partition.trim_end().trim_end_matches("*/").trim_end().to_owned();
    }
}

/// In the line of the table's options; a column's definition names its own only where it differs.
fn charset(options: &str) -> String {
    let words = options
        .split(' ')
        .skip_while(|word| !word.starts_with("CHARSET="));
    let words: Vec<&str> = words.take(2).filter(|word| word.starts_with("C")).collect();
    match words.as_slice() {
        [charset, collate] if collate.starts_with("COLLATE=") => format!("DEFAULT {charset} {collate}"),
        [charset, ..] => format!("DEFAULT {charset}"),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_its_character_set() {
        for (options, kept) in [
            (
                ") ENGINE=InnoDB AUTO_INCREMENT=8 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='a'",
                "DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
            ),
            (") ENGINE=InnoDB DEFAULT CHARSET=latin1", "DEFAULT CHARSET=latin1"),
            (
                ") ENGINE=InnoDB DEFAULT CHARSET=latin1 COMMENT='COLLATE=x'",
                "DEFAULT CHARSET=latin1",
            ),
            (") ENGINE=InnoDB", ""),
        ] {
            assert_eq!(charset(options), kept);
        }
    }

    #[test]
    fn mysql_shows_literals_by_their_value_and_texts_escaped() {
        let int = ColumnType::Int {
            bits: 32,
            unsigned: false,
        };
        assert_eq!(literal("7".into(), &int), "7");
        assert_eq!(literal("it's".into(), &ColumnType::Date), "'it''s'");
        assert_eq!(literal(r"C:\temp".into(), &ColumnType::Date), r"'C:\\temp'");
        assert_eq!(
            plain(r"(`a` = _utf8mb4\'x\')".into(), Flavor::Mysql),
            "(`a` = _utf8mb4'x')"
        );
        assert_eq!(plain(r"`a` = 'x\\'".into(), Flavor::Mariadb), r"`a` = 'x\\'");
    }
}
