//! The line at the foot of a terminal while `run` copies: a bar, rows, pace and the time that is left.
//!
//! Owns: the line itself ([`line`], pure), and that logs and it do not run into each other: whatever is logged goes above
//! it. Refuses: drawing where stderr is no terminal. There is one stderr, so there is one line.

use super::render;
use crate::flow::progress::{Copying, Pace};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

const BAR: usize = 10;
/// Terminals are no narrower, and a line that wraps could not be taken back.
const COLUMNS: usize = 79;
const CLEAR: &str = "\r\u{1b}[K";

/// What is drawn now.
static DRAWN: Mutex<String> = Mutex::new(String::new());

fn drawn() -> MutexGuard<'static, String> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws it, or takes it away: an empty one.
pub(super) fn draw(line: String) {
    let mut drawn = drawn();
    if *drawn == line || !io::stderr().is_terminal() {
        return;
    }
    // A terminal that is gone has nobody to tell.
    let _ = write!(io::stderr().lock(), "{CLEAR}{line}");
    *drawn = line;
}

/// Where logs go: above the line.
#[derive(Debug)]
pub(super) struct Above;

impl Write for Above {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let drawn = drawn();
        let mut out = io::stderr().lock();
        if drawn.is_empty() {
            return out.write(text);
        }
        out.write_all(CLEAR.as_bytes())?;
        out.write_all(text)?;
        out.write_all(drawn.as_bytes())?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Of the links that copy, by name. Several are told as one.
pub(super) fn line(copying: &[(String, Copying)]) -> String {
    let (name, all) = match copying {
        [] => return String::new(),
        [(name, one)] => {
            let table = one.tables.first().map_or("", |pace| pace.table.as_str());
            (format!("{name} {table}"), one.all.clone())
        }
        many => (format!("{} links copy", many.len()), sum(many)),
    };
    let filled = usize::try_from(all.done_permille).unwrap_or_default().min(1_000) * BAR / 1_000;
    let bar = "#".repeat(filled) + &"-".repeat(BAR - filled);
    let percent = all.done_permille / 10;
    let words = format!("[{bar}] {percent} %  {}", pace(&all));
    let room = COLUMNS.saturating_sub(words.chars().count() + 1);
    let name: String = name.trim().chars().take(room).collect();
    let line = format!("{name} {words}");
    line.chars().take(COLUMNS).collect()
}

/// In words: `1200 of ~5000 rows, 300 rows/s, ~12 s left`.
pub(super) fn pace(pace: &Pace) -> String {
    let mut words = match pace.rows_estimated {
        Some(rows) => format!("{} of ~{} rows", pace.rows, rows.max(pace.rows)),
        None => format!("{} rows", pace.rows),
    };
    if let Some(seconds) = pace.seconds_left {
        let left = render::age(seconds.saturating_mul(1_000));
        words.push_str(&format!(", {:.0} rows/s, ~{left} left", pace.rows_per_second));
    }
    words
}

fn sum(copying: &[(String, Copying)]) -> Pace {
    let mut sum = Pace::default();
    let mut permille = 0;
    for (_, Copying { all, .. }) in copying {
        sum.rows += all.rows;
        sum.rows_estimated = match (sum.rows_estimated, all.rows_estimated) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        sum.rows_per_second += all.rows_per_second;
        sum.seconds_left = sum.seconds_left.max(all.seconds_left);
        permille += all.done_permille;
    }
    sum.done_permille = permille / u64::try_from(copying.len()).unwrap_or(1).max(1);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copying(rows: u64, estimated: Option<u64>, left: Option<u64>) -> Copying {
        let all = Pace {
            rows,
            rows_estimated: estimated,
            rows_per_second: 300.0,
            seconds_left: left,
            done_permille: 450,
            ..Pace::default()
        };
        let table = Pace {
            table: "public.item".to_owned(),
            ..Pace::default()
        };
        Copying {
            all,
            tables: vec![table],
        }
    }

    #[test]
    fn it_says_how_far_how_fast_and_how_long() {
        assert_eq!(line(&[]), "");
        let one = ("a->b".to_owned(), copying(900, Some(2_000), Some(180)));
        assert_eq!(
            line(std::slice::from_ref(&one)),
            "a->b public.item [####------] 45 %  900 of ~2000 rows, 300 rows/s, ~3 min left"
        );
        let other = ("b->a".to_owned(), copying(100, None, Some(10)));
        assert_eq!(
            line(&[one, other]),
            "2 links copy [####------] 45 %  1000 of ~2000 rows, 600 rows/s, ~3 min left"
        );
        let unpaced = ("a->b".to_owned(), copying(5, None, None));
        assert_eq!(line(&[unpaced]), "a->b public.item [####------] 45 %  5 rows");
    }

    #[test]
    fn it_never_wraps() {
        let long = ("x".repeat(200), copying(u64::MAX, Some(u64::MAX), Some(u64::MAX)));
        assert!(line(&[long]).chars().count() <= COLUMNS);
    }
}
