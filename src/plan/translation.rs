//! The words of a value map as the values of two columns.
//!
//! Owns: what a word is to a column's type, and the search. Refuses: types whose values have no one form to write down, and
//! words that their column cannot hold ([`value_of`]). A value without a counterpart does not pass: it is refused as one
//! that the target cannot hold is, and told by its column alone.

use crate::model::schema::ColumnType;
use crate::model::value::Value;
use crate::typemap::Refusal;
use std::cmp::Ordering;

/// Source values to target values, in the order of the former, for a binary search.
#[derive(Debug, Clone)]
pub struct Translation(Vec<(Value, Value)>);

impl Translation {
    /// The error names the side whose column cannot hold a word.
    pub fn bind(
        pairs: &[(String, String)],
        source: &ColumnType,
        target: &ColumnType,
    ) -> Result<Translation, String> {
        let bound = pairs.iter().map(|(here, there)| {
            let here = value_of(here, source).map_err(|why| format!("{here:?} at the source: {why}"))?;
            let there = value_of(there, target).map_err(|why| format!("{there:?} at the target: {why}"))?;
            Ok((here, there))
        });
        let mut bound = bound.collect::<Result<Vec<_>, String>>()?;
        bound.sort_by(|(one, _), (other, _)| order(one, other));
        Ok(Translation(bound))
    }

    pub fn of(&self, value: &Value, column: &str) -> Result<Value, Refusal> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        let found = self.0.binary_search_by(|(known, _)| order(known, value));
        found.map(|place| self.0[place].1.clone()).map_err(|_| Refusal {
            column: column.to_owned(),
            why: "the value is not among values in the configuration".to_owned(),
        })
    }
}

/// Values of one column have one variant.
fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) | (Value::Decimal(one), Value::Decimal(other)) => {
            one.as_bytes().cmp(other.as_bytes())
        }
        (Value::Int(one), Value::Int(other)) => one.cmp(other),
        (Value::UInt(one), Value::UInt(other)) => one.cmp(other),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        _ => {
            let bytes = |value: &Value| {
                let mut bytes = Vec::new();
                value.key_bytes(&mut bytes);
                bytes
            };
            bytes(one).cmp(&bytes(other))
        }
    }
}

/// A word as the value that a column of this type has for it.
pub fn value_of(word: &str, ty: &ColumnType) -> Result<Value, String> {
    let no_number = || "it is no whole number that the column holds".to_owned();
    match ty {
        ColumnType::Bool => match word {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("the column is boolean: true or false".to_owned()),
        },
        ColumnType::Int { bits, unsigned: true } => {
            let number: u64 = word.parse().map_err(|_| no_number())?;
            let fits = *bits >= 64 || number < 1 << bits;
            fits.then_some(Value::UInt(number)).ok_or_else(no_number)
        }
        ColumnType::Int {
            bits,
            unsigned: false,
        } => {
            let number: i64 = word.parse().map_err(|_| no_number())?;
            let half = 1_i128 << (bits - 1);
            let fits = (-half..half).contains(&i128::from(number));
            fits.then_some(Value::Int(number)).ok_or_else(no_number)
        }
        ColumnType::Text { chars, .. } => {
            let count = word.chars().count();
            match chars {
                Some(most) if count > *most as usize => Err(format!("the column holds {most} characters")),
                _ => Ok(Value::Text(word.into())),
            }
        }
        ColumnType::Enum { labels } => match labels.iter().any(|label| label == word) {
            true => Ok(Value::Text(word.into())),
            false => Err("the column has no such label".to_owned()),
        },
        _ => Err("values are for columns of texts, whole numbers, booleans and enums".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TINY: ColumnType = ColumnType::Int {
        bits: 8,
        unsigned: false,
    };

    fn text(chars: u32) -> ColumnType {
        ColumnType::Text {
            chars: Some(chars),
            bytes: None,
            fixed: false,
            utf8: true,
        }
    }

    fn pairs(words: &[(&str, &str)]) -> Vec<(String, String)> {
        let words = words.iter();
        words
            .map(|(here, there)| ((*here).to_owned(), (*there).to_owned()))
            .collect()
    }

    #[test]
    fn values_go_there_and_back_and_others_are_refused() {
        let words = pairs(&[("closed", "0"), ("active", "1"), ("on hold", "-3")]);
        let there = Translation::bind(&words, &text(10), &TINY).unwrap();
        for (word, number) in [("active", 1), ("closed", 0), ("on hold", -3)] {
            assert_eq!(
                there.of(&Value::Text(word.into()), "c").unwrap(),
                Value::Int(number)
            );
        }
        assert_eq!(there.of(&Value::Null, "c").unwrap(), Value::Null);
        let refused = there.of(&Value::Text("Active".into()), "c").unwrap_err();
        assert!(
            refused.column == "c" && !refused.why.contains("Active"),
            "{}",
            refused.why
        );
    }

    #[test]
    fn words_that_a_column_cannot_hold_are_told() {
        let unsigned = ColumnType::Int {
            bits: 8,
            unsigned: true,
        };
        let labels = ColumnType::Enum {
            labels: vec!["new".to_owned()],
        };
        for (word, ty, fits) in [
            ("127", &TINY, true),
            ("128", &TINY, false),
            ("-1", &unsigned, false),
            ("255", &unsigned, true),
            ("256", &unsigned, false),
            ("1.0", &TINY, false),
            ("true", &ColumnType::Bool, true),
            ("1", &ColumnType::Bool, false),
            ("new", &labels, true),
            ("old", &labels, false),
            ("abc", &text(3), true),
            ("abcd", &text(3), false),
            ("2026-01-01", &ColumnType::Date, false),
        ] {
            assert_eq!(value_of(word, ty).is_ok(), fits, "{word} {ty:?}");
        }
    }
}
