//! How a flow that another member told of comes to stand in the tables, beside what packets do there.

use abi::{
    Address, Flow, FlowKey, Ip4, Ip6, Mapping, MappingKey, Picture, Port, Protocol, Side, Tick,
};

use super::{Any, Entries, Entry, FlowCopy, Terms, Which, bucket};

/// A copy that is told anew is marked as such if it was not within so many ticks.
const FRESH: u32 = 2;

/// What came of an entry that was to be new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// It stands.
    Done,
    /// Something stands in its place.
    Exists,
    /// There is no room.
    Full,
}

/// A table, as whoever adopts flows has it.
pub trait Shelf<K, V> {
    /// Why it cannot be read or written.
    type Error;

    /// What stands under a key.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    fn get(&mut self, key: &K) -> Result<Option<V>, Self::Error>;
    /// Puts what stands nowhere yet.
    ///
    /// # Errors
    ///
    /// If the table cannot be written for another reason than that something is there, or no room.
    fn put_new(&mut self, key: &K, value: &V) -> Result<Put, Self::Error>;
    /// Puts something in the place of what stands there.
    ///
    /// # Errors
    ///
    /// If the table cannot be written.
    fn replace(&mut self, key: &K, value: &V) -> Result<(), Self::Error>;
    /// Removes what stands there, if anything does.
    ///
    /// # Errors
    ///
    /// If the table cannot be written.
    fn remove(&mut self, key: &K) -> Result<(), Self::Error>;
}

/// The tables of flows of a kind of address.
pub trait Flows<A: Address, E>: Shelf<FlowKey<A>, Flow<Picture, A>, Error = E> {}
impl<A: Address, E, T: Shelf<FlowKey<A>, Flow<Picture, A>, Error = E>> Flows<A, E> for T {}

/// All tables.
pub trait Store<E>:
    Flows<Ip4, E>
    + Flows<Ip6, E>
    + Shelf<MappingKey, Mapping, Error = E>
    + Shelf<MappingKey<Ip6>, Mapping<Ip6>, Error = E>
{
    /// Takes a port in a bitmap, whoever has it.
    fn take(&mut self, bitmap: u32, port: Port);
}

/// What became of a flow that another member told of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// It stands in the tables.
    Stands,
    /// This member has no use for it: its external address is none of its own.
    Refused,
    /// This member serves another flow with the same packets.
    Contradicted,
    /// There is no room.
    Full,
}

/// Has a flow stand in the tables. What this member serves itself is not overwritten by what others say: `serves` says
/// of a bucket whether it does.
///
/// # Errors
///
/// If a table cannot be read or written.
pub fn adopt<E, S: Store<E>>(
    store: &mut S,
    told: &Any,
    (terms, now): (&Terms, Tick),
    serves: &dyn Fn(u8) -> bool,
) -> Result<Outcome, E> {
    match told {
        Any::V4(copy) => put(store, copy, (terms, now), serves),
        Any::V6(copy) => put(store, copy, (terms, now), serves),
    }
}

/// Has a flow that another member served stand there no more. What it uses is free when nobody is found to use
/// it.
///
/// # Errors
///
/// If a table cannot be read or written.
pub fn let_go<E, S: Store<E>>(store: &mut S, told: &Which) -> Result<(), E> {
    match told {
        Which::V4(outbound) => remove(store, outbound),
        Which::V6(outbound) => remove(store, outbound),
    }
}

fn put<A: Address, E, S: Store<E> + Flows<A, E>>(
    store: &mut S,
    copy: &FlowCopy<A>,
    (terms, now): (&Terms, Tick),
    serves: &dyn Fn(u8) -> bool,
) -> Result<Outcome, E> {
    let Ok(Entries {
        flows: [outbound, inbound],
        mapping,
        permit,
        port,
    }) = copy.entries(terms, now)
    else {
        return Ok(Outcome::Refused);
    };
    let protocol = copy.protocol;
    if serves(copy.bucket()) && is_anothers(store, mapping.first())? {
        return Ok(Outcome::Contradicted);
    }
    // The port first: no new flow may take it meanwhile.
    if let Some((bitmap, port)) = port {
        store.take(bitmap, port);
    }
    match put_flow(store, protocol, &inbound, serves)? {
        Outcome::Stands => {}
        other @ (Outcome::Refused | Outcome::Contradicted | Outcome::Full) => return Ok(other),
    }
    match put_flow(store, protocol, &outbound, serves)? {
        Outcome::Stands => {}
        other @ (Outcome::Refused | Outcome::Contradicted | Outcome::Full) => {
            Shelf::<FlowKey<A>, _>::remove(store, &inbound.0)?;
            return Ok(other);
        }
    }
    let serves = serves(copy.bucket());
    let mut is_first = true;
    for entry in &mapping {
        is_first &= match entry {
            Entry::Narrow(key, mapping) => put_mapping(store, key, mapping, serves)?,
            Entry::Wide(key, mapping) => put_mapping(store, key, mapping, serves)?,
        };
    }
    // The one whom the client sent to first is let in by the mapping itself.
    if !is_first {
        match permit {
            Some(Entry::Narrow(key, permit)) => drop(store.put_new(&key, &permit)?),
            Some(Entry::Wide(key, permit)) => drop(store.put_new(&key, &permit)?),
            None => {}
        }
    }
    Ok(Outcome::Stands)
}

fn put_flow<A: Address, E, S: Flows<A, E>>(
    store: &mut S,
    protocol: Protocol,
    (key, flow): &(FlowKey<A>, Flow<Picture, A>),
    serves: &dyn Fn(u8) -> bool,
) -> Result<Outcome, E> {
    let found = match store.get(key)? {
        Some(found) => found,
        None => match store.put_new(key, flow)? {
            Put::Done => return Ok(Outcome::Stands),
            Put::Full => return Ok(Outcome::Full),
            // A packet was faster.
            Put::Exists => match store.get(key)? {
                Some(found) => found,
                None => return Ok(Outcome::Contradicted),
            },
        },
    };
    if found.to == flow.to {
        let seen = found.seen | flow.seen;
        let is_old = !serves(of(protocol, key, &found)) && found.last_seen + FRESH < flow.last_seen;
        if seen != found.seen || is_old {
            let mut fresh = found.with_seen(seen);
            fresh.last_seen = found.last_seen.max(flow.last_seen);
            store.replace(key, &fresh)?;
        }
        return Ok(Outcome::Stands);
    }
    if serves(of(protocol, key, &found)) {
        return Ok(Outcome::Contradicted);
    }
    store.remove(&found.twin(protocol))?;
    store.replace(key, flow)?;
    Ok(Outcome::Stands)
}

/// Whether the external end of a mapping is another client's by now.
fn is_anothers<E, S: Store<E>>(store: &mut S, inward: Option<&Entry>) -> Result<bool, E> {
    fn differs<A: Address>(found: Option<Mapping<A>>, told: &Mapping<A>) -> bool {
        found.is_some_and(|it| (it.port, it.internal) != (told.port, told.internal))
    }
    Ok(match inward {
        Some(Entry::Narrow(key, told)) => differs(store.get(key)?, told),
        Some(Entry::Wide(key, told)) => differs(store.get(key)?, told),
        None => false,
    })
}

/// The bucket of a flow, by either of its entries.
fn of<A: Address>(protocol: Protocol, key: &FlowKey<A>, flow: &Flow<Picture, A>) -> u8 {
    match flow.side() {
        Side::Outbound => bucket(protocol, &flow.to),
        Side::Inbound => bucket(protocol, &key.tuple.reversed()),
    }
}

/// Returns whether it stands there as it is.
fn put_mapping<A: Address, E, S>(
    store: &mut S,
    key: &MappingKey<A>,
    mapping: &Mapping<A>,
    serves: bool,
) -> Result<bool, E>
where
    S: Shelf<MappingKey<A>, Mapping<A>, Error = E>,
{
    let Some(found) = store.get(key)? else {
        return Ok(!matches!(store.put_new(key, mapping)?, Put::Exists));
    };
    let is_same = (found.port, found.internal) == (mapping.port, mapping.internal);
    if !is_same && !serves && !found.is_asked_for() {
        store.replace(key, mapping)?;
        return Ok(true);
    }
    Ok(is_same && found.remote == mapping.remote)
}

fn remove<A: Address, E, S: Flows<A, E>>(store: &mut S, outbound: &FlowKey<A>) -> Result<(), E> {
    let Some(protocol) = Protocol::from_number(outbound.protocol) else {
        return Ok(());
    };
    if let Some(found) = store.get(outbound)? {
        store.remove(&found.twin(protocol))?;
        store.remove(outbound)?;
    }
    Ok(())
}
