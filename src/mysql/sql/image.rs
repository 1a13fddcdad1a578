//! Statements for an image of a table's rows: making it, and making the table equal to it.
//!
//! Owns, refuses: as `sql`. The image is a temporary table: it is in no log, nobody else sees it, and it is gone with its
//! session, however that ends. Rows are compared by their bytes, whatever the collation: 'a' is not 'A'. A temporary table
//! may stand in a statement once only.

use super::{quote, table};
use crate::model::origin::CONTROL;
use crate::model::schema::{Column, ColumnType, TableId};
use crate::model::sync::object_name;
use crate::plan::image::Image;

/// Where the image of a table lies.
pub fn place(id: &TableId) -> TableId {
    TableId::new(CONTROL, object_name("image", id))
}

/// Two rows of one key are refused when they come. Servers may want a key of every table, so one without has a number.
pub fn make(image: &Image) -> String {
    let key = match image.is_keyed {
        true => format!("PRIMARY KEY ({})", names(image, image.key(), "")),
        false => "tidelock_row BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY".to_owned(),
    };
    format!(
        "CREATE TEMPORARY TABLE {} ({key}) ENGINE=InnoDB AS SELECT {} FROM {} LIMIT 0",
        table(&image.image.table.id),
        names(image, &image.cells, ""),
        table(&image.shape.table.id)
    )
}

/// Rows of other keys than the image's, and those that may trade values.
pub fn delete(image: &Image) -> String {
    let traded = same(image, &image.traded);
    let traded = traded.map_or(String::new(), |traded| format!(" AND {traded}"));
    format!(
        "DELETE t FROM {} AS t LEFT JOIN {} AS i ON {}{traded} WHERE {} IS NULL",
        table(&image.shape.table.id),
        table(&image.image.table.id),
        one_row(image),
        first_key(image, "i.")
    )
}

/// `None`: it has no other columns.
pub fn update(image: &Image) -> Option<String> {
    let settled = image.settled();
    let same = same(image, &settled)?;
    let set = settled.iter().map(|place| {
        let name = quote(&image.shape.table.columns[*place].name);
        format!("t.{name} = i.{name}")
    });
    Some(format!(
        "UPDATE {} AS t JOIN {} AS i ON {} SET {} WHERE NOT ({same})",
        table(&image.shape.table.id),
        table(&image.image.table.id),
        one_row(image),
        set.collect::<Vec<_>>().join(", ")
    ))
}

pub fn insert(image: &Image) -> String {
    format!(
        "{} LEFT JOIN {} AS t ON {} WHERE {} IS NULL",
        insert_all(image),
        table(&image.shape.table.id),
        one_row(image),
        first_key(image, "t.")
    )
}

pub fn insert_all(image: &Image) -> String {
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} AS i",
        table(&image.shape.table.id),
        names(image, &image.cells, ""),
        names(image, &image.cells, "i."),
        table(&image.image.table.id)
    )
}

/// Is there a row that one of the two has more often than the other?
pub fn differs(image: &Image) -> String {
    let side = |id: &TableId, sign: &str| {
        let cells = image.cells.iter().enumerate().map(|(number, place)| {
            let column = &image.shape.table.columns[*place];
            format!("{} AS c{number}", told_apart(column))
        });
        let cells = cells.collect::<Vec<_>>().join(", ");
        format!("SELECT {cells}, {sign}1 AS n FROM {}", table(id))
    };
    let columns: Vec<String> = (0..image.cells.len())
        .map(|number| format!("c{number}"))
        .collect();
    format!(
        "SELECT 1 FROM ({} UNION ALL {}) AS b GROUP BY {} HAVING SUM(n) <> 0 LIMIT 1",
        side(&image.shape.table.id, ""),
        side(&image.image.table.id, "-"),
        columns.join(", ")
    )
}

/// A short value that is the same where the column's bytes are. (Groups go by the first `max_sort_length` bytes.)
fn told_apart(column: &Column) -> String {
    let name = quote(&column.name);
    match column.ty {
        ColumnType::Bytes { .. } | ColumnType::Opaque { .. } => format!("SHA2({name}, 256)"),
        _ if has_spellings(column) => format!("SHA2(CAST({name} AS BINARY), 256)"),
        _ => name,
    }
}

/// An index finds it, and never under another spelling.
fn one_row(image: &Image) -> String {
    let each = image.key().iter().map(|place| {
        let column = &image.shape.table.columns[*place];
        let name = quote(&column.name);
        match has_spellings(column) {
            true => format!("t.{name} = i.{name} AND CAST(t.{name} AS BINARY) = CAST(i.{name} AS BINARY)"),
            false => format!("t.{name} = i.{name}"),
        }
    });
    each.collect::<Vec<_>>().join(" AND ")
}

/// `None`: there are none to compare.
fn same(image: &Image, places: &[usize]) -> Option<String> {
    let each = places.iter().map(|place| {
        let column = &image.shape.table.columns[*place];
        let name = quote(&column.name);
        match has_spellings(column) {
            true => format!("CAST(t.{name} AS BINARY) <=> CAST(i.{name} AS BINARY)"),
            false => format!("t.{name} <=> i.{name}"),
        }
    });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| each.join(" AND "))
}

/// Can two different values be equal to the server?
fn has_spellings(column: &Column) -> bool {
    matches!(
        column.ty,
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json { .. }
    )
}

fn first_key(image: &Image, prefix: &str) -> String {
    names(image, &image.key()[..1], prefix)
}

fn names(image: &Image, places: &[usize], prefix: &str) -> String {
    let columns = &image.shape.table.columns;
    let each = places
        .iter()
        .map(|place| format!("{prefix}{}", quote(&columns[*place].name)));
    each.collect::<Vec<_>>().join(", ")
}
