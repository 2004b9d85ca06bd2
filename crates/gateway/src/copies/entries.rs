//! What stands in a member's tables about a flow that another one told it of.

use abi::{
    Address, Dependence, External, Flow, FlowKey, Ip4, Ip6, Live, Mapping, MappingKey, Picture,
    Port, Protocol, Side, Tick, ports::bitmap_towards,
};

use super::{FlowCopy, Terms};

/// Why a member has no use for a flow that it was told of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
pub enum Refused {
    /// It has another configuration than who told it, or a draining address less.
    #[error("its external address is none of this gateway's")]
    External,
}

/// An entry of the tables of mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Of those who have IPv4 alone.
    Narrow(MappingKey, Mapping),
    /// Of those who have IPv6.
    Wide(MappingKey<Ip6>, Mapping<Ip6>),
}

/// All that is to stand there.
#[derive(Clone, Debug)]
pub struct Entries<A: Address> {
    /// Both directions: outbound, then inbound.
    pub flows: [(FlowKey<A>, Flow<Picture, A>); 2],
    /// The mapping that it uses: its external end, then its internal one, if there is one for more than this
    /// flow.
    pub mapping: Vec<Entry>,
    /// What lets its remote in, if the mapping does not.
    pub permit: Option<Entry>,
    /// The port that it uses: in which bitmap, and which.
    pub port: Option<(u32, Port)>,
}

impl<A: Address> FlowCopy<A> {
    /// What is to stand in the tables of a member where numbers mean this.
    ///
    /// # Errors
    ///
    /// Why it has no use for the flow.
    pub fn entries(&self, terms: &Terms, now: Tick) -> Result<Entries<A>, Refused> {
        let external = terms.meant(self.sent.source);
        let found = terms.externals.get(&external.wide());
        let found = found.ok_or(Refused::External)?;
        let rule = terms.rules.get(&self.rule).copied().unwrap_or(0);
        let created = Tick(now.0.saturating_sub(self.age));
        let [out, back] = self.deltas;
        let flow = |side, to, deltas, seen: u8| {
            let flow = Flow::<Live, A>::new(side, found.pool, to, deltas, created).under(rule);
            flow.seen.set(seen);
            flow.last_seen.set(now.0);
            flow.picture()
        };
        let [seen_out, seen_back] = self.seen;
        let flows = [
            (
                self.outbound(),
                flow(Side::Outbound, self.sent, out, seen_out),
            ),
            (
                self.inbound(),
                flow(Side::Inbound, self.asked.reversed(), back, seen_back),
            ),
        ];
        if self.protocol.is_by_address() {
            return Ok(Entries {
                flows,
                mapping: Vec::new(),
                permit: None,
                port: None,
            });
        }
        let remote = (self.sent.target, self.sent.target_port);
        let planes = (found.index, found.planes);
        let bitmap = bitmap_towards(terms.seed, planes, self.protocol, remote);
        // Its entries are new: a sweep that has not come by the flow yet must spare them.
        let (mapping, permit) = self.mapping(terms, external, found, (rule, now));
        Ok(Entries {
            flows,
            mapping,
            permit,
            port: Some((bitmap, self.sent.source_port)),
        })
    }

    fn mapping(
        &self,
        terms: &Terms,
        external: A,
        found: &External,
        (rule, created): (u16, Tick),
    ) -> (Vec<Entry>, Option<Entry>) {
        // Ports that several flows share have no mapping.
        if found.planes != 0 && self.protocol == Protocol::Tcp {
            return (Vec::new(), None);
        }
        // Of a hairpinned flow the mapping knows whom it dialled, of others whom they reach.
        let is_hairpin = terms.meant(self.asked.target) != terms.meant(self.sent.target)
            && terms
                .externals
                .contains_key(&terms.meant(self.asked.target).wide());
        let remote = match is_hairpin {
            true => terms.meant(self.asked.target),
            false => terms.meant(self.sent.target),
        };
        let ends = Ends {
            protocol: self.protocol,
            internal: (self.asked.source, self.asked.source_port),
            external: (external, self.sent.source_port),
            remote,
            origin: (rule, terms.prefix_of(self.asked.target)),
            created,
        };
        // Who has IPv4 alone is in its tables, whatever they reach.
        match ends.narrow() {
            Some(ends) => ends.entries(found, Entry::Narrow),
            None => ends.wide().entries(found, Entry::Wide),
        }
    }
}

/// Both ends of a mapping, and whom it was used to reach.
struct Ends<A> {
    protocol: Protocol,
    internal: (A, Port),
    external: (A, Port),
    remote: A,
    /// The rule's number, and by which prefix the internal end knows its remotes.
    origin: (u16, u16),
    created: Tick,
}

impl<A: Address> Ends<A> {
    fn with<B>(&self, [internal, external, remote]: [B; 3]) -> Ends<B> {
        Ends {
            protocol: self.protocol,
            internal: (internal, self.internal.1),
            external: (external, self.external.1),
            remote,
            origin: self.origin,
            created: self.created,
        }
    }

    fn narrow(&self) -> Option<Ends<Ip4>> {
        let (internal, external) = (self.internal.0.ip4()?, self.external.0.ip4()?);
        Some(self.with([internal, external, self.remote.ip4().unwrap_or(Ip4::NONE)]))
    }

    fn wide(&self) -> Ends<Ip6> {
        let (internal, external) = (self.internal.0.wide(), self.external.0.wide());
        self.with([internal, external, self.remote.wide()])
    }

    fn entries(
        &self,
        found: &External,
        entry: impl Fn(MappingKey<A>, Mapping<A>) -> Entry,
    ) -> (Vec<Entry>, Option<Entry>) {
        let depends = found.behaviour.mapping(self.protocol);
        let remote = match depends {
            Dependence::Address => self.remote,
            Dependence::Endpoint | Dependence::AddressAndPort => A::NONE,
        };
        let (rule, prefix) = self.origin;
        let inward = Mapping::inward(self.internal, self.remote, self.created).under(rule, prefix);
        let mut mapping = vec![entry(
            MappingKey::inward(self.protocol, self.external),
            inward,
        )];
        if depends != Dependence::AddressAndPort {
            let key = MappingKey::outward(self.protocol, self.internal, self.external.0, remote);
            let outward = Mapping::outward(self.external.1, self.created);
            mapping.push(entry(key, outward));
        }
        let permit = match found.behaviour.filtering(self.protocol) {
            Dependence::Address => {
                let remote = (self.remote, Port::new(0));
                let key = MappingKey::permit(self.protocol, self.external, remote);
                Some(entry(key, Mapping::permit(self.created)))
            }
            // A flow lets its own remote in.
            Dependence::Endpoint | Dependence::AddressAndPort => None,
        };
        (mapping, permit)
    }
}
