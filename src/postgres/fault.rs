//! What an SQLSTATE means to a running link: does it pass by itself, and what does a person do about it?
//!
//! Owns: the one table of PostgreSQL's errors. Pure. docs/errors.md tells the same to people.
//! A state that is not listed is definite: trying again blindly can hide its cause.

use crate::error::{Class, Reason, SEE_GRANTS};

pub(super) struct Fault {
    pub class: Class,
    pub reason: Reason,
    pub hint: Option<&'static str>,
}

use Class::{Definite, Transient};
use Reason::{Other, Unreachable};

const TABLE: &[(&[&str], Class, Reason, Option<&str>)] = &[
    // Serialization, deadlock; a slot of ours that the lost connection still holds.
    (&["40001", "40P01", "55006"], Transient, Other, None),
    (
        &["55P03"],
        Transient,
        Other,
        Some("somebody holds a lock on these rows: SELECT * FROM pg_locks WHERE NOT granted;"),
    ),
    (
        &["25006"],
        Transient,
        Other,
        Some(
            "it goes on when the server takes writes again; after a failover the URL must lead to the new primary \
             (several hosts in one URL: the first that takes writes)",
        ),
    ),
    // Idle in transaction, a whole transaction, a session: ended by their limits.
    (
        &["25P03", "25P04", "57P05"],
        Transient,
        Other,
        Some(
            "a time limit of the server ended our session; exempt the account from it: ALTER ROLE .. SET .. = 0;",
        ),
    ),
    (
        &["53100"],
        Transient,
        Other,
        Some("free space on the server; it goes on by itself then"),
    ),
    (
        &["53200"],
        Transient,
        Other,
        Some("the server is out of memory; it goes on by itself when there is some"),
    ),
    (
        &["53300"],
        Transient,
        Unreachable,
        Some("raise max_connections or the role's CONNECTION LIMIT, or close sessions"),
    ),
    // Somebody, or a time limit, cancelled a statement of ours.
    (
        &["57014"],
        Transient,
        Other,
        Some("it is tried again; `tidelock pause` keeps Tidelock away for longer"),
    ),
    // Shutdown, crash of another session, start-up: also how pg_terminate_backend looks.
    (&["57P01", "57P02", "57P03"], Transient, Unreachable, None),
    (
        &["28P01"],
        Definite,
        Unreachable,
        Some(
            "check user and password, and the client certificate's CN where pg_hba.conf asks for one; the server's log has \
             the exact cause",
        ),
    ),
    (
        &["28000"],
        Definite,
        Unreachable,
        Some(
            "check pg_hba.conf for this host, database and user, whether it asks for a client certificate (sslcert, \
             sslkey), and that the role has LOGIN (and REPLICATION)",
        ),
    ),
    (
        &["3D000"],
        Definite,
        Unreachable,
        Some("check the database name at the end of the URL"),
    ),
    (&["42501"], Definite, Other, Some(SEE_GRANTS)),
    // A column that only the server fills: an identity that is GENERATED ALWAYS, or an expression.
    (
        &["428C9"],
        Definite,
        Other,
        Some(
            "a column of the target was made GENERATED ALWAYS: for an identity `tidelock check` prints the ALTER TABLE \
             that mends it; then `tidelock run`, which reads the table's definition anew",
        ),
    ),
    (
        &["XX001", "XX002"],
        Definite,
        Other,
        Some("the server found damaged data: look into its log before anything else"),
    ),
];

pub(super) fn of(state: &str) -> Fault {
    let listed = TABLE.iter().find(|(states, ..)| states.contains(&state));
    let (class, reason, hint) = match listed {
        Some((_, class, reason, hint)) => (*class, *reason, *hint),
        None if state.starts_with("28") => (Definite, Unreachable, None),
        None if state.starts_with("08") => (Transient, Other, None),
        None => (Definite, Other, None),
    };
    Fault { class, reason, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        for state in [
            "40001", "40P01", "55P03", "55006", "25006", "25P03", "25P04", "53100", "53200", "53300",
            "57014", "57P01", "57P02", "57P03", "57P05", "08006",
        ] {
            assert_eq!(of(state).class, Class::Transient, "{state}");
        }
    }

    #[test]
    fn logins_grants_data_and_the_unknown_stop() {
        for state in [
            "28P01", "28000", "3D000", "42501", "23505", "22003", "42P01", "57P04", "53400", "58030",
            "XX000", "XX001", "428C9", "99999", "",
        ] {
            assert_eq!(of(state).class, Class::Definite, "{state}");
        }
    }

    #[test]
    fn who_waits_for_a_person_is_told_for_what() {
        for state in [
            "25006", "53100", "53300", "55P03", "57014", "28P01", "28000", "42501",
        ] {
            assert!(of(state).hint.is_some(), "{state}");
        }
    }
}
