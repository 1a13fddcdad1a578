//! What is there now: our database, our rows, our objects on the tables.
//!
//! Owns: reading; a fixed number of queries per database. Refuses: judging (see `check`, and `install::recorded` for what
//! was set up before) and planning (see `steps`).
//! Fails: with what the server says. A control database that this account may not look into is [`Control::Closed`].

use super::grants::{self, Grant};
use super::{members, triggers};
use crate::error::{Error, Result};
use crate::install::recorded::{self, Mismatch, Node, Recorded, TableState};
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use crate::model::sync::{
    CatalogTable, GENERATION_COLUMN, Membership, Scope, Server, VERSION_COLUMN, stamps_of,
};
use crate::mysql::{Flavor, catalog, fail, flavor, server};
use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Conn, Params, Row, Value};

const DOING: &str = "read what is set up";

pub(super) struct State {
    pub flavor: Flavor,
    /// Positions are sets or lists of GTIDs.
    pub has_gtids: bool,
    pub server: Server,
    /// `user@host`, as the server knows the session's account.
    pub current_user: String,
    pub grants: Vec<Grant>,
    pub control: Control,
    /// Of the control database; 0 = there is none.
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
    /// Tables of our database that have an index on the version or the generation, with that column.
    pub indexed: Vec<(String, String)>,
    /// Every trigger in the tables' databases.
    pub triggers: Vec<Installed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Missing,
    /// This account may not look into our database. Whether it exists the server does not say then.
    Closed,
    Ready,
}

pub(super) struct Installed {
    pub table: TableId,
    pub trigger: String,
    /// `BEFORE INSERT` and so on.
    pub moment: String,
    pub order: i64,
    pub body: String,
}

pub(super) async fn rows(conn: &mut Conn, sql: &str, values: &[&str]) -> Result<Vec<Row>> {
    let values = Params::Positional(values.iter().map(|value| Value::from(*value)).collect());
    conn.exec(sql, values).await.map_err(|error| fail(DOING, error))
}

pub(super) fn cell<T: FromValue>(row: &Row, index: usize) -> Result<T> {
    match row.get_opt(index) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) | None => Err(Error::definite(DOING).why(format!(
            "column {index} of the answer is not what it was asked for"
        ))),
    }
}

async fn has_gtids(conn: &mut Conn, flavor: Flavor) -> Result<bool> {
    if flavor == Flavor::Mariadb {
        return Ok(true);
    }
    let mode: Option<String> = conn
        .query_first("SELECT @@GLOBAL.gtid_mode")
        .await
        .map_err(|error| fail(DOING, error))?;
    Ok(mode.as_deref() == Some("ON"))
}

async fn indexed(conn: &mut Conn) -> Result<Vec<(String, String)>> {
    let sql = "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS
                WHERE TABLE_SCHEMA = 'tidelock' AND COLUMN_NAME IN (?, ?) AND SEQ_IN_INDEX = 1";
    let found = rows(conn, sql, &[VERSION_COLUMN, GENERATION_COLUMN]).await?;
    found
        .iter()
        .map(|row| Ok((cell(row, 0)?, cell(row, 1)?)))
        .collect()
}

impl State {
    pub(super) async fn read(conn: &mut Conn, scope: &Scope) -> Result<State> {
        let flavor = flavor(conn).await?;
        let (control, versions) = control(conn).await?;
        let server = match control {
            // On MariaDB the identity lies in our own database.
            Control::Closed if flavor == Flavor::Mariadb => Server {
                engine: "mariadb",
                version: String::new(),
                identity: String::new(),
            },
            Control::Closed | Control::Missing | Control::Ready => server(conn, &flavor).await?,
        };
        let tombstones: Vec<TableId> = scope.tables.iter().map(triggers::tombstones_id).collect();
        let stamps: Vec<TableId> = scope.tables.iter().map(stamps_of).collect();
        let mut state = State {
            flavor,
            has_gtids: has_gtids(conn, flavor).await?,
            server,
            current_user: String::new(),
            grants: grants::own(conn, flavor).await?,
            control,
            version: versions.last().copied().unwrap_or_default(),
            versions,
            recorded: Recorded::default(),
            tables: scope.known(catalog::tables(conn, &scope.tables).await?),
            tombstones: catalog::tables(conn, &tombstones).await?,
            stamps: catalog::tables(conn, &stamps).await?,
            indexed: indexed(conn).await?,
            triggers: triggers(conn, scope).await?,
        };
        for row in rows(conn, "SELECT CURRENT_USER()", &[]).await? {
            state.current_user = cell(&row, 0)?;
        }
        if control == Control::Ready {
            state.read_control(conn).await?;
        }
        Ok(state)
    }

    async fn read_control(&mut self, conn: &mut Conn) -> Result<()> {
        let nodes = "SELECT sync, `rank`, name, is_self, identity, config_hash FROM tidelock.node ORDER BY sync, `rank`";
        for row in rows(conn, nodes, &[]).await? {
            self.recorded.nodes.push(Node {
                sync: cell(&row, 0)?,
                rank: cell(&row, 1)?,
                name: cell(&row, 2)?,
                is_self: cell(&row, 3)?,
                identity: cell(&row, 4)?,
                config_hash: cell(&row, 5)?,
                state: Membership::In,
            });
        }
        for (sync, member) in members::gone(conn, &self.versions).await? {
            let is_it = |node: &&mut Node| node.sync == sync && node.rank == member.rank;
            if let Some(node) = self.recorded.nodes.iter_mut().find(is_it) {
                node.state = member.state;
            }
        }
        let tables =
            "SELECT schema_name, table_name, sync, tombstones, fingerprint FROM tidelock.table_state";
        for row in rows(conn, tables, &[]).await? {
            self.recorded.tables.push(TableState {
                id: TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?),
                sync: cell(&row, 2)?,
                tombstones: cell(&row, 3)?,
                fingerprint: cell(&row, 4)?,
            });
        }
        let started = "SELECT DISTINCT sync FROM tidelock.checkpoint WHERE lane = 0 AND seq >= 0";
        for row in rows(conn, started, &[]).await? {
            self.recorded.started.push(cell(&row, 0)?);
        }
        Ok(())
    }

    /// Why this is not the node that was set up; `None` when it is, or when nothing was set up yet.
    pub(super) fn mismatch(&self, scope: &Scope, peers: &[(Rank, String)]) -> Option<Mismatch> {
        let what = match self.flavor {
            Flavor::Mysql => "server_uuid",
            Flavor::Mariadb => "row of tidelock.server_id",
        };
        let identity = (self.server.identity.as_str(), what);
        self.recorded
            .mismatch(scope, peers, identity)
            .or_else(|| self.changed_key())
    }

    pub(super) fn changed_key(&self) -> Option<Mismatch> {
        recorded::changed_key(&self.tables, &self.tombstones)
            .or_else(|| recorded::changed_key(&self.tables, &self.stamps))
    }

    pub(super) fn is_run_user(&self, scope: &Scope) -> bool {
        let (name, _) = grants::account(&self.current_user);
        let (wanted, _) = grants::account(&scope.run_user);
        wanted.is_empty() || wanted == name
    }
}

/// The versions that ran, oldest first.
async fn control(conn: &mut Conn) -> Result<(Control, Vec<i64>)> {
    let sql = "SELECT version FROM tidelock.schema_version ORDER BY version";
    let found: Result<Vec<i64>, mysql_async::Error> = conn.query(sql).await;
    match found {
        Ok(versions) if versions.is_empty() => Ok((Control::Missing, versions)),
        Ok(versions) => Ok((Control::Ready, versions)),
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1146 | 1049) => {
            Ok((Control::Missing, Vec::new()))
        }
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1142 | 1044) => {
            Ok((Control::Closed, Vec::new()))
        }
        Err(error) => Err(fail(DOING, error)),
    }
}

async fn triggers(conn: &mut Conn, scope: &Scope) -> Result<Vec<Installed>> {
    let sql = "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, ACTION_STATEMENT
                 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? ORDER BY ACTION_ORDER";
    let mut triggers = Vec::new();
    for schema in catalog::by_schema(&scope.tables).into_keys() {
        for row in rows(conn, sql, &[schema]).await? {
            triggers.push(Installed {
                table: TableId::new(schema, cell::<String>(&row, 0)?),
                trigger: cell(&row, 1)?,
                moment: format!("{} {}", cell::<String>(&row, 2)?, cell::<String>(&row, 3)?),
                order: cell(&row, 4)?,
                body: cell::<Option<String>>(&row, 5)?.unwrap_or_default(),
            });
        }
    }
    Ok(triggers)
}
