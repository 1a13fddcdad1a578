//! XA transactions that stand prepared on a server: their rows are in the log before the decision is.
//!
//! Owns: refusing to begin while there are any, because a first position lies behind their rows.
//! A decision in the moment between looking and the position shows in the server's counters, which are compared.
//! Without the right to look, GTIDs still tell: a decision on rows that were not read stops the link (`assemble`).

use crate::error::{Error, Reason, Result};
use crate::mysql::{Flavor, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

const DOING: &str = "look for prepared XA transactions";

/// How many stand prepared. `None`: this account may not know.
pub(in crate::mysql) async fn prepared(conn: &mut Conn) -> Result<Option<usize>> {
    match conn.query::<Row, _>("XA RECOVER").await {
        Ok(found) => Ok(Some(found.len())),
        // MySQL calls a missing privilege an error of the resource manager.
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1401 | 1227) => Ok(None),
        Err(error) => Err(fail(DOING, error)),
    }
}

/// Nothing stood prepared when it was made.
pub(in crate::mysql) struct Quiet {
    /// Prepares and decisions since the server started.
    counts: Vec<(String, String)>,
}

impl Quiet {
    /// To be made before a first position is read. `is_set`: positions are sets of GTIDs.
    pub(in crate::mysql) async fn begin(conn: &mut Conn, flavor: Flavor, is_set: bool) -> Result<Quiet> {
        let counts = counts(conn).await?;
        match prepared(conn).await? {
            Some(0) => Ok(Quiet { counts }),
            Some(count) => Err(Error::definite("choose where to begin in the binlog")
                .reason(Reason::Blocked)
                .why(format!(
                    "{count} XA transactions are prepared and not decided: their rows stand before the position, and \
                     the decision would come after it"
                ))
                .hint("XA RECOVER CONVERT XID; lists them: XA COMMIT or XA ROLLBACK each, then start again")),
            None if is_set => Ok(Quiet { counts }),
            None => Err(Error::definite(DOING)
                .reason(Reason::Blocked)
                .why("this account may not, and positions without a set of GTIDs cannot leave one out")
                .hint(match flavor {
                    Flavor::Mysql => "GRANT XA_RECOVER_ADMIN ON *.* TO ...; or SET GLOBAL gtid_mode = ON;",
                    Flavor::Mariadb => "GRANT SUPER ON *.* TO ...;",
                })),
        }
    }

    /// To be called when the position, and the snapshot where there is one, have been taken.
    pub(in crate::mysql) async fn confirm(self, conn: &mut Conn) -> Result<()> {
        let is_quiet =
            counts(conn).await? == self.counts && prepared(conn).await?.is_none_or(|count| count == 0);
        match is_quiet {
            true => Ok(()),
            false => Err(Error::transient("choose where to begin in the binlog")
                .why("an XA transaction was prepared or decided at this very moment")),
        }
    }
}

async fn counts(conn: &mut Conn) -> Result<Vec<(String, String)>> {
    conn.query("SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_xa_prepare', 'Com_xa_commit')")
        .await
        .map_err(|error| fail(DOING, error))
}
