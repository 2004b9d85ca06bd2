//! What routers are told, as one machine over the BGP speaker: which addresses are announced to whom, that
//! nothing is while packets cannot be served, and how a gateway goes.
//!
//! ```text
//! Intent, whether the packet path is ready ─► announcements ─┐
//! drain: ebbing, withdrawing, drained ───────────────────────┼─► bgp::Speaker ─► bgp::Action
//! a way that BFD lost ───────────────────────────────────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bgp::{
    Config, Farewell, PeerId, PeerSettings, PeerSnapshot, Restart, Route, Speaker, State, Table,
};
use ipnet::IpNet;

use crate::intent::{
    Intent,
    routing::{Announcement, Bgp, Peer, Place, RemoteAs},
};

pub mod drain;
pub mod watched;

use drain::{Drain, Phase};

/// What peers' operators read when a gateway goes.
const GOODBYE: &str = "egret: the gateway was drained and stops";

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// This is wanted; `router_id` stands in for one that was not written.
    Configure {
        /// What.
        intent: Box<Intent>,
        /// The first IPv4 address of the interfaces.
        router_id: Option<Ipv4Addr>,
        /// Whether the packet path was taken over from a daemon before this one.
        is_restarting: bool,
    },
    /// Whether packets to what is announced can be served.
    Serving(bool),
    /// Something of BGP.
    Bgp(bgp::Event),
    /// BFD says that the way to a peer is gone.
    PathDown(PeerId),
    /// The gateway is to go.
    Drain,
    /// It is to stay.
    Undrain,
    /// It goes now, whatever comes.
    Stop,
    /// The daemon ends, and another one takes over.
    Restart,
    /// The deadline has come; so many packets were translated until now.
    Tick {
        /// Both directions together.
        packets: u64,
    },
}

/// What routers are told.
#[derive(Clone, Debug)]
pub struct Routing {
    speaker: Speaker,
    intent: Option<Box<Intent>>,
    config: Option<Config>,
    /// Numbers of peers, by name; a name keeps its number.
    numbers: BTreeMap<String, PeerId>,
    is_serving: bool,
    drain: Drain,
    is_over: bool,
}

impl Routing {
    /// Nobody is told anything; `seed` is for jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            speaker: Speaker::new(seed),
            intent: None,
            config: None,
            numbers: BTreeMap::new(),
            is_serving: false,
            drain: Drain::default(),
            is_over: false,
        }
    }

    /// Takes in what happened and says what must be done.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<bgp::Action> {
        let mut actions = Vec::new();
        match event {
            Event::Configure {
                intent,
                router_id,
                is_restarting,
            } => {
                self.intent = Some(intent);
                self.configure(router_id, is_restarting, now, &mut actions);
                self.announce(now, &mut actions);
            }
            Event::Serving(is_serving) => {
                if self.is_serving != is_serving {
                    self.is_serving = is_serving;
                    self.announce(now, &mut actions);
                }
            }
            Event::Bgp(event) => actions = self.speaker.handle(event, now),
            Event::PathDown(peer) => {
                actions = self.speaker.handle(bgp::Event::PathDown(peer), now);
            }
            Event::Drain => {
                let mut peers = self.speaker.snapshot().into_iter();
                match peers.any(|it| it.state == State::Established) {
                    true => self.drain.begin(self.patience(), now),
                    false => self.drain.begin_unheard(now),
                }
                self.farewell(now, &mut actions);
            }
            Event::Undrain => {
                self.drain.end();
                self.farewell(now, &mut actions);
                self.announce(now, &mut actions);
            }
            Event::Stop => {
                self.is_over = true;
                self.farewell(now, &mut actions);
            }
            Event::Restart => actions = self.speaker.handle(bgp::Event::Restart, now),
            Event::Tick { packets } => {
                if self.drain.look(packets, now) {
                    self.announce(now, &mut actions);
                }
                actions.extend(self.speaker.handle(bgp::Event::Tick, now));
            }
        }
        actions
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let speaker = self.speaker.deadline().into_iter();
        speaker.chain(self.drain.deadline()).min()
    }

    /// Where the drain stands.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Whether packets to what is announced can be served.
    pub fn is_serving(&self) -> bool {
        self.is_serving
    }

    /// What peers are told of us, if there is anything to tell.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// How it stands with each peer.
    pub fn snapshot(&self) -> Vec<PeerSnapshot> {
        self.speaker.snapshot()
    }

    /// The peers that are wanted, with their numbers.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        let peers = self.bgp().into_iter().flat_map(|bgp| &bgp.peers);
        peers.filter_map(|peer| Some((*self.numbers.get(&peer.name)?, peer)))
    }

    /// A peer by its number.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers().find(|(other, _)| *other == id).map(|it| it.1)
    }

    /// The peer that somebody is who calls from an address and comes by an interface.
    pub fn caller(&self, address: IpAddr, interface: Option<&str>) -> Option<PeerId> {
        let is_at = |place: &Place| match place {
            Place::Address(other) => *other == address,
            Place::Interface(name) => Some(name.as_str()) == interface && is_link_local(address),
            Place::Range(_) => false,
        };
        let in_range = |place: &Place| matches!(place, Place::Range(net) if net.contains(&address));
        let mut exact = self.peers().filter(|(_, peer)| is_at(&peer.place));
        let mut ranges = self.peers().filter(|(_, peer)| in_range(&peer.place));
        exact.next().or_else(|| ranges.next()).map(|(id, _)| id)
    }

    fn bgp(&self) -> Option<&Bgp> {
        self.intent.as_ref()?.bgp.as_ref()
    }

    fn patience(&self) -> Duration {
        self.bgp().map_or(Duration::ZERO, |bgp| bgp.drain)
    }

    fn configure(
        &mut self,
        router_id: Option<Ipv4Addr>,
        is_restarting: bool,
        now: Instant,
        actions: &mut Vec<bgp::Action>,
    ) {
        let Some(bgp) = self.intent.as_ref().and_then(|it| it.bgp.clone()) else {
            if let Some(mut config) = self.config.take() {
                config.peers.clear();
                self.tell(config, false, now, actions);
            }
            return;
        };
        for peer in &bgp.peers {
            if !self.numbers.contains_key(&peer.name) {
                let taken: BTreeSet<PeerId> = self.numbers.values().copied().collect();
                let mut free = (0..).map(PeerId).filter(|id| !taken.contains(id));
                self.numbers
                    .extend(free.next().map(|id| (peer.name.clone(), id)));
            }
        }
        let wanted: BTreeSet<&str> = bgp.peers.iter().map(|peer| peer.name.as_str()).collect();
        self.numbers
            .retain(|name, _| wanted.contains(name.as_str()));
        let Some(id) = bgp.router_id.or(router_id) else {
            return;
        };
        let peers = bgp.peers.iter();
        let config = Config {
            asn: bgp.asn,
            id,
            restart: bgp.graceful_restart.map(|time| Restart {
                time,
                keeps_forwarding: true,
            }),
            peers: peers
                .filter_map(|peer| Some((*self.numbers.get(&peer.name)?, settings(peer))))
                .collect(),
        };
        self.config = Some(config.clone());
        self.tell(config, is_restarting, now, actions);
    }

    fn tell(
        &mut self,
        config: Config,
        is_restarting: bool,
        now: Instant,
        actions: &mut Vec<bgp::Action>,
    ) {
        let event = bgp::Event::Configure {
            config,
            is_restarting,
        };
        actions.extend(self.speaker.handle(event, now));
    }

    fn farewell(&mut self, now: Instant, actions: &mut Vec<bgp::Action>) {
        let farewell = match (self.is_over, self.drain.phase()) {
            (true, _) => Farewell::Stop {
                words: GOODBYE.to_owned(),
            },
            (false, Phase::Serving) => Farewell::None,
            (false, Phase::Ebbing | Phase::Withdrawing | Phase::Drained) => Farewell::Graceful,
        };
        actions.extend(self.speaker.handle(bgp::Event::Farewell(farewell), now));
    }

    fn announce(&mut self, now: Instant, actions: &mut Vec<bgp::Action>) {
        let is_told = match self.drain.phase() {
            Phase::Serving | Phase::Ebbing => self.is_serving,
            Phase::Withdrawing | Phase::Drained => false,
        };
        let tables = match (&self.intent, is_told) {
            (Some(intent), true) => self
                .peers()
                .map(|(id, peer)| (id, told(intent, peer)))
                .collect(),
            (Some(_) | None, _) => BTreeMap::new(),
        };
        actions.extend(self.speaker.handle(bgp::Event::Announce(tables), now));
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What is wanted of the session with a peer.
fn settings(peer: &Peer) -> PeerSettings {
    let is_range = matches!(peer.place, Place::Range(_));
    let families = [
        (bgp::Family::Ipv4, peer.families.ipv4),
        (bgp::Family::Ipv6, peer.families.ipv6),
    ];
    PeerSettings {
        remote: match peer.remote {
            RemoteAs::Number(number) => bgp::RemoteAs::Number(number),
            RemoteAs::Internal => bgp::RemoteAs::Internal,
            RemoteAs::External => bgp::RemoteAs::External,
        },
        is_called: !peer.is_passive && !is_range,
        is_range,
        hold_time: peer.hold_time,
        connect_retry: peer.connect_retry,
        advertisement_interval: peer.advertisement_interval,
        families: families
            .into_iter()
            .filter(|(_, is_wanted)| *is_wanted)
            .map(|(family, _)| family)
            .collect(),
        next_hop4: peer.next_hop4,
        next_hop6: peer.next_hop6,
        prefixes_max: peer.prefixes_max,
        keeps_received: peer.keeps_received,
    }
}

/// What a peer is told; where two announcements name a prefix, the first decides.
pub fn told(intent: &Intent, peer: &Peer) -> Table {
    let mut table = Table::new();
    for announcement in &peer.announce {
        let route = Route {
            communities: announcement.communities.clone(),
            large_communities: announcement.large_communities.clone(),
            med: announcement.med,
            local_preference: announcement.local_preference,
            prepend: announcement.prepend,
        };
        for prefix in prefixes(intent, announcement) {
            table.entry(prefix).or_insert_with(|| route.clone());
        }
    }
    table
}

/// The prefixes of an announcement.
fn prefixes(intent: &Intent, announcement: &Announcement) -> Vec<IpNet> {
    let pools = intent.pools.iter();
    let pools = pools.filter(|pool| announcement.pools.contains(&pool.name));
    let hosts: Vec<IpNet> = pools
        .flat_map(|pool| &pool.addresses)
        .map(|address| IpNet::from(*address))
        .collect();
    let fixed = intent.fixed.iter();
    let fixed = fixed.filter(|it| announcement.prefixes.contains(&it.name));
    let mut prefixes = match announcement.by_host {
        true => hosts,
        false => IpNet::aggregate(&hosts),
    };
    prefixes.extend(fixed.map(|it| it.external));
    prefixes.extend(&announcement.networks);
    prefixes
}

#[cfg(test)]
mod tests;
