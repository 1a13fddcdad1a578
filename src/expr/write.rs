//! Expressions as text, in one form whatever they were written like: for a person, and to tell whether two are the same.

use super::{Comparison, Ends, Expr, Letters, Literal, Operator, Part, Piece};
use std::fmt::{self, Display, Formatter};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Column(name) => write!(f, "\"{}\"", name.replace('"', "\"\"")),
            Expr::Literal(literal) => literal.fmt(f),
            Expr::All(parts) => joined(f, parts, " AND "),
            Expr::Any(parts) => joined(f, parts, " OR "),
            Expr::Not(of) => write!(f, "(NOT {of})"),
            Expr::Compare(left, comparison, right) => write!(f, "({left} {comparison} {right})"),
            Expr::In(of, list) => {
                let list: Vec<String> = list.iter().map(Literal::to_string).collect();
                write!(f, "({of} IN ({}))", list.join(", "))
            }
            Expr::Like(of, pattern) => {
                let pattern: String = pattern.iter().map(Piece::to_string).collect();
                write!(f, "({of} LIKE '{}' ESCAPE '!')", pattern.replace('\'', "''"))
            }
            Expr::IsNull(of) => write!(f, "({of} IS NULL)"),
            Expr::Coalesce(parts) => {
                f.write_str("COALESCE")?;
                joined(f, parts, ", ")
            }
            Expr::Case(cases, otherwise) => {
                f.write_str("CASE")?;
                for (condition, result) in cases {
                    write!(f, " WHEN {condition} THEN {result}")?;
                }
                match otherwise {
                    Some(otherwise) => write!(f, " ELSE {otherwise} END"),
                    None => f.write_str(" END"),
                }
            }
            Expr::Arithmetic(left, operator, right) => write!(f, "({left} {operator} {right})"),
            Expr::Negative(of) => write!(f, "(- {of})"),
            Expr::Concat(left, right) => write!(f, "({left} || {right})"),
            Expr::Letters(letters, of) => write!(f, "{letters}({of})"),
            Expr::Trim(ends, of) => write!(f, "TRIM({ends} ' ' FROM {of})"),
            Expr::Substring { of, from, chars } => match chars {
                Some(chars) => write!(f, "SUBSTRING({of} FROM {from} FOR {chars})"),
                None => write!(f, "SUBSTRING({of} FROM {from})"),
            },
            Expr::Split { of, by, piece } => {
                write!(f, "SPLIT_PART({of}, {}, {piece})", Literal::Text(by.clone()))
            }
            Expr::Part(part, of) => write!(f, "EXTRACT({part} FROM {of})"),
            Expr::Digits(of) => write!(f, "CAST({of} AS TEXT)"),
        }
    }
}

fn joined(f: &mut Formatter<'_>, parts: &[Expr], between: &str) -> fmt::Result {
    let parts: Vec<String> = parts.iter().map(Expr::to_string).collect();
    write!(f, "({})", parts.join(between))
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Number(digits) => f.write_str(digits),
            Literal::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Literal::Bool(true) => f.write_str("TRUE"),
            Literal::Bool(false) => f.write_str("FALSE"),
            Literal::Null => f.write_str("NULL"),
        }
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        })
    }
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
        })
    }
}

impl Display for Letters {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Letters::Lower => "LOWER",
            Letters::Upper => "UPPER",
        })
    }
}

impl Display for Ends {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ends::Both => "BOTH",
            Ends::Leading => "LEADING",
            Ends::Trailing => "TRAILING",
        })
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Year => "YEAR",
            Part::Quarter => "QUARTER",
            Part::Month => "MONTH",
            Part::Day => "DAY",
            Part::Hour => "HOUR",
            Part::Minute => "MINUTE",
        })
    }
}

impl Display for Piece {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Piece::Char(c @ ('%' | '_' | '!')) => write!(f, "!{c}"),
            Piece::Char(c) => write!(f, "{c}"),
            Piece::One => f.write_str("_"),
            Piece::Many => f.write_str("%"),
        }
    }
}
