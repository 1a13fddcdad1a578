//! For every pair of types: words and work agree, and what is accepted comes back equal.
#![allow(clippy::unwrap_used)]

mod domain;
mod server;

use self::domain::{domain, numbers, texts, times};
use super::table::column;
use super::{Verdict, cast, stays, verdict};
use crate::model::schema::{Column, ColumnType, Engine};
use crate::model::value::Value;
use ColumnType as T;
use proptest::prelude::*;
use proptest::sample::select;

fn side() -> impl Strategy<Value = (ColumnType, Engine)> {
    select(vec![Engine::Postgres, Engine::Mysql, Engine::Mariadb]).prop_flat_map(|engine| {
        let types = [numbers(engine), texts(engine), times(engine)].concat();
        (select(types), Just(engine))
    })
}

/// Two types of one family more often than chance would give, since most other pairs are refused.
fn pair() -> impl Strategy<Value = ((ColumnType, Engine), (ColumnType, Engine))> {
    let engine = || select(vec![Engine::Postgres, Engine::Mysql, Engine::Mariadb]);
    let family = (0..3usize, engine(), engine()).prop_flat_map(|(family, from, to)| {
        let of = move |engine| select([numbers, texts, times][family](engine));
        ((of(from), Just(from)), (of(to), Just(to)))
    });
    prop_oneof![1 => (side(), side()), 6 => family]
}

/// Equal by what the type means: an unbounded numeric is a number whatever its scale.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (Value::Decimal(a), Value::Decimal(b)) => {
            let plain = |s: &str| {
                if s.contains('.') {
                    s.trim_end_matches('0').trim_end_matches('.').to_owned()
                } else {
                    s.to_owned()
                }
            };
            plain(a) == plain(b)
        }
        (a, b) => a == b,
    }
}

/// The narrow character set of these tests is latin1; of an unknown one only ASCII could come back.
fn declared(ty: &ColumnType) -> Column {
    let narrow = matches!(ty, T::Text { utf8: false, .. });
    Column {
        collation: if narrow { "latin1_swedish_ci" } else { "" }.into(),
        ..column(ty.clone())
    }
}

/// A normalised JSON type prints a document, which text keeps; text does not go back, for it would be rewritten. Nor
/// does the text of a type whose printed form is not known here.
fn is_one_way(source: &ColumnType, target: &ColumnType) -> bool {
    matches!(
        (source, target),
        (T::Json { normalised: true } | T::Opaque { .. }, T::Text { .. })
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_and_work_agree(
        (source, from, target, to, value) in pair().prop_flat_map(|((source, from), (target, to))| {
            let values = domain(&source, from);
            (Just(source), Just(from), Just(target), Just(to), values)
        })
    ) {
        let (there, here) = (declared(&target), declared(&source));
        let said = verdict(&here, from, &there, to);
        let done = cast(value.clone(), &source, from, &there, to);
        if stays(&value, &source, from, &there, to) {
            prop_assert!(done.as_ref().is_ok_and(|done| equal(done, &value)), "stays, but is {done:?}");
        }
        match (&said, done) {
            (Verdict::Refused(_) | Verdict::Lossy(_), done) => prop_assert!(done.is_err(), "refused in words only"),
            (Verdict::Exact, Err(refusal)) => prop_assert!(false, "called exact, but: {refusal}"),
            (Verdict::ExactIf(_), Err(_)) => {}
            (Verdict::Exact | Verdict::ExactIf(_), Ok(carried)) => {
                let kept = server::stored(&carried, &target, to);
                prop_assert!(kept.as_ref().is_some_and(|kept| equal(kept, &carried)), "server has {kept:?}");
                // What the target took is in its form: a target of the same type takes it as it is.
                let again = cast(carried.clone(), &target, to, &there, to);
                prop_assert!(again.is_ok_and(|again| equal(&again, &carried)), "not in the target's form");
                if !is_one_way(&source, &target) {
                    let back = cast(carried, &target, to, &here, from);
                    prop_assert!(back.as_ref().is_ok_and(|back| equal(back, &value)), "came back as {back:?}");
                }
            }
        }
    }
}
