//! The table of decisions.

use super::*;
use crate::model::rules::ColumnRule;

const A: u16 = 1;
const B: u16 = 2;

fn row(version: i64, origin: u16) -> Standing {
    Standing {
        row: Some(Stamp::write(version, origin)),
        ..Standing::default()
    }
}

fn gone(version: i64, origin: u16) -> Standing {
    Standing {
        tombstone: Some(Stamp::delete(version, origin)),
        ..Standing::default()
    }
}

fn update(base: (i64, u16), new: (i64, u16)) -> Incoming {
    Incoming::Update {
        base: Stamp::write(base.0, base.1),
        stamp: Stamp::write(new.0, new.1),
    }
}

fn delete(base: (i64, u16), by: u16) -> Incoming {
    Incoming::Delete {
        base: Stamp::write(base.0, base.1),
        stamp: Stamp::delete(base.0, by),
    }
}

fn insert(version: i64, origin: u16) -> Incoming {
    Incoming::Insert {
        stamp: Stamp::write(version, origin),
    }
}

/// What is done, and what is recorded of it.
#[derive(Debug, PartialEq)]
enum Done {
    Write(Option<ConflictKind>),
    Keep(Option<ConflictKind>),
    Own(Own, ConflictKind),
    Park(ConflictKind),
}

fn done(rules: &TableRules, me: Rank, incoming: Incoming, standing: Standing) -> Done {
    match decide(rules, me, incoming, standing) {
        Decision::Write { conflict, .. } => Done::Write(conflict),
        Decision::Keep { conflict, .. } => Done::Keep(conflict),
        Decision::Own { own, conflict, .. } => Done::Own(own, conflict),
        Decision::Park { conflict, .. } => Done::Park(conflict),
    }
}

fn write(kind: Option<ConflictKind>) -> Done {
    Done::Write(kind)
}

fn keep(kind: ConflictKind) -> Done {
    Done::Keep(Some(kind))
}

fn rules(row: Rule) -> TableRules {
    TableRules {
        row,
        arbiter: A,
        ..TableRules::default()
    }
}

fn on_delete(on_delete: OnDelete) -> TableRules {
    TableRules {
        on_delete,
        ..rules(Rule::Newest)
    }
}

#[test]
fn table_of_decisions_under_newest() {
    use ConflictKind as K;
    let cases: &[(Incoming, Standing, Done)] = &[
        (insert(1, A), Standing::default(), write(None)),
        (insert(6, A), gone(5, B), write(None)),
        (insert(5, A), gone(5, B), keep(K::UpdateDeleted)),
        (insert(1, B), row(1, A), write(Some(K::InsertExists))),
        (insert(1, A), row(1, B), keep(K::InsertExists)),
        (update((5, A), (6, A)), row(5, A), write(None)),
        (
            update((5, A), (6, B)),
            row(6, A),
            write(Some(K::UpdateOriginDiffers)),
        ),
        (update((5, A), (6, A)), row(6, B), keep(K::UpdateOriginDiffers)),
        (update((5, A), (6, A)), gone(5, B), write(Some(K::UpdateDeleted))),
        (update((5, A), (6, A)), gone(7, B), keep(K::UpdateDeleted)),
        (
            update((5, A), (6, A)),
            Standing::default(),
            write(Some(K::UpdateMissing)),
        ),
        (delete((5, A), B), row(5, A), write(None)),
        (delete((5, A), B), row(6, A), keep(K::DeleteOriginDiffers)),
        (delete((6, A), B), row(6, B), write(Some(K::DeleteOriginDiffers))),
        (delete((5, A), B), gone(5, A), write(Some(K::DeleteMissing))),
        (delete((5, A), A), gone(5, B), keep(K::DeleteMissing)),
        (
            delete((5, A), B),
            Standing::default(),
            write(Some(K::DeleteMissing)),
        ),
    ];
    for (incoming, standing, expected) in cases {
        assert_eq!(
            done(&rules(Rule::Newest), A, *incoming, *standing),
            *expected,
            "{incoming:?} on {standing:?}"
        );
    }
}

#[test]
fn the_source_of_truth_answers_for_what_stands_and_takes_successors() {
    let truth = rules(Rule::SourceOfTruth(A));
    use ConflictKind as K;
    let at_truth = |incoming, standing| done(&truth, A, incoming, standing);
    assert_eq!(
        at_truth(update((5, B), (9, B)), row(6, A)),
        Done::Own(Own::Touch, K::UpdateOriginDiffers)
    );
    assert_eq!(
        at_truth(update((5, B), (9, B)), gone(6, A)),
        Done::Own(Own::DeleteAgain, K::UpdateDeleted)
    );
    assert_eq!(
        at_truth(delete((7, B), B), row(6, A)),
        Done::Own(Own::Touch, K::DeleteOriginDiffers)
    );
    assert_eq!(at_truth(update((6, A), (7, B)), row(6, A)), write(None));
    assert_eq!(at_truth(insert(6, B), gone(5, A)), write(None));
    assert_eq!(
        done(&truth, B, update((5, A), (6, A)), row(9, B)),
        keep(K::UpdateOriginDiffers)
    );
}

#[test]
fn a_delete_that_meets_an_update_goes_as_the_table_says() {
    use ConflictKind as K;
    let (stays, lives) = (on_delete(OnDelete::Delete), on_delete(OnDelete::Update));
    let (older, newer) = (update((5, B), (6, B)), update((8, B), (9, B)));
    let cases = [
        (
            &stays,
            newer,
            gone(6, A),
            Done::Own(Own::DeleteAgain, K::UpdateDeleted),
        ),
        (&stays, older, gone(7, A), keep(K::UpdateDeleted)),
        (
            &stays,
            delete((5, B), B),
            row(6, A),
            Done::Own(Own::Delete, K::DeleteOriginDiffers),
        ),
        (
            &stays,
            delete((8, B), B),
            row(6, A),
            write(Some(K::DeleteOriginDiffers)),
        ),
        (&lives, newer, gone(6, A), write(Some(K::UpdateDeleted))),
        (&lives, older, gone(7, A), Done::Own(Own::Lift, K::UpdateDeleted)),
        (&lives, delete((5, B), B), row(6, A), keep(K::DeleteOriginDiffers)),
        (
            &lives,
            delete((8, B), B),
            row(6, A),
            Done::Own(Own::Touch, K::DeleteOriginDiffers),
        ),
        // Two updates are none of its business.
        (&stays, newer, row(6, A), write(Some(K::UpdateOriginDiffers))),
    ];
    for (rules, incoming, standing, expected) in cases {
        let told = format!("{rules:?}: {incoming:?} on {standing:?}");
        assert_eq!(done(rules, A, incoming, standing), expected, "{told}");
        let elsewhere = done(rules, 3, incoming, standing);
        assert_eq!(
            elsewhere,
            done(&TableRules::default(), 3, incoming, standing),
            "{told}"
        );
    }
}

#[test]
fn what_was_made_on_a_row_that_was_only_raised_is_no_contradiction() {
    use ConflictKind as K;
    let raised = |version| Standing {
        is_base: true,
        ..row(version, A)
    };
    let (truth, lives) = (rules(Rule::SourceOfTruth(A)), on_delete(OnDelete::Update));
    for rules in [&truth, &lives] {
        let made = |incoming, standing| done(rules, A, incoming, standing);
        assert_eq!(made(update((5, B), (9, B)), raised(7)), write(None));
        assert_eq!(
            made(update((5, B), (6, B)), raised(7)),
            Done::Own(Own::Lift, K::UpdateOriginDiffers)
        );
        assert_eq!(
            made(delete((5, B), B), raised(7)),
            Done::Own(Own::Delete, K::DeleteOriginDiffers)
        );
        assert_eq!(
            done(rules, B, update((5, A), (6, A)), raised(7)),
            keep(K::UpdateOriginDiffers)
        );
    }
    let newest = done(&rules(Rule::Newest), A, update((5, B), (6, B)), raised(7));
    assert_eq!(newest, keep(K::UpdateOriginDiffers));
}

#[test]
fn columns_are_merged_by_the_arbiter_alone() {
    let mut merging = rules(Rule::Newest);
    merging.columns.insert("n".to_owned(), ColumnRule::Delta);
    let kind = ConflictKind::UpdateOriginDiffers;
    for (version, incoming_wins) in [(9, true), (6, false)] {
        let incoming = update((5, B), (version, B));
        let merged = Done::Own(Own::Merge { incoming_wins }, kind);
        assert_eq!(done(&merging, A, incoming, row(7, A)), merged);
        let elsewhere = done(&merging, 3, incoming, row(7, A));
        assert_eq!(elsewhere, done(&TableRules::default(), 3, incoming, row(7, A)));
    }
    assert_eq!(done(&merging, A, update((7, A), (8, B)), row(7, A)), write(None));
    merging.row = Rule::SourceOfTruth(A);
    let merged = Done::Own(Own::Merge { incoming_wins: false }, kind);
    assert_eq!(done(&merging, A, update((5, B), (9, B)), row(7, A)), merged);
}

#[test]
fn who_asks_parks_every_contradiction_and_nothing_else() {
    use ConflictKind as K;
    let ask = rules(Rule::Ask);
    for me in [A, B] {
        let there = 3;
        let parked = |incoming, standing, kind| {
            assert_eq!(done(&ask, me, incoming, standing), Done::Park(kind));
        };
        parked(update((5, there), (9, there)), row(6, me), K::UpdateOriginDiffers);
        parked(update((5, there), (6, there)), row(9, me), K::UpdateOriginDiffers);
        parked(insert(1, there), row(1, me), K::InsertExists);
        parked(update((5, there), (6, there)), gone(5, me), K::UpdateDeleted);
        parked(delete((5, me), there), row(6, me), K::DeleteOriginDiffers);
        assert_eq!(
            done(&ask, me, update((6, me), (7, there)), row(6, me)),
            write(None)
        );
        assert_eq!(
            done(&ask, me, delete((5, me), there), gone(4, me)),
            write(Some(K::DeleteMissing))
        );
    }
    let asks = on_delete(OnDelete::Ask);
    assert_eq!(
        done(&asks, B, delete((5, A), A), row(6, B)),
        Done::Park(K::DeleteOriginDiffers)
    );
    assert_eq!(
        done(&asks, B, update((5, A), (6, A)), row(5, B)),
        write(Some(K::UpdateOriginDiffers))
    );
}

#[test]
fn equal_stamps_with_other_contents_are_parked() {
    let newest = rules(Rule::Newest);
    let same = Standing {
        is_same: true,
        ..row(1, A)
    };
    assert_eq!(done(&newest, A, insert(1, A), same), Done::Keep(None));
    assert_eq!(
        decide(&newest, A, insert(1, A), row(1, A)),
        Decision::Park {
            conflict: ConflictKind::InsertExists,
            reason: Reason::Collision
        }
    );
}

#[test]
fn what_comes_from_the_standing_rows_own_node_is_later() {
    let later = |incoming, standing| done(&rules(Rule::SourceOfTruth(B)), B, incoming, standing);
    assert_eq!(later(insert(4, A), row(4, A)), write(None));
    assert_eq!(later(update((3, A), (4, A)), row(4, A)), write(None));
    // Below a delete it waits for its node to raise it.
    assert_eq!(later(insert(4, A), gone(4, A)), keep(ConflictKind::UpdateDeleted));
    assert_eq!(later(insert(4, A), gone(4, B)), keep(ConflictKind::UpdateDeleted));
    assert_eq!(
        later(insert(1, 0), row(1, 0)),
        Done::Park(ConflictKind::InsertExists)
    );
    let same = Standing {
        is_same: true,
        ..row(4, A)
    };
    assert_eq!(later(insert(4, A), same), Done::Keep(None));
}

/// The stamp is that of the row it was made on: only contents tell whether somebody else did the same.
#[test]
fn an_update_that_raised_no_version_is_taken_and_told_where_it_was_made_on_another_row() {
    let silent = update((3, A), (3, A));
    let made_on = Standing {
        is_base: true,
        ..row(3, A)
    };
    let same = Standing {
        is_same: true,
        ..row(3, A)
    };
    let kind = Some(ConflictKind::UpdateOriginDiffers);
    for me in [A, B] {
        let met = |standing| done(&TableRules::default(), me, silent, standing);
        assert_eq!(met(row(3, A)), write(kind));
        assert_eq!(met(made_on), write(None));
        assert_eq!(met(same), write(None));
        assert_eq!(met(row(4, B)), keep(ConflictKind::UpdateOriginDiffers));
    }
    let stamp = Stamp::write(3, A);
    assert_eq!(touched(stamp, None, stamp), Some(4));
    assert_eq!(touched(stamp, Some(Stamp::delete(2, B)), stamp), Some(4));
    assert_eq!(touched(Stamp::write(4, A), None, stamp), None);
}

/// It missed a bump and is to be touched: what its tombstone beats does not come in over it.
#[test]
fn a_row_below_its_tombstone_is_as_high_as_that() {
    use ConflictKind as K;
    let low = Standing {
        tombstone: gone(5, B).tombstone,
        ..row(3, A)
    };
    for (incoming, standing, expected) in [
        (insert(4, B), low, keep(K::InsertExists)),
        (insert(6, B), low, write(Some(K::InsertExists))),
        (update((2, B), (4, B)), low, keep(K::UpdateOriginDiffers)),
        (update((2, B), (6, B)), low, write(Some(K::UpdateOriginDiffers))),
        // Made on that very row.
        (update((3, A), (4, B)), low, write(None)),
        // Touched at the node that had deleted what stood before, or written by another one.
        (update((3, A), (6, A)), gone(5, A), write(None)),
        (update((3, A), (6, A)), gone(5, B), write(Some(K::UpdateDeleted))),
    ] {
        let found = done(&TableRules::default(), A, incoming, standing);
        assert_eq!(found, expected, "{incoming:?} on {standing:?}");
    }
    let (row, deleted) = (Stamp::write(3, A), Stamp::delete(5, B));
    assert_eq!(touched(row, Some(deleted), Stamp::delete(7, B)), Some(8));
    assert_eq!(touched(row, Some(deleted), row), Some(6));
    // The delete that kept it out elsewhere has not arrived here.
    assert_eq!(touched(row, None, deleted), None);
    assert_eq!(touched(Stamp::write(6, A), Some(deleted), deleted), None);
}

#[test]
fn what_a_spoke_writes_where_it_holds_nothing_is_answered_whoever_would_win() {
    let foreign = |own| Done::Own(own, ConflictKind::ForeignWrite);
    for (incoming, standing, expected) in [
        (update((4, A), (9, B)), row(5, A), foreign(Own::Touch)),
        (update((4, A), (4, B)), row(5, A), foreign(Own::Touch)),
        (insert(1, B), row(5, A), foreign(Own::Touch)),
        (insert(9, B), gone(5, A), foreign(Own::DeleteAgain)),
        (update((4, A), (5, B)), gone(5, A), foreign(Own::DeleteAgain)),
        (insert(1, B), Standing::default(), foreign(Own::DeleteAgain)),
        // Its tombstone would be in the way when the row comes again.
        (delete((5, B), B), row(5, A), foreign(Own::Touch)),
        (delete((4, A), B), row(5, A), Done::Keep(None)),
        // It let go of the row as it was told; a new copy brings that back.
        (delete((4, A), A), row(4, A), Done::Keep(None)),
        (
            delete((4, A), B),
            gone(5, A),
            Done::Keep(Some(ConflictKind::DeleteMissing)),
        ),
    ] {
        let standing = Standing {
            sight: Sight::Unheld,
            ..standing
        };
        let found = done(&TableRules::default(), A, incoming, standing);
        assert_eq!(found, expected, "{incoming:?} meets {standing:?}");
    }
}
