//! What is asked of the server before its binlog is read: settings, and whether its log can serve a position.
//!
//! Refuses, each with the SQL that mends it: logs that lack rows, images, names or our own database.
//! Without the right to see `SHOW BINARY LOG STATUS` the database filters go unseen here; `check` asks as the owner.

use super::dump::Dump;
use super::tables::Facts;
use crate::access::{Access, SourceOptions as Options};
use crate::error::{Error, LOST, NEW_COPY, Reason, Result};
use crate::model::origin::CONTROL;
use crate::model::position::{FilePosition, GtidSet, MariaGtids, Position, PositionError};
use crate::model::schema::TableId;
use crate::model::sync::Mode;
use crate::mysql::catalog::by_schema;
use crate::mysql::wire::alteration::charset_of;
use crate::mysql::{Flavor, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Value};
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
const MYSQL: [Demand; 1] = [optional(
    "binlog_row_value_options",
    &[""],
    "SET GLOBAL binlog_row_value_options = '';",
)];

/// Refuses settings that would lose something; tells whether the server ignores the case of table names.
pub(in crate::mysql) async fn settings(conn: &mut Conn, flavor: Flavor, options: &Options) -> Result<bool> {
    let rows: Vec<(String, String)> = conn
        .query(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', \
             'binlog_row_metadata', 'binlog_row_value_options', 'lower_case_table_names')",
        )
        .await
        .map_err(|error| fail(DOING, error))?;
    let found: HashMap<String, String> = rows.into_iter().collect();
    let own: &[Demand] = match flavor {
        Flavor::Mysql => &MYSQL,
        Flavor::Mariadb => &[],
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
    let status = log_status(conn).await.or_else(|error| match error {
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

/// What ALTER TABLE is judged by, where the log does not tell it.
pub(super) async fn facts(conn: &mut Conn, flavor: Flavor, options: &Options) -> Result<Facts> {
    let native: Option<(String, String)> = conn
        .query_first("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
        .await
        .map_err(|error| fail(DOING, error))?;
    let is_merge = options.mode == Mode::Merge;
    let mut facts = Facts {
        // Without the right to see it every statement counts as older than the catalog.
        position: current_position(conn, flavor).await.ok(),
        logs_cascades: !is_merge && native.is_some_and(|(_, value)| value == "OFF"),
        is_merge,
        ..Facts::default()
    };
    for (schema, names) in by_schema(options.tables.iter().map(|table| &table.table.id)) {
        let marks = vec!["?"; names.len()].join(", ");
        let mut ask = async |what: &str| -> Result<Vec<(String, Option<String>)>> {
            let values = std::iter::once(schema).chain(names.iter().copied());
            let sql = format!("SELECT {what} AND TABLE_SCHEMA = ? AND TABLE_NAME IN ({marks})");
            let rows = conn.exec(sql, Params::Positional(values.map(Value::from).collect()));
            rows.await.map_err(|error| fail(DOING, error))
        };
        let id = |table: String| TableId::new(schema, table);
        for (table, collation) in
            ask("TABLE_NAME, TABLE_COLLATION FROM information_schema.TABLES WHERE 1 = 1").await?
        {
            let charset = charset_of(&collation.unwrap_or_default());
            facts.charsets.insert(id(table), charset);
        }
        let counted =
            "TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE EXTRA LIKE '%auto_increment%'";
        for (table, column) in ask(counted).await? {
            facts
                .counted
                .insert(id(table), column.unwrap_or_default().to_lowercase());
        }
    }
    Ok(facts)
}

async fn log_status(conn: &mut Conn) -> Result<Option<Row>, mysql_async::Error> {
    match conn.query_first("SHOW BINARY LOG STATUS").await {
        // Older servers and MariaDB know the old name only.
        Err(mysql_async::Error::Server(error)) if error.code == 1064 => {
            conn.query_first("SHOW MASTER STATUS").await
        }
        other => other,
    }
}

/// Refuses a position that the server's log does not lead on from.
pub(in crate::mysql) async fn serves(conn: &mut Conn, flavor: Flavor, from: &Position) -> Result<()> {
    match (flavor, from) {
        (Flavor::Mysql, Position::Gtid(from)) => {
            let mode = gtid_mode(conn).await?;
            if mode != "ON" {
                return Err(mode_changed(&mode, "a set of GTIDs", "ON"));
            }
            mysql_serves(conn, from).await
        }
        (Flavor::Mysql, Position::File(from)) => {
            let mode = gtid_mode(conn).await?;
            if mode == "ON" {
                return Err(mode_changed(&mode, "a file and an offset", "ON_PERMISSIVE"));
            }
            file_serves(conn, from).await
        }
        (Flavor::Mariadb, Position::MariaGtid(from)) => mariadb_serves(conn, from).await,
        (_, other) => Err(lost(format!("position {other} is of another kind of server"))),
    }
}

async fn gtid_mode(conn: &mut Conn) -> Result<String> {
    text(conn, "SELECT @@GLOBAL.gtid_mode").await
}

/// A position of one kind cannot be told from one of the other, so the mode must stay as it was at the first copy.
fn mode_changed(mode: &str, kind: &str, before: &str) -> Error {
    Error::definite("continue reading the binlog")
        .reason(Reason::Blocked)
        .why(format!("this link's position is {kind}, and gtid_mode is {mode} now"))
        .hint(format!(
            "SET GLOBAL gtid_mode = {before}; (one step at a time: OFF, OFF_PERMISSIVE, ON_PERMISSIVE, ON), and it goes \
             on where it was; to stay with {mode}, {NEW_COPY}"
        ))
}

/// That the file still exists and is as long as we have read it. Without the right to see the list the server tells
/// when the dump begins; that it is the same file, its first event does.
async fn file_serves(conn: &mut Conn, from: &FilePosition) -> Result<()> {
    let Some(files) = files(conn).await? else {
        return Ok(());
    };
    match files.iter().find(|(file, _)| file == from.file()) {
        None => Err(lost(format!(
            "{} was purged, or the log was reset (the server has {})",
            from.file(),
            files.first().map_or("no binlog", |(file, _)| file)
        ))),
        Some((_, size)) if *size < from.offset => Err(lost(format!(
            "{} has {size} bytes, and it was read up to {}: the log was reset or damaged",
            from.file(),
            from.offset
        ))),
        Some(_) => Ok(()),
    }
}

/// The binlog's files and their sizes, oldest first. `None`: this account may not see them.
async fn files(conn: &mut Conn) -> Result<Option<Vec<(String, u64)>>> {
    let rows: Vec<Row> = match conn.query("SHOW BINARY LOGS").await {
        Err(mysql_async::Error::Server(error)) if error.code == 1227 => return Ok(None),
        other => other.map_err(|error| fail("list the binlog's files", error))?,
    };
    let files: Option<Vec<(String, u64)>> = rows
        .iter()
        .map(|row| Some((row.get_opt(0)?.ok()?, row.get_opt(1)?.ok()?)))
        .collect();
    Ok(Some(files.ok_or_else(|| {
        Error::definite("list the binlog's files").why("the server's answer is of another form")
    })?))
}

fn lost(why: String) -> Error {
    Error::definite("continue reading the binlog")
        .reason(Reason::PositionLost)
        .why(why)
        .hint(LOST)
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

async fn mariadb_serves(conn: &mut Conn, from: &MariaGtids) -> Result<()> {
    if let Some(begin) = mariadb_begin(conn).await?
        && !Position::MariaGtid(from.clone())
            .covers(&begin)
            .map_err(unreadable)?
    {
        return Err(lost(format!(
            "binlogs that we have not read were purged (we have {from}, the oldest begins after {begin})"
        )));
    }
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

/// What stood before the oldest file, where this account may see the files.
async fn mariadb_begin(conn: &mut Conn) -> Result<Option<Position>> {
    let Some((oldest, _)) = files(conn).await?.and_then(|files| files.into_iter().next()) else {
        return Ok(None);
    };
    let doing = "read where the oldest binlog begins";
    let begin: Option<Option<String>> = conn
        .exec_first("SELECT BINLOG_GTID_POS(?, 4)", (oldest,))
        .await
        .map_err(|error| fail(doing, error))?;
    let list = begin.flatten().unwrap_or_default().parse().map_err(unreadable)?;
    Ok(Some(Position::MariaGtid(list)))
}

/// Where the log ends now. Without GTIDs it lacks the time its file was made, which does not count when positions
/// are compared; see [`begun`].
pub(in crate::mysql) async fn current_position(conn: &mut Conn, flavor: Flavor) -> Result<Position> {
    Ok(match flavor {
        Flavor::Mysql if gtid_mode(conn).await? != "ON" => file_position(conn).await?,
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

async fn file_position(conn: &mut Conn) -> Result<Position> {
    let doing = "read where the binlog ends";
    let status = log_status(conn).await.map_err(|error| match &error {
        mysql_async::Error::Server(server) if server.code == 1227 => fail(doing, error).hint(
            "without GTIDs the account must see the binlog's files: GRANT REPLICATION CLIENT ON *.* TO ...; or \
             SET GLOBAL gtid_mode = ON;",
        ),
        _ => fail(doing, error),
    })?;
    let place = status.as_ref().and_then(|row| {
        let file: String = row.get_opt("File")?.ok()?;
        let offset: u64 = row.get_opt("Position")?.ok()?;
        FilePosition::new(&file, offset, 0)
    });
    let place = place.ok_or_else(|| Error::definite(doing).why("the server does not tell it"))?;
    Ok(Position::File(place))
}

/// A position to begin at: complete, so that a log that was reset is told from the one it was made in.
pub(in crate::mysql) async fn begun(conn: &Conn, access: &Access, position: Position) -> Result<Position> {
    let Position::File(mut place) = position else {
        return Ok(position);
    };
    let mut dump = Dump::open(access, conn.opts()).await?;
    dump.set(
        "prepare the dump session",
        "SET @source_binlog_checksum = 'CRC32'",
    )
    .await?;
    place.created = dump.file_time(place.file(), &access.user).await?;
    Ok(Position::File(place))
}
