//! `completions` and `man`: made from the command line's own definition, so they cannot say anything else.

use super::{Cli, Face};
use crate::error::{Error, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Write a page per command into this folder; without it the main page goes to stdout
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn completions(face: &Face, options: &Completions) {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "tidelock", &mut script);
    face.print(&String::from_utf8_lossy(&script));
}

pub(super) fn man(face: &Face, options: &Man) -> Result<()> {
    let Some(folder) = &options.folder else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|error| Error::bug("render the manual page").because(error))?;
        face.print(&String::from_utf8_lossy(&page));
        return Ok(());
    };
    let failed = |error: std::io::Error| write_failed(folder, error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    face.say(&format!("manual pages are in {}", folder.display()));
    Ok(())
}

fn write_failed(folder: &Path, error: std::io::Error) -> Error {
    Error::definite(format!("write manual pages into {}", folder.display()))
        .because(error)
        .hint("name a folder that this user may write to")
}
