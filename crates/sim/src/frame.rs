//! Frames as clients and servers send them, and what they read out of those that come.
//!
//! What tells connections apart rides in the payload, where no gateway looks: so whoever gets another's
//! packet sees it. Checksums are summed up over all bytes, and wrong ones are found.

use abi::{Ip4, Port, Protocol, Tuple};

/// Where the IP header begins.
const IP: usize = 14;
/// Bytes of an IPv4 header without options.
const IP_LEN: usize = 20;
/// What a gateway's interfaces have as MAC address.
pub const fn own_mac(ifindex: u32) -> [u8; 6] {
    [0x02, 0, 0, 0, 0, ifindex as u8]
}

/// What the other side of its links has.
pub const fn peer_mac(ifindex: u32) -> [u8; 6] {
    [0x02, 0, 0, 0, 0xff, ifindex as u8]
}

/// What a packet says to the program it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// A connection is to begin.
    Syn,
    /// It may.
    SynAck,
    /// It has.
    Open,
    /// A request of the client's.
    Ask,
    /// What is answered to it.
    Answer,
    /// Something of the server's, by itself.
    Push,
    /// That it has come.
    Pushed,
    /// The client has said everything.
    Fin,
    /// And so has the server.
    FinAck,
    /// That is known.
    Last,
    /// There is no such connection.
    Reset,
}

impl Word {
    const ALL: [Self; 11] = [
        Self::Syn,
        Self::SynAck,
        Self::Open,
        Self::Ask,
        Self::Answer,
        Self::Push,
        Self::Pushed,
        Self::Fin,
        Self::FinAck,
        Self::Last,
        Self::Reset,
    ];

    const fn flags(self) -> u8 {
        match self {
            Self::Syn => SYN,
            Self::SynAck => SYN | ACK,
            Self::Open | Self::Ask | Self::Answer | Self::Push | Self::Pushed | Self::Last => ACK,
            Self::Fin | Self::FinAck => FIN | ACK,
            Self::Reset => RST | ACK,
        }
    }
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What stands in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The connection that it is of.
    pub connection: u32,
    /// What it says.
    pub word: Word,
    /// For the how-manieth time.
    pub number: u32,
}

/// Bytes of a payload.
const PAYLOAD: usize = 12;
const MAGIC: u8 = 0xe6;

impl Payload {
    fn bytes(self) -> [u8; PAYLOAD] {
        let [a, b, c, d] = self.connection.to_be_bytes();
        let [e, f, g, h] = self.number.to_be_bytes();
        [a, b, c, d, e, f, g, h, self.word as u8, MAGIC, MAGIC, MAGIC]
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; PAYLOAD] = bytes.first_chunk()?;
        let [a, b, c, d, e, f, g, h, word, MAGIC, MAGIC, MAGIC] = *bytes else {
            return None;
        };
        Some(Self {
            connection: u32::from_be_bytes([a, b, c, d]),
            number: u32::from_be_bytes([e, f, g, h]),
            word: *Word::ALL.get(usize::from(word))?,
        })
    }
}

/// A packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// TCP, UDP or ICMP; of an echo, the port of who asks is its identifier.
    pub protocol: Protocol,
    /// Addresses and ports.
    pub tuple: Tuple,
    /// What is in it. A gateway's own reset has nothing in it.
    pub payload: Option<Payload>,
    /// Whether it resets a TCP connection.
    pub is_reset: bool,
}

impl Segment {
    /// The frame that arrives at a gateway by this interface.
    pub fn frame(&self, ifindex: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(IP + IP_LEN + 20 + PAYLOAD);
        bytes.extend_from_slice(&own_mac(ifindex));
        bytes.extend_from_slice(&peer_mac(ifindex));
        bytes.extend_from_slice(&[8, 0]);
        let mut data = self.header();
        if let Some(payload) = self.payload {
            data.extend_from_slice(&payload.bytes());
        }
        let total = u16::try_from(IP_LEN + data.len()).unwrap_or(u16::MAX);
        let [high, low] = total.to_be_bytes();
        let protocol = self.protocol as u8;
        let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        header.extend_from_slice(&self.tuple.source.0);
        header.extend_from_slice(&self.tuple.target.0);
        let check = !sum(&header);
        put(&mut header, 10, check);
        let pseudo = pseudo(&header, data.len());
        match self.protocol {
            Protocol::Tcp => put(&mut data, 16, 0),
            Protocol::Udp => {
                let length = u16::try_from(data.len()).unwrap_or(0);
                put(&mut data, 4, length);
            }
            Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => {}
        }
        let (place, begin) = match self.protocol {
            Protocol::Tcp => (16, pseudo),
            Protocol::Udp => (6, pseudo),
            Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => (2, 0),
        };
        let check = match (self.protocol, !add(begin, sum(&data))) {
            (Protocol::Udp, 0) => 0xffff,
            (_, check) => check,
        };
        put(&mut data, place, check);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&data);
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let (source, target) = (self.tuple.source_port.0, self.tuple.target_port.0);
        let word = self.payload.map(|it| it.word);
        match self.protocol {
            Protocol::Tcp => {
                let flags = word.map_or(RST | ACK, Word::flags);
                let mut bytes = [source, target].concat();
                bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff]);
                bytes.extend_from_slice(&[0; 4]);
                bytes
            }
            Protocol::Udp => [source, target, [0; 2], [0; 2]].concat(),
            Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => {
                let is_answer = word == Some(Word::Answer);
                let (kind, id) = if is_answer { (0, target) } else { (8, source) };
                [[kind, 0], [0; 2], id, [0, 1]].concat()
            }
        }
    }

    /// What a frame carries. Says what is wrong with one that no program would take.
    ///
    /// # Errors
    ///
    /// If it is no packet of ours, or its checksums are wrong.
    pub fn read(frame: &[u8]) -> Result<Self, &'static str> {
        let short = "a packet that is too short";
        let packet = frame.get(IP..).ok_or(short)?;
        let (header, _) = packet.split_at_checked(IP_LEN).ok_or(short)?;
        let total = usize::from(word(header, 2).ok_or(short)?);
        let data = packet.get(IP_LEN..total).ok_or(short)?;
        if header.first() != Some(&0x45) || sum(header) != 0xffff {
            return Err("a wrong IP header");
        }
        let protocol = header.get(9).copied().and_then(Protocol::from_number);
        let protocol = protocol.ok_or("a protocol that nobody sent")?;
        let address = |at: usize| {
            let bytes = header.get(at..at + 4)?;
            Some(Ip4(*bytes.first_chunk()?))
        };
        let begin = match protocol {
            Protocol::Tcp | Protocol::Udp => pseudo(header, data.len()),
            Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => 0,
        };
        if add(begin, sum(data)) != 0xffff {
            return Err("a wrong checksum");
        }
        let port = |at: usize| word(data, at).map(Port::new).ok_or(short);
        let (source_port, target_port, behind) = match (protocol, data.first()) {
            (Protocol::Tcp, _) => (port(0)?, port(2)?, 20),
            (Protocol::Udp, _) => (port(0)?, port(2)?, 8),
            (_, Some(8)) => (port(4)?, Port::new(0), 8),
            (_, Some(0)) => (Port::new(0), port(4)?, 8),
            (_, Some(_) | None) => return Err("a message that nobody sent"),
        };
        let is_reset = protocol == Protocol::Tcp && data.get(13).is_some_and(|it| it & RST != 0);
        let rest = data.get(behind..).ok_or(short)?;
        let payload = Payload::of(rest);
        if payload.is_none() && !is_reset {
            return Err("a packet without a payload");
        }
        Ok(Self {
            protocol,
            tuple: Tuple {
                source: address(12).ok_or(short)?,
                target: address(16).ok_or(short)?,
                source_port,
                target_port,
            },
            payload,
            is_reset,
        })
    }
}

/// The number of the protocol in a frame's IP header, and to whom it goes.
pub fn target(frame: &[u8]) -> Option<(u8, Ip4)> {
    let packet = frame.get(IP..)?;
    let address = packet.get(16..20)?;
    Some((*packet.get(9)?, Ip4(*address.first_chunk()?)))
}

/// Writes the MAC addresses of the link that a frame takes to a gateway.
pub fn readdress(frame: &mut [u8], ifindex: u32) {
    let addresses = own_mac(ifindex).into_iter().chain(peer_mac(ifindex));
    for (place, byte) in frame.iter_mut().zip(addresses) {
        *place = byte;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(word.to_be_bytes()) {
        *place = byte;
    }
}

/// The one's complement sum of bytes (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        [high] => u16::from_be_bytes([*high, 0]),
        _ => 0,
    });
    words.fold(0, add)
}

const fn add(a: u16, b: u16) -> u16 {
    let (sum, carried) = a.overflowing_add(b);
    sum + carried as u16
}

/// What the checksums of TCP and UDP begin with.
fn pseudo(header: &[u8], length: usize) -> u16 {
    let addresses = sum(header.get(12..20).unwrap_or_default());
    let protocol = header.get(9).copied().unwrap_or(0);
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    add(add(addresses, u16::from(protocol)), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(protocol: Protocol, word: Word) -> Segment {
        let (source_port, target_port) = match (protocol, word) {
            (Protocol::Icmp, Word::Answer) => (0, 4001),
            (Protocol::Icmp, _) => (4001, 0),
            (_, _) => (4001, 443),
        };
        Segment {
            protocol,
            tuple: Tuple {
                source: Ip4([10, 1, 0, 1]),
                target: Ip4([198, 51, 100, 4]),
                source_port: Port::new(source_port),
                target_port: Port::new(target_port),
            },
            payload: Some(Payload {
                connection: 77,
                word,
                number: 3,
            }),
            is_reset: word == Word::Reset,
        }
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        for word in Word::ALL {
            let segment = segment(Protocol::Tcp, word);
            assert_eq!(Segment::read(&segment.frame(1)), Ok(segment));
        }
        for protocol in [Protocol::Udp, Protocol::Icmp] {
            for word in [Word::Ask, Word::Answer] {
                let segment = segment(protocol, word);
                assert_eq!(Segment::read(&segment.frame(2)), Ok(segment));
            }
        }
    }

    #[test]
    fn a_byte_that_was_changed_on_the_way_is_found() {
        let frame = segment(Protocol::Tcp, Word::Ask).frame(1);
        for place in IP..frame.len() {
            let mut frame = frame.clone();
            frame[place] ^= 0x10;
            assert!(Segment::read(&frame).is_err(), "byte {place}");
        }
    }
}
