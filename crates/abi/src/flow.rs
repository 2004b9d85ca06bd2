//! The flow table: each direction of a flow is an entry of its own, under the tuple as it arrives.
//!
//! An entry says everything the packet path needs to send the packet on. Nothing points from one
//! direction to the other; whoever wants both computes the other's key ([`Flow::twin`]).

use crate::{
    Address, Ip4, Ip6, Live, Picture, Protocol, Shared, Tick, Tuple, View, limits::POOLS_MAX,
};

/// What a packet carries when it arrives.
///
/// Aligned so that neighbours that are read and written together on the BPF stack are aligned together.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowKey<A = Ip4> {
    /// Addresses and ports.
    pub tuple: Tuple<A>,
    /// The number in the IP header.
    pub protocol: u8,
    _pad: u8,
    _pad16: u16,
}

impl<A: Copy> FlowKey<A> {
    /// The key of a packet.
    #[inline(always)]
    pub const fn new(protocol: Protocol, tuple: Tuple<A>) -> Self {
        Self {
            tuple,
            protocol: protocol as u8,
            _pad: 0,
            _pad16: 0,
        }
    }
}

impl<A: Address> FlowKey<A> {
    /// The same, as tables for both versions of IP hold it.
    #[inline(always)]
    pub fn wide(&self) -> FlowKey<Ip6> {
        FlowKey {
            tuple: self.tuple.wide(),
            protocol: self.protocol,
            _pad: 0,
            _pad16: 0,
        }
    }
}

/// Which way an entry's packets go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// From the internal to the external realm.
    Outbound,
    /// From the external to the internal realm.
    Inbound,
}

/// What TCP segments of one direction have shown, as bits of [`Flow::seen`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen(pub u8);

impl Seen {
    /// A SYN.
    pub const SYN: u8 = 1;
    /// A segment with ACK that is no SYN: this side has seen the other's SYN.
    pub const ACK: u8 = 2;
    /// A FIN.
    pub const FIN: u8 = 4;
    /// An RST.
    pub const RST: u8 = 8;

    /// Whether all of `bits` were seen.
    #[inline(always)]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

/// Where a flow's frames go next, as the kernel's routing and neighbour tables said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The interface to send by.
    pub ifindex: u32,
    /// Largest IP packet it takes, in bytes.
    pub mtu: u16,
    /// Destination and source MAC address, as an Ethernet header has them, in words.
    pub macs: [u32; 3],
}

impl NextHop {
    /// No next hop, to be filled in.
    pub const EMPTY: Self = Self {
        ifindex: 0,
        mtu: 0,
        macs: [0; 3],
    };

    /// A next hop from its two MAC addresses.
    #[inline(always)]
    pub const fn new(ifindex: u32, mtu: u16, target: [u8; 6], source: [u8; 6]) -> Self {
        let ([a, b, c, d, e, f], [u, v, w, x, y, z]) = (target, source);
        let macs = [
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, u, v]),
            u32::from_ne_bytes([w, x, y, z]),
        ];
        Self { ifindex, mtu, macs }
    }
}

/// One direction of a flow: what its packets become and where they go. One cache line, if both its
/// sides have IPv4 addresses.
///
/// Written once, at insertion; afterwards only the words of `V` change.
#[repr(C)]
#[derive(Debug)]
pub struct Flow<V: View = Live, A = Ip4> {
    /// What the packet's addresses and ports become.
    pub to: Tuple<A>,
    /// What the rewrite adds to the IP header's checksum, with the decrement of the TTL: one's
    /// complement, in the byte order in which this machine reads the packet.
    pub ip_delta: u16,
    /// What the rewrite adds to the transport checksum.
    pub l4_delta: u16,
    /// When the flow began.
    pub created: Tick,
    /// Pool (low seven bits) and side (high bit).
    place: u8,
    /// TCP flags seen, see [`Seen`].
    pub seen: V::W8,
    /// [`NextHop::mtu`].
    mtu: V::W16,
    /// The last tick in which a packet passed, see [`Tick`].
    pub last_seen: V::W32,
    /// [`NextHop::ifindex`].
    ifindex: V::W32,
    /// Packets passed (low 48 bits, which last ten months at ten million a second) and the number of
    /// the rule that the flow began under (high 16), which a packet that is counted carries along.
    packets: V::W64,
    /// Bytes passed, whole frames.
    pub bytes: V::W64,
    /// The generation of the routing tables for which the next hop is known; zero is none.
    generation: V::W32,
    /// [`NextHop::macs`].
    macs: [V::W32; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 16);
const _: () = assert!(size_of::<FlowKey<Ip6>>() == 40);
const _: () = assert!(size_of::<Flow<Live, Ip6>>() == 88);
const _: () = assert!(size_of::<Flow>() == 64, "one cache line");
const _: () = assert!(size_of::<Flow>() == size_of::<Flow<Picture>>());
const _: () = assert!(align_of::<Flow>() == align_of::<Flow<Picture>>());
const _: () = assert!(POOLS_MAX <= SIDE as usize);

const SIDE: u8 = 0x80;
/// Where the rule's number stands in the word that counts packets.
const RULE: u32 = 48;

/// A pool and a side in one byte.
#[inline(always)]
const fn place(side: Side, pool: u8) -> u8 {
    match side {
        Side::Outbound => pool & !SIDE,
        Side::Inbound => pool | SIDE,
    }
}

impl<V: View, A: Copy> Flow<V, A> {
    /// The pool whose address the flow uses, as an index.
    #[inline(always)]
    pub const fn pool(&self) -> u8 {
        self.place & !SIDE
    }

    /// Which way the entry's packets go.
    #[inline(always)]
    pub const fn side(&self) -> Side {
        if self.place & SIDE == 0 {
            Side::Outbound
        } else {
            Side::Inbound
        }
    }

    /// The key of the flow's other direction.
    #[inline(always)]
    pub const fn twin(&self, protocol: Protocol) -> FlowKey<A> {
        FlowKey::new(protocol, self.to.reversed())
    }
}

impl<A: Copy> Flow<Live, A> {
    /// A new entry that has seen nothing and knows no next hop.
    #[inline(always)]
    pub fn new(
        side: Side,
        pool: u8,
        to: Tuple<A>,
        (ip_delta, l4_delta): (u16, u16),
        now: Tick,
    ) -> Self {
        Self {
            to,
            ip_delta,
            l4_delta,
            created: now,
            place: place(side, pool),
            seen: Shared::from(0),
            mtu: Shared::from(0),
            last_seen: Shared::from(now.0),
            ifindex: Shared::from(0),
            packets: Shared::from(0),
            bytes: Shared::from(0),
            generation: Shared::from(0),
            macs: [Shared::from(0), Shared::from(0), Shared::from(0)],
        }
    }

    /// Makes it a new entry of a rule's, but for what it turns packets into.
    #[inline(always)]
    pub fn begin(&mut self, (side, pool, rule): (Side, u8, u16), deltas: (u16, u16), now: Tick) {
        (self.ip_delta, self.l4_delta) = deltas;
        self.created = now;
        self.place = place(side, pool);
        self.seen.set(0);
        self.mtu.set(0);
        self.last_seen.set(now.0);
        self.ifindex.set(0);
        self.packets.set((rule as u64) << RULE);
        self.bytes.set(0);
        self.generation.set(0);
        for word in &self.macs {
            word.set(0);
        }
    }

    /// Whether the next hop is known for this generation of the routing tables.
    #[inline(always)]
    pub fn is_resolved(&self, generation: u32) -> bool {
        self.generation.get() == generation
    }

    /// [`NextHop::mtu`] of the next hop that was last remembered.
    #[inline(always)]
    pub fn mtu(&self) -> u16 {
        self.mtu.get()
    }

    /// The next hop that was last remembered.
    #[inline(always)]
    pub fn next_hop(&self) -> NextHop {
        let [a, b, c] = &self.macs;
        NextHop {
            ifindex: self.ifindex.get(),
            mtu: self.mtu.get(),
            macs: [a.get(), b.get(), c.get()],
        }
    }

    /// Remembers the next hop. Invalid while it is written, so that a reader on another CPU asks
    /// again rather than mixing two answers.
    #[inline(always)]
    pub fn remember(&self, hop: &NextHop, generation: u32) {
        self.generation.set(0);
        self.macs[0].set(hop.macs[0]);
        self.macs[1].set(hop.macs[1]);
        self.macs[2].set(hop.macs[2]);
        self.ifindex.set(hop.ifindex);
        self.mtu.set(hop.mtu);
        self.generation.set(generation);
    }

    /// The same, begun under the rule with this number.
    #[inline(always)]
    pub fn under(self, rule: u16) -> Self {
        self.packets.set((rule as u64) << RULE);
        self
    }

    /// Packets passed.
    #[inline(always)]
    pub fn passed(&self) -> u64 {
        self.packets.get() & ((1 << RULE) - 1)
    }

    /// Counts a packet. Not atomic: a flow's packets arrive on one CPU, but for moments of change.
    #[inline(always)]
    pub fn count(&self, bytes: u64) {
        self.packets.set(self.packets.get().wrapping_add(1));
        self.bytes.set(self.bytes.get().wrapping_add(bytes));
    }

    /// Another entry with the words of this moment.
    pub fn duplicate(&self) -> Self {
        self.picture().live()
    }

    /// A copy of this moment.
    pub fn picture(&self) -> Flow<Picture, A> {
        Flow {
            to: self.to,
            ip_delta: self.ip_delta,
            l4_delta: self.l4_delta,
            created: self.created,
            place: self.place,
            seen: self.seen.get(),
            mtu: self.mtu.get(),
            last_seen: self.last_seen.get(),
            ifindex: self.ifindex.get(),
            packets: self.packets.get(),
            bytes: self.bytes.get(),
            generation: self.generation.get(),
            macs: [self.macs[0].get(), self.macs[1].get(), self.macs[2].get()],
        }
    }
}

impl<A: Copy> Clone for Flow<Picture, A> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A: Copy> Copy for Flow<Picture, A> {}
impl<A: PartialEq> PartialEq for Flow<Picture, A> {
    fn eq(&self, other: &Self) -> bool {
        self.to == other.to
            && (self.ip_delta, self.l4_delta) == (other.ip_delta, other.l4_delta)
            && (self.created, self.place, self.seen) == (other.created, other.place, other.seen)
            && (self.mtu, self.last_seen) == (other.mtu, other.last_seen)
            && (self.ifindex, self.generation) == (other.ifindex, other.generation)
            && (self.packets, self.bytes, self.macs) == (other.packets, other.bytes, other.macs)
    }
}
impl<A: Eq> Eq for Flow<Picture, A> {}

impl<A: Copy> Flow<Picture, A> {
    /// Packets passed.
    pub const fn packets(&self) -> u64 {
        self.packets & ((1 << RULE) - 1)
    }

    /// The same, with so many packets passed.
    pub const fn with_packets(self, packets: u64) -> Self {
        let rule = self.packets >> RULE << RULE;
        Self {
            packets: rule | (packets & ((1 << RULE) - 1)),
            ..self
        }
    }

    /// An entry that stands as this does.
    pub fn live(&self) -> Flow<Live, A> {
        Flow {
            to: self.to,
            ip_delta: self.ip_delta,
            l4_delta: self.l4_delta,
            created: self.created,
            place: self.place,
            seen: self.seen.into(),
            mtu: self.mtu.into(),
            last_seen: self.last_seen.into(),
            ifindex: self.ifindex.into(),
            packets: self.packets.into(),
            bytes: self.bytes.into(),
            generation: self.generation.into(),
            macs: self.macs.map(Shared::from),
        }
    }

    /// The same, with these flags seen.
    pub const fn with_seen(self, seen: u8) -> Self {
        Self { seen, ..self }
    }

    /// The number of the rule that the flow began under; zero if it has none.
    pub const fn rule(&self) -> u16 {
        (self.packets >> RULE) as u16
    }

    /// The interface that the flow's frames last left by; zero if none is known.
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }
}
