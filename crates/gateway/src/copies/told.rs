//! What is told of flows: read from the tables, or found by a sweep.

use abi::{Address, FlowKey, Protocol, Tick};
use replica::{Change, Importance, Record, What};

use super::{FlowCopy, Flows, Store, Terms, Which, key};
use crate::sweep::{FlowState, Joined, Swept};

/// What others are told of a flow, and the bucket that it is of; nothing if there is none any more.
///
/// # Errors
///
/// If a table cannot be read.
pub fn record<E, S: Store<E>>(
    store: &mut S,
    which: &Which,
    terms: (&Terms, Tick),
) -> Result<Option<(u8, Record)>, E> {
    match which {
        Which::V4(key) => read(store, key, terms),
        Which::V6(key) => read(store, key, terms),
    }
}

fn read<A: Address, E, S: Flows<A, E>>(
    store: &mut S,
    outbound: &FlowKey<A>,
    (terms, now): (&Terms, Tick),
) -> Result<Option<(u8, Record)>, E> {
    let Some(protocol) = Protocol::from_number(outbound.protocol) else {
        return Ok(None);
    };
    let Some(there) = store.get(outbound)? else {
        return Ok(None);
    };
    let inbound = there.twin(protocol);
    let Some(back) = store.get(&inbound)? else {
        return Ok(None);
    };
    let flow = Joined::new(protocol, (*outbound, there), (inbound, back));
    let copy = FlowCopy::of(&flow, terms, now);
    let record = Record {
        key: copy.key(),
        value: copy.value(),
    };
    Ok(Some((copy.bucket(), record)))
}

/// The key and value of a flow's way out, or that it is gone, as a change.
pub fn change(bucket: u8, key: Vec<u8>, value: Option<(Vec<u8>, Importance)>) -> Change {
    let what = match value {
        Some((value, importance)) => What::Put {
            value,
            importance,
            is_new: false,
        },
        None => What::Remove,
    };
    Change { bucket, key, what }
}

/// What others are to be told after a sweep: what is new or changed, and what is over.
pub fn changes<A: Address>(swept: &mut Swept<A>, terms: &Terms, now: Tick) -> Vec<Change> {
    let changed = std::mem::take(&mut swept.changed).into_iter().map(|flow| {
        let copy = FlowCopy::of(&flow, terms, now);
        let importance = match flow.state() {
            FlowState::Established | FlowState::Active => Importance::Established,
            FlowState::Opening | FlowState::Closing => Importance::Opening,
        };
        let value = (copy.value(), importance);
        change(copy.bucket(), copy.key(), Some(value))
    });
    let over = swept.ended.iter().filter_map(|ended| {
        let bucket = swept.over.get(ended)?;
        Some(change(*bucket, key(ended), None))
    });
    changed.chain(over).collect()
}
