//! The place where copies of flows will go out and come in: what stands there hears of sweeps, and its streams
//! carry what it says through everything that goes wrong.

use std::time::{Duration, Instant};

use abi::cluster::Division;
use gateway::Swept;
use sim::{
    Order, Profile,
    copies::{Copies, Wish},
    stream::{Notice, StreamId},
    tables::Tables,
};

use crate::{order, passes};

/// How long is waited before a stream is asked for again.
const AGAIN: Duration = Duration::from_secs(2);

/// Sends, by a stream to each other member, the next number after each sweep; demands that the numbers of each
/// stream that comes in have no gap.
#[derive(Default)]
struct Counting {
    me: usize,
    members: usize,
    ours: Vec<(StreamId, u32)>,
    theirs: Vec<(StreamId, u32)>,
    asks_at: Option<Instant>,
    divisions: usize,
}

impl Counting {
    fn hear(&mut self, stream: StreamId, bytes: &[u8]) {
        let streams = self.theirs.iter_mut();
        let (_, heard) = streams
            .into_iter()
            .find(|(id, _)| *id == stream)
            .expect("it was opened before");
        for word in bytes.chunks(4) {
            let number = u32::from_be_bytes(word.try_into().expect("whole words"));
            assert_eq!(number, *heard, "whole and in order");
            *heard += 1;
        }
    }
}

impl Copies for Counting {
    fn start(&mut self, me: usize, members: usize, now: Instant) -> Vec<Wish> {
        (self.me, self.members) = (me, members);
        self.asks_at = Some(now + AGAIN);
        Vec::new()
    }

    fn swept(&mut self, _: &Tables, _: &Swept, _: Instant) -> Vec<Wish> {
        let next = self.ours.iter_mut().map(|(stream, number)| {
            let bytes = number.to_be_bytes().to_vec();
            *number += 1;
            Wish::Send(*stream, bytes)
        });
        next.collect()
    }

    fn divided(&mut self, division: &Division, _: Instant) -> Vec<Wish> {
        assert_eq!(division.holders.len(), 256);
        self.divisions += 1;
        Vec::new()
    }

    fn stream(&mut self, _: &Tables, stream: StreamId, notice: Notice, now: Instant) -> Vec<Wish> {
        match notice {
            Notice::Opened {
                is_theirs: true, ..
            } => self.theirs.push((stream, 0)),
            Notice::Opened { .. } => self.ours.push((stream, 0)),
            Notice::Bytes(bytes) => self.hear(stream, &bytes),
            Notice::Closed => {
                self.ours.retain(|(id, _)| *id != stream);
                self.theirs.retain(|(id, _)| *id != stream);
                self.asks_at = Some(now + AGAIN);
            }
        }
        Vec::new()
    }

    fn tick(&mut self, _: &Tables, _: Instant) -> Vec<Wish> {
        self.asks_at = None;
        let missing = self.ours.is_empty();
        let others = (0..self.members).filter(|it| missing && *it != self.me);
        others.map(Wish::Connect).collect()
    }

    fn deadline(&self) -> Option<Instant> {
        self.asks_at
    }
}

#[test]
fn what_copies_flows_hears_of_sweeps_and_its_streams_keep_their_order() {
    for (seed, profile) in [(5, Profile::Gentle), (18, Profile::Harsh)] {
        let quiet = passes(&order(seed, profile));
        let counting = Order {
            copying: || -> Box<dyn Copies> { Box::<Counting>::default() },
            ..order(seed, profile)
        };

        let talking = passes(&counting);

        assert_ne!(quiet.digest, talking.digest, "something was sent");
    }
}
