//! A stored conflict on screen and in JSON.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::stamp::{Rank, Stamp};
use std::collections::BTreeMap;

fn stored() -> StoredConflict {
    StoredConflict {
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
        base_stamp: None,
        local_stamp: Some(Stamp::write(9, 2)),
        incoming_stamp: Some(Stamp::write(8, 1)),
        winner: Some(2),
        source_position: "lsn:0/1".to_owned(),
        target_position: String::new(),
        source_committed_at_us: 0,
        recorded_at_us: 1_000_000,
        settled: None,
    }
}

fn viewed<'a>(conflict: &'a StoredConflict, masks: &[(String, String)]) -> Viewed<'a> {
    let names: BTreeMap<Rank, String> = [(1, "pg".to_owned()), (2, "my".to_owned())].into();
    Viewed::of("my", "pg", conflict, masks, names)
}

#[test]
fn differing_columns_come_first_and_digits_stay() {
    let stored = stored();
    let lines = viewed(&stored, &[]).columns();
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
    let stored = stored();
    let screen = viewed(&stored, &[]).text();
    assert!(
        screen.contains("kept by rule newest, the version of my stood"),
        "{screen}"
    );
    assert!(
        screen.contains("local version 9 of my, incoming version 8 of pg"),
        "{screen}"
    );
}

#[test]
fn json_passes_rows_on_as_they_are() {
    let json = serde_json::to_string(&viewed(&stored(), &[]).report(true)).unwrap();
    assert!(json.contains("\"credit\":12345678901234567890.10"), "{json}");
    assert!(json.contains("\"key\":[881]"), "{json}");
    let json = serde_json::to_string(&viewed(&stored(), &[]).report(false)).unwrap();
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

/// Also what was recorded before the column was masked.
#[test]
fn masked_cells_tell_only_whether_they_differ() {
    let mask = |name: &str| (name.to_owned(), name.to_owned());
    let mut conflict = stored();
    conflict.base = Some(r#"{"name":{"masked":1},"phone":"030-1"}"#.to_owned());
    conflict.local = Some(r#"{"name":{"masked":1},"phone":"030-9"}"#.to_owned());
    conflict.incoming = Some(r#"{"name":{"masked":1},"phone":"030-9"}"#.to_owned());
    let viewed = viewed(&conflict, &[mask("name"), mask("phone")]);
    let (screen, json) = (
        viewed.text(),
        serde_json::to_string(&viewed.report(true)).unwrap(),
    );
    assert!(!screen.contains("030") && !json.contains("030"), "{screen}{json}");
    assert_eq!(
        viewed.columns()[2],
        ["phone", "(masked)", "(masked)", "", "(masked)"]
    );
    let cell = |side: &str| format!("\"{side}\":{{\"name\":{{\"masked\":1}},\"phone\":{{\"masked\":");
    assert!(json.contains(&format!("{}1}}", cell("base"))), "{json}");
    assert!(json.contains(&format!("{}2}}", cell("local"))), "{json}");
    assert!(json.contains(&format!("{}2}}", cell("incoming"))), "{json}");
}

#[test]
fn since_is_a_time_or_an_age() {
    assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1_000_000));
    let day = jiff::Timestamp::now().as_microsecond() - since("1d").unwrap();
    assert!((86_399_000_000..86_460_000_000).contains(&day), "{day}");
    assert!(since("yesterday").is_err());
}
