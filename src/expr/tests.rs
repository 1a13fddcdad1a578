//! The grammar by table, three-valued logic, exactness, and the places of mistakes.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::schema::{Column, ColumnType, Table, TableId};
use crate::model::value::{Row, Value};

fn table() -> Table {
    let column = |name: &str, ty: ColumnType| Column {
        name: name.to_owned(),
        ty,
        sql_type: String::new(),
        collation: String::new(),
        nullable: true,
        generated: name == "made",
        has_default: false,
    };
    let int = |bits| ColumnType::Int {
        bits,
        unsigned: false,
    };
    let text = |fixed| ColumnType::Text {
        chars: None,
        bytes: None,
        fixed,
        utf8: true,
    };
    Table {
        id: TableId::new("s", "t"),
        columns: vec![
            column("n", int(64)),
            column("flag", ColumnType::Bool),
            column("tiny", int(8)),
            column(
                "amount",
                ColumnType::Decimal {
                    precision: None,
                    scale: 0,
                    unsigned: false,
                },
            ),
            column("name", text(false)),
            column("code", text(true)),
            column("day", ColumnType::Date),
            column(
                "at",
                ColumnType::TimestampTz {
                    fraction: 6,
                    epoch: false,
                },
            ),
            column("id", ColumnType::Uuid),
            column("real", ColumnType::Double),
            column(
                "kind",
                ColumnType::Enum {
                    labels: vec!["b".to_owned(), "a".to_owned()],
                },
            ),
            column("made", int(32)),
        ],
        key: vec![0],
        uniques: vec![],
        external: None,
    }
}

fn row(cells: &[(&str, Value)]) -> Row {
    let table = table();
    let cell = |column: &Column| {
        let found = cells.iter().find(|(name, _)| *name == column.name);
        Some(found.map_or(Value::Null, |(_, value)| value.clone()))
    };
    table.columns.iter().map(cell).collect()
}

fn ask(text: &str, cells: &[(&str, Value)]) -> bool {
    let condition = Expr::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
    let filter =
        Filter::bind(&condition, &table(), |name| name).unwrap_or_else(|unfit| panic!("{text}: {unfit:?}"));
    filter.matches(&row(cells)).unwrap()
}

const YES: &[&str] = &[
    "n = 7",
    "7 = n",
    "n <> 8",
    "n >= 7 AND n <= 7.0",
    "n < 7.5",
    "NOT n > 7",
    "n IN (1, 7)",
    "n NOT IN (1, 2)",
    "n BETWEEN 7 AND 9",
    "n NOT BETWEEN 8 AND 9",
    "NOT flag",
    "flag = FALSE",
    "tiny",
    "tiny = TRUE",
    "tiny = 1",
    "amount = 12.5",
    "amount = 12.500",
    "amount > 12.4999999999999999999999999999999999999999999",
    "amount < 100",
    "amount > -100",
    "name = 'Ab%c'",
    "name LIKE 'A%'",
    "name LIKE '_b!%c' ESCAPE '!'",
    "name NOT LIKE 'a%'",
    "name > 'AZ'",
    "code = 'EU'",
    "code LIKE 'EU'",
    "day = '2026-02-28'",
    "day < '12026-01-01'",
    "day > '0044-03-15 BC'",
    "day <> 'infinity'",
    "at > '2026-02-28 12:00:00'",
    "at < '2026-02-28T12:00:00.500001'",
    "at >= '2026-02-28'",
    "id = 'abababab-abab-abab-abab-ABABABABABAB'",
    "kind = 'a'",
    "kind IN ('a', 'b')",
    "real IS NULL",
    "n IS NOT NULL",
    "(n = 1 OR n = 7) AND NOT flag",
    "n = 7 OR real IS NOT NULL",
    "n < amount",
    "\"n\" = 7",
    "`n` = 7",
    "n = +7",
    "TRUE",
    "NOT (n = 1)",
    "n = 7 -- and so on",
    "n + 1 = 8",
    "n * n - 7 * 2 = 35",
    "- n = -7",
    "-n < 0",
    "amount * 2 = 25",
    "amount + 0.0000000000000000000000000001 > 12.5",
    "n - amount = -5.5",
    "9223372036854775807 + n = 9223372036854775814",
    "99999999999999999999999999999999999999 * 99999999999999999999999999999999999999 + n > 0",
    "LOWER(name) = 'ab%c'",
    "upper(name) LIKE 'AB!%C' ESCAPE '!'",
    "name || '-' || code = 'Ab%c-EU'",
    "TRIM(name || '  ') = 'Ab%c'",
    "TRIM(LEADING ' ' FROM '  ' || name || ' ') = 'Ab%c '",
    "SUBSTRING(name FROM 2 FOR 2) = 'b%'",
    "SUBSTRING(name, 3) = '%c'",
    "SUBSTRING(name FROM 9) = ''",
    "SPLIT_PART(name, '%', 2) = 'c' AND SPLIT_PART(name, 'b%', 1) = 'A'",
    "SPLIT_PART(name, '%', 3) = '' AND SPLIT_PART(name, 'x', 1) = name",
    "EXTRACT(YEAR FROM day) = 2026 AND EXTRACT(MONTH FROM day) = 2",
    "EXTRACT(HOUR FROM at) * 60 + EXTRACT(MINUTE FROM at) = 720",
    "COALESCE(real IS NULL, FALSE)",
    "COALESCE(NULL, name, 'x') = 'Ab%c'",
    "CASE WHEN n > 100 THEN 'many' WHEN n > 5 THEN 'some' ELSE 'few' END = 'some'",
    "CASE name WHEN 'no' THEN 1 WHEN 'Ab%c' THEN n ELSE NULL END = 7",
    "CASE WHEN flag THEN 1 END IS NULL",
    "LOWER(name) IN ('ab%c', 'x')",
    "COALESCE(tiny, 0)",
    "CASE WHEN n = 7 THEN TRUE ELSE FALSE END",
    "NULLIF(n, 7) IS NULL",
    "NULLIF(name, '') = name",
    "ABS(n - 10) = 3",
    "CAST(n AS TEXT) = '7'",
    "'#' || CAST(n * -1 AS VARCHAR) = '#-7'",
    "EXTRACT(QUARTER FROM day) = 1",
    "name LIKE '%b%%c%'",
    "name LIKE 'Ab!%_' ESCAPE '!'",
];
const NO: &[&str] = &[
    "n = 8",
    "n > 7",
    "n NOT IN (7)",
    "flag",
    "name = 'ab%c'",
    "name LIKE '_b'",
    "name LIKE ''",
    "amount = 12",
    "at < '2026-02-28'",
    "NOT n = 7",
    "n = 7 AND flag",
    "FALSE",
    "NULL",
    "code LIKE 'EU '",
    "n + NULL = 8",
    "name || NULL IS NOT NULL",
    "CASE WHEN NULL THEN 1 ELSE 0 END = 1",
    "CASE WHEN n = 1 THEN TRUE END",
    "name LIKE '_'",
    "name LIKE '%d'",
];

#[test]
fn conditions_that_are_true_and_those_that_are_not() {
    let cells = [
        ("n", Value::Int(7)),
        ("flag", Value::Bool(false)),
        ("tiny", Value::Int(1)),
        ("amount", Value::Decimal("12.50".into())),
        ("name", Value::Text("Ab%c".into())),
        ("code", Value::Text("EU  ".into())),
        ("day", Value::Date("2026-02-28".into())),
        ("at", Value::TimestampTz("2026-02-28 12:00:00.5".into())),
        ("id", Value::Uuid([0xab; 16])),
        ("kind", Value::Text("a".into())),
    ];
    for text in YES {
        assert!(ask(text, &cells), "{text} should be true");
    }
    for text in NO {
        assert!(!ask(text, &cells), "{text} should not be true");
    }
}

#[test]
fn unknown_is_not_true_and_neither_is_its_negation() {
    for text in [
        "n = 1",
        "NOT n = 1",
        "n <> 1",
        "n IN (1)",
        "n NOT IN (1)",
        "name LIKE '%'",
        "flag",
        "NOT flag",
        "n < amount",
    ] {
        assert!(!ask(text, &[]), "{text} of NULL");
    }
    assert!(!ask("n NOT IN (1, NULL)", &[("n", Value::Int(2))]));
    assert!(ask("n IN (2, NULL)", &[("n", Value::Int(2))]));
    assert!(ask("n = 1 OR flag IS NULL", &[]));
    assert!(ask("NOT (n = 1 AND tiny = 2)", &[("tiny", Value::Int(3))]));
    assert!(!ask("NOT (n = 1 AND tiny = 2)", &[("tiny", Value::Int(2))]));
}

#[test]
fn decimals_and_calendars_are_exact_at_their_ends() {
    let amount = |text: &str| [("amount", Value::Decimal(text.to_owned().into()))];
    let long = "9".repeat(70);
    assert!(ask(&format!("amount = {long}"), &amount(&long)));
    assert!(!ask(
        &format!("amount = {long}"),
        &amount(&format!("{long}.{}1", "0".repeat(50)))
    ));
    assert!(ask("amount = 0", &amount("-0.00")));
    assert!(ask("amount > 1000", &amount("NaN")));
    assert!(ask("amount < -1000", &amount("-Infinity")));
    let day = |text: &str| [("day", Value::Date(text.to_owned().into()))];
    assert!(ask("day < '0001-01-01'", &day("0001-12-31 BC")));
    assert!(ask("day > '9999-12-31'", &day("10000-01-01")));
    assert!(ask("day > '9999-12-31'", &day("infinity")));
    assert!(ask("day < '0001-01-01'", &day("0000-00-00")));
}

#[test]
fn everything_else_of_sql_is_refused_with_its_place() {
    let cases = [
        ("n / 2 = 1", "n / 2"),
        ("n % 2 = 1", "n % 2"),
        ("CONCAT(name, 'a') = 'b'", "CONCAT"),
        ("now() < at", "now"),
        ("count(n) = 1", "count"),
        ("SUBSTRING(name FROM 0) = 'a'", "0"),
        ("SUBSTRING(name FROM n) = 'a'", "n)"),
        ("TRIM('x' FROM name) = 'a'", "'x'"),
        ("EXTRACT(SECOND FROM at) = 1", "at)"),
        ("EXTRACT(DOW FROM at) = 1", "at)"),
        ("LOWER(name, code) = 'a'", "LOWER"),
        ("n = 1 AND name ILIKE 'a'", "name ILIKE 'a'"),
        ("n = (SELECT 1)", "SELECT 1"),
        ("t.n = 1", "t.n"),
        ("n = 1e3", "1e3"),
        ("1 = 1", "1 = 1"),
        ("5 BETWEEN 1 AND 10", "5 BETWEEN 1 AND 10"),
        ("5 BETWEEN n AND 10", "5 BETWEEN n AND 10"),
        ("n BETWEEN NULL AND 3", "n BETWEEN NULL AND 3"),
        ("n = NULL", "n = NULL"),
        ("name LIKE 'a\\%'", "'a\\%'"),
        ("name LIKE 'a!' ESCAPE '!'", "'a!'"),
        ("n = 1 n = 2", "n = 2"),
        ("n IN (name)", "name"),
        ("name = X'00'", "X'00'"),
        ("CAST(n AS int) = 1", "n AS"),
        ("NULLIF(n) = 1", "NULLIF"),
        ("SPLIT_PART(name, '', 1) = 'a'", "''"),
        ("SPLIT_PART(name, ' ', 0) = 'a'", "0"),
        ("SPLIT_PART(name, ' ', -1) = 'a'", "-1"),
        ("EXTRACT(WEEK FROM at) = 1", "at)"),
    ];
    for (text, place) in cases {
        let mistake = Expr::parse(text).unwrap_err();
        let start = text.rfind(place).unwrap();
        assert!(
            mistake.at.start <= start + 1 && mistake.at.end + 1 >= start,
            "{text}: {mistake:?} should be at {place}"
        );
    }
    for text in ["", "  ", "n =", "= 1", "(n = 1", "n = 'a", "n = 1)"] {
        assert!(Expr::parse(text).is_err(), "{text:?}");
    }
    assert!(Expr::parse(&format!("{}n = 1{}", "(".repeat(200), ")".repeat(200))).is_err());
    assert!(Expr::parse(&"n = 1 OR ".repeat(1000)).is_err());
}

#[test]
fn what_an_engine_would_see_otherwise_is_refused_with_the_column() {
    let cases = [
        ("nothing = 1", "nothing", "no such column"),
        ("name = 5", "name", "'text'"),
        ("n = '5'", "n", "number"),
        ("n LIKE '5'", "n", "LIKE"),
        ("n", "n", "condition"),
        ("real = 1.5", "real", "exactly"),
        ("real", "real", "exactly"),
        ("kind < 'b'", "kind", "order"),
        ("day = '31.01.2026'", "day", "2026-01-31"),
        ("at = '2026-01-31 10:00:00+02'", "at", "UTC"),
        ("id = 'x'", "id", "uuid"),
        ("n = name", "n", "a text"),
        ("flag = 1", "flag", "TRUE"),
        ("made = 1", "made", "generated"),
        ("name IN ('a', 1)", "name", "'text'"),
        ("'a'", "'a'", "TRUE"),
        ("n + 1", "(\"n\" + 1)", "no condition"),
        ("name + 1 = 2", "name", "numbers"),
        ("LOWER(n) = 'a'", "n", "texts"),
        ("n || name = 'a'", "n", "texts"),
        ("EXTRACT(HOUR FROM day) = 1", "day", "HOUR"),
        ("EXTRACT(YEAR FROM name) = 1", "name", "YEAR"),
        ("COALESCE(n, name) = 1", "name", "a text"),
        ("COALESCE(n, 'x') = 1", "n", "number"),
        ("CASE WHEN n THEN 1 END = 1", "n", "condition"),
        ("NULL IS NULL", "NULL", "type"),
        ("real + 1 = 2", "real", "exactly"),
        ("CAST(name AS TEXT) = 'a'", "name", "whole"),
        ("CAST(amount AS TEXT) = 'a'", "amount", "whole"),
    ];
    for (text, column, why) in cases {
        let condition = Expr::parse(text).unwrap();
        let unfit = Filter::bind(&condition, &table(), |name| name).unwrap_err();
        assert!(
            unfit.part == column && unfit.why.contains(why),
            "{text}: {unfit:?}"
        );
    }
}

#[test]
fn a_row_without_a_cell_of_the_filter_is_not_judged() {
    let condition = Expr::parse("n = 1 AND name = 'a'").unwrap();
    let filter = Filter::bind(&condition, &table(), |name| name).unwrap();
    let mut cells = row(&[("n", Value::Int(2))]);
    cells.0[4] = None;
    assert_eq!(filter.matches(&cells), None);
    assert_eq!(condition.columns(), ["n", "name"]);
}

#[test]
fn what_is_written_in_one_form_reads_as_the_same() {
    for text in YES.iter().chain(NO) {
        let expr = Expr::parse(text).unwrap();
        let written = expr.to_string();
        let again = Expr::parse(&written).unwrap_or_else(|mistake| panic!("{written}: {mistake:?}"));
        assert_eq!(again.to_string(), written, "{text}");
    }
}

#[test]
fn numbers_beyond_all_numbers_are_calculated_with_as_postgresql_does() {
    let amount = |text: &str| [("amount", Value::Decimal(text.into()))];
    for (text, value) in [
        ("amount + 1 > 1000", "Infinity"),
        ("amount * -1 < -1000", "Infinity"),
        ("amount - amount > 1000", "Infinity"),
        ("amount * 0 > 1000", "-Infinity"),
        ("amount + 1 > 1000", "NaN"),
        ("1 - amount > 1000", "-Infinity"),
    ] {
        assert!(ask(text, &amount(value)), "{text} of {value}");
    }
    let day = |text: &str| [("day", Value::Date(text.into()))];
    assert!(ask("EXTRACT(YEAR FROM day) = -44", &day("0044-03-15 BC")));
    assert!(ask("EXTRACT(YEAR FROM day) = -1", &day("0001-03-15 BC")));
    assert!(ask("EXTRACT(MONTH FROM day) IS NULL", &day("infinity")));
    assert!(ask("EXTRACT(YEAR FROM day) IS NULL", &day("-infinity")));
    assert!(ask(
        "EXTRACT(YEAR FROM day) = 0 AND EXTRACT(QUARTER FROM day) = 0",
        &day("0000-00-00")
    ));
    assert!(ask("EXTRACT(DAY FROM day) = 0", &day("2026-02-00")));
}

#[test]
fn letters_that_would_become_several_stay() {
    let name = |text: &str| [("name", Value::Text(text.into()))];
    assert!(ask("UPPER(name) = 'STRAßE ÄÉΣ'", &name("straße äéς")));
    assert!(ask("LOWER(name) = 'iäéσ'", &name("İÄÉΣ")));
    assert!(ask("UPPER(name) = 'ᾼᾈ'", &name("ᾳᾀ")));
}

#[test]
fn set_ups_of_filters_that_were_recorded_before_are_known_again() {
    for (text, recorded) in [
        (
            "region = 'EU' AND NOT deleted",
            r#"All([Compare { left: Column("region"), comparison: Equal, right: Literal(Text("EU")) }, Not(Holds { column: "deleted" })])"#,
        ),
        (
            "n IN (1, -2.5, NULL) OR name LIKE 'a_%' OR real IS NOT NULL",
            r#"Any([Any([In { column: "n", list: [Number("1"), Number("-2.5"), Null] }, Like { column: "name", pattern: [Char('a'), One, Many] }]), Not(IsNull { column: "real" })])"#,
        ),
        ("TRUE", "Known(Some(true))"),
        (
            "n BETWEEN 1 AND m",
            r#"All([Compare { left: Column("n"), comparison: GreaterOrEqual, right: Literal(Number("1")) }, Compare { left: Column("n"), comparison: LessOrEqual, right: Column("m") }])"#,
        ),
        ("LOWER(name) = 'a'", r#"(LOWER("name") = 'a')"#),
    ] {
        assert_eq!(Expr::parse(text).unwrap().signature(), recorded, "{text}");
    }
}

fn formula(text: &str) -> Formula {
    let expr = Expr::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
    Formula::bind(&expr, &table(), |name| name).unwrap_or_else(|unfit| panic!("{text}: {unfit:?}"))
}

fn known() -> Row {
    let cells = [
        ("n", Value::Int(7)),
        ("tiny", Value::Int(1)),
        ("amount", Value::Decimal("12.50".into())),
        ("name", Value::Text("Ab".into())),
        ("code", Value::Text("EU  ".into())),
        ("day", Value::Date("2026-02-28".into())),
        ("at", Value::TimestampTz("2026-02-28 12:00:00.5".into())),
        ("real", Value::Double(1.5)),
        ("id", Value::Uuid([0xab; 16])),
    ];
    row(&cells)
}

fn is(written: &str, ty: ColumnType, value: Value, nullable: bool) {
    let bound = formula(written);
    assert_eq!(*bound.ty(), ty, "{written}");
    assert_eq!(bound.value(&known()), Some(value), "{written}");
    assert_eq!(bound.is_nullable(), nullable, "{written}");
}

#[test]
fn numbers_have_the_type_that_binding_said() {
    let big = ColumnType::Int {
        bits: 64,
        unsigned: false,
    };
    let decimal = |precision, scale| ColumnType::Decimal {
        precision,
        scale,
        unsigned: false,
    };
    for (written, ty, value, nullable) in [
        ("real", ColumnType::Double, Value::Double(1.5), true),
        (
            "code",
            table().columns[5].ty.clone(),
            Value::Text("EU  ".into()),
            true,
        ),
        ("tiny + 1", big.clone(), Value::Int(2), true),
        ("n + 1", decimal(Some(21), 0), Value::Decimal("8".into()), true),
        (
            "n * 0.25",
            decimal(Some(23), 2),
            Value::Decimal("1.75".into()),
            true,
        ),
        (
            "amount + 0",
            decimal(None, 0),
            Value::Decimal("12.50".into()),
            true,
        ),
        ("COALESCE(tiny, -1)", big.clone(), Value::Int(1), false),
        (
            "COALESCE(amount, 0)",
            decimal(None, 0),
            Value::Decimal("12.50".into()),
            false,
        ),
        ("CASE WHEN n = 7 THEN 1 END", big.clone(), Value::Int(1), true),
        ("EXTRACT(YEAR FROM day)", big, Value::Int(2026), true),
        ("NULLIF(n, 7)", decimal(Some(20), 0), Value::Null, true),
    ] {
        is(written, ty, value, nullable);
    }
}

#[test]
fn values_have_the_type_that_binding_said() {
    let text = |chars| ColumnType::Text {
        chars,
        bytes: None,
        fixed: false,
        utf8: true,
    };
    for (written, ty, value, nullable) in [
        ("COALESCE(code, name)", text(None), Value::Text("EU".into()), true),
        ("'x' || 'yz'", text(Some(3)), Value::Text("xyz".into()), false),
        ("name || '!'", text(None), Value::Text("Ab!".into()), true),
        (
            "SUBSTRING(name FROM 2 FOR 3)",
            text(Some(3)),
            Value::Text("b".into()),
            true,
        ),
        (
            "CASE WHEN n = 7 THEN 'yes' ELSE 'no' END",
            text(Some(3)),
            Value::Text("yes".into()),
            false,
        ),
        ("n = 7", ColumnType::Bool, Value::Bool(true), true),
        ("n IS NULL", ColumnType::Bool, Value::Bool(false), false),
        (
            "COALESCE(day, '2000-01-01')",
            ColumnType::Date,
            Value::Date("2026-02-28".into()),
            false,
        ),
        (
            "NULLIF(id, '00000000-0000-0000-0000-000000000000')",
            ColumnType::Uuid,
            Value::Uuid([0xab; 16]),
            true,
        ),
        (
            "CASE WHEN n = 8 THEN at ELSE '0044-03-15 13:05:00.250000 BC' END",
            ColumnType::TimestampTz {
                fraction: 6,
                epoch: false,
            },
            Value::TimestampTz("0044-03-15 13:05:00.25 BC".into()),
            true,
        ),
        ("'constant'", text(Some(8)), Value::Text("constant".into()), false),
        ("CAST(tiny AS TEXT)", text(Some(4)), Value::Text("1".into()), true),
    ] {
        is(written, ty, value, nullable);
    }
}

#[test]
fn what_reads_a_cell_that_was_not_sent_has_no_value() {
    let mut unsent = known();
    unsent.0[4] = None;
    assert_eq!(formula("name || '!'").value(&unsent), None);
    assert_eq!(formula("n + 1").value(&unsent), Some(Value::Decimal("8".into())));
}

#[test]
fn a_value_without_a_type_or_a_bound_is_refused() {
    for (text, why) in [
        ("NULL", "type"),
        ("COALESCE(NULL, NULL)", "type"),
        ("COALESCE(real, 1)", "exactly"),
        ("made", "generated"),
    ] {
        let expr = Expr::parse(text).unwrap();
        let unfit = Formula::bind(&expr, &table(), |name| name).unwrap_err();
        assert!(unfit.why.contains(why), "{text}: {unfit:?}");
    }
    let long = vec!["n"; 60].join(" * ");
    let unfit = Formula::bind(&Expr::parse(&long).unwrap(), &table(), |name| name).unwrap_err();
    assert!(unfit.why.contains("1000 digits"), "{unfit:?}");
    let wide = format!("{}n{} = 1", "NULLIF(".repeat(14), ", 1)".repeat(14));
    assert!(Expr::parse(&wide).unwrap_err().what.contains("too large"));
}

#[test]
fn a_cell_that_is_taken_as_it_is_shares_its_memory() {
    let row = row(&[("name", Value::Text("a text of some length".into()))]);
    let Some(Value::Text(taken)) = formula("COALESCE(name, 'none')").value(&row) else {
        panic!("a text");
    };
    let Some(Value::Text(held)) = row.get(4) else {
        panic!("a text");
    };
    assert!(std::ptr::eq(taken.as_ptr(), held.as_ptr()));
}
