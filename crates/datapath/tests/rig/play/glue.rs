//! What the one means by the words of the other.

use std::{collections::BTreeSet, net::Ipv4Addr};

use abi::{End as Entry, Ip4, Port, Protocol, Reason, Tuple, hash::hash, limits::SLOTS, policy};
use datapath::world::{Route, RouteQuery};
use gateway::sweep::FlowState;

use super::super::{
    Left, Site, Sketch,
    model::{Choices, End, Nat, Packet, Way, What, connection::Stage},
    site::{ARM, INSIDE, OUTSIDE, route},
    sketch::read,
};

/// What the gateway chose for a packet.
pub struct Made<'a> {
    site: &'a Site,
    reason: Reason,
    port: Option<u16>,
}

impl<'a> Made<'a> {
    pub fn new(site: &'a Site, nat: &Nat, packet: &Packet, left: &Left) -> Self {
        let port = match left.is_translated() {
            true => ends(&left.after.bytes).map(|(_, (source, _))| source.port()),
            false if left.reason == Reason::Filtered => new_port(site, nat, packet),
            false => None,
        };
        Self {
            site,
            reason: left.reason,
            port,
        }
    }
}

/// The port that a packet's sender has been given although the packet went nowhere.
fn new_port(site: &Site, nat: &Nat, packet: &Packet) -> Option<u16> {
    let known: BTreeSet<_> = nat.mappings().map(|(external, _)| external).collect();
    let all = site.memory.v4.mappings.all();
    let mut new = all.iter().filter_map(|(key, mapping)| {
        let Some(Entry::Inward { port }) = key.what() else {
            return None;
        };
        let is_its = key.protocol == packet.protocol as u8
            && end(mapping.internal, mapping.port) == packet.source
            && !known.contains(&(packet.protocol, end(key.external, port)));
        is_its.then_some(port.get())
    });
    new.next()
}

impl Choices for Made<'_> {
    fn address(&self, pool: &str, client: Ipv4Addr) -> Ipv4Addr {
        let version = self.site.memory.config.borrow().version;
        let number = self.site.gateway.numbers().pools[pool];
        let pool = self
            .site
            .memory
            .pools
            .get(&policy::pool_index(version, number));
        let pool = pool.expect("pools of rules are written");
        let (high, low) = abi::Address::words(Ip4(client.octets()));
        Ipv4Addr::from(pool.slots[hash(0, high, low) as usize % SLOTS].address.0)
    }

    fn port(&self) -> Option<u16> {
        self.port
    }

    fn reason(&self) -> Reason {
        self.reason
    }
}

pub fn ip4(end: End) -> Ip4 {
    Ip4(end.ip().octets())
}

pub fn end(address: Ip4, port: Port) -> End {
    End::new(address.0.into(), port.get())
}

pub fn both(tuple: Tuple) -> (End, End) {
    (
        end(tuple.source, tuple.source_port),
        end(tuple.target, tuple.target_port),
    )
}

/// Protocol and ends of a frame.
pub fn ends(frame: &[u8]) -> Option<(Protocol, (End, End))> {
    let (protocol, tuple) = read(frame)?;
    Some((protocol, both(tuple)))
}

pub fn sketch(protocol: Protocol, (source, target): (End, End), what: What) -> Sketch {
    let tuple = Tuple {
        source: ip4(source),
        target: ip4(target),
        source_port: Port::new(source.port()),
        target_port: Port::new(target.port()),
    };
    match what {
        What::Reply => Sketch::answer(protocol, tuple),
        What::Datagram | What::Question => Sketch::first(protocol, tuple),
        What::Segment(flags) => Sketch::first(protocol, tuple).flags(flags),
    }
}

/// What a flow is called that has come so far; nothing if it may be called anything.
pub fn state(protocol: Protocol, stage: Stage) -> Option<FlowState> {
    match (protocol, stage) {
        (Protocol::Udp | Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp, _) => {
            Some(FlowState::Active)
        }
        (Protocol::Tcp, Stage::Opening) => Some(FlowState::Opening),
        (Protocol::Tcp, Stage::Open) => Some(FlowState::Established),
        (Protocol::Tcp, Stage::Closing) => Some(FlowState::Closing),
        (Protocol::Tcp, Stage::Unclear) => None,
    }
}

/// The site's routes, as the model asks for them.
pub fn way(target: Ipv4Addr) -> Way {
    let query = RouteQuery {
        ingress: INSIDE,
        tuple: Tuple {
            target: Ip4(target.octets()),
            ..Tuple::default()
        },
        protocol: 0,
    };
    match route(&query) {
        Ok(hop) if [INSIDE, OUTSIDE, ARM].contains(&hop.ifindex) => Way::Sent,
        Ok(_) | Err(Route::Elsewhere | Route::Known) => Way::KernelSends,
        Err(Route::Unresolved) => Way::Unresolved,
        Err(Route::Local) => Way::Local,
        Err(Route::Nowhere) => Way::Nowhere,
    }
}
