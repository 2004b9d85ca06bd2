//! How a gateway watches the others: what the daemon's thread for BFD does with sockets, done with the network
//! of the simulator. The machines are the real ones; what stands between them is said here again.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use abi::{Buckets, cluster::Division};
use bfd::{Action, Datagram, Diagnostic, Event, Hops, Key, Sessions, Settings, State, Status};
use gateway::{
    cluster::{self, Cluster, Standing},
    intent::Intent,
};

use crate::site;

/// How often members that leave are looked after.
const LOOK: Duration = Duration::from_secs(1);
/// After so much silence one that leaves is taken to have stopped its daemon.
const SILENCE: Duration = Duration::from_secs(4);
/// Control packets set out with this time to live (RFC 5881 §5).
const TTL: u8 = 255;

/// What comes of something.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Control packets, and to whom.
    pub sent: Vec<(IpAddr, Vec<u8>)>,
    /// What the packet path is to know, the last one last.
    pub divisions: Vec<Division>,
    /// Members of which it is now known otherwise how they stand.
    pub heard: Vec<(IpAddr, Standing)>,
    /// Whether the machine was told something that decides who holds what.
    pub is_decided: bool,
}

/// The sessions of one gateway, and what follows from them.
pub struct Ways {
    me: usize,
    cluster: Cluster,
    sessions: Sessions,
    settings: Settings,
    peers: Vec<IpAddr>,
    is_leaving: bool,
    /// Whether it is to say that it knows who holds what, which it said not to know.
    is_starting: bool,
    /// Whether nothing is left here that others need to ask for.
    is_gone: bool,
    /// Members that leave: how many packets had come from each when that was last looked at, and since when
    /// there have not been more.
    leaving: BTreeMap<Key, (u64, Instant)>,
    looks_at: Option<Instant>,
}

impl Ways {
    /// Those of a daemon that has just started, with control packets so far apart.
    pub fn new(me: usize, seed: u64, interval: Duration) -> Self {
        Self {
            me,
            cluster: Cluster::default(),
            sessions: Sessions::new(seed),
            settings: Settings {
                transmit: interval,
                receive: interval,
                multiplier: 3,
                is_passive: false,
                lowest_ttl: TTL,
                authentication: None,
                is_admin_down: false,
                is_reset: false,
                is_cut_behind: false,
            },
            peers: Vec::new(),
            is_leaving: false,
            is_starting: true,
            is_gone: false,
            leaving: BTreeMap::new(),
            looks_at: None,
        }
    }

    /// Whether it is known who holds what.
    pub fn is_settled(&self) -> bool {
        self.cluster.is_settled()
    }

    /// The cluster, as this member sees it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What a daemon before this one left in the packet path.
    pub fn find(&mut self, buckets: &Buckets, members: BTreeMap<u8, IpAddr>, now: Instant) {
        let holders = std::array::from_fn(|bucket| buckets.holder(bucket as u8));
        let found = cluster::Event::Found {
            holders: Box::new(holders),
            members,
            unknown: std::array::from_fn(|word| buckets.unknown[word].get()),
        };
        // What a daemon before this one knew is good until something else is known.
        self.is_starting = false;
        self.cluster.handle(found, now);
    }

    /// This configuration is in force. It does not say whether flows are copied: `are_copied` does.
    pub fn configure(&mut self, intent: &Intent, are_copied: bool, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let (members, me) = match &intent.cluster {
            Some(cluster) => (cluster.members.clone(), cluster.me),
            None => (Vec::new(), 0),
        };
        let others = intent.cluster.iter().flat_map(|it| it.others());
        self.peers = others.map(|it| it.address).collect();
        self.decide(cluster::Event::Configure { members, me }, now, &mut outcome);
        self.decide(cluster::Event::Copies(are_copied), now, &mut outcome);
        self.watch(now, &mut outcome);
        outcome
    }

    /// Things happened that the machine must know which decides who holds what.
    pub fn tell(&mut self, events: Vec<cluster::Event>, now: Instant) -> Outcome {
        let mut outcome = Outcome {
            is_decided: true,
            divisions: self.cluster.handle_all(events, now).into_iter().collect(),
            ..Outcome::default()
        };
        self.say_if_settled(now, &mut outcome);
        outcome
    }

    /// Others hand nothing to one that does not know yet who holds what, and are told when it does.
    fn say_if_settled(&mut self, now: Instant, outcome: &mut Outcome) {
        if self.is_starting && self.cluster.is_settled() && !self.peers.is_empty() {
            self.is_starting = false;
            self.watch(now, outcome);
        }
    }

    /// This gateway is to take no new flows, or is to take them again.
    pub fn leave_or_stay(&mut self, is_leaving: bool, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if self.is_leaving == is_leaving {
            return outcome;
        }
        self.is_leaving = is_leaving;
        let event = match is_leaving {
            true => cluster::Event::Leave,
            false => cluster::Event::Stay,
        };
        self.decide(event, now, &mut outcome);
        self.watch(now, &mut outcome);
        self.tick_sessions(now, &mut outcome);
        outcome
    }

    /// The daemon ends. Its packet path goes on with flows that there are, or there are none.
    pub fn end(&mut self, is_empty: bool, now: Instant) -> Outcome {
        let mut outcome = self.leave_or_stay(true, now);
        if is_empty {
            self.is_gone = true;
            self.watch(now, &mut outcome);
        }
        self.tick_sessions(now, &mut outcome);
        outcome
    }

    /// A control packet came from another member.
    pub fn receive(&mut self, from: IpAddr, bytes: &[u8], now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let datagram = Datagram {
            bytes,
            from,
            to: site::member(self.me),
            interface: site::INSIDE,
            ttl: TTL,
            hops: Hops::Single,
            arrived: now,
        };
        let actions = self.sessions.handle(Event::Received(datagram), now);
        self.act(actions, now, &mut outcome);
        outcome
    }

    /// When [`Ways::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.sessions.deadline(),
            self.cluster.deadline(),
            self.looks_at,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The deadline has come, and what had come before was read.
    pub fn tick(&mut self, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if self.sessions.deadline().is_some_and(|at| at <= now) {
            self.tick_sessions(now, &mut outcome);
        }
        if self.looks_at.is_some_and(|at| at <= now) {
            self.look_after_leaving(now, &mut outcome);
        }
        if self.cluster.deadline().is_some_and(|at| at <= now) {
            self.decide(cluster::Event::Tick, now, &mut outcome);
        }
        outcome
    }

    fn tick_sessions(&mut self, now: Instant, outcome: &mut Outcome) {
        let actions = self.sessions.handle(Event::Tick, now);
        self.act(actions, now, outcome);
    }

    fn watch(&mut self, now: Instant, outcome: &mut Outcome) {
        let settings = Settings {
            is_admin_down: self.is_leaving && !self.is_gone,
            is_reset: self.is_gone,
            is_cut_behind: self.is_starting,
            ..self.settings.clone()
        };
        let wanted = self.peers.iter().map(|peer| {
            let key = Key {
                peer: *peer,
                local: Some(site::member(self.me)),
                interface: None,
                hops: Hops::Single,
            };
            (key, settings.clone())
        });
        let event = Event::Configure(wanted.collect());
        let actions = self.sessions.handle(event, now);
        self.act(actions, now, outcome);
    }

    fn look_after_leaving(&mut self, now: Instant, outcome: &mut Outcome) {
        let snapshot: BTreeMap<Key, Status> = self.sessions.snapshot().into_iter().collect();
        let mut silent = Vec::new();
        self.leaving.retain(|key, (received, since)| {
            let found = snapshot.get(key).map_or(0, |it| it.received);
            if found != *received {
                (*received, *since) = (found, now);
            }
            let is_silent = now.duration_since(*since) >= SILENCE;
            if is_silent {
                silent.push(key.peer);
            }
            !is_silent
        });
        self.looks_at = (!self.leaving.is_empty()).then(|| now + LOOK);
        for peer in silent {
            self.hear(peer, Standing::Down, now, outcome);
        }
    }

    fn hear(&mut self, peer: IpAddr, standing: Standing, now: Instant, outcome: &mut Outcome) {
        outcome.heard.push((peer, standing));
        self.decide(cluster::Event::Heard(peer, standing), now, outcome);
    }

    fn decide(&mut self, event: cluster::Event, now: Instant, outcome: &mut Outcome) {
        outcome.is_decided = true;
        outcome.divisions.extend(self.cluster.handle(event, now));
        self.say_if_settled(now, outcome);
    }

    fn act(&mut self, actions: Vec<Action>, now: Instant, outcome: &mut Outcome) {
        for action in actions {
            match action {
                Action::Send { key, packet } => {
                    outcome.sent.push((key.peer, packet.bytes().to_vec()));
                }
                Action::Changed {
                    key,
                    from,
                    to,
                    remote_state,
                    remote_diagnostic,
                    ..
                } => {
                    // A session that this side has ended says nothing of the other one.
                    let is_reset = remote_diagnostic == Diagnostic::FORWARDING_PLANE_RESET;
                    let is_leaving = self.cluster.is_leaving(key.peer);
                    let is_cut = remote_diagnostic == Diagnostic::CONCATENATED_PATH_DOWN;
                    let standing = match (to, remote_state) {
                        (State::Init | State::Up, _) if is_reset => Some(Standing::Gone),
                        (State::Up, _) if is_cut => Some(Standing::Starting),
                        (State::Up, _) => Some(Standing::Up),
                        (State::Down, State::AdminDown) => Some(Standing::Leaving),
                        (State::Down, _) if from == State::Up => Some(Standing::Down),
                        // One that left and whose daemon came back has fallen silent: nothing is replaced there.
                        (State::Down, _) if from == State::Init && is_leaving => {
                            Some(Standing::Gone)
                        }
                        (State::Down | State::Init | State::AdminDown, _) => None,
                    };
                    let Some(standing) = standing else {
                        continue;
                    };
                    self.leaving.remove(&key);
                    if standing == Standing::Leaving {
                        self.leaving.insert(key, (0, now));
                        self.looks_at = self.looks_at.or(Some(now + LOOK));
                    }
                    self.hear(key.peer, standing, now, outcome);
                }
                Action::Behind { key, is_cut } => {
                    let standing = match is_cut {
                        true => Standing::Starting,
                        false => Standing::Up,
                    };
                    self.hear(key.peer, standing, now, outcome);
                }
            }
        }
    }
}
