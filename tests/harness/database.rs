//! Databases to test on, and plain sessions on them.
//!
//! Owns: fresh names, making and dropping, the accounts of a node (see `accounts`).
//! Fails: by panicking with the statement and the server's answer; a test has no better idea.

use std::sync::atomic::{AtomicU32, Ordering};

use tidelock::playground::{self, Kind, Options, Server};
use tokio::sync::Mutex;

use super::accounts::Accounts;
use super::session::{Rows, Session};

/// A database of this test, dropped with it.
pub struct Db {
    kind: Kind,
    name: String,
    /// URL of the server without a database.
    base: String,
    session: Mutex<Option<Session>>,
    server: Option<Server>,
    accounts: Option<Accounts>,
}

/// A fresh database on the shared server of that kind.
pub async fn database(kind: Kind, hint: &str) -> Db {
    on_shared(kind, hint, "").await
}

/// A fresh database for the other node of a sync between two servers of one kind. Two databases of one PostgreSQL
/// server are two nodes; MySQL and MariaDB have one log and one database of ours per server, so there it is a second
/// server.
pub async fn peer(kind: Kind, hint: &str) -> Db {
    on_shared(kind, hint, if kind.is_postgres() { "" } else { "_PEER" }).await
}

async fn on_shared(kind: Kind, hint: &str, which: &str) -> Db {
    let variable = format!("TIDELOCK_TEST_{}{which}", kind.name().to_uppercase());
    match std::env::var(&variable) {
        Ok(base) => Db::create(kind, hint, base, None).await,
        Err(_) => private_named(kind, hint, &Options::default()).await,
    }
}

/// A fresh database on a server of its own.
pub async fn private(kind: Kind, options: &Options) -> Db {
    private_named(kind, "private", options).await
}

async fn private_named(kind: Kind, hint: &str, options: &Options) -> Db {
    let server = playground::start(kind, options)
        .await
        .unwrap_or_else(|e| panic!("start {kind}: {e:?}"));
    let base = server.url("");
    let base = base
        .trim_end_matches("/postgres")
        .trim_end_matches('/')
        .to_owned();
    Db::create(kind, hint, base, Some(server)).await
}

impl Db {
    async fn create(kind: Kind, hint: &str, base: String, server: Option<Server>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // The same process number may come again while the shared servers live.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let name = format!("{hint}_{}_{}_{number}", std::process::id(), now % 100_000);
        let statement = if kind.is_postgres() {
            format!("CREATE DATABASE {name} TEMPLATE template0")
        } else {
            format!("CREATE DATABASE {name}")
        };
        Session::open(kind, &admin_url(kind, &base))
            .await
            .exec(&statement)
            .await;
        Self {
            kind,
            name,
            base,
            session: Mutex::new(None),
            server,
            accounts: None,
        }
    }

    /// The same database with an owner who is no superuser and a run account that may log in and not much more.
    /// From now on [`Db::session`] and all that stands on it are the owner's.
    pub async fn with_accounts(mut self) -> Self {
        self.accounts = Some(Accounts::create(&self).await);
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// With the superuser's name and password.
    pub fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    /// As those users log in who own the tables: the owner, or the superuser where there are no accounts.
    pub fn owner_url(&self) -> String {
        match &self.accounts {
            Some(accounts) => self.url_as(&accounts.owner, &accounts.owner),
            None => self.url(),
        }
    }

    /// The account of `tidelock run`, or the superuser where there are no accounts.
    pub fn run_url(&self) -> String {
        match &self.accounts {
            Some(accounts) => self.url_as(&accounts.run, &accounts.run),
            None => self.url(),
        }
    }

    /// The name of the account of `tidelock run`.
    pub fn run_account(&self) -> &str {
        let accounts = self.accounts.as_ref().expect("this database has no accounts");
        &accounts.run
    }

    /// A database of the same name with accounts of the same names, on the server of this superuser.
    pub async fn found_by(&self, admin: &mut Session) {
        admin.exec(&format!("CREATE DATABASE {}", self.name)).await;
        let accounts = self.accounts.as_ref().expect("this database has no accounts");
        for statement in accounts.creation(self.kind, &self.name) {
            admin.exec_of_a_dba(&statement).await;
        }
    }

    /// The name of the account that owns the tables.
    pub fn owner(&self) -> &str {
        let accounts = self.accounts.as_ref().expect("this database has no accounts");
        &accounts.owner
    }

    /// The lines of `[node.NAME]` in the config file.
    pub fn node(&self) -> String {
        match &self.accounts {
            Some(_) => format!(
                "url = \"{}\"\nsetup_url = \"{}\"",
                self.run_url(),
                self.owner_url()
            ),
            None => format!("url = \"{}\"", self.url()),
        }
    }

    /// The same database through another account.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.url()
            .replacen("tidelock:tidelock@", &format!("{user}:{password}@"), 1)
    }

    /// The private server, to kill, stop and restart it.
    pub fn server(&mut self) -> &mut Server {
        self.server
            .as_mut()
            .expect("this test shares its server: use harness::private")
    }

    /// Where a client finds the private server without a network.
    pub fn socket(&self) -> std::path::PathBuf {
        let server = self.server.as_ref().expect("this test shares its server");
        match self.kind.is_postgres() {
            true => server.socket_dir().to_owned(),
            false => server.socket_dir().join("mysql.sock"),
        }
    }

    /// One more session, for what must stay open beside others: a transaction, a lock.
    pub async fn session(&self) -> Session {
        Session::open(self.kind, &self.owner_url()).await
    }

    /// The superuser's session, for what a DBA does to a server.
    pub async fn admin(&self) -> Session {
        Session::open(self.kind, &self.url()).await
    }

    /// A session of the account of `tidelock run`.
    pub async fn run_session(&self) -> Session {
        Session::open(self.kind, &self.run_url()).await
    }

    /// Runs statements separated by `;`. PostgreSQL runs them as one transaction, MySQL each for itself.
    pub async fn exec(&self, sql: &str) {
        self.own_session().await.as_mut().unwrap().exec(sql).await;
    }

    /// As [`Self::exec`], by the superuser: what a DBA does to a server.
    pub async fn as_dba(&self, sql: &str) {
        self.admin().await.exec_of_a_dba(sql).await;
    }

    /// As [`Self::exec`], for a statement that may be refused.
    pub async fn try_exec(&self, sql: &str) -> Result<(), String> {
        self.own_session().await.as_mut().unwrap().try_exec(sql).await
    }

    pub async fn rows(&self, sql: &str) -> Rows {
        self.own_session().await.as_mut().unwrap().rows(sql).await
    }

    /// The only cell of the only row; a NULL is told as `NULL`.
    pub async fn one(&self, sql: &str) -> String {
        self.own_session().await.as_mut().unwrap().one(sql).await
    }

    pub async fn count(&self, table: &str) -> i64 {
        self.one(&format!("SELECT count(*) FROM {table}"))
            .await
            .parse()
            .unwrap()
    }

    /// The session of this handle, opened again when the server was restarted meanwhile.
    async fn own_session(&self) -> tokio::sync::MutexGuard<'_, Option<Session>> {
        let mut guard = self.session.lock().await;
        let alive = match guard.as_mut() {
            Some(session) => session.alive().await,
            None => false,
        };
        if !alive {
            *guard = Some(self.session().await);
        }
        guard
    }

    /// Drops the database with the replication slots that would hold it.
    async fn remove(kind: Kind, name: &str, base: &str, accounts: Option<Accounts>) -> Result<(), String> {
        let mut session = Session::try_open(kind, &admin_url(kind, base)).await?;
        let drop_accounts = accounts
            .map(|accounts| accounts.removal(kind))
            .unwrap_or_default();
        if !kind.is_postgres() {
            return session
                .try_exec(&format!("DROP DATABASE IF EXISTS {name};{drop_accounts}"))
                .await;
        }
        let slots = format!("pg_replication_slots WHERE database = '{name}'");
        let mut last = Ok(());
        // A slot is free only after its walsender has noticed that it was ended.
        for _ in 0..100 {
            let end =
                format!("SELECT pg_terminate_backend(active_pid) FROM {slots} AND active_pid IS NOT NULL");
            session.try_exec(&end).await?;
            last = session
                .try_exec(&format!(
                    "SELECT pg_drop_replication_slot(slot_name) FROM {slots}"
                ))
                .await;
            if last.is_ok() {
                break;
            }
            tokio::time::sleep(super::POLL).await;
        }
        last?;
        session
            .try_exec(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await?;
        session.try_exec_of_a_dba(&drop_accounts).await
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let (kind, name, base) = (self.kind, self.name.clone(), self.base.clone());
        let accounts = self.accounts.take();
        *self.session.get_mut() = None;
        // Drop cannot wait inside the test's own runtime.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .map_err(|e| e.to_string())?
                .block_on(Self::remove(kind, &name, &base, accounts))
        });
        if let Ok(Err(error)) = removed.join() {
            eprintln!("the test database {} was left behind: {error}", self.name);
        }
    }
}

fn admin_url(kind: Kind, base: &str) -> String {
    format!("{base}/{}", if kind.is_postgres() { "postgres" } else { "" })
}
