//! Writes into one MySQL or MariaDB server: one session, at most one open transaction.
//!
//! Owns: the apply session, the checkpoint that is also the marker, and [`Target::attempt`], [`Target::read`],
//! [`Target::write`]. Refuses: deciding anything (see `merge`) and building statement text (see `sql`).
//! Fails: what the data caused is an answer (`false`, [`Written`]) and undone by a savepoint; everything else is an
//! error by [`fail`], after which the caller rolls back. A COMMIT without an answer is ambiguous.
//!
//! There is no RETURNING: an attempt is applied whole, which the counts of rows found say, or not at all.

mod beside;
mod chunk;
mod foreign;
mod image;
mod load;
mod look;
mod parked;
mod resync;
mod trade;
mod user;

pub(super) use parked::take;

use super::codec::decode_select;
use super::operations::{self, LeaseRow};
use super::source::current_position;
use super::sql::{self, Sql};
use super::{Flavor, connect, evidence, fail, flavor};
use crate::access::Access;
use crate::batch::{self, Group, Verb};
use crate::error::{Class, Error, Reason, Result};
use crate::model::conflict::{Conflict, ConflictKind, Local, Settling};
use crate::model::operation::{HeldTable, gone, not_leased};
use crate::model::origin::Segment;
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use crate::model::sync::Checkpoint;
use crate::model::value::{Row as Cells, Value};
use crate::plan::{Key, Move, Shape, Write, WriteOp, Written};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, ServerError, params};
use std::collections::HashMap;

/// Bytes of values in one packet; hexadecimal doubles them.
const BYTES_MAX: usize = 1 << 20;

/// Largest value in a row list on MariaDB. 10.11 returns wrong bytes, or dies, when a derived table's literals are
/// longer than 65,535 bytes (tried up to there, and beyond); half of that leaves room for other versions.
const DERIVED_BYTES_MAX: usize = 32 << 10;

/// Left free in a packet for what is sent around the statement.
const PACKET_SPARE: usize = 1024;

/// One that exists already is replaced, so that none needs to be released.
const SAVEPOINT: &str = "SAVEPOINT tidelock";
const UNDO: &str = "ROLLBACK TO SAVEPOINT tidelock";

pub struct Target {
    conn: Conn,
    node: String,
    flavor: Flavor,
    /// Longest statement the server takes.
    packet_max: usize,
    /// Since the transaction began nothing failed that may have ended it.
    is_whole: bool,
    writes_as: Author,
}

/// On whose account rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    /// The other side's.
    Peer,
    /// Our own: the log tells of it.
    Own,
    /// A person's: triggers fire.
    User,
}

/// A statement and what its outcome must be for the batch to count.
struct Step {
    sql: Sql,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Anything,
    /// Rows found.
    Found(u64),
    /// A query without rows.
    Nothing,
}

/// Why a batch was undone.
enum Refusal {
    Server(ServerError),
    /// A count was not as expected.
    Contested,
    TooLarge,
}

impl Target {
    /// `merge`: the other side reads this server's binlog, so it must hold what we write, row by row.
    pub async fn open(access: &Access, merge: bool) -> Result<Target> {
        let mut conn = connect(access).await?;
        let flavor = flavor(&mut conn)
            .await
            .map_err(|error| error.node(&access.node))?;
        let mut target = Target {
            conn,
            node: access.node.clone(),
            flavor,
            packet_max: 0,
            is_whole: false,
            writes_as: Author::Peer,
        };
        target.refuse_unfit(merge).await?;
        let doing = "set up the apply session";
        if let Err(error) = target.conn.query_drop(sql::SESSION).await {
            let lacks_right = has_code(&error, &[1227]);
            let error = target.failed(doing, error);
            return Err(match lacks_right {
                true => error.hint("GRANT SESSION_VARIABLES_ADMIN ON *.* TO the account of this node's url;"),
                false => error,
            });
        }
        // Noticed here, before anything is read.
        let found = target
            .conn
            .query_drop("SELECT 1 FROM tidelock.checkpoint LIMIT 1")
            .await;
        match found {
            Ok(()) => Ok(target),
            Err(error) => {
                let is_missing = has_code(&error, &[1049, 1146]);
                let error = target.failed("find the control database", error);
                Err(match is_missing {
                    true => error.hint("run `tidelock setup --execute`"),
                    false => error,
                })
            }
        }
    }

    async fn refuse_unfit(&mut self, merge: bool) -> Result<()> {
        const QUERY: &str = "SHOW VARIABLES WHERE Variable_name IN \
            ('read_only', 'innodb_read_only', 'max_allowed_packet', 'log_bin', 'binlog_format')";
        let doing = "open the target for writing";
        let rows: Vec<(String, String)> = match self.conn.query(QUERY).await {
            Ok(rows) => rows,
            Err(error) => return Err(self.failed(doing, error)),
        };
        let variables: HashMap<String, String> = rows.into_iter().collect();
        let value = |name: &str| variables.get(name).map_or("", String::as_str);
        let refused = Error::definite(doing).node(&self.node);
        if value("read_only") != "OFF" || value("innodb_read_only") == "ON" {
            return Err(Error::transient(doing)
                .node(&self.node)
                .why("the server is read-only")
                .hint(
                    "it goes on when the server takes writes: use the primary's address, or: \
                     SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF;",
                ));
        }
        if merge && (value("log_bin") != "ON" || !["ROW", ""].contains(&value("binlog_format"))) {
            return Err(refused
                .why("it does not log rows, so the other side could not tell our writes from a user's")
                .hint("set log_bin and binlog_format = ROW in the server's configuration and restart it"));
        }
        let packet: usize = value("max_allowed_packet").parse().unwrap_or(1 << 20);
        self.packet_max = packet.saturating_sub(PACKET_SPARE);
        Ok(())
    }

    /// The row of the greatest seq over all lanes.
    pub async fn checkpoint(&mut self, sync: &str, link: &str) -> Result<Option<Checkpoint>> {
        type Stored = (i64, i64, i64, String, Option<String>, String);
        let doing = format!("read the checkpoint of {link}");
        let row: Option<Stored> = match self.conn.query_first(sql::checkpoint(sync, link)).await {
            Ok(row) => row,
            Err(error) => return Err(self.failed(doing, error)),
        };
        let Some((lane, epoch, seq, position, settle, source_identity)) = row else {
            return Ok(None);
        };
        Checkpoint::stored(lane, (epoch, seq), &position, settle.as_deref(), source_identity)
            .map(Some)
            .map_err(|error| Error::definite(&*doing).node(&self.node).because(error))
    }

    /// The first checkpoint of a link, in a transaction of its own.
    pub async fn create_checkpoint(&mut self, mv: &Move) -> Result<()> {
        let doing = format!("create the checkpoint of {}", mv.marker.link);
        match self.conn.query_drop(sql::create_checkpoint(mv)).await {
            Ok(()) => Ok(()),
            Err(mysql_async::Error::Server(error)) if is_unique(&error) => Err(Error::definite(doing)
                .node(&self.node)
                .why("there is one already")),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// Fences whoever held the link: raises the epoch of all lanes, which waits for a transaction of theirs that is
    /// still open, then reads where they got to. Only the holder of the lease may: that is looked at last, and the
    /// lease cannot change hands before our commit.
    pub async fn take_over(&mut self, sync: &str, link: &str, instance: &str) -> Result<Option<Checkpoint>> {
        let doing = format!("take over {link}");
        let raised = self
            .packet(&[b"START TRANSACTION", &sql::take_over(sync, link)])
            .await;
        if let Err(error) = raised {
            return Err(self.failed(doing, error));
        }
        let locked = format!("{} FOR UPDATE", operations::LEASE);
        let lease: Option<LeaseRow> = match self.conn.exec_first(locked, params! { sync, link }).await {
            Ok(lease) => lease,
            Err(error) => return Err(self.failed(doing, error)),
        };
        let is_ours = lease.as_ref().is_some_and(|(holder, ..)| holder == instance);
        if !is_ours || lease.as_ref().is_none_or(|(.., left_ms, _)| *left_ms <= 0) {
            self.rollback().await?;
            let holder = lease.map(|(_, holder, ..)| holder).unwrap_or_default();
            return Err(not_leased(&doing, is_ours, &holder).node(&self.node));
        }
        if let Err(error) = self.conn.query_drop("COMMIT").await {
            return Err(self.failed(doing, error));
        }
        self.checkpoint(sync, link).await
    }

    /// Opens the transaction and moves the checkpoint, in one round trip.
    pub async fn begin(&mut self, mv: &Move) -> Result<()> {
        let doing = format!("move the checkpoint of {}", mv.marker.link);
        self.is_whole = true;
        self.writes_as = author(mv);
        let moved = self.packet(&[b"START TRANSACTION", &sql::begin(mv)]).await;
        match moved {
            Ok(outcomes) if outcomes.last().is_some_and(|outcome| outcome.found == 1) => Ok(()),
            Ok(_) => {
                self.rollback().await?;
                Err(Error::definite(doing)
                    .node(&self.node)
                    .reason(Reason::Fenced)
                    .why(format!(
                        "it is not at epoch {} and seq {} any more: another instance runs this link",
                        mv.epoch, mv.from_seq
                    ))
                    .hint("stop the other instance, or leave the link to it"))
            }
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// A further marker in the open transaction.
    pub async fn segment(&mut self, mv: &Move) -> Result<()> {
        let doing = "write a marker";
        self.writes_as = author(mv);
        match self.packet(&[&sql::mark(mv)]).await {
            Ok(outcomes) if outcomes[0].found == 1 => Ok(()),
            Ok(_) => Err(self.broken(Error::bug(doing).why("the checkpoint is not where we moved it"))),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// A DELETE and no TRUNCATE, which would commit what stands before it.
    pub async fn empty(&mut self, shape: &Shape) -> Result<()> {
        match self.packet(&[&sql::empty(&shape.table.id)]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed("empty the table", error).table(&shape.table.id)),
        }
    }

    /// Writes what is uncontested, in sets. `false` = it, or another row of its chunk, is not, and nothing of it was
    /// changed.
    pub async fn attempt(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<bool>> {
        let mut applied = vec![false; writes.len()];
        for chunk in batch::chunks(writes, self.bytes_max()) {
            let mut groups = batch::attempt(shape, writes, &chunk);
            let inserted = chunk.iter().copied();
            let inserted = inserted.filter(|index| matches!(writes[*index].op, WriteOp::Insert { .. }));
            groups.extend(batch::stamp(shape, inserted.collect()));
            let steps = self.steps(shape, writes, &groups);
            if self.try_steps(shape, steps).await?.is_ok() {
                for index in chunk {
                    applied[index] = true;
                }
            }
        }
        Ok(applied)
    }

    /// What is under these keys, locked until the transaction ends.
    pub async fn read(&mut self, shape: &Shape, keys: &[Key]) -> Result<Vec<Local>> {
        let mut locals = vec![Local::default(); keys.len()];
        for range in batch::key_chunks(keys, self.bytes_max()) {
            // The join locks in the order of its list: the same order everywhere makes deadlocks rare.
            let mut numbered: Vec<(usize, &Key)> = range.map(|index| (index, &keys[index])).collect();
            numbered.sort_by_cached_key(|(_, key)| lock_order(key));
            self.complete(shape, &numbered).await?;
            let statement = sql::read(self.flavor, shape, &numbered);
            for row in self.prepared(shape, statement).await? {
                let (number, cells) = self.decode(shape, row)?;
                let Some(local) = locals.get_mut(number) else {
                    return Err(self.broken(Error::bug("match rows with keys").table(&shape.table.id)));
                };
                local.row_stamp = batch::row_stamp(shape, &cells);
                local.row = Some(cells);
            }
            let Some(stamps) = &shape.stamps else { continue };
            let statement = sql::read_tombstones(self.flavor, shape, stamps, &numbered);
            for (number, version, origin) in self.stamped(statement).await? {
                if let Some(local) = locals.get_mut(number) {
                    local.tombstone = Some(Stamp::delete(version, origin));
                }
            }
        }
        Ok(locals)
    }

    /// The number of the key and its row. Generated columns are left out, as they are of rows to write.
    fn decode(&self, shape: &Shape, row: Row) -> Result<(usize, Cells)> {
        let mut found = row.unwrap().into_iter();
        let number = match found.next() {
            Some(mysql_async::Value::Int(number)) => usize::try_from(number).ok(),
            Some(mysql_async::Value::UInt(number)) => usize::try_from(number).ok(),
            _ => None,
        };
        let mut cells = vec![None; shape.table.columns.len()];
        for ((index, column), cell) in shape.stored().zip(found) {
            let value = decode_select(column, cell);
            cells[index] = Some(value.map_err(|error| error.node(&self.node).table(&shape.table.id))?);
        }
        Ok((number.unwrap_or(usize::MAX), cells.into_iter().collect()))
    }

    /// Prepared, because only then values arrive exact. Not kept: the keys are in its text.
    async fn prepared(&mut self, shape: &Shape, sql: Sql) -> Result<Vec<Row>> {
        let rows = async {
            let statement = self.conn.prep(sql).await?;
            let rows = self.conn.exec(&statement, ()).await;
            self.conn.close(statement).await?;
            rows
        };
        match rows.await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(self.failed("read rows by key", error).table(&shape.table.id)),
        }
    }

    /// Writes what was decided, after `read` locked the rows: in sets; then, when unique values stand in each
    /// other's way, as delete and insert; then row by row.
    pub async fn write(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        match (shape.beside(), self.writes_as) {
            (Some(_), Author::Own) => self.write_anew(shape, writes).await,
            (Some(_), Author::User) => self.write_as_user(shape, writes).await,
            (Some(_), Author::Peer) | (None, _) => self.write_all(shape, writes).await,
        }
    }

    async fn write_all(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        let mut written = vec![Written::Done; writes.len()];
        for chunk in batch::chunks(writes, self.bytes_max()) {
            let steps = self.steps(shape, writes, &batch::write(shape, writes, &chunk));
            match self.try_steps(shape, steps).await? {
                Ok(()) => {}
                Err(Refusal::Server(error))
                    if is_unique(&error) && self.replace(shape, writes, &chunk).await? => {}
                Err(_) => {
                    for &index in &chunk {
                        written[index] = self.write_one(shape, writes, index).await?;
                    }
                }
            }
        }
        self.untangle(shape, writes, &mut written).await?;
        Ok(written)
    }

    async fn write_one(&mut self, shape: &Shape, writes: &[Write], index: usize) -> Result<Written> {
        let steps = self.steps(shape, writes, &batch::write(shape, writes, &[index]));
        let error = match self.try_steps(shape, steps).await? {
            Ok(()) => return Ok(Written::Done),
            Err(Refusal::Contested) => return Ok(Written::Lost),
            Err(Refusal::TooLarge) => return Ok(self.too_large()),
            Err(Refusal::Server(error)) => error,
        };
        if !is_unique(&error) {
            return Ok(Written::Refused(without_value(&error.message)));
        }
        if matches!(writes[index].op, WriteOp::Insert { .. }) {
            let found = self
                .packet(&[&sql::exists(self.flavor, shape, writes, &[index])])
                .await;
            match found {
                Ok(outcomes) if outcomes[0].rows > 0 => return Ok(Written::Lost),
                Ok(_) => {}
                Err(error) => return Err(self.failed("find a row by key", error)),
            }
        }
        Ok(Written::UniqueTaken(unique_name(
            &error.message,
            &shape.table.id.name,
        )))
    }

    /// Stores conflicts with the rows; one that is there already stays as it is.
    pub async fn record(&mut self, sync: &str, link: &str, conflicts: &[Conflict]) -> Result<()> {
        // Without it the record is less, and nothing else depends on it: the account may not see where the log ends.
        let position = current_position(&mut self.conn, self.flavor).await;
        let position = position.map_or_else(|_| String::new(), |position| position.to_string());
        for range in batch::conflict_chunks(conflicts, self.bytes_max()) {
            let chunk = &conflicts[range];
            let whole = evidence::record(sync, link, chunk, &position);
            let statements: Vec<Sql> = match whole.len() <= self.packet_max {
                true => vec![whole],
                false => chunk
                    .iter()
                    .map(|one| self.record_one(sync, link, one, &position))
                    .collect(),
            };
            for statement in statements {
                if let Err(error) = self.conn.query_drop(statement).await {
                    return Err(self.failed("record conflicts", error));
                }
            }
        }
        Ok(())
    }

    /// A conflict is recorded in any case, at worst without its rows.
    fn record_one(&self, sync: &str, link: &str, conflict: &Conflict, position: &str) -> Sql {
        let whole = evidence::record(sync, link, std::slice::from_ref(conflict), position);
        if whole.len() <= self.packet_max {
            return whole;
        }
        let without_images = Conflict {
            base: None,
            local: None,
            incoming: None,
            detail: format!(
                "{} (the rows are larger than max_allowed_packet and left out)",
                conflict.detail
            ),
            ..conflict.clone()
        };
        evidence::record(sync, link, &[without_images], position)
    }

    /// In the open transaction: what was recorded of these rows, or of all of the table's, was none.
    pub async fn withdraw(
        &mut self,
        link: (&str, &str),
        table: &TableId,
        kind: ConflictKind,
        keys: &[String],
    ) -> Result<()> {
        match self
            .packet(&[&evidence::withdraw_sql(link, table, kind, keys)])
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed("withdraw records of conflicts", error)),
        }
    }

    /// In the open transaction: notes how recorded conflicts were settled. Returns how many records there were.
    pub async fn settle_conflicts(
        &mut self,
        sync: &str,
        ids: &[String],
        settling: Settling<'_>,
    ) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        match self.packet(&[&evidence::settle_sql(sync, ids, settling)]).await {
            Ok(outcomes) => Ok(outcomes[0].found),
            Err(error) => Err(self.failed("note how a conflict was settled", error)),
        }
    }

    /// In the open transaction: the table rests here until an operator wants it taken up.
    pub async fn hold(&mut self, sync: &str, held: &HeldTable) -> Result<()> {
        match self.packet(&[&sql::hold(sync, held)]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed("hold a table", error)),
        }
    }

    /// In the open transaction: these held tables are applied up to here, or, with none, are held no more.
    pub async fn held_at(&mut self, link: (&str, &str), tables: &[TableId], at: Option<&str>) -> Result<()> {
        let doing = "note how far held tables are";
        match self.packet(&[&sql::held_at(link, tables, at)]).await {
            Ok(outcomes) if outcomes[0].found == tables.len() as u64 => Ok(()),
            Ok(_) => Err(self.broken(gone(doing))),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    pub async fn commit(&mut self) -> Result<()> {
        let doing = "commit";
        if !std::mem::take(&mut self.is_whole) {
            return Err(Error::bug(doing)
                .node(&self.node)
                .why("a statement of the transaction failed"));
        }
        let Err(error) = self.conn.query_drop("COMMIT").await else {
            return Ok(());
        };
        let (is_answer, why) = (matches!(&error, mysql_async::Error::Server(_)), error.to_string());
        let error = fail(doing, error).node(&self.node);
        // A server that shuts down, or ends this session, does not say whether it committed before.
        match is_answer && error.class() != Class::Transient {
            true => Err(error),
            false => Err(Error::ambiguous(doing).node(&self.node).why(why)),
        }
    }

    pub async fn rollback(&mut self) -> Result<()> {
        self.is_whole = false;
        match self.conn.query_drop("ROLLBACK").await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("roll back", error)),
        }
    }

    /// The server takes no such statement; 1 GiB is the most that it can be told to take, of sessions that begin then.
    fn too_large(&self) -> Written {
        Written::Refused(format!(
            "as a statement the row is larger than max_allowed_packet ({} bytes; bytes are written as hex digits, two for \
             one): SET GLOBAL max_allowed_packet = 1073741824, the same in my.cnf, and restart tidelock run",
            self.packet_max + PACKET_SPARE
        ))
    }

    fn bytes_max(&self) -> usize {
        BYTES_MAX.min(self.packet_max / 4)
    }

    fn steps(&self, shape: &Shape, writes: &[Write], groups: &[Group]) -> Vec<Step> {
        let mut steps = Vec::with_capacity(groups.len());
        let groups: Vec<Group> = groups
            .iter()
            .flat_map(|group| self.without_large(writes, group))
            .collect();
        for group in &groups {
            let found = Expected::Found(sql::beside::found(shape, group));
            let (sql, expected) = match (group.verb, &shape.stamps) {
                (Verb::Delete | Verb::Clear, _) => (sql::delete(self.flavor, shape, writes, group), found),
                (Verb::Remove, _) => (sql::delete(self.flavor, shape, writes, group), Expected::Anything),
                (Verb::Vacant, _) => (
                    sql::exists(self.flavor, shape, writes, &group.at),
                    Expected::Nothing,
                ),
                (Verb::Update, _) => (sql::update(self.flavor, shape, writes, group), found),
                (Verb::Offer | Verb::Insert, _) => (sql::insert(shape, writes, group), Expected::Anything),
                (Verb::Bury, Some(stamps)) => {
                    (sql::bury(shape, stamps, writes, &group.at), Expected::Anything)
                }
                (Verb::Dominated, Some(stamps)) => (
                    sql::dominated(self.flavor, shape, stamps, writes, group),
                    Expected::Nothing,
                ),
                (Verb::Stamp, Some(_)) => (sql::beside::stamp(shape, writes, &group.at), Expected::Anything),
                (Verb::Bury | Verb::Dominated | Verb::Stamp, None) => {
                    unreachable!("made for merge tables only")
                }
            };
            steps.push(Step { sql, expected });
            if let (true, Some(stamps)) = (group.buried, &shape.stamps) {
                steps.push(Step {
                    sql: sql::bury(shape, stamps, writes, &group.at),
                    expected: Expected::Anything,
                });
            }
        }
        steps
    }

    /// Updates of rows with a large value go alone on MariaDB: see [`DERIVED_BYTES_MAX`].
    fn without_large(&self, writes: &[Write], group: &Group) -> Vec<Group> {
        if self.flavor == Flavor::Mysql || group.verb != Verb::Update {
            return vec![group.clone()];
        }
        let is_large = |index: &usize| {
            let cells = batch::cells(&writes[*index].op);
            let cells = cells.iter().flat_map(|row| row.0.iter().flatten());
            cells.into_iter().any(|value| value.bytes() > DERIVED_BYTES_MAX)
        };
        let (large, small): (Vec<usize>, Vec<usize>) = group.at.iter().partition(|index| is_large(index));
        let of = |at| Group { at, ..group.clone() };
        let alone = large.into_iter().map(|index| of(vec![index]));
        let together = (!small.is_empty()).then(|| of(small));
        together.into_iter().chain(alone).collect()
    }

    /// Runs the steps after a savepoint, all sent at once where they fit, and undoes them when one is refused.
    async fn try_steps(&mut self, shape: &Shape, steps: Vec<Step>) -> Result<Result<(), Refusal>> {
        if steps.iter().any(|step| step.sql.len() > self.packet_max) {
            return Ok(Err(Refusal::TooLarge));
        }
        let mut statements: Vec<&[u8]> = vec![SAVEPOINT.as_bytes()];
        statements.extend(steps.iter().map(|step| step.sql.as_slice()));
        let fits = statements.iter().map(|sql| sql.len() + 1).sum::<usize>() <= self.packet_max;
        let outcomes = match fits {
            true => self.packet(&statements).await,
            false => self.one_by_one(&statements).await,
        };
        let refusal = match outcomes {
            Ok(outcomes) => {
                let met = steps
                    .iter()
                    .zip(&outcomes[1..])
                    .all(|(step, outcome)| match step.expected {
                        Expected::Anything => true,
                        Expected::Found(rows) => outcome.found == rows,
                        Expected::Nothing => outcome.rows == 0,
                    });
                if met {
                    return Ok(Ok(()));
                }
                Refusal::Contested
            }
            Err(mysql_async::Error::Server(error)) if is_refusal(&error) => Refusal::Server(error),
            Err(error) => return Err(self.failed("write rows", error).table(&shape.table.id)),
        };
        match self.conn.query_drop(UNDO).await {
            Ok(()) => Ok(Err(refusal)),
            Err(error) => Err(self.failed("roll back to a savepoint", error)),
        }
    }

    async fn one_by_one(&mut self, statements: &[&[u8]]) -> mysql_async::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(statements.len());
        for statement in statements {
            outcomes.extend(self.packet(&[statement]).await?);
        }
        Ok(outcomes)
    }

    /// Sends the statements as one packet; the server stops at the first that fails.
    async fn packet(&mut self, statements: &[&[u8]]) -> mysql_async::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(statements.len());
        let mut result = self.conn.query_iter(statements.join(&b';')).await?;
        for _ in statements {
            let found = result.affected_rows();
            // The last result is complete when it has no rows; asking for them would wait for one more result.
            let rows: Vec<Row> = match result.is_empty() {
                true => Vec::new(),
                false => result.collect().await?,
            };
            outcomes.push(Outcome {
                found,
                rows: rows.len(),
            });
        }
        result.drop_result().await?;
        Ok(outcomes)
    }

    fn failed(&mut self, doing: impl Into<String>, error: mysql_async::Error) -> Error {
        self.broken(fail(doing, error))
    }

    /// A deadlock has ended the transaction already; going on would commit half of it.
    fn broken(&mut self, error: Error) -> Error {
        self.is_whole = false;
        error.node(&self.node)
    }
}

fn author(mv: &Move) -> Author {
    match mv.marker.segment {
        Segment::Own => Author::Own,
        Segment::Applied => Author::Peer,
    }
}

/// Did the server refuse with one of these?
fn has_code(error: &mysql_async::Error, codes: &[u16]) -> bool {
    matches!(error, mysql_async::Error::Server(error) if codes.contains(&error.code))
}

/// What one statement of a packet answered.
struct Outcome {
    /// Rows found (not only changed) by a write.
    found: u64,
    /// Rows of a query.
    rows: usize,
}

/// Numbers by size, everything else by its bytes.
fn lock_order(key: &Key) -> Vec<u8> {
    let mut order = Vec::new();
    for value in key {
        let number = match value {
            Value::Int(number) => Some(i128::from(*number)),
            Value::UInt(number) => Some(i128::from(*number)),
            _ => None,
        };
        match number {
            Some(number) => order.extend_from_slice(&(number ^ i128::MIN).to_be_bytes()),
            None => value.key_bytes(&mut order),
        }
    }
    order
}

/// Did the data cause it? SQLSTATE classes 22 and 23 and SIGNAL of a trigger, and what has no class of its own.
fn is_refusal(error: &ServerError) -> bool {
    const OTHERS: [u16; 24] = [
        // No default; value cut; wrong value, for a function, for a column; check constraint (both engines).
        1364, 1265, 1366, 1411, 1367, 3819, 4025,
        // Row or index entry too large; invalid character; division by zero; geometry.
        1118, 1071, 1713, 1300, 1977, 1365, 1416, 1690,
        // JSON: text, character set, depth, document, number.
        3140, 3141, 3144, 3146, 3157, 3158, 3037,
        // A value of a generated column that is out of range; no partition takes the row.
        1906, 1526,
    ];
    let class = error.state.get(..2).unwrap_or_default();
    ["22", "23", "45"].contains(&class) || OTHERS.contains(&error.code) || is_unique(error)
}

fn is_unique(error: &ServerError) -> bool {
    matches!(error.code, 1062 | 1586 | 1022)
}

/// `Duplicate entry '..' for key 't.name'`: the name, without the table's that MySQL puts in front.
fn unique_name(message: &str, table: &str) -> String {
    let quoted = message
        .rsplit_once("for key '")
        .map_or("unique", |(_, name)| name);
    let name = quoted.trim_end_matches('\'');
    let own = name.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'));
    own.unwrap_or(name).to_owned()
}

/// `Incorrect integer value: 'abc' for column 'a' at row 1` and its like quote the value between a colon and the
/// column.
fn without_value(message: &str) -> String {
    let Some((what, rest)) = message.split_once(": ") else {
        return message.to_owned();
    };
    match rest.rfind(" for column").or_else(|| rest.rfind(" at position")) {
        Some(at) => format!("{what}{}", &rest[at..]),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_column_and_never_the_value() {
        assert_eq!(
            without_value("Incorrect datetime value: 'x for column y' for column 'a' at row 1"),
            "Incorrect datetime value for column 'a' at row 1"
        );
        assert_eq!(
            without_value("Column 'a' cannot be null"),
            "Column 'a' cannot be null"
        );
        assert_eq!(
            without_value("Invalid JSON text: \"Invalid value.\" at position 0 in value for column 't.j'."),
            "Invalid JSON text for column 't.j'."
        );
    }

    #[test]
    fn unique_keys_are_named_as_the_user_named_them() {
        let message = "Duplicate entry 'for key 'x' for key 't.mail'";
        assert_eq!(unique_name(message, "t"), "mail");
        assert_eq!(
            unique_name("Duplicate entry 'a' for key 'PRIMARY'", "t"),
            "PRIMARY"
        );
    }

    #[test]
    fn keys_are_locked_by_number() {
        let key = |number| -> Key { Box::new([Value::Int(number)]) };
        assert!(lock_order(&key(-1)) < lock_order(&key(0)));
        assert!(lock_order(&key(9)) < lock_order(&key(10)));
    }
}
