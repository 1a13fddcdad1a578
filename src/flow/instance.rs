//! Which copy of the program this is, and whether another one on this machine has died.
//!
//! Owns: an instance's id, its name for people, and the proof that a process has ended. Fails: never; where the
//! system does not tell, no process is taken for dead, and its lease has to run out.

use crate::model::operation::{INSTANCE_CHARS, Instance};
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;

/// This copy. Drawn anew for each run.
pub fn own() -> Instance {
    let random = std::hash::RandomState::new().build_hasher().finish();
    let pid = std::process::id();
    let mut id = format!("{random:016x}");
    id.truncate(INSTANCE_CHARS);
    Instance {
        id,
        name: format!("{} process {pid}", host()),
        process: process(pid).unwrap_or_default(),
    }
}

/// Who gives the order, for the audit.
pub fn operator() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    format!("{}@{}", user.as_deref().unwrap_or("unknown"), host())
}

fn host() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    told.or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Boot, process namespace, number and start time: two processes with one such text are one process.
fn process(pid: u32) -> Option<String> {
    Some(format!("{} {pid} {}", machine()?, started(pid)?))
}

fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// `None`: there is no such process, or only what is left of one.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, blanks and brackets too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_dead = matches!(*fields.first()?, "Z" | "X");
    (!is_dead).then(|| fields.get(19).map(|&field| field.to_owned()))?
}

/// Has that process ended for certain? It must have run where we see all processes.
pub fn has_ended(process: &str) -> bool {
    let Some(machine) = machine() else { return false };
    let Some(rest) = process.strip_prefix(&format!("{machine} ")) else {
        return false;
    };
    let Some((pid, start)) = rest.split_once(' ') else {
        return false;
    };
    let Ok(pid) = pid.parse() else { return false };
    // Where processes of others are hidden, so is the first one.
    Path::new("/proc/1/stat").exists() && started(pid).is_none_or(|now| now != start)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_is_dead_only_when_that_is_certain() {
        let own = own();
        assert_eq!(own.id.len(), INSTANCE_CHARS);
        assert!(!has_ended(&own.process), "{own:?}");
        assert!(!has_ended("") && !has_ended("elsewhere pid:[1] 1 5"));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let alive = process(child.id()).unwrap();
        assert!(!has_ended(&alive));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(&alive));
        // The number was given to another process since.
        let (before, _) = own.process.rsplit_once(' ').unwrap();
        assert!(has_ended(&format!("{before} 1")));
    }

    #[test]
    fn instances_differ() {
        assert_ne!(own().id, own().id);
        assert!(operator().contains('@'));
    }
}
