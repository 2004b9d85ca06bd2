//! One walk over a flow table: which flows have ended, which ports nobody uses, what there is.
//!
//! There is one for each kind of address, and what they count is added up ([`Swept::count`]): the ports
//! of an external IPv4 address are in use by flows of both.
//!
//! The two directions of a flow are entries of their own; only here they are joined. A flow has ended
//! when it was silent for longer than its state allows, counted from the last packet in either
//! direction. Everything is derived from the tables, nothing is kept from one sweep to the next but
//! the ports that nobody used last time: so a daemon that was killed at any point leaves nothing that
//! its successor does not find.
//!
//! The packet path goes on meanwhile. What it makes during a walk is too young to be judged
//! ([`YOUNG`]); a port it has just claimed is freed only if nobody uses it at two sweeps in a row.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use abi::{
    Address, End, External, Flow, FlowKey, Holder, Ip4, Ip6, Mapping, MappingKey, PROTOCOLS,
    Picture, Port, PortWord, Prefix64, Protocol, Seen, Side, Tick,
    cluster::BUCKETS,
    ports::{WORDS, bitmap, bitmap_towards, place},
};

use crate::{
    copies::{self, Shadow},
    intent::Timeouts,
    patience::Patience,
    quota::Amount,
};

/// A copy that was written or used within so many nanoseconds is not removed as nobody's: five seconds.
const NEW_COPY: u64 = 5_000_000_000;
/// Ticks after which an entry without its other half is not just being made.
pub const YOUNG: u32 = 2;

/// Ticks for which a remote is let in after a client sent to it, even if no flow came of that.
const PERMIT: u32 = 30;

/// How far a flow has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FlowState {
    /// TCP: not both sides have agreed yet.
    Opening,
    /// TCP: open; also half-closed.
    Established,
    /// TCP: closed by both sides, or reset.
    Closing,
    /// No connection, or none that is followed: all but TCP.
    Active,
}

impl FlowState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Opening,
        Self::Established,
        Self::Closing,
        Self::Active,
    ];

    /// The word in metrics and tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Active => "active",
        }
    }

    /// The state of a flow whose directions have shown these flags (RFC 5382 §5, RFC 7857 §2).
    pub const fn of(protocol: Protocol, outbound: Seen, inbound: Seen) -> Self {
        match protocol {
            Protocol::Udp | Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => {
                Self::Active
            }
            Protocol::Tcp if outbound.has(Seen::RST) || inbound.has(Seen::RST) => Self::Closing,
            Protocol::Tcp if outbound.has(Seen::FIN) && inbound.has(Seen::FIN) => Self::Closing,
            // Whoever began, or both (RFC 9293 §3.5): each side's SYN, and an ACK behind one of them.
            Protocol::Tcp
                if inbound.has(Seen::SYN)
                    && outbound.has(Seen::SYN)
                    && (inbound.has(Seen::ACK) || outbound.has(Seen::ACK)) =>
            {
                Self::Established
            }
            Protocol::Tcp => Self::Opening,
        }
    }

    /// How long a flow in this state may be silent, in nanoseconds.
    pub const fn timeout(self, protocol: Protocol, timeouts: &Timeouts) -> u64 {
        let timeout = match (self, protocol) {
            (Self::Established, _) => timeouts.tcp_established,
            (Self::Opening, _) => timeouts.tcp_opening,
            (Self::Closing, _) => timeouts.tcp_closing,
            (Self::Active, Protocol::Icmp) => timeouts.icmp,
            (Self::Active, Protocol::Sctp) => timeouts.sctp,
            (Self::Active, Protocol::Gre) => timeouts.gre,
            (Self::Active, Protocol::Esp) => timeouts.esp,
            (Self::Active, Protocol::Tcp | Protocol::Udp) => timeouts.udp,
        };
        timeout.as_secs() * 1_000_000_000
    }
}

/// Both directions of a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Joined<A: Address = Ip4> {
    /// Its protocol.
    pub protocol: Protocol,
    /// The key and entry towards the external realm.
    pub outbound: (FlowKey<A>, Flow<Picture, A>),
    /// The key and entry towards the internal realm.
    pub inbound: (FlowKey<A>, Flow<Picture, A>),
}

impl<A: Address> Joined<A> {
    /// Joins an entry with its other half.
    pub fn new(protocol: Protocol, one: Half<A>, other: Half<A>) -> Self {
        match one.1.side() {
            Side::Outbound => Self {
                protocol,
                outbound: one,
                inbound: other,
            },
            Side::Inbound => Self {
                protocol,
                outbound: other,
                inbound: one,
            },
        }
    }

    /// How far it has come.
    pub fn state(&self) -> FlowState {
        let (outbound, inbound) = (self.outbound.1.seen, self.inbound.1.seen);
        FlowState::of(self.protocol, Seen(outbound), Seen(inbound))
    }

    /// Nanoseconds for which it was silent at least: the last packet may have come at the very end
    /// of its tick.
    ///
    /// Of a connection that the internal side has reset, what still comes from outside is not heard:
    /// whoever sends it would keep the port in use for as long as they like (RFC 7857 §7.1).
    pub fn silent(&self, now: u64) -> u64 {
        let (outbound, inbound) = (&self.outbound.1, &self.inbound.1);
        let last = match Seen(outbound.seen).has(Seen::RST) {
            true => outbound.last_seen,
            false => outbound.last_seen.max(inbound.last_seen),
        };
        now.saturating_sub(Tick(last.saturating_add(1)).nanos())
    }

    /// Whether it was silent for longer than it may be.
    pub fn has_ended(&self, patience: &Patience, now: u64) -> bool {
        self.silent(now) > patience.timeout(self)
    }
}

/// What is known of half a flow until its other half comes.
type Half<A = Ip4> = (FlowKey<A>, Flow<Picture, A>);

/// Ports of which something is known, one set for each bitmap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortSets(HashMap<u32, Box<[u64; WORDS]>>);

impl PortSets {
    /// Adds a port.
    pub fn insert(&mut self, bitmap: u32, port: Port) {
        let (word, bit) = place(port);
        let words = self.0.entry(bitmap).or_insert_with(|| Box::new([0; WORDS]));
        if let Some(word) = words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Adds all ports of another set.
    fn add(&mut self, other: &Self) {
        for (bitmap, more) in &other.0 {
            let words = self
                .0
                .entry(*bitmap)
                .or_insert_with(|| Box::new([0; WORDS]));
            for (word, more) in words.iter_mut().zip(more.iter()) {
                *word |= more;
            }
        }
    }

    /// Whether any port of a bitmap is in the set.
    pub fn is_used(&self, bitmap: u32) -> bool {
        self.0.contains_key(&bitmap)
    }

    /// One word of a bitmap's set: 64 ports.
    pub fn word(&self, bitmap: u32, word: usize) -> u64 {
        self.words(bitmap)
            .and_then(|words| words.get(word))
            .copied()
            .unwrap_or(0)
    }

    /// A bitmap's set, if any port is in it.
    fn words(&self, bitmap: u32) -> Option<&[u64; WORDS]> {
        self.0.get(&bitmap).map(Box::as_ref)
    }
}

/// What a member of a cluster has to do with a bucket's flows, as a sweep must know it; see
/// [`cluster::Role`](crate::cluster::Role).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// It serves them, and has heard all that there was to hear since this time, in nanoseconds of
    /// `CLOCK_MONOTONIC`: they are not silent for longer.
    Serves(u64),
    /// It keeps them, however silent they are.
    Keeps,
    /// The same, and tells who serves them now what became of them until then.
    Hands,
    /// None of them is its any more: they go, and nobody is told.
    Nothing,
}

/// Its part in each bucket.
pub type Parts = [Part; BUCKETS];

/// A sweep that is under way.
pub struct Sweep<'a, A: Address = Ip4> {
    now: u64,
    seed: u64,
    patience: Patience,
    externals: &'a BTreeMap<Ip6, External>,
    /// The prefixes whose addresses stand for IPv4 ones.
    prefixes: Vec<Prefix64>,
    /// The rules whose clients are counted.
    counted: BTreeSet<u16>,
    halves: HashMap<FlowKey<A>, Half<A>>,
    /// Which external ports have a flow with which remote.
    talks: HashSet<(Protocol, A, Port, A)>,
    /// Ports that a mapping has.
    mapped: PortSets,
    /// What is this member's to do, where flows are copied, and what it told of them.
    copied: Option<(&'a Parts, &'a mut Shadow)>,
    swept: Swept<A>,
}

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swept<A: Address = Ip4> {
    /// The keys of flows that have ended, both directions of a flow side by side.
    pub ended: Vec<FlowKey<A>>,
    /// Flows that have ended, by pool and protocol.
    pub removed: BTreeMap<u8, [u64; PROTOCOLS]>,
    /// Entries of the mapping table.
    pub mappings: u64,
    /// What of all this the tables of IPv6 hold, if it was [added](Self::count).
    pub wide: Wide,
    /// Those that somebody asked for.
    pub asked: BTreeSet<MappingKey<A>>,
    /// Mappings without a flow.
    pub unmapped: Vec<MappingKey<A>>,
    /// Ports that a flow or a mapping uses.
    pub used: PortSets,
    /// Living flows by protocol and state.
    pub flows: BTreeMap<(Protocol, FlowState), u64>,
    /// Living flows by pool.
    pub by_pool: BTreeMap<u8, u64>,
    /// Living flows, and ports in use, by rule.
    pub by_rule: BTreeMap<u16, Amount>,
    /// The numbers of the rules that anything is left of.
    pub rules: BTreeSet<u16>,
    /// All flows and ports that there were, by clients of the rules that are counted.
    pub held: HashMap<Holder, Amount>,
    /// Whose the ended ones among these flows are, by the key of their way out.
    pub owners: HashMap<FlowKey<A>, Holder>,
    /// How many ports of theirs are mapped no more.
    pub ports: HashMap<Holder, u32>,
    /// Living flows by external address.
    pub by_external: BTreeMap<Ip6, u64>,
    /// Entries without their other half that are not young; they are among `ended`.
    pub orphans: u64,
    /// The longest time by which an ended flow was overdue, in nanoseconds.
    pub lag: u64,
    /// Flows that are kept for other members; they are in none of the numbers above.
    pub kept: u64,
    /// The pools that these are of.
    pub kept_pools: BTreeSet<u8>,
    /// The keys of flows that are other members' now, both directions side by side.
    pub moved: Vec<FlowKey<A>>,
    /// Flows that others are to be told of.
    pub changed: Vec<Joined<A>>,
    /// The ended ones that others were told of: their buckets, by the key of their way out.
    pub over: HashMap<FlowKey<A>, u8>,
}

/// What the tables of IPv6 hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wide {
    /// Living flows.
    pub flows: u64,
    /// Entries of the mapping table.
    pub mappings: u64,
}

impl<'a, A: Address> Sweep<'a, A> {
    /// Begins a sweep at `now`, nanoseconds of `CLOCK_MONOTONIC`, of tables whose hashes have the key
    /// `seed`.
    pub fn new(
        (now, seed): (u64, u64),
        patience: Patience,
        externals: &'a BTreeMap<Ip6, External>,
    ) -> Self {
        Self {
            now,
            seed,
            patience,
            externals,
            prefixes: Vec::new(),
            counted: BTreeSet::new(),
            halves: HashMap::new(),
            talks: HashSet::new(),
            mapped: PortSets::default(),
            copied: None,
            swept: Swept::default(),
        }
    }

    /// The same on a member of a cluster that copies flows, of which others were told this.
    pub fn dividing(self, parts: &'a Parts, shadow: &'a mut Shadow) -> Self {
        shadow.begin();
        Self {
            copied: Some((parts, shadow)),
            ..self
        }
    }

    /// The same, of flows that know IPv4 addresses by these prefixes.
    pub fn knowing(self, prefixes: impl IntoIterator<Item = Prefix64>) -> Self {
        Self {
            prefixes: prefixes.into_iter().collect(),
            ..self
        }
    }

    /// The same, counting what the clients of these rules have.
    pub fn counting(self, rules: impl IntoIterator<Item = u16>) -> Self {
        Self {
            counted: rules.into_iter().collect(),
            ..self
        }
    }

    /// Takes in entries of the flow table, in any order.
    pub fn flows(&mut self, keys: &[FlowKey<A>], flows: &[Flow<Picture, A>]) {
        for (key, flow) in keys.iter().zip(flows) {
            let Some(protocol) = Protocol::from_number(key.protocol) else {
                continue;
            };
            match self.halves.remove(&flow.twin(protocol)) {
                Some(half) => self.whole(&Joined::new(protocol, (*key, *flow), half)),
                None => {
                    self.halves.insert(*key, (*key, *flow));
                }
            }
        }
    }

    fn whole(&mut self, flow: &Joined<A>) {
        let (state, mut silent) = (flow.state(), flow.silent(self.now));
        let bucket = copies::bucket(flow.protocol, &flow.outbound.1.to);
        let parts = self.copied.as_ref().map(|(parts, _)| *parts);
        match parts.and_then(|it| it.get(usize::from(bucket))) {
            None => {}
            Some(Part::Serves(since)) => silent = silent.min(self.now.saturating_sub(*since)),
            Some(Part::Keeps) => return self.keep(flow),
            Some(Part::Hands) => {
                self.keep(flow);
                self.note(flow, state);
                return;
            }
            // What is to be done with a copy may be heard of later than the copy.
            Some(Part::Nothing) if silent < NEW_COPY => return self.keep(flow),
            Some(Part::Nothing) => {
                self.swept.moved.extend([flow.outbound.0, flow.inbound.0]);
                return;
            }
        }
        let overdue = silent.checked_sub(self.patience.timeout(flow));
        let pool = flow.outbound.1.pool();
        let rule = flow.outbound.1.rule();
        let holder = Holder::new(rule, flow.outbound.0.tuple.source);
        self.swept.rules.insert(rule);
        if self.counted.contains(&rule) {
            self.swept.held.entry(holder).or_default().flows += 1;
        }
        match overdue.filter(|overdue| *overdue > 0) {
            Some(overdue) => {
                self.swept.ended.extend([flow.outbound.0, flow.inbound.0]);
                self.swept.lag = self.swept.lag.max(overdue);
                // Others may have been told of it by whoever handed it over.
                if let Some((_, shadow)) = &mut self.copied {
                    shadow.end(&flow.outbound.0);
                    self.swept.over.insert(flow.outbound.0, bucket);
                }
                if self.counted.contains(&rule) {
                    self.swept.owners.insert(flow.outbound.0, holder);
                }
                count_removed(&mut self.swept.removed, pool, flow.protocol);
            }
            None => {
                *self.swept.flows.entry((flow.protocol, state)).or_default() += 1;
                *self.swept.by_pool.entry(pool).or_default() += 1;
                self.swept.by_rule.entry(rule).or_default().flows += 1;
                let external = self.seen(flow.outbound.1.to.source);
                let count = self.swept.by_external.entry(external.wide());
                *count.or_default() += 1;
                self.join(flow);
                self.note(flow, state);
            }
        }
    }

    /// Others are told of a flow that is new, or in another state.
    fn note(&mut self, flow: &Joined<A>, state: FlowState) {
        let now = Tick::from_nanos(self.now);
        if let Some((_, shadow)) = &mut self.copied
            && shadow.note(flow, state, now)
        {
            self.swept.changed.push(*flow);
        }
    }

    /// Takes in a flow that another member serves: what it uses is in use here too.
    fn keep(&mut self, flow: &Joined<A>) {
        self.swept.kept += 1;
        self.swept.kept_pools.insert(flow.outbound.1.pool());
        self.swept.rules.insert(flow.outbound.1.rule());
        self.join(flow);
    }

    /// Takes note of what a flow uses, and who talks to whom.
    fn join(&mut self, flow: &Joined<A>) {
        let sent = flow.outbound.1.to;
        let external = (self.seen(sent.source), sent.source_port);
        self.uses(flow.protocol, external, (sent.target, sent.target_port));
        // Of a hairpinned flow the mapping knows whom it dialled; of one that was led elsewhere,
        // whom it was led to.
        let dialled = self.seen(flow.outbound.0.tuple.target);
        self.talks(flow.protocol, external, dialled);
        let target = self.seen(sent.target);
        if target != dialled {
            self.talks(flow.protocol, external, target);
        }
        // Of a hairpinned flow both ends are ours.
        let (key, back) = (flow.inbound.0.tuple, flow.inbound.1.to);
        let (came, shown) = (self.seen(key.source), self.seen(back.source));
        if shown != came {
            let (external, remote) = ((shown, back.source_port), self.seen(key.target));
            self.uses(flow.protocol, external, (remote, key.target_port));
            self.talks(flow.protocol, external, remote);
        }
    }

    fn uses(&mut self, protocol: Protocol, (address, port): (A, Port), remote: (A, Port)) {
        if protocol.is_by_address() {
            return;
        }
        if let Some(External { index, planes, .. }) = self.externals.get(&address.wide()) {
            let bitmap = bitmap_towards(self.seed, (*index, *planes), protocol, remote);
            self.swept.used.insert(bitmap, port);
        }
    }

    /// The address that is meant: the IPv4 one that an IPv6 one stands for, if it does.
    fn seen(&self, address: A) -> A {
        if A::LENGTH == Ip4::LENGTH {
            return address;
        }
        let mut prefixes = self.prefixes.iter();
        let meant = prefixes.find_map(|prefix| prefix.extract(&address.wide()));
        meant.map_or(address, A::of_ip4)
    }

    fn talks(&mut self, protocol: Protocol, end: (A, Port), remote: A) {
        self.talks.insert((protocol, end.0, end.1, remote));
    }

    /// Judges the entries whose other half did not come. To be called when the flow table has been
    /// taken in, before the mappings are.
    pub fn flows_done(&mut self) {
        for (_, (key, flow)) in std::mem::take(&mut self.halves) {
            let Some(protocol) = Protocol::from_number(key.protocol) else {
                continue;
            };
            self.swept.rules.insert(flow.rule());
            // A copy is as old as its flow, and came just now.
            let is_copy = self.copied.is_some() && self.is_young(Tick(flow.last_seen));
            if self.is_young(flow.created) || is_copy {
                let sent = match flow.side() {
                    Side::Outbound => flow.to,
                    Side::Inbound => key.tuple.reversed(),
                };
                let external = (self.seen(sent.source), sent.source_port);
                self.uses(protocol, external, (sent.target, sent.target_port));
            } else {
                self.swept.ended.push(key);
                self.swept.orphans += 1;
            }
        }
    }

    /// Takes in mappings, after all flows of both kinds.
    pub fn mappings(&mut self, keys: &[MappingKey<A>], mappings: &[Mapping<A>]) {
        self.swept.mappings += keys.len() as u64;
        for (key, mapping) in keys.iter().zip(mappings) {
            let Some(protocol) = Protocol::from_number(key.protocol) else {
                continue;
            };
            let (Some(external), Some(end)) =
                (self.externals.get(&key.external.wide()), key.what())
            else {
                self.swept.unmapped.push(*key);
                if let Some(End::Inward { .. }) = key.what() {
                    self.count_port(mapping, true);
                }
                continue;
            };
            // Nobody was charged for its port.
            if mapping.is_asked_for() {
                self.swept.asked.insert(*key);
                self.swept.rules.insert(mapping.rule());
                let port = match end {
                    End::Inward { port } => port,
                    End::Outward { .. } | End::Permit { .. } => mapping.port,
                };
                for bitmap in external.bitmaps_of(protocol) {
                    self.mapped.insert(bitmap, port);
                }
                continue;
            }
            // Ports that several flows share have no mapping: it is from before they did.
            if external.planes != 0 && protocol == Protocol::Tcp {
                self.swept.unmapped.push(*key);
                if let End::Inward { .. } = end {
                    self.count_port(mapping, true);
                }
                continue;
            }
            let (port, is_used) = match end {
                End::Outward { .. } => (
                    mapping.port,
                    self.has_flow(external, protocol, mapping.port),
                ),
                End::Inward { port } => (port, self.has_flow(external, protocol, port)),
                End::Permit { port, remote } => {
                    let talk = (protocol, key.external, port, remote.0);
                    let is_hoped_for = self.has_flow(external, protocol, port)
                        && self.is_within(mapping.created, PERMIT);
                    (port, is_hoped_for || self.talks.contains(&talk))
                }
            };
            let is_over = !is_used && !self.is_young(mapping.created);
            if is_over {
                self.swept.unmapped.push(*key);
            }
            if let End::Inward { .. } = end {
                self.count_port(mapping, is_over);
            }
            // Also one that is to be removed: until it is, a flow may begin that uses its port.
            self.mapped.insert(bitmap(external.index, protocol), port);
        }
    }

    /// Counts a port for the rule under which it was claimed.
    fn count_port(&mut self, inward: &Mapping<A>, is_over: bool) {
        self.swept.rules.insert(inward.rule());
        if !is_over {
            self.swept.by_rule.entry(inward.rule()).or_default().ports += 1;
        }
        if self.counted.contains(&inward.rule()) {
            let holder = Holder::new(inward.rule(), inward.internal);
            self.swept.held.entry(holder).or_default().ports += 1;
            if is_over {
                *self.swept.ports.entry(holder).or_default() += 1;
            }
        }
    }

    fn has_flow(&self, external: &External, protocol: Protocol, port: Port) -> bool {
        let (word, bit) = place(port);
        let bitmap = bitmap(external.index, protocol);
        self.swept.used.word(bitmap, word) & 1 << bit != 0
    }

    /// Ends the sweep.
    pub fn finish(mut self) -> Swept<A> {
        self.swept.used.add(&self.mapped);
        if let Some((_, shadow)) = self.copied {
            shadow.finish();
        }
        self.swept
    }

    fn is_young(&self, created: Tick) -> bool {
        self.is_within(created, YOUNG)
    }

    fn is_within(&self, created: Tick, ticks: u32) -> bool {
        Tick::from_nanos(self.now).0.saturating_sub(created.0) <= ticks
    }
}

impl Sweep<'_> {
    /// Takes in what flows with IPv6 addresses use of IPv4 ones, before the mappings: a client of IPv4
    /// that reaches one of IPv6, or is reached, does so through mappings of its own.
    pub fn beside(&mut self, wide: &Sweep<'_, Ip6>) {
        self.swept.used.add(&wide.swept.used);
        let narrow = |talk: &(Protocol, Ip6, Port, Ip6)| {
            let (protocol, external, port, remote) = talk;
            Some((*protocol, external.ip4()?, *port, remote.ip4()?))
        };
        self.talks.extend(wide.talks.iter().filter_map(narrow));
    }
}

impl Swept {
    /// Adds what a sweep of the tables of IPv6 counted; what it says is to be removed stays with it.
    pub fn count(&mut self, other: &Swept<Ip6>) {
        self.wide.flows += other.flows.values().sum::<u64>();
        self.wide.mappings += other.mappings;
        for (pool, counts) in &other.removed {
            let sums = self.removed.entry(*pool).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, it)| *sum += it);
        }
        add(&mut self.flows, &other.flows);
        add(&mut self.by_pool, &other.by_pool);
        add(&mut self.by_external, &other.by_external);
        self.used.add(&other.used);
        self.mappings += other.mappings;
        self.rules.extend(&other.rules);
        for (rule, amount) in &other.by_rule {
            self.by_rule.entry(*rule).or_default().add(*amount);
        }
        for (holder, amount) in &other.held {
            self.held.entry(*holder).or_default().add(*amount);
        }
        self.orphans += other.orphans;
        self.kept += other.kept;
        self.kept_pools.extend(&other.kept_pools);
        self.lag = self.lag.max(other.lag);
    }
}

fn add<K: Ord + Copy>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sums.entry(*key).or_default() += count;
    }
}

fn count_removed(removed: &mut BTreeMap<u8, [u64; PROTOCOLS]>, pool: u8, protocol: Protocol) {
    let counts = removed.entry(pool).or_default();
    if let Some(count) = counts.get_mut(protocol.space()) {
        *count += 1;
    }
}

/// The ports that nobody used at this sweep although they are taken: freed if they are found so
/// again at the next.
#[derive(Clone, Debug, Default)]
pub struct Idle(HashMap<u32, Box<[u64; WORDS]>>);

impl Idle {
    /// Compares a bitmap with what is used. Returns for each word the bits that must be set because
    /// they are reserved, or a flow has them from when its pool was overloaded or was not, and the
    /// bits to clear, because nobody used them twice.
    pub fn judge(
        &mut self,
        bitmap: u32,
        used: &PortSets,
        reserved: &[u64; WORDS],
        words: &[PortWord; WORDS],
    ) -> Vec<(usize, Correction)> {
        let before = self
            .0
            .remove(&bitmap)
            .unwrap_or_else(|| Box::new([0; WORDS]));
        let used = used.words(bitmap).unwrap_or(&[0; WORDS]);
        let mut idle = Box::new([0; WORDS]);
        let mut corrections = Vec::new();
        for (word, PortWord { taken, .. }) in words.iter().enumerate() {
            let (taken, used, reserved) = (taken.get(), used[word], reserved[word]);
            // Reserved ones too: when the range changes, they are free at the next sweep.
            let unused = taken & !used;
            let correction = Correction {
                set: (reserved | used) & !taken,
                clear: unused & before[word] & !reserved,
            };
            if correction != Correction::default() {
                corrections.push((word, correction));
            }
            idle[word] = unused & !correction.clear;
        }
        if idle.iter().any(|word| *word != 0) {
            self.0.insert(bitmap, idle);
        }
        corrections
    }

    /// Forgets bitmaps of addresses that are gone.
    pub fn keep(&mut self, bitmaps: &BTreeSet<u32>) {
        self.0.retain(|bitmap, _| bitmaps.contains(bitmap));
    }
}

/// What is wrong with one word of a port bitmap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Correction {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
}

#[cfg(test)]
mod tests;
