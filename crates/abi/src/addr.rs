//! Addresses, ports and tuples exactly as they stand on the wire: bytes, alignment 1.

use core::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
};

/// An IPv4 address in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ip4(pub [u8; 4]);

impl fmt::Debug for Ip4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

/// An IPv6 address in network byte order, or an IPv4 one mapped into it (RFC 4291 §2.5.5.2), which is
/// how tables that hold both write it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ip6(pub [u8; 16]);

impl Ip6 {
    /// An IPv4 address as a table for both versions writes it: `::ffff:0:0/96` and the address.
    #[inline(always)]
    pub const fn mapped(address: Ip4) -> Self {
        Self::of_value(0xffff << 32 | u32::from_be_bytes(address.0) as u128)
    }
}

impl Ip6 {
    /// The address of these two words, see [`Address::words`].
    #[inline(always)]
    pub const fn of_words(high: u64, low: u64) -> Self {
        Self::of_value((high as u128) << 64 | low as u128)
    }

    /// Taken apart and put together as one number: byte by byte, the compiler for BPF would keep it so,
    /// with a place on the stack for each.
    #[inline(always)]
    const fn of_value(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    #[inline(always)]
    const fn value(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The IPv4 address of a mapped one, see [`Ip6::mapped`]; of another, its last four bytes.
    #[inline(always)]
    pub const fn unmapped(self) -> Ip4 {
        Ip4((self.value() as u32).to_be_bytes())
    }
}

impl From<IpAddr> for Ip6 {
    /// The address as a table for both versions writes it.
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::mapped(Ip4(address.octets())),
            IpAddr::V6(address) => Self(address.octets()),
        }
    }
}

impl From<Ip6> for IpAddr {
    /// The address that is meant, of either version.
    fn from(address: Ip6) -> Self {
        Ipv6Addr::from(address.0).to_canonical()
    }
}

impl fmt::Debug for Ip6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// An address as keys and values of tables hold it: [`Ip4`] where both sides of a flow have one,
/// [`Ip6`] where one of them has not.
pub trait Address: kind::Kind + Copy + Ord + Hash + fmt::Debug + Default + 'static {
    /// Address bits as a longest-prefix-match table compares them.
    type Bits: Copy + Ord + Hash + fmt::Debug;
    /// What makes a key of three addresses and eight bytes a multiple of eight bytes.
    type Fill: Copy + Ord + Hash + fmt::Debug + Default;

    /// Bits of an address.
    const LENGTH: u32;
    /// No address.
    const NONE: Self;
    /// Nothing, to fill up a key.
    const FILL: Self::Fill;

    /// Whether it is that one. What `==` would say; but for IPv6 addresses that is a call that the BPF
    /// target does not have.
    fn is(self, other: Self) -> bool;
    /// The same IPv4 address, if it is one.
    fn ip4(self) -> Option<Ip4>;
    /// The same address as tables for both versions hold it.
    fn wide(self) -> Ip6;
    /// The address with this IPv4 address's meaning.
    fn of_ip4(address: Ip4) -> Self;
    /// A port in the place of an address, in its first two bytes.
    fn holding(port: Port) -> Self;
    /// The port that stands there.
    fn held(self) -> Port;
    /// That IPv6 address; of IPv4 ones, which have none, no address.
    fn of_ip6(address: Ip6) -> Self;
    /// Its bits, in the order of bytes on the wire.
    fn bits(self) -> Self::Bits;
    /// The first `length` of such bits, the others zero.
    fn cut(bits: Self::Bits, length: u32) -> Self::Bits;
    /// Whether it can be another host's, and only one's: not this host, loopback, multicast or broadcast
    /// (RFC 1122 §3.2.1.3, RFC 4291 §2.4). The reserved 240.0.0.0/4 can, because clusters use it.
    fn is_one_host(self) -> bool;
    /// Two words to hash.
    fn words(self) -> (u64, u64);
    /// The sum of its 32-bit words as this machine reads them; at most four times 0xffff_ffff.
    fn sum(self) -> u64;
    /// The same of the complements of its words.
    fn inverse_sum(self) -> u64;
}

/// There are two kinds of addresses, and layouts are checked for both.
mod kind {
    pub trait Kind {}
    impl Kind for super::Ip4 {}
    impl Kind for super::Ip6 {}
}

impl Address for Ip4 {
    type Bits = u32;
    type Fill = ();

    const LENGTH: u32 = 32;
    const NONE: Self = Self([0; 4]);
    const FILL: () = ();

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        self.bits() == other.bits()
    }

    #[inline(always)]
    fn ip4(self) -> Option<Ip4> {
        Some(self)
    }

    #[inline(always)]
    fn wide(self) -> Ip6 {
        Ip6::mapped(self)
    }

    #[inline(always)]
    fn of_ip4(address: Ip4) -> Self {
        address
    }

    #[inline(always)]
    fn holding(port: Port) -> Self {
        let [high, low] = port.0;
        Self([high, low, 0, 0])
    }

    #[inline(always)]
    fn held(self) -> Port {
        let [high, low, ..] = self.0;
        Port([high, low])
    }

    #[inline(always)]
    fn of_ip6(_: Ip6) -> Self {
        Self::NONE
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }

    fn cut(bits: u32, length: u32) -> u32 {
        bits & u32::MAX.checked_shl(32 - length).unwrap_or(0).to_be()
    }

    #[inline(always)]
    fn is_one_host(self) -> bool {
        let [first, ..] = self.0;
        !matches!(first, 0 | 127 | 224..=239) && self.bits() != u32::MAX
    }

    #[inline(always)]
    fn words(self) -> (u64, u64) {
        (u32::from_be_bytes(self.0) as u64, 0)
    }

    #[inline(always)]
    fn sum(self) -> u64 {
        self.bits() as u64
    }

    #[inline(always)]
    fn inverse_sum(self) -> u64 {
        !self.bits() as u64
    }
}

impl Address for Ip6 {
    type Bits = [u32; 4];
    type Fill = u32;

    const LENGTH: u32 = 128;
    const NONE: Self = Self([0; 16]);
    const FILL: u32 = 0;

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        u128::from_ne_bytes(self.0) == u128::from_ne_bytes(other.0)
    }

    #[inline(always)]
    fn ip4(self) -> Option<Ip4> {
        let [high, middle, low, last] = self.bits();
        let is_mapped = high | middle == 0 && low == u32::from_ne_bytes([0, 0, 0xff, 0xff]);
        is_mapped.then_some(Ip4(last.to_ne_bytes()))
    }

    #[inline(always)]
    fn wide(self) -> Ip6 {
        self
    }

    #[inline(always)]
    fn of_ip4(address: Ip4) -> Self {
        Self::mapped(address)
    }

    #[inline(always)]
    fn holding(port: Port) -> Self {
        Self::of_value((port.get() as u128) << 112)
    }

    #[inline(always)]
    fn held(self) -> Port {
        let [high, low, ..] = self.0;
        Port([high, low])
    }

    #[inline(always)]
    fn of_ip6(address: Ip6) -> Self {
        address
    }

    #[inline(always)]
    fn bits(self) -> [u32; 4] {
        let value = u128::from_le_bytes(self.0);
        [0, 32, 64, 96].map(|shift| ((value >> shift) as u32).to_le())
    }

    fn cut(bits: [u32; 4], length: u32) -> [u32; 4] {
        let mut left = length;
        bits.map(|word| {
            let here = left.min(32);
            left -= here;
            Ip4::cut(word, here)
        })
    }

    #[inline(always)]
    fn is_one_host(self) -> bool {
        if let Some(address) = self.ip4() {
            return address.is_one_host();
        }
        let (high, low) = self.words();
        high >> 56 != 0xff && (high != 0 || low > 1)
    }

    #[inline(always)]
    fn words(self) -> (u64, u64) {
        let value = self.value();
        ((value >> 64) as u64, value as u64)
    }

    #[inline(always)]
    fn sum(self) -> u64 {
        let [a, b, c, d] = self.bits();
        a as u64 + b as u64 + c as u64 + d as u64
    }

    #[inline(always)]
    fn inverse_sum(self) -> u64 {
        let [a, b, c, d] = self.bits();
        !a as u64 + !b as u64 + !c as u64 + !d as u64
    }
}

/// A transport port, or an ICMP identifier, in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Port(pub [u8; 2]);

impl Port {
    /// The port a person would call `host`.
    #[inline(always)]
    pub const fn new(host: u16) -> Self {
        Self(host.to_be_bytes())
    }

    /// The number a person would say.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

/// How many protocols there are.
pub const PROTOCOLS: usize = 6;

/// The IP protocols we translate, by their number.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// RFC 792. Queries only; the identifier stands where TCP has a port.
    Icmp = 1,
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
    /// RFC 2784. Without ports: both are zero.
    Gre = 47,
    /// RFC 4303. Without ports: both are zero.
    Esp = 50,
    /// RFC 9260. Its ports stay as they are.
    Sctp = 132,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; PROTOCOLS] = [
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Sctp,
        Self::Gre,
        Self::Esp,
    ];
    /// Those whose flows get a port, or an identifier, of an external address.
    pub const PORTED: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];
    /// Those of which addresses alone are translated, because there is no port to be had: what makes
    /// two flows different outside is then the external address.
    pub const BY_ADDRESS: [Self; 3] = [Self::Sctp, Self::Gre, Self::Esp];

    /// The protocol with this number in an IP header.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            47 => Some(Self::Gre),
            50 => Some(Self::Esp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Its place where something is counted for each; of those with ports, also which of an external
    /// address's port spaces it uses.
    #[inline(always)]
    pub const fn space(self) -> usize {
        match self {
            Self::Tcp => 0,
            Self::Udp => 1,
            Self::Icmp => 2,
            Self::Sctp => 3,
            Self::Gre => 4,
            Self::Esp => 5,
        }
    }

    /// Whether addresses alone are translated, see [`Protocol::BY_ADDRESS`].
    #[inline(always)]
    pub const fn is_by_address(self) -> bool {
        match self {
            Self::Sctp | Self::Gre | Self::Esp => true,
            Self::Tcp | Self::Udp | Self::Icmp => false,
        }
    }
}

/// Source and target of a packet, laid out as in an IP header without options and the transport header
/// behind it.
///
/// An ICMP query has its identifier as the asking side's port and zero as the other's.
///
/// Aligned like every type that lives on the stack of the kernel program: the compiler merges
/// neighbouring stores, and the verifier wants stores to the stack aligned.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tuple<A = Ip4> {
    /// Source address.
    pub source: A,
    /// Target address.
    pub target: A,
    /// Source port.
    pub source_port: Port,
    /// Target port.
    pub target_port: Port,
}

impl<A: Copy> Tuple<A> {
    /// The same conversation as seen by its other side.
    #[inline(always)]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.target,
            target: self.source,
            source_port: self.target_port,
            target_port: self.source_port,
        }
    }
}

impl<A: Address> Tuple<A> {
    /// Nobody to nobody.
    pub const NONE: Self = Self {
        source: A::NONE,
        target: A::NONE,
        source_port: Port::new(0),
        target_port: Port::new(0),
    };

    /// Whether its addresses are IPv4.
    #[inline(always)]
    pub fn is_ip4(&self) -> bool {
        self.target.ip4().is_some()
    }

    /// The same in the tables of IPv4, if both its addresses are of that.
    pub fn narrow(&self) -> Option<Tuple> {
        Some(Tuple {
            source: self.source.ip4()?,
            target: self.target.ip4()?,
            source_port: self.source_port,
            target_port: self.target_port,
        })
    }

    /// The same, as tables for both versions of IP hold it.
    #[inline(always)]
    pub fn wide(self) -> Tuple<Ip6> {
        Tuple {
            source: self.source.wide(),
            // Read alone: together with the ports it would not be aligned on the BPF stack.
            target: core::hint::black_box(self.target).wide(),
            source_port: self.source_port,
            target_port: self.target_port,
        }
    }
}

const _: () = assert!(size_of::<Tuple>() == 12);
const _: () = assert!(size_of::<Tuple<Ip6>>() == 36);
