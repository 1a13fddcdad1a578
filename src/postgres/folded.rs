//! Keys of a table that another collation takes for one.
//!
//! Owns: counting them, within a time; and the statement that lists them. Refuses: showing any.

use super::fail;
use super::sql::folded::{self, Columns, LETTERS};
use crate::error::Result;
use crate::model::schema::TableId;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A whole table is read; one that takes longer is told as such.
const LOOK: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '10s'";

/// What was found of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Same {
    /// Rows of which others have the same key there; `None`: that took too long.
    pub rows: Option<u64>,
    /// Lists them.
    pub list: String,
}

pub async fn same(client: &Client, id: &TableId, columns: &Columns) -> Result<Same> {
    let doing = "look for keys that are one on the other side";
    let wrong = |error| fail(doing, error).table(id);
    let sql = "SELECT EXISTS (SELECT FROM pg_collation WHERE collname = $1) AND current_setting('server_encoding') = 'UTF8'";
    let row = client.query_one(sql, &[&LETTERS]).await.map_err(wrong)?;
    let has_letters: bool = row.try_get(0).map_err(wrong)?;
    let list = folded::list(id, columns, has_letters);
    client.batch_execute(LOOK).await.map_err(wrong)?;
    let found = client
        .query_one(&folded::count(id, columns, has_letters), &[])
        .await;
    client.batch_execute("ROLLBACK").await.map_err(wrong)?;
    let rows = match found {
        Ok(row) => Some(row.try_get::<_, i64>(0).map_err(wrong)?.unsigned_abs()),
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => None,
        // The lacking right is told elsewhere.
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Some(0),
        Err(error) => return Err(wrong(error)),
    };
    Ok(Same { rows, list })
}
