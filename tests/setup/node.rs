//! One database as a node of a sync, whichever engine it is: set up by its owner, checked by the run account.

use crate::harness::{Db, Kind, access, database};
use mysql_async::Conn;
use tidelock::error::Result;
use tidelock::model::schema::TableId;
use tidelock::model::sync::{CatalogTable, Finding, Level, Mode, Scope};
use tidelock::{mysql, postgres};
use tokio_postgres::Client;

pub(crate) enum Engine {
    Postgres(Client),
    Mysql(Conn),
}

/// The database, the owner's session of Tidelock's own on it, and a sync that is both source and target.
pub(crate) struct Node {
    pub db: Db,
    pub engine: Engine,
    pub scope: Scope,
}

impl Engine {
    pub(crate) async fn open(db: &Db, user: &str) -> Engine {
        let access = access("here", &db.url_as(user, user));
        match db.kind().is_postgres() {
            true => Engine::Postgres(postgres::connect(&access).await.unwrap()),
            false => Engine::Mysql(mysql::connect(&access).await.unwrap()),
        }
    }
}

impl Node {
    /// `tables` are made in the database's own schema by `ddl`, in which `KEY` stands for an integer key column.
    pub(crate) async fn new(kind: Kind, hint: &str, ddl: &str, tables: &[&str]) -> Node {
        Node::on(database(kind, hint).await, ddl, tables).await
    }

    pub(crate) async fn on(db: Db, ddl: &str, tables: &[&str]) -> Node {
        let db = db.with_accounts().await;
        if !ddl.is_empty() {
            db.exec(ddl).await;
        }
        let schema = if db.kind().is_postgres() {
            "public"
        } else {
            db.name()
        };
        let scope = Scope {
            sync: db.name().to_owned(),
            node: "here".to_owned(),
            rank: 3,
            mode: Mode::Merge,
            tables: tables.iter().map(|name| TableId::new(schema, *name)).collect(),
            mapped: Vec::new(),
            first_origin: 0,
            is_source: true,
            readers: 1,
            every: None,
            is_target: true,
            is_hub: false,
            config_hash: "hash".to_owned(),
            run_user: db.run_account().to_owned(),
        };
        let engine = Engine::open(&db, db.owner()).await;
        Node { db, engine, scope }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.db.kind().is_postgres()
    }

    pub(crate) async fn setup(&mut self) -> Vec<String> {
        self.try_setup()
            .await
            .unwrap_or_else(|error| panic!("{error}; hint: {:?}", error.hint_text()))
    }

    pub(crate) async fn try_setup(&mut self) -> Result<Vec<String>> {
        let peers = [(4, "there".to_owned())];
        match &mut self.engine {
            Engine::Postgres(client) => postgres::setup::setup(client, &self.scope, &peers).await,
            Engine::Mysql(conn) => mysql::setup::setup(conn, &self.scope, &peers).await,
        }
    }

    /// Without the grants that an owner on MySQL or MariaDB cannot see to be there already.
    pub(crate) async fn setup_sql(&mut self) -> Vec<String> {
        let is_postgres = self.is_postgres();
        let mut all = self.all_setup_sql().await;
        all.retain(|sql| is_postgres || !sql.starts_with("GRANT "));
        all
    }

    async fn all_setup_sql(&mut self) -> Vec<String> {
        let peers = [(4, "there".to_owned())];
        match &mut self.engine {
            Engine::Postgres(client) => postgres::setup::setup_sql(client, &self.scope, &peers).await,
            Engine::Mysql(conn) => mysql::setup::setup_sql(conn, &self.scope, &peers).await,
        }
        .unwrap_or_else(|error| panic!("{error}; hint: {:?}", error.hint_text()))
    }

    pub(crate) async fn teardown(&mut self) -> Vec<String> {
        self.try_teardown()
            .await
            .unwrap_or_else(|error| panic!("{error}; hint: {:?}", error.hint_text()))
    }

    pub(crate) async fn try_teardown(&mut self) -> Result<Vec<String>> {
        match &mut self.engine {
            Engine::Postgres(client) => postgres::setup::teardown(client, &self.scope).await,
            Engine::Mysql(conn) => mysql::setup::teardown(conn, &self.scope).await,
        }
    }

    pub(crate) async fn try_teardown_sql(&mut self) -> Result<Vec<String>> {
        match &mut self.engine {
            Engine::Postgres(client) => postgres::setup::teardown_sql(client, &self.scope).await,
            Engine::Mysql(conn) => mysql::setup::teardown_sql(conn, &self.scope).await,
        }
    }

    /// MySQL and MariaDB show a table only to accounts that have a right on it, which is what `setup` gives.
    pub(crate) async fn let_look(&self) {
        if !self.is_postgres() {
            let (database, user) = (self.db.name(), &self.scope.run_user);
            self.exec(&format!("GRANT SELECT, TRIGGER ON {database}.* TO {user}"))
                .await;
        }
    }

    /// As the run account.
    pub(crate) async fn check(&self) -> Vec<Finding> {
        match &mut Engine::open(&self.db, &self.scope.run_user).await {
            Engine::Postgres(client) => postgres::setup::check(client, &self.scope).await,
            Engine::Mysql(conn) => mysql::setup::check(conn, &self.scope).await,
        }
        .unwrap()
    }

    /// As the run account.
    pub(crate) async fn settings(&self) -> Vec<Finding> {
        match &mut Engine::open(&self.db, &self.scope.run_user).await {
            Engine::Postgres(client) => postgres::setup::settings(client, &self.scope).await,
            Engine::Mysql(conn) => mysql::setup::settings(conn, &self.scope).await,
        }
        .unwrap()
    }

    pub(crate) async fn catalogs(&mut self) -> Vec<Option<CatalogTable>> {
        match &mut self.engine {
            Engine::Postgres(client) => postgres::catalog::tables(client, &self.scope.tables).await,
            Engine::Mysql(conn) => mysql::catalog::tables(conn, &self.scope.tables).await,
        }
        .unwrap()
    }

    pub(crate) async fn exec(&self, sql: &str) {
        self.db.exec(sql).await;
    }
}

/// Codes of blockers and warnings, sorted, each once.
pub(crate) fn codes(findings: &[Finding]) -> Vec<&str> {
    let mut codes: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.level != Level::Ok)
        .map(|finding| finding.code)
        // A server without a limit is what the test servers are.
        .filter(|code| *code != "W212")
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}
