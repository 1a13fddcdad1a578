//! From the text of an expression to an [`Expr`]. The library parses SQL; what is not offered is refused here.
//!
//! Owns: the dialect, the bounds, and the places of mistakes; [`read`] has what is offered. Fails: with a [`Mistake`], which
//! has its place in the text.

mod read;

use super::Expr;
use read::Reader;
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token};
use std::any::TypeId;
use std::ops::Range;

/// The longest expression. It also bounds how deep one nests, because evaluation recurses.
const CHARS_MAX: usize = 4096;
/// Nesting of brackets.
const DEPTH_MAX: usize = 40;

/// What is wrong with an expression, and where: bytes of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub what: String,
    pub at: Range<usize>,
}

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

impl Expr {
    pub fn parse(text: &str) -> Result<Expr, Mistake> {
        let whole = |what: String| Mistake {
            what,
            at: 0..text.len(),
        };
        if text.trim().is_empty() {
            return Err(whole("the expression is empty".to_owned()));
        }
        if text.chars().count() > CHARS_MAX {
            return Err(whole(format!("an expression has at most {CHARS_MAX} characters")));
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
                what: "the expression should end here".to_owned(),
                at: offset(text, next.span.start)..text.len(),
            });
        }
        Reader::new(text).expr(&expr)
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
        what: format!("this is no expression: {what}"),
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
