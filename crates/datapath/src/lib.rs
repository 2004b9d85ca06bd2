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
//!             ├─ a fragment ─ fragment: as the first one, held until that comes
//!             ├─ an ICMP error ─ quoted: as the flow it is about
//!             ├─ another protocol, or neither of these two ─ part ───────────→ drop if ours, or pass
//!             ├─ flow hit ── forward: next hop, rewrite, account ────────────→ tx / redirect
//!             └─ miss ── open ─┬─ no rule, no external address ──────────────→ pass to the kernel
//!                              ├─ may start a flow: classify, allocate, insert both ─→ as hit
//!                              └─ else: TCP → RST to the sender; others ─────→ counted drop
//! ```
//!
//! The hit path is one lookup in one table. Everything rare is a function of its own that the
//! compiler is told not to inline, or stands in another program, so that the hit path stays small.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod frame;
pub mod world;

mod checksum;
mod classify;
mod forward;
mod fragment;
mod icmp;
mod ip;
mod ip4;
mod mss;
#[cfg(not(target_arch = "bpf"))]
pub mod native;
mod open;
mod part;
mod ports;
mod quota;
mod quoted;
mod refusal;
mod reset;
mod route;

use abi::{Address, Flow, FlowKey, Live, Protocol, Reason, Stage, Verdict};
use frame::Packet;
use ip::{Translate, Unusual, Version};
use ip4::V4;
use world::{Beginning, Tables, World};

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
    /// Length of the IP packet, in bytes.
    pub total: u16,
    /// Length of the frame, in bytes.
    pub bytes: u64,
    /// TCP flags as they stand in the header, or for ICMP whether it asks: what may start a flow.
    pub flags: u8,
    pub piece: Piece,
    /// What is remembered of it if it is a first fragment.
    pub begun: Begun,
}

/// What a first fragment says of its packet beside its ports. Aligned, because all of it is written
/// at once.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// See [`abi::FragmentKey`].
    pub id: [u8; 4],
    /// The unit of eight bytes behind what it carries.
    pub end: u32,
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
            Next::Go(Stage::Open) => return open(packet, world),
            Next::Go(Stage::Part) => part(packet, world),
        };
    }
}

/// The first program: packets of known flows, and those that are plainly the kernel's.
#[inline(always)]
pub fn enter<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let bytes = packet.len() as u64;
    let arrival = match V4::parse(packet, bytes) {
        Ok(arrival) => arrival,
        Err(Unusual::Leaves(reason)) => {
            let left = (reason, packet.ingress());
            return Next::Leave(leave(packet, world, bytes, left));
        }
        Err(Unusual::Part(_)) => return Next::Go(Stage::Part),
    };
    // Fragments are rare: who is not one does not pay for them.
    if let Piece::First = arrival.piece {
        return Next::Go(Stage::Part);
    }
    // A copy, which the look-up may have in memory; the rest of `arrival` stays in registers.
    let key = arrival.key;
    let Some(flow) = world.flow(&key) else {
        return Next::Go(Stage::Open);
    };
    let left = hit::<V4, _, _, _>(packet, world, &arrival, &flow);
    Next::Leave(leave(packet, world, bytes, left))
}

/// The program for packets that no flow wants.
#[inline(always)]
pub fn open<P: Packet, W: World>(packet: &mut P, world: &W) -> Exit {
    newcomer::<V4, _, _, _>(packet, world)
}

/// The program for fragments and for packets whose ports are not where a flow's are.
#[inline(always)]
pub fn part<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let bytes = packet.len() as u64;
    let left = match V4::parse(packet, bytes) {
        // A first fragment: a packet as any other, and remembered where its flow is known.
        Ok(arrival) => match world.flow(&arrival.key) {
            Some(flow) => {
                fragment::remember(world, &arrival);
                hit::<V4, _, _, _>(packet, world, &arrival, &flow)
            }
            None => return Next::Go(Stage::Open),
        },
        Err(Unusual::Part(Reason::Fragment)) => fragment::follow(packet, world, bytes),
        Err(Unusual::Part(Reason::IcmpError)) => quoted::translate(packet, world),
        Err(Unusual::Part(reason)) => (part::refuse(packet, world, reason, None), packet.ingress()),
        Err(Unusual::Leaves(_)) => (Reason::Internal, packet.ingress()),
    };
    Next::Leave(leave(packet, world, bytes, left))
}

/// Counts a packet, and turns why it leaves and by which interface into what the hook must do.
#[inline(always)]
fn leave<P: Packet, W: World>(
    packet: &P,
    world: &W,
    bytes: u64,
    (reason, ifindex): (Reason, u32),
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
) -> (Reason, u32) {
    let Some(config) = world.config() else {
        return (Reason::Internal, packet.ingress());
    };
    let now = world.now();
    let generation = route::generation(config.generation, now);
    forward::hit::<V, _, _, _>(packet, world, arrival, flow, (now, generation))
}

/// A packet that no flow wants.
#[inline(always)]
fn newcomer<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
) -> Exit {
    let (bytes, ingress) = (packet.len() as u64, packet.ingress());
    let Ok(arrival) = V::arrival(packet, bytes) else {
        return leave(packet, world, bytes, (Reason::Internal, ingress));
    };
    let left = begin::<V, _, _, _>(packet, world, &arrival);
    let exit = leave(packet, world, bytes, left);
    let refusal = match left.0.is_refusal() {
        true => Tables::<A>::beginning(world).map(|it| it.behaviour.refusal()),
        false => None,
    };
    match refusal {
        Some(refusal) if refusal::tell::<V, _, _, _>(packet, world, &arrival, refusal) => {
            Exit::Transmit
        }
        Some(_) | None => exit,
    }
}

#[inline(always)]
fn begin<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
) -> (Reason, u32) {
    let ingress = packet.ingress();
    // Functions one after the other, not one inside the other, because the kernel gives all frames
    // that are open at once 512 bytes of stack.
    let Some(mut beginning) = Tables::<A>::beginning(world) else {
        return (Reason::Internal, ingress);
    };
    let step = open::judge(packet, world, arrival, &mut beginning);
    let refused = match step {
        open::Step::Begin => make(world, arrival, &mut beginning),
        open::Step::Answer | open::Step::Leave(_) => None,
    };
    // What is sent through again now finds the flow, if there is one.
    if let Piece::First = arrival.piece {
        fragment::remember(world, arrival);
    }
    match step {
        open::Step::Begin => {}
        open::Step::Answer => return (V::reset(packet, arrival), ingress),
        open::Step::Leave(reason) => return (reason, ingress),
    }
    match (world.flow(&arrival.key), refused) {
        // Also if another CPU was faster with the same flow.
        (Some(flow), None | Some(Reason::Collision)) => {
            hit::<V, _, _, _>(packet, world, arrival, &flow)
        }
        (_, Some(reason)) => (reason, ingress),
        (None, None) => (Reason::Collision, ingress),
    }
}

/// Makes a flow that may begin, and what it needs; or says why it did not come to be.
#[inline(always)]
fn make<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    let mut refused = open::recall(world, arrival, beginning);
    if refused.is_none() {
        refused = quota::admit(world, arrival, beginning);
    }
    let is_admitted = refused.is_none();
    if refused.is_none() {
        refused = open::reserve(world, arrival, beginning);
    }
    if refused.is_none() {
        refused = open::insert(world, arrival, beginning);
    }
    if refused.is_none() {
        refused = open::publish(world, arrival, beginning);
    }
    // One that is filtered has what it came for: its port lets the other in.
    let is_made = matches!(refused, None | Some(Reason::Filtered));
    if is_admitted && !is_made {
        quota::refund(world, arrival, beginning);
    }
    refused
}
