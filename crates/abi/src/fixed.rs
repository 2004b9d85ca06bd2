//! Prefixes whose addresses are translated one to one: which they are, and what becomes of an address.
//!
//! An IPv4 address keeps the bits behind its prefix. So does an IPv6 one, but for sixteen of them, which
//! make up for the other prefix, so that the sum of the address and with it every checksum stays what
//! it was (RFC 6296). Nothing is remembered of any packet.

use crate::{Address, Ip4, Ip6, limits::FIXED_MAX};

/// What a prefix of the table is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
enum Kind {
    Internal = 0,
    External = 1,
    /// Remotes with whom a prefix is not translated.
    Except = 2,
}

/// A prefix, laid out as the kernel's longest-prefix-match trie wants its keys.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FixedKey<A: Address = Ip4> {
    /// Bits that count, from the version on.
    bits: u32,
    // Version, number and kind, in network byte order, because the trie compares from the first byte on.
    // In one word, so that the value behind it is aligned to eight bytes, as the BPF stack wants it.
    lead: u32,
    value: A::Bits,
}

/// Bits before a prefix's own.
const LEAD_BITS: u32 = 32;
/// Bits of the kind in there.
const KIND_BITS: u32 = 2;
/// Bits of the number of a prefix that exceptions belong to.
const NUMBER_BITS: u32 = 8;
/// The highest version; what is left for it lasts for four million changes.
pub const VERSION_MAX: u32 = u32::MAX >> (KIND_BITS + NUMBER_BITS);

impl<A: Address> FixedKey<A> {
    #[inline(always)]
    fn new(version: u32, (number, kind): (u16, Kind), address: A, bits: u32) -> Self {
        let lead = (version << NUMBER_BITS | number as u32) << KIND_BITS | kind as u32;
        Self {
            bits: LEAD_BITS + bits,
            lead: lead.to_be(),
            value: address.bits(),
        }
    }

    /// A prefix of internal addresses.
    #[inline(always)]
    pub fn internal(version: u32, address: A, bits: u32) -> Self {
        Self::new(version, (0, Kind::Internal), address, bits)
    }

    /// A prefix of external addresses.
    #[inline(always)]
    pub fn external(version: u32, address: A, bits: u32) -> Self {
        Self::new(version, (0, Kind::External), address, bits)
    }

    /// A prefix of remotes with whom the one of this number is not translated.
    #[inline(always)]
    pub fn except(version: u32, number: u16, address: A, bits: u32) -> Self {
        Self::new(version, (number, Kind::Except), address, bits)
    }

    /// Bits of the prefix proper.
    pub const fn own_bits(&self) -> u32 {
        self.bits - LEAD_BITS
    }

    /// The version it belongs to.
    pub const fn version(&self) -> u32 {
        u32::from_be(self.lead) >> (NUMBER_BITS + KIND_BITS)
    }

    /// The prefix of this one that is `bits` long, which must not be longer than it.
    pub fn cut(&self, bits: u32) -> Self {
        Self {
            bits: LEAD_BITS + bits,
            value: A::cut(self.value, bits),
            ..*self
        }
    }
}

/// What came of translating an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renumbered {
    /// It is translated.
    Done,
    /// It has no counterpart: the bits that would make up for the other prefix are all ones
    /// (RFC 6296 §3.2).
    Unmapped,
    /// Its interface identifier is zero: that of every router of its link (RFC 6296 §3.7).
    Zero,
}

/// What becomes of the addresses of a prefix, in one direction.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fixed {
    /// The other prefix, followed by zeros: all of an IPv4 address, the first half of an IPv6 one.
    prefix: u64,
    /// The bits of it that count.
    mask: u64,
    /// What makes up for it, as a one's complement number.
    adjustment: u16,
    number: u16,
    flags: u32,
}

/// The adjustment is in the interface identifier, because the prefix leaves no room before it.
const IS_LONG: u32 = 1;
/// There are remotes with whom it is not translated.
const HAS_EXCEPTIONS: u32 = 2;
/// What a word must not be: in one's complement it is zero, as zero is.
const ONES: u64 = 0xffff;

impl Fixed {
    /// What stands under an exception.
    pub const EXCEPTION: Self = Self {
        prefix: 0,
        mask: 0,
        adjustment: 0,
        number: 0,
        flags: 0,
    };

    /// The translation of IPv4 addresses to this prefix of so many bits.
    pub fn to_ip4(to: Ip4, bits: u32) -> Self {
        Self {
            prefix: u64::from(u32::from_be_bytes(to.0)),
            mask: u64::from(u32::MAX.checked_shl(32 - bits).unwrap_or(0)),
            ..Self::EXCEPTION
        }
    }

    /// The translation of IPv6 addresses from one prefix to another, of so many bits, 64 at most.
    pub fn to_ip6(from: Ip6, to: Ip6, bits: u32) -> Self {
        let ((from, _), (prefix, _)) = (from.words(), to.words());
        let difference = add(sum(from), !sum(prefix));
        Self {
            prefix,
            mask: u64::MAX.checked_shl(64 - bits).unwrap_or(0),
            adjustment: difference,
            flags: if bits > 48 { IS_LONG } else { 0 },
            ..Self::EXCEPTION
        }
    }

    /// The same, of a prefix of this number, which may have exceptions.
    pub const fn numbered(self, number: u16, has_exceptions: bool) -> Self {
        let flags = if has_exceptions { HAS_EXCEPTIONS } else { 0 };
        Self {
            number,
            flags: self.flags | flags,
            ..self
        }
    }

    /// The number of the prefix.
    #[inline(always)]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Whether there are remotes with whom it is not translated.
    #[inline(always)]
    pub const fn has_exceptions(&self) -> bool {
        self.flags & HAS_EXCEPTIONS != 0
    }

    /// Makes `place` what an address of the prefix becomes, if it becomes something.
    #[inline(always)]
    pub fn renumber<A: Address>(&self, address: A, place: &mut A) -> Renumbered {
        let (own, mut low) = address.words();
        let mut high = self.prefix | own & !self.mask;
        if A::LENGTH == Ip4::LENGTH {
            *place = A::of_ip4(Ip4((high as u32).to_be_bytes()));
            return Renumbered::Done;
        }
        if low == 0 {
            return Renumbered::Zero;
        }
        if self.flags & IS_LONG == 0 {
            if high & ONES == ONES {
                return Renumbered::Unmapped;
            }
            high = self.adjusted(high, 0);
        } else {
            // The first word that is not all ones, which afterwards is not either (RFC 6296 §3.5).
            let mut shift = 48;
            while low >> shift & ONES == ONES {
                if shift == 0 {
                    return Renumbered::Unmapped;
                }
                shift -= 16;
            }
            low = self.adjusted(low, shift);
        }
        *place = A::of_ip6(Ip6::of_words(high, low));
        Renumbered::Done
    }

    /// The same word with sixteen of its bits adjusted.
    #[inline(always)]
    const fn adjusted(&self, word: u64, shift: u32) -> u64 {
        let sum = add((word >> shift) as u16, self.adjustment);
        let sum = if sum as u64 == ONES { 0 } else { sum };
        word & !(ONES << shift) | (sum as u64) << shift
    }
}

/// The one's complement sum of two words.
#[inline(always)]
const fn add(a: u16, b: u16) -> u16 {
    let sum = a as u32 + b as u32;
    (sum + (sum >> 16)) as u16
}

/// The same of the four words in one.
const fn sum(words: u64) -> u16 {
    let (a, b) = ((words >> 48) as u16, (words >> 32) as u16);
    let (c, d) = ((words >> 16) as u16, words as u16);
    add(add(a, b), add(c, d))
}

const _: () = assert!(size_of::<FixedKey>() == 12);
const _: () = assert!(size_of::<FixedKey<Ip6>>() == 24);
const _: () = assert!(size_of::<Fixed>() == 24);
const _: () = assert!(FIXED_MAX <= 1 << NUMBER_BITS);

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    fn ip6(text: &str) -> Ip6 {
        Ip6(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    /// Both directions of a prefix.
    fn both(internal: &str, external: &str, bits: u32) -> [Fixed; 2] {
        let (internal, external) = (ip6(internal), ip6(external));
        [
            Fixed::to_ip6(internal, external, bits),
            Fixed::to_ip6(external, internal, bits),
        ]
    }

    /// What an address becomes.
    fn become_of(fixed: &Fixed, address: Ip6) -> Result<Ip6, Renumbered> {
        let mut place = Ip6::NONE;
        match fixed.renumber(address, &mut place) {
            Renumbered::Done => Ok(place),
            other @ (Renumbered::Unmapped | Renumbered::Zero) => Err(other),
        }
    }

    /// The address's sum as every checksum has it.
    fn sum_of(address: Ip6) -> u32 {
        let (high, low) = address.words();
        u32::from(add(sum(high), sum(low))) % 0xffff
    }

    /// RFC 6296 §3.6 and appendix B.
    #[test]
    fn the_example_of_the_rfc_is_understood_in_both_directions() {
        let [out, back] = both("fd01:203:405::", "2001:db8:1::", 48);
        let (inside, outside) = (ip6("fd01:203:405:1::1234"), ip6("2001:db8:1:d550::1234"));

        assert_eq!(out.adjustment, 0xd54f);
        assert_eq!(become_of(&out, inside), Ok(outside));
        assert_eq!(become_of(&back, outside), Ok(inside));
    }

    #[test]
    fn what_has_no_counterpart_says_so() {
        let [out, back] = both("fd01:203:405::", "2001:db8:1::", 48);

        for (fixed, prefix) in [(&out, "fd01:203:405"), (&back, "2001:db8:1")] {
            let ones = ip6(&format!("{prefix}:ffff::1"));
            assert_eq!(become_of(fixed, ones), Err(Renumbered::Unmapped));
            let zero = ip6(&format!("{prefix}:1::"));
            assert_eq!(become_of(fixed, zero), Err(Renumbered::Zero));
        }
    }

    #[test]
    fn behind_a_longer_prefix_the_first_word_is_adjusted_that_is_not_all_ones() {
        let [out, back] = both("fd01:203:405:100::", "2001:db8:1:200::", 56);
        for (inside, outside) in [
            ("fd01:203:405:107::1", "2001:db8:1:207:d44f::1"),
            ("fd01:203:405:107:ffff::1", "2001:db8:1:207:ffff:d44f::1"),
            (
                "fd01:203:405:107:ffff:ffff:ffff:1",
                "2001:db8:1:207:ffff:ffff:ffff:d450",
            ),
            // One's complement: what comes out as all ones is zero.
            ("fd01:203:405:107:2bb0::1", "2001:db8:1:207::1"),
        ] {
            let (inside, outside) = (ip6(inside), ip6(outside));
            assert_eq!(become_of(&out, inside), Ok(outside));
            assert_eq!(become_of(&back, outside), Ok(inside));
        }
        let all = ip6("fd01:203:405:107:ffff:ffff:ffff:ffff");
        assert_eq!(become_of(&out, all), Err(Renumbered::Unmapped));
    }

    /// Law, over every length and many addresses: the way back leads back, and no sum changes.
    #[test]
    fn the_way_back_leads_back_and_no_checksum_changes() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for bits in 1..=64 {
            for _ in 0..2000 {
                let mask = u64::MAX << (64 - bits);
                let (internal, external) = (next() & mask, next() & mask);
                let own = |prefix| Ip6::of_words(prefix, 0);
                let out = Fixed::to_ip6(own(internal), own(external), bits);
                let back = Fixed::to_ip6(own(external), own(internal), bits);
                let low = match next() % 8 {
                    0 => next() | 0xffff << 48,
                    1 => next() | 0xffff_ffff << 32,
                    2 => next() & 0xffff,
                    _ => next(),
                };
                let inside = Ip6::of_words(internal | next() & !mask, low);

                let Ok(outside) = become_of(&out, inside) else {
                    continue;
                };

                assert_eq!(become_of(&back, outside), Ok(inside), "{inside:?}");
                assert_eq!(sum_of(inside), sum_of(outside), "{inside:?} {outside:?}");
                assert_eq!(outside.words().0 & mask, external, "{outside:?}");
            }
        }
    }

    #[test]
    fn an_ipv4_address_keeps_what_stands_behind_its_prefix() {
        let fixed = Fixed::to_ip4(Ip4([198, 51, 100, 64]), 26);
        let mut place = Ip4::NONE;

        let renumbered = fixed.renumber(Ip4([10, 1, 0, 201]), &mut place);

        assert_eq!(renumbered, Renumbered::Done);
        assert_eq!(place, Ip4([198, 51, 100, 73]));
    }
}
