//! What PostgreSQL's catalogs say about the tables of a sync.
//!
//! Owns: [`tables`], [`list`] and [`sizes`], each a handful of set-based queries whatever the number of tables, and the
//! mapping of PostgreSQL's types to [`ColumnType`]. Refuses: judging what it finds (see `setup`).
//! Fails: with what the server says. A table that does not exist is `None`.

use super::fail;
use crate::error::{Error, Result};
use crate::model::origin::CONTROL;
use crate::model::schema::{Column, ColumnType, ForeignKey, Table, TableId};
use crate::model::sync::{CatalogTable, Counter, ForeignTrigger, Size, stamps_of};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

const DOING: &str = "read the tables' definitions";

/// Our triggers sort last by name, because PostgreSQL fires triggers in the order of their names.
pub const TRIGGER_PREFIX: &str = "zz_tidelock_";

/// The tables in the order asked for.
pub async fn tables(client: &Client, ids: &[TableId]) -> Result<Vec<Option<CatalogTable>>> {
    let mut found = relations(client, ids).await?;
    let oids: Vec<u32> = found.iter().flatten().map(|relation| relation.oid).collect();
    let mut by_oid: HashMap<u32, &mut Relation> = found
        .iter_mut()
        .flatten()
        .map(|relation| (relation.oid, relation))
        .collect();
    columns(client, &oids, &mut by_oid).await?;
    indexes(client, &oids, &mut by_oid).await?;
    counters(client, &oids, &mut by_oid).await?;
    triggers(client, &oids, &mut by_oid).await?;
    cascades(client, &oids, &mut by_oid).await?;
    stamps(client, &mut found).await?;
    Ok(found
        .into_iter()
        .map(|relation| relation.map(|relation| relation.catalog))
        .collect())
}

/// The tables there are, in these schemas or in all: no views, no partitions of a table, nothing of the system, of
/// an extension or of our own.
pub async fn list(client: &Client, schemas: Option<&[String]>) -> Result<Vec<TableId>> {
    let sql = "SELECT n.nspname::text, c.relname::text
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
                  AND n.nspname NOT IN ('information_schema', $2) AND NOT starts_with(n.nspname::text, 'pg_')
                  AND ($1::text[] IS NULL OR n.nspname::text = ANY($1::text[]))
                  AND NOT EXISTS (SELECT FROM pg_depend d
                                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
                ORDER BY 1, 2";
    let rows = client
        .query(sql, &[&schemas, &CONTROL])
        .await
        .map_err(|error| fail("list the tables", error))?;
    let id = |row: &Row| Ok(TableId::new(cell::<String>(row, 0)?, cell::<String>(row, 1)?));
    rows.iter().map(id).collect()
}

/// A partitioned table is as large as its partitions. Rows are estimated as the planner does, by the density that the
/// last ANALYZE or VACUUM found; without one they are what the server counted since its statistics began. (Those counts
/// alone can be twice too high: sessions report them later than ANALYZE sets them.)
const SIZES: &str = "
    SELECT want.number, sum(leaf.bytes)::bigint,
           CASE WHEN bool_and(leaf.rows IS NOT NULL) THEN sum(leaf.rows)::bigint END
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want(schema, name, number)
      JOIN pg_namespace n ON n.nspname = want.schema
      JOIN pg_class root ON root.relnamespace = n.oid AND root.relname = want.name
     CROSS JOIN LATERAL (SELECT root.oid AS member UNION SELECT relid::oid FROM pg_partition_tree(root.oid)) part
      JOIN pg_class c ON c.oid = part.member
     CROSS JOIN LATERAL (
           SELECT CASE WHEN c.relkind = 'p' THEN 0 ELSE pg_table_size(c.oid) END AS bytes,
                  CASE WHEN c.relkind = 'p' OR pg_relation_size(c.oid) = 0 THEN 0
                       WHEN c.reltuples > 0 AND c.relpages > 0
                       THEN c.reltuples::float8 / c.relpages
                            * (pg_relation_size(c.oid) / current_setting('block_size')::bigint)
                       ELSE coalesce(nullif(pg_stat_get_live_tuples(c.oid), 0)::float8, nullif(c.reltuples, -1))
                  END AS rows) leaf
     WHERE root.relkind IN ('r', 'p')
     GROUP BY want.number";

/// How large the tables are, in the order asked for.
pub async fn sizes(client: &Client, ids: &[TableId]) -> Result<Vec<Option<Size>>> {
    let schemas: Vec<&str> = ids.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    let rows = client
        .query(SIZES, &[&schemas, &names])
        .await
        .map_err(|error| fail("read the tables' sizes", error))?;
    let mut sizes = vec![None; ids.len()];
    for row in &rows {
        let number: i64 = cell(row, 0)?;
        let place = usize::try_from(number - 1)
            .ok()
            .and_then(|index| sizes.get_mut(index));
        let place = place
            .ok_or_else(|| Error::bug("read the tables' sizes").why("a table that was not asked for"))?;
        let bytes: i64 = cell(row, 1)?;
        let count: Option<i64> = cell(row, 2)?;
        *place = Some(Size {
            rows: count.map(|count| count.max(0).unsigned_abs()),
            bytes: bytes.max(0).unsigned_abs(),
        });
    }
    Ok(sizes)
}

struct Relation {
    oid: u32,
    catalog: CatalogTable,
    /// Attribute number of each column, by which indexes name them.
    numbers: Vec<i16>,
}

impl Relation {
    /// Indexes into the columns; `None` when one of the numbers is an expression.
    fn columns(&self, numbers: &[i16]) -> Option<Vec<usize>> {
        numbers
            .iter()
            .map(|number| self.numbers.iter().position(|other| other == number))
            .collect()
    }
}

async fn query(client: &Client, sql: &str, oids: &[u32]) -> Result<Vec<Row>> {
    if oids.is_empty() {
        return Ok(Vec::new());
    }
    client
        .query(sql, &[&oids])
        .await
        .map_err(|error| fail(DOING, error))
}

pub(super) fn cell<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| fail(DOING, error))
}

const RELATIONS: &str = "
    SELECT want.number, c.oid, c.relkind::text
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want(schema, name, number)
      JOIN pg_namespace n ON n.nspname = want.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')";

async fn relations(client: &Client, ids: &[TableId]) -> Result<Vec<Option<Relation>>> {
    let schemas: Vec<&str> = ids.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    let rows = client
        .query(RELATIONS, &[&schemas, &names])
        .await
        .map_err(|error| fail(DOING, error))?;
    let mut found: Vec<Option<Relation>> = ids.iter().map(|_| None).collect();
    for row in &rows {
        let number: i64 = cell(row, 0)?;
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let (Some(place), Some(id)) = (found.get_mut(index), ids.get(index)) else {
            return Err(Error::bug(DOING).why("the server numbered a table that was not asked for"));
        };
        *place = Some(Relation {
            oid: cell(row, 1)?,
            numbers: Vec::new(),
            catalog: CatalogTable {
                table: Table {
                    id: id.clone(),
                    columns: Vec::new(),
                    key: Vec::new(),
                    uniques: Vec::new(),
                    external: None,
                },
                always: Vec::new(),
                foreign_triggers: Vec::new(),
                cascades: Vec::new(),
                storage: cell(row, 2)?,
                counter: None,
                unique_names: Vec::new(),
            },
        });
    }
    Ok(found)
}

/// The fields of a composite type `t`, or of the type that `t` is an array of, as a comment behind its name: it is known
/// as text only, and must not go into a type of the same name whose fields are others.
macro_rules! fields {
    () => {
        "coalesce((SELECT ' /* ' || replace(string_agg(quote_ident(f.attname) || ' ' ||
                      format_type(f.atttypid, f.atttypmod), ', ' ORDER BY f.attnum), '*', '') || ' */'
                      FROM pg_type e JOIN pg_attribute f ON f.attrelid = e.typrelid
                     WHERE e.oid IN (t.oid, t.typelem) AND f.attnum > 0 AND NOT f.attisdropped), '')"
    };
}
pub(super) use fields;

/// A domain is followed to its base type, whose modifier the last domain carries.
const COLUMNS: &str = concat!(
    "
    WITH RECURSIVE chain AS (
        SELECT a.attrelid, a.attnum, t.oid, t.typtype, t.typbasetype, t.typnotnull, a.atttypmod AS modifier,
               t.typtypmod, 0 AS depth
          FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT c.attrelid, c.attnum, t.oid, t.typtype, t.typbasetype, c.typnotnull OR t.typnotnull, c.typtypmod,
               t.typtypmod, c.depth + 1
          FROM chain c JOIN pg_type t ON t.oid = c.typbasetype
         WHERE c.typtype = 'd')
    SELECT a.attrelid, a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod) || ",
    fields!(),
    ",
           coalesce((SELECT quote_ident(k.nspname) || '.' || quote_ident(l.collname)
                       FROM pg_collation l JOIN pg_namespace k ON k.oid = l.collnamespace
                      WHERE l.oid = a.attcollation AND NOT l.collisdeterministic), ''),
           NOT (a.attnotnull OR c.typnotnull), a.attgenerated <> '', a.atthasdef OR a.attidentity <> '',
           n.nspname = 'pg_catalog', t.typname::text, format_type(c.oid, NULL), c.modifier,
           CASE WHEN t.typtype = 'e'
                THEN ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
           END, current_setting('server_encoding') = 'UTF8', a.attidentity = 'a'
      FROM chain c
      JOIN pg_attribute a ON a.attrelid = c.attrelid AND a.attnum = c.attnum
      JOIN pg_type t ON t.oid = c.oid
      JOIN pg_namespace n ON n.oid = t.typnamespace
     WHERE c.typtype <> 'd'
     ORDER BY a.attrelid, a.attnum"
);

async fn columns(client: &Client, oids: &[u32], by_oid: &mut HashMap<u32, &mut Relation>) -> Result<()> {
    for row in query(client, COLUMNS, oids).await? {
        let Some(relation) = by_oid.get_mut(&cell::<u32>(&row, 0)?) else {
            continue;
        };
        let base = BaseType {
            built_in: cell(&row, 8)?,
            name: cell(&row, 9)?,
            full_name: cell(&row, 10)?,
            modifier: cell(&row, 11)?,
            labels: cell(&row, 12)?,
            utf8: cell(&row, 13)?,
        };
        relation.numbers.push(cell(&row, 1)?);
        if cell(&row, 14)? {
            relation.catalog.always.push(cell(&row, 2)?);
        }
        relation.catalog.table.columns.push(Column {
            name: cell(&row, 2)?,
            ty: base.column_type(),
            sql_type: cell(&row, 3)?,
            collation: cell(&row, 4)?,
            nullable: cell(&row, 5)?,
            generated: cell(&row, 6)?,
            has_default: cell(&row, 7)?,
        });
    }
    Ok(())
}

/// A column's type with all domains taken off.
struct BaseType<'a> {
    built_in: bool,
    name: &'a str,
    /// As DDL writes it, without a modifier.
    full_name: String,
    /// `atttypmod`; -1 without one.
    modifier: i32,
    labels: Option<Vec<String>>,
    utf8: bool,
}

impl BaseType<'_> {
    fn column_type(self) -> ColumnType {
        if let Some(labels) = self.labels {
            return ColumnType::Enum { labels };
        }
        // A type of the same name in another schema is another type.
        if !self.built_in {
            return ColumnType::Opaque { name: self.full_name };
        }
        match self.name {
            "bool" => ColumnType::Bool,
            "int2" => int(16),
            "int4" => int(32),
            "int8" => int(64),
            "float4" => ColumnType::Float,
            "float8" => ColumnType::Double,
            "numeric" => self.decimal(),
            "text" => self.text(None, None, false),
            "varchar" => self.text(self.length(), None, false),
            "bpchar" => self.text(self.length(), None, true),
            // 64 bytes with the closing zero.
            "name" => self.text(None, Some(63), false),
            "bytea" => ColumnType::Bytes {
                limit: None,
                fixed: false,
            },
            "bit" => self.bit(false),
            "varbit" => self.bit(true),
            "date" => ColumnType::Date,
            "time" => ColumnType::Time {
                fraction: self.fraction(),
                span: false,
            },
            "timestamp" => ColumnType::Timestamp {
                fraction: self.fraction(),
            },
            "timestamptz" => ColumnType::TimestampTz {
                fraction: self.fraction(),
                epoch: false,
            },
            "uuid" => ColumnType::Uuid,
            "json" => ColumnType::Json { normalised: false },
            "jsonb" => ColumnType::Json { normalised: true },
            "interval" => ColumnType::Interval,
            _ => ColumnType::Opaque { name: self.full_name },
        }
    }

    fn decimal(&self) -> ColumnType {
        // Precision in the upper half; the scale is an 11-bit number with a sign.
        let (precision, scale) = match self.modifier {
            ..4 => (None, 0),
            packed => {
                let packed = packed - 4;
                let precision = u32::try_from((packed >> 16) & 0xffff).ok();
                (precision, ((packed & 0x7ff) ^ 1024) - 1024)
            }
        };
        ColumnType::Decimal {
            precision,
            scale,
            unsigned: false,
        }
    }

    fn text(&self, chars: Option<u32>, bytes: Option<u64>, fixed: bool) -> ColumnType {
        ColumnType::Text {
            chars,
            bytes,
            fixed,
            utf8: self.utf8,
        }
    }

    /// Character types count their own four-byte header in the modifier.
    fn length(&self) -> Option<u32> {
        u32::try_from(self.modifier - 4).ok()
    }

    fn bit(&self, varying: bool) -> ColumnType {
        ColumnType::Bit {
            len: u32::try_from(self.modifier).ok(),
            varying,
        }
    }

    fn fraction(&self) -> u8 {
        u8::try_from(self.modifier).unwrap_or(6)
    }
}

fn int(bits: u8) -> ColumnType {
    ColumnType::Int {
        bits,
        unsigned: false,
    }
}

/// Included columns are no part of the key. What an exclusion constraint keeps apart no columns say, as with a unique index
/// over an expression.
const INDEXES: &str = "
    SELECT i.indrelid, i.indisprimary, (i.indkey::int2[])[0:i.indnkeyatts - 1],
           i.indpred IS NULL AND (i.indisprimary OR NOT i.indisexclusion), c.relname::text
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = ANY($1::oid[]) AND (i.indisunique OR i.indisexclusion) AND i.indislive
     ORDER BY i.indrelid, i.indexrelid";

async fn indexes(client: &Client, oids: &[u32], by_oid: &mut HashMap<u32, &mut Relation>) -> Result<()> {
    for row in query(client, INDEXES, oids).await? {
        let Some(relation) = by_oid.get_mut(&cell::<u32>(&row, 0)?) else {
            continue;
        };
        let numbers: Vec<i16> = cell(&row, 2)?;
        let whole: bool = cell(&row, 3)?;
        let columns = relation.columns(&numbers).filter(|_| whole).unwrap_or_default();
        if cell(&row, 1)? {
            relation.catalog.table.key = columns;
        } else {
            relation.catalog.table.uniques.push(columns);
            relation.catalog.unique_names.push(cell(&row, 4)?);
        }
    }
    Ok(())
}

/// Identities, and defaults that are the next number of a sequence and nothing else. What the sequence gave last is
/// NULL for whoever has no right on it.
const COUNTERS: &str = "
    SELECT a.attrelid, a.attname::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
           s.seqincrement, q.last_value, s.seqmin, s.seqmax
      FROM pg_index i
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     CROSS JOIN LATERAL (
           SELECT d.objid AS sequence FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refclassid = 'pg_class'::regclass
              AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
           UNION
           SELECT d.refobjid FROM pg_attrdef def
             JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = def.oid
                             AND d.refclassid = 'pg_class'::regclass
            WHERE def.adrelid = a.attrelid AND def.adnum = a.attnum
              AND pg_get_expr(def.adbin, def.adrelid) ~ '^nextval\\(''([^'']|'''')*''::regclass\\)$') counts
      JOIN pg_sequence s ON s.seqrelid = counts.sequence
      JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_sequences q ON q.schemaname = n.nspname AND q.sequencename = c.relname
     WHERE i.indrelid = ANY($1::oid[]) AND i.indisprimary AND i.indnkeyatts = 1";

async fn counters(client: &Client, oids: &[u32], by_oid: &mut HashMap<u32, &mut Relation>) -> Result<()> {
    for row in query(client, COUNTERS, oids).await? {
        let Some(relation) = by_oid.get_mut(&cell::<u32>(&row, 0)?) else {
            continue;
        };
        relation.catalog.counter = Some(Counter {
            column: cell(&row, 1)?,
            sequence: cell(&row, 2)?,
            step: cell(&row, 3)?,
            at: cell(&row, 4)?,
            bounds: (cell(&row, 5)?, cell(&row, 6)?),
        });
    }
    Ok(())
}

/// Triggers of partitions count for their table; copies of the table's own only where they fire and it does not. An
/// ordinary trigger is silent in our apply sessions, which run as replicas; one that is enabled ALWAYS or for replicas
/// is not.
const TRIGGERS: &str = "
    SELECT root.oid, n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled IN ('O', 'D')
      FROM unnest($1::oid[]) AS root(oid)
     CROSS JOIN LATERAL (SELECT root.oid AS member
                         UNION SELECT part.relid::oid FROM pg_partition_tree(root.oid) part) tree
      JOIN pg_class c ON c.oid = tree.member JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_trigger t ON t.tgrelid = tree.member
      LEFT JOIN pg_trigger above ON above.oid = t.tgparentid
     WHERE NOT t.tgisinternal AND NOT starts_with(t.tgname::text, $2)
       AND (above.oid IS NULL OR (t.tgenabled IN ('A', 'R') AND above.tgenabled NOT IN ('A', 'R')))
     ORDER BY root.oid, c.oid <> root.oid, c.oid, t.tgname";

async fn triggers(client: &Client, oids: &[u32], by_oid: &mut HashMap<u32, &mut Relation>) -> Result<()> {
    let rows = client
        .query(TRIGGERS, &[&oids, &TRIGGER_PREFIX])
        .await
        .map_err(|error| fail(DOING, error))?;
    for row in &rows {
        let Some(relation) = by_oid.get_mut(&cell::<u32>(row, 0)?) else {
            continue;
        };
        relation.catalog.foreign_triggers.push(ForeignTrigger {
            table: TableId::new(cell::<String>(row, 1)?, cell::<String>(row, 2)?),
            name: cell(row, 3)?,
            guarded: cell(row, 4)?,
        });
    }
    Ok(())
}

/// A table whose stamps stand in a table of their own is one with them for whoever reads and writes rows.
async fn stamps(client: &Client, found: &mut [Option<Relation>]) -> Result<()> {
    let names: Vec<String> = found
        .iter()
        .flatten()
        .filter(|relation| relation.catalog.table.id.schema != CONTROL)
        .map(|relation| stamps_of(&relation.catalog.table.id).name)
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname::text = ANY($2::text[])";
    let rows = client
        .query(sql, &[&CONTROL, &names])
        .await
        .map_err(|error| fail(DOING, error))?;
    let mut there = Vec::with_capacity(rows.len());
    for row in &rows {
        there.push(cell::<String>(row, 0)?);
    }
    for relation in found.iter_mut().flatten() {
        let table = &mut relation.catalog.table;
        let is_new = |column: &Column| table.column(&column.name).is_none();
        if table.id.schema != CONTROL && there.contains(&stamps_of(&table.id).name) {
            let columns: Vec<Column> = Column::stamps_beside().into_iter().filter(is_new).collect();
            table.columns.extend(columns);
        }
    }
    Ok(())
}

const CASCADES: &str = "
    SELECT conrelid, conname::text, confdeltype::text, confupdtype::text
      FROM pg_constraint
     WHERE contype = 'f' AND conrelid = ANY($1::oid[])
       AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
     ORDER BY conrelid, conname";

async fn cascades(client: &Client, oids: &[u32], by_oid: &mut HashMap<u32, &mut Relation>) -> Result<()> {
    let action = |code: &str| match code {
        "c" => Some("CASCADE"),
        "n" => Some("SET NULL"),
        "d" => Some("SET DEFAULT"),
        _ => None,
    };
    for row in query(client, CASCADES, oids).await? {
        let Some(relation) = by_oid.get_mut(&cell::<u32>(&row, 0)?) else {
            continue;
        };
        let name: &str = cell(&row, 1)?;
        for (event, code) in [("DELETE", cell(&row, 2)?), ("UPDATE", cell(&row, 3)?)] {
            if let Some(action) = action(code) {
                relation
                    .catalog
                    .cascades
                    .push(format!("{name}: ON {event} {action}"));
            }
        }
    }
    Ok(())
}

/// Those of partitions are named by the table they are parts of.
pub(super) const FOREIGN_KEYS: &str = "SELECT k.conname::text, cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, \
    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS n(num, at) \
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.num ORDER BY n.at), \
    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS n(num, at) \
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.num ORDER BY n.at) \
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace \
    JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace \
    WHERE k.contype = 'f' AND k.conparentid = 0 \
    AND (cn.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
    AND (pn.nspname::text, p.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY 2, 3, 1";

pub(super) fn foreign_key(row: &Row) -> Result<ForeignKey, tokio_postgres::Error> {
    Ok(ForeignKey {
        name: row.try_get(0)?,
        child: TableId::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?),
        parent: TableId::new(row.try_get::<_, String>(3)?, row.try_get::<_, String>(4)?),
        columns: row.try_get(5)?,
        references: row.try_get(6)?,
    })
}

/// The foreign keys among these tables.
pub async fn foreign_keys(client: &Client, ids: &[TableId]) -> Result<Vec<ForeignKey>> {
    let doing = "read the foreign keys";
    let schemas: Vec<&str> = ids.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    let rows = client.query(FOREIGN_KEYS, &[&schemas, &names]).await;
    let rows = rows.map_err(|error| fail(doing, error))?;
    let keys = rows.iter().map(foreign_key);
    keys.map(|key| key.map_err(|error| fail(doing, error))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(modifier: i32) -> ColumnType {
        let base = BaseType {
            built_in: true,
            name: "numeric",
            full_name: "numeric".to_owned(),
            modifier,
            labels: None,
            utf8: true,
        };
        base.column_type()
    }

    #[test]
    fn numeric_modifiers_hold_precision_and_signed_scale() {
        let of = |precision, scale| ColumnType::Decimal {
            precision,
            scale,
            unsigned: false,
        };
        assert_eq!(decimal(-1), of(None, 0));
        assert_eq!(decimal(((10 << 16) | 2) + 4), of(Some(10), 2));
        assert_eq!(decimal(((3 << 16) | (-5 & 0x7ff)) + 4), of(Some(3), -5));
    }
}
