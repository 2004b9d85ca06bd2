//! Holds the largest segment that TCP agrees on at what a pool allows, for ways on which ICMP does not
//! come back (RFC 9293 §3.7.1).

use abi::{Address, policy::pool_index};

use crate::{
    Arrival,
    checksum::{Sum, patch},
    frame::{Link, Packet, Tcp, Wire},
    options::Options,
    world::World,
};

/// The largest segment, and how long that option is.
const MSS: [u8; 2] = [2, 4];

/// Lowers the MSS of a SYN that is higher than the pool allows.
#[inline(never)]
pub fn clamp<A: Address, P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    pool: u8,
) {
    let l4 = arrival.l4;
    let Some(limit) = limit(world, pool) else {
        return;
    };
    let Some(tcp) = packet.at::<Tcp>(l4) else {
        return;
    };
    let end = tcp.header_len();
    if l4 + end > Link::LEN + arrival.total as usize {
        return;
    }
    let options = Options {
        header: l4,
        first: Tcp::LEN,
        end,
    };
    if let Some(at) = options.find(packet, world, |option| option == MSS) {
        lower(packet, l4, at + 2, limit);
    }
}

#[inline(always)]
fn limit<W: World>(world: &W, pool: u8) -> Option<u16> {
    let version = world.config()?.version;
    let limit = world.pool(pool_index(version, pool))?.behaviour.mss;
    (limit != 0).then_some(limit)
}

/// Lowers the number at this place of the TCP header, and mends the checksum.
#[inline(always)]
fn lower<P: Packet>(packet: &mut P, l4: usize, at: usize, limit: u16) {
    let Some(value) = packet.at::<[u8; 2]>(l4 + at) else {
        return;
    };
    let old = *value;
    if u16::from_be_bytes(old) <= limit {
        return;
    }
    let new = limit.to_be_bytes();
    *value = new;
    // At an odd place each of the two bytes is in the other half of a word.
    let sum = match at % 2 {
        0 => Sum::ZERO.swap2(old, new),
        _ => Sum::ZERO.swap2([old[1], old[0]], [new[1], new[0]]),
    };
    if let Some(tcp) = packet.at::<Tcp>(l4) {
        tcp.check = patch(tcp.check, sum.fold());
    }
}
