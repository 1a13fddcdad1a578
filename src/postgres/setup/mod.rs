//! `check`, `setup` and `teardown` of one PostgreSQL database.
//!
//! Owns: what a node needs to take part in a sync ([`check`]), what is dynamic of that ([`settings`]), what the log does not tell
//! ([`unlogged`]), and the
//! statements that install and remove our objects ([`setup_sql`], [`teardown_sql`]), whose texts are templates in
//! `sql/postgres/`. Refuses: changing anything except through [`setup`] and [`teardown`], which run those statements
//! under one lock per database, so that syncs set up at the same time do not meet.
//! Fails: `Definite` with the SQL that mends it. Every statement may run again, so a failed setup is simply repeated.

mod beside;
mod check;
mod grants;
mod lost;
pub mod members;
mod numbers;
mod published;
mod removal;
mod rewritten;
mod sent;
mod standing;
mod state;
mod steps;
mod tables;
mod triggers;
mod versions;

use super::fail;
use crate::error::{NEW_COPY, Reason, Result};
use crate::install;
use crate::model::stamp::Rank;
use crate::model::sync::Scope;
use state::{Control, State};
use tokio_postgres::Client;

pub use check::{check, settings};
pub use numbers::raise as raise_numbers;
pub use published::compare as unlogged;
pub use removal::teardown_sql;
pub use sent::{Sent, known, note};
pub use steps::CONTROL_FILES;

/// Key of the advisory lock: the letters of the name.
const LOCK: i64 = 0x7469_6465_6c6f_636b;
/// How long setup waits for that lock and for each table it alters. A longer wait would hold up the users of the
/// table, who queue behind us.
const LOCK_TIMEOUT: &str = "60s";

/// The statements that are still needed, in order; none when all is done. `peers` are the other nodes of the sync.
pub async fn setup_sql(client: &Client, scope: &Scope, peers: &[(Rank, String)]) -> Result<Vec<String>> {
    let state = State::read(client, scope).await?;
    if let Some(why) = state.mismatch(scope, peers) {
        return Err(install::mismatched(scope, why));
    }
    if state.control == Control::Ready
        && let Some(lost) = lost::unpublished(client, scope).await?
    {
        return Err(install::setting_up(scope)
            .reason(Reason::PositionLost)
            .why(lost.what)
            .hint(NEW_COPY));
    }
    if let Some(error) = install::blocked(scope, &tables::findings(scope, &state)) {
        return Err(error);
    }
    let mut steps = steps::steps(client, scope, &state, peers).await?;
    numbers::steps(client, scope, &state, &mut steps).await?;
    Ok(steps.into_iter().map(|step| step.sql).collect())
}

/// Installs what is missing and returns the statements that were run.
pub async fn setup(client: &Client, scope: &Scope, peers: &[(Rank, String)]) -> Result<Vec<String>> {
    lock(client).await?;
    let statements = setup_sql(client, scope, peers).await;
    run(client, statements).await
}

/// Removes what setup installed and returns the statements that were run, remarks included.
pub async fn teardown(client: &Client, scope: &Scope) -> Result<Vec<String>> {
    lock(client).await?;
    let statements = teardown_sql(client, scope).await;
    run(client, statements).await
}

/// Runs these statements under the setup lock.
pub async fn run_all(client: &Client, statements: &[String]) -> Result<()> {
    lock(client).await?;
    run(client, Ok(statements.to_vec())).await.map(|_| ())
}

/// Runs what is to be done under the lock, and gives it back.
async fn run(client: &Client, statements: Result<Vec<String>>) -> Result<Vec<String>> {
    let outcome = match statements {
        Ok(statements) => execute(client, &statements).await.map(|()| statements),
        Err(error) => Err(error),
    };
    let unlocked = unlock(client).await;
    // The first error is the one that tells.
    outcome.and_then(|statements| unlocked.map(|()| statements))
}

/// Statements as a script that psql runs.
pub fn script(statements: &[String]) -> String {
    let mut out = String::new();
    if statements.iter().any(|sql| !install::is_remark(sql)) {
        out.push_str("SET search_path = pg_catalog;\n\n");
    }
    for statement in statements {
        out.push_str(statement);
        out.push_str(if install::is_remark(statement) {
            "\n\n"
        } else {
            ";\n\n"
        });
    }
    out
}

async fn lock(client: &Client) -> Result<()> {
    let sql = format!("SET lock_timeout = '{LOCK_TIMEOUT}'; SELECT pg_advisory_lock({LOCK})");
    client
        .batch_execute(&sql)
        .await
        .map_err(|error| fail("wait for another setup of this database", error))
}

async fn unlock(client: &Client) -> Result<()> {
    let sql = format!("SELECT pg_advisory_unlock({LOCK}); RESET lock_timeout");
    client
        .batch_execute(&sql)
        .await
        .map_err(|error| fail("release the setup lock", error))
}

/// One by one, each its own transaction: a lock on one table is not held while others are waited for.
async fn execute(client: &Client, statements: &[String]) -> Result<()> {
    for statement in statements.iter().filter(|sql| !install::is_remark(sql)) {
        client.batch_execute(statement).await.map_err(|error| {
            let is_denied = error.code().is_some_and(|state| state.code() == "42501");
            let error = fail(format!("run {:?}", install::first_line(statement)), error);
            if is_denied && grants::is_for_a_superuser(statement) {
                return error.hint(format!(
                    "a superuser must run it once, then `tidelock setup --execute` goes on: {statement};"
                ));
            }
            match error.hint_text() {
                Some(_) => error,
                None => error.hint(
                    "setup needs an account that owns the tables and may create in the database; \
                     tidelock setup --print-sql shows what such an account must run",
                ),
            }
        })?;
    }
    Ok(())
}
