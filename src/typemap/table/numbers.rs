//! Rows of the type table: integers, booleans, decimals, floats, years and bit strings.

use super::*;

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
    refuses(Value::Float(-0.0), &float, &(T::Double, Mariadb));
    refuses(Value::Double(-0.0), &double, &(T::Double, Mariadb));
    back(
        Value::Double(0.0),
        &double,
        &(T::Double, Mariadb),
        Value::Double(0.0),
    );
    let rounding = Column {
        sql_type: "double(10,2)".into(),
        ..column(T::Double)
    };
    assert!(cast(Value::Double(1.0), &T::Double, Postgres, &rounding, Mysql).is_err());
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
    back(
        Value::Bit("0101".into()),
        &varying,
        &text(None, Mysql),
        txt("0101"),
    );
    back(
        Value::Bit("0101".into()),
        &bit(4, Postgres),
        &chars(4, false, Mysql),
        txt("0101"),
    );
    refuses(txt("01"), &text(None, Mysql), &bit(4, Postgres));
    refuses(txt("012"), &text(None, Mysql), &varying);
    is_refused(&bit(4, Postgres), &bit(5, Mysql));
}
