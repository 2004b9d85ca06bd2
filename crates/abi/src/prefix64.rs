//! How IPv6 addresses stand for IPv4 ones (RFC 6052 §2.2).

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

    /// The IPv6 address that stands for this IPv4 one.
    #[inline(always)]
    pub const fn embed(&self, address: Ip4) -> Ip6 {
        let [a, b, c, d] = address.0;
        let [p, q, r, s, t, u, v, w, _, x, y, z, ..] = self.address.0;
        Ip6(match self.bits {
            32 => [p, q, r, s, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0],
            40 => [p, q, r, s, t, a, b, c, 0, d, 0, 0, 0, 0, 0, 0],
            48 => [p, q, r, s, t, u, a, b, 0, c, d, 0, 0, 0, 0, 0],
            56 => [p, q, r, s, t, u, v, a, 0, b, c, d, 0, 0, 0, 0],
            64 => [p, q, r, s, t, u, v, w, 0, a, b, c, d, 0, 0, 0],
            _ => [p, q, r, s, t, u, v, w, 0, x, y, z, a, b, c, d],
        })
    }

    /// The IPv4 address that this IPv6 one stands for, if it is of the prefix.
    #[inline(always)]
    pub const fn extract(&self, address: &Ip6) -> Option<Ip4> {
        let [e, f, g, h, i, j, k, l, _, m, n, o, a, b, c, d] = address.0;
        let found = match self.bits {
            32 => [i, j, k, l],
            40 => [j, k, l, m],
            48 => [k, l, m, n],
            56 => [l, m, n, o],
            64 => [m, n, o, a],
            96 => [a, b, c, d],
            _ => return None,
        };
        let [p, q, r, s, t, u, v, w, _, x, y, z, ..] = self.address.0;
        let is_same = same([e, f, g, h], [p, q, r, s])
            && (self.bits < 40 || i == t)
            && (self.bits < 48 || j == u)
            && (self.bits < 56 || k == v)
            && (self.bits < 64 || l == w)
            && (self.bits < 96 || same([address.0[8], m, n, o], [0, x, y, z]));
        if is_same { Some(Ip4(found)) } else { None }
    }
}

#[inline(always)]
const fn same(a: [u8; 4], b: [u8; 4]) -> bool {
    u32::from_ne_bytes(a) == u32::from_ne_bytes(b)
}

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
