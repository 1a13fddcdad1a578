//! TLS on every engine: what a server shows, what a mode asks for, and what comes of it; for the library's connections,
//! for `check`, and for a link that runs.
#![allow(clippy::unwrap_used)]

mod authority;
mod clients;
#[path = "../harness/mod.rs"]
mod harness;
mod servers;
#[path = "../badinput/stage.rs"]
#[allow(dead_code)]
mod stage;

use harness::{Db, Kind, Options, database, private};
use stage::{Stage, Way};
use tidelock::access::{Access, Identity, Secret, TlsMode};
use tidelock::error::Error;
use tidelock::postgres::replication::Replication;
use tidelock::{mysql, postgres};

/// One test per engine.
macro_rules! on_all_engines {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use crate::harness::Kind;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres18() { super::$test(Kind::Postgres18).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres15() { super::$test(Kind::Postgres15).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn mysql() { super::$test(Kind::Mysql).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn mariadb() { super::$test(Kind::Mariadb).await }
        }
    )+ };
}
pub(crate) use on_all_engines;

const MODES: [(&str, TlsMode); 4] = [
    ("disable", TlsMode::Disable),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

/// Two nodes of which the one of this kind offers TLS.
struct Scene {
    stage: Stage,
    kind: Kind,
}

impl Scene {
    async fn new(kind: Kind, extra: &[&str]) -> Self {
        let options = Options {
            tls: true,
            extra: extra.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        let peer = if kind.is_postgres() {
            Kind::Mysql
        } else {
            Kind::Postgres18
        };
        let (own, peer) = tokio::join!(private(kind, &options), database(peer, "tlspeer"));
        let (own, peer) = tokio::join!(own.with_accounts(), peer.with_accounts());
        let (a, b) = if kind.is_postgres() {
            (own, peer)
        } else {
            (peer, own)
        };
        let stage = Stage::on(a, b, Way::Merge).await;
        Scene { stage, kind }
    }

    fn db(&mut self) -> &mut Db {
        if self.kind.is_postgres() {
            &mut self.stage.a
        } else {
            &mut self.stage.b
        }
    }

    fn node(&self) -> &'static str {
        if self.kind.is_postgres() { "a" } else { "b" }
    }

    /// The run account's URL of the node with TLS gets these options.
    fn connects(&mut self, options: &str) {
        let (run, owner) = (self.db().run_url(), self.db().owner_url());
        let lines = format!("url = \"{run}?{options}\"\nsetup_url = \"{owner}\"");
        match self.node() {
            "a" => self.stage.node_a = lines,
            _ => self.stage.node_b = lines,
        }
        self.stage.configure();
    }

    /// Ends all sessions of the run account at once.
    async fn cut(&mut self) {
        let user = self.db().run_account().to_owned();
        let mut admin = self.db().admin().await;
        if self.kind.is_postgres() {
            let sql =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
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

    /// As the run account.
    fn access(&mut self, tls: TlsMode, ca_file: Option<&str>) -> Access {
        let url: url::Url = self.db().run_url().parse().unwrap();
        let name = self.db().name().to_owned();
        let user = url.username();
        Access {
            tls,
            ca_file: ca_file.map(Into::into),
            secret: Secret::Plain(user.to_owned().into()),
            ..Access::new("here", "127.0.0.1", url.port().unwrap(), user, &name)
        }
    }

    /// `check` names this node as not to be reached with these words; without words: it reaches it.
    async fn checked(&self, words: Option<&[&str]>) {
        if let Some(words) = words {
            self.stage.finding(self.node(), "E001", words).await;
            return;
        }
        let output = self.stage.lock.run(&["check", "--json"]).await;
        assert!(!output.stdout.contains("E001"), "{}", output.stdout);
        assert!(output.code != 6, "{}{}", output.stdout, output.stderr);
    }
}

/// Every kind of connection the engine has. The outcome is the same for all.
async fn connected(kind: Kind, access: &Access) -> Result<(), Error> {
    if !kind.is_postgres() {
        return mysql::connect(access).await.map(drop);
    }
    let plain = postgres::connect(access).await.map(drop);
    let stream = Replication::connect(access).await.map(drop);
    match (&plain, &stream) {
        (Ok(()), Ok(())) => {}
        (Err(plain), Err(stream)) => assert_eq!(
            (plain.class(), plain.reason_kind(), plain.hint_text()),
            (stream.class(), stream.reason_kind(), stream.hint_text()),
            "{plain} / {stream}"
        ),
        _ => panic!("one is refused, the other is not: {plain:?} / {stream:?}"),
    }
    plain
}

fn identity(certificate: &str, key: &str) -> Option<Identity> {
    Some(Identity {
        certificate: certificate.into(),
        key: key.into(),
    })
}
