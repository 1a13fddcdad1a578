//! Who numbers new rows: `ids` of a sync and of its tables.
//!
//! Owns: what can be judged without a database. Refuses: splitting where only one node is written to. Which tables have
//! keys that the server counts, `setup` asks the databases.

use super::build::Builder;
use super::file::{TableFile, Text};
use super::problem::Problem;
use super::tables::Around;
use crate::model::sync::Mode;

/// Of tables that say nothing else: does every node give its new rows numbers of its own?
pub(super) fn general(builder: &mut Builder<'_>, around: &Around<'_>) -> bool {
    let key = around.key("ids");
    let said = said(builder, around, &key, &around.file.ids);
    if said.is_none() && around.mode == Some(Mode::Merge) {
        builder.show(&key, "same", None);
    }
    said.unwrap_or(false)
}

pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    name: &str,
    file: &TableFile,
    general: bool,
) -> bool {
    let key = around.key(&format!("table.{name}.ids"));
    said(builder, around, &key, &file.ids).unwrap_or(general)
}

fn said(builder: &mut Builder<'_>, around: &Around<'_>, key: &str, given: &Text) -> Option<bool> {
    let given = given.as_ref()?;
    builder.show(key, given.get_ref(), Some(given.span()));
    let problem = match given.get_ref().as_str() {
        "same" => return Some(false),
        "split" if around.mode.is_some_and(Mode::is_one_way) => {
            Problem::new("ids = \"split\" belongs to mode = \"merge\"")
                .hint("remove it: one way one node numbers the rows")
        }
        "split" => return Some(true),
        other => Problem::new(format!("unknown ids \"{other}\""))
            .hint(
                "\"same\": counters are left alone; \"split\": every node gives its new rows numbers of its own",
            )
            .nearest(other, ["same", "split"]),
    };
    builder.problem(problem.at(given.span()));
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Config, Environment, parse};
    use crate::install::config_hash;
    use std::path::Path;

    const TEXT: &str = r#"version = 1
[node.pg]
url = "postgres://a@127.0.0.1/shop"
[node.my]
url = "mysql://a@127.0.0.1/shop"
[[sync]]
name = "shop"
nodes = ["pg", "my"]
mode = "merge"
tables = ["customers", "orders"]
seed = "from:pg"
"#;

    fn read(text: &str) -> Result<Config, String> {
        parse(text, Path::new("t.toml"), &Environment::default()).map_err(|failure| failure.rendered())
    }

    fn split(more: &str) -> Vec<bool> {
        let config = read(&format!("{TEXT}{more}\n")).unwrap();
        let spec = &config.syncs[0].spec;
        spec.mappings.iter().map(|(_, mapping)| mapping.split).collect()
    }

    #[test]
    fn a_table_has_its_own_word_or_the_syncs() {
        assert_eq!(split(""), [false, false]);
        assert_eq!(split("ids = \"split\""), [true, true]);
        assert_eq!(
            split("ids = \"split\"\n[sync.table.orders]\nids = \"same\""),
            [true, false]
        );
        assert_eq!(
            split("ids = \"split\"\n[sync.table.orders]\nskip = [\"x\"]"),
            [true, true]
        );
        assert_eq!(split("[sync.table.orders]\nids = \"split\""), [false, true]);
    }

    #[test]
    fn every_node_has_its_own_class() {
        let config = read(&format!("{TEXT}ids = \"split\"\n")).unwrap();
        let spec = &config.syncs[0].spec;
        let numbers = |node| spec.scope(node).mapped[0].numbers.unwrap();
        assert_eq!((numbers(0).class, numbers(1).class), (1, 2));
        assert_eq!((numbers(0).step, numbers(1).step), (4, 4));
    }

    #[test]
    fn the_hash_follows_it_and_consent_and_the_default_changes_none() {
        let hash = |more: &str| {
            let config = read(&format!("{TEXT}{more}\n")).unwrap();
            config.syncs[0].spec.config_hash.clone()
        };
        assert_eq!(hash(""), hash("ids = \"same\""));
        let changed = config_hash::changed(&hash(""), &hash("ids = \"split\""));
        assert_eq!(changed, "mode or ids");
        let (all, one) = (
            hash("ids = \"split\""),
            hash("ids = \"split\"\n[sync.table.orders]\nids = \"same\""),
        );
        assert!(!config_hash::is_same(&all, &one));
        let lossy = TEXT.replace("\"merge\"", "\"transactional\"\nfrom = \"pg\"");
        let of = |more: &str| {
            let config = read(&format!("{lossy}{more}")).unwrap();
            config.syncs[0].spec.config_hash.clone()
        };
        let changed =
            config_hash::changed(&of(""), &of("[sync.table.orders]\ncolumn.n = { lossy = true }\n"));
        assert_eq!(changed, "sections [sync.table]");
    }

    #[test]
    fn what_is_none_is_refused_where_it_stands() {
        let refused = read(&format!("{TEXT}ids = \"splot\"\n")).map(|_| ()).unwrap_err();
        assert!(refused.contains("did you mean \"split\""), "{refused}");
        let one_way = TEXT.replace("\"merge\"", "\"transactional\"\nfrom = \"pg\"") + "ids = \"split\"\n";
        let refused = read(&one_way).map(|_| ()).unwrap_err();
        assert!(refused.contains("belongs to mode = \"merge\""), "{refused}");
    }
}
