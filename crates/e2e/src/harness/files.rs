//! What a gateway under test has in files: its configuration, its log, its pins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lab::Host;

use super::Gateway;

/// Lines of the log that are shown when a test has failed.
const LOG_TAIL_LINES: usize = 40;

impl Gateway {
    /// The host it runs in.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The unix socket of its API.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where its state is pinned.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.directory.join("gateway.yaml")
    }

    /// The file with what all its daemons have printed.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("egretd.log")
    }

    /// What all its daemons have printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Replaces the daemon's configuration file; nothing changes before a reload or a restart.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_policy(&self, policy: &str) -> Result<()> {
        self.write_config(&self.full_config(policy))
    }

    /// Replaces the daemon's configuration file by exactly this text.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_config(&self, text: &str) -> Result<()> {
        let path = self.config_path();
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The whole configuration for a policy: with the host's interfaces, unless the policy has some,
    /// and with the places that the lab has for the socket and the state.
    pub fn full_config(&self, policy: &str) -> String {
        let mut text = String::new();
        if !policy.lines().any(|line| line.starts_with("interfaces:")) {
            text += "interfaces:\n";
            for interface in self.host.interfaces() {
                text += &format!("  - {{name: {interface}, realm: {}}}\n", realm(interface));
            }
        }
        let (socket, state) = (self.socket.display(), self.state.display());
        text + policy.trim_start_matches('\n')
            + &format!("\napi:\n  socket: {socket}\nstate: {state}\n")
    }

    /// Returns what is pinned, maps, programs and links, as paths.
    ///
    /// # Errors
    ///
    /// If the state directory cannot be read.
    pub fn pinned(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut directories = vec![self.state.clone()];
        while let Some(directory) = directories.pop() {
            if !directory.exists() {
                continue;
            }
            let unreadable = || format!("cannot list {}", directory.display());
            for entry in fs::read_dir(&directory).with_context(unreadable)? {
                let path = entry.with_context(unreadable)?.path();
                if path.is_dir() {
                    directories.push(path)
                } else {
                    found.push(path)
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Prints what helps to understand why a test failed.
    pub(super) fn explain(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        eprintln!(
            "the log of the gateway {} ends with:\n{}",
            self.host.name(),
            tail.join("\n")
        );
        match self.counters() {
            Ok(counters) => {
                eprintln!("its counters:");
                for exit in counters.counters.iter().filter(|exit| exit.packets > 0) {
                    eprintln!("  {:<28} {:>10}", exit.reason, exit.packets);
                }
            }
            Err(error) => eprintln!("its counters cannot be read: {error:#}"),
        }
    }
}

/// The realm that an interface of the lab's shapes faces, by its name.
fn realm(interface: &str) -> &'static str {
    match interface {
        "in0" => "internal",
        "out0" => "external",
        _ => "both",
    }
}
