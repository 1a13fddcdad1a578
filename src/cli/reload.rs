//! SIGHUP: the configuration is read anew, checked, and only then taken.
//!
//! The main loop goes on while the databases of the new file are asked. Log level and HTTP are swapped in place. Anything else that differs stops the links in order and starts them with
//! the new file. A file that is wrong, an address that is taken or nodes that are not ready leave everything as it
//! was; `config_last_reload_successful` says so until the next reload.

use super::run::{Daemon, Drained, INTERRUPTED, Looking, Signals, notify, specs, warn};
use super::{Face, logs};
use crate::access::Secret;
use crate::config::{Config, Environment, Sync};
use crate::error::{Error, Result};
use crate::flow;
use crate::http::Server;
use sd_notify::NotifyState;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A new configuration, read and checked.
pub(super) type Looked = Result<New>;

pub(super) struct New {
    config: Config,
    syncs: Vec<Sync>,
    restart: bool,
}

/// Reads the file and asks its databases. Everything goes on meanwhile, and whoever drops this has changed nothing.
pub(super) fn look(daemon: &Daemon) -> Looking {
    tracing::info!(event = "reloading", config = %daemon.config.path.display(), "reading the configuration anew");
    let looked = read(daemon);
    Box::pin(async move {
        let new = looked?;
        if new.restart {
            flow::preflight(&specs(&new.syncs)).await?;
        }
        Ok(new)
    })
}

fn read(daemon: &Daemon) -> Looked {
    let config = crate::config::load(Some(&daemon.config.path), &Environment::of_process())?;
    Ok(New {
        syncs: daemon.syncs(&config)?,
        restart: needs_restart(&daemon.config, &config),
        config,
    })
}

/// `Some`: told to leave meanwhile, with this exit code. An error ends the run: the links cannot be started any more.
pub(super) async fn take(
    daemon: &mut Daemon,
    face: &Face,
    leave: &mut Signals,
    looked: Looked,
) -> Result<Option<u8>> {
    let had = match looked {
        // Last of what can be refused: from here on everything is taken.
        Ok(new) => listen(daemon, &new.config).await.map(|()| new),
        Err(error) => Err(error),
    };
    daemon.shown.is_reload_good.store(had.is_ok(), Relaxed);
    let new = match had {
        Ok(new) => new,
        Err(error) => {
            let hint = error.hint_text().unwrap_or("tidelock config check");
            tracing::error!(event = "reload_refused", %error, hint, "the old configuration stays");
            return Ok(None);
        }
    };
    warn(&new.config);
    if let Some(filter) = &daemon.filter {
        filter.set(logs::directives_for(face, Some(&new.config.log)));
    }
    daemon.config = new.config;
    if new.restart
        && let Some(code) = restart(daemon, leave, new.syncs.clone()).await?
    {
        return Ok(Some(code));
    }
    daemon.watch(new.syncs);
    tracing::info!(event = "reloaded", "the configuration was taken");
    Ok(None)
}

async fn restart(daemon: &mut Daemon, leave: &mut Signals, syncs: Vec<Sync>) -> Result<Option<u8>> {
    tracing::info!(
        event = "links_restart",
        "the links start anew with the new configuration"
    );
    match daemon.drain(leave).await {
        Drained::Done(outcome) => outcome?,
        Drained::Interrupted(name) => {
            notify(&[NotifyState::Stopping]);
            tracing::warn!(event = "stopped", signal = name, "left while the links stopped");
            return Ok(Some(INTERRUPTED));
        }
        Drained::TookTooLong => {
            return Err(
                Error::transient("stop the links for the new configuration").why("they did not end in time")
            );
        }
    }
    daemon.again(syncs);
    Ok(None)
}

/// The new address is had before the old one is given up.
async fn listen(daemon: &mut Daemon, config: &Config) -> Result<()> {
    if config.http == daemon.config.http {
        return Ok(());
    }
    let server = match config.http {
        Some(listen) => Some(Server::start(listen, Arc::clone(&daemon.shown)).await?),
        None => None,
    };
    if let Some(old) = std::mem::replace(&mut daemon.server, server) {
        old.stop().await;
    }
    Ok(())
}

/// Does anything differ that the links were made from?
fn needs_restart(old: &Config, new: &Config) -> bool {
    fn links(config: &Config) -> Vec<(&str, &str)> {
        let values = config.values.iter();
        values
            .map(|shown| (shown.key.as_str(), shown.value.as_str()))
            .filter(|(key, _)| !key.starts_with("log.") && !key.starts_with("http."))
            .collect()
    }
    // Passwords in URLs are masked there; all other secrets are read again on each connect.
    fn plain(config: &Config) -> Vec<Option<&str>> {
        let secrets = config.nodes.iter().map(|node| &node.access.secret);
        secrets
            .map(|secret| match secret {
                Secret::Plain(secret) => Some(secret.expose_secret()),
                Secret::Command(command) => Some(command.as_str()),
                _ => None,
            })
            .collect()
    }
    links(old) != links(new) || plain(old) != plain(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    const FILE: &str = "version = 1\n[node.a]\nurl = \"postgres://u:one@localhost/d\"\n[node.b]\n\
        url = \"mysql://u@localhost/d\"\n[[sync]]\nname = \"s\"\nnodes = [\"a\", \"b\"]\nmode = \"merge\"\n\
        tables = [\"t\"]\nseed = \"none\"\n";

    fn config(text: &str) -> Config {
        let parsed = crate::config::parse(text, Path::new("t.toml"), &Environment::default());
        parsed.map_err(|failure| failure.rendered()).unwrap()
    }

    #[test]
    fn only_what_the_links_are_made_of_restarts_them() {
        let old = config(FILE);
        let same = [
            FILE.to_owned(),
            format!("{FILE}[log]\nlevel = \"debug\"\n"),
            format!("{FILE}[http]\nlisten = \"127.0.0.1:1234\"\n"),
            format!("# a comment moves all lines\n{FILE}"),
        ];
        for text in same {
            assert!(!needs_restart(&old, &config(&text)), "{text}");
        }
        let other = [
            FILE.replace("one@", "two@"),
            FILE.replace("[\"t\"]", "[\"t\", \"u\"]"),
            format!("{FILE}[limits]\ngroup_rows_max = 7\n"),
        ];
        for text in other {
            assert!(needs_restart(&old, &config(&text)), "{text}");
        }
    }
}
