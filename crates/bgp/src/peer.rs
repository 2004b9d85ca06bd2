//! One peer: it is called, or calls; of two connections one is kept (RFC 4271 §6.8); what comes is answered
//! (§8.2.2); and when a session ends, it is said why, and tried again.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    Action, Config, ConnectionId, Family, Farewell, PeerId, PeerSettings, Table,
    capability::{Capabilities, GracefulRestart},
    connection::{Connection, Phase},
    history::History,
    inbound::Inbound,
    message::{
        Kind, framed,
        notification::Notification,
        open::Open,
        refresh::{Refresh, Subtype},
    },
    outbound::Outbound,
    random::Random,
    settings::Ends,
    snapshot::State,
};

mod calling;
mod hearing;
mod snapshot;
mod why;

pub use why::Why;

/// Nobody says more often that it is there (RFC 4271 §4.4).
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);
/// A session that was established for so long says that all is well.
const SETTLED: Duration = Duration::from_secs(60);
/// A peer that announces too much is left alone for so long.
const PENANCE: Duration = Duration::from_secs(300);
/// Bytes that wait to be sent; while there are more, nothing new is said.
const UNSENT_MAX: usize = 1 << 18;

/// What a peer needs of its surroundings.
pub(crate) struct Context<'a> {
    pub config: &'a Config,
    /// Whether routes were kept for us while we were away, which is true for a while only.
    pub is_restarting: bool,
    pub farewell: &'a Farewell,
    pub random: &'a mut Random,
    pub next_call: &'a mut u64,
    pub actions: &'a mut Vec<Action>,
    pub now: Instant,
}

/// One peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    id: PeerId,
    /// Of one of a range.
    address: Option<IpAddr>,
    settings: PeerSettings,
    wish: Table,
    call: Call,
    /// Three at most: one that is established, one of ours and one of its that may become it.
    connections: Vec<Connection>,
    inbound: Inbound,
    /// What is kept for its return is kept until then.
    stale_until: Option<Instant>,
    failures: u32,
    /// It is left alone for good.
    is_over: bool,
    shown: Shown,
}

/// How we call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Not at all: it calls, or there is a connection.
    Never,
    /// At this time.
    At(Instant),
    /// Just now; if nothing comes of it until then, nothing will.
    Calling(ConnectionId, Instant),
    /// It is left alone until then, and not let in.
    Held(Instant),
}

/// What people see.
#[derive(Clone, Debug)]
struct Shown {
    state: State,
    since: Instant,
    established_times: u64,
    last_down: Option<(Instant, String)>,
    notification_received: Option<String>,
    notification_sent: Option<String>,
    sent: BTreeMap<Kind, u64>,
    received: BTreeMap<Kind, u64>,
    history: History,
}

impl Peer {
    /// One that is called at once, if it is.
    pub fn new(id: PeerId, address: Option<IpAddr>, settings: PeerSettings, now: Instant) -> Self {
        let call = match settings.is_called && !settings.is_range {
            true => Call::At(now),
            false => Call::Never,
        };
        Self {
            id,
            address,
            settings,
            wish: Table::new(),
            call,
            connections: Vec::new(),
            inbound: Inbound::default(),
            stale_until: None,
            failures: 0,
            is_over: false,
            shown: Shown {
                state: State::Idle,
                since: now,
                established_times: 0,
                last_down: None,
                notification_received: None,
                notification_sent: None,
                sent: BTreeMap::new(),
                received: BTreeMap::new(),
                history: History::default(),
            },
        }
    }

    /// Whether it has this connection, or an attempt of that number.
    pub fn has(&self, connection: ConnectionId) -> bool {
        matches!(self.call, Call::Calling(id, _) if id == connection)
            || self.connections.iter().any(|it| it.id == connection)
    }

    /// Whether there is anything of it.
    pub fn is_gone(&self) -> bool {
        self.connections.is_empty() && self.stale_until.is_none()
    }

    pub fn settings(&self) -> &PeerSettings {
        &self.settings
    }

    /// When a timer of its ends.
    pub fn deadline(&self) -> Option<Instant> {
        let call = match self.call {
            Call::Never => None,
            Call::At(at) | Call::Calling(_, at) | Call::Held(at) => Some(at),
        };
        let connections = self.connections.iter().filter_map(Connection::deadline);
        let outbound = self.connections.iter().filter_map(|it| {
            let is_open = it.unsent <= UNSENT_MAX;
            it.outbound()?.deadline().filter(|_| is_open)
        });
        connections
            .chain(outbound)
            .chain(call)
            .chain(self.stale_until)
            .min()
    }

    /// Other settings; a session that they are about begins anew.
    pub fn configure(&mut self, settings: PeerSettings, is_other: bool, context: &mut Context<'_>) {
        let is_other = is_other || self.settings.needs_new_session(&settings);
        self.settings = settings;
        if is_other {
            self.end_all(
                &Notification::CONFIGURATION_CHANGE,
                Why::Configured,
                context,
            );
            self.failures = 0;
        }
        let waits = matches!(self.call, Call::Never | Call::At(_));
        if waits && (self.connections.is_empty() || !self.is_called()) {
            self.call_at(context.now);
        }
        self.say_again();
        self.settle(None, context);
    }

    /// What it is to be told.
    pub fn announce(&mut self, wish: Table, context: &mut Context<'_>) {
        if self.wish != wish {
            self.wish = wish;
            self.say_again();
        }
        self.settle(None, context);
    }

    /// Something that is said of everything has changed.
    pub fn say_again(&mut self) {
        let connections = self.connections.iter_mut();
        connections
            .filter_map(Connection::outbound_mut)
            .for_each(Outbound::change);
    }

    /// It called.
    pub fn accepted(&mut self, id: ConnectionId, ends: Ends, context: &mut Context<'_>) {
        let is_first =
            |it: &Connection| matches!(it.id, ConnectionId::Accepted(_)) && !it.is_established();
        let before = self.connections.iter().position(is_first);
        let is_leaving = matches!(context.farewell, Farewell::Stop { .. });
        if is_leaving || self.is_over || matches!(self.call, Call::Held(_)) {
            context.actions.push(Action::Close { connection: id });
            self.note("a connection was refused", context);
            return;
        }
        // One that calls again has given its first call up, unless that is established: its OPEN decides.
        if let Some(index) = before {
            let why = Why::CalledAgain;
            self.drop_at(index, Some(&Notification::COLLISION), why, context);
        }
        // Whoever calls need not be called.
        if let Call::At(_) = self.call {
            self.call = Call::Never;
        }
        self.begin(id, ends, context);
    }

    fn begin(&mut self, id: ConnectionId, ends: Ends, context: &mut Context<'_>) {
        let mut connection = Connection::new(id, ends, context.now);
        let open = self.open(context);
        self.send(&mut connection, Kind::Open, &open.body(), context);
        self.connections.push(connection);
        self.settle(None, context);
    }

    /// What we say of ourselves.
    fn open(&self, context: &Context<'_>) -> Open {
        let families = self.settings.families.clone();
        let restart = context.config.restart.map(|restart| GracefulRestart {
            is_restarting: context.is_restarting,
            on_notification: true,
            time: u16::try_from(restart.time.as_secs()).unwrap_or(u16::MAX),
            families: families
                .iter()
                .map(|it| (*it, restart.keeps_forwarding))
                .collect(),
        });
        Open {
            asn: context.config.asn,
            hold_time: u16::try_from(self.settings.hold_time.as_secs()).unwrap_or(u16::MAX),
            id: context.config.id,
            capabilities: Capabilities {
                extended_next_hop: families.contains(&Family::Ipv4),
                families,
                refresh: true,
                enhanced_refresh: true,
                extended_message: true,
                four_octet: Some(context.config.asn),
                restart,
            },
        }
    }

    /// The kernel took something; these bytes still wait.
    pub fn unsent(&mut self, id: ConnectionId, bytes: usize, context: &mut Context<'_>) {
        if let Some(connection) = self.connections.iter_mut().find(|it| it.id == id) {
            connection.taken(bytes, context.now);
        }
        self.settle(None, context);
    }

    /// A connection is gone.
    pub fn closed(&mut self, id: ConnectionId, kind: Option<ErrorKind>, context: &mut Context<'_>) {
        if let Some(index) = self.connections.iter().position(|it| it.id == id) {
            let connection = self.connections.remove(index);
            self.lost(&connection, &Why::ConnectionLost(kind), true, context);
            self.settle(Some(Why::ConnectionLost(kind)), context);
        }
    }

    /// The way to it is gone (RFC 5882 §4.2, RFC 9384).
    pub fn path_down(&mut self, context: &mut Context<'_>) {
        if self.connections.iter().any(Connection::is_established) {
            self.end_all(&Notification::BFD_DOWN, Why::PathDown, context);
            self.failures = 0;
            self.call_later(self.settings.connect_retry, context);
            self.settle(None, context);
        }
    }

    /// Its operator, or ours, wants it to begin anew.
    pub fn reset(&mut self, context: &mut Context<'_>) {
        self.end_all(&Notification::ADMINISTRATIVE_RESET, Why::Reset, context);
        self.failures = 0;
        self.call_at(context.now);
        self.settle(None, context);
    }

    /// Says everything again, and asks it to.
    pub fn refresh(&mut self, context: &mut Context<'_>) {
        let mut connections = std::mem::take(&mut self.connections);
        for connection in &mut connections {
            let (Some(agreed), true) = (connection.agreed(), connection.is_established()) else {
                continue;
            };
            let families = agreed.common.families.clone();
            let can_ask = agreed.common.refresh;
            for family in families {
                let begin = connection.outbound_mut().and_then(|it| it.repeat(family));
                if let Some(bytes) = begin {
                    self.send_framed(connection, Kind::Refresh, bytes, context);
                }
                if can_ask {
                    let subtype = Subtype::Request;
                    let body = Refresh { family, subtype }.body();
                    self.send(connection, Kind::Refresh, &body, context);
                }
            }
        }
        self.connections = connections;
        self.settle(None, context);
    }

    /// Ends everything with a reason, and calls no more.
    pub fn end(&mut self, notification: &Notification, why: Why, context: &mut Context<'_>) {
        self.is_over = true;
        self.end_all(notification, why, context);
        self.call = Call::Never;
        self.inbound.forget();
        self.stale_until = None;
        self.settle(None, context);
    }

    /// Speaks again, if it was ended.
    pub fn stay(&mut self, context: &mut Context<'_>) {
        if std::mem::take(&mut self.is_over) {
            self.failures = 0;
        }
        self.settle(None, context);
    }

    /// Goes without a word, so that routes are kept (RFC 4724 §4).
    pub fn vanish(&mut self, context: &mut Context<'_>) {
        self.is_over = true;
        while !self.connections.is_empty() {
            self.drop_at(0, None, Why::Restarting, context);
        }
        self.call = Call::Never;
        self.settle(None, context);
    }

    /// Whatever is due.
    pub fn tick(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.stale_until) {
            self.stale_until = None;
            self.inbound.forget_stale(|_| true);
        }
        let expired = |it: &Connection| {
            let hold = is_due(it.hold).then_some(Notification::HOLD_TIMER_EXPIRED);
            let send = is_due(it.send_hold).then_some(Notification::SEND_HOLD_TIMER_EXPIRED);
            hold.or(send)
        };
        while let Some((index, notification)) = self
            .connections
            .iter()
            .enumerate()
            .find_map(|(index, it)| Some((index, expired(it)?)))
        {
            let why = Why::Sent(notification.clone());
            self.drop_at(index, Some(&notification), why, context);
        }
        let mut connections = std::mem::take(&mut self.connections);
        for connection in &mut connections {
            if is_due(connection.keepalive) {
                let hold = connection.agreed().map(|it| it.hold_time);
                self.keep_alive(connection, hold.unwrap_or_default(), context);
            }
        }
        self.connections = connections;
        match self.call {
            Call::At(at) if at <= now => self.call(context),
            Call::Calling(connection, until) if until <= now => {
                context.actions.push(Action::Close { connection });
                self.retry(context);
                self.settle(Some(Why::CallTimedOut), context);
            }
            Call::Held(until) if until <= now => {
                self.call = Call::Never;
                if self.is_called() {
                    self.call(context);
                }
            }
            Call::Never | Call::At(_) | Call::Calling(..) | Call::Held(_) => {}
        }
        self.settle(None, context);
    }

    /// Says that we are there, and when that is to be said next.
    fn keep_alive(
        &mut self,
        connection: &mut Connection,
        hold: Duration,
        context: &mut Context<'_>,
    ) {
        self.send(connection, Kind::Keepalive, &[], context);
        let wait = context.random.jitter(hold / 3).max(KEEPALIVE_MIN);
        let next = context.now + wait;
        connection.keepalive = (!hold.is_zero()).then_some(next);
    }

    fn send(
        &mut self,
        connection: &mut Connection,
        kind: Kind,
        body: &[u8],
        context: &mut Context<'_>,
    ) {
        self.send_framed(connection, kind, framed(kind, body), context);
    }

    fn send_framed(
        &mut self,
        connection: &mut Connection,
        kind: Kind,
        bytes: Vec<u8>,
        context: &mut Context<'_>,
    ) {
        *self.shown.sent.entry(kind).or_default() += 1;
        connection.taken(connection.unsent + bytes.len(), context.now);
        context.actions.push(Action::Send {
            connection: connection.id,
            bytes,
        });
    }

    /// Ends all connections with a reason.
    fn end_all(&mut self, notification: &Notification, why: Why, context: &mut Context<'_>) {
        if let Call::Calling(connection, _) = self.call {
            context.actions.push(Action::Close { connection });
            self.call = Call::Never;
        }
        while !self.connections.is_empty() {
            self.drop_at(0, Some(notification), why.clone(), context);
        }
    }

    /// Ends a connection, with a NOTIFICATION or without, and goes on without it.
    fn drop_at(
        &mut self,
        index: usize,
        told: Option<&Notification>,
        why: Why,
        context: &mut Context<'_>,
    ) {
        self.cut(index, told, &why, context);
        self.settle(Some(why), context);
    }

    /// Ends a connection.
    fn cut(
        &mut self,
        index: usize,
        told: Option<&Notification>,
        why: &Why,
        context: &mut Context<'_>,
    ) {
        let mut connection = self.connections.remove(index);
        if let Some(notification) = told {
            let is_final = why.is_final();
            let keeps = connection
                .agreed()
                .and_then(|it| it.common.restart.as_ref());
            // Who would keep our routes is told not to (RFC 8538 §3).
            let notification = match keeps.is_some_and(|it| it.on_notification) && is_final {
                true => notification.clone().hard(),
                false => notification.clone(),
            };
            self.shown.notification_sent = Some(notification.to_string());
            self.note(format!("sent NOTIFICATION {notification}"), context);
            let body = notification.body();
            self.send(&mut connection, Kind::Notification, &body, context);
        }
        context.actions.push(Action::Close {
            connection: connection.id,
        });
        self.lost(&connection, why, told.is_none(), context);
    }

    /// A connection is gone, by us or by the peer. Whoever has said that it comes back, and did not say
    /// otherwise, is waited for.
    fn lost(
        &mut self,
        connection: &Connection,
        why: &Why,
        is_sudden: bool,
        context: &mut Context<'_>,
    ) {
        if connection.is_established() {
            let restart = connection
                .agreed()
                .and_then(|it| it.common.restart.as_ref());
            // After a NOTIFICATION only where both said so (RFC 8538 §4).
            let outlives = restart.is_some_and(|it| it.on_notification);
            let is_kept = match why {
                Why::Received(it) => outlives && !it.is_hard(),
                Why::Sent(_) => outlives,
                Why::CallFailed(_)
                | Why::CallTimedOut
                | Why::ConnectionLost(_)
                | Why::PathDown
                | Why::PeerRestarted
                | Why::Collision
                | Why::CalledAgain
                | Why::Configured
                | Why::Deconfigured
                | Why::Reset
                | Why::Stopped
                | Why::Restarting => is_sudden,
            };
            match restart.filter(|_| is_kept && !matches!(self.call, Call::Held(_))) {
                Some(restart) => {
                    self.inbound.keep();
                    let time = Duration::from_secs(u64::from(restart.time));
                    self.stale_until = Some(context.now + time);
                }
                None => self.inbound.forget(),
            }
            if context.now >= self.shown.since + SETTLED {
                self.failures = 0;
            }
        }
    }

    /// Says what there is to say, and notes whether it stands otherwise now, and why.
    fn settle(&mut self, why: Option<Why>, context: &mut Context<'_>) {
        let is_leaving = !matches!(context.farewell, Farewell::None);
        let mut connections = std::mem::take(&mut self.connections);
        for connection in &mut connections {
            let is_full = connection.unsent > UNSENT_MAX;
            let (wish, settings) = (&self.wish, &self.settings);
            let Some(outbound) = connection.outbound_mut().filter(|_| !is_full) else {
                continue;
            };
            for bytes in outbound.flush(wish, settings, is_leaving, context.now) {
                self.send_framed(connection, Kind::Update, bytes, context);
            }
        }
        self.connections = connections;
        let is_idle = self.connections.is_empty() && self.call == Call::Never;
        if is_idle && self.is_called() {
            self.retry(context);
        }
        let state = self.state();
        let before = self.shown.state;
        if let Some(why) = &why
            && !matches!(why, Why::Collision | Why::CalledAgain)
        {
            self.shown.last_down = Some((context.now, why.to_string()));
        }
        if state == before {
            return;
        }
        let reason = why.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        self.note(format!("{}{reason}", state.label()), context);
        self.shown.state = state;
        self.shown.since = context.now;
        context.actions.push(Action::Changed {
            peer: self.id,
            address: self.address,
            from: before,
            to: state,
            why,
        });
    }

    fn note(&mut self, what: impl Into<String>, context: &Context<'_>) {
        self.shown.history.note(context.now, what);
    }

    /// The state of who got furthest.
    fn state(&self) -> State {
        let of = |connection: &Connection| match connection.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(..) => State::Established,
        };
        let furthest = self.connections.iter().map(of).max();
        furthest.unwrap_or(match self.call {
            Call::Calling(..) => State::Connect,
            Call::Held(_) => State::Idle,
            Call::At(_) | Call::Never => State::Active,
        })
    }
}
