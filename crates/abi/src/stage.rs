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
    /// A packet that no flow wants, whose addresses may be translated one to one. Before
    /// [`Stage::Open`] and [`Stage::Part`], where there are such prefixes.
    Fixed = 7,
    /// The same, of IPv6.
    SixFixed = 8,
    /// What another member of the cluster handed over, in an outer header.
    Tunnel = 9,
    /// A packet of a flow that another member holds: handed to it.
    Relay = 10,
    /// Before [`Stage::Open`] in a cluster: whether this member is to begin the flow.
    Own = 11,
    /// The same before [`Stage::SixOpen`].
    SixOwn = 12,
    /// The same before [`Stage::CrossOpen`].
    CrossOwn = 13,
}

/// What a gateway has to do with, beside flows of IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// Packets of IPv6.
    pub ipv6: bool,
    /// Prefixes whose addresses are translated one to one.
    pub fixed: bool,
    /// Other members of a cluster.
    pub cluster: bool,
}

impl Needs {
    /// All there is.
    pub const ALL: Self = Self {
        ipv6: true,
        fixed: true,
        cluster: true,
    };

    /// What either has to do with.
    pub const fn and(self, other: Self) -> Self {
        Self {
            ipv6: self.ipv6 || other.ipv6,
            fixed: self.fixed || other.fixed,
            cluster: self.cluster || other.cluster,
        }
    }
}

impl Stage {
    /// All of them, by index.
    pub const ALL: [Self; 14] = [
        Self::Open,
        Self::Part,
        Self::Six,
        Self::SixOpen,
        Self::SixPart,
        Self::Cross,
        Self::CrossOpen,
        Self::Fixed,
        Self::SixFixed,
        Self::Tunnel,
        Self::Relay,
        Self::Own,
        Self::SixOwn,
        Self::CrossOwn,
    ];

    /// Whether a gateway with these needs needs it.
    pub const fn is_needed(self, needs: Needs) -> bool {
        match self {
            Self::Open | Self::Part => true,
            Self::Six | Self::SixOpen | Self::SixPart | Self::Cross | Self::CrossOpen => needs.ipv6,
            Self::Fixed => needs.fixed,
            Self::SixFixed => needs.fixed && needs.ipv6,
            Self::Tunnel | Self::Relay | Self::Own => needs.cluster,
            Self::SixOwn | Self::CrossOwn => needs.cluster && needs.ipv6,
        }
    }

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
            Self::Fixed => "egret_fixed",
            Self::SixFixed => "egret_six_fixed",
            Self::Tunnel => "egret_tunnel",
            Self::Relay => "egret_relay",
            Self::Own => "egret_own",
            Self::SixOwn => "egret_six_own",
            Self::CrossOwn => "egret_cross_own",
        }
    }
}

/// The name of the program that takes every packet first, as `bpftool prog` shows it.
pub const ENTRY: &str = "egret";
