//! What every node of a sync holds under one key, and how a key and a row of one node read on another.
//!
//! Owns: the sessions, which write like a user's, and the plans between the nodes. Refuses: writing. Fails: when a node
//! cannot be reached, because a version above all others can only be given by whoever has seen them all.

use super::refused;
use crate::engine::{Node, Target};
use crate::error::{Error, Result};
use crate::flow::spec::SyncSpec;
use crate::flow::tables;
use crate::mapping::{Mapping, Passage};
use crate::model::conflict::Local;
use crate::model::schema::{Engine, Table, TableId};
use crate::model::stamp::{Rank, Stamp};
use crate::model::value::{Row, Value};
use crate::plan::{Key, Plan, Shape};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One node's side of the table.
pub(super) struct Seat {
    pub(super) name: String,
    pub(super) rank: Rank,
    pub(super) engine: Engine,
    pub(super) table: Arc<Table>,
    pub(super) target: Target,
    /// The version above which its new rows start.
    pub(super) floor: i64,
}

/// A table on all nodes.
pub(super) struct Picture {
    pub(super) seats: Vec<Seat>,
    pub(super) mapping: Arc<Mapping>,
    /// By source and target.
    plans: BTreeMap<(usize, usize), Plan>,
}

/// What stands under one key, by node.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    /// `None`: the key has no form on that node.
    pub(super) keys: Vec<Option<Key>>,
    pub(super) locals: Vec<Local>,
}

impl Rows {
    pub(super) fn stamp(&self, node: usize) -> Option<Stamp> {
        let local = self.locals.get(node)?;
        local.row_stamp.max(local.tombstone)
    }

    pub(super) fn stands(&self, node: usize) -> bool {
        self.locals.get(node).is_some_and(|local| local.row.is_some())
    }

    /// The greatest version of all nodes, of rows and tombstones.
    pub(super) fn greatest(&self) -> i64 {
        let stamps = (0..self.locals.len()).filter_map(|node| self.stamp(node));
        stamps.map(|stamp| stamp.version).max().unwrap_or_default()
    }
}

impl Picture {
    /// `table`: its place among the sync's tables.
    pub(super) async fn open(sync: &SyncSpec, table: usize) -> Result<Picture> {
        let (name, mapping) = &sync.mappings[table];
        let mut seats = Vec::with_capacity(sync.nodes.len());
        for spec in &sync.nodes {
            let mut node = Node::connect(&spec.access, spec.engine).await?;
            let engine = node.engine().await?;
            let id = spec.tables[table].clone();
            let found = tables(&mut node, std::slice::from_ref(&id), spec).await?;
            node.close().await;
            let mut target = Target::open_as_user(spec.engine, &spec.access).await?;
            let floor = target.floor(&id).await?;
            let table = found
                .into_iter()
                .next()
                .map(|found| Arc::new(found.table.clone()));
            seats.push(Seat {
                name: spec.name.clone(),
                rank: spec.rank,
                engine,
                table: table.ok_or_else(|| Error::bug("read a table's catalog"))?,
                target,
                floor,
            });
        }
        let mut plans = BTreeMap::new();
        for (from, source) in seats.iter().enumerate() {
            for (to, target) in seats.iter().enumerate().filter(|(to, _)| *to != from) {
                let passage = Passage::new(mapping, from, to, name.as_str());
                let (one, other) = (&source.table, &target.table);
                let plan = Plan::compile(one, source.engine, other, target.engine, true, &passage)?;
                plans.insert((from, to), plan);
            }
        }
        Ok(Picture {
            seats,
            mapping: Arc::clone(mapping),
            plans,
        })
    }

    pub(super) fn id(&self, node: usize) -> &TableId {
        &self.seats[node].table.id
    }

    pub(super) fn plan(&self, from: usize, to: usize) -> Result<&Plan> {
        let plan = self.plans.get(&(from, to));
        plan.ok_or_else(|| Error::bug("carry a row from a node to itself"))
    }

    /// Any plan that ends at the node: what it says of its target is the same in all of them.
    pub(super) fn to(&self, node: usize) -> Result<&Plan> {
        let mut plans = self.plans.iter();
        let found = plans.find(|((_, to), _)| *to == node).map(|(_, plan)| plan);
        found.ok_or_else(|| Error::bug("find a plan to a node"))
    }

    pub(super) fn shape(&self, node: usize) -> Result<Arc<Shape>> {
        Ok(Arc::clone(&self.to(node)?.shape))
    }

    /// The columns that are carried to and from the node, without the key and the stamps.
    pub(super) fn carried(&self, node: usize) -> Result<Vec<usize>> {
        let plan = self.to(node)?;
        let stamps = plan.shape.stamps.as_ref();
        let is_ours = |place: &usize| {
            stamps.is_some_and(|stamps| [stamps.version, stamps.origin].contains(place))
                || plan.shape.table.key.contains(place)
        };
        Ok(plan.carried().filter(|place| !is_ours(place)).collect())
    }

    /// Reads what stands under a key of `from` on every node, each in a transaction that ends at once.
    pub(super) async fn rows(&mut self, from: usize, key: &[Value]) -> Result<Rows> {
        let mut keys = Vec::with_capacity(self.seats.len());
        for node in 0..self.seats.len() {
            keys.push(match node == from {
                true => Some(Key::from(key)),
                // A value that the node cannot hold names no row there.
                false => self.plan(from, node)?.key_there(key).ok(),
            });
        }
        let mut locals = Vec::with_capacity(keys.len());
        for (node, key) in keys.iter().enumerate() {
            locals.push(match key {
                Some(key) => self.standing(node, key).await?,
                None => Local::default(),
            });
        }
        Ok(Rows { keys, locals })
    }

    async fn standing(&mut self, node: usize, key: &Key) -> Result<Local> {
        let shape = self.shape(node)?;
        let target = &mut self.seats[node].target;
        target.start().await?;
        let found = target.read(&shape, std::slice::from_ref(key)).await;
        target.rollback().await?;
        Ok(found?.into_iter().next().unwrap_or_default())
    }

    /// Keys of the rows of a node that hold one of the row's unique values, as that server compares them: without the row
    /// itself, and without what unique keys over expressions or with conditions say.
    pub(super) async fn holders(&mut self, node: usize, key: &Key, row: &Row) -> Result<Vec<Key>> {
        let shape = self.shape(node)?;
        let mut found: Vec<Key> = Vec::new();
        // Stamps that do not stand in the table are not found by a unique key.
        let columns = || shape.table.columns.iter().enumerate();
        let beside = || {
            columns()
                .filter(|(_, column)| column.is_beside())
                .map(|(place, _)| place)
        };
        for unique in shape.table.uniques.iter().filter(|unique| !unique.is_empty()) {
            let values: Option<Vec<Value>> = unique.iter().map(|place| row.get(*place).cloned()).collect();
            let Some(values) = values.filter(|values| values.iter().all(|value| !value.is_null())) else {
                continue;
            };
            // The same table as if the unique columns were its key: by them the row is found.
            let by_unique = Shape {
                table: Arc::new(Table {
                    key: unique.clone(),
                    ..Table::clone(&shape.table)
                }),
                stamps: None,
                untouched: shape.untouched.iter().copied().chain(beside()).collect(),
            };
            let target = &mut self.seats[node].target;
            target.start().await?;
            let holders = target.alike(&by_unique, &values.into_boxed_slice()).await;
            target.rollback().await?;
            for holder in holders? {
                let own = shape.table.key.iter().map(|place| holder.get(*place).cloned());
                let own = own.collect::<Option<Vec<Value>>>().map(Vec::into_boxed_slice);
                // A row without an external id is that node's own, and has no name here.
                let own = own.filter(|own| !own.iter().any(Value::is_null));
                found.extend(own.filter(|own| own != key && !found.contains(own)));
            }
        }
        Ok(found)
    }

    /// A node's column by its name there or in the configuration.
    pub(super) fn column(&self, node: usize, name: &str) -> Result<usize> {
        let table = &self.seats[node].table;
        let place = table
            .column(self.mapping.name_on(node, name))
            .or_else(|| table.column(name));
        let carried = self.carried(node)?;
        match place {
            Some(place) if carried.contains(&place) => Ok(place),
            Some(place) if table.key.contains(&place) => Err(refused(format!("set column {name:?}"))
                .table(&table.id)
                .why("it is part of the key")
                .hint("a row under another key is another row: change it with an UPDATE")),
            Some(_) => Err(refused(format!("set column {name:?}"))
                .table(&table.id)
                .why("it is not carried: it is skipped, generated, or Tidelock's own")),
            None => {
                let known = carried.iter().map(|place| table.columns[*place].name.as_str());
                Err(Error::definite(format!("find the column {name:?}"))
                    .table(&table.id)
                    .node(&self.seats[node].name)
                    .why("there is none")
                    .hint(format!("it has {}", known.collect::<Vec<_>>().join(", "))))
            }
        }
    }

    pub(super) fn is_masked(&self, node: usize, place: usize) -> bool {
        let name = &self.seats[node].table.columns[place].name;
        self.mapping.masked(node).any(|masked| masked == name)
    }
}
