//! One wide table with a column for every type of an engine, its own ones included: arrays, ranges, geometries and
//! whatever else only has a meaning between two servers of one engine.
//!
//! Owns: types and values, and comparing both sides by the servers' own texts. A row holds one value of each type.

use crate::harness::{Db, Kind};

const POSTGRES_PRELUDE: &str = "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube; \
     CREATE TYPE mood AS ENUM ('sad', 'so ''so''', 'happy'); \
     CREATE TYPE pair AS (a int, b text); CREATE DOMAIN short AS varchar(5) CHECK (value <> 'no'); \
     CREATE DOMAIN several AS int[]; CREATE DOMAIN two AS pair";

/// Type and literals.
type Column = (&'static str, &'static [&'static str]);

#[rustfmt::skip]
const POSTGRES: &[Column] = &[
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768"]), ("integer", &["2147483647"]), ("bigint", &["-9223372036854775808"]),
    ("numeric", &["'NaN'", "'-Infinity'", "1.000", "-1e-30", "12345678901234567890123456789012345678901234567890.5"]),
    ("numeric(3,-2)", &["12300"]), ("numeric(2,5)", &["0.00012"]),
    ("real", &["'NaN'", "'-0'", "3.4028235e38", "1e-45"]), ("double precision", &["'-Infinity'", "'-0'", "0.1", "5e-324"]),
    ("money", &["-12.34", "'92233720368547758.07'"]),
    ("text", &["''", "E'a\\tb\\r\\n\\\\'", "'NULL'", "repeat('é🌊', 3000)"]), ("varchar(5)", &["'🌊🌊🌊🌊🌊'"]), ("char(5)", &["'ab'"]),
    ("\"char\"", &["'x'"]), ("name", &["'a name'"]), ("citext", &["'CaSe'", "'it''s'"]), ("short", &["'abc'"]),
    ("bytea", &[r"'\x'", r"'\x00ff27225c'"]), ("bit(3)", &["B'101'"]), ("bit varying(9)", &["B''", "B'110'"]), ("bit varying", &["B'0001'"]),
    ("date", &["'infinity'", "'0044-03-15 BC'", "'5874897-12-31'"]),
    ("time", &["'24:00:00'", "'12:34:56.000001'"]), ("time(0)", &["'01:02:03'"]), ("timetz", &["'12:00:00.5+02:30'", "'00:00:00-15:59'"]),
    ("timestamp", &["'infinity'", "'4713-01-01 00:00:00 BC'", "'2024-02-29 12:34:56.7'"]), ("timestamp(0)", &["'2024-02-29 12:34:56'"]),
    ("timestamptz", &["'-infinity'", "'2024-07-01 12:00:00.5+02'", "'0044-03-15 12:00:00+00 BC'"]),
    ("interval", &["'1 year -2 mons 3 days -04:05:06.789'", "'0'", "'-1 month'"]), ("interval day to minute", &["'3 days 04:05'"]), ("interval(3)", &["'1.234 s'"]),
    ("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    ("json", &[r#"'{"b": 1.00, "a":[ null ], "b": 2}'"#, "'null'"]), ("jsonb", &[r#"'{"b": 1.00, "a": [null, 1e400]}'"#, "'null'"]),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]), ("xml", &["'<a b=\"c\">d</a>'"]),
    ("mood", &["'so ''so'''"]), ("mood[]", &["'{sad,\"so ''so''\"}'"]),
    ("integer[]", &["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[0:1]={5,6}'"]),
    ("text[]", &[r#"ARRAY['a,b', '"q"', '\', NULL, 'NULL', '', '{}']"#]), ("numeric(10,2)[]", &["'{1.50,NULL}'"]),
    ("timestamptz[]", &["'{2024-07-01 12:00:00+02,infinity}'"]), ("bytea[]", &[r"ARRAY['\x00ff'::bytea]"]), ("char(3)[]", &["'{a,abc}'"]),
    ("bit(3)[]", &["'{101}'"]), ("interval[]", &["'{1 day,-1 month}'"]), ("several", &["'{1,2}'"]),
    ("int4range", &["'[1,10)'", "'empty'", "'(,5)'"]), ("numrange", &["'(1.0,2.50]'"]), ("daterange", &["'[2024-01-01,)'"]),
    ("tstzrange", &["'[2024-07-01 12:00:00+02,infinity)'"]), ("int8multirange", &["'{[1,3),[5,9)}'"]),
    ("inet", &["'10.0.0.1'", "'10.0.0.1/8'", "'::1'"]), ("cidr", &["'10.0.0.0/8'", "'10.1.2.3/32'"]), ("macaddr", &["'08:00:2b:01:02:03'"]), ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("point", &["'(1.5,-0.1)'", "'(NaN,Infinity)'"]), ("line", &["'{1,-1,0}'"]), ("lseg", &["'[(0,0),(1,1)]'"]), ("box", &["'(2,2),(0,0)'"]),
    ("path", &["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"]), ("polygon", &["'((0,0),(1,1),(1,0))'"]), ("circle", &["'<(0.1,0),2>'"]), ("box[]", &["'{(2,2),(0,0);(1,1),(0,0)}'"]),
    ("tsvector", &[r#"'''it''''s'':1A fat:2'"#]), ("tsquery", &["'fat & !rat'"]),
    ("hstore", &[r#"'"a b"=>"it''s", c=>NULL'"#, "''"]), ("ltree", &["'top.science'"]), ("cube", &["'(0,1),(2,3)'"]),
    ("pair", &[r#"ROW(1, 'x,"y"')"#, "ROW(NULL, '')"]), ("pair[]", &["ARRAY[ROW(1, 'b,c')::pair, NULL]"]), ("two", &["ROW(7, NULL)"]),
    ("oid", &["4294967295"]), ("pg_lsn", &["'16/B374D848'"]), ("xid8", &["'18446744073709551615'"]), ("pg_snapshot", &["'10:20:10,14'"]),
    ("integer GENERATED ALWAYS AS (3 + 4) STORED", &[]),
];

/// MySQL and MariaDB spell these alike.
#[rustfmt::skip]
const MYSQL: &[Column] = &[
    ("tinyint", &["-128"]), ("tinyint unsigned", &["255"]), ("tinyint(1)", &["2", "0"]), ("smallint unsigned", &["65535"]), ("mediumint", &["-1", "-8388608"]),
    ("int unsigned", &["4294967295"]), ("bigint unsigned", &["18446744073709551615"]), ("int(7) zerofill", &["42"]),
    ("decimal(65,30)", &["99999999999999999999999999999999999.999999999999999999999999999999", "-0.1"]), ("decimal(5,2) unsigned", &["0.10"]),
    ("float", &["0.1", "3.4028235e38"]), ("double", &["0.1e0", "5e-324"]), ("float(7,2)", &["12.34"]), ("double unsigned", &["1.5e0"]),
    ("bit(1)", &["b'1'"]), ("bit(64)", &["18446744073709551615", "0"]), ("bit(10)", &["b'101'"]), ("year", &["0", "2155"]),
    ("date", &["'0000-00-00'", "'2024-02-00'", "'2024-02-31'", "'9999-12-31'"]), ("time(6)", &["'-838:59:59'", "'838:59:59'", "'-00:00:00.5'"]), ("time", &["'00:00:00'"]),
    ("datetime(6)", &["'0000-00-00 00:00:00'", "'2024-02-31 01:02:03.5'", "'9999-12-31 23:59:59.999999'"]), ("datetime", &["'2024-02-29 12:34:56'"]),
    ("timestamp(6) NULL", &["'0000-00-00 00:00:00'", "'2038-01-19 03:14:07.999999'", "'1970-01-01 00:00:01'"]), ("timestamp(3) NULL", &["'2024-02-29 12:34:56.789'"]),
    ("char(10)", &["'ab'", "'🌊'"]), ("varchar(50)", &["' lead and trail '", r#"'it''s "%_`'"#]), ("varchar(20) CHARACTER SET latin1", &["'é ÿ'"]), ("text CHARACTER SET utf16", &["'🌊'"]),
    ("tinytext", &["'x'"]), ("longtext", &["repeat('long 🌊 ', 4000)", "''"]), ("char(5) CHARACTER SET binary", &["x'00ff'"]),
    ("binary(4)", &["x'0102'", "x'20202020'"]), ("varbinary(9)", &["x'00'", "''"]), ("blob", &["x'00ff27225c0a'"]), ("longblob", &["unhex(repeat('00ff', 4000))"]),
    ("enum('q','it''s','ä')", &["'it''s'", "'ä'"]), ("set('x','y','z')", &["'x,z'", "''", "'x,y,z'"]), ("enum('q') CHARACTER SET latin1", &["'q'"]),
    ("json", &[r#"'{"b": [true, null, "é🌊"], "a": 1.5, "": {}}'"#, "'null'", "'1'", r#"'"it''s"'"#]),
];

/// Types of one of the two only.
#[rustfmt::skip]
const GEOMETRIES: &[Column] = &[
    ("geometry", &["ST_GeomFromText('POINT(1 -2.5)')", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')"]),
    ("point", &["ST_GeomFromText('POINT(1 2)', 4326)"]), ("linestring", &["ST_GeomFromText('LINESTRING(0 0,1 1)')"]),
    ("polygon", &["ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))')"]), ("multipoint", &["ST_GeomFromText('MULTIPOINT(0 0,1 1)')"]),
    ("multipolygon", &["ST_GeomFromText('MULTIPOLYGON(((0 0,0 1,1 1,0 0)))')"]),
];
const ONLY_MYSQL: &[Column] = &[
    ("vector(3)", &["STRING_TO_VECTOR('[1,-2.5,1e10]')"]),
    ("double", &["-0e0"]),
];
const ONLY_MARIADB: &[Column] = &[
    ("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    ("inet4", &["'10.0.0.1'"]),
    (
        "inet6",
        &["'::1'", "'::ffff:1.2.3.4'", "'2001:db8::'", "'::1.2.3.4'"],
    ),
];

/// Whose hex digits would be those of a whole number, or which have none.
const PRINTED: &[&str] = &[
    "tinyint", "small", "medium", "int", "big", "decimal", "date", "time", "year", "inet", "uuid", "json",
];

/// What both kinds of server have.
fn columns(a: Kind, b: Kind) -> Vec<Column> {
    if a.is_postgres() {
        return POSTGRES.to_vec();
    }
    let more: &[&[Column]] = match (a, b) {
        (Kind::Mysql, Kind::Mysql) => &[MYSQL, GEOMETRIES, ONLY_MYSQL],
        (Kind::Mariadb, Kind::Mariadb) => &[MYSQL, GEOMETRIES, ONLY_MARIADB],
        _ => &[MYSQL],
    };
    more.concat()
}

pub const NAME: &str = "own";

/// The table for two servers that both are PostgreSQL, or both are not.
pub struct Own {
    columns: Vec<Column>,
}

impl Own {
    /// `None`: the two have no types of their own in common.
    pub fn of(a: Kind, b: Kind) -> Option<Self> {
        (a.is_postgres() == b.is_postgres()).then(|| Self {
            columns: columns(a, b),
        })
    }

    pub async fn create(&self, db: &Db) {
        if db.kind().is_postgres() {
            db.exec(POSTGRES_PRELUDE).await;
        }
        let columns = self.columns.iter().enumerate();
        let columns: Vec<String> = columns.map(|(n, (ty, _))| format!("c{n} {ty}")).collect();
        db.exec(&format!(
            "CREATE TABLE {NAME} (id int NOT NULL PRIMARY KEY, {})",
            columns.join(", ")
        ))
        .await;
    }

    /// Rows with every value, inserted.
    pub async fn insert(&self, db: &Db, base: usize) {
        let mut session = lax(db).await;
        for (n, row) in self.rows().iter().enumerate() {
            let names: Vec<&str> = row.iter().map(|(name, _)| name.as_str()).collect();
            let values: Vec<&str> = row.iter().map(|(_, literal)| *literal).collect();
            session
                .exec(&format!(
                    "INSERT INTO {NAME} (id, {}) VALUES ({}, {})",
                    names.join(", "),
                    base + n,
                    values.join(", ")
                ))
                .await;
        }
    }

    /// Rows of NULLs that get the values by an update, rows with the values that lose them, and a column for itself.
    pub async fn update(&self, db: &Db, base: usize) {
        self.insert(db, base).await;
        let mut session = lax(db).await;
        for (n, row) in self.rows().iter().enumerate() {
            let (full, empty) = (base + n, base + 50 + n);
            let set: Vec<String> = row
                .iter()
                .map(|(name, literal)| format!("{name} = {literal}"))
                .collect();
            let unset: Vec<String> = row.iter().map(|(name, _)| format!("{name} = NULL")).collect();
            session
                .exec(&format!("INSERT INTO {NAME} (id) VALUES ({empty})"))
                .await;
            session
                .exec(&format!(
                    "UPDATE {NAME} SET {} WHERE id = {empty}",
                    set.join(", ")
                ))
                .await;
            if n % 2 == 0 {
                session
                    .exec(&format!(
                        "UPDATE {NAME} SET {} WHERE id = {full}",
                        unset.join(", ")
                    ))
                    .await;
            }
        }
        let (name, literal) = &self.rows()[0][0];
        session
            .exec(&format!("UPDATE {NAME} SET {name} = {literal} WHERE id = {base}"))
            .await;
        session
            .exec(&format!("DELETE FROM {NAME} WHERE id = {}", base + 1))
            .await;
    }

    /// The n-th row has the n-th value of each type that has so many.
    fn rows(&self) -> Vec<Vec<(String, &'static str)>> {
        let longest = self
            .columns
            .iter()
            .map(|(_, values)| values.len())
            .max()
            .unwrap_or(0);
        let row = |n: usize| {
            let columns = self.columns.iter().enumerate();
            columns
                .filter_map(|(index, (_, values))| Some((format!("c{index}"), *values.get(n)?)))
                .collect()
        };
        (0..longest).map(row).collect()
    }

    /// The first cell that differs, by each server's own text of it.
    pub async fn difference(&self, a: &Db, b: &Db) -> Option<String> {
        let (left, right) = (self.read(a).await, self.read(b).await);
        assert!(!left.is_empty(), "there is nothing to compare");
        for (one, other) in left.iter().zip(&right) {
            let cell = one.iter().zip(other).position(|(x, y)| x != y);
            if let Some(cell) = cell {
                let what = match cell {
                    0 => "the id",
                    n => self.columns[n - 1].0,
                };
                return Some(format!(
                    "row {:?}: {what}: {:?} / {:?}",
                    one[0], one[cell], other[cell]
                ));
            }
        }
        (left.len() != right.len()).then(|| format!("{} / {} rows", left.len(), right.len()))
    }

    async fn read(&self, db: &Db) -> Vec<Vec<Option<String>>> {
        let is = |n: usize, names: &[&str]| names.iter().any(|name| self.columns[n].0.starts_with(name));
        let text = |n: usize| match db.kind().is_postgres() {
            true => format!("c{n}::text"),
            false if is(n, PRINTED) => format!("CAST(c{n} AS CHAR)"),
            false if is(n, &["float", "double"]) => format!("c{n} + 0e0"),
            false => format!("hex(c{n})"),
        };
        let cells: Vec<String> = (0..self.columns.len()).map(text).collect();
        let sql = format!("SELECT id, {} FROM {NAME} ORDER BY id", cells.join(", "));
        let mut rows = db.rows(&sql).await;
        // MySQL writes JSON anew, MariaDB keeps what it was given.
        let json = (0..self.columns.len()).filter(|&n| !db.kind().is_postgres() && is(n, &["json"]));
        for n in json {
            for cell in rows.iter_mut().filter_map(|row| row[n + 1].as_mut()) {
                let mut value: serde_json::Value = serde_json::from_str(cell).unwrap();
                value.sort_all_objects();
                *cell = value.to_string();
            }
        }
        rows
    }
}

async fn lax(db: &Db) -> crate::harness::Session {
    let mut session = db.session().await;
    if !db.kind().is_postgres() {
        session
            .exec("SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
            .await;
    }
    session
}
