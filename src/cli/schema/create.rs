//! `schema create`: the plan as SQL, or the tables made.
//!
//! On PostgreSQL a table is made in one transaction, on MySQL and MariaDB by one statement: it is there whole or not at
//! all, so after a failure the command is simply repeated. Indexes of PostgreSQL that are not unique come after the first
//! copy, because rows go in faster without them. Foreign keys come by themselves, after the first copy:
//! Tidelock's sessions do not enforce them, so keys made before it would have been checked by nobody, and on MySQL would
//! never be; made after it they are checked once over all rows.
//! Fails: 3 when a table cannot be made for the lack of a type, or nobody has it.

use super::{Face, Held, finding, syncs};
use crate::cli::Schema;
use crate::cli::render::{self, plain};
use crate::cli::setup::first_line;
use crate::error::{Error, Reason, Result};
use crate::flow::spec::Seed;
use crate::model::schema::TableId;
use crate::model::sync::{Finding, Level};
use crate::schema::Note;
use crate::schema::create::{after_copy, table};
use crate::schema::translate::{Wanted, translate};
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The node that lacks the tables
    #[arg(long, value_name = "NODE")]
    on: String,
    /// The node whose tables they are made from [default: the seed's, then the hub, then who has the table]
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// With --execute: what comes after the first copy too, indexes, foreign keys and next numbers
    #[arg(long, alias = "foreign-keys", requires = "execute")]
    after_copy: bool,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    executed: bool,
    syncs: Vec<SyncPlan>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct SyncPlan {
    sync: String,
    node: String,
    tables: Vec<TablePlan>,
    /// To be run once the rows are there.
    after_copy: Vec<String>,
    after_copy_done: bool,
}

#[derive(Serialize)]
struct TablePlan {
    table: String,
    /// The node it is made from.
    from: Option<String>,
    state: State,
    statements: Vec<String>,
    findings: Vec<Finding>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    Exists,
    Missing,
    Made,
    Refused,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let config = face.load()?;
    let mut plans = Vec::new();
    let mut script = String::new();
    for sync in syncs(&config, options.sync.as_deref(), Some(&options.on))? {
        let mut held = Held::read(sync).await?;
        let mut plan = plan(&mut held, options).await?;
        if options.execute {
            execute(face, &mut held, &mut plan, options).await?;
        } else {
            script.push_str(&text(&held, &plan));
        }
        plans.push(plan);
    }
    let refused = plans
        .iter()
        .flat_map(|plan| &plan.tables)
        .filter(|table| table.state == State::Refused)
        .count();
    let next_steps = next_steps(options, &plans);
    let document = Document {
        schema: Schema,
        executed: options.execute,
        syncs: plans,
        next_steps,
    };
    show(face, &document, &script)?;
    if refused > 0 {
        return Err(Error::definite("make all tables")
            .node(&options.on)
            .why(format!(
                "{} left out",
                render::count(refused, "table is", "tables are")
            ))
            .reason(Reason::Blocked)
            .hint("see the blockers above"));
    }
    Ok(())
}

fn show(face: &Face, document: &Document, script: &str) -> Result<()> {
    if face.json {
        return face.document(document);
    }
    if !document.executed {
        face.print(script);
        face.say("nothing was changed: this is the plan");
    }
    for sync in document.syncs.iter().filter(|_| document.executed) {
        let mut out = format!(
            "{}  sync {}\n",
            face.paint().with(render::Ink::Strong, &sync.node),
            sync.sync
        );
        for table in &sync.tables {
            let state = match table.state {
                State::Exists => "is there already, left as it is".to_owned(),
                State::Made => format!(
                    "made, {}",
                    render::count(table.statements.len(), "statement", "statements")
                ),
                State::Refused | State::Missing => "left out".to_owned(),
            };
            out.push_str(&format!("  {}: {state}\n", plain(&table.table)));
            table
                .findings
                .iter()
                .for_each(|finding| face.paint().finding(finding, &mut out));
        }
        if !sync.after_copy.is_empty() {
            let count = render::count(sync.after_copy.len(), "statement", "statements");
            out.push_str(&match sync.after_copy_done {
                true => format!("  foreign keys and next numbers: {count} done\n"),
                false => format!("  after the first copy: {count}, run by --execute --after-copy\n"),
            });
        }
        face.print(&out);
    }
    face.next(&document.next_steps);
    Ok(())
}

async fn plan(held: &mut Held<'_>, options: &Options) -> Result<SyncPlan> {
    let node = |name: &str| held.spec.nodes.iter().position(|node| node.name == name);
    let (Some(on), asked) = (node(&options.on), options.from.as_deref().map(node)) else {
        return Err(Error::bug("find the node again"));
    };
    if asked.is_some_and(|from| from.is_none_or(|from| from == on)) {
        let name = options.from.as_deref().unwrap_or_default();
        return Err(Error::definite(format!("make the tables from node {name:?}"))
            .why(format!(
                "sync {} has no such node beside {}",
                held.spec.name, options.on
            ))
            .hint("`tidelock config show` lists the nodes of each sync"));
    }
    let enums = held.nodes[on].enums().await?;
    let mut plan = SyncPlan {
        sync: held.spec.name.clone(),
        node: options.on.clone(),
        tables: Vec::new(),
        after_copy: Vec::new(),
        after_copy_done: false,
    };
    let mut made = Vec::new();
    for place in 0..held.spec.nodes[on].tables.len() {
        let (table, after) = one(held, place, (on, asked.flatten()), &enums, &mut made);
        plan.tables.push(table);
        plan.after_copy.extend(after);
    }
    Ok(plan)
}

/// One table: what makes it, and what comes after its rows. `made`: the ENUM types that tables before it bring.
fn one(
    held: &Held<'_>,
    place: usize,
    (on, asked): (usize, Option<usize>),
    enums: &[(TableId, Vec<String>)],
    made: &mut Vec<(TableId, Vec<String>)>,
) -> (TablePlan, Vec<String>) {
    let (name, id) = (held.name(on), &held.spec.nodes[on].tables[place]);
    let present = held.tables[on][place].as_ref();
    let mut plan = TablePlan {
        table: id.to_string(),
        from: None,
        state: if present.is_some() {
            State::Exists
        } else {
            State::Refused
        },
        statements: Vec::new(),
        findings: Vec::new(),
    };
    let Some(from) = origin(held, place, on, asked) else {
        if present.is_none() {
            let what = "no node that it could be made from has the table";
            plan.findings.push(
                Finding::blocker("E302", name, what)
                    .table(id)
                    .fix("correct `tables`, or make it by hand"),
            );
        }
        return (plan, Vec::new());
    };
    plan.from = Some(held.name(from).to_owned());
    let (pairs, places) = held.pairs(from, on);
    let at = places
        .iter()
        .position(|known| *known == place)
        .unwrap_or_default();
    let wanted = match translate(&pairs, at, held.engines[from], held.engines[on]) {
        Ok(wanted) => wanted,
        Err(note) => {
            if present.is_none() {
                plan.findings.push(finding(&note, name));
            }
            return (plan, Vec::new());
        }
    };
    let after = after_copy(&wanted, present, held.engines[on]);
    if present.is_some() {
        return (plan, after);
    }
    plan.findings
        .extend(wanted.notes.iter().map(|note| finding(note, name)));
    let there = enums.iter().chain(made.iter());
    if let Some(clash) = clash(&wanted, there.clone()) {
        plan.findings.push(finding(&clash, name));
        return (plan, Vec::new());
    }
    let there: Vec<TableId> = there.map(|(id, _)| id.clone()).collect();
    plan.statements = table(&wanted, held.engines[on], &there);
    plan.state = State::Missing;
    made.extend(wanted.enums);
    (plan, after)
}

/// An ENUM of this name with other labels.
fn clash<'a>(wanted: &Wanted, mut there: impl Iterator<Item = &'a (TableId, Vec<String>)>) -> Option<Note> {
    let (id, _) = there.find(|(id, labels)| {
        let is_other = |(own, other): &(TableId, Vec<String>)| own == id && other != labels;
        wanted.enums.iter().any(is_other)
    })?;
    Some(Note {
        code: Note::REFUSED,
        table: wanted.definition.table.id.clone(),
        what: format!("the table is not made: type {id} is there with other labels"),
        fix: format!("ALTER TYPE {id} RENAME TO another name, or make the table by hand"),
    })
}

/// Whose table is the truth.
fn origin(held: &Held<'_>, place: usize, on: usize, asked: Option<usize>) -> Option<usize> {
    let has = |node: &usize| *node != on && held.tables[*node][place].is_some();
    if asked.is_some() {
        return asked.filter(has);
    }
    let seed = match &held.spec.seed {
        Seed::From(name) => held.spec.nodes.iter().position(|node| node.name == *name),
        Seed::Union | Seed::None => None,
    };
    let all = 0..held.spec.nodes.len();
    seed.into_iter().chain(held.spec.hub).chain(all).find(has)
}

async fn execute(face: &Face, held: &mut Held<'_>, plan: &mut SyncPlan, options: &Options) -> Result<()> {
    let Some(on) = held.sync.nodes.iter().position(|node| node.name == options.on) else {
        return Err(Error::bug("find the node again"));
    };
    let mut made: Vec<String> = Vec::new();
    for table in plan
        .tables
        .iter_mut()
        .filter(|table| table.state == State::Missing)
    {
        let done = held.nodes[on].make(&table.statements).await;
        done.map_err(|failed| {
            failure(
                failed,
                &table.statements,
                &made,
                &format!("make table {}", table.table),
                &options.on,
            )
        })?;
        table.state = State::Made;
        made.push(table.table.clone());
        face.say(&format!("{}: {} made", options.on, table.table));
    }
    if !options.after_copy {
        return Ok(());
    }
    // One by one: a key that rows contradict leaves the others standing.
    let mut refused = Vec::new();
    for statement in &plan.after_copy {
        let words = render::cut(&plain(first_line(statement)), 100);
        match held.nodes[on].make(std::slice::from_ref(statement)).await {
            Ok(()) => made.push(words),
            Err((_, error)) => refused.push((words, error)),
        }
    }
    plan.after_copy_done = refused.is_empty();
    match refused.len() {
        0 => Ok(()),
        count => Err(all_refused(refused, count, &made, &options.on)),
    }
}

/// All that the server refused.
fn all_refused(mut refused: Vec<(String, Error)>, count: usize, made: &[String], node: &str) -> Error {
    let (words, error) = refused.remove(0);
    let others: Vec<String> = refused
        .iter()
        .map(|(words, error)| format!("at {words:?}: {error}"))
        .collect();
    let mut hint = String::new();
    if !others.is_empty() {
        hint = format!("refused too, {}. ", others.join(", "));
    }
    if let Some(first) = error.hint_text() {
        hint.push_str(&format!("{first}; "));
    }
    hint.push_str(&already(made));
    let what = render::count(count, "statement", "statements");
    Error::definite("make what comes after the first copy")
        .node(node)
        .reason(error.reason_kind())
        .why(format!("{what} refused, at {words:?}"))
        .hint(hint)
        .because(error)
}

fn already(made: &[String]) -> String {
    let already = match made {
        [] => "nothing is made so far".to_owned(),
        made => format!("already made: {}", made.join(", ")),
    };
    format!(
        "{already}. Mend what the server says, or make this one by hand, and run the same command again: it goes on with \
         what is missing"
    )
}

/// Which statement, why, what is there already, and that running it again goes on.
fn failure(
    (place, error): (usize, Error),
    statements: &[String],
    made: &[String],
    doing: &str,
    node: &str,
) -> Error {
    let statement = statements
        .get(place)
        .map_or("", |statement| first_line(statement));
    let hint = already(made);
    let hint = match error.hint_text() {
        Some(first) => format!("{first}; {hint}"),
        None => hint,
    };
    Error::definite(doing)
        .node(node)
        .reason(error.reason_kind())
        .why(format!("at {:?}", render::cut(&plain(statement), 100)))
        .hint(hint)
        .because(error)
}

fn next_steps(options: &Options, plans: &[SyncPlan]) -> Vec<String> {
    let sync = options
        .sync
        .as_ref()
        .map_or_else(String::new, |name| format!(" --sync {name}"));
    let from = options
        .from
        .as_ref()
        .map_or_else(String::new, |name| format!(" --from {name}"));
    let command = format!("tidelock schema create --on {}{from}{sync} --execute", options.on);
    let missing = plans
        .iter()
        .flat_map(|plan| &plan.tables)
        .any(|table| table.state == State::Missing);
    let after = plans
        .iter()
        .any(|plan| !plan.after_copy.is_empty() && !plan.after_copy_done);
    match (missing, after && options.execute) {
        (true, _) => vec![command],
        (false, true) => vec![
            format!("tidelock setup{sync} --execute"),
            format!("{command} --after-copy (after the first copy)"),
        ],
        (false, false) => vec![format!("tidelock schema diff{sync}")],
    }
}

/// SQL as `psql` and `mysql` take it; what there is to say stands in remarks.
fn text(held: &Held<'_>, plan: &SyncPlan) -> String {
    let Some(node) = held.spec.nodes.iter().position(|node| node.name == plan.node) else {
        return String::new();
    };
    let remark = |words: String| format!("-- {}", words.replace(['\n', '\r'], " "));
    let mut statements = vec![remark(format!(
        "tables of sync {}, node {}: to be run as their owner",
        plan.sync, plan.node
    ))];
    for table in &plan.tables {
        let state = match (table.state, &table.from) {
            (State::Exists, _) => "is there already, left as it is".to_owned(),
            (State::Missing | State::Made, Some(from)) => format!("as node {from} has it"),
            _ => "left out".to_owned(),
        };
        statements.push(remark(format!("{}: {state}", table.table)));
        for finding in table.findings.iter().filter(|finding| finding.level != Level::Ok) {
            statements.push(remark(format!(
                "{} {}: {}",
                finding.code, table.table, finding.what
            )));
        }
        statements.extend(table.statements.iter().cloned());
    }
    if !plan.after_copy.is_empty() {
        statements.push(remark(
            "after the first copy: next numbers, indexes, then foreign keys".to_owned(),
        ));
        statements.extend(plan.after_copy.iter().cloned());
    }
    held.nodes[node].script(&statements)
}
