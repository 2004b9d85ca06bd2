//! The Internet checksum: differences (RFC 1624, eqn. 3) and short full sums (RFC 1071).
//!
//! One's complement sums come out the same in either byte order, so everything here reads words as
//! this machine does and no byte is swapped.

use abi::Address;

use crate::frame::Packet;

/// A running one's complement sum that has not been folded yet.
#[derive(Clone, Copy)]
pub struct Sum(u64);

impl Sum {
    pub const ZERO: Self = Self(0);

    #[inline(always)]
    pub const fn add2(self, word: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(word) as u64)
    }

    #[inline(always)]
    pub const fn add4(self, words: [u8; 4]) -> Self {
        Self(self.0 + u32::from_ne_bytes(words) as u64)
    }

    /// What replacing `old` by `new` adds to a sum.
    #[inline(always)]
    pub const fn swap2(self, old: [u8; 2], new: [u8; 2]) -> Self {
        Self(self.0 + (!u16::from_ne_bytes(old)) as u64 + u16::from_ne_bytes(new) as u64)
    }

    /// Adds an address.
    #[inline(always)]
    pub fn add<A: Address>(self, address: A) -> Self {
        Self(self.0 + address.sum())
    }

    /// Takes an address away.
    #[inline(always)]
    pub fn remove<A: Address>(self, address: A) -> Self {
        Self(self.0 + address.inverse_sum())
    }

    /// The same of addresses.
    #[inline(always)]
    pub fn swap<A: Address>(self, old: A, new: A) -> Self {
        Self(self.0 + old.inverse_sum() + new.sum())
    }

    /// The folded sum: a difference to be applied by [`patch`].
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }

    /// The checksum of what was added.
    #[inline(always)]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }
}

/// Bytes of a frame that are summed up at most: as much as fits into an Ethernet frame. RFC 1812
/// §4.3.2.3 allows an ICMP error 576 bytes.
const BYTES_MAX: usize = 1500;

/// The sum of the bytes of a frame from `from` to before `end`, which begin a word, folded to 16 bits;
/// more than fits into these if they are too many, or not there.
#[inline(never)]
pub fn sum_of<P: Packet>(packet: &mut P, from: usize, end: usize) -> u64 {
    let mut sum = 0u64;
    let mut index = 0;
    while index < BYTES_MAX / 4 {
        let at = from + 4 * index;
        if at + 4 > end {
            break;
        }
        let Some(word) = packet.at::<[u8; 4]>(at) else {
            return u64::MAX;
        };
        sum += u32::from_ne_bytes(*word) as u64;
        index += 1;
    }
    let mut at = from + 4 * index;
    if at + 2 <= end {
        let Some(word) = packet.at::<[u8; 2]>(at) else {
            return u64::MAX;
        };
        sum += u16::from_ne_bytes(*word) as u64;
        at += 2;
    }
    if at < end {
        // No frame that was summed up so far is that long; but the verifier must see that nothing is
        // negative.
        let Ok(last) = u8::try_from(second_of(packet, (at - 1) & 0xfff)) else {
            return u64::MAX;
        };
        sum += u16::from_ne_bytes([last, 0]) as u64;
        at += 1;
    }
    if at != end {
        return u64::MAX;
    }
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

/// The second of two bytes; more than a byte can be if the frame ends before it.
///
/// A function of its own, because the verifier does not understand the check for a single byte that
/// the compiler would make of it.
#[inline(never)]
fn second_of<P: Packet>(packet: &mut P, at: usize) -> u32 {
    match packet.at::<[u8; 2]>(at) {
        Some(bytes) => bytes[1] as u32,
        None => u32::MAX,
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
