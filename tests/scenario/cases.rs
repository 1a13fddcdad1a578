//! Column types of both engines with the values at their edges.
//!
//! A value is a literal for each engine; the servers themselves say what it means.

use tidelock::playground::Kind;

#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub postgres: &'static str,
    pub mysql: &'static str,
    /// Literals of PostgreSQL and of MySQL for one value.
    pub values: &'static [(&'static str, &'static str)],
    /// What the other engine's column cannot hold, or could not give back.
    pub refused_by_mysql: &'static [&'static str],
    pub refused_by_postgres: &'static [&'static str],
    pub only: Option<Kind>,
}

const fn case(
    postgres: &'static str,
    mysql: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Case {
    Case {
        postgres,
        mysql,
        values,
        refused_by_mysql: &[],
        refused_by_postgres: &[],
        only: None,
    }
}

impl Case {
    const fn refused(
        mut self,
        by_mysql: &'static [&'static str],
        by_postgres: &'static [&'static str],
    ) -> Self {
        self.refused_by_mysql = by_mysql;
        self.refused_by_postgres = by_postgres;
        self
    }

    const fn only(mut self, kind: Kind) -> Self {
        self.only = Some(kind);
        self
    }
}

/// Everything that a pair with this server has.
pub fn cases(kind: Kind) -> Vec<Case> {
    let all = [NUMBERS, TEXTS, TIMES, OTHERS].concat();
    all.into_iter()
        .filter(|case| case.only.is_none_or(|only| only == kind))
        .collect()
}

/// Types that the cases name, made before the tables.
pub const POSTGRES_TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'so ''so''', 'happy', 'elated'); CREATE DOMAIN positive AS integer CHECK (value > 0)";

#[rustfmt::skip]
const NUMBERS: &[Case] = &[
    case("smallint", "smallint NULL", &[("-32768", "-32768"), ("0", "0"), ("32767", "32767")]),
    case("integer", "int NULL", &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    case("bigint", "bigint NULL", &[
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775807", "9223372036854775807"),
    ]),
    case("smallint", "tinyint NULL", &[("-128", "-128"), ("-1", "-1"), ("127", "127")]).refused(&["128", "-129"], &[]),
    case("smallint", "tinyint unsigned NULL", &[("0", "0"), ("128", "128"), ("255", "255")]).refused(&["256", "-1"], &[]),
    case("integer", "smallint unsigned NULL", &[("0", "0"), ("65535", "65535")]).refused(&["65536", "-1"], &[]),
    case("integer", "mediumint NULL", &[("-8388608", "-8388608"), ("-1", "-1"), ("8388607", "8388607")])
        .refused(&["8388608", "-8388609"], &[]),
    case("integer", "mediumint unsigned NULL", &[("0", "0"), ("16777215", "16777215")]).refused(&["16777216"], &[]),
    case("bigint", "int unsigned NULL", &[("0", "0"), ("4294967295", "4294967295")]).refused(&["4294967296", "-1"], &[]),
    case("numeric(20,0)", "bigint unsigned NULL", &[("0", "0"), ("18446744073709551615", "18446744073709551615")])
        .refused(&["18446744073709551616", "-1", "'NaN'"], &[]),
    case("bigint", "bigint unsigned NULL", &[("0", "0"), ("9223372036854775807", "9223372036854775807")])
        .refused(&["-1"], &["9223372036854775808"]),
    case("boolean", "tinyint(1) NULL", &[("true", "1"), ("false", "0")]).refused(&[], &["2", "-1"]),
    case("boolean", "bit(1) NULL", &[("true", "b'1'"), ("false", "b'0'")]),
    case("numeric(65,30)", "decimal(65,30) NULL", &[
        ("99999999999999999999999999999999999.999999999999999999999999999999", "99999999999999999999999999999999999.999999999999999999999999999999"),
        ("-0.000000000000000000000000000001", "-0.000000000000000000000000000001"),
        ("0", "0"),
    ]).refused(&["'NaN'"], &[]),
    case("numeric(12,2)", "decimal(12,2) unsigned NULL", &[("0.01", "0.01"), ("9999999999.99", "9999999999.99")])
        .refused(&["-0.01"], &[]),
    case("numeric", "decimal(10,2) NULL", &[("12345678.90", "12345678.90"), ("-1.00", "-1.00")])
        .refused(&["1.234", "123456789.00", "'Infinity'"], &[]),
    case("real", "float NULL", &[
        ("0", "0"), ("0.1", "0.1"), ("16777216", "16777216"), ("3.4028235e38", "3.4028235e38"), ("-1.17549435e-38", "-1.17549435e-38"),
        ("1.4e-45", "1.4e-45"), ("3.1415927", "3.1415927"),
    ]).refused(&["'NaN'", "'Infinity'", "'-Infinity'"], &[]),
    case("double precision", "double NULL", &[
        ("0", "0"), ("0.1", "0.1e0"), ("0.30000000000000004", "0.30000000000000004e0"),
        ("1.7976931348623157e308", "1.7976931348623157e308"), ("-2.2250738585072014e-308", "-2.2250738585072014e-308"),
        ("5e-324", "5e-324"), ("1e23", "1e23"),
    ]).refused(&["'NaN'", "'Infinity'", "'-Infinity'"], &[]),
    case("double precision", "double NULL", &[("'-0'", "-0e0")]).only(Kind::Mysql),
    case("double precision", "double NULL", &[("1", "1")]).refused(&["'-0'"], &[]).only(Kind::Mariadb),
    case("integer, g integer GENERATED ALWAYS AS (v + 1) STORED", "int NULL, g int GENERATED ALWAYS AS (v + 1) STORED", &[("7", "7")]),
    case("positive", "int NULL", &[("7", "7")]),
];

#[rustfmt::skip]
const TEXTS: &[Case] = &[
    case("varchar(50)", "varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL", &[
        ("''", "''"), ("' lead and trail '", "' lead and trail '"), ("'ä🌊日本'", "'ä🌊日本'"),
        (r#"'it''s \ %_`"'"#, r#"'it''s \\ %_`"'"#), (r"E'tab\tline\r\nend'", r"'tab\tline\r\nend'"),
        ("repeat('🌊', 50)", "repeat('🌊', 50)"), ("'e' || chr(769)", "concat('e', _utf8mb4 x'CC81')"),
    ]),
    case("text", "longtext NULL", &[("repeat('long 🌊 ', 40000)", "repeat('long 🌊 ', 40000)"), ("''", "''"), ("'NULL'", "'NULL'")])
        .refused(&[], &[r"'a\0b'"]),
    case("text", "varchar(5) NULL", &[("'12345'", "'12345'"), ("'🌊🌊🌊🌊🌊'", "'🌊🌊🌊🌊🌊'")]).refused(&["'123456'"], &[]),
    case("text", "varchar(20) CHARACTER SET latin1 NULL", &[("'é ÿ'", "'é ÿ'")]).refused(&["'日'"], &[]),
    case("char(10)", "char(10) NULL", &[("'ab'", "'ab'"), ("''", "''"), ("'äöü🌊'", "'äöü🌊'")]),
    case("bytea", "longblob NULL", &[
        (r"'\x'", "''"), (r"'\x00ff27225c0a0d1a'", "x'00ff27225c0a0d1a'"), (r"decode(repeat('00ff', 40000), 'hex')", "unhex(repeat('00ff', 40000))"),
    ]),
    case("bytea", "varbinary(4) NULL", &[(r"'\x00000000'", "x'00000000'"), (r"'\x'", "''")]).refused(&[r"'\x0102030405'"], &[]),
    case("bytea", "binary(4) NULL", &[(r"'\x01020000'", "x'01020000'"), (r"'\x20202020'", "x'20202020'")])
        .refused(&[r"'\x0102'", r"'\x0102030405'"], &[]),
    case("bit(1)", "bit(1) NULL", &[("B'0'", "b'0'"), ("B'1'", "b'1'")]),
    case("bit(12)", "bit(12) NULL", &[("B'000000000001'", "b'000000000001'"), ("B'100000000000'", "b'100000000000'")]),
    case("bit(64)", "bit(64) NULL", &[("repeat('1', 64)::bit(64)", "18446744073709551615"), ("repeat('0', 64)::bit(64)", "0")]),
];

#[rustfmt::skip]
const TIMES: &[Case] = &[
    case("date", "date NULL", &[
        ("'0001-01-01'", "'0001-01-01'"), ("'1582-10-10'", "'1582-10-10'"), ("'2024-02-29'", "'2024-02-29'"), ("'9999-12-31'", "'9999-12-31'"),
    ]).refused(&["'infinity'", "'-infinity'", "'10000-01-01'", "'0044-03-15 BC'"], &["'0000-00-00'", "'2024-00-10'", "'2024-02-31'"]),
    case("time(6)", "time(6) NULL", &[
        ("'00:00:00'", "'00:00:00'"), ("'23:59:59.999999'", "'23:59:59.999999'"), ("'12:00:00.5'", "'12:00:00.5'"), ("'24:00:00'", "'24:00:00'"),
    ]).refused(&[], &["'-00:00:01'", "'24:00:01'", "'838:59:59'"]),
    case("time(0)", "time NULL", &[("'01:02:03'", "'01:02:03'")]).refused(&[], &["'-01:00:00'"]),
    case("interval", "time(6) NULL", &[
        ("'-838:59:59'", "'-838:59:59'"), ("'838:59:59'", "'838:59:59'"), ("'-00:00:00.5'", "'-00:00:00.5'"), ("'00:00:00'", "'00:00:00'"),
    ]).refused(&["'1 day'", "'1 month'", "'839:00:00'"], &[]),
    case("interval", "varchar(64) NULL", &[("'1 year 2 mons -3 days 04:05:06.789'", "'P1Y2M-3DT4H5M6.789S'"), ("'0'", "'PT0S'")])
        .refused(&[], &["'1 day'", "'PT90M'"]),
    case("timestamp(6)", "datetime(6) NULL", &[
        ("'0001-01-01 00:00:00'", "'0001-01-01 00:00:00'"), ("'2024-02-29 12:34:56.7'", "'2024-02-29 12:34:56.7'"),
        ("'9999-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'"),
    ]).refused(&["'infinity'", "'10000-01-01 00:00:00'", "'0044-03-15 12:00:00 BC'"], &["'0000-00-00 00:00:00'", "'2024-02-31 01:02:03'"]),
    case("timestamp(6)", "datetime(3) NULL", &[("'2024-02-29 12:34:56.789'", "'2024-02-29 12:34:56.789'")])
        .refused(&["'2024-02-29 12:34:56.7891'"], &[]),
    case("timestamptz(6)", "timestamp(6) NULL", &[
        ("'1970-01-01 00:00:01+00'", "'1970-01-01 00:00:01'"), ("'2038-01-19 03:14:07.999999+00'", "'2038-01-19 03:14:07.999999'"),
        ("'2024-07-01 12:00:00+02'", "'2024-07-01 10:00:00'"),
    ]).refused(&["'1969-12-31 23:59:59+00'", "'2038-01-19 03:14:08+00'", "'infinity'"], &["'0000-00-00 00:00:00'"]),
    case("timestamptz(6)", "datetime(6) NULL", &[("'2024-07-01 12:00:00+02'", "'2024-07-01 10:00:00'"), ("'9999-12-31 00:00:00+00'", "'9999-12-31 00:00:00'")])
        .refused(&["'infinity'"], &["'0000-00-00 00:00:00'"]),
    case("smallint", "year NULL", &[("0", "0"), ("1901", "1901"), ("2155", "2155")]).refused(&["1900", "2156"], &[]),
];

#[rustfmt::skip]
const OTHERS: &[Case] = &[
    case("mood", "enum('sad','so ''so''','happy') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL", &[("'sad'", "'sad'"), ("'so ''so'''", "'so ''so'''")])
        .refused(&["'elated'"], &["''"]),
    case("text", "enum('sad','happy') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL", &[("'happy'", "'happy'")]).refused(&["'elated'", "'SAD'"], &[]),
    case("text", "set('a','b','c') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL", &[("'a,c'", "'a,c'"), ("''", "''"), ("'a,b,c'", "'a,b,c'")])
        .refused(&["'c,a'", "'d'"], &[]),
    case("uuid", "binary(16) NULL", &[
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "x'a0eebc999c0b4ef8bb6d6bb9bd380a11'"),
        ("'ffffffff-ffff-ffff-ffff-ffffffffff00'", "x'ffffffffffffffffffffffffffffff00'"),
    ]),
    case("uuid", "char(36) CHARACTER SET ascii COLLATE ascii_bin NULL", &[("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'")])
        .refused(&[], &["'not a uuid'"]),
    case("uuid", "uuid NULL", &[("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'")]).only(Kind::Mariadb),
    case("jsonb", "json NULL", &[
        (r#"'{"b": [true, null, "é🌊"], "a": 1.5, "": {}}'"#, r#"'{"b": [true, null, "é🌊"], "a": 1.5, "": {}}'"#),
        (r#"'[9223372036854775807, -9223372036854775808, 0, 1.25e-7]'"#, r#"'[9223372036854775807, -9223372036854775808, 0, 1.25e-7]'"#),
        (r#"'"text \"quoted\" \\ \u00e9"'"#, r#"'"text \\"quoted\\" \\\\ \\u00e9"'"#), ("'null'", "'null'"), ("'[]'", "'[]'"),
    ]).refused(&["'1e400'", "'0.1234567890123456789012345'"], &[r#"'"a\\u0000b"'"#]).only(Kind::Mysql),
    case("jsonb", "json NULL", &[
        (r#"'{"b": [true, null, "é🌊"], "a": 1.5, "": {}}'"#, r#"'{"b": [true, null, "é🌊"], "a": 1.5, "": {}}'"#), ("'null'", "'null'"),
        ("'[12345678901234567890123]'", "'[12345678901234567890123]'"),
    ]).refused(&[], &[r#"'"a\\u0000b"'"#]).only(Kind::Mariadb),
    case("json", "json NULL", &[(r#"'{"b": [true, null], "a": 1.5}'"#, r#"'{"b": [true, null], "a": 1.5}'"#)]),
];
