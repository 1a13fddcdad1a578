//! Random logs of a server with stamps beside its rows, and what a table with columns would have logged.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::model::schema::ColumnType;
use std::collections::BTreeMap;

fn column(name: &str, ty: ColumnType) -> Column {
    Column {
        name: name.to_owned(),
        ty,
        sql_type: String::new(),
        collation: String::new(),
        nullable: false,
        generated: false,
        has_default: false,
    }
}

fn table(name: &str, columns: &[&str]) -> Arc<Table> {
    let int = || ColumnType::Int {
        bits: 64,
        unsigned: false,
    };
    Arc::new(Table {
        id: TableId::new("s", name),
        columns: columns.iter().map(|name| column(name, int())).collect(),
        key: vec![0],
        uniques: Vec::new(),
        external: None,
    })
}

fn ints(cells: &[i64]) -> Row {
    cells.iter().map(|cell| Some(Value::Int(*cell))).collect()
}

/// A database with both tables, which logs what its triggers would.
struct Server {
    rows_of: Arc<Table>,
    stamps_of: Arc<Table>,
    rows: BTreeMap<i64, i64>,
    entries: BTreeMap<i64, i64>,
    versions: i64,
    /// Of each row change: itself, its entries' changes, and what a table with columns would log.
    log: Vec<(Change, Vec<Change>, Option<Op>)>,
}

impl Server {
    fn new() -> Self {
        Server {
            rows_of: table("t", &["id", "n"]),
            stamps_of: table("stamps", &["id", VERSION_COLUMN, ORIGIN_COLUMN, TOUCHED_COLUMN]),
            rows: BTreeMap::new(),
            entries: BTreeMap::new(),
            versions: 1,
            log: Vec::new(),
        }
    }

    fn of_stamps(&self, op: Op) -> Change {
        let table = Arc::clone(&self.stamps_of);
        Change { table, op }
    }

    /// A stamp is given: its change, what it was, what it is.
    fn given(&mut self, id: i64) -> (Change, Option<i64>, i64) {
        self.versions += 1;
        let version = self.versions;
        let stood = self.entries.insert(id, version);
        let new = ints(&[id, version, 7, 0]);
        let op = match stood {
            Some(version) => Op::Update {
                old: Some(ints(&[id, version, 7, 0])),
                new,
            },
            None => Op::Insert { new },
        };
        (self.of_stamps(op), stood, version)
    }

    /// A stamp goes; one that was not there comes first.
    fn gone(&mut self, id: i64) -> (Vec<Change>, Option<i64>) {
        let stood = self.entries.remove(&id);
        let [version, origin] = Self::had(stood);
        let old = ints(&[id, version, origin, 0]);
        let healed = stood.is_none().then(|| Op::Insert { new: old.clone() });
        let ops = healed.into_iter().chain([Op::Delete { old }]);
        (ops.map(|op| self.of_stamps(op)).collect(), stood)
    }

    fn logged(&mut self, op: Op, entries: Vec<Change>, expected: Option<Op>) {
        let table = Arc::clone(&self.rows_of);
        self.log.push((Change { table, op }, entries, expected));
    }

    fn had(stood: Option<i64>) -> [i64; 2] {
        stood.map_or([1, 0], |version| [version, 7])
    }

    fn insert(&mut self, id: i64, n: i64) {
        let (entry, _, version) = self.given(id);
        self.rows.insert(id, n);
        let expected = Op::Insert {
            new: ints(&[id, n, version, 7]),
        };
        self.logged(Op::Insert { new: ints(&[id, n]) }, vec![entry], Some(expected));
    }

    fn update(&mut self, id: i64, n: i64) {
        let was = self.rows[&id];
        let (old, new) = (ints(&[id, was]), ints(&[id, n]));
        if was == n {
            return self.logged(Op::Update { old: Some(old), new }, Vec::new(), None);
        }
        let (entry, stood, version) = self.given(id);
        self.rows.insert(id, n);
        let had = Self::had(stood);
        let expected = Op::Update {
            old: Some(ints(&[id, was, had[0], had[1]])),
            new: ints(&[id, n, version, 7]),
        };
        self.logged(Op::Update { old: Some(old), new }, vec![entry], Some(expected));
    }

    fn delete(&mut self, id: i64) {
        let (entries, stood) = self.gone(id);
        let n = self.rows.remove(&id).unwrap();
        let had = Self::had(stood);
        let expected = Op::Delete {
            old: ints(&[id, n, had[0], had[1]]),
        };
        self.logged(Op::Delete { old: ints(&[id, n]) }, entries, Some(expected));
    }

    fn rename(&mut self, id: i64, to: i64) {
        let (mut entries, stood) = self.gone(id);
        let (come, _, version) = self.given(to);
        entries.push(come);
        let n = self.rows.remove(&id).unwrap();
        self.rows.insert(to, n);
        let had = Self::had(stood);
        let op = Op::Update {
            old: Some(ints(&[id, n])),
            new: ints(&[to, n]),
        };
        let expected = Op::Update {
            old: Some(ints(&[id, n, had[0], had[1]])),
            new: ints(&[to, n, version, 7]),
        };
        self.logged(op, entries, Some(expected));
    }
}

fn join() -> Join {
    Join::new(TableId::new("s", "t"), vec!["id".to_owned()], 1 << 20)
}

fn xorshift(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn random(server: &mut Server, seed: &mut u64) {
    let mut pick = |end: u64| i64::try_from(xorshift(seed) % end).unwrap();
    let (id, other, n) = (pick(4), pick(4), pick(3));
    match (server.rows.contains_key(&id), pick(5)) {
        (false, _) => server.insert(id, n),
        (true, 0) => server.delete(id),
        (true, 1) if !server.rows.contains_key(&other) => server.rename(id, other),
        (true, _) => server.update(id, n),
    }
}

/// Rows and entries each in their own order, any of them first: `true` = a row.
fn interleaved(log: &[(Change, Vec<Change>, Option<Op>)], order: u64, seed: &mut u64) -> Vec<(bool, Change)> {
    let mut events = Vec::new();
    for statement in log.chunks(match order {
        0 => 1,
        _ => 3,
    }) {
        let mut rows: VecDeque<_> = statement.iter().map(|(row, ..)| (true, row.clone())).collect();
        let entries = statement.iter().flat_map(|(_, entries, _)| entries);
        let mut entries: VecDeque<_> = entries.map(|entry| (false, entry.clone())).collect();
        while !rows.is_empty() || !entries.is_empty() {
            let row_next = match order {
                0 | 1 => true,
                2 => false,
                _ => xorshift(seed).is_multiple_of(2),
            };
            let next = match row_next {
                true => rows.pop_front().or_else(|| entries.pop_front()),
                false => entries.pop_front().or_else(|| rows.pop_front()),
            };
            events.extend(next);
        }
    }
    events
}

fn run(join: &mut Join, events: &[(bool, Change)]) -> Result<Vec<Change>> {
    let mut out = Vec::new();
    for (is_row, change) in events {
        match is_row {
            true => join.row(change.clone(), &mut out)?,
            false => join.stamp(change, &mut out)?,
        }
    }
    join.end()?;
    Ok(out)
}

/// Whatever comes first in the log, it reads as if the stamps stood in the rows; without one of them it does not.
#[test]
fn any_order_gives_what_columns_would_have_logged() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..4_000_u64 {
        let mut server = Server::new();
        // Rows from before Tidelock, without an entry.
        server.rows.extend([(0, 0), (2, 1)]);
        let mut join = join();
        for _ in 0..3 {
            server.log.clear();
            (0..1 + xorshift(&mut seed) % 12).for_each(|_| random(&mut server, &mut seed));
            let events = interleaved(&server.log, round % 4, &mut seed);
            let found: Vec<Op> = run(&mut join, &events)
                .unwrap()
                .into_iter()
                .map(|c| c.op)
                .collect();
            let expected: Vec<Op> = server.log.iter().filter_map(|(.., op)| op.clone()).collect();
            assert_eq!(found, expected, "round {round}");
            let left_out = usize::try_from(xorshift(&mut seed)).unwrap_or(usize::MAX) % events.len();
            let is_noop = match &events[left_out] {
                (
                    true,
                    Change {
                        op: Op::Update { old, new },
                        ..
                    },
                ) => old.as_ref() == Some(new),
                (
                    false,
                    Change {
                        op: Op::Insert { new },
                        ..
                    },
                ) => new.get(2) == Some(&Value::Int(0)),
                _ => false,
            };
            let mut broken = events.clone();
            broken.remove(left_out);
            let mut other = self::join();
            assert_eq!(run(&mut other, &broken).is_err(), !is_noop, "round {round}");
        }
    }
}

#[test]
fn tables_keep_their_identity_and_collected_tombstones_say_nothing() {
    let mut server = Server::new();
    server.insert(1, 1);
    server.update(1, 2);
    let events = interleaved(&server.log, 0, &mut 1);
    let mut join = join();
    let found = run(&mut join, &events).unwrap();
    assert!(Arc::ptr_eq(&found[0].table, &found[1].table));
    let names: Vec<&str> = found[0].table.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "n", VERSION_COLUMN, ORIGIN_COLUMN]);
    // A stamp that its row counts as anyway, and one that is taken away by hand.
    let mut by_hand = |op| join.stamp(&server.of_stamps(op), &mut Vec::new()).unwrap();
    by_hand(Op::Insert {
        new: ints(&[9, 1, 0, 0]),
    });
    by_hand(Op::Update {
        old: Some(ints(&[8, 5, 7, 0])),
        new: ints(&[8, 5, WITHDRAWN, 0]),
    });
    by_hand(Op::Delete {
        old: ints(&[8, 5, WITHDRAWN, 0]),
    });
    join.end().unwrap();
}

/// Tidelock's own come before their rows, a person's behind.
#[test]
fn a_touch_is_an_update_that_changes_nothing() {
    let row = |id: i64| Op::Update {
        old: Some(ints(&[id, 5])),
        new: ints(&[id, 5]),
    };
    let touch = |id: i64| Op::Update {
        old: Some(ints(&[id, 3, 7, 0])),
        new: ints(&[id, 9, 8, 1]),
    };
    let expected = |id: i64| Op::Update {
        old: Some(ints(&[id, 5, 3, 7])),
        new: ints(&[id, 5, 9, 8]),
    };
    let server = Server::new();
    let rows = |id| {
        let table = Arc::clone(&server.rows_of);
        (true, Change { table, op: row(id) })
    };
    let stamps = |id| (false, server.of_stamps(touch(id)));
    let of = |events: &[(bool, Change)]| run(&mut join(), events);
    let ops = |found: Vec<Change>| found.into_iter().map(|c| c.op).collect::<Vec<_>>();
    let found = of(&[stamps(1), stamps(2), rows(1), rows(2), rows(3)]).unwrap();
    assert_eq!(ops(found), [expected(1), expected(2)]);
    let found = of(&[rows(3), rows(1), stamps(1), rows(2), stamps(2)]).unwrap();
    assert_eq!(ops(found), [expected(1), expected(2)]);
    assert!(
        of(&[rows(1), rows(2), stamps(1)]).is_err(),
        "its row did not come last"
    );
}

/// As MySQL logs it.
#[test]
fn a_row_that_is_put_back_under_its_stamp_is_an_update() {
    let server = Server::new();
    let row = |op| {
        let table = Arc::clone(&server.rows_of);
        (true, Change { table, op })
    };
    let gone = |id: i64| row(Op::Delete { old: ints(&[id, 5]) });
    let back = |id: i64| row(Op::Insert { new: ints(&[id, 6]) });
    let touch = |id: i64| {
        let op = Op::Update {
            old: Some(ints(&[id, 3, 7, 0])),
            new: ints(&[id, 9, 8, 1]),
        };
        (false, server.of_stamps(op))
    };
    let expected = |id: i64| Op::Update {
        old: Some(ints(&[id, 5, 3, 7])),
        new: ints(&[id, 6, 9, 8]),
    };
    let of = |events: &[(bool, Change)]| run(&mut join(), events);
    let found = of(&[gone(1), gone(2), back(1), back(2), touch(1), touch(2)]).unwrap();
    let ops: Vec<Op> = found.into_iter().map(|c| c.op).collect();
    assert_eq!(ops, [expected(1), expected(2)]);
    assert!(
        of(&[gone(1), touch(1), back(1)]).is_err(),
        "it came before its row was back"
    );
    assert!(of(&[gone(1), back(1)]).is_err(), "its stamp did not come");
    assert!(of(&[gone(1), touch(1)]).is_err(), "its row did not come back");
    // A new row above a stamp that was left without its row.
    let found = of(&[back(1), touch(1)]).unwrap();
    assert_eq!(
        found[0].op,
        Op::Insert {
            new: ints(&[1, 6, 9, 8])
        }
    );
}

#[test]
fn an_entry_that_says_another_thing_stops() {
    let mut server = Server::new();
    server.insert(1, 1);
    server.delete(1);
    // A user's trigger deleted the row before ours had stamped it: the entries come in the other order.
    let [(first, a, _), (second, b, _)] = &server.log[..] else {
        panic!("two changes");
    };
    let events = [
        (true, first.clone()),
        (true, second.clone()),
        (false, b[0].clone()),
        (false, a[0].clone()),
    ];
    let why = run(&mut join(), &events).unwrap_err().to_string();
    assert!(why.contains("another thing"), "{why}");
}

#[test]
fn a_statement_that_is_too_large_is_refused_and_its_memory_is_given_back() {
    let mut join = Join::new(TableId::new("s", "t"), vec!["id".to_owned()], 64 << 10);
    for _ in 0..50 {
        let mut server = Server::new();
        (0..100).for_each(|id| server.insert(id, 1));
        let log = &server.log;
        let rows = log.iter().map(|(row, ..)| (true, row.clone()));
        let entries = log
            .iter()
            .flat_map(|(_, entries, _)| entries.iter().map(|e| (false, e.clone())));
        let events: Vec<_> = rows.chain(entries).collect();
        assert_eq!(run(&mut join, &events).unwrap().len(), 100);
    }
    let mut server = Server::new();
    (0..5_000).for_each(|id| server.insert(id, 1));
    let events: Vec<_> = server.log.iter().map(|(row, ..)| (true, row.clone())).collect();
    let why = run(&mut join, &events).unwrap_err().to_string();
    assert!(why.contains("wait for each other"), "{why}");
}

#[test]
fn numbers_are_compared_to_the_bit() {
    let row = |number: f64| -> Row { [Some(Value::Double(number))].into_iter().collect() };
    assert!(is_same(&row(f64::NAN), &row(f64::NAN)));
    assert!(!is_same(&row(0.0), &row(-0.0)));
    assert!(is_same(&row(1.5), &row(1.5)));
}
