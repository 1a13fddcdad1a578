//! Chunks: ranges of a table's key, the unit in which a table is copied.
//!
//! Owns: [`Chunk`] and [`Range`], how large a chunk is, which keys can be cut, and the form in which bounds are kept.
//! Refuses: finding the bounds (see each engine's `chunk`), statement text and I/O. Pure.
//!
//! The ranges of a table cover every key there can be, also those that come later: the first has no lower bound and
//! the last no upper one. The server that finds the bounds compares with them as well, so any order will do that it
//! keeps to; a key without such an order makes the table one chunk.

use crate::model::schema::{Column, ColumnType, Engine, Table, TableId};
use crate::model::sync::Size;

/// A chunk is one target transaction and what is done again after a crash: some seconds' work.
const ROWS_MAX: u64 = 50_000;
const BYTES_MAX: u64 = 16 << 20;
/// Whatever a row's size by the statistics: a count that is far too low must not make a chunk of every row.
const ROWS_MIN: u64 = 16;

/// One text per column of the key.
pub type Bound = Vec<String>;

/// Keys above `low`, up to and with `high`. `None`: no bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    pub low: Option<Bound>,
    pub high: Option<Bound>,
}

impl Range {
    pub fn is_whole(&self) -> bool {
        self.low.is_none() && self.high.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// As the source calls it.
    pub table: TableId,
    pub number: i64,
    pub range: Range,
    pub is_done: bool,
    /// `None`: the server has never counted the table.
    pub estimated_rows: Option<u64>,
    pub estimated_bytes: u64,
    pub copied_rows: u64,
    pub copied_bytes: u64,
}

/// How many rows a chunk holds.
pub fn rows(size: Option<Size>, rows_max: u64) -> u64 {
    let rows_max = rows_max.clamp(1, ROWS_MAX);
    // Bytes of no rows: the count is from before the table was filled.
    let known = size.and_then(|size| size.rows.map(|rows| (rows, size.bytes)));
    let Some((rows, bytes)) = known.filter(|(rows, _)| *rows > 0) else {
        return rows_max;
    };
    let row = (bytes / rows).max(1);
    (BYTES_MAX / row).clamp(ROWS_MIN.min(rows_max), rows_max)
}

/// The chunks of a table between these bounds, each with its part of the table's size.
pub fn between(table: &TableId, bounds: Vec<Bound>, size: Option<Size>) -> Vec<Chunk> {
    let count = bounds.len() as u64 + 1;
    let lows = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
    let highs = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
    let chunk = |(number, (low, high))| Chunk {
        table: table.clone(),
        number,
        range: Range { low, high },
        is_done: false,
        estimated_rows: size.and_then(|size| size.rows).map(|rows| rows / count),
        estimated_bytes: size.map_or(0, |size| size.bytes / count),
        copied_rows: 0,
        copied_bytes: 0,
    };
    (0..).zip(lows.zip(highs)).map(chunk).collect()
}

/// Is the key one whole number, whose ranges may be told without looking for them? Not of a domain, which may refuse
/// the numbers between.
pub fn is_counted(engine: Engine, table: &Table) -> bool {
    let is_number = |column: &Column| match engine {
        Engine::Postgres => matches!(column.sql_type.as_str(), "smallint" | "integer" | "bigint"),
        Engine::Mysql | Engine::Mariadb => matches!(column.ty, ColumnType::Int { .. }),
    };
    let column = |place: &usize| table.columns.get(*place).is_some_and(is_number);
    table.key.len() == 1 && table.key.iter().all(column)
}

/// Every so many numbers between the least and the greatest key, where rows have at least half of the numbers: no
/// chunk is too large then, and few are small. `None`: the bounds are to be looked for.
pub fn even(least: &str, greatest: &str, rows: u64, size: Option<Size>) -> Option<Vec<Bound>> {
    let (least, greatest): (i128, i128) = (least.parse().ok()?, greatest.parse().ok()?);
    let counted = i128::from(size?.rows?);
    if greatest - least >= counted * 2 {
        return None;
    }
    let step = usize::try_from(rows.max(1)).ok()?;
    let bounds = (least - 1..=greatest).step_by(step).skip(1);
    Some(bounds.map(|bound| vec![bound.to_string()]).collect())
}

/// Does the server keep one order of the key, in its index and in a comparison with a bound's text?
pub fn is_ordered(engine: Engine, table: &Table) -> bool {
    let mut key = table.key.iter().map(|place| table.columns.get(*place));
    !table.key.is_empty() && key.all(|column| column.is_some_and(|column| is_comparable(engine, column)))
}

fn is_comparable(engine: Engine, column: &Column) -> bool {
    match (&column.ty, engine) {
        // Of an extension: its operators are not where sessions look, and another type's would be found.
        (ColumnType::Opaque { name }, Engine::Postgres) => !name.contains('.') && name != "citext",
        (ColumnType::Enum { .. } | ColumnType::Set { .. }, Engine::Mysql | Engine::Mariadb) => {
            // Ordered by number, and compared with a text by text.
            false
        }
        // No text that a comparison reads back as just the value.
        (
            ColumnType::Float
            | ColumnType::Double
            | ColumnType::Bit { .. }
            | ColumnType::Json { .. }
            | ColumnType::Interval
            | ColumnType::Opaque { .. },
            Engine::Mysql | Engine::Mariadb,
        ) => false,
        (_, Engine::Postgres | Engine::Mysql | Engine::Mariadb) => true,
    }
}

/// As it is kept. Texts only, so that it cannot fail.
pub fn to_json(bound: &Bound) -> String {
    serde_json::to_string(bound).unwrap_or_default()
}

pub fn from_json(text: &str) -> Option<Bound> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: Option<u64>, bytes: u64) -> Option<Size> {
        Some(Size { rows, bytes })
    }

    #[test]
    fn chunks_are_bounded_in_rows_and_bytes_and_never_empty() {
        for (size, rows_max, expected) in [
            (None, u64::MAX, ROWS_MAX),
            (size(None, 1 << 40), u64::MAX, ROWS_MAX),
            (size(Some(0), 0), u64::MAX, ROWS_MAX),
            (size(Some(1_000_000), 100_000_000), u64::MAX, ROWS_MAX),
            (size(Some(1_000), 1_000 << 20), u64::MAX, 16),
            (size(Some(10), 10 << 30), u64::MAX, ROWS_MIN),
            (size(Some(0), 10 << 30), u64::MAX, ROWS_MAX),
            (size(Some(10), 10 << 30), 1, 1),
            (size(Some(1_000_000), 100_000_000), 100, 100),
            (None, 0, 1),
        ] {
            assert_eq!(rows(size, rows_max), expected, "{size:?} {rows_max}");
        }
    }

    #[test]
    fn ranges_meet_and_leave_nothing_out() {
        let bound = |text: &str| vec![text.to_owned()];
        let id = TableId::new("s", "t");
        let chunks = between(&id, vec![bound("5"), bound("9")], size(Some(30), 300));
        let ranges: Vec<_> = chunks.iter().map(|chunk| chunk.range.clone()).collect();
        let range = |low: Option<&str>, high: Option<&str>| Range {
            low: low.map(bound),
            high: high.map(bound),
        };
        assert_eq!(
            ranges,
            [
                range(None, Some("5")),
                range(Some("5"), Some("9")),
                range(Some("9"), None)
            ]
        );
        assert_eq!((chunks[2].number, chunks[2].estimated_rows), (2, Some(10)));
        assert!(between(&id, Vec::new(), None)[0].range.is_whole());
    }

    #[test]
    fn dense_numbers_are_cut_by_counting() {
        let cut = |least: &str, greatest: &str, rows, counted| {
            even(least, greatest, rows, size(Some(counted), 0)).map(|bounds| bounds.concat())
        };
        let texts =
            |bounds: &[&str]| Some(bounds.iter().map(|bound| (*bound).to_owned()).collect::<Vec<_>>());
        assert_eq!(cut("1", "10", 5, 10), texts(&["5", "10"]));
        assert_eq!(cut("1", "9", 5, 10), texts(&["5"]));
        assert_eq!(cut("-3", "3", 3, 4), texts(&["-1", "2"]));
        assert_eq!(cut("7", "7", 5, 1), texts(&[]));
        assert_eq!(cut("1", "21", 5, 10), None);
        assert_eq!(cut("0", "18446744073709551615", 5, 10), None);
        assert_eq!(even("1", "10", 5, None), None);
    }

    #[test]
    fn bounds_are_kept_exactly() {
        let bound = vec!["a\"b\\\u{0}é🌊".to_owned(), String::new()];
        assert_eq!(from_json(&to_json(&bound)), Some(bound));
        assert_eq!(from_json("1"), None);
    }

    #[test]
    fn keys_that_are_compared_in_another_order_are_not_cut() {
        let table = |ty: ColumnType| Table {
            id: TableId::new("s", "t"),
            columns: vec![Column {
                name: "id".to_owned(),
                ty,
                sql_type: String::new(),
                collation: String::new(),
                nullable: false,
                generated: false,
                has_default: false,
            }],
            key: vec![0],
            uniques: Vec::new(),
            external: None,
        };
        let labels = vec!["b".to_owned(), "a".to_owned()];
        let opaque = |name: &str| ColumnType::Opaque {
            name: name.to_owned(),
        };
        for (ty, postgres, mysql) in [
            (ColumnType::Uuid, true, true),
            (ColumnType::Date, true, true),
            (ColumnType::Double, true, false),
            (ColumnType::Enum { labels }, true, false),
            (opaque("inet"), true, false),
            (opaque("public.citext"), false, false),
        ] {
            let table = table(ty);
            assert_eq!(is_ordered(Engine::Postgres, &table), postgres, "{table:?}");
            for engine in [Engine::Mysql, Engine::Mariadb] {
                assert_eq!(is_ordered(engine, &table), mysql, "{table:?}");
            }
        }
        let keyless = Table {
            key: Vec::new(),
            ..table(ColumnType::Uuid)
        };
        assert!(!is_ordered(Engine::Postgres, &keyless));
    }
}
