//! What the kernel program and user space agree on: map keys, values, counters, reasons, limits.
//!
//! Every type here is `repr(C)`, has no hidden padding and a size asserted at compile time, because
//! the same bytes are read by the packet path (compiled for BPF), by the native build of the packet
//! path (tests, fuzzing) and by the daemon. It knows no behaviour beyond encoding and decoding.
//!
//! A change to any layout is a change of [`LAYOUT`]: a daemon never reads pinned maps of another
//! layout.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics),
    allow(internal_features)
)]
#![deny(unsafe_code)]

pub mod addr;
pub mod behaviour;
pub mod blocks;
pub mod cluster;
pub mod config;
pub mod counter;
pub mod event;
pub mod external;
pub mod fixed;
pub mod flow;
pub mod fragment;
pub mod hash;
pub mod lease;
pub mod limits;
pub mod mapping;
pub mod policy;
pub mod ports;
pub mod prefix64;
pub mod quota;
pub mod reason;
pub mod shared;
pub mod stage;
pub mod time;

pub use addr::{Address, Ip4, Ip6, PROTOCOLS, Port, Protocol, Tuple};
pub use behaviour::{Behaviour, Dependence, Refusal};
pub use blocks::Blocks;
pub use cluster::{Buckets, Member, Trip};
pub use config::{Config, Interface, Realm};
pub use counter::{Counter, PoolCounters, Told};
pub use event::Opened;
pub use external::{External, ExternalState};
pub use fixed::{Fixed, FixedKey, Renumbered};
pub use flow::{Flow, FlowKey, NextHop, Seen, Side};
pub use fragment::{FragmentKey, Fragments, Held};
pub use lease::Lease;
pub use mapping::{Admits, End, Mapping, MappingKey};
pub use policy::{Action, ClassKey, Dimension, Pool, Rule, RuleSet, Slot, Slots6};
pub use ports::PortWord;
pub use prefix64::Prefix64;
pub use quota::{Exceeded, Holder, Limits, Load, Numbered, Quota, Use};
pub use reason::{Reason, Verdict};
pub use shared::{Live, Picture, Shared, View};
pub use stage::{Needs, Stage};
pub use time::Tick;

/// The number of this set of layouts. Pinned maps of another number are refused, never reread.
pub const LAYOUT: u32 = 7;

/// The names of the maps, as they are pinned and as `bpftool map` shows them (15 bytes at most).
pub mod map {
    /// `FlowKey` → `Flow`: both directions of every flow, each under the tuple as it arrives.
    pub const FLOWS: &str = "FLOWS";
    /// `MappingKey` → `Mapping`: which external port an internal endpoint has, whose an external port
    /// is, and who may send to it (RFC 4787 §4 and §5).
    pub const MAPPINGS: &str = "MAPPINGS";
    /// `MappingKey<Ip6>` → `Lease`: until when mappings of both kinds stand that were asked for, under their
    /// external ends. For the daemon only; here so that a restart loses none.
    pub const LEASES: &str = "LEASES";
    /// `FragmentKey` → `Fragments`: packets of which a first fragment has come. When it is full, the
    /// one that was asked for least recently goes.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// `FragmentKey<Ip6>` → not looked at: packets of which fragments came before the first one, of
    /// both versions of IP. When it is full, the one that was asked for least recently goes.
    pub const AWAITED: &str = "AWAITED";
    /// The ring of [`Held`](crate::Held) records and frames, from the packet path to who holds them.
    pub const HELD: &str = "HELD";
    /// Hash of a sender → fragments that were handed over from it in this second. Emptied by the
    /// daemon.
    pub const HELD_BY: &str = "HELD_BY";
    /// `FlowKey<Ip6>` → `Flow<_, Ip6>`: the same of flows that have an IPv6 address on one side or
    /// both; an IPv4 address stands there as a mapped one.
    pub const FLOWS6: &str = "FLOWS6";
    /// `MappingKey<Ip6>` → `Mapping<Ip6>`: the same of their mappings.
    pub const MAPPINGS6: &str = "MAPPINGS6";
    /// `FragmentKey<Ip6>` → `Fragments`: the same of IPv6 packets.
    pub const FRAGMENTS6: &str = "FRAGMENTS6";
    /// Index → bitmaps of ports that are taken and of ports that are held back, for each external
    /// address and port space, and for each plane of an overloaded address.
    pub const PORTS: &str = "PORTS";
    /// `Ip4` → `External`: the addresses we answer for.
    pub const EXTERNALS: &str = "EXTERNALS";
    /// `Ip6` → `External`: the same of IPv6.
    pub const EXTERNALS6: &str = "EXTERNALS6";
    /// `ClassKey` → `RuleSet`: which rules want a packet, one dimension at a time.
    pub const CLASSES: &str = "CLASSES";
    /// `ClassKey<Ip6>` → `RuleSet`: the same for IPv6 addresses.
    pub const CLASSES6: &str = "CLASSES6";
    /// `FixedKey` → `Fixed`: prefixes whose addresses are translated one to one.
    pub const FIXED: &str = "FIXED";
    /// `FixedKey<Ip6>` → `Fixed`: the same of IPv6 (RFC 6296).
    pub const FIXED6: &str = "FIXED6";
    /// Bank and index → `Rule`.
    pub const RULES: &str = "RULES";
    /// Bank and index → `Pool`.
    pub const POOLS: &str = "POOLS";
    /// A rule's number → `Numbered`: its name and what it allows.
    pub const NUMBERED: &str = "NUMBERED";
    /// `Holder` → slot: where a client's use is counted.
    pub const CLIENTS: &str = "CLIENTS";
    /// Slot → `Use`: what rules and clients have.
    pub const USES: &str = "USES";
    /// Bank and index → `Slots6`.
    pub const POOLS6: &str = "POOLS6";
    /// Interface index → `Interface`.
    pub const INTERFACES: &str = "INTERFACES";
    /// 0 → `Buckets`: which member holds which flows, and which ports are its own to give.
    pub const BUCKETS: &str = "BUCKETS";
    /// Number → `Member`: the gateways of the cluster.
    pub const MEMBERS: &str = "MEMBERS";
    /// 0 → `Config`.
    pub const CONFIG: &str = "CONFIG";
    /// `Reason` → `Counter`, per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Pool → `PoolCounters`, per CPU.
    pub const POOL_COUNTERS: &str = "POOL_COUNTERS";
    /// Pool → flows removed, by port space. Written by the daemon only; here so that a restart
    /// loses no count.
    pub const REMOVED: &str = "REMOVED";
    /// The ring of [`Opened`](crate::Opened) events, from the packet path to the session log.
    pub const EVENTS: &str = "EVENTS";
    /// [`Told`](crate::Told) → how often, per CPU.
    pub const TOLD: &str = "TOLD";
    /// 0 → not zero if somebody wants events.
    pub const EVENTS_WANTED: &str = "EVENTS_WANTED";
    /// 0 → events that found the ring full, per CPU.
    pub const EVENTS_LOST: &str = "EVENTS_LOST";

    /// `Stage` → program. Belongs to the programs, not to the state: each load has its own.
    pub const STAGES: &str = "STAGES";

    /// All that are the state of the gateway.
    pub const ALL: &[&str] = &[
        FLOWS,
        FLOWS6,
        MAPPINGS,
        MAPPINGS6,
        LEASES,
        FRAGMENTS,
        AWAITED,
        HELD,
        HELD_BY,
        FRAGMENTS6,
        PORTS,
        EXTERNALS,
        EXTERNALS6,
        CLASSES,
        CLASSES6,
        FIXED,
        FIXED6,
        RULES,
        POOLS,
        NUMBERED,
        CLIENTS,
        USES,
        POOLS6,
        INTERFACES,
        BUCKETS,
        MEMBERS,
        CONFIG,
        COUNTERS,
        POOL_COUNTERS,
        REMOVED,
        TOLD,
        EVENTS,
        EVENTS_WANTED,
        EVENTS_LOST,
    ];
}

/// A map key or value.
///
/// # Safety
///
/// The implementer promises `repr(C)`, no padding that the compiler may leave unset, and that every
/// bit pattern is a valid value.
#[expect(
    unsafe_code,
    reason = "the promise that lets bytes cross between kernel and user space"
)]
pub unsafe trait Layout: Copy + 'static {}

#[expect(
    unsafe_code,
    reason = "each type is repr(C) over integers and byte arrays, padding is a field"
)]
mod layouts {
    use super::*;
    // SAFETY: see the reason above; sizes are asserted beside each type, for both kinds of address,
    // and there is no third.
    unsafe impl<A: Address> Layout for FlowKey<A> {}
    // SAFETY: as above; a `Picture` holds plain integers.
    unsafe impl<A: Address> Layout for Flow<Picture, A> {}
    // SAFETY: as above.
    unsafe impl<A: Address> Layout for MappingKey<A> {}
    // SAFETY: as above.
    unsafe impl<A: Address> Layout for Mapping<A> {}
    // SAFETY: as above.
    unsafe impl<A: Address> Layout for ClassKey<A> {}
    // SAFETY: as above.
    unsafe impl<A: Address> Layout for FixedKey<A> {}
    // SAFETY: as above.
    unsafe impl Layout for Fixed {}
    // SAFETY: as above.
    unsafe impl<A: Address> Layout for Opened<A> {}
    // SAFETY: as above.
    unsafe impl Layout for Ip6 {}
    // SAFETY: as above.
    unsafe impl Layout for Slots6 {}
    // SAFETY: as above.
    unsafe impl Layout for Lease {}
    // SAFETY: as above.
    unsafe impl Layout for Ip4 {}
    // SAFETY: as above.
    unsafe impl Layout for External {}
    // SAFETY: as above.
    unsafe impl Layout for RuleSet {}
    // SAFETY: as above.
    unsafe impl Layout for Rule {}
    // SAFETY: as above.
    unsafe impl Layout for Pool {}
    // SAFETY: as above.
    unsafe impl Layout for Numbered {}
    // SAFETY: as above.
    unsafe impl Layout for Holder {}
    // SAFETY: as above.
    unsafe impl Layout for Interface {}
    // SAFETY: as above.
    unsafe impl Layout for Config {}
    // SAFETY: as above; a `Picture` holds plain integers.
    unsafe impl Layout for Member<Picture> {}
    // SAFETY: as above.
    unsafe impl Layout for Counter {}
    // SAFETY: as above.
    unsafe impl Layout for PoolCounters {}
    // SAFETY: as above.
    unsafe impl Layout for [u64; PROTOCOLS] {}
    // SAFETY: as above.
    unsafe impl Layout for u32 {}
    // SAFETY: as above.
    unsafe impl Layout for u64 {}
    // SAFETY: as above.
    unsafe impl<A: Address> Layout for FragmentKey<A> {}
    // SAFETY: as above; a `Picture` holds plain integers.
    unsafe impl Layout for Fragments<Picture> {}
    // SAFETY: as above.
    unsafe impl Layout for Held {}
}
