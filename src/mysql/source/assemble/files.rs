//! Where one binlog file ends and the next begins, and the place in it where that is the position.
//!
//! A file ends between transactions, and only a crash ends it elsewhere: then the server makes the next one as it
//! starts, and what was open never happened. Without GTIDs each event's place is followed and compared with the one it
//! tells, and the time a file was made with the time in the position.

use super::{Assembler, malformed};
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::model::position::{FilePosition, Position};
use crate::mysql::source::transaction::Event;
use crate::mysql::wire::{FormatDescription, Rotate, kind};
use tracing::warn;

/// Events that stand between transactions or begin one.
fn stands_between(kind: u8) -> bool {
    matches!(
        kind,
        kind::GTID | kind::GTID_TAGGED | kind::ANONYMOUS_GTID | kind::ROTATE | kind::STOP
    )
}

pub(super) fn no_file() -> Error {
    malformed("the begin").why("it does not name its file")
}

impl Assembler {
    /// Files and offsets are followed where they are the position. Made-up events and heartbeats stand in no file.
    /// True: the event ends before our position, so it was taken already.
    pub(super) fn advance_place(&mut self, event: &Event<'_>) -> Result<bool> {
        let (Position::File(position), Some(place)) = (&mut self.position, &mut self.place) else {
            return Ok(false);
        };
        let is_heartbeat = matches!(event.kind, kind::HEARTBEAT | kind::HEARTBEAT_V2);
        let is_made_up = event.is_artificial || event.end == 0;
        if is_made_up && !is_heartbeat {
            return Ok(false);
        }
        let begin = place.offset;
        // Where a transaction is to be passed, its end is the begin of what follows; or the log's end, where the server
        // has nothing left but heartbeats, and which is never inside of one.
        let is_over = position.is_passed
            && place.file() == position.file()
            && begin > position.offset
            && (is_heartbeat || stands_between(event.kind));
        if is_over {
            position.clone_from(place);
            self.idle.get_or_insert(0);
        }
        if is_heartbeat {
            return Ok(false);
        }
        place.offset += u64::from(event.size);
        if place.offset as u32 != event.end {
            return Err(Error::definite("follow the place in the binlog").why(format!(
                "an event ends at {} where {} was expected",
                event.end, place.offset
            )));
        }
        // A position that was made is the end of a transaction.
        let is_in_file = self.open.is_none() && place.file() == position.file();
        if is_in_file && begin < position.offset && position.offset < place.offset {
            return Err(Error::definite("continue reading the binlog")
                .reason(Reason::PositionLost)
                .why(format!(
                    "at {position} there is no begin of an event: the log was reset"
                ))
                .hint(NEW_COPY));
        }
        let is_first = matches!(event.kind, kind::FORMAT_DESCRIPTION);
        let is_passed = position.is_passed && begin >= position.offset;
        Ok(is_in_file && (is_passed || place.offset <= position.offset) && !is_first)
    }

    /// The name of a transaction where positions are places: where it begins. `event` is its first.
    pub(super) fn begin_place(&self, event: &Event<'_>) -> Result<String> {
        let mut begin = self.place.clone().ok_or_else(no_file)?;
        begin.offset = begin.offset.saturating_sub(event.size.into());
        Ok(begin.to_string())
    }

    pub(super) fn format_description(&mut self, event: &Event<'_>) -> Result<()> {
        let format = FormatDescription::parse(event.body).ok_or_else(|| malformed("a format description"))?;
        self.has_started = true;
        self.tables.forget_numbers();
        self.begin_file(event)?;
        if format.is_first
            && let Some(open) = &self.open
        {
            if !open.is_untold() {
                return Err(Error::definite(self.reading("the end"))
                    .why("its server restarted inside of it, after rows of it were read")
                    .hint("restart; if it happens again, report it with the server's version"));
            }
            warn!(transaction = %open.head.transaction, "the server crashed inside this transaction: nothing of it happened");
            self.open = None;
        }
        self.between_transactions()
    }

    /// Follows into a file, and compares when it was made where we have been in it before.
    fn begin_file(&mut self, event: &Event<'_>) -> Result<()> {
        let (Position::File(position), Some(place)) = (&self.position, &mut self.place) else {
            return Ok(());
        };
        place.created = event.timestamp;
        if position.file() == place.file() && position.created != event.timestamp {
            return Err(Error::definite("continue reading the binlog")
                .reason(Reason::PositionLost)
                .why(format!(
                    "{} is not the file that was read: it was made at {} and not at {} (seconds since 1970), so the log \
                     was reset",
                    place.file(),
                    event.timestamp,
                    position.created
                ))
                .hint(NEW_COPY));
        }
        Ok(())
    }

    /// Between transactions the position goes along: a file that was read to its end may be purged at any time.
    pub(super) fn follow_file(&mut self, event: &Event<'_>) {
        let is_between = self.open.is_none() && self.has_started;
        let (Position::File(position), Some(place)) = (&mut self.position, &self.place) else {
            return;
        };
        let is_ahead = position.file() != place.file() || position.offset < place.offset;
        // The made-up begin of a file has no time yet.
        if is_between && is_ahead && place.created != 0 {
            position.clone_from(place);
            *self.idle.get_or_insert(0) += u64::from(event.size);
        }
    }

    pub(super) fn rotate(&mut self, event: &Event<'_>) -> Result<()> {
        self.tables.forget_numbers();
        if let Position::File(position) = &self.position {
            let rotate = Rotate::parse(event.body).ok_or_else(|| malformed("a file's name"))?;
            let is_same = self
                .place
                .as_ref()
                .is_some_and(|place| place.file() == rotate.file);
            if !is_same {
                let created = if position.file() == rotate.file {
                    position.created
                } else {
                    0
                };
                let place = FilePosition::new(&rotate.file, rotate.offset, created);
                self.place = Some(place.ok_or_else(|| malformed("a file's name"))?);
            }
        }
        match event.is_artificial {
            // Tells where the dump goes on; a crash leaves the file before without an end.
            true => Ok(()),
            false => self.between_transactions(),
        }
    }

    /// A file ends between transactions, and only a crash ends it elsewhere.
    pub(super) fn between_transactions(&self) -> Result<()> {
        match &self.open {
            None => Ok(()),
            Some(_) => Err(Error::definite(self.reading("the end"))
                .why("the log's file ended inside of it")
                .hint("restart; if it happens again, report it with the server's version")),
        }
    }
}
