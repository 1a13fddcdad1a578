//! Markers: what Tidelock writes into its own transactions so that a reader of that log knows what follows.
//!
//! Owns: [`Marker`], its JSON form (PostgreSQL carries it as a transactional logical message; on MySQL it is the
//! checkpoint row's own event), and the loop guard, [`Guard`].
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

/// The loop guard of one link: what of its source's log goes on to its target.
///
/// What no marker of this sync covers does, and what Tidelock wrote on its own account. An applied segment of this sync
/// is an echo, between two nodes and in a mesh, where whoever wrote it has a link to every other node. A hub passes it
/// on, but never back to its origin. Another sync's marker is ordinary traffic, so cascades work.
#[derive(Debug, Clone)]
pub struct Guard {
    sync: String,
    onward: Option<Rank>,
}

impl Guard {
    /// `onward`: the source is a hub, and the target has this rank.
    pub fn new(sync: &str, onward: Option<Rank>) -> Self {
        Guard {
            sync: sync.to_owned(),
            onward,
        }
    }

    /// Nothing of it goes on.
    pub fn is_echo(&self, writer: &Writer) -> bool {
        self.applied(writer)
            .is_some_and(|marker| self.onward.is_none_or(|target| marker.origin == target))
    }

    /// It was applied here, and goes on under its origin.
    pub fn is_passed_on(&self, writer: &Writer) -> bool {
        self.applied(writer)
            .is_some_and(|marker| self.onward.is_some_and(|target| marker.origin != target))
    }

    /// Is the source a hub?
    pub fn is_of_hub(&self) -> bool {
        self.onward.is_some()
    }

    fn applied<'a>(&self, writer: &'a Writer) -> Option<&'a Marker> {
        match writer {
            Writer::Tidelock(marker) if marker.sync == self.sync && marker.segment == Segment::Applied => {
                Some(marker)
            }
            Writer::Tidelock(_) | Writer::User => None,
        }
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
    fn only_applied_segments_of_this_sync_are_echoes_and_a_hub_passes_them_on_but_not_back() {
        let (user, own) = (Writer::User, marker("s", Segment::Own));
        let (applied, other) = (marker("s", Segment::Applied), marker("other", Segment::Applied));
        // Of origin 1. From a hub to node 2, to node 1, and from whoever is no hub.
        for (onward, echo, passed_on) in [
            (Some(2), false, true),
            (Some(1), true, false),
            (None, true, false),
        ] {
            let guard = Guard::new("s", onward);
            assert_eq!(
                (guard.is_echo(&applied), guard.is_passed_on(&applied)),
                (echo, passed_on),
                "{onward:?}"
            );
            for writer in [&user, &own, &other] {
                assert!(!guard.is_echo(writer) && !guard.is_passed_on(writer));
            }
        }
    }

    #[test]
    fn json_round_trip() {
        let Writer::Tidelock(marker) = marker("s\"'\\", Segment::Own) else {
            unreachable!()
        };
        assert_eq!(Marker::from_json(marker.to_json().as_bytes()).unwrap(), *marker);
    }
}
