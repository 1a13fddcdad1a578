//! What is there now: our schema, our rows, our objects on the tables.
//!
//! Owns: reading; a fixed number of queries. Refuses: judging (see `check`, and `install::recorded` for what was set up
//! before) and planning (see `steps`).
//! Fails: with what the server says. A control schema that this account may not look into is [`Control::Closed`].

use super::{members, triggers};
use crate::error::Result;
use crate::install::recorded::{self, Mismatch, Node, Recorded, TableState};
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use crate::model::sync::{CatalogTable, GENERATION_COLUMN, Membership, Scope, Server, slot_name, stamps_of};
use crate::postgres::{catalog, fail, server};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row};

const DOING: &str = "read what is set up";

/// Copies that partitions have are counted for their table's trigger. The tree of partitions is newer than the
/// snapshot: one that the snapshot does not know as such has no copies yet.
const TRIGGERS: &str = "
    SELECT n.nspname::text, c.relname::text, t.tgname::text, coalesce(copies.other, t.tgenabled::text),
           p.proname::text, copies.whole
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid
     CROSS JOIN LATERAL (
           SELECT min(copy.tgenabled::text) FILTER (WHERE copy.tgenabled <> 'O') AS other,
                  count(part.relid) = count(copy.oid) AS whole
             FROM pg_partition_tree(t.tgrelid) part
             JOIN pg_class m ON m.oid = part.relid AND m.relkind IN ('r', 'p')
             JOIN pg_inherits i ON i.inhrelid = part.relid
             LEFT JOIN pg_trigger copy ON copy.tgrelid = part.relid AND copy.tgname = t.tgname
            WHERE part.level > 0) AS copies
     WHERE t.tgparentid = 0 AND starts_with(t.tgname::text, $1)";

pub(super) struct State {
    pub server: Server,
    pub current_user: String,
    pub run_user_exists: bool,
    pub control: Control,
    /// Of the control schema; 0 = there is none.
    pub version: i64,
    /// Every one that ran.
    pub versions: Vec<i64>,
    pub recorded: Recorded,
    /// In the scope's order.
    pub tables: Vec<Option<CatalogTable>>,
    /// Their tombstones, in the same order.
    pub tombstones: Vec<Option<CatalogTable>>,
    /// The stamp tables of those that may not be altered, in the same order.
    pub stamps: Vec<Option<CatalogTable>>,
    pub installed: Vec<Installed>,
    pub functions: Vec<(String, String)>,
    /// Tables in our schema.
    pub control_tables: Vec<String>,
    /// Those of them with an index on the generation.
    pub indexed: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Missing,
    /// It is there, but this account may not look into it.
    Closed,
    Ready,
}

/// A trigger of ours.
pub(super) struct Installed {
    pub table: TableId,
    pub trigger: String,
    /// Each partition has its copy.
    pub whole: bool,
    /// `O` as it must be; `D` off; `A` or `R` would fire in our own sessions. Of the table or of a copy that differs.
    pub enabled: String,
    pub function: String,
}

pub(super) async fn rows(client: &Client, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
    client
        .query(sql, values)
        .await
        .map_err(|error| fail(DOING, error))
}

pub(super) fn cell<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| fail(DOING, error))
}

/// The slots through which the sync's peers read this node.
pub(super) async fn slots(client: &Client, sync: &str) -> Result<Vec<String>> {
    let peers = "SELECT name::text FROM tidelock.node WHERE sync = $1 AND NOT is_self";
    let found = rows(client, peers, &[&sync]).await?;
    let name = |row: &Row| Ok(slot_name(sync, &cell::<String>(row, 0)?));
    found.iter().map(name).collect()
}

impl State {
    pub(super) async fn read(client: &Client, scope: &Scope) -> Result<State> {
        let sql = "SELECT current_user::text, EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
                          (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'tidelock'),
                          EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                   WHERE n.nspname = 'tidelock' AND c.relname = 'schema_version'),
                          (SELECT bool_and(has_table_privilege(c.oid, 'SELECT'))
                             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                            WHERE n.nspname = 'tidelock' AND c.relname = ANY($2::text[]))";
        let found = rows(
            client,
            sql,
            &[&scope.run_user, &&super::grants::CONTROL_TABLES[..]],
        )
        .await?;
        let tombstones: Vec<TableId> = scope.tables.iter().map(triggers::tombstones_id).collect();
        let stamps: Vec<TableId> = scope.tables.iter().map(stamps_of).collect();
        let mut state = State {
            server: server(client).await?,
            current_user: String::new(),
            run_user_exists: false,
            control: Control::Missing,
            version: 0,
            versions: Vec::new(),
            recorded: Recorded::default(),
            tables: scope.known(catalog::tables(client, &scope.tables).await?),
            tombstones: catalog::tables(client, &tombstones).await?,
            stamps: catalog::tables(client, &stamps).await?,
            installed: Vec::new(),
            functions: Vec::new(),
            control_tables: Vec::new(),
            indexed: Vec::new(),
        };
        for row in &found {
            state.current_user = cell(row, 0)?;
            state.run_user_exists = cell(row, 1)?;
            state.control = match (cell::<Option<bool>>(row, 2)?, cell::<bool>(row, 3)?) {
                (Some(false), _) => Control::Closed,
                (Some(true), true) if cell::<Option<bool>>(row, 4)? == Some(false) => Control::Closed,
                (Some(true), true) => Control::Ready,
                (Some(true) | None, _) => Control::Missing,
            };
        }
        state.read_objects(client).await?;
        if state.control == Control::Ready {
            state.read_control(client).await?;
        }
        Ok(state)
    }

    async fn read_control(&mut self, client: &Client) -> Result<()> {
        let versions = "SELECT version::bigint FROM tidelock.schema_version ORDER BY 1";
        for row in rows(client, versions, &[]).await? {
            self.version = cell(&row, 0)?;
            self.versions.push(self.version);
        }
        if self.version == 0 {
            self.control = Control::Missing;
            return Ok(());
        }
        let nodes =
            "SELECT sync, rank, name, is_self, identity, config_hash FROM tidelock.node ORDER BY sync, rank";
        for row in rows(client, nodes, &[]).await? {
            self.recorded.nodes.push(Node {
                sync: cell(&row, 0)?,
                rank: Rank::try_from(cell::<i16>(&row, 1)?).unwrap_or_default(),
                name: cell(&row, 2)?,
                is_self: cell(&row, 3)?,
                identity: cell(&row, 4)?,
                config_hash: cell(&row, 5)?,
                state: Membership::In,
            });
        }
        for (sync, member) in members::gone(client, &self.versions).await? {
            let is_it = |node: &&mut Node| node.sync == sync && node.rank == member.rank;
            if let Some(node) = self.recorded.nodes.iter_mut().find(is_it) {
                node.state = member.state;
            }
        }
        let tables =
            "SELECT schema_name, table_name, sync, tombstones, fingerprint FROM tidelock.table_state";
        for row in rows(client, tables, &[]).await? {
            self.recorded.tables.push(TableState {
                id: TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?),
                sync: cell(&row, 2)?,
                tombstones: cell(&row, 3)?,
                fingerprint: cell(&row, 4)?,
            });
        }
        let started = "SELECT DISTINCT sync FROM tidelock.checkpoint WHERE lane = 0 AND seq >= 0";
        for row in rows(client, started, &[]).await? {
            self.recorded.started.push(cell(&row, 0)?);
        }
        Ok(())
    }

    async fn read_objects(&mut self, client: &Client) -> Result<()> {
        for row in rows(client, TRIGGERS, &[&catalog::TRIGGER_PREFIX]).await? {
            self.installed.push(Installed {
                table: TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?),
                trigger: cell(&row, 2)?,
                enabled: cell(&row, 3)?,
                function: cell(&row, 4)?,
                whole: cell(&row, 5)?,
            });
        }
        let functions =
            "SELECT p.proname::text, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                          WHERE n.nspname = 'tidelock'";
        for row in rows(client, functions, &[]).await? {
            self.functions.push((cell(&row, 0)?, cell(&row, 1)?));
        }
        let tables = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE n.nspname = 'tidelock' AND c.relkind = 'r'";
        for row in rows(client, tables, &[]).await? {
            self.control_tables.push(cell(&row, 0)?);
        }
        let indexed = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                         JOIN pg_namespace n ON n.oid = c.relnamespace
                         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                        WHERE n.nspname = 'tidelock' AND a.attname = $1 AND i.indisvalid";
        for row in rows(client, indexed, &[&GENERATION_COLUMN]).await? {
            self.indexed.push(cell(&row, 0)?);
        }
        Ok(())
    }

    /// Why this is not the node that was set up; `None` when it is, or when nothing was set up yet.
    pub(super) fn mismatch(&self, scope: &Scope, peers: &[(Rank, String)]) -> Option<Mismatch> {
        let identity = (self.server.identity.as_str(), "system identifier/timeline");
        self.recorded
            .mismatch(scope, peers, identity)
            .or_else(|| self.changed_key())
    }

    pub(super) fn changed_key(&self) -> Option<Mismatch> {
        recorded::changed_key(&self.tables, &self.tombstones)
            .or_else(|| recorded::changed_key(&self.tables, &self.stamps))
    }

    pub(super) fn is_run_user(&self, scope: &Scope) -> bool {
        scope.run_user.is_empty() || scope.run_user == self.current_user
    }
}
