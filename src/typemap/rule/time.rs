//! Pairs of dates, times and intervals.

use super::{NO_PAIR, Rule, Span};
use crate::model::schema::{Column, ColumnType, Engine};
use crate::typemap::calendar::Calendar;
use crate::typemap::interval::Smallest;

pub(super) fn time<'a>(source: &ColumnType, from: Engine, target: &'a Column, to: Engine) -> Rule<'a> {
    use ColumnType as T;
    let (pg_from, pg_to) = (from.is_postgres(), to.is_postgres());
    let calendar = match (pg_from, pg_to) {
        (true, false) => Calendar::FourDigitYears,
        (false, true) => Calendar::RealDays,
        (_, _) => Calendar::Any,
    };
    match (source, &target.ty) {
        (T::Date, T::Date) => moment(calendar, None),
        (T::Timestamp { fraction }, T::Timestamp { fraction: keeps }) => {
            moment(calendar, fewer(*fraction, *keeps))
        }
        (
            T::TimestampTz { fraction, epoch },
            T::TimestampTz {
                fraction: keeps,
                epoch: short,
            },
        ) => {
            let calendar = match (from, *epoch, *short) {
                (_, false, true) => Calendar::Epoch,
                (Engine::Mariadb, true, true) if to == Engine::Mysql => Calendar::EpochOrZero,
                (_, _, _) => calendar,
            };
            moment(calendar, fewer(*fraction, *keeps))
        }
        // A moment on PostgreSQL is a DATETIME that holds UTC, and back.
        (
            T::TimestampTz {
                fraction,
                epoch: false,
            },
            T::Timestamp { fraction: keeps },
        ) if pg_from && !pg_to => moment(calendar, fewer(*fraction, *keeps)),
        (
            T::Timestamp { fraction },
            T::TimestampTz {
                fraction: keeps,
                epoch: false,
            },
        ) if !pg_from && pg_to => moment(calendar, fewer(*fraction, *keeps)),
        (T::Timestamp { .. }, T::TimestampTz { .. }) | (T::TimestampTz { .. }, T::Timestamp { .. }) => {
            Rule::No("one is a moment and the other a wall clock without a zone")
        }
        (T::Time { .. } | T::Interval, T::Time { .. } | T::Interval) => clock(source, from, target, to),
        (_, _) => Rule::No(NO_PAIR),
    }
}

fn clock<'a>(source: &ColumnType, from: Engine, target: &'a Column, to: Engine) -> Rule<'a> {
    use ColumnType as T;
    match (source, &target.ty) {
        (
            T::Time { fraction, span },
            T::Time {
                fraction: keeps,
                span: signed,
            },
        ) => {
            let fraction = fewer(*fraction, *keeps);
            let span = match (*span, *signed) {
                (true, false) => Span::TimeOfDay,
                (true, true) if from == Engine::Mariadb && to == Engine::Mysql => {
                    Span::Hours838 { sharp: true }
                }
                (_, _) => Span::Any,
            };
            if span == Span::Any && fraction.is_none() {
                Rule::Move
            } else {
                Rule::Time { span, fraction }
            }
        }
        (T::Time { span: true, .. }, T::Interval) => Rule::TimeToInterval(Smallest::of(&target.sql_type)),
        (T::Interval, T::Time { fraction, span: true }) => Rule::IntervalToTime {
            span: Span::Hours838 {
                sharp: to == Engine::Mysql,
            },
            fraction: fewer(6, *fraction),
        },
        (T::Interval, T::Interval) => match Smallest::of(&target.sql_type) {
            Smallest::Second(6) => Rule::Move,
            smallest => Rule::Interval(smallest),
        },
        (_, _) => Rule::No(NO_PAIR),
    }
}

fn moment<'a>(calendar: Calendar, fraction: Option<u8>) -> Rule<'a> {
    if calendar == Calendar::Any && fraction.is_none() {
        return Rule::Move;
    }
    Rule::Moment { calendar, fraction }
}

/// The digits a target keeps, where the source has more.
fn fewer(source: u8, target: u8) -> Option<u8> {
    (target < source).then_some(target)
}
