//! Transactions that the server sends before they commit, because they outgrew its `logical_decoding_work_mem`.
//!
//! # The protocol, as far as it decides anything here
//! A block of messages (StreamStart .. StreamStop) carries a piece of one transaction; blocks of several may alternate.
//! Its fate comes later: StreamCommit, in commit order among all others; or StreamAbort, of the whole or of one
//! subtransaction, whose rows must then count as never sent. Rows name their subtransaction, so they are kept with it as
//! a tag and struck out by it.
//!
//! - **Descriptions** of tables are sent anew in each streamed transaction, and hold for it alone. They stay when the
//!   subtransaction they came with is rolled back: the server takes them as sent. After StreamCommit the server takes
//!   them as sent for all, unless it has described the table otherwise since: so the description *received* last wins.
//!   (Newer minor versions describe the table once more then; older ones do not.)
//! - **Markers** name no subtransaction. Tidelock writes its own outside of savepoints, and before any row. One that
//!   comes later, in a transaction of somebody else's that rolled a subtransaction back, may be rolled back itself:
//!   nobody can tell, so it is refused.
//! - Rows that Tidelock applied for this sync are counted and not kept: the loop guard would drop them.
//! - When the connection goes, everything streamed is dropped; the server sends it again.
//!
//! Owns: what was streamed and is not committed, bounded in memory by its [`Space`]. Refuses: decoding rows, which
//! waits for the commit (see `source`). Fails: definite on messages out of order, and as `spill` does.

use super::wire::{self, Message};
use super::{malformed, out_of_order};
use crate::error::{Error, Result};
use crate::model::change::Writer;
use crate::model::origin::{CONTROL, Guard, Marker};
use crate::model::schema::TableId;
use crate::spill::{Reader, Space, Spill};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub(super) struct Streams {
    guard: Guard,
    space: Space,
    /// By the transaction's xid.
    open: HashMap<u32, Streamed>,
    /// Whose block is being received.
    receiving: Option<u32>,
}

/// Who wrote the transaction, by its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    Unknown,
    Marker,
    Other,
}

/// What was received of one transaction.
pub(super) struct Streamed {
    xid: u32,
    records: Spill,
    /// By oid: when the table was described last, and is it one of ours?
    described: HashMap<u32, (u64, bool)>,
    opening: Opening,
    /// A marker came in a transaction that did not begin with one.
    late_marker: bool,
    /// A subtransaction was rolled back.
    struck: bool,
    /// The last marker said that an echo follows.
    echo: bool,
    /// Bytes that were not kept, by marker of an echo.
    echoes: VecDeque<u64>,
}

/// A committed transaction, ready to be read.
pub(super) struct Replay {
    pub(super) records: Reader,
    /// By oid: when the table was described last.
    pub(super) described: HashMap<u32, u64>,
    pub(super) echoes: VecDeque<u64>,
}

impl Streams {
    pub(super) fn new(guard: Guard, space: &Space) -> Self {
        Streams {
            guard,
            space: space.clone(),
            open: HashMap::new(),
            receiving: None,
        }
    }

    /// Is a block being received?
    pub(super) fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    pub(super) fn start(&mut self, xid: u32, first: bool) -> Result<()> {
        if self.receiving.is_some() || first == self.open.contains_key(&xid) {
            return Err(out_of_order());
        }
        if first {
            self.open.insert(xid, Streamed::new(xid, &self.space));
        }
        self.receiving = Some(xid);
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        self.receiving.take().map(|_| ()).ok_or_else(out_of_order)
    }

    /// A message inside a block. `number` counts descriptions of tables, this one included if it is one.
    pub(super) fn receive(
        &mut self,
        body: &[u8],
        number: u64,
        is_ours: impl FnOnce(&TableId) -> bool,
    ) -> Result<()> {
        let streamed = self.receiving.and_then(|xid| self.open.get_mut(&xid));
        let streamed = streamed.ok_or_else(out_of_order)?;
        match body.first() {
            Some(b'I' | b'U' | b'D') => streamed.row(body),
            _ => streamed.message(body, number, &self.guard, is_ours),
        }
    }

    /// Brings what was received within the memory bound. To be awaited before each message; may be dropped.
    pub(super) async fn settle(&mut self) -> Result<()> {
        match self.receiving.and_then(|xid| self.open.get_mut(&xid)) {
            Some(streamed) => streamed.records.settle().await,
            None => Ok(()),
        }
    }

    /// An xid that is not known was never streamed: nothing is to be dropped.
    pub(super) fn abort(&mut self, xid: u32, subxid: u32) -> Result<()> {
        if self.receiving.is_some() {
            return Err(out_of_order());
        }
        if xid == subxid {
            self.open.remove(&xid);
        } else if let Some(streamed) = self.open.get_mut(&xid) {
            streamed.struck = true;
            streamed.records.strike(subxid);
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, xid: u32) -> Result<Replay> {
        if self.receiving.is_some() {
            return Err(out_of_order());
        }
        let streamed = self.open.remove(&xid).ok_or_else(out_of_order)?;
        if streamed.late_marker && streamed.struck {
            return Err(Error::definite("read a marker in the change stream")
                .why(
                    "it stands in the middle of a streamed transaction that rolled back to a savepoint, and the server \
                     does not say whether the marker was rolled back too",
                )
                .hint(
                    "a message with prefix tidelock was not written by Tidelock: do not write such; to get past this \
                     one set limits.stream = false",
                ));
        }
        let described = streamed.described.into_iter();
        Ok(Replay {
            records: streamed.records.into_reader(),
            described: described.map(|(oid, (number, _))| (oid, number)).collect(),
            echoes: streamed.echoes,
        })
    }
}

impl Streamed {
    fn new(xid: u32, space: &Space) -> Self {
        Streamed {
            xid,
            records: Spill::new(space),
            described: HashMap::new(),
            opening: Opening::Unknown,
            late_marker: false,
            struck: false,
            echo: false,
            echoes: VecDeque::new(),
        }
    }

    fn row(&mut self, body: &[u8]) -> Result<()> {
        let (subxid, relation) = wire::row_head(body).map_err(malformed)?;
        match self.described.get(&relation) {
            Some((_, true)) => self.keep(subxid, body),
            Some((_, false)) => self.open_as(Opening::Other),
            None => return Err(out_of_order()),
        }
        Ok(())
    }

    fn message(
        &mut self,
        body: &[u8],
        number: u64,
        guard: &Guard,
        is_ours: impl FnOnce(&TableId) -> bool,
    ) -> Result<()> {
        match wire::in_stream(body).map_err(malformed)? {
            (_, Message::Relation(relation)) => {
                let ours = is_ours(&TableId::new(relation.schema, relation.name));
                self.described.insert(relation.oid, (number, ours));
                self.records.push(self.xid, body);
            }
            (Some(subxid), Message::Truncate { .. }) => self.keep(subxid, body),
            (
                _,
                Message::Logical {
                    transactional: true,
                    prefix: CONTROL,
                    content,
                },
            ) => self.marker(body, content, guard),
            (_, Message::Origin | Message::Type | Message::Logical { .. }) => {}
            _ => return Err(out_of_order()),
        }
        Ok(())
    }

    fn open_as(&mut self, opening: Opening) {
        if self.opening == Opening::Unknown {
            self.opening = opening;
        }
    }

    fn keep(&mut self, subxid: u32, body: &[u8]) {
        self.open_as(Opening::Other);
        match self.echoes.back_mut().filter(|_| self.echo) {
            Some(bytes) => *bytes += body.len() as u64,
            None => self.records.push(subxid, body),
        }
    }

    /// One that cannot be read is kept for the replay to complain about.
    fn marker(&mut self, body: &[u8], content: &[u8], guard: &Guard) {
        self.open_as(Opening::Marker);
        self.late_marker |= self.opening != Opening::Marker;
        let echoes = |marker| guard.is_echo(&Writer::Tidelock(Arc::new(marker)));
        self.echo = self.opening == Opening::Marker && Marker::from_json(content).is_ok_and(echoes);
        if self.echo {
            self.echoes.push_back(0);
        }
        self.records.push(self.xid, body);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn message(tag: u8, xid: u32, parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(xid.to_be_bytes());
        parts.iter().for_each(|part| bytes.extend(*part));
        bytes
    }

    /// Table 5 is ours, table 6 is not; no columns.
    fn relation(xid: u32, oid: u32) -> Vec<u8> {
        let name: &[u8] = if oid == 5 { b"ours\0" } else { b"theirs\0" };
        message(b'R', xid, &[&oid.to_be_bytes(), b"public\0", name, b"d\0\0"])
    }

    /// The one cell is the row's number.
    fn row(subxid: u32, oid: u32, number: u32) -> Vec<u8> {
        let head = [b"N\0\x01t".as_slice(), &4_u32.to_be_bytes()].concat();
        message(b'I', subxid, &[&oid.to_be_bytes(), &head, &number.to_be_bytes()])
    }

    fn marker(xid: u32, sync: &str) -> Vec<u8> {
        let json = format!(
            r#"{{"sync":"{sync}","link":"a->b","lane":0,"seq":1,"position":"lsn:0/1","origin":1,"hop":1,
                "segment":"applied","config_hash":""}}"#
        );
        let length = u32::try_from(json.len()).unwrap().to_be_bytes();
        message(
            b'M',
            xid,
            &[&[1], &[0; 8], b"tidelock\0", &length, json.as_bytes()],
        )
    }

    fn receive(streams: &mut Streams, body: &[u8]) -> Result<()> {
        streams.receive(body, 1, |id| id.name == "ours")
    }

    fn block(streams: &mut Streams, xid: u32, bodies: &[Vec<u8>]) -> Result<()> {
        let first = !streams.open.contains_key(&xid);
        streams.start(xid, first)?;
        bodies.iter().try_for_each(|body| receive(streams, body))?;
        streams.stop()
    }

    /// Numbers of the rows that are left.
    fn numbers(replay: Replay) -> Vec<u32> {
        let mut reader = replay.records;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found = Vec::new();
        runtime.block_on(async {
            while let Some((_, record)) = reader.next().await.unwrap() {
                if let (_, Message::Insert { new, .. }) = wire::in_stream(&record).unwrap() {
                    let [wire::Cell::Text(number)] = new[..] else {
                        panic!("{new:?}")
                    };
                    found.push(u32::from_be_bytes(number.try_into().unwrap()));
                }
            }
        });
        found
    }

    /// The xids of a transaction and its subtransactions, and its rows of ours that count.
    type Modelled = ([u32; 4], Vec<(u32, u32)>);

    /// A step of one of three transactions that run at once.
    #[derive(Debug, Clone)]
    enum Act {
        /// Rows of its subtransactions, and whether each is of our table.
        Rows(Vec<(u32, bool)>),
        Undo(u32),
        Commit,
        Abort,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => prop::collection::vec((0_u32..4, prop::bool::weighted(0.8)), 0..8).prop_map(Act::Rows),
            2 => (1_u32..4).prop_map(Act::Undo),
            1 => Just(Act::Commit),
            1 => Just(Act::Abort),
        ]
    }

    proptest! {
        #[test]
        fn what_is_left_at_commit_is_what_was_not_rolled_back(acts in prop::collection::vec((0_u32..3, act()), 0..60)) {
            let mut streams = Streams::new(Guard::new("s", None), &Space::default());
            let mut model: [Option<Modelled>; 3] = Default::default();
            let mut next = 100;
            let mut number = || { next += 10; next };
            for (place, act) in acts {
                let slot = &mut model[place as usize];
                match act {
                    Act::Rows(rows) => {
                        let xid = number();
                        let (xids, left) = slot.get_or_insert_with(|| ([xid, xid + 1, xid + 2, xid + 3], Vec::new()));
                        let mut bodies = vec![relation(xids[0], 5), relation(xids[0], 6)];
                        for (sub, ours) in rows {
                            let (subxid, row_number) = (xids[sub as usize], number());
                            bodies.push(row(subxid, if ours { 5 } else { 6 }, row_number));
                            if ours {
                                left.push((subxid, row_number));
                            }
                        }
                        block(&mut streams, xids[0], &bodies).unwrap();
                    }
                    Act::Undo(sub) => if let Some((xids, left)) = slot {
                        // A rolled back xid does not come again.
                        let subxid = std::mem::replace(&mut xids[sub as usize], number());
                        streams.abort(xids[0], subxid).unwrap();
                        left.retain(|(tag, _)| *tag != subxid);
                    },
                    Act::Commit => if let Some((xids, left)) = slot.take() {
                        let replay = streams.commit(xids[0]).unwrap();
                        prop_assert_eq!(numbers(replay), left.iter().map(|(_, number)| *number).collect::<Vec<_>>());
                    },
                    Act::Abort => if let Some(([xid, ..], _)) = slot.take() {
                        streams.abort(xid, xid).unwrap();
                        prop_assert!(streams.commit(xid).is_err(), "nothing is left of it");
                    },
                }
            }
        }
    }

    #[test]
    fn echoes_are_counted_and_not_kept_while_a_marker_at_the_front_says_so() {
        let mut streams = Streams::new(Guard::new("s", None), &Space::default());
        let ours = |number| row(1, 5, number);
        let bodies = [
            marker(1, "s"),
            relation(1, 5),
            ours(1),
            marker(1, "another"),
            ours(2),
            marker(1, "s"),
            ours(3),
        ];
        block(&mut streams, 1, &bodies).unwrap();
        let replay = streams.commit(1).unwrap();
        assert_eq!(replay.echoes, [21, 21]);
        assert_eq!(numbers(replay), [2]);
        // A transaction of somebody else's is kept whole, whatever stands in its middle.
        block(
            &mut streams,
            2,
            &[relation(2, 5), ours(1), marker(2, "s"), ours(2)],
        )
        .unwrap();
        assert_eq!(numbers(streams.commit(2).unwrap()), [1, 2]);
        block(
            &mut streams,
            3,
            &[relation(3, 5), ours(1), marker(3, "s"), ours(2)],
        )
        .unwrap();
        streams.abort(3, 4).unwrap();
        assert!(streams.commit(3).err().unwrap().to_string().contains("savepoint"));
    }

    #[test]
    fn messages_out_of_order_are_errors() {
        let mut streams = Streams::new(Guard::new("s", None), &Space::default());
        assert!(streams.start(1, false).is_err() && streams.stop().is_err() && streams.commit(1).is_err());
        assert!(receive(&mut streams, &relation(1, 5)).is_err());
        streams.start(1, true).unwrap();
        assert!(
            streams.start(2, true).is_err() && streams.commit(1).is_err() && streams.abort(1, 1).is_err()
        );
        assert!(
            receive(&mut streams, &row(1, 5, 1)).is_err(),
            "not described in this transaction"
        );
        assert!(receive(&mut streams, b"B").is_err() && receive(&mut streams, b"").is_err());
        streams.stop().unwrap();
        assert!(streams.start(1, true).is_err());
        streams.abort(7, 7).unwrap();
    }
}
