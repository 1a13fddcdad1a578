//! Expressions of the configuration: row filters and computed values, parsed from a small part of SQL and evaluated here.
//!
//! Owns: the grammar ([`Expr::parse`]), the check against a table's columns ([`Filter::bind`] for a condition,
//! [`Formula::bind`] for a value) and the three-valued evaluation, which is the same for every engine: numbers exactly, texts
//! byte by byte, dates by the calendar. [`server`] writes what was bound in an engine's SQL, where that means the same.
//! Refuses: everything else of SQL (with its place in the text), and whatever would depend on an engine: division, floats,
//! JSON, bytes, texts with numbers. Pure.

mod bind;
mod bound;
mod calendar;
mod kind;
mod letters;
mod node;
mod number;
mod parse;
mod scalar;
pub mod server;
mod signature;
#[cfg(test)]
mod tests;
mod write;

pub use bound::{Filter, Formula, Unfit};
pub use calendar::{Clock, DAY_MICROS, Day, Moment};
pub use kind::Kind;
pub use number::Digits;
pub use parse::Mistake;
pub use scalar::Scalar;

/// An expression as it is written, over column names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    Column(String),
    Literal(Literal),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Box<Expr>, Comparison, Box<Expr>),
    In(Box<Expr>, Vec<Literal>),
    Like(Box<Expr>, Vec<Piece>),
    IsNull(Box<Expr>),
    /// The first that is not NULL.
    Coalesce(Vec<Expr>),
    /// The result of the first condition that is true.
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    Arithmetic(Box<Expr>, Operator, Box<Expr>),
    Negative(Box<Expr>),
    /// `a || b`
    Concat(Box<Expr>, Box<Expr>),
    Letters(Letters, Box<Expr>),
    /// Without blanks at these ends.
    Trim(Ends, Box<Expr>),
    Substring {
        of: Box<Expr>,
        /// From 1 on.
        from: usize,
        chars: Option<usize>,
    },
    /// The piece of this number, from 1 on, of what stands between such texts.
    Split {
        of: Box<Expr>,
        by: String,
        piece: usize,
    },
    Part(Part, Box<Expr>),
    /// A whole number as text.
    Digits(Box<Expr>),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    Lower,
    Upper,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    Both,
    Leading,
    Trailing,
}

/// Of a date, a time or a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Year,
    Quarter,
    Month,
    Day,
    Hour,
    Minute,
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

impl Expr {
    /// Every column it names, in the order of appearance, once each.
    pub fn columns(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.collect(&mut found);
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|name| seen.insert(*name));
        found
    }

    fn collect<'a>(&'a self, out: &mut Vec<&'a str>) {
        if let Expr::Column(name) = self {
            out.push(name);
        }
        self.parts().into_iter().for_each(|part| part.collect(out));
    }

    /// What it is made of, in the order of writing.
    fn parts(&self) -> Vec<&Expr> {
        match self {
            Expr::Column(_) | Expr::Literal(_) => Vec::new(),
            Expr::All(parts) | Expr::Any(parts) | Expr::Coalesce(parts) => parts.iter().collect(),
            Expr::Not(of)
            | Expr::In(of, _)
            | Expr::Like(of, _)
            | Expr::IsNull(of)
            | Expr::Negative(of)
            | Expr::Letters(_, of)
            | Expr::Trim(_, of)
            | Expr::Substring { of, .. }
            | Expr::Split { of, .. }
            | Expr::Part(_, of)
            | Expr::Digits(of) => vec![of],
            Expr::Compare(left, _, right) | Expr::Arithmetic(left, _, right) | Expr::Concat(left, right) => {
                vec![left, right]
            }
            Expr::Case(cases, otherwise) => {
                let cases = cases.iter().flat_map(|(condition, result)| [condition, result]);
                cases.chain(otherwise.as_deref()).collect()
            }
        }
    }

    fn is_null(&self) -> bool {
        *self == Expr::Literal(Literal::Null)
    }

    /// Does it say nothing of its type by itself? What it meets does then.
    fn is_untyped(&self) -> bool {
        match self {
            Expr::Literal(_) => true,
            Expr::Coalesce(parts) => parts.iter().all(Expr::is_untyped),
            Expr::Case(cases, otherwise) => {
                let results = cases.iter().map(|(_, result)| result);
                results.chain(otherwise.as_deref()).all(Expr::is_untyped)
            }
            _ => false,
        }
    }
}
