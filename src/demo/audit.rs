//! An auditor that reads a server's own log beside the links and counts who changed the shop's rows.
//!
//! Owns: the proof that nothing loops and that a quiet pair is quiet. It reads the log as a link would, through a
//! slot of its own on PostgreSQL, and applies nothing.
//! Fails: with what the log's reader says.

use crate::access::SourceOptions;
use crate::engine::{self, Node, Source};
use crate::error::{Error, Result};
use crate::flow::spec::{NodeSpec, Seed, SyncSpec};
use crate::model::change::{Change, Op, Part, Step, Writer};
use crate::model::origin::Guard;
use crate::model::position::Position;
use crate::model::stamp::Rank;
use crate::model::sync::ORIGIN_COLUMN;
use crate::model::value::{Row, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Names the auditor's slot, as a target's name would.
const NAME: &str = "audit";
/// Reading what is in the log already takes moments.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);

/// What a log has told so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    position: Option<Position>,
    /// Rows changed by the shop's users.
    pub by_users: u64,
    /// Rows changed by Tidelock.
    pub applied: u64,
    /// Of these, rows that were first written on this very server: they should never come back.
    pub echoes: u64,
}

impl Seen {
    pub(super) fn changes(&self) -> u64 {
        self.by_users + self.applied
    }
}

pub(super) struct Auditor {
    spec: NodeSpec,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<Result<()>>,
}

impl Auditor {
    /// From where the log ends now. The node must be set up; nothing need run yet.
    pub(super) async fn start(sync: &SyncSpec, index: usize) -> Result<Auditor> {
        let spec = sync.nodes[index].clone();
        let mut node = Node::connect(&spec.access, spec.engine).await?;
        let tables = node
            .catalog(&spec.tables)
            .await?
            .into_iter()
            .flatten()
            .map(|found| Arc::new(spec.known(found)))
            .collect();
        let options = SourceOptions {
            access: spec.access.clone(),
            sync: sync.name.clone(),
            target: NAME.to_owned(),
            tables,
            mode: sync.mode,
            onward: None,
            fresh: false,
            spill: sync.limits.spill.clone(),
            // Echoes are counted here, and streamed ones are not kept.
            stream: false,
            keep: None,
        };
        let from = engine::start_position(spec.engine, options.clone()).await?;
        let source = Source::open(spec.engine, options, &from).await?;
        let ledger = Ledger {
            sync: sync.name.clone(),
            rank: spec.rank,
            seeder: sync.seed == Seed::From(spec.name.clone()),
            seen: Seen {
                position: Some(from),
                ..Seen::default()
            },
        };
        let (sender, seen) = watch::channel(ledger.seen.clone());
        let task = tokio::spawn(read(source, ledger, sender));
        Ok(Auditor { spec, seen, task })
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the log is read up to where it ends now.
    pub(super) async fn caught_up(&mut self) -> Result<Seen> {
        let goal = Node::connect(&self.spec.access, self.spec.engine)
            .await?
            .position()
            .await?;
        let reached = |seen: &Seen| {
            seen.position
                .as_ref()
                .is_some_and(|at| at.covers(&goal).unwrap_or(false))
        };
        let late = match tokio::time::timeout(CATCH_UP_MAX, self.seen.wait_for(reached)).await {
            Ok(Ok(seen)) => return Ok(seen.clone()),
            Ok(Err(_)) => false,
            Err(_) => true,
        };
        let doing = "audit the log";
        if late {
            let here = self
                .seen()
                .position
                .map_or_else(String::new, |here| here.to_string());
            return Err(Error::definite(doing)
                .node(&self.spec.name)
                .why(format!("it ends at {goal} and was read up to {here} only")));
        }
        // The reader is gone: it says why.
        match (&mut self.task).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Err(Error::bug(doing).node(&self.spec.name).why("the reader ended")),
            Err(error) => Err(Error::bug(doing).node(&self.spec.name).because(error)),
        }
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(mut source: Source, mut ledger: Ledger, sender: watch::Sender<Seen>) -> Result<()> {
    let (confirm, mut confirmed) = watch::channel(None);
    loop {
        let position = match source.next(&mut confirmed).await? {
            Step::Part(part) => {
                ledger.count(&part);
                part.end
            }
            Step::Idle { position, .. } => Some(position),
        };
        if let Some(position) = position {
            confirm.send_replace(Some(position.clone()));
            ledger.seen.position = Some(position);
        }
        sender.send_replace(ledger.seen.clone());
    }
}

/// Decides what each change counts as.
struct Ledger {
    sync: String,
    rank: Rank,
    /// The first rows came from here, without an origin.
    seeder: bool,
    seen: Seen,
}

impl Ledger {
    fn count(&mut self, part: &Part) {
        let changes = part.changes.len() as u64;
        if !Guard::new(&self.sync, None).is_echo(&part.writer) {
            self.seen.by_users += changes;
            return;
        }
        self.seen.applied += changes;
        let echoes = part
            .changes
            .iter()
            .filter(|change| self.is_own(&part.writer, change))
            .count();
        self.seen.echoes += echoes as u64;
    }

    /// Was the row, as it was applied here, first written here? A deleted row carries the stamp of its last write,
    /// which may well be ours: there the marker tells who deleted.
    fn is_own(&self, writer: &Writer, change: &Change) -> bool {
        let row = match &change.op {
            Op::Insert { new } | Op::Update { new, .. } => new,
            Op::Delete { .. } | Op::Truncate => return marked_by(writer, self.rank),
        };
        match origin(change, row) {
            Some(0) => self.seeder || marked_by(writer, self.rank),
            Some(origin) => origin == i64::from(self.rank),
            None => marked_by(writer, self.rank),
        }
    }
}

fn marked_by(writer: &Writer, rank: Rank) -> bool {
    match writer {
        Writer::User => false,
        Writer::Tidelock(marker) => marker.origin == rank,
    }
}

fn origin(change: &Change, row: &Row) -> Option<i64> {
    let place = change.table.column(ORIGIN_COLUMN)?;
    match row.get(place) {
        Some(Value::Int(origin)) => Some(*origin),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Head;
    use crate::model::origin::{Marker, Segment};
    use crate::model::schema::{Column, ColumnType, Table, TableId};

    fn part(origin: i64, marked: Option<Rank>) -> Part {
        let column = Column {
            name: ORIGIN_COLUMN.to_owned(),
            ty: ColumnType::Int {
                bits: 16,
                unsigned: false,
            },
            sql_type: "smallint".to_owned(),
            collation: String::new(),
            nullable: false,
            generated: false,
            has_default: true,
        };
        let table = Table {
            id: TableId::new("public", "t"),
            columns: vec![column],
            key: vec![],
            uniques: vec![],
            external: None,
        };
        let row = || Row::from_iter([Some(Value::Int(origin))]);
        let writer = marked.map_or(Writer::User, |origin| {
            Writer::Tidelock(Arc::new(Marker {
                sync: "shop".to_owned(),
                link: "my->pg".to_owned(),
                lane: 0,
                seq: 1,
                position: String::new(),
                origin,
                hop: 1,
                segment: Segment::Applied,
                config_hash: String::new(),
            }))
        });
        let table = Arc::new(table);
        let changes = [Op::Insert { new: row() }, Op::Delete { old: row() }];
        Part {
            head: Arc::new(Head {
                transaction: String::new(),
                past: None,
                committed_at_us: 0,
            }),
            writer,
            first: 0,
            changes: changes
                .map(|op| Change {
                    table: Arc::clone(&table),
                    op,
                })
                .into(),
            end: None,
            bytes: 0,
        }
    }

    fn counted(part: &Part) -> [u64; 3] {
        let mut ledger = Ledger {
            sync: "shop".to_owned(),
            rank: 1,
            seeder: true,
            seen: Seen::default(),
        };
        ledger.count(part);
        [ledger.seen.by_users, ledger.seen.applied, ledger.seen.echoes]
    }

    #[test]
    fn what_was_written_here_and_comes_back_is_an_echo() {
        assert_eq!(counted(&part(1, None)), [2, 0, 0], "a user's own rows");
        // The peer deletes a row that we wrote last: no echo.
        assert_eq!(counted(&part(2, Some(2))), [0, 2, 0]);
        assert_eq!(counted(&part(1, Some(2))), [0, 2, 1]);
        assert_eq!(counted(&part(1, Some(1))), [0, 2, 2]);
        assert_eq!(
            counted(&part(0, Some(2))),
            [0, 2, 1],
            "a seeded row that comes home"
        );
    }
}
