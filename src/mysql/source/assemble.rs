//! Events to steps: the state between BEGIN and COMMIT. Pure; the driver's socket is `source`'s.
//!
//! Owns: parts and their bounds, segments by marker, positions, and every refusal of an event that would lose rows.
//! Rows are handed on before their transaction has ended (parts are bounded), so whatever could take a transaction
//! back after its rows (XA, ROLLBACK of a mixed transaction) is an error once there are rows of interest.

use super::super::codec::decode_row;
use super::super::wire::query::{Name, Statement, classify, mentions};
use super::super::wire::rows::{Rows, Verb, table_id};
use super::super::wire::table_map::TableMap;
use super::super::wire::{Cursor, Gtid, MariaGtid, Query, kind};
use super::tables::{Mapped, Tables, marker};
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::model::change::{Change, Head, Op, Part, Step, Writer};
use crate::model::position::Position;
use crate::model::schema::{Table, TableId};
use crate::model::sync::CatalogTable;
use crate::mysql::codec::Reader;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bounds of a part: what one hand-over may keep in memory.
const PART_BYTES_MAX: usize = 1 << 20;
const PART_CHANGES_MAX: usize = 5_000;
/// Traffic of no interest is reported at least each so many log bytes, however fast it comes.
const IDLE_BYTES_MAX: u64 = 4 << 20;
/// Sent for rows that were all filtered out.
const DUMMY_TABLE: u64 = 0xff_ffff;

/// What was written meanwhile is not in the log as we need it, so after the mend only a new copy helps.
fn new_copy_after(error: Error, mend: &str) -> Error {
    error.reason(Reason::PositionLost).hint(format!(
        "{mend} then, because what was written meanwhile cannot be read, {NEW_COPY}"
    ))
}

/// One event as the driver framed it, without header and checksum.
pub(super) struct Event<'a> {
    pub(super) kind: u8,
    pub(super) server_id: u32,
    pub(super) timestamp: u32,
    pub(super) size: u32,
    pub(super) body: &'a [u8],
}

/// The transaction that is being read.
struct Open {
    head: Arc<Head>,
    id: Id,
    /// Closed by XID or COMMIT; otherwise by its one statement.
    has_begun: bool,
    is_xa: bool,
    writer: Writer,
    has_marker: bool,
    /// The current segment has been handed on at least once.
    has_part: bool,
    /// Changes of interest so far.
    count: u64,
    changes: Vec<Change>,
    bytes: usize,
    log_bytes: u64,
}

enum Id {
    Gtid(Gtid),
    Maria(MariaGtid, u32),
}

pub(super) struct Assembler {
    tables: Tables,
    position: Position,
    open: Option<Open>,
    ready: VecDeque<Step>,
    /// Log bytes of others since the last idle step; `Some` when there is progress to report.
    idle: Option<u64>,
    has_started: bool,
}

fn malformed(what: &str) -> Error {
    Error::definite(format!("read {what} of the binlog")).why("it is cut or of no known form")
}

impl Assembler {
    pub(super) fn new(tables: &[Arc<CatalogTable>], position: Position, folds_case: bool) -> Self {
        Assembler {
            tables: Tables::new(tables, folds_case, matches!(position, Position::MariaGtid(_))),
            position,
            open: None,
            ready: VecDeque::new(),
            idle: None,
            has_started: false,
        }
    }

    /// The format description has come.
    pub(super) fn has_started(&self) -> bool {
        self.has_started
    }

    pub(super) fn step(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    pub(super) fn has_idle(&self) -> bool {
        self.idle.is_some() && self.open.is_none()
    }

    pub(super) fn idle(&mut self) -> Option<Step> {
        let foreign_bytes = self.idle.take()?;
        Some(Step::Idle {
            position: self.position.clone(),
            foreign_bytes,
        })
    }

    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<()> {
        if let Some(open) = &mut self.open {
            open.log_bytes += u64::from(event.size);
        }
        match event.kind {
            kind::FORMAT_DESCRIPTION => {
                self.has_started = true;
                self.tables.forget_numbers();
                Ok(())
            }
            kind::ROTATE => {
                self.tables.forget_numbers();
                Ok(())
            }
            kind::GTID => self.mysql_begin(event, Gtid::parse(event.body)),
            kind::GTID_TAGGED => self.mysql_begin(event, Gtid::parse_tagged(event.body)),
            kind::MARIADB_GTID => self.mariadb_begin(event),
            kind::ANONYMOUS_GTID => Err(Error::definite("read the binlog")
                .why("a transaction has no GTID")
                .hint("SET GLOBAL gtid_mode = ON;")),
            kind::TABLE_MAP => {
                let map = TableMap::parse(event.body).ok_or_else(|| malformed("a table description"))?;
                self.tables.map(&map)
            }
            kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1 | kind::WRITE_ROWS..=kind::DELETE_ROWS => {
                self.rows(event)
            }
            kind::XID | kind::XA_PREPARE => self.end(),
            kind::QUERY => self.query(Query::parse(event.body)),
            kind::EXECUTE_LOAD_QUERY => {
                let query = Query::parse_load(event.body).ok_or_else(|| malformed("a LOAD statement"))?;
                self.statement_rows(&query)
            }
            kind::HEARTBEAT => {
                if self.open.is_none() {
                    self.idle.get_or_insert(0);
                }
                Ok(())
            }
            _ => self.refuse(event),
        }
    }

    /// Kinds that hold rows in forms this version does not read; all others say nothing about rows.
    fn refuse(&self, event: &Event<'_>) -> Result<()> {
        let is_of_interest = || match table_id(event.body).and_then(|number| self.tables.by_number(number)) {
            Some(Mapped::Synced(reader) | Mapped::Checkpoint(reader)) => Some(reader.table.id.clone()),
            Some(Mapped::Other) | None => None,
        };
        let error = Error::definite(self.reading("an event"));
        match event.kind {
            kind::PARTIAL_UPDATE_ROWS => match is_of_interest() {
                Some(table) => Err(new_copy_after(
                    error.table(table).why("JSON columns are logged as differences"),
                    "SET GLOBAL binlog_row_value_options = ''; reconnect the writing sessions;",
                )),
                None => Ok(()),
            },
            kind::TRANSACTION_PAYLOAD => Err(new_copy_after(
                error.why("it is compressed, which this version does not read"),
                "SET GLOBAL binlog_transaction_compression = OFF; reconnect the writing sessions;",
            )),
            kind::MARIADB_WRITE_ROWS_COMPRESSED..=kind::MARIADB_DELETE_ROWS_COMPRESSED
                if is_of_interest().is_none() =>
            {
                Ok(())
            }
            kind::MARIADB_QUERY_COMPRESSED..=kind::MARIADB_DELETE_ROWS_COMPRESSED => Err(new_copy_after(
                error.why("it is compressed, which this version does not read"),
                "SET GLOBAL log_bin_compress = OFF;",
            )),
            kind::INCIDENT => Err(Error::definite("continue reading the binlog")
                .reason(Reason::PositionLost)
                .why("the server says that it lost events (an incident event)")
                .hint(NEW_COPY)),
            _ => Ok(()),
        }
    }

    /// What is being done, with the transaction's name.
    fn reading(&self, what: &str) -> String {
        match &self.open {
            Some(open) => format!("read {what} of transaction {}", open.head.transaction),
            None => format!("read {what} of the binlog"),
        }
    }

    fn mysql_begin(&mut self, event: &Event<'_>, gtid: Option<Gtid>) -> Result<()> {
        let gtid = gtid.ok_or_else(|| malformed("a GTID event"))?;
        let head = Head {
            transaction: format!("{}:{}", gtid.source, gtid.number),
            committed_at_us: gtid
                .committed_at_us
                .unwrap_or(i64::from(event.timestamp) * 1_000_000),
        };
        self.begin(event, head, Id::Gtid(gtid), false, false)
    }

    fn mariadb_begin(&mut self, event: &Event<'_>) -> Result<()> {
        let gtid = MariaGtid::parse(event.body).ok_or_else(|| malformed("a GTID event"))?;
        let head = Head {
            transaction: format!("{}-{}-{}", gtid.domain, event.server_id, gtid.sequence),
            committed_at_us: i64::from(event.timestamp) * 1_000_000,
        };
        let id = Id::Maria(gtid, event.server_id);
        self.begin(event, head, id, !gtid.is_standalone(), gtid.is_prepared_xa())
    }

    fn begin(&mut self, event: &Event<'_>, head: Head, id: Id, has_begun: bool, is_xa: bool) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::definite(self.reading("the end"))
                .why(format!("{} follows", head.transaction))
                .hint("restart; if it happens again, report it with the server's version"));
        }
        self.open = Some(Open {
            head: Arc::new(head),
            id,
            has_begun,
            is_xa,
            writer: Writer::User,
            has_marker: false,
            has_part: false,
            count: 0,
            changes: Vec::new(),
            bytes: 0,
            log_bytes: u64::from(event.size),
        });
        Ok(())
    }

    fn open(&mut self) -> Result<&mut Open> {
        self.open.as_mut().ok_or_else(|| {
            Error::definite("read the binlog").why("an event stands outside of any transaction")
        })
    }

    fn rows(&mut self, event: &Event<'_>) -> Result<()> {
        let rows = Rows::parse(event.kind, event.body).ok_or_else(|| malformed("a row event"))?;
        if rows.table_id == DUMMY_TABLE {
            return Ok(());
        }
        let (reader, is_checkpoint) = match self.tables.by_number(rows.table_id) {
            Some(Mapped::Other) => return Ok(()),
            Some(Mapped::Synced(reader)) => (reader.clone(), false),
            Some(Mapped::Checkpoint(reader)) => (reader.clone(), true),
            None => return Err(malformed("a row event").why("its table was not described")),
        };
        let table = &reader.table;
        if !rows.is_full || rows.width != reader.width() {
            let error = Error::definite(self.reading("a row event"))
                .table(&table.id)
                .why("it does not hold all columns");
            let mend = "SET GLOBAL binlog_row_image = 'FULL'; reconnect the writing sessions;";
            return Err(new_copy_after(error, mend));
        }
        if self.open()?.is_xa {
            return Err(Error::definite(self.reading("a row event"))
                .table(&table.id)
                .why("it belongs to an XA transaction, which is decided after its rows")
                .hint("XA transactions on synced tables are not supported: write these tables without XA"));
        }
        match is_checkpoint {
            true => self.markers(&rows, &reader),
            false => self.changes(&rows, &reader),
        }
    }

    /// Each row that a statement left in the checkpoint table opens a segment.
    fn markers(&mut self, rows: &Rows<'_>, reader: &Arc<Reader>) -> Result<()> {
        let mut cursor = Cursor::new(rows.images);
        while !cursor.is_empty() {
            let new = match rows.verb {
                Verb::Insert => decode_row(reader, &mut cursor)?,
                Verb::Update => {
                    decode_row(reader, &mut cursor)?;
                    decode_row(reader, &mut cursor)?
                }
                // A checkpoint that is taken away (teardown) marks nothing.
                Verb::Delete => return Ok(()),
            };
            let writer = Writer::Tidelock(Arc::new(marker(&reader.table, &new)?));
            let open = self.open()?;
            let is_segment_to_tell = !open.changes.is_empty() || (open.has_marker && !open.has_part);
            if is_segment_to_tell {
                self.cut(None)?;
            }
            let open = self.open()?;
            open.writer = writer;
            open.has_marker = true;
            open.has_part = false;
        }
        Ok(())
    }

    fn changes(&mut self, rows: &Rows<'_>, reader: &Arc<Reader>) -> Result<()> {
        let mut cursor = Cursor::new(rows.images);
        while !cursor.is_empty() {
            let first = decode_row(reader, &mut cursor)?;
            let op = match rows.verb {
                Verb::Insert => Op::Insert { new: first },
                Verb::Delete => Op::Delete { old: first },
                Verb::Update => Op::Update {
                    old: Some(first),
                    new: decode_row(reader, &mut cursor)?,
                },
            };
            self.change(reader.table.clone(), op)?;
        }
        Ok(())
    }

    fn change(&mut self, table: Arc<Table>, op: Op) -> Result<()> {
        let change = Change { table, op };
        let open = self.open()?;
        open.bytes += change.bytes();
        open.changes.push(change);
        open.count += 1;
        if open.bytes >= PART_BYTES_MAX || open.changes.len() >= PART_CHANGES_MAX {
            self.cut(None)?;
        }
        Ok(())
    }

    /// Hands on what has gathered of the open transaction.
    fn cut(&mut self, end: Option<Position>) -> Result<()> {
        self.report_idle();
        let open = self.open()?;
        let changes = std::mem::take(&mut open.changes);
        let part = Part {
            head: open.head.clone(),
            writer: open.writer.clone(),
            first: open.count - changes.len() as u64,
            changes,
            end,
            bytes: std::mem::take(&mut open.bytes),
        };
        open.has_part = true;
        self.ready.push_back(Step::Part(part));
        Ok(())
    }

    fn query(&mut self, query: Option<Query<'_>>) -> Result<()> {
        let query = query.ok_or_else(|| malformed("a statement"))?;
        let text = String::from_utf8_lossy(query.text);
        let database = String::from_utf8_lossy(query.database);
        let statement = classify(&text);
        match &statement {
            Statement::Begin => {
                self.open()?.has_begun = true;
                return Ok(());
            }
            Statement::XaStart => {
                let open = self.open()?;
                open.has_begun = true;
                open.is_xa = true;
                return Ok(());
            }
            Statement::Commit => return self.end(),
            Statement::Rollback => return self.rollback(),
            Statement::XaEnd => return self.end(),
            Statement::Savepoint => return Ok(()),
            Statement::RollbackTo => return self.refuse_rollback(),
            Statement::Dml => self.statement_rows(&query)?,
            Statement::Truncate(name) => {
                let schema = name.schema.as_deref().unwrap_or(&database);
                if let Some(table) = self.tables.by_name(schema, &name.name) {
                    self.change(table, Op::Truncate)?;
                }
            }
            Statement::Remove(names) => self.removed(names, &database)?,
            Statement::Rename(pairs) => self.renamed(pairs, &database)?,
            Statement::DropSchema(schema) => {
                let gone = self.tables.synced_ids().find(|id| id.schema == *schema).cloned();
                gone.map_or(Ok(()), |id| Err(rows_removed(&id)))?;
            }
            Statement::Other => {}
        }
        match self.open()?.has_begun {
            true => Ok(()),
            false => self.end(),
        }
    }

    fn removed(&self, names: &[Name], database: &str) -> Result<()> {
        for name in names {
            let schema = name.schema.as_deref().unwrap_or(database);
            if let Some(table) = self.tables.by_name(schema, &name.name) {
                return Err(rows_removed(&table.id));
            }
        }
        Ok(())
    }

    /// A synced name that leaves its table, or comes to another one. What is in that other one was written under
    /// another name, and has passed by.
    fn renamed(&self, pairs: &[(Name, Name)], database: &str) -> Result<()> {
        let synced = |name: &Name| {
            let schema = name.schema.as_deref().unwrap_or(database);
            self.tables
                .by_name(schema, &name.name)
                .map(|table| table.id.clone())
        };
        let came = pairs.iter().find_map(|(from, to)| Some((synced(to)?, from)));
        let Some((id, other)) = came else {
            let went = pairs.iter().find_map(|(from, to)| Some((synced(from)?, to)));
            return went.map_or(Ok(()), |(id, to)| Err(self.renamed_away(&id, to)));
        };
        Err(Error::definite(self.reading("an event"))
            .table(&id)
            .at(self.transaction())
            .why(format!(
                "table {:?} was renamed to it: what that table holds was written under its other name, and is not \
                 known to be what this table held",
                other.name
            ))
            .hint(format!(
                "if an online schema change filled it from this very table (gh-ost, pt-online-schema-change), change \
                 the other node's table in the same way, and `tidelock skip` this transaction; if not, {NEW_COPY}"
            )))
    }

    fn renamed_away(&self, id: &TableId, to: &Name) -> Error {
        Error::definite(self.reading("an event"))
            .table(id)
            .at(self.transaction())
            .why(format!("it was renamed to {:?}, which is not synced", to.name))
            .hint(format!(
                "if it has its name again and was not written to meanwhile, `tidelock skip` this transaction; if not, \
                 {NEW_COPY}"
            ))
    }

    fn transaction(&self) -> String {
        self.open
            .as_ref()
            .map(|open| open.head.transaction.clone())
            .unwrap_or_default()
    }

    /// Rows written by a statement that was logged as text. Which tables it wrote cannot be told (triggers, views,
    /// routines), so anything in a synced database, or that names one of its tables, counts.
    fn statement_rows(&self, query: &Query<'_>) -> Result<()> {
        let text = String::from_utf8_lossy(query.text);
        let database = String::from_utf8_lossy(query.database);
        let touched = self.tables.synced_ids().find(|id| {
            id.schema.eq_ignore_ascii_case(&database)
                || mentions(&text, &id.schema)
                || mentions(&text, &id.name)
        });
        match touched {
            None => Ok(()),
            Some(id) => Err(new_copy_after(
                Error::definite(self.reading("an event"))
                    .table(id)
                    .why("it was logged as a statement instead of rows (binlog_format of its session), in this table's database"),
                "SET GLOBAL binlog_format = 'ROW'; reconnect the writing sessions and keep them from setting binlog_format;",
            )),
        }
    }

    fn rollback(&mut self) -> Result<()> {
        let open = self.open()?;
        // Nothing was handed on yet, or nothing but empty segments.
        if open.count == open.changes.len() as u64 {
            open.changes.clear();
            open.bytes = 0;
            open.count = 0;
            return self.end();
        }
        self.refuse_rollback()
    }

    /// Logged only when the transaction also wrote to tables that cannot roll back.
    fn refuse_rollback(&mut self) -> Result<()> {
        if self.open()?.count == 0 {
            return Ok(());
        }
        Err(Error::definite(self.reading("an event"))
            .why("rows of synced tables were rolled back in a transaction that also changed other storage engines' tables")
            .hint("convert those tables: ALTER TABLE .. ENGINE = InnoDB; then seed again"))
    }

    fn end(&mut self) -> Result<()> {
        let open = self.open()?;
        let log_bytes = open.log_bytes;
        if open.count > 0 || open.has_marker {
            self.report_idle();
            self.advance_position()?;
            let end = self.position.clone();
            self.cut(Some(end))?;
        } else {
            self.advance_position()?;
            *self.idle.get_or_insert(0) += log_bytes;
        }
        self.open = None;
        if self
            .idle
            .is_some_and(|foreign_bytes| foreign_bytes >= IDLE_BYTES_MAX)
        {
            self.report_idle();
        }
        Ok(())
    }

    /// Tells earlier progress before a transaction of interest, which may turn out to be an echo: the log bytes of
    /// others would be lost with it.
    fn report_idle(&mut self) {
        match self.idle {
            Some(0) | None => self.idle = None,
            Some(_) => {
                let idle = self.idle();
                self.ready.extend(idle);
            }
        }
    }

    fn advance_position(&mut self) -> Result<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        match (&mut self.position, &open.id) {
            (Position::Gtid(set), Id::Gtid(gtid)) => set.add(&gtid.source, gtid.number),
            (Position::MariaGtid(list), Id::Maria(gtid, server)) => {
                list.set(gtid.domain, *server, gtid.sequence)
            }
            (position, _) => {
                return Err(Error::bug(format!("add {} to {position}", open.head.transaction)));
            }
        }
        Ok(())
    }
}

fn rows_removed(id: &TableId) -> Error {
    let error = Error::definite("follow the log past a statement that removed rows")
        .table(id)
        .why("the table or a part of it was dropped, which leaves no row events");
    new_copy_after(error, "create it again, or take it out of the sync;")
}

#[cfg(test)]
mod tests;
