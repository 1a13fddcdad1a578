//! What is said of a link from given facts.
#![allow(clippy::unwrap_used)]
use super::facts::{Kept, Word};
use super::*;
use crate::model::log::{Distance, LogEnd, Place};
use crate::model::sync::{Checkpoint, LinkStatus};
use std::time::Duration;

const NOW_US: i64 = 1_000_000_000;

fn link() -> Link {
    Link {
        id: "a->b".to_owned(),
        source: 0,
        target: 1,
    }
}

fn facts(age: Option<u64>, reader: Option<bool>, behind: bool) -> Facts {
    let checkpoint = age.map(|_| Checkpoint {
        lane: 0,
        epoch: 1,
        seq: 7,
        position: Position::Lsn(100),
        settle: None,
        source_identity: String::new(),
    });
    let end = if behind { 200 } else { 100 };
    Facts {
        source: checkpoint.is_some().then_some(Ok(Kept {
            end: LogEnd {
                position: Position::Lsn(end),
                place: Place::Lsn(end),
                now_us: NOW_US,
            },
            retention: Retention {
                reader_active: reader,
                ..Retention::default()
            },
            held: None,
            distance: Some(Distance {
                bytes: end - 100,
                is_estimate: false,
            }),
        })),
        target: Ok(LinkStatus {
            set_up: true,
            checkpoint,
            checkpoint_age_ms: age,
            ..LinkStatus::default()
        }),
        said: None,
        oldest: None,
        holder: None,
    }
}

fn kept(facts: &mut Facts) -> &mut Kept {
    facts.source.as_mut().unwrap().as_mut().unwrap()
}

fn report(seed: &Seed, facts: &Facts) -> Report {
    let mut report = Report::default();
    report.measured(facts);
    let kind = Kind {
        sync: "shop",
        seed,
        mode: Mode::Merge,
        every: None,
    };
    let verdict = judge(&kind, &link(), facts, report.lag_ms == Some(0));
    (report.state, report.why, report.next) = (verdict.state.to_owned(), verdict.why, verdict.next);
    report.blocked_by.clone_from(&facts.holder);
    report
}

#[test]
fn the_state_says_why_nothing_moves() {
    let (none, from) = (Seed::None, Seed::From("pg".to_owned()));
    let bare = Facts {
        target: Ok(LinkStatus::default()),
        source: None,
        said: None,
        oldest: None,
        holder: None,
    };
    let state = |seed: &Seed, facts: Facts| report(seed, &facts).state;
    assert_eq!(report(&none, &bare).state, "not set up");
    let next = report(&none, &bare).next;
    assert_eq!(next.as_deref(), Some("tidelock setup --sync shop --execute"));
    assert_eq!(state(&none, facts(None, None, false)), "never started");
    assert_eq!(state(&from, facts(None, None, false)), "not seeded");
    assert_eq!(state(&from, facts(Some(5), Some(true), true)), "running");
    assert_eq!(state(&from, facts(Some(5), Some(false), false)), "stopped");
    assert_eq!(state(&from, facts(Some(5), None, false)), "in step");
    assert_eq!(state(&from, facts(Some(5), None, true)), "moving");
    let stuck = report(&from, &facts(Some(3_600_000), None, true));
    assert_eq!(stuck.state, "stopped");
    assert!(stuck.why.contains("60 min"), "{}", stuck.why);
    let mut frozen = facts(Some(5), Some(true), true);
    kept(&mut frozen).retention.reader_silent_ms = Some(40_000);
    let frozen = report(&from, &frozen);
    assert_eq!(frozen.state, "stuck");
    assert!(frozen.why.contains("40 s"), "{}", frozen.why);
}

#[test]
fn between_two_rounds_a_link_rests_and_is_not_late() {
    let held = Lease {
        instance: "i".to_owned(),
        holder: "host".to_owned(),
        process: String::new(),
        left_ms: 9_000,
        age_ms: 60_000,
    };
    let round = Round {
        began_us: 0,
        age_ms: 60_000,
        took_ms: 10,
        position: String::new(),
        source_us: 0,
        tables: Vec::new(),
    };
    let seed = Seed::From("a".to_owned());
    let state = |mode: Mode, every: u64, lease: Option<&Lease>, last: Option<&Round>| {
        let mut facts = facts(Some(5), Some(false), true);
        let target = facts.target.as_mut().unwrap();
        (target.lease, target.round) = (lease.cloned(), last.cloned());
        let kind = Kind {
            sync: "shop",
            seed: &seed,
            mode,
            every: Some(Duration::from_secs(every)),
        };
        judge(&kind, &link(), &facts, false).state
    };
    let ended = Lease {
        left_ms: -1,
        ..held.clone()
    };
    for mode in [Mode::Snapshot, Mode::Merge] {
        assert_eq!(state(mode, 900, Some(&held), Some(&round)), "resting", "{mode:?}");
        assert_eq!(
            state(mode, 900, Some(&ended), Some(&round)),
            "stopped",
            "{mode:?}"
        );
        assert_eq!(state(mode, 900, None, Some(&round)), "stopped", "{mode:?}");
    }
    assert_eq!(state(Mode::Snapshot, 30, Some(&held), Some(&round)), "running");
    assert_eq!(state(Mode::Snapshot, 900, Some(&held), None), "running");
}

#[test]
fn a_lost_position_is_told_before_all_else() {
    let mut lost = facts(Some(5), Some(false), true);
    kept(&mut lost).retention.lost = true;
    assert_eq!(report(&Seed::None, &lost).state, "position lost");
}

#[test]
fn the_oldest_commit_is_the_lag_where_it_is_known() {
    let mut behind = facts(Some(9_000), Some(false), true);
    let bound = report(&Seed::None, &behind);
    assert_eq!(
        (bound.lag_ms, bound.lag_bytes, bound.lag_estimated),
        (Some(9_000), Some(100), true)
    );
    behind.oldest = Some(Oldest::At(NOW_US - 4_000_000));
    let known = report(&Seed::None, &behind);
    assert_eq!(
        (known.lag_ms, known.oldest_unapplied_ms),
        (Some(4_000), Some(4_000))
    );
    assert!(!known.lag_estimated && !known.lag_bytes_estimated);
    behind.oldest = Some(Oldest::Nothing);
    assert_eq!(report(&Seed::None, &behind).lag_ms, Some(0));
    // The reader says that what follows its checkpoint is of no interest.
    behind.oldest = None;
    kept(&mut behind).retention.taken = Some(Position::Lsn(200));
    assert_eq!(report(&Seed::None, &behind).lag_bytes, Some(0));
}

#[test]
fn a_target_that_hangs_does_not_hide_what_the_source_knows() {
    let mut hung = facts(Some(5), Some(true), true);
    hung.target = Err(Error::transient("read the status"));
    kept(&mut hung).retention.taken = Some(Position::Lsn(150));
    let report = report(&Seed::None, &hung);
    assert_eq!((report.state.as_str(), report.lag_bytes), ("unknown", Some(100)));
    assert!(unreachable(&hung).is_some());
}

#[test]
fn the_process_is_believed_and_the_database_names_the_holder() {
    let mut facts = facts(Some(9_000), Some(true), true);
    facts.holder = Some("a lock for 5 s, held by session 7".to_owned());
    let live = Figures {
        state: "waiting".to_owned(),
        why: "node b has not finished a group for 5 s".to_owned(),
        lag_ms: Some(5_000),
        lag_bytes: Some(70),
        ..Figures::default()
    };
    let report = report(&Seed::None, &facts).with(Some(live));
    assert_eq!(
        report.reason(),
        "node b has not finished a group for 5 s: the target waits for a lock for 5 s, held by session 7"
    );
    assert_eq!(
        (report.lag_ms, report.lag_bytes, report.lag_estimated),
        (Some(5_000), Some(70), false)
    );
}

#[test]
fn a_lease_that_is_renewed_carries_the_word_of_its_process() {
    let ttl = Duration::from_secs(15);
    let mut facts = facts(Some(200_000), Some(true), true);
    let lease = |left_ms| {
        Some(Lease {
            instance: "i".to_owned(),
            holder: "host".to_owned(),
            process: String::new(),
            left_ms,
            age_ms: 60_000,
        })
    };
    let word = |age_ms| {
        let figures = Figures {
            state: "waiting".to_owned(),
            lag_ms: Some(700),
            oldest_unapplied_ms: Some(700),
            position: Some("lsn:0/96".to_owned()),
            ..Figures::default()
        };
        Some(Word { figures, age_ms })
    };
    facts.said = word(4_000);
    // Nobody holds the lease: what it said is history, and bounds the lag.
    assert!(facts.word(ttl).is_none());
    let bound = report(&Seed::None, &facts);
    assert_eq!((bound.lag_ms, bound.lag_estimated), (Some(4_700), true));
    facts.target.as_mut().unwrap().lease = lease(9_000);
    assert!(facts.word(ttl).is_some());
    // It should have been renewed by now.
    facts.said = word(9_000);
    assert!(facts.word(ttl).is_none());
    // What it has taken since its checkpoint counts.
    facts.said = word(4_000);
    facts.said.as_mut().unwrap().figures.position = Some("lsn:0/C8".to_owned());
    assert_eq!(report(&Seed::None, &facts).lag_ms, Some(0));
    // A person's wish is newer than the word.
    facts.target.as_mut().unwrap().pause = Some(Pause {
        by: "me".to_owned(),
        at_us: 0,
        reason: String::new(),
    });
    assert!(facts.word(ttl).is_none());
}
