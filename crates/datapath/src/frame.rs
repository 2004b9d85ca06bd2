//! Frames in memory: the headers as types, and the one way to look at them.
//!
//! Every field is bytes or a wire type, so every header has alignment 1 and any bytes are a valid
//! one. What is a number on the wire is read by a method; a field never is one in host order.
#![expect(
    unsafe_code,
    reason = "headers are views of bytes; the promises stand with the trait"
)]

use core::hint::black_box;

use abi::{Ip4, Ip6, NextHop, Port};

use crate::checksum::Sum;

/// A header: `repr(C)`, alignment 1, any bytes valid.
///
/// # Safety
///
/// The implementer promises exactly that.
pub unsafe trait Wire: Sized {
    /// Bytes it takes.
    const LEN: usize = size_of::<Self>();
}

/// A frame that may be edited in place, resized, and asked where it came from.
pub trait Packet {
    /// Length of the frame in bytes.
    fn len(&self) -> usize;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The interface it came by.
    fn ingress(&self) -> u32;

    /// Borrows the header at `offset`; nothing if the frame ends before it does.
    fn at<T: Wire>(&mut self, offset: usize) -> Option<&mut T>;

    /// Copies the whole frame to the beginning of `room`; `false` if it is larger.
    fn copy(&mut self, room: &mut [u8]) -> bool;

    /// Cuts or extends the frame's end so that it is `len` bytes long. What is added is zero.
    /// On failure nothing changes.
    fn resize(&mut self, len: usize) -> bool;

    /// Cuts `bytes` bytes off the front. On failure nothing changes.
    fn advance(&mut self, bytes: usize) -> bool;

    /// Makes room for `bytes` bytes in front. What is added is unspecified.
    /// On failure nothing changes.
    fn prepend(&mut self, bytes: usize) -> bool;
}

/// Borrows the header at `offset` of a frame in plain memory.
pub fn at<T: Wire>(frame: &mut [u8], offset: usize) -> Option<&mut T> {
    let bytes = frame.get_mut(offset..offset.checked_add(size_of::<T>())?)?;
    // SAFETY: `bytes` is exactly as long as `T` and borrowed uniquely for the result's lifetime;
    // `Wire` promises that alignment and validity hold for any bytes.
    Some(unsafe { &mut *bytes.as_mut_ptr().cast() })
}

/// Ethertypes, as they stand on the wire.
pub mod ethertype {
    /// RFC 894.
    pub const IPV4: [u8; 2] = [0x08, 0x00];
    /// RFC 2464.
    pub const IPV6: [u8; 2] = [0x86, 0xdd];
    /// IEEE 802.1Q.
    pub const VLAN: [u8; 2] = [0x81, 0x00];
    /// IEEE 802.1ad.
    pub const QINQ: [u8; 2] = [0x88, 0xa8];
}

/// An Ethernet header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Destination, then source.
    pub macs: [u8; 12],
    /// What follows, see [`ethertype`].
    pub ethertype: [u8; 2],
}

impl Link {
    /// Whether it is addressed to more than one station.
    #[inline(always)]
    pub const fn is_multicast(&self) -> bool {
        self.macs[0] & 1 != 0
    }

    /// The address it is for.
    #[inline(always)]
    pub const fn destination(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.macs;
        [a, b, c, d, e, f]
    }

    /// Addresses the frame to its next hop.
    #[inline(always)]
    pub const fn readdress(&mut self, hop: &NextHop) {
        self.macs = Self::of(hop.macs, self.ethertype).macs;
    }

    /// Its two addresses in words, as [`NextHop::macs`]. What is kept for later is kept in words: byte by
    /// byte, the compiler for BPF gives each a place on the stack.
    #[inline(always)]
    pub const fn words(&self) -> [u32; 3] {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.macs;
        [
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
        ]
    }

    /// The header of these words.
    #[inline(always)]
    pub const fn of([x, y, z]: [u32; 3], ethertype: [u8; 2]) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (x.to_ne_bytes(), y.to_ne_bytes());
        let [i, j, k, l] = z.to_ne_bytes();
        Self {
            macs: [a, b, c, d, e, f, g, h, i, j, k, l],
            ethertype,
        }
    }

    /// The same of an answer, which goes the other way round.
    #[inline(always)]
    pub fn answer(&self) -> [u32; 3] {
        let [x, y, z] = self.words();
        let (x, y, z) = (u32::from_le(x), u32::from_le(y), u32::from_le(z));
        // Hidden, or the compiler would see through it and keep bytes after all.
        black_box([
            (y >> 16 | z << 16).to_le(),
            (z >> 16 | x << 16).to_le(),
            (x >> 16 | y << 16).to_le(),
        ])
    }
}

/// An IPv4 header without its options (RFC 791).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv4 {
    /// Version, and header length in units of four bytes.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Length of the packet, see [`Ipv4::total`].
    pub total: [u8; 2],
    /// Identification.
    pub id: [u8; 2],
    /// Flags and fragment offset.
    pub fragment: [u8; 2],
    /// Hops left, and the protocol, one word of the checksum.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    /// Header checksum.
    pub check: [u8; 2],
    /// Source address.
    pub source: Ip4,
    /// Destination address.
    pub target: Ip4,
}

impl Ipv4 {
    /// Whether the version field says so.
    #[inline(always)]
    pub const fn is_version_4(&self) -> bool {
        self.version_ihl >> 4 == 4
    }

    /// Header length in bytes, 0 to 60, options included.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Length of the packet in bytes, header included.
    #[inline(always)]
    pub const fn total(&self) -> u16 {
        u16::from_be_bytes(self.total)
    }

    /// Whether it is a part of a packet: More Fragments is set or the offset is not zero.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        u16::from_ne_bytes(self.fragment) & 0x3fff_u16.to_be() != 0
    }

    /// Where in the packet's payload it begins, in units of eight bytes.
    #[inline(always)]
    pub const fn offset(&self) -> u16 {
        u16::from_be_bytes(self.fragment) & 0x1fff
    }

    /// Whether more fragments follow.
    #[inline(always)]
    pub const fn has_more(&self) -> bool {
        u16::from_be_bytes(self.fragment) & 0x2000 != 0
    }

    /// Whether it must not be fragmented.
    #[inline(always)]
    pub const fn dont_fragment(&self) -> bool {
        self.fragment[0] & 0x40 != 0
    }

    /// The same header, which has no options, with its checksum.
    #[inline(always)]
    pub fn sealed(mut self) -> Self {
        self.check = Sum::ZERO
            .add2([self.version_ihl, self.tos])
            .add2(self.total)
            .add2(self.id)
            .add2(self.fragment)
            .add2([self.ttl, self.protocol])
            .add4(self.source.0)
            .add4(self.target.0)
            .checksum();
        self
    }
}

/// An IPv6 header (RFC 8200 §3).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv6 {
    /// Version, traffic class and flow label.
    pub first: [u8; 4],
    /// Length of what follows the header.
    pub payload: [u8; 2],
    /// What follows.
    pub next: u8,
    /// Hops left.
    pub hops: u8,
    /// Source address.
    pub source: Ip6,
    /// Destination address.
    pub target: Ip6,
}

impl Ipv6 {
    /// Whether the version field says so.
    #[inline(always)]
    pub const fn is_version_6(&self) -> bool {
        self.first[0] >> 4 == 6
    }

    /// Length of the packet in bytes, header included.
    #[inline(always)]
    pub const fn total(&self) -> usize {
        Self::LEN + u16::from_be_bytes(self.payload) as usize
    }

    /// The octet that IPv4 calls TOS.
    #[inline(always)]
    pub const fn class(&self) -> u8 {
        self.first[0] << 4 | self.first[1] >> 4
    }
}

/// What may stand between an IPv6 header and the transport's (RFC 8200 §4).
pub mod extension {
    /// Options for every hop.
    pub const HOP_BY_HOP: u8 = 0;
    /// Nodes to visit.
    pub const ROUTING: u8 = 43;
    /// A part of a packet, see [`super::Fragment`].
    pub const FRAGMENT: u8 = 44;
    /// Nothing follows.
    pub const NOTHING: u8 = 59;
    /// Options for the receiver.
    pub const DESTINATION: u8 = 60;
}

/// The header of a part of an IPv6 packet (RFC 8200 §4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// What follows.
    pub next: u8,
    /// Zero.
    pub reserved: u8,
    /// Fragment offset, two bits, and whether more follow.
    pub offset: [u8; 2],
    /// Identification.
    pub id: [u8; 4],
}

impl Fragment {
    /// Where in the packet's payload it begins, in units of eight bytes.
    #[inline(always)]
    pub const fn offset(&self) -> u16 {
        u16::from_be_bytes(self.offset) >> 3
    }

    /// Whether more fragments follow.
    #[inline(always)]
    pub const fn has_more(&self) -> bool {
        self.offset[1] & 1 != 0
    }

    /// Identification, flags and offset as an IPv4 header has them (RFC 7915 §5.1.1).
    #[inline(always)]
    pub const fn in_ip4(&self) -> ([u8; 2], [u8; 2]) {
        let [_, _, high, low] = self.id;
        let more = if self.has_more() { 0x2000 } else { 0 };
        ([high, low], (self.offset() | more).to_be_bytes())
    }
}

/// An SCTP common header (RFC 9260 §3.1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sctp {
    /// Source port.
    pub source: Port,
    /// Destination port.
    pub target: Port,
    /// Verification tag.
    pub tag: [u8; 4],
    /// Checksum, which does not cover the addresses.
    pub check: [u8; 4],
}

/// A UDP header (RFC 768).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Source port.
    pub source: Port,
    /// Destination port.
    pub target: Port,
    /// Length of header and data.
    pub length: [u8; 2],
    /// Checksum; zero is none.
    pub check: [u8; 2],
}

/// A TCP header without its options (RFC 9293).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Source port.
    pub source: Port,
    /// Destination port.
    pub target: Port,
    /// Sequence number.
    pub seq: [u8; 4],
    /// Acknowledgment number.
    pub ack: [u8; 4],
    /// Header length in the high four bits, in units of four bytes.
    pub offset: u8,
    /// Control bits, see the constants.
    pub flags: u8,
    /// Window.
    pub window: [u8; 2],
    /// Checksum.
    pub check: [u8; 2],
    /// Urgent pointer.
    pub urgent: [u8; 2],
}

impl Tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;

    /// Header length in bytes, 0 to 60, options included.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        (self.offset >> 4) as usize * 4
    }
}

/// The first eight bytes of an ICMP message (RFC 792, RFC 4443), as an echo has them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub check: [u8; 2],
    /// Identifier of an echo.
    pub id: Port,
    /// Sequence number of an echo; next-hop MTU of "fragmentation needed".
    pub seq: [u8; 2],
}

impl Icmp {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (deprecated by RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp request.
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;

    /// Whether it asks somebody: echo and timestamp. The others are deprecated (RFC 6918).
    #[inline(always)]
    pub const fn is_query(kind: u8) -> bool {
        matches!(kind, Self::ECHO | Self::TIMESTAMP)
    }

    /// Whether it answers such a question.
    #[inline(always)]
    pub const fn is_reply(kind: u8) -> bool {
        matches!(kind, Self::ECHO_REPLY | Self::TIMESTAMP_REPLY)
    }

    /// Whether it tells about another packet, which it quotes.
    #[inline(always)]
    pub const fn is_error(&self) -> bool {
        matches!(
            self.kind,
            Self::UNREACHABLE
                | Self::SOURCE_QUENCH
                | Self::REDIRECT
                | Self::TIME_EXCEEDED
                | Self::PARAMETER_PROBLEM
        )
    }
}

/// Types of ICMPv6 messages (RFC 4443).
pub mod icmp6 {
    /// The number of the protocol.
    pub const NUMBER: u8 = 58;

    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;

    /// Whether it is for the link only: routers, neighbours, redirects (RFC 4861).
    #[inline(always)]
    pub const fn is_of_the_link(kind: u8) -> bool {
        matches!(kind, 133..=137)
    }

    /// Whether it tells about another packet, which it quotes.
    #[inline(always)]
    pub const fn is_error(kind: u8) -> bool {
        kind < 128
    }
}

// SAFETY: byte arrays and wire types only; alignments asserted below.
unsafe impl Wire for Link {}
// SAFETY: as above.
unsafe impl Wire for Ipv6 {}
// SAFETY: as above.
unsafe impl Wire for Fragment {}
// SAFETY: as above.
unsafe impl Wire for Ipv4 {}
// SAFETY: as above.
unsafe impl Wire for Udp {}
// SAFETY: as above.
unsafe impl Wire for Sctp {}
// SAFETY: as above.
unsafe impl Wire for Tcp {}
// SAFETY: as above.
unsafe impl Wire for Icmp {}
// SAFETY: an array of bytes.
unsafe impl<const N: usize> Wire for [u8; N] {}

const _: () = assert!(size_of::<Link>() == 14 && align_of::<Link>() == 1);
const _: () = assert!(size_of::<Ipv4>() == 20 && align_of::<Ipv4>() == 1);
const _: () = assert!(size_of::<Ipv6>() == 40 && align_of::<Ipv6>() == 1);
const _: () = assert!(size_of::<Fragment>() == 8 && align_of::<Fragment>() == 1);
const _: () = assert!(size_of::<Udp>() == 8 && align_of::<Udp>() == 1);
const _: () = assert!(size_of::<Tcp>() == 20 && align_of::<Tcp>() == 1);
const _: () = assert!(size_of::<Icmp>() == 8 && align_of::<Icmp>() == 1);
