//! Plain sessions on a server, and the text of every cell in one form for both engines.
//!
//! Fails: by panicking with the statement and the server's answer; a test has no better idea.

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, OptsBuilder, Value};
use tidelock::playground::Kind;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The character set number that MySQL gives to bytes.
const BINARY: u16 = 63;

pub type Rows = Vec<Vec<Option<String>>>;

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

    /// As [`Self::exec`], for grants and settings of a whole server, where what other tests do at that moment can be
    /// in the way.
    pub async fn exec_of_a_dba(&mut self, sql: &str) {
        self.try_exec_of_a_dba(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\nin: {}", short(sql)));
    }

    pub async fn try_exec_of_a_dba(&mut self, sql: &str) -> Result<(), String> {
        let mut done = self.try_exec(sql).await;
        for _ in 0..50 {
            match &done {
                Err(error) if met_another(error) => {}
                Ok(()) | Err(_) => break,
            }
            tokio::time::sleep(super::POLL).await;
            done = self.try_exec(sql).await;
        }
        done
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

    pub(super) async fn alive(&mut self) -> bool {
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

/// PostgreSQL locks no row of its catalogs: of two sessions that change the same one, or make it, one fails.
fn met_another(error: &str) -> bool {
    error.contains("concurrently") || error.contains("pg_parameter_acl_parname_index")
}

fn short(sql: &str) -> String {
    let cut: String = sql.chars().take(500).collect();
    if cut.len() < sql.len() {
        format!("{cut} ... ({} bytes)", sql.len())
    } else {
        cut
    }
}
