//! A contested update, merged column by column: what it changed, against what stands, with its before-image as base.
//!
//! Pure. Owns: [`merge`]. Only the arbiter of a table merges (see [`super::Own::Merge`]); what comes out is written above
//! both stamps, so that a stamp always names one content.
//! Fails: where a difference cannot be added exactly ([`Unmerged`]); nothing is guessed then.

use crate::model::rules::ColumnRule;
use crate::model::value::{Row, Value};
use crate::typemap::same_json;

/// The three rows, with cells in the same places.
#[derive(Debug, Clone, Copy)]
pub struct Three<'a> {
    /// What the incoming change was made on.
    pub base: &'a Row,
    pub incoming: &'a Row,
    pub standing: &'a Row,
}

/// The place of a column whose difference cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmerged(pub usize);

/// One rule per place. Where both sides changed a column, and in columns that go with their row, `incoming_wins` says
/// whose value is taken. Cells that the change does not carry are `None`: they stay as they stand.
pub fn merge(rules: &[ColumnRule], rows: Three<'_>, incoming_wins: bool) -> Result<Row, Unmerged> {
    let cells = rows.incoming.0.iter().enumerate().map(|(place, incoming)| {
        let (Some(incoming), Some(standing)) = (incoming, rows.standing.get(place)) else {
            return Ok(incoming.clone());
        };
        let rule = rules.get(place).copied().unwrap_or(ColumnRule::Row);
        let winner = if incoming_wins { incoming } else { standing };
        let value = match (rule, rows.base.get(place)) {
            (ColumnRule::Standing, _) => standing.clone(),
            (ColumnRule::Incoming, _) => incoming.clone(),
            (ColumnRule::Row, _) | (_, None) => winner.clone(),
            (ColumnRule::Columns, Some(base)) => alone(base, incoming, standing, winner).clone(),
            // Without a number on each side there is no difference.
            (ColumnRule::Delta, Some(base)) => match [base, incoming, standing].iter().any(|v| v.is_null()) {
                true => alone(base, incoming, standing, winner).clone(),
                false => add(base, incoming, standing).ok_or(Unmerged(place))?,
            },
        };
        Ok(Some(value))
    });
    let cells: Result<Vec<Option<Value>>, Unmerged> = cells.collect();
    Ok(Row(cells?.into_boxed_slice()))
}

/// The value of the side that changed it alone.
fn alone<'a>(base: &Value, incoming: &'a Value, standing: &'a Value, winner: &'a Value) -> &'a Value {
    match (is_same(base, incoming), is_same(base, standing)) {
        (true, _) => standing,
        (false, true) => incoming,
        (false, false) => winner,
    }
}

/// JSON is compared by what it says: an engine may write its text anew.
pub(crate) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Json(one), Value::Json(other)) => same_json(one, other),
        (one, other) => one == other,
    }
}

/// `standing + (incoming - base)`; `None` where that is no number of the kind, or too long.
fn add(base: &Value, incoming: &Value, standing: &Value) -> Option<Value> {
    let (base, incoming, standing) = (number(base)?, number(incoming)?, number(standing)?);
    let scale = base.scale.max(incoming.scale).max(standing.scale);
    let difference = incoming.at(scale)?.checked_sub(base.at(scale)?)?;
    let sum = standing.at(scale)?.checked_add(difference)?;
    match standing.kind {
        Kind::Int => Some(Value::Int(i64::try_from(sum).ok()?)),
        Kind::UInt => Some(Value::UInt(u64::try_from(sum).ok()?)),
        Kind::Decimal => Some(Value::Decimal(text(sum, scale).into())),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Int,
    UInt,
    Decimal,
}

/// An exact number of at most 38 digits.
#[derive(Clone, Copy)]
struct Number {
    kind: Kind,
    digits: i128,
    scale: u32,
}

impl Number {
    fn at(self, scale: u32) -> Option<i128> {
        let more = 10_i128.checked_pow(scale.checked_sub(self.scale)?)?;
        self.digits.checked_mul(more)
    }
}

fn number(value: &Value) -> Option<Number> {
    let whole = |kind, digits| Number {
        kind,
        digits,
        scale: 0,
    };
    match value {
        Value::Int(int) => Some(whole(Kind::Int, i128::from(*int))),
        Value::UInt(int) => Some(whole(Kind::UInt, i128::from(*int))),
        Value::Decimal(text) => {
            let (before, after) = text.split_once('.').unwrap_or((text, ""));
            Some(Number {
                kind: Kind::Decimal,
                digits: format!("{before}{after}").parse().ok()?,
                scale: u32::try_from(after.len()).ok()?,
            })
        }
        _ => None,
    }
}

fn text(digits: i128, scale: u32) -> String {
    let sign = if digits < 0 { "-" } else { "" };
    let scale = scale as usize;
    let plain = format!("{:0width$}", digits.unsigned_abs(), width = scale + 1);
    let (before, after) = plain.split_at(plain.len() - scale);
    match after {
        "" => format!("{sign}{before}"),
        after => format!("{sign}{before}.{after}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(cells: [i64; 3]) -> Row {
        cells.into_iter().map(|cell| Some(Value::Int(cell))).collect()
    }

    fn merged(rule: ColumnRule, base: [i64; 3], incoming: [i64; 3], standing: [i64; 3], wins: bool) -> Row {
        let (base, incoming, standing) = (row(base), row(incoming), row(standing));
        let rows = Three {
            base: &base,
            incoming: &incoming,
            standing: &standing,
        };
        merge(&[rule; 3], rows, wins).unwrap()
    }

    #[test]
    fn disjoint_changes_survive_and_the_same_column_goes_to_the_winner() {
        let three = ([1, 1, 1], [2, 1, 2], [1, 3, 3]);
        for (wins, last) in [(true, 2), (false, 3)] {
            let both = merged(ColumnRule::Columns, three.0, three.1, three.2, wins);
            assert_eq!(both, row([2, 3, last]));
            let whole = if wins { three.1 } else { three.2 };
            assert_eq!(
                merged(ColumnRule::Row, three.0, three.1, three.2, wins),
                row(whole)
            );
        }
        let deltas = merged(ColumnRule::Delta, three.0, three.1, three.2, true);
        assert_eq!(deltas, row([2, 3, 4]));
    }

    /// `first` was made on `was`; `later` on `sent`, which replaced the first; `here` stands. In one change, made on `sent`,
    /// they come to what they come to one by one, but where three have changed one column.
    #[test]
    fn two_changes_in_one_lose_nothing_of_either() {
        let merge_cell = |rule, base, incoming, standing, wins| {
            let row = merged(rule, [base; 3], [incoming; 3], [standing; 3], wins);
            match row.0[0] {
                Some(Value::Int(value)) => value,
                _ => panic!("{row:?}"),
            }
        };
        for case in 0..3_i64.pow(5) {
            let digit = |place: u32| case / 3_i64.pow(place) % 3;
            let [was, first, sent, later, here] = [digit(0), digit(1), digit(2), digit(3), digit(4)];
            for wins in [true, false] {
                let both = |rule| {
                    let in_one = merge_cell(rule, was, first, later, false);
                    merge_cell(rule, sent, in_one, here, wins)
                };
                let in_turn = |rule| {
                    let after = merge_cell(rule, was, first, here, false);
                    merge_cell(rule, sent, later, after, wins)
                };
                assert_eq!(both(ColumnRule::Delta), in_turn(ColumnRule::Delta));
                let changed = [first != was, later != sent, here != sent].map(usize::from);
                if sent == was && changed.iter().sum::<usize>() < 2 {
                    let (both, in_turn) = (both(ColumnRule::Columns), in_turn(ColumnRule::Columns));
                    assert_eq!(both, in_turn, "{was} {first} {sent} {later} {here}");
                    assert_eq!(both - was, first - was + later - sent + here - sent);
                }
            }
        }
    }

    #[test]
    fn differences_are_exact_or_refused() {
        let decimal = |text: &str| Value::Decimal(text.into());
        for (base, incoming, standing, sum) in [
            ("10.00", "9.50", "12.25", Some("11.75")),
            ("0", "0.1", "-0.05", Some("0.05")),
            ("5", "1", "2", Some("-2")),
            ("0", "NaN", "1", None),
        ] {
            let added = add(&decimal(base), &decimal(incoming), &decimal(standing));
            assert_eq!(added, sum.map(decimal), "{standing} + ({incoming} - {base})");
        }
        let most = Value::Int(i64::MAX);
        assert_eq!(add(&Value::Int(0), &Value::Int(1), &most), None);
        assert_eq!(
            add(&Value::Int(3), &Value::Int(1), &Value::UInt(1)),
            None,
            "below zero"
        );
        assert_eq!(
            add(&Value::Double(1.0), &Value::Double(2.0), &Value::Double(1.0)),
            None
        );
    }

    #[test]
    fn null_is_a_value_and_json_is_compared_by_what_it_says() {
        let (one, null) = (Value::Int(1), Value::Null);
        let json = |text: &str| Value::Json(text.into());
        let merged = |rule, base: &Value, incoming: &Value, standing: &Value| {
            let rows =
                [base, incoming, standing].map(|cell| [Some(cell.clone())].into_iter().collect::<Row>());
            let rows = Three {
                base: &rows[0],
                incoming: &rows[1],
                standing: &rows[2],
            };
            merge(&[rule], rows, true).unwrap().0[0].clone().unwrap()
        };
        assert_eq!(merged(ColumnRule::Delta, &null, &null, &one), one);
        assert_eq!(merged(ColumnRule::Delta, &null, &one, &null), one);
        let standing = merged(
            ColumnRule::Columns,
            &json("{\"a\":1}"),
            &json("{\"a\": 1}"),
            &json("[]"),
        );
        assert_eq!(standing, json("[]"));
        // As doubles these are one number.
        let (base, incoming) = (json("12345678901234567890123"), json("12345678901234567890124"));
        let alone = merged(ColumnRule::Columns, &base, &incoming, &base);
        assert_eq!(alone, incoming);
    }
}
