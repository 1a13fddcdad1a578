//! What was bound, in an engine's SQL.
//!
//! Owns: writing it so that the server's answer is ours ([`written`](Filter::written)), and the part of a condition that a
//! server may be trusted with ([`pushed`](Filter::pushed)): comparisons of cells with literals. The rest depends on a
//! server's version or its encoding, and is ours alone.
//! Refuses: what the engine has no words for. Rows go by the name `t`. What engines write differently is each one's own
//! ([`Dialect`], in its `sql/expression.rs`). Pure.

use super::node::Node;
use super::number::Digits;
use super::{Comparison, Filter, Formula, Kind, Letters, Operator, Part, Piece, Scalar};
use crate::model::schema::{Column, Table};

/// How one engine writes it. `None`: it has nothing that means the same.
pub trait Dialect {
    /// A cell as a value of this kind.
    fn column(&self, column: &Column, kind: Kind) -> Option<String>;
    fn literal(&self, kind: Kind, scalar: Option<&Scalar<'_>>) -> Option<String>;
    /// A text as what is compared byte by byte.
    fn bytes(&self, text: String) -> String;
    /// A text as what is matched character by character.
    fn chars(&self, text: String) -> String;
    /// A number as what is looked for in a list.
    fn member(&self, number: String, digits: Option<Digits>) -> Option<String>;
    /// What is calculated with.
    fn exact(&self, number: String, digits: Option<Digits>) -> Option<String>;
    /// Can it be calculated without losing a digit?
    fn calculates(&self, left: Option<Digits>, operator: Operator, right: Option<Digits>) -> bool;
    fn concat(&self, left: &str, right: &str) -> String;
    fn letters(&self, letters: Letters, text: &str) -> Option<String>;
    fn split(&self, text: &str, by: &str, piece: usize) -> Option<String>;
    fn part(&self, part: Part, of: &str, kind: Kind) -> Option<String>;
    /// Of a whole number.
    fn digits(&self, number: &str) -> String;
    /// Does every server of the engine, whatever its encoding, know this text of a comparison?
    fn is_certain(&self, text: &str) -> bool;
}

impl Filter {
    /// The whole condition.
    pub fn written(&self, table: &Table, dialect: &impl Dialect) -> Option<String> {
        Writer { table, dialect }.node(&self.node)
    }

    /// A condition that every row fulfils which this one takes; `None`: there is none that spares anything.
    pub fn pushed(&self, table: &Table, dialect: &impl Dialect) -> Option<String> {
        let writer = Writer { table, dialect };
        let mut found = Vec::new();
        writer.conjuncts(&self.node, &mut found);
        (!found.is_empty()).then(|| found.join(" AND "))
    }
}

impl Formula {
    pub fn written(&self, table: &Table, dialect: &impl Dialect) -> Option<String> {
        Writer { table, dialect }.node(&self.node)
    }

    /// What it is, for who reads the server's answer.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

struct Writer<'a, D> {
    table: &'a Table,
    dialect: &'a D,
}

impl<D: Dialect> Writer<'_, D> {
    fn conjuncts(&self, node: &Node, found: &mut Vec<String>) {
        match node {
            Node::All(parts) => parts.iter().for_each(|part| self.conjuncts(part, found)),
            _ if self.is_certain(node) => found.extend(self.node(node)),
            _ => {}
        }
    }

    fn is_certain(&self, node: &Node) -> bool {
        match node {
            Node::All(parts) | Node::Any(parts) => parts.iter().all(|part| self.is_certain(part)),
            Node::Not(of) | Node::Truth(of) => self.is_certain(of),
            Node::IsEmpty(place) => self.is_of_the_table(*place),
            Node::Column(place, Kind::Bool | Kind::Number { small: true, .. }) => {
                self.is_of_the_table(*place)
            }
            Node::Literal(Kind::Bool, _) => true,
            Node::Compare(kind, left, comparison, right) => {
                let is_plain = self.is_plain(left) && self.is_plain(right);
                let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
                // Not every encoding has the order of characters.
                is_plain && (is_equality || !matches!(kind, Kind::Text { .. }))
            }
            Node::In(_, of, list) => {
                self.is_plain(of) && list.iter().all(|item| self.is_known(item.as_ref()))
            }
            // What a character is depends on the encoding.
            Node::Like(of, pattern) => {
                self.is_plain(of)
                    && !pattern.contains(&Piece::One)
                    && self.dialect.is_certain(&pattern_text(pattern))
            }
            _ => false,
        }
    }

    /// A cell or a literal.
    fn is_plain(&self, node: &Node) -> bool {
        match node {
            Node::Column(place, _) => self.is_of_the_table(*place),
            Node::Literal(_, scalar) => self.is_known(scalar.as_ref()),
            _ => false,
        }
    }

    fn is_known(&self, scalar: Option<&Scalar<'_>>) -> bool {
        match scalar {
            Some(Scalar::Text(text)) => self.dialect.is_certain(text),
            Some(_) | None => true,
        }
    }

    fn is_of_the_table(&self, place: usize) -> bool {
        let column = self.table.columns.get(place);
        column.is_some_and(|column| !column.is_beside())
    }

    fn column(&self, place: usize, kind: Kind) -> Option<String> {
        self.dialect.column(self.table.columns.get(place)?, kind)
    }

    fn node(&self, node: &Node) -> Option<String> {
        Some(match node {
            Node::Column(place, kind) => self.column(*place, *kind)?,
            Node::Literal(kind, scalar) => self.dialect.literal(*kind, scalar.as_ref())?,
            Node::All(parts) => format!("({})", self.joined(parts, " AND ")?),
            Node::Any(parts) => format!("({})", self.joined(parts, " OR ")?),
            Node::Not(of) => format!("(NOT {})", self.node(of)?),
            Node::Truth(of) => format!("({} <> 0)", self.node(of)?),
            Node::Compare(kind, left, comparison, right) => {
                let (left, right) = (self.compared(*kind, left)?, self.compared(*kind, right)?);
                format!("({left} {comparison} {right})")
            }
            Node::In(kind, of, list) => {
                let literal = |item: &Option<Scalar<'_>>| {
                    let literal = self.dialect.literal(*kind, item.as_ref())?;
                    Some(self.by_bytes(*kind, literal))
                };
                let list: Option<Vec<String>> = list.iter().map(literal).collect();
                format!("({} IN ({}))", self.member(*kind, of)?, list?.join(", "))
            }
            Node::Like(of, pattern) => {
                let pattern = Scalar::Text(pattern_text(pattern).into());
                let pattern = self.dialect.literal(Kind::text(None), Some(&pattern))?;
                let escape = self
                    .dialect
                    .literal(Kind::text(None), Some(&Scalar::Text("!".into())))?;
                format!(
                    "({} LIKE {pattern} ESCAPE {escape})",
                    self.dialect.chars(self.node(of)?)
                )
            }
            Node::IsNull(of) => format!("({} IS NULL)", self.node(of)?),
            Node::IsEmpty(place) => {
                let kind = Kind::Opaque("of any type");
                format!("({} IS NULL)", self.column(*place, kind)?)
            }
            Node::Coalesce(parts) => format!("COALESCE({})", self.joined(parts, ", ")?),
            Node::Case(cases, otherwise) => self.case(cases, otherwise.as_deref())?,
            Node::Arithmetic(left, operator, right) => {
                if !self.dialect.calculates(digits(left), *operator, digits(right)) {
                    return None;
                }
                format!("({} {operator} {})", self.exact(left)?, self.exact(right)?)
            }
            Node::Negative(of) => format!("(- {})", self.exact(of)?),
            Node::Concat(left, right) => self.dialect.concat(&self.node(left)?, &self.node(right)?),
            Node::Letters(letters, of) => self.dialect.letters(*letters, &self.node(of)?)?,
            Node::Trim(ends, of) => format!("TRIM({ends} ' ' FROM {})", self.node(of)?),
            Node::Substring { of, from, chars } => match chars {
                Some(chars) => format!("SUBSTRING({} FROM {from} FOR {chars})", self.node(of)?),
                None => format!("SUBSTRING({} FROM {from})", self.node(of)?),
            },
            Node::Split { of, by, piece } => self.dialect.split(&self.node(of)?, by, *piece)?,
            Node::Part(part, of, kind) => self.dialect.part(*part, &self.node(of)?, *kind)?,
            Node::Digits(of) => self.dialect.digits(&self.exact(of)?),
        })
    }

    fn joined(&self, parts: &[Node], between: &str) -> Option<String> {
        let parts: Option<Vec<String>> = parts.iter().map(|part| self.node(part)).collect();
        Some(parts?.join(between))
    }

    fn case(&self, cases: &[(Node, Node)], otherwise: Option<&Node>) -> Option<String> {
        let mut out = String::from("CASE");
        for (condition, result) in cases {
            out += &format!(" WHEN {} THEN {}", self.node(condition)?, self.node(result)?);
        }
        if let Some(otherwise) = otherwise {
            out += &format!(" ELSE {}", self.node(otherwise)?);
        }
        Some(out + " END")
    }

    fn compared(&self, kind: Kind, node: &Node) -> Option<String> {
        Some(self.by_bytes(kind, self.node(node)?))
    }

    fn by_bytes(&self, kind: Kind, written: String) -> String {
        match kind {
            Kind::Text { .. } => self.dialect.bytes(written),
            _ => written,
        }
    }

    fn exact(&self, node: &Node) -> Option<String> {
        match node {
            // Exact as it is.
            Node::Arithmetic(..) => self.node(node),
            _ => self.dialect.exact(self.node(node)?, digits(node)),
        }
    }

    fn member(&self, kind: Kind, node: &Node) -> Option<String> {
        match kind {
            Kind::Number { .. } => self.dialect.member(self.node(node)?, digits(node)),
            _ => self.compared(kind, node),
        }
    }
}

/// The most digits of a number; `None`: any count.
fn digits(node: &Node) -> Option<Digits> {
    let most = |mut parts: Box<dyn Iterator<Item = &Node> + '_>| {
        parts.try_fold(Digits::whole(1), |most, part| Some(most.hold(digits(part)?)))
    };
    match node {
        Node::Literal(_, None) => Some(Digits::whole(1)),
        Node::Column(_, Kind::Number { digits, .. }) | Node::Literal(Kind::Number { digits, .. }, _) => {
            *digits
        }
        Node::Arithmetic(left, operator, right) => Some(digits(left)?.after(*operator, digits(right)?)),
        Node::Negative(of) => digits(of),
        Node::Part(..) => Some(Digits::whole(7)),
        Node::Coalesce(parts) => most(Box::new(parts.iter())),
        Node::Case(cases, otherwise) => {
            let results = cases.iter().map(|(_, result)| result);
            most(Box::new(results.chain(otherwise.as_deref())))
        }
        _ => None,
    }
}

fn pattern_text(pattern: &[Piece]) -> String {
    pattern.iter().map(Piece::to_string).collect()
}
