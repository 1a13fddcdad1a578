//! Expressions as they are used: a condition that rows are held against, and a value that each row has.
//!
//! Fails: with [`Unfit`] when it is bound, and never later.

use super::Expr;
use super::bind::Binder;
use super::kind::Kind;
use super::node::Node;
use crate::model::schema::{ColumnType, Table};
use crate::model::value::{Row, Value};
use std::ops::Range;

/// A condition over the rows of one table.
#[derive(Debug, Clone)]
pub struct Filter {
    pub(super) node: Node,
    columns: Vec<usize>,
}

/// A value for each row of one table.
#[derive(Debug, Clone)]
pub struct Formula {
    pub(super) node: Node,
    pub(super) kind: Kind,
    columns: Vec<usize>,
    ty: ColumnType,
    is_nullable: bool,
}

/// Why an expression cannot be asked of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The column as this table calls it, or the part of the expression.
    pub part: String,
    pub why: String,
}

impl Unfit {
    /// Where it stands in the expression as it was written; the whole of it, where that cannot be told.
    pub fn place(&self, text: &str) -> Range<usize> {
        let found = text.find(&self.part);
        found.map_or(0..text.len(), |at| at..at + self.part.len())
    }
}

impl Filter {
    /// `name_of` says how this table calls a column of the condition.
    pub fn bind<'a>(
        condition: &'a Expr,
        table: &Table,
        name_of: impl Fn(&'a str) -> &'a str,
    ) -> Result<Filter, Unfit> {
        let mut binder = Binder::new(table, name_of);
        let node = binder.condition(condition)?;
        let columns = binder.columns();
        Ok(Filter { node, columns })
    }

    /// Places of the columns it reads.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Is it true of the row? Unknown is not true. `None`: the row lacks a cell that the filter reads.
    pub fn matches(&self, row: &Row) -> Option<bool> {
        has(row, &self.columns).then(|| self.node.truth(row) == Some(true))
    }
}

impl Formula {
    /// `name_of` says how this table calls a column of the expression.
    pub fn bind<'a>(
        expr: &'a Expr,
        table: &Table,
        name_of: impl Fn(&'a str) -> &'a str,
    ) -> Result<Formula, Unfit> {
        let mut binder = Binder::new(table, name_of);
        let (node, kind, ty) = match expr {
            // As it is, of whatever type.
            Expr::Column(name) => {
                let place = binder.place(name)?;
                let ty = &table.columns[place].ty;
                let kind = Kind::of(ty);
                (Node::Column(place, kind), kind, ty.clone())
            }
            _ => {
                let (node, kind) = binder.node(expr, None)?;
                (node, kind, kind.ty())
            }
        };
        Ok(Formula {
            is_nullable: node.is_nullable(table),
            columns: binder.columns(),
            node,
            kind,
            ty,
        })
    }

    /// Places of the columns it reads.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The type of a column that holds just its values: the column's own where it is one.
    pub fn ty(&self) -> &ColumnType {
        &self.ty
    }

    /// May it be NULL of a row that the table can hold?
    pub fn is_nullable(&self) -> bool {
        self.is_nullable
    }

    /// Of the variant that [`Self::ty`] says, or NULL. `None`: the row lacks a cell that the expression reads. A cell that
    /// is taken as it is shares its memory with the row.
    pub fn value(&self, row: &Row) -> Option<Value> {
        if !has(row, &self.columns) {
            return None;
        }
        if let Node::Column(place, _) = &self.node {
            return row.get(*place).cloned();
        }
        let Some(taken) = self.node.taken(row) else {
            return Some(Value::Null);
        };
        if let Node::Column(place, kind) = taken
            && let Some(cell) = row.get(*place).filter(|cell| is_as_it_is(cell, *kind, &self.ty))
        {
            return Some(cell.clone());
        }
        let value = taken.value(row);
        Some(value.map_or(Value::Null, |scalar| scalar.into_value(&self.ty)))
    }
}

fn has(row: &Row, columns: &[usize]) -> bool {
    columns.iter().all(|place| row.get(*place).is_some())
}

/// Would the cell be written again just as it is?
fn is_as_it_is(cell: &Value, kind: Kind, ty: &ColumnType) -> bool {
    let is_fixed = matches!(kind, Kind::Text { fixed: true, .. });
    matches!(
        (cell, ty),
        (Value::Text(_), ColumnType::Text { .. }) if !is_fixed
    ) || matches!(
        (cell, ty),
        (Value::Decimal(_), ColumnType::Decimal { .. })
            | (Value::Date(_), ColumnType::Date)
            | (Value::Time(_), ColumnType::Time { .. })
            | (Value::Timestamp(_), ColumnType::Timestamp { .. })
            | (Value::TimestampTz(_), ColumnType::TimestampTz { .. })
    )
}
