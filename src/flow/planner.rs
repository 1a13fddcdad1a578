//! Plans by table, and parts to layers.
//!
//! Owns: a link's plans, each for a table as its log describes it; what of a source's DDL the link goes on past.
//! Refuses: what `plan` refuses; a transaction is carried whole or not at all. Fails: with the table it is about alone.

use super::onward::{Onward, Told};
use super::spec::{LinkSpec, link_id};
use crate::error::{Error, Result};
use crate::mapping::Passage;
use crate::model::change::{Change, Op, Part, Writer};
use crate::model::numbers::Numbers;
use crate::model::origin::{Guard, Segment};
use crate::model::schema::{Engine, Table, TableId};
use crate::model::stamp::Rank;
use crate::model::sync::{CatalogTable, tombstones_of};
use crate::model::value::Value;
use crate::plan::differ::named;
use crate::plan::evolve::Evolution;
use crate::plan::layer::Layers;
use crate::plan::{Address, Author, Plan, Planned};
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::info;

/// The source's tables as its log described them last.
pub(crate) type Described = HashMap<TableId, Arc<Table>>;

/// A change that a hub applied, on its way on.
enum Passed {
    No,
    As(Op),
    Buried(Arc<Plan>, Planned),
}

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
    /// The link of the other direction, whose answers are meant for this target.
    back: String,
    sync: String,
    passages: HashMap<TableId, Passage>,
    /// The target's table by the source's name.
    targets: HashMap<TableId, Arc<Table>>,
    guard: Guard,
    /// The source's table by the name of its tombstones.
    buried: HashMap<TableId, TableId>,
    onward: Onward,
    /// As it was before the last part of a transaction.
    onward_before: Onward,
    /// By the address of the source's table, which the plan keeps alive.
    plans: HashMap<usize, Arc<Plan>>,
    /// The source's tables as the log last described them.
    described: Described,
    /// Tables that it described otherwise since, so that the link could go on.
    altered: u64,
    /// The source's tables as its catalog has them, for changes that waited before the log described any.
    known: Vec<Arc<Table>>,
    /// Plans for these, by the source's name.
    standby: HashMap<TableId, Arc<Plan>>,
    /// What the source gives to new rows, and the keys that it counts so, by its names.
    numbers: Numbers,
    counted: HashMap<TableId, String>,
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
            back: link_id(&spec.target.name, &spec.source.name),
            sync: spec.sync.clone(),
            passages: spec.passages.clone(),
            targets,
            guard: spec.guard(),
            buried: HashMap::default(),
            onward: Onward::default(),
            onward_before: Onward::default(),
            plans: HashMap::default(),
            described,
            altered: 0,
            known: Vec::new(),
            standby: HashMap::default(),
            numbers: spec.numbers,
            counted: HashMap::default(),
        }
    }

    /// Which keys the source counts in a class of its own.
    pub(super) fn counts(&mut self, tables: &[Arc<CatalogTable>]) {
        let is_split = |id: &TableId| {
            let passage = self.passages.get(id);
            passage.is_some_and(|passage| passage.mapping().split)
        };
        let tables = tables.iter().filter(|known| is_split(&known.table.id));
        let counted =
            tables.filter_map(|known| Some((known.table.id.clone(), known.counted()?.column.clone())));
        self.counted = counted.collect();
    }

    /// A user's new row under a number that another node gives.
    fn is_stray(&self, change: &Change, author: Author) -> bool {
        let (Op::Insert { new }, Some(column)) = (&change.op, self.counted.get(&change.table.id)) else {
            return false;
        };
        let number = match change.table.column(column).and_then(|place| new.get(place)) {
            Some(Value::Int(number)) => Some(*number),
            Some(Value::UInt(number)) => i64::try_from(*number).ok(),
            _ => None,
        };
        author.rank == self.source_rank
            && !author.own
            && number.is_some_and(|number| !self.numbers.holds(number))
    }

    /// The plan for the table that tombstones are of.
    fn plan_of_buried(&mut self, tombstones: &TableId) -> Result<Arc<Plan>> {
        let source = self.buried.get(tombstones).cloned();
        let plan = match &source {
            Some(source) => self.of_source(source)?,
            None => None,
        };
        plan.ok_or_else(|| {
            Error::bug("plan a tombstone")
                .table(tombstones)
                .why("the source sent one of no table of the sync")
        })
    }

    /// The source's tables as its catalog has them.
    pub(crate) fn knows(&mut self, known: Vec<Arc<Table>>) {
        let named = known
            .iter()
            .map(|table| (tombstones_of(&table.id), table.id.clone()));
        self.buried = named.collect();
        self.known = known;
    }

    /// The plan for a table by the target's name, whether or not the log described it. `None`: it is not of this session.
    pub(crate) fn of_target(&mut self, target: &TableId) -> Result<Option<Arc<Plan>>> {
        let found = self.targets.iter().find(|(_, table)| table.id == *target);
        let Some(source) = found.map(|(source, _)| source.clone()) else {
            return Ok(None);
        };
        self.of_source(&source)
    }

    /// The same by the source's name.
    pub(crate) fn of_source(&mut self, source: &TableId) -> Result<Option<Arc<Plan>>> {
        if let Some(described) = self.described.get(source) {
            let address = Arc::as_ptr(described) as usize;
            if let Some(plan) = self.plans.get(&address) {
                return Ok(Some(Arc::clone(plan)));
            }
        }
        if let Some(plan) = self.standby.get(source) {
            return Ok(Some(Arc::clone(plan)));
        }
        let Some(table) = self.known.iter().find(|table| table.id == *source) else {
            return Ok(None);
        };
        let plan = Arc::new(self.bound(table).map_err(|error| error.node(&self.target))?);
        self.standby.insert(source.clone(), Arc::clone(&plan));
        Ok(Some(plan))
    }

    /// Names of the key's columns of each target table.
    pub(crate) fn target_keys(&self) -> HashMap<TableId, Vec<String>> {
        let key = |table: &Table| {
            table
                .key
                .iter()
                .map(|place| table.columns[*place].name.clone())
                .collect()
        };
        self.targets
            .values()
            .map(|table| (table.id.clone(), key(table)))
            .collect()
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

    /// A plan for the table as the catalog has it.
    fn bound(&self, table: &Arc<Table>) -> Result<Plan> {
        let target = self
            .targets
            .get(&table.id)
            .ok_or_else(|| Error::bug("plan a change that waits").table(&table.id))?;
        let plain = Passage::default();
        let passage = self.passages.get(&table.id).unwrap_or(&plain);
        Plan::compile(
            table,
            self.source_engine,
            target,
            self.target_engine,
            self.merge,
            passage,
        )
    }

    /// Is a table described for the first time, or anew? Then the target's may have been altered too.
    pub(super) fn is_news<'a>(&self, mut parts: impl Iterator<Item = &'a Part>) -> bool {
        let is_new = |change: &Change| {
            !change.is_tombstone() && !self.plans.contains_key(&(Arc::as_ptr(&change.table) as usize))
        };
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
            self.standby.remove(&id);
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
        let mut strays: BTreeMap<TableId, u64> = BTreeMap::new();
        self.onward_before.clone_from(&self.onward);
        for part in parts {
            if part.first == 0 {
                self.onward.begin();
            }
            let author = self.author(&part.writer);
            for (ordinal, change) in (part.first..).zip(&part.changes) {
                let address = Address {
                    head: Arc::clone(&part.head),
                    ordinal,
                };
                let mut updated = None;
                let answer = self.answer(change, author)?;
                if answer.is_some() || change.is_tombstone() || self.guard.is_passed_on(&part.writer) {
                    match self.passed_on(change, answer, &address)? {
                        Some(Passed::As(op)) => {
                            let table = Arc::clone(&change.table);
                            updated = Some(Change { table, op });
                        }
                        Some(Passed::Buried(plan, buried)) => {
                            entries.push((plan, Some(buried)));
                            continue;
                        }
                        Some(Passed::No) => continue,
                        None => {}
                    }
                }
                let change = updated.as_ref().unwrap_or(change);
                let alone = |error: Error| error.alone(&change.table.id);
                let plan = self.plan(&change.table).map_err(alone)?;
                if matches!(change.op, Op::Truncate) {
                    plan.truncates(&self.skip(part))
                        .map_err(|error| alone(error).node(&self.source))?;
                    entries.push((plan, None));
                    continue;
                }
                if self.is_stray(change, author) {
                    *strays.entry(change.table.id.clone()).or_default() += 1;
                }
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
        layers.strayed(strays);
        Ok(())
    }

    fn author(&self, writer: &Writer) -> Author {
        match writer {
            Writer::User => Author {
                rank: self.source_rank,
                own: false,
                answers: false,
            },
            Writer::Tidelock(marker) => {
                let own = marker.segment == Segment::Own && marker.sync == self.sync;
                Author {
                    rank: marker.origin,
                    own,
                    answers: own && marker.link == self.back,
                }
            }
        }
    }

    /// A hub's answer, as a target that holds some of its rows is to know it; is it the one that is answered?
    fn answer(&mut self, change: &Change, author: Author) -> Result<Option<bool>> {
        if !author.own {
            return Ok(None);
        }
        let plan = self.plan(&change.table);
        let plan = plan.map_err(|error| error.alone(&change.table.id))?;
        Ok(plan.is_held().then_some(author.answers))
    }

    /// What becomes of a change that a hub applied, or answered by. `None`: it is passed on as it is.
    fn passed_on(
        &mut self,
        change: &Change,
        answer: Option<bool>,
        address: &Address,
    ) -> Result<Option<Passed>> {
        let (plan, told) = match change.is_tombstone() {
            true => {
                let plan = self.plan_of_buried(&change.table.id)?;
                let told = self.onward.tombstone(&plan.source, change);
                (Some(plan), told)
            }
            false => match answer {
                Some(is_meant) => (None, self.onward.answer(change, is_meant)),
                None => (None, self.onward.change(change)),
            },
        };
        Ok(match (told, plan) {
            (Told::AsItIs, _) => None,
            (Told::Updated(op), _) => Some(Passed::As(op)),
            // Of a row that stood and of which no more is known, whoever may have held it is told.
            (
                Told::Deleted {
                    old, is_whole: true, ..
                },
                Some(plan),
            ) if plan.is_held() && !plan.tells_of(&old) => Some(Passed::No),
            (Told::Deleted { old, stamp, .. }, Some(plan)) => {
                let buried = plan.buried(&old, stamp, address);
                let buried = buried.map_err(|error| error.alone(&plan.source.id).node(&self.source))?;
                Some(Passed::Buried(plan, buried))
            }
            (Told::Nothing | Told::Deleted { .. }, _) => Some(Passed::No),
        })
    }

    /// The last part of a transaction is planned once more.
    pub(super) fn again(&mut self) {
        self.onward.clone_from(&self.onward_before);
    }

    /// The command that passes the part's transaction over.
    fn skip(&self, part: &Part) -> String {
        format!(
            "tidelock skip '{}' --at '{}' --execute",
            self.link, part.head.transaction
        )
    }
}
