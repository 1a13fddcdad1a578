//! `status`: where each link stands, read from the databases, daemon or no daemon, and why nothing moves.
//!
//! The lag shown is the age of the checkpoint: an upper bound, because an idle link moves it rarely.
//! Fails: 6 when a node cannot be reached; the other links are still shown.

use super::{Face, Schema, render, select};
use crate::config::{Link, Sync};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::spec::Seed;
use crate::model::operation::{Pause, Stop};
use crate::model::position::Position;
use crate::model::sync::{LinkStatus, Retention};
use serde::Serialize;

/// The checkpoint of a link that runs and is idle moves at least this often, with some grace.
const IDLE_CHECKPOINT_MS: u64 = 6 * 60_000;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    links: Vec<LinkReport>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct LinkReport {
    sync: String,
    link: String,
    state: &'static str,
    why: String,
    position: Option<String>,
    seq: Option<i64>,
    /// No change that is missing on the target is older; 0 = in step with the source's log.
    lag_ms_max: Option<u64>,
    checkpoint_age_ms: Option<u64>,
    conflicts_open: u64,
    conflicts_total: u64,
    retained_bytes: Option<u64>,
    retained_limit: Option<String>,
}

/// What the two ends of a link said.
struct Facts<'a> {
    seed: &'a Seed,
    target: LinkStatus,
    source: Option<(Position, Retention)>,
}

struct Verdict {
    state: &'static str,
    why: String,
    next: Option<&'static str>,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let config = face.load()?;
    let mut links = Vec::new();
    let mut next_steps: Vec<String> = Vec::new();
    let mut unreachable: Option<Error> = None;
    for sync in select(&config, options.sync.as_deref())? {
        for link in sync.links() {
            let (report, next) = match ask(sync, &link).await {
                Ok(facts) => {
                    let verdict = judge(&facts);
                    (report(sync, &link, &facts, &verdict), verdict.next)
                }
                Err(error) if error.reason_kind() == Reason::Unreachable || error.is_transient() => {
                    let report = silent(sync, &link, &error);
                    unreachable.get_or_insert(error);
                    (report, Some("tidelock check"))
                }
                Err(error) => return Err(error),
            };
            let open = report.conflicts_open > 0;
            for step in next
                .into_iter()
                .chain(open.then_some("tidelock conflicts list --open"))
            {
                if !next_steps.iter().any(|known| known == step) {
                    next_steps.push(step.to_owned());
                }
            }
            links.push(report);
        }
    }
    if face.json {
        face.document(&Document {
            schema: Schema,
            links,
            next_steps,
        })?;
    } else {
        face.print(&text(&links));
        face.next(&next_steps);
    }
    match unreachable {
        None => Ok(()),
        Some(error) => {
            let hint = error.hint_text().unwrap_or("tidelock check").to_owned();
            Err(Error::definite("read the status of every link")
                .reason(Reason::Unreachable)
                .because(error)
                .hint(hint))
        }
    }
}

async fn ask<'a>(sync: &'a Sync, link: &Link) -> Result<Facts<'a>> {
    let (source, target) = (&sync.nodes[link.source], &sync.nodes[link.target]);
    let name = &sync.spec.name;
    let mut node = Node::connect(&target.access, target.engine).await?;
    let status = node.link_status(name, &link.id).await?;
    let mut facts = Facts {
        seed: &sync.spec.seed,
        target: status,
        source: None,
    };
    if let Some(checkpoint) = facts
        .target
        .checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.position.clone())
    {
        let mut node = Node::connect(&source.access, source.engine).await?;
        let position = node.position().await?;
        facts.source = Some((position, node.retained(name, &target.name, &checkpoint).await?));
    }
    Ok(facts)
}

/// Tables that lack something are told whatever else there is to say.
fn with_out_of_sync(why: &str, target: &LinkStatus) -> String {
    let tables: Vec<String> = target
        .out_of_sync
        .iter()
        .map(|lacks| lacks.table.to_string())
        .collect();
    match (tables.is_empty(), why) {
        (true, _) => why.to_owned(),
        (false, "") => format!("out of sync: {}", tables.join(", ")),
        (false, _) => format!("{why}; out of sync: {}", tables.join(", ")),
    }
}

fn paused(pause: &Pause) -> String {
    let since = jiff::Timestamp::from_microsecond(pause.at_us)
        .map_or_else(|_| String::new(), |at| format!("{at:.0}"));
    let reason = match pause.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    format!("paused by {} since {since}{reason}", pause.by)
}

fn halted(stop: &Stop) -> String {
    let at = stop.halt.as_ref().map_or(String::new(), |halt| {
        format!("stopped at transaction {}: ", halt.transaction)
    });
    let hint = stop
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!(" ({hint})"));
    format!("{at}{}{hint}", stop.error)
}

/// Is everything of the source's log on the target?
fn in_step(facts: &Facts<'_>) -> bool {
    match (&facts.target.checkpoint, &facts.source) {
        (Some(checkpoint), Some((position, _))) => checkpoint.position.covers(position).unwrap_or(false),
        _ => false,
    }
}

fn judge(facts: &Facts<'_>) -> Verdict {
    let verdict = |state, why: &str, next| Verdict {
        state,
        why: why.to_owned(),
        next,
    };
    if !facts.target.set_up {
        let why = "the target has no tidelock objects for this sync";
        return verdict("not set up", why, Some("tidelock setup --execute"));
    }
    let Some(age) = facts
        .target
        .checkpoint
        .as_ref()
        .and(facts.target.checkpoint_age_ms)
    else {
        return match facts.seed {
            Seed::From(node) => Verdict {
                state: "not seeded",
                why: format!("the first copy from {node} is not done"),
                next: Some("tidelock run"),
            },
            Seed::None => verdict(
                "never started",
                "no run has made a checkpoint yet",
                Some("tidelock run"),
            ),
        };
    };
    if let Some(pause) = &facts.target.pause {
        return Verdict {
            state: "paused",
            why: paused(pause),
            next: Some("tidelock resume"),
        };
    }
    let retention = facts.source.as_ref().map(|(_, retention)| retention);
    if retention.is_some_and(|retention| retention.lost) {
        let why = "the source no longer keeps the log at the checkpoint: a new copy is needed";
        return verdict("position lost", why, Some("tidelock teardown --execute"));
    }
    if let Some(stop) = facts.target.halted() {
        return Verdict {
            state: "stopped",
            why: halted(stop),
            next: Some("tidelock run"),
        };
    }
    match retention.and_then(|retention| retention.reader_active) {
        Some(true) => verdict("running", "", None),
        Some(false) => verdict("stopped", "nobody reads this link's slot", Some("tidelock run")),
        None if in_step(facts) => verdict("in step", "", None),
        None if age <= IDLE_CHECKPOINT_MS => verdict("moving", "", None),
        None => Verdict {
            state: "stopped",
            why: format!(
                "the checkpoint has not moved for {}: no run, or it is stuck",
                render::age(age)
            ),
            next: Some("tidelock run"),
        },
    }
}

fn report(sync: &Sync, link: &Link, facts: &Facts<'_>, verdict: &Verdict) -> LinkReport {
    let target = &facts.target;
    let retention = facts.source.as_ref().map(|(_, retention)| retention);
    let age = target.checkpoint.as_ref().and(target.checkpoint_age_ms);
    LinkReport {
        sync: sync.spec.name.clone(),
        link: link.id.clone(),
        state: verdict.state,
        why: with_out_of_sync(&verdict.why, target),
        position: target
            .checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.position.to_string()),
        seq: target.checkpoint.as_ref().map(|checkpoint| checkpoint.seq),
        lag_ms_max: age.map(|age| if in_step(facts) { 0 } else { age }),
        checkpoint_age_ms: age,
        conflicts_open: target.conflicts_open,
        conflicts_total: target.conflicts_total,
        retained_bytes: retention.and_then(|retention| retention.retained_bytes),
        retained_limit: retention
            .map(|retention| retention.limit.clone())
            .filter(|limit| !limit.is_empty()),
    }
}

fn silent(sync: &Sync, link: &Link, error: &Error) -> LinkReport {
    LinkReport {
        sync: sync.spec.name.clone(),
        link: link.id.clone(),
        state: "unknown",
        why: error.to_string(),
        position: None,
        seq: None,
        lag_ms_max: None,
        checkpoint_age_ms: None,
        conflicts_open: 0,
        conflicts_total: 0,
        retained_bytes: None,
        retained_limit: None,
    }
}

/// GTID sets grow long; the whole text is in `--json`.
const POSITION_CHARS: usize = 48;

fn text(links: &[LinkReport]) -> String {
    let heading = [
        "SYNC",
        "LINK",
        "STATE",
        "POSITION",
        "SEQ",
        "LAG",
        "RETAINED",
        "CONFLICTS",
        "WHY",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for link in links {
        let none = || "-".to_owned();
        let retained = match (link.retained_bytes, &link.retained_limit) {
            (Some(bytes), Some(limit)) if limit.starts_with(|c: char| c.is_ascii_digit()) => {
                format!("{} of {limit}", render::size(bytes))
            }
            (Some(bytes), Some(limit)) => format!("{}, {limit}", render::size(bytes)),
            (Some(bytes), None) => render::size(bytes),
            (None, Some(limit)) => limit.clone(),
            (None, None) => none(),
        };
        rows.push(vec![
            link.sync.clone(),
            link.link.clone(),
            link.state.to_owned(),
            link.position
                .as_deref()
                .map_or_else(none, |position| render::cut(position, POSITION_CHARS)),
            link.seq.map_or_else(none, |seq| seq.to_string()),
            match link.lag_ms_max {
                None => none(),
                Some(0) => "0".to_owned(),
                Some(lag) => format!("≤ {}", render::age(lag)),
            },
            retained,
            format!("{} open of {}", link.conflicts_open, link.conflicts_total),
            link.why.clone(),
        ]);
    }
    render::table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sync::Checkpoint;

    fn facts(seed: &Seed, age: Option<u64>, reader: Option<bool>, behind: bool) -> Facts<'_> {
        let checkpoint = age.map(|_| Checkpoint {
            lane: 0,
            epoch: 1,
            seq: 7,
            position: Position::Lsn(100),
            settle: None,
            source_identity: String::new(),
        });
        let retention = Retention {
            reader_active: reader,
            ..Retention::default()
        };
        Facts {
            seed,
            source: checkpoint
                .is_some()
                .then_some((Position::Lsn(if behind { 200 } else { 100 }), retention)),
            target: LinkStatus {
                set_up: true,
                checkpoint,
                checkpoint_age_ms: age,
                ..LinkStatus::default()
            },
        }
    }

    #[test]
    fn the_state_says_why_nothing_moves() {
        let (none, from) = (Seed::None, Seed::From("pg".to_owned()));
        let bare = Facts {
            seed: &none,
            target: LinkStatus::default(),
            source: None,
        };
        assert_eq!(judge(&bare).state, "not set up");
        assert_eq!(judge(&bare).next, Some("tidelock setup --execute"));
        assert_eq!(judge(&facts(&none, None, None, false)).state, "never started");
        assert_eq!(judge(&facts(&from, None, None, false)).state, "not seeded");
        assert_eq!(judge(&facts(&from, Some(5), Some(true), true)).state, "running");
        assert_eq!(judge(&facts(&from, Some(5), Some(false), false)).state, "stopped");
        assert_eq!(judge(&facts(&from, Some(5), None, false)).state, "in step");
        assert_eq!(judge(&facts(&from, Some(5), None, true)).state, "moving");
        let stuck = judge(&facts(&from, Some(3_600_000), None, true));
        assert_eq!(stuck.state, "stopped");
        assert!(stuck.why.contains("60 min"), "{}", stuck.why);
    }

    #[test]
    fn a_lost_position_is_told_before_all_else() {
        let seed = Seed::None;
        let mut lost = facts(&seed, Some(5), Some(false), true);
        if let Some((_, retention)) = &mut lost.source {
            retention.lost = true;
        }
        assert_eq!(judge(&lost).state, "position lost");
    }
}
