//! Values as SQL literals, for a session with the pins of `mysql::connect` (utf8mb4, backslashes escape).
//!
//! Refuses nothing by itself: a value that its column cannot hold becomes a literal which strict mode refuses.

use crate::model::schema::ColumnType;
use crate::model::value::Value;
use std::io::Write;

/// Appends `value`, which was already cast to `ty`, as a literal.
pub fn literal(value: &Value, ty: &ColumnType, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Bool(true) => out.push(b'1'),
        Value::Bool(false) => out.push(b'0'),
        Value::Int(number) => print(out, format_args!("{number}")),
        Value::UInt(number) => print(out, format_args!("{number}")),
        // Every f32 is exactly some f64, and the server rounds that back to the same f32.
        Value::Float(number) => float(f64::from(*number), out),
        Value::Double(number) => float(*number, out),
        Value::Decimal(text) => decimal(text, out),
        Value::Bytes(bytes) => hex(bytes, out),
        Value::Bit(text) => bit(text, out),
        Value::Uuid(bytes) => match ty {
            ColumnType::Bytes { .. } => hex(bytes, out),
            _ => quoted(super::uuid_text(bytes).as_bytes(), out),
        },
        Value::Opaque(text) => opaque(text, out),
        Value::Text(text)
        | Value::Date(text)
        | Value::Time(text)
        | Value::Timestamp(text)
        | Value::TimestampTz(text)
        | Value::Json(text)
        | Value::Interval(text) => quoted(text.as_bytes(), out),
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    let _ = out.write_fmt(text);
}

/// The quote and the backslash are special.
fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'\'');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\'' | b'\\')) {
        out.extend_from_slice(&rest[..=at]);
        out.push(rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 3);
    out.extend_from_slice(b"x'");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'\'');
}

/// The shortest text that reads back as the same bits. The exponent makes the literal a double and not a
/// decimal, which would lose the sign of a zero and far exponents.
fn float(number: f64, out: &mut Vec<u8>) {
    match number.is_finite() {
        true => print(out, format_args!("{number:e}")),
        // These servers have no such number; the column refuses the text.
        false => quoted(number.to_string().as_bytes(), out),
    }
}

fn decimal(text: &str, out: &mut Vec<u8>) {
    let plain = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-'));
    match plain {
        true => out.extend_from_slice(text.as_bytes()),
        false => quoted(text.as_bytes(), out),
    }
}

/// As an integer: a column's BIT(n) takes it whatever its length.
fn bit(text: &str, out: &mut Vec<u8>) {
    match u64::from_str_radix(text, 2) {
        Ok(number) => print(out, format_args!("{number}")),
        Err(_) => quoted(text.as_bytes(), out),
    }
}

/// The text of `codec` for types without a meaning here: `0x` and hex digits where the server's form is bytes.
fn opaque(text: &str, out: &mut Vec<u8>) {
    match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            out.extend_from_slice(b"x'");
            out.extend_from_slice(digits.as_bytes());
            out.push(b'\'');
        }
        _ => quoted(text.as_bytes(), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value, ty: &ColumnType) -> String {
        let mut out = Vec::new();
        literal(value, ty, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn literals_read_back_exactly() {
        let any = &ColumnType::Json { normalised: true };
        for (value, expected) in [
            (Value::Null, "NULL"),
            (Value::Bool(true), "1"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::UInt(u64::MAX), "18446744073709551615"),
            (Value::Double(-0.0), "-0e0"),
            (Value::Double(0.1), "1e-1"),
            (Value::Float(0.1), "1.0000000149011612e-1"),
            (Value::Double(5e-324), "5e-324"),
            (Value::Double(f64::NAN), "'NaN'"),
            (Value::Decimal("-12.340".into()), "-12.340"),
            (Value::Decimal("NaN".into()), "'NaN'"),
            (Value::Text("it's 'so' \\n".into()), "'it''s ''so'' \\\\n'"),
            (Value::Text("".into()), "''"),
            (Value::Bytes(vec![0, 0xff, b'\''].into()), "x'00ff27'"),
            (Value::Bytes(vec![].into()), "x''"),
            (Value::Bit("00101".into()), "5"),
            (Value::Time("-838:59:59".into()), "'-838:59:59'"),
            (Value::Json("{\"a\": \"'\"}".into()), "'{\"a\": \"''\"}'"),
            (Value::Opaque("0x00ff".into()), "x'00ff'"),
            (Value::Opaque("0xzz".into()), "'0xzz'"),
        ] {
            assert_eq!(text(&value, any), expected);
        }
    }

    #[test]
    fn a_uuid_is_bytes_or_text_as_its_column_is() {
        let value = Value::Uuid([0xab; 16]);
        let binary = ColumnType::Bytes {
            limit: Some(16),
            fixed: true,
        };
        assert_eq!(text(&value, &binary), format!("x'{}'", "ab".repeat(16)));
        assert_eq!(
            text(&value, &ColumnType::Uuid),
            "'abababab-abab-abab-abab-abababababab'"
        );
    }
}
