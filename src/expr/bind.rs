//! An expression bound to one table: names become places, literals values of the types that they meet.
//!
//! Fails: with [`Unfit`], which names the column or the part and its type, never a value of a row.

use super::node::Node;
use super::scalar::{Class, Scalar, TEXT};
use super::{Comparison, Expr, Literal, Part};
use crate::model::schema::Table;
use crate::model::value::Row;

/// A condition over the rows of one table.
#[derive(Debug, Clone)]
pub struct Filter {
    node: Node,
    columns: Vec<usize>,
}

/// Why an expression cannot be asked of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The column as this table calls it, or the part of the expression.
    pub part: String,
    pub why: String,
}

impl Filter {
    /// `name_of` says how this table calls a column of the condition.
    pub fn bind<'a>(
        condition: &'a Expr,
        table: &Table,
        name_of: impl Fn(&'a str) -> &'a str,
    ) -> Result<Filter, Unfit> {
        let mut binder = Binder {
            table,
            name_of,
            columns: Vec::new(),
        };
        let node = binder.condition(condition)?;
        let mut columns = binder.columns;
        columns.sort_unstable();
        columns.dedup();
        Ok(Filter { node, columns })
    }

    /// Places of the columns it reads.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Is it true of the row? Unknown is not true. `None`: the row lacks a cell that the filter reads.
    pub fn matches(&self, row: &Row) -> Option<bool> {
        if self.columns.iter().any(|place| row.get(*place).is_none()) {
            return None;
        }
        Some(self.node.truth(row) == Some(true))
    }
}

/// A class, and what has it.
type Want<'a> = Option<(Class, &'a Expr)>;

struct Binder<'t, F> {
    table: &'t Table,
    name_of: F,
    columns: Vec<usize>,
}

impl<'a, F: Fn(&'a str) -> &'a str> Binder<'_, F> {
    fn condition(&mut self, expr: &'a Expr) -> Result<Node, Unfit> {
        let (node, class) = self.node(expr, Some((Class::Bool, expr)))?;
        match class {
            Class::Bool => Ok(node),
            Class::Number { small: true } => Ok(Node::Truth(Box::new(node))),
            _ => Err(self.unfit(
                expr,
                format!("it is {}, so it is no condition by itself", class.words()),
            )),
        }
    }

    fn conditions(&mut self, parts: &'a [Expr]) -> Result<Vec<Node>, Unfit> {
        parts.iter().map(|part| self.condition(part)).collect()
    }

    /// `want`: what a literal is here, and what makes it so.
    fn node(&mut self, expr: &'a Expr, want: Want<'a>) -> Result<(Node, Class), Unfit> {
        let condition = |node| Ok((node, Class::Bool));
        match expr {
            Expr::Column(name) => {
                let (place, class) = self.column(name)?;
                Ok((Node::Column(place, class), class))
            }
            Expr::Literal(literal) => self.literal(expr, want, literal),
            Expr::All(parts) => condition(Node::All(self.conditions(parts)?)),
            Expr::Any(parts) => condition(Node::Any(self.conditions(parts)?)),
            Expr::Not(of) => condition(Node::Not(Box::new(self.condition(of)?))),
            Expr::Compare(left, comparison, right) => condition(self.compare(left, *comparison, right)?),
            Expr::In(of, list) => {
                let (node, class) = self.node(of, None)?;
                let list = list.iter().map(|literal| self.scalar(of, class, literal));
                condition(Node::In(Box::new(node), list.collect::<Result<_, _>>()?))
            }
            Expr::Like(of, pattern) => {
                let node = self.text(of, "LIKE")?;
                condition(Node::Like(Box::new(node), pattern.clone()))
            }
            Expr::IsNull(of) => condition(match of.as_ref() {
                // Of a column of any type it may be asked.
                Expr::Column(name) => Node::IsEmpty(self.place(name)?),
                of => Node::IsNull(Box::new(self.node(of, None)?.0)),
            }),
            Expr::Coalesce(parts) => {
                let (nodes, class) = self.alike(expr, parts.iter().collect(), want)?;
                Ok((Node::Coalesce(nodes), class))
            }
            Expr::Case(cases, otherwise) => self.case(expr, (cases, otherwise.as_deref()), want),
            Expr::Arithmetic(left, operator, right) => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                let node = Node::Arithmetic(Box::new(left), *operator, Box::new(right));
                Ok((node, Class::Number { small: false }))
            }
            Expr::Negative(of) => {
                let node = Node::Negative(Box::new(self.number(of)?));
                Ok((node, Class::Number { small: false }))
            }
            Expr::Concat(left, right) => {
                let (left, right) = (self.text(left, "||")?, self.text(right, "||")?);
                Ok((Node::Concat(Box::new(left), Box::new(right)), TEXT))
            }
            Expr::Letters(letters, of) => {
                let name = "LOWER and UPPER";
                Ok((Node::Letters(*letters, Box::new(self.text(of, name)?)), TEXT))
            }
            Expr::Trim(ends, of) => Ok((Node::Trim(*ends, Box::new(self.text(of, "TRIM")?)), TEXT)),
            Expr::Substring { of, from, chars } => {
                let of = Box::new(self.text(of, "SUBSTRING")?);
                let (from, chars) = (*from, *chars);
                Ok((Node::Substring { of, from, chars }, TEXT))
            }
            Expr::Part(part, of) => self.part(*part, of),
        }
    }

    fn case(
        &mut self,
        expr: &'a Expr,
        (cases, otherwise): (&'a [(Expr, Expr)], Option<&'a Expr>),
        want: Want<'a>,
    ) -> Result<(Node, Class), Unfit> {
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

    /// Values of which one is taken: they have one class, which those tell that have one of their own.
    fn alike(
        &mut self,
        expr: &'a Expr,
        parts: Vec<&'a Expr>,
        want: Want<'a>,
    ) -> Result<(Vec<Node>, Class), Unfit> {
        let mut class: Want<'a> = None;
        let mut typed: Vec<Option<Node>> = Vec::with_capacity(parts.len());
        for part in &parts {
            if part.is_untyped() {
                typed.push(None);
                continue;
            }
            let (node, its) = self.node(part, want)?;
            typed.push(Some(node));
            class = Some(match class {
                None => (its, *part),
                Some((class, first)) => (self.joined(part, class, its)?, first),
            });
        }
        let first_literal = || parts.iter().find_map(|part| told_by_literals(part));
        let told = || Some((first_literal()?, expr));
        let Some((class, first)) = class.or(want).or_else(told) else {
            return Err(self.unfit(expr, "NULL alone says nothing of its type".to_owned()));
        };
        let whole = parts.into_iter().zip(typed);
        let nodes = whole.map(|(part, typed)| match typed {
            Some(node) => Ok(node),
            None => Ok(self.node(part, Some((class, first)))?.0),
        });
        Ok((nodes.collect::<Result<Vec<_>, Unfit>>()?, class))
    }

    fn joined(&self, part: &'a Expr, class: Class, its: Class) -> Result<Class, Unfit> {
        match class.meets(its) {
            true => Ok(class.with(its)),
            false => {
                let why = format!("it is {}, and the others are {}", its.words(), class.words());
                Err(self.unfit(part, why))
            }
        }
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
        if !is_equality && !(one.has_order() && other.has_order()) {
            let why = "its values have no order that both engines share: use = and <>".to_owned();
            return Err(self.unfit(weaker, why));
        }
        Ok(Node::Compare(
            Box::new(left_node),
            comparison,
            Box::new(right_node),
        ))
    }

    fn number(&mut self, expr: &'a Expr) -> Result<Node, Unfit> {
        match self.node(expr, Some((Class::Number { small: false }, expr)))? {
            (node, Class::Number { .. }) => Ok(node),
            (_, class) => Err(self.unfit(
                expr,
                format!("it is {}, and + - * are for numbers", class.words()),
            )),
        }
    }

    fn text(&mut self, expr: &'a Expr, name: &str) -> Result<Node, Unfit> {
        match self.node(expr, Some((TEXT, expr)))? {
            (node, Class::Text { .. }) => Ok(node),
            (_, class) => Err(self.unfit(expr, format!("it is {}, and {name} is for texts", class.words()))),
        }
    }

    fn part(&mut self, part: Part, of: &'a Expr) -> Result<(Node, Class), Unfit> {
        let (node, class) = self.node(of, None)?;
        let has_it = match part {
            Part::Year | Part::Month | Part::Day => matches!(class, Class::Date | Class::Timestamp),
            Part::Hour | Part::Minute => matches!(class, Class::Time | Class::Timestamp),
        };
        match has_it {
            true => Ok((Node::Part(part, Box::new(node)), Class::Number { small: false })),
            false => Err(self.unfit(of, format!("it is {}, which has no {part}", class.words()))),
        }
    }

    fn literal(&self, expr: &'a Expr, want: Want<'a>, literal: &Literal) -> Result<(Node, Class), Unfit> {
        let told = || Some((Class::of_literal(literal)?, expr));
        let Some((class, of)) = want.or_else(told) else {
            return Err(self.unfit(expr, "NULL alone says nothing of its type".to_owned()));
        };
        Ok((Node::Literal(self.scalar(of, class, literal)?), class))
    }

    /// A literal where a value of this class belongs. `of`: what it meets.
    fn scalar(&self, of: &'a Expr, class: Class, literal: &Literal) -> Result<Option<Scalar>, Unfit> {
        class.literal(literal).map_err(|should| {
            let known = self.type_of(of).unwrap_or_else(|| class.words().to_owned());
            self.unfit(of, format!("{should}, because it is {known}"))
        })
    }

    fn column(&mut self, name: &'a str) -> Result<(usize, Class), Unfit> {
        let place = self.place(name)?;
        let class = Class::of(&self.table.columns[place].ty);
        match class {
            Class::Opaque(why) => {
                let column = &self.table.columns[place];
                Err(Unfit {
                    part: column.name.clone(),
                    why: format!(
                        "it is {}: {why}; only IS NULL can be asked",
                        self.type_name(place)
                    ),
                })
            }
            _ => Ok((place, class)),
        }
    }

    fn place(&mut self, name: &'a str) -> Result<usize, Unfit> {
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
            true => Class::of(&column.ty).words().to_owned(),
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

fn told_by_literals(expr: &Expr) -> Option<Class> {
    match expr {
        Expr::Literal(literal) => Class::of_literal(literal),
        Expr::Coalesce(parts) => parts.iter().find_map(told_by_literals),
        Expr::Case(cases, otherwise) => {
            let results = cases.iter().map(|(_, result)| result).chain(otherwise.as_deref());
            results.into_iter().find_map(told_by_literals)
        }
        _ => None,
    }
}
