//! Fragments that came before the first one of their packet: the ring in which the packet path hands
//! them over, and the way back into it.
//!
//! The way back is a test run of the program on a live frame: the kernel does with it what the
//! program says, as if it had come by its interface just now.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

use abi::{Held, map};
use aya::maps::{Map, MapData, MapError, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    programs::{LoadError, Program},
    state::State,
    sys,
};

/// The reader's end of the ring. It has one reader: whoever opens it takes records out.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Opens the ring that is pinned in a state.
    ///
    /// # Errors
    ///
    /// [`LoadError::Open`] if it is missing or no ring.
    pub fn open(state: &State) -> Result<Self, LoadError> {
        let failed = |error: MapError| open(io::Error::other(error));
        let data = MapData::from_pin(state.maps().join(map::HELD)).map_err(failed)?;
        Ok(Self(RingBuf::try_from(Map::RingBuf(data)).map_err(failed)?))
    }

    /// Takes out the oldest record, with its frame, if there is one.
    pub fn take(&mut self) -> Option<(Held, Vec<u8>)> {
        loop {
            let item = self.0.next()?;
            let Some((held, frame)) = item.split_at_checked(size_of::<Held>()) else {
                continue;
            };
            // SAFETY: in bounds; `Layout` promises that any bytes are a valid value.
            let held = unsafe { held.as_ptr().cast::<Held>().read_unaligned() };
            if let Some(frame) = frame.get(..held.length as usize) {
                return Some((held, frame.to_vec()));
            }
        }
    }

    /// The same, to be waited for. To be called where tokio runs.
    ///
    /// # Errors
    ///
    /// [`LoadError::Open`] if it cannot be waited for.
    pub fn watch(self) -> Result<Records, LoadError> {
        // SAFETY: the ring owns its map's descriptor, never replaces it, and is dropped after its
        // registration.
        let ring = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        let ring = ring.map_err(|error| open(io::Error::from(error)))?;
        Ok(Records(ring))
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn open(source: io::Error) -> LoadError {
    let name = map::HELD;
    LoadError::Open { name, source }
}

/// A ring that is waited for.
pub struct Records(AsyncFd<Ring>);

impl Records {
    /// Waits for records and takes them out, oldest first, at most `max` of them. Perhaps none: then
    /// there were none after all.
    ///
    /// # Errors
    ///
    /// If the ring cannot be waited for.
    pub async fn take(&mut self, max: usize) -> io::Result<Vec<(Held, Vec<u8>)>> {
        let mut ready = self.0.readable_mut().await?;
        let mut records = Vec::new();
        while records.len() < max {
            let Some(record) = ready.get_inner_mut().take() else {
                // Only an empty ring wakes its reader for what comes next.
                ready.clear_ready();
                break;
            };
            records.push(record);
        }
        Ok(records)
    }
}

/// The way back into the packet path.
pub struct Injector {
    program: OwnedFd,
}

impl Injector {
    /// The way into a program that is loaded.
    ///
    /// # Errors
    ///
    /// If its descriptor cannot be duplicated.
    pub fn new(program: &Program) -> Result<Self, LoadError> {
        let program = program.fd()?.try_clone_to_owned().map_err(open)?;
        Ok(Self { program })
    }

    /// Sends a frame through the program as if it came by an interface of this thread's network
    /// namespace.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says: `ENODEV` if there is no such interface, `EINVAL` if the frame is larger
    /// than [`HELD_FRAME_MAX`](abi::limits::HELD_FRAME_MAX).
    pub fn send(&self, ingress: u32, frame: &[u8]) -> io::Result<()> {
        sys::run_live(self.program.as_fd(), ingress, frame)
    }
}
