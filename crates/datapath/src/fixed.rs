//! Prefixes whose addresses are translated one to one: of IPv4, and of IPv6 (RFC 6296).
//!
//! Nothing is remembered of a packet, so every packet says by its addresses alone what becomes of it, on
//! every gateway and in either direction. It has no program's time but of those packets that no flow
//! wants, and what no prefix wants goes on as it would have without one.

mod v4;
mod v6;

use abi::{
    Action, Address, Config, Fixed, FixedKey, Ip4, Ip6, NextHop, Port, Protocol, Reason,
    Renumbered, Stage, Tuple, Verdict,
};

use crate::{
    Arrival, Exit, Left, Next, Parsed, as_it_came,
    classify::{Wish, classify, classify_part},
    embedded::embedded,
    fragment,
    frame::{Link, Packet},
    ip::{Translate, Version},
    leave, open, parse,
    quoted::Error,
    route::next_hop,
    world::{Room, Route, RouteQuery, Tables, World},
};

/// What this asks of a version of IP beside what flows ask.
pub trait Renumber<A: Address>: Translate<A> + Version<Own = A> {
    /// Length of the IP packet in bytes, and whether no router may fragment it.
    fn length<P: Packet>(packet: &mut P) -> Option<(u16, bool)>;

    /// Gives a packet its addresses and, if we send it, its next hop; or says why that cannot be done.
    fn renumber<P: Packet>(packet: &mut P, ends: &Ends<A>, hop: Option<&NextHop>)
    -> Option<Reason>;

    /// Reads what an ICMP error quotes, of whatever protocol; `false` if there is nothing to be read.
    fn read_quote<P: Packet>(packet: &mut P, error: &mut Error<A>) -> bool;

    /// The same as [`Renumber::renumber`], of an ICMP error and what it quotes.
    fn renumber_error<P: Packet>(
        packet: &mut P,
        error: &Error<A>,
        ends: (&Ends<A>, &Ends<A>),
        hop: Option<&NextHop>,
    ) -> Option<Reason>;

    /// Tells the sender that its packet is larger than `mtu`.
    fn too_long<P: Packet, W: World>(packet: &mut P, world: &W, mtu: u16) -> Reason;

    /// Tells the sender that an address of its packet has no counterpart; `false` if it cannot be told.
    fn untranslatable<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        why: Reason,
        is_target: bool,
    ) -> bool;
}

/// Source and target of a packet.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Ends<A> {
    pub source: A,
    pub target: A,
}

impl<A: Address> Ends<A> {
    const NONE: Self = Self {
        source: A::NONE,
        target: A::NONE,
    };
}

/// How a packet is to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its ports are known.
    Ported,
    /// A later fragment.
    Later,
    /// An ICMP error.
    Error,
    /// Of another protocol.
    Other,
}

/// What is found out about a packet.
pub struct Passage<A> {
    kind: Kind,
    /// The number in its IP header, as tables know it.
    protocol: u8,
    /// Its source is internal, and becomes the external address.
    is_out: bool,
    /// Its target is external, and becomes the internal address.
    is_in: bool,
    /// Why it leaves.
    reason: Reason,
    /// The interface it came by, and the one that it leaves by.
    ingress: u32,
    ifindex: u32,
    /// Whether it is the target that cannot be translated.
    is_target: bool,
    /// Its addresses as they are, and as they become.
    asked: Ends<A>,
    sent: Ends<A>,
    /// Those of the packet that it quotes.
    quoted: Ends<A>,
    requoted: Ends<A>,
    error: Error<A>,
    hop: NextHop,
}

impl<A: Address> Passage<A> {
    /// To be filled in: each step writes what the next ones read.
    pub const EMPTY: Self = Self {
        kind: Kind::Other,
        protocol: 0,
        is_out: false,
        is_in: false,
        reason: Reason::Internal,
        ingress: 0,
        ifindex: 0,
        is_target: false,
        asked: Ends::NONE,
        sent: Ends::NONE,
        quoted: Ends::NONE,
        requoted: Ends::NONE,
        error: Error::NOTHING,
        hop: NextHop::EMPTY,
    };
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next step.
    Go,
    /// Those programs that would have had the packet without prefixes.
    Fall,
    /// It leaves for the reason that stands in the passage.
    Leave,
    /// It leaves for that reason, and its sender is told.
    Tell,
}

/// The version in force of prefixes of a kind of address; zero if there is none.
#[inline(always)]
pub const fn version<A: Address>(config: &Config) -> u32 {
    match A::LENGTH == Ip4::LENGTH {
        true => config.fixed,
        false => config.fixed6,
    }
}

/// The stage at which packets with a kind of address are looked at here.
#[inline(always)]
pub const fn stage<A: Address>() -> Stage {
    match A::LENGTH == Ip4::LENGTH {
        true => Stage::Fixed,
        false => Stage::SixFixed,
    }
}

/// The program for packets that no flow was found for, before the one that takes up those of every kind,
/// which looks for their flow again: who has extension headers has not been looked for yet.
#[inline(always)]
pub fn program<V: Renumber<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    fall: Stage,
) -> Next {
    let bytes = packet.len() as u64;
    let mut arrival = Arrival::later(bytes);
    let mut why = Reason::Internal;
    let kind = match parse::<V, A, _, _>(packet, world, &mut arrival, &mut why) {
        Parsed::Leaves => return as_it_came(packet, world, why),
        Parsed::Arrival => Kind::Ported,
        Parsed::Part => match why as u8 {
            it if it == Reason::Fragment as u8 => Kind::Later,
            it if it == Reason::IcmpError as u8 => Kind::Error,
            _ => Kind::Other,
        },
    };
    let Some(mut room) = Tables::<A>::room(world) else {
        return as_it_came(packet, world, Reason::Internal);
    };
    let Room { passage, error, .. } = &mut *room;
    passage.kind = kind;
    passage.ingress = packet.ingress();
    passage.ifindex = passage.ingress;
    // Functions one after the other, not one inside the other, as where flows begin.
    let mut step = read::<V, _, _, _>(packet, world, passage);
    if let Step::Go = step {
        step = outwards(world, passage);
    }
    if let Step::Go = step {
        step = inwards(world, passage);
    }
    if let Step::Go = step {
        step = unless_ruled(world, &arrival, passage);
    }
    if let Step::Go = step {
        step = unless_flow::<V, _, _, _>(packet, world, &arrival, error, passage);
    }
    if let Step::Go = step {
        step = count_hops::<V, _, _, _>(packet, world, passage);
    }
    if let Step::Go = step {
        step = aim::<V, _, _, _>(packet, world, &arrival, passage);
    }
    if let Step::Go = step {
        step = rewrite::<V, _, _>(packet, passage);
    }
    if let Step::Fall = step {
        return Next::Go(fall);
    }
    // Through memory, so that to the verifier what follows is one way and not one for each reason.
    let reason = *core::hint::black_box(&passage.reason);
    let left = Left::new(reason, passage.ifindex);
    let exit = leave(packet, world, bytes, left);
    if matches!(step, Step::Tell) && V::untranslatable(packet, world, reason, passage.is_target) {
        return Next::Leave(Exit::Transmit);
    }
    Next::Leave(exit)
}

/// Reads the addresses of a packet that is for us.
#[inline(never)]
fn read<V: Renumber<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    passage: &mut Passage<A>,
) -> Step {
    let Some(config) = world.config() else {
        return Step::Fall;
    };
    let Some(interface) = world.interface(passage.ingress) else {
        return Step::Fall;
    };
    match packet.at::<Link>(0) {
        Some(link) if link.destination() == interface.mac => {}
        _ => return Step::Fall,
    }
    if config.version == 0 {
        return Step::Fall;
    }
    let Some((source, target, protocol)) = V::addresses(packet, world) else {
        return Step::Fall;
    };
    passage.asked = Ends { source, target };
    passage.sent = Ends { source, target };
    passage.protocol = protocol;
    passage.is_out = false;
    passage.is_in = false;
    passage.is_target = false;
    if !matches!(passage.kind, Kind::Error) {
        return Step::Go;
    }
    if !V::read_quote(packet, &mut passage.error) {
        passage.kind = Kind::Other;
        return Step::Go;
    }
    let answer = &passage.error.key.tuple;
    passage.quoted.source = answer.target;
    passage.quoted.target = answer.source;
    passage.requoted.source = answer.target;
    passage.requoted.target = answer.source;
    Step::Go
}

/// Gives a packet from an internal address the external one.
#[inline(never)]
fn outwards<A: Address, W: World + Tables<A>>(world: &W, passage: &mut Passage<A>) -> Step {
    let (Some(config), Some(interface)) = (world.config(), world.interface(passage.ingress)) else {
        return Step::Fall;
    };
    if !interface.is_internal() {
        return Step::Go;
    }
    let version = version::<A>(&config);
    let is_error = matches!(passage.kind, Kind::Error);
    let mut from = passage.asked.source;
    let mut found = internal(world, version, from);
    if is_error && found.is_none() {
        // A router before the host that an error is about is hidden behind that (RFC 5508 REQ-5).
        from = passage.quoted.target;
        found = internal(world, version, from);
    }
    let Some(fixed) = found else {
        return Step::Go;
    };
    let target = passage.asked.target;
    let is_elsewhere = internal(world, version, target).is_some()
        || open::external(world, target).is_some()
        || embedded(&config.prefixes, &target).is_some();
    if is_elsewhere || is_except(world, version, &fixed, target) {
        return Step::Go;
    }
    passage.is_out = true;
    let source = fixed.renumber(from, &mut passage.sent.source);
    if !is_error {
        return took(source, false, passage);
    }
    let from = passage.quoted.target;
    let Some(fixed) = internal(world, version, from) else {
        passage.reason = Reason::IcmpError;
        return Step::Leave;
    };
    error_took(
        source,
        fixed.renumber(from, &mut passage.requoted.target),
        passage,
    )
}

/// Gives a packet for an external address the internal one.
#[inline(never)]
fn inwards<A: Address, W: World + Tables<A>>(world: &W, passage: &mut Passage<A>) -> Step {
    let (Some(config), Some(interface)) = (world.config(), world.interface(passage.ingress)) else {
        return Step::Fall;
    };
    let version = version::<A>(&config);
    let to = passage.asked.target;
    let Some(fixed) = external(world, version, to) else {
        return match passage.is_out {
            true => Step::Go,
            false => Step::Fall,
        };
    };
    // This host's own address is its own, also where it is one of the prefix.
    let is_own = match to.ip4() {
        Some(to) => interface.address().is_some_and(|own| own.is(to)),
        None => interface.address6().is_some_and(|own| own.is(to.wide())),
    };
    if is_own || is_except(world, version, &fixed, passage.asked.source) {
        return match passage.is_out {
            true => Step::Go,
            false => Step::Fall,
        };
    }
    passage.is_in = true;
    let target = fixed.renumber(to, &mut passage.sent.target);
    if !matches!(passage.kind, Kind::Error) {
        return took(target, true, passage);
    }
    let from = passage.quoted.source;
    let Some(fixed) = external(world, version, from) else {
        passage.reason = Reason::IcmpError;
        return Step::Leave;
    };
    error_took(
        target,
        fixed.renumber(from, &mut passage.requoted.source),
        passage,
    )
}

/// What comes of a packet of which one address was looked at.
#[inline(always)]
fn took<A>(renumbered: Renumbered, is_target: bool, passage: &mut Passage<A>) -> Step {
    passage.is_target = is_target;
    passage.reason = match renumbered {
        Renumbered::Done => return Step::Go,
        Renumbered::Unmapped => Reason::PrefixUnmapped,
        Renumbered::Zero => Reason::PrefixZero,
    };
    Step::Tell
}

/// The same of an ICMP error, about which nobody is told.
#[inline(always)]
fn error_took<A>(outer: Renumbered, inner: Renumbered, passage: &mut Passage<A>) -> Step {
    passage.reason = match (outer, inner) {
        (Renumbered::Done, Renumbered::Done) => return Step::Go,
        (Renumbered::Unmapped, _) | (Renumbered::Done, Renumbered::Unmapped) => {
            Reason::PrefixUnmapped
        }
        (Renumbered::Zero, _) | (Renumbered::Done, Renumbered::Zero) => Reason::PrefixZero,
    };
    Step::Leave
}

/// The prefix that an internal address is of.
#[inline(always)]
fn internal<A: Address, W: World + Tables<A>>(
    world: &W,
    version: u32,
    address: A,
) -> Option<W::Ref<'_, Fixed>> {
    world.fixed(&FixedKey::internal(version, address, A::LENGTH))
}

/// The prefix that an external address is of.
#[inline(always)]
fn external<A: Address, W: World + Tables<A>>(
    world: &W,
    version: u32,
    address: A,
) -> Option<W::Ref<'_, Fixed>> {
    world.fixed(&FixedKey::external(version, address, A::LENGTH))
}

/// Whether a prefix is not translated with this remote.
#[inline(always)]
fn is_except<A: Address, W: World + Tables<A>>(
    world: &W,
    version: u32,
    fixed: &Fixed,
    remote: A,
) -> bool {
    let key = FixedKey::except(version, fixed.number(), remote, A::LENGTH);
    fixed.has_exceptions() && world.fixed(&key).is_some()
}

/// Lets those go first who come from inside and have no address of their own outside: where a rule
/// translates them, they call a fixed address by a flow, so that the answers come back by it.
#[inline(never)]
fn unless_ruled<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    passage: &Passage<A>,
) -> Step {
    let (Some(config), Some(interface)) = (world.config(), world.interface(passage.ingress)) else {
        return Step::Fall;
    };
    if passage.is_out || !interface.is_internal() {
        return Step::Go;
    }
    let addresses = (passage.asked.source, passage.asked.target);
    let wish = match passage.kind {
        Kind::Ported => {
            let service = (arrival.protocol as u8, arrival.key.tuple.target_port);
            classify(world, config.version, addresses, service)
        }
        Kind::Later | Kind::Error | Kind::Other => {
            classify_part(world, config.version, addresses, passage.protocol)
        }
    };
    match wish {
        Wish::Do(Action::Translate { .. }, _) => Step::Fall,
        Wish::Do(Action::Pass, _) | Wish::Nothing | Wish::Broken => Step::Go,
    }
}

/// Lets flows go first that are there already, with their fragments and the errors about them.
#[inline(never)]
fn unless_flow<V: Renumber<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    error: &mut Error<A>,
    passage: &Passage<A>,
) -> Step {
    let is_there = match passage.kind {
        Kind::Ported => Tables::<A>::flow(world, &arrival.key).is_some(),
        Kind::Later => fragment::is_known::<V, _, _>(packet, world),
        Kind::Error => {
            V::read_error(packet, error)
                && (Tables::<A>::flow(world, &error.key).is_some()
                    || open::has_wide_flow(world, &error.key))
        }
        Kind::Other => false,
    };
    match is_there {
        true => Step::Fall,
        false => Step::Go,
    }
}

/// Whether a packet's sender may be told what became of it: nobody is told about an ICMP error, nor about
/// a later fragment (RFC 1812 §4.3.2.7).
#[inline(always)]
const fn may_be_told<A>(passage: &Passage<A>) -> bool {
    match passage.kind {
        Kind::Ported | Kind::Other => true,
        Kind::Later | Kind::Error => false,
    }
}

/// Makes sure that the packet may go on by a hop.
#[inline(always)]
fn count_hops<V: Renumber<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    passage: &mut Passage<A>,
) -> Step {
    passage.reason = match V::hops(packet) {
        Some(2..) => return Step::Go,
        Some(_) if may_be_told(passage) => V::time_exceeded(packet, world),
        Some(_) => Reason::TtlExceeded,
        None => Reason::Malformed,
    };
    Step::Leave
}

/// Asks where the packet goes as it leaves, and whether it is short enough for that way.
#[inline(always)]
fn aim<V: Renumber<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    passage: &mut Passage<A>,
) -> Step {
    let is_error = matches!(passage.kind, Kind::Error);
    let (sends, kernel) = match (is_error, passage.is_in && !passage.is_out) {
        (true, _) => (Reason::ErrorTranslated, Reason::ErrorKernelSends),
        (false, true) => (Reason::PrefixIn, Reason::PrefixKernelSends),
        (false, false) => (Reason::PrefixOut, Reason::PrefixKernelSends),
    };
    let route = route(world, arrival, passage);
    passage.reason = match route {
        Route::Known => sends,
        Route::Unresolved | Route::Elsewhere => kernel,
        Route::Local if !passage.is_in => {
            passage.reason = Reason::LocalDestination;
            return Step::Leave;
        }
        Route::Local | Route::Nowhere => {
            passage.reason = Reason::NoRoute;
            return Step::Leave;
        }
    };
    let Some((length, is_firm)) = V::length(packet) else {
        passage.reason = Reason::Malformed;
        return Step::Leave;
    };
    if matches!(route, Route::Unresolved) || length <= passage.hop.mtu {
        return Step::Go;
    }
    if is_error || !is_firm {
        passage.reason = kernel;
        return Step::Go;
    }
    passage.reason = match may_be_told(passage) {
        true => V::too_long(packet, world, passage.hop.mtu),
        false => Reason::TooBig,
    };
    Step::Leave
}

/// Fills in the next hop of the packet as it leaves.
#[inline(never)]
fn route<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    passage: &mut Passage<A>,
) -> Route {
    let (mut source_port, mut target_port) = (Port::new(0), Port::new(0));
    if let Kind::Ported = passage.kind {
        source_port = arrival.key.tuple.source_port;
        target_port = arrival.key.tuple.target_port;
    }
    passage.hop = NextHop::EMPTY;
    let query = RouteQuery {
        ingress: passage.ingress,
        tuple: Tuple {
            source: passage.sent.source,
            target: passage.sent.target,
            source_port,
            target_port,
        },
        protocol: passage.protocol,
    };
    next_hop(world, &query, &mut passage.hop)
}

/// Edits the packet.
#[inline(always)]
fn rewrite<V: Renumber<A>, A: Address, P: Packet>(
    packet: &mut P,
    passage: &mut Passage<A>,
) -> Step {
    let hop = match passage.reason.verdict() {
        Verdict::Send => Some(&passage.hop),
        Verdict::Pass | Verdict::Drop => None,
    };
    let refused = match passage.kind {
        Kind::Error => {
            if !V::is_whole_error(packet, &passage.error) {
                passage.reason = Reason::IcmpError;
                return Step::Leave;
            }
            let ends = (&passage.sent, &passage.requoted);
            V::renumber_error(packet, &passage.error, ends, hop)
        }
        Kind::Ported | Kind::Later | Kind::Other => V::renumber(packet, &passage.sent, hop),
    };
    match refused {
        None => {
            if hop.is_some() {
                passage.ifindex = passage.hop.ifindex;
            }
            Step::Go
        }
        Some(reason) => {
            passage.reason = reason;
            Step::Leave
        }
    }
}

/// Whom a packet of a flow is for that calls an external address of a prefix: makes `target` that host.
#[inline(never)]
pub fn called<A: Address, W: World + Tables<A>>(world: &W, target: &mut A) -> Renumbered {
    let Some(config) = world.config() else {
        return Renumbered::Done;
    };
    if let Some(ip4) = target.ip4() {
        let mut host = ip4;
        if config.fixed != 0
            && let Some(fixed) = external::<Ip4, _>(world, config.fixed, ip4)
        {
            let renumbered = fixed.renumber(ip4, &mut host);
            *target = A::of_ip4(host);
            return renumbered;
        }
        return Renumbered::Done;
    }
    if config.fixed6 == 0 {
        return Renumbered::Done;
    }
    let asked = target.wide();
    match external::<Ip6, _>(world, config.fixed6, asked) {
        Some(fixed) => {
            let mut host = asked;
            let renumbered = fixed.renumber(asked, &mut host);
            *target = A::of_ip6(host);
            renumbered
        }
        None => Renumbered::Done,
    }
}

/// Where a transport header has its checksum, if that covers the addresses (RFC 9293, RFC 768, RFC 4340,
/// RFC 3828).
#[inline(always)]
const fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP | DCCP | UDP_LITE => Some(6),
        _ => None,
    }
}

const TCP: u8 = Protocol::Tcp as u8;
const UDP: u8 = Protocol::Udp as u8;
const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;
