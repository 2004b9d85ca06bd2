//! What the daemon shows: a picture that the driver replaces as a whole, and readers share.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use api::{
    Problems,
    http::{InterfaceStatus, Program},
};
use gateway::{
    Swept,
    intent::Intent,
    mappings::{Ask, Denied, Granted, Keys, Withdraw},
    numbers::Numbers,
};
use jiff::Timestamp;
use kernel::{Tables, netlink::Link};
use tokio::sync::{mpsc, oneshot};

use crate::{
    holding::Holding, replication::Replication, routing::Routes, sessions::Sessions, ways::Ways,
};

/// What everybody in the daemon may look at.
#[derive(Clone)]
pub struct Shared {
    /// The tables of the packet path.
    pub tables: Arc<Tables>,
    view: Arc<RwLock<Arc<View>>>,
    commands: mpsc::Sender<Command>,
    /// What routers are told.
    pub routes: Routes,
    /// Which ways are watched.
    pub ways: Ways,
    /// How flows are copied to other members of a cluster.
    pub replication: Replication,
}

impl Shared {
    /// A first picture.
    pub fn new(
        tables: Arc<Tables>,
        view: View,
        commands: mpsc::Sender<Command>,
        (routes, ways, replication): (Routes, Ways, Replication),
    ) -> Self {
        Self {
            tables,
            view: Arc::new(RwLock::new(Arc::new(view))),
            commands,
            routes,
            ways,
            replication,
        }
    }

    /// The picture of this moment.
    pub fn view(&self) -> Arc<View> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the picture by a changed one.
    pub fn update(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut view));
    }

    /// Sends the driver a command, made with the way back of its answer; `None` if the driver is gone, or
    /// has too much to do.
    pub async fn command<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).ok()?;
        answer.await.ok()
    }
}

/// What somebody wants of the driver, and how they are told what became of it.
pub enum Command {
    /// Another configuration: which, and whether in earnest.
    Apply(api::http::ApplyRequest, Reply<Outcome>),
    /// A mapping.
    Ask(Ask, Reply<Result<Granted, Denied>>),
    /// A mapping no more.
    Withdraw(Withdraw, Reply<Result<Granted, Denied>>),
}

/// Who waits for an answer.
pub type Reply<T> = oneshot::Sender<T>;

/// What became of another configuration.
pub type Outcome = Result<api::http::Applied, Refused>;

/// Why a command changed nothing.
#[derive(Clone, Debug)]
pub enum Refused {
    /// The configuration is not valid.
    Invalid(Problems),
    /// It is valid but cannot be put in force now, or not be saved.
    NotNow(api::http::ApiError),
}

/// Commands that may wait for the driver. More are refused: somebody is looping.
pub const COMMANDS_MAX: usize = 16;

/// Everything there is to show that is not in the tables.
#[derive(Clone, Debug)]
pub struct View {
    /// When the daemon started.
    pub started: Timestamp,
    /// Whether it took over the tables of a predecessor.
    pub adopted: bool,
    /// The program that is loaded.
    pub program: Program,
    /// The configuration in force.
    pub config: ConfigView,
    /// What it says.
    pub intent: Arc<Intent>,
    /// The numbers of pools and addresses in the tables.
    pub numbers: Arc<Numbers>,
    /// Mappings that were granted.
    pub leases: Arc<Vec<Granted>>,
    /// Entries of mappings that should be in force and are not, because there was no room.
    pub unmapped: Arc<Keys>,
    /// The interfaces it names.
    pub interfaces: Vec<InterfaceStatus>,
    /// All interfaces of this host, to name indices.
    pub links: Arc<Vec<Link>>,
    /// What the last sweep found.
    pub sweep: SweepView,
    /// What is written down of flows.
    pub sessions: Sessions,
    /// What became of fragments that were held.
    pub holding: Holding,
    /// What an operator should know and nothing else says.
    pub notes: Vec<String>,
}

/// Where the configuration in force came from.
#[derive(Clone, Debug)]
pub struct ConfigView {
    /// The file, or `api`.
    pub source: String,
    /// When it took effect.
    pub loaded_at: Timestamp,
    /// See [`crate::config_file::Config::digest`].
    pub digest: String,
    /// Whether a restart finds it again.
    pub saved: bool,
    /// The text.
    pub text: Arc<str>,
    /// Why the last attempt to replace it failed, if it did.
    pub last_error: Option<Problems>,
}

/// What sweeps did and found.
#[derive(Clone, Debug, Default)]
pub struct SweepView {
    /// Passes since the daemon started.
    pub passes: u64,
    /// Flows removed since the daemon started.
    pub expired: u64,
    /// Half flows removed since the daemon started.
    pub orphans: u64,
    /// How long the last pass took.
    pub duration: Option<Duration>,
    /// What the last pass found.
    pub last: Arc<Swept>,
}
