//! Hold-down: a port that was freed is given to others only after a while, as long as there are
//! others (RFC 6888 REQ-8).
//!
//! For the packet path a port is held or it is not. Here it is remembered which ports were held
//! already when a generation last ended: those are released when the next one ends. So a port is held
//! for one generation at least and for two at most. A daemon that knows nothing yet, because it has
//! just begun, takes all ports that are held for new ones.
//!
//! A part of the ports that are free is never held, so that the packet path does not have to look long
//! for one that is not.

use std::collections::{BTreeSet, HashMap};

use abi::{PortWord, ports::WORDS};

use crate::{intent::HoldDown, sweep::Correction};

/// Of four ports that are free, so many are held at most.
const HELD_OF_FOUR: usize = 3;

/// One bit for each port.
type Bits = Box<[u64; WORDS]>;

/// What is known of ports that are held, by bitmap.
#[derive(Clone, Debug, Default)]
pub struct Held(HashMap<u32, Older>);

/// The ports of one bitmap that are in their last generation.
#[derive(Clone, Debug)]
struct Older {
    ports: Bits,
    /// When this generation began, in nanoseconds.
    since: u64,
}

impl Held {
    /// Says for each word of a bitmap which ports must be held from `now` on, and which no longer.
    /// `freed` has the ports that are about to be freed, as those to clear.
    pub fn judge(
        &mut self,
        bitmap: u32,
        (hold, now): (HoldDown, u64),
        words: &[PortWord; WORDS],
        freed: &[(usize, Correction)],
    ) -> Vec<(usize, Correction)> {
        if freed.is_empty() && words.iter().all(|word| word.held.get() == 0) {
            self.0.remove(&bitmap);
            return Vec::new();
        }
        let new = freed.iter().map(|(_, it)| it.clear.count_ones() as usize);
        let (mut free, mut found) = (new.sum::<usize>(), Box::new([0; WORDS]));
        let mut wanted = Box::new([0; WORDS]);
        for ((word, found), wanted) in words.iter().zip(found.iter_mut()).zip(wanted.iter_mut()) {
            *found = word.held.get();
            let taken = word.taken.get();
            // One that was needed after all is not held, but in use.
            *wanted = *found & !taken;
            // Most words are empty or full, and not every processor counts bits fast.
            free += match taken {
                0 => 64,
                u64::MAX => 0,
                _ => taken.count_zeros() as usize,
            };
        }
        let most = (hold.ports as usize).min(free * HELD_OF_FOUR / 4);
        if hold.is_off() {
            wanted.fill(0);
        } else {
            let begin = || Older {
                ports: Box::new([0; WORDS]),
                since: now,
            };
            let older = self.0.entry(bitmap).or_insert_with(begin);
            older.turn(hold, now, &mut wanted);
            older.hold(most, freed, &mut wanted);
        }
        if count(&wanted) == 0 {
            self.0.remove(&bitmap);
        }
        let words = found.iter().zip(wanted.iter()).enumerate();
        let corrections = words.map(|(word, (found, wanted))| {
            let (set, clear) = (wanted & !found, found & !wanted);
            (word, Correction { set, clear })
        });
        corrections
            .filter(|(_, correction)| *correction != Correction::default())
            .collect()
    }

    /// Forgets bitmaps of addresses that are gone.
    pub fn keep(&mut self, bitmaps: &BTreeSet<u32>) {
        self.0.retain(|bitmap, _| bitmaps.contains(bitmap));
    }
}

impl Older {
    /// Ends the generation, if it is over: its ports go, and all others are next.
    fn turn(&mut self, hold: HoldDown, now: u64, wanted: &mut Bits) {
        if now.saturating_sub(self.since) >= hold.time.as_nanos() as u64 {
            self.release(wanted);
            self.ports.clone_from(wanted);
            self.since = now;
        }
    }

    /// Holds what is freed, as far as there is room for it; the oldest make room.
    fn hold(&mut self, most: usize, freed: &[(usize, Correction)], wanted: &mut Bits) {
        let new: usize = freed
            .iter()
            .map(|(_, it)| it.clear.count_ones() as usize)
            .sum();
        if count(wanted) + new > most {
            self.release(wanted);
        }
        let mut room = match most.checked_sub(count(wanted)) {
            Some(room) => room,
            // Fewer may be held than before.
            None => {
                wanted.fill(0);
                most
            }
        };
        for (word, correction) in freed {
            let mut rest = correction.clear;
            // Held for as long as if it had not been held before.
            if let Some(older) = self.ports.get_mut(*word) {
                *older &= !rest;
            }
            while rest != 0 && room > 0 {
                let bit = rest & rest.wrapping_neg();
                if let Some(wanted) = wanted.get_mut(*word) {
                    *wanted |= bit;
                }
                (rest, room) = (rest & !bit, room - 1);
            }
        }
    }

    fn release(&mut self, wanted: &mut Bits) {
        for (wanted, older) in wanted.iter_mut().zip(self.ports.iter_mut()) {
            *wanted &= !*older;
            *older = 0;
        }
    }
}

fn count(bits: &Bits) -> usize {
    let some = bits.iter().filter(|word| **word != 0);
    some.map(|word| word.count_ones() as usize).sum()
}

#[cfg(test)]
mod tests;
