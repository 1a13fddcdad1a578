//! The two accounts of a node: the owner, who sets up, and the account that `tidelock run` uses.
//!
//! Owns: what a DBA must do by hand before `tidelock setup`, and nothing beyond it. What else the run account needs
//! it gets from `setup`, so a test that passes has proven that this is enough. Each database has accounts of its own:
//! grants on a whole server would otherwise pass from test to test.

use std::sync::atomic::{AtomicU32, Ordering};

use tidelock::playground::Kind;

use super::database::Db;

/// The password of each is its name.
pub struct Accounts {
    pub owner: String,
    pub run: String,
}

impl Accounts {
    pub(super) async fn create(db: &Db) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        // MySQL's names have at most 32 characters.
        let tag = format!("{}_{}_{number}", std::process::id(), now % 1_000_000);
        let accounts = Self {
            owner: format!("own_{tag}"),
            run: format!("run_{tag}"),
        };
        let mut admin = db.admin().await;
        for statement in accounts.creation(db.kind(), db.name()) {
            admin.exec_of_a_dba(&statement).await;
        }
        accounts
    }

    /// docs/accounts.md tells people the same.
    pub(super) fn creation(&self, kind: Kind, database: &str) -> Vec<String> {
        let Self { owner, run } = self;
        let monitor = match kind {
            Kind::Mariadb => "BINLOG MONITOR",
            _ => "REPLICATION CLIENT",
        };
        if kind.is_postgres() {
            return vec![
                // REPLICATION: teardown drops slots.
                format!("CREATE ROLE {owner} LOGIN REPLICATION PASSWORD '{owner}'"),
                format!("ALTER DATABASE {database} OWNER TO {owner}"),
                format!("CREATE ROLE {run} LOGIN REPLICATION PASSWORD '{run}'"),
                format!("GRANT SET ON PARAMETER session_replication_role TO {run}"),
            ];
        }
        // What `setup` passes on where there are no GTIDs; MariaDB shows XA transactions to everybody.
        let undecided = match kind {
            Kind::Mariadb => "",
            _ => ", XA_RECOVER_ADMIN",
        };
        vec![
            format!("CREATE USER {owner} IDENTIFIED BY '{owner}'"),
            format!("GRANT ALL ON {database}.* TO {owner} WITH GRANT OPTION"),
            format!("GRANT ALL ON tidelock.* TO {owner} WITH GRANT OPTION"),
            format!("GRANT REPLICATION SLAVE, {monitor}{undecided} ON *.* TO {owner} WITH GRANT OPTION"),
            format!("CREATE USER {run} IDENTIFIED BY '{run}'"),
        ]
    }

    /// After the database was dropped.
    pub(super) fn removal(&self, kind: Kind) -> String {
        let Self { owner, run } = self;
        if kind.is_postgres() {
            return format!("DROP OWNED BY {owner}, {run}; DROP ROLE {owner}; DROP ROLE {run}");
        }
        format!("DROP USER IF EXISTS {owner}; DROP USER IF EXISTS {run}")
    }
}
