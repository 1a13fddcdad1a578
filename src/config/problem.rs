//! What is wrong in a configuration, and how it is shown: line, caret, the nearest right word.
//!
//! Owns: [`Problem`], [`Failure`] (all problems of one file) and the masking of passwords in quoted lines.
//! Refuses: printing a secret. A quoted line loses the password of a URL and the value of a password key.

use crate::error::{Error, Reason};
use crate::model::sync::ConfigLine;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing to mend. `span` is in bytes of the file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub hint: Option<String>,
    pub span: Option<Range<usize>>,
}

impl Problem {
    pub fn new(what: impl Into<String>) -> Self {
        Problem {
            what: what.into(),
            hint: None,
            span: None,
        }
    }

    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span.get_or_insert(span);
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds `did you mean` when one of the words is near.
    pub fn nearest<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, candidates) {
            Some(word) => self.hint(format!("did you mean \"{word}\"?")),
            None => self,
        }
    }
}

/// Everything that is wrong with one configuration.
#[derive(Debug)]
pub struct Failure {
    pub path: Option<PathBuf>,
    pub problems: Vec<Located>,
}

/// A problem with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Located {
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The quoted line with its caret, as a person reads it.
    #[serde(skip)]
    pub shown: String,
}

impl Failure {
    pub(super) fn new(path: &Path, text: &str, problems: Vec<Problem>) -> Self {
        Failure {
            path: Some(path.to_owned()),
            problems: problems
                .into_iter()
                .map(|problem| locate(path, text, problem))
                .collect(),
        }
    }

    /// Without a file: it was not found or could not be read.
    pub(super) fn without_file(path: Option<&Path>, problem: Problem) -> Self {
        let located = locate(
            path.unwrap_or(Path::new("")),
            "",
            Problem {
                span: None,
                ..problem
            },
        );
        Failure {
            path: path.map(Path::to_owned),
            problems: vec![located],
        }
    }

    pub fn rendered(&self) -> String {
        let shown: Vec<&str> = self
            .problems
            .iter()
            .map(|problem| problem.shown.as_str())
            .collect();
        shown.join("\n")
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let doing = match &failure.path {
            Some(path) => format!("use the configuration {}", path.display()),
            None => "find a configuration".to_owned(),
        };
        let count = match failure.problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        Error::definite(doing)
            .reason(Reason::Config)
            .why(format!("{count}\n{}", failure.rendered().trim_end()))
    }
}

/// A problem of a text that stands in no file, such as a flag's value, as those of the configuration are shown.
pub fn pointed(name: &str, text: &str, problem: Problem) -> String {
    locate(Path::new(name), text, problem).shown
}

/// The line on which something stands, for who finds later that it does not fit.
pub(super) fn line(path: &Path, text: &str, span: Range<usize>) -> ConfigLine {
    let place = Place::of(text, span);
    ConfigLine {
        place: format!("{}:{}", path.display(), place.line),
        text: place.quoted.trim().to_owned(),
    }
}

fn locate(path: &Path, text: &str, problem: Problem) -> Located {
    let mut shown = String::new();
    let place = problem.span.clone().map(|span| Place::of(text, span));
    match &place {
        Some(place) => {
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            // Writing to a String cannot fail.
            let _ = writeln!(
                shown,
                "{}:{}:{}: {}",
                path.display(),
                place.line,
                place.column,
                problem.what
            );
            let _ = writeln!(shown, "{margin} |");
            let _ = writeln!(shown, "{number} | {}", place.quoted);
            let _ = writeln!(
                shown,
                "{margin} | {}{}",
                " ".repeat(place.caret),
                "^".repeat(place.carets)
            );
        }
        None => {
            let _ = writeln!(shown, "{}", problem.what);
        }
    }
    if let Some(hint) = &problem.hint {
        let _ = writeln!(shown, "  hint: {hint}");
    }
    Located {
        message: problem.what,
        hint: problem.hint,
        line: place.as_ref().map(|place| place.line),
        column: place.as_ref().map(|place| place.column),
        shown,
    }
}

struct Place {
    line: usize,
    column: usize,
    /// The masked line and where its caret stands, in characters.
    quoted: String,
    caret: usize,
    carets: usize,
}

impl Place {
    fn of(text: &str, span: Range<usize>) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let end = floor(text, span.end).clamp(start, line_start + line.len().max(start - line_start));
        let (quoted, ranges) = mask(line);
        let column_of = |at: usize| masked_column(line, &ranges, at - line_start);
        let (caret, caret_end) = (column_of(start), column_of(end));
        Place {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            quoted,
            caret,
            carets: caret_end.saturating_sub(caret).max(1),
        }
    }
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

const MASK: &str = "***";

/// The line without its secrets, and the byte ranges of the line that were replaced.
fn mask(line: &str) -> (String, Vec<Range<usize>>) {
    let mut ranges = secret_ranges(line);
    ranges.sort_by_key(|range| range.start);
    let mut quoted = String::with_capacity(line.len());
    let mut kept: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    for range in ranges {
        let range = range.start.max(from)..range.end;
        if range.is_empty() {
            continue;
        }
        quoted.push_str(&line[from..range.start]);
        quoted.push_str(MASK);
        from = range.end;
        kept.push(range);
    }
    quoted.push_str(&line[from..]);
    (quoted, kept)
}

fn secret_ranges(line: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    // `scheme://user:SECRET@`, up to the last @ of the line: the password itself may hold a raw one, and quotes.
    if let Some(at) = line.find("://").map(|at| at + 3)
        && let (Some(colon), Some(last)) = (line[at..].find(':'), line[at..].rfind('@'))
        && colon < last
    {
        ranges.push(at + colon + 1..at + last);
    }
    // `password = SECRET` and its relatives, but not those that name a file or a variable.
    let mut from = 0;
    while let Some(at) = line[from..].find("password").map(|at| from + at) {
        let key_end = line[at..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .map_or(line.len(), |end| at + end);
        let key = &line[at..key_end];
        from = key_end;
        let Some(equals) = line[key_end..].find('=').map(|equals| key_end + equals) else {
            continue;
        };
        let only_blanks_between = line[key_end..equals]
            .trim_matches(['"', '\'', ' ', '\t'])
            .is_empty();
        if only_blanks_between && !key.ends_with("_file") && !key.ends_with("_env") {
            let value = equals + 1 + (line[equals + 1..].len() - line[equals + 1..].trim_start().len());
            ranges.push(value..line.trim_end().len().max(value));
            break;
        }
    }
    ranges
}

/// Column in characters of the masked line for a byte of the line; a place inside a secret is its start.
fn masked_column(line: &str, ranges: &[Range<usize>], at: usize) -> usize {
    let mut column = 0;
    let mut from = 0;
    for range in ranges {
        if at <= range.start {
            break;
        }
        column += line[from..range.start].chars().count();
        if at < range.end {
            return column;
        }
        column += MASK.len();
        from = range.end;
    }
    column + line[from..at.clamp(from, line.len())].chars().count()
}

/// The candidate that a slip of the finger away from `word` would be.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two swapped letters are two replacements.
    let far = word.chars().count().div_ceil(3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals and replacements between two words, whatever their case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_never_reach_the_quoted_line() {
        for (line, quoted) in [
            (
                r#"url = "postgres://u:se/c@ret@h/d""#,
                r#"url = "postgres://u:***@h/d""#,
            ),
            (
                r#"url = "postgres://u:it's@h/d?x=1""#,
                r#"url = "postgres://u:***@h/d?x=1""#,
            ),
            (r#"password = "hunter2""#, "password = ***"),
            (
                r#"a = { setup_password = 'x', b = 1 }"#,
                "a = { setup_password = ***",
            ),
            (r#"password_file = "/run/x""#, r#"password_file = "/run/x""#),
            (r#"password_command = "pass show x""#, "password_command = ***"),
            (r#"url = "mysql://u@h/d""#, r#"url = "mysql://u@h/d""#),
        ] {
            assert_eq!(mask(line).0, quoted);
        }
    }

    #[test]
    fn the_caret_stands_under_its_word_behind_a_mask() {
        let text = "x = 1\ny = \"postgres://u:longsecret@h/d\" oops\n";
        let at = text.find("oops").unwrap();
        let place = Place::of(text, at..at + 4);
        assert_eq!((place.line, place.carets), (2, 4));
        assert_eq!(&place.quoted[place.caret..place.caret + 4], "oops");
    }

    #[test]
    fn a_span_over_several_lines_is_cut_at_the_first() {
        let place = Place::of("ab\ncd\n", 1..5);
        assert_eq!(
            (place.line, place.column, place.caret, place.carets),
            (1, 2, 1, 1)
        );
        assert_eq!(Place::of("", 0..0).carets, 1);
        assert_eq!(Place::of("ab\n", 3..3).line, 2);
    }

    #[test]
    fn near_words_are_offered_and_far_ones_not() {
        assert_eq!(nearest("nods", ["nodes", "mode"]), Some("nodes"));
        assert_eq!(nearest("sslmod", ["sslmode", "ssl-mode"]), Some("sslmode"));
        assert_eq!(nearest("banana", ["nodes", "mode"]), None);
    }
}
