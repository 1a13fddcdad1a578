//! LOWER and UPPER: letter by letter, by Unicode's simple mapping.
//!
//! Refuses: the rules of languages, and letters that would become several: ß stays ß, as both engines have it.

use super::Letters;

/// `None`: the text stays as it is.
pub(super) fn changed(letters: Letters, text: &str) -> Option<String> {
    let change = match letters {
        Letters::Lower => lower,
        Letters::Upper => upper,
    };
    let is_changed = |c: char| change(c) != c;
    text.chars()
        .any(is_changed)
        .then(|| text.chars().map(change).collect())
}

fn lower(c: char) -> char {
    match c {
        // With its dot it would become two characters.
        'İ' => 'i',
        _ => alone(c.to_lowercase()).unwrap_or(c),
    }
}

fn upper(c: char) -> char {
    alone(c.to_uppercase()).unwrap_or_else(|| with_iota(c))
}

fn alone(mut changed: impl Iterator<Item = char>) -> Option<char> {
    match (changed.next(), changed.next()) {
        (Some(changed), None) => Some(changed),
        _ => None,
    }
}

/// Greek letters with an iota below have a capital of their own beside the two letters that a text in capitals has.
fn with_iota(c: char) -> char {
    let further = match c {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        'ᾳ' | 'ῃ' | 'ῳ' => 9,
        _ => 0,
    };
    char::from_u32(u32::from(c) + further).unwrap_or(c)
}
