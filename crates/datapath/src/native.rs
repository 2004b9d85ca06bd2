//! The packet path's world in plain memory: for property tests, fuzzing, twins and simulators.
//!
//! Tables have the kernel's behaviour where it shows: bounded, insert-if-absent, longest prefix
//! match. Time and routes are whatever the caller says.

extern crate std;

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::HashMap,
    rc::Rc,
    vec::Vec,
};

use abi::{
    ClassKey, Config, Counter, External, Flow, FlowKey, FragmentKey, Fragments, Holder, Interface,
    Ip4, Mapping, MappingKey, NextHop, Numbered, Opened, Pool, PoolCounters, Reason, Rule, RuleSet,
    Shared, Side, Tick, Told, Tuple, Use,
    limits::{CLIENTS_MAX, FRAGMENTS_MAX, POOLS_MAX, REASONS_MAX},
    ports::WORDS,
};

use crate::{
    frame::{self, Packet, Wire},
    world::{Beginning, InsertError, PortWords, Route, RouteQuery, World},
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

    fn resize(&mut self, len: usize) -> bool {
        self.bytes.resize(len, 0);
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

/// Events that [`Memory`] keeps; more are lost, as in a ring that nobody reads.
pub const EVENTS_MAX: usize = 4096;

/// What the routing tables answer.
pub type Routes = dyn Fn(&RouteQuery) -> Result<NextHop, Route>;

/// Everything a packet may consult, in plain memory.
pub struct Memory {
    /// See [`World::now`].
    pub now: Cell<Tick>,
    /// See [`World::config`].
    pub config: RefCell<Rc<Config>>,
    /// See [`World::flow`].
    pub flows: Table<FlowKey, Flow>,
    /// See [`World::mapping`].
    pub mappings: Table<MappingKey, Mapping>,
    /// See [`World::fragments`].
    pub fragments: Table<FragmentKey, Fragments>,
    /// See [`World::ports`]; a bitmap that was never put is all free.
    pub ports: RefCell<HashMap<u32, Rc<PortWords>>>,
    /// See [`World::external`].
    pub externals: Table<Ip4, External>,
    /// See [`World::class`].
    pub classes: Table<ClassKey, RuleSet>,
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
    /// See [`World::interface`].
    pub interfaces: Table<u32, Interface>,
    /// What [`World::route`] answers; never [`Route::Known`] as an error.
    pub routes: RefCell<Rc<Routes>>,
    /// See [`World::beginning`].
    pub beginning: RefCell<Beginning>,
    /// See [`World::count`].
    pub counters: RefCell<Vec<Counter>>,
    /// See [`World::count_pool`].
    pub pool_counters: RefCell<Vec<PoolCounters>>,
    /// See [`World::opened`]: the first [`EVENTS_MAX`] of them.
    pub events: RefCell<Vec<Opened>>,
}

impl Memory {
    /// Empty tables with room for `flows` flows, no policy, and no route to anywhere.
    pub fn new(flows: usize) -> Self {
        Self {
            now: Cell::new(Tick(1)),
            config: RefCell::new(Rc::new(Config {
                seed: 0,
                generation: 1,
                version: 0,
                errors: 0,
                errors_each: 0,
            })),
            flows: Table::new(2 * flows),
            mappings: Table::new(2 * flows),
            fragments: Table::new(FRAGMENTS_MAX),
            ports: RefCell::default(),
            externals: Table::new(usize::MAX),
            classes: Table::new(usize::MAX),
            rules: Table::new(usize::MAX),
            pools: Table::new(usize::MAX),
            numbered: Table::new(usize::MAX),
            clients: Table::new(CLIENTS_MAX.min(flows)),
            uses: RefCell::default(),
            errors: RefCell::default(),
            told: RefCell::default(),
            interfaces: Table::new(usize::MAX),
            routes: RefCell::new(Rc::new(|_| Err(Route::Nowhere))),
            beginning: RefCell::new(Beginning::EMPTY),
            counters: RefCell::new(std::vec![Counter::default(); REASONS_MAX]),
            pool_counters: RefCell::new(std::vec![PoolCounters::default(); POOLS_MAX]),
            events: RefCell::default(),
        }
    }

    /// What was counted for a reason.
    pub fn counted(&self, reason: Reason) -> Counter {
        self.counters.borrow()[reason as usize]
    }

    /// What is counted in a slot.
    pub fn slot(&self, slot: u32) -> Rc<Use> {
        self.uses.borrow_mut().entry(slot).or_default().clone()
    }

    /// How often a client was told of a refusal in this way.
    pub fn told(&self, told: Told) -> u64 {
        self.told.borrow()[told as usize]
    }

    /// A port bitmap, made all free if it was never touched.
    pub fn bitmap(&self, bitmap: u32) -> Rc<PortWords> {
        let free = || Rc::new(std::array::from_fn(|_| Shared::from(0)));
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
            .map(|index| words[index].get().count_ones())
            .sum()
    }
}

impl World for Memory {
    type Ref<'a, T: 'a> = Rc<T>;
    type Mut<'a, T: 'a> = RefMut<'a, T>;

    fn beginning(&self) -> Option<RefMut<'_, Beginning>> {
        Some(self.beginning.borrow_mut())
    }

    fn place(&self) -> Option<Rc<Shared<u32>>> {
        Some(Rc::new(Shared::from(0)))
    }

    fn now(&self) -> Tick {
        self.now.get()
    }

    fn config(&self) -> Option<Rc<Config>> {
        Some(self.config.borrow().clone())
    }

    fn flow(&self, key: &FlowKey) -> Option<Rc<Flow>> {
        self.flows.get(key)
    }

    fn insert_flow(&self, key: &FlowKey, flow: &Flow) -> Result<(), InsertError> {
        self.flows.insert_new(*key, flow.duplicate())
    }

    fn remove_flow(&self, key: &FlowKey) {
        self.flows.remove(key);
    }

    fn mapping(&self, key: &MappingKey) -> Option<Rc<Mapping>> {
        self.mappings.get(key)
    }

    fn insert_mapping(&self, key: &MappingKey, mapping: &Mapping) -> Result<(), InsertError> {
        self.mappings.insert_new(*key, *mapping)
    }

    fn remove_mapping(&self, key: &MappingKey) {
        self.mappings.remove(key);
    }

    fn fragments(&self, key: &FragmentKey) -> Option<Rc<Fragments>> {
        self.fragments.get(key)
    }

    fn put_fragments(&self, key: &FragmentKey, fragments: &Fragments) {
        self.fragments.put_instead(*key, fragments.duplicate());
    }

    fn ports(&self, bitmap: u32) -> Option<Rc<PortWords>> {
        Some(self.bitmap(bitmap))
    }

    fn external(&self, address: &Ip4) -> Option<Rc<External>> {
        self.externals.get(address)
    }

    fn class(&self, key: &ClassKey) -> Option<Rc<RuleSet>> {
        (0..=key.own_bits())
            .rev()
            .find_map(|bits| self.classes.get(&key.cut(bits)))
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
        Some(self.slot(slot))
    }

    fn interface(&self, ifindex: u32) -> Option<Rc<Interface>> {
        self.interfaces.get(&ifindex)
    }

    fn route(&self, query: &RouteQuery, hop: &mut NextHop) -> Route {
        let routes = self.routes.borrow().clone();
        match routes(query) {
            Ok(found) => {
                *hop = found;
                Route::Known
            }
            Err(route) => route,
        }
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

    fn opened(&self, asked: &FlowKey, sent: &Tuple, pool: u8) {
        let mut events = self.events.borrow_mut();
        if events.len() < EVENTS_MAX {
            events.push(Opened::new(self.now.get().nanos(), *asked, *sent, pool));
        }
    }
}
