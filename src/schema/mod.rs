//! Tables with all that stands around their columns: defaults, checks, indexes, foreign keys, comments.
//!
//! Owns: the model ([`Definition`]), filled by the engines' `definition.rs`; its way into another engine
//! ([`translate`]), the statements that make it ([`create`]), and what two of them
//! differ in ([`diff`]).
//! Refuses: reading catalogs and running statements. Pure. What has no counterpart is left out and named ([`Note`]).

pub mod create;
pub mod diff;
pub mod expression;
pub mod kind;
pub mod ranges;
pub mod translate;
mod written;

use crate::model::schema::{ForeignKey, Table, TableId};

/// A table as one engine holds it; expressions and types are in that engine's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub table: Table,
    /// One per column.
    pub details: Vec<Detail>,
    /// Without the primary key.
    pub indexes: Vec<Index>,
    pub foreign: Vec<Foreign>,
    pub checks: Vec<Check>,
    pub comment: String,
    /// MySQL and MariaDB: the character set and collation that columns have which name none, as the server prints them.
    pub charset: String,
    /// The clause behind the closing bracket, where the table is partitioned.
    pub partition: String,
    /// PostgreSQL: the table's partitions, each with its bounds.
    pub parts: Vec<(TableId, String)>,
    /// What no field here holds, in words.
    pub peculiar: Vec<String>,
}

/// A column beside its type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    pub default: Option<String>,
    /// MySQL and MariaDB: `ON UPDATE CURRENT_TIMESTAMP`.
    pub on_update: bool,
    pub counter: Option<Counting>,
    pub generated: Option<Generated>,
    pub comment: String,
    /// PostgreSQL: the type's own name, where it is an ENUM.
    pub named: Option<TableId>,
    /// MySQL and MariaDB: all that stands behind the name, as the server prints it.
    pub written: String,
}

/// The database gives the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    ByDefault,
    /// PostgreSQL: GENERATED ALWAYS.
    Always,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    pub expression: String,
    pub stored: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub name: String,
    pub unique: bool,
    pub parts: Vec<Part>,
    /// In lower case; the usual one is `btree`.
    pub method: String,
    /// Why it is more than its columns: a predicate, NULLS NOT DISTINCT, and the like; empty for a plain index.
    pub more: Vec<String>,
    /// As its server prints it, from the method or the kind of key on; PostgreSQL: a constraint that can be deferred, whole.
    pub written: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// A column's name, or an expression.
    pub what: String,
    pub is_column: bool,
    /// MySQL and MariaDB: only so many characters.
    pub prefix: Option<u32>,
    pub descending: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub key: ForeignKey,
    pub on_delete: Action,
    pub on_update: Action,
    /// PostgreSQL: the columns that ON DELETE SET NULL or SET DEFAULT writes; empty: all of the key.
    pub sets: Vec<String>,
    /// What the other engines lack: DEFERRABLE, MATCH FULL; empty for a plain one.
    pub more: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// NO ACTION, and RESTRICT of MySQL and MariaDB, where they are one.
    Refuse,
    /// PostgreSQL: at once, even where the check is deferred.
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

impl Action {
    /// As `information_schema` names it.
    pub fn named(name: &str) -> Action {
        match name {
            "CASCADE" => Action::Cascade,
            "SET NULL" => Action::SetNull,
            "SET DEFAULT" => Action::SetDefault,
            _ => Action::Refuse,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Action::Refuse => "NO ACTION",
            Action::Restrict => "RESTRICT",
            Action::Cascade => "CASCADE",
            Action::SetNull => "SET NULL",
            Action::SetDefault => "SET DEFAULT",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub expression: String,
}

/// What could not be carried over as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub code: &'static str,
    /// As the node calls it that it is made on.
    pub table: TableId,
    pub what: String,
    pub fix: String,
}

impl Note {
    /// It is left out.
    pub const LEFT: &'static str = "W701";
    /// It is there, but not as it was.
    pub const OTHERWISE: &'static str = "W702";
    /// The whole table is left out.
    pub const REFUSED: &'static str = "E703";
}

impl Definition {
    /// Of a table of which only the shape is known.
    pub fn bare(table: &Table) -> Definition {
        Definition {
            details: vec![Detail::default(); table.columns.len()],
            table: table.clone(),
            indexes: Vec::new(),
            foreign: Vec::new(),
            checks: Vec::new(),
            comment: String::new(),
            charset: String::new(),
            partition: String::new(),
            parts: Vec::new(),
            peculiar: Vec::new(),
        }
    }

    pub fn detail(&self, column: &str) -> Option<&Detail> {
        self.details.get(self.table.column(column)?)
    }

    /// Names of the primary key's columns, in its order.
    pub fn key(&self) -> Vec<&str> {
        let columns = self.table.key.iter().filter_map(|at| self.table.columns.get(*at));
        columns.map(|column| column.name.as_str()).collect()
    }
}

impl Index {
    /// The columns of an index over nothing but whole columns.
    pub fn columns(&self) -> Option<Vec<&str>> {
        let one = |part: &Part| (part.is_column && part.prefix.is_none()).then_some(());
        self.parts.iter().map(one).collect::<Option<Vec<()>>>()?;
        Some(self.parts.iter().map(|part| part.what.as_str()).collect())
    }
}
