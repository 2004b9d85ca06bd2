//! Who holds fragments for a site: what the daemon does with the ring, done with plain memory.

use abi::{Held, Tick};
use datapath::{
    native::{Frame, Memory},
    world::Tables,
};
use gateway::{
    Holder,
    fragments::{Event, Tally},
};

use super::{Left, take};

/// See the module.
#[derive(Default)]
pub struct Keeper {
    holder: Holder,
}

impl Keeper {
    /// Takes in everything that is in the ring, and sends through again what is let go.
    pub fn keep(&mut self, memory: &Memory) -> Vec<Left> {
        let mut left = Vec::new();
        while let Some((record, bytes)) = record(memory) {
            left.extend(self.take_in(memory, record, bytes, || {}));
        }
        left.extend(self.tick(memory));
        left
    }

    /// Takes in one record; `between` happens after it was looked up whether the first one is known.
    pub fn take_in(
        &mut self,
        memory: &Memory,
        record: Held,
        bytes: Vec<u8>,
        between: impl FnOnce(),
    ) -> Vec<Left> {
        let Held { key, at, mtu, .. } = record;
        let is_known = is_known(memory, &record);
        between();
        let frame = gateway::fragments::Frame {
            ingress: record.ingress,
            bytes,
        };
        let event = match record.length {
            0 => Event::First(key),
            _ if mtu != 0 => Event::TooLong { frame, mtu },
            _ => Event::Early {
                key,
                at,
                frame,
                is_known,
            },
        };
        self.handle(memory, event)
    }

    /// Lets go of what waited too long.
    pub fn tick(&mut self, memory: &Memory) -> Vec<Left> {
        self.handle(memory, Event::Tick)
    }

    pub fn tally(&self) -> Tally {
        self.holder.tally()
    }

    fn handle(&mut self, memory: &Memory, event: Event) -> Vec<Left> {
        let now = memory.now.get().nanos();
        let again = |frame: gateway::fragments::Frame| Frame {
            ingress: frame.ingress,
            bytes: frame.bytes,
        };
        let released = self.holder.handle(event, now);
        let sent = released.into_iter().map(|frame| take(memory, again(frame)));
        sent.collect()
    }
}

/// The oldest record of the ring.
pub fn record(memory: &Memory) -> Option<(Held, Vec<u8>)> {
    memory.held.borrow_mut().take()
}

fn is_known(memory: &Memory, record: &Held) -> bool {
    let now: Tick = memory.now.get();
    let known = match record.key.narrow() {
        Some(key) => memory.fragments(&key),
        None => memory.fragments(&record.key),
    };
    known.is_some_and(|known| !known.is_old(now))
}
