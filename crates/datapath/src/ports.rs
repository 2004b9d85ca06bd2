//! Claims a free port of an external address.

use abi::{
    Address, Port, PortWord, Protocol,
    hash::hash,
    ports::{CLASS_WORDS, CLASSES, WORDS, place, port},
};

use crate::world::World;

/// Claims a free port, starting where `start` points; nothing if there is none.
///
/// Every port of the space is looked at before it gives up, 64 at a time: once without those that
/// are held back, and once with them, 2,048 loads of a cache line's quarter at most. In either turn the
/// port has the parity of `start` as long as such a port is free (RFC 4787 REQ-4).
#[inline(always)]
pub fn claim<W: World>(world: &W, bitmap: u32, start: u64) -> Option<Port> {
    let words = world.ports(bitmap)?;
    let class = start as usize & (CLASSES - 1);
    let (turn, bit) = (
        (start >> 8) as usize % CLASS_WORDS,
        (start >> 16) as u32 % 64,
    );
    let mut step = 0;
    while step < 2 * WORDS {
        let index = word_at(class, turn, step % WORDS);
        let word = &words[index % WORDS];
        let held = if step < WORDS { word.held.get() } else { 0 };
        if let Some(bit) = claim_bit(word, held, bit) {
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

/// Claims a bit that is neither taken nor among those `kept` back.
#[inline(always)]
fn claim_bit(word: &PortWord, kept: u64, start: u32) -> Option<u32> {
    let free = !(word.taken.get() | kept);
    if free == 0 {
        return None;
    }
    let bit = (free.rotate_right(start).trailing_zeros() + start) % 64;
    // Another CPU may have been faster; then the next word is as good.
    (word.taken.fetch_or(1 << bit) & 1 << bit == 0).then_some(bit)
}

/// Gives a port back.
#[inline(always)]
pub fn release<W: World>(world: &W, bitmap: u32, port: Port) {
    let (index, bit) = place(port);
    if let Some(words) = world.ports(bitmap) {
        words[index % WORDS].taken.fetch_and(!(1 << bit));
    }
}

/// Where the search for a client's port begins.
#[inline(always)]
pub fn start<A: Address>(seed: u64, client: A, port: Port, protocol: Protocol) -> u64 {
    let (high, low) = client.words();
    let low = low.rotate_left(24) ^ (protocol as u64) << 16;
    hash(seed, high, low ^ port.get() as u64)
}

/// The same, among ports that are even or odd as this one is.
#[inline(always)]
pub const fn like(start: u64, port: Port) -> u64 {
    start & !1 | (port.get() & 1) as u64
}

#[cfg(test)]
mod tests;
