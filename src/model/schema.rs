//! Tables and columns as Tidelock sees them, whichever engine holds them.

use super::sync::{ORIGIN_COLUMN, VERSION_COLUMN};
use std::fmt;

/// Which product holds a column; what a type can hold differs between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    Postgres,
    Mysql,
    Mariadb,
}

impl Engine {
    /// From the name a [`super::sync::Server`] carries.
    pub fn named(name: &str) -> Option<Engine> {
        match name {
            "postgres" => Some(Engine::Postgres),
            "mysql" => Some(Engine::Mysql),
            "mariadb" => Some(Engine::Mariadb),
            _ => None,
        }
    }

    pub fn is_postgres(self) -> bool {
        self == Engine::Postgres
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Postgres => "PostgreSQL",
            Engine::Mysql => "MySQL",
            Engine::Mariadb => "MariaDB",
        })
    }
}

/// `schema` is the schema on PostgreSQL and the database on MySQL/MariaDB.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    pub schema: String,
    pub name: String,
}

impl TableId {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        TableId {
            schema: schema.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What a column means, with the limits that decide whether a value fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    Bool,
    /// `bits`: 8, 16, 24, 32 or 64.
    Int {
        bits: u8,
        unsigned: bool,
    },
    Float,
    Double,
    /// `None` = unbounded numeric. `scale` is meaningless without `precision`.
    Decimal {
        precision: Option<u32>,
        scale: i32,
        unsigned: bool,
    },
    /// `chars`: limit in characters; `bytes`: limit in bytes (MySQL TEXT family); `fixed`: CHAR/bpchar, whose
    /// trailing blanks do not count; `utf8`: false where the column cannot hold every Unicode character.
    Text {
        chars: Option<u32>,
        bytes: Option<u64>,
        fixed: bool,
        utf8: bool,
    },
    /// `fixed`: BINARY(n), padded with zero bytes.
    Bytes {
        limit: Option<u64>,
        fixed: bool,
    },
    Bit {
        len: Option<u32>,
        varying: bool,
    },
    Date,
    /// `fraction`: digits of a second. `span`: true for MySQL's TIME, which is signed and passes 24 hours.
    Time {
        fraction: u8,
        span: bool,
    },
    Timestamp {
        fraction: u8,
    },
    /// `epoch`: true for MySQL's TIMESTAMP, which holds 1970 to 2038 (2106) only.
    TimestampTz {
        fraction: u8,
        epoch: bool,
    },
    Year,
    Uuid,
    /// `normalised`: jsonb and MySQL JSON do not keep the text; json and MariaDB's LONGTEXT do.
    Json {
        normalised: bool,
    },
    Enum {
        labels: Vec<String>,
    },
    Set {
        labels: Vec<String>,
    },
    Interval,
    /// Carried as text between servers of one engine; `name` is the engine's type name.
    Opaque {
        name: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Column {
    pub name: String,
    pub ty: ColumnType,
    /// The type as the engine writes it in DDL, e.g. `numeric(10,2)` or `varchar(20)`.
    pub sql_type: String,
    /// MySQL/MariaDB: the collation, which decides when two texts are one key. PostgreSQL: empty when deterministic.
    pub collation: String,
    pub nullable: bool,
    pub generated: bool,
    pub has_default: bool,
}

/// A table at one moment. From the catalog it is whole; from a log it is what the log said
/// (a log does not tell nullability, defaults or uniques).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    pub id: TableId,
    pub columns: Vec<Column>,
    /// Indexes into `columns` of the primary key, in key order; empty without one.
    pub key: Vec<usize>,
    /// Other unique keys, by column index; those over expressions or with a predicate have an empty list.
    pub uniques: Vec<Vec<usize>>,
    /// Its rows are named by what another node calls them; `key` is that, and no row of which it is NULL takes part.
    pub external: Option<External>,
}

/// A column that holds the key of another node's rows (`external_id`), in a table whose own key stays its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct External {
    pub column: String,
    /// The unique index over it alone. `None`: there is none.
    pub index: Option<String>,
    /// The columns of the primary key.
    pub own: Vec<String>,
    /// Foreign keys of the sync's tables that refer to something else of the table, where somebody asked for them.
    pub children: Vec<ForeignKey>,
}

/// In place of its type, of a column that does not stand in the table but in its stamp table.
pub const BESIDE: &str = "beside";

impl Table {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Do the stamps of its rows stand in a table of their own?
    pub fn is_beside(&self) -> bool {
        self.columns.iter().any(Column::is_beside)
    }

    /// MySQL's name of the index that finds a row by its key.
    pub fn key_index(&self) -> &str {
        let external = self.external.as_ref();
        let index = external.and_then(|external| external.index.as_deref());
        index.unwrap_or("PRIMARY")
    }

    /// Columns of the key that may be NULL, in rows that do not take part.
    pub fn unnamed(&self) -> impl Iterator<Item = &Column> {
        let key = self.key.iter().filter(|_| self.external.is_some());
        let columns = key.filter_map(|place| self.columns.get(*place));
        columns.filter(|column| column.nullable)
    }
}

impl Column {
    pub fn is_beside(&self) -> bool {
        self.sql_type == BESIDE
    }

    /// Version and origin as a table that may not be altered has them: in its stamp table.
    pub fn stamps_beside() -> [Column; 2] {
        [(VERSION_COLUMN, 64), (ORIGIN_COLUMN, 16)].map(|(name, bits)| Column {
            name: name.to_owned(),
            ty: ColumnType::Int {
                bits,
                unsigned: false,
            },
            sql_type: BESIDE.to_owned(),
            collation: String::new(),
            nullable: false,
            generated: false,
            has_default: true,
        })
    }
}

/// A foreign key of one table to another (or to itself), by the columns' names in its own order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForeignKey {
    pub name: String,
    pub child: TableId,
    pub columns: Vec<String>,
    pub parent: TableId,
    pub references: Vec<String>,
}
