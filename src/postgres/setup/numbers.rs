//! Sequences of tables with `ids = "split"`: this node's count in a class of their own, above every key there is.
//!
//! Owns: the steps that make them do so, what they counted by before (`tidelock.numbering`), and the way back.
//! Refuses: keys of several columns and such that no sequence counts, which are left alone.
//! Fails: where the account may not see a sequence, nothing is told of it; the lacking right is.

use super::state::{Control, State, cell, rows};
use crate::error::Result;
use crate::install::{Step, literal};
use crate::model::numbers::Numbers;
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Counter, Scope};
use crate::postgres::sql::{quote, table};
use crate::postgres::{catalog, fail};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The control schema's version that brought `numbering`.
pub(super) const VERSION: i64 = 10;
const NUMBERS: &str = "E406";
const DOING: &str = "look at the counters of keys";

/// One that a split table's key is counted by.
struct Sequence<'a> {
    id: &'a TableId,
    counter: &'a Counter,
    numbers: Numbers,
    /// On any node, as far as they were asked.
    greatest: i64,
}

/// What is not as it should be.
enum Off {
    Step,
    Class,
    /// It would give numbers that rows have.
    Behind,
}

/// What setup changed.
struct Set {
    id: TableId,
    sequence: String,
    step_before: i64,
}

fn split<'a>(scope: &'a Scope, tables: &'a [Option<CatalogTable>]) -> impl Iterator<Item = Sequence<'a>> {
    tables.iter().zip(&scope.mapped).filter_map(|(found, mapped)| {
        let found = found.as_ref()?;
        Some(Sequence {
            id: &found.table.id,
            counter: found.counted()?,
            numbers: mapped.numbers?,
            greatest: mapped.greatest,
        })
    })
}

/// The sequences that the run account sets behind rows it copied.
pub(super) fn sequences<'a>(
    scope: &'a Scope,
    state: &'a State,
) -> impl Iterator<Item = (&'a TableId, &'a str)> {
    split(scope, &state.tables).map(|own| (own.id, own.counter.sequence.as_str()))
}

pub(super) async fn steps(
    client: &Client,
    scope: &Scope,
    state: &State,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let set = set(client, scope, state).await?;
    for own in split(scope, &state.tables) {
        let known = set
            .iter()
            .any(|set| set.id == *own.id && set.sequence == own.counter.sequence);
        let what = match (known, own.off(client).await?) {
            (true, None) => continue,
            (true, Some(off)) => own.told(&off),
            (false, _) => format!(
                "its sequence, which is to count by {} in the class of {}",
                own.numbers.step, own.numbers.class
            ),
        };
        if !known {
            let sql = format!(
                "INSERT INTO tidelock.numbering (sync, schema_name, table_name, sequence, step_before)\n\
                 VALUES ({}, {}, {}, {}, {})\n\
                 ON CONFLICT (sync, schema_name, table_name)\n\
                 DO UPDATE SET sequence = excluded.sequence, step_before = excluded.step_before",
                literal(&scope.sync),
                literal(&own.id.schema),
                literal(&own.id.name),
                literal(&own.counter.sequence),
                own.counter.step
            );
            steps.push(Step::new(NUMBERS, what.clone(), sql).table(own.id));
        }
        steps.push(Step::new(NUMBERS, what, own.set_sql()).table(own.id));
    }
    for old in set {
        let is_split = split(scope, &state.tables).any(|own| *own.id == old.id);
        if !is_split {
            let what = "its sequence, which is to count as before";
            let back = old
                .back(scope)
                .map(|sql| Step::new(NUMBERS, what, sql).table(&old.id));
            steps.extend(back);
        }
    }
    Ok(())
}

/// The statements of teardown.
pub(super) async fn back(client: &Client, scope: &Scope, state: &State) -> Result<Vec<String>> {
    let set = set(client, scope, state).await?;
    Ok(set.iter().flat_map(|set| set.back(scope)).collect())
}

/// Sets this node's sequences above the keys of their class, where rows came that they did not count. Returns those it
/// did; the steps tell of those that the account may not set.
pub async fn raise(client: &Client, split: &[(TableId, Numbers)]) -> Result<Vec<TableId>> {
    let mut raised = Vec::new();
    if split.is_empty() {
        return Ok(raised);
    }
    let ids: Vec<TableId> = split.iter().map(|(id, _)| id.clone()).collect();
    let tables = catalog::tables(client, &ids).await?;
    let counted = tables.iter().zip(split).filter_map(|(found, (_, numbers))| {
        let found = found.as_ref()?;
        Some(Sequence {
            id: &found.table.id,
            counter: found.counted()?,
            numbers: *numbers,
            greatest: 0,
        })
    });
    for own in counted {
        if !own.may(client, "UPDATE").await? || !matches!(own.off(client).await?, Some(Off::Behind)) {
            continue;
        }
        let sql = format!("SELECT {}", own.setval());
        let done = client.batch_execute(&sql).await;
        done.map_err(|error| fail("set a sequence behind the rows there are", error).table(own.id))?;
        raised.push(own.id.clone());
    }
    Ok(raised)
}

async fn set(client: &Client, scope: &Scope, state: &State) -> Result<Vec<Set>> {
    if state.control != Control::Ready || !state.versions.contains(&VERSION) {
        return Ok(Vec::new());
    }
    let sql = "SELECT schema_name::text, table_name::text, sequence, step_before FROM tidelock.numbering
                WHERE sync = $1 ORDER BY 1, 2";
    let found = rows(client, sql, &[&scope.sync]).await?;
    let one = |row: &tokio_postgres::Row| -> Result<Set> {
        Ok(Set {
            id: TableId::new(cell::<String>(row, 0)?, cell::<String>(row, 1)?),
            sequence: cell(row, 2)?,
            step_before: cell(row, 3)?,
        })
    };
    found.iter().map(one).collect()
}

impl Set {
    fn back(&self, scope: &Scope) -> impl Iterator<Item = String> + use<> {
        [
            format!(
                "ALTER SEQUENCE IF EXISTS {} INCREMENT BY {}",
                self.sequence, self.step_before
            ),
            format!(
                "DELETE FROM tidelock.numbering WHERE sync = {} AND schema_name = {} AND table_name = {}",
                literal(&scope.sync),
                literal(&self.id.schema),
                literal(&self.id.name)
            ),
        ]
        .into_iter()
    }
}

impl Sequence<'_> {
    async fn may(&self, client: &Client, privilege: &str) -> Result<bool> {
        let sql = "SELECT has_sequence_privilege($1::text::regclass, $2)";
        let found = rows(client, sql, &[&self.counter.sequence, &privilege]).await?;
        found.first().map_or(Ok(false), |row| cell(row, 0))
    }

    async fn off(&self, client: &Client) -> Result<Option<Off>> {
        let Numbers { step, class } = self.numbers;
        if self.counter.step != step {
            return Ok(Some(Off::Step));
        }
        if !self.may(client, "SELECT").await? {
            return Ok(None);
        }
        let sql = format!(
            "SELECT last_value + CASE WHEN is_called THEN {step} ELSE 0 END FROM {}",
            self.counter.sequence
        );
        let found = rows(client, &sql, &[]).await?;
        let next: i64 = found.first().map_or(Ok(0), |row| cell(row, 0))?;
        if !self.numbers.holds(next) {
            return Ok(Some(Off::Class));
        }
        let column = quote(&self.counter.column);
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {} WHERE {column} >= {next} AND mod({column}::bigint - {class}, {step}) = 0)",
            table(self.id)
        );
        match client.query_one(&sql, &[]).await {
            Ok(row) => Ok(cell::<bool>(&row, 0)?.then_some(Off::Behind)),
            // The lacking right is told elsewhere.
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
            Err(error) => Err(fail(DOING, error).table(self.id)),
        }
    }

    fn told(&self, off: &Off) -> String {
        let Numbers { step, .. } = self.numbers;
        match off {
            Off::Step => format!(
                "its sequence counts by {}, and by {step} is what keeps the nodes apart",
                self.counter.step
            ),
            Off::Class => "its sequence gives another node's numbers".to_owned(),
            Off::Behind => "its sequence would give numbers that rows have".to_owned(),
        }
    }

    /// The next number of the class that neither a row has nor the sequence has given.
    fn setval(&self) -> String {
        let Numbers { step, class } = self.numbers;
        format!(
            "setval({}, known.last + 1 + mod(mod({class} - known.last - 1, {step}) + {step}, {step}), false)\n\
             FROM (SELECT greatest((SELECT max({})::bigint FROM {}), (SELECT last_value FROM {}), {}, 0) AS last) AS known",
            literal(&self.counter.sequence),
            quote(&self.counter.column),
            table(self.id),
            self.counter.sequence,
            self.greatest
        )
    }

    /// In one transaction: who asks for a number meanwhile waits for it.
    fn set_sql(&self) -> String {
        format!(
            "DO $tidelock$ BEGIN\nALTER SEQUENCE {} INCREMENT BY {};\nPERFORM {};\nEND $tidelock$",
            self.counter.sequence,
            self.numbers.step,
            self.setval()
        )
    }
}
