//! One test per row of the type table, with the values at its edges. `back` goes there and back again.
#![allow(clippy::unwrap_used)]

mod numbers;
mod texts;
mod times;

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
    is_refused(&opaque("integer[]", Postgres), &text(None, Postgres));
    is_refused(&text(None, Postgres), &opaque("integer[]", Postgres));
    is_refused(&opaque("geometry", Mysql), &text(None, Postgres));
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

/// To another engine they go as text, and come back where their output has one form.
#[test]
fn other_types_are_text_to_other_engines() {
    let opaque = |name: &str, engine| (T::Opaque { name: name.into() }, engine);
    let printed = |text: &str| Value::Opaque(text.into());
    for (name, there) in [
        ("integer[]", "{1,2}"),
        ("public.hstore", "\"a\"=>NULL"),
        ("inet", "10.0.0.1/8"),
        ("int4range", "[1,5)"),
    ] {
        let source = opaque(name, Postgres);
        back(printed(there), &source, &text(None, Mysql), txt(there));
        refuses(
            txt(&there.replace(['{', '[', '1', '"'], " ")),
            &text(None, Mysql),
            &source,
        );
    }
    assert_eq!(
        go(printed("(1,2)"), &opaque("point", Postgres), &text(None, Mariadb)),
        Some(txt("(1,2)"))
    );
    is_refused(&text(None, Mariadb), &opaque("point", Postgres));
    let (inet, inet6) = (opaque("inet", Postgres), opaque("inet6", Mariadb));
    back(printed("::5"), &inet, &inet6, printed("::5"));
    for other in ["10.0.0.1", "::1/64"] {
        refuses(printed(other), &inet, &inet6);
    }
    back(txt("::5"), &text(None, Mysql), &inet6, printed("::5"));
    is_refused(&opaque("cidr", Postgres), &inet6);
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
    let geometry = T::Opaque {
        name: "geometry".into(),
    };
    let Verdict::Refused(why) = say(&(geometry, Mysql), &text(None, Postgres)) else {
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
    let opaque = |name: &str| T::Opaque { name: name.into() };
    for (name, engine, can) in [
        ("inet", Postgres, true),
        ("int4range", Postgres, true),
        ("text[]", Postgres, true),
        ("numrange", Postgres, false),
        ("numeric[]", Postgres, false),
        ("other.inet", Postgres, false),
        ("citext", Postgres, false),
        ("inet6", Mariadb, true),
        ("geometry", Mysql, false),
        ("inet", Mysql, false),
    ] {
        assert_eq!(can_be_key(&opaque(name), engine).is_ok(), can, "{name}");
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
