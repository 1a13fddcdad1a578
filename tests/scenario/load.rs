//! Writers that keep going while servers and Tidelock die under them.
//!
//! Owns: doing each numbered transaction exactly once, whatever became of the answer to a COMMIT.

use std::time::Duration;

use crate::harness::Session;
use tidelock::playground::Kind;

/// A server that dies, or a deadlock, takes a transaction some times; what is refused this often in a row is wrong.
const REFUSALS_MAX: u32 = 1_000;

/// `n` numbers from 0 as a subquery named `numbers(i)`, for `INSERT INTO .. SELECT .. FROM`; `n` is a power of ten.
pub fn numbers(n: u64) -> String {
    let digit = "(SELECT 0 AS x UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
                 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let places = n.ilog10().max(1);
    let sum: Vec<String> = (0..places)
        .map(|p| format!("d{p}.x * {}", 10_u64.pow(p)))
        .collect();
    let from: Vec<String> = (0..places).map(|p| format!("{digit} d{p}")).collect();
    format!(
        "(SELECT {} AS i FROM {}) numbers",
        sum.join(" + "),
        from.join(", ")
    )
}

/// One writer on one server.
pub struct Loader {
    kind: Kind,
    url: String,
    session: Option<Session>,
    /// The table that says which transactions were committed.
    journal: &'static str,
}

impl Loader {
    pub fn new(kind: Kind, url: String, journal: &'static str) -> Self {
        Self {
            kind,
            url,
            session: None,
            journal,
        }
    }

    /// Runs the statements as one transaction, exactly once: `id` becomes a row of the journal, by which a lost
    /// answer to COMMIT is told from a lost COMMIT.
    pub async fn once(&mut self, id: u64, statements: &[String]) {
        let mut refusals = 0;
        loop {
            if self.session.is_none() {
                match Session::try_open(self.kind, &self.url).await {
                    Ok(session) => self.session = Some(session),
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                }
            }
            match self.attempt(id, statements, refusals > 0).await {
                Ok(()) => return,
                Err(error) => {
                    refusals += 1;
                    assert!(refusals < REFUSALS_MAX, "{error}\nin one of: {statements:?}");
                    self.session = None;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn attempt(&mut self, id: u64, statements: &[String], unsure: bool) -> Result<(), String> {
        let journal = self.journal;
        let session = self.session.as_mut().unwrap();
        if unsure {
            let found = session
                .try_rows(&format!("SELECT 1 FROM {journal} WHERE id = {id}"))
                .await?;
            if !found.is_empty() {
                return Ok(());
            }
        }
        session.try_exec("BEGIN").await?;
        session
            .try_exec(&format!("INSERT INTO {journal} (id) VALUES ({id})"))
            .await?;
        for statement in statements {
            session.try_exec(statement).await?;
        }
        session.try_exec("COMMIT").await
    }
}
