//! What the text of a logged statement does, as far as a reader of rows must know.
//!
//! Owns: transaction control, statements that wrote rows without logging them (STATEMENT format), TRUNCATE and
//! what else removes a table's rows without row events. Reads words and names, not SQL: a form it does not know
//! is `Unknown`, which is administration, or inside of a transaction something that wrote rows.

/// A possibly qualified table name in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    Begin,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    XaStart,
    /// What was prepared is decided; `xid` in lower case, without blanks.
    XaDecide {
        is_commit: bool,
        xid: String,
    },
    /// Rows written by a statement that was logged as text.
    Dml,
    Truncate(Name),
    /// Tables whose rows come or go without row events: DROP TABLE, CREATE OR REPLACE TABLE, ALTER TABLE ..
    /// DROP/TRUNCATE/EXCHANGE/CONVERT PARTITION, DISCARD/IMPORT TABLESPACE.
    Remove(Vec<Name>),
    /// Old and new name of each table, in the order in which they are renamed.
    Rename(Vec<(Name, Name)>),
    DropSchema(String),
    /// ALTER TABLE of another kind: see `alteration`.
    Alter(Name),
    /// DDL that leaves the rows of tables alone.
    Other,
    Unknown,
}

pub fn classify(text: &str) -> Statement {
    statement(&mut Words::new(text))
}

/// The same by the begin of a statement. `None`: what follows could make it another one.
pub fn classify_begin(text: &str) -> Option<Statement> {
    let mut words = Words::new(text);
    let statement = statement(&mut words);
    (!words.met_end).then_some(statement)
}

fn statement(words: &mut Words<'_>) -> Statement {
    let Some(first) = words.keyword() else {
        return Statement::Other;
    };
    match first.as_str() {
        "BEGIN" => Statement::Begin,
        "COMMIT" => Statement::Commit,
        "ROLLBACK" => match words.keyword().as_deref() {
            Some("TO") => Statement::RollbackTo,
            _ => Statement::Rollback,
        },
        "SAVEPOINT" | "RELEASE" => Statement::Savepoint,
        "START" => match words.keyword().as_deref() {
            Some("TRANSACTION") => Statement::Begin,
            _ => Statement::Other,
        },
        "XA" => match words.keyword().as_deref() {
            Some("START" | "BEGIN") => Statement::XaStart,
            Some(verb @ ("COMMIT" | "ROLLBACK")) => Statement::XaDecide {
                is_commit: verb == "COMMIT",
                xid: words
                    .rest
                    .split_whitespace()
                    .collect::<String>()
                    .to_ascii_lowercase(),
            },
            _ => Statement::Savepoint,
        },
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" | "CALL" | "DO" | "SELECT" | "TABLE"
        | "VALUES" => Statement::Dml,
        "TRUNCATE" => {
            words.skip_keyword("TABLE");
            words.name().map_or(Statement::Other, Statement::Truncate)
        }
        "DROP" => drop(words),
        "ALTER" => alter(words),
        "RENAME" => rename(words),
        "CREATE" => create(words),
        "SET" => setting(words),
        // MariaDB: ANALYZE UPDATE ..
        _ => Statement::Unknown,
    }
}

/// MariaDB's `SET STATEMENT .. FOR ..` with DDL behind it is that DDL.
fn setting(words: &mut Words<'_>) -> Statement {
    if words.keyword().as_deref() != Some("STATEMENT") {
        return Statement::Unknown;
    }
    while words.any_word().is_some_and(|word| word != "FOR") {}
    match statement(words) {
        ddl @ (Statement::Truncate(_)
        | Statement::Remove(_)
        | Statement::Rename(_)
        | Statement::DropSchema(_)
        | Statement::Alter(_)) => ddl,
        _ => Statement::Unknown,
    }
}

/// What a statement that writes rows begins with.
pub fn verb(text: &str) -> Option<&'static str> {
    let first = Words::new(text).keyword()?;
    let verbs = [
        "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL", "DO", "SELECT", "SET",
    ];
    verbs.into_iter().find(|verb| *verb == first)
}

fn drop(words: &mut Words<'_>) -> Statement {
    match words.keyword().as_deref() {
        Some("TABLE" | "TABLES") => {}
        Some("DATABASE" | "SCHEMA") => {
            words.skip_exists();
            return words
                .name()
                .map_or(Statement::Other, |name| Statement::DropSchema(name.name));
        }
        // Temporary tables never had row events; views and others hold no rows.
        _ => return Statement::Other,
    }
    words.skip_exists();
    let mut names = Vec::new();
    while let Some(name) = words.name() {
        names.push(name);
        if !words.skip_sign(',') {
            break;
        }
    }
    Statement::Remove(names)
}

/// `RENAME TABLE a TO b, ..`; MariaDB puts IF EXISTS and how long to wait between.
fn rename(words: &mut Words<'_>) -> Statement {
    if !matches!(words.keyword().as_deref(), Some("TABLE" | "TABLES")) {
        return Statement::Other;
    }
    words.skip_exists();
    let mut pairs = Vec::new();
    while let Some(from) = words.name() {
        // WAIT n, NOWAIT
        while words.any_word().is_some_and(|word| word != "TO") {}
        let Some(to) = words.name() else { break };
        pairs.push((from, to));
        if !words.skip_sign(',') {
            break;
        }
    }
    match pairs.is_empty() {
        true => Statement::Other,
        false => Statement::Rename(pairs),
    }
}

/// `CREATE OR REPLACE TABLE` drops what has the name.
fn create(words: &mut Words<'_>) -> Statement {
    for keyword in ["OR", "REPLACE", "TABLE"] {
        if words.keyword().as_deref() != Some(keyword) {
            return Statement::Other;
        }
    }
    let name = words.name();
    name.map_or(Statement::Other, |name| Statement::Remove(vec![name]))
}

/// What takes rows away, brings them in, or gives the table another name.
fn alter(words: &mut Words<'_>) -> Statement {
    loop {
        match words.keyword().as_deref() {
            Some("TABLE") => break,
            Some("ONLINE" | "IGNORE") => {}
            _ => return Statement::Other,
        }
    }
    words.skip_exists();
    let Some(name) = words.name() else {
        return Statement::Other;
    };
    let mut removed: Vec<Name> = Vec::new();
    let mut before = String::new();
    while let Some(word) = words.any_word() {
        match (before.as_str(), word.as_str()) {
            ("DROP" | "TRUNCATE" | "EXCHANGE" | "CONVERT", "PARTITION")
            | ("DISCARD" | "IMPORT", "TABLESPACE" | "PARTITION") => removed.push(name.clone()),
            // EXCHANGE PARTITION p WITH TABLE other; CONVERT TABLE other TO PARTITION p.
            ("WITH" | "CONVERT", "TABLE") => {
                removed.push(name.clone());
                removed.extend(words.name());
            }
            (_, "RENAME") => {
                let place = words.rest;
                match words.keyword().as_deref() {
                    Some("COLUMN" | "INDEX" | "KEY") => words.rest = place,
                    Some("TO" | "AS") => {
                        return words
                            .name()
                            .map_or(Statement::Other, |to| Statement::Rename(vec![(name, to)]));
                    }
                    _ => {
                        words.rest = place;
                        words.skip_sign('=');
                        return words
                            .name()
                            .map_or(Statement::Other, |to| Statement::Rename(vec![(name, to)]));
                    }
                }
            }
            _ => {}
        }
        before = word;
    }
    match removed.is_empty() {
        true => Statement::Alter(name),
        false => Statement::Remove(removed),
    }
}

/// Does the text hold `name` as a whole word, quoted or not, ignoring case?
pub fn mentions(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    text.match_indices(&name).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Walks over a statement's words; comments are blanks, except that the inside of `/*! */` is read.
struct Words<'a> {
    rest: &'a str,
    /// The end of the text was looked at.
    met_end: bool,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Words {
            rest: text,
            met_end: false,
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let comment = if let Some(body) = self.rest.strip_prefix("/*") {
                // `/*!50000` and MariaDB's `/*M!`: the inside is executed.
                if let Some(inside) = body.strip_prefix('!').or_else(|| body.strip_prefix("M!")) {
                    self.rest = inside.trim_start_matches(|c: char| c.is_ascii_digit());
                    continue;
                }
                body.split_once("*/")
            } else if let Some(body) = self.rest.strip_prefix("*/") {
                Some(("", body))
            } else if self.rest.starts_with("--") || self.rest.starts_with('#') {
                self.rest.split_once('\n')
            } else {
                self.met_end |= self.rest.is_empty();
                return;
            };
            self.rest = comment.map_or("", |(_, rest)| rest);
        }
    }

    fn split_word(&mut self) -> (&'a str, &'a str) {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let end = self.rest.find(|c| !is_word(c));
        self.met_end |= end.is_none();
        self.rest.split_at(end.unwrap_or(self.rest.len()))
    }

    /// The next word in upper case, if one comes next.
    fn keyword(&mut self) -> Option<String> {
        self.skip_blanks();
        self.rest = self.rest.trim_start_matches('(').trim_start();
        let (word, rest) = self.split_word();
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_ascii_uppercase())
    }

    /// The next word or sign; quoted pieces are passed over whole.
    fn any_word(&mut self) -> Option<String> {
        self.skip_blanks();
        let quote = self.rest.chars().next()?;
        if matches!(quote, '\'' | '"' | '`') {
            let body = &self.rest[1..];
            let mut is_escaped = false;
            let ends = |c: char| {
                let ends = c == quote && !is_escaped;
                is_escaped = c == '\\' && quote != '`' && !is_escaped;
                ends
            };
            let end = body.find(ends);
            self.met_end |= end.is_none();
            self.rest = &body[end.map_or(body.len(), |at| at + 1)..];
            return Some(String::new());
        }
        let (word, rest) = self.split_word();
        if word.is_empty() {
            self.rest = &self.rest[quote.len_utf8()..];
            return Some(quote.to_string());
        }
        self.rest = rest;
        Some(word.to_ascii_uppercase())
    }

    fn skip_keyword(&mut self, keyword: &str) {
        let before = self.rest;
        if self.keyword().as_deref() != Some(keyword) {
            self.rest = before;
        }
    }

    fn skip_exists(&mut self) {
        self.skip_keyword("IF");
        self.skip_keyword("EXISTS");
    }

    fn skip_sign(&mut self, sign: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn identifier(&mut self) -> Option<String> {
        self.skip_blanks();
        for quote in ['`', '"'] {
            if let Some(mut body) = self.rest.strip_prefix(quote) {
                let mut name = String::new();
                loop {
                    self.met_end |= !body.contains(quote);
                    let (piece, rest) = body.split_once(quote)?;
                    // What follows the last quote could double it.
                    self.met_end |= rest.is_empty();
                    name.push_str(piece);
                    // A doubled quote is one quote of the name.
                    let Some(more) = rest.strip_prefix(quote) else {
                        self.rest = rest;
                        return Some(name);
                    };
                    name.push(quote);
                    body = more;
                }
            }
        }
        let (word, rest) = self.split_word();
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn name(&mut self) -> Option<Name> {
        let first = self.identifier()?;
        match self.skip_sign('.') {
            true => Some(Name {
                schema: Some(first),
                name: self.identifier()?,
            }),
            false => Some(Name {
                schema: None,
                name: first,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(schema: Option<&str>, name: &str) -> Name {
        Name {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    #[test]
    fn transaction_control() {
        assert_eq!(classify("BEGIN"), Statement::Begin);
        assert_eq!(classify("COMMIT"), Statement::Commit);
        assert_eq!(classify("ROLLBACK TO `a`"), Statement::RollbackTo);
        assert_eq!(classify("SAVEPOINT `a`"), Statement::Savepoint);
        assert_eq!(classify("XA START X'61',X'',1"), Statement::XaStart);
        assert_eq!(classify("XA END X'61',X'',1"), Statement::Savepoint);
        assert_eq!(
            classify("XA ROLLBACK X'6A',X'',1"),
            Statement::XaDecide {
                is_commit: false,
                xid: "x'6a',x'',1".to_owned()
            }
        );
    }

    #[test]
    fn a_begin_tells_what_a_statement_is_or_does_not() {
        for (text, told) in [
            ("CREATE TABLE `", Some(Statement::Other)),
            (
                "CREATE DEFINER=`a`@`%` VIEW x AS SELECT '",
                Some(Statement::Other),
            ),
            ("DROP VIEW `", Some(Statement::Other)),
            ("ALTER USER '", Some(Statement::Other)),
            ("GRANT SELECT ON `", Some(Statement::Unknown)),
            ("INSERT INTO `", Some(Statement::Dml)),
            ("TRUNCATE `a` WAIT", Some(Statement::Truncate(name(None, "a")))),
            ("TRUNCATE `a` ", None),
            ("TRUNCATE `a`", None),
            ("TRUNCATE a", None),
            ("TRUNCATE TABLE `", None),
            ("DROP TABLE a, `", None),
            ("DROP DATABASE `", None),
            ("CREATE OR REPLACE TABLE `", None),
            ("CREATE", None),
            ("ALTER TABLE a ADD b int COMMENT '", None),
            ("RENAME TABLE a TO `", None),
            ("/* ", None),
            ("", None),
        ] {
            assert_eq!(classify_begin(text), told, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_ddl() {
        for text in [
            "SET STATEMENT max_statement_time = 5 FOR UPDATE t SET a = 1",
            "ANALYZE UPDATE t SET a = 1",
            "GRANT SELECT ON t TO u",
        ] {
            assert_eq!(classify(text), Statement::Unknown, "{text}");
        }
        assert_eq!(classify("CREATE INDEX i ON t (a)"), Statement::Other);
    }

    #[test]
    fn rows_written_by_text() {
        for text in [
            "insert into t values (1)",
            "/* x */ UPDATE t SET a=1",
            "-- x\n delete from t",
            "/*!50000 REPLACE */ INTO t VALUES (1)",
            "WITH x AS (SELECT 1) UPDATE t SET a = 1",
            "CALL p()",
        ] {
            assert_eq!(classify(text), Statement::Dml, "{text}");
        }
        assert_eq!(classify("CREATE TABLE t (a int)"), Statement::Other);
        assert_eq!(classify(""), Statement::Other);
    }

    #[test]
    fn what_removes_rows() {
        assert_eq!(
            classify("truncate `a``b`"),
            Statement::Truncate(name(None, "a`b"))
        );
        assert_eq!(
            classify("TRUNCATE TABLE d . `t`"),
            Statement::Truncate(name(Some("d"), "t"))
        );
        assert_eq!(
            classify("DROP TABLES IF EXISTS `d`.`a`,`b` /* generated by server */"),
            Statement::Remove(vec![name(Some("d"), "a"), name(None, "b")])
        );
        assert_eq!(classify("DROP TEMPORARY TABLE a"), Statement::Other);
        assert_eq!(
            classify("DROP DATABASE IF EXISTS `d`"),
            Statement::DropSchema("d".to_owned())
        );
        assert_eq!(
            classify("ALTER TABLE t DROP PARTITION p"),
            Statement::Remove(vec![name(None, "t")])
        );
        assert_eq!(
            classify("ALTER TABLE t ADD COLUMN `DROP` int COMMENT 'PARTITION'"),
            Statement::Alter(name(None, "t"))
        );
    }

    #[test]
    fn tables_that_get_another_name() {
        let pair = |from: Name, to: Name| (from, to);
        let plain = |text: &str| name(None, text);
        assert_eq!(
            classify("RENAME TABLE `d`.`t` TO `d`.`_t_del`, `d`.`_t_gho` TO `d`.`t`"),
            Statement::Rename(vec![
                pair(name(Some("d"), "t"), name(Some("d"), "_t_del")),
                pair(name(Some("d"), "_t_gho"), name(Some("d"), "t")),
            ])
        );
        let one = Statement::Rename(vec![pair(plain("a"), plain("b"))]);
        for text in [
            "RENAME TABLE a TO b",
            "rename tables IF EXISTS a WAIT 5 to b",
            "ALTER TABLE a RENAME b",
            "ALTER TABLE a RENAME = b",
            "ALTER TABLE `a` ADD COLUMN c int, RENAME TO `b`",
            "ALTER TABLE a RENAME AS b",
        ] {
            assert_eq!(classify(text), one, "{text}");
        }
        for text in [
            "ALTER TABLE a RENAME COLUMN x TO y",
            "ALTER TABLE a RENAME INDEX x TO y, RENAME KEY v TO w",
            "ALTER TABLE a COMMENT 'RENAME TO b'",
            "ALTER TABLE a ADD COLUMN `RENAME` int",
            "/*!40000 ALTER TABLE `a` DISABLE KEYS */",
            "SET STATEMENT lock_wait_timeout = 5, sql_mode = 'FOR' FOR ALTER IGNORE TABLE a ADD x int",
        ] {
            assert_eq!(classify(text), Statement::Alter(plain("a")), "{text}");
        }
        assert_eq!(classify("RENAME USER a TO b"), Statement::Other);
    }

    #[test]
    fn rows_that_come_or_go_without_events() {
        let of = |names: &[&str]| Statement::Remove(names.iter().map(|text| name(None, text)).collect());
        for (text, names) in [
            ("ALTER TABLE t TRUNCATE PARTITION p", &["t"][..]),
            (
                "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE x",
                &["t", "t", "x"],
            ),
            (
                "ALTER TABLE t CONVERT TABLE x TO PARTITION p VALUES LESS THAN (9)",
                &["t", "x"],
            ),
            ("ALTER TABLE t CONVERT PARTITION p TO TABLE x", &["t"]),
            ("ALTER TABLE t IMPORT TABLESPACE", &["t"]),
            ("CREATE OR REPLACE TABLE t (id int)", &["t"]),
        ] {
            assert_eq!(classify(text), of(names), "{text}");
        }
        for text in [
            "CREATE TABLE t (id int)",
            "CREATE OR REPLACE VIEW t AS SELECT 1",
            "CREATE OR REPLACE TEMPORARY TABLE t (id int)",
        ] {
            assert_eq!(classify(text), Statement::Other, "{text}");
        }
        for text in [
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
            "ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (9))",
        ] {
            assert_eq!(classify(text), Statement::Alter(name(None, "t")), "{text}");
        }
    }

    #[test]
    fn mentioned_names_are_whole_words() {
        assert!(mentions("INSERT INTO `Orders` VALUES (1)", "orders"));
        assert!(!mentions("INSERT INTO orders2 VALUES (1)", "orders"));
        assert!(!mentions("", "orders"));
    }

    #[test]
    fn odd_texts_do_not_panic() {
        for text in [
            "/*",
            "/*!",
            "`",
            "TRUNCATE `",
            "DROP TABLE",
            "ALTER TABLE `é` DROP 'ü PARTITION",
            "((",
            "*/ é",
        ] {
            let _ = classify(text);
        }
    }
}
