//! What is counted, per CPU.

use crate::PROTOCOLS;

/// Packets and bytes of one kind.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, whole frames as they arrived.
    pub bytes: u64,
}

impl Counter {
    /// Adds what another CPU counted.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

/// What one pool carried.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolCounters {
    /// Towards the external realm.
    pub outbound: Counter,
    /// Towards the internal realm.
    pub inbound: Counter,
    /// Flows begun, by protocol ([`crate::Protocol::space`]).
    pub opened: [u64; PROTOCOLS],
}

impl PoolCounters {
    /// Adds what another CPU counted.
    pub fn plus(self, other: Self) -> Self {
        let mut opened = self.opened;
        for (sum, more) in opened.iter_mut().zip(other.opened) {
            *sum = sum.wrapping_add(more);
        }
        Self {
            outbound: self.outbound.plus(other.outbound),
            inbound: self.inbound.plus(other.inbound),
            opened,
        }
    }
}

/// What came of telling a client that its packet was refused.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Told {
    /// It was told by ICMP.
    Icmp = 0,
    /// It was told by RST.
    Reset = 1,
    /// It was to be told by ICMP and was not: it, or all clients, had been sent enough, or the packet
    /// was none that can be answered.
    Withheld = 2,
}

impl Told {
    /// All of them, by index.
    pub const ALL: [Self; 3] = [Self::Icmp, Self::Reset, Self::Withheld];

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Reset => "reset",
            Self::Withheld => "withheld",
        }
    }
}

const _: () = assert!(size_of::<Counter>() == 16);
const _: () = assert!(size_of::<PoolCounters>() == 80);
