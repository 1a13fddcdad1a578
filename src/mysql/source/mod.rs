//! The binlog of MySQL and MariaDB as committed transactions.
//!
//! A source is one session that has turned into a dump: after it is asked for, the server sends events for ever and
//! the session can do nothing else. What is needed from the server is asked before (`preflight`); what an event
//! means is told by the log itself (`binlog_row_metadata = FULL`) and never by today's catalog.
//!
//! **Where it starts.** MySQL with GTIDs: the set of transactions taken; the server sends what is not in it, so order
//! between its sources does not matter. MySQL without: a file and an offset, with the time the file was made, because
//! a log that was reset has files of the same names. MariaDB: the last transaction taken in each domain, set as
//! `@slave_connect_state` before a dump without a file. `@mariadb_slave_capability = 4` is vital there: without it
//! the server hides its GTID events. A server that has purged what comes next, or never had what we have, is refused
//! by comparing sets first and by error 1236 after; both mean that the position is lost.
//!
//! **How it is read.** `dump` is a session of our own (`wire::login` says why), opened beside the driver's session that
//! has asked everything else. `wire::framing` checks each event's checksum and inflates compressed transactions.
//!
//! **Shape of the stream.** `ROTATE, FORMAT_DESCRIPTION`, then per transaction `GTID, BEGIN, (TABLE_MAP.. rows)..,
//! XID`. A DDL is one QUERY after its GTID and commits by itself; MariaDB says in the GTID event whether a group is
//! one statement, and sends no BEGIN. `assemble` makes parts of it. A transaction that is not closed when the next
//! one begins is an error: a driver or server that loses events must not look like a quiet one.
//!
//! **Silence.** The server sends a heartbeat when it has nothing else. Three missed ones and the connection is given
//! up. `net_write_timeout` is an hour, so that a target that is slow does not cost the connection.
//!
//! **DDL** is told by its text. What may have changed rows unseen stops the table (`assemble::ddl`, `wire::alteration`).
//!
//! **Settings** are dynamic: sessions change them after the checks at the start. What would lose or change a row
//! (STATEMENT format, partial images, missing names) is seen in the event that has it and stops the link before
//! that row is handed on.
//!
//! Refuses: writing, conversions, and to confirm anything to the server: binlogs are purged by age, not by reader.

mod assemble;
mod dump;
mod preflight;
mod tables;
mod transaction;
mod xa;

use super::{Flavor, catalog, connect, fail, flavor, operations};
use crate::access::{Access, SourceOptions as Options, own_missing};
use crate::error::{Error, Reason, Result};
use crate::joined::Joined;
use crate::model::change::Step;
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Mode, stamps_of, tombstones_of};
use crate::mysql::wire::framing::{self, Item};
use crate::mysql::wire::login;
use assemble::Assembler;
use dump::{Dump, Start};
use futures_util::FutureExt;
use mysql_async::Conn;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;
use transaction::Event;

pub(super) use preflight::{begun, current_position, serves, settings};
pub(super) use xa::{Quiet, prepared};

/// How often an idle server says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// After this long without a byte the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(9);
/// A read that was not waited for (the consumer was busy) gets at least this long to show what has arrived.
const GRACE: Duration = Duration::from_millis(200);
/// The dump begins within this time, or the server is in trouble.
const START_MAX: Duration = Duration::from_secs(30);

const START: &str = "start reading the binlog";

/// A running dump.
pub struct Source {
    dump: Dump,
    assembler: Assembler,
    access: Access,
    flavor: Flavor,
    /// Where the log was found cut; the dump goes on behind it, once.
    cut_at: Option<Position>,
    /// The dump has ended there and is to be opened anew.
    is_cut: bool,
    /// Since when nothing has come although it was waited for.
    silent_since: Option<Instant>,
}

impl Source {
    /// Starts reading after `from`. Refuses when the log cannot serve it.
    pub async fn open(options: Options, from: &Position) -> Result<Source> {
        let node = options.access.node.clone();
        Self::start(options, from).await.map_err(|error| error.node(node))
    }

    async fn start(options: Options, from: &Position) -> Result<Source> {
        let mut conn = connect(&options.access).await?;
        let flavor = flavor(&mut conn).await?;
        let folds_case = settings(&mut conn, flavor, &options).await?;
        preflight::serves(&mut conn, flavor, from).await?;
        let facts = preflight::facts(&mut conn, flavor, &options).await?;
        let guard = options.guard();
        let mut tables = options.tables.clone();
        if guard.is_of_hub() {
            tables.extend(own(&mut conn, &options.tables, tombstones_of).await?);
        }
        let beside = options.tables.iter().filter(|_| options.mode == Mode::Merge);
        let beside: Vec<_> = beside.filter(|known| known.table.is_beside()).cloned().collect();
        tables.extend(own(&mut conn, &beside, stamps_of).await?);
        let joins = Joined::new(beside.iter().map(|known| &known.table), &options.spill);
        let mut dump = Dump::open(&options.access, conn.opts()).await?;
        note(&mut conn, dump.session(), &options.access).await;
        let _ = conn.disconnect().await;
        begin(&mut dump, flavor, from, &options.access).await?;
        let mut source = Source {
            dump,
            assembler: Assembler::new(&tables, from.clone(), folds_case, options.spill)
                .knowing(facts)
                .guarded(guard)
                .joining(joins),
            access: options.access,
            flavor,
            cut_at: None,
            is_cut: false,
            silent_since: None,
        };
        source.first_events().await?;
        Ok(source)
    }

    /// An ALTER TABLE in it stops the link again, whatever is known of the table now.
    pub fn stopped_at(&mut self, transaction: String) {
        self.assembler.stopped_at(transaction);
    }

    /// Reads up to the format description: what the server has against our position it says before.
    async fn first_events(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while !self.assembler.has_started() {
            if self.take_next()? {
                self.assembler.settle().await?;
                continue;
            }
            let read = tokio::time::timeout_at(deadline, self.dump.read()).await;
            read.map_err(|_| silent(START_MAX))?.map_err(broken)?;
        }
        Ok(())
    }

    /// The next step. May be dropped while it waits: what has arrived stays.
    pub async fn next(&mut self) -> Result<Step> {
        loop {
            match self.advance().await {
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {}
                Err(error) => {
                    let error = error.node(&self.access.node);
                    return Err(match self.assembler.transaction() {
                        Some(head) if !error.is_transient() => {
                            let past = head.past.as_ref().map(ToString::to_string);
                            error.at(&head.transaction).past(past)
                        }
                        _ => error,
                    });
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Step>> {
        if let Some(step) = self.assembler.step() {
            return Ok(Some(step));
        }
        self.assembler.settle().await?;
        if self.assembler.replay().await? {
            return Ok(None);
        }
        if self.is_cut {
            self.open_behind_cut().await?;
        }
        match self.take_next() {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(error) if self.dump.is_cut() => return self.cut(error).map(|()| None),
            Err(error) => return Err(error),
        }
        // Transactions of no interest are gathered while more is there to read at once.
        if self.assembler.has_idle() {
            return match self.dump.read().now_or_never() {
                Some(read) => self.arrived(read).map(|()| None),
                None => Ok(self.assembler.idle()),
            };
        }
        let now = Instant::now();
        let since = *self.silent_since.get_or_insert(now);
        let deadline = (since + SILENCE_MAX).max(now + GRACE);
        let read = tokio::time::timeout_at(deadline, self.dump.read()).await;
        self.arrived(read.map_err(|_| silent(SILENCE_MAX))?)?;
        Ok(None)
    }

    /// A crash of the server left a piece of an event at the end of a file. What is complete was read; the next file
    /// is found by our position, unless the log lacks something between them.
    fn cut(&mut self, error: Error) -> Result<()> {
        let position = self.assembler.position();
        if self.cut_at.as_ref() == Some(position) || !self.assembler.is_untold() {
            return Err(error);
        }
        warn!(%position, "a crash of the server cut its binlog: going on in the next file");
        self.cut_at = Some(position.clone());
        self.is_cut = true;
        Ok(())
    }

    async fn open_behind_cut(&mut self) -> Result<()> {
        let mut conn = connect(&self.access).await?;
        let position = self.assembler.position().clone();
        preflight::serves(&mut conn, self.flavor, &position).await?;
        let mut dump = Dump::open(&self.access, conn.opts()).await?;
        let _ = conn.disconnect().await;
        begin(&mut dump, self.flavor, &position, &self.access).await?;
        self.assembler.forget_open();
        self.dump = dump;
        self.is_cut = false;
        Ok(())
    }

    fn arrived(&mut self, read: std::io::Result<()>) -> Result<()> {
        self.silent_since = None;
        read.map_err(broken)
    }

    /// Reads what has come; `false`: nothing that is whole.
    fn take_next(&mut self) -> Result<bool> {
        let Some(item) = self.dump.item()? else {
            return Ok(false);
        };
        match item {
            Item::Event(event) => self.assembler.event(&assembled(&event.header, &event.body))?,
            Item::PayloadBegin(header) => self.assembler.payload_begin(&assembled(&header, &[]))?,
            Item::Inner(event) => {
                let mut inner = assembled(&event.header, &event.body);
                (inner.size, inner.end) = (0, 0);
                self.assembler.payload(&inner)?;
            }
            Item::PayloadEnd => self.assembler.payload_end()?,
        }
        Ok(true)
    }

    /// The server needs no answers; it waits for us as long as `net_write_timeout`.
    pub async fn keepalive(&mut self) -> Result<()> {
        Ok(())
    }

    /// Nothing to tell: the server keeps its log by age.
    pub fn confirm(&mut self, _position: &Position) {}
}

/// Our tables to these: tombstones, by which a hub tells of deletes, or stamps.
async fn own(
    conn: &mut Conn,
    tables: &[Arc<CatalogTable>],
    named: fn(&TableId) -> TableId,
) -> Result<Vec<Arc<CatalogTable>>> {
    let ids: Vec<TableId> = tables.iter().map(|known| named(&known.table.id)).collect();
    let found = catalog::tables(conn, &ids).await?;
    let there =
        |(id, found): (&TableId, Option<CatalogTable>)| found.map(Arc::new).ok_or_else(|| own_missing(id));
    ids.iter().zip(found).map(there).collect()
}

fn silent(limit: Duration) -> Error {
    Error::transient("read the binlog")
        .reason(Reason::Unreachable)
        .why(format!("not even a heartbeat came for {} s", limit.as_secs()))
        .hint("it is tried again; does the server, or the network to it, hang?")
}

fn broken(error: std::io::Error) -> Error {
    fail(
        "read the binlog",
        mysql_async::Error::Io(mysql_async::IoError::Io(error)),
    )
}

fn assembled<'a>(header: &framing::Header, body: &'a [u8]) -> Event<'a> {
    Event {
        kind: header.kind,
        server_id: header.server_id,
        timestamp: header.timestamp,
        size: header.size,
        end: header.end,
        is_artificial: header.is_artificial(),
        is_ignorable: header.is_ignorable(),
        body,
    }
}

/// All of it within the time that a connection has: a server that hangs now would hold up the start for ever.
/// As every session of a link: see `operations::note_session`.
async fn note(conn: &mut Conn, session: u32, access: &Access) {
    if let Some(name) = &access.session {
        let noting = operations::note_session(conn, session, name);
        if tokio::time::timeout(access.connect_timeout, noting)
            .await
            .is_err()
        {
            warn!(
                link = name.link,
                "the session that reads the binlog was not noted in time"
            );
        }
    }
}

async fn begin(dump: &mut Dump, flavor: Flavor, from: &Position, access: &Access) -> Result<()> {
    let beginning = async {
        session(dump, flavor, from).await?;
        start_dump(dump, from, &access.user).await
    };
    match tokio::time::timeout(access.connect_timeout, beginning).await {
        Ok(begun) => begun,
        Err(_) => Err(dump::no_answer(START, access.connect_timeout)),
    }
}

/// What the dump inherits from its session.
async fn session(dump: &mut Dump, flavor: Flavor, from: &Position) -> Result<()> {
    let heartbeat = HEARTBEAT.as_nanos();
    let mut statements = vec![
        // A server that waits for us to read gives up only after an hour. What is noted of it is no open transaction.
        "SET SESSION net_write_timeout = 3600, wait_timeout = 86400, autocommit = 1".to_owned(),
        format!("SET @master_heartbeat_period = {heartbeat}"),
        "SET @master_binlog_checksum = 'CRC32'".to_owned(),
    ];
    match (flavor, from) {
        (Flavor::Mysql, _) => statements.extend([
            format!("SET @source_heartbeat_period = {heartbeat}"),
            "SET @source_binlog_checksum = 'CRC32'".to_owned(),
        ]),
        (Flavor::Mariadb, Position::MariaGtid(list)) => statements.extend([
            "SET @mariadb_slave_capability = 4".to_owned(),
            // Digits, dashes and commas only.
            format!("SET @slave_connect_state = '{list}'"),
            // A position that the log lacks is an error even if later ones exist.
            "SET @slave_gtid_strict_mode = 1".to_owned(),
            "SET @slave_gtid_ignore_duplicates = 0".to_owned(),
        ]),
        (Flavor::Mariadb, Position::Gtid(_) | Position::Lsn(_) | Position::File(_)) => {}
    }
    for statement in statements {
        dump.set("prepare the dump session", &statement).await?;
    }
    Ok(())
}

/// Asks for the events after `from`.
async fn start_dump(dump: &mut Dump, from: &Position, user: &str) -> Result<()> {
    let doing = START;
    let packed;
    let start = match from {
        Position::Gtid(set) => {
            packed = login::gtid_set(set.iter())
                .ok_or_else(|| Error::bug(doing).why(format!("{set} cannot be packed")))?;
            Start::Gtid(&packed)
        }
        // The command knows offsets below 4 GiB only; in a larger file what was taken already is read past.
        Position::File(place) => Start::File(place.file(), u32::try_from(place.offset).unwrap_or(4)),
        Position::MariaGtid(_) | Position::Lsn(_) => Start::Session,
    };
    dump.start(doing, user, server_id(), &start).await
}

/// Replicas of one server need different numbers; ours is drawn anew for each connection, from the upper half,
/// where nobody numbers by hand.
pub(super) fn server_id() -> u32 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    random as u32 | 0x8000_0000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_server_that_takes_the_connection_and_never_answers_does_not_hold_up_the_start() {
        let (_server, client) = tokio::io::duplex(1 << 16);
        let access = Access {
            connect_timeout: Duration::from_millis(20),
            ..Access::new("a", "localhost", 3306, "u", "d")
        };
        let mut dump = Dump::over(Box::new(client) as Box<dyn dump::Socket>);
        let from = Position::Gtid(Default::default());
        let begun = begin(&mut dump, Flavor::Mysql, &from, &access);
        let error = tokio::time::timeout(Duration::from_secs(10), begun)
            .await
            .expect("it waits for ever")
            .unwrap_err();
        assert!(error.is_transient() && error.hint_text().is_some(), "{error}");
        assert_eq!(error.reason_kind(), Reason::Unreachable);
    }
}
