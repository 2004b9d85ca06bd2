//! Mapping, filtering and hairpinning as RFC 4787 §4 to §6 and RFC 5382 §4 and §7 name them: every
//! mode, seen from outside.

use abi::{Behaviour, Dependence, Ip4, Port, Protocol, Reason, Tuple};
use gateway::{
    Event,
    intent::{Intent, Pool},
};

use crate::rig::{
    Left, Site, Sketch,
    laws::sound,
    site::{ARM, INSIDE, OUTSIDE, from_pool, intent, pool, rule, tuple},
    sketch::{ACK, SYN, read},
};

const CLIENT: ([u8; 4], u16) = ([10, 1, 0, 1], 4000);
const OTHER: ([u8; 4], u16) = ([10, 1, 0, 2], 5000);
/// A remote, the same by another port, and another one.
const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 4], 440);
const REMOTE_PORT: ([u8; 4], u16) = ([198, 51, 100, 4], 441);
const REMOTE_ADDRESS: ([u8; 4], u16) = ([198, 51, 100, 5], 440);
const REMOTES: [([u8; 4], u16); 3] = [REMOTE, REMOTE_PORT, REMOTE_ADDRESS];

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// A gateway of one pool that behaves so.
fn with(mapping: Dependence, filtering: Dependence, hairpins: bool) -> Site {
    Site::new(policy(mapping, filtering, hairpins), 64)
}

fn policy(mapping: Dependence, filtering: Dependence, hairpins: bool) -> Intent {
    let web = Pool {
        behaviour: Behaviour::new([mapping; 3], [filtering; 3], hairpins, 0),
        ..pool("web", 1..=3, (1024, 65535))
    };
    intent(
        vec![web],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    )
}

fn usual() -> Site {
    with(Dependence::Endpoint, Dependence::Address, true)
}

fn dial(site: &Site, protocol: Protocol, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Left {
    site.send(INSIDE, &Sketch::first(protocol, tuple(from, to)))
}

/// The tuple that a frame carries when it leaves.
fn seen(left: &Left) -> Tuple {
    read(&left.after.bytes).expect("such a packet").1
}

/// The external endpoint that a client has towards a remote.
fn external(
    site: &Site,
    protocol: Protocol,
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
) -> ([u8; 4], u16) {
    let left = dial(site, protocol, from, to);
    assert_eq!(left.reason, Reason::TranslatedOut);
    let seen = seen(&left);
    (seen.source.0, seen.source_port.get())
}

/// What becomes of a first packet from a remote to an external endpoint.
fn knock(site: &Site, protocol: Protocol, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Left {
    site.send(OUTSIDE, &Sketch::first(protocol, tuple(from, to)))
}

#[test]
fn an_external_port_depends_on_as_much_of_the_remote_as_the_pool_says() {
    for (mapping, same) in [
        (Dependence::Endpoint, [true, true]),
        (Dependence::Address, [true, false]),
        (Dependence::AddressAndPort, [false, false]),
    ] {
        for protocol in BOTH {
            let site = with(mapping, Dependence::Address, true);

            let [first, port, address] =
                REMOTES.map(|remote| external(&site, protocol, CLIENT, remote));

            assert_eq!([first == port, first == address], same, "{mapping:?}");
            assert_eq!(
                first.0, address.0,
                "paired pooling holds whatever the mapping"
            );
            sound(&site.memory);
        }
    }
}

#[test]
fn a_remote_is_let_in_as_far_as_the_pools_filtering_says() {
    for mapping in Dependence::ALL {
        for (filtering, lets_in) in [
            (Dependence::Endpoint, [true, true]),
            (Dependence::Address, [true, false]),
            (Dependence::AddressAndPort, [false, false]),
        ] {
            for protocol in BOTH {
                let site = with(mapping, filtering, true);
                let end = external(&site, protocol, CLIENT, REMOTE);

                let left =
                    [REMOTE_PORT, REMOTE_ADDRESS].map(|remote| knock(&site, protocol, remote, end));

                let reasons = lets_in.map(|lets_in| match lets_in {
                    true => Reason::TranslatedIn,
                    false => Reason::Filtered,
                });
                assert_eq!(
                    left.each_ref().map(|left| left.reason),
                    reasons,
                    "{mapping:?} {filtering:?} {protocol:?}"
                );
                for left in left.iter().filter(|left| left.is_translated()) {
                    let seen = seen(left);
                    assert_eq!((seen.target.0, seen.target_port.get()), CLIENT);
                }
                sound(&site.memory);
            }
        }
    }
}

/// What a client says to a remote lets that remote in from then on.
#[test]
fn each_remote_a_client_sends_to_is_let_in() {
    let site = usual();
    let end = external(&site, Protocol::Udp, CLIENT, REMOTE);
    let stranger = ([198, 51, 100, 6], 7);
    assert_eq!(
        knock(&site, Protocol::Udp, stranger, end).reason,
        Reason::Filtered
    );

    external(&site, Protocol::Udp, CLIENT, ([198, 51, 100, 6], 999));

    assert_eq!(
        knock(&site, Protocol::Udp, stranger, end).reason,
        Reason::TranslatedIn
    );
    sound(&site.memory);
}

#[test]
fn a_flow_that_came_in_is_answered_from_the_same_external_endpoint() {
    for protocol in BOTH {
        let site = usual();
        let end = external(&site, protocol, CLIENT, REMOTE);
        assert!(knock(&site, protocol, REMOTE_PORT, end).is_translated());

        let answer = Sketch::answer(protocol, tuple(CLIENT, REMOTE_PORT));
        let back = site.send(INSIDE, &answer);

        assert_eq!(back.reason, Reason::TranslatedOut);
        let back = seen(&back);
        assert_eq!((back.source.0, back.source_port.get()), end);
        assert_eq!((back.target.0, back.target_port.get()), REMOTE_PORT);
    }
}

#[test]
fn only_a_syn_begins_a_connection_from_outside() {
    let site = with(Dependence::Endpoint, Dependence::Endpoint, true);
    let end = external(&site, Protocol::Tcp, CLIENT, REMOTE);
    let stray = Sketch::first(Protocol::Tcp, tuple(REMOTE_ADDRESS, end)).flags(ACK);

    assert_eq!(site.send(OUTSIDE, &stray).reason, Reason::ResetSent);

    let flows = site.memory.v4.flows.len();
    let syn = Sketch::first(Protocol::Tcp, tuple(REMOTE_ADDRESS, end)).flags(SYN);
    assert_eq!(site.send(OUTSIDE, &syn).reason, Reason::TranslatedIn);
    assert_eq!(site.memory.v4.flows.len(), flows + 2);
}

#[test]
fn what_nobody_has_is_for_nobody_however_open_the_filter() {
    let site = with(Dependence::Endpoint, Dependence::Endpoint, true);
    let end = external(&site, Protocol::Udp, CLIENT, REMOTE);
    let beside = (end.0, end.1 ^ 2);

    for (protocol, end) in [(Protocol::Udp, beside), (Protocol::Tcp, end)] {
        assert_eq!(
            knock(&site, protocol, REMOTE, end).reason,
            Reason::Unsolicited
        );
    }
}

/// RFC 5508 REQ-1: an ICMP query's mapping is filtered as UDP's is.
#[test]
fn another_remotes_echo_reply_passes_the_filter_or_does_not() {
    for (filtering, reason) in [
        (Dependence::Endpoint, Reason::TranslatedIn),
        (Dependence::Address, Reason::Filtered),
    ] {
        let site = with(Dependence::Endpoint, filtering, true);
        let (address, id) = external(&site, Protocol::Icmp, CLIENT, (REMOTE.0, 0));
        let reply = tuple((REMOTE_ADDRESS.0, 0), (address, id));

        let left = site.send(OUTSIDE, &Sketch::answer(Protocol::Icmp, reply));

        assert_eq!(left.reason, reason);
    }
}

/// An echo request names no port, so it is for nobody, however open the filter.
#[test]
fn a_ping_from_outside_reaches_no_client() {
    let site = with(Dependence::Endpoint, Dependence::Endpoint, true);
    for id in 0..64 {
        external(&site, Protocol::Icmp, ([10, 1, 0, id], 0), (REMOTE.0, 0));
    }

    for address in 1..=3 {
        let ping = tuple((REMOTE.0, 7), ([192, 0, 2, address], 0));
        let left = site.send(OUTSIDE, &Sketch::first(Protocol::Icmp, ping));
        assert_eq!(left.reason, Reason::Unsolicited);
    }
}

/// RFC 4787 REQ-9: both see external addresses only.
#[test]
fn two_clients_reach_each_other_by_their_external_endpoints() {
    for protocol in BOTH {
        for ingress in [INSIDE, ARM] {
            let site = usual();
            // Each has sent to the other's address: the filter lets both in.
            let one = external(&site, protocol, CLIENT, REMOTE);
            let other = external(&site, protocol, OTHER, REMOTE);
            let knock = Sketch::first(protocol, tuple(OTHER, one));
            assert_eq!(site.send(ingress, &knock).reason, Reason::Filtered);

            let call = Sketch::first(protocol, tuple(CLIENT, other));
            let heard = site.send(ingress, &call);
            assert_eq!(heard.reason, Reason::TranslatedOut, "{protocol:?}");
            assert_eq!(seen(&heard), tuple(one, OTHER));

            let answer = Sketch::answer(protocol, tuple(OTHER, one));
            let back = site.send(ingress, &answer);
            assert!(back.is_translated());
            assert_eq!(seen(&back), tuple(other, CLIENT));
            sound(&site.memory);
        }
    }
}

#[test]
fn the_strictest_filter_lets_a_client_in_that_was_called_before() {
    let site = with(Dependence::Endpoint, Dependence::AddressAndPort, true);
    let one = external(&site, Protocol::Udp, CLIENT, REMOTE);
    let other = external(&site, Protocol::Udp, OTHER, REMOTE);
    let call = |from, to| site.send(INSIDE, &Sketch::first(Protocol::Udp, tuple(from, to)));

    assert_eq!(call(OTHER, one).reason, Reason::Filtered);
    assert_eq!(call(CLIENT, other).reason, Reason::TranslatedOut);
    assert_eq!(seen(&call(OTHER, one)), tuple(other, CLIENT));
    sound(&site.memory);
}

#[test]
fn a_pool_may_keep_its_clients_apart() {
    let site = with(Dependence::Endpoint, Dependence::Endpoint, false);
    let one = external(&site, Protocol::Udp, CLIENT, REMOTE);

    assert_eq!(
        dial(&site, Protocol::Udp, OTHER, one).reason,
        Reason::Hairpin
    );
}

#[test]
fn a_client_does_not_reach_itself_by_its_external_endpoint() {
    let site = with(Dependence::Endpoint, Dependence::Endpoint, true);
    let own = external(&site, Protocol::Udp, CLIENT, REMOTE);

    assert_eq!(
        dial(&site, Protocol::Udp, CLIENT, own).reason,
        Reason::Hairpin
    );
}

/// Whoever is outside is outside, whatever address it claims to have.
#[test]
fn a_source_that_looks_internal_is_none_if_it_comes_from_outside() {
    let site = with(Dependence::Endpoint, Dependence::Address, true);
    let end = external(&site, Protocol::Udp, CLIENT, REMOTE);

    let left = knock(&site, Protocol::Udp, OTHER, end);

    assert_eq!(left.reason, Reason::Filtered);
    assert_eq!(site.memory.v4.flows.len(), 2);
}

/// RFC 4787 REQ-1 in the other direction: when everything has ended, nothing is left that lets
/// anybody in.
#[test]
fn when_its_flows_have_ended_a_mapping_lets_nobody_in() {
    let mut site = usual();
    let end = external(&site, Protocol::Udp, CLIENT, REMOTE);
    external(&site, Protocol::Udp, CLIENT, REMOTE_ADDRESS);
    let other = external(&site, Protocol::Udp, OTHER, REMOTE);
    assert!(dial(&site, Protocol::Udp, CLIENT, other).reason == Reason::Filtered);

    site.pass(std::time::Duration::from_secs(400));
    for _ in 0..3 {
        site.sweep();
        site.pass(std::time::Duration::from_secs(1));
    }

    assert!(site.memory.v4.mappings.is_empty() && site.memory.v4.flows.is_empty());
    for remote in REMOTES {
        assert_eq!(
            knock(&site, Protocol::Udp, remote, end).reason,
            Reason::Unsolicited
        );
    }
}

/// What the address was let in for is over, also for a caller that has no port yet.
#[test]
fn a_filter_that_comes_to_depend_on_the_port_keeps_out_who_was_let_in_by_address() {
    let policy = |mapping, filtering| {
        let web = Pool {
            behaviour: Behaviour::new([mapping; 3], [filtering; 3], true, 0),
            ..pool("web", [1], (1024, 65535))
        };
        let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
        intent(vec![web], rules)
    };
    let strictest = policy(Dependence::Address, Dependence::AddressAndPort);
    for protocol in BOTH {
        let mut site = Site::new(policy(Dependence::Endpoint, Dependence::Address), 64);
        let called = external(&site, protocol, CLIENT, REMOTE);
        let other = external(&site, protocol, OTHER, REMOTE_ADDRESS);
        // From now on the client lets the external address in, which all clients have.
        assert_eq!(
            dial(&site, protocol, CLIENT, other).reason,
            Reason::Filtered
        );

        site.handle(Event::Configure(Box::new(strictest.clone())));

        let third = ([10, 1, 0, 3], 6000);
        assert_eq!(
            dial(&site, protocol, third, called).reason,
            Reason::Filtered
        );
    }
}

/// Who is called says so, as their filter is asked and not the caller's.
#[test]
fn clients_of_a_pool_without_hairpinning_call_others_and_are_called_by_nobody() {
    let open = |name, address, hairpins| Pool {
        behaviour: Behaviour::new(
            [Dependence::Endpoint; 3],
            [Dependence::Endpoint; 3],
            hairpins,
            0,
        ),
        ..pool(name, [address], (1024, 65535))
    };
    let rules = vec![
        rule("10.1.0.1/32", "0.0.0.0/0", from_pool("web")),
        rule("10.1.0.2/32", "0.0.0.0/0", from_pool("quiet")),
    ];
    let pools = vec![open("web", 1, true), open("quiet", 2, false)];
    for protocol in BOTH {
        let site = Site::new(intent(pools.clone(), rules.clone()), 64);
        let web = external(&site, protocol, CLIENT, REMOTE);
        let quiet = external(&site, protocol, OTHER, REMOTE);

        assert_eq!(dial(&site, protocol, CLIENT, quiet).reason, Reason::Hairpin);
        let left = dial(&site, protocol, OTHER, web);
        assert_eq!(left.reason, Reason::TranslatedOut);
        assert_eq!(seen(&left), tuple(quiet, CLIENT));
    }
}

/// A port in network byte order is what tables have; see that the rig and the tables agree.
#[test]
fn a_hairpinned_flow_is_one_flow_with_both_ends_external() {
    let site = with(Dependence::Endpoint, Dependence::Endpoint, true);
    let other = external(&site, Protocol::Udp, OTHER, REMOTE);
    let before = site.memory.v4.flows.len();

    assert!(dial(&site, Protocol::Udp, CLIENT, other).is_translated());

    assert_eq!(site.memory.v4.flows.len(), before + 2);
    let ours = |address: Ip4| site.memory.v4.externals.get(&address).is_some();
    let flows = site.memory.v4.flows.all();
    let hairpinned: Vec<_> = flows
        .iter()
        .filter(|(key, _)| ours(key.tuple.target) && !ours(key.tuple.source))
        .filter(|(_, flow)| ours(flow.to.source))
        .collect();
    assert_eq!(hairpinned.len(), 2);
    assert!(
        hairpinned
            .iter()
            .all(|(_, flow)| flow.to.target_port != Port::new(0))
    );
}
