//! `schema diff`: per pair of nodes and table, what one side lacks of the other, with the statement that mends it.
//!
//! Foreign keys that write rows by themselves and triggers that fire when Tidelock writes come as `check` says them.
//! Fails: 4 when something differs.

use super::{Face, Held, syncs};
use crate::cli::Schema;
use crate::cli::render::{self, Ink, plain};
use crate::error::{Error, Reason, Result};
use crate::model::schema::TableId;
use crate::model::sync::Finding;
use crate::schema::diff::{Difference, Severity, Sides, lacking};
use crate::schema::translate::translate;
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    differs: bool,
    differences: Vec<Line>,
    /// What `check` says of foreign keys and triggers.
    findings: Vec<Finding>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    sync: String,
    /// The node that lacks it, and where `fix` would run.
    node: String,
    /// The node it is compared with.
    with: String,
    table: String,
    kind: &'static str,
    severity: &'static str,
    what: String,
    fix: String,
    #[serde(skip)]
    rank: Severity,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let config = face.load()?;
    let (mut lines, mut findings) = (Vec::new(), Vec::new());
    for sync in syncs(&config, options.sync.as_deref(), None)? {
        let mut held = Held::read(sync).await?;
        for (from, to) in held.spec.pairs().collect::<Vec<_>>() {
            lines.extend(between(&held, from, to));
        }
        findings.extend(writes_by_itself(&mut held).await?);
    }
    lines.sort_by_key(|line| line.rank);
    let document = Document {
        schema: Schema,
        differs: !lines.is_empty(),
        next_steps: vec!["tidelock check".to_owned()],
        differences: lines,
        findings,
    };
    if face.json {
        face.document(&document)?;
    } else {
        face.print(&text(face, &document));
        face.next(&document.next_steps);
    }
    if document.differs {
        let count = render::count(document.differences.len(), "difference", "differences");
        return Err(Error::definite("find the tables alike")
            .why(count)
            .reason(Reason::Different)
            .hint("run those statements that you want, on the node that each names"));
    }
    Ok(())
}

/// Only what `check` finds of these two kinds.
async fn writes_by_itself(held: &mut Held<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (index, node) in held.nodes.iter_mut().enumerate() {
        let own = node.check(&held.spec.scope(index)).await?;
        let is_meant = |finding: &Finding| [Finding::CASCADES, Finding::UNGUARDED].contains(&finding.code);
        findings.extend(own.into_iter().filter(is_meant));
    }
    Ok(findings)
}

fn between(held: &Held<'_>, from: usize, to: usize) -> Vec<Line> {
    let mut lines = one_way(held, (from, to), true);
    let back = one_way(held, (to, from), false);
    lines.extend(back);
    lines
}

/// What `to` lacks of what `from` has.
fn one_way(held: &Held<'_>, (from, to): (usize, usize), first: bool) -> Vec<Line> {
    let (pairs, places) = held.pairs(from, to);
    let (back, back_places) = held.pairs(to, from);
    let mut lines = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let id = &held.spec.nodes[to].tables[*place];
        let Some(present) = &held.tables[to][*place] else {
            lines.push(line(held, (from, to), id, missing(held, to)));
            continue;
        };
        let Ok(wanted) = translate(&pairs, at, held.engines[from], held.engines[to]) else {
            let what = "its key has no counterpart in the other engine".to_owned();
            lines.push(line(
                held,
                (from, to),
                id,
                Difference {
                    kind: "key",
                    severity: Severity::Blocks,
                    what,
                    fix: "see `tidelock check`".to_owned(),
                },
            ));
            continue;
        };
        let there = back_places.iter().position(|known| known == place);
        let home = there.and_then(|at| translate(&back, at, held.engines[to], held.engines[from]).ok());
        let sides = Sides {
            from: held.engines[from],
            to: held.engines[to],
            carries: held.spec.links.contains(&(from, to)),
            first,
        };
        let found = lacking(&pairs[at], &wanted, present, home.as_ref(), sides);
        lines.extend(
            found
                .into_iter()
                .map(|difference| line(held, (from, to), id, difference)),
        );
    }
    lines
}

fn missing(held: &Held<'_>, to: usize) -> Difference {
    Difference {
        kind: "table",
        severity: Severity::Blocks,
        what: "the table is missing".to_owned(),
        fix: format!(
            "tidelock schema create --sync {} --on {} --execute",
            held.spec.name,
            held.name(to)
        ),
    }
}

fn line(held: &Held<'_>, (from, to): (usize, usize), id: &TableId, difference: Difference) -> Line {
    Line {
        sync: held.spec.name.clone(),
        node: held.name(to).to_owned(),
        with: held.name(from).to_owned(),
        table: id.to_string(),
        kind: difference.kind,
        severity: difference.severity.word(),
        what: difference.what,
        fix: difference.fix,
        rank: difference.severity,
    }
}

fn text(face: &Face, document: &Document) -> String {
    let mut out = String::new();
    for line in &document.differences {
        let ink = match line.rank {
            Severity::Blocks => Ink::Bad,
            Severity::Refuses | Severity::Cosmetic => Ink::Strong,
        };
        out.push_str(&format!(
            "{}  {} {}: {} (node {} has it otherwise)\n    fix: {}\n",
            face.paint().with(ink, line.severity),
            line.node,
            plain(&line.table),
            plain(&line.what),
            line.with,
            plain(&line.fix.replace('\n', " ")),
        ));
    }
    for finding in &document.findings {
        face.paint().finding(finding, &mut out);
    }
    if !document.differs {
        out.push_str("the tables of all nodes are alike\n");
    }
    out
}
