//! The small servers that hosts of a site run: threads inside the host's namespace.
//!
//! They exist to be talked to by real clients on real TCP stacks, and to tell what arrived.

pub(crate) mod datagrams;
mod http;
mod listener;
mod stop;
pub(crate) mod stream;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Error, Host};

pub(crate) use stop::{Server, Stop};

/// Something a host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// HTTP; the body of every answer is the client's address and port as the host saw them.
    Http {
        /// Where it listens.
        port: u16,
    },
    /// UDP; every answer is the sender's address and port, a newline, and the payload.
    Datagrams {
        /// Where it listens.
        port: u16,
    },
    /// TCP transfers of any length, verified; see [`Transfer`](crate::Transfer).
    Stream {
        /// Where it listens.
        port: u16,
    },
}

impl Service {
    /// Starts serving in a host; it listens when this returns.
    pub(crate) fn start(self, host: &Host) -> Result<Server, Error> {
        let any = |port| SocketAddr::new(any(host), port);
        match self {
            Self::Http { port } => listener::start(host, any(port), http::answer),
            Self::Datagrams { port } => datagrams::start(host, any(port)),
            Self::Stream { port } => listener::start(host, any(port), stream::serve),
        }
    }
}

/// Every address of a host; that of IPv6 takes what comes over IPv4, too.
fn any(host: &Host) -> IpAddr {
    match host.address6() {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// A client as it called: one of IPv4 is seen as such, whatever the socket.
fn caller(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
