//! How a gateway copies its flows: the real machine, over the streams of the simulator and tables in plain memory.
//!
//! In the daemon this is a thread of its own. What it is told, and what it tells the others, takes a while; so it
//! does here, as [`Inside`].

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use abi::{Ip6, Opened, Tick};
use datapath::native::Memory;
use gateway::{
    cluster::{self, Custody},
    copies::{
        Exchange, Shadow, Terms,
        exchange::{Action, End, Event, News, Notice},
    },
    intent::Intent,
    sweep::Parts,
};
use replica::Change;

use crate::{
    planted::{self, Planted},
    shelves::{Shelves, list},
    stream::{self, StreamId},
};

/// How long is waited before a member is called again.
const AGAIN: Duration = Duration::from_secs(1);

/// What one thread of a daemon tells another one.
#[derive(Clone, Debug)]
pub enum Inside {
    /// Whoever copies flows is told this.
    Exchange(Event),
    /// The machine is told this that decides who holds what.
    Cluster(Vec<cluster::Event>),
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
    /// Tell another thread.
    Tell(Inside),
}

/// A stream by which a member is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// It is asked for then.
    At(Instant),
    /// It has been asked for.
    Asked,
    /// It is there, or on its way.
    Stream(StreamId),
}

/// What copies a gateway's flows, from the start of its daemon to its end.
pub struct Copies {
    exchange: Exchange,
    me: usize,
    is_configured: bool,
    /// The members, once connections are made.
    names: Vec<String>,
    /// By member; this one's is never made.
    calls: Vec<Call>,
    theirs: BTreeMap<StreamId, usize>,
    terms: Arc<Terms>,
    shadow: Shadow,
    custody: Option<Arc<Custody>>,
    planted: Option<Planted>,
}

impl Copies {
    /// Those of a daemon that has just started.
    pub fn new(me: usize, instance: u64, planted: Option<Planted>) -> Self {
        Self {
            exchange: Exchange::new(instance),
            me,
            is_configured: false,
            names: Vec::new(),
            calls: Vec::new(),
            theirs: BTreeMap::new(),
            terms: Arc::default(),
            shadow: Shadow::default(),
            custody: None,
            planted,
        }
    }

    /// This configuration is in force, and numbers mean this.
    pub fn configure(&mut self, intent: &Intent, terms: Terms) -> Vec<Wish> {
        let mut wishes = Vec::new();
        self.terms = Arc::new(terms);
        wishes.push(tell(Event::Terms(self.terms.clone())));
        if self.is_configured {
            return wishes;
        }
        self.is_configured = true;
        wishes.extend(intent.cluster.as_ref().map(|cluster| {
            tell(Event::Configure {
                cluster: cluster.name.clone(),
                members: cluster.members.iter().map(|it| it.name.clone()).collect(),
                me: self.me,
            })
        }));
        wishes
    }

    /// This is what the gateway has to do with which flows.
    pub fn entrust(&mut self, custody: Option<Custody>) -> Vec<Wish> {
        if self.custody.as_deref() == custody.as_ref() {
            return Vec::new();
        }
        self.custody = custody.map(Arc::new);
        let mut wishes = vec![tell(Event::Custody(self.custody.clone()))];
        if self.planted == Some(Planted::NoGate)
            && let Some(custody) = &self.custody
        {
            let told = planted::ungated(custody);
            wishes.push(Wish::Tell(Inside::Cluster(told)));
        }
        wishes
    }

    /// What a sweep that begins now must know, and what it is to remember.
    pub fn dividing(&mut self, now: (Instant, u64)) -> Option<(Parts, &mut Shadow)> {
        let mut parts = self.custody.as_ref()?.parts(now);
        if self.planted == Some(Planted::CopiesExpire) {
            planted::expire(&mut parts);
        }
        Some((parts, &mut self.shadow))
    }

    /// What numbers mean.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// A sweep that began then found this.
    pub fn swept(&self, changes: Vec<Change>, began: Instant) -> Vec<Wish> {
        vec![tell(Event::Changed(changes)), tell(Event::Swept(began))]
    }

    /// The packet path says that flows began.
    pub fn began(&self, flows: Vec<Opened<Ip6>>) -> Vec<Wish> {
        match self.custody.is_some() && !flows.is_empty() {
            true => vec![tell(Event::Began(flows))],
            false => Vec::new(),
        }
    }

    /// A stream that was asked for has this name.
    pub fn calls(&mut self, member: usize, stream: StreamId) {
        if let Some(call) = self.calls.get_mut(member) {
            *call = Call::Stream(stream);
        }
    }

    /// Something happened to a stream.
    pub fn stream(
        &mut self,
        (stream, notice): (StreamId, stream::Notice),
        memory: &Memory,
        now: (Instant, u64),
    ) -> Vec<Wish> {
        let what = match notice {
            // Nobody listens yet.
            stream::Notice::Opened { .. } if self.names.is_empty() => {
                return vec![Wish::Close(stream)];
            }
            stream::Notice::Opened { peer, is_theirs } => {
                if is_theirs {
                    self.theirs.insert(stream, peer);
                }
                Notice::Up
            }
            stream::Notice::Bytes(bytes) => Notice::Bytes(bytes),
            stream::Notice::Closed => Notice::Down,
        };
        let is_down = matches!(what, Notice::Down);
        let ours = self.calls.iter().position(|it| *it == Call::Stream(stream));
        let (member, end) = match (ours, self.theirs.get(&stream)) {
            (Some(member), _) => (member, End::Sending),
            (None, Some(member)) => (*member, End::Receiving),
            (None, None) => return Vec::new(),
        };
        if is_down {
            self.theirs.remove(&stream);
            if let Some(call) = ours.and_then(|it| self.calls.get_mut(it)) {
                *call = Call::At(now.0 + AGAIN);
            }
        }
        let Some(member) = self.names.get(member).cloned() else {
            return Vec::new();
        };
        let number = stream.0;
        let news = News {
            member,
            end,
            number,
            what,
        };
        self.handle(Event::News(news), memory, now)
    }

    /// When [`Copies::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let calls = self.calls.iter().enumerate();
        let calls = calls.filter_map(|(member, call)| match call {
            Call::At(at) if member != self.me => Some(*at),
            Call::At(_) | Call::Asked | Call::Stream(_) => None,
        });
        self.exchange.deadline().into_iter().chain(calls).min()
    }

    /// The deadline has come.
    pub fn tick(&mut self, memory: &Memory, now: (Instant, u64)) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (member, call) in self.calls.iter_mut().enumerate() {
            if member != self.me && matches!(call, Call::At(at) if *at <= now.0) {
                *call = Call::Asked;
                wishes.push(Wish::Connect(member));
            }
        }
        wishes.extend(self.handle(Event::Tick, memory, now));
        wishes
    }

    /// Tells the machine what happened.
    pub fn handle(&mut self, event: Event, memory: &Memory, now: (Instant, u64)) -> Vec<Wish> {
        if let Event::Configure { members, .. } = &event {
            self.names.clone_from(members);
            self.calls = vec![Call::At(now.0); members.len()];
        }
        let time = (now.0, Tick::from_nanos(now.1));
        let actions = self.exchange.handle(event, &mut Shelves(memory), time);
        let mut told = Vec::new();
        let wishes = actions.into_iter().flat_map(|action| match action {
            Action::Send(number, bytes) => self.send(number, bytes),
            Action::Close(number) => {
                let stream = StreamId(number);
                self.theirs.remove(&stream);
                let ours = self
                    .calls
                    .iter_mut()
                    .find(|it| **it == Call::Stream(stream));
                if let Some(call) = ours {
                    *call = Call::At(now.0 + AGAIN);
                }
                vec![Wish::Close(stream)]
            }
            Action::Tell(event) => {
                told.push(match self.planted {
                    Some(Planted::LostEpoch) => planted::timeless(event),
                    Some(_) | None => event,
                });
                Vec::new()
            }
            Action::List(buckets) => vec![tell(Event::Listed(Some(list(memory, &buckets))))],
            Action::Say(..) => Vec::new(),
        });
        let mut wishes: Vec<Wish> = wishes.collect();
        if !told.is_empty() {
            wishes.push(Wish::Tell(Inside::Cluster(told)));
        }
        wishes
    }

    /// Bytes are sent at once, as far as whoever sends is concerned.
    fn send(&self, number: u64, bytes: Vec<u8>) -> Vec<Wish> {
        let stream = StreamId(number);
        let ours = self.calls.iter().position(|it| *it == Call::Stream(stream));
        let member = ours.and_then(|it| self.names.get(it)).cloned();
        let written = member.map(|member| {
            let what = Notice::Written(bytes.len());
            tell(Event::News(News {
                member,
                end: End::Sending,
                number,
                what,
            }))
        });
        let send = Wish::Send(stream, bytes);
        [send].into_iter().chain(written).collect()
    }
}

fn tell(event: Event) -> Wish {
    Wish::Tell(Inside::Exchange(event))
}
