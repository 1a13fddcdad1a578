//! Which node may write what of a table, where not every node may write all of it.
//!
//! Owns: the owners of columns, inserts and deletes ([`Owners`]), and what of them the target of a link has to answer for
//! ([`Passage::guarded`]). Refuses: undoing anything, which `merge` and `flow::apply` do.

use super::Passage;
use crate::model::schema::Table;

/// Nodes by their places in the sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    pub columns: Vec<OwnedColumn>,
    /// The one node whose inserts count.
    pub inserts: Option<usize>,
    /// The one node whose deletes count.
    pub deletes: Option<usize>,
    /// It answers for an owner that is another spoke.
    pub hub: Option<usize>,
}

/// A column that one node alone writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedColumn {
    /// By node.
    pub names: Vec<String>,
    pub owner: usize,
}

/// What the target of a link does not let its source write, and what it lets itself be told by it alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guarded<'a> {
    /// The target's names.
    pub columns: Vec<&'a str>,
    /// The target's names of the columns that the source owns.
    pub yielded: Vec<&'a str>,
    pub inserts: bool,
    pub deletes: bool,
}

impl Guarded<'_> {
    /// Columns that the table does not have: the other node's, computed of what stands here.
    pub fn absent(&self, table: &Table) -> Vec<&str> {
        let columns = self.columns.iter().copied();
        columns.filter(|name| table.column(name).is_none()).collect()
    }
}

impl Owners {
    /// In words, for `check`. `nodes` are nodes by their places, and their names.
    pub(super) fn words(&self, nodes: &[(usize, &str)]) -> Vec<String> {
        let name = |owner: usize| {
            let known = nodes.iter().find(|(place, _)| *place == owner);
            known.map_or("another node", |(_, name)| name)
        };
        let columns = self.columns.iter().filter_map(|column| {
            let first = nodes.first().and_then(|(place, _)| column.names.get(*place))?;
            Some(format!(
                "column {first} is written by {} alone",
                name(column.owner)
            ))
        });
        let rows = [("inserted", self.inserts), ("deleted", self.deletes)];
        let rows = rows
            .into_iter()
            .filter_map(|(done, owner)| Some(format!("rows are {done} by {} alone", name(owner?))));
        columns.chain(rows).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.inserts.is_none() && self.deletes.is_none()
    }

    /// Does a node undo what another one writes without owning it? Only one does: the owner, or the hub for a spoke.
    fn guards(&self, owner: usize, source: usize, target: usize) -> bool {
        owner == target || (self.hub == Some(target) && owner != source)
    }
}

impl Passage {
    pub fn guarded(&self) -> Guarded<'_> {
        let owners = &self.mapping.owners;
        let guards = |owner: usize| owners.guards(owner, self.source, self.target);
        let columns = |is_meant: &dyn Fn(usize) -> bool| {
            let meant = owners.columns.iter().filter(|column| is_meant(column.owner));
            meant
                .filter_map(|column| column.names.get(self.target).map(String::as_str))
                .collect()
        };
        Guarded {
            columns: columns(&guards),
            yielded: columns(&|owner| owner == self.source),
            inserts: owners.inserts.is_some_and(guards),
            deletes: owners.deletes.is_some_and(guards),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mapping::owner::{OwnedColumn, Owners};
    use crate::mapping::{Mapping, Passage};
    use std::sync::Arc;

    fn guarded(hub: Option<usize>, from: usize, to: usize) -> (usize, usize, bool, bool) {
        let owners = Owners {
            columns: vec![OwnedColumn {
                names: ["price", "preis", "prix"].map(str::to_owned).to_vec(),
                owner: 1,
            }],
            inserts: Some(0),
            deletes: None,
            hub,
        };
        let mapping = Mapping {
            owners,
            ..Mapping::default()
        };
        let passage = Passage::new(&Arc::new(mapping), from, to, "t");
        let guarded = passage.guarded();
        let (columns, yielded) = (guarded.columns.len(), guarded.yielded.len());
        (columns, yielded, guarded.inserts, guarded.deletes)
    }

    #[test]
    fn the_owner_guards_what_it_owns_and_a_hub_does_so_for_its_spokes() {
        assert_eq!(guarded(None, 0, 1), (1, 0, false, false));
        assert_eq!(guarded(None, 1, 0), (0, 1, true, false));
        assert_eq!(guarded(None, 2, 0), (0, 0, true, false));
        // The hub lets pass on what the owner wrote, and nobody else's.
        assert_eq!(guarded(Some(0), 2, 0), (1, 0, true, false));
        assert_eq!(guarded(Some(0), 1, 0), (0, 1, true, false));
        assert_eq!(guarded(Some(0), 0, 2), (0, 0, false, false));
        assert_eq!(guarded(Some(0), 0, 1), (1, 0, false, false));
    }
}
