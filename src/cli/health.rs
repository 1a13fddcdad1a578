//! `health`: asks the running process whether it lives, over its own HTTP. For Docker and scripts: no shell needed.
//!
//! Exit code 0 or 1, and why. Refuses: asking a database; that is `status`.

use super::{Face, Schema};
use crate::error::{Error, Result};
use crate::http::client;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Also: are all links streaming?
    #[arg(long)]
    ready: bool,
    /// Give up after this many seconds
    #[arg(long, value_name = "N", default_value_t = 3)]
    timeout: u64,
}

#[derive(Serialize)]
struct Document {
    schema: Schema,
    ok: bool,
    answer: String,
    next_steps: Vec<String>,
}

pub(super) async fn run(face: &Face, options: &Options) -> Result<()> {
    let config = face.load()?;
    let Some(listen) = config.http else {
        return Err(Error::definite("ask the running process")
            .why("it does not listen: the configuration has no [http]")
            .hint("add [http] to the configuration (listen = \"127.0.0.1:8470\" is the default) and start tidelock anew"));
    };
    let path = if options.ready {
        "/readyz?verbose"
    } else {
        "/livez"
    };
    let asked = client::get(listen, path, Duration::from_secs(options.timeout)).await;
    let (ok, answer) = match &asked {
        Ok(answer) => (answer.code == 200, answer.body.clone()),
        Err(error) => (false, error.to_string()),
    };
    let next_steps = if ok {
        Vec::new()
    } else {
        vec!["tidelock status".to_owned()]
    };
    if face.json {
        let answer = answer.trim_end().to_owned();
        face.document(&Document {
            schema: Schema,
            ok,
            answer,
            next_steps,
        })?;
    } else if asked.is_ok() {
        face.print(&answer);
    }
    if ok {
        return Ok(());
    }
    let failed = Error::definite(if options.ready {
        "find it ready"
    } else {
        "find it alive"
    });
    // Exit code 1 for whatever reason: that is what health checks understand.
    Err(match asked {
        Ok(answer) => failed.why(format!(
            "http://{}{path} answered {}",
            client::reached(listen),
            answer.code
        )),
        Err(error) => failed.why(error.to_string()),
    }
    .hint("tidelock status"))
}
