//! What an account may do, read from SHOW GRANTS.
//!
//! Owns: parsing those lines, with wildcards in database names and active roles.
//! Refuses: grants on columns and routines, which are never enough for us and so count as nothing.

use crate::error::Result;
use crate::mysql::{Flavor, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as DriverError};

const DOING: &str = "read the account's grants";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// Upper case; `ALL PRIVILEGES` stands for all.
    privileges: Vec<String>,
    /// `None`: every database.
    schema: Option<String>,
    /// `None`: every table.
    table: Option<String>,
}

/// Grants of the session's account with the roles that are active in it.
pub(super) async fn own(conn: &mut Conn, flavor: Flavor) -> Result<Vec<Grant>> {
    let roles: Option<Option<String>> = conn
        .query_first("SELECT CURRENT_ROLE()")
        .await
        .map_err(|error| fail(DOING, error))?;
    let sql = match (flavor, roles.flatten()) {
        // MariaDB lists the active role's grants by itself.
        (Flavor::Mysql, Some(roles)) if roles != "NONE" && !roles.is_empty() => {
            format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}")
        }
        _ => "SHOW GRANTS".to_owned(),
    };
    let lines: Vec<String> = conn.query(sql).await.map_err(|error| fail(DOING, error))?;
    Ok(lines.iter().filter_map(|line| parse(line)).collect())
}

/// Grants of another account; none when we may not see them.
pub(super) async fn of(conn: &mut Conn, account: &str) -> Result<Vec<Grant>> {
    let lines: Result<Vec<String>, DriverError> = conn.query(format!("SHOW GRANTS FOR {account}")).await;
    match lines {
        Ok(lines) => Ok(lines.iter().filter_map(|line| parse(line)).collect()),
        Err(DriverError::Server(error)) if matches!(error.code, 1044 | 1142 | 1141) => Ok(Vec::new()),
        Err(error) => Err(fail(DOING, error)),
    }
}

/// Are all of the privileges held there? `None` asks for the whole server, and a database without a table for all
/// of it.
pub(super) fn holds(
    grants: &[Grant],
    privileges: &[&str],
    schema: Option<&str>,
    table: Option<&str>,
) -> bool {
    privileges.iter().all(|privilege| {
        grants.iter().any(|grant| {
            let named = grant
                .privileges
                .iter()
                .any(|held| held == "ALL PRIVILEGES" || held == privilege);
            named && grant.covers(schema, table)
        })
    })
}

impl Grant {
    fn covers(&self, schema: Option<&str>, table: Option<&str>) -> bool {
        let in_schema = match (&self.schema, schema) {
            (None, _) => true,
            (Some(_), None) => false,
            // Wildcards count in grants on whole databases only.
            (Some(pattern), Some(name)) => match self.table {
                None => like(pattern, name),
                Some(_) => pattern == name,
            },
        };
        in_schema && self.table.as_deref().is_none_or(|own| Some(own) == table)
    }
}

/// `GRANT SELECT, INSERT ON `db`.* TO ...`. Roles and revokes are no grants of this kind.
fn parse(line: &str) -> Option<Grant> {
    let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (schema, rest) = part(rest)?;
    let (table, rest) = part(rest.strip_prefix('.')?)?;
    rest.starts_with(" TO ").then(|| Grant {
        privileges: privileges
            .split(',')
            .map(|name| name.trim().to_ascii_uppercase())
            .collect(),
        schema,
        table,
    })
}

/// A name in backticks, or `*`.
fn part(text: &str) -> Option<(Option<String>, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some((None, rest));
    }
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let end = rest.find('`')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return Some((Some(name), rest)),
        }
    }
}

/// LIKE with `%`, `_` and a backslash before what is meant as itself.
fn like(pattern: &str, name: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = chars.as_str();
            name.char_indices()
                .map(|(index, _)| index)
                .chain([name.len()])
                .any(|index| like(rest, &name[index..]))
        }
        Some(first) => {
            let mut others = name.chars();
            let (wanted, any) = match first {
                '\\' => (chars.next().unwrap_or('\\'), false),
                '_' => ('_', true),
                _ => (first, false),
            };
            match others.next() {
                Some(c) => (any || c == wanted) && like(chars.as_str(), others.as_str()),
                None => false,
            }
        }
    }
}

/// User and host of `user@host`; the host may be absent.
pub(super) fn account(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('@') {
        Some((user, host)) => (user, Some(host)),
        None => (text, None),
    }
}

/// An account as statements write it.
pub(super) fn quoted(user: &str, host: &str) -> String {
    format!("{}@{}", super::literal(user), super::literal(host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn grants_cover_what_they_name() {
        let grants: Vec<Grant> = [
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `x`@`%`",
            r"GRANT SELECT ON `a\_b%`.* TO `x`@`%`",
            "GRANT UPDATE, TRIGGER ON `p`.`t``1` TO `x`@`%`",
            "GRANT `role`@`%` TO `x`@`%`",
            "GRANT SELECT (`a`) ON `p`.`t` TO `x`@`%`",
        ]
        .iter()
        .filter_map(|line| parse(line))
        .collect();
        assert!(holds(&grants, &["REPLICATION SLAVE"], None, None));
        assert!(!holds(&grants, &["SELECT"], None, None));
        assert!(holds(&grants, &["SELECT"], Some("a_bc"), Some("t")));
        assert!(!holds(&grants, &["SELECT"], Some("axb"), Some("t")));
        assert!(holds(&grants, &["UPDATE", "TRIGGER"], Some("p"), Some("t`1")));
        assert!(!holds(&grants, &["UPDATE"], Some("p"), Some("t")));
        assert!(!holds(&grants, &["UPDATE"], Some("p"), None));
        assert!(!holds(&grants, &["SELECT"], Some("p"), Some("t")));
    }

    #[test]
    fn all_privileges_are_all() {
        let grants = [parse("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION").unwrap()];
        assert!(holds(&grants, &["SUPER"], None, None));
        assert!(holds(&grants, &["SELECT"], Some("a"), Some("b")));
    }
}
