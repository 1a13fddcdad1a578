//! Where the versions of rows come from: `version` of a sync and of its tables.
//!
//! Owns: what can be judged without a database. Refuses: a list of statuses that cannot be ranked, columns that are not
//! the user's or stay behind. Whether the column is there and holds moments or statuses, `check` asks the databases.

use super::build::Builder;
use super::file::{StatusFile, TableFile, VersionFile};
use super::problem::Problem;
use super::tables::Around;
use crate::mapping::ColumnMapping;
use crate::model::sync::{Mode, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::version::VersionSource;
use crate::version::STATUSES_MAX;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

const KNOWN: [&str; 3] = ["counter", "timestamp", "timestamp:COLUMN"];

/// Of tables that say no other.
pub(super) fn general(builder: &mut Builder<'_>, around: &Around<'_>) -> VersionSource {
    let key = around.key("version");
    match &around.file.version {
        Some(given) => source(builder, around, &key, given),
        None => {
            if around.mode == Some(Mode::Merge) {
                builder.show(&key, "counter", None);
            }
            VersionSource::Counter
        }
    }
}

/// Of one table with a section. `columns`: what that says of them.
pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    (name, place): (&str, Range<usize>),
    file: &TableFile,
    columns: &[ColumnMapping],
    general: &VersionSource,
) -> VersionSource {
    let (version, place) = match &file.version {
        Some(given) => {
            let key = around.key(&format!("table.{name}.version"));
            (source(builder, around, &key, given), given.span())
        }
        None => (general.clone(), place),
    };
    let is_skipped = |column: &str| columns.iter().any(|known| known.skip && known.name == column);
    if let Some(column) = version.column().filter(|column| is_skipped(column)) {
        let problem = Problem::new(format!(
            "the version comes from column \"{column}\", which is skipped"
        ));
        let hint =
            "both sides must see what decides: take its skip out, or use another version for this table";
        builder.problem(problem.hint(hint).at(place));
    }
    version
}

/// Do the stamps of a table's rows stand in a table of their own?
pub(super) fn stamps(builder: &mut Builder<'_>, around: &Around<'_>, name: &str, file: &TableFile) -> bool {
    let Some(given) = &file.stamps else {
        return false;
    };
    builder.show(
        &around.key(&format!("table.{name}.stamps")),
        given.get_ref(),
        Some(given.span()),
    );
    let leave_out = "leave it out: setup adds two columns with defaults, which MySQL and MariaDB hide; a table that may \
                     not be altered cannot be merged here";
    let problem = match given.get_ref().as_str() {
        "columns" => return false,
        "beside" if around.mode.is_some_and(Mode::is_one_way) => {
            Problem::new("stamps belong to mode = \"merge\"")
                .hint("remove it: one way rows carry none")
        }
        "beside" if around.nodes.len() > 2 => {
            Problem::new("stamps = \"beside\" is offered between two nodes").hint(leave_out)
        }
        "beside" if around.file.seed.as_ref().is_some_and(|seed| seed.get_ref() == "union") => {
            Problem::new("stamps = \"beside\" while two sides become one set")
                .hint("rows that stood there before must carry whose they are: seed = \"from:NODE\" or \"none\"; else leave it out")
        }
        "beside" => return true,
        other => Problem::new(format!("unknown stamps \"{other}\""))
            .hint("\"columns\": in two columns of the table itself; \"beside\": in a table of their own")
            .nearest(other, ["columns", "beside"]),
    };
    builder.problem(problem.at(given.span()));
    false
}

fn source(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    key: &str,
    given: &Spanned<VersionFile>,
) -> VersionSource {
    let source = match given.get_ref() {
        VersionFile::Word(word) => by_word(builder, word, given.span()),
        VersionFile::Status(file) => by_status(builder, file),
    };
    let shown = match &source {
        VersionSource::Status { column, order } => format!("status {column}: {}", order.join(" < ")),
        other => other.signature(),
    };
    builder.show(key, shown, Some(given.span()));
    if around.mode.is_some_and(Mode::is_one_way) {
        let problem = Problem::new("version belongs to mode = \"merge\"");
        let hint = "remove it: one way rows carry no version";
        builder.problem(problem.hint(hint).at(given.span()));
    }
    if let Some(column) = source.column()
        && [VERSION_COLUMN, ORIGIN_COLUMN, ""].contains(&column)
    {
        let problem = Problem::new(format!("\"{column}\" is no column of yours"));
        let hint = "name a column that the application or a default fills";
        builder.problem(problem.hint(hint).at(given.span()));
    }
    source
}

fn by_word(builder: &mut Builder<'_>, word: &str, place: Range<usize>) -> VersionSource {
    match (word, word.strip_prefix("timestamp:")) {
        ("counter", _) => VersionSource::Counter,
        ("timestamp", _) => VersionSource::Clock,
        (_, Some(column)) => VersionSource::Column(column.to_owned()),
        (_, None) => {
            let hint = "\"counter\", \"timestamp\", \"timestamp:COLUMN\", or { status = \"COLUMN\", order = [\"new\", \"paid\"] }";
            let kind = word.split(':').next().unwrap_or_default();
            let problem = Problem::new(format!("unknown version \"{word}\"")).hint(hint);
            builder.problem(problem.nearest(kind, KNOWN).at(place));
            VersionSource::Counter
        }
    }
}

fn by_status(builder: &mut Builder<'_>, file: &StatusFile) -> VersionSource {
    let given = file.order.get_ref();
    if given.is_empty() || given.len() > STATUSES_MAX {
        let problem = Problem::new(format!("order has {} statuses", given.len()));
        let hint = format!("1 to {STATUSES_MAX}, the least first: order = [\"new\", \"paid\", \"shipped\"]");
        builder.problem(problem.hint(hint).at(file.order.span()));
    }
    let mut seen = BTreeSet::new();
    for status in given {
        if !seen.insert(status.get_ref()) {
            let problem = Problem::new(format!("the status \"{}\" is listed twice", status.get_ref()));
            let hint = "a status has one place in the order";
            builder.problem(problem.hint(hint).at(status.span()));
        }
    }
    VersionSource::Status {
        column: file.status.get_ref().clone(),
        order: given.iter().map(|status| status.get_ref().clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Config, Environment, parse};
    use super::*;
    use crate::install::config_hash;
    use std::path::Path;

    const TEXT: &str = r#"version = 1
[node.pg]
url = "postgres://a@127.0.0.1/shop"
[node.my]
url = "mysql://a@127.0.0.1/shop"
[[sync]]
name = "shop"
nodes = ["pg", "my"]
mode = "merge"
tables = ["customers", "orders"]
seed = "from:pg"
"#;

    fn read(more: &str) -> Result<Config, String> {
        let text = format!("{TEXT}{more}\n");
        parse(&text, Path::new("t.toml"), &Environment::default()).map_err(|failure| failure.rendered())
    }

    fn sources(more: &str) -> Vec<VersionSource> {
        read(more).unwrap().syncs[0].spec.versions.clone()
    }

    #[test]
    fn a_table_has_its_own_source_or_the_syncs() {
        assert_eq!(sources(""), [VersionSource::Counter, VersionSource::Counter]);
        let more = "version = \"timestamp\"\n[sync.table.orders]\n\
                    version = { status = \"state\", order = [\"new\", \"paid\"] }\ncolumn.state = { my = \"status\" }";
        let status = |column: &str| VersionSource::Status {
            column: column.to_owned(),
            order: vec!["new".to_owned(), "paid".to_owned()],
        };
        assert_eq!(sources(more), [VersionSource::Clock, status("state")]);
        let config = read(more).unwrap();
        let of = |node: usize| config.syncs[0].spec.scope(node).mapped[1].version.clone();
        assert_eq!((of(0), of(1)), (status("state"), status("status")));
        assert_eq!(
            sources("[sync.table.customers]\nversion = \"timestamp:updated_at\"")[0],
            VersionSource::Column("updated_at".to_owned())
        );
    }

    #[test]
    fn the_hash_follows_the_source_and_its_order() {
        let hash = |more: &str| read(more).unwrap().syncs[0].spec.config_hash.clone();
        let base = hash("");
        assert!(config_hash::is_same(&base, &hash("version = \"counter\"")));
        let with = |order: &str| hash(&format!("version = {{ status = \"state\", order = [{order}] }}"));
        let changed = config_hash::changed(&with("\"a\", \"b\""), &with("\"b\", \"a\""));
        assert_eq!(changed, "version");
        assert_eq!(
            config_hash::changed(&base, &hash("version = \"timestamp\"")),
            "version"
        );
        let table = hash("[sync.table.orders]\nversion = \"timestamp\"");
        assert!(
            config_hash::changed(&base, &table).starts_with("version"),
            "{table}"
        );
    }

    #[test]
    fn what_is_no_source_is_refused_where_it_stands() {
        for (more, words) in [
            ("version = \"timestmap\"", "did you mean \"timestamp\""),
            ("version = \"timestamp:\"", "no column of yours"),
            ("version = \"timestamp:tidelock_version\"", "no column of yours"),
            ("version = 5", "found integer"),
            ("version = { status = \"state\" }", "the key \"order\" is missing"),
            ("version = { status = \"state\", order = [] }", "0 statuses"),
            (
                "version = { status = \"state\", order = [\"a\", \"b\", \"a\"] }",
                "\"a\" is listed twice",
            ),
            (
                "version = { state = \"state\", order = [\"a\"] }",
                "unknown key \"state\"",
            ),
            (
                "[sync.table.orders]\nstamps = \"colums\"",
                "did you mean \"columns\"",
            ),
            (
                "version = \"timestamp:at\"\n[sync.table.orders]\nskip = [\"at\"]",
                "\"at\", which is skipped",
            ),
        ] {
            let text = read(more).map(|_| ()).unwrap_err();
            assert!(text.contains(words), "{more}: {text}");
        }
        let many: Vec<String> = (0..256).map(|n| format!("\"{n}\"")).collect();
        let more = format!(
            "version = {{ status = \"state\", order = [{}] }}",
            many.join(", ")
        );
        assert!(read(&more).map(|_| ()).unwrap_err().contains("256 statuses"));
        let one_way =
            TEXT.replace("\"merge\"", "\"transactional\"\nfrom = \"pg\"") + "version = \"timestamp\"\n";
        let refused = parse(&one_way, Path::new("t.toml"), &Environment::default());
        assert!(
            refused
                .map(|_| ())
                .unwrap_err()
                .rendered()
                .contains("belongs to mode = \"merge\"")
        );
    }
}
