//! `resync`: asks links to copy a table anew while everything else goes on.
//!
//! What it asks for is noted on each target; the copy of the program that runs the link does it, or the next one that runs.
//! It changes users' rows, so it is a plan unless `--execute`.
//! Fails: 5 where a link has not started or its first copy is not over.

use super::{Face, Schema, render, select};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::spec::LinkSpec;
use crate::flow::{self, anew, instance};
use crate::model::schema::TableId;
use serde::Serialize;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The table, as any node calls it
    #[arg(value_name = "TABLE")]
    table: String,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Only what this node has is brought to the others (two-way: by default each to each)
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// Do it
    #[arg(long)]
    execute: bool,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    executed: bool,
    copies: Vec<Copy>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct Copy {
    sync: String,
    link: String,
    /// As the source and the target call it.
    source_table: String,
    target_table: String,
    rows_estimated: Option<u64>,
    /// What becomes of rows that only the target has.
    beyond: &'static str,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let links = links(face, options).await?;
    let mut copies = Vec::with_capacity(links.len());
    for (link, place) in &links {
        copies.push(look(link, *place).await?);
    }
    if options.execute {
        let operator = instance::operator();
        for (link, place) in &links {
            let mut target = Node::connect(&link.target.access, link.target.engine).await?;
            let table: Vec<TableId> = link.target.tables.get(*place).cloned().into_iter().collect();
            target
                .ask_resync((&link.sync, &link.id), &table, &operator)
                .await?;
            target.close().await;
        }
    }
    let next_steps = match options.execute {
        true => vec!["tidelock status".to_owned()],
        false => vec![format!(
            "tidelock resync '{}'{} --execute",
            options.table,
            flags(options)
        )],
    };
    if face.json {
        return face.document(&Document {
            schema: Schema,
            executed: options.execute,
            copies,
            next_steps,
        });
    }
    face.print(&told(&copies, options.execute));
    face.say(match options.execute {
        true => {
            "a running copy of the program begins within seconds; without one the next `tidelock run` does"
        }
        false => "nothing was changed: this is the plan",
    });
    face.next(&next_steps);
    Ok(())
}

fn flags(options: &Options) -> String {
    let flag = |name: &str, value: &Option<String>| {
        let value = value.as_ref();
        value.map_or_else(String::new, |value| format!(" --{name} {value}"))
    };
    flag("sync", &options.sync) + &flag("from", &options.from)
}

/// The links that have the table, with its place among theirs.
async fn links(face: &Face, options: &Options) -> Result<Vec<(Arc<LinkSpec>, usize)>> {
    let config = face.load()?;
    let (mut found, mut first) = (Vec::new(), None);
    for sync in select(&config, options.sync.as_deref())? {
        let spec = flow::selected(&sync.spec).await?;
        for link in (0..spec.links.len()).map(|index| spec.link(index)) {
            if options
                .from
                .as_ref()
                .is_some_and(|from| *from != link.source.name)
            {
                continue;
            }
            match anew::place_of(&link, &options.table) {
                Ok(place) => found.push((link, place)),
                Err(error) => first = first.or(Some(error)),
            }
        }
    }
    match (found.is_empty(), first) {
        (false, _) => Ok(found),
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::definite(format!(
            "find a link from {}",
            options.from.as_deref().unwrap_or_default()
        ))
        .why("no sync runs from this node")
        .hint("`tidelock config show` lists the nodes of each sync")),
    }
}

async fn look(link: &LinkSpec, place: usize) -> Result<Copy> {
    let mut target = Node::connect(&link.target.access, link.target.engine).await?;
    let status = target.link_status(&link.sync, &link.id).await?;
    target.close().await;
    let refused = |why: &str, hint: &str| {
        Error::definite(format!("copy a table of link {} anew", link.full_name()))
            .node(&link.target.name)
            .reason(Reason::Refused)
            .why(why)
            .hint(hint)
    };
    match status.checkpoint.filter(|checkpoint| checkpoint.seq >= 0) {
        None => {
            return Err(refused(
                "the link has not started, or its first copy is not over",
                "`tidelock run` copies every table",
            ));
        }
        Some(_) => {}
    }
    let (source, target) = (&link.source, &link.target);
    let mut node = Node::connect(&source.access, source.engine).await?;
    let sizes = node.sizes(&source.tables[place..=place]).await?;
    node.close().await;
    Ok(Copy {
        sync: link.sync.clone(),
        link: link.id.clone(),
        source_table: source.tables[place].to_string(),
        target_table: target.tables[place].to_string(),
        rows_estimated: sizes.first().copied().flatten().and_then(|size| size.rows),
        beyond: match link.is_merge() {
            true => "kept, unless the source has its delete",
            false => "deleted, with a record of it",
        },
    })
}

fn told(copies: &[Copy], executed: bool) -> String {
    let deed = if executed { "copies" } else { "would copy" };
    let mut out = String::new();
    for copy in copies {
        let rows = copy.rows_estimated.map_or_else(
            || "an unknown number of rows".to_owned(),
            |rows| format!("~{rows} rows"),
        );
        out.push_str(&format!(
            "{} {}: {deed} {} to {}, {rows}; rows that only the target has are {}\n",
            render::plain(&copy.sync),
            render::plain(&copy.link),
            render::plain(&copy.source_table),
            render::plain(&copy.target_table),
            copy.beyond
        ));
    }
    out.push_str("  the table waits meanwhile, and catches up then; all others go on\n");
    out
}
