//! Tables that are copied anew, as one PostgreSQL database keeps them.
//!
//! Owns: reading `tidelock.resync`, asking for a copy, and noting that one failed. Refuses: deciding what is copied (see
//! `seed::resync`); what a link writes of it stands in its own transactions (`target`). A database of an older version
//! answers that there are none.

use super::{fail, sql};
use crate::error::{Error, Result};
use crate::model::operation::{Resync, ResyncState, asked};
use crate::model::schema::TableId;
use tokio_postgres::{Client, Row};

const DOING: &str = "read which tables are copied anew";

/// Of one link, or of all that write into this database.
pub async fn resyncs(client: &Client, sync: &str, link: Option<&str>) -> Result<Vec<Resync>> {
    let wrong = |error| fail(DOING, error);
    let there = "SELECT count(*) > 0 FROM pg_attribute
                  WHERE attrelid = to_regclass('tidelock.resync') AND attname = 'where_text'";
    let there = client.query_one(there, &[]).await;
    if !there.and_then(|row| row.try_get::<_, bool>(0)).map_err(wrong)? {
        return Ok(Vec::new());
    }
    let read = "SELECT link, schema_name, table_name, state, settle, failure, operator,
                       (extract(epoch FROM asked_at) * 1000000)::bigint, where_text
                  FROM tidelock.resync WHERE sync = $1 AND ($2::text IS NULL OR link = $2) ORDER BY 1, 2, 3";
    let rows = client.query(read, &[&sync, &link]).await.map_err(wrong)?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let resync = one(row).map_err(wrong)?;
        found.push(
            resync
                .ok_or_else(|| Error::definite(DOING).why("tidelock.resync holds a state of no version"))?,
        );
    }
    Ok(found)
}

fn one(row: &Row) -> Result<Option<Resync>, tokio_postgres::Error> {
    let state = ResyncState::stored(row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    let Some(state) = state else { return Ok(None) };
    Ok(Some(Resync {
        link: row.try_get(0)?,
        table: TableId::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?),
        state,
        operator: row.try_get(6)?,
        asked_us: row.try_get(7)?,
        condition: row.try_get(8)?,
    }))
}

/// Asks for a copy of these tables, or of the rows that the condition takes; one that is under way begins anew.
pub async fn ask(
    client: &mut Client,
    (sync, link): (&str, &str),
    tables: &[TableId],
    condition: Option<&str>,
    operator: &str,
) -> Result<()> {
    let doing = format!("ask for a new copy by {link}");
    let wrong = |error| fail(&doing, error);
    let transaction = client.transaction().await.map_err(wrong)?;
    let ask = "INSERT INTO tidelock.resync (sync, link, schema_name, table_name, operator, where_text)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (sync, link, schema_name, table_name) DO UPDATE
                   SET state = 'asked', settle = NULL, failure = NULL, operator = $5, where_text = $6, asked_at = now()";
    for table in tables {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&sync, &link, &table.schema, &table.name, &operator, &condition];
        transaction.execute(ask, &values).await.map_err(wrong)?;
        let detail = asked(table, condition);
        transaction
            .execute(sql::AUDIT, &[&operator, &"resync", &sync, &link, &detail])
            .await
            .map_err(wrong)?;
    }
    transaction.commit().await.map_err(wrong)
}

/// The copy of these tables cannot go on before somebody mends what it says.
pub async fn failed(
    client: &Client,
    (sync, link): (&str, &str),
    tables: &[TableId],
    why: &str,
) -> Result<()> {
    let doing = "note why a copy stopped";
    let failed = [
        "UPDATE tidelock.held_table SET stop_error = $5 WHERE sync = $1 AND link = $2 AND schema_name = $3
            AND table_name = $4",
        "UPDATE tidelock.resync SET state = 'failed', failure = $5 WHERE sync = $1 AND link = $2 AND schema_name = $3
            AND table_name = $4 AND state = 'copying'",
    ];
    for (table, statement) in tables
        .iter()
        .flat_map(|table| failed.map(|failed| (table, failed)))
    {
        client
            .execute(statement, &[&sync, &link, &table.schema, &table.name, &why])
            .await
            .map_err(|error| fail(doing, error))?;
    }
    Ok(())
}
