//! The small servers that hosts of a site run: threads inside the host's namespace.
//!
//! They exist to be talked to by real clients on real TCP stacks, and to tell what arrived.

pub(crate) mod datagrams;
mod http;
mod listener;
mod stop;
pub(crate) mod stream;

use std::net::{Ipv4Addr, SocketAddrV4};

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
        match self {
            Self::Http { port } => listener::start(host, any(port), http::answer),
            Self::Datagrams { port } => datagrams::start(host, any(port)),
            Self::Stream { port } => listener::start(host, any(port), stream::serve),
        }
    }
}

fn any(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)
}
