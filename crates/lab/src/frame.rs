//! Ethernet frames with IPv4 in them, byte for byte: built with right checksums, and checked by
//! full recomputation.
//!
//! The headers are etherparse's, an oracle that shares no code with the packet path.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{
    EtherType, Ethernet2Header, IcmpEchoHeader, Icmpv4Header, Icmpv4Type, IpFragOffset, IpNumber,
    Ipv4Header, Ipv4Options, SingleVlanHeader, TcpHeader, UdpHeader, VlanId,
};

use crate::Error;

/// A frame to be built. Fields that no test cares about have the values of an ordinary packet.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the headers' own")]
pub struct Frame {
    pub source_mac: [u8; 6],
    pub target_mac: [u8; 6],
    /// VLAN ids, the outermost first.
    pub vlans: Vec<u16>,
    pub source: Ipv4Addr,
    pub target: Ipv4Addr,
    pub ttl: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// In units of eight bytes, as on the wire.
    pub fragment_offset: u16,
    /// IPv4 options, padded by the caller to a multiple of four bytes.
    pub options: Vec<u8>,
    pub transport: Transport,
    pub payload: Vec<u8>,
}

/// What is in the IPv4 packet. Checksums and lengths are filled in by [`Frame::build`].
#[derive(Clone, Debug)]
pub enum Transport {
    /// A datagram from one port to another.
    Udp {
        /// The source port.
        source: u16,
        /// The target port.
        target: u16,
    },
    /// A segment.
    Tcp(TcpHeader),
    /// An ICMP message.
    Icmp(Icmpv4Type),
    /// The payload alone, as that protocol; also what a fragment but the first carries.
    Other(u8),
}

impl Frame {
    /// A datagram without payload.
    pub fn udp(source: SocketAddrV4, target: SocketAddrV4) -> Self {
        let transport = Transport::Udp {
            source: source.port(),
            target: target.port(),
        };
        Self::new(*source.ip(), *target.ip(), transport)
    }

    /// A segment with no flag but those that `flags` sets.
    pub fn tcp(
        source: SocketAddrV4,
        target: SocketAddrV4,
        flags: impl FnOnce(&mut TcpHeader),
    ) -> Self {
        let mut header = TcpHeader::new(source.port(), target.port(), 1, 64_000);
        flags(&mut header);
        Self::new(*source.ip(), *target.ip(), Transport::Tcp(header))
    }

    /// A ping.
    pub fn echo_request(source: Ipv4Addr, target: Ipv4Addr, id: u16, sequence: u16) -> Self {
        let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq: sequence });
        Self::new(source, target, Transport::Icmp(echo))
    }

    /// A packet of any kind.
    pub fn new(source: Ipv4Addr, target: Ipv4Addr, transport: Transport) -> Self {
        Self {
            source_mac: [0; 6],
            target_mac: [0; 6],
            vlans: Vec::new(),
            source,
            target,
            ttl: 64,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            options: Vec::new(),
            transport,
            payload: Vec::new(),
        }
    }

    /// Sets both MAC addresses.
    #[must_use]
    pub fn between(mut self, source: [u8; 6], target: [u8; 6]) -> Self {
        self.source_mac = source;
        self.target_mac = target;
        self
    }

    /// Adds a VLAN tag inside those that are there.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlans.push(id);
        self
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Returns the frame's bytes.
    pub fn build(&self) -> Result<Vec<u8>, Error> {
        let mut frame = self.link()?;
        let packet = self.transport()?;
        let mut ip = self.ip(packet.len())?;
        ip.header_checksum = ip.calc_header_checksum();
        frame.extend_from_slice(&ip.to_bytes());
        frame.extend_from_slice(&packet);
        Ok(frame)
    }

    fn link(&self) -> Result<Vec<u8>, Error> {
        let tags = self.vlans.iter().map(|_| EtherType::VLAN_TAGGED_FRAME);
        let mut types = tags.chain([EtherType::IPV4]);
        let (source, destination) = (self.source_mac, self.target_mac);
        let mut ether_type = types.next().unwrap_or(EtherType::IPV4);
        let mut bytes = Ethernet2Header {
            source,
            destination,
            ether_type,
        }
        .to_bytes()
        .to_vec();
        for id in &self.vlans {
            ether_type = types.next().unwrap_or(EtherType::IPV4);
            let vlan_id = VlanId::try_new(*id).map_err(unbuildable)?;
            let tag = SingleVlanHeader {
                vlan_id,
                ether_type,
                ..SingleVlanHeader::default()
            };
            bytes.extend_from_slice(&tag.to_bytes());
        }
        Ok(bytes)
    }

    fn ip(&self, length: usize) -> Result<Ipv4Header, Error> {
        let protocol = match &self.transport {
            Transport::Udp { .. } => IpNumber::UDP,
            Transport::Tcp(_) => IpNumber::TCP,
            Transport::Icmp(_) => IpNumber::ICMP,
            Transport::Other(protocol) => IpNumber(*protocol),
        };
        let mut header = Ipv4Header {
            time_to_live: self.ttl,
            identification: self.identification,
            dont_fragment: self.dont_fragment,
            more_fragments: self.more_fragments,
            fragment_offset: IpFragOffset::try_new(self.fragment_offset).map_err(unbuildable)?,
            protocol,
            source: self.source.octets(),
            destination: self.target.octets(),
            options: Ipv4Options::try_from(self.options.as_slice()).map_err(unbuildable)?,
            ..Ipv4Header::default()
        };
        header.set_payload_len(length).map_err(unbuildable)?;
        Ok(header)
    }

    fn transport(&self) -> Result<Vec<u8>, Error> {
        let (source, target) = (self.source.octets(), self.target.octets());
        let payload = self.payload.as_slice();
        let header = match &self.transport {
            Transport::Udp {
                source: source_port,
                target: target_port,
            } => {
                let length = UdpHeader::LEN + payload.len();
                let mut header = UdpHeader {
                    source_port: *source_port,
                    destination_port: *target_port,
                    length: u16::try_from(length).map_err(unbuildable)?,
                    checksum: 0,
                };
                let sum = header.calc_checksum_ipv4_raw(source, target, payload);
                header.checksum = sum.map_err(unbuildable)?;
                header.to_bytes().to_vec()
            }
            Transport::Tcp(header) => {
                let mut header = header.clone();
                let sum = header.calc_checksum_ipv4_raw(source, target, payload);
                header.checksum = sum.map_err(unbuildable)?;
                header.to_bytes().to_vec()
            }
            Transport::Icmp(message) => Icmpv4Header::with_checksum(message.clone(), payload)
                .to_bytes()
                .to_vec(),
            Transport::Other(_) => Vec::new(),
        };
        Ok([header.as_slice(), payload].concat())
    }
}

/// Recomputes every checksum of a frame and says which is wrong. Frames that are not IPv4, and
/// transport in fragments or unknown, have none to check.
pub fn verify_checksums(frame: &[u8]) -> Result<(), Error> {
    let wrong = |what| Err(Error::Checksum { what });
    let Some(packet) = ipv4_packet(frame) else {
        return Ok(());
    };
    let Some((header, body)) = split_packet(packet) else {
        return wrong("IPv4 length");
    };
    if sum(&[header]) != WHOLE {
        return wrong("IPv4 checksum");
    }
    let fragmented = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if fragmented {
        return Ok(());
    }
    let length = (body.len() as u16).to_be_bytes();
    let pseudo_header = [&header[12..20], &[0, header[9]], &length].concat();
    match IpNumber(header[9]) {
        IpNumber::TCP if sum(&[&pseudo_header, body]) != WHOLE => wrong("TCP checksum"),
        // Zero means that the sender computed none (RFC 768).
        IpNumber::UDP if body.get(6..8) == Some(&[0, 0]) => Ok(()),
        IpNumber::UDP if sum(&[&pseudo_header, body]) != WHOLE => wrong("UDP checksum"),
        IpNumber::ICMP if sum(&[body]) != WHOLE => wrong("ICMP checksum"),
        _ => Ok(()),
    }
}

/// What the one's complement sum over anything with its right checksum in it is.
const WHOLE: u16 = 0xffff;

/// Returns what follows the Ethernet header and any VLAN tags, if that is IPv4.
fn ipv4_packet(frame: &[u8]) -> Option<&[u8]> {
    let mut rest = frame.get(12..)?;
    while let [0x81, 0x00, _, _, inner @ ..] | [0x88, 0xa8, _, _, inner @ ..] = rest {
        rest = inner;
    }
    rest.strip_prefix(&[0x08, 0x00])
}

/// Splits a packet into its header and its body, without what pads the frame.
fn split_packet(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let header_length = usize::from(packet.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let split = packet.get(..total)?.split_at_checked(header_length)?;
    (header_length >= Ipv4Header::MIN_LEN).then_some(split)
}

/// Returns the one's complement sum of 16-bit words (RFC 1071); all parts but the last are even.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u64 = words
        .map(|word| {
            u64::from(u16::from_be_bytes([
                word[0],
                word.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn unbuildable(why: impl ToString) -> Error {
    Error::Frame {
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests;
