//! Copies of flows: a thread that tells other members of this one's flows, and keeps those that it is told of.
//!
//! ```text
//! driver: flows that began ─┐                      ┌─► links ─► the other members
//! sweeper: what changed ────┼─► Hub ─► Exchange ───┤
//! ways: custody ────────────┘            ▲  │      └─► held, forgotten, copied, flushed ─► ways
//! links: what others say ────────────────┘  └─► Shelves: the tables
//! ```
//!
//! What is said of which bucket is decided by [`gateway::cluster`] and [`Exchange`], how it is said by [`replica`].

mod links;
mod shelves;
pub mod tls;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use abi::{Ip6, Opened, Tick};
use gateway::{
    cluster::Custody,
    copies::{
        Exchange, Terms,
        exchange::{Action, Event, Listed, Notice, Said, Standing},
    },
    intent,
};
use kernel::Tables;
use replica::{Buckets, Change};
use tokio::sync::{mpsc, oneshot, watch};

use crate::ways::Ways;
use links::{Happened, Links, Pipe};
use shelves::Shelves;

/// Orders that may wait. Whoever sweeps waits for room, whoever tells of new flows does not.
const ORDERS_MAX: usize = 64;
/// Changes in one order.
pub const CHANGES_MAX: usize = 4096;
/// News of connections that may wait; then nothing is read from them.
const NEWS_MAX: usize = 256;

/// How long until tables that cannot be read are tried again.
const LIST_AGAIN: Duration = Duration::from_secs(1);

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
        let (happenings, happened) = mpsc::channel(NEWS_MAX);
        let (lists, listed) = mpsc::channel(1);
        let hub = Hub::new((tables, ways), self.wanted, (happenings, lists));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("replication".to_owned())
            .spawn(move || runtime.block_on(hub.run(self.orders, (happened, listed))))?;
        Ok(())
    }
}

struct Hub {
    tables: Arc<Tables>,
    ways: Ways,
    wanted: watch::Receiver<Wanted>,
    custody: watch::Receiver<Option<Arc<Custody>>>,
    cluster: Option<intent::cluster::Cluster>,
    exchange: Exchange,
    links: Option<Links>,
    /// The ways to write, by the numbers of connections.
    pipes: HashMap<u64, Pipe>,
    happenings: mpsc::Sender<Happened>,
    lists: mpsc::Sender<Option<Listed>>,
}

impl Hub {
    /// A hub to which connections and lists of flows report.
    fn new(
        (tables, ways): (Arc<Tables>, Ways),
        wanted: watch::Receiver<Wanted>,
        (happenings, lists): (mpsc::Sender<Happened>, mpsc::Sender<Option<Listed>>),
    ) -> Self {
        Self {
            custody: ways.custody(),
            tables,
            ways,
            wanted,
            cluster: None,
            exchange: Exchange::new(getrandom::u64().unwrap_or(1)),
            links: None,
            pipes: HashMap::new(),
            happenings,
            lists,
        }
    }

    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        (mut happened, mut listed): (mpsc::Receiver<Happened>, mpsc::Receiver<Option<Listed>>),
    ) {
        let (mut custody, mut wanted) = (self.custody.clone(), self.wanted.clone());
        self.configure().await;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                Some(happened) = happened.recv() => self.hear(happened).await,
                Some(listed) = listed.recv() => self.handle(Event::Listed(listed)).await,
                changed = custody.changed() => match changed {
                    Ok(()) => {
                        let custody = self.custody.borrow().clone();
                        self.handle(Event::Custody(custody)).await;
                    }
                    Err(_) => return,
                },
                changed = wanted.changed() => match changed {
                    Ok(()) => self.configure().await,
                    Err(_) => return,
                },
                () = until(self.exchange.deadline()) => self.handle(Event::Tick).await,
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Began(events) => self.handle(Event::Began(events)).await,
            Order::Changed(changes) => self.handle(Event::Changed(changes)).await,
            Order::Swept(began) => self.handle(Event::Swept(began)).await,
            Order::Show(reply) => {
                let _ = reply.send(Picture {
                    peers: self.exchange.standing(Instant::now()),
                    valid_until: self.links.as_ref().and_then(Links::valid_until),
                });
            }
        }
    }

    async fn configure(&mut self) {
        let Wanted { cluster, terms } = self.wanted.borrow().clone();
        self.handle(Event::Terms(terms)).await;
        if self.cluster == cluster {
            return;
        }
        self.links = None;
        self.pipes.clear();
        let wanted = cluster
            .as_ref()
            .and_then(|it| Some((it, it.replication.clone()?)));
        let event = match &wanted {
            Some((cluster, _)) => Event::Configure {
                cluster: cluster.name.clone(),
                members: cluster.members.iter().map(|it| it.name.clone()).collect(),
                me: cluster.me,
            },
            None => Event::Configure {
                cluster: String::new(),
                members: Vec::new(),
                me: 0,
            },
        };
        self.handle(event).await;
        self.links = wanted.map(|(cluster, replication)| {
            let others: Vec<_> = cluster.others().cloned().collect();
            let happenings = self.happenings.clone();
            Links::start(cluster.address(), &others, replication, happenings)
        });
        self.cluster = cluster;
    }

    async fn hear(&mut self, Happened { news, pipe }: Happened) {
        let number = news.number;
        let is_down = matches!(news.what, Notice::Down);
        self.pipes.extend(pipe.map(|pipe| (number, pipe)));
        self.handle(Event::News(news)).await;
        if is_down {
            self.pipes.remove(&number);
        }
    }

    /// Tells the machine what happened, and does what it says.
    async fn handle(&mut self, event: Event) {
        let time = (Instant::now(), Tick::from_nanos(kernel::now()));
        let mut store = Shelves(&self.tables);
        let mut told = Vec::new();
        for action in self.exchange.handle(event, &mut store, time) {
            match action {
                Action::Send(number, bytes) => {
                    if let Some(pipe) = self.pipes.get(&number) {
                        pipe.write(bytes);
                    }
                }
                Action::Close(number) => drop(self.pipes.remove(&number)),
                Action::Tell(event) => told.push(event),
                Action::List(buckets) => self.list(buckets),
                Action::Say(member, said) => say(&member, &said),
            }
        }
        if !told.is_empty() {
            self.ways.copies(told).await;
        }
    }

    /// Begins to walk over the tables.
    fn list(&self, buckets: Buckets) {
        let (tables, lists) = (self.tables.clone(), self.lists.clone());
        tokio::task::spawn_blocking(move || {
            let listed = shelves::list(&tables, &buckets);
            if let Err(error) = &listed {
                tracing::error!(%error, "the tables cannot be read for copies");
                thread::sleep(LIST_AGAIN);
            }
            let _ = lists.blocking_send(listed.ok());
        });
    }
}

fn say(member: &str, said: &Said) {
    match said {
        Said::SendingEnds(_) | Said::ReceivingEnds(_) => tracing::warn!(member, "{said}"),
        Said::Sending(_) | Said::Receiving(_) => tracing::info!(member, "{said}"),
        Said::Table(_) => tracing::debug!(member, "{said}"),
    }
}

/// Waits until then, or for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
