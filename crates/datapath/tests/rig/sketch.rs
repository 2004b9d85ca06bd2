//! Frames from words: a test says what matters to it, the rest is as usual, and the checksums are
//! right.

use abi::{Ip4, Port, Protocol, Tuple};
use datapath::native::Frame;

use super::sums::{IP, ones_add, pseudo_header, sum};

/// A frame to be built.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The interface it comes by.
    pub ingress: u32,
    /// The station it is for.
    pub to: [u8; 6],
    /// The station it is from.
    pub from: [u8; 6],
    pub source: Ip4,
    pub target: Ip4,
    pub ttl: u8,
    pub id: u16,
    pub dont_fragment: bool,
    /// More Fragments, and the offset in units of eight bytes.
    pub part: (bool, u16),
    /// A multiple of four bytes, 40 at most.
    pub options: Vec<u8>,
    /// Of a TCP segment; in multiples of four bytes.
    pub tcp_options: Vec<u8>,
    pub message: Message,
    pub payload: Vec<u8>,
    /// Bytes behind the packet, as in a frame that was too short for Ethernet.
    pub padding: usize,
}

/// What the packet carries in front of its payload.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    Tcp {
        source: Port,
        target: Port,
        flags: u8,
        seq: u32,
        ack: u32,
    },
    Udp {
        source: Port,
        target: Port,
        /// Whether it has a checksum.
        is_summed: bool,
    },
    /// An ICMP message of this type, with an identifier and a sequence number.
    Icmp { kind: u8, id: Port, seq: u16 },
    /// An ICMP error of this type and code, with these bytes in front of what it quotes.
    IcmpError { kind: u8, code: u8, rest: u32 },
    /// An SCTP common header, with a checksum that does not cover the addresses.
    Sctp { source: Port, target: Port },
    /// The payload alone, as a protocol of this number.
    Other(u8),
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

impl Sketch {
    /// A packet that may begin a flow: a SYN, a datagram, an echo request.
    pub fn first(protocol: Protocol, tuple: Tuple) -> Self {
        Self::new(protocol, tuple, SYN, 8)
    }

    /// A packet that answers: a SYN with ACK, a datagram, an echo reply.
    pub fn answer(protocol: Protocol, tuple: Tuple) -> Self {
        Self::new(protocol, tuple, SYN | ACK, 0)
    }

    fn new(protocol: Protocol, tuple: Tuple, flags: u8, kind: u8) -> Self {
        let Tuple {
            source,
            target,
            source_port,
            target_port,
        } = tuple;
        let message = match protocol {
            Protocol::Tcp => {
                let (seq, ack) = (0x0102_0304, 0x0a0b_0c0d);
                Message::Tcp {
                    source: source_port,
                    target: target_port,
                    flags,
                    seq,
                    ack,
                }
            }
            Protocol::Udp => Message::Udp {
                source: source_port,
                target: target_port,
                is_summed: true,
            },
            Protocol::Sctp => Message::Sctp {
                source: source_port,
                target: target_port,
            },
            Protocol::Gre | Protocol::Esp => Message::Other(protocol as u8),
            Protocol::Icmp if kind == 8 => Message::Icmp {
                kind,
                id: source_port,
                seq: 1,
            },
            Protocol::Icmp => Message::Icmp {
                kind,
                id: target_port,
                seq: 1,
            },
        };
        Self {
            ingress: 0,
            to: [0; 6],
            from: [0x02, 0, 0, 0, 0xff, 1],
            source,
            target,
            ttl: 64,
            id: 0x1234,
            dont_fragment: false,
            part: (false, 0),
            options: Vec::new(),
            tcp_options: Vec::new(),
            message,
            payload: b"egret".to_vec(),
            padding: 0,
        }
    }

    /// The same with other TCP flags; anything but TCP stays as it is.
    pub fn flags(mut self, wanted: u8) -> Self {
        if let Message::Tcp { flags, .. } = &mut self.message {
            *flags = wanted;
        }
        self
    }

    /// An ICMP error of this type about a frame, of which it quotes so many bytes from the IP header
    /// on; to whoever sent that.
    pub fn error(kind: u8, from: Ip4, about: &[u8], quoted: usize) -> Self {
        let end = about.len().min(IP + quoted);
        let address = |at: usize| Ip4([about[at], about[at + 1], about[at + 2], about[at + 3]]);
        let tuple = Tuple {
            source: from,
            target: address(IP + 12),
            ..Tuple::default()
        };
        let message = Message::Icmp {
            kind,
            id: Port::new(0),
            seq: 0,
        };
        Self {
            message,
            payload: about[IP..end].to_vec(),
            ..Self::answer(Protocol::Icmp, tuple)
        }
    }

    /// The same with this payload.
    pub fn payload(self, payload: &[u8]) -> Self {
        Self {
            payload: payload.to_vec(),
            ..self
        }
    }

    /// The same with this TTL.
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// The frame.
    pub fn frame(&self) -> Frame {
        let mut data = self.message.bytes();
        if let Message::Tcp { .. } = self.message {
            data[12] += (self.tcp_options.len() as u8 / 4) << 4;
            data.extend_from_slice(&self.tcp_options);
        }
        data.extend_from_slice(&self.payload);
        let total = 20 + self.options.len() + data.len();

        let mut header = vec![0x45 + (self.options.len() / 4) as u8, 0];
        header.extend_from_slice(&(total as u16).to_be_bytes());
        header.extend_from_slice(&self.id.to_be_bytes());
        let (more, offset) = self.part;
        let part = offset | u16::from(more) << 13 | u16::from(self.dont_fragment) << 14;
        header.extend_from_slice(&part.to_be_bytes());
        header.extend_from_slice(&[self.ttl, self.message.protocol(), 0, 0]);
        header.extend_from_slice(&self.source.0);
        header.extend_from_slice(&self.target.0);
        header.extend_from_slice(&self.options);
        let check = !sum(&header);
        header[10..12].copy_from_slice(&check.to_be_bytes());
        self.message.fill_in_checksum(&header, &mut data);

        let mut bytes = Vec::with_capacity(IP + total + self.padding);
        bytes.extend_from_slice(&self.to);
        bytes.extend_from_slice(&self.from);
        bytes.extend_from_slice(&[0x08, 0x00]);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&data);
        bytes.resize(IP + total + self.padding, 0);
        Frame {
            bytes,
            ingress: self.ingress,
        }
    }
}

impl Message {
    /// The number in the IP header.
    pub fn protocol(&self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Icmp { .. } | Self::IcmpError { .. } => 1,
            Self::Sctp { .. } => 132,
            Self::Other(protocol) => *protocol,
        }
    }

    /// The header, without a checksum.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Tcp {
                source,
                target,
                flags,
                seq,
                ack,
            } => {
                let mut bytes = [source.0, target.0].concat();
                bytes.extend_from_slice(&seq.to_be_bytes());
                bytes.extend_from_slice(&ack.to_be_bytes());
                bytes.extend_from_slice(&[0x50, *flags, 0xfa, 0xf0, 0, 0, 0, 0]);
                bytes
            }
            Self::Udp { source, target, .. } => [source.0, target.0, [0, 0], [0, 0]].concat(),
            Self::Icmp { kind, id, seq } => [[*kind, 0], [0, 0], id.0, seq.to_be_bytes()].concat(),
            Self::IcmpError { kind, code, rest } => {
                [[*kind, *code, 0, 0], rest.to_be_bytes()].concat()
            }
            Self::Sctp { source, target } => {
                [source.0, target.0, [1, 2], [3, 4], [5, 6], [7, 8]].concat()
            }
            Self::Other(_) => Vec::new(),
        }
    }

    fn fill_in_checksum(&self, header: &[u8], data: &mut [u8]) {
        let pseudo = match self {
            Self::Tcp { .. } | Self::Udp { .. } => pseudo_header(header, data.len()),
            Self::Icmp { .. } | Self::IcmpError { .. } | Self::Sctp { .. } | Self::Other(_) => 0,
        };
        self.seal(pseudo, data);
    }

    /// Fills in the checksum that begins with this sum, and UDP's length. A sum that comes out as zero
    /// is sent as its twin (RFC 768).
    pub fn seal(&self, pseudo: u16, data: &mut [u8]) {
        let place = match self {
            Self::Tcp { .. } => 16,
            Self::Udp { is_summed, .. } => {
                let length = data.len() as u16;
                data[4..6].copy_from_slice(&length.to_be_bytes());
                if !is_summed {
                    return;
                }
                6
            }
            Self::Icmp { .. } | Self::IcmpError { .. } => 2,
            Self::Sctp { .. } | Self::Other(_) => return,
        };
        let check = match (self, !ones_add(pseudo, sum(data))) {
            (Self::Udp { .. }, 0) => 0xffff,
            (_, check) => check,
        };
        data[place..place + 2].copy_from_slice(&check.to_be_bytes());
    }
}

/// Protocol and tuple of a frame that carries a protocol of ours, read from its bytes; an echo has
/// its identifier where the packet path keeps it.
pub fn read(frame: &[u8]) -> Option<(Protocol, Tuple)> {
    let (header, data) = super::sums::split(frame)?;
    let protocol = Protocol::from_number(header[9])?;
    let address = |at: usize| Ip4([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let port = |at: usize| Some(Port([*data.get(at)?, *data.get(at + 1)?]));
    let (source_port, target_port) = match (protocol, data.first()?) {
        (Protocol::Tcp | Protocol::Udp | Protocol::Sctp, _) => (port(0)?, port(2)?),
        (Protocol::Gre | Protocol::Esp, _) => (Port::new(0), Port::new(0)),
        (Protocol::Icmp, 8 | 13) => (port(4)?, Port::new(0)),
        (Protocol::Icmp, 0 | 14) => (Port::new(0), port(4)?),
        (Protocol::Icmp, _) => return None,
    };
    let tuple = Tuple {
        source: address(12),
        target: address(16),
        source_port,
        target_port,
    };
    Some((protocol, tuple))
}
