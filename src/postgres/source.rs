//! The change stream of one link out of PostgreSQL.
//!
//! # The protocol, as far as it decides anything here
//! A walsender reads the write-ahead log, puts each transaction together and sends it *when it commits*, in commit
//! order, as pgoutput messages of protocol 2: Begin, rows, Commit. Before the first row of a table (and again after
//! DDL) a Relation describes it. Rolled back transactions and savepoints never arrive; empty ones do not either,
//! unless they carry a message. Prepared ones (`PREPARE TRANSACTION`) arrive when they are committed, as any other,
//! because the slot is not made for `two_phase`: a restart of either side between the two changes nothing.
//!
//! - **Large transactions** are sent while they run, and kept (see `stream`) until they commit; then they take the
//!   same way as all others. `limits.stream = false` lets the server keep them instead.
//! - **Progress** is the `end` of a Commit, or a keepalive's position while no transaction is open: then everything
//!   that committed before it was sent. Header positions of the frames are often 0/0 and are not read.
//! - **Confirming** is the flush position of a status. The slot keeps the log from there on, so it is only ever what
//!   [`Source::confirm`] was given: a position that is committed in the target.
//! - **Who wrote** a change is told by a transactional message with the prefix `tidelock`, a [`Marker`], which
//!   opens a segment that lasts until the next one. Messages outside of transactions are ignored.
//! - A server that shuts down waits for all to confirm all it sent, and asks over and over. The log's tail is
//!   usually not ours, so nobody would confirm it: hearing that, the source gives up the connection.
//!
//! Owns: the stream and its parts, bounded in bytes and changes. Refuses: starting where the slot cannot serve the
//! position (see `slot`), changes that lack what the mode needs (see `relation`).
//! Fails: transient when the connection goes; after any error the source is of no more use: open another.

use super::partitions::Partitions;
use super::relation::{Described, Relation};
use super::replication::{Replication, Streamed};
use super::stream::{Replay, Streams};
use super::wire::{self, Begin, Frame, Message};
use super::{catalog, connect, fail, malformed, out_of_order, setup, slot, sql};
use crate::access::{SourceOptions, own_missing};
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::joined::Joined;
use crate::model::change::{Change, Head, Op, Part, Step, Writer};
use crate::model::origin::{CONTROL, Guard, Marker};
use crate::model::position::{Position, lsn_text};
use crate::model::schema::TableId;
use crate::model::sync::{
    CatalogTable, Mode, is_stamps, publication_name, slot_name, stamps_of, tombstones_of,
};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A part is passed on when it holds this much.
const PART_BYTES: usize = 1024 * 1024;
const PART_CHANGES: usize = 5_000;
/// A status at least this often: the server drops us after `wal_sender_timeout` (60 s by default).
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// Confirmations within this time go in one status.
const CONFIRM_DELAY: Duration = Duration::from_millis(100);
/// A server that does not answer a direct question for so long is gone.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// A message at least this large is kept as the part of the read buffer that it is, which holds little else: copying it
/// would double what one large row takes.
const SHARED_BYTES: usize = 256 * 1024;
/// Uninteresting log is passed over silently up to here while more waits in the buffer.
const IDLE_BYTES: u64 = 1024 * 1024;
/// So many requests for a status within a second come only from a server that is shutting down.
const SHUTDOWN_REQUESTS: u32 = 20;

/// The slot of a link.
pub(super) fn slot_of(options: &SourceOptions) -> String {
    slot_name(&options.sync, &options.target)
}

pub struct Source {
    options: SourceOptions,
    guard: Guard,
    /// The database holds every Unicode character.
    utf8: bool,
    connection: Replication,
    /// With their tombstones where this node is a hub.
    tables: HashMap<TableId, Arc<CatalogTable>>,
    /// The same by oid, under whatever name the log has them.
    oids: HashMap<u32, TableId>,
    /// By oid, with the number of the description; `None` = a table that is not ours.
    relations: HashMap<u32, (u64, Option<Relation>)>,
    /// Descriptions of tables received so far.
    descriptions: u64,
    /// A table whose types must be looked up before anything else is read; its own task, because `next` may be
    /// dropped over and over before the catalog has answered.
    described: Option<(u32, JoinHandle<Result<Relation>>)>,
    /// `None`: nobody keeps a record of them.
    partitions: Option<Partitions>,
    /// What was told of partitions by the transaction that ends here is being noted.
    noting: Option<(u64, JoinHandle<Result<()>>)>,
    transaction: Option<Transaction>,
    /// What comes before it is committed.
    streams: Streams,
    /// Of these, the one that was committed and is read as `transaction`.
    replay: Option<Replayed>,
    /// Of tables whose stamps stand in tables of their own.
    joins: Joined,
    /// Up to here everything was yielded.
    yielded: u64,
    /// Up to here nothing of interest followed; not yet yielded when it is beyond `yielded`.
    passed: u64,
    clock: Status,
}

/// A streamed transaction on its way out. Its tables are described for it alone.
struct Replayed {
    streamed: Replay,
    relations: HashMap<u32, Option<Relation>>,
    end: u64,
}

/// What is told to the server, and when.
struct Status {
    flushed: u64,
    /// Never confirmed past here: a table that is held needs the log from there on.
    keep: u64,
    due: Instant,
    /// Unanswered since.
    asked: Option<Instant>,
    heard: Instant,
    requests: u32,
    requests_since: Instant,
}

/// The transaction that is being received.
struct Transaction {
    head: Arc<Head>,
    xid: u32,
    writer: Writer,
    changes: Vec<Change>,
    bytes: usize,
    /// Ordinal of `changes[0]`.
    first: u64,
    /// Something was yielded of it, or must be: it has an end that the target has to know.
    counts: bool,
}

impl Transaction {
    fn new(begin: Begin) -> Self {
        Transaction {
            head: Arc::new(Head {
                transaction: lsn_text(begin.commit),
                past: None,
                committed_at_us: begin.committed_at_us,
            }),
            xid: begin.xid,
            writer: Writer::User,
            changes: Vec::new(),
            bytes: 0,
            first: 0,
            counts: false,
        }
    }

    fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.changes.push(change);
        self.counts = true;
    }

    fn is_full(&self) -> bool {
        self.bytes >= PART_BYTES || self.changes.len() >= PART_CHANGES
    }

    /// What was collected so far.
    fn part(&mut self, end: Option<Position>) -> Part {
        let changes = std::mem::take(&mut self.changes);
        let first = self.first;
        self.first += changes.len() as u64;
        Part {
            head: self.head.clone(),
            writer: self.writer.clone(),
            first,
            changes,
            end,
            bytes: std::mem::take(&mut self.bytes),
        }
    }
}

impl Source {
    /// Streams everything that committed after `from`; refuses when the log cannot serve that.
    pub async fn open(options: SourceOptions, from: &Position) -> Result<Source> {
        let node = options.access.node.clone();
        Box::pin(Self::open_at(options, from))
            .await
            .map_err(|error| error.node(node))
    }

    async fn open_at(options: SourceOptions, from: &Position) -> Result<Source> {
        let Position::Lsn(from) = *from else {
            return Err(Error::definite("open the change stream").why(format!(
                "the checkpoint's position {from} is not one of PostgreSQL"
            )));
        };
        let client = connect(&options.access).await?;
        let guard = options.guard();
        let joins = Joined::new(beside(&options).map(|known| &known.table), &options.spill);
        let tables = followed(&client, &options, &guard).await?;
        let oids = slot::published(&client, &options.sync, &tables, true).await?;
        let name = slot_of(&options);
        let slot = slot::find(&client, &name)
            .await?
            .ok_or_else(|| slot::missing(&name))?;
        slot.usable()?;
        slot.serves(from)?;
        slot::check_log_reaches(&client, from).await?;
        let utf8 = is_utf8(&client).await?;
        let known = setup::known(&client, &options.sync, &name).await?;
        let mut connection = Replication::connect(&options.access).await?;
        let statement = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '2', streaming '{}', publication_names '{}', messages 'true')",
            sql::quote(&name),
            lsn_text(from),
            if options.stream { "on" } else { "off" },
            sql::quote(&publication_name(&options.sync)),
        );
        connection
            .start(
                &format!("start replication slot {name} at {}", lsn_text(from)),
                &statement,
            )
            .await?;
        let tables = tables.into_iter().map(|table| (table.table.id.clone(), table));
        let now = Instant::now();
        let keep = match options.keep {
            Some(Position::Lsn(keep)) => keep,
            _ => u64::MAX,
        };
        Ok(Source {
            tables: tables.collect(),
            oids,
            utf8,
            connection,
            relations: HashMap::new(),
            descriptions: 0,
            described: None,
            partitions: known.map(Partitions::new),
            noting: None,
            transaction: None,
            streams: Streams::new(guard.clone(), &options.spill),
            joins,
            guard,
            replay: None,
            yielded: from,
            passed: from,
            clock: Status {
                flushed: from.min(keep),
                keep,
                due: now,
                asked: None,
                heard: now,
                requests: 0,
                requests_since: now,
            },
            options,
        })
    }

    /// The next step. May be dropped at any await: everything received stays in `self`.
    pub async fn next(&mut self) -> Result<Step> {
        match self.step().await {
            Ok(step) => Ok(step),
            Err(error) => {
                let error = error.node(&self.options.access.node);
                Err(match &self.transaction {
                    Some(open) if !error.is_transient() => error.at(&open.head.transaction),
                    _ => error,
                })
            }
        }
    }

    async fn step(&mut self) -> Result<Step> {
        loop {
            self.joins.settle().await?;
            if let Some(step) = self.joined() {
                return Ok(step);
            }
            if let Some((oid, looking_up)) = &mut self.described {
                let relation = looking_up
                    .await
                    .map_err(|error| Error::bug("look up a table's types").because(error))??;
                let oid = *oid;
                self.described = None;
                self.describe(oid, Some(relation));
            }
            if let Some((end, noting)) = &mut self.noting {
                noting
                    .await
                    .map_err(|error| Error::bug("note partitions").because(error))??;
                let end = *end;
                self.noting = None;
                if let Some(step) = self.commit(end)? {
                    return Ok(step);
                }
            }
            if let Some(step) = self.idle() {
                return Ok(step);
            }
            if self.clock.due <= Instant::now() {
                let silent = self.clock.heard.elapsed() > STATUS_INTERVAL;
                self.status(silent && self.replay.is_none());
            }
            self.connection.flush().await?;
            if let Some(replay) = &mut self.replay {
                let record = replay.streamed.records.next().await?;
                if let Some(step) = self.replayed(record.map(|(_, record)| record))? {
                    return Ok(step);
                }
                continue;
            }
            self.streams.settle().await?;
            match timeout_at(self.clock.due, self.connection.next()).await {
                // Judged only here, where nothing waited in the socket: a busy consumer leaves it unread.
                Err(_)
                    if self
                        .clock
                        .asked
                        .is_some_and(|asked| asked.elapsed() > ANSWER_LIMIT) =>
                {
                    return Err(self.connection_lost("the server does not answer any more"));
                }
                Err(_) => {}
                Ok(Ok(Streamed::Frame(frame))) => {
                    if let Some(step) = self.receive(&frame)? {
                        return Ok(step);
                    }
                }
                Ok(Ok(Streamed::End)) => {
                    return Err(self.connection_lost("the server ended the stream"));
                }
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// Tells the server that we live, and what is confirmed. To be called each 10 s while the consumer is too busy to
    /// call [`Source::next`].
    pub async fn keepalive(&mut self) -> Result<()> {
        self.status(false);
        self.connection.flush().await
    }

    /// Everything up to here is durable in the target.
    pub fn confirm(&mut self, position: &Position) {
        let Position::Lsn(lsn) = position else { return };
        let lsn = self.clock.keep.min(*lsn);
        if lsn > self.clock.flushed {
            self.clock.flushed = lsn;
            self.clock.due = self.clock.due.min(Instant::now() + CONFIRM_DELAY);
        }
    }

    fn connection_lost(&self, why: &str) -> Error {
        Error::transient("read the change stream")
            .reason(Reason::Unreachable)
            .why(why)
    }

    /// Queues a status; `ask` wants an answer.
    fn status(&mut self, ask: bool) {
        let now = Instant::now();
        if ask {
            self.clock.asked.get_or_insert(now);
        }
        let unix_us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let received = self.yielded.max(self.passed).max(self.clock.flushed);
        let status = wire::status_update(received, self.clock.flushed, unix_us, ask);
        self.connection.send(&status);
        self.clock.due = now + STATUS_INTERVAL;
    }

    /// Progress without anything of interest, when no more is waiting to be read.
    fn idle(&mut self) -> Option<Step> {
        let foreign_bytes = self.passed.saturating_sub(self.yielded);
        if foreign_bytes == 0
            || self.transaction.is_some()
            || self.streams.is_receiving()
            || (self.connection.is_buffered() && foreign_bytes < IDLE_BYTES)
        {
            return None;
        }
        self.yielded = self.passed;
        Some(Step::Idle {
            position: Position::Lsn(self.passed),
            foreign_bytes,
        })
    }

    fn receive(&mut self, frame: &Bytes) -> Result<Option<Step>> {
        self.clock.heard = Instant::now();
        self.clock.asked = None;
        match wire::frame(frame).map_err(malformed)? {
            Frame::Keepalive { end, reply } => {
                if self.transaction.is_none() && !self.streams.is_receiving() {
                    self.passed = self.passed.max(end);
                }
                if reply {
                    self.requested()?;
                }
                Ok(None)
            }
            Frame::Data(body) if self.streams.is_receiving() && body != b"E" => {
                self.descriptions += u64::from(body.first() == Some(&b'R'));
                let is_ours = |id: &TableId| self.tables.contains_key(id);
                self.streams.receive(body, self.descriptions, is_ours)?;
                Ok(None)
            }
            Frame::Data(body) => {
                // Rows that are kept share memory with their message only, not with the whole read buffer.
                let message = match body.first() {
                    Some(b'I' | b'U' | b'D') if self.is_synced(body) => kept(&frame.slice_ref(body)),
                    Some(b'I' | b'U' | b'D') => return Ok(None),
                    _ => frame.slice_ref(body),
                };
                self.message(&message)
            }
        }
    }

    fn requested(&mut self) -> Result<()> {
        let now = Instant::now();
        if now - self.clock.requests_since > Duration::from_secs(1) {
            self.clock.requests_since = now;
            self.clock.requests = 0;
        }
        self.clock.requests += 1;
        if self.clock.requests > SHUTDOWN_REQUESTS {
            return Err(self.connection_lost("the server is shutting down"));
        }
        self.clock.due = now;
        Ok(())
    }

    /// Is the row message of a table of ours? Unknown relations are for [`Source::message`] to complain about.
    fn is_synced(&self, body: &[u8]) -> bool {
        let oid = body
            .get(1..5)
            .and_then(|oid| oid.try_into().ok())
            .map(u32::from_be_bytes);
        oid.is_none_or(|oid| !matches!(self.relations.get(&oid), Some((_, None))))
    }

    fn message(&mut self, bytes: &Bytes) -> Result<Option<Step>> {
        match wire::message(bytes).map_err(malformed)? {
            // One transaction at a time: what is open would be lost.
            Message::Begin(_) | Message::StreamCommit { .. } if self.transaction.is_some() => {
                Err(out_of_order())
            }
            Message::Begin(begin) => {
                self.transaction = Some(Transaction::new(begin));
                Ok(None)
            }
            Message::Commit { end } => self.ending(end),
            Message::StreamStart { xid, first } => self.streams.start(xid, first).map(|()| None),
            Message::StreamStop => self.streams.stop().map(|()| None),
            Message::StreamAbort { xid, subxid } => self.streams.abort(xid, subxid).map(|()| None),
            Message::StreamCommit { begin, end } => {
                self.replay = Some(Replayed {
                    streamed: self.streams.commit(begin.xid)?,
                    relations: HashMap::new(),
                    end,
                });
                self.transaction = Some(Transaction::new(begin));
                Ok(None)
            }
            content => {
                self.descriptions += u64::from(matches!(content, Message::Relation(_)));
                self.content(content, bytes)
            }
        }
    }

    /// The next record of the streamed transaction that is being read, or its end.
    fn replayed(&mut self, record: Option<Bytes>) -> Result<Option<Step>> {
        if let Some(record) = record {
            let record = kept(&record);
            let (_, content) = wire::in_stream(&record).map_err(malformed)?;
            return self.content(content, &record);
        }
        let Some(Replayed {
            streamed,
            relations,
            end,
        }) = self.replay.take()
        else {
            return Ok(None);
        };
        // From now on the server takes these as described, unless it described them otherwise meanwhile.
        for (oid, relation) in relations {
            let number = streamed.described.get(&oid).copied().unwrap_or_default();
            if self.relations.get(&oid).is_none_or(|(known, _)| *known < number) {
                self.relations.insert(oid, (number, relation));
            }
        }
        self.ending(end)
    }

    /// Notes how a table looks, for the transaction that is being read if it was streamed, otherwise for all.
    fn describe(&mut self, oid: u32, relation: Option<Relation>) {
        let known = self.relations.get(&oid).and_then(|(_, known)| known.as_ref());
        match &mut self.replay {
            Some(replay) => {
                let before = replay.relations.remove(&oid).flatten();
                let relation = relation.map(|relation| relation.sharing(before.as_ref().or(known)));
                replay.relations.insert(oid, relation);
            }
            None => {
                let relation = relation.map(|relation| relation.sharing(known));
                self.relations.insert(oid, (self.descriptions, relation));
            }
        }
    }

    fn relation(&self, oid: u32) -> Result<Option<&Relation>> {
        let found = match &self.replay {
            Some(replay) => replay.relations.get(&oid),
            None => self.relations.get(&oid).map(|(_, relation)| relation),
        };
        found.map(Option::as_ref).ok_or_else(out_of_order)
    }

    fn content(&mut self, message: Message<'_>, bytes: &Bytes) -> Result<Option<Step>> {
        if let Some(partitions) = &mut self.partitions {
            partitions.follow(&message, |id| self.tables.contains_key(id));
        }
        match message {
            Message::Origin | Message::Type => Ok(None),
            Message::Relation(relation) => {
                let id = TableId::new(relation.schema, relation.name);
                match self.tables.get(&id) {
                    Some(catalog) => {
                        let described = Described::new(&relation, catalog);
                        let (access, utf8) = (self.options.access.clone(), self.utf8);
                        let look_up = async move { described.look_up(&access, utf8).await };
                        self.described = Some((relation.oid, tokio::spawn(look_up)));
                    }
                    None if self.oids.contains_key(&relation.oid) => {
                        return Err(self.renamed(relation.oid, &id));
                    }
                    None => self.describe(relation.oid, None),
                }
                Ok(None)
            }
            Message::Insert { relation, new } => {
                self.change(relation, |relation, _| relation.insert(bytes, &new))
            }
            Message::Update { relation, old, new } => self.change(relation, |relation, mode| {
                relation.update(bytes, old.as_ref(), &new, mode)
            }),
            Message::Delete { relation, old } => {
                self.change(relation, |relation, mode| relation.delete(bytes, &old, mode))
            }
            Message::Truncate { relations } => {
                for relation in relations {
                    self.push(relation, |_, _| Ok(Op::Truncate))?;
                }
                Ok(self.full())
            }
            Message::Logical {
                transactional: true,
                prefix: CONTROL,
                content,
            } => self.marker(content),
            Message::Logical { .. } => Ok(None),
            Message::Begin(_)
            | Message::Commit { .. }
            | Message::StreamStart { .. }
            | Message::StreamStop
            | Message::StreamCommit { .. }
            | Message::StreamAbort { .. } => Err(out_of_order()),
        }
    }

    /// The end of a transaction; it is told when what it says of partitions is noted.
    fn ending(&mut self, end: u64) -> Result<Option<Step>> {
        let sent = self.partitions.as_mut().map(Partitions::take).unwrap_or_default();
        let xid = self.transaction.as_ref().map(|open| open.xid);
        let Some(xid) = xid.filter(|_| !sent.is_empty()) else {
            return self.commit(end);
        };
        let (access, sync) = (self.options.access.clone(), self.options.sync.clone());
        let note = async move { setup::note(&connect(&access).await?, &sync, xid, &sent).await };
        self.noting = Some((end, tokio::spawn(note)));
        Ok(None)
    }

    fn commit(&mut self, end: u64) -> Result<Option<Step>> {
        self.joins.end()?;
        let Some(mut transaction) = self.transaction.take() else {
            return Err(out_of_order());
        };
        self.passed = end;
        if !transaction.counts {
            return Ok(None);
        }
        self.yielded = end;
        Ok(Some(Step::Part(transaction.part(Some(Position::Lsn(end))))))
    }

    /// Rows of a table of ours that had another name when they were written.
    fn renamed(&self, oid: u32, id: &TableId) -> Error {
        let error = Error::definite("read the change stream").reason(Reason::PositionLost);
        let error = error.why(format!(
            "the table was called {id} for a while, and rows were written to it under that name, which is not in the sync"
        ));
        let error = error.hint(NEW_COPY);
        match self.oids.get(&oid) {
            Some(table) => error.table(table),
            None => error,
        }
    }

    fn marker(&mut self, content: &[u8]) -> Result<Option<Step>> {
        let marker = Marker::from_json(content).map_err(|error| {
            Error::definite("read a marker in the change stream")
                .because(error)
                .hint("a message with prefix tidelock was written by another version, or not by Tidelock")
        })?;
        self.joins.end()?;
        let transaction = self.transaction.as_mut().ok_or_else(out_of_order)?;
        let before = (transaction.bytes > 0).then(|| Step::Part(transaction.part(None)));
        transaction.writer = Writer::Tidelock(Arc::new(marker));
        transaction.counts = true;
        if let Some(replay) = &mut self.replay
            && self.guard.is_echo(&transaction.writer)
        {
            // Its changes were not kept, only counted.
            let bytes = replay.streamed.echoes.pop_front().unwrap_or_default();
            transaction.bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        Ok(before)
    }

    fn change(&mut self, oid: u32, op: impl FnOnce(&Relation, Mode) -> Result<Op>) -> Result<Option<Step>> {
        self.push(oid, op)?;
        Ok(self.full())
    }

    fn push(&mut self, oid: u32, op: impl FnOnce(&Relation, Mode) -> Result<Op>) -> Result<()> {
        let Some(relation) = self.relation(oid)? else {
            return Ok(());
        };
        let is_tombstone = relation.table.id.schema == CONTROL && !is_stamps(&relation.table.id);
        // What is dropped as an echo is not looked at.
        let is_joined = match &self.transaction {
            Some(open) => self.joins.has(&relation.table.id) && !self.guard.is_echo(&open.writer),
            None => false,
        };
        // A user's delete tells of itself. Of a tombstone that was there only the key is logged.
        let mode = match (is_tombstone, &self.transaction) {
            (true, Some(open)) if !self.guard.is_passed_on(&open.writer) => return Ok(()),
            (true, _) => Mode::Transactional,
            (false, _) => self.options.mode,
        };
        let change = Change {
            op: op(relation, mode)?,
            table: relation.table.clone(),
        };
        let transaction = self.transaction.as_mut().ok_or_else(out_of_order)?;
        if !is_joined {
            transaction.push(change);
            return Ok(());
        }
        self.joins.change(change)?;
        self.joins
            .take()
            .into_iter()
            .for_each(|change| transaction.push(change));
        Ok(())
    }

    /// What was joined with its stamps meanwhile.
    fn joined(&mut self) -> Option<Step> {
        let transaction = self.transaction.as_mut()?;
        self.joins
            .take()
            .into_iter()
            .for_each(|change| transaction.push(change));
        self.full()
    }

    /// What has gathered, once it is a part.
    fn full(&mut self) -> Option<Step> {
        let transaction = self.transaction.as_mut().filter(|open| open.is_full())?;
        Some(Step::Part(transaction.part(None)))
    }
}

/// A message whose cells are kept: it shares memory with no other.
fn kept(message: &Bytes) -> Bytes {
    match message.len() < SHARED_BYTES {
        true => Bytes::copy_from_slice(message),
        false => message.clone(),
    }
}

/// Those whose stamps stand in tables of their own.
fn beside(options: &SourceOptions) -> impl Iterator<Item = &Arc<CatalogTable>> {
    let tables = options.tables.iter().filter(|_| options.mode == Mode::Merge);
    tables.filter(|known| known.table.is_beside())
}

/// The tables that are read, with those of ours.
async fn followed(
    client: &tokio_postgres::Client,
    options: &SourceOptions,
    guard: &Guard,
) -> Result<Vec<Arc<CatalogTable>>> {
    let mut tables = options.tables.clone();
    if guard.is_of_hub() {
        tables.extend(own(client, &options.tables, tombstones_of).await?);
    }
    let beside: Vec<_> = beside(options).cloned().collect();
    tables.extend(own(client, &beside, stamps_of).await?);
    Ok(tables)
}

/// Our tables to these: tombstones, by which a hub tells of deletes, or stamps.
async fn own(
    client: &tokio_postgres::Client,
    tables: &[Arc<CatalogTable>],
    named: fn(&TableId) -> TableId,
) -> Result<Vec<Arc<CatalogTable>>> {
    let ids: Vec<TableId> = tables.iter().map(|known| named(&known.table.id)).collect();
    let found = catalog::tables(client, &ids).await?;
    let there =
        |(id, found): (&TableId, Option<CatalogTable>)| found.map(Arc::new).ok_or_else(|| own_missing(id));
    ids.iter().zip(found).map(there).collect()
}

async fn is_utf8(client: &tokio_postgres::Client) -> Result<bool> {
    const DOING: &str = "read the database's encoding";
    let row = client
        .query_one("SELECT current_setting('server_encoding') = 'UTF8'", &[])
        .await
        .map_err(|error| fail(DOING, error))?;
    row.try_get(0).map_err(|error| fail(DOING, error))
}
