//! Foreign keys between the tables of a merge, looked at before COMMIT: apply sessions run with the server's checks off.
//!
//! Owns: which rows of a group may have lost their parent, or their children's, and what is done about it: the group is
//! rolled back and applied again, and then such a row waits (`fk_missing`). The delete of a row that others refer to is
//! answered here by a write of our own above it, where the order of stamps decides, and waits where a rule might undo
//! that answer; so does an update that takes from a parent the value that others refer to. Refuses: rows this group did not touch. Fails: as the target does.
//!
//! Both nodes of a pair end equal that way: the delete of a parent meets the child on the child's node, where the parent
//! is touched; the child meets the delete on the parent's node, where it waits until that touch brings its parent back.

use super::Applier;
use super::contested::{Answered, Contested};
use super::parking::park_key;
use crate::error::{Error, Result};
use crate::merge::Own;
use crate::model::conflict::{Conflict, ConflictKind, Reason};
use crate::model::parked::{ParkKind, ParkedKey};
use crate::model::schema::{ForeignKey, Table, TableId};
use crate::model::value::{Row, Value};
use crate::plan::layer::Layers;
use crate::plan::{Key, Plan, Planned, PlannedOp, Shape};
use foldhash::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// How often the foreign keys of the tables are read again: asking a catalog with every transaction would cost more than
/// the transaction.
const READ_EVERY: Duration = Duration::from_secs(5);
/// More rows than this without their parents are no race but a mistake, and stop the link.
const SUSPECTS_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Foreign {
    pub(super) keys: Vec<ForeignKey>,
    /// When they were read.
    read: Option<Instant>,
    /// Found after a piece of the open transaction; what comes later in it may settle them.
    suspects: Vec<Suspect>,
    /// Rows that were not there when they were written, or referred elsewhere: their foreign keys count as changed.
    revived: Vec<(TableId, Key)>,
    /// Cells that rows had and have no more, to which foreign keys refer that are to other columns than the key's.
    gone: Vec<Gone>,
    /// Tables whose rows here are older than the others'.
    held: Vec<TableId>,
    /// What waits when the group is applied again, and why.
    orphans: HashMap<ParkedKey, String>,
}

#[derive(Debug)]
struct Suspect {
    plan: Arc<Plan>,
    foreign_key: usize,
    row: Looked,
    is_child: bool,
}

/// A row to look at: the child, or the parent that has gone or gave up what is referred to.
#[derive(Debug, Clone)]
struct Looked {
    /// The row's own key.
    key: Key,
    /// The cells by which it is looked at, where those are not its key's.
    cells: Option<Key>,
}

#[derive(Debug)]
struct Gone {
    table: TableId,
    foreign_key: usize,
    row: Looked,
}

/// Rows of one table to look at by one foreign key, in one direction.
struct Look {
    plan: Arc<Plan>,
    foreign_key: usize,
    rows: Vec<Looked>,
    is_child: bool,
}

impl Foreign {
    pub(super) fn concerns(&self, table: &TableId) -> bool {
        self.orphans.keys().any(|at| at.table == *table)
    }

    pub(super) fn orphan(&self, at: &ParkedKey) -> Option<&String> {
        self.orphans.get(at)
    }

    /// The transaction begins, anew or for the first time: what is to wait in it stays known.
    pub(super) fn begin(&mut self) {
        self.suspects.clear();
        self.revived.clear();
        self.gone.clear();
    }

    /// It was committed.
    pub(super) fn confirm(&mut self) {
        self.begin();
        self.orphans.clear();
    }

    /// Whether the table is either end of a foreign key, and whether its changes can let something else go on.
    pub(super) fn children<'a>(&'a self, table: &'a TableId) -> impl Iterator<Item = &'a TableId> {
        let keys = self.keys.iter().filter(move |key| key.parent == *table);
        keys.map(|key| &key.child)
    }

    /// The row is to wait when the transaction is applied anew. `false`: that was known.
    pub(super) fn disown(&mut self, at: ParkedKey, why: String) -> bool {
        self.orphans.insert(at, why).is_none()
    }

    /// Keys as the catalog has them now; returns those that have come since they were read last.
    pub(super) fn takes(&mut self, now: Vec<ForeignKey>) -> Vec<ForeignKey> {
        self.read = Some(Instant::now());
        let before = std::mem::replace(&mut self.keys, now);
        let new = self.keys.iter().filter(|key| !before.contains(key));
        new.cloned().collect()
    }

    /// May rows that refer to the table be gone, and only their deletes not have come?
    fn is_behind(&self, parent: &TableId) -> bool {
        self.children(parent).any(|child| self.held.contains(child))
    }

    fn is_outdated(&self) -> bool {
        self.read.is_none_or(|read| read.elapsed() >= READ_EVERY)
    }

    fn why(&self, foreign_key: usize, is_child: bool) -> String {
        let Some(key) = self.keys.get(foreign_key) else {
            return String::new();
        };
        match is_child {
            true => format!(
                "the row of {} that it refers to by foreign key {} does not stand here",
                key.parent, key.name
            ),
            false => format!("rows of {} refer to it by foreign key {}", key.child, key.name),
        }
    }
}

impl Applier {
    /// Reads the foreign keys that rows are held against from now on.
    pub(crate) async fn watches_parents(&mut self) -> Result<()> {
        let keys = self.target.foreign_keys(&self.spec.family).await?;
        self.foreign.takes(keys);
        Ok(())
    }

    /// These tables are held: what refers to other tables' rows may do so no more at the source.
    pub(crate) fn lacks(&mut self, held: Vec<TableId>) {
        self.foreign.held = held;
    }

    pub(super) fn has_waiting_parent(&self, child: &TableId) -> bool {
        let mut keys = self.foreign.keys.iter();
        keys.any(|key| key.child == *child && self.waiting.has(&key.parent))
    }

    /// The parent of a row that waits, and why that one has to: by foreign keys to the parent's own key. `hopes`: one that
    /// is tried in this transaction too does not count.
    pub(super) fn waiting_parent(
        &self,
        plan: &Plan,
        row: &Row,
        own: &ParkedKey,
        hopes: bool,
    ) -> Option<(ParkedKey, String)> {
        let child = &plan.shape.table;
        for key in self.foreign.keys.iter().filter(|key| key.child == child.id) {
            if !self.waiting.has(&key.parent) {
                continue;
            }
            let place = |name: &String| {
                self.parent_keys
                    .get(&key.parent)?
                    .iter()
                    .position(|known| known == name)
            };
            let Some(places) = key.references.iter().map(place).collect::<Option<Vec<usize>>>() else {
                continue;
            };
            let mut cells: Vec<Option<&Value>> = vec![None; places.len()];
            for (at, column) in places.into_iter().zip(&key.columns) {
                let cell = child.column(column).and_then(|place| row.get(place));
                if let Some(slot) = cells.get_mut(at) {
                    *slot = cell.filter(|value| !value.is_null());
                }
            }
            let Some(cells) = cells.into_iter().collect::<Option<Vec<&Value>>>() else {
                continue;
            };
            let mut bytes = Vec::new();
            cells.into_iter().for_each(|value| value.key_bytes(&mut bytes));
            let at = ParkedKey::of(key.parent.clone(), &bytes);
            // A row may refer to itself.
            let is_tried = hopes && self.trying.contains(&at);
            if at != *own && !is_tried && self.waiting.get(&at).is_some() {
                let why = format!(
                    "the row of {} that it refers to by foreign key {} waits",
                    key.parent, key.name
                );
                return Some((at, why));
            }
        }
        None
    }

    /// A change was decided and written, over this row or where none stood: its own before-image does not tell what has
    /// become other here.
    pub(super) fn written_over(&mut self, plan: &Plan, contested: &Contested<'_>) {
        let change = contested.change;
        if let Some(was) = &contested.local.row {
            self.left(plan, change, was);
        }
        let (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }) = &change.op else {
            return;
        };
        let table = &plan.shape.table;
        let was = contested.local.row.as_ref();
        let stays = |column: &String| {
            let place = table.column(column);
            place.is_some_and(|place| {
                let now = row.get(place);
                now.is_none() || was.is_some_and(|was| was.get(place) == now)
            })
        };
        let mut ups = self.foreign.keys.iter().filter(|key| key.child == table.id);
        if ups.any(|key| !key.columns.iter().all(stays)) {
            self.foreign.revived.push((table.id.clone(), change.key.clone()));
        }
    }

    /// A row was deleted or altered that had these cells here: what foreign keys to other columns than its key referred to.
    pub(super) fn left(&mut self, plan: &Plan, change: &Planned, was: &Row) {
        let table = &plan.shape.table;
        let is = match &change.op {
            PlannedOp::Delete { .. } => None,
            PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. } => Some(row),
            PlannedOp::Refused { .. } => return,
        };
        for (foreign_key, key) in self.foreign.keys.iter().enumerate() {
            if key.parent != table.id || is_to_key(key, table) {
                continue;
            }
            let Some(places) = places(key, table) else {
                continue;
            };
            let cells = places.iter().map(|place| was.get(*place).cloned());
            let Some(cells) = cells.collect::<Option<Vec<Value>>>() else {
                continue;
            };
            let stays = is.is_some_and(|row| {
                let mut cells = places.iter().zip(&cells);
                cells.all(|(place, cell)| row.get(*place).is_none_or(|now| now == cell))
            });
            if !stays && !cells.iter().any(Value::is_null) {
                self.foreign.gone.push(Gone {
                    table: table.id.clone(),
                    foreign_key,
                    row: Looked {
                        key: change.key.clone(),
                        cells: Some(cells.into_boxed_slice()),
                    },
                });
            }
        }
    }

    /// The same of writes that were attempted, and taken because the row was the one that they were made on.
    pub(super) fn left_by<'a>(&mut self, plan: &Plan, taken: impl Iterator<Item = &'a Planned>) {
        let table = &plan.shape.table;
        let mut keys = self.foreign.keys.iter();
        if !keys.any(|key| key.parent == table.id && !is_to_key(key, table)) {
            return;
        }
        for change in taken {
            let before = match &change.op {
                PlannedOp::Delete { before, .. } => Some(before),
                PlannedOp::Update { before, .. } => before.as_ref(),
                PlannedOp::Insert { .. } | PlannedOp::Refused { .. } => None,
            };
            let was = before.and_then(|before| plan.in_target_terms(before).ok());
            if let Some(was) = was {
                self.left(plan, change, &was);
            }
        }
    }

    /// Looks at the parents that a copy's rows and tombstones took away or altered. Their children's own parents may only
    /// come with another chunk.
    pub(super) async fn suspect_parents(&mut self, plan: &Arc<Plan>, changes: &[Planned]) -> Result<()> {
        let is_delete = |change: &&Planned| matches!(change.op, PlannedOp::Delete { .. });
        let mut looks = self.looks(std::iter::once((plan, changes.iter().filter(is_delete))));
        self.foreign.revived.clear();
        self.look_at_written(&mut looks, plan);
        let found = self.look(looks).await?;
        self.foreign.suspects.extend(found);
        Ok(())
    }

    /// How many rows of the table stand without what they refer to by this key, so many at most, and how to find them.
    pub(crate) async fn orphans(
        &mut self,
        key: &ForeignKey,
        child: &Shape,
        most: u64,
    ) -> Result<(u64, String)> {
        self.target.orphans(key, child, most).await
    }

    /// Looks at what these layers wrote. What is found counts only if it still is so before COMMIT.
    pub(super) async fn suspect(&mut self, layers: &Layers) -> Result<()> {
        let changed = layers.iter().map(|layer| (&layer.plan, layer.changes.iter()));
        let mut looks = self.looks(changed);
        layers
            .iter()
            .for_each(|layer| self.look_at_written(&mut looks, &layer.plan));
        let found = self.look(looks).await?;
        self.foreign.suspects.extend(found);
        if self.foreign.suspects.len() > SUSPECTS_MAX {
            return Err(Error::definite("keep rows with their parents")
                .node(&self.spec.target.name)
                .why(format!(
                    "more than {SUSPECTS_MAX} rows of one transaction refer to rows that do not stand here"
                ))
                .hint("compare the parent tables of both nodes, and copy over what is missing"));
        }
        Ok(())
    }

    /// The same of changes that had waited.
    pub(super) async fn suspect_again(&mut self, plan: &Arc<Plan>, again: &[Planned]) -> Result<()> {
        let mut looks = self.looks(std::iter::once((plan, again.iter())));
        self.look_at_written(&mut looks, plan);
        let found = self.look(looks).await?;
        self.foreign.suspects.extend(found);
        Ok(())
    }

    /// A large transaction is read again by a new session of the link: there its orphans wait.
    pub(crate) fn remember_orphans(&mut self) {
        let orphans = std::mem::take(&mut self.foreign.orphans);
        self.spec.aside.remember(&self.spec.id, orphans);
    }

    pub(super) fn recall_orphans(&mut self) {
        self.foreign.orphans = self.spec.aside.remembered(&self.spec.id);
    }

    /// Does every row of the open transaction stand with its parent? If not, those that do not wait when it is applied
    /// anew. So it is where a foreign key has come or gone since they were read.
    pub(crate) async fn is_sound(&mut self) -> Result<bool> {
        if self.spec.is_merge() && self.foreign.is_outdated() && !self.knows_foreign_keys().await? {
            return Ok(false);
        }
        let suspects = std::mem::take(&mut self.foreign.suspects);
        if suspects.is_empty() {
            return Ok(true);
        }
        let mut looks: Vec<Look> = Vec::new();
        for suspect in suspects {
            add(
                &mut looks,
                &suspect.plan,
                suspect.foreign_key,
                suspect.is_child,
                suspect.row,
            );
        }
        let mut is_sound = true;
        for orphan in self.look(looks).await? {
            let mut bytes = Vec::new();
            orphan
                .row
                .key
                .iter()
                .for_each(|value| value.key_bytes(&mut bytes));
            let at = ParkedKey::of(orphan.plan.shape.table.id.clone(), &bytes);
            let why = self.foreign.why(orphan.foreign_key, orphan.is_child);
            is_sound &= self.foreign.orphans.insert(at, why).is_some();
        }
        Ok(is_sound)
    }

    /// Reads them again; `false`: they are not those that the open transaction was held against.
    async fn knows_foreign_keys(&mut self) -> Result<bool> {
        let now = self.target.foreign_keys(&self.spec.family).await?;
        let is_known = self.foreign.keys == now;
        for key in self.foreign.takes(now) {
            warn!(
                event = "foreign_key_added", link = %self.spec.id, foreign_key = %key.name, table = %key.child,
                parent = %key.parent, unwatched_s = READ_EVERY.as_secs(),
                "a foreign key has come: rows that were applied in the seconds before were not held against it; look for rows \
                 of the table without their parent"
            );
        }
        Ok(is_known)
    }

    fn looks<'a>(
        &self,
        changed: impl Iterator<Item = (&'a Arc<Plan>, impl Iterator<Item = &'a Planned>)>,
    ) -> Vec<Look> {
        let mut looks = Vec::new();
        for (plan, changes) in changed {
            let (table, keys) = (&plan.shape.table, &self.foreign.keys);
            let of = |end: fn(&ForeignKey) -> &TableId| {
                let found = keys.iter().enumerate().filter(|(_, key)| *end(key) == table.id);
                found.collect::<Vec<(usize, &ForeignKey)>>()
            };
            let (ups, mut downs) = (of(|key| &key.child), of(|key| &key.parent));
            // By other columns: what was written tells (`left`).
            downs.retain(|(_, key)| is_to_key(key, table));
            if plan.shape.stamps.is_none() || (ups.is_empty() && downs.is_empty()) {
                continue;
            }
            for change in changes {
                if matches!(change.op, PlannedOp::Delete { .. }) {
                    let downs = downs.iter();
                    downs.for_each(|(at, _)| add(&mut looks, plan, *at, false, Looked::by_key(&change.key)));
                }
                for (at, key) in &ups {
                    if refers_anew(plan, key, table, &change.op) {
                        add(&mut looks, plan, *at, true, Looked::by_key(&change.key));
                    }
                }
            }
        }
        looks
    }

    /// Rows that were not there before, and cells that are not there any more.
    fn look_at_written(&mut self, looks: &mut Vec<Look>, plan: &Arc<Plan>) {
        let table = &plan.shape.table.id;
        let revived = std::mem::take(&mut self.foreign.revived);
        let (ours, others) = revived
            .into_iter()
            .partition::<Vec<(TableId, Key)>, _>(|(of, _)| of == table);
        self.foreign.revived = others;
        for (_, key) in ours {
            for (at, foreign) in self.foreign.keys.iter().enumerate() {
                if foreign.child == *table {
                    add(looks, plan, at, true, Looked::by_key(&key));
                }
            }
        }
        let gone = std::mem::take(&mut self.foreign.gone);
        let (ours, others) = gone.into_iter().partition(|gone| gone.table == *table);
        self.foreign.gone = others;
        let ours: Vec<Gone> = ours;
        for gone in ours {
            add(looks, plan, gone.foreign_key, false, gone.row);
        }
    }

    async fn look(&mut self, looks: Vec<Look>) -> Result<Vec<Suspect>> {
        let mut found = Vec::new();
        for look in looks {
            let Some(key) = self.foreign.keys.get(look.foreign_key).cloned() else {
                continue;
            };
            let shape = &look.plan.shape;
            let cells = |row: &Looked| row.cells.clone().unwrap_or_else(|| row.key.clone());
            let cells: Vec<Key> = look.rows.iter().map(cells).collect();
            let numbers = match look.is_child {
                true => self.target.without_parent(&key, shape, &cells).await?,
                false => {
                    let shape = by_references(&key, shape);
                    self.target.with_children(&key, &shape, &cells).await?
                }
            };
            let suspects = numbers.into_iter().filter_map(|number| look.rows.get(number));
            found.extend(suspects.map(|row| Suspect {
                plan: Arc::clone(&look.plan),
                foreign_key: look.foreign_key,
                row: row.clone(),
                is_child: look.is_child,
            }));
        }
        Ok(found)
    }

    /// Deletes of rows that others refer to. Where the order of stamps decides, the row is touched, and the other node
    /// gets it back; else the delete waits, as it does as long as those rows may only not have been deleted yet: their
    /// table is held, or copied. Returns those that are to be decided as usual.
    pub(super) async fn keep_parents(
        &mut self,
        plan: &Plan,
        deletes: Vec<Planned>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Vec<Planned>> {
        if deletes.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key> = deletes.iter().map(|change| change.key.clone()).collect();
        let locals = self.target.read(&plan.shape, &keys).await?;
        let is_certain = self.uniting.is_none() && !self.foreign.is_behind(&plan.shape.table.id);
        let (mut usual, mut answers) = (Vec::new(), Vec::new());
        for (change, local) in deletes.iter().zip(locals) {
            let stamp = change.op.incoming().map(|incoming| incoming.stamp());
            let contested = Contested { change, local };
            let why = self
                .foreign
                .orphan(&park_key(plan, change))
                .cloned()
                .unwrap_or_default();
            if contested.local.row_stamp.is_none() || contested.local.row_stamp > stamp {
                usual.push(change.clone());
            } else if is_certain && self.answers_for_children(plan) {
                answers.push(Answered {
                    own: Own::Touch,
                    contested,
                    conflict: ConflictKind::FkMissing,
                    why: Reason::Referred.text().to_owned(),
                    merged: None,
                });
            } else {
                let kinds = (ConflictKind::FkMissing, ParkKind::FkMissing);
                self.open(plan, &contested, kinds, &why, conflicts)?;
            }
        }
        let answered: Vec<Planned> = answers
            .iter()
            .map(|answered: &Answered<'_>| answered.contested.change.clone())
            .collect();
        self.answer_all(plan, answers, conflicts).await?;
        self.conclude(
            plan,
            &answered,
            "rows refer to it: it stands with a greater stamp",
        );
        Ok(usual)
    }
}

impl Looked {
    fn by_key(key: &Key) -> Looked {
        Looked {
            key: key.clone(),
            cells: None,
        }
    }
}

/// Does it refer to the parent's own key?
fn is_to_key(key: &ForeignKey, parent: &Table) -> bool {
    let name = |place: &usize| &parent.columns[*place].name;
    key.references.len() == parent.key.len()
        && parent
            .key
            .iter()
            .all(|place| key.references.contains(name(place)))
}

/// The parent's columns that it refers to.
fn places(key: &ForeignKey, parent: &Table) -> Option<Vec<usize>> {
    key.references.iter().map(|name| parent.column(name)).collect()
}

/// The parent as if what is referred to were its key: by that its children are found.
fn by_references(key: &ForeignKey, shape: &Arc<Shape>) -> Arc<Shape> {
    match places(key, &shape.table) {
        Some(places) if !is_to_key(key, &shape.table) => Arc::new(Shape {
            table: Arc::new(Table {
                key: places,
                ..Table::clone(&shape.table)
            }),
            ..Shape::clone(shape)
        }),
        Some(_) | None => Arc::clone(shape),
    }
}

/// Joins the rows that are looked at together.
fn add(looks: &mut Vec<Look>, plan: &Arc<Plan>, foreign_key: usize, is_child: bool, row: Looked) {
    let found = looks.iter_mut().find(|look| {
        look.foreign_key == foreign_key && look.is_child == is_child && Arc::ptr_eq(&look.plan, plan)
    });
    match found {
        Some(look) => look.rows.push(row),
        None => looks.push(Look {
            plan: Arc::clone(plan),
            foreign_key,
            rows: vec![row],
            is_child,
        }),
    }
}

/// May the foreign key point elsewhere than before? As far as the old row tells: else it is looked at.
fn refers_anew(plan: &Plan, key: &ForeignKey, table: &Table, op: &PlannedOp) -> bool {
    let (row, before) = match op {
        PlannedOp::Insert { row, .. } => (row, None),
        PlannedOp::Update { row, before, .. } => (row, before.as_ref()),
        PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => return false,
    };
    let mut is_other = before.is_none();
    for column in &key.columns {
        let Some(place) = table.column(column) else {
            return true;
        };
        match row.get(place) {
            Some(Value::Null) => return false,
            None => continue,
            now => {
                let was = before.zip(plan.source_of(place));
                is_other |= was.is_none_or(|(before, place)| before.get(place) != now);
            }
        }
    }
    is_other
}
