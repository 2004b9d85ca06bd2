//! One TCP connection with a peer: what has come of it so far, and its timers.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::{
    ConnectionId,
    capability::Capabilities,
    message::{EXTENDED_MAX, LENGTH_MAX, open::Open},
    outbound::Outbound,
    settings::Ends,
};

/// How long an OPEN is waited for (RFC 4271 §8: "a large value").
pub(crate) const OPEN_HOLD: Duration = Duration::from_secs(240);
/// How long a peer may take nothing of what is sent, at least (RFC 9687 §4).
pub(crate) const SEND_HOLD_MIN: Duration = Duration::from_secs(480);

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub id: ConnectionId,
    pub ends: Ends,
    pub phase: Phase,
    /// What came and is no whole message yet: shorter than one.
    pub stream: Vec<u8>,
    /// Nothing may come later than this.
    pub hold: Option<Instant>,
    /// Something must be said then.
    pub keepalive: Option<Instant>,
    /// The peer must take something until then.
    pub send_hold: Option<Instant>,
    /// Bytes that the kernel has not taken yet.
    pub unsent: usize,
}

/// What has come of it. Each phase has what it must know.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    OpenSent,
    OpenConfirm(Box<Agreed>),
    Established(Box<Agreed>, Box<Outbound>),
}

/// What both sides agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub remote_as: u32,
    pub remote_id: Ipv4Addr,
    pub hold_time: Duration,
    pub common: Capabilities,
}

impl Agreed {
    /// From our OPEN and its.
    pub fn of(ours: &Open, theirs: &Open) -> Self {
        Self {
            remote_as: theirs.asn,
            remote_id: theirs.id,
            hold_time: Duration::from_secs(u64::from(ours.hold_time.min(theirs.hold_time))),
            common: ours.capabilities.agreed(&theirs.capabilities),
        }
    }
}

impl Connection {
    pub fn new(id: ConnectionId, ends: Ends, now: Instant) -> Self {
        Self {
            id,
            ends,
            phase: Phase::OpenSent,
            stream: Vec::new(),
            hold: Some(now + OPEN_HOLD),
            keepalive: None,
            send_hold: None,
            unsent: 0,
        }
    }

    pub fn agreed(&self) -> Option<&Agreed> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(agreed) | Phase::Established(agreed, _) => Some(agreed),
        }
    }

    pub fn outbound(&self) -> Option<&Outbound> {
        match &self.phase {
            Phase::Established(_, outbound) => Some(outbound),
            Phase::OpenSent | Phase::OpenConfirm(_) => None,
        }
    }

    pub fn outbound_mut(&mut self) -> Option<&mut Outbound> {
        match &mut self.phase {
            Phase::Established(_, outbound) => Some(outbound),
            Phase::OpenSent | Phase::OpenConfirm(_) => None,
        }
    }

    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(..))
    }

    /// Bytes of a message to the peer at most.
    pub fn length_max(&self) -> usize {
        match self.agreed() {
            Some(agreed) if agreed.common.extended_message => EXTENDED_MAX,
            Some(_) | None => LENGTH_MAX,
        }
    }

    /// Something came: silence begins anew.
    pub fn heard(&mut self, now: Instant) {
        let hold = self.agreed().map(|agreed| agreed.hold_time);
        match hold {
            Some(Duration::ZERO) => self.hold = None,
            Some(time) => self.hold = Some(now + time),
            None => {}
        }
    }

    /// The kernel took something, or all.
    pub fn taken(&mut self, unsent: usize, now: Instant) {
        let hold = self.agreed().map(|it| it.hold_time).unwrap_or_default();
        self.unsent = unsent;
        let patience = SEND_HOLD_MIN.max(hold * 2);
        self.send_hold = (unsent > 0).then(|| now + patience);
    }

    /// The next of its timers.
    pub fn deadline(&self) -> Option<Instant> {
        [self.hold, self.keepalive, self.send_hold]
            .into_iter()
            .flatten()
            .min()
    }
}
