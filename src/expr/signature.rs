//! What an expression is called where a set-up is recorded.
//!
//! Row filters were recorded before there were expressions, in the words of the syntax tree that they then had. A filter
//! that could be written then keeps them, so that no set-up is taken for another one; everything else has its canonical
//! text. Only the names and the order of what stands here matter: they are what is recorded.

use super::{Comparison, Expr, Literal, Piece};

#[derive(Debug)]
#[expect(dead_code, reason = "what is recorded is its Debug text")]
enum Condition<'a> {
    All(Vec<Condition<'a>>),
    Any(Vec<Condition<'a>>),
    Not(Box<Condition<'a>>),
    Compare {
        left: Operand<'a>,
        comparison: Comparison,
        right: Operand<'a>,
    },
    In {
        column: &'a str,
        list: &'a [Literal],
    },
    Like {
        column: &'a str,
        pattern: &'a [Piece],
    },
    IsNull {
        column: &'a str,
    },
    Holds {
        column: &'a str,
    },
    Known(Option<bool>),
}

#[derive(Debug)]
#[expect(dead_code, reason = "what is recorded is its Debug text")]
enum Operand<'a> {
    Column(&'a str),
    Literal(&'a Literal),
}

impl Expr {
    /// Two expressions with one signature are the same one.
    pub fn signature(&self) -> String {
        match Condition::of(self) {
            Some(condition) => format!("{condition:?}"),
            None => self.to_string(),
        }
    }
}

impl<'a> Condition<'a> {
    /// `None`: it could not be written then.
    fn of(expr: &'a Expr) -> Option<Condition<'a>> {
        let all = |parts: &'a [Expr]| parts.iter().map(Condition::of).collect::<Option<Vec<_>>>();
        Some(match expr {
            Expr::All(parts) => Condition::All(all(parts)?),
            Expr::Any(parts) => Condition::Any(all(parts)?),
            Expr::Not(of) => Condition::Not(Box::new(Condition::of(of)?)),
            Expr::Compare(left, comparison, right) => Condition::Compare {
                left: Operand::of(left)?,
                comparison: *comparison,
                right: Operand::of(right)?,
            },
            Expr::In(of, list) => Condition::In {
                column: column(of)?,
                list,
            },
            Expr::Like(of, pattern) => Condition::Like {
                column: column(of)?,
                pattern,
            },
            Expr::IsNull(of) => Condition::IsNull { column: column(of)? },
            Expr::Column(column) => Condition::Holds { column },
            Expr::Literal(Literal::Bool(known)) => Condition::Known(Some(*known)),
            Expr::Literal(Literal::Null) => Condition::Known(None),
            _ => return None,
        })
    }
}

impl<'a> Operand<'a> {
    fn of(expr: &'a Expr) -> Option<Operand<'a>> {
        match expr {
            Expr::Column(column) => Some(Operand::Column(column)),
            Expr::Literal(literal) => Some(Operand::Literal(literal)),
            _ => None,
        }
    }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(column),
        _ => None,
    }
}
