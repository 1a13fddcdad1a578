//! What is told where two tables do not fit: why, and the statement for the target that mends it.
//!
//! Pure. Refuses: looking for differences (see `compile`, and `compare` for all of them at once).

use super::evolve::THEN;
use crate::ddl;
use crate::error::Error;
use crate::mapping::{Passage, Place};
use crate::model::schema::{Column, Engine, Table};
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN};
use crate::typemap::{Verdict, verdict};

/// A source table as its log describes it, and the target's.
pub(super) struct Differing<'a> {
    pub source: &'a Table,
    pub source_engine: Engine,
    pub target: &'a Table,
    pub target_engine: Engine,
}

impl Differing<'_> {
    pub(super) fn failed(&self) -> Error {
        Error::definite("plan how its rows are carried over")
            .table(&self.target.id)
            .hint("run `tidelock check`: it prints each difference of the two tables with the DDL that mends it")
    }

    fn mended(&self, sql: &str) -> Error {
        self.failed().hint(format!(
            "{sql} {THEN}; `tidelock check` tells each difference of the two tables"
        ))
    }

    /// It is new, or was renamed: then the target has it under a name that the source does not have any more.
    pub(super) fn missing(&self, own: &Column, passage: &Passage) -> Error {
        let column = &in_words_of_the_target(own, passage).unwrap_or_else(|| own.clone());
        let (id, engine) = (&self.target.id, self.target_engine);
        let Some(add) = ddl::add_column(id, column, self.source_engine, engine) else {
            return self.unheld(own);
        };
        let add = format!(
            "{add} with the same DEFAULT, if it has one: what a default gave to rows that were there is in no log;"
        );
        let was = self.target.columns.iter().find(|there| {
            let is_left = self.source.column(&there.name).is_none() && !there.generated;
            let fits = verdict(column, self.source_engine, there, engine) == Verdict::Exact;
            is_left && fits && ![VERSION_COLUMN, ORIGIN_COLUMN].contains(&there.name.as_str())
        });
        let sql = match was {
            Some(was) => format!(
                "if it is column {:?} renamed: {} if it is new: {add}",
                was.name,
                ddl::rename_column(id, &was.name, &column.name, engine)
            ),
            None => add,
        };
        self.mended(&sql)
            .why(format!("column {:?} does not exist on the target", column.name))
    }

    pub(super) fn refused(&self, column: &Column, there: &Column, why: &str) -> Error {
        let Some(ty) = ddl::type_for(column, self.source_engine, self.target_engine) else {
            return self.unheld(column);
        };
        self.mended(&ddl::change_type(&self.target.id, there, &ty, self.target_engine))
            .why(format!("column {:?}: {why}", there.name))
    }

    /// The target's engine has no type for a column of the source.
    fn unheld(&self, own: &Column) -> Error {
        self.failed()
            .why(format!(
                "{} has no type that holds column {:?} of the source",
                self.target_engine, own.name
            ))
            .hint(format!(
                "change the column on the source to a type that {} also has, or leave it out (skip in its section \
                 [sync.table]); {THEN}",
                self.target_engine
            ))
    }

    pub(super) fn keyed(&self) -> Error {
        let names = |table: &Table| -> Vec<String> {
            let columns = table.key.iter().filter_map(|place| table.columns.get(*place));
            columns.map(|column| column.name.clone()).collect()
        };
        let (here, there) = (names(self.source), names(self.target));
        let why = format!(
            "the primary key is ({}), and on the source ({})",
            there.join(", "),
            here.join(", ")
        );
        self.mended(&ddl::add_primary_key(
            &self.target.id,
            &here,
            true,
            self.target_engine,
        ))
        .why(why)
    }
}

/// The column under the name that the target has for it; `None`: it is not carried.
fn in_words_of_the_target(column: &Column, passage: &Passage) -> Option<Column> {
    match passage.place(&column.name) {
        Place::Named(name) => Some(Column {
            name: name.to_owned(),
            ..column.clone()
        }),
        Place::Skipped | Place::Taken(_) => None,
    }
}

/// A source table with the target's names, without what is not carried.
pub fn named(table: &Table, passage: &Passage) -> Table {
    let columns: Vec<Option<Column>> = table
        .columns
        .iter()
        .map(|column| in_words_of_the_target(column, passage))
        .collect();
    let place = |index: &usize| {
        let is_carried = columns.get(*index).is_some_and(Option::is_some);
        is_carried.then(|| columns[..*index].iter().flatten().count())
    };
    Table {
        id: table.id.clone(),
        key: table.key.iter().filter_map(place).collect(),
        uniques: Vec::new(),
        external: None,
        columns: columns.iter().flatten().cloned().collect(),
    }
}
