//! Tables as the replication stream describes them, and its tuples as rows.
//!
//! Owns: turning a Relation message into a [`Table`], built-in types by table, all others through a side connection;
//! and decoding tuples by it. Refuses: rows that lack what the mode needs, before they are yielded.
//! Fails: definite, with the table, the column and the SQL that mends it; never with a cell's value.

use super::catalog::fields;
use super::codec;
use super::wire::{self, Cell, OldTuple};
use super::{connect, fail, sql};
use crate::access::Access;
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::model::change::Op;
use crate::model::schema::{Column, ColumnType, Table, TableId};
use crate::model::sync::{CatalogTable, Mode};
use crate::model::value::{Row, Value};
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::Client;

/// A Relation message of a synced table, on its own memory, waiting for its types.
#[derive(Debug)]
pub(super) struct Described {
    identity: char,
    columns: Vec<DescribedColumn>,
    catalog: Arc<CatalogTable>,
}

#[derive(Debug)]
struct DescribedColumn {
    name: String,
    identity: bool,
    type_oid: u32,
    typmod: i32,
}

impl Described {
    pub(super) fn new(relation: &wire::Relation<'_>, catalog: &Arc<CatalogTable>) -> Self {
        Described {
            identity: relation.identity,
            catalog: catalog.clone(),
            columns: relation
                .columns
                .iter()
                .map(|column| DescribedColumn {
                    name: column.name.to_owned(),
                    identity: column.identity,
                    type_oid: column.type_oid,
                    typmod: column.typmod,
                })
                .collect(),
        }
    }

    /// Asks the catalog for the types that are not built in.
    pub(super) async fn look_up(&self, access: &Access, utf8: bool) -> Result<Relation> {
        let mut found = HashMap::new();
        let foreign =
            |column: &&DescribedColumn| codec::column_type(column.type_oid, column.typmod).is_none();
        if self.columns.iter().any(|column| foreign(&column)) {
            let client = connect(access).await?;
            for column in self.columns.iter().filter(foreign) {
                let ty = look_up(&client, column.type_oid, column.typmod).await;
                let ty = ty.map_err(|error| error.table(&self.catalog.table.id))?;
                found.insert((column.type_oid, column.typmod), ty);
            }
        }
        self.resolve(&found, utf8)
    }

    fn resolve(&self, found: &HashMap<(u32, i32), (ColumnType, String)>, utf8: bool) -> Result<Relation> {
        let known = &self.catalog.table;
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let (mut ty, sql_type) = match found.get(&(column.type_oid, column.typmod)) {
                Some(found) => found.clone(),
                None => match codec::column_type(column.type_oid, column.typmod) {
                    Some(ty) => (ty, String::new()),
                    None => return Err(Error::bug("describe a table").table(&known.id)),
                },
            };
            if let ColumnType::Text { utf8: every, .. } = &mut ty {
                *every = utf8;
            }
            // Where the catalog agrees it knows more; where not, the log is right about its own rows.
            let from_catalog = known
                .columns
                .iter()
                .find(|known| known.name == column.name && known.ty == ty);
            columns.push(from_catalog.cloned().unwrap_or_else(|| Column {
                name: column.name.clone(),
                ty,
                sql_type,
                collation: String::new(),
                nullable: true,
                generated: false,
                has_default: false,
            }));
        }
        let place = |index: &usize| {
            let name = &known.columns.get(*index)?.name;
            columns.iter().position(|column| column.name == *name)
        };
        // By default the log says which columns were the key when the row was written; else the catalog does.
        let flagged: Vec<usize> = (0..columns.len())
            .filter(|index| known.external.is_none() && self.identity == 'd' && self.columns[*index].identity)
            .collect();
        let key: Option<Vec<usize>> = known.key.iter().map(place).collect();
        let key = match key {
            Some(key) if flagged.is_empty() || same_places(&key, &flagged) => Some(key),
            Some(_) | None if !flagged.is_empty() => Some(flagged),
            other => other,
        };
        let key = key.ok_or_else(|| {
            Error::definite("read the table's changes")
                .alone(&known.id)
                .table(&known.id)
                .why("the rows in its log lack a column of its primary key: the key was altered since, or the publication leaves the column out")
                .hint(format!("publish the table without a column list; if the key was altered, {NEW_COPY}"))
        })?;
        let uniques = known.uniques.iter().map(|unique| {
            let places: Option<Vec<usize>> = unique.iter().map(place).collect();
            places.unwrap_or_default()
        });
        let uniques = uniques.collect();
        Ok(Relation {
            identity: self.identity,
            in_identity: self.columns.iter().map(|column| column.identity).collect(),
            table: Arc::new(Table {
                id: known.id.clone(),
                columns,
                key,
                uniques,
                external: known.external.clone(),
            }),
        })
    }
}

fn same_places(a: &[usize], b: &[usize]) -> bool {
    a.len() == b.len() && a.iter().all(|place| b.contains(place))
}

/// A type that is not built in: domains down to their base, enums with their labels, the rest opaque.
async fn look_up(client: &Client, oid: u32, typmod: i32) -> Result<(ColumnType, String)> {
    let doing = format!("look up type {oid}");
    let row = client
        .query_opt(
            concat!(
                "WITH RECURSIVE chain AS (
                    SELECT oid, typtype, typbasetype, typelem, $2::int AS modifier, typtypmod
                      FROM pg_type WHERE oid = $1
                    UNION ALL
                    SELECT t.oid, t.typtype, t.typbasetype, t.typelem, c.typtypmod, t.typtypmod
                      FROM chain c JOIN pg_type t ON t.oid = c.typbasetype WHERE c.typtype = 'd')
                 SELECT oid, modifier, format_type($1, $2) || ",
                fields!(),
                ", format_type(oid, NULL),
                        CASE WHEN typtype = 'e' THEN ARRAY(SELECT enumlabel::text FROM pg_enum
                                                            WHERE enumtypid = t.oid ORDER BY enumsortorder) END
                   FROM chain t WHERE typtype <> 'd'"
            ),
            &[&oid, &typmod],
        )
        .await
        .map_err(|error| fail(&doing, error))?;
    let Some(row) = row else {
        return Err(Error::definite(doing)
            .why("a row of the log has a column of this type, and the type was dropped since")
            .hint("the change cannot be read any more: make a new copy of the table's sync"));
    };
    let read = || -> Result<(ColumnType, String), tokio_postgres::Error> {
        let labels: Option<Vec<String>> = row.try_get(4)?;
        let ty = match labels {
            Some(labels) => ColumnType::Enum { labels },
            None => match codec::column_type(row.try_get(0)?, row.try_get(1)?) {
                Some(ty) => ty,
                None => ColumnType::Opaque {
                    name: row.try_get(3)?,
                },
            },
        };
        Ok((ty, row.try_get(2)?))
    };
    read().map_err(|error| fail(doing, error))
}

#[derive(Debug)]
pub(super) struct Relation {
    pub(super) table: Arc<Table>,
    /// `d`, `n`, `f` or `i`.
    identity: char,
    /// By column: part of the replica identity.
    in_identity: Vec<bool>,
}

impl Relation {
    /// Unchanged tables keep their `Arc`, by which plans are cached.
    pub(super) fn sharing(mut self, before: Option<&Relation>) -> Relation {
        if let Some(before) = before.filter(|before| before.table == self.table) {
            self.table = before.table.clone();
        }
        self
    }

    fn id(&self) -> &TableId {
        &self.table.id
    }

    /// Merge compares and keeps whole old rows, so the log must hold them. (Inserted ones it always does.) The log describes a table as it was when the
    /// row was written: altering it mends what comes later only.
    fn check_mode(&self, mode: Mode) -> Result<()> {
        match (mode, self.identity) {
            (Mode::Transactional | Mode::Snapshot, _) | (Mode::Merge, 'f') => Ok(()),
            (Mode::Merge, _) => {
                Err(self.partial("its replica identity is not FULL, so old rows are not in the log"))
            }
        }
    }

    fn partial(&self, why: &str) -> Error {
        Error::definite("read the table's changes for a merge")
            .alone(self.id())
            .table(self.id())
            .reason(Reason::PositionLost)
            .why(why)
            .hint(format!(
                "ALTER TABLE {} REPLICA IDENTITY FULL; then, because what was written meanwhile cannot be merged, {NEW_COPY}",
                sql::table(self.id())
            ))
    }

    pub(super) fn insert(&self, message: &Bytes, new: &[Cell<'_>]) -> Result<Op> {
        let new = self.row(message, new, |_| true)?;
        Ok(Op::Insert { new })
    }

    pub(super) fn update(
        &self,
        message: &Bytes,
        old: Option<&OldTuple<'_>>,
        new: &[Cell<'_>],
        mode: Mode,
    ) -> Result<Op> {
        self.check_mode(mode)?;
        let is_without_key = self.table.key.iter().any(|place| !self.in_identity[*place]);
        let old = match old {
            Some(old) => Some(self.old(message, old)?),
            // The identity did not change, so nothing tells whether the key did.
            None if is_without_key && (self.identity == 'i' || self.table.external.is_some()) => {
                return Err(self.without_key());
            }
            None => None,
        };
        let mut new = self.row(message, new, |_| true)?;
        if let Some(old) = &old {
            // Unchanged and stored out of line: the old row has it, if it has it at all.
            for (cell, before) in new.0.iter_mut().zip(&old.0) {
                if cell.is_none() {
                    *cell = before.clone();
                }
            }
        }
        let whole = new.is_complete() && old.as_ref().is_some_and(Row::is_complete);
        if mode == Mode::Merge && !whole {
            return Err(self.partial("the log holds only a part of the row"));
        }
        Ok(Op::Update { old, new })
    }

    pub(super) fn delete(&self, message: &Bytes, old: &OldTuple<'_>, mode: Mode) -> Result<Op> {
        self.check_mode(mode)?;
        let old = self.old(message, old)?;
        Ok(Op::Delete { old })
    }

    fn old(&self, message: &Bytes, old: &OldTuple<'_>) -> Result<Row> {
        let row = match old {
            OldTuple::Full(cells) => self.row(message, cells, |_| true)?,
            OldTuple::Key(cells) => self.row(message, cells, |index| {
                self.in_identity.get(index).copied().unwrap_or(false)
            })?,
        };
        // A whole old row of which the external id is NULL was its node's alone.
        let may_be_null = self.table.external.is_some() && matches!(old, OldTuple::Full(_));
        let is_missing = |place: &usize| {
            row.get(*place)
                .is_none_or(|value| *value == Value::Null && !may_be_null)
        };
        if self.table.key.iter().any(is_missing) {
            return Err(self.without_key());
        }
        Ok(row)
    }

    fn without_key(&self) -> Error {
        let (key, identity) = match self.table.external {
            Some(_) => ("external id", "FULL"),
            None => ("primary key", "DEFAULT"),
        };
        Error::definite("read the key of a changed row")
            .alone(self.id())
            .table(self.id())
            .why(format!("its replica identity leaves the {key} out"))
            .hint(format!(
                "ALTER TABLE {} REPLICA IDENTITY {identity}, for what is written from then on; and `tidelock skip` this \
                 transaction, or {NEW_COPY}",
                sql::table(self.id())
            ))
    }

    fn row(&self, message: &Bytes, cells: &[Cell<'_>], wanted: impl Fn(usize) -> bool) -> Result<Row> {
        if cells.len() != self.table.columns.len() {
            return Err(Error::definite("read a row")
                .table(self.id())
                .why("it has another number of columns than the table it was announced for"));
        }
        let cell = |(index, cell): (usize, &Cell<'_>)| -> Result<Option<Value>> {
            if !wanted(index) {
                return Ok(None);
            }
            match cell {
                Cell::Unchanged => Ok(None),
                Cell::Null => Ok(Some(Value::Null)),
                Cell::Text(bytes) => {
                    let column = &self.table.columns[index];
                    decode_cell(column, message.slice_ref(bytes))
                        .map(Some)
                        .map_err(|error| error.table(self.id()))
                }
            }
        };
        cells.iter().enumerate().map(cell).collect()
    }
}

/// A cell's bytes as the server sent them.
pub(super) fn decode_cell(column: &Column, bytes: Bytes) -> Result<Value> {
    let text = ByteString::try_from(bytes).map_err(|_| {
        Error::definite(format!("decode a cell of column {:?}", column.name))
            .why("it is not UTF-8, although the session asked for that")
            .hint("a database in SQL_ASCII holds bytes of unknown meaning: convert the column, or the database to UTF8")
    })?;
    codec::decode(&column.ty, text)
        .map_err(|error| Error::definite(format!("decode a cell of column {:?}", column.name)).because(error))
}
