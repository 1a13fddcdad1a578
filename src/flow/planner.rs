//! Plans by table, and parts to layers.
//!
//! Owns: a link's plans, each for a table as its log describes it; what of a source's DDL the link goes on past.
//! Refuses: what `plan` refuses; a transaction is carried whole or not at all. Fails: with the table it is about alone.

use super::spec::LinkSpec;
use crate::error::{Error, Result};
use crate::mapping::Passage;
use crate::model::change::{Change, Op, Part, Writer};
use crate::model::origin::Segment;
use crate::model::schema::{Engine, Table, TableId};
use crate::model::stamp::Rank;
use crate::plan::differ::named;
use crate::plan::evolve::Evolution;
use crate::plan::layer::Layers;
use crate::plan::{Address, Author, Plan, Planned};
use foldhash::HashMap;
use std::sync::Arc;
use tracing::info;

/// The source's tables as its log described them last.
pub(crate) type Described = HashMap<TableId, Arc<Table>>;

pub(crate) struct Planner {
    /// Names of the nodes, for messages.
    source: String,
    target: String,
    source_rank: Rank,
    source_engine: Engine,
    target_engine: Engine,
    merge: bool,
    /// For the command that passes a transaction over.
    link: String,
    sync: String,
    passages: HashMap<TableId, Passage>,
    /// The target's table by the source's name.
    targets: HashMap<TableId, Arc<Table>>,
    /// By the address of the source's table, which the plan keeps alive.
    plans: HashMap<usize, Arc<Plan>>,
    /// The source's tables as the log last described them.
    described: Described,
    /// Tables that it described otherwise since, so that the link could go on.
    altered: u64,
}

impl Planner {
    pub(crate) fn new(
        spec: &LinkSpec,
        source_engine: Engine,
        target_engine: Engine,
        targets: HashMap<TableId, Arc<Table>>,
        described: Described,
    ) -> Self {
        let (source_rank, merge) = (spec.source.rank, spec.is_merge());
        Planner {
            source: spec.source.name.clone(),
            target: spec.target.name.clone(),
            source_rank,
            source_engine,
            target_engine,
            merge,
            link: spec.full_name(),
            sync: spec.sync.clone(),
            passages: spec.passages.clone(),
            targets,
            plans: HashMap::default(),
            described,
            altered: 0,
        }
    }

    /// Changed definitions that did not stop the link, since they were asked for last.
    pub(super) fn altered(&mut self) -> u64 {
        std::mem::take(&mut self.altered)
    }

    /// What a later session of the link compares with.
    pub(super) fn described(self) -> Described {
        self.described
    }

    pub(crate) fn plan(&mut self, table: &Arc<Table>) -> Result<Arc<Plan>> {
        let address = Arc::as_ptr(table) as usize;
        if let Some(plan) = self.plans.get(&address) {
            return Ok(Arc::clone(plan));
        }
        let before = self.described.get(&table.id);
        let is_altered = before.is_some_and(|before| before != table);
        let plan = self.bind(table).map_err(|error| {
            let error = error.node(&self.target);
            if is_altered { error.of_ddl() } else { error }
        })?;
        let plan = Arc::new(plan);
        if is_altered {
            self.altered += 1;
            info!(event = "table_altered", link = %self.link, table = %table.id, "its definition changed on the source, and the link goes on");
        }
        self.described.insert(table.id.clone(), Arc::clone(table));
        self.plans.insert(address, Arc::clone(&plan));
        Ok(plan)
    }

    /// A plan for the table as the log describes it now, if that may follow how it was described before.
    fn bind(&self, table: &Arc<Table>) -> Result<Plan> {
        let target = self.targets.get(&table.id).ok_or_else(|| {
            Error::bug("plan a change")
                .table(&table.id)
                .why("the source sent a table outside of the sync")
        })?;
        let plain = Passage::default();
        let passage = self.passages.get(&table.id).unwrap_or(&plain);
        let (from, to) = (self.source_engine, self.target_engine);
        if let Some(before) = self.described.get(&table.id) {
            let evolution = Evolution {
                before: &named(before, passage),
                now: &named(table, passage),
                source: from,
                target,
                target_engine: to,
            };
            evolution.check()?;
        }
        Plan::compile(table, from, target, to, self.merge, passage)
    }

    /// Is a table described for the first time, or anew? Then the target's may have been altered too.
    pub(super) fn is_news<'a>(&self, mut parts: impl Iterator<Item = &'a Part>) -> bool {
        let is_new = |change: &Change| !self.plans.contains_key(&(Arc::as_ptr(&change.table) as usize));
        parts.any(|part| part.changes.iter().any(is_new))
    }

    /// Takes the target's tables as they are now, by the source's names. `false`: they are as they were.
    pub(super) fn renew(&mut self, targets: HashMap<TableId, Arc<Table>>) -> bool {
        let mut is_other = false;
        for (id, now) in targets {
            if self.targets.get(&id).is_some_and(|before| *before == now) {
                continue;
            }
            is_other = true;
            self.plans.retain(|_, plan| plan.source.id != id);
            self.targets.insert(id, now);
        }
        is_other
    }

    /// Layers of the transactions up to the first that cannot be carried, how many those are, and its error: what
    /// stands before it is applied before it is told, so that a stopped link stands right at what stopped it.
    pub(super) fn carry<'a, P>(
        &mut self,
        transactions: impl Iterator<Item = P>,
    ) -> (Layers, usize, Result<()>)
    where
        P: Iterator<Item = &'a Part>,
    {
        let (mut layers, mut carried) = (Layers::default(), 0);
        for parts in transactions {
            if let Err(error) = self.transaction(parts, &mut layers) {
                return (layers, carried, Err(error));
            }
            carried += 1;
        }
        (layers, carried, Ok(()))
    }

    /// Adds a transaction, or a piece of one, as a whole or not at all. Echoes have lost their changes already; what
    /// is left is to be written.
    pub(super) fn transaction<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a Part>,
        layers: &mut Layers,
    ) -> Result<()> {
        let mut entries: Vec<(Arc<Plan>, Option<Planned>)> = Vec::new();
        let (mut filtered, mut unchanged) = (0, 0);
        let mut planned = Vec::new();
        for part in parts {
            let author = match &part.writer {
                Writer::User => Author {
                    rank: self.source_rank,
                    own: false,
                },
                Writer::Tidelock(marker) => Author {
                    rank: marker.origin,
                    own: marker.segment == Segment::Own && marker.sync == self.sync,
                },
            };
            for (ordinal, change) in (part.first..).zip(&part.changes) {
                let alone = |error: Error| error.alone(&change.table.id);
                let plan = self.plan(&change.table).map_err(alone)?;
                if matches!(change.op, Op::Truncate) {
                    plan.truncates(&self.skip(part))
                        .map_err(|error| alone(error).node(&self.source))?;
                    entries.push((plan, None));
                    continue;
                }
                let address = Address {
                    head: Arc::clone(&part.head),
                    ordinal,
                };
                plan.change(change, author, &address, &mut planned)
                    .map_err(|error| alone(error).node(&self.source))?;
                match (planned.is_empty(), &change.op) {
                    (false, _) => {}
                    (true, Op::Update { old: Some(old), new }) if old == new => unchanged += 1,
                    (true, _) if plan.is_filtered() => filtered += 1,
                    (true, _) => unchanged += 1,
                }
                entries.extend(planned.drain(..).map(|change| (Arc::clone(&plan), Some(change))));
            }
        }
        for (plan, change) in entries {
            match change {
                Some(change) => layers.push(&plan, change),
                None => layers.empty(&plan),
            }
        }
        layers.filtered += filtered;
        layers.unchanged += unchanged;
        Ok(())
    }

    /// The command that passes the part's transaction over.
    fn skip(&self, part: &Part) -> String {
        format!(
            "tidelock skip '{}' --at '{}' --execute",
            self.link, part.head.transaction
        )
    }
}
