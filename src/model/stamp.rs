//! The total order that decides every row conflict.

use std::fmt;

/// Rank of a node in its sync, from 1. 0 = written before Tidelock was enabled.
pub type Rank = u16;

/// Whether the stamp belongs to a row or to a deleted row. A delete beats a write of the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Write,
    Delete,
}

/// `(version, delete > write, origin rank)`; the field order is the order of comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub version: i64,
    pub kind: Kind,
    pub origin: Rank,
}

impl Stamp {
    pub fn write(version: i64, origin: Rank) -> Self {
        Stamp {
            version,
            kind: Kind::Write,
            origin,
        }
    }

    pub fn delete(version: i64, origin: Rank) -> Self {
        Stamp {
            version,
            kind: Kind::Delete,
            origin,
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Write => "",
            Kind::Delete => " deleted",
        };
        write!(f, "{}@{}{kind}", self.version, self.origin)
    }
}

/// The same text back; `None`: it is none.
impl Stamp {
    pub fn parse(text: &str) -> Option<Stamp> {
        let (text, kind) = match text.strip_suffix(" deleted") {
            Some(text) => (text, Kind::Delete),
            None => (text, Kind::Write),
        };
        let (version, origin) = text.split_once('@')?;
        Some(Stamp {
            version: version.parse().ok()?,
            kind,
            origin: origin.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_comes_back() {
        for stamp in [Stamp::write(-5, 0), Stamp::delete(i64::MAX, 7)] {
            assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp));
        }
        assert_eq!(Stamp::parse("5"), None);
    }

    #[test]
    fn version_then_delete_then_rank() {
        assert!(Stamp::write(2, 1) > Stamp::delete(1, 9));
        assert!(Stamp::delete(1, 1) > Stamp::write(1, 2));
        assert!(Stamp::write(1, 2) > Stamp::write(1, 1));
    }
}
