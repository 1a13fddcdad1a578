//! Databases to test on, and plain sessions on them.
//!
//! Owns: fresh names, making and dropping, the text of every cell in one form for both engines.
//! Fails: by panicking with the statement and the server's answer; a test has no better idea.

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, OptsBuilder, Value};
use tidelock::playground::{self, Kind, Options, Server};
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The character set number that MySQL gives to bytes.
const BINARY: u16 = 63;

pub type Rows = Vec<Vec<Option<String>>>;

/// A database of this test, dropped with it.
pub struct Db {
    kind: Kind,
    name: String,
    /// URL of the server without a database.
    base: String,
    session: Mutex<Option<Session>>,
    server: Option<Server>,
}

/// A fresh database on the shared server of that kind.
pub async fn database(kind: Kind, hint: &str) -> Db {
    let variable = format!("TIDELOCK_TEST_{}", kind.name().to_uppercase());
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
        }
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

    /// One more session, for what must stay open beside others: a transaction, a lock.
    pub async fn session(&self) -> Session {
        Session::open(self.kind, &self.url()).await
    }

    /// Runs statements separated by `;`. PostgreSQL runs them as one transaction, MySQL each for itself.
    pub async fn exec(&self, sql: &str) {
        self.own_session().await.as_mut().unwrap().exec(sql).await;
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
    async fn remove(kind: Kind, name: &str, base: &str) -> Result<(), String> {
        let mut session = Session::try_open(kind, &admin_url(kind, base)).await?;
        if !kind.is_postgres() {
            return session.try_exec(&format!("DROP DATABASE IF EXISTS {name}")).await;
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
            .await
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let (kind, name, base) = (self.kind, self.name.clone(), self.base.clone());
        *self.session.get_mut() = None;
        // Drop cannot wait inside the test's own runtime.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .map_err(|e| e.to_string())?
                .block_on(Self::remove(kind, &name, &base))
        });
        if let Ok(Err(error)) = removed.join() {
            eprintln!("the test database {} was left behind: {error}", self.name);
        }
    }
}

fn admin_url(kind: Kind, base: &str) -> String {
    format!("{base}/{}", if kind.is_postgres() { "postgres" } else { "" })
}

/// One connection. Its time zone is UTC.
pub enum Session {
    Postgres(Client),
    Mysql(Conn),
}

impl Session {
    pub async fn open(kind: Kind, url: &str) -> Self {
        Self::try_open(kind, url)
            .await
            .unwrap_or_else(|error| panic!("connect to {kind}: {error}"))
    }

    pub async fn try_open(kind: Kind, url: &str) -> Result<Self, String> {
        let mut session = if kind.is_postgres() {
            let (client, connection) = tokio_postgres::connect(url, NoTls)
                .await
                .map_err(|e| postgres_text(&e))?;
            tokio::spawn(connection);
            Self::Postgres(client)
        } else {
            let options = mysql_async::Opts::from_url(url).map_err(|e| e.to_string())?;
            let options = OptsBuilder::from_opts(options).prefer_socket(false);
            Self::Mysql(Conn::new(options).await.map_err(|e| e.to_string())?)
        };
        let utc = if kind.is_postgres() {
            // The account has the name of our control schema, which would come first on its search path.
            "SET timezone = 'UTC'; SET search_path = public"
        } else {
            "SET time_zone = '+00:00'"
        };
        session.try_exec(utc).await?;
        Ok(session)
    }

    pub async fn exec(&mut self, sql: &str) {
        self.try_exec(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\nin: {}", short(sql)));
    }

    pub async fn try_exec(&mut self, sql: &str) -> Result<(), String> {
        match self {
            Self::Postgres(client) => client.batch_execute(sql).await.map_err(|e| postgres_text(&e)),
            Self::Mysql(connection) => connection.query_drop(sql).await.map_err(|e| e.to_string()),
        }
    }

    /// Every cell as text; bytes as PostgreSQL writes them (`\x6162`), bit strings as `0110`.
    pub async fn rows(&mut self, sql: &str) -> Rows {
        self.try_rows(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\nin: {}", short(sql)))
    }

    pub async fn try_rows(&mut self, sql: &str) -> Result<Rows, String> {
        match self {
            Self::Postgres(client) => {
                let messages = client.simple_query(sql).await.map_err(|e| postgres_text(&e))?;
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                Ok(rows
                    .map(|row| (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
                    .collect())
            }
            Self::Mysql(connection) => {
                let rows: Vec<mysql_async::Row> = connection.query(sql).await.map_err(|e| e.to_string())?;
                Ok(rows.into_iter().map(mysql_row).collect())
            }
        }
    }

    pub async fn one(&mut self, sql: &str) -> String {
        let mut rows = self.rows(sql).await;
        assert!(
            rows.len() == 1 && rows[0].len() == 1,
            "one cell expected, got {rows:?}\nfrom: {}",
            short(sql)
        );
        rows.remove(0).remove(0).unwrap_or_else(|| "NULL".to_owned())
    }

    async fn alive(&mut self) -> bool {
        match self {
            Self::Postgres(client) => !client.is_closed(),
            Self::Mysql(connection) => connection.ping().await.is_ok(),
        }
    }
}

fn mysql_row(row: mysql_async::Row) -> Vec<Option<String>> {
    let columns = row.columns();
    let cells = row.unwrap().into_iter().zip(columns.iter());
    cells.map(|(value, column)| mysql_cell(value, column)).collect()
}

/// The text protocol sends everything as bytes.
fn mysql_cell(value: Value, column: &Column) -> Option<String> {
    use ColumnType::*;
    let bytes = match value {
        Value::NULL => return None,
        Value::Bytes(bytes) => bytes,
        other => return Some(other.as_sql(true)),
    };
    let texts = [
        MYSQL_TYPE_STRING,
        MYSQL_TYPE_VAR_STRING,
        MYSQL_TYPE_VARCHAR,
        MYSQL_TYPE_BLOB,
        MYSQL_TYPE_TINY_BLOB,
        MYSQL_TYPE_MEDIUM_BLOB,
        MYSQL_TYPE_LONG_BLOB,
    ];
    let set_of_words = column
        .flags()
        .intersects(ColumnFlags::ENUM_FLAG | ColumnFlags::SET_FLAG);
    // Results of functions are sometimes called binary too: those have no table.
    let is_bytes = column.character_set() == BINARY
        && texts.contains(&column.column_type())
        && !set_of_words
        && !column.org_table_ref().is_empty();
    if column.column_type() == MYSQL_TYPE_BIT {
        let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        let length = column.column_length() as usize;
        return Some(bits[bits.len().saturating_sub(length)..].to_owned());
    }
    let hex = |bytes: &[u8]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\\x{digits}")
    };
    if is_bytes {
        return Some(hex(&bytes));
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|error| hex(error.as_bytes())))
}

/// The driver's own text says only "db error".
fn postgres_text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!(
            "{}: {} ({})",
            server.severity(),
            server.message(),
            server.code().code()
        ),
        None => error.to_string(),
    }
}

fn short(sql: &str) -> String {
    let cut: String = sql.chars().take(500).collect();
    if cut.len() < sql.len() {
        format!("{cut} ... ({} bytes)", sql.len())
    } else {
        cut
    }
}
