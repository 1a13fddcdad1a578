//! `conflicts export`: every conflict with its rows, for other programs.
//!
//! Owns: the two forms. JSON is one document per line; CSV has one heading. Read page by page, oldest first, so that
//! memory does not grow with the record. Refuses: what is masked, as `view` does.

use super::view::{Report, Viewed};
use super::{Face, Found, Which};
use crate::config::Config;
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::model::conflict::ConflictFilter;
use std::io::Write;

/// Conflicts read at once. Each may hold three rows of some MiB.
const PAGE: u32 = 25;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Format {
    /// One JSON document per line
    Json,
    /// Comma-separated values, with a heading
    Csv,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    which: Which,
    /// What to write
    #[arg(long, value_enum, default_value = "json", value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn run(face: &Face, config: &Config, options: &Options) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut count = 0_usize;
    if options.format == Format::Csv && !written(writeln!(out, "{}", HEADING.join(",")))? {
        return Ok(());
    }
    for (sync, index) in options.which.places(config)? {
        let declared = &sync.nodes[index];
        let mut node = Node::connect(&declared.access, declared.engine).await?;
        let mut after = 0;
        loop {
            let filter = ConflictFilter {
                after: Some(after),
                ..options.which.filter(PAGE)
            };
            let page = node.conflicts(&sync.spec.name, &filter).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for conflict in page {
                let found = Found {
                    sync,
                    node: index,
                    conflict,
                };
                let report = Viewed::new(&found).report(true);
                if !written(writeln!(out, "{}", line(&report, options.format)?))? {
                    return Ok(());
                }
                count += 1;
            }
        }
        node.close().await;
    }
    written(out.flush())?;
    face.say(&format!(
        "exported {}",
        super::render::count(count, "conflict", "conflicts")
    ));
    Ok(())
}

/// `false`: the reader went away, which is no failure.
fn written(done: std::io::Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::definite("write the export").because(error)),
    }
}

fn line(report: &Report, format: Format) -> Result<String> {
    match format {
        Format::Json => {
            serde_json::to_string(report).map_err(|error| Error::bug("write a JSON document").because(error))
        }
        Format::Csv => {
            let cells: Vec<String> = cells(report).iter().map(|cell| quoted(cell)).collect();
            Ok(cells.join(","))
        }
    }
}

const HEADING: [&str; 31] = [
    "node",
    "number",
    "id",
    "sync",
    "link",
    "table",
    "key",
    "kind",
    "operation",
    "rule",
    "outcome",
    "winner",
    "detail",
    "recorded_at",
    "source_committed_at",
    "source_position",
    "target_position",
    "base_version",
    "base_origin",
    "local_version",
    "local_origin",
    "local_deleted",
    "incoming_version",
    "incoming_origin",
    "incoming_deleted",
    "settled_at",
    "settled_by",
    "settled_how",
    "base",
    "local",
    "incoming",
];

/// In the order of the heading; what is not there is empty.
fn cells(report: &Report) -> [String; 31] {
    fn or_empty(value: Option<impl ToString>) -> String {
        value.map_or_else(String::new, |value| value.to_string())
    }
    [
        report.node.clone(),
        report.number.to_string(),
        report.id.clone(),
        report.sync.clone(),
        report.link.clone(),
        report.table.clone(),
        report.key.get().to_owned(),
        report.kind.clone(),
        report.operation.clone(),
        report.rule.clone(),
        report.outcome.clone(),
        or_empty(report.winner.as_ref()),
        report.detail.clone(),
        report.recorded_at.clone(),
        report.source_committed_at.clone(),
        report.source_position.clone(),
        report.target_position.clone(),
        or_empty(report.base_version),
        or_empty(report.base_origin),
        or_empty(report.local_version),
        or_empty(report.local_origin),
        report.local_deleted.to_string(),
        or_empty(report.incoming_version),
        or_empty(report.incoming_origin),
        report.incoming_deleted.to_string(),
        or_empty(report.settled_at.as_ref()),
        or_empty(report.settled_by.as_ref()),
        or_empty(report.settled_how.as_ref()),
        or_empty(report.base.as_deref().map(serde_json::value::RawValue::get)),
        or_empty(report.local.as_deref().map(serde_json::value::RawValue::get)),
        or_empty(report.incoming.as_deref().map(serde_json::value::RawValue::get)),
    ]
}

/// RFC 4180: in quotes where it must be, and quotes doubled.
fn quoted(cell: &str) -> String {
    match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("{\"a\":1}"), "\"{\"\"a\"\":1}\"");
        assert_eq!(quoted("a,b\nc"), "\"a,b\nc\"");
    }
}
