//! The evaluation of what was bound, with SQL's three values.
//!
//! Owns: what each part is for a row. Refuses: nothing: what cannot be told is NULL, as an infinite date has no month.
//! Comparisons of cells with literals allocate nothing.

use super::kind::Kind;
use super::number::{calculate, negative};
use super::scalar::Scalar;
use super::{Comparison, Ends, Letters, Operator, Part, Piece, letters};
use crate::model::schema::Table;
use crate::model::value::{Row, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Column(usize, Kind),
    Literal(Kind, Option<Scalar<'static>>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// A small number that is true or false.
    Truth(Box<Node>),
    /// Of this kind both are.
    Compare(Kind, Box<Node>, Comparison, Box<Node>),
    In(Kind, Box<Node>, Vec<Option<Scalar<'static>>>),
    Like(Box<Node>, Vec<Piece>),
    IsNull(Box<Node>),
    /// The same of a column of any type.
    IsEmpty(usize),
    Coalesce(Vec<Node>),
    Case(Vec<(Node, Node)>, Option<Box<Node>>),
    Arithmetic(Box<Node>, Operator, Box<Node>),
    Negative(Box<Node>),
    Concat(Box<Node>, Box<Node>),
    Letters(Letters, Box<Node>),
    Trim(Ends, Box<Node>),
    Substring {
        of: Box<Node>,
        from: usize,
        chars: Option<usize>,
    },
    Split {
        of: Box<Node>,
        by: String,
        piece: usize,
    },
    Part(Part, Box<Node>, Kind),
    Digits(Box<Node>),
}

impl Node {
    /// `None` is unknown.
    pub(super) fn truth(&self, row: &Row) -> Option<bool> {
        match self {
            Node::All(parts) => fold(parts.iter().map(|part| part.truth(row)), false),
            Node::Any(parts) => fold(parts.iter().map(|part| part.truth(row)), true),
            Node::Not(of) => of.truth(row).map(|known| !known),
            Node::Truth(of) => match of.value(row)? {
                Scalar::Int(number) => Some(number != 0),
                Scalar::Bool(known) => Some(known),
                _ => None,
            },
            Node::Compare(_, left, comparison, right) => {
                let order = left.value(row)?.order(&right.value(row)?)?;
                Some(comparison.holds(order))
            }
            Node::In(_, of, list) => {
                let value = of.value(row)?;
                let equals =
                    |item: &Option<Scalar<'_>>| Some(value.order(item.as_ref()?)? == Ordering::Equal);
                fold(list.iter().map(equals), true)
            }
            Node::Like(of, pattern) => of.text(row).map(|text| like(pattern, &text)),
            Node::IsNull(of) => Some(of.value(row).is_none()),
            Node::IsEmpty(place) => Some(row.get(*place).is_none_or(Value::is_null)),
            _ => match self.value(row)? {
                Scalar::Bool(known) => Some(known),
                _ => None,
            },
        }
    }

    /// `None` is NULL.
    pub(super) fn value<'a>(&'a self, row: &'a Row) -> Option<Scalar<'a>> {
        match self {
            Node::Column(place, kind) => Scalar::cell(*kind, row.get(*place)?),
            Node::Literal(_, literal) => literal.as_ref().map(Scalar::lent),
            Node::Coalesce(parts) => parts.iter().find_map(|part| part.value(row)),
            Node::Case(cases, otherwise) => chosen(row, cases, otherwise.as_deref())?.value(row),
            Node::Arithmetic(left, operator, right) => {
                calculate(&left.value(row)?, *operator, &right.value(row)?)
            }
            Node::Negative(of) => negative(&of.value(row)?),
            Node::Concat(left, right) => {
                let (left, right) = (left.text(row)?, right.text(row)?);
                Some(Scalar::Text(left + right))
            }
            Node::Letters(letters, of) => {
                let text = of.text(row)?;
                Some(Scalar::Text(match letters::changed(*letters, &text) {
                    Some(changed) => Cow::Owned(changed),
                    None => text,
                }))
            }
            Node::Trim(ends, of) => Some(Scalar::Text(piece(of.text(row)?, |text| match ends {
                Ends::Both => text.trim_matches(' '),
                Ends::Leading => text.trim_start_matches(' '),
                Ends::Trailing => text.trim_end_matches(' '),
            }))),
            Node::Substring { of, from, chars } => {
                let text = of.text(row)?;
                Some(Scalar::Text(piece(text, |text| substring(text, *from, *chars))))
            }
            Node::Split {
                of,
                by,
                piece: number,
            } => {
                let text = of.text(row)?;
                Some(Scalar::Text(piece(text, |text| split(text, by, *number))))
            }
            Node::Part(part, of, _) => of.value(row)?.part(*part),
            Node::Digits(of) => match of.value(row)? {
                Scalar::Int(number) => Some(Scalar::Text(Cow::Owned(number.to_string()))),
                Scalar::Decimal(digits) => Some(Scalar::Text(digits)),
                _ => None,
            },
            Node::All(_)
            | Node::Any(_)
            | Node::Not(_)
            | Node::Truth(_)
            | Node::Compare(..)
            | Node::In(..)
            | Node::Like(..)
            | Node::IsNull(_)
            | Node::IsEmpty(_) => self.truth(row).map(Scalar::Bool),
        }
    }

    /// What of it is the row's value: the part of a COALESCE or a CASE. `None`: NULL.
    pub(super) fn taken(&self, row: &Row) -> Option<&Node> {
        match self {
            Node::Coalesce(parts) => {
                let part = parts.iter().find(|part| part.value(row).is_some());
                part?.taken(row)
            }
            Node::Case(cases, otherwise) => chosen(row, cases, otherwise.as_deref())?.taken(row),
            _ => Some(self),
        }
    }

    fn text<'a>(&'a self, row: &'a Row) -> Option<Cow<'a, str>> {
        match self.value(row)? {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// May it be NULL of a row that the table can hold?
    pub(super) fn is_nullable(&self, table: &Table) -> bool {
        let any = |parts: &[Node]| parts.iter().any(|part| part.is_nullable(table));
        match self {
            Node::Column(place, _) => table.columns.get(*place).is_none_or(|column| column.nullable),
            Node::Literal(_, literal) => literal.is_none(),
            Node::IsNull(_) | Node::IsEmpty(_) => false,
            Node::Coalesce(parts) => parts.iter().all(|part| part.is_nullable(table)),
            Node::Case(cases, otherwise) => {
                let otherwise = otherwise.as_deref();
                otherwise.is_none_or(|otherwise| otherwise.is_nullable(table))
                    || cases.iter().any(|(_, result)| result.is_nullable(table))
            }
            // An infinite one has no parts.
            Node::Part(_, of, kind) => {
                let is_bounded = matches!(kind, Kind::Time { .. } | Kind::Timestamp { epoch: true, .. });
                !is_bounded || of.is_nullable(table)
            }
            Node::In(_, of, list) => of.is_nullable(table) || list.contains(&None),
            Node::All(parts) | Node::Any(parts) => any(parts),
            Node::Compare(_, left, _, right)
            | Node::Arithmetic(left, _, right)
            | Node::Concat(left, right) => left.is_nullable(table) || right.is_nullable(table),
            Node::Not(of)
            | Node::Truth(of)
            | Node::Like(of, _)
            | Node::Negative(of)
            | Node::Letters(_, of)
            | Node::Trim(_, of)
            | Node::Substring { of, .. }
            | Node::Split { of, .. }
            | Node::Digits(of) => of.is_nullable(table),
        }
    }
}

/// The result of the first condition that is true.
fn chosen<'a>(row: &Row, cases: &'a [(Node, Node)], otherwise: Option<&'a Node>) -> Option<&'a Node> {
    let result = cases
        .iter()
        .find(|(condition, _)| condition.truth(row) == Some(true));
    result.map(|(_, result)| result).or(otherwise)
}

/// A part of a text, borrowed where the text is.
fn piece<'a>(text: Cow<'a, str>, cut: impl Fn(&str) -> &str) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text)),
        Cow::Owned(text) => Cow::Owned(cut(&text).to_owned()),
    }
}

/// Characters from the first, which is 1, on.
fn substring(text: &str, from: usize, chars: Option<usize>) -> &str {
    let skipped = |text: &str, count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let rest = &text[skipped(text, from.saturating_sub(1))..];
    match chars {
        Some(chars) => &rest[..skipped(rest, chars)],
        None => rest,
    }
}

/// The piece of this number, from 1 on; nothing where there are fewer.
fn split<'t>(text: &'t str, by: &str, number: usize) -> &'t str {
    let found = text.split(by).nth(number.saturating_sub(1));
    found.unwrap_or_default()
}

/// AND (`decides` = false) and OR (`decides` = true): one deciding value decides, else unknown stays unknown.
fn fold(parts: impl Iterator<Item = Option<bool>>, decides: bool) -> Option<bool> {
    let mut unknown = false;
    for part in parts {
        match part {
            Some(known) if known == decides => return Some(decides),
            Some(_) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(!decides)
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Greedy with one way back: the last `%` takes one character more.
fn like(pattern: &[Piece], text: &str) -> bool {
    let (mut piece, mut rest) = (0, text.chars());
    let mut back: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let mut next = rest.clone();
        let fits = match (pattern.get(piece), next.next()) {
            (Some(Piece::Many), _) => {
                back = Some((piece, rest.clone()));
                piece += 1;
                continue;
            }
            (Some(Piece::One), Some(_)) => true,
            (Some(Piece::Char(wanted)), Some(c)) => *wanted == c,
            (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if fits {
            piece += 1;
            rest = next;
            continue;
        }
        let Some((many, mut taken)) = back.take() else {
            return false;
        };
        if taken.next().is_none() {
            return false;
        }
        piece = many + 1;
        rest = taken.clone();
        back = Some((many, taken));
    }
}
