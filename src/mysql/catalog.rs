//! What `information_schema` says about the tables of a sync.
//!
//! Owns: [`tables`], a few queries per database whatever the number of tables (on MariaDB one more for each that may
//! hold JSON); [`list`]; [`sizes`], a query per table; the mapping of the types of MySQL and MariaDB to [`ColumnType`].
//! Refuses: judging what it finds (see `setup`). Fails: with what the server says. A table that does not exist, or that
//! the account may not see, is `None`.

use super::{Flavor, fail, flavor};
use crate::error::{Error, Result};
use crate::model::origin::CONTROL;
use crate::model::schema::{Column, ColumnType, ForeignKey, Table, TableId};
use crate::model::sync::{CatalogTable, Counter, ForeignTrigger, Size, stamps_of};
use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Conn, Params, Row, Value};
use std::collections::{BTreeMap, HashMap};

const DOING: &str = "read the tables' definitions";

/// What marks a trigger as ours.
pub const TRIGGER_PREFIX: &str = "tidelock_";
/// By the character set's name.
pub(super) fn holds_all_of_unicode(charset: &str) -> bool {
    ["utf8mb4", "utf16", "utf16le", "utf32", "gb18030"].contains(&charset)
}

/// The tables' names by their database.
pub fn by_schema<'a>(ids: impl IntoIterator<Item = &'a TableId>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut schemas = BTreeMap::<&str, Vec<&str>>::new();
    for id in ids {
        schemas.entry(&id.schema).or_default().push(&id.name);
    }
    schemas
}

/// The tables in the order asked for.
pub async fn tables(conn: &mut Conn, ids: &[TableId]) -> Result<Vec<Option<CatalogTable>>> {
    let flavor = flavor(conn).await?;
    let mut found: HashMap<TableId, CatalogTable> = HashMap::new();
    for (schema, names) in by_schema(ids) {
        read_schema(conn, flavor, schema, &names, &mut found).await?;
    }
    stamps(conn, &mut found).await?;
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// How large the tables are, in the order asked for, by the storage engine's own estimate.
pub async fn sizes(conn: &mut Conn, ids: &[TableId]) -> Result<Vec<Option<Size>>> {
    let doing = "read the tables' sizes";
    if flavor(conn).await? == Flavor::Mysql {
        // Else it answers with what it knew up to a day ago.
        conn.query_drop("SET SESSION information_schema_stats_expiry = 0")
            .await
            .map_err(|error| fail(doing, error))?;
    }
    let sql = "SELECT CAST(TABLE_ROWS AS UNSIGNED), CAST(COALESCE(DATA_LENGTH, 0) AS UNSIGNED) FROM information_schema.TABLES
                WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')";
    let mut sizes = Vec::with_capacity(ids.len());
    for id in ids {
        let found: Option<(Option<u64>, u64)> = conn
            .exec_first(sql, (&id.schema, &id.name))
            .await
            .map_err(|error| fail(doing, error).table(id))?;
        sizes.push(found.map(|(rows, bytes)| Size { rows, bytes }));
    }
    Ok(sizes)
}

/// The tables there are, in these databases or in all: no views, nothing of the system or of our own. The server
/// shows only what the account has rights on.
pub async fn list(conn: &mut Conn, schemas: Option<&[String]>) -> Result<Vec<TableId>> {
    let mut sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES
         WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')
           AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema', ?)"
        .to_owned();
    let mut values = vec![Value::from(CONTROL)];
    if let Some(schemas) = schemas {
        // An empty list is no list in SQL.
        let marks = vec!["?"; schemas.len().max(1)].join(", ");
        sql.push_str(&format!(" AND TABLE_SCHEMA IN ({marks})"));
        values.extend(schemas.iter().map(Value::from));
        values.resize(1 + schemas.len().max(1), Value::NULL);
    }
    sql.push_str(" ORDER BY 1, 2");
    let rows: Vec<Row> = conn
        .exec(sql, Params::Positional(values))
        .await
        .map_err(|error| fail("list the tables", error))?;
    let id = |row: &Row| Ok(TableId::new(cell::<String>(row, 0)?, cell::<String>(row, 1)?));
    rows.iter().map(id).collect()
}

/// A table whose stamps stand in a table of their own is one with them for whoever reads and writes rows.
async fn stamps(conn: &mut Conn, found: &mut HashMap<TableId, CatalogTable>) -> Result<()> {
    let users = found
        .values_mut()
        .filter(|catalog| catalog.table.id.schema != CONTROL);
    let users: Vec<(String, &mut Table)> = users
        .map(|catalog| (stamps_of(&catalog.table.id).name, &mut catalog.table))
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME IN ({})",
        vec!["?"; users.len()].join(", ")
    );
    let names = users.iter().map(|(name, _)| name.as_str());
    let values = std::iter::once(CONTROL).chain(names).map(Value::from);
    let there: Vec<String> = conn
        .exec(sql, Params::Positional(values.collect()))
        .await
        .map_err(|error| fail(DOING, error))?;
    for (name, table) in users {
        let is_new = |column: &Column| table.column(&column.name).is_none();
        if there.contains(&name) {
            let columns: Vec<Column> = Column::stamps_beside().into_iter().filter(is_new).collect();
            table.columns.extend(columns);
        }
    }
    Ok(())
}

/// The database is a constant in every query: that is what MariaDB needs to open these tables only.
async fn read_schema(
    conn: &mut Conn,
    flavor: Flavor,
    schema: &str,
    names: &[&str],
    found: &mut HashMap<TableId, CatalogTable>,
) -> Result<()> {
    let scope = &mut Scope { conn, schema, names };
    relations(scope, found).await?;
    let json = match flavor {
        Flavor::Mysql => Vec::new(),
        Flavor::Mariadb => json_columns(scope, found).await?,
    };
    columns(scope, flavor, &json, found).await?;
    indexes(scope, found).await?;
    counters(scope, found).await?;
    triggers(scope, found).await?;
    cascades(scope, flavor, found).await
}

/// Some tables of one database.
pub(super) struct Scope<'a> {
    pub(super) conn: &'a mut Conn,
    pub(super) schema: &'a str,
    pub(super) names: &'a [&'a str],
}

impl Scope<'_> {
    /// `select` ends with a condition on the database, `?`; the column `table` is then compared with the names.
    pub(super) async fn rows(&mut self, select: &str, table: &str, order: &str) -> Result<Vec<Row>> {
        let marks = vec!["?"; self.names.len()].join(", ");
        let sql = format!("{select} AND {table} IN ({marks}) {order}");
        let values = std::iter::once(self.schema).chain(self.names.iter().copied());
        self.conn
            .exec(sql, Params::Positional(values.map(Value::from).collect()))
            .await
            .map_err(|error| fail(DOING, error))
    }

    /// Names are compared as the server compares them there, which can be without case: exactly is our own job.
    fn table<'f>(
        &self,
        found: &'f mut HashMap<TableId, CatalogTable>,
        name: &str,
    ) -> Option<&'f mut CatalogTable> {
        found.get_mut(&TableId::new(self.schema, name))
    }
}

pub(super) fn cell<T: FromValue>(row: &Row, index: usize) -> Result<T> {
    let malformed = || {
        Error::definite(DOING).why(format!(
            "column {index} of the answer is not what it was asked for"
        ))
    };
    match row.get_opt(index) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) | None => Err(malformed()),
    }
}

async fn relations(scope: &mut Scope<'_>, found: &mut HashMap<TableId, CatalogTable>) -> Result<()> {
    let select =
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?";
    for row in scope.rows(select, "TABLE_NAME", "").await? {
        let name: String = cell(&row, 0)?;
        let kind: String = cell(&row, 1)?;
        let engine: Option<String> = cell(&row, 2)?;
        if !scope.names.contains(&name.as_str()) {
            continue;
        }
        let id = TableId::new(scope.schema, name);
        // Views, sequences and system-versioned tables are told by their kind: they are no plain tables.
        let storage = match kind.as_str() {
            "BASE TABLE" => engine.unwrap_or_default(),
            _ => kind,
        };
        let table = Table {
            id: id.clone(),
            columns: Vec::new(),
            key: Vec::new(),
            uniques: Vec::new(),
            external: None,
        };
        let catalog = CatalogTable {
            table,
            always: Vec::new(),
            foreign_triggers: Vec::new(),
            cascades: Vec::new(),
            storage,
            counter: None,
            unique_names: Vec::new(),
        };
        found.insert(id, catalog);
    }
    Ok(())
}

/// MariaDB's JSON is LONGTEXT with a check of the column's own. `CHECK_CONSTRAINTS` shows it only to who may read the
/// whole database; the table's definition is shown to everybody who may read the table.
async fn json_columns(
    scope: &mut Scope<'_>,
    found: &mut HashMap<TableId, CatalogTable>,
) -> Result<Vec<(String, String)>> {
    let select = "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS
                   WHERE DATA_TYPE = 'longtext' AND TABLE_SCHEMA = ?";
    let mut candidates: Vec<(String, String)> = Vec::new();
    for row in scope.rows(select, "TABLE_NAME", "ORDER BY TABLE_NAME").await? {
        candidates.push((cell(&row, 0)?, cell(&row, 1)?));
    }
    candidates.retain(|(table, _)| {
        scope
            .table(found, table)
            .is_some_and(|there| there.storage != "VIEW")
    });
    let mut json = Vec::new();
    let mut shown: (String, String) = Default::default();
    for (table, column) in candidates {
        if shown.0 != table {
            shown = (table.clone(), definition(scope, &table).await?);
        }
        let name = super::sql::quote(&column);
        let (head, tail) = (format!("{name} longtext "), format!("CHECK (json_valid({name}))"));
        let mut lines = shown.1.lines().map(|line| line.trim().trim_end_matches(','));
        if lines.any(|line| line.starts_with(&head) && line.ends_with(&tail)) {
            json.push((table, column));
        }
    }
    Ok(json)
}

pub(super) async fn definition(scope: &mut Scope<'_>, table: &str) -> Result<String> {
    let id = TableId::new(scope.schema, table);
    let sql = format!(
        "/*M! SET STATEMENT sql_quote_show_create = 1 FOR */ SHOW CREATE TABLE {}",
        super::sql::table(&id)
    );
    let row: Result<Option<Row>, mysql_async::Error> = scope.conn.query_first(sql).await;
    match row {
        Ok(Some(row)) => cell(&row, 1),
        Ok(None) => Err(Error::definite(DOING).table(&id).why("the server gave no row")),
        // Only some of its columns are granted, or it is gone, which `check` judges. Without its check it is a text to us.
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1142 | 1146) => Ok(String::new()),
        Err(error) => Err(fail(DOING, error).table(&id)),
    }
}

const COLUMNS: &str = "
    SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, COLLATION_NAME, CHARACTER_SET_NAME, IS_NULLABLE, EXTRA,
           COLUMN_DEFAULT, CHARACTER_MAXIMUM_LENGTH, CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE,
           DATETIME_PRECISION
      FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ?";

async fn columns(
    scope: &mut Scope<'_>,
    flavor: Flavor,
    json: &[(String, String)],
    found: &mut HashMap<TableId, CatalogTable>,
) -> Result<()> {
    let rows = scope
        .rows(COLUMNS, "TABLE_NAME", "ORDER BY TABLE_NAME, ORDINAL_POSITION")
        .await?;
    for row in rows {
        let table: String = cell(&row, 0)?;
        let Some(catalog) = scope.table(found, &table) else {
            continue;
        };
        let name: String = cell(&row, 1)?;
        let is_json = json.iter().any(|(t, c)| *t == table && *c == name);
        let column = Described {
            data_type: cell::<String>(&row, 2)?.to_ascii_lowercase(),
            sql_type: cell(&row, 3)?,
            charset: cell::<Option<String>>(&row, 5)?.unwrap_or_default(),
            chars: cell(&row, 9)?,
            octets: cell(&row, 10)?,
            precision: cell(&row, 11)?,
            scale: cell(&row, 12)?,
            fraction: cell(&row, 13)?,
        };
        let nullable: String = cell(&row, 6)?;
        let extra: String = cell::<Option<String>>(&row, 7)?.unwrap_or_default();
        let default: Option<String> = cell(&row, 8)?;
        // MariaDB writes the absence of a default of a nullable column as an expression.
        let default = default.filter(|text| flavor == Flavor::Mysql || text != "NULL");
        let extra = extra.to_ascii_uppercase();
        if extra.contains("AUTO_INCREMENT") {
            catalog.counter = Some(uncounted(name.clone()));
        }
        catalog.table.columns.push(Column {
            name,
            ty: match is_json {
                true => ColumnType::Json { normalised: false },
                false => column.column_type(),
            },
            sql_type: column.sql_type,
            collation: cell::<Option<String>>(&row, 4)?.unwrap_or_default(),
            nullable: nullable == "YES",
            // Not to be mixed up with DEFAULT_GENERATED.
            generated: extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED"),
            has_default: default.is_some()
                || extra.contains("AUTO_INCREMENT")
                || extra.contains("DEFAULT_GENERATED"),
        });
    }
    Ok(())
}

fn uncounted(column: String) -> Counter {
    Counter {
        column,
        sequence: String::new(),
        step: 1,
        at: None,
        bounds: (1, i64::MAX),
    }
}

/// How AUTO_INCREMENT counts, of all tables of the server alike; a session may count otherwise, which nobody else sees.
async fn counters(scope: &mut Scope<'_>, found: &mut HashMap<TableId, CatalogTable>) -> Result<()> {
    for catalog in found.values_mut() {
        let (table, counter) = (&catalog.table, &catalog.counter);
        let is_key = |counter: &&Counter| {
            let place = table.column(&counter.column);
            place.is_some_and(|place| table.key == [place])
        };
        if counter.as_ref().filter(is_key).is_none() {
            catalog.counter = None;
        }
    }
    if found.values().all(|catalog| catalog.counter.is_none()) {
        return Ok(());
    }
    let sql = "SELECT CAST(@@GLOBAL.auto_increment_increment AS SIGNED), CAST(@@GLOBAL.auto_increment_offset AS SIGNED)";
    let answer: Option<(i64, i64)> = scope
        .conn
        .query_first(sql)
        .await
        .map_err(|error| fail(DOING, error))?;
    let Some((step, offset)) = answer else {
        return Err(Error::definite(DOING).why("the server gave no row"));
    };
    for counter in found.values_mut().filter_map(|catalog| catalog.counter.as_mut()) {
        // The server takes no notice of a greater offset.
        (counter.step, counter.at) = (step, (offset <= step).then_some(offset));
    }
    Ok(())
}

/// A column as `information_schema` describes it.
struct Described {
    data_type: String,
    sql_type: String,
    charset: String,
    chars: Option<u64>,
    octets: Option<u64>,
    precision: Option<u64>,
    scale: Option<u64>,
    fraction: Option<u64>,
}

impl Described {
    fn column_type(&self) -> ColumnType {
        match self.data_type.as_str() {
            "tinyint" => self.int(8),
            "smallint" => self.int(16),
            "mediumint" => self.int(24),
            "int" => self.int(32),
            "bigint" => self.int(64),
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "decimal" => ColumnType::Decimal {
                precision: self.precision.and_then(|digits| u32::try_from(digits).ok()),
                scale: self
                    .scale
                    .and_then(|digits| i32::try_from(digits).ok())
                    .unwrap_or(0),
                unsigned: self.unsigned(),
            },
            "char" => self.text(true, true),
            "varchar" => self.text(true, false),
            "tinytext" | "text" | "mediumtext" | "longtext" => self.text(false, false),
            "binary" => self.bytes(true),
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => self.bytes(false),
            "bit" => ColumnType::Bit {
                len: self.precision.and_then(|bits| u32::try_from(bits).ok()),
                varying: false,
            },
            "date" => ColumnType::Date,
            "time" => ColumnType::Time {
                fraction: self.fraction(),
                span: true,
            },
            "datetime" => ColumnType::Timestamp {
                fraction: self.fraction(),
            },
            "timestamp" => ColumnType::TimestampTz {
                fraction: self.fraction(),
                epoch: true,
            },
            "year" => ColumnType::Year,
            "json" => ColumnType::Json { normalised: true },
            "enum" => ColumnType::Enum {
                labels: labels(&self.sql_type),
            },
            "set" => ColumnType::Set {
                labels: labels(&self.sql_type),
            },
            "uuid" => ColumnType::Uuid,
            name => ColumnType::Opaque {
                name: name.to_owned(),
            },
        }
    }

    fn unsigned(&self) -> bool {
        self.sql_type.to_ascii_lowercase().contains("unsigned")
    }

    fn int(&self, bits: u8) -> ColumnType {
        ColumnType::Int {
            bits,
            unsigned: self.unsigned(),
        }
    }

    /// CHAR and VARCHAR are limited in characters, the TEXT family in bytes.
    fn text(&self, by_chars: bool, fixed: bool) -> ColumnType {
        let chars = self.chars.and_then(|chars| u32::try_from(chars).ok());
        ColumnType::Text {
            chars: chars.filter(|_| by_chars),
            bytes: self.octets.filter(|_| !by_chars),
            fixed,
            utf8: holds_all_of_unicode(&self.charset),
        }
    }

    fn bytes(&self, fixed: bool) -> ColumnType {
        ColumnType::Bytes {
            limit: self.octets,
            fixed,
        }
    }

    fn fraction(&self) -> u8 {
        self.fraction
            .and_then(|digits| u8::try_from(digits).ok())
            .unwrap_or(0)
    }
}

/// The labels in `enum('a','b''c')`. Both servers write backslash, newline, carriage return and zero with a
/// backslash there, whatever the SQL mode.
fn labels(sql_type: &str) -> Vec<String> {
    let mut labels = Vec::new();
    let mut chars = sql_type.chars().peekable();
    let mut label: Option<String> = None;
    while let Some(c) = chars.next() {
        let Some(text) = &mut label else {
            if c == '\'' {
                label = Some(String::new());
            }
            continue;
        };
        match c {
            '\'' if chars.peek() == Some(&'\'') => {
                chars.next();
                text.push('\'');
            }
            '\'' => labels.extend(label.take()),
            '\\' => text.push(match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            }),
            other => text.push(other),
        }
    }
    labels
}

async fn indexes(scope: &mut Scope<'_>, found: &mut HashMap<TableId, CatalogTable>) -> Result<()> {
    let select = "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS
                   WHERE TABLE_SCHEMA = ? AND NON_UNIQUE = 0";
    let rows = scope
        .rows(
            select,
            "TABLE_NAME",
            "ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        )
        .await?;
    // Per index its columns; `None` once a part is an expression or a prefix.
    let mut indexes: Vec<(String, String, Option<Vec<usize>>)> = Vec::new();
    for row in rows {
        let (table, index): (String, String) = (cell(&row, 0)?, cell(&row, 1)?);
        let column: Option<String> = cell(&row, 2)?;
        let prefix: Option<u64> = cell(&row, 3)?;
        let Some(catalog) = scope.table(found, &table) else {
            continue;
        };
        let column = column
            .filter(|_| prefix.is_none())
            .and_then(|name| catalog.table.column(&name));
        // Names that differ in case only may come mixed: that is how the server sorts them.
        let known = indexes.iter().rposition(|(t, i, _)| *t == table && *i == index);
        let at = known.unwrap_or(indexes.len());
        if known.is_none() {
            indexes.push((table, index, Some(Vec::new())));
        }
        if let Some((_, _, columns)) = indexes.get_mut(at) {
            *columns = columns.take().zip(column).map(|(mut columns, column)| {
                columns.push(column);
                columns
            });
        }
    }
    for (table, index, columns) in indexes {
        let Some(catalog) = scope.table(found, &table) else {
            continue;
        };
        match index.as_str() {
            "PRIMARY" => catalog.table.key = columns.unwrap_or_default(),
            _ => {
                catalog.table.uniques.push(columns.unwrap_or_default());
                catalog.unique_names.push(index);
            }
        }
    }
    Ok(())
}

async fn triggers(scope: &mut Scope<'_>, found: &mut HashMap<TableId, CatalogTable>) -> Result<()> {
    let select = "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS
                   WHERE EVENT_OBJECT_SCHEMA = ?";
    let rows = scope
        .rows(
            select,
            "EVENT_OBJECT_TABLE",
            "ORDER BY EVENT_OBJECT_TABLE, TRIGGER_NAME",
        )
        .await?;
    for row in rows {
        let (table, name): (String, String) = (cell(&row, 0)?, cell(&row, 1)?);
        // MariaDB shows triggers, but not their bodies, to who lacks TRIGGER, which `check` tells.
        let Some(body) = cell::<Option<String>>(&row, 2)? else {
            continue;
        };
        if name.starts_with(TRIGGER_PREFIX) {
            continue;
        }
        if let Some(catalog) = scope.table(found, &table) {
            catalog.foreign_triggers.push(ForeignTrigger {
                table: catalog.table.id.clone(),
                name,
                guarded: body.to_ascii_lowercase().contains("@tidelock_apply"),
            });
        }
    }
    Ok(())
}

async fn cascades(
    scope: &mut Scope<'_>,
    flavor: Flavor,
    found: &mut HashMap<TableId, CatalogTable>,
) -> Result<()> {
    for (table, cascade) in cascades_of(scope, flavor).await? {
        if let Some(catalog) = scope.table(found, &table) {
            catalog.cascades.push(cascade);
        }
    }
    Ok(())
}

async fn cascades_of(scope: &mut Scope<'_>, flavor: Flavor) -> Result<Vec<(String, String)>> {
    let mut cascades = Vec::new();
    if flavor == Flavor::Mariadb {
        // It shows REFERENTIAL_CONSTRAINTS only to who may do more than write rows, and a table's definition to all.
        for name in scope.names {
            let definition = definition(scope, name).await?;
            let found = definition.lines().filter_map(cascades_in).flatten();
            cascades.extend(found.map(|cascade| ((*name).to_owned(), cascade)));
        }
        return Ok(cascades);
    }
    let select = "SELECT TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE
                    FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ?";
    let rows = scope
        .rows(select, "TABLE_NAME", "ORDER BY TABLE_NAME, CONSTRAINT_NAME")
        .await?;
    for row in rows {
        let (table, name): (String, String) = (cell(&row, 0)?, cell(&row, 1)?);
        for (event, action) in [("DELETE", cell::<String>(&row, 2)?), ("UPDATE", cell(&row, 3)?)] {
            if ACTIONS.contains(&action.as_str()) {
                cascades.push((table.clone(), format!("{name}: ON {event} {action}")));
            }
        }
    }
    Ok(cascades)
}

/// Actions of a foreign key that write rows.
const ACTIONS: [&str; 3] = ["CASCADE", "SET NULL", "SET DEFAULT"];

/// The same from a line of a table's definition.
fn cascades_in(line: &str) -> Option<Vec<String>> {
    let key = line.trim().trim_end_matches(',').strip_prefix("CONSTRAINT `")?;
    let (name, rest) = key.split_once("` FOREIGN KEY (")?;
    let (_, actions) = rest.rsplit_once(')')?;
    let name = name.replace("``", "`");
    let pairs = ["DELETE", "UPDATE"]
        .into_iter()
        .flat_map(|event| ACTIONS.map(|action| (event, action)));
    let found = pairs.filter(|(event, action)| actions.contains(&format!("ON {event} {action}")));
    Some(
        found
            .map(|(event, action)| format!("{name}: ON {event} {action}"))
            .collect(),
    )
}

/// Foreign keys that write rows by themselves, as [`CatalogTable::cascades`] has them.
pub async fn cascading(conn: &mut Conn, ids: &[TableId]) -> Result<Vec<(TableId, String)>> {
    let flavor = flavor(conn).await?;
    let mut found = Vec::new();
    for (schema, names) in by_schema(ids) {
        let scope = &mut Scope {
            conn: &mut *conn,
            schema,
            names: &names,
        };
        let cascades = cascades_of(scope, flavor).await?;
        let ours = cascades
            .into_iter()
            .map(|(table, cascade)| (TableId::new(schema, table), cascade));
        // Names are compared without case there.
        found.extend(ours.filter(|(id, _)| ids.contains(id)));
    }
    Ok(found)
}

/// A database's foreign keys, a row for each column.
const FOREIGN_KEYS: &str = "SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_SCHEMA, \
    REFERENCED_TABLE_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
    WHERE TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 2, 3, 1, ORDINAL_POSITION";

type KeyColumn = (String, String, String, String, String, String, String);

/// The foreign keys among these tables.
pub async fn foreign_keys(conn: &mut Conn, tables: &[TableId]) -> Result<Vec<ForeignKey>> {
    let mut schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    let mut keys: Vec<ForeignKey> = Vec::new();
    for schema in schemas {
        let rows: Vec<KeyColumn> = match conn.exec(FOREIGN_KEYS, (schema,)).await {
            Ok(rows) => rows,
            Err(error) => return Err(fail("read the foreign keys", error)),
        };
        for (name, child_schema, child, parent_schema, parent, column, reference) in rows {
            let child = TableId::new(child_schema, child);
            let parent = TableId::new(parent_schema, parent);
            if !tables.contains(&child) || !tables.contains(&parent) {
                continue;
            }
            match keys
                .last_mut()
                .filter(|key| key.name == name && key.child == child)
            {
                Some(key) => {
                    key.columns.push(column);
                    key.references.push(reference);
                }
                None => keys.push(ForeignKey {
                    name,
                    child,
                    columns: vec![column],
                    parent,
                    references: vec![reference],
                }),
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_of_foreign_keys_in_a_definition() {
        let line = "  CONSTRAINT `a``) b` FOREIGN KEY (`p`) REFERENCES `d`.`p (` (`id`) ON DELETE CASCADE ON UPDATE SET NULL,";
        assert_eq!(
            cascades_in(line).unwrap(),
            ["a`) b: ON DELETE CASCADE", "a`) b: ON UPDATE SET NULL"]
        );
        let plain = "CONSTRAINT `f` FOREIGN KEY (`p`) REFERENCES `p` (`id`) ON DELETE NO ACTION";
        assert!(cascades_in(plain).unwrap().is_empty());
        assert_eq!(cascades_in("`c` int COMMENT 'ON DELETE CASCADE'"), None);
    }

    #[test]
    fn labels_are_unescaped() {
        assert_eq!(
            labels(r"enum('a','it''s','x\\y','new\nline','','a,b')"),
            ["a", "it's", "x\\y", "new\nline", "", "a,b"]
        );
        assert!(labels("enum()").is_empty());
    }
}
