//! Tables that a link holds while its other tables go on, and how they catch up.
//!
//! Owns: which tables a session of a link reads, from where and up to where ([`Phase`]), and what is written of a table
//! that stops. Refuses: holding what is not of one table alone, and anything before a first copy has settled.
//! Fails: with the error itself where nothing may be held; then the link stops.
//!
//! A held table is applied up to a position of its own. A session reads either every table that is not held, from the
//! link's checkpoint on, or resumed tables alone, from where they stand up to the next such place or the checkpoint,
//! which rests meanwhile. So a change is applied if and only if its transaction is behind its table's position, and
//! each position moves in the target transaction of its rows.

use super::link::{Link, Next};
use super::spec::{LinkSpec, SyncSpec};
use crate::engine::Node;
use crate::error::{Class, Error, Reason, Result};
use crate::model::operation::{HeldTable, ResyncState};
use crate::model::position::{Position, PositionError};
use crate::model::schema::TableId;
use crate::model::sync::OnStop;
use crate::plan::evolve::THEN;
use tracing::{debug, error, info, warn};

/// What one session of a link reads.
#[derive(Debug, PartialEq)]
pub(super) struct Phase {
    /// Places of its tables in the link's lists.
    pub(super) tables: Vec<usize>,
    pub(super) from: Position,
    /// Resumed tables catch up to here. `None`: it is the link's ordinary work.
    pub(super) until: Option<Position>,
    /// The source's log is needed from here on.
    pub(super) keep: Option<Position>,
    /// Its tables were copied anew, from a later image than what is read again.
    pub(super) is_anew: bool,
}

pub(super) fn incomparable(error: PositionError) -> Error {
    Error::bug("compare positions").because(error)
}

/// `a` is at or behind `b` in the log.
fn covers(a: &Position, b: &Position) -> Result<bool> {
    a.covers(b).map_err(incomparable)
}

/// `a` is before `b`, and not the same place.
fn precedes(a: &Position, b: &Position) -> Result<bool> {
    Ok(covers(b, a)? && !covers(a, b)?)
}

/// One before which there is no other.
fn earliest<'a>(positions: impl Iterator<Item = &'a Position>) -> Result<Option<&'a Position>> {
    let mut found: Option<&Position> = None;
    for position in positions {
        if match found {
            Some(found) => precedes(position, found)?,
            None => true,
        } {
            found = Some(position);
        }
    }
    Ok(found)
}

impl Phase {
    /// `names`: the link's tables as the target calls them.
    pub(super) fn of(names: &[TableId], held: &[HeldTable], checkpoint: &Position) -> Result<Phase> {
        let keep = earliest(held.iter().map(|held| &held.position))?.cloned();
        let place = |table: &TableId| names.iter().position(|name| name == table);
        let mut ready: Vec<(usize, &HeldTable)> = Vec::new();
        for held in held.iter().filter(|held| held.resumed) {
            // One that is past the link (its transaction was skipped) waits until the link is there.
            if let Some(place) = place(&held.table)
                && covers(checkpoint, &held.position)?
            {
                ready.push((place, held));
            }
        }
        let Some(from) = earliest(ready.iter().map(|(_, held)| &held.position))?.cloned() else {
            let is_held = |name: &TableId| held.iter().any(|held| held.table == *name);
            let tables = names.iter().enumerate().filter(|(_, name)| !is_held(name));
            return Ok(Phase {
                tables: tables.map(|(place, _)| place).collect(),
                from: checkpoint.clone(),
                until: None,
                keep,
                is_anew: false,
            });
        };
        let (mut tables, mut later) = (Vec::new(), vec![checkpoint]);
        let mut is_anew = None;
        for (place, held) in ready {
            if precedes(&from, &held.position)? {
                later.push(&held.position);
            } else if covers(&from, &held.position)? && *is_anew.get_or_insert(held.is_anew) == held.is_anew {
                // What is no drift for the one kind is drift for the other.
                tables.push(place);
            }
        }
        let until = earliest(later.into_iter())?.cloned();
        Ok(Phase {
            tables,
            from,
            until,
            keep,
            is_anew: is_anew.unwrap_or_default(),
        })
    }

    pub(super) fn names(&self, names: &[TableId]) -> Vec<TableId> {
        let tables = self.tables.iter().filter_map(|place| names.get(*place));
        tables.cloned().collect()
    }

    /// Held tables that it does not read.
    pub(super) fn without(&self, names: &[TableId], held: &[HeldTable]) -> Vec<TableId> {
        let read = self.names(names);
        let tables = held.iter().map(|held| &held.table);
        tables.filter(|table| !read.contains(table)).cloned().collect()
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.until.is_some()
    }

    /// Is a transaction that ends here behind what is caught up? Then everything up to there has been read.
    pub(super) fn is_beyond(&self, end: &Position) -> Result<bool> {
        let Some(until) = &self.until else {
            return Ok(false);
        };
        if covers(until, end)? {
            return Ok(false);
        }
        match covers(end, until)? {
            true => Ok(true),
            false => Err(Error::definite("catch up with held tables")
                .why(format!(
                    "the log has {end} before everything up to {until}, which the link had read in another order: \
                     which changes are applied cannot be told"
                ))
                .hint(crate::error::NEW_COPY)),
        }
    }
}

/// Said at each session, so that a log shows it without its beginning.
pub(super) fn tell(spec: &LinkSpec, phase: &Phase, held: &[HeldTable]) {
    for held in held {
        if !spec.target.tables.contains(&held.table) {
            warn!(
                event = "table_held", link = %spec.id, table = %held.table, position = %held.position,
                "a table that is not of this sync any more is held: its source keeps the log for it"
            );
        } else if !held.resumed {
            warn!(
                event = "table_held", link = %spec.id, table = %held.table, position = %held.position,
                error = held.error, hint = held.hint, "a table is held, and its source keeps the log for it"
            );
        }
    }
    if let Some(until) = &phase.until {
        let tables = joined(phase.names(&spec.target.tables).iter());
        info!(
            event = "tables_catch_up", link = %spec.id, tables, from = %phase.from, %until,
            "held tables are taken up; the others wait for them"
        );
    }
}

fn joined<'a>(tables: impl Iterator<Item = &'a TableId>) -> String {
    let names: Vec<String> = tables.map(ToString::to_string).collect();
    names.join(", ")
}

/// What the link's row in `status` and the probes say.
pub(super) fn summary(spec: &LinkSpec, phase: &Phase, held: &[HeldTable]) -> String {
    match (phase.is_catching_up(), held.is_empty()) {
        (true, _) => format!(
            "held tables catch up: {}",
            joined(phase.names(&spec.target.tables).iter())
        ),
        (false, true) => String::new(),
        (false, false) => format!("held tables: {}", joined(held.iter().map(|held| &held.table))),
    }
}

/// The tables that the link holds when it has come so far. Those that are copied anew are taken up when it has passed
/// where the log ended then, whatever an operator wants.
pub(super) async fn noted(node: &mut Node, spec: &LinkSpec, reached: &Position) -> Result<Vec<HeldTable>> {
    let mut held = node.held(&spec.sync, Some(&spec.id)).await?;
    if held.is_empty() {
        return Ok(held);
    }
    for resync in node.resyncs(&spec.sync, Some(&spec.id)).await? {
        let Some(held) = held.iter_mut().find(|held| held.table == resync.table) else {
            continue;
        };
        held.is_anew = true;
        held.condition.clone_from(&resync.condition);
        held.resumed = match &resync.state {
            ResyncState::Copied { settle } => covers(reached, settle)?,
            ResyncState::Asked | ResyncState::Copying | ResyncState::Failed { .. } => false,
            ResyncState::Stopped => held.resumed,
        };
    }
    Ok(held)
}

/// Is there a table to be taken up that the link has reached?
async fn resumed(node: &mut Node, spec: &LinkSpec, reached: &Position) -> Result<bool> {
    for held in noted(node, spec, reached).await? {
        if held.resumed && spec.target.tables.contains(&held.table) && covers(reached, &held.position)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The held table of a link that a name stands for.
pub async fn held(link: &LinkSpec, name: &str) -> Result<HeldTable> {
    let mut target = Node::connect(&link.target.access, link.target.engine).await?;
    let held = target.held(&link.sync, Some(&link.id)).await?;
    let is_meant = |held: &&HeldTable| held.table.to_string() == name || held.table.name == name;
    let mut found = held.iter().filter(is_meant);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.clone()),
        (Some(_), Some(_)) => Err(not_held(link, name).why("several held tables have this name")),
        (None, _) => Err(not_held(link, name)),
    }
}

/// A run that is to bring everything up to date has not, where tables wait.
pub(super) async fn refuse_held(syncs: &[SyncSpec]) -> Result<()> {
    for sync in syncs {
        for index in 0..sync.links.len() {
            let link = sync.link(index);
            let mut target = Node::connect(&link.target.access, link.target.engine).await?;
            let held = target.held(&link.sync, Some(&link.id)).await?;
            if let Some(first) = held.first() {
                return Err(Error::definite(format!("bring link {} up to date", link.id))
                    .node(&link.target.name)
                    .why(format!(
                        "it holds {}, and the others are; {}",
                        joined(held.iter().map(|held| &held.table)),
                        first.told()
                    ))
                    .hint(first.hint.clone()));
            }
        }
    }
    Ok(())
}

/// What a held table means for those that go on. Not being able to ask is no reason not to hold it.
async fn joined_by_keys(spec: &LinkSpec, table: &TableId) -> String {
    let ask = async {
        let mut target = Node::connect(&spec.target.access, spec.target.engine).await?;
        let referring = target.referring(table, &spec.target.tables).await?;
        target.close().await;
        Ok::<_, Error>(referring)
    };
    let mut referring = ask.await.unwrap_or_else(|error| {
        debug!(link = %spec.id, %error, "foreign keys to a held table were not looked at");
        Vec::new()
    });
    referring.retain(|other| other != table);
    match referring.is_empty() {
        true => String::new(),
        false => format!(
            "; foreign keys of {} refer to it, and go on: until the table is taken up, their rows may lack their parents",
            joined(referring.iter())
        ),
    }
}

pub fn not_held(link: &LinkSpec, name: &str) -> Error {
    Error::definite(format!("resume table {name:?} of link {}", link.id))
        .node(&link.target.name)
        .reason(Reason::Refused)
        .why("the link does not hold a table of this name")
        .hint("`tidelock status` names the tables that are held, as the target calls them")
}

impl Link {
    /// Holds what an error is about and lets the rest go on, or tells the error.
    pub(super) async fn held_instead(&mut self, error: Error) -> Result<Next> {
        let tables = self.to_hold(&error);
        if tables.is_empty() {
            return Err(error);
        }
        // The outcome of what was open must be certain before anything is written of it.
        self.applier.rollback().await?;
        let position = self.pending.position.clone();
        let mut rows = Vec::new();
        for place in tables {
            let Some(table) = self.spec.target.tables.get(place).cloned() else {
                continue;
            };
            let halt = error.halt();
            let after = |transaction: &str| position.after(transaction).map(|past| past.to_string());
            rows.push(HeldTable {
                link: self.spec.id.clone(),
                position: position.clone(),
                transaction: halt.map(|halt| halt.transaction.clone()),
                past: halt.and_then(|halt| halt.past.clone().or_else(|| after(&halt.transaction))),
                error: error.to_string(),
                hint: self.hint(&error, &table) + &joined_by_keys(&self.spec, &table).await,
                since_us: 0,
                resumed: false,
                is_anew: self.phase.is_anew,
                condition: None,
                table,
            });
        }
        self.applier.hold(&position, &rows).await?;
        self.pulse.stopped_at(&error);
        for row in &rows {
            error!(
                event = "table_held", link = %self.spec.id, table = %row.table, %position, hint = row.hint,
                "{error}: the table is held, the others go on"
            );
        }
        Ok(Next::Again)
    }

    /// Places of the tables. None: the link stops.
    fn to_hold(&self, error: &Error) -> Vec<usize> {
        let is_settled = self.applier.checkpoint().settle.is_none();
        let is_lasting = error.class() == Class::Definite
            && matches!(error.reason_kind(), Reason::Other | Reason::PositionLost);
        if !is_settled || !is_lasting {
            return Vec::new();
        }
        let catches_up = self.phase.is_catching_up();
        let named = error.alone_table().and_then(|table| {
            let place = self
                .spec
                .source
                .tables
                .iter()
                .position(|source| source == table)?;
            self.phase.tables.contains(&place).then_some(place)
        });
        match named {
            Some(place) if catches_up || self.spec.on_stop == OnStop::Table => vec![place],
            // Nothing but resumed tables is read: whatever it is, the others need not wait for it.
            None if catches_up => self.phase.tables.clone(),
            Some(_) | None => Vec::new(),
        }
    }

    fn hint(&self, error: &Error, table: &TableId) -> String {
        let resume = format!("`tidelock resume '{}' --table '{table}'`", self.spec.full_name());
        let hint = error.hint_text().unwrap_or_default();
        if hint.contains(THEN) {
            return hint.replace(THEN, &format!("then `tidelock setup --execute` and {resume}"));
        }
        // Skipping takes the table up as well, and after a new copy nothing is held.
        let is_told = hint.contains("--execute") || error.reason_kind() == Reason::PositionLost;
        match (hint.is_empty(), is_told) {
            (true, _) => format!("mend that, then {resume}"),
            (false, true) => hint.to_owned(),
            (false, false) => format!("{hint}; then {resume}"),
        }
    }

    /// Everything up to where held tables were to catch up is applied.
    pub(super) async fn caught_up(&mut self) -> Result<()> {
        let Some(until) = self.phase.until.clone() else {
            return Ok(());
        };
        let is_level = covers(&until, &self.applier.checkpoint().position)?;
        self.applier
            .caught_up(&until, is_level, self.phase.is_anew)
            .await?;
        self.pending.position = until;
        for table in self
            .phase
            .names(&self.spec.target.tables)
            .iter()
            .filter(|_| is_level)
        {
            info!(event = "table_caught_up", link = %self.spec.id, %table, "the table is held no more");
        }
        Ok(())
    }

    /// Is a table to be taken up, or to be copied anew? Not being able to ask is no reason to stop.
    pub(super) async fn wants_again(&mut self) -> Result<bool> {
        let asked = self.wishes().await;
        let is_wanted = asked.unwrap_or_else(|error| {
            debug!(link = %self.spec.id, %error, "held tables were not looked at");
            self.looker = None;
            false
        });
        if is_wanted {
            self.idle_checkpoint().await?;
        }
        Ok(is_wanted)
    }

    async fn wishes(&mut self) -> Result<bool> {
        let mut node = match self.looker.take() {
            Some(node) => node,
            None => Node::connect(&self.spec.target.access, self.spec.target.engine).await?,
        };
        let is_resumed = self.holds_tables && resumed(&mut node, &self.spec, &self.pending.position).await?;
        let is_wanted =
            is_resumed || self.is_ripe(&mut node).await? || self.has_lost_copier(&mut node).await?;
        self.looker = Some(node);
        Ok(is_wanted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn held(table: &str, position: &str, resumed: bool) -> HeldTable {
        HeldTable {
            link: "a->b".to_owned(),
            table: TableId::new("s", table),
            position: position.parse().unwrap(),
            transaction: None,
            past: None,
            error: String::new(),
            hint: String::new(),
            since_us: 0,
            resumed,
            is_anew: false,
            condition: None,
        }
    }

    fn phase(held: &[HeldTable], checkpoint: &str) -> (Vec<usize>, String, Option<String>, Option<String>) {
        let names = ["a", "b", "c"].map(|name| TableId::new("s", name));
        let phase = Phase::of(&names, held, &checkpoint.parse().unwrap()).unwrap();
        let text = |position: Option<Position>| position.map(|position| position.to_string());
        (
            phase.tables,
            phase.from.to_string(),
            text(phase.until),
            text(phase.keep),
        )
    }

    fn expect(
        tables: &[usize],
        from: &str,
        until: Option<&str>,
        keep: Option<&str>,
    ) -> (Vec<usize>, String, Option<String>, Option<String>) {
        (
            tables.to_vec(),
            from.to_owned(),
            until.map(str::to_owned),
            keep.map(str::to_owned),
        )
    }

    #[test]
    fn a_link_reads_all_but_held_tables_and_keeps_the_log_for_them() {
        assert_eq!(phase(&[], "lsn:0/9"), expect(&[0, 1, 2], "lsn:0/9", None, None));
        let rows = [held("b", "lsn:0/5", false), held("c", "lsn:0/3", false)];
        assert_eq!(
            phase(&rows, "lsn:0/9"),
            expect(&[0], "lsn:0/9", None, Some("lsn:0/3"))
        );
        // Of a table that left the sync: the log is kept all the same.
        let rows = [held("gone", "lsn:0/2", true)];
        assert_eq!(
            phase(&rows, "lsn:0/9"),
            expect(&[0, 1, 2], "lsn:0/9", None, Some("lsn:0/2"))
        );
    }

    #[test]
    fn tables_catch_up_in_stages_of_one_position_each() {
        let rows = [held("b", "lsn:0/5", true), held("c", "lsn:0/3", true)];
        assert_eq!(
            phase(&rows, "lsn:0/9"),
            expect(&[2], "lsn:0/3", Some("lsn:0/5"), Some("lsn:0/3"))
        );
        let rows = [held("b", "lsn:0/5", true), held("c", "lsn:0/5", true)];
        assert_eq!(
            phase(&rows, "lsn:0/9"),
            expect(&[1, 2], "lsn:0/5", Some("lsn:0/9"), Some("lsn:0/5"))
        );
        // One that is not resumed is no stage, and its log is kept.
        let rows = [
            held("b", "lsn:0/5", true),
            held("c", "lsn:0/3", false),
            held("a", "lsn:0/7", false),
        ];
        assert_eq!(
            phase(&rows, "lsn:0/9"),
            expect(&[1], "lsn:0/5", Some("lsn:0/9"), Some("lsn:0/3"))
        );
    }

    #[test]
    fn a_table_past_the_link_waits_for_it() {
        let rows = [held("b", "lsn:0/A", true)];
        assert_eq!(
            phase(&rows, "lsn:0/9"),
            expect(&[0, 2], "lsn:0/9", None, Some("lsn:0/A"))
        );
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        // Past a skipped transaction with others of no interest before it: neither is before the other.
        let rows = [
            held("b", &format!("gtid:{uuid}:1-5:10"), true),
            held("c", &format!("gtid:{uuid}:1-8"), true),
        ];
        let (tables, _, until, _) = phase(&rows, &format!("gtid:{uuid}:1-20"));
        assert_eq!((tables, until), (vec![1], Some(format!("gtid:{uuid}:1-20"))));
    }

    #[test]
    fn what_is_beyond_is_not_applied_and_another_order_is_refused() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let at = |set: &str| format!("gtid:{uuid}:{set}").parse::<Position>().unwrap();
        let phase = Phase {
            tables: vec![0],
            from: at("1-3"),
            until: Some(at("1-7")),
            keep: None,
            is_anew: false,
        };
        assert!(!phase.is_beyond(&at("1-7")).unwrap());
        assert!(phase.is_beyond(&at("1-8")).unwrap());
        assert!(phase.is_beyond(&at("1-5:9")).is_err());
    }
}
