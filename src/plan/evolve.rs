//! A source table that its log describes anew: may the link go on?
//!
//! What DDL does to the rows that are there is in no log. So a change that leaves them as they are passes (columns
//! added or taken away, types widened, indexes, defaults), and one that may have changed them stops the link once,
//! unless the target was changed in the same way already.
//! Pure. Refuses: judging whether the new columns have a place on the target (see `compile`).

use crate::ddl;
use crate::error::{Error, Result};
use crate::model::schema::{Column, ColumnType, Engine, Table};
use crate::typemap::{Verdict, verdict};

/// The source's side of it, and the target's as its catalog shows it now.
pub struct Evolution<'a> {
    pub before: &'a Table,
    pub now: &'a Table,
    pub source: Engine,
    pub target: &'a Table,
    pub target_engine: Engine,
}

/// What is left to a person in any case.
pub const THEN: &str = "then `tidelock setup --execute` and `tidelock run`";

impl Evolution<'_> {
    pub fn check(&self) -> Result<()> {
        self.renamed()?;
        self.reordered()?;
        self.retyped()
    }

    fn stopped(&self, why: String, hint: String) -> Error {
        Error::definite("go on with its new definition")
            .table(&self.target.id)
            .why(why)
            .hint(hint)
    }

    /// A column went and one came that can hold its values: renamed, or dropped and a new one made.
    fn renamed(&self) -> Result<()> {
        let (before, now) = (&self.before.columns, &self.now.columns);
        let gone = |column: &&Column| self.now.column(&column.name).is_none();
        let come = |column: &&Column| self.before.column(&column.name).is_none();
        let (gone, come): (Vec<&Column>, Vec<&Column>) = (
            before.iter().filter(gone).collect(),
            now.iter().filter(come).collect(),
        );
        let pairs = gone
            .iter()
            .flat_map(|old| come.iter().map(move |new| (*old, *new)));
        for (old, new) in pairs {
            let kept = verdict(old, self.source, new, self.source) == Verdict::Exact;
            let has_followed =
                self.target.column(&new.name).is_some() && self.target.column(&old.name).is_none();
            if !kept || has_followed {
                continue;
            }
            let why = format!(
                "column {:?} went and {:?} came: if it was renamed, the target's rows have its values under the old name",
                old.name, new.name
            );
            let (id, engine) = (&self.target.id, self.target_engine);
            let rename = match self.target.column(&new.name) {
                None => ddl::rename_column(id, &old.name, &new.name, engine),
                Some(_) => format!(
                    "{} {}",
                    ddl::drop_column(id, &new.name, engine),
                    ddl::rename_column(id, &old.name, &new.name, engine)
                ),
            };
            let drop = ddl::drop_column(id, &old.name, engine);
            return Err(self.stopped(
                why,
                format!("if it was renamed: {rename} if it was dropped, and the other is new: {drop} {THEN}"),
            ));
        }
        Ok(())
    }

    /// PostgreSQL never changes the order of columns: one that stands elsewhere was dropped and made again, or names
    /// were exchanged.
    fn reordered(&self) -> Result<()> {
        if !self.source.is_postgres() {
            return Ok(());
        }
        let common = |own: &Table, other: &Table| -> Vec<String> {
            let names = own.columns.iter().map(|column| column.name.clone());
            names.filter(|name| other.column(name).is_some()).collect()
        };
        let (before, now) = (common(self.before, self.now), common(self.now, self.before));
        let Some((_, moved)) = before.iter().zip(&now).find(|(before, now)| before != now) else {
            return Ok(());
        };
        Err(self.stopped(
            format!(
                "column {moved:?} stands in another place than before: it was dropped and made again, or names were \
                 exchanged, so that the rows that were there have other values in it"
            ),
            format!("do the same on the target; {THEN}"),
        ))
    }

    /// A type that does not hold every value of the one before it.
    fn retyped(&self) -> Result<()> {
        for now in &self.now.columns {
            let Some(before) = self
                .before
                .column(&now.name)
                .map(|place| &self.before.columns[place])
            else {
                continue;
            };
            if holds_all(before, now) || verdict(before, self.source, now, self.source) == Verdict::Exact {
                continue;
            }
            let Some(there) = self
                .target
                .column(&now.name)
                .map(|place| &self.target.columns[place])
            else {
                continue;
            };
            let has_followed = verdict(now, self.source, there, self.target_engine) == Verdict::Exact
                && verdict(there, self.target_engine, now, self.source) == Verdict::Exact;
            if has_followed {
                continue;
            }
            let change = match ddl::type_for(now, self.source, self.target_engine) {
                Some(ty) => ddl::change_type(&self.target.id, there, &ty, self.target_engine),
                None => format!("give column {:?} the values that the source has now;", there.name),
            };
            return Err(self.stopped(
                format!(
                    "column {:?} has another type, into which not every value fits unchanged: what that did to the \
                     rows that were there is in no log",
                    now.name
                ),
                format!("do the same on the target: {change} {THEN}"),
            ));
        }
        Ok(())
    }
}

/// The same type, or one with more labels: values are kept by label, not by number.
fn holds_all(before: &Column, now: &Column) -> bool {
    match (&before.ty, &now.ty) {
        (ColumnType::Enum { labels: old }, ColumnType::Enum { labels: new })
        | (ColumnType::Set { labels: old }, ColumnType::Set { labels: new }) => {
            old.iter().all(|label| new.contains(label))
        }
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::schema::TableId;

    fn column(text: &str) -> Column {
        let (name, ty) = text.split_once(' ').unwrap();
        let int = |bits| ColumnType::Int {
            bits,
            unsigned: false,
        };
        let text = |chars| ColumnType::Text {
            chars,
            bytes: None,
            fixed: false,
            utf8: true,
        };
        let ty = match ty {
            "int" => int(32),
            "bigint" => int(64),
            "text" => text(None),
            "varchar" => text(Some(20)),
            other => panic!("{other}"),
        };
        Column {
            name: name.to_owned(),
            ty,
            sql_type: String::new(),
            collation: String::new(),
            nullable: true,
            generated: false,
            has_default: false,
        }
    }

    fn table(columns: &str) -> Table {
        Table {
            id: TableId::new("s", "t"),
            columns: columns.split(", ").map(column).collect(),
            key: vec![0],
            uniques: vec![],
            external: None,
        }
    }

    /// From PostgreSQL to PostgreSQL; `""` = the link goes on, else a word of what it says.
    const CASES: [(&str, &str, &str, &str); 16] = [
        (
            "id int, a int",
            "id int, a int, b text",
            "id int, a int, b text",
            "",
        ),
        ("id int, a int", "id int, a int, b text", "id int, a int", ""),
        (
            "id int, a int, b int",
            "id int, b int",
            "id int, a int, b int",
            "",
        ),
        ("id int, a int", "id int, a bigint", "id int, a bigint", ""),
        ("id int, a varchar", "id int, a text", "id int, a text", ""),
        // The target has followed.
        ("id int, a int", "id int, b int", "id int, b int", ""),
        ("id int, a bigint", "id int, a int", "id int, a int", ""),
        ("id int, a int", "id int, a text", "id int, a text", ""),
        // It has not.
        (
            "id int, a int",
            "id int, b int",
            "id int, a int",
            "RENAME COLUMN \"a\" TO \"b\"",
        ),
        (
            "id int, a int",
            "id int, b int",
            "id int, a int, b int",
            "DROP COLUMN \"b\"; ALTER",
        ),
        // More went than came.
        (
            "id int, a text, b int",
            "id int, c int",
            "id int, a text, b int, c int",
            "DROP COLUMN \"c\"; ALTER",
        ),
        (
            "id int, a bigint",
            "id int, a int",
            "id int, a bigint",
            "TYPE integer",
        ),
        (
            "id int, a varchar",
            "id int, a int",
            "id int, a varchar",
            "TYPE integer",
        ),
        (
            "id int, a text",
            "id int, a varchar",
            "id int, a text",
            "TYPE varchar(20)",
        ),
        // Nobody can see whether it has.
        (
            "id int, a int, b int",
            "id int, b int, a int",
            "id int, a int, b int",
            "do the same",
        ),
        (
            "id int, a int, b text",
            "id int, b text, a int",
            "id int, b text, a int",
            "do the same",
        ),
    ];

    #[test]
    fn what_changes_rows_unseen_stops_and_what_does_not_goes_on() {
        for (before, now, target, word) in CASES {
            let (before, now, target) = (table(before), table(now), table(target));
            let outcome = Evolution {
                before: &before,
                now: &now,
                source: Engine::Postgres,
                target: &target,
                target_engine: Engine::Postgres,
            }
            .check();
            match (word, outcome) {
                ("", outcome) => outcome.unwrap(),
                (word, outcome) => {
                    let error = outcome.err().unwrap();
                    let said = error.hint_text().unwrap();
                    assert!(said.contains(word), "{word}: {said}");
                }
            }
        }
    }

    #[test]
    fn mysql_may_move_columns() {
        let (before, now) = (table("id int, a int, b int"), table("id int, b int, a int"));
        let evolution = Evolution {
            before: &before,
            now: &now,
            source: Engine::Mysql,
            target: &before,
            target_engine: Engine::Postgres,
        };
        evolution.check().unwrap();
    }
}
