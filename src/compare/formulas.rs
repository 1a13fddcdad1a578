//! Do the tables have what is computed, what it is computed of, and a way back?
//!
//! Code: E359. Pure.

use super::End;
use crate::mapping::Passage;
use crate::model::schema::Table;
use crate::model::sync::Finding;
use crate::plan::formula::fits;

/// What is computed for `to` of the rows of `from`. `merges`: users write on both sides.
pub(super) fn fit(
    (from, source): (&End<'_>, &Table),
    (to, target): (&End<'_>, &Table),
    passage: &Passage,
    merges: bool,
    findings: &mut Vec<Finding>,
) {
    let section = format!(
        "the section [sync.table] of {} in the configuration",
        passage.table
    );
    for (name, computed) in passage.computed() {
        let (here, there) = ((source, from.engine), (target, to.engine));
        if let Err(misfit) = fits(computed, here, there, passage) {
            let mut what = format!("computed column {name:?}: {}", misfit.why);
            if misfit.is_of_source {
                what.push_str(&format!(" (on node {})", from.node));
            }
            let finding = to.blocker("E359", what, format!("correct the expression in {section}"));
            findings.push(finding.setting(format!("to.{}.{}", to.node, computed.column)));
        }
    }
    // What this node owns nobody has to bring back.
    let is_own = |name: &str| {
        let owned = passage.mapping().owners.columns.iter();
        let mut owned = owned.filter(|owned| owned.owner == passage.source());
        owned.any(|owned| owned.names.get(passage.source()).is_some_and(|own| own == name))
    };
    let is_back = |name: &str| passage.back().is_computed(name) || is_own(name);
    for column in source.columns.iter().filter(|_| merges) {
        if passage.needs_no_place(&column.name, target) && !is_back(&column.name) {
            let what = format!(
                "column {:?} goes into computed columns of node {} alone, and nothing brings it back",
                column.name, to.node
            );
            let fix = format!("to.{}.{} = \"...\" in {section}", from.node, column.name);
            // Beside it what is computed of it is missing.
            findings.push(from.blocker("E359", what, fix).setting(format!("to.{}", to.node)));
        }
    }
}
