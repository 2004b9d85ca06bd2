//! What the packet path must know of a version of IP: how its packets are read, and how a flow's
//! rewrite is done to them. Everything else is the same for all.

use abi::{Address, Flow, Live, NextHop, Reason};

use crate::{Arrival, frame::Packet, world::World};

/// A packet that has no flow to be looked up.
pub enum Unusual {
    /// It leaves for this reason, whoever it belongs to.
    Leaves(Reason),
    /// Its ports cannot be read. It is dropped for this reason if it is ours, else passed.
    Part(Reason),
}

/// A version of IP, as packets arrive.
pub trait Version {
    /// Its addresses.
    type Own: Address;

    /// Reads the headers up to the transport's.
    fn parse<P: Packet>(packet: &mut P, bytes: u64) -> Result<Arrival<Self::Own>, Unusual>;

    /// How many hops the packet may take from here on, with this one.
    fn hops<P: Packet>(packet: &mut P) -> Option<u8>;

    /// Whether no router on the way may fragment it.
    fn forbids_fragments<P: Packet>(packet: &mut P) -> bool;

    /// Tells the sender that its packet ran out of hops.
    fn time_exceeded<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason;

    /// Tells the sender that its flow was refused; `false` if it cannot be told.
    fn prohibited<P: Packet, W: World>(packet: &mut P, world: &W) -> bool;
}

/// Packets of a version of IP, translated as entries of a kind of address say.
pub trait Translate<A: Address>: Version {
    /// The packet, as those entries' keys know it.
    fn arrival<P: Packet>(packet: &mut P, bytes: u64) -> Result<Arrival<A>, Unusual>;

    /// Length of the IP packet as it leaves, in bytes.
    fn leaving(arrival: &Arrival<A>, flow: &Flow<Live, A>) -> u16;

    /// Edits the headers; `false` if it has none. Without a next hop the kernel will send the packet,
    /// and count the hop itself.
    fn rewrite<P: Packet>(
        packet: &mut P,
        arrival: &Arrival<A>,
        flow: &Flow<Live, A>,
        hop: Option<&NextHop>,
    ) -> bool;

    /// Tells the sender that its packet, as it would leave, is larger than `mtu`.
    fn too_big<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        flow: &Flow<Live, A>,
        mtu: u16,
    ) -> Reason;

    /// Answers a TCP segment that belongs to nothing.
    fn reset<P: Packet>(packet: &mut P, arrival: &Arrival<A>) -> Reason;
}
