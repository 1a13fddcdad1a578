//! Writes into one PostgreSQL database: one session, at most one open transaction.
//!
//! Owns: the apply session, the checkpoint and its marker, and [`Target::attempt`], [`Target::read`],
//! [`Target::write`]. Refuses: deciding anything (see `merge`) and building statement text (see `sql`).
//! Fails: what the data caused is an answer (`false`, [`Written`]) and undone by a savepoint; everything else is an
//! error by [`fail`], after which the caller rolls back. A COMMIT without an answer is ambiguous.

mod chunk;
mod foreign;
mod image;
mod load;
mod parked;
mod resync;
mod trade;
mod user;

use super::rows::{self, Step};
use super::{codec, connect, evidence, fail, held, sql};
use crate::access::Access;
use crate::batch::{self, Group, Verb};
use crate::error::{Error, Reason, Result};
use crate::model::conflict::{Conflict, ConflictKind, Local, Settling};
use crate::model::operation::{HeldTable, gone, not_leased};
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use crate::model::sync::Checkpoint;
use crate::model::value::Row as Cells;
use crate::plan::{Key, Move, Shape, Write, WriteOp, Written};
use bytestring::ByteString;
use futures_util::future::{join, join_all, join3};
use std::collections::{HashMap, HashSet};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

/// Prepared statements kept; a sync of many tables uses a handful for each. Beyond it all are prepared anew.
const STATEMENTS_MAX: usize = 1000;

/// Bytes of values in one statement, so that a batch needs a bounded amount of memory on both sides.
const BYTES_MAX: usize = 2 << 20;

const SAVEPOINT: &str = "SAVEPOINT tidelock";
const RELEASE: &str = "RELEASE SAVEPOINT tidelock";
const UNDO: &str = "ROLLBACK TO SAVEPOINT tidelock; RELEASE SAVEPOINT tidelock";

pub struct Target {
    client: Client,
    node: String,
    statements: HashMap<String, Statement>,
    /// Triggers fire.
    is_user: bool,
}

/// What became of statements run under a savepoint.
enum Tried {
    /// The rows of each.
    Done(Vec<Vec<Row>>),
    /// The data was refused and everything undone.
    Refused(tokio_postgres::Error),
}

impl Target {
    /// `merge`: the other side reads this database's log, so it must hold what we write.
    pub async fn open(access: &Access, merge: bool) -> Result<Target> {
        let mut target = Target {
            client: connect(access).await?,
            node: access.node.clone(),
            statements: HashMap::new(),
            is_user: false,
        };
        target.refuse_unfit(merge).await?;
        if let Err(error) = target.client.batch_execute(sql::SESSION).await {
            let denied = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
            let error = target.failed("set up the apply session", error);
            return Err(match denied {
                true => error.hint(format!(
                    "GRANT SET ON PARAMETER session_replication_role TO {};",
                    sql::quote(&access.user)
                )),
                false => error,
            });
        }
        // Prepared here, so that a database without the control schema is noticed before anything is read.
        target.statement("find the control schema", sql::MOVE).await?;
        Ok(target)
    }

    async fn refuse_unfit(&self, merge: bool) -> Result<()> {
        const QUERY: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
            current_setting('wal_level') = 'logical'";
        let doing = "open the target for writing";
        let row = self.client.query_one(QUERY, &[]).await;
        let row = row.map_err(|error| self.failed(doing, error))?;
        let answer = |index| row.try_get(index).map_err(|error| self.failed(doing, error));
        let (standby, read_only, logged): (bool, bool, bool) = (answer(0)?, answer(1)?, answer(2)?);
        let refused = Error::definite(doing).node(&self.node);
        let waiting = Error::transient(doing).node(&self.node);
        if standby {
            return Err(waiting
                .why("the server is a standby")
                .hint("it goes on when the server takes writes: use the primary's address, or: SELECT pg_promote();"));
        }
        if read_only {
            return Err(waiting
                .why("transactions are read-only (default_transaction_read_only)")
                .hint("it goes on when they are not: ALTER SYSTEM, DATABASE or ROLE .. SET default_transaction_read_only = off;"));
        }
        if merge && !logged {
            return Err(refused
                .why("wal_level is not logical, so the other side could not tell our writes from a user's")
                .hint("ALTER SYSTEM SET wal_level = logical; then restart the server"));
        }
        Ok(())
    }

    /// The row of the greatest seq over all lanes.
    pub async fn checkpoint(&mut self, sync: &str, link: &str) -> Result<Option<Checkpoint>> {
        let doing = format!("read the checkpoint of {link}");
        let rows = self.query(&doing, sql::CHECKPOINT, &[&sync, &link]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let wrong = |error| self.failed(&doing, error);
        let lane: i16 = row.try_get(0).map_err(wrong)?;
        let order = (row.try_get(1).map_err(wrong)?, row.try_get(2).map_err(wrong)?);
        let position: String = row.try_get(3).map_err(wrong)?;
        let settle: Option<String> = row.try_get(4).map_err(wrong)?;
        let identity: String = row.try_get(5).map_err(wrong)?;
        Checkpoint::stored(lane.into(), order, &position, settle.as_deref(), identity)
            .map(Some)
            .map_err(|error| Error::definite(&*doing).node(&self.node).because(error))
    }

    /// The first checkpoint of a link, in a transaction of its own.
    pub async fn create_checkpoint(&mut self, mv: &Move) -> Result<()> {
        let doing = format!("create the checkpoint of {}", mv.marker.link);
        let values = MoveValues::new(mv, mv.from_seq)?;
        let statement = self.statement(&doing, sql::CREATE_CHECKPOINT).await?;
        let created = self.client.execute(&statement, &values.parameters()[..12]).await;
        match created.map_err(|error| self.failed(&doing, error))? {
            1 => Ok(()),
            _ => Err(Error::definite(doing)
                .node(&self.node)
                .why("there is one already")),
        }
    }

    /// Fences whoever held the link: raises the epoch of all lanes, which waits for a transaction of theirs that is
    /// still open, then reads where they got to. Only the holder of the lease may: that is looked at last, and the
    /// lease cannot change hands before our commit.
    pub async fn take_over(&mut self, sync: &str, link: &str, instance: &str) -> Result<Option<Checkpoint>> {
        let doing = format!("take over {link}");
        let begun = self.client.batch_execute("BEGIN").await;
        begun.map_err(|error| self.failed(&doing, error))?;
        self.query(&doing, sql::TAKE_OVER, &[&sync, &link]).await?;
        let locked = format!("{} FOR UPDATE", sql::LEASE);
        let rows = self.query(&doing, &locked, &[&sync, &link]).await?;
        let wrong = |error| self.failed(&doing, error);
        let (mut holder, mut is_ours, mut left_ms) = (String::new(), false, 0_i64);
        if let Some(row) = rows.first() {
            is_ours = row.try_get::<_, &str>(0).map_err(wrong)? == instance;
            holder = row.try_get(1).map_err(wrong)?;
            left_ms = row.try_get(3).map_err(wrong)?;
        }
        if !is_ours || left_ms <= 0 {
            self.rollback().await?;
            return Err(not_leased(&doing, is_ours, &holder).node(&self.node));
        }
        let done = self.client.batch_execute("COMMIT").await;
        done.map_err(|error| self.failed(&doing, error))?;
        self.checkpoint(sync, link).await
    }

    /// Opens the transaction, moves the checkpoint and writes the marker, in one round trip.
    pub async fn begin(&mut self, mv: &Move) -> Result<()> {
        let doing = format!("move the checkpoint of {}", mv.marker.link);
        let values = MoveValues::new(mv, mv.from_seq)?;
        let statement = self.statement(&doing, sql::MOVE).await?;
        let parameters = values.parameters();
        let (begun, moved) = join(
            self.client.batch_execute(sql::BEGIN),
            self.client.query(&statement, &parameters),
        )
        .await;
        begun.map_err(|error| self.failed(&doing, error))?;
        if moved.map_err(|error| self.failed(&doing, error))?.len() == 1 {
            return Ok(());
        }
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

    /// A further marker in the open transaction; it may also say anew where the transaction ends.
    pub async fn segment(&mut self, mv: &Move) -> Result<()> {
        let doing = "write a marker";
        let values = MoveValues::new(mv, mv.marker.seq)?;
        match self.query(doing, sql::MARK, &values.parameters()).await?.len() {
            1 => Ok(()),
            _ => Err(Error::bug(doing)
                .node(&self.node)
                .why("the checkpoint is not where we moved it")),
        }
    }

    /// A DELETE and no TRUNCATE: readers of the table are not locked out, and foreign keys that point to it, which
    /// TRUNCATE checks even in a replica's session, are the source's business.
    pub async fn empty(&mut self, shape: &Shape) -> Result<()> {
        self.query("empty the table", &sql::empty(&shape.table.id), &[])
            .await
            .map(|_| ())
            .map_err(|error| error.table(&shape.table.id))
    }

    /// Writes what is uncontested, in sets. `false` = it is not, and nothing of it was changed.
    pub async fn attempt(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<bool>> {
        let mut applied = vec![false; writes.len()];
        for chunk in batch::chunks(writes, BYTES_MAX) {
            let steps = steps(shape, writes, batch::attempt(shape, writes, &chunk));
            if let Tried::Done(results) = self.try_steps(shape, &steps).await? {
                for index in self.applied(shape, writes, &steps, &results).await? {
                    applied[index] = true;
                }
            }
        }
        Ok(applied)
    }

    /// Which writes the statements of an attempt applied, after dominated inserts were taken back.
    async fn applied(
        &mut self,
        shape: &Shape,
        writes: &[Write],
        steps: &[Step<'_>],
        results: &[Vec<Row>],
    ) -> Result<Vec<usize>> {
        let (mut applied, mut inserted, mut dominated) = (Vec::new(), Vec::new(), HashSet::new());
        for (step, rows) in steps.iter().zip(results) {
            match step.verb {
                Verb::Insert => inserted.extend(&step.at),
                Verb::Offer if rows.len() == step.at.len() => inserted.extend(&step.at),
                Verb::Offer => inserted.extend(self.inserted(shape, writes, step, rows).await?),
                Verb::Dominated => dominated.extend(self.numbered(step, rows)?),
                Verb::Delete | Verb::Remove | Verb::Clear | Verb::Bury | Verb::Vacant | Verb::Update => {
                    applied.extend(self.numbered(step, rows)?);
                }
                Verb::Stamp => {}
            }
        }
        // A row that was here before we came is not ours to take back.
        let (back, kept): (Vec<usize>, Vec<usize>) =
            inserted.into_iter().partition(|index| dominated.contains(index));
        if !back.is_empty() {
            let step = rows::clear(shape, writes, &back);
            self.run(shape, "take back dominated inserts", &step).await?;
        }
        if let Some(group) = batch::stamp(shape, kept.clone()) {
            let step = rows::step(shape, writes, group);
            self.run(shape, "stamp inserted rows", &step).await?;
        }
        applied.extend(kept);
        Ok(applied)
    }

    /// Of an insert that left rows out: those whose row now lies where the insert put one.
    async fn inserted(
        &mut self,
        shape: &Shape,
        writes: &[Write],
        step: &Step<'_>,
        rows: &[Row],
    ) -> Result<Vec<usize>> {
        let doing = "find the inserted rows";
        let wrong = |error| self.failed(doing, error);
        let mut ours: HashSet<String> = HashSet::with_capacity(rows.len());
        for row in rows {
            ours.insert(row.try_get(0).map_err(wrong)?);
        }
        if ours.is_empty() {
            return Ok(Vec::new());
        }
        let places = rows::places(shape, writes, &step.at);
        let mut found = Vec::with_capacity(ours.len());
        for row in self.run(shape, doing, &places).await? {
            let place: String = row.try_get(1).map_err(|error| self.failed(doing, error))?;
            if ours.contains(&place) {
                found.push(self.number(&places, &row)?);
            }
        }
        Ok(found)
    }

    /// What is under these keys, locked until the transaction ends.
    pub async fn read(&mut self, shape: &Shape, keys: &[Key]) -> Result<Vec<Local>> {
        let mut locals = vec![Local::default(); keys.len()];
        for range in batch::key_chunks(keys, BYTES_MAX) {
            let (start, chunk) = (range.start, &keys[range]);
            if let Some(beside) = shape.beside() {
                let step = rows::read(shape, sql::beside::complete(shape, beside), chunk, start);
                self.run(shape, "lock rows by key", &step).await?;
            }
            let step = rows::read(shape, sql::read(shape), chunk, start);
            for row in self.run(shape, "read rows by key", &step).await? {
                let cells = self.decode(shape, &row)?;
                let local = &mut locals[self.number(&step, &row)?];
                local.row_stamp = batch::row_stamp(shape, &cells);
                local.row = Some(cells);
            }
            let Some(stamps) = &shape.stamps else { continue };
            let step = rows::read(shape, sql::read_tombstones(shape, stamps), chunk, start);
            for (number, version, origin) in self.stamped(shape, &step).await? {
                locals[number].tombstone = Some(Stamp::delete(version, origin));
            }
        }
        Ok(locals)
    }

    /// The stamps under these keys, without the rows and without a lock.
    pub async fn stamps(&mut self, shape: &Shape, keys: &[Key]) -> Result<Vec<Local>> {
        let mut locals = vec![Local::default(); keys.len()];
        let Some(stamps) = &shape.stamps else {
            return Ok(locals);
        };
        for range in batch::key_chunks(keys, BYTES_MAX) {
            let (start, chunk) = (range.start, &keys[range]);
            let step = rows::read(shape, sql::read_stamps(shape), chunk, start);
            for (number, version, origin) in self.stamped(shape, &step).await? {
                locals[number].row_stamp = Some(Stamp::write(version, origin));
            }
            let step = rows::read(shape, sql::read_tombstones(shape, stamps), chunk, start);
            for (number, version, origin) in self.stamped(shape, &step).await? {
                locals[number].tombstone = Some(Stamp::delete(version, origin));
            }
        }
        Ok(locals)
    }

    /// Numbers of keys, with version and origin.
    async fn stamped(&mut self, shape: &Shape, step: &Step<'_>) -> Result<Vec<(usize, i64, u16)>> {
        let doing = "read stamps by key";
        let mut found = Vec::new();
        for row in self.run(shape, doing, step).await? {
            let wrong = |error| self.failed(doing, error);
            let (version, origin): (i64, i16) =
                (row.try_get(1).map_err(wrong)?, row.try_get(2).map_err(wrong)?);
            let origin = u16::try_from(origin).unwrap_or_default();
            found.push((self.number(step, &row)?, version, origin));
        }
        Ok(found)
    }

    /// Generated columns are left out of the row, as they are of rows to write.
    fn decode(&self, shape: &Shape, row: &Row) -> Result<Cells> {
        let mut cells = vec![None; shape.table.columns.len()];
        for (at, (index, column)) in shape.stored().enumerate() {
            let text: Option<&str> = row
                .try_get(at + 1)
                .map_err(|error| self.failed("read a row", error))?;
            cells[index] = Some(match text {
                None => crate::model::value::Value::Null,
                Some(text) => codec::decode(&column.ty, ByteString::from(text))
                    .map_err(|error| error.node(&self.node).table(&shape.table.id))?,
            });
        }
        Ok(cells.into_iter().collect())
    }

    /// Writes what was decided, after `read` locked the rows: in sets; then, when unique values stand in each
    /// other's way, as delete and insert; then row by row.
    pub async fn write(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        if self.is_user && shape.beside().is_some() {
            return self.write_as_user(shape, writes).await;
        }
        self.write_all(shape, writes).await
    }

    async fn write_all(&mut self, shape: &Shape, writes: &[Write]) -> Result<Vec<Written>> {
        let mut written = vec![Written::Done; writes.len()];
        for chunk in batch::chunks(writes, BYTES_MAX) {
            let steps = steps(shape, writes, batch::write(shape, writes, &chunk));
            match self.try_steps(shape, &steps).await? {
                Tried::Done(results) => {
                    for index in self.lost(&steps, &results)? {
                        written[index] = Written::Lost;
                    }
                }
                Tried::Refused(error) if is_unique(&error) && self.replace(shape, writes, &chunk).await? => {}
                Tried::Refused(_) => {
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
        let steps = steps(shape, writes, batch::write(shape, writes, &[index]));
        let error = match self.try_steps(shape, &steps).await? {
            Tried::Done(results) => {
                return Ok(match self.lost(&steps, &results)?.is_empty() {
                    true => Written::Done,
                    false => Written::Lost,
                });
            }
            Tried::Refused(error) => error,
        };
        if !is_unique(&error) {
            return Ok(Written::Refused(refusal(&error)));
        }
        if matches!(writes[index].op, WriteOp::Insert { .. }) {
            let step = rows::places(shape, writes, &[index]);
            if !self.run(shape, "find a row by key", &step).await?.is_empty() {
                return Ok(Written::Lost);
            }
        }
        let constraint = error.as_db_error().and_then(|db| db.constraint());
        Ok(Written::UniqueTaken(constraint.unwrap_or("unique").to_owned()))
    }

    /// Updates whose row was not there, and rows that stand where none was read.
    fn lost(&self, steps: &[Step<'_>], results: &[Vec<Row>]) -> Result<Vec<usize>> {
        let mut lost = Vec::new();
        for (step, rows) in steps.iter().zip(results) {
            if step.verb == Verb::Update && rows.len() < step.at.len() {
                let found: HashSet<usize> = self.numbered(step, rows)?.into_iter().collect();
                lost.extend(step.at.iter().filter(|index| !found.contains(index)));
            }
            if step.verb == Verb::Vacant {
                lost.extend(self.numbered(step, rows)?);
            }
        }
        Ok(lost)
    }

    /// Stores conflicts with the rows; one that is there already stays as it is.
    pub async fn record(&mut self, sync: &str, link: &str, conflicts: &[Conflict]) -> Result<()> {
        for range in batch::conflict_chunks(conflicts, BYTES_MAX) {
            let columns = evidence::columns(&conflicts[range]);
            let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&sync, &link];
            for column in &columns {
                parameters.push(column.as_ref());
            }
            self.query("record conflicts", evidence::RECORD, &parameters)
                .await?;
        }
        Ok(())
    }

    /// In the open transaction: what was recorded of these rows, or of all of the table's, was none.
    pub async fn withdraw(
        &mut self,
        link: (&str, &str),
        table: &TableId,
        kind: ConflictKind,
        keys: &[String],
    ) -> Result<()> {
        let kind = kind.name();
        let values: [&(dyn ToSql + Sync); 6] = [&link.0, &link.1, &table.schema, &table.name, &kind, &keys];
        let doing = "withdraw records of conflicts";
        self.query(doing, evidence::WITHDRAW, &values).await.map(|_| ())
    }

    /// In the open transaction: notes how recorded conflicts were settled. Returns how many records there were.
    pub async fn settle_conflicts(
        &mut self,
        sync: &str,
        ids: &[String],
        settling: Settling<'_>,
    ) -> Result<u64> {
        let Settling { by, how, overrides } = settling;
        let values: [&(dyn ToSql + Sync); 5] = [&sync, &ids, &by, &how, &overrides];
        let doing = "note how a conflict was settled";
        Ok(self.query(doing, evidence::SETTLE, &values).await?.len() as u64)
    }

    /// In the open transaction: the table rests here until an operator wants it taken up.
    pub async fn hold(&mut self, sync: &str, held: &HeldTable) -> Result<()> {
        let doing = "hold a table";
        let position = held.position.to_string();
        let (schema, name) = (&held.table.schema, &held.table.name);
        let (at, past) = (&held.transaction, &held.past);
        let values: [&(dyn ToSql + Sync); 9] = [
            &sync,
            &held.link,
            schema,
            name,
            &position,
            at,
            past,
            &held.error,
            &held.hint,
        ];
        let rows = self.query(doing, held::HOLD, &values).await?;
        self.all_held(doing, rows.len(), 1)
    }

    /// In the open transaction: these held tables are applied up to here, or, with none, are held no more.
    pub async fn held_at(&mut self, link: (&str, &str), tables: &[TableId], at: Option<&str>) -> Result<()> {
        let doing = "note how far held tables are";
        let (sync, link) = link;
        let schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|id| id.name.as_str()).collect();
        let rows = match at {
            Some(at) => {
                let values: [&(dyn ToSql + Sync); 5] = [&sync, &link, &schemas, &names, &at];
                self.query(doing, held::ADVANCE, &values).await?
            }
            None => {
                let values: [&(dyn ToSql + Sync); 4] = [&sync, &link, &schemas, &names];
                self.query(doing, held::RELEASE, &values).await?
            }
        };
        self.all_held(doing, rows.len(), tables.len())
    }

    fn all_held(&self, doing: &str, found: usize, wanted: usize) -> Result<()> {
        match found == wanted {
            true => Ok(()),
            false => Err(gone(doing).node(&self.node)),
        }
    }

    pub async fn commit(&mut self) -> Result<()> {
        let Err(error) = self.client.batch_execute(sql::COMMIT).await else {
            return Ok(());
        };
        let doing = "commit";
        let unknown = error
            .code()
            .is_none_or(|state| state.code().starts_with("08") || state.code().starts_with("57"));
        match unknown {
            true => Err(Error::ambiguous(doing).node(&self.node).because(error)),
            false => Err(self.failed(doing, error)),
        }
    }

    pub async fn rollback(&mut self) -> Result<()> {
        self.client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| self.failed("roll back", error))
    }

    /// Runs the steps between SAVEPOINT and RELEASE, all sent at once.
    async fn try_steps(&mut self, shape: &Shape, steps: &[Step<'_>]) -> Result<Tried> {
        let doing = |step: &Step<'_>| format!("{} {} rows", step.verb.name(), step.at.len());
        let mut statements = Vec::with_capacity(steps.len());
        for step in steps {
            let prepared = self.prepare(&step.sql).await;
            let refused = |error| self.failed(doing(step), error).table(&shape.table.id);
            statements.push(prepared.map_err(refused)?);
        }
        let client = &self.client;
        let parameters: Vec<_> = steps.iter().map(Step::parameters).collect();
        // The futures send when first polled, which happens in this order.
        let queries = statements
            .iter()
            .zip(&parameters)
            .map(|(statement, parameters)| client.query(statement, parameters));
        let (opened, results, released) = join3(
            client.batch_execute(SAVEPOINT),
            join_all(queries),
            client.batch_execute(RELEASE),
        )
        .await;
        opened.map_err(|error| self.failed("set a savepoint", error))?;
        let mut done = Vec::with_capacity(steps.len());
        for (step, result) in steps.iter().zip(results) {
            match result {
                Ok(rows) => done.push(rows),
                Err(error) if is_refusal(&error) || cannot_offer(step.verb, &error) => {
                    return self.undo(error).await;
                }
                Err(error) => return Err(self.failed(doing(step), error).table(&shape.table.id)),
            }
        }
        released.map_err(|error| self.failed("release a savepoint", error))?;
        Ok(Tried::Done(done))
    }

    async fn run(&mut self, shape: &Shape, doing: &str, step: &Step<'_>) -> Result<Vec<Row>> {
        self.query(doing, &step.sql, &step.parameters())
            .await
            .map_err(|error| error.table(&shape.table.id))
    }

    async fn query(
        &mut self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let statement = self.statement(doing, sql).await?;
        self.client
            .query(&statement, parameters)
            .await
            .map_err(|error| self.failed(doing, error))
    }

    async fn undo(&self, refused: tokio_postgres::Error) -> Result<Tried> {
        match self.client.batch_execute(UNDO).await {
            Ok(()) => Ok(Tried::Refused(refused)),
            Err(error) => Err(self.failed("roll back to a savepoint", error)),
        }
    }

    async fn statement(&mut self, doing: &str, sql: &str) -> Result<Statement> {
        self.prepare(sql).await.map_err(|error| {
            let is_control = error.code() == Some(&SqlState::UNDEFINED_TABLE) && sql.contains("tidelock.");
            let error = self.failed(doing, error);
            match is_control {
                true => error.hint("run `tidelock setup --execute`"),
                false => error,
            }
        })
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// The writes (or keys) that the rows' first column numbers.
    fn numbered(&self, step: &Step<'_>, rows: &[Row]) -> Result<Vec<usize>> {
        rows.iter().map(|row| self.number(step, row)).collect()
    }

    fn number(&self, step: &Step<'_>, row: &Row) -> Result<usize> {
        let number: i64 = row
            .try_get(0)
            .map_err(|error| self.failed("read a row's number", error))?;
        let at = usize::try_from(number - 1).ok().and_then(|at| step.at.get(at));
        at.copied()
            .ok_or_else(|| Error::bug("match rows with writes").why("a number was not sent"))
    }

    fn failed(&self, doing: impl Into<String>, error: tokio_postgres::Error) -> Error {
        fail(doing, error).node(&self.node)
    }
}

fn steps<'a>(shape: &Shape, writes: &'a [Write], groups: Vec<Group>) -> Vec<Step<'a>> {
    let step = |group| rows::step(shape, writes, group);
    groups.into_iter().map(step).collect()
}

/// A row that was read under lock and is not there to be replaced: the caller did not read it in this transaction.
fn refuse_vanished(steps: &[Step<'_>], results: &[Vec<Row>]) -> Result<()> {
    for (step, rows) in steps.iter().zip(results) {
        if step.verb == Verb::Clear && rows.len() < step.at.len() {
            return Err(Error::bug("replace rows").why("a locked row vanished"));
        }
    }
    Ok(())
}

/// Did the data cause it? Classes 22 and 23, and what a constraint, a view's check, a trigger or an index says no to.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| {
        let code = state.code();
        code.starts_with("22")
            || code.starts_with("23")
            // A check option; RAISE in a trigger; an index row too large.
            || matches!(code, "44000" | "P0001" | "54000")
    })
}

/// A table with a deferrable unique or exclusion constraint takes no ON CONFLICT, so what is offered to it is decided
/// from a locking read.
fn cannot_offer(verb: Verb, error: &tokio_postgres::Error) -> bool {
    verb == Verb::Offer && error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
}

/// Does another row stand in its way? Rows trade what an exclusion constraint keeps apart as they trade unique values.
fn is_unique(error: &tokio_postgres::Error) -> bool {
    let taken = [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION];
    error.code().is_some_and(|code| taken.contains(code))
}

/// Why a row was refused, without its values.
fn refusal(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => super::without_values(db.code().code(), db.message()),
        None => error.to_string(),
    }
}

/// Parameters of the checkpoint's statements, kept alive while they are sent.
struct MoveValues<'a> {
    mv: &'a Move,
    lane: i16,
    origin: i16,
    hop: i16,
    segment: i16,
    /// The seq the row has.
    seq: i64,
    json: String,
}

impl<'a> MoveValues<'a> {
    fn new(mv: &'a Move, seq: i64) -> Result<Self> {
        let small = |number: u16| {
            i16::try_from(number)
                .map_err(|_| Error::bug("store a checkpoint").why(format!("{number} is no small number")))
        };
        Ok(MoveValues {
            mv,
            lane: small(mv.marker.lane)?,
            origin: small(mv.marker.origin)?,
            hop: small(mv.marker.hop)?,
            segment: mv.marker.segment.code(),
            seq,
            json: mv.marker.to_json(),
        })
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 14] {
        let marker = &self.mv.marker;
        [
            &marker.sync,
            &marker.link,
            &self.lane,
            &self.mv.epoch,
            &marker.seq,
            &marker.position,
            &self.mv.settle,
            &self.origin,
            &self.hop,
            &self.segment,
            &marker.config_hash,
            &self.mv.source_identity,
            &self.seq,
            &self.json,
        ]
    }
}
