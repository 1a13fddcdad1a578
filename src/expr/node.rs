//! The evaluation of what was bound, with SQL's three values.
//!
//! Owns: what each part is for a row. Refuses: nothing: what cannot be told is NULL, as an infinite date has no month.

use super::number::{calculate, negative};
use super::scalar::{Class, Scalar};
use super::{Comparison, Ends, Letters, Operator, Part, Piece};
use crate::model::value::{Row, Value};
use std::cmp::Ordering;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Column(usize, Class),
    Literal(Option<Scalar>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// A small number that is true or false.
    Truth(Box<Node>),
    Compare(Box<Node>, Comparison, Box<Node>),
    In(Box<Node>, Vec<Option<Scalar>>),
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
    Part(Part, Box<Node>),
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
            Node::Compare(left, comparison, right) => {
                let order = left.value(row)?.order(&right.value(row)?)?;
                Some(comparison.holds(order))
            }
            Node::In(of, list) => {
                let value = of.value(row)?;
                let equals = |item: &Option<Scalar>| Some(value.order(item.as_ref()?)? == Ordering::Equal);
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
    pub(super) fn value(&self, row: &Row) -> Option<Scalar> {
        match self {
            Node::Column(place, class) => class.cell(row.get(*place)?),
            Node::Literal(literal) => literal.clone(),
            Node::Coalesce(parts) => parts.iter().find_map(|part| part.value(row)),
            Node::Case(cases, otherwise) => {
                let taken = cases
                    .iter()
                    .find(|(condition, _)| condition.truth(row) == Some(true));
                let result = taken.map(|(_, result)| result).or(otherwise.as_deref());
                result?.value(row)
            }
            Node::Arithmetic(left, operator, right) => {
                calculate(&left.value(row)?, *operator, &right.value(row)?)
            }
            Node::Negative(of) => negative(&of.value(row)?),
            Node::Concat(left, right) => Some(Scalar::Text(left.text(row)? + &right.text(row)?)),
            Node::Letters(letters, of) => Some(Scalar::Text(lettered(*letters, &of.text(row)?))),
            Node::Trim(ends, of) => {
                let text = of.text(row)?;
                let text = match ends {
                    Ends::Both => text.trim_matches(' '),
                    Ends::Leading => text.trim_start_matches(' '),
                    Ends::Trailing => text.trim_end_matches(' '),
                };
                Some(Scalar::Text(text.to_owned()))
            }
            Node::Substring { of, from, chars } => {
                let text = of.text(row)?;
                let rest = text.chars().skip(*from - 1);
                Some(Scalar::Text(rest.take(chars.unwrap_or(usize::MAX)).collect()))
            }
            Node::Part(part, of) => of.value(row)?.part(*part),
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

    fn text(&self, row: &Row) -> Option<String> {
        match self.value(row)? {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn alone(c: char, mut changed: impl Iterator<Item = char>) -> char {
    match (changed.next(), changed.next()) {
        (Some(changed), None) => changed,
        _ => c,
    }
}

/// Letter by letter: where one would become several (ß, ligatures) engines differ, and it stays.
fn lettered(letters: Letters, text: &str) -> String {
    match letters {
        Letters::Lower => text.chars().map(|c| alone(c, c.to_lowercase())).collect(),
        Letters::Upper => text.chars().map(|c| alone(c, c.to_uppercase())).collect(),
    }
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
    let text: Vec<char> = text.chars().collect();
    let (mut piece, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(piece) {
            Some(Piece::Many) => {
                back = Some((piece, at));
                piece += 1;
            }
            Some(Piece::One) => {
                piece += 1;
                at += 1;
            }
            Some(Piece::Char(c)) if *c == text[at] => {
                piece += 1;
                at += 1;
            }
            Some(Piece::Char(_)) | None => match &mut back {
                Some((many, taken)) => {
                    *taken += 1;
                    (piece, at) = (*many + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[piece.min(pattern.len())..]
        .iter()
        .all(|piece| *piece == Piece::Many)
}
