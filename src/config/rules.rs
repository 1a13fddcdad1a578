//! The rules of a sync and of its tables: who wins, and which node writes what the order of stamps does not give.
//!
//! Owns: `on_conflict`, `on_delete_conflict`, `arbiter` and the columns' `on_conflict`. Refuses: rules that do not go
//! together, and those that the simulation (`merge::simulation`) could not show to converge; what only the tables'
//! columns can tell is `compare`'s matter.

use super::build::Builder;
use super::file::TableFile;
use super::problem::Problem;
use super::syncs::known_node;
use super::tables::Around;
use crate::flow::spec::Seed;
use crate::merge::offered;
use crate::model::rules::{ColumnRule, OnDelete, Rule, TableRules};
use crate::model::stamp::Rank;
use crate::model::sync::Mode;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

type Text = Option<Spanned<String>>;

/// What a section falls back to, and who is who.
pub(super) struct Given<'a> {
    pub usual: TableRules,
    around: &'a Around<'a>,
    ranks: &'a [(String, Rank)],
    /// The node that `arbiter` names.
    arbiter: Option<(Rank, Range<usize>)>,
    seed: Option<&'a Seed>,
}

/// The rules of tables without a section.
pub(super) fn general<'a>(
    builder: &mut Builder<'_>,
    around: &'a Around<'a>,
    ranks: &'a [(String, Rank)],
    seed: Option<&'a Seed>,
) -> Given<'a> {
    let file = around.file;
    let mut given = Given {
        usual: TableRules::default(),
        around,
        ranks,
        arbiter: arbiter(builder, around, ranks),
        seed,
    };
    let places = Places {
        key: around.key(""),
        row: &file.on_conflict,
        delete: &file.on_delete_conflict,
    };
    let usual = given.rules(builder, &places, BTreeMap::new(), None);
    if around.mode == Some(Mode::Merge) {
        let defaults = [
            ("on_conflict", usual.row.name(), &file.on_conflict),
            (
                "on_delete_conflict",
                usual.on_delete.name(),
                &file.on_delete_conflict,
            ),
        ];
        for (key, value, _) in defaults.iter().filter(|(_, _, text)| text.is_none()) {
            builder.show(&around.key(key), value, None);
        }
    }
    given.usual = usual;
    given
}

/// Where the rules of a sync or of a table are written; `key` ends with a dot.
struct Places<'a> {
    key: String,
    row: &'a Text,
    delete: &'a Text,
}

impl Given<'_> {
    /// The rules of a table with a section.
    pub(super) fn section(
        &self,
        builder: &mut Builder<'_>,
        name: &Spanned<String>,
        file: &TableFile,
        columns: BTreeMap<String, ColumnRule>,
    ) -> TableRules {
        let places = Places {
            key: self.around.key(&format!("table.{}.", name.get_ref())),
            row: &file.on_conflict,
            delete: &file.on_delete_conflict,
        };
        self.rules(builder, &places, columns, Some(name.span()))
    }

    fn rules(
        &self,
        builder: &mut Builder<'_>,
        places: &Places<'_>,
        columns: BTreeMap<String, ColumnRule>,
        section: Option<Range<usize>>,
    ) -> TableRules {
        let before = builder.problems.len();
        let row = self.given(builder, &format!("{}on_conflict", places.key), places.row);
        let delete = self.given(
            builder,
            &format!("{}on_delete_conflict", places.key),
            places.delete,
        );
        let mut rules = TableRules {
            row: row.map_or(self.usual.row, |text| self.row(builder, text)),
            on_delete: delete.map_or(self.usual.on_delete, |text| on_delete(builder, text)),
            columns,
            arbiter: 0,
        };
        let place = places.row.as_ref().or(places.delete.as_ref()).map(Spanned::span);
        let place = place.or(section).unwrap_or_else(|| self.around.file.name.span());
        rules.arbiter = self.arbiter_of(builder, &rules, &place);
        if builder.problems.len() == before {
            self.refuse(builder, &rules, place);
        }
        rules
    }

    /// A key that belongs to merge.
    fn given<'f>(&self, builder: &mut Builder<'_>, key: &str, text: &'f Text) -> Option<&'f Spanned<String>> {
        let text = text.as_ref()?;
        builder.show(key, text.get_ref(), Some(text.span()));
        if self.around.mode.is_some_and(Mode::is_one_way) {
            let name = key.rsplit('.').next().unwrap_or(key);
            let problem = Problem::new(format!("{name} belongs to mode = \"merge\""));
            let hint = "remove it: one way the source is always right";
            builder.problem(problem.hint(hint).at(text.span()));
            return None;
        }
        Some(text)
    }

    fn row(&self, builder: &mut Builder<'_>, given: &Spanned<String>) -> Rule {
        let text = given.get_ref().as_str();
        for rule in [Rule::Newest, Rule::Columns, Rule::Ask] {
            if text == rule.name() {
                return rule;
            }
        }
        let Some(name) = text.strip_prefix("source-of-truth:") else {
            let word = text.split(':').next().unwrap_or_default();
            let words = ["newest", "source-of-truth:NODE", "columns", "ask"];
            builder.problem(
                Problem::new(format!("unknown rule \"{text}\""))
                    .hint("\"newest\", \"source-of-truth:NODE\", \"columns\" or \"ask\"")
                    .nearest(word, words)
                    .at(given.span()),
            );
            return Rule::Newest;
        };
        known_node(builder, name, given.span(), self.around.nodes);
        rank_of(self.ranks, name).map_or(Rule::Newest, Rule::SourceOfTruth)
    }

    /// The truth of the table, else the node that `arbiter` names, else the hub, else the first.
    fn arbiter_of(&self, builder: &mut Builder<'_>, rules: &TableRules, place: &Range<usize>) -> Rank {
        let hub = self.hub();
        let first = hub.unwrap_or_else(|| self.ranks.first().map_or(0, |(_, rank)| *rank));
        match (rules.row, &self.arbiter) {
            (Rule::SourceOfTruth(truth), Some((named, _))) if truth != *named => {
                builder.problem(
                    Problem::new("the arbiter is not the table's source of truth")
                        .hint(
                            "one node alone writes what a rule wants beyond the order of versions: name the truth in \
                             arbiter, or remove it",
                        )
                        .at(place.clone()),
                );
                truth
            }
            (Rule::SourceOfTruth(truth), _) => truth,
            (_, Some((named, _))) => *named,
            (_, None) => first,
        }
    }

    fn hub(&self) -> Option<Rank> {
        let name = self.around.nodes.get(self.around.hub?)?;
        rank_of(self.ranks, name)
    }

    /// Rules that do not go together, or are not offered here.
    fn refuse(&self, builder: &mut Builder<'_>, rules: &TableRules, place: Range<usize>) {
        let around = offered::Around {
            nodes: self.around.nodes.len(),
            hub: self.hub(),
            copied_from: match self.seed {
                Some(Seed::From(node)) => rank_of(self.ranks, node),
                Some(Seed::Union | Seed::None) | None => None,
            },
            is_union: self.seed == Some(&Seed::Union),
            is_filtered: false,
            is_apart: false,
            is_owned: false,
            is_held: false,
        };
        refuse(builder, rules, around, place);
    }
}

pub(super) fn refuse(
    builder: &mut Builder<'_>,
    rules: &TableRules,
    around: offered::Around,
    place: Range<usize>,
) {
    if let Some(refusal) = offered::refused(rules, around) {
        builder.problem(Problem::new(refusal.what).hint(refusal.hint).at(place));
    }
}

fn rank_of(ranks: &[(String, Rank)], name: &str) -> Option<Rank> {
    let found = ranks.iter().find(|(node, _)| node == name);
    found.map(|(_, rank)| *rank)
}

fn arbiter(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    ranks: &[(String, Rank)],
) -> Option<(Rank, Range<usize>)> {
    let given = around.file.arbiter.as_ref()?;
    builder.show(&around.key("arbiter"), given.get_ref(), Some(given.span()));
    if around.mode.is_some_and(Mode::is_one_way) {
        let problem = Problem::new("arbiter belongs to mode = \"merge\"");
        let hint = "remove it: one way the source is always right";
        builder.problem(problem.hint(hint).at(given.span()));
        return None;
    }
    known_node(builder, given.get_ref(), given.span(), around.nodes);
    rank_of(ranks, given.get_ref()).map(|rank| (rank, given.span()))
}

fn on_delete(builder: &mut Builder<'_>, given: &Spanned<String>) -> OnDelete {
    let text = given.get_ref();
    if let Some(known) = OnDelete::ALL.into_iter().find(|known| known.name() == text) {
        return known;
    }
    builder.problem(
        Problem::new(format!("unknown on_delete_conflict \"{text}\""))
            .hint(
                "\"rule\" (as on_conflict has it), \"delete\" (the row stays deleted), \"update\" (the row lives) or \
                 \"ask\"",
            )
            .nearest(text, OnDelete::ALL.map(OnDelete::name))
            .at(given.span()),
    );
    OnDelete::Rule
}

/// `column.NAME = { on_conflict = "..." }`
pub(super) fn column(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    key: &str,
    text: &str,
    span: Range<usize>,
) -> Option<ColumnRule> {
    builder.show(key, text, Some(span.clone()));
    if around.mode.is_some_and(Mode::is_one_way) {
        let problem = Problem::new("on_conflict belongs to mode = \"merge\"");
        let hint = "remove it: one way the source is always right";
        builder.problem(problem.hint(hint).at(span));
        return None;
    }
    let known = ColumnRule::ALL.into_iter().find(|known| known.name() == text);
    if known.is_none() {
        builder.problem(
            Problem::new(format!("unknown rule \"{text}\" of a column"))
                .hint(
                    "\"row\" (it goes with its row), \"columns\" (whoever changed it alone wins) or \"delta\" (a \
                     number: both differences are added)",
                )
                .nearest(text, ColumnRule::ALL.map(ColumnRule::name))
                .at(span),
        );
    }
    known
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::tests::read;
    use crate::merge::simulation::setup::{Setup, Topology, combinations};
    use crate::merge::simulation::table::HELD_BY;

    /// The configuration accepts what the simulation of `merge` has shown to converge, and nothing else.
    #[test]
    fn the_rules_that_are_accepted_are_those_that_are_simulated() {
        let (mut accepted, mut refused) = (0, 0);
        for (setup, is_offered) in combinations() {
            if setup.joins || setup.is_owned {
                continue;
            }
            let text = of_setup(&setup);
            match (read(&text), is_offered) {
                (Ok(config), true) => {
                    let found = config.syncs[0].spec.rules[0].signature();
                    assert_eq!(found, setup.rules.signature(), "{text}");
                    accepted += 1;
                }
                (Err(_), false) => refused += 1,
                (Ok(_), false) => panic!("accepted, and not simulated: {setup}\n{text}"),
                (Err(failure), true) => panic!("{setup}\n{text}\n{}", failure.rendered()),
            }
        }
        assert!(
            accepted > 100 && refused > 100,
            "{accepted} accepted, {refused} refused"
        );
    }

    fn of_setup(setup: &Setup) -> String {
        let names: Vec<String> = (1..=setup.nodes).map(|rank| format!("n{rank}")).collect();
        let mut text = "version = 1\n".to_owned();
        for name in &names {
            text += &format!(
                "[node.{name}]\nurl = \"postgres://tidelock@{name}.example/shop?sslmode=verify-full\"\n"
            );
        }
        let row = match setup.rules.row {
            Rule::SourceOfTruth(rank) => format!("source-of-truth:n{rank}"),
            Rule::Newest | Rule::Columns | Rule::Ask => setup.rules.row.name().to_owned(),
        };
        let topology = match setup.topology {
            Topology::Mesh if setup.nodes == 2 => String::new(),
            Topology::Mesh => "topology = \"mesh\"\n".to_owned(),
            Topology::Hub => format!("topology = \"hub:n{}\"\n", setup.first),
        };
        let filter = match (setup.is_filtered, setup.is_held) {
            (true, _) => "where = \"region = 1\"\n".to_owned(),
            (false, true) => held(setup),
            (false, false) => String::new(),
        };
        let columns = setup.rules.columns.iter();
        let columns =
            columns.map(|(name, rule)| format!("column.{name} = {{ on_conflict = \"{}\" }}\n", rule.name()));
        let columns: String = columns.collect();
        let (arbiter, on_delete) = (setup.rules.arbiter, setup.rules.on_delete.name());
        let seeder = match setup.topology {
            Topology::Mesh => arbiter,
            Topology::Hub => setup.first,
        };
        format!(
            "{text}[[sync]]\nname = \"shop\"\nnodes = {names:?}\nmode = \"merge\"\n{topology}tables = [\"t\"]\n\
             seed = \"from:n{seeder}\"\narbiter = \"n{arbiter}\"\n[sync.table.t]\non_conflict = \"{row}\"\n\
             on_delete_conflict = \"{on_delete}\"\n{filter}{columns}"
        )
    }

    /// Of the first node's rows.
    fn held(setup: &Setup) -> String {
        let held = setup.ranks().into_iter().zip(HELD_BY);
        let held = held.filter_map(|(rank, text)| Some(format!("n{rank} = \"{}\"", text?)));
        let (held, first) = (held.collect::<Vec<_>>().join(", "), setup.first);
        format!("inserts = \"n{first}\"\ncolumn.region = {{ owner = \"n{first}\" }}\nholds = {{ {held} }}\n")
    }
}
