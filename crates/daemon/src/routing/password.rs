//! Secrets that stand in files: the first line, without what ends it.

use std::{fs, io, path::Path};

/// Bytes of a file that are read; a secret is at most a line.
const FILE_MAX: u64 = 4096;

/// Reads a secret.
///
/// # Errors
///
/// If the file cannot be read, or says nothing.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut text = Vec::new();
    fs::File::open(path)?
        .take(FILE_MAX)
        .read_to_end(&mut text)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its first line is empty",
        ));
    }
    Ok(line.to_vec())
}
