//! Statements that find keys which another collation takes for one.
//!
//! Owns: the texts; as far as PostgreSQL can fold letters. Refuses: I/O, and telling the keys themselves.

use super::{quote, table};
use crate::model::collation::Folds;
use crate::model::schema::TableId;

/// A unique key's columns, and how the other side compares them.
pub type Columns = [(String, Folds)];

/// Case is folded by this, where the server has it: a database of locale C knows no letters but those of ASCII.
pub const LETTERS: &str = "und-x-icu";

fn folded(columns: &Columns, has_letters: bool) -> Vec<String> {
    let one = |(name, folds): &(String, Folds)| {
        let mut text = quote(name);
        if !folds.any() {
            return text;
        }
        text.push_str("::text");
        if folds.accents && has_letters {
            // Letters stand before their accents in this form.
            text = format!("regexp_replace(normalize({text}, NFKD), '[\\u0300-\\u036f]', '', 'g')");
        }
        if folds.case {
            let letters = if has_letters {
                format!(" COLLATE {}", quote(LETTERS))
            } else {
                String::new()
            };
            text = format!("lower({text}{letters})");
        }
        if folds.blanks {
            text = format!("rtrim({text}, ' ')");
        }
        text
    };
    columns.iter().map(one).collect()
}

/// NULLs are no two of one.
fn groups(columns: &Columns, has_letters: bool) -> String {
    let given: Vec<String> = columns
        .iter()
        .map(|(name, _)| format!("{} IS NOT NULL", quote(name)))
        .collect();
    format!(
        "WHERE {} GROUP BY {} HAVING count(*) > 1",
        given.join(" AND "),
        folded(columns, has_letters).join(", ")
    )
}

/// How many rows there are of which others have the same key there.
pub fn count(id: &TableId, columns: &Columns, has_letters: bool) -> String {
    format!(
        "SELECT coalesce(sum(n), 0)::bigint FROM (SELECT count(*) AS n FROM {} {}) AS same",
        table(id),
        groups(columns, has_letters)
    )
}

/// Lists them, for a person.
pub fn list(id: &TableId, columns: &Columns, has_letters: bool) -> String {
    let names: Vec<String> = columns.iter().map(|(name, _)| quote(name)).collect();
    let folded = folded(columns, has_letters).join(", ");
    format!(
        "SELECT {names} FROM {id} WHERE ({folded}) IN (SELECT {folded} FROM {id} {}) ORDER BY {folded};",
        groups(columns, has_letters),
        names = names.join(", "),
        id = table(id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_other_side_folds_is_folded() {
        let id = TableId::new("public", "t");
        let columns = [
            ("n".to_owned(), Folds::of("")),
            ("k".to_owned(), Folds::of("utf8mb4_bin")),
        ];
        assert_eq!(
            count(&id, &columns, true),
            "SELECT coalesce(sum(n), 0)::bigint FROM (SELECT count(*) AS n FROM \"public\".\"t\" \
             WHERE \"n\" IS NOT NULL AND \"k\" IS NOT NULL GROUP BY \"n\", rtrim(\"k\"::text, ' ') \
             HAVING count(*) > 1) AS same"
        );
    }
}
