//! Statements about held tables.

use super::{Sql, link_condition, optional, push, separated, text};
use crate::model::operation::HeldTable;
use crate::model::schema::TableId;

/// A table that stops again keeps the time since when it is held.
pub fn hold(sync: &str, held: &HeldTable) -> Sql {
    let mut out = Sql::from(
        "INSERT INTO tidelock.held_table (sync, link, schema_name, table_name, position, stop_position, stop_past, \
         stop_error, stop_hint) VALUES (",
    );
    let position = held.position.to_string();
    let (schema, name) = (held.table.schema.as_str(), held.table.name.as_str());
    let (at, past) = (held.transaction.as_deref(), held.past.as_deref());
    let cells = [
        Some(sync),
        Some(&held.link),
        Some(schema),
        Some(name),
        Some(&position),
        at,
        past,
    ];
    let cells = cells
        .into_iter()
        .chain([Some(held.error.as_str()), Some(&held.hint)]);
    let cells: Vec<Option<&str>> = cells.collect();
    separated(&cells, ", ", &mut out, |cell, out| optional(*cell, out));
    push(
        &mut out,
        ") ON DUPLICATE KEY UPDATE position = VALUES(position), stop_position = VALUES(stop_position), \
         stop_past = VALUES(stop_past), stop_error = VALUES(stop_error), stop_hint = VALUES(stop_hint), resumed = FALSE",
    );
    out
}

/// Held tables are applied up to a position, or, without one, held no more.
pub fn held_at((sync, link): (&str, &str), tables: &[TableId], at: Option<&str>) -> Sql {
    let mut out = match at {
        Some(at) => {
            let mut out = Sql::from("UPDATE tidelock.held_table SET position = ");
            text(at, &mut out);
            out
        }
        None => Sql::from("DELETE FROM tidelock.held_table"),
    };
    link_condition(sync, link, &mut out);
    push(&mut out, " AND (schema_name, table_name) IN (");
    separated(tables, ", ", &mut out, |id, out| {
        out.push(b'(');
        text(&id.schema, out);
        push(out, ", ");
        text(&id.name, out);
        out.push(b')');
    });
    out.push(b')');
    out
}
