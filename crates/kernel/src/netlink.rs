//! Interfaces and their addresses, and word of every change that may alter a route.
//!
//! The types of the netlink crates stay inside this file.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enums are open: the kernel adds messages and attributes that do not concern us"
)]

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, RawFd},
};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::{
    Handle, MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressFlags, AddressMessage},
        link::{LinkAttribute, LinkFlags},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    },
    proto::sys::{AsyncSocket, SocketAddr},
};

/// Bytes of notifications the kernel keeps for us: a burst of some 50,000 routes.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Neighbours whose address is remembered, so that a refresh that changes nothing is told from a
/// change. Beyond it every notification counts as a change.
const NEIGHBOURS_MAX: usize = 1 << 16;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Its IPv4 addresses, primary first.
    pub addresses: Vec<Ipv4Addr>,
    /// Its IPv6 addresses that packets from beyond the link may be answered from, the best first.
    pub addresses6: Vec<Ipv6Addr>,
}

/// What a notification was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Routes or neighbours: next hops may differ.
    Routes,
    /// Interfaces or their addresses: also what we are attached to may differ.
    Links,
    /// Notifications were lost: anything may differ.
    Lost,
}

/// Why the kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// The kernel said no.
    #[error("cannot list {what}")]
    List {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: rtnetlink::Error,
    },
}

/// A connection for questions. Must be made inside a tokio runtime.
#[derive(Clone)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the connection.
    ///
    /// # Errors
    ///
    /// If the kernel gives no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Socket)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All interfaces of this network namespace, by index.
    ///
    /// # Errors
    ///
    /// If the kernel does not answer.
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let mut links = Vec::new();
        let mut messages = self.handle.link().get().execute();
        let failed = |source| NetlinkError::List {
            what: "interfaces",
            source,
        };
        while let Some(message) = messages.try_next().await.map_err(failed)? {
            let mut link = Link {
                ifindex: message.header.index,
                name: String::new(),
                mac: None,
                is_up: message.header.flags.contains(LinkFlags::Up),
                addresses: Vec::new(),
                addresses6: Vec::new(),
            };
            for attribute in message.attributes {
                match attribute {
                    LinkAttribute::IfName(name) => link.name = name,
                    LinkAttribute::Address(address) => link.mac = address.try_into().ok(),
                    _ => {}
                }
            }
            links.push(link);
        }
        let mut messages = self.handle.address().get().execute();
        let failed = |source| NetlinkError::List {
            what: "addresses",
            source,
        };
        while let Some(message) = messages.try_next().await.map_err(failed)? {
            let link = links
                .iter_mut()
                .find(|link| link.ifindex == message.header.index);
            // `Local` is this side's address; on a point-to-point link `Address` is the other's.
            // Of IPv6 there is only `Address`, unless the link is point-to-point.
            let local = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Local(address) => Some(*address),
                    _ => None,
                });
            let other = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(*address),
                    _ => None,
                });
            match (link, local.or(other)) {
                (Some(link), Some(IpAddr::V4(address))) => link.addresses.push(address),
                (Some(link), Some(IpAddr::V6(address))) if is_usable(&message, address) => {
                    link.addresses6.push(address);
                }
                _ => {}
            }
        }
        links.sort_by_key(|link| link.ifindex);
        for link in &mut links {
            // A unique local address (RFC 4193) answers only if there is no better one.
            link.addresses6.sort_by_key(Ipv6Addr::is_unique_local);
        }
        Ok(links)
    }
}

/// Whether packets from beyond the link may be answered from an IPv6 address: it is known to be ours
/// alone, and its scope is not the link.
fn is_usable(message: &AddressMessage, address: Ipv6Addr) -> bool {
    let flags = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
    let unsure = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    !flags.is_some_and(|flags| flags.intersects(unsure))
        && !address.is_unicast_link_local()
        && !address.is_loopback()
}

/// Word of changes.
pub struct Watch {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    neighbours: HashMap<(u32, IpAddr), Option<Vec<u8>>>,
}

impl Watch {
    /// Starts to watch. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the kernel gives no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
        ];
        let (mut connection, _, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetlinkError::Socket)?;
        enlarge_buffer(connection.socket_mut().socket_mut().as_raw_fd())
            .map_err(NetlinkError::Socket)?;
        tokio::spawn(connection);
        Ok(Self {
            messages,
            neighbours: HashMap::new(),
        })
    }

    /// Waits for the next change; nothing if the kernel closed the socket.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let (message, _) = self.messages.next().await?;
            if let Some(change) = self.read(message.payload) {
                return Some(change);
            }
        }
    }

    fn read(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
        match payload {
            NetlinkPayload::Overrun(_) => Some(Change::Lost),
            NetlinkPayload::InnerMessage(message) => match message {
                RouteNetlinkMessage::NewNeighbour(neighbour) => self.neighbour(&neighbour, true),
                RouteNetlinkMessage::DelNeighbour(neighbour) => self.neighbour(&neighbour, false),
                RouteNetlinkMessage::NewLink(_)
                | RouteNetlinkMessage::DelLink(_)
                | RouteNetlinkMessage::NewAddress(_)
                | RouteNetlinkMessage::DelAddress(_) => Some(Change::Links),
                _ => Some(Change::Routes),
            },
            _ => None,
        }
    }

    /// The kernel also tells when a neighbour was merely confirmed; that changes no next hop.
    fn neighbour(&mut self, message: &NeighbourMessage, exists: bool) -> Option<Change> {
        let mut address = None;
        let mut mac = None;
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(inet)) => {
                    address = Some(IpAddr::V4(*inet));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(inet)) => {
                    address = Some(IpAddr::V6(*inet));
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = Some(bytes.clone()),
                _ => {}
            }
        }
        let key = (message.header.ifindex, address?);
        let is_valid = matches!(
            message.header.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Noarp
                | NeighbourState::Permanent
        );
        let mac = mac.filter(|_| exists && is_valid);
        if self.neighbours.len() >= NEIGHBOURS_MAX && !self.neighbours.contains_key(&key) {
            return Some(Change::Routes);
        }
        let before = match exists {
            true => self.neighbours.insert(key, mac.clone()),
            false => self.neighbours.remove(&key),
        };
        (before.flatten() != mac).then_some(Change::Routes)
    }
}

/// Sets the receive buffer beyond what `net.core.rmem_max` allows others.
fn enlarge_buffer(socket: RawFd) -> io::Result<()> {
    let size = RECEIVE_BUFFER as libc::c_int;
    // SAFETY: the option takes an integer, which lives for the call.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const size).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
