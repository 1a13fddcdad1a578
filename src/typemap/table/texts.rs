//! Rows of the type table: text, bytes, uuids, labels and JSON.

use super::*;

#[test]
fn text_by_characters_and_bytes() {
    let emoji = "😀".repeat(3);
    back(
        txt(&emoji),
        &chars(3, false, Postgres),
        &chars(3, false, Mysql),
        txt(&emoji),
    );
    refuses(txt(&emoji), &text(None, Postgres), &chars(2, false, Mysql));
    refuses(txt(&emoji), &text(None, Postgres), &text(Some(11), Mysql));
    back(
        txt(&emoji),
        &text(None, Postgres),
        &text(Some(12), Mysql),
        txt(&emoji),
    );
    refuses(txt("a\0b"), &text(Some(65_535), Mysql), &text(None, Postgres));
    back(
        txt(""),
        &text(Some(65_535), Mysql),
        &text(None, Postgres),
        txt(""),
    );
    refuses(txt("a "), &chars(5, false, Postgres), &chars(5, true, Mysql));
    back(
        txt("a\t"),
        &chars(5, false, Postgres),
        &chars(5, true, Mysql),
        txt("a\t"),
    );
    back(
        txt("a"),
        &chars(5, true, Postgres),
        &chars(5, false, Mysql),
        txt("a"),
    );
    is_refused(
        &text(None, Postgres),
        &(
            T::Bytes {
                limit: None,
                fixed: false,
            },
            Mysql,
        ),
    );
}

#[test]
fn text_by_character_set() {
    let of = |collation: &str| Column {
        collation: collation.into(),
        ..column(T::Text {
            chars: None,
            bytes: Some(6),
            fixed: false,
            utf8: false,
        })
    };
    let fits = |value: &str, collation: &str| {
        cast(
            txt(value),
            &text(None, Postgres).0,
            Postgres,
            &of(collation),
            Mysql,
        )
        .is_ok()
    };
    assert!(fits("é漢", "utf8mb3_general_ci") && !fits("😀", "utf8mb3_general_ci"));
    assert!(fits("€éééé", "latin1_swedish_ci") && !fits("漢", "latin1_swedish_ci"));
    assert!(fits("abc", "sjis_japanese_ci") && !fits("é", "sjis_japanese_ci"));
    assert!(fits("abc", "ucs2_general_ci") && !fits("abcd", "ucs2_general_ci"));
    assert!(!fits("é", "ascii_general_ci"));
}

#[test]
fn bytes_are_never_padded() {
    let fixed = |n| {
        (
            T::Bytes {
                limit: Some(n),
                fixed: true,
            },
            Mysql,
        )
    };
    let (bytea, varying) = (
        (
            T::Bytes {
                limit: None,
                fixed: false,
            },
            Postgres,
        ),
        (
            T::Bytes {
                limit: Some(3),
                fixed: false,
            },
            Mysql,
        ),
    );
    let value = |bytes: &'static [u8]| Value::Bytes(bytes::Bytes::from_static(bytes));
    back(value(b"ab\0"), &fixed(3), &bytea, value(b"ab\0"));
    refuses(value(b"ab"), &bytea, &fixed(3));
    refuses(value(b"abcd"), &bytea, &varying);
    is_refused(&fixed(3), &fixed(4));
    is_refused(&fixed(4), &varying);
}

#[test]
fn uuids_as_bytes_and_text() {
    let (uuid, value) = (
        (T::Uuid, Postgres),
        Value::Uuid(*b"\x01\x23\x45\x67\x89\xab\xcd\xef0123456\xff"),
    );
    let words = "01234567-89ab-cdef-3031-3233343536ff";
    for to in [
        chars(36, true, Mysql),
        chars(40, false, Mysql),
        text(None, Postgres),
    ] {
        back(value.clone(), &uuid, &to, txt(words));
    }
    let binary = (
        T::Bytes {
            limit: Some(16),
            fixed: true,
        },
        Mysql,
    );
    back(
        value.clone(),
        &uuid,
        &binary,
        Value::Bytes(bytes::Bytes::from_static(
            b"\x01\x23\x45\x67\x89\xab\xcd\xef0123456\xff",
        )),
    );
    back(value.clone(), &uuid, &(T::Uuid, Mariadb), value);
    for other in [
        words.to_uppercase(),
        words.replace('-', ""),
        format!("{{{words}}}"),
        "é".repeat(18),
        String::new(),
    ] {
        refuses(txt(&other), &chars(40, false, Mysql), &uuid);
    }
    is_refused(&uuid, &chars(35, false, Mysql));
}

#[test]
fn labels_by_name() {
    let labels = |names: &[&str]| names.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let kind = |names: &[&str], engine| {
        (
            T::Enum {
                labels: labels(names),
            },
            engine,
        )
    };
    let set = |names: &[&str], engine| {
        (
            T::Set {
                labels: labels(names),
            },
            engine,
        )
    };
    back(
        txt("new"),
        &kind(&["new", "old"], Postgres),
        &kind(&["old", "new"], Mysql),
        txt("new"),
    );
    refuses(
        txt("gone"),
        &kind(&["gone"], Postgres),
        &kind(&["old", "new"], Mysql),
    );
    refuses(txt("NEW"), &text(None, Postgres), &kind(&["new"], Mysql));
    refuses(txt(""), &kind(&["new"], Mysql), &kind(&["new"], Postgres));
    back(
        txt("new"),
        &kind(&["new"], Mysql),
        &text(None, Postgres),
        txt("new"),
    );
    back(
        txt("a,b"),
        &set(&["a", "b"], Mysql),
        &set(&["b", "a"], Mariadb),
        txt("b,a"),
    );
    back(txt(""), &set(&["a"], Mysql), &text(None, Postgres), txt(""));
    for bad in ["b,a", "a,a", "c", "a,", ","] {
        refuses(txt(bad), &text(None, Postgres), &set(&["a", "b"], Mysql));
    }
    is_refused(&kind(&["a"], Postgres), &set(&["a"], Mysql));
}

fn doc(text: &str) -> Value {
    Value::Json(text.into())
}

/// `jsonb` and `json` of PostgreSQL, and those of MySQL and MariaDB.
fn kinds_of_json() -> [(T, Engine); 4] {
    [
        (true, Postgres),
        (false, Postgres),
        (true, Mysql),
        (false, Mariadb),
    ]
    .map(|(normalised, engine)| (T::Json { normalised }, engine))
}

#[test]
fn numbers_in_json_keep_their_value_or_are_refused() {
    let [jsonb, plain, mysql, maria] = kinds_of_json();
    let ends = "[9223372036854775807, 18446744073709551615, 0.1, 1e20, -0.5, 100000000000000000000, 5e-324]";
    back(doc(ends), &jsonb, &mysql, doc(ends));
    back(doc(ends), &mysql, &mysql, doc(ends));
    for zero in ["-0.0", "[1, -0e5]", r#"{"a": -0.00}"#] {
        refuses(doc(zero), &mysql, &jsonb);
        refuses(doc(zero), &plain, &jsonb);
        back(doc(zero), &mysql, &mysql, doc(zero));
        back(doc(zero), &mysql, &plain, doc(zero));
        back(doc(zero), &mysql, &maria, doc(zero));
    }
    // To MySQL an integer, which it would make 0.
    refuses(doc("-0"), &plain, &mysql);
    refuses(doc("-0"), &maria, &jsonb);
    for number in [
        "18446744073709551617",
        "0.10000000000000000001",
        "1e400",
        "1e-400",
        "3.141592653589793238",
    ] {
        refuses(doc(number), &jsonb, &mysql);
        // MySQL's own functions put a DECIMAL into a document.
        refuses(doc(number), &mysql, &mysql);
        back(doc(number), &jsonb, &maria, doc(number));
    }
    refuses(doc("1e-20000"), &plain, &jsonb);
    refuses(doc("1e200000"), &plain, &jsonb);
}

#[test]
fn json_keeps_its_meaning_or_is_refused() {
    let [jsonb, plain, mysql, maria] = kinds_of_json();
    // A DATE in it; other engines have no such documents, and keep its text.
    let dated = || Value::Opaque(r#"["2024-01-02"]"#.into());
    refuses(dated(), &mysql, &mysql);
    for target in [&jsonb, &plain, &maria] {
        let there = go(dated(), &mysql, target);
        assert_eq!(there, Some(doc(r#"["2024-01-02"]"#)));
    }
    for twice in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"[{"x":{"k":1,"k":1}}]"#,
    ] {
        refuses(doc(twice), &plain, &mysql);
        refuses(doc(twice), &maria, &jsonb);
        back(doc(twice), &plain, &maria, doc(twice));
    }
    back(
        doc(r#"{"a":{"a":1},"b":[{"a":1},{"a":2}],"é\ud83d\ude00":null}"#),
        &jsonb,
        &mysql,
        doc(r#"{"a":{"a":1},"b":[{"a":1},{"a":2}],"é\ud83d\ude00":null}"#),
    );
    for target in [&jsonb, &mysql, &maria] {
        refuses(doc(r#""\ud800""#), &plain, target);
        refuses(doc(r#""\ude00\ud83d""#), &plain, target);
    }
    refuses(doc(r#""\u0000""#), &mysql, &jsonb);
    back(doc(r#""\\u0000""#), &mysql, &jsonb, doc(r#""\\u0000""#));
    // Numbers without a binary form have no minus zero, nor have MySQL's integers.
    for zero in ["-0", "-0.0", "[-0e3]", "{\"a\":-0.00E-2}"] {
        refuses(doc(zero), &plain, &jsonb);
    }
    refuses(doc("-0"), &plain, &mysql);
    assert!(go(doc("-0.0"), &plain, &mysql).is_some());
    assert!(go(doc("[-0.5,-10]"), &plain, &jsonb).is_some());
    let deep = |n: usize| doc(&format!("{}1{}", "[".repeat(n), "]".repeat(n)));
    back(deep(100), &jsonb, &mysql, deep(100));
    refuses(deep(101), &jsonb, &mysql);
    assert!(go(deep(100_000), &maria, &jsonb).is_some());
    back(
        doc("{ \"b\":1,\n \"a\":1.0 }"),
        &plain,
        &text(Some(4_294_967_295), Mysql),
        txt("{ \"b\":1,\n \"a\":1.0 }"),
    );
    is_refused(&text(None, Postgres), &mysql);
    is_refused(&text(Some(65_535), Mysql), &jsonb);
}

#[test]
fn text_that_is_not_json_is_refused() {
    let plain = (T::Json { normalised: false }, Postgres);
    for bad in [
        "",
        "{",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "\"\t\"",
        "nul",
        "[1] 2",
        "\"\\x\"",
        "\"\\u12\"",
        "]",
        "{\"a\":1]",
        "\"\\ud800\\u\"",
        "+1",
        "[1 2]",
        "\"é",
        "\"\\ué000\"",
    ] {
        refuses(txt(bad), &text(None, Mariadb), &plain);
    }
    for good in [
        "1",
        " [ ] ",
        "{\"a\":[{}]}",
        "-0",
        "-1.5e+10",
        "\"é\"",
        "null",
        "0",
    ] {
        back(txt(good), &text(None, Mariadb), &plain, Value::Json(good.into()));
    }
}
