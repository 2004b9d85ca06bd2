//! What happens to a packet. Pure: no helper calls, no map statics, no clock, no allocation.
//!
//! This crate is compiled twice. For BPF it is the XDP program, lent its packets and maps by
//! `egret-ebpf`; natively it is what property tests, fuzzers and simulators run, over plain memory
//! ([`native`]). Nothing of the packet path exists in only one of the two.
//!
//! The journey of a packet, in the order of the modules:
//!
//! ```text
//! rx ─ frame ─┬─ not IPv4, tagged, not for us, malformed ────────────────────→ pass to the kernel
//!             ├─ a later fragment ─ fragment: as the first one; an ICMP error ─ quoted: as its flow
//!             ├─ another protocol, or neither of these two ─ part ───────────→ drop if ours, or pass
//!             ├─ flow hit ── forward: next hop, rewrite, account ────────────→ tx / redirect
//!             └─ miss ── open ─┬─ no rule, no external address ──────────────→ pass to the kernel
//!                              ├─ may start a flow: classify, allocate, insert both ─→ as hit
//!                              └─ else: TCP → RST to the sender; others ─────→ counted drop
//! ```
//!
//! The hit path is one lookup in one table. Everything rare is a function of its own that the
//! compiler is told not to inline, so that the hit path stays small.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod frame;
pub mod world;

mod checksum;
mod classify;
mod cross;
mod embedded;
mod forward;
mod fragment;
mod hash;
mod icmp;
mod icmp6;
mod ip;
mod ip4;
mod ip6;
mod mss;
#[cfg(not(target_arch = "bpf"))]
pub mod native;
mod open;
mod part;
mod ports;
mod quoted;
mod reset;
mod route;
mod transport;

use abi::{Address, Flow, FlowKey, Ip4, Ip6, Live, Protocol, Reason, Stage, Tuple, Verdict};
use frame::Packet;
use ip::{Translate, Unusual, Version};
use ip4::V4;
use ip6::V6;
use world::{Room, Tables, World};

/// What the hook must do with the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Give it to the kernel.
    Pass,
    /// Forget it.
    Drop,
    /// Send it by the interface it came by.
    Transmit,
    /// Send it by this interface.
    Redirect(u32),
}

/// A packet we may translate, as far as the headers tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<A> {
    /// Its addresses, ports and protocol.
    pub key: FlowKey<A>,
    pub protocol: Protocol,
    /// Where the transport header begins in the frame, in bytes.
    pub l4: usize,
    /// Where IPv6's fragment header does; zero if there is none.
    pub fragment: usize,
    /// Length of the IP packet, in bytes.
    pub total: u16,
    /// Length of the frame, in bytes.
    pub bytes: u64,
    /// TCP flags as they stand in the header, or for ICMP whether it asks: what may start a flow.
    pub flags: u8,
    pub piece: Piece,
}

impl<A: Address> Arrival<A> {
    /// The same, as tables for both versions of IP know it.
    #[inline(always)]
    pub fn wide(&self) -> Arrival<Ip6> {
        Arrival {
            key: self.key.wide(),
            protocol: self.protocol,
            l4: self.l4,
            fragment: self.fragment,
            total: self.total,
            bytes: self.bytes,
            flags: self.flags,
            piece: self.piece,
        }
    }
}

/// How much of a packet a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Whole,
    /// The first fragment, with the transport header.
    First,
    /// Another fragment: it has no ports of its own.
    Later,
}

/// Why a packet leaves, and by which interface.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub reason: Reason,
    pub ifindex: u32,
}

impl Left {
    #[inline(always)]
    pub const fn new(reason: Reason, ifindex: u32) -> Self {
        Self { reason, ifindex }
    }
}

/// What becomes of a frame after the first program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It is done.
    Leave(Exit),
    /// Another program goes on with it.
    Go(Stage),
}

/// Takes one frame through the gateway: edits it, counts it, and says where it goes.
pub fn process<P: Packet, W: World>(packet: &mut P, world: &W) -> Exit {
    let mut next = enter(packet, world);
    loop {
        next = match next {
            Next::Leave(exit) => return exit,
            Next::Go(Stage::Open) => open(packet, world),
            Next::Go(Stage::Part) => part(packet, world),
            Next::Go(Stage::Six) => six(packet, world),
            Next::Go(Stage::SixOpen) => six_open(packet, world),
            Next::Go(Stage::SixPart) => six_part(packet, world),
            Next::Go(Stage::Cross) => cross(packet, world),
            Next::Go(Stage::CrossPart) => cross_part(packet, world),
        }
    }
}

/// The first program: packets of known flows, and those that are plainly the kernel's.
#[inline(always)]
pub fn enter<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let bytes = packet.len() as u64;
    let arrival = match V4::parse(packet, world, bytes) {
        Ok(arrival) => arrival,
        Err(Unusual::Leaves(reason)) => return as_it_came(packet, world, reason),
        Err(Unusual::Part(_)) => return Next::Go(Stage::Part),
        Err(Unusual::Other) => return Next::Go(Stage::Six),
    };
    if let Piece::First = arrival.piece {
        fragment::remember::<V4, _, _>(packet, world, &arrival);
    }
    match world.flow(&arrival.key) {
        Some(flow) => {
            let left = hit::<V4, _, _, _>(packet, world, &arrival, &flow);
            Next::Leave(leave(packet, world, bytes, left))
        }
        None => Next::Go(Stage::Open),
    }
}

/// The program for IPv4 packets that no flow wants.
#[inline(always)]
pub fn open<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    match V4::parse(packet, world, packet.len() as u64) {
        Ok(arrival) => begin::<V4, _, _, _>(packet, world, &arrival),
        Err(_) => as_it_came(packet, world, Reason::Internal),
    }
}

/// The program for IPv4 packets whose ports are not where a flow's are.
#[inline(always)]
pub fn part<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    match V4::parse(packet, world, packet.len() as u64) {
        Err(Unusual::Part(reason)) => piece::<V4, Ip4, _, _>(packet, world, reason),
        Err(Unusual::Leaves(_) | Unusual::Other) | Ok(_) => {
            as_it_came(packet, world, Reason::Internal)
        }
    }
}

/// The program for IPv6 packets.
#[inline(always)]
pub fn six<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let bytes = packet.len() as u64;
    match ip6::plain(packet, bytes) {
        Ok(arrival) => known::<V6, _, _, _>(packet, world, &arrival),
        Err(Unusual::Leaves(reason)) => as_it_came(packet, world, reason),
        Err(Unusual::Part(_)) => Next::Go(Stage::SixPart),
        Err(Unusual::Other) => as_it_came(packet, world, Reason::Internal),
    }
}

/// The program for IPv6 packets that no flow wants.
#[inline(always)]
pub fn six_open<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    match V6::parse(packet, world, packet.len() as u64) {
        Ok(arrival) => begin::<V6, _, _, _>(packet, world, &arrival),
        Err(_) => as_it_came(packet, world, Reason::Internal),
    }
}

/// The program for IPv6 packets whose transport header does not follow the IP header.
#[inline(always)]
pub fn six_part<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    match V6::parse(packet, world, packet.len() as u64) {
        Ok(arrival) => {
            if let Piece::First = arrival.piece {
                fragment::remember::<V6, _, _>(packet, world, &arrival);
            }
            known::<V6, _, _, _>(packet, world, &arrival)
        }
        Err(Unusual::Part(reason)) => piece::<V6, Ip6, _, _>(packet, world, reason),
        Err(Unusual::Leaves(reason)) => as_it_came(packet, world, reason),
        Err(Unusual::Other) => as_it_came(packet, world, Reason::Internal),
    }
}

/// The program for IPv4 packets to those who have IPv6.
#[inline(always)]
pub fn cross<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let bytes = packet.len() as u64;
    let Ok(arrival) = V4::parse(packet, world, bytes) else {
        return as_it_came(packet, world, Reason::Internal);
    };
    let arrival = arrival.wide();
    if let Some(flow) = world.flow(&arrival.key) {
        let left = hit::<V4, _, _, _>(packet, world, &arrival, &flow);
        return Next::Leave(leave(packet, world, bytes, left));
    }
    begin::<V4, Ip6, _, _>(packet, world, &arrival)
}

/// The program for IPv4 packets to those who have IPv6, whose ports are not where a flow's are.
#[inline(always)]
pub fn cross_part<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    match V4::parse(packet, world, packet.len() as u64) {
        Err(Unusual::Part(reason)) => piece::<V4, Ip6, _, _>(packet, world, reason),
        Err(Unusual::Leaves(_) | Unusual::Other) | Ok(_) => {
            as_it_came(packet, world, Reason::Internal)
        }
    }
}

/// An IPv6 packet, whose flow may be known.
#[inline(always)]
fn known<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
) -> Next {
    match world.flow(&arrival.key) {
        Some(flow) => {
            let left = hit::<V, _, _, _>(packet, world, arrival, &flow);
            Next::Leave(leave(packet, world, arrival.bytes, left))
        }
        None => Next::Go(Stage::SixOpen),
    }
}

/// A packet whose ports cannot be read for this reason: a later fragment, an ICMP error, or neither.
#[inline(always)]
fn piece<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    reason: Reason,
) -> Next {
    let bytes = packet.len() as u64;
    let mut left = Left::new(Reason::Internal, packet.ingress());
    let stage = match reason {
        Reason::Fragment => follow::<V, A, _, _>(packet, world, &mut left),
        Reason::IcmpError => quoted::translate::<V, A, _, _>(packet, world, &mut left),
        reason => {
            left.reason = part::refuse::<V, _, _>(packet, world, reason, None);
            None
        }
    };
    match stage {
        None => Next::Leave(leave(packet, world, bytes, left)),
        Some(stage) => Next::Go(stage),
    }
}

/// Translates a later fragment as its first one was, or leaves it to the kernel as that was.
#[inline(never)]
fn follow<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    left: &mut Left,
) -> Option<Stage> {
    let mut arrival = Arrival {
        key: FlowKey::new(Protocol::Udp, Tuple::NONE),
        protocol: Protocol::Udp,
        l4: 0,
        fragment: 0,
        total: 0,
        bytes: packet.len() as u64,
        flags: 0,
        piece: Piece::Later,
    };
    let mut reason = Reason::Fragment;
    if fragment::find::<V, _, _>(packet, world, &mut arrival) {
        let wide = V::widen(&arrival);
        match Tables::<A>::flow(world, &wide.key) {
            Some(flow) if fragment::pass::<V, _, _>(packet, world) => {
                *left = hit::<V, A, _, _>(packet, world, &wide, &flow);
                return None;
            }
            Some(_) => reason = Reason::FragmentOverlap,
            None if open::has_wide_flow(world, &wide.key) => return Some(Stage::CrossPart),
            None => {
                let known = Some(&arrival.key);
                left.reason = part::refuse::<V, _, _>(packet, world, reason, known);
                return None;
            }
        }
    }
    left.reason = part::refuse::<V, _, _>(packet, world, reason, None);
    None
}

/// A packet that leaves as it came, whoever it belongs to.
#[inline(always)]
fn as_it_came<P: Packet, W: World>(packet: &P, world: &W, reason: Reason) -> Next {
    let left = Left::new(reason, packet.ingress());
    Next::Leave(leave(packet, world, packet.len() as u64, left))
}

/// Counts a packet, and turns why it leaves and by which interface into what the hook must do.
#[inline(always)]
fn leave<P: Packet, W: World>(
    packet: &P,
    world: &W,
    bytes: u64,
    Left { reason, ifindex }: Left,
) -> Exit {
    world.count(reason, bytes);
    match reason.verdict() {
        Verdict::Pass => Exit::Pass,
        Verdict::Drop => Exit::Drop,
        Verdict::Send if ifindex == packet.ingress() => Exit::Transmit,
        Verdict::Send => Exit::Redirect(ifindex),
    }
}

#[inline(always)]
fn hit<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    flow: &Flow<Live, A>,
) -> Left {
    let Some(config) = world.config() else {
        return Left::new(Reason::Internal, packet.ingress());
    };
    let generation = route::generation(config.generation, world.now());
    let (reason, ifindex) = forward::hit::<V, _, _, _>(packet, world, arrival, flow, generation);
    Left::new(reason, ifindex)
}

#[inline(always)]
fn begin<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
) -> Next {
    // Functions one after the other, not one inside the other, because the kernel gives all frames
    // that are open at once 512 bytes of stack.
    let Some(mut room) = Tables::<A>::room(world) else {
        return as_it_came(packet, world, Reason::Internal);
    };
    let Room {
        beginning, flow, ..
    } = &mut *room;
    *beginning = open::Beginning::EMPTY;
    let mut step = open::judge(packet, world, arrival, beginning);
    if let open::Step::Begin = step {
        step = open::call(world, arrival, beginning);
    }
    if let open::Step::Begin = step {
        step = open::filter(world, arrival, beginning);
    }
    if let open::Step::Begin = step {
        step = open::aim(packet.ingress(), world, arrival, beginning);
    }
    if let open::Step::Begin = step {
        step = open::may_begin(arrival, beginning);
    }
    match step {
        open::Step::Begin => {}
        open::Step::Answer => {
            let left = Left::new(V::reset(packet, arrival), packet.ingress());
            return Next::Leave(leave(packet, world, arrival.bytes, left));
        }
        open::Step::Cross => return Next::Go(Stage::Cross),
        open::Step::Leave(reason) => return as_it_came(packet, world, reason),
    }
    let mut refused = open::reserve(world, arrival, beginning);
    if refused.is_none() {
        refused = open::insert(world, arrival, beginning, flow);
    }
    if refused.is_none() {
        refused = open::publish(world, arrival, beginning);
    }
    let left = match (world.flow(&arrival.key), refused) {
        // Also if another CPU was faster with the same flow.
        (Some(flow), None | Some(Reason::Collision)) => {
            hit::<V, _, _, _>(packet, world, arrival, &flow)
        }
        (_, Some(reason)) => Left::new(reason, packet.ingress()),
        (None, None) => Left::new(Reason::Collision, packet.ingress()),
    };
    Next::Leave(leave(packet, world, arrival.bytes, left))
}
