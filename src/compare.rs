//! Do the tables of two nodes fit together? Every difference that matters, each with the DDL that mends it.
//!
//! Owns: missing tables and columns, keys, types, NULLs, uniques and collations of keys, for `check` and at the start
//! of `run`. Pure: the catalogs are read before.
//! Refuses: what one node can tell alone (settings, grants, triggers; see the engines' `setup`).
//! Codes: E355 a row filter does not fit, E356 a mapping of columns does not fit, E357 an owner does not fit, E358 values of a column do not fit, E359 a computed column does not fit, E366 an external id does not fit, E601 a mask does not fit; E301 no key and E302 table missing (as the nodes' own checks say it, with the DDL from the other side), E504
//! column missing, E505 column without a value, E335 column that no UPDATE may set, E506 keys differ, E507 type refused, E508 type in a key; W511 NULL,
//! W512 type with a condition, W513 unique, W514 collation of a key, W515 generated column, W463 both sides count the key.

mod external;
mod formulas;
mod misspelt;
mod owners;
pub mod rules;
mod uniques;
mod values;

use crate::ddl;
use crate::mapping::{Passage, Place};
use crate::model::schema::{Column, ColumnType, Engine, Table, TableId};
use crate::model::sync::{CatalogTable, Counter, Finding, Level, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::schema::create;
use crate::typemap::{self, Verdict};
use std::collections::BTreeSet;

/// The code of the finding that both nodes number a table's rows.
pub const COUNTED: &str = "W463";

/// One node's tables, in the order of the sync.
pub struct Side<'a> {
    pub node: &'a str,
    pub engine: Engine,
    pub ids: &'a [TableId],
    /// `None` = there is no such table.
    pub tables: &'a [Option<CatalogTable>],
}

/// The nodes' places among all of the sync, from 1: as many as there are share the numbers of a counted key.
#[derive(Debug, Clone, Copy)]
pub struct Numbering {
    pub of: usize,
    pub from: usize,
    pub to: usize,
}

impl Numbering {
    /// Two nodes.
    pub const PAIR: Numbering = Numbering {
        of: 2,
        from: 1,
        to: 2,
    };
}

/// `two_way`: rows also flow from `target` to `source`. `passages` are from `source` to `target`, one per table, or
/// none where all are plain. A pair without a difference gives one Ok line.
pub fn compare(
    source: &Side<'_>,
    target: &Side<'_>,
    two_way: Option<Numbering>,
    passages: &[Passage],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pairs = source
        .ids
        .iter()
        .zip(source.tables)
        .zip(target.ids.iter().zip(target.tables));
    let plain = Passage::default();
    for (index, ((source_id, source_table), (target_id, target_table))) in pairs.enumerate() {
        let passage = passages.get(index).unwrap_or(&plain);
        let before = findings.len();
        let from = End::new(source, source_id, source_table.as_ref());
        let to = End::new(target, target_id, target_table.as_ref());
        table(&from, &to, two_way, passage, &mut findings);
        let found = &findings[before..];
        let is_blocked = found.iter().any(|finding| finding.level == Level::Blocker);
        let is_troubled = found.iter().any(|finding| finding.fix.is_some());
        let mut nodes = [(passage.source(), source.node), (passage.target(), target.node)];
        nodes.sort_unstable();
        let words = passage.mapping().words(&nodes);
        if is_blocked || (is_troubled && words.is_empty()) {
            continue;
        }
        let arrow = if two_way.is_some() { "<->" } else { "->" };
        let fit = if is_troubled { "" } else { " fit together" };
        let mut what = format!("{source_id} {arrow} {}:{target_id}{fit}", target.node);
        for words in words {
            what.push_str(&format!("; {words}"));
        }
        findings.push(Finding::ok(source.node, what).table(source_id));
    }
    findings
}

/// One side of a pair.
struct End<'a> {
    node: &'a str,
    engine: Engine,
    id: &'a TableId,
    table: Option<&'a Table>,
    /// Columns that no UPDATE may set.
    always: &'a [String],
    counter: Option<&'a Counter>,
}

impl<'a> End<'a> {
    fn new(side: &Side<'a>, id: &'a TableId, table: Option<&'a CatalogTable>) -> Self {
        End {
            node: side.node,
            engine: side.engine,
            id,
            table: table.map(|found| &found.table),
            always: table.map_or(&[], |found| &found.always),
            counter: table
                .filter(|found| found.table.external.is_none())
                .and_then(|found| found.counter.as_ref()),
        }
    }

    fn blocker(&self, code: &'static str, what: String, fix: impl Into<String>) -> Finding {
        Finding::blocker(code, self.node, what).table(self.id).fix(fix)
    }

    fn warning(&self, code: &'static str, what: String, fix: impl Into<String>) -> Finding {
        Finding::warning(code, self.node, what).table(self.id).fix(fix)
    }
}

fn table(
    from: &End<'_>,
    to: &End<'_>,
    two_way: Option<Numbering>,
    passage: &Passage,
    findings: &mut Vec<Finding>,
) {
    let (source, target) = match (from.table, to.table) {
        (Some(source), Some(target)) => (source, target),
        (None, None) => {
            for end in [from, to] {
                let fix = format!(
                    "create {} on both nodes, or take it out of the sync's tables",
                    end.id
                );
                let what = "the table exists on neither node".to_owned();
                findings.push(end.blocker("E302", what, fix).setting(""));
            }
            return;
        }
        (Some(present), None) => return findings.push(missing(from, &passage.there(present), to)),
        (None, Some(present)) => return findings.push(missing(to, &passage.back().there(present), from)),
    };
    let back = passage.back();
    let before = findings.len();
    mapped(from, source, passage, findings);
    mapped(to, target, &back, findings);
    let merges = two_way.is_some();
    formulas::fit((from, source), (to, target), passage, merges, findings);
    if merges {
        formulas::fit((to, target), (from, source), &back, merges, findings);
    }
    // What is said of a wrong mapping is told by the section, not by what it makes of the tables.
    if findings.len() > before {
        return;
    }
    let (forth, home) = (passage.there(source), back.there(target));
    if !passage.mapping().split {
        counted(from, to, two_way, findings);
    }
    let before = findings.len();
    misspelt::told(from, &forth, to, target, &back, findings);
    // Everything else about such a column would be said of what is a second one to the servers.
    if findings.len() > before {
        return;
    }
    // Of an image whole tables are compared, byte by byte.
    if !passage.is_imaging() {
        keys(from, source, &forth, to, target, &home, findings);
        collations(from, source, &home, findings);
        collations(to, target, &forth, findings);
    }
    let way = |from, to, back| Way {
        from,
        to,
        back,
        merges,
    };
    let ways = [
        (way(from, to, &back), &forth, target),
        (way(to, from, passage), &home, source),
    ];
    for (way, sent, there) in ways.iter().take(if merges { 2 } else { 1 }) {
        way.columns(sent, there, findings);
    }
    uniques::fit(from, &forth, to, target, &back, findings);
    if two_way.is_some() {
        uniques::fit(to, &home, from, source, passage, findings);
    }
}

/// Does the mapping fit this node's table?
fn mapped(end: &End<'_>, table: &Table, passage: &Passage, findings: &mut Vec<Finding>) {
    let section = format!(
        "the section [sync.table] of {} in the configuration",
        passage.table
    );
    for column in &passage.mapping().columns {
        let name = passage.mapping().name_on(passage.source(), &column.name);
        let Some(place) = table.column(name) else {
            // What stays behind may be on one side only.
            if !column.skip {
                let what = format!("column {name:?} is mapped, and there is no such column");
                let finding = end.blocker("E356", what, format!("correct {section}"));
                findings.push(finding.setting(format!("column.{}", column.name)));
            }
            continue;
        };
        // Under this name the node may have another column, which is carried.
        let stays = passage.place(name) == Place::Skipped;
        if column.skip && stays && table.key.contains(&place) {
            let what =
                format!("column {name:?} is skipped, and is part of the primary key: it names the row");
            let finding = end.blocker("E356", what, format!("take skip out of {section}"));
            findings.push(finding.setting(format!("column.{}.skip", column.name)));
        }
    }
    for (name, _) in passage.masks() {
        let skipped = passage.place(name) == Place::Skipped;
        let what = match table.column(name) {
            Some(place) if table.key.contains(&place) => {
                format!("column {name:?} is masked and part of the key, which names the row in every record")
            }
            None if !skipped && !passage.is_loose(name) => {
                format!("column {name:?} is masked, and there is none")
            }
            Some(_) | None => continue,
        };
        let fix = format!("take mask off, or correct the name, in {section}");
        let column = format!("column.{}.mask", passage.called(name));
        findings.push(end.blocker("E601", what, fix).setting(column));
    }
    for column in &table.columns {
        if let Place::Taken(other) = passage.place(&column.name) {
            let what = format!(
                "columns {:?} and {other:?} would both be column {:?} of the other node",
                column.name, column.name
            );
            let fix = format!("skip {:?} or give it another name in {section}", column.name);
            let there = format!("column.{}", passage.back().called(&column.name));
            findings.push(end.blocker("E356", what, fix).setting(there));
        }
    }
    external::fit(end, table, passage, findings);
    owners::fit(end, table, passage, findings);
    values::fit(end, table, passage, findings);
    if let Err(unfit) = passage.fits(table) {
        let what = format!("the row filter reads {}: {}", unfit.part, unfit.why);
        let finding = end.blocker("E355", what, format!("correct where in {section}"));
        findings.push(finding.setting("where"));
    }
}

/// Rows that were inserted on both sides at one time must not get one number: they would be one row.
fn counted(from: &End<'_>, to: &End<'_>, two_way: Option<Numbering>, findings: &mut Vec<Finding>) {
    let (Some(numbering), Some(here), Some(there)) = (two_way, from.counter, to.counter) else {
        return;
    };
    if !here.meets(there) {
        return;
    }
    let what = format!(
        "key column {:?} gets its numbers on both nodes, and both can give the same: of two rows with one number one \
         overwrites the other",
        here.column
    );
    let (how, all) = match numbering.of {
        2 => ("odd numbers here, even ones there".to_owned(), "both hold"),
        of => (format!("every {of}th number for each node"), "all hold"),
    };
    let fix = format!(
        "ids = \"split\" in the configuration, and `tidelock setup --execute`; or by hand, {how}; on node {}: {} on node {}: {} (once {all} the same rows)",
        from.node,
        every_nth(from, here, numbering.of, numbering.from),
        to.node,
        every_nth(to, there, numbering.of, numbering.to)
    );
    findings.push(from.warning(COUNTED, what, fix));
}

/// Counts on from what is there by so many, beginning at this place among them.
fn every_nth(end: &End<'_>, counter: &Counter, step: usize, first: usize) -> String {
    match end.engine {
        Engine::Postgres => format!(
            "ALTER SEQUENCE {} INCREMENT BY {step}; SELECT setval('{}', (SELECT coalesce(max({}), 0) / {step} * {step} + {first} FROM {}));",
            counter.sequence,
            counter.sequence.replace('\'', "''"),
            ddl::quote(&counter.column, end.engine),
            ddl::table_name(end.id, end.engine)
        ),
        Engine::Mysql => {
            format!(
                "SET PERSIST auto_increment_increment = {step}; SET PERSIST auto_increment_offset = {first};"
            )
        }
        Engine::Mariadb => format!(
            "SET GLOBAL auto_increment_increment = {step}; SET GLOBAL auto_increment_offset = {first}; and the same in my.cnf;"
        ),
    }
}

/// `present` is as the node that lacks it would call it.
fn missing(there: &End<'_>, present: &Table, here: &End<'_>) -> Finding {
    let create = create::plain(present, there.engine, here.id, here.engine);
    let fix = match create {
        Some(create) => format!(
            "{create} -- with defaults, indexes and all else: tidelock schema create --on {}",
            here.node
        ),
        None => format!(
            "give {} on node {} a key of types that {} also has",
            there.id, there.node, here.engine
        ),
    };
    let what = format!("the table is missing; node {} has it", there.node);
    here.blocker("E302", what, fix).setting("names")
}

fn key_names(table: &Table) -> Vec<String> {
    table
        .key
        .iter()
        .filter_map(|index| table.columns.get(*index))
        .map(|column| column.name.clone())
        .collect()
}

/// A unique index over columns that are never NULL would do as the key.
fn candidate(table: Option<&Table>) -> Option<Vec<String>> {
    let table = table?;
    let columns = |unique: &Vec<usize>| -> Option<Vec<String>> {
        let found = unique.iter().filter_map(|index| table.columns.get(*index));
        let names: Vec<String> = found.filter(|c| !c.nullable).map(|c| c.name.clone()).collect();
        (!unique.is_empty() && names.len() == unique.len()).then_some(names)
    };
    table.uniques.iter().find_map(columns)
}

/// `forth`: the source's table as the target calls it; `home`: the target's as the source does.
fn keys(
    from: &End<'_>,
    source: &Table,
    forth: &Table,
    to: &End<'_>,
    target: &Table,
    home: &Table,
    findings: &mut Vec<Finding>,
) {
    let (ours, theirs) = (key_names(forth), key_names(target));
    for (end, own, other) in [(from, &ours, &key_names(home)), (to, &theirs, &ours)] {
        if own.is_empty() {
            let fix = if let (true, Some(columns)) = (other.is_empty(), candidate(end.table)) {
                ddl::add_primary_key(end.id, &columns, false, end.engine)
            } else if other.is_empty() {
                let columns = ["COLUMN".to_owned()];
                format!(
                    "{} -- COLUMN: what identifies a row",
                    ddl::add_primary_key(end.id, &columns, false, end.engine)
                )
            } else {
                ddl::add_primary_key(end.id, other, false, end.engine)
            };
            let what = "the table has no primary key, so its rows cannot be told apart".to_owned();
            findings.push(end.blocker("E301", what, fix));
        }
    }
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (ours.iter().collect(), theirs.iter().collect());
    if !ours.is_empty() && !theirs.is_empty() && a != b {
        let what = format!(
            "the primary key is ({}), on node {} it is ({})",
            theirs.join(", "),
            from.node,
            ours.join(", ")
        );
        findings.push(to.blocker("E506", what, ddl::add_primary_key(to.id, &ours, true, to.engine)));
        return;
    }
    for (end, table) in [(from, source), (to, target)] {
        for column in table.key.iter().filter_map(|index| table.columns.get(*index)) {
            if let Err(why) = typemap::can_be_key(&column.ty, end.engine) {
                let fix = format!("give {} a key of other columns, on both nodes", end.id);
                findings.push(end.blocker("E508", format!("column {:?}: {why}", column.name), fix));
            }
        }
    }
}

/// Two keys that one engine keeps apart and the other calls equal would fight for one row.
fn collations(end: &End<'_>, table: &Table, other: &Table, findings: &mut Vec<Finding>) {
    for column in table.key.iter().filter_map(|index| table.columns.get(*index)) {
        let there = other
            .column(&column.name)
            .and_then(|index| other.columns.get(index));
        let differs = there.is_some_and(|there| there.collation != column.collation);
        if !differs || is_exact(&column.collation) {
            continue;
        }
        let exact = ddl::exact_collation(end.engine);
        let ty = format!("{} COLLATE {exact}", column.sql_type);
        let what = format!(
            "key column {:?} has collation {}: texts that differ in case or trailing blanks may be one key here and two on the other node",
            column.name, column.collation
        );
        findings.push(end.warning("W514", what, ddl::change_type(end.id, column, &ty, end.engine)));
    }
}

fn is_exact(collation: &str) -> bool {
    collation.is_empty() || ["binary", "utf8mb4_0900_bin", "utf8mb4_nopad_bin"].contains(&collation)
}

fn is_stamp(column: &Column) -> bool {
    column.name == VERSION_COLUMN || column.name == ORIGIN_COLUMN
}

/// A generated column is in a binlog, but not in PostgreSQL's stream.
fn is_sent(column: &Column, engine: Engine) -> bool {
    !(column.generated && engine == Engine::Postgres)
}

/// One direction between two tables.
struct Way<'a> {
    from: &'a End<'a>,
    to: &'a End<'a>,
    /// What the sending node calls the other's columns.
    back: &'a Passage,
    /// There is a way back, by which what was lost would come.
    merges: bool,
}

impl Way<'_> {
    /// `source` is as the target calls it.
    fn columns(&self, source: &Table, target: &Table, findings: &mut Vec<Finding>) {
        let (from, to) = (self.from, self.to);
        for column in source.columns.iter().filter(|column| !is_stamp(column)) {
            let counterpart = target
                .column(&column.name)
                .and_then(|index| target.columns.get(index));
            match counterpart {
                None if self.passage().needs_no_place(self.own(&column.name), target) => {}
                Some(counterpart) if self.passage().is_computed(&counterpart.name) => {}
                None => findings.push(self.absent(column, source, target)),
                Some(counterpart) if counterpart.generated => {}
                Some(counterpart) if is_sent(column, from.engine) => {
                    settable(to, target, counterpart, findings);
                    let is_key = target
                        .key
                        .iter()
                        .any(|place| target.columns[*place].name == column.name);
                    let is_translated = self.back.translations().any(|(name, ..)| name == column.name);
                    match self.back.losses().any(|(name, _)| name == column.name) {
                        _ if is_translated => self.null(column, counterpart, findings),
                        true => findings.push(self.consented(column, counterpart, is_key, target)),
                        false => self.pair(column, counterpart, findings),
                    }
                }
                Some(counterpart) => unfilled(from, to, counterpart, findings),
            }
        }
        for column in target
            .columns
            .iter()
            .filter(|column| !is_stamp(column) && !column.generated)
        {
            if source.column(&column.name).is_none() && !self.passage().is_computed(&column.name) {
                unfilled(from, to, column, findings);
            }
        }
    }

    fn passage(&self) -> Passage {
        self.back.back()
    }

    /// The sending node's name of a column of the other.
    fn own<'b>(&'b self, column: &'b str) -> &'b str {
        match self.back.place(column) {
            Place::Named(own) => own,
            Place::Skipped | Place::Taken(_) => column,
        }
    }

    /// `source` is as the target calls it.
    fn absent(&self, column: &Column, source: &Table, target: &Table) -> Finding {
        let (from, to) = (self.from, self.to);
        if !is_sent(column, from.engine) {
            let what = format!(
                "column {:?} is generated on node {} and stays there",
                column.name, from.node
            );
            return Finding::warning("W515", to.node, what).table(to.id);
        }
        let mut what = format!("column {:?} is missing; node {} has it", column.name, from.node);
        if let Some(name) = made_type(column, from, to) {
            what.push_str(&format!(
                ", of type {name}: make that first where it is not (CREATE TYPE, CREATE EXTENSION)"
            ));
        }
        let Some(add) = ddl::add_column(to.id, column, from.engine, to.engine) else {
            return self.of_column(column, to.blocker("E504", what, self.unheld(column)));
        };
        if column.has_default {
            what.push_str(
                "; give it the same DEFAULT: what a default gave to rows that were there is in no log",
            );
        }
        // It may have been renamed: then a new one would lack what is under the old name.
        let was = target.columns.iter().find(|there| {
            let is_left = source.column(&there.name).is_none() && !there.generated && !is_stamp(there);
            is_left && typemap::verdict(column, from.engine, there, to.engine) == Verdict::Exact
        });
        let fix = match was {
            Some(was) => format!(
                "if it is column {:?} renamed: {} if it is new: {add}",
                was.name,
                ddl::rename_column(to.id, &was.name, &column.name, to.engine)
            ),
            None => add,
        };
        self.of_column(column, to.blocker("E504", what, fix))
    }

    /// `column` is as the target calls it.
    fn of_column(&self, column: &Column, finding: Finding) -> Finding {
        finding.setting(format!("column.{}", self.back.called(&column.name)))
    }

    /// A condition that no other type of the target would lift is none to tell.
    fn pair(&self, column: &Column, counterpart: &Column, findings: &mut Vec<Finding>) {
        let (from, to, name) = (self.from, self.to, &column.name);
        match typemap::verdict(column, from.engine, counterpart, to.engine) {
            Verdict::Exact => {}
            Verdict::ExactIf(condition) => {
                let is_widest =
                    ddl::ddl_type(&column.ty, to.engine) == ddl::ddl_type(&counterpart.ty, to.engine);
                if !is_widest {
                    let what = format!(
                        "column {name:?}: values from node {} are carried if: {condition}{REFUSED}",
                        from.node
                    );
                    findings.push(to.warning("W512", what, self.hold_both(column)));
                }
            }
            Verdict::Lossy(why) => {
                let what = format!("column {name:?} would lose what node {} has: {why}", from.node);
                let mend = self.mend(column, counterpart);
                findings.push(to.blocker("E509", what, self.consent(column, &mend)));
            }
            Verdict::Refused(why) => {
                let what = format!(
                    "column {name:?} cannot take the values of node {}: {why}",
                    from.node
                );
                findings.push(to.blocker("E507", what, self.mend(column, counterpart)));
            }
        }
        self.null(column, counterpart, findings);
    }

    fn null(&self, column: &Column, counterpart: &Column, findings: &mut Vec<Finding>) {
        let (from, to, name) = (self.from, self.to, &column.name);
        // Rows in which the other's key is NULL are not sent.
        let external = from.table.and_then(|table| table.external.as_ref());
        let is_key = external.is_some_and(|external| external.column == self.own(&column.name));
        if column.nullable && !counterpart.nullable && !is_key {
            let what = format!("column {name:?} takes no NULL, on node {} it does", from.node);
            findings.push(to.warning("W511", what, ddl::allow_null(to.id, counterpart, to.engine)));
        }
    }

    /// The line that consents, where no merge forbids it, beside the statement that makes it needless.
    fn consent(&self, column: &Column, mend: &str) -> String {
        if self.merges {
            return mend.to_owned();
        }
        let columns = &self.back.mapping().columns;
        let named = columns
            .iter()
            .find(|known| known.names.get(self.back.source()) == Some(&column.name));
        let name = toml::Value::from(named.map_or(column.name.as_str(), |known| known.name.as_str()));
        let (table, plain) = (&self.back.table, |c: char| {
            c.is_ascii_alphanumeric() || c == '_' || c == '-'
        });
        let bare = |name: &str| !name.is_empty() && name.chars().all(plain);
        let key = match name.as_str().filter(|name| bare(name)) {
            Some(name) => name.to_owned(),
            None => name.to_string(),
        };
        let section = if bare(table) {
            table.clone()
        } else {
            format!("{table:?}")
        };
        format!(
            "consent to it in the configuration: [sync.table.{section}] column.{key} = {{ lossy = true }} -- or: {mend}"
        )
    }

    /// A column with `lossy = true`.
    fn consented(&self, column: &Column, counterpart: &Column, is_key: bool, target: &Table) -> Finding {
        let (from, to, name) = (self.from, self.to, &column.name);
        let mut uniques = target.uniques.iter().flatten();
        let is_unique = uniques.any(|place| target.columns[*place].name == *name);
        let why = match typemap::loss(&column.ty, from.engine, counterpart, to.engine) {
            Some(_) if self.merges => "in a merge, where what was lost would come back as a change",
            Some(_) if is_key => "as part of the key: two rows could become one",
            Some(_) if is_unique => {
                "as part of a unique key: two values could become one, and the second row be refused"
            }
            Some(loss) => {
                let what = format!(
                    "column {name:?} may lose what node {} has: {}",
                    from.node,
                    loss.words()
                );
                return Finding::ok(to.node, what).table(to.id);
            }
            None => "and nothing that it has may be lost on the way",
        };
        let what = format!("column {name:?} is lossy, {why}");
        let fix = format!(
            "take lossy out of the section [sync.table] of {} in the configuration",
            self.back.table
        );
        self.of_column(column, to.blocker("E509", what, fix))
    }

    /// No statement: the other node's type may hold less of what is here, and its rows would be changed by it unseen.
    fn hold_both(&self, column: &Column) -> String {
        let (from, to) = (self.from, self.to);
        match ddl::type_for(column, from.engine, to.engine) {
            Some(ty) => format!(
                "nothing, if such values do not occur; else give the column a type that holds the values of both \
                 nodes ({ty} holds those of node {})",
                from.node
            ),
            None => format!(
                "nothing, if such values do not occur; else {}",
                self.unheld(column)
            ),
        }
    }

    fn mend(&self, column: &Column, counterpart: &Column) -> String {
        let (from, to) = (self.from, self.to);
        match ddl::type_for(column, from.engine, to.engine) {
            Some(wanted) => ddl::change_type(to.id, counterpart, &wanted, to.engine),
            None => self.unheld(column),
        }
    }

    /// Told to the node that has the column, by its own name for it.
    fn unheld(&self, column: &Column) -> String {
        format!(
            "change column {:?} on node {} to a type that {} also has",
            self.own(&column.name),
            self.from.node,
            self.to.engine
        )
    }
}

/// A type that somebody made, as PostgreSQL names such: by its schema.
fn made_type<'a>(column: &'a Column, from: &End<'_>, to: &End<'_>) -> Option<&'a str> {
    let is_kept = from.engine == to.engine && from.engine.is_postgres();
    let is_made = matches!(column.ty, ColumnType::Enum { .. } | ColumnType::Opaque { .. });
    (is_kept && is_made && column.sql_type.contains('.')).then_some(column.sql_type.as_str())
}

/// A column of the target that no row from the source brings.
fn unfilled(from: &End<'_>, to: &End<'_>, column: &Column, findings: &mut Vec<Finding>) {
    if column.nullable || column.has_default || column.generated {
        return;
    }
    let what = format!(
        "column {:?} takes no NULL and has no default, and rows from node {} do not bring it",
        column.name, from.node
    );
    let finding = to.blocker("E505", what, ddl::allow_null(to.id, column, to.engine));
    findings.push(finding.setting(format!("column.{}", column.name)));
}

/// Every change of a row brings the column. A key is never set by an UPDATE, and an INSERT may set it.
fn settable(to: &End<'_>, target: &Table, column: &Column, findings: &mut Vec<Finding>) {
    let is_key = target
        .key
        .iter()
        .any(|place| target.columns[*place].name == column.name);
    if is_key || !to.always.contains(&column.name) {
        return;
    }
    let what = format!(
        "column {:?} is an identity that is GENERATED ALWAYS and no part of the key: the server takes no UPDATE that sets it",
        column.name
    );
    findings.push(to.blocker("E335", what, ddl::identity_by_default(to.id, &column.name)));
}

const REFUSED: &str = "; others become value_refused conflicts";

#[cfg(test)]
mod tests;
