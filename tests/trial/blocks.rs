//! A large table on two nodes, compared row by row as `harness::compare` does, block by block.

use crate::harness::{Db, difference_where};

/// Rows of a block, on the first node.
const BLOCK: u64 = 25_000;

/// Panics with the first difference; returns how many rows were compared. Both nodes order the first column of the key
/// alike, or what falls between two blocks is found as a difference.
pub(crate) async fn equal(a: &Db, b: &Db, table: &str, key: &[&str], columns: &[&str]) -> u64 {
    let first = key[0];
    let mut low: Option<String> = None;
    loop {
        let above = low
            .as_ref()
            .map_or("1 = 1".to_owned(), |low| format!("{first} > '{low}'"));
        let end =
            format!("SELECT {first} FROM {table} WHERE {above} ORDER BY {first} LIMIT 1 OFFSET {BLOCK}");
        let end = a.rows(&end).await.pop().and_then(|mut row| row.remove(0));
        let block = match &end {
            Some(end) => format!("{above} AND {first} <= '{end}'"),
            None => above,
        };
        if let Some(difference) = difference_where(a, b, table, key, columns, &block).await {
            panic!("{difference}\nin {block}");
        }
        if end.is_none() {
            break;
        }
        low = end;
    }
    u64::try_from(a.count(table).await).unwrap()
}
