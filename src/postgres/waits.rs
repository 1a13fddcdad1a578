//! What our sessions on this server wait for, as far as the account may see.

use super::fail;
use crate::error::Result;
use tokio_postgres::Client;

/// One sentence, or `None` when none of our sessions waits for a lock.
pub async fn waiting_for(client: &Client) -> Result<Option<String>> {
    // Of other accounts only pid and name are shown without pg_read_all_stats.
    let sql = "SELECT extract(epoch FROM clock_timestamp() - me.query_start)::bigint, him.pid,
                      coalesce(him.usename, '?'), coalesce(him.application_name, ''), coalesce(him.state, ''),
                      extract(epoch FROM clock_timestamp() - him.xact_start)::bigint
                 FROM pg_stat_activity AS me
                CROSS JOIN LATERAL unnest(pg_blocking_pids(me.pid)) AS blocker(pid)
                 JOIN pg_stat_activity AS him ON him.pid = blocker.pid
                WHERE me.usename = current_user AND me.datname = current_database()
                  AND me.application_name LIKE 'tidelock%' AND me.wait_event_type = 'Lock'
                ORDER BY me.query_start, him.pid LIMIT 1";
    let wrong = |error| fail("look for locks", error);
    let Some(row) = client.query_opt(sql, &[]).await.map_err(wrong)? else {
        return Ok(None);
    };
    let waits: Option<i64> = row.try_get(0).map_err(wrong)?;
    let pid: i32 = row.try_get(1).map_err(wrong)?;
    let (user, program): (String, String) = (row.try_get(2).map_err(wrong)?, row.try_get(3).map_err(wrong)?);
    let state: String = row.try_get(4).map_err(wrong)?;
    let open: Option<i64> = row.try_get(5).map_err(wrong)?;
    let mut who = format!("user {user}");
    for text in [&program, &state].into_iter().filter(|text| !text.is_empty()) {
        who.push_str(&format!(", {text}"));
    }
    if let Some(open) = open {
        who.push_str(&format!(", transaction open for {open} s"));
    }
    let waits = waits.unwrap_or_default().max(0);
    Ok(Some(format!(
        "a lock for {waits} s, held by session {pid} ({who}); to end it: SELECT pg_terminate_backend({pid})"
    )))
}
