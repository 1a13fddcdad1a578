//! A recorded conflict on screen and in JSON, with what is masked hidden.
//!
//! Owns: the document's fields, the table of columns, and hiding: what the configuration masks now stays hidden also in
//! records that were made before. Rows are passed on as they are stored: no number loses a digit.

use super::super::render;
use super::Found;
use crate::flow::figures::moment;
use crate::model::conflict::StoredConflict;
use crate::model::schema::TableId;
use crate::model::stamp::{Kind, Rank, Stamp};
use crate::model::sync::Mode;
use crate::plan::evidence::MASKED;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, BTreeSet};

/// A conflict in JSON.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) node: String,
    pub(super) number: i64,
    pub(super) id: String,
    pub(super) sync: String,
    pub(super) link: String,
    pub(super) table: String,
    pub(super) key: Box<RawValue>,
    pub(super) kind: String,
    pub(super) operation: String,
    pub(super) rule: String,
    pub(super) outcome: String,
    /// The node whose version stands.
    pub(super) winner: Option<String>,
    pub(super) detail: String,
    pub(super) recorded_at: String,
    pub(super) source_committed_at: String,
    pub(super) source_position: String,
    pub(super) target_position: String,
    pub(super) base_version: Option<i64>,
    pub(super) base_origin: Option<Rank>,
    pub(super) local_version: Option<i64>,
    pub(super) local_origin: Option<Rank>,
    pub(super) local_deleted: bool,
    pub(super) incoming_version: Option<i64>,
    pub(super) incoming_origin: Option<Rank>,
    pub(super) incoming_deleted: bool,
    pub(super) settled_at: Option<String>,
    pub(super) settled_by: Option<String>,
    pub(super) settled_how: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) incoming: Option<Box<RawValue>>,
}

type Cells = BTreeMap<String, Box<RawValue>>;

/// A conflict with the names of its nodes and its rows fit to be shown.
pub(super) struct Viewed<'a> {
    pub(super) node: String,
    pub(super) source: String,
    pub(super) conflict: &'a StoredConflict,
    /// Node names by rank.
    names: BTreeMap<Rank, String>,
    /// Base, local, incoming.
    images: [Option<Cells>; 3],
    /// Of a sync in which there is nothing to decide.
    is_one_way: bool,
}

/// Open ones are told from those that somebody has settled since.
pub(super) fn outcome(conflict: &StoredConflict) -> String {
    match (&conflict.settled, conflict.outcome.as_str()) {
        (Some(_), "applied" | "kept" | "merged") => format!("{}, overridden", conflict.outcome),
        (_, outcome) => outcome.to_owned(),
    }
}

impl<'a> Viewed<'a> {
    pub(super) fn new(found: &'a Found<'_>) -> Self {
        let (spec, conflict) = (&found.sync.spec, &found.conflict);
        let source = super::source_name(conflict);
        let id = TableId::new(&conflict.schema, &conflict.table);
        let from = spec.nodes.iter().position(|node| node.name == source);
        let masks = spec.masks(found.node, &id, from.unwrap_or(found.node));
        let names = spec.nodes.iter().map(|node| (node.rank, node.name.clone()));
        let node = &found.sync.nodes[found.node].name;
        Viewed {
            is_one_way: spec.mode != Mode::Merge,
            ..Viewed::of(node, source, conflict, &masks, names.collect())
        }
    }

    /// `masks`: names of each masked column on the source and on the node that recorded.
    pub(super) fn of(
        node: &str,
        source: &str,
        conflict: &'a StoredConflict,
        masks: &[(String, String)],
        names: BTreeMap<Rank, String>,
    ) -> Self {
        let images = [&conflict.base, &conflict.local, &conflict.incoming];
        let mut images = images.map(|image| image.as_deref().map(cells));
        for (there, here) in masks {
            let of_incoming = if conflict.is_in_sources_terms() {
                there
            } else {
                here
            };
            hide(&mut images, [there, here, of_incoming]);
        }
        Viewed {
            node: node.to_owned(),
            source: source.to_owned(),
            conflict,
            names,
            images,
            is_one_way: false,
        }
    }

    pub(super) fn report(&self, rows: bool) -> Report {
        let conflict = self.conflict;
        let row = |image: &Option<Cells>| {
            image
                .as_ref()
                .filter(|_| rows)
                .and_then(|cells| to_raw_value(cells).ok())
        };
        let version = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.version);
        let origin = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.origin);
        let deleted = |stamp: Option<Stamp>| stamp.is_some_and(|stamp| stamp.kind == Kind::Delete);
        let settled = conflict.settled.as_ref();
        Report {
            node: self.node.clone(),
            number: conflict.number,
            id: conflict.id.clone(),
            sync: conflict.sync.clone(),
            link: conflict.link.clone(),
            table: format!("{}.{}", conflict.schema, conflict.table),
            key: raw(&conflict.key),
            kind: conflict.kind.clone(),
            operation: conflict.operation.clone(),
            rule: conflict.rule.clone(),
            outcome: conflict.outcome.clone(),
            winner: conflict.winner.map(|rank| self.name(rank)),
            detail: conflict.detail.clone(),
            recorded_at: moment(conflict.recorded_at_us),
            source_committed_at: moment(conflict.source_committed_at_us),
            source_position: conflict.source_position.clone(),
            target_position: conflict.target_position.clone(),
            base_version: version(conflict.base_stamp),
            base_origin: origin(conflict.base_stamp),
            local_version: version(conflict.local_stamp),
            local_origin: origin(conflict.local_stamp),
            local_deleted: deleted(conflict.local_stamp),
            incoming_version: version(conflict.incoming_stamp),
            incoming_origin: origin(conflict.incoming_stamp),
            incoming_deleted: deleted(conflict.incoming_stamp),
            settled_at: settled.map(|settled| moment(settled.at_us)),
            settled_by: settled.map(|settled| settled.by.clone()),
            settled_how: settled.map(|settled| settled.how.clone()),
            base: row(&self.images[0]),
            local: row(&self.images[1]),
            incoming: row(&self.images[2]),
        }
    }

    fn name(&self, rank: Rank) -> String {
        self.names
            .get(&rank)
            .cloned()
            .unwrap_or_else(|| format!("node {rank}"))
    }

    /// The commands by which it can be decided.
    pub(super) fn choices(&self) -> Vec<String> {
        let verb = match self.conflict.outcome.as_str() {
            "open" => "resolve",
            _ => "override",
        };
        let name = format!("{}:{}", self.node, self.conflict.number);
        if self.is_one_way {
            let open = self.conflict.outcome == "open";
            let dismiss = format!("tidelock conflicts dismiss {name} --reason TEXT");
            return open.then_some(dismiss).into_iter().collect();
        }
        [&self.node, &self.source]
            .map(|node| format!("tidelock conflicts {verb} {name} --take {node}"))
            .to_vec()
    }

    pub(super) fn text(&self) -> String {
        let conflict = self.conflict;
        let by = match conflict.winner {
            Some(winner) => format!(", the version of {} stood", self.name(winner)),
            None => String::new(),
        };
        let settled = conflict.settled.as_ref().map_or(String::new(), |settled| {
            format!("{} by {}: {}", moment(settled.at_us), settled.by, settled.how)
        });
        let lines = [
            [
                "conflict",
                &format!("{}:{}  {}", self.node, conflict.number, conflict.id),
            ],
            [
                "table",
                &format!("{}.{}  key {}", conflict.schema, conflict.table, conflict.key),
            ],
            [
                "kind",
                &format!("{} ({} from {})", conflict.kind, conflict.operation, self.source),
            ],
            [
                "decided",
                &format!("{} by rule {}{by}", conflict.outcome, conflict.rule),
            ],
            ["because", &conflict.detail],
            ["settled", &settled],
            [
                "recorded",
                &at(conflict.recorded_at_us, &conflict.target_position),
            ],
            [
                "incoming",
                &at(conflict.source_committed_at_us, &conflict.source_position),
            ],
            [
                "stamps",
                &format!(
                    "last agreed {}, local {}, incoming {}",
                    self.stamp(conflict.base_stamp),
                    self.stamp(conflict.local_stamp),
                    self.stamp(conflict.incoming_stamp)
                ),
            ],
        ]
        .map(|line| line.map(str::to_owned).to_vec());
        let told = |line: &Vec<String>| line.get(1).is_some_and(|text| !text.is_empty());
        let lines: Vec<Vec<String>> = lines.into_iter().filter(told).collect();
        let mut out = render::table(&lines);
        out.push('\n');
        out.push_str(&render::table(&self.columns()));
        out
    }

    fn stamp(&self, stamp: Option<Stamp>) -> String {
        let Some(stamp) = stamp else {
            return "none".to_owned();
        };
        let deleted = match stamp.kind {
            Kind::Delete => " (deleted)",
            Kind::Write => "",
        };
        format!(
            "version {} of {}{deleted}",
            stamp.version,
            self.name(stamp.origin)
        )
    }

    /// One line per column, those that differ first.
    pub(super) fn columns(&self) -> Vec<Vec<String>> {
        let none = Cells::new();
        let images = [0, 1, 2].map(|at| self.images[at].as_ref().unwrap_or(&none));
        let names: BTreeSet<&String> = images.iter().flat_map(|cells| cells.keys()).collect();
        let mut lines: Vec<(bool, Vec<String>)> = Vec::new();
        for name in names {
            let [base, local, incoming] = images.map(|cells| cells.get(name).map(|cell| cell.get()));
            let differs = local != incoming;
            let shown =
                |cell: Option<&str>| cell.map_or("-".to_owned(), |cell| render::cut(&text(cell), CELL_CHARS));
            let mark = if differs { "≠" } else { "" };
            let line = vec![
                name.clone(),
                shown(base),
                shown(local),
                mark.to_owned(),
                shown(incoming),
            ];
            lines.push((!differs, line));
        }
        lines.sort_by_key(|(equal, _)| *equal);
        let heading = [
            "COLUMN",
            "LAST AGREED",
            &format!("LOCAL ({})", self.node),
            "",
            &format!("INCOMING ({})", self.source),
        ];
        let heading = heading.map(str::to_owned).to_vec();
        std::iter::once(heading)
            .chain(lines.into_iter().map(|(_, line)| line))
            .collect()
    }
}

/// Cells longer than this are cut on screen; the whole text is in `--json`.
const CELL_CHARS: usize = 48;

fn at(micros: i64, position: &str) -> String {
    match position {
        "" => moment(micros),
        position => format!("{} at {position}", moment(micros)),
    }
}

/// Stored JSON as it is; a text that is none (somebody edited the table) as a JSON string.
fn raw(text: &str) -> Box<RawValue> {
    match RawValue::from_string(text.to_owned()) {
        Ok(raw) => raw,
        // A string always has a JSON form; `null` is unreachable here.
        Err(_) => to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned()),
    }
}

fn cells(text: &str) -> Cells {
    serde_json::from_str(text).unwrap_or_default()
}

/// Puts numbers in the place of what was recorded before the column was masked; equal cells get one number.
fn hide(images: &mut [Option<Cells>; 3], names: [&String; 3]) {
    let is_hidden = |cell: &RawValue| cell.get().starts_with('{') && cell.get().contains(MASKED);
    let mut seen: Vec<String> = Vec::new();
    for (image, name) in images.iter_mut().zip(names) {
        let Some(cell) = image.as_mut().and_then(|cells| cells.get_mut(name)) else {
            continue;
        };
        if is_hidden(cell) {
            continue;
        }
        let text = cell.get().to_owned();
        let known = seen.iter().position(|known| *known == text);
        let number = known.unwrap_or_else(|| {
            seen.push(text);
            seen.len() - 1
        });
        *cell = raw(&format!("{{\"{MASKED}\":{}}}", number + 1));
    }
}

/// A cell for people, digits as they are.
fn text(cell: &str) -> String {
    if cell.starts_with('{') {
        return "(masked)".to_owned();
    }
    match serde_json::from_str::<String>(cell) {
        Ok(text) => text,
        Err(_) if cell == "null" => "NULL".to_owned(),
        Err(_) => cell.to_owned(),
    }
}
