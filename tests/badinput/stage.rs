//! Two databases with one table in step, the program, and what it says when something is wrong.
//!
//! Owns: config files, reading messages (code, words, hint), doing what a message prescribes, and the proof that both
//! sides are equal and still follow each other.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Db, Kind, Options, Tidelock, database, difference, equal, private};

/// A setting is looked at every few seconds; the rest is a busy machine.
pub(crate) const NOTICED: Duration = Duration::from_secs(45);

/// Node `a` is PostgreSQL, node `b` MySQL or MariaDB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair(pub Kind, pub Kind);

pub(crate) const NEW: Pair = Pair(Kind::Postgres18, Kind::Mysql);
pub(crate) const OLD: Pair = Pair(Kind::Postgres15, Kind::Mariadb);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Merge,
    AToB,
    BToA,
}

/// The fields are dropped in this order: the program must be gone before its databases are.
pub(crate) struct Stage {
    pub lock: Tidelock,
    pub a: Db,
    pub b: Db,
    pub way: Way,
    /// The lines of `[node.a]` and `[node.b]`.
    pub node_a: String,
    pub node_b: String,
    pub tables: String,
    /// Further lines of the configuration.
    pub more: String,
    next: i64,
    /// The first copy was made: users write on both sides from here on.
    is_copied: bool,
    /// The messages for people were compared with those for programs.
    is_told_twice: Cell<bool>,
}

/// What the program says on leaving: `error:` and `hint:` for people, the same as JSON for programs.
#[derive(Debug)]
pub(crate) struct Said {
    pub message: String,
    pub hint: String,
}

impl Stage {
    /// On the shared servers.
    pub(crate) async fn new(hint: &str, pair: Pair, way: Way) -> Self {
        let (a, b) = tokio::join!(database(pair.0, hint), database(pair.1, hint));
        Self::on(a.with_accounts().await, b.with_accounts().await, way).await
    }

    /// PostgreSQL of the test's own.
    pub(crate) async fn own_a(hint: &str, pair: Pair, way: Way, options: &Options) -> Self {
        let (a, b) = tokio::join!(private(pair.0, options), database(pair.1, hint));
        Self::on(a.with_accounts().await, b.with_accounts().await, way).await
    }

    /// MySQL or MariaDB of the test's own.
    pub(crate) async fn own_b(hint: &str, pair: Pair, way: Way, options: &Options) -> Self {
        let (a, b) = tokio::join!(database(pair.0, hint), private(pair.1, options));
        Self::on(a.with_accounts().await, b.with_accounts().await, way).await
    }

    /// Two databases, with their accounts, with a table of two rows on the side that is copied from.
    pub(crate) async fn on(a: Db, b: Db, way: Way) -> Self {
        let mut stage = Self {
            node_a: a.node(),
            node_b: b.node(),
            lock: Tidelock::new(""),
            a,
            b,
            way,
            tables: "\"item\"".to_owned(),
            more: String::new(),
            next: 100,
            is_copied: false,
            is_told_twice: Cell::new(false),
        };
        for db in [&stage.a, &stage.b] {
            db.exec("CREATE TABLE item (id int NOT NULL PRIMARY KEY, word varchar(60) NOT NULL)")
                .await;
        }
        stage
            .seeder()
            .exec("INSERT INTO item VALUES (1, 'one'), (2, 'two')")
            .await;
        stage.configure();
        stage
    }

    pub(crate) fn mariadb(&self) -> bool {
        self.b.kind() == Kind::Mariadb
    }

    pub(crate) fn seeder(&self) -> &Db {
        if self.way == Way::BToA { &self.b } else { &self.a }
    }

    pub(crate) fn copied(&self) -> &Db {
        if self.way == Way::BToA { &self.a } else { &self.b }
    }

    pub(crate) fn side(&self, is_a: bool) -> &Db {
        if is_a { &self.a } else { &self.b }
    }

    /// The name of the slot and of the publication's sync.
    pub(crate) fn sync(&self) -> &str {
        self.a.name()
    }

    pub(crate) fn config(&self) -> String {
        let (mode, seed) = match self.way {
            Way::Merge => ("mode = \"merge\"", "from:a"),
            Way::AToB => ("mode = \"transactional\"\nfrom = \"a\"", "from:a"),
            Way::BToA => ("mode = \"transactional\"\nfrom = \"b\"", "from:b"),
        };
        format!(
            "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\n{mode}\n\
             tables = [{}]\nseed = \"{seed}\"\n{}",
            self.node_a,
            self.node_b,
            self.sync(),
            self.tables,
            self.more,
        )
    }

    /// Writes the config file anew, after a field was changed.
    pub(crate) fn configure(&mut self) {
        self.lock.configure(&self.config());
    }

    /// Set up and copied.
    pub(crate) async fn begin(&mut self) {
        self.lock.ok(&["setup", "--execute"]).await;
        self.runs().await;
    }

    /// Writes on the sources, carries over, and finds both sides equal with the new rows in them.
    pub(crate) async fn runs(&mut self) {
        if !std::mem::replace(&mut self.is_copied, true) {
            self.lock.ok(&["run", "--once"]).await;
            self.assert_equal().await;
        }
        self.write().await;
        self.lock.ok(&["run", "--once"]).await;
        self.assert_equal().await;
    }

    /// One row, one change and one more row on each side that is written to.
    pub(crate) async fn write(&mut self) {
        self.next += 10;
        let n = self.next;
        if self.way != Way::BToA {
            self.a
                .exec(&format!(
                    "INSERT INTO item (id, word) VALUES ({n}, 'a'), ({n} + 1, 'a')"
                ))
                .await;
            self.a
                .exec(&format!("UPDATE item SET word = 'changed' WHERE id = {n}"))
                .await;
        }
        if self.way != Way::AToB {
            self.b
                .exec(&format!(
                    "INSERT INTO item (id, word) VALUES ({n} + 5, 'b'), ({n} + 6, 'b')"
                ))
                .await;
            self.b
                .exec(&format!("UPDATE item SET word = 'changed' WHERE id = {n} + 5"))
                .await;
        }
    }

    pub(crate) async fn assert_equal(&self) {
        equal(&self.a, &self.b, "public.item", &["id"], &["word"]).await;
        assert!(self.a.count("item").await >= 2, "the rows are gone on both sides");
    }

    /// Waits until the running program has carried everything over.
    pub(crate) async fn wait_equal(&mut self) {
        let limit = tokio::time::Instant::now() + NOTICED;
        while let Some(found) = difference(&self.a, &self.b, "public.item", &["id"], &["word"]).await {
            assert!(self.lock.running(), "tidelock has ended by itself");
            assert!(tokio::time::Instant::now() < limit, "{found}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs in the background, and has shown that rows cross.
    pub(crate) async fn start(&mut self) {
        self.lock.spawn_with(&["run", "--json"]);
        self.write().await;
        self.wait_equal().await;
    }

    /// A command that must fail with this code and all these words.
    pub(crate) async fn refused(&self, command: &[&str], code: i32, words: &[&str]) -> Said {
        let output = self.lock.run(&[command, &["--json"]].concat()).await;
        let said = judged(output.code, &output.stderr, code, words);
        // Without --json it is the same, for people.
        if command == ["run", "--once"] && !self.is_told_twice.replace(true) {
            let plain = self.lock.run(command).await;
            assert_eq!(plain.code, code, "{}", plain.stderr);
            let (error, hint) = plain.stderr.split_once("\nhint: ").unwrap();
            let last = error.lines().last().unwrap();
            // Positions move on.
            let same = |text: &str| {
                text.split(|c: char| c.is_ascii_digit())
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            };
            assert_eq!(same(last), same(&format!("error: {}", said.message)));
            assert_eq!(hint.trim_end(), said.hint);
        }
        said
    }

    /// The first start and every later one is refused in this way, and nothing was written.
    pub(crate) async fn refused_run(&self, code: i32, words: &[&str]) -> Said {
        let before = self.rows().await;
        let said = self.refused(&["run", "--once"], code, words).await;
        // A link whose log is whole may go on until the other one's is found lost.
        if code != 7 {
            assert_eq!(before, self.rows().await, "a refused run wrote something");
        }
        said
    }

    /// The running program must end by itself, with this code and all these words.
    pub(crate) async fn ends(&mut self, code: i32, words: &[&str]) -> Said {
        let found = self.lock.wait(NOTICED).await;
        let log = self.lock.log();
        judged(found, &log, code, words)
    }

    /// `check` finds this code on the node (empty: any) with these words; returns what it says mends it.
    pub(crate) async fn finding(&self, node: &str, code: &str, words: &[&str]) -> String {
        let output = self.lock.run(&["check", "--json"]).await;
        let document: Json = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr));
        let lists = ["nodes", "tables"].into_iter().flat_map(|name| {
            let list = document[name].as_array().unwrap();
            list.iter().flat_map(|part| part["findings"].as_array().unwrap())
        });
        let mut seen = vec![];
        for finding in lists {
            let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            let all = ["table", "what", "fix"].map(text).join("\n");
            let right = finding["code"] == code && (node.is_empty() || finding["node"] == node);
            if right && words.iter().all(|word| all.contains(word)) {
                if finding["level"] == "blocker" {
                    let expected = if code == "E001" { 6 } else { 3 };
                    assert_eq!(output.code, expected, "{}", output.stderr);
                }
                return finding["fix"].as_str().expect("a finding has a fix").to_owned();
            }
            seen.push(finding.to_string());
        }
        panic!("no {code} with {words:?} among:\n{}", seen.join("\n"));
    }

    /// Torn down, set up and copied again; the copied side is empty already.
    pub(crate) async fn anew(&mut self) {
        self.lock.ok(&["setup", "--execute"]).await;
        self.is_copied = false;
        self.runs().await;
    }

    async fn rows(&self) -> [Vec<Vec<Option<String>>>; 2] {
        let sql = "SELECT id, word FROM item ORDER BY id";
        let (mut a, mut b) = (self.a.session().await, self.b.session().await);
        // A table may be what is missing.
        [
            a.try_rows(sql).await.unwrap_or_default(),
            b.try_rows(sql).await.unwrap_or_default(),
        ]
    }

    /// The way back after a lost position, as the message says it. No row of either side is lost by it.
    /// Where both changed a row, `newer` (`a` or `b`) has what is to stay.
    pub(crate) async fn renew(&mut self, said: &Said, newer: &str) {
        let command = |deed: &str| format!("`tidelock {deed} --sync {} --execute`", self.sync());
        let (teardown, setup) = (command("teardown"), command("setup"));
        let steps = [&*teardown, "empty", "saving", &*setup, "`tidelock run`"];
        let mut rest = said.hint.as_str();
        for step in steps {
            let at = rest
                .find(step)
                .unwrap_or_else(|| panic!("no {step} in its place: {said:?}"));
            rest = &rest[at..];
        }
        self.lock.ok(&["teardown", "--execute"]).await;
        let (from, to) = (self.seeder(), self.copied());
        let all = "SELECT id, word FROM item";
        let (own, saved) = (from.rows(all).await, to.rows(all).await);
        let is_news = |row: &&Vec<Option<String>>| match newer {
            _ if self.way != Way::Merge => false,
            "a" => own.iter().all(|other| other[0] != row[0]),
            _ => !own.contains(row),
        };
        for row in saved.iter().filter(is_news) {
            let (id, word) = (row[0].as_deref().unwrap(), row[1].as_deref().unwrap());
            from.exec(&format!("DELETE FROM item WHERE id = {id}")).await;
            from.exec(&format!("INSERT INTO item VALUES ({id}, '{word}')"))
                .await;
        }
        to.exec("DELETE FROM item").await;
        let wanted = from.rows("SELECT id FROM item").await;
        self.anew().await;
        let found = self.copied().rows("SELECT id FROM item").await;
        assert!(
            wanted.iter().all(|id| found.contains(id)),
            "rows were lost on the way back"
        );
    }
}

fn judged(found: i32, stderr: &str, code: i32, words: &[&str]) -> Said {
    assert_eq!(found, code, "exit code; it said:\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    let last: Json = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(last["code"], code, "{last}");
    let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
    let said = Said {
        message: text("message"),
        hint: text("hint"),
    };
    assert!(!said.hint.is_empty(), "no hint: {said:?}");
    for word in words {
        let all = format!("{}\n{}", said.message, said.hint);
        assert!(all.contains(word), "{word:?} is not in: {said:?}");
    }
    assert!(!said.message.contains('\n'), "one line: {said:?}");
    said
}

/// What neither the owner of the tables nor the run account may do.
const OF_A_DBA: [&str; 6] = [
    "SET GLOBAL",
    "SET PERSIST",
    "ALTER SYSTEM",
    "ALTER ROLE",
    " ON PARAMETER ",
    " ON *.*",
];

/// Runs the statements of a hint, which stand among words for people, as their owner or as the DBA. At least one must
/// be there.
pub(crate) async fn mend(db: &Db, hint: &str) {
    let verbs = ["ALTER ", "GRANT ", "SET ", "CREATE ", "TRUNCATE ", "SELECT "];
    let mut done = 0;
    let (mut owner, mut dba) = (db.session().await, db.admin().await);
    for part in hint.split(';') {
        let start = verbs.iter().filter_map(|verb| part.find(verb)).min();
        let Some(start) = start else { continue };
        let statement = part[start..].trim();
        // In brackets, within a sentence.
        let statement = statement.split("), ").next().unwrap_or_default();
        match OF_A_DBA.iter().any(|words| statement.contains(words)) {
            true => dba.exec(statement).await,
            false => owner.exec(statement).await,
        }
        done += 1;
    }
    assert!(done > 0, "no statement in {hint:?}");
}
