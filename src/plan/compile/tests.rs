//! What a plan makes of JSON that is more than its text.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::model::schema::{Column, TableId};

fn table(engine: Engine) -> Arc<Table> {
    let column = |name: &str, ty: ColumnType| Column {
        name: name.to_owned(),
        ty,
        sql_type: String::new(),
        collation: String::new(),
        nullable: true,
        generated: false,
        has_default: false,
    };
    let int = |bits| ColumnType::Int {
        bits,
        unsigned: false,
    };
    let columns = vec![
        column("id", int(64)),
        column("j", ColumnType::Json { normalised: true }),
        column(VERSION_COLUMN, int(64)),
        column(ORIGIN_COLUMN, int(16)),
    ];
    Arc::new(Table {
        id: TableId::new("s", engine.to_string()),
        columns,
        key: vec![0],
        uniques: Vec::new(),
        external: None,
    })
}

fn planned(to: Engine, merge: bool) -> PlannedOp {
    let (from, there) = (table(Engine::Mysql), table(to));
    let plan = Plan::compile(&from, Engine::Mysql, &there, to, merge, &Passage::default()).unwrap();
    let dated = Value::Opaque("\"2024-01-02\"".into());
    let new: Row = [Value::Int(1), dated, Value::Int(1), Value::Int(1)]
        .into_iter()
        .map(Some)
        .collect();
    let change = Change {
        table: from,
        op: Op::Insert { new },
    };
    let head = Arc::new(Head {
        transaction: "1".to_owned(),
        past: None,
        committed_at_us: 0,
    });
    let mut out = Vec::new();
    let author = Author {
        rank: 1,
        own: false,
        answers: false,
    };
    plan.change(&change, author, &Address { head, ordinal: 0 }, &mut out)
        .unwrap();
    out.remove(0).op
}

/// One way it is its text to an engine that has no such values; back it would be a string.
#[test]
fn json_that_is_more_than_its_text_goes_no_way_on_which_it_would_become_a_string() {
    for (to, merge) in [
        (Engine::Mysql, true),
        (Engine::Mysql, false),
        (Engine::Postgres, true),
    ] {
        let op = planned(to, merge);
        assert!(matches!(op, PlannedOp::Refused { .. }), "{to} {merge}: {op:?}");
    }
    let PlannedOp::Insert { row, .. } = planned(Engine::Postgres, false) else {
        panic!("it was refused")
    };
    assert_eq!(row.get(1), Some(&Value::Json("\"2024-01-02\"".into())));
}
