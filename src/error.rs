//! The one error type of the crate.
//!
//! Owns: what was attempted, on what, why it failed, what to do next, and whether trying again can help.
//! Refuses: carrying cell values or secrets; callers put names, types and counts in, never data.
//! An error whose cause is not known is `Definite`: Tidelock stops instead of trying its luck.

use crate::model::schema::TableId;
use std::fmt;

/// What is left when a log no longer holds what comes next. Of whoever knows the sync it is [`new_copy`]; where an
/// error or a finding leaves its sync, [`of_sync`] names it.
pub const NEW_COPY: &str = "make a new copy: `tidelock teardown --execute`; empty the tables that are copied to, after \
                            saving rows that only they hold; `tidelock setup --execute`; `tidelock run`";

/// Where the log no longer holds what comes next, and the tables are as they should be: all is compared, and what was missed
/// made up for. It ends with [`NEW_COPY`].
pub const LOST: &str = "compare every table and go on: `tidelock resync --all --execute`, then `tidelock run`; or make a new \
                        copy: `tidelock teardown --execute`; empty the tables that are copied to, after saving rows that \
                        only they hold; `tidelock setup --execute`; `tidelock run`";

/// The same for one sync: others are not torn down with it.
pub fn new_copy(sync: &str) -> String {
    NEW_COPY.replace(" --execute", &format!(" --sync {sync} --execute"))
}

/// A hint in which the way to a new copy names the sync.
pub fn of_sync(hint: &str, sync: &str) -> String {
    hint.replace("resync --all", &format!("resync --all --sync {sync}"))
        .replace(NEW_COPY, &new_copy(sync))
}

/// A right was taken away; the engines' checks know the statement that gives it back.
pub const SEE_GRANTS: &str = "`tidelock check` says which grant is missing, with the statement that gives it";

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Can trying again help?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The cause passes by itself (lost connection, deadlock, restart of a server): reconnect and go on.
    Transient,
    /// It will fail again in the same way until a person changes something.
    Definite,
    /// The outcome of a COMMIT is unknown: the checkpoint must be read again before anything else.
    Ambiguous,
    /// An invariant of ours does not hold. Stop at once.
    Bug,
}

/// Which exit code the command line answers with (ux: exit codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Other,
    /// The configuration file is wrong (78).
    Config,
    /// `check` found a blocker (3).
    Blocked,
    /// What there is differs from what was asked about (4).
    Different,
    /// A safety gate refused (5).
    Refused,
    /// Database unreachable or login failed (6).
    Unreachable,
    /// Slot or binlog gone, or not the recorded server: a new copy is needed (7).
    PositionLost,
    /// Another instance moved our checkpoint (8).
    Fenced,
}

impl Reason {
    pub fn exit_code(self) -> u8 {
        match self {
            Reason::Other => 1,
            Reason::Blocked => 3,
            Reason::Different => 4,
            Reason::Refused => 5,
            Reason::Unreachable => 6,
            Reason::PositionLost => 7,
            Reason::Fenced => 8,
            Reason::Config => 78,
        }
    }
}

#[derive(Debug)]
struct Inner {
    class: Class,
    reason: Reason,
    doing: String,
    node: Option<String>,
    table: Option<String>,
    why: Option<String>,
    hint: Option<String>,
    halt: Option<Box<Halt>>,
    alone: Option<TableId>,
    is_of_ddl: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The transaction of a source's log that a link cannot get past: what `tidelock skip` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// As the log names it: commit LSN or GTID.
    pub transaction: String,
    /// Where the link would stand after it, where that is known.
    pub past: Option<String>,
    /// The target's tables it changes, as far as they were read.
    pub tables: Vec<TableId>,
    pub changes: u64,
}

/// What was attempted, on what, why it failed and what to do next. Boxed: it is one word wide in every `Result`.
#[derive(Debug)]
pub struct Error(Box<Inner>);

impl Error {
    pub fn new(class: Class, doing: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            class,
            reason: Reason::Other,
            doing: doing.into(),
            node: None,
            table: None,
            why: None,
            hint: None,
            halt: None,
            alone: None,
            is_of_ddl: false,
            source: None,
        }))
    }

    pub fn transient(doing: impl Into<String>) -> Self {
        Self::new(Class::Transient, doing)
    }

    pub fn definite(doing: impl Into<String>) -> Self {
        Self::new(Class::Definite, doing)
    }

    pub fn ambiguous(doing: impl Into<String>) -> Self {
        Self::new(Class::Ambiguous, doing)
    }

    pub fn bug(doing: impl Into<String>) -> Self {
        Self::new(Class::Bug, doing)
    }

    pub fn reason(mut self, reason: Reason) -> Self {
        self.0.reason = reason;
        self
    }

    /// The node it happened on; the first name given stays (the innermost caller knows best).
    pub fn node(mut self, node: impl fmt::Display) -> Self {
        self.0.node.get_or_insert_with(|| node.to_string());
        self
    }

    pub fn table(mut self, table: impl fmt::Display) -> Self {
        self.0.table.get_or_insert_with(|| table.to_string());
        self
    }

    /// The cause in our own words, where no other error stands behind it.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.0.why = Some(why.into());
        self
    }

    /// What the user does next: a sentence, a command or the SQL.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// It happened to this sync: the way to a new copy leaves the others alone.
    pub fn in_sync(mut self, sync: &str) -> Self {
        self.0.hint = self.0.hint.map(|hint| of_sync(&hint, sync));
        self
    }

    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// It happened in this transaction of the source's log, and would again; the first name given stays.
    pub fn at(mut self, transaction: impl Into<String>) -> Self {
        if self.0.halt.is_none() {
            self.0.halt = Some(Box::new(Halt {
                transaction: transaction.into(),
                past: None,
                tables: Vec::new(),
                changes: 0,
            }));
        }
        self
    }

    /// Where the link stands behind that transaction; what is known already stays.
    pub fn past(mut self, position: Option<String>) -> Self {
        if let Some(halt) = &mut self.0.halt {
            halt.past = halt.past.take().or(position);
        }
        self
    }

    pub fn halted(mut self, halt: Halt) -> Self {
        self.0.halt = Some(Box::new(halt));
        self
    }

    /// It is about this table of the source and no other: without it the link could go on. The first given stays.
    pub fn alone(mut self, table: &TableId) -> Self {
        self.0.alone.get_or_insert_with(|| table.clone());
        self
    }

    /// What it stopped at is a statement that changed a table, or its first row after one.
    pub fn of_ddl(mut self) -> Self {
        self.0.is_of_ddl = true;
        self
    }

    pub fn is_of_ddl(&self) -> bool {
        self.0.is_of_ddl
    }

    pub fn alone_table(&self) -> Option<&TableId> {
        self.0.alone.as_ref()
    }

    pub fn halt(&self) -> Option<&Halt> {
        self.0.halt.as_deref()
    }

    pub fn class(&self) -> Class {
        self.0.class
    }

    pub fn exit_code(&self) -> u8 {
        self.0.reason.exit_code()
    }

    pub fn reason_kind(&self) -> Reason {
        self.0.reason
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn is_transient(&self) -> bool {
        matches!(self.0.class, Class::Transient | Class::Ambiguous)
    }
}

impl fmt::Display for Error {
    /// One line: `[node] [table] could not DOING: WHY`; the hint is printed apart by the faces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if let Some(node) = &inner.node {
            write!(f, "{node}: ")?;
        }
        if let Some(table) = &inner.table {
            write!(f, "table {table}: ")?;
        }
        write!(f, "could not {}", inner.doing)?;
        if let Some(why) = &inner.why {
            write!(f, ": {why}")?;
        }
        let mut source = inner.source.as_deref().map(|s| s as &dyn std::error::Error);
        while let Some(cause) = source {
            let text = cause.to_string();
            write!(f, ": {text}")?;
            source = cause.source().filter(|next| !text.contains(&next.to_string()));
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_copy_is_of_its_sync_alone() {
        let error = Error::definite("x").hint(format!("mend it; then {NEW_COPY}"));
        let error = error.in_sync("shop");
        let hint = error.hint_text().unwrap_or_default();
        assert!(
            hint.starts_with("mend it; then make a new copy: `tidelock teardown --sync shop --execute`;")
        );
        assert!(hint.contains("`tidelock setup --sync shop --execute`") && hint.ends_with("`tidelock run`"));
        assert_eq!(
            error
                .in_sync("other")
                .hint_text()
                .map(|hint| hint.contains("other")),
            Some(false)
        );
    }

    #[test]
    fn message_names_node_table_attempt_and_cause() {
        let error = Error::definite("apply 3 updates")
            .node("pg")
            .table("public.orders")
            .because(std::io::Error::other("disk full"));
        assert_eq!(
            error.to_string(),
            "pg: table public.orders: could not apply 3 updates: disk full"
        );
        assert_eq!(error.class(), Class::Definite);
    }

    #[test]
    fn the_first_transaction_stays() {
        let error = Error::definite("x").at("0/1").at("0/2");
        assert_eq!(error.halt().map(|halt| halt.transaction.as_str()), Some("0/1"));
    }

    #[test]
    fn innermost_node_stays() {
        let error = Error::definite("x").node("inner").node("outer");
        assert!(error.to_string().starts_with("inner: "));
    }
}
