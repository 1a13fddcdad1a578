//! The replication slot of a link: finding, judging, creating, dropping it, and the publication it is read with.
//!
//! Owns: everything that asks `pg_replication_slots`. A slot is the promise that nothing after its
//! `confirmed_flush_lsn` is thrown away; so one that stands *ahead* of a checkpoint, or is lost, means changes that
//! nobody will ever send again, and the only way back is a new copy.
//! Fails: `Reason::PositionLost` for that; transient when somebody else is reading the slot.

use super::replication::Replication;
use super::{fail, sql};
use crate::access::Access;
use crate::error::{Error, LOST, NEW_COPY, Reason, Result};
use crate::model::position::{lsn_text, parse_lsn};
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, publication_name};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// Creating a slot waits for every transaction that was open when it began. Longer than this is a forgotten session.
const CREATE_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Slot {
    pub(super) name: String,
    plugin: String,
    database: String,
    here: bool,
    active_pid: Option<i32>,
    pub(super) confirmed: Option<u64>,
    lost: bool,
    two_phase: bool,
}

pub(super) async fn find(client: &Client, name: &str) -> Result<Option<Slot>> {
    let doing = format!("look at replication slot {name}");
    let row = client
        .query_opt(
            "SELECT coalesce(plugin, '')::text, coalesce(database, '')::text,
                    coalesce(database = current_database(), false), active_pid, confirmed_flush_lsn::text,
                    coalesce(wal_status = 'lost', false), two_phase
               FROM pg_replication_slots WHERE slot_name = $1",
            &[&name],
        )
        .await
        .map_err(|error| fail(&doing, error))?;
    let Some(row) = row else { return Ok(None) };
    let read = || -> Result<Slot, tokio_postgres::Error> {
        Ok(Slot {
            name: name.to_owned(),
            plugin: row.try_get(0)?,
            database: row.try_get(1)?,
            here: row.try_get(2)?,
            active_pid: row.try_get(3)?,
            confirmed: row.try_get::<_, Option<&str>>(4)?.and_then(parse_lsn),
            lost: row.try_get(5)?,
            two_phase: row.try_get(6)?,
        })
    };
    read().map(Some).map_err(|error| fail(doing, error))
}

pub(super) fn missing(name: &str) -> Error {
    Error::definite(format!("read replication slot {name}"))
        .reason(Reason::PositionLost)
        .why("it does not exist, so the server no longer keeps the log from our checkpoint on")
        .hint(LOST)
}

impl Slot {
    /// Is it of our kind, and does nobody read it?
    pub(super) fn usable(&self) -> Result<()> {
        let doing = format!("use replication slot {}", self.name);
        if self.plugin != "pgoutput" || !self.here {
            return Err(Error::definite(doing)
                .why(format!(
                    "it is one of plugin {:?} for database {:?}, so somebody else made it",
                    self.plugin, self.database
                ))
                .hint(format!(
                    "if nothing needs it: SELECT pg_drop_replication_slot('{}')",
                    self.name
                )));
        }
        if self.two_phase {
            return Err(Error::definite(doing)
                .why("it was made with two_phase, so it sends prepared transactions before they are committed; ours is not")
                .hint(format!(
                    "somebody else made it; drop it with SELECT pg_drop_replication_slot('{}') and {NEW_COPY}",
                    self.name
                )));
        }
        match self.active_pid {
            None => Ok(()),
            Some(pid) => Err(Error::transient(doing)
                .why(format!("process {pid} of the server is reading it for somebody"))
                .hint(format!(
                    "is another Tidelock running? If it is dead: SELECT pg_terminate_backend({pid})"
                ))),
        }
    }

    /// Can it serve everything after `from`?
    pub(super) fn serves(&self, from: u64) -> Result<()> {
        let lost = |why: String| {
            Err(Error::definite(format!(
                "read replication slot {} from {}",
                self.name,
                lsn_text(from)
            ))
            .reason(Reason::PositionLost)
            .why(why)
            .hint(LOST))
        };
        if self.lost {
            return lost("the server threw the log it needs away (max_slot_wal_keep_size)".to_owned());
        }
        match self.confirmed {
            Some(confirmed) if confirmed <= from => Ok(()),
            Some(confirmed) => lost(format!(
                "the slot is ahead, at {}: it was made anew or read by somebody else, and the changes between are gone",
                lsn_text(confirmed)
            )),
            None => lost("the slot was never completed".to_owned()),
        }
    }
}

/// What is visible now was logged before it.
pub(super) async fn log_end(client: &Client) -> Result<u64> {
    const DOING: &str = "read where the server's log ends";
    let row = client
        .query_one(
            "SELECT coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                  ELSE pg_current_wal_insert_lsn() END, '0/0')::text",
            &[],
        )
        .await
        .map_err(|error| fail(DOING, error))?;
    let end = row.try_get::<_, &str>(0).map_err(|error| fail(DOING, error))?;
    parse_lsn(end).ok_or_else(|| Error::bug(DOING).why("the server's answer is no position"))
}

/// A checkpoint past the end of the server's log is one of another server, or of this one before it was restored.
pub(super) async fn check_log_reaches(client: &Client, from: u64) -> Result<()> {
    let end = log_end(client).await?;
    if end >= from {
        return Ok(());
    }
    Err(
        Error::definite("compare the checkpoint with the end of the server's log")
            .reason(Reason::PositionLost)
            .why(format!(
                "the checkpoint stands at {} and the log ends at {}: was the server restored from a backup?",
                lsn_text(from),
                lsn_text(end)
            ))
            .hint(NEW_COPY),
    )
}

/// The oids of the tables. One outside the publication would silently not be replicated, and where a link has
/// `read_before` it lacks what was written since.
pub(super) async fn published(
    client: &Client,
    sync: &str,
    tables: &[Arc<CatalogTable>],
    read_before: bool,
) -> Result<HashMap<u32, TableId>> {
    let name = publication_name(sync);
    let doing = format!("use publication {name}");
    let schemas: Vec<&str> = tables
        .iter()
        .map(|table| table.table.id.schema.as_str())
        .collect();
    let names: Vec<&str> = tables.iter().map(|table| table.table.id.name.as_str()).collect();
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1),
                    (SELECT min(format('%I.%I', want.schema, want.name)) FROM unnest($2::text[], $3::text[]) want(schema, name)
                      WHERE NOT EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = $1
                                           AND t.schemaname = want.schema AND t.tablename = want.name))",
            &[&name, &schemas, &names],
        )
        .await
        .map_err(|error| fail(&doing, error))?;
    let exists: bool = row.try_get(0).map_err(|error| fail(&doing, error))?;
    let outside: Option<String> = row.try_get(1).map_err(|error| fail(&doing, error))?;
    if !exists {
        return Err(Error::definite(doing)
            .why("it does not exist")
            .hint("run `tidelock setup --execute`"));
    }
    let Some(table) = outside else {
        return oids(client, &schemas, &names).await;
    };
    let outside = Error::definite(doing).table(&table);
    Err(match read_before {
        true => outside
            .reason(Reason::PositionLost)
            .why("the table is not in it: what was written since it left is not sent")
            .hint(NEW_COPY),
        false => outside
            .why("the table is not in it, so its changes would not be sent")
            .hint("run `tidelock setup --execute`"),
    })
}

async fn oids(client: &Client, schemas: &[&str], names: &[&str]) -> Result<HashMap<u32, TableId>> {
    const DOING: &str = "look up the tables of the sync";
    let found = client
        .query(
            "SELECT c.oid, want.schema, want.name FROM unnest($1::text[], $2::text[]) AS want(schema, name)
               JOIN pg_namespace n ON n.nspname = want.schema
               JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name",
            &[&schemas, &names],
        )
        .await
        .map_err(|error| fail(DOING, error))?;
    let table = |row: &tokio_postgres::Row| -> Result<(u32, TableId), tokio_postgres::Error> {
        let id = TableId::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?);
        Ok((row.try_get(0)?, id))
    };
    let oids = found.iter().map(table).collect::<Result<_, _>>();
    oids.map_err(|error| fail(DOING, error))
}

pub(super) struct Created {
    pub(super) start: u64,
    /// Name of the exported snapshot, valid while `connection` lives.
    pub(super) snapshot: Option<String>,
    pub(super) connection: Replication,
}

/// Creates the slot, with the snapshot of exactly the point it starts at when `export` is set.
pub(super) async fn create(access: &Access, client: &Client, name: &str, export: bool) -> Result<Created> {
    let doing = format!("create replication slot {name}");
    let mut connection = Replication::connect(access).await?;
    let snapshot = if export { "export" } else { "nothing" };
    let statement = format!(
        "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT '{snapshot}')",
        sql::quote(name)
    );
    let rows = match tokio::time::timeout(CREATE_LIMIT, connection.query(&doing, &statement)).await {
        Ok(rows) => rows?,
        Err(_) => return Err(waited_in_vain(client, &doing, name).await),
    };
    let cell = |index: usize| {
        rows.first()
            .and_then(|row| row.get(index))
            .and_then(Option::as_deref)
    };
    let start = cell(1)
        .and_then(parse_lsn)
        .ok_or_else(|| Error::bug(&doing).why("the server's answer has no position"))?;
    let snapshot = cell(2).map(str::to_owned);
    Ok(Created {
        start,
        snapshot,
        connection,
    })
}

/// Ends the walsender that still waits (it would not notice that we are gone), and says for whom it waited.
async fn waited_in_vain(client: &Client, doing: &str, name: &str) -> Error {
    let blockers = client
        .query_one(
            "SELECT coalesce(string_agg(CASE WHEN b.pid = 0 THEN 'a prepared one (see pg_prepared_xacts)'
                        ELSE format('of process %s (user %s', b.pid, a.usename)
                             || coalesce(', open for ' || extract(epoch FROM now() - a.xact_start)::int || ' s', '') || ')'
                    END, ', '), 'not known')
               FROM pg_replication_slots s CROSS JOIN unnest(pg_blocking_pids(s.active_pid)) AS b(pid)
               LEFT JOIN pg_stat_activity a ON a.pid = b.pid WHERE s.slot_name = $1",
            &[&name],
        )
        .await
        .ok()
        .and_then(|row| row.try_get::<_, String>(0).ok())
        .unwrap_or_default();
    let ended = client
        .execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active",
            &[&name],
        )
        .await;
    if let Err(error) = ended {
        tracing::warn!(%error, slot = name, "the session that was creating the slot could not be ended");
    }
    Error::transient(doing)
        .why(format!(
            "it waits for transactions that were open before it; after {} s still open: {blockers}",
            CREATE_LIMIT.as_secs()
        ))
        .hint("let them end, or end them: SELECT pg_terminate_backend(PID)")
}

pub(super) async fn remove(client: &Client, slot: &Slot) -> Result<()> {
    slot.usable()?;
    client
        .execute("SELECT pg_drop_replication_slot($1)", &[&slot.name])
        .await
        .map_err(|error| fail(format!("drop replication slot {}", slot.name), error))?;
    Ok(())
}
