//! One test per row of the type table, with the values at its edges. `back` goes there and back again.
#![allow(clippy::unwrap_used)]

use super::{Verdict, can_be_key, cast, verdict};
use crate::model::schema::{Column, ColumnType, Engine};
use crate::model::value::Value;
use ColumnType as T;
use Engine::{Mariadb, Mysql, Postgres};

pub(super) fn column(ty: ColumnType) -> Column {
    Column {
        name: "c".into(),
        ty,
        sql_type: String::new(),
        collation: String::new(),
        nullable: true,
        generated: false,
        has_default: false,
    }
}

type Side = (ColumnType, Engine);

fn go(value: Value, from: &Side, to: &Side) -> Option<Value> {
    cast(value, &from.0, from.1, &column(to.0.clone()), to.1).ok()
}

/// Carried as `there`, and back as what it was.
#[track_caller]
fn back(value: Value, from: &Side, to: &Side, there: Value) {
    let carried = go(value.clone(), from, to);
    assert_eq!(carried, Some(there.clone()), "{from:?} -> {to:?}");
    assert_eq!(go(there, to, from), Some(value), "back from {to:?} to {from:?}");
}

#[track_caller]
fn refuses(value: Value, from: &Side, to: &Side) {
    assert_eq!(go(value.clone(), from, to), None, "{value:?}: {from:?} -> {to:?}");
}

#[track_caller]
fn is_refused(from: &Side, to: &Side) {
    let verdict = verdict(&column(from.0.clone()), from.1, &column(to.0.clone()), to.1);
    assert!(
        matches!(verdict, Verdict::Refused(_)),
        "{from:?} -> {to:?}: {verdict:?}"
    );
}

fn int(bits: u8, unsigned: bool, engine: Engine) -> Side {
    (T::Int { bits, unsigned }, engine)
}

fn decimal(precision: u32, scale: i32, engine: Engine) -> Side {
    (
        T::Decimal {
            precision: Some(precision),
            scale,
            unsigned: false,
        },
        engine,
    )
}

fn numeric() -> Side {
    (
        T::Decimal {
            precision: None,
            scale: 0,
            unsigned: false,
        },
        Postgres,
    )
}

fn chars(n: u32, fixed: bool, engine: Engine) -> Side {
    (
        T::Text {
            chars: Some(n),
            bytes: None,
            fixed,
            utf8: true,
        },
        engine,
    )
}

fn text(bytes: Option<u64>, engine: Engine) -> Side {
    (
        T::Text {
            chars: None,
            bytes,
            fixed: false,
            utf8: true,
        },
        engine,
    )
}

fn dec(text: &str) -> Value {
    Value::Decimal(text.into())
}

fn txt(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn integers_by_width_and_sign() {
    back(
        Value::Int(-128),
        &int(8, false, Mysql),
        &int(16, false, Postgres),
        Value::Int(-128),
    );
    back(
        Value::UInt(u64::from(u32::MAX)),
        &int(32, true, Mysql),
        &int(64, false, Postgres),
        Value::Int(4_294_967_295),
    );
    refuses(Value::Int(-1), &int(64, false, Postgres), &int(64, true, Mysql));
    refuses(
        Value::UInt(u64::MAX),
        &int(64, true, Mysql),
        &int(64, false, Postgres),
    );
    refuses(
        Value::Int(8_388_608),
        &int(32, false, Postgres),
        &int(24, false, Mysql),
    );
    back(
        Value::Int(-8_388_608),
        &int(32, false, Postgres),
        &int(24, false, Mysql),
        Value::Int(-8_388_608),
    );
    back(
        Value::UInt(u64::MAX),
        &int(64, true, Mysql),
        &decimal(20, 0, Postgres),
        dec("18446744073709551615"),
    );
    back(
        Value::Int(i64::MIN),
        &int(64, false, Postgres),
        &decimal(21, 2, Mysql),
        dec("-9223372036854775808.00"),
    );
    refuses(
        Value::Int(i64::MIN),
        &int(64, false, Postgres),
        &decimal(20, 2, Mysql),
    );
    refuses(
        dec("18446744073709551616"),
        &decimal(20, 0, Postgres),
        &int(64, true, Mysql),
    );
    refuses(dec("1.5"), &decimal(20, 1, Postgres), &int(64, true, Mysql));
    is_refused(&int(32, false, Postgres), &(T::Double, Mysql));
    is_refused(&int(32, false, Postgres), &chars(20, false, Mysql));
}

#[test]
fn booleans_as_zero_and_one() {
    back(
        Value::Bool(true),
        &(T::Bool, Postgres),
        &int(8, false, Mysql),
        Value::Int(1),
    );
    back(
        Value::Bool(false),
        &(T::Bool, Postgres),
        &int(8, true, Mariadb),
        Value::UInt(0),
    );
    refuses(Value::Int(2), &int(8, false, Mysql), &(T::Bool, Postgres));
    refuses(Value::Int(-1), &int(8, false, Mysql), &(T::Bool, Postgres));
    let bit = (
        T::Bit {
            len: Some(1),
            varying: false,
        },
        Mysql,
    );
    back(
        Value::Bool(true),
        &(T::Bool, Postgres),
        &bit,
        Value::Bit("1".into()),
    );
    is_refused(&(T::Bool, Postgres), &int(16, false, Mysql));
}

#[test]
fn decimals_keep_every_digit() {
    let nines = "9".repeat(65);
    back(dec(&nines), &decimal(65, 0, Mysql), &numeric(), dec(&nines));
    let small = format!("-{}.{}", "9".repeat(35), "9".repeat(30));
    back(dec(&small), &decimal(65, 30, Mysql), &numeric(), dec(&small));
    refuses(dec(&"9".repeat(66)), &numeric(), &decimal(65, 0, Mysql));
    back(
        dec("1.50"),
        &decimal(5, 2, Postgres),
        &decimal(6, 3, Mysql),
        dec("1.500"),
    );
    refuses(dec("1.501"), &decimal(6, 3, Mysql), &decimal(5, 2, Postgres));
    refuses(dec("1000.00"), &decimal(6, 2, Mysql), &decimal(5, 2, Postgres));
    for special in ["NaN", "Infinity", "-Infinity"] {
        refuses(dec(special), &numeric(), &decimal(65, 30, Mysql));
        back(dec(special), &numeric(), &numeric(), dec(special));
    }
    refuses(dec("Infinity"), &numeric(), &decimal(10, 2, Postgres));
    assert_eq!(
        go(dec("NaN"), &numeric(), &decimal(10, 2, Postgres)),
        Some(dec("NaN"))
    );
    let positive = (
        T::Decimal {
            precision: Some(5),
            scale: 2,
            unsigned: true,
        },
        Mysql,
    );
    refuses(dec("-0.01"), &decimal(5, 2, Postgres), &positive);
    back(dec("0.00"), &decimal(5, 2, Postgres), &positive, dec("0.00"));
}

#[test]
fn decimals_with_odd_scales() {
    let (thousands, tiny) = (decimal(2, -3, Postgres), decimal(3, 5, Postgres));
    back(dec("99000"), &thousands, &decimal(5, 0, Mysql), dec("99000"));
    refuses(dec("99100"), &decimal(5, 0, Mysql), &thousands);
    refuses(dec("100000"), &decimal(6, 0, Mysql), &thousands);
    back(dec("0.00999"), &tiny, &decimal(5, 5, Mysql), dec("0.00999"));
    refuses(dec("0.01000"), &decimal(5, 5, Mysql), &tiny);
}

#[test]
fn floats_bit_for_bit() {
    let (float, double) = ((T::Float, Postgres), (T::Double, Mysql));
    for f in [
        0.0f32,
        -0.0,
        0.1,
        f32::MIN_POSITIVE / 8.0,
        f32::from_bits(1),
        f32::MAX,
        f32::MIN,
    ] {
        let Some(Value::Double(wide)) = go(Value::Float(f), &float, &double) else {
            panic!("{f} refused")
        };
        let Some(Value::Float(narrow)) = go(Value::Double(wide), &double, &float) else {
            panic!("{f} not back")
        };
        assert_eq!(narrow.to_bits(), f.to_bits());
    }
    refuses(Value::Double(0.1), &double, &float);
    refuses(Value::Double(f64::from_bits(1)), &double, &float);
    refuses(Value::Double(f64::MAX), &double, &float);
    for special in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refuses(Value::Double(special), &(T::Double, Postgres), &double);
        assert!(
            go(
                Value::Double(special),
                &(T::Double, Postgres),
                &(T::Float, Postgres)
            )
            .is_some()
        );
    }
    let rounding = Column {
        sql_type: "double(10,2)".into(),
        ..column(T::Double)
    };
    assert!(cast(Value::Double(1.0), &T::Double, Postgres, &rounding, Mysql).is_err());
}

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
fn bits_have_one_length() {
    let bit = |n, engine| {
        (
            T::Bit {
                len: Some(n),
                varying: false,
            },
            engine,
        )
    };
    let varying = (
        T::Bit {
            len: None,
            varying: true,
        },
        Postgres,
    );
    back(
        Value::Bit("0101".into()),
        &bit(4, Postgres),
        &bit(4, Mysql),
        Value::Bit("0101".into()),
    );
    back(
        Value::Bit("0101".into()),
        &bit(4, Mysql),
        &varying,
        Value::Bit("0101".into()),
    );
    refuses(Value::Bit("101".into()), &varying, &bit(4, Mysql));
    is_refused(&bit(4, Postgres), &bit(5, Mysql));
}

#[test]
fn dates_of_both_calendars() {
    let (pg, my) = ((T::Date, Postgres), (T::Date, Mysql));
    for day in ["0001-01-01", "9999-12-31", "2024-02-29", "2000-02-29"] {
        back(Value::Date(day.into()), &pg, &my, Value::Date(day.into()));
    }
    for day in [
        "infinity",
        "-infinity",
        "0044-03-15 BC",
        "10000-01-01",
        "5874897-12-31",
    ] {
        refuses(Value::Date(day.into()), &pg, &my);
        back(Value::Date(day.into()), &pg, &pg, Value::Date(day.into()));
    }
    for day in [
        "0000-00-00",
        "2024-00-10",
        "2024-01-00",
        "2024-02-31",
        "1900-02-29",
        "0000-01-01",
    ] {
        refuses(Value::Date(day.into()), &my, &pg);
        back(
            Value::Date(day.into()),
            &my,
            &(T::Date, Mariadb),
            Value::Date(day.into()),
        );
    }
}

#[test]
fn timestamps_and_moments() {
    let stamp = |fraction, engine| (T::Timestamp { fraction }, engine);
    let (moment, epoch) = (
        (
            T::TimestampTz {
                fraction: 6,
                epoch: false,
            },
            Postgres,
        ),
        (
            T::TimestampTz {
                fraction: 6,
                epoch: true,
            },
            Mysql,
        ),
    );
    let (wall, tz) = (
        |s: &str| Value::Timestamp(s.into()),
        |s: &str| Value::TimestampTz(s.into()),
    );
    for last in ["9999-12-31 23:59:59.999999", "0001-01-01 00:00:00"] {
        back(wall(last), &stamp(6, Postgres), &stamp(6, Mysql), wall(last));
        back(tz(last), &moment, &stamp(6, Mysql), wall(last));
    }
    refuses(
        wall("2024-01-01 00:00:00.1"),
        &stamp(6, Postgres),
        &stamp(0, Mysql),
    );
    back(
        wall("2024-01-01 00:00:00"),
        &stamp(6, Postgres),
        &stamp(0, Mysql),
        wall("2024-01-01 00:00:00"),
    );
    assert_eq!(
        go(
            wall("2024-01-01 00:00:00.120000"),
            &stamp(6, Postgres),
            &stamp(3, Mysql)
        ),
        Some(wall("2024-01-01 00:00:00.12"))
    );
    for odd in ["infinity", "0044-03-15 12:00:00.5 BC", "10000-01-01 00:00:00"] {
        refuses(wall(odd), &stamp(6, Postgres), &stamp(6, Mysql));
        refuses(tz(odd), &moment, &epoch);
    }
    refuses(wall("0000-00-00 00:00:00"), &stamp(6, Mysql), &stamp(6, Postgres));
    refuses(tz("0000-00-00 00:00:00"), &epoch, &moment);
    for inside in ["1970-01-01 00:00:01", "2038-01-19 03:14:07.999999"] {
        back(tz(inside), &moment, &epoch, tz(inside));
    }
    for outside in [
        "1970-01-01 00:00:00.999999",
        "2038-01-19 03:14:08",
        "1969-12-31 23:59:59",
    ] {
        refuses(tz(outside), &moment, &epoch);
    }
    is_refused(&stamp(6, Postgres), &epoch);
    is_refused(&epoch, &stamp(6, Postgres));
    is_refused(&moment, &stamp(6, Postgres));
    is_refused(&epoch, &stamp(6, Mysql));
}

#[test]
fn times_and_spans() {
    let (pg, my) = (
        (
            T::Time {
                fraction: 6,
                span: false,
            },
            Postgres,
        ),
        (
            T::Time {
                fraction: 6,
                span: true,
            },
            Mysql,
        ),
    );
    let (maria, interval) = (
        (
            T::Time {
                fraction: 6,
                span: true,
            },
            Mariadb,
        ),
        (T::Interval, Postgres),
    );
    let (time, span) = (
        |s: &str| Value::Time(s.into()),
        |s: &str| Value::Interval(s.into()),
    );
    for day in ["00:00:00", "23:59:59.999999", "24:00:00"] {
        back(time(day), &pg, &my, time(day));
    }
    for far in [
        "-00:00:01",
        "24:00:00.000001",
        "24:00:01",
        "838:59:59",
        "-838:59:59",
    ] {
        refuses(time(far), &my, &pg);
    }
    back(time("-838:59:59"), &my, &interval, span("PT-838H-59M-59S"));
    back(time("00:00:00"), &my, &interval, span("PT0S"));
    back(time("-00:00:00.5"), &my, &interval, span("PT-0.5S"));
    back(time("100:00:00.000001"), &my, &interval, span("PT100H0.000001S"));
    for long in ["P1D", "P1M", "P1YT1H", "PT839H", "infinity", "PT838H59M59.5S"] {
        refuses(span(long), &interval, &my);
    }
    back(time("838:59:59.5"), &maria, &interval, span("PT838H59M59.5S"));
    refuses(time("838:59:59.5"), &maria, &my);
    is_refused(&pg, &interval);
}

#[test]
fn intervals_as_text_and_short_intervals() {
    let (interval, words) = ((T::Interval, Postgres), chars(64, false, Mysql));
    for iso in [
        "PT0S",
        "P1Y2M-3DT4H5M6.789S",
        "P-1Y-2M3DT-4H-5M-6S",
        "infinity",
        "P-178956970Y-8M",
    ] {
        back(Value::Interval(iso.into()), &interval, &words, txt(iso));
    }
    for other in [
        "1 day", "P0D", "PT90M", "P1Y-2M", "P1Y14M", "PT1.50S", "P1W", "P", "PT", "P1YT",
    ] {
        refuses(txt(other), &words, &interval);
    }
    let short = |sql: &str| Column {
        sql_type: sql.into(),
        ..column(T::Interval)
    };
    let takes = |value: &str, sql: &str| {
        cast(
            Value::Interval(value.into()),
            &T::Interval,
            Postgres,
            &short(sql),
            Postgres,
        )
        .is_ok()
    };
    assert!(takes("PT1.5S", "interval(1)") && !takes("PT1.25S", "interval(1)"));
    assert!(takes("P1DT1H", "interval day to hour") && !takes("P1DT1H1M", "interval day to hour"));
    assert!(takes("P1Y", "interval year") && !takes("P1Y1M", "interval year"));
    assert!(takes("P1Y1DT0.5S", "interval day to second(3)"));
}

#[test]
fn years() {
    let (year, short) = ((T::Year, Mysql), int(16, false, Postgres));
    for y in [0, 1901, 2155] {
        back(Value::Int(y), &year, &short, Value::Int(y));
    }
    for y in [-1, 1, 1900, 2156] {
        refuses(Value::Int(y), &short, &year);
    }
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
fn json_keeps_its_meaning_or_is_refused() {
    let json = |normalised, engine| (T::Json { normalised }, engine);
    let doc = |s: &str| Value::Json(s.into());
    let (jsonb, plain, mysql, maria) = (
        json(true, Postgres),
        json(false, Postgres),
        json(true, Mysql),
        json(false, Mariadb),
    );
    let ends = "[9223372036854775807, 18446744073709551615, 0.1, 1e20, -0.0, 100000000000000000000, 5e-324]";
    back(doc(ends), &jsonb, &mysql, doc(ends));
    for number in [
        "18446744073709551617",
        "0.10000000000000000001",
        "1e400",
        "1e-400",
        "3.141592653589793238",
    ] {
        refuses(doc(number), &jsonb, &mysql);
        back(doc(number), &jsonb, &maria, doc(number));
    }
    for twice in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"[{"x":{"k":1,"k":1}}]"#,
        r#""\ud800""#,
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
    refuses(doc(r#""\u0000""#), &mysql, &jsonb);
    back(doc(r#""\\u0000""#), &mysql, &jsonb, doc(r#""\\u0000""#));
    refuses(doc("1e-20000"), &plain, &jsonb);
    refuses(doc("1e200000"), &plain, &jsonb);
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

#[test]
fn other_types_pass_between_equal_ends_only() {
    let opaque = |name: &str, engine| (T::Opaque { name: name.into() }, engine);
    let value = Value::Opaque("{1,2}".into());
    back(
        value.clone(),
        &opaque("int4[]", Postgres),
        &opaque("int4[]", Postgres),
        value.clone(),
    );
    is_refused(&opaque("int4[]", Postgres), &opaque("int8[]", Postgres));
    is_refused(&opaque("point", Postgres), &opaque("point", Mysql));
    is_refused(&opaque("int4[]", Postgres), &text(None, Mysql));
    is_refused(&text(None, Mysql), &opaque("int4[]", Postgres));
    let declared = |sql: &str| Column {
        sql_type: sql.into(),
        ..column(T::Opaque {
            name: "numeric[]".into(),
        })
    };
    let verdict = verdict(
        &declared("numeric(9,2)[]"),
        Postgres,
        &declared("numeric(9,1)[]"),
        Postgres,
    );
    assert!(matches!(verdict, Verdict::Refused(_)));
}

#[test]
fn null_needs_a_nullable_target() {
    let strict = Column {
        nullable: false,
        ..column(T::Bool)
    };
    assert!(cast(Value::Null, &T::Bool, Postgres, &strict, Postgres).is_err());
    assert_eq!(
        go(Value::Null, &(T::Bool, Postgres), &int(8, false, Mysql)),
        Some(Value::Null)
    );
    refuses(Value::Null, &(T::Bool, Postgres), &(T::Date, Mysql));
}

#[test]
fn refusal_names_column_types_and_limit_but_no_value() {
    let target = Column {
        name: "total".into(),
        sql_type: "decimal(5,2)".into(),
        ..column(decimal(5, 2, Mysql).0)
    };
    let refusal = cast(dec("123456.78"), &numeric().0, Postgres, &target, Mysql).unwrap_err();
    assert_eq!(refusal.column, "total");
    assert!(refusal.why.contains("numeric of PostgreSQL") && refusal.why.contains("decimal(5,2) of MySQL"));
    assert!(!refusal.why.contains("123456"));
}

#[test]
fn verdicts_speak() {
    let say = |from: &Side, to: &Side| verdict(&column(from.0.clone()), from.1, &column(to.0.clone()), to.1);
    assert_eq!(
        say(&int(32, false, Postgres), &int(32, false, Mysql)),
        Verdict::Exact
    );
    assert_eq!(
        say(&int(64, true, Mysql), &int(64, false, Postgres)),
        Verdict::ExactIf("-9223372036854775808 to 9223372036854775807".into())
    );
    let Verdict::Refused(why) = say(
        &(
            T::Opaque {
                name: "int4[]".into(),
            },
            Postgres,
        ),
        &text(None, Mysql),
    ) else {
        panic!("carried")
    };
    assert!(why.contains("leave the column out"), "{why}");
    let moment = (
        T::TimestampTz {
            fraction: 6,
            epoch: false,
        },
        Postgres,
    );
    let Verdict::ExactIf(why) = say(&moment, &(T::Timestamp { fraction: 6 }, Mysql)) else {
        panic!("exact")
    };
    assert!(why.contains("UTC"), "{why}");
}

#[test]
fn keys_have_one_text_per_value() {
    for ty in [
        T::Float,
        T::Double,
        T::Interval,
        T::Json { normalised: true },
        T::Opaque { name: "point".into() },
        numeric().0,
    ] {
        assert!(can_be_key(&ty, Postgres).is_err(), "{ty:?}");
    }
    for ty in [
        T::Uuid,
        T::Bool,
        decimal(10, 2, Postgres).0,
        chars(5, false, Postgres).0,
        T::Date,
    ] {
        assert!(can_be_key(&ty, Mysql).is_ok(), "{ty:?}");
    }
}

#[test]
fn what_fits_is_moved() {
    let Value::Text(source) = txt("a text that lives in a shared buffer and must not be copied") else {
        unreachable!()
    };
    let at = source.as_ptr();
    let carried = go(
        Value::Text(source),
        &chars(100, false, Postgres),
        &chars(100, false, Mysql),
    );
    let Some(Value::Text(carried)) = carried else {
        panic!("refused")
    };
    assert_eq!(carried.as_ptr(), at);
}
