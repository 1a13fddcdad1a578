//! Do two JSON documents say the same, however an engine has written them?
//!
//! Owns: equality by meaning. Order of keys, blanks, escapes and the spelling of a number (`1`, `1.0`, `1e0`) are none.
//! Refuses: to call the same what it cannot know to be: equal keys in one object, more levels than [`DEPTH_MAX`].

use super::{Scientific, is_minus_zero};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What serde_json reads of documents that are not raw; MySQL keeps 100.
const DEPTH_MAX: usize = 128;

/// Numbers are compared by all of their digits: a `f64` would make one of many.
pub fn same_json(one: &str, other: &str) -> bool {
    one == other || same(one, other, DEPTH_MAX)
}

fn same(one: &str, other: &str, depth: usize) -> bool {
    let (one, other) = (one.trim_ascii(), other.trim_ascii());
    let (Some(first), Some(_)) = (one.bytes().next(), depth.checked_sub(1)) else {
        return false;
    };
    match first {
        b'{' => members(one)
            .is_some_and(|one| members(other).is_some_and(|other| same_members(&one, &other, depth))),
        b'[' => {
            items(one).is_some_and(|one| items(other).is_some_and(|other| same_items(&one, &other, depth)))
        }
        b'"' => string(one).is_some_and(|one| string(other).is_some_and(|other| one == other)),
        b'-' | b'0'..=b'9' => same_number(one, other),
        // true, false, null
        _ => one == other,
    }
}

fn same_members(one: &Members<'_>, other: &Members<'_>, depth: usize) -> bool {
    one.0.len() == other.0.len()
        && one.0.iter().all(|(key, value)| {
            let there = other.0.get(key);
            there.is_some_and(|there| same(value.get(), there.get(), depth - 1))
        })
}

fn same_items(one: &[&RawValue], other: &[&RawValue], depth: usize) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|(one, other)| same(one.get(), other.get(), depth - 1))
}

fn same_number(one: &str, other: &str) -> bool {
    let (this, that) = (Scientific::of(one), Scientific::of(other));
    this.is_some() && this == that && is_minus_zero(one) == is_minus_zero(other)
}

fn string(text: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(text).ok()
}

fn items(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

fn members(text: &str) -> Option<Members<'_>> {
    serde_json::from_str(text).ok()
}

/// An object whose keys all differ.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Members<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.insert(key, value).is_some() {
                        return Err(A::Error::custom("two equal keys"));
                    }
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_what_says_the_same() {
        for (one, other) in [
            (
                "{\"a\":1,\"b\":[true,null]}",
                "{ \"b\" : [true, null], \"a\": 1 }",
            ),
            ("1", "1.0"),
            ("[1e2, 0.10]", "[100,0.1]"),
            ("\"\\u00e9\"", "\"\u{e9}\""),
            ("{}", " { } "),
        ] {
            assert!(same_json(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn a_difference_beyond_a_double_is_one() {
        for (one, other) in [
            (
                "{\"a\":12345678901234567890123}",
                "{\"a\":12345678901234567890124}",
            ),
            ("0.1000000000000000055511151231257827", "0.1"),
            ("0", "-0"),
            ("1", "\"1\""),
            ("null", "false"),
            ("{\"a\":1}", "{\"a\":1,\"b\":2}"),
            ("{\"a\":1}", "{\"b\":1}"),
            ("[1]", "[1,1]"),
            ("[]", "{}"),
            ("{\"a\":1,\"a\":2}", "{\"a\":2}"),
        ] {
            assert!(!same_json(one, other), "{one} and {other}");
            assert!(!same_json(other, one), "{other} and {one}");
        }
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(
            !same_json(&deep("1"), &deep("1.0")),
            "unknown, and no stack is spent on it"
        );
        assert!(same_json(&deep("1"), &deep("1")));
    }
}
