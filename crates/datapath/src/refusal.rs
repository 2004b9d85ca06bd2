//! Tells a client that there is no room for its flow, as its pool says, so that it need not wait for
//! an answer that never comes (RFC 5508 REQ-8, REQ-9).
//!
//! The packet was dropped for a named reason and is counted as that; what is sent is made of its frame.

use abi::{Protocol, Reason, Refusal, Told};

use crate::{Arrival, frame::Packet, icmp, reset, world::World};

/// Turns a refused packet into what its sender is told; `false` if it is told nothing.
#[inline(never)]
pub fn tell<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival,
    refusal: Refusal,
) -> bool {
    let told = match refusal {
        Refusal::Silent => return false,
        Refusal::Reset if arrival.protocol as u8 == Protocol::Tcp as u8 => {
            match reset::answer(packet, arrival) {
                Reason::ResetSent => Told::Reset,
                _ => Told::Withheld,
            }
        }
        Refusal::Icmp | Refusal::Reset => match icmp::prohibited(packet, world) {
            true => Told::Icmp,
            false => Told::Withheld,
        },
    };
    world.count_told(told);
    !matches!(told, Told::Withheld)
}
