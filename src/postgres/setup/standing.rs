//! Triggers of the tables and of their partitions, as they stand while a link runs.
//!
//! Owns: ours that were switched off or dropped, or fire in Tidelock's own sessions; users' triggers that do. A partition
//! has a copy of each row trigger of its table, which can be switched alone, and may have triggers of its own.

use super::state::{cell, rows};
use super::{steps, tables};
use crate::error::Result;
use crate::model::schema::TableId;
use crate::model::sync::{Finding, Mode, Scope};
use crate::postgres::catalog::TRIGGER_PREFIX;
use crate::postgres::sql::{quote, table};
use tokio_postgres::Client;

/// Of a merge table and of each of its partitions.
const STAMPS: usize = 3;

/// The tree of partitions is newer than the snapshot: one that the snapshot does not know as such has no copies yet.
const SQL: &str = "
    SELECT want.schema, want.name, k.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text,
           coalesce(above.tgenabled = t.tgenabled, false)
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want(schema, name, number)
      JOIN pg_namespace n ON n.nspname = want.schema
      JOIN pg_class root ON root.relnamespace = n.oid AND root.relname = want.name
     CROSS JOIN LATERAL (SELECT root.oid AS member
                         UNION SELECT part.relid::oid FROM pg_partition_tree(root.oid) part) tree
      JOIN pg_class c ON c.oid = tree.member AND c.relkind IN ('r', 'p')
      JOIN pg_namespace k ON k.oid = c.relnamespace
      LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
                            AND (t.tgenabled IN ('A', 'R') OR starts_with(t.tgname::text, $3))
      LEFT JOIN pg_trigger above ON above.oid = t.tgparentid
     WHERE c.oid = root.oid OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
     ORDER BY want.number, c.oid <> root.oid, c.oid, t.tgname";

/// A table, or a partition of it, with how many of our triggers do their work there.
struct Member {
    table: TableId,
    name: TableId,
    ours: usize,
    /// One of ours is told already.
    told: bool,
}

pub(super) async fn triggers(client: &Client, scope: &Scope) -> Result<Vec<Finding>> {
    let schemas: Vec<&str> = scope.tables.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = scope.tables.iter().map(|id| id.name.as_str()).collect();
    let mut findings = Vec::new();
    let mut members: Vec<Member> = Vec::new();
    for row in rows(client, SQL, &[&schemas, &names, &TRIGGER_PREFIX]).await? {
        let id = TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?);
        let on = TableId::new(cell::<String>(&row, 2)?, cell::<String>(&row, 3)?);
        if members.last().is_none_or(|last| last.name != on) {
            members.push(Member {
                table: id.clone(),
                name: on.clone(),
                ours: 0,
                told: false,
            });
        }
        let (Some(member), Some(name)) = (members.last_mut(), cell::<Option<String>>(&row, 4)?) else {
            continue;
        };
        let enabled: String = cell(&row, 5)?;
        // Told of the trigger that it is a copy of, whose fix reaches it.
        let as_above: bool = cell(&row, 6)?;
        let is_ours = name.starts_with(TRIGGER_PREFIX);
        if is_ours && enabled == "O" {
            member.ours += 1;
        } else if is_ours {
            member.told = true;
            if !as_above {
                findings.push(switched(scope, &id, &on, &name));
            }
        } else if scope.is_target && !as_above {
            findings.push(tables::foreign_trigger(scope, &id, &on, &name));
        }
    }
    let expected = if scope.mode == Mode::Merge { STAMPS } else { 0 };
    let lacking = members
        .iter()
        .filter(|member| !member.told && member.ours < expected);
    findings.extend(lacking.map(|member| missing(scope, &member.table, &member.name)));
    Ok(findings)
}

fn switched(scope: &Scope, id: &TableId, on: &TableId, name: &str) -> Finding {
    let what = format!(
        "a stamp trigger{} is switched off or fires in Tidelock's own sessions",
        tables::of_partition(id, on)
    );
    let fix = format!("ALTER TABLE {} ENABLE TRIGGER {}", table(on), quote(name));
    let finding = Finding::blocker(steps::TABLE, &scope.node, what);
    finding.table(id).fix(fix)
}

fn missing(scope: &Scope, id: &TableId, on: &TableId) -> Finding {
    let what = format!("not set up: stamp triggers{}", tables::of_partition(id, on));
    let finding = Finding::blocker(steps::TABLE, &scope.node, what);
    finding.table(id).fix("tidelock setup --execute")
}
