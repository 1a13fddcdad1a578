//! How transactions end: committed, prepared for a later decision, decided; and what the position is after that.
//!
//! **XA.** Rows come with the prepare, the decision is a transaction of its own. With MySQL's GTIDs the prepare stays
//! out of the position until the decision, so a restart reads it again. A position of one number cannot leave a hole:
//! there a prepared transaction with rows of interest stops the link before them.

use super::files::no_file;
use super::{Assembler, IDLE_BYTES_MAX, malformed, new_copy_after};
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::model::change::Head;
use crate::model::position::Position;
use crate::mysql::source::transaction::{Ending, Event, Id, Prepared};
use crate::mysql::wire::XaPrepare;
use crate::spill::Spill;
use std::sync::Arc;

impl Assembler {
    pub(super) fn xa_start(&mut self) -> Result<()> {
        let space = self.space.clone();
        let open = self.open()?;
        open.has_begun = true;
        open.held.get_or_insert_with(|| Spill::new(&space));
        Ok(())
    }

    pub(super) fn xa_prepare(&mut self, event: &Event<'_>) -> Result<()> {
        let prepare =
            XaPrepare::parse(event.body).ok_or_else(|| malformed("the end of an XA transaction"))?;
        self.ends(match prepare.is_commit {
            true => Ending::Commit,
            false => Ending::Prepared(prepare.xid),
        })
    }

    /// The transaction is complete; a compressed one once it was seen to be whole.
    pub(super) fn ends(&mut self, ending: Ending) -> Result<()> {
        if self.is_in_payload {
            self.ending = Some(ending);
            return Ok(());
        }
        match ending {
            Ending::Commit => {
                self.replay = self.open()?.held.take().map(Spill::into_reader);
                match self.replay {
                    Some(_) => Ok(()),
                    None => self.finish(),
                }
            }
            Ending::Prepared(xid) => self.prepare(xid),
            Ending::Decided { is_commit, xid } => self.decide(is_commit, &xid),
        }
    }

    /// Puts the rows aside. With a set of GTIDs this one stays out of it until the decision.
    fn prepare(&mut self, xid: String) -> Result<()> {
        let reading = self.reading("an XA transaction");
        let Some(open) = self.open.take() else {
            return self.open().map(|_| ());
        };
        if matches!(self.position, Position::Gtid(_)) {
            let held = open.held.unwrap_or_else(|| Spill::new(&self.space));
            self.prepared.insert(xid, Prepared { id: open.id, held });
        } else if let Some(table) = open.held_table {
            return Err(new_copy_after(
                Error::definite(reading).table(table).why(
                    "it was prepared in two phases, and this server's positions cannot leave out what is not decided \
                     yet: its rows could be lost over a restart",
                ),
                "write synced tables without XA, or in one phase (XA COMMIT .. ONE PHASE); decide what is prepared;",
            ));
        } else {
            self.advance_position(&open.id)?;
        }
        *self.idle.get_or_insert(0) += open.log_bytes;
        Ok(())
    }

    fn decide(&mut self, is_commit: bool, xid: &str) -> Result<()> {
        let found = self.prepared.remove(xid);
        let is_set = matches!(self.position, Position::Gtid(_));
        let reading = self.reading("the decision");
        let past = found.as_ref().and_then(|prepared| self.past_both(&prepared.id));
        let open = self.open()?;
        match found {
            Some(Prepared { id, held }) => {
                open.head = Arc::new(Head {
                    past,
                    ..(*open.head).clone()
                });
                open.decided = Some(id);
                if is_commit {
                    self.replay = Some(held.into_reader());
                    return Ok(());
                }
            }
            // Its rows came before our position, and only that they were not of interest lets us pass.
            None if is_set && is_commit => {
                return Err(Error::definite(reading)
                    .reason(Reason::PositionLost)
                    .why("it was prepared (XA PREPARE) before this link's first position, so its rows were not read")
                    .hint(NEW_COPY));
            }
            None => {}
        }
        self.finish()
    }

    /// Behind the open transaction and the one that it decides: whoever skips the one is past the other, too.
    fn past_both(&self, prepared: &Id) -> Option<Position> {
        let (Position::Gtid(set), Id::Gtid(prepared), Id::Gtid(decision)) =
            (&self.position, prepared, &self.open.as_ref()?.id)
        else {
            return None;
        };
        let mut set = set.clone();
        set.add(&prepared.source, prepared.number);
        set.add(&decision.source, decision.number);
        Some(Position::Gtid(set))
    }

    /// Hands on the rest of the open transaction with the position after it.
    pub(super) fn finish(&mut self) -> Result<()> {
        let Some(open) = &self.open else {
            return self.open().map(|_| ());
        };
        self.joins.end()?;
        let (id, decided, log_bytes) = (open.id.clone(), open.decided.clone(), open.log_bytes);
        let is_of_interest = open.count > 0 || open.has_marker;
        if is_of_interest {
            self.report_idle();
        }
        self.advance_position(&id)?;
        if let Some(decided) = decided {
            self.advance_position(&decided)?;
        }
        match is_of_interest {
            true => {
                let end = self.position.clone();
                self.cut(Some(end))?;
            }
            false => *self.idle.get_or_insert(0) += log_bytes,
        }
        self.open = None;
        if self
            .idle
            .is_some_and(|foreign_bytes| foreign_bytes >= IDLE_BYTES_MAX)
        {
            self.report_idle();
        }
        Ok(())
    }

    /// Tells earlier progress before a transaction of interest, which may turn out to be an echo: the log bytes of
    /// others would be lost with it.
    pub(super) fn report_idle(&mut self) {
        match self.idle {
            Some(0) | None => self.idle = None,
            Some(_) => {
                let idle = self.idle();
                self.ready.extend(idle);
            }
        }
    }

    fn advance_position(&mut self, id: &Id) -> Result<()> {
        match (&mut self.position, id) {
            (Position::Gtid(set), Id::Gtid(gtid)) => set.add(&gtid.source, gtid.number),
            (Position::MariaGtid(list), Id::Maria(gtid, server)) => {
                list.set(gtid.domain, *server, gtid.sequence)
            }
            (Position::File(position), Id::Gtid(_) | Id::Anonymous) => {
                let place = self.place.as_ref();
                position.clone_from(place.ok_or_else(no_file)?);
            }
            (position, _) => {
                return Err(Error::bug("advance a position").why(format!("{position} is of another kind")));
            }
        }
        Ok(())
    }
}
