//! A pair of columns in words: exact, exact under a condition, lossy, or refused with the type that would do.
//!
//! Owns: the words for each [`Rule`], and whether the source's own limits already keep its condition.

use super::calendar::Calendar;
use super::interval::Smallest;
use super::rule::{ROUNDS, Range, Rule, Span, decimal_limits, rounds, rule};
use super::{Loss, Verdict, decimal, describe, json, loss, text};
use crate::ddl;
use crate::model::schema::{Column, ColumnType, Engine};

/// Can every value of `source`, or which of them, be carried into `target` and read back equal?
/// What holds for every pair (NULL into NOT NULL) is checked by value and not said here.
pub fn verdict(source: &Column, from: Engine, target: &Column, to: Engine) -> Verdict {
    let rule = rule(&source.ty, from, target, to);
    if let Some(Loss::Nearest) = loss(&source.ty, from, target, to) {
        return Verdict::Lossy(Loss::Nearest.words());
    }
    if let Rule::No(why) = rule {
        return refused(why, (source, from), (target, to));
    }
    // The name of such a type does not hold its limits: numeric(10,2)[] would be rounded by numeric(10,1)[].
    let opaque = matches!(source.ty, ColumnType::Opaque { .. }) && from == to;
    let known = !source.sql_type.is_empty() && !target.sql_type.is_empty();
    if opaque && known && source.sql_type != target.sql_type {
        let why = "a type that is only known as text must be declared alike at both ends";
        return refused(why, (source, from), (target, to));
    }
    if rounds(target, to) && source.sql_type != target.sql_type {
        return refused(ROUNDS, (source, from), (target, to));
    }
    let conditions = conditions(rule, source, from, target, to);
    if conditions.is_empty() {
        Verdict::Exact
    } else {
        Verdict::ExactIf(conditions.join("; "))
    }
}

fn refused(why: &str, (source, from): (&Column, Engine), (target, to): (&Column, Engine)) -> Verdict {
    let advice = ddl::type_for(source, from, to)
        .map_or_else(|| "leave the column out".to_owned(), |name| format!("use {name}"));
    let name = |column: &Column, engine: Engine| match column.sql_type.as_str() {
        "" => describe::name(&column.ty, engine),
        written => written.to_owned(),
    };
    Verdict::Refused(format!(
        "{} does not go into {}: {why}; {advice}",
        name(source, from),
        name(target, to)
    ))
}

fn conditions(rule: Rule<'_>, source: &Column, from: Engine, target: &Column, to: Engine) -> Vec<String> {
    match rule {
        Rule::Int(_)
        | Rule::IntToBool
        | Rule::IntToDecimal(_)
        | Rule::DecimalToInt(_)
        | Rule::Decimal(_)
        | Rule::IntToYear
        | Rule::Float(_)
        | Rule::Widen(_)
        | Rule::Narrow(_) => number(rule, &source.ty, from).into_iter().collect(),
        Rule::BytesAtMost(limit) if from.is_postgres() && limit >= text::CELL_MAX => Vec::new(),
        Rule::BytesAtMost(limit) => vec![format!("at most {limit} bytes")],
        Rule::BytesExactly(len) => vec![format!("exactly {len} bytes (a shorter value would be padded)")],
        Rule::BitsAtMost(limit) => vec![format!("at most {limit} bits")],
        Rule::BitsExactly(len) => vec![format!("exactly {len} bits")],
        Rule::OpaqueToText(limits) => limits.words(&text::Limits::DOCUMENT),
        Rule::BitsToText(limits) => limits.words(&text::Limits::bits(&source.ty)),
        Rule::TextToOpaque(_) => vec![format!("as {to} prints a value of that type")],
        Rule::TextToBits { len, varying } => vec![bit_words(len, varying)],
        Rule::InetToMariadb(family) => vec![family.words().to_owned()],
        Rule::TextToUuid => vec!["uuids in lower case with hyphens".to_owned()],
        Rule::Moment { calendar, fraction } => {
            moment((calendar, fraction), (&source.ty, from), (&target.ty, to))
        }
        Rule::Time { span, fraction } => span_words(span, fraction),
        Rule::IntervalToTime { span, fraction } => {
            let mut words = vec!["no months, no days, no infinity".to_owned()];
            words.extend(span_words(span, fraction));
            words
        }
        Rule::TimeToInterval(smallest) | Rule::Interval(smallest) => {
            smallest_words(smallest).into_iter().collect()
        }
        Rule::TextToInterval(smallest) => {
            let mut words = vec!["intervals as PostgreSQL prints them (ISO 8601)".to_owned()];
            words.extend(smallest_words(smallest));
            words
        }
        Rule::Text(_)
        | Rule::JsonToText(_)
        | Rule::LabelToText(_)
        | Rule::SetToText(_)
        | Rule::IntervalToText(_)
        | Rule::Json(_)
        | Rule::TextToJson(_)
        | Rule::Label(_)
        | Rule::Set(_)
        | Rule::TextToSet(_) => textual(rule, source, from),
        Rule::Move
        | Rule::BoolToInt(_)
        | Rule::BoolToBit
        | Rule::BitToBool
        | Rule::YearToInt(_)
        | Rule::UuidToBytes
        | Rule::BytesToUuid
        | Rule::UuidToText(_)
        | Rule::No(_) => Vec::new(),
    }
}

fn bit_words(len: Option<u32>, varying: bool) -> String {
    match (len, varying) {
        (Some(len), false) => format!("exactly {len} digits 0 and 1"),
        (Some(len), true) => format!("at most {len} digits 0 and 1"),
        (None, _) => "digits 0 and 1".to_owned(),
    }
}

fn number(rule: Rule<'_>, ty: &ColumnType, from: Engine) -> Option<String> {
    let when = |always: bool, words: &str| if always { None } else { Some(words.to_owned()) };
    match rule {
        Rule::Int(range) => when(
            int_range(ty).is_some_and(|given| range.hold(&given)),
            &range_words(range),
        ),
        Rule::IntToBool => when(false, "only 0 and 1"),
        Rule::IntToDecimal(limits) => when(int_in_decimal(ty, &limits), &limits.words()),
        Rule::DecimalToInt(range) => when(
            decimal_in_int(ty, from, range),
            &format!("whole numbers, {}", range_words(range)),
        ),
        Rule::Decimal(limits) => {
            let holds = decimal_limits(ty, from).is_some_and(|given| limits.hold(&given));
            when(holds, &limits.words())
        }
        Rule::IntToYear => when(false, "0 and 1901 to 2155"),
        Rule::Float(reals) | Rule::Widen(reals) => reals.words().map(str::to_owned),
        Rule::Narrow(reals) => {
            let words = reals
                .words()
                .map(|words| format!(", {words}"))
                .unwrap_or_default();
            Some(format!("exact in single precision{words}"))
        }
        _ => None,
    }
}

fn textual(rule: Rule<'_>, source: &Column, from: Engine) -> Vec<String> {
    let none = Vec::new;
    let labels: &[String] = if let ColumnType::Enum { labels } | ColumnType::Set { labels } = &source.ty {
        labels
    } else {
        &[]
    };
    // MySQL stores '' in an ENUM for a value it once refused.
    let index_zero = matches!(source.ty, ColumnType::Enum { .. }) && !from.is_postgres();
    match rule {
        Rule::Text(limits) => text::Limits::of(&source.ty, &source.collation, from)
            .map_or_else(none, |given| limits.words(&given.as_source(from))),
        Rule::JsonToText(limits) => limits.words(&text::Limits::DOCUMENT),
        Rule::IntervalToText(limits) => limits.words(&text::Limits::ascii(64)),
        Rule::LabelToText(limits) if labels.iter().all(|label| limits.check(label).is_ok()) => none(),
        Rule::SetToText(limits) if limits.check(&labels.join(",")).is_ok() && limits.blanks => none(),
        Rule::LabelToText(_) | Rule::SetToText(_) => {
            vec!["labels that fit the target's length and characters".into()]
        }
        Rule::Label(known) | Rule::Set(known) if !labels.is_empty() => {
            let lacking = labels.iter().filter(|label| !known.contains(label)).count();
            match (lacking, index_zero && !known.iter().any(String::is_empty)) {
                (0, false) => none(),
                (0, true) => vec!["no empty value (MySQL's mark for one it refused)".into()],
                (n, _) => vec![format!("the target lacks {n} of the labels")],
            }
        }
        Rule::Label(_) | Rule::Set(_) => vec!["one of the target's labels".into()],
        Rule::TextToSet(_) => vec!["the target's labels in their order, with a comma between".into()],
        Rule::Json(limits) => json_words(limits, source, from),
        Rule::TextToJson(limits) => {
            let mut words = vec!["valid JSON".to_owned()];
            words.extend(json_words(limits, source, from));
            words
        }
        _ => none(),
    }
}

fn json_words(limits: json::Limits, source: &Column, from: Engine) -> Vec<String> {
    let parsed = matches!(source.ty, ColumnType::Json { normalised: true });
    let mut words = Vec::new();
    if limits == json::MYSQL && from == Engine::Mysql {
        // All but what its owner built into a document by functions: dates, bytes, long DECIMALs.
        return words;
    }
    if !limits.kept {
        words.push(
            "equal by meaning: order of keys, blanks and the spelling of numbers may change".to_owned(),
        );
    }
    if !limits.kept && !parsed {
        words.push("no two equal keys in an object".to_owned());
    }
    if !limits.halves && !parsed {
        words.push("no half of a surrogate pair in a string".to_owned());
    }
    match limits.numbers {
        json::Numbers::Any => {}
        json::Numbers::Numeric if parsed => {}
        json::Numbers::Numeric => words.push("numbers that numeric holds".to_owned()),
        json::Numbers::Double => words.push("numbers are 64-bit integers or exact as a double".to_owned()),
    }
    if limits.numbers == json::Numbers::Numeric && !(parsed && from.is_postgres()) {
        words.push("no minus zero".to_owned());
    }
    if !limits.nul {
        words.push("no \\u0000 in a string".to_owned());
    }
    if let Some(depth) = limits.depth {
        words.push(format!("at most {depth} levels deep"));
    }
    if words.is_empty() && from == Engine::Mariadb {
        words.push("valid JSON".to_owned());
    }
    words
}

fn moment(
    (calendar, fraction): (Calendar, Option<u8>),
    (source, from): (&ColumnType, Engine),
    (target, to): (&ColumnType, Engine),
) -> Vec<String> {
    let mut words: Vec<String> = calendar.words().map(str::to_owned).into_iter().collect();
    let crosses = from.is_postgres() != to.is_postgres();
    let is_moment = |ty: &ColumnType| matches!(ty, ColumnType::TimestampTz { .. });
    if crosses && is_moment(source) != is_moment(target) {
        words.push("DATETIME holds the moment in UTC".to_owned());
    }
    words.extend(fraction.map(fraction_words));
    words
}

fn fraction_words(digits: u8) -> String {
    match digits {
        0 => "whole seconds".to_owned(),
        _ => format!("at most {digits} digits of a second"),
    }
}

fn span_words(span: Span, fraction: Option<u8>) -> Vec<String> {
    let words = match span {
        Span::Any => None,
        Span::TimeOfDay => Some("00:00:00 to 24:00:00".to_owned()),
        Span::Hours838 { .. } => Some("-838:59:59 to 838:59:59".to_owned()),
    };
    words.into_iter().chain(fraction.map(fraction_words)).collect()
}

fn smallest_words(smallest: Smallest) -> Option<String> {
    match smallest {
        Smallest::Second(6..) => None,
        Smallest::Second(digits) => Some(fraction_words(digits)),
        Smallest::Minute | Smallest::Hour | Smallest::Day | Smallest::Month | Smallest::Year => {
            Some("no unit smaller than the target keeps".to_owned())
        }
    }
}

fn range_words(range: Range) -> String {
    format!("{} to {}", range.min, range.max)
}

fn int_range(ty: &ColumnType) -> Option<Range> {
    let ColumnType::Int { bits, unsigned } = ty else {
        return None;
    };
    Some(Range::of(*bits, *unsigned))
}

fn int_in_decimal(ty: &ColumnType, limits: &decimal::Limits) -> bool {
    int_range(ty).is_some_and(|range| {
        [range.min, range.max]
            .into_iter()
            .all(|edge| limits.fit(edge.to_string().into()).is_some())
            && limits.scale >= 0
    })
}

fn decimal_in_int(ty: &ColumnType, from: Engine, range: Range) -> bool {
    let Some(limits) = decimal_limits(ty, from) else {
        return false;
    };
    // Beyond 30 digits no integer column holds them anyway, and 10^30 is still a machine's number.
    let (Some(precision @ 0..=30), 0, false) = (limits.precision, limits.scale, limits.nan) else {
        return false;
    };
    let most = 10i128.pow(precision) - 1;
    range.hold(&Range {
        min: if limits.unsigned { 0 } else { -most },
        max: most,
        unsigned: limits.unsigned,
    })
}
