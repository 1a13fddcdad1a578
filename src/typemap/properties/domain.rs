//! Types to pair, and values that a column of each can hold, edges first.

use crate::model::schema::{ColumnType, Engine};
use crate::model::value::Value;
use ColumnType as T;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

pub(super) fn numbers(engine: Engine) -> Vec<ColumnType> {
    let int = |bits, unsigned| T::Int { bits, unsigned };
    let decimal = |precision, scale, unsigned| T::Decimal {
        precision,
        scale,
        unsigned,
    };
    let bit = |len, varying| T::Bit { len, varying };
    let mut types = vec![
        int(16, false),
        int(32, false),
        int(64, false),
        T::Float,
        T::Double,
        decimal(Some(20), 0, false),
        decimal(Some(5), 2, false),
        decimal(Some(9), 0, false),
        decimal(Some(65), 30, false),
        bit(Some(1), false),
        bit(Some(8), false),
    ];
    if engine.is_postgres() {
        types.extend([
            T::Bool,
            decimal(None, 0, false),
            decimal(Some(2), -3, false),
            decimal(Some(3), 5, false),
        ]);
        types.extend([bit(Some(8), true), bit(None, true)]);
    } else {
        types.extend([
            int(8, false),
            int(8, true),
            int(24, true),
            int(64, true),
            T::Year,
            decimal(Some(20), 0, true),
        ]);
    }
    types
}

pub(super) fn texts(engine: Engine) -> Vec<ColumnType> {
    let labels = |names: &[&str]| names.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let text = |chars, bytes, fixed, utf8| T::Text {
        chars,
        bytes,
        fixed,
        utf8,
    };
    let mut types = vec![
        text(Some(4), None, false, true),
        text(Some(4), None, true, true),
        text(Some(40), None, false, true),
        T::Enum {
            labels: labels(&["a", "b", "é"]),
        },
        T::Enum {
            labels: labels(&["b", "a"]),
        },
        T::Opaque { name: "point".into() },
        T::Bytes {
            limit: None,
            fixed: false,
        },
    ];
    if engine.is_postgres() {
        types.extend([
            text(None, None, false, true),
            T::Uuid,
            T::Json { normalised: false },
            T::Json { normalised: true },
        ]);
        return types;
    }
    let bytes = |limit, fixed| T::Bytes {
        limit: Some(limit),
        fixed,
    };
    types.extend([
        text(None, Some(8), false, true),
        text(None, Some(65_535), false, true),
        text(Some(9), None, false, false),
    ]);
    types.extend([bytes(16, true), bytes(4, true), bytes(4, false)]);
    types.extend([
        T::Set {
            labels: labels(&["a", "b"]),
        },
        T::Set {
            labels: labels(&["b", "a", "c"]),
        },
    ]);
    types.push(T::Json {
        normalised: engine == Engine::Mysql,
    });
    if engine == Engine::Mariadb {
        types.push(T::Uuid);
    }
    types
}

pub(super) fn times(engine: Engine) -> Vec<ColumnType> {
    let pg = engine.is_postgres();
    let mut types = vec![T::Date];
    for fraction in [0, 3, 6] {
        types.extend([
            T::Time { fraction, span: !pg },
            T::Timestamp { fraction },
            T::TimestampTz { fraction, epoch: !pg },
        ]);
    }
    if pg {
        types.push(T::Interval);
    }
    types
}

/// Values that a column of the type can hold, edges first.
pub(super) fn domain(ty: &ColumnType, engine: Engine) -> BoxedStrategy<Value> {
    let pg = engine.is_postgres();
    let pick = |values: Vec<Value>| select(values).boxed();
    match ty {
        T::Bool | T::Int { .. } | T::Year | T::Float | T::Double | T::Decimal { .. } | T::Bit { .. } => {
            number(ty, engine)
        }
        T::Text {
            chars,
            bytes,
            fixed,
            utf8,
        } => strings(*chars, *bytes, *fixed, *utf8, pg),
        T::Bytes { limit, fixed } => {
            let most = usize::try_from(limit.unwrap_or(20)).unwrap();
            let least = if *fixed { most } else { 0 };
            proptest::collection::vec(any::<u8>(), least..=most)
                .prop_map(|b| Value::Bytes(Bytes::from(b)))
                .boxed()
        }
        T::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        T::Json { normalised } => json(*normalised, engine),
        T::Enum { labels } => pick(labels.iter().map(|l| Value::Text(l.as_str().into())).collect()),
        T::Set { labels } => {
            let all = labels.clone();
            proptest::sample::subsequence(all, 0..=labels.len())
                .prop_map(|s| Value::Text(s.join(",").into()))
                .boxed()
        }
        T::Opaque { .. } => Just(Value::Opaque("(1,2)".into())).boxed(),
        T::Date | T::Timestamp { .. } | T::TimestampTz { .. } => dates(ty, engine),
        T::Time { fraction, span } => clock(*fraction, *span, engine == Engine::Mariadb),
        T::Interval => {
            let micros = prop_oneof![
                any::<i32>().prop_map(i64::from),
                -40_000_000_000_000..40_000_000_000_000i64
            ];
            let span = (
                prop_oneof![Just(0), -30..30i32],
                prop_oneof![Just(0), -9..9i32],
                micros,
            );
            span.prop_map(|(months, days, micros)| Value::Interval(iso(months, days, micros).into()))
                .boxed()
        }
    }
}

fn number(ty: &ColumnType, engine: Engine) -> BoxedStrategy<Value> {
    let (pg, mariadb) = (engine.is_postgres(), engine == Engine::Mariadb);
    let pick = |values: Vec<Value>| select(values).boxed();
    match ty {
        T::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        T::Int {
            bits,
            unsigned: false,
        } => {
            let (bits, half) = (u32::from(*bits), 1i128 << (bits - 1));
            let any = any::<i64>().prop_map(move |i| Value::Int(i >> (64 - bits)));
            let edges = [-half, half - 1, 0, 1, -1, 100].map(|i| Value::Int(i64::try_from(i).unwrap()));
            prop_oneof![any, pick(edges.to_vec())].boxed()
        }
        T::Int { bits, unsigned: true } => {
            let bits = u32::from(*bits);
            let any = any::<u64>().prop_map(move |u| Value::UInt(u >> (64 - bits)));
            prop_oneof![
                any,
                pick(vec![
                    Value::UInt(0),
                    Value::UInt(1),
                    Value::UInt(u64::MAX >> (64 - bits))
                ])
            ]
            .boxed()
        }
        T::Year => prop_oneof![Just(Value::Int(0)), (1901..=2155i64).prop_map(Value::Int)].boxed(),
        T::Float => prop_oneof![any::<f32>(), select(vec![-0.0, 0.0, f32::INFINITY])]
            .prop_filter("what the engine has", move |f| pg && !f.is_nan() || f.is_finite())
            .prop_map(move |f| Value::Float(if mariadb { f + 0.0 } else { f }))
            .boxed(),
        T::Double => {
            let edges = select(vec![-0.0, 0.0, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE]);
            prop_oneof![any::<f64>(), any::<f32>().prop_map(f64::from), edges]
                .prop_filter("what the engine has", move |f| pg && !f.is_nan() || f.is_finite())
                .prop_map(move |f| Value::Double(if mariadb { f + 0.0 } else { f }))
                .boxed()
        }
        T::Decimal {
            precision,
            scale,
            unsigned,
        } => decimals(*precision, *scale, *unsigned, pg),
        T::Bit { len, varying } => {
            let most = len.unwrap_or(70);
            let least = if *varying { 0 } else { most };
            string(&format!("[01]{{{least},{most}}}"))
                .prop_map(|s| Value::Bit(s.into()))
                .boxed()
        }
        _ => unreachable!("not a number: {ty:?}"),
    }
}

fn string(pattern: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(pattern).unwrap()
}

/// As PostgreSQL prints it; the server's own algorithm, written independently of the one under test.
fn iso(months: i32, days: i32, micros: i64) -> String {
    let mut out = String::from("P");
    let part = |n: i64, unit: &str| {
        if n == 0 {
            String::new()
        } else {
            format!("{n}{unit}")
        }
    };
    out += &part(i64::from(months / 12), "Y");
    out += &part(i64::from(months % 12), "M");
    out += &part(i64::from(days), "D");
    if micros != 0 {
        out += "T";
        out += &part(micros / 3_600_000_000, "H");
        out += &part(micros / 60_000_000 % 60, "M");
        let rest = micros % 60_000_000;
        if rest != 0 {
            let digits = format!("{}.{:06}", rest.abs() / 1_000_000, rest.abs() % 1_000_000);
            out += if rest < 0 { "-" } else { "" };
            out += digits.trim_end_matches('0').trim_end_matches('.');
            out += "S";
        }
    }
    if out == "P" { "PT0S".into() } else { out }
}

fn decimals(precision: Option<u32>, scale: i32, unsigned: bool, pg: bool) -> BoxedStrategy<Value> {
    let digits = precision.unwrap_or(80);
    let sign = if unsigned {
        Just("").boxed()
    } else {
        select(vec!["", "-"]).boxed()
    };
    let any = (
        sign,
        string(&format!("[0-9]{{1,{digits}}}|9{{{digits}}}|[0-9]")),
        0..4usize,
    );
    let any = any.prop_map(move |(sign, digits, free)| {
        let scale = if precision.is_none() {
            i32::try_from(free).unwrap()
        } else {
            scale
        };
        let digits = match usize::try_from(scale) {
            Err(_) => digits + &"0".repeat(usize::try_from(-scale).unwrap()),
            Ok(0) => digits,
            Ok(scale) => {
                let digits = format!("{digits:0>width$}", width = scale + 1);
                format!(
                    "{}.{}",
                    &digits[..digits.len() - scale],
                    &digits[digits.len() - scale..]
                )
            }
        };
        let whole = digits.split('.').next().unwrap().trim_start_matches('0');
        let rest = digits.find('.').map_or("", |point| &digits[point..]);
        let text = format!("{}{rest}", if whole.is_empty() { "0" } else { whole });
        let zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
        Value::Decimal(format!("{}{text}", if zero { "" } else { sign }).into())
    });
    match (pg, precision) {
        (true, None) => prop_oneof![8 => any, 1 => select(vec!["NaN", "Infinity", "-Infinity"]).prop_map(|s| Value::Decimal(s.into()))].boxed(),
        (true, Some(_)) => prop_oneof![8 => any, 1 => Just(Value::Decimal("NaN".into()))].boxed(),
        (false, _) => any.boxed(),
    }
}

fn strings(
    chars: Option<u32>,
    bytes: Option<u64>,
    fixed: bool,
    utf8: bool,
    pg: bool,
) -> BoxedStrategy<Value> {
    let class = match (utf8, pg) {
        (true, true) => "[a-c é漢😀\t]",
        (true, false) => "[a-c é漢😀\t\u{0}]",
        (false, _) => "[a-cé \u{0}]",
    };
    let most = chars.unwrap_or(12);
    let special = select(vec![
        "a",
        "b",
        "é",
        "a,b",
        "1",
        "{}",
        "[1]",
        "P1D",
        "PT0S",
        "-1",
        "01234567-89ab-cdef-3031-3233343536ff",
    ]);
    prop_oneof![3 => string(&format!("{class}{{0,{most}}}")), 1 => special.prop_map(str::to_owned)]
        .prop_map(move |mut text| {
            while text.chars().count() > most as usize || bytes.is_some_and(|limit| text.len() as u64 > limit)
            {
                text.pop();
            }
            Value::Text(
                if fixed {
                    text.trim_end_matches(' ').to_owned()
                } else {
                    text
                }
                .into(),
            )
        })
        .boxed()
}

fn json(normalised: bool, engine: Engine) -> BoxedStrategy<Value> {
    let mut documents = vec![
        "1",
        "[]",
        r#"{"a": 1, "b": [true, null]}"#,
        r#""é😀""#,
        "0.1",
        "1e20",
        "18446744073709551615",
    ];
    if engine == Engine::Postgres || !normalised {
        documents.extend(["18446744073709551616", "0.12345678901234567890", "1e300"]);
    }
    if engine == Engine::Mysql || !normalised {
        documents.push(r#""\u0000""#);
    }
    if !normalised {
        documents.extend([r#"{"a":1,"a":2}"#, " 1 ", "1e9999999"]);
    }
    if engine == Engine::Postgres && !normalised {
        documents.push(r#""\ud800""#);
    }
    select(documents).prop_map(|s| Value::Json(s.into())).boxed()
}

fn fraction(digits: u8) -> BoxedStrategy<String> {
    let trim = |s: String| match s.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    prop_oneof![
        Just(String::new()),
        string(&format!("[0-9]{{{digits}}}")).prop_map(trim)
    ]
    .boxed()
}

fn dates(ty: &ColumnType, engine: Engine) -> BoxedStrategy<Value> {
    let (pg, epoch) = (
        engine.is_postgres(),
        matches!(ty, T::TimestampTz { epoch: true, .. }),
    );
    let real = if epoch { 1971..2038 } else { 1..10_000 };
    let any = (real, 1..13, 1..29).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let odd = match (pg, epoch) {
        (true, _) => vec!["10000-01-01", "infinity", "0044-03-15 BC"],
        (false, true) => vec!["0000-00-00"],
        (false, false) => vec![
            "0000-00-00",
            "2024-00-01",
            "2023-02-29",
            "2024-02-30",
            "0000-12-31",
        ],
    };
    let date = prop_oneof![6 => any, 1 => select(odd).prop_map(str::to_owned)];
    if let T::Date = ty {
        return date.prop_map(|s| Value::Date(s.into())).boxed();
    }
    let (T::Timestamp { fraction: digits } | T::TimestampTz { fraction: digits, .. }) = *ty else {
        unreachable!()
    };
    let moment = matches!(ty, T::TimestampTz { .. });
    (date, 0..24, 0..60, fraction(digits))
        .prop_map(move |(date, hour, minute, fraction)| {
            let text = match date.strip_suffix(" BC") {
                _ if date == "infinity" => date,
                _ if epoch && date == "0000-00-00" => format!("{date} 00:00:00"),
                Some(date) => format!("{date} {hour:02}:{minute:02}:07{fraction} BC"),
                None => format!("{date} {hour:02}:{minute:02}:07{fraction}"),
            };
            if moment {
                Value::TimestampTz(text.into())
            } else {
                Value::Timestamp(text.into())
            }
        })
        .boxed()
}

fn clock(digits: u8, span: bool, mariadb: bool) -> BoxedStrategy<Value> {
    let hours = if span { -838..838i32 } else { 0..24 };
    let any = (hours, 0..60, fraction(digits)).prop_map(|(hours, minutes, fraction)| {
        let sign = if hours < 0 { "-" } else { "" };
        format!("{sign}{:02}:{minutes:02}:01{fraction}", hours.abs())
    });
    let edges = match (span, mariadb && digits > 0) {
        (false, _) => vec!["00:00:00", "24:00:00"],
        (true, false) => vec!["00:00:00", "24:00:00", "-838:59:59", "838:59:59"],
        (true, true) => vec!["838:59:59.5", "-838:59:59.5"],
    };
    prop_oneof![4 => any, 1 => select(edges).prop_map(str::to_owned)]
        .prop_map(|s| Value::Time(s.into()))
        .boxed()
}
