//! The configuration as a user meets it: what is accepted, and the text of every refusal.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::access::{Secret, TlsMode};
use crate::install::config_hash;
use crate::model::rules::{ColumnRule, OnDelete, Rule, TableRules};
use crate::model::schema::TableId;

const NODES: &str = r#"version = 1
[node.pg]
url = "postgres://tidelock@db.example/shop?sslmode=verify-full"
password_file = "/run/secrets/pg"
[node.my]
url = "mysql://tidelock@127.0.0.1:3307/shop"
password_env = "MY_PASSWORD"
"#;

const SYNC: &str = r#"[[sync]]
name = "shop"
nodes = ["pg", "my"]
mode = "merge"
tables = ["customers", "sales.orders"]
seed = "from:pg"
"#;

pub(super) fn read(text: &str) -> Result<Config, Failure> {
    parse(
        text,
        Path::new("/etc/tidelock/tidelock.toml"),
        &Environment::default(),
    )
}

pub(super) fn good(text: &str) -> Config {
    read(text).map_err(|failure| failure.rendered()).unwrap()
}

pub(super) fn bad(text: &str) -> String {
    read(text).map(|_| ()).unwrap_err().rendered()
}

/// The usual file with a line added behind the sync's.
fn with(line: &str) -> String {
    format!("{NODES}{SYNC}{line}\n")
}

/// The usual file with one text replaced.
pub(super) fn but(from: &str, to: &str) -> String {
    let text = with("");
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[test]
fn a_two_way_sync_has_two_links_and_two_scopes() {
    let config = good(&with(
        "on_conflict = \"source-of-truth:my\"\n[sync.table.\"sales.orders\"]\non_conflict = \"newest\"",
    ));
    let sync = &config.syncs[0];
    let links: Vec<String> = sync.links().into_iter().map(|link| link.id).collect();
    assert_eq!(links, ["pg->my", "my->pg"]);
    let (pg, my) = (&sync.spec.nodes[0], &sync.spec.nodes[1]);
    assert_eq!((pg.rank, my.rank), (1, 2));
    assert_eq!(
        pg.tables,
        [
            TableId::new("public", "customers"),
            TableId::new("sales", "orders")
        ]
    );
    assert_eq!(
        my.tables,
        [TableId::new("shop", "customers"), TableId::new("sales", "orders")]
    );
    let rules: Vec<Rule> = sync.spec.rules.iter().map(|rules| rules.row).collect();
    assert_eq!(rules, [Rule::SourceOfTruth(2), Rule::Newest]);
    let scope = sync.spec.scope(1);
    assert!(scope.is_source && scope.is_target);
    assert_eq!(
        (scope.run_user.as_str(), scope.config_hash.len()),
        ("tidelock", 62)
    );
    assert_eq!(sync.peers(1), [(1, "pg".to_owned())]);
    assert_eq!(pg.access.tls, TlsMode::VerifyFull);
    assert_eq!(my.access.tls, TlsMode::Disable);
    assert!(matches!(&my.access.secret, Secret::Env(name) if name == "MY_PASSWORD"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_one_way_sync_has_one_link() {
    let text =
        but("mode = \"merge\"", "mode = \"transactional\"\nfrom = \"my\"").replace("from:pg", "from:my");
    let config = good(&text);
    let sync = &config.syncs[0];
    let links: Vec<String> = sync.links().into_iter().map(|link| link.id).collect();
    assert_eq!(links, ["my->pg"]);
    let scope = sync.spec.scope(1);
    assert!(scope.is_source && !scope.is_target);
    let scope = sync.spec.scope(0);
    assert!(!scope.is_source && scope.is_target);
}

#[test]
fn the_hash_follows_what_both_sides_must_agree_on_and_nothing_else() {
    let hash = |text: &str| good(text).syncs[0].spec.config_hash.clone();
    let base = hash(&with(""));
    assert_eq!(base, hash(&but("from:pg", "none")));
    assert_eq!(base, hash(&but("db.example", "other.example")));
    assert_eq!(base, hash(&but("/run/secrets/pg", "/x")));
    assert_ne!(base, hash(&but("\"customers\", ", "")));
    assert_ne!(base, hash(&with("on_conflict = \"source-of-truth:pg\"")));
    assert_ne!(base, hash(&but("[node.my]", "[node.my]\nrank = 7")));
    let told = |text: &str| config_hash::changed(&base, &hash(text));
    assert_eq!(told(&with("on_conflict = \"source-of-truth:pg\"")), "on_conflict");
    assert_eq!(told(&but("[node.my]", "[node.my]\nrank = 7")), "nodes");
}

#[test]
fn rules_are_given_per_sync_table_and_column() {
    let config = good(&with(
        "on_delete_conflict = \"update\"\narbiter = \"pg\"\n[sync.table.customers]\non_conflict = \"columns\"\n\
         on_delete_conflict = \"delete\"\ncolumn.stock = { on_conflict = \"delta\", my = \"units\" }\n\
         column.note = { on_conflict = \"row\" }",
    ));
    let spec = &config.syncs[0].spec;
    let plain = TableRules {
        on_delete: OnDelete::Update,
        arbiter: 1,
        ..TableRules::default()
    };
    assert_eq!((&spec.usual, &spec.rules[1]), (&plain, &plain));
    let merged = &spec.rules[0];
    assert_eq!((merged.row, merged.on_delete), (Rule::Columns, OnDelete::Delete));
    // In a link they have the target's names.
    let there = &spec.link(0).rules[&spec.nodes[1].tables[0]];
    assert_eq!(there.column("units"), ColumnRule::Delta);
    assert_eq!(
        (there.column("note"), there.column("other")),
        (ColumnRule::Row, ColumnRule::Columns)
    );
    assert_eq!(
        spec.link(1).rules[&spec.nodes[0].tables[0]].column("stock"),
        ColumnRule::Delta
    );
}

#[test]
fn every_wrong_rule_has_its_message() {
    let table = |lines: &str| with(&format!("[sync.table.customers]\n{lines}"));
    for (text, expected) in [
        (
            with("on_delete_conflict = \"deleet\""),
            "did you mean \"delete\"?",
        ),
        (with("arbiter = \"px\""), "\"px\" is not one of this sync's nodes"),
        (
            with("on_conflict = \"source-of-truth:pg\"\narbiter = \"my\""),
            "the arbiter is not the table's source of truth",
        ),
        (
            with("on_conflict = \"columns\"\narbiter = \"my\""),
            "the first copy fills the arbiter",
        ),
        (
            table("column.n = { on_conflict = \"dleta\" }"),
            "did you mean \"delta\"?",
        ),
        (
            table("column.n = { on_conflict = \"delta\", skip = true }"),
            "column \"n\" is skipped and has a rule",
        ),
        (
            table("where = \"a = 1\"\non_delete_conflict = \"update\""),
            "a table with where has no rule but \"newest\"",
        ),
        (
            but(
                "mode = \"merge\"",
                "mode = \"transactional\"\nfrom = \"pg\"\narbiter = \"pg\"",
            ),
            "arbiter belongs to mode",
        ),
        (
            but(
                "mode = \"merge\"",
                "mode = \"transactional\"\nfrom = \"pg\"\non_delete_conflict = \"rule\"",
            ),
            "on_delete_conflict belongs to mode",
        ),
    ] {
        let message = bad(&text);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn an_owner_account_is_apart() {
    let text = but(
        "[node.my]",
        "setup_url = \"postgres://owner@db.example/shop?sslmode=verify-full\"\nsetup_password_command = \"pass x\"\n[node.my]",
    );
    let config = good(&text);
    assert_eq!(config.nodes[0].access.user, "tidelock");
    assert_eq!(config.nodes[0].setup_access.user, "owner");
    assert!(matches!(config.nodes[0].setup_access.secret, Secret::Command(_)));
    assert_eq!(config.nodes[1].setup_access.user, "tidelock");
}

#[test]
fn the_environment_overrides_a_url_and_says_so() {
    let environment = Environment::from([("TIDELOCK_NODE_PG_URL", "postgres://other:geheim@localhost/shop")]);
    let text = but("password_file = \"/run/secrets/pg\"\n", "");
    let config = parse(&text, Path::new("t.toml"), &environment).unwrap();
    assert_eq!(config.nodes[0].access.user, "other");
    let shown = config
        .values
        .iter()
        .find(|shown| shown.key == "node.pg.url")
        .unwrap();
    assert_eq!(shown.value, "postgres://other:***@localhost/shop");
    assert_eq!(shown.origin, "environment TIDELOCK_NODE_PG_URL");
    assert!(config.warnings.iter().any(|warning| warning.code == "W001"));
    assert!(!format!("{config:?}").contains("geheim"));

    let wrong = Environment::from([("TIDELOCK_NODE_PQ_URL", "x")]);
    let failure = parse(&text, Path::new("t.toml"), &wrong).unwrap_err();
    assert!(
        failure
            .rendered()
            .contains("did you mean \"TIDELOCK_NODE_PG_URL\"?")
    );
}

#[test]
fn every_value_has_its_origin() {
    let config = good(&with("[limits]\ngroup_rows_max = 10"));
    let origin = |key: &str| {
        let shown = config.values.iter().find(|shown| shown.key == key);
        shown.map(|shown| shown.origin.as_str()).unwrap_or("not shown")
    };
    assert_eq!(origin("node.pg.url"), "/etc/tidelock/tidelock.toml:3");
    assert_eq!(origin("node.pg.schema"), "default");
    assert_eq!(origin("limits.group_rows_max"), "/etc/tidelock/tidelock.toml:15");
    assert_eq!(origin("limits.group_bytes_max"), "default");
    assert_eq!(config.syncs[0].spec.limits.group_rows_max, 10);
}

#[test]
fn an_unknown_key_has_line_caret_and_the_nearest_known_one() {
    assert_eq!(
        bad(&but("tables =", "tabels =")),
        "/etc/tidelock/tidelock.toml:12:1: unknown key \"tabels\"\n   |\n\
         12 | tabels = [\"customers\", \"sales.orders\"]\n   | ^^^^^^\n  hint: did you mean \"tables\"?\n"
    );
}

#[test]
fn a_broken_line_never_shows_its_password() {
    let shown = bad("version = 1\n[node.pg]\nurl = \"postgres://u:hunter2@h/d\" nonsense\n");
    assert!(
        shown.contains("postgres://u:***@h/d") && !shown.contains("hunter2"),
        "{shown}"
    );
    let shown = bad("version = 1\n[node.pg]\npassword = \"hunter2\"\n");
    assert!(
        shown.contains("use password_file, password_env") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = with("on_conflict = \"oldest\"\n[log]\nlevel = \"inof\"").replace("\"my\"]", "\"mi\"]");
    assert_eq!(
        bad(&text),
        "/etc/tidelock/tidelock.toml:10:16: node \"mi\" is not defined\n   |\n\
         10 | nodes = [\"pg\", \"mi\"]\n   |                ^^^^\n  hint: did you mean \"my\"?\n\n\
         /etc/tidelock/tidelock.toml:14:15: unknown rule \"oldest\"\n   |\n\
         14 | on_conflict = \"oldest\"\n   |               ^^^^^^^^\n  hint: \"newest\", \"source-of-truth:NODE\", \"columns\" or \"ask\"\n\n\
         /etc/tidelock/tidelock.toml:16:9: \"inof\" is no value of log.level\n   |\n\
         16 | level = \"inof\"\n   |         ^^^^^^\n  hint: did you mean \"info\"?\n"
    );
}

#[test]
fn every_wrong_node_has_its_message() {
    for (text, expected) in [
        (but("version = 1", "version = 2"), "version 2 is not known"),
        (but("version = 1\n", ""), "the key \"version\" is missing"),
        (
            but("version = 1", "version = \"1\""),
            "expected i64, found string",
        ),
        (but("[node.pg]", "[node.PG]"), "\"PG\" cannot name a node"),
        (
            with("[node.m-y]\nurl = \"mysql://u@h/x\"\n[node.m_y]\nurl = \"mysql://u@h/z\""),
            "are too alike",
        ),
        (with("[node.x]\nrank = 3"), "node \"x\" has no url"),
        (but("verify-full", "prefer"), "fall back to clear text"),
        (
            but("password_file", "password_env = \"X\"\npassword_file"),
            "more than one source of its password",
        ),
        (but("tidelock@db", "tidelock:x@db"), "the password is given twice"),
        (
            but("[node.my]", "[node.my]\nschema = \"x\""),
            "has no schema of its own",
        ),
        (but("[node.my]", "[node.my]\nrank = 0"), "rank 0 is out of bounds"),
        (but("[node.my]", "[node.my]\nrank = 1"), "both have rank 1"),
        (
            but("[node.my]", "[node.my]\nsetup_password_env = \"X\""),
            "a setup password without a setup_url",
        ),
        (
            but("[node.my]", "[node.my]\nsetup_url = \"mysql://o@127.0.0.1/crm\""),
            "leads to another database",
        ),
        (
            with("[limits]\ngroup_rows_max = 0"),
            "group_rows_max = 0 is out of bounds",
        ),
        (with("[limits]\ngroup_bytes_max = 1"), "from 65536 to 33554432"),
        (
            with("[limits]\nspill_dir = \"nowhere\""),
            "/etc/tidelock/nowhere is no folder",
        ),
        (with("[limits]\nspill_bytes_max = 1"), "from 16777216 to"),
        (
            with("[limits]\nstream = \"no\""),
            "expected a boolean, found string",
        ),
        (with("[log]\nformat = \"xml\""), "known are auto, text, json"),
        (with("[htpp]"), "unknown key \"htpp\""),
    ] {
        let message = bad(&text);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn every_wrong_sync_has_its_message() {
    let transactional = |rest: &str| but("mode = \"merge\"", &format!("mode = \"transactional\"\n{rest}"));
    for (text, expected) in [
        (NODES.to_owned(), "there is no [[sync]]"),
        (but("seed = \"from:pg\"\n", ""), "the key \"seed\" is missing"),
        (but("name = \"shop\"", "name = \"\""), "cannot name a sync"),
        (
            but("[\"pg\", \"my\"]", "[\"pg\"]"),
            "two nodes or more, here are 1",
        ),
        (
            but("[\"pg\", \"my\"]", "[\"pg\", \"pg\"]"),
            "node \"pg\" is named twice",
        ),
        (but("merge", "merg"), "did you mean \"merge\"?"),
        (with("from = \"pg\""), "merge runs both ways"),
        (transactional(""), "needs from"),
        (transactional("from = \"pq\""), "did you mean \"pg\"?"),
        (
            transactional("from = \"my\""),
            "seed copies from \"pg\", but the sync runs from \"my\"",
        ),
        (
            with("on_stop = \"never\""),
            "table (the others go on, it catches up later) or link",
        ),
        (
            transactional("from = \"pg\"\non_conflict = \"newest\""),
            "on_conflict belongs to mode",
        ),
        (but("from:pg", "unite"), "unknown seed \"unite\""),
        (
            transactional("from = \"pg\"").replace("from:pg", "union"),
            "seed = \"union\" belongs to mode = \"merge\"",
        ),
        (
            but("from:pg", "from:px"),
            "\"px\" is not one of this sync's nodes",
        ),
        (but("[\"customers\", \"sales.orders\"]", "[]"), "tables is empty"),
        (but("customers", "a.**"), "there is no **"),
        (but("customers", "a.b.c"), "is no table name"),
        (but("sales.orders", "customers"), "is listed twice"),
        (
            with("on_conflict = \"source-of-truth:px\""),
            "\"px\" is not one of this sync's nodes",
        ),
        (
            with("[sync.table.customer]\non_conflict = \"newest\""),
            "did you mean \"customers\"?",
        ),
        (
            with("[sync.table.sales.orders]\non_conflict = \"newest\""),
            "a table name with a dot needs quotes",
        ),
        (
            with(&SYNC.replace("[\"customers\"", "[\"x\"")),
            "two syncs are named \"shop\"",
        ),
        (
            with(&SYNC.replace("\"shop\"", "\"again\"")),
            "already reaches \"my\" by sync \"shop\"",
        ),
    ] {
        let message = bad(&text);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

const SECTION: &str = "[sync.table.\"sales.orders\"]\n";

pub(super) fn section(lines: &str) -> String {
    with(&format!("{SECTION}{lines}"))
}

#[test]
fn tables_are_named_per_node_and_columns_and_rows_are_mapped() {
    let text = but("\"sales.orders\"]", "\"sales.*\", \"!sales.tmp_*\"]")
        + SECTION
        + "names = { my = \"crm.bestellung\" }\nwhere = \"region = 'EU' AND NOT deleted\"\n\
           column.email = { my = \"mail\" }\ncolumn.ssn = { skip = true }\ncolumn.same = { pg = \"same\" }\n";
    let spec = &good(&text).syncs[0].spec;
    assert!(!spec.choice.is_fixed());
    assert_eq!(spec.nodes[0].tables, [TableId::new("public", "customers")]);
    let declared = &spec.choice.declared[0];
    let table = spec.choice.table(&declared.name);
    assert_eq!(
        table.ids,
        [TableId::new("sales", "orders"), TableId::new("crm", "bestellung")]
    );
    let mapping = &spec.sections[0].mapping;
    assert_eq!(
        mapping.columns.len(),
        2,
        "a column that is the same everywhere says nothing"
    );
    assert_eq!(mapping.name_on(1, "email"), "mail");
    assert_eq!(mapping.skipped(0), ["ssn"]);
    assert_eq!(mapping.read_columns(0), ["region", "deleted"]);
    let schemas = but(
        "seed =",
        "schemas = { pg = \"sales\", my = \"shop_sales\" }\nseed =",
    );
    assert_eq!(
        good(&schemas).syncs[0].spec.nodes[1].tables[1],
        TableId::new("shop_sales", "orders")
    );
    let quoted = but("\"sales.orders\"", "'\"odd.na*me\".\"x\"\"y\"'");
    assert_eq!(
        good(&quoted).syncs[0].spec.nodes[0].tables[1],
        TableId::new("odd.na*me", "x\"y")
    );
}

#[test]
fn every_wrong_mapping_has_its_message() {
    for (text, expected) in [
        (
            but("[\"customers\", \"sales.orders\"]", "[\"!a\"]"),
            "chooses nothing: it only takes out",
        ),
        (but("sales.orders", "tidelock.*"), "Tidelock's own tables"),
        (
            section("names = { px = \"a\" }"),
            "\"px\" is not one of this sync's nodes",
        ),
        (section("names = { my = \"a.b.c\" }"), "is no table name"),
        (
            section("names = { my = \"customers\" }"),
            "are both shop.customers on \"my\"",
        ),
        (
            section("column.a = { my = \"x\" }\ncolumn.b = { my = \"x\" }"),
            "are both \"x\" on \"my\"",
        ),
        (
            section("column.a = { my = \"x\" }\ncolumn.b = { my = \"x\", skip = true }"),
            "are both \"x\" on \"my\"",
        ),
        (section("skip = [\"tidelock_origin\"]"), "cannot be mapped"),
        (section("skip = [\"\"]"), "a name is not empty"),
        (section("column.a = { skip = \"yes\" }"), "skip is true or false"),
        (
            section("column.a = { lossy = \"yes\" }"),
            "lossy is true or false",
        ),
        (
            section("column.a = { lossy = true }"),
            "a column that may lose, in a merge",
        ),
        (
            section("column.a = { my = true }"),
            "a node is given the column's name",
        ),
        (section("column.a = { mi = \"x\" }"), "did you mean \"my\"?"),
        (
            section("column.tidelock_version = { skip = true }"),
            "cannot be mapped",
        ),
    ] {
        let message = bad(&text);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

/// `email` is `mail` on my, and the `mail` that pg has besides stays there.
#[test]
fn a_skip_means_the_same_in_both_forms() {
    let both = [
        "column.email = { my = \"mail\" }\ncolumn.mail = { skip = true }",
        "column.mail = { skip = true }\ncolumn.email = { my = \"mail\" }",
        "column.email = { my = \"mail\" }\nskip = [\"mail\"]",
    ];
    let mappings = both.map(|lines| good(&section(lines)).syncs[0].spec.sections[0].mapping.clone());
    for mapping in &mappings {
        assert_eq!(mapping.signature(), mappings[0].signature());
        assert_eq!(mapping.skipped(0), ["mail"]);
        assert_eq!(mapping.skipped(1), [""; 0], "on my it is written");
    }
}

#[test]
fn every_wrong_filter_has_its_message() {
    let one_way = |text: String| text.replace("mode = \"merge\"", "mode = \"transactional\"\nfrom = \"pg\"");
    for (text, expected) in [
        (section("where = true"), "one condition for both directions"),
        (section("where = \"\""), "the expression is empty"),
        (
            section("where = \"sqrt(a) = 'x'\""),
            "15 | where = \"sqrt(a) = 'x'\"\n   |          ^",
        ),
        (
            section("where = \"a = 1 AND ssn = 2\"\ncolumn.ssn = { skip = true }"),
            "column \"ssn\", which is skipped",
        ),
        (
            section("where = \"a = 1\"\non_conflict = \"source-of-truth:pg\""),
            "cannot have a source of truth",
        ),
        (
            section("where = \"a = 1\"\non_filter_exit = \"keep\""),
            "belongs to mode = \"transactional\"",
        ),
        (
            one_way(section("where = \"a = 1\"\non_filter_exit = \"leave\"")),
            "is \"delete\" or \"keep\"",
        ),
        (
            section("on_filter_exit = \"delete\""),
            "on_filter_exit without where",
        ),
        (
            but("seed =", "schemas = { pg = \"a\" }\nseed ="),
            "names every node of the sync",
        ),
        (
            but(
                "seed =",
                "schemas = [{ pg = \"a\", my = \"x\" }, { pg = \"b\", my = \"x\" }]\nseed =",
            ),
            "is in two groups",
        ),
        (
            but("seed =", "schemas = \"a\"\nseed ="),
            "or a list of such groups",
        ),
    ] {
        let message = bad(&text);
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let keep = good(&one_way(section("where = \"a = 1\"\non_filter_exit = \"keep\"")));
    assert!(
        keep.syncs[0].spec.sections[0]
            .mapping
            .filter
            .as_ref()
            .unwrap()
            .keep
    );
}

#[test]
fn the_hash_follows_the_mapping() {
    let hash = |text: &str| good(text).syncs[0].spec.config_hash.clone();
    let base = hash(&section(""));
    for lines in [
        "where = \"a = 1\"",
        "column.a = { skip = true }",
        "names = { my = \"x\" }",
        "column.a = { my = \"b\" }",
    ] {
        assert_ne!(base, hash(&section(lines)), "{lines}");
    }
    assert_eq!(
        hash(&section("where = \"a = 1\"")),
        hash(&section("where = \"(a =  1)\""))
    );
}

#[test]
fn one_database_is_not_two_nodes() {
    let text = but(
        "mysql://tidelock@127.0.0.1:3307/shop",
        "postgresql://other@db.example/shop?sslmode=require",
    );
    assert!(bad(&text).contains("nodes \"pg\" and \"my\" are one database"));
}

#[test]
fn rings_over_three_nodes_are_refused_and_cascades_are_not() {
    let one_way = |name: &str, from: &str, to: &str| {
        format!(
            "[[sync]]\nname = \"{name}\"\nnodes = [\"{from}\", \"{to}\"]\nmode = \"transactional\"\n\
             from = \"{from}\"\ntables = [\"x\"]\nseed = \"none\"\n"
        )
    };
    let third = "[node.c]\nurl = \"mysql://u@localhost/c\"\n";
    let cascade = format!(
        "{NODES}{third}{}{}",
        one_way("a", "pg", "my"),
        one_way("b", "my", "c")
    );
    assert_eq!(good(&cascade).syncs.len(), 2);
    let ring = format!("{cascade}{}", one_way("c", "c", "pg"));
    let message = bad(&ring);
    let expected = "table c.x of \"c\" already reaches \"pg\" by sync \"b\" and \"a\"";
    assert!(message.contains(expected), "{message}");
    // Patterns that share a table are as good as its name; those that share none are no ring.
    let patterns = |third: &str| {
        let all = cascade.replace("[\"x\"]", "[\"x*\", \"!x_tmp\"]");
        all + &one_way("c", "c", "pg").replace("[\"x\"]", third)
    };
    for third in ["[\"*\"]", "[\"*z\"]", "[\"x_y\"]"] {
        let message = bad(&patterns(third));
        assert!(
            message.contains("already reaches \"pg\" by sync"),
            "{third}: {message}"
        );
    }
    for third in ["[\"y*\"]", "[\"*\", \"!x*\"]", "[\"x_tmp\"]"] {
        assert_eq!(good(&patterns(third)).syncs.len(), 3, "{third}");
    }
    let merge = format!("{cascade}{}", "")
        .replace("mode = \"transactional\"\nfrom = \"pg\"", "mode = \"merge\"")
        .replace("mode = \"transactional\"\nfrom = \"my\"", "mode = \"merge\"");
    assert!(bad(&merge).contains("one merge sync per table for now"));
}

#[test]
fn a_second_name_of_a_database_hides_no_ring() {
    let one_way = |name: &str, from: &str, to: &str, tables: &str| {
        format!(
            "[[sync]]\nname = \"{name}\"\nnodes = [\"{from}\", \"{to}\"]\nmode = \"transactional\"\n\
             from = \"{from}\"\ntables = [{tables}]\nseed = \"none\"\n"
        )
    };
    let again = |url: &str| format!("{NODES}[node.again]\nurl = \"{url}\"\n");
    let one = "postgresql://other@db.example/shop?sslmode=require";
    for (url, back, is_ring) in [
        (one, "\"x\"", true),
        (one, "\"*\"", true),
        (one, "\"y\"", false),
        (
            "postgresql://other@db.example/other?sslmode=require",
            "\"x\"",
            false,
        ),
    ] {
        let text =
            again(url) + &one_way("there", "pg", "my", "\"x\"") + &one_way("back", "my", "again", back);
        if !is_ring {
            assert_eq!(good(&text).syncs.len(), 2, "{url} {back}");
            continue;
        }
        let message = bad(&text);
        for words in [
            "already reaches \"again\" by sync \"there\"",
            "\"again\" and \"pg\" are one database",
        ] {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
}

#[test]
fn the_file_is_looked_for_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("tidelock/tidelock.toml");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, with("")).unwrap();
    let home = folder.path().to_str().unwrap();
    let found = |pairs: &[(&str, &str)], flag: Option<&Path>| {
        let environment = Environment(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        );
        find(flag, &environment).map_err(|failure| failure.rendered())
    };
    assert_eq!(found(&[("XDG_CONFIG_HOME", home)], None).unwrap(), place);
    assert_eq!(
        found(&[("TIDELOCK_CONFIG", "/x")], None).unwrap(),
        Path::new("/x")
    );
    assert_eq!(
        found(&[("TIDELOCK_CONFIG", "/x")], Some(Path::new("/y"))).unwrap(),
        Path::new("/y")
    );
    let missing = load(Some(Path::new("/nowhere/t.toml")), &Environment::default()).unwrap_err();
    assert!(missing.rendered().contains("cannot be read"));
    let error = crate::error::Error::from(missing);
    assert_eq!(error.exit_code(), 78);
}

#[test]
fn secret_files_start_at_the_credentials_folder_or_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pg"), "x").unwrap();
    let text = but("/run/secrets/pg", "pg");
    let environment = Environment::from([("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())]);
    let path = Path::new("/etc/tidelock/tidelock.toml");
    let secret =
        |environment: &Environment| match &parse(&text, path, environment).unwrap().nodes[0].access.secret {
            Secret::File(file) => file.clone(),
            other => panic!("{other:?}"),
        };
    assert_eq!(secret(&environment), folder.path().join("pg"));
    assert_eq!(secret(&Environment::default()), Path::new("/etc/tidelock/pg"));
}

/// What a reader copies is what the program takes. A block marked `toml fragment` stands behind a sync of its table.
#[test]
fn every_example_is_accepted() {
    let sync = SYNC.replace("\"customers\"", "\"public.customers\"");
    let texts = [
        (include_str!("../../README.md"), 1),
        (include_str!("../../docs/accounts.md"), 0),
        (include_str!("../../docs/config.md"), 12),
        (include_str!("../../docs/ddl.md"), 0),
        (include_str!("../../docs/errors.md"), 0),
        (include_str!("../../docs/operations.md"), 0),
        (include_str!("../../docs/pairs.md"), 0),
    ];
    for (text, count) in texts {
        let blocks: Vec<&str> = text.split("```toml").skip(1).collect();
        assert_eq!(blocks.len(), count, "{}", text.lines().next().unwrap());
        for block in blocks {
            let block = block.split("```").next().unwrap();
            match block.strip_prefix(" fragment\n") {
                Some(fragment) => drop(good(&format!("{NODES}{sync}{fragment}"))),
                None => drop(good(block)),
            }
        }
    }
    good(include_str!("../../examples/compose/shop.toml"));
    good(include_str!("../../examples/compose/crm.toml"));
    for example in [
        include_str!("../../examples/contacts-by-region/tidelock.toml"),
        include_str!("../../examples/git-like/tidelock.toml"),
        include_str!("../../examples/hub-of-record/tidelock.toml"),
        include_str!("../../examples/lab-requests/tidelock.toml"),
        include_str!("../../examples/orders-and-support/tidelock.toml"),
        include_str!("../../examples/snapshot-report/tidelock.toml"),
        include_str!("../../examples/source-of-truth/tidelock.toml"),
        include_str!("../../examples/versions/tidelock.toml"),
    ] {
        good(example);
    }
}
