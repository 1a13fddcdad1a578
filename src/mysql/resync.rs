//! Tables that are copied anew, as one MySQL or MariaDB server keeps them.
//!
//! Owns: reading `tidelock.resync`, asking for a copy, and noting that one failed. Refuses: deciding what is copied (see
//! `seed::resync`); what a link writes of it stands in its own transactions (`target`). A server of an older version
//! answers that there are none.

use super::fail;
use super::operations::AUDIT;
use crate::error::{Error, Result};
use crate::model::operation::{Resync, ResyncState, asked};
use crate::model::schema::TableId;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts, params};

const DOING: &str = "read which tables are copied anew";

type ResyncRow = (
    String,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    String,
    i64,
    Option<String>,
);

/// Of one link, or of all that write into this server.
pub async fn resyncs(conn: &mut Conn, sync: &str, link: Option<&str>) -> Result<Vec<Resync>> {
    let wrong = |error| fail(DOING, error);
    let there = "SELECT COUNT(*) FROM information_schema.columns
                  WHERE table_schema = 'tidelock' AND table_name = 'resync' AND column_name = 'where_text'";
    let there: Option<u64> = conn.query_first(there).await.map_err(wrong)?;
    if there != Some(1) {
        return Ok(Vec::new());
    }
    let read = "SELECT link, schema_name, table_name, state, settle, failure, operator,
                       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', asked_at), where_text
                  FROM tidelock.resync WHERE sync = :sync AND (:link IS NULL OR link = :link) ORDER BY 1, 2, 3";
    let rows: Vec<ResyncRow> = conn.exec(read, params! { sync, link }).await.map_err(wrong)?;
    let one = |(link, schema, name, state, settle, failure, operator, asked_us, condition): ResyncRow| {
        Some(Resync {
            link,
            table: TableId::new(schema, name),
            state: ResyncState::stored(&state, settle.as_deref(), failure)?,
            condition,
            operator,
            asked_us,
        })
    };
    let found: Option<Vec<Resync>> = rows.into_iter().map(one).collect();
    found.ok_or_else(|| Error::definite(DOING).why("tidelock.resync holds a state of no version"))
}

/// Asks for a copy of these tables, or of the rows that the condition takes; one that is under way begins anew.
pub async fn ask(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    tables: &[TableId],
    condition: Option<&str>,
    operator: &str,
) -> Result<()> {
    let doing = format!("ask for a new copy by {link}");
    let wrong = |error| fail(&*doing, error);
    let mut transaction = conn.start_transaction(TxOpts::default()).await.map_err(wrong)?;
    let ask = "REPLACE INTO tidelock.resync (sync, link, schema_name, table_name, operator, where_text)
               VALUES (:sync, :link, :schema, :name, :operator, :condition)";
    for table in tables {
        let (schema, name) = (&table.schema, &table.name);
        let values = params! { sync, link, schema, name, operator, condition };
        transaction.exec_drop(ask, values).await.map_err(wrong)?;
        let values =
            params! { sync, link, operator, "action" => "resync", "detail" => asked(table, condition) };
        transaction.exec_drop(AUDIT, values).await.map_err(wrong)?;
    }
    transaction.commit().await.map_err(wrong)
}

/// The copy of these tables cannot go on before somebody mends what it says.
pub async fn failed(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    tables: &[TableId],
    why: &str,
) -> Result<()> {
    let doing = "note why a copy stopped";
    let failed = [
        "UPDATE tidelock.held_table SET stop_error = :why WHERE sync = :sync AND link = :link
            AND schema_name = :schema AND table_name = :name",
        "UPDATE tidelock.resync SET state = 'failed', failure = :why WHERE sync = :sync AND link = :link
            AND schema_name = :schema AND table_name = :name AND state = 'copying'",
    ];
    for (table, statement) in tables
        .iter()
        .flat_map(|table| failed.map(|failed| (table, failed)))
    {
        let (schema, name) = (&table.schema, &table.name);
        conn.exec_drop(statement, params! { sync, link, schema, name, why })
            .await
            .map_err(|error| fail(doing, error))?;
    }
    Ok(())
}
