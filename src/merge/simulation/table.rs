//! The model's table, its plans, and rows and stamps as short texts.

use super::setup::Shape;
use crate::expr::Expr;
use crate::mapping::holds::Holds;
use crate::mapping::{Mapping, Passage, RowFilter, Sent};
use crate::merge::Incoming;
use crate::model::change::{Change, Head, Op};
use crate::model::rules::{ColumnRule, TableRules};
use crate::model::schema::{Column, ColumnType, Engine, Table, TableId};
use crate::model::stamp::Stamp;
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use crate::plan::guard::Guarding;
use crate::plan::{Address, Author, Plan, Planned, PlannedOp};
use std::sync::{Arc, LazyLock};

pub const ID: usize = 0;
/// Whoever writes them writes a number that nobody wrote before.
pub const PHONE: usize = 1;
pub const MAIL: usize = 2;
/// A counter.
pub const STOCK: usize = 3;
/// The filter's: rows of region 1 match, and where each direction has its own of two nodes those of 2 what the first
/// one sends, those of 3 what the second one does. Of the rows of a hub the first spoke holds 1 and 3, the second one 2
/// and 3, and a third one all.
pub const REGION: usize = 4;
const VERSION: usize = 5;
const ORIGIN: usize = 6;
pub const NAMES: [&str; 7] = [
    "id",
    "phone",
    "mail",
    "stock",
    "region",
    VERSION_COLUMN,
    ORIGIN_COLUMN,
];

static PLAIN: LazyLock<Arc<Plan>> = LazyLock::new(|| compiled(Mapping::default(), (0, 1)));
static FILTERED: LazyLock<Arc<Plan>> = LazyLock::new(|| compiled(filtered(["region = 1"; 2]), (0, 1)));
static APART: LazyLock<[Arc<Plan>; 2]> =
    LazyLock::new(|| [(0, 1), (1, 0)].map(|link| compiled(filtered(SENT), link)));
const SENT: [&str; 2] = ["region IN (1, 2)", "region IN (1, 3)"];
/// To each spoke, and from each.
static HELD: LazyLock<[[Arc<Plan>; 2]; HELD_BY.len()]> = LazyLock::new(|| {
    let mapping = held();
    [0, 1, 2, 3].map(|spoke| [(0, spoke), (spoke, 0)].map(|link| compiled(mapping.clone(), link)))
});
/// By node; the first is the hub.
pub const HELD_BY: [Option<&str>; 4] = [
    None,
    Some("region IN (1, 3)"),
    Some("region IN (2, 3)"),
    Some("TRUE"),
];

/// For what this node sends to that one.
pub fn plan(shape: &Shape, source: usize, target: usize) -> &'static Arc<Plan> {
    match (shape.is_filtered, shape.is_apart) {
        (false, _) if shape.is_held => &HELD[source.max(target)][usize::from(target == 0)],
        (false, _) => &PLAIN,
        (true, false) => &FILTERED,
        (true, true) => &APART[source],
    }
}

/// Whatever is held, all of it.
pub fn whole() -> &'static Arc<Plan> {
    &PLAIN
}

fn sent(text: &str) -> Sent {
    Sent {
        text: text.to_owned(),
        condition: Expr::parse(text).unwrap(),
    }
}

fn filtered(texts: [&str; 2]) -> Mapping {
    Mapping {
        filter: Some(RowFilter {
            sent: texts.map(sent).to_vec(),
            keep: false,
        }),
        ..Mapping::default()
    }
}

fn held() -> Mapping {
    Mapping {
        holds: Some(Holds {
            hub: Some(0),
            by: HELD_BY.map(|text| text.map(sent)).to_vec(),
        }),
        ..Mapping::default()
    }
}

fn compiled(mapping: Mapping, (source, target): (usize, usize)) -> Arc<Plan> {
    let columns = NAMES.map(|name| Column {
        name: name.to_owned(),
        ty: ColumnType::Int {
            bits: 64,
            unsigned: false,
        },
        sql_type: "bigint".to_owned(),
        collation: String::new(),
        nullable: true,
        generated: false,
        has_default: false,
    });
    let table = Arc::new(Table {
        id: TableId::new("s", "t"),
        columns: columns.to_vec(),
        key: vec![ID],
        uniques: Vec::new(),
        external: None,
    });
    let passage = Passage::new(&Arc::new(mapping), source, target, "t");
    let engine = Engine::Postgres;
    Arc::new(Plan::compile(&table, engine, &table, engine, true, &passage).unwrap())
}

pub fn planned(plan: &Arc<Plan>, op: &Op, author: Author, out: &mut Vec<Planned>) {
    static HEAD: LazyLock<Arc<Head>> = LazyLock::new(|| {
        Arc::new(Head {
            transaction: String::new(),
            past: None,
            committed_at_us: 0,
        })
    });
    let change = Change {
        table: Arc::clone(&plan.source),
        op: op.clone(),
    };
    let address = Address {
        head: Arc::clone(&HEAD),
        ordinal: 0,
    };
    plan.change(&change, author, &address, out).unwrap();
}

/// A delete that no row tells of.
pub fn buried(key: i64, stamp: Stamp) -> Planned {
    let cells = (0..NAMES.len()).map(|place| (place == ID).then_some(Value::Int(key)));
    let key: Box<[Value]> = [Value::Int(key)].into();
    let mut key_bytes = Vec::new();
    key[0].key_bytes(&mut key_bytes);
    Planned {
        key,
        key_bytes,
        op: PlannedOp::Delete {
            before: cells.collect(),
            // No row has this origin, so that stamps decide.
            base: Some(Stamp::write(stamp.version, u16::MAX)),
            stamp: Some(stamp),
        },
        address: Address {
            head: Arc::new(Head {
                transaction: String::new(),
                past: None,
                committed_at_us: 0,
            }),
            ordinal: 0,
        },
        moves: false,
        is_blended: false,
        guarding: Guarding::No,
        is_own: false,
    }
}

pub fn column_rules(rules: &TableRules) -> [ColumnRule; NAMES.len()] {
    NAMES.map(|name| rules.column(name))
}

pub fn row(key: i64, cells: [i64; 4], stamp: Stamp) -> Row {
    let mut row: Row = [key]
        .into_iter()
        .chain(cells)
        .chain([0, 0])
        .map(|cell| Some(Value::Int(cell)))
        .collect();
    set_stamp(&mut row, stamp);
    row
}

pub fn cell(row: &Row, place: usize) -> i64 {
    match row.get(place) {
        Some(Value::Int(value)) => *value,
        other => panic!("{other:?}"),
    }
}

pub fn set(row: &mut Row, place: usize, value: i64) {
    row.0[place] = Some(Value::Int(value));
}

pub fn stamp(row: &Row) -> Stamp {
    Stamp::write(cell(row, VERSION), u16::try_from(cell(row, ORIGIN)).unwrap())
}

pub fn set_stamp(row: &mut Row, stamp: Stamp) {
    set(row, VERSION, stamp.version);
    set(row, ORIGIN, i64::from(stamp.origin));
}

pub fn key_of(change: &Planned) -> i64 {
    match change.key[0] {
        Value::Int(key) => key,
        _ => panic!("{:?}", change.key),
    }
}

pub fn incoming(op: &PlannedOp) -> Incoming {
    op.incoming().unwrap()
}

pub fn incoming_row(op: &PlannedOp) -> Option<&Row> {
    match op {
        PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. } => Some(row),
        PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => None,
    }
}

/// But for the stamp.
pub fn is_made_on(op: &PlannedOp, standing: &Row) -> bool {
    let before = match op {
        PlannedOp::Update { before, .. } => before.as_ref(),
        PlannedOp::Delete { before, .. } => Some(before),
        PlannedOp::Insert { .. } | PlannedOp::Refused { .. } => None,
    };
    before.is_some_and(|before| before.0[..VERSION] == standing.0[..VERSION])
}

/// `phone 4 mail 4 stock 0 region 1 @ 5@2`
pub fn text(row: &Row) -> String {
    let cells = [PHONE, MAIL, STOCK, REGION].map(|place| format!("{} {}", NAMES[place], cell(row, place)));
    format!("{} [{}]", cells.join(" "), stamp(row))
}

pub fn told(change: &Planned) -> String {
    let key = key_of(change);
    match &change.op {
        PlannedOp::Insert { row, .. } => format!("insert {key}: {}", text(row)),
        PlannedOp::Update { row, base, .. } => format!("update {key}: {} on {}", text(row), base.unwrap()),
        PlannedOp::Delete { base, stamp, .. } => {
            format!("delete {key} [{}] on {}", stamp.unwrap(), base.unwrap())
        }
        PlannedOp::Refused { .. } => panic!("{change:?}"),
    }
}
