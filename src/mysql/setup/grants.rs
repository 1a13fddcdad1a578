//! What an account may do, read from SHOW GRANTS, and what it needs and may not do, each with the statement that
//! gives it.
//!
//! Owns: parsing those lines, with wildcards in database names, columns, partial revokes and active roles; the list of
//! privileges, which `check` tells and `setup` grants. Refuses: grants on routines, which are of no use here.

use super::triggers;
use crate::error::Result;
use crate::install::or_skip;
use crate::model::schema::TableId;
use crate::model::sync::{CatalogTable, Finding, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN};
use crate::mysql::sql::{quote, quote_text, table};
use crate::mysql::{Flavor, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as DriverError};

const DOING: &str = "read the account's grants";
pub(super) const ALL: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// Upper case, with the columns where not the whole table is meant; `ALL PRIVILEGES` stands for all.
    privileges: Vec<(String, Option<Vec<String>>)>,
    /// `None`: every database.
    schema: Option<String>,
    /// `None`: every table.
    table: Option<String>,
    /// A partial revoke: what is granted on every database does not count here.
    is_revoke: bool,
}

/// What the run account does: privileges on the whole server, and on each of the users' tables.
pub(super) struct Needs {
    pub server: Vec<&'static str>,
    pub tables: Vec<&'static str>,
}

/// TRIGGER on the tables lets the account see their triggers, which would otherwise look as if there were none.
/// Without GTIDs a first position is safe only if no XA transaction stands prepared, which not everybody may ask.
pub(super) fn needs(scope: &Scope, flavor: Flavor, has_gtids: bool) -> Needs {
    let mut needs = Needs {
        server: Vec::new(),
        tables: vec!["SELECT"],
    };
    if scope.is_source {
        needs.server = vec!["REPLICATION SLAVE", monitor(flavor)];
        needs.server.extend((!has_gtids).then_some("XA_RECOVER_ADMIN"));
    }
    if scope.is_target {
        needs.tables.extend(["INSERT", "UPDATE", "DELETE"]);
    }
    if scope.is_target || scope.mode == Mode::Merge {
        needs.tables.push("TRIGGER");
    }
    needs
}

fn monitor(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Mysql => "REPLICATION CLIENT",
        Flavor::Mariadb => "BINLOG MONITOR",
    }
}

/// A right that is lacking.
pub(super) struct Lack {
    pub code: &'static str,
    pub table: Option<TableId>,
    /// After the account's name.
    pub what: String,
    /// The statement that gives it.
    pub fix: String,
    /// What else would answer it.
    pub or: String,
}

impl Lack {
    fn new(code: &'static str, what: String, fix: String) -> Self {
        Lack {
            code,
            table: None,
            what,
            fix,
            or: String::new(),
        }
    }

    pub(super) fn finding(self, node: &str, account: &str) -> Finding {
        let what = format!("{account} {}", self.what);
        let finding = Finding::blocker(self.code, node, what).fix(format!("{};{}", self.fix, self.or));
        match self.table {
            Some(table) => finding.table(table),
            None => finding,
        }
    }
}

/// What the account (quoted, as statements write it) lacks. `tables`: those of the scope, in its order.
pub(super) fn lacking(
    scope: &Scope,
    (flavor, has_gtids): (Flavor, bool),
    grants: &[Grant],
    account: &str,
    tables: &[Option<CatalogTable>],
) -> Vec<Lack> {
    let needs = needs(scope, flavor, has_gtids);
    let mut lacks = Vec::new();
    for privilege in needs.server {
        if !holds(grants, &[privilege], None, None) {
            let code = match privilege {
                "REPLICATION SLAVE" => "E102",
                "XA_RECOVER_ADMIN" => "E243",
                _ => "E103",
            };
            let fix = format!("GRANT {privilege} ON *.* TO {account}");
            lacks.push(Lack::new(code, format!("lacks {privilege}"), fix));
        }
    }
    lacks.extend(control(scope, grants, account));
    for (id, catalog) in scope.tables.iter().zip(tables) {
        let spared = catalog
            .as_ref()
            .map_or(Vec::new(), |catalog| scope.spared(&catalog.table));
        lacks.extend(of_table(
            grants,
            &needs.tables,
            id,
            catalog.as_ref(),
            &spared,
            account,
        ));
    }
    lacks
}

/// Our own database is granted as a whole: tables of tombstones come and go, and images lie in temporary ones.
fn control(scope: &Scope, grants: &[Grant], account: &str) -> Option<Lack> {
    let tombstones = scope.tables.first().filter(|_| scope.mode == Mode::Merge);
    let name = tombstones.map_or("checkpoint".to_owned(), triggers::tombstones_name);
    let images = scope.makes_images().then_some("CREATE TEMPORARY TABLES");
    let needed = if scope.is_read_alone() {
        &ALL[..1]
    } else {
        &ALL[..]
    };
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .chain(images)
        .filter(|privilege| !holds(grants, &[privilege], Some("tidelock"), Some(&name)))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let list = missing.join(", ");
    let fix = format!("GRANT {list} ON tidelock.* TO {account}");
    Some(Lack::new(
        "E108",
        format!("lacks {list} on database tidelock"),
        fix,
    ))
}

fn of_table(
    grants: &[Grant],
    needs: &[&str],
    id: &TableId,
    catalog: Option<&CatalogTable>,
    spared: &[String],
    account: &str,
) -> Option<Lack> {
    let (schema, name) = (Some(id.schema.as_str()), Some(id.name.as_str()));
    // Without a right on the whole table the server shows only the columns there is a right on.
    let sees_all = [&ALL[..], &["TRIGGER"]]
        .concat()
        .iter()
        .any(|privilege| holds(grants, &[privilege], schema, name));
    let (mut what, mut sql, mut leave_out) = (Vec::new(), Vec::new(), Vec::new());
    for privilege in needs
        .iter()
        .filter(|privilege| !holds(grants, &[privilege], schema, name))
    {
        let held = columns(grants, privilege, id);
        let wanted = catalog.map_or(&[][..], |catalog| &catalog.table.columns);
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|column| {
                let needed = !column.generated && !column.is_beside() && !spared.contains(&column.name);
                needed && !held.iter().any(|name| column.name.eq_ignore_ascii_case(name))
            })
            .map(|column| column.name.as_str())
            .collect();
        match (held.is_empty(), sees_all) {
            (false, true) if missing.is_empty() => {}
            (false, true) => {
                let quoted: Vec<String> = missing.iter().map(|name| quote(name)).collect();
                what.push(format!("{privilege} on column {}", missing.join(", ")));
                sql.push(format!("{privilege} ({})", quoted.join(", ")));
                leave_out.extend(missing.into_iter().map(str::to_owned));
            }
            (false, false) => {
                what.push(format!(
                    "{privilege} on the whole table (columns it has no right on it cannot even see)"
                ));
                sql.push((*privilege).to_owned());
            }
            (true, _) => {
                what.push((*privilege).to_owned());
                sql.push((*privilege).to_owned());
            }
        }
    }
    if what.is_empty() {
        return None;
    }
    leave_out.retain(|name| ![VERSION_COLUMN, ORIGIN_COLUMN].contains(&name.as_str()));
    let fix = format!("GRANT {} ON {} TO {account}", sql.join(", "), table(id));
    Some(Lack {
        table: Some(id.clone()),
        or: or_skip(&id.name, leave_out).trim_start_matches(';').to_owned(),
        ..Lack::new("E105", format!("lacks {}", what.join("; ")), fix)
    })
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

/// Are all of the privileges held there, on whole tables? `None` asks for the whole server.
pub(super) fn holds(
    grants: &[Grant],
    privileges: &[&str],
    schema: Option<&str>,
    table: Option<&str>,
) -> bool {
    privileges.iter().all(|privilege| {
        let revoked = grants
            .iter()
            .any(|grant| grant.is_revoke && grant.schema.as_deref() == schema && grant.names(privilege));
        grants
            .iter()
            .filter(|grant| !(grant.is_revoke || revoked && grant.schema.is_none()))
            .any(|grant| grant.names(privilege) && grant.covers(schema, table))
    })
}

/// Columns of the table that the privilege is held on by themselves.
fn columns<'a>(grants: &'a [Grant], privilege: &str, id: &TableId) -> Vec<&'a str> {
    grants
        .iter()
        .filter(|grant| {
            !grant.is_revoke
                && grant.schema.as_ref() == Some(&id.schema)
                && grant.table.as_ref() == Some(&id.name)
        })
        .flat_map(|grant| &grant.privileges)
        .filter(|(name, _)| name == privilege)
        .filter_map(|(_, columns)| columns.as_ref())
        .flatten()
        .map(String::as_str)
        .collect()
}

impl Grant {
    /// Is the privilege among these, for whole tables?
    fn names(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|(name, columns)| {
            columns.is_none() && (name == "ALL PRIVILEGES" || name == "ALL" || name == privilege)
        })
    }

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

/// `GRANT SELECT, INSERT (`a`) ON `db`.* TO ...`. Roles are no grants of this kind.
fn parse(line: &str) -> Option<Grant> {
    let (is_revoke, rest) = match line.strip_prefix("GRANT ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("REVOKE ")?),
    };
    let (privileges, rest) = list(rest)?;
    let (schema, rest) = part(rest)?;
    let (table, rest) = part(rest.strip_prefix('.')?)?;
    let end = if is_revoke { " FROM " } else { " TO " };
    rest.starts_with(end).then_some(Grant {
        privileges,
        schema,
        table,
        is_revoke,
    })
}

type Privileges = Vec<(String, Option<Vec<String>>)>;

/// Privileges with their columns, and what stands behind ` ON `.
fn list(text: &str) -> Option<(Privileges, &str)> {
    let (mut privileges, mut rest) = (Vec::new(), text);
    loop {
        let end = [rest.find(','), rest.find(" ON "), rest.find(" (")]
            .into_iter()
            .flatten()
            .min()?;
        let name = rest[..end].trim().to_ascii_uppercase();
        rest = &rest[end..];
        let mut columns = None;
        if let Some(mut inside) = rest.strip_prefix(" (") {
            let mut names = Vec::new();
            loop {
                let (name, after) = column(inside)?;
                names.push(name);
                match after.strip_prefix(", ") {
                    Some(more) => inside = more,
                    None => {
                        rest = after.strip_prefix(')')?;
                        break;
                    }
                }
            }
            columns = Some(names);
        }
        privileges.push((name, columns));
        match (rest.strip_prefix(','), rest.strip_prefix(" ON ")) {
            (Some(more), _) => rest = more,
            (None, Some(behind)) => return Some((privileges, behind)),
            (None, None) => return None,
        }
    }
}

/// A column's name, which older servers do not quote.
fn column(text: &str) -> Option<(String, &str)> {
    if text.starts_with('`') {
        let (name, rest) = part(text)?;
        return Some((name?, rest));
    }
    let end = text.find([',', ')'])?;
    Some((text[..end].to_owned(), &text[end..]))
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
    format!("{}@{}", quote_text(user), quote_text(host))
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
        assert_eq!(columns(&grants, "SELECT", &TableId::new("p", "t")), ["a"]);
    }

    #[test]
    fn columns_and_partial_revokes_are_read() {
        let grants: Vec<Grant> = [
            "GRANT SELECT (`a`, `b``,)`), INSERT (c, d), UPDATE ON `p`.`t` TO `x`@`%`",
            "GRANT SELECT, INSERT ON *.* TO `x`@`%`",
            "REVOKE INSERT ON `q`.* FROM `x`@`%`",
            "GRANT PROXY ON ``@`` TO `root`@`localhost`",
        ]
        .iter()
        .filter_map(|line| parse(line))
        .collect();
        let id = TableId::new("p", "t");
        assert_eq!(columns(&grants, "SELECT", &id), ["a", "b`,)"]);
        assert_eq!(columns(&grants, "INSERT", &id), ["c", "d"]);
        assert!(columns(&grants, "UPDATE", &id).is_empty());
        assert!(holds(&grants, &["UPDATE"], Some("p"), Some("t")));
        assert!(holds(&grants, &["SELECT"], Some("q"), Some("t")));
        assert!(!holds(&grants, &["INSERT"], Some("q"), Some("t")));
        assert!(holds(&grants, &["INSERT"], Some("r"), Some("t")));
    }

    #[test]
    fn all_privileges_are_all() {
        let grants = [parse("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION").unwrap()];
        assert!(holds(&grants, &["SUPER"], None, None));
        assert!(holds(&grants, &["SELECT"], Some("a"), Some("b")));
    }
}
