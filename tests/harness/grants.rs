//! What a test of one part needs of the accounts, when it makes by hand what that part stands on.

use std::time::Duration;

use tidelock::access::{Access, Secret};
use tidelock::model::schema::TableId;
use tidelock::model::sync::{Mode, Scope};
use tidelock::{mysql, postgres};

use super::database::Db;

/// How Tidelock reaches a server by this URL.
pub fn access(node: &str, url: &str) -> Access {
    let url = url::Url::parse(url).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    Access {
        secret: match url.password() {
            Some(password) => Secret::Plain(password.to_owned().into()),
            None => Secret::None,
        },
        ..Access::new(
            node,
            host,
            port,
            url.username(),
            url.path().trim_start_matches('/'),
        )
    }
}

impl Db {
    /// Every version of our schema, one after the other. Tests of one server make it at the same time, which a server
    /// may refuse for a moment.
    pub async fn make_control_schema(&self) {
        let files: &[(i64, &str)] = match self.kind().is_postgres() {
            true => &postgres::setup::CONTROL_FILES,
            false => &mysql::setup::CONTROL_FILES,
        };
        let sql: String = files.iter().map(|(_, file)| *file).collect();
        for _ in 0..20 {
            if self.try_exec(&sql).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.exec(&sql).await;
    }

    /// Gives the run account the grants that `setup` prints for a sync over these tables, and nothing else of it.
    pub async fn grant(&self, tables: &[TableId], is_target: bool) {
        let scope = Scope {
            sync: self.name().to_owned(),
            node: "here".to_owned(),
            rank: 1,
            mode: Mode::Transactional,
            tables: tables.to_vec(),
            mapped: Vec::new(),
            first_origin: 0,
            is_source: true,
            readers: 1,
            every: None,
            is_target,
            is_hub: false,
            config_hash: "hash".to_owned(),
            run_user: self.run_account().to_owned(),
        };
        let (owner, peers) = (access("here", &self.owner_url()), []);
        let printed = match self.kind().is_postgres() {
            true => {
                let client = postgres::connect(&owner).await.unwrap();
                postgres::setup::setup_sql(&client, &scope, &peers).await
            }
            false => {
                let mut conn = mysql::connect(&owner).await.unwrap();
                mysql::setup::setup_sql(&mut conn, &scope, &peers).await
            }
        };
        let has_control = self
            .one("SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'tidelock'")
            .await
            == "1";
        for statement in printed.unwrap() {
            if statement.starts_with("GRANT ") && (has_control || !statement.contains("tidelock")) {
                self.exec(&statement).await;
            }
        }
    }
}
