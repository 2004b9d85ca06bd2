//! The external addresses this gateway answers for.

use crate::{
    Behaviour, Port, Protocol,
    ports::{PLANES, bitmap, plane_bitmap},
};

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
    /// Which planes are its own, counted from one; zero if it is not overloaded. See
    /// [`crate::ports`].
    pub planes: u8,
    _pad: u8,
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
            planes: 0,
            _pad: 0,
        }
    }

    /// The same, overloaded: these planes are its own.
    pub const fn with_planes(self, planes: u8) -> Self {
        Self { planes, ..self }
    }

    /// All bitmaps that are its own, and what they are of.
    pub fn bitmaps(&self) -> impl Iterator<Item = (Protocol, u32)> + use<> {
        let Self { index, planes, .. } = *self;
        let spaces = Protocol::PORTED.map(|protocol| (protocol, bitmap(index, protocol)));
        let planes = (0..PLANES as u32)
            .filter(move |_| planes != 0)
            .map(move |plane| (Protocol::Tcp, plane_bitmap(planes, plane)));
        spaces.into_iter().chain(planes)
    }

    /// The bitmaps in which the ports of a protocol's new flows stand.
    pub fn bitmaps_of(&self, protocol: Protocol) -> impl Iterator<Item = u32> + use<> {
        let is_overloaded = self.planes != 0 && matches!(protocol, Protocol::Tcp);
        let unused = is_overloaded.then_some(bitmap(self.index, protocol));
        self.bitmaps()
            .filter(move |(of, bitmap)| *of == protocol && Some(*bitmap) != unused)
            .map(|(_, bitmap)| bitmap)
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

const _: () = assert!(size_of::<External>() == 18);
