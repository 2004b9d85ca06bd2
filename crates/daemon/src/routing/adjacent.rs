//! Peers of which only the interface is known: this gateway says behind it that it is there, and hears who
//! else is (RFC 4861), as routers do that speak BGP without configured addresses.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddrV6},
    time::{Duration, Instant},
};

use gateway::{
    intent::routing::{Bgp, Place},
    routing::watched::Neighbours,
};
use kernel::{netlink::Link, routers};
use tokio::{io::Interest, net::UdpSocket};

/// How far apart advertisements are: as routers have it who look for such peers.
const PERIOD: Duration = Duration::from_secs(10);
/// How far apart the first ones are, so that a session need not wait (RFC 4861 §6.2.4).
const HURRY: Duration = Duration::from_secs(1);
/// How many of those there are.
const HURRIED: u32 = 5;
/// Advertisements that are read before something else has its turn.
const READ_AT_ONCE: usize = 64;

/// The interfaces, and who is behind them.
#[derive(Default)]
pub(super) struct Adjacent {
    socket: Option<UdpSocket>,
    interfaces: BTreeMap<String, u32>,
    heard: BTreeMap<u32, Ipv6Addr>,
    next: Option<Instant>,
    said: u32,
}

impl Adjacent {
    /// These peers are wanted, and these interfaces are there. Returns what an operator should know.
    pub fn configure(&mut self, bgp: Option<&Bgp>, links: &[Link]) -> Option<String> {
        let peers = bgp.into_iter().flat_map(|bgp| &bgp.peers);
        let wanted = peers.filter_map(|peer| match &peer.place {
            Place::Interface(name) => links.iter().find(|it| it.name == *name),
            Place::Address(_) | Place::Range(_) => None,
        });
        let interfaces = wanted.map(|link| (link.name.clone(), link.ifindex));
        let interfaces: BTreeMap<_, _> = interfaces.collect();
        if interfaces != self.interfaces {
            let is_there = |index: &u32| interfaces.values().any(|it| it == index);
            self.heard.retain(|index, _| is_there(index));
            self.interfaces = interfaces;
            (self.next, self.said) = (Some(Instant::now()), 0);
        }
        if self.interfaces.is_empty() {
            (self.socket, self.next) = (None, None);
            return None;
        }
        if self.socket.is_none() {
            match routers::open().and_then(UdpSocket::from_std) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    return Some(format!(
                        "peers behind interfaces cannot be looked for, and must call: {error}"
                    ));
                }
            }
        }
        None
    }

    /// Where the router behind an interface is, if it was heard.
    pub fn address(&self, interface: &str, port: u16) -> Option<SocketAddrV6> {
        let index = self.interfaces.get(interface)?;
        let address = self.heard.get(index)?;
        Some(SocketAddrV6::new(*address, port, 0, *index))
    }

    /// Somebody behind an interface called; that is who is there, if nobody was heard.
    pub fn called(&mut self, from: SocketAddrV6) {
        if self.interface(from.scope_id()).is_some() && from.ip().is_unicast_link_local() {
            self.heard.entry(from.scope_id()).or_insert(*from.ip());
        }
    }

    /// Who is behind each interface, if somebody was heard there or called.
    pub fn neighbours(&self) -> Neighbours {
        let each = self.interfaces.iter();
        each.filter_map(|(name, index)| Some((name.clone(), *self.heard.get(index)?)))
            .collect()
    }

    /// The interface with this index, if peers are wanted behind it.
    pub fn interface(&self, index: u32) -> Option<&str> {
        let mut all = self.interfaces.iter();
        all.find(|(_, it)| **it == index).map(|it| it.0.as_str())
    }

    /// When [`Adjacent::advertise`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.socket.as_ref().and(self.next)
    }

    /// Says behind each interface that this gateway is there.
    pub fn advertise(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        for (name, index) in &self.interfaces {
            if let Err(error) = routers::advertise(socket, *index) {
                tracing::debug!(interface = name, %error, "no router advertisement could be sent");
            }
        }
        self.said = self.said.saturating_add(1);
        let pause = if self.said < HURRIED { HURRY } else { PERIOD };
        self.next = Some(Instant::now() + pause);
    }

    /// Waits until somebody may have said that it is there, or for ever.
    pub async fn readable(&self) {
        match &self.socket {
            Some(socket) => drop(socket.readable().await),
            None => std::future::pending().await,
        }
    }

    /// Takes in who said that it is there; returns the interfaces behind which that is somebody else than before.
    pub fn hear(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        let Some(socket) = &self.socket else {
            return news;
        };
        for _ in 0..READ_AT_ONCE {
            let read = || routers::hear(socket)?.ok_or_else(|| ErrorKind::WouldBlock.into());
            let Ok(heard) = socket.try_io(Interest::READABLE, read) else {
                break;
            };
            let name = self.interface(heard.interface).map(str::to_owned);
            if let Some(name) = name
                && self.heard.insert(heard.interface, heard.address) != Some(heard.address)
            {
                tracing::info!(interface = name, address = %heard.address, "a router is there");
                news.push(name);
            }
        }
        news
    }
}
