//! Cells as bytes that come back without loss: the form in which changes that wait are kept.
//!
//! Owns: [`pack`], [`append`] and [`unpack`]. Every cell goes with its column's name, because a table may have been altered before
//! its rows are taken up again. Refuses: nothing that is a [`Value`]. Fails: bytes that it did not write are `None`.

use super::value::Value;
use bytes::Bytes;
use bytestring::ByteString;

/// The first byte; another form would have another.
const FORM: u8 = 1;
/// The cell was not sent, which is not NULL.
const NOT_SENT: u8 = 255;

pub fn pack<'a>(cells: impl Iterator<Item = (&'a str, Option<&'a Value>)>) -> Vec<u8> {
    let mut out = vec![FORM];
    append(cells, &mut out);
    out
}

/// More cells behind packed ones.
pub fn append<'a>(cells: impl Iterator<Item = (&'a str, Option<&'a Value>)>, out: &mut Vec<u8>) {
    for (name, cell) in cells {
        body(name.as_bytes(), out);
        match cell {
            None => out.push(NOT_SENT),
            Some(value) => value_bytes(value, out),
        }
    }
}

pub fn unpack(bytes: &[u8]) -> Option<Vec<(String, Option<Value>)>> {
    let mut rest = bytes.strip_prefix(&[FORM])?;
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let name = String::from_utf8(take_body(&mut rest)?.to_vec()).ok()?;
        cells.push((name, take_value(&mut rest)?));
    }
    Some(cells)
}

fn value_bytes(value: &Value, out: &mut Vec<u8>) {
    let (tag, bytes): (u8, &[u8]) = match value {
        Value::Null => return out.push(0),
        Value::Bool(is) => return out.extend_from_slice(&[1, u8::from(*is)]),
        Value::Int(number) => return fixed(2, &number.to_be_bytes(), out),
        Value::UInt(number) => return fixed(3, &number.to_be_bytes(), out),
        Value::Float(number) => return fixed(4, &number.to_bits().to_be_bytes(), out),
        Value::Double(number) => return fixed(5, &number.to_bits().to_be_bytes(), out),
        Value::Uuid(uuid) => return fixed(6, uuid, out),
        Value::Decimal(text) => (7, text.as_bytes()),
        Value::Text(text) => (8, text.as_bytes()),
        Value::Bytes(bytes) => (9, bytes),
        Value::Bit(text) => (10, text.as_bytes()),
        Value::Date(text) => (11, text.as_bytes()),
        Value::Time(text) => (12, text.as_bytes()),
        Value::Timestamp(text) => (13, text.as_bytes()),
        Value::TimestampTz(text) => (14, text.as_bytes()),
        Value::Json(text) => (15, text.as_bytes()),
        Value::Interval(text) => (16, text.as_bytes()),
        Value::Opaque(text) => (17, text.as_bytes()),
    };
    out.push(tag);
    body(bytes, out);
}

fn fixed(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn body(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Outer `None`: these bytes are none of ours. Inner: the cell was not sent.
fn take_value(rest: &mut &[u8]) -> Option<Option<Value>> {
    let [tag] = array::<1>(rest)?;
    let fixed = match tag {
        NOT_SENT => return Some(None),
        0 => Some(Value::Null),
        1 => Some(Value::Bool(array::<1>(rest)? != [0])),
        2 => Some(Value::Int(i64::from_be_bytes(array(rest)?))),
        3 => Some(Value::UInt(u64::from_be_bytes(array(rest)?))),
        4 => Some(Value::Float(f32::from_bits(u32::from_be_bytes(array(rest)?)))),
        5 => Some(Value::Double(f64::from_bits(u64::from_be_bytes(array(rest)?)))),
        6 => Some(Value::Uuid(array(rest)?)),
        _ => None,
    };
    if fixed.is_some() {
        return Some(fixed);
    }
    let bytes = Bytes::copy_from_slice(take_body(rest)?);
    if tag == 9 {
        return Some(Some(Value::Bytes(bytes)));
    }
    let text = ByteString::try_from(bytes).ok()?;
    let value = match tag {
        7 => Value::Decimal(text),
        8 => Value::Text(text),
        10 => Value::Bit(text),
        11 => Value::Date(text),
        12 => Value::Time(text),
        13 => Value::Timestamp(text),
        14 => Value::TimestampTz(text),
        15 => Value::Json(text),
        16 => Value::Interval(text),
        17 => Value::Opaque(text),
        _ => return None,
    };
    Some(Some(value))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_body<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u64::from_be_bytes(array(rest)?)).ok()?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A small generator, so that a failure names its seed.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn text(&mut self) -> ByteString {
            let length = self.next() % 40;
            let one = |_| char::from_u32((self.next() % 0x11_0000) as u32).unwrap_or('\0');
            ByteString::from((0..length).map(one).collect::<String>())
        }

        fn value(&mut self) -> Option<Value> {
            Some(match self.next() % 20 {
                0 => return None,
                1 => Value::Null,
                2 => Value::Bool(self.next().is_multiple_of(2)),
                3 => Value::Int(self.next() as i64),
                4 => Value::UInt(self.next()),
                5 => Value::Float(f32::from_bits(self.next() as u32)),
                6 => Value::Double(f64::from_bits(self.next())),
                7 => Value::Double(f64::NAN),
                8 => Value::Double(-0.0),
                9 => Value::Decimal(self.text()),
                10 => Value::Text(self.text()),
                11 => Value::Bytes((0..self.next() % 300).map(|_| self.next() as u8).collect()),
                12 => Value::Bit(self.text()),
                13 => Value::Date(self.text()),
                14 => Value::Time(self.text()),
                15 => Value::Timestamp(self.text()),
                16 => Value::TimestampTz(self.text()),
                17 => Value::Uuid(std::array::from_fn(|_| self.next() as u8)),
                18 => Value::Json(self.text()),
                _ if self.next().is_multiple_of(2) => Value::Interval(self.text()),
                _ => Value::Opaque(self.text()),
            })
        }
    }

    /// Equal in kind and to the bit, which `==` of floats does not say.
    fn exact(cell: &Option<Value>) -> (Option<std::mem::Discriminant<Value>>, Vec<u8>) {
        let mut bytes = Vec::new();
        if let Some(value) = cell {
            value.key_bytes(&mut bytes);
        }
        (cell.as_ref().map(std::mem::discriminant), bytes)
    }

    #[test]
    fn every_row_comes_back_as_it_was() {
        for seed in 1..20_000_u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let width = random.next() % 8;
            let row: Vec<(String, Option<Value>)> = (0..width)
                .map(|_| (random.text().to_string(), random.value()))
                .collect();
            let packed = pack(row.iter().map(|(name, cell)| (name.as_str(), cell.as_ref())));
            let back = unpack(&packed).unwrap_or_else(|| panic!("seed {seed}: {row:?}"));
            let names = |row: &[(String, Option<Value>)]| {
                row.iter()
                    .map(|(name, cell)| (name.clone(), exact(cell)))
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&back), names(&row), "seed {seed}");
            // Cut anywhere inside a cell it is none of ours, never another row of the same width.
            if packed.len() > 1 {
                let cut = 1 + (random.next() as usize) % (packed.len() - 1);
                let part = unpack(&packed[..cut]);
                assert!(part.is_none_or(|part| part.len() < row.len()), "seed {seed}");
            }
        }
        assert_eq!(unpack(&[]), None);
        assert_eq!(unpack(&[FORM + 1]), None);
    }
}
