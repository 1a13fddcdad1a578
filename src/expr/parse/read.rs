//! Which of SQL's expressions are offered, and what they are here.
//!
//! Refuses: what engines see differently, with the way to write it that they do not: CONCAT, `/`, SUBSTRING from 0.

use super::{Mistake, offset};
use crate::expr::{Comparison, Ends, Expr, Letters, Literal, Operator, Part, Piece};
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, DateTimeField, Expr as Sql, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Spanned, TrimWhereField, UnaryOperator, Value,
};
use std::cell::Cell;

const OFFERED: &str = "an expression is made of columns, literals, = <> < <= > >=, AND, OR, NOT, IN (...), BETWEEN, LIKE, \
    IS NULL, COALESCE, NULLIF, CASE, + - *, ABS, ||, LOWER, UPPER, TRIM, SUBSTRING, SPLIT_PART, EXTRACT and CAST(.. AS TEXT)";

/// Parts that are read. BETWEEN, NULLIF and a CASE of one value say theirs more than once, in each other many times.
const PARTS_MAX: usize = 10_000;

pub(super) struct Reader<'a> {
    text: &'a str,
    parts: Cell<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let parts = Cell::new(0);
        Reader { text, parts }
    }

    fn refuse<T>(&self, expr: &Sql, what: impl Into<String>) -> Result<T, Mistake> {
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

    pub(super) fn expr(&self, expr: &Sql) -> Result<Expr, Mistake> {
        self.parts.set(self.parts.get() + 1);
        if self.parts.get() > PARTS_MAX {
            return self.refuse(expr, "the expression is too large");
        }
        match expr {
            Sql::Nested(inner) => self.expr(inner),
            Sql::Identifier(name) => Ok(Expr::Column(name.value.clone())),
            Sql::CompoundIdentifier(_) => self.refuse(
                expr,
                "a column is named alone: the table is the one the expression stands at",
            ),
            Sql::UnaryOp { op, expr: inner } => self.unary(expr, *op, inner),
            Sql::BinaryOp { left, op, right } => self.binary(expr, left, op, right),
            Sql::IsNull(inner) => Ok(Expr::IsNull(self.boxed(inner)?)),
            Sql::IsNotNull(inner) => Ok(negated(true, Expr::IsNull(self.boxed(inner)?))),
            Sql::InList {
                expr: inner,
                list,
                negated: not,
            } => {
                let of = self.tested(inner, "IN")?;
                let list: Result<Vec<Literal>, Mistake> =
                    list.iter().map(|item| self.literal(item)).collect();
                Ok(negated(*not, Expr::In(of, list?)))
            }
            Sql::Between {
                expr: inner,
                negated: not,
                low,
                high,
            } => {
                let low = self.compared(expr, inner, Comparison::GreaterOrEqual, low)?;
                let high = self.compared(expr, inner, Comparison::LessOrEqual, high)?;
                Ok(negated(*not, Expr::All(vec![low, high])))
            }
            Sql::Like {
                negated: not,
                any: false,
                expr: inner,
                pattern,
                escape_char,
            } => {
                let of = self.tested(inner, "LIKE")?;
                let pattern = self.pattern(pattern, escape_char.as_deref())?;
                Ok(negated(*not, Expr::Like(of, pattern)))
            }
            Sql::Case { .. }
            | Sql::Function(_)
            | Sql::Trim { .. }
            | Sql::Substring { .. }
            | Sql::Cast { .. }
            | Sql::Extract { .. } => self.function(expr),
            Sql::Value(_) => self.literal(expr).map(Expr::Literal),
            _ => self.refuse(expr, format!("this is not offered: {OFFERED}")),
        }
    }

    fn boxed(&self, expr: &Sql) -> Result<Box<Expr>, Mistake> {
        self.expr(expr).map(Box::new)
    }

    fn function(&self, expr: &Sql) -> Result<Expr, Mistake> {
        match expr {
            Sql::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(expr, operand.as_deref(), conditions, else_result.as_deref()),
            Sql::Trim {
                expr: of,
                trim_where,
                trim_what,
                trim_characters: None,
            } => {
                if let Some(what) = trim_what
                    && self.literal(what)? != Literal::Text(" ".to_owned())
                {
                    return self.refuse(what, "only blanks are trimmed: TRIM(BOTH ' ' FROM x)");
                }
                let ends = match trim_where {
                    None | Some(TrimWhereField::Both) => Ends::Both,
                    Some(TrimWhereField::Leading) => Ends::Leading,
                    Some(TrimWhereField::Trailing) => Ends::Trailing,
                };
                Ok(Expr::Trim(ends, self.boxed(of)?))
            }
            Sql::Substring {
                expr: of,
                substring_from,
                substring_for,
                ..
            } => {
                let from = substring_from
                    .as_deref()
                    .map_or(Ok(1), |from| self.count(from, 1))?;
                let chars = substring_for.as_deref().map(|chars| self.count(chars, 0));
                Ok(Expr::Substring {
                    of: self.boxed(of)?,
                    from,
                    chars: chars.transpose()?,
                })
            }
            Sql::Extract { field, expr: of, .. } => {
                let part = self.part(expr, field)?;
                Ok(Expr::Part(part, self.boxed(of)?))
            }
            Sql::Cast {
                kind: CastKind::Cast,
                expr: of,
                data_type: DataType::Text | DataType::Char(None) | DataType::Varchar(None),
                format: None,
                ..
            } => Ok(Expr::Digits(self.boxed(of)?)),
            Sql::Cast { .. } => self.refuse(
                expr,
                "CAST makes a text of a whole number, and nothing else: CAST(id AS TEXT)",
            ),
            Sql::Function(function) => self.called(expr, function),
            _ => self.refuse(expr, format!("this is not offered: {OFFERED}")),
        }
    }

    fn part(&self, expr: &Sql, field: &DateTimeField) -> Result<Part, Mistake> {
        Ok(match field {
            DateTimeField::Year => Part::Year,
            DateTimeField::Quarter => Part::Quarter,
            DateTimeField::Month => Part::Month,
            DateTimeField::Day => Part::Day,
            DateTimeField::Hour => Part::Hour,
            DateTimeField::Minute => Part::Minute,
            DateTimeField::Second => {
                let why = "SECOND has digits after the point on one engine and none on the other";
                return self.refuse(expr, why);
            }
            _ => {
                let why = "EXTRACT takes YEAR, QUARTER, MONTH, DAY, HOUR and MINUTE: engines see other parts differently";
                return self.refuse(expr, why);
            }
        })
    }

    fn case(
        &self,
        expr: &Sql,
        operand: Option<&Sql>,
        conditions: &[CaseWhen],
        otherwise: Option<&Sql>,
    ) -> Result<Expr, Mistake> {
        let one = |when: &CaseWhen| {
            let condition = match operand {
                Some(operand) => self.compared(expr, operand, Comparison::Equal, &when.condition)?,
                None => self.expr(&when.condition)?,
            };
            Ok((condition, self.expr(&when.result)?))
        };
        let cases = conditions.iter().map(one).collect::<Result<Vec<_>, Mistake>>()?;
        let otherwise = otherwise.map(|otherwise| self.boxed(otherwise)).transpose()?;
        Ok(Expr::Case(cases, otherwise))
    }

    fn called<'s>(&self, expr: &'s Sql, function: &'s Function) -> Result<Expr, Mistake> {
        let name = function.name.to_string().to_ascii_uppercase();
        let is_plain =
            function.over.is_none() && function.filter.is_none() && function.null_treatment.is_none();
        let arguments = match &function.args {
            FunctionArguments::List(list)
                if is_plain && list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
            {
                let one = |argument: &'s FunctionArg| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(of)) => Ok(of),
                    _ => self.refuse(expr, format!("this is not offered: {OFFERED}")),
                };
                list.args
                    .iter()
                    .map(one)
                    .collect::<Result<Vec<&Sql>, Mistake>>()?
            }
            _ => return self.refuse(expr, format!("this is not offered: {OFFERED}")),
        };
        let takes = |what: &str| self.refuse(expr, format!("{name} takes {what}"));
        match (name.as_str(), arguments.as_slice()) {
            ("COALESCE", [_, ..]) => {
                let parts = arguments.iter().map(|part| self.expr(part));
                Ok(Expr::Coalesce(parts.collect::<Result<_, _>>()?))
            }
            ("COALESCE", _) => takes("one value or more"),
            ("NULLIF", [of, other]) => {
                let equal = self.compared(expr, of, Comparison::Equal, other)?;
                let null = Expr::Literal(Literal::Null);
                Ok(Expr::Case(vec![(equal, null)], Some(self.boxed(of)?)))
            }
            ("NULLIF", _) => takes("two values"),
            ("ABS", [of]) => {
                let zero = Box::new(Expr::Literal(Literal::Number("0".to_owned())));
                let is_below = Expr::Compare(self.boxed(of)?, Comparison::Less, zero);
                let other = Expr::Negative(self.boxed(of)?);
                Ok(Expr::Case(vec![(is_below, other)], Some(self.boxed(of)?)))
            }
            ("ABS", _) => takes("one number"),
            ("SPLIT_PART", [of, by, piece]) => match self.literal(by)? {
                Literal::Text(by) if !by.is_empty() => Ok(Expr::Split {
                    of: self.boxed(of)?,
                    by,
                    piece: self.count(piece, 1)?,
                }),
                _ => self.refuse(by, "what parts a text is a 'text' of one character at least"),
            },
            ("SPLIT_PART", _) => takes("a text, the 'text' that parts it, and the number of the piece"),
            ("LOWER", [of]) => Ok(Expr::Letters(Letters::Lower, self.boxed(of)?)),
            ("UPPER", [of]) => Ok(Expr::Letters(Letters::Upper, self.boxed(of)?)),
            ("LOWER" | "UPPER", _) => takes("one text"),
            ("CONCAT", _) => self.refuse(
                expr,
                "CONCAT leaves NULL out on one engine and is NULL on the other: write a || b, or COALESCE(a, '') || b",
            ),
            _ => self.refuse(expr, format!("{name} is not offered: {OFFERED}")),
        }
    }

    fn unary(&self, expr: &Sql, op: UnaryOperator, inner: &Sql) -> Result<Expr, Mistake> {
        match op {
            UnaryOperator::Not => Ok(negated(true, self.expr(inner)?)),
            UnaryOperator::Plus | UnaryOperator::Minus => match self.expr(inner)? {
                Expr::Literal(_) => self.literal(expr).map(Expr::Literal),
                of if op == UnaryOperator::Minus => Ok(Expr::Negative(Box::new(of))),
                of => Ok(of),
            },
            _ => self.refuse(expr, format!("this is not offered: {OFFERED}")),
        }
    }

    fn binary(&self, expr: &Sql, left: &Sql, op: &BinaryOperator, right: &Sql) -> Result<Expr, Mistake> {
        let arithmetic = |operator| Ok(Expr::Arithmetic(self.boxed(left)?, operator, self.boxed(right)?));
        let comparison = match op {
            BinaryOperator::And => return Ok(Expr::All(vec![self.expr(left)?, self.expr(right)?])),
            BinaryOperator::Or => return Ok(Expr::Any(vec![self.expr(left)?, self.expr(right)?])),
            BinaryOperator::Plus => return arithmetic(Operator::Add),
            BinaryOperator::Minus => return arithmetic(Operator::Subtract),
            BinaryOperator::Multiply => return arithmetic(Operator::Multiply),
            BinaryOperator::StringConcat => return Ok(Expr::Concat(self.boxed(left)?, self.boxed(right)?)),
            BinaryOperator::Divide | BinaryOperator::Modulo => {
                return self.refuse(expr, "engines round a division differently: it is not offered");
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

    fn compared(&self, expr: &Sql, left: &Sql, comparison: Comparison, right: &Sql) -> Result<Expr, Mistake> {
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        if matches!((&left, &right), (Expr::Literal(_), Expr::Literal(_))) {
            return self.refuse(expr, "this compares two literals: one side must be a column");
        }
        let null = Expr::Literal(Literal::Null);
        if left == null || right == null {
            return self.refuse(
                expr,
                "a comparison with NULL is never true: write IS NULL or IS NOT NULL",
            );
        }
        Ok(Expr::Compare(Box::new(left), comparison, Box::new(right)))
    }

    /// What stands before IN and LIKE.
    fn tested(&self, expr: &Sql, before: &str) -> Result<Box<Expr>, Mistake> {
        match self.expr(expr)? {
            Expr::Literal(_) => self.refuse(expr, format!("before {before} there must be a column")),
            of => Ok(Box::new(of)),
        }
    }

    /// A literal count of characters.
    fn count(&self, expr: &Sql, least: usize) -> Result<usize, Mistake> {
        let digits = match self.literal(expr)? {
            Literal::Number(digits) => digits.parse::<usize>().ok(),
            _ => None,
        };
        match digits.filter(|count| *count >= least) {
            Some(count) => Ok(count),
            None => self.refuse(
                expr,
                format!("here there must be a whole number from {least} on: engines see others differently"),
            ),
        }
    }

    fn literal(&self, expr: &Sql) -> Result<Literal, Mistake> {
        match expr {
            Sql::Nested(inner) => self.literal(inner),
            Sql::Value(value) => match &value.value {
                Value::Number(digits, false) => match plain_digits(digits) {
                    Some(digits) => Ok(Literal::Number(digits)),
                    None => self.refuse(expr, "numbers are written in plain digits, like -12.50"),
                },
                Value::SingleQuotedString(text) => Ok(Literal::Text(text.clone())),
                Value::Boolean(known) => Ok(Literal::Bool(*known)),
                Value::Null => Ok(Literal::Null),
                _ => self.refuse(expr, "literals are numbers, 'text', TRUE, FALSE and NULL"),
            },
            Sql::UnaryOp { op, expr: inner } if matches!(op, UnaryOperator::Minus | UnaryOperator::Plus) => {
                match (op, self.literal(inner)?) {
                    (UnaryOperator::Minus, Literal::Number(digits)) if !digits.starts_with('-') => {
                        Ok(Literal::Number(format!("-{digits}")))
                    }
                    (UnaryOperator::Plus, Literal::Number(digits)) => Ok(Literal::Number(digits)),
                    _ => self.refuse(expr, "a sign belongs before a number"),
                }
            }
            _ => self.refuse(expr, "here there must be a literal"),
        }
    }

    fn pattern(&self, pattern: &Sql, escape: Option<&Sql>) -> Result<Vec<Piece>, Mistake> {
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

fn negated(not: bool, expr: Expr) -> Expr {
    match not {
        true => Expr::Not(Box::new(expr)),
        false => expr,
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
