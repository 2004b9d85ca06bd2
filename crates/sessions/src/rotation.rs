//! When the log goes on in a new file, what the old one is called, and which are too many.

use std::time::Duration;

use crate::Time;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Bytes after which a new segment is begun.
    pub size: u64,
    /// Time after which a new segment is begun.
    pub age: Duration,
    /// Segments that are kept beside the one that is written to.
    pub keep: usize,
}

/// The segment that is written to, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Rotation {
    policy: Policy,
    /// When its first record was written; nothing while it has none.
    began: Option<Time>,
    bytes: u64,
    /// The name that was given last, so that none is given twice.
    last: Time,
}

impl Rotation {
    /// A segment that has so many bytes already, the first of them from `began`.
    pub const fn new(policy: Policy, began: Option<Time>, bytes: u64) -> Self {
        Self {
            policy,
            began,
            bytes,
            last: Time::MIN,
        }
    }

    /// When its first record was written; nothing while it has none.
    pub const fn began(&self) -> Option<Time> {
        self.began
    }

    /// Bytes of the segment.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes note of what was written.
    pub const fn wrote(&mut self, bytes: u64, now: Time) {
        self.bytes += bytes;
        if self.began.is_none() {
            self.began = Some(now);
        }
    }

    /// When the segment is too old, if nothing makes it too large before.
    pub fn deadline(&self) -> Option<Time> {
        self.began.map(|began| began.plus(self.policy.age))
    }

    /// Whether a new segment is to be begun. An empty one never makes place for another.
    pub fn is_due(&self, now: Time) -> bool {
        let is_old = self.deadline().is_some_and(|deadline| now >= deadline);
        self.bytes > 0 && (self.bytes >= self.policy.size || is_old)
    }

    /// Begins a new segment; returns the time by which the old one is named, later than any before
    /// even if the clock was set back.
    pub fn rotate(&mut self, now: Time) -> Time {
        let after = Time::from_micros(self.last.micros().saturating_add(1));
        self.last = now.max(after);
        self.began = None;
        self.bytes = 0;
        self.last
    }

    /// Takes note of a name that was given before.
    pub fn named(&mut self, time: Time) {
        self.last = self.last.max(time);
    }
}

/// Names of segments beside the file that is written to: `sessions.jsonl` becomes
/// `sessions-20261103T140500.123456Z.jsonl`, after the time of its end. Sorted as text they are
/// sorted by time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    stem: String,
    extension: String,
}

/// What an index has behind its segment's name.
pub const INDEX: &str = ".index";

impl Names {
    /// The names beside a file of this name.
    pub fn beside(file: &str) -> Self {
        let (stem, extension) = match file.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            Some(_) | None => (file, String::new()),
        };
        Self {
            stem: stem.to_owned(),
            extension,
        }
    }

    /// The name of the segment that ended at a time.
    pub fn segment(&self, ended: Time) -> String {
        format!("{}-{}{}", self.stem, ended.compact(), self.extension)
    }

    /// When the segment of this name ended; nothing if it is no name of a segment.
    pub fn ended(&self, name: &str) -> Option<Time> {
        let time = name
            .strip_prefix(self.stem.as_str())?
            .strip_prefix('-')?
            .strip_suffix(self.extension.as_str())?;
        let time: Time = time.parse().ok()?;
        // Only as we write it: there are other ways to write the same time.
        (self.segment(time) == name).then_some(time)
    }
}

/// Those of `ended` that are too many: the oldest. They stand in order.
pub fn surplus<T>(ended: &[T], keep: usize) -> &[T] {
    ended.split_at(ended.len().saturating_sub(keep)).0
}

#[cfg(test)]
mod tests;
