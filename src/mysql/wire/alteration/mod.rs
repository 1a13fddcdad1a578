//! Does an ALTER TABLE leave the values of the rows that are there as they are?
//!
//! What it does to them is in no log: only its text is. So what is known to keep every value of the columns that stay
//! passes ([`Verdict::Keeps`]), and everything else, above all what is not understood completely, may have changed
//! rows. Pure. Reads the text in the SQL mode of its session, and what columns were before as far as that is known.
//! Refuses: statements that move rows or names of tables (see `query`).

mod column;
mod words;

use crate::model::schema::ColumnType;
use std::collections::{HashMap, HashSet};
use words::{Reading, Token};

/// Of the session that wrote a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlMode(pub u64);

impl SqlMode {
    const ANSI_QUOTES: u64 = 1 << 2;
    const NO_AUTO_VALUE_ON_ZERO: u64 = 1 << 19;
    const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    const STRICT_TRANS_TABLES: u64 = 1 << 21;
    const STRICT_ALL_TABLES: u64 = 1 << 22;

    fn has_ansi_quotes(self) -> bool {
        self.0 & Self::ANSI_QUOTES != 0
    }

    fn escapes(self) -> bool {
        self.0 & Self::NO_BACKSLASH_ESCAPES == 0
    }

    /// What does not fit fails a statement instead of being cut to what does.
    fn is_strict(self) -> bool {
        self.0 & (Self::STRICT_TRANS_TABLES | Self::STRICT_ALL_TABLES) != 0
    }

    fn keeps_zeros(self) -> bool {
        self.0 & Self::NO_AUTO_VALUE_ON_ZERO != 0
    }
}

/// What decides which values a column can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stood {
    pub ty: ColumnType,
    /// Of texts and labels.
    pub charset: Option<String>,
    pub nullable: bool,
}

/// The table right before the statement. Names are in lower case.
pub struct Before<'a> {
    /// As far as they are known.
    pub columns: &'a HashMap<String, Stood>,
    /// These are all.
    pub is_whole: bool,
    /// Names that columns had and lost since.
    pub left: &'a HashSet<String>,
    /// Of columns that name none.
    pub charset: Option<String>,
    /// The column with AUTO_INCREMENT.
    pub counted: Option<&'a str>,
    /// The server logs what foreign keys do by themselves.
    pub logs_cascades: bool,
    pub mode: Option<SqlMode>,
}

/// What becomes of the columns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Names that are no column's any more.
    pub leaving: Vec<String>,
    /// Columns that came or are others now, and what they are if that is certain.
    pub others: Vec<(String, Option<Stood>)>,
    /// Columns that name no character set get another one from now on.
    pub recharset: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Keeps(Effects),
    /// Why it may have changed rows.
    MayChange(String),
    /// A foreign key that changes rows of this table by itself.
    Cascades,
}

/// The character set that a collation's name begins with.
pub fn charset_of(collation: &str) -> String {
    match collation.split('_').next().unwrap_or_default() {
        "utf8" => "utf8mb3".to_owned(),
        other => other.to_owned(),
    }
}

/// `text`: an ALTER TABLE.
pub fn judge(text: &str, before: &Before<'_>) -> Verdict {
    let mut alteration = Alteration {
        before,
        arriving: Vec::new(),
        effects: Effects::default(),
    };
    match alteration.read(text) {
        Ok(()) => Verdict::Keeps(alteration.effects),
        Err(verdict) => verdict,
    }
}

type Step = Result<(), Verdict>;

fn doubt(why: impl Into<String>) -> Verdict {
    Verdict::MayChange(why.into())
}

/// A clause that is not listed here.
fn unknown(clause: &Reading<'_>) -> Verdict {
    match clause.0.first() {
        Some(Token::Word(word)) if word.chars().all(|c| c.is_ascii_alphabetic() || c == '_') => {
            doubt(format!(
                "its clause {} .. is not known to leave the rows as they are",
                word.to_ascii_uppercase()
            ))
        }
        _ => doubt("its text is not understood completely"),
    }
}

fn sure(is_known: bool, clause: &Reading<'_>) -> Step {
    if is_known { Ok(()) } else { Err(unknown(clause)) }
}

/// `ON DELETE` or `ON UPDATE` with an action of the server's own.
fn cascades(clause: &Reading<'_>) -> bool {
    (0..clause.0.len()).any(|at| {
        let mut reading = Reading(&clause.0[at..]);
        (reading.is(&["ON", "DELETE"]) || reading.is(&["ON", "UPDATE"]))
            && (reading.is(&["CASCADE"]) || reading.is(&["SET"]))
    })
}

const KEYS: [&str; 5] = ["INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL"];
/// Options whose value touches no row.
const OPTIONS: [&str; 24] = [
    "ALGORITHM",
    "AUTO_INCREMENT",
    "AUTOEXTEND_SIZE",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "COMMENT",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "ENCRYPTED",
    "ENCRYPTION",
    "ENCRYPTION_KEY_ID",
    "KEY_BLOCK_SIZE",
    "LOCK",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "ROW_FORMAT",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "TABLESPACE",
];
/// Of partitions: they stand alone, and rows that find no place fail them.
const PARTITIONS: [&str; 7] = [
    "REORGANIZE",
    "COALESCE",
    "REBUILD",
    "ANALYZE",
    "CHECK",
    "OPTIMIZE",
    "REPAIR",
];

struct Alteration<'a> {
    before: &'a Before<'a>,
    arriving: Vec<String>,
    effects: Effects,
}

impl Alteration<'_> {
    fn read(&mut self, text: &str) -> Step {
        let tokens = words::tokens(text, self.before.mode);
        let mut tokens = tokens.ok_or_else(|| doubt("its text is not understood completely"))?;
        tokens.pop_if(|last| *last == Token::Sign(';'));
        let mut reading = Reading(&tokens);
        head(&mut reading)?;
        if reading.is_over() {
            return Ok(());
        }
        let clauses = reading.parts().ok_or_else(|| unknown(&reading))?;
        let is_of_partitions = PARTITIONS.iter().any(|verb| reading.comes(&[verb, "PARTITION"]))
            || (clauses.len() == 1 && reading.comes(&["ADD", "PARTITION"]));
        if is_of_partitions {
            return Ok(());
        }
        for (at, clause) in clauses.iter().enumerate() {
            if clause.comes(&["ORDER", "BY"]) {
                ordered(&clauses[at..])?;
                break;
            }
            self.clause(&mut clause.clone())?;
        }
        self.arrive()
    }

    /// A name that another column had: old rows have its values on the other node.
    fn arrive(&mut self) -> Step {
        for name in &self.arriving {
            if self.before.left.contains(name) || self.effects.leaving.contains(name) {
                return Err(doubt(format!(
                    "a column {name:?} was made, or given this name, and another one had the name before"
                )));
            }
        }
        Ok(())
    }

    fn clause(&mut self, reading: &mut Reading<'_>) -> Step {
        if reading.is(&["ADD"]) {
            self.add(reading)
        } else if reading.is(&["DROP"]) {
            self.drop(reading)
        } else if reading.is(&["RENAME"]) {
            self.rename(reading)
        } else if reading.is(&["MODIFY"]) {
            self.redefine(reading, false)
        } else if reading.is(&["CHANGE"]) {
            self.redefine(reading, true)
        } else if reading.is(&["ALTER"]) {
            alter(reading)
        } else if reading.is(&["CONVERT"]) {
            self.convert(reading)
        } else {
            self.options(reading)
        }
    }

    fn add(&mut self, reading: &mut Reading<'_>) -> Step {
        let clause = reading.clone();
        if !self.before.logs_cascades && cascades(&clause) {
            return Err(Verdict::Cascades);
        }
        let is_vector = clause.comes(&["VECTOR", "INDEX"]) || clause.comes(&["VECTOR", "KEY"]);
        let is_period = clause.comes(&["PERIOD", "FOR"]) || clause.comes(&["SYSTEM", "VERSIONING"]);
        if is_period || clause.comes(&["PARTITION"]) {
            return Err(unknown(&clause));
        }
        if is_vector || self.constraint(reading)? {
            return Ok(());
        }
        reading.is(&["COLUMN"]);
        reading.is(&["IF", "NOT", "EXISTS"]);
        let Some(inside) = reading.group() else {
            let name = reading.name().ok_or_else(|| unknown(&clause))?;
            self.come(name);
            return Ok(());
        };
        for mut part in inside.parts().ok_or_else(|| unknown(&clause))? {
            if !self.constraint(&mut part)? {
                let name = part.name().ok_or_else(|| unknown(&clause))?;
                self.come(name);
            }
        }
        sure(reading.is_over(), &clause)
    }

    fn come(&mut self, name: String) {
        self.effects.others.push((name.clone(), None));
        self.arriving.push(name);
    }

    /// Keys and checks. `false`: it is none.
    fn constraint(&self, reading: &mut Reading<'_>) -> Result<bool, Verdict> {
        let clause = reading.clone();
        let is_kind = |reading: &Reading<'_>| {
            ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
                .iter()
                .any(|word| reading.comes(&[word]))
        };
        if reading.is(&["CONSTRAINT"]) {
            reading.is(&["IF", "NOT", "EXISTS"]);
            if !is_kind(reading) && reading.name().is_none() {
                return Err(unknown(&clause));
            }
            sure(is_kind(reading), &clause)?;
        }
        if reading.comes(&["PRIMARY", "KEY"]) {
            // Else it makes zeros of the NULLs it finds.
            return match self.before.mode.is_some_and(SqlMode::is_strict) {
                true => Ok(true),
                false => Err(doubt(
                    "a primary key was made without strict SQL mode, which may have changed NULLs",
                )),
            };
        }
        Ok(is_kind(reading) || KEYS.iter().any(|word| reading.comes(&[word])))
    }

    fn drop(&mut self, reading: &mut Reading<'_>) -> Step {
        let clause = reading.clone();
        let is_other = reading.is_any(&["INDEX", "KEY", "CONSTRAINT", "CHECK"])
            || reading.is(&["FOREIGN", "KEY"])
            || reading.is(&["PRIMARY", "KEY"]);
        if is_other {
            return Ok(());
        }
        if ["PARTITION", "PERIOD", "SYSTEM"]
            .iter()
            .any(|word| clause.comes(&[word]))
        {
            return Err(unknown(&clause));
        }
        reading.is(&["COLUMN"]);
        reading.is(&["IF", "EXISTS"]);
        let name = reading.name().ok_or_else(|| unknown(&clause))?;
        reading.is_any(&["RESTRICT", "CASCADE"]);
        self.effects.leaving.push(name);
        sure(reading.is_over(), &clause)
    }

    fn rename(&mut self, reading: &mut Reading<'_>) -> Step {
        let clause = reading.clone();
        let is_column = reading.is(&["COLUMN"]);
        sure(is_column || reading.is_any(&["INDEX", "KEY"]), &clause)?;
        reading.is(&["IF", "EXISTS"]);
        let from = reading.name().ok_or_else(|| unknown(&clause))?;
        sure(reading.is(&["TO"]), &clause)?;
        let to = reading.name().ok_or_else(|| unknown(&clause))?;
        sure(reading.is_over(), &clause)?;
        if is_column && from != to {
            let stood = self.before.columns.get(&from).cloned();
            self.renamed(from, to, stood);
        }
        Ok(())
    }

    fn renamed(&mut self, from: String, to: String, now: Option<Stood>) {
        self.effects.leaving.push(from);
        self.effects.others.push((to.clone(), now));
        self.arriving.push(to);
    }

    /// MODIFY, and CHANGE with its new name.
    fn redefine(&mut self, reading: &mut Reading<'_>, has_name: bool) -> Step {
        let clause = reading.clone();
        reading.is(&["COLUMN"]);
        reading.is(&["IF", "EXISTS"]);
        let from = reading.name().ok_or_else(|| unknown(&clause))?;
        let to = match has_name {
            true => reading.name().ok_or_else(|| unknown(&clause))?,
            false => from.clone(),
        };
        let now = column::retyped(&from, reading, self.before).map_err(doubt)?;
        match from == to {
            true => self.effects.others.push((to, now)),
            false => self.renamed(from, to, now),
        }
        Ok(())
    }

    /// `CONVERT TO CHARACTER SET`: every text.
    fn convert(&mut self, reading: &mut Reading<'_>) -> Step {
        let clause = reading.clone();
        let is_known = reading.is(&["TO", "CHARACTER", "SET"]) || reading.is(&["TO", "CHARSET"]);
        sure(is_known, &clause)?;
        let charset = reading.value().ok_or_else(|| unknown(&clause))?;
        if reading.is(&["COLLATE"]) {
            reading.value().ok_or_else(|| unknown(&clause))?;
        }
        sure(reading.is_over(), &clause)?;
        let mut columns = self.before.columns.values();
        let is_kept = |stood: &Stood| {
            let old = stood.charset.as_deref();
            old.is_none_or(|old| column::carries(old, &charset))
        };
        if !self.before.is_whole || !columns.all(is_kept) {
            return Err(doubt(
                "its texts are converted to a character set that is not known to hold all of them",
            ));
        }
        // A text may have become a longer type.
        let texts = self
            .before
            .columns
            .iter()
            .filter(|(_, stood)| stood.charset.is_some());
        self.effects
            .others
            .extend(texts.map(|(name, _)| (name.clone(), None)));
        self.effects.recharset = true;
        Ok(())
    }

    /// One option of the table after another.
    fn options(&mut self, reading: &mut Reading<'_>) -> Step {
        let clause = reading.clone();
        while !reading.is_over() {
            if reading.is(&["PARTITION", "BY"]) {
                return Ok(());
            }
            let is_bare = reading.is(&["FORCE"])
                || reading.is(&["ENABLE", "KEYS"])
                || reading.is(&["DISABLE", "KEYS"])
                || reading.is(&["WITH", "VALIDATION"])
                || reading.is(&["WITHOUT", "VALIDATION"])
                || reading.is(&["REMOVE", "PARTITIONING"]);
            if is_bare {
                continue;
            }
            if reading.is(&["ENGINE"]) {
                let engine = reading.value();
                sure(engine.as_deref() == Some("innodb"), &clause)?;
                continue;
            }
            let is_default = reading.is(&["DEFAULT"]);
            let is_charset =
                reading.is(&["CHARACTER", "SET"]) || reading.is(&["CHARSET"]) || reading.is(&["COLLATE"]);
            sure(is_charset || (!is_default && reading.is_any(&OPTIONS)), &clause)?;
            self.effects.recharset |= is_charset;
            reading.value().ok_or_else(|| unknown(&clause))?;
        }
        // An empty clause is none.
        sure(!clause.is_over(), &clause)
    }
}

/// Up to what is done with the table.
fn head(reading: &mut Reading<'_>) -> Step {
    let whole = reading.clone();
    let not_read = || doubt("its text is not understood completely");
    if reading.is(&["SET", "STATEMENT"]) {
        // MariaDB: settings for this statement alone.
        while !reading.is(&["FOR"]) {
            let is_mode = reading.comes(&["SQL_MODE"]) || reading.comes(&["OLD_MODE"]);
            if is_mode || reading.next().is_none() {
                return Err(not_read());
            }
        }
    }
    sure(reading.is(&["ALTER"]), &whole)?;
    reading.is(&["ONLINE"]);
    if reading.is(&["IGNORE"]) {
        return Err(doubt("IGNORE changes, or takes away, what does not fit"));
    }
    sure(reading.is(&["TABLE"]), &whole)?;
    reading.is(&["IF", "EXISTS"]);
    reading.name().ok_or_else(not_read)?;
    if reading.is_sign('.') {
        reading.name().ok_or_else(not_read)?;
    }
    if reading.is(&["WAIT"]) {
        reading.next();
    }
    reading.is(&["NOWAIT"]);
    Ok(())
}

/// `ORDER BY a, b DESC` at the end: nothing else may stand in it.
fn ordered(clauses: &[Reading<'_>]) -> Step {
    for clause in clauses {
        let mut reading = clause.clone();
        reading.is(&["ORDER", "BY"]);
        let is_named = reading.name().is_some();
        reading.is_any(&["ASC", "DESC"]);
        sure(is_named && reading.is_over(), clause)?;
    }
    Ok(())
}

/// Defaults and what is seen of columns, keys and checks.
fn alter(reading: &mut Reading<'_>) -> Step {
    let clause = reading.clone();
    if reading.is_any(&["INDEX", "KEY", "CHECK", "CONSTRAINT"]) {
        return Ok(());
    }
    reading.is(&["COLUMN"]);
    reading.is(&["IF", "EXISTS"]);
    let is_named = reading.name().is_some();
    let is_known = reading.is(&["SET", "DEFAULT"])
        || reading.is(&["DROP", "DEFAULT"])
        || reading.is(&["SET", "VISIBLE"])
        || reading.is(&["SET", "INVISIBLE"]);
    sure(is_named && is_known, &clause)
}

#[cfg(test)]
mod tests;
