//! Pairs of tables and what is said of them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::mapping::{ColumnMapping, Mapping};
use crate::model::schema::ColumnType;
use crate::model::sync::Level;
use std::sync::Arc;

fn column(name: &str, ty: ColumnType, sql_type: &str) -> Column {
    Column {
        name: name.to_owned(),
        ty,
        sql_type: sql_type.to_owned(),
        collation: String::new(),
        nullable: false,
        generated: false,
        has_default: false,
    }
}

fn int(name: &str) -> Column {
    let ty = ColumnType::Int {
        bits: 32,
        unsigned: false,
    };
    column(name, ty, "int")
}

fn words(name: &str) -> Column {
    let ty = ColumnType::Text {
        chars: Some(20),
        bytes: None,
        fixed: false,
        utf8: true,
    };
    column(name, ty, "varchar(20)")
}

fn nullable(column: Column) -> Column {
    Column {
        nullable: true,
        ..column
    }
}

fn generated(column: Column) -> Column {
    Column {
        generated: true,
        ..column
    }
}

fn table(schema: &str, key: &[usize], columns: Vec<Column>) -> Option<CatalogTable> {
    Some(CatalogTable {
        table: Table {
            id: TableId::new(schema, "t"),
            columns,
            key: key.to_vec(),
            uniques: Vec::new(),
            external: None,
        },
        always: Vec::new(),
        foreign_triggers: Vec::new(),
        cascades: Vec::new(),
        storage: String::new(),
        counter: None,
        unique_names: Vec::new(),
    })
}

/// PostgreSQL `pg` against MySQL `my`; `(node, code, fix)` of every finding but the Ok lines.
fn found(
    source: Option<CatalogTable>,
    target: Option<CatalogTable>,
    two_way: bool,
) -> Vec<(String, &'static str, String)> {
    let told = told(source, target, two_way, &[]);
    told.into_iter()
        .map(|finding| (finding.node, finding.code, finding.fix.unwrap_or_default()))
        .collect()
}

fn told(
    source: Option<CatalogTable>,
    target: Option<CatalogTable>,
    two_way: bool,
    passages: &[Passage],
) -> Vec<Finding> {
    let (a, b) = ([TableId::new("public", "t")], [TableId::new("shop", "t")]);
    let (source, target) = ([source], [target]);
    let pg = Side {
        node: "pg",
        engine: Engine::Postgres,
        ids: &a,
        tables: &source,
    };
    let my = Side {
        node: "my",
        engine: Engine::Mysql,
        ids: &b,
        tables: &target,
    };
    compare(&pg, &my, two_way.then_some(Numbering::PAIR), passages)
        .into_iter()
        .filter(|finding| finding.level != Level::Ok)
        .collect()
}

fn codes(found: &[(String, &'static str, String)]) -> Vec<String> {
    found
        .iter()
        .map(|(node, code, _)| format!("{node} {code}"))
        .collect()
}

#[test]
fn equal_tables_give_one_ok_line() {
    let columns = || vec![int("id"), words("name"), int(VERSION_COLUMN)];
    assert!(
        found(
            table("public", &[0], columns()),
            table("shop", &[0], columns()),
            true
        )
        .is_empty()
    );
}

#[test]
fn a_missing_table_comes_with_its_ddl() {
    let found_one = found(table("public", &[0], vec![int("id")]), None, true);
    assert_eq!(codes(&found_one), ["my E302"]);
    assert!(
        found_one[0]
            .2
            .starts_with("CREATE TABLE `shop`.`t` (\n    `id` int NOT NULL,")
    );
    assert_eq!(codes(&found(None, None, true)), ["pg E302", "my E302"]);
}

#[test]
fn a_missing_column_blocks_only_where_rows_would_bring_it() {
    let wide = || vec![int("id"), nullable(words("name"))];
    let narrow = || vec![int("id")];
    let one = found(
        table("public", &[0], wide()),
        table("shop", &[0], narrow()),
        false,
    );
    assert_eq!(codes(&one), ["my E504"]);
    assert_eq!(one[0].2, "ALTER TABLE `shop`.`t` ADD COLUMN `name` varchar(20);");
    assert!(
        found(
            table("public", &[0], narrow()),
            table("shop", &[0], wide()),
            false
        )
        .is_empty()
    );
    let both = found(table("public", &[0], narrow()), table("shop", &[0], wide()), true);
    assert_eq!(codes(&both), ["pg E504"]);
}

#[test]
fn an_extra_column_needs_null_or_a_default() {
    let extra = found(
        table("public", &[0], vec![int("id")]),
        table("shop", &[0], vec![int("id"), int("n")]),
        false,
    );
    assert_eq!(codes(&extra), ["my E505"]);
    assert_eq!(extra[0].2, "ALTER TABLE `shop`.`t` MODIFY COLUMN `n` int NULL;");
}

#[test]
fn keys_are_there_and_the_same() {
    let columns = || vec![int("id"), int("n")];
    let without = found(
        table("public", &[], columns()),
        table("shop", &[0], columns()),
        true,
    );
    assert_eq!(codes(&without), ["pg E301"]);
    assert_eq!(
        without[0].2,
        "ALTER TABLE \"public\".\"t\" ADD PRIMARY KEY (\"id\");"
    );
    let neither = found(
        table("public", &[], columns()),
        table("shop", &[], columns()),
        true,
    );
    assert_eq!(codes(&neither), ["pg E301", "my E301"]);
    let other = found(
        table("public", &[0], columns()),
        table("shop", &[0, 1], columns()),
        true,
    );
    assert_eq!(codes(&other), ["my E506"]);
    // The order of the columns in the key does not matter: rows are found by names.
    assert!(
        found(
            table("public", &[1, 0], columns()),
            table("shop", &[0, 1], columns()),
            true
        )
        .is_empty()
    );
}

#[test]
fn a_type_that_cannot_hold_the_values_is_named_with_the_one_that_can() {
    let blob = ColumnType::Bytes {
        limit: None,
        fixed: false,
    };
    let refused = found(
        table("public", &[0], vec![int("id"), words("name")]),
        table("shop", &[0], vec![int("id"), column("name", blob, "longblob")]),
        false,
    );
    assert_eq!(codes(&refused), ["my E507"]);
    assert_eq!(
        refused[0].2,
        "ALTER TABLE `shop`.`t` MODIFY COLUMN `name` varchar(20) NOT NULL;"
    );
}

/// What would lose blocks with the line that consents; consent is taken where something is lost, one way, and not of a key.
#[test]
fn a_loss_needs_consent() {
    let sides = |from: Vec<Column>, to: Vec<Column>| (table("public", &[0], from), table("shop", &[0], to));
    let number = || {
        let ty = ColumnType::Decimal {
            precision: None,
            scale: 0,
            unsigned: false,
        };
        column("n", ty, "numeric")
    };
    let double = || column("n", ColumnType::Double, "double");
    let found = |(from, to): (Option<CatalogTable>, Option<CatalogTable>), two_way: bool, lossy: &str| {
        let losses = if lossy.is_empty() {
            vec![]
        } else {
            vec![vec![lossy.to_owned(); 2]]
        };
        let mapping = Mapping {
            losses,
            ..Mapping::default()
        };
        let passage = Passage::new(&Arc::new(mapping), 0, 1, "public.t");
        let told = told(from, to, two_way, &[passage]);
        let plain = |finding: Finding| (finding.node, finding.code, finding.fix.unwrap_or_default());
        told.into_iter().map(plain).collect::<Vec<_>>()
    };
    let pair = || sides(vec![int("id"), number()], vec![int("id"), double()]);
    let blocked = found(pair(), false, "");
    assert_eq!(codes(&blocked), ["my E509"]);
    assert!(
        blocked[0]
            .2
            .contains("[sync.table.\"public.t\"] column.n = { lossy = true }"),
        "{blocked:?}"
    );
    assert!(found(pair(), false, "n").is_empty());
    assert!(codes(&found(pair(), true, "n")).contains(&"my E509".to_owned()));
    let same = sides(vec![int("id"), int("n")], vec![int("id"), int("n")]);
    assert_eq!(codes(&found(same, false, "n")), ["my E509"]);
    let key = sides(
        vec![column(
            "id",
            ColumnType::Timestamp { fraction: 6 },
            "timestamp(6)",
        )],
        vec![column("id", ColumnType::Timestamp { fraction: 0 }, "datetime")],
    );
    assert_eq!(codes(&found(key, false, "id")), ["my E509"]);
    // Two values that become one would refuse the second row.
    let (from, mut to) = pair();
    if let Some(to) = &mut to {
        to.table.uniques.push(vec![1]);
    }
    assert!(codes(&found((from, to), false, "n")).contains(&"my E509".to_owned()));
}

#[test]
fn a_column_that_takes_no_null_is_a_warning() {
    let stricter = found(
        table("public", &[0], vec![int("id"), nullable(words("name"))]),
        table("shop", &[0], vec![int("id"), words("name")]),
        true,
    );
    assert_eq!(codes(&stricter), ["my W511"]);
}

#[test]
fn a_generated_column_is_carried_only_by_binlogs() {
    let (plain, made) = (
        || vec![int("id"), int("n")],
        || vec![int("id"), generated(int("n"))],
    );
    // PostgreSQL does not send it: the plain column there has no value.
    assert_eq!(
        codes(&found(
            table("public", &[0], made()),
            table("shop", &[0], plain()),
            false
        )),
        ["my E505"]
    );
    assert!(found(table("public", &[0], plain()), table("shop", &[0], made()), false).is_empty());
    let alone = found(
        table("public", &[0], made()),
        table("shop", &[0], vec![int("id")]),
        false,
    );
    assert_eq!(codes(&alone), ["my W515"]);
}

/// `here` on `pg` is `there` on `my`; `secret` stays behind.
fn renamed() -> Passage {
    let column = |names: [&str; 2], skip| ColumnMapping {
        name: names[0].to_owned(),
        names: names.map(str::to_owned).into(),
        skip,
    };
    let mapping = Mapping {
        columns: vec![
            column(["here", "there"], false),
            column(["secret", "secret"], true),
        ],
        ..Mapping::default()
    };
    Passage::new(&Arc::new(mapping), 0, 1, "t")
}

/// `*` is the key, `!` unique, `?` takes NULL; types have no blanks.
fn of(schema: &str, columns: &str) -> Option<CatalogTable> {
    if columns.is_empty() {
        return None;
    }
    let bit = |varying| ColumnType::Bit {
        len: Some(9),
        varying,
    };
    let opaque = |name: &str| ColumnType::Opaque {
        name: name.to_owned(),
    };
    let (mut made, mut key, mut uniques) = (Vec::new(), Vec::new(), Vec::new());
    for (place, column_text) in columns.split(", ").enumerate() {
        let (name, ty) = column_text.split_once(' ').unwrap();
        let bare = name.trim_start_matches(['*', '!', '?']);
        let column = match ty {
            "int" => int(bare),
            "varchar" => words(bare),
            "bit" => column(bare, bit(false), ""),
            "varbit" => column(bare, bit(true), ""),
            other => column(bare, opaque(other), other),
        };
        made.push(if name.starts_with('?') {
            nullable(column)
        } else {
            column
        });
        key.extend(name.starts_with('*').then_some(place));
        uniques.extend(name.starts_with('!').then_some(vec![place]));
    }
    let mut found = table(schema, &key, made);
    found.as_mut().unwrap().table.uniques = uniques;
    found
}

/// Columns on `pg`, on `my`, two-way; who is told what, and a part of the fix.
const RENAMED: [(&str, &str, bool, &str, &str, &str); 13] = [
    // Types that the other engine has none for.
    (
        "*id int, here int4range",
        "*id int, there int",
        false,
        "my",
        "E507",
        "MODIFY COLUMN `there` longtext",
    ),
    (
        "*id int, here varchar",
        "*id int, there geometry",
        true,
        "pg",
        "E507",
        THERE,
    ),
    (
        "*id int, here varbit",
        "*id int, there bit",
        false,
        "my",
        "W512",
        "(varchar(9) holds those of node pg)",
    ),
    // Statements for the target, and in a merge for the source.
    (
        "*id int, here varchar",
        "*id int, there int",
        false,
        "my",
        "E507",
        "MODIFY COLUMN `there` varchar(20)",
    ),
    (
        "*id int, here int",
        "*id int, there varchar",
        true,
        "pg",
        "E507",
        "COLUMN \"here\" TYPE varchar(20)",
    ),
    (
        "*id int, ?here int",
        "*id int, there int",
        false,
        "my",
        "W511",
        "MODIFY COLUMN `there` int NULL",
    ),
    (
        "*id int, here int",
        "*id int, ?there int",
        true,
        "pg",
        "W511",
        "COLUMN \"here\" DROP NOT NULL",
    ),
    (
        "*id int, here int",
        "*id int, !there int",
        false,
        "my",
        "W513",
        "\"public\".\"t\" ADD UNIQUE (\"here\")",
    ),
    (
        "*id int, !here int",
        "*id int, there int",
        true,
        "pg",
        "W513",
        "`shop`.`t` ADD UNIQUE (`there`)",
    ),
    (
        "here int",
        "*there int",
        false,
        "pg",
        "E301",
        "ADD PRIMARY KEY (\"here\")",
    ),
    (
        "*here int, id int",
        "there int, *id int",
        false,
        "my",
        "E506",
        "ADD PRIMARY KEY (`there`)",
    ),
    // The whole table, without what stays behind.
    (
        "*here int, secret int",
        "",
        false,
        "my",
        "E302",
        "(\n    `there` int NOT NULL,\n    PRIMARY KEY (`there`)\n)",
    ),
    (
        "",
        "*there int, secret int",
        true,
        "pg",
        "E302",
        "(\n    \"here\" integer NOT NULL,\n    PRIMARY KEY (\"here\")\n)",
    ),
];
const THERE: &str = "change column \"there\" on node my to a type that PostgreSQL also has";

#[test]
fn each_statement_names_columns_as_its_own_node_does() {
    for (source, target, two_way, node, code, part) in RENAMED {
        let told = told(of("public", source), of("shop", target), two_way, &[renamed()]);
        let found = told
            .iter()
            .find(|finding| finding.node == node && finding.code == code);
        let found = found.unwrap_or_else(|| panic!("{node} {code} {part}: {told:?}"));
        let fix = found.fix.as_deref().unwrap_or_default();
        assert!(fix.contains(part), "{node} {code}: {fix}");
    }
}

#[test]
fn an_identity_that_no_update_may_set_blocks_outside_of_the_key() {
    let columns = || vec![int("id"), int("n")];
    let always = |schema: &str, name: &str| {
        let mut made = table(schema, &[0], columns());
        made.as_mut().unwrap().always = vec![name.to_owned()];
        made
    };
    let plain = |schema: &str| table(schema, &[0], columns());
    // Of the source it is never set by us.
    assert!(found(always("public", "n"), plain("shop"), false).is_empty());
    assert!(found(always("public", "id"), plain("shop"), true).is_empty());
    let blocked = found(always("public", "n"), plain("shop"), true);
    assert_eq!(codes(&blocked), ["pg E335"]);
    assert_eq!(
        blocked[0].2,
        "ALTER TABLE \"public\".\"t\" ALTER COLUMN \"n\" SET GENERATED BY DEFAULT;"
    );
    // A column that rows do not bring is the server's own.
    let lone = Column {
        has_default: true,
        ..int("m")
    };
    let mut wide = table("public", &[0], vec![int("id"), lone]);
    wide.as_mut().unwrap().always = vec!["m".to_owned()];
    let narrow = table("shop", &[0], vec![int("id")]);
    assert_eq!(codes(&found(wide, narrow, true)), ["my E504"]);
}

#[test]
fn a_coarser_collation_of_a_key_is_a_warning() {
    let coarse = Column {
        collation: "utf8mb4_0900_ai_ci".to_owned(),
        ..words("code")
    };
    let warned = found(
        table("public", &[0], vec![words("code")]),
        table("shop", &[0], vec![coarse]),
        true,
    );
    assert_eq!(codes(&warned), ["my W514"]);
    assert_eq!(
        warned[0].2,
        "ALTER TABLE `shop`.`t` MODIFY COLUMN `code` varchar(20) COLLATE utf8mb4_0900_bin NOT NULL;"
    );
}

#[test]
fn a_unique_key_of_one_side_is_a_warning() {
    let mut stricter = table("shop", &[0], vec![int("id"), int("n")]);
    stricter.as_mut().unwrap().table.uniques = vec![vec![1], vec![0, 1], vec![]];
    let warned = found(table("public", &[0], vec![int("id"), int("n")]), stricter, true);
    assert_eq!(codes(&warned), ["my W513"]);
    assert_eq!(
        warned[0].2,
        "ALTER TABLE \"public\".\"t\" ADD UNIQUE (\"n\"); -- on node pg"
    );
}

/// Sides of which both count the key.
fn counting(step: i64, at: i64) -> Option<CatalogTable> {
    let mut found = table("public", &[0], vec![int("id")]).unwrap();
    found.counter = Some(Counter {
        column: "id".to_owned(),
        sequence: "public.t_id_seq".to_owned(),
        step,
        at: Some(at),
        bounds: (1, i64::MAX),
    });
    Some(found)
}

#[test]
fn keys_that_both_sides_count_are_told_two_ways() {
    let found_one = found(counting(1, 1), counting(1, 9), true);
    assert_eq!(codes(&found_one), ["pg W463"]);
    for words in [
        "ALTER SEQUENCE public.t_id_seq INCREMENT BY 2; SELECT setval('public.t_id_seq', (SELECT coalesce(max(\"id\"), 0) / 2 * 2 + 1 FROM",
        "SET PERSIST auto_increment_offset = 2",
    ] {
        assert!(found_one[0].2.contains(words), "{words}: {found_one:?}");
    }
    assert!(found(counting(1, 1), counting(1, 9), false).is_empty());
    assert!(found(counting(2, 1), counting(2, 8), true).is_empty());
    assert!(found(counting(1, 1), table("shop", &[0], vec![int("id")]), true).is_empty());
}

#[test]
fn names_that_differ_by_case_are_told_once_with_a_mend_that_runs() {
    let sides = || {
        (
            table("public", &[0], vec![int("ID"), int("Mixed")]),
            table("shop", &[0], vec![int("ID"), int("mixed")]),
        )
    };
    let (pg, my) = sides();
    let both = found(pg, my, true);
    assert_eq!(codes(&both), ["my E504"]);
    assert_eq!(
        both[0].2,
        "in the configuration: [sync.table.t] column.Mixed = { my = \"mixed\" }; or, where no application minds: \
         ALTER TABLE `shop`.`t` RENAME COLUMN `mixed` TO `Mixed`;"
    );
    let (pg, my) = sides();
    assert_eq!(codes(&found(pg, my, false)), ["my E504"]);
    let key = |schema: &str, name: &str| table(schema, &[0], vec![int(name)]);
    assert_eq!(
        codes(&found(key("public", "Id"), key("shop", "id"), true)),
        ["my E504"]
    );
}

#[test]
fn a_column_that_may_have_been_renamed_is_not_just_added() {
    let (pg, my) = (
        table("public", &[0], vec![int("id"), nullable(words("new"))]),
        table("shop", &[0], vec![int("id"), nullable(words("old"))]),
    );
    let renamed = found(pg, my, false);
    assert_eq!(codes(&renamed), ["my E504"]);
    let fix = &renamed[0].2;
    assert!(
        fix.starts_with("if it is column \"old\" renamed: ALTER TABLE `shop`.`t` RENAME COLUMN `old` TO `new`; if it is new: ALTER"),
        "{fix}"
    );
}
