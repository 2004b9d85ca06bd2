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
//!             ├─ SCTP, GRE, ESP ─ part: by address, as hit or miss
//!             ├─ another protocol, or neither of these ─ part ───────────────→ drop if ours, or pass
//!             ├─ another member's ─ tunnel: unpacked, or handed over ────────→ tx / redirect
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
mod cluster;
mod cross;
mod embedded;
mod fixed;
mod forward;
mod fragment;
mod icmp;
mod icmp6;
mod ip;
mod ip4;
mod ip6;
mod mss;
#[cfg(not(target_arch = "bpf"))]
pub mod native;
mod open;
mod options;
mod part;
mod ports;
mod quota;
mod quoted;
mod refusal;
mod reset;
mod room;
mod route;
mod transport;
mod tunnel;

use abi::{
    Address, Flow, FlowKey, Ip4, Ip6, Live, Protocol, Reason, Stage, Tuple, Verdict, cluster::Came,
};
use frame::Packet;
use ip::{Detour, Translate, Unusual};
use ip4::V4;
use ip6::V6;
use open::{Beginning, Step};
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

impl<A: Address> Arrival<A> {
    /// A later fragment, of which no more is known than how long its frame is.
    #[inline(always)]
    fn later(bytes: u64) -> Self {
        Self {
            key: FlowKey::new(Protocol::Udp, Tuple::NONE),
            protocol: Protocol::Udp,
            l4: 0,
            fragment: 0,
            total: 0,
            bytes,
            flags: 0,
            piece: Piece::Later,
            begun: Begun { id: [0; 4], end: 0 },
        }
    }
}

/// A packet, as tables know it whose flows have such addresses.
#[inline(always)]
fn widen<V: Translate<A>, A: Address>(arrival: &Arrival<V::Own>) -> Arrival<A> {
    let own = &arrival.key.tuple;
    let tuple = Tuple {
        source: V::wide(own.source),
        target: V::wide(own.target),
        source_port: own.source_port,
        target_port: own.target_port,
    };
    Arrival {
        key: FlowKey::new(arrival.protocol, tuple),
        protocol: arrival.protocol,
        l4: arrival.l4,
        fragment: arrival.fragment,
        total: arrival.total,
        bytes: arrival.bytes,
        flags: arrival.flags,
        piece: arrival.piece,
        begun: arrival.begun,
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

/// What becomes of a frame after one of the programs.
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
            Next::Go(Stage::CrossOpen) => cross_open(packet, world),
            Next::Go(Stage::Fixed) => fixed(packet, world),
            Next::Go(Stage::SixFixed) => six_fixed(packet, world),
            Next::Go(Stage::Tunnel) => tunnel(packet, world),
            Next::Go(Stage::Relay) => relay(packet, world),
            Next::Go(Stage::Own) => own(packet, world),
            Next::Go(Stage::SixOwn) => six_own(packet, world),
            Next::Go(Stage::CrossOwn) => cross_own(packet, world),
        };
    }
}

/// The programs for packets that no flow wants: the one that finds out whose they are, where there are other
/// members of a cluster, and the one that begins flows.
const OPEN: (Stage, Stage) = (Stage::Own, Stage::Open);
/// The same of IPv6 packets.
const SIX_OPEN: (Stage, Stage) = (Stage::SixOwn, Stage::SixOpen);
/// The same of IPv4 packets to those who have IPv6.
const CROSS_OPEN: (Stage, Stage) = (Stage::CrossOwn, Stage::CrossOpen);

/// The first program: packets of known flows, and those that are plainly the kernel's.
#[inline(always)]
pub fn enter<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    process_plain(packet, world, Came::DIRECT)
}

/// The program for what members of a cluster hand each other: as the first one, behind the outer header.
#[inline(always)]
pub fn tunnel<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    match tunnel::unpack(packet, world) {
        Ok(came) => process_plain(packet, world, came),
        Err(next) => next,
    }
}

/// The program for packets that go to another member of the cluster.
#[inline(always)]
pub fn relay<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    tunnel::relay(packet, world)
}

/// The program for IPv4 packets that no flow wants, in a cluster.
#[inline(always)]
pub fn own<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    owned::<V4, Ip4, _, _>(packet, world, OPEN.1)
}

/// The same of IPv6 packets.
#[inline(always)]
pub fn six_own<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    owned::<V6, Ip6, _, _>(packet, world, SIX_OPEN.1)
}

/// The same of IPv4 packets to those who have IPv6.
#[inline(always)]
pub fn cross_own<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    owned::<V4, Ip6, _, _>(packet, world, CROSS_OPEN.1)
}

/// An IPv4 packet that comes by an interface, or from another member of the cluster.
#[inline(always)]
fn process_plain<P: Packet, W: World>(packet: &mut P, world: &W, came: Came) -> Next {
    let bytes = packet.len() as u64;
    let go = |stage| match came.is_by_member() {
        // Who handed it over has looked already whether its addresses are translated one to one.
        true => cluster::go(world, came, stage),
        false => cluster::go(world, came, unless_fixed::<Ip4, _>(world, stage)),
    };
    let arrival = match ip4::plain(packet, bytes) {
        Ok(arrival) => arrival,
        Err(Unusual::Leaves(reason)) => return as_it_came(packet, world, reason),
        Err(Unusual::Part(Reason::Protocol))
            if !came.is_by_member() && cluster::is_in(world) && tunnel::may_be_one(packet) =>
        {
            return Next::Go(Stage::Tunnel);
        }
        Err(Unusual::Part(_)) => return go(Stage::Part),
        Err(Unusual::Other)
            if !came.is_by_member() && cluster::is_in(world) && tunnel::may_be_one6(packet) =>
        {
            return Next::Go(Stage::Tunnel);
        }
        Err(Unusual::Other) if has_ipv6(world) => return cluster::go(world, came, Stage::Six),
        Err(Unusual::Other) => return as_it_came(packet, world, Reason::Ipv6),
    };
    // Fragments are rare: who is not one does not pay for them.
    if let Piece::First = arrival.piece {
        return go(Stage::Part);
    }
    // A copy, which the look-up may have in memory; the rest of `arrival` stays in registers.
    let key = arrival.key;
    let Some(flow) = world.flow(&key) else {
        return go(cluster::unless_alone(world, OPEN));
    };
    let Some(config) = world.config() else {
        return as_it_came(packet, world, Reason::Internal);
    };
    if cluster::is_anothers(world, &config, came, &key, &flow) {
        return cluster::go(world, came, Stage::Relay);
    }
    let left = hit::<V4, _, _, _>(packet, world, &arrival, &flow);
    Next::Leave(leave(packet, world, bytes, left))
}

/// The stage of packets that no flow wants: first the one for addresses that are translated one to one, if
/// there are any of that kind.
#[inline(always)]
fn unless_fixed<A: Address, W: World>(world: &W, stage: Stage) -> Stage {
    match world.config() {
        Some(config) if fixed::version::<A>(&config) != 0 => fixed::stage::<A>(),
        Some(_) | None => stage,
    }
}

/// Whether anything is to be done with packets of IPv6.
#[inline(always)]
pub(crate) fn has_ipv6<W: World>(world: &W) -> bool {
    world.config().is_some_and(|config| config.ipv6 != 0)
}

/// The program for IPv4 packets that no flow wants.
#[inline(always)]
pub fn open<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    newcomer::<V4, Ip4, _, _>(packet, world, Stage::Part)
}

/// The program for IPv4 fragments and for packets whose ports are not where a flow's are.
#[inline(always)]
pub fn part<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    unusual::<V4, Ip4, _, _>(packet, world, OPEN)
}

/// The program for IPv6 packets.
#[inline(always)]
pub fn six<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let bytes = packet.len() as u64;
    match ip6::plain(packet, bytes) {
        Ok(arrival) => {
            let Some(flow) = world.flow(&arrival.key) else {
                let open = cluster::unless_alone(world, SIX_OPEN);
                return Next::Go(six_unless_fixed(world, open));
            };
            let Some(config) = world.config() else {
                return as_it_came(packet, world, Reason::Internal);
            };
            let came = cluster::came(world);
            if cluster::is_anothers(world, &config, came, &arrival.key, &flow) {
                return Next::Go(Stage::Relay);
            }
            let left = hit::<V6, _, _, _>(packet, world, &arrival, &flow);
            Next::Leave(leave(packet, world, bytes, left))
        }
        Err(Unusual::Leaves(reason)) => as_it_came(packet, world, reason),
        Err(Unusual::Part(_)) => Next::Go(six_unless_fixed(world, Stage::SixPart)),
        Err(Unusual::Other) => as_it_came(packet, world, Reason::Internal),
    }
}

/// The same as [`unless_fixed`] of IPv6 packets, of which another member may have looked already.
#[inline(always)]
fn six_unless_fixed<W: World>(world: &W, stage: Stage) -> Stage {
    match cluster::came(world).is_by_member() {
        true => stage,
        false => unless_fixed::<Ip6, _>(world, stage),
    }
}

/// The program for IPv6 packets that no flow wants.
#[inline(always)]
pub fn six_open<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    newcomer::<V6, Ip6, _, _>(packet, world, Stage::Six)
}

/// The program for IPv6 packets whose transport header does not follow the IP header.
#[inline(always)]
pub fn six_part<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    unusual::<V6, Ip6, _, _>(packet, world, SIX_OPEN)
}

/// The program for IPv4 packets to those who have IPv6.
#[inline(always)]
pub fn cross<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    unusual::<V4, Ip6, _, _>(packet, world, CROSS_OPEN)
}

/// The program for IPv4 packets to those who have IPv6 that no flow wants.
#[inline(always)]
pub fn cross_open<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    newcomer::<V4, Ip6, _, _>(packet, world, Stage::Cross)
}

/// The program for IPv4 packets that no flow wants, where addresses are translated one to one.
#[inline(always)]
pub fn fixed<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    fixed::program::<V4, Ip4, _, _>(packet, world, Stage::Part)
}

/// The same of IPv6 packets.
#[inline(always)]
pub fn six_fixed<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    fixed::program::<V6, Ip6, _, _>(packet, world, Stage::SixPart)
}

/// Remembers a first fragment that this program was the last for: what is sent through again now finds
/// its flow, if there is one.
#[inline(always)]
fn remember<V: Translate<A>, A: Address, W: World + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    next: Next,
) -> Next {
    if let (Piece::First, Next::Leave(_) | Next::Go(Stage::Relay)) = (arrival.piece, next) {
        fragment::remember::<V, _, _>(world, arrival);
    }
    next
}

/// What is to be done with a packet in fragments, or whose ports cannot be read where a flow's are.
#[derive(Clone, Copy)]
enum Turn {
    /// It leaves.
    Leave,
    /// It has ports, and may be a flow's.
    Follow,
    /// It is an ICMP error.
    Error,
    /// It is dropped if it is ours.
    Refuse,
}

/// A packet in fragments, or whose ports cannot be read where a flow's are.
///
/// Functions one after the other, as in [`begin`].
#[inline(always)]
fn unusual<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    open: (Stage, Stage),
) -> Next {
    let bytes = packet.len() as u64;
    let mut left = Left::new(Reason::Internal, packet.ingress());
    let mut arrival = Arrival::later(bytes);
    let mut known = None;
    match recognize::<V, A, _, _>(packet, world, &mut arrival, &mut left.reason) {
        Turn::Leave => return Next::Leave(leave(packet, world, bytes, left)),
        Turn::Error => {
            return match quoted::translate::<V, A, _, _>(packet, world, &mut left) {
                None => Next::Leave(leave(packet, world, bytes, left)),
                Some(stage) => Next::Go(stage),
            };
        }
        Turn::Refuse => {}
        Turn::Follow => {
            let is_later = matches!(arrival.piece, Piece::Later);
            match Tables::<A>::flow(world, &arrival.key) {
                None if !is_later => return Next::Go(cluster::unless_alone(world, open)),
                None if open::has_wide_flow(world, &arrival.key) => {
                    return Next::Go(Stage::Cross);
                }
                None => {
                    left.reason = Reason::Fragment;
                    let tuple = &arrival.key.tuple;
                    known = Some((tuple.source_port, tuple.target_port));
                }
                Some(flow) if is_anothers(world, &arrival.key, &flow) => {
                    return Next::Go(Stage::Relay);
                }
                Some(flow) => {
                    let stays = match V::detour(packet, world, &arrival, &flow) {
                        Detour::None => None,
                        Detour::Refused(reason) => Some(reason),
                        Detour::Complete => Some(fragment::hold::<V, _, _>(packet, world, 0)),
                        Detour::Cut(mtu) => Some(fragment::hold::<V, _, _>(packet, world, mtu)),
                    };
                    if let Some(reason) = stays {
                        left.reason = reason;
                        return Next::Leave(leave(packet, world, bytes, left));
                    }
                    let Some(refused) = fragment::note::<V, A, _, _>(packet, world, &arrival)
                    else {
                        send::<V, A, _, _>(packet, world, &arrival, &flow, &mut left);
                        return Next::Leave(leave(packet, world, bytes, left));
                    };
                    left.reason = refused;
                }
            }
        }
    }
    left.reason = part::refuse::<V, _, _>(packet, world, left.reason, known.as_ref());
    if let (Reason::Fragment, Some(_)) = (left.reason, known)
        && cluster::is_elsewhere(world, arrival.protocol, &arrival.key)
    {
        return Next::Go(Stage::Relay);
    }
    if let Reason::FragmentHeld = left.reason {
        left.reason = fragment::hold::<V, _, _>(packet, world, 0);
    }
    Next::Leave(leave(packet, world, bytes, left))
}

/// Whether another member of the cluster serves a flow that we have; then it is the packet's aim.
#[inline(never)]
fn is_anothers<A: Address, W: World>(world: &W, key: &FlowKey<A>, flow: &Flow<Live, A>) -> bool {
    let Some(config) = world.config() else {
        return false;
    };
    cluster::is_anothers(world, &config, cluster::came(world), key, flow)
}

/// Tells which flow's a packet may be. A later fragment is a packet as any other, but for its ports,
/// which are remembered.
#[inline(never)]
fn recognize<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    arrival: &mut Arrival<A>,
    why: &mut Reason,
) -> Turn {
    match parse::<V, A, _, _>(packet, world, arrival, why) {
        Parsed::Arrival => Turn::Follow,
        Parsed::Leaves => Turn::Leave,
        Parsed::Part if matches!(*why, Reason::IcmpError) => Turn::Error,
        Parsed::Part if matches!(*why, Reason::Fragment) => {
            let found = fragment::find::<V, A, _, _>(packet, world, arrival);
            match found.refusal() {
                None => Turn::Follow,
                Some(reason) => {
                    *why = reason;
                    Turn::Refuse
                }
            }
        }
        Parsed::Part => Turn::Refuse,
    }
}

/// What came of reading a packet's headers.
#[derive(Clone, Copy)]
enum Parsed {
    /// A packet that may be a flow's.
    Arrival,
    /// Its ports cannot be read.
    Part,
    /// It leaves, whoever it belongs to.
    Leaves,
}

/// Reads the headers, and why that cannot be done. A function of its own for the programs whose callers
/// need the stack.
#[inline(never)]
fn parse<V: Translate<A>, A: Address, P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    arrival: &mut Arrival<A>,
    why: &mut Reason,
) -> Parsed {
    match V::parse(packet, world, packet.len() as u64) {
        Ok(parsed) => {
            *arrival = widen::<V, A>(&parsed);
            Parsed::Arrival
        }
        Err(Unusual::Part(reason)) => {
            *why = reason;
            Parsed::Part
        }
        Err(Unusual::Leaves(reason)) => {
            *why = reason;
            Parsed::Leaves
        }
        Err(Unusual::Other) => {
            *why = Reason::Internal;
            Parsed::Leaves
        }
    }
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

/// Sends a flow's packet on its way, apart from its caller's stack.
#[inline(never)]
fn send<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    flow: &Flow<Live, A>,
    left: &mut Left,
) {
    *left = hit::<V, _, _, _>(packet, world, arrival, flow);
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
    let now = world.now();
    let generation = route::generation(config.generation, now);
    let (reason, ifindex) =
        forward::hit::<V, _, _, _>(packet, world, arrival, flow, (now, generation));
    Left::new(reason, ifindex)
}

/// A packet that no flow wants; if there is one now, the program that knew of none takes it up again.
#[inline(always)]
fn newcomer<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    again: Stage,
) -> Next {
    let mut arrival = Arrival::later(packet.len() as u64);
    let mut reason = Reason::Internal;
    match parse::<V, A, _, _>(packet, world, &mut arrival, &mut reason) {
        Parsed::Arrival => match begin::<V, A, _, _>(packet, world, &arrival) {
            Some(next) => remember::<V, _, _>(world, &arrival, next),
            None => Next::Go(again),
        },
        Parsed::Part | Parsed::Leaves => as_it_came(packet, world, Reason::Internal),
    }
}

/// Hands a packet that no flow wants to the member that is to begin one, or that may have one; all others go on
/// to who begins flows, or says why there is none.
#[inline(always)]
fn owned<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    open: Stage,
) -> Next {
    let mut arrival = Arrival::later(packet.len() as u64);
    let mut reason = Reason::Internal;
    let parsed = parse::<V, A, _, _>(packet, world, &mut arrival, &mut reason);
    let (Parsed::Arrival, Some(mut room)) = (parsed, Tables::<A>::room(world)) else {
        return as_it_came(packet, world, Reason::Internal);
    };
    let beginning = &mut room.beginning;
    let mut step = open::judge::<V, _, _, _>(packet, world, &arrival, beginning);
    if let Step::Begin = step {
        step = open::own_port(packet.ingress(), world, &arrival, beginning);
    }
    if let Step::Begin = step {
        step = open::redirect(world, beginning);
    }
    if let Step::Begin = step {
        step = open::from_inside::<V, _, _>(world, &arrival, beginning);
    }
    if let Step::Begin = step {
        step = cluster::unless_mine::<V, _, _>(world, &arrival, beginning);
    }
    match step {
        Step::Relay => remember::<V, _, _>(world, &arrival, Next::Go(Stage::Relay)),
        Step::Leave(Reason::NoOwner) => as_it_came(packet, world, Reason::NoOwner),
        // The kernel would send it on as it is.
        Step::Leave(reason) if reason.is_left_alone() && cluster::came(world).is_by_member() => {
            as_it_came(packet, world, Reason::RelayUnwanted)
        }
        Step::Begin | Step::Answer | Step::Cross | Step::Leave(_) => Next::Go(open),
    }
}

/// Begins a flow for a packet that has none, or says what becomes of it instead. Nothing, if there is a
/// flow now; perhaps because another CPU was faster.
#[inline(always)]
fn begin<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
) -> Option<Next> {
    // Functions one after the other, not one inside the other, because the kernel gives all frames
    // that are open at once 512 bytes of stack.
    let Some(mut room) = Tables::<A>::room(world) else {
        return Some(as_it_came(packet, world, Reason::Internal));
    };
    let Room {
        beginning, flow, ..
    } = &mut *room;
    let mut step = open::judge::<V, _, _, _>(packet, world, arrival, beginning);
    if let Step::Begin = step {
        step = open::own_port(packet.ingress(), world, arrival, beginning);
    }
    if let Step::Begin = step {
        step = open::redirect(world, beginning);
    }
    if let Step::Begin = step {
        step = open::from_inside::<V, _, _>(world, arrival, beginning);
    }
    cluster::let_out(world, beginning);
    if let Step::Begin = step {
        step = open::call::<V, _, _>(world, arrival, beginning);
    }
    if let Step::Begin = step {
        step = open::filter::<V, _, _>(world, arrival, beginning);
    }
    if let Step::Begin = step {
        step = open::choose(world, arrival, beginning);
    }
    if let Step::Begin = step {
        step = open::aim(packet.ingress(), world, arrival, beginning);
    }
    if let Step::Begin = step {
        step = open::may_begin(arrival, beginning);
    }
    let reason = match step {
        Step::Begin => match make::<V, _, _>(world, arrival, beginning, flow) {
            None | Some(Reason::Collision) if Tables::<A>::flow(world, &arrival.key).is_some() => {
                return None;
            }
            None => Reason::Collision,
            Some(reason) => reason,
        },
        Step::Answer if cluster::may_live_elsewhere(world, beginning) => Reason::StateUnknown,
        Step::Answer => V::reset(packet, arrival),
        Step::Cross => return Some(Next::Go(Stage::Cross)),
        Step::Relay => return Some(Next::Go(Stage::Relay)),
        Step::Leave(reason) => reason,
    };
    // Through memory, so that to the verifier what follows is one way and not one for each reason.
    beginning.reason = reason;
    let reason = *core::hint::black_box(&beginning.reason);
    let left = Left::new(reason, packet.ingress());
    let exit = leave(packet, world, arrival.bytes, left);
    if reason.is_refusal()
        && refusal::tell::<V, _, _, _>(packet, world, arrival, beginning.behaviour.refusal())
    {
        return Some(Next::Leave(Exit::Transmit));
    }
    Some(Next::Leave(exit))
}

/// Makes a flow that may begin, and what it needs; or says why it did not come to be.
#[inline(always)]
fn make<V: Translate<A>, A: Address, W: World + Tables<A> + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
    flow: &mut Flow<Live, A>,
) -> Option<Reason> {
    let mut refused = open::recall::<V, _, _>(world, arrival, beginning);
    if refused.is_none() {
        refused = quota::admit(world, arrival, beginning);
    }
    let is_admitted = refused.is_none();
    if refused.is_none() {
        refused = open::reserve::<V, _, _>(world, arrival, beginning);
    }
    if refused.is_none() {
        refused = open::insert(world, arrival, beginning, flow);
    }
    if refused.is_none() {
        refused = open::publish::<V, _, _>(world, arrival, beginning);
    }
    // One that is filtered has what it came for: its port lets the other in.
    let is_made = matches!(refused, None | Some(Reason::Filtered));
    if is_admitted && !is_made {
        quota::refund(world, arrival, beginning);
    }
    refused
}
