//! Statements over a range of a table's key.
//!
//! Owns: the condition of a range, and the search for the bound of the next one. Refuses: keys that are not ordered as
//! they are compared (see `chunk`), and I/O. A comparison of whole rows would not use the index, so it is written out.

use super::{charset, key_columns, quote, table};
use crate::chunk::{Bound, Range};
use crate::model::schema::{Column, ColumnType, Table};
use std::fmt::Write as _;

/// ` WHERE ..` over the table's key, which goes by the name `t`; nothing for a range without bounds.
pub fn within(of: &Table, range: &Range) -> String {
    rows(of, range, None)
}

/// The same of those rows that the condition takes. Rows without an external id are in none.
pub fn rows(of: &Table, range: &Range, condition: Option<&str>) -> String {
    let bounds = [('>', &range.low), ('<', &range.high)];
    let bounds = bounds.into_iter();
    let conditions: Vec<String> = bounds
        .filter_map(|(operator, bound)| Some(beyond(of, bound.as_ref()?, operator)))
        .chain(of.unnamed().map(|column| format!("{} IS NOT NULL", name(column))))
        .chain(condition.map(str::to_owned))
        .collect();
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    }
}

/// The key of the row that is so many after `low`.
pub fn bound(of: &Table, low: Option<&Bound>, rows: u64) -> String {
    let cells: Vec<String> = key_columns(of).map(cell).collect();
    let keys: Vec<String> = key_columns(of).map(name).collect();
    let range = Range {
        low: low.cloned(),
        high: None,
    };
    format!(
        "SELECT {} FROM {} AS t{} ORDER BY {} LIMIT 1 OFFSET {}",
        cells.join(", "),
        table(&of.id),
        within(of, &range),
        keys.join(", "),
        rows.saturating_sub(1)
    )
}

/// The least and the greatest key, where it is one column.
pub fn ends(of: &Table) -> String {
    let keys: Vec<String> = key_columns(of).map(name).collect();
    format!(
        "SELECT CAST(MIN({key}) AS CHAR), CAST(MAX({key}) AS CHAR) FROM {} AS t",
        table(&of.id),
        key = keys.join(", ")
    )
}

/// `>`: above the bound. `<`: below it, or just it.
fn beyond(of: &Table, bound: &Bound, operator: char) -> String {
    let cells: Vec<(String, String)> = key_columns(of)
        .zip(bound)
        .map(|(column, text)| (name(column), literal(column, text)))
        .collect();
    let mut ways = Vec::new();
    for (place, (column, value)) in cells.iter().enumerate() {
        let is_last = place + 1 == cells.len();
        let mut way = String::new();
        for (column, value) in &cells[..place] {
            // Writing to a string cannot fail.
            let _ = write!(way, "{column} = {value} AND ");
        }
        let equal = if is_last && operator == '<' { "=" } else { "" };
        let _ = write!(way, "{column} {operator}{equal} {value}");
        ways.push(way);
    }
    match cells.first() {
        // By the first column alone the index is entered.
        Some((column, value)) if cells.len() > 1 => {
            format!("{column} {operator}= {value} AND ({})", ways.join(" OR "))
        }
        _ => ways.concat(),
    }
}

fn name(column: &Column) -> String {
    format!("t.{}", quote(&column.name))
}

/// The cell as a bound's text.
fn cell(column: &Column) -> String {
    let name = name(column);
    match &column.ty {
        ColumnType::Bytes { .. } => format!("HEX({name})"),
        ColumnType::Text { .. } => format!("CONVERT({name} USING utf8mb4)"),
        _ => format!("CAST({name} AS CHAR)"),
    }
}

/// The text as what compares with the column by its index.
fn literal(column: &Column, text: &str) -> String {
    let quoted = || super::quote_text(text);
    match &column.ty {
        ColumnType::Bytes { .. } => format!("X{}", quoted()),
        // In digits, because the driver looks for parameters behind a backslash that ends a text.
        ColumnType::Text { .. } => match charset(&column.collation) {
            Some(charset) => format!(
                "CONVERT(CONVERT(X'{}' USING utf8mb4) USING {charset}) COLLATE {}",
                hex(text),
                column.collation
            ),
            None => quoted(),
        },
        ColumnType::Bool | ColumnType::Int { .. } | ColumnType::Year | ColumnType::Decimal { .. } => {
            let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.');
            match is_number {
                true => text.to_owned(),
                false => quoted(),
            }
        }
        ColumnType::Date => format!("CAST({} AS DATE)", quoted()),
        ColumnType::Time { .. } => format!("CAST({} AS TIME(6))", quoted()),
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => {
            format!("CAST({} AS DATETIME(6))", quoted())
        }
        _ => quoted(),
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::TableId;

    #[test]
    fn bounds_are_written_out_column_by_column() {
        let column = |name: &str, ty| Column {
            name: name.to_owned(),
            ty,
            sql_type: String::new(),
            collation: "latin1_swedish_ci".to_owned(),
            nullable: false,
            generated: false,
            has_default: false,
        };
        let (int, text) = (
            ColumnType::Int {
                bits: 64,
                unsigned: false,
            },
            ColumnType::Text {
                chars: None,
                bytes: None,
                fixed: false,
                utf8: false,
            },
        );
        let mut of = Table {
            id: TableId::new("s", "t"),
            columns: vec![column("b", text), column("a", int)],
            key: vec![1, 0],
            uniques: Vec::new(),
            external: None,
        };
        let bound_of = |a: &str, b: &str| Some(vec![a.to_owned(), b.to_owned()]);
        let range = Range {
            low: bound_of("-1", "it's"),
            high: bound_of("2", ""),
        };
        let text = |hex: &str| {
            format!("CONVERT(CONVERT(X'{hex}' USING utf8mb4) USING latin1) COLLATE latin1_swedish_ci")
        };
        assert_eq!(
            within(&of, &range),
            format!(
                " WHERE t.`a` >= -1 AND (t.`a` > -1 OR t.`a` = -1 AND t.`b` > {}) \
                 AND t.`a` <= 2 AND (t.`a` < 2 OR t.`a` = 2 AND t.`b` <= {})",
                text("69742773"),
                text("")
            )
        );
        assert_eq!(within(&of, &Range::default()), "");
        assert_eq!(rows(&of, &Range::default(), Some("t.a = 1")), " WHERE t.a = 1");
        let both = rows(&of, &range, Some("t.a = 1"));
        assert_eq!(both, within(&of, &range) + " AND t.a = 1");
        of.key = vec![1];
        assert_eq!(
            bound(&of, Some(&vec!["7".to_owned()]), 10),
            "SELECT CAST(t.`a` AS CHAR) FROM `s`.`t` AS t WHERE t.`a` > 7 ORDER BY t.`a` LIMIT 1 OFFSET 9"
        );
    }
}
