//! A column whose values have other words on another node: `active` here, 1 there.
//!
//! Owns: the words of each node ([`ValueMap`]) and which become which in one direction ([`ValueMap::pairs`]). Refuses: what
//! a word means to a column's type (see `plan::translation`). Words are compared as they are written. Pure.

use super::{Mapping, Passage};
use crate::expr::{Comparison, Expr, Literal};
use crate::model::schema::{ColumnType, Table};
use std::collections::BTreeMap;

/// One column's words. A node without words of its own has the configuration's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueMap {
    /// The column's name in the configuration.
    pub column: String,
    /// The column's names by node.
    pub names: Vec<String>,
    /// By node: the configuration's word to the node's.
    pub words: Vec<Option<BTreeMap<String, String>>>,
}

impl ValueMap {
    /// The source's word and the target's. What is not among them cannot pass.
    pub fn pairs(&self, source: usize, target: usize) -> Vec<(String, String)> {
        let words = |node: usize| self.words.get(node).and_then(Option::as_ref);
        let (here, there) = (words(source), words(target));
        let word = |known: Option<&BTreeMap<String, String>>, common: &String| match known {
            Some(words) => words.get(common).cloned(),
            None => Some(common.clone()),
        };
        let common = here.or(there).into_iter().flat_map(BTreeMap::keys);
        common
            .filter_map(|common| Some((word(here, common)?, word(there, common)?)))
            .collect()
    }

    /// A word that two of the configuration's words have in common on this node.
    pub fn ambiguous(&self, node: usize) -> Option<&str> {
        let words = self.words.get(node)?.as_ref()?;
        let mut seen = std::collections::BTreeSet::new();
        words
            .values()
            .find(|word| !seen.insert(*word))
            .map(String::as_str)
    }
}

/// Why a condition cannot be said in the words of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsayable {
    /// The configuration's name.
    pub column: String,
    pub why: String,
}

/// A word as a column's type has it; the configuration's column, the word.
type Write<'a> = &'a dyn Fn(&str, &str) -> Literal;

impl Mapping {
    /// A condition of the configuration's words in those of a node: what it compares with a column of other words there.
    /// Only equality has a meaning that both share.
    pub fn said_on(&self, node: usize, condition: &Expr, table: Option<&Table>) -> Result<Expr, Unsayable> {
        let ty = |column: &str| {
            let table = table?;
            let place = table.column(self.name_on(node, column))?;
            Some(&table.columns[place].ty)
        };
        let write = |column: &str, word: &str| match ty(column) {
            Some(ColumnType::Int { .. }) => Literal::Number(word.to_owned()),
            Some(ColumnType::Bool) => Literal::Bool(word == "true"),
            Some(_) | None => Literal::Text(word.to_owned()),
        };
        self.said(node, condition, &write)
    }

    fn said(&self, node: usize, expr: &Expr, write: Write<'_>) -> Result<Expr, Unsayable> {
        let map = |column: &str| self.values.iter().find(|map| map.column == column);
        let all = |parts: &[Expr]| {
            let said = parts.iter().map(|part| self.said(node, part, write));
            said.collect::<Result<Vec<Expr>, Unsayable>>()
        };
        let Some(mapped) = expr.columns().into_iter().find_map(map) else {
            return Ok(expr.clone());
        };
        let word = |column: &str, literal: &Literal| match map(column) {
            Some(map) => map.said(node, literal, write),
            None => Ok(literal.clone()),
        };
        Ok(match expr {
            Expr::All(parts) => Expr::All(all(parts)?),
            Expr::Any(parts) => Expr::Any(all(parts)?),
            Expr::Not(of) => Expr::Not(Box::new(self.said(node, of, write)?)),
            Expr::IsNull(of) if matches!(**of, Expr::Column(_)) => expr.clone(),
            Expr::Compare(left, comparison @ (Comparison::Equal | Comparison::NotEqual), right) => {
                let (left, right) = match (&**left, &**right) {
                    (Expr::Column(column), Expr::Literal(literal)) => (
                        Expr::Column(column.clone()),
                        Expr::Literal(word(column, literal)?),
                    ),
                    (Expr::Literal(literal), Expr::Column(column)) => (
                        Expr::Literal(word(column, literal)?),
                        Expr::Column(column.clone()),
                    ),
                    _ => return Err(mapped.unsayable(OTHERWISE)),
                };
                Expr::Compare(Box::new(left), *comparison, Box::new(right))
            }
            Expr::In(of, literals) => match &**of {
                Expr::Column(column) => {
                    let words = literals.iter().map(|literal| word(column, literal));
                    Expr::In(of.clone(), words.collect::<Result<_, Unsayable>>()?)
                }
                _ => return Err(mapped.unsayable(OTHERWISE)),
            },
            _ => return Err(mapped.unsayable(OTHERWISE)),
        })
    }
}

const OTHERWISE: &str = "its values have other words on some nodes, so that it can be compared by =, <>, IN and IS NULL with \
                         words of the configuration alone";

impl ValueMap {
    fn unsayable(&self, why: &str) -> Unsayable {
        Unsayable {
            column: self.column.clone(),
            why: why.to_owned(),
        }
    }

    /// A literal of the configuration's words in the node's.
    fn said(&self, node: usize, literal: &Literal, write: Write<'_>) -> Result<Literal, Unsayable> {
        let common = match literal {
            Literal::Null => return Ok(Literal::Null),
            Literal::Number(word) | Literal::Text(word) => word.clone(),
            Literal::Bool(word) => word.to_string(),
        };
        let mut known = self.words.iter().flatten();
        if !known.all(|words| words.contains_key(&common)) {
            return Err(self.unsayable("the condition has a word for it that is not among its values"));
        }
        if let Some(word) = self.ambiguous(node) {
            let why = format!(
                "{word:?} stands for two of its values on a node, which the condition could not tell apart"
            );
            return Err(self.unsayable(&why));
        }
        let own = self.words.get(node).and_then(Option::as_ref);
        Ok(match own.and_then(|words| words.get(&common)) {
            Some(own) => write(&self.column, own),
            None => literal.clone(),
        })
    }
}

impl Passage {
    /// The source's name, the target's, and what becomes of its values, of each column whose values differ between the two.
    pub fn translations(&self) -> impl Iterator<Item = (&str, &str, Vec<(String, String)>)> {
        self.mapping.values.iter().filter_map(|map| {
            let (here, there) = (map.names.get(self.source)?, map.names.get(self.target)?);
            let differs =
                [self.source, self.target].map(|node| map.words.get(node).is_some_and(Option::is_some));
            differs
                .contains(&true)
                .then(|| (here.as_str(), there.as_str(), map.pairs(self.source, self.target)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(words: [&[(&str, &str)]; 3]) -> ValueMap {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(common, own)| ((*common).to_owned(), (*own).to_owned()));
            (!pairs.len().eq(&0)).then(|| pairs.collect())
        };
        ValueMap {
            column: "state".to_owned(),
            names: vec!["state".to_owned(); 3],
            words: words.map(owned).to_vec(),
        }
    }

    #[test]
    fn words_pass_by_what_they_mean_to_the_configuration() {
        let map = map([
            &[],
            &[("active", "1"), ("closed", "0")],
            &[("active", "A"), ("closed", "Z")],
        ]);
        let pair = |here: &str, there: &str| (here.to_owned(), there.to_owned());
        assert_eq!(map.pairs(0, 1), [pair("active", "1"), pair("closed", "0")]);
        assert_eq!(map.pairs(1, 0), [pair("1", "active"), pair("0", "closed")]);
        assert_eq!(map.pairs(1, 2), [pair("1", "A"), pair("0", "Z")]);
    }

    #[test]
    fn a_condition_is_said_in_the_words_of_a_node() {
        let number = ColumnType::Int {
            bits: 16,
            unsigned: false,
        };
        let mapping = Mapping {
            values: vec![map([
                &[],
                &[("active", "1"), ("closed", "0")],
                &[("active", "A"), ("closed", "Z")],
            ])],
            ..Mapping::default()
        };
        let table = |ty: ColumnType| Table {
            id: crate::model::schema::TableId::new("s", "t"),
            columns: vec![crate::model::schema::Column {
                name: "state".to_owned(),
                ty,
                sql_type: String::new(),
                collation: String::new(),
                nullable: true,
                generated: false,
                has_default: false,
            }],
            key: Vec::new(),
            uniques: Vec::new(),
            external: None,
        };
        let text = ColumnType::Text {
            chars: None,
            bytes: None,
            fixed: false,
            utf8: true,
        };
        let parse = |text: &str| Expr::parse(text).ok();
        let condition =
            parse("id = 1 AND NOT (state = 'active' OR 'closed' <> state) AND state IN ('closed')");
        let condition = condition.as_ref();
        for (node, ty, said) in [
            (
                0,
                text.clone(),
                "id = 1 AND NOT (state = 'active' OR 'closed' <> state) AND state IN ('closed')",
            ),
            (
                1,
                number,
                "id = 1 AND NOT (state = 1 OR 0 <> state) AND state IN (0)",
            ),
            (
                2,
                text,
                "id = 1 AND NOT (state = 'A' OR 'Z' <> state) AND state IN ('Z')",
            ),
        ] {
            let of_node =
                condition.and_then(|condition| mapping.said_on(node, condition, Some(&table(ty))).ok());
            assert_eq!(of_node, parse(said), "{node}");
        }
        let unknown = parse("state = 'else'");
        assert!(unknown.is_some_and(|unknown| mapping.said_on(1, &unknown, None).is_err()));
    }

    #[test]
    fn a_word_for_two_is_told() {
        let map = map([&[], &[("active", "1"), ("live", "1")], &[]]);
        assert_eq!((map.ambiguous(0), map.ambiguous(1)), (None, Some("1")));
    }
}
