//! How often: `every`, and what a sync that makes images has no use for.
//!
//! Owns: what can be judged without a database. Refuses: images without a frequency, so that nobody guesses one; keys that
//! decide between two sides, or say how one row goes, where whole tables are replaced.

use super::build::Builder;
use super::file::SyncFile;
use super::problem::Problem;
use crate::model::sync::Mode;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// More often, a link that runs all the time costs less.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// Longer, and the source's log would have to be kept for longer than anybody plans for.
const EVERY_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often, and what is said of the first rows.
pub(super) fn given(
    builder: &mut Builder<'_>,
    file: &SyncFile,
    mode: Option<Mode>,
    from: Option<&str>,
) -> (Option<Duration>, Option<Spanned<String>>) {
    let every = every(builder, file, mode);
    refuse_unused(builder, file, mode);
    let seed = seed(builder, file, mode, from);
    if let Some(given) = file.seed.as_ref().and(seed.as_ref()) {
        let key = format!("sync.{}.seed", file.name.get_ref());
        builder.show(&key, given.get_ref(), Some(given.span()));
    }
    (every, seed)
}

/// `None`: all the time.
fn every(builder: &mut Builder<'_>, file: &SyncFile, mode: Option<Mode>) -> Option<Duration> {
    let key = format!("sync.{}.every", file.name.get_ref());
    let Some(given) = &file.every else {
        if mode == Some(Mode::Snapshot) {
            let problem = Problem::new("mode = \"snapshot\" needs every: how often the image is made");
            builder.problem(problem.hint("add every = \"15m\"").at(file.mode.span()));
        }
        return None;
    };
    let text = given.get_ref();
    builder.show(&key, text, Some(given.span()));
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let parsed = text.parse::<jiff::Span>().ok();
    let parsed = parsed.and_then(|span| span.to_duration(days).ok());
    let every = parsed.and_then(|every| Duration::try_from(every).ok());
    let every = every.filter(|every| (EVERY_MIN..=EVERY_MAX).contains(every));
    if every.is_none() {
        let problem = Problem::new(format!("every is no time between two rounds: \"{text}\""));
        let hint = "from \"1s\" to \"7d\", such as \"15m\" or \"6h\"; without every a sync runs all the time";
        builder.problem(problem.hint(hint).at(given.span()));
    }
    every
}

/// Where the rows come from: of images that follows from `from`.
fn seed(
    builder: &mut Builder<'_>,
    file: &SyncFile,
    mode: Option<Mode>,
    from: Option<&str>,
) -> Option<Spanned<String>> {
    match (&file.seed, mode) {
        (Some(given), Some(Mode::Snapshot)) => {
            refuse(builder, "seed", given.span(), "every image brings all rows");
            None
        }
        (None, Some(Mode::Snapshot)) => {
            let from = from.unwrap_or_default();
            Some(Spanned::new(file.mode.span(), format!("from:{from}")))
        }
        (None, _) => {
            let problem = Problem::new("the key \"seed\" is missing");
            let hint = "say where existing rows come from: seed = \"from:NODE\", \"union\" or \"none\"";
            builder.problem(problem.hint(hint).at(file.name.span()));
            None
        }
        (Some(given), _) => Some(given.clone()),
    }
}

/// What an image leaves no choice of.
fn refuse_unused(builder: &mut Builder<'_>, file: &SyncFile, mode: Option<Mode>) {
    if mode != Some(Mode::Snapshot) {
        return;
    }
    if let Some(given) = &file.on_stop {
        refuse(
            builder,
            "on_stop",
            given.span(),
            "all tables are swapped together",
        );
    }
    if let Some(given) = &file.keep_conflicts {
        refuse(
            builder,
            "keep_conflicts",
            given.span(),
            "an image meets no conflicts",
        );
    }
}

fn refuse(builder: &mut Builder<'_>, key: &str, span: Range<usize>, why: &str) {
    let problem = Problem::new(format!("{key} has no place in mode = \"snapshot\""));
    builder.problem(problem.hint(format!("remove it: {why}")).at(span));
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{bad, but, good};
    use crate::model::sync::Mode;
    use std::time::Duration;

    /// The usual file as a sync that makes images, with these lines in place of the seed.
    fn snapshot(lines: &str) -> String {
        let text = but("mode = \"merge\"", "mode = \"snapshot\"\nfrom = \"pg\"");
        text.replace("seed = \"from:pg\"", lines)
    }

    #[test]
    fn a_frequency_is_a_time_and_counts_for_every_mode() {
        let spec = good(&snapshot("every = \"15m\"")).syncs.remove(0).spec;
        assert_eq!(
            (spec.mode, spec.every),
            (Mode::Snapshot, Some(Duration::from_secs(900)))
        );
        assert_eq!(spec.links, [(0, 1)]);
        assert_eq!(spec.link(0).every, spec.every);
        let merge = good(&but("mode = \"merge\"", "mode = \"merge\"\nevery = \"1h30m\""));
        assert_eq!(merge.syncs[0].spec.every, Some(Duration::from_secs(5_400)));
        for text in ["0s", "500ms", "8d", "-1m", "15", "soon", "P1M"] {
            let message = bad(&snapshot(&format!("every = \"{text}\"")));
            assert!(
                message.contains("every is no time between two rounds"),
                "{text}: {message}"
            );
        }
        assert!(bad(&snapshot("")).contains("needs every"));
    }

    /// The sides agree whatever the frequency, which may be changed at any time.
    #[test]
    fn a_frequency_needs_no_setup() {
        let hash = |every: &str| {
            let mut config = good(&snapshot(&format!("every = \"{every}\"")));
            config.syncs.remove(0).spec.config_hash
        };
        assert_eq!(hash("15m"), hash("1h"));
    }

    #[test]
    fn what_decides_between_two_sides_has_no_place_beside_images() {
        for (lines, expected) in [
            ("seed = \"from:pg\"", "seed has no place"),
            ("on_stop = \"table\"", "on_stop has no place"),
            ("keep_conflicts = \"30d\"", "keep_conflicts has no place"),
            (
                "on_conflict = \"newest\"",
                "on_conflict belongs to mode = \"merge\"",
            ),
            (
                "on_delete_conflict = \"delete\"",
                "on_delete_conflict belongs to mode = \"merge\"",
            ),
            ("arbiter = \"pg\"", "arbiter belongs to mode = \"merge\""),
            ("version = \"timestamp\"", "version belongs to mode = \"merge\""),
            ("ids = \"split\"", "ids = \"split\" belongs to mode = \"merge\""),
            ("topology = \"mesh\"", "topology belongs to mode = \"merge\""),
            (
                "[sync.table.customers]\nwhere = \"id > 1\"\non_filter_exit = \"keep\"",
                "on_filter_exit = \"keep\" has no place",
            ),
        ] {
            let message = bad(&snapshot(&format!("every = \"15m\"\n{lines}")));
            assert!(message.contains(expected), "{lines}: {message}");
        }
        let message = bad(&snapshot("every = \"15m\"").replace("from = \"pg\"\n", ""));
        assert!(message.contains("needs from"), "{message}");
    }
}
