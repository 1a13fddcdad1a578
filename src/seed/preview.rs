//! What a union would make of the rows of both sides, before anything is written.
//!
//! Owns: reading both sides and counting, table by table, what each row would meet. Rows are held against each other by
//! hashes, of as many keys at once as memory is given to. Refuses: writing; naming rows.
//! What users write meanwhile is not in it. Fails: before `setup`, where rows have no stamps yet.

use super::copy::copied_head;
use super::equal::{hash, whole};
use super::pair::{self, Pairing};
use super::{ROWS_MAX, Start};
use crate::batch;
use crate::chunk::Range;
use crate::engine::{Node, Snapshot, Target};
use crate::error::{Error, Reason, Result};
use crate::flow::first_stamp;
use crate::flow::spec::{LinkSpec, SyncSpec};
use crate::model::schema::Table;
use crate::model::sync::CatalogTable;
use crate::plan::{Address, Key, Plan, PlannedOp};
use foldhash::HashMap;
use std::cmp::Ordering;
use std::sync::Arc;

/// Some 60 MiB of hashes.
const KEYS_MAX: u64 = 1_000_000;

/// Rows of one table; here is the sync's first node, there the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Preview {
    /// As the first node calls it.
    pub table: String,
    pub only_here: u64,
    pub only_there: u64,
    pub same: u64,
    /// Of those that differ: the greater version is here, or there, or neither is greater.
    pub newer_here: u64,
    pub newer_there: u64,
    pub tie: u64,
    /// The other side cannot hold what is here.
    pub refused: u64,
    /// With `match_on`: what is paired before the rows of both sides meet. The other figures are without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairing: Option<Pairing>,
}

/// A row of this side, as the other meets it.
struct Seen {
    content: u128,
    version: i64,
}

/// One side of a table.
struct Side<'a> {
    reader: &'a mut Snapshot,
    read: Table,
    catalog: &'a CatalogTable,
}

pub async fn preview(sync: &SyncSpec) -> Result<Vec<Preview>> {
    let link = sync.link(0);
    let (source, target) = (&link.source, &link.target);
    let writer = Target::open_to_read(target.engine, &target.access).await?;
    let mut start = Start::new(Arc::clone(&link), writer);
    let mut ends = start.ends().await?;
    let options = start.options(&ends);
    let mut here = Snapshot::now(source.engine, options.clone()).await?;
    let mut options = options;
    options.access = target.access.clone();
    options.tables.clone_from(&ends.target_tables);
    let mut there = Snapshot::now(target.engine, options).await?;
    let mut node = Node::connect(&source.access, source.engine).await?;
    let sizes = node.sizes(&source.tables).await?;
    node.close().await;
    let mut previews = Vec::with_capacity(sizes.len());
    let tables: Vec<_> = ends
        .source_tables
        .iter()
        .cloned()
        .zip(ends.target_tables.clone())
        .collect();
    for ((ours, theirs), size) in tables.into_iter().zip(sizes) {
        let passage = link.passage(&ours.table.id);
        let of_us = Arc::new(passage.kept(&ours.table));
        let plan = ends
            .planner
            .plan(&of_us)
            .map_err(|error| not_set_up(error, &sync.name))?;
        let rows = size.and_then(|size| size.rows).unwrap_or(0);
        let mut preview = Preview {
            table: ours.table.id.to_string(),
            ..Preview::default()
        };
        let mut one = Side {
            reader: &mut here,
            read: Table::clone(&of_us),
            catalog: &ours,
        };
        let mut other = Side {
            reader: &mut there,
            read: passage.back().kept(&theirs.table),
            catalog: &theirs,
        };
        let parts = u128::from(rows / KEYS_MAX + 1);
        for part in 0..parts {
            let is_meant = |key: u128| key % parts == part;
            let seen = ours_of(
                &mut one,
                (&link, &plan),
                is_meant,
                (part == 0).then_some(&mut preview),
            )
            .await?;
            meet(&mut other, (&link, &plan), is_meant, seen, &mut preview).await?;
        }
        previews.push(preview);
    }
    for (place, pairing) in pair::counted(sync).await? {
        if let Some(preview) = previews.get_mut(place) {
            preview.pairing = Some(pairing);
        }
    }
    Ok(previews)
}

fn not_set_up(error: Error, sync: &str) -> Error {
    error
        .reason(Reason::Refused)
        .hint(format!("rows are told by their stamps: tidelock setup --sync {sync} --execute comes first, and changes no row"))
}

/// `counts`: where refused rows are counted, once.
async fn ours_of(
    side: &mut Side<'_>,
    (link, plan): (&LinkSpec, &Arc<Plan>),
    is_meant: impl Fn(u128) -> bool,
    mut counts: Option<&mut Preview>,
) -> Result<HashMap<u128, Seen>> {
    let (mut seen, mut bytes) = (HashMap::default(), Vec::new());
    let address = Address {
        head: copied_head(),
        ordinal: 0,
    };
    side.reader
        .open_table(&side.read, &Range::default(), None)
        .await?;
    loop {
        let rows = side.reader.rows(ROWS_MAX).await?;
        if rows.is_empty() {
            return Ok(seen);
        }
        for row in rows {
            if !plan.concerns(&row)? {
                continue;
            }
            let planned = plan.copied(&row, &address)?;
            let key = xxhash_rust::xxh3::xxh3_128(&planned.key_bytes);
            match planned.op {
                PlannedOp::Insert { row, stamp, .. } if is_meant(key) => {
                    let content = hash(plan, &row, false, &mut bytes);
                    let version = stamp.map_or(0, |stamp| first_stamp(link, plan, &row, stamp).version);
                    seen.insert(key, Seen { content, version });
                }
                PlannedOp::Refused { .. } => {
                    if let Some(counts) = &mut counts {
                        counts.refused += 1;
                    }
                }
                PlannedOp::Insert { .. } | PlannedOp::Update { .. } | PlannedOp::Delete { .. } => {}
            }
        }
    }
}

/// Holds the rows of the other side against those of this one.
async fn meet(
    side: &mut Side<'_>,
    (link, plan): (&LinkSpec, &Arc<Plan>),
    is_meant: impl Fn(u128) -> bool,
    mut seen: HashMap<u128, Seen>,
    preview: &mut Preview,
) -> Result<()> {
    let mut bytes = Vec::new();
    side.reader
        .open_table(&side.read, &Range::default(), None)
        .await?;
    loop {
        let rows = side.reader.rows(ROWS_MAX).await?;
        if rows.is_empty() {
            preview.only_here += seen.len() as u64;
            return Ok(());
        }
        for row in rows {
            let row = whole(row, &side.read, &side.catalog.table);
            let Some(key) = plan.standing_key(&row).filter(|_| plan.concerns_standing(&row)) else {
                continue;
            };
            let key = key_hash(&key);
            if is_meant(key) {
                let content = hash(plan, &row, false, &mut bytes);
                let stamp = batch::row_stamp(&plan.shape, &row);
                let version = stamp.map_or(0, |stamp| first_stamp(link, plan, &row, stamp).version);
                count(seen.remove(&key), content, version, preview);
            }
        }
    }
}

pub(super) fn key_hash(key: &Key) -> u128 {
    let mut bytes = Vec::new();
    key.iter().for_each(|value| value.key_bytes(&mut bytes));
    xxhash_rust::xxh3::xxh3_128(&bytes)
}

fn count(here: Option<Seen>, content: u128, version: i64, preview: &mut Preview) {
    let Some(here) = here else {
        preview.only_there += 1;
        return;
    };
    let which = match (here.content == content, here.version.cmp(&version)) {
        (true, _) => &mut preview.same,
        (false, Ordering::Greater) => &mut preview.newer_here,
        (false, Ordering::Less) => &mut preview.newer_there,
        (false, Ordering::Equal) => &mut preview.tie,
    };
    *which += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_what_they_meet() {
        let seen = |content, version| Some(Seen { content, version });
        let mut preview = Preview::default();
        for (here, content, version) in [
            (None, 1, 1),
            (seen(1, 5), 1, 1),
            (seen(1, 5), 2, 1),
            (seen(1, 1), 2, 5),
            (seen(1, 1), 2, 1),
        ] {
            count(here, content, version, &mut preview);
        }
        let counted = [
            preview.only_there,
            preview.same,
            preview.newer_here,
            preview.newer_there,
            preview.tie,
        ];
        assert_eq!(counted, [1; 5]);
    }
}
