//! Two machines and what is between them: packets that are lost, late, or not read in time.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bfd::{
    Action, Datagram, Diagnostic, Event, Hops, Key, Packet, Sessions, Settings, State, Status,
};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

pub fn address(side: usize) -> IpAddr {
    Ipv4Addr::new(172, 31, 2, if side == 0 { 11 } else { 1 }).into()
}

/// How a side calls its only session.
pub fn key(side: usize) -> Key {
    Key {
        peer: address(1 - side),
        local: None,
        interface: None,
        hops: Hops::Single,
    }
}

pub fn settings(interval: Duration, multiplier: u8) -> Settings {
    Settings {
        transmit: interval,
        receive: interval,
        multiplier,
        is_passive: false,
        lowest_ttl: 255,
        authentication: None,
        is_admin_down: false,
        is_reset: false,
        is_cut_behind: false,
    }
}

/// A packet on its way or in a socket.
#[derive(Clone)]
struct Flying {
    to: usize,
    bytes: Vec<u8>,
    arrives: Instant,
    ttl: u8,
}

pub struct Network {
    pub now: Instant,
    pub sessions: [Sessions; 2],
    flying: Vec<Flying>,
    /// What arrived at a side that does not read.
    sockets: [VecDeque<Flying>; 2],
    /// Of a hundred packets, how many are lost.
    pub loss: u64,
    pub delay: Duration,
    /// Whether a side's packets leave it.
    pub is_cut: [bool; 2],
    /// A side that does nothing until then, and then reads before it ticks.
    pub busy_until: [Option<Instant>; 2],
    pub ttl: u8,
    random: u64,
    pub changes: Vec<(usize, State, State, Diagnostic, Duration)>,
    /// By which side it was heard that what lies behind the other one is not there, or is.
    pub behind: Vec<(usize, bool, Duration)>,
    pub sent: [Vec<(Instant, Packet)>; 2],
    begin: Instant,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            sessions: [Sessions::new(seed), Sessions::new(!seed)],
            flying: Vec::new(),
            sockets: Default::default(),
            loss: 0,
            delay: Duration::from_micros(100),
            is_cut: [false; 2],
            busy_until: [None; 2],
            ttl: 255,
            random: seed,
            changes: Vec::new(),
            behind: Vec::new(),
            sent: Default::default(),
            begin: now,
        }
    }

    pub fn configured(seed: u64, each: [Settings; 2]) -> Self {
        let mut network = Self::new(seed);
        for (side, settings) in each.into_iter().enumerate() {
            network.configure(side, Some(settings));
        }
        network
    }

    pub fn configure(&mut self, side: usize, settings: Option<Settings>) {
        let wanted: BTreeMap<Key, Settings> =
            settings.into_iter().map(|it| (key(side), it)).collect();
        self.tell(side, Event::Configure(wanted));
    }

    /// A side begins anew and knows nothing.
    pub fn restart(&mut self, side: usize, settings: Settings) {
        let seed = self.random();
        self.sessions[side] = Sessions::new(seed);
        self.configure(side, Some(settings));
    }

    fn tell(&mut self, side: usize, event: Event<'_>) {
        let actions = self.sessions[side].handle(event, self.now);
        for action in actions {
            match action {
                Action::Send { packet, .. } => self.send(side, packet.bytes()),
                Action::Changed {
                    from,
                    to,
                    diagnostic,
                    ..
                } => {
                    let at = self.now - self.begin;
                    self.changes.push((side, from, to, diagnostic, at));
                }
                Action::Behind { is_cut, .. } => {
                    self.behind.push((side, is_cut, self.now - self.begin));
                }
            }
        }
    }

    fn send(&mut self, side: usize, bytes: &[u8]) {
        let (packet, _) = Packet::read(bytes).unwrap();
        self.sent[side].push((self.now, packet));
        let is_lost = self.random() % 100 < self.loss;
        if !is_lost && !self.is_cut[side] {
            self.flying.push(Flying {
                to: 1 - side,
                bytes: bytes.to_vec(),
                arrives: self.now + self.delay,
                ttl: self.ttl,
            });
        }
    }

    /// Has a side take bytes that nobody sent.
    pub fn inject(&mut self, to: usize, bytes: Vec<u8>) {
        self.read(&Flying {
            to,
            bytes,
            arrives: self.now,
            ttl: 255,
        });
    }

    fn read(&mut self, flying: &Flying) {
        let Flying {
            to,
            bytes,
            arrives,
            ttl,
        } = flying;
        let datagram = Datagram {
            bytes,
            from: address(1 - to),
            to: address(*to),
            interface: 2,
            ttl: *ttl,
            hops: Hops::Single,
            arrived: *arrives,
        };
        self.tell(*to, Event::Received(datagram));
    }

    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let arrives = self.flying.iter().map(|it| it.arrives).min();
            let is_busy = |side: usize| self.busy_until[side].is_some_and(|at| at > self.now);
            let timers = (0..2).filter_map(|side| {
                let due = self.sessions[side].deadline();
                let busy = self.busy_until[side].filter(|at| *at > self.now);
                match (due, busy) {
                    (Some(due), Some(busy)) => Some(due.max(busy)),
                    (None, Some(busy)) => Some(busy),
                    (due, None) => due,
                }
            });
            let Some(next) = arrives.into_iter().chain(timers).min() else {
                break;
            };
            if next > until {
                break;
            }
            let _ = is_busy;
            self.now = self.now.max(next);
            let (arrived, flying) = std::mem::take(&mut self.flying)
                .into_iter()
                .partition(|it: &Flying| it.arrives <= self.now);
            self.flying = flying;
            for flying in arrived {
                let to = flying.to;
                self.sockets[to].push_back(flying);
            }
            for side in 0..2 {
                if self.busy_until[side].is_some_and(|at| at > self.now) {
                    continue;
                }
                self.busy_until[side] = None;
                while let Some(flying) = self.sockets[side].pop_front() {
                    self.read(&flying);
                }
                if self.sessions[side]
                    .deadline()
                    .is_some_and(|at| at <= self.now)
                {
                    self.tell(side, Event::Tick);
                }
            }
        }
        self.now = until;
    }

    pub fn status(&self, side: usize) -> Status {
        let each = self.sessions[side].snapshot();
        assert_eq!(each.len(), 1);
        each[0].1.clone()
    }

    pub fn states(&self) -> [State; 2] {
        [0, 1].map(|side| self.status(side).state)
    }

    /// Times that packets of a side are apart, those behind polls left out.
    pub fn gaps(&self, side: usize, since: Instant) -> Vec<Duration> {
        let sent = self.sent[side].iter();
        let own: Vec<Instant> = sent
            .filter(|(at, packet)| *at >= since && !packet.is_final)
            .map(|(at, _)| *at)
            .collect();
        own.windows(2).map(|it| it[1] - it[0]).collect()
    }

    pub fn random(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.random >> 33
    }
}
