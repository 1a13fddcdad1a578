//! A column whose values have other words on another node: `active` here, 1 there.
//!
//! Owns: the words of each node ([`ValueMap`]) and which become which in one direction ([`ValueMap::pairs`]). Refuses: what
//! a word means to a column's type (see `plan::translation`). Words are compared as they are written. Pure.

use super::Passage;
use std::collections::BTreeMap;

/// One column's words. A node without words of its own has the configuration's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueMap {
    /// The column's names by node.
    pub names: Vec<String>,
    /// By node: the configuration's word to the node's.
    pub words: Vec<Option<BTreeMap<String, String>>>,
}

impl ValueMap {
    /// The source's word and the target's. What is not among them cannot pass.
    pub fn pairs(&self, source: usize, target: usize) -> Vec<(String, String)> {
        let words = |node: usize| self.words.get(node).and_then(Option::as_ref);
        let (here, there) = (words(source), words(target));
        let word = |known: Option<&BTreeMap<String, String>>, common: &String| match known {
            Some(words) => words.get(common).cloned(),
            None => Some(common.clone()),
        };
        let common = here.or(there).into_iter().flat_map(BTreeMap::keys);
        common
            .filter_map(|common| Some((word(here, common)?, word(there, common)?)))
            .collect()
    }

    /// A word that two of the configuration's words have in common on this node.
    pub fn ambiguous(&self, node: usize) -> Option<&str> {
        let words = self.words.get(node)?.as_ref()?;
        let mut seen = std::collections::BTreeSet::new();
        words
            .values()
            .find(|word| !seen.insert(*word))
            .map(String::as_str)
    }
}

impl Passage {
    /// The source's name, the target's, and what becomes of its values, of each column whose values differ between the two.
    pub fn translations(&self) -> impl Iterator<Item = (&str, &str, Vec<(String, String)>)> {
        self.mapping.values.iter().filter_map(|map| {
            let (here, there) = (map.names.get(self.source)?, map.names.get(self.target)?);
            let differs =
                [self.source, self.target].map(|node| map.words.get(node).is_some_and(Option::is_some));
            differs
                .contains(&true)
                .then(|| (here.as_str(), there.as_str(), map.pairs(self.source, self.target)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(words: [&[(&str, &str)]; 3]) -> ValueMap {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(common, own)| ((*common).to_owned(), (*own).to_owned()));
            (!pairs.len().eq(&0)).then(|| pairs.collect())
        };
        ValueMap {
            names: vec!["state".to_owned(); 3],
            words: words.map(owned).to_vec(),
        }
    }

    #[test]
    fn words_pass_by_what_they_mean_to_the_configuration() {
        let map = map([
            &[],
            &[("active", "1"), ("closed", "0")],
            &[("active", "A"), ("closed", "Z")],
        ]);
        let pair = |here: &str, there: &str| (here.to_owned(), there.to_owned());
        assert_eq!(map.pairs(0, 1), [pair("active", "1"), pair("closed", "0")]);
        assert_eq!(map.pairs(1, 0), [pair("1", "active"), pair("0", "closed")]);
        assert_eq!(map.pairs(1, 2), [pair("1", "A"), pair("0", "Z")]);
    }

    #[test]
    fn a_word_for_two_is_told() {
        let map = map([&[], &[("active", "1"), ("live", "1")], &[]]);
        assert_eq!((map.ambiguous(0), map.ambiguous(1)), (None, Some("1")));
    }
}
