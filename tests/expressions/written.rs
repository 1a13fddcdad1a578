//! Expressions at random, as a person could write them: some that are offered and fit the table of `edges`, and some that
//! are not. A seed makes the same ones again.

/// xorshift64*: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const NUMBERS: [&str; 6] = ["n", "s", "u", "big", "price", "free"];
const NUMBER_LITERALS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "7.5",
    "-0.0",
    "0.01",
    "32767",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "12.3400000000",
    "-99999999999999999999.0000000001",
];
const TEXTS: [&str; 3] = ["name", "latin", "code"];
const TEXT_LITERALS: [&str; 16] = [
    "''",
    "' '",
    "'a'",
    "'A'",
    "'a '",
    "'é'",
    "'É'",
    "'straße'",
    "'STRASSE'",
    "'it''s'",
    "'😀'",
    "'İstanbul'",
    "'EU'",
    "'50%'",
    "'new'",
    "'Ωmega ᾳ'",
];
const PATTERNS: [&str; 13] = [
    "'%'",
    "''",
    "'a%'",
    "'A%'",
    "'%a'",
    "'_'",
    "'__'",
    "'%ß%'",
    "'%é%'",
    "'% '",
    "'%!%' ESCAPE '!'",
    "'_%e%'",
    "'%😀%'",
];
const DAYS: [&str; 6] = [
    "'2026-02-28'",
    "'2024-02-29'",
    "'1970-01-01'",
    "'0001-01-01'",
    "'9999-12-31'",
    "'2000-12-31'",
];
const MOMENTS: [&str; 5] = [
    "'2026-02-28 12:00:00'",
    "'2026-02-28 12:00:00.000001'",
    "'2026-02-28T23:59:59.999999'",
    "'2026-02-28'",
    "'1970-01-01 00:00:01'",
];
const TIMES: [&str; 4] = ["'00:00:00'", "'13:05:00'", "'23:59:59.999999'", "'24:00:00'"];
const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// What is not offered, or does not fit: `{n}` and `{t}` stand for a number and a text.
const REFUSED: [&str; 36] = [
    "{n} / 2",
    "{n} % 2 = 1",
    "CONCAT({t}, 'a')",
    "SUBSTRING({t} FROM 0)",
    "SUBSTRING({t} FROM -2 FOR 3)",
    "SUBSTRING({t}, 2, -1)",
    "EXTRACT(SECOND FROM at)",
    "EXTRACT(DOW FROM day)",
    "EXTRACT(WEEK FROM day)",
    "EXTRACT(HOUR FROM day)",
    "EXTRACT(YEAR FROM {t})",
    "TRIM('x' FROM {t})",
    "SPLIT_PART({t}, {t}, 1)",
    "SPLIT_PART({t}, ' ', 0)",
    "TRIM(BOTH {t} FROM {t})",
    "{t} = 5",
    "{n} = '5'",
    "{t} + 1",
    "{n} || {t}",
    "LOWER({n})",
    "{t} ILIKE 'a'",
    "{n} LIKE '1%'",
    "COALESCE({n}, {t})",
    "COALESCE(at, seen)",
    "CASE WHEN {n} > 1 THEN {t} ELSE {n} END",
    "CASE WHEN {t} THEN 1 END",
    "CAST({t} AS int)",
    "CAST(price AS TEXT)",
    "ROUND({n})",
    "GREATEST({n}, 1)",
    "now()",
    "{n} = NULL",
    "nothing",
    "f > 1.5",
    "f || {t}",
    "kind < 'new'",
];

impl Random {
    fn literal(&mut self, depth: usize) -> bool {
        depth == 0 && self.below(3) == 0
    }

    pub fn number(&mut self, depth: usize) -> String {
        if self.literal(depth) {
            return self.one(&NUMBER_LITERALS).to_owned();
        }
        self.calculated(depth)
    }

    /// No literal alone.
    fn calculated(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.one(&NUMBERS).to_owned();
        }
        let below = depth - 1;
        match self.below(10) {
            0 | 1 => {
                let operator = self.one(&["+", "-", "*"]);
                format!("({} {operator} {})", self.calculated(below), self.number(below))
            }
            2 => format!("(- {})", self.calculated(below)),
            3 => format!("ABS({})", self.calculated(below)),
            4 => format!(
                "COALESCE({}, NULL, {})",
                self.calculated(below),
                self.number(below)
            ),
            5 => format!("NULLIF({}, {})", self.calculated(below), self.number(below)),
            6 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.truth(below),
                self.number(below),
                self.calculated(below)
            ),
            7 => format!(
                "EXTRACT({} FROM day)",
                self.one(&["YEAR", "MONTH", "DAY", "QUARTER"])
            ),
            8 => format!(
                "EXTRACT({} FROM {})",
                self.one(&["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "QUARTER"]),
                self.one(&["at", "seen"])
            ),
            _ => format!("EXTRACT({} FROM clock)", self.one(&["HOUR", "MINUTE"])),
        }
    }

    pub fn text(&mut self, depth: usize) -> String {
        if self.literal(depth) {
            return self.one(&TEXT_LITERALS).to_owned();
        }
        self.composed(depth)
    }

    /// No literal alone.
    fn composed(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.one(&TEXTS).to_owned();
        }
        let below = depth - 1;
        match self.below(11) {
            0 | 1 => format!("({} || {})", self.composed(below), self.text(below)),
            2 => format!(
                "SPLIT_PART({}, {}, {})",
                self.composed(below),
                self.one(&["' '", "'a'", "'😀'", "'É'", "'ß'", "'_'", "'  '"]),
                1 + self.below(3)
            ),
            10 => format!("LOWER({})", self.composed(below)),
            3 => format!("UPPER({})", self.composed(below)),
            4 => {
                let ends = self.one(&["", "BOTH ' ' FROM ", "LEADING ' ' FROM ", "TRAILING ' ' FROM "]);
                format!("TRIM({ends}{})", self.composed(below))
            }
            5 => format!(
                "SUBSTRING({} FROM {} FOR {})",
                self.composed(below),
                1 + self.below(6),
                self.below(5)
            ),
            6 => format!("SUBSTRING({}, {})", self.composed(below), 1 + self.below(4)),
            7 => format!("COALESCE({}, {})", self.composed(below), self.text(below)),
            8 => format!(
                "CASE {} WHEN {} THEN {} WHEN {} THEN NULL ELSE {} END",
                self.composed(below),
                self.text(below),
                self.text(below),
                self.text(0),
                self.composed(below)
            ),
            _ => format!(
                "CAST({} AS TEXT)",
                self.one(&["n", "s", "u", "(n * s)", "EXTRACT(DAY FROM day)"])
            ),
        }
    }

    fn day(&mut self) -> String {
        match self.below(4) {
            0 => format!("COALESCE(day, {})", self.one(&DAYS)),
            1 => format!("NULLIF(day, {})", self.one(&DAYS)),
            _ => "day".to_owned(),
        }
    }

    fn moment(&mut self) -> String {
        let column = self.one(&["at", "seen"]);
        match self.below(4) {
            0 => format!("COALESCE({column}, {})", self.one(&MOMENTS)),
            1 => format!("CASE WHEN {} THEN {column} END", self.truth(0)),
            _ => column.to_owned(),
        }
    }

    pub fn truth(&mut self, depth: usize) -> String {
        let below = depth.saturating_sub(1);
        let comparison = self.one(&COMPARISONS);
        match self.below(if depth == 0 { 10 } else { 15 }) {
            0 => format!("{} {comparison} {}", self.calculated(below), self.number(below)),
            1 => format!("{} {comparison} {}", self.composed(below), self.text(below)),
            2 => format!("{} {comparison} {}", self.day(), self.one(&DAYS)),
            3 => format!("{} {comparison} {}", self.moment(), self.one(&MOMENTS)),
            4 => format!("clock {comparison} {}", self.one(&TIMES)),
            5 => format!("{} LIKE {}", self.composed(below), self.one(&PATTERNS)),
            6 => format!(
                "{} IN ({}, {}, NULL)",
                self.calculated(below),
                self.one(&NUMBER_LITERALS),
                self.one(&NUMBER_LITERALS)
            ),
            7 => format!(
                "{} NOT IN ({}, {})",
                self.composed(below),
                self.one(&TEXT_LITERALS),
                self.one(&TEXT_LITERALS)
            ),
            8 => match self.below(4) {
                0 => "flag".to_owned(),
                1 => "flag = FALSE".to_owned(),
                2 => "kind = 'open'".to_owned(),
                _ => "kind IN ('new', 'Done')".to_owned(),
            },
            9 => format!("{} BETWEEN -1 AND {}", self.calculated(below), self.number(below)),
            10 | 11 => {
                let operator = self.one(&["AND", "OR"]);
                format!("({} {operator} {})", self.truth(below), self.truth(below))
            }
            12 => format!("NOT ({})", self.truth(below)),
            13 => format!("{} IS NULL", self.composed(below)),
            _ => format!("({}) = ({})", self.truth(below), self.truth(below)),
        }
    }

    pub fn any(&mut self) -> String {
        let depth = self.below(4);
        match self.below(8) {
            0..=2 => self.truth(depth),
            3 | 4 => self.text(depth),
            5 | 6 => self.number(depth),
            _ => match self.below(3) {
                0 => self.day(),
                1 => self.moment(),
                _ => format!("COALESCE(clock, {})", self.one(&TIMES)),
            },
        }
    }

    pub fn refused(&mut self) -> String {
        let wrong = self.one(&REFUSED);
        let wrong = wrong
            .replace("{n}", self.one(&NUMBERS))
            .replace("{t}", self.one(&TEXTS));
        match self.below(3) {
            0 => format!("COALESCE({wrong}, {wrong}) IS NULL"),
            1 => format!("CASE WHEN flag THEN {wrong} END IS NULL"),
            _ => wrong,
        }
    }
}
