//! Columns of a node that are computed of what others have: `to.NODE.COLUMN = "expression"` of `[sync.table.NAME]`.
//!
//! Owns: what can be judged without a database. Refuses: two rules for one column, and in a merge what nobody brings back and
//! nobody owns: a user's write of it would stay where it is, and the nodes would differ.

use super::build::Builder;
use super::file::{TableFile, Word};
use super::problem::Problem;
use super::syncs::known_node;
use super::tables::{Around, within};
use crate::expr::Expr;
use crate::mapping::ColumnMapping;
use crate::mapping::formula::Computed;
use crate::mapping::owner::Owners;
use crate::mapping::values::ValueMap;
use crate::model::sync::{Mode, ORIGIN_COLUMN, VERSION_COLUMN};
use std::ops::Range;
use toml::Spanned;

/// What else is said of the table's columns.
pub(super) struct Beside<'a> {
    pub columns: &'a [ColumnMapping],
    pub owners: &'a Owners,
    pub values: &'a [ValueMap],
}

pub(super) fn of_table(
    builder: &mut Builder<'_>,
    around: &Around<'_>,
    table: &str,
    file: &TableFile,
    beside: &Beside<'_>,
) -> Vec<Computed> {
    let (mut computed, mut places) = (Vec::new(), Vec::new());
    for (node, columns) in &file.to {
        if !known_node(builder, node.get_ref(), node.span(), around.nodes) {
            continue;
        }
        let Some(place) = around.nodes.iter().position(|known| known == node.get_ref()) else {
            continue;
        };
        if let Some(problem) = unwritten(around, node.get_ref()) {
            builder.problem(problem.at(node.span()));
            continue;
        }
        for (column, text) in columns {
            let key = format!("table.{table}.to.{}.{}", node.get_ref(), column.get_ref());
            builder.show(&around.key(&key), text.get_ref(), Some(text.span()));
            if let Some(problem) = doubled(column.get_ref(), place, beside) {
                builder.problem(problem.at(column.span()));
            }
            if let Some(expr) = parsed(builder, text, beside) {
                if let Some(problem) = unmasked(file, column.get_ref(), &expr) {
                    builder.problem(problem.at(text.span()));
                }
                places.push(column.span());
                computed.push(Computed {
                    node: place,
                    column: column.get_ref().clone(),
                    text: text.get_ref().clone(),
                    expr,
                });
            }
        }
    }
    if around.mode == Some(Mode::Merge) {
        one_way_only(builder, &computed, &places, beside);
    }
    computed
}

/// One way nothing is written into the source.
fn unwritten(around: &Around<'_>, node: &str) -> Option<Problem> {
    let from = around.file.from.as_ref().map(|from| from.get_ref().as_str());
    let is_source = around.mode != Some(Mode::Merge) && from == Some(node);
    is_source.then(|| {
        Problem::new(format!("nothing goes to \"{node}\", which is the source"))
            .hint("say it of the node that the rows go to")
    })
}

fn doubled(column: &str, node: usize, beside: &Beside<'_>) -> Option<Problem> {
    if [VERSION_COLUMN, ORIGIN_COLUMN].contains(&column) {
        return Some(Problem::new(format!("\"{column}\" is Tidelock's own")).hint("compute another column"));
    }
    let is_skipped = beside
        .columns
        .iter()
        .any(|known| known.skip && known.name == column);
    let is_mapped = beside
        .values
        .iter()
        .any(|map| map.names.get(node).is_some_and(|name| name == column));
    let other = match (is_skipped, is_mapped) {
        (true, _) => "skip",
        (false, true) => "values",
        (false, false) => return None,
    };
    Some(
        Problem::new(format!("column \"{column}\" is computed and has {other}"))
            .hint("two rules for one column: remove one of them"),
    )
}

/// What is computed of a masked column tells of it.
fn unmasked(file: &TableFile, column: &str, expr: &Expr) -> Option<Problem> {
    let is_masked = |name: &str| {
        let mut given = file.column.iter().filter(|(known, _)| known.get_ref() == name);
        given.any(|(_, words)| {
            let mut words = words.get_ref().iter();
            words.any(|(key, word)| key.get_ref() == "mask" && matches!(word.get_ref(), Word::Bool(true)))
        })
    };
    let read = expr.columns().into_iter().find(|name| is_masked(name))?;
    (!is_masked(column)).then(|| {
        Problem::new(format!(
            "column \"{column}\" is computed of \"{read}\", which is masked, and is not masked itself"
        ))
        .hint(format!(
            "conflict records would show what must not be seen: column.{column} = {{ mask = true }}"
        ))
    })
}

fn parsed(builder: &mut Builder<'_>, text: &Spanned<String>, beside: &Beside<'_>) -> Option<Expr> {
    let expr = match Expr::parse(text.get_ref()) {
        Ok(expr) => expr,
        Err(mistake) => {
            let span = within(builder.text, &text.span(), text.get_ref(), &mistake.at);
            let hint = "docs/config.md lists what an expression may hold";
            builder.problem(Problem::new(mistake.what).hint(hint).at(span));
            return None;
        }
    };
    let is_skipped = |name: &&str| {
        let known = |column: &ColumnMapping| column.skip && column.name == *name;
        beside.columns.iter().any(known) || [VERSION_COLUMN, ORIGIN_COLUMN].contains(name)
    };
    if let Some(column) = expr.columns().into_iter().find(is_skipped) {
        let at = text.get_ref().find(column).unwrap_or_default();
        let span: Range<usize> = within(
            builder.text,
            &text.span(),
            text.get_ref(),
            &(at..at + column.len()),
        );
        let problem = Problem::new(format!(
            "the expression reads column \"{column}\", which does not pass"
        ));
        builder.problem(problem.hint("compute it of columns that do").at(span));
    }
    Some(expr)
}

/// In a merge each computed column is read by what is computed for another node, or has an owner there.
fn one_way_only(
    builder: &mut Builder<'_>,
    computed: &[Computed],
    places: &[Range<usize>],
    beside: &Beside<'_>,
) {
    for (one, place) in computed.iter().zip(places) {
        let reads =
            |other: &Computed| other.node != one.node && other.expr.columns().contains(&one.column.as_str());
        let is_owned = beside.owners.columns.iter().any(|owned| {
            let name = owned.names.get(one.node);
            owned.owner != one.node && name.is_some_and(|name| *name == one.column)
        });
        if computed.iter().any(reads) || is_owned {
            continue;
        }
        let problem = Problem::new(format!(
            "what users write into \"{}\" goes nowhere: nothing that is computed for another node reads it",
            one.column
        ));
        let hint = format!(
            "give the way back (to.NODE.COLUMN = \"... {0} ...\"), or say who computes it, so that other writes are \
             undone: column.{0} = {{ owner = \"NODE\" }}",
            one.column
        );
        builder.problem(problem.hint(hint).at(place.clone()));
    }
}
