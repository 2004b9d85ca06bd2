//! What is not translated though a rule or a mapping would have it: by whom it is from (RFC 7915 §4.1,
//! §5.1), whom it is to (RFC 6052 §3.1), and the way it names (RFC 7915 §4.1).

use abi::{Ip4, Prefix64, Protocol, Reason};
use gateway::intent::Intent;

use super::{asked, begun, fragments4, out, packet, towards};
use crate::rig::{
    Sketch, Sketch6,
    dual::{dual, dual_with, own_prefix, send6},
    site::{INSIDE, OUTSIDE},
    sketch6::ip6,
};

/// RFC 6052 §3.1, with the addresses of RFC 6890 that mean something else in every network.
#[test]
fn the_well_known_prefix_reaches_no_address_that_is_not_the_same_everywhere() {
    for address in [
        [10, 0, 0, 1],
        [172, 31, 0, 1],
        [192, 168, 0, 1],
        [100, 64, 0, 1],
        [169, 254, 0, 1],
        [127, 0, 0, 1],
        [0, 0, 0, 1],
        [224, 0, 0, 1],
    ] {
        for protocol in Protocol::PORTED {
            let site = dual();
            let first = |prefix| Sketch6::first(protocol, towards(prefix, Ip4(address), protocol));

            let left = send6(&site, INSIDE, &first(Prefix64::WELL_KNOWN));

            assert_eq!(left.reason, Reason::NotGlobal, "{address:?}");
            assert!(site.memory.v6.flows.is_empty());
            assert_ne!(
                send6(&site, INSIDE, &first(own_prefix())).reason,
                Reason::NotGlobal,
                "{address:?}"
            );
        }
    }
}

#[test]
fn what_no_rule_wants_is_the_kernels_whomever_it_is_to_or_from() {
    let site = dual();
    let mut sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp));
    sketch.source = ip6("::1");
    sketch.target = ip6("2001:db8:ffff::1");
    assert_eq!(send6(&site, OUTSIDE, &sketch).reason, Reason::NoRule);
}

/// RFC 7915 §5.1: whatever a rule says of everybody. Multicast ones are never ours to judge.
#[test]
fn nobody_calls_from_an_ipv6_address_that_no_host_can_have() {
    for (source, reason) in [
        ("::1", Reason::IllegalSource),
        ("::", Reason::IllegalSource),
        ("::2", Reason::TranslatedOut),
        ("ff02::1", Reason::NotForUs),
        ("ff0e::9", Reason::NotForUs),
    ] {
        for protocol in Protocol::PORTED {
            let everybody = |intent: &mut Intent| {
                let rules = intent.rules.iter_mut();
                rules.for_each(|rule| rule.sources.push("::/0".parse().expect("a prefix")));
            };
            for target in [asked(protocol).target, ip6("2001:db8:9::9")] {
                let site = dual_with(everybody);
                let mut sketch = Sketch6::first(protocol, asked(protocol));
                (sketch.source, sketch.target) = (ip6(source), target);

                assert_eq!(send6(&site, INSIDE, &sketch).reason, reason, "{source}");
            }
        }
    }
}

/// RFC 7915 §4.1: not even where a client's filter lets in everybody.
#[test]
fn nobody_answers_from_an_ipv4_address_that_no_host_can_have() {
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        for protocol in Protocol::PORTED {
            let site = dual();
            let answer = begun(&site, protocol);

            let left = site.send(
                OUTSIDE,
                &Sketch {
                    source: Ip4(source),
                    ..answer
                },
            );

            assert_eq!(
                left.reason,
                Reason::IllegalSource,
                "{source:?} {protocol:?}"
            );
        }
    }
}

/// Loose and strict, with two hops to go, with one, and with none.
fn routes() -> impl Iterator<Item = (Vec<u8>, bool)> {
    [131_u8, 137].into_iter().flat_map(|kind| {
        [(4, true), (8, true), (11, true), (12, false)].map(|(next, is_open)| {
            let mut route = vec![1, kind, 11, next];
            route.extend([192, 0, 2, 1, 192, 0, 2, 2]);
            (route, is_open)
        })
    })
}

/// RFC 7915 §4.1.
#[test]
fn a_source_route_that_is_not_at_its_end_is_refused() {
    for protocol in Protocol::PORTED {
        for (route, is_open) in routes() {
            let site = dual();
            let answer = Sketch {
                options: route.clone(),
                ..begun(&site, protocol)
            };

            let left = site.send(OUTSIDE, &answer);

            if is_open {
                assert_eq!(left.reason, Reason::SourceRoute, "{route:?}");
            } else {
                assert_eq!(left.reason, Reason::TranslatedIn, "{route:?}");
                assert!(packet(&left).between.is_empty());
            }
        }
    }
}

#[test]
fn fragments_with_a_source_route_are_refused_too() {
    let site = dual();
    let mut answer = begun(&site, Protocol::Udp).payload(&[7; 600]);
    for bytes in fragments4(&answer, &[256]) {
        assert_eq!(site.send_bytes(OUTSIDE, bytes).reason, Reason::TranslatedIn);
    }
    (answer.options, answer.id) = (vec![131, 7, 4, 192, 0, 2, 1, 0], 9);
    let first = fragments4(&answer, &[256]).remove(0);
    assert_eq!(site.send_bytes(OUTSIDE, first).reason, Reason::SourceRoute);
}

/// Options that say they are longer than the header, or of no length, are no source route.
#[test]
fn what_only_looks_like_a_source_route_is_ignored() {
    for options in [
        vec![131, 200, 4, 1],
        vec![131, 0, 4, 1],
        vec![131, 2, 1, 1],
        vec![0, 131, 3, 1],
        vec![1, 1, 1, 131],
        vec![7, 4, 131, 3],
        vec![1; 40],
    ] {
        let site = dual();
        let answer = Sketch {
            options: options.clone(),
            ..begun(&site, Protocol::Udp)
        };
        let left = site.send(OUTSIDE, &answer);
        assert_eq!(left.reason, Reason::TranslatedIn, "{options:?}");
    }
}

/// Nor is a packet's way anybody's business who translates no version.
#[test]
fn flows_of_other_packets_go_on_after_a_refusal() {
    let site = dual();
    let answer = begun(&site, Protocol::Tcp);
    let routed = Sketch {
        options: vec![131, 7, 4, 192, 0, 2, 1, 0],
        ..answer.clone()
    };
    assert_eq!(site.send(OUTSIDE, &routed).reason, Reason::SourceRoute);
    assert_eq!(site.send(OUTSIDE, &answer).reason, Reason::TranslatedIn);
    out(&site, &Sketch6::first(Protocol::Tcp, asked(Protocol::Tcp)));
}
