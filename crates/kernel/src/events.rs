//! The ring in which the packet path leaves word of flows that have begun.
//!
//! It has one reader: whoever opens it takes events out. What is not taken out stays for the next
//! reader, also over a restart.

use std::io;

use abi::{Address, Ip4, Ip6, Opened, map};
use aya::maps::{Map, MapData, MapError, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{programs::LoadError, state::State};

/// The reader's end of the ring.
pub struct Events(AsyncFd<RingBuf<MapData>>);

impl Events {
    /// Opens the ring that is pinned in a state. To be called where tokio runs.
    ///
    /// # Errors
    ///
    /// [`LoadError::Open`] if it is missing, no ring, or cannot be waited for.
    pub fn open(state: &State) -> Result<Self, LoadError> {
        let name = map::EVENTS;
        let open = |source| LoadError::Open { name, source };
        let failed = |error: MapError| open(io::Error::other(error));
        let data = MapData::from_pin(state.maps().join(name)).map_err(failed)?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(failed)?;
        // SAFETY: the ring owns its map's descriptor, never replaces it, and is dropped after its
        // registration.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(|error| open(io::Error::from(error)))?;
        Ok(Self(ring))
    }

    /// Waits for events and takes them out, oldest first, at most `max` of them; with the addresses
    /// of IPv4 as mapped ones. Perhaps none: then there were none after all.
    ///
    /// # Errors
    ///
    /// If the ring cannot be waited for.
    pub async fn take(&mut self, max: usize) -> io::Result<Vec<Opened<Ip6>>> {
        let mut ready = self.0.readable_mut().await?;
        let ring = ready.get_inner_mut();
        let mut events = Vec::new();
        while events.len() < max {
            let Some(item) = ring.next() else {
                // Only an empty ring wakes its reader for what comes next.
                ready.clear_ready();
                break;
            };
            events.extend(read::<Ip6>(&item).or_else(|| Some(read::<Ip4>(&item)?.wide())));
        }
        Ok(events)
    }
}

/// The event in a record of the ring, if it is as long as one of such addresses.
fn read<A: Address>(record: &[u8]) -> Option<Opened<A>> {
    let is_one = record.len() == size_of::<Opened<A>>();
    // SAFETY: in bounds; `Layout` promises that any bytes are a valid value.
    is_one.then(|| unsafe { record.as_ptr().cast::<Opened<A>>().read_unaligned() })
}
