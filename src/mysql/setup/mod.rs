//! `check`, `setup` and `teardown` of one MySQL or MariaDB server.
//!
//! Owns: what a node needs to take part in a sync ([`check`]), what is dynamic of that ([`settings`]), and the
//! statements that install and remove our objects ([`setup_sql`], [`teardown_sql`]), whose texts are templates in
//! `sql/mysql/`. Refuses: changing anything except through [`setup`] and [`teardown`], which run those statements
//! under one lock per server, so that syncs set up at the same time do not meet.
//! Fails: `Definite` with the SQL that mends it. Every statement may run again, so a failed setup is simply repeated.

mod beside;
mod check;
mod grants;
pub mod members;
mod numbers;
mod removal;
mod state;
mod steps;
mod tables;
mod triggers;
mod versions;

use super::{SQL_MODE, fail};
use crate::error::{Error, Result};
use crate::install;
use crate::model::stamp::Rank;
use crate::model::sync::Scope;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use state::State;

pub use check::{check, settings};
pub use removal::teardown_sql;
pub use steps::CONTROL_FILES;

const LOCK: &str = "tidelock.setup";
/// Seconds that setup waits for that lock and for each table it alters. A longer wait would hold up the users of
/// the table, who queue behind us.
const LOCK_TIMEOUT_S: u32 = 60;
/// A trigger may not be made while the binlog is on, by an account without SUPER.
const TRIGGERS_NOT_TRUSTED: &str = "ERROR 1419";
const DENIED: &str = "ERROR 1227";
/// What an owner meets who may not see which accounts there are; with the right to make some, MariaDB says the other.
const NO_SUCH_ACCOUNT: [&str; 2] = ["ERROR 1410", "ERROR 1133"];

/// The statements that are still needed, in order; none when all is done. `peers` are the other nodes of the sync.
pub async fn setup_sql(conn: &mut Conn, scope: &Scope, peers: &[(Rank, String)]) -> Result<Vec<String>> {
    let state = State::read(conn, scope).await?;
    if let Some(why) = state.mismatch(scope, peers) {
        return Err(install::mismatched(scope, why));
    }
    if let Some(error) = install::blocked(scope, &tables::findings(scope, &state)) {
        return Err(error);
    }
    if let Some(other) = numbers::otherwise(conn, scope, &state).await?
        && let Some(error) = install::blocked(scope, &[other])
    {
        return Err(error);
    }
    let mut steps = steps::steps(conn, scope, &state, peers).await?;
    numbers::steps(conn, scope, &state, &mut steps).await?;
    Ok(steps.into_iter().map(|step| step.sql).collect())
}

/// Installs what is missing and returns the statements that were run.
pub async fn setup(conn: &mut Conn, scope: &Scope, peers: &[(Rank, String)]) -> Result<Vec<String>> {
    lock(conn).await?;
    let statements = setup_sql(conn, scope, peers).await;
    run(conn, scope, statements).await
}

/// Removes what setup installed and returns the statements that were run, remarks included.
pub async fn teardown(conn: &mut Conn, scope: &Scope) -> Result<Vec<String>> {
    lock(conn).await?;
    let statements = teardown_sql(conn, scope).await;
    run(conn, scope, statements).await
}

/// Runs these statements under the setup lock.
pub async fn run_all(conn: &mut Conn, scope: &Scope, statements: &[String]) -> Result<()> {
    lock(conn).await?;
    run(conn, scope, Ok(statements.to_vec())).await.map(|_| ())
}

/// Runs what is to be done under the lock, and gives it back.
async fn run(conn: &mut Conn, scope: &Scope, statements: Result<Vec<String>>) -> Result<Vec<String>> {
    let outcome = match statements {
        Ok(statements) => execute(conn, scope, &statements).await.map(|()| statements),
        Err(error) => Err(error),
    };
    let unlocked = unlock(conn).await;
    // The first error is the one that tells.
    outcome.and_then(|statements| unlocked.map(|()| statements))
}

/// Statements as a script that the `mysql` and `mariadb` programs run.
pub fn script(statements: &[String]) -> String {
    if statements.iter().all(|sql| install::is_remark(sql)) {
        return statements.iter().map(|remark| format!("{remark}\n\n")).collect();
    }
    let mut out = format!("SET NAMES utf8mb4;\n{SQL_MODE};\n\n");
    for statement in statements {
        if install::is_remark(statement) {
            out.push_str(&format!("{statement}\n\n"));
        } else if statement.contains(';') {
            // These programs cut at the delimiter wherever it stands.
            let mut delimiter = "$$".to_owned();
            while statement.contains(&delimiter) {
                delimiter.push('$');
            }
            out.push_str(&format!(
                "DELIMITER {delimiter}\n{statement}{delimiter}\nDELIMITER ;\n\n"
            ));
        } else {
            out.push_str(&format!("{statement};\n\n"));
        }
    }
    out
}

async fn lock(conn: &mut Conn) -> Result<()> {
    let doing = "wait for another setup of this server";
    let sql = format!("SET SESSION lock_wait_timeout = {LOCK_TIMEOUT_S}");
    conn.query_drop(sql).await.map_err(|error| fail(doing, error))?;
    let sql = format!("SELECT GET_LOCK('{LOCK}', {LOCK_TIMEOUT_S})");
    let got: Option<Option<i64>> = conn.query_first(sql).await.map_err(|error| fail(doing, error))?;
    if got.flatten() != Some(1) {
        return Err(Error::transient(doing).why(format!("it did not end within {LOCK_TIMEOUT_S} s")));
    }
    Ok(())
}

async fn unlock(conn: &mut Conn) -> Result<()> {
    for sql in [
        format!("DO RELEASE_LOCK('{LOCK}')"),
        "SET SESSION lock_wait_timeout = DEFAULT".to_owned(),
    ] {
        conn.query_drop(sql)
            .await
            .map_err(|error| fail("release the setup lock", error))?;
    }
    Ok(())
}

async fn execute(conn: &mut Conn, scope: &Scope, statements: &[String]) -> Result<()> {
    for statement in statements.iter().filter(|sql| !install::is_remark(sql)) {
        conn.query_drop(statement).await.map_err(|error| {
            let error = fail(format!("run {:?}", install::first_line(statement)), error);
            if error.to_string().contains(TRIGGERS_NOT_TRUSTED) {
                return error.hint("SET GLOBAL log_bin_trust_function_creators = 1; or use an account with SUPER");
            }
            if numbers::is_of_the_server(statement) && error.to_string().contains(DENIED) {
                return error.hint(format!(
                    "an account that may set variables of the server (MySQL: SYSTEM_VARIABLES_ADMIN; MariaDB: SUPER) must \
                     run it once, then `tidelock setup --execute` goes on: {statement};"
                ));
            }
            if NO_SUCH_ACCOUNT.iter().any(|code| error.to_string().contains(code))
                && let Some(account) = steps::grantee(statement)
            {
                return error.hint(no_account(account, &scope.run_user));
            }
            match error.hint_text() {
                Some(_) => error,
                None => error.hint(
                    "setup needs an account that may ALTER the tables, make triggers on them and create database \
                     tidelock; tidelock setup --print-sql shows what such an account must run",
                ),
            }
        })?;
    }
    Ok(())
}

/// A run account without a host was looked for in vain, since this account may not see which there are.
fn no_account(account: &str, run_user: &str) -> String {
    let create = steps::create_user(account);
    match grants::account(run_user).1 {
        Some(_) => create,
        None => format!(
            "{create}; or, if it is there with another host, run setup as an account that may SELECT on mysql.user"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_to_make_is_the_one_that_lacks() {
        let grant = "GRANT SELECT ON `a TO b`.* TO 'app'@'10.1.%'";
        let account = steps::grantee(grant).unwrap();
        assert_eq!(
            no_account(account, "app@10.1.%"),
            "CREATE USER 'app'@'10.1.%' IDENTIFIED BY '...'"
        );
        let guessed = no_account("'app'@'%'", "app");
        assert!(guessed.contains("another host"), "{guessed}");
        assert_eq!(steps::grantee("CREATE TABLE x (a int)"), None);
    }

    #[test]
    fn bodies_get_a_delimiter_of_their_own() {
        let text = script(&[
            "-- kept: x;".to_owned(),
            "CREATE a BEGIN b; '$$' END".to_owned(),
            "DROP c".to_owned(),
        ]);
        assert!(text.contains("\n-- kept: x;\n"), "{text}");
        assert!(
            text.contains("DELIMITER $$$\nCREATE a BEGIN b; '$$' END$$$\nDELIMITER ;\n"),
            "{text}"
        );
        assert!(text.ends_with("\nDROP c;\n\n"), "{text}");
    }
}
