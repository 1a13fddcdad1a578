//! From a person's choice to the writes that make it come true.
//!
//! Owns: which version is whose, where its cells are still known, and on which node the write is made: where the
//! version stands it is only raised, elsewhere it is written from the record; what waits is decided where it came from.
//! Refuses: cells that nobody knows any more
//! (masked, not recorded), keys, and choices that the record does not offer.

use super::picture::{Picture, Rows};
use super::{Case, Wish, refused};
use crate::error::{Error, Result};
use crate::model::conflict::StoredConflict;
use crate::model::schema::Table;
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::Key;
use crate::plan::restore::{Cell, Image, typed};

/// What the row shall be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// As it stands on this node, with these cells instead of its own.
    Stands { node: usize, cells: Row },
    /// These cells, written on this node.
    Whole { node: usize, cells: Row },
    /// Deleted on this node; `None`: it stands nowhere.
    Gone { node: Option<usize> },
}

/// One write of a row on one node.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) node: usize,
    pub(super) key: Key,
    /// What stood on all nodes when it was planned.
    pub(super) rows: Rows,
    pub(super) deed: Deed,
    pub(super) version: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deed {
    /// Cells to set, without the stamp.
    Write(Row),
    Delete,
}

/// Whose version of the row a record holds, with the images that still have it.
struct Side {
    stamp: Option<Stamp>,
    is_gone: bool,
    /// Node in whose columns the image is, the image, and that of the other side.
    images: Vec<(usize, String, Option<String>)>,
}

pub(super) fn content(picture: &Picture, rows: &Rows, case: &Case<'_>, wish: &Wish) -> Result<Content> {
    let content = match (&wish.take, wish.merge) {
        (Some(name), _) => take(picture, rows, case, wish, name)?,
        (None, true) => merged(picture, rows, case, wish)?,
        (None, false) => {
            let node = stands(rows, case)?;
            let width = picture.seats[node].table.columns.len();
            let cells = nothing(width);
            Content::Stands { node, cells }
        }
    };
    with_set(picture, content, wish)
}

fn nothing(width: usize) -> Row {
    Row(vec![None; width].into_boxed_slice())
}

/// Where single columns are set: where the row stands. What is refused here stands on the source only.
fn stands(rows: &Rows, case: &Case<'_>) -> Result<usize> {
    let order = match case.is_refused_here() {
        true => [case.source, case.at],
        false => [case.at, case.source],
    };
    let others = 0..rows.locals.len();
    let found = order.into_iter().chain(others).find(|node| rows.stands(*node));
    found.ok_or_else(|| {
        refused("set columns of the row")
            .why("it stands on no node any more")
            .hint("`--take NODE --set ..` takes that node's version from the record and sets columns of it")
    })
}

fn with_set(picture: &Picture, content: Content, wish: &Wish) -> Result<Content> {
    if wish.set.is_empty() {
        return Ok(content);
    }
    let (node, cells) = match &content {
        Content::Stands { node, cells } | Content::Whole { node, cells } => (*node, cells.clone()),
        Content::Gone { .. } => {
            return Err(refused("set columns of the row")
                .why("that node's version of it is a delete")
                .hint("take the other node's version, and set its columns"));
        }
    };
    let mut cells = cells;
    for (place, value) in values(picture, node, wish)? {
        cells.0[place] = Some(value);
    }
    Ok(match content {
        Content::Whole { .. } => Content::Whole { node, cells },
        Content::Stands { .. } | Content::Gone { .. } => Content::Stands { node, cells },
    })
}

/// The columns that are set, by place.
fn values(picture: &Picture, node: usize, wish: &Wish) -> Result<Vec<(usize, Value)>> {
    let seat = &picture.seats[node];
    let mut values: Vec<(usize, Value)> = Vec::new();
    for (name, text) in &wish.set {
        let place = picture.column(node, name)?;
        let column = &seat.table.columns[place];
        let doing = || {
            Error::definite(format!("set column {name:?}"))
                .table(&seat.table.id)
                .node(&seat.name)
        };
        if values.iter().any(|(known, _)| *known == place) {
            return Err(doing().why("it is set twice"));
        }
        let value = match text {
            Some(text) => typed(text, column, seat.engine).map_err(|why| doing().why(why))?,
            None if column.nullable => Value::Null,
            None => return Err(doing().why("it is NOT NULL")),
        };
        values.push((place, value));
    }
    Ok(values)
}

fn take(picture: &Picture, rows: &Rows, case: &Case<'_>, wish: &Wish, name: &str) -> Result<Content> {
    let known: Vec<&str> = picture.seats.iter().map(|seat| seat.name.as_str()).collect();
    let node = picture
        .seats
        .iter()
        .position(|seat| seat.name == name)
        .ok_or_else(|| {
            Error::definite(format!("find the node {name:?}"))
                .why("the sync has no such node")
                .hint(format!("it has {}", known.join(", ")))
        })?;
    let side = side(picture, case, node).ok_or_else(|| {
        let told = [case.at, case.source].map(|node| picture.seats[node].name.as_str());
        refused(format!("take the version of {name}"))
            .why("the record does not hold one")
            .hint(format!("it holds those of {}", told.join(" and ")))
    })?;
    if side.is_gone {
        let standing = (0..rows.locals.len()).filter(|node| rows.stands(*node));
        let node = standing.max_by_key(|node| rows.stamp(*node));
        return Ok(Content::Gone { node });
    }
    let width = picture.seats[node].table.columns.len();
    if rows.locals[node].row.is_some() && rows.locals[node].row_stamp == side.stamp {
        let cells = nothing(width);
        return Ok(Content::Stands { node, cells });
    }
    let mut why = "the record was kept without its rows".to_owned();
    for (node, image, other) in &side.images {
        match from_image(picture, rows, (*node, image, other.as_deref()), wish) {
            Ok(cells) => return Ok(Content::Whole { node: *node, cells }),
            Err(told) => why = told,
        }
    }
    Err(refused(format!("take the version of {name}"))
        .table(picture.id(node))
        .why(why)
        .hint(format!(
            "that version stands nowhere any more: give what is missing with --set COLUMN=VALUE, take another version, or \
             change the row on {name} with an UPDATE"
        )))
}

fn side(picture: &Picture, case: &Case<'_>, node: usize) -> Option<Side> {
    let mut sides: Vec<Side> = Vec::new();
    let here = case.records.iter().filter(|record| record.node == node);
    for record in here {
        let conflict = &record.conflict;
        // What could not be written was not looked at on its target, and is in the source's terms.
        let other = conflict
            .incoming
            .clone()
            .filter(|_| !conflict.is_in_sources_terms());
        let image = conflict.local.clone().map(|image| (node, image, other));
        sides.push(Side {
            stamp: conflict.local_stamp,
            is_gone: conflict.local.is_none(),
            images: image.into_iter().collect(),
        });
    }
    for record in case.records {
        let conflict = &record.conflict;
        let by_origin =
            |stamp: Option<Stamp>| stamp.is_some_and(|stamp| stamp.origin == picture.seats[node].rank);
        let came_from = picture
            .seats
            .iter()
            .position(|seat| seat.name == super::source_name(conflict));
        let is_incoming =
            came_from == Some(node) || (node != record.node && by_origin(conflict.incoming_stamp));
        if !is_incoming {
            continue;
        }
        let terms = if conflict.is_in_sources_terms() {
            came_from
        } else {
            Some(record.node)
        };
        let image = terms.zip(conflict.incoming.clone());
        sides.push(Side {
            stamp: conflict.incoming_stamp,
            is_gone: conflict.operation == "delete",
            images: image
                .into_iter()
                .map(|(terms, image)| (terms, image, conflict.local.clone()))
                .collect(),
        });
    }
    let mut sides = sides.into_iter();
    let mut first = sides.next()?;
    sides.for_each(|side| first.images.extend(side.images));
    Some(first)
}

/// The cells of a recorded version, as they are written on the node in whose terms they are. A masked cell is known
/// only where the same cell stands.
fn from_image(
    picture: &Picture,
    rows: &Rows,
    (node, image, other): (usize, &str, Option<&str>),
    wish: &Wish,
) -> Result<Row, String> {
    let table = &picture.seats[node].table;
    let image = Image::parse(image, table)?;
    let other = other.map(|other| Image::parse(other, table)).transpose()?;
    let carried = picture.carried(node).map_err(|error| error.to_string())?;
    let standing = rows.locals[node].row.as_ref();
    let set: Vec<usize> = wish
        .set
        .iter()
        .filter_map(|(name, _)| picture.column(node, name).ok())
        .collect();
    let mut cells = nothing(table.columns.len());
    for place in carried.into_iter().filter(|place| !set.contains(place)) {
        let name = &table.columns[place].name;
        match image.cell(place) {
            Some(Cell::Value(value)) => cells.0[place] = Some(value.clone()),
            Some(Cell::Masked(number)) => {
                let same = other.as_ref().and_then(|other| other.cell(place)) == Some(&Cell::Masked(*number));
                let unchanged = standing.is_some() && same && is_other(table, rows, node, other.as_ref());
                if !unchanged {
                    return Err(format!(
                        "column {name:?} is masked, so the record does not hold its value"
                    ));
                }
            }
            None => return Err(format!("the record lacks column {name:?}")),
        }
    }
    if standing.is_none() {
        key_cells(rows, node, table, &mut cells)?;
        let lacking = picture.carried(node).unwrap_or_default();
        let set = |place: &usize| set.contains(place);
        if let Some(place) = lacking
            .iter()
            .find(|place| cells.get(**place).is_none() && !set(place))
        {
            let name = &table.columns[*place].name;
            return Err(format!(
                "the row stands nowhere and the record lacks column {name:?}"
            ));
        }
    }
    Ok(cells)
}

/// Does the other side's version stand on the node, as the record has it?
fn is_other(table: &Table, rows: &Rows, node: usize, other: Option<&Image>) -> bool {
    let (Some(standing), Some(other)) = (&rows.locals[node].row, other) else {
        return false;
    };
    let told = |place: usize| match other.cell(place) {
        Some(Cell::Value(value)) => Some(value) == standing.get(place),
        // Cannot be compared; the stamps, which are columns too, are.
        Some(Cell::Masked(_)) | None => true,
    };
    (0..table.columns.len()).all(told)
}

/// A row that is inserted has its key too.
fn key_cells(rows: &Rows, node: usize, table: &Table, cells: &mut Row) -> Result<(), String> {
    let key = rows.keys[node].as_ref();
    let key = key.ok_or_else(|| "its key cannot be stored there".to_owned())?;
    for (place, value) in table.key.iter().zip(key) {
        cells.0[*place] = Some(value.clone());
    }
    Ok(())
}

/// Three-way: what one side changed is of that side; what both changed is of the one that the rule let win.
fn merged(picture: &Picture, rows: &Rows, case: &Case<'_>, wish: &Wish) -> Result<Content> {
    let conflict = case.conflict();
    let lacking = |why: &str| {
        refused("merge the two versions")
            .why(why.to_owned())
            .hint("`--take NODE` takes one of them, and `--set COLUMN=VALUE` sets columns of it")
    };
    let (Some(base), Some(local), Some(incoming)) = (&conflict.base, &conflict.local, &conflict.incoming)
    else {
        return Err(lacking(
            "the record does not hold three rows: what both agreed on, and what each made of it",
        ));
    };
    if conflict.is_in_sources_terms() {
        return Err(lacking(
            "one of them holds a value that the other node cannot hold",
        ));
    }
    let table = &picture.seats[case.at].table;
    let wrong = |why: String| lacking(&why);
    let base = agreed(picture, case, base).map_err(wrong)?;
    let local = Image::parse(local, table).map_err(wrong)?;
    let incoming = Image::parse(incoming, table).map_err(wrong)?;
    let incoming_wins = conflict.incoming_stamp > conflict.local_stamp;
    let set: Vec<usize> = wish
        .set
        .iter()
        .filter_map(|(name, _)| picture.column(case.at, name).ok())
        .collect();
    let mut cells = nothing(table.columns.len());
    for place in picture.carried(case.at)? {
        if set.contains(&place) {
            continue;
        }
        let name = &table.columns[place].name;
        let (Some(here), Some(there)) = (local.cell(place), incoming.cell(place)) else {
            return Err(lacking(&format!("the record lacks column {name:?}")));
        };
        let taken = match base.cell(place) {
            _ if here == there => here,
            Some(base) if base == here => there,
            Some(base) if base == there => here,
            Some(_) | None if incoming_wins => there,
            Some(_) | None => here,
        };
        match taken {
            Cell::Value(value) => cells.0[place] = Some(value.clone()),
            // Not recorded, but it may be what stands.
            Cell::Masked(_) => {
                let stands = [&local, &incoming].into_iter().any(|side| {
                    side.cell(place) == Some(taken) && is_other(table, rows, case.at, Some(side))
                });
                if !stands {
                    let why = format!("column {name:?} is masked, so the record does not hold its value");
                    return Err(lacking(&why));
                }
            }
        }
    }
    let node = case.at;
    Ok(Content::Whole { node, cells })
}

/// What both last agreed on, as the node that recorded it would have it.
fn agreed(picture: &Picture, case: &Case<'_>, base: &str) -> Result<Image, String> {
    let plan = picture
        .plan(case.source, case.at)
        .map_err(|error| error.to_string())?;
    let base = Image::parse(base, &picture.seats[case.source].table)?;
    let (_, row) = plan.row(&base.row()).map_err(|refusal| refusal.to_string())?;
    let there = |place: usize| match plan.source_of(place).and_then(|source| base.cell(source)) {
        Some(Cell::Masked(number)) => Some(Cell::Masked(*number)),
        Some(Cell::Value(_)) => row.get(place).cloned().map(Cell::Value),
        None => None,
    };
    Ok(Image((0..row.0.len()).map(there).collect()))
}

/// The same, written on the node that the waiting change came from: it is made on what waits there, so the node that asks
/// sees a write above both, and nobody else has to ask. As it was, where the row cannot be told in that node's terms.
pub(super) fn at_source(picture: &Picture, rows: &Rows, case: &Case<'_>, content: Content) -> Content {
    let source = case.source;
    match &content {
        Content::Gone { node: Some(_) } if rows.stands(source) => Content::Gone { node: Some(source) },
        Content::Stands { node, cells } | Content::Whole { node, cells } if *node != source => {
            match carried_over(picture, rows, (*node, source), cells) {
                Some(cells) => Content::Whole { node: source, cells },
                None => content,
            }
        }
        Content::Gone { .. } | Content::Stands { .. } | Content::Whole { .. } => content,
    }
}

/// The same, written on the node that merges the table's columns: elsewhere it would be one more change to be merged with
/// what stands there, and would not come out as it was decided.
pub(super) fn at_arbiter(picture: &Picture, rows: &Rows, arbiter: usize, content: Content) -> Content {
    match &content {
        Content::Gone { node: Some(_) } if rows.stands(arbiter) => Content::Gone { node: Some(arbiter) },
        Content::Stands { node, cells } | Content::Whole { node, cells } if *node != arbiter => {
            match carried_over(picture, rows, (*node, arbiter), cells) {
                Some(cells) => Content::Whole { node: arbiter, cells },
                None => content,
            }
        }
        Content::Gone { .. } | Content::Stands { .. } | Content::Whole { .. } => content,
    }
}

/// A row of one node with these cells instead of its own, as it is written on another.
fn carried_over(picture: &Picture, rows: &Rows, (from, to): (usize, usize), cells: &Row) -> Option<Row> {
    let mut whole = match &rows.locals[from].row {
        Some(here) => cells.over(here),
        None => cells.clone(),
    };
    key_cells(rows, from, &picture.seats[from].table, &mut whole).ok()?;
    let (_, there) = picture.plan(from, to).ok()?.row(&whole).ok()?;
    let mut cells = nothing(picture.seats[to].table.columns.len());
    for place in picture.carried(to).ok()? {
        cells.0[place] = Some(there.get(place)?.clone());
    }
    Some(cells)
}

/// The write that makes it so; `None`: it is so already.
pub(super) fn act(picture: &Picture, rows: &Rows, content: Content, version: i64) -> Result<Option<Act>> {
    let (node, deed) = match content {
        Content::Stands { node, cells } => (node, Deed::Write(cells)),
        Content::Whole { node, mut cells } => {
            if !rows.stands(node) {
                let table = &picture.seats[node].table;
                key_cells(rows, node, table, &mut cells).map_err(|why| refused("write the row").why(why))?;
            }
            (node, Deed::Write(cells))
        }
        Content::Gone { node: Some(node) } => (node, Deed::Delete),
        Content::Gone { node: None } => return Ok(None),
    };
    let key = rows.keys[node].clone();
    let key = key.ok_or_else(|| refused("write the row").why("its key cannot be stored there"))?;
    Ok(Some(Act {
        node,
        key,
        rows: rows.clone(),
        deed,
        version,
    }))
}

/// What the incoming row of a unique clash holds, in the terms of the node that refused it.
pub(super) fn incoming_row(picture: &Picture, at: usize, conflict: &StoredConflict) -> Result<Row> {
    let image = conflict.incoming.as_deref().unwrap_or("{}");
    let image = Image::parse(image, &picture.seats[at].table);
    image
        .map(|image| image.row())
        .map_err(|why| refused("find the row in the way").why(why))
}
