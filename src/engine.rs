//! The closed set of engines: [`Source`], [`Snapshot`], [`Target`] and [`Node`] over PostgreSQL and MySQL/MariaDB.
//!
//! Owns: which engine a call goes to, and what one engine has no need of (a binlog takes no confirmation; a session of
//! PostgreSQL no goodbye). Only this file names both. Refuses: everything else: a method is a match, and its contract
//! stands at the engines' function of the same name. Fails: as that does.

macro_rules! on_target {
    ($self:ident, $target:ident => $call:expr) => {
        match $self {
            Target::Postgres($target) => $call,
            Target::Mysql($target) => $call,
        }
    };
}

mod copy;
mod image;
mod keys;
mod members;
mod resync;
mod tombstones;

pub use copy::{Snapshot, settle_position, start_position, visible};

use crate::access::{Access, SourceOptions};
use crate::error::{Error, Halt, Result, of_sync};
use crate::model::change::Step;
use crate::model::conflict::{Conflict, ConflictFilter, Local, Settling, StoredConflict};
use crate::model::log::{Distance, LogEnd, Place};
use crate::model::operation::{HeldTable, Instance, Lease, Renewal, Stop};
use crate::model::parked::{MissedBump, Parked, ParkedKey};
use crate::model::position::Position;
use crate::model::schema::{Engine, ForeignKey, Table, TableId};
use crate::model::stamp::Rank;
use crate::model::sync::{CatalogTable, Checkpoint, Finding, LinkStatus, Retention, Scope, Server, Size};
use crate::model::value::Row;
use crate::plan::{Key, Move, Shape, Write, Written};
use crate::schema::Definition;
use crate::{mysql, postgres};
use std::time::Duration;
use tokio::sync::watch;

pub enum Source {
    Postgres(Box<postgres::source::Source>),
    Mysql(Box<mysql::source::Source>),
}

impl Source {
    pub async fn open(engine: Engine, options: SourceOptions, from: &Position) -> Result<Source> {
        Ok(match engine {
            Engine::Postgres => {
                Source::Postgres(Box::new(postgres::source::Source::open(options, from).await?))
            }
            Engine::Mysql | Engine::Mariadb => {
                Source::Mysql(Box::new(mysql::source::Source::open(options, from).await?))
            }
        })
    }

    /// The transaction at which the link stopped and from which nobody has taken it on.
    pub fn stopped_at(&mut self, transaction: String) {
        match self {
            Source::Postgres(_) => {}
            Source::Mysql(source) => source.stopped_at(transaction),
        }
    }

    /// The next step; passes on what was confirmed meanwhile.
    pub async fn next(&mut self, confirmed: &mut watch::Receiver<Option<Position>>) -> Result<Step> {
        match self {
            Source::Postgres(source) => loop {
                tokio::select! {
                    step = source.next() => return step,
                    Ok(()) = confirmed.changed() => {
                        if let Some(position) = &*confirmed.borrow_and_update() {
                            source.confirm(position);
                        }
                    }
                }
            },
            // A binlog is kept by time, not by its readers: there is nothing to confirm.
            Source::Mysql(source) => source.next().await,
        }
    }

    /// Called while the consumer is busy, so that the server does not take us for dead.
    pub async fn keepalive(&mut self) -> Result<()> {
        match self {
            Source::Postgres(source) => source.keepalive().await,
            Source::Mysql(source) => source.keepalive().await,
        }
    }
}

pub enum Target {
    Postgres(Box<postgres::target::Target>),
    Mysql(Box<mysql::target::Target>),
}

impl Target {
    pub async fn open(engine: Engine, access: &Access, merge: bool) -> Result<Target> {
        Ok(match engine {
            Engine::Postgres => {
                Target::Postgres(Box::new(postgres::target::Target::open(access, merge).await?))
            }
            Engine::Mysql | Engine::Mariadb => {
                Target::Mysql(Box::new(mysql::target::Target::open(access, merge).await?))
            }
        })
    }

    /// A session that writes like a user's.
    pub async fn open_as_user(engine: Engine, access: &Access) -> Result<Target> {
        Ok(match engine {
            Engine::Postgres => {
                Target::Postgres(Box::new(postgres::target::Target::open_as_user(access).await?))
            }
            Engine::Mysql | Engine::Mariadb => {
                Target::Mysql(Box::new(mysql::target::Target::open_as_user(access).await?))
            }
        })
    }

    /// Opens a transaction that moves no checkpoint.
    pub async fn start(&mut self) -> Result<()> {
        on_target!(self, target => target.start().await)
    }

    pub async fn audit(
        &mut self,
        link: (&str, &str),
        action: &str,
        operator: &str,
        detail: &str,
    ) -> Result<()> {
        on_target!(self, target => target.audit(link, action, operator, detail).await)
    }

    pub async fn floor(&mut self, table: &TableId) -> Result<i64> {
        on_target!(self, target => target.floor(table).await)
    }

    pub async fn raise_floor(&mut self, sync: &str, table: &TableId, floor: i64) -> Result<()> {
        on_target!(self, target => target.raise_floor(sync, table, floor).await)
    }

    pub async fn checkpoint(&mut self, sync: &str, link: &str) -> Result<Option<Checkpoint>> {
        on_target!(self, target => target.checkpoint(sync, link).await)
    }

    pub async fn create_checkpoint(&mut self, movement: &Move) -> Result<()> {
        on_target!(self, target => target.create_checkpoint(movement).await)
    }

    pub async fn take_over(&mut self, sync: &str, link: &str, instance: &str) -> Result<Option<Checkpoint>> {
        on_target!(self, target => target.take_over(sync, link, instance).await)
    }

    pub async fn begin(&mut self, movement: &Move) -> Result<()> {
        on_target!(self, target => target.begin(movement).await)
    }

    pub async fn segment(&mut self, movement: &Move) -> Result<()> {
        on_target!(self, target => target.segment(movement).await)
    }

    /// Deletes every row of the table.
    pub async fn empty(&mut self, shape: &Shape) -> Result<()> {
        on_target!(self, target => target.empty(shape).await)
    }

    pub async fn attempt(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<bool>> {
        on_target!(self, target => target.attempt(shape, writes).await)
    }

    pub async fn read(&mut self, shape: &Shape, keys: &[Key]) -> Result<Vec<Local>> {
        on_target!(self, target => target.read(shape, keys).await)
    }

    pub async fn stamps(&mut self, shape: &Shape, keys: &[Key]) -> Result<Vec<Local>> {
        on_target!(self, target => target.stamps(shape, keys).await)
    }

    pub async fn alike(&mut self, shape: &Shape, cells: &Key) -> Result<Vec<Row>> {
        on_target!(self, target => target.alike(shape, cells).await)
    }

    pub async fn write(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        on_target!(self, target => target.write(shape, writes).await)
    }

    pub async fn record(&mut self, sync: &str, link: &str, conflicts: &[Conflict]) -> Result<()> {
        on_target!(self, target => target.record(sync, link, conflicts).await)
    }

    pub async fn parked(&mut self, sync: &str, link: &str) -> Result<Vec<(Parked, usize)>> {
        on_target!(self, target => target.parked(sync, link).await)
    }

    pub async fn parked_rows(&mut self, sync: &str, link: &str, keys: &[ParkedKey]) -> Result<Vec<Parked>> {
        on_target!(self, target => target.parked_rows(sync, link, keys).await)
    }

    pub async fn park(&mut self, sync: &str, link: &str, parked: &[Parked]) -> Result<()> {
        on_target!(self, target => target.park(sync, link, parked).await)
    }

    pub async fn unpark(&mut self, sync: &str, link: &str, keys: &[ParkedKey]) -> Result<u64> {
        on_target!(self, target => target.unpark(sync, link, keys).await)
    }

    pub async fn note_bumps(&mut self, sync: &str, link: &str, bumps: &[MissedBump]) -> Result<()> {
        on_target!(self, target => target.note_bumps(sync, link, bumps).await)
    }

    pub async fn foreign_keys(&mut self, tables: &[TableId]) -> Result<Vec<ForeignKey>> {
        on_target!(self, target => target.foreign_keys(tables).await)
    }

    pub async fn without_parent(
        &mut self,
        key: &ForeignKey,
        child: &Shape,
        keys: &[Key],
    ) -> Result<Vec<usize>> {
        on_target!(self, target => target.without_parent(key, child, keys).await)
    }

    /// How many rows of the child table have no parent by this key, at most so many, and the statement that shows them.
    /// `end`: either table of it.
    pub async fn orphans(&mut self, key: &ForeignKey, end: &Shape, most: u64) -> Result<(u64, String)> {
        on_target!(self, target => target.orphans(key, end, most).await)
    }

    /// Tables that any link of the sync holds here.
    pub async fn held_tables(&mut self, sync: &str) -> Result<Vec<TableId>> {
        on_target!(self, target => target.held_tables(sync).await)
    }

    pub async fn with_children(
        &mut self,
        key: &ForeignKey,
        parent: &Shape,
        keys: &[Key],
    ) -> Result<Vec<usize>> {
        on_target!(self, target => target.with_children(key, parent, keys).await)
    }

    /// In the open transaction: notes in the records of these conflicts how they were settled; open ones are so no more.
    pub async fn settle_conflicts(
        &mut self,
        sync: &str,
        ids: &[String],
        settling: Settling<'_>,
    ) -> Result<u64> {
        on_target!(self, target => target.settle_conflicts(sync, ids, settling).await)
    }

    pub async fn hold(&mut self, sync: &str, held: &HeldTable) -> Result<()> {
        on_target!(self, target => target.hold(sync, held).await)
    }

    pub async fn held_at(&mut self, link: (&str, &str), tables: &[TableId], at: Option<&str>) -> Result<()> {
        on_target!(self, target => target.held_at(link, tables, at).await)
    }

    pub async fn commit(&mut self) -> Result<()> {
        on_target!(self, target => target.commit().await)
    }

    pub async fn rollback(&mut self) -> Result<()> {
        on_target!(self, target => target.rollback().await)
    }
}

/// The engines know no sync apart from its scope: here the way to a new copy gets the sync's name.
fn named(findings: Result<Vec<Finding>>, scope: &Scope) -> Result<Vec<Finding>> {
    let named = |finding: Finding| Finding {
        fix: finding.fix.map(|fix| of_sync(&fix, &scope.sync)),
        ..finding
    };
    let findings = findings.map_err(|error| error.in_sync(&scope.sync))?;
    Ok(findings.into_iter().map(named).collect())
}

/// A database taking part, on an ordinary connection.
pub enum Node {
    Postgres(tokio_postgres::Client),
    Mysql(Box<mysql_async::Conn>),
}

impl Node {
    pub async fn connect(access: &Access, engine: Engine) -> Result<Node> {
        Ok(match engine {
            Engine::Postgres => Node::Postgres(postgres::connect(access).await?),
            Engine::Mysql | Engine::Mariadb => Node::Mysql(Box::new(mysql::connect(access).await?)),
        })
    }

    /// Says goodbye: MySQL and MariaDB count and log a session that just ends as aborted.
    pub async fn close(self) {
        if let Node::Mysql(conn) = self {
            // It is over either way.
            let _ = conn.disconnect().await;
        }
    }

    pub async fn server(&mut self) -> Result<Server> {
        match self {
            Node::Postgres(client) => postgres::server(client).await,
            Node::Mysql(conn) => {
                let flavor = mysql::flavor(conn).await?;
                mysql::server(conn, &flavor).await
            }
        }
    }

    /// The server's clock, in microseconds since 1970.
    pub async fn clock_us(&mut self) -> Result<i64> {
        match self {
            Node::Postgres(client) => postgres::clock_us(client).await,
            Node::Mysql(conn) => mysql::clock_us(conn).await,
        }
    }

    /// Which of the three engines answers.
    pub async fn engine(&mut self) -> Result<Engine> {
        match self {
            Node::Postgres(..) => Ok(Engine::Postgres),
            Node::Mysql(conn) => Ok(match mysql::flavor(conn).await? {
                mysql::Flavor::Mysql => Engine::Mysql,
                mysql::Flavor::Mariadb => Engine::Mariadb,
            }),
        }
    }

    pub async fn catalog(&mut self, tables: &[TableId]) -> Result<Vec<Option<CatalogTable>>> {
        match self {
            Node::Postgres(client) => postgres::catalog::tables(client, tables).await,
            Node::Mysql(conn) => mysql::catalog::tables(conn, tables).await,
        }
    }

    /// The foreign keys among these tables.
    pub async fn foreign_keys(&mut self, tables: &[TableId]) -> Result<Vec<ForeignKey>> {
        match self {
            Node::Postgres(client) => postgres::catalog::foreign_keys(client, tables).await,
            Node::Mysql(conn) => mysql::catalog::foreign_keys(conn, tables).await,
        }
    }

    /// The tables with all that stands around their columns.
    pub async fn definitions(&mut self, tables: &[TableId]) -> Result<Vec<Option<Definition>>> {
        match self {
            Node::Postgres(client) => postgres::definition::definitions(client, tables).await,
            Node::Mysql(conn) => mysql::definition::definitions(conn, tables).await,
        }
    }

    /// ENUM types that exist, in all schemas; only PostgreSQL has such.
    pub async fn enums(&mut self) -> Result<Vec<(TableId, Vec<String>)>> {
        match self {
            Node::Postgres(client) => postgres::definition::enums(client).await,
            Node::Mysql(..) => Ok(Vec::new()),
        }
    }

    /// Runs the owner's statements: all of them or none, where the engine can.
    pub async fn make(&mut self, statements: &[String]) -> Result<(), (usize, Error)> {
        match self {
            Node::Postgres(client) => postgres::definition::make(client, statements).await,
            Node::Mysql(conn) => mysql::definition::make(conn, statements).await,
        }
    }

    /// Sizes by the server's statistics; `None`: there is no such table.
    pub async fn sizes(&mut self, tables: &[TableId]) -> Result<Vec<Option<Size>>> {
        match self {
            Node::Postgres(client) => postgres::catalog::sizes(client, tables).await,
            Node::Mysql(conn) => mysql::catalog::sizes(conn, tables).await,
        }
    }

    /// The users' tables there are, in these schemas or in all.
    pub async fn list(&mut self, schemas: Option<&[String]>) -> Result<Vec<TableId>> {
        match self {
            Node::Postgres(client) => postgres::catalog::list(client, schemas).await,
            Node::Mysql(conn) => mysql::catalog::list(conn, schemas).await,
        }
    }

    /// The tables that were set up for a sync.
    pub async fn recorded_tables(&mut self, sync: &str) -> Result<Vec<TableId>> {
        match self {
            Node::Postgres(client) => postgres::status::recorded_tables(client, sync).await,
            Node::Mysql(conn) => mysql::status::recorded_tables(conn, sync).await,
        }
    }

    pub async fn check(&mut self, scope: &Scope) -> Result<Vec<Finding>> {
        let findings = match self {
            Node::Postgres(client) => postgres::setup::check(client, scope).await,
            Node::Mysql(conn) => mysql::setup::check(conn, scope).await,
        };
        named(findings, scope)
    }

    /// The cheap part of `check` that can change while we run.
    pub async fn settings(&mut self, scope: &Scope) -> Result<Vec<Finding>> {
        let findings = match self {
            Node::Postgres(client) => postgres::setup::settings(client, scope).await,
            Node::Mysql(conn) => mysql::setup::settings(conn, scope).await,
        };
        named(findings, scope)
    }

    /// What happened to the tables that no log tells; what of it is harmless is noted. `is_start`: before anything is read.
    pub async fn unlogged(&mut self, scope: &Scope, is_start: bool) -> Result<Vec<Finding>> {
        let findings = match self {
            Node::Postgres(client) => postgres::setup::unlogged(client, scope, true, is_start).await,
            // All of it is in the binlog.
            Node::Mysql(..) => Ok(Vec::new()),
        };
        named(findings, scope)
    }

    pub async fn setup_sql(&mut self, scope: &Scope, peers: &[(Rank, String)]) -> Result<Vec<String>> {
        let done = match self {
            Node::Postgres(client) => postgres::setup::setup_sql(client, scope, peers).await,
            Node::Mysql(conn) => mysql::setup::setup_sql(conn, scope, peers).await,
        };
        done.map_err(|error| error.in_sync(&scope.sync))
    }

    pub async fn teardown_sql(&mut self, scope: &Scope) -> Result<Vec<String>> {
        match self {
            Node::Postgres(client) => postgres::setup::teardown_sql(client, scope).await,
            Node::Mysql(conn) => mysql::setup::teardown_sql(conn, scope).await,
        }
    }

    /// Runs what `setup_sql` then says, under the setup lock, and returns it.
    pub async fn setup(&mut self, scope: &Scope, peers: &[(Rank, String)]) -> Result<Vec<String>> {
        let done = match self {
            Node::Postgres(client) => postgres::setup::setup(client, scope, peers).await,
            Node::Mysql(conn) => mysql::setup::setup(conn, scope, peers).await,
        };
        done.map_err(|error| error.in_sync(&scope.sync))
    }

    /// Runs what `teardown_sql` then says, under the setup lock, and returns it.
    pub async fn teardown(&mut self, scope: &Scope) -> Result<Vec<String>> {
        match self {
            Node::Postgres(client) => postgres::setup::teardown(client, scope).await,
            Node::Mysql(conn) => mysql::setup::teardown(conn, scope).await,
        }
    }

    /// Statements as the engine's own client program takes them.
    pub fn script(&self, statements: &[String]) -> String {
        match self {
            Node::Postgres(..) => postgres::setup::script(statements),
            Node::Mysql(..) => mysql::setup::script(statements),
        }
    }

    /// Does the table hold any row?
    pub async fn has_rows(&mut self, table: &Table) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::status::has_rows(client, table).await,
            Node::Mysql(conn) => mysql::status::has_rows(conn, table).await,
        }
    }

    /// Where this server's log ends now.
    pub async fn position(&mut self) -> Result<Position> {
        match self {
            Node::Postgres(client) => postgres::status::position(client).await,
            Node::Mysql(conn) => mysql::status::position(conn).await,
        }
    }

    /// The end of this server's log as position, place and the server's time.
    pub async fn log_end(&mut self) -> Result<LogEnd> {
        match self {
            Node::Postgres(client) => postgres::log::end(client).await,
            Node::Mysql(conn) => mysql::log::end(conn).await,
        }
    }

    /// Bytes of log between two places.
    pub async fn log_bytes(&mut self, from: &Place, to: &Place) -> Result<u64> {
        match self {
            Node::Postgres(..) => postgres::log::bytes(from, to),
            Node::Mysql(conn) => mysql::log::bytes(conn, from, to).await,
        }
    }

    /// How far a position is behind the end of this server's log.
    pub async fn log_distance(&mut self, from: &Position) -> Result<Distance> {
        match self {
            Node::Postgres(client) => postgres::log::distance(client, from).await,
            Node::Mysql(conn) => mysql::log::distance(conn, from).await,
        }
    }

    /// A position behind everything committed so far, which the log will pass by itself.
    pub async fn barrier(&mut self) -> Result<Position> {
        match self {
            Node::Postgres(client) => postgres::status::barrier(client).await,
            Node::Mysql(conn) => mysql::status::position(conn).await,
        }
    }

    /// What this node, as a target, knows of a link.
    pub async fn link_status(&mut self, sync: &str, link: &str) -> Result<LinkStatus> {
        match self {
            Node::Postgres(client) => postgres::status::link_status(client, sync, link).await,
            Node::Mysql(conn) => mysql::status::link_status(conn, sync, link).await,
        }
    }

    /// This node, as a target: what a link stopped at last.
    pub async fn last_stop(&mut self, sync: &str, link: &str) -> Result<Option<Stop>> {
        let (_, stop) = match self {
            Node::Postgres(client) => postgres::operations::link_state(client, sync, link).await?,
            Node::Mysql(conn) => mysql::operations::link_state(conn, sync, link).await?,
        };
        Ok(stop)
    }

    /// This node, as a target: whose a link is. `None`: nobody ever ran it.
    pub async fn lease(&mut self, sync: &str, link: &str) -> Result<Option<Lease>> {
        match self {
            Node::Postgres(client) => postgres::operations::lease(client, sync, link).await,
            Node::Mysql(conn) => mysql::operations::lease(conn, sync, link).await,
        }
    }

    /// `dead`: an instance that is known to have ended, whose lease need not run out.
    pub async fn take_lease(
        &mut self,
        link: (&str, &str),
        instance: &Instance,
        ttl: Duration,
        dead: &str,
    ) -> Result<bool> {
        match self {
            Node::Postgres(client) => {
                postgres::operations::take_lease(client, link, instance, ttl, dead).await
            }
            Node::Mysql(conn) => mysql::operations::take_lease(conn, link, instance, ttl, dead).await,
        }
    }

    pub async fn renew_lease(
        &mut self,
        link: (&str, &str),
        instance: &str,
        ttl: Duration,
        figures: Option<&str>,
    ) -> Result<Renewal> {
        match self {
            Node::Postgres(client) => {
                postgres::operations::renew_lease(client, link, instance, ttl, figures).await
            }
            Node::Mysql(conn) => mysql::operations::renew_lease(conn, link, instance, ttl, figures).await,
        }
    }

    pub async fn release_lease(&mut self, sync: &str, link: &str, instance: &str) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::operations::release_lease(client, sync, link, instance).await,
            Node::Mysql(conn) => mysql::operations::release_lease(conn, sync, link, instance).await,
        }
    }

    /// Ends what other copies left open on this node for a link.
    pub async fn end_sessions(&mut self, sync: &str, link: &str, instance: &str) -> Result<u64> {
        match self {
            Node::Postgres(client) => postgres::operations::end_sessions(client, sync, link, instance).await,
            Node::Mysql(conn) => mysql::operations::end_sessions(conn, sync, link, instance).await,
        }
    }

    /// Pauses or resumes a link; `false`: it was so already.
    pub async fn want(
        &mut self,
        link: (&str, &str),
        paused: bool,
        reason: &str,
        operator: &str,
    ) -> Result<bool> {
        match self {
            Node::Postgres(client) => {
                postgres::operations::want(client, link, paused, reason, operator).await
            }
            Node::Mysql(conn) => mysql::operations::want(conn, link, paused, reason, operator).await,
        }
    }

    pub async fn record_stop(&mut self, sync: &str, link: &str, stop: &Stop) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::operations::record_stop(client, sync, link, stop).await,
            Node::Mysql(conn) => mysql::operations::record_stop(conn, sync, link, stop).await,
        }
    }

    /// Moves a link past the transaction it stopped at; `false`: it does not stand there any more.
    pub async fn skip(
        &mut self,
        link: (&str, &str),
        halt: (&Halt, &str),
        place: (i64, &[TableId]),
        operator: &str,
    ) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::operations::skip(client, link, halt, place, operator).await,
            Node::Mysql(conn) => mysql::operations::skip(conn, link, halt, place, operator).await,
        }
    }

    /// This node, as a target: the tables that links hold.
    pub async fn held(&mut self, sync: &str, link: Option<&str>) -> Result<Vec<HeldTable>> {
        match self {
            Node::Postgres(client) => postgres::held::held(client, sync, link).await,
            Node::Mysql(conn) => mysql::held::held(conn, sync, link).await,
        }
    }

    /// Which of these tables have a foreign key to the first one?
    pub async fn referring(&mut self, table: &TableId, among: &[TableId]) -> Result<Vec<TableId>> {
        match self {
            Node::Postgres(client) => postgres::held::referring(client, table, among).await,
            Node::Mysql(conn) => mysql::held::referring(conn, table, among).await,
        }
    }

    /// Wants a held table to be taken up; `false`: it is not held.
    pub async fn resume_table(
        &mut self,
        link: (&str, &str),
        table: &TableId,
        operator: &str,
    ) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::held::resume(client, link, table, operator).await,
            Node::Mysql(conn) => mysql::held::resume(conn, link, table, operator).await,
        }
    }

    /// Moves a held table past the transaction it stopped at; `false`: it does not stand there any more.
    pub async fn skip_held(
        &mut self,
        link: (&str, &str),
        table: &TableId,
        at_and_past: (&str, &str),
        operator: &str,
    ) -> Result<bool> {
        match self {
            Node::Postgres(client) => postgres::held::skip(client, link, table, at_and_past, operator).await,
            Node::Mysql(conn) => mysql::held::skip(conn, link, table, at_and_past, operator).await,
        }
    }

    /// How long this node, as a source, still keeps what a link has not read.
    pub async fn retained(&mut self, sync: &str, target: &str, checkpoint: &Position) -> Result<Retention> {
        match self {
            Node::Postgres(client) => postgres::status::retained(client, sync, target).await,
            Node::Mysql(conn) => mysql::status::retained(conn, checkpoint).await,
        }
    }

    /// This node, as a target: rows that links noted here, and that may have to be touched on the other side.
    pub async fn noted_bumps(&mut self, sync: &str, link: &str, limit: usize) -> Result<Vec<MissedBump>> {
        match self {
            Node::Postgres(client) => postgres::parked::noted_bumps(client, sync, link, limit).await,
            Node::Mysql(conn) => mysql::parked::noted_bumps(conn, sync, link, limit).await,
        }
    }

    /// All that a link has noted so far is in this node's log up to there.
    pub async fn locate_bumps(&mut self, sync: &str, link: &str, position: &str) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::parked::locate_bumps(client, sync, link, position).await,
            Node::Mysql(conn) => mysql::parked::locate_bumps(conn, sync, link, position).await,
        }
    }

    pub async fn drop_bumps(&mut self, sync: &str, link: &str, bumps: &[MissedBump]) -> Result<()> {
        match self {
            Node::Postgres(client) => postgres::parked::drop_bumps(client, sync, link, bumps).await,
            Node::Mysql(conn) => mysql::parked::drop_bumps(conn, sync, link, bumps).await,
        }
    }

    /// Why our sessions on this node wait for a lock, as far as the account may see; `None`: they do not.
    pub async fn waiting_for(&mut self) -> Result<Option<String>> {
        match self {
            Node::Postgres(client) => postgres::waits::waiting_for(client).await,
            Node::Mysql(conn) => mysql::waits::waiting_for(conn).await,
        }
    }

    /// As [`Target::settle_conflicts`], in a transaction of its own.
    pub async fn settle_conflicts(
        &mut self,
        sync: &str,
        ids: &[String],
        settling: Settling<'_>,
    ) -> Result<u64> {
        match self {
            Node::Postgres(client) => postgres::evidence::settle(client, sync, ids, settling).await,
            Node::Mysql(conn) => mysql::evidence::settle(conn, sync, ids, settling).await,
        }
    }

    /// Removes at most `limit` records of a link's conflicts that are older than `keep` and not open.
    pub async fn forget_conflicts(&mut self, link: (&str, &str), keep: Duration, limit: u32) -> Result<u64> {
        match self {
            Node::Postgres(client) => postgres::evidence::forget(client, link, keep, limit).await,
            Node::Mysql(conn) => mysql::evidence::forget(conn, link, keep, limit).await,
        }
    }

    /// Conflicts recorded on this node: see [`ConflictFilter`].
    pub async fn conflicts(&mut self, sync: &str, filter: &ConflictFilter) -> Result<Vec<StoredConflict>> {
        match self {
            Node::Postgres(client) => postgres::evidence::conflicts(client, sync, filter).await,
            Node::Mysql(conn) => mysql::evidence::conflicts(conn, sync, filter).await,
        }
    }
}
