//! Where a log ends, in bytes: what lag is measured by.
//!
//! Owns: places and their distance. Refuses: deciding what has been applied, which is [`Position`]'s matter: a GTID
//! set says what was taken, and nothing of bytes.

use super::position::Position;

/// A place in a log as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Lsn(u64),
    Binlog { file: String, offset: u64 },
}

/// The end of a server's log at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// Whoever covers this has taken everything before `place`.
    pub position: Position,
    pub place: Place,
    /// The server's own clock, microseconds since 1970 UTC.
    pub now_us: i64,
}

/// How far a position is behind the end of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    pub bytes: u64,
    /// Counted by transactions within a file, not measured.
    pub is_estimate: bool,
}

/// The files of a binlog with their sizes, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(pub Vec<(String, u64)>);

impl Files {
    /// Bytes from `from` to `to`. A file that is gone counts as if `from` stood at the oldest one that is left.
    pub fn between(&self, from: (&str, u64), to: (&str, u64)) -> u64 {
        if from.0 == to.0 {
            return to.1.saturating_sub(from.1);
        }
        let place = |name: &str| self.0.iter().position(|(file, _)| file == name);
        let Some(last) = place(to.0) else { return 0 };
        let (first, offset) = match place(from.0) {
            Some(first) if first > last => return 0,
            Some(first) => (first, from.1),
            None => (0, 0),
        };
        let whole: u64 = self.0[first..last].iter().map(|(_, size)| *size).sum();
        (whole + to.1).saturating_sub(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_summed_over_files() {
        let files = Files(vec![("b.1".into(), 100), ("b.2".into(), 50), ("b.3".into(), 10)]);
        assert_eq!(files.between(("b.2", 20), ("b.2", 30)), 10);
        assert_eq!(files.between(("b.1", 90), ("b.3", 5)), 10 + 50 + 5);
        assert_eq!(files.between(("b.3", 5), ("b.1", 90)), 0);
        // Purged meanwhile: at least all that is left.
        assert_eq!(files.between(("b.0", 7), ("b.2", 5)), 105);
        assert_eq!(files.between(("b.1", 7), ("b.9", 5)), 0);
    }
}
