//! Which of the log's tables are of interest, and how their rows are read.
//!
//! Owns: the readers, one per description the log gave of a table, so that unchanged tables share one `Table`;
//! the checkpoint table's rows as markers; what is known of a table's columns at the moment it is altered.

use super::super::codec::{Reader, stood};
use super::super::wire::alteration::{Before, SqlMode, Stood, Verdict, charset_of, judge};
use super::super::wire::table_map::{Description, Meta, TableMap, column_type};
use crate::error::{Error, Result};
use crate::model::origin::{CONTROL, Marker, Segment};
use crate::model::position::Position;
use crate::model::schema::{Table, TableId};
use crate::model::sync::{CatalogTable, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use bytestring::ByteString;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a table number in the log stands for.
#[derive(Debug, Clone)]
pub(super) enum Mapped {
    /// Rows of no interest.
    Other,
    Synced(Arc<Reader>),
    /// Rows here are markers.
    Checkpoint(Arc<Reader>),
}

struct Known {
    catalog: Arc<Table>,
    /// The last description and its reader.
    last: Option<(Vec<u8>, Arc<Reader>)>,
    columns: Columns,
}

/// What was asked of the server when the link began, after the catalog was read.
#[derive(Debug, Default)]
pub(in crate::mysql) struct Facts {
    /// The end of the log: what stands behind it came after the catalog was read.
    pub(in crate::mysql) position: Option<Position>,
    /// Of each table: the character set of columns that name none, and the column with AUTO_INCREMENT.
    pub(in crate::mysql) charsets: HashMap<TableId, String>,
    pub(in crate::mysql) counted: HashMap<TableId, String>,
    /// What foreign keys do by themselves is in the log, and carried.
    pub(in crate::mysql) logs_cascades: bool,
    pub(in crate::mysql) is_merge: bool,
}

/// A table's columns as ALTER TABLE meets them. Names are in lower case.
#[derive(Default)]
struct Columns {
    /// By the last description; those it does not tell in full are left out.
    shown: Option<HashMap<String, Stood>>,
    is_shown_whole: bool,
    /// What statements made of columns since that description; `None`: not certain.
    since: HashMap<String, Option<Stood>>,
    /// Names that columns lost.
    left: HashSet<String>,
    has_other_charset: bool,
}

impl Columns {
    fn show(&mut self, described: &Description<'_>) {
        let columns = described.columns.iter().filter_map(|column| {
            let name = std::str::from_utf8(column.name?).ok()?;
            Some((name.to_lowercase(), stood(column)?))
        });
        let shown: HashMap<String, Stood> = columns.collect();
        self.is_shown_whole = shown.len() == described.columns.len();
        self.shown = Some(shown);
    }

    /// The columns right before a statement, and whether these are all. `is_current`: the catalog shows the table as
    /// it was when the link began.
    fn before(&self, catalog: &Table, is_current: bool) -> (HashMap<String, Stood>, bool) {
        let (mut columns, mut is_whole) = match &self.shown {
            Some(shown) => (shown.clone(), self.is_shown_whole),
            None if is_current => (of_catalog(catalog), true),
            None => (HashMap::new(), false),
        };
        columns.retain(|name, _| !self.left.contains(name));
        for (name, now) in &self.since {
            match now {
                Some(now) => drop(columns.insert(name.clone(), now.clone())),
                None => {
                    columns.remove(name);
                    is_whole = false;
                }
            }
        }
        (columns, is_whole)
    }
}

fn of_catalog(catalog: &Table) -> HashMap<String, Stood> {
    let stood = |column: &crate::model::schema::Column| {
        let charset = (!column.collation.is_empty()).then(|| charset_of(&column.collation));
        let stood = Stood {
            ty: column.ty.clone(),
            charset,
            nullable: column.nullable,
        };
        (column.name.to_lowercase(), stood)
    };
    catalog.columns.iter().map(stood).collect()
}

pub(super) struct Tables {
    known: HashMap<TableId, Known>,
    by_number: HashMap<u64, Mapped>,
    folds_case: bool,
    is_mariadb: bool,
    facts: Facts,
}

impl Tables {
    pub(super) fn new(tables: &[Arc<CatalogTable>], folds_case: bool, is_mariadb: bool) -> Self {
        let checkpoint = Table {
            id: checkpoint_id(),
            columns: Vec::new(),
            key: Vec::new(),
            uniques: Vec::new(),
            external: None,
        };
        let catalogs = tables.iter().map(|table| table.table.clone()).chain([checkpoint]);
        let known = catalogs
            .map(|catalog| {
                let known = Known {
                    catalog: Arc::new(catalog),
                    last: None,
                    columns: Columns::default(),
                };
                (known.catalog.id.clone(), known)
            })
            .collect();
        Tables {
            known,
            by_number: HashMap::new(),
            folds_case,
            is_mariadb,
            facts: Facts::default(),
        }
    }

    pub(super) fn know(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// Has all been read that the catalog may have seen?
    pub(super) fn is_current(&self, position: &Position) -> bool {
        let seen = self.facts.position.as_ref();
        seen.is_some_and(|seen| position.covers(seen).unwrap_or(false))
    }

    /// Judges an ALTER TABLE, and follows what it does to the columns if it keeps their values. `None`: of another
    /// table.
    pub(super) fn alter(
        &mut self,
        (schema, name): (&str, &str),
        text: &str,
        mode: Option<SqlMode>,
        is_current: bool,
    ) -> Option<(TableId, Verdict)> {
        let id = self.by_name(schema, name)?.id.clone();
        let known = self.known.get_mut(&id)?;
        let (columns, is_whole) = known.columns.before(&known.catalog, is_current);
        let is_charset_known = is_current && !known.columns.has_other_charset;
        let counted = self.facts.counted.get(&id).filter(|_| is_current);
        let before = Before {
            columns: &columns,
            is_whole,
            left: &known.columns.left,
            charset: self.facts.charsets.get(&id).filter(|_| is_charset_known).cloned(),
            counted: counted.map(String::as_str),
            logs_cascades: self.facts.logs_cascades,
            mode,
        };
        let verdict = judge(text, &before);
        if let Verdict::Keeps(effects) = &verdict {
            let is_ours = |name: &str| name == VERSION_COLUMN || name == ORIGIN_COLUMN;
            for name in &effects.leaving {
                known.columns.since.remove(name);
                // Stamps of another sync come and go with it.
                if self.facts.is_merge || !is_ours(name) {
                    known.columns.left.insert(name.clone());
                }
            }
            known.columns.since.extend(effects.others.iter().cloned());
            known.columns.has_other_charset |= effects.recharset;
        }
        Some((id, verdict))
    }

    /// Has it had columns of other names since the log is read?
    pub(super) fn has_lost_names(&self, id: &TableId) -> bool {
        self.known
            .get(id)
            .is_some_and(|known| !known.columns.left.is_empty())
    }

    /// Numbers hold until the server begins another log file.
    pub(super) fn forget_numbers(&mut self) {
        self.by_number.clear();
    }

    pub(super) fn map(&mut self, event: &TableMap<'_>) -> Result<()> {
        let mapped = self.read(event)?;
        self.by_number.insert(event.table_id, mapped);
        Ok(())
    }

    /// The synced table that it describes.
    pub(super) fn of_interest(&self, event: &TableMap<'_>) -> Option<TableId> {
        let schema = std::str::from_utf8(event.schema).ok()?;
        let id = TableId::new(schema, std::str::from_utf8(event.name).ok()?);
        self.known.contains_key(&id).then_some(id)
    }

    fn read(&mut self, event: &TableMap<'_>) -> Result<Mapped> {
        let (Ok(schema), Ok(name)) = (std::str::from_utf8(event.schema), std::str::from_utf8(event.name))
        else {
            return Ok(Mapped::Other);
        };
        let id = TableId::new(schema, name);
        let Some(known) = self.known.get_mut(&id) else {
            return Ok(Mapped::Other);
        };
        known.columns.since.clear();
        let reader = match &known.last {
            Some((description, reader)) if description == event.description => reader.clone(),
            _ => {
                let described = event.describe(self.is_mariadb).ok_or_else(|| {
                    Error::definite("read how the log describes a table")
                        .table(&id)
                        .why("the event is cut or of no known form")
                })?;
                if known.last.is_some() && is_ambiguous(&described, &known.catalog) {
                    return Err(Error::transient("read a new column").table(&id).why(
                        "the log does not tell its type in full: the catalog is read again, and the link starts anew",
                    ));
                }
                let reader =
                    Reader::new(&id, &described, &known.catalog).map_err(|error| match &known.last {
                        // Its key may have changed since the catalog was read.
                        Some(_) => Error::transient("read its new definition")
                            .table(&id)
                            .because(error),
                        None => error,
                    });
                let reader = Arc::new(reader?);
                known.columns.show(&described);
                known.last = Some((event.description.to_vec(), reader.clone()));
                reader
            }
        };
        Ok(match id == checkpoint_id() {
            true => Mapped::Checkpoint(reader),
            false => Mapped::Synced(reader),
        })
    }

    pub(super) fn by_number(&self, number: u64) -> Option<&Mapped> {
        self.by_number.get(&number)
    }

    /// As the server compares the names of tables and databases.
    fn is_same(&self, a: &str, b: &str) -> bool {
        a == b || (self.folds_case && a.to_lowercase() == b.to_lowercase())
    }

    /// A synced table of the database that a statement names.
    pub(super) fn in_schema(&self, schema: &str) -> Option<TableId> {
        let mut ids = self.synced_ids();
        ids.find(|id| self.is_same(&id.schema, schema)).cloned()
    }

    /// A synced table by the name a statement gives it.
    pub(super) fn by_name(&self, schema: &str, name: &str) -> Option<Arc<Table>> {
        let known = self.synced().find(|known| {
            let id = &known.catalog.id;
            self.is_same(&id.schema, schema) && self.is_same(&id.name, name)
        })?;
        // The log's own description where there is one: plans are kept by it.
        Some(
            known
                .last
                .as_ref()
                .map_or_else(|| known.catalog.clone(), |(_, reader)| reader.table.clone()),
        )
    }

    pub(super) fn synced_ids(&self) -> impl Iterator<Item = &TableId> {
        self.synced().map(|known| &known.catalog.id)
    }

    fn synced(&self) -> impl Iterator<Item = &Known> {
        self.known
            .values()
            .filter(|known| known.catalog.id.schema != CONTROL)
    }
}

/// A column that came after the catalog was read, and that the log shows as bytes or text whatever it is: UUID, INET4
/// and INET6 as a BINARY, and MariaDB's JSON as a TEXT.
fn is_ambiguous(described: &Description<'_>, catalog: &Table) -> bool {
    described.columns.iter().any(|column| {
        let name = column.name.and_then(|name| std::str::from_utf8(name).ok());
        let is_known = name.is_none_or(|name| catalog.column(name).is_some());
        let hides_another = match (column.ty, column.meta) {
            (column_type::STRING, Meta::Length(length)) => matches!(length, 4 | 16),
            (column_type::BLOB, _) => column.collation.is_some(),
            _ => false,
        };
        !is_known && hides_another
    })
}

fn checkpoint_id() -> TableId {
    TableId::new(CONTROL, "checkpoint")
}

/// A row of the checkpoint table as the marker it is.
pub(super) fn marker(table: &Table, row: &Row) -> Result<Marker> {
    let cell = |name: &str| table.column(name).and_then(|column| row.get(column));
    let text = |name: &str| match cell(name) {
        Some(Value::Text(text)) => Some(ByteString::to_string(text)),
        _ => None,
    };
    let number = |name: &str| match cell(name) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    };
    let small = |name: &str| number(name).and_then(|number| u16::try_from(number).ok());
    let marker = || {
        Some(Marker {
            sync: text("sync")?,
            link: text("link")?,
            lane: small("lane")?,
            seq: number("seq")?,
            position: text("position")?,
            origin: small("origin")?,
            hop: small("hop")?,
            segment: Segment::from_code(number("segment")?)?,
            config_hash: text("config_hash")?,
        })
    };
    marker().ok_or_else(|| {
        Error::definite("read a marker in the log")
            .table(&table.id)
            .why("the row is not of the form this version writes")
            .hint("run `tidelock setup --execute` with this version")
    })
}
