//! What joins an internal endpoint to its external one, and who outside may use the joint
//! (RFC 4787 §4 and §5).
//!
//! A mapping is two entries, one under each of its ends. Packets make it, and then both are there only
//! while flows use them; or somebody asks for it, and then they stand until it is withdrawn.

use crate::{
    Address, Ip4, Ip6, Port, Protocol, Tick,
    limits::{PREFIXES64_MAX, RULE_NUMBERS},
};

/// Under what an entry stands.
#[repr(u8)]
enum Kind {
    /// The internal end: which external port an internal endpoint has.
    Outward = 1,
    /// The external end: whose an external port is.
    Inward = 2,
    /// A remote that the internal end has sent to, beside the first one, which stands at the
    /// external end.
    Permit = 3,
}

/// The end of a mapping, or a remote that may use it.
///
/// Fields stand so that neighbours that are written together are aligned together.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MappingKey<A: Address = Ip4> {
    /// External address.
    pub external: A,
    /// Outward: internal port or ICMP identifier. Else the external one.
    port: Port,
    /// The number in the IP header.
    pub protocol: u8,
    kind: u8,
    _fill: A::Fill,
    /// Outward: the internal address. Permit: the remote one.
    address: A,
    /// Outward: the remote address, if the mapping depends on it. Permit: the remote port, if the
    /// filter depends on it, in the first two bytes.
    remote: A,
}

impl<A: Address> MappingKey<A> {
    /// The internal end of a mapping to an external address; `remote` is [`Address::NONE`] unless the
    /// mapping depends on the remote address.
    ///
    /// The external address is part of it, because rules may send the same endpoint through two
    /// pools.
    #[inline(always)]
    pub const fn outward(
        protocol: Protocol,
        (internal, port): (A, Port),
        external: A,
        remote: A,
    ) -> Self {
        Self {
            external,
            address: internal,
            remote,
            port,
            protocol: protocol as u8,
            kind: Kind::Outward as u8,
            _fill: A::FILL,
        }
    }

    /// The external end of a mapping.
    #[inline(always)]
    pub const fn inward(protocol: Protocol, (external, port): (A, Port)) -> Self {
        Self {
            external,
            address: A::NONE,
            remote: A::NONE,
            port,
            protocol: protocol as u8,
            kind: Kind::Inward as u8,
            _fill: A::FILL,
        }
    }

    /// A remote that may use a mapping; its port is zero where it does not matter.
    #[inline(always)]
    pub fn permit(
        protocol: Protocol,
        (external, port): (A, Port),
        (remote, remote_port): (A, Port),
    ) -> Self {
        Self {
            external,
            address: remote,
            remote: A::holding(remote_port),
            port,
            protocol: protocol as u8,
            kind: Kind::Permit as u8,
            _fill: A::FILL,
        }
    }

    /// The same entry in the tables of IPv4, if it has addresses of that alone.
    #[inline(always)]
    pub fn narrow(&self) -> Option<MappingKey> {
        let address = match self.address.is(A::NONE) {
            true => Ip4::NONE,
            false => self.address.ip4()?,
        };
        Some(MappingKey {
            external: self.external.ip4()?,
            address,
            remote: Ip4::holding(self.remote.held()),
            port: self.port,
            protocol: self.protocol,
            kind: self.kind,
            _fill: (),
        })
    }

    /// Which kind of entry it is, and what it is about; nothing for one this version does not know.
    pub fn what(&self) -> Option<End<A>> {
        Some(match self.kind {
            1 => End::Outward {
                internal: (self.address, self.port),
                remote: self.remote,
            },
            2 => End::Inward { port: self.port },
            3 => End::Permit {
                port: self.port,
                remote: (self.address, self.remote.held()),
            },
            _ => return None,
        })
    }
}

/// What an entry stands under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End<A = Ip4> {
    /// An internal endpoint.
    Outward {
        /// Its address and port.
        internal: (A, Port),
        /// The remote address the mapping is for; none if it is for all.
        remote: A,
    },
    /// An external endpoint.
    Inward {
        /// Its port.
        port: Port,
    },
    /// A remote that may use an external endpoint.
    Permit {
        /// The external port.
        port: Port,
        /// Who; the port is zero if any may.
        remote: (A, Port),
    },
}

/// Who outside may begin flows to an external port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admits {
    /// The remotes that its pool's filtering lets in; so it is for mappings that packets made.
    Filtered,
    /// Everybody.
    Everyone,
    /// The callers that this list has, see [`crate::ClassKey::caller`]; nobody else, whomever the
    /// internal end has sent to.
    Listed(u16),
}

impl Admits {
    /// The highest number of a list; zero is none's.
    pub const LIST_MAX: u16 = u16::MAX;
}

/// In what a mapping says of its origin: where the prefix stands behind the rule's number.
const PREFIX: u32 = 13;
/// In there as well: somebody asked for the mapping.
const ASKED_FOR: u16 = 1 << 15;
const RULE: u16 = (1 << PREFIX) - 1;
const _: () = assert!(RULE_NUMBERS <= 1 << PREFIX && PREFIXES64_MAX <= 1 << (15 - PREFIX));

/// What stands at an end of a mapping.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping<A = Ip4> {
    /// Outward: external port or ICMP identifier. Inward: the internal one.
    pub port: Port,
    /// Inward: the number of the rule under which the port was claimed, zero if it has none; by which of
    /// the prefixes that stand for IPv4 addresses the internal end knows its remotes, if it has IPv6 and
    /// they have not, see `Config::prefixes`; and whether somebody asked for the mapping.
    origin: u16,
    /// When it was made.
    pub created: Tick,
    /// Inward: the internal address.
    pub internal: A,
    /// Inward: the remote address that the internal end sent to first. Of a mapping that somebody asked
    /// for, the number of the list of those whom it admits, in the first two bytes; zero is everybody.
    pub remote: A,
}

impl<A: Address> Mapping<A> {
    /// What stands at the internal end: the external port.
    #[inline(always)]
    pub const fn outward(port: Port, created: Tick) -> Self {
        Self::inward((A::NONE, port), A::NONE, created)
    }

    /// What stands at the external end: the internal endpoint, and the first remote it sent to.
    #[inline(always)]
    pub const fn inward((internal, port): (A, Port), remote: A, created: Tick) -> Self {
        Self {
            port,
            origin: 0,
            created,
            internal,
            remote,
        }
    }

    /// The same, claimed under the rule with this number, by an internal end that knows its remotes by
    /// this prefix.
    #[inline(always)]
    pub fn under(self, rule: u16, prefix: u16) -> Self {
        Self {
            origin: self.origin & ASKED_FOR | prefix << PREFIX | rule & RULE,
            ..self
        }
    }

    /// The number of the rule; zero if it has none.
    #[inline(always)]
    pub const fn rule(&self) -> u16 {
        self.origin & RULE
    }

    /// The prefix, as an index.
    #[inline(always)]
    pub const fn prefix(&self) -> usize {
        ((self.origin & !ASKED_FOR) >> PREFIX) as usize
    }

    /// The same, asked for: it stands whether flows use it or not, and admits these. Not
    /// [`Admits::Filtered`], which takes that back.
    pub fn admitting(self, admits: Admits) -> Self {
        let origin = self.origin & !ASKED_FOR;
        match admits {
            Admits::Filtered => Self {
                origin,
                remote: A::NONE,
                ..self
            },
            Admits::Everyone => Self {
                origin: origin | ASKED_FOR,
                remote: A::NONE,
                ..self
            },
            Admits::Listed(list) => Self {
                origin: origin | ASKED_FOR,
                remote: A::holding(Port::new(list)),
                ..self
            },
        }
    }

    /// Who may begin flows to the external port.
    #[inline(always)]
    pub fn admits(&self) -> Admits {
        match (self.is_asked_for(), self.remote.held().get()) {
            (false, _) => Admits::Filtered,
            (true, 0) => Admits::Everyone,
            (true, list) => Admits::Listed(list),
        }
    }

    /// Whether somebody asked for it.
    #[inline(always)]
    pub const fn is_asked_for(&self) -> bool {
        self.origin & ASKED_FOR != 0
    }

    /// What stands at a permit: nothing but its age.
    #[inline(always)]
    pub const fn permit(created: Tick) -> Self {
        Self::outward(Port::new(0), created)
    }
}

const _: () = assert!(
    RULE_NUMBERS <= ASKED_FOR as usize,
    "a rule's number has fifteen bits in a mapping"
);
const _: () = assert!(size_of::<MappingKey>() == 16);
const _: () = assert!(size_of::<Mapping>() == 16);
const _: () = assert!(size_of::<MappingKey<Ip6>>() == 56);
const _: () = assert!(size_of::<Mapping<Ip6>>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_mapping_admits_is_read_back_and_packets_make_none_that_was_asked_for() {
        let made = Mapping::<Ip4>::outward(Port::new(7), Tick(1)).under(77, 3);
        assert_eq!(made.admits(), Admits::Filtered);
        assert!(!made.is_asked_for());

        for admits in [
            Admits::Everyone,
            Admits::Listed(1),
            Admits::Listed(Admits::LIST_MAX),
        ] {
            let asked = made.admitting(admits);
            assert_eq!(asked.admits(), admits);
            assert!(asked.is_asked_for() && asked.rule() == 77);
            assert_eq!(asked.under(78, 3).admits(), admits);
            assert_eq!(asked.admitting(Admits::Filtered), made);
        }
    }
}
