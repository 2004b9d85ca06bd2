//! How a pool translates: the behaviours of RFC 4787 §4 to §6, RFC 5382 and RFC 5508, as the packet
//! path reads them.

use crate::Protocol;

/// What of a remote endpoint a mapping or a filter depends on.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dependence {
    /// Nothing: endpoint-independent.
    Endpoint = 1,
    /// Its address: address-dependent.
    Address = 2,
    /// Its address and port: address-and-port-dependent.
    AddressAndPort = 3,
}

impl Dependence {
    /// All of them, from the most open to the strictest.
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::Address, Self::AddressAndPort];

    /// The RFC's word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint-independent",
            Self::Address => "address-dependent",
            Self::AddressAndPort => "address-and-port-dependent",
        }
    }

    /// The strictest for a number this version does not know.
    #[inline(always)]
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Endpoint,
            2 => Self::Address,
            _ => Self::AddressAndPort,
        }
    }
}

/// How a client is told that there is no room for its flow.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refusal {
    /// By ICMP destination unreachable, communication administratively prohibited (RFC 5508 REQ-8).
    Icmp = 0,
    /// By RST if it speaks TCP, else by ICMP.
    Reset = 1,
    /// Not at all (RFC 5508 REQ-9).
    Silent = 2,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Icmp, Self::Reset, Self::Silent];

    /// The word in configurations.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Reset => "reset",
            Self::Silent => "silent",
        }
    }
}

/// The flag of a protocol that is translated by address; none of the others, which always are.
#[inline(always)]
const fn by_address(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Sctp => 1 << BY_ADDRESS,
        Protocol::Gre => 2 << BY_ADDRESS,
        Protocol::Esp => 4 << BY_ADDRESS,
        Protocol::Tcp | Protocol::Udp | Protocol::Icmp => 0,
    }
}

/// How a pool translates. Zeroed memory is the strictest there is.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Behaviour {
    /// By port space: mapping in the low bits, filtering in the high ones.
    modes: [u8; 3],
    flags: u8,
    /// The largest MSS that TCP may agree on, in bytes; zero leaves it alone.
    pub mss: u16,
    _pad: u16,
}

/// The mode of what depends on the remote's address and port in all.
const STRICTLY: u8 = Dependence::AddressAndPort as u8 | (Dependence::AddressAndPort as u8) << 4;

/// The first of the bits that say which protocols are translated by address, in the order of
/// [`Protocol::BY_ADDRESS`].
const BY_ADDRESS: u32 = 3;

/// Internal endpoints may reach each other by their external ones.
const HAIRPIN: u8 = 1;
/// Where the [`Refusal`] stands in the flags.
const REFUSAL: u32 = 6;
/// A TCP port serves several flows, to different remotes.
const OVERLOAD: u8 = 2;
/// An external port may be odd where the internal one is even.
const ANY_PARITY: u8 = 4;

impl Behaviour {
    /// What zeroed memory says.
    pub const STRICTEST: Self = Self {
        modes: [0; 3],
        flags: 0,
        mss: 0,
        _pad: 0,
    };

    /// The behaviour with these mapping and filtering modes, by port space.
    pub const fn new(
        mapping: [Dependence; 3],
        filtering: [Dependence; 3],
        hairpinning: bool,
        mss: u16,
    ) -> Self {
        let [tcp, udp, icmp] = mapping;
        let [tcp_filter, udp_filter, icmp_filter] = filtering;
        Self {
            modes: [
                tcp as u8 | (tcp_filter as u8) << 4,
                udp as u8 | (udp_filter as u8) << 4,
                icmp as u8 | (icmp_filter as u8) << 4,
            ],
            flags: if hairpinning { HAIRPIN } else { 0 },
            mss,
            _pad: 0,
        }
    }

    /// The same, but that clients are told of refusals in this way.
    pub const fn refusing(self, refusal: Refusal) -> Self {
        let others = self.flags & !(3 << REFUSAL);
        Self {
            flags: others | (refusal as u8) << REFUSAL,
            ..self
        }
    }

    /// The same, but a TCP port serves several flows, as long as their remotes differ (RFC 7857 §3).
    /// So a port is nobody's alone, and TCP depends on the remote's address and port in all.
    pub const fn overloading(self) -> Self {
        let [_, udp, icmp] = self.modes;
        Self {
            modes: [STRICTLY, udp, icmp],
            flags: self.flags | OVERLOAD,
            ..self
        }
    }

    /// The same, but that this protocol is translated too, by address.
    pub const fn with_by_address(self, protocol: Protocol) -> Self {
        Self {
            flags: self.flags | by_address(protocol),
            ..self
        }
    }

    /// Whether a protocol is translated.
    #[inline(always)]
    pub const fn translates(&self, protocol: Protocol) -> bool {
        self.flags & by_address(protocol) == by_address(protocol)
    }

    /// How a client is told of a refusal.
    #[inline(always)]
    pub const fn refusal(&self) -> Refusal {
        match self.flags >> REFUSAL & 3 {
            0 => Refusal::Icmp,
            1 => Refusal::Reset,
            _ => Refusal::Silent,
        }
    }

    /// The same, but external ports need not have the parity of internal ones (RFC 7857 §8).
    pub const fn with_any_parity(self) -> Self {
        Self {
            flags: self.flags | ANY_PARITY,
            ..self
        }
    }

    #[inline(always)]
    const fn mode(&self, protocol: Protocol) -> u8 {
        let [tcp, udp, icmp] = self.modes;
        match protocol {
            Protocol::Tcp => tcp,
            Protocol::Udp => udp,
            Protocol::Icmp => icmp,
            Protocol::Sctp | Protocol::Gre | Protocol::Esp => STRICTLY,
        }
    }

    /// What an external port depends on.
    #[inline(always)]
    pub const fn mapping(&self, protocol: Protocol) -> Dependence {
        Dependence::from_bits(self.mode(protocol))
    }

    /// Which remotes may send to an external port.
    #[inline(always)]
    pub const fn filtering(&self, protocol: Protocol) -> Dependence {
        Dependence::from_bits(self.mode(protocol) >> 4)
    }

    /// Whether internal endpoints may reach each other by their external ones.
    #[inline(always)]
    pub const fn hairpins(&self) -> bool {
        self.flags & HAIRPIN != 0
    }

    /// Whether a TCP port serves several flows.
    pub const fn overloads(&self) -> bool {
        self.flags & OVERLOAD != 0
    }

    /// Whether an external port has the parity of the internal one, if there is such a port.
    #[inline(always)]
    pub const fn keeps_parity(&self) -> bool {
        self.flags & ANY_PARITY == 0
    }
}

const _: () = assert!(size_of::<Behaviour>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_read_back_for_each_protocol() {
        for mapping in Dependence::ALL {
            for filtering in Dependence::ALL {
                let other = Dependence::Endpoint;
                let it =
                    Behaviour::new([mapping, other, other], [filtering, other, other], true, 9);
                assert_eq!(it.mapping(Protocol::Tcp), mapping);
                assert_eq!(it.filtering(Protocol::Tcp), filtering);
                assert_eq!(it.mapping(Protocol::Icmp), other);
                assert!(it.hairpins());
            }
        }
    }

    #[test]
    fn a_refusal_is_read_back_and_changes_nothing_else() {
        let any = [Dependence::Address; 3];
        let usual = Behaviour::new(any, any, true, 9);
        for refusal in Refusal::ALL {
            let it = usual.refusing(Refusal::Silent).refusing(refusal);
            assert_eq!(it.refusal(), refusal);
            assert_eq!(it.refusing(Refusal::Icmp), usual);
        }
    }

    #[test]
    fn which_protocols_are_translated_by_address_is_read_back_and_changes_nothing_else() {
        let any = [Dependence::Address; 3];
        let usual = Behaviour::new(any, any, true, 9).refusing(Refusal::Silent);
        for protocol in Protocol::BY_ADDRESS {
            let it = usual.with_by_address(protocol);
            assert_eq!(it.refusal(), Refusal::Silent);
            assert!(it.hairpins() && it.keeps_parity() && !it.overloads());
            for other in Protocol::ALL {
                let is_translated = other == protocol || !other.is_by_address();
                assert_eq!(it.translates(other), is_translated, "{other:?}");
            }
        }
    }

    #[test]
    fn an_overloaded_pool_is_strict_about_tcp_and_as_it_was_about_the_rest() {
        let open = [Dependence::Endpoint; 3];
        let it = Behaviour::new(open, open, true, 9).overloading();

        assert!(it.overloads() && it.hairpins() && it.keeps_parity());
        assert_eq!(it.mapping(Protocol::Tcp), Dependence::AddressAndPort);
        assert_eq!(it.filtering(Protocol::Tcp), Dependence::AddressAndPort);
        assert_eq!(it.mapping(Protocol::Udp), Dependence::Endpoint);
        assert_eq!(it.filtering(Protocol::Icmp), Dependence::Endpoint);
        assert!(!it.with_any_parity().keeps_parity());
    }

    #[test]
    fn what_was_never_written_is_the_strictest() {
        let zero = Behaviour::default();

        assert_eq!(zero.mapping(Protocol::Udp), Dependence::AddressAndPort);
        assert_eq!(zero.filtering(Protocol::Udp), Dependence::AddressAndPort);
        assert!(!zero.hairpins());
    }
}
