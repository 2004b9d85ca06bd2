//! What a packet may consult and change beside itself: tables, time, routes, counters.
//!
//! In the kernel these are BPF maps and helpers; natively they are plain memory and virtual time.

use core::ops::{Deref, DerefMut};

use abi::{
    Address, Buckets, ClassKey, Config, External, Fixed, FixedKey, Flow, FlowKey, FragmentKey,
    Fragments, Holder, Interface, Ip4, Ip6, Live, Mapping, MappingKey, Member, NextHop, Numbered,
    Pool, Port, PortWord, Reason, Rule, RuleSet, Shared, Side, Slot, Tick, Told, Trip, Tuple, Use,
    ports::WORDS,
};

use crate::frame::Packet;
pub use crate::room::Room;

/// The ports of one external address and port space, or of one plane of it.
pub type PortWords = [PortWord; WORDS];

/// Why an entry was not inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InsertError {
    /// There is an entry under this key.
    Exists,
    /// There is no room.
    Full,
}

/// Where a packet would go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// To the next hop that was filled in.
    Known,
    /// Somewhere, but the neighbour's address is not known: the kernel must send it.
    Unresolved,
    /// By an interface that takes no frames from XDP: the kernel must send it.
    Elsewhere,
    /// To this host itself.
    Local,
    /// Nowhere: no route, or one that forbids, or this interface does not forward.
    Nowhere,
}

/// A question to the routing tables.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<A = Ip4> {
    /// The packet as it will leave.
    pub tuple: Tuple<A>,
    /// The interface the packet came by.
    pub ingress: u32,
    /// The number in its IP header.
    pub protocol: u8,
}

/// How tables lend what is in them.
pub trait Lend {
    /// A borrowed table entry.
    type Ref<'a, T: 'a>: Deref<Target = T>
    where
        Self: 'a;

    /// What is borrowed to be written.
    type Mut<'a, T: 'a>: DerefMut<Target = T>
    where
        Self: 'a;
}

/// The tables of one kind of address: of [`Ip4`], or of [`Ip6`], in which an IPv4 address stands as a
/// mapped one.
pub trait Tables<A: Address>: Lend {
    /// Room for what is found out about the packet at hand; this CPU's own. What an earlier packet
    /// left is in it.
    ///
    /// Not on the stack: there is too little of that, and the verifier would walk everything behind
    /// once for each value it can have.
    fn room(&self) -> Option<Self::Mut<'_, Room<A>>>;

    /// The flow entry under this key.
    fn flow(&self, key: &FlowKey<A>) -> Option<Self::Ref<'_, Flow<Live, A>>>;
    /// Inserts a flow entry if there is none under its key.
    fn insert_flow(&self, key: &FlowKey<A>, flow: &Flow<Live, A>) -> Result<(), InsertError>;
    /// Removes a flow entry.
    fn remove_flow(&self, key: &FlowKey<A>);

    /// What stands at an end of a mapping.
    fn mapping(&self, key: &MappingKey<A>) -> Option<Self::Ref<'_, Mapping<A>>>;
    /// Inserts a mapping if there is none under its key.
    fn insert_mapping(&self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<(), InsertError>;
    /// Removes a mapping.
    fn remove_mapping(&self, key: &MappingKey<A>);

    /// What is known of a packet in fragments.
    fn fragments(&self, key: &FragmentKey<A>) -> Option<Self::Ref<'_, Fragments>>;
    /// Remembers a packet in fragments of these ports, of which the first has now come with so many
    /// units of eight bytes, instead of what was known under its key.
    fn put_fragments(&self, key: &FragmentKey<A>, ports: (Port, Port), units: u16);

    /// What we know of an address as an external one.
    fn external(&self, address: &A) -> Option<Self::Ref<'_, External>>;
    /// The rules of the longest prefix that covers this key.
    fn class(&self, key: &ClassKey<A>) -> Option<Self::Ref<'_, RuleSet>>;
    /// What becomes of the addresses of the longest prefix that covers this key.
    fn fixed(&self, key: &FixedKey<A>) -> Option<Self::Ref<'_, Fixed>>;
    /// A slot of a pool by [`abi::policy::pool_index`].
    fn slot(&self, pool: u32, slot: usize) -> Option<Slot<A>>;

    /// Asks the routing and neighbour tables; fills in `hop` if the answer is [`Route::Known`].
    /// Never answers [`Route::Elsewhere`]: that is for the packet path to judge.
    fn route(&self, query: &RouteQuery<A>, hop: &mut NextHop) -> Route;

    /// Tells whoever wants to know that a flow has begun: its first packet as it came, its addresses
    /// and ports as it leaves.
    fn opened(&self, asked: &FlowKey<A>, sent: &Tuple<A>, pool: u8);
}

/// See the module.
pub trait World: Tables<Ip4> + Tables<Ip6> {
    /// Room for a place in the packet at hand; this CPU's own.
    ///
    /// For loops over what has no fixed place: kept here, the verifier knows nothing of it, and walks
    /// the loop once instead of once for every place there may be.
    fn place(&self) -> Option<Self::Ref<'_, Shared<u32>>>;

    /// Now, coarsely.
    fn now(&self) -> Tick;

    /// The words every packet may need.
    fn config(&self) -> Option<Self::Ref<'_, Config>>;

    /// A bitmap by [`abi::ports::bitmap_towards`].
    fn ports(&self, bitmap: u32) -> Option<Self::Ref<'_, PortWords>>;

    /// A rule by [`abi::policy::rule_index`].
    fn rule(&self, index: u32) -> Option<Self::Ref<'_, Rule>>;
    /// A pool by [`abi::policy::pool_index`].
    fn pool(&self, index: u32) -> Option<Self::Ref<'_, Pool>>;
    /// What stands under a rule's number.
    fn numbered(&self, rule: u16) -> Option<Self::Ref<'_, Numbered>>;
    /// The slot that a client is counted in.
    fn client(&self, holder: &Holder) -> Option<Self::Ref<'_, u32>>;
    /// Has a client counted in this slot if it has none.
    fn insert_client(&self, holder: &Holder, slot: u32) -> Result<(), InsertError>;
    /// What is counted in a slot; see [`abi::quota`].
    fn usage(&self, slot: u32) -> Option<Self::Ref<'_, Use>>;
    /// An interface we listen on.
    fn interface(&self, ifindex: u32) -> Option<Self::Ref<'_, Interface>>;

    /// Notes that fragments of a packet came before its first one.
    fn await_first(&self, key: &FragmentKey<Ip6>);
    /// Forgets that; `true` if it was noted.
    fn stop_awaiting(&self, key: &FragmentKey<Ip6>) -> bool;
    /// How many fragments were handed over in this second, by the hash of their sender: below
    /// [`HELD_SHARES`](abi::limits::HELD_SHARES).
    fn held_by(&self, sender: u32) -> Option<Self::Ref<'_, Shared<u32>>>;
    /// Hands over a fragment that came before the first one of its packet, to be sent through again
    /// when that has come; or with an `mtu`, see [`Held::mtu`](abi::Held::mtu), a packet to be sent through
    /// again in pieces. `false` if there is no room.
    fn hold<P: Packet>(&self, packet: &mut P, key: &FragmentKey<Ip6>, mtu: u16) -> bool;
    /// Tells whoever holds fragments of this packet that its first one has passed.
    fn first_passed(&self, key: &FragmentKey<Ip6>);

    /// Who holds which flows.
    fn buckets(&self) -> Option<Self::Ref<'_, Buckets>>;
    /// A member of the cluster.
    fn member(&self, number: u8) -> Option<Self::Ref<'_, Member>>;
    /// How the packet at hand came, and to which member it goes; this CPU's own.
    fn trip(&self) -> Option<Self::Ref<'_, Trip>>;

    /// Counts a packet that leaves.
    fn count(&self, reason: Reason, bytes: u64);
    /// Counts a translated packet of a pool.
    fn count_pool(&self, pool: u8, side: Side, bytes: u64);
    /// Counts what came of telling a client that its packet was refused.
    fn count_told(&self, told: Told);
    /// A tick (high half) and how many ICMP errors were sent in it (low half), by
    /// [`crate::icmp`]'s numbers of senders; this CPU's own.
    fn errors(&self, bucket: u32) -> Option<Self::Ref<'_, Shared<u64>>>;
    /// Counts a flow begun in a pool, by port space.
    fn count_opened(&self, pool: u8, space: usize);
}
