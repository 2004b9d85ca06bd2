//! The one loop: waits for what happens, lets the gateway decide, acts, and keeps the picture true.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use abi::{Counter, Ip6, MappingKey, Needs, Reason};
use api::{
    Problems,
    http::{Applied, AttachMode, InterfaceStatus, Realm},
};
use gateway::{
    Action, Event, Gateway, changes,
    cluster::Moves,
    copies::Terms,
    intent::Intent,
    mappings::{Ask, Denied, Granted, Withdraw},
};
use jiff::Timestamp;
use kernel::{
    Events, Mode, Tables,
    netlink::{Change, Link, Netlink, NetlinkError, Watch},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

mod leaving;
mod signals;
mod sweeping;

use crate::{
    alarms::Alarms,
    config_file::Config,
    holding::Keeper,
    member::{self, SecretError},
    replication::Wanted,
    routing::{self, Routes},
    sessions::Sessions,
    sweeper::{Memory, Report},
    systemd,
    view::{Command, ConfigView, Outcome, Refused, Shared},
    ways,
    world::{World, WorldError},
};

use leaving::{Leaving, Left};
use signals::Signals;

/// Changes of routes and neighbours that come within this time are one change.
const SETTLE: Duration = Duration::from_millis(5);
/// Clients that a sweep names in the log; more are only counted.
const CLIENTS_TOLD: usize = 10;
/// Events of the packet path that are taken in before something else has its turn.
const EVENTS_AT_ONCE: usize = 4096;

/// Why the daemon ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The kernel refused what must be done.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Interfaces could not be listed or watched.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Signals could not be caught.
    #[error("cannot catch signals")]
    Signals(#[source] std::io::Error),
    /// The ring of events could not be waited for.
    #[error("cannot wait for events of the packet path")]
    Events(#[source] std::io::Error),
    /// There can be no thread for fragments.
    #[error("cannot start the thread that holds fragments")]
    Keeper(#[source] std::io::Error),
    /// A file that the first configuration names cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The first configuration cannot be put in force.
    #[error("the configuration cannot be put in force: {0}")]
    Refused(#[from] gateway::Refusal),
}

/// Everything the loop holds.
pub struct Driver {
    gateway: Gateway,
    world: World,
    shared: Shared,
    netlink: Netlink,
    file: PathBuf,
    /// The sweeper's; not here while it sweeps.
    memory: Option<Memory>,
    alarms: Alarms,
    sessions: Sessions,
    events: Events,
    routes: Routes,
    is_serving: bool,
}

/// How the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Routers are told, and send elsewhere.
    Leave,
    /// Another daemon takes over: routers are told nothing, and keep the routes.
    HandOver,
}

type Sweeping = JoinHandle<(Memory, std::io::Result<Report>)>;

impl Driver {
    /// A driver for a world that is loaded and a picture that shows it.
    ///
    /// # Errors
    ///
    /// If the ring of events cannot be read.
    pub fn new(
        gateway: Gateway,
        world: World,
        shared: Shared,
        netlink: Netlink,
        (file, routes): (PathBuf, Routes),
    ) -> Result<Self, DriverError> {
        let alarms = Alarms::new(|reason| counted(world.tables(), reason));
        let memory = Some(Memory::default());
        let sessions = shared.view().sessions.clone();
        let events = world.events()?;
        Ok(Self {
            gateway,
            world,
            shared,
            netlink,
            file,
            memory,
            alarms,
            sessions,
            events,
            routes,
            is_serving: false,
        })
    }

    /// Puts the first configuration in force and looks at the interfaces.
    ///
    /// # Errors
    ///
    /// See [`DriverError`].
    pub async fn start(&mut self, config: &Config) -> Result<(), DriverError> {
        if let Some(key) = member::key(&config.parsed.intent)? {
            self.gateway.handle(Event::Key(key))?;
        }
        let actions = self
            .gateway
            .handle(Event::Configure(Box::new(config.parsed.intent.clone())))?;
        self.act(actions)?;
        self.serve_intent(&config.parsed.intent)?;
        self.look_at_links().await?;
        self.route(&config.parsed.intent, self.world.adopted());
        Ok(())
    }

    /// Has routers told what an intent wants them to be told.
    fn route(&self, intent: &Intent, is_restarting: bool) {
        self.routes.order(routing::Order::Configure {
            intent: Box::new(intent.clone()),
            is_restarting,
        });
        let order = ways::Order::Configure(Box::new(intent.clone()));
        self.shared.ways.order(order);
        self.name_flows();
    }

    /// Has other members told of flows as numbers mean now.
    fn name_flows(&self) {
        let wanted = self.gateway.intent().and_then(|intent| {
            let cluster = Some(intent.copying()?.clone());
            let terms = Terms::new(intent, self.gateway.numbers(), self.gateway.seed());
            let terms = Arc::new(terms);
            Some(Wanted { cluster, terms })
        });
        self.shared.replication.want(wanted.unwrap_or_default());
    }

    /// Runs until it is told to end. SIGTERM drains first, if there are routers that send elsewhere then or members
    /// that take the flows; a second one, and SIGINT, end at once. SIGUSR1 ends so that routers wait for the next daemon.
    ///
    /// # Errors
    ///
    /// See [`DriverError`]. The packet path goes on all the same.
    pub async fn run(&mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), DriverError> {
        let mut watch = Watch::open()?;
        let mut signals = Signals::open()?;
        let mut next_sweep = Instant::now();
        let mut sweeping: Option<Sweeping> = None;
        let mut settle: Option<Instant> = None;
        let mut alive = systemd::watchdog().map(tokio::time::interval);
        // Here, where the capabilities that it does not need are given up.
        let holding = self.shared.view().holding.clone();
        let _keeper = Keeper::start(self.world.holding()?, holding).map_err(DriverError::Keeper)?;
        // What changed before the watch was open.
        self.look_at_links().await?;
        systemd::ready();
        let mut routes = self.routes.clone();
        let mut ways = self.shared.ways.clone();
        let mut moves = self.shared.ways.moves();
        let mut leaving: Option<Leaving> = None;
        let end = loop {
            tokio::select! {
                _ = signals.end.recv() => match self.begin_to_leave(leaving.is_some()) {
                    true => leaving = Some(Leaving::default()),
                    false => break End::Leave,
                },
                _ = signals.interrupt.recv() => break End::Leave,
                _ = signals.hand_over.recv() => break End::HandOver,
                () = routes.changed() => if self.has_left(leaving.as_mut()) {
                    break End::Leave;
                },
                () = moved(&mut moves) => if self.has_left(leaving.as_mut()) {
                    break End::Leave;
                },
                () = until(leaving.as_ref().and_then(Leaving::deadline)) => {
                    if self.has_left(leaving.as_mut()) {
                        break End::Leave;
                    }
                }
                () = ways.changed() => self.say_whether_serving(),
                _ = signals.reload.recv() => self.reload()?,
                change = watch.next() => match change {
                    Some(Change::Routes) => settle = settle.or(Some(Instant::now() + SETTLE)),
                    Some(Change::Links) => {
                        self.look_at_links().await?;
                        // Also a link whose MTU changed, or that went down and took its routes
                        // along without a word about them.
                        settle = settle.or(Some(Instant::now() + SETTLE));
                    }
                    Some(Change::Lost) | None => {
                        tracing::warn!("news of routes was lost; looking at everything again");
                        if change.is_none() {
                            watch = Watch::open()?;
                        }
                        self.look_at_links().await?;
                        settle = Some(Instant::now());
                    }
                },
                () = until(settle) => {
                    settle = None;
                    let actions = self.gateway.handle(Event::RoutesChanged)?;
                    self.act(actions)?;
                }
                () = until(sweeping.is_none().then_some(next_sweep)) => {
                    sweeping = self.begin_sweep();
                }
                done = ended(&mut sweeping) => {
                    sweeping = None;
                    next_sweep = Instant::now() + self.end_sweep(done)?;
                }
                command = commands.recv() => match command {
                    Some(command) => self.obey(command)?,
                    None => break End::Leave,
                },
                events = self.events.take(EVENTS_AT_ONCE) => {
                    let events = events.map_err(DriverError::Events)?;
                    self.sessions.opened(&events);
                    self.shared.replication.began(&events);
                }
                () = tick(&mut alive) => systemd::alive(),
            }
        };
        systemd::stopping();
        // Other members count on the packet path, which goes on.
        let is_empty = matches!(end, End::Leave)
            && self.routes.standing().is_ebbed
            && leaving::is_empty(moves.borrow().as_ref());
        self.shared.ways.leave(is_empty).await;
        let last_words = match end {
            End::Leave => self.routes.ask(routing::Order::Stop).await,
            End::HandOver => self.routes.ask(routing::Order::Restart).await,
        };
        if last_words.is_none() {
            tracing::warn!("the thread of BGP has ended before the daemon");
        }
        self.sessions.end();
        tracing::info!("the daemon ends; packets go on as they are");
        Ok(())
    }

    /// Has routers send elsewhere, and other members take the flows; returns whether that is to be waited for.
    fn begin_to_leave(&self, is_leaving: bool) -> bool {
        let moves = self.shared.ways.moves();
        let is_worth_it = leaving::must_wait(self.routes.standing(), moves.borrow().as_ref());
        if is_leaving || !is_worth_it {
            return false;
        }
        tracing::info!(
            "routers are asked to send elsewhere, and other members to take the flows; the daemon ends when they do"
        );
        systemd::draining();
        self.routes.order(routing::Order::Drain);
        true
    }

    /// Whether what was waited for is over; says how it ended.
    fn has_left(&self, leaving: Option<&mut Leaving>) -> bool {
        let Some(leaving) = leaving else {
            return false;
        };
        let moves = self.shared.ways.moves();
        let moves = moves.borrow();
        let left = leaving.look(
            self.routes.standing(),
            moves.as_ref(),
            Instant::now().into(),
        );
        match &left {
            None => return false,
            Some(Left::Nothing) => {}
            Some(Left::All) => tracing::info!("{}", Left::All),
            Some(left @ (Left::Untaken(_) | Left::Late(_))) => tracing::warn!("{left}"),
        }
        true
    }

    /// Tells the routes whether packets can be served, if that has changed.
    fn say_whether_serving(&mut self) {
        let links = self.shared.view().links.clone();
        let is_up = |ifindex| links.iter().any(|it| it.ifindex == ifindex && it.is_up);
        let is_serving = self.gateway.is_serving(is_up) && self.shared.ways.is_settled();
        if self.is_serving != is_serving {
            self.is_serving = is_serving;
            self.routes.order(routing::Order::Serving(is_serving));
        }
    }

    /// Does what the gateway decided, and what it decides about what came of that.
    fn act(&mut self, actions: Vec<Action>) -> Result<(), DriverError> {
        let before = self.gateway.mappings().missing().len();
        self.apply_all(actions)?;
        let missing = self.gateway.mappings().missing().len();
        if before == 0 && missing > 0 {
            tracing::error!(
                entries = missing,
                "the mapping table has no room for what was asked for; it is tried again"
            );
        }
        self.show();
        self.say_whether_serving();
        Ok(())
    }

    fn apply_all(&mut self, actions: Vec<Action>) -> Result<(), DriverError> {
        for action in actions {
            if let Some(event) = self.world.apply(action)? {
                let more = self.gateway.handle(event)?;
                self.apply_all(more)?;
            }
        }
        Ok(())
    }

    async fn look_at_links(&mut self) -> Result<(), DriverError> {
        let links = self.netlink.links().await?;
        let seen = links.iter().map(|link| gateway::Link {
            ifindex: link.ifindex,
            name: link.name.clone(),
            mac: link.mac,
            addresses: link.addresses.clone(),
            addresses6: link.addresses6.clone(),
        });
        let event = Event::Links(seen.collect());
        let links = Arc::new(links);
        self.routes.order(routing::Order::Links(links.clone()));
        self.shared.ways.order(ways::Order::Links(links.clone()));
        self.shared.update(|view| view.links = links);
        let actions = self.gateway.handle(event)?;
        self.act(actions)
    }

    fn reload(&mut self) -> Result<(), DriverError> {
        systemd::reloading();
        let (file, source) = (self.file.clone(), self.file.display().to_string());
        let outcome = match Config::read(&file) {
            Ok(config) => self.put_in_force(&config, source.clone(), true)?,
            Err(error) => Err(Refused::from(error)),
        };
        match outcome {
            Ok(applied) => tracing::info!(changes = applied.changes.len(), "reloaded"),
            Err(refused) => {
                tracing::error!(%refused, "not reloaded; nothing has changed");
                self.remember(refused.problems(&source));
            }
        }
        systemd::ready();
        Ok(())
    }

    /// Does what somebody wants, and tells them what became of it, if they still wait.
    fn obey(&mut self, command: Command) -> Result<(), DriverError> {
        match command {
            Command::Apply(request, reply) => {
                let outcome = self.serve(&request)?;
                let _ = reply.send(outcome);
            }
            Command::Ask(ask, reply) => {
                let outcome = self.grant(&ask)?;
                let _ = reply.send(outcome);
            }
            Command::Withdraw(withdraw, reply) => {
                let outcome = match self.gateway.withdraw(&withdraw) {
                    Ok((granted, actions)) => {
                        self.act(actions)?;
                        Ok(granted)
                    }
                    Err(denied) => Err(denied),
                };
                let _ = reply.send(outcome);
            }
        }
        Ok(())
    }

    fn grant(&mut self, ask: &Ask) -> Result<Result<Granted, Denied>, DriverError> {
        let tables = self.world.tables().clone();
        // An entry that cannot be read is none: the port of another one is granted then.
        let port_of = |key: &MappingKey<Ip6>| match key.narrow() {
            Some(key) => Some(tables.mappings.get(&key).ok()??.port),
            None => Some(tables.mappings6.get(key).ok()??.port),
        };
        let words = |bitmap| tables.ports.words(bitmap);
        let granted = self.gateway.ask(ask, kernel::now(), port_of, words);
        let (granted, actions) = match granted {
            Ok(granted) => granted,
            Err(denied) => return Ok(Err(denied)),
        };
        self.act(actions)?;
        if self.gateway.mappings().stands(&granted) {
            return Ok(Ok(granted));
        }
        let Granted {
            protocol,
            internal,
            owner,
            ..
        } = granted;
        let withdraw = Withdraw {
            protocol,
            internal,
            owner,
        };
        if let Ok((_, actions)) = self.gateway.withdraw(&withdraw) {
            self.act(actions)?;
        }
        Ok(Err(Denied::TableFull))
    }

    fn serve(&mut self, request: &api::http::ApplyRequest) -> Result<Outcome, DriverError> {
        let outcome = match Config::judge(&request.file, request.text.as_bytes()) {
            Ok(config) if request.dry_run => self.try_out(&config),
            Ok(config) => self.apply(&config, request.save)?,
            Err(problems) => Err(Refused::Invalid(problems)),
        };
        match &outcome {
            _ if request.dry_run => {}
            Ok(applied) => {
                tracing::info!(
                    file = request.file,
                    changes = applied.changes.len(),
                    "applied"
                );
            }
            Err(refused) => self.remember(refused.problems(&request.file)),
        }
        Ok(outcome)
    }

    fn try_out(&self, config: &Config) -> Outcome {
        self.judge(config).map(|_| self.difference(config))
    }

    /// Saves first, if that is wanted: what is in force and was to be saved is in the file.
    fn apply(&mut self, config: &Config, save: bool) -> Result<Outcome, DriverError> {
        if !save {
            return self.put_in_force(config, "api".to_owned(), false);
        }
        if let Err(refused) = self.judge(config) {
            return Ok(Err(refused));
        }
        if let Err(error) = config.save(&self.file) {
            return Ok(Err(Refused::unsaved(&self.file, &error)));
        }
        self.put_in_force(config, self.file.display().to_string(), true)
    }

    /// The key that a valid configuration wants hashes to have, or why it cannot be put in force now.
    fn judge(&self, config: &Config) -> Result<Option<u64>, Refused> {
        let intent = &config.parsed.intent;
        let state = &self.shared.view().intent.state;
        if intent.state != *state {
            return Err(Refused::state_moves(state));
        }
        let key = member::key(intent).map_err(|error| Refused::without_secret(&error))?;
        let attempt = Event::Configure(Box::new(intent.clone()));
        let tried = self.gateway.clone().handle(attempt);
        tried.map_err(|refusal| Refused::by_gateway(&refusal))?;
        Ok(key)
    }

    fn put_in_force(
        &mut self,
        config: &Config,
        source: String,
        saved: bool,
    ) -> Result<Outcome, DriverError> {
        let key = match self.judge(config) {
            Ok(key) => key,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(error) = self.load_programs(&config.parsed.intent) {
            return Ok(Err(Refused::by_kernel(&error)));
        }
        let difference = self.difference(config);
        if let Some(key) = key {
            self.gateway.handle(Event::Key(key))?;
        }
        let event = Event::Configure(Box::new(config.parsed.intent.clone()));
        let actions = self.gateway.handle(event)?;
        self.act(actions)?;
        self.serve_intent(&config.parsed.intent)?;
        self.route(&config.parsed.intent, false);
        for warning in &config.parsed.warnings {
            tracing::warn!("{warning}");
        }
        self.shared.update(|view| {
            view.intent = Arc::new(config.parsed.intent.clone());
            view.config = ConfigView {
                source,
                loaded_at: Timestamp::now(),
                digest: config.digest(),
                saved,
                text: config.text.as_str().into(),
                last_error: None,
            };
        });
        self.show();
        Ok(Ok(Applied {
            applied: true,
            saved,
            ..difference
        }))
    }

    /// Whether there may be programs to load yet.
    pub fn may_load(&self) -> bool {
        self.world.program().needs() != Needs::ALL
    }

    /// Loads the programs that an intent needs and that are not there. It takes a second, in which
    /// packets go on and nothing else does.
    fn load_programs(&mut self, intent: &Intent) -> Result<(), WorldError> {
        let (has, needs) = (self.world.program().needs(), intent.needs());
        if has.and(needs) == has {
            return Ok(());
        }
        self.world.load(needs)?;
        let instructions = self.world.program().verified_instructions();
        let Needs {
            ipv6,
            fixed,
            cluster,
        } = self.world.program().needs();
        tracing::info!(
            instructions,
            ipv6,
            prefixes = fixed,
            cluster,
            "loaded more programs"
        );
        self.shared
            .update(|view| view.program.instructions = instructions.map(u64::from));
        Ok(())
    }

    /// Does what an intent wants of others than the gateway.
    fn serve_intent(&self, intent: &Intent) -> Result<(), DriverError> {
        if intent.has_ipv6() {
            self.world.forward_ipv6();
        }
        self.sessions.configure(intent.log.as_ref());
        let are_wanted = self.sessions.wants_opened() || intent.copying().is_some();
        self.world.want_events(are_wanted)?;
        self.sessions.assign(intent);
        Ok(())
    }

    fn difference(&self, config: &Config) -> Applied {
        Applied {
            changes: changes::between(&self.shared.view().intent, &config.parsed.intent),
            warnings: config.parsed.warnings.clone(),
            applied: false,
            saved: false,
        }
    }

    fn remember(&self, problems: Problems) {
        self.shared
            .update(|view| view.config.last_error = Some(problems));
    }

    /// Brings the picture up to date with the gateway.
    fn show(&self) {
        let interfaces = self.gateway.wanted_links().map(|(interface, link)| {
            let attached = link.and_then(|link| self.world.attached(link.ifindex));
            InterfaceStatus {
                name: interface.name.clone(),
                ifindex: link.map(|link| link.ifindex),
                realm: match interface.realm {
                    abi::Realm::Internal => Realm::Internal,
                    abi::Realm::External => Realm::External,
                    abi::Realm::Both => Realm::Both,
                },
                mode: attached.map(|attached| match attached.mode {
                    Mode::Native => AttachMode::Native,
                    Mode::Generic => AttachMode::Generic,
                }),
                attached: attached.is_some(),
                pinned: attached.is_some(),
                addresses: link.map(own_addresses).unwrap_or_default(),
            }
        });
        let interfaces = interfaces.collect();
        let notes = self.notes();
        let numbers = self.gateway.numbers();
        self.sessions.name_pools(numbers);
        self.name_flows();
        self.shared.update(|view| {
            view.interfaces = interfaces;
            if !view.leases.iter().eq(self.gateway.mappings().leases()) {
                view.leases = Arc::new(self.gateway.mappings().leases().copied().collect());
            }
            let missing = self.gateway.mappings().missing();
            if *view.unmapped != missing {
                view.unmapped = Arc::new(missing);
            }
            view.notes = notes;
            if *view.numbers != *numbers {
                view.numbers = Arc::new(numbers.clone());
            }
        });
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (interface, link) in self.gateway.wanted_links() {
            match link {
                None => notes.push(format!(
                    "interface {} does not exist; it is attached to when it appears",
                    interface.name
                )),
                Some(link) if self.world.attached(link.ifindex).is_none() => notes.push(format!(
                    "interface {} is not attached to; the log says why",
                    interface.name
                )),
                Some(_) => {}
            }
        }
        let missing = self.gateway.mappings().missing().len();
        if missing > 0 {
            notes.push(format!(
                "the mapping table has no room for {missing} entries of mappings that were asked \
                 for; they are tried again each second. Raise limits.flows, or limits.flows6"
            ));
        }
        let tables = self.world.tables();
        let limits = self.gateway.intent().map(|intent| intent.limits);
        let flows = tables.flows.max() / 2;
        if let Some(limits) = limits.filter(|limits| limits.flows != flows) {
            notes.push(format!(
                "the tables were made for {flows} flows and the configuration asks for {}; \
                 `egretd --uninstall` removes them, with their flows, and the next start makes \
                 them anew",
                limits.flows
            ));
        }
        let flows6 = tables.flows6.max() / 2;
        if let Some(limits) = limits.filter(|limits| limits.flows6 != flows6) {
            notes.push(format!(
                "the tables were made for {flows6} flows with IPv6 addresses and the configuration \
                 asks for {}; the next start makes them anew, if there is no such flow then",
                limits.flows6
            ));
        }
        notes
    }
}

/// Packets that left the packet path for a reason, on all CPUs.
pub(crate) fn counted(tables: &Tables, reason: Reason) -> Counter {
    let values = tables.counters.get(reason as u32).unwrap_or_default();
    values.into_iter().fold(Counter::default(), Counter::plus)
}

/// Waits until something else is on its way between members, or for ever.
async fn moved(moves: &mut watch::Receiver<Option<Moves>>) {
    if moves.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn ended(
    sweeping: &mut Option<Sweeping>,
) -> Result<(Memory, std::io::Result<Report>), tokio::task::JoinError> {
    match sweeping {
        Some(sweeping) => sweeping.await,
        None => std::future::pending().await,
    }
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn own_addresses(link: &gateway::Link) -> Vec<IpAddr> {
    let v4 = link.addresses.iter().copied().map(IpAddr::V4);
    let v6 = link.addresses6.iter().copied().map(IpAddr::V6);
    v4.chain(v6).collect()
}

/// The names of interfaces by index, for those that show flows.
pub fn interface_name(links: &[Link], ifindex: u32) -> Option<&str> {
    links
        .iter()
        .find(|link| link.ifindex == ifindex)
        .map(|link| link.name.as_str())
}
