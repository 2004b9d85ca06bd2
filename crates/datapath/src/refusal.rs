//! Tells a client that there is no room for its flow, as its pool says, so that it need not wait for
//! an answer that never comes (RFC 5508 REQ-8, REQ-9).
//!
//! The packet was dropped for a named reason and is counted as that; what is sent is made of its frame.

use abi::{Address, Protocol, Reason, Refusal, Told};

use crate::{
    Arrival,
    frame::Packet,
    ip::Translate,
    world::{Tables, World},
};

/// Turns a refused packet into what its sender is told; `false` if it is told nothing.
#[inline(never)]
pub fn tell<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    refusal: Refusal,
) -> bool {
    let is_tcp = arrival.protocol as u8 == Protocol::Tcp as u8;
    let told = match refusal {
        Refusal::Silent => return false,
        Refusal::Reset if is_tcp => {
            match V::reset(packet, arrival) as u8 == Reason::ResetSent as u8 {
                true => Told::Reset,
                false => Told::Withheld,
            }
        }
        Refusal::Icmp | Refusal::Reset => match V::prohibited(packet, world) {
            true => Told::Icmp,
            false => Told::Withheld,
        },
    };
    world.count_told(told);
    !matches!(told, Told::Withheld)
}
