//! What is asked of the server before its binlog is read: settings, and whether its log can serve a position.
//!
//! Refuses, each with the SQL that mends it: logs that lack rows, images, names or our own database.
//! Without the right to see `SHOW BINARY LOG STATUS` the database filters go unseen here; `check` asks as the owner.

use crate::access::SourceOptions as Options;
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::model::origin::CONTROL;
use crate::model::position::{GtidSet, MariaGtids, Position, PositionError};
use crate::mysql::{Flavor, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use std::collections::HashMap;

const DOING: &str = "check the binlog's settings";

/// A variable, what it must be, and the statement that makes it so (`None`: only the server's configuration can).
struct Demand {
    name: &'static str,
    wanted: &'static [&'static str],
    /// The variable may be missing on this version.
    is_optional: bool,
    fix: &'static str,
}

const fn demand(name: &'static str, wanted: &'static [&'static str], fix: &'static str) -> Demand {
    Demand {
        name,
        wanted,
        is_optional: false,
        fix,
    }
}

const fn optional(name: &'static str, wanted: &'static [&'static str], fix: &'static str) -> Demand {
    Demand {
        is_optional: true,
        ..demand(name, wanted, fix)
    }
}

const COMMON: [Demand; 4] = [
    demand("log_bin", &["ON", "1"], "start the server with --log-bin"),
    // Newer MySQL knows no other format and drops the variable.
    optional("binlog_format", &["ROW"], "SET GLOBAL binlog_format = 'ROW';"),
    demand(
        "binlog_row_image",
        &["FULL"],
        "SET GLOBAL binlog_row_image = 'FULL';",
    ),
    demand(
        "binlog_row_metadata",
        &["FULL"],
        "SET GLOBAL binlog_row_metadata = 'FULL';",
    ),
];
const MYSQL: [Demand; 3] = [
    demand(
        "gtid_mode",
        &["ON"],
        "SET GLOBAL enforce_gtid_consistency = ON; SET GLOBAL gtid_mode = OFF_PERMISSIVE; \
         SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = ON;",
    ),
    optional(
        "binlog_row_value_options",
        &[""],
        "SET GLOBAL binlog_row_value_options = '';",
    ),
    optional(
        "binlog_transaction_compression",
        &["OFF", "0"],
        "SET GLOBAL binlog_transaction_compression = OFF;",
    ),
];
const MARIADB: [Demand; 1] = [optional(
    "log_bin_compress",
    &["OFF", "0"],
    "SET GLOBAL log_bin_compress = OFF;",
)];

/// Refuses settings that would lose something; tells whether the server ignores the case of table names.
pub(in crate::mysql) async fn settings(conn: &mut Conn, flavor: Flavor, options: &Options) -> Result<bool> {
    let rows: Vec<(String, String)> = conn
        .query(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', \
             'binlog_row_metadata', 'gtid_mode', 'binlog_row_value_options', 'binlog_transaction_compression', \
             'log_bin_compress', 'lower_case_table_names')",
        )
        .await
        .map_err(|error| fail(DOING, error))?;
    let found: HashMap<String, String> = rows.into_iter().collect();
    let own: &[Demand] = match flavor {
        Flavor::Mysql => &MYSQL,
        Flavor::Mariadb => &MARIADB,
    };
    for demand in COMMON.iter().chain(own) {
        let value = found.get(demand.name);
        let is_right = match value {
            Some(value) => demand
                .wanted
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(value)),
            None => demand.is_optional,
        };
        if !is_right {
            let value = value.map_or("unknown here".to_owned(), |value| format!("{value:?}"));
            return Err(Error::definite(DOING)
                .reason(Reason::Blocked)
                .why(format!("{} is {value}, not {:?}", demand.name, demand.wanted[0]))
                .hint(demand.fix));
        }
    }
    filters(conn, options).await?;
    Ok(found
        .get("lower_case_table_names")
        .is_some_and(|value| value != "0"))
}

/// Databases kept out of the log: ours, and those of the tables.
async fn filters(conn: &mut Conn, options: &Options) -> Result<()> {
    let status: Option<Row> = match conn.query_first("SHOW BINARY LOG STATUS").await {
        // Older servers and MariaDB know the old name only.
        Err(mysql_async::Error::Server(error)) if error.code == 1064 => {
            conn.query_first("SHOW MASTER STATUS").await
        }
        other => other,
    }
    .or_else(|error| match error {
        mysql_async::Error::Server(error) if error.code == 1227 => Ok(None),
        other => Err(fail(DOING, other)),
    })?;
    let list = |column: &str| -> Vec<String> {
        let text: Option<String> = status
            .as_ref()
            .and_then(|row| row.get_opt(column))
            .and_then(Result::ok);
        let text = text.unwrap_or_default();
        text.split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    };
    let (only, without) = (list("Binlog_Do_DB"), list("Binlog_Ignore_DB"));
    let schemas = options.tables.iter().map(|table| table.table.id.schema.as_str());
    for schema in schemas.chain([CONTROL]) {
        let is_left_out = !only.is_empty() && !only.iter().any(|name| name == schema);
        if is_left_out || without.iter().any(|name| name == schema) {
            return Err(Error::definite(DOING)
                .reason(Reason::Blocked)
                .why(format!("database {schema:?} is kept out of the binlog by binlog_do_db or binlog_ignore_db"))
                .hint(format!(
                    "remove the filter from the server's configuration, or add binlog_do_db={schema}, and restart it"
                )));
        }
    }
    Ok(())
}

/// Refuses a position that the server's log does not lead on from.
pub(super) async fn serves(conn: &mut Conn, flavor: Flavor, from: &Position) -> Result<()> {
    match (flavor, from) {
        (Flavor::Mysql, Position::Gtid(from)) => mysql_serves(conn, from).await,
        (Flavor::Mariadb, Position::MariaGtid(from)) => mariadb_serves(conn, from).await,
        (_, other) => Err(lost(format!("position {other} is of another kind of server"))),
    }
}

fn lost(why: String) -> Error {
    Error::definite("continue reading the binlog")
        .reason(Reason::PositionLost)
        .why(why)
        .hint(NEW_COPY)
}

async fn text(conn: &mut Conn, sql: &str) -> Result<String> {
    let text: Option<Option<String>> = conn
        .query_first(sql)
        .await
        .map_err(|error| fail("read the server's GTID state", error))?;
    Ok(text.flatten().unwrap_or_default())
}

fn unreadable(error: PositionError) -> Error {
    Error::definite("read the server's GTID state").because(error)
}

async fn mysql_serves(conn: &mut Conn, from: &GtidSet) -> Result<()> {
    let purged: GtidSet = text(conn, "SELECT @@GLOBAL.gtid_purged")
        .await?
        .parse()
        .map_err(unreadable)?;
    let executed: GtidSet = text(conn, "SELECT @@GLOBAL.gtid_executed")
        .await?
        .parse()
        .map_err(unreadable)?;
    if !executed.contains_set(from) {
        return Err(lost(format!(
            "the server does not know all of our transactions ({from}; it has {executed}): it was reset, restored, \
             or is another one"
        )));
    }
    if !from.contains_set(&purged) {
        return Err(lost(format!(
            "binlogs that we have not read were purged (we have {from}, purged is {purged})"
        )));
    }
    Ok(())
}

/// Purged logs the server itself reports when the dump begins.
async fn mariadb_serves(conn: &mut Conn, from: &MariaGtids) -> Result<()> {
    let state = text(conn, "SELECT @@GLOBAL.gtid_binlog_state").await?;
    let known = |domain: u32, server: &str, sequence: u64| {
        state.split(',').any(|gtid| {
            let mut numbers = gtid.trim().split('-');
            numbers.next().and_then(|number| number.parse().ok()) == Some(domain)
                && numbers.next() == Some(server)
                && numbers
                    .next()
                    .and_then(|number| number.parse::<u64>().ok())
                    .is_some_and(|last| last >= sequence)
        })
    };
    let ours = from.to_string();
    for gtid in ours.split(',').filter(|gtid| !gtid.is_empty()) {
        let mut parts = gtid.splitn(3, '-');
        let domain = parts
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        let server = parts.next().unwrap_or_default();
        let sequence = parts
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(u64::MAX);
        if !known(domain, server, sequence) {
            return Err(lost(format!(
                "the server does not know our last transaction {gtid} (it has {state}): it was reset, restored, or \
                 is another one"
            )));
        }
    }
    Ok(())
}

/// Where the log ends now.
pub(in crate::mysql) async fn current_position(conn: &mut Conn, flavor: Flavor) -> Result<Position> {
    Ok(match flavor {
        Flavor::Mysql => {
            let executed = text(conn, "SELECT @@GLOBAL.gtid_executed").await?;
            Position::Gtid(executed.parse().map_err(unreadable)?)
        }
        Flavor::Mariadb => {
            let last = text(conn, "SELECT @@GLOBAL.gtid_binlog_pos").await?;
            Position::MariaGtid(last.parse().map_err(unreadable)?)
        }
    })
}
