//! What our sessions on this server wait for, as far as the account may see.
//!
//! Who holds a lock is in tables that need PROCESS or SELECT on performance_schema; without them our own session's
//! state is all there is.

use super::operations::{Seen, seen};
use super::{Flavor, fail, flavor};
use crate::error::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

const DOING: &str = "look for locks";

/// Who waits, seconds waited, the holder's session, seconds its transaction has been open. The views are not of one
/// moment: a wait that begins or ends meanwhile has no begin. InnoDB tells its times in the server's own zone.
type Held = (u64, Option<i64>, u64, Option<i64>);

/// `me` waits for `him`.
macro_rules! waits {
    ($pairs:literal, $choice:literal) => {
        concat!(
            "SELECT me.trx_mysql_thread_id,
                    CAST(TIMESTAMPDIFF(SECOND, me.trx_wait_started, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) AS SIGNED),
                    him.trx_mysql_thread_id,
                    CAST(TIMESTAMPDIFF(SECOND, him.trx_started, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) AS SIGNED)
               FROM ",
            $pairs,
            " ",
            $choice,
            " LIMIT 1000"
        )
    };
}

const MYSQL: &str = waits!(
    "performance_schema.data_lock_waits AS waits
     JOIN information_schema.innodb_trx AS me ON me.trx_id = waits.requesting_engine_transaction_id
     JOIN information_schema.innodb_trx AS him ON him.trx_id = waits.blocking_engine_transaction_id",
    "ORDER BY 2 DESC"
);
const MARIADB: &str = waits!(
    "information_schema.innodb_lock_waits AS waits
     JOIN information_schema.innodb_trx AS me ON me.trx_id = waits.requesting_trx_id
     JOIN information_schema.innodb_trx AS him ON him.trx_id = waits.blocking_trx_id",
    "ORDER BY 2 DESC"
);
/// Without performance_schema MySQL does not say who blocks whom: the oldest other transaction is the likely one.
const SUSPECT: &str = waits!(
    "information_schema.innodb_trx AS me
     JOIN information_schema.innodb_trx AS him ON him.trx_id <> me.trx_id AND him.trx_state <> 'LOCK WAIT'",
    "WHERE me.trx_state = 'LOCK WAIT' ORDER BY him.trx_started"
);
fn told((_, waits, session, open): Held, user: &str, held: &str, how_long: &str) -> String {
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
    let sessions = seen(conn).await.map_err(|error| fail(DOING, error))?;
    let find = |id: u64| sessions.iter().find(|session| session.id == id);
    let me = find(u64::from(conn.id())).map_or("", |session| session.user.as_str());
    for (sql, held, open) in [
        (certain, "held", "transaction open for"),
        (SUSPECT, "probably held", "the oldest open transaction,"),
    ] {
        // Refused for lack of a grant: what needs less is asked then.
        let found: Vec<Held> = conn.query(sql).await.unwrap_or_default();
        let is_ours = |held: &Held| find(held.0).is_some_and(|session| session.user == me);
        if let Some(found) = found.into_iter().find(is_ours) {
            let user = find(found.2).map_or("?", |session| session.user.as_str());
            return Ok(Some(told(found, user, held, open)));
        }
    }
    // Everybody sees the sessions of his own account.
    let waits = |session: &&Seen| session.user == me && session.state.to_lowercase().contains("lock");
    let longest = sessions.iter().filter(waits).max_by_key(|session| session.time);
    Ok(longest.map(|Seen { time, state, .. }| {
        format!("a lock for {time} s (session state {state:?}); with PROCESS Tidelock could say who holds it")
    }))
}
