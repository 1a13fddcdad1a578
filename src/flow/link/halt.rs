//! The transaction that a link cannot get past.
//!
//! Owns: whether an error is of the data, and the command that leaves the transaction out. Refuses: leaving it out (`skip`).

use super::Link;
use crate::error::{Class, Error, Halt, Reason};

/// How sources, which know no link's name, write the command that passes a transaction over.
const SKIP_IT: &str = "`tidelock skip` this transaction";

impl Link {
    /// Names the transaction that a link cannot get past, and the command that leaves it out.
    pub(super) fn halted(&self, error: Error, halt: Option<Halt>) -> Error {
        if !is_of_the_data(&error) {
            return error;
        }
        let Some(mut halt) = halt.or_else(|| error.halt().cloned()) else {
            return error;
        };
        if halt.past.is_none() {
            let past = self.pending.position.after(&halt.transaction);
            halt.past = past.map(|position| position.to_string());
        }
        if halt.past.is_none() {
            return error;
        }
        if halt.tables.is_empty() {
            // A statement has no rows to tell them by.
            halt.tables.extend(error.alone_table().cloned());
        }
        let (sources, targets) = (&self.spec.source.tables, &self.spec.target.tables);
        for table in &mut halt.tables {
            let place = sources.iter().position(|source| source == table);
            if let Some(target) = place.and_then(|place| targets.get(place)) {
                table.clone_from(target);
            }
        }
        let skip = format!(
            "tidelock skip '{}' --at '{}'",
            self.spec.full_name(),
            halt.transaction
        );
        let hint = match error.hint_text() {
            Some(hint) if hint.contains(SKIP_IT) => hint.replace(SKIP_IT, &format!("`{skip} --execute`")),
            Some(hint) if hint.contains("tidelock skip") => hint.to_owned(),
            Some(hint) => format!("{hint}; `{skip}` shows what leaving this transaction out would lose"),
            None => format!(
                "`{skip}` shows what leaving this transaction out would lose; --execute leaves it out"
            ),
        };
        error.halted(halt).hint(hint)
    }
}

/// Did a transaction's contents cause it? Then it comes again, and the transaction can be left out.
pub(super) fn is_of_the_data(error: &Error) -> bool {
    matches!(error.class(), Class::Definite | Class::Bug) && error.reason_kind() == Reason::Other
}
