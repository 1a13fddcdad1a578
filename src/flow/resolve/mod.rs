//! A person decides a conflict: one that waits, or one that a rule decided, however long ago.
//!
//! Owns: the plan of what would be written where, and doing it. A decision is an ordinary write of the run account on one
//! node, without a marker and above every version that any node holds, so it reaches all others as a user's would;
//! records and audit are written in the same transaction. Refuses: a row that moved on since it was recorded, unless told
//! to, and one that changes between the plan and the deed. Fails: with [`Reason::Refused`] and the next command.

mod again;
mod choose;
mod dismiss;
mod picture;
mod words;

use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::instance;
use crate::flow::spec::SyncSpec;
use crate::model::conflict::{ConflictFilter, ConflictKind, Settling, StoredConflict};
use crate::model::parked::ParkedKey;
use crate::model::rules::ColumnRule;
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use crate::model::sync::Mode;
use crate::model::value::{Row, Value};
use crate::plan::restore;
use crate::plan::{Key, Write, WriteOp, Written};
use choose::{Act, Content, Deed};
use picture::{Picture, Rows};

pub use again::{Judge, Stands};
pub use dismiss::{dismiss, may_dismiss};
pub use words::{Effect, Told, ToldAct, ToldCell};

/// What the person wants of the row.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The version of this node.
    pub take: Option<String>,
    /// Both versions, column by column.
    pub merge: bool,
    /// Columns and what they are set to; `None` is NULL.
    pub set: Vec<(String, Option<String>)>,
    /// The conflict was decided by a rule.
    pub overrides: bool,
    /// Although the row moved on since.
    pub force: bool,
}

/// A conflict as one node recorded it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its place in the sync.
    pub node: usize,
    pub conflict: StoredConflict,
}

/// The conflict to decide, as all nodes recorded it.
pub(super) struct Case<'a> {
    records: &'a [Recorded],
    chosen: usize,
    /// The node that recorded it, and the one that the change came from.
    at: usize,
    source: usize,
}

impl Case<'_> {
    fn conflict(&self) -> &StoredConflict {
        &self.records[self.chosen].conflict
    }

    /// The incoming row stands on its source alone.
    fn is_refused_here(&self) -> bool {
        let kinds = [
            ConflictKind::MultipleUniqueConflicts,
            ConflictKind::ValueRefused,
            ConflictKind::FkMissing,
        ];
        let conflict = self.conflict();
        conflict.outcome == "open" && kinds.iter().any(|kind| kind.name() == conflict.kind)
    }

    /// Both rows stand, each on its node, and wait for a person.
    fn is_asked(&self) -> bool {
        self.conflict().outcome == "open" && !self.is_refused_here()
    }
}

/// What is to be done, and what it will do.
pub struct Planned {
    picture: Picture,
    acts: Vec<Act>,
    /// Records to settle.
    ids: Vec<String>,
    link: String,
    /// On which node a change waits that the decision takes up, for which link.
    waits: Option<(usize, String, ParkedKey)>,
    how: String,
    overrides: bool,
    force: bool,
    pub told: Told,
}

/// A safety gate says no.
fn refused(doing: impl Into<String>) -> Error {
    Error::definite(doing).reason(Reason::Refused)
}

pub(super) fn source_name(conflict: &StoredConflict) -> &str {
    conflict.link.split("->").next().unwrap_or_default()
}

/// `records`: the same conflict on every node that has it; `chosen` is the one that was named. Nothing is changed.
pub async fn plan(sync: &SyncSpec, records: &[Recorded], chosen: usize, wish: &Wish) -> Result<Planned> {
    let conflict = &records[chosen].conflict;
    refuse_unfit(sync, conflict, wish)?;
    let at = records[chosen].node;
    let source = sync
        .nodes
        .iter()
        .position(|node| node.name == source_name(conflict));
    let source = source.ok_or_else(|| {
        refused("decide the conflict").why(format!("its link {} is not in the sync any more", conflict.link))
    })?;
    let case = Case {
        records,
        chosen,
        at,
        source,
    };
    let id = TableId::new(&conflict.schema, &conflict.table);
    let table = sync.nodes[at]
        .tables
        .iter()
        .position(|known| *known == id)
        .ok_or_else(|| {
            refused("decide the conflict")
                .table(&id)
                .why("the table is not in the sync any more")
                .hint("change the row with an UPDATE where it is wrong")
        })?;
    let mut picture = Picture::open(sync, table).await?;
    let (from, key) = key(&picture, &case)?;
    let rows = picture.rows(from, &key).await?;
    refuse_orphan(&picture, &case, wish)?;
    let content = choose::content(&picture, &rows, &case, wish)?;
    let arbiter = arbiter(sync, table, &case, wish);
    let content = match case.is_asked() && arbiter.is_none() {
        true => choose::at_source(&picture, &rows, &case, content),
        false => content,
    };
    let clash =
        match conflict.kind == ConflictKind::MultipleUniqueConflicts.name() && conflict.outcome == "open" {
            true => clash(&mut picture, &case, &rows, &content, wish).await?,
            false => Clash::default(),
        };
    let content = match arbiter {
        Some(arbiter) => choose::at_arbiter(&picture, &rows, arbiter, content),
        None => content,
    };
    let waits = arbiter.and_then(|arbiter| waits(&picture, &rows, arbiter, records));
    let mut acts = clash.before;
    let version = version(&picture, &rows, Some(records))?;
    acts.extend(choose::act(&picture, &rows, content, version)?);
    acts.extend(clash.after);
    let mut ids = vec![conflict.id.clone()];
    ids.extend(also_settled(sync, &picture, &acts, &conflict.id).await?);
    let moved = moved(&picture, &rows, records);
    let how = how(wish, &picture, &acts);
    let told = words::told(sync, &picture, &acts, moved).await?;
    Ok(Planned {
        picture,
        acts,
        ids,
        link: conflict.link.clone(),
        waits,
        how,
        overrides: wish.overrides,
        force: wish.force,
        told,
    })
}

/// The arbiter, where a change waits that it would decide by its rules again, against the very row that was decided: there
/// the decision is written, and takes up what waits. A column that is set and merged like the others is no such decision,
/// unless differences would be added to it.
fn arbiter(sync: &SyncSpec, table: usize, case: &Case<'_>, wish: &Wish) -> Option<usize> {
    let rules = sync.rules.get(table).filter(|rules| rules.is_arbitrated())?;
    let arbiter = sync.nodes.iter().position(|node| node.rank == rules.arbiter)?;
    let conflict = case.conflict();
    let is = |kind: ConflictKind| kind.name() == conflict.kind;
    // A value that the target cannot hold was not met with a row, and is written anew on its source.
    if conflict.outcome != "open" || conflict.is_in_sources_terms() {
        return None;
    }
    let is_taken = is(ConflictKind::MultipleUniqueConflicts) || is(ConflictKind::ValueRefused);
    let is_update = conflict.operation == "update";
    let decides = match rules.merges() && is_update && (is_taken || is(ConflictKind::UpdateOriginDiffers)) {
        true => {
            let adds = |(name, _): &(String, Option<String>)| rules.column(name) == ColumnRule::Delta;
            wish.take.is_some() || wish.merge || wish.set.iter().any(adds)
        }
        false => {
            let is_deleted = is(ConflictKind::FkMissing) && conflict.operation == "delete";
            case.at == arbiter && (is_taken || is_deleted)
        }
    };
    decides.then_some(arbiter)
}

/// What waits at the arbiter, and its link.
fn waits(
    picture: &Picture,
    rows: &Rows,
    arbiter: usize,
    records: &[Recorded],
) -> Option<(usize, String, ParkedKey)> {
    let is_open = |record: &&Recorded| record.node == arbiter && record.conflict.outcome == "open";
    let record = records.iter().find(is_open)?;
    let key = rows.keys.get(arbiter)?.as_ref()?;
    let at = parked_key(picture.id(arbiter), key);
    Some((arbiter, record.conflict.link.clone(), at))
}

fn parked_key(table: &TableId, key: &Key) -> ParkedKey {
    let mut bytes = Vec::new();
    key.iter().for_each(|value| value.key_bytes(&mut bytes));
    ParkedKey::of(table.clone(), &bytes)
}

fn refuse_unfit(sync: &SyncSpec, conflict: &StoredConflict, wish: &Wish) -> Result<()> {
    let name = format!("tidelock conflicts show {}", conflict.id);
    if sync.mode != Mode::Merge {
        return Err(refused("decide the conflict")
            .why("the sync runs one way: its source is always right, and its rows have no versions")
            .hint(format!(
                "change the row on the source, or what the target's column takes: the next change of the row mends it; \
                 then `tidelock conflicts dismiss {} --reason TEXT --execute` closes the record",
                conflict.id
            )));
    }
    match (wish.overrides, conflict.outcome.as_str()) {
        (false, "open") | (true, "applied" | "kept" | "merged" | "resolved") => Ok(()),
        (true, "open") => Err(refused("override the conflict")
            .why("it waits for a decision: there is none to override")
            .hint(format!(
                "tidelock conflicts resolve {} with the same choice",
                conflict.id
            ))),
        (false, "resolved") => Err(refused("resolve the conflict")
            .why("it is resolved already")
            .hint(format!(
                "{name} says how; `tidelock conflicts override` decides it anew"
            ))),
        (_, _) => Err(refused("resolve the conflict")
            .why("it was decided by its rule")
            .hint(format!(
                "{name} says how; `tidelock conflicts override` decides it otherwise"
            ))),
    }
}

/// A row that waits for its parent goes in when that comes. Taken as it is, it would only wait anew.
fn refuse_orphan(picture: &Picture, case: &Case<'_>, wish: &Wish) -> Result<()> {
    let conflict = case.conflict();
    let waits = conflict.outcome == "open" && conflict.kind == ConflictKind::FkMissing.name();
    let [here, source] = [case.at, case.source].map(|node| &picture.seats[node].name);
    let is_as_it_is = wish.set.is_empty() && (wish.merge || wish.take.as_ref() == Some(source));
    if !waits || conflict.operation == "delete" || !is_as_it_is {
        return Ok(());
    }
    Err(refused(format!("take the row of {source}"))
        .table(picture.id(case.at))
        .why(format!("the row that it refers to is not on {here}, so it would only wait again"))
        .hint(format!(
            "it goes in by itself as soon as that row is on {here}: INSERT it, or decide the conflict in which it waits; \
             else `--set COLUMN=VALUE` or `--null COLUMN` refers to another row or to none, or DELETE it on {source}"
        )))
}

/// The key, and the node in whose terms it is.
fn key(picture: &Picture, case: &Case<'_>) -> Result<(usize, Vec<Value>)> {
    let conflict = case.conflict();
    let wrong = |why: String| refused("find the row").table(picture.id(case.at)).why(why);
    if !conflict.is_in_sources_terms() {
        let table = &picture.seats[case.at].table;
        let columns = table.key.iter().map(|place| &table.columns[*place]);
        return Ok((case.at, restore::key(&conflict.key, columns).map_err(wrong)?));
    }
    // In the source's terms, and in the order of the target's key.
    let plan = picture.plan(case.source, case.at)?;
    let table = &picture.seats[case.source].table;
    let places: Vec<usize> = plan.key_sources().collect();
    let columns = places.iter().map(|place| &table.columns[*place]);
    let values = restore::key(&conflict.key, columns).map_err(wrong)?;
    let own = |place: &usize| {
        places
            .iter()
            .position(|known| known == place)
            .map(|at| values[at].clone())
    };
    let key: Option<Vec<Value>> = table.key.iter().map(own).collect();
    let key = key.ok_or_else(|| wrong("the key of the table is another one by now".to_owned()))?;
    Ok((case.source, key))
}

/// Above everything that any node has, or the record names.
fn version(picture: &Picture, rows: &Rows, records: Option<&[Recorded]>) -> Result<i64> {
    let recorded = records
        .into_iter()
        .flatten()
        .flat_map(|record| [record.conflict.local_stamp, record.conflict.incoming_stamp]);
    let recorded = recorded.flatten().map(|stamp: Stamp| stamp.version);
    let floors = picture.seats.iter().map(|seat| seat.floor);
    let greatest = recorded
        .chain(floors)
        .chain([rows.greatest()])
        .max()
        .unwrap_or_default();
    greatest
        .checked_add(1)
        .ok_or_else(|| refused("decide the conflict").why("the row has the greatest version there can be"))
}

/// A unique value that two rows want: what has to go before one of them can come, and what comes after.
#[derive(Default)]
struct Clash {
    before: Vec<Act>,
    after: Vec<Act>,
}

async fn clash(
    picture: &mut Picture,
    case: &Case<'_>,
    rows: &Rows,
    content: &Content,
    wish: &Wish,
) -> Result<Clash> {
    let live = rows.locals[case.source].row.as_ref();
    let plan = picture.plan(case.source, case.at)?;
    let incoming = match live.and_then(|live| plan.row(live).ok()) {
        Some((_, row)) => row,
        None => choose::incoming_row(picture, case.at, case.conflict())?,
    };
    let uniques = &picture.seats[case.source].table.uniques;
    let takes_incoming = match content {
        Content::Stands { node, cells } if *node == case.source && wish.take.is_some() => {
            // A new value ends the clash: nobody has to go.
            !uniques.iter().flatten().any(|place| cells.get(*place).is_some())
        }
        Content::Stands { .. } | Content::Whole { .. } | Content::Gone { .. } => false,
    };
    let mut clash = Clash::default();
    let own = rows.keys[case.at].clone().unwrap_or_default();
    let holders = picture.holders(case.at, &own, &incoming).await?;
    if takes_incoming && holders.is_empty() && picture.seats[case.at].table.uniques.iter().any(Vec::is_empty)
    {
        return Err(refused("find the row in the way")
            .table(picture.id(case.at))
            .why(format!(
                "{}, which is over an expression, a part of a column or a condition: no column says which row that is",
                case.conflict().detail
            ))
            .hint(format!(
                "change or delete that row on {}: then the row that waits goes in by itself. Or give this one another value \
                 with --set COLUMN=VALUE",
                picture.seats[case.at].name
            )));
    }
    for key in holders {
        let holder = picture.rows(case.at, &key).await?;
        let version = version(picture, &holder, None)?;
        let is_known_there = holder.stamp(case.source) == holder.stamp(case.at);
        let width = picture.seats[case.at].table.columns.len();
        let act = |deed: Deed| Act {
            node: case.at,
            key: key.clone(),
            rows: holder.clone(),
            deed,
            version,
        };
        match (takes_incoming, is_known_there) {
            (true, _) => clash.before.push(act(Deed::Delete)),
            // The other side refused this row for the one that changes now: it is sent again.
            (false, false) => {
                let touch = Row(vec![None; width].into_boxed_slice());
                clash.after.push(act(Deed::Write(touch)));
            }
            (false, true) => {}
        }
    }
    Ok(clash)
}

/// Open clashes about the other rows that are written now: they are decided by it.
async fn also_settled(sync: &SyncSpec, picture: &Picture, acts: &[Act], own: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    let [_, _, ..] = acts else { return Ok(ids) };
    for (index, spec) in sync.nodes.iter().enumerate() {
        let mut node = Node::connect(&spec.access, spec.engine).await?;
        for act in acts {
            let Some(key) = act.rows.keys.get(index).and_then(Option::as_ref) else {
                continue;
            };
            let id = picture.id(index);
            let filter = ConflictFilter {
                table: Some(format!("{}.{}", id.schema, id.name)),
                kind: Some(ConflictKind::MultipleUniqueConflicts.name().to_owned()),
                key: Some(crate::plan::evidence::key_json(key)),
                only_open: true,
                ..ConflictFilter::default()
            };
            let found = node.conflicts(&sync.name, &filter).await?;
            ids.extend(
                found
                    .into_iter()
                    .map(|conflict| conflict.id)
                    .filter(|id| id != own),
            );
        }
        node.close().await;
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// Nodes on which another version stands than the record names.
fn moved(picture: &Picture, rows: &Rows, records: &[Recorded]) -> Vec<String> {
    let known: Vec<Stamp> = records
        .iter()
        .flat_map(|record| [record.conflict.local_stamp, record.conflict.incoming_stamp])
        .flatten()
        .collect();
    let other = |node: usize| {
        let stamp = rows.stamp(node)?;
        let seat = &picture.seats[node];
        (!known.contains(&stamp))
            .then(|| format!("{} holds {}", seat.name, words::stamp(picture, Some(stamp))))
    };
    (0..rows.locals.len()).filter_map(other).collect()
}

/// For record and audit, without cell values.
fn how(wish: &Wish, picture: &Picture, acts: &[Act]) -> String {
    let mut said: Vec<String> = Vec::new();
    said.extend(wish.take.as_ref().map(|node| format!("take {node}")));
    said.extend(wish.merge.then(|| "merge".to_owned()));
    if !wish.set.is_empty() {
        let columns: Vec<&str> = wish.set.iter().map(|(column, _)| column.as_str()).collect();
        said.push(format!("set {}", columns.join(", ")));
    }
    for act in acts {
        let (deed, node) = (act.deed.name(&act.rows, act.node), &picture.seats[act.node].name);
        said.push(format!("{deed} with version {} on {node}", act.version));
    }
    said.extend(acts.is_empty().then(|| "nothing had to be written".to_owned()));
    said.join("; ")
}

impl Deed {
    fn name(&self, rows: &Rows, node: usize) -> &'static str {
        match self {
            Deed::Delete => "deleted",
            Deed::Write(_) if rows.stands(node) => "written",
            Deed::Write(_) => "inserted",
        }
    }
}

/// Does it. A second run after a failure plans anew and finds done what was done.
pub async fn execute(sync: &SyncSpec, planned: &mut Planned) -> Result<()> {
    if !planned.told.moved.is_empty() && !planned.acts.is_empty() && !planned.force {
        return Err(refused("decide the conflict")
            .why(format!(
                "the row moved on since it was recorded: {}",
                planned.told.moved.join(", ")
            ))
            .hint("look at the plan: it is about the row as it stands now; then again with --force"));
    }
    let operator = instance::operator();
    let mut noted = Vec::new();
    for act in std::mem::take(&mut planned.acts) {
        written(sync, planned, &act, &operator).await?;
        noted.push(act.node);
    }
    let settling = Settling {
        by: &operator,
        how: &planned.how,
        overrides: planned.overrides,
    };
    for (index, spec) in sync
        .nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| !noted.contains(index))
    {
        let target = &mut planned.picture.seats[index].target;
        target.start().await?;
        let found = target
            .settle_conflicts(&sync.name, &planned.ids, settling)
            .await?;
        // Nothing had to be written, and what waits is not wanted.
        let waits = planned.waits.as_ref().filter(|_| noted.is_empty());
        if let Some((_, link, at)) = waits.filter(|(node, ..)| *node == index) {
            target.unpark(&sync.name, link, std::slice::from_ref(at)).await?;
        }
        if noted.is_empty() && found > 0 {
            let link = (sync.name.as_str(), planned.link.as_str());
            target
                .audit(link, action(planned.overrides), &operator, &planned.how)
                .await?;
        }
        target.commit().await.map_err(|error| error.node(&spec.name))?;
    }
    Ok(())
}

fn action(overrides: bool) -> &'static str {
    if overrides { "override" } else { "resolve" }
}

/// One write with its records and audit, in one transaction, if all is still as it was planned.
async fn written(sync: &SyncSpec, planned: &mut Planned, act: &Act, operator: &str) -> Result<()> {
    let shape = planned.picture.shape(act.node)?;
    let id = planned.picture.id(act.node).clone();
    let seat = &mut planned.picture.seats[act.node];
    let doing = || Error::definite("write the row").table(&id).node(&seat.name);
    let target = &mut seat.target;
    target.start().await?;
    let found = target.read(&shape, std::slice::from_ref(&act.key)).await?;
    let found = found.into_iter().next().unwrap_or_default();
    if found != act.rows.locals[act.node] {
        target.rollback().await?;
        return Err(doing()
            .reason(Reason::Refused)
            .why("somebody changed it since the plan was made")
            .hint("nothing was written; run the command again"));
    }
    for write in writes(&shape, act)? {
        let done = target.write(&shape, std::slice::from_ref(&write)).await?;
        let why = match done.into_iter().next() {
            Some(Written::Done) | None => continue,
            Some(Written::Lost) => "somebody inserted it meanwhile".to_owned(),
            Some(Written::UniqueTaken(key)) => format!("another row holds a value of unique key {key}"),
            Some(Written::Refused(why)) => why,
        };
        target.rollback().await?;
        return Err(doing().reason(Reason::Refused).why(why).hint(
            "nothing was written; where other rows refer to it, delete or change those first, else \
                 `--set COLUMN=VALUE` gives a value that fits",
        ));
    }
    let after = target.read(&shape, std::slice::from_ref(&act.key)).await?;
    let after = after.into_iter().next().unwrap_or_default();
    let stamp = match act.deed {
        Deed::Write(_) => after.row_stamp,
        Deed::Delete => after.tombstone.filter(|_| after.row.is_none()),
    };
    if stamp.is_none_or(|stamp| stamp.version < act.version) {
        target.rollback().await?;
        return Err(doing()
            .reason(Reason::Refused)
            .why("the table's triggers did not give it the version that it needs")
            .hint("nothing was written; `tidelock check` looks at the triggers"));
    }
    let settling = Settling {
        by: operator,
        how: &planned.how,
        overrides: planned.overrides,
    };
    target
        .settle_conflicts(&sync.name, &planned.ids, settling)
        .await?;
    let own = parked_key(&id, &act.key);
    let waits = planned.waits.as_ref();
    if let Some((_, link, at)) = waits.filter(|(node, _, at)| (*node, at) == (act.node, &own)) {
        target.unpark(&sync.name, link, std::slice::from_ref(at)).await?;
    }
    let link = (sync.name.as_str(), planned.link.as_str());
    let detail = format!("{}: {}", planned.ids.join(", "), planned.how);
    target
        .audit(link, action(planned.overrides), operator, &detail)
        .await?;
    target.commit().await
}

/// A delete leaves the version of the row it deletes: so that is raised first.
fn writes(shape: &crate::plan::Shape, act: &Act) -> Result<Vec<Write>> {
    let stamps = shape
        .stamps
        .as_ref()
        .ok_or_else(|| Error::bug("write a row without stamps"))?;
    let write = |op: WriteOp| Write {
        key: act.key.clone(),
        op,
    };
    let mut cells = match &act.deed {
        Deed::Write(cells) => cells.clone(),
        Deed::Delete => Row(vec![None; shape.table.columns.len()].into_boxed_slice()),
    };
    cells.0[stamps.version] = Some(Value::Int(act.version));
    let stands = act.rows.stands(act.node);
    let op = match stands {
        true => WriteOp::Update {
            row: cells,
            base: None,
            here: None,
        },
        false => WriteOp::Insert { row: cells },
    };
    let delete = WriteOp::Delete {
        base: None,
        tombstone: None,
    };
    Ok(match act.deed {
        Deed::Write(_) => vec![write(op)],
        Deed::Delete => vec![write(op), write(delete)],
    })
}

/// A key for people.
fn key_text(key: &Key) -> String {
    crate::plan::evidence::key_json(key)
}
