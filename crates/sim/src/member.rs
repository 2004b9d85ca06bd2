//! One gateway: the real tables, the real machines, and a clock of its own.

use std::time::{Duration, Instant};

use abi::{Ip6, Tick, cluster::Division};
use datapath::Exit;
use gateway::{
    Bitmaps, Event, Gateway, Swept,
    cluster::{PATIENCE, Standing},
    copies::{self, Terms},
};

use crate::{
    clock::Clock,
    copies::{Copies, Inside, Wish},
    plan::Plan,
    planted::Planted,
    random::Random,
    site,
    stream::{Notice, StreamId},
    tables::Tables,
    ways::{Outcome, Ways},
};

/// Whether a gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It has none, and what its memory held is lost.
    Off,
    /// It has.
    On,
    /// It stands still.
    Frozen,
}

/// What comes of something that a gateway does.
#[derive(Debug, Default)]
pub struct Effects {
    /// Control packets of BFD, and to which members.
    pub control: Vec<(usize, Vec<u8>)>,
    /// Whether these say that it goes.
    pub are_last_words: bool,
    /// What whoever copies flows wants.
    pub wishes: Vec<Wish>,
    /// What is thought of other members from now on.
    pub heard: Vec<(usize, Standing)>,
    /// How many buckets it holds from now on.
    pub owned: Vec<usize>,
    /// What a sweep found.
    pub swept: Option<Swept>,
}

/// One gateway.
pub struct Member {
    /// Which.
    pub index: usize,
    /// Its clock.
    pub clock: Clock,
    /// Whether it runs.
    pub power: Power,
    /// Its tables, which outlive its daemon.
    pub tables: Tables,
    /// Whether routers are told to send nothing to it.
    pub is_withdrawn: bool,
    /// How many daemons it has had: what was meant for one of them is nothing to the next.
    pub starts: u32,
    daemon: Option<Daemon>,
    /// Which configuration is in force.
    version: usize,
    planted: Option<Planted>,
    random: Random,
}

struct Daemon {
    gateway: Gateway,
    ports: Bitmaps,
    ways: Ways,
    copies: Copies,
    is_told: bool,
    /// Since when it waits to know who is there, if it does.
    waits_since: Option<Duration>,
    /// How many buckets it holds, as was said last.
    owned: Option<usize>,
    is_known: bool,
}

impl Member {
    /// A gateway that was not switched on yet.
    pub fn new(index: usize, plan: &Plan, planted: Option<Planted>, random: Random) -> Self {
        Self {
            index,
            clock: plan.clocks.get(index).copied().unwrap_or(Clock::RIGHT),
            power: Power::Off,
            tables: Tables::new(plan.key),
            is_withdrawn: false,
            starts: 0,
            daemon: None,
            version: 0,
            planted,
            random,
        }
    }

    /// Switches it on, with nothing in its memory.
    pub fn boot(&mut self, plan: &Plan, now: Duration) -> Effects {
        self.power = Power::On;
        self.tables = Tables::new(self.random.word());
        self.is_withdrawn = false;
        self.start(plan, now)
    }

    /// Starts a daemon over the tables that there are.
    pub fn start(&mut self, plan: &Plan, now: Duration) -> Effects {
        self.starts += 1;
        let config = **self.tables.memory.config.borrow();
        // A daemon that finds tables in force serves at once.
        let is_known = config.version != 0;
        self.daemon = Some(Daemon {
            gateway: Gateway::new(self.tables.found()),
            ports: Bitmaps::default(),
            ways: Ways::new(self.index, self.random.word(), plan.interval),
            copies: Copies::new(self.index, self.random.word(), self.planted),
            is_told: false,
            waits_since: (!is_known).then_some(now),
            owned: None,
            is_known,
        });
        if is_known && let Some(daemon) = &mut self.daemon {
            let members = (0..plan.members).map(|it| (it as u8, site::member(it)));
            let buckets = &self.tables.memory.buckets;
            daemon
                .ways
                .find(buckets, members.collect(), self.clock.instant(now));
        }
        self.decide(Event::Key(plan.key));
        let effects = self.configure(plan, self.version, now);
        self.decide(Event::Links(site::links()));
        effects
    }

    /// Takes its power away.
    pub fn crash(&mut self) {
        self.power = Power::Off;
        self.daemon = None;
        self.tables = Tables::new(0);
    }

    /// Ends its daemon without a word; its tables stay.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Ends its daemon, which says that it goes, and whether no flow is left.
    pub fn end(&mut self, is_empty: bool, now: Duration) -> Effects {
        let instant = self.clock.instant(now);
        let outcome = self
            .daemon
            .as_mut()
            .map(|it| it.ways.end(is_empty, instant));
        let effects = self.follow(outcome.unwrap_or_default());
        self.daemon = None;
        Effects {
            are_last_words: true,
            ..effects
        }
    }

    /// Whether there is a daemon.
    pub fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// Whether routers should send to it, as it says; nothing while nobody says it.
    pub fn announces(&self) -> Option<bool> {
        let daemon = self.daemon.as_ref()?;
        let is_settled = daemon.is_known || daemon.ways.is_settled();
        Some(is_settled && !self.is_withdrawn)
    }

    /// Whether it has just come to know who is there, and others count on it only now, long after it started: that is
    /// a change by itself. It is said once.
    pub fn comes_late(&mut self, now: Duration) -> bool {
        let Some(daemon) = self.daemon.as_mut().filter(|it| it.ways.is_settled()) else {
            return false;
        };
        let since = daemon.waits_since.take();
        since.is_some_and(|since| since + PATIENCE < now)
    }

    /// Puts a configuration in force.
    pub fn configure(&mut self, plan: &Plan, version: usize, now: Duration) -> Effects {
        self.version = version;
        let intent = site::intent(plan, self.index, version);
        self.decide(Event::Configure(Box::new(intent.clone())));
        let instant = self.clock.instant(now);
        let Some(daemon) = &mut self.daemon else {
            return Effects::default();
        };
        let outcome = daemon.ways.configure(&intent, plan.copies_flows, instant);
        let mut effects = self.follow(outcome);
        if plan.copies_flows
            && let Some(daemon) = &mut self.daemon
        {
            let gateway = &daemon.gateway;
            let terms = Terms::new(&intent, gateway.numbers(), gateway.seed());
            let wishes = daemon.copies.configure(&intent, terms);
            effects.wishes.extend(wishes);
        }
        effects
    }

    /// It is to take no new flows, or is to take them again.
    pub fn leave_or_stay(&mut self, is_leaving: bool, now: Duration) -> Effects {
        let instant = self.clock.instant(now);
        let daemon = self.daemon.as_mut();
        let outcome = daemon.map(|it| it.ways.leave_or_stay(is_leaving, instant));
        Effects {
            are_last_words: is_leaving,
            ..self.follow(outcome.unwrap_or_default())
        }
    }

    /// A control packet of BFD came.
    pub fn control(&mut self, from: usize, bytes: &[u8], now: Duration) -> Effects {
        let instant = self.clock.instant(now);
        let daemon = self.daemon.as_mut();
        let outcome = daemon.map(|it| it.ways.receive(site::member(from), bytes, instant));
        self.follow(outcome.unwrap_or_default())
    }

    /// When [`Member::tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let daemon = self.daemon.as_ref()?;
        let deadlines = [daemon.ways.deadline(), daemon.copies.deadline()];
        let at = deadlines.into_iter().flatten().min()?;
        Some(self.clock.when(at))
    }

    /// The deadline has come.
    pub fn tick(&mut self, now: Duration) -> Effects {
        let instant = self.clock.instant(now);
        let Some(daemon) = &mut self.daemon else {
            return Effects::default();
        };
        let outcome = daemon.ways.tick(instant);
        let mut effects = self.follow(outcome);
        let time = self.time(now);
        if let Some(daemon) = &mut self.daemon
            && daemon.copies.deadline().is_some_and(|at| at <= instant)
        {
            let wishes = daemon.copies.tick(&self.tables.memory, time);
            effects.wishes.extend(wishes);
        }
        effects
    }

    /// Sweeps the tables.
    pub fn sweep(&mut self, now: Duration) -> Effects {
        let (instant, nanos) = self.time(now);
        let mut effects = Effects::default();
        let Some(daemon) = &mut self.daemon else {
            return effects;
        };
        let terms = daemon.copies.terms().clone();
        let mut divided = daemon.copies.dividing((instant, nanos));
        let copies_flows = divided.is_some();
        let divided = divided
            .as_mut()
            .map(|(parts, shadow)| (&*parts, &mut **shadow));
        let ports = (&mut daemon.ports, divided);
        let Some((mut swept, event)) = self.tables.sweep(&daemon.gateway, ports, nanos) else {
            return effects;
        };
        if copies_flows {
            let changes = copies::changes(&mut swept, &terms, Tick::from_nanos(nanos));
            effects.wishes = daemon.copies.swept(changes, instant);
        }
        effects.swept = Some(swept);
        self.decide(event);
        effects
    }

    /// Something happened to a stream.
    pub fn stream(&mut self, stream: StreamId, notice: Notice, now: Duration) -> Effects {
        let time = self.time(now);
        let Some(daemon) = &mut self.daemon else {
            return Effects::default();
        };
        let happened = (stream, notice);
        let wishes = daemon.copies.stream(happened, &self.tables.memory, time);
        Effects {
            wishes,
            ..Effects::default()
        }
    }

    /// A stream that was asked for has this name.
    pub fn calls(&mut self, member: usize, stream: StreamId) {
        if let Some(daemon) = &mut self.daemon {
            daemon.copies.calls(member, stream);
        }
    }

    /// One thread of the daemon has told another one.
    pub fn inside(&mut self, inside: Inside, now: Duration) -> Effects {
        let time = self.time(now);
        let Some(daemon) = &mut self.daemon else {
            return Effects::default();
        };
        match inside {
            Inside::Cluster(events) => {
                let outcome = daemon.ways.tell(events, time.0);
                self.follow(outcome)
            }
            Inside::Exchange(event) => Effects {
                wishes: daemon.copies.handle(event, &self.tables.memory, time),
                ..Effects::default()
            },
        }
    }

    /// What the packet path says of flows that began.
    pub fn began(&mut self) -> Vec<Wish> {
        let flows = self.tables.memory.v4.events.take();
        let wide = flows.iter().map(|it| it.wide()).collect();
        let daemon = self.daemon.as_ref();
        daemon.map_or(Vec::new(), |it| it.copies.began(wide))
    }

    /// What it has to do with a bucket, in words.
    pub fn says_of(&self, bucket: u8) -> String {
        let daemon = self.daemon.as_ref();
        let custody = daemon.and_then(|it| it.ways.cluster().custody());
        custody.map_or(String::new(), |it| {
            let at = usize::from(bucket);
            let (role, owner) = (it.roles.get(at), it.owners.get(at));
            let to = it.copied_to.get(at);
            let is_handing = it.handing.contains(&bucket);
            let is_switched = it.switched.contains(&bucket);
            format!("of bucket {bucket}, which gw{owner:?} owns, it has {role:?}; copied to {to:?}, handing: {is_handing}, switched: {is_switched}, order {:?}", daemon.map(|it| it.ways.cluster().order(bucket)))
        })
    }

    /// The time, for machines and for tables.
    fn time(&self, now: Duration) -> (Instant, u64) {
        (self.clock.instant(now), self.clock.nanos(now))
    }

    /// Takes a frame through the packet path; says where it goes, and why.
    pub fn process(
        &mut self,
        bytes: Vec<u8>,
        ingress: u32,
        now: Duration,
    ) -> (Exit, usize, Vec<u8>) {
        let nanos = self.clock.nanos(now);
        self.tables.process(bytes, ingress, nanos)
    }

    /// Has the gateway decide, and does what it says.
    fn decide(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let Some(daemon) = &mut self.daemon else {
                return;
            };
            let actions = match daemon.gateway.handle(event) {
                Ok(actions) => actions,
                Err(refusal) => unreachable!("the configuration of a run is refused: {refusal}"),
            };
            let answers = actions.into_iter().filter_map(|it| self.tables.apply(it));
            events.extend(answers);
        }
    }

    /// Tells the packet path what follows.
    fn follow(&mut self, outcome: Outcome) -> Effects {
        let mut effects = Effects::default();
        for (address, bytes) in outcome.sent {
            let member = site::index_of(Ip6::from(address).unmapped());
            effects.control.extend(member.map(|it| (it, bytes)));
        }
        for (address, standing) in outcome.heard {
            let Some(member) = site::index_of(Ip6::from(address).unmapped()) else {
                continue;
            };
            effects.heard.push((member, standing));
        }
        for division in outcome.divisions {
            self.divide(division, &mut effects);
        }
        if outcome.is_decided
            && let Some(daemon) = &mut self.daemon
        {
            let custody = daemon.ways.cluster().custody();
            effects.wishes.extend(daemon.copies.entrust(custody));
        }
        effects
    }

    fn divide(&mut self, division: Division, effects: &mut Effects) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let is_first = !std::mem::replace(&mut daemon.is_told, true);
        let division = match self.planted {
            Some(planted) => planted.spoil(self.index, is_first, division),
            None => Some(division),
        };
        let Some(division) = division else {
            return;
        };
        self.tables.memory.buckets.set(&division);
        let own = division
            .holders
            .iter()
            .filter(|it| usize::from(it.owner) == self.index);
        let owned = own.count();
        if daemon.owned.replace(owned) != Some(owned) {
            effects.owned.push(owned);
        }
    }
}
