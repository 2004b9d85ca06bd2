//! What is said about a flow, once when it begins and once when it ends.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Time;

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it happened.
    pub time: Time,
    /// To which flow.
    pub flow: Flow,
    /// What.
    pub event: Event,
}

/// Which flow.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The number in the IP header.
    pub protocol: Protocol,
    /// Who began it, by its internal address.
    pub client: Endpoint,
    /// What the remote saw instead of the client.
    pub external: Endpoint,
    /// Whom the client talked to.
    pub remote: Endpoint,
    /// The pool that the external address was from, if it has a name still.
    pub pool: Option<Arc<str>>,
}

/// What happened to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It began.
    Opened,
    /// It ended.
    Closed(Closed),
}

/// What a line of the log says: the same without what is known of an end, or something of no flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It began.
    Opened,
    /// It ended.
    Closed,
    /// Which ports are whose own from now on, whatever their flows.
    Blocks,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Opened, Self::Closed, Self::Blocks];

    /// The word in records and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Blocks => "blocks",
        }
    }
}

/// What is known of a flow at its end. The record's time is when its port became free again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// When it began, to a second: so the end alone says who had the port, and from when on.
    pub opened: Time,
    /// When its last packet passed, to a second.
    pub last_packet: Time,
    /// What the client sent.
    pub out: Traffic,
    /// What came back.
    pub inward: Traffic,
    /// Why it ended.
    pub reason: Reason,
}

/// Packets and bytes one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes, whole frames.
    pub bytes: u64,
}

/// Why a flow ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It was silent for longer than it may be.
    Idle,
    /// TCP: both sides said that they had finished.
    Finished,
    /// TCP: one side reset it.
    Reset,
    /// An operator, or a new policy, ended it.
    Removed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Finished, Self::Reset, Self::Removed];

    /// The word in records and tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Finished => "finished",
            Self::Reset => "reset",
            Self::Removed => "removed",
        }
    }
}

impl Record {
    /// Whether it began or ended.
    pub const fn kind(&self) -> Kind {
        match self.event {
            Event::Opened => Kind::Opened,
            Event::Closed(_) => Kind::Closed,
        }
    }

    /// When the flow began.
    pub const fn opened(&self) -> Time {
        match &self.event {
            Event::Opened => self.time,
            Event::Closed(closed) => closed.opened,
        }
    }
}

/// An address and a port; of an ICMP query, its identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// An endpoint.
    pub fn new(address: impl Into<IpAddr>, port: u16) -> Self {
        let address = address.into();
        Self { address, port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

impl FromStr for Endpoint {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let socket: SocketAddr = text.parse()?;
        Ok(Self::new(socket.ip(), socket.port()))
    }
}

/// A protocol by its number in the IP header; shown by its name if it is one that is translated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Protocol(pub u8);

/// The names that people know.
const NAMES: [(u8, &str); 7] = [
    (1, "icmp"),
    (6, "tcp"),
    (17, "udp"),
    (47, "gre"),
    (50, "esp"),
    (58, "icmpv6"),
    (132, "sctp"),
];

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

impl FromStr for Protocol {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |(_, name): &&(u8, &str)| name.eq_ignore_ascii_case(text);
        match NAMES.iter().find(known) {
            Some((number, _)) => Ok(Self(*number)),
            None => text.parse().map(Self),
        }
    }
}

/// They stand in JSON as people write them.
macro_rules! as_text {
    ($($type:ty, $what:literal;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

as_text! {
    Endpoint, "an address and a port";
    Protocol, "a protocol";
}

pub(crate) use as_text;
