//! Two speakers and what is between them, in virtual time: calls that arrive late, bytes in pieces,
//! connections that break or fall silent.

use std::{
    collections::{BTreeMap, VecDeque},
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bgp::{
    Action, Config, ConnectionId, Ends, Event, Family, PeerId, PeerSettings, PeerSnapshot,
    RemoteAs, Restart, Route, Speaker, State, Table,
};

/// The only peer that each side has.
pub const PEER: PeerId = PeerId(7);

/// How long a piece of a stream takes to the other side.
const DELAY: Duration = Duration::from_millis(3);

/// One side's end of a connection.
type End = (usize, ConnectionId);

/// Something on its way.
enum Way {
    Event(usize, Box<Event>),
    /// Bytes for an end; what has been said since matters only if the connection lives.
    Bytes(End, Vec<u8>),
    Gone(End),
}

pub struct Network {
    pub now: Instant,
    speakers: [Speaker; 2],
    /// Whether a side can be called.
    pub listens: [bool; 2],
    /// Nothing arrives while it is so, and nobody is told.
    pub is_silent: bool,
    ends: BTreeMap<End, End>,
    calls: u64,
    ways: VecDeque<(Instant, Way)>,
    /// What changed, by side.
    pub changes: Vec<(usize, State, State, String)>,
    /// All bytes that a side sent, as they were.
    pub sent: [Vec<Vec<u8>>; 2],
    pub piece: usize,
}

pub fn address(side: usize) -> IpAddr {
    Ipv4Addr::new(172, 31, 2, if side == 0 { 11 } else { 1 }).into()
}

pub fn asn(side: usize) -> u32 {
    [65010, 4_200_000_000][side]
}

/// What a side wants that wants nothing special.
pub fn settings() -> PeerSettings {
    PeerSettings {
        remote: RemoteAs::External,
        is_called: true,
        is_range: false,
        hold_time: Duration::from_secs(9),
        connect_retry: Duration::from_secs(5),
        advertisement_interval: Duration::ZERO,
        families: Family::ALL.into(),
        next_hop4: None,
        next_hop6: Some("2001:db8::11".parse().unwrap()),
        prefixes_max: 1000,
        keeps_received: true,
    }
}

pub fn config(side: usize, settings: PeerSettings) -> Config {
    Config {
        asn: asn(side),
        id: Ipv4Addr::new(10, 0, 0, if side == 0 { 1 } else { 2 }),
        restart: Some(Restart {
            time: Duration::from_secs(60),
            keeps_forwarding: true,
        }),
        peers: [(PEER, settings)].into(),
    }
}

/// Prefixes with nothing said of them.
pub fn table(prefixes: &[&str]) -> Table {
    let each = prefixes.iter();
    each.map(|it| (it.parse().unwrap(), Route::default()))
        .collect()
}

impl Network {
    /// Two that know nothing yet.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            speakers: [Speaker::new(seed), Speaker::new(!seed)],
            listens: [true; 2],
            is_silent: false,
            ends: BTreeMap::new(),
            calls: 0,
            ways: VecDeque::new(),
            changes: Vec::new(),
            sent: [Vec::new(), Vec::new()],
            piece: usize::MAX,
        }
    }

    /// Two that call each other.
    pub fn configured(seed: u64) -> Self {
        let mut network = Self::new(seed);
        for side in 0..2 {
            network.configure(side, settings());
        }
        network
    }

    pub fn configure(&mut self, side: usize, settings: PeerSettings) {
        let config = config(side, settings);
        let is_restarting = false;
        self.tell(
            side,
            Event::Configure {
                config,
                is_restarting,
            },
        );
    }

    pub fn announce(&mut self, side: usize, table: Table) {
        self.tell(side, Event::Announce([(PEER, table)].into()));
    }

    /// A side loses its memory, and its kernel closes what it had.
    pub fn restart(&mut self, side: usize, is_restarting: bool, settings: PeerSettings) {
        self.speakers[side] = Speaker::new(self.calls);
        let mine: Vec<End> = self
            .ends
            .keys()
            .filter(|it| it.0 == side)
            .copied()
            .collect();
        for end in mine {
            self.close(end);
        }
        let config = config(side, settings);
        self.tell(
            side,
            Event::Configure {
                config,
                is_restarting,
            },
        );
    }

    /// Something happens to a side.
    pub fn tell(&mut self, side: usize, event: Event) {
        let actions = self.speakers[side].handle(event, self.now);
        for action in actions {
            self.act(side, action);
        }
    }

    fn act(&mut self, side: usize, action: Action) {
        let at = self.now + DELAY;
        match action {
            Action::Connect { connection, peer } => {
                assert_eq!(peer, PEER);
                let other = 1 - side;
                if self.is_silent {
                    return;
                }
                if !self.listens[other] {
                    let kind = ErrorKind::ConnectionRefused;
                    let event = Event::ConnectFailed { connection, kind };
                    self.ways.push_back((at, Way::Event(side, Box::new(event))));
                    return;
                }
                self.calls += 1;
                let accepted = ConnectionId::Accepted(self.calls);
                self.ends.insert((side, connection), (other, accepted));
                self.ends.insert((other, accepted), (side, connection));
                let ends = |side| Ends {
                    local: address(side),
                    other: None,
                    link_local: None,
                };
                let connected = Event::Connected {
                    connection,
                    ends: ends(side),
                };
                let called = Event::Accepted {
                    connection: accepted,
                    peer: PEER,
                    address: address(side),
                    ends: ends(other),
                };
                self.ways
                    .push_back((at, Way::Event(side, Box::new(connected))));
                self.ways
                    .push_back((at, Way::Event(other, Box::new(called))));
            }
            Action::Send { connection, bytes } => {
                self.sent[side].push(bytes.clone());
                let Some(other) = self.ends.get(&(side, connection)).copied() else {
                    return;
                };
                if self.is_silent {
                    return;
                }
                for piece in bytes.chunks(self.piece.max(1)) {
                    self.ways.push_back((at, Way::Bytes(other, piece.to_vec())));
                }
                let taken = Event::Unsent {
                    connection,
                    bytes: 0,
                };
                self.ways.push_back((at, Way::Event(side, Box::new(taken))));
            }
            Action::Close { connection } => self.close((side, connection)),
            Action::Changed { from, to, why, .. } => {
                let why = why.map(|it| it.to_string()).unwrap_or_default();
                self.changes.push((side, from, to, why));
            }
        }
    }

    fn close(&mut self, end: End) {
        if let Some(other) = self.ends.remove(&end)
            && !self.is_silent
        {
            self.ways.push_back((self.now + DELAY, Way::Gone(other)));
        }
    }

    /// The connection breaks: both sides notice.
    pub fn cut(&mut self) {
        let ends: Vec<End> = self.ends.keys().copied().collect();
        self.ends.clear();
        for (side, connection) in ends {
            let kind = Some(ErrorKind::ConnectionReset);
            self.tell(side, Event::Closed { connection, kind });
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let way = self.ways.front().map(|(at, _)| *at);
            let timers = self.speakers.iter().filter_map(Speaker::deadline).min();
            let Some(next) = way.into_iter().chain(timers).min() else {
                break;
            };
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if way.is_some_and(|at| at <= self.now) {
                let (_, way) = self.ways.pop_front().unwrap();
                self.arrive(way);
                continue;
            }
            for side in 0..2 {
                if self.speakers[side]
                    .deadline()
                    .is_some_and(|at| at <= self.now)
                {
                    self.tell(side, Event::Tick);
                    let next = self.speakers[side].deadline();
                    assert!(
                        next.is_none_or(|at| at > self.now),
                        "side {side} wants the same tick again"
                    );
                }
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, way: Way) {
        match way {
            Way::Event(side, event) => self.tell(side, *event),
            Way::Bytes((side, connection), bytes) => {
                if self.ends.contains_key(&(side, connection)) && !self.is_silent {
                    self.tell(side, Event::Received { connection, bytes });
                }
            }
            Way::Gone((side, connection)) => {
                if self.ends.remove(&(side, connection)).is_some() {
                    let kind = None;
                    self.tell(side, Event::Closed { connection, kind });
                }
            }
        }
    }

    /// How a side sees the other.
    pub fn peer(&self, side: usize) -> PeerSnapshot {
        let mut peers = self.speakers[side].snapshot();
        assert_eq!(peers.len(), 1);
        peers.remove(0)
    }

    pub fn states(&self) -> [State; 2] {
        [0, 1].map(|side| self.peer(side).state)
    }

    /// How many connections there are between the two.
    pub fn connections(&self) -> usize {
        self.ends.len() / 2
    }

    /// The prefixes that a side has heard of.
    pub fn heard(&self, side: usize) -> Vec<String> {
        let peer = self.peer(side);
        peer.received
            .iter()
            .map(|it| it.prefix.to_string())
            .collect()
    }

    /// Whether a side keeps what it heard only until the other is back.
    pub fn keeps_stale(&self, side: usize) -> bool {
        let peer = self.peer(side);
        !peer.received.is_empty() && peer.received.iter().all(|it| it.is_stale)
    }
}
