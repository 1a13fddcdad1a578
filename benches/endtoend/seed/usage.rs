//! Processor time of the tool that copies and of both servers, as Linux tells it.

use crate::processor::{TICKS, family, stat};
use std::path::Path;

/// What had been used when a run began.
pub(crate) struct Usage {
    pids: [u32; 2],
    before: [f64; 3],
}

impl Usage {
    pub(crate) fn begin(source: u32, target: u32) -> Self {
        let pids = [source, target];
        Usage {
            pids,
            before: now(pids),
        }
    }

    /// Seconds of the tool, the source and the target since then.
    pub(crate) fn since(&self) -> [f64; 3] {
        let now = now(self.pids);
        [0, 1, 2].map(|which| now[which] - self.before[which])
    }
}

fn now([source, target]: [u32; 2]) -> [f64; 3] {
    // The tool is our child, and has ended when this is asked.
    let own = stat(Path::new("/proc/self")).unwrap();
    [(own[13] + own[14]) / TICKS, family(source), family(target)]
}

/// Processes that wanted to run, over the last minute.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
