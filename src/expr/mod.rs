//! Row filters: the conditions of `where`, parsed from a small part of SQL and evaluated here.
//!
//! Owns: the grammar ([`Condition::parse`]), the check against a table's columns ([`Filter::bind`]) and the
//! three-valued evaluation ([`Filter::matches`]), which is the same for every engine: numbers exactly, texts byte by
//! byte, dates by the calendar.
//! Refuses: everything else of SQL (with its place in the text), and comparisons whose answer would depend on an
//! engine: floats, JSON, bytes, texts with numbers. Pure.

mod bind;
mod parse;
mod scalar;
#[cfg(test)]
mod tests;

pub use bind::{Filter, Unfit};
pub use parse::Mistake;

/// A condition as it is written, over column names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        left: Operand,
        comparison: Comparison,
        right: Operand,
    },
    In {
        column: String,
        list: Vec<Literal>,
    },
    Like {
        column: String,
        pattern: Vec<Piece>,
    },
    IsNull {
        column: String,
    },
    /// A column that is itself true or false.
    Holds {
        column: String,
    },
    /// TRUE, FALSE, NULL.
    Known(Option<bool>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    Column(String),
    Literal(Literal),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// Canonical digits: `[-]digits[.digits]`.
    Number(String),
    Text(String),
    Bool(bool),
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A piece of a LIKE pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Char(char),
    /// `_`
    One,
    /// `%`
    Many,
}

impl Condition {
    /// Every column it names, in the order of appearance, once each.
    pub fn columns(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.collect(&mut found);
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|name| seen.insert(*name));
        found
    }

    fn collect<'a>(&'a self, out: &mut Vec<&'a str>) {
        match self {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| part.collect(out)),
            Condition::Not(inner) => inner.collect(out),
            Condition::Compare { left, right, .. } => {
                for operand in [left, right] {
                    if let Operand::Column(column) = operand {
                        out.push(column);
                    }
                }
            }
            Condition::In { column, .. }
            | Condition::Like { column, .. }
            | Condition::IsNull { column }
            | Condition::Holds { column } => out.push(column),
            Condition::Known(_) => {}
        }
    }
}
