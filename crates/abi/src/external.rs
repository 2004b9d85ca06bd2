//! The external addresses this gateway answers for.

use crate::{Behaviour, Port};

/// What an external address is for at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternalState {
    /// New flows may use it.
    Serving,
    /// It was taken from its pool; only the flows it has go on.
    Draining,
}

/// An external address, as a map value. Zeroed memory is not a valid one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct External {
    /// Which port bitmaps are its own, see [`crate::ports::bitmap`]. Never changes while it exists.
    pub index: u16,
    /// The pool it belongs to.
    pub pool: u8,
    state: u8,
    /// The first port that is ours; packets to lower ones are the kernel's.
    pub first: Port,
    /// The last port that is ours.
    pub last: Port,
    /// How its pool translates.
    pub behaviour: Behaviour,
}

impl External {
    /// The value of an address.
    pub const fn new(
        (index, pool): (u16, u8),
        state: ExternalState,
        (first, last): (Port, Port),
        behaviour: Behaviour,
    ) -> Self {
        let state = match state {
            ExternalState::Serving => 1,
            ExternalState::Draining => 2,
        };
        Self {
            index,
            pool,
            state,
            first,
            last,
            behaviour,
        }
    }

    /// What the address is for; nothing for a value this version does not know.
    pub const fn state(&self) -> Option<ExternalState> {
        match self.state {
            1 => Some(ExternalState::Serving),
            2 => Some(ExternalState::Draining),
            _ => None,
        }
    }

    /// Whether packets to this port are ours and not the kernel's.
    #[inline(always)]
    pub const fn owns(&self, port: Port) -> bool {
        self.first.get() <= port.get() && port.get() <= self.last.get()
    }
}

const _: () = assert!(size_of::<External>() == 16);
