//! Bitmaps of the ports of an external address: which are taken, and which were freed so lately that
//! others go before them; one for each port space.
//!
//! Ports stand by residue class: all ports that are equal modulo [`CLASSES`] share four neighbouring
//! words. A class is what several gateways will divide among themselves, and keeping a class
//! together makes finding a free port in it a matter of one cache line.
//!
//! TCP ports of an overloaded address serve several flows, as long as their remotes differ. Such an
//! address has [`PLANES`], each a bitmap of all its ports, and the hash of a flow's remote says in
//! which of them its port is taken. Flows of different planes have different remotes, and in a plane
//! a port is one flow's: so no two flows share port and remote.

use crate::{
    Address, Port, Protocol, Shared,
    hash::hash,
    limits::{ADDRESSES_MAX, OVERLOADED_MAX},
};

/// Residue classes of ports.
pub const CLASSES: usize = 256;
/// Words of a class: 256 ports, 64 a word.
pub const CLASS_WORDS: usize = 65_536 / CLASSES / 64;
/// Words of a bitmap.
pub const WORDS: usize = CLASSES * CLASS_WORDS;
/// Port spaces of an address: TCP, UDP, ICMP identifiers, and one to come. Protocols that are translated
/// by address have none.
pub const SPACES: usize = 4;
/// Planes of an overloaded address: as many flows may have a port. A power of two, so that the hash is
/// spread evenly.
pub const PLANES: usize = 16;
/// Bitmaps of a gateway.
pub const BITMAPS: usize = ADDRESSES_MAX * SPACES + OVERLOADED_MAX * PLANES;

/// Sixty-four ports.
#[repr(C)]
#[derive(Debug)]
pub struct PortWord {
    /// Those that are in use, and those that must not be.
    pub taken: Shared<u64>,
    /// Those that were freed lately: given out only when there are no others (RFC 6888 REQ-8).
    pub held: Shared<u64>,
}

/// The bitmap of a port space of the external address with this index.
#[inline(always)]
pub const fn bitmap(address: u16, protocol: Protocol) -> u32 {
    address as u32 * SPACES as u32 + protocol.space() as u32
}

/// The bitmap of one of the planes of an address, which are counted from one.
#[inline(always)]
pub const fn plane_bitmap(planes: u8, plane: u32) -> u32 {
    (ADDRESSES_MAX * SPACES) as u32 + (planes as u32 - 1) * PLANES as u32 + plane
}

/// The bitmap in which the port of a flow to this remote is taken: of the address with this index
/// and these planes, if it has some.
#[inline(always)]
pub fn bitmap_towards<A: Address>(
    seed: u64,
    (address, planes): (u16, u8),
    protocol: Protocol,
    (remote, port): (A, Port),
) -> u32 {
    match protocol {
        Protocol::Tcp if planes != 0 => {
            // An IPv4 remote has one plane, also where it stands as a mapped address.
            let (high, low) = match remote.words() {
                (0, low) if low >> 32 == 0xffff => (low & 0xffff_ffff, 0),
                words => words,
            };
            let remote = hash(seed, high, low.rotate_left(24) ^ port.get() as u64);
            plane_bitmap(planes, remote as u32 % PLANES as u32)
        }
        Protocol::Tcp
        | Protocol::Udp
        | Protocol::Icmp
        | Protocol::Sctp
        | Protocol::Gre
        | Protocol::Esp => bitmap(address, protocol),
    }
}

/// The word and the bit of a port.
#[inline(always)]
pub const fn place(port: Port) -> (usize, u32) {
    let port = port.get() as usize;
    let (class, rank) = (port % CLASSES, port / CLASSES);
    (class * CLASS_WORDS + rank / 64, (rank % 64) as u32)
}

/// The port at a bit of a word; the inverse of [`place`].
#[inline(always)]
pub const fn port(word: usize, bit: u32) -> Port {
    let (class, high) = (word / CLASS_WORDS, word % CLASS_WORDS);
    Port::new(((high * 64 + bit as usize) * CLASSES + class) as u16)
}

const _: () = assert!(PLANES.is_power_of_two());
const _: () = assert!(
    size_of::<PortWord>() * CLASS_WORDS == 64,
    "a class is a cache line"
);
const _: () = assert!(CLASS_WORDS * 64 * CLASSES == 65_536);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ip4, Ip6};

    #[test]
    fn every_port_has_a_place_of_its_own_and_is_found_there() {
        let mut seen = std::collections::HashSet::new();
        for host in 0..=u16::MAX {
            let (word, bit) = place(Port::new(host));
            assert!(word < WORDS && bit < 64);
            assert!(seen.insert((word, bit)));
            assert_eq!(port(word, bit).get(), host);
        }
    }

    #[test]
    fn no_two_addresses_share_a_bitmap() {
        let mut seen = std::collections::HashSet::new();
        for address in 0..ADDRESSES_MAX as u16 {
            for protocol in Protocol::PORTED {
                assert!(seen.insert(bitmap(address, protocol)));
            }
        }
        for planes in 1..=OVERLOADED_MAX as u8 {
            for plane in 0..PLANES as u32 {
                assert!(seen.insert(plane_bitmap(planes, plane)));
            }
        }
        assert!(seen.iter().all(|bitmap| (*bitmap as usize) < BITMAPS));
    }

    #[test]
    fn remotes_are_spread_over_all_planes_and_each_has_one() {
        let mut of_plane = std::collections::HashMap::<u32, u32>::new();
        for remote in 0..1600u16 {
            let [high, low] = remote.to_be_bytes();
            let towards = |protocol| {
                let remote = (Ip4([198, 51, high, low]), Port::new(443));
                bitmap_towards(7, (3, 2), protocol, remote)
            };
            *of_plane.entry(towards(Protocol::Tcp)).or_default() += 1;
            assert_eq!(towards(Protocol::Udp), bitmap(3, Protocol::Udp));
            let mut mapped = [0; 16];
            mapped[10..].copy_from_slice(&[0xff, 0xff, 198, 51, high, low]);
            let mapped = (Ip6(mapped), Port::new(443));
            let same = bitmap_towards(7, (3, 2), Protocol::Tcp, mapped);
            assert_eq!(towards(Protocol::Tcp), same);
        }
        assert_eq!(of_plane.len(), PLANES);
        assert!(of_plane.values().all(|remotes| (50..200).contains(remotes)));
    }
}
