//! Who has a link to whom: two nodes, one source and its targets, a hub and its spokes, a mesh.
//!
//! Owns: `topology`, and what is not offered for three and more nodes, each with the reason. Refuses: fewer than two
//! nodes, three without a topology.

use super::build::Builder;
use super::file::{SyncFile, TableFile, Word};
use super::problem::Problem;
use super::syncs::known_node;
use crate::flow::spec::Seed;
use crate::model::sync::Mode;
use toml::Spanned;

#[derive(Debug)]
pub(super) struct Topology {
    /// Source and target of each link, by their places in `nodes`.
    pub links: Vec<(usize, usize)>,
    pub hub: Option<usize>,
}

/// `None` when a problem was noted. `from`: the source of a transactional sync.
pub(super) fn build(
    builder: &mut Builder<'_>,
    file: &SyncFile,
    mode: Option<Mode>,
    from: Option<&str>,
    nodes: &[String],
) -> Option<Topology> {
    let place = |name: &str| nodes.iter().position(|node| node == name);
    if let Some(given) = &file.topology {
        let key = format!("sync.{}.topology", file.name.get_ref());
        builder.show(&key, given.get_ref(), Some(given.span()));
    }
    if nodes.len() < 2 {
        builder.problem(
            Problem::new(format!(
                "a sync joins two nodes or more, here are {}",
                nodes.len()
            ))
            .hint("write nodes = [\"a\", \"b\"]")
            .at(file.nodes.span()),
        );
        return None;
    }
    let wanted = mode? == Mode::Merge && nodes.len() > 2;
    match (&file.topology, wanted) {
        (None, true) => {
            let hint = format!(
                "topology = \"hub:{}\": the others have links with that node alone, which passes on what each wrote; \
                 topology = \"mesh\": every node has a link to every other",
                nodes[0]
            );
            let problem = Problem::new(format!("a merge sync of {} nodes needs a topology", nodes.len()));
            builder.problem(problem.hint(hint).at(file.nodes.span()));
            None
        }
        (Some(given), true) => {
            let topology = of_many(builder, given, nodes)?;
            refuse_unoffered(builder, file, topology.hub.map(|hub| nodes[hub].as_str()));
            Some(topology)
        }
        (Some(given), false) => {
            let (what, hint) = match mode? {
                Mode::Merge => (
                    "topology is for three and more nodes",
                    "remove it: two nodes have a link each way",
                ),
                Mode::Transactional | Mode::Snapshot => (
                    "topology belongs to mode = \"merge\"",
                    "remove it: one way from has a link to each of the others",
                ),
            };
            builder.problem(Problem::new(what).hint(hint).at(given.span()));
            None
        }
        (None, false) => {
            let links = match from {
                Some(from) => {
                    let source = place(from)?;
                    let targets = (0..nodes.len()).filter(|target| *target != source);
                    targets.map(|target| (source, target)).collect()
                }
                None => vec![(0, 1), (1, 0)],
            };
            Some(Topology { links, hub: None })
        }
    }
}

fn of_many(builder: &mut Builder<'_>, given: &Spanned<String>, nodes: &[String]) -> Option<Topology> {
    let both_ways = |one: usize, other: usize| [(one, other), (other, one)];
    if given.get_ref() == "mesh" {
        let pairs = (0..nodes.len()).flat_map(|one| (one + 1..nodes.len()).map(move |other| (one, other)));
        return Some(Topology {
            links: pairs.flat_map(|(one, other)| both_ways(one, other)).collect(),
            hub: None,
        });
    }
    let Some(name) = given.get_ref().strip_prefix("hub:") else {
        let word = given.get_ref().split(':').next().unwrap_or_default();
        builder.problem(
            Problem::new(format!("unknown topology \"{}\"", given.get_ref()))
                .hint(format!("topology = \"hub:{}\" or topology = \"mesh\"", nodes[0]))
                .nearest(word, ["mesh", "hub:NODE"])
                .at(given.span()),
        );
        return None;
    };
    if !known_node(builder, name, given.span(), nodes) {
        return None;
    }
    let hub = nodes.iter().position(|node| node == name)?;
    let spokes = (0..nodes.len()).filter(|node| *node != hub);
    Some(Topology {
        links: spokes.flat_map(|spoke| both_ways(hub, spoke)).collect(),
        hub: Some(hub),
    })
}

/// What loses nothing between two nodes only.
fn refuse_unoffered(builder: &mut Builder<'_>, file: &SyncFile, hub: Option<&str>) {
    for table in file.table.values() {
        if let (Some(hub), Some(span)) = (hub, skipped(table)) {
            let problem = Problem::new("a skipped column in a sync with a hub");
            builder.problem(
                problem
                    .hint(format!(
                        "a row that changes its key reaches the other nodes through \"{hub}\" as a delete and an insert, \
                         and what they keep in a column of their own would be lost with it: use topology = \"mesh\", or \
                         keep that column in a table of its own"
                    ))
                    .at(span),
            );
        }
    }
}

fn skipped(table: &TableFile) -> Option<std::ops::Range<usize>> {
    let said = table.column.values().find_map(|words| {
        let skip = |(key, word): (&Spanned<String>, &Spanned<Word>)| {
            let is_skip = key.get_ref() == "skip" && matches!(word.get_ref(), Word::Bool(true));
            is_skip.then(|| key.span())
        };
        words.get_ref().iter().find_map(skip)
    });
    said.or_else(|| table.skip.first().map(Spanned::span))
}

/// Each side's rows are stamped as its own and meet the other's by those stamps.
pub(super) fn refuse_union(
    builder: &mut Builder<'_>,
    (file, given): (&SyncFile, &Spanned<String>),
    mode: Option<Mode>,
) {
    let (what, hint) = if mode == Some(Mode::Transactional) {
        (
            "seed = \"union\" belongs to mode = \"merge\"",
            "one way the source is the truth: empty the target and write seed = \"from:NODE\"",
        )
    } else if file.nodes.get_ref().len() > 2 {
        (
            "seed = \"union\" is offered between two nodes",
            "unite two of them first; then add the third, empty, in a sync with seed = \"from:NODE\"",
        )
    } else {
        return;
    };
    builder.problem(Problem::new(what).hint(hint).at(given.span()));
}

/// The first copy goes along links: a hub's spokes have one from the hub alone.
pub(super) fn refuse_seeder(
    builder: &mut Builder<'_>,
    given: &Spanned<String>,
    seed: Option<&Seed>,
    topology: &Topology,
    nodes: &[String],
) {
    let (Some(hub), Some(Seed::From(name))) = (topology.hub.map(|hub| &nodes[hub]), seed) else {
        return;
    };
    if name != hub {
        let what = format!("seed copies from \"{name}\", and only the hub \"{hub}\" has links to all others");
        let hint = format!("write seed = \"from:{hub}\" or seed = \"none\"; or make \"{name}\" the hub");
        builder.problem(Problem::new(what).hint(hint).at(given.span()));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{bad, but, good};

    /// The usual file with a third node, and these lines behind `mode`.
    fn three(lines: &str) -> String {
        let third = "[node.third]\nurl = \"postgres://tidelock@third.example/shop\"\npassword_env = \"X\"\n";
        let nodes = but("[\"pg\", \"my\"]", "[\"pg\", \"my\", \"third\"]");
        let text = nodes.replace("mode = \"merge\"", &format!("mode = \"merge\"\n{lines}"));
        text.replace("[node.my]", &format!("{third}[node.my]"))
    }

    fn links(text: &str) -> (Vec<String>, Option<usize>) {
        let config = good(text);
        let sync = &config.syncs[0];
        (
            sync.links().into_iter().map(|link| link.id.clone()).collect(),
            sync.spec.hub,
        )
    }

    #[test]
    fn links_follow_the_topology() {
        let hub = ["pg->my", "my->pg", "pg->third", "third->pg"].map(str::to_owned);
        assert_eq!(links(&three("topology = \"hub:pg\"")), (hub.to_vec(), Some(0)));
        let mesh = [&hub[..], &["my->third", "third->my"].map(str::to_owned)].concat();
        assert_eq!(links(&three("topology = \"mesh\"")), (mesh, None));
        let spoke = three("topology = \"hub:my\"").replace("from:pg", "from:my");
        assert_eq!(links(&spoke).1, Some(1));
        let fan = three("from = \"pg\"").replace("mode = \"merge\"", "mode = \"transactional\"");
        assert_eq!(links(&fan).0, ["pg->my", "pg->third"]);
    }

    #[test]
    fn a_link_from_the_hub_passes_on_and_no_other_does() {
        let config = good(&three("topology = \"hub:pg\""));
        let spec = &config.syncs[0].spec;
        let onward: Vec<_> = (0..spec.links.len())
            .map(|index| spec.link(index).onward)
            .collect();
        assert_eq!(onward, [Some(2), None, Some(3), None]);
        let is_hub: Vec<bool> = (0..3).map(|node| spec.scope(node).is_hub).collect();
        assert_eq!(is_hub, [true, false, false]);
        assert_eq!(spec.pairs().collect::<Vec<_>>(), [(0, 1), (0, 2)]);
    }

    #[test]
    fn what_three_nodes_do_not_have_is_refused_with_the_reason() {
        let hub = |more: &str| format!("{}\n{more}", three("topology = \"hub:pg\""));
        let mesh = |more: &str| format!("{}\n{more}", three("topology = \"mesh\""));
        for (text, expected) in [
            (three(""), "a merge sync of 3 nodes needs a topology"),
            (three("topology = \"hubb:pg\""), "unknown topology \"hubb:pg\""),
            (three("topology = \"ring\""), "unknown topology \"ring\""),
            (
                three("topology = \"hub:pq\""),
                "\"pq\" is not one of this sync's nodes",
            ),
            (
                three("topology = \"hub:my\""),
                "only the hub \"my\" has links to all others",
            ),
            (
                but("mode = \"merge\"", "mode = \"merge\"\ntopology = \"mesh\""),
                "topology is for three and more nodes",
            ),
            (
                three("from = \"pg\"\ntopology = \"mesh\"")
                    .replace("mode = \"merge\"", "mode = \"transactional\""),
                "topology belongs to mode = \"merge\"",
            ),
            (
                mesh("[sync.table.customers]\nwhere = \"id > 1\""),
                "where in a merge of three and more nodes",
            ),
            (
                hub("[sync.table.customers]\ncolumn.a = { skip = true }"),
                "a skipped column in a sync with a hub",
            ),
            (
                hub("[sync.table.customers]\nskip = [\"a\"]"),
                "a skipped column in a sync with a hub",
            ),
        ] {
            let message = bad(&text);
            assert!(message.contains(expected), "{expected}: {message}");
        }
        good(&mesh("[sync.table.customers]\nskip = [\"a\"]"));
    }
}
