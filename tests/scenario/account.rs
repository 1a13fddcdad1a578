//! What became of the writes of a contest (`contest`): a payload is still there, or what a later writer found and
//! replaced, or in the record of a conflict; a column changed alone stands; a counter is the sum of its increments.
//!
//! Which increments count: all that were made on the row that stands, on whichever node. A delete takes away what the
//! row had when its user saw it. Where a delete or an insert meets a change of another node one row stands as a whole,
//! and what the other had counted is in the arbiter's record, to the unit: that is what [`Account::counters`] holds
//! against the rows. Rows that nobody deletes have no such record: there the sum is plain.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value as Json;

use super::contest::{Entry, Field, Log, Row, is_steady, row};
use super::{Conflict, conflicts_of};

/// What became of the writes.
#[derive(Debug, Default)]
pub struct Account {
    pub commits: usize,
    /// Payloads; a delete has none.
    pub written: usize,
    pub standing: usize,
    /// Payloads that are told by conflict records alone.
    pub recorded: usize,
    /// Records of the arbiter that merged two rows.
    pub merged: usize,
    /// Counters that were held against their increments: of rows that were never deleted, and of the others.
    pub plain_sums: usize,
    pub sums_by_record: usize,
    /// Values of single columns that were replaced by somebody who had not seen them, and changed that column too.
    pub columns_lost_to_both: usize,
}

/// Panics with the story of a write that vanished without a trace. `is_merged`: the sync has the rules of
/// [`super::contest::MERGED`].
pub async fn account(field: &Field<'_>, log: &Log, is_merged: bool) -> Account {
    let mut records = vec![];
    for db in &field.nodes {
        let mut found = conflicts_of(db, field.sync).await;
        found.retain(|conflict| conflict.table == "hot");
        if let Some(open) = found.iter().find(|conflict| conflict.outcome == "open") {
            panic!("still open: {open:?}");
        }
        records.push(found);
    }
    let rows = field.nodes[0]
        .rows("SELECT payload, phone, mail, units, id FROM hot")
        .await;
    let rows: BTreeMap<u64, Row> = rows
        .into_iter()
        .map(|cells| (cells[4].as_ref().unwrap().parse().unwrap(), row(cells)))
        .collect();
    let mut account = Account {
        commits: log.entries.len(),
        ..Account::default()
    };
    let books = Books {
        field,
        entries: &log.entries,
        rows: &rows,
        records: &records,
    };
    books.payloads(&mut account).await;
    if is_merged {
        books.counters(&mut account).await;
        books.columns(&mut account).await;
    }
    account
}

/// What users of the first node wrote last stands, or what was made of it by somebody who had seen it. Returns for how many
/// rows that was to be shown.
pub async fn truth_stands(field: &Field<'_>, log: &Log) -> usize {
    let payload = |row: &Option<Row>| row.as_ref().map(|row| row.payload.clone());
    let (mut parents, mut last, mut ends) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for entry in &log.entries {
        let (before, after) = (payload(&entry.before), payload(&entry.after));
        match &after {
            Some(after) => {
                parents.insert(after.clone(), before);
            }
            // Somebody who had seen it may have deleted it.
            None => ends.entry(entry.key).or_insert_with(Vec::new).extend(before),
        }
    }
    // Those of one node are in no common order: the last one is what no user of that node replaced.
    let truth: Vec<&Entry> = log.entries.iter().filter(|entry| entry.node == 0).collect();
    let replaced: HashSet<String> = truth.iter().filter_map(|entry| payload(&entry.before)).collect();
    for entry in truth {
        if let Some(after) = payload(&entry.after).filter(|after| !replaced.contains(after)) {
            last.entry(entry.key).or_insert_with(Vec::new).push(after);
        }
    }
    for cells in field.nodes[0].rows("SELECT id, payload FROM hot").await {
        let cell = |at: usize| cells[at].clone().unwrap();
        ends.entry(cell(0).parse().unwrap()).or_default().push(cell(1));
    }
    let descends = |value: &String, of: &String| {
        let mut now = Some(value);
        while let Some(value) = now {
            if value == of {
                return true;
            }
            now = parents.get(value).and_then(Option::as_ref);
        }
        false
    };
    for (key, written) in &last {
        let ends = ends.get(key).map_or(&[][..], Vec::as_slice);
        for written in written {
            if !ends.iter().any(|end| descends(end, written)) {
                let books = Books {
                    field,
                    entries: &log.entries,
                    rows: &BTreeMap::new(),
                    records: &[],
                };
                panic!("{written:?} of the truth was lost\n{}", books.story(*key).await);
            }
        }
    }
    last.len()
}

struct Books<'a> {
    field: &'a Field<'a>,
    entries: &'a [Entry],
    rows: &'a BTreeMap<u64, Row>,
    /// By node; the first one's are the arbiter's.
    records: &'a [Vec<Conflict>],
}

impl Books<'_> {
    async fn payloads(&self, account: &mut Account) {
        let finals: HashSet<&str> = self.rows.values().map(|row| row.payload.as_str()).collect();
        let payload = |row: &'_ Option<Row>| row.as_ref().map(|row| row.payload.clone());
        let succeeded: HashSet<String> = self.entries.iter().filter_map(|e| payload(&e.before)).collect();
        let written: HashSet<String> = self.entries.iter().filter_map(|e| payload(&e.after)).collect();
        let images = self.records.iter().flatten().flat_map(images);
        let recorded: HashSet<String> = images.map(|image| text(image, "payload")).collect();
        let lost = written
            .iter()
            .filter(|p| !finals.contains(p.as_str()) && !succeeded.contains(*p));
        let lost: Vec<&String> = lost.collect();
        let vanished: Vec<&&String> = lost.iter().filter(|p| !recorded.contains(**p)).collect();
        if let Some(first) = vanished.first() {
            let of = |entry: &&Entry| payload(&entry.after).as_ref() == Some(**first);
            let key = self.entries.iter().find(of).map(|entry| entry.key).unwrap();
            let (n, all) = (vanished.len(), written.len());
            panic!(
                "{n} of {all} writes vanished, such as {first:?}\n{}",
                self.story(key).await
            );
        }
        assert!(
            finals.iter().all(|p| written.contains(*p)),
            "a payload that nobody wrote"
        );
        account.written = written.len();
        account.standing = finals.len();
        account.recorded = lost.len();
        account.merged = self.records[0].iter().filter(|c| c.outcome == "merged").count();
    }

    /// What users added, less what records say of whole rows that lost, is what stands.
    async fn counters(&self, account: &mut Account) {
        let units = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.units);
        let mut sums: BTreeMap<u64, i64> = BTreeMap::new();
        for entry in self.entries {
            *sums.entry(entry.key).or_default() += units(&entry.after) - units(&entry.before);
        }
        let mut by_record: BTreeMap<u64, i64> = BTreeMap::new();
        for conflict in &self.records[0] {
            let off = not_counted(conflict);
            let between_updates = conflict.kind == "update_origin_differs";
            assert!(
                off == 0 || !between_updates,
                "{off} units were lost between two updates: {conflict:?}"
            );
            *by_record.entry(key_of(conflict)).or_default() += off;
        }
        for (key, sum) in sums {
            let (stands, off) = (
                self.rows.get(&key).map_or(0, |row| row.units),
                by_record.get(&key).copied().unwrap_or(0),
            );
            if is_steady(key) && off != 0 || stands != sum - off {
                panic!(
                    "the counter of key {key} is {stands}; added were {sum}, and records tell of {off} that do not \
                     count\n{}",
                    self.story(key).await
                );
            }
            match is_steady(key) {
                true => account.plain_sums += 1,
                false => account.sums_by_record += 1,
            }
        }
    }

    /// A value of one column stands, or somebody replaced it who had seen it, or changed that very column as well, or
    /// its row went as a whole.
    async fn columns(&self, account: &mut Account) {
        for column in ["phone", "mail"] {
            let cell = |row: &Row| match column {
                "phone" => row.phone.clone(),
                _ => row.mail.clone(),
            };
            let mut told: HashSet<String> = self.rows.values().map(cell).collect();
            let (mut written, mut both) = (BTreeMap::new(), HashSet::new());
            for entry in self.entries {
                let (before, after) = (entry.before.as_ref().map(cell), entry.after.as_ref().map(cell));
                if before != after {
                    told.extend(before);
                    written.extend(after.map(|after| (after, entry.key)));
                }
            }
            for conflict in &self.records[0] {
                let cells = images(conflict).map(|image| text(image, column));
                let base = conflict.base.as_ref().map(|base| text(base, column));
                let is_update = conflict.kind == "update_origin_differs";
                let changed_by_both = images(conflict)
                    .skip(1)
                    .all(|image| Some(text(image, column)) != base);
                if !is_update {
                    told.extend(cells);
                } else if changed_by_both {
                    both.extend(cells);
                }
            }
            for (value, key) in written.iter().filter(|(value, _)| !told.contains(*value)) {
                if !both.contains(value) {
                    let story = self.story(*key).await;
                    panic!("{column} {value:?} was changed by one node alone and is lost\n{story}");
                }
                account.columns_lost_to_both += 1;
            }
        }
    }

    /// Everything that is known of a key.
    async fn story(&self, key: u64) -> String {
        let mut text = format!("key {key}\n");
        for entry in self.entries.iter().filter(|entry| entry.key == key) {
            text += &format!("{entry:?}\n");
        }
        for (node, db) in self.field.nodes.iter().enumerate() {
            let records = format!(
                "SELECT recorded_at, link, kind, operation, rule, outcome, base_json, local_json, incoming_json, \
                 local_version, local_origin, incoming_version, incoming_origin, source_position, detail \
                 FROM tidelock.conflict WHERE sync = '{}' AND key_json = '[{key}]' ORDER BY number",
                self.field.sync
            );
            let row = format!("SELECT * FROM hot WHERE id = {key}");
            for sql in [records, row] {
                for row in db.rows(&sql).await {
                    text += &format!("n{node}: {row:?}\n");
                }
            }
        }
        text
    }
}

/// What an arriving change would have added, less what deciding it did to the counter that stood here.
fn not_counted(conflict: &Conflict) -> i64 {
    let units = |image: &Option<Json>| image.as_ref().map_or(0, |image| number(image, "units"));
    let (base, local, incoming) = (
        units(&conflict.base),
        units(&conflict.local),
        units(&conflict.incoming),
    );
    let would = incoming - base;
    match conflict.outcome.as_str() {
        "merged" => 0,
        "applied" => would - (incoming - local),
        _ => would,
    }
}

fn key_of(conflict: &Conflict) -> u64 {
    conflict.key[0].as_u64().unwrap()
}

fn images(conflict: &Conflict) -> impl Iterator<Item = &Json> {
    let images = [&conflict.base, &conflict.local, &conflict.incoming];
    images.into_iter().flatten()
}

fn text(image: &Json, column: &str) -> String {
    image
        .get(column)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn number(image: &Json, column: &str) -> i64 {
    let cell = &image[column];
    let parsed = cell.as_str().and_then(|text| text.parse().ok());
    cell.as_i64()
        .or(parsed)
        .unwrap_or_else(|| panic!("{column} in {image}"))
}
