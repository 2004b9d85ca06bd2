//! Clients that reach each other by their external IPv4 endpoints, whichever version they have (RFC 6146
//! §3.8, RFC 4787 REQ-9).

use abi::{Behaviour, Dependence, Ip4, Ip6, Port, Prefix64, Protocol, Reason, Tuple};

use super::{CLIENT, REMOTE, packet, towards};
use crate::rig::{
    Left, Site, Sketch, Sketch6,
    dual::{dual_with, own_prefix, send6},
    laws::sound,
    site::{INSIDE, OUTSIDE, tuple},
    sketch6::ip6,
    whole::{quoted, tuple_of},
};

const OTHER: (&str, u16) = ("fd01::2", 5000);
/// A client of IPv4.
const NARROW_CLIENT: ([u8; 4], u16) = ([10, 1, 0, 1], 6000);

fn site(filtering: Dependence) -> Site {
    dual_with(|intent| {
        let endpoint = [Dependence::Endpoint; 3];
        intent.pools[0].behaviour = Behaviour::new(endpoint, [filtering; 3], true, 0);
    })
}

/// Somebody inside.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// By the prefix that it knows IPv4 by.
    Six((&'static str, u16), Prefix64),
    Four(([u8; 4], u16)),
}

impl Client {
    /// Sends to an IPv4 endpoint.
    fn send(self, site: &Site, protocol: Protocol, to: (Ip4, Port), is_first: bool) -> Left {
        match self {
            Self::Six((address, port), prefix) => {
                let tuple = Tuple {
                    source: ip6(address),
                    source_port: Port::new(port),
                    target: prefix.embed(to.0),
                    target_port: to.1,
                };
                let sketch = match is_first {
                    true => Sketch6::first(protocol, tuple),
                    false => Sketch6::answer(protocol, tuple),
                };
                send6(site, INSIDE, &sketch)
            }
            Self::Four(from) => {
                let tuple = tuple(from, (to.0.0, to.1.get()));
                let sketch = match is_first {
                    true => Sketch::first(protocol, tuple),
                    false => Sketch::answer(protocol, tuple),
                };
                site.send(INSIDE, &sketch)
            }
        }
    }

    /// How it knows an IPv4 endpoint.
    fn knows(self, end: (Ip4, Port)) -> (Ip6, Port) {
        match self {
            Self::Six(_, prefix) => (prefix.embed(end.0), end.1),
            Self::Four(_) => (Ip6::mapped(end.0), end.1),
        }
    }

    fn own(self) -> (Ip6, Port) {
        match self {
            Self::Six((address, port), _) => (ip6(address), Port::new(port)),
            Self::Four((address, port)) => (Ip6::mapped(Ip4(address)), Port::new(port)),
        }
    }

    /// The external endpoint that it has, of which everybody knows who talks to it.
    fn external(self, site: &Site, protocol: Protocol) -> (Ip4, Port) {
        let left = self.send(site, protocol, (REMOTE, Port::new(440)), true);
        assert_eq!(left.reason, Reason::TranslatedOut);
        let (_, seen) = tuple_of(&left.after.bytes);
        (seen.source.unmapped(), seen.source_port)
    }
}

/// Two clients, of which one at least has IPv6.
fn pairs() -> [(Client, Client); 4] {
    let a = Client::Six(CLIENT, Prefix64::WELL_KNOWN);
    let b = Client::Six(OTHER, own_prefix());
    let four = Client::Four(NARROW_CLIENT);
    [(a, b), (b, a), (a, four), (four, a)]
}

#[test]
fn two_clients_reach_each_other_by_their_external_ipv4_endpoints() {
    for (caller, called) in pairs() {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let site = site(Dependence::Endpoint);
            let (own, other) = (
                caller.external(&site, protocol),
                called.external(&site, protocol),
            );

            let there = caller.send(&site, protocol, other, true);
            assert_eq!(there.reason, Reason::TranslatedOut, "{caller:?} {called:?}");
            let (_, seen) = tuple_of(&there.after.bytes);
            // From the same endpoint that everybody else knows (RFC 4787 REQ-1, REQ-9 a).
            assert_eq!((seen.source, seen.source_port), called.knows(own));
            assert_eq!((seen.target, seen.target_port), called.own());

            let back = called.send(&site, protocol, own, false);
            assert_eq!(back.reason, Reason::TranslatedIn, "{caller:?} {called:?}");
            let (_, seen) = tuple_of(&back.after.bytes);
            assert_eq!((seen.source, seen.source_port), caller.knows(other));
            assert_eq!((seen.target, seen.target_port), caller.own());
            sound(&site.memory);
        }
    }
}

/// Each of them sends to the other; the first packet of the first is filtered, and lets the second's in.
#[test]
fn two_clients_behind_filters_reach_each_other_if_both_send() {
    for filtering in [Dependence::Address, Dependence::AddressAndPort] {
        for (caller, called) in pairs() {
            let site = site(filtering);
            let protocol = Protocol::Udp;
            let (own, other) = (
                caller.external(&site, protocol),
                called.external(&site, protocol),
            );

            let knock = caller.send(&site, protocol, other, true);
            assert_eq!(knock.reason, Reason::Filtered, "{caller:?} {called:?}");
            let back = called.send(&site, protocol, own, true);
            assert_eq!(
                back.reason,
                Reason::TranslatedOut,
                "{filtering:?} {caller:?} {called:?}"
            );
            let there = caller.send(&site, protocol, other, true);
            assert!(there.is_translated(), "{caller:?} {called:?}");
            let (_, seen) = tuple_of(&there.after.bytes);
            assert_eq!((seen.source, seen.source_port), called.knows(own));
            sound(&site.memory);
        }
    }
}

/// RFC 5508 REQ-7: neither sees the other.
#[test]
fn an_error_between_two_clients_shows_neither_of_them_the_other() {
    for (caller, called) in pairs() {
        let site = site(Dependence::Endpoint);
        let protocol = Protocol::Udp;
        let (own, other) = (
            caller.external(&site, protocol),
            called.external(&site, protocol),
        );
        let there = caller.send(&site, protocol, other, true);
        let left = match called {
            Client::Six((address, _), _) => {
                let about = &there.after.bytes;
                let error = Sketch6::error((1, 4, 0), ip6(address), about, 64);
                send6(&site, INSIDE, &error)
            }
            Client::Four((address, _)) => {
                let error = Sketch::error(3, Ip4(address), &there.after.bytes, 28);
                site.send(INSIDE, &error)
            }
        };
        assert_eq!(
            left.reason,
            Reason::ErrorTranslated,
            "{caller:?} {called:?}"
        );
        let error = packet(&left);
        assert_eq!(error.source, caller.knows(other).0);
        assert_eq!(error.target, caller.own().0);
        let inner = quoted(&error.body)
            .expect("a quotation")
            .tuple()
            .expect("ports")
            .1;
        assert_eq!((inner.source, inner.source_port), caller.own());
        assert_eq!((inner.target, inner.target_port), caller.knows(other));
        let _ = own;
    }
}

#[test]
fn fragments_between_two_clients_are_translated() {
    for (caller, called) in pairs() {
        let site = site(Dependence::Endpoint);
        let other = called.external(&site, Protocol::Udp);
        let frames = match caller {
            Client::Six((address, port), prefix) => {
                let tuple = Tuple {
                    source: ip6(address),
                    source_port: Port::new(port),
                    target: prefix.embed(other.0),
                    target_port: other.1,
                };
                let sketch = Sketch6::first(Protocol::Udp, tuple).payload(&[1; 800]);
                crate::rig::dual::arriving(INSIDE, &sketch).fragments(5, &[256])
            }
            Client::Four(from) => {
                let tuple = tuple(from, (other.0.0, other.1.get()));
                let sketch = Sketch::first(Protocol::Udp, tuple).payload(&[1; 800]);
                let to = crate::rig::site::own_mac(INSIDE);
                let cut = crate::fragments::fragments(&Sketch { to, ..sketch }, &[256]);
                let frame = |bytes| datapath::native::Frame {
                    bytes,
                    ingress: INSIDE,
                };
                cut.into_iter().map(frame).collect()
            }
        };
        for frame in frames {
            let left = crate::rig::take(&site.memory, frame);
            assert_eq!(left.reason, Reason::TranslatedOut, "{caller:?} {called:?}");
        }
    }
}

#[test]
fn a_client_does_not_reach_itself() {
    let site = site(Dependence::Endpoint);
    let client = Client::Six(CLIENT, Prefix64::WELL_KNOWN);
    let own = client.external(&site, Protocol::Udp);
    let left = client.send(&site, Protocol::Udp, own, true);
    assert_eq!(left.reason, Reason::Hairpin);
}

/// The flow that a client of IPv4 has with one of IPv6 is no way in for others.
#[test]
fn a_client_of_ipv4_that_talks_to_one_of_ipv6_is_reached_from_outside_as_before() {
    let site = site(Dependence::Endpoint);
    let (six, four) = (
        Client::Six(CLIENT, Prefix64::WELL_KNOWN),
        Client::Four(NARROW_CLIENT),
    );
    let other = six.external(&site, Protocol::Udp);
    // Before it has sent to anybody else.
    let there = four.send(&site, Protocol::Udp, other, true);
    assert_eq!(there.reason, Reason::TranslatedOut);
    let own = four.external(&site, Protocol::Udp);
    let (_, seen) = tuple_of(&there.after.bytes);
    assert_eq!((seen.source, seen.source_port), six.knows(own));

    let call = tuple(([198, 51, 100, 99], 77), (own.0.0, own.1.get()));
    let left = site.send(OUTSIDE, &Sketch::first(Protocol::Udp, call));

    assert_eq!(left.reason, Reason::TranslatedIn);
    assert_eq!(packet(&left).target, four.own().0);
    sound(&site.memory);
    let _ = towards;
}
