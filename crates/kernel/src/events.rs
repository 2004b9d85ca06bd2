//! The ring in which the packet path leaves word of flows that have begun.
//!
//! It has one reader: whoever opens it takes events out. What is not taken out stays for the next
//! reader, also over a restart.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use abi::{Opened, map};
use aya::maps::{Map, MapData, MapError, RingBuf};

use crate::{programs::LoadError, state::State};

/// The reader's end of the ring.
pub struct Events(RingBuf<MapData>);

impl Events {
    /// Opens the ring that is pinned in a state.
    ///
    /// # Errors
    ///
    /// [`LoadError::Open`] if it is missing or no ring.
    pub fn open(state: &State) -> Result<Self, LoadError> {
        let name = map::EVENTS;
        let failed = |error: MapError| LoadError::Open {
            name,
            source: io::Error::other(error),
        };
        let data = MapData::from_pin(state.maps().join(name)).map_err(failed)?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(failed)?;
        Ok(Self(ring))
    }

    /// Takes out events, oldest first, at most `max` of them. The descriptor is readable as long as
    /// there are more.
    pub fn take(&mut self, max: usize) -> Vec<Opened> {
        let mut events = Vec::new();
        while events.len() < max {
            let Some(item) = self.0.next() else {
                break;
            };
            if item.len() >= size_of::<Opened>() {
                // SAFETY: in bounds; `Layout` promises that any bytes are a valid value.
                events.push(unsafe { item.as_ptr().cast::<Opened>().read_unaligned() });
            }
        }
        events
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
