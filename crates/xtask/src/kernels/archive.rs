//! Debian's archive, by package name, without touching what is installed here.
//!
//! apt works on a folder of ours, with lists and state of its own: so nothing on this machine
//! changes, no other suite of this machine's is asked, and no root is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::process;

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org/debian";
const MIRROR_SECURITY: &str = "http://deb.debian.org/debian-security";

/// What this machine has installed.
pub const HERE: &str = "/var/lib/dpkg/status";

/// One suite of the archive.
pub struct Archive {
    settings: PathBuf,
}

impl Archive {
    /// Fetches a suite's list of packages into a folder. What is `installed` (a file as dpkg keeps
    /// it) need not be fetched.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written or the archive not be reached.
    pub fn open(folder: &Path, suite: &str, installed: &Path) -> Result<Self> {
        let settings = folder.join("apt.conf");
        let write = || {
            fs::create_dir_all(folder.join("var/lib/apt/lists/partial"))?;
            fs::create_dir_all(folder.join("var/cache/apt/archives/partial"))?;
            fs::write(folder.join("sources.list"), source(suite))?;
            fs::write(folder.join("nothing"), "")?;
            fs::write(&settings, configuration(folder, installed))
        };
        write().with_context(|| format!("cannot prepare apt's folder {}", folder.display()))?;
        let archive = Self { settings };
        process::run(archive.apt("apt-get").args(["-qq", "update"]))
            .with_context(|| format!("cannot have the list of Debian's {suite}"))?;
        Ok(archive)
    }

    /// Returns the names of the packages that a package of this suite depends on.
    ///
    /// # Errors
    ///
    /// If the suite has no such package.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let mut command = self.apt("apt-cache");
        command.args(["depends", "--important", package]);
        let output = command.output().context("cannot start apt-cache")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` failed: {}", process::shown(&command), said.trim());
        }
        Ok(depended_on(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Downloads packages into a folder.
    ///
    /// # Errors
    ///
    /// If one is not in this suite, or the download fails.
    pub fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        make_folder(into)?;
        process::run(
            self.apt("apt-get")
                .current_dir(into)
                .args(["-qq", "download"])
                .args(packages),
        )
    }

    /// Downloads a package into a folder with everything that it needs and that is not installed.
    ///
    /// # Errors
    ///
    /// As [`Archive::download`].
    pub fn download_with_dependencies(&self, package: &str, into: &Path) -> Result<()> {
        make_folder(&into.join("partial"))?;
        let archives = format!("Dir::Cache::archives={}", into.display());
        process::run(self.apt("apt-get").args([
            "-qq",
            "-o",
            &archives,
            // Nothing is installed, so it does not matter who else is installing.
            "-o",
            "Debug::NoLocking=1",
            "--no-install-recommends",
            "--download-only",
            "--yes",
            "install",
            package,
        ]))
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.settings);
        command
    }
}

/// Unpacks every package of a folder into another.
///
/// # Errors
///
/// If there is none, or one is damaged.
pub fn unpack(packages: &Path, into: &Path) -> Result<()> {
    let failed = || format!("cannot list {}", packages.display());
    let mut found = 0;
    for entry in fs::read_dir(packages).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            process::run_quietly(Command::new("dpkg-deb").arg("-x").arg(&path).arg(into))?;
            found += 1;
        }
    }
    if found == 0 {
        bail!("apt left no package in {}", packages.display());
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// The line of `sources.list` for a suite.
fn source(suite: &str) -> String {
    let mirror = if suite.ends_with("-security") {
        MIRROR_SECURITY
    } else {
        MIRROR
    };
    format!("deb [arch=amd64 signed-by={KEYS}] {mirror} {suite} main\n")
}

/// Everything of apt's in one folder, and this machine's settings (a proxy, say) beside it.
///
/// A list that could not be fetched is an error at once: else apt warns, and the packages of it are
/// missing later for no reason.
fn configuration(folder: &Path, installed: &Path) -> String {
    let (folder, installed) = (folder.display(), installed.display());
    format!(
        "Dir \"{folder}\";\n\
         Dir::Etc::parts \"/etc/apt/apt.conf.d\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::State::status \"{installed}\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Architecture \"amd64\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         APT::Update::Error-Mode \"any\";\n"
    )
}

/// Reads the real packages among what `apt-cache depends` prints.
fn depended_on(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| {
            line.trim()
                .trim_start_matches('|')
                .strip_prefix("Depends: ")
        })
        .filter(|name| !name.starts_with('<'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_packages_are_read_from_what_apt_says_of_dependencies() {
        let said = "linux-image-7.3.4\n |Depends: dracut\n  Depends: <linux-initramfs-tool>\n    \
                    dracut\n  Depends: linux-binary-7.3.4\n  Breaks: fwupdate\n";

        assert_eq!(depended_on(said), ["dracut", "linux-binary-7.3.4"]);
    }

    #[test]
    fn security_suites_have_a_mirror_of_their_own() {
        assert!(source("trixie-security").contains("/debian-security trixie-security main"));
        assert!(source("trixie-backports").contains("/debian trixie-backports main"));
    }
}
