//! The configuration as a file: reading, judging, saving.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use api::Problems;
use gateway::intent::{self, CONFIG_BYTES_MAX, Parsed};
use sha2::{Digest, Sha256};

/// A configuration that can be used, and the text it was read from.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it says.
    pub parsed: Parsed,
    /// The text itself.
    pub text: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says cannot be used.
    #[error("the configuration {} cannot be used:\n{problems}", path.display())]
    Problems {
        /// Which.
        path: PathBuf,
        /// Everything that is wrong.
        problems: Problems,
    },
}

impl Config {
    /// Reads a file and judges it.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(failed)?;
        // One byte more than is allowed, so that the judge sees that it is too long.
        file.take(CONFIG_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Self::judge(&path.to_string_lossy(), &bytes).map_err(|problems| ConfigError::Problems {
            path: path.to_owned(),
            problems,
        })
    }

    /// Judges a text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn judge(name: &str, bytes: &[u8]) -> Result<Self, Problems> {
        let parsed = intent::parse_bytes(name, bytes)?;
        // What was parsed is UTF-8 throughout.
        Ok(Self {
            parsed,
            text: String::from_utf8_lossy(bytes).into_owned(),
        })
    }

    /// Equal for equal texts: the first 16 hexadecimal digits of their SHA-256.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.text.as_bytes());
        digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Puts the text into a file, whole or not at all, and keeps the file's mode.
    ///
    /// # Errors
    ///
    /// If the file's directory cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mode = fs::metadata(path).map_or(0o640, |found| found.permissions().mode() & 0o777);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.new"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(self.text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    }
}
