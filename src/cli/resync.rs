//! `resync`: asks links to copy a table anew while everything else goes on.
//!
//! What it asks for is noted on each target; the copy of the program that runs the link does it, or the next one that runs.
//! It changes users' rows, so it is a plan unless `--execute`. `--from` limits who is read, and in a merge not who wins: the
//! plan says so, with what makes a node's rows win.
//! Fails: 5 where a link has not started or its first copy is not over.

mod condition;

use super::{Face, Schema, render, select};
use crate::ddl;
use crate::engine::Node;
use crate::error::{Error, Reason, Result};
use crate::flow::spec::LinkSpec;
use crate::flow::{self, anew, instance};
use crate::model::schema::TableId;
use crate::model::sync::Mode;
use serde::Serialize;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The table, as any node calls it
    #[arg(value_name = "TABLE", required_unless_present = "all", conflicts_with = "all")]
    table: Option<String>,
    /// Every table, from where the source's log ends now: the way back where a slot or a binlog is lost
    #[arg(long)]
    all: bool,
    /// Only rows that it takes on either side, written as a row filter of the configuration: n > 5 AND state = 'open'
    #[arg(long = "where", value_name = "EXPRESSION", conflicts_with = "all")]
    condition: Option<String>,
    /// Only this sync
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Only what this node has is brought to the others (two-way: by default each to each). It limits the direction: which
    /// of two versions of a row stands is decided as always
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// Do it
    #[arg(long)]
    execute: bool,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    executed: bool,
    copies: Vec<Copy>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
struct Copy {
    sync: String,
    link: String,
    /// As the source and the target call it.
    source_table: String,
    target_table: String,
    rows_estimated: Option<u64>,
    /// Only rows that it takes on either side are looked at.
    #[serde(rename = "where")]
    condition: Option<String>,
    /// What becomes of rows that only the target has.
    beyond: &'static str,
    /// Which of two versions of a row stands.
    decides: &'static str,
    /// The table stays marked as out of sync.
    stays_out_of_sync: bool,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let condition = options.condition.as_deref();
    if let Some(condition) = condition {
        condition::parse(condition)?;
    }
    let links = links(face, options).await?;
    let mut copies = Vec::with_capacity(links.len());
    for (link, places) in &links {
        for place in places {
            copies.push(look(link, *place, condition).await?);
        }
    }
    if options.execute {
        let operator = instance::operator();
        for (link, places) in &links {
            let mut target = Node::connect(&link.target.access, link.target.engine).await?;
            let tables = &link.target.tables;
            let tables: Vec<TableId> = places
                .iter()
                .filter_map(|place| tables.get(*place).cloned())
                .collect();
            target
                .ask_resync((&link.sync, &link.id), &tables, condition, &operator)
                .await?;
            target.close().await;
        }
    }
    let next_steps = match options.execute {
        true => vec!["tidelock status".to_owned()],
        false => vec![format!("tidelock resync {} --execute", arguments(options))],
    };
    if face.json {
        return face.document(&Document {
            schema: Schema,
            executed: options.execute,
            copies,
            next_steps,
        });
    }
    face.print(&told(&copies, options.execute));
    if options.from.is_some() {
        face.print(&limits(&links));
    }
    face.say(match options.execute {
        true => {
            "a running copy of the program begins within seconds; without one the next `tidelock run` does"
        }
        false => "nothing was changed: this is the plan",
    });
    face.next(&next_steps);
    Ok(())
}

fn arguments(options: &Options) -> String {
    let flag = |name: &str, value: &Option<String>| {
        let value = value.as_ref();
        value.map_or_else(String::new, |value| format!(" --{name} {value}"))
    };
    let condition = options.condition.as_ref();
    let condition = condition.map(|condition| format!("'{}'", condition.replace('\'', r"'\''")));
    let what = options
        .table
        .as_ref()
        .map_or_else(|| "--all".to_owned(), |table| format!("'{table}'"));
    what + &flag("where", &condition) + &flag("sync", &options.sync) + &flag("from", &options.from)
}

/// The links that are meant, with the places of the tables among theirs.
async fn links(face: &Face, options: &Options) -> Result<Vec<(Arc<LinkSpec>, Vec<usize>)>> {
    let config = face.load()?;
    let (mut found, mut first) = (Vec::new(), None);
    for sync in select(&config, options.sync.as_deref())? {
        // What all means is what can be copied anew.
        let is_all = options.table.is_none() && options.sync.is_none();
        if is_all && sync.spec.mode == Mode::Snapshot {
            continue;
        }
        let spec = flow::selected(&sync.spec).await?;
        for link in (0..spec.links.len()).map(|index| spec.link(index)) {
            if options
                .from
                .as_ref()
                .is_some_and(|from| *from != link.source.name)
            {
                continue;
            }
            let Some(table) = &options.table else {
                let all = (0..link.target.tables.len()).collect();
                found.push((link, all));
                continue;
            };
            match anew::place_of(&link, table) {
                Ok(place) => found.push((link, vec![place])),
                Err(error) => first = first.or(Some(error)),
            }
        }
    }
    match (found.is_empty(), first) {
        (false, _) => Ok(found),
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::definite(format!(
            "find a link from {}",
            options.from.as_deref().unwrap_or_default()
        ))
        .why("no sync runs from this node")
        .hint("`tidelock config show` lists the nodes of each sync")),
    }
}

async fn look(link: &LinkSpec, place: usize, condition: Option<&str>) -> Result<Copy> {
    let mut target = Node::connect(&link.target.access, link.target.engine).await?;
    let status = target.link_status(&link.sync, &link.id).await?;
    target.close().await;
    let refused = |why: &str, hint: &str| {
        Error::definite(format!("copy a table of link {} anew", link.full_name()))
            .node(&link.target.name)
            .reason(Reason::Refused)
            .why(why)
            .hint(hint)
    };
    if link.mode == Mode::Snapshot {
        return Err(refused(
            "each of its images brings every row",
            "tidelock run --once",
        ));
    }
    let has_started = status
        .checkpoint
        .as_ref()
        .is_some_and(|checkpoint| checkpoint.seq >= 0);
    if !has_started {
        return Err(refused(
            "the link has not started, or its first copy is not over",
            "`tidelock run` copies every table",
        ));
    }
    let (source, target) = (&link.source, &link.target);
    let (table, is_merge) = (&target.tables[place], link.is_merge());
    if let Some(condition) = condition {
        condition::refuse_unfit(link, place, condition).await?;
        condition::refuse_unfinished(link, table, condition, &status)?;
    }
    let mut lacking = status.out_of_sync.iter();
    let mut node = Node::connect(&source.access, source.engine).await?;
    let sizes = node.sizes(&source.tables[place..=place]).await?;
    node.close().await;
    Ok(Copy {
        sync: link.sync.clone(),
        link: link.id.clone(),
        source_table: source.tables[place].to_string(),
        target_table: table.to_string(),
        rows_estimated: sizes.first().copied().flatten().and_then(|size| size.rows),
        stays_out_of_sync: condition.is_some() && lacking.any(|lacks| lacks.table == *table),
        condition: condition.map(str::to_owned),
        beyond: match is_merge {
            true => "kept, unless the source has its delete",
            false => "deleted, with a record of it",
        },
        decides: match is_merge {
            true => "stamps",
            false => "source",
        },
    })
}

fn told(copies: &[Copy], executed: bool) -> String {
    let deed = if executed { "copies" } else { "would copy" };
    let mut out = String::new();
    for copy in copies {
        let rows = copy.rows_estimated.map_or_else(
            || "an unknown number of rows".to_owned(),
            |rows| format!("~{rows} rows"),
        );
        let of = match &copy.condition {
            Some(condition) => format!("rows of {rows} where {}", render::plain(condition)),
            None => rows,
        };
        out.push_str(&format!(
            "{} {}: {deed} {} to {}, {of}; rows that only the target has are {}\n",
            render::plain(&copy.sync),
            render::plain(&copy.link),
            render::plain(&copy.source_table),
            render::plain(&copy.target_table),
            copy.beyond
        ));
        if copy.stays_out_of_sync {
            let table = render::plain(&copy.target_table);
            out.push_str(&format!(
                "  {table} stays marked as out of sync: only a copy of all its rows can tell\n"
            ));
        }
    }
    if copies.iter().any(|copy| copy.condition.is_some()) {
        out.push_str("  a row is looked at where the condition takes it at the source or at the target; all others stay as they are\n");
    }
    out.push_str("  the table waits meanwhile, and catches up then; all others go on\n");
    out
}

/// What `--from` does not do, and what does.
fn limits(links: &[(Arc<LinkSpec>, Vec<usize>)]) -> String {
    let mut out = String::new();
    for (link, places) in links.iter().filter(|(link, _)| link.is_merge()) {
        let (source, target) = (&link.source, &link.target);
        let (from, to) = (render::plain(&source.name), render::plain(&target.name));
        out.push_str(&format!(
            "  --from limits the direction: rows of {from} are brought to {to}, and none of {to} to {from}. It does not make \
             them win: where both have a row the greater version stays, whichever node wrote it\n  to have a row of {from} \
             win on every node: `tidelock conflicts override NAME --take {from} --execute`, if it is in a conflict on record\n"
        ));
        for place in places {
            let passage = link.passage(&source.tables[*place]);
            if passage.mapping().beside {
                continue;
            }
            out.push_str(&format!(
                "  else raise its version there above all of {to}, and it goes out like any UPDATE. On {to}: SELECT \
                 max(tidelock_version) FROM {}; on {from}, with that number as N: UPDATE {} SET tidelock_version = N + 1 WHERE \
                 ...; (a rule of the table that is not the order of versions decides such an UPDATE too)\n",
                ddl::table_name(&target.tables[*place], target.engine),
                ddl::table_name(&source.tables[*place], source.engine),
            ));
        }
    }
    out
}
