//! Columns of a node that are computed of what other nodes have: constants, joined or split texts, sums.
//!
//! Owns: what is computed for which node ([`Computed`]), and which of a source's columns go there by it alone. Refuses: types
//! and values (see `plan::formula`). Pure.

use super::Passage;
use crate::expr::Expr;
use crate::model::schema::Table;

/// One column of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// The node that has it.
    pub node: usize,
    /// The configuration's name.
    pub column: String,
    /// As it was written.
    pub text: String,
    /// In the configuration's names of the columns.
    pub expr: Expr,
}

impl Passage {
    /// What is computed for the target: its name of the column, and of what.
    pub fn computed(&self) -> impl Iterator<Item = (&str, &Computed)> {
        self.computed_on(self.target)
    }

    /// The same for the source, on the way back.
    pub fn computed_back(&self) -> impl Iterator<Item = (&str, &Computed)> {
        self.computed_on(self.source)
    }

    fn computed_on(&self, node: usize) -> impl Iterator<Item = (&str, &Computed)> {
        let computed = self.mapping.computed.iter();
        computed
            .filter(move |computed| computed.node == node)
            .map(move |computed| (self.mapping.name_on(node, &computed.column), computed))
    }

    /// The source's name of a column of the configuration.
    pub fn name_here<'a>(&'a self, column: &'a str) -> &'a str {
        self.mapping.name_on(self.source, column)
    }

    /// The target's name of a column of the configuration.
    pub fn name_there<'a>(&'a self, column: &'a str) -> &'a str {
        self.mapping.name_on(self.target, column)
    }

    /// Does a column of the source go into what is computed for the target?
    pub fn is_read(&self, column: &str) -> bool {
        let reads = |(_, computed): (&str, &Computed)| {
            let columns = computed.expr.columns();
            columns.into_iter().any(|read| self.name_here(read) == column)
        };
        self.computed().any(reads)
    }

    /// Has the target no column of its own for this one of the source, which goes into computed ones or is computed itself?
    pub fn needs_no_place(&self, column: &str, target: &Table) -> bool {
        let named = match self.place(column) {
            super::Place::Named(there) => target.column(there),
            super::Place::Skipped | super::Place::Taken(_) => return false,
        };
        let is_computed = || self.computed_back().any(|(here, _)| here == column);
        named.is_none() && (self.is_read(column) || is_computed())
    }

    /// Is this column of the target computed?
    pub fn is_computed(&self, there: &str) -> bool {
        self.computed().any(|(name, _)| name == there)
    }
}
