//! Where a finding of the databases stands in the file: the line that says what they do not have.
//!
//! Owns: the lines of the tables' sections and of `tables` ([`Line`]), and which of them a finding is about
//! ([`Config::locate`]). A finding says what of the section it means; the nearest that is written is shown: the word itself,
//! else its column, else the section, else `tables`. Refuses: showing a secret (see `problem`).

use super::{Config, Sync};
use crate::flow::spec::SyncSpec;
use crate::model::sync::{ConfigLine, Finding};

/// One key of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `sync.NAME.table.TABLE.column.COLUMN.NODE`
    pub(super) key: String,
    pub(super) line: ConfigLine,
}

impl Config {
    /// Gives the finding its line, where it is about something that is written there. `spec` has the sync's tables.
    pub fn locate(&self, sync: &Sync, spec: &SyncSpec, finding: &mut Finding) {
        let Some(setting) = &finding.setting else { return };
        let prefix = format!("sync.{}", sync.spec.name);
        let table = finding.table.as_ref().filter(|_| setting != Finding::TABLES);
        let sections = table.map_or_else(Vec::new, |table| {
            let node = spec.nodes.iter().position(|node| node.name == finding.node);
            node.map_or_else(Vec::new, |node| sections(spec, node, table))
        });
        let found = sections
            .iter()
            .map(|section| self.nearest(&format!("{prefix}.table.{section}"), setting));
        let said = found.flatten().max_by_key(|(depth, _)| *depth);
        let line = match said {
            Some((depth, line)) if depth > 0 || setting.is_empty() => Some(line),
            // What the table does not say itself it has from the sync.
            said => {
                let of_sync = (!setting.is_empty())
                    .then(|| self.line(&format!("{prefix}.{setting}")))
                    .flatten();
                of_sync.or(said.map(|(_, line)| line))
            }
        };
        let line = line.or_else(|| self.line(&format!("{prefix}.tables")));
        finding.line = line.cloned();
    }

    /// The line of the setting, or of what it is part of; and how much of it that is.
    fn nearest(&self, section: &str, setting: &str) -> Option<(usize, &ConfigLine)> {
        let mut wanted = setting;
        loop {
            let key = match wanted {
                "" => section.to_owned(),
                wanted => format!("{section}.{wanted}"),
            };
            if let Some(line) = self.line(&key) {
                return Some((wanted.len(), line));
            }
            if wanted.is_empty() {
                return None;
            }
            // Beside it other columns are spoken of, which are no nearer.
            wanted = wanted.rsplit_once('.').map_or("", |(before, _)| before);
            if ["column", "to"].contains(&wanted) {
                wanted = "";
            }
        }
    }

    /// Of the key itself, or of the first below it.
    fn line(&self, key: &str) -> Option<&ConfigLine> {
        let exact = self.lines.iter().find(|line| line.key == key);
        let below = |line: &&Line| {
            line.key
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        exact
            .or_else(|| self.lines.iter().find(below))
            .map(|line| &line.line)
    }
}

/// The names of the sections that speak of a node's table.
fn sections(spec: &SyncSpec, node: usize, table: &str) -> Vec<String> {
    let mut ids = spec.nodes[node].tables.iter();
    let known = ids.find(|id| id.to_string() == table);
    let known = known.and_then(|id| spec.choice.known_on(node, id));
    let section = known.and_then(|known| spec.choice.section_text(known.declared?));
    section.into_iter().collect()
}
