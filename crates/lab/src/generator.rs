//! Many flows from one host, as fast as one thread can: raw frames past the host's own stack.
//!
//! Each flow is one (source address, source port); its packets are all alike. The payload of a
//! datagram begins with the flow's number, so that a [`FlowSink`](crate::FlowSink) can tell which
//! flow became what.
//!
//! The sources should be the host's own ([`Topology::clients`](crate::Topology::clients)). Its
//! kernel knows no socket for them: replies to datagrams make it send ICMP errors, replies to SYN
//! make it send RST. Where that disturbs, give the host a rule that drops what arrives.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::frame::Frame;
use crate::packet_socket::BATCH_MAX;
use crate::{Error, Host, Injector, wait};

/// How long the next hop may take to answer ARP.
const ARP_LIMIT: Duration = Duration::from_secs(3);

/// Datagrams carry at least their flow's number.
const PAYLOAD_MIN: usize = 8;

/// A family of flows towards one target.
#[derive(Clone, Copy, Debug)]
pub struct Flows {
    kind: Kind,
    target: SocketAddrV4,
    first_source: Ipv4Addr,
    sources: u32,
    first_port: u16,
    ports: u16,
    payload_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Udp,
    Syn,
}

/// What a generator did.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Packets the interface took.
    pub packets: u64,
    /// How long that took.
    pub elapsed: Duration,
}

/// A sender of [`Flows`].
pub struct Generator {
    flows: Flows,
    injector: Injector,
    template: Template,
    frames: Vec<Vec<u8>>,
}

impl Flows {
    /// Datagrams; by default one source and the ports 1024 to 65535.
    pub fn udp(first_source: Ipv4Addr, target: SocketAddrV4) -> Self {
        Self::new(Kind::Udp, first_source, target)
    }

    /// SYN segments; by default one source and the ports 1024 to 65535.
    pub fn syn(first_source: Ipv4Addr, target: SocketAddrV4) -> Self {
        Self::new(Kind::Syn, first_source, target)
    }

    fn new(kind: Kind, first_source: Ipv4Addr, target: SocketAddrV4) -> Self {
        let payload_bytes = match kind {
            Kind::Udp => PAYLOAD_MIN,
            Kind::Syn => 0,
        };
        let (first_port, ports) = (1024, u16::MAX - 1023);
        Self {
            kind,
            target,
            first_source,
            sources: 1,
            first_port,
            ports,
            payload_bytes,
        }
    }

    /// Sends from that many addresses, counted up from the first.
    #[must_use]
    pub fn sources(mut self, sources: u32) -> Self {
        self.sources = sources.max(1);
        self
    }

    /// Sends from that many ports of each address, counted up from `first`.
    #[must_use]
    pub fn ports(mut self, first: u16, ports: u16) -> Self {
        self.first_port = first;
        self.ports = ports.clamp(1, u16::MAX - first.min(u16::MAX - 1));
        self
    }

    /// Gives each datagram that many bytes of payload, at least 8.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        if self.kind == Kind::Udp {
            self.payload_bytes = bytes.max(PAYLOAD_MIN);
        }
        self
    }

    /// Returns how many flows there are.
    pub fn count(&self) -> u64 {
        u64::from(self.sources) * u64::from(self.ports)
    }

    /// Returns the source of a flow by its number. Neighbouring numbers are different addresses.
    pub fn source(&self, number: u64) -> SocketAddrV4 {
        let number = number % self.count();
        let address = (number % u64::from(self.sources)) as u32;
        let port = (number / u64::from(self.sources)) as u16;
        let address = Ipv4Addr::from_bits(self.first_source.to_bits().wrapping_add(address));
        SocketAddrV4::new(address, self.first_port + port)
    }
}

impl Generator {
    /// Prepares to send flows from a host: finds the interface and resolves the next hop.
    pub fn new(host: &Host, flows: Flows) -> Result<Self, Error> {
        let (interface, mac) = next_hop(host, *flows.target.ip())?;
        let frame = flows.frame().between(host.mac(&interface)?, mac).build()?;
        Ok(Self {
            flows,
            injector: Injector::open(host, &interface)?,
            template: Template::new(&frame, flows.kind),
            frames: vec![frame; BATCH_MAX],
        })
    }

    /// Sends one packet of each flow of a range.
    pub fn send(&mut self, numbers: Range<u64>) -> Result<Sent, Error> {
        self.send_each(numbers)
    }

    /// Sends one packet of each of these flows.
    pub fn send_each(&mut self, numbers: impl IntoIterator<Item = u64>) -> Result<Sent, Error> {
        let mut numbers = numbers.into_iter();
        let started = Instant::now();
        let mut packets = 0;
        loop {
            let batch = self.fill(&mut numbers);
            if batch == 0 {
                return Ok(Sent {
                    packets,
                    elapsed: started.elapsed(),
                });
            }
            self.injector.send(&self.frames[..batch])?;
            packets += batch as u64;
        }
    }

    /// Sends packets of all flows in turn until the time is over.
    pub fn send_for(&mut self, time: Duration) -> Result<Sent, Error> {
        let started = Instant::now();
        let count = self.flows.count();
        let mut numbers = (0..count).cycle();
        let mut packets = 0;
        while started.elapsed() < time {
            let batch = self.fill(&mut numbers);
            self.injector.send(&self.frames[..batch])?;
            packets += batch as u64;
        }
        Ok(Sent {
            packets,
            elapsed: started.elapsed(),
        })
    }

    /// Makes up to a batch of frames and returns how many.
    fn fill(&mut self, numbers: &mut impl Iterator<Item = u64>) -> usize {
        let mut filled = 0;
        for (frame, number) in self.frames.iter_mut().zip(numbers) {
            self.template
                .write(frame, self.flows.source(number), number);
            filled += 1;
        }
        filled
    }
}

impl Flows {
    /// A frame like those of the flows, with nothing in what differs between them.
    fn frame(&self) -> Frame {
        let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        match self.kind {
            Kind::Udp => Frame::udp(nobody, self.target).payload(&vec![0; self.payload_bytes]),
            Kind::Syn => Frame::tcp(nobody, self.target, |header| header.syn = true),
        }
    }
}

/// Where the parts that differ between flows stand in a frame without VLAN tag and IP options.
mod offset {
    pub(super) const IP_CHECKSUM: usize = 24;
    pub(super) const SOURCE: usize = 26;
    pub(super) const PORT: usize = 34;
    pub(super) const UDP_CHECKSUM: usize = 40;
    pub(super) const UDP_PAYLOAD: usize = 42;
    pub(super) const TCP_CHECKSUM: usize = 50;
}

/// What is needed to turn a copy of one frame into any flow's, without summing it up again.
struct Template {
    kind: Kind,
    ip_checksum: u16,
    checksum: u16,
}

impl Template {
    fn new(frame: &[u8], kind: Kind) -> Self {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (ip_checksum, checksum) = (word(offset::IP_CHECKSUM), word(kind.checksum_offset()));
        Self {
            kind,
            ip_checksum,
            checksum,
        }
    }

    fn write(&self, frame: &mut [u8], source: SocketAddrV4, number: u64) {
        let put = |frame: &mut [u8], at: usize, bytes: &[u8]| {
            frame[at..at + bytes.len()].copy_from_slice(bytes);
        };
        let address = source.ip().octets();
        let port = source.port().to_be_bytes();
        put(frame, offset::SOURCE, &address);
        put(frame, offset::PORT, &port);
        let ip_checksum = added(self.ip_checksum, &address);
        put(frame, offset::IP_CHECKSUM, &ip_checksum.to_be_bytes());
        let mut checksum = added(added(self.checksum, &address), &port);
        match self.kind {
            Kind::Udp => {
                let number = number.to_be_bytes();
                put(frame, offset::UDP_PAYLOAD, &number);
                checksum = added(checksum, &number);
                // Zero would mean that there is no checksum (RFC 768).
                if checksum == 0 {
                    checksum = u16::MAX;
                }
            }
            Kind::Syn => {}
        }
        put(frame, self.kind.checksum_offset(), &checksum.to_be_bytes());
    }
}

impl Kind {
    fn checksum_offset(self) -> usize {
        match self {
            Self::Udp => offset::UDP_CHECKSUM,
            Self::Syn => offset::TCP_CHECKSUM,
        }
    }
}

/// Returns a checksum after words that were zero became `bytes` (RFC 1624).
fn added(checksum: u16, bytes: &[u8]) -> u16 {
    let mut sum = u32::from(!checksum);
    for word in bytes.chunks_exact(2) {
        sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// Returns the interface towards a target and the MAC address of the next hop, resolving it.
fn next_hop(host: &Host, target: Ipv4Addr) -> Result<(String, [u8; 6]), Error> {
    let output = host.ip(&format!("-j route get {target}"))?;
    let routes: Option<Value> = serde_json::from_str(&output).ok();
    let field = |name: &str| Some(routes.as_ref()?.get(0)?.get(name)?.as_str()?.to_owned());
    let unexpected = || Error::ToolOutput {
        command: format!("ip -j route get {target}"),
        output: output.clone(),
    };
    let interface = field("dev").ok_or_else(unexpected)?;
    let next_hop = match field("gateway") {
        Some(gateway) => gateway.parse().map_err(|_| unexpected())?,
        None => target,
    };
    // A datagram that nobody reads makes the kernel resolve the address.
    let ask = || UdpSocket::bind("0.0.0.0:0").and_then(|it| it.send_to(&[], (next_hop, DISCARD)));
    host.enter(ask)?.map_err(|source| {
        host.socket_error("send to", SocketAddrV4::new(next_hop, DISCARD), source)
    })?;
    let resolved = wait::until(ARP_LIMIT, || neighbour(host, next_hop).transpose()).transpose()?;
    let unresolved = || Error::NextHop {
        host: host.name().to_owned(),
        target,
        next_hop,
    };
    Ok((interface, resolved.ok_or_else(unresolved)?))
}

/// The discard service (RFC 863).
const DISCARD: u16 = 9;

/// Looks an address up in the kernel's ARP table.
fn neighbour(host: &Host, address: Ipv4Addr) -> Result<Option<[u8; 6]>, Error> {
    let path = "/proc/thread-self/net/arp";
    let table = host
        .enter(|| std::fs::read_to_string(path))?
        .map_err(Error::file("read", path))?;
    let text = address.to_string();
    let mut rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Address, hardware type, flags, MAC address. An entry still unresolved is all zeros.
    let mac = rows
        .find(|row| row.first() == Some(&text.as_str()))
        .and_then(|row| {
            let bytes = row
                .get(3)?
                .split(':')
                .map(|byte| u8::from_str_radix(byte, 16).ok());
            let bytes: Option<Vec<u8>> = bytes.collect();
            <[u8; 6]>::try_from(bytes?).ok()
        });
    Ok(mac.filter(|mac| *mac != [0; 6]))
}

#[cfg(test)]
mod tests;
