//! One session (RFC 5880 §6.8).

use std::time::{Duration, Instant};

use crate::{
    authentication::{Authentication, Heard},
    packet::{Diagnostic, HEADER, LENGTH_MAX, Packet, State},
};

/// How far apart packets are at least while a session is not up (§6.8.3).
pub const SLOW: Duration = Duration::from_secs(1);
/// A tick that comes later than this after a detection time is over comes from a machine that has too much
/// to do: it gets one more look at its sockets.
pub const LATE: Duration = Duration::from_millis(5);
/// How long that look takes at most: what the kernel took is in a socket by then.
pub const LOOK: Duration = Duration::from_millis(20);

/// What is wanted of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How far apart our packets are while it is up.
    pub transmit: Duration,
    /// How far apart the other side's may be at least.
    pub receive: Duration,
    /// After how many of our packets that did not come the other side gives it up; never zero.
    pub multiplier: u8,
    /// Whether the other side begins (§6.1).
    pub is_passive: bool,
    /// The lowest time to live that packets may come with: 255 over a single hop (RFC 5881 §5).
    pub lowest_ttl: u8,
    /// How packets prove whose they are.
    pub authentication: Option<Authentication>,
    /// Whether its operator does not want it now.
    pub is_admin_down: bool,
    /// Whether to say, when it is not administratively down any more, that what was forwarded before is not
    /// now.
    pub is_reset: bool,
    /// Whether to say while it is up that what lies behind this side is not there yet (§6.8.17).
    pub is_cut_behind: bool,
}

/// How a session is, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How it stands.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// How the other side stands, as it says.
    pub remote_state: State,
    /// Why it went down last.
    pub diagnostic: Diagnostic,
    /// Why the other side did.
    pub remote_diagnostic: Diagnostic,
    /// How often it went down from up.
    pub downs: u64,
    /// How far apart our packets are, before jitter.
    pub transmit: Duration,
    /// How far apart the other side's are, before jitter.
    pub receive: Duration,
    /// After how much silence it goes down.
    pub detection: Duration,
    /// Packets sent.
    pub sent: u64,
    /// Packets taken.
    pub received: u64,
    /// The longest silence while it was up.
    pub longest_gap: Option<Duration>,
    /// Ticks that came so late that there was one more look.
    pub late_ticks: u64,
    /// The numbers of the session: ours and the other side's.
    pub discriminators: [u32; 2],
}

/// Bytes of a packet that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    bytes: [u8; LENGTH_MAX],
    length: usize,
}

impl Outgoing {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub from: State,
    pub to: State,
    pub diagnostic: Diagnostic,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unauthenticated,
    AdminDown,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    settings: Settings,
    state: State,
    since: Instant,
    remote_state: State,
    diagnostic: Diagnostic,
    remote_diagnostic: Diagnostic,
    mine: u32,
    yours: u32,
    /// What we say, and what is in force until the other side has heard it (§6.8.3).
    transmit: Interval,
    receive: Interval,
    remote_transmit: Duration,
    remote_receive: Duration,
    remote_multiplier: u8,
    remote_demands: bool,
    is_polling: bool,
    heard: Option<Instant>,
    /// One more look was taken, and ends then.
    look_until: Option<Instant>,
    send_at: Option<Instant>,
    sequence: u32,
    numbers: Heard,
    /// After so much silence the other side may begin with any number.
    forget_at: Option<Instant>,
    /// It is not wanted any more, and gone then.
    ends_at: Option<Instant>,
    downs: u64,
    sent: u64,
    received: u64,
    longest_gap: Option<Duration>,
    late_ticks: u64,
}

/// A time that both sides must know before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    said: Duration,
    in_force: Duration,
}

impl Interval {
    const fn of(time: Duration) -> Self {
        Self {
            said: time,
            in_force: time,
        }
    }
}

impl Session {
    /// One that has heard nothing; `sequence` is the first number that it signs with.
    pub fn new(settings: Settings, mine: u32, sequence: u32, now: Instant) -> Self {
        let state = match settings.is_admin_down {
            true => State::AdminDown,
            false => State::Down,
        };
        let diagnostic = match settings.is_admin_down {
            true => Diagnostic::ADMINISTRATIVELY_DOWN,
            false => Diagnostic::NONE,
        };
        Self {
            transmit: Interval::of(settings.transmit.max(SLOW)),
            receive: Interval::of(settings.receive),
            send_at: (!settings.is_passive).then_some(now),
            settings,
            state,
            since: now,
            remote_state: State::Down,
            diagnostic,
            remote_diagnostic: Diagnostic::NONE,
            mine,
            yours: 0,
            remote_transmit: Duration::ZERO,
            remote_receive: Duration::from_micros(1),
            remote_multiplier: 0,
            remote_demands: false,
            is_polling: false,
            heard: None,
            look_until: None,
            sequence,
            numbers: Heard::default(),
            forget_at: None,
            ends_at: None,
            downs: 0,
            sent: 0,
            received: 0,
            longest_gap: None,
            late_ticks: 0,
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the other side says of itself: how it stands, and why it went down last.
    pub fn remote(&self) -> (State, Diagnostic) {
        (self.remote_state, self.remote_diagnostic)
    }

    /// Whether the other side says that what lies behind it is not there; nothing while it is not up.
    pub fn is_cut_behind(&self) -> Option<bool> {
        let is_cut = self.remote_diagnostic == Diagnostic::CONCATENATED_PATH_DOWN;
        (self.state == State::Up).then_some(is_cut)
    }

    pub fn mine(&self) -> u32 {
        self.mine
    }

    /// Whether it is not wanted any more, and nobody must be told that.
    pub fn is_gone(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        let send = self.send_at;
        let detect = self.look_until.or_else(|| self.detect_at());
        send.into_iter().chain(detect).chain(self.ends_at).min()
    }

    /// Other settings: changed times are agreed on while it stays up (§6.8.3).
    pub fn configure(&mut self, settings: Settings, now: Instant) -> Option<Change> {
        self.ends_at = None;
        if self.settings.authentication != settings.authentication {
            self.numbers.forget();
        }
        let is_admin_down = settings.is_admin_down;
        let is_news = self.settings.is_cut_behind != settings.is_cut_behind;
        self.settings = settings;
        let change = match (is_admin_down, self.state) {
            (true, State::Down | State::Init | State::Up) => {
                self.go(State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN, now)
            }
            (false, State::AdminDown) => {
                let why = match self.settings.is_reset {
                    true => Diagnostic::FORWARDING_PLANE_RESET,
                    false => Diagnostic::NONE,
                };
                self.go(State::Down, why, now)
            }
            (true, State::AdminDown) | (false, State::Down | State::Init | State::Up) => None,
        };
        self.say_intervals();
        let is_silent = self.send_at.is_none() && !self.settings.is_passive;
        if is_silent || is_news && self.state == State::Up {
            self.send_at = Some(now);
        }
        change
    }

    /// It is not wanted any more: the other side is told for as long as it could miss it.
    pub fn leave(&mut self, now: Instant) -> Option<Change> {
        if self.ends_at.is_some() {
            return None;
        }
        let told = self.transmit_interval() * u32::from(self.settings.multiplier);
        self.ends_at = Some(now + told.min(SLOW));
        self.send_at = Some(now);
        match self.state {
            State::AdminDown => None,
            State::Down | State::Init | State::Up => {
                self.go(State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN, now)
            }
        }
    }

    /// The times that hold for the state that it is in.
    fn say_intervals(&mut self) {
        let is_up = self.state == State::Up;
        let transmit = match is_up {
            true => self.settings.transmit,
            false => self.settings.transmit.max(SLOW),
        };
        let receive = self.settings.receive;
        let is_other = (self.transmit.said, self.receive.said) != (transmit, receive);
        self.transmit.said = transmit;
        self.receive.said = receive;
        // Whoever is not up has nothing to lose; otherwise only what makes packets come more often, and
        // detection later, may hold before the other side has heard of it.
        if !is_up || transmit < self.transmit.in_force {
            self.transmit.in_force = transmit;
        }
        if !is_up || receive > self.receive.in_force {
            self.receive.in_force = receive;
        }
        self.is_polling = match self.state {
            State::Up | State::Init => self.is_polling || is_other,
            State::AdminDown | State::Down => false,
        };
    }

    fn go(&mut self, to: State, diagnostic: Diagnostic, now: Instant) -> Option<Change> {
        let from = std::mem::replace(&mut self.state, to);
        if from == State::Up {
            self.downs += 1;
        }
        if to == State::Up {
            self.longest_gap = None;
        }
        self.since = now;
        // Why it went down is said until it is up again, and after that too.
        if to < State::Init {
            self.diagnostic = diagnostic;
        }
        self.look_until = None;
        self.say_intervals();
        // What is said now is news (§6.8.7).
        if !self.settings.is_passive || self.yours != 0 {
            self.send_at = Some(now);
        }
        Some(Change {
            from,
            to,
            diagnostic: self.diagnostic,
        })
    }

    /// A packet that is of this session (§6.8.6); `header` are its first bytes and `behind` what stands
    /// behind them.
    pub fn receive(
        &mut self,
        packet: &Packet,
        (header, behind): (&[u8; HEADER], &[u8]),
        (arrived, now): (Instant, Instant),
    ) -> Result<Option<Change>, Refusal> {
        if self.forget_at.take_if(|at| *at <= now).is_some() {
            self.numbers.forget();
        }
        let is_right = match (&self.settings.authentication, packet.is_authenticated) {
            (None, false) => true,
            (None, true) | (Some(_), false) => false,
            (Some(authentication), true) => {
                let heard = (&mut self.numbers, packet.multiplier);
                authentication.verify(header, behind, heard)
            }
        };
        if !is_right {
            return Err(Refusal::Unauthenticated);
        }
        // Packets that waited are read one after the other; an older one tells nothing of silence.
        let arrived = self.heard.map_or(arrived, |before| arrived.max(before));
        if let (State::Up, Some(before)) = (self.state, self.heard) {
            let gap = arrived.saturating_duration_since(before);
            self.longest_gap = Some(self.longest_gap.map_or(gap, |longest| longest.max(gap)));
        }
        self.received += 1;
        self.heard = Some(arrived);
        self.look_until = None;
        let was_unknown = self.yours == 0;
        self.yours = packet.mine;
        self.remote_state = packet.state;
        self.remote_diagnostic = packet.diagnostic;
        self.remote_demands = packet.demands;
        self.remote_multiplier = packet.multiplier;
        self.remote_transmit = packet.transmit;
        if self.remote_receive != packet.receive {
            let is_faster = packet.receive < self.remote_receive || self.remote_receive.is_zero();
            self.remote_receive = packet.receive;
            // It may want packets sooner than the next one is due (§6.8.3).
            if is_faster && self.state == State::Up {
                let soon = now + self.transmit_interval();
                self.send_at = Some(self.send_at.map_or(soon, |at| at.min(soon)));
            }
        }
        if packet.is_final && self.is_polling {
            self.is_polling = false;
            self.transmit.in_force = self.transmit.said;
            self.receive.in_force = self.receive.said;
        }
        if self.state == State::AdminDown {
            return Err(Refusal::AdminDown);
        }
        if was_unknown && self.settings.is_passive {
            self.send_at = Some(now);
        }
        if self.send_at.is_none() && self.speaks() {
            self.send_at = Some(now);
        }
        let down = |it: &mut Self| it.go(State::Down, Diagnostic::NEIGHBOR_SIGNALED_DOWN, now);
        Ok(match (self.state, packet.state) {
            (State::Down, State::Down) => self.go(State::Init, self.diagnostic, now),
            (State::Down | State::Init, State::Init) | (State::Init, State::Up) => {
                self.go(State::Up, self.diagnostic, now)
            }
            (State::Init, State::AdminDown) | (State::Up, State::AdminDown | State::Down) => {
                down(self)
            }
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up)
            | (State::AdminDown, _) => None,
        })
    }

    /// The answer to a poll, which waits for nothing (§6.8.7).
    pub fn answer(&mut self) -> Outgoing {
        self.outgoing(true)
    }

    /// Whatever is due: a packet, and a change of state.
    pub fn tick(&mut self, now: Instant, jitter: u64) -> (Option<Outgoing>, Option<Change>) {
        let change = self.detect(now);
        let is_due = self.send_at.is_some_and(|at| at <= now);
        if !is_due {
            return (None, change);
        }
        if !self.speaks() {
            self.send_at = None;
            return (None, change);
        }
        // From when it is really sent: nothing is made up for by a burst.
        self.send_at = Some(now + self.jittered(jitter));
        (Some(self.outgoing(false)), change)
    }

    /// Whether it sends packets by itself (§6.8.7).
    fn speaks(&self) -> bool {
        let is_heard = self.yours != 0;
        let is_wanted = !self.remote_receive.is_zero() || !is_heard;
        let both_up = self.state == State::Up && self.remote_state == State::Up;
        let is_silenced = self.remote_demands && both_up && !self.is_polling;
        (is_heard || !self.settings.is_passive) && is_wanted && !is_silenced
    }

    /// Whether the other side was silent for too long.
    fn detect(&mut self, now: Instant) -> Option<Change> {
        let due = self.look_until.or_else(|| self.detect_at())?;
        if now < due {
            return None;
        }
        if self.look_until.is_none() && now > due + LATE && self.state == State::Up {
            self.late_ticks += 1;
            self.look_until = Some(now + LOOK.min(self.receive_interval()));
            return None;
        }
        self.look_until = None;
        // Numbers are known for as long again (§6.8.1).
        self.forget_at = self.heard.map(|heard| heard + self.detection() * 2);
        self.heard = None;
        self.yours = 0;
        self.remote_state = State::Down;
        self.remote_demands = false;
        self.remote_receive = Duration::from_micros(1);
        match self.state {
            State::Init | State::Up => {
                self.go(State::Down, Diagnostic::DETECTION_TIME_EXPIRED, now)
            }
            State::AdminDown | State::Down => None,
        }
    }

    fn detect_at(&self) -> Option<Instant> {
        Some(self.heard? + self.detection())
    }

    fn receive_interval(&self) -> Duration {
        self.receive.in_force.max(self.remote_transmit)
    }

    fn detection(&self) -> Duration {
        self.receive_interval() * u32::from(self.remote_multiplier)
    }

    fn transmit_interval(&self) -> Duration {
        self.transmit.in_force.max(self.remote_receive)
    }

    /// From 75 to 100 percent, or to 90 where a single packet that does not come is one too many (§6.8.7).
    fn jittered(&self, random: u64) -> Duration {
        // Thousandths.
        let most: u64 = match self.settings.multiplier {
            1 => 900,
            _ => 1000,
        };
        let part = u32::try_from(750 + random % (most - 749)).unwrap_or(750);
        self.transmit_interval() * part / 1000
    }

    fn outgoing(&mut self, is_final: bool) -> Outgoing {
        let authentication = self.settings.authentication.as_ref();
        let length = match authentication {
            Some(_) => LENGTH_MAX,
            None => HEADER,
        };
        let is_there = matches!(self.state, State::Init | State::Up);
        let packet = Packet {
            diagnostic: match self.settings.is_cut_behind && is_there {
                true => Diagnostic::CONCATENATED_PATH_DOWN,
                false => self.diagnostic,
            },
            state: self.state,
            is_poll: self.is_polling && !is_final,
            is_final,
            is_independent: false,
            is_authenticated: authentication.is_some(),
            demands: false,
            multiplier: self.settings.multiplier,
            mine: self.mine,
            yours: self.yours,
            transmit: self.transmit.said,
            receive: self.receive.said,
            echo: Duration::ZERO,
        };
        let header = packet.write(length);
        let mut bytes = [0; LENGTH_MAX];
        for (place, byte) in bytes.iter_mut().zip(header) {
            *place = byte;
        }
        if let Some(authentication) = authentication {
            self.sequence = self.sequence.wrapping_add(1);
            let section = authentication.sign(&header, self.sequence);
            for (place, byte) in bytes.iter_mut().skip(HEADER).zip(section) {
                *place = byte;
            }
        }
        self.sent += 1;
        Outgoing { bytes, length }
    }

    /// How it is.
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            since: self.since,
            remote_state: self.remote_state,
            diagnostic: self.diagnostic,
            remote_diagnostic: self.remote_diagnostic,
            downs: self.downs,
            transmit: self.transmit_interval(),
            receive: self.receive_interval(),
            detection: self.detection(),
            sent: self.sent,
            received: self.received,
            longest_gap: self.longest_gap,
            late_ticks: self.late_ticks,
            discriminators: [self.mine, self.yours],
        }
    }
}
