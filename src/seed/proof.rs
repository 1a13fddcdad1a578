//! Which rows their mapping refuses, on the data of every node, before anything is written.
//!
//! Owns: reading the tables of which columns have other values on another node or are computed there, and putting each row that the node sends through the plan of its way, as a first copy does. Only the columns
//! that this takes are read, and stamps are none of them: it is the same before `setup` and after.
//! Refuses: writing; showing a cell that is no key (keys cannot be masked). Does not fail: what could not be read is
//! told as such ([`Proof::not_read`]).

use super::ROWS_MAX;
use crate::access::SourceOptions;
use crate::chunk::Range;
use crate::ddl;
use crate::engine::Snapshot;
use crate::error::{Error, Result};
use crate::expr::Filter;
use crate::flow::fit::Held;
use crate::flow::spec::{LinkSpec, SyncSpec};
use crate::mapping::Passage;
use crate::mapping::formula::Computed;
use crate::model::schema::{Column, ColumnType, Engine, Table, TableId};
use crate::model::sync::{CatalogTable, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use crate::plan::Plan;
use crate::plan::evidence::cell_text;
use std::sync::Arc;

/// Keys that are named of the rows that one reason refuses.
const KEYS_MAX: usize = 5;
/// Reasons of one table that are told apart.
const REASONS_MAX: usize = 20;

/// What became of the rows of one table on their way from one node to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Proof {
    /// As the node that has the rows calls it.
    pub table: String,
    pub node: String,
    pub to: String,
    /// Rows that the node sends, and those of them that would be refused.
    pub rows: u64,
    pub refused: u64,
    pub reasons: Vec<Reason>,
    /// Why the rows were not all read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_read: Option<String>,
    /// The table's name in the configuration.
    #[serde(skip)]
    pub section: String,
}

/// Rows that are refused for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// As the node whose table does not take the value calls it.
    pub column: String,
    pub why: String,
    pub rows: u64,
    /// The first of them: `id = 7`.
    pub keys: Vec<String>,
    #[serde(skip)]
    pub setting: String,
    #[serde(skip)]
    pub fix: String,
}

impl Proof {
    fn refuse(&mut self, column: &str, why: &str, key: impl FnOnce() -> String) {
        self.refused += 1;
        let known = self
            .reasons
            .iter()
            .position(|reason| reason.column == column && reason.why == why);
        let place = match known {
            Some(place) => place,
            None if self.reasons.len() < REASONS_MAX => {
                self.reasons.push(Reason {
                    column: column.to_owned(),
                    why: why.to_owned(),
                    ..Reason::default()
                });
                self.reasons.len() - 1
            }
            None => return,
        };
        let reason = &mut self.reasons[place];
        reason.rows += 1;
        if reason.keys.len() < KEYS_MAX {
            reason.keys.push(key());
        }
    }

    /// Says of each reason what of the configuration it is about, and what mends it.
    fn explain(&mut self, passage: &Passage, id: &TableId, engine: Engine) {
        let (node, to) = (self.node.clone(), self.to.clone());
        let section = format!(
            "the section [sync.table] of {} in the configuration",
            self.section
        );
        for reason in &mut self.reasons {
            let of = |(name, computed): (&str, &Computed)| {
                (name == reason.column).then(|| computed.column.clone())
            };
            let there = passage
                .computed()
                .find_map(of)
                .map(|column| format!("to.{to}.{column}"));
            let back = passage
                .computed_back()
                .find_map(of)
                .map(|column| format!("to.{node}.{column}"));
            if let Some(setting) = there.or(back) {
                reason.fix = format!("change these rows, or {setting} in {section}");
                reason.setting = setting;
                continue;
            }
            reason.setting = format!("column.{}", passage.back().called(&reason.column));
            let words = passage
                .translations()
                .find(|(_, there, _)| *there == reason.column);
            reason.fix = match words {
                Some((here, ..)) => format!(
                    "add what is missing to values in {section}, or change these rows; on node {node}: SELECT {0}, count(*) FROM {1} GROUP BY {0};",
                    ddl::quote(here, engine),
                    ddl::table_name(id, engine)
                ),
                None => format!("change these rows, or the column's type on node {to}"),
            };
        }
    }
}

/// A table on its way over one link, as far as it can go.
struct Way {
    link: Arc<LinkSpec>,
    proof: Proof,
    plan: Option<Plan>,
}

/// What is read of a table.
struct Reading {
    read: Table,
    /// Where its columns stand in the plan's table.
    places: Vec<usize>,
    width: usize,
    filter: Option<Filter>,
}

/// `sides`: by node; `None`: it was not reached. `told`: node, table, rows so far.
pub async fn prove(
    spec: &SyncSpec,
    sides: &[Option<Held<'_>>],
    told: &(dyn Fn(&str, &str, u64) + Sync),
) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for (from, node) in spec.nodes.iter().enumerate() {
        let links = (0..spec.links.len()).filter(|link| spec.links[*link].0 == from);
        let links: Vec<(Arc<LinkSpec>, usize)> =
            links.map(|link| (spec.link(link), spec.links[link].1)).collect();
        for (table, id) in node.tables.iter().enumerate() {
            let held = sides[from].as_ref();
            let mapped = links.iter().filter(|(link, _)| is_mapped(&link.passage(id)));
            let mut ways: Vec<Way> = mapped
                .map(|(link, to)| Way::of(link, (held, sides[*to].as_ref()), table))
                .collect();
            let catalog = held.and_then(|held| Some((held.engine, held.tables.get(table)?.as_ref()?)));
            if let (Some(catalog), true) = (catalog, ways.iter().any(|way| way.plan.is_some())) {
                let why = read(catalog, &mut ways, told)
                    .await
                    .err()
                    .map(|error| error.to_string());
                for way in ways.iter_mut().filter(|way| way.plan.is_some()) {
                    way.proof.not_read.clone_from(&why);
                    way.proof.explain(&way.link.passage(id), id, catalog.0);
                }
            }
            proofs.extend(ways.into_iter().map(|way| way.proof));
        }
    }
    proofs
}

/// Is there anything to prove?
pub fn has_mapped(spec: &SyncSpec) -> bool {
    let is_any = |link: usize| spec.link(link).passages.values().any(is_mapped);
    (0..spec.links.len()).any(is_any)
}

/// Is there anything in it that a row might not come through?
fn is_mapped(passage: &Passage) -> bool {
    passage.translations().next().is_some()
        || passage.computed().next().is_some()
        || passage.computed_back().next().is_some()
}

impl Way {
    fn of(
        link: &Arc<LinkSpec>,
        (source, target): (Option<&Held<'_>>, Option<&Held<'_>>),
        table: usize,
    ) -> Way {
        let passage = link.passage(&link.source.tables[table]);
        let mut proof = Proof {
            table: link.source.tables[table].to_string(),
            node: link.source.name.clone(),
            to: link.target.name.clone(),
            section: passage.table.clone(),
            ..Proof::default()
        };
        let plan = match (source, target) {
            (Some(source), Some(target)) => match (held(source, table), held(target, table)) {
                (Some(here), Some(there)) => {
                    let (here, there) = (Arc::new(stamped(here)), Arc::new(stamped(there)));
                    Plan::compile(
                        &here,
                        source.engine,
                        &there,
                        target.engine,
                        link.is_merge(),
                        &passage,
                    )
                    .map_err(|error| error.to_string())
                }
                (None, _) | (_, None) => {
                    Err("the table is not on both nodes, or this account may not see it".to_owned())
                }
            },
            (None, _) | (_, None) => Err("one of the two nodes was not reached".to_owned()),
        };
        Way {
            link: Arc::clone(link),
            plan: plan.map_err(|why| proof.not_read = Some(why)).ok(),
            proof,
        }
    }
}

fn held<'a>(side: &'a Held<'_>, table: usize) -> Option<&'a Table> {
    side.tables.get(table)?.as_ref().map(|known| &known.table)
}

/// The table with stamp columns behind its own, whether or not `setup` has made them: no row is asked for them.
fn stamped(table: &Table) -> Table {
    let mut stamped = only(table, |column| {
        ![VERSION_COLUMN, ORIGIN_COLUMN].contains(&column.name.as_str())
    });
    let stamps = [(VERSION_COLUMN, 64), (ORIGIN_COLUMN, 16)];
    stamped.columns.extend(stamps.map(|(name, bits)| Column {
        name: name.to_owned(),
        ty: ColumnType::Int {
            bits,
            unsigned: false,
        },
        sql_type: String::new(),
        collation: String::new(),
        nullable: false,
        generated: false,
        has_default: true,
    }));
    stamped
}

/// The table with some of its columns.
fn only(table: &Table, is_meant: impl Fn(&Column) -> bool) -> Table {
    let kept: Vec<usize> = (0..table.columns.len())
        .filter(|place| is_meant(&table.columns[*place]))
        .collect();
    let moved = |key: &Vec<usize>| {
        let places = key
            .iter()
            .map(|place| kept.iter().position(|known| known == place));
        places.collect::<Option<Vec<usize>>>()
    };
    Table {
        id: table.id.clone(),
        external: table.external.clone(),
        columns: kept.iter().map(|place| table.columns[*place].clone()).collect(),
        key: moved(&table.key).unwrap_or_default(),
        uniques: table.uniques.iter().filter_map(moved).collect(),
    }
}

impl Reading {
    fn of(catalog: &CatalogTable, passage: &Passage) -> Result<Reading> {
        let whole = stamped(&catalog.table);
        let needed = needed(passage);
        let read = only(&catalog.table, |column| {
            let is_key = catalog
                .table
                .key
                .iter()
                .any(|place| catalog.table.columns[*place].name == column.name);
            !column.generated && (is_key || needed.contains(&column.name))
        });
        let places = read
            .columns
            .iter()
            .filter_map(|column| whole.column(&column.name));
        let filter = passage
            .mapping()
            .sent_by(passage.source(), passage.source(), &read);
        let filter = filter.map_err(|unfit| {
            let why = format!("the row filter reads {}: {}", unfit.part, unfit.why);
            Error::definite("read rows").table(&read.id).why(why)
        })?;
        Ok(Reading {
            places: places.collect(),
            width: whole.columns.len(),
            filter,
            read,
        })
    }

    /// What was not read was not sent.
    fn row(&self, read: &Row, ways: &mut [Way]) -> Result<()> {
        let mut cells: Vec<Option<Value>> = vec![None; self.width];
        for (index, place) in self.places.iter().enumerate() {
            cells[*place] = read.get(index).cloned();
        }
        let row = Row(cells.into_boxed_slice());
        for Way { proof, plan, .. } in ways {
            let Some(plan) = plan else { continue };
            if !plan.takes(&row)? {
                continue;
            }
            proof.rows += 1;
            if let Some(refusal) = plan.refusal(&row) {
                proof.refuse(&refusal.column, &refusal.why, || self.key(read));
            }
        }
        Ok(())
    }

    /// `id = 7`, or `(region, number) = (CA, 7)`.
    fn key(&self, read: &Row) -> String {
        let key = self.read.key.iter();
        let cell = |place: &usize| read.get(*place).map_or_else(String::new, cell_text);
        let (names, cells): (Vec<&str>, Vec<String>) = key
            .map(|place| (self.read.columns[*place].name.as_str(), cell(place)))
            .unzip();
        match names[..] {
            [] => "a row without a key".to_owned(),
            [name] => format!("{name} = {}", cells.concat()),
            _ => format!("({}) = ({})", names.join(", "), cells.join(", ")),
        }
    }
}

/// The source's names of the columns that the mapping and the row filter read or write.
fn needed(passage: &Passage) -> Vec<String> {
    let (mapping, node) = (passage.mapping(), passage.source());
    let mut names = mapping.read_columns(node);
    names.extend(
        mapping
            .values
            .iter()
            .filter_map(|map| map.names.get(node).cloned()),
    );
    for computed in &mapping.computed {
        let columns = computed
            .expr
            .columns()
            .into_iter()
            .chain([computed.column.as_str()]);
        names.extend(columns.map(|column| mapping.name_on(node, column).to_owned()));
    }
    names
}

async fn read(
    (engine, catalog): (Engine, &CatalogTable),
    ways: &mut [Way],
    told: &(dyn Fn(&str, &str, u64) + Sync),
) -> Result<()> {
    let link = Arc::clone(&ways[0].link);
    let passage = link.passage(&catalog.table.id);
    let reading = Reading::of(catalog, &passage)?;
    let options = SourceOptions {
        access: link.source.access.clone(),
        sync: link.sync.clone(),
        target: link.target.name.clone(),
        tables: vec![Arc::new(catalog.clone())],
        mode: link.mode,
        onward: link.onward,
        fresh: false,
        spill: link.limits.spill.clone(),
        stream: false,
        keep: None,
    };
    // Rows are proven one by one, so each table may be of its own moment.
    let mut snapshot = Snapshot::image(engine, options).await?;
    // Another way may have another condition.
    let filter = reading.filter.as_ref().filter(|_| ways.len() == 1);
    snapshot
        .open_table(&reading.read, &Range::default(), filter)
        .await?;
    let mut count = 0;
    loop {
        let rows = snapshot.rows(ROWS_MAX).await?;
        if rows.is_empty() {
            return snapshot.close().await.map(|_| ());
        }
        count += rows.len() as u64;
        told(&link.source.name, &catalog.table.id.to_string(), count);
        for read in &rows {
            reading.row(read, ways)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart_and_few_rows_of_each_are_named() {
        let mut proof = Proof::default();
        for number in 0..30 {
            proof.refuse("a", "one", || format!("id = {number}"));
            proof.refuse("a", &format!("other {number}"), || "id = 0".to_owned());
        }
        assert_eq!((proof.refused, proof.reasons.len()), (60, REASONS_MAX));
        assert_eq!(
            (proof.reasons[0].rows, proof.reasons[0].keys.len()),
            (30, KEYS_MAX)
        );
        assert_eq!(proof.reasons[0].keys[4], "id = 4");
    }
}
