//! Files that are read once, and looked at again for whether they are still the same.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::CredentialsError;

/// Bytes of a file that are read: a key or a chain of certificates has some thousand, and what is longer is
/// another file.
const FILE_MAX: u64 = 1 << 20;

/// A file as it was when it was read.
#[derive(Debug)]
pub(super) struct Seen {
    path: PathBuf,
    stamp: Stamp,
}

impl Seen {
    /// Whether it is another one, or gone.
    pub(super) fn is_stale(&self) -> bool {
        let found = fs::metadata(&self.path).map(|it| Stamp::of(&it));
        !found.is_ok_and(|it| it == self.stamp)
    }
}

/// What differs when a file was written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Reads a file whole.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Seen), CredentialsError> {
    let read = || {
        let file = File::open(path)?;
        // Before the text, so that who writes meanwhile is seen to have written.
        let stamp = Stamp::of(&file.metadata()?);
        let mut text = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_MAX {
            let message = "it has more than 1 MiB";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let path = path.to_owned();
        Ok((text, Seen { path, stamp }))
    };
    read().map_err(|source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    })
}
