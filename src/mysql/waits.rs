//! What our sessions on this server wait for, as far as the account may see.
//!
//! Who holds a lock is in tables that need PROCESS or SELECT on performance_schema; without them our own session's
//! state is all there is.

use super::{Flavor, fail, flavor};
use crate::error::Result;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

/// Seconds waited, holder's session, its user, seconds its transaction has been open. The views are not of one moment:
/// a wait that begins or ends meanwhile has no begin. InnoDB tells its times in the server's own zone.
type Held = (Option<i64>, u64, String, Option<i64>);

/// `me` waits for `him`.
macro_rules! waits {
    ($pairs:literal, $choice:literal) => {
        concat!(
            "SELECT CAST(TIMESTAMPDIFF(SECOND, me.trx_wait_started, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) AS SIGNED),
                    him.trx_mysql_thread_id, COALESCE(who.user, '?'),
                    CAST(TIMESTAMPDIFF(SECOND, him.trx_started, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) AS SIGNED)
               FROM ",
            $pairs,
            " JOIN information_schema.processlist AS mine ON mine.id = me.trx_mysql_thread_id
              LEFT JOIN information_schema.processlist AS who ON who.id = him.trx_mysql_thread_id
             WHERE mine.user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) ",
            $choice,
            " LIMIT 1"
        )
    };
}

const MYSQL: &str = waits!(
    "performance_schema.data_lock_waits AS waits
     JOIN information_schema.innodb_trx AS me ON me.trx_id = waits.requesting_engine_transaction_id
     JOIN information_schema.innodb_trx AS him ON him.trx_id = waits.blocking_engine_transaction_id",
    "ORDER BY 1 DESC"
);
const MARIADB: &str = waits!(
    "information_schema.innodb_lock_waits AS waits
     JOIN information_schema.innodb_trx AS me ON me.trx_id = waits.requesting_trx_id
     JOIN information_schema.innodb_trx AS him ON him.trx_id = waits.blocking_trx_id",
    "ORDER BY 1 DESC"
);
/// Without performance_schema MySQL does not say who blocks whom: the oldest other transaction is the likely one.
const SUSPECT: &str = waits!(
    "information_schema.innodb_trx AS me
     JOIN information_schema.innodb_trx AS him ON him.trx_id <> me.trx_id AND him.trx_state <> 'LOCK WAIT'",
    "AND me.trx_state = 'LOCK WAIT' ORDER BY him.trx_started"
);
/// Everybody sees the sessions of his own account.
const OWN: &str = "SELECT CAST(time AS SIGNED), state FROM information_schema.processlist
  WHERE user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND state LIKE '%lock%' ORDER BY 1 DESC LIMIT 1";

fn told((waits, session, user, open): Held, held: &str, how_long: &str) -> String {
    let (waits, open) = (waits.unwrap_or_default().max(0), open.unwrap_or_default().max(0));
    // A prepared XA transaction whose client has left belongs to no session.
    let end = match session {
        0 => "it is a prepared XA transaction: XA RECOVER, then XA COMMIT or XA ROLLBACK it".to_owned(),
        session => format!("to end it: KILL {session}"),
    };
    format!("a lock for {waits} s, {held} by session {session} (user {user}, {how_long} {open} s); {end}")
}

/// One sentence, or `None` when none of our sessions is seen to wait for a lock.
pub async fn waiting_for(conn: &mut Conn) -> Result<Option<String>> {
    let certain = match flavor(conn).await? {
        Flavor::Mysql => MYSQL,
        Flavor::Mariadb => MARIADB,
    };
    for (sql, held, open) in [
        (certain, "held", "transaction open for"),
        (SUSPECT, "probably held", "the oldest open transaction,"),
    ] {
        // Refused for lack of a grant: what needs less is asked then.
        let found: Option<Held> = conn.query_first(sql).await.unwrap_or_default();
        if let Some(found) = found {
            return Ok(Some(told(found, held, open)));
        }
    }
    let row: Option<Row> = conn
        .query_first(OWN)
        .await
        .map_err(|error| fail("look for locks", error))?;
    let state: Option<(i64, String)> = row.and_then(|mut row| Some((row.take(0)?, row.take(1)?)));
    Ok(state.map(|(seconds, state)| {
        format!(
            "a lock for {seconds} s (session state {state:?}); with PROCESS Tidelock could say who holds it"
        )
    }))
}
