//! What surrounds a speaker: calls, connections, and what peers say and hear. Judges everything that it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bgp::{
    Action, Config, ConnectionId, Ends, Event, Family, Farewell, Notification, PeerId,
    PeerSettings, RemoteAs, Restart, Route, Speaker, State, Table,
    attributes::{Attributes, Sender},
    capability::{Capabilities, GracefulRestart},
    message::{
        self, EXTENDED_MAX, Kind, LENGTH_MAX,
        open::Open,
        refresh::{Read, Refresh, Subtype},
        update::{self, Update, Writing},
    },
};
use ipnet::IpNet;
use proptest::sample::Index;

/// Connections that one peer may have at a time: an established one, and one each that we and it try.
const CONNECTIONS_MAX: usize = 3;
const OURS: u32 = 65010;

/// What a peer says.
#[derive(Clone, Debug)]
pub enum Said {
    Open(u8),
    Keepalive,
    Update(u8),
    Refresh(u8),
    Notification([u8; 2]),
    Framed(u8, Vec<u8>),
    Bytes(Vec<u8>),
}

/// One connection, as its peer sees it.
#[derive(Default)]
struct Wire {
    whose: Option<(PeerId, Option<IpAddr>)>,
    is_closed: bool,
    /// Kinds that were sent on it.
    sent: BTreeSet<Kind>,
    /// What the peer's OPEN says.
    open: Option<Open>,
    is_confirmed: bool,
    knows: BTreeMap<IpNet, Option<u32>>,
    stale: BTreeSet<IpNet>,
}

pub struct World {
    now: Instant,
    speaker: Speaker,
    wires: BTreeMap<ConnectionId, Wire>,
    calling: BTreeMap<ConnectionId, PeerId>,
    accepted: u64,
    settings: BTreeMap<PeerId, PeerSettings>,
    wishes: BTreeMap<PeerId, Table>,
    announcements: u32,
    is_leaving: bool,
}

/// Two that are called and one range.
pub fn peer(id: u8) -> PeerId {
    PeerId(u32::from(id % 3))
}

fn is_range(id: PeerId) -> bool {
    id == PeerId(2)
}

fn net(index: u16) -> IpNet {
    let text = match index {
        0..8 => format!("192.0.2.{index}/32"),
        _ => format!("2001:db8::{index}/128"),
    };
    text.parse().unwrap()
}

/// What the peers' OPENs say: number 0 is one of a peer that can everything.
fn open(variant: u8) -> Open {
    let has = |bit: u8| variant & bit == 0;
    let asn = if variant == 0xff { OURS } else { 65001 };
    let mut families: BTreeSet<Family> = [Family::Ipv4].into();
    if has(1) {
        families.insert(Family::Ipv6);
    }
    let restart = GracefulRestart {
        on_notification: has(32),
        time: 30,
        families: [(Family::Ipv4, true)].into(),
        is_restarting: false,
    };
    Open {
        asn,
        hold_time: if has(64) { 9 } else { 0 },
        id: Ipv4Addr::new(10, 0, 0, if has(128) { 1 } else { 99 }),
        capabilities: Capabilities {
            families,
            refresh: true,
            enhanced_refresh: has(2),
            extended_message: has(4),
            extended_next_hop: has(8),
            four_octet: has(16).then_some(asn),
            restart: Some(restart).filter(|_| has(32)),
        },
    }
}

impl Said {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Open(variant) => message::framed(Kind::Open, &open(*variant).body()),
            Self::Keepalive => message::framed(Kind::Keepalive, &[]),
            Self::Update(number) => {
                let attributes = Attributes {
                    as_path: vec![65001],
                    next_hop: "198.51.100.1".parse().unwrap(),
                    link_local: None,
                    med: None,
                    local_preference: None,
                    communities: Vec::new(),
                    large_communities: Vec::new(),
                };
                let writing = Writing {
                    is_four_octet: true,
                    length_max: LENGTH_MAX,
                };
                let nets = [net(u16::from(number % 8))];
                let family = Family::Ipv4;
                match number & 0x80 {
                    0 => update::announce(family, &attributes, &nets, writing).concat(),
                    _ => update::withdraw(family, &nets, writing).concat(),
                }
            }
            Self::Refresh(number) => {
                let family = Family::ALL[usize::from(number & 1)];
                let subtype = match number >> 6 {
                    0 => Subtype::Begin,
                    1 => Subtype::End,
                    _ => Subtype::Request,
                };
                message::framed(Kind::Refresh, &Refresh { family, subtype }.body())
            }
            Self::Notification([code, subcode]) => message::framed(
                Kind::Notification,
                &Notification {
                    code: *code,
                    subcode: *subcode,
                    data: Vec::new(),
                }
                .body(),
            ),
            Self::Framed(kind, body) => {
                let mut bytes = message::framed(Kind::Update, body);
                bytes[18] = *kind;
                bytes
            }
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            speaker: Speaker::new(seed),
            wires: BTreeMap::new(),
            calling: BTreeMap::new(),
            accepted: 0,
            settings: BTreeMap::new(),
            wishes: BTreeMap::new(),
            announcements: 0,
            is_leaving: false,
        }
    }

    /// Configures the peers whose bits are set.
    pub fn configure(&mut self, peers: u8, how: u8) {
        let settings = |id: u8| PeerSettings {
            remote: RemoteAs::External,
            is_called: how & 1 == 0,
            is_range: is_range(peer(id)),
            hold_time: Duration::from_secs(if how & 2 == 0 { 9 } else { 30 }),
            connect_retry: Duration::from_secs(5),
            advertisement_interval: Duration::from_secs(u64::from(how >> 2 & 1)),
            families: Family::ALL.into(),
            next_hop4: None,
            next_hop6: Some("2001:db8::11".parse().unwrap()),
            prefixes_max: if how & 8 == 0 { 1000 } else { 1 },
            keeps_received: how & 16 == 0,
        };
        let wanted = (0..3).filter(|id| peers & 1 << id != 0);
        self.settings = wanted.map(|id| (peer(id), settings(id))).collect();
        let config = Config {
            asn: OURS,
            id: Ipv4Addr::new(10, 0, 0, if how & 32 == 0 { 11 } else { 12 }),
            restart: (how & 64 == 0).then_some(Restart {
                time: Duration::from_secs(60),
                keeps_forwarding: true,
            }),
            peers: self.settings.clone(),
        };
        let is_restarting = how & 128 != 0;
        self.tell(Event::Configure {
            config,
            is_restarting,
        });
    }

    /// Wishes that peers whose bits are set are told of the prefixes whose bits are set.
    pub fn announce(&mut self, peers: u8, nets: u16) {
        self.announcements += 1;
        let route = Route {
            med: Some(self.announcements),
            ..Route::default()
        };
        let nets = (0..16).filter(|it| nets & 1 << it != 0);
        let table: Table = nets.map(|it| (net(it), route.clone())).collect();
        let wanted = (0..3).filter(|id| peers & 1 << id != 0);
        self.wishes = wanted.map(|id| (peer(id), table.clone())).collect();
        self.tell(Event::Announce(self.wishes.clone()));
    }

    /// A peer calls.
    pub fn accept(&mut self, id: u8, address: u8) -> ConnectionId {
        self.accepted += 1;
        let connection = ConnectionId::Accepted(self.accepted);
        let address = IpAddr::V4(Ipv4Addr::new(10, 1, id % 3, address));
        let peer = peer(id);
        let whose = Some((peer, is_range(peer).then_some(address)));
        let wire = Wire {
            whose,
            ..Wire::default()
        };
        self.wires.insert(connection, wire);
        let ends = ends();
        self.tell(Event::Accepted {
            connection,
            peer,
            address,
            ends,
        });
        connection
    }

    /// A call of the speaker's is answered, or is not.
    pub fn connect(&mut self, call: Index, is_answered: bool) {
        if self.calling.is_empty() {
            return;
        }
        let (connection, peer) = self
            .calling
            .iter()
            .nth(call.index(self.calling.len()))
            .unwrap();
        let (connection, peer) = (*connection, *peer);
        self.calling.remove(&connection);
        if is_answered {
            let wire = Wire {
                whose: Some((peer, None)),
                ..Wire::default()
            };
            self.wires.insert(connection, wire);
            let ends = ends();
            self.tell(Event::Connected { connection, ends });
        } else {
            let kind = ErrorKind::ConnectionRefused;
            self.tell(Event::ConnectFailed { connection, kind });
        }
    }

    /// A peer says something, in pieces.
    pub fn hear(&mut self, connection: ConnectionId, said: &[Said], piece: usize) {
        for said in said {
            let wire = self.wires.get_mut(&connection).unwrap();
            match said {
                Said::Open(variant) if wire.open.is_none() => wire.open = Some(open(*variant)),
                Said::Keepalive if wire.open.is_some() => wire.is_confirmed = true,
                Said::Open(_)
                | Said::Keepalive
                | Said::Update(_)
                | Said::Refresh(_)
                | Said::Notification(_)
                | Said::Framed(..)
                | Said::Bytes(_) => {}
            }
            for bytes in said.bytes().chunks(piece) {
                let bytes = bytes.to_vec();
                self.tell(Event::Received { connection, bytes });
            }
        }
    }

    /// A connection breaks.
    pub fn close(&mut self, connection: ConnectionId) {
        self.wires.get_mut(&connection).unwrap().is_closed = true;
        let kind = None;
        self.tell(Event::Closed { connection, kind });
    }

    /// How many calls wait for an answer.
    pub fn calls(&self) -> usize {
        self.calling.len()
    }

    /// Some connection, also one that is gone.
    pub fn any_wire(&self, index: Index) -> Option<ConnectionId> {
        let count = self.wires.len();
        let nth = (count > 0).then(|| index.index(count))?;
        self.wires.keys().nth(nth).copied()
    }

    pub fn everything_is_taken(&mut self) {
        let all: Vec<ConnectionId> = self.wires.keys().copied().collect();
        for connection in all {
            self.tell(Event::Unsent {
                connection,
                bytes: 0,
            });
        }
    }

    /// Lets time pass; after a tick there is nothing that is due.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.speaker.deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.tell(Event::Tick);
            let next = self.speaker.deadline();
            assert!(next.is_none_or(|at| at > self.now), "the same tick again");
        }
        self.now = until;
    }

    pub fn tell(&mut self, event: Event) {
        if let Event::Farewell(farewell) = &event {
            self.is_leaving = matches!(farewell, Farewell::Stop { .. });
        }
        for action in self.speaker.handle(event, self.now) {
            self.judge(action);
        }
        self.look();
    }

    fn judge(&mut self, action: Action) {
        match action {
            Action::Connect { connection, peer } => {
                let settings = &self.settings[&peer];
                assert!(
                    settings.is_called && !settings.is_range,
                    "{peer:?} is called"
                );
                assert!(!self.is_leaving, "a call by who leaves");
                assert!(self.calling.insert(connection, peer).is_none());
            }
            Action::Send { connection, bytes } => self.sent(connection, &bytes),
            Action::Close { connection } => {
                self.calling.remove(&connection);
                if let Some(wire) = self.wires.get_mut(&connection) {
                    wire.is_closed = true;
                }
            }
            Action::Changed { from, to, .. } => assert_ne!(from, to),
        }
    }

    /// Judges a message and keeps what it says.
    fn sent(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let wire = self.wires.get_mut(&connection).unwrap();
        assert!(!wire.is_closed, "something is sent on what is closed");
        let can = wire.open.as_ref().map(|it| &it.capabilities);
        let length_max = match can.is_some_and(|it| it.extended_message) {
            true => EXTENDED_MAX,
            false => LENGTH_MAX,
        };
        let first = message::first(bytes, length_max).unwrap().unwrap();
        assert_eq!(first.length, bytes.len());
        wire.sent.insert(first.kind);
        assert!(wire.sent.contains(&Kind::Open), "an OPEN is the first");
        match first.kind {
            Kind::Open => assert!(Open::read(first.body).is_ok()),
            Kind::Keepalive => assert!(wire.open.is_some()),
            Kind::Notification => {}
            Kind::Update => {
                wire.is_ready();
                let sender = Sender {
                    is_four_octet: can.is_some_and(|it| it.four_octet.is_some()),
                    is_internal: false,
                    has_extended_next_hop: true,
                };
                let update = Update::read(first.body, sender).unwrap();
                assert_eq!((update.fault, update.discarded.len()), (None, 0));
                for net in update.withdrawn {
                    assert!(wire.knows.remove(&net).is_some(), "{net} was not announced");
                }
                for net in update.announced {
                    wire.stale.remove(&net);
                    wire.knows.insert(net, update.seen.med);
                }
            }
            Kind::Refresh => {
                wire.is_ready();
                let Read::Known(Refresh { family, subtype }) = Refresh::read(first.body) else {
                    panic!("a ROUTE-REFRESH that nobody knows");
                };
                let of = |net: &&IpNet| Family::of_net(net) == family;
                match subtype {
                    Subtype::Request => {}
                    Subtype::Begin => wire.stale.extend(wire.knows.keys().filter(of)),
                    Subtype::End => {
                        let stale = std::mem::take(&mut wire.stale);
                        let (gone, rest) = stale.into_iter().partition(|net| of(&net));
                        wire.stale = rest;
                        let gone: BTreeSet<IpNet> = gone;
                        wire.knows.retain(|net, _| !gone.contains(net));
                    }
                }
            }
        }
    }

    /// Looks at everything that is.
    fn look(&self) {
        let mut open: BTreeMap<_, usize> = BTreeMap::new();
        let mut established: BTreeMap<_, usize> = BTreeMap::new();
        for wire in self.wires.values().filter(|it| !it.is_closed) {
            *open.entry(wire.whose).or_default() += 1;
            *established.entry(wire.whose).or_default() += usize::from(wire.is_established());
        }
        assert!(
            open.values().all(|count| *count <= CONNECTIONS_MAX),
            "{open:?}"
        );
        assert!(
            established.values().all(|count| *count <= 1),
            "{established:?}"
        );
        for peer in self.speaker.snapshot() {
            let is_established = established.get(&Some((peer.id, peer.address))) == Some(&1);
            assert!(!is_established || peer.state == State::Established);
        }
    }

    pub fn is_established(&self, connection: ConnectionId) -> bool {
        let wire = &self.wires[&connection];
        !wire.is_closed && wire.is_established()
    }

    /// What was sent to each, decoded, is what it was wished to know.
    pub fn everybody_knows_what_it_should(&self, least: usize) {
        let wires = self.wires.values();
        let here: Vec<&Wire> = wires
            .filter(|it| !it.is_closed && it.is_established())
            .collect();
        assert!(here.len() >= least, "{} are here", here.len());
        for wire in here {
            let (peer, _) = wire.whose.unwrap();
            let wish = self.wishes.get(&peer).cloned().unwrap_or_default();
            let families = &wire.open.as_ref().unwrap().capabilities.families;
            let wish: BTreeMap<IpNet, Option<u32>> = wish
                .into_iter()
                .filter(|(net, _)| families.contains(&Family::of_net(net)))
                .map(|(net, route)| (net, route.med))
                .collect();
            assert_eq!(wire.knows, wish, "{peer:?}");
        }
    }
}

impl Wire {
    /// Everything that is said in the beginning was said, by both.
    fn is_ready(&self) {
        let is_ready = self.is_confirmed && self.sent.contains(&Kind::Keepalive);
        assert!(is_ready, "before the session is established");
    }

    /// Every session begins by saying where its first announcements end.
    fn is_established(&self) -> bool {
        self.sent.contains(&Kind::Update)
    }
}

fn ends() -> Ends {
    Ends {
        local: Ipv4Addr::new(172, 31, 2, 11).into(),
        other: None,
        link_local: None,
    }
}
