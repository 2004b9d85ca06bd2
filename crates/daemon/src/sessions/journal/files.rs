//! Files as the log has them: for their owner's eyes, and read from any place.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use sessions::index::Source;

/// Who talked to whom is nobody's business but the operator's.
const MODE: u32 = 0o640;

/// Opens a file to append to; makes it if it is missing.
pub fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
}

/// Writes a file that is there as a whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&draft, path)
    })();
    if written.is_err() {
        // What is left of a draft is in nobody's way, and the next one replaces it.
        let _ = std::fs::remove_file(&draft);
    }
    written
}

/// A file that is read from any place.
#[derive(Debug)]
pub struct Lines(pub File);

impl Source for Lines {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

/// A file that is opened each time something is read from it.
#[derive(Debug)]
pub struct Ended(pub PathBuf);

impl Source for Ended {
    fn length(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.0)?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match File::open(&self.0) {
            Ok(file) => file.read_at(buffer, offset),
            // It was too old, and is removed: there is nothing to be read from it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}
