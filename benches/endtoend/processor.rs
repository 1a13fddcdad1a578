//! Processor time of processes, as Linux tells it.

use std::path::Path;

/// Linux counts processor time in hundredths of a second.
pub(crate) const TICKS: f64 = 100.0;

/// Fields of `/proc/PID/stat` behind the name in brackets.
pub(crate) fn stat(process: &Path) -> Option<Vec<f64>> {
    let text = std::fs::read_to_string(process.join("stat")).ok()?;
    let fields = text.rsplit_once(')')?.1.split_whitespace();
    Some(fields.map(|field| field.parse().unwrap_or(0.0)).collect())
}

/// A process without its children.
#[allow(dead_code)]
pub(crate) fn alone(pid: u32) -> f64 {
    let fields = stat(Path::new(&format!("/proc/{pid}"))).unwrap();
    (fields[11] + fields[12]) / TICKS
}

/// A server with its children, those that have ended included.
pub(crate) fn family(pid: u32) -> f64 {
    let own = stat(Path::new(&format!("/proc/{pid}"))).unwrap();
    let mut ticks: f64 = own[11..15].iter().sum();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(fields) = stat(&entry.path()) else {
            continue;
        };
        if fields.len() > 12 && fields[1] == f64::from(pid) {
            ticks += fields[11] + fields[12];
        }
    }
    ticks / TICKS
}
