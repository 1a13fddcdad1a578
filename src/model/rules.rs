//! The rules of a table: who wins when two nodes changed one row without having seen each other's change.
//!
//! Stamps are the only order. What a rule wants beyond that is reached by writes of our own above the stamps that they
//! must beat, and exactly one node of a table makes them, its arbiter; `merge::decide` says which.
//! Refuses: choosing, and judging what may be combined (`config::rules`).

use super::stamp::Rank;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How a contested row is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// The greatest stamp.
    #[default]
    Newest,
    /// What this node wrote beats what others wrote; else the greatest stamp.
    SourceOfTruth(Rank),
    /// Column by column; where both sides changed a column, the greatest stamp.
    Columns,
    /// A person decides.
    Ask,
}

/// How an update is decided that meets a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// As the table's rule has it.
    #[default]
    Rule,
    /// The row stays deleted.
    Delete,
    /// The row lives.
    Update,
    /// A person decides.
    Ask,
}

/// How one column of a contested update is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnRule {
    /// It goes with its row.
    Row,
    /// Whoever changed it alone wins; where both did, the row's rule.
    Columns,
    /// A number: the differences of both sides are added.
    Delta,
    /// What stands here is this node's own (see `mapping::owner`).
    Standing,
    /// It is the other node's own.
    Incoming,
}

/// All rules of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableRules {
    pub row: Rule,
    pub on_delete: OnDelete,
    /// By column: the configuration's name, in a link the target's. Those not named here go as `row` says.
    pub columns: BTreeMap<String, ColumnRule>,
    /// The one node that makes writes of our own for these rules; 0: nobody, because none needs them.
    pub arbiter: Rank,
}

impl Rule {
    pub fn name(self) -> &'static str {
        match self {
            Rule::Newest => "newest",
            Rule::SourceOfTruth(_) => "source-of-truth",
            Rule::Columns => "columns",
            Rule::Ask => "ask",
        }
    }
}

impl OnDelete {
    pub const ALL: [OnDelete; 4] = [OnDelete::Rule, OnDelete::Delete, OnDelete::Update, OnDelete::Ask];

    pub fn name(self) -> &'static str {
        match self {
            OnDelete::Rule => "rule",
            OnDelete::Delete => "delete",
            OnDelete::Update => "update",
            OnDelete::Ask => "ask",
        }
    }
}

impl ColumnRule {
    /// What the configuration can say by `on_conflict`.
    pub const ALL: [ColumnRule; 3] = [ColumnRule::Row, ColumnRule::Columns, ColumnRule::Delta];

    pub fn name(self) -> &'static str {
        match self {
            ColumnRule::Row => "row",
            ColumnRule::Columns => "columns",
            ColumnRule::Delta => "delta",
            ColumnRule::Standing | ColumnRule::Incoming => "owner",
        }
    }
}

impl TableRules {
    pub fn column(&self, name: &str) -> ColumnRule {
        let usual = match self.row {
            Rule::Columns => ColumnRule::Columns,
            Rule::Newest | Rule::SourceOfTruth(_) | Rule::Ask => ColumnRule::Row,
        };
        self.columns.get(name).copied().unwrap_or(usual)
    }

    /// Are contested updates merged column by column?
    pub fn merges(&self) -> bool {
        self.row == Rule::Columns || self.columns.values().any(|rule| *rule != ColumnRule::Row)
    }

    /// Does a person decide anything?
    pub fn asks(&self) -> bool {
        self.row == Rule::Ask || self.on_delete == OnDelete::Ask
    }

    /// Does the arbiter write anything for them?
    pub fn is_arbitrated(&self) -> bool {
        self.merges()
            || matches!(self.row, Rule::SourceOfTruth(_))
            || matches!(self.on_delete, OnDelete::Delete | OnDelete::Update)
    }

    /// Is more needed than the order of stamps? Then a change that comes before what it was based on, as in a mesh of
    /// three nodes, would be taken for a conflict.
    pub fn needs_order(&self) -> bool {
        self.is_arbitrated() || self.asks()
    }

    /// The same with other names of the columns.
    pub fn renamed<'a>(&'a self, name: impl Fn(&'a str) -> &'a str) -> TableRules {
        let columns = self.columns.iter();
        TableRules {
            columns: columns
                .map(|(column, rule)| (name(column).to_owned(), *rule))
                .collect(),
            ..self.clone()
        }
    }

    /// What both sides must agree on. A table that says nothing special reads as its rule alone.
    pub fn signature(&self) -> String {
        let mut text = match self.row {
            Rule::SourceOfTruth(rank) => format!("source-of-truth:{rank}"),
            Rule::Newest | Rule::Columns | Rule::Ask => self.row.name().to_owned(),
        };
        // Writing to a String cannot fail.
        if self.on_delete != OnDelete::Rule {
            let _ = write!(text, " on_delete={}", self.on_delete.name());
        }
        for (column, rule) in &self.columns {
            let _ = write!(text, " {column:?}={}", rule.name());
        }
        if self.is_arbitrated() && self.row != Rule::SourceOfTruth(self.arbiter) {
            let _ = write!(text, " arbiter={}", self.arbiter);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_says_what_differs_from_the_plain_rule() {
        let mut rules = TableRules {
            arbiter: 1,
            ..TableRules::default()
        };
        assert_eq!(rules.signature(), "newest");
        rules.row = Rule::SourceOfTruth(1);
        assert_eq!(rules.signature(), "source-of-truth:1");
        rules.row = Rule::Newest;
        rules.columns.insert("stock".to_owned(), ColumnRule::Delta);
        rules.on_delete = OnDelete::Update;
        assert_eq!(
            rules.signature(),
            "newest on_delete=update \"stock\"=delta arbiter=1"
        );
        let there = rules.renamed(|_| "units");
        assert_eq!(there.column("units"), ColumnRule::Delta);
        assert_eq!(there.column("stock"), ColumnRule::Row);
    }
}
