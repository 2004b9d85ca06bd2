//! Files that are made and never overwritten.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::CertificatesError;

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    /// Who owns it.
    Owner,
    /// Everybody.
    Anybody,
}

/// A file that is to be.
pub(super) struct NewFile {
    path: PathBuf,
    text: String,
    access: Access,
}

impl NewFile {
    pub fn new(path: PathBuf, text: String, access: Access) -> Self {
        Self { path, text, access }
    }

    fn write(&self) -> io::Result<()> {
        let mode = match self.access {
            Access::Owner => 0o600,
            Access::Anybody => 0o644,
        };
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&self.path)?;
        let written = file
            .write_all(self.text.as_bytes())
            .and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a key is in the way of the next attempt.
            let _ = fs::remove_file(&self.path);
        }
        written
    }
}

/// Whether something is there, be it a link to nowhere.
pub(super) fn is_there(path: &Path) -> Result<bool, CertificatesError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CertificatesError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Refuses to go on where something is in the way.
pub(super) fn nothing_at(path: &Path) -> Result<(), CertificatesError> {
    match is_there(path)? {
        false => Ok(()),
        true => Err(CertificatesError::InTheWay {
            path: path.to_owned(),
        }),
    }
}

/// Writes new files, into a directory that only its owner sees if it is new too.
pub(super) fn write(directory: &Path, files: &[NewFile]) -> Result<(), CertificatesError> {
    let failed = |path: &Path, source: io::Error| CertificatesError::Write {
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| failed(directory, source))?;
    for file in files {
        file.write().map_err(|source| failed(&file.path, source))?;
    }
    Ok(())
}
