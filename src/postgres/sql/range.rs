//! Statements over a range of a table's key.
//!
//! Owns: the condition of a range, and the search for the bound of the next one. Refuses: keys that are not ordered as
//! they are compared (see `chunk`), and I/O.

use super::{key_columns, list, quote, table};
use crate::chunk::{Bound, Range};
use crate::model::schema::{Column, Table};
use crate::model::sync::CatalogTable;

/// ` WHERE ..` over the table's key, which goes by the name `t`; nothing for a range without bounds.
pub fn within(of: &Table, range: &Range) -> String {
    rows(of, range, None)
}

/// The same of those rows that the condition takes. Rows without an external id are in none.
pub fn rows(of: &Table, range: &Range, condition: Option<&str>) -> String {
    let bounds = [(">", &range.low), ("<=", &range.high)];
    let bounds = bounds.into_iter().filter_map(|(operator, bound)| {
        let bound = bound.as_ref()?;
        Some(format!("({}) {operator} ({})", keys(of), literals(of, bound)))
    });
    let named = of
        .unnamed()
        .map(|column| format!("t.{} IS NOT NULL", quote(&column.name)));
    let conditions: Vec<String> = bounds.chain(named).chain(condition.map(str::to_owned)).collect();
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    }
}

/// Children by inheritance are tables of their own in the log; partitions are their table.
pub fn only(of: &CatalogTable) -> &'static str {
    if of.storage == "p" { "" } else { "ONLY " }
}

/// The key of the row that is so many after `low`.
pub fn bound(of: &Table, only: &str, low: Option<&Bound>, rows: u64) -> String {
    let cells = key_columns(of).map(|column| format!("t.{}::text", quote(&column.name)));
    let range = Range {
        low: low.cloned(),
        high: None,
    };
    format!(
        "SELECT {} FROM {only}{} AS t{} ORDER BY {} LIMIT 1 OFFSET {}",
        list(cells),
        table(&of.id),
        within(of, &range),
        keys(of),
        rows.saturating_sub(1)
    )
}

/// The least and the greatest key, where it is one column.
pub fn ends(of: &Table, only: &str) -> String {
    format!(
        "SELECT min({key})::text, max({key})::text FROM {only}{} AS t",
        table(&of.id),
        key = keys(of)
    )
}

fn keys(of: &Table) -> String {
    list(key_columns(of).map(|column| format!("t.{}", quote(&column.name))))
}

/// Texts of the column's own values, so that its modifier cuts nothing.
fn literals(of: &Table, bound: &Bound) -> String {
    let literal =
        |(column, text): (&Column, &String)| format!("'{}'::{}", text.replace('\'', "''"), column.sql_type);
    list(key_columns(of).zip(bound).map(literal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{ColumnType, TableId};

    #[test]
    fn bounds_are_quoted_and_compared_as_rows() {
        let column = |name: &str, sql_type: &str| Column {
            name: name.to_owned(),
            ty: ColumnType::Date,
            sql_type: sql_type.to_owned(),
            collation: String::new(),
            nullable: false,
            generated: false,
            has_default: false,
        };
        let of = Table {
            id: TableId::new("s", "t"),
            columns: vec![column("v", "date"), column("b", "text"), column("a", "int")],
            key: vec![2, 1],
            uniques: Vec::new(),
            external: None,
        };
        let bound_of = |a: &str, b: &str| Some(vec![a.to_owned(), b.to_owned()]);
        let range = Range {
            low: bound_of("1", "it's"),
            high: bound_of("2", ""),
        };
        assert_eq!(
            within(&of, &range),
            " WHERE (t.\"a\", t.\"b\") > ('1'::int, 'it''s'::text) AND (t.\"a\", t.\"b\") <= ('2'::int, ''::text)"
        );
        assert_eq!(within(&of, &Range::default()), "");
        assert_eq!(rows(&of, &Range::default(), Some("t.a = 1")), " WHERE t.a = 1");
        let both = rows(&of, &range, Some("t.a = 1"));
        assert_eq!(both, within(&of, &range) + " AND t.a = 1");
        assert_eq!(
            bound(&of, "ONLY ", range.high.as_ref(), 10),
            "SELECT t.\"a\"::text, t.\"b\"::text FROM ONLY \"s\".\"t\" AS t \
             WHERE (t.\"a\", t.\"b\") > ('2'::int, ''::text) ORDER BY t.\"a\", t.\"b\" LIMIT 1 OFFSET 9"
        );
    }
}
