//! The place where copies of flows will go out and come in: what stands there hears of sweeps, and its streams
//! carry what it says through everything that goes wrong.

use std::time::{Duration, Instant};

use abi::cluster::Division;
use gateway::{
    Swept,
    cluster::{self, Standing},
};
use sim::{
    Order, Profile,
    copies::{Around, Copies, Wish},
    stream::{Notice, StreamId},
    tables::FLOWS_MAX,
};

use crate::{order, passes};

/// How long is waited before a stream is asked for again.
const AGAIN: Duration = Duration::from_secs(2);

/// Sends, by a stream to each other member, the next number after each sweep; demands that the numbers of each
/// stream that comes in have no gap.
#[derive(Default)]
struct Counting {
    ours: Vec<(StreamId, u32)>,
    theirs: Vec<(StreamId, u32)>,
    asks_at: Option<Instant>,
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
    fn start(&mut self, around: &Around<'_>) -> Vec<Wish> {
        self.asks_at = Some(around.now + AGAIN);
        Vec::new()
    }

    fn swept(&mut self, around: &Around<'_>, _: &Swept) -> Vec<Wish> {
        assert!(around.tables.memory.v4.flows.len() < FLOWS_MAX);
        let next = self.ours.iter_mut().map(|(stream, number)| {
            let bytes = number.to_be_bytes().to_vec();
            *number += 1;
            Wish::Send(*stream, bytes)
        });
        next.collect()
    }

    fn heard(&mut self, around: &Around<'_>, member: usize, _: Standing) -> Vec<Wish> {
        assert_ne!(member, around.me);
        Vec::new()
    }

    fn divided(&mut self, _: &Around<'_>, division: &Division) -> Vec<Wish> {
        assert_eq!(division.holders.len(), 256);
        vec![Wish::Tell(cluster::Event::Tick)]
    }

    fn stream(&mut self, around: &Around<'_>, stream: StreamId, notice: Notice) -> Vec<Wish> {
        match notice {
            Notice::Opened {
                is_theirs: true, ..
            } => self.theirs.push((stream, 0)),
            Notice::Opened { .. } => self.ours.push((stream, 0)),
            Notice::Bytes(bytes) => self.hear(stream, &bytes),
            Notice::Closed => {
                self.ours.retain(|(id, _)| *id != stream);
                self.theirs.retain(|(id, _)| *id != stream);
                self.asks_at = Some(around.now + AGAIN);
            }
        }
        Vec::new()
    }

    fn tick(&mut self, around: &Around<'_>) -> Vec<Wish> {
        self.asks_at = None;
        let is_missing = self.ours.is_empty();
        let members = around.cluster.members().count();
        let others = (0..members).filter(|it| is_missing && *it != around.me);
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
