//! Where the programs under test are: beside whoever runs this, as cargo builds them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Returns the path of one of our programs, `egretd` or `egret`, of the same build profile as the
/// running executable.
///
/// # Errors
///
/// If it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let running = std::env::current_exe().context("cannot tell which program this is")?;
    let directory = running.parent().unwrap_or(Path::new("/"));
    // Cargo puts tests one level below programs.
    let directory = match directory.parent() {
        Some(parent) if directory.ends_with("deps") => parent,
        Some(_) | None => directory,
    };
    let program = directory.join(name);
    if !program.is_file() {
        bail!(
            "{} is not built; type `cargo xtask build`",
            program.display()
        );
    }
    Ok(program)
}
