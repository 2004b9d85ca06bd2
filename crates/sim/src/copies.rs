//! Where copies of flows go out of a gateway and come into it, once there are such.
//!
//! A gateway of the simulator does nothing of the kind by itself. Whoever replicates flows between members is
//! given to it as [`Copies`], hears here of everything that it needs, and answers with [wishes](Wish).

use std::time::Instant;

use abi::cluster::Division;
use gateway::Swept;

use crate::{
    stream::{Notice, StreamId},
    tables::Tables,
};

/// What replicates flows, on one gateway, from the start of its daemon to its end.
pub trait Copies {
    /// The daemon has started, as the member of this number of so many.
    fn start(&mut self, me: usize, members: usize, now: Instant) -> Vec<Wish>;
    /// A sweep has ended, and everything is done that it said.
    fn swept(&mut self, tables: &Tables, swept: &Swept, now: Instant) -> Vec<Wish>;
    /// This member is to know that this is who holds what.
    fn divided(&mut self, division: &Division, now: Instant) -> Vec<Wish>;
    /// Something happened to a stream.
    fn stream(
        &mut self,
        tables: &Tables,
        stream: StreamId,
        notice: Notice,
        now: Instant,
    ) -> Vec<Wish>;
    /// The deadline has come.
    fn tick(&mut self, tables: &Tables, now: Instant) -> Vec<Wish>;
    /// When that is.
    fn deadline(&self) -> Option<Instant>;
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Open a stream to this member.
    Connect(usize),
    /// Send bytes.
    Send(StreamId, Vec<u8>),
    /// Give a stream up.
    Close(StreamId),
}

/// Nothing is copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct None;

impl Copies for None {
    fn start(&mut self, _: usize, _: usize, _: Instant) -> Vec<Wish> {
        Vec::new()
    }

    fn swept(&mut self, _: &Tables, _: &Swept, _: Instant) -> Vec<Wish> {
        Vec::new()
    }

    fn divided(&mut self, _: &Division, _: Instant) -> Vec<Wish> {
        Vec::new()
    }

    fn stream(&mut self, _: &Tables, _: StreamId, _: Notice, _: Instant) -> Vec<Wish> {
        Vec::new()
    }

    fn tick(&mut self, _: &Tables, _: Instant) -> Vec<Wish> {
        Vec::new()
    }

    fn deadline(&self) -> Option<Instant> {
        Option::None
    }
}
