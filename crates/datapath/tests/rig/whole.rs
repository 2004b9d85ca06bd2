//! A packet of either version of IP, read the long way from a frame, so that one of one version can be
//! held against one of the other.

use abi::{Ip4, Ip6, Port, Protocol, Tuple};

use super::sums::{IP, ones_add, sum};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    pub version: u8,
    /// What IPv4 calls TOS.
    pub class: u8,
    /// IPv6 only.
    pub label: u32,
    pub hops: u8,
    /// IPv4 ones are mapped.
    pub source: Ip6,
    pub target: Ip6,
    /// IPv4 only.
    pub dont_fragment: bool,
    /// Identification, offset in units of eight bytes, and whether more follow. IPv4 packets always have
    /// one, IPv6 ones if they have a fragment header.
    pub part: Option<(u32, u16, bool)>,
    /// IPv4's options, or everything between the IPv6 and the transport header.
    pub between: Vec<u8>,
    /// The number of what the body is.
    pub protocol: u8,
    pub body: Vec<u8>,
    /// Whether the IPv4 header's checksum is right; IPv6 has none.
    pub has_right_header: bool,
}

/// What a transport checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Right,
    Wrong,
    /// There is none: zero in UDP, or a protocol without.
    Absent,
}

/// The packet in a frame; nothing if it contradicts itself. A quoted one may be cut short.
pub fn whole(frame: &[u8]) -> Option<Whole> {
    read(frame.get(IP..)?, false)
}

/// The packet that an ICMP error's body quotes from its ninth byte on.
pub fn quoted(body: &[u8]) -> Option<Whole> {
    read(body.get(8..)?, true)
}

/// The tuple and protocol of a frame, with addresses as tables for both versions have them.
pub fn tuple_of(frame: &[u8]) -> (Protocol, Tuple<Ip6>) {
    whole(frame)
        .and_then(|it| it.tuple())
        .expect("such a packet")
}

fn read(packet: &[u8], may_be_cut: bool) -> Option<Whole> {
    match packet.first()? >> 4 {
        4 => read4(packet, may_be_cut),
        6 => read6(packet, may_be_cut),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn cut(packet: &[u8], end: usize, may_be_cut: bool) -> Option<&[u8]> {
    match packet.get(..end) {
        Some(packet) => Some(packet),
        None if may_be_cut => Some(packet),
        None => None,
    }
}

fn read4(packet: &[u8], may_be_cut: bool) -> Option<Whole> {
    let header = usize::from(packet[0] & 0x0f) * 4;
    let total = usize::from(word(packet, 2)?);
    let packet = cut(packet, total, may_be_cut)?;
    (header >= 20 && header <= packet.len()).then_some(())?;
    let address = |at: usize| Ip4(packet[at..at + 4].try_into().expect("four bytes"));
    let flags = word(packet, 6)?;
    Some(Whole {
        version: 4,
        class: packet[1],
        label: 0,
        hops: packet[8],
        source: Ip6::mapped(address(12)),
        target: Ip6::mapped(address(16)),
        dont_fragment: flags & 0x4000 != 0,
        part: Some((
            u32::from(word(packet, 4)?),
            flags & 0x1fff,
            flags & 0x2000 != 0,
        )),
        between: packet[20..header].to_vec(),
        protocol: packet[9],
        body: packet[header..].to_vec(),
        has_right_header: sum(&packet[..header]) == 0xffff,
    })
}

fn read6(packet: &[u8], may_be_cut: bool) -> Option<Whole> {
    (packet.len() >= 40).then_some(())?;
    let total = 40 + usize::from(word(packet, 4)?);
    let packet = cut(packet, total, may_be_cut)?;
    let address = |at: usize| Ip6(packet[at..at + 16].try_into().expect("sixteen bytes"));
    let (mut next, mut at, mut part) = (packet[6], 40, None);
    while matches!(next, 0 | 43 | 44 | 60) {
        let length = match next {
            44 => {
                let offset = word(packet, at + 2)?;
                let id = packet.get(at + 4..at + 8)?.try_into().expect("four bytes");
                part = Some((u32::from_be_bytes(id), offset >> 3, offset & 1 != 0));
                8
            }
            _ => 8 + 8 * usize::from(*packet.get(at + 1)?),
        };
        next = *packet.get(at)?;
        at += length;
        if part.is_some_and(|(_, offset, _)| offset != 0) {
            break;
        }
    }
    (at <= packet.len()).then_some(())?;
    Some(Whole {
        version: 6,
        class: packet[0] << 4 | packet[1] >> 4,
        label: u32::from_be_bytes([0, packet[1] & 0x0f, packet[2], packet[3]]),
        hops: packet[7],
        source: address(8),
        target: address(24),
        dont_fragment: true,
        part,
        between: packet[40..at].to_vec(),
        protocol: next,
        body: packet[at..].to_vec(),
        has_right_header: true,
    })
}

impl Whole {
    /// Offset and whether more follow, if it is a fragment.
    pub fn fragment(&self) -> Option<(u16, bool)> {
        let (_, offset, more) = self.part?;
        (offset != 0 || more).then_some((offset, more))
    }

    /// Whether it has no transport header.
    pub fn is_later(&self) -> bool {
        self.fragment().is_some_and(|(offset, _)| offset != 0)
    }

    /// What the transport checksum is, if the body is all there is.
    pub fn check(&self) -> Check {
        let pseudo = || {
            let addresses = match self.version {
                4 => ones_add(sum(&self.source.0[12..]), sum(&self.target.0[12..])),
                _ => ones_add(sum(&self.source.0), sum(&self.target.0)),
            };
            let length = self.body.len() as u16;
            ones_add(ones_add(addresses, length), u16::from(self.protocol))
        };
        let begin = match (self.version, self.protocol) {
            (_, 17) if self.body.len() < 8 => return Check::Wrong,
            (_, 17) if self.body[6..8] == [0, 0] => return Check::Absent,
            (_, 6) if self.body.len() < 20 => return Check::Wrong,
            (_, 6 | 17) | (6, 58) => pseudo(),
            (4, 1) => 0,
            _ => return Check::Absent,
        };
        match ones_add(begin, sum(&self.body)) {
            0xffff => Check::Right,
            _ => Check::Wrong,
        }
    }

    /// Protocol and tuple of a protocol of ours.
    pub fn tuple(&self) -> Option<(Protocol, Tuple<Ip6>)> {
        let port = |at: usize| word(&self.body, at).map(Port::new);
        let (protocol, source_port, target_port) = match (self.protocol, *self.body.first()?) {
            (6, _) => (Protocol::Tcp, port(0)?, port(2)?),
            (17, _) => (Protocol::Udp, port(0)?, port(2)?),
            (132, _) => (Protocol::Sctp, port(0)?, port(2)?),
            (47, _) => (Protocol::Gre, Port::new(0), Port::new(0)),
            (50, _) => (Protocol::Esp, Port::new(0), Port::new(0)),
            (1, 8 | 13) | (58, 128) => (Protocol::Icmp, port(4)?, Port::new(0)),
            (1, 0 | 14) | (58, 129) => (Protocol::Icmp, Port::new(0), port(4)?),
            _ => return None,
        };
        let tuple = Tuple {
            source: self.source,
            target: self.target,
            source_port,
            target_port,
        };
        Some((protocol, tuple))
    }
}
