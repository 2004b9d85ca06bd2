//! Claims a free port of an external address.

use abi::{
    Address, Port, Protocol,
    ports::{CLASS_WORDS, CLASSES, WORDS, place, port},
};

use crate::world::{PortWords, World};

/// Claims a free port, starting where `hash` points; nothing if there is none.
///
/// Every port of the space is looked at before it gives up, 64 at a time: 1,024 loads at most. The
/// port has the parity of the internal one as long as such a port is free (RFC 4787 REQ-8).
#[inline(always)]
pub fn claim<W: World>(world: &W, bitmap: u32, hash: u64, internal: Port) -> Option<Port> {
    let words = world.ports(bitmap)?;
    let class = (hash as usize & (CLASSES - 1) & !1) | (internal.get() & 1) as usize;
    let (turn, bit) = ((hash >> 8) as usize % CLASS_WORDS, (hash >> 16) as u32 % 64);
    let mut step = 0;
    while step < WORDS {
        let index = word_at(class, turn, step);
        if let Some(bit) = claim_bit(&words, index, bit) {
            return Some(port(index, bit));
        }
        step += 1;
    }
    None
}

/// The word to look at in this step: the class's own words, then those of the other classes of the
/// same parity, then the rest.
#[inline(always)]
const fn word_at(class: usize, turn: usize, step: usize) -> usize {
    let round = step / CLASS_WORDS;
    let skip = 2 * round + if round >= CLASSES / 2 { 1 } else { 0 };
    let class = (class + skip) % CLASSES;
    class * CLASS_WORDS + (turn + step) % CLASS_WORDS
}

#[inline(always)]
fn claim_bit(words: &PortWords, index: usize, start: u32) -> Option<u32> {
    let word = &words[index % WORDS];
    let free = !word.get();
    if free == 0 {
        return None;
    }
    let bit = (free.rotate_right(start).trailing_zeros() + start) % 64;
    // Another CPU may have been faster; then the next word is as good.
    (word.fetch_or(1 << bit) & 1 << bit == 0).then_some(bit)
}

/// Gives a port back.
#[inline(always)]
pub fn release<W: World>(world: &W, bitmap: u32, port: Port) {
    let (index, bit) = place(port);
    if let Some(words) = world.ports(bitmap) {
        words[index % WORDS].fetch_and(!(1 << bit));
    }
}

/// Where the search for a client's port begins.
#[inline(always)]
pub fn start<A: Address>(seed: u64, client: A, port: Port, protocol: Protocol) -> u64 {
    let (high, low) = client.words();
    let low = low.rotate_left(24) ^ (protocol as u64) << 16;
    crate::hash::hash(seed, high, low ^ port.get() as u64)
}

#[cfg(test)]
mod tests;
