//! The configuration file as it is written: TOML tables, every key known, every value with its place.
//!
//! Owns: the keys and their TOML types. Refuses: unknown keys, at once, with line, caret and the nearest known key;
//! what the values mean together is `build`'s matter.

use super::problem::{Problem, nearest};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;

pub(super) type Text = Option<Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub version: Spanned<i64>,
    #[serde(default)]
    pub node: BTreeMap<Spanned<String>, NodeFile>,
    #[serde(default)]
    pub sync: Vec<SyncFile>,
    #[serde(default)]
    pub log: LogFile,
    #[serde(default)]
    pub limits: LimitsFile,
    pub http: Option<HttpFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeFile {
    pub url: Text,
    pub password_file: Text,
    pub password_env: Text,
    pub password_command: Text,
    pub setup_url: Text,
    pub setup_password_file: Text,
    pub setup_password_env: Text,
    pub setup_password_command: Text,
    pub schema: Text,
    pub rank: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncFile {
    pub name: Spanned<String>,
    pub nodes: Spanned<Vec<Spanned<String>>>,
    pub mode: Spanned<String>,
    pub topology: Text,
    pub from: Text,
    pub tables: Spanned<Vec<Spanned<String>>>,
    pub schemas: Option<Spanned<Schemas>>,
    pub every: Text,
    pub seed: Text,
    pub on_conflict: Text,
    pub on_delete_conflict: Text,
    pub arbiter: Text,
    pub on_stop: Text,
    pub keep_conflicts: Text,
    pub ids: Text,
    pub version: Option<Spanned<VersionFile>>,
    #[serde(default)]
    pub table: BTreeMap<Spanned<String>, TableFile>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct TableFile {
    pub on_conflict: Text,
    pub version: Option<Spanned<VersionFile>>,
    pub stamps: Text,
    pub ids: Text,
    pub on_delete_conflict: Text,
    /// Node to name.
    #[serde(default)]
    pub names: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Column to node, `skip`, `owner` or `on_conflict`.
    #[serde(default)]
    pub column: BTreeMap<Spanned<String>, Spanned<ColumnFile>>,
    /// Columns that stay where they are.
    #[serde(default)]
    pub skip: Vec<Spanned<String>>,
    #[serde(rename = "where")]
    pub filter: Option<Spanned<FilterFile>>,
    pub on_filter_exit: Text,
    /// Spoke to condition.
    pub holds: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    /// Node to column to expression.
    #[serde(default)]
    pub to: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<String>>>,
    /// The one node that inserts, and the one that deletes.
    pub inserts: Text,
    pub deletes: Text,
    /// Node to the column that holds the key of the others' rows.
    #[serde(default)]
    pub external_id: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Columns by which rows without one are paired at the seed.
    #[serde(default)]
    pub match_on: Vec<Spanned<String>>,
}

/// Node, `skip`, `owner` or `on_conflict` to what it says.
pub(super) type ColumnFile = BTreeMap<Spanned<String>, Spanned<Word>>;

/// Node to schema, of one schema that has several names.
pub(super) type SchemaNames = BTreeMap<Spanned<String>, Spanned<String>>;

/// One group of names or a list of them.
pub(super) struct Schemas(pub Vec<SchemaNames>);

/// A text, true or false, or what a node has of the column.
#[derive(Clone)]
pub(super) enum Word {
    Text(String),
    Bool(bool),
    There(ThereFile),
}

/// A column on one node.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct ThereFile {
    pub name: Text,
    /// The configuration's word to the node's.
    pub values: Option<Spanned<BTreeMap<Spanned<String>, Spanned<Cell>>>>,
}

/// A text, a whole number, or true or false, as its text.
#[derive(Clone)]
pub(super) struct Cell(pub String);

impl Word {
    /// A column's name on a node.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Word::Text(text) => Some(text),
            Word::There(there) => there.name.as_ref().map(|name| name.get_ref().as_str()),
            Word::Bool(_) => None,
        }
    }
}

/// Which rows pass.
#[derive(Clone)]
pub(super) enum FilterFile {
    /// In both directions.
    Common(String),
    /// By the node that they come from.
    Apart(BTreeMap<Spanned<String>, Spanned<String>>),
}

/// Where the versions of rows come from: a word, or a column and the order of its values.
#[derive(Clone)]
pub(super) enum VersionFile {
    Word(String),
    Status(StatusFile),
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusFile {
    pub status: Spanned<String>,
    pub order: Spanned<Vec<Spanned<String>>>,
}

impl<'de> Deserialize<'de> for VersionFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = VersionFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"counter\", \"timestamp\", \"timestamp:COLUMN\", or { status = \"COLUMN\", order = [\"new\", \"paid\"] }")
            }

            fn visit_str<E>(self, text: &str) -> Result<VersionFile, E> {
                Ok(VersionFile::Word(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VersionFile, A::Error> {
                StatusFile::deserialize(MapAccessDeserializer::new(map)).map(VersionFile::Status)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Schemas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Groups;
        impl<'de> Visitor<'de> for Groups {
            type Value = Schemas;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("schemas = { pg = \"public\", my = \"shop\" }, or a list of such groups")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schemas, A::Error> {
                let names = SchemaNames::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Schemas(vec![names]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Schemas, A::Error> {
                let mut groups = Vec::new();
                while let Some(names) = list.next_element()? {
                    groups.push(names);
                }
                Ok(Schemas(groups))
            }
        }
        deserializer.deserialize_any(Groups)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, { name = .., values = { .. } }, or skip, mask or lossy = true")
            }

            fn visit_bool<E>(self, known: bool) -> Result<Word, E> {
                Ok(Word::Bool(known))
            }

            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Word, A::Error> {
                ThereFile::deserialize(MapAccessDeserializer::new(map)).map(Word::There)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, or true or false")
            }

            fn visit_bool<E>(self, known: bool) -> Result<Cell, E> {
                Ok(Cell(known.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Cell, E> {
                Ok(Cell(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
                Ok(Cell(text.to_owned()))
            }
        }
        deserializer.deserialize_any(One)
    }
}

impl<'de> Deserialize<'de> for FilterFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FilterFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "one condition for both directions as a text, or one for each node that rows come from: \
                     where = { pg = \"...\", my = \"...\" }",
                )
            }

            fn visit_str<E>(self, text: &str) -> Result<FilterFile, E> {
                Ok(FilterFile::Common(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FilterFile, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(FilterFile::Apart)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFile {
    pub level: Text,
    pub format: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpFile {
    pub listen: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsFile {
    pub group_rows_max: Option<Spanned<i64>>,
    pub group_bytes_max: Option<Spanned<i64>>,
    pub lease_ttl_s: Option<Spanned<i64>>,
    pub once_wait_s: Option<Spanned<i64>>,
    pub copy_workers: Option<Spanned<i64>>,
    pub chunk_rows_max: Option<Spanned<i64>>,
    pub copy_bytes_per_second: Option<Spanned<i64>>,
    pub parked_rows_max: Option<Spanned<i64>>,
    pub parked_bytes_max: Option<Spanned<i64>>,
    pub stream: Option<Spanned<bool>>,
    pub spill_dir: Text,
    pub spill_bytes_max: Option<Spanned<i64>>,
}

pub(super) fn parse(text: &str) -> Result<File, Problem> {
    toml::from_str(text).map_err(|error| {
        let (what, hint) = explain(error.message());
        Problem {
            what,
            hint,
            span: error.span(),
        }
    })
}

/// The parser's message in our words, without values, and what to do about it.
fn explain(message: &str) -> (String, Option<String>) {
    let message = message.lines().collect::<Vec<_>>().join(", ");
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let Some(key) = message.strip_prefix("unknown field").and(words.first()).copied() {
        let known = words.get(1..).unwrap_or_default();
        let hint = if key == "password" || key == "setup_password" {
            format!("a password is not written here: use {key}_file, {key}_env or {key}_command")
        } else if let Some(word) = nearest(key, known.iter().copied()) {
            format!("did you mean \"{word}\"?")
        } else if known.contains(&"on_filter_exit") {
            format!(
                "known here: {}; a table name with a dot needs quotes: [sync.table.\"sales.orders\"]",
                known.join(", ")
            )
        } else {
            format!("known here: {}", known.join(", "))
        };
        return (format!("unknown key \"{key}\""), Some(hint));
    }
    if message.starts_with("missing field")
        && let Some(key) = words.first()
    {
        let hint = match *key {
            "version" => Some("the first line is: version = 1"),
            "status" | "order" => Some("version = { status = \"COLUMN\", order = [\"new\", \"paid\"] }"),
            "mode" => Some(
                "mode = \"merge\" (two-way), mode = \"transactional\" (one-way, with from = \"NODE\") or mode = \
                     \"snapshot\" (an image now and then, with from and every)",
            ),
            _ => None,
        };
        return (format!("the key \"{key}\" is missing"), hint.map(str::to_owned));
    }
    // `invalid type: integer `5`, expected a string`: the value stays out, it may be a secret in a wrong place.
    if let Some(rest) = message.strip_prefix("invalid type: ")
        && let Some((found, expected)) = rest.rsplit_once(", expected ")
    {
        let kind = found.split(['`', '"']).next().unwrap_or_default().trim();
        return (format!("expected {expected}, found {kind}"), None);
    }
    (message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_key_and_never_the_value() {
        assert_eq!(
            explain("unknown field `nods`, expected one of `name`, `nodes`"),
            (
                "unknown key \"nods\"".to_owned(),
                Some("did you mean \"nodes\"?".to_owned())
            )
        );
        assert_eq!(
            explain("invalid type: string \"hunter2\", expected i64").0,
            "expected i64, found string"
        );
        assert!(
            explain("unknown field `password`, expected `url`")
                .1
                .is_some_and(|hint| hint.contains("password_file"))
        );
    }
}
