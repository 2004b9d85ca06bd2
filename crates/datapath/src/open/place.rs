//! Where flows from inside leave from: which address of its pool a client has, which ports of that are
//! its own, and one that is free.

use core::hint::black_box;

use abi::{
    Address, Ip4, Pool, Port, Reason,
    blocks::NOBODY,
    cluster::{self, Giver},
    limits::MEMBERS_MAX,
    ports::{CLASS_WORDS, CLASSES, bitmap_towards},
};

use super::Beginning;
use crate::{
    Arrival,
    ip::Translate,
    ports::{self, NO_PORT},
    world::{Tables, World},
};

/// The slot of a client's address in a pool; fills in which ports of that it may have.
#[inline(always)]
pub fn place<V: Translate<A>, A: Address>(
    pool: &Pool,
    client: A,
    beginning: &mut Beginning<A>,
) -> usize {
    beginning.ordinal = NOBODY;
    beginning.block = (0, 0);
    beginning.rest = pool.blocks.rest;
    if V::Own::LENGTH == Ip4::LENGTH
        && pool.blocks.are_there()
        && let Some(client) = client.ip4()
    {
        find_block(pool, client, beginning);
    }
    pool.blocks.slot(beginning.ordinal, V::own(client))
}

/// Fills in which ports are a client's own.
#[inline(never)]
fn find_block<A: Address>(pool: &Pool, client: Ip4, beginning: &mut Beginning<A>) {
    beginning.ordinal = pool.blocks.ordinal(client);
    if beginning.ordinal != NOBODY {
        beginning.block = pool.blocks.block(beginning.ordinal);
    }
}

/// Where the search for the port of the packet's source begins, and with that its bucket. Members of a cluster
/// must find that alike also where they do not know the pool: so all buckets keep parity.
#[inline(always)]
pub fn start<A: Address>(arrival: &Arrival<A>, beginning: &Beginning<A>) -> u64 {
    let asked = &arrival.key.tuple;
    let client = (asked.source, asked.source_port);
    let keeps_parity = beginning.is_clustered | beginning.behaviour.keeps_parity();
    cluster::start(beginning.key, client, arrival.protocol, keeps_parity)
}

/// Claims a port for the packet's source: one of its own block, if it has one and any of it is free,
/// else one that is in nobody's.
#[inline(always)]
pub fn claim<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Port> {
    let (protocol, seed) = (arrival.protocol, beginning.seed);
    let start = start(arrival, beginning);
    let address = (beginning.slot.index, beginning.slot.planes);
    let remote = (beginning.sent.target, beginning.sent.target_port);
    let bitmap = bitmap_towards(seed, address, protocol, remote);
    beginning.bitmap = bitmap;
    // Through memory, so that to the verifier what follows is one way.
    give(world, start as u8, beginning);
    let giver = *black_box(&beginning.giver);
    beginning.found = ports::claim_within(world, bitmap, start, (beginning.block, giver));
    if *black_box(&beginning.found) == NO_PORT {
        beginning.found = ports::claim(world, bitmap, start, (&beginning.rest, giver));
    }
    ports::found(*black_box(&beginning.found))
}

/// Why there is no port: all are in use, or those of the bucket are nobody's to give, because it has just become
/// another member's, or comes to be ours; or they are another's, and ours is what is left of the reserve until that one
/// gives them.
#[inline(never)]
pub fn no_port<A: Address, W: World>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Reason {
    let (Some(buckets), Some(config)) = (world.buckets(), world.config()) else {
        return Reason::Internal;
    };
    let bucket = start(arrival, beginning) as u8;
    let giver = buckets.givers[black_box(bucket as usize) % CLASSES].get();
    let is_ours = !beginning.is_clustered || buckets.holder(bucket).owner as u32 == config.me;
    let is_given = Giver::of(giver).rank != cluster::NOBODY;
    match is_ours && is_given && giver == beginning.giver {
        true => Reason::PortsExhausted,
        false => Reason::Moving,
    }
}

/// Leaves a client the ports of its bucket's rank: others are other members' to give. A gateway that is alone has
/// one rank, which gives all.
#[inline(never)]
fn give<A: Address, W: World>(world: &W, bucket: u8, beginning: &mut Beginning<A>) {
    let Some(buckets) = world.buckets() else {
        return;
    };
    let giver = buckets.givers[black_box(bucket as usize) % CLASSES].get();
    beginning.giver = giver;
    let rank = Giver::of(giver).rank;
    if rank as usize >= MEMBERS_MAX {
        // The bucket has just become another member's.
        beginning.block.1 = 0;
        beginning.rest = [0; CLASS_WORDS];
        return;
    }
    let withheld = &buckets.withheld[rank as usize % MEMBERS_MAX];
    let word = beginning.block.0 as usize % CLASS_WORDS;
    beginning.block.1 &= !withheld[word].get();
    let mut word = 0;
    while word < CLASS_WORDS {
        beginning.rest[word] &= !withheld[word].get();
        word += 1;
    }
}
