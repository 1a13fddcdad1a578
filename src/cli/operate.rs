//! `pause`, `resume` and `skip`: what an operator wants of a link, written to its target, daemon or no daemon.
//!
//! Pausing changes no user data and needs no `--execute`; repeating it changes nothing. Skipping leaves changes out for
//! good, so it is a plan unless `--execute`, and takes only the position that the link itself named when it stopped.
//! Fails: 5 when there is nothing to skip there, 8 while another copy runs the link.

use super::{Face, Schema, render};
use crate::config::{Config, Sync};
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::spec::LinkSpec;
use crate::flow::{hold, instance, skip};
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(super) struct PauseOptions {
    /// A link (`a->b`), a sync, or `SYNC/LINK`; without it every link of the configuration
    #[arg(value_name = "LINK|SYNC")]
    name: Option<String>,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeOptions {
    /// A link (`a->b`), a sync, or `SYNC/LINK`; without it every link of the configuration
    #[arg(value_name = "LINK|SYNC")]
    name: Option<String>,
    /// A table that the link holds, by the target's name: it is read again from where it stopped
    #[arg(long, value_name = "TABLE", requires = "name")]
    table: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SkipOptions {
    /// The link that stopped (`a->b`, or `SYNC/a->b`)
    #[arg(value_name = "LINK")]
    link: String,
    /// The transaction it stopped at, as its error and `tidelock status` name it
    #[arg(long, value_name = "POSITION")]
    at: String,
    /// Do it
    #[arg(long)]
    execute: bool,
}

#[derive(Serialize)]
struct Wanted {
    schema: Schema,
    links: Vec<WantedLink>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct WantedLink {
    sync: String,
    link: String,
    paused: bool,
    changed: bool,
}

#[derive(Serialize)]
struct Skipped {
    schema: Schema,
    executed: bool,
    sync: String,
    link: String,
    transaction: String,
    past: String,
    /// On the target; as far as the transaction was read.
    tables: Vec<String>,
    changes: u64,
    why_stopped: String,
    next_steps: Vec<String>,
}

pub(super) async fn pause(face: &Face, options: &PauseOptions) -> Result<()> {
    want(face, options.name.as_deref(), true, &options.reason).await
}

pub(super) async fn resume(face: &Face, options: &ResumeOptions) -> Result<()> {
    if let Some(table) = &options.table {
        return take_up(face, options.name.as_deref(), table).await;
    }
    want(face, options.name.as_deref(), false, "").await
}

#[derive(Serialize)]
struct TakenUp {
    schema: Schema,
    sync: String,
    link: String,
    table: String,
    from: String,
    next_steps: Vec<String>,
}

async fn take_up(face: &Face, name: Option<&str>, table: &str) -> Result<()> {
    let config = face.load()?;
    let (sync, index) = only(&config, name.unwrap_or_default())?;
    let link = sync.spec.link(index);
    let held = hold::held(&link, table).await?;
    let mut target = Node::connect(&link.target.access, link.target.engine).await?;
    let operator = instance::operator();
    if !target
        .resume_table((&link.sync, &link.id), &held.table, &operator)
        .await?
    {
        return Err(hold::not_held(&link, table));
    }
    let next_steps = vec!["tidelock status".to_owned()];
    let (table, from) = (held.table.to_string(), held.position.to_string());
    if face.json {
        return face.document(&TakenUp {
            schema: Schema,
            sync: link.sync.clone(),
            link: link.id.clone(),
            table,
            from,
            next_steps,
        });
    }
    face.print(&format!(
        "resumed {} {}: table {table}, from {from}\n",
        link.sync, link.id
    ));
    face.say("a running copy reads it again within seconds; without one the next `tidelock run` does");
    face.next(&next_steps);
    Ok(())
}

/// The link that a name stands for, and no other.
fn only<'a>(config: &'a Config, name: &str) -> Result<(&'a Sync, usize)> {
    let found = chosen(config, Some(name))?;
    if let [only] = found[..] {
        return Ok(only);
    }
    let names: Vec<String> = found
        .iter()
        .map(|(sync, index)| full_name(sync, *index))
        .collect();
    Err(Error::definite(format!("choose the link {name:?}"))
        .why("it stands for several links")
        .hint(format!("name one of {}", names.join(", "))))
}

async fn want(face: &Face, name: Option<&str>, paused: bool, reason: &str) -> Result<()> {
    let config = face.load()?;
    let operator = instance::operator();
    let mut links = Vec::new();
    let mut text = String::new();
    for (sync, index) in chosen(&config, name)? {
        let link = sync.spec.link(index);
        let mut target = Node::connect(&link.target.access, link.target.engine).await?;
        let wanted = target
            .want((&link.sync, &link.id), paused, reason, &operator)
            .await;
        let changed = wanted.map_err(|error| set_up_first(error).node(&link.target.name))?;
        text.push_str(match (paused, changed) {
            (true, true) => "paused          ",
            (true, false) => "paused already  ",
            (false, true) => "resumed         ",
            (false, false) => "not paused      ",
        });
        text.push_str(&format!("{} {}\n", link.sync, link.id));
        links.push(WantedLink {
            sync: link.sync.clone(),
            link: link.id.clone(),
            paused,
            changed,
        });
    }
    let next_steps = vec!["tidelock status".to_owned()];
    if face.json {
        return face.document(&Wanted {
            schema: Schema,
            links,
            next_steps,
        });
    }
    face.print(&text);
    if paused {
        face.say("a running copy finishes what it has begun and rests within seconds; its source keeps the log meanwhile");
    }
    face.next(&next_steps);
    Ok(())
}

fn set_up_first(error: Error) -> Error {
    match error.hint_text() {
        None => error.hint("`tidelock setup --execute` makes what this version needs"),
        Some(_) => error,
    }
}

pub(super) async fn skip(face: &Face, options: &SkipOptions) -> Result<()> {
    let config = face.load()?;
    let (sync, index) = only(&config, &options.link)?;
    let planned = skip::plan(&sync.spec, index, &options.at).await?;
    let link = sync.spec.link(index);
    if options.execute {
        skip::execute(&sync.spec, index, &planned).await?;
    }
    let tables: Vec<String> = planned.tables.iter().map(ToString::to_string).collect();
    let next_steps = match options.execute {
        true => vec!["tidelock run".to_owned(), "tidelock status".to_owned()],
        false => vec![format!(
            "tidelock skip '{}' --at '{}' --execute",
            link.full_name(),
            planned.transaction
        )],
    };
    if face.json {
        return face.document(&Skipped {
            schema: Schema,
            executed: options.execute,
            sync: link.sync.clone(),
            link: link.id.clone(),
            transaction: planned.transaction,
            past: planned.past,
            tables,
            changes: planned.changes,
            why_stopped: planned.error,
            next_steps,
        });
    }
    face.print(&told(&planned, &link, &tables.join(", "), options.execute));
    if !options.execute {
        face.say("nothing was changed: this is the plan");
    }
    face.next(&next_steps);
    Ok(())
}

/// What is or would be left out, for people; `tables` is empty where the changes were not read.
fn told(planned: &skip::Skip, link: &LinkSpec, tables: &str, executed: bool) -> String {
    let (deed, made) = match executed {
        true => ("skipped", "is made"),
        false => ("would skip", "would be made"),
    };
    let stopped = format!(
        "{deed} transaction {} of {} {}\n  the link stopped at it: {}\n",
        planned.transaction, link.sync, link.id, planned.error
    );
    if tables.is_empty() {
        return stopped
            + "  the link stopped before its changes were read: which tables it changes is not known\n";
    }
    if planned.held {
        return format!(
            "{stopped}  its changes in {tables}, none of which {made} on {}; what follows it is applied\n  out of sync \
             from then on, until made equal by hand or copied anew: {tables}\n",
            link.target.name
        );
    }
    let changes = usize::try_from(planned.changes).unwrap_or(usize::MAX);
    format!(
        "{stopped}  {} in {tables}, none of which {made} on {}\n  out of sync from then on, until made equal by hand or \
         copied anew: {tables}\n",
        render::count(changes, "change", "changes"),
        link.target.name
    )
}

fn full_name(sync: &Sync, index: usize) -> String {
    sync.spec.link(index).full_name()
}

/// The links that a name stands for: `a->b`, `SYNC`, `SYNC/a->b`, or all.
fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<(&'a Sync, usize)>> {
    let all = config
        .syncs
        .iter()
        .flat_map(|sync| (0..sync.spec.links.len()).map(move |index| (sync, index)));
    let Some(name) = name else {
        return Ok(all.collect());
    };
    let is_meant = |(sync, index): &(&Sync, usize)| {
        let link = sync.spec.link(*index).id.clone();
        link == name || sync.spec.name == name || full_name(sync, *index) == name
    };
    let found: Vec<_> = all.clone().filter(is_meant).collect();
    if found.is_empty() {
        let known: Vec<String> = all.map(|(sync, index)| full_name(sync, index)).collect();
        return Err(Error::definite(format!("find the link {name:?}"))
            .why("no sync and no link of the configuration has this name")
            .hint(format!("known are {}", known.join(", ")))
            .reason(Reason::Other));
    }
    Ok(found)
}
