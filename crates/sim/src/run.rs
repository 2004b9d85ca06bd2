//! One run: everything that happens at its time, one thing after the other.

mod deeds;
mod faults;
mod packets;
mod proof;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    copies::{Inside, Wish},
    faults::KINDS,
    hosts::{Hosts, Outcome, Timer},
    laws::{Broken, Law, Laws},
    member::{Effects, Member, Power},
    network::{Network, Realm},
    plan::{CALM, Plan, Profile, TRAFFIC_FROM},
    planted::Planted,
    random::Random,
    router::{Change, Router, notices_in},
    stream::{Host, Notice, StreamEvent, Streams},
    trace::{Entry, Trace},
};

/// The time from one sweep to the next.
const SWEEP: Duration = Duration::from_secs(1);
/// Things that happen in a run at most: more means that something goes round.
const STEPS_MAX: u64 = 30_000_000;
/// How long one thread of a daemon takes to hear what another one tells, at most.
const THREAD: Duration = Duration::from_millis(2);
/// The same when the machine is busy.
const THREAD_SLOW: Duration = Duration::from_millis(150);
/// How often it is.
const SLOW_ONCE_IN: usize = 30;
/// How often it is looked whether a gateway still stands still.
const THAW_LOOK: Duration = Duration::from_millis(10);
/// For so long after the last connection every flow, mapping and port must have been given up.
const TAIL: Duration = Duration::from_secs(42);

/// What a run is asked.
#[derive(Clone, Copy)]
pub struct Order {
    /// Which run.
    pub seed: u64,
    /// Of which kind, if not of the one that the seed draws.
    pub profile: Option<Profile>,
    /// What is demanded.
    pub laws: Laws,
    /// What is put into it that is wrong.
    pub planted: Option<Planted>,
}

impl Order {
    /// The run of a seed, as things are today.
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            profile: None,
            laws: Laws::TODAY,
            planted: None,
        }
    }
}

/// What came of a run that broke no law.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A number that is another one if anything happened otherwise.
    pub digest: u64,
    /// Connections that began.
    pub connections: u64,
    /// Those among them that had no excuse to fail, and did not.
    pub proved: u64,
    /// Frames that gateways took.
    pub packets: u64,
    /// How often each kind of fault came about.
    pub faults: [u64; KINDS.len()],
    /// How long it took, in the time of the run.
    pub time: Duration,
}

/// A frame on its way.
#[derive(Clone, Debug)]
struct Flight {
    bytes: Vec<u8>,
    /// The connection that it is of, for whoever reads what happened.
    connection: u32,
    /// How many gateways have taken it since a router had it.
    handled: u32,
}

#[derive(Debug)]
enum Event {
    /// A frame reaches a gateway by this interface.
    Arrive(usize, u32, Flight),
    /// A frame reaches the hosts of a side.
    Deliver(Realm, Flight),
    /// A control packet of BFD reaches a gateway.
    Control {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    /// A gateway's machines have something to do.
    Wake(usize),
    /// A gateway sweeps; it is nothing to a daemon that started since.
    Sweep(usize, u32),
    /// A router notices something.
    Route(Change),
    /// A timer of a host.
    Host(Timer),
    /// Another connection begins.
    Open,
    /// A gateway is switched on for the first time.
    Boot(usize),
    /// A fault of the plan begins.
    Fault(usize),
    /// The next step of a fault that has begun.
    Step(usize, faults::Step),
    /// Everything that went wrong is put right.
    Heal,
    /// Something is due on a stream.
    Stream(StreamEvent),
    /// A thread of a gateway's daemon hears what another one told it; nothing to a daemon that started since.
    Inside(usize, u32, Box<Inside>),
    /// Everything is looked at.
    Look,
}

/// A run that goes on.
pub struct Run {
    plan: Plan,
    laws: Laws,
    planted: Option<Planted>,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    last: u64,
    members: Vec<Member>,
    /// What waits for gateways that stand still.
    rings: Vec<Vec<Event>>,
    wakes: Vec<Option<Duration>>,
    network: Network,
    /// When the last control packet arrives from each member at each.
    turns: Vec<Duration>,
    streams: Streams,
    /// By gateway, until when its threads have been told something.
    heard: Vec<[Duration; 2]>,
    routers: [Router; 2],
    hosts: Hosts,
    trace: Trace,
    report: Report,
    random: Random,
    unrest: faults::Unrest,
    /// When the last timer of a host runs out, and nothing else was to be sent.
    quiet_at: Duration,
    broken: Option<Box<Broken>>,
}

/// Runs a seed.
///
/// # Errors
///
/// The first law that it breaks.
pub fn run(order: &Order) -> Result<Report, Box<Broken>> {
    Run::new(order).finish()
}

impl Run {
    /// A run at its begin.
    pub fn new(order: &Order) -> Self {
        let plan = Plan::of(order.seed, order.profile);
        let random = Random::new(order.seed);
        let member = |index| {
            let random = random.branch(100 + index as u64);
            Member::new(index, &plan, order.planted, random)
        };
        let mut draw = random.branch(2);
        let router = |realm, draw: &mut Random| Router::new(realm, plan.members, draw);
        let mut run = Self {
            laws: order.laws,
            planted: order.planted,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            last: 0,
            members: (0..plan.members).map(member).collect(),
            rings: (0..plan.members).map(|_| Vec::new()).collect(),
            wakes: vec![None; plan.members],
            network: Network::new(plan.members, plan.quality),
            turns: vec![Duration::ZERO; plan.members * plan.members],
            streams: Streams::default(),
            heard: vec![[Duration::ZERO; 2]; plan.members],
            routers: Realm::BOTH.map(|realm| router(realm, &mut draw)),
            hosts: Hosts::new(&plan, random.branch(3)),
            trace: Trace::default(),
            report: Report::default(),
            random: random.branch(4),
            unrest: faults::Unrest::new(plan.members),
            quiet_at: Duration::ZERO,
            broken: None,
            plan,
        };
        run.begin();
        run
    }

    fn begin(&mut self) {
        for (index, at) in self.plan.boots.clone().into_iter().enumerate() {
            self.at(at, Event::Boot(index));
        }
        for (number, (at, _)) in self.plan.faults.clone().into_iter().enumerate() {
            self.at(at, Event::Fault(number));
        }
        self.at(TRAFFIC_FROM, Event::Open);
        self.at(self.plan.healed_at, Event::Heal);
        self.at(SWEEP / 2, Event::Look);
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// The first law that is broken.
    pub fn finish(mut self) -> Result<Report, Box<Broken>> {
        for _ in 0..STEPS_MAX {
            let Some(((now, _), event)) = self.events.pop_first() else {
                break;
            };
            self.now = now;
            self.happen(event);
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            if self.is_over() {
                break;
            }
        }
        self.prove_all_ended();
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        self.report.digest = self.trace.digest();
        self.report.time = self.now;
        let proved = |it: &&crate::hosts::Connection| it.excuse.is_none();
        let proved = self.hosts.connections.iter().filter(proved).count();
        self.report.connections = self.hosts.connections.len() as u64;
        self.report.proved = proved as u64;
        Ok(self.report)
    }

    /// When the last connection begins.
    fn traffic_until(&self) -> Duration {
        self.plan.healed_at + CALM
    }

    /// Whether nothing is left to come but what never ends.
    fn is_over(&self) -> bool {
        let quiet_at = self.quiet_at.max(self.traffic_until());
        self.now >= quiet_at + TAIL
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(member, ifindex, flight) => self.arrive(member, ifindex, flight),
            Event::Deliver(realm, flight) => self.deliver(realm, &flight),
            Event::Control { from, to, bytes } => self.control(from, to, bytes),
            Event::Wake(member) => self.wake(member),
            Event::Sweep(member, start) => self.sweep(member, start),
            Event::Route(change) => self.notice(change),
            Event::Host(timer) => {
                let deeds = self.hosts.wake(timer, self.now);
                self.act(deeds);
            }
            Event::Open => self.open(),
            Event::Boot(member) => self.boot(member),
            Event::Fault(number) => self.begin_fault(number),
            Event::Step(number, step) => self.step(number, step),
            Event::Heal => self.heal(),
            Event::Stream(event) => self.stream(event),
            Event::Inside(member, start, inside) => self.inside(member, start, inside),
            Event::Look => {
                self.excuse_guests();
                self.look_for_remnants();
                self.prove_tables();
                self.at(self.now + SWEEP, Event::Look);
            }
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.last += 1;
        self.events.insert((at.max(self.now), self.last), event);
    }

    fn note(&mut self, entry: Entry) {
        self.trace.note(self.now, entry);
    }

    /// A law is broken, by this. The first one counts.
    fn breaks(&mut self, law: Law, connections: &[u32], what: String) {
        if self.broken.is_none() {
            self.broken = Some(Box::new(Broken {
                law,
                at: self.now,
                what,
                seed: self.plan.seed,
                profile: self.plan.profile,
                laws: self.laws,
                planted: self.planted,
                site: Broken::site(&self.plan),
                story: self.trace.story(&self.plan, connections),
            }));
        }
    }

    fn open(&mut self) {
        if let Some((id, deeds)) = self.hosts.begin(&self.plan, self.now) {
            self.note(Entry::Opens(id));
            let excuse = self.hosts.get(id).and_then(|it| self.excuse_for(it));
            if let Some(why) = excuse {
                self.excuse_one(id, why);
            }
            self.act(deeds);
        }
        let pause = self.random.time(Duration::ZERO, self.plan.pace * 2);
        if self.now + pause < self.traffic_until() {
            self.at(self.now + pause, Event::Open);
        }
    }

    fn boot(&mut self, index: usize) {
        let (plan, now) = (self.plan.clone(), self.now);
        if let Some(member) = self.members.get_mut(index) {
            let effects = member.boot(&plan, now);
            self.started(index, effects);
        }
    }

    /// A daemon has started.
    fn started(&mut self, index: usize, effects: Effects) {
        self.note(Entry::Started(index));
        self.follow(index, effects);
        let start = self.members.get(index).map_or(0, |it| it.starts);
        let phase = self.random.time(Duration::ZERO, SWEEP);
        self.at(self.now + phase, Event::Sweep(index, start));
    }

    fn wake(&mut self, index: usize) {
        let Some(wake) = self.wakes.get_mut(index) else {
            return;
        };
        if *wake != Some(self.now) {
            return;
        }
        *wake = None;
        let now = self.now;
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        if member.power == Power::On {
            let effects = member.tick(now);
            self.follow(index, effects);
        }
    }

    fn control(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let now = self.now;
        let Some(member) = self.members.get_mut(to) else {
            return;
        };
        match member.power {
            Power::Off => {}
            Power::Frozen => self.keep(to, Event::Control { from, to, bytes }),
            Power::On => {
                let effects = member.control(from, &bytes, now);
                self.follow(to, effects);
            }
        }
    }

    fn sweep(&mut self, index: usize, start: u32) {
        let now = self.now;
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        if member.starts != start || !member.has_daemon() {
            return;
        }
        if member.power == Power::On {
            let effects = member.sweep(now);
            if let Some(swept) = &effects.swept {
                if !swept.ended.is_empty() {
                    self.note(Entry::Swept(index, swept.ended.len()));
                }
                if swept.orphans > 0 {
                    let what = format!("gw{index} has {} halves of flows", swept.orphans);
                    self.breaks(Law::SoundTables, &[], what);
                }
            }
            self.follow(index, effects);
        }
        self.at(now + SWEEP, Event::Sweep(index, start));
    }

    fn stream(&mut self, event: StreamEvent) {
        let members = &self.members;
        let host_of = |index: usize| match members.get(index) {
            Some(member) if member.power == Power::On => match member.has_daemon() {
                true => Host::Listens,
                false => Host::Deaf,
            },
            Some(_) | None => Host::Silent,
        };
        let told = self.streams.handle(event, self.now, &self.network, host_of);
        self.schedule_streams();
        for (index, id, notice) in told.notices {
            let now = self.now;
            let bytes = match &notice {
                Notice::Bytes(bytes) => bytes.len(),
                Notice::Opened { .. } | Notice::Closed => 0,
            };
            self.note(Entry::Streamed(index, bytes));
            let Some(member) = self.members.get_mut(index) else {
                continue;
            };
            let effects = member.stream(id, notice, now);
            self.follow(index, effects);
        }
    }

    fn schedule_streams(&mut self) {
        for (at, event) in std::mem::take(&mut self.streams.due) {
            self.at(at, Event::Stream(event));
        }
    }

    /// Does what comes of something that a gateway did.
    fn follow(&mut self, index: usize, effects: Effects) {
        if self
            .members
            .get_mut(index)
            .is_some_and(|it| it.comes_late(self.now))
        {
            self.count_change();
        }
        for (other, standing) in effects.heard {
            self.note(Entry::Heard(index, other, Entry::standing(standing)));
        }
        for owned in effects.owned {
            self.note(Entry::Divided(index, owned));
        }
        for (to, bytes) in effects.control {
            let pair = (index, to);
            let arrivals = match effects.are_last_words && !self.laws.loses_last_words {
                true => self.network.surely(pair, self.now, &mut self.random),
                false => self.network.between(pair, self.now, &mut self.random),
            };
            for at in arrivals {
                let at = self.in_turn((index, to), at);
                let bytes = bytes.clone();
                self.at(
                    at,
                    Event::Control {
                        from: index,
                        to,
                        bytes,
                    },
                );
            }
        }
        self.grant(index, effects.wishes);
        self.schedule(index);
        self.look_at_routes();
    }

    /// Does what whoever copies flows wants.
    fn grant(&mut self, index: usize, wishes: Vec<Wish>) {
        let start = self.members.get(index).map_or(0, |it| it.starts);
        for wish in wishes {
            let around = (&self.network, &mut self.random);
            match wish {
                Wish::Connect(to) => {
                    let id = self.streams.connect((index, to), self.now, around);
                    self.with_member(index, |it| it.calls(to, id));
                }
                Wish::Send(id, bytes) => self.streams.send((id, index), bytes, self.now, around),
                Wish::Close(id) => self.streams.close((id, index), self.now, around),
                Wish::Tell(inside) => {
                    let most = match self.random.once_in(SLOW_ONCE_IN) {
                        true => THREAD_SLOW,
                        false => THREAD,
                    };
                    let after = self.random.time(Duration::ZERO, most);
                    let at = self.in_order(index, &inside, self.now + after);
                    self.at(at, Event::Inside(index, start, Box::new(inside)));
                }
            }
        }
        self.schedule_streams();
    }

    /// When a thread hears what it is told: not before what it was told before.
    fn in_order(&mut self, index: usize, inside: &Inside, at: Duration) -> Duration {
        let Some([exchange, cluster]) = self.heard.get_mut(index) else {
            return at;
        };
        let last = match inside {
            Inside::Exchange(_) => exchange,
            Inside::Cluster(_) => cluster,
        };
        *last = at.max(*last);
        *last
    }

    fn inside(&mut self, index: usize, start: u32, inside: Box<Inside>) {
        let now = self.now;
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        if member.starts != start {
            return;
        }
        match member.power {
            Power::Off => {}
            Power::Frozen => self.at(now + THAW_LOOK, Event::Inside(index, start, inside)),
            Power::On => {
                let effects = member.inside(*inside, now);
                self.follow(index, effects);
            }
        }
    }

    /// When a control packet arrives that would arrive then: not before those that were sent before it, unless
    /// they may overtake each other.
    fn in_turn(&mut self, (from, to): (usize, usize), at: Duration) -> Duration {
        let last = self.turns.get_mut(from * self.plan.members + to);
        let Some(last) = last.filter(|_| !self.laws.reorders_control) else {
            return at;
        };
        *last = at.max(*last);
        *last
    }

    /// Has a gateway's machines woken when they want to be.
    fn schedule(&mut self, index: usize) {
        let deadline = self.members.get(index).and_then(Member::deadline);
        let Some(at) = deadline.map(|at| at.max(self.now)) else {
            return;
        };
        let Some(wake) = self.wakes.get_mut(index) else {
            return;
        };
        if wake.is_none_or(|before| at < before) {
            *wake = Some(at);
            self.at(at, Event::Wake(index));
        }
    }

    /// Has routers notice what has changed for them.
    fn look_at_routes(&mut self) {
        for index in 0..self.members.len() {
            let Some(member) = self.members.get(index) else {
                continue;
            };
            let is_said = match member.announces() {
                Some(is_said) => is_said,
                // Its daemon is away.
                None => self.plan.keeps_routes && !member.is_withdrawn,
            };
            let is_there = is_said && member.power == Power::On && self.network.is_routed(index);
            for router in &mut self.routers {
                let Some(change) = router.sees(index, is_there) else {
                    continue;
                };
                let times = (self.plan.detection, self.plan.learning);
                let after = notices_in(is_there, times, &mut self.random);
                self.last += 1;
                let at = self.now + after;
                self.events.insert((at, self.last), Event::Route(change));
            }
        }
    }

    fn notice(&mut self, change: Change) {
        let mut routers = self.routers.iter_mut();
        let router = routers.find(|it| it.realm == change.realm);
        if let Some(is_there) = router.and_then(|it| it.notice(change)) {
            self.note(Entry::Routed(change.realm, change.member, is_there));
        }
    }

    /// A connection is over.
    fn over(&mut self, id: u32, outcome: Outcome) {
        self.note(Entry::Over(id, outcome));
        let Some(connection) = self.hosts.get(id) else {
            return;
        };
        let law = match (outcome, connection.excuse, connection.established) {
            (Outcome::Finished | Outcome::Vanished, ..) | (_, Some(_), _) => return,
            (Outcome::Reset | Outcome::GaveUp, None, Some(_)) => Law::ConnectionsSurvive,
            (Outcome::Reset | Outcome::GaveUp, None, None) => Law::NewConnectionsWork,
        };
        let what = format!(
            "connection {id} ({:?}, {:?} to {:?}, outside {:?}) ends: {outcome:?}",
            connection.protocol, connection.client, connection.server, connection.external
        );
        self.breaks(law, &[id], what);
    }
}
