//! What becomes of a packet that no session has: which rule wants it, whose the external port is that it
//! is for, and whether that one's filter lets it in (RFC 4787 §5 and §6).

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use abi::{Dependence, Protocol, Reason};
use gateway::intent::{Action, Rule, Service, Target};

use super::{
    super::sketch::{ACK, FIN, RST, SYN},
    Address, Beginning, Choices, End, Nat, Packet, Pooled, Session, Way, What, Whom,
};

/// For how long a client that called somebody in vain may count on being reached back (the time in
/// which a caller tries again).
const HOPE: Duration = Duration::from_secs(30);

/// Whether somebody may send to an external endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Must,
    /// The client has sent to them, but they have had nothing to do with each other since.
    May,
    MustNot,
}

impl Nat {
    /// Decides about a packet that no session has: how it begins one, or why not.
    pub(super) fn judge(
        &mut self,
        packet: &Packet,
        made: &dyn Choices,
    ) -> Result<Beginning, Reason> {
        let rule = self.rule(packet).cloned();
        let wanted = rule.as_ref().and_then(|rule| match &rule.action {
            Action::Translate { pool } if packet.is_inside => Some((rule, pool)),
            Action::Translate { .. } | Action::Pass => None,
        });
        let called = self.addresses.get(packet.target.ip()).cloned();
        if called.is_none() && wanted.is_none() {
            return Err(match rule.map(|rule| rule.action) {
                None => Reason::NoRule,
                Some(Action::Pass) => Reason::RulePass,
                Some(Action::Translate { .. }) => Reason::ExternalRealm,
            });
        }
        if let Some(called) = &called
            && packet.protocol != Protocol::Icmp
            && !(called.ports.0..=called.ports.1).contains(&packet.target.port())
        {
            return Err(match (self.routes)(*packet.target.ip()) {
                Way::Local => Reason::NotOurPort,
                Way::Sent | Way::KernelSends | Way::Unresolved | Way::Nowhere => {
                    Reason::Unsolicited
                }
            });
        }
        let pooled = wanted.map(|wanted| self.pooled(wanted, packet, made));
        let beginning = match (called, pooled) {
            (Some(called), pooled) => self.to_a_mapping(packet, &called, pooled, made)?,
            (None, Some(pooled)) => match (self.routes)(*pooled.remote.ip()) {
                Way::Local => return Err(Reason::LocalDestination),
                Way::Nowhere => return Err(Reason::NoRoute),
                Way::Sent | Way::KernelSends | Way::Unresolved => {
                    let remote = pooled.remote;
                    Beginning::Out(pooled, remote)
                }
            },
            (None, None) => unreachable!("it is nobody's, see above"),
        };
        match (packet.what, &beginning) {
            (What::Datagram, _) => Ok(beginning),
            (What::Segment(flags), _) if opens(flags) => Ok(beginning),
            (What::Segment(flags), _) => Err(stray(flags)),
            // Whoever outside answers a question may be another than was asked.
            (What::Question, Beginning::Out(pooled, to)) if *to == pooled.remote => Ok(beginning),
            (What::Reply, Beginning::In(_)) => Ok(beginning),
            (What::Question | What::Reply, _) => Err(Reason::NotAQuery),
        }
    }

    /// The first rule that matches.
    fn rule(&self, packet: &Packet) -> Option<&Rule> {
        let ends = [packet.source, packet.target].map(|end| IpAddr::V4(*end.ip()));
        let [source, target] = &ends;
        let port = packet.target.port();
        self.intent.rules.iter().find(|rule| {
            rule.sources.iter().any(|net| net.contains(source))
                && rule.destinations.iter().any(|net| net.contains(target))
                && rule.services.iter().any(|service| match *service {
                    Service::Any => true,
                    Service::Protocol(protocol) => protocol == packet.protocol,
                    Service::Ports(protocol, first, last) => {
                        protocol == packet.protocol && (first..=last).contains(&port)
                    }
                })
        })
    }

    /// What a rule gives a client. A client keeps its address of a pool (RFC 4787 REQ-2).
    fn pooled(
        &mut self,
        (rule, pool): (&Rule, &String),
        packet: &Packet,
        made: &dyn Choices,
    ) -> Pooled {
        let client = *packet.source.ip();
        let wanted = self.intent.pools.iter().find(|it| it.name == *pool);
        let wanted = wanted.expect("rules name pools that are");
        let address = made.address(pool, client);
        assert!(
            wanted.addresses.contains(&IpAddr::V4(address)),
            "{client} has {address}, which is not of pool {pool}"
        );
        let pair = self.paired.entry((pool.clone(), client));
        assert_eq!(
            *pair.or_insert(address),
            address,
            "{client} keeps its address"
        );
        Pooled {
            pool: pool.clone(),
            rule: rule.name.clone(),
            address,
            behaviour: wanted.behaviour,
            remote: led(rule, packet.target),
        }
    }

    /// Decides about a packet for a port of an external address: whose it is, and whether it lets the
    /// sender in (RFC 4787 §5 and §6).
    fn to_a_mapping(
        &self,
        packet: &Packet,
        called: &Address,
        pooled: Option<Pooled>,
        made: &dyn Choices,
    ) -> Result<Beginning, Reason> {
        if pooled.is_some() && !called.behaviour.hairpins() {
            return Err(Reason::Hairpin);
        }
        let refused = |reason| match packet.what {
            What::Segment(flags) if flags & (SYN | ACK | RST) != SYN => stray(flags),
            What::Segment(_) | What::Datagram | What::Question | What::Reply => reason,
        };
        // A question names no port of ours.
        let end = (packet.protocol, packet.target);
        let mapping = self.mappings.get(&end);
        let Some(mapping) = mapping.filter(|_| packet.what != What::Question) else {
            return Err(refused(Reason::Unsolicited));
        };
        if pooled.is_some() && mapping.internal == packet.source {
            return Err(Reason::Hairpin);
        }
        let (sender, port) = match &pooled {
            None => (*packet.source.ip(), Some(packet.source.port())),
            Some(pooled) => {
                let port = self.mapped(packet, pooled).map(|end| end.port());
                (pooled.address, port)
            }
        };
        let is_let_in = match self.entry(end, called, (sender, port)) {
            Entry::Must => true,
            Entry::MustNot => false,
            Entry::May => !self.was_kept_out(packet, pooled.as_ref(), made.reason()),
        };
        if let Way::Local | Way::Nowhere = (self.routes)(*mapping.internal.ip()) {
            return Err(Reason::NoRoute);
        }
        match (pooled, is_let_in) {
            (None, false) => Err(refused(Reason::Filtered)),
            (None, true) => Ok(Beginning::In(mapping.internal)),
            (Some(pooled), true) => Ok(Beginning::Out(pooled, mapping.internal)),
            (Some(pooled), false) => Ok(Beginning::Call(pooled)),
        }
    }

    /// Whether a packet that left for this reason had not been let in: whoever only calls takes no session of what
    /// its rule allows, and is refused no earlier than for its port.
    fn was_kept_out(&self, packet: &Packet, pooled: Option<&Pooled>, reason: Reason) -> bool {
        let lacks_sessions = |pooled: &Pooled| {
            let session = (1, 0);
            let within = self.within_quota(&pooled.rule, *packet.source.ip(), session);
            within.is_err()
        };
        reason == Reason::Filtered
            || reason == Reason::QuotaPorts && pooled.is_some_and(lacks_sessions)
    }

    /// Whether the internal endpoint behind an external one lets this sender in.
    fn entry(
        &self,
        end: (Protocol, End),
        called: &Address,
        (sender, port): (Ipv4Addr, Option<u16>),
    ) -> Entry {
        let filtering = called.behaviour.filtering(end.0);
        let is_sender = |whom: &End| {
            *whom.ip() == sender
                && match filtering {
                    Dependence::Endpoint | Dependence::Address => true,
                    Dependence::AddressAndPort => Some(whom.port()) == port,
                }
        };
        if filtering == Dependence::Endpoint {
            return Entry::Must;
        }
        let mapping = &self.mappings[&end];
        let talks = |it: &Session| it.lets_in == Some(filtering) && is_sender(&it.remote);
        let own = self
            .sessions
            .values()
            .filter(|it| (it.protocol, it.external) == end && it.inside == mapping.internal);
        let is_in_use = own.clone().next().is_some();
        let is_hoped_for = mapping.called.iter().any(|(whom, call)| {
            let is_fresh =
                call.is_some_and(|call| call.filtering == filtering && self.now - call.at < HOPE);
            is_fresh && is_in_use && is_sender(whom)
        });
        let is_talked_to = own.clone().any(talks);
        if is_talked_to || is_hoped_for {
            return Entry::Must;
        }
        match mapping.called.keys().any(is_sender) {
            true => Entry::May,
            false => Entry::MustNot,
        }
    }

    /// The external endpoint that the sender of a packet has already for this target.
    pub(super) fn mapped(&self, packet: &Packet, pooled: &Pooled) -> Option<End> {
        let wanted = match pooled.behaviour.mapping(packet.protocol) {
            Dependence::Endpoint => Whom::All,
            Dependence::Address => Whom::Address(*pooled.remote.ip()),
            Dependence::AddressAndPort => return None,
        };
        let mut mappings = self.mappings.iter();
        let found = mappings.find(|((protocol, external), mapping)| {
            *protocol == packet.protocol
                && *external.ip() == pooled.address
                && mapping.internal == packet.source
                && mapping.whom == wanted
        });
        found.map(|((_, external), _)| *external)
    }
}

/// Whom a flow goes to that dials somebody: an endpoint leads to its target.
fn led(rule: &Rule, dialled: End) -> End {
    match rule.target {
        None => dialled,
        Some(Target { address, shift }) => {
            let IpAddr::V4(address) = address else {
                panic!("who has IPv4 is led to IPv4")
            };
            End::new(address, dialled.port().wrapping_add(shift))
        }
    }
}

/// Whether a segment begins a connection.
fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// What becomes of a segment that belongs to nothing: an RST is never answered.
fn stray(flags: u8) -> Reason {
    match flags & RST {
        0 => Reason::ResetSent,
        _ => Reason::NoFlow,
    }
}
