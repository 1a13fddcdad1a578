//! What the log does not tell, noticed by comparing the catalogs with what they were: rows that came or went with a
//! partition, a publication that was altered and altered back, a table that was exchanged for another one or rewritten
//! with other values (see `rewritten`).
//!
//! Owns: `tidelock.published`, the record of that. pgoutput sends the changes of a partition as those of its table, and
//! nothing of ATTACH, DETACH, DROP or TRUNCATE of a partition alone. So every partition is known by the transaction that
//! attached it and by its file, and by the rows that are sent of it (see `sent`). Refuses: guessing. What cannot be proved
//! to have left the rows alone is a finding:
//!
//! - **A new partition** is harmless when it has no file blocks, or was made as a partition and has its first file. Then
//!   its columns are older than its place in the table; ATTACH writes both with one command.
//! - **A new file** is that of a rewrite (VACUUM FULL, CLUSTER, another tablespace) when it still holds a row from
//!   before the record. TRUNCATE leaves none. A partition younger than an open transaction is noted again when that is over.
//!
//! Fails: as the catalog does; a lock on a partition is waited for only so long.

use super::rewritten;
use super::state::{cell, rows, slots};
use crate::error::{NEW_COPY, Result};
use crate::install::literal;
use crate::model::schema::TableId;
use crate::model::sync::{Finding, Scope, publication_name};
use crate::postgres::fail;
use crate::postgres::sql::table as quoted;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The control schema's version that has the record.
pub(super) const VERSION: i64 = 3;

/// Sizes and bounds are not told of a partition that somebody holds exclusively.
const LOOK: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '3s'";
const NO_LIMITS: &str = "SET lock_timeout = 0; SET statement_timeout = 0";
/// Looking for old rows, in all partitions together, must not outlast the watch's patience.
const PROOF_LIMIT: Duration = Duration::from_secs(4);
/// Changes named in one finding.
const NAMED: usize = 5;

/// The tables themselves, with what publishes them, and all that is below them.
fn members_sql() -> String {
    let mark = rewritten::MARK;
    format!(
        "
    WITH root AS (SELECT want.schema, want.name, c.oid, c.relkind, c.relfilenode
                    FROM unnest($1::text[], $2::text[]) AS want(schema, name)
                    JOIN pg_namespace n ON n.nspname = want.schema
                    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name)
    SELECT root.schema, root.name, root.oid, format('%I.%I', root.schema, root.name), 0::oid,
           concat_ws('/', root.oid, p.oid, p.xmin, m.oid), false,
           CASE WHEN root.relkind = 'r' THEN root.relfilenode ELSE 0 END, false, columns.mark,
           pg_snapshot_xmin(pg_current_snapshot())::text::bigint
      FROM root LEFT JOIN pg_publication p ON p.pubname = $3
      LEFT JOIN pg_publication_rel m ON m.prpubid = p.oid AND m.prrelid = root.oid
     CROSS JOIN LATERAL ({mark}) AS columns
    UNION ALL
    SELECT root.schema, root.name, c.oid, format('%I.%I', n.nspname, c.relname), i.inhparent,
           i.xmin::text,
           i.xmax = '0' AND EXISTS (SELECT FROM pg_attribute a
                                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.xmax = '0' AND a.xmin = i.xmin
                                       AND a.cmin::text::bigint < i.cmin::text::bigint),
           coalesce(pg_relation_filenode(c.oid), 0), c.relkind = 'r' AND pg_relation_size(c.oid) > 0,
           coalesce(pg_get_partition_constraintdef(c.oid), ''),
           pg_snapshot_xmin(pg_current_snapshot())::text::bigint
      FROM root CROSS JOIN LATERAL pg_partition_tree(root.oid) AS part
      JOIN pg_class c ON c.oid = part.relid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_inherits i ON i.inhrelid = c.oid
     WHERE root.relkind = 'p' AND part.level > 0"
    )
}

const RECORDED: &str = "
    SELECT schema_name::text, table_name::text, member, member_name, parent, entry, false, filenode, filled, bound, horizon
      FROM tidelock.published WHERE sync = $1";

/// What `sent` noted as lost stays until a person has accepted it, whoever looks at the same time. A table's own row says
/// when it was looked at first.
const RECORD: &str = "
    INSERT INTO tidelock.published
           (sync, schema_name, table_name, member, member_name, parent, entry, filenode, filled, bound, horizon)
    SELECT $1, r.* FROM unnest($2::text[], $3::text[], $4::oid[], $5::text[], $6::oid[], $7::text[], $8::oid[],
                               $9::boolean[], $10::text[], $11::bigint[]) AS r
    ON CONFLICT (sync, schema_name, table_name, member) DO UPDATE
       SET member_name = excluded.member_name, parent = excluded.parent, entry = excluded.entry, filenode = excluded.filenode,
           filled = excluded.filled, bound = excluded.bound,
           horizon = CASE WHEN excluded.parent = 0 THEN published.horizon ELSE excluded.horizon END
     WHERE NOT (published.filled AND published.filenode = 0)";

/// A table, or a partition of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub table: TableId,
    pub oid: u32,
    pub name: String,
    /// 0: it is the table itself.
    pub parent: u32,
    /// Of a table: itself and what publishes it. Of a partition: the transaction that attached it.
    pub entry: String,
    /// It was made as a partition, so every row in it was written as one of its table.
    pub born: bool,
    /// 0 of what has partitions and no rows of its own.
    pub filenode: u32,
    /// Never said of a table itself.
    pub filled: bool,
    /// The condition that a partition's rows meet; of a table itself, what is known of its columns (see `rewritten`).
    pub bound: String,
    /// Every transaction before this one was over when the member was looked at; of a table, when it was looked at first.
    pub horizon: i64,
}

impl Member {
    /// The file that a table is made with has its oid for a name; TRUNCATE gives it another.
    pub(super) fn is_in_first_file(&self) -> bool {
        self.filenode == self.oid
    }

    /// It was noted while a transaction was open that is older than this partition: none of its rows counts as old
    /// until it is noted again.
    fn is_young(&self) -> bool {
        let horizon = (self.horizon & i64::from(u32::MAX)) as u32;
        self.parent != 0 && self.entry.parse().is_ok_and(|made: u32| is_after(made, horizon))
    }
}

/// What happened to a partition unseen.
enum Change {
    Attached,
    Reattached,
    Gone,
    Emptied,
}

/// What the catalogs and the record say.
pub(super) struct Seen {
    pub now: Vec<Member>,
    pub recorded: HashMap<u32, Member>,
}

/// Compares, and with `record` brings the record up to date for what is harmless. `is_start` refreshes it altogether.
pub async fn compare(client: &Client, scope: &Scope, record: bool, is_start: bool) -> Result<Vec<Finding>> {
    let Some(followed) = followed(client, scope).await? else {
        return Ok(Vec::new());
    };
    let seen = Seen::read(client, &scope.sync, &scope.tables).await?;
    let (mut findings, mut keep, mut forget) = (Vec::new(), Vec::new(), Vec::new());
    for id in &scope.tables {
        let now: Vec<&Member> = seen.now.iter().filter(|member| member.table == *id).collect();
        let was: Vec<&Member> = seen
            .recorded
            .values()
            .filter(|member| member.table == *id)
            .collect();
        let is_gone = |was: &&&Member| !now.iter().any(|now| now.oid == was.oid);
        let gone = was.iter().filter(is_gone).map(|was| was.oid);
        // Nothing to compare with: a first start, or a person has accepted what there is.
        if !followed || !was.iter().any(|was| was.parent == 0) {
            let own = was.iter().filter(|was| was.parent == 0).map(|was| was.oid);
            forget.extend(gone.chain(own));
            keep.extend(&now);
            continue;
        }
        let changes = seen.changes(client, id, &now, &was).await?;
        let altered = seen.altered(client, scope, &now).await?;
        match finding(scope, id, (&now, &was), &changes, &altered) {
            Some(finding) => findings.push(finding),
            None => {
                let is_due = |now: &&&Member| is_start || seen.is_news(now);
                keep.extend(now.iter().filter(is_due));
                forget.extend(gone);
            }
        }
    }
    if record && findings.is_empty() {
        write(client, &scope.sync, &keep, &forget).await?;
    }
    Ok(findings)
}

/// Does a slot follow this node's tables? `None`: there is nothing to look at.
async fn followed(client: &Client, scope: &Scope) -> Result<Option<bool>> {
    let is_there =
        "SELECT to_regclass('tidelock.published') IS NOT NULL AND to_regclass('tidelock.node') IS NOT NULL";
    match rows(client, is_there, &[]).await?.first() {
        Some(row) if scope.is_source && cell(row, 0)? => {}
        _ => return Ok(None),
    }
    let slots = slots(client, &scope.sync).await?;
    let slot = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name::text = ANY($1::text[]))";
    let found = rows(client, slot, &[&slots]).await?;
    found.first().map(|row| cell(row, 0)).transpose()
}

impl Seen {
    pub(super) async fn read(client: &Client, sync: &str, tables: &[TableId]) -> Result<Seen> {
        let schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|id| id.name.as_str()).collect();
        let publication = publication_name(sync);
        // Of one moment: who alters a table and accepts it in one transaction is seen to have done both.
        settings(client, LOOK).await?;
        let recorded = rows(client, RECORDED, &[&sync]).await;
        let now = match &recorded {
            Ok(_) => rows(client, &members_sql(), &[&schemas, &names, &publication]).await,
            Err(_) => Ok(Vec::new()),
        };
        let ended = settings(client, "ROLLBACK").await;
        let (recorded, now) = (members(recorded?)?, members(now?)?);
        ended?;
        Ok(Seen {
            now,
            recorded: recorded.into_iter().map(|member| (member.oid, member)).collect(),
        })
    }

    /// What of a table's partitions cannot be shown to be harmless.
    async fn changes<'a>(
        &self,
        client: &Client,
        id: &TableId,
        now: &[&'a Member],
        was: &[&'a Member],
    ) -> Result<Vec<(Change, &'a Member)>> {
        let mut changes = Vec::new();
        let until = Instant::now() + PROOF_LIMIT;
        for &member in now.iter().filter(|member| member.parent != 0) {
            let Some(before) = self.recorded.get(&member.oid) else {
                let is_born = self.is_born(member);
                if member.filled && !is_born {
                    changes.push((Change::Attached, member));
                } else if is_born && member.filenode != 0 && !member.is_in_first_file() {
                    changes.push((Change::Emptied, member));
                }
                continue;
            };
            let is_empty = !before.filled && !member.filled && member.filenode != 0;
            if before.entry != member.entry && !is_empty {
                changes.push((Change::Reattached, member));
            } else if before.filenode != member.filenode {
                let partition = (before.oid, before.bound.as_str());
                if !before.filled || !holds_old_row(client, id, partition, before.horizon, until).await? {
                    changes.push((Change::Emptied, member));
                }
            }
        }
        let had_rows = |member: &&&Member| member.parent != 0 && (member.filenode != 0 || member.filled);
        for &member in was.iter().filter(had_rows) {
            let is_there = now.iter().any(|now| now.oid == member.oid);
            if !is_there && (member.filled || size(client, member.oid).await? != Some(0)) {
                changes.push((Change::Gone, member));
            }
        }
        changes.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        Ok(changes)
    }

    /// Columns of the table itself whose values may be others than the log has them.
    async fn altered(&self, client: &Client, scope: &Scope, now: &[&Member]) -> Result<Vec<String>> {
        let own = now.iter().find(|member| member.parent == 0);
        let until = Instant::now() + PROOF_LIMIT;
        match own.and_then(|own| Some((self.recorded.get(&own.oid)?, *own))) {
            Some(both) => rewritten::altered(client, scope, both, until).await,
            None => Ok(Vec::new()),
        }
    }

    /// Was it made as a partition, and all that is between it and what is known?
    pub(super) fn is_born(&self, member: &Member) -> bool {
        let parent = self.now.iter().find(|above| above.oid == member.parent);
        member.born
            && parent.is_none_or(|above| {
                above.parent == 0 || self.recorded.contains_key(&above.oid) || self.is_born(above)
            })
    }

    fn is_news(&self, now: &Member) -> bool {
        self.recorded.get(&now.oid).is_none_or(|was| {
            let mut known = Member {
                born: now.born,
                horizon: if was.is_young() { was.horizon } else { now.horizon },
                ..was.clone()
            };
            if now.parent == 0 && rewritten::is_same(&known.bound, &now.bound) {
                known.bound.clone_from(&now.bound);
            }
            known != *now
        })
    }
}

fn members(rows: Vec<tokio_postgres::Row>) -> Result<Vec<Member>> {
    let member = |row: &tokio_postgres::Row| {
        Ok(Member {
            table: TableId::new(cell::<String>(row, 0)?, cell::<String>(row, 1)?),
            oid: cell(row, 2)?,
            name: cell(row, 3)?,
            parent: cell(row, 4)?,
            entry: cell(row, 5)?,
            born: cell(row, 6)?,
            filenode: cell(row, 7)?,
            filled: cell(row, 8)?,
            bound: cell(row, 9)?,
            horizon: cell(row, 10)?,
        })
    };
    rows.iter().map(member).collect()
}

async fn settings(client: &Client, sql: &str) -> Result<()> {
    let set = client.batch_execute(sql).await;
    set.map_err(|error| fail("look at the partitions", error))
}

/// Of a relation that may be gone.
pub(super) async fn size(client: &Client, oid: u32) -> Result<Option<i64>> {
    let found = rows(client, "SELECT pg_relation_size($1::oid)", &[&oid]).await?;
    found.first().map_or(Ok(None), |row| cell(row, 0))
}

/// A row from before the record, so that no TRUNCATE came since. `(oid, bound)`: the member, and the condition that finds
/// it. Not being able to look is no proof; a lock that somebody holds for the moment is an error, and looked at again.
pub(super) async fn holds_old_row(
    client: &Client,
    id: &TableId,
    (oid, bound): (u32, &str),
    horizon: i64,
    until: Instant,
) -> Result<bool> {
    const DOING: &str = "look for rows that were there before";
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    if left == 0 {
        return Ok(false);
    }
    // Transaction numbers come again after 2^32; the record's is a full one.
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} AS t WHERE t.tableoid = $1::oid AND ({})
                 AND age(t.xmin)::bigint > pg_snapshot_xmax(pg_current_snapshot())::text::bigint - $2::bigint)",
        quoted(id),
        match bound {
            "" => "true",
            bound => bound,
        }
    );
    settings(
        client,
        &format!("SET statement_timeout = {left}; SET lock_timeout = '1s'"),
    )
    .await?;
    let found = client.query(&sql, &[&oid, &horizon]).await;
    settings(client, NO_LIMITS).await?;
    match found {
        Ok(rows) => rows.first().map_or(Ok(false), |row| cell(row, 0)),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Err(fail(DOING, error)),
        Err(_) => Ok(false),
    }
}

/// Transaction numbers go round: `a` is at or after `b` when it is less than half of them ahead.
pub(super) fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < 1 << 31
}

fn finding(
    scope: &Scope,
    id: &TableId,
    (now, was): (&[&Member], &[&Member]),
    changes: &[(Change, &Member)],
    altered: &[String],
) -> Option<Finding> {
    let own = |members: &[&Member]| {
        let own = members.iter().find(|member| member.parent == 0);
        own.map(|member| member.entry.clone())
    };
    let accept = format!(
        "DELETE FROM tidelock.published WHERE sync = {} AND schema_name = {} AND table_name = {}",
        literal(&scope.sync),
        literal(&id.schema),
        literal(&id.name)
    );
    let lost = |what: String, fix: String| {
        let finding = Finding::blocker(Finding::LOST, &scope.node, what).table(id);
        Some(finding.fix(fix))
    };
    // A table that is not there, or not published, is told by others.
    let entry = own(now)?;
    if own(was)? != entry {
        let what = format!(
            "publication {} or its entry of this table was altered, or the table made anew, since the link last looked: what was written meanwhile may not be sent",
            publication_name(&scope.sync)
        );
        let fix = format!("{NEW_COPY}; or, if nobody wrote meanwhile: {accept}");
        return lost(what, fix);
    }
    if !altered.is_empty() {
        return Some(rewritten::finding(scope, id, altered, &accept));
    }
    if changes.is_empty() {
        return None;
    }
    let told = changes
        .iter()
        .take(NAMED)
        .map(|(change, member)| told(change, member));
    let mut told: Vec<String> = told.collect();
    if changes.len() > NAMED {
        told.push(format!("and {} more", changes.len() - NAMED));
    }
    let what = format!(
        "rows came or went with a partition, which is not in the log: {}",
        told.join("; ")
    );
    let fix = format!(
        "accept it: {accept}; then `tidelock run` until the links are in step; then, on the other node, delete the rows \
         within these bounds that {} lacks, and insert those that only it has; or {NEW_COPY}",
        scope.node
    );
    lost(what, fix)
}

fn told(change: &Change, member: &Member) -> String {
    let what = match change {
        Change::Attached => "was attached with rows in it",
        Change::Reattached => "was detached and attached again",
        Change::Gone => "was detached or dropped",
        Change::Emptied => "was truncated, or rewritten",
    };
    match member.bound.as_str() {
        "" => format!("{} {what}, and its bounds are not known", member.name),
        hash if hash.contains("satisfies_hash_partition") => format!("{} {what}", member.name),
        bound => format!("{} {what}: {bound}", member.name),
    }
}

pub(super) async fn write(client: &Client, sync: &str, keep: &[&Member], forget: &[u32]) -> Result<()> {
    const DOING: &str = "note the tables' partitions";
    if !forget.is_empty() {
        let sql = "DELETE FROM tidelock.published WHERE sync = $1 AND member = ANY($2::oid[])";
        let done = client.execute(sql, &[&sync, &forget]).await;
        done.map_err(|error| fail(DOING, error))?;
    }
    if keep.is_empty() {
        return Ok(());
    }
    let texts = |of: fn(&Member) -> &str| keep.iter().map(|member| of(member)).collect::<Vec<&str>>();
    let oids: Vec<u32> = keep.iter().map(|member| member.oid).collect();
    let parents: Vec<u32> = keep.iter().map(|member| member.parent).collect();
    let files: Vec<u32> = keep.iter().map(|member| member.filenode).collect();
    let filled: Vec<bool> = keep.iter().map(|member| member.filled).collect();
    let horizons: Vec<i64> = keep.iter().map(|member| member.horizon).collect();
    let done = client
        .execute(
            RECORD,
            &[
                &sync,
                &texts(|member| &member.table.schema),
                &texts(|member| &member.table.name),
                &oids,
                &texts(|member| &member.name),
                &parents,
                &texts(|member| &member.entry),
                &files,
                &filled,
                &texts(|member| &member.bound),
                &horizons,
            ],
        )
        .await;
    done.map(|_| ()).map_err(|error| fail(DOING, error))
}
