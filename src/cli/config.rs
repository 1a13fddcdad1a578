//! `config check` and `config show`: the file as it is understood, without touching a database.

use super::{Face, Schema, render};
use crate::config::{Config, Environment, Shown, Warning};
use crate::error::Result;
use crate::model::sync::Finding;
use serde::Serialize;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every problem of the file with its line, and what should be known; no database is asked
    Check,
    /// Every effective value with its origin; secrets are masked
    Show,
}

#[derive(Serialize)]
struct Checked<'a> {
    schema: Schema,
    path: String,
    ok: bool,
    problems: &'a [crate::config::Located],
    warnings: Vec<Finding>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct Values<'a> {
    schema: Schema,
    path: String,
    values: &'a [Shown],
    next_steps: Vec<String>,
}

pub(super) fn run(face: &Face, command: &Command) -> Result<()> {
    match command {
        Command::Check => check(face),
        Command::Show => show(face),
    }
}

/// What is worth knowing as findings, so that `check` shows them beside its own.
pub(super) fn findings(warnings: &[Warning]) -> Vec<Finding> {
    warnings
        .iter()
        .map(|warning| {
            let node = warning.node.as_deref().unwrap_or("configuration");
            Finding::warning(warning.code, node, &warning.what).fix(&warning.fix)
        })
        .collect()
}

fn check(face: &Face) -> Result<()> {
    let config = match crate::config::load(face.config.as_deref(), &Environment::of_process()) {
        Ok(config) => config,
        Err(failure) => {
            if face.json {
                let path = failure.path.as_deref();
                face.document(&Checked {
                    schema: Schema,
                    path: path.map(|path| path.display().to_string()).unwrap_or_default(),
                    ok: false,
                    problems: &failure.problems,
                    warnings: Vec::new(),
                    next_steps: vec!["tidelock config check".to_owned()],
                })?;
            }
            return Err(failure.into());
        }
    };
    let warnings = findings(&config.warnings);
    let next_steps = vec!["tidelock check".to_owned()];
    if face.json {
        return face.document(&Checked {
            schema: Schema,
            path: config.path.display().to_string(),
            ok: true,
            problems: &[],
            warnings,
            next_steps,
        });
    }
    let mut out = String::new();
    for warning in &warnings {
        let named = Finding {
            what: format!("{}: {}", warning.node, warning.what),
            ..warning.clone()
        };
        face.paint().finding(&named, &mut out);
    }
    let summary = Finding::ok("", summary(&config));
    face.paint().finding(&summary, &mut out);
    face.print(&out);
    face.next(&next_steps);
    Ok(())
}

fn summary(config: &Config) -> String {
    let links: Vec<String> = config
        .syncs
        .iter()
        .flat_map(|sync| {
            let name = sync.spec.name.clone();
            sync.links()
                .into_iter()
                .map(move |link| format!("{name} {}", link.id))
        })
        .collect();
    format!(
        "{}: {}, {} ({})",
        config.path.display(),
        render::count(config.nodes.len(), "node", "nodes"),
        render::count(config.syncs.len(), "sync", "syncs"),
        links.join(", ")
    )
}

fn show(face: &Face) -> Result<()> {
    let config = face.load()?;
    let next_steps = vec!["tidelock check".to_owned()];
    if face.json {
        return face.document(&Values {
            schema: Schema,
            path: config.path.display().to_string(),
            values: &config.values,
            next_steps,
        });
    }
    let mut rows = vec![["KEY", "VALUE", "ORIGIN"].map(str::to_owned).to_vec()];
    for shown in &config.values {
        rows.push(vec![shown.key.clone(), shown.value.clone(), shown.origin.clone()]);
    }
    face.print(&render::table(&rows));
    Ok(())
}
