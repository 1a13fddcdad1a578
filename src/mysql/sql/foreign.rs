//! Statement text of the anti-joins by foreign key.

use super::{Flavor, RowText, Rows, Sql, key_columns, matches, push, quote, table};
use crate::model::schema::{Column, ForeignKey};
use crate::plan::{Key, Shape};

/// The numbers of the child rows under these keys whose foreign key finds no parent; the others' are locked.
pub fn without_parent(flavor: Flavor, key: &ForeignKey, child: &Shape, keys: &[Key]) -> Sql {
    let (rows, number) = numbered(child, keys);
    let mut out = Sql::new();
    rows.select(flavor, &table(&child.table.id), &[number], child, &mut out);
    for column in &key.columns {
        push(&mut out, &format!(" AND t.{} IS NOT NULL", quote(column)));
    }
    push(
        &mut out,
        &format!(" AND NOT EXISTS ({} LOCK IN SHARE MODE)", parent_of(key)),
    );
    out
}

/// The rows whose foreign key finds no parent.
pub fn orphans(key: &ForeignKey, child: &Shape) -> String {
    let set = key
        .columns
        .iter()
        .map(|name| format!("t.{} IS NOT NULL AND ", quote(name)));
    format!(
        "SELECT * FROM {} AS t WHERE {}NOT EXISTS ({})",
        table(&child.table.id),
        set.collect::<String>(),
        parent_of(key),
    )
}

/// The numbers of these parents' keys that rows still refer to although no row has them. `None`: the foreign key refers
/// to other columns than the key's.
pub fn with_children(flavor: Flavor, key: &ForeignKey, parent: &Shape, keys: &[Key]) -> Option<Sql> {
    let mut columns: Vec<Column> = Vec::with_capacity(key.columns.len());
    for column in key_columns(&parent.table) {
        let at = key.references.iter().position(|name| *name == column.name)?;
        // The two have one type and collation: the server sees to that.
        columns.push(Column {
            name: key.columns[at].clone(),
            ..column.clone()
        });
    }
    if columns.len() != key.columns.len() {
        return None;
    }
    let (rows, number) = numbered(parent, keys);
    let mut out = Sql::new();
    push(&mut out, &format!("SELECT DISTINCT {number} FROM "));
    let child = table(&key.child);
    match rows.is_single() {
        true => push(&mut out, &format!("{child} AS t WHERE ")),
        false => {
            rows.source(flavor, &mut out);
            push(&mut out, &format!(" STRAIGHT_JOIN {child} AS t ON "));
        }
    }
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            push(&mut out, " AND ");
        }
        matches(column, "t.", &rows.operand(index), &mut out);
    }
    push(&mut out, &format!(" AND NOT EXISTS ({})", parent_of(key)));
    Some(out)
}

fn numbered(shape: &Shape, keys: &[Key]) -> (Rows, String) {
    let mut rows = Rows::default();
    for (number, key) in keys.iter().enumerate() {
        let mut row = RowText::default();
        row.add_key(shape, key);
        row.add_int(i64::try_from(number).unwrap_or(i64::MAX));
        rows.0.push(row);
    }
    let number = String::from_utf8_lossy(&rows.operand(shape.table.key.len())).into_owned();
    (rows, number)
}

fn parent_of(key: &ForeignKey) -> String {
    let pairs = key.columns.iter().zip(&key.references);
    let pairs = pairs.map(|(column, reference)| format!("p.{} = t.{}", quote(reference), quote(column)));
    format!(
        "SELECT 1 FROM {} AS p WHERE {}",
        table(&key.parent),
        pairs.collect::<Vec<_>>().join(" AND ")
    )
}
