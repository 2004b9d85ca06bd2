//! Which ports the gateway may give out: free ones, of those the ones that are not held back before the
//! others (RFC 6888 REQ-8), and of these again the ones of the right parity (RFC 4787 REQ-4).

use std::{net::Ipv4Addr, time::Duration};

use abi::{Behaviour, Protocol, Reason};
use gateway::intent::HoldDown;

use super::{Choices, End, Nat, Packet};

/// Sweeps after which a port that nobody uses is free, at most.
pub const SWEEPS: u32 = 3;

/// What is known of a port since nobody uses it.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// When it was used last.
    since: Duration,
    /// Until when something of it may be too young to be swept away.
    young: Duration,
    /// Sweeps since.
    sweeps: u32,
    /// When it must have been free, and when it must have been held back for once its time.
    free: Option<Duration>,
    once: Option<Duration>,
    /// When it must have been held back for twice its time.
    twice: Option<Duration>,
}

impl Life {
    /// Of a port that somebody had until now.
    pub const fn new(now: Duration) -> Self {
        Self {
            since: now,
            young: Duration::ZERO,
            sweeps: 0,
            free: None,
            once: None,
            twice: None,
        }
    }

    /// The same, of which something is left that is not swept away before this.
    pub const fn until(self, young: Duration) -> Self {
        Self { young, ..self }
    }

    /// Whoever sweeps has forgotten what the last sweeps saw.
    pub fn restart(&mut self) {
        if !self.is_free() {
            self.sweeps = 0;
        }
        (self.free, self.once, self.twice) = (None, None, None);
    }

    /// Nobody uses it at this sweep either.
    pub fn sweep(&mut self, now: Duration, hold: HoldDown) {
        if now <= self.young {
            return;
        }
        self.sweeps += 1;
        let is_over = |begun: Option<Duration>| begun.filter(|it| now - *it >= hold.time);
        if self.twice.is_none() {
            self.twice = is_over(self.once).map(|_| now);
        }
        if self.once.is_none() {
            self.once = is_over(self.free).map(|_| now);
        }
        if self.free.is_none() && self.is_free() {
            self.free = Some(now);
        }
    }

    /// Whether it must be free by now.
    pub fn is_free(&self) -> bool {
        self.sweeps >= SWEEPS
    }

    /// Whether it must not be held back any more.
    pub fn is_over(&self, hold: HoldDown) -> bool {
        self.twice.is_some() || (hold.is_off() && self.is_free())
    }

    /// Whether it must be held back, if that is at all possible.
    pub fn is_held(&self, now: Duration, hold: HoldDown) -> bool {
        self.is_free() && !hold.is_off() && now - self.since < hold.time
    }

    /// When it was used last.
    pub fn since(&self) -> Duration {
        self.since
    }
}

impl Nat {
    /// The port that a packet's sender was given, which must be one that may be: or none was, because
    /// none is free.
    pub(super) fn claimed(
        &mut self,
        packet: &Packet,
        (address, behaviour): (Ipv4Addr, &Behaviour),
        peer: Option<End>,
        made: &dyn Choices,
    ) -> Result<End, Reason> {
        let protocol = packet.protocol;
        let ends = || {
            self.range(protocol, address)
                .map(|port| End::new(address, port))
        };
        let is_free = |end: End| self.is_free(protocol, end);
        let is_wrong = |end: End| {
            let is_odd = |port: u16| port % 2 == 1;
            behaviour.keeps_parity() && is_odd(end.port()) != is_odd(packet.source.port())
        };
        if made.reason() == Reason::PortsExhausted {
            if let Some(end) = ends().find(|end| is_free(*end)) {
                panic!(
                    "{end} of {protocol:?} is free, but {} was refused",
                    packet.source
                );
            }
            return Err(Reason::PortsExhausted);
        }
        let Some(port) = made.port() else {
            panic!("{} has no port and was not refused one", packet.source);
        };
        let end = End::new(address, port);
        let range = self.range(protocol, address);
        assert!(range.contains(&port), "{end} is not of its pool");
        let is_shared = Self::is_shared(protocol, behaviour);
        if is_shared {
            let peer = peer.expect("who only calls gets no port of these");
            let other = self.inward.get(&(protocol, peer, end));
            assert_eq!(other, None, "{end} has a session with {peer} already");
        } else {
            assert!(
                !self.is_used(protocol, end),
                "{end} of {protocol:?} is in use and is given to {}",
                packet.source
            );
        }
        // Where several sessions have a port, it is held back towards some remotes and not others.
        let are_new = self.addresses[&address].ports_life.is_some();
        let is_held = |end: End| match is_shared {
            true => are_new || self.ports.contains_key(&(protocol, end)),
            false => self.held.contains(&(protocol, end)),
        };
        let rank = |end: End| (is_held(end), is_wrong(end));
        let given = match is_shared {
            true => (true, is_wrong(end)),
            false => rank(end),
        };
        if given > (false, false)
            && let Some(better) = ends().find(|it| {
                let is_better = match is_shared {
                    true => given.1 && rank(*it) == (false, false),
                    false => rank(*it) < given,
                };
                is_better && is_free(*it)
            })
        {
            panic!(
                "{} is given {end}, (held, wrong parity) {given:?}, and {better} is free: {:?}",
                packet.source,
                rank(better)
            );
        }
        Ok(end)
    }

    /// The ports that are given out on an address; ICMP identifiers are no ports, and all are.
    pub(super) fn range(
        &self,
        protocol: Protocol,
        address: Ipv4Addr,
    ) -> std::ops::RangeInclusive<u16> {
        match protocol {
            Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => 0..=u16::MAX,
            Protocol::Tcp | Protocol::Udp => {
                let (first, last) = self.addresses[&address].ports;
                first..=last
            }
        }
    }

    /// Whether a mapping or a session has this external endpoint.
    pub(super) fn is_used(&self, protocol: Protocol, end: End) -> bool {
        self.mappings.contains_key(&(protocol, end))
            || (self.sessions.values()).any(|it| it.uses(protocol, end))
    }

    /// Whether a port must be free to be given out.
    fn is_free(&self, protocol: Protocol, end: End) -> bool {
        let address = &self.addresses[end.ip()];
        let is_new =
            protocol != Protocol::Icmp && address.ports_life.is_some_and(|it| !it.is_free());
        let is_late = (self.ports.get(&(protocol, end))).is_some_and(|life| !life.is_free());
        let is_sure = address.in_vain == 0 && !is_new && !is_late;
        is_sure && !self.is_used(protocol, end)
    }

    /// How long the freed ports of an address are held back.
    pub(super) fn hold(&self, address: Ipv4Addr) -> HoldDown {
        let pool = &self.addresses[&address].pool;
        let wanted = self.intent.pools.iter().find(|it| it.name == *pool);
        wanted.map_or(HoldDown::OFF, |pool| pool.hold)
    }

    /// Notes that somebody has this external endpoint no more.
    pub(super) fn leave(&mut self, protocol: Protocol, end: End) {
        if !self.is_used(protocol, end) && self.addresses.contains_key(end.ip()) {
            self.ports.insert((protocol, end), Life::new(self.now));
        }
    }

    /// Whether sessions share the TCP ports of this address.
    pub(super) fn is_overloaded(&self, protocol: Protocol, address: Ipv4Addr) -> bool {
        let of = self.addresses.get(&address);
        of.is_some_and(|it| Self::is_shared(protocol, &it.behaviour))
    }
}
