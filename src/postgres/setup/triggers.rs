//! The stamp triggers of one table: names and texts.
//!
//! Pure, except reading how the key is written in DDL. A body carries a digest of itself, by which `check` sees
//! whether what is installed is what this version of Tidelock would install for the table as it is now.

use super::state::{cell, rows};
use super::versions;
use crate::error::Result;
use crate::install::literal;
use crate::install::{digest, if_named, render};
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Scope, object_name, stamps_of};
use crate::postgres::sql::{quote, table};
use tokio_postgres::Client;

/// Version of the templates' meaning; part of the mark.
const VERSION: u32 = 1;

/// A column of a primary key as DDL and comparisons need it.
pub(super) struct KeyColumn {
    pub name: String,
    /// Type and collation.
    pub definition: String,
    /// Its equality, with the schema: an extension's is in none that a closed `search_path` sees.
    pub equals: String,
}

const KEY: &str = "
    SELECT want.number, a.attname::text,
           format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attcollation <> t.typcollation
               THEN (SELECT ' COLLATE ' || quote_ident(k.nspname) || '.' || quote_ident(l.collname)
                       FROM pg_collation l JOIN pg_namespace k ON k.oid = l.collnamespace
                      WHERE l.oid = a.attcollation) ELSE '' END,
           coalesce((SELECT quote_ident(k.nspname) || '.' || o.oprname
                       FROM pg_opclass c
                       JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
                                     AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
                       JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace k ON k.oid = o.oprnamespace
                      -- Of a btree: 3 is another operator elsewhere.
                      WHERE c.oid = (i.indclass::oid[])[key.position - 1] AND c.opcmethod = 403), 'pg_catalog.=')
      FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS want(schema, name, index, number)
      JOIN pg_namespace n ON n.nspname = want.schema
      JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = want.name
      JOIN pg_index i ON i.indrelid = r.oid
      JOIN pg_class x ON x.oid = i.indexrelid
       AND CASE WHEN want.index IS NULL THEN i.indisprimary ELSE x.relname = want.index END
     CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS key(attribute, position)
      JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = key.attribute
      JOIN pg_type t ON t.oid = a.atttypid
     WHERE key.position <= i.indnkeyatts
     ORDER BY want.number, key.position";

/// The keys of the tables, in their order; `found`: the tables.
pub(super) async fn keys(
    client: &Client,
    ids: &[TableId],
    found: &[Option<CatalogTable>],
) -> Result<Vec<Vec<KeyColumn>>> {
    let index = |found: &'_ Option<CatalogTable>| -> Option<String> {
        found.as_ref()?.table.external.as_ref()?.index.clone()
    };
    let indexes: Vec<Option<String>> = found.iter().map(index).collect();
    let schemas: Vec<&str> = ids.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    let mut keys: Vec<Vec<KeyColumn>> = ids.iter().map(|_| Vec::new()).collect();
    for row in rows(client, KEY, &[&schemas, &names, &indexes]).await? {
        let number: i64 = cell(&row, 0)?;
        let key = usize::try_from(number - 1)
            .ok()
            .and_then(|index| keys.get_mut(index));
        if let Some(key) = key {
            key.push(KeyColumn {
                name: cell(&row, 1)?,
                definition: cell(&row, 2)?,
                equals: cell(&row, 3)?,
            });
        }
    }
    Ok(keys)
}

/// One trigger with its function.
pub(super) struct Trigger {
    pub trigger: String,
    pub function: String,
    pub mark: String,
    pub function_sql: String,
    pub trigger_sql: String,
}

/// Event, end of the trigger's name, function's name, function's text.
type Kind = (&'static str, &'static str, &'static str, &'static str);

const KINDS: [Kind; 3] = [
    (
        "INSERT",
        "bi",
        "stamp_insert",
        include_str!("../../../sql/postgres/stamp_insert.sql"),
    ),
    (
        "UPDATE",
        "bu",
        "stamp_update",
        include_str!("../../../sql/postgres/stamp_update.sql"),
    ),
    (
        "DELETE",
        "bd",
        "stamp_delete",
        include_str!("../../../sql/postgres/stamp_delete.sql"),
    ),
];

/// Of tables that may not be altered.
const BESIDE: [Kind; 3] = [
    (
        "INSERT",
        "ai",
        "beside_insert",
        include_str!("../../../sql/postgres/beside_insert.sql"),
    ),
    (
        "UPDATE",
        "au",
        "beside_update",
        include_str!("../../../sql/postgres/beside_update.sql"),
    ),
    (
        "DELETE",
        "ad",
        "beside_delete",
        include_str!("../../../sql/postgres/beside_delete.sql"),
    ),
];

/// Names of the triggers and functions that a table has, or had with its stamps elsewhere.
pub(super) fn names(id: &TableId) -> impl Iterator<Item = (String, String)> {
    let of = |kind: &Kind| named(kind, id);
    let names: Vec<_> = KINDS.iter().chain(&BESIDE).map(of).collect();
    names.into_iter()
}

fn named((_, end, function, _): &Kind, id: &TableId) -> (String, String) {
    let trigger = format!("{}{end}", crate::postgres::catalog::TRIGGER_PREFIX);
    (object_name(&trigger, id), object_name(function, id))
}

pub(super) fn tombstones_name(id: &TableId) -> String {
    object_name("tombstone", id)
}

pub(super) fn tombstones_id(id: &TableId) -> TableId {
    crate::model::sync::tombstones_of(id)
}

pub(super) fn tombstones_sql(id: &TableId, key: &[KeyColumn]) -> String {
    keyed(
        include_str!("../../../sql/postgres/tombstones.sql"),
        "tombstones",
        &tombstones_name(id),
        (id, key),
    )
}

/// The stamps of a table that may not be altered.
pub(super) fn stamps_sql(id: &TableId, key: &[KeyColumn]) -> String {
    keyed(
        include_str!("../../../sql/postgres/stamps.sql"),
        "stamps",
        &stamps_of(id).name,
        (id, key),
    )
}

/// A table of ours with the key of the user's.
fn keyed(template: &str, kind: &str, name: &str, (id, key): (&TableId, &[KeyColumn])) -> String {
    let definitions: Vec<String> = key
        .iter()
        .map(|column| format!("{} {} NOT NULL", quote(&column.name), column.definition))
        .collect();
    render(
        template,
        &[
            ("table", &one_line(&table(id))),
            (kind, name),
            ("key_definitions", &definitions.join(",\n    ")),
            ("key", &list(key, "")),
        ],
    )
}

/// The three triggers of a merge table.
pub(super) fn triggers(scope: &Scope, catalog: &CatalogTable, key: &[KeyColumn]) -> [Trigger; 3] {
    let id = &catalog.table.id;
    let (table, rank) = (table(id), scope.rank.to_string());
    let (schema_name, table_name) = (literal(&id.schema), literal(&id.name));
    let blank: String = catalog
        .table
        .columns
        .iter()
        .filter(|column| column.generated)
        .map(|column| format!("\n    before.{} := NULL;", quote(&column.name)))
        .collect();
    let tombstones = tombstones_name(id);
    let (key_list, new_key, old_key) = (list(key, ""), list(key, "NEW."), list(key, "OLD."));
    let (row_key, tombstone_key) = (has_key(key, "r", "NEW"), has_key(key, "d", "NEW"));
    let (stamp_key, stamp_old_key) = (has_key(key, "s", "NEW"), has_key(key, "s", "OLD"));
    let if_named = if_named(&catalog.table, quote);
    let (stamps, mapped) = (stamps_of(id).name, scope.mapped(id));
    let (kinds, when, old) = match mapped.beside {
        true => (BESIDE, "AFTER", versions::STOOD),
        false => (KINDS, "BEFORE", versions::OLD),
    };
    let versions = versions::expressions(&mapped.version, &catalog.table, old);
    kinds.map(|kind| {
        let (event, _, _, template) = kind;
        let (trigger, function) = named(&kind, id);
        let mut values: Vec<(&str, &str)> = vec![
            ("function", &function),
            ("table", &table),
            ("tombstones", &tombstones),
            ("schema_name", &schema_name),
            ("table_name", &table_name),
            ("rank", &rank),
            ("key", &key_list),
            ("new_key", &new_key),
            ("old_key", &old_key),
            ("row_has_new_key", &row_key),
            ("tombstone_has_new_key", &tombstone_key),
            ("stamps", &stamps),
            ("stamp_has_new_key", &stamp_key),
            ("stamp_has_old_key", &stamp_old_key),
            ("if_named", &if_named),
            ("end_if_named", if if_named.is_empty() { "" } else { " END IF;" }),
            ("blank_generated", &blank),
            ("updated", &versions.updated),
            ("inserted", &versions.inserted),
        ];
        let body = render(template, &values);
        let mark = format!("tidelock {VERSION} {}", digest(&body));
        let dollars = dollar_quote(&body);
        values.extend([("mark", mark.as_str()), ("quote", dollars.as_str())]);
        let function_sql = render(template, &values);
        let trigger_sql = render(
            include_str!("../../../sql/postgres/trigger.sql"),
            &[
                ("trigger", &quote(&trigger)),
                ("when", when),
                ("event", event),
                ("table", &table),
                ("function", &function),
            ],
        );
        Trigger {
            trigger,
            function,
            mark,
            function_sql,
            trigger_sql,
        }
    })
}

/// A name may hold whatever it likes, our quote included.
fn dollar_quote(body: &str) -> String {
    let mut quote = "$tidelock$".to_owned();
    while body.contains(&quote) {
        quote.insert(quote.len() - 1, '_');
    }
    quote
}

/// For a comment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn list(key: &[KeyColumn], prefix: &str) -> String {
    let names: Vec<String> = key
        .iter()
        .map(|column| format!("{prefix}{}", quote(&column.name)))
        .collect();
    names.join(", ")
}

/// `of`: the trigger's row.
fn has_key(key: &[KeyColumn], alias: &str, of: &str) -> String {
    let terms: Vec<String> = key
        .iter()
        .map(|column| {
            let name = quote(&column.name);
            format!("{alias}.{name} OPERATOR({}) {of}.{name}", column.equals)
        })
        .collect();
    terms.join(" AND ")
}
