//! Logs: to stderr, text on a terminal and JSON elsewhere.
//!
//! Owns: which level is shown. The configuration's level holds for `run`; `-q` and `-v` go before it, `RUST_LOG`
//! before all. Other crates speak up only for warnings. While a copy draws its line, logs go above it (`foot`). Cell values and secrets are never logged, at any level.

use super::Face;
use super::foot::Above;
use crate::config::{Log, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Changes what is shown while the program runs.
pub(super) struct Filter(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Filter {
    pub(super) fn set(&self, filter: EnvFilter) {
        (self.0)(filter);
    }
}

/// `log` is the configuration's wish; commands that are not `run` have none and stay at warnings.
pub(super) fn directives_for(face: &Face, log: Option<&Log>) -> EnvFilter {
    let usual = log.map_or("warn", |log| log.level);
    let own = EnvFilter::try_from_default_env()
        .ok()
        .filter(|_| std::env::var_os("RUST_LOG").is_some());
    own.unwrap_or_else(|| EnvFilter::new(directives(usual, face.quiet, face.verbose)))
}

/// `None`: somebody else in this process has started logging (tests).
pub(super) fn start(face: &Face, log: Option<&Log>) -> Option<Filter> {
    let filter = directives_for(face, log);
    let format = log.map_or(LogFormat::Auto, |log| log.format);
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Above)
        .with_ansi(face.color_err);
    if json {
        let builder = builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        builder.try_init().ok()?;
        // Fails only without a subscriber, which was just made.
        Some(Filter(Box::new(move |filter| drop(handle.reload(filter)))))
    } else {
        let builder = builder.with_target(false).with_filter_reloading();
        let handle = builder.reload_handle();
        builder.try_init().ok()?;
        Some(Filter(Box::new(move |filter| drop(handle.reload(filter)))))
    }
}

fn directives(usual: &str, quiet: u8, verbose: u8) -> String {
    let level = match (quiet, verbose) {
        (0, 0) => usual,
        (0, 1) => "debug",
        (0, _) => "trace",
        (1, _) => "warn",
        (_, _) => "error",
    };
    let others = if level == "error" { "error" } else { "warn" };
    format!("{others},tidelock={level}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_the_configuration() {
        assert_eq!(directives("info", 0, 0), "warn,tidelock=info");
        assert_eq!(directives("trace", 1, 0), "warn,tidelock=warn");
        assert_eq!(directives("info", 2, 0), "error,tidelock=error");
        assert_eq!(directives("warn", 0, 1), "warn,tidelock=debug");
        assert_eq!(directives("warn", 0, 3), "warn,tidelock=trace");
    }
}
