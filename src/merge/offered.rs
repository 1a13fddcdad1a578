//! Which rules are offered where: those that the simulation beside this file shows to converge, and no others.
//!
//! Pure. Owns: [`refused`], with the reason and the way out. The configuration asks it, and the simulation takes from it
//! what to try, so that neither knows of a combination that the other does not.

use crate::model::rules::{Rule, TableRules};
use crate::model::stamp::Rank;

/// Where rules are to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    pub nodes: usize,
    /// `None` with more than two nodes: a mesh.
    pub hub: Option<Rank>,
    /// The node that the first copy is taken from.
    pub copied_from: Option<Rank>,
    /// The first copy makes one set of what the nodes hold.
    pub is_union: bool,
    /// Only some of the table's rows are the sync's.
    pub is_filtered: bool,
    /// Each direction has a filter of its own.
    pub is_apart: bool,
    /// Not every node may write all of it.
    pub is_owned: bool,
    /// The nodes but one hold some of that one's rows.
    pub is_held: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub what: &'static str,
    pub hint: &'static str,
}

/// Why these rules are not offered there.
pub fn refused(rules: &TableRules, around: Around) -> Option<Refusal> {
    if around.is_owned
        && let Some(refusal) = owned(rules, around.is_apart)
    {
        return Some(refusal);
    }
    if around.is_filtered {
        return filtered(rules, around);
    }
    if around.is_held {
        return held(rules, around);
    }
    let (what, hint) = if rules.merges() && rules.row == Rule::Ask {
        (
            "columns cannot be merged in a table that asks",
            "a person decides the whole row: take on_conflict off the columns, or use \"columns\"",
        )
    } else if rules.needs_order() && around.nodes > 2 && around.hub.is_none() {
        (
            "in a mesh of three nodes and more only \"newest\" is offered",
            "a change can arrive before the one that it was based on, and would look like a conflict",
        )
    } else if rules.is_arbitrated() && around.hub.is_some_and(|hub| hub != rules.arbiter) {
        (
            "with a hub it is the hub that answers for the rules",
            "what it passes on is based on what it has decided, so another node's answers come too late: name the \
             hub as the arbiter and the source of truth",
        )
    } else if rules.merges() && around.copied_from.is_some_and(|node| node != rules.arbiter) {
        (
            "the first copy fills the arbiter, which merges columns",
            "a change that is in the copy already would be merged again: copy from the arbiter, or name the \
             copied node in arbiter",
        )
    } else if rules.merges() && around.is_union {
        (
            "columns are not merged while two sides become one set",
            "a change that is in the copy already would be merged again: use on_conflict = \"newest\" until both are \
             one, then stop, change the rule and run on",
        )
    } else {
        return None;
    };
    Some(Refusal { what, hint })
}

/// A truth and an owner would answer each other for ever; so would an owner and whoever a whole row is.
pub fn owned(rules: &TableRules, is_apart: bool) -> Option<Refusal> {
    let (what, hint) = if matches!(rules.row, Rule::SourceOfTruth(_)) {
        (
            "a table with a source of truth has no other owners",
            "the truth answers for the whole row: name it as the owner of what it is to decide, under on_conflict = \
             \"newest\" or \"columns\"",
        )
    } else if is_apart {
        (
            "a table with a filter of each direction has no owners",
            "there a whole row is a node's, by its values: let the conditions say so, or write one condition for both \
             directions, where = \"...\"",
        )
    } else {
        return None;
    };
    Some(Refusal { what, hint })
}

fn filtered(rules: &TableRules, around: Around) -> Option<Refusal> {
    let (what, hint) = match rules.row {
        _ if around.nodes > 2 => (
            "where in a merge of three and more nodes",
            "a row outside of the filter is told by stamps that only two nodes can keep in step: with topology = \
             \"hub:NODE\" say which of the hub's rows each spoke holds, as in holds = { lab_a = \"lab = 'north'\" }; a \
             sync of two nodes may filter, and so may mode = \"transactional\"",
        ),
        _ if !rules.needs_order() => return None,
        Rule::SourceOfTruth(_) => (
            "a table with where cannot have a source of truth",
            "a node would have to answer for rows that it does not have: use on_conflict = \"newest\" for this \
             table, without rules of its columns or for deletes",
        ),
        Rule::Newest | Rule::Columns | Rule::Ask => (
            "a table with where has no rule but \"newest\"",
            "a node would have to answer for rows that it does not have: use on_conflict = \"newest\" for this \
             table, without rules of its columns or for deletes",
        ),
    };
    Some(Refusal { what, hint })
}

fn held(rules: &TableRules, around: Around) -> Option<Refusal> {
    let (what, hint) = if around.nodes > 2 && around.hub.is_none() {
        (
            "holds in a mesh",
            "one node has to have every row and to say who else has it: use topology = \"hub:NODE\"",
        )
    } else if rules.needs_order() {
        (
            "a table with holds has no rule but \"newest\"",
            "a spoke would have to answer for rows that it does not have: use on_conflict = \"newest\" for this table, \
             without rules of its columns or for deletes",
        )
    } else {
        return None;
    };
    Some(Refusal { what, hint })
}
