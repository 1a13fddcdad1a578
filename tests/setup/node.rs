//! One database as a node of a sync, whichever engine it is.

use crate::harness::{Db, Kind, database};
use mysql_async::Conn;
use secrecy::SecretString;
use tidelock::access::{Access, Secret};
use tidelock::error::Result;
use tidelock::model::schema::TableId;
use tidelock::model::sync::{CatalogTable, Finding, Level, Mode, Scope};
use tidelock::{mysql, postgres};
use tokio_postgres::Client;

pub(crate) enum Engine {
    Postgres(Client),
    Mysql(Conn),
}

/// The database, a session of Tidelock's own on it, and a sync that is both source and target.
pub(crate) struct Node {
    pub db: Db,
    pub engine: Engine,
    pub scope: Scope,
}

pub(crate) fn access(db: &Db, user: &str) -> Access {
    let url = url::Url::parse(&db.url()).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    Access {
        secret: Secret::Plain(SecretString::from(user)),
        ..Access::new("here", host, port, user, db.name())
    }
}

impl Engine {
    pub(crate) async fn open(db: &Db, user: &str) -> Engine {
        let access = access(db, user);
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
            is_source: true,
            is_target: true,
            config_hash: "hash".to_owned(),
            run_user: "tidelock".to_owned(),
        };
        let engine = Engine::open(&db, "tidelock").await;
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

    pub(crate) async fn setup_sql(&mut self) -> Vec<String> {
        let peers = [(4, "there".to_owned())];
        match &mut self.engine {
            Engine::Postgres(client) => postgres::setup::setup_sql(client, &self.scope, &peers).await,
            Engine::Mysql(conn) => mysql::setup::setup_sql(conn, &self.scope, &peers).await,
        }
        .unwrap_or_else(|error| panic!("{error}; hint: {:?}", error.hint_text()))
    }

    pub(crate) async fn teardown(&mut self) -> Vec<String> {
        match &mut self.engine {
            Engine::Postgres(client) => postgres::setup::teardown(client, &self.scope).await,
            Engine::Mysql(conn) => mysql::setup::teardown(conn, &self.scope).await,
        }
        .unwrap_or_else(|error| panic!("{error}; hint: {:?}", error.hint_text()))
    }

    pub(crate) async fn check(&mut self) -> Vec<Finding> {
        match &mut self.engine {
            Engine::Postgres(client) => postgres::setup::check(client, &self.scope).await,
            Engine::Mysql(conn) => mysql::setup::check(conn, &self.scope).await,
        }
        .unwrap()
    }

    pub(crate) async fn settings(&mut self) -> Vec<Finding> {
        match &mut self.engine {
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
