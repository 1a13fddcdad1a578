//! A recorded conflict, decided once more by other rules, with the code that decides while running.
//!
//! Owns: the change and what stood under its key, back from the record, as the arbiter of those rules would have met
//! them. Refuses: writing, and guessing: what no rule decides (unique values, refused values, missing parents) and what the
//! record does not tell has no answer. Masked cells are known by which of them are equal, so values stand in for them.

use super::picture::Picture;
use super::source_name;
use crate::error::Result;
use crate::flow::decision::{Meeting, Merged};
use crate::flow::spec::SyncSpec;
use crate::merge::{Decision, Own};
use crate::model::conflict::{ConflictKind, Local, StoredConflict};
use crate::model::rules::TableRules;
use crate::model::schema::{ColumnType, Table};
use crate::model::stamp::{Kind, Rank, Stamp};
use crate::model::value::{Row, Value};
use crate::plan::restore::{Cell, Image};
use crate::plan::{Plan, PlannedOp};

/// Kinds that stamps and rules decide.
const DECIDED: [ConflictKind; 8] = [
    ConflictKind::InsertExists,
    ConflictKind::UpdateOriginDiffers,
    ConflictKind::UpdateExists,
    ConflictKind::UpdateMissing,
    ConflictKind::UpdateDeleted,
    ConflictKind::DeleteOriginDiffers,
    ConflictKind::DeleteMissing,
    ConflictKind::KeyMoved,
];

/// Whose version stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    Of(Rank),
    Merged,
    /// Nobody's, until a person decides.
    Open,
}

/// One table of a sync, on all its nodes.
pub struct Judge {
    picture: Picture,
}

/// The recorded rows, in the terms they are recorded in: base in the source's, the others in the target's.
struct Images {
    base: Option<Row>,
    local: Option<Row>,
    incoming: Option<Row>,
}

impl Judge {
    /// `table`: its place among the sync's tables.
    pub async fn open(sync: &SyncSpec, table: usize) -> Result<Judge> {
        let picture = Picture::open(sync, table).await?;
        Ok(Judge { picture })
    }

    /// Is there a column of this name in the configuration's terms?
    pub fn has_column(&self, name: &str) -> bool {
        self.picture.column(0, name).is_ok()
    }

    /// Whose version these rules let stand; columns have the configuration's names. `at`: the place of the node that
    /// recorded it. `None`: no rule decides it, or the record does not tell enough.
    pub fn again(&self, rules: &TableRules, at: usize, conflict: &StoredConflict) -> Option<Stands> {
        if !DECIDED.iter().any(|kind| kind.name() == conflict.kind) {
            return None;
        }
        let seats = &self.picture.seats;
        let source = seats.iter().position(|seat| seat.name == source_name(conflict))?;
        let plan = self.picture.plan(source, at).ok()?;
        let images = images(plan, conflict)?;
        // The arbiter meets the other side's change.
        match conflict.local_stamp {
            Some(_) if seats[source].rank == rules.arbiter => {
                self.on_the_source(rules, (source, at), images, conflict)
            }
            _ => {
                let local = standing(conflict.local_stamp, images.local);
                let op = change(conflict, conflict.incoming_stamp?, images.incoming, images.base)?;
                Some(self.decided(rules, plan, at, &op, &local))
            }
        }
    }

    /// The same on the node that the change came from: there what stood here comes in.
    fn on_the_source(
        &self,
        rules: &TableRules,
        (source, at): (usize, usize),
        images: Images,
        conflict: &StoredConflict,
    ) -> Option<Stands> {
        let (there, back) = (
            self.picture.plan(source, at).ok()?,
            self.picture.plan(at, source).ok()?,
        );
        let carried = |row: Option<Row>| match row {
            Some(row) => back.in_target_terms(&row).ok().map(Some),
            None => Some(None),
        };
        let base = match &images.base {
            Some(base) => Some(there.in_target_terms(base).ok()?),
            None => None,
        };
        let op = change(conflict, conflict.local_stamp?, carried(images.local)?, base)?;
        let local = standing(conflict.incoming_stamp, carried(images.incoming)?);
        Some(self.decided(rules, back, source, &op, &local))
    }

    fn decided(&self, rules: &TableRules, plan: &Plan, node: usize, op: &PlannedOp, local: &Local) -> Stands {
        let mapping = &self.picture.mapping;
        let rules = rules.renamed(|column| mapping.name_on(node, column));
        let meeting = Meeting {
            plan,
            rules: Some(&rules),
            me: self.picture.seats[node].rank,
            op,
            is_blended: false,
            is_own: false,
            is_raised: false,
            local,
        };
        let of = |stamp: Option<Stamp>| stamp.map_or(Stands::Open, |stamp| Stands::Of(stamp.origin));
        let here = of(local.row_stamp.max(local.tombstone));
        let there = of(op.incoming().map(|incoming| incoming.stamp()));
        match meeting.decide() {
            Decision::Write { .. } => there,
            Decision::Keep { .. } => here,
            Decision::Park { .. } => Stands::Open,
            Decision::Own { own, .. } => match own {
                Own::Touch | Own::Recall | Own::DeleteAgain | Own::Fetch => here,
                Own::Lift | Own::Delete => there,
                Own::Merge { incoming_wins } => match meeting.merged(incoming_wins) {
                    Merged::Ordered(true) => there,
                    Merged::Ordered(false) => here,
                    Merged::Row(..) => Stands::Merged,
                    Merged::Open(_) => Stands::Open,
                },
            },
        }
    }
}

/// `None`: they do not fit the tables as they are now, or a filter reads what is masked.
fn images(plan: &Plan, conflict: &StoredConflict) -> Option<Images> {
    let row = |text: &Option<String>, table: &Table| match text {
        Some(text) => row(plan, &Image::parse(text, table).ok()?, table).map(Some),
        None => Some(None),
    };
    let here = &plan.shape.table;
    Some(Images {
        base: row(&conflict.base, &plan.source)?,
        local: row(&conflict.local, here)?,
        incoming: row(&conflict.incoming, here)?,
    })
}

fn row(plan: &Plan, image: &Image, table: &Table) -> Option<Row> {
    let cell = |(cell, place): (&Option<Cell>, usize)| match cell {
        None => Some(None),
        Some(Cell::Value(value)) => Some(Some(value.clone())),
        Some(Cell::Masked(_)) if plan.is_filtered() || plan.judges() => None,
        Some(Cell::Masked(number)) => stand_in(&table.columns[place].ty, *number).map(Some),
    };
    let cells: Option<Vec<Option<Value>>> = image.0.iter().zip(0..).map(cell).collect();
    Some(Row(cells?.into_boxed_slice()))
}

/// A value of the type that is another one for another number; numbers are from 1 to 3.
fn stand_in(ty: &ColumnType, number: u64) -> Option<Value> {
    let digit = u8::try_from(number)
        .ok()
        .filter(|digit| (1..=9).contains(digit))?;
    let day = format!("2000-01-0{digit}");
    Some(match ty {
        // The third of two values is NULL.
        ColumnType::Bool if digit > 2 => Value::Null,
        ColumnType::Bool => Value::Bool(digit == 2),
        ColumnType::Int { unsigned: true, .. } => Value::UInt(u64::from(digit)),
        ColumnType::Int { .. } => Value::Int(i64::from(digit)),
        ColumnType::Year => Value::Int(2000 + i64::from(digit)),
        ColumnType::Float => Value::Float(f32::from(digit)),
        ColumnType::Double => Value::Double(f64::from(digit)),
        ColumnType::Text { .. } => Value::Text(digit.to_string().into()),
        ColumnType::Enum { labels } => Value::Text(labels.get(usize::from(digit) - 1)?.as_str().into()),
        ColumnType::Bytes { .. } => Value::Bytes(vec![digit].into()),
        ColumnType::Date => Value::Date(day.into()),
        ColumnType::Timestamp { .. } => Value::Timestamp(format!("{day} 00:00:00").into()),
        ColumnType::TimestampTz { .. } => Value::TimestampTz(format!("{day} 00:00:00").into()),
        ColumnType::Uuid => Value::Uuid([digit; 16]),
        ColumnType::Json { .. } => Value::Json(digit.to_string().into()),
        ColumnType::Decimal { .. }
        | ColumnType::Set { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Time { .. }
        | ColumnType::Interval
        | ColumnType::Opaque { .. } => return None,
    })
}

/// What stood under the key: its row, or its tombstone.
fn standing(stamp: Option<Stamp>, row: Option<Row>) -> Local {
    Local {
        row_stamp: stamp.filter(|stamp| stamp.kind == Kind::Write),
        tombstone: stamp.filter(|stamp| stamp.kind == Kind::Delete),
        row,
    }
}

/// One side's version as a change of the row that both last agreed on.
fn change(
    conflict: &StoredConflict,
    stamp: Stamp,
    row: Option<Row>,
    before: Option<Row>,
) -> Option<PlannedOp> {
    Some(match (stamp.kind, conflict.operation.as_str()) {
        (Kind::Delete, _) => PlannedOp::Delete {
            before: before?,
            base: Some(conflict.base_stamp?),
            stamp: Some(stamp),
        },
        (Kind::Write, "insert") => PlannedOp::Insert {
            row: row?,
            stamp: Some(stamp),
            fill_from: None,
            own: None,
        },
        // A row that left its filter is told by a delete with the stamp of a write.
        (Kind::Write, "delete") if row.is_none() => PlannedOp::Delete {
            before: before?,
            base: Some(conflict.base_stamp?),
            stamp: Some(stamp),
        },
        (Kind::Write, _) => PlannedOp::Update {
            row: row?,
            before,
            base: Some(conflict.base_stamp?),
            stamp: Some(stamp),
        },
    })
}
