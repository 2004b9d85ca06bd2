//! What is done to the bitmaps of ports from outside the packet path, which claims ports meanwhile:
//! they are made ready for an address, ports are taken that somebody asked for, and those are freed
//! that nobody uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

use abi::{
    External, Ip6, Port, PortWord, Protocol, Shared,
    blocks::Ranks,
    ports::{CLASS_WORDS, CLASSES, WORDS, place, port},
};

use crate::{
    hold::Held,
    intent::HoldDown,
    sweep::{Correction, Idle, Swept},
};

/// Makes the bitmaps of an address ready for the packet path, before the packet path knows of it.
///
/// Ports that it does not own are taken. If it comes to be overloaded or no longer is, so are all that
/// it has in use. A bitmap that it did not have `before` may have been another's: of that nothing
/// stays.
pub fn prepare<W: Deref<Target = [PortWord; WORDS]>>(
    external: &External,
    before: Option<&External>,
    words: impl Fn(u32) -> W,
) {
    let mut in_use = [0; WORDS];
    let moved = before.filter(|before| before.planes != external.planes);
    for bitmap in moved.iter().flat_map(|it| it.bitmaps_of(Protocol::Tcp)) {
        for (in_use, word) in in_use.iter_mut().zip(words(bitmap).iter()) {
            *in_use |= word.taken.get();
        }
    }
    for (protocol, bitmap) in external.bitmaps() {
        let had = |it: &External| it.bitmaps().any(|(_, other)| other == bitmap);
        let is_new = !before.is_some_and(had);
        let reserved = reserved(external, protocol);
        for ((word, reserved), in_use) in words(bitmap).iter().zip(reserved.iter()).zip(&in_use) {
            if is_new {
                word.taken.set(0);
                word.held.set(0);
            }
            word.taken.fetch_or(match protocol {
                Protocol::Tcp => reserved | in_use,
                Protocol::Udp | Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => {
                    *reserved
                }
            });
        }
    }
}

/// Which ports of a bitmap the packet path must not give out, whoever uses them.
pub fn reserved(external: &External, protocol: Protocol) -> Box<[u64; WORDS]> {
    let mut words = Box::new([0; WORDS]);
    // An ICMP identifier is not a port, and a range of ports says nothing about it.
    if matches!(protocol, Protocol::Icmp) {
        return words;
    }
    let (first, end) = (
        usize::from(external.first.get()),
        usize::from(external.last.get()) + 1,
    );
    for (index, word) in words.iter_mut().enumerate() {
        let (class, rank) = (index / CLASS_WORDS, index % CLASS_WORDS * 64);
        // The bits of this word that stand for ports below one.
        let below = |port: usize| {
            let ranks = port.saturating_sub(class).div_ceil(CLASSES);
            let bits = ranks.saturating_sub(rank).min(64) as u32;
            1_u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1)
        };
        *word = below(first) | !below(end);
    }
    words
}

/// Takes a port, whoever has it.
pub fn take(port: Port, words: &[PortWord; WORDS]) {
    let (index, bit) = place(port);
    if let Some(word) = words.get(index) {
        word.taken.fetch_or(1 << bit);
    }
}

/// Takes a port in all of these bitmaps or in none; only if nobody has it and it is not held back.
pub fn take_if_free<W: Deref<Target = [PortWord; WORDS]>>(
    bitmaps: &[u32],
    port: Port,
    words: impl Fn(u32) -> W,
) -> bool {
    let (index, bit) = place(port);
    let is_held = |bitmap: &u32| {
        let found = words(*bitmap);
        found
            .get(index)
            .is_none_or(|word| word.held.get() & 1 << bit != 0)
    };
    !bitmaps.iter().any(is_held) && claim(bitmaps, (index, bit), words)
}

/// Takes a port among those that are `wanted` in all of these bitmaps, from where `start` points on: one
/// with the parity of another port, if that is asked for and there is one; and one that is held back only
/// if there are no others.
pub fn take_any<W: Deref<Target = [PortWord; WORDS]>>(
    bitmaps: &[u32],
    start: u64,
    (parity, wanted): (Option<Port>, &Ranks),
    words: impl Fn(u32) -> W,
) -> Option<Port> {
    let turns = [(parity, false), (None, false), (None, true)];
    for (parity, may_be_held) in turns {
        for step in 0..WORDS {
            let index = (start as usize).wrapping_add(step) % WORDS;
            // All ports of a word are equal modulo the number of classes, which is even.
            let is_odd = port(index, 0).get() % 2;
            if parity.is_some_and(|parity| parity.get() % 2 != is_odd) {
                continue;
            }
            let kept = bitmaps.iter().filter_map(|bitmap| {
                let found = words(*bitmap);
                let word = found.get(index)?;
                let held = if may_be_held { 0 } else { word.held.get() };
                Some(word.taken.get() | held)
            });
            let wanted = wanted.get(index % CLASS_WORDS).copied().unwrap_or(0);
            let mut free = !kept.fold(0, |all, kept| all | kept) & wanted;
            while free != 0 {
                let bit = free.trailing_zeros();
                if claim(bitmaps, (index, bit), &words) {
                    return Some(port(index, bit));
                }
                free &= free - 1;
            }
        }
    }
    None
}

/// Sets a bit in all of these bitmaps, or in none if the packet path was faster in one.
fn claim<W: Deref<Target = [PortWord; WORDS]>>(
    bitmaps: &[u32],
    (index, bit): (usize, u32),
    words: impl Fn(u32) -> W,
) -> bool {
    let set = |bitmap: &u32| {
        let found = words(*bitmap);
        let word = found.get(index);
        word.is_some_and(|word| word.taken.fetch_or(1 << bit) & 1 << bit == 0)
    };
    let done = bitmaps.iter().take_while(|bitmap| set(bitmap)).count();
    if done == bitmaps.len() {
        return true;
    }
    for bitmap in bitmaps.iter().take(done) {
        let found = words(*bitmap);
        if let Some(word) = found.get(index) {
            word.taken.fetch_and(!(1 << bit));
        }
    }
    false
}

/// What is remembered of ports from one sweep to the next. Without it, they are only freed later.
#[derive(Clone, Debug, Default)]
pub struct Bitmaps {
    idle: Idle,
    held: Held,
}

impl Bitmaps {
    /// Frees the ports that nobody uses, and holds them back for as long as their pool says.
    ///
    /// What is known of the bitmaps of `unused` addresses is forgotten: when such an address is,
    /// another one may get them.
    pub fn free<W: Deref<Target = [PortWord; WORDS]>>(
        &mut self,
        now: u64,
        (externals, holds): (&BTreeMap<Ip6, External>, &BTreeMap<u8, HoldDown>),
        (swept, unused): (&Swept, &BTreeSet<Ip6>),
        words: impl Fn(u32) -> W,
    ) {
        let mut bitmaps = BTreeSet::new();
        // Most bitmaps have the same range of ports.
        let mut ranges = BTreeMap::new();
        for (address, external) in externals {
            // A pool that is not wanted gives no ports out.
            let hold = holds.get(&external.pool).copied();
            let hold = hold.unwrap_or(HoldDown::OFF);
            for (protocol, bitmap) in external.bitmaps() {
                if !unused.contains(address) {
                    bitmaps.insert(bitmap);
                }
                let range = (external.first, external.last, protocol == Protocol::Icmp);
                let ranges = ranges.entry(range);
                let reserved = ranges.or_insert_with(|| reserved(external, protocol));
                let found = words(bitmap);
                let idle = self.idle.judge(bitmap, &swept.used, reserved, &found);
                let held = self.held.judge(bitmap, (hold, now), &found, &idle);
                // First held, then free.
                correct(&words(bitmap), &held, |word| &word.held);
                correct(&words(bitmap), &idle, |word| &word.taken);
            }
        }
        self.idle.keep(&bitmaps);
        self.held.keep(&bitmaps);
    }
}

/// Puts one of the two bits of ports right.
fn correct(
    words: &[PortWord; WORDS],
    corrections: &[(usize, Correction)],
    which: impl Fn(&PortWord) -> &Shared<u64>,
) {
    for (word, correction) in corrections {
        if let Some(word) = words.get(*word).map(&which) {
            word.fetch_or(correction.set);
            word.fetch_and(!correction.clear);
        }
    }
}

#[cfg(test)]
mod tests;
