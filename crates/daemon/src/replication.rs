//! Copies of flows: a thread that tells other members of this one's flows, and keeps those that it is told of.
//!
//! ```text
//! driver: flows that began ─┐                         ┌─► replica::Sender ─► links ─► the other members
//! sweeper: what changed ────┼─► Hub: whose bucket is ─┤
//! ways: custody ────────────┘   copied to whom        └─► replica::Receiver ◄─ links ◄─ the other members
//!    ▲                                                          └─► copies::adopt ─► the tables
//!    └── held, forgotten, copied, flushed
//! ```
//!
//! What is said of a bucket is decided by [`gateway::cluster`], how it is said by [`replica`], what a flow is by
//! [`gateway::copies`].

mod links;
mod peer;
mod shelves;
pub mod tls;

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use abi::{FlowKey, Ip6, Opened, Protocol};
use gateway::{
    cluster::{Custody, Role},
    copies::{self, Terms, Which},
    intent,
    sweep::{Part, Parts},
};
use kernel::Tables;
use replica::{Buckets, Change, Importance, Name, Settings, VERSIONS, What};
use tokio::sync::{mpsc, oneshot, watch};

use crate::ways::Ways;
use links::{Links, News};
pub use peer::{Adopted, Standing};
use peer::{Ground, Peer};

/// Orders that may wait. Whoever sweeps waits for room, whoever tells of new flows does not.
const ORDERS_MAX: usize = 64;
/// Changes in one order.
pub const CHANGES_MAX: usize = 4096;
/// News of connections that may wait; then nothing is read from them.
const NEWS_MAX: usize = 256;

/// How long until tables that cannot be read are tried again.
const WALK_AGAIN: Duration = Duration::from_secs(1);

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The cluster, if its members copy flows.
    pub cluster: Option<intent::cluster::Cluster>,
    /// What numbers mean.
    pub terms: Arc<Terms>,
}

/// What the rest of the daemon tells, and asks.
pub enum Order {
    /// These flows began. More is not known of them if this is lost: a sweep finds them.
    Began(Vec<Opened<Ip6>>),
    /// A sweep found this.
    Changed(Vec<Change>),
    /// The sweep that began then has ended, and all that it found was said.
    Swept(Instant),
    /// How it stands.
    Show(oneshot::Sender<Picture>),
}

/// How it stands.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// By the name of the other member.
    pub peers: BTreeMap<String, Standing>,
    /// Until when this member's certificate is good.
    pub valid_until: Option<SystemTime>,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub struct Replication {
    orders: mpsc::Sender<Order>,
    wanted: Arc<watch::Sender<Wanted>>,
}

/// What becomes the thread.
pub struct Unstarted {
    orders: mpsc::Receiver<Order>,
    wanted: watch::Receiver<Wanted>,
}

impl Replication {
    /// A thread that is not started yet.
    pub fn unstarted() -> (Self, Unstarted) {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (wanting, wanted) = watch::channel(Wanted::default());
        let replication = Self {
            orders,
            wanted: Arc::new(wanting),
        };
        let unstarted = Unstarted {
            orders: received,
            wanted,
        };
        (replication, unstarted)
    }

    /// Puts this in force.
    pub fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|it| {
            let is_other = *it != wanted;
            *it = wanted;
            is_other
        });
    }

    /// What is in force.
    pub fn wanted(&self) -> Wanted {
        self.wanted.borrow().clone()
    }

    /// Tells of flows that began, if there is room.
    pub fn began(&self, events: &[Opened<Ip6>]) {
        if !events.is_empty() && self.wanted.borrow().cluster.is_some() {
            let _ = self.orders.try_send(Order::Began(events.to_vec()));
        }
    }

    /// Tells what a sweep found, which began then; waits for room.
    pub fn swept(&self, mut changes: Vec<Change>, began: Instant) {
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(CHANGES_MAX));
            let some = std::mem::replace(&mut changes, rest);
            let _ = self.orders.blocking_send(Order::Changed(some));
        }
        let _ = self.orders.blocking_send(Order::Swept(began));
    }

    /// How it stands; nothing if the thread is gone.
    pub async fn picture(&self) -> Option<Picture> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Show(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Unstarted {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If there can be none.
    pub fn start(self, tables: Arc<Tables>, ways: Ways) -> io::Result<()> {
        let (news, reports) = mpsc::channel(NEWS_MAX);
        let (walks, walked) = mpsc::channel(1);
        let hub = Hub::new((tables, ways), self.wanted, (news, walks));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("replication".to_owned())
            .spawn(move || runtime.block_on(hub.run(self.orders, (reports, walked))))?;
        Ok(())
    }
}

/// The key and value of a flow's way out, or that it is gone, as a change.
pub fn change(bucket: u8, key: Vec<u8>, value: Option<(Vec<u8>, Importance)>) -> Change {
    let what = match value {
        Some((value, importance)) => What::Put {
            value,
            importance,
            is_new: false,
        },
        None => What::Remove,
    };
    Change { bucket, key, what }
}

/// What a sweep that begins now must know of who has to do with which flows.
pub fn parts(custody: &Custody) -> Parts {
    let (now, nanos) = (Instant::now(), kernel::now());
    std::array::from_fn(|bucket| match custody.roles.get(bucket) {
        Some(role @ Role::Serves { .. }) => {
            let since = role.heard_since(now).unwrap_or(now);
            let ago = now.saturating_duration_since(since).as_nanos();
            Part::Serves(nanos.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX)))
        }
        Some(Role::Keeps) if custody.switched.iter().any(|it| usize::from(*it) == bucket) => {
            Part::Hands
        }
        Some(Role::Keeps) => Part::Keeps,
        Some(Role::Nothing) | None => Part::Nothing,
    })
}

/// The flows that a walk over the tables found, by bucket.
type Walked = io::Result<BTreeMap<u8, Vec<Which>>>;

struct Hub {
    ground: Ground,
    ways: Ways,
    wanted: watch::Receiver<Wanted>,
    custody: watch::Receiver<Option<Arc<Custody>>>,
    cluster: Option<intent::cluster::Cluster>,
    links: Option<Links>,
    peers: BTreeMap<String, Peer>,
    /// Another one after each start, so that others know that what they know is of before.
    instance: u64,
    news: mpsc::Sender<News>,
    walks: mpsc::Sender<Walked>,
    is_walking: bool,
}

impl Hub {
    /// A hub that tells connections and walks where to report.
    fn new(
        (tables, ways): (Arc<Tables>, Ways),
        wanted: watch::Receiver<Wanted>,
        (news, walks): (mpsc::Sender<News>, mpsc::Sender<Walked>),
    ) -> Self {
        Self {
            ground: Ground {
                tables,
                terms: Arc::default(),
                custody: None,
                said: Vec::new(),
                passed_on: Vec::new(),
            },
            custody: ways.custody(),
            ways,
            wanted,
            cluster: None,
            links: None,
            peers: BTreeMap::new(),
            instance: getrandom::u64().unwrap_or(1),
            news,
            walks,
            is_walking: false,
        }
    }

    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        (mut reports, mut walked): (mpsc::Receiver<News>, mpsc::Receiver<Walked>),
    ) {
        let (mut custody, mut wanted) = (self.custody.clone(), self.wanted.clone());
        self.configure();
        loop {
            let deadline = self.peers.values().filter_map(Peer::deadline).min();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                Some(news) = reports.recv() => self.hear(news),
                Some(found) = walked.recv() => self.take_walk(found),
                changed = custody.changed() => match changed {
                    Ok(()) => self.entrust(),
                    Err(_) => return,
                },
                changed = wanted.changed() => match changed {
                    Ok(()) => self.configure(),
                    Err(_) => return,
                },
                () = until(deadline) => {}
            }
            self.settle();
            for change in std::mem::take(&mut self.ground.passed_on) {
                self.tell(change);
            }
            if !self.ground.said.is_empty() {
                let said = std::mem::take(&mut self.ground.said);
                self.ways.copies(said).await;
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Began(events) => self.began(&events),
            Order::Changed(changes) => {
                for change in changes {
                    self.tell(change);
                }
            }
            Order::Swept(began) => {
                for peer in self.peers.values_mut() {
                    peer.swept(began);
                }
            }
            Order::Show(reply) => {
                let now = Instant::now();
                let peers = self.peers.iter();
                let picture = Picture {
                    peers: peers
                        .map(|(name, peer)| (name.clone(), peer.standing(now)))
                        .collect(),
                    valid_until: self.links.as_ref().and_then(Links::valid_until),
                };
                let _ = reply.send(picture);
            }
        }
    }

    fn configure(&mut self) {
        let Wanted { cluster, terms } = self.wanted.borrow().clone();
        self.ground.terms = terms;
        if self.cluster == cluster {
            return;
        }
        self.cluster = cluster;
        // Connections are made anew; streams go on where they were.
        self.links = None;
        let wanted = self.cluster.as_ref();
        let wanted = wanted.and_then(|it| Some((it, it.replication.clone()?)));
        let Some((cluster, replication)) = wanted else {
            self.peers.clear();
            return;
        };
        let others: Vec<_> = cluster.others().cloned().collect();
        self.peers
            .retain(|name, _| others.iter().any(|it| it.name == *name));
        let own = cluster.members.get(cluster.me);
        let own = own.map_or("", |it| it.name.as_str());
        for (number, member) in cluster.members.iter().enumerate() {
            if number == cluster.me {
                continue;
            }
            let settings = settings(&cluster.name, own, &member.name);
            let Some(settings) = settings else {
                tracing::error!(
                    member = member.name,
                    "its name is too long to copy flows to it"
                );
                continue;
            };
            let instance = self.instance;
            let peer = self.peers.entry(member.name.clone());
            let peer = peer.or_insert_with(|| Peer::new(&settings, instance));
            peer.number = number as u8;
            peer.disconnected();
        }
        let links = Links::start(cluster.address(), &others, replication, self.news.clone());
        self.links = Some(links);
        self.entrust();
    }

    /// Takes note of what this member has to do with which flows now.
    fn look(&mut self) {
        self.ground.custody = self.custody.borrow().clone();
    }

    /// Each member is told of the buckets that are copied to it.
    fn entrust(&mut self) {
        self.look();
        let Some(custody) = &self.ground.custody else {
            return;
        };
        let now = Instant::now();
        for peer in self.peers.values_mut() {
            peer.entrust(custody, now);
        }
    }

    fn hear(&mut self, news: News) {
        self.look();
        let Some(peer) = self.peers.get_mut(&news.member) else {
            return;
        };
        peer.hear(news.end, (news.number, news.what), &mut self.ground);
    }

    /// Tells whoever keeps copies of these flows that they began.
    fn began(&mut self, events: &[Opened<Ip6>]) {
        for event in events {
            let Some(protocol) = Protocol::from_number(event.asked.protocol) else {
                continue;
            };
            let narrow = event.asked.tuple.narrow();
            let narrow = narrow.map(|tuple| Which::V4(FlowKey::new(protocol, tuple)));
            let mut tables = narrow.into_iter().chain([Which::V6(event.asked)]);
            // A flow that cannot be read now is found by a sweep.
            let read =
                |it: Which| shelves::record(&self.ground.tables, &it, &self.ground.terms).ok()?;
            let found = tables.find_map(read);
            if let Some((bucket, record)) = found {
                let value = (record.value, Importance::Opening);
                self.tell(change(bucket, record.key, Some(value)));
            }
        }
    }

    /// Tells a change to whom its bucket is copied.
    fn tell(&mut self, change: Change) {
        self.look();
        let Some(to) = self.ground.copied_to(change.bucket) else {
            return;
        };
        if let Some(peer) = self.peers.values_mut().find(|it| it.number == to) {
            peer.changed(change);
        }
    }

    /// Does what has become due.
    fn settle(&mut self) {
        self.look();
        let now = Instant::now();
        for peer in self.peers.values_mut() {
            peer.settle(now, &mut self.ground);
        }
        self.walk();
    }

    /// Begins to walk over the tables if somebody waits for what is there.
    fn walk(&mut self) {
        if self.is_walking {
            return;
        }
        let wanted = self.peers.values_mut().flat_map(Peer::wants);
        let buckets: Buckets = wanted.collect();
        if buckets.is_empty() {
            return;
        }
        self.is_walking = true;
        let (tables, walks) = (self.ground.tables.clone(), self.walks.clone());
        tokio::task::spawn_blocking(move || {
            let listed = shelves::list(&tables, &buckets);
            if listed.is_err() {
                thread::sleep(WALK_AGAIN);
            }
            let _ = walks.blocking_send(listed);
        });
    }

    fn take_walk(&mut self, found: Walked) {
        self.look();
        self.is_walking = false;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the tables cannot be read for copies");
                self.peers.values_mut().for_each(Peer::not_walked);
                return;
            }
        };
        for peer in self.peers.values_mut() {
            peer.walked(&found, &self.ground);
        }
    }
}

fn settings(cluster: &str, own: &str, peer: &str) -> Option<Settings> {
    Some(Settings {
        cluster: Name::new(cluster).ok()?,
        member: Name::new(own).ok()?,
        peer: Name::new(peer).ok()?,
        format: copies::FORMAT,
        versions: VERSIONS,
        limits: replica::Limits::default(),
    })
}

/// Waits until then, or for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The longest pause between two looks at what waits, while something is handed over.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
