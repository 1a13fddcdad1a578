//! The demo as a user runs it: one command, one document, nothing left behind.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the demo promises, on a machine that runs other tests as well.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn demo_converges_and_says_so_in_one_document() {
    // A folder of its own for temporary files shows what is left in it.
    let folder = tempfile::Builder::new()
        .prefix("demo")
        .tempdir_in("/tmp")
        .unwrap();
    // The servers run as another user where we are root.
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    let begin = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_tidelock"))
        .args(["demo", "--once", "--json", "--seconds", "5"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let took = begin.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(took < LIMIT, "it took {took:?}");

    // One document: anything beside it would be a syntax error.
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    assert!(!document["next_steps"].as_array().unwrap().is_empty());
    let pairs = document["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 1, "{document}");
    let pair = &pairs[0];
    let nodes: Vec<&str> = pair["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node.as_str().unwrap())
        .collect();
    assert!(nodes[0].starts_with("postgres 18."), "{nodes:?}");
    assert!(
        nodes[1].starts_with("mysql 9.") || nodes[1].starts_with("mariadb "),
        "{nodes:?}"
    );
    // Each side's users write for five seconds, dozens of rows a second.
    assert!(pair["rows_crossed"]["a_to_b"].as_u64().unwrap() > 50, "{pair}");
    assert!(pair["rows_crossed"]["b_to_a"].as_u64().unwrap() > 50, "{pair}");
    assert!(pair["conflicts"].as_u64().unwrap() >= 1, "{pair}");
    assert_eq!(pair["echoes_applied"], 0, "{pair}");
    assert_eq!(pair["idle_writes"], 0, "{pair}");
    assert_eq!(pair["converged"], true, "{pair}");
    let (p50, p99) = (pair["p50_ms"].as_f64().unwrap(), pair["p99_ms"].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{pair}");

    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
