//! Errors of real servers under a running link: each class provoked, what the log says of it, and what Tidelock does.
//!
//! - `passes`: what goes on by itself, one fault after the other under one process that must survive them all;
//! - `stops`: what a person must see to, with exit code and words;
//! - `hosts`: several hosts, sockets, a database that comes up late;
//! - `frozen`: a server that hangs with its connections open.
#![allow(clippy::unwrap_used)]

mod frozen;
#[path = "../harness/mod.rs"]
mod harness;
mod hosts;
mod passes;
#[path = "../badinput/stage.rs"]
#[allow(dead_code)]
mod stage;
mod stops;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness::{Db, Options, Session, private};
use stage::{NOTICED, Pair, Stage, Way};

/// One test per pair of engines.
macro_rules! on_both_pairs {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use crate::stage::{NEW, OLD};
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres18_mysql() { super::$test(NEW).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres15_mariadb() { super::$test(OLD).await }
        }
    )+ };
}
pub(crate) use on_both_pairs;

/// Long ones: on the second pair in `make test-all` only.
macro_rules! long_on_both_pairs {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use crate::stage::{NEW, OLD};
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres18_mysql() { super::$test(NEW).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "make test-all"]
            async fn postgres15_mariadb() { super::$test(OLD).await }
        }
    )+ };
}
pub(crate) use long_on_both_pairs;

const POLL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}

/// Two private servers, and the program with accounts that may do no more than they must, passwords in files.
struct Scene {
    stage: Stage,
}

impl Scene {
    async fn new(pair: Pair, extra_b: &[&str]) -> Self {
        let own = Options::default();
        let other = Options {
            extra: extra_b.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        let (a, b) = tokio::join!(private(pair.0, &own), private(pair.1, &other));
        let (a, b) = tokio::join!(a.with_accounts(), b.with_accounts());
        let mut stage = Stage::on(a, b, Way::Merge).await;
        stage.lock.env("RUST_LOG", "tidelock=debug");
        stage.node_a = line(&stage.a, "a.word");
        stage.node_b = line(&stage.b, "b.word");
        stage.configure();
        let scene = Scene { stage };
        for side in [Side::A, Side::B] {
            scene.password(side, &scene.run(side));
        }
        scene
    }

    fn db(&self, side: Side) -> &Db {
        match side {
            Side::A => &self.stage.a,
            Side::B => &self.stage.b,
        }
    }

    fn db_mut(&mut self, side: Side) -> &mut Db {
        match side {
            Side::A => &mut self.stage.a,
            Side::B => &mut self.stage.b,
        }
    }

    /// The name of the account of `tidelock run`, which is its first password too.
    fn run(&self, side: Side) -> String {
        let url: url::Url = self.db(side).run_url().parse().unwrap();
        url.username().to_owned()
    }

    fn password(&self, side: Side, word: &str) {
        let file = if side == Side::A { "a.word" } else { "b.word" };
        std::fs::write(self.stage.lock.folder().join(file), word).unwrap();
    }

    async fn admin(&self, side: Side, sql: &str) {
        self.db(side).admin().await.exec(sql).await;
    }

    /// Ends all sessions of the run account at once.
    async fn cut(&self, side: Side) {
        let (user, mut admin) = (self.run(side), self.db(side).admin().await);
        cut(&mut admin, side, &user).await;
    }

    /// A row that the other side must get.
    async fn add(&self, side: Side) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1_000_000);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let insert = format!("INSERT INTO item (id, word) VALUES ({id}, 'fault')");
        self.db(side).exec(&insert).await;
        id
    }

    /// Waits until one line said after the first `from` bytes of the log holds all these words.
    async fn said(&mut self, from: usize, words: &[&str], limit: Duration) -> String {
        let start = Instant::now();
        loop {
            let log = self.stage.lock.log();
            let found = log[from..]
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                return line.to_owned();
            }
            assert!(
                self.stage.lock.running(),
                "it ended; nothing with {words:?} in:\n{}",
                &log[from..]
            );
            assert!(
                start.elapsed() < limit,
                "nothing with {words:?} in:\n{}",
                &log[from..]
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn cut(admin: &mut Session, side: Side, user: &str) {
    if side == Side::A {
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
        admin.exec(&sql).await;
        return;
    }
    let sql = format!("SELECT id FROM information_schema.processlist WHERE user = '{user}'");
    for row in admin.rows(&sql).await {
        // It may have gone by itself.
        let _ = admin
            .try_exec(&format!("KILL {}", row[0].as_deref().unwrap()))
            .await;
    }
}

/// The run account with its password in a file, and the owner's for `setup`.
fn line(db: &Db, file: &str) -> String {
    let mut url: url::Url = db.run_url().parse().unwrap();
    url.set_password(None).unwrap();
    format!(
        "url = \"{url}\"\npassword_file = \"{file}\"\nsetup_url = \"{}\"",
        db.owner_url()
    )
}
