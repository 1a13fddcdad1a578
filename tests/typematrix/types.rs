//! The types of each engine with the values at their edges, as literals of that engine.

use tidelock::playground::Kind;

/// How the last server's text is held against the first one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Same {
    Text,
    /// 1.5 and 1.50 are one number, where the server between keeps another scale.
    Number,
    /// The order of keys and blanks have no meaning.
    Json,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    pub(crate) name: &'static str,
    pub(crate) values: &'static [&'static str],
    /// What no other engine's column takes; between servers of one engine it passes.
    pub(crate) refused: &'static [&'static str],
    /// The same of one engine only, that stands between.
    pub(crate) refused_by: &'static [(Kind, &'static str)],
    /// The type at the end of the way, where the way back into the type itself is refused.
    pub(crate) end: Option<&'static str>,
    pub(crate) same: Same,
}

pub(crate) const fn ty(name: &'static str, values: &'static [&'static str]) -> Type {
    Type {
        name,
        values,
        refused: &[],
        refused_by: &[],
        end: None,
        same: Same::Text,
    }
}

impl Type {
    const fn refused(mut self, refused: &'static [&'static str]) -> Self {
        self.refused = refused;
        self
    }

    const fn refused_by(mut self, refused: &'static [(Kind, &'static str)]) -> Self {
        self.refused_by = refused;
        self
    }

    const fn same(mut self, same: Same) -> Self {
        self.same = same;
        self
    }

    const fn ends_as(mut self, end: &'static str) -> Self {
        self.end = Some(end);
        self
    }
}

/// Before the tables, by the superuser, on every PostgreSQL.
pub(crate) const PRELUDE: &str = "CREATE EXTENSION hstore; CREATE EXTENSION citext; \
    CREATE TYPE public.mood AS ENUM ('sad', 'so ''so'''); CREATE TYPE public.pair AS (a int, b text); \
    CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0)";

#[rustfmt::skip]
pub(crate) const POSTGRES: &[Type] = &[
    ty("smallint", &["-32768", "0", "32767"]),
    ty("integer", &["-2147483648", "2147483647"]),
    ty("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ty("real", &["0", "0.1", "16777216", "3.4028235e38", "-1.17549435e-38", "1.4e-45"]).refused(&["'NaN'", "'Infinity'", "'-Infinity'"]),
    ty("double precision", &["0", "0.1", "0.30000000000000004", "1.7976931348623157e308", "5e-324", "1e23"])
        .refused(&["'NaN'", "'-Infinity'"]).refused_by(&[(Kind::Mariadb, "'-0'")]),
    ty("numeric(65,30)", &["-0.000000000000000000000000000001", "99999999999999999999999999999999999.999999999999999999999999999999"]).refused(&["'NaN'"]),
    ty("numeric", &["0", "-1.50", "12345678901234567890.5"]).same(Same::Number)
        .refused(&["'NaN'", "'Infinity'", "1e40", "0.0000000000000000000000000000001"]),
    ty("numeric(5,-2)", &["12300", "-9999900"]),
    ty("numeric(2,4)", &["0.0099"]),
    ty("boolean", &["true", "false"]),
    ty("positive", &["7"]),
    ty("bit(1)", &["B'0'", "B'1'"]),
    ty("bit(12)", &["B'000000000001'", "B'100000000000'"]),
    ty("bit(64)", &["repeat('1', 64)::bit(64)", "repeat('0', 64)::bit(64)"]),
    ty("bit(70)", &["repeat('10', 35)::bit(70)"]),
    ty("bit varying(9)", &["B''", "B'000000001'", "B'1'"]),
    ty("bit varying", &["B''", "repeat('01', 500)::bit varying"]),
    ty("text", &["''", "' lead and trail '", "'ä🌊日本'", r#"'it''s \ %_`"'"#, r"E'tab\tline\r\nend'", "'e' || chr(769)", "repeat('long 🌊 ', 40000)", "'NULL'"]),
    ty("varchar(50)", &["repeat('🌊', 50)", "''"]),
    ty("char(10)", &["'ab'", "''", "'äöü🌊'"]),
    ty("name", &["'a name'"]),
    ty("\"char\"", &["'x'"]).ends_as("text"),
    ty("citext", &["'MiXed'", "''"]),
    ty("bytea", &[r"'\x'", r"'\x00ff27225c0a0d1a'", "decode(repeat('00ff', 40000), 'hex')"]),
    ty("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'ffffffff-ffff-ffff-ffff-ffffffffff00'"]),
    ty("json", &[r#"'{"b": 1,  "a": [true], "a": 2}'"#, r#"'1e400'"#, r#"'"\u0000"'"#]),
    ty("jsonb", &[r#"'{"b": [true, null, "é🌊"], "a": 1.5, "": {}}'"#, "'[9223372036854775807, 18446744073709551615, 1.25e-7]'", r#"'"q\"\\"'"#, "'null'"])
        .same(Same::Json).refused_by(&[(Kind::Mysql, "'1e400'"), (Kind::Mysql, "'0.1234567890123456789012345'"), (Kind::Mysql, "'[18446744073709551616]'")]),
    ty("mood", &["'sad'", "'so ''so'''"]),
    ty("date", &["'0001-01-01'", "'1582-10-10'", "'2024-02-29'", "'9999-12-31'"])
        .refused(&["'infinity'", "'-infinity'", "'10000-01-01'", "'0044-03-15 BC'"]),
    ty("time(6)", &["'00:00:00'", "'23:59:59.999999'", "'12:00:00.5'", "'24:00:00'"]),
    ty("time(0)", &["'01:02:03'"]),
    ty("time with time zone", &["'12:00:00.5+02'", "'24:00:00-15:59:59'"]).ends_as("text"),
    ty("timestamp(6)", &["'0001-01-01 00:00:00'", "'2024-02-29 12:34:56.7'", "'9999-12-31 23:59:59.999999'"])
        .refused(&["'infinity'", "'10000-01-01 00:00:00'", "'0044-03-15 12:00:00 BC'"]),
    ty("timestamp(0)", &["'2024-02-29 12:34:56'"]),
    ty("timestamptz", &["'2024-07-01 12:00:00+02'", "'1969-12-31 23:59:59+00'", "'9999-12-31 00:00:00+00'"])
        .refused(&["'infinity'", "'0044-03-15 12:00:00+00 BC'"]),
    ty("interval", &["'1 year 2 mons -3 days 04:05:06.789'", "'0'", "'-178956970 years -8 mons'", "'-00:00:00.000001'"]),
    ty("interval day to second(3)", &["'1 day 01:02:03.004'"]),
    ty("integer[]", &["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[0:1]={1,2}'"]),
    ty("text[]", &[r#"'{a,"b c","","NULL",NULL,"\"","\\","é🌊","{}"}'"#, "'{}'"]),
    ty("boolean[]", &["'{t,f}'"]),
    ty("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
    ty("date[]", &["'{2024-02-29}'"]),
    ty("varchar(3)[]", &["'{abc,\"\"}'"]).ends_as("text"),
    ty("numeric[]", &["'{1.50,NaN}'"]).ends_as("text"),
    ty("int4range", &["'[1,5]'", "'empty'", "'(,3)'", "'(,)'"]),
    ty("int8range", &["'[1,9000000000)'"]),
    ty("daterange", &["'[2024-01-01,2024-02-01]'", "'(,2024-01-01)'"]),
    ty("tsrange", &["'[2024-01-01 00:00, 2024-01-02 12:00:00.5)'", "'(2024-01-01 00:00,)'"]),
    ty("tstzrange", &["'[2024-01-01 00:00+02, 2024-01-02 12:00+00]'"]),
    ty("int4multirange", &["'{}'", "'{[1,3),[5,7)}'"]),
    ty("numrange", &["'[1.0,2.50)'"]).ends_as("text"),
    ty("inet", &["'10.0.0.1'", "'10.0.0.1/8'", "'::1'", "'fe80::1/64'", "'::ffff:1.2.3.4'", "'::5'", "'::1:2'"]),
    ty("cidr", &["'10.0.0.0/8'", "'2001:db8::/32'", "'10.0.0.1'"]),
    ty("macaddr", &["'08-00-2B-01-02-03'"]),
    ty("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ty("hstore", &[r#"'"a b"=>"it''s", c=>NULL, "q"=>"\"\\"'"#, "''"]),
    ty("oid", &["0", "4294967295"]),
    ty("xid8", &["'18446744073709551615'"]),
    ty("pg_lsn", &["'16/B374D848'"]).ends_as("text"),
    ty("tsvector", &["'fat:1A cat:3'"]).ends_as("text"),
    ty("point", &["'(1.5,-2)'"]).ends_as("text"),
    ty("pair", &["'(1,\"a b\")'"]).ends_as("text"),
    ty("money", &["'1234.5'"]).ends_as("text"),
    ty("integer GENERATED ALWAYS AS IDENTITY", &["DEFAULT"]).ends_as("integer"),
];

/// Made in a session that takes what MySQL took before it was strict.
#[rustfmt::skip]
pub(crate) const MYSQL: &[Type] = &[
    ty("tinyint", &["-128", "-1", "127"]),
    ty("tinyint(1)", &["0", "1", "-128"]),
    ty("tinyint unsigned", &["0", "255"]),
    ty("smallint", &["-32768", "32767"]),
    ty("smallint unsigned", &["65535"]),
    ty("mediumint", &["-8388608", "-1", "8388607"]),
    ty("mediumint unsigned", &["16777215"]),
    ty("int", &["-2147483648", "2147483647"]),
    ty("int unsigned", &["4294967295"]),
    ty("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ty("bigint unsigned", &["0", "18446744073709551615"]),
    ty("decimal(65,30)", &["99999999999999999999999999999999999.999999999999999999999999999999", "-0.000000000000000000000000000001"]),
    ty("decimal(12,2) unsigned", &["9999999999.99", "0.01"]),
    ty("float", &["0", "0.1", "16777216", "3.4028235e38", "1.4e-45"]),
    ty("double", &["0.1e0", "0.30000000000000004e0", "1.7976931348623157e308", "5e-324", "1e23"]),
    ty("bit(1)", &["b'0'", "b'1'"]),
    ty("bit(12)", &["b'000000000001'", "b'100000000000'"]),
    ty("bit(64)", &["18446744073709551615", "0"]),
    ty("date", &["'0001-01-01'", "'2024-02-29'", "'9999-12-31'"]).refused(&["'0000-00-00'", "'2024-00-10'", "'2024-02-31'", "'2024-01-00'"]),
    ty("time", &["'00:00:00'", "'23:59:59'", "'24:00:00'"]).refused(&["'-00:00:01'", "'24:00:01'", "'838:59:59'"]),
    ty("time(6)", &["'23:59:59.999999'", "'12:00:00.5'"]).refused(&["'-838:59:59'"]),
    ty("datetime", &["'2024-02-29 12:34:56'"]).refused(&["'0000-00-00 00:00:00'", "'2024-02-31 01:02:03'", "'2024-00-01 01:02:03'"]),
    ty("datetime(6)", &["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "'2024-02-29 12:34:56.7'"]),
    ty("timestamp(6) NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999999'"]).refused(&["'0000-00-00 00:00:00'"]),
    ty("timestamp NULL", &["'2024-07-01 10:00:00'"]),
    ty("year", &["0", "1901", "2155"]),
    ty("char(10)", &["'ab'", "''", "'äöü🌊'"]),
    ty("varchar(50)", &["repeat('🌊', 50)", "' lead and trail '", r#"'it''s \\ %_`"'"#, r"'tab\tline\r\nend'"]).refused(&[r"'a\0b'"]),
    ty("varchar(20) CHARACTER SET latin1", &["'é ÿ€'"]),
    ty("varchar(20) CHARACTER SET utf8mb3", &["'日é'"]),
    ty("varchar(20) CHARACTER SET utf16", &["'日🌊'"]),
    ty("tinytext", &["'ä🌊'"]),
    ty("text", &["''", "repeat('x', 65535)"]),
    ty("mediumtext", &["repeat('long 🌊 ', 10000)"]),
    ty("longtext", &["repeat('long 🌊 ', 40000)", "'NULL'"]).refused(&[r"'a\0b'"]),
    ty("binary(4)", &["x'01020000'", "x'00000000'", "x'20202020'"]),
    ty("binary(16)", &["x'a0eebc999c0b4ef8bb6d6bb9bd380a11'"]),
    ty("varbinary(9)", &["''", "x'0000'"]),
    ty("tinyblob", &["x'00ff'"]),
    ty("blob", &["x'00ff27225c0a0d1a'"]),
    ty("longblob", &["unhex(repeat('00ff', 40000))"]),
    ty("enum('sad','so ''so''','a,b')", &["'sad'", "'so ''so'''", "'a,b'"]),
    ty("set('a','b','c')", &["'a,c'", "''", "'a,b,c'"]),
    ty("json", &[r#"'{"b": [true, null, "é🌊"], "a": 1.5, "": {}}'"#, "'[9223372036854775807, 18446744073709551615, 1.25e-7]'", r#"'"q\\"\\\\"'"#])
        .same(Same::Json).refused_by(&[(Kind::Postgres18, r#"'"a\\u0000b"'"#)]),
    ty("int GENERATED ALWAYS AS (id + 1) VIRTUAL", &["DEFAULT"]),
    ty("int GENERATED ALWAYS AS (id + 2) STORED", &["DEFAULT"]),
    ty("int INVISIBLE", &["7"]),
];

/// Beside those of [`MYSQL`].
#[rustfmt::skip]
pub(crate) const MARIADB: &[Type] = &[
    ty("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    ty("inet6", &["'::1'", "'2001:DB8:0::ff'", "'::ffff:1.2.3.4'", "'::5'", "'::1:2'"]),
    ty("inet4", &["'10.0.0.1'", "'0.0.0.0'"]),
];

pub(crate) const ONLY_MYSQL: &[Type] = &[ty("double", &["-0e0"])];

/// Of the page alone: nothing on the other engines holds them.
pub(crate) const NOWHERE: &[&str] = &["geometry"];
