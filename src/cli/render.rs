//! Text for people: aligned tables, findings, colours, ages and sizes.
//!
//! Owns: how things look. Never colour alone: each mark has its word. Cells come from databases: control characters
//! are shown as escapes, so that no row can drive the terminal.

use crate::model::sync::{Finding, Level};
use std::fmt::Write as _;
use std::io::IsTerminal;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM=dumb.
    Auto,
    Always,
    Never,
}

impl Color {
    pub(super) fn is_on(self, stream: &impl IsTerminal) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => stream.is_terminal() && !refused,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Good,
    Doubtful,
    Bad,
    Strong,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub(super) on: bool,
}

impl Paint {
    pub(super) fn with(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Good => "32",
            Ink::Doubtful => "33",
            Ink::Bad => "31",
            Ink::Strong => "1",
        };
        if self.on {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn mark(self, level: Level) -> String {
        // Padded before it is painted: escapes have no width.
        match level {
            Level::Ok => self.with(Ink::Good, "✓ ok      "),
            Level::Warning => self.with(Ink::Doubtful, "! warning "),
            Level::Blocker => self.with(Ink::Bad, "✗ blocker "),
        }
    }

    /// One finding with its code and, indented below, what mends it.
    pub(super) fn finding(self, finding: &Finding, out: &mut String) {
        let table = match &finding.table {
            Some(table) if finding.level != Level::Ok => format!("{}: ", plain(table)),
            Some(_) | None => String::new(),
        };
        let code = if finding.code.is_empty() {
            String::new()
        } else {
            format!("{} ", finding.code)
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  {} {code}{table}{}",
            self.mark(finding.level),
            plain(&finding.what)
        );
        if let Some(line) = &finding.line {
            let _ = writeln!(out, "             {} | {}", plain(&line.place), plain(&line.text));
        }
        for (number, line) in finding.fix.iter().flat_map(|fix| fix.lines()).enumerate() {
            let label = if number == 0 { "fix: " } else { "     " };
            let _ = writeln!(out, "             {label}{}", plain(line));
        }
    }
}

/// Left-aligned columns, two blanks between; the first row is the heading.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The text without control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let kept = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(kept)
        })
        .collect()
}

/// At most `chars` of it.
pub(super) fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

pub(super) fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut whole = bytes;
    let mut unit = 0;
    while whole >= 1_024 * 1_024 && unit + 1 < units.len() {
        whole /= 1_024;
        unit += 1;
    }
    format!("{}.{} {}", whole / 1_024, whole % 1_024 * 10 / 1_024, units[unit])
}

pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["LINK", "STATE"], ["pg->my", "ok"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "LINK    STATE\npg->my  ok\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn no_cell_drives_the_terminal() {
        assert_eq!(plain("a\u{1b}[2J\nb\té"), "a\\u{1b}[2J\\nb\\té");
    }

    #[test]
    fn findings_are_marked_by_word_and_carry_the_mend() {
        let mut out = String::new();
        let paint = Paint { on: false };
        let finding = Finding::blocker("E301", "my", "no key")
            .table("shop.t")
            .fix("ALTER\nTABLE");
        paint.finding(&finding, &mut out);
        assert_eq!(
            out,
            "  ✗ blocker  E301 shop.t: no key\n             fix: ALTER\n                  TABLE\n"
        );
        assert_eq!(Paint { on: true }.with(Ink::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
    }

    #[test]
    fn ages_and_sizes_read_easily() {
        assert_eq!(
            [
                age(40),
                age(9_000),
                age(180_000),
                age(9_000_000),
                age(400_000_000)
            ],
            ["40 ms", "9 s", "3 min", "2 h", "4 d"]
        );
        assert_eq!(
            [size(10), size(2_048), size(1_572_864), size(5 << 30)],
            ["10 B", "2.0 kB", "1.5 MB", "5.0 GB"]
        );
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
