//! Holds the largest segment that TCP agrees on at what a pool allows, for ways on which ICMP does not
//! come back (RFC 9293 §3.7.1).

use abi::{Address, policy::pool_index};

use crate::{
    Arrival,
    checksum::{Sum, patch},
    frame::{Link, Packet, Tcp, Wire},
    world::World,
};

/// Options of a TCP header: forty bytes, each at least one.
const OPTIONS_MAX: usize = 40;
/// No more options.
const END: u8 = 0;
/// Nothing.
const NOTHING: u8 = 1;
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
    let Some(place) = world.place() else {
        return;
    };
    place.set(Tcp::LEN as u32);
    let mut step = 0;
    while step < OPTIONS_MAX {
        // No header is that long; but older verifiers know a bound only when they see it.
        let at = place.get() as usize % 64;
        if at + 2 > end {
            return;
        }
        let Some(option) = packet.at::<[u8; 2]>(l4 + at) else {
            return;
        };
        let [kind, length] = *option;
        if *option == MSS && at + MSS[1] as usize <= end {
            lower(packet, l4, at + 2, limit);
            return;
        }
        let length = match kind {
            END => return,
            NOTHING => 1,
            _ if length < 2 => return,
            _ => length as u32,
        };
        place.set(at as u32 + length);
        step += 1;
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
