//! Names of tables as the configuration writes them, and patterns over them.
//!
//! `table` or `schema.table`; a part in double quotes is taken as it is, with a double quote inside written twice.
//! In a pattern `*` stands for any characters and `?` for one, never for the dot between schema and table; `!` in
//! front takes out what was chosen before. Fails: with what is wrong, in words.

use std::collections::{BTreeSet, HashSet, VecDeque};

/// `schema` is `None` for a table of each node's own default schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub schema: Option<String>,
    pub table: String,
}

impl Name {
    /// An exact name.
    pub fn parse(text: &str) -> Result<Name, String> {
        let pattern = Pattern::parse(text)?;
        match pattern.exact() {
            Some(name) if !pattern.exclude => Ok(name),
            Some(_) | None => Err("here a table is named exactly, without * ? and !".to_owned()),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{}.{}", quoted(schema), quoted(&self.table)),
            None => f.write_str(&quoted(&self.table)),
        }
    }
}

/// A part as [`Pattern::parse`] reads it back.
fn quoted(part: &str) -> String {
    let plain = !part.starts_with(['"', '!']) && !part.contains(['.', '*', '?']) && part.trim() == part;
    match plain && !part.is_empty() {
        true => part.to_owned(),
        false => format!("\"{}\"", part.replace('"', "\"\"")),
    }
}

/// A name with one gap: `shop_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub schema: Option<String>,
    pub before: String,
    pub after: String,
}

impl Gap {
    /// What stands in the gap of this name.
    pub fn found<'a>(&self, table: &'a str) -> Option<&'a str> {
        let found = table
            .strip_prefix(self.before.as_str())?
            .strip_suffix(self.after.as_str())?;
        (!found.is_empty()).then_some(found)
    }

    pub fn filled(&self, with: &str) -> String {
        format!("{}{with}{}", self.before, self.after)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub exclude: bool,
    /// As it was written.
    pub text: String,
    schema: Option<Glob>,
    table: Glob,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Glob {
    Exact(String),
    Wild(String),
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (exclude, body) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts = Vec::new();
        let mut rest = body;
        loop {
            let (part, after) = part(rest)?;
            parts.push(part);
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        let mut parts = parts.into_iter();
        let (schema, table) = match (parts.next(), parts.next(), parts.next()) {
            (Some(table), None, None) => (None, table),
            (Some(schema), Some(table), None) => (Some(schema), table),
            _ => {
                return Err(
                    "write \"table\" or \"schema.table\" (on MySQL \"database.table\"); a part that has a dot itself goes in double quotes"
                        .to_owned(),
                );
            }
        };
        Ok(Pattern {
            exclude,
            text: text.to_owned(),
            schema,
            table,
        })
    }

    /// The one name it can match.
    pub fn exact(&self) -> Option<Name> {
        let text = |glob: &Glob| match glob {
            Glob::Exact(text) => Some(text.clone()),
            Glob::Wild(_) => None,
        };
        Some(Name {
            schema: match &self.schema {
                Some(schema) => Some(text(schema)?),
                None => None,
            },
            table: text(&self.table)?,
        })
    }

    /// The only schema it can match; `None`: any. The inner `None` is the default schema.
    pub fn schema(&self) -> Option<Option<&str>> {
        match &self.schema {
            None => Some(None),
            Some(Glob::Exact(schema)) => Some(Some(schema)),
            Some(Glob::Wild(_)) => None,
        }
    }

    /// Is there a table that both match? `groups`: schemas that are one under several names.
    pub fn meets(&self, other: &Pattern, groups: &[Vec<Option<String>>]) -> bool {
        let is_any = |globs: [&Glob; 2]| !common(globs.into_iter(), &['x']).is_empty();
        let is_of =
            |glob: &Glob, group: &[Option<String>]| group.iter().flatten().any(|schema| glob.matches(schema));
        let schemas = match (&self.schema, &other.schema) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                is_any([one, other])
                    || groups
                        .iter()
                        .any(|group| is_of(one, group) && is_of(other, group))
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        schemas && is_any([&self.table, &other.table])
    }

    /// What `*` stands for in a table's name, and back. `None`: it is not the only wild part, or stands for the schema.
    pub fn gap(&self) -> Option<Gap> {
        let schema = match &self.schema {
            None => None,
            Some(Glob::Exact(schema)) => Some(schema.clone()),
            Some(Glob::Wild(_)) => return None,
        };
        let Glob::Wild(text) = &self.table else {
            return None;
        };
        let (before, after) = text.split_once('*')?;
        let is_plain = |part: &str| !part.contains(['*', '?']);
        (is_plain(before) && is_plain(after)).then(|| Gap {
            schema,
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    pub fn matches(&self, name: &Name) -> bool {
        let schema = match (&self.schema, &name.schema) {
            (None, None) => true,
            (Some(glob), Some(schema)) => glob.matches(schema),
            (None, Some(_)) | (Some(_), None) => false,
        };
        schema && self.table.matches(&name.table)
    }
}

impl Pattern {
    /// Names of tables that all of these match; none: they have no name in common. `fillers` are what `*` and `?`
    /// stand for, one example each.
    pub(super) fn common_tables(patterns: &[&Pattern], fillers: &[char]) -> BTreeSet<String> {
        common(patterns.iter().map(|pattern| &pattern.table), fillers)
    }

    /// The same of the schemas, of those that have a pattern for it.
    pub(super) fn common_schemas(patterns: &[&Pattern], fillers: &[char]) -> BTreeSet<String> {
        let globs = patterns.iter().filter_map(|pattern| pattern.schema.as_ref());
        let wild: Vec<&Glob> = globs.filter(|glob| matches!(glob, Glob::Wild(_))).collect();
        match wild.is_empty() {
            true => BTreeSet::new(),
            false => common(wild.into_iter(), fillers),
        }
    }
}

/// One piece of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Star,
    Any,
    Char(char),
}

fn common<'a>(globs: impl Iterator<Item = &'a Glob>, fillers: &[char]) -> BTreeSet<String> {
    let mut pieces: Vec<Vec<Piece>> = globs.map(Glob::pieces).collect();
    // No name is empty.
    pieces.push(vec![Piece::Any, Piece::Star]);
    let found = fillers.iter().filter_map(|filler| shared(&pieces, *filler));
    found.collect()
}

/// A text that all patterns match: the first that is found, going through all of them at once.
fn shared(patterns: &[Vec<Piece>], filler: char) -> Option<String> {
    let begin = vec![0; patterns.len()];
    let mut seen = HashSet::from([begin.clone()]);
    let mut waiting = VecDeque::from([(begin, String::new())]);
    while let Some((places, text)) = waiting.pop_front() {
        let next: Vec<Option<Piece>> = places
            .iter()
            .zip(patterns)
            .map(|(place, pieces)| pieces.get(*place).copied())
            .collect();
        if next.iter().all(Option::is_none) {
            return Some(text);
        }
        let mut go = |places: Vec<usize>, text: String| {
            if seen.insert(places.clone()) {
                waiting.push_back((places, text));
            }
        };
        // A star that takes no more.
        for index in (0..next.len()).filter(|index| next[*index] == Some(Piece::Star)) {
            let mut after = places.clone();
            after[index] += 1;
            go(after, text.clone());
        }
        let said = next.iter().find_map(|piece| match piece {
            Some(Piece::Char(c)) => Some(*c),
            _ => None,
        });
        let c = said.unwrap_or(filler);
        let fits = |piece: &Option<Piece>| match piece {
            Some(Piece::Char(other)) => *other == c,
            Some(Piece::Star | Piece::Any) => true,
            None => false,
        };
        if next.iter().all(fits) {
            let steps = next.iter().map(|piece| usize::from(*piece != Some(Piece::Star)));
            let after = places.iter().zip(steps).map(|(place, step)| place + step);
            go(after.collect(), format!("{text}{c}"));
        }
    }
    None
}

/// The first part and what follows its dot.
fn part(text: &str) -> Result<(Glob, Option<&str>), String> {
    if let Some(inside) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut chars = inside.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c != '"' {
                name.push(c);
            } else if chars.next_if(|(_, next)| *next == '"').is_some() {
                name.push('"');
            } else {
                let after = &inside[at + 1..];
                let rest = match after.strip_prefix('.') {
                    Some(rest) => Some(rest),
                    None if after.is_empty() => None,
                    None => return Err("after a part in double quotes there is a dot or the end".to_owned()),
                };
                return checked(Glob::Exact(name), rest);
            }
        }
        return Err("a double quote is open; inside quotes it is written twice".to_owned());
    }
    let (part, rest) = match text.split_once('.') {
        Some((part, rest)) => (part, Some(rest)),
        None => (text, None),
    };
    let glob = match part.contains(['*', '?']) {
        true => Glob::Wild(part.to_owned()),
        false => Glob::Exact(part.to_owned()),
    };
    checked(glob, rest)
}

fn checked(glob: Glob, rest: Option<&str>) -> Result<(Glob, Option<&str>), String> {
    let (Glob::Exact(text) | Glob::Wild(text)) = &glob;
    if text.is_empty() {
        return Err("a name is empty".to_owned());
    }
    if text.contains('\0') {
        return Err("no name has a zero byte".to_owned());
    }
    if matches!(&glob, Glob::Wild(text) if text.contains("**")) {
        return Err("there is no **: one * stands for any characters of a name".to_owned());
    }
    Ok((glob, rest))
}

impl Glob {
    fn pieces(&self) -> Vec<Piece> {
        match self {
            Glob::Exact(text) => text.chars().map(Piece::Char).collect(),
            Glob::Wild(text) => text
                .chars()
                .map(|c| match c {
                    '*' => Piece::Star,
                    '?' => Piece::Any,
                    c => Piece::Char(c),
                })
                .collect(),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Glob::Exact(text) => text == name,
            Glob::Wild(text) => wild(text, name),
        }
    }
}

/// Greedy with one way back: the last `*` takes one character more.
fn wild(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut piece, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(piece) {
            Some('*') => {
                back = Some((piece, at));
                piece += 1;
            }
            Some(c) if *c == '?' || *c == name[at] => {
                piece += 1;
                at += 1;
            }
            Some(_) | None => match &mut back {
                Some((star, taken)) => {
                    *taken += 1;
                    (piece, at) = (*star + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[piece..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(schema: Option<&str>, table: &str) -> Name {
        Name {
            schema: schema.map(str::to_owned),
            table: table.to_owned(),
        }
    }

    #[test]
    fn patterns_match_part_by_part() {
        let cases = [
            ("*", None, "t", true),
            ("*", Some("public"), "t", false),
            ("public.*", Some("public"), "t", true),
            ("public.*", None, "t", false),
            ("sales.order_*", Some("sales"), "order_1", true),
            ("sales.order_*", Some("sales"), "orders", false),
            ("*.t?", Some("x"), "t1", true),
            ("*.t?", Some("x"), "t", false),
            ("*a*b", None, "xaybzb", true),
            ("*a*b", None, "xayb.c", false),
            ("\"a.b\".\"c\"\"*\"", Some("a.b"), "c\"*", true),
            ("\"c*\"", None, "cx", false),
            ("we\"ird [x]", None, "we\"ird [x]", true),
            ("!tmp_*", None, "tmp_1", true),
        ];
        for (text, schema, table, expected) in cases {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(
                pattern.matches(&name(schema, table)),
                expected,
                "{text} on {schema:?} {table}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "", ".", "a.", ".a", "a.b.c", "!", "\"a", "\"a\"b", "\"\"", "a\0", "**", "a.**",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
        assert!(Name::parse("a*").is_err() && Name::parse("!a").is_err());
    }

    #[test]
    fn a_name_is_read_back_as_it_is_shown() {
        for (schema, table) in [
            (None, "plain"),
            (Some("a.b"), "c"),
            (Some("x"), "!t"),
            (None, "\"q"),
            (None, "*"),
        ] {
            let name = name(schema, table);
            assert_eq!(Name::parse(&name.to_string()).unwrap(), name);
        }
    }
}
