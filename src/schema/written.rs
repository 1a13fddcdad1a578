//! A column's definition as MySQL and MariaDB print it, changed in one place.
//!
//! Owns: [`Written`]: MODIFY COLUMN drops whatever it does not repeat, so all that is there is kept word for word.
//! Refuses: judging the words. Pure.

/// What may follow a column's type.
const HEADS: [&str; 14] = [
    "CHARACTER",
    "COLLATE",
    "GENERATED",
    "NOT",
    "NULL",
    "DEFAULT",
    "ON",
    "AUTO_INCREMENT",
    "INVISIBLE",
    "COMMENT",
    "CHECK",
    "WITH",
    "WITHOUT",
    "REF_SYSTEM_ID",
];

/// A type and its clauses in the server's order.
pub(super) struct Written {
    ty: String,
    clauses: Vec<String>,
}

impl Written {
    pub(super) fn read(text: &str) -> Written {
        let (mut parts, mut last) = (vec![String::new()], "");
        let mut is_hidden = false;
        for word in words(text) {
            let starts = word.starts_with("/*") || HEADS.contains(&word.to_ascii_uppercase().as_str());
            let goes_on = ["NOT", "DEFAULT"].contains(&last) && word.eq_ignore_ascii_case("NULL");
            match parts.last_mut() {
                Some(part) if is_hidden || !starts || goes_on => {
                    if !part.is_empty() {
                        part.push(' ');
                    }
                    part.push_str(word);
                }
                _ => parts.push(word.to_owned()),
            }
            is_hidden = (is_hidden || word.starts_with("/*")) && !word.ends_with("*/");
            last = word;
        }
        Written {
            ty: parts.remove(0),
            clauses: parts,
        }
    }

    /// Of a type that is no text any more, and of one that names its own, the collation goes.
    pub(super) fn set_type(&mut self, ty: &str) {
        let is_text = ["char", "text", "enum", "set("]
            .iter()
            .any(|name| ty.contains(name));
        if !is_text || ty.contains(" COLLATE ") || ty.contains(" CHARACTER SET ") {
            self.clauses
                .retain(|clause| !["CHARACTER", "COLLATE"].contains(&head(clause)));
        }
        ty.clone_into(&mut self.ty);
    }

    pub(super) fn set_null(&mut self, nullable: bool) {
        if !nullable {
            self.clauses.retain(|clause| clause != "DEFAULT NULL");
        }
        self.put(if nullable { "NULL" } else { "NOT NULL" });
    }

    pub(super) fn drop_default(&mut self) {
        self.clauses.retain(|clause| head(clause) != "DEFAULT");
    }

    /// In the place of the clause of its kind; MariaDB has its CHECK last.
    pub(super) fn put(&mut self, clause: &str) {
        let kind = |other: &String| head(other) == head(clause);
        match self.clauses.iter().position(kind) {
            Some(place) => clause.clone_into(&mut self.clauses[place]),
            None => {
                let check = self.clauses.iter().position(|other| head(other) == "CHECK");
                let place = check.unwrap_or(self.clauses.len());
                self.clauses.insert(place, clause.to_owned());
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let clauses = self.clauses.iter().map(String::as_str);
        std::iter::once(self.ty.as_str())
            .chain(clauses)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn head(clause: &str) -> &str {
    match clause.split(' ').next().unwrap_or_default() {
        "NOT" => "NULL",
        word => word,
    }
}

/// Cut at the blanks that stand in no quotes and no brackets.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('\''), '\\') => {
                chars.next();
            }
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '`' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ' ') if depth == 0 => {
                words.push(&text[start..at]);
                start = at + 1;
            }
            (None, _) => {}
        }
    }
    words.push(&text[start..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_clause_is_changed_and_all_others_stay() {
        let put = |clause: &'static str| move |written: &mut Written| written.put(clause);
        let changed = |text: &str, change: &dyn Fn(&mut Written)| {
            let mut written = Written::read(text);
            assert_eq!(written.text(), text);
            change(&mut written);
            written.text()
        };
        for (text, change, there) in [
            (
                "varchar(9) COLLATE utf8mb4_bin NOT NULL DEFAULT 'a COMMENT b\\' c' COMMENT 'x'",
                &put("COMMENT 'y'") as &dyn Fn(&mut Written),
                "varchar(9) COLLATE utf8mb4_bin NOT NULL DEFAULT 'a COMMENT b\\' c' COMMENT 'y'",
            ),
            (
                "int(11) DEFAULT NULL CHECK (`a` > 0)",
                &put("COMMENT 'y'"),
                "int(11) DEFAULT NULL COMMENT 'y' CHECK (`a` > 0)",
            ),
            (
                "int unsigned DEFAULT NULL /*!80023 INVISIBLE */ COMMENT 'c'",
                &|written: &mut Written| written.set_null(false),
                "int unsigned /*!80023 INVISIBLE */ COMMENT 'c' NOT NULL",
            ),
            (
                "timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
                &|written: &mut Written| written.set_null(true),
                "timestamp(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
            ),
            (
                "varchar(9) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT '7'",
                &|written: &mut Written| written.set_type("int"),
                "int DEFAULT '7'",
            ),
            (
                "text COLLATE utf8mb4_bin GENERATED ALWAYS AS (concat(`a`,' NULL ')) STORED",
                &|written: &mut Written| written.set_type("longtext"),
                "longtext COLLATE utf8mb4_bin GENERATED ALWAYS AS (concat(`a`,' NULL ')) STORED",
            ),
        ] {
            assert_eq!(changed(text, change), there);
        }
    }
}
