//! The chunks that are open, in the order in which workers take them.
//!
//! Owns: that rows come before tombstones, and children's tombstones before their parents': a parent that was deleted with
//! its children is then deleted like them, and one that still has some is seen to have them. Refuses: chunks of a later
//! stage while one of an earlier is under way; whoever asks then waits.

use crate::chunk::Chunk;
use crate::model::schema::{ForeignKey, TableId};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Rows of any table come first.
pub(super) const ROWS: usize = 0;

pub(super) struct Queue {
    state: Mutex<State>,
    turned: Notify,
}

struct State {
    /// With their stages, in order of them.
    open: VecDeque<(usize, Chunk)>,
    stage: usize,
    under_way: usize,
}

enum Next {
    Chunk(Chunk),
    Wait,
    None,
}

impl Queue {
    pub(super) fn new(mut open: Vec<(usize, Chunk)>) -> Queue {
        open.sort_by_key(|(stage, _)| *stage);
        Queue {
            state: Mutex::new(State {
                open: open.into(),
                stage: ROWS,
                under_way: 0,
            }),
            turned: Notify::new(),
        }
    }

    /// Waits where only chunks of a later stage are left. `None`: there is none left.
    pub(super) async fn next(&self) -> Option<Chunk> {
        loop {
            let turned = self.turned.notified();
            match self.with(State::next) {
                Next::Chunk(chunk) => return Some(chunk),
                Next::None => return None,
                Next::Wait => turned.await,
            }
        }
    }

    /// One that was taken is done.
    pub(super) fn done(&self) {
        self.with(|state| state.under_way = state.under_way.saturating_sub(1));
        self.turned.notify_waiters();
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn next(&mut self) -> Next {
        let Some((stage, _)) = self.open.front() else {
            return Next::None;
        };
        if *stage > self.stage && self.under_way > 0 {
            return Next::Wait;
        }
        self.stage = *stage;
        self.under_way += 1;
        self.open
            .pop_front()
            .map_or(Next::None, |(_, chunk)| Next::Chunk(chunk))
    }
}

/// The stage of a table's tombstones: above those of the tables that refer to it. Tables that refer to each other in a
/// circle have no order.
pub(super) fn stage(table: &TableId, keys: &[ForeignKey]) -> usize {
    let mut stage = ROWS + 1;
    let mut level = vec![table];
    loop {
        let children = keys.iter().filter(|key| level.contains(&&key.parent));
        let mut next: Vec<&TableId> = children.map(|key| &key.child).collect();
        next.sort();
        next.dedup();
        next.retain(|child| *child != table);
        if next.is_empty() || stage > keys.len() {
            return stage;
        }
        level = next;
        stage += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Range;

    fn key(child: &str, parent: &str) -> ForeignKey {
        ForeignKey {
            name: format!("{child} to {parent}"),
            child: TableId::new("s", child),
            parent: TableId::new("s", parent),
            columns: Vec::new(),
            references: Vec::new(),
        }
    }

    #[test]
    fn children_are_deleted_before_their_parents() {
        let keys = [
            key("line", "orders"),
            key("orders", "customer"),
            key("line", "article"),
            key("customer", "customer"),
            key("left", "right"),
            key("right", "left"),
        ];
        let stage = |name: &str| super::stage(&TableId::new("s", name), &keys);
        assert_eq!((stage("line"), stage("alone")), (1, 1));
        assert_eq!((stage("orders"), stage("article")), (2, 2));
        assert_eq!(stage("customer"), 3);
        assert!(stage("left") > 1 && stage("right") > 1);
    }

    #[tokio::test]
    async fn a_later_stage_waits_for_what_is_under_way() {
        let chunk = |number: i64| Chunk {
            table: TableId::new("s", "t"),
            number,
            range: Range::default(),
            is_done: false,
            estimated_rows: None,
            estimated_bytes: 0,
            copied_rows: 0,
            copied_bytes: 0,
        };
        let queue = Queue::new(vec![(2, chunk(3)), (ROWS, chunk(1)), (ROWS, chunk(2))]);
        let number = |chunk: Option<Chunk>| chunk.map(|chunk| chunk.number);
        assert_eq!(number(queue.next().await), Some(1));
        assert_eq!(number(queue.next().await), Some(2));
        queue.done();
        let mut later = Box::pin(queue.next());
        assert!(futures_util::poll!(&mut later).is_pending(), "one is under way");
        queue.done();
        assert_eq!(number(later.await), Some(3));
        assert_eq!(number(queue.next().await), None);
    }
}
