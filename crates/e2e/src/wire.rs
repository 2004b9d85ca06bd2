//! Single packets at the very edge of a gateway: put on its wire exactly as given, and read from it
//! exactly as they left, past every other host of the lab.
//!
//! Whatever is read here must have right checksums: a packet that has not fails the test, whatever
//! the test is about.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what a frame is not is of no interest here"
)]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use etherparse::{IpNumber, SlicedPacket, TcpHeader, TransportSlice};
use lab::{Capture, Frame, Host, Injector, Site};

/// How long a packet may take through the gateway. It may have to wait until a neighbour is
/// resolved, and for the CPU.
const PATIENCE: Duration = Duration::from_secs(5);

/// What no policy of a test wants, and the gateway's kernel forwards: the source of markers.
const MARKER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

/// The wire at one interface of a gateway, seen from its other end.
pub struct Edge {
    name: String,
    injector: Injector,
    capture: Capture,
    here: [u8; 6],
    gateway: [u8; 6],
    /// An address beyond this edge, where the gateway's kernel sends markers that are to come out
    /// here.
    beyond: Ipv4Addr,
}

/// An IPv4 packet that left the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the headers' own")]
pub struct Packet {
    /// The whole frame.
    pub frame: Vec<u8>,
    pub source: Ipv4Addr,
    pub target: Ipv4Addr,
    pub ttl: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// In units of eight bytes, as on the wire.
    pub fragment_offset: u16,
    pub options: Vec<u8>,
    pub body: Body,
}

/// What is in a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the headers' own")]
pub enum Body {
    Udp {
        source: u16,
        target: u16,
        payload: Vec<u8>,
    },
    Tcp {
        header: Box<TcpHeader>,
        payload: Vec<u8>,
    },
    Icmp {
        kind: u8,
        code: u8,
        /// The second word: identifier and sequence number, or the MTU in its second half.
        rest: [u8; 4],
        payload: Vec<u8>,
    },
    /// A fragment, or a protocol without ports.
    Other { protocol: u8, payload: Vec<u8> },
}

impl Edge {
    /// The wire at the internal interface of the gateway of a site with two arms.
    pub fn inside(site: &Site, gateway: &str) -> Result<Self> {
        let beyond = Ipv4Addr::new(10, 1, 0, 254);
        Self::open(site.host("inside")?, site.host(gateway)?, "in0", beyond)
    }

    /// The wire at the external interface of the gateway of a site with two arms.
    pub fn outside(site: &Site, gateway: &str) -> Result<Self> {
        let beyond = Ipv4Addr::new(203, 0, 113, 1);
        Self::open(site.host("outside")?, site.host(gateway)?, "out0", beyond)
    }

    /// The wire at the only interface of the gateway of a site with one arm.
    pub fn only(site: &Site, gateway: &str) -> Result<Self> {
        let beyond = Ipv4Addr::new(203, 0, 113, 1);
        Self::open(site.host("router")?, site.host(gateway)?, "eth0", beyond)
    }

    /// The wire between an interface of a gateway and the first port of a router's segment
    /// `gateways`; `beyond` is an address that the gateway's kernel reaches by that wire.
    pub fn open(router: &Host, gateway: &Host, interface: &str, beyond: Ipv4Addr) -> Result<Self> {
        let port = "gateways_0";
        Ok(Self {
            name: format!("{} of {}", interface, gateway.name()),
            injector: Injector::open(router, port)?,
            capture: Capture::open(router, port)?,
            here: mac(router, "gateways")?,
            gateway: gateway.mac(interface)?,
            beyond,
        })
    }

    /// Sends a packet to the gateway, addressed to its interface.
    pub fn send(&self, frame: &Frame) -> Result<()> {
        self.send_all(std::slice::from_ref(frame))
    }

    /// Sends packets to the gateway, addressed to its interface, in order.
    pub fn send_all(&self, frames: &[Frame]) -> Result<()> {
        let frames: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| frame.clone().between(self.here, self.gateway).build())
            .collect::<Result<_, _>>()?;
        Ok(self.injector.send(&frames)?)
    }

    /// Sends a frame as it is, MAC addresses and all.
    pub fn send_bytes(&self, frame: &[u8]) -> Result<()> {
        Ok(self.injector.send(&[frame])?)
    }

    /// The MAC address at this end of the wire.
    pub fn here(&self) -> [u8; 6] {
        self.here
    }

    /// The MAC address of the gateway's interface.
    pub fn gateway(&self) -> [u8; 6] {
        self.gateway
    }

    /// Waits for the next packet from the gateway for which `wanted` holds; the others are
    /// forgotten.
    ///
    /// # Errors
    ///
    /// When none comes, or one with a wrong checksum does.
    pub fn next(&mut self, what: &str, wanted: impl Fn(&Packet) -> bool) -> Result<Packet> {
        let found = self.capture.find(PATIENCE, |frame| match read(frame) {
            Ok(packet) => packet.filter(&wanted).map(Ok),
            Err(error) => Some(Err(error)),
        })?;
        found.with_context(|| format!("{what} did not leave by {}", self.name))?
    }

    /// Forgets every packet that has left so far.
    pub fn forget(&mut self) -> Result<()> {
        self.capture.drain()?;
        Ok(())
    }

    /// Everything that left the gateway by this edge before whatever is sent to it from now on by
    /// `entry`, where the packets came in that might have left.
    ///
    /// A marker is sent after them that the gateway's kernel forwards, which is the longest way.
    /// `number` must be another one each time.
    pub fn left_since(&mut self, entry: Option<&Self>, number: u16) -> Result<Vec<Packet>> {
        let marker = Frame::udp(
            SocketAddrV4::new(MARKER, number),
            SocketAddrV4::new(self.beyond, number),
        );
        entry.unwrap_or(self).send(&marker)?;
        let mut left = Vec::new();
        let found = self.capture.find(PATIENCE, |frame| match read(frame) {
            Ok(Some(packet)) => match &packet.body {
                Body::Udp { source, .. } if packet.source == MARKER && *source == number => {
                    Some(Ok(()))
                }
                _ => {
                    left.push(packet);
                    None
                }
            },
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })?;
        found.with_context(|| format!("the marker did not leave by {}", self.name))??;
        left.retain(|packet| packet.source != MARKER);
        Ok(left)
    }
}

impl Packet {
    /// The source with its port; zero where there is none.
    pub fn from(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.source, self.ports().0)
    }

    /// The target with its port; zero where there is none.
    pub fn to(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.target, self.ports().1)
    }

    /// The TCP header.
    pub fn tcp(&self) -> Option<&TcpHeader> {
        match &self.body {
            Body::Tcp { header, .. } => Some(header),
            Body::Udp { .. } | Body::Icmp { .. } | Body::Other { .. } => None,
        }
    }

    /// The payload of whatever is in it.
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            Body::Udp { payload, .. }
            | Body::Tcp { payload, .. }
            | Body::Icmp { payload, .. }
            | Body::Other { payload, .. } => payload,
        }
    }

    /// Source and target port. An ICMP query has its identifier where its sender has a port.
    fn ports(&self) -> (u16, u16) {
        match &self.body {
            Body::Udp { source, target, .. } => (*source, *target),
            Body::Tcp { header, .. } => (header.source_port, header.destination_port),
            Body::Icmp {
                kind: 8,
                rest: [a, b, ..],
                ..
            } => (u16::from_be_bytes([*a, *b]), 0),
            Body::Icmp {
                kind: 0,
                rest: [a, b, ..],
                ..
            } => (0, u16::from_be_bytes([*a, *b])),
            Body::Icmp { .. } | Body::Other { .. } => (0, 0),
        }
    }
}

/// The packet as it would be after a router: one hop less, and nothing else changed.
///
/// For frames with an untagged Ethernet header; returns what follows it.
pub fn one_hop_less(frame: &[u8]) -> Result<Vec<u8>> {
    let mut packet = frame.get(14..).context("an Ethernet header")?.to_vec();
    let header_length = usize::from(packet.first().context("an IP header")? & 0x0f) * 4;
    let header = packet
        .get_mut(..header_length)
        .context("the whole IP header")?;
    header[8] -= 1;
    header[10..12].fill(0);
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    Ok(packet)
}

/// The MAC address of any interface of a host, also of those that are no link of the plan.
pub fn mac(host: &Host, interface: &str) -> Result<[u8; 6]> {
    let output = host.ip(&format!("-j link show dev {interface}"))?;
    let links: serde_json::Value = serde_json::from_str(&output)?;
    let text = links[0]["address"]
        .as_str()
        .with_context(|| format!("{interface} has no address: {output}"))?;
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()?;
    match <[u8; 6]>::try_from(bytes) {
        Ok(mac) => Ok(mac),
        Err(bytes) => bail!("{interface} has an address of {} bytes", bytes.len()),
    }
}

/// Takes a frame apart; nothing if it is not IPv4.
fn read(frame: &[u8]) -> Result<Option<Packet>> {
    let sliced = match SlicedPacket::from_ethernet(frame) {
        Ok(sliced) => sliced,
        Err(error) => bail!("a frame that cannot be read ({error}): {frame:02x?}"),
    };
    let Some(ip) = sliced.net.as_ref().and_then(|net| net.ipv4_ref()) else {
        return Ok(None);
    };
    lab::verify_checksums(frame).with_context(|| format!("in the frame {frame:02x?}"))?;
    let header = ip.header();
    let body = match &sliced.transport {
        Some(TransportSlice::Udp(udp)) => Body::Udp {
            source: udp.source_port(),
            target: udp.destination_port(),
            payload: udp.payload().to_vec(),
        },
        Some(TransportSlice::Tcp(tcp)) => Body::Tcp {
            header: Box::new(tcp.to_header()),
            payload: tcp.payload().to_vec(),
        },
        Some(TransportSlice::Icmpv4(icmp)) => Body::Icmp {
            kind: icmp.type_u8(),
            code: icmp.code_u8(),
            rest: icmp.bytes5to8(),
            payload: icmp.payload().to_vec(),
        },
        Some(_) | None => Body::Other {
            protocol: header.protocol().0,
            payload: ip.payload().payload.to_vec(),
        },
    };
    Ok(Some(Packet {
        frame: frame.to_vec(),
        source: header.source_addr(),
        target: header.destination_addr(),
        ttl: header.ttl(),
        identification: header.identification(),
        dont_fragment: header.dont_fragment(),
        more_fragments: header.more_fragments(),
        fragment_offset: header.fragments_offset().value(),
        options: header.options().to_vec(),
        body,
    }))
}

/// The number of GRE (RFC 2784) in an IP header: a protocol that nobody here translates.
pub const GRE: u8 = IpNumber::GRE.0;
