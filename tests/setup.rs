//! Catalogs, `check`, `setup`, `teardown` and the stamp triggers, on all four kinds of server.
#![allow(clippy::unwrap_used)]

mod harness;

#[path = "setup/checks.rs"]
mod checks;
#[path = "setup/install.rs"]
mod install;
#[path = "setup/node.rs"]
mod node;
#[path = "setup/stamps.rs"]
mod stamps;
#[path = "setup/types.rs"]
mod types;

/// One test per kind of server.
macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use crate::harness::Kind;
            #[tokio::test]
            async fn postgres18() { super::$test(Kind::Postgres18).await }
            #[tokio::test]
            async fn postgres15() { super::$test(Kind::Postgres15).await }
            #[tokio::test]
            async fn mysql() { super::$test(Kind::Mysql).await }
            #[tokio::test]
            async fn mariadb() { super::$test(Kind::Mariadb).await }
        }
    )+ };
}
pub(crate) use on_every_server;
