//! The tables of one gateway: what the daemon does to a kernel's is done here to plain memory.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    hash::Hash,
    rc::Rc,
};

use abi::{
    Address, Config, External, Flow, FlowKey, Ip4, Ip6, Lease, Mapping, MappingKey, Member,
    Picture, Tick, limits::POOLS_MAX, policy,
};
use datapath::{
    Exit,
    native::{Frame, Kind, Memory, Table},
    world::InsertError,
};
use gateway::{
    Action, Attachment, Bitmaps, Event, Found, Gateway, Sweep, Swept, bitmaps,
    copies::Shadow,
    mappings::{self, Entries, Keys},
    policy::{name, rule_name},
    sweep::Parts,
};

use crate::site;

/// Flows that a gateway has room for.
pub const FLOWS_MAX: usize = 4096;

/// One gateway's tables. They outlive its daemon.
pub struct Tables {
    /// What the packet path looks at.
    pub memory: Memory,
    leases: RefCell<BTreeMap<MappingKey<Ip6>, Lease>>,
    /// Packets that had been counted for each reason before the last one.
    counted: Vec<u64>,
}

impl Tables {
    /// Those of a gateway that has just been switched on.
    pub fn new(seed: u64) -> Self {
        let memory = Memory::new(FLOWS_MAX);
        let config = Config {
            seed,
            key: seed,
            generation: 1,
            ..Config::default()
        };
        *memory.config.borrow_mut() = Rc::new(config);
        *memory.v4.routes.borrow_mut() = Rc::new(site::route);
        let counted = vec![0; memory.counters.borrow().len()];
        Self {
            memory,
            counted,
            leases: RefCell::default(),
        }
    }

    /// Takes a frame through the packet path; says where it goes, and why.
    pub fn process(&mut self, bytes: Vec<u8>, ingress: u32, nanos: u64) -> (Exit, usize, Vec<u8>) {
        self.memory.now.set(Tick::from_nanos(nanos));
        let mut frame = Frame { bytes, ingress };
        let exit = datapath::process(&mut frame, &self.memory);
        let counters = self.memory.counters.borrow();
        let mut reason = 0;
        for (index, (counter, before)) in counters.iter().zip(&mut self.counted).enumerate() {
            if counter.packets != *before {
                (*before, reason) = (counter.packets, index);
            }
        }
        (exit, reason, frame.bytes)
    }

    /// What a daemon finds that starts over these tables.
    pub fn found(&self) -> Found {
        let memory = &self.memory;
        let config = **memory.config.borrow();
        let names = all(&memory.pools).into_iter().filter_map(|(index, pool)| {
            let mut numbers = 0..POOLS_MAX as u8;
            let number = numbers.find(|it| policy::pool_index(config.version, *it) == index)?;
            Some((number, name(&pool)?))
        });
        let rules = all(&memory.numbered).into_iter();
        let rules = rules.filter_map(|(number, entry)| Some((number, rule_name(&entry)?)));
        let externals = all(&memory.v4.externals).into_iter();
        let attached = all(&memory.interfaces).into_keys();
        Found {
            config,
            pools: names.collect(),
            rules: rules.collect(),
            externals: externals.map(|(key, it)| (key.wide(), it)).collect(),
            classes: keys(&memory.v4.classes),
            classes6: keys(&memory.v6.classes),
            fixed: keys(&memory.v4.fixed),
            fixed6: keys(&memory.v6.fixed),
            interfaces: all(&memory.interfaces),
            attached: attached.map(|it| (it, Attachment::Native)).collect(),
            mappings: asked_for(&memory.v4),
            mappings6: asked_for(&memory.v6),
            leases: self.leases.borrow().clone(),
        }
    }

    /// Does one thing that the gateway says; returns what came of it.
    pub fn apply(&self, action: Action) -> Option<Event> {
        let memory = &self.memory;
        match action {
            Action::PutExternal(address, entry) => self.put_external(address, entry),
            Action::RemoveExternal(address) => match address.ip4() {
                Some(ip4) => memory.v4.externals.remove(&ip4),
                None => memory.v6.externals.remove(&address),
            },
            Action::PutNumbered(number, entry) => {
                memory.numbered.put(number, *entry);
                if rule_name(&entry).is_none() {
                    memory.in_use(u32::from(number)).release();
                }
            }
            Action::PutRule(index, rule) => memory.rules.put(index, rule),
            Action::PutPool(index, pool) => memory.pools.put(index, *pool),
            Action::PutSlots6(index, slots) => memory.pools6.put(index, *slots),
            Action::PutClasses(entries) => put_all(&memory.v4.classes, entries),
            Action::PutClasses6(entries) => put_all(&memory.v6.classes, entries),
            Action::RemoveClasses(keys) => remove_all(&memory.v4.classes, &keys),
            Action::RemoveClasses6(keys) => remove_all(&memory.v6.classes, &keys),
            Action::PutFixed(entries) => put_all(&memory.v4.fixed, entries),
            Action::PutFixed6(entries) => put_all(&memory.v6.fixed, entries),
            Action::RemoveFixed(keys) => remove_all(&memory.v4.fixed, &keys),
            Action::RemoveFixed6(keys) => remove_all(&memory.v6.fixed, &keys),
            Action::TakePort(bitmaps, port) => {
                for bitmap in bitmaps {
                    bitmaps::take(port, &memory.bitmap(bitmap));
                }
            }
            Action::PutMapping(key, mapping) => {
                let Ok(stands) = mappings::put(&mut Mapped(&memory.v4, &memory.v6), &key, &mapping);
                return (!stands).then_some(Event::NotMapped(key));
            }
            Action::PutMapping6(key, mapping) => {
                let Ok(stands) = mappings::put(&mut Mapped(&memory.v4, &memory.v6), &key, &mapping);
                return (!stands).then_some(Event::NotMapped6(key));
            }
            Action::PutLease(key, lease) => drop(self.leases.borrow_mut().insert(key, lease)),
            Action::RemoveLease(key) => drop(self.leases.borrow_mut().remove(&key)),
            Action::PutMember(number, address) => {
                let address = address.map_or(Ip6::NONE, Ip6::from);
                memory.members.put(number as u8, Member::new(address));
            }
            Action::ForgetHolders { is_alone } => memory.buckets.forget(is_alone),
            Action::SetConfig(config) => *memory.config.borrow_mut() = Rc::new(config),
            Action::PutInterface(ifindex, entry) => memory.interfaces.put(ifindex, entry),
            Action::RemoveInterface(ifindex) => memory.interfaces.remove(&ifindex),
            Action::Attach { ifindex, .. } => {
                return Some(Event::Attached(ifindex, Attachment::Native));
            }
            Action::Detach(_) => {}
        }
        None
    }

    fn put_external(&self, address: Ip6, entry: External) {
        let memory = &self.memory;
        let before = match address.ip4() {
            Some(ip4) => memory.v4.externals.get(&ip4),
            None => memory.v6.externals.get(&address),
        };
        bitmaps::prepare(&entry, before.as_deref(), |it| memory.bitmap(it));
        match address.ip4() {
            Some(ip4) => memory.v4.externals.put(ip4, entry),
            None => memory.v6.externals.put(address, entry),
        }
    }

    /// Removes the flows that have ended, and frees the ports that nobody uses. Returns what was found, and
    /// what the gateway is told of it.
    pub fn sweep(
        &self,
        gateway: &Gateway,
        (memory_of_ports, divided): (&mut Bitmaps, Option<(&Parts, &mut Shadow)>),
        nanos: u64,
    ) -> Option<(Swept, Event)> {
        let patience = gateway.patience()?;
        let (memory, externals) = (&self.memory, &gateway.numbers().externals);
        let sweep: Sweep<'_> = Sweep::new((nanos, gateway.seed()), patience, externals);
        let mut sweep = match divided {
            Some((parts, shadow)) => sweep.dividing(parts, shadow),
            None => sweep,
        };
        for (key, flow) in self.flows() {
            sweep.flows(&[key], &[flow]);
        }
        sweep.flows_done();
        for (key, mapping) in all(&memory.v4.mappings) {
            sweep.mappings(&[key], &[mapping]);
        }
        let swept = sweep.finish();
        remove_all(&memory.v4.flows, &swept.ended);
        remove_all(&memory.v4.flows, &swept.moved);
        remove_all(&memory.v4.mappings, &swept.unmapped);
        let (holds, none) = (gateway.holds(), BTreeSet::new());
        let addresses = (externals, &holds);
        memory_of_ports.free(nanos, addresses, (&swept, &none), |it| memory.bitmap(it));
        let asked = Keys {
            v4: swept.asked.clone(),
            ..Keys::default()
        };
        Some((swept, Event::Swept(nanos, asked)))
    }

    /// The flow table, in order.
    pub fn flows(&self) -> Vec<(FlowKey, Flow<Picture>)> {
        let flows = self.memory.v4.flows.all().into_iter();
        let mut flows: Vec<_> = flows.map(|(key, flow)| (key, flow.picture())).collect();
        flows.sort_unstable_by_key(|(key, _)| *key);
        flows
    }
}

/// A table in order: what is done must not hang on how memory hashes.
fn all<K: Ord + Copy + Hash, V: Copy>(table: &Table<K, V>) -> BTreeMap<K, V> {
    let entries = table.all().into_iter();
    entries.map(|(key, value)| (key, *value)).collect()
}

fn keys<K: Ord + Copy + Hash, V>(table: &Table<K, V>) -> Vec<K> {
    let keys: BTreeSet<K> = table.all().into_iter().map(|(key, _)| key).collect();
    keys.into_iter().collect()
}

fn put_all<K: Copy + Eq + Hash, V>(table: &Table<K, V>, entries: Vec<(K, V)>) {
    for (key, value) in entries {
        table.put(key, value);
    }
}

fn remove_all<K: Copy + Eq + Hash, V>(table: &Table<K, V>, keys: &[K]) {
    for key in keys {
        table.remove(key);
    }
}

fn asked_for<A: Address>(kind: &Kind<A>) -> BTreeMap<MappingKey<A>, Mapping<A>> {
    let mut all = all(&kind.mappings);
    all.retain(|_, mapping| mapping.is_asked_for());
    all
}

/// The tables of mappings of both kinds.
struct Mapped<'a>(&'a Kind<Ip4>, &'a Kind<Ip6>);

impl Entries<Ip4> for Mapped<'_> {
    type Error = Infallible;

    fn get(&mut self, key: &MappingKey) -> Result<Option<Mapping>, Infallible> {
        Ok(self.0.mappings.get(key).map(|it| *it))
    }

    fn put(&mut self, key: &MappingKey, mapping: &Mapping) -> Result<bool, Infallible> {
        Ok(put(&self.0.mappings, key, mapping))
    }

    fn remove(&mut self, key: &MappingKey) -> Result<(), Infallible> {
        self.0.mappings.remove(key);
        Ok(())
    }
}

impl Entries<Ip6> for Mapped<'_> {
    type Error = Infallible;

    fn get(&mut self, key: &MappingKey<Ip6>) -> Result<Option<Mapping<Ip6>>, Infallible> {
        Ok(self.1.mappings.get(key).map(|it| *it))
    }

    fn put(&mut self, key: &MappingKey<Ip6>, mapping: &Mapping<Ip6>) -> Result<bool, Infallible> {
        Ok(put(&self.1.mappings, key, mapping))
    }

    fn remove(&mut self, key: &MappingKey<Ip6>) -> Result<(), Infallible> {
        self.1.mappings.remove(key);
        Ok(())
    }
}

/// Puts an entry; returns whether there is room for it.
fn put<K: Copy + Eq + Hash, V: Copy>(table: &Table<K, V>, key: &K, value: &V) -> bool {
    if table.insert_new(*key, *value) == Err(InsertError::Full) {
        return false;
    }
    table.put(*key, *value);
    true
}
