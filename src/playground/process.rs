//! One server process and the thread that keeps it.
//!
//! Owns: start, signals, waiting, and that the server never outlives us.
//! Why a thread: the kernel's parent-death signal fires when the *thread* that started the child ends. A thread of an
//! async runtime may end at any time; this one ends after the child.
//! Fails: only when the program cannot be started; a server that ends by itself is told by [`Process::exited`].

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{oneshot, watch};

use super::folder::Folder;
use super::programs::User;

/// How soon the end of a server is noticed.
const POLL: Duration = Duration::from_millis(10);

pub(super) struct Process {
    pid: u32,
    /// Dropping it tells the keeper to kill.
    life: mpsc::Sender<()>,
    exit: watch::Receiver<Option<ExitStatus>>,
    keeper: JoinHandle<()>,
}

impl Process {
    pub(super) async fn spawn(
        program: &[PathBuf],
        arguments: &[OsString],
        folder: &Folder,
        user: User,
    ) -> Result<Self> {
        let mut command = guarded(program);
        let log = folder.new_log()?;
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        // Its own group: Ctrl-C on our terminal is for us, we decide when the servers go.
        command.process_group(0);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        let (started, answer) = oneshot::channel();
        let (life, orders) = mpsc::channel();
        let (ended, exit) = watch::channel(None);
        let keeper = std::thread::spawn(move || match command.spawn() {
            Ok(mut child) => {
                let _ = started.send(Ok(child.id()));
                let _ = ended.send(keep(&mut child, &orders));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        });
        let pid = answer
            .await
            .context("the keeper of the server ended")?
            .context("start the server")?;
        Ok(Self {
            pid,
            life,
            exit,
            keeper,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by name; the standard library can only kill.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        if self.exit.borrow().is_some() {
            return Ok(());
        }
        let line = format!("kill -{name} {}", self.pid);
        Command::new("sh")
            .args(["-c", &line])
            .status()
            .with_context(|| line.clone())?;
        Ok(())
    }

    /// Waits for the end of the server, at most that long.
    pub(super) async fn exited(&self, limit: Duration) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let end = tokio::time::timeout(limit, exit.wait_for(Option::is_some)).await;
        end.ok().and_then(|status| status.ok().and_then(|status| *status))
    }

    pub(super) async fn kill(self) {
        // Blocks for some milliseconds; off the runtime's threads all the same.
        let _ = tokio::task::spawn_blocking(move || self.kill_and_wait()).await;
    }

    pub(super) fn kill_and_wait(self) {
        drop(self.life);
        let _ = self.keeper.join();
    }
}

/// Waits for the child; kills it when the sender of `orders` is dropped.
fn keep(child: &mut Child, orders: &mpsc::Receiver<()>) -> Option<ExitStatus> {
    loop {
        if let Err(RecvTimeoutError::Disconnected) = orders.recv_timeout(POLL) {
            let _ = child.kill();
            return child.wait().ok();
        }
        match child.try_wait() {
            Ok(None) => {}
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

/// The command that starts the server, with the parent-death signal set where the machine has `setpriv`.
fn guarded(program: &[PathBuf]) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut command = if setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(&program[0]);
        command
    } else {
        Command::new(&program[0])
    };
    command.args(&program[1..]);
    command
}
