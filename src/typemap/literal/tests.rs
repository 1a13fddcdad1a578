//! Texts that PostgreSQL prints, and others that it would read and print otherwise, or not read at all.
#![allow(clippy::unwrap_used)]

use super::Literal;

#[track_caller]
fn prints(name: &str, good: &[&str], bad: &[&str]) {
    let literal = Literal::of_postgres(name, name).unwrap();
    for text in good {
        assert!(literal.is_printed(text), "{name} {text}");
    }
    for text in bad {
        assert!(!literal.is_printed(text), "{name} {text}");
    }
}

#[test]
fn arrays() {
    prints(
        "integer[]",
        &[
            "{}",
            "{1,NULL,-3}",
            "{{1,2},{3,4}}",
            "[0:1]={1,2}",
            "[-1:0][2:3]={{1,2},{3,4}}",
            "{{{1}}}",
        ],
        &[
            "",
            "{1, 2}",
            "{ }",
            "{01}",
            "{+1}",
            "{null}",
            "{1,}",
            "{,1}",
            "{1}}",
            "{{1},{2,3}}",
            "{{1},2}",
            "{1,{2}}",
            "{{}}",
            "[1:2]={1,2}",
            "[0:2]={1,2}",
            "[0:1]{1,2}",
            "{\"1\"}",
            "{2147483648}",
            "{a}",
            "1",
            "{1\0}",
            "{{1},NULL}",
            "{{{{{{{1}}}}}}}",
            "[0:1]={{1},{2}}",
        ],
    );
    prints(
        "text[]",
        &[
            "{a,é🌊,\"\",\"NULL\",\"null\",\"a b\",\"a,b\",\"{}\",\"\\\"\",\"\\\\\",NULL}",
            "{'it'}",
            "{\"a\nb\"}",
        ],
        &[
            "{a b}",
            "{\"a\"}",
            "{\"\\a\"}",
            "{a\\b}",
            "{\"a}",
            "{Null}",
            "{a\"b}",
        ],
    );
    prints("boolean[]", &["{t,f}"], &["{true}", "{T}"]);
    prints(
        "date[]",
        &["{2024-02-29}"],
        &["{2024-02-30}", "{2024-2-1}", "{infinity}", "{0000-01-01}"],
    );
    assert_eq!(
        Literal::of_postgres("character varying[]", "character varying(3)[]"),
        None
    );
    assert_eq!(Literal::of_postgres("numeric[]", "numeric[]"), None);
}

#[test]
fn ranges() {
    prints(
        "int4range",
        &["empty", "[1,5)", "(,5)", "[1,)", "(,)", "[-5,-1)"],
        &[
            "[1,5]",
            "(1,5)",
            "[5,1)",
            "[1,1)",
            "[,5)",
            "[1,5",
            "[ 1,5)",
            "[1,5) ",
            "",
            "EMPTY",
            "[\"1\",5)",
        ],
    );
    prints(
        "daterange",
        &["[2024-01-01,2024-02-01)", "(,2024-01-01)"],
        &["[2024-01-01,2024-02-01]"],
    );
    prints(
        "tsrange",
        &[
            "[\"2024-01-01 00:00:00\",\"2024-01-02 12:30:00.5\")",
            "(\"2024-01-01 00:00:00\",)",
            "[\"2024-01-01 00:00:00\",\"2024-01-01 00:00:00\"]",
        ],
        &[
            "[2024-01-01 00:00:00,2024-01-02 00:00:00)",
            "[\"2024-01-01\",\"2024-01-02\")",
            "[\"2024-01-01 24:00:00\",)",
            "[\"2024-01-01 00:00:00.50\",)",
            "[\"2024-01-01 00:00:00\",]",
        ],
    );
    prints(
        "tstzrange",
        &["[\"2024-01-01 00:00:00+00\",)"],
        &["[\"2024-01-01 00:00:00+01\",)", "[\"2024-01-01 00:00:00\",)"],
    );
    prints(
        "int4multirange",
        &["{}", "{[1,3)}", "{[1,3),[5,7)}"],
        &["{[1,3),[3,7)}", "{[5,7),[1,3)}", "{[1,3), [5,7)}", "{empty}"],
    );
    assert_eq!(Literal::of_postgres("numrange", "numrange"), None);
}

#[test]
fn words_and_numbers() {
    prints(
        "public.hstore",
        &[
            "",
            "\"a\"=>\"1\"",
            "\"a\"=>NULL, \"b\"=>\"x \\\" \\\\\", \"aa\"=>\"\"",
        ],
        &[
            "a=>1",
            "\"a\"=>\"1\",\"b\"=>\"2\"",
            "\"aa\"=>\"1\", \"b\"=>\"2\"",
            "\"a\"=>\"1\", \"a\"=>\"2\"",
            "\"a\" => \"1\"",
            "\"a\"",
        ],
    );
    prints(
        "macaddr",
        &["08:00:2b:01:02:03"],
        &["08-00-2b-01-02-03", "08:00:2B:01:02:03", "08:00:2b:01:02"],
    );
    prints("macaddr8", &["08:00:2b:01:02:03:04:05"], &["08:00:2b:01:02:03"]);
    prints("oid", &["0", "4294967295"], &["4294967296", "-1", "01"]);
    prints("public.citext", &["", "Any Thing"], &["a\0b"]);
    for name in [
        "point",
        "xml",
        "money",
        "tsvector",
        "public.mood",
        "other.inet",
        "\"char\"",
        "public.int4range",
    ] {
        assert_eq!(Literal::of_postgres(name, name), None, "{name}");
    }
}
