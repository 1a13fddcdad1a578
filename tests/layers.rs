//! The house rules that a reader cannot be trusted to keep: who may import whom, and how large things may grow.
//!
//! Layers import downwards only (docs/architecture.md). The sources are read as text: what counts are `crate::` paths.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Layer of a module path such as `postgres::wire`; inner paths go with their longest listed prefix.
const LAYERS: &[(&str, u8)] = &[
    ("error", 0),
    ("model", 0),
    ("batch", 1),
    ("chunk", 1),
    ("compare", 1),
    ("ddl", 1),
    ("expr", 1),
    ("install", 1),
    ("mapping", 1),
    ("merge", 1),
    ("plan", 1),
    ("schema", 1),
    ("typemap", 1),
    ("sidecar", 1),
    ("version", 1),
    ("postgres::codec", 1),
    ("postgres::fault", 1),
    ("postgres::sql", 1),
    ("postgres::wire", 1),
    ("mysql::codec", 1),
    ("mysql::fault", 1),
    ("mysql::sql", 1),
    ("mysql::wire", 1),
    ("access", 2),
    ("joined", 2),
    ("postgres", 2),
    ("spill", 2),
    ("mysql", 2),
    ("engine", 3),
    ("flow", 4),
    ("seed", 4),
    ("cli", 5),
    ("config", 5),
    ("demo", 5),
    ("http", 5),
    ("playground", 5),
    ("status", 5),
    ("main", 5),
    ("lib", 5),
];

struct Source {
    /// `postgres::wire` for `src/postgres/wire.rs` and `src/postgres/wire/mod.rs`.
    module: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inner = path.strip_prefix(&root).unwrap().with_extension("");
                let mut names: Vec<&str> = inner.iter().map(|part| part.to_str().unwrap()).collect();
                if names.last() == Some(&"mod") {
                    names.pop();
                }
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source {
                    module: names.join("::"),
                    path,
                    text,
                });
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn layer(module: &str) -> Option<u8> {
    let within = |prefix: &str| module == prefix || module.starts_with(&format!("{prefix}::"));
    LAYERS
        .iter()
        .filter(|(prefix, _)| within(prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, layer)| *layer)
}

/// `crate::a::b::C` and `crate::{a::b, c}` as module paths `a::b::C`, `a::b`, `c`; tests of a module are left out.
fn imports(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split("};").next().unwrap_or_default();
            found.extend(
                list.split(',')
                    .map(|path| path.trim().trim_matches(['{', '}']).to_owned()),
            );
        } else {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(rest.len());
            found.insert(rest[..end].trim_end_matches(':').to_owned());
        }
    }
    found
}

#[test]
fn layers_import_downwards_only() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module != "lib") {
        let Some(own) = layer(&source.module) else {
            wrong.push(format!(
                "{} has no layer: add it to LAYERS and to docs/architecture.md",
                source.module
            ));
            continue;
        };
        for import in imports(&source.text) {
            if let Some(theirs) = layer(&import).filter(|theirs| *theirs > own) {
                wrong.push(format!(
                    "{} (layer {own}) imports {import} (layer {theirs})",
                    source.path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_engine_file_names_both_engines() {
    let mut wrong = Vec::new();
    for source in sources() {
        let top = source.module.split("::").next().unwrap_or_default().to_owned();
        let engines: BTreeSet<&str> = imports(&source.text)
            .iter()
            .filter_map(|import| {
                ["postgres", "mysql"]
                    .into_iter()
                    .find(|engine| import.split("::").next() == Some(engine))
            })
            .collect();
        let allowed = match top.as_str() {
            "engine" => 2,
            "postgres" => usize::from(!engines.contains("mysql")),
            "mysql" => usize::from(!engines.contains("postgres")),
            _ => 0,
        };
        if engines.len() > allowed {
            wrong.push(format!("{} names {engines:?}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nouns_and_rules_do_no_io() {
    for source in sources()
        .iter()
        .filter(|source| layer(&source.module).is_some_and(|layer| layer <= 1))
    {
        let code: Vec<&str> = source
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for forbidden in ["tokio::", "async fn", "std::fs", "TcpStream"] {
            let found = code.iter().find(|line| line.contains(forbidden));
            assert!(
                found.is_none(),
                "{}: {}",
                source.path.display(),
                found.unwrap_or(&"")
            );
        }
    }
}

#[test]
fn every_code_of_check_is_documented() {
    let documented =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md")).unwrap();
    let mut missing = BTreeSet::new();
    for source in sources() {
        for code in source.text.split('"').filter(|text| text.len() == 4) {
            let number = code.strip_prefix(['E', 'W']).unwrap_or_default();
            if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) && !documented.contains(code)
            {
                missing.insert(code.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "docs/errors.md does not explain {missing:?}");
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            wrong.push(format!("{}: {} lines", source.path.display(), lines.len()));
        }
        if !lines.first().is_some_and(|line| line.starts_with("//!")) {
            wrong.push(format!(
                "{}: does not open with what it owns (//!)",
                source.path.display()
            ));
        }
        for (number, length) in functions(&lines) {
            if length > FUNCTION_LINES_MAX {
                wrong.push(format!(
                    "{}:{number}: function of {length} lines",
                    source.path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Line number and length of each function: from `fn` to the closing brace of the same indentation (rustfmt's layout).
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_start = |line: &str| {
        let code = line.trim_start();
        let code = code.strip_prefix("pub").map_or(code, |rest| {
            rest.trim_start_matches(|c: char| c != ' ').trim_start()
        });
        ["fn ", "async fn ", "const fn "]
            .iter()
            .any(|start| code.starts_with(start))
    };
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| is_start(line)) {
        let end = lines[number..].iter().position(|other| {
            indent(other) == indent(line)
                && (other.trim_end() == &" ".repeat(indent(line)) as &str
                    || other.trim() == "}"
                    || other.trim_end().ends_with(';'))
        });
        found.push((number + 1, end.unwrap_or(0) + 1));
    }
    found
}
