//! What a sweep may take away, and what it must: sessions that were silent for longer than their timeout,
//! mappings and addresses that nobody uses, and the time of ports that are held back.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use abi::Protocol;
use gateway::intent::{HoldDown, ServiceTimeout, Timeouts};

use super::{End, Nat, Session, connection::Stage, ports::SWEEPS};

/// By how much a session may outlive its timeout until a sweep.
const LATE: Duration = Duration::from_secs(2);
/// For how long a mapping may be there before anything uses it.
const YOUNG: Duration = Duration::from_secs(4);

/// What a sweep did.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// Sessions that ended, by internal endpoint and whom it saw.
    pub ended: Vec<(Protocol, End, End)>,
    /// External endpoints that are mapped no more.
    pub unmapped: Vec<(Protocol, End)>,
    /// Ports that are held back from now on.
    pub held: BTreeSet<(Protocol, End)>,
    /// Addresses that there are still.
    pub addresses: BTreeSet<Ipv4Addr>,
}

impl Nat {
    /// Takes in what a sweep did, all of which must have been allowed, and nothing left out.
    pub fn sweep(&mut self, swept: Swept) {
        for key in &swept.ended {
            let session = self.sessions.remove(key);
            let session = session.unwrap_or_else(|| panic!("there is no session {key:?}"));
            let (silent, (least, _)) = (self.now - session.last, self.timeouts(&session));
            assert!(
                silent > least,
                "silent for {silent:?} of {least:?} only: {session:?}"
            );
            let (protocol, external) = (session.protocol, session.external);
            self.inward.remove(&(protocol, session.peer, external));
            for own in session.ours() {
                self.leave(protocol, own);
            }
        }
        for session in self.sessions.values() {
            let (silent, (_, most)) = (self.now - session.last, self.timeouts(session));
            assert!(
                silent <= most + LATE,
                "silent for {silent:?} of {most:?} and still there: {session:?}"
            );
        }
        self.unmap(&swept.unmapped);
        self.forget(&swept.addresses);
        self.grow_old();
        self.hold_back(swept.held);
        self.held_rightly();
    }

    /// These ports are held back from now on. Whether they may be is asked at sweeps: between two, a
    /// policy can only bring other bitmaps into use.
    pub fn hold_back(&mut self, held: BTreeSet<(Protocol, End)>) {
        self.held = held;
    }

    /// How long a session is kept without a packet, at least and at most.
    fn timeouts(&self, session: &Session) -> (Duration, Duration) {
        let pools = &self.intent.pools;
        let pool = pools.iter().find(|pool| pool.name == session.pool);
        let timeouts = pool.and_then(|pool| pool.timeouts);
        let timeouts: &Timeouts = timeouts.as_ref().unwrap_or(&self.intent.timeouts);
        let is_meant = |it: &&ServiceTimeout| {
            let port = session.seen.port();
            it.protocol == session.protocol && (it.ports.first..=it.ports.last).contains(&port)
        };
        let own = pool.into_iter().flat_map(|pool| &pool.services);
        let service = own.chain(&self.intent.services).find(is_meant);
        let open = service.map_or(timeouts.tcp_established, |it| it.timeout);
        let exactly = |timeout| (timeout, timeout);
        match (session.protocol, session.connection.stage()) {
            (Protocol::Icmp, _) => exactly(timeouts.icmp),
            (Protocol::Sctp, _) => exactly(timeouts.sctp),
            (Protocol::Gre, _) => exactly(timeouts.gre),
            (Protocol::Esp, _) => exactly(timeouts.esp),
            (Protocol::Udp, _) => exactly(service.map_or(timeouts.udp, |it| it.timeout)),
            (Protocol::Tcp, Stage::Opening) => exactly(timeouts.tcp_opening),
            (Protocol::Tcp, Stage::Open) => exactly(open),
            (Protocol::Tcp, Stage::Closing) => exactly(timeouts.tcp_closing),
            (Protocol::Tcp, Stage::Unclear) => {
                let (a, b) = (timeouts.tcp_opening, timeouts.tcp_closing);
                (a.min(b).min(open), a.max(b).max(open))
            }
        }
    }

    /// A mapping is there for as long as a session uses it; not where sessions share ports.
    fn unmap(&mut self, unmapped: &[(Protocol, End)]) {
        let is_in_use = |nat: &Self, (protocol, end): (Protocol, End)| {
            (nat.sessions.values()).any(|it| it.uses(protocol, end))
        };
        for key in unmapped {
            let mapping = self.mappings.remove(key);
            let mapping = mapping.unwrap_or_else(|| panic!("{key:?} is not mapped"));
            let is_shared = self.is_overloaded(key.0, *key.1.ip());
            assert!(
                is_shared || !is_in_use(self, *key),
                "{key:?} is in use: {mapping:?}"
            );
            self.leave(key.0, key.1);
            if let Some(life) = self.ports.get_mut(key) {
                *life = life.until(mapping.in_vain + YOUNG);
            }
        }
        for (key, mapping) in &self.mappings {
            assert!(
                is_in_use(self, *key) || self.now - mapping.made <= YOUNG,
                "{key:?} is mapped for nobody: {mapping:?}"
            );
        }
    }

    /// An address that was taken from its pool is there for as long as anybody uses it.
    fn forget(&mut self, left: &BTreeSet<Ipv4Addr>) {
        let users = |nat: &Self, address: Ipv4Addr| {
            let is_its = |end: End| *end.ip() == address;
            let mappings = nat.mappings.iter().filter(|((_, end), _)| is_its(*end));
            let sessions = nat.sessions.values();
            let sessions = sessions.filter(|it| it.ours().any(is_its));
            let mappings = mappings.map(|it| format!("{it:?}"));
            let all = mappings.chain(sessions.map(|it| format!("{it:?}")));
            all.collect::<Vec<_>>()
        };
        for address in self.addresses.keys().copied().collect::<Vec<_>>() {
            let users = users(self, address);
            let is_used = !users.is_empty();
            let known = self.addresses.get_mut(&address).expect("one of them");
            known.quiet = if is_used { 0 } else { known.quiet + 1 };
            if left.contains(&address) {
                assert!(
                    !known.is_draining || known.quiet <= SWEEPS,
                    "{address} is nobody's and still there"
                );
                continue;
            }
            assert!(
                known.is_draining,
                "{address} is forgotten, but its pool has it"
            );
            assert!(
                !is_used,
                "{address} is forgotten, but not by all: {users:?}"
            );
            self.addresses.remove(&address);
            self.ports.retain(|(_, end), _| *end.ip() != address);
            self.crowded.retain(|(_, of), _| *of != address);
        }
    }

    /// Ports that nobody uses have lived one sweep more.
    fn grow_old(&mut self) {
        let mut ports = std::mem::take(&mut self.ports);
        ports.retain(|(protocol, end), life| {
            if self.is_used(*protocol, *end) {
                return true;
            }
            let hold = self.hold(*end.ip());
            life.sweep(self.now, hold);
            !(life.is_over(hold) && life.is_free())
        });
        self.ports = ports;
        for address in self.addresses.keys().copied().collect::<Vec<_>>() {
            let hold = self.hold(address);
            let known = self.addresses.get_mut(&address).expect("one of them");
            known.in_vain = known.in_vain.saturating_sub(1);
            if let Some(life) = &mut known.ports_life {
                life.sweep(self.now, hold);
            }
            known.ports_life = known
                .ports_life
                .filter(|life| !(life.is_over(hold) && life.is_free()));
        }
    }

    /// Asserts that what is held back is what was freed lately: nothing else, and all of it unless there
    /// is too much.
    fn held_rightly(&mut self) {
        for (protocol, end) in &self.held {
            let hold = self.hold(*end.ip());
            let known = &self.addresses[end.ip()];
            let life = self.ports.get(&(*protocol, *end));
            let life = life.or(known.ports_life.as_ref());
            assert!(
                life.is_some_and(|life| !life.is_over(hold)) || self.is_used(*protocol, *end),
                "{end} of {protocol:?} is held back, though it was not freed lately: {life:?}"
            );
        }
        for address in self.addresses.keys().copied().collect::<Vec<_>>() {
            for protocol in Protocol::PORTED {
                if !self.is_overloaded(protocol, address) {
                    self.held_enough(protocol, address);
                }
            }
        }
    }

    fn held_enough(&mut self, protocol: Protocol, address: Ipv4Addr) {
        let hold: HoldDown = self.hold(address);
        let known = &self.addresses[&address];
        let ours = |end: &End| *end.ip() == address;
        let of = |it: &Protocol| *it == protocol;
        let all = self
            .ports
            .iter()
            .filter(|((it, end), _)| of(it) && ours(end));
        let candidates = all.clone().count();
        let range = self.range(protocol, address);
        let in_use = self.mappings.keys().filter(|(it, end)| of(it) && ours(end));
        let not_free = all.clone().filter(|(_, life)| !life.is_free());
        let free = range.len() - (in_use.count() + not_free.count()).min(range.len());
        let is_crowded = 4 * candidates > 3 * free
            || candidates > hold.ports as usize
            || known.ports_life.is_some();
        if is_crowded {
            self.crowded.insert((protocol, address), self.now);
        }
        let crowded = self.crowded.get(&(protocol, address)).copied();
        let settled = known.changed.max(crowded.unwrap_or_default());
        for ((_, end), life) in all {
            let is_unsettled = life.since() <= settled || self.is_used(protocol, *end);
            let is_kept = self.held.contains(&(protocol, *end)) || !range.contains(&end.port());
            assert!(
                is_unsettled || is_kept || !life.is_held(self.now, hold),
                "{end} of {protocol:?} is not held back: {life:?}"
            );
        }
    }
}
