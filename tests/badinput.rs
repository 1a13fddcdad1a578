//! Bad input: each mistake gives one message that says what, where, why and what mends it; nothing is lost; and
//! after the mend that the message itself prescribes it runs.
#![allow(clippy::unwrap_used)]

mod harness;

#[path = "badinput/access.rs"]
mod access;
#[path = "badinput/grants.rs"]
mod grants;
#[path = "badinput/lines.rs"]
mod lines;
#[path = "badinput/position.rs"]
mod position;
#[path = "badinput/secrets.rs"]
mod secrets;
#[path = "badinput/settings.rs"]
mod settings;
#[path = "badinput/stage.rs"]
mod stage;
#[path = "badinput/tables.rs"]
mod tables;
#[path = "badinput/tls.rs"]
mod tls;
#[path = "badinput/told.rs"]
mod told;

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
