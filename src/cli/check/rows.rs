//! What `check` says of rows that their mapping would refuse.
//!
//! Owns: findings of what [`prove`](crate::seed::prove) has read, and the line on a terminal while it reads. Codes: E361 rows
//! that would not pass, W362 rows that could not be read.

use super::Answer;
use crate::cli::foot;
use crate::flow::fit;
use crate::flow::spec::SyncSpec;
use crate::model::sync::Finding;
use crate::seed::{self, Proof};

/// The line is drawn anew after so many rows.
const DRAW_EVERY: u64 = 10_000;

/// What became of the rows, and what is to be said of it. `answers`: by node.
pub(super) async fn told(
    spec: &SyncSpec,
    answers: &[Option<Answer>],
    leaves_out: bool,
    findings: &mut Vec<Finding>,
) -> Vec<Proof> {
    if !seed::has_mapped(spec) {
        return Vec::new();
    }
    if leaves_out {
        let node = spec.nodes.first().map_or("", |node| node.name.as_str());
        let what = "not read: rows of tables with mapped values or computed columns (--no-rows)";
        findings.push(Finding::ok(node, what));
        return Vec::new();
    }
    let proofs = Box::pin(prove(spec, answers)).await;
    findings.extend(proofs.iter().flat_map(of_table));
    proofs
}

async fn prove(spec: &SyncSpec, answers: &[Option<Answer>]) -> Vec<Proof> {
    let sides = answers.iter().map(|answer| {
        answer.as_ref().map(|answer| fit::Held {
            engine: answer.engine,
            tables: &answer.catalog,
        })
    });
    let told = |node: &str, table: &str, rows: u64| {
        if rows.is_multiple_of(DRAW_EVERY) {
            foot::draw(format!("check  {node}: {table}  {rows} rows"));
        }
    };
    let proofs = seed::prove(spec, &sides.collect::<Vec<_>>(), &told).await;
    foot::draw(String::new());
    proofs
}

fn of_table(proof: &Proof) -> Vec<Finding> {
    let of_table = |finding: Finding| finding.table(&proof.table);
    if let Some(why) = &proof.not_read {
        let what = format!("not read: the rows on their way to {}: {why}", proof.to);
        let fix = "mend what the other findings say, or give the account SELECT on the table (tidelock setup --execute \
                   does), then tidelock check; or leave it out: tidelock check --no-rows";
        return vec![of_table(Finding::warning("W362", &proof.node, what)).fix(fix)];
    }
    let rows = format!("{} rows", proof.rows);
    if proof.refused == 0 {
        let what = format!(
            "{}: {rows} read, and all pass to {} as the mapping says",
            proof.table, proof.to
        );
        return vec![of_table(Finding::ok(&proof.node, what))];
    }
    let told: u64 = proof.reasons.iter().map(|reason| reason.rows).sum();
    let mut findings: Vec<Finding> = proof
        .reasons
        .iter()
        .map(|reason| {
            let more = if reason.rows > reason.keys.len() as u64 {
                ", .."
            } else {
                ""
            };
            let what = format!(
                "{} of {rows} would not pass to {}: column {:?}: {}; {}{more}",
                reason.rows,
                proof.to,
                reason.column,
                reason.why,
                reason.keys.join(", ")
            );
            of_table(Finding::blocker("E361", &proof.node, what))
                .fix(&reason.fix)
                .setting(&reason.setting)
        })
        .collect();
    if proof.refused > told {
        let what = format!(
            "{} more rows would not pass to {}, for other reasons",
            proof.refused - told,
            proof.to
        );
        findings.push(
            of_table(Finding::blocker("E361", &proof.node, what))
                .fix("mend the others first")
                .setting(""),
        );
    }
    findings
}
