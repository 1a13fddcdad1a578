//! `match_on`: rows that two sides hold of one thing are paired before the first copy.
//!
//! Owns: finding the pairs, by the values of both sides as the target would hold them, compared here byte by byte
//! whatever a collation says; and writing the source's key into the target's rows, some hundreds at a time. Rows are held
//! against each other by hashes, of as many at once as memory is given to.
//! Refuses: values that more than one row of a side has, before anything is written. It may break off and begin again
//! at any time: what is paired has a key, and is not looked at any more. Once rows are copied nothing is paired.

use super::copy::LANE_SEQ;
use super::preview::key_hash;
use super::{ROWS_MAX, Start};
use crate::chunk::Range;
use crate::ddl;
use crate::engine::{Node, Snapshot, Target};
use crate::error::{Error, Reason, Result};
use crate::flow::Applier;
use crate::flow::spec::{LinkSpec, NodeSpec, SyncSpec};
use crate::mapping::Passage;
use crate::model::schema::Table;
use crate::model::sync::{CatalogTable, Checkpoint};
use crate::model::value::{Row, Value};
use crate::plan::{Key, Plan, Shape};
use foldhash::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Rows without an external id that are looked at at once: some 80 MiB.
const KEYS_MAX: u64 = 500_000;
/// More rows than this of one value are ambiguous whatever else is found of them.
const ALIKE_MAX: usize = 64;

/// Of one table: the rows of the node with the external id, and those of the other one.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pairing {
    /// The node with the external id.
    pub node: String,
    pub paired: u64,
    /// Rows without an external id that no row of the other side matches: they stay that node's alone.
    pub alone: u64,
    /// The other side's rows that are new to the node.
    pub others: u64,
    /// Values that more than one row of a side has, and at least one of the other.
    pub ambiguous: u64,
}

impl Pairing {
    pub fn words(&self) -> String {
        let Pairing {
            node,
            paired,
            alone,
            others,
            ambiguous,
        } = self;
        let pairs = format!("match_on pairs {paired}, leaves {alone} to {node} alone, brings it {others}");
        match ambiguous {
            0 => pairs,
            _ => format!("{pairs}; {ambiguous} values are ambiguous: `run` refuses them"),
        }
    }
}

/// One table whose rows are to be paired.
struct Matched {
    place: usize,
    passage: Passage,
    theirs: Arc<CatalogTable>,
    /// The source's table without what stays behind.
    kept: Arc<Table>,
    plan: Arc<Plan>,
    /// The target's table by its own key.
    own: Table,
    /// Of the target's table: the columns that are compared.
    columns: Vec<usize>,
    parts: u128,
}

/// Rows of one value.
#[derive(Default)]
struct Alike {
    /// The target's own keys.
    here: Vec<Key>,
    /// Keys that the source's rows have.
    names: Vec<Key>,
    /// There are more names than these.
    has_more: bool,
}

impl Alike {
    fn here(&mut self, key: Key) {
        if self.here.len() < ALIKE_MAX {
            self.here.push(key);
        }
    }

    fn name(&mut self, name: Key) {
        match self.names.len() < ALIKE_MAX {
            true => self.names.push(name),
            false => self.has_more = true,
        }
    }

    /// A row has it already. Of more names than are known here no single one can be left.
    fn taken(&mut self, name: u128) {
        if !self.has_more {
            self.names.retain(|known| key_hash(known) != name);
        }
    }
}

/// The target's own key, and the one that the other side knows.
type Pair = (Key, Key);

#[derive(Default)]
struct Looked {
    pairs: Vec<Pair>,
    /// Rows of the target without a key, and with one; rows of the source.
    unnamed: u64,
    named: u64,
    sent: u64,
    ambiguous: u64,
}

impl Looked {
    fn judge(&mut self, alike: &Alike) {
        match (alike.here.as_slice(), alike.names.as_slice()) {
            (_, []) => {}
            ([here], [name]) => self.pairs.push((here.clone(), name.clone())),
            _ => self.ambiguous += 1,
        }
    }
}

/// What a union would pair: by the table's place in the sync.
pub(super) async fn counted(sync: &SyncSpec) -> Result<Vec<(usize, Pairing)>> {
    let mut out = Vec::new();
    for index in 0..sync.links.len() {
        let link = sync.link(index);
        if !pairs(&link) {
            continue;
        }
        let target = Target::open_to_read(link.target.engine, &link.target.access).await?;
        let mut start = Start::new(link, target);
        let mut readers = None;
        for matched in tables(&mut start).await? {
            let (pairing, _) = look_at_all(&mut start, &mut readers, &matched).await?;
            out.push((matched.place, pairing));
        }
    }
    Ok(out)
}

/// Before the first row of a copy is read, and only then.
pub(super) async fn before(copies: &mut [Start], stop: &CancellationToken) -> Result<()> {
    if !copies.iter().any(|start| pairs(&start.link)) {
        return Ok(());
    }
    for start in copies.iter() {
        let spec = &start.link.target;
        let mut node = Node::connect(&spec.access, spec.engine).await?;
        let has_begun = !node.chunks(&start.link.sync, &start.link.id).await?.is_empty();
        node.close().await;
        if has_begun {
            return Ok(());
        }
    }
    let mut judged = Vec::new();
    for start in copies.iter_mut().filter(|start| pairs(&start.link)) {
        let mut found = Vec::new();
        let mut readers = None;
        for matched in tables(start).await? {
            let (pairing, pairs) = look_at_all(start, &mut readers, &matched).await?;
            if pairing.ambiguous > 0 {
                return Err(ambiguous(&start.link, &matched, pairing.ambiguous));
            }
            found.push((matched, pairing, pairs));
        }
        judged.push((start, readers, found));
    }
    for (start, mut readers, found) in judged {
        write(start, &mut readers, found, stop).await?;
    }
    Ok(())
}

fn pairs(link: &LinkSpec) -> bool {
    let mut passages = link.passages.values();
    passages.any(takes_names)
}

/// Are rows of the passage's target to get keys of its source?
fn takes_names(passage: &Passage) -> bool {
    let mapping = passage.mapping();
    let external = mapping.external.get(passage.target()).and_then(Option::as_ref);
    external.is_some() && !mapping.match_on.is_empty()
}

async fn tables(start: &mut Start) -> Result<Vec<Matched>> {
    let mut ends = start.ends().await?;
    let spec = &start.link.target;
    let mut node = Node::connect(&spec.access, spec.engine).await?;
    let sizes = node.sizes(&spec.tables).await?;
    node.close().await;
    let mut out = Vec::new();
    let both = ends.source_tables.iter().zip(&ends.target_tables).zip(sizes);
    for (place, ((ours, theirs), size)) in both.enumerate() {
        let passage = start.link.passage(&ours.table.id);
        let Some(external) = theirs.table.external.as_ref().filter(|_| takes_names(&passage)) else {
            continue;
        };
        let kept = Arc::new(passage.kept(&ours.table));
        let plan = ends.planner.plan(&kept)?;
        let places = |names: &mut dyn Iterator<Item = &str>| -> Option<Vec<usize>> {
            names.map(|name| theirs.table.column(name)).collect()
        };
        let mapping = passage.mapping();
        let mut matched = mapping
            .match_on
            .iter()
            .map(|column| mapping.name_on(passage.target(), column));
        let columns = places(&mut matched);
        let own = places(&mut external.own.iter().map(String::as_str)).filter(|own| !own.is_empty());
        let (Some(columns), Some(own)) = (columns, own) else {
            return Err(Error::definite("pair rows by match_on")
                .node(&start.link.target.name)
                .table(&theirs.table.id)
                .why("a column of match_on, or of its own key, is not there")
                .hint("run `tidelock check`"));
        };
        let rows = size.and_then(|size| size.rows).unwrap_or(0);
        out.push(Matched {
            place,
            own: Table {
                key: own,
                external: None,
                ..theirs.table.clone()
            },
            columns,
            kept,
            plan,
            passage: passage.clone(),
            theirs: Arc::clone(theirs),
            parts: u128::from(rows / KEYS_MAX + 1),
        });
    }
    Ok(out)
}

/// A reader of each side, which see the rows of one moment each.
type Readers = Option<(Snapshot, Snapshot)>;

async fn readers<'r>(start: &mut Start, readers: &'r mut Readers) -> Result<&'r mut (Snapshot, Snapshot)> {
    if readers.is_none() {
        let ends = start.ends().await?;
        let mut options = start.options(&ends);
        let ours = Snapshot::now(start.link.source.engine, options.clone()).await?;
        options.access = start.link.target.access.clone();
        options.tables.clone_from(&ends.target_tables);
        let theirs = Snapshot::now(start.link.target.engine, options).await?;
        *readers = Some((ours, theirs));
    }
    readers.as_mut().ok_or_else(|| Error::bug("open readers"))
}

/// The pairs only where the table is looked at as a whole: else they are found again when they are written.
async fn look_at_all(
    start: &mut Start,
    own: &mut Readers,
    matched: &Matched,
) -> Result<(Pairing, Option<Vec<Pair>>)> {
    let node = start.link.target.name.clone();
    let (ours, theirs) = readers(start, own).await?;
    let mut pairing = Pairing {
        node,
        ..Pairing::default()
    };
    let mut last = Looked::default();
    for part in 0..matched.parts {
        last = look(ours, theirs, matched, part).await?;
        pairing.paired += last.pairs.len() as u64;
        pairing.ambiguous += last.ambiguous;
    }
    // Each part counts all rows. A key that a row has already is taken for one of the other side's.
    pairing.alone = last.unnamed.saturating_sub(pairing.paired);
    pairing.others = last.sent.saturating_sub(pairing.paired + last.named);
    Ok((pairing, (matched.parts == 1).then_some(last.pairs)))
}

/// One part of the values of both sides.
async fn look(ours: &mut Snapshot, theirs: &mut Snapshot, matched: &Matched, part: u128) -> Result<Looked> {
    let mut looked = Looked::default();
    let mut alike: HashMap<u128, Alike> = HashMap::default();
    let [external] = matched.theirs.table.key[..] else {
        return Err(Error::bug("pair rows by a key of one column").table(&matched.own.id));
    };
    let of_part = |row: &Row| value(row, &matched.columns).filter(|value| value % matched.parts == part);
    each(theirs, &matched.own, |row| {
        match row.get(external) {
            Some(Value::Null) => looked.unnamed += 1,
            _ => {
                looked.named += 1;
                return Ok(());
            }
        }
        if let (Some(value), Some(key)) = (of_part(&row), key(&row, &matched.own.key)) {
            alike.entry(value).or_default().here(key);
        }
        Ok(())
    })
    .await?;
    each(ours, &matched.kept, |row| {
        if !matched.plan.takes(&row)? {
            return Ok(());
        }
        looked.sent += 1;
        // What the target cannot hold has no pair there.
        if let Ok((name, row)) = matched.plan.row(&row)
            && let Some(found) = of_part(&row).and_then(|value| alike.get_mut(&value))
        {
            found.name(name);
        }
        Ok(())
    })
    .await?;
    alike.retain(|_, alike| !alike.names.is_empty());
    let mut by_name: HashMap<u128, u128> = HashMap::default();
    for (value, alike) in &alike {
        by_name.extend(alike.names.iter().map(|name| (key_hash(name), *value)));
    }
    if by_name.is_empty() {
        return Ok(looked);
    }
    // A key that a row has already is nobody else's.
    each(theirs, &matched.own, |row| {
        let name = key(&row, &[external]).map(|name| key_hash(&name));
        if let Some(name) = name
            && let Some(value) = by_name.get(&name)
            && let Some(alike) = alike.get_mut(value)
        {
            alike.taken(name);
        }
        Ok(())
    })
    .await?;
    for alike in alike.values() {
        looked.judge(alike);
    }
    Ok(looked)
}

async fn each(reader: &mut Snapshot, table: &Table, mut of_row: impl FnMut(Row) -> Result<()>) -> Result<()> {
    reader.open_table(table, &Range::default(), None).await?;
    loop {
        let rows = reader.rows(ROWS_MAX).await?;
        if rows.is_empty() {
            return Ok(());
        }
        rows.into_iter().try_for_each(&mut of_row)?;
    }
}

/// `None`: one of them is NULL, which is equal to nothing.
fn key(row: &Row, places: &[usize]) -> Option<Key> {
    let cells = places.iter().map(|place| row.get(*place).cloned());
    let key: Option<Vec<Value>> = cells.map(|cell| cell.filter(|cell| !cell.is_null())).collect();
    key.map(Vec::into_boxed_slice)
}

fn value(row: &Row, places: &[usize]) -> Option<u128> {
    key(row, places).map(|key| key_hash(&key))
}

/// Every batch is a transaction of a lane of the link, which marks it as no write of a user.
async fn write(
    start: &mut Start,
    own: &mut Readers,
    found: Vec<(Matched, Pairing, Option<Vec<Pair>>)>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut applier = lane(start).await?;
    let position = applier.checkpoint().position.clone();
    for (matched, pairing, mut whole) in found {
        let mut paired = 0;
        let by_own = Shape {
            table: Arc::new(matched.own.clone()),
            stamps: None,
            untouched: Vec::new(),
        };
        for part in 0..matched.parts {
            let pairs = match whole.take() {
                Some(pairs) => pairs,
                None => {
                    let (ours, theirs) = readers(start, own).await?;
                    look(ours, theirs, &matched, part).await?.pairs
                }
            };
            for batch in pairs.chunks(ROWS_MAX) {
                if stop.is_cancelled() {
                    return Ok(());
                }
                applier.begin(&position).await?;
                paired += applier.pair(&matched.plan.shape, &by_own, batch).await?;
                applier.commit().await?;
            }
        }
        info!(
            event = "paired", link = %start.link.id, table = %matched.own.id, paired,
            alone = pairing.alone, others = pairing.others, "rows of both sides were paired by match_on"
        );
    }
    Ok(())
}

async fn lane(start: &mut Start) -> Result<Applier> {
    let link = Arc::clone(&start.link);
    let (sync, id) = (link.sync.as_str(), link.id.as_str());
    start.target.open_lanes((sync, id), 1, LANE_SEQ).await?;
    let taken = start.target.take_over(sync, id, &link.instance).await?;
    let taken = taken.ok_or_else(|| Error::bug("read back a checkpoint that was just made"))?;
    let lanes = start.target.lanes((sync, id), taken.epoch).await?;
    let lane = lanes.first().ok_or_else(|| {
        Error::transient("pair rows")
            .node(&link.target.name)
            .why("the link was taken over at this moment")
    })?;
    let checkpoint = Checkpoint {
        lane: lane.number,
        epoch: lane.epoch,
        seq: lane.seq,
        ..taken
    };
    let target = Target::open(link.target.engine, &link.target.access, link.is_merge()).await?;
    Ok(Applier::new(target, link, checkpoint))
}

fn ambiguous(link: &LinkSpec, matched: &Matched, count: u64) -> Error {
    let mapping = matched.passage.mapping();
    let listed = |spec: &NodeSpec, table: &Table, node: usize, only: Option<String>| {
        let columns: Vec<String> = mapping
            .match_on
            .iter()
            .map(|column| ddl::quote(mapping.name_on(node, column), spec.engine))
            .collect();
        let set = columns.iter().map(|column| format!("{column} IS NOT NULL"));
        let conditions: Vec<String> = set.chain(only).collect();
        let columns = columns.join(", ");
        format!(
            "SELECT {columns}, count(*) FROM {} WHERE {} GROUP BY {columns} HAVING count(*) > 1; on node {}",
            ddl::table_name(&table.id, spec.engine),
            conditions.join(" AND "),
            spec.name
        )
    };
    let unnamed = matched.theirs.table.external.as_ref().map(|external| {
        let column = ddl::quote(&external.column, link.target.engine);
        format!("{column} IS NULL")
    });
    let (ours, theirs) = (
        listed(&link.source, &matched.kept, matched.passage.source(), None),
        listed(&link.target, &matched.own, matched.passage.target(), unnamed),
    );
    Error::definite("pair rows by match_on")
        .node(&link.target.name)
        .table(&matched.own.id)
        .why(format!(
            "{count} values of ({}) are those of more than one row of a side, so which rows belong together cannot be told; \
             nothing more was written",
            mapping.match_on.join(", ")
        ))
        .hint(format!(
            "these list them: {ours}, and {theirs}; write the key of the other side into the rows that you mean, or make \
             the values differ"
        ))
        .reason(Reason::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: i64) -> Key {
        vec![Value::Int(id)].into_boxed_slice()
    }

    /// So many rows of the source are alike, and so many of their names are taken: is a row of the target paired?
    fn judged(names: i64, taken: i64) -> (usize, u64) {
        let mut alike = Alike::default();
        alike.here(key(-1));
        (0..names).for_each(|name| alike.name(key(name)));
        (0..taken).for_each(|name| alike.taken(key_hash(&key(name))));
        let mut looked = Looked::default();
        looked.judge(&alike);
        (looked.pairs.len(), looked.ambiguous)
    }

    #[test]
    fn the_one_name_that_is_left_is_the_rows() {
        assert_eq!(judged(1, 0), (1, 0));
        assert_eq!(judged(2, 0), (0, 1));
        assert_eq!(judged(2, 1), (1, 0));
        assert_eq!(judged(2, 2), (0, 0));
        let most = i64::try_from(ALIKE_MAX).unwrap_or(i64::MAX);
        assert_eq!(judged(most, most - 1), (1, 0));
        // Of the names that are not kept some may be free.
        assert_eq!(judged(most + 6, most - 1), (0, 1));
        assert_eq!(judged(most + 6, most), (0, 1));
    }
}
