//! Where a link stands in its source's log.
//!
//! Owns: [`Position`], GTID set arithmetic, the text forms stored in checkpoints.
//! Refuses: comparing two kinds. Text that does not parse is an error with the text in it (positions are no secret).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Two positions of different kinds were compared, or a text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("positions of different kinds cannot be compared: {0} and {1}")]
    WrongKind(String, String),
    #[error("{0:?} is not a position")]
    Malformed(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// PostgreSQL: the end of the last commit taken.
    Lsn(u64),
    /// MySQL: every transaction taken.
    Gtid(GtidSet),
    /// MariaDB: the last sequence number taken in each domain.
    MariaGtid(MariaGtids),
    /// MySQL without GTIDs: the end of the last transaction taken.
    File(FilePosition),
}

impl Position {
    /// Is everything up to `other` contained in `self`?
    pub fn covers(&self, other: &Position) -> Result<bool, PositionError> {
        match (self, other) {
            (Position::Lsn(a), Position::Lsn(b)) => Ok(a >= b),
            (Position::Gtid(a), Position::Gtid(b)) => Ok(a.contains_set(b)),
            (Position::MariaGtid(a), Position::MariaGtid(b)) => Ok(a.covers(b)),
            (Position::File(a), Position::File(b)) if a.base() == b.base() => Ok(a.place() >= b.place()),
            _ => Err(PositionError::WrongKind(self.to_string(), other.to_string())),
        }
    }

    /// Right after one more transaction, by its name in the log. `None`: the name does not tell where it ends.
    pub fn after(&self, transaction: &str) -> Option<Position> {
        match self {
            // The name is where the commit record begins; a start behind that does not send it again.
            Position::Lsn(_) => Some(Position::Lsn(parse_lsn(transaction)? + 1)),
            Position::Gtid(set) => {
                let (source, number) = transaction.rsplit_once(':')?;
                let mut set = set.clone();
                set.add(&source.to_ascii_lowercase(), number.parse().ok()?);
                Some(Position::Gtid(set))
            }
            Position::MariaGtid(list) => {
                let one: MariaGtids = transaction.parse().ok()?;
                let mut list = list.clone();
                list.0.extend(one.0);
                Some(Position::MariaGtid(list))
            }
            // Named by where it begins; where it ends the reader finds.
            Position::File(_) => {
                let begin: FilePosition = transaction.parse().ok()?;
                Some(Position::File(FilePosition {
                    is_passed: true,
                    ..begin
                }))
            }
        }
    }
}

impl fmt::Display for Position {
    /// Text form with its kind, as stored: `lsn:0/16B3748`, `gtid:UUID:1-5`, `mariadb:0-1-5,1-2-9`,
    /// `file:binlog.000003:1234@1763712345`; with `+` behind the offset, the transaction that begins there is passed too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Lsn(lsn) => write!(f, "lsn:{}", lsn_text(*lsn)),
            Position::Gtid(set) => write!(f, "gtid:{set}"),
            Position::MariaGtid(list) => write!(f, "mariadb:{list}"),
            Position::File(place) => write!(f, "file:{place}"),
        }
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let malformed = || PositionError::Malformed(text.to_owned());
        let (kind, body) = text.split_once(':').ok_or_else(malformed)?;
        match kind {
            "lsn" => parse_lsn(body).map(Position::Lsn).ok_or_else(malformed),
            "gtid" => body.parse().map(Position::Gtid),
            "mariadb" => body.parse().map(Position::MariaGtid),
            "file" => body.parse().map(Position::File),
            _ => Err(malformed()),
        }
    }
}

/// `X/Y` in hexadecimal, as PostgreSQL writes an LSN.
pub fn lsn_text(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)
}

pub fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    if high.is_empty() || low.is_empty() || high.len() > 8 || low.len() > 8 {
        return None;
    }
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}

/// Sets of MySQL GTIDs. The key is `uuid` or `uuid:tag`, lower case; intervals are inclusive, sorted, not touching.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet(BTreeMap<String, Vec<(u64, u64)>>);

impl GtidSet {
    /// `source`: `uuid` or `uuid:tag`.
    pub fn add(&mut self, source: &str, number: u64) {
        self.add_interval(source, number, number);
    }

    fn add_interval(&mut self, source: &str, low: u64, high: u64) {
        let intervals = match self.0.get_mut(source) {
            Some(intervals) => intervals,
            None => self.0.entry(source.to_owned()).or_default(),
        };
        // The usual case: the next number of the last interval.
        if let Some(last) = intervals.last_mut() {
            if low >= last.0 && low <= last.1.saturating_add(1) {
                last.1 = last.1.max(high);
                return;
            }
            if low < last.0 {
                intervals.push((low, high));
                intervals.sort_unstable();
                let mut merged: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
                for (low, high) in intervals.drain(..) {
                    match merged.last_mut() {
                        Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                        _ => merged.push((low, high)),
                    }
                }
                *intervals = merged;
                return;
            }
        }
        intervals.push((low, high));
    }

    pub fn contains(&self, source: &str, number: u64) -> bool {
        self.0.get(source).is_some_and(|intervals| {
            intervals
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&number))
        })
    }

    pub fn contains_set(&self, other: &GtidSet) -> bool {
        other.0.iter().all(|(source, theirs)| {
            let ours = self.0.get(source).map_or(&[][..], Vec::as_slice);
            theirs
                .iter()
                .all(|(low, high)| ours.iter().any(|(l, h)| l <= low && high <= h))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `(uuid or uuid:tag, inclusive intervals)`, sorted by source.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[(u64, u64)])> {
        self.0
            .iter()
            .map(|(source, intervals)| (source.as_str(), intervals.as_slice()))
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (source, intervals)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(source)?;
            for (low, high) in intervals {
                if low == high {
                    write!(f, ":{low}")?;
                } else {
                    write!(f, ":{low}-{high}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = PositionError;

    /// Accepts what the server prints: blanks and line breaks, several tags after one uuid.
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let malformed = || PositionError::Malformed(text.to_owned());
        let mut set = GtidSet::default();
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        for group in compact.split(',').filter(|group| !group.is_empty()) {
            let mut pieces = group.split(':');
            let uuid = pieces.next().unwrap_or_default().to_ascii_lowercase();
            if uuid.len() != 36 {
                return Err(malformed());
            }
            let mut source = uuid.clone();
            let mut intervals = 0;
            for piece in pieces {
                if piece.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    source = format!("{uuid}:{}", piece.to_ascii_lowercase());
                    continue;
                }
                let (low, high) = piece.split_once('-').unwrap_or((piece, piece));
                let (low, high) = (
                    low.parse().map_err(|_| malformed())?,
                    high.parse().map_err(|_| malformed())?,
                );
                if low == 0 || low > high {
                    return Err(malformed());
                }
                set.add_interval(&source, low, high);
                intervals += 1;
            }
            if intervals == 0 {
                return Err(malformed());
            }
        }
        Ok(set)
    }
}

/// MariaDB's position: `domain -> (server, sequence)`. Order holds inside a domain only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaGtids(BTreeMap<u32, (u32, u64)>);

impl MariaGtids {
    pub fn set(&mut self, domain: u32, server: u32, sequence: u64) {
        self.0.insert(domain, (server, sequence));
    }

    pub fn sequence(&self, domain: u32) -> Option<u64> {
        self.0.get(&domain).map(|(_, sequence)| *sequence)
    }

    pub fn domains(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    fn covers(&self, other: &MariaGtids) -> bool {
        other
            .0
            .iter()
            .all(|(domain, (_, sequence))| self.sequence(*domain).is_some_and(|ours| ours >= *sequence))
    }
}

impl fmt::Display for MariaGtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domain, (server, sequence))) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

impl FromStr for MariaGtids {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let mut list = MariaGtids::default();
        for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
            let numbers: Option<Vec<u64>> = gtid.split('-').map(|number| number.parse().ok()).collect();
            match numbers.as_deref() {
                Some([domain, server, sequence]) => {
                    let domain =
                        u32::try_from(*domain).map_err(|_| PositionError::Malformed(text.to_owned()))?;
                    let server =
                        u32::try_from(*server).map_err(|_| PositionError::Malformed(text.to_owned()))?;
                    list.set(domain, server, *sequence);
                }
                _ => return Err(PositionError::Malformed(text.to_owned())),
            }
        }
        Ok(list)
    }
}

/// A place in one of a server's binlog files. Files of one base name are ordered by the number at their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition {
    file: String,
    number: u64,
    pub offset: u64,
    /// When the server began the file, by its clock in seconds: a file of the same name made after the log was reset
    /// is another one.
    pub created: u32,
    /// Up to the end of the transaction that begins here, wherever that is.
    pub is_passed: bool,
}

impl FilePosition {
    /// `None`: the name is not of a binlog file.
    pub fn new(file: &str, offset: u64, created: u32) -> Option<Self> {
        let (_, number) = file.rsplit_once('.')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        Some(FilePosition {
            file: file.to_owned(),
            number: number.parse().ok().filter(|_| is_number)?,
            offset,
            created,
            is_passed: false,
        })
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    fn base(&self) -> &str {
        self.file.rsplit_once('.').map_or("", |(base, _)| base)
    }

    fn place(&self) -> (u64, u64, bool) {
        (self.number, self.offset, self.is_passed)
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = if self.is_passed { "+" } else { "" };
        write!(f, "{}:{}{passed}@{}", self.file, self.offset, self.created)
    }
}

impl FromStr for FilePosition {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let parse = || {
            let (place, created) = text.rsplit_once('@')?;
            let (file, offset) = place.rsplit_once(':')?;
            let is_passed = offset.ends_with('+');
            let offset = offset.strip_suffix('+').unwrap_or(offset);
            let at = FilePosition::new(file, offset.parse().ok()?, created.parse().ok()?)?;
            Some(FilePosition { is_passed, ..at })
        };
        parse().ok_or_else(|| PositionError::Malformed(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn positions_print_and_parse() {
        for text in [
            "lsn:16/B374D848",
            &format!("gtid:{A}:1-5:7,{B}:3,{B}:tag:1-2"),
            "mariadb:0-1-5,3-2-9",
            "gtid:",
            "file:binlog.000003:1234@1763712345",
            "file:my.host-bin.1000000:4@0",
            "file:binlog.000003:1234+@1763712345",
        ] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), *text);
        }
    }

    #[test]
    fn server_text_with_line_breaks_and_several_tags_is_understood() {
        let set: GtidSet = format!("{}:1-3:tag:1,\n {B}:1", A.to_uppercase())
            .parse()
            .unwrap();
        assert_eq!(set.to_string(), format!("{A}:1-3,{A}:tag:1,{B}:1"));
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            "lsn:",
            "lsn:1",
            "lsn:x/1",
            "gtid:abc:1",
            "mariadb:1-2",
            "file:x",
            "file:binlog.000001:4",
            "file:binlog.index:4@1",
            "file:binlog.000001:-4@1",
            "file:binlog.000001:4++@1",
            &format!("gtid:{A}"),
            &format!("gtid:{A}:0"),
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_grow_merge_and_contain() {
        let mut set = GtidSet::default();
        for number in [5, 1, 2, 9, 3, 4, 7, 8, 6] {
            set.add(A, number);
        }
        assert_eq!(set.to_string(), format!("{A}:1-9"));
        assert!(set.contains_set(&format!("{A}:2-3:9").parse().unwrap()));
        assert!(!set.contains_set(&format!("{A}:2-10").parse().unwrap()));
        assert!(!set.contains_set(&format!("{B}:1").parse().unwrap()));
        assert!(set.contains(A, 9) && !set.contains(A, 10));
    }

    #[test]
    fn files_are_ordered_by_number_then_offset() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        let covers = |a: &str, b: &str| at(a).covers(&at(b));
        assert!(covers("file:b.000010:4@2", "file:b.000009:900@1").unwrap());
        assert!(covers("file:b.1000000:4@2", "file:b.999999:4@1").unwrap());
        assert!(covers("file:b.000001:900@1", "file:b.000001:900@1").unwrap());
        assert!(!covers("file:b.000001:899@1", "file:b.000001:900@1").unwrap());
        assert!(covers("file:b.000001:900+@1", "file:b.000001:900@1").unwrap());
        assert!(!covers("file:b.000001:900@1", "file:b.000001:900+@1").unwrap());
        assert!(covers("file:a.000002:4@1", "file:b.000001:4@1").is_err());
        assert!(covers("file:b.000002:4@1", &format!("gtid:{A}:1")).is_err());
    }

    #[test]
    fn one_more_transaction_is_passed() {
        let after = |position: &str, transaction: &str| {
            let position: Position = position.parse().unwrap();
            position.after(transaction).map(|after| after.to_string())
        };
        assert_eq!(after("lsn:0/10", "0/A0").unwrap(), "lsn:0/A1");
        assert_eq!(
            after(&format!("gtid:{A}:1-4"), &format!("{A}:6")).unwrap(),
            format!("gtid:{A}:1-4:6")
        );
        assert_eq!(
            after(&format!("gtid:{A}:1"), &format!("{A}:tag:1")).unwrap(),
            format!("gtid:{A}:1,{A}:tag:1")
        );
        assert_eq!(
            after("mariadb:0-1-5,1-1-9", "0-2-6").unwrap(),
            "mariadb:0-2-6,1-1-9"
        );
        assert_eq!(
            after("file:b.000001:4@1", "b.000002:900@7").unwrap(),
            "file:b.000002:900+@7"
        );
        assert_eq!(after("file:b.000001:4@1", "first copy"), None);
        assert_eq!(after("lsn:0/10", "first copy"), None);
        assert_eq!(after(&format!("gtid:{A}:1"), "first copy"), None);
    }

    #[test]
    fn kinds_never_compare() {
        let lsn = Position::Lsn(1);
        let gtid = Position::Gtid(GtidSet::default());
        assert!(lsn.covers(&gtid).is_err());
        assert!(Position::Lsn(2).covers(&lsn).unwrap());
    }
}
