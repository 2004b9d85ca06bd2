//! Where in a segment the records of an external endpoint stand.
//!
//! An entry is forty bytes whose order as bytes is the order in which they are looked for: by
//! endpoint and protocol, by kind, by the second at which the flow ended or began. An index is a
//! header of the same size and the entries, sorted: so a question costs a few reads however long
//! the log is. It repeats nothing that its segment does not say, and can be made anew from it.
//!
//! Seconds are 32 bits and last until 2106.

mod entry;

use std::{collections::BTreeSet, io, ops::ControlFlow};

pub use entry::{ENTRY_BYTES, Entry, Key, Packed, digest};

use crate::Kind;
use entry::{fnv, put, take};

/// Entries that are read at once from a sorted file.
const BATCH: usize = 512;

/// What stands at the head of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Entries behind it.
    pub entries: u64,
    /// Bytes that the segment had when the index was made.
    pub segment: u64,
    /// The earliest second at which a flow of the segment began.
    pub earliest: u32,
    /// The latest second of a record.
    pub latest: u32,
}

const MAGIC: [u8; 8] = *b"egretix1";

impl Header {
    /// The header of sorted entries.
    pub fn of(entries: &BTreeSet<Packed>, segment: u64) -> Self {
        let unpacked = || entries.iter().filter_map(Entry::unpack);
        Self {
            entries: entries.len() as u64,
            segment,
            earliest: unpacked().map(|entry| entry.opened).min().unwrap_or(0),
            latest: unpacked().map(|entry| entry.second).max().unwrap_or(0),
        }
    }

    /// As it is stored; its last bytes are a check over the others.
    pub fn pack(&self) -> Packed {
        let mut packed = [0; ENTRY_BYTES];
        let mut rest = packed.as_mut_slice();
        put(&mut rest, &MAGIC);
        put(&mut rest, &self.entries.to_be_bytes());
        put(&mut rest, &self.segment.to_be_bytes());
        put(&mut rest, &self.earliest.to_be_bytes());
        put(&mut rest, &self.latest.to_be_bytes());
        let check = fnv(packed.iter().take(ENTRY_BYTES - 8));
        let (_, last) = packed.split_at_mut(ENTRY_BYTES - 8);
        last.copy_from_slice(&check.to_be_bytes());
        packed
    }

    /// From how it is stored; nothing if it is of another version, or damaged.
    pub fn unpack(packed: &Packed) -> Option<Self> {
        let mut rest = packed.as_slice();
        let magic: [u8; 8] = take(&mut rest)?;
        let header = Self {
            entries: u64::from_be_bytes(take(&mut rest)?),
            segment: u64::from_be_bytes(take(&mut rest)?),
            earliest: u32::from_be_bytes(take(&mut rest)?),
            latest: u32::from_be_bytes(take(&mut rest)?),
        };
        (magic == MAGIC && header.pack() == *packed).then_some(header)
    }
}

/// The whole index of a segment with these entries and so many bytes.
pub fn whole(entries: &BTreeSet<Packed>, segment: u64) -> Vec<u8> {
    let header = Header::of(entries, segment).pack();
    let all = std::iter::once(&header).chain(entries);
    all.flatten().copied().collect()
}

/// Bytes that stand still while they are read: a file, or memory in tests.
pub trait Source {
    /// How many there are.
    ///
    /// # Errors
    ///
    /// If that cannot be known.
    fn length(&self) -> io::Result<u64>;

    /// Reads some from a place on; none at the end.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads as many as the buffer has room for, or to the end.
    ///
    /// # Errors
    ///
    /// As [`Self::read_at`].
    fn read_all_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(offset + done as u64, rest)? {
                0 => break,
                more => done += more,
            }
        }
        Ok(done)
    }
}

impl Source for &[u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        let (now, _) = buffer.split_at_mut(count);
        now.copy_from_slice(rest.split_at(count).0);
        Ok(count)
    }
}

/// Entries in their order.
pub trait Sorted {
    /// Shows the entries from one to another, both included, until `show` has enough.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn between(&self, from: &Packed, to: &Packed, show: &mut Show<'_>) -> io::Result<()>;

    /// The last `max` of them, in their order.
    ///
    /// # Errors
    ///
    /// As [`Self::between`].
    fn last_between(&self, from: &Packed, to: &Packed, max: usize) -> io::Result<Vec<Entry>>;
}

/// Takes entries, until it has enough.
pub type Show<'a> = dyn FnMut(&Entry) -> ControlFlow<()> + 'a;

/// Shows the records of a flow's end at or after a second.
///
/// # Errors
///
/// If they cannot be read.
pub fn closed_since(
    entries: &dyn Sorted,
    key: Key,
    second: u32,
    show: &mut Show<'_>,
) -> io::Result<()> {
    let from = Entry::bound(key, Kind::Closed, second, 0).pack();
    let to = Entry::bound(key, Kind::Closed, u32::MAX, u32::MAX).pack();
    entries.between(&from, &to, show)
}

/// The last `max` records of a flow's beginning at or before a second.
///
/// # Errors
///
/// If they cannot be read.
pub fn opened_until(
    entries: &dyn Sorted,
    key: Key,
    second: u32,
    max: usize,
) -> io::Result<Vec<Entry>> {
    let from = Entry::bound(key, Kind::Opened, 0, 0).pack();
    let to = Entry::bound(key, Kind::Opened, second, u32::MAX).pack();
    entries.last_between(&from, &to, max)
}

/// The last `max` lines of blocks that were in force at or before a second.
///
/// # Errors
///
/// If they cannot be read.
pub fn blocks_until(entries: &dyn Sorted, second: u32, max: usize) -> io::Result<Vec<Entry>> {
    let from = Entry::bound_blocks(0, 0).pack();
    let to = Entry::bound_blocks(second, u32::MAX).pack();
    entries.last_between(&from, &to, max)
}

/// The entries of one key, and those of blocks.
pub fn of_key(entries: &BTreeSet<Packed>, key: Key) -> BTreeSet<Packed> {
    let from = Entry::bound(key, Kind::Opened, 0, 0).pack();
    let to = Entry::bound(key, Kind::Closed, u32::MAX, u32::MAX).pack();
    let first = Entry::bound_blocks(0, 0).pack();
    let last = Entry::bound_blocks(u32::MAX, u32::MAX).pack();
    let blocks = entries.range(first..=last);
    entries.range(from..=to).chain(blocks).copied().collect()
}

impl Sorted for BTreeSet<Packed> {
    fn between(&self, from: &Packed, to: &Packed, show: &mut Show<'_>) -> io::Result<()> {
        for entry in self.range(*from..=*to).filter_map(Entry::unpack) {
            if show(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last_between(&self, from: &Packed, to: &Packed, max: usize) -> io::Result<Vec<Entry>> {
        let range = self.range(*from..=*to).rev().take(max);
        let mut found: Vec<Entry> = range.filter_map(Entry::unpack).collect();
        found.reverse();
        Ok(found)
    }
}

/// The index of a segment that is not written to any more.
#[derive(Debug)]
pub struct Index<S> {
    source: S,
    header: Header,
}

impl<S: Source> Index<S> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// If it cannot be read; `InvalidData` if this is no index, or a damaged or a cut one.
    pub fn open(source: S) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut packed = [0; ENTRY_BYTES];
        if source.read_all_at(0, &mut packed)? < ENTRY_BYTES {
            return Err(invalid("it is too short for an index"));
        }
        let header = Header::unpack(&packed)
            .ok_or_else(|| invalid("it is no index of this version, or a damaged one"))?;
        let expected = header
            .entries
            .checked_add(1)
            .and_then(|all| all.checked_mul(ENTRY_BYTES as u64));
        if expected != Some(source.length()?) {
            return Err(invalid("the index is cut"));
        }
        Ok(Self { source, header })
    }

    /// What it says of itself.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the first entry that is not less.
    fn lower_bound(&self, wanted: &Packed) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.header.entries);
        let mut packed = [0; ENTRY_BYTES];
        while low < high {
            let middle = low + (high - low) / 2;
            self.read(middle, &mut packed)?;
            if packed < *wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The numbers of the entries from one to another.
    fn range(&self, from: &Packed, to: &Packed) -> io::Result<std::ops::Range<u64>> {
        let start = self.lower_bound(from)?;
        let mut end = self.lower_bound(to)?;
        // `to` itself is included, and no two entries are the same: no two lines begin at one place.
        let mut packed = [0; ENTRY_BYTES];
        if end < self.header.entries {
            self.read(end, &mut packed)?;
            end += u64::from(packed == *to);
        }
        Ok(start..end.max(start))
    }

    fn read(&self, number: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = (number + 1) * ENTRY_BYTES as u64;
        if self.source.read_all_at(offset, buffer)? < buffer.len() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the index was cut while it was read",
            ));
        }
        Ok(())
    }

    fn show(&self, range: std::ops::Range<u64>, show: &mut Show<'_>) -> io::Result<()> {
        let mut next = range.start;
        let mut buffer = vec![0; BATCH * ENTRY_BYTES];
        while next < range.end {
            let count = (range.end - next).min(BATCH as u64);
            let (batch, _) = buffer.split_at_mut(count as usize * ENTRY_BYTES);
            self.read(next, batch)?;
            let (entries, _) = batch.as_chunks::<ENTRY_BYTES>();
            for entry in entries.iter().filter_map(Entry::unpack) {
                if show(&entry).is_break() {
                    return Ok(());
                }
            }
            next += count;
        }
        Ok(())
    }
}

impl<S: Source> Sorted for Index<S> {
    fn between(&self, from: &Packed, to: &Packed, show: &mut Show<'_>) -> io::Result<()> {
        self.show(self.range(from, to)?, show)
    }

    fn last_between(&self, from: &Packed, to: &Packed, max: usize) -> io::Result<Vec<Entry>> {
        let range = self.range(from, to)?;
        let start = range.end.saturating_sub(max as u64).max(range.start);
        let mut found = Vec::new();
        self.show(start..range.end, &mut |entry| {
            found.push(*entry);
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
