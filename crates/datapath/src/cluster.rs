//! Whose a packet is among the members of a cluster.
//!
//! A flow is its owner's, and whose that is follows from the packet alone. While a bucket goes from one
//! member to another, both serve it: who had it before those flows that it has, the new owner all others. So
//! nothing has to be moved for established connections to go on.
//!
//! ```text
//! hit  ── is the bucket mine, or was it before? ─ yes ─► translate
//! miss ── is the bucket mine? ─┬─ yes ─ did another hold it before, who was not asked? ─ yes ─► ask it
//!                              │                                                         no ─► begin
//!                              └─ no ─► the owner
//! asked, and no flow ── is the client known, or does the owner give no ports yet, and we do? ─┬─ yes ─► begin
//!                                                                                             └─ no ─► the owner begins
//! ```

use core::hint::black_box;

use abi::{
    Address, Config, Flow, FlowKey, Interface, Live, MappingKey, Port, Protocol, Reason, Side,
    Stage,
    cluster::{Came, Giver, Holder, NOBODY, Note, Sent, bucket_of},
    ports::CLASSES,
};

use crate::{
    Arrival, Next,
    ip::Translate,
    open::{Beginning, Step, Way, known_port, start},
    world::{Tables, World},
};

/// Goes on with another program, which is to know how the packet came.
#[inline(always)]
pub fn go<W: World>(world: &W, came: Came, stage: Stage) -> Next {
    if let Some(trip) = world.trip() {
        trip.came.set(came.word());
    }
    Next::Go(stage)
}

/// How the packet at hand came, as the program before said.
#[inline(always)]
pub fn came<W: World>(world: &W) -> Came {
    match world.trip() {
        Some(trip) => Came::of(trip.came.get()),
        None => Came::DIRECT,
    }
}

/// Whether the packet at hand came from the internal realm; to us by this interface, or else to the member
/// that handed it over.
#[inline(always)]
pub fn is_from_inside<W: World>(world: &W, interface: &Interface) -> bool {
    let came = came(world);
    match came.is_by_member() {
        true => came.note().is_from_inside(),
        false => interface.is_internal(),
    }
}

/// Whether a flow that we have is served by another member; then that is the packet's aim.
#[inline(always)]
pub fn is_anothers<A: Address, W: World>(
    world: &W,
    config: &Config,
    came: Came,
    key: &FlowKey<A>,
    flow: &Flow<Live, A>,
) -> bool {
    if !config.is_clustered() || came.note().asks() {
        return false;
    }
    let port = match flow.side() {
        Side::Outbound => flow.to.source_port,
        Side::Inbound => key.tuple.target_port,
    };
    let Holder { owner, before } = holder(world, bucket_of(port));
    let me = config.me as u8;
    if owner == me || before == me || owner == NOBODY {
        return false;
    }
    // The owner may not have the flow, and is to know then which realm the packet came from.
    let is_inside = matches!(flow.side(), Side::Outbound);
    aim(world, owner, note(came).inside(is_inside))
}

/// The note of a packet that is handed on: what its sender was told already is told again.
#[inline(always)]
fn note(came: Came) -> Note {
    match came.note().begins() {
        true => Note::PLAIN.beginning(),
        false => Note::PLAIN,
    }
}

/// Has the packet at hand go to a member.
#[inline(always)]
fn aim<W: World>(world: &W, to: u8, note: Note) -> bool {
    let Some(trip) = world.trip() else {
        return false;
    };
    trip.to.set(Sent { to, note }.word());
    true
}

#[inline(always)]
fn holder<W: World>(world: &W, bucket: u8) -> Holder {
    match world.buckets() {
        Some(buckets) => buckets.holder(bucket),
        None => Holder::NONE,
    }
}

/// Whether we give ports of a bucket.
#[inline(always)]
fn gives<W: World>(world: &W, bucket: u8) -> bool {
    let buckets = world.buckets();
    let class = black_box(bucket as usize) % CLASSES;
    buckets.is_some_and(|it| Giver::of(it.givers[class].get()).rank != NOBODY)
}

/// Sends a packet that no flow wants to the member that is to begin one, or that may have one.
#[inline(never)]
pub fn unless_mine<V: Translate<A>, A: Address, W: World + Tables<A> + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    let Some(config) = world.config() else {
        return Step::Leave(Reason::Internal);
    };
    if !config.is_clustered() {
        return Step::Begin;
    }
    let is_inside = !matches!(beginning.way, Way::In);
    let me = config.me as u8;
    let note = came(world).note();
    let asks = note.asks();
    let bucket = match is_inside {
        true => {
            let known = known_port::<V, _, _>(world, arrival, beginning);
            let bucket = sender(known, arrival, beginning);
            // The client has a port here, and keeps it (RFC 4787 REQ-1); or the owner gives none yet, and we do.
            if asks
                && holder(world, bucket).before == me
                && (known.get() != 0 || note.yields() && gives(world, bucket))
            {
                return Step::Begin;
            }
            bucket
        }
        false => {
            let end = (beginning.target, arrival.key.tuple.target_port);
            let key = MappingKey::inward(arrival.protocol, end);
            let bucket = bucket_of(arrival.key.tuple.target_port);
            if asks
                && holder(world, bucket).before == me
                && Tables::<A>::mapping(world, &key).is_some()
            {
                return Step::Begin;
            }
            bucket
        }
    };
    let step = next(world, me, bucket, is_inside);
    if !matches!(step, Step::Begin) {
        return step;
    }
    let called = bucket_of(arrival.key.tuple.target_port);
    let is_out = matches!(beginning.way, Way::Hairpin) && holder(world, called).owner != me;
    let is_unknown = world.buckets().is_some_and(|it| it.is_unknown(bucket));
    match world.trip() {
        Some(trip) => {
            trip.is_out.set(is_out as u32);
            trip.is_unknown.set(is_unknown as u32);
            Step::Begin
        }
        None => Step::Leave(Reason::Internal),
    }
}

/// Whether a flow may live at another member that this one knows nothing of: then nobody is told that there is
/// none.
#[inline(always)]
pub fn may_live_elsewhere<A: Address, W: World>(world: &W, beginning: &Beginning<A>) -> bool {
    beginning.is_clustered && world.trip().is_some_and(|trip| trip.is_unknown.get() != 0)
}

/// Has a packet go out to a router whose flow would be another member's too: the external port that it calls is
/// a remote as any other then, and routers bring the packet back.
#[inline(never)]
pub fn let_out<A: Address, W: World>(world: &W, beginning: &mut Beginning<A>) {
    if matches!(beginning.way, Way::Hairpin)
        && beginning.is_clustered
        && world.trip().is_some_and(|trip| trip.is_out.get() != 0)
    {
        beginning.way = Way::Out;
    }
}

/// The stage of packets that no flow wants: first the one that finds out whose they are, where there are other
/// members.
#[inline(always)]
pub fn unless_alone<W: World>(world: &W, (own, open): (Stage, Stage)) -> Stage {
    match is_in(world) {
        true => own,
        false => open,
    }
}

/// Whether there are other members.
#[inline(always)]
pub fn is_in<W: World>(world: &W) -> bool {
    world.config().is_some_and(|config| config.is_clustered())
}

/// The bucket of a client that may have a port.
#[inline(always)]
fn sender<A: Address>(known: Port, arrival: &Arrival<A>, beginning: &Beginning<A>) -> u8 {
    // What has no ports is in one bucket, so that both directions are.
    if arrival.protocol.is_by_address() {
        return bucket_of(Port::new(0));
    }
    match known.get() {
        0 => start(arrival, beginning) as u8,
        _ => bucket_of(known),
    }
}

/// What is to be done with a packet of a bucket that we have no flow for.
#[inline(always)]
fn next<W: World>(world: &W, me: u8, bucket: u8, is_inside: bool) -> Step {
    let Holder { owner, before } = holder(world, bucket);
    let came = came(world);
    let plain = note(came).inside(is_inside);
    let (to, note) = if owner == NOBODY {
        return Step::Leave(Reason::NoOwner);
    } else if owner != me && came.note().asks() {
        (owner, plain.beginning())
    } else if owner != me {
        (owner, plain)
    } else if before != NOBODY && before != me && !came.note().begins() {
        (before, plain.asking().yielding(gives(world, bucket)))
    } else {
        return Step::Begin;
    };
    match aim(world, to, note) {
        true => Step::Relay,
        false => Step::Leave(Reason::Internal),
    }
}

/// Whether what is no flow of ours, and has these ports, is another member's; then that is its aim. Of what
/// is known to be wanted by a rule, or is for an external address.
#[inline(never)]
pub fn is_elsewhere<A: Address, W: World + Tables<A>>(
    world: &W,
    protocol: Protocol,
    key: &FlowKey<A>,
) -> bool {
    let Some(config) = world.config() else {
        return false;
    };
    if !config.is_clustered() {
        return false;
    }
    let tuple = &key.tuple;
    let is_inside = crate::open::external(world, tuple.target).is_none();
    let bucket = if protocol.is_by_address() {
        bucket_of(Port::new(0))
    } else if is_inside {
        let client = (tuple.source, tuple.source_port);
        abi::cluster::start(config.key, client, protocol, true) as u8
    } else {
        bucket_of(tuple.target_port)
    };
    matches!(next(world, config.me as u8, bucket, is_inside), Step::Relay)
}
