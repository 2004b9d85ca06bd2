//! What is written from the command line's own description: completions, man pages, and
//! `docs/operate/cli.md`.

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{args::Cli, failure::Failure};

/// A script that completes the command's arguments.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // Into memory first: the generator panics if it cannot write.
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// The page about the command as a whole.
pub fn page() -> Vec<u8> {
    let mut page = Vec::new();
    Man::new(Cli::command())
        .render(&mut page)
        .expect("invariant: memory can be written to");
    page
}

/// Writes one page for the command and one for each verb.
///
/// # Errors
///
/// When the directory cannot be made or written to.
pub fn write_pages(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .map_err(|source| Failure::Manual {
            directory: directory.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests;
