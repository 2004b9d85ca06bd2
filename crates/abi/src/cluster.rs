//! Several gateways that share external addresses: who holds which flows, and which ports are whose to
//! give.
//!
//! Flows are told apart by their [bucket](BUCKETS): the residue class of the external port. A packet from
//! outside shows that port; of one from inside, the hash of its sender says in which class its port is
//! looked for first. So both directions come to the same bucket without a look-up, on every member.

use crate::{
    Address, Ip6, Live, NextHop, Picture, Port, Protocol, Shared, View,
    hash::hash,
    limits::MEMBERS_MAX,
    ports::{CLASS_WORDS, CLASSES},
};

/// Buckets of flows: as many as residue classes of ports.
pub const BUCKETS: usize = CLASSES;

/// How often a packet may be handed from one member to another: to its owner, from there to who held the
/// bucket before, and back. The outer header says how often it still may, so that a loop cannot form.
pub const HOPS: u8 = 3;

/// Stands for no member.
pub const NOBODY: u8 = u8::MAX;

/// Who holds a bucket's flows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Holder {
    /// The member that new flows are begun by; [`NOBODY`] while that is not known.
    pub owner: u8,
    /// The member that still serves flows it began when it was the owner; [`NOBODY`] if there is none.
    pub before: u8,
}

impl Holder {
    /// No member holds the bucket.
    pub const NONE: Self = Self {
        owner: NOBODY,
        before: NOBODY,
    };

    /// As it stands in [`Buckets`].
    pub const fn word(self) -> u16 {
        self.owner as u16 | (self.before as u16) << 8
    }

    /// The inverse of [`Holder::word`].
    #[inline(always)]
    pub const fn of(word: u16) -> Self {
        Self {
            owner: word as u8,
            before: (word >> 8) as u8,
        }
    }
}

/// By whom ports of a class are given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Giver {
    /// The rank by which this member gives them; [`NOBODY`] if it gives none.
    pub rank: u8,
    /// The member that would serve their flows after it. A client whose class is full gets a port of another one
    /// with the same, as long as there is any: then both directions of its flow come to that member.
    pub next: u8,
}

impl Giver {
    /// This member gives none.
    pub const NONE: Self = Self {
        rank: NOBODY,
        next: NOBODY,
    };

    /// As it stands in [`Buckets`].
    pub const fn word(self) -> u16 {
        self.rank as u16 | (self.next as u16) << 8
    }

    /// The inverse of [`Giver::word`].
    #[inline(always)]
    pub const fn of(word: u16) -> Self {
        Self {
            rank: word as u8,
            next: (word >> 8) as u8,
        }
    }
}

/// Who holds which bucket, and which ports are this member's to give, as a map value. All zero where a
/// gateway is alone: then all are.
#[repr(C)]
#[derive(Debug)]
pub struct Buckets {
    /// [`Holder::word`] of each bucket.
    pub holders: [Shared<u16>; BUCKETS],
    /// [`Giver::word`] of each class. A flow's port is taken from classes of its bucket's rank.
    pub givers: [Shared<u16>; CLASSES],
    /// By rank, the ports of a class that it does not give, in the order of [`crate::ports::place`].
    pub withheld: [[Shared<u64>; CLASS_WORDS]; MEMBERS_MAX],
    /// See [`Division::unknown`].
    pub unknown: [Shared<u64>; SET_WORDS],
}

/// Words of a set of buckets.
pub const SET_WORDS: usize = BUCKETS / 64;

/// What [`Buckets`] say, as plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// See [`Buckets::holders`].
    pub holders: [Holder; BUCKETS],
    /// See [`Buckets::givers`].
    pub givers: [Giver; CLASSES],
    /// See [`Buckets::withheld`].
    pub withheld: [[u64; CLASS_WORDS]; MEMBERS_MAX],
    /// The buckets that this member owns, as bits, lowest first, and of which flows may live elsewhere that it
    /// knows nothing of: what belongs to no flow here is not told that there is none.
    pub unknown: [u64; SET_WORDS],
}

impl Buckets {
    /// Of a gateway that is alone.
    pub fn alone() -> Self {
        Self {
            holders: core::array::from_fn(|_| Shared::from(0)),
            givers: core::array::from_fn(|_| Shared::from(0)),
            withheld: core::array::from_fn(|_| core::array::from_fn(|_| Shared::from(0))),
            unknown: core::array::from_fn(|_| Shared::from(0)),
        }
    }

    /// Forgets who holds which bucket: in a cluster nobody does; a gateway that is alone may give away every
    /// port.
    pub fn forget(&self, is_alone: bool) {
        let giver = if is_alone { 0 } else { Giver::NONE.word() };
        self.givers.iter().for_each(|word| word.set(giver));
        if is_alone {
            self.withheld.iter().flatten().for_each(|word| word.set(0));
        }
        self.unknown.iter().for_each(|word| word.set(0));
        let nobody = Holder::NONE.word();
        self.holders.iter().for_each(|word| word.set(nobody));
    }

    /// Says who holds which bucket, and which ports are this member's to give: of a bucket that it loses it gives
    /// none before the new owner is known, of one that it gets none before it is.
    pub fn set(&self, division: &Division) {
        for (word, giver) in self.givers.iter().zip(&division.givers) {
            if giver.rank != Giver::of(word.get()).rank {
                word.set(Giver::NONE.word());
            }
        }
        let words = self.withheld.iter().flatten();
        for (word, wanted) in words.zip(division.withheld.iter().flatten()) {
            word.set(*wanted);
        }
        for (word, wanted) in self.unknown.iter().zip(&division.unknown) {
            word.set(*wanted);
        }
        for (word, holder) in self.holders.iter().zip(&division.holders) {
            word.set(holder.word());
        }
        for (word, giver) in self.givers.iter().zip(&division.givers) {
            word.set(giver.word());
        }
    }

    /// Whether this member owns a bucket of which flows may live elsewhere: [`Division::unknown`].
    #[inline(always)]
    pub fn is_unknown(&self, bucket: u8) -> bool {
        let bucket = core::hint::black_box(bucket as usize) % BUCKETS;
        self.unknown[bucket / 64].get() >> (bucket % 64) & 1 != 0
    }

    /// Who holds a bucket.
    #[inline(always)]
    pub fn holder(&self, bucket: u8) -> Holder {
        // Masked where the compiler would see no need to: Linux 6.1 has forgotten by here that it is a byte.
        Holder::of(self.holders[core::hint::black_box(bucket as usize) % BUCKETS].get())
    }
}

/// The bucket of an external port.
#[inline(always)]
pub const fn bucket_of(port: Port) -> u8 {
    port.0[1]
}

/// Where the search for the port of a client begins, for all members alike: its lowest byte is the
/// client's bucket. Even or odd as the client's port is, if that is to be kept.
#[inline(always)]
pub fn start<A: Address>(
    key: u64,
    (client, port): (A, Port),
    protocol: Protocol,
    keeps_parity: bool,
) -> u64 {
    let (high, low) = client.words();
    let low = low.rotate_left(24) ^ (protocol as u64) << 16;
    let start = hash(key, high, low ^ port.get() as u64);
    match keeps_parity {
        true => start & !1 | (port.get() & 1) as u64,
        false => start,
    }
}

/// A member of the cluster, as a map value.
#[repr(C)]
#[derive(Debug)]
pub struct Member<V: View = Live> {
    /// Where packets that are handed to it are sent to, an IPv4 address as [`Ip6::mapped`]; all zero if there is no
    /// such member.
    pub address: Ip6,
    /// [`NextHop::ifindex`].
    ifindex: V::W32,
    /// [`NextHop::macs`].
    macs: [V::W32; 3],
    /// The generation of the routing tables for which the next hop is known; zero is none.
    generation: V::W32,
    /// [`NextHop::mtu`].
    mtu: V::W32,
}

impl Copy for Member<Picture> {}

impl Clone for Member<Picture> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Member<Picture> {
    /// One whose next hop is not known yet.
    pub const fn at(address: Ip6) -> Self {
        Self {
            address,
            ifindex: 0,
            macs: [0; 3],
            generation: 0,
            mtu: 0,
        }
    }
}

impl Member<Live> {
    /// One whose next hop is not known yet.
    pub fn new(address: Ip6) -> Self {
        Self {
            address,
            ifindex: Shared::from(0),
            macs: [Shared::from(0), Shared::from(0), Shared::from(0)],
            generation: Shared::from(0),
            mtu: Shared::from(0),
        }
    }

    /// Whether the next hop is known for this generation of the routing tables.
    #[inline(always)]
    pub fn is_resolved(&self, generation: u32) -> bool {
        self.generation.get() == generation
    }

    /// The next hop that was last remembered.
    #[inline(always)]
    pub fn next_hop(&self) -> NextHop {
        let [a, b, c] = &self.macs;
        NextHop {
            ifindex: self.ifindex.get(),
            mtu: self.mtu.get() as u16,
            macs: [a.get(), b.get(), c.get()],
        }
    }

    /// Remembers the next hop. Invalid while it is written, as [`crate::Flow::remember`].
    #[inline(always)]
    pub fn remember(&self, hop: &NextHop, generation: u32) {
        self.generation.set(0);
        self.macs[0].set(hop.macs[0]);
        self.macs[1].set(hop.macs[1]);
        self.macs[2].set(hop.macs[2]);
        self.ifindex.set(hop.ifindex);
        self.mtu.set(u32::from(hop.mtu));
        self.generation.set(generation);
    }
}

/// How a packet came, and to whom it goes on: this CPU's own, for one packet.
#[repr(C)]
#[derive(Debug)]
pub struct Trip {
    /// [`Came::word`].
    pub came: Shared<u32>,
    /// [`Sent::word`].
    pub to: Shared<u32>,
    /// Not zero if the external port that it calls is another member's, so that it goes out to a router.
    pub is_out: Shared<u32>,
    /// Not zero if its flow may live elsewhere, see [`Division::unknown`].
    pub is_unknown: Shared<u32>,
}

/// How a packet came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Came(u32);

impl Came {
    /// By an interface, from no member.
    pub const DIRECT: Self = Self(0);

    const TUNNELLED: u32 = 1 << 16;

    /// From another member, with so many hops left, and what stood in the outer header about it.
    #[inline(always)]
    pub const fn by_member(hops: u8, note: Note) -> Self {
        Self(Self::TUNNELLED | (hops as u32) << 8 | note.0 as u32)
    }

    /// The inverse of [`Came::word`].
    #[inline(always)]
    pub const fn of(word: u32) -> Self {
        Self(word)
    }

    /// As it stands in [`Trip`].
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// Whether a member sent it.
    #[inline(always)]
    pub const fn is_by_member(self) -> bool {
        self.0 & Self::TUNNELLED != 0
    }

    /// How often it may still be handed on, this time included.
    #[inline(always)]
    pub const fn hops(self) -> u8 {
        match self.is_by_member() {
            true => ((self.0 >> 8) as u8).saturating_sub(1),
            false => HOPS,
        }
    }

    /// What stood in the outer header about it.
    #[inline(always)]
    pub const fn note(self) -> Note {
        Note(self.0 as u8)
    }
}

/// What members tell each other of a packet beside what stands in it: the first byte of the outer header's
/// identification, which has no other use in a packet that is not fragmented (RFC 6864 §4.1). The second
/// byte is how often the packet may still be handed on, and the number of the member that sends it. In IPv6 these are
/// the last two bytes of the flow label, which is no more than a hint to those who spread packets (RFC 6437 §2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note(pub u8);

impl Note {
    /// What every one has, so that members that say it otherwise one day are not misread.
    pub const PLAIN: Self = Self(0x40);
    const VERSION: u8 = 0xf0;
    const INSIDE: u8 = 1;
    const ASKS: u8 = 2;
    const BEGINS: u8 = 4;
    const YIELDS: u8 = 8;

    /// Whether it is said as this version says it.
    #[inline(always)]
    pub const fn is_known(self) -> bool {
        self.0 & Self::VERSION == Self::PLAIN.0
    }

    /// Whether the packet came to the first member from the internal realm.
    #[inline(always)]
    pub const fn is_from_inside(self) -> bool {
        self.0 & Self::INSIDE != 0
    }

    /// The owner has no flow for it: whoever held the bucket before is to serve it, if it has one.
    #[inline(always)]
    pub const fn asks(self) -> bool {
        self.0 & Self::ASKS != 0
    }

    /// Nobody has a flow for it: the owner may begin one.
    #[inline(always)]
    pub const fn begins(self) -> bool {
        self.0 & Self::BEGINS != 0
    }

    /// The owner that asks does not know yet which ports are in use: whoever held the bucket before is to begin a
    /// flow if it has none.
    #[inline(always)]
    pub const fn yields(self) -> bool {
        self.0 & Self::YIELDS != 0
    }

    /// The same, said of a packet that came from this realm.
    #[inline(always)]
    pub const fn inside(self, is_from_inside: bool) -> Self {
        match is_from_inside {
            true => Self(self.0 | Self::INSIDE),
            false => self,
        }
    }

    /// The same, asking.
    #[inline(always)]
    pub const fn asking(self) -> Self {
        Self(self.0 | Self::ASKS)
    }

    /// The same, asking for a flow to be begun if the asker gives no ports.
    #[inline(always)]
    pub const fn yielding(self, gives: bool) -> Self {
        match gives {
            true => self,
            false => Self(self.0 | Self::YIELDS),
        }
    }

    /// The same, as the answer that there is no flow.
    #[inline(always)]
    pub const fn beginning(self) -> Self {
        Self(self.0 | Self::BEGINS)
    }
}

/// To whom a packet is handed, and with what note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// The member's number.
    pub to: u8,
    /// What it is told.
    pub note: Note,
}

impl Sent {
    /// As it stands in [`Trip`].
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.to as u32 | (self.note.0 as u32) << 8
    }

    /// The inverse of [`Sent::word`].
    #[inline(always)]
    pub const fn of(word: u32) -> Self {
        Self {
            to: word as u8,
            note: Note((word >> 8) as u8),
        }
    }
}

const _: () = assert!(size_of::<Buckets>() == 4 * BUCKETS + 32 * MEMBERS_MAX + 8 * SET_WORDS);
const _: () = assert!(size_of::<Member>() == 40);
const _: () = assert!(size_of::<Member>() == size_of::<Member<Picture>>());
const _: () = assert!(size_of::<Trip>() == 16);
const _: () = assert!(BUCKETS == 256, "a bucket is a byte");
const _: () = assert!(
    MEMBERS_MAX <= 16,
    "a member's number has four bits in an outer header"
);
const _: () = assert!(HOPS < 16, "and so have hops");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_the_bucket_of_its_class() {
        for port in 0..=u16::MAX {
            let (word, _) = crate::ports::place(Port::new(port));
            assert_eq!(word / CLASS_WORDS, usize::from(bucket_of(Port::new(port))));
        }
    }

    #[test]
    fn what_is_written_into_words_is_read_again() {
        let holder = Holder {
            owner: 3,
            before: NOBODY,
        };
        assert_eq!(Holder::of(holder.word()), holder);
        let note = Note::PLAIN.inside(true).asking();
        let sent = Sent { to: 15, note };
        assert_eq!(Sent::of(sent.word()), sent);
        let came = Came::of(Came::by_member(2, note).word());
        assert!(came.is_by_member() && came.note() == note && came.hops() == 1);
        assert!(note.is_known() && note.is_from_inside() && note.asks() && !note.begins());
        assert!(!Came::DIRECT.is_by_member() && Came::DIRECT.hops() == HOPS);
    }
}
