//! Markers: what Tidelock writes into its own transactions so that a reader of that log knows what follows.
//!
//! Owns: [`Marker`], its JSON form (PostgreSQL carries it as a transactional logical message; on MySQL it is the
//! checkpoint row's own event), and the loop guard's rule.
//! A marker opens a segment that holds until the next marker of the same transaction.

use super::change::Writer;
use super::stamp::Rank;
use serde::{Deserialize, Serialize};

/// Prefix of the logical message on PostgreSQL; name of the control schema or database on every engine.
pub const CONTROL: &str = "tidelock";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Changes of another origin, applied here.
    Applied,
    /// Writes of Tidelock on its own account; they replicate like a user's.
    Own,
}

impl Segment {
    /// The number stored in the checkpoint row.
    pub fn code(self) -> i16 {
        match self {
            Segment::Applied => 0,
            Segment::Own => 1,
        }
    }

    pub fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Segment::Applied),
            1 => Some(Segment::Own),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub sync: String,
    /// `source->target`
    pub link: String,
    pub lane: u16,
    pub seq: i64,
    /// The source position the transaction stands for, in text form.
    pub position: String,
    /// Rank of the node on which the changes were first written.
    pub origin: Rank,
    /// 1 = straight from the origin.
    pub hop: u16,
    pub segment: Segment,
    pub config_hash: String,
}

impl Marker {
    pub fn to_json(&self) -> String {
        // Strings and integers only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

/// The loop guard between two nodes (and in a mesh): forward what no marker of this sync covers, and what
/// Tidelock wrote on its own account; an applied segment of this sync is an echo. Another sync's marker is
/// ordinary traffic, so cascades work.
pub fn is_echo(writer: &Writer, sync: &str) -> bool {
    match writer {
        Writer::User => false,
        Writer::Tidelock(marker) => marker.sync == sync && marker.segment == Segment::Applied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn marker(sync: &str, segment: Segment) -> Writer {
        Writer::Tidelock(Arc::new(Marker {
            sync: sync.to_owned(),
            link: "a->b".to_owned(),
            lane: 0,
            seq: 1,
            position: "0/1".to_owned(),
            origin: 1,
            hop: 1,
            segment,
            config_hash: "x".to_owned(),
        }))
    }

    #[test]
    fn only_applied_segments_of_this_sync_are_echoes() {
        assert!(!is_echo(&Writer::User, "s"));
        assert!(is_echo(&marker("s", Segment::Applied), "s"));
        assert!(!is_echo(&marker("s", Segment::Own), "s"));
        assert!(!is_echo(&marker("other", Segment::Applied), "s"));
    }

    #[test]
    fn json_round_trip() {
        let Writer::Tidelock(marker) = marker("s\"'\\", Segment::Own) else {
            unreachable!()
        };
        assert_eq!(Marker::from_json(marker.to_json().as_bytes()).unwrap(), *marker);
    }
}
