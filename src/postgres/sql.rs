//! Statement text for PostgreSQL.
//!
//! Owns: quoting and every statement the target builds.
//! Refuses: I/O. Every identifier is schema-qualified, because sessions run with `search_path = pg_catalog`.
//!
//! Rows arrive as one array of texts per column, named `v.c0`, `v.c1` .. and numbered by `v.o` from 1. They are
//! cast to types without a modifier: an explicit cast to `varchar(3)` would cut silently where an assignment raises.

pub mod beside;
pub mod expression;
pub mod folded;
pub mod image;
pub mod range;

use crate::chunk::Range;
use crate::model::origin::CONTROL;
use crate::model::schema::{Column, ColumnType, ForeignKey, Table, TableId};
use crate::model::sync::{GENERATION_COLUMN, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::plan::{Shape, StampColumns};

/// An identifier in quotes.
pub fn quote(ident: &str) -> String {
    format!("\"{}\"", ident.replace('"', "\"\""))
}

pub fn table(id: &TableId) -> String {
    format!("{}.{}", quote(&id.schema), quote(&id.name))
}

/// Settings of an apply session beyond the pins: user triggers and foreign keys stay silent, and tables are only
/// ever reached by key, whatever the statistics say. What is confirmed to the source must outlive a crash, so COMMIT
/// waits for the disk at the least.
pub const SESSION: &str = "SET session_replication_role = replica; SET enable_seqscan = off; \
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
    SET plan_cache_mode = force_generic_plan; \
    SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Deferred constraints are checked by each statement, where a savepoint can still undo it, and not by COMMIT.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL IMMEDIATE; \
    SET LOCAL tidelock.open = 'yes'";

/// The SELECT makes the whole fail in an aborted transaction, where a bare COMMIT would quietly roll back.
pub const COMMIT: &str = "SELECT 1; COMMIT";

pub const CHECKPOINT: &str = "SELECT lane, epoch, seq, position, settle, source_identity \
    FROM tidelock.checkpoint WHERE sync = $1 AND link = $2 ORDER BY seq DESC LIMIT 1";

pub const CREATE_CHECKPOINT: &str = "INSERT INTO tidelock.checkpoint (sync, link, lane, epoch, seq, position, \
    settle, origin, hop, segment, segment_number, config_hash, source_identity) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $12) ON CONFLICT DO NOTHING";

pub const TAKE_OVER: &str = "UPDATE tidelock.checkpoint SET epoch = epoch + 1 WHERE sync = $1 AND link = $2";

/// Whose the lease of a link is, and how long still.
pub const LEASE: &str = "SELECT instance, holder, process, \
    (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint, \
    (extract(epoch FROM clock_timestamp() - taken_at) * 1000)::bigint \
    FROM tidelock.lease WHERE sync = $1 AND link = $2";

pub const AUDIT: &str = "INSERT INTO tidelock.audit (operator, action, sync, link, detail) \
    VALUES ($1, $2, $3, $4, $5)";

/// Moves the checkpoint, and writes the marker only if it moved. It is sent right behind BEGIN: should BEGIN alone
/// fail, the setting that BEGIN makes is not there, and the checkpoint does not move without its rows.
/// Parameters up to $12 as in CREATE_CHECKPOINT.
pub const MOVE: &str = "WITH moved AS (UPDATE tidelock.checkpoint SET seq = $5, position = $6, settle = $7, \
    origin = $8, hop = $9, segment = $10, segment_number = 0, config_hash = $11, source_identity = $12, \
    moved_at = clock_timestamp() \
    WHERE sync = $1 AND link = $2 AND lane = $3 AND epoch = $4 AND seq = $13 \
    AND current_setting('tidelock.open', true) = 'yes' RETURNING 1) \
    SELECT pg_logical_emit_message(true, 'tidelock', $14::text)::text FROM moved";

/// A further marker in the transaction that moved the checkpoint, and where it now goes. Same parameters; $13 is the
/// seq it already has.
pub const MARK: &str = "WITH moved AS (UPDATE tidelock.checkpoint SET seq = $5, position = $6, settle = $7, \
    origin = $8, hop = $9, segment = $10, segment_number = segment_number + 1, config_hash = $11, \
    source_identity = $12 WHERE sync = $1 AND link = $2 AND lane = $3 AND epoch = $4 AND seq = $13 RETURNING 1) \
    SELECT pg_logical_emit_message(true, 'tidelock', $14::text)::text FROM moved";

pub fn empty(id: &TableId) -> String {
    format!("DELETE FROM {}", table(id))
}

/// Columns sent: key, then (guarded) the base stamp, then (buried) the tombstone. Returns the numbers of the rows
/// that were there.
pub fn delete(shape: &Shape, guarded: bool, buried: bool) -> String {
    let keys = shape.table.key.len();
    let width = keys + 2 * usize::from(guarded) + 2 * usize::from(buried);
    let gone = match beside::of(shape) {
        Some(beside) => beside::gone(shape, beside, guarded, width),
        None => format!(
            "WITH gone AS (DELETE FROM {} AS t USING {} WHERE {}{} RETURNING v.o, {})",
            table(&shape.table.id),
            rows(width),
            matches(&shape.table, "t"),
            guard(shape, guarded, keys),
            list((0..width).map(|n| format!("v.c{n}"))),
        ),
    };
    match &shape.stamps {
        Some(stamps) if buried => format!(
            "{gone}, stone AS ({}) SELECT o FROM gone",
            bury_from(shape, stamps, "gone AS v", width - 2)
        ),
        _ => format!("{gone} SELECT o FROM gone"),
    }
}

/// Columns sent: key, cells, then (guarded) the base stamp. Returns the numbers of the rows updated.
pub fn update(shape: &Shape, cells: &[usize], guarded: bool) -> String {
    let keys = shape.table.key.len();
    let width = keys + cells.len() + 2 * usize::from(guarded);
    if let Some(beside) = shape.beside() {
        return match beside.by_triggers {
            true => beside::update_as_user(shape, cells),
            false => beside::update(shape, beside, cells, guarded),
        };
    }
    let condition = format!(
        "{}{}",
        matches(&shape.table, "t"),
        guard(shape, guarded, keys + cells.len())
    );
    if cells.is_empty() {
        return format!(
            "SELECT v.o FROM {} AS t JOIN {} ON {condition} FOR UPDATE OF t",
            table(&shape.table.id),
            rows(width)
        );
    }
    let assignments = cells.iter().enumerate().map(|(index, cell)| {
        let column = &shape.table.columns[*cell];
        format!("{} = {}", quote(&column.name), cast(column, keys + index))
    });
    format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {condition} RETURNING v.o",
        table(&shape.table.id),
        list(assignments),
        rows(width)
    )
}

/// Columns sent: cells. Returns where each new row lies, because RETURNING cannot name the row it came from.
pub fn insert(shape: &Shape, cells: &[usize], skip_taken: bool) -> String {
    let columns = || {
        let columns = cells.iter().map(|cell| &shape.table.columns[*cell]);
        columns.enumerate().filter(|(_, column)| !column.is_beside())
    };
    format!(
        "INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}{} \
         RETURNING t.tableoid::text || t.ctid::text",
        table(&shape.table.id),
        list(columns().map(|(_, column)| quote(&column.name))),
        list(columns().map(|(index, column)| cast(column, index))),
        rows(cells.len()),
        if skip_taken { " ON CONFLICT DO NOTHING" } else { "" },
    )
}

/// Lines of these cells.
pub fn load(shape: &Shape, cells: &[usize], is_binary: bool) -> String {
    let columns = cells.iter().map(|cell| quote(&shape.table.columns[*cell].name));
    let format = if is_binary { " (FORMAT binary)" } else { "" };
    format!(
        "COPY {} ({}) FROM STDIN{format}",
        table(&shape.table.id),
        list(columns)
    )
}

/// Columns sent: key. Where the rows under these keys lie.
pub fn places(shape: &Shape) -> String {
    format!(
        "SELECT v.o, t.tableoid::text || t.ctid::text FROM {} JOIN {} AS t ON {}",
        rows(shape.table.key.len()),
        table(&shape.table.id),
        matches(&shape.table, "t"),
    )
}

/// Columns sent: key, version. The numbers of the rows that a tombstone beats (a delete beats a write of its
/// version).
pub fn dominated(shape: &Shape, stamps: &StampColumns) -> String {
    let keys = shape.table.key.len();
    format!(
        "SELECT v.o FROM {} JOIN {} AS x ON {} AND x.{VERSION_COLUMN} >= v.c{keys}::int8",
        rows(keys + 1),
        tombstones(stamps),
        matches(&shape.table, "x"),
    )
}

/// Columns sent: key, version, origin. The greater stamp stays; one that is raised is not of its generation any more.
pub fn bury(shape: &Shape, stamps: &StampColumns) -> String {
    let keys = shape.table.key.len();
    bury_from(shape, stamps, &rows(keys + 2), keys)
}

fn bury_from(shape: &Shape, stamps: &StampColumns, source: &str, stamp_at: usize) -> String {
    let keys = list(key_columns(&shape.table).map(|column| quote(&column.name)));
    let values = list(
        key_columns(&shape.table)
            .enumerate()
            .map(|(index, column)| cast(column, index)),
    );
    format!(
        "INSERT INTO {} AS x ({keys}, {VERSION_COLUMN}, {ORIGIN_COLUMN}) \
         SELECT {values}, v.c{stamp_at}::int8, v.c{}::int2 FROM {source} \
         ON CONFLICT ({keys}) DO UPDATE SET {VERSION_COLUMN} = excluded.{VERSION_COLUMN}, \
         {ORIGIN_COLUMN} = excluded.{ORIGIN_COLUMN}, {GENERATION_COLUMN} = NULL \
         WHERE (x.{VERSION_COLUMN}, x.{ORIGIN_COLUMN}) < (excluded.{VERSION_COLUMN}, excluded.{ORIGIN_COLUMN})",
        tombstones(stamps),
        stamp_at + 1,
    )
}

/// Columns sent: key. Number, then every column that is not generated, as text; rows are locked in key order.
pub fn read(shape: &Shape) -> String {
    let cells = shape.stored().map(|(_, column)| text(column));
    let order = list(key_columns(&shape.table).map(|column| format!("t.{}", quote(&column.name))));
    let (joined, locked) = match shape.beside() {
        Some(beside) => (beside::joined(shape, beside), "t, x"),
        None => (String::new(), "t"),
    };
    format!(
        "SELECT v.o, {} FROM {} JOIN {} AS t ON {}{joined} ORDER BY {order} FOR UPDATE OF {locked}",
        list(cells),
        rows(shape.table.key.len()),
        table(&shape.table.id),
        matches(&shape.table, "t"),
    )
}

/// Columns sent: key. The same of rows that the server takes for equal, in whatever spelling, as its unique index does.
pub fn alike(shape: &Shape) -> String {
    let cells = shape.stored().map(|(_, column)| text(column));
    let pairs = key_columns(&shape.table).enumerate();
    let pairs = pairs.map(|(index, column)| is_alike(column, "t", index));
    format!(
        "SELECT v.o, {} FROM {} JOIN {} AS t ON {}",
        list(cells),
        rows(shape.table.key.len()),
        table(&shape.table.id),
        pairs.collect::<Vec<_>>().join(" AND "),
    )
}

/// Columns sent: key.
pub fn read_tombstones(shape: &Shape, stamps: &StampColumns) -> String {
    stamps_in(shape, &tombstones(stamps))
}

/// Columns sent: key.
pub fn read_stamps(shape: &Shape) -> String {
    if let Some(beside) = shape.beside() {
        return beside::look(shape, beside);
    }
    stamps_in(shape, &table(&shape.table.id))
}

fn stamps_in(shape: &Shape, from: &str) -> String {
    format!(
        "SELECT v.o, x.{VERSION_COLUMN}, x.{ORIGIN_COLUMN} FROM {} JOIN {from} AS x ON {}",
        rows(shape.table.key.len()),
        matches(&shape.table, "x"),
    )
}

/// Columns sent: key of the child. The numbers of the rows whose foreign key finds no parent; the others' are locked.
pub fn without_parent(key: &ForeignKey, child: &Shape) -> String {
    let set = key
        .columns
        .iter()
        .map(|name| format!("t.{} IS NOT NULL", quote(name)));
    format!(
        "SELECT v.o FROM {} JOIN {} AS t ON {} WHERE {} AND NOT EXISTS ({} FOR KEY SHARE OF p)",
        rows(child.table.key.len()),
        table(&child.table.id),
        matches(&child.table, "t"),
        set.collect::<Vec<_>>().join(" AND "),
        parent_of(key, child),
    )
}

/// What of the child table's rows whose foreign key finds no parent. `end`: either table of it.
pub fn orphans(what: &str, key: &ForeignKey, end: &Shape) -> String {
    let set = key
        .columns
        .iter()
        .map(|name| format!("t.{} IS NOT NULL AND ", quote(name)));
    format!(
        "SELECT {what} FROM {} AS t WHERE {}NOT EXISTS ({})",
        table(&key.child),
        set.collect::<String>(),
        parent_of(key, end),
    )
}

/// Columns sent: key of the parent. The numbers of the keys that rows still refer to although no row has them.
/// `None`: the foreign key refers to other columns than the key's.
pub fn with_children(key: &ForeignKey, parent: &Shape) -> Option<String> {
    let mut parts = Vec::with_capacity(key.columns.len());
    for (index, column) in key_columns(&parent.table).enumerate() {
        let at = key.references.iter().position(|name| *name == column.name)?;
        let name = format!("t.{}", quote(&key.columns[at]));
        parts.push(format!("{name} {} {}", equals(&column.ty), cast(column, index)));
    }
    if parts.len() != key.columns.len() {
        return None;
    }
    Some(format!(
        "SELECT DISTINCT v.o FROM {} JOIN {} AS t ON {} WHERE NOT EXISTS ({})",
        rows(parts.len()),
        table(&key.child),
        parts.join(" AND "),
        parent_of(key, parent),
    ))
}

/// The parent of row `t`; the types' operators are those of either table.
fn parent_of(key: &ForeignKey, typed: &Shape) -> String {
    let pairs = key
        .columns
        .iter()
        .zip(&key.references)
        .map(|(column, reference)| {
            let known = typed
                .table
                .columns
                .iter()
                .find(|c| c.name == *column || c.name == *reference);
            let operator = known.map_or("=".to_owned(), |column| equals(&column.ty));
            format!("p.{} {operator} t.{}", quote(reference), quote(column))
        });
    format!(
        "SELECT 1 FROM {} AS p WHERE {}",
        table(&key.parent),
        pairs.collect::<Vec<_>>().join(" AND ")
    )
}

/// One row if there is any.
/// Of those that take part.
pub fn has_rows(of: &Table) -> String {
    let within = range::within(of, &Range::default());
    format!("SELECT 1 FROM {} AS t{within} LIMIT 1", table(&of.id))
}

fn tombstones(stamps: &StampColumns) -> String {
    table(&TableId::new(CONTROL, &stamps.tombstones))
}

fn key_columns(table: &Table) -> impl Iterator<Item = &Column> {
    table.key.iter().map(|index| &table.columns[*index])
}

fn rows(width: usize) -> String {
    let arrays = list((1..=width).map(|n| format!("${n}::text[]")));
    let names = list((0..width).map(|n| format!("c{n}")));
    format!("unnest({arrays}) WITH ORDINALITY AS v({names}, o)")
}

/// The row of alias `alias` under the key in `v.c0`..: the index finds it, and never under another spelling.
fn matches(table: &Table, alias: &str) -> String {
    let parts = key_columns(table).enumerate().map(|(index, column)| {
        let name = format!("{alias}.{}", quote(&column.name));
        let mut part = is_alike(column, alias, index);
        if !column.collation.is_empty() || is_citext(&column.ty) {
            part.push_str(&format!(
                " AND {name}::text COLLATE \"C\" = v.c{index} COLLATE \"C\""
            ));
        }
        part
    });
    parts.collect::<Vec<_>>().join(" AND ")
}

fn is_alike(column: &Column, alias: &str, index: usize) -> String {
    let name = format!("{alias}.{}", quote(&column.name));
    format!("{name} {} {}", equals(&column.ty), cast(column, index))
}

fn is_citext(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::Opaque { name } if name == "citext" || name.ends_with(".citext"))
}

/// Types of extensions bring their own operator, in their own schema.
pub fn equals(ty: &ColumnType) -> String {
    match ty {
        ColumnType::Opaque { name } => match schema_of(name) {
            Some(schema) => format!("OPERATOR({schema}.=)"),
            None => "=".to_owned(),
        },
        _ => "=".to_owned(),
    }
}

/// The schema in front of a type's name, quoted as it stands there.
fn schema_of(name: &str) -> Option<&str> {
    let mut quoted = false;
    let dot = name.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '.' && !quoted
    });
    dot.map(|(at, _)| &name[..at])
}

fn guard(shape: &Shape, guarded: bool, first: usize) -> String {
    match &shape.stamps {
        Some(stamps) if guarded => format!(
            " AND t.{} = v.c{first}::int8 AND t.{} = v.c{}::int2",
            quote(&shape.table.columns[stamps.version].name),
            quote(&shape.table.columns[stamps.origin].name),
            first + 1
        ),
        _ => String::new(),
    }
}

/// `v.cN` as a value that assigns to the column, or compares with it by its index.
fn cast(column: &Column, index: usize) -> String {
    let ty = match &column.ty {
        ColumnType::Bool => "bool",
        ColumnType::Int { unsigned: false, .. } | ColumnType::Year => "int8",
        ColumnType::Int { unsigned: true, .. } | ColumnType::Decimal { .. } => "numeric",
        ColumnType::Float => "float4",
        ColumnType::Double => "float8",
        // `character` means one character here, and `bit` one bit: their other names have no such default.
        ColumnType::Text { fixed: true, .. } => "bpchar",
        ColumnType::Text { fixed: false, .. } | ColumnType::Set { .. } => return format!("v.c{index}"),
        ColumnType::Bytes { .. } => "bytea",
        ColumnType::Bit { .. } => "varbit",
        ColumnType::Date => "date",
        ColumnType::Time { .. } => "time",
        ColumnType::Timestamp { .. } => "timestamp",
        ColumnType::TimestampTz { .. } => "timestamptz",
        ColumnType::Uuid => "uuid",
        ColumnType::Json { normalised: true } => "jsonb",
        ColumnType::Json { normalised: false } => "json",
        ColumnType::Enum { .. } => &column.sql_type,
        ColumnType::Interval => "interval",
        ColumnType::Opaque { name } => match name.as_str() {
            "character[]" => "bpchar[]",
            "bit[]" => "varbit[]",
            name => name,
        },
    };
    format!("v.c{index}::{ty}")
}

/// A cell as the log would print it. Casts of some types (inet) print otherwise; `format` calls the type's own
/// output function.
fn text(column: &Column) -> String {
    let alias = if column.is_beside() { "x" } else { "t" };
    let name = format!("{alias}.{}", quote(&column.name));
    match &column.ty {
        ColumnType::Opaque { .. } => {
            format!("CASE WHEN num_nulls({name}) = 0 THEN format('%s', {name}) END")
        }
        _ => format!("{name}::text"),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn column(name: &str, ty: ColumnType, sql_type: &str) -> Column {
        Column {
            name: name.to_owned(),
            ty,
            sql_type: sql_type.to_owned(),
            collation: String::new(),
            nullable: true,
            generated: false,
            has_default: false,
        }
    }

    fn shape() -> Shape {
        let int = ColumnType::Int {
            bits: 32,
            unsigned: false,
        };
        let bit = ColumnType::Bit {
            len: Some(3),
            varying: false,
        };
        Shape {
            table: Arc::new(Table {
                id: TableId::new("s", "t"),
                columns: vec![
                    column("id", int.clone(), "integer"),
                    column("a\"b", bit, "bit(3)"),
                    column(VERSION_COLUMN, int.clone(), "bigint"),
                    column(ORIGIN_COLUMN, int, "smallint"),
                ],
                key: vec![0],
                uniques: vec![],
                external: None,
            }),
            untouched: vec![],
            stamps: Some(StampColumns {
                version: 2,
                origin: 3,
                tombstones: "stones".to_owned(),
                beside: None,
            }),
        }
    }

    #[test]
    fn identifiers_are_quoted_whatever_they_hold() {
        assert_eq!(quote("a\"; drop--"), "\"a\"\"; drop--\"");
        assert_eq!(table(&TableId::new("My S", "order")), "\"My S\".\"order\"");
    }

    #[test]
    fn updates_carry_casts_without_modifier_and_the_guard() {
        assert_eq!(
            update(&shape(), &[1], true),
            "UPDATE \"s\".\"t\" AS t SET \"a\"\"b\" = v.c1::varbit FROM \
             unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS v(c0, c1, c2, c3, o) \
             WHERE t.\"id\" = v.c0::int8 AND t.\"tidelock_version\" = v.c2::int8 AND \
             t.\"tidelock_origin\" = v.c3::int2 RETURNING v.o"
        );
    }

    #[test]
    fn deletes_bury_what_they_deleted() {
        let sql = delete(&shape(), true, true);
        assert!(
            sql.contains("stone AS (INSERT INTO \"tidelock\".\"stones\" AS x"),
            "{sql}"
        );
        assert!(sql.contains("v.c3::int8, v.c4::int2 FROM gone AS v"), "{sql}");
        assert!(!delete(&shape(), false, false).contains("stone"));
    }

    #[test]
    fn schemas_of_types_are_found_outside_quotes() {
        assert_eq!(schema_of("public.citext"), Some("public"));
        assert_eq!(schema_of("\"my.s\".ltree"), Some("\"my.s\""));
        assert_eq!(schema_of("inet"), None);
    }
}
