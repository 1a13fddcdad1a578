//! Which of a hub's rows a spoke holds.
//!
//! The hub has every row, and says by columns that it alone writes who else has one. So a spoke is sent the rows of its
//! condition, and what it writes of others, or of rows that the hub does not have, is undone.
//! Owns: the conditions by spoke ([`Holds`]), and what they are on one link. Refuses: judging rows, which the plan does.

use super::{Passage, Sent};
use crate::expr::{Expr, Filter, Unfit};
use crate::model::schema::Table;

/// Nodes by their places in the sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holds {
    /// `None`: of other nodes nothing is known here.
    pub hub: Option<usize>,
    /// `None`: it is the hub.
    pub by: Vec<Option<Sent>>,
}

impl Holds {
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Expr> {
        self.by.iter().flatten().map(|sent| &sent.condition)
    }

    pub(super) fn signature(&self) -> String {
        let of = |sent: &Option<Sent>| sent.as_ref().map(|sent| sent.condition.signature());
        let all = self.by.iter().map(of).map(Option::unwrap_or_default);
        all.collect::<Vec<String>>().join(" / ")
    }

    /// The same among some of its nodes, and where the hub is among them.
    pub(super) fn among(&self, stays: impl Fn(usize) -> bool, hub: Option<usize>) -> Holds {
        let by = self.by.iter().enumerate().filter(|(node, _)| stays(*node));
        Holds {
            hub,
            by: by.map(|(_, sent)| sent.clone()).collect(),
        }
    }

    /// In words, for `check`. `nodes` are nodes by their places, and their names.
    pub(super) fn words(&self, nodes: &[(usize, &str)]) -> Vec<String> {
        let spokes = nodes
            .iter()
            .filter_map(|(place, node)| Some((node, self.by.get(*place)?.as_ref()?)));
        let words = |(node, sent): (&&str, &Sent)| {
            format!(
                "{node} holds the rows where {}, and what it writes of others is undone",
                sent.text
            )
        };
        spokes.map(words).collect()
    }
}

impl Passage {
    /// The condition of a spoke, on the table of `node`.
    pub(super) fn condition(
        &self,
        (hub, spoke): (usize, usize),
        node: usize,
        table: &Table,
    ) -> Result<Option<Filter>, Unfit> {
        let holds = self.mapping.holds.as_ref();
        let holds = holds.filter(|holds| holds.hub == Some(hub));
        let sent = holds.and_then(|holds| holds.by.get(spoke)?.as_ref());
        let name = |column| self.mapping.name_on(node, column);
        let bound = sent.map(|sent| Filter::bind(&sent.condition, table, name));
        bound.transpose()
    }

    /// Is the target a spoke that holds some rows of the source?
    pub fn is_to_holder(&self) -> bool {
        self.mapping.holds.as_ref().is_some_and(|holds| {
            holds.hub == Some(self.source) && holds.by.get(self.target).is_some_and(Option::is_some)
        })
    }

    /// Which rows of the target its spoke, the source, holds.
    pub fn held(&self, target: &Table) -> Result<Option<Filter>, Unfit> {
        self.condition((self.target, self.source), self.target, target)
    }
}
