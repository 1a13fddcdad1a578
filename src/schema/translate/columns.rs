//! Columns: type, NOT NULL, default, next number, generated expression, comment.
//!
//! Fails: with the note of a key column that the other engine has no type for.

use super::{Translation, Wanted};
use crate::ddl::{self, Distinct};
use crate::model::schema::{Column, ColumnType, Engine, TableId};
use crate::schema::expression::{Expression, Moment};
use crate::schema::kind::of_type;
use crate::schema::{Check, Counting, Definition, Detail, Generated, Note, ranges};

/// How far a counted key is followed through foreign keys.
const DEPTH_MAX: usize = 8;

impl Translation<'_> {
    pub(super) fn columns(&self, wanted: &mut Wanted) -> Result<(), Note> {
        let source = &self.pair.source;
        wanted.definition.table.columns.clear();
        wanted.definition.details.clear();
        let mut key = vec![None; source.table.key.len()];
        for (place, column) in source.table.columns.iter().enumerate() {
            let Some(name) = self.name(&column.name).filter(|_| !column.is_beside()) else {
                continue;
            };
            let is_key = source.table.key.iter().position(|at| *at == place);
            let detail = source.details.get(place).cloned().unwrap_or_default();
            match self.column(column, &detail, &name, wanted) {
                // These servers index no document.
                Some((made, _)) if is_key.is_some() && self.is_document(&made.ty) => {
                    return Err(self.refused(column));
                }
                Some((column, detail)) => {
                    if let Some(at) = is_key {
                        key[at] = Some(wanted.definition.table.columns.len());
                    }
                    wanted.definition.table.columns.push(column);
                    wanted.definition.details.push(detail);
                }
                None if is_key.is_some() => return Err(self.refused(column)),
                None => {}
            }
        }
        wanted.definition.table.key = key.into_iter().flatten().collect();
        wanted.definition.table.uniques.clear();
        Ok(())
    }

    fn is_document(&self, ty: &ColumnType) -> bool {
        matches!(ty, ColumnType::Json { .. }) && !self.to.is_postgres()
    }

    fn refused(&self, column: &Column) -> Note {
        Note {
            code: Note::REFUSED,
            table: self.pair.target.clone(),
            what: format!(
                "the table is not made: {} has no type that can be a key for column {:?} ({})",
                self.to, column.name, column.sql_type
            ),
            fix: format!(
                "give {} a key of types that {} also has",
                self.pair.source.table.id, self.to
            ),
        }
    }

    /// The narrower type that a wider one and its check stand for, and the check's name.
    pub(super) fn meant(&self, column: &Column) -> Option<(String, ColumnType)> {
        let checks = self.pair.source.checks.iter().filter(|_| self.crosses());
        let mut found = checks.filter_map(|check| {
            let read = Expression::read(&check.expression, self.from)?;
            let ty = ranges::meant(&column.name, &column.sql_type, &read, self.from)?;
            Some((check.name.clone(), ty))
        });
        found.next()
    }

    /// With the type that it stands for.
    fn meaning(&self, source: &Column, detail: &Detail) -> Column {
        let mut column = source.clone();
        if let Some((_, ty)) = self.meant(source) {
            column.ty = ty;
        }
        if let Some(ty) = self.told_by_default(source, detail) {
            column.ty = ty;
        }
        column
    }

    pub(super) fn known(&self) -> Vec<Column> {
        let source = &self.pair.source;
        let columns = source.table.columns.iter().zip(&source.details);
        columns
            .map(|(column, detail)| self.meaning(column, detail))
            .collect()
    }

    fn column(
        &self,
        source: &Column,
        detail: &Detail,
        name: &str,
        wanted: &mut Wanted,
    ) -> Option<(Column, Detail)> {
        let mut column = self.meaning(source, detail);
        let unsigned = ColumnType::Int {
            bits: 64,
            unsigned: true,
        };
        if self.to.is_postgres()
            && column.ty == unsigned
            && self.is_counted(&self.pair.source, &source.name, 0)
        {
            // No counter reaches 2^63, and PostgreSQL counts in bigint at most.
            column.ty = ColumnType::Int {
                bits: 64,
                unsigned: false,
            };
        }
        let generated = self.generated(source, detail, wanted)?;
        let Some(ty) = self.type_of(&column, name, detail, wanted) else {
            self.left(
                wanted,
                format!("column {name}: {} has no type for {}", self.to, source.sql_type),
            );
            return None;
        };
        let mut made = Detail {
            comment: detail.comment.clone(),
            generated,
            ..Detail::default()
        };
        if self.is_same() && (self.is_plain() || !names_columns(&detail.written)) {
            made.written.clone_from(&detail.written);
        }
        self.default(&column, detail, name, &mut made, wanted);
        self.counter(&column, detail, name, &mut made, wanted);
        if self.crosses() {
            self.narrow(&column, name, wanted);
        }
        column.nullable = source.nullable || (source.generated && made.generated.is_none());
        column.generated = made.generated.is_some();
        column.name = name.to_owned();
        column.sql_type = ty;
        if !self.is_same() {
            column.collation.clear();
        }
        Some((column, made))
    }

    /// MySQL has no uuid and no moments but TIMESTAMP: the default tells what sixteen bytes and a date and time are.
    fn told_by_default(&self, column: &Column, detail: &Detail) -> Option<ColumnType> {
        let text = detail
            .default
            .as_deref()
            .filter(|_| self.crosses() && !self.from.is_postgres())?;
        match (Expression::read(text, self.from)?, &column.ty) {
            (
                Expression::Uuid,
                ColumnType::Bytes {
                    limit: Some(16),
                    fixed: true,
                },
            ) => Some(ColumnType::Uuid),
            (Expression::Moment(Moment::Utc), ColumnType::Timestamp { fraction }) => {
                Some(ColumnType::TimestampTz {
                    fraction: *fraction,
                    epoch: false,
                })
            }
            _ => None,
        }
    }

    /// Does the database count this column, or the one it refers to?
    fn is_counted(&self, table: &Definition, column: &str, depth: usize) -> bool {
        if table
            .detail(column)
            .is_some_and(|detail| detail.counter.is_some())
        {
            return true;
        }
        let follows = |key: &crate::model::schema::ForeignKey| {
            let at = key.columns.iter().position(|own| own == column)?;
            let parent = self
                .pairs
                .iter()
                .find(|pair| pair.source.table.id == key.parent)?;
            Some(depth < DEPTH_MAX && self.is_counted(&parent.source, key.references.get(at)?, depth + 1))
        };
        table
            .foreign
            .iter()
            .any(|foreign| follows(&foreign.key) == Some(true))
    }

    /// Must two values that differ stay two in an index of this column?
    fn is_keyed(&self, name: &str) -> bool {
        let source = &self.pair.source;
        let unique =
            |index: &crate::schema::Index| index.unique && index.parts.iter().any(|part| part.what == name);
        let refers = |foreign: &crate::schema::Foreign| foreign.key.columns.iter().any(|own| own == name);
        source.key().contains(&name) || source.indexes.iter().any(unique) || source.foreign.iter().any(refers)
    }

    fn type_of(&self, column: &Column, name: &str, detail: &Detail, wanted: &mut Wanted) -> Option<String> {
        let labels = match &column.ty {
            ColumnType::Enum { labels } if self.to.is_postgres() => Some(labels),
            _ => None,
        };
        let Some(labels) = labels else {
            return self.unlabelled_type(column, name, wanted);
        };
        // A domain over an ENUM keeps its own name, which has to be there.
        let target = &self.pair.target;
        let id = match (&detail.named, self.is_same()) {
            (Some(named), true) if named.schema == self.pair.source.table.id.schema => {
                TableId::new(target.schema.clone(), named.name.clone())
            }
            (Some(named), true) => named.clone(),
            (None, true) => return Some(column.sql_type.clone()),
            (_, false) => TableId::new(target.schema.clone(), self.name_of(name)),
        };
        let ty = ddl::table_name(&id, self.to);
        if !wanted.enums.iter().any(|(known, _)| *known == id) {
            wanted.enums.push((id, labels.clone()));
        }
        Some(ty)
    }

    fn unlabelled_type(&self, column: &Column, name: &str, wanted: &mut Wanted) -> Option<String> {
        let keyed = self.is_keyed(&column.name);
        let distinct = match (keyed, self.compared.contains(&column.name)) {
            (true, _) => Distinct::Keyed,
            (false, true) => Distinct::Compared,
            (false, false) => Distinct::No,
        };
        let ty = ddl::whole_type(column, self.from, self.to, distinct)?;
        if self.is_same() || self.to.is_postgres() || !keyed {
            return Some(ty);
        }
        let whole = ddl::type_for(column, self.from, self.to).unwrap_or_default();
        if whole.ends_with("text") && ty.starts_with("varchar") {
            let what = format!("column {name} is {ty}: a key holds no longer text there");
            self.note(wanted, Note::OTHERWISE, what);
        } else if !self.crosses() && ty.contains(" COLLATE ") && !ty.ends_with(&column.collation) {
            let what = format!("column {name} is {ty}, not in collation {}", column.collation);
            self.note(wanted, Note::OTHERWISE, what);
        }
        Some(ty)
    }

    /// Checks for what the wider type would let in.
    fn narrow(&self, column: &Column, name: &str, wanted: &mut Wanted) {
        if let Some(check) = ranges::check(name, &column.ty, self.to) {
            wanted.definition.checks.push(Check {
                name: self.name_of(&format!("{name}_range")),
                expression: check.write(self.to),
            });
        }
        if let (ColumnType::Set { labels }, true) = (&column.ty, self.to.is_postgres()) {
            let labels: Vec<String> = labels.iter().map(|label| ddl::literal(label, self.to)).collect();
            wanted.definition.checks.push(Check {
                name: self.name_of(&format!("{name}_set")),
                expression: format!(
                    "(string_to_array({}, ',') <@ ARRAY[{}]::text[])",
                    ddl::quote(name, self.to),
                    labels.join(", ")
                ),
            });
        }
    }

    fn counter(&self, column: &Column, detail: &Detail, name: &str, made: &mut Detail, wanted: &mut Wanted) {
        let Some(counting) = detail.counter else {
            return;
        };
        if !matches!(column.ty, ColumnType::Int { .. }) {
            return self.left(
                wanted,
                format!("the numbering of column {name}, which is no integer"),
            );
        }
        if self.to.is_postgres() {
            // Every change of a row brings the column, and the server takes no such UPDATE unless it is the key.
            let is_key = self.pair.source.key().contains(&column.name.as_str());
            made.counter = Some(if is_key { counting } else { Counting::ByDefault });
            return;
        }
        let source = &self.pair.source;
        let first =
            |index: &crate::schema::Index| index.parts.first().is_some_and(|part| part.what == column.name);
        let leads = source.key().first() == Some(&column.name.as_str()) || source.indexes.iter().any(first);
        let is_first = source
            .details
            .iter()
            .filter(|detail| detail.counter.is_some())
            .count()
            == 1
            || source.key().first() == Some(&column.name.as_str());
        match leads && is_first {
            true => made.counter = Some(Counting::ByDefault),
            false => self.left(
                wanted,
                format!(
                    "the numbering of column {name}: {} counts one column, which leads a key",
                    self.to
                ),
            ),
        }
    }

    /// `None`: the column stays away.
    #[allow(clippy::option_option)]
    fn generated(&self, column: &Column, detail: &Detail, wanted: &mut Wanted) -> Option<Option<Generated>> {
        let Some(generated) = &detail.generated else {
            // Of a table of which only the shape is known: PostgreSQL does not send the values.
            return (!(column.generated && self.from.is_postgres())).then_some(None);
        };
        if self.is_same() && self.is_plain() {
            return Some(Some(generated.clone()));
        }
        let meant = self.meaning(column, detail);
        let expression = of_type(&meant.ty)
            .and_then(|kind| self.expression(&generated.expression, kind))
            .filter(|read| self.is_computable(read));
        if let Some(expression) = expression {
            return Some(Some(Generated {
                expression: expression.write(self.to),
                // PostgreSQL logs no whole old rows of tables with virtual ones.
                stored: generated.stored || self.to.is_postgres(),
            }));
        }
        let words = format!("column {}, generated as {}", column.name, generated.expression);
        if self.from.is_postgres() {
            self.left(wanted, format!("{words}, which has no like in {}", self.to));
            return None;
        }
        self.note(
            wanted,
            Note::OTHERWISE,
            format!("{words}, is a plain column: {} has no like of it", self.to),
        );
        Some(None)
    }

    /// MySQL computes nothing from a column that it counts.
    fn is_computable(&self, expression: &Expression) -> bool {
        let source = &self.pair.source;
        let counted = |name: &str| {
            let columns = source.table.columns.iter().zip(&source.details);
            let mut counted = columns.filter(|(_, detail)| detail.counter.is_some());
            counted.any(|(column, _)| self.name(&column.name).as_deref() == Some(name))
        };
        expression.is_fixed() && (self.to.is_postgres() || !expression.columns().into_iter().any(counted))
    }

    fn default(&self, column: &Column, detail: &Detail, name: &str, made: &mut Detail, wanted: &mut Wanted) {
        made.on_update = detail.on_update && !self.to.is_postgres();
        if detail.on_update && self.to.is_postgres() {
            self.left(
                wanted,
                format!(
                    "ON UPDATE CURRENT_TIMESTAMP of column {name}: {} would need a trigger",
                    self.to
                ),
            );
        }
        let Some(text) = &detail.default else {
            return;
        };
        if self.is_same() {
            made.default = Some(text.clone());
            return;
        }
        let read = Expression::read(text, self.from);
        if read == Some(Expression::Null) {
            return;
        }
        made.default = read.and_then(|read| write_default(&read, &column.ty, self.from, self.to));
        if made.default.is_none() {
            self.left(
                wanted,
                format!("DEFAULT {text} of column {name}: {} has no like of it", self.to),
            );
        }
    }
}

/// A default as a column of the other engine takes it; `ty` is what the column means.
fn write_default(read: &Expression, ty: &ColumnType, from: Engine, to: Engine) -> Option<String> {
    if let Expression::Moment(moment) = read {
        return moment_default(*moment, ty, from, to);
    }
    let is_moment = matches!(
        ty,
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } | ColumnType::Date
    );
    let text = match (read, ty) {
        (Expression::Bool(value), ColumnType::Bool) if !to.is_postgres() => u8::from(*value).to_string(),
        (Expression::Number(digits), ColumnType::Bool) if to.is_postgres() => (digits != "0").to_string(),
        (Expression::Uuid, ColumnType::Uuid) if to == Engine::Mysql => "(uuid_to_bin(uuid()))".to_owned(),
        (Expression::Uuid, ColumnType::Uuid) => read.write(to),
        (Expression::Uuid, ColumnType::Text { .. }) if to.is_postgres() => {
            "(gen_random_uuid())::text".to_owned()
        }
        (Expression::Uuid, ColumnType::Text { .. }) => "(uuid())".to_owned(),
        (Expression::Uuid, _) => return None,
        (Expression::Text(_), ColumnType::Uuid) if to == Engine::Mysql => {
            format!("(uuid_to_bin({}))", read.write(to))
        }
        // A moment in the zone of whoever made the table; a day that is none.
        (Expression::Text(text), _)
            if is_moment
                && (text.starts_with("0000")
                    || matches!(ty, ColumnType::TimestampTz { .. }) && from != to
                    || text.contains("infinity")
                    || text.contains('+')) =>
        {
            return None;
        }
        (Expression::Bits(bits), ColumnType::Bit { len, varying }) => {
            let width = usize::try_from((*len).filter(|_| !varying)?).ok()?;
            let digits = format!("{bits:0>width$}");
            match *len {
                // A text there.
                Some(65..) if !to.is_postgres() && is_long(ty) => format!("('{digits}')"),
                Some(65..) if !to.is_postgres() => format!("'{digits}'"),
                _ => format!("b'{digits}'"),
            }
        }
        (_, ColumnType::Interval) => return None,
        (Expression::Text(_) | Expression::Number(_) | Expression::Bits(_) | Expression::Bytes(_), _) => {
            match is_long(ty) && !to.is_postgres() {
                true => format!("({})", read.write(to)),
                false => read.write(to),
            }
        }
        _ if read.is_fixed() && read.columns().is_empty() && to.is_postgres() => read.write(to),
        _ if read.is_fixed() && read.columns().is_empty() => format!("({})", read.write(to)),
        _ => return None,
    };
    Some(text)
}

/// MySQL gives these types no literal default, only an expression.
fn is_long(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Text { chars, .. } => chars.is_none_or(|chars| chars > 16_383),
        ColumnType::Bytes { limit, .. } => limit.is_none_or(|limit| limit > 16_383),
        ColumnType::Bit { len, .. } => len.is_none_or(|len| len > 16_383),
        ColumnType::Json { .. } | ColumnType::Opaque { .. } => true,
        _ => false,
    }
}

fn moment_default(moment: Moment, ty: &ColumnType, from: Engine, to: Engine) -> Option<String> {
    let crosses = from.is_postgres() && !to.is_postgres();
    let text = match (moment, ty) {
        // There it is a DATETIME that holds the moment in UTC.
        (
            Moment::Now,
            ColumnType::TimestampTz {
                fraction,
                epoch: false,
            },
        ) if crosses => {
            format!("(utc_timestamp({fraction}))")
        }
        (Moment::Utc, ColumnType::Timestamp { fraction }) if !to.is_postgres() => {
            format!("(utc_timestamp({fraction}))")
        }
        (Moment::Now, ColumnType::Timestamp { fraction } | ColumnType::TimestampTz { fraction, .. })
            if !to.is_postgres() =>
        {
            format!("CURRENT_TIMESTAMP({fraction})")
        }
        (Moment::Now | Moment::Utc, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. })
        | (Moment::Now | Moment::Today, ColumnType::Date)
        | (Moment::Now | Moment::Time, ColumnType::Time { .. }) => {
            let moment = match ty {
                ColumnType::Date => Moment::Today,
                ColumnType::Time { .. } => Moment::Time,
                ColumnType::TimestampTz { .. } => Moment::Now,
                _ => moment,
            };
            match to.is_postgres() {
                true => Expression::Moment(moment).write(to),
                false => format!("({})", Expression::Moment(moment).write(to)),
            }
        }
        _ => return None,
    };
    Some(text)
}

/// May what the server prints of a column hold an expression, and so names of other columns?
fn names_columns(written: &str) -> bool {
    let written = written.to_uppercase();
    [" AS (", " CHECK ", " DEFAULT ("]
        .iter()
        .any(|word| written.contains(word))
}
