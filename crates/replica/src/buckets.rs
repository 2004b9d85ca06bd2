//! A set of buckets.

use std::{fmt, iter::successors};

/// Bits in a word of the set.
const WORD: u8 = 64;

/// Which of the 256 buckets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Buckets([u64; 4]);

impl Buckets {
    /// None of them.
    pub const NONE: Self = Self([0; 4]);
    /// All of them.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// Whether a bucket is in it.
    pub fn contains(&self, bucket: u8) -> bool {
        self.word(bucket) & bit(bucket) != 0
    }

    /// Puts a bucket in.
    pub fn insert(&mut self, bucket: u8) {
        if let Some(word) = self.0.get_mut(usize::from(bucket / WORD)) {
            *word |= bit(bucket);
        }
    }

    /// Takes a bucket out.
    pub fn remove(&mut self, bucket: u8) {
        if let Some(word) = self.0.get_mut(usize::from(bucket / WORD)) {
            *word &= !bit(bucket);
        }
    }

    /// Those that are in this one and not in the other.
    pub fn without(&self, other: &Self) -> Self {
        self.with(other, |ours, theirs| ours & !theirs)
    }

    /// Those that are in both.
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |ours, theirs| ours & theirs)
    }

    /// In ascending order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let words = [0, WORD, 2 * WORD, 3 * WORD].into_iter().zip(self.0);
        words.flat_map(|(first, word)| {
            let lowest = |rest: &u64| (*rest != 0).then_some(rest & rest.wrapping_sub(1));
            let rests = successors(Some(word), lowest).take_while(|rest| *rest != 0);
            rests.map(move |rest| first + rest.trailing_zeros() as u8)
        })
    }

    /// How many.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// As it stands on the wire: bucket 0 is the lowest bit of the first byte.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The set that stands on the wire as these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    fn with(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word = join(*word, other);
        }
        Self(words)
    }

    fn word(&self, bucket: u8) -> u64 {
        let word = self.0.get(usize::from(bucket / WORD));
        word.copied().unwrap_or_default()
    }
}

fn bit(bucket: u8) -> u64 {
    1 << (bucket % WORD)
}

impl FromIterator<u8> for Buckets {
    fn from_iter<I: IntoIterator<Item = u8>>(buckets: I) -> Self {
        let mut all = Self::NONE;
        for bucket in buckets {
            all.insert(bucket);
        }
        all
    }
}

impl fmt::Debug for Buckets {
    /// As ranges, because all of them are many: `{0..=7, 9}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        let mut buckets = self.iter().peekable();
        while let Some(first) = buckets.next() {
            let mut last = first;
            while let Some(next) = buckets.next_if(|next| *next == last.saturating_add(1)) {
                last = next;
            }
            match first == last {
                true => set.entry(&first),
                false => set.entry(&(first..=last)),
            };
        }
        set.finish()
    }
}
