//! `conflicts dismiss`: closes an open record and writes nothing to its row.
//!
//! Owns: its flags and its words. Which records may be closed so is `flow::resolve`'s matter.
//! Fails: 5 when it is not open, or a change of the row waits for it.

use super::{Face, Schema, one};
use crate::config::Config;
use crate::error::Result;
use crate::flow::resolve::{self, Recorded};
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// NUMBER, NODE:NUMBER or the id
    conflict: String,
    /// Why nothing is left to do; stands in the record and in the audit
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: Schema,
    executed: bool,
    conflict: String,
    id: &'a str,
    sync: &'a str,
    reason: &'a str,
    next_steps: Vec<String>,
}

pub(super) async fn run(face: &Face, config: &Config, options: &Options) -> Result<()> {
    let found = one(config, &options.conflict, options.sync.as_deref()).await?;
    let (name, conflict) = (found.name(), &found.conflict);
    let recorded = Recorded {
        node: found.node,
        conflict: conflict.clone(),
    };
    let sync = &found.sync.spec;
    let next_steps = match options.execute {
        true => {
            resolve::dismiss(sync, &recorded, &options.reason).await?;
            vec![format!("tidelock conflicts show {name}")]
        }
        false => {
            resolve::may_dismiss(sync, &recorded).await?;
            vec![format!("tidelock conflicts dismiss {name} --reason .. --execute")]
        }
    };
    if face.json {
        return face.document(&Document {
            schema: Schema,
            executed: options.execute,
            conflict: name,
            id: &conflict.id,
            sync: &conflict.sync,
            reason: &options.reason,
            next_steps,
        });
    }
    let verb = if options.execute {
        "dismissed"
    } else {
        "would dismiss"
    };
    face.print(&format!(
        "{verb} {name} ({} of {}.{} key {})\n  no row is written: the nodes may still differ in this one\n",
        conflict.kind, conflict.schema, conflict.table, conflict.key
    ));
    if !options.execute {
        face.say("nothing was changed: this is the plan");
    }
    face.next(&next_steps);
    Ok(())
}
