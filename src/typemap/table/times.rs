//! Rows of the type table: dates, times, moments and intervals.

use super::*;

#[test]
fn dates_of_both_calendars() {
    let (pg, my) = ((T::Date, Postgres), (T::Date, Mysql));
    for day in ["0001-01-01", "9999-12-31", "2024-02-29", "2000-02-29"] {
        back(Value::Date(day.into()), &pg, &my, Value::Date(day.into()));
    }
    for day in [
        "infinity",
        "-infinity",
        "0044-03-15 BC",
        "10000-01-01",
        "5874897-12-31",
    ] {
        refuses(Value::Date(day.into()), &pg, &my);
        back(Value::Date(day.into()), &pg, &pg, Value::Date(day.into()));
    }
    for day in [
        "0000-00-00",
        "2024-00-10",
        "2024-01-00",
        "2024-02-31",
        "1900-02-29",
        "0000-01-01",
    ] {
        refuses(Value::Date(day.into()), &my, &pg);
        back(
            Value::Date(day.into()),
            &my,
            &(T::Date, Mariadb),
            Value::Date(day.into()),
        );
    }
}

#[test]
fn timestamps_and_moments() {
    let stamp = |fraction, engine| (T::Timestamp { fraction }, engine);
    let (moment, epoch) = (
        (
            T::TimestampTz {
                fraction: 6,
                epoch: false,
            },
            Postgres,
        ),
        (
            T::TimestampTz {
                fraction: 6,
                epoch: true,
            },
            Mysql,
        ),
    );
    let (wall, tz) = (
        |s: &str| Value::Timestamp(s.into()),
        |s: &str| Value::TimestampTz(s.into()),
    );
    for last in ["9999-12-31 23:59:59.999999", "0001-01-01 00:00:00"] {
        back(wall(last), &stamp(6, Postgres), &stamp(6, Mysql), wall(last));
        back(tz(last), &moment, &stamp(6, Mysql), wall(last));
    }
    refuses(
        wall("2024-01-01 00:00:00.1"),
        &stamp(6, Postgres),
        &stamp(0, Mysql),
    );
    back(
        wall("2024-01-01 00:00:00"),
        &stamp(6, Postgres),
        &stamp(0, Mysql),
        wall("2024-01-01 00:00:00"),
    );
    assert_eq!(
        go(
            wall("2024-01-01 00:00:00.120000"),
            &stamp(6, Postgres),
            &stamp(3, Mysql)
        ),
        Some(wall("2024-01-01 00:00:00.12"))
    );
    for odd in ["infinity", "0044-03-15 12:00:00.5 BC", "10000-01-01 00:00:00"] {
        refuses(wall(odd), &stamp(6, Postgres), &stamp(6, Mysql));
        refuses(tz(odd), &moment, &epoch);
    }
    refuses(wall("0000-00-00 00:00:00"), &stamp(6, Mysql), &stamp(6, Postgres));
    refuses(tz("0000-00-00 00:00:00"), &epoch, &moment);
    for inside in ["1970-01-01 00:00:01", "2038-01-19 03:14:07.999999"] {
        back(tz(inside), &moment, &epoch, tz(inside));
    }
    for outside in [
        "1970-01-01 00:00:00.999999",
        "2038-01-19 03:14:08",
        "1969-12-31 23:59:59",
    ] {
        refuses(tz(outside), &moment, &epoch);
    }
    is_refused(&stamp(6, Postgres), &epoch);
    is_refused(&epoch, &stamp(6, Postgres));
    is_refused(&moment, &stamp(6, Postgres));
    is_refused(&epoch, &stamp(6, Mysql));
}

#[test]
fn times_and_spans() {
    let (pg, my) = (
        (
            T::Time {
                fraction: 6,
                span: false,
            },
            Postgres,
        ),
        (
            T::Time {
                fraction: 6,
                span: true,
            },
            Mysql,
        ),
    );
    let (maria, interval) = (
        (
            T::Time {
                fraction: 6,
                span: true,
            },
            Mariadb,
        ),
        (T::Interval, Postgres),
    );
    let (time, span) = (
        |s: &str| Value::Time(s.into()),
        |s: &str| Value::Interval(s.into()),
    );
    for day in ["00:00:00", "23:59:59.999999", "24:00:00"] {
        back(time(day), &pg, &my, time(day));
    }
    for far in [
        "-00:00:01",
        "24:00:00.000001",
        "24:00:01",
        "838:59:59",
        "-838:59:59",
    ] {
        refuses(time(far), &my, &pg);
    }
    back(time("-838:59:59"), &my, &interval, span("PT-838H-59M-59S"));
    back(time("00:00:00"), &my, &interval, span("PT0S"));
    back(time("-00:00:00.5"), &my, &interval, span("PT-0.5S"));
    back(time("100:00:00.000001"), &my, &interval, span("PT100H0.000001S"));
    for long in ["P1D", "P1M", "P1YT1H", "PT839H", "infinity", "PT838H59M59.5S"] {
        refuses(span(long), &interval, &my);
    }
    back(time("838:59:59.5"), &maria, &interval, span("PT838H59M59.5S"));
    refuses(time("838:59:59.5"), &maria, &my);
    is_refused(&pg, &interval);
}

#[test]
fn intervals_as_text_and_short_intervals() {
    let (interval, words) = ((T::Interval, Postgres), chars(64, false, Mysql));
    for iso in [
        "PT0S",
        "P1Y2M-3DT4H5M6.789S",
        "P-1Y-2M3DT-4H-5M-6S",
        "infinity",
        "P-178956970Y-8M",
    ] {
        back(Value::Interval(iso.into()), &interval, &words, txt(iso));
    }
    for other in [
        "1 day", "P0D", "PT90M", "P1Y-2M", "P1Y14M", "PT1.50S", "P1W", "P", "PT", "P1YT",
    ] {
        refuses(txt(other), &words, &interval);
    }
    let short = |sql: &str| Column {
        sql_type: sql.into(),
        ..column(T::Interval)
    };
    let takes = |value: &str, sql: &str| {
        cast(
            Value::Interval(value.into()),
            &T::Interval,
            Postgres,
            &short(sql),
            Postgres,
        )
        .is_ok()
    };
    assert!(takes("PT1.5S", "interval(1)") && !takes("PT1.25S", "interval(1)"));
    assert!(takes("P1DT1H", "interval day to hour") && !takes("P1DT1H1M", "interval day to hour"));
    assert!(takes("P1Y", "interval year") && !takes("P1Y1M", "interval year"));
    assert!(takes("P1Y1DT0.5S", "interval day to second(3)"));
}
