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
}

impl Stage {
    /// All of them, by index.
    pub const ALL: [Self; 2] = [Self::Open, Self::Part];

    /// The name of its program (15 bytes at most).
    pub const fn program(self) -> &'static str {
        match self {
            Self::Open => "egret_open",
            Self::Part => "egret_part",
        }
    }
}

/// The name of the program that takes every packet first, as `bpftool prog` shows it.
pub const ENTRY: &str = "egret";

/// The names of all programs, the first one first.
pub fn programs() -> impl Iterator<Item = &'static str> {
    [ENTRY].into_iter().chain(Stage::ALL.map(Stage::program))
}
