//! Rows that nodes know by other keys: `external_id` and `match_on` of `[sync.table.NAME]`.
//!
//! Owns: what can be judged without a database, and what it means for the columns: the one that holds the others' key is
//! their key, and the node's own key `id` stays behind. Refuses: more than one column, every node without a key of its
//! own, and what such a table cannot have beside it.

use super::build::Builder;
use super::file::TableFile;
use super::problem::Problem;
use super::syncs::known_node;
use super::tables::{Around, names};
use crate::mapping::ColumnMapping;
use crate::mapping::owner::Owners;
use crate::model::sync::{Mode, ORIGIN_COLUMN, VERSION_COLUMN};

/// What a key is called where nothing else is said.
const ID: &str = "id";

/// By node; empty where no node has one.
pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
    columns: &mut Vec<ColumnMapping>,
) -> Vec<Option<String>> {
    let mut external: Vec<Option<String>> = vec![None; around.nodes.len()];
    let mut given: Vec<_> = file.external_id.iter().collect();
    given.sort_by_key(|(node, _)| node.span().start);
    for (node, column) in &given {
        let (node, name) = (*node, column.get_ref());
        let key = around.key(&format!("table.{table}.external_id.{}", node.get_ref()));
        builder.show(&key, name, Some(column.span()));
        if name.is_empty() || [VERSION_COLUMN, ORIGIN_COLUMN].contains(&name.as_str()) {
            let problem = Problem::new(format!("\"{name}\" cannot hold an external id"));
            builder.problem(
                problem
                    .hint("name the column that holds the other side's key")
                    .at(column.span()),
            );
        }
        if known_node(builder, node.get_ref(), node.span(), around.nodes)
            && let Some(place) = around.node(node.get_ref())
        {
            external[place] = Some(name.clone());
        }
    }
    let Some((first, _)) = given.first() else {
        return Vec::new();
    };
    if around.mode == Some(Mode::Snapshot) {
        let problem = Problem::new("external_id in mode = \"snapshot\"");
        let hint = "an image replaces whole tables, and rows of a node's own with it: use another mode";
        builder.problem(problem.hint(hint).at(first.span()));
    }
    if around.hub.is_some() {
        let problem = Problem::new("external_id in a sync with a hub");
        let hint = "a key that changes would reach the other spokes as a delete and an insert, and their rows lose their own \
                    keys: use a mesh, or two nodes";
        builder.problem(problem.hint(hint).at(first.span()));
    }
    if external.iter().all(Option::is_some) {
        let problem = Problem::new("every node has an external_id");
        let hint = "it is another node's key: at least one node is known by its own primary key";
        builder.problem(problem.hint(hint).at(first.span()));
        return external;
    }
    let names = keyed(around, file, &external, columns);
    own(around, &external, &names, columns);
    for column in columns.iter().filter(|column| column.skip) {
        let is_it = |place: usize| external[place].as_ref() == column.names.get(place);
        if let Some(place) = (0..external.len()).find(|place| external[*place].is_some() && is_it(*place)) {
            let what = format!(
                "\"{}\" is external_id on \"{}\" and skipped",
                column.name, around.nodes[place]
            );
            let problem = Problem::new(what).hint("it names the rows: take it out of skip");
            builder.problem(problem.at(first.span()));
        }
    }
    external
}

/// The column that is the key: by node.
fn keyed(
    around: &Around<'_>,
    file: &TableFile,
    external: &[Option<String>],
    columns: &mut Vec<ColumnMapping>,
) -> Vec<String> {
    let is_key = |names: &[String]| {
        let mut both = names.iter().zip(external);
        both.any(|(name, external)| external.as_ref() == Some(name))
    };
    // Under one name everywhere it needs no mapping, and is said by a section of its own.
    let plain = file
        .column
        .iter()
        .map(|(name, words)| names(around, name.get_ref(), words.get_ref()));
    let plain = plain.into_iter().find(|names| is_key(names));
    let at = columns
        .iter()
        .position(|column| !column.skip && is_key(&column.names));
    let at = at.or_else(|| {
        columns
            .iter()
            .position(|column| !column.skip && column.name == ID)
    });
    let mut key = match (at, plain) {
        (Some(at), _) => columns.remove(at),
        (None, Some(names)) => return names,
        (None, None) => ColumnMapping {
            name: ID.to_owned(),
            names: vec![ID.to_owned(); external.len()],
            skip: false,
        },
    };
    for (name, external) in key.names.iter_mut().zip(external) {
        if let Some(external) = external {
            name.clone_from(external);
        }
    }
    let names = key.names.clone();
    columns.insert(0, key);
    names
}

/// Each such node's own key stays behind, where it is called as most are; other names the section says.
fn own(around: &Around<'_>, external: &[Option<String>], key: &[String], columns: &mut Vec<ColumnMapping>) {
    for (place, node) in around.nodes.iter().enumerate() {
        let is_said = columns.iter().any(|column| column.names[place] == ID);
        if external[place].is_none() || is_said || key[place] == ID {
            continue;
        }
        let mut names = key.to_vec();
        ID.clone_into(&mut names[place]);
        columns.push(ColumnMapping {
            name: format!("{node}.{ID}"),
            names,
            skip: true,
        });
    }
}

/// What such a table cannot have beside it.
pub(super) fn refuse(
    builder: &mut Builder<'_>,
    file: &TableFile,
    (beside, split): (bool, bool),
    owners: &Owners,
    external: &[Option<String>],
) {
    let Some((first, _)) = file.external_id.first_key_value() else {
        return;
    };
    let is_foreign = |owner: Option<usize>| {
        owner.is_some_and(|owner| (0..external.len()).any(|node| node != owner && external[node].is_some()))
    };
    for (owner, key) in [(owners.inserts, "inserts"), (owners.deletes, "deletes")] {
        if is_foreign(owner) {
            let what = format!("external_id and {key} of another node in one table");
            let hint = "what is undone takes that node's own row along: leave one of the two out";
            builder.problem(Problem::new(what).hint(hint).at(first.span()));
        }
    }
    let told = [
        (
            beside,
            "stamps = \"beside\"",
            "its stamps stand under the key, which rows without an external id lack",
        ),
        (
            split,
            "ids = \"split\"",
            "each node numbers its own rows: nothing can meet",
        ),
    ];
    for (is_so, what, hint) in told {
        if is_so {
            let problem = Problem::new(format!("external_id and {what} in one table"));
            builder.problem(
                problem
                    .hint(format!("{hint}; remove one of the two"))
                    .at(first.span()),
            );
        }
    }
}

pub(super) fn match_on(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
    external: &[Option<String>],
) -> Vec<String> {
    let Some(first) = file.match_on.first() else {
        return Vec::new();
    };
    let columns: Vec<String> = file.match_on.iter().map(|name| name.get_ref().clone()).collect();
    builder.show(
        &around.key(&format!("table.{table}.match_on")),
        columns.join(", "),
        Some(first.span()),
    );
    let seed = around.file.seed.as_ref().map(|seed| seed.get_ref().as_str());
    let wrong = match () {
        () if external.is_empty() => Some((
            "match_on without external_id",
            "it says by which columns rows get the other side's key: name the column that takes it, external_id = { NODE = \"COLUMN\" }",
        )),
        () if around.nodes.len() != 2 => Some((
            "match_on in a sync of more than two nodes",
            "it pairs the rows of two: pair them in a sync of two nodes, or write the keys yourself before the seed",
        )),
        () if seed != Some("union") => Some((
            "match_on without seed = \"union\"",
            "rows that are paired are on both sides, and only a union takes such: set seed = \"union\" (mode = \"merge\")",
        )),
        () => None,
    };
    if let Some((what, hint)) = wrong {
        builder.problem(Problem::new(what).hint(hint).at(first.span()));
    }
    for name in &file.match_on {
        let is_key = external.iter().flatten().any(|column| column == name.get_ref());
        if is_key || name.get_ref() == ID {
            let problem = Problem::new(format!("match_on by \"{}\", the key itself", name.get_ref()));
            builder.problem(
                problem
                    .hint("name columns that both sides fill: an e-mail address, a number")
                    .at(name.span()),
            );
        }
        if file
            .skip
            .iter()
            .any(|skipped| skipped.get_ref() == name.get_ref())
        {
            let problem = Problem::new(format!("match_on by \"{}\", which is skipped", name.get_ref()));
            builder.problem(
                problem
                    .hint("what stays behind cannot be compared: remove one of the two")
                    .at(name.span()),
            );
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::config::tests::read;

    fn with(nodes: &str, rest: &str, section: &str) -> String {
        format!(
            "version = 1\n[node.crm]\nurl = \"postgres://t@a.example/x?sslmode=verify-full\"\n\
             [node.shop]\nurl = \"mysql://t@b.example/x?ssl-mode=VERIFY_IDENTITY\"\n\
             [node.desk]\nurl = \"mysql://t@c.example/x?ssl-mode=VERIFY_IDENTITY\"\n\
             [[sync]]\nname = \"s\"\nnodes = [{nodes}]\n{rest}\ntables = [\"contacts\"]\n\
             [sync.table.contacts]\nnames = {{ shop = \"customers\" }}\n{section}\n"
        )
    }

    const TWO: &str = "\"crm\", \"shop\"";
    const THREE: &str = "\"crm\", \"shop\", \"desk\"";
    const UNION: &str = "mode = \"merge\"\nseed = \"union\"";
    const ID: &str = "external_id = { shop = \"crm_id\" }";

    #[test]
    fn the_column_is_the_others_key_and_the_own_key_stays() {
        let config = read(&with(TWO, UNION, ID)).unwrap();
        let mapping = &config.syncs[0].spec.sections[0].mapping;
        assert_eq!(mapping.external, [None, Some("crm_id".to_owned())]);
        assert_eq!(mapping.name_on(1, "id"), "crm_id");
        assert_eq!(
            (mapping.skipped(0).len(), mapping.skipped(1)),
            (0, vec!["id".to_owned()])
        );
        let node = &config.syncs[0].spec.nodes[1];
        assert_eq!(node.external.values().collect::<Vec<_>>(), ["crm_id"]);

        // Keys of other names.
        let section = format!("{ID}\ncolumn.contact_id = {{ shop = \"crm_id\" }}\nskip = [\"customer_no\"]");
        let config = read(&with(TWO, UNION, &section)).unwrap();
        let mapping = &config.syncs[0].spec.sections[0].mapping;
        assert_eq!(mapping.name_on(1, "contact_id"), "crm_id");
        assert_eq!(mapping.skipped(1), ["customer_no", "id"]);
        // One name on both sides.
        let section = format!("{ID}\ncolumn.crm_id = {{ shop = \"crm_id\" }}");
        let config = read(&with(TWO, UNION, &section)).unwrap();
        let mapping = &config.syncs[0].spec.sections[0].mapping;
        assert_eq!(
            (mapping.name_on(0, "crm_id"), mapping.columns.len()),
            ("crm_id", 1)
        );
    }

    #[test]
    fn other_keys_are_another_set_up() {
        let signature = |section: &str| {
            let config = read(&with(TWO, UNION, section)).unwrap();
            config.syncs[0].spec.sections[0].mapping.signature()
        };
        let plain = "column.id = { shop = \"crm_id\" }";
        assert_ne!(signature(ID), signature(plain));
        assert_eq!(
            signature(ID),
            signature(&format!("{ID}\nmatch_on = [\"email\"]")),
            "it matters once"
        );
    }

    /// Each: the nodes, what the sync says, the section, and what is told of it.
    fn refused(cases: &[(&str, &str, String, &str)]) {
        for (nodes, rest, section, told) in cases {
            let text = with(nodes, rest, section);
            let refused = read(&text).map(|_| ()).unwrap_err().rendered();
            assert!(refused.contains(told), "{section}: {refused}");
            assert!(refused.contains('^'), "with its place: {refused}");
        }
    }

    const FROM: &str = "mode = \"merge\"\nseed = \"from:crm\"";

    #[test]
    fn what_cannot_name_rows_is_told_where_it_stands() {
        let id = |more: &str| format!("{ID}\n{more}");
        let columns = |columns: &str| format!("external_id = {{ {columns} }}");
        let snapshot = "mode = \"snapshot\"\nfrom = \"crm\"\nevery = \"15m\"";
        let hub = format!("{FROM}\ntopology = \"hub:crm\"");
        let beside = "external_id and stamps = \"beside\" in one table";
        let split = "external_id and ids = \"split\" in one table";
        let inserts = "external_id and inserts of another node in one table";
        let deletes = "external_id and deletes of another node in one table";
        refused(&[
            (
                TWO,
                UNION,
                columns("shpo = \"crm_id\""),
                "\"shpo\" is not one of this sync's nodes",
            ),
            (TWO, UNION, columns("shop = [\"a\", \"b\"]"), "expected a string"),
            (
                TWO,
                UNION,
                columns("shop = \"tidelock_version\""),
                "cannot hold an external id",
            ),
            (
                TWO,
                UNION,
                columns("shop = \"a\", crm = \"b\""),
                "every node has an external_id",
            ),
            (
                TWO,
                UNION,
                id("skip = [\"crm_id\"]"),
                "is external_id on \"shop\" and skipped",
            ),
            (TWO, FROM, id("stamps = \"beside\""), beside),
            (TWO, UNION, id("ids = \"split\""), split),
            (TWO, snapshot, id(""), "external_id in mode = \"snapshot\""),
            (THREE, &hub, id(""), "external_id in a sync with a hub"),
            (TWO, UNION, id("inserts = \"crm\""), inserts),
            (TWO, UNION, id("deletes = \"crm\""), deletes),
            (
                TWO,
                FROM,
                id("inserts = \"crm\"\ncolumn.lab = { owner = \"crm\" }\nholds = { shop = \"lab = 'n'\" }"),
                "holds with external_id",
            ),
        ]);
        // What the node with the external id owns is undone elsewhere, where the key is the row's own.
        let owned = id("inserts = \"shop\"\ndeletes = \"shop\"");
        assert!(read(&with(TWO, UNION, &owned)).is_ok(), "{owned}");
    }

    #[test]
    fn what_cannot_be_matched_is_told_where_it_stands() {
        let matched = |by: &str| format!("{ID}\nmatch_on = [\"{by}\"]");
        let mesh = format!("{UNION}\ntopology = \"mesh\"");
        let skipped = format!("{}\nskip = [\"email\"]", matched("email"));
        let alone = "match_on = [\"email\"]".to_owned();
        refused(&[
            (TWO, UNION, alone, "match_on without external_id"),
            (TWO, FROM, matched("email"), "match_on without seed = \"union\""),
            (
                THREE,
                &mesh,
                matched("email"),
                "match_on in a sync of more than two nodes",
            ),
            (TWO, UNION, matched("id"), "match_on by \"id\", the key itself"),
            (TWO, UNION, skipped, "match_on by \"email\", which is skipped"),
        ]);
    }
}
