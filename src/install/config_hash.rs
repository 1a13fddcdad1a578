//! What both sides must agree on while they run, as one short text: a digest of all of it, and one of each part, which
//! only tells what changed.
//!
//! Pure. `DIGEST.AAAA.BBBB...` in the order of [`PARTS`], 62 bytes. One that was recorded without parts counts by its
//! digest alone.

/// The keys of a sync's configuration behind each part.
pub const PARTS: [&str; 6] = [
    "nodes",
    "mode or ids",
    "tables",
    "on_conflict",
    "version",
    "sections [sync.table]",
];
/// Hex digits of a part.
const DIGITS: usize = 4;

/// `whole` and `parts`: as canonical text; the parts in the order of [`PARTS`].
pub fn of(whole: &str, parts: &[String; PARTS.len()]) -> String {
    let mut text = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(whole.as_bytes()));
    for part in parts {
        let full = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(part.as_bytes()));
        text.push('.');
        text.push_str(&full[..DIGITS]);
    }
    text
}

/// The digest alone.
pub fn short(hash: &str) -> &str {
    hash.split_once('.').map_or(hash, |(digest, _)| digest)
}

pub fn is_same(one: &str, other: &str) -> bool {
    short(one) == short(other)
}

/// The parts that differ, in the words of the configuration.
pub fn changed(recorded: &str, now: &str) -> String {
    let parts = |hash: &str| -> Vec<String> { hash.split('.').skip(1).map(str::to_owned).collect() };
    let (recorded, now) = (parts(recorded), parts(now));
    let differing = PARTS.iter().zip(recorded.iter().zip(&now));
    let differing: Vec<&str> = differing
        .filter(|(_, (was, is))| was != is)
        .map(|(part, _)| *part)
        .collect();
    match differing.is_empty() || recorded.len() != PARTS.len() {
        true => format!("one of {}", PARTS.join(", ")),
        false => differing.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(rule: &str) -> [String; PARTS.len()] {
        ["n", "m", "t", rule, "v", "s"].map(str::to_owned)
    }

    #[test]
    fn what_changed_is_told_by_its_part() {
        let (was, is) = (of("1", &parts("newest")), of("2", &parts("source-of-truth:1")));
        assert!(was.len() <= 64 && short(&was).len() == 32, "the column holds 64");
        assert!(is_same(&was, &of("1", &parts("newest"))) && !is_same(&was, &is));
        assert_eq!(changed(&was, &is), "on_conflict");
        let mut others = parts("newest");
        others[0] = "other".to_owned();
        assert_eq!(changed(&of("3", &others), &is), "nodes, on_conflict");
    }

    #[test]
    fn a_hash_without_parts_counts_by_its_digest() {
        let is = of("1", &parts("newest"));
        assert!(is_same(short(&is), &is));
        assert!(changed("0123", &is).starts_with("one of nodes, mode"));
    }
}
