//! Starts the servers named on its command line and keeps them until its standard input closes or it is told to end.
//!
//! usage: servers KIND...       (postgres18 postgres17 postgres16 postgres15 mysql mariadb mysql_peer mariadb_peer)
//!
//! A `_peer` is a second server of its kind, for a sync between two of them. Prints one `NAME=URL` line each on stdout, then `ready`. `scripts/test.sh` starts the shared test servers with it.

use anyhow::{Context, Result};
use tidelock::playground::{Kind, Options, start};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut starting = vec![];
    for name in names {
        let kind = Kind::from_name(name.strip_suffix("_peer").unwrap_or(&name))
            .with_context(|| format!("unknown server {name}"))?;
        let start = tokio::spawn(async move { start(kind, &Options::default()).await });
        starting.push((name, start));
    }
    let mut servers = vec![];
    for (name, start) in starting {
        let server = start.await??;
        println!(
            "{name}={}",
            server.url("").trim_end_matches("/postgres").trim_end_matches('/')
        );
        servers.push(server);
    }
    println!("ready");

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (closed, stdin_closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whatever is written to us is of no interest, only the end of it.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = closed.send(());
    });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = stdin_closed => {}
    }
    drop(servers);
    Ok(())
}
