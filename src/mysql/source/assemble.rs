//! Events to steps: the state between BEGIN and COMMIT. The socket is `dump`'s.
//!
//! Owns: parts and their bounds, segments by marker, positions, and every refusal of an event that would lose rows.
//! Rows are handed on before their transaction has ended (parts are bounded), except where the end may not come
//! (`transaction`): there the events are held, and read once more when it has. A ROLLBACK of a mixed transaction is an
//! error once rows of interest were handed on.
//!
//! **Compressed transactions** end only when their last byte was seen and checked.

mod ddl;
mod endings;
mod files;

use super::super::codec::{Spelling, decode_row, spelled};
use super::super::wire::query::{Statement, classify, classify_begin, mentions, verb};
use super::super::wire::rows::{Rows, Verb, table_id};
use super::super::wire::table_map::TableMap;
use super::super::wire::{Cursor, Gtid, MariaGtid, Query, kind, payload};
use super::tables::{Facts, Mapped, Tables, marker};
use super::transaction::{Ending, Event, Id, Open, Prepared, record, recorded};
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::joined::Joined;
use crate::model::change::{Change, Head, Op, Part, Step, Writer};
use crate::model::origin::{CONTROL, Guard};
use crate::model::position::{FilePosition, Position};
use crate::model::schema::{Table, TableId};
use crate::model::sync::{CatalogTable, is_stamps};
use crate::mysql::codec::Reader;
use crate::spill::{self, Space, Spill};
use std::collections::{HashMap, VecDeque};
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

pub(super) struct Assembler {
    tables: Tables,
    /// Which segments of ours are echoes, and, of a hub, in which the tombstones of the log are read.
    guard: Option<Guard>,
    /// Of tables whose stamps stand in tables of their own.
    joins: Joined,
    position: Position,
    open: Option<Open>,
    ready: VecDeque<Step>,
    /// Log bytes of others since the last idle step; `Some` when there is progress to report.
    idle: Option<u64>,
    has_started: bool,
    space: Space,
    /// XA transactions without a decision, by name.
    prepared: HashMap<String, Prepared>,
    /// Events of the open transaction that were held and are read now.
    replay: Option<spill::Reader>,
    is_in_payload: bool,
    /// It stands before our position.
    is_taken_payload: bool,
    /// How the compressed transaction ends once it is known to be whole.
    ending: Option<Ending>,
    /// Where the last event ended, where the file's name is known.
    place: Option<FilePosition>,
    /// The transaction at which the link stopped before.
    stopped_at: Option<String>,
}

fn malformed(what: &str) -> Error {
    Error::definite(format!("read {what} of the binlog")).why("it is cut or of no known form")
}

impl Assembler {
    pub(super) fn new(
        tables: &[Arc<CatalogTable>],
        position: Position,
        folds_case: bool,
        space: Space,
    ) -> Self {
        Assembler {
            tables: Tables::new(tables, folds_case, matches!(position, Position::MariaGtid(_))),
            guard: None,
            joins: Joined::default(),
            position,
            open: None,
            ready: VecDeque::new(),
            idle: None,
            has_started: false,
            space,
            prepared: HashMap::new(),
            replay: None,
            is_in_payload: false,
            is_taken_payload: false,
            ending: None,
            place: None,
            stopped_at: None,
        }
    }

    pub(super) fn stopped_at(&mut self, transaction: String) {
        self.stopped_at = Some(transaction);
    }

    /// With what was asked of the server.
    pub(super) fn knowing(mut self, facts: Facts) -> Self {
        self.tables.know(facts);
        self
    }

    /// For the link that reads.
    pub(super) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Rows with stamps that stand beside them.
    pub(super) fn joining(mut self, joins: Joined) -> Self {
        self.joins = joins;
        self
    }

    /// The format description has come.
    pub(super) fn has_started(&self) -> bool {
        self.has_started
    }

    /// Behind all that was read and is decided.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Nothing was told of what is open, if anything is.
    pub(super) fn is_untold(&self) -> bool {
        self.open.as_ref().is_none_or(Open::is_untold)
    }

    /// What is open never happened. Only for what [`Assembler::is_untold`].
    pub(super) fn forget_open(&mut self) {
        self.joins.forget();
        self.open = None;
    }

    pub(super) fn step(&mut self) -> Option<Step> {
        self.ready.pop_front()
    }

    /// The transaction that is being read.
    pub(super) fn transaction(&self) -> Option<&Head> {
        self.open.as_ref().map(|open| &*open.head)
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

    /// An event as it comes. Not while something is replayed.
    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<()> {
        if self.ending.is_some() {
            return Err(malformed("a compressed transaction").why("something follows its end"));
        }
        if self.advance_place(event)? {
            return Ok(());
        }
        if let Some(open) = &mut self.open {
            open.log_bytes += u64::from(event.size);
        }
        self.take(event)?;
        self.follow_file(event);
        Ok(())
    }

    fn take(&mut self, event: &Event<'_>) -> Result<()> {
        match event.kind {
            kind::FORMAT_DESCRIPTION => self.format_description(event),
            kind::ROTATE => self.rotate(event),
            kind::STOP => self.between_transactions(),
            kind::GTID => self.mysql_begin(event, Gtid::parse(event.body)),
            kind::GTID_TAGGED => self.mysql_begin(event, Gtid::parse_tagged(event.body)),
            kind::MARIADB_GTID => self.mariadb_begin(event),
            kind::ANONYMOUS_GTID => self.anonymous_begin(event),
            kind::HEARTBEAT | kind::HEARTBEAT_V2 => {
                if self.open.is_none() {
                    self.idle.get_or_insert(0);
                }
                Ok(())
            }
            _ if self.open.as_ref().is_some_and(|open| open.held.is_some()) => self.hold(event),
            _ => self.read(event),
        }
    }

    /// An event of a transaction.
    fn read(&mut self, event: &Event<'_>) -> Result<()> {
        match event.kind {
            kind::TABLE_MAP => {
                let map = TableMap::parse(event.body).ok_or_else(|| malformed("a table description"))?;
                self.tables.map(&map)
            }
            kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
            | kind::WRITE_ROWS..=kind::DELETE_ROWS
            | kind::MARIADB_WRITE_ROWS_COMPRESSED..=kind::MARIADB_DELETE_ROWS_V2_COMPRESSED => {
                self.rows(event)
            }
            kind::XID => self.ends(Ending::Commit),
            kind::XA_PREPARE => self.xa_prepare(event),
            kind::QUERY => self.query(Query::parse(event.body)),
            kind::MARIADB_QUERY_COMPRESSED => {
                let query = Query::parse(event.body).ok_or_else(|| malformed("a statement"))?;
                let text = payload::inflate(query.text).ok_or_else(|| malformed("a compressed statement"))?;
                self.query(Some(Query { text: &text, ..query }))
            }
            kind::EXECUTE_LOAD_QUERY => {
                let query = Query::parse_load(event.body).ok_or_else(|| malformed("a LOAD statement"))?;
                self.statement_rows(&query)
            }
            _ => self.refuse(event),
        }
    }

    /// An event of a transaction whose end may not come: kept, except for what tells how it ends.
    fn hold(&mut self, event: &Event<'_>) -> Result<()> {
        if event.is_ignorable {
            return Ok(());
        }
        match event.kind {
            kind::XID => return self.ends(Ending::Commit),
            kind::XA_PREPARE => return self.xa_prepare(event),
            kind::QUERY => {
                let query = Query::parse(event.body).ok_or_else(|| malformed("a statement"))?;
                // What is not known is refused once it is known to have happened.
                match stated(&query) {
                    Some(
                        Statement::Commit
                        | Statement::Rollback
                        | Statement::XaStart
                        | Statement::XaDecide { .. },
                    ) => return self.query(Some(query)),
                    Some(Statement::Dml) => self.statement_rows(&query)?,
                    _ => {}
                }
            }
            kind::TABLE_MAP => {
                let map = TableMap::parse(event.body).ok_or_else(|| malformed("a table description"))?;
                let table = self.tables.of_interest(&map);
                let open = self.open()?;
                open.held_table = open.held_table.take().or(table);
            }
            _ => {}
        }
        if let Some(held) = &mut self.open()?.held {
            held.push(0, &record(event));
        }
        Ok(())
    }

    /// Brings what is held within its bounds. To be called after each event.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if let Some(held) = self.open.as_mut().and_then(|open| open.held.as_mut()) {
            held.settle().await?;
        }
        self.joins.settle().await?;
        self.joined()
    }

    /// Reads one event that was held; `false`: there is none. No event may come meanwhile.
    pub(super) async fn replay(&mut self) -> Result<bool> {
        let Some(reader) = &mut self.replay else {
            return Ok(false);
        };
        match reader.next().await? {
            Some((_, mut bytes)) => {
                let event = recorded(&mut bytes).ok_or_else(|| Error::bug("read an event that was held"))?;
                self.read(&event)?;
            }
            None => {
                self.replay = None;
                self.finish()?;
            }
        }
        Ok(true)
    }

    pub(super) fn payload_begin(&mut self, event: &Event<'_>) -> Result<()> {
        self.is_taken_payload = self.advance_place(event)?;
        if self.is_taken_payload {
            return Ok(());
        }
        self.open()?.log_bytes += u64::from(event.size);
        self.is_in_payload = true;
        Ok(())
    }

    /// An event of a compressed transaction.
    pub(super) fn payload(&mut self, event: &Event<'_>) -> Result<()> {
        match self.is_taken_payload {
            true => Ok(()),
            false => self.event(event),
        }
    }

    /// The compressed transaction was whole.
    pub(super) fn payload_end(&mut self) -> Result<()> {
        if self.is_taken_payload {
            return Ok(());
        }
        self.is_in_payload = false;
        let ending = self.ending.take();
        let ending = ending.ok_or_else(|| malformed("a compressed transaction").why("it has no end"))?;
        self.ends(ending)
    }

    /// Kinds that hold rows in forms this version does not read, and kinds it does not know at all.
    fn refuse(&self, event: &Event<'_>) -> Result<()> {
        let is_of_interest = || match table_id(event.body).and_then(|number| self.tables.by_number(number)) {
            Some(Mapped::Synced(reader) | Mapped::Checkpoint(reader)) => Some(reader.table.id.clone()),
            Some(Mapped::Other) | None => None,
        };
        let error = Error::definite(self.reading("an event"));
        match event.kind {
            kind::PARTIAL_UPDATE_ROWS => match is_of_interest() {
                Some(table) => Err(new_copy_after(
                    error
                        .alone(&table)
                        .table(table)
                        .why("JSON columns are logged as differences"),
                    "SET GLOBAL binlog_row_value_options = ''; reconnect the writing sessions;",
                )),
                None => Ok(()),
            },
            kind::INCIDENT => Err(Error::definite("continue reading the binlog")
                .reason(Reason::PositionLost)
                .why("the server says that it lost events (an incident event)")
                .hint(NEW_COPY)),
            kind if kind::says_nothing_of_rows(kind) || event.is_ignorable => Ok(()),
            // Such as MariaDB 12's PARTIAL_ROW_DATA_EVENT: what is passed over may be rows.
            kind => Err(error
                .why(format!("it is of kind {kind}, which this version does not know"))
                .hint("a newer version of Tidelock may; report it with the server's version")),
        }
    }

    fn name(&self) -> &str {
        self.transaction().map_or("", |head| &head.transaction)
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
            // The mode may give transactions a GTID while positions are places.
            transaction: match &self.position {
                Position::File(_) => self.begin_place(event)?,
                _ => format!("{}:{}", gtid.source, gtid.number),
            },
            past: None,
            committed_at_us: gtid
                .committed_at_us
                .unwrap_or(i64::from(event.timestamp) * 1_000_000),
        };
        self.begin(event, head, Id::Gtid(gtid))
    }

    fn mariadb_begin(&mut self, event: &Event<'_>) -> Result<()> {
        let gtid = MariaGtid::parse(event.body).ok_or_else(|| malformed("a GTID event"))?;
        let head = Head {
            transaction: format!("{}-{}-{}", gtid.domain, event.server_id, gtid.sequence),
            past: None,
            committed_at_us: i64::from(event.timestamp) * 1_000_000,
        };
        self.begin(event, head, Id::Maria(gtid, event.server_id))?;
        let held = (!gtid.is_standalone()).then(|| Spill::new(&self.space));
        let open = self.open()?;
        open.has_begun = held.is_some();
        open.held = held;
        Ok(())
    }

    fn anonymous_begin(&mut self, event: &Event<'_>) -> Result<()> {
        if !matches!(self.position, Position::File(_)) {
            return Err(Error::definite("read the binlog")
                .reason(Reason::PositionLost)
                .why("a transaction has no GTID: gtid_mode was changed while this link was reading")
                .hint(format!(
                    "SET GLOBAL gtid_mode = ON; and, because what was written meanwhile cannot be addressed, {NEW_COPY}"
                )));
        }
        let gtid = Gtid::parse(event.body);
        let head = Head {
            transaction: self.begin_place(event)?,
            past: None,
            committed_at_us: gtid
                .and_then(|gtid| gtid.committed_at_us)
                .unwrap_or(i64::from(event.timestamp) * 1_000_000),
        };
        self.begin(event, head, Id::Anonymous)
    }

    fn begin(&mut self, event: &Event<'_>, head: Head, id: Id) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::definite(self.reading("the end"))
                .why(format!("{} follows", head.transaction))
                .hint("restart; if it happens again, report it with the server's version"));
        }
        self.open = Some(Open::new(head, id, u64::from(event.size)));
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
        if !is_checkpoint && table.id.schema == CONTROL && !self.is_read(&table.id, rows.verb)? {
            return Ok(());
        }
        if !rows.is_full || rows.width != reader.width() {
            let error = Error::definite(self.reading("a row event"))
                .alone(&table.id)
                .table(&table.id)
                .why("it does not hold all columns");
            let mend = "SET GLOBAL binlog_row_image = 'FULL'; reconnect the writing sessions;";
            return Err(new_copy_after(error, mend));
        }
        self.open()?;
        let inflated = match rows.is_compressed {
            true => Some(payload::inflate(rows.images).ok_or_else(|| malformed("a compressed row event"))?),
            false => None,
        };
        let rows = Rows {
            images: inflated.as_deref().unwrap_or(rows.images),
            ..rows
        };
        match is_checkpoint {
            true => self.markers(&rows, &reader),
            false => self.changes(&rows, &reader),
        }
    }

    /// Of our own tables: stamps of what is no echo, and tombstones that a hub passes on. A user's delete tells of itself.
    fn is_read(&mut self, own: &TableId, verb: Verb) -> Result<bool> {
        if is_stamps(own) {
            return Ok(!self.is_echo()?);
        }
        let writer = self.open()?.writer.clone();
        let is_passed_on = |guard: &Guard| guard.is_passed_on(&writer);
        Ok(verb != Verb::Delete && self.guard.as_ref().is_some_and(is_passed_on))
    }

    fn is_echo(&mut self) -> Result<bool> {
        let writer = self.open()?.writer.clone();
        Ok(self.guard.as_ref().is_some_and(|guard| guard.is_echo(&writer)))
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
            self.joins.end()?;
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
        // What is dropped as an echo is not looked at.
        if !self.joins.has(&change.table.id) || self.is_echo()? {
            return self.push(change);
        }
        self.joins.change(change)?;
        self.joined()
    }

    /// What was joined with its stamps meanwhile.
    fn joined(&mut self) -> Result<()> {
        let joined = self.joins.take();
        joined.into_iter().try_for_each(|change| self.push(change))
    }

    fn push(&mut self, change: Change) -> Result<()> {
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
        let database = database(&query)?;
        let statement = stated(&query).ok_or_else(|| self.not_spelled(&query))?;
        match &statement {
            Statement::Begin => {
                self.open()?.has_begun = true;
                return Ok(());
            }
            Statement::XaStart => return self.xa_start(),
            Statement::Commit => return self.ends(Ending::Commit),
            Statement::Rollback => return self.rollback(),
            Statement::XaDecide { is_commit, xid } => {
                let (is_commit, xid) = (*is_commit, xid.clone());
                return self.ends(Ending::Decided { is_commit, xid });
            }
            Statement::Savepoint => return Ok(()),
            Statement::RollbackTo => return self.refuse_rollback(),
            Statement::Dml => self.statement_rows(&query)?,
            // DDL and administration end the transaction that they stand in.
            Statement::Unknown if self.open()?.has_begun => self.statement_rows(&query)?,
            Statement::Truncate(name) => {
                let schema = name.schema.as_deref().unwrap_or(database);
                if let Some(table) = self.tables.by_name(schema, &name.name) {
                    self.change(table, Op::Truncate)?;
                }
            }
            Statement::Remove(names) => {
                self.removed(names, database)?;
                self.replaced(&query, database)?;
            }
            Statement::Rename(pairs) => self.renamed(pairs, database)?,
            Statement::DropSchema(schema) => {
                let gone = self.tables.in_schema(schema);
                gone.map_or(Ok(()), |id| Err(ddl::rows_removed(&id)))?;
            }
            Statement::Alter(name) => self.altered(name, &query, database)?,
            Statement::Other | Statement::Unknown => {}
        }
        match self.open()?.has_begun {
            true => Ok(()),
            false => self.ends(Ending::Commit),
        }
    }

    /// It could be about any table.
    pub(super) fn not_spelled(&self, query: &Query<'_>) -> Error {
        let client = query.client.map_or("not told".to_owned(), |number| {
            format!("collation number {number}")
        });
        Error::definite(self.reading("a statement"))
            .at(self.name())
            .why(format!(
                "it is in a character set ({client}) of which only ASCII is read, so that the tables it is about are not \
                 known"
            ))
            .hint(
                "if it neither removes rows of a synced table nor renames one, `tidelock skip` this transaction; let DDL \
                 come from sessions with SET NAMES utf8mb4",
            )
    }

    /// Rows written by a statement that was logged as text. Which tables it wrote cannot be told (triggers, views,
    /// routines), so anything in a synced database, or that names one of its tables, counts.
    fn statement_rows(&self, query: &Query<'_>) -> Result<()> {
        let database = database(query)?;
        let spelling = spelled(query.text, query.client);
        let (text, is_whole) = match &spelling {
            Spelling::Whole(text) => (&**text, true),
            Spelling::Begin(text) => (*text, false),
        };
        let is_there = |id: &&TableId| id.schema.eq_ignore_ascii_case(database) || mentions(text, &id.schema);
        let ids: Vec<&TableId> = self.tables.synced_ids().collect();
        let is_touched = |id: &&TableId| is_there(id) || !is_whole || mentions(text, &id.name);
        if !ids.iter().any(is_touched) {
            return Ok(());
        }
        let mut named = ids.iter().filter(|id| is_there(id) && mentions(text, &id.name));
        let verb = verb(text).map_or("a statement".to_owned(), |verb| format!("a statement {verb} .."));
        let place = match database {
            "" => "without a database".to_owned(),
            database => format!("in database {database:?}"),
        };
        let error = Error::definite(self.reading("an event")).why(format!(
            "{verb} {place} was logged as its text instead of rows (binlog_format of its session)"
        ));
        let error = match (named.next(), named.next(), is_whole) {
            (Some(only), None, true) => error.table(only),
            _ => error,
        };
        let mend = "SET GLOBAL binlog_format = 'ROW'; reconnect the writing sessions and keep them from setting binlog_format;";
        Err(new_copy_after(error, mend))
    }

    fn rollback(&mut self) -> Result<()> {
        let open = self.open()?;
        if open.has_no_rows_told() || open.held.is_some() {
            open.clear();
            self.joins.forget();
            return self.ends(Ending::Commit);
        }
        self.refuse_rollback()
    }

    /// Logged only when the transaction also wrote to tables that cannot roll back.
    fn refuse_rollback(&mut self) -> Result<()> {
        if self.open()?.count == 0 && self.joins.is_empty() {
            return Ok(());
        }
        Err(Error::definite(self.reading("an event"))
            .why("rows of synced tables were rolled back in a transaction that also changed other storage engines' tables")
            .hint(format!(
                "convert the tables of other engines: ALTER TABLE .. ENGINE = InnoDB; then, because this transaction \
                 stays in the log, {NEW_COPY}"
            )))
    }
}

/// What a statement does. `None`: it is not spelled so far that this is certain.
fn stated(query: &Query<'_>) -> Option<Statement> {
    match spelled(query.text, query.client) {
        Spelling::Whole(text) => Some(classify(&text)),
        Spelling::Begin(text) => classify_begin(text),
    }
}

fn database<'a>(query: &Query<'a>) -> Result<&'a str> {
    let name = std::str::from_utf8(query.database);
    name.map_err(|_| malformed("a statement").why("its database's name is not UTF-8"))
}

#[cfg(test)]
mod tests;
