//! DDL of synced tables: what removes rows, exchanges tables, or may have changed the rows that are there.
//!
//! Owns: the stops, each with what to look at and the way on. What DDL does to rows is in no log, so whoever passes it
//! over (`tidelock skip`) says that he has looked.
//! Refuses: judging an ALTER TABLE by itself (see `wire::alteration`).

use super::{Assembler, classify, new_copy_after};
use crate::error::{Error, NEW_COPY, Result};
use crate::model::schema::TableId;
use crate::mysql::codec::{Spelling, spelled};
use crate::mysql::sql::table as quoted;
use crate::mysql::wire::Query;
use crate::mysql::wire::alteration::Verdict;
use crate::mysql::wire::query::{Name, Statement};

/// A statement that was judged by what the link knew is not to be read again by one that knows less: it counts as so
/// much log that the checkpoint moves behind it.
const SETTLES: u64 = 16 << 20;

/// What a link that stops at an ALTER TABLE was about to do.
const PAST: &str = "go on past an ALTER TABLE";

impl Assembler {
    /// Before any row behind it is read.
    pub(super) fn altered(&mut self, name: &Name, query: &Query<'_>, database: &str) -> Result<()> {
        let schema = name.schema.as_deref().unwrap_or(database);
        let is_current = self.tables.is_current(&self.position);
        let text = match spelled(query.text, query.client) {
            Spelling::Whole(text) => text,
            Spelling::Begin(_) => return Err(self.not_spelled(query)),
        };
        let judged = self
            .tables
            .alter((schema, &name.name), &text, query.mode, is_current);
        match judged {
            None => Ok(()),
            // Judged by names or types that are not known any more.
            Some((id, Verdict::Keeps(_))) if self.stopped_at.as_deref() == Some(self.name()) => {
                Err(self.may_have_changed(&id, "the link stopped at this statement before"))
            }
            Some((id, Verdict::Keeps(effects))) => {
                let is_by_knowledge = effects.others.iter().any(|(_, now)| now.is_some());
                // A name that went is known again where it is read again, and not behind it.
                if is_by_knowledge && !self.tables.has_lost_names(&id) {
                    self.open()?.log_bytes += SETTLES;
                }
                Ok(())
            }
            Some((id, Verdict::MayChange(why))) => Err(self.may_have_changed(&id, &why)),
            Some((id, Verdict::Cascades)) => Err(self.cascades(&id)),
        }
    }

    fn stopped(&self, doing: &str, id: &TableId) -> Error {
        Error::definite(doing)
            .of_ddl()
            .alone(id)
            .table(id)
            .at(self.name())
    }

    fn may_have_changed(&self, id: &TableId, why: &str) -> Error {
        self.stopped(PAST, id)
            .why(format!(
                "{why}: what that did to the rows that were there is in no log"
            ))
            .hint(
                "alter the other node's table in the same way, compare all rows of both and give the other node's the \
                 values that they have here; then `tidelock skip` this transaction, which says that you have looked",
            )
    }

    fn cascades(&self, id: &TableId) -> Error {
        let committed_at_us = self.transaction().map_or(0, |head| head.committed_at_us);
        let since = jiff::Timestamp::from_microsecond(committed_at_us);
        let since = since.map_or_else(|_| "this statement".to_owned(), |at| at.to_string());
        self.stopped(PAST, id)
            .why(format!(
                "it was given a foreign key with CASCADE or SET NULL (E305): what such a key does to rows is in no log, \
                 so that changes of rows since {since} may be missing on the other node"
            ))
            .hint(format!(
                "ALTER TABLE {} DROP FOREIGN KEY ..; and again with ON DELETE RESTRICT ON UPDATE RESTRICT; compare the \
                 rows of this table on both nodes; then `tidelock skip` this transaction, which says that you have looked",
                quoted(id)
            ))
    }

    /// The server writes CREATE OR REPLACE TABLE .. SELECT anew, in UTF-8 whatever its client speaks.
    pub(super) fn replaced(&self, query: &Query<'_>, database: &str) -> Result<()> {
        match std::str::from_utf8(query.text).map(classify) {
            Ok(Statement::Remove(names)) => self.removed(&names, database),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) fn removed(&self, names: &[Name], database: &str) -> Result<()> {
        for name in names {
            let schema = name.schema.as_deref().unwrap_or(database);
            if let Some(table) = self.tables.by_name(schema, &name.name) {
                return Err(rows_removed(&table.id));
            }
        }
        Ok(())
    }

    /// A synced name that leaves its table, or comes to another one. What is in that other one was written under
    /// another name, and has passed by.
    pub(super) fn renamed(&self, pairs: &[(Name, Name)], database: &str) -> Result<()> {
        let synced = |name: &Name| {
            let schema = name.schema.as_deref().unwrap_or(database);
            self.tables
                .by_name(schema, &name.name)
                .map(|table| table.id.clone())
        };
        let came = pairs.iter().find_map(|(from, to)| Some((synced(to)?, from)));
        let Some((id, other)) = came else {
            let went = pairs.iter().find_map(|(from, to)| Some((synced(from)?, to)));
            return went.map_or(Ok(()), |(id, to)| Err(self.renamed_away(&id, to)));
        };
        Err(self
            .stopped(&self.reading("an event"), &id)
            .why(format!(
                "table {:?} was renamed to it: what that table holds was written under its other name, and is not \
                 known to be what this table held",
                other.name
            ))
            .hint(format!(
                "if an online schema change filled it from this very table (gh-ost, pt-online-schema-change), change \
                 the other node's table in the same way, and `tidelock skip` this transaction; if not, {NEW_COPY}"
            )))
    }

    fn renamed_away(&self, id: &TableId, to: &Name) -> Error {
        self.stopped(&self.reading("an event"), id)
            .why(format!("it was renamed to {:?}, which is not synced", to.name))
            .hint(format!(
                "if it has its name again and was not written to meanwhile, `tidelock skip` this transaction; if not, \
                 {NEW_COPY}"
            ))
    }
}

pub(super) fn rows_removed(id: &TableId) -> Error {
    let error = Error::definite("follow the log past a statement that removed rows")
        .of_ddl()
        .alone(id)
        .table(id)
        .why("the table or a part of it was dropped, which leaves no row events");
    new_copy_after(error, "create it again, or take it out of the sync;")
}
