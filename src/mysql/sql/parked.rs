//! Statement text of changes that wait: `tidelock.parked` and `tidelock.missed_bump`.

use super::{Sql, link_condition, optional, push, separated, text};
use crate::model::parked::{MissedBump, Parked, ParkedKey};
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;

const COLUMNS: &str = "schema_name, table_name, key_hash, key_json, operation, is_source, base_stamp, stamp, local_stamp, \
    kind, reason, conflict, waits_for, source_position, source_committed_us";

/// All of a link, with the sizes of their cells instead of these.
pub fn parked(sync: &str, link: &str) -> Sql {
    let sizes = "'' AS key_cells, '' AS row_cells, CAST(LENGTH(key_cells) + LENGTH(row_cells) AS SIGNED)";
    let mut out = format!("SELECT {COLUMNS}, {sizes} FROM tidelock.parked").into_bytes();
    link_condition(sync, link, &mut out);
    push(&mut out, " ORDER BY number");
    out
}

pub fn parked_rows(sync: &str, link: &str, keys: &[ParkedKey]) -> Sql {
    let mut out = format!("SELECT {COLUMNS}, key_cells, row_cells, CAST(0 AS SIGNED) FROM tidelock.parked")
        .into_bytes();
    link_condition(sync, link, &mut out);
    among(keys, &mut out);
    push(&mut out, " ORDER BY number");
    out
}

pub fn park(sync: &str, link: &str, parked: &[Parked]) -> Sql {
    let columns = [
        "key_json",
        "operation",
        "base_stamp",
        "stamp",
        "local_stamp",
        "kind",
        "reason",
        "conflict",
        "waits_for",
        "source_position",
        "key_cells",
        "row_cells",
        "is_source",
        "source_committed_us",
    ];
    let mut out = format!(
        "INSERT INTO tidelock.parked (sync, link, schema_name, table_name, key_hash, {}) VALUES ",
        columns.join(", ")
    )
    .into_bytes();
    separated(parked, ", ", &mut out, |one, out| {
        out.push(b'(');
        row_key(sync, link, &one.at, out);
        let stamp = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.to_string());
        let (base, last, local) = (stamp(one.base), stamp(one.stamp), stamp(one.local));
        let cells = [
            Some(one.key_json.as_str()),
            Some(&one.operation),
            base.as_deref(),
            last.as_deref(),
            local.as_deref(),
            Some(one.kind.name()),
            Some(&one.reason),
            one.conflict.as_deref(),
            one.waits_for.as_deref(),
            Some(&one.source_position),
        ];
        for cell in cells {
            optional(cell, out);
            out.push(b',');
        }
        for cells in [&one.key_cells, &one.row_cells] {
            bytes(cells, out);
            out.push(b',');
        }
        push(out, &format!("{}, {})", one.is_source, one.source_committed_us));
    });
    let set = columns.iter().map(|name| format!("{name} = VALUES({name})"));
    let set: Vec<String> = set.collect();
    push(
        &mut out,
        &format!(
            " ON DUPLICATE KEY UPDATE {}, changed_at = CURRENT_TIMESTAMP(6)",
            set.join(", ")
        ),
    );
    out
}

pub fn unpark(sync: &str, link: &str, keys: &[ParkedKey]) -> Sql {
    let mut out = Sql::from("DELETE FROM tidelock.parked");
    link_condition(sync, link, &mut out);
    among(keys, &mut out);
    out
}

pub fn note_bumps(sync: &str, link: &str, bumps: &[MissedBump]) -> Sql {
    let mut out = Sql::from(
        "INSERT INTO tidelock.missed_bump (sync, link, schema_name, table_name, key_hash, key_cells, standing, stamp) \
         VALUES ",
    );
    separated(bumps, ", ", &mut out, |bump, out| {
        out.push(b'(');
        row_key(sync, link, &bump.at, out);
        bytes(&bump.key_cells, out);
        for stamp in [bump.standing, bump.stamp] {
            out.push(b',');
            text(&stamp.to_string(), out);
        }
        out.push(b')');
    });
    push(
        &mut out,
        " ON DUPLICATE KEY UPDATE key_cells = VALUES(key_cells), standing = VALUES(standing), stamp = VALUES(stamp), \
         position = NULL",
    );
    out
}

pub fn note_strays(sync: &str, link: &str, strays: &[(TableId, u64)]) -> Sql {
    let mut out = Sql::from(
        "INSERT INTO tidelock.stray_number (sync, link, schema_name, table_name, strays, last_at) VALUES ",
    );
    separated(strays, ", ", &mut out, |(table, count), out| {
        out.push(b'(');
        for part in [sync, link, &table.schema, &table.name] {
            text(part, out);
            out.push(b',');
        }
        push(out, &format!("{count}, UTC_TIMESTAMP(6))"));
    });
    push(
        &mut out,
        " ON DUPLICATE KEY UPDATE strays = strays + VALUES(strays), last_at = VALUES(last_at)",
    );
    out
}

/// At most so many, oldest first.
pub fn noted_bumps(sync: &str, link: &str, limit: usize) -> Sql {
    let mut out = Sql::from(
        "SELECT schema_name, table_name, key_hash, key_cells, standing, stamp, position FROM tidelock.missed_bump",
    );
    link_condition(sync, link, &mut out);
    push(&mut out, &format!(" ORDER BY noted_at LIMIT {limit}"));
    out
}

pub fn locate_bumps(sync: &str, link: &str, position: &str) -> Sql {
    let mut out = Sql::from("UPDATE tidelock.missed_bump SET position = ");
    text(position, &mut out);
    link_condition(sync, link, &mut out);
    push(&mut out, " AND position IS NULL");
    out
}

/// Not one that was noted anew meanwhile.
pub fn drop_bumps(sync: &str, link: &str, bumps: &[MissedBump]) -> Sql {
    let mut out = Sql::from("DELETE FROM tidelock.missed_bump");
    link_condition(sync, link, &mut out);
    push(
        &mut out,
        " AND (schema_name, table_name, key_hash, standing, stamp) IN (",
    );
    separated(bumps, ", ", &mut out, |bump, out| {
        out.push(b'(');
        let cells = [
            bump.at.digits(),
            bump.standing.to_string(),
            bump.stamp.to_string(),
        ];
        text(&bump.at.table.schema, out);
        out.push(b',');
        text(&bump.at.table.name, out);
        for cell in cells {
            out.push(b',');
            text(&cell, out);
        }
        out.push(b')');
    });
    push(&mut out, ") AND position IS NOT NULL");
    out
}

fn row_key(sync: &str, link: &str, at: &ParkedKey, out: &mut Sql) {
    let hash = at.digits();
    for cell in [sync, link, &at.table.schema, &at.table.name, &hash] {
        text(cell, out);
        out.push(b',');
    }
}

fn among(keys: &[ParkedKey], out: &mut Sql) {
    push(out, " AND (schema_name, table_name, key_hash) IN (");
    separated(keys, ", ", out, |at, out| {
        let hash = at.digits();
        out.push(b'(');
        separated(
            &[at.table.schema.as_str(), &at.table.name, &hash],
            ",",
            out,
            |cell, out| text(cell, out),
        );
        out.push(b')');
    });
    out.push(b')');
}

fn bytes(cells: &[u8], out: &mut Sql) {
    out.reserve(cells.len() * 2 + 3);
    push(out, "x'");
    for byte in cells {
        push(out, &format!("{byte:02x}"));
    }
    out.push(b'\'');
}
