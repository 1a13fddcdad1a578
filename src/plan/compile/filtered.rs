//! What row filters make of a change: which rows the source sends, and what it tells of those that it does not.
//!
//! Pure. Each direction has a condition, mostly the same. A row that comes to match the source's is inserted, one that
//! ceases to match is deleted (it leaves). Where the conditions differ, a row that the other side's alone takes is the
//! other node's: one that was the source's or everybody's and becomes so is handed over, as any update; what the source
//! writes over one that it did not have to give is *told*, so that its node answers ([`super::PlannedOp::told`]).
//! A hub whose spokes hold some of its rows sends by the condition of each; the way back has none, and the hub judges what
//! stands there. What it answers to one spoke is none of the others' business.
//! Refuses: rows whose log does not carry what the conditions read.

use super::{Address, Author, Plan, Planned, PlannedOp};
use crate::error::Result;
use crate::expr::{Filter, Unfit};
use crate::mapping::Passage;
use crate::merge::Sight;
use crate::model::schema::Table;
use crate::model::stamp::{Rank, Stamp};
use crate::model::value::Row;
use crate::plan::guard::Guarding;

/// One condition, over the rows of each side.
#[derive(Debug)]
struct Sent {
    source: Filter,
    target: Filter,
}

#[derive(Debug)]
pub(super) struct Filters {
    /// By the source.
    sent: Sent,
    /// By the target, where that is another condition.
    back: Option<Sent>,
    /// Rows that leave stay on the target.
    keep: bool,
    /// The target is a spoke that holds these rows of its hub, and no others.
    is_held: bool,
}

impl Filters {
    pub(super) fn bind(source: &Table, target: &Table, passage: &Passage) -> Result<Option<Filters>, Unfit> {
        let Some((here, there)) = passage.filter(source, target)? else {
            return Ok(None);
        };
        let back = match passage.is_common() {
            true => None,
            false => passage.back().filter(target, source)?,
        };
        Ok(Some(Filters {
            sent: Sent {
                source: here,
                target: there,
            },
            back: back.map(|(there, here)| Sent {
                source: here,
                target: there,
            }),
            keep: passage.keeps(),
            is_held: passage.is_to_holder(),
        }))
    }

    /// Which rows of the source go to the target.
    pub(super) fn of_source(&self) -> &Filter {
        &self.sent.source
    }

    fn read(&self) -> impl Iterator<Item = &usize> {
        let back = self.back.iter().flat_map(|back| back.source.columns());
        self.sent.source.columns().iter().chain(back)
    }
}

/// How a change goes to the target.
enum Goes {
    Updated,
    Inserted,
    /// The row stays with the source from now on.
    Left,
    Deleted,
    /// See [`PlannedOp::told`].
    Told,
    /// A row that left stays there.
    Kept,
    Nothing,
}

/// The same for a spoke, by the hub's rows. What comes into being by an answer is deleted again at once: the spoke that it
/// is meant for is told of that alone, whatever rows it holds, and no other one of anything.
fn held((was, old): (bool, Option<&Row>), (is, new): (bool, Option<&Row>), author: Author) -> Goes {
    let is_others = author.own && !author.answers;
    match (was, is) {
        _ if author.own && (old.is_none() || (is_others && new.is_none())) => Goes::Nothing,
        (true, true) => Goes::Updated,
        (false, true) => Goes::Inserted,
        (true, false) if new.is_none() => Goes::Deleted,
        (true, false) => Goes::Left,
        (false, false) if author.answers && old.is_some() => match new {
            Some(_) => Goes::Left,
            None => Goes::Deleted,
        },
        (false, false) => Goes::Nothing,
    }
}

impl Plan {
    /// By the source's row before and after the change.
    fn goes(&self, old: Option<&Row>, new: Option<&Row>, author: Author) -> Result<Goes> {
        let takes = |row: Option<&Row>| row.map_or(Ok(false), |row| self.takes(row));
        let other = |row: Option<&Row>| row.map_or(Ok(false), |row| self.is_of_target(row));
        let (was, is) = (takes(old)?, takes(new)?);
        if self.is_held() {
            return Ok(held((was, old), (is, new), author));
        }
        Ok(match (was, is) {
            (true, true) => Goes::Updated,
            (false, true) => Goes::Inserted,
            (true, false) if new.is_none() => Goes::Deleted,
            (true, false) if other(new)? => Goes::Updated,
            (true, false) if self.keeps() => Goes::Kept,
            (true, false) => Goes::Left,
            (false, false) if other(old)? || other(new)? => Goes::Told,
            // What Tidelock answers with is meant for the other side.
            (false, false) if author.own && old.is_some() && new.is_some() => Goes::Left,
            (false, false) => Goes::Nothing,
        })
    }

    /// A row that came, or that went.
    pub(super) fn came_or_went(
        &self,
        old: Option<&Row>,
        new: Option<&Row>,
        author: Author,
        address: &Address,
        out: &mut Vec<Planned>,
    ) -> Result<()> {
        match (self.goes(old, new, author)?, old, new) {
            (Goes::Inserted, _, Some(new)) => out.push(self.insert(new, None, address)?),
            (Goes::Deleted, Some(old), _) => out.push(self.delete(old, author.rank, address)?),
            (Goes::Told, _, _) => out.extend(self.told(old, new, author, address)?),
            (
                Goes::Inserted | Goes::Deleted | Goes::Updated | Goes::Left | Goes::Kept | Goes::Nothing,
                _,
                _,
            ) => {}
        }
        Ok(())
    }

    /// A row that changed under its key.
    pub(super) fn updated(
        &self,
        old: Option<&Row>,
        new: &Row,
        author: Author,
        address: &Address,
        out: &mut Vec<Planned>,
    ) -> Result<()> {
        let Some(filters) = &self.filters else {
            out.push(self.update(old, new, address)?);
            return Ok(());
        };
        let is_of_key = || filters.read().all(|column| self.source.key.contains(column));
        let before = match old {
            Some(old) => old,
            // The log leaves the old row out where its key did not change: then a filter over the key says the same.
            None if is_of_key() => new,
            None => {
                return Err(self.lacks("its update came without the old values that the row filter reads"));
            }
        };
        match self.goes(Some(before), Some(new), author)? {
            Goes::Updated => out.push(self.update(old, new, address)?),
            Goes::Inserted => out.push(self.insert(new, None, address)?),
            Goes::Left | Goes::Deleted => out.push(self.leave(before, new, address)?),
            Goes::Told => out.extend(self.told(Some(before), Some(new), author, address)?),
            Goes::Kept | Goes::Nothing => {}
        }
        Ok(())
    }

    /// A row that moved to another key.
    pub(super) fn moved(
        &self,
        old: &Row,
        new: &Row,
        author: Author,
        address: &Address,
        out: &mut Vec<Planned>,
    ) -> Result<()> {
        let was = self.takes(old)?;
        // As under one key: a row that the source had to give goes where the target's condition takes it.
        let is = self.takes(new)? || (was && self.is_of_target(new)?);
        if !was || !is {
            if !(was && self.keeps()) {
                self.came_or_went(Some(old), None, author, address, out)?;
            }
            return self.came_or_went(None, Some(new), author, address, out);
        }
        let mut delete = self.delete(old, author.rank, address)?;
        delete.moves = true;
        let moved = |mut insert: Planned| {
            insert.moves = true;
            insert
        };
        if new.is_complete() && self.own.is_empty() {
            out.extend([delete, moved(self.insert(new, None, address)?)]);
        } else {
            // The row it leaves is read before anything of its layer is written: insert opens the layer.
            let old_key = self.key_of(old)?.ok();
            out.extend([moved(self.insert(new, old_key, address)?), delete]);
        }
        Ok(())
    }

    /// The row stopped matching: to the target a delete, with the stamp of the write that it was.
    fn leave(&self, old: &Row, new: &Row, address: &Address) -> Result<Planned> {
        let mut planned = self.delete(old, Rank::default(), address)?;
        planned.guarding = Guarding::No;
        let after = self.stamp(new)?;
        match &mut planned.op {
            PlannedOp::Delete { stamp, .. } | PlannedOp::Refused { stamp, .. } => *stamp = after,
            PlannedOp::Insert { .. } | PlannedOp::Update { .. } => {}
        }
        Ok(planned)
    }

    /// What a row that the source does not send is to a target that may hold it as the source's still, because it has missed
    /// that it left or was handed over.
    pub fn released(&self, row: &Row, address: &Address) -> Result<Planned> {
        if self.is_of_target(row)? {
            return self.copied(row, address);
        }
        let mut planned = self.leave(row, row, address)?;
        if let PlannedOp::Delete { base, .. } = &mut planned.op {
            // What it was made on is not known, and a change that is its own base would be told.
            *base = Some(Stamp::write(0, Rank::default()));
        }
        Ok(planned)
    }

    /// The source wrote over a row that the target alone sends. `None`: under a key that the target cannot hold, so that it
    /// has no such row.
    fn told(
        &self,
        old: Option<&Row>,
        new: Option<&Row>,
        author: Author,
        address: &Address,
    ) -> Result<Option<Planned>> {
        let Some(row) = new.or(old) else {
            return Ok(None);
        };
        let mut planned = self.delete(row, author.rank, address)?;
        let written = self.stamp(row)?;
        let PlannedOp::Delete { base, stamp, .. } = &mut planned.op else {
            return Ok(None);
        };
        *stamp = match new {
            Some(_) => written,
            None => written.map(|written| Stamp::delete(written.version, author.rank)),
        };
        *base = *stamp;
        Ok(Some(planned))
    }

    /// Does the source send this row of its own?
    pub fn takes(&self, source: &Row) -> Result<bool> {
        let Some(filters) = &self.filters else {
            return Ok(true);
        };
        self.judged(&filters.sent.source, source)
    }

    /// Is this row of the source one that the target alone sends?
    fn is_of_target(&self, source: &Row) -> Result<bool> {
        match self.filters.as_ref().and_then(|filters| filters.back.as_ref()) {
            Some(back) => Ok(self.judged(&back.source, source)? && !self.takes(source)?),
            None => Ok(false),
        }
    }

    /// Does either side send this row of the source?
    pub fn concerns(&self, source: &Row) -> Result<bool> {
        Ok(self.takes(source)? || self.is_of_target(source)?)
    }

    fn judged(&self, filter: &Filter, source: &Row) -> Result<bool> {
        filter
            .matches(source)
            .ok_or_else(|| self.lacks("a row image came without the columns that the row filter reads"))
    }

    /// Is this row of the target one that the source sends, or at a hub one that the source holds? One that cannot be
    /// judged is taken for one.
    pub fn holds(&self, target: &Row) -> bool {
        let sent = match &self.filters {
            // A spoke has nothing else.
            Some(filters) if filters.is_held => None,
            Some(filters) => Some(&filters.sent.target),
            None => self.held.as_ref(),
        };
        sent.is_none_or(|sent| sent.matches(target) != Some(false))
    }

    /// Does the target itself send this row of its own?
    fn gives(&self, target: &Row) -> bool {
        let Some(filters) = &self.filters else {
            return self.holds(target);
        };
        let back = filters.back.as_ref().unwrap_or(&filters.sent);
        back.target.matches(target) != Some(false)
    }

    /// Does either side send this row of the target?
    pub fn concerns_standing(&self, target: &Row) -> bool {
        self.holds(target) || self.gives(target)
    }

    /// Whose a row of the target is, as it sees that: the one that stands, or where none does the incoming one.
    pub fn sight(&self, standing: Option<&Row>, incoming: Option<&Row>) -> Sight {
        if self.held.is_some() {
            return match standing.is_some_and(|row| self.holds(row)) {
                true => Sight::Unfiltered,
                false => Sight::Unheld,
            };
        }
        if !self.is_apart() {
            return Sight::Unfiltered;
        }
        let Some(row) = standing.or(incoming) else {
            return Sight::Within;
        };
        match (self.holds(row), self.gives(row)) {
            (true, true) => Sight::Within,
            (false, true) => Sight::Lent,
            (true, false) => Sight::Borrowed,
            (false, false) => Sight::Outside,
        }
    }

    /// Has each direction a filter of its own?
    pub fn is_each_way(&self) -> bool {
        self.filters
            .as_ref()
            .is_some_and(|filters| filters.back.is_some())
    }

    pub fn is_filtered(&self) -> bool {
        self.filters.is_some()
    }

    /// May both nodes have rows under one key that the other one does not see?
    pub fn is_apart(&self) -> bool {
        self.is_filtered() && !self.is_held()
    }

    /// Is the target a spoke that holds some rows of the source?
    pub fn is_held(&self) -> bool {
        self.filters.as_ref().is_some_and(|filters| filters.is_held)
    }

    /// Does the target judge rows of its own by the spoke that writes them?
    pub fn judges(&self) -> bool {
        self.held.is_some()
    }

    /// Does a row that was deleted go to the target? Of one of which no more than its key is known none did.
    pub fn tells_of(&self, deleted: &Row) -> bool {
        let filters = self.filters.as_ref();
        filters.is_none_or(|filters| filters.sent.source.matches(deleted) == Some(true))
    }

    /// Rows that leave the filter stay on the target.
    pub fn keeps(&self) -> bool {
        self.filters.as_ref().is_some_and(|filters| filters.keep)
    }
}
