//! What PostgreSQL's catalogs say about tables beside the shape of their rows.
//!
//! Owns: [`definitions`]: defaults, identities, comments, checks, indexes, foreign keys and partitions, each by one
//! query whatever the number of tables; [`enums`]; and [`make`], the owner's statements.
//! Refuses: judging or translating them (see `schema`). Fails: with what the server says. A table that does not exist
//! is `None`.

use super::catalog::{cell, tables};
use super::fail;
use crate::error::{Error, Result};
use crate::model::schema::{ForeignKey, TableId};
use crate::schema::{Action, Check, Counting, Definition, Detail, Foreign, Generated, Index, Part};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

const DOING: &str = "read the tables' definitions";

/// The tables in the order asked for.
pub async fn definitions(client: &Client, ids: &[TableId]) -> Result<Vec<Option<Definition>>> {
    let catalogs = tables(client, ids).await?;
    let mut found: Vec<Option<Definition>> = catalogs
        .iter()
        .map(|catalog| catalog.as_ref().map(|catalog| Definition::bare(&catalog.table)))
        .collect();
    let schemas: Vec<&str> = ids.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    let sql = "SELECT want.number, c.oid, coalesce(obj_description(c.oid, 'pg_class'), ''),
                      CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) ELSE '' END,
                      CASE WHEN c.relpersistence = 'u' THEN ARRAY['UNLOGGED'] ELSE ARRAY[]::text[] END
                        || CASE WHEN EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND NOT c.relispartition)
                                THEN ARRAY['INHERITS'] ELSE ARRAY[]::text[] END
                        || CASE WHEN c.relrowsecurity THEN ARRAY['row level security'] ELSE ARRAY[]::text[] END
                        || CASE WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p'
                                                                           AND k.condeferrable)
                                THEN ARRAY['DEFERRABLE of the primary key'] ELSE ARRAY[]::text[] END
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want(schema, name, number)
                 JOIN pg_namespace n ON n.nspname = want.schema
                 JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
                WHERE c.relkind IN ('r', 'p')";
    let rows = client
        .query(sql, &[&schemas, &names])
        .await
        .map_err(|error| fail(DOING, error))?;
    let mut by_oid = HashMap::new();
    for row in &rows {
        let place = usize::try_from(cell::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
        let Some(Some(definition)) = found.get_mut(place) else {
            continue;
        };
        definition.comment = cell(row, 2)?;
        definition.partition = cell(row, 3)?;
        definition.peculiar = cell(row, 4)?;
        by_oid.insert(cell::<u32>(row, 1)?, place);
    }
    let mut tables = Tables { by_oid, found };
    columns(client, &mut tables).await?;
    indexes(client, &mut tables).await?;
    constraints(client, &mut tables).await?;
    foreign(client, &mut tables).await?;
    parts(client, &mut tables).await?;
    Ok(tables.found)
}

/// ENUM types that exist, with their labels in order.
pub async fn enums(client: &Client) -> Result<Vec<(TableId, Vec<String>)>> {
    let sql = "SELECT n.nspname::text, t.typname::text,
                      ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
                 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'e'";
    let rows = client
        .query(sql, &[])
        .await
        .map_err(|error| fail("read the ENUM types", error))?;
    let one = |row: &Row| {
        let id = TableId::new(cell::<String>(row, 0)?, cell::<String>(row, 1)?);
        Ok((id, cell(row, 2)?))
    };
    rows.iter().map(one).collect()
}

/// Runs the statements in one transaction: a table is there whole or not at all. One alone is whole by itself, and some may
/// stand in no transaction. Fails: with the statement's place.
pub async fn make(client: &Client, statements: &[String]) -> Result<(), (usize, Error)> {
    let run = |statement: &str| {
        let statement = statement.to_owned();
        async move {
            let done = client.batch_execute(&statement).await;
            done.map_err(|error| fail("run the statement", error))
        }
    };
    if let [statement] = statements {
        return run(statement).await.map_err(|error| (0, error));
    }
    run("BEGIN").await.map_err(|error| (0, error))?;
    for (place, statement) in statements.iter().enumerate() {
        if let Err(error) = run(statement).await {
            // What failed is told; that nothing of it stays needs no answer.
            let _ = run("ROLLBACK").await;
            return Err((place, error));
        }
    }
    run("COMMIT")
        .await
        .map_err(|error| (statements.len().saturating_sub(1), error))
}

struct Tables {
    by_oid: HashMap<u32, usize>,
    found: Vec<Option<Definition>>,
}

impl Tables {
    async fn rows(&self, client: &Client, sql: &str) -> Result<Vec<Row>> {
        let oids: Vec<u32> = self.by_oid.keys().copied().collect();
        client
            .query(sql, &[&oids])
            .await
            .map_err(|error| fail(DOING, error))
    }

    /// By the oid in the first column.
    fn of(&mut self, row: &Row) -> Result<Option<&mut Definition>> {
        let place = self.by_oid.get(&cell::<u32>(row, 0)?).copied();
        Ok(place.and_then(|place| self.found.get_mut(place)?.as_mut()))
    }
}

/// A serial column is one whose default is the next number of its own sequence and nothing else. How the numbers run is
/// given in words where it is not 1, 2, 3.
const COLUMNS: &str = "
    SELECT a.attrelid, a.attname::text, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text,
           coalesce(col_description(a.attrelid, a.attnum), ''),
           CASE WHEN t.typtype = 'e' THEN n.nspname::text END, t.typname::text,
           coalesce(pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\\(''([^'']|'''')*''::regclass\\)$', false)
             AND EXISTS (SELECT FROM pg_depend u JOIN pg_depend o ON o.classid = u.refclassid AND o.objid = u.refobjid
                          WHERE u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid
                            AND u.refclassid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass
                            AND o.refobjid = a.attrelid AND o.refobjsubid = a.attnum AND o.deptype = 'a'),
           CASE WHEN a.attcollation NOT IN (0, t.typcollation)
                THEN 'COLLATE ' || quote_ident(ln.nspname) || '.' || quote_ident(l.collname) END,
           (SELECT 'START ' || s.seqstart || ' INCREMENT ' || s.seqincrement || ' MINVALUE ' || s.seqmin
                   || ' MAXVALUE ' || s.seqmax || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END
              FROM pg_depend o JOIN pg_sequence s ON s.seqrelid = o.objid
             WHERE o.classid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass AND o.deptype IN ('a', 'i')
               AND o.refobjid = a.attrelid AND o.refobjsubid = a.attnum
               AND (s.seqstart <> 1 OR s.seqincrement <> 1 OR s.seqmin <> 1 OR s.seqcycle
                    OR s.seqmax NOT IN (32767, 2147483647, 9223372036854775807))
             ORDER BY s.seqrelid LIMIT 1)
      FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
     WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped";

async fn columns(client: &Client, tables: &mut Tables) -> Result<()> {
    for row in &tables.rows(client, COLUMNS).await? {
        let name: String = cell(row, 1)?;
        let Some(definition) = tables.of(row)? else {
            continue;
        };
        let Some(place) = definition.table.column(&name) else {
            continue;
        };
        let (identity, generated): (String, String) = (cell(row, 3)?, cell(row, 4)?);
        let expression: Option<String> = cell(row, 2)?;
        let is_serial: bool = cell(row, 8)?;
        let counter = match identity.as_str() {
            "a" => Some(Counting::Always),
            "d" => Some(Counting::ByDefault),
            _ => is_serial.then_some(Counting::ByDefault),
        };
        let (collation, numbering): (Option<String>, Option<String>) = (cell(row, 9)?, cell(row, 10)?);
        let numbering = numbering.filter(|_| counter.is_some());
        for words in [collation, numbering].into_iter().flatten() {
            definition.peculiar.push(format!("{words} of column {name}"));
        }
        let named: Option<String> = cell(row, 6)?;
        definition.details[place] = Detail {
            default: expression
                .clone()
                .filter(|_| generated.is_empty() && counter.is_none()),
            counter,
            generated: expression
                .filter(|_| !generated.is_empty())
                .map(|expression| Generated {
                    expression,
                    stored: generated == "s",
                }),
            comment: cell(row, 5)?,
            named: match named {
                Some(schema) => Some(TableId::new(schema, cell::<String>(row, 7)?)),
                None => None,
            },
            ..Detail::default()
        };
    }
    Ok(())
}

/// An index of an exclusion constraint is its constraint's. A unique constraint that can be deferred is printed as one.
const INDEXES: &str = "
    SELECT i.indrelid, c.relname::text, i.indisunique, m.amname::text,
           CASE WHEN con.condeferrable THEN pg_get_constraintdef(con.oid) ELSE pg_get_indexdef(i.indexrelid) END,
           ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts::int) k),
           ARRAY(SELECT i.indkey[k - 1] <> 0 FROM generate_series(1, i.indnkeyatts::int) k),
           ARRAY(SELECT (i.indoption[k - 1] & 1) = 1 FROM generate_series(1, i.indnkeyatts::int) k),
           i.indnullsnotdistinct,
           pg_get_expr(i.indpred, i.indrelid), i.indnatts > i.indnkeyatts, coalesce(con.condeferrable, false),
           CASE WHEN con.condeferrable THEN ''
                ELSE 'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(c.relname)
                  || ' ON ' || CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END
                  || quote_ident(n.nspname) || '.' || quote_ident(t.relname) || ' USING ' END
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
      JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('u', 'p')
     WHERE i.indrelid = ANY($1::oid[]) AND NOT i.indisprimary AND NOT i.indisexclusion AND i.indislive
     ORDER BY i.indrelid, i.indexrelid";

async fn indexes(client: &Client, tables: &mut Tables) -> Result<()> {
    for row in &tables.rows(client, INDEXES).await? {
        let Some(definition) = tables.of(row)? else {
            continue;
        };
        let (words, columns, falls): (Vec<String>, Vec<bool>, Vec<bool>) =
            (cell(row, 5)?, cell(row, 6)?, cell(row, 7)?);
        let parts = words.iter().zip(columns).zip(falls);
        let parts = parts.map(|((what, is_column), descending)| Part {
            what: if is_column { unquoted(what) } else { what.clone() },
            is_column,
            prefix: None,
            descending,
        });
        let mut more = Vec::new();
        let predicate: Option<String> = cell(row, 9)?;
        more.extend(predicate.map(|predicate| format!("WHERE {predicate}")));
        for (column, words) in [(8, "NULLS NOT DISTINCT"), (10, "INCLUDE"), (11, "DEFERRABLE")] {
            if cell::<bool>(row, column)? {
                more.push(words.to_owned());
            }
        }
        let (name, whole, head): (String, String, String) = (cell(row, 1)?, cell(row, 4)?, cell(row, 12)?);
        // A name may hold " USING " and whatever else: only the whole head is taken off.
        let Some(written) = whole.strip_prefix(&head) else {
            definition.peculiar.push(format!("index {name}: {whole}"));
            continue;
        };
        definition.indexes.push(Index {
            name,
            unique: cell(row, 2)?,
            parts: parts.collect(),
            method: cell(row, 3)?,
            more,
            written: written.to_owned(),
        });
    }
    Ok(())
}

/// A name as `pg_get_indexdef` prints it.
fn unquoted(name: &str) -> String {
    let inner = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    inner.map_or_else(|| name.to_owned(), |inner| inner.replace("\"\"", "\""))
}

const CONSTRAINTS: &str = "
    SELECT conrelid, conname::text, contype::text, pg_get_expr(conbin, conrelid), pg_get_constraintdef(oid)
      FROM pg_constraint WHERE conrelid = ANY($1::oid[]) AND contype IN ('c', 'x') ORDER BY conrelid, conname";

async fn constraints(client: &Client, tables: &mut Tables) -> Result<()> {
    for row in &tables.rows(client, CONSTRAINTS).await? {
        let Some(definition) = tables.of(row)? else {
            continue;
        };
        let (name, expression): (String, Option<String>) = (cell(row, 1)?, cell(row, 3)?);
        let whole: String = cell(row, 4)?;
        // Rows that contradict such a check may be there.
        let is_loose = whole.ends_with(" NOT VALID") || whole.ends_with(" NOT ENFORCED");
        match expression.filter(|_| !is_loose) {
            Some(expression) => definition.checks.push(Check { name, expression }),
            None => definition.peculiar.push(format!("constraint {name} {whole}")),
        }
    }
    Ok(())
}

const FOREIGN: &str = "
    SELECT k.conrelid, k.conname::text, n.nspname::text, p.relname::text, k.confdeltype::text, k.confupdtype::text,
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(num, at)
                   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.at),
           ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(num, at)
                   JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.at),
           k.condeferrable, k.condeferred, k.confmatchtype::text = 'f',
           ARRAY(SELECT a.attname::text FROM unnest(k.confdelsetcols) WITH ORDINALITY u(num, at)
                   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.at)
      FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace n ON n.oid = p.relnamespace
     WHERE k.contype = 'f' AND k.conrelid = ANY($1::oid[]) AND k.conparentid = 0
     ORDER BY k.conrelid, k.conname";

async fn foreign(client: &Client, tables: &mut Tables) -> Result<()> {
    for row in &tables.rows(client, FOREIGN).await? {
        let Some(definition) = tables.of(row)? else {
            continue;
        };
        let mut more = Vec::new();
        for (column, words) in [(10, "MATCH FULL"), (8, "DEFERRABLE"), (9, "INITIALLY DEFERRED")] {
            if cell::<bool>(row, column)? {
                more.push(words.to_owned());
            }
        }
        definition.foreign.push(Foreign {
            key: ForeignKey {
                name: cell(row, 1)?,
                child: definition.table.id.clone(),
                columns: cell(row, 6)?,
                parent: TableId::new(cell::<String>(row, 2)?, cell::<String>(row, 3)?),
                references: cell(row, 7)?,
            },
            on_delete: action(cell(row, 4)?),
            on_update: action(cell(row, 5)?),
            sets: cell(row, 11)?,
            more,
        });
    }
    Ok(())
}

fn action(code: &str) -> Action {
    match code {
        "c" => Action::Cascade,
        "n" => Action::SetNull,
        "d" => Action::SetDefault,
        "r" => Action::Restrict,
        _ => Action::Refuse,
    }
}

/// Partitions of partitions are named, and not followed.
const PARTS: &str = "
    SELECT i.inhparent, n.nspname::text, c.relname::text, pg_get_expr(c.relpartbound, c.oid), c.relkind::text
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE i.inhparent = ANY($1::oid[]) AND c.relispartition ORDER BY c.relname";

async fn parts(client: &Client, tables: &mut Tables) -> Result<()> {
    for row in &tables.rows(client, PARTS).await? {
        let Some(definition) = tables.of(row)? else {
            continue;
        };
        let id = TableId::new(cell::<String>(row, 1)?, cell::<String>(row, 2)?);
        let bounds: String = cell(row, 3)?;
        match cell::<&str>(row, 4)? {
            "r" => definition.parts.push((id, bounds)),
            _ => definition
                .peculiar
                .push(format!("partition {id} {bounds}, which is no plain table")),
        }
    }
    Ok(())
}
