//! What a user's write makes of a row's version, for each version source.
//!
//! Pure. Owns: the bits of a `status` version, and what the stamp triggers compute (`sql/*/stamp_insert.sql`,
//! `stamp_update.sql`, `status_*.sql`): the tests of real servers compare both. A version never goes down and every
//! write raises it, whatever the source was before and whatever clocks do.
//!
//! | bits | 62 to 40 | 39 to 32 | 31 to 0 |
//! |---|---|---|---|
//! | `status` | generation | rank of the status, 0 = not in the list | counter |

use crate::model::value::Value;
use crate::model::version::VersionSource;

/// Statuses in a list, so that a rank fits its bits.
pub const STATUSES_MAX: usize = 255;

const RANK_SHIFT: u32 = 32;
const GENERATION_SHIFT: u32 = 40;
const COUNTER_MAX: i64 = (1 << RANK_SHIFT) - 1;
const GENERATION_MAX: i64 = (1 << 23) - 1;

/// What a write brings along, besides happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brings {
    /// `counter`: nothing.
    Nothing,
    /// `timestamp`: a moment, in microseconds since 1970.
    Moment(i64),
    /// `status`: the place of the row's status in the list, from 1; 0 = it is not in the list.
    Status(u8),
}

/// What a row that was there before it had a version brings along, by this column of it.
pub fn brought(source: &VersionSource, value: &Value) -> Brings {
    match source {
        VersionSource::Counter | VersionSource::Clock => Brings::Nothing,
        VersionSource::Column(_) => Brings::Moment(moment(value).unwrap_or(0).max(0)),
        VersionSource::Status { order, .. } => Brings::Status(status(order, value).unwrap_or(0)),
    }
}

/// `None`: NULL, infinity and dates that are none.
fn moment(value: &Value) -> Option<i64> {
    let (Value::Timestamp(text) | Value::TimestampTz(text)) = value else {
        return None;
    };
    let text = text.trim_end_matches("+00").trim_end_matches('Z');
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let moment = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(moment.timestamp().as_microsecond())
}

fn status(order: &[String], value: &Value) -> Option<u8> {
    let text = match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        _ => return None,
    };
    let place = order.iter().position(|status| *status == text)?;
    u8::try_from(place + 1).ok()
}

/// The version of a row that has `old` and is changed.
pub fn updated(old: i64, brings: Brings) -> i64 {
    let next = old.saturating_add(1);
    match brings {
        Brings::Nothing => next,
        Brings::Moment(moment) => next.max(moment),
        Brings::Status(status) => {
            let (generation, rank, counter) = unpacked(old);
            let status = i64::from(status);
            if (status == 0 || status == rank) && counter < COUNTER_MAX {
                next
            } else if status > rank {
                packed(generation, status)
            } else if generation < GENERATION_MAX {
                packed(generation + 1, if status == 0 { rank } else { status })
            } else {
                next
            }
        }
    }
}

/// The version of a row that comes to be. `seen`: the greatest of the row, the tombstone and the floor of its key; 0 =
/// there was none.
pub fn inserted(seen: i64, brings: Brings) -> i64 {
    let next = seen.saturating_add(1);
    match brings {
        Brings::Nothing => next,
        Brings::Moment(moment) => next.max(moment),
        Brings::Status(status) => {
            let (generation, ..) = unpacked(seen);
            let status = i64::from(status);
            if seen == 0 {
                packed(0, status).max(1)
            } else if generation < GENERATION_MAX {
                packed(generation + 1, status)
            } else {
                next
            }
        }
    }
}

/// The version of a row that is changed and takes a key that has `seen`.
pub fn moved(old: i64, seen: i64, brings: Brings) -> i64 {
    let changed = updated(old, brings);
    match seen >= changed {
        true => inserted(seen, brings),
        false => changed,
    }
}

fn packed(generation: i64, rank: i64) -> i64 {
    (generation << GENERATION_SHIFT) | (rank << RANK_SHIFT)
}

/// Generation, rank, counter.
fn unpacked(version: i64) -> (i64, i64, i64) {
    (
        version >> GENERATION_SHIFT,
        (version >> RANK_SHIFT) & 0xff,
        version & COUNTER_MAX,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Brings = Brings::Status(1);
    const PAID: Brings = Brings::Status(2);
    const SHIPPED: Brings = Brings::Status(3);
    const OTHER: Brings = Brings::Status(0);

    #[test]
    fn a_further_status_beats_any_number_of_writes() {
        let paid = updated(inserted(0, NEW), PAID);
        let busy = (0..10_000).fold(paid, |version, _| updated(version, PAID));
        let shipped = updated(paid, SHIPPED);
        assert!(shipped > busy && busy > paid);
        assert_eq!(unpacked(busy), (0, 2, 10_000));
    }

    #[test]
    fn a_step_back_and_a_new_row_begin_a_generation() {
        let shipped = [NEW, PAID, SHIPPED].into_iter().fold(0, updated);
        let back = updated(shipped, PAID);
        assert_eq!((unpacked(shipped), unpacked(back)), ((0, 3, 0), (1, 2, 0)));
        let again = inserted(back, NEW);
        assert_eq!(unpacked(again), (2, 1, 0));
        // One that the list does not have is no step.
        assert_eq!(unpacked(updated(again, OTHER)), (2, 1, 1));
        assert_eq!((inserted(0, OTHER), inserted(0, NEW)), (1, 1 << 32));
        assert_eq!(unpacked(inserted(again, OTHER)), (3, 0, 0));
    }

    #[test]
    fn moments_decide_unless_they_lie_behind() {
        assert_eq!(updated(7, Brings::Moment(1_000)), 1_000);
        assert_eq!(updated(2_000, Brings::Moment(1_000)), 2_001);
        assert_eq!(updated(2_000, Brings::Moment(2_000)), 2_001);
        assert_eq!(inserted(0, Brings::Moment(0)), 1);
        assert_eq!(moved(5, 9_000, Brings::Moment(1_000)), 9_001);
        assert_eq!(moved(5, 900, Brings::Moment(1_000)), 1_000);
    }

    #[test]
    fn full_bits_carry_and_never_go_down() {
        let full = packed(4, 2) | COUNTER_MAX;
        assert_eq!(unpacked(updated(full, PAID)), (5, 2, 0));
        assert_eq!(unpacked(updated(full, OTHER)), (5, 2, 0));
        assert_eq!(unpacked(updated(full, SHIPPED)), (4, 3, 0));
        let last = packed(GENERATION_MAX, 2);
        assert_eq!(updated(last, NEW), last + 1);
        assert_eq!(inserted(last, NEW), last + 1);
        assert_eq!(updated(packed(GENERATION_MAX, 255) | COUNTER_MAX, NEW), i64::MAX);
    }

    /// Any sources one after the other, from any version.
    #[test]
    fn every_write_raises_the_version() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..200_000 {
            let old = i64::try_from(random() >> (2 + random() % 60)).unwrap_or_default();
            let seen = i64::try_from(random() >> (2 + random() % 60)).unwrap_or_default();
            let brings = match random() % 3 {
                0 => Brings::Nothing,
                1 => Brings::Moment(i64::try_from(random() >> (11 + random() % 50)).unwrap_or_default()),
                _ => Brings::Status(u8::try_from(random() % 256).unwrap_or_default()),
            };
            assert!(updated(old, brings) > old, "{old} {brings:?}");
            assert!(inserted(seen, brings) > seen, "{seen} {brings:?}");
            let at = moved(old, seen, brings);
            assert!(at > old && at > seen, "{old} {seen} {brings:?}");
        }
    }

    #[test]
    fn rows_from_before_are_told_by_their_column() {
        let by_column = VersionSource::Column("at".to_owned());
        let at = |text: &str| brought(&by_column, &Value::Timestamp(text.into()));
        assert_eq!(at("1970-01-01 00:00:01.5"), Brings::Moment(1_500_000));
        assert_eq!(at("1969-01-01 00:00:00"), Brings::Moment(0));
        assert_eq!(at("infinity"), Brings::Moment(0));
        assert_eq!(brought(&by_column, &Value::Null), Brings::Moment(0));
        let zoned = brought(&by_column, &Value::TimestampTz("1970-01-01 00:00:02+00".into()));
        assert_eq!(zoned, Brings::Moment(2_000_000));
        let order = vec!["new".to_owned(), "paid".to_owned()];
        let by_status = VersionSource::Status {
            column: "s".to_owned(),
            order,
        };
        assert_eq!(
            brought(&by_status, &Value::Text("paid".into())),
            Brings::Status(2)
        );
        assert_eq!(
            brought(&by_status, &Value::Text("lost".into())),
            Brings::Status(0)
        );
        assert_eq!(brought(&VersionSource::Counter, &Value::Int(5)), Brings::Nothing);
    }
}
