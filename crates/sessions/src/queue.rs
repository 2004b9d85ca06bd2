//! Records that wait for a sink: bounded, and what finds no room is counted, not waited for.

use std::collections::VecDeque;

/// A bounded queue that never makes the one who fills it wait.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: VecDeque<T>,
    room: usize,
    lost: u64,
}

impl<T> Queue<T> {
    /// An empty queue for at most `room` items.
    pub const fn new(room: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            room,
            lost: 0,
        }
    }

    /// Appends an item; `false` if there is no room, and it is lost. The oldest are kept: what was
    /// promised first is written first, and a burst loses its end rather than its beginning.
    pub fn push(&mut self, item: T) -> bool {
        if self.waiting.len() >= self.room {
            self.lost += 1;
            return false;
        }
        self.waiting.push_back(item);
        true
    }

    /// Removes and returns the oldest, at most `max` of them.
    pub fn take(&mut self, max: usize) -> Vec<T> {
        let count = max.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Items that found no room.
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests;
