//! What the packet path must know of a version of IP: how its packets are read, and how a flow's
//! rewrite is done to them. Everything else is the same for all.

use abi::{Address, Flow, Live, NextHop, Reason};

use crate::{
    Arrival,
    frame::Packet,
    quoted::{Error, Translated},
    world::World,
};

/// A packet that has no flow to be looked up.
pub enum Unusual {
    /// It leaves for this reason, whoever it belongs to.
    Leaves(Reason),
    /// Its ports cannot be read. It is dropped for this reason if it is ours, else passed.
    Part(Reason),
    /// It is of another version.
    Other,
}

/// What is to be done with a flow's packet before it can be translated.
#[derive(Clone, Copy)]
pub enum Detour {
    /// Nothing.
    None,
    /// It cannot be translated.
    Refused(Reason),
    /// The daemon holds it until all of its fragments are there, and gives it a checksum.
    Complete,
    /// The daemon cuts it up, into pieces that become IPv6 packets of at most so many bytes.
    Cut(u16),
}

/// What a later fragment says of itself.
pub struct Identity<A> {
    pub source: A,
    pub target: A,
    /// As on the wire; IPv4's are the last two bytes.
    pub id: [u8; 4],
    /// The number in the IP header; ICMPv6's is ICMP's.
    pub protocol: u8,
    /// The units of eight bytes that it carries: the first, and the one after the last.
    pub start: u16,
    pub end: u16,
    /// See [`Arrival::fragment`].
    pub fragment: usize,
    /// See [`Arrival::l4`]; here what it carries.
    pub l4: usize,
    pub total: u16,
}

/// A version of IP, as packets arrive.
pub trait Version {
    /// Its addresses.
    type Own: Address;

    /// Reads the headers up to the transport's.
    fn parse<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        bytes: u64,
    ) -> Result<Arrival<Self::Own>, Unusual>;

    /// Reads the headers of a fragment.
    fn identify<P: Packet, W: World>(packet: &mut P, world: &W) -> Option<Identity<Self::Own>>;

    /// Source, target, and the protocol's number, with ICMP's for ICMPv6.
    fn addresses<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
    ) -> Option<(Self::Own, Self::Own, u8)>;

    /// How many hops the packet may take from here on, with this one.
    fn hops<P: Packet>(packet: &mut P) -> Option<u8>;

    /// Tells the sender that its packet ran out of hops.
    fn time_exceeded<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason;

    /// Tells the sender that its flow was refused; `false` if it cannot be told.
    fn prohibited<P: Packet, W: World>(packet: &mut P, world: &W) -> bool;
}

/// Packets of a version of IP, translated as entries of a kind of address say.
pub trait Translate<A: Address>: Version {
    /// An address, as those entries have it.
    fn wide(address: Self::Own) -> A;

    /// The other way round.
    fn own(address: A) -> Self::Own;

    /// Length of the IP packet as it leaves, in bytes.
    fn leaving(arrival: &Arrival<A>, flow: &Flow<Live, A>) -> u16;

    /// Whether the packet as it leaves may not be fragmented.
    fn forbids_fragments<P: Packet>(
        packet: &mut P,
        arrival: &Arrival<A>,
        flow: &Flow<Live, A>,
    ) -> bool;

    /// What is to be done with a flow's packet before it can be translated.
    #[inline(always)]
    fn detour<P: Packet, W: World>(_: &mut P, _: &W, _: &Arrival<A>, _: &Flow<Live, A>) -> Detour {
        Detour::None
    }

    /// Edits the headers, or says why that cannot be done. Without a next hop the kernel will send the
    /// packet, and count the hop itself.
    fn rewrite<P: Packet>(
        packet: &mut P,
        arrival: &Arrival<A>,
        flow: &Flow<Live, A>,
        hop: Option<&NextHop>,
    ) -> Option<Reason>;

    /// Tells the sender that its packet, as it would leave, is larger than `mtu`.
    fn too_big<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        arrival: &Arrival<A>,
        flow: &Flow<Live, A>,
        mtu: u16,
    ) -> Reason;

    /// Reads an ICMP error; `false` if it cannot be about one of our flows.
    fn read_error<P: Packet>(packet: &mut P, error: &mut Error<A>) -> bool;

    /// Whether its checksums are right.
    fn is_whole_error<P: Packet>(packet: &mut P, error: &Error<A>) -> bool;

    /// Length of an ICMP error as it leaves, in bytes.
    fn error_leaving(error: &Error<A>, flow: &Flow<Live, A>) -> u16;

    /// Edits an ICMP error, or says why that cannot be done.
    fn rewrite_error<P: Packet>(
        packet: &mut P,
        error: &Error<A>,
        translated: &Translated<A>,
    ) -> Option<Reason>;

    /// Answers a TCP segment that belongs to nothing.
    fn reset<P: Packet>(packet: &mut P, arrival: &Arrival<A>) -> Reason;
}
