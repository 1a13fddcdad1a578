//! Which partitions the rows of the stream are of.
//!
//! A partition's rows come as those of its table. Before the first of them, and again after whatever altered the
//! partition, both are described one after the other: the table, then the partition. Pure.
//!
//! Owns: the partitions of the transaction that is being read, for `setup::note` to judge when it ends.

use super::setup::Sent;
use super::wire::Message;
use crate::model::schema::TableId;
use std::collections::HashSet;

pub(super) struct Partitions {
    /// Nothing new can be told of these.
    known: HashSet<u32>,
    last: Last,
    /// By the oid of their table.
    sent: Vec<(u32, Sent)>,
}

/// The last message, if it described a table of ours, or right after that something else.
enum Last {
    Other,
    Table(u32, TableId),
    Partition(u32, Sent),
}

impl Partitions {
    pub(super) fn new(known: HashSet<u32>) -> Self {
        Partitions {
            known,
            last: Last::Other,
            sent: Vec::new(),
        }
    }

    /// To be shown every message of a transaction.
    pub(super) fn follow(&mut self, message: &Message<'_>, is_ours: impl FnOnce(&TableId) -> bool) {
        let last = std::mem::replace(&mut self.last, Last::Other);
        match (last, message) {
            (last, Message::Relation(relation)) => {
                let id = TableId::new(relation.schema, relation.name);
                self.last = match last {
                    _ if is_ours(&id) => Last::Table(relation.oid, id),
                    Last::Table(table_oid, table) if !self.known.contains(&relation.oid) => {
                        let sent = Sent {
                            table,
                            oid: relation.oid,
                            name: id.to_string(),
                            again: false,
                        };
                        Last::Partition(table_oid, sent)
                    }
                    Last::Table(..) | Last::Partition(..) | Last::Other => Last::Other,
                };
            }
            (
                Last::Partition(table, sent),
                Message::Insert { relation, .. }
                | Message::Update { relation, .. }
                | Message::Delete { relation, .. },
            ) if table == *relation => match self.sent.iter_mut().find(|(_, known)| known.oid == sent.oid) {
                Some((_, known)) => known.again = true,
                None => self.sent.push((table, sent)),
            },
            // Of a whole table it is sent: what its partitions held is gone on the target too.
            (_, Message::Truncate { relations }) => {
                self.sent.retain(|(table, _)| !relations.contains(table));
            }
            (_, _) => {}
        }
    }

    /// At the end of the transaction.
    pub(super) fn take(&mut self) -> Vec<Sent> {
        self.last = Last::Other;
        let sent = std::mem::take(&mut self.sent);
        let sent: Vec<Sent> = sent.into_iter().map(|(_, sent)| sent).collect();
        self.known.extend(sent.iter().map(|sent| sent.oid));
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::wire::Relation;

    /// `t1` and `t2` are ours, with oids 1 and 2; `p..` are partitions. `>t1` is a row, `-t1` a TRUNCATE.
    fn told(messages: &str) -> Vec<String> {
        let mut partitions = Partitions::new(HashSet::from([9]));
        for word in messages.split(' ') {
            let (kind, name) = word.split_at(1);
            let oid = |name: &str| name[1..].parse::<u32>().unwrap_or_default();
            let message = match kind {
                ">" => Message::Insert {
                    relation: oid(name),
                    new: Vec::new(),
                },
                "-" => Message::Truncate {
                    relations: vec![oid(name)],
                },
                _ => Message::Relation(Relation {
                    oid: oid(word),
                    schema: "s",
                    name: word,
                    identity: 'd',
                    columns: Vec::new(),
                }),
            };
            partitions.follow(&message, |id| id.name.starts_with('t'));
        }
        let text = |sent: Sent| {
            let again = if sent.again { "!" } else { "" };
            format!("{} of {}{again}", sent.name, sent.table)
        };
        partitions.take().into_iter().map(text).collect()
    }

    #[test]
    fn partitions_are_those_that_are_described_right_after_their_table_and_before_a_row_of_it() {
        for (messages, expected) in [
            ("t1 p5 >t1 >t1", &["s.p5 of s.t1"] as &[&str]),
            (
                "t1 p5 >t1 t1 p6 >t1 t2 p7 >t2",
                &["s.p5 of s.t1", "s.p6 of s.t1", "s.p7 of s.t2"],
            ),
            ("t1 p5 >t1 t1 p5 >t1", &["s.p5 of s.t1!"]),
            // Known, without a row, a table that is not ours, another table's row.
            ("t1 p9 >t1", &[]),
            ("t1 p5", &[]),
            ("t1 p5 -t1", &[]),
            ("t1 >t1 p5 >t1", &[]),
            ("t1 p5 >t2", &[]),
            ("t1 t2 p5 >t1", &[]),
            // The table was emptied whole meanwhile.
            ("t1 p5 >t1 -t1", &[]),
            ("t1 p5 >t1 t2 p7 >t2 -t1", &["s.p7 of s.t2"]),
            ("t1 p5 >t1 t1 -t1 t1 p5 >t1", &["s.p5 of s.t1"]),
        ] {
            assert_eq!(told(messages), expected, "{messages}");
        }
    }
}
