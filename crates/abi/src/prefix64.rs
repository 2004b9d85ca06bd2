//! How IPv6 addresses stand for IPv4 ones (RFC 6052 §2.2).

use core::{fmt, net::Ipv6Addr};

use crate::{Address, Ip4, Ip6};

/// A prefix whose addresses stand for IPv4 ones: the well-known `64:ff9b::/96`, or an operator's own.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prefix64 {
    address: Ip6,
    /// Its length; zero if there is no such prefix.
    bits: u32,
}

/// The lengths there are.
pub const LENGTHS: [u32; 6] = [32, 40, 48, 56, 64, 96];

impl Prefix64 {
    /// No prefix.
    pub const NONE: Self = Self {
        address: Ip6([0; 16]),
        bits: 0,
    };

    /// The prefix that every network may use (RFC 6052 §2.1).
    pub const WELL_KNOWN: Self = Self {
        address: Ip6([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        bits: 96,
    };

    /// A prefix of this length, without bits behind it; nothing if there is no such length, or if
    /// bits 64 to 71 are not zero, which no such address may have.
    pub fn new(address: Ip6, bits: u32) -> Option<Self> {
        let is_one = LENGTHS.contains(&bits) && address.0[8] == 0;
        let is_clean = Ip6::cut(address.bits(), bits) == address.bits();
        (is_one && is_clean).then_some(Self { address, bits })
    }

    /// Whether there is one.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.bits != 0
    }

    /// Its length.
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// The prefix itself, followed by zeros.
    pub const fn address(&self) -> Ip6 {
        self.address
    }

    /// Whether its addresses may stand for this IPv4 one: the well-known prefix never stands for one
    /// that means something else in every network (RFC 6052 §3.1).
    #[inline(always)]
    pub const fn stands_for(&self, address: Ip4) -> bool {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = self.address.0;
        let is_well_known = self.bits == 96
            && same([a, b, c, d], [0, 0x64, 0xff, 0x9b])
            && same([e, f, g, h], [0; 4])
            && same([i, j, k, l], [0; 4]);
        !is_well_known || is_global(address)
    }

    /// The IPv6 address that stands for this IPv4 one.
    #[inline(always)]
    pub fn embed(&self, address: Ip4) -> Ip6 {
        let value = u32::from_be_bytes(address.0) as u64;
        let (mut high, mut low) = self.address.words();
        if self.bits > 64 {
            low |= value;
        } else {
            let behind = self.behind();
            high |= value >> behind;
            low = value << (BEFORE_REST - behind) & REST;
        }
        Ip6::of_words(high, low)
    }

    /// The IPv4 address that this IPv6 one stands for, if it is of the prefix.
    #[inline(always)]
    pub fn extract(&self, address: &Ip6) -> Option<Ip4> {
        if self.bits == 0 {
            return None;
        }
        let ((high, low), (own_high, own_low)) = (address.words(), self.address.words());
        let (is_same, value) = if self.bits > 64 {
            (high == own_high && low >> 32 == own_low >> 32, low)
        } else {
            let behind = self.behind();
            let is_same = (high ^ own_high) >> (32 - behind) == 0;
            (
                is_same,
                high << behind | (low & REST) >> (BEFORE_REST - behind),
            )
        };
        is_same.then_some(Ip4((value as u32).to_be_bytes()))
    }

    /// How many bits of an IPv4 address stand in the second half, behind eight zeros, if the prefix
    /// itself does not reach there.
    #[inline(always)]
    const fn behind(&self) -> u32 {
        self.bits.wrapping_sub(32) & 0x3f
    }
}

impl fmt::Display for Prefix64 {
    /// As an operator writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv6Addr::from(self.address.0), self.bits)
    }
}

/// Whether an address means the same everywhere: not private (RFC 1918), shared (RFC 6598), this
/// host, this network or this link, nor multicast or reserved (RFC 6890). Those for documentation
/// and benchmarks (RFC 5737, RFC 2544) harm nobody, and examples and tests need them.
#[inline(always)]
const fn is_global(address: Ip4) -> bool {
    let [a, b, ..] = address.0;
    !matches!(
        (a, b),
        (0 | 10 | 127 | 224..=255, _) | (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168)
    )
}

#[inline(always)]
const fn same(a: [u8; 4], b: [u8; 4]) -> bool {
    u32::from_ne_bytes(a) == u32::from_ne_bytes(b)
}

/// Bits of the second half before an IPv4 address that begins there ends (RFC 6052 §2.2).
const BEFORE_REST: u32 = 56;
/// The bits of the second half that an IPv4 address may have.
const REST: u64 = u64::MAX >> 8;

const _: () = assert!(size_of::<Prefix64>() == 20);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip6(text: &str) -> Ip6 {
        Ip6(text.parse::<core::net::Ipv6Addr>().unwrap().octets())
    }

    /// RFC 6052 §2.4, table 1 and 2.
    #[test]
    fn the_examples_of_the_rfc_are_understood_in_both_directions() {
        let address = Ip4([192, 0, 2, 33]);
        for (prefix, bits, expected) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::", 96, "64:ff9b::192.0.2.33"),
        ] {
            let prefix = Prefix64::new(ip6(prefix), bits).unwrap();

            assert_eq!(prefix.embed(address), ip6(expected), "{prefix:?}");
            assert_eq!(prefix.extract(&ip6(expected)), Some(address), "{prefix:?}");
            assert_eq!(prefix.extract(&ip6("2001:db9::1")), None, "{prefix:?}");
        }
    }

    #[test]
    fn the_well_known_prefix_does_not_stand_for_private_addresses() {
        let own = Prefix64::new(ip6("64:ff9b:1::"), 96).unwrap();
        for (address, is_global) in [
            ([192, 0, 2, 33], true),
            ([100, 63, 0, 1], true),
            ([10, 0, 0, 1], false),
            ([172, 31, 255, 255], false),
            ([192, 168, 0, 1], false),
            ([100, 64, 0, 1], false),
            ([169, 254, 0, 1], false),
            ([224, 0, 0, 1], false),
        ] {
            let stands_for = Prefix64::WELL_KNOWN.stands_for(Ip4(address));

            assert_eq!(stands_for, is_global, "{address:?}");
            assert!(own.stands_for(Ip4(address)));
        }
    }

    #[test]
    fn a_prefix_has_one_of_six_lengths_and_nothing_behind_it() {
        assert_eq!(Prefix64::new(ip6("2001:db8::"), 33), None);
        assert_eq!(Prefix64::new(ip6("2001:db8::1"), 96), None);
        assert_eq!(Prefix64::new(ip6("2001:db8:0:0:100::"), 96), None);
        assert_eq!(
            Prefix64::new(ip6("64:ff9b::"), 96),
            Some(Prefix64::WELL_KNOWN)
        );
    }
}
