//! What a sync does, in words, for whoever reads `check` and not the configuration.
//!
//! Pure. Owns: who tells whom, and what becomes of two changes of one row. Refuses: what single tables say otherwise.

use crate::flow::spec::SyncSpec;
use crate::model::round;
use crate::model::rules::Rule;
use crate::model::stamp::Rank;
use crate::model::sync::{Finding, Mode};

/// One line each.
pub(super) fn of(spec: &SyncSpec) -> Vec<Finding> {
    let name = spec.nodes.first().map_or("", |node| node.name.as_str());
    let lines = [Some(who(spec)), conflicts(spec), bursts(spec)];
    lines
        .into_iter()
        .flatten()
        .map(|line| Finding::ok(name, line))
        .collect()
}

/// Between rounds nothing crosses.
fn bursts(spec: &SyncSpec) -> Option<String> {
    let every = round::told(spec.every.filter(|_| spec.mode != Mode::Snapshot)?);
    Some(format!(
        "that crosses in bursts, every {every}; between them the log waits at its source"
    ))
}

fn who(spec: &SyncSpec) -> String {
    let all: Vec<&str> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    let but = |place: usize| {
        let others = all.iter().enumerate().filter(move |(other, _)| *other != place);
        listed(&others.map(|(_, name)| *name).collect::<Vec<_>>())
    };
    match (spec.mode, spec.hub, spec.links.first()) {
        (Mode::Transactional, _, Some((from, _))) => format!(
            "what is written on {} goes to {}, transaction by transaction, and nothing comes back",
            all[*from],
            but(*from)
        ),
        (Mode::Snapshot, _, Some((from, _))) => format!(
            "every {} the tables on {} become an image of those on {}, swapped in one transaction; no log is read",
            spec.every.map(round::told).unwrap_or_default(),
            but(*from),
            all[*from]
        ),
        (Mode::Merge, Some(hub), _) => format!(
            "{} is the hub: what {} write goes there, and from there to the others; each change once",
            all[hub],
            but(hub)
        ),
        (Mode::Merge, None, _) if all.len() > 2 => {
            format!(
                "each of {} sends what its users write to all others",
                listed(&all)
            )
        }
        (Mode::Merge | Mode::Transactional | Mode::Snapshot, _, _) => {
            format!(
                "what is written on {} goes to the other one",
                listed(&all).replace(" and ", " or ")
            )
        }
    }
}

fn conflicts(spec: &SyncSpec) -> Option<String> {
    let name = |rank: Rank| {
        let node = spec.nodes.iter().find(|node| node.rank == rank);
        node.map_or("", |node| node.name.as_str())
    };
    let outcome = match spec.usual.row {
        _ if spec.mode != Mode::Merge => return None,
        Rule::Newest => "the greater version stays".to_owned(),
        Rule::SourceOfTruth(rank) => format!("what {} wrote stays", name(rank)),
        Rule::Columns => "each column keeps the change of the node that changed it alone".to_owned(),
        Rule::Ask => "a person decides".to_owned(),
    };
    Some(format!(
        "where two nodes change one row without knowing of each other, {outcome}; `tidelock conflicts list` has both"
    ))
}

/// `a, b and c`
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
