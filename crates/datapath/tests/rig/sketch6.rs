//! Frames of IPv6 from words, as [`Sketch`](super::Sketch) is of IPv4.

use abi::{Ip6, Port, Protocol, Tuple};
use datapath::native::Frame;

use super::{
    sketch::{ACK, Message, SYN},
    sums::{ones_add, sum},
};

/// A frame to be built.
#[derive(Clone, Debug)]
pub struct Sketch6 {
    /// The interface it comes by.
    pub ingress: u32,
    /// The station it is for.
    pub to: [u8; 6],
    /// The station it is from.
    pub from: [u8; 6],
    pub source: Ip6,
    pub target: Ip6,
    pub hops: u8,
    pub class: u8,
    pub label: u32,
    /// Extension headers: the number of each, and what stands behind its first two bytes, a multiple of
    /// eight and six.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub message: Message,
    pub payload: Vec<u8>,
    /// Bytes behind the packet.
    pub padding: usize,
}

impl Sketch6 {
    /// A packet that may begin a flow: a SYN, a datagram, an echo request.
    pub fn first(protocol: Protocol, tuple: Tuple<Ip6>) -> Self {
        Self::new(protocol, tuple, SYN, 128)
    }

    /// A packet that answers: a SYN with ACK, a datagram, an echo reply.
    pub fn answer(protocol: Protocol, tuple: Tuple<Ip6>) -> Self {
        Self::new(protocol, tuple, SYN | ACK, 129)
    }

    fn new(protocol: Protocol, tuple: Tuple<Ip6>, flags: u8, kind: u8) -> Self {
        let (source, target) = (tuple.source_port, tuple.target_port);
        let message = match protocol {
            Protocol::Tcp => Message::Tcp {
                source,
                target,
                flags,
                seq: 0x0102_0304,
                ack: 0x0a0b_0c0d,
            },
            Protocol::Udp => Message::Udp {
                source,
                target,
                is_summed: true,
            },
            Protocol::Sctp => Message::Sctp { source, target },
            Protocol::Gre | Protocol::Esp => Message::Other(protocol as u8),
            Protocol::Icmp => Message::Icmp {
                kind,
                id: if kind == 128 { source } else { target },
                seq: 1,
            },
        };
        Self {
            ingress: 0,
            to: [0; 6],
            from: [0x02, 0, 0, 0, 0xff, 1],
            source: tuple.source,
            target: tuple.target,
            hops: 64,
            class: 0,
            label: 0x1_2345,
            extensions: Vec::new(),
            message,
            payload: b"egret".to_vec(),
            padding: 0,
        }
    }

    /// An ICMPv6 error of this type and code about a frame, of which it quotes so many bytes from the IP
    /// header on; to whoever sent that. `rest` stands in front of the quotation.
    pub fn error(
        (kind, code, rest): (u8, u8, u32),
        from: Ip6,
        about: &[u8],
        quoted: usize,
    ) -> Self {
        let end = about.len().min(super::sums::IP + quoted);
        let sender = super::whole::whole(about).expect("a packet").source;
        let tuple = Tuple {
            source: from,
            target: sender,
            ..Tuple::default()
        };
        Self {
            message: Message::IcmpError { kind, code, rest },
            payload: about[super::sums::IP..end].to_vec(),
            ..Self::answer(Protocol::Icmp, tuple)
        }
    }

    /// The same with other TCP flags; anything but TCP stays as it is.
    pub fn flags(mut self, wanted: u8) -> Self {
        if let Message::Tcp { flags, .. } = &mut self.message {
            *flags = wanted;
        }
        self
    }

    /// The same with this payload.
    pub fn payload(self, payload: &[u8]) -> Self {
        Self {
            payload: payload.to_vec(),
            ..self
        }
    }

    /// The same with so many hops left.
    pub fn hops(self, hops: u8) -> Self {
        Self { hops, ..self }
    }

    /// The same with one more extension header, of zeros.
    pub fn extension(mut self, number: u8, length: usize) -> Self {
        self.extensions.push((number, vec![0; length - 2]));
        self
    }

    /// The packet's transport header and payload.
    pub fn body(&self) -> Vec<u8> {
        let mut data = self.message.bytes();
        data.extend_from_slice(&self.payload);
        let length = data.len() as u16;
        let number = number(&self.message);
        let addresses = ones_add(sum(&self.source.0), sum(&self.target.0));
        let pseudo = ones_add(ones_add(addresses, length), u16::from(number));
        self.message.seal(pseudo, &mut data);
        data
    }

    /// The frame.
    pub fn frame(&self) -> Frame {
        let between = between(&self.extensions, number(&self.message));
        self.frame_of(&between, &self.body())
    }

    /// The frames of the packet cut into fragments at these places, in bytes behind the fragment header.
    /// What is sketched as extensions stands before it.
    pub fn fragments(&self, id: u32, cuts: &[usize]) -> Vec<Frame> {
        let body = self.body();
        let mut edges = vec![0];
        edges.extend(cuts);
        edges.push(body.len());
        let cut = |pair: &[usize]| {
            let more = u8::from(pair[1] < body.len());
            let [high, low] = (pair[0] as u16).to_be_bytes();
            let mut header = vec![high, low | more];
            header.extend(id.to_be_bytes());
            let mut extensions = self.extensions.clone();
            extensions.push((44, header));
            let between = between(&extensions, number(&self.message));
            self.frame_of(&between, &body[pair[0]..pair[1]])
        };
        edges.windows(2).map(cut).collect()
    }

    fn frame_of(&self, (next, between): &(u8, Vec<u8>), body: &[u8]) -> Frame {
        let payload = between.len() + body.len();
        let first = 6 << 28 | u32::from(self.class) << 20 | self.label;
        let mut bytes = [self.to, self.from].concat();
        bytes.extend([0x86, 0xdd]);
        bytes.extend(first.to_be_bytes());
        bytes.extend((payload as u16).to_be_bytes());
        bytes.extend([*next, self.hops]);
        bytes.extend(self.source.0);
        bytes.extend(self.target.0);
        bytes.extend(between);
        bytes.extend(body);
        bytes.resize(bytes.len() + self.padding, 0);
        Frame {
            bytes,
            ingress: self.ingress,
        }
    }
}

/// A message's number behind an IPv6 header.
fn number(message: &Message) -> u8 {
    match message.protocol() {
        1 => 58,
        number => number,
    }
}

/// The first header's number, and the extension headers, the last of which names `last`.
fn between(extensions: &[(u8, Vec<u8>)], last: u8) -> (u8, Vec<u8>) {
    let numbers = extensions.iter().map(|(number, _)| *number);
    let followers = numbers.clone().skip(1).chain([last]);
    let mut bytes = Vec::new();
    for ((number, rest), follower) in extensions.iter().zip(followers) {
        let length = match number {
            44 => 0,
            _ => (rest.len() / 8) as u8,
        };
        bytes.extend([follower, length]);
        bytes.extend(rest);
    }
    (numbers.clone().next().unwrap_or(last), bytes)
}

/// An address as people write it; an IPv4 one is mapped.
pub fn ip6(text: &str) -> Ip6 {
    match text.parse().expect("an address") {
        std::net::IpAddr::V4(it) => Ip6::mapped(abi::Ip4(it.octets())),
        std::net::IpAddr::V6(it) => Ip6(it.octets()),
    }
}

/// A tuple from a client's port to a service.
pub fn tuple6(source: (&str, u16), target: (&str, u16)) -> Tuple<Ip6> {
    Tuple {
        source: ip6(source.0),
        target: ip6(target.0),
        source_port: Port::new(source.1),
        target_port: Port::new(target.1),
    }
}
