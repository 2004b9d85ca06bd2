//! Blocks of ports that are a client's own: computed from its address and not remembered, so that an
//! external address and port name the client without a record of its flows (after RFC 7422).
//!
//! The clients of a pool are numbered in the order of their prefixes. So many of them in a row share
//! an external address, and each has a block of its ports. A block is [`CLASSES`] ports or a multiple:
//! it has as many ports of each class, which are neighbouring bits of one word (see
//! [`crate::ports`]). Ports that are in no block are whoever's needs them.

use crate::{
    Address, Ip4, Port,
    hash::hash,
    limits::{BLOCK_PREFIXES_MAX, SLOTS},
    ports::{CLASS_WORDS, CLASSES},
};

/// The ports of a block, at least.
pub const BLOCK_MIN: u16 = CLASSES as u16;
/// The ports of a block, at most: of each class a word.
pub const BLOCK_MAX: u16 = (CLASSES * 64) as u16;

/// The ordinal of who is no client with a block.
pub const NOBODY: u32 = u32::MAX;

/// Some ports of an address: those of each class whose bits are set, by word of the class.
pub type Ranks = [u64; CLASS_WORDS];

/// Clients that have neighbouring addresses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Clients {
    /// The address of the first, as a number.
    first: u32,
    count: u32,
    /// The ordinal of the first.
    ordinal: u32,
}

/// The blocks of a pool. Zeroed memory has none, and no other ports either.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// The ports that are in no block.
    pub rest: Ranks,
    clients: [Clients; BLOCK_PREFIXES_MAX],
    /// How many clients share an external address.
    sharing: u32,
    /// The first port of the first block, in units of [`CLASSES`].
    first: u8,
    /// The ports of a block, in the same units: 64 at most; zero if there are none.
    size: u8,
    _pad: u16,
}

impl Blocks {
    /// No client has a block, and all ports are everybody's.
    pub const NONE: Self = Self {
        rest: [u64::MAX; CLASS_WORDS],
        clients: [Clients {
            first: 0,
            count: 0,
            ordinal: 0,
        }; BLOCK_PREFIXES_MAX],
        sharing: 0,
        first: 0,
        size: 0,
        _pad: 0,
    };

    /// Blocks of `size` ports from `first` on for these clients, given by the first address and how
    /// many there are, of whom `sharing` share an address.
    ///
    /// Nothing if the packet path cannot have them so: `size` must be a power of two from
    /// [`BLOCK_MIN`] to [`BLOCK_MAX`], `first` a multiple of it, and the blocks of an address must not
    /// go beyond its last port.
    pub fn new(clients: &[(Ip4, u32)], sharing: u32, (first, size): (Port, u16)) -> Option<Self> {
        let is_size = size.is_power_of_two() && (BLOCK_MIN..=BLOCK_MAX).contains(&size);
        let end = sharing
            .checked_mul(u32::from(size))?
            .checked_add(u32::from(first.get()))?;
        if !is_size || sharing == 0 || end > 1 << 16 || !first.get().is_multiple_of(size) {
            return None;
        }
        let mut blocks = Self {
            sharing,
            first: (first.get() / BLOCK_MIN) as u8,
            size: (size / BLOCK_MIN) as u8,
            ..Self::NONE
        };
        let mut ordinal = 0_u32;
        for (index, (first, count)) in clients.iter().enumerate() {
            *blocks.clients.get_mut(index)? = Clients {
                first: u32::from_be_bytes(first.0),
                count: *count,
                ordinal,
            };
            ordinal = ordinal.checked_add(*count)?;
        }
        for block in 0..sharing {
            let own = blocks.own(block);
            for (rest, own) in blocks.rest.iter_mut().zip(own) {
                *rest &= !own;
            }
        }
        Some(blocks)
    }

    /// Whether any client has a block.
    #[inline(always)]
    pub const fn are_there(&self) -> bool {
        self.size != 0
    }

    /// How many clients share an external address.
    pub const fn sharing(&self) -> u32 {
        self.sharing
    }

    /// The number of a client; [`NOBODY`] if it has no block.
    ///
    /// All prefixes are looked at, so that the way through here is one.
    #[inline(always)]
    pub fn ordinal(&self, client: Ip4) -> u32 {
        let client = u32::from_be_bytes(client.0);
        let mut ordinal = NOBODY;
        for clients in &self.clients {
            let offset = client.wrapping_sub(clients.first);
            if offset < clients.count {
                ordinal = clients.ordinal.wrapping_add(offset);
            }
        }
        ordinal
    }

    /// Which of the pool's addresses, in their order, a client has.
    #[inline(always)]
    pub const fn address(&self, ordinal: u32) -> u32 {
        match self.sharing {
            0 => 0,
            sharing => ordinal / sharing,
        }
    }

    /// The slot in which a client finds its address, by its ordinal here.
    ///
    /// Always the same one, so that a client keeps one address over all its flows (RFC 4787 REQ-2) on
    /// every gateway that has the same pool.
    #[inline(always)]
    pub fn slot<A: Address>(&self, ordinal: u32, client: A) -> usize {
        match ordinal {
            NOBODY => {
                let (high, low) = client.words();
                hash(0, high, low) as usize % SLOTS
            }
            ordinal => self.address(ordinal) as usize,
        }
    }

    /// The ports of a client's own block: the word of each class in which they are, and its bits.
    #[inline(always)]
    pub const fn block(&self, ordinal: u32) -> (u32, u64) {
        if self.sharing == 0 || self.size == 0 {
            return (0, 0);
        }
        let block = ordinal % self.sharing;
        let first = self.first as u32 + block * self.size as u32;
        let bits = u64::MAX >> ((64 - self.size as u32) % 64);
        (first / 64, bits << (first % 64))
    }

    /// The same in all words.
    pub const fn own(&self, ordinal: u32) -> Ranks {
        let mut ranks = [0; CLASS_WORDS];
        let (word, bits) = self.block(ordinal);
        ranks[word as usize % CLASS_WORDS] = bits;
        ranks
    }

    /// The same as numbers, the first and the last.
    pub const fn ports(&self, ordinal: u32) -> Option<(Port, Port)> {
        if self.sharing == 0 {
            return None;
        }
        let size = self.size as u32 * BLOCK_MIN as u32;
        let first = self.first as u32 * BLOCK_MIN as u32 + ordinal % self.sharing * size;
        let last = first + size - 1;
        Some((Port::new(first as u16), Port::new(last as u16)))
    }
}

/// Whether a port is among these.
pub const fn has(ranks: &Ranks, port: Port) -> bool {
    let rank = port.get() as usize / CLASSES;
    ranks[rank / 64 % CLASS_WORDS] & 1 << (rank % 64) != 0
}

const _: () = assert!(size_of::<Clients>() == 12);
const _: () = assert!(size_of::<Blocks>() == 8 * CLASS_WORDS + 12 * BLOCK_PREFIXES_MAX + 8);

#[cfg(test)]
mod tests;
