//! Rows that trade keys and unique values, and of which the log carries only a part: random legal transactions go
//! through the real plan, layers and batches against a table that checks its key and its unique value at every row.
//!
//! Owns: the model of a source and of a target, and the steps of [`Applier::layer`] over it. A failure names its seed.
#![allow(clippy::unwrap_used)]

use super::contested::{Contested, decided_write};
use super::*;
use crate::batch::{self, Group, Verb};
use crate::flow::decision::one_way;
use crate::merge::{self, Decision};
use crate::model::change::{Change, Head, Op};
use crate::model::schema::{Column, ColumnType, Engine, Table};
use crate::model::value::Value;
use crate::plan::{Address, Author, Written};
use std::collections::BTreeMap;

const SEEDS: u64 = 3000;
/// Places of the columns: key, unique value, a large one that is not sent when it did not change, and another.
const ID: usize = 0;
const UNIQUE: usize = 1;
const LARGE: usize = 2;
const OTHER: usize = 3;
/// What only the target has, and the default it has there. The source's model carries it along with its row.
const OWN: usize = 4;
const DEFAULT: i64 = 777;

type Rows = BTreeMap<i64, Row>;

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn number(&mut self) -> i64 {
        i64::try_from(self.below(100)).unwrap()
    }

    fn one_of(&mut self, choice: &[i64]) -> Option<i64> {
        let at = self.below(choice.len().max(1) as u64);
        choice.get(usize::try_from(at).unwrap()).copied()
    }
}

fn plan(has_own: bool) -> Arc<Plan> {
    let int = |name: &str| Column {
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
    };
    let table = |names: &[&str]| {
        Arc::new(Table {
            id: TableId::new("s", "t"),
            columns: names.iter().map(|name| int(name)).collect(),
            key: vec![ID],
            uniques: vec![vec![UNIQUE]],
            external: None,
        })
    };
    let names = ["id", "u", "body", "n", "own"];
    let (source, target) = (table(&names[..OWN]), table(&names[..OWN + usize::from(has_own)]));
    let (passage, pg) = (crate::mapping::Passage::default(), Engine::Postgres);
    Arc::new(Plan::compile(&source, pg, &target, pg, false, &passage).unwrap())
}

fn number(row: &Row, place: usize) -> i64 {
    match row.get(place) {
        Some(Value::Int(number)) => *number,
        other => panic!("{other:?}"),
    }
}

fn set(row: &Row, place: usize, number: i64) -> Row {
    let mut row = row.clone();
    row.0[place] = Some(Value::Int(number));
    row
}

/// Values of a column that no row has.
fn free(rows: &Rows, place: usize) -> Vec<i64> {
    let is_free = |value: &i64| rows.values().all(|row| number(row, place) != *value);
    (0..5).filter(is_free).collect()
}

fn with_own(row: &Row) -> Row {
    let own = std::iter::once(Some(Value::Int(DEFAULT)));
    row.0.iter().take(OWN).cloned().chain(own).collect()
}

/// What the source has of it.
fn sent(row: &Row) -> Row {
    row.0.iter().take(OWN).cloned().collect()
}

/// One statement about one row that the source allows in this state, as its log tells it.
fn statement(random: &mut Random, source: &mut Rows) -> Option<Op> {
    let ids: Vec<i64> = source.keys().copied().collect();
    let kind = random.below(8);
    if kind == 0 {
        let (id, u) = (
            random.one_of(&free(source, ID))?,
            random.one_of(&free(source, UNIQUE))?,
        );
        let cells = [id, u, random.number(), random.number()];
        let new: Row = cells.into_iter().map(|cell| Some(Value::Int(cell))).collect();
        source.insert(id, with_own(&new));
        return Some(Op::Insert { new });
    }
    let id = random.one_of(&ids)?;
    let was = source.remove(&id)?;
    let key_only: Row = (0..4)
        .map(|place| was.0[place].clone().filter(|_| place == ID))
        .collect();
    if kind == 1 {
        return Some(Op::Delete { old: key_only });
    }
    // With the row itself taken out, what it has is free as well: an update may leave a value as it is.
    let mut is = set(&was, OTHER, random.number());
    if matches!(kind, 2 | 3) {
        is = set(&is, ID, random.one_of(&free(source, ID))?);
    }
    if matches!(kind, 3..=5) {
        is = set(&is, UNIQUE, random.one_of(&free(source, UNIQUE))?);
    }
    if kind == 6 {
        is = set(&is, LARGE, random.number());
    }
    let mut new = sent(&is);
    if kind != 6 && random.below(4) > 0 {
        new.0[LARGE] = None;
    }
    let moved = number(&was, ID) != number(&is, ID);
    source.insert(number(&is, ID), is);
    Some(Op::Update {
        old: moved.then_some(key_only),
        new,
    })
}

/// A table that checks every row it writes, at once.
struct Model {
    rows: Rows,
    /// Tells which rows of a set were written, as PostgreSQL does; else a set is written whole or not at all.
    tells: bool,
    bytes_max: usize,
}

impl Model {
    fn key(write: &Write) -> i64 {
        match write.key[0] {
            Value::Int(id) => id,
            ref other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, row: &Row) -> bool {
        assert!(sent(row).is_complete(), "a row was inserted in part: {row:?}");
        let row = &match row.get(OWN) {
            Some(_) => row.clone(),
            None => with_own(row),
        };
        let (id, u) = (number(row, ID), number(row, UNIQUE));
        let taken = self.rows.contains_key(&id) || self.rows.values().any(|other| number(other, UNIQUE) == u);
        if !taken {
            self.rows.insert(id, row.clone());
        }
        !taken
    }

    /// One row of a statement. `None`: a key or a unique value is taken, which undoes the statement.
    fn one(&mut self, verb: Verb, write: &Write) -> Option<bool> {
        let id = Model::key(write);
        match verb {
            Verb::Delete | Verb::Remove | Verb::Clear => Some(self.rows.remove(&id).is_some()),
            Verb::Update => {
                let Some(was) = self.rows.remove(&id) else {
                    return Some(false);
                };
                self.put(&batch::cells(&write.op).unwrap().over(&was))
                    .then_some(true)
            }
            Verb::Offer => match self.put(batch::cells(&write.op).unwrap()) {
                true => Some(true),
                false => self.tells.then_some(false),
            },
            Verb::Insert => self.put(batch::cells(&write.op).unwrap()).then_some(true),
            Verb::Vacant => Some(!self.rows.contains_key(&id)),
            Verb::Bury | Verb::Dominated | Verb::Stamp => panic!("there are no stamps"),
        }
    }

    /// The rows written; `None` = everything was undone.
    fn run(&mut self, writes: &[Write], groups: &[Group]) -> Option<Vec<usize>> {
        let before = self.rows.clone();
        let mut done = Vec::new();
        for group in groups {
            for &index in &group.at {
                match self.one(group.verb, &writes[index]) {
                    Some(true) => done.push(index),
                    Some(false) if self.tells => {}
                    Some(false) | None => {
                        self.rows = before;
                        return None;
                    }
                }
            }
        }
        Some(done)
    }

    fn replace(&mut self, plan: &Plan, writes: &[Write], chosen: &[usize]) -> bool {
        let replacement = batch::replace(&plan.shape, writes, chosen, self.bytes_max).unwrap();
        self.run(&replacement.writes, &replacement.groups).is_some()
    }

    /// As the engines' targets do it.
    fn write(&mut self, plan: &Plan, writes: &[Write]) -> Vec<Written> {
        let mut written = vec![Written::Done; writes.len()];
        for chunk in batch::chunks(writes, self.bytes_max) {
            let groups = batch::write(&plan.shape, writes, &chunk);
            if self.run(writes, &groups).is_some() || self.replace(plan, writes, &chunk) {
                continue;
            }
            for index in chunk {
                let groups = batch::write(&plan.shape, writes, &[index]);
                if self.run(writes, &groups).is_none() {
                    written[index] = Written::UniqueTaken("u".to_owned());
                }
            }
        }
        let taken = batch::taken(&written);
        if !taken.is_empty() && self.replace(plan, writes, &taken) {
            taken.iter().for_each(|index| written[*index] = Written::Done);
        }
        written
    }

    /// As [`Applier::layer`] does it.
    fn layer(&mut self, plan: &Plan, layer: &Layer) {
        let mut changes = layer.changes.clone();
        let before = self.rows.clone();
        for change in &mut changes {
            if let Some(from) = fill_key(&change.op) {
                let Value::Int(from) = from[0] else {
                    panic!("{from:?}")
                };
                take_along(plan, change, &before[&from]);
            }
        }
        let writes: Vec<Write> = changes.iter().filter_map(write_of).collect();
        let mut applied = vec![false; writes.len()];
        for chunk in batch::chunks(&writes, self.bytes_max) {
            let groups = batch::attempt(&plan.shape, &writes, &chunk);
            for index in self.run(&writes, &groups).unwrap_or_default() {
                applied[index] = true;
            }
        }
        let rest = changes.iter().zip(applied).filter(|(_, applied)| !applied);
        let decided = rest.map(|(change, _)| {
            let Value::Int(id) = change.key[0] else {
                panic!("{:?}", change.key)
            };
            let local = Local {
                row: self.rows.get(&id).cloned(),
                ..Local::default()
            };
            let decision = merge::decide_one_way(one_way(&change.op), local.row.is_some());
            assert!(
                matches!(decision, Decision::Write { conflict: None, .. }),
                "{change:?}"
            );
            decided_write(plan, &Contested { change, local }).unwrap()
        });
        let decided: Vec<Write> = decided.collect();
        let written = self.write(plan, &decided);
        assert_eq!(written, vec![Written::Done; decided.len()], "{decided:?}");
    }
}

/// Transactions of a group, applied; what the source ended with, and what the target did.
fn group(seed: u64) -> (Rows, Rows) {
    let mut random = Random(seed);
    let has_own = random.below(2) == 0;
    let plan = plan(has_own);
    let mut source = Rows::new();
    // Each row's own column says which row it was.
    let whole = |id: i64| {
        let cells = (0..4).map(|place| id * 10_i64.pow(place / 2));
        let cells = cells.chain([1000 + id]).map(|cell| Some(Value::Int(cell)));
        cells.collect::<Row>()
    };
    source.extend((0..3).map(|id| (id, whole(id))));
    let mut target = Model {
        rows: source.clone(),
        tells: random.below(2) == 0,
        bytes_max: if random.below(2) == 0 { 150 } else { 1 << 20 },
    };
    let head = Arc::new(Head {
        transaction: "1".to_owned(),
        past: None,
        committed_at_us: 0,
    });
    let (mut layers, mut planned) = (Layers::default(), Vec::new());
    for ordinal in 0..2 + random.below(10) {
        let before = source.clone();
        let Some(op) = statement(&mut random, &mut source) else {
            source = before;
            continue;
        };
        let table = Arc::clone(&plan.source);
        let author = Author {
            rank: 1,
            own: false,
            answers: false,
        };
        let head = Arc::clone(&head);
        plan.change(
            &Change { table, op },
            author,
            &Address { head, ordinal },
            &mut planned,
        )
        .unwrap();
        planned.drain(..).for_each(|change| layers.push(&plan, change));
    }
    layers.iter().for_each(|layer| target.layer(&plan, layer));
    let seen = |rows: Rows| -> Rows {
        let row = |(id, row): (i64, Row)| (id, if has_own { row } else { sent(&row) });
        rows.into_iter().map(row).collect()
    };
    (seen(source), seen(target.rows))
}

#[test]
fn every_legal_order_of_moves_and_trades_arrives_even_where_rows_are_not_whole() {
    for seed in 0..SEEDS {
        let applied = std::panic::catch_unwind(|| group(seed));
        let Ok((source, target)) = applied else {
            panic!("seed {seed}: see above")
        };
        assert_eq!(source, target, "seed {seed}");
    }
}
