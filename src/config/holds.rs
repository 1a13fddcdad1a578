//! Which of a hub's rows each spoke holds: `holds` of `[sync.table.NAME]`.
//!
//! Owns: what can be judged of it without a database. Refuses: conditions by which a spoke itself could say what it holds,
//! and whatever the simulation of `merge` has not shown to go together with it.

use super::build::Builder;
use super::file::TableFile;
use super::filters::sent;
use super::problem::Problem;
use super::rules;
use super::syncs::known_node;
use super::tables::Around;
use crate::mapping::holds::Holds;
use crate::mapping::owner::Owners;
use crate::mapping::values::ValueMap;
use crate::mapping::{ColumnMapping, Sent};
use crate::merge::offered;
use crate::model::rules::TableRules;
use crate::model::sync::Mode;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

type Conditions = BTreeMap<Spanned<String>, Spanned<String>>;

/// What else the section says.
pub(super) struct Beside<'a> {
    pub columns: &'a [ColumnMapping],
    pub rules: &'a TableRules,
    pub owners: &'a Owners,
    pub values: &'a [ValueMap],
    /// The stamps stand in a table of their own.
    pub beside: bool,
}

pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
    said: &Beside<'_>,
) -> Option<Holds> {
    let given = file.holds.as_ref()?;
    let place = given.span();
    if let Some((what, hint)) = refused(around, file, said) {
        builder.problem(Problem::new(what).hint(hint).at(place));
        return None;
    }
    let here = offered::Around {
        nodes: around.nodes.len(),
        hub: around.hub.and_then(|hub| Some(around.members.get(hub)?.1)),
        is_held: true,
        ..offered::Around::default()
    };
    rules::refuse(builder, said.rules, here, place.clone());
    let hub = hub(builder, around, given)?;
    let key = around.key(&format!("table.{table}.holds"));
    let mut by: Vec<Option<Sent>> = vec![None; around.nodes.len()];
    for (node, text) in given.get_ref() {
        let key = format!("{key}.{}", node.get_ref());
        builder.show(&key, text.get_ref(), Some(text.span()));
        let spoke = around.nodes.iter().position(|known| known == node.get_ref())?;
        let sent = sent(builder, text.get_ref(), text.span(), said.columns)?;
        let columns: Vec<String> = sent.condition.columns().into_iter().map(str::to_owned).collect();
        by[spoke] = Some(sent);
        for column in columns {
            refuse_column(builder, around.nodes, (hub, &column), said, text.span());
        }
    }
    refuse_unsaid(builder, around, (hub, &by), &place);
    refuse_seeder(builder, around, &around.nodes[hub]);
    refuse_rows(builder, &around.nodes[hub], hub, said.owners, place);
    Some(Holds { hub: Some(hub), by })
}

/// Where it has no place at all.
fn refused(around: &Around<'_>, file: &TableFile, said: &Beside<'_>) -> Option<(&'static str, &'static str)> {
    let is_union = |seed: &Spanned<String>| seed.get_ref() == "union";
    if around.mode != Some(Mode::Merge) {
        let hint = "one way a target gets the rows that where takes: use where = \"...\"";
        Some(("holds belongs to mode = \"merge\"", hint))
    } else if file.filter.is_some() {
        let hint = "holds says which of the hub's rows a spoke has, where which rows two nodes exchange: remove one of them";
        Some(("a table with holds and where", hint))
    } else if around.file.seed.as_ref().is_some_and(is_union) {
        let hint = "which rows there are is the hub's to say: use seed = \"from:HUB\", or \"none\" where the spokes hold \
                    theirs already";
        Some(("holds with seed = \"union\"", hint))
    } else if said.beside {
        let hint = "let setup put the stamps into the table: leave out stamps = \"beside\"";
        Some(("holds with stamps = \"beside\"", hint))
    } else if !file.external_id.is_empty() {
        let hint = "what is undone would take rows of a node's own along: remove one of them";
        Some(("holds with external_id", hint))
    } else {
        None
    }
}

/// Between two nodes it is the one without a condition.
fn hub(builder: &mut Builder<'_>, around: &Around<'_>, given: &Spanned<Conditions>) -> Option<usize> {
    let mut unknown = 0;
    for node in given.get_ref().keys() {
        let is_known = known_node(builder, node.get_ref(), node.span(), around.nodes);
        unknown += usize::from(!is_known);
    }
    if unknown > 0 {
        return None;
    }
    let is_named = |place: &usize| {
        let mut named = given.get_ref().keys();
        named.any(|node| *node.get_ref() == around.nodes[*place])
    };
    let unnamed = (0..around.nodes.len()).find(|place| !is_named(place));
    let hub = match around.hub {
        Some(hub) => Some(hub).filter(|hub| !is_named(hub)),
        None if around.nodes.len() == 2 && !given.get_ref().is_empty() => unnamed,
        // It has been told why there is none.
        None if around.nodes.len() > 2 => return None,
        None => None,
    };
    if hub.is_none() {
        let problem = Problem::new("holds leaves no node that has every row");
        let hint = "name the spokes alone: the hub, or the other one of two nodes, has all rows and says who holds them";
        builder.problem(problem.hint(hint).at(given.span()));
    }
    hub
}

/// A spoke could move rows to itself, and away.
fn refuse_column(
    builder: &mut Builder<'_>,
    nodes: &[String],
    (hub, column): (usize, &str),
    said: &Beside<'_>,
    place: Range<usize>,
) {
    let known = said.columns.iter().find(|known| known.name == column);
    let name = known.map_or(column, |known| known.names[hub].as_str());
    let mut owned = said.owners.columns.iter();
    if !owned.any(|owned| owned.owner == hub && owned.names[hub] == name) {
        let what = format!("holds reads column \"{column}\", which is not the hub's alone");
        let hint = format!(
            "who holds a row is for the hub to say: write column.{column} = {{ owner = \"{}\" }}",
            nodes[hub]
        );
        builder.problem(Problem::new(what).hint(hint).at(place.clone()));
    }
    let is_mapped = |map: &ValueMap| map.names.iter().any(|known| known == name);
    if said.values.iter().any(is_mapped) {
        let what = format!("holds reads column \"{column}\", whose values have other words on some nodes");
        let hint = "let the condition read a column that has the same values everywhere";
        builder.problem(Problem::new(what).hint(hint).at(place));
    }
}

/// Nobody gets all rows because nothing was said.
fn refuse_unsaid(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    (hub, by): (usize, &[Option<Sent>]),
    place: &Range<usize>,
) {
    let unsaid = |node: &usize| *node != hub && by[*node].is_none();
    let Some(node) = (0..by.len()).find(unsaid).map(|node| &around.nodes[node]) else {
        return;
    };
    let problem = Problem::new(format!("holds does not say which rows \"{node}\" has"));
    let hint = format!(
        "it has a condition for every spoke: {node} = \"TRUE\" has all rows, {node} = \"FALSE\" none"
    );
    builder.problem(problem.hint(hint).at(place.clone()));
}

/// With more than two nodes it is refused anyway.
fn refuse_seeder(builder: &mut Builder<'_>, around: &Around<'_>, hub: &str) {
    let Some(seed) = around.file.seed.as_ref().filter(|_| around.hub.is_none()) else {
        return;
    };
    let from = seed.get_ref().strip_prefix("from:");
    if from.is_some_and(|from| from != hub) {
        let problem = Problem::new(format!(
            "\"{hub}\" has every row, and seed copies from another node"
        ));
        let hint = format!("write seed = \"from:{hub}\", or \"none\" where the rows are there already");
        builder.problem(problem.hint(hint).at(seed.span()));
    }
}

fn refuse_rows(builder: &mut Builder<'_>, name: &str, hub: usize, owners: &Owners, place: Range<usize>) {
    if owners.inserts != Some(hub) {
        let problem = Problem::new("a table with holds in which not the hub alone makes rows");
        let hint =
            format!("a row of a spoke could be another spoke's already, unseen: write inserts = \"{name}\"");
        builder.problem(problem.hint(hint).at(place.clone()));
    }
    if owners.deletes.is_some_and(|owner| owner != hub) {
        let problem = Problem::new("a table with holds of which a spoke alone deletes rows");
        let hint = format!(
            "the spoke cannot delete what it does not hold: write deletes = \"{name}\", or leave it out"
        );
        builder.problem(problem.hint(hint).at(place));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::tests::read;

    fn with(sync: &str, section: &str) -> String {
        let nodes = ["portal", "a", "b"].map(|name| {
            format!("[node.{name}]\nurl = \"postgres://t@{name}.example/x?sslmode=verify-full\"\n")
        });
        format!(
            "version = 1\n{}[[sync]]\nname = \"s\"\n{sync}\ntables = [\"t\"]\n[sync.table.t]\n{section}\n",
            nodes.concat()
        )
    }

    const HUB: &str = "nodes = [\"portal\", \"a\", \"b\"]\nmode = \"merge\"\ntopology = \"hub:portal\"\nseed = \"from:portal\"";
    const PAIR: &str = "nodes = [\"portal\", \"a\"]\nmode = \"merge\"\nseed = \"from:portal\"";
    const OWNED: &str = "inserts = \"portal\"\ncolumn.lab = { owner = \"portal\" }\n";

    fn holds(sync: &str, holds: &str) -> std::sync::Arc<crate::mapping::Mapping> {
        let config = read(&with(sync, &format!("{OWNED}holds = {holds}"))).unwrap();
        config.syncs[0].spec.sections[0].mapping.clone()
    }

    #[test]
    fn a_second_spoke_changes_nothing_of_the_first() {
        let one = holds(PAIR, "{ a = \"lab = 'n'\" }");
        let two = holds(HUB, "{ b = \"lab = 's'\", a = \"lab = 'n'\" }");
        assert_eq!(two.holds.as_ref().unwrap().hub, Some(0));
        assert!(two.signatures(0, 3).contains(&one.signature_on(0, 2)));
        assert!(two.signatures(1, 3).contains(&one.signature_on(1, 2)));
        // Other rows would have to be copied.
        let other = holds(HUB, "{ b = \"lab = 's'\", a = \"lab = 'm'\" }");
        assert!(!other.signatures(1, 3).contains(&one.signature_on(1, 2)));
        assert!(other.signatures(2, 3).contains(&two.signature_on(2, 3)));
        assert_eq!(two.read_columns(0), ["lab"]);
        assert!(two.read_columns(1).is_empty(), "only the hub judges rows");
    }

    #[test]
    fn what_cannot_hold_is_told_where_it_stands() {
        let one = "holds = { a = \"lab = 'n'\" }";
        let owned = format!("{OWNED}{one}");
        let mesh = HUB.replace("hub:portal", "mesh");
        let one_way = "nodes = [\"portal\", \"a\"]\nmode = \"transactional\"\nfrom = \"portal\"\nseed = \"from:portal\"";
        for (sync, section, told) in [
            (one_way, one, "holds belongs to mode = \"merge\""),
            (&mesh, &owned, "holds in a mesh"),
            (
                HUB,
                &format!("{owned}\nwhere = \"lab = 'n'\""),
                "a table with holds and where",
            ),
            (
                &PAIR.replace("from:portal", "union"),
                &owned,
                "holds with seed = \"union\"",
            ),
            (
                &PAIR.replace("from:portal", "from:a"),
                &owned,
                "seed = \"from:portal\"",
            ),
            (
                HUB,
                &format!("{owned}\non_conflict = \"ask\""),
                "no rule but \"newest\"",
            ),
            (
                HUB,
                &format!("{OWNED}holds = {{ portal = \"lab = 'n'\" }}"),
                "leaves no node",
            ),
            (HUB, &owned, "b = \"TRUE\" has all rows"),
            (
                HUB,
                &format!("{OWNED}holds = {{ c = \"lab = 'n'\" }}"),
                "\"c\" is not one of",
            ),
            (
                HUB,
                &format!("inserts = \"portal\"\n{one}"),
                "column.lab = { owner = \"portal\" }",
            ),
            (
                HUB,
                &format!("inserts = \"portal\"\ncolumn.lab = {{ owner = \"b\" }}\n{one}"),
                "not the hub's alone",
            ),
            (
                HUB,
                &format!("column.lab = {{ owner = \"portal\" }}\n{one}"),
                "inserts = \"portal\"",
            ),
            (HUB, &format!("{owned}\ndeletes = \"a\""), "deletes = \"portal\""),
            (HUB, &format!("{OWNED}where = \"lab = 'n'\""), "holds = { lab_a"),
        ] {
            let rendered = read(&with(sync, section)).unwrap_err().rendered();
            assert!(rendered.contains(told), "{section}: {rendered}");
        }
    }
}
