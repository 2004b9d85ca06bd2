//! What is remembered of a packet that comes in fragments: its ports, which only the first one
//! carries, and which parts of it have passed.

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
}

/// Runs of a packet's bytes that have passed, at most: fragments usually come in order, and then
/// there is one.
pub const RUNS: usize = 4;

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
    #[inline(always)]
    pub fn new((source_port, target_port): (Port, Port), units: u16, created: Tick) -> Self {
        Self {
            source_port,
            target_port,
            created,
            // Zeros first: written together, they must be aligned together on the BPF stack.
            runs: [
                Shared::from(0),
                Shared::from(0),
                Shared::from(0),
                Shared::from((units as u32) << 16),
            ],
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Fragments {
    /// The same, in a place of its own.
    pub fn duplicate(&self) -> Self {
        let runs = &self.runs;
        Self {
            runs: core::array::from_fn(|index| Shared::from(runs[index].get())),
            ..*self
        }
    }
}

const _: () = assert!(size_of::<FragmentKey>() == 16);
const _: () = assert!(size_of::<FragmentKey<Ip6>>() == 40);
const _: () = assert!(size_of::<Fragments>() == 24);
const _: () = assert!(size_of::<Fragments<Picture>>() == 24);
