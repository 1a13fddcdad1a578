//! The built program under test, with a config file in a folder of its own.
//!
//! Owns: starting it, ending it in several ways, keeping what it said and showing it when the test fails.

use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// No command of ours takes that long, the set-up of 500 tables on a busy machine included.
const RUN_LIMIT: Duration = Duration::from_secs(600);
/// Far above the 10 s in which the program promises to leave, to tell slow from hanging.
const TERM_LIMIT: Duration = Duration::from_secs(60);
/// What a failed test shows of the background program's log.
const LOG_LINES: usize = 100;

#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub struct Tidelock {
    folder: tempfile::TempDir,
    child: Option<Child>,
    environment: Vec<(String, String)>,
}

impl Tidelock {
    pub fn new(config: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tidelock-test-")
            .tempdir()
            .unwrap();
        let program = Self {
            folder,
            child: None,
            environment: vec![],
        };
        program.configure(config);
        program
    }

    /// Replaces the config file.
    pub fn configure(&self, config: &str) {
        fs::write(self.config_path(), config).unwrap();
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("tidelock.toml")
    }

    /// The program's working folder, for password files and certificates.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets a variable for everything started from now on.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output();
        let output = tokio::time::timeout(RUN_LIMIT, output).await;
        let output = output.unwrap_or_else(|_| panic!("tidelock {arguments:?} did not end in {RUN_LIMIT:?}"));
        let output = output.unwrap();
        Output {
            code: code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; returns its stdout.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(
            output.code == 0,
            "tidelock {arguments:?} ended with {}\n{}{}",
            output.code,
            output.stdout,
            output.stderr
        );
        output.stdout
    }

    /// Starts `run` in the background.
    pub fn spawn(&mut self) {
        self.spawn_with(&["run"]);
    }

    pub fn spawn_with(&mut self, arguments: &[&str]) {
        assert!(self.child.is_none(), "it is running already");
        let log = self.log_file();
        let mut command = self.command(arguments);
        command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// The most memory the background program has held at once, as the kernel counts it.
    pub fn peak_kib(&self) -> u64 {
        let pid = self.pid().expect("it is not running");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Whether the background program is still there.
    pub fn running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Ends it without a chance to tidy up.
    pub async fn kill9(&mut self) {
        let mut child = self.child.take().expect("it is not running");
        child.kill().await.unwrap();
    }

    /// Asks it to end; returns its exit code and the seconds it took.
    pub async fn term(&mut self) -> (i32, f64) {
        let line = format!("kill -TERM {}", self.pid().expect("it is not running"));
        let start = Instant::now();
        Command::new("sh").args(["-c", &line]).status().await.unwrap();
        let code = self.wait(TERM_LIMIT).await;
        (code, start.elapsed().as_secs_f64())
    }

    /// Waits for the background program to end by itself.
    pub async fn wait(&mut self, limit: Duration) -> i32 {
        let child = self.child.as_mut().expect("it is not running");
        let status = tokio::time::timeout(limit, child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("tidelock did not end in {limit:?}"));
        self.child = None;
        code(status.unwrap())
    }

    /// All that the background program has said, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("run.log")
    }

    fn log_file(&self) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command.env("TIDELOCK_CONFIG", self.config_path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Tidelock {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.start_kill();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            eprintln!("--- end of the log of tidelock ---\n{end}\n--- end ---");
        }
    }
}

/// Where the program may listen. Another process could take it in between; the kernel hands out others first.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Sends a signal by its name, such as `STOP`.
pub fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Processes that stand still until this is dropped.
pub struct Frozen(Vec<u32>);

impl Frozen {
    pub fn one(pid: u32) -> Self {
        signal(pid, "STOP");
        Frozen(vec![pid])
    }

    /// A process and its children, such as the sessions of PostgreSQL.
    pub fn family(pid: u32) -> Self {
        let mut all = vec![pid];
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(child) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if parent.and_then(|parent| parent.parse().ok()) == Some(pid) {
                all.push(child);
            }
        }
        all.iter().for_each(|pid| signal(*pid, "STOP"));
        Frozen(all)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let line = format!("kill -CONT {pid}");
            let _ = std::process::Command::new("sh").args(["-c", &line]).status();
        }
    }
}

/// The exit code, or 128 + the signal as a shell would tell it.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
