//! How far apart the nodes' clocks are, where versions come from them.
//!
//! Owns: the measurement, by a few questions and their round trips, and W611. Versions stay right whatever the clocks do;
//! but a node whose clock is ahead wins what it has not written last. Refuses: judging an application's own clock, which
//! nobody can ask.

use super::pulse::now_us;
use super::spec::SyncSpec;
use crate::engine::Node;
use crate::error::Result;
use crate::model::sync::Finding;
use crate::model::version::VersionSource;

/// Clocks that are kept by NTP are nearer, machines without it are soon further apart.
const SKEW_US_MAX: i64 = 500_000;
/// The quickest of so many answers tells most exactly.
const QUESTIONS: usize = 3;

/// A node's clock as seen from here.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Before ours by so many microseconds.
    ahead_us: i64,
    /// The most by which that may be wrong.
    unsure_us: i64,
}

/// `None` where no version comes from a clock.
pub async fn read(spec: &SyncSpec, node: &mut Node) -> Result<Option<Reading>> {
    if !spec.versions.iter().any(VersionSource::is_time) {
        return Ok(None);
    }
    let mut best: Option<Reading> = None;
    for _ in 0..QUESTIONS {
        let before = now_us();
        let there = node.clock_us().await?;
        let unsure_us = (now_us() - before) / 2;
        let reading = Reading {
            ahead_us: there - before - unsure_us,
            unsure_us,
        };
        if best.is_none_or(|best| unsure_us < best.unsure_us) {
            best = Some(reading);
        }
    }
    Ok(best)
}

/// `readings`: by node.
pub fn findings(spec: &SyncSpec, readings: &[Option<Reading>]) -> Option<Finding> {
    let names: Vec<&str> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    apart(&names, readings)
}

fn apart(names: &[&str], readings: &[Option<Reading>]) -> Option<Finding> {
    let known = || {
        let nodes = names.iter().zip(readings);
        nodes.filter_map(|(name, reading)| Some((*name, (*reading)?)))
    };
    let (slow, behind) = known().min_by_key(|(_, reading)| reading.ahead_us)?;
    let (fast, ahead) = known().max_by_key(|(_, reading)| reading.ahead_us)?;
    let apart = ahead.ahead_us - behind.ahead_us;
    if apart - ahead.unsure_us - behind.unsure_us <= SKEW_US_MAX {
        return None;
    }
    let what = format!(
        "its clock is {}.{:03} s ahead of node {slow}'s, and versions come from clocks: of two writes that do not know of \
         each other this node's wins, though it be the older one",
        apart / 1_000_000,
        apart / 1_000 % 1_000,
    );
    let fix =
        "set the clocks of both servers by one source of time (chronyc tracking; timedatectl set-ntp true)";
    Some(Finding::warning("W611", fast, what).fix(fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ahead_us: i64, unsure_us: i64) -> Option<Reading> {
        Some(Reading { ahead_us, unsure_us })
    }

    fn found(readings: &[Option<Reading>]) -> Option<(String, String)> {
        let found = apart(&["a", "b", "c"], readings)?;
        Some((found.node, found.what))
    }

    #[test]
    fn only_what_is_surely_apart_is_told_of_the_one_ahead() {
        assert_eq!(found(&[reading(0, 10), reading(500_000, 10)]), None);
        assert_eq!(found(&[reading(-300_000, 100_000), reading(300_000, 10)]), None);
        assert_eq!(found(&[None, reading(9_000_000, 10)]), None);
        let (node, what) =
            found(&[reading(2_000_000, 10), reading(-45_000, 10), reading(0, 10)]).unwrap_or_default();
        assert_eq!(node, "a");
        assert!(what.contains("2.045 s ahead of node b's"), "{what}");
    }
}
