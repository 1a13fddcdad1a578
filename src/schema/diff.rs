//! What one table lacks of what it would be if it had been made from another.
//!
//! Owns: [`lacking`], one direction: columns, types, keys, defaults, checks, indexes, foreign keys, comments, each with
//! the statement that mends it and how much it matters ([`Severity`]). Names of indexes and constraints do not count.
//! Refuses: naming what the other engine cannot have at all (see `translate`). Pure; nothing here is ever run.

use super::expression::Expression;
use super::translate::{Pair, Wanted};
use super::written::Written;
use super::{Action, Definition, Detail, Foreign, Index, create};
use crate::ddl::{self, quote, table_name};
use crate::model::schema::{Column, ColumnType, Engine};
use crate::typemap::{self, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `run` cannot carry the table.
    Blocks,
    /// One side takes rows that the other refuses.
    Refuses,
    Cosmetic,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Blocks => "blocks",
            Severity::Refuses => "refuses",
            Severity::Cosmetic => "cosmetic",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub kind: &'static str,
    pub severity: Severity,
    pub what: String,
    pub fix: String,
}

/// How the two sides stand to each other.
#[derive(Debug, Clone, Copy)]
pub struct Sides {
    pub from: Engine,
    pub to: Engine,
    /// Rows go this way.
    pub carries: bool,
    /// The first of the two directions, which also tells what is there on both sides and differs.
    pub first: bool,
}

/// `back`: what the source would be if it had been made from the target.
pub fn lacking(
    pair: &Pair,
    wanted: &Wanted,
    present: &Definition,
    back: Option<&Wanted>,
    sides: Sides,
) -> Vec<Difference> {
    let mut look = Look {
        pair,
        wanted: &wanted.definition,
        present,
        back: back.map(|back| &back.definition),
        sides,
        found: Vec::new(),
    };
    look.columns();
    look.key();
    look.indexes();
    look.checks();
    look.foreign();
    if sides.first && look.wanted.comment != present.comment {
        let fix = look.comment_table();
        look.say(
            "comment",
            Severity::Cosmetic,
            "the table's comment differs".to_owned(),
            fix,
        );
    }
    look.found
}

struct Look<'a> {
    pair: &'a Pair,
    wanted: &'a Definition,
    present: &'a Definition,
    back: Option<&'a Definition>,
    sides: Sides,
    found: Vec<Difference>,
}

impl Look<'_> {
    fn say(&mut self, kind: &'static str, severity: Severity, what: String, fix: String) {
        self.found.push(Difference {
            kind,
            severity,
            what,
            fix: match fix.starts_with("-- ") {
                true => fix,
                false => format!("{};", fix.trim_end_matches(';')),
            },
        });
    }

    fn alter(&self, rest: &str) -> String {
        format!(
            "ALTER TABLE {} {rest}",
            table_name(&self.present.table.id, self.sides.to)
        )
    }

    /// Of MySQL and MariaDB: the column as it is, but for what is changed.
    fn modify(&self, own: &Column, change: impl FnOnce(&mut Written)) -> String {
        let present = self.present.detail(&own.name);
        let written = present.map_or("", |detail| detail.written.as_str());
        let mut written = Written::read(if written.is_empty() {
            &own.sql_type
        } else {
            written
        });
        change(&mut written);
        self.alter(&format!(
            "MODIFY COLUMN {} {}",
            quote(&own.name, self.sides.to),
            written.text()
        ))
    }

    fn columns(&mut self) {
        let (wanted, present, to) = (self.wanted, self.present, self.sides.to);
        for (column, detail) in wanted.table.columns.iter().zip(&wanted.details) {
            let name = &column.name;
            let there = present
                .table
                .column(name)
                .map(|place| (&present.table.columns[place], &present.details[place]));
            let Some((own, own_detail)) = there else {
                let free = column.nullable || detail.default.is_some() || detail.counter.is_some();
                let severity = match self.sides.carries || !free {
                    true if detail.generated.is_none() => Severity::Blocks,
                    _ => Severity::Cosmetic,
                };
                let line = create::column_line(&wanted.table, column, detail, to);
                let fix = self.alter(&format!("ADD COLUMN {line}"));
                self.say("column", severity, format!("column {name} is missing"), fix);
                continue;
            };
            if self.sides.first {
                self.type_differs(column, own);
                self.null_differs(column, own);
                self.comment_differs(column, own, detail, own_detail);
            }
            self.default_differs(column, detail, own, own_detail);
        }
    }

    fn type_differs(&mut self, column: &Column, own: &Column) {
        let name = &column.name;
        let home = self.pair.passage.back();
        let crate::mapping::Place::Named(at_home) = home.place(name) else {
            return;
        };
        let source = &self.pair.source.table;
        let Some(origin) = source.column(at_home).map(|place| &source.columns[place]) else {
            return;
        };
        let back = self.back.and_then(|back| {
            let place = back.table.column(at_home)?;
            Some(is_type(&back.table.columns[place], origin, self.sides.from))
        });
        if is_type(column, own, self.sides.to) || back == Some(true) {
            return;
        }
        let verdict = typemap::verdict(origin, self.sides.from, own, self.sides.to);
        let severity = match verdict {
            Verdict::Refused(_) | Verdict::Lossy(_) => Severity::Blocks,
            Verdict::ExactIf(_) => Severity::Refuses,
            Verdict::Exact => Severity::Cosmetic,
        };
        let what = format!(
            "column {name} is {}, and made from the other side it would be {}",
            own.sql_type, column.sql_type
        );
        let fix = match self.sides.to.is_postgres() {
            true => ddl::change_type(&self.present.table.id, own, &column.sql_type, self.sides.to),
            false => self.modify(own, |written| written.set_type(&column.sql_type)),
        };
        self.say("type", severity, what, fix);
    }

    fn null_differs(&mut self, column: &Column, own: &Column) {
        if column.nullable == own.nullable || column.generated || own.generated {
            return;
        }
        let (table, to) = (&self.present.table.id, self.sides.to);
        let what = match column.nullable {
            true => "takes no NULL, and the other side does",
            false => "takes NULL, and the other side does not",
        };
        let fix = match (column.nullable, to.is_postgres()) {
            (true, true) => ddl::allow_null(table, own, to),
            (false, true) => self.alter(&format!("ALTER COLUMN {} SET NOT NULL", quote(&own.name, to))),
            (nullable, false) => self.modify(own, |written| written.set_null(nullable)),
        };
        self.say(
            "not_null",
            Severity::Refuses,
            format!("column {} {what}", own.name),
            fix,
        );
    }

    fn comment_differs(&mut self, column: &Column, own: &Column, detail: &Detail, own_detail: &Detail) {
        if detail.comment == own_detail.comment {
            return;
        }
        let to = self.sides.to;
        let text = ddl::literal(&detail.comment, to);
        let fix = match to.is_postgres() {
            true => format!(
                "COMMENT ON COLUMN {}.{} IS {text}",
                table_name(&self.present.table.id, to),
                quote(&own.name, to)
            ),
            false => self.modify(own, |written| written.put(&format!("COMMENT {text}"))),
        };
        self.say(
            "comment",
            Severity::Cosmetic,
            format!("the comment of column {} differs", column.name),
            fix,
        );
    }

    fn comment_table(&self) -> String {
        let to = self.sides.to;
        let text = ddl::literal(&self.wanted.comment, to);
        match to.is_postgres() {
            true => format!(
                "COMMENT ON TABLE {} IS {text}",
                table_name(&self.present.table.id, to)
            ),
            false => self.alter(&format!("COMMENT = {text}")),
        }
    }

    fn default_differs(&mut self, column: &Column, detail: &Detail, there: &Column, own: &Detail) {
        let (name, to) = (&column.name, self.sides.to);
        if detail.counter.is_some() && own.counter.is_none() {
            let fix = match to.is_postgres() {
                true => self.alter(&format!(
                    "ALTER COLUMN {} ADD GENERATED BY DEFAULT AS IDENTITY",
                    quote(name, to)
                )),
                false => self.modify(there, |written| {
                    written.drop_default();
                    written.set_null(false);
                    written.put("AUTO_INCREMENT");
                }),
            };
            let what = format!("column {name} is given no number here");
            return self.say("auto_increment", Severity::Cosmetic, what, fix);
        }
        if detail.on_update && !own.on_update {
            let fix = match there.ty {
                ColumnType::Timestamp { fraction } | ColumnType::TimestampTz { fraction, .. } => {
                    let clause = format!("ON UPDATE CURRENT_TIMESTAMP({fraction})");
                    self.modify(there, |written| written.put(&clause))
                }
                _ => format!("-- by hand: {} takes no such clause", there.sql_type),
            };
            self.say(
                "default",
                Severity::Cosmetic,
                format!("column {name} lacks ON UPDATE CURRENT_TIMESTAMP"),
                fix,
            );
        }
        if let Some(generated) = detail.generated.as_ref().filter(|_| own.generated.is_none()) {
            let what = format!("column {name} is not generated as {}", generated.expression);
            // Its values may be its own, and no statement that drops them is printed.
            let fix = "-- by hand, once its values are known to be what the expression gives".to_owned();
            return self.say("generated", Severity::Cosmetic, what, fix);
        }
        let Some(default) = &detail.default else {
            return;
        };
        let what = match &own.default {
            None => format!("column {name} has no DEFAULT {default}"),
            Some(other) if self.sides.first && !same_text(default, other, to) => {
                format!("column {name} has DEFAULT {other}, and the other side's is {default}")
            }
            Some(_) => return,
        };
        let fix = self.alter(&format!("ALTER COLUMN {} SET DEFAULT {default}", quote(name, to)));
        self.say("default", Severity::Cosmetic, what, fix);
    }

    fn key(&mut self) {
        let (mut wanted, mut present) = (self.wanted.key(), self.present.key());
        wanted.sort_unstable();
        present.sort_unstable();
        if !self.sides.first || wanted == present {
            return;
        }
        let columns: Vec<String> = self.wanted.key().into_iter().map(str::to_owned).collect();
        let what = format!(
            "the primary key is ({}), on the other side it is ({})",
            present.join(", "),
            wanted.join(", ")
        );
        let fix = match columns.is_empty() {
            true => "give the other table a primary key".to_owned(),
            false => ddl::add_primary_key(
                &self.present.table.id,
                &columns,
                !present.is_empty(),
                self.sides.to,
            ),
        };
        self.say("key", Severity::Blocks, what, fix);
    }

    fn indexes(&mut self) {
        for index in &self.wanted.indexes {
            let is_there = self.present.indexes.iter().any(|own| same_index(index, own))
                || (!index.unique && self.serves_a_reference(index));
            if is_there {
                continue;
            }
            let parts: Vec<&str> = index.parts.iter().map(|part| part.what.as_str()).collect();
            let (kind, severity, words) = match index.unique {
                true => ("unique", Severity::Refuses, "no unique index"),
                false => ("index", Severity::Cosmetic, "no index"),
            };
            let fix = create::create_index(self.present, index, self.sides.to, create::At::Leisure);
            self.say(kind, severity, format!("{words} on ({})", parts.join(", ")), fix);
        }
    }

    /// InnoDB makes an index for each foreign key by itself.
    fn serves_a_reference(&self, index: &Index) -> bool {
        let columns = index.columns().unwrap_or_default();
        let serves = |foreign: &Foreign| {
            foreign
                .key
                .columns
                .iter()
                .map(String::as_str)
                .eq(columns.iter().copied())
        };
        !self.sides.from.is_postgres() && self.wanted.foreign.iter().any(serves)
    }

    fn checks(&mut self) {
        for check in &self.wanted.checks {
            let same = |own: &super::Check| same_text(&check.expression, &own.expression, self.sides.to);
            if self.present.checks.iter().any(same) {
                continue;
            }
            let fix = self.alter(&format!(
                "ADD CONSTRAINT {} CHECK ({})",
                quote(&check.name, self.sides.to),
                check.expression
            ));
            self.say(
                "check",
                Severity::Refuses,
                format!("no CHECK ({})", check.expression),
                fix,
            );
        }
    }

    /// RESTRICT and NO ACTION are two in PostgreSQL only.
    fn acts_alike(&self, own: &Foreign, other: &Foreign) -> bool {
        let is_one = self.sides.from != self.sides.to;
        let plain = |action| match action {
            Action::Restrict if is_one => Action::Refuse,
            action => action,
        };
        let acts = |foreign: &Foreign| (plain(foreign.on_delete), plain(foreign.on_update));
        acts(own) == acts(other) && own.sets == other.sets
    }

    fn foreign(&mut self) {
        for foreign in &self.wanted.foreign {
            let own = self
                .present
                .foreign
                .iter()
                .find(|own| create::same_reference(foreign, own));
            let to = format!("({}) to {}", foreign.key.columns.join(", "), foreign.key.parent);
            let fix = create::add_foreign(foreign, self.sides.to);
            match own {
                None => self.say(
                    "foreign_key",
                    Severity::Refuses,
                    format!("no foreign key {to}"),
                    fix,
                ),
                Some(own) if self.sides.first && !self.acts_alike(own, foreign) => {
                    let what = format!(
                        "the foreign key {to} has ON DELETE {} ON UPDATE {}, on the other side {} and {}",
                        own.on_delete.words(),
                        own.on_update.words(),
                        foreign.on_delete.words(),
                        foreign.on_update.words()
                    );
                    let kind = if self.sides.to.is_postgres() {
                        "CONSTRAINT"
                    } else {
                        "FOREIGN KEY"
                    };
                    let drop = self.alter(&format!("DROP {kind} {}", quote(&own.key.name, self.sides.to)));
                    self.say("foreign_key", Severity::Cosmetic, what, format!("{drop}; {fix}"));
                }
                Some(_) => {}
            }
        }
    }
}

/// Is the type of this column the one that is wanted?
fn is_type(wanted: &Column, own: &Column, engine: Engine) -> bool {
    let bare = wanted
        .sql_type
        .split(" CHARACTER SET ")
        .next()
        .unwrap_or_default();
    let bare = bare.split(" COLLATE ").next().unwrap_or_default();
    let is_alike = !matches!(wanted.ty, ColumnType::Opaque { .. }) && wanted.ty == own.ty;
    is_alike || bare == own.sql_type || bare == ddl::ddl_type(&own.ty, engine)
}

/// Do two expressions of one engine mean the same? The server prints its own spelling.
fn same_text(wanted: &str, own: &str, engine: Engine) -> bool {
    match (Expression::read(wanted, engine), Expression::read(own, engine)) {
        (Some(wanted), Some(own)) => wanted == own,
        _ => squeezed(wanted) == squeezed(own),
    }
}

fn squeezed(text: &str) -> String {
    let text = text
        .to_ascii_lowercase()
        .replace("::text[]", "")
        .replace("::text", "");
    text.chars()
        .filter(|c| !c.is_whitespace() && !"()\"`".contains(*c))
        .collect()
}

pub(super) fn same_index(wanted: &Index, own: &Index) -> bool {
    let part = |part: &super::Part| (part.what.clone(), part.is_column, part.prefix);
    let is_alike = wanted.parts.iter().map(part).eq(own.parts.iter().map(part));
    let predicate = |index: &Index| index.more.iter().find(|more| more.starts_with("WHERE ")).cloned();
    wanted.unique == own.unique && is_alike && predicate(wanted) == predicate(own)
}
