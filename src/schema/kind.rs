//! Which expressions certainly mean the same on every engine, by the types of the columns that they read.
//!
//! Owns: the kind of an expression ([`kind`]), the casts that change nothing ([`widens`]), and the columns whose collation
//! has a say ([`compared`]).
//! Refuses: arithmetic on dates, spans and texts, the order of texts and ENUMs, comparing what is of two kinds: `None`.
//! Pure.

use super::expression::Expression;
use crate::model::schema::{Column, ColumnType, Engine};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Int,
    /// MySQL lets no difference of such fall below zero.
    Unsigned,
    Decimal,
    Float,
    Text,
    Date,
    Timestamp,
    Enum,
}

impl Kind {
    fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Unsigned | Kind::Decimal | Kind::Float)
    }

    /// May a column of this kind be computed by an expression of `other`?
    pub fn takes(self, other: Kind) -> bool {
        match (self, other) {
            (_, Kind::Null) => true,
            (Kind::Enum, _) | (Kind::Int | Kind::Unsigned | Kind::Decimal, Kind::Float) => false,
            _ => self == other || (self.is_number() && other.is_number()),
        }
    }
}

/// Whose columns an expression reads.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub columns: &'a [Column],
    pub engine: Engine,
}

pub fn of_type(ty: &ColumnType) -> Option<Kind> {
    Some(match ty {
        ColumnType::Bool => Kind::Bool,
        ColumnType::Int { unsigned: false, .. } => Kind::Int,
        ColumnType::Int { unsigned: true, .. } => Kind::Unsigned,
        ColumnType::Decimal { .. } => Kind::Decimal,
        ColumnType::Float | ColumnType::Double => Kind::Float,
        ColumnType::Text { .. } => Kind::Text,
        ColumnType::Date => Kind::Date,
        ColumnType::Timestamp { .. } => Kind::Timestamp,
        ColumnType::Enum { .. } => Kind::Enum,
        _ => return None,
    })
}

/// `None`: it may mean something else on another engine.
pub fn kind(expression: &Expression, known: Known<'_>) -> Option<Kind> {
    known.of(expression)
}

/// Does a cast to this type of PostgreSQL leave the value, and what is done with it, as it is?
pub fn widens(inner: &Expression, ty: &str, known: Known<'_>) -> bool {
    let column = match inner {
        Expression::Column(name) => known.column(name).map(|column| &column.ty),
        _ => None,
    };
    let is_small = matches!(
        column,
        Some(ColumnType::Int {
            bits: ..=32,
            unsigned: false
        })
    );
    match (known.of(inner), ty) {
        (Some(Kind::Text), "text" | "character varying" | "varchar") => true,
        (Some(Kind::Text), "bpchar") => matches!(column, Some(ColumnType::Text { fixed: true, .. })),
        (Some(Kind::Int | Kind::Unsigned), "bigint" | "numeric") | (Some(Kind::Decimal), "numeric") => true,
        (Some(Kind::Int), "integer" | "double precision") => is_small,
        (Some(Kind::Float), "double precision") => true,
        _ => false,
    }
}

/// The columns that something is compared with.
pub fn compared(expression: &Expression) -> Vec<&str> {
    match expression {
        Expression::Binary(_, "+" | "-" | "*", _) => Vec::new(),
        Expression::Binary(..) | Expression::In(..) | Expression::Like(..) => expression.columns(),
        Expression::Call("nullif", _) => expression.columns(),
        _ => expression.parts().into_iter().flat_map(compared).collect(),
    }
}

impl Known<'_> {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn of(&self, expression: &Expression) -> Option<Kind> {
        match expression {
            Expression::Column(name) => of_type(&self.column(name)?.ty),
            Expression::Number(digits) if digits.contains(['e', 'E']) => None,
            Expression::Number(digits) if digits.contains('.') => Some(Kind::Decimal),
            Expression::Number(_) => Some(Kind::Int),
            Expression::Text(_) => Some(Kind::Text),
            Expression::Bool(_) => Some(Kind::Bool),
            Expression::Null => Some(Kind::Null),
            Expression::Bits(_) | Expression::Bytes(_) | Expression::Moment(_) | Expression::Uuid => None,
            Expression::All(parts) | Expression::Any(parts) => self.every(parts, Kind::Bool),
            Expression::Not(part) => self.every(std::slice::from_ref(part), Kind::Bool),
            Expression::IsNull(part) => match &**part {
                Expression::Column(name) => self.column(name).map(|_| Kind::Bool),
                part => self.of(part).map(|_| Kind::Bool),
            },
            Expression::Binary(left, sign @ ("+" | "-" | "*"), right) => self.arithmetic(left, sign, right),
            Expression::Binary(left, sign, right) => {
                let is_equal = ["=", "<>"].contains(sign);
                self.comparable(left, is_equal, right).then_some(Kind::Bool)
            }
            Expression::In(left, list) => {
                let mut list = list.iter();
                list.all(|item| self.comparable(left, true, item))
                    .then_some(Kind::Bool)
            }
            Expression::Like(part, _) => {
                let is_text = self.of(part) == Some(Kind::Text) && self.is_exact(part);
                (is_text && !self.is_padded(part)).then_some(Kind::Bool)
            }
            Expression::Call(function, arguments) => self.call(function, arguments),
            Expression::Concat(parts) => self.every(parts, Kind::Text),
        }
    }

    fn every<E: std::borrow::Borrow<Expression>>(&self, parts: &[E], kind: Kind) -> Option<Kind> {
        let mut parts = parts.iter();
        parts
            .all(|part| self.of(part.borrow()) == Some(kind))
            .then_some(kind)
    }

    fn call(&self, function: &str, arguments: &[Expression]) -> Option<Kind> {
        let kinds: Option<Vec<Kind>> = arguments.iter().map(|part| self.of(part)).collect();
        match (function, kinds?.as_slice()) {
            ("lower" | "upper", [Kind::Text]) => Some(Kind::Text),
            ("abs", [kind]) if kind.is_number() => Some(*kind),
            // Halves of a float go either way.
            ("round", [kind @ (Kind::Int | Kind::Unsigned | Kind::Decimal)]) => Some(*kind),
            ("round", [kind @ (Kind::Int | Kind::Unsigned | Kind::Decimal), Kind::Int]) => Some(*kind),
            ("char_length", [Kind::Text]) => Some(Kind::Int),
            ("octet_length", [Kind::Text]) => {
                let part = arguments.first()?;
                (!self.is_padded(part) && self.is_utf8(part)).then_some(Kind::Int)
            }
            ("coalesce", [first, rest @ ..]) => rest.iter().all(|kind| kind == first).then_some(*first),
            ("nullif", [first, _]) => {
                let [left, right] = arguments else {
                    return None;
                };
                self.comparable(left, true, right).then_some(*first)
            }
            _ => None,
        }
    }

    fn arithmetic(&self, left: &Expression, sign: &str, right: &Expression) -> Option<Kind> {
        let (one, other) = (self.of(left)?, self.of(right)?);
        let is_falling = sign == "-" || [left, right].into_iter().any(is_negative);
        match (one, other) {
            _ if !one.is_number() || !other.is_number() => None,
            (Kind::Float, _) | (_, Kind::Float) => Some(Kind::Float),
            (Kind::Decimal, _) | (_, Kind::Decimal) => Some(Kind::Decimal),
            (Kind::Int, Kind::Int) => Some(Kind::Int),
            (Kind::Unsigned, Kind::Unsigned) if !is_falling => Some(Kind::Unsigned),
            (Kind::Unsigned, _) if !is_falling && matches!(right, Expression::Number(_)) => {
                Some(Kind::Unsigned)
            }
            (_, Kind::Unsigned) if !is_falling && matches!(left, Expression::Number(_)) => {
                Some(Kind::Unsigned)
            }
            _ => None,
        }
    }

    fn comparable(&self, left: &Expression, is_equal: bool, right: &Expression) -> bool {
        let (Some(one), Some(other)) = (self.of(left), self.of(right)) else {
            return false;
        };
        match (one, other) {
            (Kind::Null, _) | (_, Kind::Null) => true,
            (Kind::Bool, Kind::Bool) => is_equal,
            // Each engine has an order of its own.
            (Kind::Text, Kind::Text) => {
                let trails = [left, right].into_iter().any(has_trailing_blank);
                is_equal && !trails && self.is_exact(left) && self.is_exact(right)
            }
            (Kind::Enum, Kind::Text) => is_equal && self.is_label(left, right),
            (Kind::Text, Kind::Enum) => is_equal && self.is_label(right, left),
            (Kind::Date, Kind::Date) | (Kind::Timestamp, Kind::Timestamp) => true,
            (Kind::Date | Kind::Timestamp, Kind::Text) => is_day(right, one),
            (Kind::Text, Kind::Date | Kind::Timestamp) => is_day(left, other),
            _ => one.is_number() && other.is_number(),
        }
    }

    fn texts<'s>(&'s self, expression: &Expression) -> Vec<&'s Column> {
        let columns = expression.columns().into_iter();
        let columns = columns.filter_map(|name| self.column(name));
        columns
            .filter(|column| matches!(column.ty, ColumnType::Text { .. }))
            .collect()
    }

    /// Are two texts equal only when their bytes are? Not even `utf8mb4_bin` is so: trailing blanks do not count.
    fn is_exact(&self, expression: &Expression) -> bool {
        let is_exact = |column: &&Column| match self.engine.is_postgres() {
            true => column.collation.is_empty(),
            false => column.collation.ends_with("_0900_bin") || column.collation.ends_with("_nopad_bin"),
        };
        self.texts(expression).iter().all(is_exact)
    }

    fn is_padded(&self, expression: &Expression) -> bool {
        let padded = |column: &&Column| matches!(column.ty, ColumnType::Text { fixed: true, .. });
        self.texts(expression).iter().any(padded)
    }

    fn is_utf8(&self, expression: &Expression) -> bool {
        let utf8 = |column: &&Column| self.engine.is_postgres() || column.collation.starts_with("utf8");
        self.texts(expression).iter().all(utf8)
    }

    fn is_label(&self, column: &Expression, text: &Expression) -> bool {
        let (Expression::Column(name), Expression::Text(text)) = (column, text) else {
            return false;
        };
        match self.column(name).map(|column| &column.ty) {
            Some(ColumnType::Enum { labels }) => labels.contains(text),
            _ => false,
        }
    }
}

fn is_negative(expression: &Expression) -> bool {
    matches!(expression, Expression::Number(digits) if digits.starts_with('-'))
}

fn has_trailing_blank(expression: &Expression) -> bool {
    matches!(expression, Expression::Text(text) if text.ends_with(' '))
}

/// A literal that both read as the same day or moment.
fn is_day(literal: &Expression, kind: Kind) -> bool {
    let Expression::Text(text) = literal else {
        return false;
    };
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let is_whole = match shape.split_once('.') {
        Some((head, fraction)) => {
            head == "0000-00-00 00:00:00"
                && (1..=6).contains(&fraction.len())
                && !fraction.contains(|c| c != '0')
        }
        None => shape == "0000-00-00" || shape == "0000-00-00 00:00:00",
    };
    let is_short = shape.len() == "0000-00-00".len();
    is_whole && !text.starts_with("0000") && (is_short || kind == Kind::Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Engine::{Mysql, Postgres};

    fn columns(collation: &str) -> Vec<Column> {
        let text = |fixed| ColumnType::Text {
            chars: Some(9),
            bytes: None,
            fixed,
            utf8: true,
        };
        let int = |bits, unsigned| ColumnType::Int { bits, unsigned };
        let decimal = ColumnType::Decimal {
            precision: Some(9),
            scale: 2,
            unsigned: false,
        };
        let labels = vec!["x".to_owned(), "y".to_owned()];
        let all = [
            ("n", int(32, false)),
            ("big", int(64, false)),
            ("u", int(32, true)),
            ("price", decimal),
            ("f", ColumnType::Double),
            ("d", ColumnType::Date),
            ("at", ColumnType::Timestamp { fraction: 6 }),
            ("span", ColumnType::Interval),
            ("t", text(false)),
            ("c", text(true)),
            ("e", ColumnType::Enum { labels }),
            ("b", ColumnType::Bool),
        ];
        let column = |(name, ty): (&str, ColumnType)| Column {
            name: name.to_owned(),
            ty,
            sql_type: String::new(),
            collation: collation.to_owned(),
            nullable: true,
            generated: false,
            has_default: false,
        };
        all.into_iter().map(column).collect()
    }

    #[track_caller]
    fn is(engine: Engine, collation: &str, text: &str, expected: Option<Kind>) {
        let columns = columns(collation);
        let known = Known {
            columns: &columns,
            engine,
        };
        let read = Expression::read_of(text, known);
        assert_eq!(read.and_then(|read| kind(&read, known)), expected, "{text}");
    }

    #[test]
    fn expressions_of_postgres_keep_their_meaning_or_are_lost() {
        for (text, expected) in [
            ("(n + 1)", Some(Kind::Int)),
            ("(price * (n)::numeric)", Some(Kind::Decimal)),
            ("abs((n - 3))", Some(Kind::Int)),
            ("(d - d)", None),
            ("(d <= (d + 30))", None),
            ("(at + '1 day'::interval)", None),
            ("(n + '2026-01-01'::date)", None),
            ("abs(span)", None),
            ("(span > '01:00:00'::interval)", None),
            ("(u - 1)", None),
            ("(u + 1)", Some(Kind::Unsigned)),
            ("round(f)", None),
            ("((price)::integer * 2)", None),
            ("((n)::bigint * big)", Some(Kind::Int)),
            ("((big)::integer > 2)", None),
            ("((big)::double precision * f)", None),
            ("(1.5)::integer", None),
            ("'abc'::character varying(2)", None),
            ("((n)::text = '01'::text)", None),
            ("((t)::text = 'a'::text)", Some(Kind::Bool)),
            ("(t = 'a '::text)", None),
            ("(t < 'b'::text)", None),
            ("((t)::text ~~ 'a%'::text)", Some(Kind::Bool)),
            ("(c ~~ 'a%'::text)", None),
            ("(e = 'x'::public.e)", Some(Kind::Bool)),
            ("(e > 'x'::public.e)", None),
            ("(d >= '2026-01-01'::date)", Some(Kind::Bool)),
            ("(d < 'infinity'::date)", None),
            ("(b AND (n > 0))", Some(Kind::Bool)),
            ("(span IS NULL)", Some(Kind::Bool)),
            ("COALESCE(n, 0)", Some(Kind::Int)),
        ] {
            is(Postgres, "", text, expected);
        }
        is(Postgres, "folded", "(t = 'a'::text)", None);
    }

    #[test]
    fn expressions_of_mysql_keep_their_meaning_or_are_lost() {
        for (text, collation, expected) in [
            ("(`t` = _utf8mb4'a')", "utf8mb4_0900_bin", Some(Kind::Bool)),
            ("(`t` = _utf8mb4'a')", "utf8mb4_nopad_bin", Some(Kind::Bool)),
            ("(`t` = _utf8mb4'a')", "utf8mb4_0900_ai_ci", None),
            ("(`t` in (_utf8mb4'a'))", "utf8mb4_bin", None),
            ("(lower(`t`) like _utf8mb4'a%')", "utf8mb4_general_ci", None),
            ("nullif(`t`,_utf8mb4'')", "utf8mb4_general_ci", None),
            ("concat(`t`,_utf8mb4'a')", "utf8mb4_general_ci", Some(Kind::Text)),
            ("concat(`t`,`n`)", "utf8mb4_0900_bin", None),
            ("length(`t`)", "latin1_bin", None),
            (
                "(`e` in (_utf8mb4'x',_utf8mb4'y'))",
                "utf8mb4_general_ci",
                Some(Kind::Bool),
            ),
            ("(`e` = _utf8mb4'X')", "utf8mb4_general_ci", None),
            ("(`n` = _utf8mb4'5')", "utf8mb4_0900_bin", None),
            ("(`d` + 1)", "", None),
            ("((`n` > 1) = 1)", "", None),
        ] {
            is(Mysql, collation, text, expected);
        }
    }

    #[test]
    fn a_column_takes_what_is_of_its_kind() {
        assert!(Kind::Decimal.takes(Kind::Int) && Kind::Float.takes(Kind::Int));
        assert!(
            !Kind::Int.takes(Kind::Bool) && !Kind::Int.takes(Kind::Float) && !Kind::Enum.takes(Kind::Text)
        );
        let read = Expression::read("((t = 'a') AND (n > 0) AND ((price + 1) IS NULL))", Postgres);
        assert_eq!(compared(&read.unwrap()), ["t", "n"]);
    }
}
