//! The command line: parse, dispatch, exit codes.
//!
//! Owns: commands and flags, what goes to stdout (data) and stderr (talk), the exit code of every failure.
//! Refuses: unknown words, passwords as flags, changing user data without `--execute` (except `run`).
//! Fails: message, then a `hint:` line; with `--json` the last line of stderr repeats code and message.

mod check;
mod config;
mod conflicts;
mod foot;
mod generate;
mod health;
mod logs;
mod operate;
mod plan;
mod reload;
mod render;
mod resync;
mod run;
mod schema;
mod setup;
mod status;
mod words;

use crate::config::{Config, Environment, Sync};
use crate::demo;
use crate::error::{Error, Result};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use render::{Color, Ink, Paint};
use serde::{Serialize, Serializer};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "Examples:
  tidelock demo                   two databases, a two-way sync, a conflict: nothing to install
  tidelock check                  what is missing on both databases, each with the SQL that mends it
  tidelock plan                   what setup and the first run would do
  tidelock setup --execute        create Tidelock's own objects
  tidelock run                    replicate until stopped
  tidelock status                 where each link stands, and why nothing moves
";

const EXIT_CODES: &str = "Exit codes:
  0 fine, 1 failure, 2 usage, 3 check found a blocker, 4 plan --exit-code found something to do, schema diff a difference,
  5 refused by a safety gate,
  6 database unreachable or login failed, 7 position lost (a new copy is needed),
  8 another instance runs the link, 78 invalid configuration, 130 interrupted
  Any unknown code is a failure.";

/// Two-way replication for PostgreSQL and MySQL/MariaDB.
#[derive(Debug, Parser)]
#[command(name = "tidelock", version, before_help = EXAMPLES, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Configuration file [default: $TIDELOCK_CONFIG, then ./tidelock.toml, then the user's and /etc/tidelock/]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON document on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Say less; twice: only errors
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    quiet: u8,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Colours
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Color,
    /// Never ask a question (no command asks one today)
    #[arg(long, global = true)]
    no_input: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at both databases and say everything that is missing, with the SQL that mends it
    Check(check::Options),
    /// What `setup` and the first `run` would do: statements, locks, sizes, types that do not cross exactly
    Plan(plan::Options),
    /// Create Tidelock's objects on every node (a plan, unless --execute)
    Setup(setup::Options),
    /// Remove Tidelock's objects from every node (a plan, unless --execute)
    Teardown(setup::Options),
    /// Replicate until stopped
    Run(run::Options),
    /// Where each link stands and why nothing moves (--watch: again and again)
    Status(status::Options),
    /// Ask the running process whether it lives: exit code 0 or 1
    Health(health::Options),
    /// Let links rest: nothing is applied until `resume`
    Pause(operate::PauseOptions),
    /// Let paused links go on
    Resume(operate::ResumeOptions),
    /// Leave out the transaction that a link stopped at (a plan, unless --execute)
    Skip(operate::SkipOptions),
    /// Copy a table anew while everything else goes on (a plan, unless --execute)
    Resync(resync::Options),
    /// Rows that both sides changed
    #[command(subcommand)]
    Conflicts(conflicts::Command),
    /// Make the tables that a node lacks; compare those of all nodes
    #[command(subcommand)]
    Schema(schema::Command),
    /// The configuration as it is understood
    #[command(subcommand)]
    Config(config::Command),
    /// A completion script for your shell
    Completions(generate::Completions),
    /// Manual pages
    Man(generate::Man),
    /// Two throw-away databases with a two-way sync and a conflict
    Demo(Demo),
}

#[derive(Debug, Args)]
struct Demo {
    /// Show everything, prove that both sides are equal, and leave
    #[arg(long)]
    once: bool,
    /// How long to write on both sides
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

/// How this run of the program talks.
#[derive(Debug)]
struct Face {
    config: Option<PathBuf>,
    json: bool,
    quiet: u8,
    verbose: u8,
    color_out: bool,
    color_err: bool,
}

impl Face {
    fn new(global: Global) -> Self {
        Face {
            config: global.config,
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            color_out: global.color.is_on(&std::io::stdout()),
            color_err: global.color.is_on(&std::io::stderr()),
        }
    }

    fn load(&self) -> Result<Config> {
        Ok(crate::config::load(
            self.config.as_deref(),
            &Environment::of_process(),
        )?)
    }

    /// Paint for stdout.
    fn paint(&self) -> Paint {
        Paint { on: self.color_out }
    }

    /// Data. A reader that went away (`| head`) is no failure.
    fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Talk.
    fn say(&self, text: &str) {
        if self.quiet == 0 {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    fn document(&self, body: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(body)
            .map_err(|error| Error::bug("write the JSON document").because(error))?;
        self.print(&text);
        self.print("\n");
        Ok(())
    }

    /// The suggested next commands, for people.
    fn next(&self, steps: &[String]) {
        if !self.json && !steps.is_empty() {
            self.say(&format!("next: {}", steps.join("  or  ")));
        }
    }
}

/// Version of the JSON documents: fields are added, never renamed.
#[derive(Debug, Clone, Copy)]
struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

/// The syncs a command is about.
fn select<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a Sync>> {
    let known: Vec<&str> = config.syncs.iter().map(|sync| sync.spec.name.as_str()).collect();
    match name {
        None => Ok(config.syncs.iter().collect()),
        Some(name) => match config.syncs.iter().find(|sync| sync.spec.name == name) {
            Some(sync) => Ok(vec![sync]),
            None => Err(Error::definite(format!("find the sync {name:?}"))
                .why("the configuration has no such sync")
                .hint(format!("it has {}", known.join(", ")))),
        },
    }
}

/// A link keeps two threads busy at most; on a large machine more would only keep more memory.
const THREADS_MAX: usize = 8;

/// Runs the program; the whole of `main`.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let face = Face::new(cli.global);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(THREADS_MAX))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return report(&face, &Error::definite("start the runtime").because(error)),
    };
    let outcome = runtime.block_on(Box::pin(dispatch(&face, cli.command)));
    // Whatever still runs after a drain that took too long does not hold the exit up.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(&face, &error),
    }
}

async fn dispatch(face: &Face, command: Command) -> Result<u8> {
    if !matches!(command, Command::Run(_)) {
        logs::start(face, None);
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The one provider of the whole graph; an error would mean that it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    match command {
        Command::Run(options) => return run::run(face, &options).await,
        Command::Check(options) => check::run(face, &options).await?,
        Command::Plan(options) => plan::run(face, &options).await?,
        Command::Setup(options) => setup::run(face, &options, setup::Deed::Setup).await?,
        Command::Teardown(options) => setup::run(face, &options, setup::Deed::Teardown).await?,
        Command::Status(options) => Box::pin(status::run(face, &options)).await?,
        Command::Health(options) => health::run(face, &options).await?,
        Command::Completions(options) => generate::completions(face, &options),
        Command::Man(options) => generate::man(face, &options)?,
        Command::Pause(options) => operate::pause(face, &options).await?,
        Command::Resume(options) => operate::resume(face, &options).await?,
        Command::Skip(options) => operate::skip(face, &options).await?,
        Command::Resync(options) => resync::run(face, &options).await?,
        Command::Conflicts(command) => conflicts::run(face, &command).await?,
        Command::Schema(command) => schema::run(face, &command).await?,
        Command::Config(command) => config::run(face, &command)?,
        Command::Demo(options) => return demonstrate(face, &options).await,
    }
    Ok(0)
}

/// The demo stops in order at the first signal, and at once at the second.
async fn demonstrate(face: &Face, options: &Demo) -> Result<u8> {
    let options = demo::Options {
        once: options.once,
        json: face.json,
        seconds: options.seconds,
    };
    let mut signals = run::Signals::install()?;
    let stop = CancellationToken::new();
    let mut work = Box::pin(demo::run(options, stop.clone()));
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        _ = signals.next() => {
            stop.cancel();
            let outcome = tokio::select! {
                outcome = &mut work => outcome,
                _ = signals.next() => return Ok(run::INTERRUPTED),
            };
            // Until the figures are there, leaving is a failure; after them it is how the demo ends.
            if let Err(error) = &outcome {
                face.say(&error.to_string());
                return Ok(run::INTERRUPTED);
            }
            outcome
        }
    };
    if outcome? {
        return Ok(0);
    }
    Err(Error::definite("make both sides equal")
        .why("they still differ")
        .hint("run the demo with -v to see what the links say"))
}

/// clap's own message; `--help` and `--version` come this way too.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a terminal that went away.
    let _ = error.print();
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if code != 0 && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        last_line(code, first.strip_prefix("error: ").unwrap_or(first), None);
    }
    ExitCode::from(code)
}

fn report(face: &Face, error: &Error) -> ExitCode {
    let paint = Paint { on: face.color_err };
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{} {error}", paint.with(Ink::Bad, "error:"));
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(err, "{} {hint}", paint.with(Ink::Strong, "hint:"));
    }
    drop(err);
    if face.json {
        last_line(error.exit_code(), &error.to_string(), error.hint_text());
    }
    ExitCode::from(error.exit_code())
}

fn last_line(code: u8, message: &str, hint: Option<&str>) {
    let line = serde_json::json!({ "code": code, "message": message, "hint": hint });
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// For tests and generated pages.
pub fn command() -> clap::Command {
    Cli::command()
}
