//! Quotas: what a flow takes of what its rule allows, before anything is made for it.
//!
//! A flow is charged to its client and to its rule as a whole; if one of them has no more, nothing is
//! charged. What was charged is given back if the flow then does not come to be. When it ends,
//! whoever sweeps gives it back.

use abi::{Address, Exceeded, Holder, Load, Quota, Reason, hash::hash, quota};

use crate::{
    Arrival,
    open::{Beginning, Way},
    world::{InsertError, Tables, World},
};

/// Charges a flow that is about to begin, or says why it must not.
#[inline(never)]
pub fn admit<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    let numbered = world.numbered(beginning.rule)?;
    let quota = &numbered.quota;
    if beginning.rule == 0 || quota.is_none() {
        return None;
    }
    let rule = world.usage(beginning.rule as u32)?;
    if quota.counts_clients() {
        let client = match beginning.way {
            Way::In => beginning.internal,
            Way::Out | Way::Hairpin | Way::Knock => arrival.key.tuple.source,
        };
        beginning.client = slot(world, beginning.seed, &Holder::new(beginning.rule, client));
        if let Some(reason) = charge_client(world, arrival, beginning, quota) {
            rule.refused.fetch_add(1);
            return Some(reason);
        }
    }
    if quota.total.is_none() {
        return None;
    }
    if let Some(exceeded) = rule.take(&quota.total, wanted(arrival, beginning)) {
        refund_client(world, arrival, beginning);
        rule.refused.fetch_add(1);
        return Some(named(exceeded));
    }
    beginning.is_charged = true;
    None
}

/// Gives back what was charged, because the flow did not come to be.
#[inline(never)]
pub fn refund<A: Address, W: World>(world: &W, arrival: &Arrival<A>, beginning: &Beginning<A>) {
    refund_client(world, arrival, beginning);
    if beginning.is_charged
        && let Some(rule) = world.usage(beginning.rule as u32)
    {
        rule.give_back(wanted(arrival, beginning));
    }
}

#[inline(always)]
fn charge_client<A: Address, W: World>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
    quota: &Quota,
) -> Option<Reason> {
    let client = match beginning.client {
        0 => return Some(Reason::QuotaTableFull),
        slot => world.usage(slot)?,
    };
    let wanted = wanted(arrival, beginning);
    let mut refused = client.take(&quota.client, wanted).map(named);
    if refused.is_none()
        && quota.refill != 0
        && wanted.flows() != 0
        && !client.spend(quota, world.now())
    {
        client.give_back(wanted);
        refused = Some(Reason::QuotaRate);
    }
    if refused.is_some() {
        client.refused.fetch_add(1);
        beginning.client = 0;
    }
    refused
}

#[inline(always)]
fn refund_client<A: Address, W: World>(world: &W, arrival: &Arrival<A>, beginning: &Beginning<A>) {
    if beginning.client != 0
        && let Some(client) = world.usage(beginning.client)
    {
        client.give_back(wanted(arrival, beginning));
    }
}

/// What the flow takes: itself, unless it only lets its remote in, and a port, if it needs
/// a new one of its own: one that several flows share is no client's.
#[inline(always)]
fn wanted<A: Address>(arrival: &Arrival<A>, beginning: &Beginning<A>) -> Load {
    let flows = match beginning.way {
        Way::Out | Way::In | Way::Hairpin => 1,
        Way::Knock => 0,
    };
    let is_own = beginning.is_new && !beginning.shares_ports(arrival.protocol);
    Load::new(flows, is_own as u32)
}

#[inline(always)]
const fn named(exceeded: Exceeded) -> Reason {
    match exceeded {
        Exceeded::Flows => Reason::QuotaFlows,
        Exceeded::Ports => Reason::QuotaPorts,
    }
}

/// The slot that a client is counted in, which it gets if it has none; zero, which is no client's, if
/// there is none left.
#[inline(never)]
fn slot<W: World>(world: &W, seed: u64, holder: &Holder) -> u32 {
    if let Some(slot) = world.client(holder) {
        return *slot;
    }
    let (high, low) = holder.client.words();
    let hash = hash(seed ^ holder.rule as u64, high, low);
    let (mut free, mut step) = (0, 0);
    while step < quota::TRIES {
        let slot = quota::slot(hash, step);
        if world.usage(slot).is_some_and(|it| it.claim()) {
            free = slot;
            break;
        }
        step += 1;
    }
    if free == 0 {
        return 0;
    }
    let Err(error) = world.insert_client(holder, free) else {
        return free;
    };
    if let Some(unused) = world.usage(free) {
        unused.release();
    }
    match (error, world.client(holder)) {
        // Another CPU was faster with the same client.
        (InsertError::Exists, Some(slot)) => *slot,
        (InsertError::Exists, None) | (InsertError::Full, _) => 0,
    }
}
