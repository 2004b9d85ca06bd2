//! The packet path's world in plain memory: for property tests, fuzzing, twins and simulators.
//!
//! Tables have the kernel's behaviour where it shows: bounded, insert-if-absent, longest prefix
//! match. Time and routes are whatever the caller says.

extern crate std;

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::{HashMap, VecDeque},
    rc::Rc,
    vec::Vec,
};

use abi::{
    Address, Buckets, ClassKey, Config, Counter, External, Fixed, FixedKey, Flow, FlowKey,
    FragmentKey, Fragments, Held, Holder, Interface, Ip4, Ip6, Live, Mapping, MappingKey, Member,
    NextHop, Numbered, Opened, Pool, PoolCounters, Port, PortWord, Reason, Rule, RuleSet, Shared,
    Side, Slot, Slots6, Tick, Told, Trip, Tuple, Use,
    limits::{
        AWAITED_MAX, CLIENTS_MAX, FIXED_ENTRIES_MAX, FRAGMENTS_MAX, HELD_BYTES, MEMBERS_MAX,
        POOLS_MAX, REASONS_MAX,
    },
    ports::WORDS,
};

use crate::{
    frame::{self, Packet, Wire},
    world::{InsertError, Lend, PortWords, Room, Route, RouteQuery, Tables, World},
};

/// A frame in plain memory.
#[derive(Clone, Debug)]
pub struct Frame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// The interface it came by.
    pub ingress: u32,
}

/// Room in front of a frame, as XDP guarantees it.
const HEADROOM: usize = 256;

impl Packet for Frame {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn at<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        frame::at(&mut self.bytes, offset)
    }

    fn copy(&mut self, room: &mut [u8]) -> bool {
        let room = room.get_mut(..self.bytes.len());
        room.map(|room| room.copy_from_slice(&self.bytes)).is_some()
    }

    fn resize(&mut self, len: usize) -> bool {
        self.bytes.resize(len, 0);
        true
    }

    fn advance(&mut self, bytes: usize) -> bool {
        // As the kernel: an Ethernet header must be left.
        if bytes + frame::Link::LEN > self.bytes.len() {
            return false;
        }
        self.bytes.drain(..bytes);
        true
    }

    fn prepend(&mut self, bytes: usize) -> bool {
        if bytes > HEADROOM {
            return false;
        }
        self.bytes.splice(0..0, std::iter::repeat_n(0, bytes));
        true
    }
}

/// A bounded table with insert-if-absent.
#[derive(Debug)]
pub struct Table<K, V> {
    entries: RefCell<HashMap<K, Rc<V>>>,
    capacity: usize,
}

impl<K: Eq + std::hash::Hash + Copy, V> Table<K, V> {
    fn new(capacity: usize) -> Self {
        Self {
            entries: RefCell::default(),
            capacity,
        }
    }

    /// The entry under a key.
    pub fn get(&self, key: &K) -> Option<Rc<V>> {
        self.entries.borrow().get(key).cloned()
    }

    /// Inserts if there is no such key and there is room.
    ///
    /// # Errors
    ///
    /// As the kernel: existing keys are found before fullness.
    pub fn insert_new(&self, key: K, value: V) -> Result<(), InsertError> {
        let mut entries = self.entries.borrow_mut();
        if entries.contains_key(&key) {
            return Err(InsertError::Exists);
        }
        if entries.len() >= self.capacity {
            return Err(InsertError::Full);
        }
        entries.insert(key, Rc::new(value));
        Ok(())
    }

    /// Inserts or replaces, as user space does.
    pub fn put(&self, key: K, value: V) {
        self.entries.borrow_mut().insert(key, Rc::new(value));
    }

    /// Inserts or replaces; if there is no room, some other entry goes.
    pub fn put_instead(&self, key: K, value: V) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= self.capacity
            && !entries.contains_key(&key)
            && let Some(other) = entries.keys().next().copied()
        {
            entries.remove(&other);
        }
        entries.insert(key, Rc::new(value));
    }

    /// Removes an entry if it is there.
    pub fn remove(&self, key: &K) {
        self.entries.borrow_mut().remove(key);
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All keys and values, in no order.
    pub fn all(&self) -> Vec<(K, Rc<V>)> {
        self.entries
            .borrow()
            .iter()
            .map(|(key, value)| (*key, value.clone()))
            .collect()
    }
}

/// The ring of fragments that came too early, with the room that the kernel's has.
#[derive(Debug, Default)]
pub struct Ring {
    records: VecDeque<(Held, Vec<u8>)>,
    bytes: usize,
}

impl Ring {
    fn put(&mut self, record: Held, frame: Vec<u8>) -> bool {
        let room = Self::room(&frame);
        if self.bytes + room > HELD_BYTES as usize {
            return false;
        }
        self.bytes += room;
        self.records.push_back((record, frame));
        true
    }

    /// Takes out the oldest record, with its frame, if there is one.
    pub fn take(&mut self) -> Option<(Held, Vec<u8>)> {
        let (record, frame) = self.records.pop_front()?;
        self.bytes -= Self::room(&frame);
        Some((record, frame))
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that a record takes: a header of the kernel's, and all of it in units of eight.
    fn room(frame: &[u8]) -> usize {
        (8 + size_of::<Held>() + frame.len()).next_multiple_of(8)
    }
}

/// Events that [`Memory`] keeps; more are lost, as in a ring that nobody reads.
pub const EVENTS_MAX: usize = 4096;

/// What the routing tables answer.
pub type Routes<A> = dyn Fn(&RouteQuery<A>) -> Result<NextHop, Route>;

/// The tables of one kind of address.
pub struct Kind<A: Address> {
    /// See [`Tables::flow`].
    pub flows: Table<FlowKey<A>, Flow<Live, A>>,
    /// See [`Tables::mapping`].
    pub mappings: Table<MappingKey<A>, Mapping<A>>,
    /// See [`Tables::fragments`].
    pub fragments: Table<FragmentKey<A>, Fragments>,
    /// See [`Tables::external`].
    pub externals: Table<A, External>,
    /// See [`Tables::class`].
    pub classes: Table<ClassKey<A>, RuleSet>,
    /// See [`Tables::fixed`].
    pub fixed: Table<FixedKey<A>, Fixed>,
    /// What [`Tables::route`] answers; never [`Route::Known`] as an error.
    pub routes: RefCell<Rc<Routes<A>>>,
    /// See [`Tables::room`].
    pub room: RefCell<Room<A>>,
    /// See [`Tables::opened`]: the first [`EVENTS_MAX`] of them.
    pub events: RefCell<Vec<Opened<A>>>,
}

impl<A: Address> Kind<A> {
    fn new(flows: usize) -> Self {
        Self {
            flows: Table::new(2 * flows),
            mappings: Table::new(2 * flows),
            fragments: Table::new(FRAGMENTS_MAX),
            externals: Table::new(usize::MAX),
            classes: Table::new(usize::MAX),
            fixed: Table::new(FIXED_ENTRIES_MAX),
            routes: RefCell::new(Rc::new(|_| Err(Route::Nowhere))),
            room: RefCell::new(Room::empty()),
            events: RefCell::default(),
        }
    }
}

/// Everything a packet may consult, in plain memory.
pub struct Memory {
    /// See [`World::now`].
    pub now: Cell<Tick>,
    /// See [`World::config`].
    pub config: RefCell<Rc<Config>>,
    /// The tables of IPv4 addresses.
    pub v4: Kind<Ip4>,
    /// The tables of flows that have an IPv6 address on one side or both.
    pub v6: Kind<Ip6>,
    /// See [`World::await_first`].
    pub awaited: Table<FragmentKey<Ip6>, ()>,
    /// See [`World::held_by`]; one that was never asked for is zero.
    pub held_by: RefCell<HashMap<u32, Rc<Shared<u32>>>>,
    /// See [`World::hold`] and [`World::first_passed`]: what nobody has taken yet.
    pub held: RefCell<Ring>,
    /// See [`World::ports`]; a bitmap that was never put is all free.
    pub ports: RefCell<HashMap<u32, Rc<PortWords>>>,
    /// See [`World::rule`].
    pub rules: Table<u32, Rule>,
    /// See [`World::pool`].
    pub pools: Table<u32, Pool>,
    /// See [`World::numbered`].
    pub numbered: Table<u16, Numbered>,
    /// See [`World::client`].
    pub clients: Table<Holder, u32>,
    /// See [`World::usage`]; a slot that was never looked at is empty.
    pub uses: RefCell<HashMap<u32, Rc<Use>>>,
    /// See [`World::errors`].
    pub errors: RefCell<HashMap<u32, Rc<Shared<u64>>>>,
    /// See [`World::count_told`].
    pub told: RefCell<[u64; Told::ALL.len()]>,
    /// The IPv6 addresses of pools, see [`Tables::slot`].
    pub pools6: Table<u32, Slots6>,
    /// See [`World::interface`].
    pub interfaces: Table<u32, Interface>,
    /// See [`World::buckets`].
    pub buckets: Rc<Buckets>,
    /// See [`World::member`].
    pub members: Table<u8, Member>,
    /// See [`World::trip`].
    pub trip: Rc<Trip>,
    /// See [`World::count`].
    pub counters: RefCell<Vec<Counter>>,
    /// See [`World::count_pool`].
    pub pool_counters: RefCell<Vec<PoolCounters>>,
}

impl Memory {
    /// Empty tables with room for `flows` flows, no policy, and no route to anywhere.
    pub fn new(flows: usize) -> Self {
        Self {
            now: Cell::new(Tick(1)),
            config: RefCell::new(Rc::new(Config {
                generation: 1,
                ..Config::default()
            })),
            v4: Kind::new(flows),
            v6: Kind::new(flows),
            awaited: Table::new(AWAITED_MAX),
            held_by: RefCell::default(),
            held: RefCell::default(),
            ports: RefCell::default(),
            rules: Table::new(usize::MAX),
            pools: Table::new(usize::MAX),
            numbered: Table::new(usize::MAX),
            clients: Table::new(CLIENTS_MAX.min(flows)),
            uses: RefCell::default(),
            errors: RefCell::default(),
            told: RefCell::default(),
            pools6: Table::new(usize::MAX),
            interfaces: Table::new(usize::MAX),
            buckets: Rc::new(Buckets::alone()),
            members: Table::new(MEMBERS_MAX),
            trip: Rc::new(Trip {
                came: Shared::from(0),
                to: Shared::from(0),
                is_out: Shared::from(0),
                is_unknown: Shared::from(0),
            }),
            counters: RefCell::new(std::vec![Counter::default(); REASONS_MAX]),
            pool_counters: RefCell::new(std::vec![PoolCounters::default(); POOLS_MAX]),
        }
    }

    /// What was counted for a reason.
    pub fn counted(&self, reason: Reason) -> Counter {
        self.counters.borrow()[reason as usize]
    }

    /// What is counted in a slot.
    pub fn in_use(&self, slot: u32) -> Rc<Use> {
        self.uses.borrow_mut().entry(slot).or_default().clone()
    }

    /// How often a client was told of a refusal in this way.
    pub fn told(&self, told: Told) -> u64 {
        self.told.borrow()[told as usize]
    }

    /// A port bitmap, made all free if it was never touched.
    pub fn bitmap(&self, bitmap: u32) -> Rc<PortWords> {
        let word = |_| PortWord {
            taken: Shared::from(0),
            held: Shared::from(0),
        };
        let free = || Rc::new(std::array::from_fn(word));
        self.ports
            .borrow_mut()
            .entry(bitmap)
            .or_insert_with(free)
            .clone()
    }

    /// Ports taken in a bitmap.
    pub fn taken(&self, bitmap: u32) -> u32 {
        let words = self.bitmap(bitmap);
        (0..WORDS)
            .map(|index| words[index].taken.get().count_ones())
            .sum()
    }
}

/// A kind of address, and its tables.
trait In: Address {
    fn kind(memory: &Memory) -> &Kind<Self>;
    fn slot(memory: &Memory, pool: u32, slot: usize) -> Option<Slot<Self>>;
}

impl In for Ip4 {
    fn kind(memory: &Memory) -> &Kind<Self> {
        &memory.v4
    }

    fn slot(memory: &Memory, pool: u32, slot: usize) -> Option<Slot<Self>> {
        memory.pools.get(&pool)?.slots.get(slot).copied()
    }
}

impl In for Ip6 {
    fn kind(memory: &Memory) -> &Kind<Self> {
        &memory.v6
    }

    fn slot(memory: &Memory, pool: u32, slot: usize) -> Option<Slot<Self>> {
        memory.pools6.get(&pool)?.0.get(slot).copied()
    }
}

impl Lend for Memory {
    type Ref<'a, T: 'a> = Rc<T>;
    type Mut<'a, T: 'a> = RefMut<'a, T>;
}

impl<A: In> Tables<A> for Memory {
    fn room(&self) -> Option<RefMut<'_, Room<A>>> {
        Some(A::kind(self).room.borrow_mut())
    }

    fn flow(&self, key: &FlowKey<A>) -> Option<Rc<Flow<Live, A>>> {
        A::kind(self).flows.get(key)
    }

    fn insert_flow(&self, key: &FlowKey<A>, flow: &Flow<Live, A>) -> Result<(), InsertError> {
        A::kind(self).flows.insert_new(*key, flow.duplicate())
    }

    fn remove_flow(&self, key: &FlowKey<A>) {
        A::kind(self).flows.remove(key);
    }

    fn mapping(&self, key: &MappingKey<A>) -> Option<Rc<Mapping<A>>> {
        A::kind(self).mappings.get(key)
    }

    fn insert_mapping(&self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<(), InsertError> {
        A::kind(self).mappings.insert_new(*key, *mapping)
    }

    fn remove_mapping(&self, key: &MappingKey<A>) {
        A::kind(self).mappings.remove(key);
    }

    fn fragments(&self, key: &FragmentKey<A>) -> Option<Rc<Fragments>> {
        A::kind(self).fragments.get(key)
    }

    fn put_fragments(&self, key: &FragmentKey<A>, ports: (Port, Port), units: u16) {
        let known = Fragments::new(ports, units, self.now.get());
        A::kind(self).fragments.put_instead(*key, known);
    }

    fn external(&self, address: &A) -> Option<Rc<External>> {
        A::kind(self).externals.get(address)
    }

    fn class(&self, key: &ClassKey<A>) -> Option<Rc<RuleSet>> {
        let classes = &A::kind(self).classes;
        longest(key.own_bits(), |bits| classes.get(&key.cut(bits)))
    }

    fn fixed(&self, key: &FixedKey<A>) -> Option<Rc<Fixed>> {
        let fixed = &A::kind(self).fixed;
        longest(key.own_bits(), |bits| fixed.get(&key.cut(bits)))
    }

    fn slot(&self, pool: u32, slot: usize) -> Option<Slot<A>> {
        A::slot(self, pool, slot)
    }

    fn route(&self, query: &RouteQuery<A>, hop: &mut NextHop) -> Route {
        let routes = A::kind(self).routes.borrow().clone();
        match routes(query) {
            Ok(found) => {
                *hop = found;
                Route::Known
            }
            Err(route) => route,
        }
    }

    fn opened(&self, asked: &FlowKey<A>, sent: &Tuple<A>, pool: u8) {
        let mut events = A::kind(self).events.borrow_mut();
        if events.len() < EVENTS_MAX {
            events.push(Opened::new(self.now.get().nanos(), *asked, *sent, pool));
        }
    }
}

impl World for Memory {
    fn place(&self) -> Option<Rc<Shared<u32>>> {
        Some(Rc::new(Shared::from(0)))
    }

    fn now(&self) -> Tick {
        self.now.get()
    }

    fn config(&self) -> Option<Rc<Config>> {
        Some(self.config.borrow().clone())
    }

    fn ports(&self, bitmap: u32) -> Option<Rc<PortWords>> {
        Some(self.bitmap(bitmap))
    }

    fn rule(&self, index: u32) -> Option<Rc<Rule>> {
        self.rules.get(&index)
    }

    fn pool(&self, index: u32) -> Option<Rc<Pool>> {
        self.pools.get(&index)
    }

    fn numbered(&self, rule: u16) -> Option<Rc<Numbered>> {
        self.numbered.get(&rule)
    }

    fn client(&self, holder: &Holder) -> Option<Rc<u32>> {
        self.clients.get(holder)
    }

    fn insert_client(&self, holder: &Holder, slot: u32) -> Result<(), InsertError> {
        self.clients.insert_new(*holder, slot)
    }

    fn usage(&self, slot: u32) -> Option<Rc<Use>> {
        Some(self.in_use(slot))
    }

    fn interface(&self, ifindex: u32) -> Option<Rc<Interface>> {
        self.interfaces.get(&ifindex)
    }

    fn buckets(&self) -> Option<Rc<Buckets>> {
        Some(self.buckets.clone())
    }

    fn member(&self, number: u8) -> Option<Rc<Member>> {
        self.members.get(&number)
    }

    fn trip(&self) -> Option<Rc<Trip>> {
        Some(self.trip.clone())
    }

    fn await_first(&self, key: &FragmentKey<Ip6>) {
        self.awaited.put_instead(*key, ());
    }

    fn stop_awaiting(&self, key: &FragmentKey<Ip6>) -> bool {
        let is_awaited = self.awaited.get(key).is_some();
        self.awaited.remove(key);
        is_awaited
    }

    fn held_by(&self, sender: u32) -> Option<Rc<Shared<u32>>> {
        let mut held_by = self.held_by.borrow_mut();
        let none = || Rc::new(Shared::from(0));
        Some(held_by.entry(sender).or_insert_with(none).clone())
    }

    fn hold<P: Packet>(&self, packet: &mut P, key: &FragmentKey<Ip6>, mtu: u16) -> bool {
        let mut bytes = std::vec![0; packet.len()];
        let (at, length) = (self.now.get().nanos(), bytes.len() as u16);
        let record = Held::early(at, *key, packet.ingress(), length).cut(mtu);
        packet.copy(&mut bytes) && self.held.borrow_mut().put(record, bytes)
    }

    fn first_passed(&self, key: &FragmentKey<Ip6>) {
        let record = Held::first(self.now.get().nanos(), *key);
        self.held.borrow_mut().put(record, Vec::new());
    }

    fn count(&self, reason: Reason, bytes: u64) {
        let counter = &mut self.counters.borrow_mut()[reason as usize];
        *counter = counter.plus(Counter { packets: 1, bytes });
    }

    fn count_pool(&self, pool: u8, side: Side, bytes: u64) {
        let counters = &mut self.pool_counters.borrow_mut()[pool as usize % POOLS_MAX];
        let counter = match side {
            Side::Outbound => &mut counters.outbound,
            Side::Inbound => &mut counters.inbound,
        };
        *counter = counter.plus(Counter { packets: 1, bytes });
    }

    fn count_told(&self, told: Told) {
        self.told.borrow_mut()[told as usize] += 1;
    }

    fn errors(&self, bucket: u32) -> Option<Rc<Shared<u64>>> {
        let empty = || Rc::new(Shared::from(0));
        Some(
            self.errors
                .borrow_mut()
                .entry(bucket)
                .or_insert_with(empty)
                .clone(),
        )
    }

    fn count_opened(&self, pool: u8, space: usize) {
        self.pool_counters.borrow_mut()[pool as usize % POOLS_MAX].opened[space] += 1;
    }
}

/// What a trie has for the longest prefix of so many bits at most that it has anything for.
fn longest<T>(bits: u32, get: impl Fn(u32) -> Option<T>) -> Option<T> {
    (0..=bits).rev().find_map(get)
}
