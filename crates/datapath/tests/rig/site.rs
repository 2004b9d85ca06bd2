//! One gateway on plain memory and virtual time: what the daemon does with a kernel, done with
//! [`Memory`].

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    hash::Hash,
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use abi::{
    Address, Config, External, ExternalState, Holder, Ip4, Ip6, Lease, Mapping, MappingKey, Member,
    NextHop, Port, Prefix64, Quota, Tick, Tuple,
    limits::{ERRORS_PER_TICK, FLOWS_DEFAULT, POOLS_MAX, PREFIXES64_MAX},
    policy,
    quota::{TRIES, slot},
};
use datapath::{
    native::{Frame, Kind, Memory, Table},
    world::{InsertError, Route, RouteQuery},
};
use gateway::{
    Action, Attachment, Bitmaps, Event, Found, Gateway, Link, Patience, Sweep, Swept, bitmaps,
    intent::{
        self, FixedPrefix, HoldDown, Intent, Interface, Limits, Mode, Pool, PortRange, Realm, Rule,
        Service, Target, Timeouts, routing::Bfd,
    },
    mappings::{self, Ask, Denied, Entries, Granted, Kept, Keys, Withdraw},
    policy::{name as name_of, rule_name},
    quota::{Amount, Books, Correction, Judged, Opening},
};

use ipnet::IpNet;

use super::{Left, Sketch, dual::route6, sound, take};

/// The interface that faces the clients.
pub const INSIDE: u32 = 1;
/// The interface that faces the world.
pub const OUTSIDE: u32 = 2;
/// An interface that faces both.
pub const ARM: u32 = 3;

/// An interface that we do not listen on.
pub const UNLISTED: u32 = 4;

/// The MAC address of one of our interfaces.
pub const fn own_mac(ifindex: u32) -> [u8; 6] {
    [0x02, 0, 0, 0, 0, ifindex as u8]
}

/// The IPv6 address of one of our interfaces.
pub fn own_address6(ifindex: u32) -> Ip6 {
    Ip6([
        0xfd,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0xff,
        0,
        ifindex as u8,
    ])
}

/// The MAC address of the next hop on an interface.
pub const fn peer_mac(ifindex: u32) -> [u8; 6] {
    [0x02, 0, 0, 0, 0xff, ifindex as u8]
}

/// The largest packet that destinations behind a narrow link take.
pub const NARROW_MTU: u16 = 576;

/// A gateway and its tables.
pub struct Site {
    pub gateway: Gateway,
    pub memory: Memory,
    leases: RefCell<BTreeMap<MappingKey<Ip6>, Lease>>,
    bitmaps: Bitmaps,
    books: Books,
    /// What the last sweep came to about quotas.
    pub told: Judged,
    nanos: u64,
}

impl Site {
    /// A gateway with this intent in force, and room for so many flows.
    pub fn new(intent: Intent, flows: usize) -> Self {
        let config = Config {
            seed: 7,
            generation: 1,
            ..Config::default()
        };
        let found = Found {
            config,
            pools: BTreeMap::new(),
            rules: BTreeMap::new(),
            externals: BTreeMap::new(),
            classes: Vec::new(),
            classes6: Vec::new(),
            fixed: Vec::new(),
            fixed6: Vec::new(),
            interfaces: BTreeMap::new(),
            attached: BTreeMap::new(),
            mappings: BTreeMap::new(),
            mappings6: BTreeMap::new(),
            leases: BTreeMap::new(),
        };
        let memory = Memory::new(flows);
        *memory.config.borrow_mut() = Rc::new(config);
        *memory.v4.routes.borrow_mut() = Rc::new(route);
        *memory.v6.routes.borrow_mut() = Rc::new(route6);
        let mut site = Self {
            gateway: Gateway::new(found),
            memory,
            leases: RefCell::default(),
            bitmaps: Bitmaps::default(),
            books: Books::default(),
            told: Judged::default(),
            nanos: 0,
        };
        site.pass(Duration::from_secs(1000));
        site.handle(Event::Configure(Box::new(intent)));
        site.handle(Event::Links([INSIDE, OUTSIDE, ARM].map(link).to_vec()));
        site
    }

    /// The same tables under a gateway that knows only what it finds in them.
    pub fn restarted(self) -> Self {
        let Self {
            memory,
            nanos,
            leases,
            ..
        } = self;
        let config = **memory.config.borrow();
        let names = memory.pools.all().into_iter().filter_map(|(index, pool)| {
            let number = (0..POOLS_MAX as u8)
                .find(|number| policy::pool_index(config.version, *number) == index)?;
            Some((number, name_of(&pool)?))
        });
        let found = Found {
            config,
            pools: names.collect(),
            rules: memory
                .numbered
                .all()
                .into_iter()
                .filter_map(|(number, entry)| Some((number, rule_name(&entry)?)))
                .collect(),
            externals: externals(&memory),
            classes: memory
                .v4
                .classes
                .all()
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            classes6: memory
                .v6
                .classes
                .all()
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            fixed: all(&memory.v4.fixed).into_keys().collect(),
            fixed6: all(&memory.v6.fixed).into_keys().collect(),
            interfaces: all(&memory.interfaces),
            attached: [INSIDE, OUTSIDE, ARM]
                .map(|ifindex| (ifindex, Attachment::Native))
                .into(),
            mappings: asked_for(&memory.v4),
            mappings6: asked_for(&memory.v6),
            leases: leases.borrow().clone(),
        };
        Self {
            gateway: Gateway::new(found),
            memory,
            leases,
            bitmaps: Bitmaps::default(),
            books: Books::default(),
            told: Judged::default(),
            nanos,
        }
    }

    /// Tells the gateway what happened and does what it says.
    pub fn handle(&mut self, event: Event) {
        let actions = self.decide(event);
        self.act(actions);
    }

    /// Does what the gateway says, in order, and what it says to what came of that.
    pub fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Some(event) = self.outcome(&action) {
                self.handle(event);
            }
        }
    }

    /// Asks for a mapping.
    pub fn ask(&mut self, ask: &Ask) -> Result<Granted, Denied> {
        let (granted, actions) = self.decide_to_grant(ask)?;
        self.act(actions);
        Ok(granted)
    }

    /// Asks for a mapping; what the gateway says is still to be done, in order.
    pub fn decide_to_grant(&mut self, ask: &Ask) -> Result<(Granted, Vec<Action>), Denied> {
        let memory = &self.memory;
        let port_of = |key: &MappingKey<Ip6>| match key.narrow() {
            Some(key) => Some(memory.v4.mappings.get(&key)?.port),
            None => Some(memory.v6.mappings.get(key)?.port),
        };
        let words = |bitmap| memory.bitmap(bitmap);
        self.gateway.ask(ask, self.nanos, port_of, words)
    }

    /// The leases that the tables keep for the daemon that comes after.
    pub fn kept_leases(&self) -> BTreeMap<MappingKey<Ip6>, Lease> {
        self.leases.borrow().clone()
    }

    /// Withdraws a mapping.
    pub fn withdraw(&mut self, withdraw: &Withdraw) -> Result<Granted, Denied> {
        let (granted, actions) = self.gateway.withdraw(withdraw)?;
        self.act(actions);
        Ok(granted)
    }

    /// Tells the gateway what happened; what it says is still to be done, in order.
    pub fn decide(&mut self, event: Event) -> Vec<Action> {
        self.gateway
            .handle(event)
            .expect("there is room for everything a test wants")
    }

    /// Does one thing that the gateway says.
    pub fn apply(&self, action: &Action) {
        self.outcome(action);
    }

    /// Does one thing that the gateway says; returns what came of it.
    fn outcome(&self, action: &Action) -> Option<Event> {
        let memory = &self.memory;
        match action {
            Action::PutExternal(address, entry) => {
                let before = external(memory, address);
                bitmaps::prepare(entry, before.as_deref(), |it| memory.bitmap(it));
                match address.ip4() {
                    Some(ip4) => memory.v4.externals.put(ip4, *entry),
                    None => memory.v6.externals.put(*address, *entry),
                }
            }
            Action::RemoveExternal(address) => match address.ip4() {
                Some(ip4) => memory.v4.externals.remove(&ip4),
                None => memory.v6.externals.remove(address),
            },
            Action::PutNumbered(number, entry) => {
                memory.numbered.put(*number, **entry);
                if rule_name(entry).is_none() {
                    memory.in_use(u32::from(*number)).release();
                }
            }
            Action::PutRule(index, rule) => memory.rules.put(*index, *rule),
            Action::PutPool(index, pool) => memory.pools.put(*index, **pool),
            Action::PutSlots6(index, slots) => memory.pools6.put(*index, **slots),
            Action::PutClasses6(classes) => {
                classes
                    .iter()
                    .for_each(|(key, set)| memory.v6.classes.put(*key, *set));
            }
            Action::RemoveClasses6(keys) => {
                keys.iter().for_each(|key| memory.v6.classes.remove(key));
            }
            Action::PutClasses(classes) => {
                classes
                    .iter()
                    .for_each(|(key, set)| memory.v4.classes.put(*key, *set));
            }
            Action::RemoveClasses(keys) => {
                keys.iter().for_each(|key| memory.v4.classes.remove(key));
            }
            Action::PutFixed(entries) => {
                let put = |(key, value): &(_, _)| memory.v4.fixed.put(*key, *value);
                entries.iter().for_each(put);
            }
            Action::PutFixed6(entries) => {
                let put = |(key, value): &(_, _)| memory.v6.fixed.put(*key, *value);
                entries.iter().for_each(put);
            }
            Action::RemoveFixed(keys) => keys.iter().for_each(|key| memory.v4.fixed.remove(key)),
            Action::RemoveFixed6(keys) => keys.iter().for_each(|key| memory.v6.fixed.remove(key)),
            Action::PutMember(number, address) => {
                let address = address.map_or(Ip6::NONE, Ip6::from);
                memory.members.put(*number as u8, Member::new(address));
            }
            Action::ForgetHolders { is_alone } => memory.buckets.forget(*is_alone),
            Action::SetConfig(config) => *memory.config.borrow_mut() = Rc::new(*config),
            Action::TakePort(bitmaps, port) => {
                for bitmap in bitmaps {
                    bitmaps::take(*port, &memory.bitmap(*bitmap));
                }
            }
            Action::PutMapping(key, mapping) => {
                let Ok(stands) = mappings::put(&mut Mapped(memory), key, mapping);
                return (!stands).then_some(Event::NotMapped(*key));
            }
            Action::PutMapping6(key, mapping) => {
                let Ok(stands) = mappings::put(&mut Mapped(memory), key, mapping);
                return (!stands).then_some(Event::NotMapped6(*key));
            }
            Action::PutLease(key, lease) => {
                self.leases.borrow_mut().insert(*key, *lease);
            }
            Action::RemoveLease(key) => {
                self.leases.borrow_mut().remove(key);
            }
            Action::PutInterface(ifindex, entry) => memory.interfaces.put(*ifindex, *entry),
            Action::RemoveInterface(ifindex) => memory.interfaces.remove(ifindex),
            // Frames are handed to the packet path directly.
            Action::Attach { .. } | Action::Detach(_) => {}
        }
        None
    }

    /// Takes a sketch through by an interface, and every law with it.
    pub fn send(&self, ingress: u32, sketch: &Sketch) -> Left {
        let sketch = Sketch {
            ingress,
            to: own_mac(ingress),
            from: peer_mac(ingress),
            ..sketch.clone()
        };
        take(&self.memory, sketch.frame())
    }

    /// Takes bytes through, and every law with them.
    pub fn send_bytes(&self, ingress: u32, bytes: Vec<u8>) -> Left {
        take(&self.memory, Frame { bytes, ingress })
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.nanos += time.as_nanos() as u64;
        self.memory.now.set(Tick::from_nanos(self.nanos));
    }

    /// Sweeps once; afterwards the tables are sound.
    pub fn sweep(&mut self) -> Swept {
        let swept = self.sweep_during(|_| {});
        sound(&self.memory);
        swept
    }

    /// Sweeps once, and lets packets through wherever the packet path may come between.
    pub fn sweep_during(&mut self, mut between: impl FnMut(&Memory)) -> Swept {
        let memory = &self.memory;
        let externals = self.gateway.numbers().externals.clone();
        let patience = self.gateway.patience().unwrap_or(TIMEOUTS.into());

        let quotas = self.gateway.quotas();
        let read = |slot| memory.in_use(slot).picture();
        let clients = memory.clients.all();
        let clients = clients.into_iter().map(|(holder, slot)| (holder, *slot));
        let opening = Opening::new(&quotas, clients.collect(), read);
        between(memory);
        let order = Order {
            now: self.nanos,
            seed: self.gateway.seed(),
            patience,
            prefixes: memory.config.borrow().prefixes,
            counted: quotas.keys().copied().collect(),
            externals: &externals,
        };
        let mut wide = flows_of(&memory.v6, &order);
        between(memory);
        wide.flows_done();
        let mut narrow = flows_of(&memory.v4, &order);
        between(memory);
        narrow.flows_done();
        narrow.beside(&wide);
        mappings_of(&memory.v6, &mut wide);
        between(memory);
        mappings_of(&memory.v4, &mut narrow);
        let (mut swept, swept6) = (narrow.finish(), wide.finish());
        let asked = Keys {
            v4: swept.asked.clone(),
            v6: swept6.asked.clone(),
        };
        swept.count(&swept6);
        between(memory);
        let taken = memory.uses.borrow().clone();
        let taken = taken.into_iter().filter(|(_, it)| it.taken.get() != 0);
        let taken = taken.map(|(slot, _)| slot);
        let now = memory.now.get();
        let judged = (self.books).judge(&opening, &swept.held, (now, read), taken);
        between(memory);
        clear(memory, &memory.v4, &swept, || between(memory));
        clear(memory, &memory.v6, &swept6, || between(memory));
        correct(memory, &judged);
        self.told = judged;
        let is_unused = |external: &External| {
            external.state() == Some(ExternalState::Draining)
                && !external.bitmaps().any(|(_, it)| swept.used.is_used(it))
        };
        let unused = externals.iter().filter(|(_, external)| is_unused(external));
        let unused: BTreeSet<Ip6> = unused.map(|(address, _)| *address).collect();
        let between = RefCell::new(between);
        let words = |bitmap| {
            (between.borrow_mut())(memory);
            memory.bitmap(bitmap)
        };
        let holds = self.gateway.holds();
        let (addresses, found) = ((&externals, &holds), (&swept, &unused));
        self.bitmaps.free(self.nanos, addresses, found, words);
        self.handle(Event::Idle(unused));
        let gone = self.gateway.unwanted_rules().into_iter();
        let gone = gone.filter(|number| !swept.rules.contains(number));
        self.handle(Event::RulesIdle(gone.collect()));
        self.handle(Event::Swept(self.nanos, asked));
        swept
    }
}

/// What a sweep is told.
struct Order<'a> {
    now: u64,
    seed: u64,
    patience: Patience,
    prefixes: [Prefix64; PREFIXES64_MAX],
    counted: BTreeSet<u16>,
    externals: &'a BTreeMap<Ip6, External>,
}

/// A sweep of the tables of one kind of address, which has taken in their flows.
fn flows_of<'a, A: Address>(kind: &Kind<A>, order: &Order<'a>) -> Sweep<'a, A> {
    let when = (order.now, order.seed);
    let sweep = Sweep::new(when, order.patience.clone(), order.externals);
    let mut sweep = sweep
        .knowing(order.prefixes)
        .counting(order.counted.iter().copied());
    for (key, flow) in kind.flows.all() {
        sweep.flows(&[key], &[flow.picture()]);
    }
    sweep
}

/// Takes in the mappings of one kind of address.
fn mappings_of<A: Address>(kind: &Kind<A>, sweep: &mut Sweep<'_, A>) {
    for (key, mapping) in kind.mappings.all() {
        sweep.mappings(&[key], &[Mapping::clone(&mapping)]);
    }
}

/// Removes what a sweep found, `between` packets, and gives back what it had of its quotas.
fn clear<A: Address>(memory: &Memory, kind: &Kind<A>, swept: &Swept<A>, mut between: impl FnMut()) {
    for key in &swept.ended {
        kind.flows.remove(key);
        if let Some(holder) = swept.owners.get(key) {
            give_back(memory, holder, -1, 0);
        }
        between();
    }
    for key in &swept.unmapped {
        kind.mappings.remove(key);
        between();
    }
    for (holder, ports) in &swept.ports {
        give_back(memory, holder, 0, -i64::from(*ports));
    }
}

/// What is known of an external address.
fn external(memory: &Memory, address: &Ip6) -> Option<Rc<External>> {
    match address.ip4() {
        Some(ip4) => memory.v4.externals.get(&ip4),
        None => memory.v6.externals.get(address),
    }
}

fn externals(memory: &Memory) -> BTreeMap<Ip6, External> {
    let v4 = all(&memory.v4.externals).into_iter();
    let v4 = v4.map(|(address, external)| (address.wide(), external));
    v4.chain(all(&memory.v6.externals)).collect()
}

/// The entries of mappings that somebody asked for.
pub fn asked_for<A: Address>(kind: &Kind<A>) -> BTreeMap<MappingKey<A>, Mapping<A>> {
    let mut all = all(&kind.mappings);
    all.retain(|_, mapping| mapping.is_asked_for());
    all
}

/// The tables of mappings.
struct Mapped<'a>(&'a Memory);

/// A kind of address, and its tables.
pub trait In: Kept {
    fn tables(memory: &Memory) -> &Kind<Self>;
}

impl In for Ip4 {
    fn tables(memory: &Memory) -> &Kind<Self> {
        &memory.v4
    }
}

impl In for Ip6 {
    fn tables(memory: &Memory) -> &Kind<Self> {
        &memory.v6
    }
}

impl<A: In> Entries<A> for Mapped<'_> {
    type Error = Infallible;

    fn get(&mut self, key: &MappingKey<A>) -> Result<Option<Mapping<A>>, Infallible> {
        let found = A::tables(self.0).mappings.get(key);
        Ok(found.map(|mapping| *mapping))
    }

    fn put(&mut self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<bool, Infallible> {
        let table = &A::tables(self.0).mappings;
        if table.insert_new(*key, *mapping) == Err(InsertError::Full) {
            return Ok(false);
        }
        table.put(*key, *mapping);
        Ok(true)
    }

    fn remove(&mut self, key: &MappingKey<A>) -> Result<(), Infallible> {
        A::tables(self.0).mappings.remove(key);
        Ok(())
    }
}

/// Subtracts from the slots of a client and of its rule what ended.
fn give_back(memory: &Memory, holder: &Holder, flows: i64, ports: i64) {
    memory
        .in_use(u32::from(holder.rule()))
        .correct(flows, ports);
    if let Some(slot) = memory.clients.get(holder) {
        memory.in_use(*slot).correct(flows, ports);
    }
}

/// Does what a look at the slots came to.
fn correct(memory: &Memory, judged: &Judged) {
    for correction in &judged.corrections {
        match correction {
            Correction::Adjust(slot, Amount { flows, ports }) => {
                memory.in_use(*slot).correct(*flows, *ports);
            }
            Correction::Enter(holder, Amount { flows, ports }) => {
                let slots = (0..TRIES).map(|step| slot(0, step));
                let free = slots.into_iter().find(|slot| memory.in_use(*slot).claim());
                let free = free.expect("few clients");
                memory.in_use(free).correct(*flows, *ports);
                if memory.clients.insert_new(*holder, free).is_err() {
                    memory.in_use(free).release();
                }
            }
            Correction::Forget(holder) => forget(memory, holder),
            Correction::Free(slot) => memory.in_use(*slot).release(),
        }
    }
}

/// Forgets a client's slot, unless something came to be counted there since it was looked at.
fn forget(memory: &Memory, holder: &Holder) {
    let slot = memory.clients.get(holder).expect("it was there");
    memory.clients.remove(holder);
    if memory.in_use(*slot).held.get() != 0 {
        let again = memory.clients.insert_new(*holder, *slot);
        again.expect("nobody comes in between");
    }
}

fn all<K: Ord + Copy + Hash, V: Copy>(table: &Table<K, V>) -> BTreeMap<K, V> {
    table
        .all()
        .into_iter()
        .map(|(key, value)| (key, *value))
        .collect()
}

fn link(ifindex: u32) -> Link {
    Link {
        ifindex,
        name: name(ifindex),
        mac: Some(own_mac(ifindex)),
        addresses: vec![[10, 255, 255, ifindex as u8].into()],
        addresses6: vec![own_address6(ifindex).0.into()],
    }
}

fn name(ifindex: u32) -> String {
    format!("eth{ifindex}")
}

/// Where packets go: clients are inside; behind some prefixes there are troubles of every kind.
pub fn route(query: &RouteQuery) -> Result<NextHop, Route> {
    let hop = |ifindex, mtu| {
        Ok(NextHop::new(
            ifindex,
            mtu,
            peer_mac(ifindex),
            own_mac(ifindex),
        ))
    };
    match query.tuple.target.0 {
        [10, 255, 255, 1..=3] => Err(Route::Local),
        [10, ..] | [172, 16..32, ..] => hop(INSIDE, 1500),
        [203, 0, 113, _] => hop(OUTSIDE, NARROW_MTU),
        [198, 18, 0, _] => Err(Route::Unresolved),
        [198, 18, 1, _] => Err(Route::Nowhere),
        [198, 18, 2, _] => hop(ARM, 1500),
        [198, 18, 3, _] => hop(UNLISTED, 1500),
        [192, 0, 2, 1] => Err(Route::Local),
        _ => hop(OUTSIDE, 1500),
    }
}

/// Timeouts short enough that tests see them all.
pub const TIMEOUTS: Timeouts = Timeouts {
    tcp_established: Duration::from_secs(600),
    tcp_opening: Duration::from_secs(50),
    tcp_closing: Duration::from_secs(60),
    udp: Duration::from_secs(120),
    icmp: Duration::from_secs(20),
    sctp: Duration::from_secs(30),
    gre: Duration::from_secs(40),
    esp: Duration::from_secs(45),
};

/// An intent over these pools and rules.
pub fn intent(pools: Vec<Pool>, rules: Vec<Rule>) -> Intent {
    let interface = |ifindex, realm| Interface {
        name: name(ifindex),
        realm,
        mode: Mode::Native,
    };
    Intent {
        interfaces: vec![
            interface(INSIDE, Realm::Internal),
            interface(OUTSIDE, Realm::External),
            interface(ARM, Realm::Both),
        ],
        pools,
        rules,
        fixed: Vec::new(),
        prefixes: Vec::new(),
        lowest_mtu6: 1280,
        cluster: None,
        bgp: None,
        bfd: Bfd::default(),
        timeouts: TIMEOUTS,
        services: Vec::new(),
        limits: Limits {
            flows: FLOWS_DEFAULT,
            flows6: FLOWS_DEFAULT,
            icmp_errors: ERRORS_PER_TICK,
        },
        api_socket: "/run/egret/api.sock".into(),
        metrics: None,
        log: None,
        state: "/sys/fs/bpf/egret".into(),
    }
}

/// A pool of addresses `192.0.2.N`.
pub fn pool(name: &str, addresses: impl IntoIterator<Item = u8>, ports: (u16, u16)) -> Pool {
    Pool {
        name: name.to_owned(),
        addresses: addresses
            .into_iter()
            .map(|last| IpAddr::from([192, 0, 2, last]))
            .collect(),
        ports: PortRange {
            first: ports.0,
            last: ports.1,
        },
        blocks: None,
        behaviour: Pool::BEHAVIOUR_DEFAULT,
        hold: HoldDown::DEFAULT,
        timeouts: None,
        services: Vec::new(),
        forwards: Vec::new(),
    }
}

/// A rule for all services from a prefix to a prefix; its name is not looked at.
pub fn rule(source: &str, destination: &str, action: intent::Action) -> Rule {
    let net = |text: &str| text.parse().expect("a prefix");
    Rule {
        name: "rule".to_owned(),
        sources: vec![net(source)],
        destinations: vec![net(destination)],
        services: vec![Service::Any],
        action,
        target: None,
        quota: Quota::NONE,
    }
}

/// An endpoint for clients of a prefix, by which `service` of an address leads to a target, and the first of
/// its ports to this one of the target's; it is like what a configuration makes of it.
pub fn endpoint(
    source: &str,
    (dialled, service): (&str, Service),
    (target, port): (&str, u16),
    pool: &str,
) -> Rule {
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let first = match service {
        Service::Ports(_, first, _) => first,
        Service::Any | Service::Protocol(_) => port,
    };
    Rule {
        name: format!("endpoint-{pool}"),
        destinations: vec![IpNet::from(address(dialled))],
        services: vec![service],
        target: Some(Target {
            address: address(target),
            shift: port.wrapping_sub(first),
        }),
        ..rule(source, "0.0.0.0/0", from_pool(pool))
    }
}

/// A prefix that is translated one to one.
pub fn fixed(internal: &str, external: &str) -> FixedPrefix {
    let net = |text: &str| text.parse().expect("a prefix");
    FixedPrefix {
        name: "fixed".to_owned(),
        internal: net(internal),
        external: net(external),
        except: Vec::new(),
    }
}

/// Leave from this pool.
pub fn from_pool(pool: &str) -> intent::Action {
    intent::Action::Translate {
        pool: pool.to_owned(),
    }
}

/// What most tests want: two pools of several addresses, three rules.
pub fn usual() -> Intent {
    intent(
        vec![
            pool("web", 1..=3, (1024, 65535)),
            pool("bank", 9..=10, (20_000, 29_999)),
        ],
        vec![
            rule("10.0.0.0/8", "10.0.0.0/8", intent::Action::Pass),
            rule("10.7.0.0/16", "0.0.0.0/0", from_pool("bank")),
            rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web")),
        ],
    )
}

/// A tuple from a client port to a service.
pub fn tuple(source: ([u8; 4], u16), target: ([u8; 4], u16)) -> Tuple {
    Tuple {
        source: Ip4(source.0),
        target: Ip4(target.0),
        source_port: Port::new(source.1),
        target_port: Port::new(target.1),
    }
}
