//! A world in which something else happens in the middle of a packet: another CPU's packet, a step
//! of the sweep, a write of the daemon's.
//!
//! Everything that a packet asks of its world is one place where that can be. Tried at each place in
//! turn, this is every interleaving of a packet with one other thing.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use abi::{
    Address, Buckets, ClassKey, Config, External, Fixed, FixedKey, Flow, FlowKey, FragmentKey,
    Fragments, Holder, Interface, Ip6, Live, Mapping, MappingKey, Member, NextHop, Numbered, Pool,
    Port, Reason, Rule, RuleSet, Shared, Side, Slot, Tick, Told, Trip, Tuple, Use,
};
use datapath::{
    Exit,
    frame::Packet,
    native::{Frame, Memory},
    world::{InsertError, Lend, PortWords, Room, Route, RouteQuery, Tables, World},
};

/// What is put in force in the middle of a packet.
type Event<'a> = Box<dyn FnOnce() + 'a>;

/// Plain memory, and what happens before it is asked the next time but so many.
struct Interrupted<'a> {
    memory: &'a Memory,
    left: Cell<usize>,
    event: RefCell<Option<Event<'a>>>,
}

/// Takes a frame through, with `event` before the packet path's question of number `place`; nothing
/// if it does not ask as many, and then `event` did not happen.
pub fn process_with<'a>(
    frame: &mut Frame,
    memory: &'a Memory,
    place: usize,
    event: impl FnOnce() + 'a,
) -> Option<Exit> {
    let event: Event<'a> = Box::new(event);
    let world = Interrupted {
        memory,
        left: Cell::new(place),
        event: RefCell::new(Some(event)),
    };
    let exit = datapath::process(frame, &world);
    world.event.borrow().is_none().then_some(exit)
}

impl<'a> Interrupted<'a> {
    fn asked(&self) -> &'a Memory {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => {
                let event = self.event.borrow_mut().take();
                if let Some(event) = event {
                    event();
                }
            }
        }
        self.memory
    }
}

impl Lend for Interrupted<'_> {
    type Ref<'a, T: 'a>
        = Rc<T>
    where
        Self: 'a;

    type Mut<'b, T: 'b>
        = Box<T>
    where
        Self: 'b;
}

impl<A: Address> Tables<A> for Interrupted<'_>
where
    Memory: Tables<A>,
{
    fn room(&self) -> Option<Box<Room<A>>> {
        Some(Box::new(Room::empty()))
    }
    fn flow(&self, key: &FlowKey<A>) -> Option<Rc<Flow<Live, A>>> {
        self.asked().flow(key)
    }
    fn insert_flow(&self, key: &FlowKey<A>, flow: &Flow<Live, A>) -> Result<(), InsertError> {
        self.asked().insert_flow(key, flow)
    }
    fn remove_flow(&self, key: &FlowKey<A>) {
        self.asked().remove_flow(key);
    }
    fn mapping(&self, key: &MappingKey<A>) -> Option<Rc<Mapping<A>>> {
        self.asked().mapping(key)
    }
    fn insert_mapping(&self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<(), InsertError> {
        self.asked().insert_mapping(key, mapping)
    }
    fn remove_mapping(&self, key: &MappingKey<A>) {
        self.asked().remove_mapping(key);
    }
    fn fragments(&self, key: &FragmentKey<A>) -> Option<Rc<Fragments>> {
        self.asked().fragments(key)
    }
    fn put_fragments(&self, key: &FragmentKey<A>, ports: (Port, Port), units: u16) {
        self.asked().put_fragments(key, ports, units);
    }
    fn external(&self, address: &A) -> Option<Rc<External>> {
        self.asked().external(address)
    }
    fn class(&self, key: &ClassKey<A>) -> Option<Rc<RuleSet>> {
        self.asked().class(key)
    }
    fn fixed(&self, key: &FixedKey<A>) -> Option<Rc<Fixed>> {
        self.asked().fixed(key)
    }
    fn slot(&self, pool: u32, slot: usize) -> Option<Slot<A>> {
        self.asked().slot(pool, slot)
    }
    fn route(&self, query: &RouteQuery<A>, hop: &mut NextHop) -> Route {
        self.asked().route(query, hop)
    }
    fn opened(&self, asked: &FlowKey<A>, sent: &Tuple<A>, pool: u8) {
        self.asked().opened(asked, sent, pool);
    }
}

impl World for Interrupted<'_> {
    fn place(&self) -> Option<Rc<Shared<u32>>> {
        self.memory.place()
    }
    fn now(&self) -> Tick {
        self.asked().now()
    }
    fn config(&self) -> Option<Rc<Config>> {
        self.asked().config()
    }
    fn ports(&self, bitmap: u32) -> Option<Rc<PortWords>> {
        self.asked().ports(bitmap)
    }
    fn rule(&self, index: u32) -> Option<Rc<Rule>> {
        self.asked().rule(index)
    }
    fn pool(&self, index: u32) -> Option<Rc<Pool>> {
        self.asked().pool(index)
    }
    fn numbered(&self, rule: u16) -> Option<Rc<Numbered>> {
        self.asked().numbered(rule)
    }
    fn client(&self, holder: &Holder) -> Option<Rc<u32>> {
        self.asked().client(holder)
    }
    fn insert_client(&self, holder: &Holder, slot: u32) -> Result<(), InsertError> {
        self.asked().insert_client(holder, slot)
    }
    fn usage(&self, slot: u32) -> Option<Rc<Use>> {
        self.asked().usage(slot)
    }
    fn interface(&self, ifindex: u32) -> Option<Rc<Interface>> {
        self.asked().interface(ifindex)
    }
    fn buckets(&self) -> Option<Rc<Buckets>> {
        self.asked().buckets()
    }
    fn member(&self, number: u8) -> Option<Rc<Member>> {
        self.asked().member(number)
    }
    fn trip(&self) -> Option<Rc<Trip>> {
        self.memory.trip()
    }
    fn await_first(&self, key: &FragmentKey<Ip6>) {
        self.asked().await_first(key);
    }
    fn stop_awaiting(&self, key: &FragmentKey<Ip6>) -> bool {
        self.asked().stop_awaiting(key)
    }
    fn held_by(&self, sender: u32) -> Option<Rc<Shared<u32>>> {
        self.asked().held_by(sender)
    }
    fn hold<P: Packet>(&self, packet: &mut P, key: &FragmentKey<Ip6>, mtu: u16) -> bool {
        self.asked().hold(packet, key, mtu)
    }
    fn first_passed(&self, key: &FragmentKey<Ip6>) {
        self.asked().first_passed(key);
    }
    fn count(&self, reason: Reason, bytes: u64) {
        self.asked().count(reason, bytes);
    }
    fn count_pool(&self, pool: u8, side: Side, bytes: u64) {
        self.asked().count_pool(pool, side, bytes);
    }
    fn count_told(&self, told: Told) {
        self.asked().count_told(told);
    }
    fn errors(&self, bucket: u32) -> Option<Rc<Shared<u64>>> {
        self.asked().errors(bucket)
    }
    fn count_opened(&self, pool: u8, space: usize) {
        self.asked().count_opened(pool, space);
    }
}
