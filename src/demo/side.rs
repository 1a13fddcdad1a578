//! A plain session of a shop's user on one of the two databases. It knows nothing of Tidelock.
//!
//! Owns: running statement text and reading cells as text, on either engine.
//! Fails: with the server's words; what a user would simply try again (deadlock, lock wait) is transient.

use crate::error::{Error, Result};
use mysql_async::prelude::Queryable;
use tokio_postgres::SimpleQueryMessage;

pub(super) type Cells = Vec<Option<String>>;

pub(super) enum Side {
    Postgres(tokio_postgres::Client),
    Mysql(Box<mysql_async::Conn>),
}

impl Side {
    pub(super) async fn open(url: &str) -> Result<Side> {
        if url.starts_with("postgres") {
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
                .await
                .map_err(|error| postgres_failed("connect as a user of the shop", error))?;
            // Ends with the client; its errors come back with the statements.
            tokio::spawn(connection);
            return Ok(Side::Postgres(client));
        }
        let doing = "connect as a user of the shop";
        let options = mysql_async::Opts::from_url(url).map_err(|error| Error::bug(doing).because(error))?;
        let options = mysql_async::OptsBuilder::from_opts(options).prefer_socket(false);
        let conn = mysql_async::Conn::new(options)
            .await
            .map_err(|error| mysql_failed(doing, error))?;
        Ok(Side::Mysql(Box::new(conn)))
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self, Side::Postgres(_))
    }

    /// Runs statements separated by `;`. What they left open after a failure is rolled back.
    pub(super) async fn exec(&mut self, sql: &str) -> Result<()> {
        let doing = || format!("run {:?}", opening(sql));
        match self {
            Side::Postgres(client) => {
                let result = client.batch_execute(sql).await;
                if result.is_err() {
                    // Harmless where nothing is open; a lost connection has its own error already.
                    let _ = client.batch_execute("ROLLBACK").await;
                }
                result.map_err(|error| postgres_failed(doing(), error))
            }
            Side::Mysql(conn) => {
                let result = conn.query_drop(sql).await;
                if result.is_err() {
                    let _ = conn.query_drop("ROLLBACK").await;
                }
                result.map_err(|error| mysql_failed(doing(), error))
            }
        }
    }

    /// The rows of one statement, each cell in the server's text.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Cells>> {
        let doing = || format!("run {:?}", opening(sql));
        match self {
            Side::Postgres(client) => {
                let messages = client
                    .simple_query(sql)
                    .await
                    .map_err(|error| postgres_failed(doing(), error))?;
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(
                        (0..row.len())
                            .map(|place| row.get(place).map(str::to_owned))
                            .collect(),
                    ),
                    _ => None,
                });
                Ok(rows.collect())
            }
            Side::Mysql(conn) => {
                let rows: Vec<mysql_async::Row> = conn
                    .query(sql)
                    .await
                    .map_err(|error| mysql_failed(doing(), error))?;
                Ok(rows.into_iter().map(text_cells).collect())
            }
        }
    }

    /// The first cell of the first row as a number; 0 where there is none.
    pub(super) async fn number(&mut self, sql: &str) -> Result<u64> {
        let rows = self.rows(sql).await?;
        let cell = rows
            .first()
            .and_then(|row| row.first())
            .and_then(Option::as_deref);
        Ok(cell.and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

fn text_cells(row: mysql_async::Row) -> Cells {
    row.unwrap()
        .into_iter()
        .map(|value| match value {
            mysql_async::Value::NULL => None,
            mysql_async::Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            // The text protocol sends bytes only.
            other => Some(other.as_sql(true)),
        })
        .collect()
}

/// Enough of a statement to find it; values stand further back.
fn opening(sql: &str) -> String {
    sql.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
}

fn postgres_failed(doing: impl Into<String>, error: tokio_postgres::Error) -> Error {
    let passes = error
        .code()
        .is_some_and(|code| ["40001", "40P01", "55P03"].contains(&code.code()));
    let failed = if passes {
        Error::transient(doing)
    } else {
        Error::definite(doing)
    };
    match error.as_db_error() {
        Some(db) => failed.node("postgres").why(db.message()),
        None => failed.node("postgres").because(error),
    }
}

fn mysql_failed(doing: impl Into<String>, error: mysql_async::Error) -> Error {
    match error {
        // Deadlock and lock wait.
        mysql_async::Error::Server(server) if [1205, 1213].contains(&server.code) => {
            Error::transient(doing).node("mysql").why(server.message)
        }
        other => Error::definite(doing).node("mysql").because(other),
    }
}
