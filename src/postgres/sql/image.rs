//! Statements for an image of a table's rows: making it, and making the table equal to it.
//!
//! Owns, refuses: as `sql`. The image is a temporary table: it is in no log, nobody else sees it, and it is gone with its
//! session, however that ends. Rows are compared by their bytes (`*=`), which every type has: 'a' is not 'A', and 1.0 is not
//! 1.00.

use super::{list, quote, table};
use crate::model::schema::TableId;
use crate::model::sync::object_name;
use crate::plan::image::Image;

/// Where the image of a table lies.
pub fn place(id: &TableId) -> TableId {
    TableId::new("pg_temp", object_name("image", id))
}

/// Apply sessions reach rows by key alone; here whole tables meet. Users' writes wait, readers do not.
pub fn begin(image: &Image) -> String {
    format!(
        "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; \
         LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
        table(&image.shape.table.id)
    )
}

pub fn make(image: &Image) -> String {
    format!(
        "CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA",
        table(&image.image.table.id),
        names(image, &image.cells, ""),
        table(&image.shape.table.id)
    )
}

/// Once it is filled: two rows of one key are noticed here, before anything is written.
pub fn complete(image: &Image) -> String {
    let id = table(&image.image.table.id);
    match image.is_keyed {
        true => format!(
            "ALTER TABLE {id} ADD PRIMARY KEY ({}); ANALYZE {id}",
            names(image, image.key(), "")
        ),
        false => format!("ANALYZE {id}"),
    }
}

/// Rows of other keys than the image's, and those that may trade values.
pub fn delete(image: &Image) -> String {
    let traded = match image.traded.is_empty() {
        true => String::new(),
        false => format!(" AND {}", same(image, &image.traded, "*=")),
    };
    format!(
        "DELETE FROM {} AS t WHERE NOT EXISTS (SELECT FROM {} AS i WHERE {}{traded})",
        table(&image.shape.table.id),
        table(&image.image.table.id),
        one_row(image)
    )
}

/// `None`: it has no other columns.
pub fn update(image: &Image) -> Option<String> {
    let settled = image.settled();
    if settled.is_empty() {
        return None;
    }
    let set = settled.iter().map(|place| {
        let name = quote(&image.shape.table.columns[*place].name);
        format!("{name} = i.{name}")
    });
    Some(format!(
        "UPDATE {} AS t SET {} FROM {} AS i WHERE {} AND {}",
        table(&image.shape.table.id),
        list(set),
        table(&image.image.table.id),
        one_row(image),
        same(image, &settled, "*<>")
    ))
}

pub fn insert(image: &Image) -> String {
    format!(
        "{} WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})",
        insert_all(image),
        table(&image.shape.table.id),
        one_row(image)
    )
}

pub fn insert_all(image: &Image) -> String {
    format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS i",
        table(&image.shape.table.id),
        names(image, &image.cells, ""),
        names(image, &image.cells, "i."),
        table(&image.image.table.id)
    )
}

/// Is there a row that one of the two has more often than the other?
pub fn differs(image: &Image) -> String {
    let side = |alias: &str, id: &TableId, sign: &str| {
        format!(
            "SELECT ROW({})::text COLLATE \"C\" AS r, {sign}1 AS n FROM {} AS {alias}",
            names(image, &image.cells, &format!("{alias}.")),
            table(id)
        )
    };
    format!(
        "SELECT EXISTS (SELECT FROM ({} UNION ALL {}) AS b GROUP BY r HAVING sum(n) <> 0)",
        side("t", &image.shape.table.id, ""),
        side("i", &image.image.table.id, "-")
    )
}

/// An index finds it, and never under another spelling.
fn one_row(image: &Image) -> String {
    let keys = image.key().iter().map(|place| {
        let name = quote(&image.shape.table.columns[*place].name);
        format!("t.{name} = i.{name}")
    });
    let keys = keys.collect::<Vec<_>>().join(" AND ");
    format!("{keys} AND {}", same(image, image.key(), "*="))
}

fn same(image: &Image, places: &[usize], operator: &str) -> String {
    format!(
        "ROW({})::record {operator} ROW({})::record",
        names(image, places, "t."),
        names(image, places, "i.")
    )
}

fn names(image: &Image, places: &[usize], prefix: &str) -> String {
    let columns = &image.shape.table.columns;
    list(
        places
            .iter()
            .map(|place| format!("{prefix}{}", quote(&columns[*place].name))),
    )
}
