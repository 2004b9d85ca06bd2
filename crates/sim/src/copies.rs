//! Where copies of flows go out of a gateway and come into it, once there are such.
//!
//! A gateway of the simulator does nothing of the kind by itself. Whoever replicates flows between members is
//! given to it as [`Copies`], hears here of everything that it needs, and answers with [wishes](Wish).

use std::time::Instant;

use abi::cluster::Division;
use gateway::{
    Swept,
    cluster::{self, Cluster, Standing},
};

use crate::{
    stream::{Notice, StreamId},
    tables::Tables,
};

/// What can be seen on the gateway.
pub struct Around<'a> {
    /// Which member it is.
    pub me: usize,
    /// Its tables, which are written as the daemon writes them.
    pub tables: &'a Tables,
    /// The cluster, as it sees it.
    pub cluster: &'a Cluster,
    /// The time, for machines.
    pub now: Instant,
    /// The same in nanoseconds, for tables.
    pub nanos: u64,
}

/// What replicates flows, on one gateway, from the start of its daemon to its end.
pub trait Copies {
    /// The daemon has started.
    fn start(&mut self, around: &Around<'_>) -> Vec<Wish>;
    /// A sweep has ended, and everything is done that it said.
    fn swept(&mut self, around: &Around<'_>, swept: &Swept) -> Vec<Wish>;
    /// BFD says how a member stands.
    fn heard(&mut self, around: &Around<'_>, member: usize, standing: Standing) -> Vec<Wish>;
    /// The packet path knows that this is who holds what.
    fn divided(&mut self, around: &Around<'_>, division: &Division) -> Vec<Wish>;
    /// Something happened to a stream.
    fn stream(&mut self, around: &Around<'_>, stream: StreamId, notice: Notice) -> Vec<Wish>;
    /// The deadline has come.
    fn tick(&mut self, around: &Around<'_>) -> Vec<Wish>;
    /// When that is.
    fn deadline(&self) -> Option<Instant>;
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Open a stream to this member.
    Connect(usize),
    /// Send bytes.
    Send(StreamId, Vec<u8>),
    /// Give a stream up.
    Close(StreamId),
    /// Tell the machine that decides who holds what.
    Tell(cluster::Event),
}

/// Nothing is copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct None;

impl Copies for None {
    fn start(&mut self, _: &Around<'_>) -> Vec<Wish> {
        Vec::new()
    }

    fn swept(&mut self, _: &Around<'_>, _: &Swept) -> Vec<Wish> {
        Vec::new()
    }

    fn heard(&mut self, _: &Around<'_>, _: usize, _: Standing) -> Vec<Wish> {
        Vec::new()
    }

    fn divided(&mut self, _: &Around<'_>, _: &Division) -> Vec<Wish> {
        Vec::new()
    }

    fn stream(&mut self, _: &Around<'_>, _: StreamId, _: Notice) -> Vec<Wish> {
        Vec::new()
    }

    fn tick(&mut self, _: &Around<'_>) -> Vec<Wish> {
        Vec::new()
    }

    fn deadline(&self) -> Option<Instant> {
        Option::None
    }
}
