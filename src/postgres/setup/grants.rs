//! What the run account needs in this database and does not have, each with the statement that gives it.
//!
//! Owns: the list of privileges, which `check` tells and `setup` grants, down to columns. Refuses: telling what a role
//! could do by other means (`setup` gives an account of its own nothing it does not need).
//! A column of a table counts as held where the whole table is. Rows that row-level security would hide count as a
//! lacking right too, because nobody would notice that they are missing.

use super::numbers;
use super::state::{State, cell, rows};
use super::triggers;
use crate::error::Result;
use crate::install::literal;
use crate::model::schema::TableId;
use crate::model::sync::{Finding, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN, stamps_of};
use crate::postgres::fail;
use crate::postgres::sql::{quote, table};
use tokio_postgres::Client;

pub(super) const CONTROL_TABLES: [&str; 19] = [
    "schema_version",
    "node",
    "checkpoint",
    "table_state",
    "conflict",
    "lease",
    "link_state",
    "out_of_sync",
    "held_table",
    "parked",
    "missed_bump",
    "audit",
    "published",
    "collection",
    "chunk",
    "numbering",
    "stray_number",
    "resync",
    "round",
];
const ALL: &str = "SELECT, INSERT, UPDATE, DELETE";
/// Rows that were just written are found again by these; the right to read them is granted like that of any column.
const PLACES: [&str; 2] = ["ctid", "tableoid"];

const ALTER_ROLE: &str = "ALTER ROLE ";
const LET_BE_SILENT: &str = "GRANT SET ON PARAMETER session_replication_role TO ";

/// All else an owner of the tables may do who may create in the database.
pub(super) fn is_for_a_superuser(statement: &str) -> bool {
    statement.starts_with(ALTER_ROLE) || statement.starts_with(LET_BE_SILENT)
}

/// A right that is lacking.
pub(super) struct Lack {
    pub code: &'static str,
    pub table: Option<TableId>,
    /// After the role's name.
    pub what: String,
    /// The statement that gives it.
    pub fix: String,
    /// What else would answer it.
    pub or: String,
}

impl Lack {
    fn new(code: &'static str, what: impl Into<String>, fix: String) -> Self {
        Lack {
            code,
            table: None,
            what: what.into(),
            fix,
            or: String::new(),
        }
    }

    fn table(mut self, id: &TableId) -> Self {
        self.table = Some(id.clone());
        self
    }

    pub(super) fn finding(self, node: &str, role: &str) -> Finding {
        let what = format!("role {role:?} {}", self.what);
        let finding = Finding::blocker(self.code, node, what).fix(format!("{}{}", self.fix, self.or));
        match self.table {
            Some(table) => finding.table(table),
            None => finding,
        }
    }
}

/// `planned`: objects that setup is still to make count as there and not granted.
pub(super) async fn lacking(
    client: &Client,
    scope: &Scope,
    state: &State,
    role: &str,
    planned: bool,
) -> Result<Vec<Lack>> {
    let mut wanted = control(scope);
    let users = wanted.len();
    wanted.extend(
        scope
            .tables
            .iter()
            .map(|id| (id.clone(), table_privileges(scope))),
    );
    let mut lacks = schemas(client, role, &wanted, planned).await?;
    for (index, held) in privileges(client, role, &wanted).await?.into_iter().enumerate() {
        let (id, needed) = &wanted[index];
        match held {
            Some(held) => {
                let catalog = index
                    .checked_sub(users)
                    .and_then(|place| state.tables.get(place)?.as_ref());
                let spared = catalog.map_or(Vec::new(), |catalog| scope.spared(&catalog.table));
                lacks.extend(held.without(&spared).lack(id, role, index >= users));
            }
            None if planned => {
                let fix = format!("GRANT {needed} ON TABLE {} TO {}", table(id), quote(role));
                lacks.push(Lack::new("E105", format!("lacks {needed}"), fix).table(id));
            }
            None => {}
        }
    }
    if scope.is_source && !replicates(client, role).await? {
        let fix = format!("{ALTER_ROLE}{} REPLICATION", quote(role));
        lacks.push(Lack::new("E102", "may not replicate", fix));
    }
    if scope.is_target && !sets_replica_role(client, scope, state, role).await? {
        let what = "may not set session_replication_role, which keeps triggers silent";
        let fix = format!("{LET_BE_SILENT}{}", quote(role));
        lacks.push(Lack::new("E104", what, fix));
    }
    if scope.makes_images() {
        lacks.extend(makes_images(client, role).await?);
    }
    lacks.extend(hidden_rows(client, scope, role).await?);
    for (id, sequence) in numbers::sequences(scope, state) {
        lacks.extend(counts(client, role, sequence).await?.map(|lack| lack.table(id)));
    }
    let external = state.tables.iter().flatten();
    let external = external.filter(|found| scope.is_target && found.table.external.is_some());
    for found in external {
        if let Some(counter) = &found.counter {
            let lack = takes(client, role, &counter.sequence).await?;
            lacks.extend(lack.map(|lack| lack.table(&found.table.id)));
        }
    }
    Ok(lacks)
}

/// A row that arrives gets a key of this node's own.
async fn takes(client: &Client, role: &str, sequence: &str) -> Result<Option<Lack>> {
    let sql = "SELECT has_sequence_privilege($1::name, $2::text::regclass, 'USAGE')";
    let rows = rows(client, sql, &[&role, &sequence]).await?;
    let may = rows.first().map_or(Ok(false), |row| cell(row, 0))?;
    let fix = format!("GRANT USAGE ON SEQUENCE {sequence} TO {}", quote(role));
    let what = format!("may not take numbers of sequence {sequence}");
    Ok((!may).then(|| Lack::new("E105", what, fix)))
}

/// A copy brings rows that the sequence did not count; it is set behind them.
async fn counts(client: &Client, role: &str, sequence: &str) -> Result<Option<Lack>> {
    let sql = "SELECT has_sequence_privilege($1::name, $2::text::regclass, 'SELECT')
                      AND has_sequence_privilege($1::name, $2::text::regclass, 'UPDATE')";
    let rows = rows(client, sql, &[&role, &sequence]).await?;
    let may = rows.first().map_or(Ok(false), |row| cell(row, 0))?;
    let fix = format!("GRANT SELECT, UPDATE ON SEQUENCE {sequence} TO {}", quote(role));
    Ok((!may).then(|| Lack::new("E105", format!("may not set sequence {sequence}"), fix)))
}

/// An image lies in temporary tables, which are in no log and gone with their session.
async fn makes_images(client: &Client, role: &str) -> Result<Option<Lack>> {
    let sql =
        "SELECT has_database_privilege($1::name, current_database(), 'TEMPORARY'), current_database()::text";
    let rows = rows(client, sql, &[&role]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (may, database): (bool, String) = (cell(row, 0)?, cell(row, 1)?);
    let fix = format!(
        "GRANT TEMPORARY ON DATABASE {} TO {}",
        quote(&database),
        quote(role)
    );
    Ok((!may).then(|| Lack::new("E109", "may not make temporary tables, in which images lie", fix)))
}

/// What the run account does with the users' tables.
fn table_privileges(scope: &Scope) -> &'static str {
    match scope.is_target {
        true => ALL,
        false => "SELECT",
    }
}

fn control(scope: &Scope) -> Vec<(TableId, &'static str)> {
    let tombstones = scope
        .tables
        .iter()
        .filter(|_| scope.mode == Mode::Merge)
        .map(triggers::tombstones_id);
    let needed = if scope.is_read_alone() { "SELECT" } else { ALL };
    CONTROL_TABLES
        .iter()
        .map(|name| TableId::new("tidelock", *name))
        .chain(tombstones)
        .chain(scope.beside().map(stamps_of))
        .map(|id| (id, needed))
        .collect()
}

async fn schemas(
    client: &Client,
    role: &str,
    wanted: &[(TableId, &str)],
    planned: bool,
) -> Result<Vec<Lack>> {
    let mut names: Vec<&str> = wanted.iter().map(|(id, _)| id.schema.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let sql = "SELECT want.name, has_schema_privilege($2::name, n.oid, 'USAGE')
                 FROM unnest($1::text[]) AS want(name) LEFT JOIN pg_namespace n ON n.nspname = want.name ORDER BY 1";
    let mut lacks = Vec::new();
    for row in rows(client, sql, &[&names, &role]).await? {
        let name: String = cell(&row, 0)?;
        if cell::<Option<bool>>(&row, 1)?.unwrap_or(!planned) {
            continue;
        }
        let code = if name == "tidelock" { "E108" } else { "E105" };
        let fix = format!("GRANT USAGE ON SCHEMA {} TO {}", quote(&name), quote(role));
        lacks.push(Lack::new(code, format!("may not use schema {name}"), fix));
    }
    Ok(lacks)
}

/// What of the privileges on one table is missing.
struct Held {
    /// By privilege: `None` = on the whole table, else on these columns.
    missing: Vec<(String, Option<Vec<String>>)>,
}

impl Held {
    /// Without the columns on which no right is needed.
    fn without(mut self, spared: &[String]) -> Held {
        for (_, columns) in &mut self.missing {
            if let Some(columns) = columns {
                columns.retain(|name| !spared.contains(name));
            }
        }
        self.missing
            .retain(|(_, columns)| columns.as_ref().is_none_or(|columns| !columns.is_empty()));
        self
    }

    fn lack(self, id: &TableId, role: &str, is_users: bool) -> Option<Lack> {
        if self.missing.is_empty() {
            return None;
        }
        let (mut what, mut sql, mut leave_out) = (Vec::new(), Vec::new(), Vec::new());
        for (privilege, columns) in self.missing {
            let Some(columns) = columns else {
                what.push(privilege.clone());
                sql.push(privilege);
                continue;
            };
            let quoted: Vec<String> = columns.iter().map(|name| quote(name)).collect();
            what.push(format!("{privilege} on column {}", columns.join(", ")));
            sql.push(format!("{privilege} ({})", quoted.join(", ")));
            leave_out.extend(columns);
        }
        leave_out.retain(|name| {
            !PLACES.contains(&name.as_str()) && ![VERSION_COLUMN, ORIGIN_COLUMN].contains(&name.as_str())
        });
        let fix = format!(
            "GRANT {} ON TABLE {} TO {}",
            sql.join(", "),
            table(id),
            quote(role)
        );
        let code = if is_users { "E105" } else { "E108" };
        let mut lack = Lack::new(code, format!("lacks {}", what.join("; ")), fix).table(id);
        if is_users {
            lack.or = crate::install::or_skip(&id.name, leave_out);
        }
        Some(lack)
    }
}

/// One query for all; `None` where there is no such table. Generated columns are neither written nor read.
async fn privileges(client: &Client, role: &str, wanted: &[(TableId, &str)]) -> Result<Vec<Option<Held>>> {
    let sql = format!(
        "SELECT want.number, p.name, has_table_privilege($4::name, c.oid, p.name),
                ARRAY(SELECT a.attname::text FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attgenerated = ''
                         AND (a.attnum > 0 OR (p.name = 'SELECT' AND want.privileges <> 'SELECT'
                                               AND a.attname = ANY({})))
                         AND CASE p.name WHEN 'DELETE' THEN true
                                  ELSE NOT has_column_privilege($4::name, c.oid, a.attnum, p.name) END
                       ORDER BY a.attnum < 0, a.attnum),
                CASE p.name WHEN 'DELETE' THEN false ELSE has_any_column_privilege($4::name, c.oid, p.name) END
           FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS want(schema, name, privileges, number)
           JOIN pg_namespace n ON n.nspname = want.schema
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
          CROSS JOIN unnest(string_to_array(want.privileges, ', ')) WITH ORDINALITY AS p(name, place)
          ORDER BY want.number, p.place",
        places()
    );
    let schemas: Vec<&str> = wanted.iter().map(|(id, _)| id.schema.as_str()).collect();
    let names: Vec<&str> = wanted.iter().map(|(id, _)| id.name.as_str()).collect();
    let list: Vec<&str> = wanted.iter().map(|(_, privileges)| *privileges).collect();
    let mut held: Vec<Option<Held>> = wanted.iter().map(|_| None).collect();
    for row in rows(client, &sql, &[&schemas, &names, &list, &role]).await? {
        let place = usize::try_from(cell::<i64>(&row, 0)? - 1).ok();
        let Some(held) = place.and_then(|place| held.get_mut(place)) else {
            continue;
        };
        let held = held.get_or_insert(Held { missing: Vec::new() });
        let (privilege, whole): (String, bool) = (cell(&row, 1)?, cell(&row, 2)?);
        let (columns, some): (Vec<String>, bool) = (cell(&row, 3)?, cell(&row, 4)?);
        match (whole, some) {
            (true, _) => {}
            (false, true) if columns.is_empty() => {}
            (false, true) => held.missing.push((privilege, Some(columns))),
            (false, false) => held.missing.push((privilege, None)),
        }
    }
    Ok(held)
}

fn places() -> String {
    let names: Vec<String> = PLACES.iter().map(|name| literal(name)).collect();
    format!("ARRAY[{}]::name[]", names.join(", "))
}

async fn replicates(client: &Client, role: &str) -> Result<bool> {
    let sql = "SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = $1";
    let rows = rows(client, sql, &[&role]).await?;
    rows.first().map_or(Ok(false), |row| cell(row, 0))
}

/// Of one's own account by trying, because some providers allow it by other means than a grant.
async fn sets_replica_role(client: &Client, scope: &Scope, state: &State, role: &str) -> Result<bool> {
    if !state.is_run_user(scope) {
        let sql = "SELECT has_parameter_privilege($1::name, 'session_replication_role', 'SET')";
        let rows = rows(client, sql, &[&role]).await?;
        return rows.first().map_or(Ok(false), |row| cell(row, 0));
    }
    let doing = "try session_replication_role";
    client
        .batch_execute("BEGIN")
        .await
        .map_err(|error| fail(doing, error))?;
    let tried = client
        .batch_execute("SET LOCAL session_replication_role = replica")
        .await;
    client
        .batch_execute("ROLLBACK")
        .await
        .map_err(|error| fail(doing, error))?;
    match tried {
        Ok(()) => Ok(true),
        Err(error) if error.code().is_some_and(|state| state.code() == "42501") => Ok(false),
        Err(error) => Err(fail(doing, error)),
    }
}

/// Row-level security would show the first copy, and every look at a contested row, a part of the table.
async fn hidden_rows(client: &Client, scope: &Scope, role: &str) -> Result<Vec<Lack>> {
    let sql =
        "SELECT want.schema, want.name, c.relforcerowsecurity AND pg_has_role(r.oid, c.relowner, 'USAGE')
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want(schema, name, number)
                 JOIN pg_namespace n ON n.nspname = want.schema
                 JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
                 JOIN pg_roles r ON r.rolname = $3
                WHERE c.relrowsecurity AND NOT (r.rolsuper OR r.rolbypassrls)
                  AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
                ORDER BY want.number";
    let schemas: Vec<&str> = scope.tables.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = scope.tables.iter().map(|id| id.name.as_str()).collect();
    let mut lacks = Vec::new();
    for row in rows(client, sql, &[&schemas, &names, &role]).await? {
        let id = TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?);
        let what = match cell::<bool>(&row, 2)? {
            true => {
                "owns the table, but row-level security is forced on owners too and would hide rows from it"
            }
            false => "is under the table's row-level security, which would hide rows from it",
        };
        let fix = format!("{ALTER_ROLE}{} BYPASSRLS", quote(role));
        lacks.push(Lack::new("E250", what, fix).table(&id));
    }
    Ok(lacks)
}
