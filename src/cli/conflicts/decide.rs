//! `conflicts resolve` and `conflicts override`: a person's decision, as a plan or done.
//!
//! Owns: the choice's flags and the plan on screen. What is written where is `flow::resolve`'s matter.
//! Fails: 5 when the record does not offer the choice, or the row moved on since.

use super::view::outcome;
use super::{Face, Found, Schema, one, render};
use crate::config::Config;
use crate::engine::Node;
use crate::error::Result;
use crate::flow;
use crate::flow::resolve::{self, Recorded, Told, Wish};
use crate::model::conflict::ConflictFilter;
use serde::Serialize;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("choice").required(true).multiple(true).args(["take", "set", "null", "merge"]))]
pub(in crate::cli) struct Options {
    /// NUMBER, NODE:NUMBER or the id
    conflict: String,
    /// The version of this node; where that is a delete, the row is deleted
    #[arg(long, value_name = "NODE", conflicts_with = "merge")]
    take: Option<String>,
    /// Both versions column by column: what one side changed is of that side, what both changed of the one that won
    #[arg(long)]
    merge: bool,
    /// This value in this column
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// NULL in this column
    #[arg(long, value_name = "COLUMN")]
    null: Vec<String>,
    /// Although the row moved on since it was recorded
    #[arg(long)]
    force: bool,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    executed: bool,
    conflict: String,
    id: String,
    sync: String,
    writes: Vec<WriteReport>,
    /// Nodes that hold another version than the record names: `--force` is needed.
    moved_on: Vec<String>,
    arrives_later: Vec<String>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct WriteReport {
    node: String,
    table: String,
    key: String,
    operation: &'static str,
    version: i64,
    columns: Vec<ColumnReport>,
    nodes: Vec<NodeReport>,
}

#[derive(Serialize)]
struct ColumnReport {
    column: String,
    now: String,
    then: String,
}

#[derive(Serialize)]
struct NodeReport {
    node: String,
    holds: String,
    will_hold: String,
}

/// `column=value`; the value may hold more of these signs.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        Some(_) | None => Err("write COLUMN=VALUE; `--null COLUMN` sets NULL".to_owned()),
    }
}

pub(super) async fn run(face: &Face, config: &Config, options: &Options, overrides: bool) -> Result<()> {
    let found = one(config, &options.conflict, options.sync.as_deref()).await?;
    let (records, chosen) = recorded(&found).await?;
    let sync = flow::selected(&found.sync.spec).await?;
    let set = options
        .set
        .iter()
        .map(|(column, value)| (column.clone(), Some(value.clone())));
    let null = options.null.iter().map(|column| (column.clone(), None));
    let wish = Wish {
        take: options.take.clone(),
        merge: options.merge,
        set: set.chain(null).collect(),
        overrides,
        force: options.force,
    };
    let mut planned = Box::pin(resolve::plan(&sync, &records, chosen, &wish)).await?;
    if options.execute {
        Box::pin(resolve::execute(&sync, &mut planned)).await?;
    }
    let next_steps = next_steps(&found, options, overrides, &planned.told);
    if face.json {
        return face.document(&document(&found, &planned.told, options.execute, next_steps));
    }
    face.print(&told(&found, &planned.told, options));
    for later in &planned.told.later {
        face.say(later);
    }
    if !options.execute {
        face.say("nothing was changed: this is the plan");
    }
    face.next(&next_steps);
    Ok(())
}

/// The conflict as every node recorded it, and which of them was named.
async fn recorded(found: &Found<'_>) -> Result<(Vec<Recorded>, usize)> {
    let mut records = vec![Recorded {
        node: found.node,
        conflict: found.conflict.clone(),
    }];
    let filter = ConflictFilter {
        id: Some(found.conflict.id.clone()),
        ..ConflictFilter::default()
    };
    for node in super::targets(found.sync) {
        let declared = &found.sync.nodes[node];
        let mut connected = Node::connect(&declared.access, declared.engine).await?;
        let same = connected.conflicts(&found.sync.spec.name, &filter).await?;
        connected.close().await;
        let others = same
            .into_iter()
            .filter(|other| node != found.node || other.number != found.conflict.number);
        records.extend(others.map(|conflict| Recorded { node, conflict }));
    }
    Ok((records, 0))
}

fn next_steps(found: &Found<'_>, options: &Options, overrides: bool, told: &Told) -> Vec<String> {
    if options.execute {
        return vec![format!("tidelock conflicts show {}", found.name())];
    }
    let verb = if overrides { "override" } else { "resolve" };
    let mut step = format!("tidelock conflicts {verb} {}", found.name());
    if let Some(node) = &options.take {
        step.push_str(&format!(" --take {node}"));
    }
    if options.merge {
        step.push_str(" --merge");
    }
    // Values are not repeated: they may be what is masked.
    for (column, _) in &options.set {
        step.push_str(&format!(" --set {column}=.."));
    }
    for column in &options.null {
        step.push_str(&format!(" --null {column}"));
    }
    if !told.moved.is_empty() {
        step.push_str(" --force");
    }
    vec![format!("{step} --execute")]
}

fn document(found: &Found<'_>, told: &Told, executed: bool, next_steps: Vec<String>) -> Document {
    let write = |act: &resolve::ToldAct| WriteReport {
        node: act.node.clone(),
        table: act.table.clone(),
        key: act.key.clone(),
        operation: act.deed,
        version: act.version,
        columns: act
            .cells
            .iter()
            .map(|cell| ColumnReport {
                column: cell.column.clone(),
                now: cell.before.clone(),
                then: cell.after.clone(),
            })
            .collect(),
        nodes: act
            .effects
            .iter()
            .map(|effect| NodeReport {
                node: effect.node.clone(),
                holds: effect.holds.clone(),
                will_hold: effect.becomes.clone(),
            })
            .collect(),
    };
    Document {
        schema: Schema,
        executed,
        conflict: found.name(),
        id: found.conflict.id.clone(),
        sync: found.conflict.sync.clone(),
        writes: told.acts.iter().map(write).collect(),
        moved_on: told.moved.clone(),
        arrives_later: told.later.clone(),
        next_steps,
    }
}

/// The plan, or what was done, for people.
fn told(found: &Found<'_>, told: &Told, options: &Options) -> String {
    let conflict = &found.conflict;
    let (decides, writes) = match options.execute {
        true => ("decided", "wrote"),
        false => ("would decide", "would write"),
    };
    let mut out = format!(
        "{decides} {} ({} of {}.{} key {}, {})\n",
        found.name(),
        conflict.kind,
        conflict.schema,
        conflict.table,
        conflict.key,
        outcome(conflict),
    );
    for moved in &told.moved {
        out.push_str(&format!("  the row moved on since: {moved}\n"));
    }
    if told.acts.is_empty() {
        out.push_str("  nothing is to be written: it is so already\n");
    }
    for act in &told.acts {
        out.push_str(&format!(
            "  {writes} on {}: {} {} key {}, version {}\n",
            act.node, act.deed, act.table, act.key, act.version
        ));
        if !act.cells.is_empty() {
            let mut rows = vec![["    COLUMN", "NOW", "THEN"].map(str::to_owned).to_vec()];
            for cell in &act.cells {
                rows.push(vec![
                    format!("    {}", cell.column),
                    render::cut(&cell.before, 48),
                    render::cut(&cell.after, 48),
                ]);
            }
            out.push_str(&render::table(&rows));
        }
        let mut rows = vec![["    NODE", "HOLDS", "WILL HOLD"].map(str::to_owned).to_vec()];
        for effect in &act.effects {
            rows.push(vec![
                format!("    {}", effect.node),
                effect.holds.clone(),
                effect.becomes.clone(),
            ]);
        }
        out.push_str(&render::table(&rows));
    }
    out
}
