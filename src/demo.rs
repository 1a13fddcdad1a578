//! The demo: two throw-away databases, a two-way sync, writes on both sides, a conflict.

use crate::error::{Error, Result};

pub struct Options {
    pub once: bool,
    pub json: bool,
    /// How long to write; `None` = until stopped.
    pub seconds: Option<u64>,
}

pub async fn run(_: Options) -> Result<()> {
    Err(Error::definite("run the demo").why("this build has none yet"))
}
