//! From the text of a `where` to a [`Condition`]. The library parses SQL; what is not offered is refused here.
//!
//! Fails: with a [`Mistake`], which has its place in the text.

use super::{Comparison, Condition, Literal, Operand, Piece};
use sqlparser::ast::{BinaryOperator, Expr, Spanned, UnaryOperator, Value};
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token};
use std::any::TypeId;
use std::ops::Range;

/// The longest condition. It also bounds how deep one nests, because evaluation recurses.
const CHARS_MAX: usize = 4096;
/// Nesting of brackets.
const DEPTH_MAX: usize = 40;

/// What is wrong with a condition, and where: bytes of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub what: String,
    pub at: Range<usize>,
}

const OFFERED: &str = "a condition is made of columns, literals, = <> < <= > >=, AND, OR, NOT, IN (...), BETWEEN, LIKE and IS NULL";

/// Plain SQL: names in double quotes or backticks, text in single quotes, no backslash escapes.
#[derive(Debug)]
struct Plain;

impl Dialect for Plain {
    fn dialect(&self) -> TypeId {
        TypeId::of::<Plain>()
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        c == '"' || c == '`'
    }

    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || c == '_' || c == '$'
    }
}

impl Condition {
    pub fn parse(text: &str) -> Result<Condition, Mistake> {
        let whole = |what: String| Mistake {
            what,
            at: 0..text.len(),
        };
        if text.trim().is_empty() {
            return Err(whole("the condition is empty".to_owned()));
        }
        if text.chars().count() > CHARS_MAX {
            return Err(whole(format!("a condition has at most {CHARS_MAX} characters")));
        }
        let dialect = Plain;
        let mut parser = Parser::new(&dialect)
            .with_recursion_limit(DEPTH_MAX)
            .try_with_sql(text)
            .map_err(|error| from_parser(text, &error))?;
        let expr = parser.parse_expr().map_err(|error| from_parser(text, &error))?;
        let next = parser.peek_token();
        if next.token != Token::EOF {
            return Err(Mistake {
                what: "the condition should end here".to_owned(),
                at: offset(text, next.span.start)..text.len(),
            });
        }
        Reader { text }.condition(&expr)
    }
}

/// The library says a place in words: `... at Line: 1, Column: 9`.
fn from_parser(text: &str, error: &ParserError) -> Mistake {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.as_str(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply",
    };
    let (what, place) = message.split_once(" at Line: ").unwrap_or((message, ""));
    let mut numbers = place
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse::<u64>().ok());
    let at = match (numbers.next(), numbers.next()) {
        (Some(line), Some(column)) => offset(text, Location { line, column })..text.len(),
        _ => 0..text.len(),
    };
    let what = what
        .replace("an expression", "a column or a literal")
        .replace("EOF", "the end");
    Mistake {
        what: format!("this is no condition: {what}"),
        at,
    }
}

/// Lines and columns count from 1, columns in characters.
fn offset(text: &str, location: Location) -> usize {
    let line = usize::try_from(location.line).unwrap_or(1).max(1);
    let column = usize::try_from(location.column).unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    start
        + rest
            .char_indices()
            .nth(column - 1)
            .map_or(rest.len(), |(index, _)| index)
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn refuse<T>(&self, expr: &Expr, what: impl Into<String>) -> Result<T, Mistake> {
        let span = expr.span();
        let at = match span.start.line {
            0 => 0..self.text.len(),
            _ => {
                let start = offset(self.text, span.start);
                start..offset(self.text, span.end).max(start)
            }
        };
        Err(Mistake {
            what: what.into(),
            at,
        })
    }

    fn condition(&self, expr: &Expr) -> Result<Condition, Mistake> {
        match expr {
            Expr::Nested(inner) => self.condition(inner),
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => Ok(negated(true, self.condition(expr)?)),
            Expr::BinaryOp { left, op, right } => self.binary(expr, left, op, right),
            Expr::IsNull(inner) => self.is_null(inner, false),
            Expr::IsNotNull(inner) => self.is_null(inner, true),
            Expr::InList {
                expr: inner,
                list,
                negated: not,
            } => {
                let column = self.column(inner, "IN")?;
                let list: Result<Vec<Literal>, Mistake> =
                    list.iter().map(|item| self.literal(item)).collect();
                Ok(negated(*not, Condition::In { column, list: list? }))
            }
            Expr::Between {
                expr: inner,
                negated: not,
                low,
                high,
            } => {
                let low = self.compared(expr, inner, Comparison::GreaterOrEqual, low)?;
                let high = self.compared(expr, inner, Comparison::LessOrEqual, high)?;
                Ok(negated(*not, Condition::All(vec![low, high])))
            }
            Expr::Like {
                negated: not,
                any: false,
                expr: inner,
                pattern,
                escape_char,
            } => {
                let column = self.column(inner, "LIKE")?;
                let pattern = self.pattern(pattern, escape_char.as_deref())?;
                Ok(negated(*not, Condition::Like { column, pattern }))
            }
            Expr::Identifier(name) => Ok(Condition::Holds {
                column: name.value.clone(),
            }),
            Expr::Value(value) => match value.value {
                Value::Boolean(known) => Ok(Condition::Known(Some(known))),
                Value::Null => Ok(Condition::Known(None)),
                _ => self.refuse(expr, "a literal alone is no condition: compare it with a column"),
            },
            _ => self.refuse(expr, format!("this is not offered: {OFFERED}")),
        }
    }

    fn binary(
        &self,
        expr: &Expr,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
    ) -> Result<Condition, Mistake> {
        let comparison = match op {
            BinaryOperator::And => {
                return Ok(Condition::All(vec![
                    self.condition(left)?,
                    self.condition(right)?,
                ]));
            }
            BinaryOperator::Or => {
                return Ok(Condition::Any(vec![
                    self.condition(left)?,
                    self.condition(right)?,
                ]));
            }
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::NotEq => Comparison::NotEqual,
            BinaryOperator::Lt => Comparison::Less,
            BinaryOperator::LtEq => Comparison::LessOrEqual,
            BinaryOperator::Gt => Comparison::Greater,
            BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            _ => return self.refuse(expr, format!("the operator {op} is not offered: {OFFERED}")),
        };
        self.compared(expr, left, comparison, right)
    }

    fn compared(
        &self,
        expr: &Expr,
        left: &Expr,
        comparison: Comparison,
        right: &Expr,
    ) -> Result<Condition, Mistake> {
        let (left, right) = (self.operand(left)?, self.operand(right)?);
        if matches!((&left, &right), (Operand::Literal(_), Operand::Literal(_))) {
            return self.refuse(expr, "this compares two literals: one side must be a column");
        }
        let null = Operand::Literal(Literal::Null);
        if left == null || right == null {
            return self.refuse(
                expr,
                "a comparison with NULL is never true: write IS NULL or IS NOT NULL",
            );
        }
        Ok(Condition::Compare {
            left,
            comparison,
            right,
        })
    }

    fn is_null(&self, inner: &Expr, not: bool) -> Result<Condition, Mistake> {
        let column = self.column(inner, "IS NULL")?;
        Ok(negated(not, Condition::IsNull { column }))
    }

    fn column(&self, expr: &Expr, before: &str) -> Result<String, Mistake> {
        match self.operand(expr)? {
            Operand::Column(column) => Ok(column),
            Operand::Literal(_) => self.refuse(expr, format!("before {before} there must be a column")),
        }
    }

    fn operand(&self, expr: &Expr) -> Result<Operand, Mistake> {
        match expr {
            Expr::Nested(inner) => self.operand(inner),
            Expr::Identifier(name) => Ok(Operand::Column(name.value.clone())),
            Expr::CompoundIdentifier(_) => self.refuse(
                expr,
                "a column is named alone: the table is the one the filter stands at",
            ),
            _ => self.literal(expr).map(Operand::Literal),
        }
    }

    fn literal(&self, expr: &Expr) -> Result<Literal, Mistake> {
        match expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, false) => match plain_digits(digits) {
                    Some(digits) => Ok(Literal::Number(digits)),
                    None => self.refuse(expr, "numbers are written in plain digits, like -12.50"),
                },
                Value::SingleQuotedString(text) => Ok(Literal::Text(text.clone())),
                Value::Boolean(known) => Ok(Literal::Bool(*known)),
                Value::Null => Ok(Literal::Null),
                _ => self.refuse(expr, "literals are numbers, 'text', TRUE, FALSE and NULL"),
            },
            Expr::UnaryOp { op, expr: inner } if matches!(op, UnaryOperator::Minus | UnaryOperator::Plus) => {
                match (op, self.literal(inner)?) {
                    (UnaryOperator::Minus, Literal::Number(digits)) if !digits.starts_with('-') => {
                        Ok(Literal::Number(format!("-{digits}")))
                    }
                    (UnaryOperator::Plus, Literal::Number(digits)) => Ok(Literal::Number(digits)),
                    _ => self.refuse(expr, "a sign belongs before a number"),
                }
            }
            _ => self.refuse(expr, format!("this is neither a column nor a literal: {OFFERED}")),
        }
    }

    fn pattern(&self, pattern: &Expr, escape: Option<&Expr>) -> Result<Vec<Piece>, Mistake> {
        let Literal::Text(text) = self.literal(pattern)? else {
            return self.refuse(pattern, "after LIKE there must be a 'text'");
        };
        let escape = match escape {
            None => None,
            Some(expr) => match self.literal(expr)? {
                Literal::Text(text) if text.chars().count() == 1 => text.chars().next(),
                _ => return self.refuse(expr, "ESCAPE takes one character, like ESCAPE '!'"),
            },
        };
        // MySQL takes a backslash for the escape unless told otherwise, PostgreSQL too, the standard does not.
        if escape.is_none() && text.contains('\\') {
            return self.refuse(
                pattern,
                "say what the backslash is: ESCAPE '\\', or another character",
            );
        }
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                _ if Some(c) == escape => match chars.next() {
                    Some(next) => Piece::Char(next),
                    None => return self.refuse(pattern, "the pattern ends with its escape character"),
                },
                '%' => Piece::Many,
                '_' => Piece::One,
                _ => Piece::Char(c),
            });
        }
        Ok(pieces)
    }
}

fn negated(not: bool, condition: Condition) -> Condition {
    match not {
        true => Condition::Not(Box::new(condition)),
        false => condition,
    }
}

/// `12`, `12.5`, `.5`, `12.`; no exponent, so that a number is what it looks like.
fn plain_digits(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match fraction {
        "" => whole.to_owned(),
        _ => format!("{whole}.{fraction}"),
    })
}
