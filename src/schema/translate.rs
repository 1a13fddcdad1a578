//! A table of one engine as another would hold it.
//!
//! Owns: names (mapped tables and columns, columns that stay behind), keys, indexes, foreign keys and checks; columns are
//! [`columns`]' matter. Refuses: printing statements (see `create`). What the other engine lacks is left out and named;
//! a table whose key has no counterpart is left out whole. Between two servers of one engine texts are kept as they are.

mod columns;

use super::expression::Expression;
use super::kind::{Kind, Known, compared, kind, of_type};
use super::{Action, Check, Definition, Foreign, Index, Note, Part};
use crate::mapping::{Passage, Place};
use crate::model::schema::{Column, ColumnType, Engine, ForeignKey, TableId};
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN};

/// PostgreSQL cuts longer names, and MySQL refuses them.
const NAME_BYTES_MAX: usize = 63;
/// Of a column too long for an index of MySQL: so many characters of it.
const PREFIX_CHARS: u32 = 255;
/// An index of InnoDB holds 3,072 bytes, four to a character.
const INDEXED_CHARS_MAX: u32 = 768;

/// A table of the sync: as the source holds it, and what the target calls it.
pub struct Pair {
    pub source: Definition,
    pub target: TableId,
    pub passage: Passage,
}

/// What the target is to hold.
pub struct Wanted {
    pub definition: Definition,
    /// ENUM types that the columns need first, with their labels.
    pub enums: Vec<(TableId, Vec<String>)>,
    pub notes: Vec<Note>,
}

/// The table at `place`; the others are what its foreign keys refer to. Without a definition: why not, in the notes.
pub fn translate(pairs: &[Pair], place: usize, from: Engine, to: Engine) -> Result<Wanted, Note> {
    let pair = &pairs[place];
    let mut table = Translation {
        pairs,
        pair,
        from,
        to,
        known: Vec::new(),
        compared: Vec::new(),
    };
    table.known = table.known();
    table.compared = table.compared();
    let mut wanted = Wanted {
        definition: Definition::bare(&pair.passage.there(&pair.source.table)),
        enums: Vec::new(),
        notes: Vec::new(),
    };
    wanted.definition.table.id = pair.target.clone();
    wanted.definition.comment.clone_from(&pair.source.comment);
    if table.is_same() {
        wanted.definition.charset.clone_from(&pair.source.charset);
    }
    table.columns(&mut wanted)?;
    table.indexes(&mut wanted);
    table.checks(&mut wanted);
    table.foreign(&mut wanted);
    table.partitions(&mut wanted);
    for words in &pair.source.peculiar {
        table.left(&mut wanted, words.clone());
    }
    Ok(wanted)
}

/// Our stamps are setup's matter.
fn is_stamp(column: &str) -> bool {
    column == VERSION_COLUMN || column == ORIGIN_COLUMN
}

struct Translation<'a> {
    pairs: &'a [Pair],
    pair: &'a Pair,
    from: Engine,
    to: Engine,
    /// The source's columns, as what they mean.
    known: Vec<Column>,
    /// Those of them that a check or a generated column compares with something.
    compared: Vec<String>,
}

impl Translation<'_> {
    /// Both sides speak one dialect, to the letter.
    fn is_same(&self) -> bool {
        self.from == self.to
    }

    fn crosses(&self) -> bool {
        self.from.is_postgres() != self.to.is_postgres()
    }

    fn left(&self, wanted: &mut Wanted, what: String) {
        self.note(wanted, Note::LEFT, format!("left out: {what}"));
    }

    fn note(&self, wanted: &mut Wanted, code: &'static str, what: String) {
        let fix = match code {
            Note::LEFT => format!(
                "give table {} by hand what is to take its place, if anything",
                self.pair.target
            ),
            _ => "nothing, if that will do; else make the table by hand".to_owned(),
        };
        wanted.notes.push(Note {
            code,
            table: self.pair.target.clone(),
            what,
            fix,
        });
    }

    /// The target's name of a column that passes.
    fn name(&self, column: &str) -> Option<String> {
        match self.pair.passage.place(column) {
            Place::Named(there) if !is_stamp(column) => Some(there.to_owned()),
            _ => None,
        }
    }

    /// Do all columns pass under their own names? Then texts need no reading.
    fn is_plain(&self) -> bool {
        let columns = self.pair.source.table.columns.iter();
        let mut columns = columns.filter(|column| !is_stamp(&column.name));
        columns.all(|column| self.name(&column.name).as_deref() == Some(column.name.as_str()))
    }

    /// The source's expression, where it certainly means the same at the target.
    fn sound(&self, text: &str, wanted: Kind) -> Option<Expression> {
        if !self.crosses() && !self.from.is_postgres() {
            return Expression::read(text, self.from);
        }
        let known = Known {
            columns: &self.known,
            engine: self.from,
        };
        let read = Expression::read_of(text, known)?;
        let found = kind(&read, known)?;
        wanted.takes(found).then_some(read)
    }

    /// An expression of the source's columns in the target's names.
    fn expression(&self, text: &str, wanted: Kind) -> Option<Expression> {
        self.sound(text, wanted)?.renamed(&|name| self.name(name))
    }

    fn compared(&self) -> Vec<String> {
        if !self.crosses() {
            return Vec::new();
        }
        let source = &self.pair.source;
        let checks = source.checks.iter();
        let checks = checks.filter_map(|check| self.sound(&check.expression, Kind::Bool));
        let computed = self.known.iter().zip(&source.details);
        let computed = computed.filter_map(|(column, detail)| {
            self.sound(&detail.generated.as_ref()?.expression, of_type(&column.ty)?)
        });
        let all: Vec<Expression> = checks.chain(computed).collect();
        let names = all.iter().flat_map(compared);
        names.map(str::to_owned).collect()
    }

    /// Index names belong to their schema in PostgreSQL, names of constraints to their database in MySQL: there the
    /// table's name goes first.
    fn name_of(&self, name: &str) -> String {
        let table = &self.pair.target.name;
        if self.is_same() || name.starts_with(table.as_str()) {
            return name.to_owned();
        }
        let mut whole = format!("{table}_{name}");
        while whole.len() > NAME_BYTES_MAX {
            whole.pop();
        }
        whole
    }

    fn indexes(&self, wanted: &mut Wanted) {
        for index in &self.pair.source.indexes {
            if index
                .parts
                .iter()
                .any(|part| part.is_column && is_stamp(&part.what))
            {
                continue;
            }
            let kept = match self.is_same() && self.is_plain() {
                true => Ok(index.clone()),
                false => self.index(index, wanted),
            };
            match kept {
                Ok(index) => wanted.definition.indexes.push(index),
                Err(why) => self.left(wanted, format!("index {}: {why}", index.name)),
            }
        }
    }

    fn index(&self, index: &Index, wanted: &mut Wanted) -> Result<Index, String> {
        if !["btree", "hash"].contains(&index.method.as_str()) {
            return Err(format!("{} has no index of kind {}", self.to, index.method));
        }
        if let Some(predicate) = index.more.iter().find(|more| more.starts_with("WHERE ")) {
            return Err(format!("it is over some rows only ({predicate})"));
        }
        let mut parts = Vec::new();
        for part in &index.parts {
            parts.push(self.part(part, index.unique, wanted)?);
        }
        if !index.more.is_empty() {
            let what = format!("index {} without {}", index.name, index.more.join(", "));
            self.note(wanted, Note::OTHERWISE, what);
        }
        Ok(Index {
            name: self.name_of(&index.name),
            parts,
            method: "btree".to_owned(),
            more: Vec::new(),
            written: String::new(),
            ..index.clone()
        })
    }

    fn part(&self, part: &Part, unique: bool, wanted: &Wanted) -> Result<Part, String> {
        if !part.is_column {
            return Err(format!("it is over the expression {}", part.what));
        }
        let missing = || format!("column {} is not there", part.what);
        let name = self.name(&part.what).ok_or_else(missing)?;
        let table = &wanted.definition.table;
        let column = table.column(&name).and_then(|place| table.columns.get(place));
        let column = column.ok_or_else(missing)?;
        let prefix = match self.to.is_postgres() {
            true if part.prefix.is_some() => return Err(format!("it is over the beginning of {name} only")),
            true => None,
            false => part.prefix.or(needed_prefix(column)),
        };
        if unique && part.prefix.is_none() && prefix.is_some() {
            return Err(format!("{} keeps no column as long as {name} unique", self.to));
        }
        if !self.to.is_postgres() && matches!(column.ty, ColumnType::Json { .. }) {
            return Err(format!("{} has no index over JSON", self.to));
        }
        Ok(Part {
            what: name,
            prefix,
            ..part.clone()
        })
    }

    fn checks(&self, wanted: &mut Wanted) {
        let columns = &self.pair.source.table.columns;
        for check in &self.pair.source.checks {
            let meant = |column: &Column| self.meant(column).is_some_and(|(name, _)| name == check.name);
            if columns.iter().any(meant) {
                continue;
            }
            match self.check(check, wanted) {
                Ok(expression) => wanted.definition.checks.push(Check {
                    name: self.name_of(&check.name),
                    expression,
                }),
                Err(why) => self.left(
                    wanted,
                    format!("check {} ({}): {why}", check.name, check.expression),
                ),
            }
        }
    }

    fn check(&self, check: &Check, wanted: &Wanted) -> Result<String, String> {
        if self.is_same() && self.is_plain() {
            return Ok(check.expression.clone());
        }
        let lacks = || format!("{} has no like of it, or a column of it is not there", self.to);
        let expression = self.expression(&check.expression, Kind::Bool).ok_or_else(lacks)?;
        let definition = &wanted.definition;
        for name in expression.columns() {
            let detail = definition.detail(name).ok_or_else(lacks)?;
            if !self.to.is_postgres() && detail.counter.is_some() {
                return Err(format!("{} checks no AUTO_INCREMENT", self.to));
            }
        }
        match expression.is_fixed() {
            true => Ok(expression.write(self.to)),
            false => Err("what the clock says is no check".to_owned()),
        }
    }

    fn foreign(&self, wanted: &mut Wanted) {
        for foreign in &self.pair.source.foreign {
            match self.reference(foreign, wanted) {
                Ok(reference) => wanted.definition.foreign.push(reference),
                Err(why) => self.left(wanted, format!("foreign key {}: {why}", foreign.key.name)),
            }
        }
    }

    fn reference(&self, foreign: &Foreign, wanted: &mut Wanted) -> Result<Foreign, String> {
        let key = &foreign.key;
        let parent = self.pairs.iter().find(|pair| pair.source.table.id == key.parent);
        let parent = parent.ok_or_else(|| format!("{} is no table of the sync", key.parent))?;
        let columns = key.columns.iter().map(|column| self.name(column));
        let references = key
            .references
            .iter()
            .map(|column| match parent.passage.place(column) {
                Place::Named(there) => Some(there.to_owned()),
                Place::Skipped | Place::Taken(_) => None,
            });
        let stays = || "a column of it stays behind".to_owned();
        if !foreign.sets.is_empty() && !self.to.is_postgres() {
            let (action, sets) = (foreign.on_delete.words(), foreign.sets.join(", "));
            return Err(format!("{} has no ON DELETE {action} of ({sets}) only", self.to));
        }
        let sets = foreign.sets.iter().map(|column| self.name(column));
        let sets = sets.collect::<Option<Vec<_>>>().ok_or_else(stays)?;
        let columns = columns.collect::<Option<Vec<_>>>().ok_or_else(stays)?;
        let references = references.collect::<Option<Vec<_>>>().ok_or_else(stays)?;
        if columns
            .iter()
            .any(|column| wanted.definition.detail(column).is_none())
        {
            return Err("a column of it is not there".to_owned());
        }
        let mut made = Foreign {
            key: ForeignKey {
                name: self.name_of(&key.name),
                child: self.pair.target.clone(),
                columns,
                parent: parent.target.clone(),
                references,
            },
            sets,
            more: if self.is_same() {
                foreign.more.clone()
            } else {
                Vec::new()
            },
            ..foreign.clone()
        };
        if made.more != foreign.more {
            let what = format!("foreign key {} without {}", key.name, foreign.more.join(", "));
            self.note(wanted, Note::OTHERWISE, what);
        }
        if !self.to.is_postgres() {
            self.soften(&mut made, wanted);
        }
        Ok(made)
    }

    /// InnoDB knows no SET DEFAULT, and MySQL lets no action write a column that a check reads.
    fn soften(&self, made: &mut Foreign, wanted: &mut Wanted) {
        let checked = |column: &String| {
            let reads = |check: &Check| {
                let read = Expression::read(&check.expression, self.to);
                read.is_some_and(|read| read.columns().contains(&column.as_str()))
            };
            wanted.definition.checks.iter().any(reads)
        };
        let is_checked = made.key.columns.iter().any(checked);
        for (event, action) in [("DELETE", &mut made.on_delete), ("UPDATE", &mut made.on_update)] {
            let writes = *action == Action::SetNull || (*action == Action::Cascade && event == "UPDATE");
            if *action == Action::SetDefault || (is_checked && writes) {
                let what = format!("foreign key {}: ON {event} {}", made.key.name, action.words());
                *action = Action::Refuse;
                self.note(wanted, Note::OTHERWISE, format!("{what} becomes NO ACTION"));
            }
        }
    }

    fn partitions(&self, wanted: &mut Wanted) {
        if self.pair.source.partition.is_empty() {
            return;
        }
        if !(self.is_same() && self.is_plain()) {
            let what = format!(
                "a plain table, not {}",
                self.pair.source.partition.replace('\n', " ")
            );
            return self.note(wanted, Note::OTHERWISE, what);
        }
        wanted
            .definition
            .partition
            .clone_from(&self.pair.source.partition);
        let parts = self.pair.source.parts.iter();
        let here = |id: &TableId| TableId::new(self.pair.target.schema.clone(), id.name.clone());
        wanted.definition.parts = parts.map(|(id, bounds)| (here(id), bounds.clone())).collect();
    }
}

/// Of MySQL and MariaDB: how much of a column an index takes where it cannot take it whole.
fn needed_prefix(column: &Column) -> Option<u32> {
    let ty = column.sql_type.split(' ').next().unwrap_or_default();
    let chars = ty
        .strip_prefix("varchar(")
        .and_then(|rest| rest.trim_end_matches(')').parse::<u32>().ok());
    let is_long = ty.ends_with("text") || ty.ends_with("blob");
    (is_long || chars.is_some_and(|chars| chars > INDEXED_CHARS_MAX)).then_some(PREFIX_CHARS)
}
