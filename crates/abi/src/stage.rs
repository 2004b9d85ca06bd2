//! The programs of the packet path: what every packet needs is one, what few need are others, which
//! it hands those packets to by tail call.
//!
//! So the kernel verifies each by itself, each has 512 bytes of stack, and what is rare costs the
//! packets of established flows nothing.

/// A part of the packet path for packets that the first program has no quick answer to.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// No flow wants the packet: begin one, answer, refuse, or leave it to the kernel.
    Open = 0,
    /// A fragment, or a packet whose ports are not where a flow's are: ICMP errors, other protocols.
    Part = 1,
    /// An IPv6 packet.
    Six = 2,
    /// The same as [`Stage::Open`], of IPv6.
    SixOpen = 3,
    /// The same as [`Stage::Part`], of IPv6; also packets with extension headers.
    SixPart = 4,
    /// An IPv4 packet to somebody who has IPv6 (RFC 6146).
    Cross = 5,
    /// The same as [`Stage::Open`], of those.
    CrossOpen = 6,
}

impl Stage {
    /// All of them, by index.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::Part,
        Self::Six,
        Self::SixOpen,
        Self::SixPart,
        Self::Cross,
        Self::CrossOpen,
    ];

    /// The name of its program (15 bytes at most).
    pub const fn program(self) -> &'static str {
        match self {
            Self::Open => "egret_open",
            Self::Part => "egret_part",
            Self::Six => "egret_six",
            Self::SixOpen => "egret_six_open",
            Self::SixPart => "egret_six_part",
            Self::Cross => "egret_cross",
            Self::CrossOpen => "egret_cross_new",
        }
    }
}

/// The name of the program that takes every packet first, as `bpftool prog` shows it.
pub const ENTRY: &str = "egret";

/// The names of all programs, the first one first.
pub fn programs() -> impl Iterator<Item = &'static str> {
    [ENTRY].into_iter().chain(Stage::ALL.map(Stage::program))
}
