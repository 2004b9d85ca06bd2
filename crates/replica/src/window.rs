//! What was sent and is not acknowledged: kept, so that a stream which breaks goes on where it was.

use std::{collections::VecDeque, time::Instant};

use crate::frame::{Batch, Frame};

#[derive(Clone, Debug)]
struct Sent {
    bytes: Vec<u8>,
    last: u64,
    /// Since when the oldest change of it waits.
    since: Instant,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    frames: VecDeque<Sent>,
    bytes: usize,
    /// How many of the frames were handed to this connection.
    handed: usize,
    acknowledged: u64,
    last: u64,
}

impl Window {
    /// The number of the last change there is.
    pub fn last(&self) -> u64 {
        self.last
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes in it.
    pub fn changes(&self) -> u64 {
        self.last - self.acknowledged
    }

    pub fn since(&self) -> Option<Instant> {
        self.frames.iter().map(|frame| frame.since).min()
    }

    /// Whether there are frames that this connection was not given.
    pub fn is_behind(&self) -> bool {
        self.handed < self.frames.len()
    }

    /// The next frame that this connection was not given, if it is not longer than this.
    pub fn hand(&mut self, most: usize) -> Option<Vec<u8>> {
        let frame = self.frames.get(self.handed)?;
        if frame.bytes.len() > most {
            return None;
        }
        self.handed += 1;
        Some(frame.bytes.clone())
    }

    /// Takes in a batch, which begins with the number after [`Self::last`].
    pub fn push(&mut self, batch: Batch, since: Instant) {
        self.last = batch.last();
        let bytes = Frame::Batch(batch).write();
        self.bytes += bytes.len();
        let last = self.last;
        self.frames.push_back(Sent { bytes, last, since });
    }

    /// The number of the last change that this connection was given.
    pub fn handed(&self) -> u64 {
        let before = self.handed.checked_sub(1);
        let frame = before.and_then(|index| self.frames.get(index));
        frame.map_or(self.acknowledged, |frame| frame.last)
    }

    /// Drops what is acknowledged: whole frames, as they are applied.
    pub fn acknowledge(&mut self, number: u64) {
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.last <= number) {
            self.acknowledged = frame.last;
            self.bytes -= frame.bytes.len();
            self.handed = self.handed.saturating_sub(1);
        }
    }

    /// Another connection, whose receiver has applied this. Whether the stream can go on from there.
    pub fn resume(&mut self, applied: u64) -> bool {
        self.handed = 0;
        let is_known =
            applied == self.acknowledged || self.frames.iter().any(|it| it.last == applied);
        if is_known {
            self.acknowledge(applied);
        }
        is_known
    }

    /// Forgets what was sent. Numbers go on.
    pub fn clear(&mut self) {
        *self = Self {
            acknowledged: self.last,
            last: self.last,
            ..Self::default()
        };
    }
}
