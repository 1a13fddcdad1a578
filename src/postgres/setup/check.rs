//! What PostgreSQL must be like, one small function per requirement; all findings at once.
//!
//! Owns: the findings and their codes, which `docs/errors.md` explains. Refuses: stopping at the first finding.

use super::beside;
use super::grants;
use super::lost;
use super::numbers;
use super::published;
use super::standing;
use super::state::{Control, State, cell};
use super::steps;
use super::tables;
use crate::error::Result;
use crate::install::{self, Step};
use crate::model::round::told;
use crate::model::sync::{Finding, Mode, Scope, slot_name};
use crate::postgres::numbers::strays;
use crate::postgres::sql::quote;
use crate::postgres::{fail, held, operations};
use std::time::Duration;
use tokio_postgres::Client;

/// Bursts so far apart keep log that somebody should have room for.
const LONG: Duration = Duration::from_secs(3_600);

/// 14 is past its end of life.
const VERSION_MIN: i32 = 150_000;

/// Every requirement of the node's part in the sync.
pub async fn check(client: &Client, scope: &Scope) -> Result<Vec<Finding>> {
    let state = State::read(client, scope).await?;
    let server = Settings::read(client, scope, &state).await?;
    let mut findings = vec![version(scope, &server, &state), recovery(scope, &server)];
    if scope.is_source {
        findings.extend([
            wal_level(scope, &server),
            slots(scope, &server),
            senders(scope, &server),
        ]);
        findings.push(retention(scope, &server));
        findings.extend(bursts(scope, &server));
    }
    // Before it is set up, setup comes first: it grants what of the rights it can.
    let is_set_up = state.control == Control::Ready;
    if is_set_up {
        accounts(client, scope, &state, &mut findings).await?;
    }
    findings.extend(tables::findings(scope, &state));
    findings.extend(tables::more(client, scope).await?);
    findings.extend(installed(client, scope, &state).await?);
    if is_set_up {
        findings.extend(beside::findings(client, scope, &state).await?);
    }
    if !is_set_up {
        accounts(client, scope, &state, &mut findings).await?;
    }
    if scope.is_target && state.version >= 2 {
        for lacks in operations::out_of_sync(client, &scope.sync, None).await? {
            findings.push(install::out_of_sync(scope, &lacks));
        }
        for held in held::held(client, &scope.sync, None).await? {
            findings.push(install::held(&scope.node, &held));
        }
        for strays in strays(client, &scope.sync, None).await? {
            findings.push(install::strayed(scope, &strays));
        }
    }
    Ok(findings)
}

/// What can change while a link runs: publication, replica identity, our triggers, the users' triggers.
pub async fn settings(client: &Client, scope: &Scope) -> Result<Vec<Finding>> {
    if let Some(lost) = lost::unpublished(client, scope).await? {
        return Ok(vec![lost]);
    }
    let mut missing_steps: Vec<Step> = Vec::new();
    steps::publication(client, scope, true, &mut missing_steps).await?;
    steps::identities(client, scope, &mut missing_steps).await?;
    let mut findings = install::findings(&scope.node, &missing_steps);
    findings.extend(standing::triggers(client, scope).await?);
    if scope.mode == Mode::Merge {
        findings.extend(altered(client, scope).await?);
    }
    Ok(findings)
}

/// A table that was altered so that its triggers, or its tombstones, do not fit it any more.
async fn altered(client: &Client, scope: &Scope) -> Result<Vec<Finding>> {
    let state = State::read(client, scope).await?;
    if state.control != Control::Ready {
        return Ok(Vec::new());
    }
    if let Some(what) = state.changed_key() {
        return Ok(vec![install::mismatch(scope, what)]);
    }
    let mut steps = steps::steps(client, &scope.without_account(), &state, &[]).await?;
    steps.retain(|step| step.code == steps::TABLE && step.what == steps::STAMP_FUNCTIONS);
    Ok(install::findings(&scope.node, &steps))
}

struct Settings {
    version_number: i32,
    in_recovery: bool,
    wal_level: String,
    max_slots: i64,
    used_slots: i64,
    max_senders: i64,
    used_senders: i64,
    /// A link of this sync already holds a slot, or is connected.
    own_slots: i64,
    own_senders: i64,
    keep_size: String,
}

impl Settings {
    async fn read(client: &Client, scope: &Scope, state: &State) -> Result<Settings> {
        let own: Vec<String> = state
            .recorded
            .nodes
            .iter()
            .filter(|node| node.sync == scope.sync && !node.is_self)
            .map(|node| slot_name(&scope.sync, &node.name))
            .collect();
        let sql = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('wal_level'),
                          current_setting('max_replication_slots')::bigint, (SELECT count(*) FROM pg_replication_slots),
                          current_setting('max_wal_senders')::bigint, (SELECT count(*) FROM pg_stat_replication),
                          (SELECT count(*) FROM pg_replication_slots WHERE slot_name::text = ANY($1::text[])),
                          (SELECT count(*) FROM pg_replication_slots WHERE slot_name::text = ANY($1::text[]) AND active),
                          current_setting('max_slot_wal_keep_size')";
        let row = client
            .query_one(sql, &[&own])
            .await
            .map_err(|error| fail("read the server's settings", error))?;
        Ok(Settings {
            version_number: cell(&row, 0)?,
            in_recovery: cell(&row, 1)?,
            wal_level: cell(&row, 2)?,
            max_slots: cell(&row, 3)?,
            used_slots: cell(&row, 4)?,
            max_senders: cell(&row, 5)?,
            used_senders: cell(&row, 6)?,
            own_slots: cell(&row, 7)?,
            own_senders: cell(&row, 8)?,
            keep_size: cell(&row, 9)?,
        })
    }
}

fn version(scope: &Scope, server: &Settings, state: &State) -> Finding {
    let version = &state.server.version;
    if server.version_number >= VERSION_MIN {
        return Finding::ok(&scope.node, format!("PostgreSQL {version}"));
    }
    let what = format!("PostgreSQL {version} is too old: 15 or newer is needed");
    Finding::blocker("E101", &scope.node, what).fix("upgrade the server with pg_upgrade")
}

fn recovery(scope: &Scope, server: &Settings) -> Finding {
    if !server.in_recovery {
        return Finding::ok(&scope.node, "the server takes writes");
    }
    Finding::blocker(
        Finding::READ_ONLY,
        &scope.node,
        "the server is a standby (in recovery)",
    )
    .fix("connect to the primary, or promote this one: SELECT pg_promote();")
}

fn wal_level(scope: &Scope, server: &Settings) -> Finding {
    if server.wal_level == "logical" {
        return Finding::ok(&scope.node, "wal_level = logical");
    }
    let what = format!("wal_level = {}, needs logical", server.wal_level);
    Finding::blocker("E201", &scope.node, what)
        .fix("ALTER SYSTEM SET wal_level = 'logical'; then restart the server")
}

/// How many more each link that reads this node needs, than are ours or free.
fn lacking(scope: &Scope, own: i64, free: i64) -> Option<i64> {
    let readers = i64::try_from(scope.readers).unwrap_or(i64::MAX);
    Some(readers - own.max(0) - free.max(0)).filter(|lacking| *lacking > 0)
}

fn slots(scope: &Scope, server: &Settings) -> Finding {
    let Some(lacking) = lacking(scope, server.own_slots, server.max_slots - server.used_slots) else {
        return Finding::ok(&scope.node, "a replication slot is free");
    };
    let what = match scope.readers {
        0 | 1 => format!("all {} replication slots are taken", server.max_slots),
        links => format!(
            "of {} replication slots {} are taken, and {links} links read this node: {lacking} more are needed",
            server.max_slots, server.used_slots
        ),
    };
    let fix = format!(
        "ALTER SYSTEM SET max_replication_slots = {}; then restart the server",
        server.max_slots + 5
    );
    Finding::blocker("E210", &scope.node, what).fix(fix)
}

fn senders(scope: &Scope, server: &Settings) -> Finding {
    let Some(lacking) = lacking(
        scope,
        server.own_senders,
        server.max_senders - server.used_senders,
    ) else {
        return Finding::ok(&scope.node, "a WAL sender is free");
    };
    let what = match scope.readers {
        0 | 1 => format!("all {} WAL senders are taken", server.max_senders),
        links => format!(
            "of {} WAL senders {} are taken, and {links} links read this node: {lacking} more are needed",
            server.max_senders, server.used_senders
        ),
    };
    let fix = format!(
        "ALTER SYSTEM SET max_wal_senders = {}; then restart the server",
        server.max_senders + 5
    );
    Finding::blocker("E211", &scope.node, what).fix(fix)
}

/// Between two bursts nobody takes anything from the slot.
fn bursts(scope: &Scope, server: &Settings) -> Option<Finding> {
    let every = scope.every.filter(|every| *every >= LONG)?;
    let limit = match server.keep_size.as_str() {
        "-1" => "without a limit".to_owned(),
        size => format!("up to max_slot_wal_keep_size = {size}, beyond which the link needs a new copy"),
    };
    let what = format!(
        "every = {}: between two bursts the slot keeps all WAL, {limit}",
        told(every)
    );
    let fix =
        "see that the disk, and max_slot_wal_keep_size, hold the WAL of that time; or make every shorter";
    Some(Finding::warning("W214", &scope.node, what).fix(fix))
}

fn retention(scope: &Scope, server: &Settings) -> Finding {
    if server.keep_size != "-1" {
        let what = format!("max_slot_wal_keep_size = {}", server.keep_size);
        return Finding::ok(&scope.node, what);
    }
    let what = "max_slot_wal_keep_size = -1: while the link is stopped, WAL is kept until the disk is full";
    Finding::warning("W212", &scope.node, what).fix(
        "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); a link stopped for longer than \
         that lasts needs a new copy",
    )
}

async fn accounts(client: &Client, scope: &Scope, state: &State, findings: &mut Vec<Finding>) -> Result<()> {
    if !scope.run_user.is_empty() && !state.run_user_exists {
        let what = format!("the run account {:?} does not exist", scope.run_user);
        findings.push(Finding::blocker("E106", &scope.node, what).fix(create_role(scope)));
        return Ok(());
    }
    let account = match state.is_run_user(scope) {
        true => &state.current_user,
        false => &scope.run_user,
    };
    let lacks = grants::lacking(client, scope, state, account, false).await?;
    findings.extend(lacks.into_iter().map(|lack| lack.finding(&scope.node, account)));
    Ok(())
}

pub(super) fn create_role(scope: &Scope) -> String {
    let role = quote(&scope.run_user);
    let replication = if scope.is_source { " REPLICATION" } else { "" };
    let silent = match scope.is_target {
        true => format!("; GRANT SET ON PARAMETER session_replication_role TO {role}"),
        false => String::new(),
    };
    format!("CREATE ROLE {role} LOGIN{replication} PASSWORD '...'{silent}")
}

/// What setup has installed for this node.
async fn installed(client: &Client, scope: &Scope, state: &State) -> Result<Vec<Finding>> {
    // The missing grants are told by `accounts`.
    if state.control == Control::Closed {
        return Ok(Vec::new());
    }
    if let Some(what) = state.mismatch(scope, &[]) {
        return Ok(vec![install::mismatch(scope, what)]);
    }
    if let Some(lost) = lost::unpublished(client, scope).await? {
        return Ok(vec![lost]);
    }
    let unlogged = published::compare(client, scope, false, false).await?;
    if !unlogged.is_empty() {
        return Ok(unlogged);
    }
    // What blocks a table is told above, and setup would refuse.
    if state
        .tables
        .iter()
        .any(|found| found.as_ref().is_none_or(|catalog| catalog.table.key.is_empty()))
    {
        return Ok(Vec::new());
    }
    // The account's own grants are looked at by `accounts`.
    let mut steps = steps::steps(client, &scope.without_account(), state, &[]).await?;
    numbers::steps(client, scope, state, &mut steps).await?;
    if steps.is_empty() {
        return Ok(vec![Finding::ok(&scope.node, "set up")]);
    }
    Ok(install::findings(&scope.node, &steps))
}
