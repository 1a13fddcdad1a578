//! AUTO_INCREMENT where tables have `ids = "split"`: this server's counts in a class of its own.
//!
//! Owns: the steps that make it do so, how it counted before (`tidelock.numbering`), and the way back. The two variables
//! are the server's, for all its tables alike. Refuses: two syncs that would have it count in two ways (E407).
//! MySQL keeps what it is told; MariaDB forgets it at a restart, and so its owner is told to write it down.

use super::state::{Control, State, cell, rows};
use crate::error::{Error, Result};
use crate::install::Step;
use crate::model::numbers::Numbers;
use crate::model::sync::{CatalogTable, Finding, Scope};
use crate::mysql::sql::{quote_text, table};
use crate::mysql::{Flavor, fail, numbers};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// The control database's version that brought `numbering`.
pub(super) const VERSION: i64 = 9;
const NUMBERS: &str = "E406";
const OTHERWISE: &str = "E407";

/// How a sync has the server count.
struct Set {
    sync: String,
    numbers: Numbers,
    before: Numbers,
}

/// The split tables whose keys the server counts; what each is to count by, and the greatest number on other nodes.
fn split<'a>(scope: &'a Scope, state: &'a State) -> impl Iterator<Item = (&'a CatalogTable, Numbers, i64)> {
    state
        .tables
        .iter()
        .zip(&scope.mapped)
        .filter_map(|(found, mapped)| {
            let found = found.as_ref()?;
            found.counted()?;
            Some((found, mapped.numbers?, mapped.greatest))
        })
}

fn wanted(scope: &Scope, state: &State) -> Option<Numbers> {
    split(scope, state).next().map(|(_, numbers, _)| numbers)
}

pub(super) async fn steps(
    conn: &mut Conn,
    scope: &Scope,
    state: &State,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let set = set(conn, state).await?;
    let own = set.iter().find(|set| set.sync == scope.sync);
    let Some(wanted) = wanted(scope, state) else {
        let what = "AUTO_INCREMENT, which is to count as before";
        let back = taken_back(conn, scope, state).await?;
        steps.extend(back.into_iter().map(|sql| Step::new(NUMBERS, what, sql)));
        return Ok(());
    };
    let now = counts(conn).await?;
    let what = format!(
        "AUTO_INCREMENT, which counts by {} from {}, and is to count by {} from {}",
        now.step, now.class, wanted.step, wanted.class
    );
    if own.is_none_or(|own| own.numbers != wanted) {
        let others = set.iter().find(|set| set.sync != scope.sync);
        let before = own.or(others).map_or(now, |set| set.before);
        let sql = format!(
            "INSERT INTO tidelock.numbering (sync, step, class, step_before, class_before)\n\
             VALUES ({}, {step}, {class}, {}, {})\n\
             ON DUPLICATE KEY UPDATE step = {step}, class = {class}",
            quote_text(&scope.sync),
            before.step,
            before.class,
            step = wanted.step,
            class = wanted.class,
        );
        steps.push(Step::new(NUMBERS, what.clone(), sql));
    }
    if now != wanted {
        let sql = count_by(state.flavor, wanted);
        steps.extend(sql.into_iter().map(|sql| Step::new(NUMBERS, what.clone(), sql)));
    }
    if own.is_none() {
        above(conn, scope, state, steps).await?;
    }
    Ok(())
}

/// Rows of a first copy move a counter only when they come: what is inserted here before that must not be in their way.
async fn above(conn: &mut Conn, scope: &Scope, state: &State, steps: &mut Vec<Step>) -> Result<()> {
    let (catalogs, ids): (Vec<_>, Vec<_>) = split(scope, state)
        .map(|(catalog, _, greatest)| ((catalog, greatest), catalog.table.id.clone()))
        .unzip();
    let own = numbers::greatest(conn, &ids).await?;
    for ((catalog, greatest), own) in catalogs.into_iter().zip(own) {
        if greatest > own {
            let id = &catalog.table.id;
            let sql = format!("ALTER TABLE {} AUTO_INCREMENT = {}", table(id), greatest + 1);
            let what = "its counter, which stands below keys of other nodes";
            steps.push(Step::new(NUMBERS, what, sql).table(id));
        }
    }
    Ok(())
}

fn count_by(flavor: Flavor, numbers: Numbers) -> Vec<String> {
    let Numbers { step, class } = numbers;
    let reconnect = "-- sessions that are open count as before until they connect anew";
    match flavor {
        Flavor::Mysql => vec![
            format!("SET PERSIST auto_increment_increment = {step}, PERSIST auto_increment_offset = {class}"),
            reconnect.to_owned(),
        ],
        Flavor::Mariadb => vec![
            format!("SET GLOBAL auto_increment_increment = {step}, GLOBAL auto_increment_offset = {class}"),
            reconnect.to_owned(),
            format!(
                "-- MariaDB forgets it at a restart: write it under [mysqld] in my.cnf too: \
                 auto_increment_increment = {step} and auto_increment_offset = {class}"
            ),
        ],
    }
}

/// All else an owner of the tables may do.
pub(super) fn is_of_the_server(statement: &str) -> bool {
    statement.starts_with("SET PERSIST ") || statement.starts_with("SET GLOBAL ")
}

/// The statements of teardown. What somebody has set otherwise meanwhile, or another sync still needs, stays.
pub(super) async fn taken_back(conn: &mut Conn, scope: &Scope, state: &State) -> Result<Vec<String>> {
    let set = set(conn, state).await?;
    let Some(own) = set.iter().find(|set| set.sync == scope.sync) else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    let is_ours = counts(conn).await? == own.numbers && own.numbers != own.before;
    if set.len() == 1 && is_ours {
        out = count_by(state.flavor, own.before);
    }
    out.push(format!(
        "DELETE FROM tidelock.numbering WHERE sync = {}",
        quote_text(&scope.sync)
    ));
    Ok(out)
}

/// Another sync has the server count otherwise.
pub(super) async fn otherwise(conn: &mut Conn, scope: &Scope, state: &State) -> Result<Option<Finding>> {
    let Some(wanted) = wanted(scope, state) else {
        return Ok(None);
    };
    let set = set(conn, state).await?;
    let is_other = |set: &&Set| set.sync != scope.sync && set.numbers != wanted;
    Ok(set.iter().find(is_other).map(|other| {
        let what = format!(
            "ids = \"split\" is to have AUTO_INCREMENT count by {} from {}, and sync {:?} has it count by {} from {}: a \
             server counts all its tables alike",
            wanted.step, wanted.class, other.sync, other.numbers.step, other.numbers.class
        );
        let fix = format!(
            "give the node the same rank in both syncs and both syncs as great a greatest rank (rank = ... in \
             [node.NAME]), or leave ids out of one; a sync that is no more: DELETE FROM tidelock.numbering WHERE sync = {}",
            quote_text(&other.sync)
        );
        Finding::blocker(OTHERWISE, &scope.node, what).fix(fix)
    }))
}

async fn counts(conn: &mut Conn) -> Result<Numbers> {
    let doing = "read how AUTO_INCREMENT counts";
    let sql = "SELECT CAST(@@GLOBAL.auto_increment_increment AS SIGNED), CAST(@@GLOBAL.auto_increment_offset AS SIGNED)";
    let answer: Option<(i64, i64)> = conn.query_first(sql).await.map_err(|error| fail(doing, error))?;
    let numbers = answer.map(|(step, class)| Numbers { step, class });
    numbers.ok_or_else(|| Error::definite(doing).why("the server gave no row"))
}

async fn set(conn: &mut Conn, state: &State) -> Result<Vec<Set>> {
    if state.control != Control::Ready || !state.versions.contains(&VERSION) {
        return Ok(Vec::new());
    }
    let sql = "SELECT sync, step, class, step_before, class_before FROM tidelock.numbering ORDER BY 1";
    let found = rows(conn, sql, &[]).await?;
    let numbers = |row, place| -> Result<Numbers> {
        Ok(Numbers {
            step: cell(row, place)?,
            class: cell(row, place + 1)?,
        })
    };
    found
        .iter()
        .map(|row| {
            Ok(Set {
                sync: cell(row, 0)?,
                numbers: numbers(row, 1)?,
                before: numbers(row, 3)?,
            })
        })
        .collect()
}
