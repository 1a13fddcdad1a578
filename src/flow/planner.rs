//! Plans by table, and parts to layers.

use super::spec::LinkSpec;
use crate::error::{Error, Result};
use crate::model::change::{Part, Writer};
use crate::model::schema::{Engine, Table, TableId};
use crate::model::stamp::Rank;
use crate::plan::layer::Layers;
use crate::plan::{Address, Plan};
use foldhash::HashMap;
use std::sync::Arc;

pub(crate) struct Planner {
    /// Names of the nodes, for messages.
    source: String,
    target: String,
    source_rank: Rank,
    source_engine: Engine,
    target_engine: Engine,
    merge: bool,
    /// The target's table by the source's name.
    targets: HashMap<TableId, Arc<Table>>,
    /// By the address of the source's table, which the plan keeps alive.
    plans: HashMap<usize, Arc<Plan>>,
}

impl Planner {
    pub(crate) fn new(
        spec: &LinkSpec,
        source_engine: Engine,
        target_engine: Engine,
        targets: HashMap<TableId, Arc<Table>>,
    ) -> Self {
        let (source_rank, merge) = (spec.source.rank, spec.is_merge());
        Planner {
            source: spec.source.name.clone(),
            target: spec.target.name.clone(),
            source_rank,
            source_engine,
            target_engine,
            merge,
            targets,
            plans: HashMap::default(),
        }
    }

    pub(crate) fn plan(&mut self, table: &Arc<Table>) -> Result<Arc<Plan>> {
        let address = Arc::as_ptr(table) as usize;
        if let Some(plan) = self.plans.get(&address) {
            return Ok(Arc::clone(plan));
        }
        let target = self.targets.get(&table.id).ok_or_else(|| {
            Error::bug("plan a change")
                .table(&table.id)
                .why("the source sent a table outside of the sync")
        })?;
        let plan = Plan::compile(table, self.source_engine, target, self.target_engine, self.merge)
            .map_err(|error| error.node(&self.target))?;
        let plan = Arc::new(plan);
        self.plans.insert(address, Arc::clone(&plan));
        Ok(plan)
    }

    /// Echoes have lost their changes already; what is left is to be written.
    pub(super) fn layers<'a>(&mut self, parts: impl Iterator<Item = &'a Part>) -> Result<Layers> {
        let mut layers = Layers::default();
        let mut planned = Vec::new();
        for part in parts {
            let writer = match &part.writer {
                Writer::User => self.source_rank,
                Writer::Tidelock(marker) => marker.origin,
            };
            for (ordinal, change) in (part.first..).zip(&part.changes) {
                let plan = self.plan(&change.table)?;
                let address = Address {
                    head: Arc::clone(&part.head),
                    ordinal,
                };
                plan.change(change, writer, &address, &mut planned)
                    .map_err(|error| error.node(&self.source))?;
                planned.drain(..).for_each(|change| layers.push(&plan, change));
            }
        }
        Ok(layers)
    }
}
