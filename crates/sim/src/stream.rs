//! Streams of bytes between members, as TCP gives them: whole and in order, until they break.
//!
//! A stream takes as long as the link does that it goes by, and longer while that loses packets. While the link is
//! cut its bytes wait; after [`PATIENCE`] it breaks, on both sides. Whoever's daemon ends takes its streams along,
//! and the other side hears of it, unless the link is cut or the host is gone; then only when it says something.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{network::Network, random::Random};

/// For so long bytes wait for a link that is cut.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often a stream tries again while its link is cut.
const RETRY: Duration = Duration::from_millis(250);

/// Which stream: its number is above those of all that were asked for before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What one side of a stream is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is open, with this member on the other side.
    Opened {
        /// Which member that is.
        peer: usize,
        /// Whether that one asked for it.
        is_theirs: bool,
    },
    /// Bytes came.
    Bytes(Vec<u8>),
    /// It is no more, or could not be opened.
    Closed,
}

/// What happens to a stream at some time.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// Whatever is next in this direction is tried.
    Next(StreamId, Side),
}

/// A side of a stream: who asked for it, or whom was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who asked for it.
    Caller,
    /// Whom was asked.
    Called,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Called,
            Self::Called => Self::Caller,
        }
    }
}

/// What is on its way.
#[derive(Clone, Debug)]
enum Parcel {
    Open,
    Bytes(Vec<u8>),
    Close,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// What has not arrived, each with the time at which it is to be tried.
    parcels: VecDeque<(Duration, Parcel)>,
    /// Since when the link is found cut.
    stuck_since: Option<Duration>,
    /// Whether who it leads to was told that it is over, or needs not be.
    is_over: bool,
}

#[derive(Debug)]
struct Stream {
    ends: [usize; 2],
    /// From the caller, and from the called.
    ways: [Way; 2],
}

impl Stream {
    fn end(&self, side: Side) -> usize {
        let [caller, called] = self.ends;
        match side {
            Side::Caller => caller,
            Side::Called => called,
        }
    }

    /// The direction that begins at this side.
    fn way(&mut self, from: Side) -> &mut Way {
        let [caller, called] = &mut self.ways;
        match from {
            Side::Caller => caller,
            Side::Called => called,
        }
    }
}

/// How a member's host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// It takes what comes.
    Listens,
    /// It says that nobody is there.
    Deaf,
    /// It says nothing.
    Silent,
}

/// What comes of something.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Members, and what each is told of which stream.
    pub notices: Vec<(usize, StreamId, Notice)>,
}

/// All streams of a network.
#[derive(Debug, Default)]
pub struct Streams {
    streams: BTreeMap<StreamId, Stream>,
    last: u64,
    /// What is due, and when.
    pub due: Vec<(Duration, StreamEvent)>,
}

impl Streams {
    /// A member asks for a stream to another one. Both are told when it is open.
    pub fn connect(
        &mut self,
        (from, to): (usize, usize),
        now: Duration,
        (network, random): (&Network, &mut Random),
    ) -> StreamId {
        self.last += 1;
        let id = StreamId(self.last);
        let stream = Stream {
            ends: [from, to],
            ways: [Way::default(), Way::default()],
        };
        self.streams.insert(id, stream);
        self.push(id, Side::Caller, Parcel::Open, (now, network, random));
        id
    }

    /// A member sends bytes. Those for a stream that is no more are lost.
    pub fn send(
        &mut self,
        (id, from): (StreamId, usize),
        bytes: Vec<u8>,
        now: Duration,
        (network, random): (&Network, &mut Random),
    ) {
        if let Some(side) = self.side(id, from) {
            self.push(id, side, Parcel::Bytes(bytes), (now, network, random));
        }
    }

    /// A member gives a stream up; what it sent before still arrives.
    pub fn close(
        &mut self,
        (id, from): (StreamId, usize),
        now: Duration,
        (network, random): (&Network, &mut Random),
    ) {
        if let Some(side) = self.side(id, from) {
            self.push(id, side, Parcel::Close, (now, network, random));
            self.finish(id, side.other());
        }
    }

    /// A member's daemon ends, with all its streams. Others hear of it if its host still says so.
    pub fn end(
        &mut self,
        member: usize,
        is_said: bool,
        now: Duration,
        (network, random): (&Network, &mut Random),
    ) {
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            let Some(side) = self.side(id, member) else {
                continue;
            };
            // Nothing arrives here any more.
            self.finish(id, side.other());
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.way(side).parcels.clear();
            }
            if is_said {
                self.push(id, side, Parcel::Close, (now, network, random));
            }
        }
    }

    /// Something is due. `host_of` says how a member's host is.
    pub fn handle(
        &mut self,
        event: StreamEvent,
        now: Duration,
        network: &Network,
        host_of: impl Fn(usize) -> Host,
    ) -> Told {
        let StreamEvent::Next(id, side) = event;
        let mut told = Told::default();
        let Some(stream) = self.streams.get_mut(&id) else {
            return told;
        };
        let (from, to) = (stream.end(side), stream.end(side.other()));
        let way = stream.way(side);
        let Some((at, _)) = way.parcels.front() else {
            return told;
        };
        if *at > now {
            return told;
        }
        // What was sent is acknowledged by the other way.
        let host = host_of(to);
        let is_cut = !network.is_open(from, to) || !network.is_open(to, from);
        let is_open = !is_cut && host != Host::Silent;
        if !is_open {
            let since = *way.stuck_since.get_or_insert(now);
            if now.saturating_sub(since) < PATIENCE {
                self.due.push((now + RETRY, StreamEvent::Next(id, side)));
                return told;
            }
            self.breaks(id, &mut told);
            return told;
        }
        way.stuck_since = None;
        let Some((_, parcel)) = way.parcels.pop_front() else {
            return told;
        };
        if let Some((at, _)) = way.parcels.front() {
            self.due.push((*at.max(&now), StreamEvent::Next(id, side)));
        }
        if way.is_over || host == Host::Deaf {
            // Nobody is there who knows of it: that is said to who sent it.
            self.breaks(id, &mut told);
            return told;
        }
        match parcel {
            Parcel::Open => {
                let opened = |peer, is_theirs| Notice::Opened { peer, is_theirs };
                told.notices.push((to, id, opened(from, true)));
                told.notices.push((from, id, opened(to, false)));
            }
            Parcel::Bytes(bytes) => told.notices.push((to, id, Notice::Bytes(bytes))),
            Parcel::Close => {
                told.notices.push((to, id, Notice::Closed));
                self.streams.remove(&id);
            }
        }
        told
    }

    /// Which side of a stream a member is.
    fn side(&self, id: StreamId, member: usize) -> Option<Side> {
        let stream = self.streams.get(&id)?;
        let sides = [Side::Caller, Side::Called].into_iter();
        sides.into_iter().find(|side| stream.end(*side) == member)
    }

    fn push(
        &mut self,
        id: StreamId,
        side: Side,
        parcel: Parcel,
        (now, network, random): (Duration, &Network, &mut Random),
    ) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let pair = (stream.end(side), stream.end(side.other()));
        let way = stream.way(side);
        let arrives = now + network.delay_of_stream(pair, random);
        let after = way.parcels.back().map_or(Duration::ZERO, |(at, _)| *at);
        let arrives = arrives.max(after);
        way.parcels.push_back((arrives, parcel));
        self.due.push((arrives, StreamEvent::Next(id, side)));
    }

    /// Nobody at the end of this direction needs to be told anything.
    fn finish(&mut self, id: StreamId, from: Side) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let way = stream.way(from);
        way.is_over = true;
        way.parcels
            .retain(|(_, parcel)| !matches!(parcel, Parcel::Close));
        if stream
            .ways
            .iter()
            .all(|way| way.is_over && way.parcels.is_empty())
        {
            self.streams.remove(&id);
        }
    }

    fn breaks(&mut self, id: StreamId, told: &mut Told) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        let [caller, called] = stream.ends;
        let [from_caller, from_called] = &stream.ways;
        for (member, towards) in [(caller, from_called), (called, from_caller)] {
            if !towards.is_over {
                told.notices.push((member, id, Notice::Closed));
            }
        }
    }
}

#[cfg(test)]
mod tests;
