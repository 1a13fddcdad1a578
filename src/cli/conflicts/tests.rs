//! A stored conflict on screen and in JSON.
#![allow(clippy::unwrap_used)]

use super::*;

fn found() -> Found {
    Found {
        node: "my".to_owned(),
        source: "pg".to_owned(),
        conflict: StoredConflict {
            number: 7,
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            sync: "shop".to_owned(),
            link: "pg->my".to_owned(),
            schema: "shop".to_owned(),
            table: "customers".to_owned(),
            key: "[881]".to_owned(),
            base: Some(r#"{"name":"Ann","phone":"030-1"}"#.to_owned()),
            local: Some(r#"{"name":"Ann","phone":"030-9","credit":12345678901234567890.10}"#.to_owned()),
            incoming: Some(r#"{"name":"Ann","phone":"030-7","credit":null}"#.to_owned()),
            kind: "update_origin_differs".to_owned(),
            operation: "update".to_owned(),
            rule: "newest".to_owned(),
            outcome: "kept".to_owned(),
            detail: "the local version is greater".to_owned(),
            local_stamp: Some((9, 2)),
            incoming_stamp: Some((8, 1)),
            source_position: "lsn:0/1".to_owned(),
            source_committed_at_us: 0,
            recorded_at_us: 1_000_000,
        },
    }
}

#[test]
fn differing_columns_come_first_and_digits_stay() {
    let lines = columns(&found());
    assert_eq!(
        lines[0],
        ["COLUMN", "LAST AGREED", "LOCAL (my)", "", "INCOMING (pg)"]
    );
    assert_eq!(lines[1], ["credit", "-", "12345678901234567890.10", "≠", "NULL"]);
    assert_eq!(lines[2], ["phone", "030-1", "030-9", "≠", "030-7"]);
    assert_eq!(lines[3], ["name", "Ann", "Ann", "", "Ann"]);
}

#[test]
fn the_screen_says_who_won_and_why() {
    let screen = text(&found());
    assert!(screen.contains("kept by rule newest"), "{screen}");
    assert!(
        screen.contains("local version 9 of node 2, incoming version 8 of node 1"),
        "{screen}"
    );
}

#[test]
fn json_passes_rows_on_as_they_are() {
    let json = serde_json::to_string(&report(found(), true)).unwrap();
    assert!(json.contains("\"credit\":12345678901234567890.10"), "{json}");
    assert!(json.contains("\"key\":[881]"), "{json}");
    let json = serde_json::to_string(&report(found(), false)).unwrap();
    assert!(!json.contains("credit"), "{json}");
}

#[test]
fn a_conflict_is_named_by_number_node_and_number_or_id() {
    assert_eq!(wanted("7").unwrap().1.number, Some(7));
    let (node, filter) = wanted("my:7").unwrap();
    assert_eq!((node.as_deref(), filter.number), (Some("my"), Some(7)));
    assert!(wanted("0123456789ABCDEF0123456789abcdef").unwrap().1.id.is_some());
    assert!(wanted("seven").unwrap_err().hint_text().unwrap().contains("my:7"));
}
