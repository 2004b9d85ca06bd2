//! What a member has told others of its flows, as far as it must remember that.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use abi::{Address, FlowKey, Tick};

use crate::sweep::{FlowState, Joined, YOUNG};

/// Which flows there were at the last sweep, and in which states. About thirty bytes a flow.
#[derive(Clone, Debug, Default)]
pub struct Shadow {
    hasher: RandomState,
    /// By the hash of a flow's way out: two flows of one hash are taken for one, and then a change of one of
    /// them is told a sweep later, or not at all; of ten million, one in a million sweeps.
    flows: HashMap<u64, (FlowState, bool)>,
    pass: bool,
}

impl Shadow {
    /// Begins a sweep.
    pub fn begin(&mut self) {
        self.pass = !self.pass;
    }

    /// Takes note of a flow. Returns whether others must be told: not of one that was there before this member
    /// looked for the first time, which they are told of otherwise.
    pub fn note<A: Address>(&mut self, flow: &Joined<A>, state: FlowState, now: Tick) -> bool {
        let hash = self.hasher.hash_one(flow.outbound.0);
        let before = self.flows.insert(hash, (state, self.pass));
        let age = now.0.saturating_sub(flow.outbound.1.created.0);
        before.map_or(age <= YOUNG + 1, |(before, _)| before != state)
    }

    /// Takes note that a flow has ended.
    pub fn end<A: Address>(&mut self, outbound: &FlowKey<A>) {
        let hash = self.hasher.hash_one(*outbound);
        self.flows.remove(&hash);
    }

    /// Ends a sweep: forgets what was not seen in it.
    pub fn finish(&mut self) {
        let pass = self.pass;
        self.flows.retain(|_, (_, seen)| *seen == pass);
    }

    /// Flows that it knows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}
