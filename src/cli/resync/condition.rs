//! The condition of `resync --where`: read, and held against the table on both sides before anybody is asked.
//!
//! It is a row filter as the configuration has them (`expr`), in the configuration's names of the columns. Refuses: columns
//! that one side lacks, that are masked (the condition is shown by `status`), and tables of which a condition does not tell
//! what they lack. Fails: with the place in the text.

use crate::config::{Problem, pointed};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::expr::Expr;
use crate::flow;
use crate::flow::spec::{LinkSpec, NodeSpec};
use crate::model::schema::{Table, TableId};
use crate::model::sync::LinkStatus;

const FLAG: &str = "--where";

pub(super) fn parse(text: &str) -> Result<Expr> {
    Expr::parse(text).map_err(|mistake| {
        let problem = Problem::new(mistake.what)
            .hint("docs/config.md lists what a condition may hold")
            .at(mistake.at);
        wrong(text, problem)
    })
}

fn wrong(text: &str, problem: Problem) -> Error {
    Error::definite(format!("use the condition of {FLAG}"))
        .why(pointed(FLAG, text, problem).trim_end().to_owned())
}

/// Can both sides judge their rows by it?
pub(super) async fn refuse_unfit(link: &LinkSpec, place: usize, text: &str) -> Result<()> {
    let condition = parse(text)?;
    let (source, target) = (
        table(&link.source, place).await?,
        table(&link.target, place).await?,
    );
    let passage = link.passage(&source.id);
    let known = passage.askable(&source);
    let at = |name: &str| {
        let found = text.find(name);
        found.map_or(0..text.len(), |at| at..at + name.len())
    };
    for column in condition.columns() {
        if !known.contains(&column) {
            let what = format!("column \"{column}\" cannot be asked for");
            let hint = format!(
                "these are of both sides and may be shown, in the configuration's names: {}",
                known.join(", ")
            );
            return Err(wrong(text, Problem::new(what).hint(hint).at(at(column))).table(&source.id));
        }
    }
    let bound = passage.clone().asking(condition).asked(&source, &target);
    bound.map(|_| ()).map_err(|unfit| {
        let problem = Problem::new(format!("{}: {}", unfit.part, unfit.why))
            .hint(
                "both sides judge their rows: ask by columns that both have, and that can be compared there",
            )
            .at(unfit.place(text));
        wrong(text, problem).table(&target.id)
    })
}

async fn table(node: &NodeSpec, place: usize) -> Result<Table> {
    let ids = node.tables.get(place..=place).unwrap_or_default();
    let mut session = Node::connect(&node.access, node.engine).await?;
    let found = flow::tables(&mut session, ids, node).await?;
    session.close().await;
    let first = found
        .first()
        .ok_or_else(|| Error::bug("find a table of the link"))?;
    Ok(first.table.clone())
}

/// What waits for every row of a table is not over when some were looked at.
pub(super) fn refuse_unfinished(
    link: &LinkSpec,
    table: &TableId,
    text: &str,
    status: &LinkStatus,
) -> Result<()> {
    let asked = status.resyncs.iter().find(|resync| resync.table == *table);
    let is_held = status.held.iter().any(|held| held.table == *table);
    let why = match asked.map(|asked| asked.condition.as_deref()) {
        Some(Some(before)) if before == text => return Ok(()),
        Some(None) => "a new copy of all its rows is asked for, and not over",
        Some(Some(_)) => "a new copy by another condition is asked for, and not over",
        None if is_held => "it is held, and a condition does not tell which rows the log changed since",
        None => return Ok(()),
    };
    Err(Error::definite(format!("copy some rows anew by link {}", link.full_name()))
        .node(&link.target.name)
        .table(table)
        .reason(Reason::Refused)
        .why(why)
        .hint(format!(
            "wait for it (`tidelock status`), or have all rows compared: `tidelock resync '{table}' --execute`"
        )))
}
