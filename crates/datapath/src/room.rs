//! What is found out about the packet at hand, on its way from one function to the next: in memory of its
//! own, because the stack has no room for it.

use abi::{Address, Flow, Live, Side, Tick, Tuple};

use crate::{
    fixed::Passage,
    open::Beginning,
    quoted::{Error, Translated},
};

/// Room for a packet at hand, see `Tables::room`.
pub struct Room<A> {
    /// The flow that it begins.
    pub beginning: Beginning<A>,
    /// One of its two entries.
    pub flow: Flow<Live, A>,
    /// The ICMP error that it is.
    pub error: Error<A>,
    /// What that becomes.
    pub translated: Translated<A>,
    /// What becomes of a packet that is translated one to one.
    pub passage: Passage<A>,
}

impl<A: Address> Room<A> {
    /// With nothing in it.
    pub fn empty() -> Self {
        Self {
            beginning: Beginning::EMPTY,
            flow: Flow::new(Side::Outbound, 0, Tuple::NONE, (0, 0), Tick(0)),
            error: Error::NOTHING,
            translated: Translated::NOTHING,
            passage: Passage::EMPTY,
        }
    }
}
