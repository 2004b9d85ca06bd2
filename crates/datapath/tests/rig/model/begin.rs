//! How a session begins: with the external endpoint that its internal one has already, or a new one, and
//! only if there is room for it and its quota allows it.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use abi::{Behaviour, Dependence, Protocol, Reason};

use super::{
    Beginning, Call, Choices, Connection, End, Mapping, Nat, Packet, Pooled, Session, Whom, ports,
};

impl Nat {
    /// Whether TCP ports of this pool serve several sessions.
    pub(super) fn is_shared(protocol: Protocol, behaviour: &Behaviour) -> bool {
        protocol == Protocol::Tcp && behaviour.overloads()
    }

    /// Makes a session, and whatever it needs; or says why there is no room for it.
    pub(super) fn begin(
        &mut self,
        packet: &Packet,
        beginning: Beginning,
        made: &dyn Choices,
    ) -> Result<(), Reason> {
        let protocol = packet.protocol;
        let (pooled, peer) = match beginning {
            Beginning::In(inside) => {
                let pool = self.addresses[packet.target.ip()].pool.clone();
                let rule = self.mappings[&(protocol, packet.target)].rule.clone();
                self.within_quota(&rule, *inside.ip(), (1, 0))?;
                return self.insert(Session {
                    protocol,
                    inside,
                    seen: packet.source,
                    remote: packet.source,
                    external: packet.target,
                    peer: packet.source,
                    pool,
                    rule,
                    lets_in: None,
                    connection: Connection::default(),
                    last: self.now,
                });
            }
            Beginning::Out(pooled, peer) => (pooled, Some(peer)),
            Beginning::Call(pooled) => (pooled, None),
        };
        let is_shared = Self::is_shared(protocol, &pooled.behaviour);
        let mapped = self.mapped(packet, &pooled);
        if mapped.is_none() && peer.is_none() && is_shared {
            return Err(Reason::Filtered);
        }
        // Who only calls begins no session, and a port of several sessions is no client's.
        let sessions = u32::from(peer.is_some());
        let ports = u32::from(mapped.is_none() && !is_shared);
        self.within_quota(&pooled.rule, *packet.source.ip(), (sessions, ports))?;
        if made.reason() == Reason::MappingTableFull {
            self.may_be_full();
            self.taken_in_vain(pooled.address);
            return Err(Reason::MappingTableFull);
        }
        let external = match mapped {
            Some(external) => external,
            None => {
                self.refused_with_a_port(protocol, pooled.address, peer, made)?;
                self.claimed(packet, (pooled.address, &pooled.behaviour), peer, made)?
            }
        };
        if let Some(peer) = peer {
            let begun = self.insert(Session {
                protocol,
                inside: packet.source,
                seen: packet.target,
                remote: pooled.remote,
                external,
                peer,
                pool: pooled.pool.clone(),
                rule: pooled.rule.clone(),
                lets_in: Some(pooled.behaviour.filtering(protocol)),
                connection: Connection::default(),
                last: self.now,
            });
            if let Err(reason) = begun {
                if let Some(mapping) = self.mappings.get_mut(&(protocol, external)) {
                    mapping.called.entry(pooled.remote).or_insert(None);
                    mapping.in_vain = self.now;
                }
                return Err(reason);
            }
        }
        if !is_shared {
            self.call(
                packet,
                (external, mapped.is_none()),
                &pooled,
                peer.is_none(),
            );
        }
        match peer {
            Some(_) => Ok(()),
            None => Err(Reason::Filtered),
        }
    }

    /// Notes that an internal endpoint sends to somebody from an external one, which may be new.
    fn call(
        &mut self,
        packet: &Packet,
        (external, is_new): (End, bool),
        pooled: &Pooled,
        is_in_vain: bool,
    ) {
        let whom = match pooled.behaviour.mapping(packet.protocol) {
            Dependence::Endpoint => Whom::All,
            Dependence::Address => Whom::Address(*pooled.remote.ip()),
            Dependence::AddressAndPort => Whom::One,
        };
        let mapping = self.mappings.entry((packet.protocol, external));
        let mapping = mapping.or_insert_with(|| Mapping {
            internal: packet.source,
            whom,
            rule: pooled.rule.clone(),
            made: self.now,
            called: BTreeMap::new(),
            in_vain: Duration::ZERO,
        });
        if is_in_vain {
            mapping.in_vain = self.now;
        }
        // Nobody can know the port of an endpoint that has only ever called in vain.
        let call = (is_in_vain && !is_new).then(|| Call {
            at: self.now,
            filtering: pooled.behaviour.filtering(packet.protocol),
        });
        let called = mapping.called.entry(pooled.remote).or_insert(None);
        // Remembered once for each time: it is not made longer by calling again.
        if called.is_none() {
            *called = call;
        }
    }

    /// Inserts a session, unless another has one of its tuples, or there are too many.
    fn insert(&mut self, session: Session) -> Result<(), Reason> {
        let Session {
            protocol,
            inside,
            seen,
            external,
            peer,
            ..
        } = session;
        let is_known = |source, target| self.translated(protocol, source, target).is_some();
        if is_known(inside, seen) || is_known(peer, external) {
            return Err(Reason::Collision);
        }
        if self.sessions.len() >= self.room {
            return Err(Reason::FlowTableFull);
        }
        self.inward
            .insert((protocol, peer, external), (inside, seen));
        self.sessions.insert((protocol, inside, seen), session);
        Ok(())
    }

    /// A rule's clients have no more than its quota, each of them and all together.
    pub(super) fn within_quota(
        &self,
        rule: &str,
        client: Ipv4Addr,
        (sessions, ports): (u32, u32),
    ) -> Result<(), Reason> {
        let Some(rule) = self.intent.rules.iter().find(|it| it.name == rule) else {
            return Ok(());
        };
        let own = |of: &str, whose: End| of == rule.name && *whose.ip() == client;
        let count = |all: usize| u32::try_from(all).expect("few");
        let of_all = |is_own: bool| {
            let is_counted = |of: &str, whose: End| match is_own {
                true => own(of, whose),
                false => of == rule.name,
            };
            let sessions = self.sessions.values();
            let mappings = self.mappings.values();
            let sessions = sessions.filter(|it| is_counted(&it.rule, it.inside));
            let mappings = mappings.filter(|it| is_counted(&it.rule, it.internal));
            (count(sessions.count()), count(mappings.count()))
        };
        for (limits, is_own) in [(rule.quota.client, true), (rule.quota.total, false)] {
            let has = of_all(is_own);
            let is_beyond =
                |limit: u32, has: u32, more: u32| limit != 0 && more != 0 && has + more > limit;
            if is_beyond(limits.flows, has.0, sessions) {
                return Err(Reason::QuotaFlows);
            }
            if is_beyond(limits.ports, has.1, ports) {
                return Err(Reason::QuotaPorts);
            }
        }
        Ok(())
    }

    /// A session that got a port may be refused all the same; nobody knows which port that was.
    fn refused_with_a_port(
        &mut self,
        protocol: Protocol,
        address: Ipv4Addr,
        peer: Option<End>,
        made: &dyn Choices,
    ) -> Result<(), Reason> {
        let Some(peer) = peer else { return Ok(()) };
        if made.reason() == Reason::FlowTableFull {
            assert!(self.sessions.len() >= self.room, "there is room");
            return Err(Reason::FlowTableFull);
        }
        if made.reason() == Reason::Collision {
            let mut sessions = self.sessions.values();
            let is_in_the_way = sessions
                .any(|it| (it.protocol, it.external.ip(), it.peer) == (protocol, &address, peer));
            assert!(is_in_the_way, "{address} has no session with {peer}");
            self.taken_in_vain(address);
            return Err(Reason::Collision);
        }
        Ok(())
    }

    /// Some port of an address was taken for nobody, until sweeps have seen that.
    fn taken_in_vain(&mut self, address: Ipv4Addr) {
        let address = self.addresses.get_mut(&address).expect("it is a pool's");
        address.in_vain = ports::SWEEPS;
    }

    /// Asserts that so much is mapped that there may be no room for more: twice as many entries as
    /// sessions, of which a mapping takes two, and each further remote that was sent to one.
    fn may_be_full(&self) {
        let mappings = self.mappings.values();
        let entries: usize = mappings.map(|mapping| 2 + mapping.called.len()).sum();
        assert!(
            entries + 2 >= 2 * self.room,
            "there is room for more than {entries} entries of mappings"
        );
    }
}
