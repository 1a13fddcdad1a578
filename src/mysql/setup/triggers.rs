//! The stamp triggers of one table: names and texts.
//!
//! Pure. A body begins with a label that carries a digest of the body, by which `check` sees whether what is
//! installed is what this version of Tidelock would install for the table as it is now. It is a label because the
//! `mysql` program takes comments out of what it sends.

use super::state::Installed;
use super::versions;
use crate::install::{digest, if_named, render};
use crate::model::schema::{Column, ColumnType, TableId};
use crate::model::sync::{CatalogTable, Scope, object_name, stamps_of};
use crate::mysql::catalog::TRIGGER_PREFIX;
use crate::mysql::sql::{quote, quote_text, table};

/// Version of the templates' meaning; part of the mark.
const VERSION: u32 = 1;

pub(super) struct Trigger {
    pub trigger: String,
    pub moment: &'static str,
    pub mark: String,
    pub sql: String,
}

/// Moment, end of the trigger's name, text.
type Kind = (&'static str, &'static str, &'static str);

const KINDS: [Kind; 3] = [
    (
        "BEFORE INSERT",
        "bi",
        include_str!("../../../sql/mysql/stamp_insert.sql"),
    ),
    (
        "BEFORE UPDATE",
        "bu",
        include_str!("../../../sql/mysql/stamp_update.sql"),
    ),
    (
        "AFTER DELETE",
        "ad",
        include_str!("../../../sql/mysql/stamp_delete.sql"),
    ),
];

/// Of tables that may not be altered.
const BESIDE: [Kind; 3] = [
    (
        "AFTER INSERT",
        "ai",
        include_str!("../../../sql/mysql/beside_insert.sql"),
    ),
    (
        "AFTER UPDATE",
        "au",
        include_str!("../../../sql/mysql/beside_update.sql"),
    ),
    (
        "AFTER DELETE",
        "ad",
        include_str!("../../../sql/mysql/beside_delete.sql"),
    ),
];

fn kinds(beside: bool) -> [Kind; 3] {
    if beside { BESIDE } else { KINDS }
}

/// Of the triggers that the table is to have.
pub(super) fn names(id: &TableId, beside: bool) -> [String; 3] {
    kinds(beside).map(|kind| named(kind, id))
}

/// And of those that it has, or had with its stamps elsewhere.
pub(super) fn all_names(id: &TableId) -> Vec<String> {
    let mut names = [names(id, false), names(id, true)].concat();
    names.sort();
    names.dedup();
    names
}

fn named((_, end, _): Kind, id: &TableId) -> String {
    object_name(&format!("{TRIGGER_PREFIX}{end}"), id)
}

pub(super) fn tombstones_name(id: &TableId) -> String {
    object_name("tombstone", id)
}

/// The key's columns in key order.
pub(super) fn key(catalog: &CatalogTable) -> Vec<&Column> {
    catalog
        .table
        .key
        .iter()
        .map(|&index| &catalog.table.columns[index])
        .collect()
}

/// Type and collation, which brings its character set along. Labels are written anew: the server shows them with
/// backslashes that it would not take back in our SQL mode.
pub(super) fn definition(column: &Column) -> String {
    let labels = |labels: &[String]| {
        labels
            .iter()
            .map(|label| quote_text(label))
            .collect::<Vec<_>>()
            .join(",")
    };
    let base = match &column.ty {
        ColumnType::Enum { labels: names } => format!("enum({})", labels(names)),
        ColumnType::Set { labels: names } => format!("set({})", labels(names)),
        _ => column.sql_type.clone(),
    };
    match column.collation.as_str() {
        // Without explicit_defaults_for_timestamp the first one without a default would change with every UPDATE.
        "" if matches!(column.ty, ColumnType::TimestampTz { .. }) => {
            format!("{base} NOT NULL DEFAULT '1970-01-01 00:00:01'")
        }
        "" => format!("{base} NOT NULL"),
        collation => format!("{base} COLLATE {collation} NOT NULL"),
    }
}

pub(super) fn tombstones_id(id: &TableId) -> TableId {
    crate::model::sync::tombstones_of(id)
}

pub(super) fn tombstones_sql(id: &TableId, key: &[&Column]) -> String {
    let template = include_str!("../../../sql/mysql/tombstones.sql");
    keyed(template, ("tombstones", &tombstones_name(id)), id, key)
}

/// The stamps of a table that may not be altered.
pub(super) fn stamps_sql(id: &TableId, key: &[&Column]) -> String {
    let template = include_str!("../../../sql/mysql/stamps.sql");
    keyed(template, ("stamps", &stamps_of(id).name), id, key)
}

/// A table of ours with the key of the user's.
fn keyed(template: &str, own: (&str, &str), id: &TableId, key: &[&Column]) -> String {
    let definitions: Vec<String> = key
        .iter()
        .map(|column| format!("{} {}", quote(&column.name), definition(column)))
        .collect();
    render(
        template,
        &[
            ("table", &table(id).replace(['\n', '\r'], " ")),
            own,
            ("key_definitions", &definitions.join(",\n    ")),
            ("key", &list(key, "")),
        ],
    )
}

/// The three triggers of a merge table, each to run after the last of the user's for its moment.
pub(super) fn triggers(scope: &Scope, catalog: &CatalogTable, installed: &[Installed]) -> [Trigger; 3] {
    let id = &catalog.table.id;
    let mapped = scope.mapped(id);
    let values = values(scope, catalog, mapped.beside);
    kinds(mapped.beside).map(|kind| {
        let (moment, _, template) = kind;
        let trigger = named(kind, id);
        let qualified = format!("{}.{}", quote(&id.schema), quote(&trigger));
        let mut values: Vec<(&str, &str)> = values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("trigger", qualified.as_str())])
            .collect();
        let mark = format!("tidelock_{VERSION}_{}", digest(&render(template, &values)));
        let follows = follows(id, moment, installed);
        values.extend([("mark", mark.as_str()), ("follows", follows.as_str())]);
        let sql = render(template, &values);
        Trigger {
            trigger,
            moment,
            mark,
            sql,
        }
    })
}

/// What the templates name, whichever of it they use.
fn values(scope: &Scope, catalog: &CatalogTable, beside: bool) -> Vec<(&'static str, String)> {
    let id = &catalog.table.id;
    let key = key(catalog);
    let rank = scope.rank.to_string();
    let same = |columns: &[&Column]| {
        let terms: Vec<String> = columns.iter().map(|column| unchanged(column, beside)).collect();
        terms.join("\n        AND ")
    };
    let columns = catalog.table.columns.iter();
    let written: Vec<&Column> = columns
        .filter(|column| !column.generated && !is_stamp(&column.name))
        .collect();
    let (nothing_changed, old) = match beside {
        true => (same(&written), versions::STOOD),
        false => (
            format!(
                "{}\n        AND NEW.tidelock_version <=> OLD.tidelock_version AND NEW.tidelock_origin <=> OLD.tidelock_origin",
                same(&written)
            ),
            versions::OLD,
        ),
    };
    let source = scope.mapped(id).version;
    let version = |old: &str| versions::expressions(&source, &catalog.table, old);
    let anew = key.iter().map(|column| {
        let name = quote(&column.name);
        format!("{name} = VALUES({name})")
    });
    let versions = version(old);
    let if_named = if_named(&catalog.table, quote);
    vec![
        ("table", table(id)),
        ("tombstones", tombstones_name(id)),
        ("stamps", stamps_of(id).name),
        ("schema_name", quote_text(&id.schema)),
        ("table_name", quote_text(&id.name)),
        ("key", list(&key, "")),
        ("old_key", list(&key, "OLD.")),
        ("new_key", list(&key, "NEW.")),
        ("key_anew", anew.collect::<Vec<_>>().join(", ")),
        ("same_key", same(&key)),
        ("nothing_changed", nothing_changed),
        (
            "is_greater",
            format!("{old} > tidelock_version OR ({old} = tidelock_version AND {rank} > tidelock_origin)"),
        ),
        ("row_has_new_key", has_key(&key, "r.", "NEW")),
        ("tombstone_has_new_key", has_key(&key, "d.", "NEW")),
        ("stamp_has_new_key", has_key(&key, "s.", "NEW")),
        ("stamp_has_old_key", has_key(&key, "s.", "OLD")),
        ("has_old_key", has_key(&key, "", "OLD")),
        ("if_named", if_named.clone()),
        (
            "end_if_named",
            if if_named.is_empty() {
                String::new()
            } else {
                " END IF;".to_owned()
            },
        ),
        ("key_is_to_come", is_to_come(&key)),
        ("updated", versions.updated),
        ("inserted", versions.inserted),
        ("updated_standing", version(versions::STANDING).updated),
        ("updated_unwritten", version(versions::UNWRITTEN).updated),
        ("rank", rank),
    ]
}

fn is_stamp(name: &str) -> bool {
    name == crate::model::sync::VERSION_COLUMN || name == crate::model::sync::ORIGIN_COLUMN
}

/// `installed` is in the order in which triggers fire.
fn follows(id: &TableId, moment: &str, installed: &[Installed]) -> String {
    installed
        .iter()
        .rfind(|there| {
            there.table == *id && there.moment == moment && !there.trigger.starts_with(TRIGGER_PREFIX)
        })
        .map(|last| format!("FOLLOWS {}", quote(&last.trigger)))
        .unwrap_or_default()
}

/// Are old and new cell the same to the byte? Plain comparison goes by collation, by number (0 = -0, JSON 1 = 1.0)
/// and, for TIMESTAMP, by the session's zone, in which two moments can have one name. `as_logged`: as the server compares
/// that writes no row of which nothing changed; documents it compares by their values.
fn unchanged(column: &Column, as_logged: bool) -> String {
    let name = quote(&column.name);
    let by = |form: &str| {
        let (new, old) = (
            form.replace("{}", &format!("NEW.{name}")),
            form.replace("{}", &format!("OLD.{name}")),
        );
        format!("{new} <=> {old}")
    };
    match &column.ty {
        ColumnType::Text { .. } | ColumnType::Json { normalised: false } => by("CAST({} AS BINARY)"),
        ColumnType::Json { normalised: true } if as_logged => by("{}"),
        ColumnType::Json { normalised: true } => by("CAST(CAST({} AS CHAR CHARACTER SET utf8mb4) AS BINARY)"),
        // The angle tells the two zeros apart.
        ColumnType::Float | ColumnType::Double => format!("{} AND {}", by("{}"), by("ATAN2({}, -1)")),
        ColumnType::Enum { .. } | ColumnType::Set { .. } => by("CAST({} AS UNSIGNED)"),
        ColumnType::TimestampTz { .. } => by("UNIX_TIMESTAMP({})"),
        ColumnType::Opaque { .. } => by("HEX({})"),
        ColumnType::Bool
        | ColumnType::Int { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Bytes { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::Year
        | ColumnType::Uuid
        | ColumnType::Interval => by("{}"),
    }
}

fn list(key: &[&Column], prefix: &str) -> String {
    let names: Vec<String> = key
        .iter()
        .map(|column| format!("{prefix}{}", quote(&column.name)))
        .collect();
    names.join(", ")
}

/// Does the server count one of the key's columns up after this? Before, such a column is zero.
fn is_to_come(key: &[&Column]) -> String {
    let counted = key.iter().filter(|column| {
        matches!(
            column.ty,
            ColumnType::Int { .. } | ColumnType::Float | ColumnType::Double
        )
    });
    let terms: Vec<String> = counted
        .map(|column| format!("NEW.{} = 0", quote(&column.name)))
        .collect();
    match terms.is_empty() {
        true => "FALSE".to_owned(),
        false => terms.join(" OR "),
    }
}

/// `of`: the trigger's row.
fn has_key(key: &[&Column], prefix: &str, of: &str) -> String {
    let terms: Vec<String> = key
        .iter()
        .map(|column| {
            let name = quote(&column.name);
            format!("{prefix}{name} = {of}.{name}")
        })
        .collect();
    terms.join(" AND ")
}
