//! What users do to the rows of a shop, as statements for either engine: rows, and changes of all kinds to them.

use super::{Pair, Random, Side, Way};
use crate::harness::Kind;

/// Keys of the rows that were there before the first copy.
pub const OLD: i64 = 0;
pub const OF_A: i64 = 1_000_000;
pub const OF_B: i64 = 2_000_000;
pub const ONCE: i64 = 100_000;

pub fn steps(pair: Pair, way: Way, side: Side, base: i64) -> String {
    if way.sources().contains(&side) {
        format!("{};{}", rows(pair, side, base), changes_of(base))
    } else {
        String::new()
    }
}

pub fn rows(pair: Pair, side: Side, base: i64) -> String {
    let kind = if side == Side::A { pair.0 } else { pair.1 };
    let id = |n: i64| base + n;
    let mut list = vec![];
    for n in 1..=30 {
        let note = if n % 3 == 0 {
            "NULL".to_owned()
        } else {
            format!("'note {n} é 🌊 \"x\" ''y'''")
        };
        list.push(format!(
            "INSERT INTO item VALUES ({}, 'item {n}', {n}, {note})",
            id(n)
        ));
    }
    for n in 1..=6 {
        let (text, bytes) = (
            long_text(id(n) as u64, 60_000),
            long_bytes(kind, id(n) as u64, 20_000),
        );
        list.push(format!(
            "INSERT INTO doc VALUES ({}, 'doc {n}', '{text}', {bytes})",
            id(n)
        ));
    }
    for word in [
        "alpha", "Alpha", "ALPHA", "ä", "Ä", "straße", "日本", "🌊", "it''s", "a b", "%_\"`", "",
    ] {
        list.push(format!("INSERT INTO word VALUES ('{word}{base}', 1)"));
        list.push(format!("INSERT INTO line VALUES ({}, '{word}', 7)", id(1)));
        list.push(format!("INSERT INTO line VALUES ({}, '{word}', 8)", id(2)));
    }
    for n in 1..=9 {
        list.push(format!("INSERT INTO seat VALUES ({}, 'place {}')", id(n), id(n)));
    }
    list.push(format!("INSERT INTO order_head VALUES ({}, 'first')", id(1)));
    list.push(format!("INSERT INTO order_line VALUES ({}, {}, 1)", id(1), id(1)));
    list.join(";")
}

pub fn changes_of(base: i64) -> String {
    [plain(base), transactions(base), keys(base), uniques(base)].join(";")
}

fn plain(base: i64) -> String {
    let id = |n: i64| base + n;
    [
        format!("UPDATE item SET n = n + 1000, note = NULL WHERE id = {}", id(1)),
        format!("UPDATE item SET note = 'now a note' WHERE id = {}", id(3)),
        format!(
            "UPDATE item SET n = n * 2 WHERE id BETWEEN {} AND {}",
            id(4),
            id(8)
        ),
        // Nothing changes.
        format!("UPDATE item SET n = n WHERE id = {}", id(9)),
        format!("UPDATE item SET n = 0 WHERE id = {} AND n = -1", id(9)),
        format!("DELETE FROM item WHERE id IN ({}, {})", id(10), id(11)),
        // Long values: untouched, touched, gone.
        format!("UPDATE doc SET title = 'only the title' WHERE id = {}", id(1)),
        format!("UPDATE doc SET body = concat(body, 'more') WHERE id = {}", id(2)),
        format!("UPDATE doc SET raw = NULL, title = NULL WHERE id = {}", id(3)),
        format!("DELETE FROM doc WHERE id = {}", id(4)),
    ]
    .join(";")
}

fn transactions(base: i64) -> String {
    let id = |n: i64| base + n;
    let (one, two, three) = (id(40), id(41), id(42));
    [
        // Parents and children, to and fro.
        format!("BEGIN; INSERT INTO order_head VALUES ({one}, 'c'); INSERT INTO order_line VALUES ({one}, {one}, 5); INSERT INTO order_line VALUES ({two}, {one}, 6); UPDATE item SET n = n + 1 WHERE id = {}; COMMIT", id(12)),
        format!("BEGIN; INSERT INTO order_head VALUES ({two}, 'd'); UPDATE order_line SET head = {two} WHERE head = {one}; DELETE FROM order_head WHERE id = {one}; COMMIT"),
        "BEGIN; COMMIT".to_owned(),
        "BEGIN; UPDATE item SET n = 1 WHERE id = -1; COMMIT".to_owned(),
        format!("BEGIN; INSERT INTO item VALUES ({one}, 'never', 0, NULL); DELETE FROM item WHERE id < {one}; ROLLBACK"),
        format!("BEGIN; INSERT INTO item VALUES ({one}, 'kept', 1, NULL); SAVEPOINT s; INSERT INTO item VALUES ({two}, 'dropped', 2, NULL); UPDATE item SET n = -1 WHERE id = {one}; ROLLBACK TO SAVEPOINT s; INSERT INTO item VALUES ({three}, 'kept', 3, NULL); SAVEPOINT t; UPDATE item SET n = 33 WHERE id = {three}; RELEASE SAVEPOINT t; COMMIT"),
        // Everything to one row in one transaction: it comes to nothing.
        format!("BEGIN; INSERT INTO item VALUES ({0}, 'x', 1, 'y'); UPDATE item SET n = 2 WHERE id = {0}; DELETE FROM item WHERE id = {0}; COMMIT", id(43)),
        // Out and in again, in one transaction and apart.
        format!("BEGIN; DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'again', 7, 'in one'); COMMIT", id(13)),
        format!("DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'again', 8, 'apart'); UPDATE item SET n = 9 WHERE id = {0}", id(14)),
        format!("DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'twice', 1, 'a'); DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'twice', 2, 'b')", id(15)),
    ]
    .join(";")
}

fn keys(base: i64) -> String {
    let id = |n: i64| base + n;
    [
        format!("UPDATE item SET id = {} WHERE id = {}", id(60), id(16)),
        format!("UPDATE item SET id = {}, n = 5, note = 'moved' WHERE id = {}", id(61), id(17)),
        // The long values of this row do not change, so PostgreSQL does not send them.
        format!("UPDATE doc SET id = {} WHERE id = {}", id(60), id(5)),
        format!("BEGIN; UPDATE doc SET title = 'then moved' WHERE id = {0}; UPDATE doc SET id = {1} WHERE id = {0}; UPDATE doc SET title = 'and changed' WHERE id = {1}; COMMIT", id(6), id(61)),
        // Away and back, and round in a circle, within one transaction.
        format!("BEGIN; UPDATE item SET id = {1} WHERE id = {0}; UPDATE item SET id = {0}, n = 77 WHERE id = {1}; COMMIT", id(18), id(62)),
        format!("BEGIN; UPDATE item SET id = {2} WHERE id = {0}; UPDATE item SET id = {0} WHERE id = {1}; UPDATE item SET id = {1} WHERE id = {2}; COMMIT", id(19), id(20), id(63)),
        // A key that somebody has left is free again.
        format!("INSERT INTO item VALUES ({}, 'successor', 1, NULL)", id(16)),
        format!("UPDATE word SET n = n + 1 WHERE w IN ('alpha{base}', 'Ä{base}', '{base}', '🌊{base}')"),
        format!("UPDATE word SET w = 'beta{base}' WHERE w = 'Alpha{base}'"),
        format!("UPDATE word SET w = 'AlPhA{base}' WHERE w = 'ALPHA{base}'"),
        format!("DELETE FROM word WHERE w = 'straße{base}'"),
        format!("UPDATE line SET qty = 9 WHERE ord = {} AND part = 'alpha'", id(1)),
        format!("UPDATE line SET ord = {} WHERE ord = {} AND part = 'ä'", id(3), id(1)),
        format!("UPDATE line SET part = 'other' WHERE ord = {} AND part = '日本'", id(2)),
        format!("DELETE FROM line WHERE ord = {} AND part <> 'ALPHA' AND part <> 'other'", id(2)),
    ]
    .join(";")
}

fn uniques(base: i64) -> String {
    let id = |n: i64| base + n;
    let place = |n: i64| format!("'place {}'", base + n);
    let set = |n: i64, to: String| format!("UPDATE seat SET place = {to} WHERE id = {}", id(n));
    let steps = |list: &[String]| format!("BEGIN; {}; COMMIT", list.join("; "));
    [
        // Two change places, three go round, one takes what a deleted row leaves behind.
        steps(&[set(1, "NULL".into()), set(2, place(1)), set(1, place(2))]),
        steps(&[
            set(3, "'nowhere'".into()),
            set(4, place(3)),
            set(5, place(4)),
            set(3, place(5)),
        ]),
        steps(&[
            format!("DELETE FROM seat WHERE id = {}", id(6)),
            format!("INSERT INTO seat VALUES ({}, {})", id(26), place(6)),
        ]),
        steps(&[
            format!("DELETE FROM seat WHERE id = {}", id(7)),
            set(8, place(7)),
            format!("INSERT INTO seat VALUES ({}, {})", id(7), place(8)),
        ]),
        // The same over several transactions that may be applied as one.
        set(9, "NULL".into()),
        format!("INSERT INTO seat VALUES ({}, {})", id(29), place(9)),
        set(9, place(29)),
    ]
    .join(";")
}

/// Not compressible enough to be kept in its row.
fn long_text(seed: u64, len: usize) -> String {
    let mut random = Random::fixed(seed);
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        text.push_str(&format!("{:x}", random.next()));
    }
    text
}

fn long_bytes(kind: Kind, seed: u64, len: usize) -> String {
    let digits = long_text(seed, len * 2);
    let digits = &digits[..len * 2];
    if kind.is_postgres() {
        format!("'\\x{digits}'")
    } else {
        format!("x'{digits}'")
    }
}
