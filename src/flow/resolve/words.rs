//! The plan of a decision in words: what is written where, what each node holds now and will hold, what arrives later.
//!
//! Owns: the cells as they are shown, masked ones hidden. Refuses: deciding anything.

use super::choose::{Act, Deed};
use super::key_text;
use super::picture::Picture;
use crate::engine::Node;
use crate::error::Result;
use crate::flow::spec::{SyncSpec, link_id};
use crate::model::stamp::{Kind, Stamp};
use crate::model::value::Value;
use crate::plan::evidence::cell_text;

/// What a decision does.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub acts: Vec<ToldAct>,
    /// Where the row is another one than the record names.
    pub moved: Vec<String>,
    /// Links that do not run, by which it arrives later.
    pub later: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct ToldAct {
    pub node: String,
    pub table: String,
    pub key: String,
    /// `update`, `insert` or `delete`.
    pub deed: &'static str,
    pub version: i64,
    pub cells: Vec<ToldCell>,
    pub effects: Vec<Effect>,
}

/// A cell that changes on the node that is written to.
#[derive(Debug, Clone)]
pub struct ToldCell {
    pub column: String,
    pub before: String,
    pub after: String,
}

/// What one node holds and will hold.
#[derive(Debug, Clone)]
pub struct Effect {
    pub node: String,
    pub holds: String,
    pub becomes: String,
}

const HIDDEN: &str = "(masked)";

pub(super) async fn told(
    sync: &SyncSpec,
    picture: &Picture,
    acts: &[Act],
    moved: Vec<String>,
) -> Result<Told> {
    Ok(Told {
        acts: acts.iter().map(|act| told_act(picture, act)).collect(),
        moved,
        later: later(sync, acts).await?,
    })
}

fn told_act(picture: &Picture, act: &Act) -> ToldAct {
    let seat = &picture.seats[act.node];
    let deed = match &act.deed {
        Deed::Delete => "delete",
        Deed::Write(_) if act.rows.stands(act.node) => "update",
        Deed::Write(_) => "insert",
    };
    let kind = if act.deed == Deed::Delete {
        Kind::Delete
    } else {
        Kind::Write
    };
    let becomes = Stamp {
        version: act.version,
        kind,
        origin: seat.rank,
    };
    let effect = |node: usize| Effect {
        node: picture.seats[node].name.clone(),
        holds: stamp(picture, act.rows.stamp(node)),
        becomes: stamp(picture, Some(becomes)),
    };
    ToldAct {
        node: seat.name.clone(),
        table: seat.table.id.to_string(),
        key: key_text(&act.key),
        deed,
        version: act.version,
        cells: cells(picture, act),
        effects: (0..picture.seats.len()).map(effect).collect(),
    }
}

fn cells(picture: &Picture, act: &Act) -> Vec<ToldCell> {
    let Deed::Write(cells) = &act.deed else {
        return Vec::new();
    };
    let table = &picture.seats[act.node].table;
    let here = act.rows.locals[act.node].row.as_ref();
    let shown = |place: usize, value: Option<&Value>| match value {
        None => "-".to_owned(),
        Some(_) if picture.is_masked(act.node, place) => HIDDEN.to_owned(),
        Some(value) => cell_text(value),
    };
    let change = |(place, cell): (usize, &Option<Value>)| {
        let after = cell.as_ref()?;
        let before = here.and_then(|here| here.get(place));
        (before != Some(after)).then(|| ToldCell {
            column: table.columns[place].name.clone(),
            before: shown(place, before),
            after: shown(place, Some(after)),
        })
    };
    cells.0.iter().enumerate().filter_map(change).collect()
}

/// `version 7 of a`, with the node's name.
pub(super) fn stamp(picture: &Picture, stamp: Option<Stamp>) -> String {
    let Some(stamp) = stamp else {
        return "no such row".to_owned();
    };
    let seat = picture.seats.iter().find(|seat| seat.rank == stamp.origin);
    let node = seat.map_or_else(|| format!("node {}", stamp.origin), |seat| seat.name.clone());
    let deleted = match stamp.kind {
        Kind::Delete => ", deleted",
        Kind::Write => "",
    };
    format!("version {} of {node}{deleted}", stamp.version)
}

/// The links that carry it and do not run now.
async fn later(sync: &SyncSpec, acts: &[Act]) -> Result<Vec<String>> {
    let mut said = Vec::new();
    if acts.is_empty() {
        return Ok(said);
    }
    for (from, to) in &sync.links {
        let (source, target) = (&sync.nodes[*from], &sync.nodes[*to]);
        let id = link_id(&source.name, &target.name);
        let mut node = Node::connect(&target.access, target.engine).await?;
        let status = node.link_status(&sync.name, &id).await?;
        node.close().await;
        if let Some(pause) = &status.pause {
            said.push(format!(
                "link {id} is paused by {}: what it carries arrives later",
                pause.by
            ));
        } else if !status.lease.as_ref().is_some_and(|lease| lease.is_held()) {
            said.push(format!(
                "nobody runs link {id} now: what it carries arrives when somebody does"
            ));
        }
    }
    Ok(said)
}
