//! The command line as a user meets it, without any database: exit codes, streams, messages.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output};

const CONFIG: &str = r#"version = 1
[node.pg]
url = "postgres://tidelock@127.0.0.1:1/shop"
[node.my]
url = "mysql://tidelock:geheim@127.0.0.1:1/shop"
[[sync]]
name = "shop"
nodes = ["pg", "my"]
mode = "merge"
tables = ["customers"]
seed = "from:pg"
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tidelock.toml"), text).unwrap();
        Folder(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("tidelock.toml")
    }

    /// Runs in the folder, with nothing of this process's environment that could matter.
    fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command.args(arguments).current_dir(self.0.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDELOCK_")) {
            command.env_remove(name);
        }
        command
            .env("XDG_CONFIG_HOME", self.0.path().join("nothing"))
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied());
        Answer::of(command.output().unwrap())
    }
}

#[derive(Debug)]
struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        Answer {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }

    fn last_error_line(&self) -> serde_json::Value {
        serde_json::from_str(self.err.lines().last().unwrap()).unwrap()
    }
}

#[test]
fn a_good_file_passes_and_says_what_it_means() {
    let answer = Folder::with(CONFIG).run(&["config", "check"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        answer.out.contains("2 nodes, 1 sync (shop pg->my, shop my->pg)"),
        "{}",
        answer.out
    );
    assert!(
        answer.out.contains("W001") && !answer.out.contains("geheim"),
        "{}",
        answer.out
    );
    assert!(answer.err.contains("next: tidelock check"), "{}", answer.err);
    assert!(!answer.out.contains('\u{1b}'));
}

#[test]
fn a_wrong_file_is_78_with_line_caret_and_hint() {
    let folder = Folder::with(&CONFIG.replace("seed =", "sead ="));
    let answer = folder.run(&["config", "check"]);
    assert_eq!((answer.code, answer.out.as_str()), (78, ""));
    assert!(
        answer.err.contains("tidelock.toml:11:1: unknown key \"sead\""),
        "{}",
        answer.err
    );
    assert!(
        answer
            .err
            .contains("11 | sead = \"from:pg\"\n   | ^^^^\n  hint: did you mean \"seed\"?"),
        "{}",
        answer.err
    );
    // Every command that reads the file answers alike.
    assert_eq!(folder.run(&["status"]).code, 78);
    assert_eq!(folder.run(&["plan", "--exit-code"]).code, 78);
    assert_eq!(folder.run(&["run"]).code, 78);
}

#[test]
fn json_is_one_document_and_the_last_error_line_repeats_the_message() {
    let good = Folder::with(CONFIG).run(&["config", "check", "--json"]);
    assert_eq!(
        (good.json()["schema"].as_i64(), good.json()["ok"].as_bool()),
        (Some(1), Some(true))
    );
    assert_eq!(good.json()["next_steps"][0], "tidelock check");
    let bad = Folder::with("version = 1\nnods = 2\n").run(&["--json", "config", "check"]);
    assert_eq!(bad.code, 78);
    assert_eq!(bad.json()["problems"][0]["line"], 2);
    assert_eq!(bad.last_error_line()["code"], 78);
    assert!(
        bad.last_error_line()["message"]
            .as_str()
            .unwrap()
            .contains("unknown key")
    );
}

#[test]
fn show_has_origins_and_no_secret() {
    let folder = Folder::with(CONFIG);
    let url = "postgres://other:geheim@localhost/shop";
    let answer = folder.run_with(&["config", "show"], &[("TIDELOCK_NODE_PG_URL", url)]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(
        answer.out.contains("postgres://other:***@localhost/shop"),
        "{}",
        answer.out
    );
    assert!(
        answer.out.contains("environment TIDELOCK_NODE_PG_URL"),
        "{}",
        answer.out
    );
    assert!(answer.out.contains("tidelock.toml:5"), "{}", answer.out);
    assert!(!answer.out.contains("geheim"), "{}", answer.out);
    let json = folder.run(&["config", "show", "--json"]).json();
    let values = json["values"].as_array().unwrap();
    assert!(
        values
            .iter()
            .any(|shown| shown["key"] == "log.level" && shown["origin"] == "default")
    );
}

#[test]
fn the_file_is_found_by_flag_by_variable_and_beside_us() {
    let folder = Folder::with(CONFIG);
    let elsewhere = Folder::with("version = 1\n");
    let path = folder.file();
    let path = path.to_str().unwrap();
    assert_eq!(elsewhere.run(&["config", "check"]).code, 78);
    assert_eq!(elsewhere.run(&["config", "check", "-c", path]).code, 0);
    assert_eq!(
        elsewhere
            .run_with(&["config", "check"], &[("TIDELOCK_CONFIG", path)])
            .code,
        0
    );
    let nowhere = Folder::with("");
    std::fs::remove_file(nowhere.file()).unwrap();
    let answer = nowhere.run(&["check"]);
    assert_eq!(answer.code, 78);
    assert!(
        answer.err.contains("hint: name it with --config FILE"),
        "{}",
        answer.err
    );
}

#[test]
fn unknown_words_and_flags_stop_with_2() {
    let folder = Folder::with(CONFIG);
    for arguments in [
        &["chek"][..],
        &["setup", "--excute"],
        &["setup", "--print-sql", "--execute"],
        &["run", "--password", "x"],
        &["status", "-q", "-v"],
        &[],
    ] {
        assert_eq!(folder.run(arguments).code, 2, "{arguments:?}");
    }
    assert!(folder.run(&["chek"]).err.contains("'check'"));
    let json = folder.run(&["--json", "chek"]);
    assert_eq!(json.last_error_line()["code"], 2);
}

#[test]
fn an_unknown_sync_or_conflict_says_what_is_known() {
    let folder = Folder::with(CONFIG);
    let answer = folder.run(&["status", "--sync", "shoop"]);
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("hint: it has shop"), "{}", answer.err);
    let answer = folder.run(&["conflicts", "show", "seven"]);
    assert!(
        answer.err.contains("neither a number nor an id"),
        "{}",
        answer.err
    );
}

#[test]
fn help_starts_with_examples_and_ends_with_exit_codes() {
    let folder = Folder::with(CONFIG);
    let help = folder.run(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.out.starts_with("Examples:"), "{}", help.out);
    assert!(help.out.contains("78 invalid configuration"));
    for command in [
        "check",
        "plan",
        "setup",
        "teardown",
        "run",
        "status",
        "conflicts",
        "config",
        "demo",
    ] {
        assert!(help.out.contains(&format!("  {command} ")), "{command}");
    }
    assert_eq!(folder.run(&["--version"]).code, 0);
}

/// Every command of the command line itself, however deep.
fn commands(command: &clap::Command, path: &str, all: &mut Vec<String>) {
    for inner in command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        let path = format!("{path}-{}", inner.get_name());
        commands(inner, &path, all);
        all.push(path);
    }
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    let folder = Folder::with(CONFIG);
    for (shell, mark) in [
        ("bash", "complete -F _tidelock"),
        ("zsh", "#compdef tidelock"),
        ("fish", "complete -c tidelock"),
        ("elvish", "edit:completion:arg-completer[tidelock]"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let answer = folder.run(&["completions", shell]);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{shell}");
        assert!(answer.out.contains(mark), "{shell}");
        for command in ["plan", "setup", "conflicts", "--exit-code"] {
            // PowerShell and elvish name options without their lines.
            assert!(
                answer.out.contains(command.trim_start_matches('-')),
                "{shell}: {command}"
            );
        }
    }
    let script = folder.0.path().join("completions.bash");
    std::fs::write(&script, folder.run(&["completions", "bash"]).out).unwrap();
    let read = Command::new("bash").arg("-n").arg(&script).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    // The script offers what there is.
    let ask = format!(
        ". {}; COMP_WORDS=(tidelock pl); COMP_CWORD=1; _tidelock tidelock pl tidelock; echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let offered = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&offered.stdout).trim(), "plan");
    assert_eq!(folder.run(&["completions", "tcsh"]).code, 2);
}

#[test]
fn there_is_a_man_page_for_every_command() {
    let folder = Folder::with(CONFIG);
    let pages = folder.0.path().join("man");
    let answer = folder.run(&["man", pages.to_str().unwrap()]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let mut all = vec!["tidelock".to_owned()];
    commands(&tidelock::cli::command(), "tidelock", &mut all);
    assert!(all.contains(&"tidelock-plan".to_owned()) && all.contains(&"tidelock-conflicts-list".to_owned()));
    for name in all {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        well_formed(&name, &page);
    }
    let main = folder.run(&["man"]);
    well_formed("tidelock", &main.out);
    assert!(main.out.contains("tidelock\\-plan(1)"), "{}", main.out);
}

/// Only macros of man(7), the title first, and no line that is a request by accident.
fn well_formed(name: &str, page: &str) {
    let known = [
        "ie", "el", "TH", "SH", "SS", "TP", "PP", "RS", "RE", "IP", "nf", "fi", "br", "B", "I", "ds",
    ];
    let mut titles = 0;
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let word = line[1..].split([' ', '\\']).next().unwrap();
        assert!(known.contains(&word), "{name}: {line:?}");
        titles += usize::from(word == "TH");
    }
    assert_eq!(titles, 1, "{name}");
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION"] {
        assert!(
            page.contains(&format!(".SH {section}\n")),
            "{name} has no {section}"
        );
    }
}

#[test]
fn colour_only_where_it_is_wanted() {
    let folder = Folder::with(CONFIG);
    assert!(
        folder
            .run(&["config", "check", "--color", "always"])
            .out
            .contains("\u{1b}[32m")
    );
    assert!(!folder.run(&["config", "check"]).out.contains('\u{1b}'));
}
