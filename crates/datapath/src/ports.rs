//! Claims a free port of an external address.

use core::hint::black_box;

use abi::{
    Buckets, Port, PortWord,
    blocks::Ranks,
    ports::{CLASS_WORDS, CLASSES, WORDS, place, port},
};

use crate::world::{PortWords, World};

/// Claims a free port among those that are `wanted`, starting where `start` points; [`NO_PORT`] if there
/// is none.
///
/// Every port of the space is looked at before it gives up, 256 at a time: once without those that
/// are held back and those whose flows another member would serve next than those of `start`, and once
/// with them, 512 cache lines at most. In either turn the port has the parity
/// of `start` as long as such a port is free (RFC 4787 REQ-4).
///
/// By itself, so that the verifier walks what follows once, whether there was a search or not.
#[inline(never)]
pub fn claim<W: World>(world: &W, bitmap: u32, start: u64, (wanted, giver): (&Ranks, u16)) -> u32 {
    let (Some(words), Some(place), Some(buckets)) =
        (world.ports(bitmap), world.place(), world.buckets())
    else {
        return NO_PORT;
    };
    let class = start as usize & (CLASSES - 1);
    let (turn, bit) = ((start >> 8) as usize, (start >> 16) as u32 % 64);
    let of_word = |at: usize| wanted[(turn + at) % CLASS_WORDS];
    let wanted = [of_word(0), of_word(1), of_word(2), of_word(3)];
    let mut round = 0;
    while round < 2 * CLASSES {
        let kept = if round < CLASSES { u64::MAX } else { 0 };
        let class = class_at(class, round % CLASSES);
        let (index, free) = in_class(&words, (class, &wanted), turn, kept);
        let free = free & given(&buckets, class, (giver, kept));
        // Through memory, so that to the verifier it is any word, and not one of four.
        place.set(index as u32);
        if free != 0
            && let Some(port) = take(&words, place.get() as usize % WORDS, free, bit)
        {
            return port.get() as u32;
        }
        round += 1;
    }
    NO_PORT
}

/// The same among the ports of one word of each class.
#[inline(never)]
pub fn claim_within<W: World>(
    world: &W,
    bitmap: u32,
    start: u64,
    ((word, bits), giver): ((u32, u64), u16),
) -> u32 {
    let (Some(words), Some(buckets), true) = (world.ports(bitmap), world.buckets(), bits != 0)
    else {
        return NO_PORT;
    };
    let class = start as usize & (CLASSES - 1);
    let bit = (start >> 16) as u32 % 64;
    let mut round = 0;
    while round < 2 * CLASSES {
        let kept = if round < CLASSES { u64::MAX } else { 0 };
        let class = class_at(class, round % CLASSES);
        let index = class * CLASS_WORDS + word as usize % CLASS_WORDS;
        let PortWord { taken, held } = &words[black_box(index) % WORDS];
        let free =
            !(taken.get() | held.get() & kept) & bits & given(&buckets, class, (giver, kept));
        if free != 0
            && let Some(port) = take(&words, index, free, bit)
        {
            return port.get() as u32;
        }
        round += 1;
    }
    NO_PORT
}

/// No port has this number.
pub const NO_PORT: u32 = 1 << 16;

/// The port that was found, if one was.
#[inline(always)]
pub const fn found(port: u32) -> Option<Port> {
    match port {
        NO_PORT => None,
        port => Some(Port::new(port as u16)),
    }
}

/// Takes one of the free ports of a word, the first from `bit` on; nothing if another CPU was faster:
/// then the next class is as good.
#[inline(always)]
fn take(words: &PortWords, index: usize, free: u64, bit: u32) -> Option<Port> {
    let bit = (free.rotate_right(bit).trailing_zeros() + bit) % 64;
    // The compiler joins the parts of an index by `or`, and behind that Linux 6.1 knows no bounds: so it
    // is masked once more, where the compiler would see no need to.
    let index = black_box(index) % WORDS;
    let is_ours = words[index].taken.fetch_or(1 << bit) & 1 << bit == 0;
    is_ours.then(|| port(index, bit))
}

/// The class to look at in this round: first those of the same parity, then the rest.
#[inline(always)]
const fn class_at(class: usize, round: usize) -> usize {
    let skip = 2 * round + if round >= CLASSES / 2 { 1 } else { 0 };
    (class + skip) % CLASSES
}

/// All ports of a class if they are given by this rank, and none if they are not: without a branch. As long as what is
/// held is kept, only of classes that the same member would serve after this one.
#[inline(always)]
fn given(buckets: &Buckets, class: usize, (giver, kept): (u16, u64)) -> u64 {
    let compared = kept as u16 | RANK;
    let difference = u64::from((buckets.givers[class % CLASSES].get() ^ giver) & compared);
    // Only of zero the one below has its highest bit set.
    0_u64.wrapping_sub(difference.wrapping_sub(1) >> 63)
}

/// The rank in the word of a [`abi::cluster::Giver`].
const RANK: u16 = 0xff;

/// A word of a class, the first from `turn` on in which a wanted port is free, and which are; if none
/// is, no port of it. Of those that are held back, the ones in `kept` are not free.
///
/// All words are read before one is chosen, so that a class costs one branch.
#[inline(always)]
fn in_class(
    words: &PortWords,
    (class, wanted): (usize, &Ranks),
    turn: usize,
    kept: u64,
) -> (usize, u64) {
    let index = |at| class * CLASS_WORDS + (turn + at) % CLASS_WORDS;
    let free = |at| {
        let PortWord { taken, held } = &words[index(at) % WORDS];
        !(taken.get() | held.get() & kept) & wanted[at]
    };
    let [a, b, c, d]: [u64; CLASS_WORDS] = [free(0), free(1), free(2), free(3)];
    if a | b | c | d == 0 {
        return (0, 0);
    }
    match (a, b, c) {
        (0, 0, 0) => (index(3), d),
        (0, 0, _) => (index(2), c),
        (0, _, _) => (index(1), b),
        (_, _, _) => (index(0), a),
    }
}

/// Gives a port back.
#[inline(always)]
pub fn release<W: World>(world: &W, bitmap: u32, port: Port) {
    let (index, bit) = place(port);
    if let Some(words) = world.ports(bitmap) {
        words[index % WORDS].taken.fetch_and(!(1 << bit));
    }
}

#[cfg(test)]
mod tests;
