//! NAPT66: clients of IPv6 behind addresses of a pool, by the laws that IPv4's have.

use std::collections::BTreeSet;

use abi::{Behaviour, Dependence, Ip6, Protocol, Reason, Refusal, Tuple};
use datapath::Exit;

use crate::rig::{
    Left, Site, Sketch6,
    dual::{NARROW_MTU6, arriving, dual, dual_of, dual_with, own_prefix, send6},
    keeper::Keeper,
    laws::sound,
    site::{ARM, INSIDE, OUTSIDE, own_address6, own_mac, peer_mac},
    sketch::{ACK, RST},
    sketch6::{ip6, tuple6},
    take,
    whole::{Check, quoted, tuple_of, whole},
};

const CLIENT: (&str, u16) = ("fd01::1", 4000);
const REMOTE: (&str, u16) = ("2001:db8:1::4", 440);

/// From the client to the remote, as such packets have ports.
fn asked(protocol: Protocol) -> Tuple<Ip6> {
    let port = if protocol == Protocol::Icmp {
        0
    } else {
        REMOTE.1
    };
    tuple6(CLIENT, (REMOTE.0, port))
}

fn is_ours(address: Ip6) -> bool {
    address.0[..6] == ip6("2001:db8:ff::").0[..6]
}

#[test]
fn a_packet_leaves_from_an_external_endpoint_and_its_answer_finds_back() {
    for protocol in Protocol::PORTED {
        let site = dual();
        let asked = asked(protocol);

        let out = send6(&site, INSIDE, &Sketch6::first(protocol, asked));
        assert_eq!(out.reason, Reason::TranslatedOut, "{protocol:?}");
        let (_, seen) = tuple_of(&out.after.bytes);
        let back = send6(&site, OUTSIDE, &Sketch6::answer(protocol, seen.reversed()));

        assert!(is_ours(seen.source));
        assert_eq!(
            (seen.target, seen.target_port),
            (asked.target, asked.target_port)
        );
        assert_eq!(out.after.bytes[..6], peer_mac(OUTSIDE));
        assert_eq!(out.after.bytes[6..12], own_mac(OUTSIDE));
        let packet = whole(&out.after.bytes).expect("a packet");
        assert_eq!(
            (packet.check(), packet.hops, packet.label),
            (Check::Right, 63, 0x1_2345)
        );
        assert_eq!(back.reason, Reason::TranslatedIn, "{protocol:?}");
        assert_eq!(tuple_of(&back.after.bytes), (protocol, asked.reversed()));
        assert_eq!(back.after.bytes[..6], peer_mac(INSIDE));
        sound(&site.memory);
    }
}

/// A packet on its way out.
fn out(site: &Site, protocol: Protocol) -> Left {
    let left = send6(
        site,
        INSIDE,
        &Sketch6::first(protocol, asked(protocol)).payload(&[7; 64]),
    );
    assert_eq!(left.reason, Reason::TranslatedOut, "{protocol:?}");
    left
}

fn reasons(left: &[Left]) -> Vec<Reason> {
    left.iter().map(|left| left.reason).collect()
}

/// The whole packet that fragments make up, as one without a fragment header.
fn joined(left: &[Left]) -> crate::rig::whole::Whole {
    let mut parts: Vec<_> = left
        .iter()
        .map(|left| whole(&left.after.bytes).expect("a fragment"))
        .collect();
    parts.sort_by_key(|part| part.fragment());
    let body = parts.iter().flat_map(|part| part.body.clone()).collect();
    crate::rig::whole::Whole {
        part: None,
        body,
        ..parts[0].clone()
    }
}

#[test]
fn extension_headers_stay_and_the_transport_header_behind_them_is_translated() {
    for protocol in Protocol::PORTED {
        for headers in [
            &[(0, 8)][..],
            &[(60, 16)],
            &[(0, 24), (60, 8)],
            &[(0, 8), (43, 24), (60, 64)],
            &[(60, 248)],
        ] {
            let site = dual();
            let extended = |sketch: Sketch6| {
                headers.iter().fold(sketch, |it, (number, length)| {
                    it.extension(*number, *length)
                })
            };
            for _ in 0..2 {
                let sketch = extended(Sketch6::first(protocol, asked(protocol)));
                let left = send6(&site, INSIDE, &sketch);
                assert_eq!(
                    left.reason,
                    Reason::TranslatedOut,
                    "{protocol:?} {headers:?}"
                );
            }

            let plain = out(&site, protocol);
            let (_, seen) = tuple_of(&plain.after.bytes);
            let answer = extended(Sketch6::answer(protocol, seen.reversed()));
            let back = send6(&site, OUTSIDE, &answer);

            assert_eq!(
                back.reason,
                Reason::TranslatedIn,
                "{protocol:?} {headers:?}"
            );
            assert_eq!(tuple_of(&back.after.bytes).1, asked(protocol).reversed());
            assert_eq!(site.memory.v6.flows.len(), 2, "one flow");
        }
    }
}

/// More than we walk, other nodes to visit first, a header that is longer than the packet.
#[test]
fn packets_whose_extension_headers_make_no_sense_to_us_are_dropped_if_they_are_ours() {
    let site = dual();
    let sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp));
    let many = (0..9).fold(sketch.clone(), |it, _| it.extension(60, 8));
    let long = sketch.clone().extension(60, 264);
    let mut routed = sketch.clone().extension(43, 24);
    routed.extensions[0].1[1] = 1;

    for sketch in [many, long, routed] {
        assert_eq!(send6(&site, INSIDE, &sketch).reason, Reason::Protocol);
        let elsewhere = Sketch6 {
            target: ip6("fd02::9"),
            ..sketch
        };
        assert_eq!(send6(&site, INSIDE, &elsewhere).reason, Reason::RulePass);
    }
    assert!(site.memory.v6.flows.is_empty());
}

#[test]
fn fragments_leave_from_the_same_endpoint_in_whatever_order_they_come() {
    for protocol in Protocol::PORTED {
        for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0]] {
            for number in [None, Some(0), Some(60)] {
                let site = dual();
                let mut sketch = Sketch6::first(protocol, asked(protocol)).payload(&[0x5a; 1001]);
                if let Some(number) = number {
                    sketch = sketch.extension(number, 16);
                }
                let frames = arriving(INSIDE, &sketch).fragments(0xdead_beef, &[256, 512]);
                let mut keeper = Keeper::default();
                let mut left = Vec::new();
                for index in order {
                    left.push(take(&site.memory, frames[index].clone()));
                    left.extend(keeper.keep(&site.memory));
                }

                left.retain(|it| it.reason != Reason::FragmentHeld);
                assert_eq!(
                    reasons(&left),
                    [Reason::TranslatedOut; 3],
                    "{protocol:?} {order:?}"
                );
                let packet = joined(&left);
                assert_eq!(packet.check(), Check::Right, "{protocol:?} {order:?}");
                assert!(is_ours(packet.source));
                sound(&site.memory);
            }
        }
    }
}

#[test]
fn fragments_of_answers_find_back() {
    for protocol in Protocol::PORTED {
        let site = dual();
        let (_, seen) = tuple_of(&out(&site, protocol).after.bytes);
        let answer = Sketch6::answer(protocol, seen.reversed()).payload(&[3; 777]);
        let frames = arriving(OUTSIDE, &answer).fragments(7, &[64, 640]);
        let left: Vec<_> = frames
            .into_iter()
            .map(|it| take(&site.memory, it))
            .collect();

        assert_eq!(reasons(&left), [Reason::TranslatedIn; 3], "{protocol:?}");
        assert_eq!(joined(&left).check(), Check::Right);
        assert_eq!(joined(&left).target, ip6(CLIENT.0));
    }
}

#[test]
fn a_fragment_that_overlaps_or_repeats_what_passed_is_dropped() {
    let sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp)).payload(&[0x5a; 1000]);
    let cut = |cuts| arriving(INSIDE, &sketch).fragments(1, cuts);
    let (one, other) = (cut(&[256, 512]), cut(&[248, 520]));
    for (passed, late) in [
        (&one[..2], &one[1]),
        (&one[..1], &other[1]),
        (&one[..3], &other[2]),
    ] {
        let site = dual();
        for frame in passed {
            assert!(take(&site.memory, frame.clone()).is_translated());
        }
        assert_eq!(
            take(&site.memory, late.clone()).reason,
            Reason::FragmentOverlap
        );
    }
}

/// A first fragment that is also the last (RFC 6946).
#[test]
fn an_atomic_fragment_is_a_packet_as_any_other() {
    for protocol in Protocol::PORTED {
        let site = dual();
        let sketch = Sketch6::first(protocol, asked(protocol));
        let frame = arriving(INSIDE, &sketch).fragments(9, &[]).remove(0);

        let left = take(&site.memory, frame);

        assert_eq!(left.reason, Reason::TranslatedOut, "{protocol:?}");
        let seen = tuple_of(&left.after.bytes).1;
        assert_eq!(
            seen.source_port,
            tuple_of(&out(&site, protocol).after.bytes).1.source_port
        );
    }
}

#[test]
fn an_error_from_outside_reaches_the_client_about_what_it_sent() {
    let router = ip6("2001:db8:9::9");
    for protocol in Protocol::PORTED {
        for message in [
            (1, 0, 0),
            (1, 4, 0),
            (2, 0, 1280),
            (3, 0, 0),
            (3, 1, 0),
            (4, 1, 6),
        ] {
            for length in [48, 72, 104, 1232] {
                let site = dual();
                let sent = out(&site, protocol);

                let error = Sketch6::error(message, router, &sent.after.bytes, length);
                let left = send6(&site, OUTSIDE, &error);

                assert_eq!(
                    left.reason,
                    Reason::ErrorTranslated,
                    "{protocol:?} {message:?}"
                );
                let packet = whole(&left.after.bytes).expect("an error");
                assert_eq!((packet.source, packet.target), (router, ip6(CLIENT.0)));
                assert_eq!(packet.body[..2], [message.0, message.1]);
                assert_eq!(packet.body[4..8], u32::to_be_bytes(message.2));
                let inner = quoted(&packet.body).expect("a quotation");
                assert_eq!(
                    inner.tuple().expect("a transport header").1,
                    asked(protocol)
                );
            }
        }
    }
}

#[test]
fn an_error_about_a_fragment_reaches_the_client() {
    for protocol in Protocol::PORTED {
        for length in [56, 300] {
            let site = dual();
            let sketch = Sketch6::first(protocol, asked(protocol)).payload(&[9; 900]);
            let parts = arriving(INSIDE, &sketch).fragments(0xdead_beef, &[512]);
            let sent = take(&site.memory, parts[0].clone());
            assert_eq!(sent.reason, Reason::TranslatedOut);

            let about = &sent.after.bytes;
            let error = Sketch6::error((3, 1, 0), ip6("2001:db8:9::9"), about, length);
            let left = send6(&site, OUTSIDE, &error);

            assert_eq!(left.reason, Reason::ErrorTranslated, "{protocol:?}");
            let error = whole(&left.after.bytes).expect("an error");
            assert_eq!(error.check(), Check::Right);
            let inner = quoted(&error.body).expect("a quotation");
            assert_eq!(inner.tuple().expect("a header").1, asked(protocol));
            assert_eq!(inner.part, Some((0xdead_beef, 0, true)));
            assert_eq!(inner.body[..8], sent.before.bytes[62..70]);
        }
    }
}

#[test]
fn an_error_from_inside_reaches_the_remote_from_the_external_address() {
    for protocol in Protocol::PORTED {
        for from in [CLIENT.0, "fd00::77"] {
            let site = dual();
            let (_, seen) = tuple_of(&out(&site, protocol).after.bytes);
            let back = send6(&site, OUTSIDE, &Sketch6::answer(protocol, seen.reversed()));

            let error = Sketch6::error((1, 4, 0), ip6(from), &back.after.bytes, 64);
            let left = send6(&site, INSIDE, &error);

            assert_eq!(left.reason, Reason::ErrorTranslated, "{protocol:?}");
            let packet = whole(&left.after.bytes).expect("an error");
            assert_eq!((packet.source, packet.target), (seen.source, seen.target));
            let inner = quoted(&packet.body).expect("a quotation");
            assert_eq!(
                inner.tuple().expect("a transport header").1,
                seen.reversed()
            );
        }
    }
}

#[test]
fn an_error_about_no_flow_or_damaged_is_dropped_if_it_is_for_us_and_passed_if_not() {
    let site = dual();
    let sent = out(&site, Protocol::Udp);
    let error = Sketch6::error((1, 4, 0), ip6("2001:db8:9::9"), &sent.after.bytes, 48);
    let mut unknown = error.clone();
    unknown.payload[41] ^= 1;
    let elsewhere = Sketch6 {
        target: ip6("2001:db8:abc::1"),
        ..unknown.clone()
    };
    let mut damaged = arriving(OUTSIDE, &error).frame();
    damaged.bytes[56] ^= 1;

    assert_eq!(send6(&site, OUTSIDE, &unknown).reason, Reason::IcmpError);
    assert_eq!(send6(&site, OUTSIDE, &elsewhere).reason, Reason::NoRule);
    assert_eq!(take(&site.memory, damaged).reason, Reason::IcmpError);
    assert_eq!(
        send6(&site, OUTSIDE, &error.hops(1)).reason,
        Reason::TtlExceeded
    );
}

#[test]
fn a_packet_whose_hops_run_out_or_that_is_too_big_is_answered() {
    for protocol in Protocol::PORTED {
        let site = dual();
        out(&site, protocol);
        let late = Sketch6::first(protocol, asked(protocol)).hops(1);
        assert_eq!(send6(&site, INSIDE, &late).reason, Reason::TimeExceededSent);

        let mut narrow = asked(protocol);
        narrow.target = ip6("2001:db8:12::1");
        let large = Sketch6::first(protocol, narrow).payload(&[1; 1300]);
        // The first packet begins the flow and is told so at once.
        for _ in 0..2 {
            let left = send6(&site, INSIDE, &large);
            assert_eq!(left.reason, Reason::TooBigSent);
            let told = whole(&left.after.bytes).expect("an error");
            assert_eq!(told.source, own_address6(INSIDE));
            assert_eq!(told.body[4..8], u32::from(NARROW_MTU6).to_be_bytes());
        }
    }
}

/// Nobody is told about a later fragment.
#[test]
fn a_later_fragment_that_cannot_go_on_is_dropped_without_an_answer() {
    let site = dual();
    let sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp)).payload(&[1; 500]);
    let mut frames = arriving(INSIDE, &sketch).fragments(1, &[256]);
    assert!(take(&site.memory, frames.remove(0)).is_translated());
    frames[0].bytes[21] = 1;

    assert_eq!(
        take(&site.memory, frames.remove(0)).reason,
        Reason::TtlExceeded
    );
}

#[test]
fn a_segment_that_belongs_to_nothing_is_answered_by_reset() {
    let site = dual();
    let stray = Sketch6::first(Protocol::Tcp, asked(Protocol::Tcp)).flags(ACK);
    for sketch in [stray.clone(), stray.clone().extension(60, 8)] {
        assert_eq!(send6(&site, INSIDE, &sketch).reason, Reason::ResetSent);
    }
    assert_eq!(
        send6(&site, INSIDE, &stray.clone().flags(RST)).reason,
        Reason::NoFlow
    );
    assert!(site.memory.v6.flows.is_empty());
}

#[test]
fn a_flow_that_finds_no_port_is_refused_and_its_sender_told() {
    for (refusal, is_reset) in [(Refusal::Icmp, false), (Refusal::Reset, true)] {
        let site = dual_with(|intent| {
            let web = &mut intent.pools[0];
            (web.ports.first, web.ports.last) = (2000, 2001);
            web.behaviour = web.behaviour.with_any_parity().refusing(refusal);
        });
        let mut left = Vec::new();
        for port in 4000..4003 {
            let tuple = tuple6((CLIENT.0, port), REMOTE);
            left.push(send6(&site, INSIDE, &Sketch6::first(Protocol::Tcp, tuple)));
        }

        assert_eq!(left[2].reason, Reason::PortsExhausted);
        assert_eq!(left[2].exit, Exit::Transmit);
        assert_eq!(left[2].after.bytes[20], if is_reset { 6 } else { 58 });
        sound(&site.memory);
    }
}

/// RFC 4787 REQ-1, REQ-2, REQ-4.
#[test]
fn an_endpoint_has_one_external_port_and_a_client_one_address() {
    let site = dual();
    let (mut endpoints, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for remote in 1..20 {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let to = (&*format!("2001:db8:1::{remote}"), 443);
            let left = send6(&site, INSIDE, &Sketch6::first(protocol, tuple6(CLIENT, to)));
            let (_, seen) = tuple_of(&left.after.bytes);
            endpoints.insert((protocol, seen.source_port));
            addresses.insert(seen.source);
            assert_eq!(seen.source_port.get() % 2, CLIENT.1 % 2, "parity");
        }
    }
    assert_eq!(endpoints.len(), 2);
    assert_eq!(addresses.len(), 1);

    let others: BTreeSet<_> = (1..200u16)
        .map(|client| {
            let from = (&*format!("fd01::2:{client}"), 4000);
            let left = send6(
                &site,
                INSIDE,
                &Sketch6::first(Protocol::Udp, tuple6(from, REMOTE)),
            );
            let (_, seen) = tuple_of(&left.after.bytes);
            (seen.source, seen.source_port)
        })
        .take_while(|_| site.memory.v6.flows.len() < 500)
        .collect();
    assert!(others.len() > 100, "no two clients have the same endpoint");
    sound(&site.memory);
}

fn filtering(dependence: Dependence) -> Site {
    dual_with(|intent| {
        let endpoint = [Dependence::Endpoint; 3];
        intent.pools[0].behaviour = Behaviour::new(endpoint, [dependence; 3], true, 0);
    })
}

/// RFC 4787 REQ-8.
#[test]
fn a_filter_lets_in_whom_the_client_has_sent_to() {
    for (dependence, same_address, stranger) in [
        (
            Dependence::Endpoint,
            Reason::TranslatedIn,
            Reason::TranslatedIn,
        ),
        (Dependence::Address, Reason::TranslatedIn, Reason::Filtered),
        (
            Dependence::AddressAndPort,
            Reason::Filtered,
            Reason::Filtered,
        ),
    ] {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let site = filtering(dependence);
            let (_, seen) = tuple_of(&out(&site, protocol).after.bytes);
            let call = |address: &str, port: u16| {
                let mut tuple = seen.reversed();
                tuple.source = ip6(address);
                tuple.source_port = abi::Port::new(port);
                send6(&site, OUTSIDE, &Sketch6::first(protocol, tuple)).reason
            };

            assert_eq!(call(REMOTE.0, 441), same_address, "{dependence:?}");
            assert_eq!(call("2001:db8:1::5", 440), stranger, "{dependence:?}");
            let mut nobody = seen.reversed();
            nobody.target_port = abi::Port::new(1025 + seen.source_port.get() % 60_000);
            let left = send6(&site, OUTSIDE, &Sketch6::first(Protocol::Udp, nobody));
            assert_eq!(left.reason, Reason::Unsolicited);
            sound(&site.memory);
        }
    }
}

/// RFC 4787 REQ-9.
#[test]
fn two_clients_reach_each_other_by_their_external_endpoints() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let site = filtering(Dependence::Endpoint);
        let other = tuple6(("fd01::2", 5000), REMOTE);
        let known = send6(&site, INSIDE, &Sketch6::first(protocol, other));
        let (_, known) = tuple_of(&known.after.bytes);
        let mut call = tuple6(CLIENT, REMOTE);
        (call.target, call.target_port) = (known.source, known.source_port);

        let there = send6(&site, INSIDE, &Sketch6::first(protocol, call));
        assert_eq!(there.reason, Reason::TranslatedOut);
        let (_, seen) = tuple_of(&there.after.bytes);
        assert_eq!(
            (seen.target, seen.target_port),
            (other.source, other.source_port)
        );
        assert!(is_ours(seen.source));
        let back = send6(&site, INSIDE, &Sketch6::answer(protocol, seen.reversed()));
        assert_eq!(back.reason, Reason::TranslatedIn);
        assert_eq!(tuple_of(&back.after.bytes).1, call.reversed());

        let error = Sketch6::error((1, 4, 0), ip6("fd01::2"), &there.after.bytes, 64);
        let left = send6(&site, ARM, &error);
        assert_eq!(left.reason, Reason::ErrorTranslated);
        let packet = whole(&left.after.bytes).expect("an error");
        assert_eq!(
            (packet.source, packet.target),
            (known.source, ip6(CLIENT.0))
        );
        sound(&site.memory);
    }
}

#[test]
fn a_client_does_not_reach_itself_nor_one_whose_pool_forbids_it() {
    for (hairpins, expected) in [(true, Reason::Hairpin), (false, Reason::Hairpin)] {
        let site = dual_with(|intent| {
            let modes = [Dependence::Endpoint; 3];
            intent.pools[0].behaviour = Behaviour::new(modes, modes, hairpins, 0);
        });
        let (_, seen) = tuple_of(&out(&site, Protocol::Udp).after.bytes);
        let mut call = asked(Protocol::Udp);
        (call.target, call.target_port) = (seen.source, seen.source_port);
        assert_eq!(
            send6(&site, INSIDE, &Sketch6::first(Protocol::Udp, call)).reason,
            expected
        );
    }
}

/// RFC 4861, RFC 4291 §2.5.6, §2.7: what means something on a link only.
#[test]
fn what_is_of_the_link_is_left_to_the_kernel_untouched() {
    let site = dual();
    let message = |kind| crate::rig::sketch::Message::Icmp {
        kind,
        id: abi::Port::new(0),
        seq: 0,
    };
    for kind in 133..=137 {
        for (source, target) in [
            ("fe80::1", "fe80::2"),
            ("fd01::1", "fd00::ff:1"),
            ("fd01::1", "2001:db8:1::4"),
            ("::", "ff02::1:ff00:1"),
        ] {
            let sketch = Sketch6 {
                message: message(kind),
                hops: 255,
                ..Sketch6::first(Protocol::Icmp, tuple6((source, 0), (target, 0)))
            };
            assert_eq!(
                send6(&site, INSIDE, &sketch).reason,
                Reason::NotForUs,
                "{kind}"
            );
        }
    }
    for (source, target) in [
        ("fe80::1", REMOTE.0),
        (CLIENT.0, "fe80::1"),
        (CLIENT.0, "ff02::1"),
        (CLIENT.0, "ff0e::1"),
    ] {
        for protocol in Protocol::PORTED {
            let sketch = Sketch6::first(protocol, tuple6((source, 4000), (target, 440)));
            for sketch in [sketch.clone(), sketch.extension(0, 8)] {
                assert_eq!(send6(&site, INSIDE, &sketch).reason, Reason::NotForUs);
            }
        }
    }
}

#[test]
fn what_no_rule_wants_or_is_for_this_host_is_left_to_the_kernel() {
    let site = dual();
    for (source, target, reason) in [
        ("2001:db8:5::1", REMOTE.0, Reason::NoRule),
        (CLIENT.0, "fd02::1", Reason::RulePass),
        (CLIENT.0, "fd00::ff:1", Reason::RulePass),
        (CLIENT.0, "2001:db8:14::1", Reason::NoRoute),
    ] {
        let sketch = Sketch6::first(Protocol::Udp, tuple6((source, 4000), (target, 440)));
        assert_eq!(send6(&site, INSIDE, &sketch).reason, reason, "{target}");
    }
    let sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp));
    assert_eq!(send6(&site, OUTSIDE, &sketch).reason, Reason::ExternalRealm);
    let other = Sketch6 {
        to: [0x02, 9, 9, 9, 9, 9],
        ..arriving(INSIDE, &sketch)
    };
    assert_eq!(take(&site.memory, other.frame()).reason, Reason::NotForUs);
    let other_protocol = Sketch6 {
        message: crate::rig::sketch::Message::Other(132),
        ..sketch
    };
    assert_eq!(
        send6(&site, INSIDE, &other_protocol).reason,
        Reason::Protocol
    );
}

#[test]
fn a_pool_without_ipv6_addresses_refuses_by_name() {
    let site = dual_of([abi::Prefix64::WELL_KNOWN, own_prefix()], 16, |_| ());
    for (index, _) in site.memory.pools6.all() {
        let empty = abi::Slots6([abi::Slot::default(); abi::limits::SLOTS]);
        site.memory.pools6.put(index, empty);
    }
    let sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp));
    assert_eq!(send6(&site, INSIDE, &sketch).reason, Reason::PoolEmpty);
}

#[test]
fn a_full_table_leaves_no_half_flow_and_no_port_behind() {
    let site = dual_of([abi::Prefix64::WELL_KNOWN, own_prefix()], 16, |_| ());
    let mut refused = 0;
    for port in 4000..4040 {
        let tuple = tuple6((CLIENT.0, port), REMOTE);
        let left = send6(&site, INSIDE, &Sketch6::first(Protocol::Udp, tuple));
        refused += u32::from(left.reason == Reason::FlowTableFull);
    }
    assert_eq!(refused, 24);
    sound(&site.memory);
}

#[test]
fn a_packet_whose_next_hop_is_unknown_is_left_translated_to_the_kernel() {
    let site = dual();
    for protocol in Protocol::PORTED {
        let mut tuple = asked(protocol);
        tuple.target = ip6("2001:db8:13::1");
        let left = send6(&site, INSIDE, &Sketch6::first(protocol, tuple));
        assert_eq!(left.reason, Reason::Unresolved);
    }
}
