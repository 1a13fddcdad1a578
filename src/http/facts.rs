//! What the databases say of the links, asked in the background for those who must not wait: probes and metrics.
//!
//! Owns: one report per link, made anew every [`EVERY`]. Refuses: asking on behalf of a request, and reading logs.

use crate::config::Sync;
use crate::flow::pulse::locked;
use crate::status::Report;
use crate::status::facts;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(10);

/// A link's last report, and what came of asking its ends.
#[derive(Debug, Clone)]
pub struct Known {
    pub report: Report,
    pub source_answers: bool,
    pub target_answers: bool,
    pub is_lost: bool,
}

#[derive(Debug, Default)]
pub struct Cache {
    links: Mutex<HashMap<(String, String), Known>>,
    /// How often a position was found lost that had not been before.
    invalidations: Mutex<HashMap<(String, String), u64>>,
}

impl Cache {
    pub fn report(&self, sync: &str, link: &str) -> Report {
        match self.known(sync, link) {
            Some(known) => known.report,
            None => Report {
                sync: sync.to_owned(),
                link: link.to_owned(),
                ..Report::default()
            },
        }
    }

    pub fn known(&self, sync: &str, link: &str) -> Option<Known> {
        let key = (sync.to_owned(), link.to_owned());
        locked(&self.links).get(&key).cloned()
    }

    pub fn invalidations(&self, sync: &str, link: &str) -> u64 {
        let key = (sync.to_owned(), link.to_owned());
        locked(&self.invalidations).get(&key).copied().unwrap_or_default()
    }

    pub(super) fn learn(&self, key: (String, String), mut known: Known) {
        let before = self.known(&key.0, &key.1);
        let was_lost = before.is_some_and(|before| before.is_lost);
        // Not being able to ask is no recovery, after which it would be counted again.
        known.is_lost |= was_lost && !known.source_answers;
        let is_lost = known.is_lost;
        locked(&self.links).insert(key.clone(), known);
        if is_lost && !was_lost {
            *locked(&self.invalidations).entry(key).or_default() += 1;
        }
    }
}

/// Asks until `stop`.
pub async fn watch(syncs: Vec<Sync>, cache: Arc<Cache>, stop: CancellationToken) {
    loop {
        let asked = ask(&syncs, &cache);
        tokio::select! {
            () = stop.cancelled() => return,
            () = asked => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn ask(syncs: &[Sync], cache: &Cache) {
    for sync in syncs {
        for (index, link) in sync.links().iter().enumerate() {
            let spec = sync.spec.link(index);
            let facts = facts::ask(&sync.spec, index, None).await;
            let kept = facts.source.as_ref().and_then(|source| source.as_ref().ok());
            let known = Known {
                report: Report::of(&sync.spec, link, &facts),
                source_answers: kept.is_some(),
                target_answers: facts.target.is_ok(),
                is_lost: kept.is_some_and(|kept| kept.retention.lost),
            };
            cache.learn((spec.sync.clone(), spec.id.clone()), known);
        }
    }
}
