//! Bitmaps of the ports of an external address that are taken, one per port space.
//!
//! Ports stand by residue class: all ports that are equal modulo [`CLASSES`] share four neighbouring
//! words. A class is what several gateways will divide among themselves, and keeping a class
//! together makes finding a free port in it a matter of four loads.

use crate::{Port, Protocol, limits::ADDRESSES_MAX};

/// Residue classes of ports.
pub const CLASSES: usize = 256;
/// Words of a class: 256 ports, 64 a word.
pub const CLASS_WORDS: usize = 65_536 / CLASSES / 64;
/// Words of a bitmap.
pub const WORDS: usize = CLASSES * CLASS_WORDS;
/// Port spaces of an address: TCP, UDP, ICMP identifiers, and one to come.
pub const SPACES: usize = 4;
/// Bitmaps of a gateway.
pub const BITMAPS: usize = ADDRESSES_MAX * SPACES;

/// The bitmap of a port space of the external address with this index.
#[inline(always)]
pub const fn bitmap(address: u16, protocol: Protocol) -> u32 {
    address as u32 * SPACES as u32 + protocol.space() as u32
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

const _: () = assert!(CLASS_WORDS * 64 * CLASSES == 65_536);

#[cfg(test)]
mod tests {
    use super::*;

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
}
