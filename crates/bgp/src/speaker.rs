//! The speaker: all peers, and what happens to them.

use std::{collections::BTreeMap, io::ErrorKind, net::IpAddr, time::Instant};

use crate::{
    Config, Table, Why,
    message::notification::Notification,
    peer::{Context, Peer},
    random::Random,
    settings::Ends,
    snapshot::{PeerSnapshot, State},
};

/// Peers that may call from one prefix at a time: each is a session as any other.
pub const RANGE_MAX: usize = 64;

/// The caller's number of a configured peer; it stays over changes of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// A TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionId {
    /// One that the speaker asked for, by its number.
    Called(u64),
    /// One that a peer made, by the driver's number.
    Accepted(u64),
}

/// How the speaker goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Farewell {
    /// It stays.
    #[default]
    None,
    /// It will go: peers are asked to prefer others (RFC 8326).
    Graceful,
    /// It goes: sessions end, and routes with them.
    Stop {
        /// What peers' operators are told (RFC 9003).
        words: String,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// This is wanted, as a whole. `is_restarting` says that routes may be kept for us by peers that knew us
    /// before: it counts for the first configuration, and for as long as routes are kept.
    Configure {
        /// What.
        config: Config,
        /// See above.
        is_restarting: bool,
    },
    /// Peers are to be told this, and nothing else.
    Announce(BTreeMap<PeerId, Table>),
    /// A peer called; whose address it has, the driver has found out.
    Accepted {
        /// The driver's number for the connection.
        connection: ConnectionId,
        /// Which peer it may be.
        peer: PeerId,
        /// Its address.
        address: IpAddr,
        /// Ours.
        ends: Ends,
    },
    /// A call succeeded.
    Connected {
        /// Which.
        connection: ConnectionId,
        /// Our addresses.
        ends: Ends,
    },
    /// A call failed.
    ConnectFailed {
        /// Which.
        connection: ConnectionId,
        /// How.
        kind: ErrorKind,
    },
    /// Bytes came, as many as there were.
    Received {
        /// By which connection.
        connection: ConnectionId,
        /// What.
        bytes: Vec<u8>,
    },
    /// The kernel took something of what was sent.
    Unsent {
        /// By which connection.
        connection: ConnectionId,
        /// Bytes that still wait.
        bytes: usize,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// How, if not in order.
        kind: Option<ErrorKind>,
    },
    /// BFD says that the way to a peer is gone (RFC 5882).
    PathDown(PeerId),
    /// An operator wants the sessions with a peer to begin anew.
    Reset(PeerId),
    /// An operator wants everything to be said again.
    Refresh(PeerId),
    /// The speaker goes, or stays after all.
    Farewell(Farewell),
    /// The daemon ends and comes back: connections end without a word.
    Restart,
    /// The deadline has come.
    Tick,
}

/// What must be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Call a peer; answer with [`Event::Connected`] or [`Event::ConnectFailed`].
    Connect {
        /// The number for the connection.
        connection: ConnectionId,
        /// Whom.
        peer: PeerId,
    },
    /// Send bytes behind all others; answer with [`Event::Unsent`] when some are taken.
    Send {
        /// By which connection.
        connection: ConnectionId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close a connection when all that was sent is taken, and soon; or give a call up. Nothing that
    /// happens to it is told any more.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// It stands otherwise with a peer.
    Changed {
        /// Which.
        peer: PeerId,
        /// From where it called, if it is one of a range.
        address: Option<IpAddr>,
        /// How it stood.
        from: State,
        /// How it stands.
        to: State,
        /// Why, if it stands worse.
        why: Option<Why>,
    },
}

/// A speaker of BGP.
#[derive(Clone, Debug)]
pub struct Speaker {
    config: Option<Config>,
    /// Routes are kept for us until then.
    restarting_until: Option<Instant>,
    farewell: Farewell,
    peers: BTreeMap<Key, Peer>,
    wishes: BTreeMap<PeerId, Table>,
    random: Random,
    calls: u64,
}

impl Speaker {
    /// One that speaks with nobody yet; `seed` is for its jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            config: None,
            restarting_until: None,
            farewell: Farewell::None,
            peers: BTreeMap::new(),
            wishes: BTreeMap::new(),
            random: Random(seed),
            calls: 0,
        }
    }

    /// Takes in what happened and says what must be done.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Configure {
                config,
                is_restarting,
            } => self.configure(config, is_restarting, now, &mut actions),
            Event::Announce(wishes) => {
                self.wishes = wishes;
                let wishes = self.wishes.clone();
                self.each(now, &mut actions, |(id, _), peer, context| {
                    let wish = wishes.get(&id).cloned().unwrap_or_default();
                    peer.announce(wish, context);
                });
            }
            Event::Accepted {
                connection,
                peer,
                address,
                ends,
            } => self.accept((connection, ends), (peer, address), now, &mut actions),
            Event::Connected { connection, ends } => {
                let is_there = self.with(connection, now, &mut actions, |peer, context| {
                    peer.connected(connection, ends, context);
                });
                if !is_there {
                    actions.push(Action::Close { connection });
                }
            }
            Event::ConnectFailed { connection, kind } => {
                self.with(connection, now, &mut actions, |peer, context| {
                    peer.call_failed(connection, kind, context);
                });
            }
            Event::Received { connection, bytes } => {
                self.with(connection, now, &mut actions, |peer, context| {
                    peer.received(connection, &bytes, context);
                });
            }
            Event::Unsent { connection, bytes } => {
                self.with(connection, now, &mut actions, |peer, context| {
                    peer.unsent(connection, bytes, context);
                });
            }
            Event::Closed { connection, kind } => {
                self.with(connection, now, &mut actions, |peer, context| {
                    peer.closed(connection, kind, context);
                });
            }
            Event::PathDown(id) => self.of(id, now, &mut actions, Peer::path_down),
            Event::Reset(id) => self.of(id, now, &mut actions, Peer::reset),
            Event::Refresh(id) => self.of(id, now, &mut actions, Peer::refresh),
            Event::Farewell(farewell) => self.bid(farewell, now, &mut actions),
            Event::Restart => self.each(now, &mut actions, |_, peer, context| {
                peer.vanish(context);
            }),
            Event::Tick => self.each(now, &mut actions, |_, peer, context| peer.tick(context)),
        }
        // Who called from a range is forgotten with the last of its connections.
        self.peers
            .retain(|(_, address), peer| address.is_none() || !peer.is_gone());
        actions
    }

    /// When [`Event::Tick`] is due; one that comes for nothing does no harm.
    pub fn deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(Peer::deadline).min()
    }

    /// How it stands with everybody.
    pub fn snapshot(&self) -> Vec<PeerSnapshot> {
        self.peers.values().map(Peer::snapshot).collect()
    }

    fn configure(
        &mut self,
        config: Config,
        is_restarting: bool,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if self.config.is_none() && is_restarting {
            self.restarting_until = config.restart.map(|restart| now + restart.time);
        }
        let is_other = self.config.as_ref().is_some_and(|before| {
            (before.asn, before.id, before.restart) != (config.asn, config.id, config.restart)
        });
        let wanted = config.peers.clone();
        self.config = Some(config);
        self.each(now, actions, |(id, _), peer, context| {
            match wanted.get(&id) {
                Some(settings) if settings.is_range == peer.settings().is_range => {
                    peer.configure(settings.clone(), is_other, context);
                }
                Some(_) | None => {
                    peer.end(&Notification::DECONFIGURED, Why::Deconfigured, context);
                }
            }
        });
        let stays = |id: &PeerId, peer: &Peer| {
            wanted
                .get(id)
                .is_some_and(|it| it.is_range == peer.settings().is_range)
        };
        self.peers.retain(|(id, _), peer| stays(id, peer));
        for (id, settings) in wanted.into_iter().filter(|(_, it)| !it.is_range) {
            let wish = self.wishes.get(&id).cloned().unwrap_or_default();
            let is_new = !self.peers.contains_key(&(id, None));
            if is_new {
                self.peers
                    .insert((id, None), Peer::new(id, None, settings, now));
                self.of(id, now, actions, |peer, context| match context.farewell {
                    Farewell::None | Farewell::Graceful => peer.announce(wish.clone(), context),
                    Farewell::Stop { .. } => peer.leave_alone(wish.clone()),
                });
            }
        }
    }

    fn accept(
        &mut self,
        (connection, ends): (ConnectionId, Ends),
        (id, address): (PeerId, IpAddr),
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let settings = self.config.as_ref().and_then(|it| it.peers.get(&id));
        let Some(settings) = settings.cloned() else {
            actions.push(Action::Close { connection });
            return;
        };
        let key = (id, settings.is_range.then_some(address));
        if !self.peers.contains_key(&key) {
            let several = self.peers.range((id, None)..);
            let several = several.take_while(|((other, _), _)| *other == id).count();
            if several >= RANGE_MAX {
                actions.push(Action::Close { connection });
                return;
            }
            self.peers.insert(key, Peer::new(id, key.1, settings, now));
        }
        let wish = self.wishes.get(&id).cloned().unwrap_or_default();
        if let (Some(mut context), peers) = self.split(now, actions)
            && let Some(peer) = peers.get_mut(&key)
        {
            peer.announce(wish, &mut context);
            peer.accepted(connection, ends, &mut context);
        }
    }

    fn bid(&mut self, farewell: Farewell, now: Instant, actions: &mut Vec<Action>) {
        if self.farewell == farewell {
            return;
        }
        self.farewell = farewell.clone();
        self.each(now, actions, |_, peer, context| match &farewell {
            Farewell::None | Farewell::Graceful => {
                peer.say_again();
                peer.stay(context);
            }
            Farewell::Stop { words } => {
                let notification = Notification::administrative_shutdown(words);
                peer.end(&notification, Why::Stopped, context);
            }
        });
    }

    /// Does something with all connections of a peer.
    fn of(
        &mut self,
        id: PeerId,
        now: Instant,
        actions: &mut Vec<Action>,
        mut act: impl FnMut(&mut Peer, &mut Context<'_>),
    ) {
        self.each(now, actions, |(other, _), peer, context| {
            if other == id {
                act(peer, context);
            }
        });
    }

    /// Does something with the peer that has a connection; returns whether there is one.
    fn with(
        &mut self,
        connection: ConnectionId,
        now: Instant,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Peer, &mut Context<'_>),
    ) -> bool {
        let (Some(mut context), peers) = self.split(now, actions) else {
            return false;
        };
        let Some(peer) = peers.values_mut().find(|it| it.has(connection)) else {
            return false;
        };
        act(peer, &mut context);
        true
    }

    fn each(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        mut act: impl FnMut(Key, &mut Peer, &mut Context<'_>),
    ) {
        if let (Some(mut context), peers) = self.split(now, actions) {
            for (key, peer) in peers {
                act(*key, peer, &mut context);
            }
        }
    }

    /// What a peer needs, beside the peers; nothing before there was a configuration.
    fn split<'a>(
        &'a mut self,
        now: Instant,
        actions: &'a mut Vec<Action>,
    ) -> (Option<Context<'a>>, &'a mut BTreeMap<Key, Peer>) {
        let context = self.config.as_ref().map(|config| Context {
            config,
            is_restarting: self.restarting_until.is_some_and(|until| now < until),
            farewell: &self.farewell,
            random: &mut self.random,
            next_call: &mut self.calls,
            actions,
            now,
        });
        (context, &mut self.peers)
    }
}

/// Which peer, and of a range, which of those who called.
type Key = (PeerId, Option<IpAddr>);
