//! BGP on real sockets and in real time: a thread of its own, so that nothing that the daemon does for long
//! keeps a peer waiting.
//!
//! ```text
//! driver ─ Order ─► Runner ─ Event ─► gateway::routing ─ Action ─► Runner ─► lines: TCP connections
//!                     ▲                                                        │
//!                     └──────────────────────── Happened ──────────────────────┘
//! ```

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use abi::Reason;
use bgp::{ConnectionId, Ends, PeerId, PeerSnapshot, State};
use gateway::{
    intent::{Intent, routing::Place},
    routing::{Event, Routing, drain, watched::Neighbours},
};
use kernel::{Tables, netlink::Link};
use tokio::sync::{mpsc, oneshot, watch};

mod adjacent;
mod keys;
mod lines;
mod listeners;
pub(crate) mod password;

use adjacent::Adjacent;
use lines::{Happened, Lines};
use listeners::Listeners;

/// Orders that may wait. The driver has one for each thing that it does, and does not do much.
const ORDERS_MAX: usize = 64;
/// News of connections that may wait; who reads from one waits too.
const NEWS_MAX: usize = 1024;
/// How long the last words of sessions may take to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the rest of the daemon wants.
pub enum Order {
    /// This configuration is in force.
    Configure {
        /// It.
        intent: Box<Intent>,
        /// Whether the packet path was taken over from a daemon before this one.
        is_restarting: bool,
    },
    /// The interfaces of this host.
    Links(Arc<Vec<Link>>),
    /// Whether packets to what is announced can be served.
    Serving(bool),
    /// BFD says that a way is gone.
    WayGone {
        /// The address that it led to.
        peer: IpAddr,
        /// The index of the interface that it led by, if it was watched there only.
        interface: Option<u32>,
    },
    /// The gateway is to go.
    Drain,
    /// It is to stay.
    Undrain,
    /// Sessions end now, with a word to each peer; then who waits is told.
    Stop(oneshot::Sender<()>),
    /// Sessions end without a word, because the daemon comes back.
    Restart(oneshot::Sender<()>),
    /// Something is asked of the session with a peer; whether there is such a peer is answered.
    Ask(String, api::http::BgpAsk, oneshot::Sender<bool>),
    /// How it is.
    Show(oneshot::Sender<Picture>),
}

/// How it is.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When this was so.
    pub now: Instant,
    /// What peers are told of us.
    pub config: Option<bgp::Config>,
    /// Peers with the names and places that the configuration gives them, in its order.
    pub peers: Vec<(String, Place, Option<String>, Vec<PeerSnapshot>)>,
    /// Where the drain stands.
    pub drain: drain::Drain,
    /// Whether packets to what is announced can be served.
    pub is_serving: bool,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// Where a drain stands, for whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its phase.
    pub phase: drain::Phase,
    /// Sessions that are established.
    pub established: usize,
    /// Whether it has ended because no traffic came any more.
    pub is_ebbed: bool,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub struct Routes {
    orders: mpsc::Sender<Order>,
    standing: watch::Receiver<Standing>,
    neighbours: watch::Receiver<Neighbours>,
}

/// A thread that is not there yet, and what it will do.
pub struct Unstarted {
    orders: mpsc::Receiver<Order>,
    shown: watch::Sender<Standing>,
    met: watch::Sender<Neighbours>,
}

impl Unstarted {
    /// Starts the thread; `tables` say how many packets there were. It has the capabilities of who starts it.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub fn start(self, tables: Arc<Tables>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let Self { orders, shown, met } = self;
        let run = move || runtime.block_on(Runner::new(tables, shown, met).run(orders));
        thread::Builder::new().name("bgp".to_owned()).spawn(run)?;
        Ok(())
    }
}

impl Routes {
    /// The way to a thread that is to be started.
    pub fn unstarted() -> (Self, Unstarted) {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (shown, standing) = watch::channel(Standing {
            phase: drain::Phase::Serving,
            established: 0,
            is_ebbed: false,
        });
        let (met, neighbours) = watch::channel(Neighbours::new());
        let thread = Unstarted {
            orders: received,
            shown,
            met,
        };
        let routes = Self {
            orders,
            standing,
            neighbours,
        };
        (routes, thread)
    }

    /// Gives an order. One that finds no room is lost, and said: the thread hangs then.
    pub fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::error!("the thread of BGP takes no more orders");
        }
    }

    /// Gives an order and waits for its answer; nothing if there is none.
    pub async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Where a drain stands.
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Who is behind the interfaces at which peers are wanted.
    pub fn neighbours(&self) -> Neighbours {
        self.neighbours.borrow().clone()
    }

    /// Waits until there are others, or for ever.
    pub async fn met(&mut self) {
        if self.neighbours.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the drain stands elsewhere, or for ever.
    pub async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Runner {
    routing: Routing,
    tables: Arc<Tables>,
    intent: Option<Box<Intent>>,
    links: Arc<Vec<Link>>,
    lines: Lines,
    listeners: Listeners,
    adjacent: Adjacent,
    notes: BTreeMap<&'static str, String>,
    shown: watch::Sender<Standing>,
    met: watch::Sender<Neighbours>,
    news: mpsc::Receiver<(ConnectionId, Happened)>,
}

impl Runner {
    fn new(
        tables: Arc<Tables>,
        shown: watch::Sender<Standing>,
        met: watch::Sender<Neighbours>,
    ) -> Self {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        Self {
            routing: Routing::new(getrandom::u64().unwrap_or(1)),
            tables,
            intent: None,
            links: Arc::default(),
            lines: Lines::new(sender),
            listeners: Listeners::default(),
            adjacent: Adjacent::default(),
            notes: BTreeMap::new(),
            shown,
            met,
            news,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let deadline = self.routing.deadline();
            let listen = self.listeners.retry_at();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                Some((connection, happened)) = self.news.recv() => {
                    self.hear(connection, happened);
                }
                accepted = self.listeners.accept() => self.accept(accepted),
                () = until(deadline) => {
                    let packets = self.packets();
                    self.tell(Event::Tick { packets });
                }
                () = until(listen) => self.listen(),
                () = until(self.adjacent.deadline()) => self.adjacent.advertise(),
                () = self.adjacent.readable() => self.meet(),
            }
            self.show();
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Configure {
                intent,
                is_restarting,
            } => {
                self.intent = Some(intent.clone());
                let router_id = self.router_id();
                self.tell(Event::Configure {
                    intent,
                    router_id,
                    is_restarting,
                });
                self.listen();
                self.look_around();
            }
            Order::Links(links) => {
                let before = self.router_id();
                self.links = links;
                self.look_around();
                let router_id = self.router_id();
                // The first one counts: another would end all sessions for an address that nobody asks for.
                if let (None, Some(_), Some(intent)) = (before, router_id, self.intent.clone()) {
                    self.tell(Event::Configure {
                        intent,
                        router_id,
                        is_restarting: false,
                    });
                }
            }
            Order::Serving(is_serving) => {
                if is_serving != self.routing.is_serving() && self.routing.config().is_some() {
                    match is_serving {
                        true => tracing::info!("packets can be served: routes are announced"),
                        false => tracing::warn!(
                            "packets cannot be served in both realms: routes are withdrawn"
                        ),
                    }
                }
                self.tell(Event::Serving(is_serving));
            }
            Order::WayGone { peer, interface } => {
                let by = interface.and_then(|index| self.adjacent.interface(index));
                let is_meant = |place: &Place| match place {
                    Place::Address(address) => *address == peer,
                    Place::Interface(name) => {
                        let neighbours = self.met.borrow();
                        by == Some(name) && neighbours.get(name).is_some_and(|it| *it == peer)
                    }
                    Place::Range(_) => false,
                };
                let peers = self.routing.peers();
                let gone = peers.filter(|(_, peer)| peer.bfd.is_some() && is_meant(&peer.place));
                let gone: Vec<PeerId> = gone.map(|(id, _)| id).collect();
                for id in gone {
                    self.tell(Event::PathDown(id));
                }
            }
            Order::Drain => self.tell(Event::Drain),
            Order::Undrain => self.tell(Event::Undrain),
            Order::Stop(reply) => {
                self.tell(Event::Stop);
                self.lines.finish(LAST_WORDS).await;
                let _ = reply.send(());
            }
            Order::Restart(reply) => {
                self.listeners.close();
                self.tell(Event::Restart);
                self.lines.finish(LAST_WORDS).await;
                let _ = reply.send(());
            }
            Order::Ask(name, ask, reply) => {
                let mut peers = self.routing.peers();
                let id = peers.find(|(_, peer)| peer.name == name).map(|it| it.0);
                drop(peers);
                let _ = reply.send(id.is_some());
                if let Some(id) = id {
                    self.tell(Event::Bgp(match ask {
                        api::http::BgpAsk::Reset => bgp::Event::Reset(id),
                        api::http::BgpAsk::Refresh => bgp::Event::Refresh(id),
                    }));
                }
            }
            Order::Show(reply) => {
                let _ = reply.send(self.picture());
            }
        }
    }

    /// The first IPv4 address of the interfaces that the configuration names, if it gives no identifier.
    fn router_id(&self) -> Option<Ipv4Addr> {
        let intent = self.intent.as_ref()?;
        let written = intent.bgp.as_ref()?.router_id;
        let mut named = intent.interfaces.iter().filter_map(|interface| {
            let link = self.links.iter().find(|it| it.name == interface.name)?;
            link.addresses.first().copied()
        });
        written.or_else(|| named.next())
    }

    /// Packets that were translated until now; looked at only while that matters.
    fn packets(&self) -> u64 {
        if self.routing.drain().phase() != drain::Phase::Ebbing {
            return 0;
        }
        let reasons = [Reason::TranslatedOut, Reason::TranslatedIn];
        let counts = reasons.map(|it| crate::driver::counted(&self.tables, it).packets);
        counts.iter().sum()
    }

    fn listen(&mut self) {
        let bgp = self.intent.as_ref().and_then(|it| it.bgp.as_ref());
        let Some(bgp) = bgp else {
            self.listeners.close();
            self.notes.clear();
            return;
        };
        match self.listeners.open(bgp) {
            Ok(()) => drop(self.notes.remove("listen")),
            Err(error) => {
                let note = match error.kind() == io::ErrorKind::Unsupported {
                    true => format!("{error}; there is no session with it"),
                    false => format!(
                        "cannot listen for BGP peers on port {}: {error}; it is tried again, and peers are \
                         called meanwhile",
                        bgp.port
                    ),
                };
                if self.notes.get("listen") != Some(&note) {
                    tracing::error!("{note}");
                }
                self.notes.insert("listen", note);
            }
        }
    }

    /// Looks for peers of which only the interface is known.
    fn look_around(&mut self) {
        let bgp = self.intent.as_ref().and_then(|it| it.bgp.as_ref());
        match self.adjacent.configure(bgp, &self.links) {
            None => drop(self.notes.remove("adjacent")),
            Some(note) => {
                if self.notes.get("adjacent") != Some(&note) {
                    tracing::error!("{note}");
                }
                self.notes.insert("adjacent", note);
            }
        }
    }

    /// Calls those at once who have just been found, unless there is a session already.
    fn meet(&mut self) {
        for interface in self.adjacent.hear() {
            let is_there = |place: &Place| *place == Place::Interface(interface.clone());
            let mut peers = self.routing.peers();
            let Some((id, _)) = peers.find(|(_, peer)| is_there(&peer.place)) else {
                continue;
            };
            drop(peers);
            let snapshot = self.routing.snapshot();
            let is_open = |it: &PeerSnapshot| it.id == id && it.state == State::Established;
            if !snapshot.iter().any(is_open) {
                self.tell(Event::Bgp(bgp::Event::Reset(id)));
            }
        }
    }

    /// The interface that somebody on its link called by.
    fn called_by(&self, remote: SocketAddr) -> Option<&str> {
        match remote {
            SocketAddr::V6(remote) => self.adjacent.interface(remote.scope_id()),
            SocketAddr::V4(_) => None,
        }
    }

    fn accept(&mut self, accepted: io::Result<(tokio::net::TcpStream, SocketAddr)>) {
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a BGP peer could not be let in");
                return;
            }
        };
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let ends = self.ends(local);
        let called_by = self.called_by(caller).map(str::to_owned);
        let interface = called_by.or_else(|| self.interface_of(canonical(local.ip())));
        let remote = canonical(caller.ip());
        let id = self.routing.caller(remote, interface.as_deref());
        let peer = id.and_then(|id| Some((id, self.routing.peer(id)?)));
        let Some((id, peer)) = peer else {
            tracing::info!(address = %remote, "somebody called who is no BGP peer of the configuration");
            return;
        };
        let distance = lines::distance(peer);
        if let Err(error) = kernel::tcp::set_distance(&stream, remote, distance) {
            tracing::warn!(peer = peer.name, %error, "cannot limit how far a BGP peer may be");
            return;
        }
        if let SocketAddr::V6(caller) = caller {
            self.adjacent.called(caller);
        }
        // Between two configurations there is a moment without keys; and a kernel may have none.
        if !peer.keys.is_empty() && !kernel::tcp::ao::is_signed(&stream) {
            tracing::warn!(
                peer = peer.name,
                "a BGP peer that has keys called without one"
            );
            return;
        }
        let connection = self.lines.add_accepted(stream);
        self.tell(Event::Bgp(bgp::Event::Accepted {
            connection,
            peer: id,
            address: remote,
            ends,
        }));
    }

    fn hear(&mut self, connection: ConnectionId, happened: Happened) {
        let event = match happened {
            Happened::Connected(stream) => {
                let Ok(local) = stream.local_addr() else {
                    return;
                };
                let ends = self.ends(local);
                self.lines.add(connection, stream);
                bgp::Event::Connected { connection, ends }
            }
            Happened::Failed(kind) => bgp::Event::ConnectFailed { connection, kind },
            Happened::Received(bytes) => bgp::Event::Received { connection, bytes },
            Happened::Unsent(bytes) => bgp::Event::Unsent { connection, bytes },
            Happened::Closed(kind) => {
                self.lines.remove(connection);
                bgp::Event::Closed { connection, kind }
            }
        };
        self.tell(Event::Bgp(event));
    }

    fn tell(&mut self, event: Event) {
        let actions = self.routing.handle(event, Instant::now());
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: bgp::Action) {
        match action {
            bgp::Action::Connect { connection, peer } => {
                if let Some(peer) = self.routing.peer(peer) {
                    let to = match &peer.place {
                        Place::Address(address) => Some(SocketAddr::new(*address, peer.port)),
                        Place::Interface(name) => {
                            self.adjacent.address(name, peer.port).map(SocketAddr::V6)
                        }
                        Place::Range(_) => None,
                    };
                    self.lines.call(connection, peer, to);
                }
            }
            bgp::Action::Send { connection, bytes } => self.lines.send(connection, bytes),
            bgp::Action::Close { connection } => self.lines.close(connection),
            bgp::Action::Changed {
                peer,
                address,
                from,
                to,
                why,
            } => self.log(peer, address, (from, to), why.as_ref()),
        }
    }

    /// What operators are woken for is when a session ends; what leads to one is for those who look closely.
    fn log(
        &self,
        id: PeerId,
        address: Option<IpAddr>,
        (from, to): (State, State),
        why: Option<&bgp::Why>,
    ) {
        let peer = self.routing.peer(id).map_or("(removed)", |it| &it.name);
        let address = address.map(tracing::field::display);
        let why = why.map(ToString::to_string).unwrap_or_default();
        let state = to.label();
        match (from, to) {
            (_, State::Established) => {
                tracing::info!(peer, address, "the BGP session is established");
            }
            (State::Established, _) => {
                tracing::warn!(peer, address, state, why, "the BGP session has ended");
            }
            _ => tracing::debug!(peer, address, state, why, "the BGP session is elsewhere"),
        }
    }

    /// What our addresses on the way to a peer are, by our end of a connection.
    fn ends(&self, local: SocketAddr) -> Ends {
        let of_link = match local {
            SocketAddr::V6(it) if it.scope_id() != 0 => {
                self.links.iter().find(|link| link.ifindex == it.scope_id())
            }
            SocketAddr::V6(_) | SocketAddr::V4(_) => None,
        };
        let local = canonical(local.ip());
        let link = of_link.or_else(|| self.link_of(local));
        let other = link.and_then(|link| match local {
            IpAddr::V4(_) => link.addresses6.first().map(|it| IpAddr::V6(*it)),
            IpAddr::V6(_) => link.addresses.first().map(|it| IpAddr::V4(*it)),
        });
        Ends {
            local,
            other,
            link_local: match local {
                IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
                IpAddr::V4(_) | IpAddr::V6(_) => None,
            },
        }
    }

    fn link_of(&self, local: IpAddr) -> Option<&Link> {
        self.links.iter().find(|link| match local {
            IpAddr::V4(address) => link.addresses.contains(&address),
            IpAddr::V6(address) => link.addresses6.contains(&address),
        })
    }

    fn interface_of(&self, local: IpAddr) -> Option<String> {
        self.link_of(local).map(|link| link.name.clone())
    }

    fn picture(&self) -> Picture {
        let mut snapshots = self.routing.snapshot();
        let mut of = |id: PeerId| -> Vec<PeerSnapshot> {
            let (own, others) = std::mem::take(&mut snapshots)
                .into_iter()
                .partition(|it| it.id == id);
            snapshots = others;
            own
        };
        let peers = self.routing.peers();
        Picture {
            now: Instant::now(),
            config: self.routing.config().cloned(),
            peers: peers
                .map(|(id, peer)| {
                    let bfd = peer.bfd.clone();
                    (peer.name.clone(), peer.place.clone(), bfd, of(id))
                })
                .collect(),
            drain: self.routing.drain().clone(),
            is_serving: self.routing.is_serving(),
            notes: self.notes.values().cloned().collect(),
        }
    }

    fn show(&self) {
        let snapshots = self.routing.snapshot();
        let is_up = |it: &&PeerSnapshot| it.state == State::Established;
        let standing = Standing {
            phase: self.routing.drain().phase(),
            established: snapshots.iter().filter(is_up).count(),
            is_ebbed: self.routing.drain().ended() == Some(drain::Ended::Ebbed),
        };
        self.shown.send_if_modified(|before| {
            let is_other = *before != standing;
            *before = standing;
            is_other
        });
        let is_up = |id: PeerId| {
            let mut all = snapshots.iter();
            all.any(|it| it.id == id && it.state == State::Established)
        };
        self.introduce(is_up);
    }

    /// Says who is behind interfaces, so that the ways there can be watched. While there is a session, that is who
    /// it was begun with, whoever else is heard: its end is what BFD has to notice.
    fn introduce(&self, is_up: impl Fn(PeerId) -> bool) {
        let mut heard = self.adjacent.neighbours();
        self.met.send_if_modified(|before| {
            for (id, peer) in self.routing.peers() {
                if let Place::Interface(name) = &peer.place
                    && let (Some(known), Some(now)) = (before.get(name), heard.get_mut(name))
                    && is_up(id)
                {
                    *now = *known;
                }
            }
            let is_other = *before != heard;
            *before = heard;
            is_other
        });
    }
}

/// IPv4 as it is, also where a socket of both versions shows it in the clothes of IPv6.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Waits until then, or for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
