//! The binlog of MySQL and MariaDB as committed transactions.
//!
//! A source is one session that has turned into a dump: after it is asked for, the server sends events for ever and
//! the session can do nothing else. What is needed from the server is asked before (`preflight`); what an event
//! means is told by the log itself (`binlog_row_metadata = FULL`) and never by today's catalog.
//!
//! **Where it starts.** MySQL: the set of transactions taken; the server sends what is not in it, so order between
//! its sources does not matter. MariaDB: the last transaction taken in each domain, set as
//! `@slave_connect_state` before a dump without a file. `@mariadb_slave_capability = 4` is vital there: without it
//! the server hides its GTID events. A server that has purged what comes next, or never had what we have, is refused
//! by comparing sets first and by error 1236 after; both mean that the position is lost.
//!
//! **Shape of the stream.** `ROTATE, FORMAT_DESCRIPTION`, then per transaction `GTID, BEGIN, (TABLE_MAP.. rows)..,
//! XID`. A DDL is one QUERY after its GTID and commits by itself; MariaDB says in the GTID event whether a group is
//! one statement, and sends no BEGIN. `assemble` makes parts of it. A transaction that is not closed when the next
//! one begins is an error: a driver or server that loses events must not look like a quiet one.
//!
//! **Silence.** The server sends a heartbeat when it has nothing else. Three missed ones and the connection is given
//! up. `net_write_timeout` is an hour, so that a target that is slow does not cost the connection.
//!
//! **Settings** are dynamic: sessions change them after the checks at the start. What would lose or change a row
//! (STATEMENT format, partial images, missing names) is seen in the event that has it and stops the link before
//! that row is handed on.
//!
//! Refuses: writing, conversions, and to confirm anything to the server: binlogs are purged by age, not by reader.

mod assemble;
mod preflight;
mod tables;

use super::{Flavor, connect, fail, flavor};
use crate::access::{Access, SourceOptions as Options};
use crate::error::{Error, Reason, Result};
use crate::model::change::Step;
use crate::model::position::{GtidSet, Position};
use assemble::{Assembler, Event};
use futures_util::{FutureExt, StreamExt};
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, Sid};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;
use tokio::time::Instant;

pub(super) use preflight::{current_position, settings};

/// How often an idle server says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// After this long without a byte the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(9);
/// A read that was not waited for (the consumer was busy) gets at least this long to show what has arrived.
const GRACE: Duration = Duration::from_millis(200);
/// The dump begins within this time, or the server is in trouble.
const START_MAX: Duration = Duration::from_secs(30);

/// A running dump.
pub struct Source {
    stream: BinlogStream,
    assembler: Assembler,
    node: String,
    access: Access,
    /// The server's number of the dump's session.
    session: u32,
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
        session(&mut conn, flavor, from).await?;
        let session = conn.id();
        let stream = dump(conn, from, &options.access.user).await?;
        let mut source = Source {
            stream,
            assembler: Assembler::new(&options.tables, from.clone(), folds_case),
            node: options.access.node.clone(),
            access: options.access,
            session,
            silent_since: None,
        };
        source.first_events().await?;
        Ok(source)
    }

    /// Reads up to the format description: what the server has against our position it says before.
    async fn first_events(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while !self.assembler.has_started() {
            let event = tokio::time::timeout_at(deadline, self.stream.next()).await;
            self.take(event.map_err(|_| silent(START_MAX))?)?;
        }
        Ok(())
    }

    /// The next step. May be dropped while it waits: what has arrived stays.
    pub async fn next(&mut self) -> Result<Step> {
        loop {
            match self.advance().await {
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {}
                Err(error) => return Err(error.node(&self.node)),
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Step>> {
        if let Some(step) = self.assembler.step() {
            return Ok(Some(step));
        }
        // Transactions of no interest are gathered while more is there to read at once.
        if self.assembler.has_idle() {
            match self.stream.next().now_or_never() {
                Some(event) => self.take(event)?,
                None => return Ok(self.assembler.idle()),
            }
            return Ok(None);
        }
        let now = Instant::now();
        let since = *self.silent_since.get_or_insert(now);
        let deadline = (since + SILENCE_MAX).max(now + GRACE);
        let event = tokio::time::timeout_at(deadline, self.stream.next()).await;
        self.take(event.map_err(|_| silent(SILENCE_MAX))?)?;
        Ok(None)
    }

    fn take(
        &mut self,
        event: Option<Result<mysql_async::binlog::events::Event, mysql_async::Error>>,
    ) -> Result<()> {
        self.silent_since = None;
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(fail("read the binlog", error)),
            None => {
                return Err(Error::transient("read the binlog").why("the server ended the dump"));
            }
        };
        let header = event.header();
        self.assembler.event(&Event {
            kind: header.event_type_raw(),
            server_id: header.server_id(),
            timestamp: header.timestamp(),
            size: header.event_size(),
            body: event.data(),
        })
    }

    /// The server needs no answers; it waits for us as long as `net_write_timeout`.
    pub async fn keepalive(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends the dump at once. A server by itself notices only at its next heartbeat that nobody reads any more.
    pub async fn leave(self) -> Result<()> {
        drop(self.stream);
        let mut conn = connect(&self.access).await?;
        match conn.query_drop(format!("KILL {}", self.session)).await {
            // It has noticed already.
            Err(mysql_async::Error::Server(error)) if error.code == 1094 => Ok(()),
            other => other.map_err(|error| fail("end a dump", error)),
        }
    }

    /// Nothing to tell: the server keeps its log by age.
    pub fn confirm(&mut self, _position: &Position) {}
}

fn silent(limit: Duration) -> Error {
    Error::transient("read the binlog")
        .reason(Reason::Unreachable)
        .why(format!("not even a heartbeat came for {} s", limit.as_secs()))
}

/// What the dump inherits from its session.
async fn session(conn: &mut Conn, flavor: Flavor, from: &Position) -> Result<()> {
    let heartbeat = HEARTBEAT.as_nanos();
    let mut statements = vec![format!("SET @master_heartbeat_period = {heartbeat}")];
    match (flavor, from) {
        (Flavor::Mysql, _) => statements.push(format!("SET @source_heartbeat_period = {heartbeat}")),
        (Flavor::Mariadb, Position::MariaGtid(list)) => statements.extend([
            "SET @mariadb_slave_capability = 4".to_owned(),
            // Digits, dashes and commas only.
            format!("SET @slave_connect_state = '{list}'"),
            // A position that the log lacks is an error even if later ones exist.
            "SET @slave_gtid_strict_mode = 1".to_owned(),
            "SET @slave_gtid_ignore_duplicates = 0".to_owned(),
        ]),
        (Flavor::Mariadb, Position::Gtid(_) | Position::Lsn(_)) => {}
    }
    for statement in statements {
        conn.query_drop(statement)
            .await
            .map_err(|error| fail("prepare the dump session", error))?;
    }
    Ok(())
}

async fn dump(conn: Conn, from: &Position, user: &str) -> Result<BinlogStream> {
    let doing = "start reading the binlog";
    let mut request = BinlogStreamRequest::new(server_id()).with_pos(4);
    if let Position::Gtid(set) = from {
        request = request.with_gtid().with_gtid_set(sids(set)?);
    }
    conn.get_binlog_stream(request)
        .await
        .map_err(|error| match &error {
            mysql_async::Error::Server(server) if matches!(server.code, 1045 | 1227) => {
                fail(doing, error).hint(format!("GRANT REPLICATION SLAVE ON *.* TO '{user}'@'...';"))
            }
            _ => fail(doing, error),
        })
}

/// Replicas of one server need different numbers; ours is drawn anew for each connection, from the upper half,
/// where nobody numbers by hand.
pub(super) fn server_id() -> u32 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    random as u32 | 0x8000_0000
}

fn sids(set: &GtidSet) -> Result<Vec<Sid<'static>>> {
    set.iter()
        .map(|(source, intervals)| {
            let mut text = source.to_owned();
            for (low, high) in intervals {
                text.push_str(&format!(":{low}-{high}"));
            }
            text.parse()
                .map_err(|error: std::io::Error| Error::bug(format!("send GTID set {text:?}")).because(error))
        })
        .collect()
}
