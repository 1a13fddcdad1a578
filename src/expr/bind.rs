//! An expression bound to one table: names become places, literals values of the kinds that they meet.
//!
//! Fails: with [`Unfit`], which names the column or the part and its type, never a value of a row.

use super::bound::Unfit;
use super::kind::Kind;
use super::node::Node;
use super::number::Digits;
use super::scalar::Scalar;
use super::{Comparison, Expr, Literal, Operator, Part};
use crate::model::schema::Table;

/// A number that could have more is not calculated.
const DIGITS_MAX: u32 = 1_000;

/// A kind, and what has it.
pub(super) type Want<'a> = Option<(Kind, &'a Expr)>;

pub(super) struct Binder<'t, F> {
    table: &'t Table,
    name_of: F,
    columns: Vec<usize>,
}

impl<'a, 't, F: Fn(&'a str) -> &'a str> Binder<'t, F> {
    pub(super) fn new(table: &'t Table, name_of: F) -> Self {
        Binder {
            table,
            name_of,
            columns: Vec::new(),
        }
    }

    /// What was read, once each.
    pub(super) fn columns(self) -> Vec<usize> {
        let mut columns = self.columns;
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    pub(super) fn condition(&mut self, expr: &'a Expr) -> Result<Node, Unfit> {
        let (node, kind) = self.node(expr, Some((Kind::Bool, expr)))?;
        match kind {
            Kind::Bool => Ok(node),
            Kind::Number { small: true, .. } => Ok(Node::Truth(Box::new(node))),
            _ => Err(self.unfit(
                expr,
                format!("it is {}, so it is no condition by itself", kind.words()),
            )),
        }
    }

    fn conditions(&mut self, parts: &'a [Expr]) -> Result<Vec<Node>, Unfit> {
        parts.iter().map(|part| self.condition(part)).collect()
    }

    /// `want`: what a literal is here, and what makes it so.
    pub(super) fn node(&mut self, expr: &'a Expr, want: Want<'a>) -> Result<(Node, Kind), Unfit> {
        let condition = |node| Ok((node, Kind::Bool));
        match expr {
            Expr::Column(name) => {
                let (place, kind) = self.column(name)?;
                Ok((Node::Column(place, kind), kind))
            }
            Expr::Literal(literal) => self.literal(expr, want, literal),
            Expr::All(parts) => condition(Node::All(self.conditions(parts)?)),
            Expr::Any(parts) => condition(Node::Any(self.conditions(parts)?)),
            Expr::Not(of) => condition(Node::Not(Box::new(self.condition(of)?))),
            Expr::Compare(left, comparison, right) => condition(self.compare(left, *comparison, right)?),
            Expr::In(of, list) => {
                let (node, kind) = self.node(of, None)?;
                let list = list.iter().map(|literal| Ok(self.scalar(of, kind, literal)?.0));
                condition(Node::In(kind, Box::new(node), list.collect::<Result<_, _>>()?))
            }
            Expr::Like(of, pattern) => {
                let (node, _) = self.text(of, "LIKE")?;
                condition(Node::Like(Box::new(node), pattern.clone()))
            }
            Expr::IsNull(of) => condition(match of.as_ref() {
                // Of a column of any type it may be asked.
                Expr::Column(name) => Node::IsEmpty(self.place(name)?),
                of => Node::IsNull(Box::new(self.node(of, None)?.0)),
            }),
            Expr::Coalesce(parts) => {
                let (nodes, kind) = self.alike(expr, parts.iter().collect(), want)?;
                Ok((Node::Coalesce(nodes), kind))
            }
            Expr::Case(cases, otherwise) => self.case(expr, (cases, otherwise.as_deref()), want),
            Expr::Arithmetic(left, operator, right) => self.arithmetic(expr, left, *operator, right),
            Expr::Negative(of) => {
                let (of, digits) = self.number(of)?;
                Ok((Node::Negative(Box::new(of)), Kind::number(digits)))
            }
            Expr::Concat(left, right) => {
                let ((left, one), (right, other)) = (self.text(left, "||")?, self.text(right, "||")?);
                let chars = one.zip(other).map(|(one, other)| one.saturating_add(other));
                Ok((Node::Concat(Box::new(left), Box::new(right)), Kind::text(chars)))
            }
            Expr::Letters(letters, of) => {
                let (of, chars) = self.text(of, "LOWER and UPPER")?;
                Ok((Node::Letters(*letters, Box::new(of)), Kind::text(chars)))
            }
            Expr::Trim(ends, of) => {
                let (of, chars) = self.text(of, "TRIM")?;
                Ok((Node::Trim(*ends, Box::new(of)), Kind::text(chars)))
            }
            Expr::Substring { of, from, chars } => {
                let (of, known) = self.text(of, "SUBSTRING")?;
                let asked = chars.and_then(|chars| u32::try_from(chars).ok());
                let most = known.into_iter().chain(asked).min();
                let (of, from, chars) = (Box::new(of), *from, *chars);
                Ok((Node::Substring { of, from, chars }, Kind::text(most)))
            }
            Expr::Split { of, by, piece } => {
                let (of, chars) = self.text(of, "SPLIT_PART")?;
                let (of, by, piece) = (Box::new(of), by.clone(), *piece);
                Ok((Node::Split { of, by, piece }, Kind::text(chars)))
            }
            Expr::Part(part, of) => self.part(*part, of),
            Expr::Digits(of) => self.digits(of),
        }
    }

    fn arithmetic(
        &mut self,
        expr: &'a Expr,
        left: &'a Expr,
        operator: Operator,
        right: &'a Expr,
    ) -> Result<(Node, Kind), Unfit> {
        let ((left, one), (right, other)) = (self.number(left)?, self.number(right)?);
        let digits = one.zip(other).map(|(one, other)| one.after(operator, other));
        if digits.is_some_and(|digits| digits.precision() > DIGITS_MAX) {
            return Err(self.unfit(expr, format!("the result may have more than {DIGITS_MAX} digits")));
        }
        let node = Node::Arithmetic(Box::new(left), operator, Box::new(right));
        Ok((node, Kind::number(digits)))
    }

    /// CAST(.. AS TEXT)
    fn digits(&mut self, of: &'a Expr) -> Result<(Node, Kind), Unfit> {
        let (node, kind) = self.node(of, None)?;
        match kind {
            Kind::Number {
                digits: Some(Digits { whole, scale: 0 }),
                ..
            } => Ok((
                Node::Digits(Box::new(node)),
                Kind::text(Some(whole.saturating_add(1))),
            )),
            _ => {
                let why = "only whole numbers have one text on every engine".to_owned();
                Err(self.unfit(of, why))
            }
        }
    }

    fn case(
        &mut self,
        expr: &'a Expr,
        (cases, otherwise): (&'a [(Expr, Expr)], Option<&'a Expr>),
        want: Want<'a>,
    ) -> Result<(Node, Kind), Unfit> {
        let conditions = cases.iter().map(|(condition, _)| self.condition(condition));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let results = cases.iter().map(|(_, result)| result).chain(otherwise).collect();
        let (mut results, class) = self.alike(expr, results, want)?;
        let otherwise = match otherwise {
            Some(_) => results.pop().map(Box::new),
            None => None,
        };
        let cases = conditions.into_iter().zip(results).collect();
        Ok((Node::Case(cases, otherwise), class))
    }

    /// Values of which one is taken: they have one kind, which those tell that have one of their own.
    fn alike(
        &mut self,
        expr: &'a Expr,
        parts: Vec<&'a Expr>,
        want: Want<'a>,
    ) -> Result<(Vec<Node>, Kind), Unfit> {
        let mut known: Want<'a> = None;
        let mut typed = Vec::with_capacity(parts.len());
        for part in &parts {
            let bound = match part.is_untyped() {
                true => None,
                false => Some(self.node(part, want)?),
            };
            if let Some((_, its)) = &bound {
                known = Some(match known {
                    None => (*its, *part),
                    Some((kind, first)) => (self.joined(part, kind, *its)?, first),
                });
            }
            typed.push(bound);
        }
        let told = || Some((parts.iter().find_map(|part| told_by_literals(part))?, expr));
        let Some((mut kind, first)) = known.or(want).or_else(told) else {
            return Err(self.unfit(expr, "NULL alone says nothing of its type".to_owned()));
        };
        let meant = kind;
        let mut literals: Option<Kind> = None;
        let mut nodes = Vec::with_capacity(parts.len());
        for (part, bound) in parts.into_iter().zip(typed) {
            let node = match bound {
                Some((node, _)) => node,
                None => {
                    let (node, its) = self.node(part, Some((meant, first)))?;
                    if !part.is_null() {
                        let so_far = literals.map_or(Ok(its), |so_far| self.joined(part, so_far, its))?;
                        literals = Some(so_far);
                    }
                    node
                }
            };
            nodes.push(node);
        }
        kind = match (known, literals) {
            (Some(_), Some(literals)) => self.joined(expr, kind, literals)?,
            (None, Some(literals)) => literals,
            (_, None) => kind,
        };
        Ok((nodes, kind))
    }

    fn joined(&self, part: &'a Expr, kind: Kind, its: Kind) -> Result<Kind, Unfit> {
        kind.with(its).ok_or_else(|| {
            let why = match kind.meets(its) {
                true => "with and without time zone are two things".to_owned(),
                false => format!("it is {}, and the others are {}", its.words(), kind.words()),
            };
            self.unfit(part, why)
        })
    }

    fn compare(&mut self, left: &'a Expr, comparison: Comparison, right: &'a Expr) -> Result<Node, Unfit> {
        let ((left_node, one), (right_node, other)) = if left.is_untyped() {
            let bound = self.node(right, None)?;
            (self.node(left, Some((bound.1, right)))?, bound)
        } else {
            let bound = self.node(left, None)?;
            let want = right.is_untyped().then_some((bound.1, left));
            (bound, self.node(right, want)?)
        };
        if !one.meets(other) {
            let why = format!(
                "it is {}, and {} is {}",
                one.words(),
                self.shown(right),
                other.words()
            );
            return Err(self.unfit(left, why));
        }
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let weaker = if one.has_order() { right } else { left };
        let is_asked = is_equality || (one.has_order() && other.has_order());
        if !is_asked {
            let why = "its values have no order that both engines share: use = and <>".to_owned();
            return Err(self.unfit(weaker, why));
        }
        Ok(Node::Compare(
            one,
            Box::new(left_node),
            comparison,
            Box::new(right_node),
        ))
    }

    fn number(&mut self, expr: &'a Expr) -> Result<(Node, Option<Digits>), Unfit> {
        match self.node(expr, Some((Kind::number(None), expr)))? {
            (node, Kind::Number { digits, .. }) => Ok((node, digits)),
            (_, kind) => Err(self.unfit(expr, format!("it is {}, and + - * are for numbers", kind.words()))),
        }
    }

    /// With the most characters it has.
    fn text(&mut self, expr: &'a Expr, name: &str) -> Result<(Node, Option<u32>), Unfit> {
        match self.node(expr, Some((Kind::text(None), expr)))? {
            (node, Kind::Text { chars, .. }) => Ok((node, chars)),
            (_, kind) => Err(self.unfit(expr, format!("it is {}, and {name} is for texts", kind.words()))),
        }
    }

    fn part(&mut self, part: Part, of: &'a Expr) -> Result<(Node, Kind), Unfit> {
        let (node, kind) = self.node(of, None)?;
        let has_it = match part {
            Part::Year | Part::Quarter | Part::Month | Part::Day => {
                matches!(kind, Kind::Date | Kind::Timestamp { .. })
            }
            Part::Hour | Part::Minute => matches!(kind, Kind::Time { .. } | Kind::Timestamp { .. }),
        };
        let digits = match part {
            Part::Year => 7,
            Part::Hour => 3,
            Part::Quarter | Part::Month | Part::Day | Part::Minute => 2,
        };
        match has_it {
            true => Ok((
                Node::Part(part, Box::new(node), kind),
                Kind::number(Some(Digits::whole(digits))),
            )),
            false => Err(self.unfit(of, format!("it is {}, which has no {part}", kind.words()))),
        }
    }

    fn literal(&self, expr: &'a Expr, want: Want<'a>, literal: &Literal) -> Result<(Node, Kind), Unfit> {
        let told = || Some((Kind::of_literal(literal)?, expr));
        let Some((kind, of)) = want.or_else(told) else {
            return Err(self.unfit(expr, "NULL alone says nothing of its type".to_owned()));
        };
        let (scalar, kind) = self.scalar(of, kind, literal)?;
        Ok((Node::Literal(kind, scalar), kind))
    }

    /// A literal where a value of this kind belongs, and its own kind. `of`: what it meets.
    fn scalar(
        &self,
        of: &'a Expr,
        kind: Kind,
        literal: &Literal,
    ) -> Result<(Option<Scalar<'static>>, Kind), Unfit> {
        kind.literal(literal).map_err(|should| {
            let known = self.type_of(of).unwrap_or_else(|| kind.words().to_owned());
            self.unfit(of, format!("{should}, because it is {known}"))
        })
    }

    fn column(&mut self, name: &'a str) -> Result<(usize, Kind), Unfit> {
        let place = self.place(name)?;
        let column = &self.table.columns[place];
        match Kind::of(&column.ty) {
            Kind::Opaque(why) => Err(Unfit {
                part: column.name.clone(),
                why: format!(
                    "it is {}: {why}; only IS NULL can be asked",
                    self.type_name(place)
                ),
            }),
            kind => Ok((place, kind)),
        }
    }

    pub(super) fn place(&mut self, name: &'a str) -> Result<usize, Unfit> {
        let here = (self.name_of)(name);
        let unfit = |why: &str| Unfit {
            part: here.to_owned(),
            why: why.to_owned(),
        };
        let place = self
            .table
            .column(here)
            .ok_or_else(|| unfit("the table has no such column"))?;
        if self.table.columns[place].generated {
            return Err(unfit("it is generated, and a log need not hold it"));
        }
        self.columns.push(place);
        Ok(place)
    }

    fn type_of(&self, expr: &'a Expr) -> Option<String> {
        let Expr::Column(name) = expr else { return None };
        let place = self.table.column((self.name_of)(name))?;
        Some(self.type_name(place))
    }

    fn type_name(&self, place: usize) -> String {
        let column = &self.table.columns[place];
        match column.sql_type.is_empty() {
            true => Kind::of(&column.ty).words().to_owned(),
            false => column.sql_type.clone(),
        }
    }

    fn shown(&self, expr: &'a Expr) -> String {
        match expr {
            Expr::Column(name) => (self.name_of)(name).to_owned(),
            other => other.to_string(),
        }
    }

    fn unfit(&self, expr: &'a Expr, why: String) -> Unfit {
        let part = self.shown(expr);
        Unfit { part, why }
    }
}

fn told_by_literals(expr: &Expr) -> Option<Kind> {
    match expr {
        Expr::Literal(literal) => Kind::of_literal(literal),
        Expr::Coalesce(parts) => parts.iter().find_map(told_by_literals),
        Expr::Case(cases, otherwise) => {
            let results = cases.iter().map(|(_, result)| result).chain(otherwise.as_deref());
            results.into_iter().find_map(told_by_literals)
        }
        _ => None,
    }
}
