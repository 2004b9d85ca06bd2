//! The lines of a segment: one by its place, or all of them, to make an index anew.

use std::{collections::BTreeSet, io};

use crate::{
    Record, Time,
    index::{Entry, Packed, Source},
    json::{self, LINE_BYTES_MAX, Said},
};

/// Bytes that are read at once when a segment is walked through.
const CHUNK: usize = 1 << 18;

/// Reads the record of a flow whose line begins at a place.
///
/// # Errors
///
/// If the segment cannot be read; `InvalidData` if there is no whole record, because the segment was
/// cut or is damaged.
pub fn record_at(segment: &dyn Source, offset: u64) -> io::Result<Record> {
    match said_at(segment, offset)? {
        Said::Flow(record) => Ok(record),
        Said::Blocks(..) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("at byte {offset}: a record of no flow"),
        )),
    }
}

/// Reads the line that begins at a place, whatever it says.
///
/// # Errors
///
/// As [`record_at`].
pub fn said_at(segment: &dyn Source, offset: u64) -> io::Result<Said> {
    let mut buffer = [0; LINE_BYTES_MAX];
    let count = segment.read_all_at(offset, &mut buffer)?;
    let read = buffer.split_at(count).0;
    let line = read
        .iter()
        .position(|byte| *byte == b'\n')
        .map(|end| read.split_at(end).0);
    let Some(line) = line else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the record at byte {offset} is cut"),
        ));
    };
    json::read(line).map_err(|error| {
        let what = format!("at byte {offset}: {error}");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// What a walk through a segment found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// An entry for each record.
    pub entries: BTreeSet<Packed>,
    /// Bytes of whole lines. Behind them is the piece of a line that was never finished.
    pub whole: u64,
    /// Lines that are no record, and were skipped.
    pub damaged: u64,
    /// When the first record was written.
    pub first: Option<Time>,
    /// Whether the last line of blocks, if there is one, says that there are some.
    pub has_blocks: Option<bool>,
}

/// Walks through a segment. Skips what is no record: one damaged line costs that line.
///
/// # Errors
///
/// If it cannot be read.
pub fn walk(segment: &dyn Source) -> io::Result<Walked> {
    let mut walked = Walked::default();
    // What was read and is not yet a whole line; it began at `walked.whole`.
    let mut held: Vec<u8> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let count = segment.read_at(offset, &mut chunk)?;
        if count == 0 {
            return Ok(walked);
        }
        offset += count as u64;
        held.extend_from_slice(chunk.split_at(count).0);
        let mut used = 0;
        for line in held.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            walked.take(line);
            used += line.len();
        }
        held.drain(..used);
        if held.len() > LINE_BYTES_MAX.max(CHUNK) {
            // No line of ours: it is skipped, so that memory stays bounded whatever stands there.
            walked.whole += held.len() as u64;
            walked.damaged += 1;
            held.clear();
        }
    }
}

impl Walked {
    fn take(&mut self, line: &[u8]) {
        match json::read(line) {
            Ok(Said::Flow(record)) => {
                self.entries.insert(Entry::of(&record, self.whole).pack());
                self.first = self.first.or(Some(record.time));
            }
            Ok(Said::Blocks(time, blocks)) => {
                self.entries
                    .insert(Entry::of_blocks(time, self.whole).pack());
                self.first = self.first.or(Some(time));
                self.has_blocks = Some(blocks.is_some());
            }
            Err(_) => self.damaged += 1,
        }
        self.whole += line.len() as u64;
    }
}
