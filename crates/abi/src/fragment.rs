//! What is remembered of a packet that comes in fragments: its ports, which only the first one
//! carries, and which parts of it have passed. And what the packet path hands to the daemon, so that
//! what comes before the first one is held until that comes.

use crate::{Address, Ip4, Ip6, Live, Picture, Port, Shared, Tick, View};

/// What the fragments of a packet have in common (RFC 791 §3.2, RFC 8200 §4.5).
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FragmentKey<A = Ip4> {
    /// Source address.
    pub source: A,
    /// Target address.
    pub target: A,
    /// Identification, as on the wire; IPv4's are the last two bytes of it.
    pub id: [u8; 4],
    /// The number in the IP header; of IPv6, what the fragment header says.
    pub protocol: u8,
    _pad: [u8; 3],
}

impl<A: Address> FragmentKey<A> {
    /// The key of a fragment.
    #[inline(always)]
    pub const fn new(source: A, target: A, id: [u8; 4], protocol: u8) -> Self {
        Self {
            source,
            target,
            id,
            protocol,
            _pad: [0; 3],
        }
    }

    /// The same for tables of both versions of IP.
    #[inline(always)]
    pub fn wide(&self) -> FragmentKey<Ip6> {
        let (source, target) = (self.source.wide(), self.target.wide());
        FragmentKey::new(source, target, self.id, self.protocol)
    }
}

impl FragmentKey<Ip6> {
    /// The same for tables of IPv4, if it is of an IPv4 packet.
    pub fn narrow(&self) -> Option<FragmentKey<Ip4>> {
        let (source, target) = (self.source.ip4()?, self.target.ip4()?);
        Some(FragmentKey::new(source, target, self.id, self.protocol))
    }
}

/// Runs of a packet's bytes that have passed, at most. Fragments usually come in order, and then there
/// is one; there can never be more than one for every second fragment. The largest packet is 45
/// fragments on a link of 1,500 bytes, so it may come in any order at all. A power of two, so that a
/// place is found by masking.
pub const RUNS: usize = 32;

/// Ticks after its first fragment in which a packet's others are awaited; its receiver waits for at
/// most about as long (RFC 1122 §3.3.2).
pub const LASTING: u32 = 30;

/// What is known of a packet since its first fragment came.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct Fragments<V: View = Live> {
    /// Source port, or ICMP identifier.
    pub source_port: Port,
    /// Target port, or ICMP identifier.
    pub target_port: Port,
    /// When the first fragment came.
    pub created: Tick,
    /// Runs of bytes that have passed, behind the IP header: the first in the low half, the one
    /// after the last in the high half, in units of eight bytes, rounded up. Zero is none.
    pub runs: [V::W32; RUNS],
}

impl Fragments {
    /// What is known when the first fragment has come, with so many units of eight bytes.
    pub fn new(ports: (Port, Port), units: u16, created: Tick) -> Self {
        let mut fragments = Self {
            source_port: Port::new(0),
            target_port: Port::new(0),
            created,
            runs: core::array::from_fn(|_| Shared::from(0)),
        };
        fragments.begin(ports, units, created);
        fragments
    }

    /// Makes this what is known then. What it was before must have been made so too, and never
    /// added to.
    #[inline(always)]
    pub fn begin(&mut self, (source_port, target_port): (Port, Port), units: u16, created: Tick) {
        self.source_port = source_port;
        self.target_port = target_port;
        self.created = created;
        self.runs[0].set((units as u32) << 16);
    }
}

impl<V: View> Fragments<V> {
    /// Whether this was so long ago that what comes now is of another packet.
    #[inline(always)]
    pub const fn is_old(&self, now: Tick) -> bool {
        now.0.wrapping_sub(self.created.0) > LASTING
    }
}

impl Clone for Fragments<Picture> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Fragments<Picture> {}

/// What the packet path tells the daemon of a packet in fragments: in front of a frame, that this
/// came before the first one, or is to be cut into smaller ones; alone, that the first one has come.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`, to the kernel's coarse clock.
    pub at: u64,
    /// Which packet.
    pub key: FragmentKey<Ip6>,
    /// The interface the frame came by.
    pub ingress: u32,
    /// Bytes of the frame; zero if there is none.
    pub length: u16,
    /// Bytes of the longest IPv6 packet that its pieces may become; zero if it is not to be cut.
    pub mtu: u16,
}

impl Held {
    /// A frame that came before the first one of its packet.
    #[inline(always)]
    pub const fn early(at: u64, key: FragmentKey<Ip6>, ingress: u32, length: u16) -> Self {
        Self {
            at,
            key,
            ingress,
            length,
            mtu: 0,
        }
    }

    /// The same, to be cut into pieces that become IPv6 packets of at most `mtu` bytes.
    #[inline(always)]
    pub const fn cut(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    /// The first one has come.
    #[inline(always)]
    pub const fn first(at: u64, key: FragmentKey<Ip6>) -> Self {
        Self::early(at, key, 0, 0)
    }
}

const _: () = assert!(size_of::<FragmentKey>() == 16);
const _: () = assert!(size_of::<Fragments>() == 136);
const _: () = assert!(size_of::<Fragments<Picture>>() == 136);
const _: () = assert!(size_of::<Held>() == 56);
const _: () = assert!(size_of::<FragmentKey<Ip6>>() == 40);
