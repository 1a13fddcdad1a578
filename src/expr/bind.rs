//! A condition bound to one table: names become places, literals become values of the columns' types.
//!
//! Fails: with [`Unfit`], which names the column and its type, never a value of a row.

use super::scalar::{Class, Scalar};
use super::{Comparison, Condition, Literal, Operand, Piece};
use crate::model::schema::Table;
use crate::model::value::{Row, Value};
use std::cmp::Ordering;

/// A condition over the rows of one table.
#[derive(Debug, Clone)]
pub struct Filter {
    node: Node,
    columns: Vec<usize>,
}

/// Why a condition cannot be asked of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The column as this table calls it.
    pub column: String,
    pub why: String,
}

#[derive(Debug, Clone)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Compare(Side, Comparison, Side),
    In(usize, Class, Vec<Option<Scalar>>),
    Like(usize, Class, Vec<Piece>),
    IsNull(usize),
    Holds(usize),
    Known(Option<bool>),
}

#[derive(Debug, Clone)]
enum Side {
    Column(usize, Class),
    Literal(Scalar),
}

impl Filter {
    /// `name_of` says how this table calls a column of the condition.
    pub fn bind<'a>(
        condition: &'a Condition,
        table: &Table,
        name_of: impl Fn(&'a str) -> &'a str,
    ) -> Result<Filter, Unfit> {
        let mut binder = Binder {
            table,
            name_of,
            columns: Vec::new(),
        };
        let node = binder.node(condition)?;
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

struct Binder<'t, F> {
    table: &'t Table,
    name_of: F,
    columns: Vec<usize>,
}

impl<'a, F: Fn(&'a str) -> &'a str> Binder<'_, F> {
    fn node(&mut self, condition: &'a Condition) -> Result<Node, Unfit> {
        Ok(match condition {
            Condition::All(parts) => Node::All(self.nodes(parts)?),
            Condition::Any(parts) => Node::Any(self.nodes(parts)?),
            Condition::Not(inner) => Node::Not(Box::new(self.node(inner)?)),
            Condition::Compare {
                left,
                comparison,
                right,
            } => self.compare(left, *comparison, right)?,
            Condition::In { column, list } => {
                let (place, class) = self.column(column)?;
                let list = list.iter().map(|literal| self.literal(place, class, literal));
                Node::In(place, class, list.collect::<Result<_, _>>()?)
            }
            Condition::Like { column, pattern } => {
                let (place, class) = self.column(column)?;
                if !matches!(class, Class::Text { .. }) {
                    return Err(self.unfit(place, format!("it is {}, and LIKE is for texts", class.words())));
                }
                Node::Like(place, class, pattern.clone())
            }
            Condition::IsNull { column } => Node::IsNull(self.place(column)?),
            Condition::Holds { column } => {
                let (place, class) = self.column(column)?;
                if !matches!(class, Class::Bool | Class::Number { small: true }) {
                    return Err(self.unfit(
                        place,
                        format!("it is {}, so it is no condition by itself", class.words()),
                    ));
                }
                Node::Holds(place)
            }
            Condition::Known(known) => Node::Known(*known),
        })
    }

    fn nodes(&mut self, parts: &'a [Condition]) -> Result<Vec<Node>, Unfit> {
        parts.iter().map(|part| self.node(part)).collect()
    }

    fn compare(
        &mut self,
        left: &'a Operand,
        comparison: Comparison,
        right: &'a Operand,
    ) -> Result<Node, Unfit> {
        let (place, class, left, right) = match (left, right) {
            (Operand::Column(left), Operand::Column(right)) => {
                let ((place, class), (other, its)) = (self.column(left)?, self.column(right)?);
                if !class.meets(its) {
                    let why = format!("it is {}, and column {right:?} is {}", class.words(), its.words());
                    return Err(self.unfit(place, why));
                }
                let weaker = if class.has_order() { its } else { class };
                (
                    place,
                    weaker,
                    Side::Column(place, class),
                    Side::Column(other, its),
                )
            }
            (Operand::Column(column), Operand::Literal(literal)) => {
                let (place, class) = self.column(column)?;
                let literal = self.side(place, class, literal)?;
                (place, class, Side::Column(place, class), literal)
            }
            (Operand::Literal(literal), Operand::Column(column)) => {
                let (place, class) = self.column(column)?;
                let literal = self.side(place, class, literal)?;
                (place, class, literal, Side::Column(place, class))
            }
            // The parser refuses it.
            (Operand::Literal(_), Operand::Literal(_)) => return Ok(Node::Known(None)),
        };
        if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) && !class.has_order() {
            let why = "its values have no order that both engines share: use = and <>".to_owned();
            return Err(self.unfit(place, why));
        }
        Ok(Node::Compare(left, comparison, right))
    }

    fn side(&self, place: usize, class: Class, literal: &Literal) -> Result<Side, Unfit> {
        match self.literal(place, class, literal)? {
            Some(scalar) => Ok(Side::Literal(scalar)),
            None => Err(self.unfit(place, "a comparison with NULL is never true".to_owned())),
        }
    }

    fn literal(&self, place: usize, class: Class, literal: &Literal) -> Result<Option<Scalar>, Unfit> {
        class.literal(literal).map_err(|should| {
            self.unfit(
                place,
                format!("{should}, because it is {}", self.type_name(place)),
            )
        })
    }

    fn column(&mut self, name: &'a str) -> Result<(usize, Class), Unfit> {
        let place = self.place(name)?;
        let class = Class::of(&self.table.columns[place].ty);
        match class {
            Class::Opaque(why) => Err(self.unfit(
                place,
                format!(
                    "it is {}: {why}; only IS NULL can be asked",
                    self.type_name(place)
                ),
            )),
            _ => Ok((place, class)),
        }
    }

    fn place(&mut self, name: &'a str) -> Result<usize, Unfit> {
        let here = (self.name_of)(name);
        let unfit = |why: &str| Unfit {
            column: here.to_owned(),
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

    fn type_name(&self, place: usize) -> String {
        let column = &self.table.columns[place];
        match column.sql_type.is_empty() {
            true => Class::of(&column.ty).words().to_owned(),
            false => column.sql_type.clone(),
        }
    }

    fn unfit(&self, place: usize, why: String) -> Unfit {
        Unfit {
            column: self.table.columns[place].name.clone(),
            why,
        }
    }
}

impl Node {
    /// SQL's three values: `None` is unknown.
    fn truth(&self, row: &Row) -> Option<bool> {
        match self {
            Node::All(parts) => fold(parts.iter().map(|part| part.truth(row)), false),
            Node::Any(parts) => fold(parts.iter().map(|part| part.truth(row)), true),
            Node::Not(inner) => inner.truth(row).map(|known| !known),
            Node::Compare(left, comparison, right) => {
                let order = left.scalar(row)?.order(&right.scalar(row)?)?;
                Some(comparison.holds(order))
            }
            Node::In(place, class, list) => {
                let cell = scalar(row, *place, *class)?;
                let equals = |item: &Option<Scalar>| Some(cell.order(item.as_ref()?)? == Ordering::Equal);
                fold(list.iter().map(equals), true)
            }
            Node::Like(place, class, pattern) => match scalar(row, *place, *class)? {
                Scalar::Text(text) => Some(like(pattern, &text)),
                _ => None,
            },
            Node::IsNull(place) => Some(row.get(*place).is_none_or(Value::is_null)),
            Node::Holds(place) => match row.get(*place)? {
                Value::Bool(known) => Some(*known),
                Value::Int(number) => Some(*number != 0),
                Value::UInt(number) => Some(*number != 0),
                Value::Bit(bits) => Some(&**bits == "1"),
                _ => None,
            },
            Node::Known(known) => *known,
        }
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

impl Side {
    fn scalar(&self, row: &Row) -> Option<Scalar> {
        match self {
            Side::Column(place, class) => scalar(row, *place, *class),
            Side::Literal(scalar) => Some(scalar.clone()),
        }
    }
}

fn scalar(row: &Row, place: usize, class: Class) -> Option<Scalar> {
    class.cell(row.get(place)?)
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
