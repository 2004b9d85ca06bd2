//! What the packet path tells the session log: that a flow has begun.
//!
//! Events stand in a ring between kernel and daemon. When it is full, events are lost and counted;
//! packets never wait. The end of a flow is not an event of the packet path: the daemon ends flows.

use crate::{FlowKey, Ip4, Ip6, Tuple};

/// A flow that has begun. Its length tells which addresses it has.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<A = Ip4> {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`, to the kernel's coarse clock.
    pub at: u64,
    /// The first packet as the client sent it.
    pub asked: FlowKey<A>,
    /// Its addresses and ports as it left.
    pub sent: Tuple<A>,
    /// The pool whose address it left by, as an index.
    pub pool: u8,
    _pad: u8,
    _pad16: u16,
}

impl<A> Opened<A> {
    /// The event of a flow.
    #[inline(always)]
    pub const fn new(at: u64, asked: FlowKey<A>, sent: Tuple<A>, pool: u8) -> Self {
        Self {
            at,
            asked,
            sent,
            pool,
            _pad: 0,
            _pad16: 0,
        }
    }
}

const _: () = assert!(size_of::<Opened>() == 40);
const _: () = assert!(size_of::<Opened<Ip6>>() == 88);
