//! The Internet checksum: differences (RFC 1624, eqn. 3) and short full sums (RFC 1071).
//!
//! One's complement sums come out the same in either byte order, so everything here reads words as
//! this machine does and no byte is swapped.

use abi::Address;

/// A running one's complement sum that has not been folded yet.
#[derive(Clone, Copy)]
pub struct Sum(u32);

impl Sum {
    pub const ZERO: Self = Self(0);

    #[inline(always)]
    pub const fn add2(self, word: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(word) as u32)
    }

    #[inline(always)]
    pub const fn add4(self, words: [u8; 4]) -> Self {
        let [a, b, c, d] = words;
        self.add2([a, b]).add2([c, d])
    }

    /// What replacing `old` by `new` adds to a sum.
    #[inline(always)]
    pub const fn swap2(self, old: [u8; 2], new: [u8; 2]) -> Self {
        Self(self.0 + (!u16::from_ne_bytes(old)) as u32 + u16::from_ne_bytes(new) as u32)
    }

    #[inline(always)]
    pub const fn swap4(self, old: [u8; 4], new: [u8; 4]) -> Self {
        let ([a, b, c, d], [w, x, y, z]) = (old, new);
        self.swap2([a, b], [w, x]).swap2([c, d], [y, z])
    }

    /// The same of addresses.
    #[inline(always)]
    pub fn swap<A: Address>(self, old: A, new: A) -> Self {
        Self(self.0 + old.inverse_sum() + new.sum())
    }

    /// The folded sum: a difference to be applied by [`patch`].
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff) + (self.0 >> 16);
        (sum + (sum >> 16)) as u16
    }

    /// The checksum of what was added.
    #[inline(always)]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }
}

/// What decrementing the TTL adds to an IPv4 header's sum. The TTL is the first byte of its word.
pub const TTL_DECREMENT: [u8; 2] = [0xfe, 0xff];

/// A checksum after a difference.
#[inline(always)]
pub const fn patch(check: [u8; 2], difference: u16) -> [u8; 2] {
    patched(u16::from_ne_bytes(check), difference).to_ne_bytes()
}

/// The same of UDP's: zero means "no checksum" and stays (RFC 768); a sum that comes out as zero is
/// sent as its twin.
#[inline(always)]
pub const fn patch_udp(check: [u8; 2], difference: u16) -> [u8; 2] {
    let check = match u16::from_ne_bytes(check) {
        0 => 0,
        check => match patched(check, difference) {
            0 => 0xffff,
            check => check,
        },
    };
    check.to_ne_bytes()
}

#[inline(always)]
const fn patched(check: u16, difference: u16) -> u16 {
    let sum = !check as u32 + difference as u32;
    // The sum of two words carries once at most.
    !((sum + (sum >> 16)) as u16)
}

#[cfg(test)]
mod tests;
