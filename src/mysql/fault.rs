//! What an error number of MySQL or MariaDB means to a running link: does it pass by itself, and what does a person do
//! about it?
//!
//! Owns: the one table of both servers' errors. Pure. docs/errors.md tells the same to people.
//! A number that is not listed is definite: trying again blindly can hide its cause.

use crate::error::{Class, LOST, Reason, SEE_GRANTS};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub class: Class,
    pub reason: Reason,
    pub hint: Option<&'static str>,
}

use Class::{Definite, Transient};
use Reason::{Other, Unreachable};

const READ_ONLY: &str = "it goes on when the server takes writes again; after a failover the URL must lead to the new \
                         primary (several hosts in one URL: the first that takes writes)";
const STALE_TRIGGER: &str = "the table was altered, and one of its triggers names a column that is gone: `tidelock setup \
                             --execute` makes Tidelock's anew, then `tidelock run`; a trigger of your own you have to alter";
const DISK: &str = "free space on the server; it goes on by itself then";

const TABLE: &[(&[u16], Class, Reason, Option<&str>)] = &[
    // Deadlock; rolled back by group replication.
    (&[1213, 3101], Transient, Other, None),
    // A snapshot cannot read a table that was rewritten or emptied since: a later one can.
    (&[1412], Transient, Other, None),
    (
        &[1205],
        Transient,
        Other,
        Some("somebody holds a lock on these rows: SELECT * FROM information_schema.innodb_trx;"),
    ),
    (&[1792], Transient, Other, Some(READ_ONLY)),
    (&[1021, 1114, 3675], Transient, Other, Some(DISK)),
    (
        &[1037, 1038, 1041, 1135],
        Transient,
        Other,
        Some("the server is out of memory or threads; it goes on by itself when there are some"),
    ),
    (
        &[1040, 1203, 1226],
        Transient,
        Unreachable,
        Some("raise max_connections, max_user_connections or the account's limit, or close sessions"),
    ),
    // Statement time limits of MySQL and MariaDB, KILL QUERY.
    (
        &[3024, 1969, 1317],
        Transient,
        Other,
        Some("it is tried again; `tidelock pause` keeps Tidelock away for longer"),
    ),
    // KILL, idle limits; cut connections.
    (&[1927, 3169, 4031], Transient, Other, None),
    (
        &[1152, 1158, 1159, 1160, 1161, 1184, 2006, 2013],
        Transient,
        Other,
        None,
    ),
    // Shutdown, offline mode.
    (&[1053, 1077, 1079, 3032], Transient, Unreachable, None),
    (
        &[1049],
        Definite,
        Unreachable,
        Some("check the database name at the end of the URL"),
    ),
    (
        &[1044],
        Definite,
        Unreachable,
        Some(
            "check the database name at the end of the URL; if it is right, `tidelock setup --execute` with the owner's \
             account as setup_url grants what this one needs",
        ),
    ),
    (
        &[1045, 1130, 1251, 1524, 1698],
        Definite,
        Unreachable,
        Some(
            "check user, password and database of the URL, the account's host and grants, and whether it demands TLS or \
             a client certificate (sslcert, sslkey); give the password by password_file, password_env or \
             password_command",
        ),
    ),
    (
        &[1820, 1862],
        Definite,
        Unreachable,
        Some("the account's password has expired: ALTER USER .. IDENTIFIED BY ..; and give the new one"),
    ),
    (
        &[3118, 4151],
        Definite,
        Unreachable,
        Some("the account is locked: ALTER USER .. ACCOUNT UNLOCK;"),
    ),
    (
        &[1129],
        Definite,
        Unreachable,
        Some(
            "the server shut out this machine after failed logins: FLUSH HOSTS; or raise max_connect_errors",
        ),
    ),
    (&[1142, 1143, 1227, 1370], Definite, Other, Some(SEE_GRANTS)),
    (
        &[1197],
        Definite,
        Other,
        Some("SET GLOBAL max_binlog_cache_size = DEFAULT; a transaction is applied as one"),
    ),
];

/// Numbers whose meaning is in the text are told apart by it.
pub(super) fn of(code: u16, message: &str) -> Fault {
    let listed = TABLE.iter().find(|(codes, ..)| codes.contains(&code));
    let (class, reason, hint) = match (code, listed) {
        (_, Some((_, class, reason, hint))) => (*class, *reason, *hint),
        (1290 | 1836, None) if message.contains("read") => (Transient, Other, Some(READ_ONLY)),
        // "Got error N": the operating system's number; 28 is a full disk.
        (1026 | 1030 | 1180, None) if is_disk_full(message) => (Transient, Other, Some(DISK)),
        // Nothing of the data: leaving it out would not help.
        (1054, None) if ["in 'NEW'", "in 'OLD'"].iter().any(|row| message.contains(row)) => {
            (Definite, Reason::Blocked, Some(STALE_TRIGGER))
        }
        (1236, None) => return log(message),
        _ => (Definite, Other, None),
    };
    Fault { class, reason, hint }
}

fn is_disk_full(message: &str) -> bool {
    message.contains("rror 28") || message.contains("rrno: 28") || message.contains("No space left")
}

/// Error 1236 stands for everything that can end a dump.
fn log(message: &str) -> Fault {
    let (class, reason, hint) = if message.contains("same server") {
        // Somebody drew our random server id: the next attempt draws another.
        (Class::Transient, Reason::Other, None)
    } else if message.contains("max_allowed_packet") {
        let hint = "SET GLOBAL max_allowed_packet = 1073741824;";
        (Class::Definite, Reason::Other, Some(hint))
    } else {
        (Class::Definite, Reason::PositionLost, Some(LOST))
    };
    Fault { class, reason, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_tried_again() {
        for code in [
            1205, 1213, 1412, 1792, 1021, 1114, 3675, 1037, 1041, 1040, 1203, 1226, 3024, 1969, 1317, 1927,
            1053, 1077, 1079, 3032, 1152, 1158, 1161, 1184, 2006, 2013, 3101, 3169, 4031,
        ] {
            assert_eq!(of(code, "").class, Class::Transient, "{code}");
        }
    }

    #[test]
    fn logins_grants_data_and_the_unknown_stop() {
        for code in [
            1045, 1044, 1049, 1129, 1130, 1820, 1862, 3118, 4151, 1142, 1227, 1062, 1146, 1264, 1197, 9999,
        ] {
            assert_eq!(of(code, "").class, Class::Definite, "{code}");
        }
    }

    #[test]
    fn numbers_with_several_meanings_are_told_apart_by_their_text() {
        let read_only =
            "The MySQL server is running with the --super-read-only option so it cannot execute this";
        assert_eq!(of(1290, read_only).class, Class::Transient);
        let other = "The MySQL server is running with the --skip-grant-tables option";
        assert_eq!(of(1290, other).class, Class::Definite);
        let stale = of(1054, "Unknown column 'c' in 'NEW'");
        assert_eq!((stale.reason, stale.hint), (Reason::Blocked, Some(STALE_TRIGGER)));
        assert_eq!(
            of(1054, "Unknown column 'c' in 'field list'").reason,
            Reason::Other
        );
        let full = "Got error 28 \"No space left on device\" from storage engine InnoDB";
        assert_eq!(of(1030, full).class, Class::Transient);
        assert_eq!(
            of(1030, "Got error 168 from storage engine").class,
            Class::Definite
        );
    }

    #[test]
    fn a_purged_log_is_a_lost_position_but_a_double_server_id_is_not() {
        assert_eq!(of(1236, "purged").reason, Reason::PositionLost);
        let double = of(1236, "A replica with the same server_uuid/server_id");
        assert_eq!((double.class, double.reason), (Class::Transient, Reason::Other));
    }

    #[test]
    fn who_waits_for_a_person_is_told_for_what() {
        for code in [1205, 1792, 1114, 1040, 1969, 1045, 1820, 3118, 1129, 1142] {
            assert!(of(code, "").hint.is_some(), "{code}");
        }
    }
}
