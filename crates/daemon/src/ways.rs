//! BFD on real sockets and in real time: a thread of its own, which the kernel runs before all ordinary ones,
//! so that no load makes a way look gone.
//!
//! ```text
//! driver ─ Order ─► Watcher ─► bfd::Sessions ─► Send ─► sockets, one for each session
//!                     ▲                └──────► Changed ─► routing::Order::Way, the log
//!                     │                            └─────► gateway::cluster ─► who holds which flows
//!   sockets, one for each port: when the kernel took each datagram, how far it came
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use abi::cluster::Holder;
use bfd::{
    Action, Authentication, Datagram, Digest, Event, Hops, Key, Refused, Secret, Sessions,
    Settings, State, Status,
};
use gateway::{
    cluster::{self, Cluster, Custody, Member, Moves, Standing},
    intent::Intent,
    routing::{
        drain::Phase,
        watched::{Watched, watched},
    },
};
use kernel::{
    Tables,
    datagrams::{self, Way},
    netlink::Link,
};
use tokio::{
    io::Interest,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    capabilities,
    routing::{self, Routes, password},
};

mod heard;

use heard::found;

/// Orders that may wait.
const ORDERS_MAX: usize = 64;
/// Bytes of the longest datagram that is looked at; a control packet says its length in one byte.
const DATAGRAM_MAX: usize = 256;
/// Datagrams that are read from one socket before another has its turn.
const READ_AT_ONCE: usize = 256;
/// How often members that leave are looked after: as often as they speak (RFC 5880 §6.8.3).
const LOOK: Duration = Duration::from_secs(1);
/// After so much silence one that leaves is taken to have stopped its daemon.
const SILENCE: Duration = Duration::from_secs(4);
/// How long the word that this gateway goes may take to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long to wait before a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Where control packets go (RFC 5881 §4, RFC 5883 §5).
const PORTS: [(Hops, u16); 2] = [(Hops::Single, 3784), (Hops::Multi, 4784)];

/// What the rest of the daemon wants.
pub enum Order {
    /// This configuration is in force.
    Configure(Box<Intent>),
    /// The interfaces of this host.
    Links(Arc<Vec<Link>>),
    /// The daemon ends: other members of the cluster are told; then who waits is. Either its packet path goes on
    /// with flows that there are, or there are none.
    Leave {
        /// Whether there are none.
        is_empty: bool,
        /// Who waits.
        reply: oneshot::Sender<()>,
    },
    /// This is known of copies of flows.
    Copies(Vec<cluster::Event>),
    /// How it is.
    Show(oneshot::Sender<Picture>),
}

/// How it is.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When this was so.
    pub now: Instant,
    /// Sessions with the names of those who want them.
    pub sessions: Vec<(String, Key, Status)>,
    /// Datagrams that were not taken.
    pub refused: BTreeMap<Refused, u64>,
    /// Whether the thread runs before all ordinary ones.
    pub is_realtime: bool,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// The cluster, if there is one.
    pub cluster: Option<Members>,
}

/// The cluster, as this member sees it.
#[derive(Clone, Debug)]
pub struct Members {
    /// Its name.
    pub name: String,
    /// The members and how they stand.
    pub members: Vec<(Member, Standing)>,
    /// The index of this one.
    pub me: usize,
    /// Who holds each bucket, if that is known.
    pub holders: Option<Vec<Holder>>,
    /// By bucket, the numbers of the members in the order in which they own it.
    pub orders: Vec<Vec<u8>>,
    /// What is on its way between this one and the others.
    pub moves: Moves,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub struct Ways {
    orders: mpsc::Sender<Order>,
    settled: watch::Receiver<bool>,
    custody: watch::Receiver<Option<Arc<Custody>>>,
    moves: watch::Receiver<Option<Moves>>,
}

impl Ways {
    /// Starts the thread; it tells `routes` which ways are gone, and the packet path by `tables` who holds which
    /// flows, which that may know from a daemon before this one. It asks to be run before others, and gives
    /// up the right to ask.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub fn start(routes: Routes, tables: Arc<Tables>, is_known: bool) -> io::Result<Self> {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (settling, settled) = watch::channel(is_known);
        let (entrusting, custody) = watch::channel(None);
        let (moving, moves) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new().name("bfd".to_owned()).spawn(move || {
            let is_realtime = match datagrams::be_realtime() {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(%error, "BFD has no real-time priority");
                    false
                }
            };
            if let Err(error) = capabilities::drop_others(false) {
                tracing::error!(%error, "the thread of BFD cannot give up capabilities, and ends");
                return;
            }
            let mut cluster = Cluster::default();
            if is_known && let Some(found) = found(&tables) {
                cluster.handle(found, Instant::now());
            }
            let flows = Flows {
                cluster,
                tables,
                owned: 0,
                settling,
                entrusting,
                moving,
            };
            runtime.block_on(Watcher::new(routes, is_realtime, flows).run(received));
        })?;
        Ok(Self {
            orders,
            settled,
            custody,
            moves,
        })
    }

    /// Gives an order. One that finds no room is lost, and said: the thread hangs then.
    pub fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::error!("the thread of BFD takes no more orders");
        }
    }

    /// How it is; nothing if the thread is gone.
    pub async fn picture(&self) -> Option<Picture> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Show(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Tells other members of the cluster that this one goes, and whether no flow is left here; waits until it is
    /// said.
    pub async fn leave(&self, is_empty: bool) {
        let (reply, said) = oneshot::channel();
        if self
            .orders
            .send(Order::Leave { is_empty, reply })
            .await
            .is_ok()
        {
            let _ = tokio::time::timeout(LAST_WORDS, said).await;
        }
    }

    /// What this member has to do with each bucket's flows, where they are copied; and whenever that changes.
    pub fn custody(&self) -> watch::Receiver<Option<Arc<Custody>>> {
        self.custody.clone()
    }

    /// What is on its way between this member and the others, and whenever that changes; nothing where a gateway is
    /// alone.
    pub fn moves(&self) -> watch::Receiver<Option<Moves>> {
        self.moves.clone()
    }

    /// Says what is known of copies of flows.
    pub async fn copies(&self, events: Vec<cluster::Event>) {
        let _ = self.orders.send(Order::Copies(events)).await;
    }

    /// Whether the packet path knows who holds which flows; where there is no cluster it does.
    pub fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// Waits until that changes, or for ever.
    pub async fn changed(&mut self) {
        if self.settled.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Who holds which flows, as the packet path is told.
struct Flows {
    cluster: Cluster,
    tables: Arc<Tables>,
    /// How many buckets this member held when that was said last.
    owned: usize,
    settling: watch::Sender<bool>,
    entrusting: watch::Sender<Option<Arc<Custody>>>,
    moving: watch::Sender<Option<Moves>>,
}

impl Flows {
    /// Takes in what happened, and tells the packet path what follows.
    fn handle(&mut self, event: cluster::Event, now: Instant) {
        self.handle_all([event], now);
    }

    /// Takes in all that happened at once.
    fn handle_all(&mut self, events: impl IntoIterator<Item = cluster::Event>, now: Instant) {
        if let Some(picture) = self.cluster.handle_all(events, now) {
            self.tables.buckets.at(0).set(&picture);
            let me = self.cluster.me();
            let own = |it: &&Holder| usize::from(it.owner) == me;
            let owned = picture.holders.iter().filter(own).count();
            if std::mem::replace(&mut self.owned, owned) != owned {
                tracing::info!(buckets = owned, "this member holds so many buckets");
            }
        }
        let custody = self.cluster.custody();
        self.entrusting.send_if_modified(|it| {
            let is_other = it.as_deref() != custody.as_ref();
            if is_other {
                *it = custody.map(Arc::new);
            }
            is_other
        });
        let moves = self.cluster.moves();
        self.moving.send_if_modified(|it| {
            let is_other = *it != moves;
            *it = moves;
            is_other
        });
        let is_settled = self.cluster.is_settled();
        // What a daemon before this one knew is good until something else is known.
        if is_settled {
            self.settling
                .send_if_modified(|it| !std::mem::replace(it, true));
        }
    }
}

struct Watcher {
    flows: Flows,
    /// Sessions with other members of the cluster.
    members: BTreeSet<Key>,
    is_leaving: bool,
    /// Whether others are told to hand nothing to this one, because it does not know yet who holds what.
    is_starting: bool,
    /// Whether the daemon ends, and with that nothing brings it back.
    is_ending: bool,
    /// Whether nothing is left here that others need to ask for.
    is_gone: bool,
    /// Members that leave: how many packets had come from each when that was last looked at, and since when
    /// there have not been more.
    leaving: BTreeMap<Key, (u64, Instant)>,
    sessions: Sessions,
    intent: Option<Box<Intent>>,
    links: Arc<Vec<Link>>,
    names: BTreeMap<Key, String>,
    listening: Vec<(Hops, tokio::net::UdpSocket)>,
    sending: HashMap<Key, UdpSocket>,
    retry_at: Option<Instant>,
    notes: BTreeMap<String, String>,
    routes: Routes,
    is_realtime: bool,
}

impl Watcher {
    fn new(routes: Routes, is_realtime: bool, flows: Flows) -> Self {
        // What a daemon before this one knew is good until something else is known.
        let is_starting = !*flows.settling.borrow();
        Self {
            is_starting,
            flows,
            members: BTreeSet::new(),
            is_leaving: false,
            is_ending: false,
            is_gone: false,
            leaving: BTreeMap::new(),
            sessions: Sessions::new(getrandom::u64().unwrap_or(1)),
            intent: None,
            links: Arc::default(),
            names: BTreeMap::new(),
            listening: Vec::new(),
            sending: HashMap::new(),
            retry_at: None,
            notes: BTreeMap::new(),
            routes,
            is_realtime,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut routes = self.routes.clone();
        let mut neighbours = self.routes.clone();
        loop {
            let look = (!self.leaving.is_empty()).then(|| Instant::now() + LOOK);
            let deadlines = [
                self.sessions.deadline(),
                self.flows.cluster.deadline(),
                look,
            ];
            let deadline = deadlines.into_iter().flatten().min();
            tokio::select! {
                () = routes.changed() => self.leave_or_stay(routes.standing().phase),
                () = neighbours.met() => self.configure(),
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                () = readable(&self.listening) => {}
                () = until(deadline) => {}
                () = until(self.retry_at) => self.listen(),
            }
            // Whatever woke us: what waits is read before it is said that nothing came.
            self.read_all();
            let now = Instant::now();
            if self.sessions.deadline().is_some_and(|at| at <= now) {
                let actions = self.sessions.handle(Event::Tick, now);
                self.act(actions);
            }
            self.look_after_leaving(now);
            if self.flows.cluster.deadline().is_some_and(|at| at <= now) {
                self.flows.handle(cluster::Event::Tick, now);
            }
            let is_member = !self.members.is_empty();
            if self.is_starting && is_member && self.flows.cluster.is_settled() {
                self.is_starting = false;
                self.configure();
            }
        }
    }

    /// Other members take new flows while this one drains.
    fn leave_or_stay(&mut self, phase: Phase) {
        let is_leaving = self.is_ending || phase != Phase::Serving;
        if self.is_leaving == is_leaving {
            return;
        }
        self.is_leaving = is_leaving;
        let event = match is_leaving {
            true => cluster::Event::Leave,
            false => cluster::Event::Stay,
        };
        self.flows.handle(event, Instant::now());
        self.configure();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Configure(intent) => {
                self.intent = Some(intent);
                self.configure();
            }
            Order::Links(links) => {
                let indices = |links: &[Link]| -> Vec<(String, u32)> {
                    links
                        .iter()
                        .map(|it| (it.name.clone(), it.ifindex))
                        .collect()
                };
                let is_other = indices(&self.links) != indices(&links);
                self.links = links;
                if is_other {
                    self.configure();
                }
            }
            Order::Leave { is_empty, reply } => {
                self.is_ending = true;
                self.leave_or_stay(Phase::Drained);
                if is_empty {
                    self.is_gone = true;
                    self.configure();
                }
                let actions = self.sessions.handle(Event::Tick, Instant::now());
                self.act(actions);
                let _ = reply.send(());
            }
            Order::Copies(events) => self.flows.handle_all(events, Instant::now()),
            Order::Show(reply) => {
                let _ = reply.send(self.picture());
            }
        }
    }

    fn configure(&mut self) {
        let Some(intent) = &self.intent else {
            return;
        };
        let (mut wanted, mut names, mut notes) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut members = BTreeSet::new();
        for way in watched(intent, &self.routes.neighbours()) {
            match settings(&way, &self.links) {
                Ok((key, mut settings)) => {
                    if way.is_member {
                        members.insert(key);
                        // Told by this, others send what they begin elsewhere, and know that it is no
                        // failure (RFC 5882 §3.2).
                        settings.is_admin_down = self.is_leaving && !self.is_gone;
                        settings.is_reset = self.is_gone;
                        settings.is_cut_behind = self.is_starting;
                    }
                    names.insert(key, way.name);
                    wanted.insert(key, settings);
                }
                Err(note) => {
                    notes.insert(
                        way.name.clone(),
                        format!("BFD session {}: {note}", way.name),
                    );
                }
            }
        }
        for note in notes.values() {
            tracing::error!("{note}");
        }
        let (found, me) = match &intent.cluster {
            Some(cluster) => (cluster.members.clone(), cluster.me),
            None => (Vec::new(), 0),
        };
        self.members = members;
        let events = [
            cluster::Event::Configure { members: found, me },
            cluster::Event::Copies(intent.copying().is_some()),
        ];
        self.flows.handle_all(events, Instant::now());
        // Names of sessions that are given up are needed for their last words.
        self.names.extend(names);
        self.notes = notes;
        let is_wanted = !wanted.is_empty();
        self.sending.retain(|key, _| wanted.contains_key(key));
        let actions = self
            .sessions
            .handle(Event::Configure(wanted), Instant::now());
        if is_wanted {
            self.listen();
        }
        self.act(actions);
        if !is_wanted {
            self.listening.clear();
            self.retry_at = None;
        }
    }

    fn listen(&mut self) {
        self.retry_at = None;
        if !self.listening.is_empty() {
            return;
        }
        let opened = || -> io::Result<Vec<(Hops, tokio::net::UdpSocket)>> {
            let mut sockets = Vec::new();
            for (hops, port) in PORTS {
                sockets.push((
                    hops,
                    tokio::net::UdpSocket::from_std(datagrams::listen(port, false)?)?,
                ));
                // A kernel without IPv6 has no ways of it.
                if let Ok(socket) = datagrams::listen(port, true) {
                    sockets.push((hops, tokio::net::UdpSocket::from_std(socket)?));
                }
            }
            Ok(sockets)
        };
        match opened() {
            Ok(sockets) => {
                self.listening = sockets;
                self.notes.remove("");
            }
            Err(error) => {
                let note = format!(
                    "cannot listen for BFD on ports 3784 and 4784: {error}; it is tried again"
                );
                if self.notes.get("") != Some(&note) {
                    tracing::error!("{note}");
                }
                self.notes.insert(String::new(), note);
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    fn read_all(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX];
        for index in 0..self.listening.len() {
            for _ in 0..READ_AT_ONCE {
                let clocks = (Instant::now(), SystemTime::now());
                let Some((hops, socket)) = self.listening.get(index) else {
                    break;
                };
                let read = || {
                    let arrival = datagrams::receive(socket, &mut buffer, clocks)?;
                    arrival.ok_or_else(|| io::ErrorKind::WouldBlock.into())
                };
                let arrival = match socket.try_io(Interest::READABLE, read) {
                    Ok(arrival) => arrival,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        tracing::debug!(%error, "a datagram of BFD cannot be read");
                        break;
                    }
                };
                let datagram = Datagram {
                    bytes: buffer.get(..arrival.length).unwrap_or_default(),
                    from: arrival.from,
                    to: arrival.to,
                    interface: arrival.interface,
                    ttl: arrival.ttl,
                    hops: *hops,
                    arrived: arrival.at,
                };
                let event = Event::Received(datagram);
                let actions = self.sessions.handle(event, clocks.0);
                self.act(actions);
            }
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { key, packet } => self.send(key, packet.bytes()),
                Action::Behind { key, is_cut } => {
                    let standing = if is_cut {
                        Standing::Starting
                    } else {
                        Standing::Up
                    };
                    self.hear(key, standing);
                }
                Action::Changed {
                    key,
                    from,
                    to,
                    diagnostic,
                    remote_state,
                    remote_diagnostic,
                } => {
                    self.judge(key, (from, to), (remote_state, remote_diagnostic));
                    let name = self.names.get(&key).map_or("(removed)", String::as_str);
                    let (why, theirs) = (diagnostic.words(), remote_diagnostic.words());
                    if to == State::Up {
                        tracing::info!(session = name, peer = %key.peer, "the BFD session is up");
                    } else if from == State::Up {
                        tracing::warn!(
                            session = name, peer = %key.peer, why, theirs,
                            "the BFD session is down"
                        );
                        // The next packets leave by the way that there is then.
                        self.sending.remove(&key);
                        // Who only does not want to be watched any more is there all the same
                        // (RFC 5882 §3.2).
                        if to == State::Down && remote_state != State::AdminDown {
                            self.routes.order(routing::Order::WayGone {
                                peer: key.peer,
                                interface: key.interface,
                            });
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, key: Key, bytes: &[u8]) {
        if !self.sending.contains_key(&key) {
            let port = PORTS.iter().find(|(hops, _)| *hops == key.hops);
            let port = port.map_or(0, |(_, port)| *port);
            let way = Way {
                peer: SocketAddr::new(key.peer, port),
                source: key.local,
                interface: key.interface,
            };
            // A port of its own for each session, whichever is free from here on.
            let first = u16::try_from(49_152 + self.sending.len()).unwrap_or(49_152);
            match datagrams::towards(&way, first) {
                Ok(socket) => drop(self.sending.insert(key, socket)),
                Err(error) => {
                    tracing::debug!(peer = %key.peer, %error, "no way to send BFD packets by");
                    return;
                }
            }
        }
        if let Some(socket) = self.sending.get(&key)
            && let Err(error) = socket.send(bytes)
            && error.kind() != io::ErrorKind::ConnectionRefused
        {
            tracing::debug!(peer = %key.peer, %error, "a BFD packet cannot be sent");
            self.sending.remove(&key);
        }
    }

    fn picture(&self) -> Picture {
        let sessions = self.sessions.snapshot().into_iter();
        Picture {
            now: Instant::now(),
            sessions: sessions
                .map(|(key, status)| {
                    let name = self.names.get(&key).cloned().unwrap_or_default();
                    (name, key, status)
                })
                .collect(),
            refused: self.sessions.refused().clone(),
            is_realtime: self.is_realtime,
            notes: self.notes.values().cloned().collect(),
            cluster: self.cluster(),
        }
    }

    fn cluster(&self) -> Option<Members> {
        let cluster = self.intent.as_ref()?.cluster.as_ref()?;
        let known = &self.flows.cluster;
        let members = known.members().map(|(it, standing)| (it.clone(), standing));
        Some(Members {
            name: cluster.name.clone(),
            members: members.collect(),
            me: known.me(),
            holders: known.holders().map(|it| it.to_vec()),
            orders: (0..=u8::MAX).map(|it| known.order(it).to_vec()).collect(),
            moves: known.moves().unwrap_or_default(),
        })
    }
}

/// What is wanted of a session, or why there can be none.
fn settings(way: &Watched, links: &[Link]) -> Result<(Key, Settings), String> {
    let interface = match &way.interface {
        None => None,
        Some(name) => match links.iter().find(|link| link.name == *name) {
            Some(link) => Some(link.ifindex),
            None => return Err(format!("there is no interface {name}")),
        },
    };
    let authentication = match (&way.profile.authentication, way.secret()) {
        (Some(authentication), Some(path)) => {
            let secret = password::read(path)
                .map_err(|error| error.to_string())
                .and_then(|it| Secret::new(&it).map_err(|error| error.to_string()))
                .map_err(|error| format!("the secret in {}: {error}", path.display()))?;
            Some(Authentication {
                digest: match authentication.is_meticulous {
                    true => Digest::MeticulousSha1,
                    false => Digest::Sha1,
                },
                key: authentication.key,
                secret,
            })
        }
        (Some(_) | None, _) => None,
    };
    let key = Key {
        peer: way.peer,
        local: way.local,
        interface,
        hops: match way.hops {
            0 | 1 => Hops::Single,
            _ => Hops::Multi,
        },
    };
    let settings = Settings {
        transmit: way.profile.transmit,
        receive: way.profile.receive,
        multiplier: way.profile.multiplier,
        is_passive: way.profile.is_passive,
        lowest_ttl: way.lowest_ttl(),
        authentication,
        is_admin_down: false,
        is_reset: false,
        is_cut_behind: false,
    };
    Ok((key, settings))
}

/// Waits until there is something to be read, or for ever.
async fn readable(sockets: &[(Hops, tokio::net::UdpSocket)]) {
    let each = sockets
        .iter()
        .map(|(_, socket)| Box::pin(socket.readable()));
    let each: Vec<_> = each.collect();
    if each.is_empty() {
        return std::future::pending().await;
    }
    let _ = futures_util::future::select_all(each).await;
}

/// Waits until then, or for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
