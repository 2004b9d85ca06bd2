//! Where things are: the checkout, and what cargo puts under `target/`.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The checkout this program was started from.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    release: PathBuf,
}

impl Workspace {
    /// Finds the checkout and the place for release binaries.
    ///
    /// # Errors
    ///
    /// If this program stands somewhere cargo never put it.
    pub fn find() -> Result<Self> {
        // `cargo run` says where the manifest is now; the path from compile time is right only as
        // long as nobody moved the checkout.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let Some(root) = manifest.ancestors().nth(2) else {
            bail!("no checkout above {}", manifest.display());
        };

        // Cargo put this program into `<target>/debug`; whatever decided on `<target>` (a variable,
        // a configuration file) decided on `<target>/release` as well.
        let program = env::current_exe().context("cannot tell where this program is")?;
        let Some(target) = program.ancestors().nth(2) else {
            bail!("{} is not inside a target directory", program.display());
        };
        Ok(Self {
            root: root.to_owned(),
            release: target.join("release"),
        })
    }

    /// The top of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A release binary, built or not.
    pub fn program(&self, name: &str) -> PathBuf {
        self.release.join(name)
    }

    /// A binary of another profile of cargo's, built or not.
    pub fn program_of(&self, profile: &str, name: &str) -> PathBuf {
        self.release.with_file_name(profile).join(name)
    }

    /// Everything the BPF build writes.
    ///
    /// Always below the checkout, wherever cargo's own target directory is, because the build
    /// script of `kernel` looks for the object here and knows of no one to ask.
    pub fn bpf(&self) -> PathBuf {
        self.root.join("target/bpf")
    }
}
