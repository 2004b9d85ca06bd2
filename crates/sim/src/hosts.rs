//! Clients and servers, and the connections between them: enough of TCP to notice what a gateway does wrong, and
//! exchanges over UDP and ICMP.
//!
//! ```text
//! client                          server
//!   Syn ───────────────────────────►       each is sent again until the next one comes,
//!     ◄─────────────────────── SynAck      and given up after a while
//!   Open ──────────────────────────►
//!   Ask 1 ─────────────────────────►
//!     ◄───────────────────── Answer 1      so many times, with pauses
//!     ◄─────────────────────── Push 1      by itself, at any time
//!   Pushed 1 ──────────────────────►
//!   Fin ───────────────────────────►
//!     ◄─────────────────────── FinAck
//!   Last ──────────────────────────►
//! ```

mod client;
mod server;

use std::{collections::BTreeMap, time::Duration};

use abi::{Ip4, Port, Protocol, Tuple};

use crate::{
    frame::{Payload, Segment, Word},
    laws::Law,
    network::Realm,
    plan::Plan,
    random::Random,
    site,
};

/// An address and a port.
pub type End = (Ip4, Port);

/// How often something is sent before it is given up.
const TRIES: u32 = 10;
/// The same of what is sent first.
const FIRST_TRIES: u32 = 6;
/// How long is waited before it is sent again, the first time.
const AGAIN: Duration = Duration::from_millis(300);
/// And at most.
const AGAIN_MAX: Duration = Duration::from_millis(3200);
/// For so long a client does not dial the same server from the same port again.
const QUIET: Duration = Duration::from_secs(45);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As it should.
    Finished,
    /// Its client is gone without a word, as it was to be.
    Vanished,
    /// Somebody said that there is no such connection.
    Reset,
    /// Something was sent so often without an answer that it was given up.
    GaveUp,
}

/// What a client does when everything is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Closes,
    Resets,
    Vanishes,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Idle,
    Asking,
    Closing,
    Over,
}

/// How far a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    NotYet,
    Open,
    Over,
}

/// One connection, or exchange.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number, from one on.
    pub id: u32,
    /// TCP, UDP or ICMP.
    pub protocol: Protocol,
    /// Who dials.
    pub client: End,
    /// Who is dialled.
    pub server: End,
    /// As whom the server knows the client.
    pub external: Option<End>,
    /// When it began.
    pub begun: Duration,
    /// When it was established.
    pub established: Option<Duration>,
    /// How it ended, and when.
    pub outcome: Option<(Outcome, Duration)>,
    /// Why it may end otherwise than it should.
    pub excuse: Option<&'static str>,
    /// Whether no gateway has its flow any more, because the one that had it died: its port may be another's.
    pub is_bereaved: bool,
    /// Changes of who holds what that it has lived through.
    pub changes: u32,
    stage: Stage,
    serving: Serving,
    /// How often the client has asked, and how often it will.
    asked: u32,
    asks: u32,
    pause: Duration,
    tries: u32,
    /// The same of the server.
    pushed: u32,
    pushes: u32,
    push_tries: u32,
    push_pause: Duration,
    ending: Ending,
    /// Which timer counts, of the client and the server.
    timers: [u32; 2],
}

impl Connection {
    /// Whether its client still wants something.
    pub fn is_live(&self) -> bool {
        self.outcome.is_none()
    }

    fn segment(&self, realm: Realm, to: End, (word, number): (Word, u32)) -> Segment {
        let (source, target) = match realm {
            Realm::Inside => (self.client, to),
            Realm::Outside => (self.server, to),
        };
        Segment {
            protocol: self.protocol,
            tuple: Tuple {
                source: source.0,
                target: target.0,
                source_port: source.1,
                target_port: target.1,
            },
            payload: Some(Payload {
                connection: self.id,
                word,
                number,
            }),
            is_reset: word == Word::Reset,
        }
    }
}

/// A timer of a connection's client or server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    connection: u32,
    realm: Realm,
    number: u32,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Deed {
    /// A client or a server sends this.
    Send(Realm, Segment),
    /// Wake at that time.
    Wake(Duration, Timer),
    /// A connection is over.
    Over(u32, Outcome),
    /// A law was broken, by this.
    Breaks(Law, u32, String),
    /// A packet of a connection reaches another one's client.
    Stray(u32, String),
    /// A client that still talks as somebody is seen as somebody else.
    Moved {
        /// The connection by which it was seen before.
        first: u32,
        /// As whom.
        was: End,
        /// The connection by which it is seen now.
        second: u32,
        /// As whom.
        is: End,
    },
    /// The server knows two clients by the same external end, which must not be if the gateways still hold
    /// what they hold for the first.
    Conflict {
        /// Whose it was.
        first: u32,
        /// Who comes by it now.
        second: u32,
        /// What both are known by.
        external: End,
    },
}

/// Under what the other side of a connection finds it.
type Known = (u8, End, End);

/// All clients and servers.
#[derive(Debug)]
pub struct Hosts {
    /// All connections, the first one first.
    pub connections: Vec<Connection>,
    /// Clients: protocol, own end, server.
    dialled: BTreeMap<Known, u32>,
    /// Servers: protocol, own end, external end.
    known: BTreeMap<Known, u32>,
    /// As whom a client's end was seen last, by protocol and client's end.
    seen_as: BTreeMap<(u8, End), (u32, End)>,
    /// Whose an external end was last, by protocol and that end; only of ports that nobody shares.
    owners: BTreeMap<(u8, End), u32>,
    is_overloaded: bool,
    random: Random,
}

impl Hosts {
    /// Nobody has dialled yet.
    pub fn new(plan: &Plan, random: Random) -> Self {
        Self {
            is_overloaded: plan.is_overloaded,
            connections: Vec::new(),
            dialled: BTreeMap::new(),
            known: BTreeMap::new(),
            seen_as: BTreeMap::new(),
            owners: BTreeMap::new(),
            random,
        }
    }

    /// A connection.
    pub fn get(&self, id: u32) -> Option<&Connection> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.connections.get(index)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Connection> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.connections.get_mut(index)
    }

    /// The connections that are not over.
    pub fn live(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.connections.iter_mut().filter(|it| it.is_live())
    }

    /// A connection begins, if a port is free for it.
    pub fn begin(&mut self, plan: &Plan, now: Duration) -> Option<(u32, Vec<Deed>)> {
        let mut random = self.random.clone();
        let drawn = (0..8).find_map(|_| self.draw(plan, now, &mut random));
        self.random = random;
        let (protocol, client, server) = drawn?;
        let random = &mut self.random;
        let is_long = random.once_in(3);
        let id = u32::try_from(self.connections.len() + 1).unwrap_or(u32::MAX);
        let ending = match random.below(8) {
            0 => Ending::Resets,
            1 => Ending::Vanishes,
            _ => Ending::Closes,
        };
        let is_tcp = protocol == Protocol::Tcp;
        let connection = Connection {
            id,
            protocol,
            client,
            server,
            external: None,
            begun: now,
            established: None,
            outcome: None,
            excuse: None,
            is_bereaved: false,
            changes: 0,
            stage: Stage::Opening,
            serving: Serving::NotYet,
            asked: 0,
            asks: 1 + random.below(if is_long { 25 } else { 5 }) as u32,
            pause: random.millis(20, if is_long { 5000 } else { 500 }),
            tries: 0,
            pushed: 0,
            pushes: if is_tcp {
                random.below(if is_long { 20 } else { 3 }) as u32
            } else {
                0
            },
            push_tries: 0,
            push_pause: random.millis(50, if is_long { 6000 } else { 900 }),
            ending,
            timers: [0; 2],
        };
        self.dialled.insert((protocol as u8, client, server), id);
        self.connections.push(connection);
        let deeds = self.dial(id, now);
        Some((id, deeds))
    }

    /// Who dials whom, if that may be.
    fn draw(
        &self,
        plan: &Plan,
        now: Duration,
        random: &mut Random,
    ) -> Option<(Protocol, End, End)> {
        let protocol = random.one_of(
            Protocol::Tcp,
            &[
                Protocol::Tcp,
                Protocol::Tcp,
                Protocol::Tcp,
                Protocol::Udp,
                Protocol::Icmp,
            ],
        );
        let port = Port::new(4000 + random.below(24) as u16);
        let client = (site::client(random.below(plan.clients)), port);
        let service = match protocol {
            Protocol::Icmp => 0,
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => 443,
        };
        let server = (site::server(random.below(plan.servers)), Port::new(service));
        let before = self.dialled.get(&(protocol as u8, client, server));
        let is_free = match before.and_then(|id| self.get(*id)) {
            None => true,
            Some(before) => before.outcome.is_some_and(|(_, at)| at + QUIET < now),
        };
        is_free.then_some((protocol, client, server))
    }

    /// A timer has run out.
    pub fn wake(&mut self, timer: Timer, now: Duration) -> Vec<Deed> {
        let Some(connection) = self.get(timer.connection) else {
            return Vec::new();
        };
        let [client, server] = connection.timers;
        let current = match timer.realm {
            Realm::Inside => client,
            Realm::Outside => server,
        };
        if current != timer.number {
            return Vec::new();
        }
        match timer.realm {
            Realm::Inside => self.client_wakes(timer.connection, now),
            Realm::Outside => self.server_wakes(timer.connection, now),
        }
    }

    /// A frame reaches the hosts of a side.
    pub fn get_frame(&mut self, realm: Realm, segment: &Segment, now: Duration) -> Vec<Deed> {
        match realm {
            Realm::Inside => self.client_gets(segment, now),
            Realm::Outside => self.server_gets(segment, now),
        }
    }

    /// Sets the only timer that counts from now on.
    fn set(connection: &mut Connection, realm: Realm, at: Duration, deeds: &mut Vec<Deed>) {
        let [client, server] = &mut connection.timers;
        let number = match realm {
            Realm::Inside => client,
            Realm::Outside => server,
        };
        *number += 1;
        let timer = Timer {
            connection: connection.id,
            realm,
            number: *number,
        };
        deeds.push(Deed::Wake(at, timer));
    }

    fn over(connection: &mut Connection, outcome: Outcome, now: Duration, deeds: &mut Vec<Deed>) {
        if connection.outcome.is_none() {
            connection.outcome = Some((outcome, now));
            deeds.push(Deed::Over(connection.id, outcome));
        }
        let [client, _] = &mut connection.timers;
        *client += 1;
        connection.stage = Stage::Over;
    }
}

/// How long to wait after so many tries.
fn backoff(tries: u32) -> Duration {
    (AGAIN * 2_u32.saturating_pow(tries.saturating_sub(1))).min(AGAIN_MAX)
}
