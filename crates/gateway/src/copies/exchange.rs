//! What copies flows to all other members and takes in theirs, as a machine: what happened goes in, what is to be
//! done comes out. Flows are read from the tables and written into them at once.
//!
//! ```text
//! connections, bytes ─┐              ┌─► bytes, connections to close
//! custody, terms ─────┼─► Exchange ──┼─► held, copied, flushed, forgotten ─► the cluster's machine
//! sweeps, new flows ──┤     │  ▲     └─► which flows are there? ─► Listed
//!                     └─────┼──┼───────────────────────────────────┘
//!                           ▼  │
//!                          Store: the tables
//! ```

mod peer;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use abi::{FlowKey, Ip6, Opened, Protocol, Tick, cluster::NOBODY};
use peer::Peer;
use replica::{
    Buckets, Change, Importance, Limits, Name, Reason, Settings, VERSIONS, receiver, sender,
};

use super::{FORMAT, Store, Terms, Which, told};
use crate::cluster::{self, Custody, Role};

/// The flows that there are, by bucket.
pub type Listed = BTreeMap<u8, Vec<Which>>;

/// Which end of a stream of copies this member is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum End {
    /// It tells the other one of its flows, and calls it for that.
    Sending,
    /// It is told.
    Receiving,
}

/// What happened to a connection.
#[derive(Clone, Debug)]
pub enum Notice {
    /// There is one, whose number is above those of all before.
    Up,
    /// Bytes came.
    Bytes(Vec<u8>),
    /// So many bytes were written.
    Written(usize),
    /// It is gone.
    Down,
}

/// To which connection something happened.
#[derive(Clone, Debug)]
pub struct News {
    /// The member at the other side.
    pub member: String,
    /// Which end this one is.
    pub end: End,
    /// The number of the connection.
    pub number: u64,
    /// What.
    pub what: Notice,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// These are the members of the cluster of this name, and this one is at `me` among them; all connections are
    /// gone. Streams to those who stay go on where they were.
    Configure {
        /// The cluster's name.
        cluster: String,
        /// The names of the members, in the order of their numbers.
        members: Vec<String>,
        /// The index of this one.
        me: usize,
    },
    /// This is what numbers mean.
    Terms(Arc<Terms>),
    /// This is what this member has to do with which flows.
    Custody(Option<Arc<Custody>>),
    /// Something happened to a connection.
    News(News),
    /// These flows began.
    Began(Vec<Opened<Ip6>>),
    /// A sweep found this.
    Changed(Vec<Change>),
    /// The sweep that began then has ended, and all that it found was said.
    Swept(Instant),
    /// What [`Action::List`] asked for; nothing if it could not be read, and then it is asked for again.
    Listed(Option<Listed>),
    /// The deadline has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Write bytes to the connection of this number, if there is one still.
    Send(u64, Vec<u8>),
    /// Close the connection of this number.
    Close(u64),
    /// Tell the machine that decides who holds what.
    Tell(cluster::Event),
    /// Find the flows of these buckets, by the keys of their ways out, and say them by [`Event::Listed`]. One that
    /// begins or ends meanwhile may be among them.
    List(Buckets),
    /// Tell whoever reads logs, of this member.
    Say(String, Said),
}

/// What is told to whoever reads logs.
#[derive(Clone, Debug)]
pub enum Said {
    /// The connection is closed by which flows are copied.
    SendingEnds(Reason),
    /// The connection is closed by which flows come.
    ReceivingEnds(Reason),
    /// How copying to it goes.
    Sending(sender::Happening),
    /// How copying from it goes.
    Receiving(receiver::Happening),
    /// A table cannot be read or written.
    Table(String),
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SendingEnds(reason) => {
                write!(
                    f,
                    "a connection by which flows are copied is closed: {reason}"
                )
            }
            Self::ReceivingEnds(reason) => {
                write!(f, "a connection by which flows come is closed: {reason}")
            }
            Self::Sending(happening) => write!(f, "copies to it: {happening}"),
            Self::Receiving(happening) => write!(f, "copies from it: {happening}"),
            Self::Table(error) => write!(f, "a copy of a flow cannot be read or written: {error}"),
        }
    }
}

/// How copies to and from another member stand.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What it is told.
    pub sending: sender::Status,
    /// What it tells.
    pub receiving: receiver::Status,
    /// What became of what it told.
    pub adopted: Adopted,
}

/// What became of flows that a member told of, since this daemon began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// They stood in the tables then.
    pub kept: u64,
    /// Their external address is none of this gateway's.
    pub refused: u64,
    /// This gateway serves other flows with the same packets.
    pub contradicted: u64,
    /// The tables had no room, or could not be written.
    pub full: u64,
    /// They are no flows.
    pub malformed: u64,
}

/// What copies flows to all other members and takes in theirs.
#[derive(Debug)]
pub struct Exchange {
    /// Another number after each start of this member.
    instance: u64,
    peers: BTreeMap<String, Peer>,
    terms: Arc<Terms>,
    custody: Option<Arc<Custody>>,
    is_listing: bool,
    /// Buckets of which this member may have something else than their owner told: it served them when that came, or
    /// somebody else told of them.
    doubts: Buckets,
}

/// What whoever deals with another member knows of this one, and may do.
struct Ground<'a, S> {
    terms: &'a Terms,
    custody: Option<&'a Custody>,
    store: &'a mut S,
    now: Instant,
    tick: Tick,
    actions: Vec<Action>,
    /// What others are to be told in turn.
    passed_on: Vec<Change>,
    /// See [`Exchange::doubts`].
    doubts: &'a mut Buckets,
}

/// Whether this member serves a bucket.
fn serves_in(custody: Option<&Custody>, bucket: u8) -> bool {
    let role = custody.and_then(|it| it.roles.get(usize::from(bucket)));
    role.is_none_or(|role| role.serves())
}

impl<S> Ground<'_, S> {
    /// Whether this member serves a bucket.
    fn serves(&self, bucket: u8) -> bool {
        serves_in(self.custody, bucket)
    }

    /// Whether what a member says of a bucket's flows is so: it serves them, and knows all that this one does.
    fn is_told_by_owner(&self, bucket: u8, from: u8) -> bool {
        self.is_known_to(bucket) == Some(from)
    }

    /// Who serves a bucket's flows, and knows all that this member does.
    fn is_known_to(&self, bucket: u8) -> Option<u8> {
        let custody = self.custody?;
        let owner = custody.owners.get(usize::from(bucket))?;
        match custody.roles.get(usize::from(bucket))? {
            Role::Keeps | Role::Nothing => Some(*owner),
            Role::Serves { .. } | Role::Owes => None,
        }
    }

    /// To whom a bucket's flows are copied.
    fn copied_to(&self, bucket: u8) -> Option<u8> {
        let to = self.custody?.copied_to.get(usize::from(bucket))?;
        (*to != NOBODY).then_some(*to)
    }
}

impl Exchange {
    /// One without members.
    pub fn new(instance: u64) -> Self {
        Self {
            instance,
            peers: BTreeMap::new(),
            terms: Arc::default(),
            custody: None,
            is_listing: false,
            doubts: Buckets::NONE,
        }
    }

    /// Takes in what happened; returns what is to be done, in this order. `tick` is the time in the tables.
    pub fn handle<E: fmt::Display, S: Store<E>>(
        &mut self,
        event: Event,
        store: &mut S,
        (now, tick): (Instant, Tick),
    ) -> Vec<Action> {
        // What these say is all that they do, and what follows is the same for all.
        let event = match event {
            Event::Configure {
                cluster,
                members,
                me,
            } => {
                self.configure(&cluster, &members, me, now);
                Event::Custody(self.custody.clone())
            }
            Event::Terms(terms) => {
                self.terms = terms;
                Event::Tick
            }
            Event::Custody(custody) => {
                self.custody.clone_from(&custody);
                Event::Custody(custody)
            }
            other @ (Event::News(_)
            | Event::Began(_)
            | Event::Changed(_)
            | Event::Swept(_)
            | Event::Listed(_)
            | Event::Tick) => other,
        };
        let (terms, custody) = (self.terms.clone(), self.custody.clone());
        let mut doubts = self.doubts;
        let mut ground = Ground {
            terms: &terms,
            custody: custody.as_deref(),
            store,
            now,
            tick,
            actions: Vec::new(),
            passed_on: Vec::new(),
            doubts: &mut doubts,
        };
        match event {
            Event::Custody(Some(custody)) => {
                for peer in self.peers.values_mut() {
                    peer.entrust(&custody, &mut ground);
                }
            }
            Event::News(News {
                member,
                end,
                number,
                what,
            }) => {
                if let Some(peer) = self.peers.get_mut(&member) {
                    peer.hear(end, (number, what), &mut ground);
                }
            }
            Event::Began(flows) => self.began(&flows, &mut ground),
            Event::Changed(changes) => {
                for change in changes {
                    self.tell(change, &mut ground);
                }
            }
            Event::Swept(began) => {
                for peer in self.peers.values_mut() {
                    peer.swept(began);
                }
            }
            Event::Listed(listed) => {
                self.is_listing = false;
                for peer in self.peers.values_mut() {
                    peer.listed(listed.as_ref(), &mut ground);
                }
            }
            Event::Configure { .. } | Event::Terms(_) | Event::Custody(None) | Event::Tick => {}
        }
        for peer in self.peers.values_mut() {
            peer.settle(&mut ground);
        }
        for change in std::mem::take(&mut ground.passed_on) {
            self.tell(change, &mut ground);
        }
        self.ask(&mut ground);
        self.list(&mut ground);
        let actions = ground.actions;
        self.doubts = doubts;
        actions
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(Peer::deadline).min()
    }

    /// How copies to and from each other member stand.
    pub fn standing(&self, now: Instant) -> BTreeMap<String, Standing> {
        let peers = self.peers.iter();
        peers
            .map(|(name, peer)| (name.clone(), peer.standing(now)))
            .collect()
    }

    fn configure(&mut self, cluster: &str, members: &[String], me: usize, now: Instant) {
        let own = members.get(me).map_or("", String::as_str);
        self.peers
            .retain(|name, _| members.contains(name) && name != own);
        for (number, name) in members.iter().enumerate() {
            // Names are labels of DNS, and shorter than what members may call each other.
            let (true, Some(settings)) = (number != me, settings(cluster, own, name)) else {
                continue;
            };
            let instance = self.instance;
            let peer = self.peers.entry(name.clone());
            let peer = peer.or_insert_with(|| Peer::new(&settings, instance));
            peer.number = number as u8;
            peer.disconnected(now);
        }
    }

    /// Tells whoever keeps copies of these flows that they began.
    fn began<E: fmt::Display, S: Store<E>>(
        &mut self,
        events: &[Opened<Ip6>],
        ground: &mut Ground<'_, S>,
    ) {
        for event in events {
            let Some(protocol) = Protocol::from_number(event.asked.protocol) else {
                continue;
            };
            let narrow = event.asked.tuple.narrow();
            let narrow = narrow.map(|tuple| Which::V4(FlowKey::new(protocol, tuple)));
            let mut tables = narrow.into_iter().chain([Which::V6(event.asked)]);
            // A flow that cannot be read now is found by a sweep.
            let terms = (ground.terms, ground.tick);
            let read = |it: Which| told::record(ground.store, &it, terms).ok()?;
            if let Some((bucket, record)) = tables.find_map(read) {
                let value = (record.value, Importance::Opening);
                self.tell(told::change(bucket, record.key, Some(value)), ground);
            }
        }
    }

    /// Tells a change to whom its bucket is copied.
    fn tell<S>(&mut self, change: Change, ground: &mut Ground<'_, S>) {
        let Some(to) = ground.copied_to(change.bucket) else {
            return;
        };
        if let Some(peer) = self.peers.values_mut().find(|it| it.number == to) {
            peer.changed(change, ground);
        }
    }

    /// Asks owners for what this member only keeps, where it did not take all that they told.
    fn ask<E: fmt::Display, S: Store<E>>(&mut self, ground: &mut Ground<'_, S>) {
        for bucket in ground.doubts.iter() {
            let owner = ground.is_known_to(bucket);
            let mut peers = self.peers.values_mut();
            if let Some(peer) = peers.find(|it| Some(it.number) == owner)
                && peer.doubt(bucket, ground)
            {
                ground.doubts.remove(bucket);
            }
        }
    }

    /// Asks which flows there are, if somebody waits for that.
    fn list<S>(&mut self, ground: &mut Ground<'_, S>) {
        if self.is_listing {
            return;
        }
        let wanted = self.peers.values_mut().flat_map(Peer::wants);
        let buckets: Buckets = wanted.collect();
        if !buckets.is_empty() {
            self.is_listing = true;
            ground.actions.push(Action::List(buckets));
        }
    }
}

fn settings(cluster: &str, own: &str, peer: &str) -> Option<Settings> {
    Some(Settings {
        cluster: Name::new(cluster).ok()?,
        member: Name::new(own).ok()?,
        peer: Name::new(peer).ok()?,
        format: FORMAT,
        versions: VERSIONS,
        limits: Limits::default(),
    })
}
